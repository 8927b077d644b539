//! One connection's messages: what each does, and what it is answered with. No I/O.

use super::bundle::{self, Bundles, CommitFailure, Step};
use super::convert::{self, Failure};
use super::hub::{Client, Hub, Kind, packet_in_reason};
use super::queue::{Event, Taken};
use super::settings::{self, OPTION_FIELDS, OPTION_SPACE};
use super::statistics::{self, FlowDump, Reply};
use super::{describe, monitor};
use crate::bridge::report;
use crate::events::{FlowChange, FlowEvent};
use crate::{FlowFilter, Origin};
use footbridge_datapath::clock;
use footbridge_openflow::wire::stats::{FlowUpdate, ReplyBody, StatsReply, StatsRequest};
use footbridge_openflow::wire::{
    BundleAddView, BundleCommand, BundleControl, Context, CtFlush, EncodeError, ErrorCode, ErrorKind,
    ErrorMessage, FlowFormat, FlowRemoved, Form, Header, Hello, Message, PacketIn, PacketInFormat, PortMod,
    PortStatus, Refusal, Role, RoleMessage, Setting, SwitchConfig, TlvTableReply, Version, Versions,
};
use footbridge_openflow::{Field, Key, Match, PortNo};
use footbridge_pipeline::packet::is_packet_field;
use std::sync::Arc;

/// OFPC_FRAG_NORMAL, OFPC_FRAG_NX_MATCH: the modes there are, which are one here.
const FRAGMENTS: [u16; 2] = [0, 3];
/// OFPC_FRAG_MASK
const FRAGMENT_MASK: u16 = 3;
/// OFPC_INVALID_TTL_TO_CONTROLLER
const INVALID_TTL: u16 = 1 << 2;
/// The reason's bit in a mask of packet-ins.
const INVALID_TTL_BIT: u32 = 1 << footbridge_pipeline::PacketIn::INVALID_TTL;
/// Updates of one change that are told in one message at most, so that those of a change of many flows are not
/// all in memory.
const UPDATES_TOGETHER: usize = 256;
/// Of events: they answer nothing.
const NO_XID: u32 = 0;

/// What a message is answered with.
#[derive(Default)]
pub(super) struct Answer {
    /// Messages, whole, one behind the other.
    pub(super) bytes: Vec<u8>,
    /// More of them, to be had one by one.
    pub(super) dump: Option<FlowDump>,
    /// The connection is to end when they are written.
    pub(super) hang_up: bool,
}

/// One connection.
pub(super) struct Session {
    hub: Arc<Hub>,
    client: Arc<Client>,
    version: Option<Version>,
    flow_format: FlowFormat,
    packet_in_format: PacketInFormat,
    table_in_command: bool,
    invalid_ttl: bool,
    bundles: Bundles,
    /// What monitors are to be told of the change whose events are being taken.
    updates: Vec<FlowUpdate>,
}

impl Session {
    pub(super) fn new(hub: Arc<Hub>, client: Arc<Client>) -> Session {
        let bundles = Bundles::new(Arc::clone(&hub));
        Session {
            hub,
            client,
            version: None,
            flow_format: FlowFormat::default(),
            packet_in_format: PacketInFormat::default(),
            table_in_command: false,
            invalid_ttl: false,
            bundles,
            updates: Vec::new(),
        }
    }

    /// What the server says first.
    pub(super) fn greeting() -> Result<Vec<u8>, EncodeError> {
        Hello::offering(Versions::SPOKEN).encode(NO_XID)
    }

    /// Whether the hellos are exchanged.
    pub(super) fn greeted(&self) -> bool {
        self.version.is_some()
    }

    /// Carry one message out and answer it.
    pub(super) fn handle(&mut self, message: &[u8]) -> Answer {
        let mut answer = Answer::default();
        let Some(version) = self.version else {
            self.greet(message, &mut answer);
            return answer;
        };
        let tlv = self.hub.tlv();
        let context = Context { version, tlv: Some(&tlv), table_in_command: self.table_in_command };
        let snoops = self.client.wants().kind == Kind::Snoop;
        let done = match BundleAddView::of(message, context) {
            Some(Ok(add)) if !snoops => self.bundle_add(add, context),
            Some(add) => add.map(drop).map_err(Failure::from),
            None => Message::decode(message, context).map_err(Failure::from).and_then(|(header, decoded)| {
                if snoops { Ok(()) } else { self.carry_out(decoded, header, context, &mut answer) }
            }),
        };
        if let Err(failure) = done {
            tracing::debug!(client = self.client.id, %failure, "a request is refused");
            answer.bytes.extend(error(&failure, version, message));
        }
        answer
    }

