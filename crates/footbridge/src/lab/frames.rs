//! Ethernet frames the lab makes and reads itself: ARP (RFC 826) and UDP over IPv4 (RFC 768, 791).
//!
//! Building is exact; parsing takes any bytes and says None where they are not what it looks for.

use std::net::Ipv4Addr;

/// The Ethernet address of everyone.
pub(crate) const BROADCAST: [u8; 6] = [0xff; 6];

const ETH_ARP: u16 = 0x0806;
const ETH_IPV4: u16 = 0x0800;
const ETH_VLAN: u16 = 0x8100;
const ETHERNET_HEADER: usize = 14;
/// UDP ports of VXLAN (RFC 7348) and Geneve (RFC 8926).
const VXLAN: u16 = 4789;
const GENEVE: u16 = 6081;

/// An ARP packet and the Ethernet addresses it came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arp {
    /// Ethernet source.
    pub(crate) eth_src: [u8; 6],
    /// Ethernet destination.
    pub(crate) eth_dst: [u8; 6],
    /// 1 request, 2 reply.
    pub(crate) operation: u16,
    /// Sender's MAC.
    pub(crate) sender_mac: [u8; 6],
    /// Sender's address.
    pub(crate) sender: Ipv4Addr,
    /// Target's MAC.
    pub(crate) target_mac: [u8; 6],
    /// Target's address.
    pub(crate) target: Ipv4Addr,
}

/// ARP's request.
pub(crate) const REQUEST: u16 = 1;
/// ARP's reply.
pub(crate) const REPLY: u16 = 2;

impl Arp {
    /// The frame.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let mut frame = ethernet(self.eth_dst, self.eth_src, ETH_ARP);
        // Ethernet, IPv4, address lengths 6 and 4.
        frame.extend([0, 1, 8, 0, 6, 4]);
        frame.extend(self.operation.to_be_bytes());
        frame.extend(self.sender_mac);
        frame.extend(self.sender.octets());
        frame.extend(self.target_mac);
        frame.extend(self.target.octets());
        frame
    }

    /// The ARP packet in a frame, if that is what it carries.
    pub(crate) fn parse(frame: &[u8]) -> Option<Arp> {
        let (ether_type, body) = payload(frame)?;
        if ether_type != ETH_ARP || body.get(..6)? != [0, 1, 8, 0, 6, 4] {
            return None;
        }
        Some(Arp {
            eth_dst: array(frame, 0)?,
            eth_src: array(frame, 6)?,
            operation: u16::from_be_bytes(array(body, 6)?),
            sender_mac: array(body, 8)?,
            sender: Ipv4Addr::from(array::<4>(body, 14)?),
            target_mac: array(body, 18)?,
            target: Ipv4Addr::from(array::<4>(body, 24)?),
        })
    }
}

/// A UDP datagram in an Ethernet frame. The UDP checksum is left out, which IPv4 allows.
pub(crate) struct Udp<'a> {
    /// Ethernet source.
    pub(crate) eth_src: [u8; 6],
    /// Ethernet destination.
    pub(crate) eth_dst: [u8; 6],
    /// Sender's address.
    pub(crate) source: Ipv4Addr,
    /// Receiver's address.
    pub(crate) destination: Ipv4Addr,
    /// Receiver's port.
    pub(crate) port: u16,
    /// Data; at most what fits a frame.
    pub(crate) payload: &'a [u8],
}

impl Udp<'_> {
    /// The frame.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let udp_length = 8 + self.payload.len() as u16;
        let mut ip = vec![0x45, 0];
        ip.extend((20 + udp_length).to_be_bytes());
        // Identification 0, don't fragment, TTL 64, UDP, checksum to come.
        ip.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
        ip.extend(self.source.octets());
        ip.extend(self.destination.octets());
        let checksum = internet_checksum(&ip);
        ip[10..12].copy_from_slice(&checksum.to_be_bytes());
        let mut frame = ethernet(self.eth_dst, self.eth_src, ETH_IPV4);
        frame.extend(ip);
        frame.extend(40000_u16.to_be_bytes());
        frame.extend(self.port.to_be_bytes());
        frame.extend(udp_length.to_be_bytes());
        frame.extend([0, 0]);
        frame.extend(self.payload);
        frame
    }
}

