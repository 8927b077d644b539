//! What the CNI's calls do: specification section 2, "Operations", on this node.
//!
//! # Contract
//!
//! * ADD: the record, an address, the veth pair, the pod's end, then flows, guard and port by the reconcile loop, then
//!   the announcement, then the record again. What fails takes back what was made. An ADD that is said again
//!   for a pod that stands answers the same; for one that does not stand it is made anew.
//! * DEL: the record, the veth pair, then flows and port by the loop, then the address, then the record. What can't
//!   be finished now is finished later ([`Service::attend`]); the answer is success then, too, for the record is
//!   on disk. DEL of what is not there succeeds.
//! * Calls for one attachment go one after the other; others go on side by side.
//! * A call goes on when its client has gone.

use super::device::{self, DeviceError, Devices, PodEnd};
use super::ipam::{self, IpamError};
use super::store::{self, deletions};
use super::{BeginError, Network, NewRecord, Phase, Pods, Record};
use crate::store::StoreError;
use footbridge_cni::{
    AddResult, Attachment, Call, Cidr, Code, Error, NetworkConfig, Request, Target, Version,
};
use futures_util::future::join_all;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How long an ADD waits for the bridge.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a DEL does, before it is finished later.
const DEL_PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked for what was left over.
const ATTEND: Duration = Duration::from_secs(2);

/// Carries out the CNI's calls.
pub struct Service {
    pods: Arc<Pods>,
    devices: Devices,
    state_dir: PathBuf,
    /// This node's network namespace.
    home: (u64, u64),
    turns: Turns,
}

