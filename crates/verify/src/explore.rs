//! All packets at once through the tables: the evaluator's steps, on sets.
//!
//! A [`Point`] is a table that packets come to, with all that the rest of their way depends on but
//! which packet it was: the actions still to be done when the table is through, and the packet as it
//! is now (an [`Image`]). Packets that come to one point by different ways are joined, and go on as
//! one set; lower tables have their turn first, so that most have come when a point's turn is. The
//! sets are of packets as they came in, so that each of their members is an example.
//!
//! # What is exact and what is not
//!
//! Priorities, conjunctions, resubmits with what follows them, clones and the evaluator's limits are
//! exact. ct() may answer whatever a tracker might, whether or not the connections for it
//! can come to be; a second ct() of the same zone and addresses answers alike. NORMAL may send to
//! every port that it could have learned. [`Exploration::notes`] says which of them were met.

use crate::bdd::{Bdd, Sets};
use crate::image::Image;
use crate::live::{Live, seen_at_output};
use crate::program::{Program, Split, Taker};
use crate::space::{Answer, CT_WORDS, MAX_CONNECTIONS, Space};
use footbridge_openflow::{Action, Field, PortNo};
use footbridge_pipeline::evaluate::{MAX_DEPTH, MAX_RESUBMITS};
use footbridge_pipeline::{DropReason, PortKind, PortSet};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

mod act;
#[cfg(test)]
mod tests;

/// What happens to packets somewhere on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum What {
    /// They leave by a port, and not by IN_PORT.
    Sent(PortNo),
    /// They leave by the port that they came in on.
    Back,
    /// NORMAL switches them: to any ordinary port but the one they came in on.
    Normal,
    /// They go to a controller.
    Controller(u16),
    /// No flow of the table takes them.
    Missed(u8),
    /// An output that did not happen, or a limit.
    Lost(DropReason),
}

/// One thing that happens to some packets.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) what: What,
    /// The flow whose action it is; None where none took them.
    pub(crate) flow: Option<usize>,
    /// The packets as they leave.
    pub(crate) image: Image,
    /// The packets as they came in.
    pub(crate) packets: Bdd,
}

/// What an approximation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Note {
    /// ct(table=) was met.
    Tracking,
    /// NORMAL was met.
    Learning,
}

/// What happens to all packets.
#[derive(Debug)]
pub(crate) struct Exploration {
    pub(crate) events: Vec<Event>,
    /// Which packets each flow takes, but for what it takes as one of a unit.
    pub(crate) hits: Vec<Bdd>,
    /// Which packets each unit takes.
    pub(crate) unit_hits: BTreeMap<usize, Bdd>,
    /// Which packets come to each table.
    pub(crate) arrived: BTreeMap<u8, Bdd>,
    /// Which come there again.
    pub(crate) again: BTreeMap<u8, Bdd>,
    /// Packets that a flow takes and another of its priority would take as well.
    pub(crate) disputed: BTreeMap<(usize, usize), Bdd>,
    /// Packets that leave twice in the same way.
    pub(crate) doubled: Bdd,
    /// Packets that are given up, with all that they sent.
    pub(crate) aborted: Bdd,
    pub(crate) notes: BTreeSet<Note>,
    /// How many connections a packet was found to be of at most.
    pub(crate) connections: u8,
    /// What each ct(table=) of the longest way was answered from.
    pub(crate) calls: Vec<Call>,
}

/// How often the packets that come to a ct() may be told apart by the zone that they have in a field.
const MAX_ZONES: usize = 256;

/// Why the sets could not be followed to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// See [`MAX_CONNECTIONS`].
    #[error(
        "a packet may be found to be of more than {MAX_CONNECTIONS} connections: that is not followed by verify"
    )]
    Connections,
    /// See [`MAX_ZONES`].
    #[error("packets decide the zones of ct() in more than {MAX_ZONES} ways: that is not followed by verify")]
    Zones,
    /// See [`crate::bdd::MAX_NODES`].
    #[error("the sets of packets grew too large: verify gives up")]
    Nodes,
}

/// A list of actions, known by where it is.
#[derive(Debug, Clone, Copy)]
struct List<'p>(&'p [Action]);

impl PartialEq for List<'_> {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for List<'_> {}

impl Hash for List<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::ptr::hash(self.0, state);
    }
}

/// A list of actions under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Frame<'p> {
    list: List<'p>,
    next: usize,
    table: u8,
    flow: Option<usize>,
    /// The unit that the flow stands for.
    unit: Option<usize>,
    /// The depth before it, to go back to.
    depth: u16,
    /// The packet to put back when it ends.
    restore: Option<Box<Image>>,
    /// Whether it is the copy below ct(table=), at whose end `exit` ends.
    tracked: bool,
}

