//! OFPT_STATS_REQUEST, OFPT_MULTIPART_REQUEST: what is asked for.

use super::super::bytes::{Reader, U32};
use super::super::error::{EncodeError, ErrorCode, Refusal};
use super::super::header;
use super::super::version::Version;
use super::super::{Context, Form, kind};
use super::flow::FlowStatsRequest;
use super::monitor::{self, MonitorRequest};
use super::{
    Number, ONF_FLOW_MONITOR, decode_head, empty, encode_head, nicira, port, standard, table_features,
};
use crate::port::PortNo;

/// A statistics (multipart) request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatsRequest {
    /// What the switch is.
    Desc,
    /// Flows.
    Flow(FlowStatsRequest),
    /// The sums over flows.
    Aggregate(FlowStatsRequest),
    /// Tables.
    Table,
    /// What tables can do. `sets` says that the request wants to change that.
    TableFeatures {
        /// It has a body.
        sets: bool,
    },
    /// Tables' settings (1.4).
    TableDesc,
    /// Counters of a port; NONE for all.
    Port(PortNo),
    /// Descriptions of a port; NONE for all.
    PortDesc(PortNo),
    /// Counters of a queue.
    Queue {
        /// The port; NONE (1.0: ALL) for all.
        port: PortNo,
        /// The queue; 0xffffffff for all.
        queue: u32,
    },
    /// Queues' settings (1.4).
    QueueDesc {
        /// The port; NONE for all.
        port: PortNo,
        /// The queue; 0xffffffff for all.
        queue: u32,
    },
    /// Counters of a group.
    Group(u32),
    /// Groups' buckets.
    GroupDesc,
    /// What groups there can be.
    GroupFeatures,
    /// Counters of a meter.
    Meter(u32),
    /// A meter's bands.
    MeterConfig(u32),
    /// What meters there can be.
    MeterFeatures,
    /// Tell of changes of flows.
    FlowMonitor(Vec<MonitorRequest>),
}

impl StatsRequest {
    /// From the bytes behind the header.
    pub(crate) fn decode(body: &[u8], context: Context<'_>) -> Result<StatsRequest, Refusal> {
        let version = context.version;
        let (number, more, rest) = decode_head(body, version)?;
        if more {
            let code = ErrorCode::BrcMultipartBufferOverflow;
            return Err(Refusal::new(code, "a request in several messages"));
        }
        let v10 = version == Version::V10;
        let mut reader = Reader::new(rest, ErrorCode::BrcBadLen, "a statistics request");
        let request = match number {
            Number::Standard(standard::DESC) => StatsRequest::Desc,
            Number::Standard(standard::FLOW) => {
                StatsRequest::Flow(FlowStatsRequest::decode(&mut reader, context)?)
            }
            Number::Standard(standard::AGGREGATE) => {
                StatsRequest::Aggregate(FlowStatsRequest::decode(&mut reader, context)?)
            }
            Number::Standard(standard::TABLE) => StatsRequest::Table,
            Number::Standard(standard::PORT) => {
                StatsRequest::Port(port::decode_request(&mut reader, version)?)
            }
            Number::Standard(standard::PORT_DESC) => match version {
                Version::V15 => StatsRequest::PortDesc(port::decode_request(&mut reader, version)?),
                _ => StatsRequest::PortDesc(PortNo::NONE),
            },
            Number::Standard(standard::QUEUE) => {
                let (port, queue) = empty::decode_queue(&mut reader, version)?;
                StatsRequest::Queue { port, queue }
            }
            Number::Standard(standard::QUEUE_DESC) if version >= Version::V14 => {
                let (port, queue) = empty::decode_queue(&mut reader, version)?;
                StatsRequest::QueueDesc { port, queue }
            }
            Number::Standard(standard::GROUP) if !v10 => StatsRequest::Group(empty::decode_id(&mut reader)?),
            Number::Nicira(nicira::GROUP) if v10 => StatsRequest::Group(empty::decode_id(&mut reader)?),
            Number::Standard(standard::GROUP_DESC) if !v10 => group_desc(&mut reader, version)?,
            Number::Nicira(nicira::GROUP_DESC) if v10 => group_desc(&mut reader, version)?,
            Number::Standard(standard::GROUP_FEATURES) if !v10 => StatsRequest::GroupFeatures,
            Number::Nicira(nicira::GROUP_FEATURES) if v10 => StatsRequest::GroupFeatures,
            Number::Standard(standard::METER) if !v10 => StatsRequest::Meter(empty::decode_id(&mut reader)?),
            Number::Standard(standard::METER_CONFIG) if !v10 => {
                StatsRequest::MeterConfig(empty::decode_id(&mut reader)?)
            }
            Number::Standard(standard::METER_FEATURES) if !v10 => StatsRequest::MeterFeatures,
            Number::Standard(standard::TABLE_FEATURES) if !v10 => {
                return table_features::decode_request(reader);
            }
            Number::Standard(standard::TABLE_DESC) if version >= Version::V14 => StatsRequest::TableDesc,
            Number::Standard(standard::FLOW_MONITOR) if version >= Version::V14 => {
                StatsRequest::FlowMonitor(monitor::decode_requests(&mut reader, context)?)
            }
            Number::Onf(ONF_FLOW_MONITOR) if version == Version::V13 => {
                StatsRequest::FlowMonitor(monitor::decode_requests(&mut reader, context)?)
            }
            Number::Nicira(nicira::FLOW_MONITOR) if v10 => {
                StatsRequest::FlowMonitor(monitor::decode_requests(&mut reader, context)?)
            }
            Number::Nicira(nicira::FLOW) if v10 => {
                StatsRequest::Flow(FlowStatsRequest::decode_nxst(&mut reader, context)?)
            }
            Number::Nicira(nicira::AGGREGATE) if v10 => {
                StatsRequest::Aggregate(FlowStatsRequest::decode_nxst(&mut reader, context)?)
            }
            Number::Standard(_) => {
                return Err(Refusal::new(ErrorCode::BrcBadStat, "a statistics request"));
            }
            Number::Nicira(_) | Number::Onf(_) => {
                return Err(Refusal::new(ErrorCode::BrcBadSubtype, "a statistics request"));
            }
        };
        reader.end()?;
        Ok(request)
    }