/// Why the service can't start.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The kernel.
    #[error("can't serve the CNI: {0}")]
    Devices(#[from] DeviceError),
    /// The own network namespace.
    #[error("can't tell this node's network namespace: {0}")]
    Namespace(#[source] io::Error),
}

impl Service {
    /// A service for `pods`, in the calling thread's network namespace, within a tokio runtime.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn new(pods: Arc<Pods>, state_dir: &Path) -> Result<Service, ServiceError> {
        let home = File::open("/proc/thread-self/ns/net").and_then(|file| file.metadata());
        let home = home.map_err(ServiceError::Namespace)?;
        let devices = Devices::open()?;
        let (state_dir, turns) = (state_dir.to_owned(), Turns::default());
        Ok(Service { pods, devices, state_dir, home: (home.dev(), home.ino()), turns })
    }

    /// Carry out a call; what is to be printed.
    ///
    /// # Errors
    /// As the runtime is to be told.
    pub async fn answer(&self, call: Call, netns: Option<OwnedFd>) -> Result<Option<Value>, Error> {
        match call {
            Call::Add(target, config) => {
                let netns = self.pods_namespace(netns)?;
                // What was left to be deleted may be of the same container, or hold the last address.
                self.read_deletions().await;
                self.add(&target, &config, netns).await.map(Some)
            }
            Call::Check(target, config) => {
                self.check(&target, &config, self.pods_namespace(netns)?).await?;
                Ok(None)
            }
            Call::Del(target, _) => {
                self.delete(&target.attachment).await?;
                Ok(None)
            }
            Call::Gc(valid, config, environment) => {
                self.collect(&valid, &config).await?;
                ipam::pass_on("GC", &config, &environment).await?;
                Ok(None)
            }
            Call::Status(config, environment) => {
                self.status()?;
                ipam::pass_on("STATUS", &config, &environment).await.map_err(|error| {
                    Error::new(Code::NotAvailable, "the IPAM plugin is not ready").with_details(error)
                })?;
                Ok(None)
            }
            Call::Version(asked) => Ok(Some(Version::print_all(&asked))),
        }
    }

    /// Finish what was left over, for ever: pods whose ADD was cut short or whose DEL could not end, and the DELs that
    /// the plugin left while no agent ran.
    pub async fn attend(&self) {
        let mut said: BTreeMap<Attachment, String> = BTreeMap::new();
        loop {
            self.read_deletions().await;
            let unfinished: Vec<Record> =
                self.pods.all().into_iter().filter(|record| !self.pods.stands(record)).collect();
            let outcomes = join_all(unfinished.iter().map(|record| self.finish(&record.attachment))).await;
            let before = std::mem::take(&mut said);
            for (record, why) in unfinished.into_iter().zip(outcomes) {
                let Some(why) = why else { continue };
                if before.get(&record.attachment) != Some(&why) {
                    tracing::warn!("{} can't be taken away yet: {why}", record.attachment);
                }
                said.insert(record.attachment, why);
            }
            tokio::time::sleep(ATTEND).await;
        }
    }

    /// Take a pod away that was left over, if it is nobody's turn with it; why that can't be, if it can't.
    async fn finish(&self, attachment: &Attachment) -> Option<String> {
        let _turn = self.turns.take_now(attachment)?;
        // Since it was listed it may have changed.
        let record = self.pods.get(attachment).filter(|record| !self.pods.stands(record))?;
        match self.remove(record).await {
            Ok(Removal::Done) => None,
            Ok(Removal::Later(why)) | Err(why) => Some(why.to_string()),
        }
    }

    async fn add(&self, target: &Target, config: &NetworkConfig, netns: OwnedFd) -> Result<Value, Error> {
        let _turn = self.turns.take(&target.attachment).await;
        let network = self.pods.network().map_err(not_ready)?;
        let before = config.prev_result.as_ref().map(AddResult::parse).transpose()?.unwrap_or_default();
        if let Some(standing) = self.pods.get(&target.attachment) {
            if self.pods.stands(&standing) && self.compare(&standing, &netns).await.is_ok() {
                return Ok(standing.result(config.dns.clone()).after(before).print(config.version));
            }
            if let Removal::Later(why) = self.remove(standing).await? {
                return Err(why);
            }
        }
        let record = self.begin(target, config, &network)?;
        match self.establish(record.clone(), &network, &netns).await {
            Ok(record) => {
                tracing::info!(pod = %record.pod, interface = record.interface, address = ?record.ipv4(), "pod added");
                Ok(record.result(config.dns.clone()).after(before).print(config.version))
            }
            Err(error) => {
                let begun = self.pods.get(&target.attachment).unwrap_or(record);
                if let Ok(Removal::Later(why)) | Err(why) = self.remove(begun).await {
                    tracing::warn!("what an ADD that failed has made goes later: {why}");
                }
                Err(error)
            }
        }
    }

    fn begin(&self, target: &Target, config: &NetworkConfig, network: &Network) -> Result<Record, Error> {
        let others = self.pods.all();
        let new = NewRecord {
            attachment: &target.attachment,
            network: &config.name,
            pod: &target.pod,
            netns: target.netns.as_deref().unwrap_or(Path::new("")),
            mac: config.mac,
            addressing: ipam::choose(config, &target.environment, network, &self.state_dir, &others),
        };
        Ok(self.pods.begin(new, network)?)
    }

    /// Make all of a pod that has begun.
    async fn establish(&self, record: Record, network: &Network, netns: &OwnedFd) -> Result<Record, Error> {
        let address = ipam::add(&record, network).await?.ok_or_else(|| no_address(&record))?;
        let record = self.pods.address(record, address.clone())?;
        let pod = PodEnd {
            name: record.attachment.ifname.clone(),
            mac: record.mac,
            mtu: record.mtu,
            plain_frames: network.plain_frames,
        };
        // One of that name can only be left of a container whose record is gone: the name is of the id.
        self.devices.delete(&record.interface).await?;
        self.devices.create(&record.interface, &pod, netns.as_fd()).await?;
        device::configure(netns, pod, address.clone()).await?;
        let generation = self.pods.wire(&record.attachment);
        self.bridged(&record, generation, netns).await?;
        device::announce(netns, record.attachment.ifname.clone(), record.mac, address.address).await?;
        let record = Record { phase: Phase::Added, ..record };
        self.pods.put(record.clone())?;
        Ok(record)
    }

    /// Wait until the bridge has the pod. What else hinders the reconcile loop is no matter of this pod's.
    async fn bridged(&self, record: &Record, generation: u64, netns: &OwnedFd) -> Result<(), Error> {
        let not_taken =
            |why| Error::new(Code::TryAgainLater, "the bridge does not take the pod").with_details(why);
        self.pods.tried(generation, PATIENCE).await.map_err(not_taken)?;
        if let Some(trouble) = self.pods.trouble()
            && self.compare(record, netns).await.is_ok()
        {
            tracing::warn!("{} is attached, though not all is as it should be: {trouble}", record.attachment);
            return Ok(());
        }
        self.pods.reached(generation, PATIENCE).await.map_err(not_taken)
    }

    async fn delete(&self, attachment: &Attachment) -> Result<(), Error> {
        let _turn = self.turns.take(attachment).await;
        let Some(record) = self.pods.get(attachment) else { return Ok(()) };
        match self.remove(record).await? {
            Removal::Done => tracing::info!("{attachment} deleted"),
            Removal::Later(why) => tracing::warn!("{attachment} is deleted later: {why}"),
        }
        Ok(())
    }

    /// Take away all of a pod, and its record last.
    ///
    /// # Errors
    /// It can't be done now, nor can be kept that it is to be done.
    async fn remove(&self, record: Record) -> Result<Removal, Error> {
        let kept = match record.phase {
            Phase::Deleting => Ok(()),
            Phase::Adding | Phase::Added => {
                self.pods.put(Record { phase: Phase::Deleting, ..record.clone() })
            }
        };
        // A full disk keeps nothing from being done now.
        match (self.take_away(&record).await, kept) {
            (Ok(()), _) => Ok(Removal::Done),
            (Err(why), Ok(())) => Ok(Removal::Later(why)),
            (Err(_), Err(error)) => Err(error.into()),
        }
    }

    async fn take_away(&self, record: &Record) -> Result<(), Error> {
        let generation = self.pods.unwire(&record.attachment);
        self.devices.delete(&record.interface).await?;
        // Before the loop has ever come round there is no saying how long it will be.
        self.pods.network().map_err(not_ready)?;
        self.pods.gone(generation, DEL_PATIENCE).await.map_err(not_ready)?;
        ipam::del(record).await?;
        Ok(self.pods.forget(&record.attachment)?)
    }

    async fn check(&self, target: &Target, config: &NetworkConfig, netns: OwnedFd) -> Result<(), Error> {
        let _turn = self.turns.take(&target.attachment).await;
        let record = self.pods.get(&target.attachment).filter(|record| self.pods.stands(record));
        let record = record.ok_or_else(|| not_as_added(format!("{} is not known", target.attachment)))?;
        let previous = AddResult::parse(config.prev_result.as_ref().unwrap_or(&Value::Null))?;
        said(&record, &previous).map_err(not_as_added)?;
        self.compare(&record, &netns).await?;
        Ok(ipam::check(&record).await?)
    }

    /// Whether the kernel and the bridge have the pod as its record says.
    async fn compare(&self, record: &Record, netns: &OwnedFd) -> Result<(), Error> {
        let host = self.devices.look(&record.interface).await?;
        if !host.is_some_and(|host| host.up) {
            return Err(not_as_added(format!(
                "device {} on the host is not there or not up",
                record.interface
            )));
        }
        let ifname = &record.attachment.ifname;
        let seen = device::look_inside(netns, ifname.clone()).await?;
        let seen = seen.ok_or_else(|| not_as_added(format!("device {ifname} is not in the pod")))?;
        let address = record.address.as_ref().ok_or_else(|| no_address(record))?;
        let default = |cidr: Cidr| cidr.prefix == 0 && cidr.address.is_ipv4();
        let wants_default = address.routes.iter().any(|route| default(route.dst));
        for (what, is) in [
            ("state: it is down", seen.up),
            ("MAC address", seen.mac == Some(record.mac)),
            // A smaller one is somebody's tuning.
            ("MTU", seen.mtu <= record.mtu),
            ("address", seen.addresses.contains(&(address.address, address.prefix))),
            ("default route", !wants_default || seen.default_routes.contains(&address.gateway)),
        ] {
            if !is {
                return Err(not_as_added(format!("device {ifname} in the pod has not its {what}: {seen:?}")));
            }
        }
        let lacking = self.pods.lacking(record, DEL_PATIENCE).await.map_err(not_ready)?;
        match lacking.is_empty() {
            true => Ok(()),
            false => Err(not_as_added(format!("the bridge lacks {}", lacking.join("; ")))),
        }
    }

    /// Delete this network's pods but for the valid ones.
    async fn collect(&self, valid: &[Attachment], config: &NetworkConfig) -> Result<(), Error> {
        let valid: BTreeSet<&Attachment> = valid.iter().collect();
        let stale = |record: &Record| record.network == config.name && !valid.contains(&record.attachment);
        let stale: Vec<Record> = self.pods.all().into_iter().filter(stale).collect();
        for record in &stale {
            tracing::info!(pod = %record.pod, "{} is no valid attachment any more", record.attachment);
        }
        let deleted = join_all(stale.iter().map(|record| self.delete(&record.attachment))).await;
        deleted.into_iter().collect()
    }

    fn status(&self) -> Result<(), Error> {
        let not_available =
            |why| Error::new(Code::NotAvailable, "this node's pod network is not ready").with_details(why);
        self.pods.network().map_err(not_available)?;
        match self.pods.trouble() {
            None => Ok(()),
            Some(why) => {
                let message = "this node's pod network is not as it should be";
                Err(Error::new(Code::LimitedConnectivity, message).with_details(why))
            }
        }
    }

    /// Carry out the DELs that the plugin left.
    async fn read_deletions(&self) {
        let left = match deletions(&self.state_dir) {
            Ok(left) => left,
            Err(error) => return tracing::error!("{error}"),
        };
        // Side by side, so that all together wait no longer than one.
        join_all(left.iter().map(|(path, text)| self.read_deletion(path, text))).await;
    }

    async fn read_deletion(&self, path: &Path, text: &str) {
        let request: Result<Request, _> = serde_json::from_str(text);
        let done = match request.map(|request| Call::parse(&request)) {
            Ok(Ok(Call::Del(target, _))) => self.delete(&target.attachment).await,
            other => {
                tracing::error!("{} is no DEL and is dropped: {other:?}", path.display());
                Ok(())
            }
        };
        match done.map(|()| store::remove(path)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!("{error}"),
            Err(error) => tracing::error!("{} is tried again: {error}", path.display()),
        }
    }

    /// The pod's network namespace, which the plugin has opened.
    fn pods_namespace(&self, netns: Option<OwnedFd>) -> Result<OwnedFd, Error> {
        let invalid =
            |why: String| Error::new(Code::InvalidEnvironment, "CNI_NETNS can't be used").with_details(why);
        let file = File::from(netns.ok_or_else(|| invalid("no descriptor came with the call".to_owned()))?);
        let kind = nix::sys::statfs::fstatfs(&file).map_err(|errno| invalid(errno.to_string()))?;
        if kind.filesystem_type() != nix::sys::statfs::NSFS_MAGIC {
            return Err(invalid("it is no namespace".to_owned()));
        }
        let metadata = file.metadata().map_err(|error| invalid(error.to_string()))?;
        match (metadata.dev(), metadata.ino()) == self.home {
            true => Err(invalid("it is the node's own".to_owned())),
            false => Ok(file.into()),
        }
    }
}

