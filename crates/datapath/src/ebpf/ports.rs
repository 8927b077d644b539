//! Ports: devices, their root programs, and the thread that lives in their network namespace.
//!
//! Index and link of a device are facts of one network namespace, and so one thread, that of
//! [`Ports::start`], does all that names a device. It looks four times a second for devices that come, go
//! or change.

use super::EbpfError;
use super::attach::Hold;
use super::compile::layout::{self, ALL_LIST, FLOOD_LIST, PORTS};
use super::flows::Shared;
use super::load::{LoadError, Program, number};
use super::pins;
use super::root::{Accepted, root};
use super::tunnel;
use crate::port::{Attachment, DropCounts, Link, PortSpec, PortStatus, Traffic};
use crate::tunnel::OptionMap;
use crate::userspace::udp;
use crate::{Error, Flows, PacketOut, TunnelProtocol, clock, sys};
use footbridge_openflow::{MacAddr, PortNo};
use footbridge_pipeline::conntrack::rules::SWEEP_INTERVAL;
use footbridge_pipeline::fdb::{AGEING_TIME, FdbEntry};
use footbridge_pipeline::{
    DropReason, Output, Packet, Pipeline, PortKind, State, Time, TunnelKey, Unobserved,
};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, sendto, socket};
use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often devices are looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How long after the first flows the ports of a process before may be added again.
const CLAIM: Duration = Duration::from_secs(60);

type Command = Box<dyn FnOnce(&mut Worker) + Send>;

/// Tells the thread what to do.
#[derive(Clone)]
pub(super) struct Commands(SyncSender<Command>);

impl Commands {
    /// Run `ask` in the thread.
    fn ask<R: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Worker) -> R + Send + 'static,
    ) -> Result<R, Error> {
        let (reply, answer) = sync_channel(1);
        self.tell(move |worker| {
            // Nobody waits for the answer where the asker is gone.
            drop(reply.send(ask(worker)));
        })?;
        answer.recv().map_err(|_| Error::Stopped)
    }

    /// Have `command` run in the thread some time.
    fn tell(&self, command: impl FnOnce(&mut Worker) + Send + 'static) -> Result<(), Error> {
        self.0.send(Box::new(command)).map_err(|_| Error::Stopped)
    }

    /// Have a packet sent some time, by actions that look nothing up.
    pub(super) fn send(&self, packet: PacketOut) -> Result<(), Error> {
        // Whoever changes the flows may be waiting for the thread.
        self.tell(move |worker| worker.carry_out(&Pipeline::new(), packet, clock::now()))
    }
}

/// The thread's handle. Dropped, it ends the thread, which lets go of all devices, as soon as nobody else has its
/// [`Commands`].
pub(super) struct Ports {
    commands: Option<Commands>,
    thread: Option<JoinHandle<()>>,
}

impl Ports {
    /// Start the thread, in the calling thread's network namespace.
    pub(super) fn start(shared: Arc<Shared>, flows: Flows) -> Result<Ports, Error> {
        let (commands, receiver) = sync_channel::<Command>(16);
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        // Protocol 0: it hears nothing.
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None);
        let socket = socket.map_err(|errno| Error::Start(errno.into()))?;
        let left = inherited(&shared);
        let taken: Vec<u16> = left.values().map(|left| left.slot).collect();
        let free = (0..PORTS as u16).filter(|slot| !taken.contains(slot)).collect();
        let (state, ports) = (State::default(), BTreeMap::new());
        let worker = Worker { shared, flows, state, socket, ports, left, settled: None, free };
        let thread = std::thread::Builder::new()
            .name("ebpf-ports".to_owned())
            .spawn(move || worker.run(&receiver))
            .map_err(Error::Start)?;
        Ok(Ports { commands: Some(Commands(commands)), thread: Some(thread) })
    }

    /// To tell the thread what to do.
    pub(super) fn commands(&self) -> Result<&Commands, Error> {
        self.commands.as_ref().ok_or(Error::Stopped)
    }

    /// Run `ask` in the thread.
    pub(super) fn ask<R: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Worker) -> R + Send + 'static,
    ) -> Result<R, Error> {
        self.commands()?.ask(ask)
    }
}

