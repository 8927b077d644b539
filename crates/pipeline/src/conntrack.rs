//! The connection tracker behind `ct()`: one state machine, with its connections in one table.
//!
//! # Contract
//!
//! * A connection is one entry: zone, the two ends in a fixed order, and which of them committed it.
//!   It exists from its commit on; before that every packet of it that may begin a connection is
//!   `new`.
//! * `new` until a reply was seen, also after the commit; from then on `est`. `rpl` is set on packets
//!   against the direction of the commit.
//! * TCP is followed by its flags ([`tcp`]), without windows, and a connection may be picked up in
//!   its middle. What can be no part of the connection is `inv`, as is a packet whose headers lie.
//! * An ICMP error is `rel` (and `rpl`) without `new`, and carries the mark, label and direction of
//!   the connection whose packet it quotes; without one it is `inv`, and where it does not go to the
//!   sender of that packet.
//! * Fragments are not put together. A first fragment is tracked by its headers; later ones take its
//!   connection from a bounded table, and are `inv` where the first did not come before them.
//! * A connection ages by its timestamp, looked at when it is looked up. A full table gives up the
//!   oldest connection without reply; it never gives up one with a reply for a new one.
//!
//! # Limits
//!
//! No address translation, no helpers, no checksum validation (frames from this host may have
//! theirs still to come). The same packets at the same times
//! give the same answers.

mod extract;
mod fragments;
pub mod rules;
mod table;
pub mod tcp;
#[cfg(test)]
mod tests;

use crate::packet::Frame;
use crate::time::Time;
use extract::{Class, classify};
use fragments::{FragmentKey, Fragments};
use rules::{Advance, Icmp, Step, may_begin};
pub use rules::{Progress, timeout};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use table::Table;

/// The bits of ct_state (ovs-fields(7)).
pub mod state {
    /// Of a connection without a reply yet.
    pub const NEW: u8 = 0x01;
    /// Of a connection that a reply was seen of.
    pub const EST: u8 = 0x02;
    /// About a connection rather than of it.
    pub const REL: u8 = 0x04;
    /// Against the direction in which the connection was committed.
    pub const RPL: u8 = 0x08;
    /// Of no connection that can be.
    pub const INV: u8 = 0x10;
    /// Went through the tracker.
    pub const TRK: u8 = 0x20;
}

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its address.
    pub address: IpAddr,
    /// Its port; in ICMP the identifier, at both ends; 0 in protocols without ports.
    pub port: u16,
}

/// What the packets of one direction of a connection have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tuple {
    /// IP protocol number.
    pub proto: u8,
    /// The ICMP type; 0 in other protocols.
    pub icmp_type: u8,
    /// Where from.
    pub src: Endpoint,
    /// Where to.
    pub dst: Endpoint,
}

impl Tuple {
    /// The tuple of the other direction.
    #[must_use]
    pub fn reversed(self) -> Tuple {
        let icmp_type = match self.icmp() {
            Icmp::Request { reply } => reply,
            Icmp::Reply { request } => request,
            Icmp::Error | Icmp::Other => self.icmp_type,
        };
        Tuple { proto: self.proto, icmp_type, src: self.dst, dst: self.src }
    }

    /// Whether it is of the answers of an ICMP exchange.
    pub fn is_icmp_reply(&self) -> bool {
        matches!(self.icmp(), Icmp::Reply { .. })
    }

    /// The tuple as it is from the end that stands first in a connection, whichever way it goes, and whether that is
    /// the other way. Of an ICMP exchange the asking end stands first, since two hosts may ask each other with one
    /// identifier; else the lower one.
    pub fn from_first(self) -> (Tuple, bool) {
        let is_reversed = match self.icmp() {
            Icmp::Request { .. } => false,
            Icmp::Reply { .. } => true,
            Icmp::Error | Icmp::Other => self.dst < self.src,
        };
        if is_reversed { (self.reversed(), true) } else { (self, false) }
    }

    fn icmp(&self) -> Icmp {
        match self.proto {
            1 => Icmp::of(false, self.icmp_type),
            58 => Icmp::of(true, self.icmp_type),
            _ => Icmp::Other,
        }
    }
}

