//! `footbridge agent`: what each node runs.

use crate::cli::lab::Signals;
use crate::cli::{fail, log_to_stderr};
use crate::lab::netns;
use crate::lab::record::{RUN, STATE};
use clap::{Args, ValueEnum};
use footbridge_datapath::DatapathChoice;
use footbridge_datapath::ebpf::pins;
use footbridge_node::agent::{self, AgentConfig};
use footbridge_node::bridge::ovs::{OvsAddress, OvsAddressError};
use footbridge_node::{ClusterFrom, NodeConfig, Subnet, TunnelType};
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

/// Run a node's agent: bridge, flows, routes, devices.
///
/// Runs until SIGTERM or SIGINT; devices, routes and guards then stay as they are, so that the network
/// is neither opened nor torn down; an Open vSwitch goes on forwarding, and so does the ebpf datapath (see
/// `footbridge detach`). Exit status 0 after a clean end, 1 when it could not start.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Which of the cluster's nodes this is
    #[arg(long, value_name = "NAME")]
    node: String,
    #[command(flatten)]
    cluster: ClusterArguments,
    /// Enter this network namespace first
    #[arg(long, value_name = "NAME|PATH")]
    netns: Option<String>,
    /// Where sockets and the pid file are
    #[arg(long, value_name = "DIR", default_value = RUN)]
    run_dir: PathBuf,
    /// Where port numbers and the round are kept
    #[arg(long, value_name = "DIR", default_value = STATE)]
    state_dir: PathBuf,
    /// Our own bridge's name; or `unix:DIRECTORY/BRIDGE.mgmt`, a bridge of Open vSwitch, which is then
    /// programmed in its place
    #[arg(long, value_name = "NAME|unix:PATH", default_value = "br-int")]
    bridge: WhichBridge,
    /// The gateway's device
    #[arg(long, value_name = "NAME", default_value = "antrea-gw0")]
    gateway: String,
    /// The tunnel port
    #[arg(long, value_name = "NAME", default_value = "antrea-tun0")]
    tunnel: String,
    /// The encapsulation between nodes
    #[arg(long, value_enum, default_value_t = Encapsulation::Vxlan)]
    tunnel_type: Encapsulation,
    /// Where ClusterIPs are
    #[arg(long, value_name = "SUBNET", default_value_t = Subnet::DEFAULT_SERVICE_CIDR)]
    service_cidr: Subnet,
    /// How frames are moved by our own bridge
    #[arg(long, value_enum, default_value_t = DatapathKind::Auto)]
    datapath: DatapathKind,
    /// Where the ebpf datapath is pinned, so that packets go on without the agent [default:
    /// /sys/fs/bpf/footbridge/BRIDGE]
    #[arg(long, value_name = "DIR")]
    pins: Option<PathBuf>,
    /// What to log: error, warn, info, debug, trace, also by module
    #[arg(long, value_name = "FILTER", env = "FOOTBRIDGE_LOG", default_value = "info")]
    log: String,
}

/// Where the agent reads the cluster: one of these.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct ClusterArguments {
    /// The cluster: Kubernetes v1 objects in YAML; watched for changes
    #[arg(long, value_name = "FILE")]
    cluster: Option<PathBuf>,
    /// The cluster: the API server of this kubeconfig's current context, whose Nodes are watched
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The cluster: that of the pod which the agent runs in, as its service account
    #[arg(long)]
    in_cluster: bool,
}

impl ClusterArguments {
    /// One is given: clap has seen to it.
    fn choice(self) -> ClusterFrom {
        match (self.cluster, self.kubeconfig) {
            (Some(file), _) => ClusterFrom::File(file),
            (None, Some(file)) => ClusterFrom::Kubeconfig(file),
            (None, None) => ClusterFrom::InCluster,
        }
    }
}

/// Which bridge the agent programs.
#[derive(Debug, Clone)]
enum WhichBridge {
    /// Its own, of this name.
    Own(String),
    /// One of Open vSwitch's.
    OpenVswitch(OvsAddress),
}

impl FromStr for WhichBridge {
    type Err = OvsAddressError;

    /// A name has no colon.
    fn from_str(text: &str) -> Result<WhichBridge, OvsAddressError> {
        match text.contains(':') {
            true => text.parse().map(WhichBridge::OpenVswitch),
            false => Ok(WhichBridge::Own(text.to_owned())),
        }
    }
}

/// The encapsulation between nodes.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Encapsulation {
    /// RFC 7348
    Vxlan,
    /// RFC 8926
    Geneve,
}

impl Encapsulation {
    /// The word on the command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Encapsulation::Vxlan => "vxlan",
            Encapsulation::Geneve => "geneve",
        }
    }
}

/// How frames are moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DatapathKind {
    /// As userspace, as long as ebpf lacks some of what OpenFlow clients may ask for
    Auto,
    /// In the kernel
    Ebpf,
    /// In this process
    Userspace,
}

impl DatapathKind {
    /// The word on the command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            DatapathKind::Auto => "auto",
            DatapathKind::Ebpf => "ebpf",
            DatapathKind::Userspace => "userspace",
        }
    }

    /// The same for the datapath.
    pub(crate) fn choice(self) -> DatapathChoice {
        match self {
            DatapathKind::Auto => DatapathChoice::Auto,
            DatapathKind::Ebpf => DatapathChoice::Ebpf,
            DatapathKind::Userspace => DatapathChoice::Userspace,
        }
    }
}

impl Arguments {
    /// Run until told to end.
    pub(crate) fn run(self) -> ExitCode {
        match self.start() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error, 1),
        }
    }

    fn start(self) -> Result<(), Box<dyn Error>> {
        if let Some(netns) = &self.netns {
            netns::enter(netns)?;
        }
        log_to_stderr(&self.log)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut signals = Signals::new()?;
            let ended = async {
                let signal = signals.next().await;
                tracing::info!(%signal, "asked to end");
            };
            agent::run(self.config(), ended).await.map_err(Box::<dyn Error>::from)
        })?;
        Ok(())
    }

    fn config(self) -> AgentConfig {
        let (bridge, ovs) = match self.bridge {
            WhichBridge::Own(name) => (name, None),
            WhichBridge::OpenVswitch(address) => (address.bridge().to_owned(), Some(address)),
        };
        let (datapath, pins) =
            (self.datapath.choice(), self.pins.unwrap_or_else(|| pins::directory([&bridge[..]])));
        let node = NodeConfig {
            node: self.node,
            bridge,
            gateway: self.gateway,
            tunnel: self.tunnel,
            tunnel_type: match self.tunnel_type {
                Encapsulation::Vxlan => TunnelType::Vxlan,
                Encapsulation::Geneve => TunnelType::Geneve,
            },
            service_cidr: self.service_cidr,
        };
        let (cluster, run_dir, state_dir) = (self.cluster.choice(), self.run_dir, self.state_dir);
        AgentConfig { node, cluster, run_dir, state_dir, ovs, datapath, pins }
    }
}
