//! The lab: the nodes and pods of a cluster file as network namespaces on this machine.
//!
//! # Contract
//!
//! * Everything is inside namespaces of the lab and below `/run/footbridge/LAB` and
//!   `/var/lib/footbridge/LAB`; no device, route, sysctl or nftables table of the host changes.
//! * The lab plays the part of everything around the agent: the underlay, the machines, the container
//!   runtime (pods' namespaces and veth pairs) and kube-proxy. What the agent makes, it leaves to the
//!   agent.
//! * [`down`] takes away whatever a lab recorded, whoever made it and however that process ended.
//!
//! Nothing here panics on what it reads.

pub(crate) mod capture;
mod down;
pub(crate) mod error;
pub(crate) mod exec;
pub(crate) mod frames;
pub(crate) mod kube_proxy;
pub(crate) mod links;
pub(crate) mod netns;
mod ovs;
pub(crate) mod plan;
pub(crate) mod process;
pub(crate) mod programs;
pub(crate) mod record;
pub(crate) mod report;
mod start;
pub(crate) mod status;
pub(crate) mod steps;
pub(crate) mod web;

pub(crate) use down::down;
pub(crate) use error::LabError;
pub(crate) use start::{Ended, process_ended};

use down::remove_members;
use footbridge_node::cluster::Cluster;
use footbridge_node::pods::announce;
use footbridge_node::{EncapMode, Subnet};
use footbridge_openflow::MacAddr;
use netns::Namespace;
use plan::{NodePlan, Plan, PodPlan};
use process::Process;
use record::{BridgeKind, Member, MemberKind, Places, Record};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The cluster files that come with the program, by lab name.
pub(crate) const FILES: &[(&str, &str)] =
    &[("article", include_str!("../../labs/article.yaml")), ("small", include_str!("../../labs/small.yaml"))];

/// A lab of this process, running.
pub(crate) struct Lab {
    /// Its directories.
    pub(crate) places: Places,
    /// What it is made of, as on disk.
    pub(crate) record: Record,
    /// The cluster as the lab last made it so.
    pub(crate) cluster: Cluster,
    /// What that means here.
    pub(crate) plan: Plan,
    program: PathBuf,
    datapath: &'static str,
    encap: EncapMode,
    tunnel_type: &'static str,
    stays: bool,
    /// By member, what waits for the ends of its processes.
    watches: BTreeMap<String, Vec<JoinHandle<()>>>,
    ended: mpsc::UnboundedSender<Ended>,
    endings: Option<mpsc::UnboundedReceiver<Ended>>,
}

/// What a lab is made from.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Its name.
    pub(crate) name: String,
    /// The cluster file, or one of [`FILES`].
    pub(crate) source: Source,
    /// What the agents are told with `--datapath`.
    pub(crate) datapath: &'static str,
    /// What they program with flows.
    pub(crate) bridge: BridgeKind,
    /// What they are told with `--encap`.
    pub(crate) encap: EncapMode,
    /// What they are told with `--tunnel-type`.
    pub(crate) tunnel_type: &'static str,
    /// Where the ClusterIPs are.
    pub(crate) service_cidr: Subnet,
    /// Whether this process stays and takes the lab down again.
    pub(crate) stays: bool,
}

/// Where the cluster comes from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// The agents watch this file itself.
    Watched(PathBuf),
    /// The agents watch a copy in the lab's run directory.
    Copied(PathBuf),
    /// A file of the program, by name; a copy as well.
    BuiltIn(&'static str),
}

impl Lab {
    /// Whether packets go to other nodes in tunnels. In every other mode none does: all nodes of a lab are on one
    /// segment.
    pub(crate) fn tunnels(&self) -> bool {
        match self.encap {
            EncapMode::Encap => true,
            EncapMode::NoEncap | EncapMode::Hybrid => false,
        }
    }

