//! The bridge itself.

use crate::events::{Listener, Origin};
use crate::flow_mod::{self, FlowFilter, FlowMod, FlowModError, Ready};
use crate::journal::Journal;
use crate::saved::{self, SavedError};
use footbridge_datapath::{
    Attachment, Datapath, DropCounts, Error, FlowStatistics, Flows, Link, PacketOut, PortSpec,
    TableStatistics, Traffic, clock,
};
use footbridge_openflow::flow::FlowStats;
use footbridge_openflow::wire::{PortReason, RemovedReason};
use footbridge_openflow::{Flow, PortNames, PortNo};
use footbridge_pipeline::conntrack::Connection;
use footbridge_pipeline::fdb::FdbEntry;
use footbridge_pipeline::{Entry, FlowId, Pipeline, Time};
use smallvec::SmallVec;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak,
};
use std::thread::JoinHandle;
use std::time::Duration;

/// A bridge: its ports, its flows, and the datapath that carries them out.
///
/// Share it as `Arc<Bridge>`. Dropped, it stops forwarding.
pub struct Bridge {
    shared: Arc<Shared>,
    timer: Option<JoinHandle<()>>,
}

/// Why a bundle was refused. Nothing of it is in force.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A change that can't be made.
    #[error("change {} of {of}: {reason}", index + 1)]
    Refused {
        /// Which change of the bundle, from 0.
        index: usize,
        /// How many there are.
        of: usize,
        /// What is wrong with it.
        reason: FlowModError,
    },
    /// The datapath did not take it.
    #[error(transparent)]
    Datapath(#[from] Error),
}

/// Why changes were refused. None of them is in force.
#[derive(Debug)]
pub enum ChangeError<E> {
    /// One can't be made.
    Refused {
        /// Which, from 0.
        index: usize,
        /// What is wrong with it.
        reason: E,
    },
    /// The datapath did not take them.
    Datapath(Error),
}

/// One flow with its statistics.
#[derive(Debug, Clone)]
pub struct FlowReport {
    /// The flow.
    pub entry: Arc<Entry>,
    /// Packets that it took.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Since it was added or replaced.
    pub age: Duration,
    /// Since its actions or its cookie last changed.
    pub hard_age: Duration,
    /// Since it last took a packet, or since it was added.
    pub idle: Duration,
}

impl FlowReport {
    /// The flow itself.
    pub fn flow(&self) -> &Flow {
        &self.entry.flow
    }

    /// The statistics as flow text prints them.
    pub fn stats(&self) -> FlowStats {
        let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        FlowStats {
            duration: self.age,
            n_packets: self.packets,
            n_bytes: self.bytes,
            idle_age: Some(seconds(self.idle)),
            hard_age: Some(seconds(self.hard_age)).filter(|_| self.hard_age != self.age),
        }
    }
}

/// One port with its state and counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortReport {
    /// Its number.
    pub number: PortNo,
    /// Its OpenFlow name.
    pub name: String,
    /// What is behind it.
    pub attachment: Attachment,
    /// Whether frames can pass.
    pub link: Link,
    /// Received.
    pub rx: Traffic,
    /// Sent.
    pub tx: Traffic,
    /// Dropped, by reason.
    pub drops: DropCounts,
    /// Since it was added.
    pub age: Duration,
}

/// What passed a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableReport {
    /// Its number.
    pub table: u8,
    /// Flows that it holds.
    pub flows: usize,
    /// Packets that were looked up in it.
    pub lookups: u64,
    /// Those that a flow took.
    pub matches: u64,
}

struct Shared {
    name: String,
    /// Changed under the lock of `inner` only; read with or without that.
    flows: Flows,
    inner: Mutex<Inner>,
    /// Something for the timer to look at: flows with timeouts, or the end.
    changed: Condvar,
    listeners: Arc<Listeners>,
}

struct Inner {
    datapath: Box<dyn Datapath>,
    ports: BTreeMap<PortNo, (PortSpec, Time)>,
    /// The flows that may end by themselves.
    timed: BTreeSet<FlowId>,
    ended: bool,
}

type Listeners = RwLock<Vec<Weak<dyn Listener>>>;

/// Those that are still there.
fn each(listeners: &Listeners) -> impl Iterator<Item = Arc<dyn Listener>> {
    let listeners = listeners.read().unwrap_or_else(PoisonError::into_inner);
    listeners.iter().filter_map(Weak::upgrade).collect::<SmallVec<[_; 2]>>().into_iter()
}

/// How often flows with timeouts are looked at; OpenFlow counts them in seconds.
const TICK: Duration = Duration::from_secs(1);