/// What came of taking a pod away.
enum Removal {
    /// Nothing of it is left.
    Done,
    /// It is on disk that it is to go, but something is in its way.
    Later(Error),
}

/// Whether the runtime's result is what it was told.
fn said(record: &Record, previous: &AddResult) -> Result<(), String> {
    let (ifname, mac) = (record.attachment.ifname.as_str(), record.mac.to_string());
    let find = |name: &str, inside: bool| {
        previous.interfaces.iter().find(|i| i.name == name && i.sandbox.is_empty() != inside)
    };
    let container = find(ifname, true).ok_or_else(|| format!("prevResult has no {ifname} in the pod"))?;
    if !container.mac.eq_ignore_ascii_case(&mac) {
        return Err(format!("prevResult has {} as MAC address of {ifname}, which is {mac}", container.mac));
    }
    find(&record.interface, false)
        .ok_or_else(|| format!("prevResult has no {} on the host", record.interface))?;
    let Some(address) = &record.address else { return Err("the pod has no address".to_owned()) };
    let own = Cidr { address: IpAddr::V4(address.address), prefix: address.prefix };
    match previous.ips.iter().any(|ip| ip.address == own) {
        true => Ok(()),
        false => Err(format!("prevResult lacks the pod's address {own}")),
    }
}

