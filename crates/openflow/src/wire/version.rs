//! OpenFlow versions, and how two ends agree on one.
//!
//! OpenFlow 1.3.5 §6.3.1 and 1.0.0 §5.5.1: each end sends a HELLO; the version spoken is the highest
//! in both bitmaps, or, where an end sends no bitmap, the lower of the two header versions.

use core::fmt;

/// A version that is spoken. 1.1 and 1.2 are negotiated away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Version {
    /// OpenFlow 1.0, with the Nicira extensions.
    V10 = 1,
    /// OpenFlow 1.3.
    V13 = 4,
    /// OpenFlow 1.4.
    V14 = 5,
    /// OpenFlow 1.5.
    V15 = 6,
}

impl Version {
    /// All of them, oldest first.
    pub const ALL: [Version; 4] = [Version::V10, Version::V13, Version::V14, Version::V15];

    /// The version that a header's first byte names.
    pub fn from_wire(byte: u8) -> Option<Version> {
        Version::ALL.into_iter().find(|v| v.wire() == byte)
    }

    /// The header's first byte.
    pub fn wire(self) -> u8 {
        self as u8
    }
}

/// As `ovs-ofctl -O` spells it.
impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::V10 => "OpenFlow10",
            Version::V13 => "OpenFlow13",
            Version::V14 => "OpenFlow14",
            Version::V15 => "OpenFlow15",
        })
    }
}

/// A set of version numbers, bit N for version N, those that we do not speak included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Versions(pub u32);

impl Versions {
    /// All that we speak.
    pub const SPOKEN: Versions = Versions(1 << 1 | 1 << 4 | 1 << 5 | 1 << 6);

    /// Exactly these.
    pub fn of(versions: &[Version]) -> Versions {
        Versions(versions.iter().fold(0, |bits, v| bits | 1 << v.wire()))
    }

    /// What a header's version stands for where no bitmap says more: it and all before it.
    pub fn up_to(wire: u8) -> Versions {
        let bits = if wire >= 31 { u32::MAX } else { (1 << (wire + 1)) - 1 };
        Versions(bits & !1)
    }

    /// The version to speak between ends that offer these sets: the highest in both.
    pub fn negotiate(self, peer: Versions) -> Option<Version> {
        let both = self.0 & peer.0;
        Version::ALL.into_iter().rev().find(|v| both & (1 << v.wire()) != 0)
    }
}