impl Bridge {
    /// A bridge without ports and flows, so one that drops everything.
    ///
    /// # Errors
    ///
    /// When no thread can be had for the flows' timeouts.
    pub fn new(name: &str, mut datapath: Box<dyn Datapath>) -> Result<Bridge, Error> {
        let listeners = Arc::<Listeners>::default();
        let told = Arc::clone(&listeners);
        datapath.set_packet_in_sink(Box::new(move |packet| {
            // Every one is told: which of them takes the packet is theirs to say.
            each(&told).filter(|listener| listener.packet_in(&packet)).count() > 0
        }))?;
        let flows = datapath.flows();
        let inner = Inner { datapath, ports: BTreeMap::new(), timed: BTreeSet::new(), ended: false };
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            flows,
            inner: Mutex::new(inner),
            changed: Condvar::new(),
            listeners,
        });
        let timed = Arc::clone(&shared);
        let timer = std::thread::Builder::new()
            .name("flow timeouts".to_owned())
            .spawn(move || timed.expire_flows())
            .map_err(Error::Start)?;
        Ok(Bridge { shared, timer: Some(timer) })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Which datapath it runs on.
    pub fn datapath_kind(&self) -> &'static str {
        self.shared.lock().datapath.kind()
    }

    /// Whether packets go on when this process ends.
    pub fn outlives_its_process(&self) -> bool {
        self.shared.lock().datapath.outlives_its_process()
    }

    /// Take away what would go on when this process ends.
    ///
    /// # Errors
    ///
    /// When the datapath has stopped, or something can't be taken away.
    pub fn detach(&self) -> Result<(), Error> {
        self.shared.lock().datapath.detach()
    }

    /// Have `listener` told of what happens from now on, until it is dropped.
    pub fn listen(&self, listener: Weak<dyn Listener>) {
        self.shared.listeners.write().unwrap_or_else(PoisonError::into_inner).push(listener);
    }

    /// Attach a port. One whose device isn't there waits for it.
    ///
    /// # Errors
    ///
    /// When the number or the name is taken, or the datapath can't have it.
    pub fn add_port(&self, port: PortSpec) -> Result<(), Error> {
        let mut inner = self.shared.lock();
        if let Some((taken, _)) = inner.ports.values().find(|(other, _)| other.name == port.name) {
            return Err(Error::PortTaken { number: taken.number, name: taken.name.clone() });
        }
        inner.datapath.add_port(&port)?;
        self.shared.tell(|listener| listener.port_changed(&port, PortReason::Add));
        inner.ports.insert(port.number, (port, clock::now()));
        Ok(())
    }

    /// Detach a port.
    ///
    /// # Errors
    ///
    /// When there is no such port.
    pub fn del_port(&self, number: PortNo) -> Result<(), Error> {
        let mut inner = self.shared.lock();
        inner.datapath.del_port(number)?;
        if let Some((port, _)) = inner.ports.remove(&number) {
            self.shared.tell(|listener| listener.port_changed(&port, PortReason::Delete));
        }
        Ok(())
    }

    /// Look at the ports' devices again: attach those that are back, let go those that are gone.
    ///
    /// # Errors
    ///
    /// When the datapath has stopped.
    pub fn refresh_ports(&self) -> Result<(), Error> {
        self.shared.lock().datapath.refresh_ports()
    }

    /// The ports with their state and counters, by rising number.
    ///
    /// # Errors
    ///
    /// When the datapath has stopped.
    pub fn ports(&self) -> Result<Vec<PortReport>, Error> {
        let inner = self.shared.lock();
        let status = inner.datapath.ports()?;
        let now = clock::now();
        Ok(status
            .into_iter()
            .filter_map(|status| {
                let (spec, added) = inner.ports.get(&status.number)?;
                Some(PortReport {
                    number: status.number,
                    name: spec.name.clone(),
                    attachment: spec.attachment.clone(),
                    link: status.link,
                    rx: status.rx,
                    tx: status.tx,
                    drops: status.drops,
                    age: now.since(*added),
                })
            })
            .collect())
    }

    /// The MAC addresses that NORMAL learned.
    ///
    /// # Errors
    ///
    /// When the datapath has stopped.
    pub fn fdb(&self) -> Result<Vec<FdbEntry>, Error> {
        self.shared.lock().datapath.fdb()
    }

    /// The tracked connections, of one zone or of all.
    ///
    /// # Errors
    ///
    /// When the datapath has stopped.
    pub fn connections(&self, zone: Option<u16>) -> Result<Vec<Connection>, Error> {
        self.shared.lock().datapath.connections(zone)
    }

    /// Forget the connections of one zone or of all; how many there were.
    ///
    /// # Errors
    ///
    /// When the datapath has stopped.
    pub fn flush_connections(&self, zone: Option<u16>) -> Result<usize, Error> {
        self.shared.lock().datapath.flush_connections(zone)
    }

    /// Write the tracked connections to a file, for [`Bridge::restore_connections`] after a restart.
    /// The file appears whole or not at all.
    ///
    /// # Errors
    ///
    /// When it can't be written; the connections are not touched.
    pub fn save_connections(&self, path: &Path) -> Result<usize, SavedError> {
        saved::save(path, &self.connections(None)?)
    }

    /// Put back the connections of a file, and remove it: it is good for one start. How many were put back; None
    /// where there is no file.
    ///
    /// # Errors
    ///
    /// When it can't be read or is damaged; then no connection is put back.
    pub fn restore_connections(&self, path: &Path) -> Result<Option<usize>, SavedError> {
        let Some(connections) = saved::load(path)? else { return Ok(None) };
        Ok(Some(self.shared.lock().datapath.restore_connections(connections)?))
    }

    /// The ports' names, both ways.
    pub fn port_names(&self) -> PortNames {
        self.shared.lock().ports.values().map(|(port, _)| (port.number, port.name.clone())).collect()
    }

    /// The ports as they were added, by rising number.
    pub fn port_specs(&self) -> Vec<PortSpec> {
        self.shared.lock().ports.values().map(|(port, _)| port.clone()).collect()
    }

    /// Make the changes, in order, as one.
    ///
    /// # Errors
    ///
    /// When one is refused; then none is made.
    pub fn bundle(&self, flow_mods: &[FlowMod]) -> Result<(), BundleError> {
        self.change(flow_mods.iter().cloned().map(|flow_mod| Ok(Ready::from(flow_mod))), None).map_err(
            |error| match error {
                ChangeError::Refused { index, reason } => {
                    BundleError::Refused { index, of: flow_mods.len(), reason }
                }
                ChangeError::Datapath(error) => BundleError::Datapath(error),
            },
        )
    }

    /// Make the changes that the iterator gives, in order, as one. `origin` goes along with what
    /// listeners are told.
    ///
    /// # Errors
    ///
    /// When one is refused, or can't be had from the iterator; then none is made.
    pub fn change<E: From<FlowModError>>(
        &self,
        flow_mods: impl Iterator<Item = Result<Ready, E>>,
        origin: Option<Origin>,
    ) -> Result<(), ChangeError<E>> {
        let mut inner = self.shared.lock();
        let mut flows = self.shared.write();
        let (at_least, _) = flow_mods.size_hint();
        let mut journal = Journal::with_room(at_least);
        flows.reserve(at_least);
        let now = clock::now();
        for (index, flow_mod) in flow_mods.enumerate() {
            let applied = flow_mod.and_then(|flow_mod| {
                flow_mod::apply(&mut flows, flow_mod, now, &mut journal).map_err(E::from)
            });
            if let Err(reason) = applied {
                journal.undo(&mut flows);
                return Err(ChangeError::Refused { index, reason });
            }
        }
        self.shared.commit(&mut inner, flows, journal, origin).map_err(ChangeError::Datapath)
    }

    /// The flow of this number, if it is there.
    pub fn entry(&self, id: FlowId) -> Option<Arc<Entry>> {
        self.shared.read().get(id).map(Arc::clone)
    }

    /// How many flows there are.
    pub fn flow_count(&self) -> usize {
        self.shared.read().len()
    }

    /// The flows that the filter takes, in the order of Open vSwitch's dumps.
    pub fn flows(&self, filter: &FlowFilter) -> Vec<FlowReport> {
        let entries = self.entries(filter);
        self.reports(&entries)
    }

    /// The flows that the filter takes, as they are now, in the order of Open vSwitch's dumps; for
    /// [`Bridge::reports`].
    pub fn entries(&self, filter: &FlowFilter) -> Vec<Arc<Entry>> {
        filter.select(&self.shared.read()).map(Arc::clone).collect()
    }

    /// What passed these flows until now, in their order.
    pub fn reports(&self, entries: &[Arc<Entry>]) -> Vec<FlowReport> {
        let inner = self.shared.lock();
        let now = clock::now();
        entries.iter().map(|entry| report(entry, inner.datapath.flow_statistics(entry), now)).collect()
    }

    /// What passed the tables, all that there can be but the last, by rising number.
    pub fn tables(&self) -> Vec<TableReport> {
        let inner = self.shared.lock();
        let flows = self.shared.read();
        let counted = inner.datapath.table_statistics(&flows);
        (0..u8::MAX)
            .zip(counted)
            .map(|(table, TableStatistics { lookups, matches })| {
                let flows = flows.table_len(table);
                TableReport { table, flows, lookups, matches }
            })
            .collect()
    }

    /// Carry out a controller's actions on its packet.
    ///
    /// # Errors
    ///
    /// When the datapath has stopped.
    pub fn packet_out(&self, packet: PacketOut) -> Result<(), Error> {
        self.shared.lock().datapath.packet_out(packet)
    }

    /// Whether packets that no flow takes go to the controllers.
    ///
    /// # Errors
    ///
    /// When the datapath has stopped.
    pub fn punt_misses(&self, punt: bool) -> Result<(), Error> {
        self.shared.lock().datapath.punt_misses(punt)
    }
}

