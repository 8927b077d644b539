//! `footbridge lab` and its subcommands.

use crate::cli::agent::{DatapathKind, Encapsulation, Mode};
use crate::cli::{fail, print};
use crate::lab::record::{BridgeKind, Places};
use crate::lab::{self, Lab, LabError, Options, Source, exec, netns, status, web};
use clap::{Args, Subcommand};
use footbridge_node::Subnet;
use nix::sys::signal::Signal;
use std::ffi::OsString;
use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long the end of a process may take to be told.
const REAPING: Duration = Duration::from_millis(200);

/// Run a cluster's nodes as network namespaces on this machine.
///
/// Without a subcommand: up, walk through what the nodes do step by step, down. Everything is inside
/// namespaces; nothing of the host changes.
///
/// Exit status: 0 every step held; 1 an error; 2 wrong usage; 3 a step did not hold; 4 an agent (or its
/// Open vSwitch) ended by itself; 128 + n ended by signal n. `exec` passes on the command's own.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = false, verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// Its name; labs of different names run side by side
    #[arg(long, global = true, default_value = "article", value_parser = lab_name)]
    name: String,
    /// The cluster: a file of Kubernetes v1 objects (Node, Pod, Service) in YAML. A name without
    /// it: the article's three nodes; `small`: two nodes with other numbers
    #[arg(long, global = true, value_name = "FILE")]
    file: Option<PathBuf>,
    /// What the agents program
    #[arg(long, global = true, value_enum, default_value_t = BridgeKind::Footbridge)]
    bridge: BridgeKind,
    /// The datapath that the agents are told to use
    #[arg(long, global = true, value_enum, default_value_t = DatapathKind::Auto)]
    datapath: DatapathKind,
    /// How the agents are told to send packets to other nodes
    #[arg(long, global = true, value_enum, default_value_t = Mode::Encap)]
    encap: Mode,
    /// The tunnels' protocol that the agents are told to use
    #[arg(long, global = true, value_enum, default_value_t = Encapsulation::Vxlan)]
    tunnel_type: Encapsulation,
    /// Where the cluster has its ClusterIPs
    #[arg(long, global = true, value_name = "SUBNET", default_value_t = Subnet::DEFAULT_SERVICE_CIDR)]
    service_cidr: Subnet,
    #[command(subcommand)]
    command: Option<LabCommand>,
}

#[derive(Debug, Subcommand)]
enum LabCommand {
    /// Make the lab, return when it is ready, and leave it running
    Up,
    /// Run a command in a node or a pod
    Exec {
        /// The node or pod (or `underlay`)
        member: String,
        /// The command
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
    /// Show nodes and pods, their addresses, their agents
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Take the lab away, whatever state it is in
    Down,
}

/// The pods' web server.
#[derive(Debug, Args)]
pub(crate) struct WebArguments {
    #[arg(long)]
    netns: String,
    #[arg(long = "port", required = true)]
    ports: Vec<u16>,
    body: String,
}

impl Arguments {
    /// Run it.
    pub(crate) fn run(self) -> ExitCode {
        if !matches!(self.command, Some(LabCommand::Exec { .. })) {
            tracing_subscriber::fmt().with_writer(std::io::stderr).without_time().init();
        }
        let places = Places::of(&self.name);
        let outcome = match self.command {
            None => in_runtime(run_steps(self.options(true))),
            Some(LabCommand::Up) => in_runtime(up(self.options(false))),
            Some(LabCommand::Exec { member, command }) => Err(places
                .load()
                .map_or_else(|e| e, |record| exec::exec(&places, &record, &member, &command))),
            Some(LabCommand::Status { json }) => match in_runtime(status::text(&self.name, json)) {
                Ok(text) => return print(&text),
                Err(error) => Err(error),
            },
            Some(LabCommand::Down) => lab::down(&self.name),
        };
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error, error.exit_status()),
        }
    }

    fn options(&self, stays: bool) -> Options {
        let built_in = lab::FILES.iter().find(|(name, _)| {
            self.file.as_ref().is_none_or(|file| file.as_os_str() == *name && !file.exists())
        });
        let source = match (&self.file, built_in) {
            (_, Some((name, _))) => Source::BuiltIn(name),
            (Some(file), None) if stays => Source::Copied(file.clone()),
            (Some(file), None) => Source::Watched(file.clone()),
            (None, None) => Source::BuiltIn("article"),
        };
        Options {
            name: self.name.clone(),
            source,
            bridge: self.bridge,
            datapath: self.datapath.word(),
            encap: self.encap.encap_mode(),
            tunnel_type: self.tunnel_type.word(),
            service_cidr: self.service_cidr,
            stays,
        }
    }
}

