//! The OpenFlow server, with well-behaved clients and others. Needs no privileges: packets come from
//! clients themselves, by packet-out.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod openflow_client;

use footbridge_datapath::userspace::Userspace;
use footbridge_openflow::text::parse_flow;
use footbridge_openflow::wire::bundle::flag;
use footbridge_openflow::wire::stats::{
    FlowStatsRequest, FlowUpdate, MonitorCommand, MonitorFlags, MonitorRequest, ReplyBody, StatsRequest,
    UpdateEvent,
};
use footbridge_openflow::wire::{
    ALL_TABLES, AsyncConfig, AsyncMask, BundleAdd, BundleCommand, BundleControl, ErrorCode, FlowMod, Form,
    Message, PacketOut, RemovedReason, Role, RoleMessage, Setting, SwitchConfig, Version,
};
use footbridge_openflow::{Field, Match, PortNames, PortNo};
use footbridge_switch::openflow::{Endpoint, OpenFlow, OpenFlowConfig, limit};
use footbridge_switch::{Bridge, FlowFilter};
use openflow_client::{Client, PATIENCE, refused};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A bridge without ports, served.
struct Bed {
    bridge: Arc<Bridge>,
    openflow: Option<OpenFlow>,
    dir: TempDir,
}

impl Bed {
    fn new() -> Bed {
        Bed::with(OpenFlowConfig::default())
    }

    fn with(config: OpenFlowConfig) -> Bed {
        let bridge = Arc::new(Bridge::new("br0", Box::new(Userspace::start().unwrap())).unwrap());
        let dir = TempDir::new().unwrap();
        let config = OpenFlowConfig {
            datapath_id: 7,
            socket: Some(dir.path().join("br0.mgmt")),
            snoop: Some(dir.path().join("br0.snoop")),
            ..config
        };
        let openflow = Some(OpenFlow::start(Arc::clone(&bridge), config).unwrap());
        Bed { bridge, openflow, dir }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("br0.mgmt")
    }

    fn client(&self, version: Version) -> Client {
        Client::connect(&self.socket(), version)
    }

    fn flows(&self) -> Vec<String> {
        let flows = self.bridge.flows(&FlowFilter::default());
        flows
            .iter()
            .map(|flow| flow.flow().display(&PortNames::none()).to_string().trim().to_owned())
            .collect()
    }
}

fn flow_mod(text: &str) -> FlowMod {
    let flow = parse_flow(text, &PortNames::none()).unwrap();
    FlowMod {
        cookie: Some(flow.cookie),
        actions: flow.actions,
        flags: flow.flags,
        idle_timeout: flow.idle_timeout,
        hard_timeout: flow.hard_timeout,
        ..FlowMod::add(flow.table, flow.priority, flow.matching)
    }
}

fn add(text: &str) -> Message {
    Message::FlowMod(flow_mod(text))
}

fn all_flows() -> Message {
    Message::StatsRequest(StatsRequest::Flow(FlowStatsRequest {
        form: Form::Standard,
        table: ALL_TABLES,
        out_port: PortNo::NONE,
        out_group: None,
        cookie: None,
        matching: Match::any(),
    }))
}

fn packet_out(actions: &str) -> Message {
    Message::PacketOut(PacketOut {
        buffer_id: None,
        metadata: Match::any().with(Field::InPortOxm, PortNo::CONTROLLER.0),
        actions: parse_flow(&format!("actions={actions}"), &PortNames::none()).unwrap().actions,
        data: [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1], &[0x08, 0x06], &[0; 46]].concat(),
    })
}

