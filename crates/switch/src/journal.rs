//! What a bundle has done so far: to take it back, to tell the datapath, to tell who listens.

use crate::events::{FlowChange, FlowEvent};
use footbridge_datapath::{Change, FlowStatistics};
use footbridge_openflow::wire::RemovedReason;
use footbridge_pipeline::{Displaced, Entry, FlowId, Inserted, Pipeline};
use std::cell::LazyCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The steps of a change, in order; and the flows among them that may end by themselves, noted while they
/// are at hand.
#[derive(Default)]
pub(crate) struct Journal {
    steps: Vec<Step>,
    timed: Vec<FlowId>,
}

/// Of a flow that came only the number is kept: it stands in the pipeline, or a later step has it.
enum Step {
    /// A flow is new, or has taken another's place.
    Added(FlowId, Option<Box<Displaced>>),
    /// A flow has other actions or another cookie.
    Modified(FlowId, Option<Box<Displaced>>),
    /// A flow is gone.
    Removed(Box<Displaced>, RemovedReason),
}

impl Step {
    fn came(&self) -> Option<FlowId> {
        match self {
            Step::Added(id, _) | Step::Modified(id, _) => Some(*id),
            Step::Removed(..) => None,
        }
    }

    fn went(&self) -> Option<&Arc<Entry>> {
        match self {
            Step::Added(_, old) | Step::Modified(_, old) => old.as_deref().map(Displaced::entry),
            Step::Removed(old, _) => Some(old.entry()),
        }
    }
}

impl Journal {
    /// An empty journal with room for this many steps.
    pub(crate) fn with_room(steps: usize) -> Journal {
        Journal { steps: Vec::with_capacity(steps), timed: Vec::new() }
    }

    pub(crate) fn added(&mut self, inserted: Inserted) {
        self.note(&inserted.entry);
        self.steps.push(Step::Added(inserted.entry.id, inserted.replaced.map(Box::new)));
    }

    pub(crate) fn modified(&mut self, inserted: Inserted) {
        self.note(&inserted.entry);
        self.steps.push(Step::Modified(inserted.entry.id, inserted.replaced.map(Box::new)));
    }

    pub(crate) fn removed(&mut self, displaced: Displaced, reason: RemovedReason) {
        self.steps.push(Step::Removed(Box::new(displaced), reason));
    }

    fn note(&mut self, entry: &Entry) {
        if entry.may_end() {
            self.timed.push(entry.id);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Take every step back: the flows are as before the first.
    pub(crate) fn undo(self, pipeline: &mut Pipeline) {
        for step in self.steps.into_iter().rev() {
            match step {
                Step::Added(id, None) | Step::Modified(id, None) => drop(pipeline.remove(id)),
                Step::Added(_, Some(old)) | Step::Modified(_, Some(old)) | Step::Removed(old, _) => {
                    pipeline.restore(*old);
                }
            }
        }
    }

    /// All steps together: what came and went within them is in neither list.
    pub(crate) fn change(&self) -> Change {
        let came = || self.steps.iter().filter_map(Step::came);
        let went: BTreeSet<FlowId> = self.went().collect();
        if went.is_empty() {
            return Change { added: came().collect(), removed: Vec::new() };
        }
        let came: BTreeSet<FlowId> = came().collect();
        Change {
            added: came.difference(&went).copied().collect(),
            removed: went.difference(&came).copied().collect(),
        }
    }

    fn went(&self) -> impl Iterator<Item = FlowId> {
        self.steps.iter().filter_map(Step::went).map(|entry| entry.id)
    }

    /// Keep the set of flows that may end by themselves.
    pub(crate) fn keep_timed(&self, timed: &mut BTreeSet<FlowId>) {
        timed.extend(&self.timed);
        if !timed.is_empty() {
            self.went().for_each(|id| {
                timed.remove(&id);
            });
        }
    }

    /// What there is to tell. A modification that changes nothing is not told, as with Open vSwitch.
    /// `pipeline` is as the last step left it; `statistics` says what passed a flow that is gone.
    pub(crate) fn told(
        &self,
        pipeline: &Pipeline,
        statistics: impl Fn(&Entry) -> FlowStatistics,
    ) -> impl Iterator<Item = FlowChange> {
        let gone = LazyCell::new(|| -> BTreeMap<FlowId, &Arc<Entry>> {
            self.steps.iter().filter_map(Step::went).map(|entry| (entry.id, entry)).collect()
        });
        self.steps.iter().filter_map(move |step| {
            let standing = |id: &FlowId| pipeline.get(*id).or_else(|| gone.get(id).copied());
            let before = || step.went().map(Arc::clone);
            let (entry, event, before) = match step {
                Step::Added(id, _) => (standing(id)?, FlowEvent::Added, before()),
                Step::Modified(id, old) => {
                    let entry = standing(id)?;
                    let same = |old: &Displaced| {
                        let (old, new) = (&old.entry().flow, &entry.flow);
                        old.cookie == new.cookie && old.actions == new.actions
                    };
                    if old.as_deref().is_some_and(same) {
                        return None;
                    }
                    (entry, FlowEvent::Modified, before())
                }
                Step::Removed(old, reason) => {
                    (old.entry(), FlowEvent::Removed(*reason, statistics(old.entry())), None)
                }
            };
            Some(FlowChange { entry: Arc::clone(entry), event, before })
        })
    }
}
