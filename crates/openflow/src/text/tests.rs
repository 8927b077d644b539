use super::*;
use crate::action::Action;
use crate::field::Field;
use crate::port::{PortNames, PortNo};

const WORKER1: &str = include_str!("../../tests/data/worker1.flows");

fn worker1_ports() -> PortNames {
    [
        (1, "antrea-tun0"),
        (2, "antrea-gw0"),
        (3, "coredns--3e3abf"),
        (4, "antrea-o-830766"),
        (48, "backend1-bab86f"),
        (49, "frontend-a3ba2f"),
    ]
    .into_iter()
    .map(|(number, name)| (PortNo(number), name))
    .collect()
}

#[test]
fn prints_every_line_of_worker1_as_it_was() {
    let names = worker1_ports();
    let flows = parse_dump(WORKER1, "worker1.flows", &names).unwrap();
    assert_eq!(flows.len(), WORKER1.lines().count());
    for (parsed, line) in flows.iter().zip(WORKER1.lines()) {
        assert_eq!(parsed.flow.display(&names).to_string(), line);
    }
}

#[test]
fn names_file_line_and_column_of_a_mistake() {
    let text = "\n priority=200,ip actions=outptu:1\n";
    let error = parse_dump(text, "worker1.flows", &PortNames::none()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "worker1.flows:2:26: expected an action, found 'outptu'; did you mean 'output'?"
    );
}

#[test]
fn reads_a_packet_with_bare_and_quoted_port_names() {
    let names = worker1_ports();
    let text = "in_port=frontend-a3ba2f,tcp,dl_src=be:2c:bf:e4:ec:c5,nw_src=10.222.1.48,nw_dst=10.104.65.133,tp_dst=80";
    let key = parse_packet(text, &names).unwrap();
    assert_eq!(key.get(Field::InPort), 49);
    assert_eq!(key.get(Field::EthType), 0x0800);
    assert_eq!(key.get(Field::NwProto), 6);
    assert_eq!(key.get(Field::TcpDst), 80);
    assert_eq!(key.get(Field::TcpSrc), 0);
    assert_eq!(key, parse_packet(&text.replace("frontend-a3ba2f", "\"frontend-a3ba2f\""), &names).unwrap());
    assert_eq!(key, parse_packet(&text.replace("frontend-a3ba2f", "49"), &names).unwrap());
}

#[test]
fn refuses_a_mask_in_a_packet() {
    let error = parse_packet("ip,nw_src=10.0.0.0/8", &PortNames::none()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "column 11: expected a whole value of ip_src, without a mask, found '10.0.0.0/8'"
    );
    assert!(parse_packet("ct_state=+trk,ip", &PortNames::none()).is_err());
    let key = parse_packet("ct_state=new|trk,ip", &PortNames::none()).unwrap();
    assert_eq!(key.get(Field::CtState), 0x21);
}

#[test]
fn reads_ports_from_pairs_and_from_what_ovs_prints() {
    let pairs = "# worker1\n1 antrea-tun0\n\n2 antrea-gw0\n";
    let show = "OFPT_FEATURES_REPLY (xid=0x2): dpid:0000cae8b5cb2d4a\nn_tables:254, n_buffers:0\n \
                1(antrea-tun0): addr:00:00:00:00:00:00\n     config:     0\n     speed: 0 Mbps now, 0 Mbps max\n \
                2(antrea-gw0): addr:4e:99:08:c1:53:be\n     config:     0\nOFPT_GET_CONFIG_REPLY (xid=0x4): frags=normal\n";
    let names: PortNames = [(PortNo(1), "antrea-tun0"), (PortNo(2), "antrea-gw0")].into_iter().collect();
    assert_eq!(parse_ports(pairs).unwrap(), names);
    assert_eq!(parse_ports(show).unwrap(), names);
    assert_eq!(parse_ports("1 \"antrea-tun0\"\n2 antrea-gw0\n").unwrap(), names);
    let error = parse_ports("1 \"antrea-tun0\n").unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 1, column 3: expected a name, bare or in quotes, found '\"antrea-tun0'"
    );
}

#[test]
fn refuses_a_port_given_twice() {
    let error = parse_ports("1 a\n1 b\n").unwrap_err();
    assert_eq!(error.to_string(), "line 2, column 1: expected each port once, found '1'");
    let error = parse_ports("1 a\n2 a\n").unwrap_err();
    assert_eq!(error.to_string(), "line 2, column 3: expected each name once, found 'a'");
    let error = parse_ports("one a\n").unwrap_err();
    assert_eq!(error.to_string(), "line 1, column 1: expected a port number, found 'one'");
}

/// What we make of a line: '=' and the line that we print, or '! ' and the error.
fn outcome(input: &str) -> String {
    let names = PortNames::none();
    match parse_flow(input, &names) {
        Ok(flow) => format!("={}", flow.display(&names)),
        Err(error) => format!("! {error}"),
    }
}

#[test]
fn reads_every_golden_line_as_open_vswitch_does() {
    for text in
        [include_str!("../../tests/data/openflow10.txt"), include_str!("../../tests/data/openflow15.txt")]
    {
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        for pair in lines.chunks(2) {
            assert_eq!(outcome(pair[0]), pair[1], "{}", pair[0]);
        }
    }
}

#[test]
fn what_follows_a_closing_parenthesis_is_not_lost() {
    assert_eq!(outcome("actions=resubmit(1,2)output:3"), "= actions=resubmit(1,2),output:3");
    assert_eq!(
        outcome("actions=resubmit(1,2)->reg0"),
        "! column 22: expected nothing behind this ')', found '->reg0'"
    );
    assert_eq!(
        outcome("actions=ct(table=1,nat(src)->reg0)"),
        "! column 28: expected nothing behind this ')', found '->reg0'"
    );
}

#[test]
fn a_port_in_resubmit_may_have_commas_in_its_quoted_name() {
    let names: PortNames = [(PortNo(6), "comma,equals=")].into_iter().collect();
    let to = |text: &str| parse_flow(text, &names).map(|flow| flow.actions);
    let resubmit = |table| Action::Resubmit { port: Some(PortNo(6)), table, with_ct_orig: false };
    assert_eq!(to("actions=resubmit:\"comma,equals=\""), Ok(vec![resubmit(None)]));
    assert_eq!(to("actions=resubmit(\"comma,equals=\",7)"), Ok(vec![resubmit(Some(7))]));
}

#[test]
fn a_tunnel_id_of_more_than_32_bits_is_that_of_set_tunnel64() {
    assert_eq!(outcome("actions=set_tunnel:0x100000000"), "= actions=set_tunnel64:0x100000000");
    let [short, long] = ["actions=set_tunnel:0x100000000", "actions=set_tunnel64:0x100000000"]
        .map(|text| parse_flow(text, &PortNames::none()).unwrap());
    assert_eq!(short, long);
}

#[test]
fn set_field_takes_the_values_that_the_field_can_have() {
    assert_eq!(outcome("arp,actions=set_field:255->arp_op"), "= arp actions=set_field:255->arp_op");
    assert_eq!(
        outcome("arp,actions=set_field:256->arp_op"),
        "! column 13: set_field: 0x100 is no value of arp_op"
    );
    assert_eq!(
        outcome("ip,actions=set_field:3->nw_tos"),
        "! column 12: set_field: 0x3 is no value of nw_tos"
    );
    // Open vSwitch lets load write it all the same.
    assert_eq!(outcome("arp,actions=load:256->NXM_OF_ARP_OP[]"), "= arp actions=load:0x100->NXM_OF_ARP_OP[]");
}
