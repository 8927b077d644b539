//! Statistics (1.0) and multipart messages (1.1 and later): framing, and splitting long replies.
//!
//! OpenFlow 1.0.0 §5.3.5, 1.3.5 §7.3.5; nicira-ext's NXST_* inside OFPST_VENDOR. A reply that does not
//! fit one message is sent as several, all but the last with OFPSF_REPLY_MORE; entries are never cut.
//!
//! Limits: a request in several messages (1.3's OFPMPF_REQ_MORE) is refused with
//! OFPBRC_MULTIPART_BUFFER_OVERFLOW.

pub mod aggregate;
pub mod desc;
pub mod flow;
pub mod monitor;
pub mod port;
pub mod table;
pub mod table_desc;
pub mod table_features;

mod empty;
mod reply;
mod request;

pub use aggregate::AggregateStats;
pub use desc::Desc;
pub use flow::{FlowEntry, FlowStatsRequest};
pub use monitor::{FlowUpdate, MonitorCommand, MonitorFlags, MonitorRequest, UpdateEvent};
pub use port::PortStats;
pub use reply::{ReplyBody, ReplyKind, ReplyWriter, StatsReply};
pub use request::StatsRequest;
pub use table::TableStats;
pub use table_desc::TableDesc;
pub use table_features::TableFeatures;

use super::bytes::{Reader, U16, U32, layout, put};
use super::error::{ErrorCode, Refusal};
use super::version::Version;
use super::{NICIRA, ONF};

layout! {
    /// ofp_stats_request and ofp_stats_reply (1.0); 1.1 adds four bytes of padding
    struct Layout { kind: U16, flags: U16, }
    /// The vendor and subtype of nicira10_stats_msg and ofp_experimenter_multipart_header
    struct Vendor { vendor: U32, subtype: U32, }
}

/// OFPST_VENDOR, OFPMP_EXPERIMENTER
const EXPERIMENTER: u16 = 0xffff;
/// OFPSF_REPLY_MORE, OFPMPF_REQ_MORE
const MORE: u16 = 1;
/// Padding: behind the header from 1.1 on, behind the vendor's subtype in 1.0.
const PAD: usize = 4;

/// What a message is about, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Number {
    /// OFPST_*, OFPMP_*
    Standard(u16),
    /// NXST_*
    Nicira(u32),
    /// ONF's, for 1.3
    Onf(u32),
}

/// OFPST_*, OFPMP_*
mod standard {
    pub(super) const DESC: u16 = 0;
    pub(super) const FLOW: u16 = 1;
    pub(super) const AGGREGATE: u16 = 2;
    pub(super) const TABLE: u16 = 3;
    pub(super) const PORT: u16 = 4;
    pub(super) const QUEUE: u16 = 5;
    pub(super) const GROUP: u16 = 6;
    pub(super) const GROUP_DESC: u16 = 7;
    pub(super) const GROUP_FEATURES: u16 = 8;
    pub(super) const METER: u16 = 9;
    pub(super) const METER_CONFIG: u16 = 10;
    pub(super) const METER_FEATURES: u16 = 11;
    pub(super) const TABLE_FEATURES: u16 = 12;
    pub(super) const PORT_DESC: u16 = 13;
    pub(super) const TABLE_DESC: u16 = 14;
    pub(super) const QUEUE_DESC: u16 = 15;
    pub(super) const FLOW_MONITOR: u16 = 16;
}

/// NXST_*
mod nicira {
    pub(super) const FLOW: u32 = 0;
    pub(super) const AGGREGATE: u32 = 1;
    pub(super) const FLOW_MONITOR: u32 = 2;
    pub(super) const GROUP: u32 = 7;
    pub(super) const GROUP_DESC: u32 = 8;
    pub(super) const GROUP_FEATURES: u32 = 9;
}

/// ONFST_FLOW_MONITOR
const ONF_FLOW_MONITOR: u32 = 1870;

/// The number, whether more follows, and the bytes behind.
fn decode_head(body: &[u8], version: Version) -> Result<(Number, bool, &[u8]), Refusal> {
    let mut reader = Reader::new(body, ErrorCode::BrcBadLen, "a statistics header");
    let layout: &Layout = reader.take()?;
    if version != Version::V10 {
        reader.bytes(PAD)?;
    }
    let number = match layout.kind.get() {
        EXPERIMENTER => {
            let vendor: &Vendor = reader.take()?;
            if version == Version::V10 {
                reader.bytes(PAD)?;
            }
            match vendor.vendor.get() {
                NICIRA => Number::Nicira(vendor.subtype.get()),
                ONF => Number::Onf(vendor.subtype.get()),
                _ => return Err(Refusal::new(ErrorCode::BrcBadVendor, "a statistics header")),
            }
        }
        number => Number::Standard(number),
    };
    Ok((number, layout.flags.get() & MORE != 0, reader.rest()))
}

/// Append the header.
fn encode_head(out: &mut Vec<u8>, number: Number, more: bool, version: Version) {
    let flags = U16::new(if more { MORE } else { 0 });
    let (kind, vendor) = match number {
        Number::Standard(number) => (number, None),
        Number::Nicira(subtype) => (EXPERIMENTER, Some((NICIRA, subtype))),
        Number::Onf(subtype) => (EXPERIMENTER, Some((ONF, subtype))),
    };
    put(out, Layout { kind: U16::new(kind), flags });
    if version != Version::V10 {
        put(out, [0u8; PAD]);
    }
    if let Some((vendor, subtype)) = vendor {
        put(out, Vendor { vendor: U32::new(vendor), subtype: U32::new(subtype) });
        if version == Version::V10 {
            put(out, [0u8; PAD]);
        }
    }
}
