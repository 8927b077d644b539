//! Every message in every version: written, read again, and printed by `ovs-ofctl ofp-print`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Dialect, Random};
use core::time::Duration;
use footbridge_openflow::flow::FlowStats;
use footbridge_openflow::wire::port::{config, state};
use footbridge_openflow::wire::stats::{
    AggregateStats, Desc, FlowEntry, FlowStatsRequest, FlowUpdate, MonitorCommand, MonitorFlags,
    MonitorRequest, PortStats, ReplyBody, ReplyKind, ReplyWriter, StatsReply, StatsRequest, TableDesc,
    TableFeatures, TableStats, UpdateEvent,
};
use footbridge_openflow::wire::{
    AsyncConfig, AsyncMask, BundleAdd, BundleCommand, BundleControl, Command, Context, CookieMatch, CtFlush,
    ErrorCode, ErrorMessage, Features, FlowFormat, FlowMod, FlowRemoved, Form, Hello, Message, PacketIn,
    PacketInFormat, PacketOut, Port, PortMod, PortReason, PortStatus, RemovedReason, Role, RoleMessage,
    Setting, SwitchConfig, TlvCommand, TlvMapping, TlvTable, TlvTableMod, TlvTableReply, Version, Versions,
};
use footbridge_openflow::{Action, Field, Flow, MacAddr, Match, PortNo};
use proptest::prelude::*;
use std::process::{Command as Program, Stdio};

const XID: u32 = 0x1234;

fn port() -> Port {
    Port {
        number: PortNo(3),
        hw_addr: MacAddr([0x4e, 0x99, 0x08, 0xc1, 0x53, 0xbe]),
        name: "coredns--3e3abf".to_owned(),
        config: config::NO_PACKET_IN,
        state: state::LINK_DOWN,
        curr: 1 << 6,
        advertised: 0,
        supported: 1 << 13,
        peer: 0,
        curr_speed: 0,
        max_speed: 0,
    }
}

fn packet() -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend([1, 2, 3, 4, 5, 6, 0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1, 1, 2, 3, 4, 5, 6, 10, 0, 0, 1]);
    frame.extend([0, 0, 0, 0, 0, 0, 10, 0, 0, 2]);
    frame
}

