//! The thread: a loop over ready sockets and commands.

use super::device::Device;
use super::udp::{NoFrame, Tunnel};
use crate::clock;
use crate::port::{Attachment, DropCounts, Link, PortSpec, PortStatus, Traffic};
use crate::{Error, Flows, PacketInSink, PacketOut};
use footbridge_openflow::PortNo;
use footbridge_pipeline::{DropReason, Output, Packet, Pipeline, State, TunnelKey, Unobserved, Verdict};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use nix::errno::Errno;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// Frames taken from one port before the next gets its turn.
const BATCH: usize = 64;
/// How often a device that isn't there is looked for.
const RETRY: Duration = Duration::from_millis(250);
/// How often, while packets come, connections past their time are cleared out.
const SWEEP: Duration = Duration::from_secs(30);
/// Longer than any frame: 64 KiB, an Ethernet header, and tags.
const LONGEST: usize = 68 << 10;
/// Errors in a row after which a socket waits for epoll again: one that stays must not keep a core busy.
const ERRORS: u32 = 4;
/// The token of the waker; ports have their numbers.
const WAKE: Token = Token(0);

/// What the handle sends.
pub(super) enum Command {
    /// Do this between two packets.
    Run(Box<dyn FnOnce(&mut Worker) + Send>),
    /// End.
    Stop,
}

/// Everything the thread owns.
pub(super) struct Worker {
    poll: Poll,
    commands: Receiver<Command>,
    flows: Flows,
    packet_in_sink: Option<PacketInSink>,
    state: State,
    ports: BTreeMap<PortNo, Port>,
    buffer: Box<[u8]>,
    last_look: Instant,
    last_sweep: Instant,
}

struct Port {
    name: String,
    end: End,
    /// Frames may be waiting: epoll tells once only (it is edge-triggered), so it is kept here until
    /// the socket says that none are.
    ready: bool,
    /// Errors in a row that receiving gave.
    errors: u32,
    rx: Traffic,
    tx: Traffic,
    drops: DropCounts,
}

enum End {
    Device(Device),
    Tunnel(Tunnel),
}

