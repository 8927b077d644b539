//! Starting the lab's processes, recording them, and hearing of those that end by themselves.

use super::plan::PodPlan;
use super::process::Process;
use super::record::{BridgeKind, Places};
use super::{Lab, LabError, status, web};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

/// How long an agent may take from its start until it is ready.
const READY_PATIENCE: Duration = Duration::from_secs(20);

/// What of the lab's nodes ends by itself ends the lab.
#[derive(Debug)]
pub(crate) struct Ended {
    program: &'static str,
    node: String,
    status: String,
}

/// The processes that end without being told to.
pub(crate) struct Endings(Option<mpsc::UnboundedReceiver<Ended>>);

impl Endings {
    /// The next; never, while all run.
    pub(crate) async fn next(&mut self) -> Ended {
        match &mut self.0 {
            Some(receiver) => match receiver.recv().await {
                Some(ended) => ended,
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }
}

/// The name of a node's agent among its programs.
const AGENT: &str = "agent";

impl Lab {
    /// Where to hear of processes of nodes that end without being told to. The first caller has it.
    pub(crate) fn processes_ended(&mut self) -> Endings {
        Endings(self.endings.take())
    }

    pub(super) fn start_agent(&mut self, node: &str) -> Result<(), LabError> {
        let (run, state) = (self.places.node_run(node), self.places.node_state(node));
        let mut command = Command::new(&self.program);
        command
            .arg("agent")
            .args(["--node", node])
            .arg("--cluster")
            .arg(&self.record.cluster)
            .args(["--netns", self.node(node).name()])
            .arg("--run-dir")
            .arg(&run)
            .arg("--state-dir")
            .arg(&state)
            .args(["--service-cidr", &self.record.service_cidr.to_string()])
            .args(["--encap", self.encap.name()])
            .args(["--tunnel-type", self.tunnel_type])
            .args(["--datapath", self.datapath])
            .arg("--pins")
            .arg(self.places.node_pins(node));
        if self.record.bridge == BridgeKind::OpenVswitch {
            command.args(["--bridge", &self.places.open_vswitch(node).to_string()]);
        }
        let child = self.start(command, &self.places.log(node), &format!("start the agent of {node}"))?;
        if let Some(member) = self.record.members.get_mut(node) {
            member.process = process(&child);
        }
        self.watch(AGENT, node, child);
        self.places.store(&self.record)
    }

    pub(super) fn start_web(&mut self, pod: &PodPlan) -> Result<(), LabError> {
        if pod.ports.is_empty() {
            return Ok(());
        }
        let mut command = Command::new(&self.program);
        command.arg("lab-web").args(["--netns", pod.namespace.name()]);
        for port in &pod.ports {
            command.args(["--port", &port.to_string()]);
        }
        command.arg(web::greeting(&pod.hostname, pod.address, pod.subnet.prefix()));
        let what = format!("start the web server of {}", pod.name);
        let child = self.start(command, &self.places.log(&pod.name), &what)?;
        if let Some(member) = self.record.members.get_mut(&pod.name) {
            member.process = process(&child);
        }
        self.places.store(&self.record)
    }

    /// Start a program of others on a node, which the agent needs.
    pub(super) fn start_daemon(
        &mut self,
        node: &str,
        program: &'static str,
        arguments: &[&str],
    ) -> Result<(), LabError> {
        // `lab exec` becomes the program, in the node's namespaces.
        let command = self.command(node, &[&[program], arguments].concat());
        let log = self.places.daemon_log(node, program);
        let child = self.start(command, &log, &format!("start {program} of {node}"))?;
        if let Some(member) = self.record.members.get_mut(node) {
            member.daemons.extend(process(&child));
        }
        self.watch(program, node, child);
        self.places.store(&self.record)
    }

    /// Start a process of the lab that outlives this one.
    fn start(&self, mut command: Command, log: &Path, what: &str) -> Result<Child, LabError> {
        let failed = |e: io::Error| LabError::io(what, e);
        let log = File::options().create(true).append(true).open(log).map_err(failed)?;
        let errors = log.try_clone().map_err(failed)?;
        // A group of its own: the terminal's Ctrl-C is for us, and we tell the others in good order.
        command.process_group(0).kill_on_drop(false);
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        command.spawn().map_err(failed)
    }

    fn watch(&mut self, program: &'static str, node: &str, mut child: Child) {
        let (owner, ended) = (node.to_owned(), self.ended.clone());
        let watch = tokio::spawn(async move {
            let status = match child.wait().await {
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            };
            // Nobody listens when the lab is on its way down.
            let _unheard = ended.send(Ended { program, node: owner, status });
        });
        self.watches.entry(node.to_owned()).or_default().push(watch);
    }

    pub(super) async fn wait_ready(&self, node: &str) -> Result<(), LabError> {
        let deadline = Instant::now() + READY_PATIENCE;
        loop {
            let why = match status::agent(&self.places.node_run(node)).await {
                status::Readiness::Ready => return Ok(()),
                status::Readiness::NotYet(why) => why,
            };
            if Instant::now() > deadline {
                return Err(LabError::NotReady {
                    node: node.to_owned(),
                    seconds: READY_PATIENCE.as_secs(),
                    why,
                    log: log_tail(&self.places.log(node)),
                });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The error that a process's end is.
pub(crate) fn process_ended(places: &Places, Ended { program, node, status }: Ended) -> LabError {
    let log = match program {
        AGENT => places.log(&node),
        program => places.daemon_log(&node, program),
    };
    LabError::ProcessEnded { program, node, status, log: log_tail(&log) }
}

fn process(child: &Child) -> Option<Process> {
    child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Process::with_pid)
}

fn log_tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].iter().map(|line| format!("    {line}\n")).collect()
}
