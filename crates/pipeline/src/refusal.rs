//! Which flows cannot be installed, and why.

use footbridge_openflow::{Action, Flow};

/// Why a flow was not installed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The action is of the language, and this switch cannot do it.
    #[error("table {table}, priority {priority}: the action '{action}' is not supported: {why}")]
    Unsupported {
        /// The flow's table.
        table: u8,
        /// The flow's priority.
        priority: u16,
        /// The action's name.
        action: &'static str,
        /// What is missing.
        why: &'static str,
    },
}

/// Whether the pipeline can carry the flow out.
pub fn check(flow: &Flow) -> Result<(), Refusal> {
    flow.actions.iter().try_for_each(|action| check_action(flow, action))
}

fn check_action(flow: &Flow, action: &Action) -> Result<(), Refusal> {
    let refuse =
        |action, why| Err(Refusal::Unsupported { table: flow.table, priority: flow.priority, action, why });
    match action {
        Action::Group(_) => refuse("group", "the bridge has no groups"),
        Action::Meter(_) => refuse("meter", "the bridge has no meters"),
        _ => Ok(()),
    }
}