    /// The first message has to be a hello.
    fn greet(&mut self, message: &[u8], answer: &mut Answer) {
        let context = Context { version: Version::V10, tlv: None, table_in_command: false };
        let offered = match Message::decode(message, context) {
            Ok((_, Message::Hello(hello))) => hello.versions(),
            _ => Versions(0),
        };
        self.version = Versions::SPOKEN.negotiate(offered);
        if let Some(version) = self.version {
            self.client.wants().version = Some(version);
            self.hub.wants_changed();
            return;
        }
        answer.hang_up = true;
        let data = b"we speak OpenFlow 1.0, 1.3, 1.4 and 1.5, and the first message is a hello".to_vec();
        let refusal = ErrorMessage { kind: ErrorKind::Known(ErrorCode::HfcIncompatible), data };
        answer.bytes.extend(refusal.encode(Version::V10, NO_XID).unwrap_or_default());
    }

    fn carry_out(
        &mut self,
        message: Message,
        header: Header,
        context: Context<'_>,
        answer: &mut Answer,
    ) -> Result<(), Failure> {
        let xid = header.xid;
        let mut reply = |message: Message| -> Result<(), Failure> {
            for bytes in message.encode_all(context, xid)? {
                answer.bytes.extend(bytes);
            }
            Ok(())
        };
        match message {
            // Nothing to answer, and nothing to ask.
            Message::Hello(_) | Message::Error(_) | Message::EchoReply(_) => Ok(()),
            Message::EchoRequest(data) => reply(Message::EchoReply(data)),
            Message::BarrierRequest => reply(Message::BarrierReply),
            Message::FeaturesRequest => {
                reply(Message::FeaturesReply(describe::features(&self.hub, context.version)))
            }
            Message::GetConfigRequest => reply(Message::GetConfigReply(self.config())),
            Message::SetConfig(config) => self.set_config(config),
            Message::FlowMod(flow_mod) => {
                self.may_write()?;
                let flow_mod = std::iter::once(convert::ready(flow_mod));
                Ok(self.hub.bridge.change(flow_mod, Some(self.origin(xid)))?)
            }
            Message::PacketOut(packet) => {
                self.may_write()?;
                Ok(self.hub.bridge.packet_out(convert::packet_out(packet)?)?)
            }
            Message::BundleControl(control) => {
                self.may_write()?;
                self.bundle_control(control, context, xid, answer)
            }
            Message::BundleAdd(add) => self.bundle_add(add.view(), context),
            Message::StatsRequest(StatsRequest::FlowMonitor(requests)) => {
                let flows = monitor::request(&self.hub, &self.client, requests)?;
                reply(stats_reply(ReplyBody::FlowMonitor(flows)))
            }
            Message::StatsRequest(request) => {
                match statistics::answer(&self.hub, request, context.version, xid)? {
                    Reply::Whole(body) => reply(stats_reply(body)),
                    Reply::Flows(dump) => {
                        answer.dump = Some(dump);
                        Ok(())
                    }
                }
            }
            Message::FlowMonitorCancel(id) => match self.client.wants().monitors.remove(&id) {
                Some(_) => Ok(()),
                None => Err(ErrorCode::MofcUnknownMonitor.into()),
            },
            Message::QueueGetConfigRequest(port) => {
                statistics::known_port(&self.hub.bridge, port)?;
                reply(Message::QueueGetConfigReply(port))
            }
            Message::RoleRequest(role) => reply(Message::RoleReply(self.take_role(role)?)),
            Message::GetAsyncRequest => {
                let config = self.client.wants().config;
                reply(Message::GetAsyncReply(config))
            }
            Message::SetAsync(config) => {
                settings::merge(&mut self.client.wants().config, config);
                self.hub.wants_changed();
                Ok(())
            }
            Message::Setting(setting) => {
                self.set(setting);
                Ok(())
            }
            Message::CtFlush(CtFlush { zone }) => {
                self.may_write()?;
                self.hub.bridge.flush_connections(zone)?;
                Ok(())
            }
            Message::TlvTableMod(change) => {
                self.may_write()?;
                let in_use = |index| {
                    self.hub
                        .bridge
                        .entries(&FlowFilter::default())
                        .iter()
                        .any(|entry| convert::uses_option(&entry.flow, index))
                };
                self.hub
                    .change_tlv(|table| settings::change_tlv(table, &change, in_use))
                    .map_err(Failure::from)
            }
            Message::TlvTableRequest => reply(Message::TlvTableReply(TlvTableReply {
                max_option_space: OPTION_SPACE,
                max_fields: OPTION_FIELDS,
                mappings: self.hub.tlv().0.clone(),
            })),
            Message::PortMod(change) => {
                self.may_write()?;
                self.port_mod(&change)
            }
            Message::GroupMod(change) => {
                self.may_write()?;
                settings::group_mod(change).map_err(Failure::from)
            }
            Message::MeterMod(change) => {
                self.may_write()?;
                settings::meter_mod(change).map_err(Failure::from)
            }
            Message::TableMod(change) => {
                self.may_write()?;
                settings::table_mod(change).map_err(Failure::from)
            }
            // A switch's to send.
            Message::FeaturesReply(_)
            | Message::GetConfigReply(_)
            | Message::PacketIn(_)
            | Message::FlowRemoved(_)
            | Message::PortStatus(_)
            | Message::StatsReply(_)
            | Message::BarrierReply
            | Message::QueueGetConfigReply(_)
            | Message::RoleReply(_)
            | Message::GetAsyncReply(_)
            | Message::TlvTableReply(_)
            | Message::FlowMonitorPaused
            | Message::FlowMonitorResumed => {
                Err(Refusal::new(ErrorCode::BrcBadType, "a message that switches send").into())
            }
        }
    }

