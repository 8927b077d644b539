//! OFPT_PACKET_OUT: a packet that the controller wants sent.
//!
//! OpenFlow 1.0.0 §5.3.6, 1.3.5 §7.3.7, 1.5.1 §7.3.6 (with a match in in_port's place).

use super::bytes::{Reader, U16, U32, layout, patch_u16, put};
use super::error::{EncodeError, ErrorCode, Refusal};
use super::header;
use super::matching::{self, Rigour, port_from_16, port_from_32, port_to_16};
use super::version::Version;
use super::{Context, NO_BUFFER, action, kind};
use crate::action::Action;
use crate::matching::Match;
use crate::port::PortNo;

layout! {
    /// ofp_packet_out (1.0)
    struct Layout10 { buffer_id: U32, in_port: U16, actions_len: U16, }
    /// ofp_packet_out (1.1 to 1.4)
    struct Layout11 { buffer_id: U32, in_port: U32, actions_len: U16, pad: [u8; 6], }
    /// ofp_packet_out (1.5), before the match
    struct Layout15 { buffer_id: U32, actions_len: U16, pad: [u8; 2], }
}

/// OFPT_PACKET_OUT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketOut {
    /// A packet that the switch keeps; None where `data` is the packet.
    pub buffer_id: Option<u32>,
    /// in_port, and from 1.5 on other pipeline fields.
    pub metadata: Match,
    /// What to do with it.
    pub actions: Vec<Action>,
    /// The packet.
    pub data: Vec<u8>,
}

impl PacketOut {
    /// Where the packet claims to come from.
    pub fn in_port(&self) -> PortNo {
        matching::in_port(&self.metadata).unwrap_or(PortNo::NONE)
    }

    pub(crate) fn decode(body: &[u8], context: Context<'_>) -> Result<PacketOut, Refusal> {
        const WHAT: &str = "OFPT_PACKET_OUT";
        let mut reader = Reader::new(body, ErrorCode::BrcBadLen, WHAT);
        let (buffer_id, metadata, actions_len) = match context.version {
            Version::V10 => {
                let l: &Layout10 = reader.take()?;
                (l.buffer_id, matching::from_port(port_from_16(l.in_port.get())), l.actions_len)
            }
            Version::V13 | Version::V14 => {
                let l: &Layout11 = reader.take()?;
                (
                    l.buffer_id,
                    matching::from_port(port_from_32(l.in_port.get(), ErrorCode::BrcBadPort)?),
                    l.actions_len,
                )
            }
            Version::V15 => {
                let l: &Layout15 = reader.take()?;
                let (metadata, _) = matching::decode_with(&mut reader, context, Rigour::Loose)?;
                (l.buffer_id, metadata, l.actions_len)
            }
        };
        let actions = action::decode_actions(reader.bytes(actions_len.get().into())?, context)?;
        action::check_order(&actions)?;
        let buffer_id = Some(buffer_id.get()).filter(|id| *id != NO_BUFFER);
        let data = if buffer_id.is_none() { reader.rest().to_vec() } else { Vec::new() };
        let bad_port = Refusal::new(ErrorCode::BrcBadPort, WHAT);
        match matching::in_port(&metadata).ok_or(bad_port)? {
            PortNo::LOCAL | PortNo::NONE | PortNo::CONTROLLER => {}
            PortNo(0..0xff00) => {}
            _ => return Err(bad_port),
        }
        Ok(PacketOut { buffer_id, metadata, actions, data })
    }

    /// A whole message.
    pub fn encode(&self, context: Context<'_>, xid: u32) -> Result<Vec<u8>, EncodeError> {
        header::message(context.version, kind::PACKET_OUT, xid, |out| {
            let start = out.len();
            let buffer_id = U32::new(self.buffer_id.unwrap_or(NO_BUFFER));
            let actions_len = U16::ZERO;
            let length_at = match context.version {
                Version::V10 => {
                    let in_port = U16::new(port_to_16(self.in_port()).unwrap_or(0xffff));
                    put(out, Layout10 { buffer_id, in_port, actions_len });
                    start + 6
                }
                Version::V13 | Version::V14 => {
                    let in_port = U32::new(self.in_port().0);
                    put(out, Layout11 { buffer_id, in_port, actions_len, pad: [0; 6] });
                    start + 8
                }
                Version::V15 => {
                    put(out, Layout15 { buffer_id, actions_len, pad: [0; 2] });
                    matching::encode(out, &self.metadata, context);
                    start + 4
                }
            };
            let before = out.len();
            action::encode_actions(out, &self.actions, context, &Match::any())?;
            let length = out.len() - before;
            patch_u16(out, length_at, length);
            if self.buffer_id.is_none() {
                out.extend_from_slice(&self.data);
            }
            Ok(())
        })
    }
}
