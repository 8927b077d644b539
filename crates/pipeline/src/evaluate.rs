//! The evaluator.

use crate::conntrack::Conntrack;
use crate::drop_reason::DropReason;
use crate::fdb::Fdb;
use crate::observer::Observer;
use crate::packet::{self, Packet};
use crate::ports::PortSet;
use crate::table::Pipeline;
use crate::time::Time;
use crate::verdict::{Drop, Output, Verdict};
use footbridge_openflow::Action;

/// Everything that changes while packets pass.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Learned MAC addresses.
    pub fdb: Fdb,
    /// Tracked connections.
    pub conntrack: Conntrack,
    /// The ports.
    pub ports: PortSet,
}

impl Pipeline {
    /// Take one packet through the tables, from table 0 on.
    pub fn process(
        &self,
        state: &mut State,
        packet: Packet,
        now: Time,
        observer: &mut dyn Observer,
    ) -> Verdict {
        let key = packet::parse(&packet.frame, packet.in_port, &packet.tunnel);
        let mut verdict = Verdict::default();
        let mut reason = DropReason::NoFlow;
        observer.lookup(0, &key);
        if let Some(found) = self.lookup(0, &key) {
            found.entry.counters.hit(packet.frame.len() as u64, now);
            observer.matched(0, found.entry, &key);
            reason = DropReason::FlowDrop;
            for action in &found.entry.flow.actions {
                if let Action::Output(port) = action
                    && state.ports.kind(*port).is_some()
                {
                    observer.output(*port, &key);
                    let (frame, tunnel) = (packet.frame.clone(), packet.tunnel);
                    verdict.outputs.push(Output { port: *port, frame, tunnel, queue: None });
                }
            }
        } else {
            observer.missed(0, &key);
        }
        if verdict.outputs.is_empty() {
            verdict.drop = Some(Drop { reason, table: 0 });
        }
        verdict
    }
}
