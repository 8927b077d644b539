//! A datapath without devices: its program runs on frames that a test hands in.

use crate::ebpf::compile::layout;
use crate::ebpf::compile::record::{RECORD, RECORDED_BYTES};
use crate::ebpf::flows::Compiled;
use crate::ebpf::load::{Map, MapKind, Program};
use crate::ebpf::punts::Punted;
use crate::ebpf::sys::Ring;
use crate::{Change, PacketOut};
use footbridge_openflow::text::parse_flow;
use footbridge_openflow::{PortNames, PortNo};
use footbridge_pipeline::conntrack::Limits;
use footbridge_pipeline::{DropReason, FlowId, PacketIn, Pipeline, PortKind, Time, TunnelKey};

/// What one run made of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Ports and frames.
    pub(super) outputs: Vec<(u32, Vec<u8>)>,
    /// What was counted at the port it came in on: reasons and how often.
    pub(super) drops: Vec<(DropReason, u64)>,
}

pub(super) struct Bed {
    pub(super) pipeline: Pipeline,
    pub(super) compiled: Compiled,
    record: Map,
    ring: Ring,
    /// What the last run had for the controllers. Nobody takes it, and so it counts as dropped.
    pub(super) packet_ins: Vec<PacketIn>,
    /// What it had to be sent cut.
    pub(super) cut: Vec<PacketOut>,
    program: Option<Program>,
}

impl Bed {
    /// A bed with ports 1 to `ports`; None, and a word, where the kernel takes no programs of ours.
    pub(super) fn new(test: &str, ports: u32) -> Option<Bed> {
        Bed::with_limits(test, ports, Limits::default())
    }

    /// The same, which tracks no more connections than that.
    pub(super) fn with_limits(test: &str, ports: u32, limits: Limits) -> Option<Bed> {
        let compiled = match Compiled::start(None, limits) {
            Ok(compiled) => compiled,
            Err(why) => {
                println!("skipped: {test}: {why}");
                return None;
            }
        };
        for port in 1..=ports {
            let value = layout::port_value(1, port as u16, PortKind::Ordinary);
            compiled.shared().out_ports.put(&port.to_ne_bytes(), &value).unwrap();
        }
        for list in [layout::FLOOD_LIST as u32, layout::ALL_LIST as u32] {
            for (index, value) in (list..).zip(std::iter::once(ports).chain(1..=ports)) {
                compiled.shared().flood.put(&index.to_ne_bytes(), &value.to_ne_bytes()).unwrap();
            }
        }
        let record = Map::new(MapKind::Array, "fb_record", 4, RECORD, 1).unwrap();
        let ring = compiled.shared().punts.ring().unwrap();
        let (pipeline, packet_ins, cut) = (Pipeline::new(), Vec::new(), Vec::new());
        Some(Bed { pipeline, compiled, record, ring, packet_ins, cut, program: None })
    }

    /// Replace all flows.
    pub(super) fn flows<S: AsRef<str>>(&mut self, lines: &[S]) -> Result<(), crate::ebpf::EbpfError> {
        let removed: Vec<FlowId> = self.pipeline.entries().map(|entry| entry.id).collect();
        removed.iter().for_each(|id| drop(self.pipeline.remove(*id)));
        let added = lines.iter().map(|line| self.insert(line.as_ref())).collect();
        self.commit(&Change { added, removed })
    }

    /// Add a flow to the pipeline; it is to be committed.
    pub(super) fn insert(&mut self, line: &str) -> FlowId {
        let flow = parse_flow(line, &PortNames::none()).unwrap_or_else(|e| panic!("{line}: {e}"));
        self.pipeline.insert(flow, Time(1)).unwrap().entry.id
    }

    pub(super) fn commit(&mut self, change: &Change) -> Result<(), crate::ebpf::EbpfError> {
        self.program = None;
        self.compiled.commit(&self.pipeline, change)
    }

    /// Make the last of `ports` ports a tunnel.
    pub(super) fn make_tunnel(&mut self, ports: u32) {
        let shared = self.compiled.shared();
        let (number, value) = (ports.to_ne_bytes(), layout::port_value(1, ports as u16, PortKind::Tunnel));
        shared.out_ports.put(&number, &value).unwrap();
        shared.tunnels.put(&number, &[0; layout::TUNNEL_VALUE]).unwrap();
        let list = (layout::FLOOD_LIST as u32).to_ne_bytes();
        shared.flood.put(&list, &(ports - 1).to_ne_bytes()).unwrap();
    }

    /// Run the program on a frame.
    pub(super) fn run(&mut self, in_port: PortNo, frame: &[u8]) -> Seen {
        self.run_from(in_port, &TunnelKey::default(), frame)
    }

