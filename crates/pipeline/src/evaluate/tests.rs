use crate::conntrack::Outcome;
use crate::fdb::Fdb;
use crate::observer::{List, Observer, Unobserved};
use crate::packet::{self, Packet, TunnelKey};
use crate::refusal::Reason;
use crate::{Conntrack, Drop, DropReason, Entry, Pipeline, PortKind, PortSet, State, Time, Verdict};
use footbridge_openflow::text::{parse_flow, parse_packet};
use footbridge_openflow::{Action, Field, Key, PortNames, PortNo};
use proptest::prelude::*;

fn pipeline(flows: &[&str]) -> Pipeline {
    let mut pipeline = Pipeline::new();
    for flow in flows {
        let flow = parse_flow(flow, &PortNames::none()).unwrap();
        pipeline.insert(flow, Time::default()).unwrap();
    }
    pipeline
}

/// Ports 1 to 4; the tunnel is 9.
fn state() -> State {
    let ports =
        (1..=4).map(|n| (PortNo(n), PortKind::Ordinary)).chain([(PortNo(9), PortKind::Tunnel)]).collect();
    State { ports, ..State::default() }
}

fn packet(text: &str) -> Packet {
    let key = parse_packet(text, &PortNames::none()).unwrap();
    let in_port = PortNo(key.get(Field::InPortOxm) as u32);
    Packet { in_port, frame: packet::compose(&key), tunnel: TunnelKey::of(&key) }
}

fn run_in(flows: &[&str], state: &mut State, text: &str) -> Verdict {
    pipeline(flows).process(state, packet(text), Time::from_secs(1), &mut Unobserved)
}

fn run(flows: &[&str], text: &str) -> Verdict {
    run_in(flows, &mut state(), text)
}

fn ports(verdict: &Verdict) -> Vec<u32> {
    verdict.outputs.iter().map(|output| output.port.0).collect()
}

fn key_of(verdict: &Verdict, nth: usize) -> Key {
    packet::parse(&verdict.outputs[nth].frame, PortNo::ZERO, &verdict.outputs[nth].tunnel)
}

#[track_caller]
fn assert_dropped(verdict: &Verdict, reason: DropReason, table: u8) {
    assert!(verdict.outputs.is_empty());
    assert_eq!(verdict.drop, Some(Drop { reason, table }));
}

const UDP: &str = "udp,in_port=1,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,nw_src=10.0.0.1,\
     nw_dst=10.0.0.2,nw_ttl=64,tp_src=1000,tp_dst=53";

#[test]
fn a_bridge_without_flows_drops() {
    assert_dropped(&run(&[], UDP), DropReason::NoFlow, 0);
}

#[test]
fn a_flow_that_says_drop_is_named_with_its_table() {
    assert_dropped(&run(&["actions=resubmit(,7)", "table=7,udp actions=drop"], UDP), DropReason::FlowDrop, 7);
}

#[test]
fn output_to_the_in_port_is_suppressed_and_in_port_sends_back() {
    assert_dropped(&run(&["actions=output:1"], UDP), DropReason::BackToInPort, 0);
    assert_eq!(ports(&run(&["actions=IN_PORT"], UDP)), [1]);
    assert_dropped(
        &run(&["actions=load:1->NXM_NX_REG1[],output:NXM_NX_REG1[]"], UDP),
        DropReason::BackToInPort,
        0,
    );
    assert_eq!(ports(&run(&["actions=load:0->NXM_OF_IN_PORT[],output:1"], UDP)), [1]);
}

#[test]
fn output_to_a_port_that_is_not_there_is_named() {
    assert_dropped(&run(&["actions=output:77"], UDP), DropReason::NoSuchPort, 0);
    let register = "actions=load:0x10001->NXM_NX_REG1[],output:NXM_NX_REG1[]";
    assert_dropped(&run(&[register], UDP), DropReason::NoSuchPort, 0);
}

#[test]
fn a_register_can_name_a_reserved_port() {
    let verdict = run(&["actions=load:0xfff8->NXM_NX_REG1[],output:NXM_NX_REG1[0..15]"], UDP);
    assert_eq!(ports(&verdict), [1]);
}

