//! First fragments, remembered for the later ones.

use super::extract::Class;
use super::rules::FRAGMENT_LIFETIME;
use crate::time::Time;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// What the fragments of one datagram have in common (RFC 791, RFC 8200 §4.5), in one zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FragmentKey {
    pub(super) zone: u16,
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(super) proto: u8,
    pub(super) id: u32,
}

/// Which connection the datagrams under way are of; when full, the oldest is forgotten.
#[derive(Debug, Clone)]
pub(super) struct Fragments {
    limit: usize,
    datagrams: HashMap<FragmentKey, (u64, Time, Class)>,
    by_age: BTreeMap<u64, FragmentKey>,
    clock: u64,
}

impl Default for Fragments {
    fn default() -> Self {
        Fragments::new(super::Limits::default().fragments)
    }
}

impl Fragments {
    pub(super) fn new(limit: usize) -> Fragments {
        Fragments { limit, datagrams: HashMap::new(), by_age: BTreeMap::new(), clock: 0 }
    }

    /// What the first fragment of the datagram said of the others.
    pub(super) fn first_of(&self, key: &FragmentKey, now: Time) -> Option<Class> {
        self.datagrams.get(key).filter(|(_, expires, _)| *expires > now).map(|(.., class)| *class)
    }

    pub(super) fn insert(&mut self, key: FragmentKey, class: Class, now: Time) {
        if let Some((age, ..)) = self.datagrams.remove(&key) {
            self.by_age.remove(&age);
        }
        while self.datagrams.len() >= self.limit {
            let Some((_, oldest)) = self.by_age.pop_first() else { return };
            self.datagrams.remove(&oldest);
        }
        self.clock += 1;
        self.by_age.insert(self.clock, key);
        self.datagrams.insert(key, (self.clock, now.after(FRAGMENT_LIFETIME), class));
    }

    pub(super) fn sweep(&mut self, now: Time) {
        self.datagrams.retain(|_, (age, expires, _)| {
            let keep = *expires > now;
            if !keep {
                self.by_age.remove(age);
            }
            keep
        });
    }
}