/// Messages that the version has, each with what `ofp-print` says of it.
fn messages(version: Version) -> Vec<(Message, &'static [&'static str])> {
    let mut all: Vec<(Message, &[&str])> = Vec::new();
    let v10 = version == Version::V10;
    let later = version >= Version::V14;
    let form = if v10 { Form::Nicira } else { Form::Standard };
    let in_port = |number: u16| Match::any().with(Field::InPort, number);
    let arp = in_port(2).with(Field::EthType, 0x0806_u16).with(Field::ArpTpa, 0x0a00_0001_u32);

    all.push((Message::Hello(Hello::offering(Versions::SPOKEN)), &["OFPT_HELLO", "0x01, 0x04, 0x05, 0x06"]));
    all.push((Message::EchoRequest(vec![1, 2, 3]), &["OFPT_ECHO_REQUEST", "3 bytes of payload"]));
    all.push((Message::EchoReply(vec![]), &["OFPT_ECHO_REPLY", "0 bytes of payload"]));
    all.push((Message::FeaturesRequest, &["OFPT_FEATURES_REQUEST"]));
    let features = Features {
        datapath_id: 0x0102_0304_0506,
        n_buffers: 0,
        n_tables: 254,
        auxiliary_id: 0,
        capabilities: 0xc7,
        actions: if v10 { 0xfff } else { 0 },
        ports: if v10 { vec![port()] } else { Vec::new() },
    };
    all.push((Message::FeaturesReply(features), &["dpid:0000010203040506", "n_tables:254, n_buffers:0"]));
    let config = SwitchConfig { flags: 0, miss_send_len: 128 };
    all.push((Message::GetConfigRequest, &["OFPT_GET_CONFIG_REQUEST"]));
    all.push((Message::GetConfigReply(config), &["OFPT_GET_CONFIG_REPLY", "frags=normal miss_send_len=128"]));
    all.push((Message::SetConfig(config), &["OFPT_SET_CONFIG", "frags=normal miss_send_len=128"]));
    all.push((Message::BarrierRequest, &["OFPT_BARRIER_REQUEST"]));
    all.push((Message::BarrierReply, &["OFPT_BARRIER_REPLY"]));

    for format in [PacketInFormat::Standard, PacketInFormat::Nxt, PacketInFormat::Nxt2] {
        let says_little = v10 && format == PacketInFormat::Standard;
        let packet_in = PacketIn {
            format,
            buffer_id: None,
            total_len: 42,
            reason: 1,
            table: if says_little { 0 } else { 20 },
            cookie: if says_little { u64::MAX } else { 0x1_0200_0000_0000 },
            metadata: if says_little { in_port(2) } else { in_port(2).with(Field::Xreg0, 5_u8) },
            userdata: if format == PacketInFormat::Nxt2 { vec![1, 2] } else { Vec::new() },
            data: packet(),
        };
        let fragments: &[&str] = if says_little {
            &["PACKET_IN", "in_port=2 (via action) data_len=42 (unbuffered)", "arp_tpa=10.0.0.2"]
        } else if format == PacketInFormat::Nxt2 {
            &["PACKET_IN2", "table_id=20 cookie=0x1020000000000 total_len=42", "userdata=01.02"]
        } else {
            &["PACKET_IN", "table_id=20 cookie=0x1020000000000 total_len=42", "in_port=2 (via action)"]
        };
        all.push((Message::PacketIn(packet_in), fragments));
    }
    let removed = FlowRemoved {
        form,
        reason: RemovedReason::IdleTimeout,
        table: 20,
        priority: 200,
        cookie: 5,
        matching: arp.clone(),
        duration: (7, 500_000_000),
        idle_timeout: 60,
        hard_timeout: if v10 { 0 } else { 100 },
        packets: 3,
        bytes: 126,
    };
    all.push((
        Message::FlowRemoved(removed),
        &[
            "FLOW_REMOVED",
            "arp,in_port=2,arp_tpa=10.0.0.1 reason=idle table_id=20",
            "duration7.500s idle60",
            "pkts3 bytes126",
        ],
    ));
    let status = PortStatus { reason: PortReason::Add, port: port() };
    all.push((Message::PortStatus(status), &["OFPT_PORT_STATUS", "ADD", "3(coredns--3e3abf)", "LINK_DOWN"]));
    let packet_out = PacketOut {
        buffer_id: None,
        metadata: in_port(1),
        actions: vec![Action::output(PortNo(2))],
        data: packet(),
    };
    all.push((
        Message::PacketOut(packet_out),
        &["OFPT_PACKET_OUT", "in_port=1 actions=output:2 data_len=42"],
    ));
    let port_mod = PortMod {
        number: PortNo(3),
        hw_addr: port().hw_addr,
        config: config::PORT_DOWN,
        mask: config::PORT_DOWN,
        advertise: 0,
    };
    all.push((
        Message::PortMod(port_mod),
        &["OFPT_PORT_MOD", "port: 3: addr:4e:99:08:c1:53:be", "PORT_DOWN"],
    ));

    let mut delete = FlowMod::add(20, 0x8000, arp.clone());
    delete.form = form;
    delete.command = Command::Delete;
    delete.cookie = None;
    delete.cookie_match = Some(CookieMatch { value: 0x10, mask: 0xff });
    delete.out_port = PortNo(7);
    all.push((
        Message::FlowMod(delete),
        &["FLOW_MOD", "DEL table:20 arp,in_port=2", "cookie:0x10/0xff", "out_port:7"],
    ));

    let flow_request = |table| FlowStatsRequest {
        form,
        table,
        out_port: PortNo::NONE,
        out_group: None,
        cookie: Some(CookieMatch { value: 1, mask: u64::MAX }),
        matching: arp.clone(),
    };
    let request = |request| Message::StatsRequest(request);
    all.push((request(StatsRequest::Desc), &["OFPST_DESC request"]));
    all.push((
        request(StatsRequest::Flow(flow_request(20))),
        &["FLOW request", "table=20", "arp_tpa=10.0.0.1"],
    ));
    all.push((
        request(StatsRequest::Aggregate(flow_request(255))),
        &["AGGREGATE request", "arp_tpa=10.0.0.1"],
    ));
    all.push((request(StatsRequest::Table), &["OFPST_TABLE request"]));
    all.push((request(StatsRequest::Port(PortNo(3))), &["OFPST_PORT request", "port_no=3"]));
    all.push((request(StatsRequest::PortDesc(PortNo::NONE)), &["OFPST_PORT_DESC request"]));
    all.push((
        request(StatsRequest::Queue { port: PortNo(3), queue: 5 }),
        &["OFPST_QUEUE request", "port=3 queue=5"],
    ));
    all.push((request(StatsRequest::Group(5)), &["GROUP request", "group_id=5"]));
    all.push((request(StatsRequest::GroupDesc), &["GROUP_DESC request"]));
    all.push((request(StatsRequest::GroupFeatures), &["GROUP_FEATURES request"]));
    if !v10 {
        all.push((request(StatsRequest::TableFeatures { sets: false }), &["OFPST_TABLE_FEATURES request"]));
        all.push((request(StatsRequest::Meter(5)), &["OFPST_METER request", "meter=5"]));
        all.push((request(StatsRequest::MeterConfig(5)), &["OFPST_METER_CONFIG request", "meter=5"]));
        all.push((request(StatsRequest::MeterFeatures), &["OFPST_METER_FEATURES request"]));
    }
    let monitor = MonitorRequest {
        id: 9,
        command: MonitorCommand::Add,
        flags: MonitorFlags {
            initial: true,
            add: true,
            delete: true,
            modify: true,
            actions: true,
            ..MonitorFlags::default()
        },
        out_port: PortNo::NONE,
        out_group: None,
        table: 20,
        matching: arp.clone(),
    };
    all.push((
        request(StatsRequest::FlowMonitor(vec![monitor])),
        &["FLOW_MONITOR request", "id=9", "initial,add,delete,modify,actions", "table=20"],
    ));

    let reply = |body| Message::StatsReply(StatsReply { more: false, body });
    let desc =
        Desc { manufacturer: "Footbridge".to_owned(), datapath: "br-int".to_owned(), ..Desc::default() };
    all.push((
        reply(ReplyBody::Desc(Box::new(desc))),
        &["OFPST_DESC reply", "Manufacturer: Footbridge", "DP Description: br-int"],
    ));
    let mut flow = Flow::new(20, 200, 5, arp.clone(), vec![Action::output(PortNo::IN_PORT)]);
    flow.importance = if later { 3 } else { 0 };
    flow.flags.send_flow_rem = !v10;
    let stats = FlowStats {
        duration: Duration::from_millis(7500),
        n_packets: 3,
        n_bytes: 126,
        idle_age: (v10 || version == Version::V15).then_some(2),
        hard_age: v10.then_some(4),
    };
    all.push((
        reply(ReplyBody::Flow(form, vec![FlowEntry { flow, stats }])),
        &[
            "FLOW reply",
            "cookie=0x5, duration=7.500s, table=20, n_packets=3, n_bytes=126",
            "priority=200,arp,in_port=2,arp_tpa=10.0.0.1 actions=IN_PORT",
        ],
    ));
    let aggregate = AggregateStats { packets: 3, bytes: 126, flows: 2 };
    all.push((
        reply(ReplyBody::Aggregate(form, aggregate)),
        &["AGGREGATE reply", "packet_count=3 byte_count=126 flow_count=2"],
    ));
    let table = TableStats {
        id: 0,
        name: if v10 { "Classifier".to_owned() } else { String::new() },
        max_entries: if v10 { 1_000_000 } else { 0 },
        active: 2,
        lookups: 10,
        matches: 9,
    };
    all.push((
        reply(ReplyBody::Table(vec![table])),
        &["OFPST_TABLE reply", "table 0", "active=2, lookup=10, matched=9"],
    ));
    if !v10 {
        let table = TableFeatures { id: 20, name: "ARPResponder".to_owned(), max_entries: 1_000_000 };
        all.push((
            reply(ReplyBody::TableFeatures(vec![table])),
            &["OFPST_TABLE_FEATURES reply", "table 20 (\"ARPResponder\")"],
        ));
    }
    if version >= Version::V14 {
        let tables = vec![TableDesc { id: 20, config: 0 }];
        all.push((
            reply(ReplyBody::TableDesc(tables)),
            &["OFPST_TABLE_DESC reply", "table 20", "eviction=off", "vacancy=off"],
        ));
    }
    let port_stats = PortStats {
        port: PortNo(3),
        rx_packets: 1,
        tx_packets: 2,
        rx_bytes: 3,
        tx_bytes: 4,
        rx_dropped: 5,
        tx_dropped: 6,
        rx_errors: 7,
        tx_errors: 8,
        rx_frame_err: 9,
        rx_over_err: 10,
        rx_crc_err: 11,
        collisions: u64::MAX,
        duration: (!v10).then_some((12, 500_000_000)),
    };
    all.push((
        reply(ReplyBody::Port(vec![port_stats])),
        &[
            "OFPST_PORT reply",
            "1 ports",
            "rx pkts=1, bytes=3, drop=5, errs=7, frame=9, over=10, crc=11",
            "tx pkts=2, bytes=4, drop=6, errs=8, coll=?",
        ],
    ));
    all.push((
        reply(ReplyBody::PortDesc(vec![port()])),
        &[
            "OFPST_PORT_DESC reply",
            "3(coredns--3e3abf): addr:4e:99:08:c1:53:be",
            "config:     NO_PACKET_IN",
            "state:      LINK_DOWN",
            "current:    10GB-FD",
        ],
    ));
    let update = FlowUpdate::Full {
        event: UpdateEvent::Added,
        table: 20,
        priority: 200,
        idle_timeout: 60,
        hard_timeout: 100,
        cookie: 5,
        matching: arp,
        actions: vec![Action::output(PortNo(4))],
    };
    all.push((
        reply(ReplyBody::FlowMonitor(vec![update, FlowUpdate::Abbreviated { xid: 77 }])),
        &[
            "FLOW_MONITOR reply",
            "event=ADDED table=20 idle_timeout=60 hard_timeout=100 cookie=0x5 arp,in_port=2,arp_tpa=10.0.0.1 actions=output:4",
            "event=ABBREV xid=0x4d",
        ],
    ));
    for kind in [ReplyKind::Queue, ReplyKind::Group, ReplyKind::GroupDesc, ReplyKind::GroupFeatures] {
        all.push((reply(ReplyBody::empty(kind)), &["reply"]));
    }
    if !v10 {
        for kind in [ReplyKind::Meter, ReplyKind::MeterConfig, ReplyKind::MeterFeatures] {
            all.push((reply(ReplyBody::empty(kind)), &["reply"]));
        }
    }

    let role = RoleMessage { form, role: Role::Primary, generation_id: (!v10).then_some(3) };
    all.push((Message::RoleRequest(role), &["ROLE_REQUEST", "role=primary"]));
    all.push((Message::RoleReply(role), &["ROLE_REPLY", "role=primary"]));
    let mask = |bits| AsyncMask { primary: Some(bits), secondary: Some(0) };
    let config = AsyncConfig {
        packet_in: mask(3),
        port_status: mask(7),
        flow_removed: mask(7),
        ..AsyncConfig::default()
    };
    all.push((Message::SetAsync(config), &["SET_ASYNC", "PACKET_IN: no_match action"]));
    if !v10 {
        all.push((Message::GetAsyncRequest, &["OFPT_GET_ASYNC_REQUEST"]));
        all.push((
            Message::GetAsyncReply(config),
            &["OFPT_GET_ASYNC_REPLY", "PACKET_IN: no_match action", "PORT_STATUS: add delete modify"],
        ));
        let control = BundleControl { id: 5, command: BundleCommand::CommitRequest, flags: 3 };
        all.push((
            Message::BundleControl(control),
            &["BUNDLE_CONTROL", "bundle_id=0x5 type=COMMIT_REQUEST flags=atomic ordered"],
        ));
        let message = FlowMod::add(1, 2, Match::any()).encode(Context::client(version), XID).unwrap();
        all.push((
            Message::BundleAdd(BundleAdd { id: 5, flags: 3, message }),
            &["BUNDLE_ADD_MESSAGE", "bundle_id=0x5 flags=atomic ordered", "ADD table:1 priority=2"],
        ));
    }
    if !later {
        all.push((Message::QueueGetConfigRequest(PortNo(3)), &["OFPT_QUEUE_GET_CONFIG_REQUEST", "port=3"]));
        all.push((Message::QueueGetConfigReply(PortNo(3)), &["OFPT_QUEUE_GET_CONFIG_REPLY"]));
        all.push((Message::FlowMonitorCancel(5), &["FLOW_MONITOR_CANCEL"]));
        all.push((Message::FlowMonitorPaused, &["FLOW_MONITOR_PAUSED"]));
        all.push((Message::FlowMonitorResumed, &["FLOW_MONITOR_RESUMED"]));
    }
    if v10 {
        all.push((
            Message::Setting(Setting::FlowFormat(FlowFormat::Nxm)),
            &["NXT_SET_FLOW_FORMAT", "format=nxm"],
        ));
    }
    all.push((Message::Setting(Setting::FlowModTableId(true)), &["NXT_FLOW_MOD_TABLE_ID", "enable"]));
    all.push((
        Message::Setting(Setting::PacketInFormat(PacketInFormat::Nxt2)),
        &["NXT_SET_PACKET_IN_FORMAT", "format=nxt_packet_in2"],
    ));
    all.push((Message::Setting(Setting::ControllerId(5)), &["NXT_SET_CONTROLLER_ID", "id=5"]));
    all.push((Message::Setting(Setting::FlowAge), &["NXT_FLOW_AGE"]));
    let mappings = vec![TlvMapping { option_class: 0x104, option_type: 0x80, option_len: 4, index: 0 }];
    let table_mod = TlvTableMod { command: TlvCommand::Add, mappings: mappings.clone() };
    all.push((
        Message::TlvTableMod(table_mod),
        &["NXT_TLV_TABLE_MOD", "ADD", "0x104", "0x80", "tun_metadata0"],
    ));
    all.push((Message::TlvTableRequest, &["NXT_TLV_TABLE_REQUEST"]));
    all.push((Message::CtFlush(CtFlush { zone: Some(7) }), &["NXT_CT_FLUSH_ZONE", "zone_id=7"]));
    all.push((Message::CtFlush(CtFlush { zone: None }), &["NXT_CT_FLUSH"]));
    let reply = TlvTableReply { max_option_space: 256, max_fields: 64, mappings };
    all.push((Message::TlvTableReply(reply), &["NXT_TLV_TABLE_REPLY", "max option space=256 max fields=64"]));
    all
}

