//! The datapath in the kernel: the flow tables compiled into one eBPF program at the TC hook of every
//! port's device.
//!
//! | module | what |
//! | --- | --- |
//! | `asm` | instructions, labels, registers |
//! | [`compile`] | flow tables to instructions; what is refused |
//! | `sys`, `load` | bpf(2): maps, programs, links |
//! | `flows` | the flows in force: maps and program kept in step with the pipeline |
//! | `connections` | what `ct()` knows: its maps, listed, flushed and restored |
//! | [`pins`] | what outlives the process |
//! | `attach` | a program on a device: tcx links, or filters |
//! | `punts` | packets for the controllers, frames to be sent cut, and the thread that reads them |
//! | `root` | the program on a device, which leads to the one in force |
//! | `tunnel` | the device of a tunnel port |
//! | `ports` | devices, and the thread that lives in their network namespace |
//!
//! # Contract
//!
//! * A packet never waits for this process: there is no upcall. Those for the controllers go to a ring; where
//!   that is full they are lost, and counted.
//! * Each port's device runs a root program of a few stores and a tail call, so that a new program is in
//!   force on all ports at once, by one write. Changes of more than one flow always come so; a change of
//!   one flow, of a mask and an action list that are known, is one write to a map.
//! * What can't be compiled is refused ([`compile::CompileError`]) and nothing has changed then; so too
//!   where the kernel refuses the program.
//! * Counters are the kernel's, per CPU; reading them stops nothing.
//!
//! # Limits
//!
//! * It takes a little-endian machine.
//! * A redirect that the kernel makes to a device with a full queue is lost and not counted.
//! * A packet that leaves by one port and, in the same call, comes in by another is carried out within the
//!   first one's run: three such, and no more.

pub(crate) mod asm;
mod attach;
pub mod compile;
mod connections;
mod flows;
pub mod load;
pub mod pins;
mod ports;
mod punts;
mod root;
mod sys;
#[cfg(test)]
mod tests;
mod tunnel;

use crate::{
    Change, Datapath, Error, FlowStatistics, Flows, PacketInSink, PacketOut, PortSpec, PortStatus,
    TableStatistics, clock,
};
use flows::Compiled;
use footbridge_openflow::PortNo;
use footbridge_pipeline::conntrack::{Connection, Limits};
use footbridge_pipeline::fdb::FdbEntry;
use footbridge_pipeline::{Entry, Pipeline};
use load::LoadError;
use pins::Pins;
use ports::{Ports, Worker};
use punts::Reader;
use std::path::Path;
use std::sync::Arc;

