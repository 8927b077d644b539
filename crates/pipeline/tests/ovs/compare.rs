//! One case through Open vSwitch and through the evaluator.

use crate::datapath::{Event, Track, carry_out, clear_tunnel};
use crate::flows::{self, Taken};
use crate::generate::{Case, Input};
use crate::instance::{GENEVE, LOCAL, Ovs, PORTS, VXLAN, hex};
use crate::trace::{self, Pass};
use footbridge_openflow::{Action, Field, Field::*, Key, PortNo};
use footbridge_pipeline::conntrack::{Memo, Outcome, Request, Tracker, state};
use footbridge_pipeline::observer::List;
use footbridge_pipeline::packet::{self, Frame};
use footbridge_pipeline::{
    Drop, DropReason, Fdb, Observer, Packet, Pipeline, PortKind, PortSet, State, Time, TunnelKey, Unobserved,
    Verdict,
};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What is compared of each packet.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Compared {
    /// Its fields at the end, and what the datapath is told to do, by `ofproto/trace`.
    pub(crate) trace: bool,
    /// What each port sends, byte for byte.
    pub(crate) frames: bool,
}

/// Where the two differ.
pub(crate) struct Disagreement {
    /// The packet, by its place; None where it is about a flow.
    pub(crate) packet: Option<usize>,
    pub(crate) what: String,
}

/// Counts of what was compared.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) packets: u64,
    pub(crate) outputs: u64,
    pub(crate) flows: u64,
    pub(crate) refused: u64,
}

/// Take a case through both. None where they agree.
///
/// # Errors
///
/// Open vSwitch does not do what it is asked to, or says what this can't read.
pub(crate) fn check(
    ovs: &mut Ovs,
    case: &Case,
    compared: Compared,
    tally: &mut Tally,
) -> Result<Option<Disagreement>, String> {
    let (pipeline, taken) = flows::install(ovs, &case.flows)?;
    for Taken { flow, by_ovs, by_us } in &taken {
        tally.flows += 1;
        tally.refused += u64::from(by_us.is_err() && by_ovs.is_err());
        if by_us.is_ok() != by_ovs.is_ok() {
            let what = format!("{flow}\nours: {by_us:?}\ntheirs: {by_ovs:?}");
            return Ok(Some(Disagreement { packet: None, what }));
        }
    }
    ovs.forget()?;
    let mut check = Check {
        ovs,
        pipeline: &pipeline,
        state: State { ports: ports(), ..State::default() },
        ours: Vec::new(),
        theirs: Vec::new(),
    };
    tally.packets += case.inputs.len() as u64;
    // What is told by fields has no effects, and comes first, while nothing is learned.
    for (at, input) in case.inputs.iter().enumerate() {
        if compared.trace
            && let Some(what) = check.by_fields(input)?
        {
            return Ok(Some(Disagreement { packet: Some(at), what }));
        }
    }
    for (at, input) in case.inputs.iter().enumerate() {
        if compared.frames
            && let Some(what) = check.by_frame(at, input, compared, tally)?
        {
            return Ok(Some(Disagreement { packet: Some(at), what }));
        }
    }
    Ok(None)
}

fn ports() -> PortSet {
    PORTS.map(|port| (PortNo(port), PortKind::Ordinary)).collect()
}

struct Check<'a> {
    ovs: &'a mut Ovs,
    pipeline: &'a Pipeline,
    state: State,
    /// Sent by each and not compared yet.
    ours: Vec<(u32, Vec<u8>)>,
    theirs: Vec<(u32, Vec<u8>)>,
}

