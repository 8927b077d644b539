//! Keys back into frames.

use super::checksum;
use super::parse::{
    ETH_TYPE_VLAN, Layers, ND_OPT_SLL, ND_OPT_TLL, Network, Transport, VLAN_PRESENT, parse, u16_at,
};
use footbridge_openflow::{Field, Key};

/// A frame on its way through the tables, and the key that its bytes stand for.
///
/// Actions write keys; [`Frame::write`] brings the bytes up to date with one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    bytes: Vec<u8>,
    layers: Layers,
    key: Key,
    /// Tags behind the outer one that `push_vlan` covered up.
    covered: u8,
}

impl Frame {
    /// Read a frame.
    pub fn new(bytes: Vec<u8>) -> Frame {
        let (key, layers) = parse(&bytes);
        Frame { bytes, layers, key, covered: 0 }
    }

    /// The fields of the bytes as they are; metadata is 0.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn layers(&self) -> &Layers {
        &self.layers
    }

    /// Write those fields of `key` that differ from the bytes. Fields of layers that the frame does
    /// not have are left out.
    pub fn write(&mut self, key: &Key) {
        if self.bytes.len() < 14 || self.key == *key {
            return;
        }
        if self.changed(key, Field::EthDst) {
            self.put(0, &mac(key, Field::EthDst), &[]);
        }
        if self.changed(key, Field::EthSrc) {
            self.put(6, &mac(key, Field::EthSrc), &[]);
        }
        self.write_vlan(key.get(Field::VlanTci) as u16);
        match self.layers.network {
            Some(Network::Arp(at)) => self.write_arp(at, key),
            Some(Network::Ipv4(at)) => self.write_ipv4(at, key),
            Some(Network::Ipv6(at)) => self.write_ipv6(at, key),
            None => {}
        }
        if let Some((transport, at)) = self.layers.transport {
            self.write_transport(transport, at, key);
        }
        self.key = key.clone();
    }

    /// Put a tag in front of what is there (`push_vlan`): `key` gets VLAN 0, priority 0.
    pub fn push_vlan(&mut self, tpid: u16, key: &mut Key) {
        self.write(key);
        if self.bytes.len() < 14 {
            return;
        }
        self.covered = self.covered.saturating_add(u8::from(self.tagged()));
        self.insert_tag(tpid, 0);
        key.set(Field::VlanTci, VLAN_PRESENT.into());
        self.key = key.clone();
    }

    /// Take the outer tag off (`pop_vlan`), where there is one; one that `push_vlan` covered shows
    /// again.
    pub fn pop_vlan(&mut self, key: &mut Key) {
        self.write(key);
        if !self.tagged() {
            return;
        }
        self.remove_tag();
        let uncovered = (self.covered > 0).then(|| u16_at(&self.bytes, 14)).flatten();
        self.covered = self.covered.saturating_sub(1);
        key.set(Field::VlanTci, uncovered.map_or(0, |tci| u128::from(tci | VLAN_PRESENT)));
        self.key = key.clone();
    }

    fn tagged(&self) -> bool {
        self.key.get(Field::VlanTci) & u128::from(VLAN_PRESENT) != 0
    }

    fn changed(&self, key: &Key, field: Field) -> bool {
        self.key.get(field) != key.get(field)
    }

    /// Write bytes at an offset, and bring the checksums that cover them up to date. Offsets of
    /// network and transport headers are even, so 16-bit words of the frame are those of the sums.
    fn put(&mut self, at: usize, new: &[u8], checksums: &[Sum]) {
        let (from, to) = (at & !1, (at + new.len() + 1) & !1);
        if at + new.len() > self.bytes.len() {
            return;
        }
        let to = to.min(self.bytes.len());
        let old_sum = checksum::sum(&self.bytes[from..to]);
        self.bytes[at..at + new.len()].copy_from_slice(new);
        let new_sum = checksum::sum(&self.bytes[from..to]);
        for sum in checksums {
            let Some(old) = u16_at(&self.bytes, sum.at) else { continue };
            // In UDP 0 means that there is no checksum (RFC 768).
            if sum.zero_is_none && old == 0 {
                continue;
            }
            let fresh = match checksum::update(old, old_sum, new_sum) {
                0 if sum.zero_is_none => 0xffff,
                fresh => fresh,
            };
            self.bytes[sum.at..sum.at + 2].copy_from_slice(&fresh.to_be_bytes());
        }
    }

    fn write_vlan(&mut self, tci: u16) {
        let old = self.key.get(Field::VlanTci) as u16;
        match (old & VLAN_PRESENT != 0, tci & VLAN_PRESENT != 0) {
            (true, true) if old != tci => self.put(14, &(tci & !VLAN_PRESENT).to_be_bytes(), &[]),
            (false, true) => self.insert_tag(ETH_TYPE_VLAN, tci),
            (true, false) => {
                self.remove_tag();
                self.covered = self.covered.saturating_sub(1);
            }
            _ => {}
        }
    }

    fn insert_tag(&mut self, tpid: u16, tci: u16) {
        let ([a, b], [c, d]) = (tpid.to_be_bytes(), (tci & !VLAN_PRESENT).to_be_bytes());
        self.bytes.splice(12..12, [a, b, c, d]);
        self.layers.shift(4);
    }

    fn remove_tag(&mut self) {
        self.bytes.drain(12..16);
        self.layers.shift(-4);
    }

    fn write_arp(&mut self, at: usize, key: &Key) {
        if self.changed(key, Field::ArpOp) {
            self.put(at + 6, &(key.get(Field::ArpOp) as u16).to_be_bytes(), &[]);
        }
        for (field, offset) in [(Field::ArpSha, 8), (Field::ArpTha, 18)] {
            if self.changed(key, field) {
                self.put(at + offset, &mac(key, field), &[]);
            }
        }
        for (field, offset) in [(Field::ArpSpa, 14), (Field::ArpTpa, 24)] {
            if self.changed(key, field) {
                self.put(at + offset, &(key.get(field) as u32).to_be_bytes(), &[]);
            }
        }
    }

    fn write_ipv4(&mut self, at: usize, key: &Key) {
        let header = Sum { at: at + 10, zero_is_none: false };
        for (field, offset) in [(Field::NwTos, 1), (Field::NwTtl, 8)] {
            if self.changed(key, field) {
                self.put(at + offset, &[key.get(field) as u8], &[header]);
            }
        }
        for (field, offset) in [(Field::NwSrc, 12), (Field::NwDst, 16)] {
            if self.changed(key, field) {
                let address = (key.get(field) as u32).to_be_bytes();
                match self.pseudo_header_sum() {
                    Some(transport) => self.put(at + offset, &address, &[header, transport]),
                    None => self.put(at + offset, &address, &[header]),
                }
            }
        }
    }

    fn write_ipv6(&mut self, at: usize, key: &Key) {
        if self.changed(key, Field::NwTos) || self.changed(key, Field::Ipv6Label) {
            let version = self.bytes.get(at).map_or(6, |byte| byte >> 4);
            let word = (u32::from(version) << 28)
                | ((key.get(Field::NwTos) as u32) << 20)
                | (key.get(Field::Ipv6Label) as u32);
            self.put(at, &word.to_be_bytes(), &[]);
        }
        if self.changed(key, Field::NwTtl) {
            self.put(at + 7, &[key.get(Field::NwTtl) as u8], &[]);
        }
        for (field, offset, summed) in [(Field::Ipv6Src, 8, true), (Field::Ipv6Dst, 24, !self.layers.routed)]
        {
            if self.changed(key, field) {
                let address = key.get(field).to_be_bytes();
                match self.pseudo_header_sum().filter(|_| summed) {
                    Some(transport) => self.put(at + offset, &address, &[transport]),
                    None => self.put(at + offset, &address, &[]),
                }
            }
        }
    }

    /// The transport checksum, where it covers the IP addresses.
    fn pseudo_header_sum(&self) -> Option<Sum> {
        let (transport, _) = self.layers.transport?;
        if matches!(transport, Transport::Icmp | Transport::Sctp) { None } else { self.transport_sum() }
    }

    fn transport_sum(&self) -> Option<Sum> {
        let (transport, at) = self.layers.transport?;
        Some(match transport {
            Transport::Tcp => Sum { at: at + 16, zero_is_none: false },
            Transport::Udp => Sum { at: at + 6, zero_is_none: true },
            Transport::Icmp | Transport::Icmpv6 => Sum { at: at + 2, zero_is_none: false },
            Transport::Sctp => return None,
        })
    }

    fn write_transport(&mut self, transport: Transport, at: usize, key: &Key) {
        let sums: Vec<Sum> = self.transport_sum().into_iter().collect();
        match transport {
            Transport::Sctp => self.write_sctp(at, key),
            Transport::Tcp | Transport::Udp => {
                for (field, offset) in [(Field::TcpSrc, 0), (Field::TcpDst, 2)] {
                    if self.changed(key, field) {
                        self.put(at + offset, &(key.get(field) as u16).to_be_bytes(), &sums);
                    }
                }
            }
            Transport::Icmp | Transport::Icmpv6 => {
                for (field, offset) in [(Field::IcmpType, 0), (Field::IcmpCode, 1)] {
                    if self.changed(key, field) {
                        self.put(at + offset, &[key.get(field) as u8], &sums);
                    }
                }
                if let Some(target) = self.layers.nd_target {
                    self.write_nd(at, target, key, &sums);
                }
            }
        }
    }

    fn write_nd(&mut self, at: usize, target: usize, key: &Key, sums: &[Sum]) {
        if self.changed(key, Field::NdReserved) {
            self.put(at + 4, &(key.get(Field::NdReserved) as u32).to_be_bytes(), sums);
        }
        if self.changed(key, Field::NdTarget) {
            self.put(target, &key.get(Field::NdTarget).to_be_bytes(), sums);
        }
        if let Some(option) = self.layers.nd_option
            && self.changed(key, Field::NdOptionsType)
        {
            let kind = key.get(Field::NdOptionsType) as u8;
            self.put(option, &[kind], sums);
            // The address that stands there is now the other one.
            let address = Some(option + 2);
            match kind {
                ND_OPT_SLL => (self.layers.nd_sll, self.layers.nd_tll) = (address, None),
                ND_OPT_TLL => (self.layers.nd_sll, self.layers.nd_tll) = (None, address),
                _ => {}
            }
        }
        for (field, address) in [(Field::NdSll, self.layers.nd_sll), (Field::NdTll, self.layers.nd_tll)] {
            if let Some(address) = address
                && self.changed(key, field)
            {
                self.put(address, &mac(key, field), sums);
            }
        }
    }

    /// Ports of SCTP. The checksum changes by the difference of what it should have been and should
    /// be, so that a wrong one stays wrong.
    fn write_sctp(&mut self, at: usize, key: &Key) {
        if !self.changed(key, Field::SctpSrc) && !self.changed(key, Field::SctpDst) {
            return;
        }
        let Some(before) = self.sctp_crc(at) else { return };
        self.put(at, &(key.get(Field::SctpSrc) as u16).to_be_bytes(), &[]);
        self.put(at + 2, &(key.get(Field::SctpDst) as u16).to_be_bytes(), &[]);
        let Some(after) = self.sctp_crc(at) else { return };
        let difference = (before ^ after).to_le_bytes();
        for (byte, flip) in self.bytes[at + 8..at + 12].iter_mut().zip(difference) {
            *byte ^= flip;
        }
    }

    fn sctp_crc(&self, at: usize) -> Option<u32> {
        let packet = self.bytes.get(at..self.layers.end)?;
        Some(checksum::crc32c(&[packet.get(..8)?, &[0; 4], packet.get(12..)?]))
    }
}

/// Where an Internet checksum stands.
#[derive(Debug, Clone, Copy)]
struct Sum {
    at: usize,
    /// 0 says that there is none.
    zero_is_none: bool,
}

impl Layers {
    /// Move everything behind the MAC addresses by some bytes.
    fn shift(&mut self, by: isize) {
        let moved = |at: usize| at.saturating_add_signed(by);
        self.network = self.network.map(|network| match network {
            Network::Arp(at) => Network::Arp(moved(at)),
            Network::Ipv4(at) => Network::Ipv4(moved(at)),
            Network::Ipv6(at) => Network::Ipv6(moved(at)),
        });
        self.transport = self.transport.map(|(transport, at)| (transport, moved(at)));
        self.end = moved(self.end);
        for at in [&mut self.nd_target, &mut self.nd_sll, &mut self.nd_tll, &mut self.nd_option] {
            *at = at.map(moved);
        }
    }
}

fn mac(key: &Key, field: Field) -> [u8; 6] {
    footbridge_openflow::MacAddr::from(key.get(field)).0
}
