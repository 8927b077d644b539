//! Which asynchronous messages a connection is sent.
//!
//! OpenFlow 1.3.5 §7.3.10 (six masks), 1.4.1 §7.3.10 (properties), nicira-ext's NXT_SET_ASYNC_CONFIG
//! (19, six masks) and NXT_SET_ASYNC_CONFIG2 (27, properties).

use super::bytes::{Reader, U32, layout, put};
use super::error::{EncodeError, ErrorCode, Refusal};
use super::header;
use super::property::{Properties, put_bytes};
use super::version::Version;
use super::{Context, NICIRA, kind, nicira};

layout! {
    /// ofp_async_config (1.3) and nx_async_config: of primary and equal controllers, of secondary ones
    struct Masks { packet_in: [U32; 2], port_status: [U32; 2], flow_removed: [U32; 2], }
}

/// Which reasons of one kind of message are sent: bit N for reason N. None leaves it as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AsyncMask {
    /// To primary and equal controllers.
    pub primary: Option<u32>,
    /// To secondary ones.
    pub secondary: Option<u32>,
}

/// OFPT_SET_ASYNC and OFPT_GET_ASYNC_REPLY.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AsyncConfig {
    /// Packet-ins, by OFPR_*.
    pub packet_in: AsyncMask,
    /// Port statuses, by OFPPR_*.
    pub port_status: AsyncMask,
    /// Removed flows, by OFPRR_*.
    pub flow_removed: AsyncMask,
    /// Role statuses, by OFPCRR_* (1.4).
    pub role_status: AsyncMask,
    /// Table statuses, by OFPTR_* (1.4).
    pub table_status: AsyncMask,
    /// Forwarded requests, by OFPRFR_* (1.4).
    pub request_forward: AsyncMask,
}

impl AsyncConfig {
    /// By the version's own layout.
    pub(crate) fn decode(body: &[u8], context: Context<'_>) -> Result<AsyncConfig, Refusal> {
        match context.version {
            Version::V10 | Version::V13 => AsyncConfig::decode_masks(body),
            Version::V14 | Version::V15 => AsyncConfig::decode_properties(body),
        }
    }

    pub(crate) fn decode_masks(body: &[u8]) -> Result<AsyncConfig, Refusal> {
        let mut reader = Reader::new(body, ErrorCode::BrcBadLen, "an async configuration");
        let masks: &Masks = reader.take()?;
        reader.end()?;
        let mask = |[primary, secondary]: [U32; 2]| AsyncMask {
            primary: Some(primary.get()),
            secondary: Some(secondary.get()),
        };
        Ok(AsyncConfig {
            packet_in: mask(masks.packet_in),
            port_status: mask(masks.port_status),
            flow_removed: mask(masks.flow_removed),
            ..AsyncConfig::default()
        })
    }

    pub(crate) fn decode_properties(body: &[u8]) -> Result<AsyncConfig, Refusal> {
        let mut config = AsyncConfig::default();
        for property in Properties::new(body) {
            let property = property?;
            let mask = match property.kind / 2 {
                0 => &mut config.packet_in,
                1 => &mut config.port_status,
                2 => &mut config.flow_removed,
                3 => &mut config.role_status,
                4 => &mut config.table_status,
                5 => &mut config.request_forward,
                _ => return Err(Refusal::new(ErrorCode::AcfcUnsupported, "an async configuration")),
            };
            let half = if property.kind % 2 == 0 { &mut mask.secondary } else { &mut mask.primary };
            *half = Some(property.u32()?);
        }
        Ok(config)
    }

    /// A whole OFPT_SET_ASYNC, in 1.0 NXT_SET_ASYNC_CONFIG; before 1.4 NXT_SET_ASYNC_CONFIG2 where six
    /// masks are not what is said.
    pub fn encode_set(&self, context: Context<'_>, xid: u32) -> Result<Vec<u8>, EncodeError> {
        let nicira = |subtype, body: fn(&AsyncConfig, &mut Vec<u8>)| {
            header::vendor_message(context.version, NICIRA, subtype, xid, |out| {
                body(self, out);
                Ok(())
            })
        };
        match context.version {
            Version::V10 | Version::V13 if !self.is_six_masks() => {
                nicira(nicira::SET_ASYNC_CONFIG2, AsyncConfig::encode_properties)
            }
            Version::V10 => nicira(nicira::SET_ASYNC_CONFIG, AsyncConfig::encode_masks),
            version => self.encode(version, kind::SET_ASYNC, xid),
        }
    }

    /// Whether this is what the layout of six masks says: all of them, and nothing else.
    fn is_six_masks(&self) -> bool {
        let whole = |mask: AsyncMask| mask.primary.is_some() && mask.secondary.is_some();
        let none = AsyncMask::default();
        [self.packet_in, self.port_status, self.flow_removed].into_iter().all(whole)
            && [self.role_status, self.table_status, self.request_forward] == [none; 3]
    }

    /// A whole OFPT_GET_ASYNC_REPLY, which 1.0 has none of.
    pub fn encode_reply(&self, context: Context<'_>, xid: u32) -> Result<Vec<u8>, EncodeError> {
        match context.version {
            Version::V10 => Err(EncodeError::Inexpressible {
                version: context.version,
                what: "an async configuration's reply",
            }),
            version => self.encode(version, kind::GET_ASYNC_REPLY, xid),
        }
    }

    fn encode(&self, version: Version, kind: u8, xid: u32) -> Result<Vec<u8>, EncodeError> {
        header::message(version, kind, xid, |out| {
            match version {
                Version::V10 | Version::V13 => self.encode_masks(out),
                Version::V14 | Version::V15 => self.encode_properties(out),
            }
            Ok(())
        })
    }

    fn encode_masks(&self, out: &mut Vec<u8>) {
        let mask = |mask: AsyncMask| [mask.primary, mask.secondary].map(|bits| U32::new(bits.unwrap_or(0)));
        put(
            out,
            Masks {
                packet_in: mask(self.packet_in),
                port_status: mask(self.port_status),
                flow_removed: mask(self.flow_removed),
            },
        );
    }

    fn encode_properties(&self, out: &mut Vec<u8>) {
        let masks = [
            self.packet_in,
            self.port_status,
            self.flow_removed,
            self.role_status,
            self.table_status,
            self.request_forward,
        ];
        for (kind, mask) in (0u16..).step_by(2).zip(masks) {
            for (kind, bits) in [(kind, mask.secondary), (kind + 1, mask.primary)] {
                if let Some(bits) = bits {
                    put_bytes(out, kind, &bits.to_be_bytes());
                }
            }
        }
    }
}
