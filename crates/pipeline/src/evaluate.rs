//! The evaluator: what the actions do.
//!
//! Semantics are those of ovs-actions(7) as Open vSwitch 3.1's `ofproto-dpif-xlate` has them: where
//! the two differ (after `exit` the manual carries out the action set, the program does not), the
//! program is followed. docs/conformance.md lists where it is not, with the reasons; `tests/ovs` holds
//! the two against each other.
//!
//! # How it works
//!
//! A stack of levels, each a list of actions and how far it has come. A lookup pushes the list
//! of the flow it found; the end of a list pops it, so that a non-terminal `resubmit` returns and
//! a last one is a jump. `clone` and `ct(table=)` push levels that put the packet back when they end. There is
//! no recursion: a packet that loops costs memory and time within [`MAX_DEPTH`] and
//! [`MAX_RESUBMITS`], and no stack.

mod actions;
mod normal;
mod output;
mod stack;
#[cfg(test)]
mod tests;

pub(crate) use actions::{belongs_in_action_set, belongs_in_ct_exec};
pub use normal::RESERVED_MULTICAST;

use crate::conntrack::{Conntrack, Memo, Tracker};
use crate::drop_reason::DropReason;
use crate::fdb::Fdb;
use crate::observer::{List, Observer};
use crate::packet::{self, Frame, Packet, TunnelKey};
use crate::ports::PortSet;
use crate::table::{Entry, Pipeline};
use crate::time::Time;
use crate::verdict::{Drop, PacketIn, Verdict};
use footbridge_openflow::action::Controller;
use footbridge_openflow::{Action, Field, Key, Match, PortNo};
use stack::Stack;
use std::borrow::Cow;
use std::net::IpAddr;

/// How many lookups may be nested in which the table is not higher than the one before.
pub const MAX_DEPTH: usize = 64;
/// How many lookups one packet may cause after the first, misses included.
pub const MAX_RESUBMITS: usize = 4096;
/// How many frames a packet may have been sent as when it is looked up again (Open vSwitch counts its
/// datapath actions, 64 kB of them, of which an output takes 8 bytes).
pub const MAX_OUTPUTS: usize = 8192;

/// The flags of TCP by which a connection ends, for `fin_timeout`: FIN and RST (RFC 9293 §3.1).
pub const TCP_FIN_OR_RST: u16 = 0x05;

/// Everything that changes while packets pass.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Learned MAC addresses.
    pub fdb: Fdb,
    /// Tracked connections.
    pub conntrack: Conntrack,
    /// The ports.
    pub ports: PortSet,
    /// Whether packets that no flow takes go to the controllers, with the reason
    /// [`PacketIn::NO_MATCH`], as OpenFlow 1.0 has it. Not those that a `resubmit` looked up, as in
    /// Open vSwitch.
    pub punt_misses: bool,
}

impl Pipeline {
    /// Take one packet through the tables, from table 0 on. The flows that it hits count it.
    pub fn process(
        &self,
        state: &mut State,
        packet: Packet,
        now: Time,
        observer: &mut dyn Observer,
    ) -> Verdict {
        let (frame, key) = arrived(packet);
        self.run(frame, key, Start::Table(0), Surroundings::of(state, now, observer))
    }

    /// Take one packet through the tables, where the connections are not the bridge's own: `tracker` answers
    /// for `ct()`.
    pub fn process_tracked(
        &self,
        fdb: &mut Fdb,
        ports: &PortSet,
        tracker: &mut dyn Tracker,
        packet: Packet,
        now: Time,
        observer: &mut dyn Observer,
    ) -> Verdict {
        let (frame, key) = arrived(packet);
        let around = Surroundings { fdb, ports, tracker, punt_misses: false, now, observer };
        self.run(frame, key, Start::Table(0), around)
    }

    /// Carry out `actions` on a packet that a controller hands in (OFPT_PACKET_OUT). What `metadata`
    /// says of pipeline fields (registers, tunnel, in_port) they start as.
    pub fn execute(
        &self,
        state: &mut State,
        packet: Packet,
        metadata: &Match,
        actions: &[Action],
        now: Time,
        observer: &mut dyn Observer,
    ) -> Verdict {
        let (frame, mut key) = arrived(packet);
        for field in Field::all().filter(|field| !packet::is_packet_field(*field)) {
            match metadata.get(field) {
                (_, 0) => {}
                (value, mask) => key.set_masked(field, value, mask),
            }
        }
        self.run(frame, key, Start::Actions(actions), Surroundings::of(state, now, observer))
    }