    /// Run the program on a frame that came through a tunnel.
    pub(super) fn run_from(&mut self, in_port: PortNo, tunnel: &TunnelKey, frame: &[u8]) -> Seen {
        let mut seen = self.run_unread(in_port, tunnel, frame);
        let untaken = self.read_ring();
        if untaken > 0 {
            match seen.drops.iter_mut().find(|(reason, _)| *reason == DropReason::NoController) {
                Some((_, count)) => *count += untaken,
                None => seen.drops.push((DropReason::NoController, untaken)),
            }
        }
        seen
    }

    /// Read what there is for the controllers; how many packets.
    pub(super) fn read_ring(&mut self) -> u64 {
        let records = std::iter::from_fn(|| self.ring.next());
        let shared = self.compiled.shared();
        (self.packet_ins, self.cut) = (Vec::new(), Vec::new());
        for punted in records.map(|record| shared.controllers.punted(&record).unwrap()) {
            match punted {
                Punted::Told(packet) => self.packet_ins.push(*packet),
                Punted::Cut(packet) => self.cut.push(packet),
            }
        }
        self.packet_ins.len() as u64
    }

    /// Run the program on a frame, and leave what it has for the controllers in the ring.
    pub(super) fn run_unread(&mut self, in_port: PortNo, tunnel: &TunnelKey, frame: &[u8]) -> Seen {
        self.record.clear(&0u32.to_ne_bytes()).unwrap();
        let before = self.counters(in_port);
        let program = match self.program.take() {
            Some(program) => program,
            None => self.compiled.recording(self.record.fd()).unwrap_or_else(|e| panic!("{e}")),
        };
        program.run(frame, &context(in_port, tunnel), 1).unwrap_or_else(|e| panic!("{e}: {frame:02x?}"));
        self.program = Some(program);
        let after = self.counters(in_port);
        let drops = DropReason::all()
            .map(|reason| (reason, layout::DROPS as usize / 8 + reason as usize))
            .map(|(reason, at)| (reason, after[at] - before[at]))
            .filter(|(_, count)| *count > 0)
            .collect();
        let record = self.record.get(&0u32.to_ne_bytes()).unwrap().unwrap();
        let number = |at: usize| u32::from_ne_bytes(*record[at..].first_chunk().unwrap());
        let output = |index: usize| {
            let at = 8 + index * (24 + RECORDED_BYTES);
            let length = number(at + 4) as usize;
            let mut frame = record[at + 24..at + 24 + length.min(RECORDED_BYTES)].to_vec();
            if record[at + 8] != 0 {
                // The tag's type as it stands in a frame; its TCI in the machine's order.
                let tci = u16::from_ne_bytes([record[at + 12], record[at + 13]]).to_be_bytes();
                frame.splice(12..12, [record[at + 10], record[at + 11], tci[0], tci[1]]);
            }
            (number(at), frame)
        };
        Seen { outputs: (0..number(0) as usize).map(output).collect(), drops }
    }

    /// The program in force, to run elsewhere, and its record.
    pub(super) fn recording(&self) -> (Program, Map) {
        let record = Map::new(MapKind::Array, "fb_record", 4, RECORD, 1).unwrap();
        (self.compiled.recording(record.fd()).unwrap(), record)
    }

    /// The tunnel sources and destinations of the last run's outputs.
    pub(super) fn tunnel_addresses(&self) -> Vec<(u32, u32)> {
        let record = self.record.get(&0u32.to_ne_bytes()).unwrap().unwrap();
        let number = |at: usize| u32::from_ne_bytes(*record[at..].first_chunk().unwrap());
        let output = |index: usize| 8 + index * (24 + RECORDED_BYTES);
        (0..number(0) as usize).map(output).map(|at| (number(at + 20), number(at + 16))).collect()
    }

    fn counters(&self, port: PortNo) -> Vec<u64> {
        let shared = self.compiled.shared();
        shared.port_counters.sums(&port.0.to_ne_bytes(), layout::PORT_COUNTERS / 8).unwrap()
    }
}

/// A `struct __sk_buff` with what the root program says of the port: its number, which is also its slot, and
/// the tunnel header.
pub(super) fn context(in_port: PortNo, tunnel: &TunnelKey) -> [u8; 68] {
    let from_tunnel = if tunnel.dst.is_unspecified() { 0 } else { layout::FROM_TUNNEL | tunnel.id as u32 };
    let cb = [in_port.0, in_port.0, tunnel.src.to_bits(), tunnel.dst.to_bits(), from_tunnel];
    let mut context = [0; 68];
    for (bytes, word) in context[48..].chunks_exact_mut(4).zip(cb) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    context
}
