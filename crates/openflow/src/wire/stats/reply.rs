//! OFPT_STATS_REPLY, OFPT_MULTIPART_REPLY: what is answered, in as many messages as it takes.

use super::super::bytes::{Reader, patch_u16};
use super::super::error::{EncodeError, ErrorCode, Refusal};
use super::super::header::{self, MAX_MESSAGE};
use super::super::port::Port;
use super::super::version::Version;
use super::super::{Context, Form, kind};
use super::aggregate::AggregateStats;
use super::desc::Desc;
use super::flow::FlowEntry;
use super::monitor::{self, FlowUpdate};
use super::port::PortStats;
use super::table::TableStats;
use super::table_desc::TableDesc;
use super::table_features::TableFeatures;
use super::{MORE, Number, decode_head, empty, encode_head, nicira, standard};

/// What a reply is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "as the requests of the same names")]
pub enum ReplyKind {
    Desc,
    Flow(Form),
    Aggregate(Form),
    Table,
    TableFeatures,
    TableDesc,
    Port,
    PortDesc,
    Queue,
    QueueDesc,
    Group,
    GroupDesc,
    GroupFeatures,
    Meter,
    MeterConfig,
    MeterFeatures,
    FlowMonitor,
}

impl ReplyKind {
    fn number(self, version: Version) -> Number {
        let v10 = version == Version::V10;
        let or_nicira =
            |number, subtype| if v10 { Number::Nicira(subtype) } else { Number::Standard(number) };
        match self {
            ReplyKind::Flow(Form::Nicira) if v10 => Number::Nicira(nicira::FLOW),
            ReplyKind::Aggregate(Form::Nicira) if v10 => Number::Nicira(nicira::AGGREGATE),
            ReplyKind::Desc => Number::Standard(standard::DESC),
            ReplyKind::Flow(_) => Number::Standard(standard::FLOW),
            ReplyKind::Aggregate(_) => Number::Standard(standard::AGGREGATE),
            ReplyKind::Table => Number::Standard(standard::TABLE),
            ReplyKind::TableFeatures => Number::Standard(standard::TABLE_FEATURES),
            ReplyKind::TableDesc => Number::Standard(standard::TABLE_DESC),
            ReplyKind::Port => Number::Standard(standard::PORT),
            ReplyKind::PortDesc => Number::Standard(standard::PORT_DESC),
            ReplyKind::Queue => Number::Standard(standard::QUEUE),
            ReplyKind::QueueDesc => Number::Standard(standard::QUEUE_DESC),
            ReplyKind::Group => or_nicira(standard::GROUP, nicira::GROUP),
            ReplyKind::GroupDesc => or_nicira(standard::GROUP_DESC, nicira::GROUP_DESC),
            ReplyKind::GroupFeatures => or_nicira(standard::GROUP_FEATURES, nicira::GROUP_FEATURES),
            ReplyKind::Meter => Number::Standard(standard::METER),
            ReplyKind::MeterConfig => Number::Standard(standard::METER_CONFIG),
            ReplyKind::MeterFeatures => Number::Standard(standard::METER_FEATURES),
            ReplyKind::FlowMonitor => monitor::number(version),
        }
    }

    /// Of these numbers.
    fn of(number: Number, version: Version) -> Option<ReplyKind> {
        const ALL: [ReplyKind; 19] = [
            ReplyKind::Desc,
            ReplyKind::Flow(Form::Standard),
            ReplyKind::Flow(Form::Nicira),
            ReplyKind::Aggregate(Form::Standard),
            ReplyKind::Aggregate(Form::Nicira),
            ReplyKind::Table,
            ReplyKind::TableFeatures,
            ReplyKind::TableDesc,
            ReplyKind::Port,
            ReplyKind::PortDesc,
            ReplyKind::Queue,
            ReplyKind::QueueDesc,
            ReplyKind::Group,
            ReplyKind::GroupDesc,
            ReplyKind::GroupFeatures,
            ReplyKind::Meter,
            ReplyKind::MeterConfig,
            ReplyKind::MeterFeatures,
            ReplyKind::FlowMonitor,
        ];
        ALL.into_iter().find(|kind| kind.number(version) == number)
    }
}

/// Builds a reply entry by entry, giving out each message as soon as it is full.
///
/// Holds one message at a time, so that a reply of a million flows need not be in memory.
#[derive(Debug)]
pub struct ReplyWriter<'a> {
    context: Context<'a>,
    xid: u32,
    kind: ReplyKind,
    message: Vec<u8>,
    /// Bytes of the headers: a message this long has no entry.
    head: usize,
}

