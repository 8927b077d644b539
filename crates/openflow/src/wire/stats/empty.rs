//! Statistics of what this switch has none of: queues, groups, meters.
//!
//! OpenFlow 1.3.5 §7.3.5.8 to §7.3.5.14: the replies are lists without entries; the features say that
//! there can be none.

use super::super::bytes::{Reader, U16, U32, layout, put};
use super::super::error::{ErrorCode, Refusal};
use super::super::matching::{port_from_16, port_from_32, port_to_16};
use super::super::version::Version;
use crate::port::PortNo;

layout! {
    /// ofp_queue_stats_request (1.0)
    struct Queue10 { port: U16, pad: [u8; 2], queue: U32, }
    /// ofp_queue_stats_request (1.1)
    struct Queue11 { port: U32, queue: U32, }
    /// ofp_group_stats_request, ofp_meter_multipart_request
    struct Id { id: U32, pad: [u8; 4], }
}

/// OFPG_ALL
pub(super) const ALL_GROUPS: u32 = 0xffff_fffc;
/// Bytes of ofp_group_features: types, capabilities, and four counts and action sets, all 0.
pub(super) const GROUP_FEATURES: usize = 40;
/// Bytes of ofp_meter_features, all 0.
pub(super) const METER_FEATURES: usize = 16;

pub(super) fn decode_queue(reader: &mut Reader<'_>, version: Version) -> Result<(PortNo, u32), Refusal> {
    if version == Version::V10 {
        let layout: &Queue10 = reader.take()?;
        // 1.0 says ALL for what is NONE (OFPP_ANY) later.
        let port = Some(port_from_16(layout.port.get())).filter(|port| *port != PortNo::ALL);
        return Ok((port.unwrap_or(PortNo::NONE), layout.queue.get()));
    }
    let layout: &Queue11 = reader.take()?;
    Ok((port_from_32(layout.port.get(), ErrorCode::QofcBadPort)?, layout.queue.get()))
}

pub(super) fn encode_queue(out: &mut Vec<u8>, port: PortNo, queue: u32, version: Version) {
    let queue = U32::new(queue);
    if version == Version::V10 {
        let port = if port == PortNo::NONE { PortNo::ALL } else { port };
        put(out, Queue10 { port: U16::new(port_to_16(port).unwrap_or(0xffff)), pad: [0; 2], queue });
    } else {
        put(out, Queue11 { port: U32::new(port.0), queue });
    }
}

pub(super) fn decode_id(reader: &mut Reader<'_>) -> Result<u32, Refusal> {
    Ok(reader.take::<Id>()?.id.get())
}

pub(super) fn encode_id(out: &mut Vec<u8>, id: u32) {
    put(out, Id { id: U32::new(id), pad: [0; 4] });
}