#[test]
fn the_socket_is_its_owners_and_goes_with_the_server() {
    let mut bed = Bed::new();
    let mode = std::fs::metadata(bed.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut client = bed.client(Version::V13);
    drop(bed.openflow.take());
    assert!(!bed.socket().exists() && !bed.dir.path().join("br0.snoop").exists());
    assert!(client.is_closed());
}

#[test]
fn a_second_server_at_a_living_ones_socket_is_refused() {
    let bed = Bed::new();
    let config = OpenFlowConfig { socket: Some(bed.socket()), ..OpenFlowConfig::default() };
    let error = OpenFlow::start(Arc::clone(&bed.bridge), config).err().unwrap();
    assert!(error.to_string().starts_with("another bridge is running at"), "{error}");
}

#[test]
fn speaks_the_highest_version_that_both_do() {
    let bed = Bed::new();
    // A hello without a bitmap offers all versions up to its own: 1.2 is none of ours.
    for (hello, spoken) in [(1u8, 1u8), (3, 1), (4, 4), (5, 5), (6, 6), (9, 6)] {
        let mut stream = UnixStream::connect(bed.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&[hello, 0, 0, 8, 0, 0, 0, 1]).unwrap();
        // An echo request in the version expected.
        stream.write_all(&[spoken, 2, 0, 8, 0, 0, 0, 9]).unwrap();
        let mut bytes = [0; 16 + 8];
        stream.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes[16..], [spoken, 3, 0, 8, 0, 0, 0, 9], "hello of version {hello}");
    }
}

#[test]
fn a_client_of_no_common_version_is_told_and_hung_up_on() {
    let bed = Bed::new();
    for first in [&[0u8, 0, 0, 8, 0, 0, 0, 1][..], &[4, 2, 0, 8, 0, 0, 0, 1]] {
        let mut stream = UnixStream::connect(bed.socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(first).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        // OFPT_ERROR, OFPET_HELLO_FAILED, OFPHFC_INCOMPATIBLE
        assert_eq!((bytes[16 + 1], &bytes[16 + 8..16 + 12]), (1, &[0, 0, 0, 0][..]));
    }
}

#[test]
fn what_cannot_be_decoded_is_answered_with_its_error_and_the_connection_goes_on() {
    let bed = Bed::new();
    let mut client = bed.client(Version::V13);
    let bad: [(&[u8], ErrorCode); 6] = [
        (&[4, 99, 0, 8, 0, 0, 0, 5], ErrorCode::BrcBadType),
        (&[1, 2, 0, 8, 0, 0, 0, 5], ErrorCode::BrcBadVersion),
        (&[4, 14, 0, 12, 0, 0, 0, 5, 1, 2, 3, 4], ErrorCode::BrcBadLen),
        (&[4, 18, 0, 16, 0, 0, 0, 5, 0, 99, 0, 0, 0, 0, 0, 0], ErrorCode::BrcBadStat),
        (&[4, 4, 0, 16, 0, 0, 0, 5, 0, 1, 2, 3, 0, 0, 0, 0], ErrorCode::BrcBadVendor),
        (&[4, 20, 0, 9, 0, 0, 0, 5, 0], ErrorCode::BrcBadLen),
    ];
    for (message, code) in bad {
        client.write(message);
        let (xid, answer) = client.read();
        assert_eq!((xid, refused(&answer)), (5, Some(code)), "{message:?}");
    }
    assert!(client.barrier().is_empty());
}

#[test]
fn a_length_less_than_the_header_ends_that_connection_and_no_other() {
    let bed = Bed::new();
    let (mut other, mut client) = (bed.client(Version::V10), bed.client(Version::V10));
    client.write(&[1, 2, 0, 7, 0, 0, 0, 1]);
    assert!(client.is_closed());
    assert!(other.barrier().is_empty());
}

#[test]
fn half_a_message_keeps_nobody_waiting() {
    let bed = Bed::new();
    let (mut other, mut client) = (bed.client(Version::V14), bed.client(Version::V14));
    let echo = [5, 2, 0, 12, 0, 0, 0, 3, 1, 2, 3, 4];
    client.write(&echo[..7]);
    assert!(other.barrier().is_empty());
    client.write(&echo[7..]);
    assert_eq!(client.read(), (3, Message::EchoReply(vec![1, 2, 3, 4])));
}

#[test]
fn a_thousand_clients_are_served_side_by_side() {
    // 2 000 sockets are more than a process has by default.
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most.min(16_384), most).unwrap();
    let bed = Bed::new();
    let mut clients: Vec<Client> = (0..1000).map(|_| bed.client(Version::V13)).collect();
    let begun = Instant::now();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(&add(&format!("priority={number},actions=drop")), 1);
    }
    clients.iter_mut().for_each(|client| assert!(client.barrier().is_empty()));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(bed.bridge.flow_count(), 1000);
}