/// The frame inside a VXLAN or Geneve packet.
pub(crate) fn inner(frame: &[u8]) -> Option<&[u8]> {
    let (ether_type, ip) = payload(frame)?;
    if ether_type != ETH_IPV4 || ip.get(9)? != &17 {
        return None;
    }
    let udp = ip.get(usize::from(ip.first()? & 0xf) * 4..)?;
    let tunnel = udp.get(8..)?;
    match u16::from_be_bytes(array(udp, 2)?) {
        VXLAN => tunnel.get(8..),
        GENEVE => tunnel.get(8 + usize::from(tunnel.first()? & 0x3f) * 4..),
        _ => None,
    }
}

/// A MAC as everyone writes it.
pub(crate) fn mac_text(mac: [u8; 6]) -> String {
    let parts: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    parts.join(":")
}

fn ethernet(destination: [u8; 6], source: [u8; 6], ether_type: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(64);
    frame.extend(destination);
    frame.extend(source);
    frame.extend(ether_type.to_be_bytes());
    frame
}

/// The type behind the tags, and what follows.
fn payload(frame: &[u8]) -> Option<(u16, &[u8])> {
    let mut at = ETHERNET_HEADER;
    loop {
        let ether_type = u16::from_be_bytes(array(frame, at - 2)?);
        if ether_type != ETH_VLAN {
            return Some((ether_type, frame.get(at..)?));
        }
        at += 4;
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// RFC 1071.
fn internet_checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST_OF_THE_ARTICLE: Arp = Arp {
        eth_src: [0x4e, 0x99, 0x08, 0xc1, 0x53, 0xbe],
        eth_dst: BROADCAST,
        operation: REQUEST,
        sender_mac: [0x4e, 0x99, 0x08, 0xc1, 0x53, 0xbe],
        sender: Ipv4Addr::new(10, 222, 1, 1),
        target_mac: [0; 6],
        target: Ipv4Addr::new(10, 222, 2, 1),
    };

    #[test]
    fn an_arp_frame_reads_back() {
        let frame = REQUEST_OF_THE_ARTICLE.frame();
        assert_eq!(frame.len(), 42);
        assert_eq!(Arp::parse(&frame), Some(REQUEST_OF_THE_ARTICLE));
    }

    #[test]
    fn finds_arp_inside_vxlan() {
        let arp = REQUEST_OF_THE_ARTICLE.frame();
        let mut vxlan = vec![8, 0, 0, 0, 0, 0, 0, 0];
        vxlan.extend(&arp);
        let outer = Udp {
            eth_src: [2; 6],
            eth_dst: [4; 6],
            source: Ipv4Addr::new(10, 79, 1, 201),
            destination: Ipv4Addr::new(10, 79, 1, 202),
            port: VXLAN,
            payload: &vxlan,
        };
        assert_eq!(inner(&outer.frame()).and_then(Arp::parse), Some(REQUEST_OF_THE_ARTICLE));
    }

    #[test]
    fn truncated_frames_are_nothing() {
        let frame = REQUEST_OF_THE_ARTICLE.frame();
        for length in 0..frame.len() {
            assert_eq!(Arp::parse(&frame[..length]), None);
            assert_eq!(inner(&frame[..length]), None);
        }
    }

    #[test]
    fn an_ip_header_has_a_right_checksum() {
        let udp = Udp {
            eth_src: [2; 6],
            eth_dst: [4; 6],
            source: Ipv4Addr::new(10, 222, 1, 47),
            destination: Ipv4Addr::new(10, 222, 2, 34),
            port: 9,
            payload: b"x",
        };
        // A header whose checksum is right sums to 0.
        assert_eq!(internet_checksum(&udp.frame()[14..34]), 0);
    }
}
