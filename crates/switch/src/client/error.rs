//! Why a bridge could not be programmed or read.

use super::Address;
use footbridge_openflow::wire::{
    EncodeError, ErrorKind, FramingError, Refusal, TlvMapping, Version, Versions,
};
use std::fmt;
use std::io;
use std::time::Duration;

/// What failed, where, and why.
#[derive(Debug, thiserror::Error)]
#[error("can't {attempt} the bridge at {address}: {why}")]
pub struct ClientError {
    /// The bridge.
    pub address: Address,
    /// Why.
    #[source]
    pub why: Failure,
    attempt: Attempt,
}

/// What was attempted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    Connect,
    Flows,
    Ports,
    PortStats,
    Changes,
    TunnelOptions,
    Watch,
}

/// Why it failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nobody is there.
    #[error("nothing listens there")]
    NotListening,
    /// The socket, or what came of it.
    #[error("{0}")]
    Io(#[source] io::Error),
    /// It closed the connection.
    #[error("it hung up{}", midway(*.pending))]
    HungUp {
        /// Bytes of a message whose rest never came.
        pending: usize,
    },
    /// It did not go on in time.
    #[error("it did not answer within {} s{}", .after.as_secs_f32(), midway(*.pending))]
    TimedOut {
        /// The patience it was given.
        after: Duration,
        /// Bytes of a message whose rest did not come.
        pending: usize,
    },
    /// An earlier call lost the stream.
    #[error("an earlier call lost the connection")]
    Lost,
    /// What it says is no OpenFlow.
    #[error("it speaks no OpenFlow: {0}")]
    Framing(#[from] FramingError),
    /// There is no version in common that has bundles.
    #[error(
        "it speaks {}; one of {} is needed (of Open vSwitch: ovs-vsctl set bridge BRIDGE protocols=OpenFlow10,OpenFlow14)",
        VersionsText(*.spoken),
        VersionsText(Versions::of(&[Version::V13, Version::V14, Version::V15]))
    )]
    Version {
        /// What it speaks.
        spoken: Versions,
    },
    /// An answer could not be read.
    #[error("its answer can't be read: {0}")]
    Unreadable(#[source] Refusal),
    /// An answer is too long.
    #[error("its answer is longer than {limit} bytes")]
    TooLong {
        /// How long it may be.
        limit: usize,
    },
    /// A request can't be said.
    #[error(transparent)]
    Encode(EncodeError),
    /// It refused.
    #[error("it refuses: {0}")]
    Refused(Reason),
    /// It refused one of several changes. None is made.
    #[error("it refuses {0}")]
    RefusedChange(RefusedChange),
    /// A change can't be said in the version spoken. None is made.
    #[error("it can't be told of change {} of {of} ({change}): {source}", .index + 1)]
    Inexpressible {
        /// Which change, from 0.
        index: usize,
        /// How many there are.
        of: usize,
        /// The change, in words.
        change: String,
        /// Why.
        source: EncodeError,
    },
    /// A tunnel option or a field is mapped otherwise.
    #[error(
        "it has tunnel option {} as tun_metadata{}, where {} as tun_metadata{} is wanted (of Open vSwitch: ovs-ofctl del-tlv-map BRIDGE)",
        OptionText(*.taken), .taken.index, OptionText(*.wanted), .wanted.index
    )]
    OptionTaken {
        /// What is mapped.
        taken: TlvMapping,
        /// What was to be.
        wanted: TlvMapping,
    },
}

/// A change that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("change {} of {of} ({change}): {reason}", .index + 1)]
pub struct RefusedChange {
    /// Which change, from 0.
    pub index: usize,
    /// How many there are.
    pub of: usize,
    /// The change, in words.
    pub change: String,
    /// The bridge's reason.
    pub reason: Reason,
}

/// What an OFPT_ERROR said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason(pub ErrorKind);

impl ClientError {
    pub(super) fn new(address: &Address, attempt: Attempt, why: Failure) -> ClientError {
        ClientError { address: address.clone(), why, attempt }
    }
}

impl Failure {
    /// Whether the connection is lost by it. After others the next call is as good as any.
    pub fn ends_connection(&self) -> bool {
        match self {
            Failure::NotListening
            | Failure::Io(_)
            | Failure::HungUp { .. }
            | Failure::TimedOut { .. }
            | Failure::Lost
            | Failure::Framing(_)
            | Failure::Version { .. } => true,
            Failure::Unreadable(_)
            | Failure::TooLong { .. }
            | Failure::Encode(_)
            | Failure::Refused(_)
            | Failure::RefusedChange(_)
            | Failure::Inexpressible { .. }
            | Failure::OptionTaken { .. } => false,
        }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Attempt::Connect => "connect to",
            Attempt::Flows => "read the flows of",
            Attempt::Ports => "read the ports of",
            Attempt::PortStats => "read the port counters of",
            Attempt::Changes => "change the flows of",
            Attempt::TunnelOptions => "map tunnel options of",
            Attempt::Watch => "watch",
        })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ErrorKind::Known(code) => write!(f, "{code}"),
            ErrorKind::Unknown { vendor: None, kind, code } => write!(f, "error type {kind} code {code}"),
            ErrorKind::Unknown { vendor: Some(vendor), kind, code } => {
                write!(f, "error type {kind} code {code} of experimenter {vendor:#x}")
            }
        }
    }
}

fn midway(pending: usize) -> String {
    if pending == 0 { String::new() } else { format!(", {pending} bytes into a message") }
}

struct VersionsText(Versions);

/// `OpenFlow10, OpenFlow13`; those that we don't speak by their number on the wire.
impl fmt::Display for VersionsText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for number in (0..32_u8).filter(|number| self.0.0 & (1 << number) != 0) {
            match Version::from_wire(number) {
                Some(version) => write!(f, "{separator}{version}")?,
                None => write!(f, "{separator}wire version {number}")?,
            }
            separator = ", ";
        }
        if separator.is_empty() { f.write_str("no version at all") } else { Ok(()) }
    }
}

struct OptionText(TlvMapping);

/// As `ovs-ofctl add-tlv-map` takes it.
impl fmt::Display for OptionText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TlvMapping { option_class, option_type, option_len, .. } = self.0;
        write!(f, "{{class={option_class:#x},type={option_type:#x},len={option_len}}}")
    }
}
