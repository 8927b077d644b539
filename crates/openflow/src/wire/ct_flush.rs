//! NXT_CT_FLUSH_ZONE, NXT_CT_FLUSH: connections are forgotten.
//!
//! nicira-ext.h of Open vSwitch. Of all connections or of a zone; single ones by their tuples are refused.

use super::bytes::{Reader, U16, all_zero, layout};
use super::error::{ErrorCode, Refusal};
use super::property::Properties;

layout! {
    /// nx_zone_id
    struct Zone { zeros: [u8; 6], zone: U16, }
    /// nx_ct_flush, before the properties
    struct Flush { protocol: u8, family: u8, zeros: [u8; 6], }
}

/// NXT_CT_ZONE_ID
const ZONE_ID: u16 = 2;

/// Forget the connections of a zone, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CtFlush {
    /// The zone; None for all.
    pub zone: Option<u16>,
}

impl CtFlush {
    pub(crate) fn decode_zone(body: &[u8]) -> Result<CtFlush, Refusal> {
        let mut reader = Reader::new(body, ErrorCode::BrcBadLen, "NXT_CT_FLUSH_ZONE");
        let layout: &Zone = reader.take()?;
        must_be_zero(&layout.zeros)?;
        Ok(CtFlush { zone: Some(layout.zone.get()) })
    }

    pub(crate) fn decode(body: &[u8]) -> Result<CtFlush, Refusal> {
        let mut reader = Reader::new(body, ErrorCode::BrcBadLen, "NXT_CT_FLUSH");
        let layout: &Flush = reader.take()?;
        must_be_zero(&layout.zeros)?;
        let mut zone = None;
        for property in Properties::new(reader.rest()) {
            let property = property?;
            match property.kind {
                ZONE_ID => zone = Some(property.u16()?),
                _ => return Err(Refusal::new(ErrorCode::BpcBadType, "NXT_CT_FLUSH")),
            }
        }
        Ok(CtFlush { zone })
    }
}

fn must_be_zero(bytes: &[u8]) -> Result<(), Refusal> {
    if all_zero(bytes) {
        Ok(())
    } else {
        Err(Refusal::new(ErrorCode::NxbrcMustBeZero, "a flush of connections"))
    }
}
