//! Bundles: messages that take effect together.
//!
//! OpenFlow 1.4.1 §7.3.9; for 1.3 ONF's extension 230 (experimenter messages 2300 and 2301).

use super::bytes::{Reader, U16, U32, layout, put};
use super::error::{EncodeError, ErrorCode, Refusal};
use super::header::{self, HEADER_LEN, Header};
use super::property::Properties;
use super::version::Version;
use super::{Context, ONF, kind, onf};

layout! {
    /// ofp_bundle_ctrl_msg, and ofp_bundle_add_msg with padding in the type's place
    struct Layout { id: U32, kind: U16, flags: U16, }
}

/// OFPBF_*: bits of a bundle's flags.
pub mod flag {
    /// All or nothing.
    pub const ATOMIC: u16 = 1;
    /// In order.
    pub const ORDERED: u16 = 2;
}

/// OFPBCT_*
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub enum BundleCommand {
    OpenRequest = 0,
    OpenReply = 1,
    CloseRequest = 2,
    CloseReply = 3,
    CommitRequest = 4,
    CommitReply = 5,
    DiscardRequest = 6,
    DiscardReply = 7,
}

const COMMANDS: [BundleCommand; 8] = [
    BundleCommand::OpenRequest,
    BundleCommand::OpenReply,
    BundleCommand::CloseRequest,
    BundleCommand::CloseReply,
    BundleCommand::CommitRequest,
    BundleCommand::CommitReply,
    BundleCommand::DiscardRequest,
    BundleCommand::DiscardReply,
];

/// OFPT_BUNDLE_CONTROL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BundleControl {
    /// The bundle, of this connection.
    pub id: u32,
    /// What to do, or what was done.
    pub command: BundleCommand,
    /// [`flag`]
    pub flags: u16,
}

/// OFPT_BUNDLE_ADD_MESSAGE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleAdd {
    /// The bundle.
    pub id: u32,
    /// [`flag`]
    pub flags: u16,
    /// The message, header included: of the same version and xid, and of a kind that bundles hold.
    pub message: Vec<u8>,
}

/// An OFPT_BUNDLE_ADD_MESSAGE where it was read: bundles may be of a million messages, which need not be
/// copied to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BundleAddView<'a> {
    /// The bundle.
    pub id: u32,
    /// [`flag`]
    pub flags: u16,
    /// As [`BundleAdd::message`].
    pub message: &'a [u8],
}

/// Write one of the two messages, as the version has it.
fn encode(
    context: Context<'_>,
    (kind, subtype): (u8, u32),
    xid: u32,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<Vec<u8>, EncodeError> {
    match context.version {
        Version::V10 => Err(EncodeError::Inexpressible { version: context.version, what: "a bundle" }),
        Version::V13 => header::vendor_message(context.version, ONF, subtype, xid, body),
        Version::V14 | Version::V15 => header::message(context.version, kind, xid, body),
    }
}

impl BundleControl {
    pub(crate) fn decode(body: &[u8]) -> Result<BundleControl, Refusal> {
        let mut reader = Reader::new(body, ErrorCode::BrcBadLen, "OFPT_BUNDLE_CONTROL");
        let layout: &Layout = reader.take()?;
        let command = COMMANDS
            .get(usize::from(layout.kind.get()))
            .ok_or(Refusal::new(ErrorCode::BfcBadType, "OFPT_BUNDLE_CONTROL"))?;
        let flags = layout.flags.get();
        if flags & !(flag::ATOMIC | flag::ORDERED) != 0 {
            return Err(Refusal::new(ErrorCode::BfcBadFlags, "OFPT_BUNDLE_CONTROL"));
        }
        if let Some(property) = Properties::new(reader.rest()).next() {
            property?;
            return Err(Refusal::new(ErrorCode::BpcBadType, "OFPT_BUNDLE_CONTROL"));
        }
        Ok(BundleControl { id: layout.id.get(), command: *command, flags })
    }

    /// A whole message.
    pub fn encode(&self, context: Context<'_>, xid: u32) -> Result<Vec<u8>, EncodeError> {
        encode(context, (kind::BUNDLE_CONTROL, onf::BUNDLE_CONTROL), xid, |out| {
            let (id, flags) = (U32::new(self.id), U16::new(self.flags));
            put(out, Layout { id, kind: U16::new(self.command as u16), flags });
            Ok(())
        })
    }
}

impl<'a> BundleAddView<'a> {
    /// The whole message, if it is one of 1.4 or later of this kind.
    pub fn of(bytes: &'a [u8], context: Context<'_>) -> Option<Result<BundleAddView<'a>, Refusal>> {
        let (header, body) = Header::decode(bytes).ok()?;
        let is_one = context.version >= Version::V14
            && header.version == context.version.wire()
            && header.kind == kind::BUNDLE_ADD;
        is_one.then(|| BundleAddView::decode(body, context, header.xid))
    }

    /// From the bytes behind the header of a message with this `xid`.
    fn decode(body: &'a [u8], context: Context<'_>, xid: u32) -> Result<BundleAddView<'a>, Refusal> {
        let refuse = |code| Refusal::new(code, "OFPT_BUNDLE_ADD_MESSAGE");
        let mut reader = Reader::new(body, ErrorCode::BrcBadLen, "OFPT_BUNDLE_ADD_MESSAGE");
        let layout: &Layout = reader.take()?;
        let inner = reader.rest();
        let length = match inner.get(..HEADER_LEN) {
            Some(&[version, _, high, low, ..]) => {
                if version != context.version.wire() {
                    return Err(refuse(ErrorCode::BfcBadVersion));
                }
                usize::from(u16::from_be_bytes([high, low]))
            }
            _ => return Err(refuse(ErrorCode::BfcMsgBadLen)),
        };
        let message = inner.get(..length).ok_or(refuse(ErrorCode::BfcMsgBadLen))?;
        let (header, _) = Header::decode(message).map_err(|_| refuse(ErrorCode::BfcMsgBadLen))?;
        if header.xid != xid {
            return Err(refuse(ErrorCode::BfcMsgBadXid));
        }
        let bundled = [kind::FLOW_MOD, kind::GROUP_MOD, kind::PACKET_OUT, kind::port_mod(context.version)];
        // NXT_FLOW_MOD is not among them, as with Open vSwitch's own clients.
        if !bundled.contains(&header.kind) {
            return Err(refuse(ErrorCode::BfcMsgUnsup));
        }
        Ok(BundleAddView { id: layout.id.get(), flags: layout.flags.get(), message })
    }
}

impl BundleAdd {
    /// From the bytes behind the header of a message with this `xid`.
    pub(crate) fn decode(body: &[u8], context: Context<'_>, xid: u32) -> Result<BundleAdd, Refusal> {
        let BundleAddView { id, flags, message } = BundleAddView::decode(body, context, xid)?;
        Ok(BundleAdd { id, flags, message: message.to_vec() })
    }

    /// The message as one that was just read.
    pub fn view(&self) -> BundleAddView<'_> {
        let BundleAdd { id, flags, message } = self;
        BundleAddView { id: *id, flags: *flags, message }
    }

    /// A whole message. The message inside has to have the same `xid`.
    pub fn encode(&self, context: Context<'_>, xid: u32) -> Result<Vec<u8>, EncodeError> {
        encode(context, (kind::BUNDLE_ADD, onf::BUNDLE_ADD), xid, |out| {
            let (id, flags) = (U32::new(self.id), U16::new(self.flags));
            put(out, Layout { id, kind: U16::ZERO, flags });
            out.extend_from_slice(&self.message);
            Ok(())
        })
    }
}