#[test]
fn a_client_that_does_not_read_is_not_read_from_and_costs_bounded_memory() {
    let bed = Bed::new();
    let mut client = bed.client(Version::V13);
    (0..5000).for_each(|n| client.send(&add(&format!("priority={n},ip,actions=output:{}", n % 7 + 1)), 1));
    assert!(client.barrier().is_empty());
    let before = resident();
    // Each asks for a megabyte, and reads nothing of it.
    let mut greedy: Vec<Client> = (0..20).map(|_| bed.client(Version::V13)).collect();
    for client in &mut greedy {
        client.flood(&all_flows(), 10_000);
    }
    let begun = Instant::now();
    assert!(client.barrier().is_empty());
    assert!(begun.elapsed() < Duration::from_secs(5), "others wait {:?}", begun.elapsed());
    let grown = resident().saturating_sub(before);
    assert!(grown < 64 << 20, "{} MiB more", grown >> 20);
    // One that reads at last gets all that it is owed, whole.
    let (_, answer) = greedy[0].read();
    assert!(matches!(answer, Message::StatsReply(_)));
}

/// Bytes of this process in memory: server and clients.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

#[test]
fn a_dump_of_many_flows_comes_in_several_messages_each_flow_once() {
    let bed = Bed::new();
    for version in Version::ALL {
        let mut client = bed.client(version);
        client.send(&Message::Setting(Setting::FlowModTableId(true)), 1);
        (0..3000).for_each(|n| client.send(&add(&format!("priority={n},tcp,tp_dst=80,actions=output:1")), 1));
        client.send(&all_flows(), 77);
        let (mut priorities, mut messages) = (Vec::new(), 0);
        loop {
            let (xid, answer) = client.read();
            let Message::StatsReply(reply) = answer else { panic!("{answer:?}") };
            let ReplyBody::Flow(_, flows) = reply.body else { panic!("{:?}", reply.body) };
            assert_eq!(xid, 77);
            priorities.extend(flows.iter().map(|entry| entry.flow.priority));
            messages += 1;
            if !reply.more {
                break;
            }
        }
        assert!(messages > 1);
        assert_eq!(priorities, (0..3000).collect::<Vec<u16>>(), "{version}");
    }
}

fn bundle(command: BundleCommand) -> Message {
    Message::BundleControl(BundleControl { id: 1, command, flags: flag::ATOMIC | flag::ORDERED })
}

/// Put a flow mod in bundle 1.
fn bundled(client: &mut Client, text: &str, xid: u32) {
    let message = add(text).encode(client.context(), xid).unwrap();
    let flags = flag::ATOMIC | flag::ORDERED;
    client.send(&Message::BundleAdd(BundleAdd { id: 1, flags, message }), xid);
}

#[test]
fn a_bundle_is_committed_whole_and_a_failed_one_changes_nothing() {
    for version in [Version::V13, Version::V14, Version::V15] {
        let bed = Bed::new();
        let mut client = bed.client(version);
        client.send(&add("priority=1,actions=drop"), 1);
        client.send(&bundle(BundleCommand::OpenRequest), 2);
        bundled(&mut client, "priority=1,actions=output:9", 3);
        bundled(&mut client, "priority=2,ip,actions=drop", 4);
        bundled(&mut client, "priority=3,ip,actions=group:5", 5);
        client.send(&bundle(BundleCommand::CommitRequest), 6);
        assert_eq!(client.read(), (2, bundle(BundleCommand::OpenReply)));
        let (xid, answer) = client.read();
        assert_eq!((xid, refused(&answer)), (5, Some(ErrorCode::BacBadOutGroup)), "the message to blame");
        let (xid, answer) = client.read();
        assert_eq!((xid, refused(&answer)), (6, Some(ErrorCode::BfcMsgFailed)), "the commit");
        assert_eq!(bed.flows(), ["priority=1 actions=drop"]);
        client.send(&bundle(BundleCommand::OpenRequest), 7);
        bundled(&mut client, "priority=2,ip,actions=drop", 8);
        assert_eq!(client.read(), (7, bundle(BundleCommand::OpenReply)));
        assert!(client.barrier().is_empty());
        assert_eq!(bed.flows().len(), 1, "nothing before the commit");
        client.send(&bundle(BundleCommand::CommitRequest), 9);
        assert_eq!(client.read(), (9, bundle(BundleCommand::CommitReply)));
        assert_eq!(bed.flows().len(), 2, "{version}");
    }
}