fn show(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn every_message_is_read_as_it_was_written() {
    for version in Version::ALL {
        let context = Context::client(version);
        for (message, _) in messages(version) {
            let bytes =
                message.encode(context, XID).unwrap_or_else(|why| panic!("{version} {message:?}: {why}"));
            let (header, read) =
                Message::decode(&bytes, context).unwrap_or_else(|why| panic!("{version} {message:?}: {why}"));
            assert_eq!(header.xid, XID);
            assert_eq!(read, message, "{version} {}", show(&bytes));
        }
    }
}

/// os-ken, for one, sends OFPCML_MAX with every output, and compares flow stats with what it sent.
#[test]
fn an_output_to_a_port_keeps_the_max_len_that_its_client_sent() {
    const OFPCML_MAX: u16 = 0xffe5;
    for version in Version::ALL {
        let mut flow_mod = FlowMod::add(0, 0x8000, Match::any());
        flow_mod.form = if version == Version::V10 { Form::Nicira } else { Form::Standard };
        flow_mod.actions = vec![Action::Output { port: PortNo(2), max_len: OFPCML_MAX }];
        let context = Context::client(version);
        let bytes = Message::FlowMod(flow_mod.clone()).encode(context, XID).unwrap();
        let (_, Message::FlowMod(read)) = Message::decode(&bytes, context).unwrap() else {
            panic!("{version}: no flow mod: {}", show(&bytes));
        };
        assert_eq!(read.actions, flow_mod.actions, "{version} {}", show(&bytes));
    }
}

#[test]
fn open_vswitch_prints_our_messages() {
    if Program::new("ovs-ofctl").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("skipped: open_vswitch_prints_our_messages: ovs-ofctl is not installed");
        return;
    }
    let mut wrong = Vec::new();
    for version in Version::ALL {
        for (message, fragments) in messages(version) {
            let bytes = message.encode(Context::client(version), XID).unwrap();
            let output = Program::new("ovs-ofctl").args(["ofp-print", &show(&bytes), "2"]).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            let bad = text.contains("***") || text.contains("decode error");
            if bad || !fragments.iter().all(|part| text.contains(part)) {
                wrong.push(format!("{version} {fragments:?}\n{text}{}", show(&bytes)));
            }
        }
    }
    assert!(wrong.is_empty(), "{} messages:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_error_is_the_one_that_open_vswitch_names() {
    if Program::new("ovs-ofctl").arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("skipped: every_error_is_the_one_that_open_vswitch_names: ovs-ofctl is not installed");
        return;
    }
    let codes = [
        ErrorCode::BrcBadType,
        ErrorCode::BrcBadLen,
        ErrorCode::BrcBadTableId,
        ErrorCode::NxbrcMustBeZero,
        ErrorCode::BacBadType,
        ErrorCode::BacBadSetType,
        ErrorCode::NxbacBadConjunction,
        ErrorCode::BicUnknownInst,
        ErrorCode::BicDupInst,
        ErrorCode::BmcBadPrereq,
        ErrorCode::BmcDupField,
        ErrorCode::FmfcOverlap,
        ErrorCode::FmfcBadTableId,
        ErrorCode::NxfmfcInvalidTlvField,
        ErrorCode::GmfcInvalidGroup,
        ErrorCode::MmfcInvalidMeter,
        ErrorCode::BfcMsgFailed,
        ErrorCode::MofcBadFlags,
        ErrorCode::NxttmfcBadOptLen,
    ];
    let offending = Message::BarrierRequest;
    for version in Version::ALL {
        for code in codes {
            let about = offending.encode(Context::client(version), XID).unwrap();
            let error = ErrorMessage::about(code, &about);
            let bytes = error.encode(version, XID).unwrap();
            let output = Program::new("ovs-ofctl").args(["ofp-print", &show(&bytes)]).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            let (_, read) = Message::decode(&bytes, Context::client(version)).unwrap();
            if text.contains("NXBRC_UNENCODABLE_ERROR") {
                assert_ne!(read, Message::Error(error), "{version} {code}");
            } else {
                assert!(text.contains(code.name()), "{version} {code}: {text}");
                assert_eq!(read, Message::Error(error));
            }
        }
    }
}