impl WebArguments {
    /// Serve until killed.
    pub(crate) fn run(self) -> ExitCode {
        let outcome = netns::enter(&self.netns).and_then(|()| {
            in_runtime(async {
                web::serve(&self.ports, &self.body).await.map_err(|e| LabError::io("serve", e))
            })
        });
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error, error.exit_status()),
        }
    }
}

/// Up, and left running.
async fn up(options: Options) -> Result<(), LabError> {
    let mut signals = Signals::new()?;
    let mut lab = Lab::claim(&options)?;
    match guarded(&mut lab, &mut signals, async |lab| lab.build().await).await {
        Ok(()) => {
            let (nodes, pods) = (lab.plan.nodes.len(), lab.plan.pods.len());
            print(&format!("lab {} is up: {nodes} nodes, {pods} pods\n", options.name));
            Ok(())
        }
        Err(error) => Err(clean_up(&options.name, error)),
    }
}

/// Up, the steps, down.
async fn run_steps(options: Options) -> Result<(), LabError> {
    let mut signals = Signals::new()?;
    let mut lab = Lab::claim(&options)?;
    let outcome = guarded(&mut lab, &mut signals, async |lab| {
        lab.build().await?;
        lab::steps::run(lab).await
    })
    .await;
    drop(lab);
    match outcome {
        Ok(()) => lab::down(&options.name),
        Err(error) => Err(clean_up(&options.name, error)),
    }
}

/// Do `work` on the lab unless a signal or the end of an agent comes first.
async fn guarded(
    lab: &mut Lab,
    signals: &mut Signals,
    work: impl AsyncFnOnce(&mut Lab) -> Result<(), LabError>,
) -> Result<(), LabError> {
    let mut endings = lab.processes_ended();
    let places = Places::of(&lab.record.name);
    let error = tokio::select! {
        signal = signals.next() => return Err(LabError::Interrupted(signal)),
        ended = endings.next() => return Err(lab::process_ended(&places, ended)),
        outcome = work(lab) => match outcome {
            Ok(()) => return Ok(()),
            Err(error) => error,
        },
    };
    // What failed may have failed because an agent is gone, and that is then the thing to tell.
    match tokio::time::timeout(REAPING, endings.next()).await {
        Ok(ended) => Err(lab::process_ended(&places, ended)),
        Err(_) => Err(error),
    }
}

/// What asks a process to end: from `new` on, these signals no longer end it by themselves.
pub(crate) struct Signals([(Signal, tokio::signal::unix::Signal); 3]);

impl Signals {
    /// Begin to listen. Within a tokio runtime.
    pub(crate) fn new() -> Result<Signals, LabError> {
        let listen = |kind: SignalKind| signal(kind).map_err(|e| LabError::io("listen to signals", e));
        Ok(Signals([
            (Signal::SIGINT, listen(SignalKind::interrupt())?),
            (Signal::SIGTERM, listen(SignalKind::terminate())?),
            (Signal::SIGHUP, listen(SignalKind::hangup())?),
        ]))
    }

    /// The next to come.
    pub(crate) async fn next(&mut self) -> Signal {
        let [(int, on_int), (term, on_term), (hup, on_hup)] = &mut self.0;
        tokio::select! {
            _ = on_int.recv() => *int,
            _ = on_term.recv() => *term,
            _ = on_hup.recv() => *hup,
        }
    }
}

/// Take the lab down after `error`, which stays the one to tell.
fn clean_up(name: &str, error: LabError) -> LabError {
    if let Err(second) = lab::down(name) {
        tracing::error!("{second}");
    }
    error
}

fn in_runtime<T>(work: impl Future<Output = Result<T, LabError>>) -> Result<T, LabError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| LabError::io("start the runtime", e))?;
    runtime.block_on(work)
}

/// A lab's name is part of namespaces' and directories' names.
fn lab_name(text: &str) -> Result<String, String> {
    let fits = (1..=40).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && text.bytes().next().is_some_and(|b| b != b'-');
    match fits {
        true => Ok(text.to_owned()),
        false => Err("a lab's name is 1 to 40 of a-z, 0-9 and -, and does not begin with -".into()),
    }
}