/// Why the datapath could not do something, where the reason is its own.
#[derive(Debug, thiserror::Error)]
pub enum EbpfError {
    /// A flow that can't be compiled.
    #[error(transparent)]
    Compile(#[from] compile::CompileError),
    /// Something that the kernel does not take.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// Something that this datapath does not have.
    #[error("the ebpf datapath can't do {0} yet: use the userspace datapath")]
    Absent(&'static str),
}

/// The datapath's handle. Dropped, it detaches from every device, unless it was to outlive its process.
pub struct Ebpf {
    flows: Flows,
    compiled: Compiled,
    /// Ends with the handle, before the ports: it has them send packets.
    _reader: Reader,
    ports: Ports,
}

impl Ebpf {
    /// A datapath without port and flow, for devices in the calling thread's network namespace. When it is dropped,
    /// or the process ends, nothing is attached any more.
    ///
    /// # Errors
    ///
    /// When the kernel does not take its maps or its program.
    pub fn start() -> Result<Ebpf, Error> {
        Ebpf::with_pins(None)
    }

    /// The same, but what is attached outlives the process: it is pinned in `dir`, in a bpf file system (such as
    /// /sys/fs/bpf, which is mounted where it is not). Where a process before left a datapath there, packets go as
    /// that said until the first flows are committed; ports take over their links, counters go on, and learned
    /// addresses stay. Links of ports that are not added again within a minute after the first commit go.
    /// [`pins::detach`] takes all of it away.
    ///
    /// # Errors
    ///
    /// As [`Ebpf::start`], and when another process has the directory.
    pub fn start_pinned(dir: &Path) -> Result<Ebpf, Error> {
        Ebpf::start_pinned_as(dir, pins::FORMAT)
    }

    /// As a build whose root programs have this format, for tests of upgrades.
    #[doc(hidden)]
    pub fn start_pinned_as(dir: &Path, format: u32) -> Result<Ebpf, Error> {
        let pins = Pins::open(dir, format).map_err(EbpfError::from)?;
        Ebpf::with_pins(Some(pins))
    }

    fn with_pins(pins: Option<Pins>) -> Result<Ebpf, Error> {
        if cfg!(target_endian = "big") {
            return Err(EbpfError::Absent("big-endian machines").into());
        }
        let compiled = Compiled::start(pins, Limits::default())?;
        let flows = Flows::default();
        let ports = Ports::start(compiled.shared(), Arc::clone(&flows))?;
        let reader = Reader::start(&compiled.shared(), ports.commands()?.clone())?;
        Ok(Ebpf { flows, compiled, _reader: reader, ports })
    }
}

impl Datapath for Ebpf {
    fn kind(&self) -> &'static str {
        "ebpf"
    }

    fn outlives_its_process(&self) -> bool {
        self.compiled.shared().pins.is_some()
    }

    fn detach(&mut self) -> Result<(), Error> {
        self.ports.ask(Worker::detach)?
    }

    fn add_port(&mut self, port: &PortSpec) -> Result<(), Error> {
        let port = port.clone();
        self.ports.ask(move |worker| worker.add(&port))?
    }

    fn del_port(&mut self, number: PortNo) -> Result<(), Error> {
        self.ports.ask(move |worker| worker.remove(number))?
    }

    fn refresh_ports(&mut self) -> Result<(), Error> {
        self.ports.ask(|worker| worker.refresh())
    }

    fn flows(&self) -> Flows {
        Arc::clone(&self.flows)
    }

    fn commit(&mut self, flows: &Pipeline, changed: &Change) -> Result<(), Error> {
        let inherited = self.compiled.is_inherited();
        self.compiled.commit(flows, changed)?;
        if inherited {
            self.ports.ask(Worker::take_over)?;
        }
        Ok(())
    }

    fn set_packet_in_sink(&mut self, sink: PacketInSink) -> Result<(), Error> {
        self.compiled.shared().controllers.set_sink(sink);
        Ok(())
    }

    fn punt_misses(&mut self, punt: bool) -> Result<(), Error> {
        Ok(self.compiled.tell_misses(punt)?)
    }

    /// Carried out by the evaluator, and sent by a packet socket.
    fn packet_out(&mut self, packet: PacketOut) -> Result<(), Error> {
        self.ports.ask(move |worker| worker.packet_out(packet, clock::now()))
    }

    fn flow_statistics(&self, flow: &Entry) -> FlowStatistics {
        self.compiled.statistics(flow)
    }

    fn table_statistics(&self, flows: &Pipeline) -> Vec<TableStatistics> {
        let here = TableStatistics::of_evaluator(flows);
        match self.compiled.table_statistics() {
            Ok(kernel) => here.into_iter().zip(kernel).map(|(a, b)| a + b).collect(),
            Err(error) => {
                tracing::error!(%error, "what passed the tables can't be read");
                here
            }
        }
    }

    fn ports(&self) -> Result<Vec<PortStatus>, Error> {
        self.ports.ask(|worker| worker.status())?
    }

    fn fdb(&self) -> Result<Vec<FdbEntry>, Error> {
        self.ports.ask(|worker| worker.fdb(clock::now()))?
    }

    fn connections(&self, zone: Option<u16>) -> Result<Vec<Connection>, Error> {
        Ok(self.compiled.shared().connections.list(zone, clock::now()).map_err(EbpfError::from)?)
    }

    fn flush_connections(&mut self, zone: Option<u16>) -> Result<usize, Error> {
        Ok(self.compiled.shared().connections.flush(zone, clock::now()).map_err(EbpfError::from)?)
    }

    fn restore_connections(&mut self, connections: Vec<Connection>) -> Result<usize, Error> {
        let restored = self.compiled.shared().connections.restore(&connections, clock::now());
        Ok(restored.map_err(EbpfError::from)?)
    }
}
