//! `footbridge agent`: what each node runs.

mod settings;

pub(crate) use settings::{DatapathKind, Encapsulation, LogFormat, Mode};

use crate::cli::lab::Signals;
use crate::cli::{Logging, check, fail};
use crate::lab::netns;
use crate::lab::record::{RUN, STATE};
use clap::Args;
use footbridge_datapath::ebpf::pins;
use footbridge_node::agent::{self, AgentConfig};
use footbridge_node::{ClusterFrom, NodeConfig};
use settings::{Settings, WhichBridge};
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

/// Run a node's agent: bridge, flows, routes, devices.
///
/// Runs until SIGTERM or SIGINT; devices, routes and guards then stay as they are, so that the network
/// is neither opened nor torn down; an Open vSwitch goes on forwarding, and so does the ebpf datapath (see
/// `footbridge detach`). Exit status 0 after a clean end, 1 when it could not start.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A file of settings, YAML: its keys are the names of the flags below, which win over it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Enter this network namespace first
    #[arg(long, value_name = "NAME|PATH")]
    netns: Option<String>,
    #[command(flatten)]
    settings: Settings,
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
        let settings = match &self.config {
            Some(path) => self.settings.or(Settings::load(path)?),
            None => self.settings,
        };
        let logging = Logging::of(settings.log.as_deref(), settings.log_format.unwrap_or_default())?;
        let config = config(settings)?;
        if let Some(netns) = &self.netns {
            netns::enter(netns)?;
        }
        let lacking = check::lacking(check::AGENT_NEEDS);
        if !lacking.is_empty() {
            return Err(format!(
                "the agent needs root, or at least {}: run it as root",
                lacking.join(" and ")
            )
            .into());
        }
        logging.start();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut signals = Signals::new()?;
            let ended = async {
                let signal = signals.next().await;
                tracing::info!(%signal, "asked to end");
            };
            agent::run(config, ended).await.map_err(Box::<dyn Error>::from)
        })?;
        Ok(())
    }
}

/// What neither flags nor file say has its default here.
fn config(settings: Settings) -> Result<AgentConfig, Box<dyn Error>> {
    let node = settings.node.ok_or("which node is this? Say --node NAME, or `node:` in the --config file")?;
    let cluster = match (settings.cluster, settings.kubeconfig, settings.in_cluster.unwrap_or_default()) {
        (Some(file), None, false) => ClusterFrom::File(file),
        (None, Some(file), false) => ClusterFrom::Kubeconfig(file),
        (None, None, true) => ClusterFrom::InCluster,
        (None, None, false) => {
            return Err("where is the cluster? Say --cluster FILE, --kubeconfig FILE or --in-cluster, or the same in \
                        the --config file"
                .into());
        }
        _ => {
            return Err(
                "where is the cluster? One of cluster, kubeconfig and in-cluster, in flags and file together"
                    .into(),
            );
        }
    };
    let mut node = NodeConfig::new(node);
    let ovs = match settings.bridge {
        None => None,
        Some(WhichBridge::Own(name)) => {
            node.bridge = name;
            None
        }
        Some(WhichBridge::OpenVswitch(address)) => {
            node.bridge = address.bridge().to_owned();
            Some(address)
        }
    };
    let set = |to: &mut String, from: Option<String>| {
        if let Some(from) = from {
            *to = from;
        }
    };
    set(&mut node.gateway, settings.gateway);
    set(&mut node.tunnel, settings.tunnel);
    node.encap = settings.encap.map_or(node.encap, Mode::encap_mode);
    node.tunnel_udp_port = settings.tunnel_udp_port.map(u16::from);
    node.mtu = settings.mtu;
    node.uplink = settings.uplink;
    node.masquerade = settings.masquerade.unwrap_or(node.masquerade);
    node.tunnel_type = settings.tunnel_type.map_or(node.tunnel_type, Encapsulation::tunnel_type);
    node.service_cidr = settings.service_cidr.unwrap_or(node.service_cidr);
    Ok(AgentConfig {
        cluster,
        run_dir: settings.run_dir.unwrap_or_else(|| RUN.into()),
        state_dir: settings.state_dir.unwrap_or_else(|| STATE.into()),
        ovs,
        datapath: settings.datapath.unwrap_or(DatapathKind::Auto).choice(),
        pins: settings.pins.unwrap_or_else(|| pins::directory([&node.bridge[..]])),
        node,
    })
}
