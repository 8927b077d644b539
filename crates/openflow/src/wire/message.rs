//! Every message, as one value: what a server or client reads and writes.
//!
//! The numbers of the messages in each version stand in [`super::kind`]; each message's layout in its
//! own file. OpenFlow 1.0.0 §5.1, 1.3.5 §7.1.1, 1.5.1 §7.1.1.

use super::async_config::AsyncConfig;
use super::bundle::{BundleAdd, BundleControl};
use super::ct_flush::CtFlush;
use super::error::{EncodeError, ErrorCode, ErrorMessage, Refusal};
use super::features::Features;
use super::flow_mod::FlowMod;
use super::flow_removed::FlowRemoved;
use super::header::{Header, decode_vendor, message, vendor_message};
use super::hello::Hello;
use super::packet_in::PacketIn;
use super::packet_out::PacketOut;
use super::port::{PortMod, PortStatus};
use super::role::RoleMessage;
use super::settings::{Setting, SwitchConfig};
use super::stats::{StatsReply, StatsRequest};
use super::tlv_table::{TlvTableMod, TlvTableReply};
use super::unsupported::{GroupMod, MeterMod, TableMod, decode_queue_port, encode_no_queues};
use super::version::Version;
use super::{Context, NICIRA, ONF, kind, nicira, onf};
use crate::port::PortNo;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the variants are the specification's messages, each documented in its file")]
pub enum Message {
    Hello(Hello),
    Error(ErrorMessage),
    /// Its bytes are to be sent back.
    EchoRequest(Vec<u8>),
    EchoReply(Vec<u8>),
    FeaturesRequest,
    FeaturesReply(Features),
    GetConfigRequest,
    GetConfigReply(SwitchConfig),
    SetConfig(SwitchConfig),
    PacketIn(PacketIn),
    FlowRemoved(FlowRemoved),
    PortStatus(PortStatus),
    PacketOut(PacketOut),
    FlowMod(FlowMod),
    GroupMod(GroupMod),
    PortMod(PortMod),
    TableMod(TableMod),
    MeterMod(MeterMod),
    StatsRequest(StatsRequest),
    StatsReply(StatsReply),
    BarrierRequest,
    BarrierReply,
    QueueGetConfigRequest(PortNo),
    /// Of a port without queues.
    QueueGetConfigReply(PortNo),
    RoleRequest(RoleMessage),
    RoleReply(RoleMessage),
    GetAsyncRequest,
    GetAsyncReply(AsyncConfig),
    SetAsync(AsyncConfig),
    BundleControl(BundleControl),
    BundleAdd(BundleAdd),
    /// One of Nicira's settings of a connection.
    Setting(Setting),
    CtFlush(CtFlush),
    TlvTableMod(TlvTableMod),
    TlvTableRequest,
    TlvTableReply(TlvTableReply),
    /// NXT_FLOW_MONITOR_CANCEL, of the monitor with this id.
    FlowMonitorCancel(u32),
    /// NXT_FLOW_MONITOR_PAUSED (before 1.4)
    FlowMonitorPaused,
    /// NXT_FLOW_MONITOR_RESUMED (before 1.4)
    FlowMonitorResumed,
}

/// Refuse bytes behind a message that has no body.
fn bare(body: &[u8], message: Message) -> Result<Message, Refusal> {
    if body.is_empty() {
        Ok(message)
    } else {
        Err(Refusal::new(ErrorCode::BrcBadLen, "a message without a body"))
    }
}

fn id(body: &[u8]) -> Result<u32, Refusal> {
    let bytes = body.try_into().map_err(|_| Refusal::new(ErrorCode::BrcBadLen, "a flow monitor's id"))?;
    Ok(u32::from_be_bytes(bytes))
}

