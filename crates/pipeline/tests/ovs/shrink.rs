//! Making a case that fails small.

use crate::compare::{Compared, Disagreement, Tally, check};
use crate::generate::Case;
use crate::instance::Ovs;
use footbridge_openflow::PortNames;
use footbridge_openflow::text::parse_flow;

/// Tries enough for a few dozen flows and packets.
const TRIES: usize = 600;

/// Take away packets, flows and actions as long as a disagreement stays; the last one found.
pub(crate) fn shrink(
    ovs: &mut Ovs,
    case: Case,
    compared: Compared,
    found: Disagreement,
) -> Result<(Case, Disagreement), String> {
    let mut shrink = Shrink { ovs, compared, tries: 0, case, found };
    if let Some(at) = shrink.found.packet {
        shrink.case.inputs.truncate(at + 1);
    }
    loop {
        let before = (shrink.case.flows.clone(), shrink.case.inputs.len());
        shrink.packets()?;
        shrink.flows()?;
        shrink.actions()?;
        let smaller = (shrink.case.flows.clone(), shrink.case.inputs.len()) != before;
        if !smaller || shrink.tries >= TRIES {
            return Ok((shrink.case, shrink.found));
        }
    }
}

struct Shrink<'a> {
    ovs: &'a mut Ovs,
    compared: Compared,
    tries: usize,
    case: Case,
    found: Disagreement,
}

impl Shrink<'_> {
    fn packets(&mut self) -> Result<(), String> {
        for at in (0..self.case.inputs.len()).rev() {
            if at < self.case.inputs.len() {
                let mut inputs = self.case.inputs.clone();
                inputs.remove(at);
                self.keep(Case { flows: self.case.flows.clone(), inputs })?;
            }
        }
        Ok(())
    }

    fn flows(&mut self) -> Result<(), String> {
        for at in (0..self.case.flows.len()).rev() {
            let mut flows = self.case.flows.clone();
            flows.remove(at);
            self.keep(Case { flows, inputs: self.case.inputs.clone() })?;
        }
        Ok(())
    }

    fn actions(&mut self) -> Result<(), String> {
        for at in 0..self.case.flows.len() {
            let Ok(flow) = parse_flow(&self.case.flows[at].text, &PortNames::none()) else { continue };
            let mut count = flow.actions.len();
            while count > 0 {
                count -= 1;
                let Ok(mut smaller) = parse_flow(&self.case.flows[at].text, &PortNames::none()) else {
                    continue;
                };
                smaller.actions.remove(count);
                let mut flows = self.case.flows.clone();
                flows[at].text = smaller.display(&PortNames::none()).to_string();
                self.keep(Case { flows, inputs: self.case.inputs.clone() })?;
            }
        }
        Ok(())
    }

    /// Make it the case, if it fails too.
    fn keep(&mut self, case: Case) -> Result<(), String> {
        self.tries += 1;
        if self.tries < TRIES
            && let Some(found) = check(self.ovs, &case, self.compared, &mut Tally::default())?
        {
            (self.case, self.found) = (case, found);
        }
        Ok(())
    }
}