#[test]
fn bundles_are_bounded_in_number_and_their_wrong_uses_refused() {
    let bed = Bed::new();
    let mut client = bed.client(Version::V14);
    let control = |id, command| Message::BundleControl(BundleControl { id, command, flags: 0 });
    let mut ask = |message: &Message| {
        client.send(message, 1);
        refused(&client.read().1)
    };
    assert_eq!(ask(&control(9, BundleCommand::CommitRequest)), Some(ErrorCode::BfcBadId));
    assert_eq!(ask(&control(9, BundleCommand::OpenReply)), Some(ErrorCode::BfcBadType));
    assert_eq!(ask(&control(0, BundleCommand::OpenRequest)), None);
    assert_eq!(ask(&control(0, BundleCommand::OpenRequest)), Some(ErrorCode::BfcBadId));
    for id in 0..limit::BUNDLES as u32 {
        assert_eq!(ask(&control(id, BundleCommand::OpenRequest)), None);
    }
    assert_eq!(ask(&control(u32::MAX, BundleCommand::OpenRequest)), Some(ErrorCode::BfcOutOfBundles));
    assert_eq!(ask(&control(0, BundleCommand::CloseRequest)), None);
    assert_eq!(ask(&control(0, BundleCommand::CloseRequest)), Some(ErrorCode::BfcBundleClosed));
}

#[test]
fn packets_go_to_the_controllers_that_want_them() {
    let bed = Bed::new();
    let (mut silent, mut asking) = (bed.client(Version::V13), bed.client(Version::V13));
    let config = SwitchConfig { flags: 0, miss_send_len: 128 };
    asking.send(&Message::SetConfig(config), 1);
    assert!(asking.barrier().is_empty());
    silent.send(&packet_out("controller"), 2);
    let (xid, answer) = asking.read();
    let Message::PacketIn(packet) = answer else { panic!("{answer:?}") };
    // Reason OFPR_ACTION: 1.3 has no word for a packet-out's.
    assert_eq!((xid, packet.reason, packet.cookie, packet.data.len()), (0, 1, u64::MAX, 60));
    assert!(silent.barrier().is_empty());
    // Packets for another controller id are not for it.
    silent.send(&packet_out("controller(id=5)"), 3);
    assert!(silent.barrier().is_empty() && asking.barrier().is_empty());
    asking.send(&Message::Setting(Setting::ControllerId(5)), 4);
    assert!(asking.barrier().is_empty());
    silent.send(&packet_out("controller(id=5,max_len=20)"), 5);
    let Message::PacketIn(packet) = asking.read().1 else { panic!() };
    // Nothing keeps the rest of it, so it is whole, as with Open vSwitch.
    assert_eq!((packet.total_len, packet.data.len()), (60, 60));
    // Nor those of a reason that it doesn't want.
    let off = AsyncMask { primary: Some(0), secondary: Some(0) };
    asking.send(
        &Message::SetAsync(AsyncConfig {
            packet_in: off,
            port_status: off,
            flow_removed: off,
            ..AsyncConfig::default()
        }),
        6,
    );
    assert!(asking.barrier().is_empty());
    silent.send(&packet_out("controller(id=5)"), 7);
    assert!(silent.barrier().is_empty() && asking.barrier().is_empty());
}

#[test]
fn a_miss_goes_to_controllers_of_version_1_0_alone() {
    let bed = Bed::new();
    let (mut old, mut new) = (bed.client(Version::V10), bed.client(Version::V13));
    for client in [&mut old, &mut new] {
        client.send(&Message::SetConfig(SwitchConfig { flags: 0, miss_send_len: 128 }), 1);
        assert!(client.barrier().is_empty());
    }
    new.send(&packet_out("TABLE"), 2);
    let Message::PacketIn(packet) = old.read().1 else { panic!() };
    assert_eq!(packet.reason, 0, "OFPR_NO_MATCH");
    assert!(new.barrier().is_empty());
}

