//! Statistics (multipart) requests and their replies.
//!
//! A reply of flows is given out message by message, as the client reads: it holds the entries that it
//! is about, not their text.

use super::convert::{Failure, TABLES, requested};
use super::describe;
use super::hub::Hub;
use crate::{Bridge, FlowFilter, FlowReport};
use footbridge_openflow::PortNo;
use footbridge_openflow::wire::stats::{
    AggregateStats, FlowEntry, FlowStatsRequest, ReplyBody, ReplyKind, ReplyWriter, StatsRequest, TableDesc,
    TableFeatures, TableStats,
};
use footbridge_openflow::wire::{Context, ErrorCode, Form, Refusal, TlvTable, Version};
use footbridge_pipeline::Entry;
use std::sync::Arc;

/// What Open vSwitch says that a table can hold; ours hold more together.
const MAX_ENTRIES: u32 = 1_000_000;
/// OFPQ_ALL, OFPM_ALL
const ALL: u32 = 0xffff_ffff;
/// Flows whose counters are read at a time.
const CHUNK: usize = 256;

/// An answer: whole, or to be had message by message.
pub(super) enum Reply {
    Whole(ReplyBody),
    Flows(FlowDump),
}

/// Answer a request. Flow monitors are the session's.
pub(super) fn answer(hub: &Hub, request: StatsRequest, version: Version, xid: u32) -> Result<Reply, Failure> {
    let bridge = &hub.bridge;
    let body = match request {
        StatsRequest::Flow(request) => return Ok(Reply::Flows(FlowDump::new(hub, request, version, xid))),
        StatsRequest::Aggregate(request) => ReplyBody::Aggregate(request.form, sums(bridge, request)),
        StatsRequest::Desc => ReplyBody::Desc(Box::new(describe::switch(hub))),
        StatsRequest::Table => ReplyBody::Table(tables(bridge)),
        StatsRequest::TableFeatures { sets: true } => return Err(ErrorCode::TffcEperm.into()),
        StatsRequest::TableFeatures { sets: false } => ReplyBody::TableFeatures(
            (0..TABLES)
                .map(|id| TableFeatures { id, name: String::new(), max_entries: MAX_ENTRIES })
                .collect(),
        ),
        StatsRequest::Port(asked) => {
            let ports = bridge.ports()?;
            let asked = ports.iter().filter(|port| asked == PortNo::NONE || port.number == asked);
            ReplyBody::Port(asked.map(describe::port_stats).collect())
        }
        StatsRequest::PortDesc(asked) => {
            let ports = bridge.port_specs();
            let asked = ports.iter().filter(|port| asked == PortNo::NONE || port.number == asked);
            ReplyBody::PortDesc(asked.map(describe::port).collect())
        }
        // Ports have no queues, so that every queue asked for by its number is wrong.
        StatsRequest::Queue { port, queue } => {
            known_port(bridge, port)?;
            if queue != ALL {
                return Err(ErrorCode::QofcBadQueue.into());
            }
            ReplyBody::empty(ReplyKind::Queue)
        }
        StatsRequest::QueueDesc { port, .. } => {
            known_port(bridge, port)?;
            ReplyBody::empty(ReplyKind::QueueDesc)
        }
        StatsRequest::Meter(id) | StatsRequest::MeterConfig(id) if id != ALL => {
            return Err(ErrorCode::MmfcUnknownMeter.into());
        }
        StatsRequest::Meter(_) => ReplyBody::empty(ReplyKind::Meter),
        StatsRequest::MeterConfig(_) => ReplyBody::empty(ReplyKind::MeterConfig),
        StatsRequest::MeterFeatures => ReplyBody::empty(ReplyKind::MeterFeatures),
        StatsRequest::Group(_) => ReplyBody::empty(ReplyKind::Group),
        StatsRequest::GroupDesc => ReplyBody::empty(ReplyKind::GroupDesc),
        StatsRequest::GroupFeatures => ReplyBody::empty(ReplyKind::GroupFeatures),
        StatsRequest::TableDesc => {
            ReplyBody::TableDesc((0..TABLES).map(|id| TableDesc { id, config: 0 }).collect())
        }
        StatsRequest::FlowMonitor(_) => {
            return Err(Refusal::new(ErrorCode::BrcBadStat, "a flow monitor").into());
        }
    };
    Ok(Reply::Whole(body))
}

/// Refuse a port that there isn't; NONE is any.
pub(super) fn known_port(bridge: &Bridge, port: PortNo) -> Result<(), Failure> {
    let known = port == PortNo::NONE || bridge.port_names().name(port).is_some();
    if known { Ok(()) } else { Err(ErrorCode::QofcBadPort.into()) }
}

fn tables(bridge: &Bridge) -> Vec<TableStats> {
    let reports = bridge.tables().into_iter().filter(|report| report.table < TABLES);
    reports
        .map(|report| TableStats {
            id: report.table,
            // Clients print names in place of numbers.
            name: String::new(),
            max_entries: MAX_ENTRIES,
            active: u32::try_from(report.flows).unwrap_or(u32::MAX),
            lookups: report.lookups,
            matches: report.matches,
        })
        .collect()
}

fn sums(bridge: &Bridge, request: FlowStatsRequest) -> AggregateStats {
    let entries = bridge.entries(&requested(request));
    let mut sums = AggregateStats::default();
    for chunk in entries.chunks(CHUNK) {
        for report in bridge.reports(chunk) {
            sums.packets = sums.packets.saturating_add(report.packets);
            sums.bytes = sums.bytes.saturating_add(report.bytes);
            sums.flows = sums.flows.saturating_add(1);
        }
    }
    sums
}

/// A reply of flows under way.
pub(super) struct FlowDump {
    entries: Vec<Arc<Entry>>,
    next: usize,
    form: Form,
    version: Version,
    xid: u32,
    tlv: Arc<TlvTable>,
}

impl FlowDump {
    fn new(hub: &Hub, request: FlowStatsRequest, version: Version, xid: u32) -> FlowDump {
        let form = request.form;
        let filter: FlowFilter = requested(request);
        FlowDump { entries: hub.bridge.entries(&filter), next: 0, form, version, xid, tlv: hub.tlv() }
    }

    /// The next message, as full as it can be, and whether it is the last.
    pub(super) fn next_message(&mut self, bridge: &Bridge) -> Result<(Vec<u8>, bool), Failure> {
        let context = Context { version: self.version, tlv: Some(&self.tlv), table_in_command: false };
        let mut writer = ReplyWriter::new(context, self.xid, ReplyKind::Flow(self.form))?;
        while self.next < self.entries.len() {
            let end = self.entries.len().min(self.next + CHUNK);
            for report in bridge.reports(&self.entries[self.next..end]) {
                let entry = flow_entry(&report);
                match writer.push(|out, context| entry.encode(out, self.form, context)) {
                    // The entry that did not fit begins the next message.
                    Ok(Some(full)) => return Ok((full, false)),
                    Ok(None) => {}
                    Err(error) => {
                        // A flow that fits no message, or that this version has no form for.
                        tracing::warn!(%error, "a flow is left out of a client's dump");
                    }
                }
                self.next += 1;
            }
        }
        self.entries = Vec::new();
        Ok((writer.finish()?, true))
    }
}

fn flow_entry(report: &FlowReport) -> FlowEntry {
    FlowEntry { flow: report.flow().clone(), stats: report.stats() }
}
