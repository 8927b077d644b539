//! Flows of which many have something that no switch takes.

use super::Generator;
use crate::flows::FlowText;
use footbridge_openflow::action::{Controller, Ct, CtZone};
use footbridge_openflow::{Action, Field, Field::*, Flow, PortNames, PortNo, Subfield};

/// Flows with at most one mistake each, besides those that fields without their prerequisites are.
pub(crate) fn mistaken(generator: &mut Generator<'_>, count: u64) -> Vec<FlowText> {
    (0..count)
        .map(|_| {
            let table = generator.random.below(4) as u8;
            let matching = generator.matching();
            let (mut actions, old) = generator.actions(table, &matching);
            if generator.random.one_in(3) {
                actions.insert(0, generator.unfounded());
            } else if generator.random.one_in(2) {
                let mistake = generator.mistake(table);
                let at = generator.random.below(actions.len() as u64 + 1) as usize;
                // No version has both a tag stripped that may not be there and one pushed.
                if !(old && matches!(mistake, Action::PushVlan(_))) {
                    actions.insert(at, mistake);
                }
            }
            let flow = Flow::new(table, 10, 0, matching, actions);
            FlowText { text: flow.display(&PortNames::none()).to_string(), old }
        })
        .collect()
}

impl Generator<'_> {
    /// An action on any fields, whatever is matched.
    fn unfounded(&mut self) -> Action {
        let src = self.any_part(None);
        let dst = self.any_part(Some(src.bits));
        match self.random.below(7) {
            0 => Action::Move { src, dst },
            1 => Action::Load { value: self.random.bits(dst.bits.into()), dst },
            2 => Action::Push(src),
            // Open vSwitch lets these two be popped, to no effect.
            3 if !matches!(dst.field, CtMark | CtLabel) => Action::Pop(dst),
            4 => Action::OutputReg { src },
            5 => Action::CheckPktLarger { len: 100, dst: Subfield { bits: 1, ..dst } },
            _ => loop {
                let field = self.any_part(None).field;
                // These are numbers that text has no word for, or another one.
                if !matches!(field, InPort | NwTos | VlanVid) {
                    let value = self.random.bits(field.width()) & field.known_bits();
                    return Action::set_field(field, value, field.all_ones());
                }
            },
        }
    }

    fn any_part(&mut self, bits: Option<u8>) -> Subfield {
        // Named by OpenFlow 1.3, as far as we have them: the options of tunnels are mapped to fields.
        let named = |field: &Field| {
            let row = field.info();
            (row.nxm.is_some() || row.oxm.is_some())
                && !row.name.starts_with("tun_metadata")
                && !matches!(
                    field,
                    InPortOxm | ActsetOutput | PacketType | ConjId | NdReserved | NdOptionsType
                )
        };
        let all: Vec<Field> = Field::all().filter(named).collect();
        loop {
            let field = self.random.pick(&all);
            let width = field.subfield_width();
            let bits = bits.unwrap_or(1 + self.random.below(width.min(64).into()) as u8);
            if bits <= width {
                return Subfield {
                    field,
                    offset: self.random.below(u64::from(width - bits) + 1) as u8,
                    bits,
                };
            }
        }
    }

    fn mistake(&mut self, table: u8) -> Action {
        let ct = |commit, force, exec, table| {
            let zone = CtZone::Number(1);
            Action::Ct(Box::new(Ct { commit, force, table, zone, nat: None, alg: None, exec }))
        };
        let mark = Action::Load { value: 1, dst: Subfield { field: CtMark, offset: 0, bits: 8 } };
        let register = Action::Load { value: 1, dst: Subfield::whole(Reg0) };
        let port = self.random.pick(&[0xff00, 0xfff7, 0xff77, 0xffff_fff9, 0xffff_ffff, 0, 0xffff_fffd]);
        match self.random.below(24) {
            0 => Action::GotoTable(self.random.below(u64::from(table) + 1) as u8),
            1 => Action::GotoTable(254),
            2 => Action::Resubmit {
                port: None,
                table: Some(self.random.pick(&[254, 255])),
                with_ct_orig: false,
            },
            3 => Action::Resubmit { port: None, table: Some(1), with_ct_orig: true },
            4 => Action::output(PortNo(port)),
            5 => Action::OutputTruncated { port: PortNo(port), max_len: 60 },
            6 => {
                Action::OutputTruncated { port: PortNo(2), max_len: self.random.pick(&[0, 13, 14, 100_000]) }
            }
            7 => Action::Enqueue { port: PortNo(port), queue: 1 },
            8 => Action::Conjunction { id: 1, clause: 1, n_clauses: 2 },
            9 => Action::Conjunction { id: 1, clause: self.random.pick(&[0, 3]), n_clauses: 2 },
            10 => Action::PushVlan(self.random.pick(&[0x8100, 0x88a8, 0x0800])),
            11 => mark,
            12 => ct(false, true, Vec::new(), None),
            13 => ct(false, false, vec![mark], None),
            14 => ct(true, false, vec![register], None),
            15 => ct(true, false, Vec::new(), Some(self.random.pick(&[1, 255]))),
            16 => Action::Clone(vec![Action::GotoTable(200)]),
            17 => Action::Clone(vec![Action::WriteMetadata { value: 1, mask: 1 }]),
            18 => Action::WriteActions(vec![Action::Exit]),
            19 => Action::WriteActions(vec![Action::output(PortNo(2)), Action::Push(Subfield::whole(Reg0))]),
            20 => Action::WriteActions(vec![Action::WriteActions(vec![Action::output(PortNo(2))])]),
            21 => Action::set_field(VlanVid, 0x1005, 0x1fff),
            22 => Action::controller(Controller {
                reason: self.random.pick(&[0, 1, 2]),
                ..Controller::output(100)
            }),
            _ => Action::WriteMetadata { value: 1, mask: 0 },
        }
    }
}