#[test]
fn a_secondary_controller_may_look_and_not_touch() {
    let bed = Bed::new();
    let (mut first, mut second) = (bed.client(Version::V13), bed.client(Version::V13));
    let role = |role, generation| {
        Message::RoleRequest(RoleMessage { form: Form::Standard, role, generation_id: Some(generation) })
    };
    let ask = |client: &mut Client, message: &Message| {
        client.send(message, 1);
        match client.read().1 {
            Message::RoleReply(reply) => Ok(reply.role),
            other => Err(refused(&other)),
        }
    };
    assert_eq!(ask(&mut first, &role(Role::Primary, 5)), Ok(Role::Primary));
    assert_eq!(ask(&mut second, &role(Role::Primary, 4)), Err(Some(ErrorCode::RrfcStale)));
    assert_eq!(ask(&mut second, &role(Role::Primary, 6)), Ok(Role::Primary));
    // The first is secondary now.
    first.send(&add("actions=drop"), 2);
    assert_eq!(first.barrier(), [ErrorCode::BrcIsSecondary]);
    first.send(&packet_out("controller"), 2);
    assert_eq!(first.barrier(), [ErrorCode::BrcIsSecondary]);
    second.send(&add("actions=drop"), 2);
    assert!(second.barrier().is_empty());
    first.send(&all_flows(), 3);
    assert!(matches!(first.read().1, Message::StatsReply(_)));
}

#[test]
fn a_flow_that_asks_for_it_is_told_of_when_it_goes() {
    let bed = Bed::new();
    let mut client = bed.client(Version::V13);
    client.send(&Message::SetConfig(SwitchConfig { flags: 0, miss_send_len: 128 }), 1);
    client.send(&add("cookie=0x5,table=3,priority=1,send_flow_rem,hard_timeout=1,actions=drop"), 1);
    client.send(&add("priority=1,hard_timeout=1,actions=drop"), 1);
    client.send(&add("priority=2,send_flow_rem,actions=drop"), 1);
    assert!(client.barrier().is_empty());
    let delete = FlowMod {
        command: footbridge_openflow::wire::Command::Delete,
        ..flow_mod("priority=2,actions=drop")
    };
    client.send(&Message::FlowMod(FlowMod { cookie: None, table: 0, ..delete }), 2);
    let Message::FlowRemoved(removed) = client.read().1 else { panic!() };
    assert_eq!((removed.reason, removed.priority), (RemovedReason::Delete, 2));
    let Message::FlowRemoved(removed) = client.read().1 else { panic!() };
    assert_eq!((removed.reason, removed.table, removed.cookie), (RemovedReason::HardTimeout, 3, 5));
    assert!(removed.duration.0 >= 1);
    assert!(client.barrier().is_empty());
}

fn monitor(flags: MonitorFlags) -> Message {
    Message::StatsRequest(StatsRequest::FlowMonitor(vec![MonitorRequest {
        id: 1,
        command: MonitorCommand::Add,
        flags,
        out_port: PortNo::NONE,
        out_group: None,
        table: ALL_TABLES,
        matching: Match::any(),
    }]))
}

