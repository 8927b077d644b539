//! The pods that the container runtime brings to this node through the CNI plugin.
//!
//! # Contract
//!
//! [`Pods`] is what the reconcile loop and the CNI's [`service`] share: the loop asks for the pods whose flows and
//! ports should be there ([`Pods::wanted`]) and says how far it came ([`Pods::passed`]); the service adds and takes
//! away pods and waits until the bridge has followed ([`Pods::reached`]).
//!
//! * Each pod is a file in the state directory ([`store`]) from before anything is made for it until everything
//!   of it is gone. So whatever instant an agent is killed at, the next one knows what there may be: what was not
//!   finished is taken back, what was being taken away goes on going; and pods of before the
//!   machine was started again, whose devices went with it, are taken away, though nobody may say DEL.
//! * A pod's flows and port stand before it is announced and before ADD returns, and are gone before its
//!   address is given to another.
//!
//! # Limits
//!
//! IPv4; one address a pod.

mod address;
pub mod announce;
pub mod client;
mod device;
mod ipam;
mod record;
pub mod server;
pub mod service;
mod store;
mod transport;

pub use device::DeviceError;
pub use record::{Addressing, Phase, PodAddress, Record};
pub use store::{remove as remove_deletion, write_deletion};

use crate::cluster::Pod;
use crate::identity;
use crate::store::StoreError;
use crate::subnet::Subnet;
use footbridge_cni::{Attachment, PodName};
use footbridge_openflow::MacAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::PodStore;
use tokio::sync::{Notify, oneshot, watch};

/// This node's pods of the CNI, and how far the bridge has followed.
pub struct Pods {
    store: PodStore,
    /// Which start of the machine this is (random(4)).
    boot: String,
    inner: Mutex<Inner>,
    changed: Notify,
    passed: watch::Sender<Passed>,
}

struct Inner {
    records: BTreeMap<Attachment, Record>,
    /// Those that have a device, so that their flows and ports should be there.
    wired: BTreeSet<Attachment>,
    /// One more with each change of what is wanted.
    generation: u64,
    /// The address given last by our own allocator.
    last: Option<Ipv4Addr>,
    questions: Vec<Question>,
}

/// The pods whose flows and ports should be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What [`Pods::passed`] is to be told when they are.
    pub generation: u64,
    /// The pods, as the cluster would describe them.
    pub pods: Vec<Pod>,
}

/// How far the reconcile loop has come.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Passed {
    /// The pods of this generation were tried.
    generation: u64,
    /// Their flows stand, and of those that were gone by then none.
    flows: u64,
    outcome: Result<(), String>,
    network: Option<Network>,
}

/// What a pod has to know of its node's network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// The node's pod subnet.
    pub subnet: Subnet,
    /// The pods' MTU.
    pub mtu: u32,
    /// Whether frames have to leave the pod as they go on the wire: the datapath does not finish them.
    pub plain_frames: bool,
    /// Addresses of pods that come from elsewhere, and of nothing of the CNI's.
    pub taken: BTreeSet<Ipv4Addr>,
    /// MAC addresses that no pod may have.
    pub reserved_macs: BTreeSet<MacAddr>,
}

/// Somebody wants to know what a pod lacks at the bridge.
pub struct Question {
    /// The pod's [`Pod::uid`].
    pub uid: String,
    answer: oneshot::Sender<Result<Vec<String>, String>>,
}

impl Question {
    /// Say what is missing, each in words; or why that can't be said.
    pub fn answer(self, lacking: Result<Vec<String>, String>) {
        // Who asked has gone: nobody is interested any more.
        let _unheard = self.answer.send(lacking);
    }
}

impl Pods {
    /// The pods that the state directory knows.
    ///
    /// # Errors
    /// A file there is unreadable or damaged.
    pub fn open(state_dir: &Path) -> Result<Pods, StoreError> {
        let store = PodStore::open(state_dir)?;
        let (records, boot) = (store.load()?, store::boot()?);
        let stands = |record: &&Record| record.stands(&boot);
        let wired = records.values().filter(stands).map(|record| record.attachment.clone()).collect();
        let last = records.values().filter_map(Record::ipv4).max();
        let inner = Inner { records, wired, generation: 1, last, questions: Vec::new() };
        let not_yet = Err("the agent is starting".to_owned());
        let (passed, _) = watch::channel(Passed { generation: 0, flows: 0, outcome: not_yet, network: None });
        Ok(Pods { store, boot, inner: Mutex::new(inner), changed: Notify::new(), passed })
    }

