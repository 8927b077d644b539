//! What a lab wrote down of itself, so that any later process can show it and take it away.
//!
//! The record names a thing before the thing is made: after a kill at any point, whatever exists is
//! in the record (a name too many does no harm).

use super::LabError;
use super::process::Process;
use clap::ValueEnum;
use footbridge_datapath::ebpf::pins;
use footbridge_node::Subnet;
use footbridge_node::bridge::ovs::OvsAddress;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Where running things of Footbridge are.
pub(crate) const RUN: &str = "/run/footbridge";
/// Where lasting things of Footbridge are.
pub(crate) const STATE: &str = "/var/lib/footbridge";

/// Present below [`RUN`] when a lab made the directory of namespace names.
const MADE_NAMES: &str = ".made-netns-directory";

/// The directories of one lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    name: String,
}

/// A lab's record, as it stands in `lab.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Its name.
    pub(crate) name: String,
    /// The cluster file that the agents watch.
    pub(crate) cluster: PathBuf,
    /// The underlay's namespace.
    pub(crate) underlay: String,
    /// Where the ClusterIPs are.
    #[serde(with = "subnet_text")]
    pub(crate) service_cidr: Subnet,
    /// What the agents program.
    #[serde(default)]
    pub(crate) bridge: BridgeKind,
    /// The process that builds the lab or runs the steps, and takes the lab down by itself when it is
    /// asked to end; None after `lab up`.
    pub(crate) runner: Option<Process>,
    /// Whether everything was ready once.
    pub(crate) ready: bool,
    /// Nodes and pods, by name.
    pub(crate) members: BTreeMap<String, Member>,
}

/// A node or a pod of the lab.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Member {
    /// Which of the two.
    #[serde(flatten)]
    pub(crate) kind: MemberKind,
    /// Its network namespace.
    pub(crate) namespace: String,
    /// The node's address on the underlay, or the pod's.
    pub(crate) address: Ipv4Addr,
    /// The node's agent, or the pod's web server.
    pub(crate) process: Option<Process>,
    /// What a node runs beside its agent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) daemons: Vec<Process>,
}

/// The bridge of a lab's nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BridgeKind {
    /// The agent's own
    #[default]
    Footbridge,
    /// An Open vSwitch on each node, its datapath in user space
    #[value(name = "ovs")]
    OpenVswitch,
}

/// Node or pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum MemberKind {
    /// A node.
    Node,
    /// A pod and the node it is on.
    Pod {
        /// The node's name.
        node: String,
    },
}

impl Places {
    /// The directories of the lab of that name.
    pub(crate) fn of(name: &str) -> Places {
        Places { name: name.to_owned() }
    }

    /// The lab's running things.
    pub(crate) fn run(&self) -> PathBuf {
        Path::new(RUN).join(&self.name)
    }

    /// The lab's lasting things.
    pub(crate) fn state(&self) -> PathBuf {
        Path::new(STATE).join(&self.name)
    }

    /// A node's run directory.
    pub(crate) fn node_run(&self, node: &str) -> PathBuf {
        self.run().join(node)
    }

    /// A node's state directory.
    pub(crate) fn node_state(&self, node: &str) -> PathBuf {
        self.state().join(node)
    }

    /// Where the lab's datapaths are pinned, one directory a node.
    fn pins(&self) -> PathBuf {
        pins::directory([&self.name[..]])
    }

    /// Where a node's datapath is pinned.
    pub(crate) fn node_pins(&self, node: &str) -> PathBuf {
        pins::directory([&self.name[..], node])
    }

    /// A member's /etc/hosts.
    pub(crate) fn hosts(&self, member: &str) -> PathBuf {
        self.run().join("hosts").join(member)
    }

    /// What a member's process said.
    pub(crate) fn log(&self, member: &str) -> PathBuf {
        self.run().join("log").join(member)
    }

