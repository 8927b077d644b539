//! Which flows cannot be installed, and why.

use crate::evaluate::{belongs_in_action_set, belongs_in_ct_exec};
use footbridge_openflow::action::Ct;
use footbridge_openflow::{Action, Flow, PortNo};

/// Why a flow was not installed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("table {table}, priority {priority}: {reason}")]
pub struct Refusal {
    /// The flow's table.
    pub table: u8,
    /// Its priority.
    pub priority: u16,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong with a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// `group`
    #[error("there is no such group: this bridge has no groups")]
    NoGroup,
    /// `meter`
    #[error("there is no such meter: this bridge has no meters")]
    NoMeter,
    /// `ct(nat)`
    #[error("ct(nat) is not supported")]
    Nat,
    /// `ct(alg=)`
    #[error("ct(alg=) is not supported: there are no helpers")]
    Helper,
    /// `controller(pause)`
    #[error("controller(pause) is not supported")]
    Pause,
    /// `output:NONE`
    #[error("no port has the number of an output")]
    BadPort,
    /// `goto_table` to this table or an earlier one.
    #[error("goto_table must go to a later table")]
    GotoBackwards,
    /// An action in `write_actions` that cannot be there.
    #[error("an action within write_actions(...) cannot be in an action set")]
    NotInActionSet,
    /// An action in `ct(exec())` that cannot be there.
    #[error("ct(exec(...)) can only set ct_mark and ct_label, and needs commit")]
    NotInExec,
    /// `force` without `commit`.
    #[error("ct(force) needs commit")]
    ForceWithoutCommit,
    /// A conjunction that is none.
    #[error("conjunction(ID,K/N) needs 2 <= N <= 64 and 1 <= K <= N")]
    BadConjunction,
    /// Conjunctions and other actions.
    #[error("conjunction actions can stand with each other and note only")]
    MixedConjunction,
    /// `conj_id` and conjunctions.
    #[error("a flow with conjunction actions cannot match conj_id")]
    ConjunctionOnId,
    /// Nothing can set it.
    #[error("an action writes a field that cannot be written")]
    ReadOnly,
    /// There are [`MAX_FLOWS`](crate::table::MAX_FLOWS).
    #[error("there are as many flows as a bridge can hold")]
    Full,
    /// Source and destination of `move` are not equally wide.
    #[error("move needs a source and a destination of the same width")]
    MoveWidths,
}

/// Whether the pipeline can carry the flow out.
pub fn check(flow: &Flow) -> Result<(), Refusal> {
    let conjunctive = flow.actions.iter().any(|action| matches!(action, Action::Conjunction { .. }));
    check_list(flow.table, &flow.actions)
        .and_then(|()| if conjunctive { check_conjunctive(flow) } else { Ok(()) })
        .map_err(|reason| Refusal { table: flow.table, priority: flow.priority, reason })
}

fn check_list(table: u8, actions: &[Action]) -> Result<(), Reason> {
    actions.iter().try_for_each(|action| check_action(table, action))
}

fn check_action(table: u8, action: &Action) -> Result<(), Reason> {
    let require = |holds: bool, reason| if holds { Ok(()) } else { Err(reason) };
    if let Some(write) = action.field_write() {
        return require(write.field.info().writable, Reason::ReadOnly);
    }
    match action {
        Action::Group(_) => Err(Reason::NoGroup),
        Action::Meter(_) => Err(Reason::NoMeter),
        Action::Controller(controller) => require(!controller.pause, Reason::Pause),
        Action::Output { port, .. } | Action::OutputTruncated { port, .. } | Action::Enqueue { port, .. } => {
            require(*port != PortNo::NONE, Reason::BadPort)
        }
        Action::GotoTable(next) => require(*next > table, Reason::GotoBackwards),
        Action::Move { src, dst } => {
            require(src.bits == dst.bits, Reason::MoveWidths)?;
            require(dst.field.info().writable, Reason::ReadOnly)
        }
        Action::Pop(dst) | Action::CheckPktLarger { dst, .. } => {
            require(dst.field.info().writable, Reason::ReadOnly)
        }
        Action::WriteActions(set) => {
            check_list(table, set)?;
            require(set.iter().all(belongs_in_action_set), Reason::NotInActionSet)
        }
        Action::Clone(actions) => check_list(table, actions),
        Action::Ct(ct) => check_ct(ct),
        Action::Conjunction { clause, n_clauses, .. } => {
            require((2..=64).contains(n_clauses) && (1..=*n_clauses).contains(clause), Reason::BadConjunction)
        }
        _ => Ok(()),
    }
}

fn check_ct(ct: &Ct) -> Result<(), Reason> {
    match ct {
        Ct { nat: Some(_), .. } => Err(Reason::Nat),
        Ct { alg: Some(_), .. } => Err(Reason::Helper),
        Ct { force: true, commit: false, .. } => Err(Reason::ForceWithoutCommit),
        Ct { exec, commit, .. } => {
            let fits = exec.iter().all(belongs_in_ct_exec) && (exec.is_empty() || *commit);
            if fits { check_list(0, exec) } else { Err(Reason::NotInExec) }
        }
    }
}

fn check_conjunctive(flow: &Flow) -> Result<(), Reason> {
    let alone = |action: &Action| matches!(action, Action::Conjunction { .. } | Action::Note(_));
    if !flow.actions.iter().all(alone) {
        return Err(Reason::MixedConjunction);
    }
    if flow.matching.get(footbridge_openflow::Field::ConjId).1 != 0 {
        return Err(Reason::ConjunctionOnId);
    }
    Ok(())
}