impl Message {
    /// Read one whole message, header included.
    ///
    /// Hellos and errors are read whatever their version; of other versions than `context`'s no
    /// other message is.
    pub fn decode(bytes: &[u8], context: Context<'_>) -> Result<(Header, Message), Refusal> {
        let (header, body) = Header::decode(bytes)?;
        let message = match header.kind {
            kind::HELLO => Message::Hello(Hello::decode(header.version, body)),
            kind::ERROR => Message::Error(ErrorMessage::decode(header.version, body)?),
            _ if header.version != context.version.wire() => {
                return Err(Refusal::new(ErrorCode::BrcBadVersion, "the header"));
            }
            kind::EXPERIMENTER => Message::decode_vendor(body, context, header.xid)?,
            kind::ECHO_REQUEST => Message::EchoRequest(body.to_vec()),
            kind::ECHO_REPLY => Message::EchoReply(body.to_vec()),
            kind::FEATURES_REQUEST => bare(body, Message::FeaturesRequest)?,
            kind::FEATURES_REPLY => Message::FeaturesReply(Features::decode(body, context)?),
            kind::GET_CONFIG_REQUEST => bare(body, Message::GetConfigRequest)?,
            kind::GET_CONFIG_REPLY => Message::GetConfigReply(SwitchConfig::decode(body)?),
            kind::SET_CONFIG => Message::SetConfig(SwitchConfig::decode(body)?),
            kind::PACKET_IN => Message::PacketIn(PacketIn::decode(body, context)?),
            kind::FLOW_REMOVED => Message::FlowRemoved(FlowRemoved::decode(body, context)?),
            kind::PORT_STATUS => Message::PortStatus(PortStatus::decode(body, context)?),
            kind::PACKET_OUT => Message::PacketOut(PacketOut::decode(body, context)?),
            kind::FLOW_MOD => Message::FlowMod(FlowMod::decode(body, context)?),
            number => Message::decode_numbered(number, body, context, header.xid)?,
        };
        Ok((header, message))
    }

    /// The messages whose numbers differ between 1.0 and later versions.
    fn decode_numbered(number: u8, body: &[u8], context: Context<'_>, xid: u32) -> Result<Message, Refusal> {
        let version = context.version;
        let later = version != Version::V10;
        let with_bundles = version >= Version::V14;
        Ok(match number {
            _ if number == kind::port_mod(version) => Message::PortMod(PortMod::decode(body, context)?),
            _ if number == kind::stats_request(version) => {
                Message::StatsRequest(StatsRequest::decode(body, context)?)
            }
            _ if number == kind::stats_reply(version) => {
                Message::StatsReply(StatsReply::decode(body, context)?)
            }
            _ if number == kind::barrier_request(version) => bare(body, Message::BarrierRequest)?,
            _ if number == kind::barrier_reply(version) => bare(body, Message::BarrierReply)?,
            _ if number == kind::queue_config_request(version) && !with_bundles => {
                Message::QueueGetConfigRequest(decode_queue_port(body, context)?)
            }
            _ if number == kind::queue_config_reply(version) && !with_bundles => {
                Message::QueueGetConfigReply(decode_queue_port(body, context)?)
            }
            kind::GROUP_MOD if later => Message::GroupMod(GroupMod::decode(body)?),
            kind::TABLE_MOD if later => Message::TableMod(TableMod::decode(body)?),
            kind::METER_MOD if later => Message::MeterMod(MeterMod::decode(body)?),
            kind::ROLE_REQUEST if later => Message::RoleRequest(RoleMessage::decode(body, true)?),
            kind::ROLE_REPLY if later => Message::RoleReply(RoleMessage::decode(body, false)?),
            kind::GET_ASYNC_REQUEST if later => bare(body, Message::GetAsyncRequest)?,
            kind::GET_ASYNC_REPLY if later => Message::GetAsyncReply(AsyncConfig::decode(body, context)?),
            kind::SET_ASYNC if later => Message::SetAsync(AsyncConfig::decode(body, context)?),
            kind::BUNDLE_CONTROL if with_bundles => Message::BundleControl(BundleControl::decode(body)?),
            kind::BUNDLE_ADD if with_bundles => Message::BundleAdd(BundleAdd::decode(body, context, xid)?),
            _ => return Err(Refusal::new(ErrorCode::BrcBadType, "the header")),
        })
    }