    /// Claim the name and write the record; nothing else is made yet. From here on [`down`] is
    /// needed, however the rest goes.
    pub(crate) fn claim(options: &Options) -> Result<Lab, LabError> {
        programs::require(options.bridge)?;
        let places = Places::of(&options.name);
        let (path, text) = match &options.source {
            Source::BuiltIn(name) => {
                let text = FILES.iter().find(|(n, _)| n == name).map_or("", |(_, text)| text);
                (places.cluster_copy(), Some(text.to_owned()))
            }
            Source::Copied(file) => {
                let text = fs::read_to_string(file)
                    .map_err(|e| LabError::io(format!("read {}", file.display()), e))?;
                (places.cluster_copy(), Some(text))
            }
            Source::Watched(file) => {
                let path = fs::canonicalize(file)
                    .map_err(|e| LabError::io(format!("read {}", file.display()), e))?;
                (path, None)
            }
        };
        let cluster = match (&text, &options.source) {
            (Some(text), Source::Copied(file)) => Cluster::parse(&file.display().to_string(), text)?,
            (Some(text), _) => Cluster::parse("the built-in cluster file", text)?,
            (None, _) => Cluster::load(&path)?,
        };
        let plan = Plan::of(&options.name, &cluster)?;
        plan::require_services_inside(&cluster, options.service_cidr)?;
        if places.run().exists() {
            return Err(LabError::There { name: options.name.clone() });
        }
        let namespaces =
            plan.nodes.values().map(|n| &n.namespace).chain(plan.pods.values().map(|p| &p.namespace));
        let underlay = plan.underlay_namespace();
        if let Some(taken) = namespaces.chain([&underlay]).find(|n| n.exists()) {
            return Err(LabError::NamespaceTaken(taken.name().to_owned()));
        }
        let program = std::env::current_exe().map_err(|e| LabError::io("find this program", e))?;
        places.claim()?;
        let record = Record {
            name: options.name.clone(),
            cluster: path.clone(),
            underlay: underlay.name().to_owned(),
            service_cidr: options.service_cidr,
            bridge: options.bridge,
            runner: Process::myself(),
            ready: false,
            members: BTreeMap::new(),
        };
        let (ended, endings) = mpsc::unbounded_channel();
        let lab = Lab {
            places,
            record,
            cluster,
            plan,
            program,
            datapath: options.datapath,
            encap: options.encap,
            tunnel_type: options.tunnel_type,
            stays: options.stays,
            watches: BTreeMap::new(),
            ended,
            endings: Some(endings),
        };
        let written = lab.write_first_files(text.as_deref());
        match written {
            Ok(()) => Ok(lab),
            Err(error) => {
                // The first error is the one to tell.
                let _second = lab.places.remove();
                Err(error)
            }
        }
    }

    fn write_first_files(&self, cluster: Option<&str>) -> Result<(), LabError> {
        // A lab that a reboot ended left its state: this one begins anew.
        remove_tree(&self.places.state())?;
        self.places.store(&self.record)?;
        let failed = |e| LabError::io(format!("write below {}", self.places.run().display()), e);
        fs::create_dir(self.places.run().join("hosts")).map_err(failed)?;
        fs::create_dir(self.places.run().join("log")).map_err(failed)?;
        if let Some(text) = cluster {
            record::replace(&self.record.cluster, text.as_bytes()).map_err(failed)?;
        }
        Ok(())
    }

    /// Make everything, start the agents and the web servers, and return when all is ready.
    pub(crate) async fn build(&mut self) -> Result<(), LabError> {
        self.make_underlay().await?;
        let plan = self.plan.clone();
        for node in plan.nodes.values() {
            self.make_node(node).await?;
        }
        for pod in plan.pods.values() {
            self.make_pod(pod).await?;
        }
        self.write_hosts()?;
        self.play_kube_proxy().await?;
        for node in plan.nodes.keys() {
            self.start_agent(node)?;
        }
        for pod in plan.pods.values() {
            self.start_web(pod)?;
        }
        for node in plan.nodes.keys() {
            self.wait_ready(node).await?;
        }
        for pod in plan.pods.values() {
            self.announce(pod).await?;
        }
        self.record.ready = true;
        if !self.stays {
            // From here on `down` has nobody to wait for.
            self.record.runner = None;
        }
        self.places.store(&self.record)
    }