#[test]
fn long_replies_are_split_between_entries() {
    for version in Version::ALL {
        let context = Context::client(version);
        let form = if version == Version::V10 { Form::Nicira } else { Form::Standard };
        let mut random = Random::new(7);
        let dialect = if version == Version::V10 { Dialect::OpenFlow10 } else { Dialect::OpenFlow15 };
        let entries: Vec<FlowEntry> = (0..2000)
            .map(|_| FlowEntry { flow: random.flow(dialect), stats: FlowStats::default() })
            .collect();
        let messages = ReplyBody::Flow(form, entries.clone()).encode(context, XID).unwrap();
        assert!(messages.len() > 3);
        let mut count = 0;
        for (i, bytes) in messages.iter().enumerate() {
            let (_, message) = Message::decode(bytes, context).unwrap();
            let Message::StatsReply(StatsReply { more, body: ReplyBody::Flow(_, part) }) = message else {
                panic!("not flows");
            };
            assert_eq!(more, i + 1 < messages.len());
            count += part.len();
        }
        assert_eq!(count, entries.len());
    }
}

#[test]
fn an_entry_that_fits_no_message_is_left_out() {
    let context = Context::client(Version::V13);
    let mut writer = ReplyWriter::new(context, XID, ReplyKind::Desc).unwrap();
    let big = writer.push(|out, _| {
        out.resize(out.len() + 70_000, 0);
        Ok(())
    });
    assert!(big.is_err());
    assert_eq!(writer.finish().unwrap().len(), 16);
}

