//! What a bundle has done so far: to take it back, to tell the datapath, to tell who listens.

use crate::events::{FlowChange, FlowEvent};
use footbridge_datapath::{Change, FlowStatistics};
use footbridge_openflow::wire::RemovedReason;
use footbridge_pipeline::{Displaced, Entry, FlowId, Inserted, Pipeline};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The steps of a change, in order.
#[derive(Default)]
pub(crate) struct Journal(Vec<Step>);

enum Step {
    /// A flow is new, or has taken another's place.
    Added(Inserted),
    /// A flow has other actions or another cookie.
    Modified(Inserted),
    /// A flow is gone.
    Removed(Displaced, RemovedReason),
}

impl Journal {
    /// An empty journal with room for this many steps.
    pub(crate) fn with_room(steps: usize) -> Journal {
        Journal(Vec::with_capacity(steps))
    }

    pub(crate) fn added(&mut self, inserted: Inserted) {
        self.0.push(Step::Added(inserted));
    }

    pub(crate) fn modified(&mut self, inserted: Inserted) {
        self.0.push(Step::Modified(inserted));
    }

    pub(crate) fn removed(&mut self, displaced: Displaced, reason: RemovedReason) {
        self.0.push(Step::Removed(displaced, reason));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Take every step back: the flows are as before the first.
    pub(crate) fn undo(self, pipeline: &mut Pipeline) {
        for step in self.0.into_iter().rev() {
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
        let came = self.entries().filter_map(|(came, _)| came).map(|entry| entry.id);
        let went: BTreeSet<FlowId> =
            self.entries().filter_map(|(_, went)| went).map(|entry| entry.id).collect();
        let added: Vec<FlowId> = came.clone().filter(|id| !went.contains(id)).collect();
        let came: BTreeSet<FlowId> = if went.is_empty() { BTreeSet::new() } else { came.collect() };
        Change { added, removed: went.into_iter().filter(|id| !came.contains(id)).collect() }
    }

    /// The flows that came and those that went, in order, replaced ones among both.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Option<&Arc<Entry>>, Option<&Arc<Entry>>)> + Clone {
        self.0.iter().map(|step| match step {
            Step::Added(inserted) | Step::Modified(inserted) => {
                (Some(&inserted.entry), inserted.replaced.as_ref().map(Displaced::entry))
            }
            Step::Removed(old, _) => (None, Some(old.entry())),
        })
    }

    /// What there is to tell. A modification that changes nothing is not told, as with Open vSwitch.
    /// `statistics` says what passed a flow that is gone.
    pub(crate) fn told(
        &self,
        statistics: impl Fn(&Entry) -> FlowStatistics,
    ) -> impl Iterator<Item = FlowChange> {
        self.0.iter().filter_map(move |step| {
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