    /// Take a packet that is given by its fields through the tables: registers, metadata and
    /// ct_* fields start as `key` says. `tracker` answers for `ct()`: the state's own, or a script.
    pub fn process_key(
        &self,
        fdb: &mut Fdb,
        ports: &PortSet,
        tracker: &mut dyn Tracker,
        key: &Key,
        now: Time,
        observer: &mut dyn Observer,
    ) -> Verdict {
        let frame = Frame::new(packet::compose(key));
        let mut start = key.clone();
        for field in Field::all().filter(|field| packet::is_packet_field(*field)) {
            start.set(field, frame.key().get(field));
        }
        if packet::announces_extension(key) {
            // The frame has no such header to read on from, and so lacks what the key does say.
            for field in [Field::NwTtl, Field::NwTos, Field::NwProto, Field::Ipv6Label, Field::IpFrag] {
                start.set(field, key.get(field));
            }
        }
        let around = Surroundings { fdb, ports, tracker, punt_misses: false, now, observer };
        self.run(frame, start, Start::Table(0), around)
    }

    fn run<'p>(&'p self, frame: Frame, mut key: Key, start: Start<'p>, around: Surroundings<'_>) -> Verdict {
        if frame.bytes().len() < 14 {
            let drop = Drop { reason: DropReason::Malformed, table: 0 };
            around.observer.dropped(drop);
            return Verdict { drop: Some(drop), ..Verdict::default() };
        }
        key.set(Field::ActsetOutput, PortNo::UNSET.0.into());
        let tunnel = TunnelKey::of(&key);
        let mut run = Run {
            pipeline: self,
            around,
            bytes: frame.bytes().len() as u64,
            arrived_at: tunnel.destination(),
            packet: Live {
                frame,
                key,
                stack: Stack::default(),
                action_set: Vec::new(),
                queue: None,
                memo: None,
            },
            levels: Vec::new(),
            of_packet_out: matches!(start, Start::Actions(_)),
            table: 0,
            depth: 0,
            lookups: 0,
            exit: false,
            ended: None,
            verdict: Verdict::default(),
        };
        run.push(Level::bare(List::ActionSet, Cow::Borrowed(&[]), 0, None));
        match start {
            Start::Table(table) => run.enter_first(table),
            Start::Actions(actions) => {
                run.ended = Some((Drop { reason: DropReason::FlowDrop, table: 0 }, false));
                run.around.observer.enter(List::PacketOut);
                run.push(Level::bare(List::PacketOut, Cow::Borrowed(actions), 0, None));
            }
        }
        run.carry_out();
        run.conclude()
    }
}

/// The frame, and the key that a packet starts with.
fn arrived(packet: Packet) -> (Frame, Key) {
    let frame = Frame::new(packet.frame);
    let mut key = frame.key().clone();
    key.set(Field::InPortOxm, packet.in_port.0.into());
    packet.tunnel.write(&mut key);
    (frame, key)
}

/// How a packet's way begins.
enum Start<'p> {
    /// It is looked up in this table.
    Table(u8),
    /// These actions are carried out on it.
    Actions(&'p [Action]),
}

/// What the evaluator works with and does not own.
struct Surroundings<'a> {
    fdb: &'a mut Fdb,
    ports: &'a PortSet,
    tracker: &'a mut dyn Tracker,
    punt_misses: bool,
    now: Time,
    observer: &'a mut dyn Observer,
}

impl<'a> Surroundings<'a> {
    fn of(state: &'a mut State, now: Time, observer: &'a mut dyn Observer) -> Surroundings<'a> {
        let State { fdb, conntrack, ports, punt_misses } = state;
        Surroundings { fdb, ports, tracker: conntrack, punt_misses: *punt_misses, now, observer }
    }
}

/// The packet as it is now, and all that a clone copies.
#[derive(Clone)]
struct Live {
    frame: Frame,
    key: Key,
    /// What `push` put aside.
    stack: Stack,
    action_set: Vec<Action>,
    queue: Option<u32>,
    memo: Option<Memo>,
}