#[test]
fn tunnel_metadata_needs_a_mapping() {
    let unmapped = TlvTable::default();
    let mapped =
        TlvTable(vec![TlvMapping { option_class: 0x104, option_type: 0x80, option_len: 4, index: 0 }]);
    let flow_mod = FlowMod::add(0, 1, Match::any().with(Field::TunMetadata0, 5_u8));
    for version in [Version::V13, Version::V14, Version::V15] {
        let context = |tlv| Context { version, tlv: Some(tlv), table_in_command: false };
        let bytes = flow_mod.encode(Context::client(version), XID).unwrap();
        let refusal = Message::decode(&bytes, context(&unmapped)).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::NxfmfcInvalidTlvField);
        let (_, read) = Message::decode(&bytes, context(&mapped)).unwrap();
        assert_eq!(read, Message::FlowMod(flow_mod.clone()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(
        version in prop::sample::select(Version::ALL.to_vec()),
        kind in 0_u8..36,
        body in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let mut bytes = vec![version.wire(), kind, 0, 0, 0, 0, 0, 1];
        bytes.extend(&body);
        let length = (bytes.len() as u16).to_be_bytes();
        bytes[2..4].copy_from_slice(&length);
        let _ = Message::decode(&bytes, Context::client(version));
    }

    #[test]
    fn flow_mods_with_bytes_changed_never_panic(
        version in prop::sample::select(Version::ALL.to_vec()),
        seed in any::<u64>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let context = Context::client(version);
        let mut random = Random::new(seed);
        if let Ok(mut bytes) = written_as(version, &random.flow(Dialect::Any)).encode(context, XID) {
            for (index, value) in changes {
                let at = 8 + index.index(bytes.len() - 8);
                bytes[at] = value;
            }
            let _ = Message::decode(&bytes, context);
        }
    }

    #[test]
    fn flow_mods_that_a_version_can_say_are_read_as_they_were_written(
        (version, dialect) in prop::sample::select(vec![
            (Version::V10, Dialect::OpenFlow10),
            (Version::V15, Dialect::OpenFlow15),
        ]),
        seed in any::<u64>(),
    ) {
        let context = Context::client(version);
        let flow = Random::new(seed).flow(dialect);
        let mut flow_mod = written_as(version, &flow);
        // In 1.0 an add always sets the counters to zero.
        flow_mod.flags.reset_counts |= version == Version::V10;
        flow_mod.importance = if version == Version::V10 { 0 } else { flow.importance };
        let bytes = flow_mod.encode(context, XID).unwrap();
        let (_, read) = Message::decode(&bytes, context).unwrap();
        prop_assert_eq!(read, Message::FlowMod(flow_mod));
    }

    #[test]
    fn what_a_version_turns_into_something_else_stays_that(
        version in prop::sample::select(Version::ALL.to_vec()),
        seed in any::<u64>(),
    ) {
        let context = Context::client(version);
        let flow = Random::new(seed).flow(Dialect::Any);
        // Some fields have no number at all, and some loads are what no version reads.
        if let Ok(first) = written_as(version, &flow).encode(context, XID)
            && let Ok((_, Message::FlowMod(read))) = Message::decode(&first, context)
        {
            let second = read.encode(context, XID).unwrap();
            let (_, again) = Message::decode(&second, context).unwrap();
            prop_assert_eq!(Message::FlowMod(read), again);
        }
    }
}

/// The flow mod that adds a flow.
fn written_as(version: Version, flow: &Flow) -> FlowMod {
    let mut flow_mod = FlowMod::add(flow.table, flow.priority, flow.matching.clone());
    flow_mod.form = if version == Version::V10 { Form::Nicira } else { Form::Standard };
    flow_mod.cookie = Some(flow.cookie).filter(|cookie| *cookie != u64::MAX || version != Version::V10);
    flow_mod.actions.clone_from(&flow.actions);
    flow_mod.idle_timeout = flow.idle_timeout;
    flow_mod.hard_timeout = flow.hard_timeout;
    flow_mod.importance = flow.importance;
    flow_mod.flags = flow.flags;
    flow_mod
}
