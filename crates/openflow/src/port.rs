//! Port numbers and their names.

use std::collections::BTreeMap;

/// An OpenFlow port number, in the 32 bits of OpenFlow 1.1 and later.
///
/// OpenFlow 1.0's reserved numbers 0xfff8 to 0xffff stand at 0xfffffff8 to 0xffffffff, as in Open
/// vSwitch; ordinary ports are 1 to 0xfeff.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortNo(pub u32);

impl PortNo {
    /// No port: the in_port of a packet that came from nowhere.
    pub const ZERO: PortNo = PortNo(0);
    /// The highest number an ordinary port can have.
    pub const MAX: PortNo = PortNo(0xfeff);
    /// The port the packet came in on.
    pub const IN_PORT: PortNo = PortNo(0xffff_fff8);
    /// The first table, in packet-out.
    pub const TABLE: PortNo = PortNo(0xffff_fff9);
    /// Learning-switch forwarding.
    pub const NORMAL: PortNo = PortNo(0xffff_fffa);
    /// Every port but the one the packet came in on, and those that do not flood.
    pub const FLOOD: PortNo = PortNo(0xffff_fffb);
    /// Every port but the one the packet came in on.
    pub const ALL: PortNo = PortNo(0xffff_fffc);
    /// The controllers.
    pub const CONTROLLER: PortNo = PortNo(0xffff_fffd);
    /// The bridge's own device; Footbridge's bridges have none.
    pub const LOCAL: PortNo = PortNo(0xffff_fffe);
    /// No port.
    pub const NONE: PortNo = PortNo(0xffff_ffff);
    /// OFPP_UNSET: actset_output without an output in the action set (OpenFlow 1.5).
    pub const UNSET: PortNo = PortNo(0xffff_fff7);

    /// Whether the number names one attachment of the bridge rather than a way to choose some.
    pub fn is_ordinary(self) -> bool {
        (1..=PortNo::MAX.0).contains(&self.0)
    }
}

/// The names of a bridge's ports, both ways. What text prints and reads port names with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortNames {
    names: BTreeMap<PortNo, String>,
    numbers: BTreeMap<String, PortNo>,
}

impl PortNames {
    /// No names: text then holds numbers.
    pub fn none() -> PortNames {
        PortNames::default()
    }

    /// Give `port` the name `name`; an older name of the port, and an older port of the name, are
    /// forgotten.
    pub fn insert(&mut self, port: PortNo, name: impl Into<String>) {
        let name = name.into();
        if let Some(old) = self.names.insert(port, name.clone()) {
            self.numbers.remove(&old);
        }
        if let Some(old) = self.numbers.insert(name, port).filter(|old| *old != port) {
            self.names.remove(&old);
        }
    }

    /// The name of a port.
    pub fn name(&self, port: PortNo) -> Option<&str> {
        self.names.get(&port).map(String::as_str)
    }

    /// The port of a name.
    pub fn number(&self, name: &str) -> Option<PortNo> {
        self.numbers.get(name).copied()
    }

    /// All ports with their names, by rising number.
    pub fn iter(&self) -> impl Iterator<Item = (PortNo, &str)> {
        self.names.iter().map(|(port, name)| (*port, name.as_str()))
    }
}

impl<S: Into<String>> FromIterator<(PortNo, S)> for PortNames {
    fn from_iter<I: IntoIterator<Item = (PortNo, S)>>(iter: I) -> Self {
        let mut names = PortNames::none();
        for (port, name) in iter {
            names.insert(port, name);
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_the_older_name_of_a_port_and_the_older_port_of_a_name() {
        let mut names = PortNames::none();
        names.insert(PortNo(1), "a");
        names.insert(PortNo(1), "b");
        assert_eq!((names.number("a"), names.number("b")), (None, Some(PortNo(1))));
        names.insert(PortNo(2), "b");
        assert_eq!((names.name(PortNo(1)), names.number("b")), (None, Some(PortNo(2))));
        names.insert(PortNo(2), "b");
        assert_eq!(names.iter().collect::<Vec<_>>(), [(PortNo(2), "b")]);
    }
}