impl Check<'_> {
    /// A packet that is given by its fields.
    fn by_fields(&mut self, input: &Input) -> Result<Option<String>, String> {
        let fields = trace::fields(&input.key);
        let printed = self.ovs.trace(&fields, None).map_err(|e| format!("{fields}: {e}"))?;
        let passes = trace::passes(&printed).map_err(|e| format!("{e}\n{printed}"))?;
        let theirs = self.theirs(passes, input.frame.len())?;
        let mut witness = Witness::default();
        let mut supposed = Supposed { key: Rc::clone(&witness.key) };
        let mut all = ports();
        [VXLAN, GENEVE].iter().for_each(|port| all.insert(PortNo(*port), PortKind::Tunnel));
        let verdict = self.pipeline.process_key(
            &mut Fdb::with_limit(0),
            &all,
            &mut supposed,
            &input.key,
            Time::default(),
            &mut witness,
        );
        Ok(difference(witness.told(&verdict), theirs).map(|what| format!("{fields}\n{what}\n{printed}")))
    }

    /// A packet that comes in at a port.
    fn by_frame(
        &mut self,
        at: usize,
        input: &Input,
        compared: Compared,
        tally: &mut Tally,
    ) -> Result<Option<String>, String> {
        let now = Time(at as u64 * 1_000_000);
        let packet = Packet {
            in_port: PortNo(input.in_port),
            frame: input.frame.clone(),
            tunnel: TunnelKey::default(),
        };
        if compared.trace
            && let Some(what) = self.by_traced_frame(&packet, now)?
        {
            return Ok(Some(what));
        }
        let hex = hex(&packet.frame);
        self.theirs.extend(self.ovs.receive(input.in_port, &packet.frame)?);
        let verdict = self.pipeline.process(&mut self.state, packet, now, &mut Unobserved);
        self.ours.extend(verdict.outputs.into_iter().map(|output| (output.port.0, output.frame)));
        if !input.last {
            return Ok(None);
        }
        let (mut ours, mut theirs) = (std::mem::take(&mut self.ours), std::mem::take(&mut self.theirs));
        // Of one port the order counts.
        ours.sort_by_key(|(port, _)| *port);
        theirs.sort_by_key(|(port, _)| *port);
        tally.outputs += ours.len() as u64;
        if ours == theirs {
            return Ok(None);
        }
        let traced = self.ovs.trace(&format!("in_port={}", input.in_port), Some(&input.frame));
        Ok(Some(format!(
            "in {}: {hex}\nours:\n{}theirs:\n{}{}",
            input.in_port,
            sent(&ours),
            sent(&theirs),
            traced.unwrap_or_default()
        )))
    }

    /// The same, by `ofproto/trace`: its fields as they are read and at the end. NORMAL learns.
    fn by_traced_frame(&mut self, packet: &Packet, now: Time) -> Result<Option<String>, String> {
        let (port, frame) = (packet.in_port.0, packet.frame.clone());
        let printed = self.ovs.trace(&format!("in_port={port}"), Some(&frame))?;
        let passes = trace::passes(&printed).map_err(|e| format!("{e}\n{printed}"))?;
        let first = passes.first().map(|pass| shown(&pass.first));
        let theirs = self.theirs(passes, frame.len())?;
        let mut witness = Witness::default();
        let verdict = self.pipeline.process(&mut self.state, packet.clone(), now, &mut witness);
        let read = packet::parse(&frame, packet.in_port, &TunnelKey::default());
        let what = if first.as_ref() != Some(&shown(&read)) {
            Some(format!("ours: {:?}\ntheirs: {first:?}", shown(&read)))
        } else {
            difference(witness.told(&verdict), theirs)
        };
        Ok(what.map(|what| format!("in {port}: {}\n{what}\n{printed}", hex(&frame))))
    }

    fn theirs(&self, passes: Vec<Pass>, len: usize) -> Result<Vec<Event>, String> {
        let events = carry_out(passes, len, &|datapath| self.ovs.port(datapath))?;
        let is_ours = |event: &Event| !matches!(event, Event::Output { port: LOCAL, .. });
        Ok(events.into_iter().filter(is_ours).map(comparable).collect())
    }
}