    /// Add what the cluster file now has and the lab has not, and write down the file's new text.
    /// The file changes first, as a cluster's nodes register before their agents run.
    pub(crate) async fn grow(&mut self, text: &str) -> Result<(), LabError> {
        let cluster = Cluster::parse("the changed cluster file", text)?;
        let plan = Plan::of(&self.record.name, &cluster)?;
        let old = std::mem::replace(&mut self.plan, plan.clone());
        self.cluster = cluster;
        let new_nodes: Vec<&NodePlan> =
            plan.nodes.values().filter(|n| !old.nodes.contains_key(&n.name)).collect();
        let new_pods: Vec<&PodPlan> =
            plan.pods.values().filter(|p| !old.pods.contains_key(&p.name)).collect();
        for node in &new_nodes {
            self.make_node(node).await?;
        }
        for pod in &new_pods {
            self.make_pod(pod).await?;
        }
        self.write_hosts()?;
        self.play_kube_proxy().await?;
        for node in &new_nodes {
            self.start_agent(&node.name)?;
        }
        for pod in &new_pods {
            self.start_web(pod)?;
        }
        for node in &new_nodes {
            self.wait_ready(&node.name).await?;
        }
        for pod in &new_pods {
            self.announce(pod).await?;
        }
        Ok(())
    }

    /// Take away what the cluster file no longer has: agents, pods, namespaces, and all the node kept
    /// on disk, as when a machine is gone.
    pub(crate) async fn shrink(&mut self, text: &str) -> Result<(), LabError> {
        let cluster = Cluster::parse("the changed cluster file", text)?;
        let plan = Plan::of(&self.record.name, &cluster)?;
        let gone: Vec<String> = self
            .record
            .members
            .keys()
            .filter(|name| !plan.nodes.contains_key(*name) && !plan.pods.contains_key(*name))
            .cloned()
            .collect();
        for name in &gone {
            self.watches.remove(name).into_iter().flatten().for_each(|watch| watch.abort());
        }
        let leaving: BTreeMap<String, Member> = gone
            .iter()
            .filter_map(|name| Some((name.clone(), self.record.members.get(name)?.clone())))
            .collect();
        let places = self.places.clone();
        let names = leaving.clone();
        blocking(move || {
            remove_members(names.values())?;
            for (name, member) in &names {
                if member.kind == MemberKind::Node {
                    remove_tree(&places.node_run(name))?;
                    remove_tree(&places.node_state(name))?;
                }
                remove_tree(&places.hosts(name))?;
            }
            Ok(())
        })
        .await?;
        for name in leaving.keys() {
            self.record.members.remove(name);
        }
        self.places.store(&self.record)?;
        self.plan = plan;
        self.cluster = cluster;
        self.write_hosts()?;
        self.play_kube_proxy().await
    }

    /// Replace the cluster file that the agents watch.
    pub(crate) fn write_cluster(&self, text: &str) -> Result<(), LabError> {
        record::replace(&self.record.cluster, text.as_bytes())
            .map_err(|e| LabError::io(format!("write {}", self.record.cluster.display()), e))
    }

    /// A node's namespace.
    pub(crate) fn node(&self, name: &str) -> Namespace {
        Namespace::named(format!("fb-{}-{name}", self.record.name))
    }

    /// A command that runs inside a node or a pod, through `lab exec` as a user would; killed when
    /// dropped.
    pub(crate) fn command(&self, member: &str, command: &[&str]) -> Command {
        let mut inside = Command::new(&self.program);
        inside.args(["lab", "--name", &self.record.name, "exec", member, "--"]).args(command);
        inside.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        inside
    }

    async fn make_underlay(&mut self) -> Result<(), LabError> {
        let namespace = self.plan.underlay_namespace();
        namespace.create().await?;
        let (gateway, prefix) = (self.plan.underlay.gateway(), self.plan.underlay.prefix());
        namespace
            .netlink("make the underlay", move |handle| async move {
                links::add_bridge(&handle, plan::UNDERLAY_BRIDGE, plan::UNDERLAY_MTU).await?;
                links::add_address(&handle, plan::UNDERLAY_BRIDGE, gateway, prefix).await
            })
            .await?;
        match self.record.bridge {
            BridgeKind::Footbridge => Ok(()),
            // Open vSwitch hands frames on as they come, with checksums that hardware was to finish.
            BridgeKind::OpenVswitch => {
                let off = || switch_off_offloads(plan::UNDERLAY_BRIDGE);
                namespace.run("switch off offloads", off).await
            }
        }
    }