#[test]
fn a_resubmit_returns_and_a_miss_in_it_does_nothing() {
    let verdict = run(
        &[
            "actions=resubmit(,1),resubmit(,2),output:2",
            "table=1 actions=mod_nw_dst:10.0.0.9,output:3",
            "table=2,arp actions=output:4",
        ],
        UDP,
    );
    assert_eq!(ports(&verdict), [3, 2]);
    // What the table changed stays changed.
    assert_eq!(key_of(&verdict, 1).get(Field::NwDst), 0x0a00_0009);
}

#[test]
fn a_last_resubmit_may_go_to_a_lower_table() {
    let flows = [
        "reg0=0 actions=resubmit(,9)",
        "reg0=1 actions=output:2",
        "table=9 actions=load:1->NXM_NX_REG0[],resubmit(,0)",
    ];
    assert_eq!(ports(&run(&flows, UDP)), [2]);
}

#[test]
fn resubmit_changes_in_port_for_the_lookup_only() {
    let flows = ["actions=resubmit(7,1)", "table=1,in_port=7 actions=output:1,output:2"];
    let verdict = run(&flows, UDP);
    assert_eq!(ports(&verdict), [2]);
    assert_eq!(verdict.lost, [Drop { reason: DropReason::BackToInPort, table: 1 }]);
}

#[test]
fn a_loop_ends_at_depth_64_and_sends_nothing() {
    assert_dropped(&run(&["actions=output:2,resubmit(,0)"], UDP), DropReason::TooDeep, 0);
}

#[test]
fn after_the_first_lookup_a_packet_causes_4096_more_misses_included() {
    let verdict = |more: usize| {
        // 64 times 63 lookups below the 64 of table 1, all of them misses.
        let (ones, twos) = (vec!["resubmit(,1)"; 64].join(","), vec!["resubmit(,2)"; 63].join(","));
        let rest = "resubmit(,9),".repeat(more);
        let (first, second) = (format!("actions={ones},{rest}output:2"), format!("table=1 actions={twos}"));
        run(&[&first, &second], UDP)
    };
    assert_eq!(ports(&verdict(0)), [2]);
    assert_dropped(&verdict(1), DropReason::TooManyResubmits, 2);
}

#[test]
fn a_packet_is_not_looked_up_with_64_kb_put_aside() {
    let pushes = |count: usize| vec!["push:NXM_NX_XXREG0[]"; count].join(",");
    let flow = |count| format!("actions={},resubmit(,1),output:2", pushes(count));
    // 16 bytes and one for their length.
    assert_eq!(ports(&run(&[&flow(3855)], UDP)), [2]);
    assert_dropped(&run(&[&flow(3856)], UDP), DropReason::StackFull, 0);
    let popped = format!("actions={},pop:NXM_NX_REG0[],resubmit(,1),output:2", pushes(3856));
    assert_eq!(ports(&run(&[&popped], UDP)), [2]);
}

#[test]
fn a_packet_sent_8192_times_is_not_looked_up_again() {
    let outputs = |count: usize| vec!["output:2"; count].join(",");
    let flow = |count| format!("actions={},resubmit(,1),output:3", outputs(count));
    assert_eq!(run(&[&flow(8191)], UDP).outputs.len(), 8192);
    assert_eq!(run(&[&flow(8192)], UDP).outputs.len(), 8192);
}

#[test]
fn a_chain_through_all_tables_is_not_deep() {
    let tables: Vec<String> = (0..254).map(|n| format!("table={n} actions=resubmit(,{})", n + 1)).collect();
    let mut flows: Vec<&str> = tables.iter().map(String::as_str).collect();
    flows.push("table=254 actions=output:2");
    assert_eq!(ports(&run(&flows, UDP)), [2]);
}

#[test]
fn a_tracked_loop_ends_too() {
    let verdict = run(&["ip actions=ct(table=0)"], UDP);
    assert_eq!(verdict.drop.map(|drop| drop.reason), Some(DropReason::TooDeep));
}

