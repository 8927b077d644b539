//! OFPT_FEATURES_REPLY: what the switch is.
//!
//! OpenFlow 1.0.0 §5.3.1 (with the ports), 1.3.5 §7.3.1 (without).

use super::Context;
use super::bytes::{Reader, U32, U64, layout, put};
use super::error::{EncodeError, ErrorCode, Refusal};
use super::header::{self, MAX_MESSAGE};
use super::kind;
use super::port::Port;
use super::version::Version;

layout! {
    /// ofp_switch_features
    struct Layout {
        datapath_id: U64,
        n_buffers: U32,
        n_tables: u8,
        auxiliary_id: u8,
        pad: [u8; 2],
        capabilities: U32,
        /// Of 1.0: a bit for each OFPAT_*. Reserved later.
        actions: U32,
    }
}

/// OFPC_*: bits of [`Features::capabilities`].
pub mod capability {
    /// Flow statistics.
    pub const FLOW_STATS: u32 = 1 << 0;
    /// Table statistics.
    pub const TABLE_STATS: u32 = 1 << 1;
    /// Port statistics.
    pub const PORT_STATS: u32 = 1 << 2;
    /// Group statistics (1.1).
    pub const GROUP_STATS: u32 = 1 << 3;
    /// Queue statistics.
    pub const QUEUE_STATS: u32 = 1 << 6;
    /// ARP addresses are matched (1.0).
    pub const ARP_MATCH_IP: u32 = 1 << 7;
    /// Bundles (1.4).
    pub const BUNDLES: u32 = 1 << 9;
    /// Flow monitors (1.4).
    pub const FLOW_MONITORING: u32 = 1 << 10;
}

/// OFPT_FEATURES_REPLY.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Features {
    /// The switch's id: a MAC address in the lower 48 bits.
    pub datapath_id: u64,
    /// Packets that it can hold back for the controller.
    pub n_buffers: u32,
    /// Tables.
    pub n_tables: u8,
    /// 0 on the main connection.
    pub auxiliary_id: u8,
    /// [`capability`]
    pub capabilities: u32,
    /// In 1.0 a bit for each OFPAT_* that is supported; 0 in later versions.
    pub actions: u32,
    /// In 1.0 only. Where they do not fit one message there are none, and the client asks for
    /// port descriptions instead, as with Open vSwitch.
    pub ports: Vec<Port>,
}

impl Features {
    pub(crate) fn decode(body: &[u8], context: Context<'_>) -> Result<Features, Refusal> {
        let mut reader = Reader::new(body, ErrorCode::BrcBadLen, "OFPT_FEATURES_REPLY");
        let layout: &Layout = reader.take()?;
        let mut ports = Vec::new();
        while context.version == Version::V10 && !reader.is_empty() {
            ports.push(Port::decode(&mut reader, context.version)?);
        }
        reader.end()?;
        Ok(Features {
            datapath_id: layout.datapath_id.get(),
            n_buffers: layout.n_buffers.get(),
            n_tables: layout.n_tables,
            auxiliary_id: layout.auxiliary_id,
            capabilities: layout.capabilities.get(),
            actions: if context.version == Version::V10 { layout.actions.get() } else { 0 },
            ports,
        })
    }

    /// A whole message.
    pub fn encode(&self, context: Context<'_>, xid: u32) -> Result<Vec<u8>, EncodeError> {
        header::message(context.version, kind::FEATURES_REPLY, xid, |out| {
            put(
                out,
                Layout {
                    datapath_id: U64::new(self.datapath_id),
                    n_buffers: U32::new(self.n_buffers),
                    n_tables: self.n_tables,
                    auxiliary_id: self.auxiliary_id,
                    pad: [0; 2],
                    capabilities: U32::new(self.capabilities),
                    actions: U32::new(if context.version == Version::V10 { self.actions } else { 0 }),
                },
            );
            if context.version == Version::V10 {
                let start = out.len();
                self.ports.iter().for_each(|port| port.encode(out, context.version));
                if out.len() > MAX_MESSAGE {
                    out.truncate(start);
                }
            }
            Ok(())
        })
    }
}