    fn decode_vendor(body: &[u8], context: Context<'_>, xid: u32) -> Result<Message, Refusal> {
        let (vendor, subtype, rest) = decode_vendor(body)?;
        let bad_subtype = Refusal::new(ErrorCode::BrcBadSubtype, "an experimenter's message");
        let v13 = context.version == Version::V13;
        if vendor == ONF {
            return match subtype {
                onf::BUNDLE_CONTROL if v13 => Ok(Message::BundleControl(BundleControl::decode(rest)?)),
                onf::BUNDLE_ADD if v13 => Ok(Message::BundleAdd(BundleAdd::decode(rest, context, xid)?)),
                onf::FLOW_MONITOR_CANCEL if v13 => Ok(Message::FlowMonitorCancel(id(rest)?)),
                onf::FLOW_MONITOR_PAUSED if v13 => bare(rest, Message::FlowMonitorPaused),
                onf::FLOW_MONITOR_RESUMED if v13 => bare(rest, Message::FlowMonitorResumed),
                _ => Err(bad_subtype),
            };
        }
        if let Some(setting) = Setting::decode(subtype, rest)? {
            return Ok(Message::Setting(setting));
        }
        Ok(match subtype {
            nicira::ROLE_REQUEST => Message::RoleRequest(RoleMessage::decode_nxt(rest)?),
            nicira::ROLE_REPLY => Message::RoleReply(RoleMessage::decode_nxt(rest)?),
            nicira::FLOW_MOD => Message::FlowMod(FlowMod::decode_nxt(rest, context)?),
            nicira::FLOW_REMOVED => Message::FlowRemoved(FlowRemoved::decode_nxt(rest, context)?),
            nicira::PACKET_IN => Message::PacketIn(PacketIn::decode_nxt(rest, context)?),
            nicira::PACKET_IN2 => Message::PacketIn(PacketIn::decode_nxt2(rest, context)?),
            nicira::SET_ASYNC_CONFIG => Message::SetAsync(AsyncConfig::decode_masks(rest)?),
            nicira::SET_ASYNC_CONFIG2 => Message::SetAsync(AsyncConfig::decode_properties(rest)?),
            nicira::TLV_TABLE_MOD => Message::TlvTableMod(TlvTableMod::decode(rest)?),
            nicira::TLV_TABLE_REQUEST => bare(rest, Message::TlvTableRequest)?,
            nicira::TLV_TABLE_REPLY => Message::TlvTableReply(TlvTableReply::decode(rest)?),
            nicira::FLOW_MONITOR_CANCEL => Message::FlowMonitorCancel(id(rest)?),
            nicira::FLOW_MONITOR_PAUSED => bare(rest, Message::FlowMonitorPaused)?,
            nicira::FLOW_MONITOR_RESUMED => bare(rest, Message::FlowMonitorResumed)?,
            nicira::CT_FLUSH_ZONE => Message::CtFlush(CtFlush::decode_zone(rest)?),
            nicira::CT_FLUSH => Message::CtFlush(CtFlush::decode(rest)?),
            nicira::GROUP_MOD => Message::GroupMod(GroupMod::decode(rest)?),
            nicira::RESUME => return Err(Refusal::new(ErrorCode::NxrNotSupported, "NXT_RESUME")),
            _ => return Err(bad_subtype),
        })
    }

    /// Write the message; a long statistics reply as several, anything else as one.
    pub fn encode_all(&self, context: Context<'_>, xid: u32) -> Result<Vec<Vec<u8>>, EncodeError> {
        match self {
            Message::StatsReply(reply) => reply.encode(context, xid),
            _ => Ok(vec![self.encode(context, xid)?]),
        }
    }

