//! Packets for the controllers, and frames to be sent cut: the ring that the program writes them to, and the thread
//! that reads it.

use super::EbpfError;
use super::compile::punt::{
    ABOUT, ARRIVED_AT, About, DETAIL, FRAME, FRAME_LENGTH, USERDATA, VLAN_PRESENT, VLAN_PROTO, VLAN_TCI,
    WORDS, userdata_name,
};
use super::flows::Shared;
use super::ports::Commands;
use super::sys::Ring;
use crate::frame::{self, Auxdata};
use crate::{Error, PacketInSink, PacketOut};
use footbridge_openflow::{Action, Field, Key, Match, PortNo};
use footbridge_pipeline::packet::parse;
use footbridge_pipeline::{PacketIn, TunnelKey};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::collections::{BTreeMap, HashMap};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Bytes of the ring: some thousand packets, or 60 superframes.
pub(super) const RING: u32 = 4 << 20;

/// Where packets for the controllers go, and what became of them.
#[derive(Default)]
pub(super) struct Controllers {
    sink: Mutex<Option<PacketInSink>>,
    /// Packets that nobody took, by the port that they came in on.
    untaken: Mutex<BTreeMap<PortNo, u64>>,
    /// The bytes that actions hand along, by name.
    userdata: Mutex<HashMap<u64, Vec<u8>>>,
}

impl Controllers {
    pub(super) fn set_sink(&self, sink: PacketInSink) {
        *lock(&self.sink) = Some(sink);
    }

    /// Hand a packet on; where nobody takes it, it is counted.
    pub(super) fn tell(&self, packet: PacketIn) {
        let in_port = packet.in_port;
        let taken = lock(&self.sink).as_ref().is_some_and(|sink| sink(packet));
        if !taken {
            *lock(&self.untaken).entry(in_port).or_default() += 1;
        }
    }

    /// How many packets of a port nobody took.
    pub(super) fn untaken(&self, port: PortNo) -> u64 {
        lock(&self.untaken).get(&port).copied().unwrap_or(0)
    }

    /// Another port gets the number.
    pub(super) fn forget(&self, port: PortNo) {
        lock(&self.untaken).remove(&port);
    }

    /// Know the bytes by their name from now on.
    ///
    /// # Errors
    ///
    /// Where others have it.
    pub(super) fn know(&self, userdata: &[u8]) -> Result<(), EbpfError> {
        let mut known = lock(&self.userdata);
        let as_known = known.entry(userdata_name(userdata)).or_insert_with(|| userdata.to_vec());
        if as_known == userdata { Ok(()) } else { Err(EbpfError::Absent("this userdata beside another")) }
    }

    /// What a record says; None where it is none.
    pub(super) fn punted(&self, record: &[u8]) -> Option<Punted> {
        let from = |at: i16| record.get(at as usize..);
        let long = |at: i16| Some(u64::from_ne_bytes(*from(at)?.first_chunk()?));
        let short = |at: i16| Some(u32::from_ne_bytes(*from(at)?.first_chunk()?));
        let received = from(FRAME)?.get(..short(FRAME_LENGTH)? as usize)?;
        let tpid = u16::from_be(short(VLAN_PROTO)? as u16);
        let vlan = (short(VLAN_PRESENT)? != 0).then_some((tpid, short(VLAN_TCI)? as u16));
        let partial_checksum = frame::has_partial_checksum(received);
        let frame = frame::restore(received, Auxdata { vlan, partial_checksum });
        let mut key = parse(&frame, PortNo::NONE, &TunnelKey::default());
        let words = record.get(WORDS as usize..FRAME as usize)?;
        for (to, word) in key.words_mut().iter_mut().zip(words.as_chunks().0) {
            *to = u64::from_ne_bytes(*word);
        }
        if key.get(Field::ActsetOutput) == 0 {
            // Programs without action sets don't know of it.
            key.set(Field::ActsetOutput, PortNo::UNSET.0.into());
        }
        let in_port = in_port(&key);
        match About::of([long(ABOUT)?, long(DETAIL)?]) {
            About::Told { controller, reason, table, table_miss, cookie } => {
                let known = lock(&self.userdata);
                let userdata = known.get(&long(USERDATA)?).cloned().unwrap_or_default();
                let told =
                    PacketIn { reason, table, cookie, table_miss, controller, in_port, frame, key, userdata };
                Some(Punted::Told(Box::new(told)))
            }
            About::Cut { port, max_len } => {
                let metadata = Match::any().with(Field::TunDst, short(ARRIVED_AT)?);
                let mut actions: Vec<Action> = TUNNEL_FIELDS.map(|field| write_of(field, &key)).into();
                actions.push(Action::OutputTruncated { port, max_len });
                Some(Punted::Cut(PacketOut { in_port, metadata, actions, frame }))
            }
        }
    }
}

/// What the program left to user space.
#[derive(Debug)]
pub(super) enum Punted {
    /// A packet for the controllers.
    Told(Box<PacketIn>),
    /// A frame to be sent cut: what a controller would ask for.
    Cut(PacketOut),
}

/// The fields that a tunnel port's header is made from.
const TUNNEL_FIELDS: [Field; 2] = [Field::TunDst, Field::TunMetadata0];

/// The action by which a packet has the field as the key has it.
fn write_of(field: Field, key: &Key) -> Action {
    Action::set_field(field, key.get(field), field.all_ones())
}

fn in_port(key: &Key) -> PortNo {
    PortNo(key.get(Field::InPortOxm) as u32)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panicking thread left is whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread's handle. Dropped, it ends the thread.
pub(super) struct Reader {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Read what the program writes.
    ///
    /// # Errors
    ///
    /// When the kernel has no memory, descriptor or thread left.
    pub(super) fn start(shared: &Shared, ports: Commands) -> Result<Reader, Error> {
        let ring = shared.punts.ring().map_err(EbpfError::from)?;
        let controllers = Arc::clone(&shared.controllers);
        let stop = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK);
        let stop = Arc::new(stop.map_err(|errno| Error::Start(errno.into()))?);
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("ebpf-punts".to_owned())
            .spawn(move || read(ring, &stopped, &controllers, &ports))
            .map_err(Error::Start)?;
        Ok(Reader { stop, thread: Some(thread) })
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // An event can't be written only where one is already.
        let _ = self.stop.write(1);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn read(mut ring: Ring, stop: &EventFd, controllers: &Controllers, ports: &Commands) {
    loop {
        while let Some(record) = ring.next() {
            match controllers.punted(&record) {
                Some(Punted::Told(packet)) => controllers.tell(*packet),
                // Without the ports' thread nothing is sent any more.
                Some(Punted::Cut(packet)) => drop(ports.send(packet)),
                None => {}
            }
        }
        let mut fds = [ring.as_fd(), stop.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => {
                tracing::error!(%errno, "no packets reach the controllers any more");
                return;
            }
        }
        if fds[1].any().unwrap_or(true) {
            return;
        }
    }
}
