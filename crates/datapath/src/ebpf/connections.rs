//! What `ct()` knows: the maps of the tracker, and what they say as `pipeline::conntrack` has it.
//!
//! # Contract
//!
//! * The connections are the kernel's own; reading them stops no packet, and a list is not of one moment.
//! * Nothing here is needed for connections to age: those past their time are none to the program, and go when
//!   a packet finds them or the table is full. They are not listed.
//!
//! # Limits
//!
//! * A flush takes away what it read: a connection that ends and is committed anew in between goes with it. So may a
//!   sweep, where that happens within the microsecond between its second look and the deletion.
//! * Datagrams under way are kept by a map of least recent use, which gives up, on several CPUs, not exactly
//!   the oldest, and not only when it is quite full.

use super::compile::ct::TrackerFds;
use super::compile::ct::layout::{
    self, BELOW_TIME, COMMITTED, FROM_HIGH, KEY, KIND_OF_IPV6, LABEL, MARK, PROGRESS, REPLIED, RULES,
    UNREPLIED, VALUE, WORD, progress_number,
};
use super::load::{LoadError, Map, MapKind, number};
use super::pins::Pins;
use footbridge_pipeline::Time;
use footbridge_pipeline::conntrack::rules::Progress;
use footbridge_pipeline::conntrack::{Connection, Endpoint, Limits, Tuple};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How many connections the queue of those without reply has room for at least.
const QUEUE: u32 = 4096;

/// The tracker's maps.
#[derive(Debug)]
pub(super) struct Connections {
    pub(super) table: Map,
    /// Those without reply, by when they were committed.
    unreplied: Map,
    pub(super) fragments: Map,
    rules: Map,
    /// When the table was last looked through for connections past their time.
    swept: Map,
    /// Whether a process before left connections in the kernel.
    taken_over: bool,
}

impl Connections {
    /// What a process before left, or no connections; and room for so many.
    pub(super) fn open(pins: Option<&Pins>, limits: Limits) -> Result<Connections, LoadError> {
        let count = |limit: usize| u32::try_from(limit).unwrap_or(u32::MAX);
        let (connections, fragments) = (count(limits.connections), count(limits.fragments));
        let map = |kind, name, key_size, value_size, entries| {
            Map::open(pins, kind, name, key_size, value_size, entries)
        };
        let table = map(MapKind::Hash, ("connections", 1), KEY, VALUE, connections)?;
        let rules = Map::new(MapKind::Array, "fb_ct_rules", 4, RULES, 1)?;
        rules.put(&0u32.to_ne_bytes(), &layout::tables())?;
        Ok(Connections {
            taken_over: !table.is_empty()?,
            table,
            unreplied: map(MapKind::Queue, ("unreplied", 1), 0, UNREPLIED, connections.max(QUEUE))?,
            fragments: map(MapKind::LruHash, ("fragments", 1), KEY, layout::FRAGMENT, fragments)?,
            rules,
            swept: Map::new(MapKind::Array, "fb_ct_swept", 4, 8, 1)?,
        })
    }

    /// The maps, for a program.
    pub(super) fn fds(&self) -> TrackerFds {
        TrackerFds {
            connections: self.table.fd(),
            unreplied: self.unreplied.fd(),
            fragments: self.fragments.fd(),
            rules: self.rules.fd(),
            swept: self.swept.fd(),
        }
    }

    /// The connections of one zone or of all, by zone and age.
    pub(super) fn list(&self, zone: Option<u16>, now: Time) -> Result<Vec<Connection>, LoadError> {
        let entries = self.entries(zone)?.into_iter().filter(|entry| entry.connection.expires > now);
        let mut entries: Vec<Entry> = entries.collect();
        entries.sort_by_key(|entry| (entry.connection.zone, entry.committed));
        Ok(entries.into_iter().map(|entry| entry.connection).collect())
    }

    /// Forget the connections of one zone or of all; how many there were.
    pub(super) fn flush(&self, zone: Option<u16>, now: Time) -> Result<usize, LoadError> {
        let entries = self.entries(zone)?;
        for entry in &entries {
            self.table.remove(&entry.key)?;
        }
        Ok(entries.iter().filter(|entry| entry.connection.expires > now).count())
    }

    /// Put saved connections back, unless those in the kernel are a process's before, and so are newer. Those past
    /// their time are left out, those that are there stay as they are. They count as committed now, in this order.
    /// How many were put back.
    pub(super) fn restore(&self, connections: &[Connection], now: Time) -> Result<usize, LoadError> {
        if self.taken_over {
            return Ok(0);
        }
        let mut restored = 0;
        let living = connections.iter().filter(|connection| connection.expires > now);
        for (connection, committed) in living.zip(now.0..) {
            let key = key(connection);
            if self.table.add(&key, &value(connection, committed))? {
                restored += 1;
                if !connection.replied {
                    self.unreplied.push(&[&key[..], &committed.to_ne_bytes()].concat())?;
                }
            }
        }
        Ok(restored)
    }