impl Frame<'_> {
    fn is_done(&self) -> bool {
        self.next >= self.list.0.len()
    }
}

/// One call of ct().
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Call {
    zone: u16,
    connection: u8,
    /// Whether the addresses were as they came in, so that a later call may find the same.
    comparable: bool,
    /// What earlier calls and this one wrote to mark and label: values and masks.
    mark: (u32, u32),
    label: (u128, u128),
    /// The same before this call: what the tracker has to answer.
    mark_before: (u32, u32),
    label_before: (u128, u128),
    /// Whether it has a table, so that what it answers is seen.
    continues: bool,
}

/// What is counted on a way.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
struct Trail {
    calls: Vec<Call>,
    lookups: u16,
    depth: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Point<'p> {
    table: u8,
    /// in_port for this look-up only.
    in_port: Option<PortNo>,
    /// The table before, where look-ups are counted.
    from: Option<u8>,
    /// The depth to go back to when the table is through.
    back: u16,
    frames: Vec<Frame<'p>>,
    image: Image,
    trail: Trail,
}

/// What points have in common, all their packets, and what each of them is.
type Group<'p> = (Point<'p>, Bdd, Vec<(Image, Bdd)>);

/// Packets between two look-ups.
#[derive(Debug, Clone)]
struct Now<'p> {
    frames: Vec<Frame<'p>>,
    image: Image,
    trail: Trail,
    packets: Bdd,
}

/// Sets, the packets they are of, and the bridge that these are sent through.
pub(crate) struct Explorer<'e, 'p> {
    pub(crate) sets: &'e mut Sets,
    pub(crate) space: &'e Space,
    program: &'e mut Program<'p>,
    ports: &'e PortSet,
    seen: Live,
    /// The packets as they came in.
    came: Image,
    waiting: BTreeMap<u8, hashbrown::HashMap<Point<'p>, Bdd>>,
    done: hashbrown::HashMap<Point<'p>, Bdd>,
    events: hashbrown::HashMap<(What, Option<usize>, Image), Bdd>,
    /// What has left by each way so far.
    gone: hashbrown::HashMap<What, Bdd>,
    /// The number of each event, in the order of their first packets.
    order: Vec<(What, Option<usize>, Image)>,
    too_much: Option<TooMuch>,
    /// How often packets that came to one ct() were of different zones.
    zones_split: usize,
    found: Exploration,
}

/// A packet as it comes in: what is no part of it is 0.
pub(crate) fn incoming(tunnel_bits: &[u64]) -> Image {
    let mut image = Image::default();
    for (word, used) in tunnel_bits.iter().enumerate() {
        image.set_word(word as u8, !used, 0);
    }
    let registers = Field::Reg0.info().location.word..=Field::Reg15.info().location.word;
    registers.chain(CT_WORDS).for_each(|word| image.set_word(word, u64::MAX, 0));
    for field in [Field::Metadata, Field::SkbPriority, Field::PacketType, Field::ConjId] {
        image.set(field, 0, field.all_ones());
    }
    image.set(Field::ActsetOutput, PortNo::UNSET.0.into(), Field::ActsetOutput.all_ones());
    image
}

/// From how many points on it is worth while to join those that are nearly alike.
const MANY: usize = 2;

/// Send `start` through the tables from table 0 on.
pub(crate) fn explore<'p>(
    sets: &mut Sets,
    space: &Space,
    program: &mut Program<'p>,
    ports: &PortSet,
    image: Image,
    start: Bdd,
) -> Result<Exploration, TooMuch> {
    let hits = vec![Bdd::NONE; program.flows.len()];

    let mut explorer = Explorer {
        sets,
        space,
        program,
        ports,
        seen: seen_at_output(),
        came: image.clone(),
        waiting: BTreeMap::new(),
        done: hashbrown::HashMap::new(),
        events: hashbrown::HashMap::new(),
        gone: hashbrown::HashMap::new(),
        order: Vec::new(),
        too_much: None,
        zones_split: 0,
        found: Exploration {
            events: Vec::new(),
            hits,
            unit_hits: BTreeMap::new(),
            arrived: BTreeMap::new(),
            again: BTreeMap::new(),
            disputed: BTreeMap::new(),
            doubled: Bdd::NONE,
            aborted: Bdd::NONE,
            notes: BTreeSet::new(),
            connections: 0,
            calls: Vec::new(),
        },
    };
    let now = Now { frames: Vec::new(), image, trail: Trail::default(), packets: start };
    explorer.enter_table(now, 0, None, 0);
    explorer.run()
}

