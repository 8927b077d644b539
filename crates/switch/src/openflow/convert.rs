//! Flow mods and filters of the wire as the bridge's own; and the one table from what the bridge says
//! to OFPT_ERROR.

use crate::{ChangeError, FlowFilter, FlowMod, FlowModError, Ready};
use footbridge_datapath::PacketOut;
use footbridge_datapath::ebpf::EbpfError;
use footbridge_datapath::ebpf::compile::{CompileError, Unsupported, What};
use footbridge_openflow::action::CtZone;
use footbridge_openflow::flow::FlowFlags;
use footbridge_openflow::wire::stats::FlowStatsRequest;
use footbridge_openflow::wire::{self, ALL_TABLES, Command, CookieMatch, ErrorCode, Refusal};
use footbridge_openflow::{Action, Field, Flow, Match, PortNo};
use footbridge_pipeline::refusal::{self, Reason};

/// The first table that clients can't have: Open vSwitch keeps 254 to itself.
pub(super) const TABLES: u8 = 254;

/// Why a message was not carried out.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// It can't be decoded, or asks for what there isn't.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The bridge can't do what it asks for.
    #[error(transparent)]
    Flow(#[from] FlowModError),
    /// The datapath has stopped, or can't carry it.
    #[error(transparent)]
    Datapath(#[from] footbridge_datapath::Error),
    /// The answer has no form in this version.
    #[error(transparent)]
    Encode(#[from] wire::EncodeError),
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Failure {
        Failure::Refused(Refusal::new(code, "a request"))
    }
}

impl From<ChangeError<Failure>> for Failure {
    fn from(error: ChangeError<Failure>) -> Failure {
        match error {
            ChangeError::Refused { reason, .. } => reason,
            ChangeError::Datapath(error) => Failure::Datapath(error),
        }
    }
}

impl Failure {
    /// The error to answer with.
    pub(super) fn code(&self) -> ErrorCode {
        match self {
            Failure::Refused(refusal) => refusal.code,
            Failure::Flow(FlowModError::Refused(refusal)) => of_reason(refusal.reason),
            Failure::Flow(FlowModError::Overlap { .. }) => ErrorCode::FmfcOverlap,
            Failure::Datapath(error) => of_datapath(error),
            Failure::Encode(_) => ErrorCode::BrcBadType,
        }
    }
}

/// What a compiling datapath refuses has the code of an action that the switch does not have.
fn of_datapath(error: &footbridge_datapath::Error) -> ErrorCode {
    match error {
        footbridge_datapath::Error::Ebpf(EbpfError::Compile(error)) => match error {
            CompileError::Flow(Unsupported { what: What::Action(_), .. }) => ErrorCode::BacBadType,
            CompileError::Size(_) => ErrorCode::FmfcTableFull,
        },
        _ => ErrorCode::FmfcUnknown,
    }
}

fn of_reason(reason: Reason) -> ErrorCode {
    match reason {
        Reason::Full => ErrorCode::FmfcTableFull,
        Reason::NoGroup => ErrorCode::BacBadOutGroup,
        Reason::NoMeter => ErrorCode::MmfcInvalidMeter,
        Reason::Nat | Reason::Helper => ErrorCode::NxbacCtDatapathSupport,
        Reason::Pause => ErrorCode::BacBadType,
        Reason::BadPort => ErrorCode::BacBadOutPort,
        Reason::GotoBackwards => ErrorCode::BicBadTableId,
        Reason::NotInActionSet => ErrorCode::BacBadType,
        Reason::NotInExec => ErrorCode::BacBadArgument,
        Reason::ForceWithoutCommit => ErrorCode::BacBadArgument,
        Reason::BadConjunction => ErrorCode::NxbacBadConjunction,
        Reason::MixedConjunction => ErrorCode::NxbacBadConjunction,
        Reason::ConjunctionOnId => ErrorCode::NxbacBadConjunction,
        Reason::ReadOnly => ErrorCode::BacBadSetArgument,
        Reason::MoveWidths => ErrorCode::BacBadArgument,
    }
}

fn table_of(number: u8) -> Option<u8> {
    Some(number).filter(|number| *number != ALL_TABLES)
}

fn filter(
    table: u8,
    matching: Match,
    cookie: Option<CookieMatch>,
    out_port: PortNo,
    out_group: Option<u32>,
) -> FlowFilter {
    let CookieMatch { value, mask } = cookie.unwrap_or_default();
    FlowFilter {
        table: table_of(table),
        matching,
        cookie: value,
        cookie_mask: mask,
        out_port: Some(out_port).filter(|port| *port != PortNo::NONE),
        out_group,
    }
}

/// The flows that a statistics request asks for.
pub(super) fn requested(request: FlowStatsRequest) -> FlowFilter {
    let FlowStatsRequest { table, out_port, out_group, cookie, matching, form: _ } = request;
    filter(table, matching, cookie, out_port, out_group)
}

/// A flow mod as a change that the bridge can make.
pub(super) fn ready(message: wire::FlowMod) -> Result<Ready, Failure> {
    flow_mod(message).map(Ready::from)
}

/// A flow mod as the bridge's.
fn flow_mod(message: wire::FlowMod) -> Result<FlowMod, Failure> {
    let wire::FlowMod {
        form: _,
        command,
        table,
        priority,
        cookie,
        cookie_match,
        matching,
        actions,
        idle_timeout,
        hard_timeout,
        importance,
        buffer_id,
        out_port,
        out_group,
        flags,
    } = message;
    if buffer_id.is_some() && matches!(command, Command::Add | Command::Modify | Command::ModifyStrict) {
        return Err(ErrorCode::BrcBufferUnknown.into());
    }
    if table == TABLES {
        return Err(ErrorCode::BrcEperm.into());
    }
    let flow = |cookie: u64, flags: FlowFlags, matching: Match, actions: Vec<Action>| Flow {
        // Left to the switch, a flow goes to the first table.
        table: table_of(table).unwrap_or(0),
        priority,
        cookie,
        matching,
        actions,
        idle_timeout,
        hard_timeout,
        importance,
        flags,
    };
    // 1.0's modify adds what it doesn't find, unless it looks for a cookie or names no new one.
    let or_add = |matching: &Match, actions: &[Action]| {
        let cookie = cookie.filter(|_| cookie_match.is_none())?;
        let flags = FlowFlags { reset_counts: false, ..flags };
        Some(Box::new(flow(cookie, flags, matching.clone(), actions.to_vec())))
    };
    // out_port and out_group narrow deletions only.
    let modified = |matching| filter(table, matching, cookie_match, PortNo::NONE, None);
    let deleted = |matching| filter(table, matching, cookie_match, out_port, out_group);
    Ok(match command {
        Command::Add => FlowMod::Add(flow(cookie.unwrap_or(0), flags, matching, actions)),
        Command::Modify => {
            let or_add = or_add(&matching, &actions);
            FlowMod::Modify { filter: modified(matching), cookie, actions, or_add }
        }
        Command::ModifyStrict => {
            let or_add = or_add(&matching, &actions);
            FlowMod::ModifyStrict { filter: modified(matching), priority, cookie, actions, or_add }
        }
        Command::Delete => FlowMod::Delete(deleted(matching)),
        Command::DeleteStrict => FlowMod::DeleteStrict { filter: deleted(matching), priority },
    })
}

/// Whether the flow matches, reads or writes `tun_metadata<index>`.
pub(super) fn uses_option(flow: &Flow, index: u16) -> bool {
    let Some(field) = Field::by_name(&format!("tun_metadata{index}")) else { return false };
    flow.matching.get(field).1 != 0 || actions_use(&flow.actions, field)
}

fn actions_use(actions: &[Action], field: Field) -> bool {
    actions.iter().any(|action| match action {
        Action::OutputReg { src } | Action::Push(src) => src.field == field,
        Action::Load { dst, .. } | Action::Pop(dst) | Action::CheckPktLarger { dst, .. } => {
            dst.field == field
        }
        Action::Move { src, dst } => src.field == field || dst.field == field,
        Action::SetField(set) => set.field() == field,
        Action::Ct(ct) => {
            matches!(ct.zone, CtZone::Field(zone) if zone.field == field) || actions_use(&ct.exec, field)
        }
        Action::Clone(actions) | Action::WriteActions(actions) => actions_use(actions, field),
        _ => false,
    })
}

/// A packet-out as the datapath's.
pub(super) fn packet_out(message: wire::PacketOut) -> Result<PacketOut, Failure> {
    let in_port = message.in_port();
    let wire::PacketOut { buffer_id, metadata, actions, data } = message;
    if buffer_id.is_some() {
        // The switch keeps no packets back, so it has none of that number.
        return Err(ErrorCode::BrcBufferUnknown.into());
    }
    // What no flow could hold, no packet is put through.
    let flow = Flow::new(0, 0, 0, Match::any(), actions);
    refusal::check(&flow).map_err(FlowModError::from)?;
    Ok(PacketOut { in_port, metadata, actions: flow.actions, frame: data })
}
