//! The MAC learning table behind NORMAL.
//!
//! Entries are of an address in a VLAN, as in Open vSwitch's mac-learning: they age by timestamps,
//! so that nothing goes stale while nobody sweeps; a full table gives up the oldest entry of the
//! port that has most, so that one port's flood of addresses does not push out the others'.

#[cfg(test)]
mod tests;

use crate::time::Time;
use footbridge_openflow::{MacAddr, PortNo};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// How long an address is remembered after its last packet.
pub const AGEING_TIME: Duration = Duration::from_secs(300);
/// How many addresses are remembered.
pub const LIMIT: usize = 8192;

/// One learned address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FdbEntry {
    /// The address.
    pub mac: MacAddr,
    /// The VLAN it was seen in; 0 for none.
    pub vlan: u16,
    /// Where it is.
    pub port: PortNo,
    /// When it was last seen.
    pub seen: Time,
}

/// Which address was seen on which port.
#[derive(Debug, Clone)]
pub struct Fdb {
    limit: usize,
    places: HashMap<(MacAddr, u16), Place>,
    /// Each port's addresses, by when they were last seen.
    by_port: HashMap<PortNo, BTreeMap<u64, (MacAddr, u16)>>,
    /// Numbers the sightings.
    clock: u64,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    port: PortNo,
    seen: Time,
    sighting: u64,
}

impl Default for Fdb {
    fn default() -> Self {
        Fdb::with_limit(LIMIT)
    }
}

impl Fdb {
    /// A table of at most `limit` addresses.
    pub fn with_limit(limit: usize) -> Fdb {
        Fdb { limit, places: HashMap::new(), by_port: HashMap::new(), clock: 0 }
    }

    /// Where an address is.
    pub fn lookup(&self, mac: MacAddr, vlan: u16, now: Time) -> Option<PortNo> {
        self.places.get(&(mac, vlan)).filter(|place| !place.aged(now)).map(|place| place.port)
    }

    /// Note that a packet from `mac` came in on `port`. Group addresses are not learned.
    ///
    /// The last packet says where the address is. (Open vSwitch's lock after a gratuitous ARP is for
    /// bonds, which there are none of.)
    pub fn learn(&mut self, mac: MacAddr, vlan: u16, port: PortNo, now: Time) {
        if mac.is_multicast() || self.limit == 0 {
            return;
        }
        if !self.places.contains_key(&(mac, vlan)) && self.places.len() >= self.limit {
            self.evict();
        }
        self.forget((mac, vlan));
        self.clock += 1;
        self.by_port.entry(port).or_default().insert(self.clock, (mac, vlan));
        self.places.insert((mac, vlan), Place { port, seen: now, sighting: self.clock });
    }

    /// Forget what was seen on a port.
    pub fn remove_port(&mut self, port: PortNo) {
        for (_, key) in self.by_port.remove(&port).into_iter().flatten() {
            self.places.remove(&key);
        }
    }

    /// Forget everything.
    pub fn clear(&mut self) {
        self.places.clear();
        self.by_port.clear();
    }

    /// What is known, by port, the oldest first.
    pub fn entries(&self, now: Time) -> Vec<FdbEntry> {
        let mut entries: Vec<(u64, FdbEntry)> = self
            .places
            .iter()
            .filter(|(_, place)| !place.aged(now))
            .map(|((mac, vlan), place)| {
                (place.sighting, FdbEntry { mac: *mac, vlan: *vlan, port: place.port, seen: place.seen })
            })
            .collect();
        entries.sort_unstable_by_key(|(sighting, entry)| (entry.port, *sighting));
        entries.into_iter().map(|(_, entry)| entry).collect()
    }

    fn forget(&mut self, key: (MacAddr, u16)) {
        if let Some(place) = self.places.remove(&key)
            && let Some(addresses) = self.by_port.get_mut(&place.port)
        {
            addresses.remove(&place.sighting);
            if addresses.is_empty() {
                self.by_port.remove(&place.port);
            }
        }
    }

    /// Drop the oldest address of the port that has most.
    fn evict(&mut self) {
        let fullest = self.by_port.iter().max_by_key(|(port, addresses)| (addresses.len(), **port));
        if let Some(key) = fullest.and_then(|(_, addresses)| addresses.values().next().copied()) {
            self.forget(key);
        }
    }
}

impl Place {
    fn aged(&self, now: Time) -> bool {
        now.since(self.seen) >= AGEING_TIME
    }
}
