//! OpenFlow on the wire: 1.0 with Nicira's extensions, 1.3, 1.4 and 1.5, both ways, without I/O.
//!
//! # Contract
//!
//! * Bytes in, values out, and back: [`header::Framer`] cuts a stream into messages, a message decodes
//!   into an owned struct in terms of the crate's types, and encodes from it.
//! * What cannot be decoded is a [`error::Refusal`], which names the OFPT_ERROR to answer with. No input
//!   makes a decoder panic, or allocate more than a small multiple of the message's length.
//! * A flow is written in each version as Open vSwitch writes it.
//!
//! # Shape
//!
//! One file a message, each with its layouts (big-endian structs), the owned form, `decode` and
//! `encode`. Numbers of fields come from the field table, of actions and errors from one table each.

pub mod async_config;
pub mod bundle;
pub mod ct_flush;
pub mod error;
pub mod features;
pub mod flow_mod;
pub mod flow_removed;
pub mod header;
pub mod hello;
pub mod message;
pub mod packet_in;
pub mod packet_out;
pub mod port;
pub mod role;
pub mod settings;
pub mod stats;
pub mod tlv_table;
pub mod unsupported;
pub mod version;

mod action;
mod bytes;
mod match10;
mod matching;
mod oxm;
mod oxs;
mod property;

pub use async_config::{AsyncConfig, AsyncMask};
pub use bundle::{BundleAdd, BundleAddView, BundleCommand, BundleControl};
pub use ct_flush::CtFlush;
pub use error::{EncodeError, ErrorCode, ErrorKind, ErrorMessage, Refusal};
pub use features::Features;
pub use flow_mod::{Command, FlowMod};
pub use flow_removed::{FlowRemoved, RemovedReason};
pub use header::{Framer, FramingError, Header};
pub use hello::Hello;
pub use matching::CookieMatch;
pub use message::Message;
pub use packet_in::PacketIn;
pub use packet_out::PacketOut;
pub use port::{Port, PortMod, PortReason, PortStatus};
pub use role::{Role, RoleMessage};
pub use settings::{FlowFormat, PacketInFormat, Setting, SwitchConfig};
pub use tlv_table::{TlvCommand, TlvMapping, TlvTable, TlvTableMod, TlvTableReply};
pub use unsupported::{GroupMod, MeterMod, TableMod};
pub use version::{Version, Versions};

/// Nicira's experimenter id.
pub const NICIRA: u32 = 0x0000_2320;
/// The Open Networking Foundation's experimenter id.
pub const ONF: u32 = 0x4f4e_4600;
/// OFPTT_ALL: every table, in requests and deletes.
pub const ALL_TABLES: u8 = 0xff;
/// OFPG_ANY: no restriction by group.
const ANY_GROUP: u32 = 0xffff_ffff;
/// OFP_NO_BUFFER: the packet is in the message.
const NO_BUFFER: u32 = 0xffff_ffff;

/// Which of two forms a message has in OpenFlow 1.0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Form {
    /// The version's own.
    #[default]
    Standard,
    /// Nicira's: NXT_*, NXST_*, matches as NXM.
    Nicira,
}

/// OFPT_*
mod kind {
    use super::Version;

    pub(super) const HELLO: u8 = 0;
    pub(super) const ERROR: u8 = 1;
    pub(super) const ECHO_REQUEST: u8 = 2;
    pub(super) const ECHO_REPLY: u8 = 3;
    pub(super) const EXPERIMENTER: u8 = 4;
    pub(super) const FEATURES_REQUEST: u8 = 5;
    pub(super) const FEATURES_REPLY: u8 = 6;
    pub(super) const GET_CONFIG_REQUEST: u8 = 7;
    pub(super) const GET_CONFIG_REPLY: u8 = 8;
    pub(super) const SET_CONFIG: u8 = 9;
    pub(super) const PACKET_IN: u8 = 10;
    pub(super) const FLOW_REMOVED: u8 = 11;
    pub(super) const PORT_STATUS: u8 = 12;
    pub(super) const PACKET_OUT: u8 = 13;
    pub(super) const FLOW_MOD: u8 = 14;
    // From 1.1 on.
    pub(super) const GROUP_MOD: u8 = 15;
    pub(super) const TABLE_MOD: u8 = 17;
    pub(super) const ROLE_REQUEST: u8 = 24;
    pub(super) const ROLE_REPLY: u8 = 25;
    pub(super) const GET_ASYNC_REQUEST: u8 = 26;
    pub(super) const GET_ASYNC_REPLY: u8 = 27;
    pub(super) const SET_ASYNC: u8 = 28;
    pub(super) const METER_MOD: u8 = 29;
    pub(super) const BUNDLE_CONTROL: u8 = 33;
    pub(super) const BUNDLE_ADD: u8 = 34;