/// A list of actions under way.
struct Level<'p> {
    list: List,
    actions: Cow<'p, [Action]>,
    next: usize,
    /// The table and flow it is of.
    table: u8,
    entry: Option<&'p Entry>,
    /// Whether it counts towards [`MAX_DEPTH`].
    deepens: bool,
    /// Carry out the action set when it ends, and then put this packet back.
    restore: Option<Box<Live>>,
    /// Whether it began a packet's way: the packet, a clone, or a tracked copy.
    outermost: bool,
    /// Whether the action set was carried out at its end; what that writes to the set is left undone.
    concluded: bool,
}

impl<'p> Level<'p> {
    fn bare(list: List, actions: Cow<'p, [Action]>, table: u8, entry: Option<&'p Entry>) -> Level<'p> {
        Level {
            list,
            actions,
            next: 0,
            table,
            entry,
            deepens: false,
            restore: None,
            outermost: false,
            concluded: false,
        }
    }
}

struct Run<'p, 'a> {
    pipeline: &'p Pipeline,
    around: Surroundings<'a>,
    /// The length that counters count.
    bytes: u64,
    /// The tunnel destination that the packet came in with.
    arrived_at: Option<IpAddr>,
    packet: Live,
    levels: Vec<Level<'p>>,
    /// Whether it began with a controller's actions.
    of_packet_out: bool,
    /// The table looked up last.
    table: u8,
    depth: usize,
    lookups: usize,
    exit: bool,
    /// How the packet ended so far, and whether it is the last of `verdict.lost`.
    ended: Option<(Drop, bool)>,
    verdict: Verdict,
}

