//! What `footbridge agent` can be told, by flags or in a file.
//!
//! [`Settings`] is the one list: each field is a flag (`--service-cidr 10.96.0.0/12`) and, under the same
//! name, a key of the file that `--config` names (`service-cidr: 10.96.0.0/12`), with one parser for
//! both. A flag wins over the file, the file over the default. A key that is none, one that stands
//! twice, and a value that can't be are errors that name the file and the line.

use clap::{Args, ValueEnum};
use footbridge_datapath::DatapathChoice;
use footbridge_node::bridge::ovs::{OvsAddress, OvsAddressError};
use footbridge_node::{EncapMode, Subnet, TunnelType};
use serde::{Deserialize, Deserializer, de};
use std::fmt;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Everything that has a default, or may be left out of flags or file.
#[derive(Debug, Default, Args, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// Which of the cluster's nodes this is
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// The cluster: Kubernetes v1 objects in YAML; watched for changes
    #[arg(long, value_name = "FILE")]
    pub(crate) cluster: Option<PathBuf>,
    /// The cluster: the API server of this kubeconfig's current context, whose Nodes are watched
    #[arg(long, value_name = "FILE", conflicts_with = "cluster")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The cluster: that of the pod which the agent runs in, as its service account
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true", conflicts_with_all = ["cluster", "kubeconfig"])]
    pub(crate) in_cluster: Option<bool>,
    /// Where sockets and the pid file are [default: /run/footbridge]
    #[arg(long, value_name = "DIR")]
    pub(crate) run_dir: Option<PathBuf>,
    /// Where port numbers and the round are kept [default: /var/lib/footbridge]
    #[arg(long, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Our own bridge's name; or `unix:DIRECTORY/BRIDGE.mgmt`, a bridge of Open vSwitch, which is then
    /// programmed in its place [default: br-int]
    #[arg(long, value_name = "NAME|unix:PATH")]
    #[serde(deserialize_with = "parsed")]
    pub(crate) bridge: Option<WhichBridge>,
    /// The gateway's device [default: antrea-gw0]
    #[arg(long, value_name = "NAME")]
    pub(crate) gateway: Option<String>,
    /// The tunnel port [default: antrea-tun0]
    #[arg(long, value_name = "NAME")]
    pub(crate) tunnel: Option<String>,
    /// How packets go to other nodes' pods [default: encap]
    #[arg(long, value_enum, value_name = "MODE")]
    #[serde(deserialize_with = "word")]
    pub(crate) encap: Option<Mode>,
    /// The tunnels' protocol [default: vxlan]
    #[arg(long, value_enum, value_name = "PROTOCOL")]
    #[serde(deserialize_with = "word")]
    pub(crate) tunnel_type: Option<Encapsulation>,
    /// The tunnels' UDP port [default: 4789 for vxlan, 6081 for geneve]
    #[arg(long, value_name = "PORT")]
    pub(crate) tunnel_udp_port: Option<NonZeroU16>,
    /// The pods' MTU [default: the uplink's, less 50 where there are tunnels]
    #[arg(long, value_name = "BYTES")]
    pub(crate) mtu: Option<u32>,
    /// The device to other nodes [default: the one that has this node's address]
    #[arg(long, value_name = "NAME")]
    pub(crate) uplink: Option<String>,
    /// Whether what pods send out of the cluster gets the node's address [default: true]
    #[arg(long, value_name = "true|false")]
    pub(crate) masquerade: Option<bool>,
    /// Where ClusterIPs are [default: 10.96.0.0/12]
    #[arg(long, value_name = "SUBNET")]
    #[serde(deserialize_with = "parsed")]
    pub(crate) service_cidr: Option<Subnet>,
    /// How frames are moved by our own bridge [default: auto]
    #[arg(long, value_enum)]
    #[serde(deserialize_with = "word")]
    pub(crate) datapath: Option<DatapathKind>,
    /// Where the ebpf datapath is pinned, so that packets go on without the agent [default:
    /// /sys/fs/bpf/footbridge/BRIDGE]
    #[arg(long, value_name = "DIR")]
    pub(crate) pins: Option<PathBuf>,
    /// What to log: error, warn, info, debug, trace, also by module [default: what RUST_LOG says, else
    /// info]
    #[arg(long, value_name = "FILTER", env = "FOOTBRIDGE_LOG", hide_env_values = true)]
    pub(crate) log: Option<String>,
    /// How to log: lines for people, or JSON objects, one a line [default: text]
    #[arg(long, value_enum)]
    #[serde(deserialize_with = "word")]
    pub(crate) log_format: Option<LogFormat>,
}

