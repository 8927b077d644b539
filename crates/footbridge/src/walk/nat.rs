//! What `ct(nat)` does to a packet, as far as it is known (ovs-actions(7), "ct").
//!
//! A new connection is translated as the action says, where that names one address (and port); a packet of a
//! connection that there is, as that was: which only `--ct-next` can say. A packet of no connection is not
//! translated by a bare `nat`. For the evaluator, the packet is rewritten before a ct() without `nat`.

use super::Stopped;
use super::answer::{CtAnswer, Translated};
use super::dump::{Bridge, StandsFor, Written};
use footbridge_openflow::action::{Ct, CtNat, NatKind};
use footbridge_openflow::{Action, Field};
use footbridge_pipeline::conntrack::state;
use footbridge_pipeline::{FlowId, Pipeline, Time};
use std::collections::HashMap;
use std::net::IpAddr;

/// Where a packet met a `ct(nat)`.
#[derive(Debug, Clone)]
pub(super) struct Met {
    pub(super) table: u8,
    /// The flow, by its number in the dump's pipeline.
    flow: FlowId,
    /// The flow's number now.
    current: FlowId,
    /// The action's place.
    at: usize,
    text: String,
    ct: Ct,
    /// How many `ct(table=)` were answered before.
    answered: usize,
}

impl Met {
    pub(super) fn new(
        table: u8,
        (flow, current): (FlowId, FlowId),
        at: usize,
        (text, ct): (&str, &Ct),
        answered: usize,
    ) -> Met {
        Met { table, flow, current, at, text: text.to_owned(), ct: ct.clone(), answered }
    }
}

/// A dump's pipeline with flows changed for one walk.
#[derive(Default)]
pub(super) struct Changed {
    pipeline: Option<Pipeline>,
    /// By its number now, a changed flow's number in the dump's pipeline and what its actions stand for.
    flows: HashMap<FlowId, (FlowId, Written)>,
}

impl Changed {
    pub(super) fn pipeline<'a>(&'a self, dumped: &'a Pipeline) -> &'a Pipeline {
        self.pipeline.as_ref().unwrap_or(dumped)
    }

    /// A flow's number in the dump, and what its actions stand for.
    pub(super) fn written<'a>(&'a self, bridge: &'a Bridge, id: FlowId) -> (FlowId, Option<&'a Written>) {
        match self.flows.get(&id) {
            Some((original, written)) => (*original, Some(written)),
            None => (id, bridge.flows.get(&id)),
        }
    }

    /// Put what a `ct(nat)` does in its place.
    pub(super) fn translate(
        &mut self,
        bridge: &Bridge,
        met: &Met,
        answers: &[CtAnswer],
    ) -> Result<(), Stopped> {
        let found = match met.ct.table {
            Some(_) => answers.get(met.answered),
            None => met.answered.checked_sub(1).and_then(|last| answers.get(last)),
        };
        let writes = writes(&met.ct, found.copied().unwrap_or_default()).map_err(|needs| Stopped {
            table: met.table,
            at: met.text.clone(),
            why: "what nat makes of the packet is not in a dump".to_owned(),
            needs: Some(needs),
        })?;
        let written = self.written(bridge, met.current).1.cloned();
        let mut pipeline = self.pipeline.take().unwrap_or_else(|| bridge.pipeline.clone());
        let entry = pipeline.get(met.current);
        if let (Some(entry), Some(mut written)) = (entry, written) {
            let mut actions = entry.flow.actions.to_vec();
            let plain = Action::Ct(Box::new(Ct { nat: None, alg: None, ..met.ct.clone() }));
            let added = writes.len();
            actions.splice(met.at..=met.at, writes.into_iter().chain([plain]));
            written.text = written.text.or_else(|| Some(bridge.text_of(entry, met.flow)));
            written.stands_for = (written.stands_for.into_iter())
                .map(|(at, stands_for)| (if at > met.at { at + added } else { at }, stands_for))
                .filter(|(at, _)| *at != met.at)
                .collect();
            (0..added).for_each(|offset| {
                written.stands_for.insert(met.at + offset, StandsFor::Translation);
            });
            let shown = StandsFor::Action { text: met.text.clone(), note: None, learns: None };
            written.stands_for.insert(met.at + added, shown);
            // The flow stands, and nothing in it is refused any more.
            if let Ok(Some(inserted)) = pipeline.modify(met.current, &actions, None, Time::default()) {
                self.flows.remove(&met.current);
                self.flows.insert(inserted.entry.id, (met.flow, written));
            }
        }
        self.pipeline = Some(pipeline);
        Ok(())
    }
}

/// Of a `ct(nat)` where nobody can say what it does.
pub(super) fn not_followed(met: &Met) -> Stopped {
    Stopped {
        table: met.table,
        at: met.text.clone(),
        why: "what nat makes of the packet is not known here".to_owned(),
        needs: None,
    }
}

/// What `nat` writes into a packet of which ct() finds `found`, or what would have to be told.
fn writes(ct: &Ct, found: CtAnswer) -> Result<Vec<Action>, String> {
    let mut ends: [(Option<Translated>, End); 2] = [(found.src, SOURCE), (found.dst, DESTINATION)];
    let is_told = found.src.is_some() || found.dst.is_some();
    let begins = ct.commit && found.state & state::NEW != 0;
    match &ct.nat {
        _ if is_told => {}
        Some(CtNat { kind: Some(kind), addresses, ports, .. }) if begins => {
            let single = |(first, last): (IpAddr, IpAddr)| (first == last).then_some(first);
            let address = addresses.and_then(single);
            let port = ports.map(|(first, last)| (first == last).then_some(first));
            let (place, word) = match kind {
                NatKind::Source => (0, "src"),
                NatKind::Destination => (1, "dst"),
            };
            match (address, port) {
                (Some(address), None) => ends[place].0 = Some(Translated { address, port: None }),
                (Some(address), Some(Some(port))) => {
                    ends[place].0 = Some(Translated { address, port: Some(port) });
                }
                _ => {
                    return Err(format!(
                        "--ct-next {found},{word}=ADDRESS:PORT, which of its range it takes"
                    ));
                }
            }
        }
        _ if found.is_of_a_connection() => {
            return Err(format!(
                "--ct-next {found},src=ADDRESS:PORT or dst=ADDRESS:PORT, what the connection's other end is made to be"
            ));
        }
        _ => {}
    }
    Ok(ends
        .into_iter()
        .filter_map(|(to, end)| Some((to?, end)))
        .flat_map(|(to, end)| end.writes(to))
        .collect())
}

/// One end's fields.
#[derive(Clone, Copy)]
struct End {
    v4: Field,
    v6: Field,
    port: fn(u16) -> Action,
}

const SOURCE: End = End { v4: Field::NwSrc, v6: Field::Ipv6Src, port: Action::ModTpSrc };
const DESTINATION: End = End { v4: Field::NwDst, v6: Field::Ipv6Dst, port: Action::ModTpDst };

impl End {
    fn writes(self, to: Translated) -> Vec<Action> {
        let (field, value) = match to.address {
            IpAddr::V4(address) => (self.v4, u128::from(u32::from(address))),
            IpAddr::V6(address) => (self.v6, u128::from(address)),
        };
        let address = Action::set_field(field, value, field.all_ones());
        [address].into_iter().chain(to.port.map(self.port)).collect()
    }
}