impl<'p> Run<'p, '_> {
    fn push(&mut self, mut level: Level<'p>) {
        level.outermost = level.restore.is_some() || self.levels.is_empty();
        self.depth += usize::from(level.deepens);
        self.levels.push(level);
    }

    /// Look the packet up in a table, where a miss may be for the controllers to see.
    fn enter_first(&mut self, table: u8) {
        if !self.enter_table(table, None, false) && self.around.punt_misses {
            let miss = Controller { reason: PacketIn::NO_MATCH, ..Controller::output(u16::MAX) };
            self.send_packet_in(&miss, table, None);
        }
    }

    /// Look the packet up in a table and begin with the actions of the flow found, or stop at the
    /// limits. False where there is none.
    fn enter_table(&mut self, table: u8, in_port: Option<PortNo>, with_ct_orig: bool) -> bool {
        if !self.may_look_up() || (with_ct_orig && !actions::has_original_tuple(&self.packet.key)) {
            return true;
        }
        let from = self.levels.last().map_or(0, |level| level.table);
        self.lookups += 1;
        let Some(found) = self.look_up(table, in_port, with_ct_orig) else { return false };
        let deepens = self.lookups > 1 && table <= from;
        found.counters.hit(self.bytes, self.around.now);
        if let Some(level) = self.levels.last_mut()
            && level.actions.is_empty()
        {
            // The packet's way, or a tracked copy's, began with this flow: the action set is its.
            (level.table, level.entry) = (table, Some(found));
        }
        let actions = Cow::Borrowed(&found.flow.actions[..]);
        self.around.observer.enter(List::Flow(table));
        self.push(Level { deepens, ..Level::bare(List::Flow(table), actions, table, Some(found)) });
        true
    }

    /// Whether the limits let the packet be looked up again.
    fn may_look_up(&mut self) -> bool {
        if self.depth >= MAX_DEPTH {
            self.abort(DropReason::TooDeep);
        } else if self.lookups > MAX_RESUBMITS {
            self.abort(DropReason::TooManyResubmits);
        } else if self.verdict.outputs.len() >= MAX_OUTPUTS {
            // What was sent stays sent.
            self.exit = true;
        } else if self.packet.stack.is_full() {
            self.abort(DropReason::StackFull);
        } else {
            return true;
        }
        false
    }

    fn look_up(&mut self, table: u8, in_port: Option<PortNo>, with_ct_orig: bool) -> Option<&'p Entry> {
        let key = &mut self.packet.key;
        let before = in_port.map(|port| {
            let before = key.get(Field::InPortOxm);
            key.set(Field::InPortOxm, port.0.into());
            before
        });
        let swapped = with_ct_orig.then(|| actions::with_original_tuple(key));
        let looked_up = swapped.as_ref().unwrap_or(key);
        self.around.observer.lookup(table, looked_up);
        let found = self.pipeline.lookup(table, looked_up);
        self.pipeline.counters(table).looked_up(found.is_some());
        match &found {
            Some(found) => {
                self.around.observer.matched(table, found.entry, found.conjunction, looked_up);
            }
            None => self.around.observer.missed(table, looked_up),
        }
        if let Some(before) = before {
            key.set(Field::InPortOxm, before);
        }
        self.table = table;
        let reason = if found.is_some() { DropReason::FlowDrop } else { DropReason::NoFlow };
        self.ended = Some((Drop { reason, table }, false));
        found.map(|found| &**found.entry)
    }

    fn carry_out(&mut self) {
        while let Some(level) = self.levels.last_mut() {
            let action = match &level.actions {
                _ if self.exit => None,
                Cow::Borrowed(actions) => actions.get(level.next).map(Cow::Borrowed),
                Cow::Owned(actions) => actions.get(level.next).cloned().map(Cow::Owned),
            };
            level.next += 1;
            match action {
                Some(action) => self.act(action),
                None => self.end_list(),
            }
        }
    }

    /// A list has ended: go back to the one that started it, after the action set if it began a
    /// packet's way.
    fn end_list(&mut self) {
        if let Some(level) = self.levels.last_mut()
            && level.outermost
            && !level.concluded
            && !self.exit
        {
            level.next = level.actions.len();
            level.concluded = true;
            let set = actions::in_set_order(std::mem::take(&mut self.packet.action_set));
            if !set.is_empty() {
                let (table, entry) = (level.table, level.entry);
                self.around.observer.enter(List::ActionSet);
                self.push(Level::bare(List::ActionSet, Cow::Owned(set), table, entry));
                return;
            }
        }
        let Some(level) = self.levels.pop() else { return };
        self.depth -= usize::from(level.deepens);
        if level.outermost {
            let copy = (!self.levels.is_empty()).then_some(level.list);
            self.around.observer.ended(copy, &self.packet.key);
        }
        if !self.levels.is_empty() {
            self.around.observer.leave(level.list);
        }
        if level.list == List::Tracked {
            self.exit = false;
        }
        if let Some(packet) = level.restore {
            self.packet = *packet;
        }
    }

    /// Give the packet up, with all that it sent so far.
    fn abort(&mut self, reason: DropReason) {
        self.verdict = Verdict::default();
        self.levels.clear();
        self.lose(reason);
    }

    /// Note that the packet, or a copy, went nowhere.
    fn lose(&mut self, reason: DropReason) {
        let drop = Drop { reason, table: self.acting_table() };
        self.ended = Some((drop, true));
        self.verdict.lost.push(drop);
        self.around.observer.dropped(drop);
    }

    /// The table of the flow whose action this is; of the action set, the table looked up last.
    fn acting_table(&self) -> u8 {
        match self.levels.last() {
            Some(Level { list: List::Flow(_) | List::Clone | List::PacketOut, table, .. }) => *table,
            _ => self.table,
        }
    }

    fn conclude(mut self) -> Verdict {
        // Word of an expired TTL is about a packet that went nowhere.
        let told = self.verdict.packet_ins.iter().any(|told| !told.is_of_expired_ttl());
        if self.verdict.outputs.is_empty() && !told {
            let no_flow = Drop { reason: DropReason::NoFlow, table: self.table };
            let (drop, lost) = self.ended.unwrap_or((no_flow, false));
            if lost {
                self.verdict.lost.pop();
            } else {
                self.around.observer.dropped(drop);
            }
            self.verdict.drop = Some(drop);
        }
        self.verdict
    }

    fn in_port(&self) -> PortNo {
        port_number(self.packet.key.get(Field::InPortOxm)).unwrap_or(PortNo::NONE)
    }
}

/// A port number from a field: OpenFlow 1.0's 16-bit reserved numbers stand for today's.
pub fn port_number(value: u128) -> Option<PortNo> {
    match u32::try_from(value).ok()? {
        reserved @ 0xfff8..=0xffff => Some(PortNo(reserved | 0xffff_0000)),
        number => Some(PortNo(number)),
    }
}
