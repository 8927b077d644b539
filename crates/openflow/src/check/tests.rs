use super::*;
use crate::action::{Controller, Subfield};

fn ip() -> Match {
    Match::any().with(Field::EthType, 0x0800_u16)
}

fn errors(matching: Match, actions: Vec<Action>) -> Vec<String> {
    Flow::new(5, 1, 0, matching, actions).check().iter().map(ToString::to_string).collect()
}

fn load(field: Field) -> Action {
    Action::Load { value: 1, dst: Subfield::whole(field) }
}

#[test]
fn takes_what_needs_nothing() {
    assert_eq!(errors(Match::any(), vec![load(Field::Reg0), Action::output(PortNo::NORMAL)]), [""; 0]);
    assert_eq!(errors(Match::any(), vec![Action::DecTtl(vec![0]), Action::StripVlan]), [""; 0]);
}

#[test]
fn refuses_a_match_without_its_prerequisite_once() {
    let port = Match::any().with(Field::TcpDst, 80_u8);
    assert_eq!(
        errors(port, vec![]),
        ["a match on tcp_dst needs tcp or tcp6, and no later fragments, matched too"]
    );
    let udp = ip().with(Field::NwProto, 17_u8).with(Field::UdpDst, 53_u8);
    assert_eq!(errors(udp, vec![]), [""; 0]);
}

#[test]
fn refuses_ports_of_later_fragments() {
    let tcp = ip().with(Field::NwProto, 6_u8).with(Field::TcpDst, 80_u8);
    assert!(errors(tcp.clone().with(Field::IpFrag, 1_u8), vec![]).is_empty());
    assert!(!errors(tcp.with(Field::IpFrag, 3_u8), vec![]).is_empty());
}

#[test]
fn refuses_writes_without_prerequisite_and_of_what_is_only_read() {
    assert_eq!(errors(Match::any(), vec![load(Field::NwSrc)]), ["load: ip_src needs ip matched"]);
    assert_eq!(errors(ip(), vec![load(Field::NwSrc)]), [""; 0]);
    assert_eq!(errors(ip(), vec![load(Field::NwProto)]), ["load: nw_proto can't be written"]);
    assert_eq!(
        errors(ip(), vec![load(Field::CtMark)]),
        ["load: ct_mark can be written only within ct(exec())"]
    );
}

#[test]
fn refuses_values_that_no_packet_has() {
    let arp = Match::any().with(Field::EthType, 0x0806_u16);
    let set = |value| Action::set_field(Field::ArpOp, value, 0xffff);
    assert_eq!(errors(arp.clone(), vec![set(0x102)]), ["set_field: 0x102 is no value of arp_op"]);
    assert_eq!(errors(arp, vec![set(2)]), [""; 0]);
}

#[test]
fn a_write_of_vlan_vid_needs_a_tag_and_names_12_bits() {
    assert_eq!(Subfield::whole(Field::VlanVid).bits, 12);
    assert_eq!(Subfield::range(Field::VlanVid, 0, 12), None);
    let tagged = Match::any().with_masked(Field::VlanTci, 0x1000_u16, 0x1000_u16);
    assert_eq!(errors(tagged, vec![load(Field::VlanVid)]), [""; 0]);
    assert_eq!(
        errors(Match::any(), vec![load(Field::VlanVid)]),
        ["load: vlan_pcp needs a tag (vlan_tci=0x1000/0x1000) matched"]
    );
}

#[test]
fn refuses_values_and_bits_that_do_not_fit() {
    let dst = Subfield { field: Field::Reg0, offset: 0, bits: 4 };
    assert_eq!(
        errors(Match::any(), vec![Action::Load { value: 16, dst }]),
        ["load: 0x10 does not fit into 4 bits"]
    );
    let dst = Subfield { field: Field::Reg0, offset: 30, bits: 4 };
    assert_eq!(
        errors(Match::any(), vec![Action::Load { value: 1, dst }]),
        ["load: reg0 has no bits 30 to 33"]
    );
    let (src, dst) = (Subfield::whole(Field::Reg0), Subfield::whole(Field::Xreg1));
    assert_eq!(errors(Match::any(), vec![Action::Move { src, dst }]), ["move: 32 bits can't be put into 64"]);
}

#[test]
fn refuses_going_back_and_tables_that_are_not() {
    assert_eq!(
        errors(Match::any(), vec![Action::GotoTable(5)]),
        ["goto_table: table 5 is not after table 5"]
    );
    assert_eq!(errors(Match::any(), vec![Action::GotoTable(255)]), ["goto_table: there is no table 255"]);
    assert_eq!(Flow::new(255, 1, 0, Match::any(), vec![]).check(), [FlowError::NoSuchTable]);
}

#[test]
fn refuses_what_stands_beside_a_conjunction() {
    let conjunction = Action::Conjunction { id: 1, clause: 1, n_clauses: 2 };
    assert_eq!(errors(Match::any(), vec![conjunction.clone(), Action::Note(vec![])]), [""; 0]);
    assert_eq!(
        errors(Match::any(), vec![conjunction, Action::Exit]),
        ["exit: no other action may stand beside conjunction, but note"]
    );
    let impossible = Action::Conjunction { id: 1, clause: 3, n_clauses: 2 };
    assert_eq!(errors(Match::any(), vec![impossible]).len(), 1);
}

#[test]
fn refuses_instructions_out_of_order() {
    let metadata = Action::WriteMetadata { value: 1, mask: 1 };
    assert_eq!(
        errors(Match::any(), vec![Action::GotoTable(6), metadata.clone()]),
        ["write_metadata: it must stand before goto_table"]
    );
    assert_eq!(
        errors(Match::any(), vec![metadata.clone(), metadata.clone()]),
        ["write_metadata: it may be given once"]
    );
    assert_eq!(
        errors(Match::any(), vec![Action::Clone(vec![metadata])]),
        ["clone: it can't stand within clone"]
    );
}

#[test]
fn refuses_ports_that_nothing_can_be_sent_to() {
    assert_eq!(errors(Match::any(), vec![Action::output(PortNo::NONE)]).len(), 1);
    let controller = Action::controller(Controller::output(128));
    assert_eq!(errors(Match::any(), vec![controller, Action::output(PortNo::LOCAL)]), [""; 0]);
}

#[test]
fn a_tag_pushed_is_there_for_the_actions_after() {
    let vid = Action::set_field(Field::VlanVid, 0x1005, 0x1fff);
    assert!(!errors(Match::any(), vec![vid.clone()]).is_empty());
    assert_eq!(errors(Match::any(), vec![Action::PushVlan(0x8100), vid]), [""; 0]);
    assert_eq!(
        errors(
            Match::any(),
            vec![Action::PushVlan(0x8100), Action::PushVlan(0x8100), Action::PushVlan(0x8100)]
        ),
        ["push_vlan: a packet has at most two tags"]
    );
}

#[test]
fn a_tag_taken_away_by_a_write_to_vlan_tci_is_gone() {
    let tagged = Match::any().with_masked(Field::VlanTci, 0x1005_u16, 0x1fff_u16);
    let tci = |value| Action::set_field(Field::VlanTci, value, 0xffff);
    let vid = Action::set_field(Field::VlanVid, 0x1005, 0x1fff);
    assert!(!errors(tagged, vec![tci(0), vid.clone()]).is_empty());
    assert_eq!(errors(Match::any(), vec![tci(0x1000), vid]), [""; 0]);
}