#[test]
fn dec_ttl_at_1_ends_that_list_only() {
    let flows = ["ip actions=resubmit(,1),output:2", "table=1,ip actions=dec_ttl,output:3"];
    let verdict = run(&flows, &UDP.replace("nw_ttl=64", "nw_ttl=1"));
    assert_eq!(ports(&verdict), [2]);
    assert_eq!(verdict.lost, [Drop { reason: DropReason::TtlExpired, table: 1 }]);
    let verdict = run(&["ip actions=dec_ttl,output:3"], &UDP.replace("nw_ttl=64", "nw_ttl=0"));
    assert_dropped(&verdict, DropReason::TtlExpired, 0);
    assert_eq!(verdict.packet_ins[0].reason, 2);
}

#[test]
fn clone_leaves_the_packet_as_it_was() {
    let verdict = run(&["ip actions=clone(mod_nw_dst:9.9.9.9,load:5->NXM_NX_REG0[],output:2),output:3"], UDP);
    assert_eq!(ports(&verdict), [2, 3]);
    assert_eq!(key_of(&verdict, 0).get(Field::NwDst), 0x0909_0909);
    assert_eq!(key_of(&verdict, 1).get(Field::NwDst), 0x0a00_0002);
}

#[test]
fn exit_ends_everything() {
    let flows = ["actions=resubmit(,1),output:3", "table=1 actions=output:2,exit,output:4"];
    assert_eq!(ports(&run(&flows, UDP)), [2]);
}

#[test]
fn the_action_set_is_carried_out_in_openflows_order_at_the_end() {
    let flows = [
        "actions=write_actions(output:3,mod_nw_ttl:9),goto_table:1",
        "table=1,ip actions=write_actions(output:2,dec_ttl)",
    ];
    let flows = flows.map(|flow| {
        flow.replace("actions=write_actions(output:3,mod_nw_ttl:9)", "actions=write_actions(output:3)")
    });
    let verdict = run(&flows.each_ref().map(String::as_str), UDP);
    assert_eq!(ports(&verdict), [2]);
    assert_eq!(key_of(&verdict, 0).get(Field::NwTtl), 63);
}

#[test]
fn what_the_action_set_adds_to_itself_is_left_undone() {
    let flows = ["actions=write_actions(resubmit(,1))", "table=1 actions=output:3,write_actions(output:2)"];
    assert_eq!(ports(&run(&flows, UDP)), [3]);
}

#[test]
fn the_action_set_speaks_for_the_flow_that_took_the_packet_first() {
    let flows =
        ["cookie=7,actions=goto_table:1", "table=1,cookie=8,ip actions=write_actions(dec_ttl,output:2)"];
    let verdict = run(&flows, &UDP.replace("nw_ttl=64", "nw_ttl=1"));
    assert_eq!(verdict.packet_ins[0].cookie, 7);
}

#[test]
fn clear_actions_empties_the_action_set() {
    let flows = ["actions=write_actions(output:2),goto_table:1", "table=1 actions=clear_actions"];
    assert_dropped(&run(&flows, UDP), DropReason::FlowDrop, 1);
}

#[test]
fn registers_metadata_and_bit_ranges_are_written_and_moved() {
    let flows = [
        "actions=load:0xab->NXM_NX_REG0[8..15],move:NXM_NX_REG0[8..15]->NXM_NX_REG1[0..7],write_metadata:0x30/0xf0,goto_table:1",
        "table=1,reg0=0xab00,reg1=0xab,metadata=0x30 actions=output:2",
    ];
    assert_eq!(ports(&run(&flows, UDP)), [2]);
}

#[test]
fn nw_tos_is_the_dscp_to_actions_and_arp_op_one_byte() {
    let tos =
        "actions=move:NXM_OF_IP_TOS[]->NXM_NX_REG1[0..7],load:3->NXM_OF_IP_TOS[0..1],output:NXM_NX_REG1[]";
    let flow = format!("ip {tos}");
    let packet = UDP.replace("nw_ttl=64", "nw_ttl=64,nw_tos=0,nw_ecn=2");
    let verdict = run(&[&flow], &packet);
    // ECN 2 would have been port 2, and is still there.
    assert_dropped(&verdict, DropReason::NoSuchPort, 0);
    let kept = run(&["ip actions=load:3->NXM_OF_IP_TOS[0..1],output:2"], &packet);
    assert_eq!(key_of(&kept, 0).get(Field::NwTos), 2);
    let arp = run(&["arp actions=load:0x302->NXM_OF_ARP_OP[],output:2"], "arp,in_port=1,arp_op=1");
    assert_eq!(arp.outputs[0].frame[20..22], [0, 2]);
}

