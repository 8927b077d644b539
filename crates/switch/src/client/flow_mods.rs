//! Changes of flows, as they are told to another bridge.

use super::Failure;
use super::connection::context;
use crate::{FlowFilter, FlowMod};
use footbridge_openflow::text::display_actions;
use footbridge_openflow::wire::stats::FlowStatsRequest;
use footbridge_openflow::wire::{
    self, ALL_TABLES, Command, CookieMatch, EncodeError, Form, Message, Refusal, Version,
};
use footbridge_openflow::{Flow, Match, PortNames, PortNo};

/// The request for the flows that `filter` takes.
pub(super) fn request(filter: &FlowFilter) -> FlowStatsRequest {
    FlowStatsRequest {
        form: Form::Standard,
        table: filter.table.unwrap_or(ALL_TABLES),
        out_port: filter.out_port.unwrap_or(PortNo::NONE),
        out_group: None,
        cookie: cookies(filter),
        matching: filter.matching.clone(),
    }
}

fn cookies(filter: &FlowFilter) -> Option<CookieMatch> {
    let cookie = CookieMatch { value: filter.cookie, mask: filter.cookie_mask };
    Some(cookie).filter(|cookie| cookie.mask != 0)
}

/// The change as a message of `version`, which is 1.3 or later.
///
/// # Errors
///
/// These versions can't change a cookie, modify flows in every table, or choose which to modify by
/// their output (OpenFlow 1.3.5 §6.4).
pub(super) fn to_wire(change: &FlowMod, version: Version) -> Result<wire::FlowMod, EncodeError> {
    let inexpressible = |what| EncodeError::Inexpressible { version, what };
    let with = |command, table, priority, matching: &Match| wire::FlowMod {
        command,
        cookie: None,
        ..wire::FlowMod::add(table, priority, matching.clone())
    };
    let (mut message, cookie) = match change {
        FlowMod::Add(flow) => (add(flow), None),
        FlowMod::Modify { filter, cookie, actions } => {
            let table = filter.table.ok_or_else(|| inexpressible("a change of flows in every table"))?;
            if filter.out_port.is_some() {
                return Err(inexpressible("a change of flows by their output"));
            }
            let mut message = with(Command::Modify, table, 0, &filter.matching);
            message.cookie_match = cookies(filter);
            message.actions.clone_from(actions);
            (message, *cookie)
        }
        FlowMod::ModifyStrict { table, priority, matching, cookie, actions } => {
            let mut message = with(Command::ModifyStrict, *table, *priority, matching);
            message.actions.clone_from(actions);
            (message, *cookie)
        }
        FlowMod::Delete(filter) => {
            let table = filter.table.unwrap_or(ALL_TABLES);
            let mut message = with(Command::Delete, table, 0, &filter.matching);
            message.cookie_match = cookies(filter);
            message.out_port = filter.out_port.unwrap_or(PortNo::NONE);
            (message, None)
        }
        FlowMod::DeleteStrict { table, priority, matching } => {
            (with(Command::DeleteStrict, *table, *priority, matching), None)
        }
    };
    if cookie.is_some() {
        return Err(inexpressible("a change of a flow's cookie"));
    }
    message.form = Form::Standard;
    Ok(message)
}

fn add(flow: &Flow) -> wire::FlowMod {
    wire::FlowMod {
        cookie: Some(flow.cookie),
        actions: flow.actions.clone(),
        idle_timeout: flow.idle_timeout,
        hard_timeout: flow.hard_timeout,
        importance: flow.importance,
        flags: flow.flags,
        ..wire::FlowMod::add(flow.table, flow.priority, flow.matching.clone())
    }
}

/// The flow as a bridge reads it that is told to add it.
pub(super) fn given_back(flow: &Flow, version: Version) -> Result<Flow, Failure> {
    let bytes = add(flow).encode(context(version), 0).map_err(Failure::Encode)?;
    let message = match Message::decode(&bytes, context(version)) {
        Ok((_, Message::FlowMod(message))) => message,
        Ok(_) => return Err(Failure::Encode(EncodeError::Inexpressible { version, what: "this flow" })),
        Err(Refusal { what, .. }) => {
            return Err(Failure::Encode(EncodeError::Inexpressible { version, what }));
        }
    };
    Ok(Flow {
        table: message.table,
        priority: message.priority,
        cookie: message.cookie.unwrap_or_default(),
        matching: message.matching,
        actions: message.actions,
        idle_timeout: message.idle_timeout,
        hard_timeout: message.hard_timeout,
        importance: message.importance,
        flags: message.flags,
    })
}

/// The change in words: the command, then the flow or the choice of flows.
pub(super) fn text(change: &FlowMod) -> String {
    let names = &PortNames::none();
    let strict = |table: u8, priority: u16, matching: &Match| {
        join([format!("table={table}"), format!("priority={priority}"), matching.display(names).to_string()])
    };
    let chosen = |filter: &FlowFilter| {
        join([
            filter.table.map_or_else(String::new, |table| format!("table={table}")),
            cookies(filter).map_or_else(String::new, |c| format!("cookie={:#x}/{:#x}", c.value, c.mask)),
            filter.out_port.map_or_else(String::new, |port| format!("out_port={}", port.0)),
            filter.matching.display(names).to_string(),
        ])
    };
    match change {
        FlowMod::Add(flow) => format!("add {}", flow.display(names).to_string().trim()),
        FlowMod::Modify { filter, actions, .. } => {
            format!("modify {} actions={}", chosen(filter), display_actions(actions, names))
        }
        FlowMod::ModifyStrict { table, priority, matching, actions, .. } => {
            let actions = display_actions(actions, names);
            format!("modify_strict {} actions={actions}", strict(*table, *priority, matching))
        }
        FlowMod::Delete(filter) => format!("delete {}", chosen(filter)).trim().to_owned(),
        FlowMod::DeleteStrict { table, priority, matching } => {
            format!("delete_strict {}", strict(*table, *priority, matching))
        }
    }
}

fn join<const N: usize>(parts: [String; N]) -> String {
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(",")
}