    /// Secondary controllers only look on.
    fn may_write(&self) -> Result<(), Failure> {
        match self.client.wants().role {
            Role::Secondary => Err(ErrorCode::BrcIsSecondary.into()),
            Role::NoChange | Role::Equal | Role::Primary => Ok(()),
        }
    }

    fn origin(&self, xid: u32) -> Origin {
        Origin { connection: self.client.id, xid }
    }

    fn config(&self) -> SwitchConfig {
        let ttl = if self.invalid_ttl { INVALID_TTL } else { 0 };
        SwitchConfig { flags: self.hub.fragments() | ttl, miss_send_len: self.client.wants().miss_send_len }
    }

    fn set_config(&mut self, config: SwitchConfig) -> Result<(), Failure> {
        let mut wants = self.client.wants();
        let primary = wants.kind == Kind::Service || wants.role != Role::Secondary;
        let mode = config.flags & FRAGMENT_MASK;
        // Others (dropping, reassembling) are passed over, as by a switch that lacks them.
        if primary && FRAGMENTS.contains(&mode) {
            self.hub.set_fragments(mode);
        }
        self.invalid_ttl = config.flags & INVALID_TTL != 0;
        let mask = &mut wants.config.packet_in.primary;
        let bits = mask.unwrap_or(0) & !INVALID_TTL_BIT;
        *mask = Some(if self.invalid_ttl { bits | INVALID_TTL_BIT } else { bits });
        wants.miss_send_len = config.miss_send_len;
        drop(wants);
        self.hub.wants_changed();
        Ok(())
    }

    fn set(&mut self, setting: Setting) {
        match setting {
            Setting::FlowFormat(format) => self.flow_format = format,
            Setting::FlowModTableId(set) => self.table_in_command = set,
            Setting::PacketInFormat(format) => self.packet_in_format = format,
            Setting::ControllerId(id) => self.client.wants().controller_id = id,
            Setting::FlowAge => {}
        }
    }

    fn take_role(&mut self, request: RoleMessage) -> Result<RoleMessage, Failure> {
        let RoleMessage { form, role, generation_id } = request;
        if role != Role::NoChange {
            if let Some(generation) = generation_id.filter(|_| role != Role::Equal)
                && !self.hub.take_generation(generation)
            {
                return Err(ErrorCode::RrfcStale.into());
            }
            self.client.wants().role = role;
            if role == Role::Primary {
                self.hub.promote(&self.client);
            }
            self.hub.wants_changed();
        }
        let role = self.client.wants().role;
        Ok(RoleMessage { form, role, generation_id: self.hub.generation() })
    }

