//! Roles of controllers.
//!
//! OpenFlow 1.3.5 §7.3.9 (ofp_role_request), nicira-ext's NXT_ROLE_REQUEST (10) and NXT_ROLE_REPLY (11).

use super::bytes::{Reader, U32, U64, layout, put};
use super::error::{EncodeError, ErrorCode, Refusal};
use super::header;
use super::{Context, Form, NICIRA, kind, nicira};

layout! {
    /// ofp_role_request
    struct Layout { role: U32, pad: [u8; 4], generation_id: U64, }
}

/// OFPCR_ROLE_*
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Role {
    /// Only ask which it is. Not in Nicira's form.
    NoChange = 0,
    /// Like any other: NX_ROLE_OTHER.
    Equal = 1,
    /// The one that may write; the one before becomes secondary.
    Primary = 2,
    /// Reads only.
    Secondary = 3,
}

/// A role request or reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleMessage {
    /// Nicira's form or the standard's.
    pub form: Form,
    /// The role asked for, or had.
    pub role: Role,
    /// Tells a new request from an old one.
    pub generation_id: Option<u64>,
}

fn role(number: u32) -> Result<Role, Refusal> {
    Ok(match number {
        0 => Role::NoChange,
        1 => Role::Equal,
        2 => Role::Primary,
        3 => Role::Secondary,
        _ => return Err(Refusal::new(ErrorCode::RrfcBadRole, "a role request")),
    })
}

/// generation_id of a reply that has none.
const NO_GENERATION: u64 = u64::MAX;

impl RoleMessage {
    pub(crate) fn decode(body: &[u8], is_request: bool) -> Result<RoleMessage, Refusal> {
        let mut reader = Reader::new(body, ErrorCode::BrcBadLen, "a role request");
        let layout: &Layout = reader.take()?;
        reader.end()?;
        let role = role(layout.role.get())?;
        let generation_id = Some(layout.generation_id.get())
            .filter(|id| if is_request { role != Role::NoChange } else { *id != NO_GENERATION });
        Ok(RoleMessage { form: Form::Standard, role, generation_id })
    }

    /// Nicira's, from the bytes behind the subtype.
    pub(crate) fn decode_nxt(body: &[u8]) -> Result<RoleMessage, Refusal> {
        let mut reader = Reader::new(body, ErrorCode::BrcBadLen, "NXT_ROLE_REQUEST");
        let number: &U32 = reader.take()?;
        reader.end()?;
        let role = role(number.get().saturating_add(1))?;
        Ok(RoleMessage { form: Form::Nicira, role, generation_id: None })
    }

    /// A whole request.
    pub fn encode_request(&self, context: Context<'_>, xid: u32) -> Result<Vec<u8>, EncodeError> {
        self.encode(context, kind::ROLE_REQUEST, nicira::ROLE_REQUEST, 0, xid)
    }

    /// A whole reply.
    pub fn encode_reply(&self, context: Context<'_>, xid: u32) -> Result<Vec<u8>, EncodeError> {
        self.encode(context, kind::ROLE_REPLY, nicira::ROLE_REPLY, NO_GENERATION, xid)
    }

    fn encode(
        &self,
        context: Context<'_>,
        kind: u8,
        subtype: u32,
        none: u64,
        xid: u32,
    ) -> Result<Vec<u8>, EncodeError> {
        let version = context.version;
        if self.form == Form::Nicira {
            let number = (self.role as u32)
                .checked_sub(1)
                .ok_or(EncodeError::Inexpressible { version, what: "a role query in Nicira's form" })?;
            return header::vendor_message(version, NICIRA, subtype, xid, |out| {
                put(out, U32::new(number));
                Ok(())
            });
        }
        header::message(version, kind, xid, |out| {
            put(
                out,
                Layout {
                    role: U32::new(self.role as u32),
                    pad: [0; 4],
                    generation_id: U64::new(self.generation_id.unwrap_or(none)),
                },
            );
            Ok(())
        })
    }
}