/// What differs of two tellings of one packet's way.
fn difference(ours: Vec<Event>, theirs: Vec<Event>) -> Option<String> {
    // With us the copies of one packet share its limits.
    if ours == [Event::GivenUp] && theirs.contains(&Event::GivenUp) {
        return None;
    }
    let (ours, theirs) = (in_order(ours), in_order(theirs));
    if ours == theirs {
        return None;
    }
    let at = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
    let show = |events: &[Event]| format!("{:?}", events.get(at));
    Some(format!(
        "from event {at} on, of {} and {}\nours: {}\ntheirs: {}",
        ours.len(),
        theirs.len(),
        show(&ours),
        show(&theirs)
    ))
}

/// Between other events, one and the same packet may leave by several ports in any order.
fn in_order(mut events: Vec<Event>) -> Vec<Event> {
    let inner = |key: &Key| {
        let mut key = key.clone();
        clear_tunnel(&mut key);
        key
    };
    let same = |a: &Event, b: &Event| match (a, b) {
        (Event::Output { key: a, queue: p, .. }, Event::Output { key: b, queue: q, .. }) => {
            p == q && inner(a) == inner(b)
        }
        _ => false,
    };
    for run in events.chunk_by_mut(same) {
        run.sort_by_key(|event| match event {
            Event::Output { port, .. } => *port,
            _ => 0,
        });
    }
    events
}

/// Leave out what only one side tells of.
fn comparable(event: Event) -> Event {
    match event {
        Event::Output { port, key, queue } => {
            let mut sent = (*key).clone();
            Field::all().filter(|field| !is_of_packet(*field)).for_each(|field| sent.set(field, 0));
            UNPRINTED.iter().for_each(|field| sent.set(*field, 0));
            absent(&sent).iter().for_each(|field| sent.set(*field, 0));
            if matches!(port, VXLAN | GENEVE) {
                tunnel_fields().for_each(|field| sent.set(field, key.get(field)));
                // Each kind of tunnel carries its own.
                let other: &[Field] = if port == VXLAN { &[TunMetadata0] } else { &[TunGbpId, TunGbpFlags] };
                other.iter().for_each(|field| sent.set(*field, 0));
            }
            Event::Output { port, key: Box::new(sent), queue }
        }
        // The reasons that newer versions tell apart (a table-miss flow's, an action set's …).
        Event::Controller { id, reason: 3..=6, cookie } => Event::Controller { id, reason: 1, cookie },
        Event::End(key) => Event::End(Box::new(shown(&key))),
        other => other,
    }
}

/// Fields of a tag or a header that the packet does not have: writes there change nothing.
fn absent(key: &Key) -> Vec<Field> {
    let mut absent = Vec::new();
    if key.get(VlanTci) & 0x1000 == 0 {
        absent.push(VlanTci);
    }
    match (key.get(EthType), key.get(NwProto), key.get(ArpOp)) {
        (0x0800 | 0x86dd, 0, _) => {
            absent.extend([NwSrc, NwDst, Ipv6Src, Ipv6Dst, Ipv6Label, NwTos, NwTtl, IpFrag])
        }
        (0x0806, _, 0) => absent.extend([ArpSpa, ArpTpa, ArpSha, ArpTha]),
        _ => {}
    }
    absent
}

fn tunnel_fields() -> impl Iterator<Item = Field> {
    Field::all().filter(|field| field.name().starts_with("tun_"))
}

/// Fields of the packet that no flow is printed with.
const UNPRINTED: &[Field] = &[NdReserved, NdOptionsType];

/// Whether a field is of the packet itself: the key's layout puts these last.
fn is_of_packet(field: Field) -> bool {
    field.info().location.word >= EthDst.info().location.word
}

