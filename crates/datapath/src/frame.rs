//! Making a received frame whole: what the kernel keeps beside a frame is put back into it.
//!
//! The kernel takes an outer VLAN tag out of a received frame and may leave a TCP or UDP checksum
//! half done (the pseudo-header only) when the sender is on the same machine; packet(7) reports
//! both in `struct tpacket_auxdata`. Functions on bytes, no I/O; nothing here panics on any input.

/// What `PACKET_AUXDATA` says of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Auxdata {
    /// The tag taken out of the frame: TPID and TCI.
    pub(crate) vlan: Option<(u16, u16)>,
    /// The transport checksum is still to be completed.
    pub(crate) partial_checksum: bool,
}

impl Auxdata {
    /// Read a `struct tpacket_auxdata` (linux/if_packet.h): 20 bytes in host order. None when it is
    /// shorter.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Auxdata> {
        let status = u32::from_ne_bytes(*bytes.first_chunk()?);
        let short = |at: usize| bytes.get(at..)?.first_chunk().map(|b| u16::from_ne_bytes(*b));
        let (tci, tpid) = (short(16)?, short(18)?);
        let has = |flag: u32| status & flag != 0;
        let tpid = if has(libc::TP_STATUS_VLAN_TPID_VALID) { tpid } else { TPID_8021Q };
        Some(Auxdata {
            vlan: has(libc::TP_STATUS_VLAN_VALID).then_some((tpid, tci)),
            partial_checksum: has(libc::TP_STATUS_CSUMNOTREADY),
        })
    }
}

/// The TPID of an 802.1Q tag.
const TPID_8021Q: u16 = 0x8100;
/// The TPID of an 802.1ad service tag.
const TPID_8021AD: u16 = 0x88a8;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// Offset of the EtherType, and so of a tag put in.
const ETHERTYPE_AT: usize = 12;

/// The frame as its sender meant it: `received` with its tag put back and its checksum completed.
pub(crate) fn restore(received: &[u8], auxdata: Auxdata) -> Vec<u8> {
    let mut frame = Vec::with_capacity(received.len() + 4);
    match (auxdata.vlan, received.split_at_checked(ETHERTYPE_AT)) {
        (Some((tpid, tci)), Some((addresses, rest))) => {
            frame.extend_from_slice(addresses);
            frame.extend_from_slice(&tpid.to_be_bytes());
            frame.extend_from_slice(&tci.to_be_bytes());
            frame.extend_from_slice(rest);
        }
        _ => frame.extend_from_slice(received),
    }
    if auxdata.partial_checksum {
        complete_checksum(&mut frame);
    }
    frame
}

/// Compute the checksum of the frame's TCP segment or UDP datagram (RFC 9293 §3.1, RFC 768).
///
/// Leaves alone what is neither, is a fragment, or is shorter than it says.
fn complete_checksum(frame: &mut [u8]) {
    if let Some(Checksum { at, whole, .. }) = transport_checksum(frame)
        && let Some(field) = frame.get_mut(at..at + 2)
    {
        field.copy_from_slice(&whole.to_be_bytes());
    }
}

/// Whether the transport checksum looks as a sender leaves it half done: the sum of the pseudo-header. Of one
/// that is that by chance, completing changes nothing, unless it was wrong.
pub(crate) fn has_partial_checksum(frame: &[u8]) -> bool {
    transport_checksum(frame).is_some_and(|checksum| be16(frame, checksum.at) == Some(checksum.partial))
}

/// A transport checksum.
struct Checksum {
    /// Where it stands.
    at: usize,
    /// What it should be.
    whole: u16,
    /// What it is where its sender leaves it to hardware.
    partial: u16,
}

fn transport_checksum(frame: &[u8]) -> Option<Checksum> {
    let (ip_at, ethertype) = network_header(frame)?;
    let ip = frame.get(ip_at..)?;
    let (protocol, header, length, addresses) = match ethertype {
        ETHERTYPE_IPV4 => {
            let fragment = be16(ip, 6)? & 0x3fff;
            let header = usize::from(ip.first()? & 0xf) * 4;
            let total = usize::from(be16(ip, 2)?);
            if fragment != 0 || header < 20 {
                return None;
            }
            (*ip.get(9)?, header, total.checked_sub(header)?, ip.get(12..20)?)
        }
        // Partial checksums behind IPv6 extension headers don't occur: the kernel's own TCP and UDP
        // stand right behind the fixed header.
        ETHERTYPE_IPV6 => (*ip.get(6)?, 40, usize::from(be16(ip, 4)?), ip.get(8..40)?),
        _ => return None,
    };
    let checksum_at = match protocol {
        TCP => 16,
        UDP => 6,
        _ => return None,
    };
    let segment = ip.get(header..header.checked_add(length)?)?;
    let (before, after) = (segment.get(..checksum_at)?, segment.get(checksum_at + 2..)?);
    let pseudo = u64::from(protocol) + length as u64 + add(addresses);
    let sum = fold(pseudo + add(before) + add(after));
    // In UDP, 0 says "no checksum"; a sum of 0 goes as its other form.
    let whole = if protocol == UDP && sum == 0 { 0xffff } else { sum };
    Some(Checksum { at: ip_at + header + checksum_at, whole, partial: !fold(pseudo) })
}

/// Offset of the network header behind any VLAN tags, and its EtherType.
fn network_header(frame: &[u8]) -> Option<(usize, u16)> {
    let mut at = ETHERTYPE_AT;
    loop {
        match be16(frame, at)? {
            TPID_8021Q | TPID_8021AD => at += 4,
            ethertype => return Some((at + 2, ethertype)),
        }
    }
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|b| u16::from_be_bytes(*b))
}

/// The one's-complement sum of big-endian 16-bit words, not yet folded (RFC 1071).
fn add(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<2>();
    let last = rest.first().map_or(0, |b| u64::from(*b) << 8);
    words.iter().map(|w| u64::from(u16::from_be_bytes(*w))).sum::<u64>() + last
}

/// Fold a sum to 16 bits and complement it.
fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests;
