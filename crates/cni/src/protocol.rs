//! What the plugin says to the node's agent, and is answered.
//!
//! A message is the length of its text as four bytes, big-endian, and the text, which is JSON. A connection carries one
//! [`Request`](crate::Request) and one [`Reply`]. With a request for a container whose network namespace the
//! plugin has opened goes the descriptor (SCM_RIGHTS, unix(7)), sent with the first byte: the agent may be in
//! another mount namespace, where the path leads nowhere.

use crate::{Error, MAX_CONFIG};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The longest message: the longest configuration, and room for the environment.
pub const MAX_MESSAGE: usize = MAX_CONFIG + (64 << 10);

/// The agent's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// It is done; what is to be printed, if anything.
    Done(Option<Value>),
    /// It could not be done.
    Failed(Error),
}

/// The head of a message of that many bytes; None where it is too long for one.
pub fn head(length: usize) -> Option<[u8; 4]> {
    let length = u32::try_from(length).ok().filter(|_| length <= MAX_MESSAGE)?;
    Some(length.to_be_bytes())
}

/// How long the message with this head is; None where it is too long to be read.
pub fn length(head: [u8; 4]) -> Option<usize> {
    usize::try_from(u32::from_be_bytes(head)).ok().filter(|length| *length <= MAX_MESSAGE)
}
