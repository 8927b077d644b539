//! The userspace datapath: packet sockets, UDP sockets, and the pipeline's own evaluator.
//!
//! One thread owns what a packet needs (ports, state), and reads the flows under their lock for a batch
//! of packets at a time, so that changes of flows take effect between two packets. [`Userspace`] is
//! the handle: it sends the thread a command and waits for the answer.
//!
//! Simple and right rather than fast: whole plain frames, one system call a frame. Offloads are
//! switched off on the devices it serves ([`crate::offload`]), on the bridge's side by itself.
//!
//! # Contract
//!
//! * Sockets are opened in the network namespace in which [`Userspace::start`] was called.
//! * A port gets a bounded batch at a time, so a flood on one doesn't starve the others.
//! * Sending never blocks: what a device doesn't take at once is dropped and counted.
//! * Without traffic the thread sleeps; with a port whose device is down or absent it looks four
//!   times a second.

mod device;
pub(crate) mod udp;
mod worker;

use crate::{
    Change, Datapath, Error, FlowStatistics, Flows, PacketInSink, PacketOut, PortSpec, PortStatus,
    TableStatistics, clock,
};
use footbridge_openflow::PortNo;
use footbridge_pipeline::conntrack::Connection;
use footbridge_pipeline::fdb::FdbEntry;
use footbridge_pipeline::{Entry, Pipeline, State};
use mio::Waker;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use worker::{Command, Worker};

/// The datapath's handle. Dropped, it ends the thread and closes every socket.
pub struct Userspace {
    flows: Flows,
    commands: SyncSender<Command>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

impl Userspace {
    /// Start the thread, in the calling thread's network namespace, with no port and no flow.
    ///
    /// # Errors
    ///
    /// When the kernel has no thread or descriptor left.
    pub fn start() -> Result<Userspace, Error> {
        let (commands, receiver) = sync_channel(16);
        let flows = Flows::default();
        let (worker, waker) = Worker::new(receiver, Arc::clone(&flows)).map_err(Error::Start)?;
        let thread = std::thread::Builder::new()
            .name("datapath".to_owned())
            .spawn(move || worker.run())
            .map_err(Error::Start)?;
        Ok(Userspace { flows, commands, waker, thread: Some(thread) })
    }

    /// Run `ask` in the thread, between two packets.
    fn ask<R: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Worker) -> R + Send + 'static,
    ) -> Result<R, Error> {
        let (reply, answer) = sync_channel(1);
        let command = Box::new(move |worker: &mut Worker| {
            // Nobody waits for the answer where the asker is gone.
            drop(reply.send(ask(worker)));
        });
        self.commands.send(Command::Run(command)).map_err(|_| Error::Stopped)?;
        self.waker.wake().map_err(|_| Error::Stopped)?;
        answer.recv().map_err(|_| Error::Stopped)
    }

    fn with_state<R: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut State) -> R + Send + 'static,
    ) -> Result<R, Error> {
        self.ask(|worker| ask(worker.state()))
    }
}

impl Drop for Userspace {
    fn drop(&mut self) {
        // Where the thread has ended already, there is nothing to stop.
        let told = self.commands.send(Command::Stop).is_ok() && self.waker.wake().is_ok();
        if let Some(thread) = self.thread.take().filter(|_| told) {
            drop(thread.join());
        }
    }
}

impl Datapath for Userspace {
    fn kind(&self) -> &'static str {
        "userspace"
    }

    fn outlives_its_process(&self) -> bool {
        false
    }

    fn detach(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn add_port(&mut self, port: &PortSpec) -> Result<(), Error> {
        let port = port.clone();
        self.ask(move |worker| worker.add_port(&port))?
    }

    fn del_port(&mut self, number: PortNo) -> Result<(), Error> {
        self.ask(move |worker| worker.del_port(number))?
    }

    fn refresh_ports(&mut self) -> Result<(), Error> {
        self.ask(Worker::refresh_ports)
    }

    fn flows(&self) -> Flows {
        Arc::clone(&self.flows)
    }

    /// The thread reads the flows themselves: under the caller's lock they are in force already.
    fn commit(&mut self, _flows: &Pipeline, _changed: &Change) -> Result<(), Error> {
        Ok(())
    }

    fn set_packet_in_sink(&mut self, sink: PacketInSink) -> Result<(), Error> {
        self.ask(move |worker| worker.set_packet_in_sink(sink))
    }

    fn punt_misses(&mut self, punt: bool) -> Result<(), Error> {
        self.with_state(move |state| state.punt_misses = punt)
    }

    fn packet_out(&mut self, packet: PacketOut) -> Result<(), Error> {
        self.ask(move |worker| worker.packet_out(packet))
    }

    fn flow_statistics(&self, flow: &Entry) -> FlowStatistics {
        let counters = &flow.counters;
        FlowStatistics {
            packets: counters.packets(),
            bytes: counters.bytes(),
            last_used: counters.last_used(),
        }
    }

    fn table_statistics(&self, flows: &Pipeline) -> Vec<TableStatistics> {
        TableStatistics::of_evaluator(flows)
    }

    fn ports(&self) -> Result<Vec<PortStatus>, Error> {
        self.ask(|worker| worker.ports())
    }

    fn fdb(&self) -> Result<Vec<FdbEntry>, Error> {
        self.with_state(|state| state.fdb.entries(clock::now()))
    }

    fn connections(&self, zone: Option<u16>) -> Result<Vec<Connection>, Error> {
        self.with_state(move |state| state.conntrack.connections(zone, clock::now()))
    }

    fn flush_connections(&mut self, zone: Option<u16>) -> Result<usize, Error> {
        self.with_state(move |state| state.conntrack.flush(zone))
    }

    fn restore_connections(&mut self, connections: Vec<Connection>) -> Result<usize, Error> {
        self.with_state(move |state| state.conntrack.restore(connections, clock::now()))
    }
}