#[test]
fn the_stack_gives_back_last_in_first_out_and_nothing_when_empty() {
    let flows = [
        "actions=load:1->NXM_NX_REG0[],load:2->NXM_NX_REG1[],push:NXM_NX_REG0[],push:NXM_NX_REG1[],\
         pop:NXM_NX_REG2[],pop:NXM_NX_REG3[],load:7->NXM_NX_REG4[],pop:NXM_NX_REG4[],resubmit(,1)",
        "table=1,reg2=2,reg3=1,reg4=7 actions=output:2",
    ];
    assert_eq!(ports(&run(&flows, UDP)), [2]);
}

#[test]
fn a_field_that_the_packet_does_not_have_is_not_written() {
    let verdict =
        run(&["actions=mod_nw_dst:9.9.9.9,mod_tp_dst:9,output:2"], "arp,in_port=1,arp_tpa=10.0.0.2,arp_op=1");
    assert_eq!(key_of(&verdict, 0).get(Field::ArpTpa), 0x0a00_0002);
}

#[test]
fn output_with_max_len_cuts_the_frame() {
    let verdict = run(&["actions=output(port=2,max_len=60),output:3"], UDP);
    assert_eq!(verdict.outputs[0].frame.len(), 60);
    assert!(verdict.outputs[1].frame.len() > 60);
}

#[test]
fn controller_sends_the_whole_packet_since_none_is_kept() {
    let verdict = run(&["cookie=0x5,actions=controller(max_len=20,reason=no_match,id=3)"], UDP);
    let [told] = &verdict.packet_ins[..] else { panic!() };
    assert_eq!((told.cookie, told.controller, told.reason), (5, 3, 0));
    assert!(told.frame.len() > 20);
    assert_eq!(verdict.drop, None);
}

#[test]
fn a_tunnel_needs_a_destination_other_than_where_the_packet_was_sent() {
    assert_dropped(&run(&["actions=output:9"], UDP), DropReason::NoTunnelDst, 0);
    let verdict = run(&["actions=set_tunnel:7,load:0x0a4f01ca->NXM_NX_TUN_IPV4_DST[],output:9"], UDP);
    assert_eq!((verdict.outputs[0].tunnel.id, verdict.outputs[0].tunnel.dst.octets()), (7, [10, 79, 1, 202]));
    let from_tunnel = UDP.replace("in_port=1", "in_port=9,tun_dst=10.79.1.201");
    assert_dropped(&run(&["actions=IN_PORT"], &from_tunnel), DropReason::TunnelToSelf, 0);
}

#[test]
fn where_a_packet_was_sent_is_its_ipv4_destination_if_it_has_one() {
    let flows = ["actions=set_field:fd00::9->tun_ipv6_dst,output:9"];
    let verdict = run(&flows, "in_port=1,tun_dst=10.0.0.9,dl_type=0x88cc");
    assert_dropped(&verdict, DropReason::TunnelToSelf, 0);
    let v6 = run(&flows, "in_port=1,tun_ipv6_dst=fd00::8,dl_type=0x88cc");
    assert_eq!(ports(&v6), [9]);
}

#[test]
fn queues_are_set_for_one_output_or_until_popped() {
    let verdict = run(&["actions=enqueue:2:7,output:3,set_queue:5,output:2,pop_queue,output:4"], UDP);
    let queues: Vec<Option<u32>> = verdict.outputs.iter().map(|output| output.queue).collect();
    assert_eq!(queues, [Some(7), None, Some(5), None]);
}

#[test]
fn check_pkt_larger_compares_the_frame() {
    let flows = [
        "actions=check_pkt_larger(100)->NXM_NX_REG0[0],check_pkt_larger(2000)->NXM_NX_REG0[1],resubmit(,1)",
        "table=1,reg0=1 actions=output:2",
    ];
    assert_eq!(ports(&run(&flows, UDP)), [2]);
}