    fn by_version(version: Version, v10: u8, later: u8) -> u8 {
        if version == Version::V10 { v10 } else { later }
    }

    pub(super) fn port_mod(version: Version) -> u8 {
        by_version(version, 15, 16)
    }

    pub(super) fn stats_request(version: Version) -> u8 {
        by_version(version, 16, 18)
    }

    pub(super) fn stats_reply(version: Version) -> u8 {
        by_version(version, 17, 19)
    }

    pub(super) fn barrier_request(version: Version) -> u8 {
        by_version(version, 18, 20)
    }

    pub(super) fn barrier_reply(version: Version) -> u8 {
        by_version(version, 19, 21)
    }

    pub(super) fn queue_config_request(version: Version) -> u8 {
        by_version(version, 20, 22)
    }

    pub(super) fn queue_config_reply(version: Version) -> u8 {
        by_version(version, 21, 23)
    }
}

/// NXT_*
mod nicira {
    pub(super) const ROLE_REQUEST: u32 = 10;
    pub(super) const ROLE_REPLY: u32 = 11;
    pub(super) const SET_FLOW_FORMAT: u32 = 12;
    pub(super) const FLOW_MOD: u32 = 13;
    pub(super) const FLOW_REMOVED: u32 = 14;
    pub(super) const FLOW_MOD_TABLE_ID: u32 = 15;
    pub(super) const SET_PACKET_IN_FORMAT: u32 = 16;
    pub(super) const PACKET_IN: u32 = 17;
    pub(super) const FLOW_AGE: u32 = 18;
    pub(super) const SET_ASYNC_CONFIG: u32 = 19;
    pub(super) const SET_CONTROLLER_ID: u32 = 20;
    pub(super) const FLOW_MONITOR_CANCEL: u32 = 21;
    pub(super) const FLOW_MONITOR_PAUSED: u32 = 22;
    pub(super) const FLOW_MONITOR_RESUMED: u32 = 23;
    pub(super) const TLV_TABLE_MOD: u32 = 24;
    pub(super) const TLV_TABLE_REQUEST: u32 = 25;
    pub(super) const TLV_TABLE_REPLY: u32 = 26;
    pub(super) const SET_ASYNC_CONFIG2: u32 = 27;
    pub(super) const RESUME: u32 = 28;
    pub(super) const CT_FLUSH_ZONE: u32 = 29;
    pub(super) const PACKET_IN2: u32 = 30;
    pub(super) const GROUP_MOD: u32 = 31;
    pub(super) const CT_FLUSH: u32 = 32;
}

/// ONFT_*, which 1.3 has in place of later versions' messages
mod onf {
    pub(super) const FLOW_MONITOR_CANCEL: u32 = 1870;
    pub(super) const FLOW_MONITOR_PAUSED: u32 = 1871;
    pub(super) const FLOW_MONITOR_RESUMED: u32 = 1872;
    pub(super) const BUNDLE_CONTROL: u32 = 2300;
    pub(super) const BUNDLE_ADD: u32 = 2301;
}

/// What decoding and encoding depend on beside the bytes.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The version negotiated.
    pub version: Version,
    /// The bridge's tunnel option mapping. None on a client's side, which takes any length.
    pub tlv: Option<&'a TlvTable>,
    /// NXT_FLOW_MOD_TABLE_ID: the upper half of a 1.0 flow mod's command is its table.
    pub table_in_command: bool,
}

impl Context<'_> {
    /// Of a client: without a tunnel option mapping, and with tables in 1.0's flow mods (which is to be
    /// switched on by [`Setting::FlowModTableId`]).
    pub fn client(version: Version) -> Context<'static> {
        Context { version, tlv: None, table_in_command: true }
    }

    /// Bytes of `tun_metadata<index>`: None where any number will do, an error where it is unmapped.
    fn tun_metadata_bytes(self, index: u16) -> Result<Option<usize>, Refusal> {
        let Some(table) = self.tlv else { return Ok(None) };
        let mapped = table.0.iter().find(|m| m.index == index);
        mapped
            .map(|m| Some(usize::from(m.option_len)))
            .ok_or(Refusal::new(ErrorCode::NxfmfcInvalidTlvField, "tun_metadata"))
    }
}