/// The fields that Open vSwitch prints of a packet.
fn shown(key: &Key) -> Key {
    let mut key = key.clone();
    for field in
        UNPRINTED.iter().chain(&[SkbPriority, ConjId, ActsetOutput, TunMetadata0, CtIpv6Src, CtIpv6Dst])
    {
        key.set(*field, 0);
    }
    if !matches!(key.get(Icmpv6Type), 135 | 136) || key.get(Icmpv6Code) != 0 {
        // Printed only of neighbour discovery.
        [NdTarget, NdSll, NdTll].iter().for_each(|field| key.set(*field, 0));
    }
    if key.get(TunDst) != 0 || key.get(TunIpv6Dst) != 0 {
        // Printed only where the header that came in had one.
        key.set(TunId, 0);
    } else {
        let id = key.get(TunId);
        clear_tunnel(&mut key);
        key.set(TunId, id);
    }
    key
}

/// Writes down what the evaluator tells.
#[derive(Default)]
struct Witness {
    events: Vec<Event>,
    /// The fields as they are before an action begins what it begins.
    key: Rc<RefCell<Key>>,
}

impl Witness {
    /// All that was told, with what only the verdict knows.
    fn told(self, verdict: &Verdict) -> Vec<Event> {
        let limit = |drop: &Drop| {
            use DropReason::{StackFull, TooDeep, TooManyResubmits};
            matches!(drop.reason, TooDeep | TooManyResubmits | StackFull)
        };
        if verdict.drop.as_ref().is_some_and(limit) {
            return vec![Event::GivenUp];
        }
        let (mut outputs, mut told) = (verdict.outputs.iter(), verdict.packet_ins.iter());
        self.events
            .into_iter()
            .map(|event| match event {
                Event::Output { port, key, .. } => {
                    let queue = outputs.next().and_then(|output| output.queue).unwrap_or(0);
                    Event::Output { port, key, queue }
                }
                Event::Controller { id, reason, .. } => {
                    let cookie = told.next().map_or(0, |packet_in| packet_in.cookie);
                    Event::Controller { id, reason, cookie }
                }
                other => other,
            })
            .map(comparable)
            .collect()
    }
}

impl Observer for Witness {
    fn action(&mut self, _action: &Action, _before: &Key, after: &Key) {
        *self.key.borrow_mut() = after.clone();
    }

    fn output(&mut self, port: PortNo, key: &Key) {
        self.events.push(Event::Output { port: port.0, key: Box::new(key.clone()), queue: 0 });
    }

    fn packet_in(&mut self, controller: u16, reason: u8) {
        self.events.push(Event::Controller { id: controller, reason, cookie: 0 });
    }

    fn tracked(&mut self, request: &Request, _outcome: &Outcome) {
        let Request { zone, commit, force, mark, label, .. } = *request;
        self.events.push(Event::Track(Track { zone, commit, force, mark, label }));
    }

    fn ended(&mut self, copy: Option<List>, key: &Key) {
        if copy != Some(List::Clone) {
            self.events.push(Event::End(Box::new(key.clone())));
        }
    }
}

/// What `ofproto/trace` supposes of ct(): a new connection, with the mark and label that the packet
/// has by then.
struct Supposed {
    key: Rc<RefCell<Key>>,
}

impl Tracker for Supposed {
    fn track(&mut self, _: &Frame, _: &mut Option<Memo>, request: &Request, _: Time) -> Outcome {
        let key = self.key.borrow();
        let (mark, label) = (key.get(CtMark) as u32, key.get(CtLabel));
        Outcome {
            state: state::TRK | state::NEW,
            zone: request.zone,
            mark: (mark & !request.mark.1) | (request.mark.0 & request.mark.1),
            label: (label & !request.label.1) | (request.label.0 & request.label.1),
            original: None,
        }
    }
}

fn sent(frames: &[(u32, Vec<u8>)]) -> String {
    let mut by_port: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    frames.iter().for_each(|(port, frame)| by_port.entry(*port).or_default().push(hex(frame)));
    by_port.iter().fold(String::new(), |text, (port, frames)| {
        frames.iter().fold(text, |text, frame| format!("{text}  {port}: {frame}\n"))
    })
}
