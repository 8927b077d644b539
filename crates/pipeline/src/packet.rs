//! Packets: frames with where they came from, read into keys and written back.
//!
//! # Contract
//!
//! * [`parse()`] reads a frame as Open vSwitch's `flow_extract` does: a layer that is absent,
//!   truncated or lies about its length reads as zeros, and so do the layers above it.
//! * [`Frame`] writes back only what changed, and keeps checksums by difference (RFC 1624), so that
//!   a wrong checksum stays wrong by as much.
//! * Nothing here panics, whatever the bytes.

mod checksum;
mod compose;
mod frame;
mod parse;
#[cfg(test)]
mod tests;

pub use compose::compose;
pub use frame::Frame;
pub(crate) use parse::announces_extension;
pub(crate) use parse::{Fragment, Network, Transport};

use footbridge_openflow::{Field, Key, PortNo};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A frame and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// The port it came in on.
    pub in_port: PortNo,
    /// The frame, from the destination MAC on, without frame check sequence.
    pub frame: Vec<u8>,
    /// The header it came through a tunnel with; the default where it did not.
    pub tunnel: TunnelKey,
}

/// The fields of a tunnel header that flows can match and write. All zero: no tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TunnelKey {
    /// The tunnel id (VNI).
    pub id: u64,
    /// Outer IPv4 source.
    pub src: Ipv4Addr,
    /// Outer IPv4 destination.
    pub dst: Ipv4Addr,
    /// Outer IPv6 source.
    pub src6: Ipv6Addr,
    /// Outer IPv6 destination.
    pub dst6: Ipv6Addr,
    /// VXLAN group policy id.
    pub gbp_id: u16,
    /// VXLAN group policy flags.
    pub gbp_flags: u8,
    /// `tun_flags` (bit 0: OAM).
    pub flags: u8,
    /// `tun_metadata0` to `tun_metadata7`.
    pub metadata: [u128; 8],
}

impl Default for TunnelKey {
    fn default() -> Self {
        TunnelKey {
            id: 0,
            src: Ipv4Addr::UNSPECIFIED,
            dst: Ipv4Addr::UNSPECIFIED,
            src6: Ipv6Addr::UNSPECIFIED,
            dst6: Ipv6Addr::UNSPECIFIED,
            gbp_id: 0,
            gbp_flags: 0,
            flags: 0,
            metadata: [0; 8],
        }
    }
}

const TUN_METADATA: [Field; 8] = [
    Field::TunMetadata0,
    Field::TunMetadata1,
    Field::TunMetadata2,
    Field::TunMetadata3,
    Field::TunMetadata4,
    Field::TunMetadata5,
    Field::TunMetadata6,
    Field::TunMetadata7,
];

impl TunnelKey {
    /// The tunnel fields of a packet.
    pub fn of(key: &Key) -> TunnelKey {
        TunnelKey {
            id: key.get(Field::TunId) as u64,
            src: Ipv4Addr::from_bits(key.get(Field::TunSrc) as u32),
            dst: Ipv4Addr::from_bits(key.get(Field::TunDst) as u32),
            src6: Ipv6Addr::from_bits(key.get(Field::TunIpv6Src)),
            dst6: Ipv6Addr::from_bits(key.get(Field::TunIpv6Dst)),
            gbp_id: key.get(Field::TunGbpId) as u16,
            gbp_flags: key.get(Field::TunGbpFlags) as u8,
            flags: key.get(Field::TunFlags) as u8,
            metadata: TUN_METADATA.map(|field| key.get(field)),
        }
    }

    /// Write the tunnel fields of a packet.
    pub fn write(&self, key: &mut Key) {
        key.set(Field::TunId, self.id.into());
        key.set(Field::TunSrc, self.src.to_bits().into());
        key.set(Field::TunDst, self.dst.to_bits().into());
        key.set(Field::TunIpv6Src, self.src6.to_bits());
        key.set(Field::TunIpv6Dst, self.dst6.to_bits());
        key.set(Field::TunGbpId, self.gbp_id.into());
        key.set(Field::TunGbpFlags, self.gbp_flags.into());
        key.set(Field::TunFlags, self.flags.into());
        for (field, value) in TUN_METADATA.into_iter().zip(self.metadata) {
            key.set(field, value);
        }
    }

    /// Where the packet shall go, or was sent: by IPv4 where both addresses are set.
    pub fn destination(&self) -> Option<IpAddr> {
        match (self.dst.is_unspecified(), self.dst6.is_unspecified()) {
            (false, _) => Some(self.dst.into()),
            (true, false) => Some(self.dst6.into()),
            (true, true) => None,
        }
    }
}

/// The fields of a frame, as the tables see them.
pub fn parse(bytes: &[u8], in_port: PortNo, tunnel: &TunnelKey) -> Key {
    let mut key = parse::parse(bytes).0;
    key.set(Field::InPortOxm, in_port.0.into());
    tunnel.write(&mut key);
    key
}

/// Whether a field is of the packet itself rather than of what is known about it.
pub fn is_packet_field(field: Field) -> bool {
    // The key's layout puts the Ethernet header and all behind it last.
    field.info().location.word >= Field::EthDst.info().location.word
}
