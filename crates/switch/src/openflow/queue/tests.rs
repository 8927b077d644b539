use super::*;
use crate::events::FlowEvent;
use footbridge_datapath::FlowStatistics;
use footbridge_openflow::wire::RemovedReason;
use footbridge_openflow::{Flow, Match};
use footbridge_pipeline::{Pipeline, Time};

fn change(event: FlowEvent, priority: u16) -> FlowChange {
    let flow = Flow::new(0, priority, 0, Match::any(), Vec::new());
    FlowChange { entry: Pipeline::new().insert(flow, Time(1)).unwrap().entry, event, before: None }
}

#[test]
fn monitors_of_a_client_that_does_not_read_are_paused_and_told_what_changed_meanwhile() {
    let queue = Queue::default();
    let added = change(FlowEvent::Added, 1);
    (0..limit::UPDATES + 10).for_each(|_| queue.push_update(&added, None));
    let gone = change(FlowEvent::Removed(RemovedReason::Delete, FlowStatistics::default()), 2);
    queue.push_update(&gone, None);
    let mut told = Vec::new();
    let resumed = loop {
        match queue.take() {
            Taken::Event(event) => told.push(event),
            Taken::Resume(changed) => break changed,
            Taken::Nothing | Taken::Overflowed => panic!("neither empty nor lost"),
        }
    };
    assert_eq!(told.len(), limit::UPDATES + 2);
    assert!(matches!(told[limit::UPDATES], Event::MonitorsPaused));
    assert!(
        matches!(told.last(), Some(Event::Update(change)) if matches!(change.event, FlowEvent::Removed(..)))
    );
    assert_eq!(resumed, Changed::from([(added.entry.id, true)]));
    assert!(matches!(queue.take(), Taken::Nothing));
}

#[test]
fn a_client_that_leaves_everything_unread_is_given_up_with_what_waits_for_it() {
    let queue = Queue::default();
    let gone = change(FlowEvent::Removed(RemovedReason::Delete, FlowStatistics::default()), 2);
    (0..=limit::EVENTS).for_each(|_| queue.push(Event::FlowRemoved(gone.clone())));
    assert!(matches!(queue.take(), Taken::Overflowed));
    assert!(queue.lock().events.len() < 2);
}

#[test]
fn its_own_changes_are_told_once_a_request() {
    let queue = Queue::default();
    let added = change(FlowEvent::Added, 1);
    [7, 7, 8, 8].iter().for_each(|xid| queue.push_update(&added, Some(*xid)));
    let mut told = Vec::new();
    while let Taken::Event(Event::OwnUpdate(xid)) = queue.take() {
        told.push(xid);
    }
    assert_eq!(told, [7, 8]);
}
