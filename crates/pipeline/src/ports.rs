//! The ports a packet can leave by.

use footbridge_openflow::PortNo;
use std::collections::BTreeMap;

/// What stands behind a port number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PortKind {
    /// A device that takes frames as they are.
    Ordinary,
    /// A tunnel, whose destination comes with each packet. NORMAL and FLOOD never choose it.
    Tunnel,
}

/// A bridge's ports, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortSet(BTreeMap<PortNo, PortKind>);

impl PortSet {
    /// Add a port, or change what stands behind its number.
    pub fn insert(&mut self, port: PortNo, kind: PortKind) {
        self.0.insert(port, kind);
    }

    /// Take a port away.
    pub fn remove(&mut self, port: PortNo) {
        self.0.remove(&port);
    }

    /// What stands behind a number; None where nothing does.
    pub fn kind(&self, port: PortNo) -> Option<PortKind> {
        self.0.get(&port).copied()
    }

    /// All ports, by rising number.
    pub fn iter(&self) -> impl Iterator<Item = (PortNo, PortKind)> {
        self.0.iter().map(|(port, kind)| (*port, *kind))
    }
}

impl FromIterator<(PortNo, PortKind)> for PortSet {
    fn from_iter<I: IntoIterator<Item = (PortNo, PortKind)>>(iter: I) -> Self {
        PortSet(iter.into_iter().collect())
    }
}
