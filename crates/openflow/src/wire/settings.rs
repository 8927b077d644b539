//! What a connection is told once: the switch's configuration and Nicira's per-connection settings.
//!
//! OpenFlow 1.0.0 §5.3.2, 1.3.5 §7.3.2 (ofp_switch_config); nicira-ext's NXT_SET_FLOW_FORMAT (12),
//! NXT_FLOW_MOD_TABLE_ID (15), NXT_SET_PACKET_IN_FORMAT (16), NXT_SET_CONTROLLER_ID (20).

use super::bytes::{Reader, U16, U32, layout, put};
use super::error::{EncodeError, ErrorCode, Refusal};
use super::header::{message, vendor_message};
use super::version::Version;
use super::{Context, NICIRA, kind, nicira};

layout! {
    /// ofp_switch_config
    struct Config { flags: U16, miss_send_len: U16, }
    /// nx_controller_id
    struct ControllerId { zero: [u8; 6], id: U16, }
    /// nx_flow_mod_table_id
    struct TableId { set: u8, pad: [u8; 7], }
}

/// OFPT_GET_CONFIG_REPLY and OFPT_SET_CONFIG.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SwitchConfig {
    /// OFPC_FRAG_* in the lower two bits, OFPC_INVALID_TTL_TO_CONTROLLER above.
    pub flags: u16,
    /// Bytes of a packet that a table miss sends to the controller.
    pub miss_send_len: u16,
}

impl SwitchConfig {
    pub(crate) fn decode(body: &[u8]) -> Result<SwitchConfig, Refusal> {
        let mut reader = Reader::new(body, ErrorCode::BrcBadLen, "ofp_switch_config");
        let layout: &Config = reader.take()?;
        reader.end()?;
        Ok(SwitchConfig { flags: layout.flags.get(), miss_send_len: layout.miss_send_len.get() })
    }

    /// A whole OFPT_GET_CONFIG_REPLY.
    pub fn encode_reply(&self, context: Context<'_>, xid: u32) -> Result<Vec<u8>, EncodeError> {
        self.encode(context.version, kind::GET_CONFIG_REPLY, xid)
    }

    /// A whole OFPT_SET_CONFIG.
    pub fn encode_set(&self, context: Context<'_>, xid: u32) -> Result<Vec<u8>, EncodeError> {
        self.encode(context.version, kind::SET_CONFIG, xid)
    }

    fn encode(&self, version: Version, kind: u8, xid: u32) -> Result<Vec<u8>, EncodeError> {
        message(version, kind, xid, |out| {
            put(out, Config { flags: U16::new(self.flags), miss_send_len: U16::new(self.miss_send_len) });
            Ok(())
        })
    }
}

/// How matches are written to a 1.0 client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FlowFormat {
    /// In the fixed match.
    #[default]
    Standard,
    /// As NXM entries.
    Nxm,
}

/// How packets are sent to the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PacketInFormat {
    /// The version's own.
    #[default]
    Standard,
    /// NXT_PACKET_IN
    Nxt,
    /// NXT_PACKET_IN2
    Nxt2,
}

/// One of Nicira's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    /// NXT_SET_FLOW_FORMAT
    FlowFormat(FlowFormat),
    /// NXT_FLOW_MOD_TABLE_ID: whether the upper half of a 1.0 flow mod's command is its table.
    FlowModTableId(bool),
    /// NXT_SET_PACKET_IN_FORMAT
    PacketInFormat(PacketInFormat),
    /// NXT_SET_CONTROLLER_ID: packets sent to controllers of this id come here.
    ControllerId(u16),
    /// NXT_FLOW_AGE, which Open vSwitch takes for granted.
    FlowAge,
}

impl Setting {
    /// From Nicira's subtype and the bytes behind it; None where the subtype is no setting's.
    pub(crate) fn decode(subtype: u32, body: &[u8]) -> Result<Option<Setting>, Refusal> {
        const WHAT: &str = "a Nicira setting";
        let mut reader = Reader::new(body, ErrorCode::BrcBadLen, WHAT);
        let refused = Refusal::new(ErrorCode::BrcEperm, WHAT);
        let setting = match subtype {
            nicira::SET_FLOW_FORMAT => Setting::FlowFormat(match reader.take::<U32>()?.get() {
                0 => FlowFormat::Standard,
                2 => FlowFormat::Nxm,
                _ => return Err(refused),
            }),
            nicira::FLOW_MOD_TABLE_ID => Setting::FlowModTableId(reader.take::<TableId>()?.set != 0),
            nicira::SET_PACKET_IN_FORMAT => Setting::PacketInFormat(match reader.take::<U32>()?.get() {
                0 => PacketInFormat::Standard,
                1 => PacketInFormat::Nxt,
                2 => PacketInFormat::Nxt2,
                _ => return Err(refused),
            }),
            nicira::SET_CONTROLLER_ID => {
                let layout: &ControllerId = reader.take()?;
                if layout.zero != [0; 6] {
                    return Err(Refusal::new(ErrorCode::NxbrcMustBeZero, WHAT));
                }
                Setting::ControllerId(layout.id.get())
            }
            nicira::FLOW_AGE => Setting::FlowAge,
            _ => return Ok(None),
        };
        reader.end()?;
        Ok(Some(setting))
    }

    /// A whole message.
    pub fn encode(&self, context: Context<'_>, xid: u32) -> Result<Vec<u8>, EncodeError> {
        let (subtype, body): (u32, Vec<u8>) = match *self {
            Setting::FlowFormat(format) => {
                let number: u32 = match format {
                    FlowFormat::Standard => 0,
                    FlowFormat::Nxm => 2,
                };
                (nicira::SET_FLOW_FORMAT, number.to_be_bytes().into())
            }
            Setting::FlowModTableId(set) => {
                (nicira::FLOW_MOD_TABLE_ID, vec![u8::from(set), 0, 0, 0, 0, 0, 0, 0])
            }
            Setting::PacketInFormat(format) => {
                let number: u32 = match format {
                    PacketInFormat::Standard => 0,
                    PacketInFormat::Nxt => 1,
                    PacketInFormat::Nxt2 => 2,
                };
                (nicira::SET_PACKET_IN_FORMAT, number.to_be_bytes().into())
            }
            Setting::ControllerId(id) => (nicira::SET_CONTROLLER_ID, u64::from(id).to_be_bytes().into()),
            Setting::FlowAge => (nicira::FLOW_AGE, Vec::new()),
        };
        vendor_message(context.version, NICIRA, subtype, xid, |out| {
            out.extend_from_slice(&body);
            Ok(())
        })
    }
}