    /// Forget what is past its time. Nothing depends on it but memory, and a full table, which a packet would otherwise
    /// have to look through.
    pub(super) fn sweep(&self, now: Time) -> Result<(), LoadError> {
        if self.table.is_empty()? {
            return Ok(());
        }
        let gone = |word: u64| Time(word & !BELOW_TIME) <= now;
        let gone = |value: &[u8]| number(value, 0).is_some_and(gone);
        for (key, _) in self.table.elements(gone)? {
            // Looked at again: what was committed anew since must stay.
            if self.table.get(&key)?.is_some_and(|value| gone(&value)) {
                self.table.remove(&key)?;
            }
        }
        self.swept.put(&0u32.to_ne_bytes(), &now.0.to_ne_bytes())
    }

    /// Make all that is known older, as if time had passed; a multiple of 256 nanoseconds.
    #[cfg(test)]
    pub(super) fn age(&self, time: std::time::Duration) -> Result<(), LoadError> {
        let time = time.as_nanos() as u64;
        for (map, ones) in [(&self.table, BELOW_TIME), (&self.fragments, 0), (&self.swept, 0)] {
            let elements = if ones == 0 && map.max_entries() == 1 {
                let key = vec![0; 4];
                map.get(&key)?.into_iter().map(|value| (key.clone(), value)).collect()
            } else {
                map.elements(|_| true)?
            };
            for (key, mut value) in elements {
                let word = number(&value, 0).unwrap_or_default();
                let older = (word & !ones).saturating_sub(time).max(1 << 8) | word & ones;
                value[..8].copy_from_slice(&older.to_ne_bytes());
                map.put(&key, &value)?;
            }
        }
        Ok(())
    }

    fn entries(&self, zone: Option<u16>) -> Result<Vec<Entry>, LoadError> {
        let mut elements = self.table.elements(|_| true)?;
        elements.sort_unstable();
        elements.dedup_by(|(a, _), (b, _)| a == b);
        let entries = elements.into_iter().filter_map(|(key, value)| Entry::of(key, &value));
        Ok(entries.filter(|entry| zone.is_none_or(|zone| entry.connection.zone == zone)).collect())
    }
}

/// An element of the map.
struct Entry {
    key: Vec<u8>,
    committed: u64,
    connection: Connection,
}

impl Entry {
    /// None for what no program of ours writes, and for one that is being taken away.
    fn of(key: Vec<u8>, value: &[u8]) -> Option<Entry> {
        let first = number(&key, 0)?;
        let [zone, proto_and_kind, low_port, high_port] =
            [48, 32, 16, 0].map(|shift| (first >> shift) as u16);
        let [kind, proto] = proto_and_kind.to_le_bytes();
        let address = |at| {
            let bits = u128::from(number(&key, at)?) << 64 | u128::from(number(&key, at + 8)?);
            let v4 = || Ipv4Addr::from_bits(bits as u32).into();
            Some(if kind & KIND_OF_IPV6 == 0 { v4() } else { IpAddr::V6(Ipv6Addr::from_bits(bits)) })
        };
        let low = Endpoint { address: address(8)?, port: low_port };
        let high = Endpoint { address: address(24)?, port: high_port };
        let word = number(value, WORD as usize).filter(|word| *word != 0)?;
        let from_low = Tuple { proto, icmp_type: kind & !KIND_OF_IPV6, src: low, dst: high };
        let connection = Connection {
            zone,
            original: if word & FROM_HIGH == 0 { from_low } else { from_low.reversed() },
            progress: *Progress::ALL.get((word & PROGRESS) as usize)?,
            replied: word & REPLIED != 0,
            mark: number(value, MARK as usize)? as u32,
            label: u128::from(number(value, LABEL as usize)?) << 64
                | u128::from(number(value, LABEL as usize + 8)?),
            expires: Time(word & !BELOW_TIME),
        };
        Some(Entry { key, committed: number(value, COMMITTED as usize)?, connection })
    }
}

fn key(connection: &Connection) -> Vec<u8> {
    let (tuple, _) = connection.original.from_first();
    let v6 = if tuple.src.address.is_ipv6() { KIND_OF_IPV6 } else { 0 };
    let first = u64::from(connection.zone) << 48
        | u64::from(tuple.proto) << 40
        | u64::from(tuple.icmp_type | v6) << 32
        | u64::from(tuple.src.port) << 16
        | u64::from(tuple.dst.port);
    let address = |address: IpAddr| match address {
        IpAddr::V4(address) => [0, address.to_bits().into()],
        IpAddr::V6(address) => [(address.to_bits() >> 64) as u64, address.to_bits() as u64],
    };
    let words = [[first].as_slice(), &address(tuple.src.address), &address(tuple.dst.address)].concat();
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn value(connection: &Connection, committed: u64) -> Vec<u8> {
    let (_, from_high) = connection.original.from_first();
    let Connection { progress, replied, mark, label, expires, .. } = connection;
    let word = expires.0 & !BELOW_TIME
        | if from_high { FROM_HIGH } else { 0 }
        | if *replied { REPLIED } else { 0 }
        | u64::from(progress_number(*progress));
    let words = [word, (*mark).into(), (label >> 64) as u64, *label as u64, committed];
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}