    /// The pods that should be on the bridge of `node`.
    pub fn wanted(&self, node: &str) -> Wanted {
        let inner = self.inner();
        let wired = inner.wired.iter().filter_map(|attachment| inner.records.get(attachment));
        Wanted { generation: inner.generation, pods: wired.filter_map(|record| record.pod(node)).collect() }
    }

    /// Returns when the pods may have changed, or somebody asks something.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The bridge has the flows of the pods of `generation`, and no others'.
    pub fn programmed(&self, generation: u64) {
        self.passed.send_modify(|passed| passed.flows = generation);
    }

    /// The bridge and the host are as the pods of `generation` want them, or why not.
    pub fn passed(&self, generation: u64, network: Option<Network>, outcome: Result<(), String>) {
        self.passed
            .send_modify(|passed| *passed = Passed { generation, outcome, network, flows: passed.flows });
    }

    /// What was asked since the last time.
    pub fn questions(&self) -> Vec<Question> {
        std::mem::take(&mut self.inner().questions)
    }

    /// The node's network; or why nothing is known of it yet.
    fn network(&self) -> Result<Network, String> {
        let passed = self.passed.borrow();
        passed.network.clone().ok_or_else(|| passed.outcome.clone().err().unwrap_or_default())
    }

    /// Why the bridge or the host are not as they should be, if they are not.
    fn trouble(&self) -> Option<String> {
        self.passed.borrow().outcome.clone().err()
    }

    /// Wait until the bridge and the host are as the pods of `generation` want them.
    async fn reached(&self, generation: u64, patience: Duration) -> Result<(), String> {
        self.wait(patience, |passed| passed.generation >= generation && passed.outcome.is_ok()).await
    }

    /// Wait until the pods of `generation` were tried, whatever came of it.
    async fn tried(&self, generation: u64, patience: Duration) -> Result<(), String> {
        self.wait(patience, |passed| passed.generation >= generation).await
    }

    /// Wait until no flow stands of the pods that were gone by `generation`, and their ports were taken off if that
    /// can be.
    async fn gone(&self, generation: u64, patience: Duration) -> Result<(), String> {
        self.wait(patience, |passed| passed.flows >= generation && passed.generation >= generation).await
    }

    async fn wait(&self, patience: Duration, there: impl FnMut(&Passed) -> bool) -> Result<(), String> {
        let mut passed = self.passed.subscribe();
        let reached = tokio::time::timeout(patience, passed.wait_for(there)).await.is_ok();
        match reached {
            true => Ok(()),
            false => Err(self.trouble().unwrap_or_else(|| format!("no answer within {patience:?}"))),
        }
    }

    /// What the pod lacks at the bridge, in words.
    async fn lacking(&self, record: &Record, patience: Duration) -> Result<Vec<String>, String> {
        let (answer, answered) = oneshot::channel();
        self.inner().questions.push(Question { uid: record.uid(), answer });
        self.changed.notify_one();
        match tokio::time::timeout(patience, answered).await {
            Ok(Ok(lacking)) => lacking,
            _ => Err(self.trouble().unwrap_or_else(|| format!("no answer within {patience:?}"))),
        }
    }

    /// An attachment's record.
    fn get(&self, attachment: &Attachment) -> Option<Record> {
        self.inner().records.get(attachment).cloned()
    }

    /// Whether the pod is as its ADD left it, as far as is known here.
    fn stands(&self, record: &Record) -> bool {
        record.stands(&self.boot)
    }

    /// All records.
    fn all(&self) -> Vec<Record> {
        self.inner().records.values().cloned().collect()
    }

    /// Keep a record, new or changed, on disk and here.
    fn put(&self, record: Record) -> Result<(), StoreError> {
        let mut inner = self.inner();
        self.store.save(&record)?;
        inner.records.insert(record.attachment.clone(), record);
        Ok(())
    }

