//! The bridge itself.

use crate::flow_mod::{self, Changes, FlowFilter, FlowMod, FlowModError};
use crate::saved::{self, SavedError};
use footbridge_datapath::{
    Attachment, Datapath, DropCounts, Error, FlowStatistics, Link, PortSpec, Traffic, clock,
};
use footbridge_openflow::flow::FlowStats;
use footbridge_openflow::{Action, Flow, PortNames, PortNo};
use footbridge_pipeline::conntrack::Connection;
use footbridge_pipeline::fdb::FdbEntry;
use footbridge_pipeline::{Entry, FlowId, Pipeline, Time};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
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

/// One flow with its statistics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowReport {
    /// The flow.
    pub flow: Arc<Flow>,
    /// Packets that it took.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Since it was added or replaced.
    pub age: Duration,
    /// Since it last took a packet, or since it was added.
    pub idle: Duration,
}

impl FlowReport {
    /// The statistics as flow text prints them.
    pub fn stats(&self) -> FlowStats {
        let seconds = |time: Duration| Some(u32::try_from(time.as_secs()).unwrap_or(u32::MAX));
        FlowStats {
            duration: self.age,
            n_packets: self.packets,
            n_bytes: self.bytes,
            idle_age: seconds(self.idle),
            hard_age: None,
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
}

struct Shared {
    name: String,
    inner: Mutex<Inner>,
    /// Something for the timer to look at: flows with timeouts, or the end.
    changed: Condvar,
}

struct Inner {
    datapath: Box<dyn Datapath>,
    pipeline: Arc<Pipeline>,
    ports: BTreeMap<PortNo, PortSpec>,
    /// Some flow has a timeout.
    timed: bool,
    ended: bool,
}

/// How often flows with timeouts are looked at; OpenFlow counts them in seconds.
const TICK: Duration = Duration::from_secs(1);

impl Bridge {
    /// A bridge without ports and flows, so one that drops everything.
    ///
    /// # Errors
    ///
    /// When no thread can be had for the flows' timeouts.
    pub fn new(name: &str, datapath: Box<dyn Datapath>) -> Result<Bridge, Error> {
        let inner =
            Inner { datapath, pipeline: Arc::default(), ports: BTreeMap::new(), timed: false, ended: false };
        let shared =
            Arc::new(Shared { name: name.to_owned(), inner: Mutex::new(inner), changed: Condvar::new() });
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

    /// Attach a port. One whose device isn't there waits for it.
    ///
    /// # Errors
    ///
    /// When the number or the name is taken, or the datapath can't have it.
    pub fn add_port(&self, port: PortSpec) -> Result<(), Error> {
        let mut inner = self.shared.lock();
        if let Some(taken) = inner.ports.values().find(|other| other.name == port.name) {
            return Err(Error::PortTaken { number: taken.number, name: taken.name.clone() });
        }
        inner.datapath.add_port(&port)?;
        inner.ports.insert(port.number, port);
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
        inner.ports.remove(&number);
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
        Ok(status
            .into_iter()
            .filter_map(|status| {
                let spec = inner.ports.get(&status.number)?;
                Some(PortReport {
                    number: status.number,
                    name: spec.name.clone(),
                    attachment: spec.attachment.clone(),
                    link: status.link,
                    rx: status.rx,
                    tx: status.tx,
                    drops: status.drops,
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

    /// Put back the connections of a file, and remove it: it is good for one start. None where there
    /// is no file; 0 where it is from before the machine last booted.
    ///
    /// # Errors
    ///
    /// When it can't be read or is damaged; then no connection is put back.
    pub fn restore_connections(&self, path: &Path) -> Result<Option<usize>, SavedError> {
        let Some(connections) = saved::load(path)? else { return Ok(None) };
        let count = connections.len();
        self.shared.lock().datapath.restore_connections(connections)?;
        Ok(Some(count))
    }

    /// The ports' names, both ways.
    pub fn port_names(&self) -> PortNames {
        self.shared.lock().ports.values().map(|port| (port.number, port.name.clone())).collect()
    }

    /// Make the changes, in order, as one.
    ///
    /// # Errors
    ///
    /// When one is refused; then none is made.
    pub fn bundle(&self, flow_mods: &[FlowMod]) -> Result<(), BundleError> {
        let mut inner = self.shared.lock();
        let mut next = Pipeline::clone(&inner.pipeline);
        let mut changes = Changes::default();
        let now = clock::now();
        for (index, flow_mod) in flow_mods.iter().enumerate() {
            flow_mod::apply(&mut next, flow_mod, now, &mut changes)
                .map_err(|reason| BundleError::Refused { index, of: flow_mods.len(), reason })?;
        }
        inner.commit(next, changes)?;
        drop(inner);
        self.shared.changed.notify_all();
        Ok(())
    }

    /// How many flows there are.
    pub fn flow_count(&self) -> usize {
        self.shared.lock().pipeline.len()
    }

    /// The flows that the filter takes, in the order of Open vSwitch's dumps.
    pub fn flows(&self, filter: &FlowFilter) -> Vec<FlowReport> {
        let now = clock::now();
        let inner = self.shared.lock();
        filter
            .select(&inner.pipeline)
            .map(|entry| {
                let FlowStatistics { packets, bytes, last_used } = inner.datapath.flow_statistics(entry);
                FlowReport {
                    flow: Arc::clone(&entry.flow),
                    packets,
                    bytes,
                    age: now.since(entry.added),
                    idle: now.since(last_used.unwrap_or_default().max(entry.added)),
                }
            })
            .collect()
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
        // What a panicking thread left is whole: a change is prepared aside and put in at once.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Take flows away when their time is up, until the bridge ends.
    fn expire_flows(&self) {
        let mut inner = self.lock();
        while !inner.ended {
            inner = if inner.timed {
                let waited = self.changed.wait_timeout(inner, TICK);
                waited.unwrap_or_else(PoisonError::into_inner).0
            } else {
                self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner)
            };
            if let Err(error) = inner.expire(clock::now()) {
                tracing::error!(bridge = self.name, %error, "flows whose time is up can't be removed");
            }
        }
    }
}

impl Inner {
    /// Put a prepared pipeline in force.
    fn commit(&mut self, next: Pipeline, changes: Changes) -> Result<(), Error> {
        let next = Arc::new(next);
        self.datapath.commit(&next, &changes.0)?;
        self.timed = next.entries().any(has_timeout);
        self.pipeline = next;
        Ok(())
    }

    fn expire(&mut self, now: Time) -> Result<(), Error> {
        if !self.timed {
            return Ok(());
        }
        let gone: Vec<FlowId> = self
            .pipeline
            .entries()
            .filter(|entry| is_over(entry, &self.datapath.flow_statistics(entry), now))
            .map(|entry| entry.id)
            .collect();
        if gone.is_empty() {
            return Ok(());
        }
        let mut next = Pipeline::clone(&self.pipeline);
        let mut changes = Changes::default();
        for id in gone {
            next.remove(id);
            changes.remove(id);
        }
        self.commit(next, changes)
    }
}

/// Whether the flow may end by itself; a `fin_timeout` may give it a timeout later.
fn has_timeout(entry: &Entry) -> bool {
    let flow = &entry.flow;
    flow.idle_timeout != 0
        || flow.hard_timeout != 0
        || flow.actions.iter().any(|action| matches!(action, Action::FinTimeout { .. }))
}

/// Whether the flow's time is up.
fn is_over(entry: &Entry, statistics: &FlowStatistics, now: Time) -> bool {
    let (idle, hard) = entry.timeouts();
    let used = statistics.last_used.unwrap_or_default().max(entry.added);
    let passed =
        |timeout: u16, since: Time| timeout != 0 && now.since(since) >= Duration::from_secs(timeout.into());
    passed(idle, used) || passed(hard, entry.added)
}