impl<'p> Explorer<'_, 'p> {
    fn run(mut self) -> Result<Exploration, TooMuch> {
        while let Some((table, points)) = self.waiting.pop_first() {
            let mut points: Vec<(Point<'p>, Bdd)> = points.into_iter().collect();
            // Hash maps give them in any order; results shall not depend on it.
            points.sort_by(|a, b| (&a.0.image, a.0.from, a.1).cmp(&(&b.0.image, b.0.from, b.1)));
            for (point, packets) in self.merged(table, points) {
                let before = self.done.get(&point).copied().unwrap_or(Bdd::NONE);
                let new = self.sets.without(packets, before);
                if !new.is_none() {
                    let all = self.sets.or(before, new);
                    self.done.insert(point.clone(), all);
                    self.look_up(point, new);
                }
                if self.sets.exhausted() {
                    return Err(TooMuch::Nodes);
                }
                if let Some(too_much) = self.too_much {
                    return Err(too_much);
                }
            }
        }
        let aborted = self.found.aborted;
        for key in self.order {
            let mut packets = self.events.get(&key).copied().unwrap_or(Bdd::NONE);
            if !matches!(
                key.0,
                What::Missed(_) | What::Lost(DropReason::TooDeep | DropReason::TooManyResubmits)
            ) {
                packets = self.sets.without(packets, aborted);
            }
            if !packets.is_none() {
                let (what, flow, image) = key;
                self.found.events.push(Event { what, flow, image, packets });
            }
        }
        Ok(self.found)
    }

    /// Join points whose packets differ only in bits that may be told apart later, where there are many. Those
    /// to which one packet comes twice stay apart.
    fn merged(&mut self, table: u8, points: Vec<(Point<'p>, Bdd)>) -> Vec<(Point<'p>, Bdd)> {
        if points.len() < MANY || self.program.counts_lookups {
            return points;
        }
        let mergeable = self.program.mergeable(table);
        // What each part has in common, in the order of the first.
        let mut groups: Vec<Group<'p>> = Vec::new();
        let mut known: hashbrown::HashMap<Point<'p>, usize> = hashbrown::HashMap::new();
        for (mut point, packets) in points {
            let image = std::mem::take(&mut point.image);
            point.image = image.without(&mergeable);
            let group = match known.get(&point).copied() {
                Some(group) if !self.sets.overlap(groups[group].1, packets) => group,
                _ => {
                    known.insert(point.clone(), groups.len());
                    groups.push((point, Bdd::NONE, Vec::new()));
                    groups.len() - 1
                }
            };
            let (_, all, parts) = &mut groups[group];
            *all = self.sets.or(*all, packets);
            parts.push((image, packets));
        }
        groups
            .into_iter()
            .map(|(mut point, all, parts)| {
                point.image = Image::merged(self.sets, self.space, &parts, &mergeable);
                (point, all)
            })
            .collect()
    }

    /// Wait for the turn of a table.
    fn enter_table(&mut self, mut now: Now<'p>, table: u8, in_port: Option<PortNo>, from: u8) {
        if self.program.counts_lookups {
            let given_up = match now.trail {
                Trail { depth, .. } if usize::from(depth) >= MAX_DEPTH => Some(DropReason::TooDeep),
                Trail { lookups, .. } if usize::from(lookups) > MAX_RESUBMITS => {
                    Some(DropReason::TooManyResubmits)
                }
                _ => None,
            };
            if let Some(reason) = given_up {
                let flow = now.frames.last().and_then(|frame| frame.flow);
                self.found.aborted = self.sets.or(self.found.aborted, now.packets);
                self.happens(What::Lost(reason), flow, Image::default(), now.packets);
                return;
            }
            now.trail.lookups += 1;
        }
        // What is done needs no coming back to.
        let mut back = now.trail.depth;
        if now.frames.iter().all(Frame::is_done) {
            back = 0;
            now.frames.clear();
        }
        while let Some(done) = now.frames.pop_if(|frame| frame.is_done() && frame.restore.is_none()) {
            back = done.depth;
        }
        let mut live = *self.program.live.at(table);
        for frame in &now.frames {
            let rest = frame.list.0.get(frame.next..).unwrap_or_default();
            live = live.with(&self.program.live.before(rest, frame.table, Live::NONE));
        }
        now.image.forget_but(&live);
        let rest = |frame: &Frame<'p>| frame.list.0.get(frame.next..).unwrap_or_default();
        let tracks = |frame: &Frame<'p>| self.program.tracks_in(rest(frame), frame.table);
        if !self.program.tracks_from(table) && !now.frames.iter().any(tracks) {
            // What was found of connections is not asked again.
            now.trail.calls.clear();
        }
        let from = self.program.counts_lookups.then_some(from);
        let Now { frames, image, trail, packets } = now;
        let point = Point { table, in_port, from, back, frames, image, trail };
        let waiting = self.waiting.entry(table).or_default().entry(point).or_insert(Bdd::NONE);
        *waiting = self.sets.or(*waiting, packets);
    }

    fn look_up(&mut self, point: Point<'p>, packets: Bdd) {
        let Point { table, in_port, from, back, frames, image, mut trail } = point;
        let arrived = self.found.arrived.entry(table).or_insert(Bdd::NONE);
        // At one point all are new; so these came by another.
        let again = self.sets.and(*arrived, packets);
        if !again.is_none() {
            let known = self.found.again.entry(table).or_insert(Bdd::NONE);
            *known = self.sets.or(*known, again);
        }
        *arrived = self.sets.or(*arrived, packets);
        let looked_up = in_port.map(|port| {
            let mut image = image.clone();
            image.set(Field::InPortOxm, port.0.into(), Field::InPortOxm.all_ones());
            image
        });
        let (seen, space) = (looked_up.as_ref().unwrap_or(&image), self.space);
        let Split { hits, missed } = self.program.look_up(self.sets, space, table, seen, packets);
        for (taker, packets) in hits {
            let (place, unit) = match taker {
                Taker::Flow(place) => {
                    self.found.hits[place] = self.sets.or(self.found.hits[place], packets);
                    (place, None)
                }
                Taker::Unit(unit) => {
                    let all = self.found.unit_hits.entry(unit).or_insert(Bdd::NONE);
                    *all = self.sets.or(*all, packets);
                    (self.program.units[unit].members.first().copied().unwrap_or_default(), Some(unit))
                }
            };
            for rival in self.program.flows[place].rivals.clone() {
                let would = self.program.takes(self.sets, space, rival, seen);
                let both = self.sets.and(packets, would);
                if !both.is_none() {
                    let known = self.found.disputed.entry((place, rival)).or_insert(Bdd::NONE);
                    *known = self.sets.or(*known, both);
                }
            }
            let actions: &'p [Action] = &self.program.flows[place].entry.flow.actions;
            let (mut frames, mut trail) = (frames.clone(), trail.clone());
            trail.depth += u16::from(from.is_some_and(|from| trail.lookups > 1 && table <= from));
            frames.push(Frame {
                list: List(actions),
                next: 0,
                table,
                flow: Some(place),
                unit,
                depth: back,
                restore: None,
                tracked: false,
            });
            self.carry_out(Now { frames, image: image.clone(), trail, packets });
        }
        if !missed.is_none() {
            self.happens(What::Missed(table), None, Image::default(), missed);
            trail.depth = back;
            self.carry_out(Now { frames, image, trail, packets: missed });
        }
    }

    /// Note that something happens to packets.
    fn happens(&mut self, what: What, flow: Option<usize>, mut image: Image, packets: Bdd) {
        if packets.is_none() {
            return;
        }
        image.forget_but(&self.seen);
        image.stack.clear();
        if matches!(what, What::Sent(_) | What::Back | What::Normal) {
            let before = self.gone.entry(what).or_insert(Bdd::NONE);
            let again = self.sets.and(*before, packets);
            *before = self.sets.or(*before, packets);
            self.found.doubled = self.sets.or(self.found.doubled, again);
        }
        let key = (what, flow, image);
        match self.events.get_mut(&key) {
            Some(known) => *known = self.sets.or(*known, packets),
            None => {
                self.order.push(key.clone());
                self.events.insert(key, packets);
            }
        }
    }

    fn kind(&self, port: PortNo) -> Option<PortKind> {
        self.ports.kind(port)
    }
}

impl Call {
    /// What the tracker has to be told to answer, where the connection is as `found`.
    pub(crate) fn answer(&self, found: Answer) -> Option<Answer> {
        let over = |value, (written, mask): (u128, u128)| (value & !mask) | (written & mask);
        self.continues.then(|| Answer {
            state: found.state,
            mark: over(found.mark.into(), (self.mark_before.0.into(), self.mark_before.1.into())) as u32,
            label: over(found.label, self.label_before),
        })
    }

    pub(crate) fn connection(&self) -> u8 {
        self.connection
    }
}