#[test]
fn tags_are_added_where_there_is_none_and_rewritten_where_there_is() {
    let verdict = run(&["actions=mod_vlan_vid:5,output:2,strip_vlan,output:3"], UDP);
    assert_eq!(key_of(&verdict, 0).get(Field::VlanTci), 0x1005);
    assert_eq!(key_of(&verdict, 1).get(Field::VlanTci), 0);
    let tagged = format!("{UDP},dl_vlan=7,dl_vlan_pcp=3");
    let verdict = run(&["actions=mod_vlan_vid:5,output:2"], &tagged);
    assert_eq!(key_of(&verdict, 0).get(Field::VlanTci), 0x7005);
}

#[test]
fn a_flood_leaves_out_the_in_port_and_tunnels_and_all_leaves_out_the_in_port() {
    assert_eq!(ports(&run(&["actions=FLOOD"], UDP)), [2, 3, 4]);
    let all = run(&["actions=load:1->NXM_NX_TUN_IPV4_DST[],ALL"], UDP);
    assert_eq!(ports(&all), [2, 3, 4, 9]);
}

const BACK: &str = "udp,in_port=2,dl_src=02:00:00:00:00:02,dl_dst=02:00:00:00:00:01";

#[test]
fn normal_floods_learns_and_then_forwards() {
    let mut state = state();
    assert_eq!(ports(&run_in(&["actions=NORMAL"], &mut state, UDP)), [2, 3, 4]);
    assert_eq!(ports(&run_in(&["actions=NORMAL"], &mut state, BACK)), [1]);
    assert_eq!(ports(&run_in(&["actions=NORMAL"], &mut state, UDP)), [2]);
}

#[test]
fn normal_learns_by_vlan() {
    let mut state = state();
    run_in(&["actions=NORMAL"], &mut state, UDP);
    assert_eq!(ports(&run_in(&["actions=NORMAL"], &mut state, &format!("{BACK},dl_vlan=5"))), [1, 3, 4]);
}

#[test]
fn normal_leaves_out_a_tag_of_vlan_0_and_priority_0() {
    let vlan = |tci: &str| {
        let flows = ["actions=NORMAL"];
        let packet = format!("in_port=1,vlan_tci={tci},dl_src=02:00:00:00:00:01,dl_type=0x88cc");
        key_of(&run(&flows, &packet), 0).get(Field::VlanTci)
    };
    assert_eq!([vlan("0x1000"), vlan("0x3000"), vlan("0x1005")], [0, 0x3000, 0x1005]);
    // Only as it forwards: the packet itself keeps it.
    let verdict = run(&["actions=NORMAL,output:4"], "in_port=1,vlan_tci=0x1000,dl_type=0x88cc");
    assert_eq!(key_of(&verdict, verdict.outputs.len() - 1).get(Field::VlanTci), 0x1000);
}

#[test]
fn normal_finds_no_vlan_in_a_tag_that_is_not_present() {
    let mut state = state();
    let flows =
        ["priority=1,in_port=1 actions=load:5->NXM_OF_VLAN_TCI[],NORMAL", "priority=0 actions=NORMAL"];
    run_in(&flows, &mut state, "in_port=1,dl_src=02:00:00:00:00:01,dl_dst=02:00:00:00:00:02,dl_type=0x88cc");
    let back = "in_port=2,dl_src=02:00:00:00:00:02,dl_dst=02:00:00:00:00:01,dl_type=0x88cc";
    assert_eq!(ports(&run_in(&flows, &mut state, back)), [1]);
}

#[test]
fn normal_learns_a_move_right_after_a_gratuitous_arp() {
    let mut state = state();
    let host = "dl_src=02:00:00:00:00:01";
    let arp = format!("arp,in_port=1,{host},dl_dst=ff:ff:ff:ff:ff:ff,arp_op=2");
    run_in(&["actions=NORMAL"], &mut state, &arp);
    run_in(&["actions=NORMAL"], &mut state, &format!("in_port=2,{host},dl_type=0x88cc"));
    let to_host = "in_port=3,dl_dst=02:00:00:00:00:01,dl_type=0x88cc";
    assert_eq!(ports(&run_in(&["actions=NORMAL"], &mut state, to_host)), [2]);
}