    fn number(&self, version: Version) -> Number {
        let v10 = version == Version::V10;
        let or_nicira =
            |number, subtype| if v10 { Number::Nicira(subtype) } else { Number::Standard(number) };
        match self {
            StatsRequest::Desc => Number::Standard(standard::DESC),
            StatsRequest::Flow(r) if r.form == Form::Nicira && v10 => Number::Nicira(nicira::FLOW),
            StatsRequest::Flow(_) => Number::Standard(standard::FLOW),
            StatsRequest::Aggregate(r) if r.form == Form::Nicira && v10 => Number::Nicira(nicira::AGGREGATE),
            StatsRequest::Aggregate(_) => Number::Standard(standard::AGGREGATE),
            StatsRequest::Table => Number::Standard(standard::TABLE),
            StatsRequest::TableFeatures { .. } => Number::Standard(standard::TABLE_FEATURES),
            StatsRequest::TableDesc => Number::Standard(standard::TABLE_DESC),
            StatsRequest::Port(_) => Number::Standard(standard::PORT),
            StatsRequest::PortDesc(_) => Number::Standard(standard::PORT_DESC),
            StatsRequest::Queue { .. } => Number::Standard(standard::QUEUE),
            StatsRequest::QueueDesc { .. } => Number::Standard(standard::QUEUE_DESC),
            StatsRequest::Group(_) => or_nicira(standard::GROUP, nicira::GROUP),
            StatsRequest::GroupDesc => or_nicira(standard::GROUP_DESC, nicira::GROUP_DESC),
            StatsRequest::GroupFeatures => or_nicira(standard::GROUP_FEATURES, nicira::GROUP_FEATURES),
            StatsRequest::Meter(_) => Number::Standard(standard::METER),
            StatsRequest::MeterConfig(_) => Number::Standard(standard::METER_CONFIG),
            StatsRequest::MeterFeatures => Number::Standard(standard::METER_FEATURES),
            StatsRequest::FlowMonitor(_) => monitor::number(version),
        }
    }

    /// A whole message.
    pub fn encode(&self, context: Context<'_>, xid: u32) -> Result<Vec<u8>, EncodeError> {
        let version = context.version;
        header::message(version, kind::stats_request(version), xid, |out| {
            encode_head(out, self.number(version), false, version);
            match self {
                StatsRequest::Flow(request) | StatsRequest::Aggregate(request) => {
                    request.encode(out, context)?
                }
                StatsRequest::Port(port) => port::encode_request(out, *port, version),
                StatsRequest::PortDesc(port) if version == Version::V15 => {
                    port::encode_request(out, *port, version);
                }
                StatsRequest::Queue { port, queue } | StatsRequest::QueueDesc { port, queue } => {
                    empty::encode_queue(out, *port, *queue, version);
                }
                StatsRequest::Group(id) | StatsRequest::Meter(id) | StatsRequest::MeterConfig(id) => {
                    empty::encode_id(out, *id);
                }
                StatsRequest::GroupDesc if matches!(version, Version::V10 | Version::V15) => {
                    empty::encode_id(out, empty::ALL_GROUPS);
                }
                StatsRequest::FlowMonitor(requests) => {
                    requests.iter().for_each(|request| request.encode(out, context));
                }
                StatsRequest::TableFeatures { sets: true } => {
                    return Err(EncodeError::Inexpressible { version, what: "a change of table features" });
                }
                StatsRequest::Desc
                | StatsRequest::Table
                | StatsRequest::TableFeatures { sets: false }
                | StatsRequest::TableDesc
                | StatsRequest::PortDesc(_)
                | StatsRequest::GroupDesc
                | StatsRequest::GroupFeatures
                | StatsRequest::MeterFeatures => {}
            }
            Ok(())
        })
    }
}

/// 1.5, and Nicira's form for 1.0, name a group; there are none anyway.
fn group_desc(reader: &mut Reader<'_>, version: Version) -> Result<StatsRequest, Refusal> {
    if matches!(version, Version::V10 | Version::V15) {
        let _: &U32 = reader.take()?;
        reader.bytes(4)?;
    }
    Ok(StatsRequest::GroupDesc)
}