/// A tracked connection, as it is listed, saved and restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// The zone it is in.
    pub zone: u16,
    /// The direction in which it was committed.
    pub original: Tuple,
    /// How far it has come.
    pub progress: Progress,
    /// Whether a reply was seen.
    pub replied: bool,
    /// ct_mark.
    pub mark: u32,
    /// ct_label.
    pub label: u128,
    /// When it goes, unless another packet comes.
    pub expires: Time,
}

/// How much is remembered at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections.
    pub connections: usize,
    /// Fragmented datagrams under way.
    pub fragments: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { connections: 262_144, fragments: 1024 }
    }
}

/// What `ct()` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Request {
    /// The zone.
    pub zone: u16,
    /// Whether to keep the connection.
    pub commit: bool,
    /// Whether the packet's direction is to be the connection's from now on.
    pub force: bool,
    /// Bits written to ct_mark: value and mask.
    pub mark: (u32, u32),
    /// Bits written to ct_label: value and mask.
    pub label: (u128, u128),
    /// Whether the packet goes on with what is found: `ct(table=)`.
    pub continues: bool,
}

/// What the packet is to the tracker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Bits of [`state`]; 0 for not tracked.
    pub state: u8,
    /// The zone asked.
    pub zone: u16,
    /// The connection's mark.
    pub mark: u32,
    /// The connection's label.
    pub label: u128,
    /// The connection's original direction, or the packet's where there is none yet.
    pub original: Option<Tuple>,
}

/// What one packet has been through: the tracker counts it once a zone, however often it passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memo {
    zone: u16,
    tuple: Tuple,
    valid: bool,
}

/// What `ct()` asks: the table, or a script in its place when a walk supposes answers.
pub trait Tracker {
    /// Take the packet through `ct()`. `memo` is the packet's own, kept from one call to the next.
    fn track(&mut self, frame: &Frame, memo: &mut Option<Memo>, request: &Request, now: Time) -> Outcome;
}

/// The tracked connections.
#[derive(Debug, Clone, Default)]
pub struct Conntrack {
    table: Table,
    fragments: Fragments,
}

impl Conntrack {
    /// An empty table with limits of its own.
    pub fn with_limits(limits: Limits) -> Conntrack {
        Conntrack { table: Table::new(limits.connections), fragments: Fragments::new(limits.fragments) }
    }

    /// The connections, of one zone or of all, by zone and age.
    pub fn connections(&self, zone: Option<u16>, now: Time) -> Vec<Connection> {
        self.table.list(zone, now)
    }

