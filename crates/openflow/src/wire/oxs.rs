//! OXS: statistics as a list of type, length and value.
//!
//! OpenFlow 1.5.1 §7.2.4: a header (two reserved bytes, the length without padding), then entries of
//! class 0x8002, padded to 8 bytes.

use super::bytes::{Reader, U16, U32, U64, layout, pad8, patch_u16, put};
use super::error::{ErrorCode, Refusal};

const CLASS: u16 = 0x8002;
const DURATION: u8 = 0;
const IDLE_TIME: u8 = 1;
const FLOW_COUNT: u8 = 3;
const PACKET_COUNT: u8 = 4;
const BYTE_COUNT: u8 = 5;

layout! {
    /// ofp_stats
    struct Head { reserved: U16, length: U16, }
    /// An entry's header: class, number (7 bits) and a reserved bit, length.
    struct Entry { class: U16, field: u8, length: u8, }
    /// Seconds and nanoseconds.
    struct Time { seconds: U32, nanoseconds: U32, }
}

/// The statistics that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stats {
    /// Seconds and nanoseconds since the flow was added.
    pub(crate) duration: Option<(u32, u32)>,
    /// Seconds since its last packet.
    pub(crate) idle: Option<u32>,
    pub(crate) packets: Option<u64>,
    pub(crate) bytes: Option<u64>,
    pub(crate) flows: Option<u32>,
}

impl Stats {
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Stats, Refusal> {
        let bad_length = Refusal::new(ErrorCode::BmcBadLen, "OXS statistics");
        let head: &Head = reader.peek().map_err(|_| bad_length)?;
        let length = usize::from(head.length.get());
        let mut all = reader.sub(length.next_multiple_of(8)).map_err(|_| bad_length)?;
        let mut entries = all.sub(length).map_err(|_| bad_length)?;
        let _: &Head = entries.take().map_err(|_| bad_length)?;
        let mut stats = Stats::default();
        while !entries.is_empty() {
            let entry: &Entry = entries.take().map_err(|_| bad_length)?;
            let mut value = entries.sub(entry.length.into()).map_err(|_| bad_length)?;
            if entry.class.get() != CLASS {
                continue;
            }
            match entry.field >> 1 {
                DURATION => {
                    let time: &Time = value.take()?;
                    stats.duration = Some((time.seconds.get(), time.nanoseconds.get()));
                }
                IDLE_TIME => stats.idle = Some(value.take::<Time>()?.seconds.get()),
                FLOW_COUNT => stats.flows = Some(value.take::<U32>()?.get()),
                PACKET_COUNT => stats.packets = Some(value.take::<U64>()?.get()),
                BYTE_COUNT => stats.bytes = Some(value.take::<U64>()?.get()),
                _ => return Err(Refusal::new(ErrorCode::BmcBadField, "OXS statistics")),
            }
            value.end()?;
        }
        Ok(stats)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        put(out, Head { reserved: U16::ZERO, length: U16::ZERO });
        let time = |(seconds, nanoseconds): (u32, u32)| u64::from(seconds) << 32 | u64::from(nanoseconds);
        let longs = [
            (DURATION, self.duration.map(time)),
            (IDLE_TIME, self.idle.map(|seconds| time((seconds, 0)))),
            (PACKET_COUNT, self.packets),
            (BYTE_COUNT, self.bytes),
        ];
        for (field, value) in longs {
            if let Some(value) = value {
                put(out, Entry { class: U16::new(CLASS), field: field << 1, length: 8 });
                put(out, U64::new(value));
            }
        }
        if let Some(flows) = self.flows {
            put(out, Entry { class: U16::new(CLASS), field: FLOW_COUNT << 1, length: 4 });
            put(out, U32::new(flows));
        }
        let length = out.len() - start;
        patch_u16(out, start + 2, length);
        pad8(out, start);
    }
}