impl<'a> ReplyWriter<'a> {
    /// A reply without entries.
    pub fn new(context: Context<'a>, xid: u32, kind: ReplyKind) -> Result<ReplyWriter<'a>, EncodeError> {
        let mut writer = ReplyWriter { context, xid, kind, message: Vec::new(), head: 0 };
        writer.message = writer.begin()?;
        writer.head = writer.message.len();
        Ok(writer)
    }

    fn begin(&self) -> Result<Vec<u8>, EncodeError> {
        let version = self.context.version;
        header::message(version, kind::stats_reply(version), self.xid, |out| {
            encode_head(out, self.kind.number(version), false, version);
            Ok(())
        })
    }

    /// Append one entry, which `entry` writes. The message before it is given out if it is full.
    ///
    /// An entry that fits no message at all is left out, and is an error.
    pub fn push(
        &mut self,
        entry: impl FnOnce(&mut Vec<u8>, Context<'_>) -> Result<(), EncodeError>,
    ) -> Result<Option<Vec<u8>>, EncodeError> {
        let before = self.message.len();
        if let Err(error) = entry(&mut self.message, self.context) {
            self.message.truncate(before);
            return Err(error);
        }
        if self.message.len() <= MAX_MESSAGE {
            return Ok(None);
        }
        let last = self.message.split_off(before);
        if self.head + last.len() > MAX_MESSAGE {
            return Err(EncodeError::TooLong { length: self.head + last.len() });
        }
        let mut next = self.begin()?;
        next.extend_from_slice(&last);
        let mut full = std::mem::replace(&mut self.message, next);
        say_more(&mut full);
        header::finish(full).map(Some)
    }

    /// The last message.
    pub fn finish(self) -> Result<Vec<u8>, EncodeError> {
        header::finish(self.message)
    }
}

/// Say in a message that another of its reply follows.
fn say_more(message: &mut [u8]) {
    // The flags stand behind the message's header and the statistics' type.
    patch_u16(message, header::HEADER_LEN + 2, usize::from(MORE));
}

/// A reply's entries.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "as the requests of the same names")]
pub enum ReplyBody {
    Desc(Box<Desc>),
    Flow(Form, Vec<FlowEntry>),
    Aggregate(Form, AggregateStats),
    Table(Vec<TableStats>),
    TableFeatures(Vec<TableFeatures>),
    TableDesc(Vec<TableDesc>),
    Port(Vec<PortStats>),
    PortDesc(Vec<Port>),
    FlowMonitor(Vec<FlowUpdate>),
    /// Of any other kind: as bytes. Empty but for the features of groups and meters.
    Other(ReplyKind, Vec<u8>),
}

/// One statistics (multipart) reply message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatsReply {
    /// Another message of the same reply follows.
    pub more: bool,
    /// What it says.
    pub body: ReplyBody,
}

fn all<T>(
    reader: &mut Reader<'_>,
    mut one: impl FnMut(&mut Reader<'_>) -> Result<T, Refusal>,
) -> Result<Vec<T>, Refusal> {
    let mut entries = Vec::new();
    while !reader.is_empty() {
        entries.push(one(reader)?);
    }
    Ok(entries)
}

impl StatsReply {
    /// From the bytes behind the header.
    pub(crate) fn decode(body: &[u8], context: Context<'_>) -> Result<StatsReply, Refusal> {
        let version = context.version;
        let (number, more, rest) = decode_head(body, version)?;
        let kind = ReplyKind::of(number, version)
            .ok_or(Refusal::new(ErrorCode::BrcBadStat, "a statistics reply"))?;
        let mut reader = Reader::new(rest, ErrorCode::BrcBadLen, "a statistics reply");
        let r = &mut reader;
        let body = match kind {
            ReplyKind::Desc => {
                let desc = Desc::decode(r)?;
                r.end()?;
                ReplyBody::Desc(Box::new(desc))
            }
            ReplyKind::Flow(form) => ReplyBody::Flow(form, all(r, |r| FlowEntry::decode(r, form, context))?),
            ReplyKind::Aggregate(form) => {
                let stats = AggregateStats::decode(r, version)?;
                r.end()?;
                ReplyBody::Aggregate(form, stats)
            }
            ReplyKind::Table => ReplyBody::Table(all(r, |r| TableStats::decode(r, version))?),
            ReplyKind::TableFeatures => ReplyBody::TableFeatures(all(r, TableFeatures::decode)?),
            ReplyKind::TableDesc => ReplyBody::TableDesc(all(r, TableDesc::decode)?),
            ReplyKind::Port => ReplyBody::Port(all(r, |r| PortStats::decode(r, version))?),
            ReplyKind::PortDesc => ReplyBody::PortDesc(all(r, |r| Port::decode(r, version))?),
            ReplyKind::FlowMonitor => ReplyBody::FlowMonitor(all(r, |r| FlowUpdate::decode(r, context))?),
            _ => ReplyBody::Other(kind, rest.to_vec()),
        };
        Ok(StatsReply { more, body })
    }

    /// The part of the reply, in as many messages as it takes.
    pub fn encode(&self, context: Context<'_>, xid: u32) -> Result<Vec<Vec<u8>>, EncodeError> {
        let mut messages = self.body.encode(context, xid)?;
        if let Some(last) = messages.last_mut().filter(|_| self.more) {
            say_more(last);
        }
        Ok(messages)
    }
}

impl ReplyBody {
    /// A reply without entries; features of groups and meters say that there can be none.
    pub fn empty(kind: ReplyKind) -> ReplyBody {
        let zeros = match kind {
            ReplyKind::GroupFeatures => empty::GROUP_FEATURES,
            ReplyKind::MeterFeatures => empty::METER_FEATURES,
            _ => 0,
        };
        ReplyBody::Other(kind, vec![0; zeros])
    }

    /// The kind of the reply.
    pub fn kind(&self) -> ReplyKind {
        match self {
            ReplyBody::Desc(_) => ReplyKind::Desc,
            ReplyBody::Flow(form, _) => ReplyKind::Flow(*form),
            ReplyBody::Aggregate(form, _) => ReplyKind::Aggregate(*form),
            ReplyBody::Table(_) => ReplyKind::Table,
            ReplyBody::TableFeatures(_) => ReplyKind::TableFeatures,
            ReplyBody::TableDesc(_) => ReplyKind::TableDesc,
            ReplyBody::Port(_) => ReplyKind::Port,
            ReplyBody::PortDesc(_) => ReplyKind::PortDesc,
            ReplyBody::FlowMonitor(_) => ReplyKind::FlowMonitor,
            ReplyBody::Other(kind, _) => *kind,
        }
    }

    /// The whole reply, in as many messages as it takes.
    pub fn encode(&self, context: Context<'_>, xid: u32) -> Result<Vec<Vec<u8>>, EncodeError> {
        let mut writer = ReplyWriter::new(context, xid, self.kind())?;
        let mut messages = Vec::new();
        let version = context.version;
        match self {
            ReplyBody::Desc(desc) => {
                messages.extend(writer.push(|out, _| {
                    desc.encode(out);
                    Ok(())
                })?);
            }
            ReplyBody::Flow(form, flows) => {
                for flow in flows {
                    messages.extend(writer.push(|out, context| flow.encode(out, *form, context))?);
                }
            }
            ReplyBody::Aggregate(_, stats) => {
                messages.extend(writer.push(|out, _| {
                    stats.encode(out, version);
                    Ok(())
                })?);
            }
            ReplyBody::Table(tables) => {
                for table in tables {
                    messages.extend(writer.push(|out, _| {
                        table.encode(out, version);
                        Ok(())
                    })?);
                }
            }
            ReplyBody::TableFeatures(tables) => {
                for table in tables {
                    messages.extend(writer.push(|out, _| {
                        table.encode(out);
                        Ok(())
                    })?);
                }
            }
            ReplyBody::TableDesc(tables) => {
                for table in tables {
                    messages.extend(writer.push(|out, _| {
                        table.encode(out);
                        Ok(())
                    })?);
                }
            }
            ReplyBody::Port(ports) => {
                for port in ports {
                    messages.extend(writer.push(|out, _| {
                        port.encode(out, version);
                        Ok(())
                    })?);
                }
            }
            ReplyBody::PortDesc(ports) => {
                for port in ports {
                    messages.extend(writer.push(|out, _| {
                        port.encode(out, version);
                        Ok(())
                    })?);
                }
            }
            ReplyBody::FlowMonitor(updates) => {
                for update in updates {
                    messages.extend(writer.push(|out, context| update.encode(out, context))?);
                }
            }
            ReplyBody::Other(_, bytes) => {
                messages.extend(writer.push(|out, _| {
                    out.extend_from_slice(bytes);
                    Ok(())
                })?);
            }
        }
        messages.push(writer.finish()?);
        Ok(messages)
    }
}
