//! Our messages against a real Open vSwitch: it takes our flow mods, and writes its flows in each
//! version as we write the same flows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "common/ovs.rs"]
mod ovs;

use common::{Dialect, Random, is_readable_everywhere};
use footbridge_openflow::text::parse_flow;
use footbridge_openflow::wire::stats::{
    FlowEntry, FlowStatsRequest, ReplyBody, ReplyKind, ReplyWriter, StatsReply, StatsRequest,
};
use footbridge_openflow::wire::{
    BundleAdd, BundleCommand, BundleControl, Command, Context, ErrorKind, ErrorMessage, FlowFormat, FlowMod,
    Form, Framer, Hello, Message, Setting, Version, Versions,
};
use footbridge_openflow::{Flow, Match, PortNames, PortNo};
use ovs::OpenVswitch;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// An OpenFlow client of a few lines.
struct Client {
    stream: UnixStream,
    framer: Framer,
    context: Context<'static>,
    xid: u32,
}

impl Client {
    fn connect(ovs: &OpenVswitch, version: Version) -> Client {
        let stream = UnixStream::connect(ovs.path("br0.mgmt")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let context = Context::client(version);
        let mut client = Client { stream, framer: Framer::default(), context, xid: 0 };
        client.send(&Message::Hello(Hello::offering(Versions::of(&[version]))));
        let Message::Hello(theirs) = client.receive().1 else { panic!("no hello") };
        assert_eq!(Versions::of(&[version]).negotiate(theirs.versions()), Some(version));
        if version == Version::V10 {
            client.send(&Message::Setting(Setting::FlowModTableId(true)));
            client.send(&Message::Setting(Setting::FlowFormat(FlowFormat::Nxm)));
        }
        client
    }

    fn send(&mut self, message: &Message) -> u32 {
        self.xid += 1;
        let bytes = message.encode(self.context, self.xid).unwrap();
        self.stream.write_all(&bytes).unwrap();
        self.xid
    }

    fn receive(&mut self) -> (Vec<u8>, Message) {
        loop {
            if let Some(message) = self.framer.next_message().unwrap() {
                let bytes = message.to_vec();
                let decoded = Message::decode(&bytes, self.context);
                let (_, message) = decoded.unwrap_or_else(|why| panic!("{why}: {bytes:02x?}"));
                return (bytes, message);
            }
            let mut buffer = [0; 65536];
            let count = self.stream.read(&mut buffer).unwrap();
            assert!(count > 0, "the switch hung up");
            self.framer.push(&buffer[..count]);
        }
    }

    /// Everything that comes before the answer to a barrier.
    fn until_barrier(&mut self) -> Vec<Message> {
        self.send(&Message::BarrierRequest);
        let mut messages = Vec::new();
        loop {
            match self.receive().1 {
                Message::BarrierReply => return messages,
                message => messages.push(message),
            }
        }
    }

    fn add(&mut self, flow: &Flow) -> FlowMod {
        let mut flow_mod = FlowMod::add(flow.table, flow.priority, flow.matching.clone());
        flow_mod.form = if self.context.version == Version::V10 { Form::Nicira } else { Form::Standard };
        flow_mod.cookie = Some(flow.cookie);
        flow_mod.actions.clone_from(&flow.actions);
        flow_mod.idle_timeout = flow.idle_timeout;
        flow_mod.hard_timeout = flow.hard_timeout;
        flow_mod.importance = flow.importance;
        flow_mod.flags = flow.flags;
        flow_mod
    }

    /// The bridge's flows by cookie: as read, and the entry's bytes.
    fn dump(&mut self) -> BTreeMap<u64, (FlowEntry, Vec<u8>)> {
        let form = if self.context.version == Version::V10 { Form::Nicira } else { Form::Standard };
        self.send(&Message::StatsRequest(StatsRequest::Flow(FlowStatsRequest {
            form,
            table: 255,
            out_port: PortNo::NONE,
            out_group: None,
            cookie: None,
            matching: Match::any(),
        })));
        let mut flows = BTreeMap::new();
        loop {
            let (bytes, message) = self.receive();
            let Message::StatsReply(StatsReply { more, body: ReplyBody::Flow(_, entries) }) = message else {
                panic!("not flows: {message:?}");
            };
            let mut rest = &bytes[if self.context.version == Version::V10 { 24 } else { 16 }..];
            for entry in entries {
                let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
                let (one, behind) = rest.split_at(length);
                rest = behind;
                flows.insert(entry.flow.cookie, (entry, one.to_vec()));
            }
            if !more {
                return flows;
            }
        }
    }
}

/// Open vSwitch remembers how a move came in: one of 1.5's copy_field it gives back as ONF's in 1.3, where ours is
/// Nicira's. Either way it is read as the same.
fn same_when_read(ours: &[u8], flow: &Flow, theirs: &FlowEntry, context: Context<'_>) -> bool {
    let text = flow.display(&PortNames::none()).to_string();
    context.version == Version::V13 && text.contains("move:") && read(ours, context).as_ref() == Some(theirs)
}

/// One entry as it is read in a reply.
fn read(entry: &[u8], context: Context<'_>) -> Option<FlowEntry> {
    let kind = ReplyKind::Flow(Form::Standard);
    let mut writer = ReplyWriter::new(context, 1, kind).ok()?;
    let pushed = writer.push(|out, _| {
        out.extend_from_slice(entry);
        Ok(())
    });
    assert_eq!(pushed, Ok(None));
    match Message::decode(&writer.finish().ok()?, context).ok()?.1 {
        Message::StatsReply(StatsReply { body: ReplyBody::Flow(_, mut entries), .. }) => entries.pop(),
        _ => None,
    }
}

/// Add random flows in one version, dump them in all.
fn compare(test: &str, dialect: Dialect, version: Version, seed: u64, count: u64) {
    let Some(ovs) = OpenVswitch::start(test) else { return };
    let mut random = Random::new(seed);
    let mut client = Client::connect(&ovs, version);
    let names = PortNames::none();
    let mut flows = Vec::new();
    for i in 1..=count {
        let mut flow = random.flow(dialect);
        while !is_readable_everywhere(&flow) {
            flow = random.flow(dialect);
        }
        // One of its own for each, so that none replaces another.
        flow.cookie = i;
        flow.priority = i as u16;
        // They are to stay until the end.
        (flow.idle_timeout, flow.hard_timeout) = (flow.idle_timeout.max(600), flow.hard_timeout.max(600));
        flows.push(flow);
    }
    let mut differences = Vec::new();
    for flow in &flows {
        let flow_mod = Message::FlowMod(client.add(flow));
        client.send(&flow_mod);
        for message in client.until_barrier() {
            differences.push(format!("refused: {}\nbecause: {message:?}", flow.display(&names)));
        }
    }
    for version_read in Version::ALL {
        let mut reader = Client::connect(&ovs, version_read);
        let dumped = reader.dump();
        for flow in &flows {
            let line = flow.display(&names);
            let Some((theirs, bytes)) = dumped.get(&flow.cookie) else {
                differences.push(format!("{version_read} lost: {line}"));
                continue;
            };
            let mut stored = flow.clone();
            // In 1.0 an add always sets the counters to zero, which later versions show.
            stored.flags.reset_counts |= version == Version::V10;
            let form = if version_read == Version::V10 { Form::Nicira } else { Form::Standard };
            let mut ours = Vec::new();
            let entry = FlowEntry { flow: stored, stats: theirs.stats };
            if let Err(error) = entry.encode(&mut ours, form, reader.context) {
                differences.push(format!("{version_read} {error}: {line}"));
            } else if ours != *bytes && !same_when_read(&ours, flow, theirs, reader.context) {
                let show = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
                differences.push(format!(
                    "{version_read}: {line}\n theirs: {}\n  {}\n  ours: {}",
                    theirs.flow.display(&names),
                    show(bytes),
                    show(&ours)
                ));
            }
        }
    }
    assert!(
        differences.is_empty(),
        "seed {seed}: {} differences:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

#[test]
fn flows_told_in_1_0_are_written_as_open_vswitch_writes_them() {
    let test = "flows_told_in_1_0_are_written_as_open_vswitch_writes_them";
    compare(test, Dialect::OpenFlow10, Version::V10, 11, 1500);
}

#[test]
fn flows_told_in_1_5_are_written_as_open_vswitch_writes_them() {
    let test = "flows_told_in_1_5_are_written_as_open_vswitch_writes_them";
    compare(test, Dialect::OpenFlow15, Version::V15, 12, 1500);
}

fn answered(client: &mut Client, expected: BundleCommand) {
    match client.receive().1 {
        Message::BundleControl(BundleControl { id: 7, command, .. }) if command == expected => {}
        other => panic!("not {expected:?}: {other:?}"),
    }
}

#[test]
fn open_vswitch_takes_our_bundles() {
    let Some(ovs) = OpenVswitch::start("open_vswitch_takes_our_bundles") else { return };
    for version in [Version::V13, Version::V14, Version::V15] {
        let mut client = Client::connect(&ovs, version);
        let control = |command| Message::BundleControl(BundleControl { id: 7, command, flags: 3 });
        client.send(&control(BundleCommand::OpenRequest));
        answered(&mut client, BundleCommand::OpenReply);
        for i in 0..10 {
            let flow = Flow::new(version as u8, 100 + i, u64::from(i) + 1, Match::any(), Vec::new());
            let flow_mod = client.add(&flow);
            let message = flow_mod.encode(client.context, client.xid + 1).unwrap();
            client.send(&Message::BundleAdd(BundleAdd { id: 7, flags: 3, message }));
        }
        client.send(&control(BundleCommand::CommitRequest));
        answered(&mut client, BundleCommand::CommitReply);
        let dumped = client.dump();
        assert_eq!(dumped.values().filter(|(entry, _)| entry.flow.table == version as u8).count(), 10);
    }
}

/// Errors that no decoder can find: they are of the switch's state (Open vSwitch keeps table 254 to
/// itself), or of the whole flow.
const FOUND_LATER: [&str; 7] = [
    "OFPBRC_EPERM",
    "OFPBRC_BUFFER_UNKNOWN",
    "OFPBAC_BAD_OUT_GROUP",
    "OFPMMFC_INVALID_METER",
    "OFPBAC_MATCH_INCONSISTENT",
    "OFPBIC_BAD_TABLE_ID",
    "OFPFMFC_OVERLAP",
];

/// Errors about actions that Open vSwitch has and we have not.
const NOT_OURS: [&str; 2] = ["OFPBAC_BAD_TYPE", "OFPBAC_BAD_VENDOR_TYPE"];

/// Send flow mods with a byte or two changed, and compare whether each is taken. The codes are not
/// compared: where a length is wrong, Open vSwitch says that there is no such field, and we say it.
fn compare_refusals(test: &str, version: Version, dialect: Dialect, seed: u64) {
    let Some(ovs) = OpenVswitch::start(test) else { return };
    let mut random = Random::new(seed);
    let mut client = Client::connect(&ovs, version);
    let mut differences = Vec::new();
    let (mut taken, mut refused) = (0, 0);
    for i in 0..4000 {
        if i % 500 == 0 {
            let mut all = FlowMod::add(255, 0, Match::any());
            (all.command, all.cookie) = (Command::Delete, None);
            client.send(&Message::FlowMod(all));
        }
        let flow_mod = client.add(&random.flow(dialect));
        client.xid += 1;
        let mut bytes = flow_mod.encode(client.context, client.xid).unwrap();
        // Behind the header and, in 1.0, Nicira's.
        let first = if version == Version::V10 { 16 } else { 8 };
        for _ in 0..=random.below(2) {
            let at = first + random.below((bytes.len() - first) as u64) as usize;
            let old = bytes[at];
            bytes[at] = random.pick(&[
                0,
                1,
                2,
                3,
                4,
                7,
                8,
                0x10,
                0x80,
                0xff,
                old.wrapping_add(1),
                old.wrapping_sub(1),
            ]);
        }
        client.stream.write_all(&bytes).unwrap();
        let theirs = client.until_barrier().into_iter().find_map(|message| match message {
            Message::Error(ErrorMessage { kind: ErrorKind::Known(code), .. }) => Some(code.name()),
            _ => None,
        });
        let ours = Message::decode(&bytes, client.context).err().map(|refusal| refusal.code.name());
        match (theirs, ours) {
            (None, None) => taken += 1,
            (Some(_), Some(_)) => refused += 1,
            (Some(code), None) if FOUND_LATER.contains(&code) => {}
            (None, Some(code)) if NOT_OURS.contains(&code) => {}
            _ => {
                let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
                differences.push(format!("theirs: {theirs:?}, ours: {ours:?}\n  {hex}"));
            }
        }
    }
    assert!(taken > 500 && refused > 500, "{taken} taken, {refused} refused: the changes are one-sided");
    assert!(
        differences.is_empty(),
        "seed {seed}: {} differences:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

#[test]
fn refuses_changed_flow_mods_of_1_0_when_open_vswitch_does() {
    let test = "refuses_changed_flow_mods_of_1_0_when_open_vswitch_does";
    compare_refusals(test, Version::V10, Dialect::OpenFlow10, 5);
}

#[test]
fn refuses_changed_flow_mods_of_1_3_when_open_vswitch_does() {
    let test = "refuses_changed_flow_mods_of_1_3_when_open_vswitch_does";
    compare_refusals(test, Version::V13, Dialect::OpenFlow15, 6);
}

#[test]
fn refuses_changed_flow_mods_of_1_5_when_open_vswitch_does() {
    let test = "refuses_changed_flow_mods_of_1_5_when_open_vswitch_does";
    compare_refusals(test, Version::V15, Dialect::OpenFlow15, 7);
}

/// Flows that were once written otherwise: a load of a field that does not fill its bytes, which 1.5 tells from a
/// set_field by its mask; ports of later fragments, which have the protocol's field nevertheless.
#[test]
fn flows_that_were_written_otherwise_once_are_written_as_open_vswitch_writes_them() {
    let test = "flows_that_were_written_otherwise_once_are_written_as_open_vswitch_writes_them";
    let Some(ovs) = OpenVswitch::start(test) else { return };
    let names = PortNames::none();
    let lines = [
        "cookie=0x1,priority=1,ip,actions=load:0x2->NXM_NX_IP_ECN[]",
        "cookie=0x2,priority=2,ip,actions=load:0x5->OXM_OF_IP_DSCP[]",
        "cookie=0x3,priority=3,ipv6,actions=load:0x12345->NXM_NX_IPV6_LABEL[]",
        "cookie=0x4,priority=4,udp6,nw_frag=later,actions=mod_tp_dst:3722",
        "cookie=0x5,priority=5,sctp,nw_frag=later,actions=mod_tp_src:9",
    ];
    let flows: Vec<Flow> = lines.iter().map(|line| parse_flow(line, &names).unwrap()).collect();
    let mut client = Client::connect(&ovs, Version::V10);
    for flow in &flows {
        let flow_mod = Message::FlowMod(client.add(flow));
        client.send(&flow_mod);
        assert_eq!(client.until_barrier(), [], "{}", flow.display(&names));
    }
    for version in Version::ALL {
        let mut reader = Client::connect(&ovs, version);
        let form = if version == Version::V10 { Form::Nicira } else { Form::Standard };
        for (theirs, bytes) in reader.dump().into_values() {
            let mut ours = Vec::new();
            let mut flow = flows[theirs.flow.cookie as usize - 1].clone();
            flow.flags.reset_counts = true;
            FlowEntry { flow, stats: theirs.stats }.encode(&mut ours, form, reader.context).unwrap();
            assert_eq!(ours, bytes, "{version}: {}", theirs.flow.display(&names));
        }
    }
}
