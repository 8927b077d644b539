//! What can go wrong with a lab, in words for its user.

use footbridge_node::Subnet;
use footbridge_node::cluster::ClusterError;
use nix::sys::signal::Signal;
use std::io;
use std::net::Ipv4Addr;
use std::process::ExitStatus;

/// Why a lab command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LabError {
    /// `lab up` of a name that is taken.
    #[error(
        "lab {name} is there already; `footbridge lab --name {name} status` shows it, `down` takes it away"
    )]
    There {
        /// The lab.
        name: String,
    },
    /// Anything else with a lab that isn't there.
    #[error("there is no lab {name}; `footbridge lab --name {name} up` makes it")]
    NotThere {
        /// The lab.
        name: String,
    },
    /// A namespace that is in the way and that no lab of ours recorded.
    #[error(
        "network namespace {0} is there already and belongs to no lab; choose another --name or remove it with `ip netns del {0}`"
    )]
    NamespaceTaken(String),
    /// The kernel refused something, or a file did.
    #[error("cannot {what}: {source}{}", hint(source))]
    Io {
        /// What was attempted.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// Netlink refused something.
    #[error("cannot {what}: {source}")]
    Netlink {
        /// What was attempted.
        what: String,
        /// Why it failed.
        source: rtnetlink::Error,
    },
    /// The cluster file was refused.
    #[error("{0}")]
    Cluster(#[from] ClusterError),
    /// The cluster is right, but not for a lab.
    #[error("{0}")]
    Plan(String),
    /// A service that the agents would not take for one.
    #[error(
        "service {name} has ClusterIP {cluster_ip}, which is not in the service CIDR {service_cidr}: say where the cluster has its ClusterIPs with --service-cidr"
    )]
    ServiceOutside {
        /// The service.
        name: String,
        /// Its address.
        cluster_ip: Ipv4Addr,
        /// What the lab was told.
        service_cidr: Subnet,
    },
    /// What of a lab could not be taken away; its record stays.
    #[error("not all of the lab could be taken away; still there: {}; try `down` again", .0.join("; "))]
    Left(Vec<String>),
    /// A program that the lab needs isn't installed.
    #[error(
        "the program {program} is missing; it is in Debian's package {package} (apt-get install {package})"
    )]
    MissingProgram {
        /// The program.
        program: &'static str,
        /// Its package.
        package: &'static str,
    },
    /// Open vSwitch can't make its devices.
    #[error(
        "this machine has no /dev/net/tun, which Open vSwitch's datapath in user space needs (modprobe tun)"
    )]
    NoTun,
    /// A pod's names have no file to stand over.
    #[error(
        "this machine has no /etc/hosts, over which a pod's names are mounted; make it: touch /etc/hosts"
    )]
    NoHostsFile,
    /// A program failed.
    #[error("{command} failed ({status}): {stderr}")]
    Command {
        /// What was run.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        stderr: String,
    },
    /// A program took too long.
    #[error("{command} did not end within {seconds} s")]
    TooSlow {
        /// What was run.
        command: String,
        /// How long it had.
        seconds: u64,
    },
    /// An agent, or a program that it needs, ended that should have run on.
    #[error("the {program} of {node} ended by itself ({status}); the last it said:\n{log}")]
    ProcessEnded {
        /// `agent`, or the program's name.
        program: &'static str,
        /// Its node.
        node: String,
        /// How it ended.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// An agent was not ready in time.
    #[error("the agent of {node} was not ready within {seconds} s: {why}; the last it said:\n{log}")]
    NotReady {
        /// Its node.
        node: String,
        /// How long it had.
        seconds: u64,
        /// What it waited for.
        why: String,
        /// The end of its log.
        log: String,
    },
    /// A bridge that gives no answer.
    #[error("cannot ask the bridge of {node}: {why}")]
    Control {
        /// Its node.
        node: String,
        /// Why.
        why: String,
    },
    /// No node or pod of that name.
    #[error("the lab has no node or pod {name}; it has: {}", names.join(", "))]
    UnknownMember {
        /// What was asked for.
        name: String,
        /// What there is.
        names: Vec<String>,
    },
    /// The command of `lab exec` could not be run.
    #[error("cannot run {program}: {source}")]
    Exec {
        /// The command.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// A signal asked the lab to end.
    #[error("interrupted by {0}")]
    Interrupted(Signal),
    /// Steps that did not hold.
    #[error("{} not hold", match .0.as_slice() { [one] => format!("step {one} did"), many => format!("steps {} did", many.join(", ")) })]
    StepsFailed(Vec<String>),
}

impl LabError {
    /// An [`LabError::Io`].
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> LabError {
        LabError::Io { what: what.into(), source }
    }

    /// The exit status that tells it to scripts: 3 a step did not hold, 4 an agent ended by itself,
    /// 126 and 127 as a shell has them for `lab exec`, 128 and the signal's number when
    /// interrupted, else 1.
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            LabError::StepsFailed(_) => 3,
            LabError::ProcessEnded { .. } => 4,
            LabError::Exec { source, .. } if source.kind() == io::ErrorKind::NotFound => 127,
            LabError::Exec { .. } => 126,
            LabError::Interrupted(signal) => 128 + (*signal as i32 as u8),
            _ => 1,
        }
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => " (the lab needs root: CAP_NET_ADMIN and CAP_SYS_ADMIN)",
        _ => "",
    }
}
