//! `footbridge switch` and `footbridge port`: an OpenFlow switch alone, without a node's agent.

use crate::cli::agent::{DatapathKind, LogFormat};
use crate::cli::lab::Signals;
use crate::cli::show::Which;
use crate::cli::{Logging, fail};
use crate::lab::netns;
use crate::lab::record::RUN;
use clap::{Args, Subcommand};
use footbridge_datapath::ebpf::pins;
use footbridge_openflow::wire::TlvTable;
use footbridge_switch::Bridge;
use footbridge_switch::control::{self, PortRequest, Reply, Request, Server};
use footbridge_switch::openflow::{Endpoint, OpenFlow, OpenFlowConfig};
use std::error::Error;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Run an OpenFlow switch alone, for ovs-ofctl or any controller.
///
/// Without flows it drops everything (fail-mode secure); a controller that goes away leaves the flows as
/// they are. With --datapath ebpf, a switch that follows one that was killed goes on with that one's flows until the
/// first change of its own, which replaces them all. ovs-ofctl finds it with OVS_RUNDIR set to the run directory. Runs until SIGTERM or SIGINT.
/// Devices should have no addresses: the host's own stack still sees what they receive.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The bridge
    #[arg(long, value_name = "NAME", default_value = "br0", value_parser = bridge_name)]
    bridge: String,
    /// A port: NAME[=NUMBER][,device=DEVICE], or NAME[=NUMBER],type=vxlan|geneve[,udp=PORT][,vni=N][,local=IP]
    #[arg(long = "port", value_name = "PORT")]
    ports: Vec<PortRequest>,
    /// Connect to this controller: tcp:ADDRESS[:PORT] or unix:PATH
    #[arg(long = "controller", value_name = "ENDPOINT")]
    controllers: Vec<Endpoint>,
    /// Listen here, too: tcp:ADDRESS[:PORT] or unix:PATH. Whoever connects may change everything
    #[arg(long = "listen", value_name = "ENDPOINT")]
    listen: Vec<Endpoint>,
    /// The datapath id, in hex; one made of the host's and the bridge's names without
    #[arg(long, value_name = "HEX", value_parser = datapath_id)]
    dpid: Option<u64>,
    /// Where sockets are
    #[arg(long, value_name = "DIR", default_value = RUN)]
    run_dir: PathBuf,
    /// Enter this network namespace first
    #[arg(long, value_name = "NAME|PATH")]
    netns: Option<String>,
    /// How frames are moved
    #[arg(long, value_enum, default_value_t = DatapathKind::Auto)]
    datapath: DatapathKind,
    /// Where the ebpf datapath is pinned, so that packets go on when the switch is killed [default:
    /// /sys/fs/bpf/footbridge/BRIDGE]
    #[arg(long, value_name = "DIR")]
    pins: Option<PathBuf>,
    /// What to log: error, warn, info, debug, trace, also by module [default: what RUST_LOG says, else
    /// info]
    #[arg(long, value_name = "FILTER", env = "FOOTBRIDGE_LOG", hide_env_values = true)]
    log: Option<String>,
    /// How to log: lines for people, or JSON objects, one a line
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

/// Take away what an ebpf datapath left when it was killed, or when its agent ended: nothing is attached any more.
#[derive(Debug, Args)]
pub(crate) struct Detach {
    /// The bridge
    #[arg(long, value_name = "NAME", default_value = "br-int", value_parser = bridge_name)]
    bridge: String,
    /// Where it is pinned [default: /sys/fs/bpf/footbridge/BRIDGE]
    #[arg(long, value_name = "DIR")]
    pins: Option<PathBuf>,
}

impl Detach {
    /// Do it.
    pub(crate) fn run(self) -> ExitCode {
        let pins = self.pins.unwrap_or_else(|| pins::directory([&self.bridge[..]]));
        match pins::detach(&pins) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error, 1),
        }
    }
}

/// Attach and detach ports of a running switch.
#[derive(Debug, Args)]
pub(crate) struct Port {
    #[command(subcommand)]
    command: PortCommand,
}

#[derive(Debug, Subcommand)]
enum PortCommand {
    /// Attach a port
    Add {
        /// NAME[=NUMBER][,device=DEVICE], or NAME[=NUMBER],type=vxlan|geneve[,udp=PORT][,vni=N][,local=IP]
        port: PortRequest,
        #[command(flatten)]
        which: Which,
    },
    /// Detach a port
    Del {
        /// Its name or its number
        port: String,
        #[command(flatten)]
        which: Which,
    },
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
        let logging = Logging::of(self.log.as_deref(), self.log_format)?;
        if let Some(netns) = &self.netns {
            netns::enter(netns)?;
        }
        logging.start();
        let in_run_dir = |error| format!("can't make {}: {error}", self.run_dir.display());
        DirBuilder::new().recursive(true).mode(0o700).create(&self.run_dir).map_err(in_run_dir)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.serve())
    }

    async fn serve(self) -> Result<(), Box<dyn Error>> {
        let mut signals = Signals::new()?;
        let pins = self.pins.unwrap_or_else(|| pins::directory([&self.bridge[..]]));
        let bridge = Arc::new(Bridge::new(&self.bridge, self.datapath.choice().start(&pins)?)?);
        let socket = |kind: &str| self.run_dir.join(format!("{}.{kind}", self.bridge));
        let control = tokio::spawn(Server::bind(&socket("ctl"), Arc::clone(&bridge))?.run());
        for port in self.ports {
            control::add_port(&bridge, port)?;
        }
        let config = OpenFlowConfig {
            datapath_id: self.dpid.unwrap_or_else(|| OpenFlowConfig::derived_id(&self.bridge)),
            socket: Some(socket("mgmt")),
            snoop: Some(socket("snoop")),
            listen: self.listen,
            controllers: self.controllers,
            tlv: TlvTable::default(),
        };
        let openflow = OpenFlow::start(Arc::clone(&bridge), config)?;
        tracing::info!(bridge = self.bridge, socket = %socket("mgmt").display(), "ready");
        let signal = signals.next().await;
        tracing::info!(%signal, "asked to end");
        drop(openflow);
        control.abort();
        // It ends with the abort; only then is its socket gone.
        drop(control.await);
        bridge.detach()?;
        Ok(())
    }
}

impl Port {
    /// Ask the switch.
    pub(crate) fn run(self) -> ExitCode {
        let (which, request) = match self.command {
            PortCommand::Add { port, which } => (which, Request::AddPort { port }),
            PortCommand::Del { port, which } => (which, Request::DelPort { port }),
        };
        which.show(&request, |reply| match reply {
            Reply::PortAdded { number } => format!("port {number} added\n"),
            Reply::PortDeleted { number } => format!("port {number} deleted\n"),
            _ => String::new(),
        })
    }
}

/// What can be part of a socket's name.
fn bridge_name(text: &str) -> Result<String, &'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if text.is_empty() || text.starts_with('.') || !text.chars().all(plain) {
        return Err("a bridge's name has letters, digits, '.', '_' and '-' only");
    }
    Ok(text.to_owned())
}

fn datapath_id(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text).replace(':', "");
    u64::from_str_radix(&digits, 16).map_err(|error| format!("up to 16 hex digits: {error}"))
}
