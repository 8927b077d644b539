//! OFPST_PORT: counters of ports.
//!
//! OpenFlow 1.0.0 §5.3.5, 1.3.5 §7.3.5.6, 1.4.1 §7.3.5.6 (with properties). A counter that the port does
//! not have is all ones.

use super::super::bytes::{Reader, U16, U32, U64, layout, patch_u16, put};
use super::super::error::{ErrorCode, Refusal};
use super::super::matching::{port_from_16, port_from_32, port_to_16};
use super::super::property::{Properties, put_property};
use super::super::version::Version;
use crate::port::PortNo;

layout! {
    /// ofp_port_stats_request (1.0)
    struct Request10 { port: U16, pad: [u8; 6], }
    /// ofp_port_stats_request (1.1)
    struct Request11 { port: U32, pad: [u8; 4], }
    /// Of 1.0 and 1.1's ofp_port_stats, behind the port's number
    struct Counters {
        rx_packets: U64, tx_packets: U64, rx_bytes: U64, tx_bytes: U64, rx_dropped: U64, tx_dropped: U64,
        rx_errors: U64, tx_errors: U64,
    }
    /// ofp_port_stats_prop_ethernet, behind its header and padding; 1.0 and 1.1 have it in line
    struct Ethernet { rx_frame_err: U64, rx_over_err: U64, rx_crc_err: U64, collisions: U64, }
    /// Time since the port was added (1.3)
    struct Duration { seconds: U32, nanoseconds: U32, }
    /// ofp_port_stats (1.4), before the counters
    struct Head14 { length: U16, pad: [u8; 2], port: U32, seconds: U32, nanoseconds: U32, }
}

/// The property of an Ethernet port.
const ETHERNET: u16 = 0;

/// Counters of one port; u64::MAX where it has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub struct PortStats {
    pub port: PortNo,
    pub rx_packets: u64,
    pub tx_packets: u64,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    pub rx_dropped: u64,
    pub tx_dropped: u64,
    pub rx_errors: u64,
    pub tx_errors: u64,
    pub rx_frame_err: u64,
    pub rx_over_err: u64,
    pub rx_crc_err: u64,
    pub collisions: u64,
    /// Seconds and nanoseconds since it was added; not in 1.0.
    pub duration: Option<(u32, u32)>,
}

/// The port that a request names; NONE for all.
pub(super) fn decode_request(reader: &mut Reader<'_>, version: Version) -> Result<PortNo, Refusal> {
    if version == Version::V10 {
        Ok(port_from_16(reader.take::<Request10>()?.port.get()))
    } else {
        port_from_32(reader.take::<Request11>()?.port.get(), ErrorCode::BrcBadPort)
    }
}

pub(super) fn encode_request(out: &mut Vec<u8>, port: PortNo, version: Version) {
    if version == Version::V10 {
        put(out, Request10 { port: U16::new(port_to_16(port).unwrap_or(0xffff)), pad: [0; 6] });
    } else {
        put(out, Request11 { port: U32::new(port.0), pad: [0; 4] });
    }
}

impl PortStats {
    fn of(port: PortNo, c: &Counters) -> PortStats {
        PortStats {
            port,
            rx_packets: c.rx_packets.get(),
            tx_packets: c.tx_packets.get(),
            rx_bytes: c.rx_bytes.get(),
            tx_bytes: c.tx_bytes.get(),
            rx_dropped: c.rx_dropped.get(),
            tx_dropped: c.tx_dropped.get(),
            rx_errors: c.rx_errors.get(),
            tx_errors: c.tx_errors.get(),
            rx_frame_err: u64::MAX,
            rx_over_err: u64::MAX,
            rx_crc_err: u64::MAX,
            collisions: u64::MAX,
            duration: None,
        }
    }

    fn with_ethernet(mut self, e: &Ethernet) -> PortStats {
        self.rx_frame_err = e.rx_frame_err.get();
        self.rx_over_err = e.rx_over_err.get();
        self.rx_crc_err = e.rx_crc_err.get();
        self.collisions = e.collisions.get();
        self
    }

    /// A time of all ones is none.
    fn with_duration(mut self, seconds: U32, nanoseconds: U32) -> PortStats {
        self.duration = Some((seconds.get(), nanoseconds.get())).filter(|(s, _)| *s != u32::MAX);
        self
    }

    pub(crate) fn decode(reader: &mut Reader<'_>, version: Version) -> Result<PortStats, Refusal> {
        match version {
            Version::V10 => {
                let port = port_from_16(reader.take::<Request10>()?.port.get());
                let counters: &Counters = reader.take()?;
                Ok(PortStats::of(port, counters).with_ethernet(reader.take()?))
            }
            Version::V13 => {
                let port = port_from_32(reader.take::<Request11>()?.port.get(), ErrorCode::BrcBadPort)?;
                let counters: &Counters = reader.take()?;
                let stats = PortStats::of(port, counters).with_ethernet(reader.take()?);
                let duration: &Duration = reader.take()?;
                Ok(stats.with_duration(duration.seconds, duration.nanoseconds))
            }
            Version::V14 | Version::V15 => {
                let length = usize::from(reader.peek::<Head14>()?.length.get());
                let mut inside = reader.sub(length)?;
                let head: &Head14 = inside.take()?;
                let counters: &Counters = inside.take()?;
                let port = port_from_32(head.port.get(), ErrorCode::BrcBadPort)?;
                let mut stats = PortStats::of(port, counters).with_duration(head.seconds, head.nanoseconds);
                for property in Properties::new(inside.rest()) {
                    let property = property?;
                    if property.kind == ETHERNET {
                        let mut value = property.reader();
                        value.bytes(4)?;
                        stats = stats.with_ethernet(value.take()?);
                    }
                }
                Ok(stats)
            }
        }
    }

    /// Append one entry.
    pub fn encode(&self, out: &mut Vec<u8>, version: Version) {
        let start = out.len();
        let (seconds, nanoseconds) = self.duration.unwrap_or((u32::MAX, u32::MAX));
        let (seconds, nanoseconds) = (U32::new(seconds), U32::new(nanoseconds));
        match version {
            Version::V10 | Version::V13 => encode_request(out, self.port, version),
            Version::V14 | Version::V15 => {
                let port = U32::new(self.port.0);
                put(out, Head14 { length: U16::ZERO, pad: [0; 2], port, seconds, nanoseconds });
            }
        }
        put(
            out,
            Counters {
                rx_packets: U64::new(self.rx_packets),
                tx_packets: U64::new(self.tx_packets),
                rx_bytes: U64::new(self.rx_bytes),
                tx_bytes: U64::new(self.tx_bytes),
                rx_dropped: U64::new(self.rx_dropped),
                tx_dropped: U64::new(self.tx_dropped),
                rx_errors: U64::new(self.rx_errors),
                tx_errors: U64::new(self.tx_errors),
            },
        );
        let ethernet = Ethernet {
            rx_frame_err: U64::new(self.rx_frame_err),
            rx_over_err: U64::new(self.rx_over_err),
            rx_crc_err: U64::new(self.rx_crc_err),
            collisions: U64::new(self.collisions),
        };
        match version {
            Version::V10 => put(out, ethernet),
            Version::V13 => {
                put(out, ethernet);
                put(out, Duration { seconds, nanoseconds });
            }
            Version::V14 | Version::V15 => {
                put_property(out, ETHERNET, |out| {
                    put(out, [0u8; 4]);
                    put(out, ethernet);
                });
                let length = out.len() - start;
                patch_u16(out, start, length);
            }
        }
    }
}