impl Worker {
    /// A worker without ports, and what wakes it up for a command.
    pub(super) fn new(commands: Receiver<Command>, flows: Flows) -> io::Result<(Worker, Arc<Waker>)> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKE)?);
        let worker = Worker {
            poll,
            commands,
            flows,
            packet_in_sink: None,
            state: State::default(),
            ports: BTreeMap::new(),
            buffer: vec![0; LONGEST].into_boxed_slice(),
            last_look: Instant::now(),
            last_sweep: Instant::now(),
        };
        Ok((worker, waker))
    }

    /// Serve until told to stop.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(256);
        loop {
            match self.poll.poll(&mut events, self.patience()) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::error!(%error, "the datapath can't wait for packets, and ends");
                    return;
                }
            }
            for event in &events {
                if let Ok(number) = u32::try_from(event.token().0)
                    && let Some(port) = self.ports.get_mut(&PortNo(number))
                {
                    port.ready = true;
                }
            }
            while let Ok(command) = self.commands.try_recv() {
                match command {
                    Command::Run(run) => run(&mut self),
                    Command::Stop => return,
                }
            }
            if self.looks_for_devices() && self.last_look.elapsed() >= RETRY {
                self.refresh_ports();
            }
            if self.last_sweep.elapsed() >= SWEEP {
                self.last_sweep = Instant::now();
                self.state.conntrack.sweep(clock::now());
            }
            let ready: Vec<PortNo> =
                self.ports.iter().filter(|(_, port)| port.ready).map(|(number, _)| *number).collect();
            for number in ready {
                self.serve(number);
            }
        }
    }

    /// How long to sleep when no socket says anything.
    fn patience(&self) -> Option<Duration> {
        if self.ports.values().any(|port| port.ready) {
            return Some(Duration::ZERO);
        }
        self.looks_for_devices().then(|| RETRY.saturating_sub(self.last_look.elapsed()))
    }

    fn looks_for_devices(&self) -> bool {
        self.ports.values().any(|port| port.link() != Link::Up)
    }

    /// Take up to a batch of frames from one port.
    fn serve(&mut self, number: PortNo) {
        let flows = Arc::clone(&self.flows);
        let flows = flows.read().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..BATCH {
            let Some(port) = self.ports.get_mut(&number) else { return };
            let received = port.receive(&mut self.buffer);
            if !matches!(received, Err(Missing::Error)) {
                port.errors = 0;
            }
            match received {
                Ok((frame, tunnel)) => {
                    port.rx.count(frame.len());
                    self.process(&flows, Packet { in_port: number, frame, tunnel });
                }
                Err(Missing::Dropped(reason)) => port.drops.count(reason),
                Err(Missing::Error) => {
                    port.rx.errors += 1;
                    port.errors = port.errors.saturating_add(1);
                    port.ready = port.errors < ERRORS;
                    return;
                }
                Err(Missing::Nothing) => {
                    port.ready = false;
                    return;
                }
                Err(Missing::Lost) => {
                    port.refresh(&self.poll, number);
                    // The kernel tells once that the device went down. It may be up again, with frames
                    // behind the error, of which epoll says nothing more.
                    port.ready = port.has_socket();
                    return;
                }
            }
        }
    }

    fn process(&mut self, flows: &Pipeline, packet: Packet) {
        let in_port = packet.in_port;
        let verdict = flows.process(&mut self.state, packet, clock::now(), &mut Unobserved);
        self.conclude(in_port, verdict);
    }

    pub(super) fn packet_out(&mut self, packet: PacketOut) {
        let PacketOut { in_port, metadata, actions, frame } = packet;
        let flows = Arc::clone(&self.flows);
        let flows = flows.read().unwrap_or_else(PoisonError::into_inner);
        let packet = Packet { in_port, frame, tunnel: TunnelKey::default() };
        let (state, now) = (&mut self.state, clock::now());
        let verdict = flows.execute(state, packet, &metadata, &actions, now, &mut Unobserved);
        self.conclude(in_port, verdict);
    }

    /// Send what is to be sent, to ports and to controllers, and count what went nowhere.
    fn conclude(&mut self, in_port: PortNo, verdict: Verdict) {
        let Verdict { outputs, packet_ins, drop, lost } = verdict;
        let sink = self.packet_in_sink.as_ref();
        let untaken = packet_ins.into_iter().map(|p| sink.is_some_and(|sink| sink(p)));
        let untaken = untaken.filter(|taken| !taken).count();
        if let Some(port) = self.ports.get_mut(&in_port) {
            let reasons = lost.iter().chain(&drop);
            reasons.for_each(|drop| port.drops.count(drop.reason));
            (0..untaken).for_each(|_| port.drops.count(DropReason::NoController));
        }
        for output in outputs {
            self.send(&output);
        }
    }

    fn send(&mut self, output: &Output) {
        let Some(port) = self.ports.get_mut(&output.port) else { return };
        if let Err(Lost::Device) = port.send(output) {
            self.refresh(output.port);
        }
    }

    /// Have epoll watch the port's socket, if it is another one now.
    fn refresh(&mut self, number: PortNo) {
        if let Some(port) = self.ports.get_mut(&number) {
            port.refresh(&self.poll, number);
        }
    }

    pub(super) fn state(&mut self) -> &mut State {
        &mut self.state
    }

    pub(super) fn set_packet_in_sink(&mut self, sink: PacketInSink) {
        self.packet_in_sink = Some(sink);
    }

    pub(super) fn add_port(&mut self, spec: &PortSpec) -> Result<(), Error> {
        let number = spec.number;
        if !number.is_ordinary() {
            return Err(Error::PortNumber { number });
        }
        if let Some(taken) = self.ports.get(&number) {
            return Err(Error::PortTaken { number, name: taken.name.clone() });
        }
        let end = match &spec.attachment {
            Attachment::Device { ifname } => End::Device(Device::new(ifname)),
            Attachment::Tunnel { protocol, udp_port, vni, local, options } => {
                End::Tunnel(Tunnel::open(*protocol, *udp_port, *vni, *local, *options)?)
            }
        };
        let mut port = Port {
            name: spec.name.clone(),
            end,
            ready: false,
            errors: 0,
            rx: Traffic::default(),
            tx: Traffic::default(),
            drops: DropCounts::default(),
        };
        if let End::Tunnel(tunnel) = &port.end {
            watch(&self.poll, tunnel.socket(), number);
            port.ready = true;
        }
        port.refresh(&self.poll, number);
        self.state.ports.insert(number, spec.attachment.kind());
        self.ports.insert(number, port);
        Ok(())
    }

    pub(super) fn del_port(&mut self, number: PortNo) -> Result<(), Error> {
        // Closing the socket ends the watch.
        self.ports.remove(&number).ok_or(Error::NoSuchPort { number })?;
        self.state.ports.remove(number);
        self.state.fdb.remove_port(number);
        Ok(())
    }

    pub(super) fn refresh_ports(&mut self) {
        self.last_look = Instant::now();
        for (number, port) in &mut self.ports {
            port.refresh(&self.poll, *number);
        }
    }

    pub(super) fn ports(&mut self) -> Vec<PortStatus> {
        let status = |(number, port): (&PortNo, &mut Port)| {
            port.count_overflows();
            PortStatus {
                number: *number,
                link: port.link(),
                rx: port.rx,
                tx: port.tx,
                drops: port.drops.clone(),
            }
        };
        self.ports.iter_mut().map(status).collect()
    }
}

