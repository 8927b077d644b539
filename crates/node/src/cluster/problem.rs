//! What can be wrong with a cluster file.

use crate::subnet::{Subnet, SubnetError};
use core::fmt;
use footbridge_openflow::MacAddr;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// The cluster can't be had.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The file can't be read.
    #[error("can't read the cluster file {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What is in it is not a cluster.
    #[error("{}", list(file, problems))]
    Invalid {
        /// The text's name.
        file: String,
        /// All of them, by line.
        problems: Vec<Problem>,
    },
    /// An API server does not say, or not any more.
    #[error("no word from the API server {server}, trying again: {reason}")]
    Server {
        /// Its URL.
        server: String,
        /// What went wrong last.
        reason: String,
    },
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// From 1.
    pub line: u64,
    /// From 1.
    pub column: u64,
    /// `Pod default/web`, where that is known.
    pub object: Option<String>,
    /// What.
    pub kind: ProblemKind,
}

/// What is wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what each field is")]
pub enum ProblemKind {
    #[error("{0}")]
    Yaml(String),
    #[error("no apiVersion and kind: every object names its kind")]
    NoKind,
    #[error(
        "kind {kind} of {api_version} does not belong here: the file holds Node, Pod and Service of v1, \
         lists of them, and NetworkPolicy of networking.k8s.io/v1"
    )]
    WrongKind { api_version: String, kind: String },
    #[error("metadata.name is missing")]
    NoName,
    #[error("{what} '{}' is not as RFC 1123 says: {allowed}", name.escape_debug())]
    BadName { what: &'static str, name: String, allowed: &'static str },
    #[error("defined twice; the first is in line {first_line}")]
    DefinedTwice { first_line: u64 },
    #[error("pod subnet: {0}")]
    Subnet(SubnetError),
    #[error("pod subnet {0} overlaps addresses that are no host's (0.0.0.0/8, 127.0.0.0/8, 224.0.0.0/3)")]
    NobodysSubnet(Subnet),
    #[error("{0} is no host's address")]
    NobodysAddress(Ipv4Addr),
    #[error("pod subnet {subnet} overlaps with {other_subnet} of node {other} (line {other_line})")]
    SubnetsOverlap { subnet: Subnet, other: String, other_subnet: Subnet, other_line: u64 },
    #[error("'{0}' is not an IPv4 address (IPv6 comes with a later milestone)")]
    Address(String),
    #[error("address {address} is also that of {other} (line {other_line})")]
    AddressTaken { address: Ipv4Addr, other: String, other_line: u64 },
    #[error("runs on node '{0}', which the file does not have")]
    UnknownNode(String),
    #[error("address {address} is outside the pod subnet {subnet} of its node {node}")]
    OutsideSubnet { address: Ipv4Addr, node: String, subnet: Subnet },
    #[error("address {address} is the {what} address of its node's pod subnet {subnet}")]
    ReservedAddress { address: Ipv4Addr, what: &'static str, subnet: Subnet },
    #[error("annotation {annotation}: {why}")]
    Annotation { annotation: &'static str, why: String },
    #[error("{what} {value} is also that of {other} (line {other_line}) on the same node")]
    TakenOnNode { what: &'static str, value: String, other: String, other_line: u64 },
    #[error("MAC address {0} is the global virtual MAC, which stands for every peer's gateway")]
    VirtualMac(MacAddr),
    #[error("{0}")]
    Service(String),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.object {
            Some(object) => write!(f, "{object}: {}", self.kind),
            None => write!(f, "{}", self.kind),
        }
    }
}

fn list(file: &str, problems: &[Problem]) -> String {
    let line = |problem: &Problem| format!("{file}:{}:{}: {problem}", problem.line, problem.column);
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}