    /// How many connections the table holds, those past their time included until something looks.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.table.len() == 0
    }

    /// How many connections were not kept because the table was full of replied ones.
    pub fn refused(&self) -> u64 {
        self.table.refused
    }

    /// Put saved connections back; those past their time are left out, those that are there already
    /// stay as they are. How many were put back.
    pub fn restore(&mut self, connections: impl IntoIterator<Item = Connection>, now: Time) -> usize {
        connections
            .into_iter()
            .map(|connection| self.table.restore(connection, now))
            .filter(|put| *put)
            .count()
    }

    /// Forget the connections of one zone, or of all; how many there were.
    pub fn flush(&mut self, zone: Option<u16>) -> usize {
        self.table.flush(zone)
    }

    /// Forget what is past its time. Nothing depends on it but memory.
    pub fn sweep(&mut self, now: Time) -> usize {
        self.fragments.sweep(now);
        self.table.sweep(now)
    }

    fn track_flow(
        &mut self,
        tuple: Tuple,
        step: Option<Step>,
        memo: &mut Option<Memo>,
        request: &Request,
        now: Time,
    ) -> Outcome {
        let zone = request.zone;
        let passed = memo.filter(|memo| memo.zone == zone && memo.tuple == tuple);
        let mut valid = passed.is_none_or(|memo| memo.valid);
        if passed.is_none() {
            let advance = self.table.get_mut(zone, &tuple, now).map(|entry| entry.advance(&tuple, step, now));
            if advance == Some(Advance::Reopen) {
                self.table.remove(zone, &tuple);
            }
            valid = match advance {
                Some(Advance::Valid) => true,
                Some(Advance::Invalid) => false,
                Some(Advance::Reopen) | None => may_begin(step),
            };
            self.table.note_replied(zone, &tuple);
        }
        let against = |entry: &mut table::Entry| entry.is_reply(&tuple);
        if valid
            && request.commit
            && request.force
            && self.table.get_mut(zone, &tuple, now).is_some_and(against)
        {
            // The packet is to begin the connection anew, from its end, if it is one that can.
            self.table.remove(zone, &tuple);
            valid = may_begin(step);
        }
        *memo = Some(Memo { zone, tuple, valid });
        if !valid {
            return invalid(zone);
        }
        if request.commit {
            self.commit(tuple, step, request, now);
        }
        match self.table.get_mut(zone, &tuple, now) {
            Some(entry) => entry.outcome(zone, &tuple),
            None => Outcome {
                state: state::TRK | state::NEW,
                zone,
                mark: request.mark.0 & request.mark.1,
                label: request.label.0 & request.label.1,
                original: Some(tuple),
            },
        }
    }

    fn commit(&mut self, tuple: Tuple, step: Option<Step>, request: &Request, now: Time) {
        let zone = request.zone;
        if self.table.get_mut(zone, &tuple, now).is_none() {
            self.table.insert(zone, tuple, rules::begun(tuple.proto, step), now);
        }
        if let Some(entry) = self.table.get_mut(zone, &tuple, now) {
            entry.mark = (entry.mark & !request.mark.1) | (request.mark.0 & request.mark.1);
            entry.label = (entry.label & !request.label.1) | (request.label.0 & request.label.1);
        }
    }

    fn track_error(&mut self, quoted: Tuple, request: &Request, now: Time) -> Outcome {
        let Some(entry) = self.table.get_mut(request.zone, &quoted, now) else {
            return invalid(request.zone);
        };
        // The error goes against the packet it quotes.
        let reply = !entry.is_reply(&quoted);
        if request.commit && request.force && reply {
            // What is forced from the other end ends the connection, and an error begins none.
            self.table.remove(request.zone, &quoted);
            return invalid(request.zone);
        }
        if request.commit {
            entry.mark = (entry.mark & !request.mark.1) | (request.mark.0 & request.mark.1);
            entry.label = (entry.label & !request.label.1) | (request.label.0 & request.label.1);
        }
        let direction = if reply { state::RPL } else { 0 };
        Outcome { state: state::TRK | state::REL | direction, ..entry.outcome(request.zone, &quoted) }
    }
}

impl Tracker for Conntrack {
    fn track(&mut self, frame: &Frame, memo: &mut Option<Memo>, request: &Request, now: Time) -> Outcome {
        let seen = classify(frame);
        let fragment = seen.fragment.map(|(fragment, src, dst)| {
            (
                fragment.later,
                FragmentKey { zone: request.zone, src, dst, proto: fragment.proto, id: fragment.id },
            )
        });
        let class = match (&fragment, seen.class) {
            (Some((true, key)), _) => self.fragments.first_of(key, now).unwrap_or(Class::Invalid),
            (_, class) => class,
        };
        let outcome = match class {
            Class::Invalid => invalid(request.zone),
            Class::Error { quoted } => self.track_error(quoted, request, now),
            Class::Flow { tuple, step } => self.track_flow(tuple, step, memo, request, now),
        };
        if let Some((false, key)) = fragment {
            let later = match class {
                Class::Flow { tuple, .. } if outcome.state & state::INV == 0 => {
                    Class::Flow { tuple, step: None }
                }
                Class::Error { quoted } if outcome.state & state::INV == 0 => Class::Error { quoted },
                _ => Class::Invalid,
            };
            self.fragments.insert(key, later, now);
        }
        outcome
    }
}

fn invalid(zone: u16) -> Outcome {
    Outcome { state: state::TRK | state::INV, zone, ..Outcome::default() }
}
