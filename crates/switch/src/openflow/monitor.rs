//! Flow monitors: what a connection is told of flows, in the wire's words.

use super::convert::Failure;
use super::hub::{Client, Hub, selects};
use super::limit;
use super::queue::Changed;
use crate::FlowFilter;
use crate::events::{FlowChange, FlowEvent};
use footbridge_openflow::wire::stats::{FlowUpdate, MonitorCommand, MonitorRequest, UpdateEvent};
use footbridge_openflow::wire::{ALL_TABLES, ErrorCode};
use footbridge_pipeline::Entry;
use std::sync::Arc;

/// Begin, change or end monitors; the flows that there are, for those that ask for them. All or none.
pub(super) fn request(
    hub: &Hub,
    client: &Client,
    requests: Vec<MonitorRequest>,
) -> Result<Vec<FlowUpdate>, Failure> {
    let mut wants = client.wants();
    let mut monitors = wants.monitors.clone();
    let mut begun = Vec::new();
    for request in requests {
        let known = monitors.contains_key(&request.id);
        match request.command {
            MonitorCommand::Add if known => return Err(ErrorCode::MofcMonitorExists.into()),
            MonitorCommand::Modify | MonitorCommand::Delete if !known => {
                return Err(ErrorCode::MofcUnknownMonitor.into());
            }
            MonitorCommand::Add if monitors.len() >= limit::MONITORS => {
                return Err(ErrorCode::MofcUnknown.into());
            }
            MonitorCommand::Delete => drop(monitors.remove(&request.id)),
            MonitorCommand::Add | MonitorCommand::Modify => {
                monitors.insert(request.id, request.clone());
                if request.flags.initial {
                    begun.push(request);
                }
            }
        }
    }
    // Told of changes from here on; the flows that there are are read after, so that none is missed.
    wants.monitors = monitors;
    drop(wants);
    let mut flows: Vec<(Arc<Entry>, bool)> = Vec::new();
    for monitor in &begun {
        let table = Some(monitor.table).filter(|table| *table != ALL_TABLES);
        let filter = FlowFilter { table, matching: monitor.matching.clone(), ..FlowFilter::default() };
        for entry in hub.bridge.entries(&filter) {
            if selects(monitor, &entry.flow) {
                flows.push((entry, monitor.flags.actions));
            }
        }
    }
    // Several monitors may be about one flow: it is told once, with actions if one of them wants them.
    flows.sort_by_key(|(entry, actions)| (entry.id, !actions));
    flows.dedup_by_key(|(entry, _)| entry.id);
    Ok(flows.iter().map(|(entry, actions)| full(entry, UpdateEvent::Initial, *actions)).collect())
}

/// A change as the connection is told of it.
pub(super) fn update(client: &Client, change: &FlowChange) -> FlowUpdate {
    let event = match change.event {
        FlowEvent::Added => UpdateEvent::Added,
        FlowEvent::Modified => UpdateEvent::Modified,
        FlowEvent::Removed(reason, _) => UpdateEvent::Deleted(reason),
    };
    full(&change.entry, event, wants_actions(client, &change.entry))
}

/// What to tell when monitors go on: the flows that have changed meanwhile, as they are now. Those
/// that went were told of.
pub(super) fn resume(hub: &Hub, client: &Client, changed: &Changed) -> Vec<FlowUpdate> {
    let entries = changed.iter().filter_map(|(id, new)| Some((hub.bridge.entry(*id)?, *new)));
    entries
        .map(|(entry, new)| {
            let event = if new { UpdateEvent::Added } else { UpdateEvent::Modified };
            full(&entry, event, wants_actions(client, &entry))
        })
        .collect()
}

fn wants_actions(client: &Client, entry: &Entry) -> bool {
    client.wants().monitors.values().any(|monitor| monitor.flags.actions && selects(monitor, &entry.flow))
}

fn full(entry: &Entry, event: UpdateEvent, actions: bool) -> FlowUpdate {
    let flow = &entry.flow;
    FlowUpdate::Full {
        event,
        table: flow.table,
        priority: flow.priority,
        idle_timeout: flow.idle_timeout,
        hard_timeout: flow.hard_timeout,
        cookie: flow.cookie,
        matching: flow.matching.clone(),
        actions: if actions { flow.actions.clone() } else { Vec::new() },
    }
}
