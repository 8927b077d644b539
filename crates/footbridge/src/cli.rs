//! The command line: one module a subcommand, each thin.

pub(crate) mod agent;
pub(crate) mod check;
pub(crate) mod cni;
pub(crate) mod install;
pub(crate) mod lab;
pub(crate) mod show;
pub(crate) mod story;
pub(crate) mod switch;
pub(crate) mod top;
pub(crate) mod ui;
pub(crate) mod verify;
pub(crate) mod walk;

use agent::LogFormat;
use clap::{Parser, Subcommand};
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// The pod network of a Kubernetes node: an OpenFlow bridge and the agent that programs it.
#[derive(Debug, Parser)]
#[command(name = "footbridge", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node's agent: bridge, flows, routes, devices
    Agent(agent::Arguments),
    /// Carry out a call of a container runtime, as a CNI plugin
    Cni(cni::Arguments),
    /// Install the CNI plugin and its configuration
    Install(install::Arguments),
    /// Run an OpenFlow switch alone, for ovs-ofctl or any controller
    Switch(switch::Arguments),
    /// Attach and detach ports of a running switch
    Port(switch::Port),
    /// Take away what an ebpf datapath left in the kernel
    Detach(switch::Detach),
    /// Run a cluster's nodes on this machine and walk through what they do
    Lab(lab::Arguments),
    /// Print the bridge's flows, as ovs-ofctl does
    Flows(show::Flows),
    /// Print the MAC addresses that the bridge has learned
    Fdb(show::Fdb),
    /// Print the bridge's ports
    Ports(show::Ports),
    /// Print or flush the bridge's connections
    Conntrack(show::Conntrack),
    /// Take a packet through a bridge's flows, or across nodes, without sending it
    Walk(walk::Arguments),
    /// Print flows and drops by rate, as they pass
    Top(top::Arguments),
    /// Serve a page that shows the bridge as it runs
    Ui(ui::Arguments),
    /// Prove or refute, over all packets, what a bridge's flows should do, offline
    Verify(verify::Arguments),
    /// Say what this machine has and lacks
    Check(check::Arguments),
    /// Serve a pod's web page
    #[command(hide = true)]
    LabWeb(lab::WebArguments),
}

impl Cli {
    /// Do what the user asked for.
    pub(crate) fn run(self) -> ExitCode {
        match self.command {
            Command::Agent(arguments) => arguments.run(),
            Command::Cni(arguments) => arguments.run(),
            Command::Install(arguments) => arguments.run(),
            Command::Switch(arguments) => arguments.run(),
            Command::Port(arguments) => arguments.run(),
            Command::Detach(arguments) => arguments.run(),
            Command::Lab(arguments) => arguments.run(),
            Command::Flows(arguments) => arguments.run(),
            Command::Fdb(arguments) => arguments.run(),
            Command::Ports(arguments) => arguments.run(),
            Command::Conntrack(arguments) => arguments.run(),
            Command::Walk(arguments) => arguments.run(),
            Command::Top(arguments) => arguments.run(),
            Command::Ui(arguments) => arguments.run(),
            Command::Verify(arguments) => arguments.run(),
            Command::Check(arguments) => arguments.run(),
            Command::LabWeb(arguments) => arguments.run(),
        }
    }
}

/// Say what went wrong, as all commands do.
pub(crate) fn fail(error: &dyn std::fmt::Display, status: u8) -> ExitCode {
    eprintln!("footbridge: {error}");
    ExitCode::from(status)
}

/// Where log lines of a long-running command go, which is to standard error, and how.
pub(crate) struct Logging {
    filter: EnvFilter,
    format: LogFormat,
}

impl Logging {
    /// Let through what `filter` says; without one what RUST_LOG says, else `info`.
    ///
    /// # Errors
    /// The filter is none.
    pub(crate) fn of(filter: Option<&str>, format: LogFormat) -> Result<Logging, String> {
        let from_environment = std::env::var(EnvFilter::DEFAULT_ENV).ok();
        let (what, filter) = match (filter, &from_environment) {
            (Some(filter), _) => ("--log ", filter),
            (None, Some(filter)) => ("RUST_LOG=", filter.as_str()),
            (None, None) => ("--log ", "info"),
        };
        // The API server's refusals are said by the agent, once.
        let filter = EnvFilter::try_new(format!("kube_runtime=error,{filter}"))
            .map_err(|error| format!("{what}{filter}: {error}"))?;
        Ok(Logging { filter, format })
    }

    /// Log from here on. Once a process.
    pub(crate) fn start(self) {
        let lines = tracing_subscriber::fmt()
            .with_env_filter(self.filter)
            .with_writer(std::io::stderr)
            .with_ansi(false);
        match self.format {
            LogFormat::Text => lines.init(),
            LogFormat::Json => lines.json().init(),
        }
    }
}

/// Print to standard output, colours only to a terminal (and as NO_COLOR and CLICOLOR say). A reader that has
/// had enough is no error.
pub(crate) fn print(text: &str) -> ExitCode {
    use std::io::Write;
    match anstream::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => fail(&format_args!("cannot print: {error}"), 1),
    }
}