#[test]
fn normal_does_not_send_back_to_tunnels_or_for_reserved_addresses() {
    let mut state = state();
    let same_port = BACK.replace("in_port=2", "in_port=1");
    run_in(&["actions=NORMAL"], &mut state, UDP);
    assert_dropped(&run_in(&["actions=NORMAL"], &mut state, &same_port), DropReason::NormalInPort, 0);
    let far = UDP.replace("in_port=1", "in_port=9,tun_dst=1.1.1.1").replace("00:01,", "00:07,");
    run_in(&["actions=NORMAL"], &mut state, &far);
    let to_far = BACK.replace("dl_dst=02:00:00:00:00:01", "dl_dst=02:00:00:00:00:07");
    assert_dropped(&run_in(&["actions=NORMAL"], &mut state, &to_far), DropReason::NormalTunnel, 0);
    let stp = UDP.replace("dl_dst=02:00:00:00:00:02", "dl_dst=01:80:c2:00:00:0e");
    assert_dropped(&run(&["actions=NORMAL"], &stp), DropReason::ReservedMulticast, 0);
}

#[test]
fn normal_takes_nothing_from_an_unknown_port() {
    let verdict = run(&["actions=NORMAL"], &UDP.replace("in_port=1", "in_port=55"));
    assert_dropped(&verdict, DropReason::UnknownInPort, 0);
}

#[test]
fn ct_state_is_seen_below_ct_only_and_registers_go_along() {
    let flows = [
        "ip actions=load:5->NXM_NX_REG0[],ct(table=1,zone=7),resubmit(,2)",
        "table=1,ct_state=+trk+new,ct_zone=7,reg0=5,ip actions=output:2",
        "table=2,ct_state=0 actions=output:3",
    ];
    assert_eq!(ports(&run(&flows, UDP)), [2, 3]);
}

#[test]
fn ct_commit_sets_marks_and_labels_from_constants_and_fields() {
    let flows = [
        "ip actions=load:0x5->NXM_NX_REG0[],ct(commit,table=1,zone=NXM_NX_REG0[0..15],exec(move:NXM_NX_REG0[]->NXM_NX_CT_MARK[],set_field:0x7->ct_label))",
        "table=1,ct_state=+new+trk,ct_mark=5,ct_label=7,ip actions=output:2",
    ];
    let mut state = state();
    assert_eq!(ports(&run_in(&flows, &mut state, UDP)), [2]);
    let connections = state.conntrack.connections(None, Time::from_secs(1));
    assert_eq!((connections[0].zone, connections[0].mark, connections[0].label), (5, 5, 7));
}

#[test]
fn within_exec_what_one_action_writes_the_next_can_read() {
    let exec = "load:0x21->NXM_NX_CT_MARK[],move:NXM_NX_CT_MARK[0..7]->NXM_NX_CT_LABEL[8..15]";
    let commit = format!("ip actions=ct(commit,table=1,exec({exec}))");
    let flows = [&commit[..], "table=1,ct_mark=0x21,ct_label=0x2100 actions=output:2"];
    assert_eq!(ports(&run(&flows, UDP)), [2]);
}

#[test]
fn a_later_fragment_does_not_show_its_connections_ports() {
    let mut state = state();
    let flows = [
        "ip actions=ct(commit,table=1)",
        "table=1,ct_state=+new+trk,ip actions=move:NXM_NX_CT_TP_DST[]->NXM_NX_REG1[0..15],\
         move:NXM_NX_CT_NW_PROTO[]->NXM_OF_ETH_SRC[0..7],output:2,output:NXM_NX_REG1[]",
    ];
    let first = UDP.replace("tp_dst=53", "tp_dst=3,ip_frag=first");
    assert_eq!(ports(&run_in(&flows, &mut state, &first)), [2, 3]);
    let later = UDP.replace(",tp_src=1000,tp_dst=53", ",ip_frag=later");
    let verdict = run_in(&flows, &mut state, &later);
    assert_eq!(ports(&verdict), [2]);
    assert_eq!(key_of(&verdict, 0).get(Field::EthSrc) & 0xff, 17);
}

#[test]
fn resubmit_with_ct_matches_the_original_tuple() {
    let flows = [
        "ip actions=ct(commit,table=1)",
        "table=1,ct_state=-inv+trk,ip actions=resubmit(,2,ct)",
        "table=2,udp,tp_dst=53,nw_dst=10.0.0.2 actions=IN_PORT",
    ];
    let mut state = state();
    assert_eq!(ports(&run_in(&flows, &mut state, UDP)), [1]);
    let reply = "udp,in_port=2,nw_src=10.0.0.2,nw_dst=10.0.0.1,nw_ttl=64,tp_src=53,tp_dst=1000";
    assert_eq!(ports(&run_in(&flows, &mut state, reply)), [2]);
}