impl Drop for Ports {
    fn drop(&mut self) {
        drop(self.commands.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Everything the thread owns.
pub(super) struct Worker {
    shared: Arc<Shared>,
    flows: Flows,
    /// For packets that controllers hand in.
    state: State,
    /// To send such packets with.
    socket: OwnedFd,
    ports: BTreeMap<PortNo, Port>,
    /// What a process before left, until the ports are added again.
    left: BTreeMap<PortNo, Left>,
    /// When the first flows were committed.
    settled: Option<Instant>,
    /// Counters of no port.
    free: VecDeque<u16>,
}

/// A port that a process before left.
struct Left {
    slot: u16,
    hold: Hold,
    kind: PortKind,
}

struct Port {
    name: String,
    ifname: String,
    slot: u16,
    tunnel: Option<Tunnel>,
    root: Program,
    attached: Option<Attached>,
    /// What the device could not take, or it could not be attached to, was said.
    refused: bool,
    /// Sent and lost by packet-outs, which the program does not see.
    sent: Traffic,
    lost: DropCounts,
}

/// What a tunnel port has beside a device.
struct Tunnel {
    protocol: TunnelProtocol,
    udp_port: u16,
    local: Option<Ipv4Addr>,
    /// For packets that controllers hand in: a packet socket can't give the device a destination.
    sender: udp::Tunnel,
}

struct Attached {
    ifindex: u32,
    up: bool,
    hold: Hold,
    /// It runs the root program of a process before.
    inherited: bool,
}

impl Worker {
    fn run(mut self, commands: &Receiver<Command>) {
        let (mut last_look, mut last_sweep) = (Instant::now(), Instant::now());
        loop {
            match commands.recv_timeout(LOOK.saturating_sub(last_look.elapsed())) {
                Ok(command) => command(&mut self),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if last_look.elapsed() >= LOOK {
                self.refresh();
                self.forget_left();
                last_look = Instant::now();
            }
            // Twice as often as a packet would do it in a full table.
            if last_sweep.elapsed() >= SWEEP_INTERVAL / 2 {
                if let Err(error) = self.shared.connections.sweep(clock::now()) {
                    tracing::warn!(%error, "connections past their time stay");
                }
                last_sweep = Instant::now();
            }
        }
        // What is pinned goes on.
        if self.shared.pins.is_none() {
            // Without pins, nothing can go wrong.
            let _ = self.detach();
        }
    }

    /// Let go of all devices, and of what is pinned.
    pub(super) fn detach(&mut self) -> Result<(), Error> {
        let ports = std::mem::take(&mut self.ports);
        ports.into_iter().for_each(|(number, port)| port.let_go(number, &self.shared));
        std::mem::take(&mut self.left).into_values().for_each(|left| left.hold.release());
        Ok(self.shared.pins.as_ref().map_or(Ok(()), pins::Pins::clear).map_err(EbpfError::from)?)
    }

    /// Flows of this process are in force.
    pub(super) fn take_over(&mut self) {
        self.settled = Some(Instant::now());
        self.refresh();
    }

    /// Let go of the ports that nobody has added again.
    fn forget_left(&mut self) {
        if self.settled.is_none_or(|settled| settled.elapsed() < CLAIM) {
            return;
        }
        self.settled = None;
        let Some(pins) = &self.shared.pins else { return };
        for (number, Left { slot, hold, .. }) in std::mem::take(&mut self.left) {
            let device = hold.device();
            pins::remove(&pins.hold(number, slot, hold.filter()));
            hold.release();
            tunnel::remove_device(device);
            self.free.push_back(slot);
            if let Err(error) = forget(number, &self.shared) {
                tracing::warn!(port = number.0, %error, "a port of the process before stays");
            }
        }
        pins.clear_other_formats();
        if let Err(error) = self.list_for_floods() {
            tracing::warn!(%error, "ports of the process before stay");
        }
    }

    pub(super) fn add(&mut self, spec: &PortSpec) -> Result<(), Error> {
        let number = spec.number;
        if !number.is_ordinary() {
            return Err(Error::PortNumber { number });
        }
        if let Some(taken) = self.ports.get(&number) {
            return Err(Error::PortTaken { number, name: taken.name.clone() });
        }
        let slot = match self.left.get(&number) {
            // Its counters go on.
            Some(left) => left.slot,
            None => {
                let slot = self.free.front().copied().ok_or(EbpfError::Absent("more than 1024 ports"))?;
                self.shared.port_counters.clear(&u32::from(slot).to_ne_bytes()).map_err(EbpfError::from)?;
                slot
            }
        };
        let (ifname, tunnel, accepted) = match &spec.attachment {
            Attachment::Device { ifname } => (ifname.clone(), None, None),
            Attachment::Tunnel { protocol, udp_port, vni, local, options } => {
                let sender = udp::Tunnel::sender(*protocol, *udp_port, *vni, *local, *options)?;
                let value = tunnel_value(*protocol, *vni, *local, *options);
                let put = self.shared.tunnels.put(&u32::from(slot).to_ne_bytes(), &value);
                put.map_err(EbpfError::from)?;
                let (protocol, udp_port, local) = (*protocol, *udp_port, *local);
                let tunnel = Tunnel { protocol, udp_port, local, sender };
                (spec.name.clone(), Some(tunnel), Some(Accepted { vni: *vni, local }))
            }
        };
        let root = Program::load("fb_root", &root(number, slot, accepted, &self.shared)?);
        let root = root.map_err(EbpfError::from)?;
        if let Some(tunnel) = &tunnel {
            tunnel.make_device(&ifname)?;
        }
        let attached = match self.left.remove(&number) {
            Some(left) => Some(Attached {
                ifindex: left.hold.device().unwrap_or(0),
                up: false,
                hold: left.hold,
                inherited: true,
            }),
            None => {
                self.free.pop_front();
                None
            }
        };
        let mut port = Port {
            name: spec.name.clone(),
            ifname,
            slot,
            tunnel,
            root,
            attached,
            refused: false,
            sent: Traffic::default(),
            lost: DropCounts::default(),
        };
        port.look(number, &self.shared);
        self.state.ports.insert(number, spec.attachment.kind());
        self.ports.insert(number, port);
        self.list_for_floods()
    }

    pub(super) fn remove(&mut self, number: PortNo) -> Result<(), Error> {
        let port = self.ports.remove(&number).ok_or(Error::NoSuchPort { number })?;
        self.state.ports.remove(number);
        self.shared.controllers.forget(number);
        self.free.push_back(port.slot);
        let forgotten = forget(number, &self.shared);
        port.let_go(number, &self.shared);
        forgotten.map_err(EbpfError::from)?;
        self.list_for_floods()
    }

    /// Tell the program which ports there are, by rising number.
    fn list_for_floods(&self) -> Result<(), Error> {
        let put = |index: u32, value: u32| {
            self.shared.flood.put(&index.to_ne_bytes(), &value.to_ne_bytes()).map_err(EbpfError::from)
        };
        for (list, tunnels) in [(FLOOD_LIST as u32, false), (ALL_LIST as u32, true)] {
            let ports = self.ports.iter().map(|(number, port)| (*number, port.kind()));
            let left = self.left.iter().map(|(number, left)| (*number, left.kind));
            let ports: BTreeMap<PortNo, PortKind> = ports.chain(left).collect();
            let ports = ports.into_iter().filter(|(_, kind)| tunnels || *kind != PortKind::Tunnel);
            let mut count = 0;
            for (number, _) in ports {
                count += 1;
                put(list + count, number.0)?;
            }
            put(list, count)?;
        }
        Ok(())
    }

    /// The addresses that NORMAL learned, the longest unseen of each port first.
    pub(super) fn fdb(&self, now: Time) -> Result<Vec<FdbEntry>, Error> {
        let fresh = |entry: &FdbEntry| now.since(entry.seen) < AGEING_TIME;
        let learned = learned(&self.shared).map_err(EbpfError::from)?;
        let mut entries: Vec<FdbEntry> = learned.into_iter().map(|(entry, _)| entry).filter(fresh).collect();
        entries.sort_unstable_by_key(|entry| (entry.port, entry.seen));
        Ok(entries)
    }

    pub(super) fn refresh(&mut self) {
        for (number, port) in &mut self.ports {
            port.look(*number, &self.shared);
        }
    }

    pub(super) fn status(&self) -> Result<Vec<PortStatus>, Error> {
        self.ports.iter().map(|(number, port)| port.status(*number, &self.shared)).collect()
    }

    pub(super) fn packet_out(&mut self, packet: PacketOut, now: Time) {
        let flows = Arc::clone(&self.flows);
        self.carry_out(&flows.read().unwrap_or_else(PoisonError::into_inner), packet, now);
    }

    fn carry_out(&mut self, flows: &Pipeline, packet: PacketOut, now: Time) {
        let PacketOut { in_port, metadata, actions, frame } = packet;
        let packet = Packet { in_port, frame, tunnel: TunnelKey::default() };
        let verdict = flows.execute(&mut self.state, packet, &metadata, &actions, now, &mut Unobserved);
        verdict.packet_ins.into_iter().for_each(|packet| self.shared.controllers.tell(packet));
        if let Some(port) = self.ports.get_mut(&in_port) {
            verdict.lost.iter().chain(&verdict.drop).for_each(|drop| port.lost.count(drop.reason));
        }
        for output in verdict.outputs {
            if let Some(port) = self.ports.get_mut(&output.port) {
                port.send(&self.socket, &output);
            }
        }
    }
}

impl Tunnel {
    /// Have the device there.
    fn make_device(&self, name: &str) -> Result<u32, Error> {
        let Tunnel { protocol, udp_port, local, .. } = *self;
        let local = local.unwrap_or(Ipv4Addr::UNSPECIFIED);
        tunnel::make(name, protocol, udp_port).map_err(|errno| Error::Tunnel {
            protocol,
            local,
            udp_port,
            errno,
        })
    }
}

impl Port {
    /// Compare with the device that has the name now: attach to another one, note what it is like.
    fn look(&mut self, number: PortNo, shared: &Shared) {
        let before = self.link();
        let mut ifindex = nix::net::if_::if_nametoindex(self.ifname.as_str()).ok();
        if let (None, Some(tunnel)) = (ifindex, &self.tunnel) {
            // Somebody took it away.
            ifindex = tunnel.make_device(&self.ifname).ok();
        }
        if self.attached.as_ref().map(|attached| attached.ifindex) != ifindex {
            self.detach(number, shared);
            self.attached = ifindex.and_then(|ifindex| self.attach(number, ifindex, shared));
        }
        self.take_over(number, shared);
        let device = sys::Device::named(&self.ifname);
        if let Some(attached) = &mut self.attached {
            attached.up = device.as_ref().is_ok_and(|device| device.is_up().unwrap_or(false));
        }
        let ifindex = match &self.attached {
            Some(Attached { ifindex, up: true, .. }) => *ifindex,
            Some(_) | None => 0,
        };
        let value = layout::port_value(ifindex, self.slot, self.kind());
        if let Err(error) = shared.out_ports.put(&number.0.to_ne_bytes(), &value) {
            tracing::error!(port = self.name, %error, "nothing can be sent to the port");
        }
        let after = self.link();
        if before != after {
            tracing::info!(port = self.name, number = number.0, link = after.name(), "port changed");
        }
    }

    /// Have this process's root program run, as soon as that leads somewhere.
    fn take_over(&mut self, number: PortNo, shared: &Shared) {
        let Some(attached) = &mut self.attached else { return };
        if attached.inherited && shared.has_program() {
            let path = shared.pins.as_ref().map(|pins| pins.hold(number, self.slot, attached.hold.filter()));
            match attached.hold.update(&self.root, &path.unwrap_or_default()) {
                Ok(()) => attached.inherited = false,
                Err(errno) => tracing::warn!(device = self.ifname, %errno, "the port can't be taken over"),
            }
        }
    }

    /// Let go of the device.
    fn detach(&mut self, number: PortNo, shared: &Shared) {
        let Some(attached) = self.attached.take() else { return };
        if let Some(pins) = &shared.pins {
            pins::remove(&pins.hold(number, self.slot, attached.hold.filter()));
        }
        attached.hold.release();
    }

    fn attach(&mut self, number: PortNo, ifindex: u32, shared: &Shared) -> Option<Attached> {
        let attached = Hold::attach(&self.root, ifindex).and_then(|mut hold| {
            let path = shared.pins.as_ref().map(|pins| pins.hold(number, self.slot, hold.filter()));
            path.map_or(Ok(()), |path| hold.pin(&self.root, &path))?;
            Ok(hold)
        });
        match attached {
            Ok(hold) => {
                self.refused = false;
                Some(Attached { ifindex, up: false, hold, inherited: false })
            }
            Err(errno) => {
                if !std::mem::replace(&mut self.refused, true) {
                    tracing::warn!(device = self.ifname, %errno, "the device takes no program");
                }
                None
            }
        }
    }

    /// Take away what was made for the port.
    fn let_go(mut self, number: PortNo, shared: &Shared) {
        self.detach(number, shared);
        if self.tunnel.is_some()
            && let Err(errno) = tunnel::remove(&self.ifname)
        {
            tracing::warn!(device = self.ifname, %errno, "the tunnel's device stays");
        }
    }

    fn kind(&self) -> PortKind {
        if self.tunnel.is_some() { PortKind::Tunnel } else { PortKind::Ordinary }
    }

    fn link(&self) -> Link {
        match &self.attached {
            Some(Attached { up: true, .. }) => Link::Up,
            Some(_) => Link::Down,
            None => Link::Absent,
        }
    }

    fn status(&self, number: PortNo, shared: &Shared) -> Result<PortStatus, Error> {
        let numbers = layout::PORT_COUNTERS / 8;
        let sums = shared.port_counters.sums(&u32::from(self.slot).to_ne_bytes(), numbers);
        let sums = sums.map_err(EbpfError::from)?;
        let at = |offset: i16| sums.get(offset as usize / 8).copied().unwrap_or(0);
        let mut drops = self.lost.clone();
        for reason in DropReason::all() {
            drops.add(reason, at(layout::DROPS + 8 * i16::from(reason as u8)));
        }
        drops.add(DropReason::NoController, shared.controllers.untaken(number));
        let unsent = match &self.tunnel {
            Some(_) => tunnel::unsent(&self.ifname),
            None => tunnel::Unsent::default(),
        };
        drops.add(DropReason::Unreachable, unsent.unreachable);
        drops.add(DropReason::SendError, unsent.refused);
        let rx = Traffic { packets: at(layout::RX_PACKETS), bytes: at(layout::RX_BYTES), errors: 0 };
        let tx = Traffic {
            packets: at(layout::TX_PACKETS) + self.sent.packets,
            bytes: at(layout::TX_BYTES) + self.sent.bytes,
            errors: at(layout::TX_ERRORS) + self.sent.errors + unsent.unreachable + unsent.refused,
        };
        Ok(PortStatus { number, link: self.link(), rx, tx, drops })
    }

    fn send(&mut self, socket: &OwnedFd, output: &Output) {
        let result = match (&self.attached, &self.tunnel) {
            (Some(Attached { up: true, .. }), Some(_)) if output.tunnel.dst.is_unspecified() => {
                self.sent.errors += 1;
                return self.lost.count(DropReason::NoTunnelDst);
            }
            (Some(Attached { up: true, .. }), Some(tunnel)) => {
                tunnel.sender.send(&output.frame, &output.tunnel)
            }
            (Some(Attached { ifindex, up: true, .. }), None) => {
                sys::packet_address(*ifindex).ok_or(Errno::ENODEV).and_then(|address| {
                    let flags = MsgFlags::MSG_DONTWAIT;
                    sendto(socket.as_raw_fd(), &output.frame, &address, flags).map(drop)
                })
            }
            (Some(_) | None, _) => Err(Errno::ENETDOWN),
        };
        match result {
            Ok(()) => self.sent.count(output.frame.len()),
            Err(errno) => {
                self.sent.errors += 1;
                self.lost.count(match errno {
                    Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM => DropReason::Congestion,
                    Errno::EMSGSIZE => DropReason::TooBig,
                    Errno::ENETDOWN | Errno::ENODEV | Errno::ENXIO => DropReason::PortDown,
                    Errno::ENETUNREACH | Errno::EHOSTUNREACH => DropReason::Unreachable,
                    _ => DropReason::SendError,
                });
            }
        }
    }
}

/// What the program has to know of a tunnel port.
fn tunnel_value(
    protocol: TunnelProtocol,
    vni: u32,
    local: Option<Ipv4Addr>,
    OptionMap { class, kind }: OptionMap,
) -> [u8; layout::TUNNEL_VALUE] {
    let local = local.map_or(0, Ipv4Addr::to_bits);
    let [c0, c1] = class.to_be_bytes();
    let option = match protocol {
        // 1 is the length of its value, in words.
        TunnelProtocol::Geneve => u32::from_ne_bytes([c0, c1, kind, 1]),
        TunnelProtocol::Vxlan => 0,
    };
    let words = [u64::from(local) << 32 | u64::from(vni), option.into()];
    let mut value = [0; layout::TUNNEL_VALUE];
    for (bytes, word) in value.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    value
}

/// The ports that a process before left, but for those whose devices are gone.
fn inherited(shared: &Shared) -> BTreeMap<PortNo, Left> {
    let mut left = BTreeMap::new();
    let Some(pins) = &shared.pins else { return left };
    for (number, slot, filter) in pins.holds() {
        let path = pins.hold(number, slot, filter);
        match Hold::pinned(&path, filter) {
            Ok(hold) if hold.device().is_ok_and(|ifindex| ifindex != 0) => {
                let value = shared.out_ports.get(&number.0.to_ne_bytes()).ok().flatten();
                let kind = layout::port_kind(&value.unwrap_or_default());
                left.insert(number, Left { slot, hold, kind });
            }
            Ok(_) | Err(_) => {
                pins::remove(&path);
                if let Err(error) = forget(number, shared) {
                    tracing::warn!(port = number.0, %error, "a port of the process before stays");
                }
            }
        }
    }
    left
}

/// Have the program know no such port, and no addresses behind it.
fn forget(number: PortNo, shared: &Shared) -> Result<(), LoadError> {
    shared.out_ports.put(&number.0.to_ne_bytes(), &[0; 8])?;
    for (_, key) in learned(shared)?.into_iter().filter(|(entry, _)| entry.port == number) {
        shared.fdb.remove(&key)?;
    }
    Ok(())
}

/// The addresses that NORMAL learned, with their keys in the map.
fn learned(shared: &Shared) -> Result<Vec<(FdbEntry, Vec<u8>)>, LoadError> {
    let mut entries = Vec::new();
    for key in shared.fdb.keys()? {
        // It may have gone meanwhile.
        let Some(value) = shared.fdb.get(&key)? else { continue };
        let at = |offset: i16| number(&value, offset as usize).unwrap_or_default();
        let address = number(&key, 0).unwrap_or_default();
        let entry = FdbEntry {
            mac: MacAddr::from(u128::from(address >> 16)),
            vlan: (address & 0xfff) as u16,
            port: PortNo(at(layout::FDB_PORT) as u32),
            seen: Time(at(layout::FDB_SEEN)),
        };
        entries.push((entry, key));
    }
    Ok(entries)
}
