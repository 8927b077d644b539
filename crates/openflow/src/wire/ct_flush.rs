//! NXT_CT_FLUSH_ZONE, NXT_CT_FLUSH: connections are forgotten.
//!
//! nicira-ext.h of Open vSwitch. Of all connections or of a zone; single ones by their tuples are refused.

use super::bytes::{Reader, U16, all_zero, layout, put};
use super::error::{EncodeError, ErrorCode, Refusal};
use super::header::vendor_message;
use super::property::Properties;
use super::{Context, NICIRA, nicira};

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

    /// A whole message: of a zone the older one.
    pub fn encode(&self, context: Context<'_>, xid: u32) -> Result<Vec<u8>, EncodeError> {
        match self.zone {
            Some(zone) => vendor_message(context.version, NICIRA, nicira::CT_FLUSH_ZONE, xid, |out| {
                put(out, Zone { zeros: [0; 6], zone: U16::new(zone) });
                Ok(())
            }),
            None => vendor_message(context.version, NICIRA, nicira::CT_FLUSH, xid, |out| {
                put(out, Flush { protocol: 0, family: 0, zeros: [0; 6] });
                Ok(())
            }),
        }
    }
}

fn must_be_zero(bytes: &[u8]) -> Result<(), Refusal> {
    if all_zero(bytes) {
        Ok(())
    } else {
        Err(Refusal::new(ErrorCode::NxbrcMustBeZero, "a flush of connections"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_names_a_zone_or_none() {
        let bytes = [0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 8, 0, 5, 0, 0];
        assert_eq!(CtFlush::decode(&bytes), Ok(CtFlush { zone: Some(5) }));
        assert_eq!(CtFlush::decode(&bytes[..8]), Ok(CtFlush { zone: None }));
    }

    #[test]
    fn refuses_to_flush_one_connection() {
        // As `ovs-ofctl ct-flush br0 ct_nw_src=1.2.3.4,ct_nw_proto=6` of Open vSwitch 3.1 says it.
        let mut bytes = vec![6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x20];
        bytes.extend([
            0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4, 0, 0, 0, 0,
        ]);
        assert_eq!(CtFlush::decode(&bytes).map_err(|refusal| refusal.code), Err(ErrorCode::BpcBadType));
    }
}
