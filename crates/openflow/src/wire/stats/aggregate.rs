//! OFPST_AGGREGATE: sums over flows.
//!
//! OpenFlow 1.0.0 §5.3.5, 1.3.5 §7.3.5.3, 1.5.1 §7.3.5.4 (OXS), NXST_AGGREGATE (as 1.0).

use super::super::bytes::{Reader, U32, U64, layout, put};
use super::super::error::Refusal;
use super::super::oxs::Stats;
use super::super::version::Version;

layout! {
    /// ofp_aggregate_stats_reply (1.0 to 1.4)
    struct Layout { packets: U64, bytes: U64, flows: U32, pad: [u8; 4], }
}

/// The sums over the flows asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AggregateStats {
    /// Packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Flows.
    pub flows: u32,
}

impl AggregateStats {
    pub(crate) fn decode(reader: &mut Reader<'_>, version: Version) -> Result<AggregateStats, Refusal> {
        if version == Version::V15 {
            let stats = Stats::decode(reader)?;
            return Ok(AggregateStats {
                packets: stats.packets.unwrap_or_default(),
                bytes: stats.bytes.unwrap_or_default(),
                flows: stats.flows.unwrap_or_default(),
            });
        }
        let layout: &Layout = reader.take()?;
        Ok(AggregateStats {
            packets: layout.packets.get(),
            bytes: layout.bytes.get(),
            flows: layout.flows.get(),
        })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>, version: Version) {
        if version == Version::V15 {
            Stats {
                packets: Some(self.packets),
                bytes: Some(self.bytes),
                flows: Some(self.flows),
                ..Stats::default()
            }
            .encode(out);
            return;
        }
        put(
            out,
            Layout {
                packets: U64::new(self.packets),
                bytes: U64::new(self.bytes),
                flows: U32::new(self.flows),
                pad: [0; 4],
            },
        );
    }
}
