//! The table of connections: lookup in either direction, ageing, and what goes when it is full.

use super::rules::{self, Advance, Progress, SWEEP_INTERVAL, Step, timeout};
use super::{Connection, Endpoint, Limits, Outcome, Tuple, state};
use crate::time::Time;
use std::collections::{BTreeMap, HashMap};

/// Both directions of a connection: its ends in a fixed order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Ends {
    zone: u16,
    proto: u8,
    icmp_type: u8,
    low: Endpoint,
    high: Endpoint,
}

impl Ends {
    fn of(zone: u16, tuple: &Tuple) -> Ends {
        let (Tuple { proto, icmp_type, src: low, dst: high }, _) = tuple.from_first();
        Ends { zone, proto, icmp_type, low, high }
    }
}

/// One connection.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// The direction in which it was committed.
    original: Tuple,
    progress: Progress,
    replied: bool,
    pub(super) mark: u32,
    pub(super) label: u128,
    expires: Time,
    /// Order of committing.
    serial: u64,
}

impl Entry {
    pub(super) fn is_reply(&self, tuple: &Tuple) -> bool {
        *tuple != self.original
    }

    /// Take a packet's step.
    pub(super) fn advance(&mut self, tuple: &Tuple, step: Option<Step>, now: Time) -> Advance {
        let reply = self.is_reply(tuple);
        let (progress, advance) = rules::advance(self.progress, step, reply);
        if advance == Advance::Valid {
            self.progress = progress;
            self.replied |= reply;
            self.expires = now.after(timeout(tuple.proto, progress));
        }
        advance
    }

    pub(super) fn outcome(&self, zone: u16, tuple: &Tuple) -> Outcome {
        let stage = if self.replied { state::EST } else { state::NEW };
        let direction = if self.is_reply(tuple) { state::RPL } else { 0 };
        Outcome {
            state: state::TRK | stage | direction,
            zone,
            mark: self.mark,
            label: self.label,
            original: Some(self.original),
        }
    }
}

/// All connections.
#[derive(Debug, Clone)]
pub(super) struct Table {
    limit: usize,
    entries: HashMap<Ends, Entry>,
    /// Those without reply, by when they were committed: who goes first when the table is full.
    unreplied: BTreeMap<u64, Ends>,
    next_serial: u64,
    /// When the table was last swept because it was full.
    swept: Time,
    pub(super) refused: u64,
}

impl Default for Table {
    fn default() -> Self {
        Table::new(Limits::default().connections)
    }
}

impl Table {
    pub(super) fn new(limit: usize) -> Table {
        Table {
            limit,
            entries: HashMap::new(),
            unreplied: BTreeMap::new(),
            next_serial: 0,
            swept: Time::default(),
            refused: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The connection of a packet; one past its time goes.
    pub(super) fn get_mut(&mut self, zone: u16, tuple: &Tuple, now: Time) -> Option<&mut Entry> {
        let ends = Ends::of(zone, tuple);
        if self.entries.get(&ends)?.expires <= now {
            self.remove(zone, tuple);
            return None;
        }
        self.entries.get_mut(&ends)
    }

    pub(super) fn remove(&mut self, zone: u16, tuple: &Tuple) {
        if let Some(entry) = self.entries.remove(&Ends::of(zone, tuple)) {
            self.unreplied.remove(&entry.serial);
        }
    }

    /// Take the connection off the list of those without reply, if it is no longer one.
    pub(super) fn note_replied(&mut self, zone: u16, tuple: &Tuple) {
        if let Some(entry) = self.entries.get(&Ends::of(zone, tuple))
            && entry.replied
        {
            self.unreplied.remove(&entry.serial);
        }
    }

    /// Keep a new connection, where there is room or can be made.
    pub(super) fn insert(&mut self, zone: u16, original: Tuple, progress: Progress, now: Time) {
        let expires = now.after(timeout(original.proto, progress));
        let (replied, mark, label) = (false, 0, 0);
        self.put(zone, Entry { original, progress, replied, mark, label, expires, serial: 0 }, now);
    }

    fn put(&mut self, zone: u16, mut entry: Entry, now: Time) {
        if self.entries.len() >= self.limit && !self.make_room(now) {
            self.refused += 1;
            return;
        }
        entry.serial = self.next_serial;
        self.next_serial += 1;
        let ends = Ends::of(zone, &entry.original);
        if !entry.replied {
            self.unreplied.insert(entry.serial, ends);
        }
        if let Some(old) = self.entries.insert(ends, entry) {
            self.unreplied.remove(&old.serial);
        }
    }

    fn make_room(&mut self, now: Time) -> bool {
        if now.since(self.swept) >= SWEEP_INTERVAL && self.sweep(now) > 0 {
            return self.entries.len() < self.limit;
        }
        match self.unreplied.pop_first() {
            Some((_, ends)) => self.entries.remove(&ends).is_some(),
            None => false,
        }
    }

    pub(super) fn sweep(&mut self, now: Time) -> usize {
        let before = self.entries.len();
        self.swept = now;
        self.entries.retain(|_, entry| entry.expires > now);
        let entries = &self.entries;
        self.unreplied.retain(|serial, ends| entries.get(ends).is_some_and(|entry| entry.serial == *serial));
        before - self.entries.len()
    }

    pub(super) fn flush(&mut self, zone: Option<u16>) -> usize {
        let before = self.entries.len();
        self.entries.retain(|ends, _| zone.is_some_and(|zone| ends.zone != zone));
        let entries = &self.entries;
        self.unreplied.retain(|_, ends| entries.contains_key(ends));
        before - self.entries.len()
    }

    pub(super) fn list(&self, zone: Option<u16>, now: Time) -> Vec<Connection> {
        let mut entries: Vec<(u16, &Entry)> = self
            .entries
            .iter()
            .filter(|(ends, entry)| zone.is_none_or(|zone| ends.zone == zone) && entry.expires > now)
            .map(|(ends, entry)| (ends.zone, entry))
            .collect();
        entries.sort_unstable_by_key(|(zone, entry)| (*zone, entry.serial));
        entries.into_iter().map(|(zone, entry)| entry.listed(zone)).collect()
    }

    pub(super) fn restore(&mut self, connection: Connection, now: Time) -> bool {
        let Connection { zone, original, progress, replied, mark, label, expires } = connection;
        let fits = expires > now && self.get_mut(zone, &original, now).is_none();
        if fits {
            self.put(zone, Entry { original, progress, replied, mark, label, expires, serial: 0 }, now);
        }
        fits
    }
}

impl Entry {
    fn listed(&self, zone: u16) -> Connection {
        Connection {
            zone,
            original: self.original,
            progress: self.progress,
            replied: self.replied,
            mark: self.mark,
            label: self.label,
            expires: self.expires,
        }
    }
}