#[test]
fn fin_timeout_shortens_the_flows_timeouts_when_a_fin_passes() {
    let pipeline = pipeline(&["tcp,idle_timeout=100 actions=fin_timeout(idle_timeout=5),output:2"]);
    let entry = || pipeline.entries().next().unwrap();
    let mut state = state();
    let tcp = "tcp,in_port=1,nw_src=10.0.0.1,nw_dst=10.0.0.2,tcp_flags=";
    pipeline.process(&mut state, packet(&format!("{tcp}ack")), Time::default(), &mut Unobserved);
    assert_eq!(entry().timeouts(), (100, 0));
    pipeline.process(&mut state, packet(&format!("{tcp}fin|ack")), Time::default(), &mut Unobserved);
    assert_eq!(entry().timeouts(), (5, 0));
}

#[test]
fn flows_count_packets_bytes_and_when() {
    let pipeline = pipeline(&["udp actions=output:2"]);
    let packet = packet(UDP);
    let len = packet.frame.len() as u64;
    pipeline.process(&mut state(), packet, Time::from_secs(9), &mut Unobserved);
    let counters = &pipeline.entries().next().unwrap().counters;
    assert_eq!(
        (counters.packets(), counters.bytes(), counters.last_used()),
        (1, len, Some(Time::from_secs(9)))
    );
}

#[test]
fn a_frame_without_an_ethernet_header_is_malformed() {
    let packet = Packet { in_port: PortNo(1), frame: vec![0; 13], tunnel: TunnelKey::default() };
    let verdict =
        pipeline(&["actions=output:2"]).process(&mut state(), packet, Time::default(), &mut Unobserved);
    assert_dropped(&verdict, DropReason::Malformed, 0);
}

#[test]
fn a_walk_from_fields_keeps_registers_and_asks_the_script() {
    struct Script;
    impl crate::conntrack::Tracker for Script {
        fn track(
            &mut self,
            _: &packet::Frame,
            _: &mut Option<crate::conntrack::Memo>,
            _: &crate::conntrack::Request,
            _: Time,
        ) -> Outcome {
            Outcome { state: 0x22, mark: 0x20, ..Outcome::default() }
        }
    }
    let pipeline = pipeline(&[
        "reg0=7,ip actions=ct(table=1)",
        "table=1,ct_state=+est+trk,ct_mark=0x20 actions=output:2",
    ]);
    let key = parse_packet(&format!("{UDP},reg0=7"), &PortNames::none()).unwrap();
    let ports_there: PortSet = state().ports;
    let verdict = pipeline.process_key(
        &mut Fdb::default(),
        &ports_there,
        &mut Script,
        &key,
        Time::default(),
        &mut Unobserved,
    );
    assert_eq!(ports(&verdict), [2]);
}

#[test]
fn an_observer_is_told_of_each_step_in_order() {
    #[derive(Default)]
    struct Steps(Vec<String>);
    impl Observer for Steps {
        fn lookup(&mut self, table: u8, _: &Key) {
            self.0.push(format!("lookup {table}"));
        }
        fn matched(&mut self, table: u8, entry: &Entry, _: Option<u32>, _: &Key) {
            self.0.push(format!("matched {table} {}", entry.flow.priority));
        }
        fn missed(&mut self, table: u8, _: &Key) {
            self.0.push(format!("missed {table}"));
        }
        fn action(&mut self, action: &Action, before: &Key, after: &Key) {
            let changed = if before == after { "" } else { " changes" };
            self.0.push(format!("{}{changed}", action.display(&PortNames::none())));
        }
        fn leave(&mut self, list: List) {
            self.0.push(format!("end {list:?}"));
        }
        fn output(&mut self, port: PortNo, _: &Key) {
            self.0.push(format!("out {}", port.0));
        }
        fn dropped(&mut self, drop: Drop) {
            self.0.push(format!("drop {drop}"));
        }
    }
    let mut steps = Steps::default();
    let flows = [
        "priority=5 actions=resubmit(,1),output:1",
        "table=1,priority=6,udp actions=mod_nw_ttl:9,resubmit(,2)",
    ];
    pipeline(&flows).process(&mut state(), packet(UDP), Time::default(), &mut steps);
    assert_eq!(
        steps.0,
        [
            "lookup 0",
            "matched 0 5",
            "resubmit(,1)",
            "lookup 1",
            "matched 1 6",
            "mod_nw_ttl:9 changes",
            "resubmit(,2)",
            "lookup 2",
            "missed 2",
            "end Flow(1)",
            "output:1",
            "drop back_to_in_port (table 0)",
            "end Flow(0)",
        ]
    );
}

