//! `footbridge flows`, `fdb`, `ports`, `conntrack`: what a running bridge says of itself.

use crate::cli::{fail, print};
use crate::lab::record::{Places, RUN};
use clap::{Args, ValueEnum};
use footbridge_switch::control::{Client, ClientError, ConnectionRow, FdbRow, PortRow, Reply, Request};
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Which bridge.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// The node of the lab; without it, the bridge of the node this runs on
    #[arg(long, value_name = "NODE")]
    node: Option<String>,
    /// The lab that the node is in
    #[arg(long, value_name = "LAB", default_value = "article", requires = "node")]
    name: String,
    /// Where the bridge's sockets are
    #[arg(long, value_name = "DIR", env = "FOOTBRIDGE_RUN_DIR", default_value = RUN, hide_env_values = true)]
    run_dir: PathBuf,
    /// The bridge
    #[arg(long, default_value = "br-int")]
    bridge: String,
    /// As JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// Print the bridge's flows, as `ovs-ofctl dump-flows --no-stats --names` does.
#[derive(Debug, Args)]
pub(crate) struct Flows {
    #[command(flatten)]
    which: Which,
    /// Which flows, as ovs-ofctl takes it: `table=10`, `table=70,ip`, `cookie=0x1020000000000/-1`
    filter: Option<String>,
    /// With counters and ages
    #[arg(long)]
    stats: bool,
    /// Ports by number
    #[arg(long)]
    no_names: bool,
}

/// Print the MAC addresses that the bridge has learned.
#[derive(Debug, Args)]
pub(crate) struct Fdb {
    #[command(flatten)]
    which: Which,
}

/// Print the bridge's ports.
#[derive(Debug, Args)]
pub(crate) struct Ports {
    #[command(flatten)]
    which: Which,
    /// With what passed, and what was dropped and why
    #[arg(long)]
    stats: bool,
}

/// Print or flush the connections that the bridge tracks.
#[derive(Debug, Args)]
pub(crate) struct Conntrack {
    #[command(flatten)]
    which: Which,
    /// Only this zone
    #[arg(long)]
    zone: Option<u16>,
    /// Forget them instead
    action: Option<ConntrackAction>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ConntrackAction {
    Flush,
}

impl Which {
    fn ask(&self, request: &Request) -> Result<Reply, ClientError> {
        Client::connect(&self.socket())?.ask(request)
    }

    /// The bridge's control socket.
    pub(super) fn socket(&self) -> PathBuf {
        let dir = match &self.node {
            Some(node) => Places::of(&self.name).node_run(node),
            None => self.run_dir.clone(),
        };
        dir.join(format!("{}.ctl", self.bridge))
    }

    /// Ask, and print the answer: as it is for JSON, else by `text`.
    pub(super) fn show(&self, request: &Request, text: impl FnOnce(&Reply) -> String) -> ExitCode {
        match self.ask(request) {
            Ok(reply) if self.json => match serde_json::to_string_pretty(&reply) {
                Ok(json) => print(&(json + "\n")),
                Err(error) => fail(&error, 1),
            },
            Ok(reply) => print(&text(&reply)),
            Err(error) => fail(&error, 1),
        }
    }
}

impl Flows {
    /// Run it.
    pub(crate) fn run(self) -> ExitCode {
        let request = Request::Flows {
            filter: self.filter.clone().unwrap_or_default(),
            no_names: self.no_names,
            stats: self.stats,
        };
        self.which.show(&request, |reply| match reply {
            Reply::Flows { flows } => flows.iter().map(|flow| flow.text.clone() + "\n").collect(),
            _ => String::new(),
        })
    }
}

impl Fdb {
    /// Run it.
    pub(crate) fn run(self) -> ExitCode {
        self.which.show(&Request::Fdb {}, |reply| match reply {
            Reply::Fdb { entries } => fdb_text(entries),
            _ => String::new(),
        })
    }
}

impl Ports {
    /// Run it.
    pub(crate) fn run(self) -> ExitCode {
        self.which.show(&Request::Ports {}, |reply| match reply {
            Reply::Ports { ports } => ports_text(ports, self.stats),
            _ => String::new(),
        })
    }
}

impl Conntrack {
    /// Run it.
    pub(crate) fn run(self) -> ExitCode {
        let zone = self.zone;
        let request = match self.action {
            None => Request::Conntrack { zone },
            Some(ConntrackAction::Flush) => Request::FlushConntrack { zone },
        };
        self.which.show(&request, |reply| match reply {
            Reply::Conntrack { connections } => connections.iter().map(connection_text).collect(),
            Reply::FlushConntrack { flushed } => format!("{flushed} connections forgotten\n"),
            _ => String::new(),
        })
    }
}

/// As `ovs-appctl fdb/show` has it, with the port's name.
fn fdb_text(entries: &[FdbRow]) -> String {
    let mut text = format!("{:>5}  {:>4}  {:<17}  {:>4}  {}\n", "port", "VLAN", "MAC", "age", "name");
    for entry in entries {
        let name = entry.name.as_deref().unwrap_or("");
        let _infallible = writeln!(
            text,
            "{:>5}  {:>4}  {:<17}  {:>4}  {name}",
            entry.port, entry.vlan, entry.mac, entry.age
        );
    }
    text
}

fn ports_text(ports: &[PortRow], stats: bool) -> String {
    let mut text = format!("{:>5}  {:<16}  {:<7}  {:<7}  {}\n", "port", "name", "kind", "link", "device");
    for port in ports {
        let device = port.device.as_deref().unwrap_or("-");
        let _infallible = writeln!(
            text,
            "{:>5}  {:<16}  {:<7}  {:<7}  {device}",
            port.number, port.name, port.kind, port.link
        );
        if stats {
            for (way, traffic) in [("rx", &port.rx), ("tx", &port.tx)] {
                let _infallible = writeln!(
                    text,
                    "       {way}: {} packets, {} bytes, {} errors",
                    traffic.packets, traffic.bytes, traffic.errors
                );
            }
            for (reason, packets) in &port.drops {
                let _infallible = writeln!(text, "       dropped: {packets} {reason}");
            }
        }
    }
    text
}

fn connection_text(connection: &ConnectionRow) -> String {
    connection.text.clone() + "\n"
}
