//! The bundles of one connection.
//!
//! OpenFlow 1.4.1 §6.8. A bundle holds its messages as they came, decoded once to refuse bad ones at
//! once and again when it is committed: flows decoded are several times as large.

use super::convert::{self, Failure};
use super::hub::{Hub, reserve};
use super::limit;
use crate::FlowMod;
use footbridge_datapath::PacketOut;
use footbridge_openflow::wire::bundle::flag;
use footbridge_openflow::wire::{
    BundleAdd, BundleCommand, BundleControl, Context, ErrorCode, Message, Refusal,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// All bundles of a connection.
pub(super) struct Bundles {
    hub: Arc<Hub>,
    open: BTreeMap<u32, Bundle>,
    bytes: usize,
}

struct Bundle {
    flags: u16,
    closed: bool,
    /// The messages, one behind the other.
    messages: Vec<u8>,
}

/// What a control message asks for, when it is right.
pub(super) enum Step {
    /// To be told that it was done.
    Done(BundleCommand),
    /// To carry these messages out.
    Commit(Vec<u8>),
}

impl Bundles {
    pub(super) fn new(hub: Arc<Hub>) -> Bundles {
        Bundles { hub, open: BTreeMap::new(), bytes: 0 }
    }

    pub(super) fn control(&mut self, message: BundleControl) -> Result<Step, Failure> {
        let BundleControl { id, command, flags } = message;
        match command {
            BundleCommand::OpenRequest => {
                if self.open.contains_key(&id) {
                    self.discard(id);
                    return Err(ErrorCode::BfcBadId.into());
                }
                self.begin(id, flags)?;
                Ok(Step::Done(BundleCommand::OpenReply))
            }
            BundleCommand::CloseRequest => {
                let bundle = self.get(id)?;
                if bundle.closed {
                    self.discard(id);
                    return Err(ErrorCode::BfcBundleClosed.into());
                }
                if bundle.flags != flags {
                    self.discard(id);
                    return Err(ErrorCode::BfcBadFlags.into());
                }
                bundle.closed = true;
                Ok(Step::Done(BundleCommand::CloseReply))
            }
            BundleCommand::CommitRequest => {
                let bundle = self.get(id)?;
                if bundle.flags != flags {
                    self.discard(id);
                    return Err(ErrorCode::BfcBadFlags.into());
                }
                Ok(Step::Commit(self.discard(id)))
            }
            BundleCommand::DiscardRequest => {
                self.get(id)?;
                self.discard(id);
                Ok(Step::Done(BundleCommand::DiscardReply))
            }
            BundleCommand::OpenReply
            | BundleCommand::CloseReply
            | BundleCommand::CommitReply
            | BundleCommand::DiscardReply => Err(ErrorCode::BfcBadType.into()),
        }
    }

    /// Add a message; its bundle is opened by that if it is not there.
    pub(super) fn add(&mut self, message: &BundleAdd, context: Context<'_>) -> Result<(), Failure> {
        let BundleAdd { id, flags, message } = message;
        drop(Member::decode(message, context)?);
        match self.open.get(id) {
            None => self.begin(*id, *flags)?,
            Some(bundle) if bundle.closed => {
                self.discard(*id);
                return Err(ErrorCode::BfcBundleClosed.into());
            }
            Some(bundle) if bundle.flags != *flags => {
                self.discard(*id);
                return Err(ErrorCode::BfcBadFlags.into());
            }
            Some(_) => {}
        }
        let bytes = message.len();
        if self.bytes + bytes > limit::BUNDLE_BYTES || !reserve(&self.hub.bundled, bytes) {
            return Err(ErrorCode::BfcMsgTooMany.into());
        }
        self.bytes += bytes;
        self.get(*id)?.messages.extend_from_slice(message);
        Ok(())
    }

    fn begin(&mut self, id: u32, flags: u16) -> Result<(), Failure> {
        if flags & !(flag::ATOMIC | flag::ORDERED) != 0 {
            return Err(ErrorCode::BfcBadFlags.into());
        }
        if self.open.len() >= limit::BUNDLES {
            return Err(ErrorCode::BfcOutOfBundles.into());
        }
        self.open.insert(id, Bundle { flags, closed: false, messages: Vec::new() });
        Ok(())
    }

    fn get(&mut self, id: u32) -> Result<&mut Bundle, Failure> {
        self.open.get_mut(&id).ok_or_else(|| ErrorCode::BfcBadId.into())
    }

    fn discard(&mut self, id: u32) -> Vec<u8> {
        let messages = self.open.remove(&id).map(|bundle| bundle.messages).unwrap_or_default();
        self.bytes -= messages.len();
        self.hub.bundled.fetch_sub(messages.len(), Ordering::Relaxed);
        messages
    }
}

impl Drop for Bundles {
    fn drop(&mut self) {
        self.hub.bundled.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A message of a bundle.
pub(super) enum Member {
    Flow(FlowMod),
    Packet(PacketOut),
}

impl Member {
    pub(super) fn decode(message: &[u8], context: Context<'_>) -> Result<Member, Failure> {
        let (_, message) = Message::decode(message, context)?;
        match message {
            Message::FlowMod(flow_mod) => convert::flow_mod(flow_mod).map(Member::Flow),
            Message::PacketOut(packet) => convert::packet_out(packet).map(Member::Packet),
            _ => Err(Refusal::new(ErrorCode::BfcMsgUnsup, "a bundle").into()),
        }
    }
}

/// Why a bundle was not committed, and the message to blame.
pub(super) struct CommitFailure {
    pub(super) message: Vec<u8>,
    pub(super) failure: Failure,
}

/// Carry out the messages of a bundle: all flow mods as one, then the packets.
pub(super) fn commit(
    hub: &Hub,
    messages: &[u8],
    context: Context<'_>,
    origin: crate::Origin,
) -> Result<(), CommitFailure> {
    let mut packets = Vec::new();
    let mut rest = messages;
    let mut last: &[u8] = &[];
    let flow_mods = std::iter::from_fn(|| {
        loop {
            (last, rest) = first_message(rest)?;
            match Member::decode(last, context) {
                Ok(Member::Flow(flow_mod)) => return Some(Ok(flow_mod)),
                Ok(Member::Packet(packet)) => packets.push(packet),
                Err(failure) => return Some(Err(failure)),
            }
        }
    });
    let changed = hub.bridge.change(flow_mods, Some(origin)).map_err(Failure::from);
    let sent = changed.and_then(|()| {
        packets.into_iter().try_for_each(|packet| hub.bridge.packet_out(packet)).map_err(Failure::from)
    });
    sent.map_err(|failure| CommitFailure { message: last.to_vec(), failure })
}

/// The first of messages that stand one behind the other, and the rest.
fn first_message(messages: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = messages.get(2..4)?.try_into().ok().map(u16::from_be_bytes)?;
    messages.split_at_checked(length.into()).filter(|(message, _)| !message.is_empty())
}