/// A flow with what passed it.
pub(crate) fn report(entry: &Arc<Entry>, statistics: FlowStatistics, now: Time) -> FlowReport {
    let FlowStatistics { packets, bytes, last_used } = statistics;
    FlowReport {
        entry: Arc::clone(entry),
        packets,
        bytes,
        age: now.since(entry.added),
        hard_age: now.since(entry.modified),
        idle: now.since(last_used.unwrap_or_default().max(entry.added)),
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
        if let Some(timer) = self.timer.take() {
            // A timer that panicked has ended as well.
            drop(timer.join());
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // What a panicking thread left is whole: a change is undone or in force.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> RwLockReadGuard<'_, Pipeline> {
        self.flows.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Pipeline> {
        self.flows.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, what: impl Fn(&dyn Listener)) {
        each(&self.listeners).for_each(|listener| what(&*listener));
    }

    /// Put what was changed in force and tell of it, or take it back.
    fn commit(
        &self,
        inner: &mut Inner,
        mut flows: RwLockWriteGuard<'_, Pipeline>,
        journal: Journal,
        origin: Option<Origin>,
    ) -> Result<(), Error> {
        // Even without a change the datapath may have something to put in force: what a process before left is not
        // these flows.
        if let Err(error) = inner.datapath.commit(&flows, &journal.change()) {
            journal.undo(&mut flows);
            return Err(error);
        }
        drop(flows);
        if journal.is_empty() {
            return Ok(());
        }
        let untimed = inner.timed.is_empty();
        journal.keep_timed(&mut inner.timed);
        // Most flows stay for ever: the timer is not to be woken for each.
        if untimed && !inner.timed.is_empty() {
            self.changed.notify_all();
        }
        let datapath = &inner.datapath;
        // Nobody changes them meanwhile, for `inner` is locked.
        let flows = self.read();
        self.tell(|listener| {
            let mut told = journal.told(&flows, |entry| datapath.flow_statistics(entry));
            listener.flows_changed(&mut told, origin);
        });
        Ok(())
    }

    /// Take flows away when their time is up, until the bridge ends.
    fn expire_flows(&self) {
        let mut inner = self.lock();
        while !inner.ended {
            inner = if inner.timed.is_empty() {
                self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner)
            } else {
                let waited = self.changed.wait_timeout(inner, TICK);
                waited.unwrap_or_else(PoisonError::into_inner).0
            };
            if let Err(error) = self.expire(&mut inner, clock::now()) {
                tracing::error!(bridge = self.name, %error, "flows whose time is up can't be removed");
            }
        }
    }

    fn expire(&self, inner: &mut Inner, now: Time) -> Result<(), Error> {
        let flows = self.read();
        let over = |id: &FlowId| {
            let entry = flows.get(*id)?;
            Some((*id, is_over(entry, &inner.datapath.flow_statistics(entry), now)?))
        };
        let gone: Vec<(FlowId, RemovedReason)> = inner.timed.iter().filter_map(over).collect();
        drop(flows);
        if gone.is_empty() {
            return Ok(());
        }
        let mut flows = self.write();
        let mut journal = Journal::default();
        for (id, reason) in gone {
            if let Some(displaced) = flows.remove(id) {
                journal.removed(displaced, reason);
            }
        }
        self.commit(inner, flows, journal, None)
    }
}

/// Whether and why the flow's time is up. Its hard timeout counts from its last modification, as in
/// Open vSwitch.
fn is_over(entry: &Entry, statistics: &FlowStatistics, now: Time) -> Option<RemovedReason> {
    let (idle, hard) = entry.timeouts();
    let used = statistics.last_used.unwrap_or_default().max(entry.added);
    let passed =
        |timeout: u16, since: Time| timeout != 0 && now.since(since) >= Duration::from_secs(timeout.into());
    if passed(hard, entry.modified) {
        return Some(RemovedReason::HardTimeout);
    }
    passed(idle, used).then_some(RemovedReason::IdleTimeout)
}