/// Why a port's socket gave no packet.
enum Missing {
    /// What came is none for the pipeline.
    Dropped(DropReason),
    /// No frame this time; perhaps the next.
    Error,
    /// No more frames for now.
    Nothing,
    /// The device is down or gone.
    Lost,
}

/// A frame that could not be sent has been counted.
enum Lost {
    Frame,
    /// And the device is down or gone.
    Device,
}

impl Port {
    fn link(&self) -> Link {
        match &self.end {
            End::Device(device) => device.link(),
            End::Tunnel(_) => Link::Up,
        }
    }

    fn has_socket(&self) -> bool {
        match &self.end {
            End::Device(device) => device.socket().is_some(),
            End::Tunnel(_) => true,
        }
    }

    fn receive(&self, buffer: &mut [u8]) -> Result<(Vec<u8>, TunnelKey), Missing> {
        let received = match &self.end {
            End::Device(device) => {
                device.receive(buffer).map(|frame| (frame, TunnelKey::default())).map_err(NoFrame::Errno)
            }
            End::Tunnel(tunnel) => tunnel.receive(buffer),
        };
        received.map_err(|missing| match missing {
            NoFrame::WrongVni => Missing::Dropped(DropReason::TunnelId),
            NoFrame::Header(error) => {
                tracing::trace!(port = self.name, %error, "datagram dropped");
                Missing::Dropped(DropReason::TunnelHeader)
            }
            NoFrame::Errno(Errno::EAGAIN) => Missing::Nothing,
            NoFrame::Errno(Errno::EMSGSIZE) => Missing::Dropped(DropReason::TooBig),
            NoFrame::Errno(Errno::ENETDOWN | Errno::ENODEV | Errno::ENXIO) => Missing::Lost,
            NoFrame::Errno(errno) => {
                tracing::debug!(port = self.name, %errno, "receiving failed");
                Missing::Error
            }
        })
    }

    fn send(&mut self, output: &Output) -> Result<(), Lost> {
        let result = match &self.end {
            // Refresh, not the frame, finds out when it is back.
            End::Device(device) if device.link() != Link::Up => {
                self.tx.errors += 1;
                self.drops.count(DropReason::PortDown);
                return Err(Lost::Frame);
            }
            End::Device(device) => device.send(&output.frame),
            End::Tunnel(_) if output.tunnel.dst.is_unspecified() => {
                self.tx.errors += 1;
                self.drops.count(DropReason::NoTunnelDst);
                return Err(Lost::Frame);
            }
            End::Tunnel(tunnel) => tunnel.send(&output.frame, &output.tunnel),
        };
        let Err(errno) = result else {
            self.tx.count(output.frame.len());
            return Ok(());
        };
        self.tx.errors += 1;
        let (reason, lost) = match errno {
            Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM => (DropReason::Congestion, Lost::Frame),
            Errno::EMSGSIZE => (DropReason::TooBig, Lost::Frame),
            Errno::ENETDOWN | Errno::ENODEV | Errno::ENXIO => (DropReason::PortDown, Lost::Device),
            Errno::ENETUNREACH | Errno::EHOSTUNREACH => (DropReason::Unreachable, Lost::Frame),
            errno => {
                tracing::debug!(port = self.name, %errno, "sending failed");
                (DropReason::SendError, Lost::Frame)
            }
        };
        self.drops.count(reason);
        Err(lost)
    }

    /// Look at the device again; say so where its link has changed.
    fn refresh(&mut self, poll: &Poll, number: PortNo) {
        let End::Device(device) = &mut self.end else { return };
        let before = device.link();
        if device.refresh()
            && let Some(socket) = device.socket()
        {
            watch(poll, socket, number);
            self.ready = true;
        }
        let after = device.link();
        if before != after {
            tracing::info!(port = self.name, number = number.0, link = after.name(), "port changed");
        }
    }

    fn count_overflows(&mut self) {
        if let End::Device(device) = &self.end {
            self.rx.errors += device.take_overflows();
        }
    }
}

/// Have epoll report the socket under the port's number. A closed socket needs no undoing.
fn watch(poll: &Poll, socket: &OwnedFd, number: PortNo) {
    let token = Token(number.0 as usize);
    if let Err(error) =
        poll.registry().register(&mut SourceFd(&socket.as_raw_fd()), token, Interest::READABLE)
    {
        tracing::error!(port = number.0, %error, "can't watch the port's socket");
    }
}

#[cfg(test)]
mod tests;