/// A file of settings could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// It can't be read.
    #[error("can't read the configuration {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What is in it is wrong.
    #[error("{file}:{line}:{column}: {what}")]
    Invalid {
        /// Its name.
        file: String,
        /// From 1.
        line: u64,
        /// From 1.
        column: u64,
        /// What is wrong there.
        what: String,
    },
}

impl Settings {
    /// Read a file.
    ///
    /// # Errors
    /// It can't be read, or the first thing that is wrong in it.
    pub(crate) fn load(path: &Path) -> Result<Settings, SettingsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
        Settings::parse(&path.display().to_string(), &text)
    }

    /// Read a text; `file` is what errors call it. An empty one says nothing.
    pub(crate) fn parse(file: &str, text: &str) -> Result<Settings, SettingsError> {
        let options = serde_saphyr::options! { with_snippet: false };
        let read: Result<Option<Settings>, _> = serde_saphyr::from_str_with_options(text, options);
        read.map(Option::unwrap_or_default).map_err(|error| {
            let (line, column) = error.location().map_or((1, 1), |at| (at.line().max(1), at.column().max(1)));
            let words = serde_saphyr::UserMessageFormatter;
            let what = serde_saphyr::MessageFormatter::format_message(&words, error.without_snippet());
            SettingsError::Invalid { file: file.to_owned(), line, column, what: what.into_owned() }
        })
    }

    /// These, and where they say nothing what `others` say.
    pub(crate) fn or(self, mut others: Settings) -> Settings {
        // One place for the cluster stands for all three of them.
        if self.cluster.is_some() || self.kubeconfig.is_some() || self.in_cluster == Some(true) {
            (others.cluster, others.kubeconfig, others.in_cluster) = (None, None, None);
        }
        Settings {
            node: self.node.or(others.node),
            cluster: self.cluster.or(others.cluster),
            kubeconfig: self.kubeconfig.or(others.kubeconfig),
            in_cluster: self.in_cluster.or(others.in_cluster),
            run_dir: self.run_dir.or(others.run_dir),
            state_dir: self.state_dir.or(others.state_dir),
            bridge: self.bridge.or(others.bridge),
            gateway: self.gateway.or(others.gateway),
            tunnel: self.tunnel.or(others.tunnel),
            encap: self.encap.or(others.encap),
            tunnel_type: self.tunnel_type.or(others.tunnel_type),
            tunnel_udp_port: self.tunnel_udp_port.or(others.tunnel_udp_port),
            mtu: self.mtu.or(others.mtu),
            uplink: self.uplink.or(others.uplink),
            masquerade: self.masquerade.or(others.masquerade),
            service_cidr: self.service_cidr.or(others.service_cidr),
            datapath: self.datapath.or(others.datapath),
            pins: self.pins.or(others.pins),
            log: self.log.or(others.log),
            log_format: self.log_format.or(others.log_format),
        }
    }
}

/// A value that is written as on the command line.
fn parsed<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    let text: Option<String> = Option::deserialize(deserializer)?;
    text.map(|text| text.parse().map_err(de::Error::custom)).transpose()
}

/// One of the words that the command line takes.
fn word<'de, T: ValueEnum, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
    let known = || {
        let values = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        values.map(|value| value.get_name().to_owned()).collect::<Vec<_>>().join(", ")
    };
    T::from_str(&text, false)
        .map(Some)
        .map_err(|_| de::Error::custom(format_args!("'{text}' is none of {}", known())))
}

/// Which bridge the agent programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum WhichBridge {
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

/// How packets go to other nodes' pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    /// Through tunnels
    Encap,
    /// Routed by the hosts, as they are
    #[value(name = "noencap", alias = "noEncap")]
    NoEncap,
    /// Routed to nodes in the uplink's subnet, through tunnels to others
    Hybrid,
}

impl Mode {
    /// The same for the node.
    pub(crate) fn encap_mode(self) -> EncapMode {
        match self {
            Mode::Encap => EncapMode::Encap,
            Mode::NoEncap => EncapMode::NoEncap,
            Mode::Hybrid => EncapMode::Hybrid,
        }
    }
}

/// The tunnels' protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
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

    /// The same for the node.
    pub(crate) fn tunnel_type(self) -> TunnelType {
        match self {
            Encapsulation::Vxlan => TunnelType::Vxlan,
            Encapsulation::Geneve => TunnelType::Geneve,
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

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One object a line: timestamp, level, target, and fields with the message among them
    Json,
}

#[cfg(test)]
mod tests;