    /// What a program of others said that a node runs.
    pub(crate) fn daemon_log(&self, node: &str, program: &str) -> PathBuf {
        // No member's name has a colon.
        self.run().join("log").join(format!("{node}:{program}"))
    }

    /// A node's bridge, where Open vSwitch has it.
    pub(crate) fn open_vswitch(&self, node: &str) -> OvsAddress {
        OvsAddress::new(&self.node_run(node), super::ovs::BRIDGE)
    }

    /// The copy of the cluster file that the steps may change.
    pub(crate) fn cluster_copy(&self) -> PathBuf {
        self.run().join("cluster.yaml")
    }

    fn record(&self) -> PathBuf {
        self.run().join("lab.json")
    }

    /// Take the name: make the run directory. Refused when the lab is there.
    pub(crate) fn claim(&self) -> Result<(), LabError> {
        loop {
            let made_names = !Path::new(super::netns::NAMES).exists();
            fs::create_dir_all(RUN).map_err(|e| LabError::io(format!("make {RUN}"), e))?;
            match fs::DirBuilder::new().mode(0o700).create(self.run()) {
                Ok(()) if made_names => {
                    let marker = Path::new(RUN).join(MADE_NAMES);
                    return fs::write(&marker, "")
                        .map_err(|e| LabError::io(format!("write {}", marker.display()), e));
                }
                Ok(()) => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    return Err(LabError::There { name: self.name.clone() });
                }
                // Another lab went, and took the directory above with it.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(LabError::io(format!("make {}", self.run().display()), e)),
            }
        }
    }

    /// Read the record; `NotThere` when no lab has the name.
    pub(crate) fn load(&self) -> Result<Record, LabError> {
        if !self.run().exists() {
            return Err(LabError::NotThere { name: self.name.clone() });
        }
        let path = self.record();
        let failed = |e: io::Error| LabError::io(format!("read {}", path.display()), e);
        let text = fs::read(&path).map_err(failed)?;
        serde_json::from_slice(&text).map_err(|e| failed(e.into()))
    }

    /// Write the record, whole or not at all.
    pub(crate) fn store(&self, record: &Record) -> Result<(), LabError> {
        let path = self.record();
        let failed = |e: io::Error| LabError::io(format!("write {}", path.display()), e);
        let text = serde_json::to_vec_pretty(record).map_err(|e| failed(e.into()))?;
        replace(&path, &text).map_err(failed)
    }

    /// Remove all files of the lab, and the directories above when nothing else is in them.
    pub(crate) fn remove(&self) -> Result<(), LabError> {
        for dir in [self.run(), self.state()] {
            match fs::remove_dir_all(&dir) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(LabError::io(format!("remove {}", dir.display()), e));
                }
                _ => {}
            }
        }
        for node in fs::read_dir(self.pins()).into_iter().flatten().flatten() {
            let failed = |e| LabError::io(format!("detach {}", node.path().display()), io::Error::other(e));
            pins::detach(&node.path()).map_err(failed)?;
        }
        // Where there were none, nothing is there.
        let _gone = fs::remove_dir(self.pins());
        let marker = Path::new(RUN).join(MADE_NAMES);
        let last = fs::read_dir(RUN).is_ok_and(|entries| entries.flatten().all(|e| e.path() == marker));
        if last && marker.exists() {
            // Refused while other namespaces have names, which is as it should be.
            let _kept = fs::remove_dir(super::netns::NAMES);
            fs::remove_file(&marker).map_err(|e| LabError::io(format!("remove {}", marker.display()), e))?;
        }
        for dir in [RUN, STATE] {
            // Refused while another lab or a node uses it.
            let _kept = fs::remove_dir(dir);
        }
        Ok(())
    }
}

/// A subnet as its text.
mod subnet_text {
    use footbridge_node::Subnet;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(subnet: &Subnet, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(subnet)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Subnet, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// Replace a file's contents in one step: a reader sees the old or the new, never a part.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    fs::write(&temporary, contents)?;
    fs::rename(&temporary, path)
}