#[test]
fn refuses_what_it_cannot_do_and_says_why() {
    let refused = |text: &str| {
        let flow = parse_flow(text, &PortNames::none()).unwrap();
        Pipeline::new().insert(flow, Time::default()).unwrap_err().reason
    };
    assert_eq!(refused("actions=group:1"), Reason::NoGroup);
    assert_eq!(refused("ip actions=ct(commit,nat(src=10.0.0.1))"), Reason::Nat);
    assert_eq!(refused("tcp actions=ct(commit,alg=ftp)"), Reason::Helper);
    assert_eq!(refused("ip actions=clone(ct(commit,nat))"), Reason::Nat);
    assert_eq!(refused("actions=controller(pause)"), Reason::Pause);
}

#[test]
fn every_reason_has_a_name_of_its_own() {
    let names: std::collections::BTreeSet<_> = DropReason::all().map(DropReason::name).collect();
    assert_eq!(names.len(), DropReason::all().len());
}

proptest! {
    /// Any bytes, through a pipeline that does a bit of everything.
    #[test]
    fn no_frame_makes_it_panic(mut frame in prop::collection::vec(any::<u8>(), 0..120), kind in 0usize..8, in_port in 0u32..10) {
        let kinds: [&[u8]; 8] = [&[8, 0, 0x45], &[8, 6, 0, 1, 8, 0, 6, 4], &[0x86, 0xdd, 0x60], &[0x81, 0, 0, 5, 8, 0, 0x46],
            &[0x88, 0xa8, 0, 5, 0x86, 0xdd], &[8, 0, 0x45, 0, 0, 40, 0, 0, 0x20, 0, 64, 1], &[0, 40, 0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &[]];
        if let Some(part) = frame.get_mut(12..12 + kinds[kind].len()) {
            part.copy_from_slice(kinds[kind]);
        }
        let pipeline = pipeline(&[
            "actions=push_vlan:0x8100,mod_vlan_vid:5,resubmit(,1),strip_vlan,strip_vlan,NORMAL",
            "table=1,priority=9,ip actions=dec_ttl,mod_nw_src:1.2.3.4,mod_nw_tos:16,ct(commit,table=2)",
            "table=1,priority=8,arp actions=move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],load:2->NXM_OF_ARP_OP[],IN_PORT",
            "table=1,priority=7,ipv6 actions=set_field:fd00::9->ipv6_src,dec_ttl,ct(commit,table=2)",
            "table=1,priority=1 actions=check_pkt_larger(60)->NXM_NX_REG0[0],output(port=3,max_len=20)",
            "table=2,priority=9,tcp actions=mod_tp_dst:7,output:2",
            "table=2,priority=8,udp actions=mod_tp_src:7,output:2",
            "table=2,priority=7,sctp actions=mod_tp_src:7,output:2",
            "table=2,priority=6,icmp6,icmp_type=135,icmp_code=0 actions=set_field:fd00::1->nd_target,set_field:02:00:00:00:00:09->nd_sll,output:2",
            "table=2,priority=1 actions=controller,FLOOD",
        ]);
        let mut state = State { conntrack: Conntrack::default(), ..state() };
        let packet = Packet { in_port: PortNo(in_port), frame, tunnel: TunnelKey::default() };
        let verdict = pipeline.process(&mut state, packet, Time::default(), &mut Unobserved);
        prop_assert!(verdict.drop.is_some() != (!verdict.outputs.is_empty() || !verdict.packet_ins.is_empty())
            || verdict.packet_ins.iter().all(|told| told.reason == 2));
    }
}