    /// A new record, with names and (where it is ours to choose) an address that no other has; on disk and here.
    fn begin(&self, new: NewRecord<'_>, network: &Network) -> Result<Record, BeginError> {
        let mut inner = self.inner();
        let mac = inner.free_mac(&new, network)?;
        let address = match new.addressing {
            Addressing::Own => {
                let used = inner.records.values().filter_map(Record::ipv4);
                let used: BTreeSet<Ipv4Addr> = used.chain(network.taken.iter().copied()).collect();
                let free = address::free(network.subnet, &used, inner.last);
                let free = free.ok_or(BeginError::Full { subnet: network.subnet, used: used.len() })?;
                inner.last = Some(free);
                Some(PodAddress::in_subnet(free, network.subnet))
            }
            Addressing::Delegated { .. } => None,
        };
        let record = Record {
            interface: inner.free_interface(new.attachment, new.pod),
            mac,
            address,
            mtu: network.mtu,
            attachment: new.attachment.clone(),
            network: new.network.to_owned(),
            pod: new.pod.clone(),
            netns: new.netns.to_owned(),
            addressing: new.addressing,
            boot: self.boot.clone(),
            phase: Phase::Adding,
        };
        self.store.save(&record)?;
        inner.records.insert(record.attachment.clone(), record.clone());
        Ok(record)
    }

    /// The record's address is known: keep it.
    fn address(&self, record: Record, address: PodAddress) -> Result<Record, BeginError> {
        let other = self
            .all()
            .into_iter()
            .find(|other| other.attachment != record.attachment && other.ipv4() == Some(address.address));
        if let Some(other) = other {
            return Err(BeginError::Address { address: address.address, by: other.pod });
        }
        if record.address.as_ref() == Some(&address) {
            return Ok(record);
        }
        let record = Record { address: Some(address), ..record };
        self.put(record.clone())?;
        Ok(record)
    }

    /// The pod has its device: its flows and its port should be there. What to wait for.
    fn wire(&self, attachment: &Attachment) -> u64 {
        self.change(|inner| inner.wired.insert(attachment.clone()))
    }

    /// The pod is to have no flows and no port any more. What to wait for.
    fn unwire(&self, attachment: &Attachment) -> u64 {
        self.change(|inner| inner.wired.remove(attachment))
    }

    fn change(&self, change: impl FnOnce(&mut Inner) -> bool) -> u64 {
        let mut inner = self.inner();
        if change(&mut inner) {
            inner.generation += 1;
            self.changed.notify_one();
        }
        inner.generation
    }

    /// Nothing of it is left: forget it, on disk and here.
    fn forget(&self, attachment: &Attachment) -> Result<(), StoreError> {
        let mut inner = self.inner();
        self.store.remove(attachment)?;
        inner.records.remove(attachment);
        Ok(())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a record begins with.
struct NewRecord<'a> {
    attachment: &'a Attachment,
    network: &'a str,
    pod: &'a PodName,
    netns: &'a Path,
    mac: Option<MacAddr>,
    addressing: Addressing,
}

/// Why a pod can't begin.
#[derive(Debug, thiserror::Error)]
enum BeginError {
    #[error("no address is left for a pod in {subnet}: {used} are in use")]
    Full { subnet: Subnet, used: usize },
    #[error("the IPAM plugin gave {address}, which pod {by} has")]
    Address { address: Ipv4Addr, by: PodName },
    #[error("the MAC address {mac} is in use by {by}")]
    Mac { mac: MacAddr, by: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Inner {
    /// The name of the pod's end on the host. A container has one of its id; its second interface needs another.
    fn free_interface(&self, attachment: &Attachment, pod: &PodName) -> String {
        let taken = |name: &String| self.records.values().any(|other| other.interface == *name);
        let container = attachment.container.as_str();
        let name = identity::container_interface(&pod.name, container);
        match taken(&name) {
            true => identity::container_interface(&pod.name, &record::uid(attachment)),
            false => name,
        }
    }

    fn free_mac(&self, new: &NewRecord<'_>, network: &Network) -> Result<MacAddr, BeginError> {
        let mac = new.mac.unwrap_or_else(|| identity::container_mac(&record::uid(new.attachment)));
        let other = self.records.values().find(|other| other.mac == mac);
        let by = match other {
            Some(other) => format!("pod {}", other.pod),
            None if network.reserved_macs.contains(&mac) => "this node".to_owned(),
            None => return Ok(mac),
        };
        Err(BeginError::Mac { mac, by })
    }
}

#[cfg(test)]
mod tests;