    async fn make_node(&mut self, node: &NodePlan) -> Result<(), LabError> {
        self.remember(&node.name, MemberKind::Node, &node.namespace, node.address)?;
        node.namespace.create().await?;
        let underlay = self.plan.underlay_namespace();
        let there = underlay.open()?;
        let port = node.port.clone();
        node.namespace
            .netlink("make the uplink", move |handle| async move {
                links::add_veth(&handle, plan::UPLINK, None, plan::UNDERLAY_MTU, &port, there.as_fd())
                    .await?;
                links::up(&handle, plan::UPLINK).await
            })
            .await?;
        let port = node.port.clone();
        underlay
            .netlink("plug in the uplink", move |handle| async move {
                links::enslave(&handle, &port, plan::UNDERLAY_BRIDGE).await
            })
            .await?;
        let device = match self.record.bridge {
            BridgeKind::Footbridge => plan::UPLINK,
            BridgeKind::OpenVswitch => self.start_open_vswitch(node).await?,
        };
        let (address, prefix, gateway) =
            (node.address, self.plan.underlay.prefix(), self.plan.underlay.gateway());
        node.namespace
            .netlink("give the node its address", move |handle| async move {
                links::add_address(&handle, device, address, prefix).await?;
                links::up(&handle, device).await?;
                links::add_default_route(&handle, gateway).await
            })
            .await
    }

    async fn make_pod(&mut self, pod: &PodPlan) -> Result<(), LabError> {
        self.remember(&pod.name, MemberKind::Pod { node: pod.node.clone() }, &pod.namespace, pod.address)?;
        pod.namespace.create().await?;
        let there = self.node(&pod.node).open()?;
        let (mac, address, subnet, interface) = (pod.mac, pod.address, pod.subnet, pod.interface.clone());
        pod.namespace
            .netlink("make the pod's device", move |handle| async move {
                links::add_veth(
                    &handle,
                    plan::POD_DEVICE,
                    Some(mac),
                    plan::POD_MTU,
                    &interface,
                    there.as_fd(),
                )
                .await?;
                links::add_address(&handle, plan::POD_DEVICE, address, subnet.prefix()).await?;
                links::up(&handle, plan::POD_DEVICE).await?;
                links::add_default_route(&handle, subnet.gateway()).await
            })
            .await?;
        pod.namespace.run("switch off offloads", || switch_off_offloads(plan::POD_DEVICE)).await
    }

    fn remember(
        &mut self,
        name: &str,
        kind: MemberKind,
        namespace: &Namespace,
        address: std::net::Ipv4Addr,
    ) -> Result<(), LabError> {
        let member = Member {
            kind,
            namespace: namespace.name().to_owned(),
            address,
            process: None,
            daemons: Vec::new(),
        };
        self.record.members.insert(name.to_owned(), member);
        self.places.store(&self.record)
    }

    fn write_hosts(&self) -> Result<(), LabError> {
        let write = |member: &str, text: String| {
            let path = self.places.hosts(member);
            fs::write(&path, text).map_err(|e| LabError::io(format!("write {}", path.display()), e))
        };
        for node in self.plan.nodes.keys() {
            write(node, self.plan.node_hosts())?;
        }
        for pod in self.plan.pods.values() {
            write(&pod.name, self.plan.pod_hosts(pod, &self.cluster))?;
        }
        Ok(())
    }

    async fn play_kube_proxy(&self) -> Result<(), LabError> {
        let ruleset = kube_proxy::ruleset(&self.cluster);
        let path = self.places.run().join("kube-proxy.nft");
        fs::write(&path, ruleset).map_err(|e| LabError::io(format!("write {}", path.display()), e))?;
        for node in self.plan.nodes.keys() {
            let path = path.display().to_string();
            programs::output(self.command(node, &["nft", "-f", &path])).await?;
        }
        Ok(())
    }

    /// Tell the neighbours about a pod by gratuitous ARP, now that its flows are in place.
    async fn announce(&self, pod: &PodPlan) -> Result<(), LabError> {
        let frame = announce::gratuitous_arp(MacAddr(pod.mac), pod.address);
        pod.namespace.run("announce the pod", move || announce::send(plan::POD_DEVICE, &[frame])).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LabError> + Send + 'static,
) -> Result<T, LabError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(LabError::io("wait for a thread", io::Error::other(error))),
    }
}

fn remove_tree(path: &Path) -> Result<(), LabError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(LabError::io(format!("remove {}", path.display()), e))
        }
        _ => Ok(()),
    }
}

fn switch_off_offloads(device: &str) -> io::Result<()> {
    footbridge_datapath::offload::disable(device).map_err(io::Error::other)
}
