//! Tags: in the frame's bytes, as a test run has them, here; beside the frame in `tests/ebpf.rs`.

use super::bed::Bed;
use footbridge_openflow::PortNo;
use footbridge_pipeline::DropReason;

/// A frame with these tags, the outer one first.
fn frame(tags: &[[u8; 4]]) -> Vec<u8> {
    [&[2; 12][..], &tags.concat(), &[0x88, 0xcc], &[0; 46]].concat()
}

fn sent(test: &str, actions: &str, tags: &[[u8; 4]]) -> Option<Vec<Vec<u8>>> {
    let mut bed = Bed::new(test, 4)?;
    bed.flows(&[format!("actions={actions}")]).unwrap_or_else(|error| panic!("{error}"));
    Some(bed.run(PortNo(1), &frame(tags)).outputs.into_iter().map(|(_, frame)| frame).collect())
}

const VLAN5: [u8; 4] = [0x81, 0, 0x20, 5];

#[test]
fn tags_are_put_on_changed_and_taken_off_between_outputs() {
    let actions =
        "output:2,mod_vlan_vid:7,output:2,push_vlan:0x88a8,output:2,strip_vlan,output:2,strip_vlan,output:2";
    let Some(sent) = sent("tags_are_put_on_changed_and_taken_off_between_outputs", actions, &[VLAN5]) else {
        return;
    };
    let seven = [0x81, 0, 0x20, 7];
    let expected: [&[[u8; 4]]; 5] = [&[VLAN5], &[seven], &[[0x88, 0xa8, 0, 0], seven], &[seven], &[]];
    assert_eq!(sent, expected.map(frame));
}

/// The IP header is elsewhere among the bytes then.
#[test]
fn addresses_are_written_behind_tags_that_came_and_went() {
    let test = "addresses_are_written_behind_tags_that_came_and_went";
    let Some(mut bed) = Bed::new(test, 4) else { return };
    let actions = "push_vlan:0x8100,push_vlan:0x8100,output:2,strip_vlan,strip_vlan,strip_vlan,mod_nw_dst:10.0.0.9,output:2";
    bed.flows(&[format!("ip actions={actions}")]).unwrap();
    let mut key = footbridge_openflow::Key::default();
    key.set(footbridge_openflow::Field::EthType, 0x0800);
    key.set(footbridge_openflow::Field::VlanTci, 0x1005);
    key.set(footbridge_openflow::Field::NwProto, 17);
    let outputs = bed.run(PortNo(1), &footbridge_pipeline::packet::compose(&key)).outputs;
    key.set(footbridge_openflow::Field::VlanTci, 0);
    key.set(footbridge_openflow::Field::NwDst, 0x0a00_0009);
    assert_eq!(outputs[1].1, footbridge_pipeline::packet::compose(&key));
}

/// NORMAL sent them on with the packet.
#[test]
fn normal_takes_off_a_tag_that_says_nothing() {
    let empty = [0x81, 0, 0, 0];
    // Learned is the source on port 1, so that another destination is flooded to.
    let actions = "mod_dl_dst:02:02:02:02:02:03,NORMAL,output:2";
    let Some(sent) = sent("normal_takes_off_a_tag_that_says_nothing", actions, &[empty]) else {
        return;
    };
    let tagged = |tags: &[[u8; 4]]| [&[2, 2, 2, 2, 2, 3], &frame(tags)[6..]].concat();
    assert_eq!(sent, [tagged(&[]), tagged(&[]), tagged(&[]), tagged(&[empty])]);
}

#[test]
fn a_copy_s_tags_are_its_own() {
    let actions = "clone(strip_vlan,output:2),clone(push_vlan:0x8100,mod_vlan_vid:9,output:2),output:2";
    let Some(sent) = sent("a_copy_s_tags_are_its_own", actions, &[VLAN5]) else { return };
    let expected: [&[[u8; 4]]; 3] = [&[], &[[0x81, 0, 0, 9], VLAN5], &[VLAN5]];
    assert_eq!(sent, expected.map(frame));
}

/// A limit of the program's own.
#[test]
fn a_fifth_tag_is_one_too_many() {
    let Some(mut bed) = Bed::new("a_fifth_tag_is_one_too_many", 4) else { return };
    let push = |table| format!("table={table} actions=push_vlan:0x8100,output:2,resubmit(,{})", table + 1);
    bed.flows(&(0..8).map(push).collect::<Vec<_>>()).unwrap();
    let seen = bed.run(PortNo(1), &frame(&[]));
    assert_eq!((seen.outputs.len(), seen.drops), (4, vec![(DropReason::StackFull, 1)]));
}
