//! The bundles of one connection.
//!
//! OpenFlow 1.4.1 §6.8. Messages are decoded as they come, so that bad ones are refused at once and
//! a commit has only to carry out. What a bundle may hold is counted in the bytes that came; decoded,
//! a flow takes about three times as many, and the same ones later as a flow of the bridge.

use super::convert::{self, Failure};
use super::hub::{Hub, reserve};
use super::limit;
use crate::{ChangeError, Ready};
use footbridge_datapath::PacketOut;
use footbridge_openflow::wire::bundle::flag;
use footbridge_openflow::wire::{
    BundleAddView, BundleCommand, BundleControl, Context, ErrorCode, Message, Refusal,
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
    contents: Contents,
}

/// The messages of a bundle.
#[derive(Default)]
pub(super) struct Contents {
    flow_mods: Vec<Ready>,
    /// Of each of them, for the error that may be about it.
    beginnings: Vec<Beginning>,
    packets: Vec<PacketOut>,
    /// As many as came.
    bytes: usize,
}

/// As much of a message as an error quotes; shorter ones are padded with zeros.
type Beginning = [u8; QUOTED];
const QUOTED: usize = 64;

/// What a control message asks for, when it is right.
pub(super) enum Step {
    /// To be told that it was done.
    Done(BundleCommand),
    /// To carry these messages out.
    Commit(Contents),
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
    pub(super) fn add(&mut self, message: BundleAddView<'_>, context: Context<'_>) -> Result<(), Failure> {
        let BundleAddView { id, flags, message } = message;
        let (_, decoded) = Message::decode(message, context)?;
        let member = Member::of(decoded)?;
        match self.open.get(&id) {
            None => self.begin(id, flags)?,
            Some(bundle) if bundle.closed => {
                self.discard(id);
                return Err(ErrorCode::BfcBundleClosed.into());
            }
            Some(bundle) if bundle.flags != flags => {
                self.discard(id);
                return Err(ErrorCode::BfcBadFlags.into());
            }
            Some(_) => {}
        }
        let bytes = message.len();
        if self.bytes + bytes > limit::BUNDLE_BYTES || !reserve(&self.hub.bundled, bytes) {
            return Err(ErrorCode::BfcMsgTooMany.into());
        }
        self.bytes += bytes;
        let contents = &mut self.get(id)?.contents;
        contents.bytes += bytes;
        match member {
            Member::Flow(flow_mod) => {
                let mut beginning = [0; QUOTED];
                let quoted = message.iter().zip(&mut beginning);
                quoted.for_each(|(from, to)| *to = *from);
                contents.flow_mods.push(flow_mod);
                contents.beginnings.push(beginning);
            }
            Member::Packet(packet) => contents.packets.push(packet),
        }
        Ok(())
    }

    fn begin(&mut self, id: u32, flags: u16) -> Result<(), Failure> {
        if flags & !(flag::ATOMIC | flag::ORDERED) != 0 {
            return Err(ErrorCode::BfcBadFlags.into());
        }
        if self.open.len() >= limit::BUNDLES {
            return Err(ErrorCode::BfcOutOfBundles.into());
        }
        self.open.insert(id, Bundle { flags, closed: false, contents: Contents::default() });
        Ok(())
    }

    fn get(&mut self, id: u32) -> Result<&mut Bundle, Failure> {
        self.open.get_mut(&id).ok_or_else(|| ErrorCode::BfcBadId.into())
    }

    fn discard(&mut self, id: u32) -> Contents {
        let contents = self.open.remove(&id).map(|bundle| bundle.contents).unwrap_or_default();
        self.bytes -= contents.bytes;
        self.hub.bundled.fetch_sub(contents.bytes, Ordering::Relaxed);
        contents
    }
}

impl Drop for Bundles {
    fn drop(&mut self) {
        self.hub.bundled.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A message of a bundle.
enum Member {
    Flow(Ready),
    Packet(PacketOut),
}

impl Member {
    fn of(message: Message) -> Result<Member, Failure> {
        match message {
            Message::FlowMod(flow_mod) => convert::ready(flow_mod).map(Member::Flow),
            Message::PacketOut(packet) => convert::packet_out(packet).map(Member::Packet),
            _ => Err(Refusal::new(ErrorCode::BfcMsgUnsup, "a bundle").into()),
        }
    }
}

/// Why a bundle was not committed, and the message to blame, where it was one.
pub(super) struct CommitFailure {
    pub(super) message: Option<Vec<u8>>,
    pub(super) failure: Failure,
}

/// Carry out the messages of a bundle: all flow mods as one, then the packets.
pub(super) fn commit(hub: &Hub, contents: Contents, origin: crate::Origin) -> Result<(), CommitFailure> {
    let Contents { flow_mods, beginnings, packets, bytes: _ } = contents;
    hub.bridge.change(flow_mods.into_iter().map(Ok::<_, Failure>), Some(origin)).map_err(|error| {
        let blamed = match &error {
            ChangeError::Refused { index, .. } => beginnings.get(*index),
            ChangeError::Datapath(_) => None,
        };
        CommitFailure { message: blamed.map(quoted), failure: error.into() }
    })?;
    packets
        .into_iter()
        .try_for_each(|packet| hub.bridge.packet_out(packet))
        .map_err(|error| CommitFailure { message: None, failure: error.into() })
}

/// The beginning without its padding.
fn quoted(beginning: &Beginning) -> Vec<u8> {
    let length = usize::from(u16::from_be_bytes([beginning[2], beginning[3]]));
    beginning[..length.min(QUOTED)].to_vec()
}