fn not_as_added(why: impl ToString) -> Error {
    Error::new(Code::NotAsAdded, "the pod is not as ADD made it").with_details(why)
}

fn not_ready(why: String) -> Error {
    Error::new(Code::TryAgainLater, "the agent is not ready").with_details(why)
}

fn no_address(record: &Record) -> Error {
    Error::new(Code::State, format!("pod {} has no address", record.pod))
}

impl From<DeviceError> for Error {
    fn from(error: DeviceError) -> Error {
        Error::new(Code::Kernel, "the pod's devices can't be as they should").with_details(error)
    }
}

impl From<IpamError> for Error {
    fn from(error: IpamError) -> Error {
        Error::new(Code::Ipam, "the pod's address can't be had or given back").with_details(error)
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Error {
        Error::new(Code::State, "the agent's state can't be kept").with_details(error)
    }
}

impl From<BeginError> for Error {
    fn from(error: BeginError) -> Error {
        match error {
            BeginError::Full { .. } | BeginError::Address { .. } => {
                Error::new(Code::NoAddress, "the pod gets no address").with_details(error)
            }
            BeginError::Mac { .. } => {
                Error::new(Code::InvalidConfig, "the pod gets no MAC address").with_details(error)
            }
            BeginError::Store(error) => error.into(),
        }
    }
}

/// Whose turn it is: one call at a time for an attachment.
#[derive(Default)]
struct Turns {
    busy: Mutex<BTreeSet<Attachment>>,
    freed: Notify,
}

/// A turn, which ends when it is dropped.
struct Turn<'a> {
    turns: &'a Turns,
    attachment: Attachment,
}

impl Turns {
    async fn take(&self, attachment: &Attachment) -> Turn<'_> {
        loop {
            // Before looking, so that no end falls between the two.
            let freed = self.freed.notified();
            if let Some(turn) = self.take_now(attachment) {
                return turn;
            }
            freed.await;
        }
    }

    fn take_now(&self, attachment: &Attachment) -> Option<Turn<'_>> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.insert(attachment.clone()).then(|| Turn { turns: self, attachment: attachment.clone() })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.attachment);
        self.turns.freed.notify_waiters();
    }
}
