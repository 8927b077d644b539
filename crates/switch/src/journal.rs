//! What a bundle has done so far: to take it back, to tell the datapath, to tell who listens.

use crate::events::{FlowChange, FlowEvent};
use footbridge_datapath::{Change, FlowStatistics};
use footbridge_openflow::Action;
use footbridge_openflow::wire::RemovedReason;
use footbridge_pipeline::{Displaced, Entry, FlowId, Inserted, Pipeline};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The steps of a change, in order; and what is asked of all of them together, noted at each step, while
/// its flow is at hand.
#[derive(Default)]
pub(crate) struct Journal {
    steps: Vec<Step>,
    came: Vec<FlowId>,
    went: Vec<FlowId>,
    timed: Vec<FlowId>,
}

enum Step {
    /// A flow is new, or has taken another's place.
    Added(Inserted),
    /// A flow has other actions or another cookie.
    Modified(Inserted),
    /// A flow is gone.
    Removed(Displaced, RemovedReason),
}

impl Journal {
    /// An empty journal with room for this many new flows.
    pub(crate) fn with_room(flows: usize) -> Journal {
        Journal { steps: Vec::with_capacity(flows), came: Vec::with_capacity(flows), ..Journal::default() }
    }

    pub(crate) fn added(&mut self, inserted: Inserted) {
        self.inserted(&inserted);
        self.steps.push(Step::Added(inserted));
    }

    pub(crate) fn modified(&mut self, inserted: Inserted) {
        self.inserted(&inserted);
        self.steps.push(Step::Modified(inserted));
    }

    fn inserted(&mut self, Inserted { entry, replaced }: &Inserted) {
        self.came.push(entry.id);
        self.went.extend(replaced.as_ref().map(|old| old.entry().id));
        if has_timeout(entry) {
            self.timed.push(entry.id);
        }
    }

    pub(crate) fn removed(&mut self, displaced: Displaced, reason: RemovedReason) {
        self.went.push(displaced.entry().id);
        self.steps.push(Step::Removed(displaced, reason));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Take every step back: the flows are as before the first.
    pub(crate) fn undo(self, pipeline: &mut Pipeline) {
        for step in self.steps.into_iter().rev() {
            match step {
                Step::Added(Inserted { entry, replaced: None })
                | Step::Modified(Inserted { entry, replaced: None }) => drop(pipeline.remove(entry.id)),
                Step::Added(Inserted { replaced: Some(old), .. })
                | Step::Modified(Inserted { replaced: Some(old), .. })
                | Step::Removed(old, _) => pipeline.restore(old),
            }
        }
    }

    /// All steps together: what came and went within them is in neither list.
    pub(crate) fn change(&self) -> Change {
        if self.went.is_empty() {
            return Change { added: self.came.clone(), removed: Vec::new() };
        }
        let came: BTreeSet<FlowId> = self.came.iter().copied().collect();
        let went: BTreeSet<FlowId> = self.went.iter().copied().collect();
        Change {
            added: came.difference(&went).copied().collect(),
            removed: went.difference(&came).copied().collect(),
        }
    }

    /// Keep the set of flows that may end by themselves.
    pub(crate) fn keep_timed(&self, timed: &mut BTreeSet<FlowId>) {
        timed.extend(&self.timed);
        if !timed.is_empty() {
            self.went.iter().for_each(|id| {
                timed.remove(id);
            });
        }
    }

    /// What there is to tell. A modification that changes nothing is not told, as with Open vSwitch.
    /// `statistics` says what passed a flow that is gone.
    pub(crate) fn told(
        &self,
        statistics: impl Fn(&Entry) -> FlowStatistics,
    ) -> impl Iterator<Item = FlowChange> {
        self.steps.iter().filter_map(move |step| {
            let (entry, event, before) = match step {
                Step::Added(inserted) => (&inserted.entry, FlowEvent::Added, inserted.replaced.as_ref()),
                Step::Modified(inserted) => {
                    let same = |old: &Displaced| {
                        let (old, new) = (&old.entry().flow, &inserted.entry.flow);
                        old.cookie == new.cookie && old.actions == new.actions
                    };
                    if inserted.replaced.as_ref().is_some_and(same) {
                        return None;
                    }
                    (&inserted.entry, FlowEvent::Modified, inserted.replaced.as_ref())
                }
                Step::Removed(old, reason) => {
                    (old.entry(), FlowEvent::Removed(*reason, statistics(old.entry())), None)
                }
            };
            Some(FlowChange {
                entry: Arc::clone(entry),
                event,
                before: before.map(|old| Arc::clone(old.entry())),
            })
        })
    }
}

/// Whether the flow may end by itself; a `fin_timeout` may give it a timeout later.
fn has_timeout(entry: &Entry) -> bool {
    let flow = &entry.flow;
    flow.idle_timeout != 0
        || flow.hard_timeout != 0
        || flow.actions.iter().any(|action| matches!(action, Action::FinTimeout { .. }))
}
