//! Changes of flows, as they are told to another bridge.

use super::Failure;
use super::connection::context;
use crate::{FlowFilter, FlowMod};
use footbridge_openflow::text::display_actions;
use footbridge_openflow::wire::stats::FlowStatsRequest;
use footbridge_openflow::wire::{
    self, ALL_TABLES, Command, CookieMatch, EncodeError, Form, Message, Refusal, Version,
};
use footbridge_openflow::{Action, Flow, Match, PortNames, PortNo};

/// The request for the flows that `filter` takes.
pub(super) fn request(filter: &FlowFilter) -> FlowStatsRequest {
    FlowStatsRequest {
        form: Form::Standard,
        table: filter.table.unwrap_or(ALL_TABLES),
        out_port: filter.out_port.unwrap_or(PortNo::NONE),
        out_group: filter.out_group,
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
/// These versions can't change a cookie, modify flows in every table, choose which to modify by their
/// output, or add what a change does not find (OpenFlow 1.3.5 §6.4).
pub(super) fn to_wire(change: &FlowMod, version: Version) -> Result<wire::FlowMod, EncodeError> {
    let inexpressible = |what| EncodeError::Inexpressible { version, what };
    let with = |command, table, priority, matching: &Match| wire::FlowMod {
        command,
        cookie: None,
        ..wire::FlowMod::add(table, priority, matching.clone())
    };
    let modify = |command, filter: &FlowFilter, priority, actions: &[Action]| {
        let table = filter.table.ok_or_else(|| inexpressible("a change of flows in every table"))?;
        if filter.out_port.is_some() || filter.out_group.is_some() {
            return Err(inexpressible("a change of flows by their output"));
        }
        let cookie_match = cookies(filter);
        let message = with(command, table, priority, &filter.matching);
        Ok(wire::FlowMod { cookie_match, actions: actions.to_vec(), ..message })
    };
    let delete = |command, filter: &FlowFilter, priority| wire::FlowMod {
        cookie_match: cookies(filter),
        out_port: filter.out_port.unwrap_or(PortNo::NONE),
        out_group: filter.out_group,
        ..with(command, filter.table.unwrap_or(ALL_TABLES), priority, &filter.matching)
    };
    let (mut message, cookie, or_add) = match change {
        FlowMod::Add(flow) => (add(flow), None, None),
        FlowMod::Modify { filter, cookie, actions, or_add } => {
            (modify(Command::Modify, filter, 0, actions)?, *cookie, or_add.as_ref())
        }
        FlowMod::ModifyStrict { filter, priority, cookie, actions, or_add } => {
            (modify(Command::ModifyStrict, filter, *priority, actions)?, *cookie, or_add.as_ref())
        }
        FlowMod::Delete(filter) => (delete(Command::Delete, filter, 0), None, None),
        FlowMod::DeleteStrict { filter, priority } => {
            (delete(Command::DeleteStrict, filter, *priority), None, None)
        }
    };
    if or_add.is_some() {
        return Err(inexpressible("a change that adds what it does not find"));
    }
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
    let chosen = |filter: &FlowFilter, priority: Option<u16>| {
        join([
            filter.table.map_or_else(String::new, |table| format!("table={table}")),
            cookies(filter).map_or_else(String::new, |c| format!("cookie={:#x}/{:#x}", c.value, c.mask)),
            filter.out_port.map_or_else(String::new, |port| format!("out_port={}", port.0)),
            filter.out_group.map_or_else(String::new, |group| format!("out_group={group}")),
            priority.map_or_else(String::new, |priority| format!("priority={priority}")),
            filter.matching.display(names).to_string(),
        ])
    };
    match change {
        FlowMod::Add(flow) => format!("add {}", flow.display(names).to_string().trim()),
        FlowMod::Modify { filter, actions, .. } => {
            format!("modify {} actions={}", chosen(filter, None), display_actions(actions, names))
        }
        FlowMod::ModifyStrict { filter, priority, actions, .. } => {
            let actions = display_actions(actions, names);
            format!("modify_strict {} actions={actions}", chosen(filter, Some(*priority)))
        }
        FlowMod::Delete(filter) => format!("delete {}", chosen(filter, None)).trim().to_owned(),
        FlowMod::DeleteStrict { filter, priority } => {
            format!("delete_strict {}", chosen(filter, Some(*priority)))
        }
    }
}

fn join<const N: usize>(parts: [String; N]) -> String {
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(",")
}