    /// The port's settings, of which none can be changed from here.
    fn port_mod(&self, change: &PortMod) -> Result<(), Failure> {
        let ports = self.hub.bridge.port_specs();
        let port = ports.iter().find(|port| port.number == change.number);
        let port = port.map(describe::port).ok_or(ErrorCode::PmfcBadPort)?;
        if port.hw_addr != change.hw_addr {
            return Err(ErrorCode::PmfcBadHwAddr.into());
        }
        if (port.config ^ change.config) & change.mask != 0 {
            return Err(ErrorCode::PmfcBadConfig.into());
        }
        Ok(())
    }

    fn bundle_control(
        &mut self,
        control: BundleControl,
        context: Context<'_>,
        xid: u32,
        answer: &mut Answer,
    ) -> Result<(), Failure> {
        let mut done = |command| -> Result<(), Failure> {
            let reply = Message::BundleControl(BundleControl { command, ..control });
            answer.bytes.extend(reply.encode(context, xid)?);
            Ok(())
        };
        match self.bundles.control(control)? {
            Step::Done(command) => done(command),
            Step::Commit(contents) => {
                match bundle::commit(&self.hub, contents, self.origin(xid)) {
                    Ok(()) => done(BundleCommand::CommitReply),
                    // The message to blame is told of by its own xid, then the commit by its.
                    Err(CommitFailure { message, failure }) => {
                        tracing::debug!(client = self.client.id, %failure, "a bundle is refused");
                        let message = message.unwrap_or_default();
                        answer.bytes.extend(error(&failure, context.version, &message));
                        Err(ErrorCode::BfcMsgFailed.into())
                    }
                }
            }
        }
    }

    fn bundle_add(&mut self, add: BundleAddView<'_>, context: Context<'_>) -> Result<(), Failure> {
        self.may_write()?;
        self.bundles.add(add, context)
    }

    /// The next event, as bytes. None where there is none; an error where the client has left too many
    /// unread.
    pub(super) fn next_event(&mut self) -> Option<Result<Vec<u8>, Overflowed>> {
        let version = self.version?;
        let taken = self.client.queue.take();
        // As after most messages.
        if matches!(taken, Taken::Nothing) {
            return None;
        }
        let tlv = self.hub.tlv();
        let context = Context { version, tlv: Some(&tlv), table_in_command: false };
        let messages = match taken {
            Taken::Nothing => return None,
            Taken::Overflowed => return Some(Err(Overflowed)),
            Taken::Event(Event::Snooped(message)) => return Some(Ok(message.to_vec())),
            Taken::Event(event) => self.event(event, context),
            Taken::Resume(changed) => {
                let updates = monitor::resume(&self.hub, &self.client, &changed);
                if version >= Version::V14 {
                    let updates = updates.into_iter().chain([FlowUpdate::Resumed]).collect();
                    vec![stats_reply(ReplyBody::FlowMonitor(updates))]
                } else {
                    vec![stats_reply(ReplyBody::FlowMonitor(updates)), Message::FlowMonitorResumed]
                }
            }
        };
        let mut bytes = Vec::new();
        for message in messages {
            match message.encode_all(context, NO_XID) {
                Ok(encoded) => encoded.into_iter().for_each(|message| bytes.extend(message)),
                Err(error) => tracing::warn!(client = self.client.id, %error, "an event can't be told"),
            }
        }
        Some(Ok(bytes))
    }

    /// The updates that are still to be told, as one message.
    fn updates(&mut self) -> Option<Message> {
        let updates = std::mem::take(&mut self.updates);
        (!updates.is_empty()).then(|| stats_reply(ReplyBody::FlowMonitor(updates)))
    }

    fn event(&mut self, event: Event, context: Context<'_>) -> Vec<Message> {
        let version = context.version;
        match event {
            Event::PacketIn(packet) => vec![Message::PacketIn(self.packet_in(&packet, context))],
            Event::FlowRemoved(change) => self.flow_removed(&change).into_iter().collect(),
            Event::Port(port, reason) => {
                vec![Message::PortStatus(PortStatus { reason, port: describe::port(&port) })]
            }
            Event::Update(change) => {
                self.updates.push(monitor::update(&self.client, &change));
                let enough = self.updates.len() >= UPDATES_TOGETHER;
                if enough { self.updates().into_iter().collect() } else { Vec::new() }
            }
            Event::OwnUpdate(xid) => {
                self.updates.push(FlowUpdate::Abbreviated { xid });
                Vec::new()
            }
            Event::UpdatesEnd => self.updates().into_iter().collect(),
            Event::MonitorsPaused => {
                let paused = match version {
                    Version::V10 | Version::V13 => Message::FlowMonitorPaused,
                    Version::V14 | Version::V15 => {
                        stats_reply(ReplyBody::FlowMonitor(vec![FlowUpdate::Paused]))
                    }
                };
                self.updates().into_iter().chain([paused]).collect()
            }
            // 1.4's OFPT_ROLE_STATUS is asked for by nobody yet: see `default_config`.
            Event::Demoted | Event::Snooped(_) => Vec::new(),
        }
    }

