//! Events that wait for one connection to write them.
//!
//! Filled from any thread, without waiting; emptied by the connection. Bounded as
//! [`limit`](super::limit) says.

use super::limit;
use footbridge_datapath::PortSpec;
use footbridge_openflow::wire::PortReason;
use footbridge_pipeline::{FlowId, PacketIn};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

use crate::events::FlowChange;

/// Something to tell a client.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// A packet for the controllers.
    PacketIn(Arc<PacketIn>),
    /// A flow that asked for it is gone.
    FlowRemoved(FlowChange),
    /// A port has come, gone or changed.
    Port(Arc<PortSpec>, PortReason),
    /// A flow that a monitor watches has changed.
    Update(FlowChange),
    /// The client's own request, of this xid, has changed a flow that a monitor watches.
    OwnUpdate(u32),
    /// The updates before it were one change: they are told together.
    UpdatesEnd,
    /// Monitors are paused from here on.
    MonitorsPaused,
    /// Another controller has become the primary one.
    Demoted,
    /// A message to or from a controller, for those that snoop.
    Snooped(Arc<[u8]>),
}

/// The events of one connection.
#[derive(Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    notify: Notify,
}

#[derive(Default)]
struct Inner {
    events: VecDeque<Event>,
    packet_ins: usize,
    updates: usize,
    /// Set where monitors are paused: what has changed since, but not what went.
    paused: Option<Changed>,
    overflowed: bool,
}

/// Flows that have changed while monitors were paused, and whether they are new.
pub(super) type Changed = BTreeMap<FlowId, bool>;

/// What a connection takes out.
pub(super) enum Taken {
    /// An event.
    Event(Event),
    /// All that came before the monitors were paused has been taken: these flows have changed since.
    Resume(Changed),
    /// Too much was left unread.
    Overflowed,
    /// Nothing for now.
    Nothing,
}

impl Queue {
    /// False where it is not taken.
    pub(super) fn push_packet_in(&self, packet: Arc<PacketIn>) -> bool {
        let mut inner = self.lock();
        if inner.packet_ins >= limit::PACKET_INS {
            return false;
        }
        inner.packet_ins += 1;
        inner.push(Event::PacketIn(packet));
        self.notify.notify_one();
        true
    }

    /// A change for the monitors, or the word of one that the client made itself.
    pub(super) fn push_update(&self, change: &FlowChange, own: Option<u32>) {
        use crate::events::FlowEvent;
        let mut inner = self.lock();
        if inner.paused.is_none() && inner.updates >= limit::UPDATES {
            inner.push(Event::MonitorsPaused);
            inner.paused = Some(Changed::new());
        }
        match (&mut inner.paused, change.event) {
            (Some(changed), event @ (FlowEvent::Added | FlowEvent::Modified)) => {
                changed.insert(change.entry.id, matches!(event, FlowEvent::Added));
                if changed.len() > limit::EVENTS {
                    inner.overflow();
                }
            }
            (Some(_), FlowEvent::Removed(..)) => inner.push(Event::Update(change.clone())),
            (None, _) => {
                let event = own.map_or_else(|| Event::Update(change.clone()), Event::OwnUpdate);
                let again = matches!((&event, inner.events.back()),
                    (Event::OwnUpdate(xid), Some(Event::OwnUpdate(last))) if xid == last);
                if !again {
                    inner.updates += 1;
                    inner.push(event);
                }
            }
        }
        drop(inner);
        self.notify.notify_one();
    }

    /// Anything else.
    pub(super) fn push(&self, event: Event) {
        self.lock().push(event);
        self.notify.notify_one();
    }

    pub(super) fn take(&self) -> Taken {
        let mut inner = self.lock();
        if inner.overflowed {
            return Taken::Overflowed;
        }
        let Some(event) = inner.events.pop_front() else {
            return inner.paused.take().map_or(Taken::Nothing, Taken::Resume);
        };
        match event {
            Event::PacketIn(_) => inner.packet_ins -= 1,
            Event::Update(_) | Event::OwnUpdate(_) => inner.updates = inner.updates.saturating_sub(1),
            _ => {}
        }
        Taken::Event(event)
    }

    /// Returns when there may be something to take.
    pub(super) async fn ready(&self) {
        self.notify.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn push(&mut self, event: Event) {
        if self.events.len() >= limit::EVENTS {
            return self.overflow();
        }
        self.events.push_back(event);
    }

    /// Give up on the client, and what waits for it.
    fn overflow(&mut self) {
        *self = Inner { overflowed: true, ..Inner::default() };
    }
}

#[cfg(test)]
mod tests;