    /// Write the message. A statistics reply that takes several is an error.
    pub fn encode(&self, context: Context<'_>, xid: u32) -> Result<Vec<u8>, EncodeError> {
        let version = context.version;
        let bare = |kind: u8| message(version, kind, xid, |_| Ok(()));
        let bytes = |kind: u8, bytes: &[u8]| {
            message(version, kind, xid, |out| {
                out.extend_from_slice(bytes);
                Ok(())
            })
        };
        match self {
            Message::Hello(hello) => hello.encode(xid),
            Message::Error(error) => error.encode(version, xid),
            Message::EchoRequest(data) => bytes(kind::ECHO_REQUEST, data),
            Message::EchoReply(data) => bytes(kind::ECHO_REPLY, data),
            Message::FeaturesRequest => bare(kind::FEATURES_REQUEST),
            Message::FeaturesReply(features) => features.encode(context, xid),
            Message::GetConfigRequest => bare(kind::GET_CONFIG_REQUEST),
            Message::GetConfigReply(config) => config.encode_reply(context, xid),
            Message::SetConfig(config) => config.encode_set(context, xid),
            Message::PacketIn(packet) => packet.encode(context, xid),
            Message::FlowRemoved(removed) => removed.encode(context, xid),
            Message::PortStatus(status) => status.encode(context, xid),
            Message::PacketOut(packet) => packet.encode(context, xid),
            Message::FlowMod(flow_mod) => flow_mod.encode(context, xid),
            Message::GroupMod(_) | Message::MeterMod(_) | Message::TableMod(_) => {
                Err(EncodeError::Inexpressible { version, what: "a group, meter or table mod" })
            }
            Message::CtFlush(flush) => flush.encode(context, xid),
            Message::PortMod(port_mod) => port_mod.encode(context, xid),
            Message::StatsRequest(request) => request.encode(context, xid),
            Message::StatsReply(reply) => one_message(reply, context, xid),
            Message::BarrierRequest => bare(kind::barrier_request(version)),
            Message::BarrierReply => bare(kind::barrier_reply(version)),
            Message::QueueGetConfigRequest(port) => match version {
                Version::V10 => {
                    bytes(kind::queue_config_request(version), &[(port.0 >> 8) as u8, port.0 as u8, 0, 0])
                }
                _ => bytes(kind::queue_config_request(version), &(u64::from(port.0) << 32).to_be_bytes()),
            },
            Message::QueueGetConfigReply(port) => encode_no_queues(*port, context, xid),
            Message::RoleRequest(role) => role.encode_request(context, xid),
            Message::RoleReply(role) => role.encode_reply(context, xid),
            Message::GetAsyncRequest => bare(kind::GET_ASYNC_REQUEST),
            Message::GetAsyncReply(config) => config.encode_reply(context, xid),
            Message::SetAsync(config) => config.encode_set(context, xid),
            Message::BundleControl(control) => control.encode(context, xid),
            Message::BundleAdd(add) => add.encode(context, xid),
            Message::Setting(setting) => setting.encode(context, xid),
            Message::TlvTableMod(table_mod) => table_mod.encode(context, xid),
            Message::TlvTableRequest => nicira_message(context, nicira::TLV_TABLE_REQUEST, xid, &[]),
            Message::TlvTableReply(reply) => reply.encode(context, xid),
            Message::FlowMonitorCancel(id) => monitor_message(
                context,
                (nicira::FLOW_MONITOR_CANCEL, onf::FLOW_MONITOR_CANCEL),
                xid,
                &id.to_be_bytes(),
            ),
            Message::FlowMonitorPaused => {
                monitor_message(context, (nicira::FLOW_MONITOR_PAUSED, onf::FLOW_MONITOR_PAUSED), xid, &[])
            }
            Message::FlowMonitorResumed => {
                monitor_message(context, (nicira::FLOW_MONITOR_RESUMED, onf::FLOW_MONITOR_RESUMED), xid, &[])
            }
        }
    }
}

fn nicira_message(context: Context<'_>, subtype: u32, xid: u32, body: &[u8]) -> Result<Vec<u8>, EncodeError> {
    vendor_message(context.version, NICIRA, subtype, xid, |out| {
        out.extend_from_slice(body);
        Ok(())
    })
}

/// Nicira's message in 1.0, ONF's in 1.3.
fn monitor_message(
    context: Context<'_>,
    (nicira, onf): (u32, u32),
    xid: u32,
    body: &[u8],
) -> Result<Vec<u8>, EncodeError> {
    let (vendor, subtype) = if context.version == Version::V13 { (ONF, onf) } else { (NICIRA, nicira) };
    vendor_message(context.version, vendor, subtype, xid, |out| {
        out.extend_from_slice(body);
        Ok(())
    })
}

fn one_message(reply: &StatsReply, context: Context<'_>, xid: u32) -> Result<Vec<u8>, EncodeError> {
    let mut messages = reply.encode(context, xid)?;
    match (messages.pop(), messages.is_empty()) {
        (Some(only), true) => Ok(only),
        (last, _) => {
            let length = messages.iter().chain(&last).map(Vec::len).sum();
            Err(EncodeError::TooLong { length })
        }
    }
}