/// The updates of the next message.
fn updates(client: &mut Client) -> Vec<FlowUpdate> {
    let (_, answer) = client.read();
    match answer {
        Message::StatsReply(reply) => match reply.body {
            ReplyBody::FlowMonitor(updates) => updates,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_monitor_is_told_of_what_there_is_and_what_changes_and_of_its_own_changes_by_their_xid() {
    for version in Version::ALL {
        let bed = Bed::new();
        let (mut watching, mut other) = (bed.client(version), bed.client(Version::V13));
        watching.send(&Message::Setting(Setting::FlowModTableId(true)), 1);
        other.send(&add("table=1,priority=1,actions=drop"), 1);
        assert!(other.barrier().is_empty());
        let flags = MonitorFlags {
            initial: true,
            add: true,
            delete: true,
            modify: true,
            actions: true,
            ..MonitorFlags::default()
        };
        watching.send(&monitor(flags), 2);
        assert_eq!(updates(&mut watching).len(), 1, "the flow that there is");
        other.send(&add("table=1,priority=2,actions=output:3"), 2);
        let told = updates(&mut watching);
        let [FlowUpdate::Full { event: UpdateEvent::Added, priority: 2, actions, .. }] = &told[..] else {
            panic!("{told:?}")
        };
        assert_eq!(actions.len(), 1);
        watching.send(&add("table=1,priority=3,actions=drop"), 99);
        assert_eq!(updates(&mut watching), [FlowUpdate::Abbreviated { xid: 99 }], "{version}");
        watching.send(&monitor(flags), 3);
        assert_eq!(refused(&watching.read().1), Some(ErrorCode::MofcMonitorExists));
    }
}

#[test]
fn a_monitor_that_does_not_read_is_paused_and_then_told_the_rest() {
    let bed = Bed::new();
    let (mut watching, mut other) = (bed.client(Version::V14), bed.client(Version::V13));
    let flags = MonitorFlags { add: true, delete: true, modify: true, ..MonitorFlags::default() };
    watching.send(&monitor(flags), 2);
    assert!(updates(&mut watching).is_empty());
    // More than the queue and the sockets' buffers hold.
    let count = limit::UPDATES * 3;
    (0..count).for_each(|n| {
        other.send(&add(&format!("table={},priority={},actions=drop", n / 20_000, n % 20_000)), 1)
    });
    assert!(other.barrier().is_empty());
    let (mut seen, mut paused, mut resumed) = (0, 0, 0);
    while seen < count || resumed < paused {
        for update in updates(&mut watching) {
            match update {
                FlowUpdate::Full { .. } => seen += 1,
                FlowUpdate::Paused => paused += 1,
                FlowUpdate::Resumed => resumed += 1,
                FlowUpdate::Abbreviated { .. } => panic!("not its own"),
            }
        }
    }
    assert!(paused > 0);
    assert_eq!((seen, resumed), (count, paused));
}

#[test]
fn a_controller_is_dialled_served_and_dialled_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let controllers = vec![Endpoint::Tcp(listener.local_addr().unwrap())];
    let bed = Bed::with(OpenFlowConfig { controllers, ..OpenFlowConfig::default() });
    for _ in 0..2 {
        let (stream, _) = listener.accept().unwrap();
        let mut controller = Client::greet(stream, Version::V13);
        controller.send(&Message::FeaturesRequest, 1);
        let Message::FeaturesReply(features) = controller.read().1 else { panic!() };
        assert_eq!((features.datapath_id, features.n_buffers), (7, 0));
        // A controller is told of packets without asking.
        let mut client = bed.client(Version::V13);
        client.send(&packet_out("controller"), 2);
        assert!(matches!(controller.read().1, Message::PacketIn(_)));
    }
}

#[test]
fn what_a_controller_says_and_is_told_can_be_snooped() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let controllers = vec![Endpoint::Tcp(listener.local_addr().unwrap())];
    let bed = Bed::with(OpenFlowConfig { controllers, ..OpenFlowConfig::default() });
    let mut controller = Client::greet(listener.accept().unwrap().0, Version::V13);
    assert!(controller.barrier().is_empty());
    let mut snooping = Client::connect(&bed.dir.path().join("br0.snoop"), Version::V13);
    // It is heard once its hello is taken, which nothing answers.
    std::thread::sleep(Duration::from_millis(200));
    controller.send(&Message::EchoRequest(vec![1, 2]), 5);
    assert_eq!(snooping.read(), (5, Message::EchoRequest(vec![1, 2])));
    assert_eq!(snooping.read(), (5, Message::EchoReply(vec![1, 2])));
}

#[test]
fn listens_on_tcp_where_it_is_asked_to() {
    let listen = vec!["tcp:127.0.0.1:0".parse().unwrap()];
    let bed = Bed::with(OpenFlowConfig { listen, ..OpenFlowConfig::default() });
    let address = bed.openflow.as_ref().unwrap().addresses()[0];
    let mut client = Client::greet(std::net::TcpStream::connect(address).unwrap(), Version::V15);
    client.send(&add("actions=drop"), 1);
    assert!(client.barrier().is_empty());
    assert_eq!(bed.flows(), ["actions=drop"]);
}