    fn packet_in(&self, packet: &footbridge_pipeline::PacketIn, context: Context<'_>) -> PacketIn {
        PacketIn {
            format: self.packet_in_format,
            buffer_id: None,
            total_len: u32::try_from(packet.frame.len()).unwrap_or(u32::MAX),
            reason: packet_in_reason(packet, context.version),
            table: packet.table,
            cookie: packet.cookie,
            metadata: metadata(&packet.key, packet.in_port, context),
            userdata: packet.userdata.clone(),
            data: packet.frame.clone(),
        }
    }

    fn flow_removed(&self, change: &FlowChange) -> Option<Message> {
        let FlowEvent::Removed(reason, statistics) = change.event else { return None };
        let report = report(&change.entry, statistics, clock::now());
        let flow = report.flow();
        let seconds = u32::try_from(report.age.as_secs()).unwrap_or(u32::MAX);
        Some(Message::FlowRemoved(FlowRemoved {
            form: match self.flow_format {
                FlowFormat::Standard => Form::Standard,
                FlowFormat::Nxm => Form::Nicira,
            },
            reason,
            table: flow.table,
            priority: flow.priority,
            cookie: flow.cookie,
            matching: flow.matching.clone(),
            duration: (seconds, report.age.subsec_nanos()),
            idle_timeout: flow.idle_timeout,
            hard_timeout: flow.hard_timeout,
            packets: report.packets,
            bytes: report.bytes,
        }))
    }

    /// An echo request, to hear whether the other end is there. None before the hellos.
    pub(super) fn probe(&self) -> Option<Vec<u8>> {
        let context = Context { version: self.version?, tlv: None, table_in_command: false };
        Message::EchoRequest(Vec::new()).encode(context, NO_XID).ok()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.hub.leave(&self.client);
    }
}

/// The client has left too much unread.
#[derive(Debug, thiserror::Error)]
#[error("it does not read what it is sent")]
pub(super) struct Overflowed;

fn stats_reply(body: ReplyBody) -> Message {
    Message::StatsReply(StatsReply { more: false, body })
}

/// OFPT_ERROR about a message, with the message's xid.
fn error(failure: &Failure, version: Version, message: &[u8]) -> Vec<u8> {
    // An error may quote the beginning only, in which the xid is.
    let xid = message.get(4..8).and_then(|xid| xid.try_into().ok()).map_or(NO_XID, u32::from_be_bytes);
    ErrorMessage::about(failure.code(), message).encode(version, xid).unwrap_or_default()
}

/// in_port, and what else the pipeline knew of the packet when it was sent, as far as it is not zero.
fn metadata(key: &Key, in_port: PortNo, context: Context<'_>) -> Match {
    let mapped = |field: Field| {
        let index = (field as usize).wrapping_sub(Field::TunMetadata0 as usize);
        let is_option = (Field::TunMetadata0..=Field::TunMetadata7).contains(&field);
        !is_option || context.tlv.is_some_and(|tlv| tlv.0.iter().any(|map| usize::from(map.index) == index))
    };
    let told = |field: &Field| {
        let kept = match field {
            // in_port goes first; what others say too, or nothing can read.
            Field::InPort | Field::InPortOxm | Field::ConjId | Field::SkbPriority | Field::ActsetOutput => {
                false
            }
            Field::PacketType => false,
            field => !is_packet_field(*field) && !(Field::Xreg0..=Field::Xxreg3).contains(field),
        };
        kept && key.get(*field) != 0 && mapped(*field)
    };
    let start = Match::any().with(Field::InPortOxm, in_port.0);
    Field::all().filter(told).fold(start, |matching, field| matching.with(field, key.get(field)))
}
