//! The evaluator against Open vSwitch: generated flows and packets through both, compared byte for
//! byte by what leaves each port.
//!
//! Open vSwitch runs with its dummy datapath and dummy ports in a directory of its own, and writes
//! what its ports send to files. Where it is not installed the test is skipped. The seed is
//! printed; `OVS_SEED` and `OVS_CASES` set the first seed and how many pipelines are tried.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use footbridge_openflow::text::parse_flow;
use footbridge_openflow::{Key, PortNames, PortNo};
use footbridge_pipeline::{Packet, Pipeline, PortKind, State, Time, TunnelKey, Unobserved, packet};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const PORTS: std::ops::RangeInclusive<u32> = 1..=5;
const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";

/// A running Open vSwitch; stopped when dropped.
struct Ovs {
    dir: tempfile::TempDir,
    children: Vec<Child>,
}

impl Drop for Ovs {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Ovs {
    fn start() -> Result<Ovs, String> {
        if !Path::new(SCHEMA).exists() {
            return Err("Open vSwitch is not installed".into());
        }
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let mut ovs = Ovs { dir, children: Vec::new() };
        ovs.run("ovsdb-tool", &["create", &ovs.path("conf.db"), SCHEMA])?;
        let (remote, db) = (format!("--remote=punix:{}", ovs.path("db.sock")), ovs.path("conf.db"));
        ovs.spawn("ovsdb-server", &[&db, &remote, &format!("--unixctl={}", ovs.path("db.ctl"))])?;
        ovs.wait_for("db.sock")?;
        ovs.vsctl(&["--no-wait", "init"])?;
        let db = format!("unix:{}", ovs.path("db.sock"));
        let control = format!("--unixctl={}", ovs.path("vs.ctl"));
        ovs.spawn("ovs-vswitchd", &[&db, "--enable-dummy", "--disable-system", &control])?;
        ovs.wait_for("vs.ctl")?;
        ovs.vsctl(&[
            "add-br",
            "br0",
            "--",
            "set",
            "bridge",
            "br0",
            "datapath-type=dummy",
            "fail-mode=secure",
            "protocols=[OpenFlow10,OpenFlow13]",
        ])?;
        for port in PORTS {
            let (name, pcap) = (format!("p{port}"), ovs.path(&format!("p{port}.pcap")));
            ovs.vsctl(&[
                "add-port",
                "br0",
                &name,
                "--",
                "set",
                "interface",
                &name,
                "type=dummy",
                &format!("ofport_request={port}"),
                &format!("options:tx_pcap={pcap}"),
            ])?;
        }
        ovs.run("ovs-ofctl", &["set-frags", "br0", "nx-match"])?;
        Ok(ovs)
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR"] {
            command.env(variable, self.dir.path());
        }
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        let output = self.command(program).args(arguments).output().map_err(|e| format!("{program}: {e}"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(format!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    fn vsctl(&self, arguments: &[&str]) -> Result<String, String> {
        let db = format!("--db=unix:{}", self.path("db.sock"));
        self.run("ovs-vsctl", &[&[db.as_str()], arguments].concat())
    }

    fn appctl(&self, arguments: &[&str]) -> Result<String, String> {
        let target = self.path("vs.ctl");
        self.run("ovs-appctl", &[&["-t", &target], arguments].concat())
    }

    fn spawn(&mut self, program: &str, arguments: &[&str]) -> Result<(), String> {
        let mut command = self.command(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.children.push(command.spawn().map_err(|e| format!("{program}: {e}"))?);
        Ok(())
    }

    fn wait_for(&self, name: &str) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !PathBuf::from(self.path(name)).exists() {
            if Instant::now() > deadline {
                return Err(format!("{name} did not appear"));
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Add a flow; false where Open vSwitch refuses it.
    fn add_flow(&self, flow: &str) -> bool {
        let version = if needs_instructions(flow) { "13" } else { "10" };
        self.run("ovs-ofctl", &["-O", &format!("OpenFlow{version}"), "add-flow", "br0", flow]).is_ok()
    }

    fn sent(&self) -> Vec<(u32, Vec<u8>)> {
        PORTS
            .flat_map(|port| {
                let bytes = fs::read(self.path(&format!("p{port}.pcap"))).unwrap_or_default();
                frames(&bytes).into_iter().map(move |frame| (port, frame))
            })
            .collect()
    }
}

/// The frames of a pcap file.
fn frames(pcap: &[u8]) -> Vec<Vec<u8>> {
    let (mut rest, mut frames) = (pcap.get(24..).unwrap_or(&[]), Vec::new());
    while let Some(header) = rest.first_chunk::<16>() {
        let len = u32::from_ne_bytes([header[8], header[9], header[10], header[11]]) as usize;
        let Some(frame) = rest.get(16..16 + len) else { break };
        frames.push(frame.to_vec());
        rest = &rest[16 + len..];
    }
    frames
}

/// xorshift64*: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 33) % n
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// Matches, with the layer that they fix.
const MATCHES: &[(&str, &str)] = &[
    ("", ""),
    ("", ""),
    ("in_port=1", ""),
    ("in_port=2", ""),
    ("reg0=1", ""),
    ("reg1=0x2/0x3", ""),
    ("metadata=0x5/0xf", ""),
    ("dl_dst=01:00:00:00:00:00/01:00:00:00:00:00", ""),
    ("vlan_tci=0x1000/0x1000", "vlan"),
    ("dl_vlan=5", "vlan"),
    ("vlan_tci=0", ""),
    ("dl_src=02:00:00:00:00:01", ""),
    ("ip", "ip"),
    ("ip,nw_dst=10.0.0.0/24", "ip"),
    ("ip,nw_src=10.0.0.1", "ip"),
    ("ip,nw_ttl=1", "ip"),
    ("ip,ip_frag=later", "ip"),
    ("ip,ip_frag=first", "ip"),
    ("ip,ip_frag=no", "ip"),
    ("ip,nw_ecn=1", "ip"),
    ("tcp", "tcp"),
    ("tcp,tp_dst=80", "tcp"),
    ("tcp,tcp_flags=+syn-ack", "tcp"),
    ("tcp,tp_src=0x8/0xfff8", "tcp"),
    ("udp", "udp"),
    ("udp,tp_dst=53", "udp"),
    ("sctp,tp_dst=9", "sctp"),
    ("icmp,icmp_type=8", "icmp"),
    ("icmp", "icmp"),
    ("arp", "arp"),
    ("arp,arp_op=1", "arp"),
    ("arp,arp_tpa=10.0.0.2", "arp"),
    ("ipv6", "ipv6"),
    ("tcp6", "tcp6"),
    ("udp6,tp_dst=53", "udp6"),
    ("icmp6,icmp_type=135,icmp_code=0", "nd"),
    ("ipv6,ipv6_dst=fd00::2", "ipv6"),
    ("dl_type=0x88cc", ""),
];

/// Actions for any packet. Not among them: check_pkt_larger, which Open vSwitch's translation
/// carries out with everything behind it twice over when there is an action set; output(max_len=),
/// whose length it takes before tags that are still to be added.
const ANY: &[&str] = &[
    "output:1",
    "output:2",
    "output:3",
    "output:4",
    "output:IN_PORT",
    "NORMAL",
    "FLOOD",
    "ALL",
    "output:9",
    "load:1->NXM_NX_REG0[]",
    "load:0x2->NXM_NX_REG1[0..1]",
    "load:3->NXM_NX_REG2[]",
    "output:NXM_NX_REG2[]",
    "move:NXM_NX_REG2[0..15]->NXM_NX_REG0[16..31]",
    "mod_dl_src:02:00:00:00:00:77",
    "mod_dl_dst:02:00:00:00:00:02",
    "mod_vlan_vid:5",
    "mod_vlan_pcp:3",
    "strip_vlan",
    "push_vlan:0x8100",
    "push:NXM_NX_REG0[]",
    "pop:NXM_NX_REG2[]",
    "push:NXM_OF_ETH_SRC[]",
    "pop:NXM_OF_ETH_DST[]",
    "set_field:0x4/0x6->reg1",
    "load:0->NXM_OF_IN_PORT[]",
    "load:5->OXM_OF_METADATA[]",
    "clone(mod_dl_src:02:00:00:00:00:99,output:4)",
    "clone(load:1->NXM_NX_REG0[],resubmit(,3))",
    "exit",
    "note:01.02",
    "move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[]",
    "load:0xaabb->NXM_OF_ETH_SRC[8..23]",
    "move:NXM_OF_IN_PORT[]->NXM_NX_REG2[0..15]",
];

fn layer_actions(layer: &str) -> &'static [&'static str] {
    match layer {
        "ip" => &[
            "mod_nw_src:10.9.9.9",
            "mod_nw_dst:10.0.0.7",
            "mod_nw_tos:64",
            "mod_nw_ecn:2",
            "mod_nw_ttl:9",
            "dec_ttl",
            "load:0xff->NXM_OF_IP_DST[0..7]",
            "move:NXM_OF_IP_SRC[]->NXM_OF_IP_DST[]",
            "move:NXM_OF_IP_DST[]->NXM_NX_REG0[]",
        ],
        "tcp" | "tcp6" => &[
            "mod_tp_src:1",
            "mod_tp_dst:8080",
            "load:0x51->NXM_OF_TCP_DST[0..7]",
            "dec_ttl",
            "move:NXM_OF_TCP_SRC[]->NXM_OF_TCP_DST[]",
        ],
        "udp" | "udp6" => {
            &["mod_tp_src:53", "mod_tp_dst:9", "dec_ttl", "move:NXM_OF_UDP_SRC[]->NXM_OF_UDP_DST[]"]
        }
        "sctp" => &["set_field:77->sctp_src", "mod_tp_dst:9", "mod_nw_dst:10.0.0.7"],
        "icmp" => &["mod_nw_src:10.9.9.9", "load:0->NXM_OF_ICMP_TYPE[]", "load:3->NXM_OF_ICMP_CODE[]"],
        "arp" => &[
            "load:2->NXM_OF_ARP_OP[]",
            "move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[]",
            "load:0xaabbccddeeff->NXM_NX_ARP_SHA[]",
            "move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[]",
            "load:0xade0001->NXM_OF_ARP_SPA[]",
        ],
        "ipv6" => &[
            "set_field:fd00::9->ipv6_src",
            "set_field:fd00::7->ipv6_dst",
            "mod_nw_tos:32",
            "dec_ttl",
            "load:5->NXM_NX_IPV6_LABEL[]",
            "mod_nw_ttl:4",
        ],
        "nd" => &[
            "set_field:fd00::77->nd_target",
            "set_field:02:00:00:00:00:55->nd_sll",
            "set_field:fd00::7->ipv6_dst",
        ],
        "vlan" => &["set_field:7->vlan_vid", "set_field:2->vlan_pcp", "strip_vlan"],
        _ => &["load:1->NXM_NX_REG0[]"],
    }
}

fn needs_instructions(flow: &str) -> bool {
    ["goto_table", "write_", "clear_actions"].iter().any(|word| flow.contains(word))
}

fn generate_flows(random: &mut Random) -> Vec<String> {
    let mut flows = Vec::new();
    for table in 0..5u64 {
        for i in 0..1 + random.below(6) {
            let (matching, layer) = MATCHES[random.below(MATCHES.len() as u64) as usize];
            let mut actions: Vec<String> = Vec::new();
            for _ in 0..random.below(5) {
                let any = layer.is_empty() || random.below(2) == 0;
                actions.push(random.pick(if any { ANY } else { layer_actions(layer) }).to_string());
                if random.below(6) == 0 {
                    // Upwards mostly: loops end in Open vSwitch's limits, and in a log of megabytes.
                    actions.push(format!("resubmit({},{})", random.pick(&["", "2", "IN_PORT"]), table + 1));
                }
            }
            match random.below(6) {
                0 => actions.push(format!("goto_table:{}", table + 1)),
                1 => actions.push("write_actions(output:4,set_field:02:00:00:00:00:44->eth_dst)".into()),
                2 => actions.extend(["clear_actions".into(), format!("goto_table:{}", table + 1)]),
                3 => actions.push(format!("resubmit(,{})", table + 1)),
                4 => actions.extend(["write_metadata:0x5".into(), format!("goto_table:{}", table + 1)]),
                _ => {}
            }
            // Open vSwitch keeps two tags, and loses one of three.
            let mut pushes = 0;
            actions.retain(|action| {
                pushes += u64::from(action.starts_with("push_vlan"));
                !action.starts_with("push_vlan") || (table == 0 && pushes == 1)
            });
            // In OpenFlow 1.3 ovs-ofctl writes these as push_vlan and set_field: another action.
            if needs_instructions(&actions.join(",")) {
                actions.retain(|action| !action.starts_with("mod_vlan"));
            }
            let actions = if actions.is_empty() { "drop".into() } else { actions.join(",") };
            flows.push(
                format!("table={table},priority={},{matching} actions={actions}", 100 - i)
                    .replace(", actions", " actions"),
            );
        }
    }
    flows
}

/// Flows around ct(): of UDP and ICMP, whose states do not hang on sequence numbers. Without
/// `force`: of a packet that passes several ct(), Open vSwitch's clones go on with the connection
/// that a forced commit of another clone has ended.
fn generate_tracking_flows(random: &mut Random) -> Vec<String> {
    let matches = [
        "udp",
        "icmp",
        "ip",
        "udp6",
        "ipv6",
        "ct_state=+new+trk,udp",
        "ct_state=+est+trk,ip",
        "ct_state=+rpl+trk,ip",
        "ct_state=+inv+trk,ip",
        "ct_state=-trk,ip",
        "ct_state=+trk-new,ipv6",
        "ct_mark=7,ct_state=+trk,ip",
        "ct_zone=5,ip",
        "ct_label=3,ip",
        "in_port=1,ip",
        "udp,tp_dst=53",
    ];
    let mut flows = Vec::new();
    for table in 0..4u64 {
        for i in 0..3 + random.below(5) {
            let next = table + 1;
            let actions: Vec<String> = (0..1 + random.below(3))
                .map(|_| match random.below(9) {
                    0 | 1 => format!("ct(table={next},zone=5)"),
                    2 => format!("ct(commit,table={next},zone=5)"),
                    3 => format!("ct(commit,table={next},zone=5,exec(load:7->NXM_NX_CT_MARK[]))"),
                    4 => format!("ct(commit,table={next},zone=5,exec(set_field:3->ct_label))"),
                    5 => format!("resubmit(,{next})"),
                    6 => "move:NXM_NX_CT_MARK[]->NXM_NX_REG0[],load:6->NXM_OF_ETH_SRC[0..7],output:4".into(),
                    7 => "output:3".into(),
                    _ => "ct_clear".into(),
                })
                .collect();
            let matching = random.pick(&matches);
            flows.push(format!(
                "table={table},priority={},{matching} actions={}",
                100 - i,
                actions.join(",")
            ));
        }
    }
    flows
        .push("table=4,priority=9,ct_state=+est+trk,ip actions=load:1->NXM_OF_ETH_SRC[0..7],output:5".into());
    flows
        .push("table=4,priority=8,ct_state=+new+trk,ip actions=load:2->NXM_OF_ETH_SRC[0..7],output:5".into());
    flows.push("table=4,priority=7,ct_state=+trk,ipv6 actions=load:3->NXM_OF_ETH_SRC[0..7],output:5".into());
    flows
}

fn generate_tracked_packet(random: &mut Random) -> Vec<u8> {
    use footbridge_openflow::Field::*;
    let mut key = Key::default();
    key.set(EthSrc, 0x0200_0000_0001);
    key.set(EthDst, 0x0200_0000_0002);
    key.set(NwTtl, 64);
    let v6 = random.below(4) == 0;
    key.set(EthType, if v6 { 0x86dd } else { 0x0800 });
    let (src, dst, prefix) =
        if v6 { (Ipv6Src, Ipv6Dst, 0xfdu128 << 120) } else { (NwSrc, NwDst, 0x0a00_0000) };
    let forward = random.below(2) == 0;
    key.set(src, prefix | if forward { 1 } else { 2 });
    key.set(dst, prefix | if forward { 2 } else { 1 });
    if random.below(3) == 0 {
        key.set(NwProto, if v6 { 58 } else { 1 });
        let kinds = if v6 { [128, 129, 135] } else { [8, 0, 13] };
        key.set(IcmpType, kinds[random.below(3) as usize]);
    } else {
        key.set(NwProto, 17);
        let (a, b) = (9 + u128::from(random.below(2)), 53);
        key.set(UdpSrc, if forward { a } else { b });
        key.set(UdpDst, if forward { b } else { a });
    }
    packet::compose(&key)
}

fn generate_packet(random: &mut Random) -> Vec<u8> {
    use footbridge_openflow::Field::*;
    let mut key = Key::default();
    let macs = [
        0x0200_0000_0001u64,
        0x0200_0000_0002,
        0xffff_ffff_ffff,
        0x0180_c200_0003,
        0x0100_5e00_0001,
        0x0200_0000_0044,
    ];
    key.set(EthSrc, macs[random.below(2) as usize].into());
    key.set(EthDst, macs[random.below(6) as usize].into());
    if random.below(3) == 0 {
        key.set(VlanTci, u128::from(0x1000 | (random.below(8) << 13) | [5, 6][random.below(2) as usize]));
    }
    let kind = random.below(10);
    key.set(
        EthType,
        [0x0800, 0x0800, 0x0800, 0x0800, 0x0800, 0x0806, 0x86dd, 0x86dd, 0x86dd, 0x88cc][kind as usize],
    );
    let address = |random: &mut Random| u128::from(0x0a00_0000 | random.below(4));
    match kind {
        5 => {
            key.set(ArpOp, u128::from(1 + random.below(2)));
            key.set(ArpSpa, address(random));
            key.set(ArpTpa, address(random));
            key.set(ArpSha, macs[0].into());
        }
        9 => {}
        _ => {
            let (src, dst, protos) =
                if kind < 5 { (NwSrc, NwDst, [6, 17, 132, 1]) } else { (Ipv6Src, Ipv6Dst, [6, 17, 132, 58]) };
            let prefix = if kind < 5 { 0 } else { 0xfd00u128 << 112 };
            key.set(src, prefix | (address(random) & if kind < 5 { u128::MAX } else { 0xff }));
            key.set(dst, prefix | (address(random) & if kind < 5 { u128::MAX } else { 0xff }));
            let proto = protos[random.below(4) as usize];
            key.set(NwProto, proto);
            key.set(NwTtl, [0, 1, 2, 64][random.below(4) as usize]);
            key.set(NwTos, u128::from(random.below(256)));
            let frag = [0, 0, 0, 1, 3][random.below(5) as usize];
            // Of later fragments Open vSwitch rewrites what would be ICMP fields and checksums.
            key.set(IpFrag, if proto == 132 { frag } else { frag & 1 });
            if proto == 1 || proto == 58 {
                key.set(
                    IcmpType,
                    if proto == 1 {
                        [0, 8][random.below(2) as usize]
                    } else {
                        [128, 135][random.below(2) as usize]
                    },
                );
                key.set(NdTarget, prefix | 2);
                key.set(NdSll, macs[0].into());
            } else {
                key.set(TcpSrc, [9, 53, 4000][random.below(3) as usize]);
                key.set(TcpDst, [9, 53, 80][random.below(3) as usize]);
                if proto == 6 {
                    key.set(TcpFlags, [2, 0x12, 0x10][random.below(3) as usize]);
                }
            }
        }
    }
    let mut frame = packet::compose(&key);
    // Now and then a frame that lies, or ends early.
    if random.below(8) == 0 {
        let at = 12 + random.below(frame.len() as u64 - 12) as usize;
        frame[at] ^= 1 << random.below(8);
    }
    if frame.len() < 64 {
        frame.resize(64, 0);
    }
    frame
}

#[test]
fn agrees_with_open_vswitch_on_generated_flows_and_packets() {
    agrees("agrees_with_open_vswitch_on_generated_flows_and_packets", generate_flows, generate_packet);
}

#[test]
fn agrees_with_open_vswitch_on_what_is_tracked() {
    agrees("agrees_with_open_vswitch_on_what_is_tracked", generate_tracking_flows, generate_tracked_packet);
}

fn agrees(name: &str, flows: fn(&mut Random) -> Vec<String>, packet: fn(&mut Random) -> Vec<u8>) {
    let ovs = match Ovs::start() {
        Ok(ovs) => ovs,
        Err(why) => return println!("skipped: {name}: {why}"),
    };
    let number =
        |name, default| std::env::var(name).ok().and_then(|n: String| n.parse().ok()).unwrap_or(default);
    let (first_seed, cases) = (number("OVS_SEED", 1u64), number("OVS_CASES", 12u64));
    println!("seeds {first_seed} to {}", first_seed + cases - 1);
    let mut failures = Vec::new();
    for seed in first_seed..first_seed + cases {
        compare(&ovs, seed, flows, packet, &mut failures);
    }
    assert!(failures.is_empty(), "{} differences:\n{}", failures.len(), failures.join("\n"));
}

fn compare(
    ovs: &Ovs,
    seed: u64,
    generate_flows: fn(&mut Random) -> Vec<String>,
    generate_packet: fn(&mut Random) -> Vec<u8>,
    failures: &mut Vec<String>,
) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    ovs.run("ovs-ofctl", &["del-flows", "br0"]).unwrap();
    let (names, mut pipeline, mut taken) = (PortNames::none(), Pipeline::new(), Vec::new());
    for text in generate_flows(&mut random) {
        let Ok(flow) = parse_flow(&text, &names) else { continue };
        if ovs.add_flow(&text) {
            pipeline.insert(flow, Time::default()).unwrap();
            taken.push(text);
        }
    }
    ovs.appctl(&["fdb/flush", "br0"]).unwrap();
    ovs.appctl(&["revalidator/purge"]).unwrap();
    ovs.appctl(&["dpctl/flush-conntrack"]).unwrap();
    let mut state = State::default();
    PORTS.for_each(|port| state.ports.insert(PortNo(port), PortKind::Ordinary));
    let already = ovs.sent().len();
    let mut expected = Vec::new();
    let mut inputs = Vec::new();
    for step in 0..16u64 {
        let frame = generate_packet(&mut random);
        let in_port = 1 + random.below(3) as u32;
        let hex: String = frame.iter().map(|byte| format!("{byte:02x}")).collect();
        ovs.appctl(&["netdev-dummy/receive", &format!("p{in_port}"), &hex]).unwrap();
        let packet = Packet { in_port: PortNo(in_port), frame, tunnel: TunnelKey::default() };
        let verdict = pipeline.process(&mut state, packet, Time::from_secs(step), &mut Unobserved);
        let sent: Vec<(u32, Vec<u8>)> = verdict.outputs.into_iter().map(|o| (o.port.0, o.frame)).collect();
        expected.extend(sent.iter().cloned());
        // Learning is not to overtake: wait for what is due, and a little for what is not.
        let deadline = Instant::now() + Duration::from_millis(400);
        while ovs.sent().len() < already + expected.len() && Instant::now() < deadline {
            sleep(Duration::from_millis(3));
        }
        sleep(Duration::from_millis(5));
        inputs.push((in_port, hex, sent));
        if !same(&ovs.sent(), already, &expected) {
            let (in_port, hex, ours) = inputs.pop().unwrap();
            let theirs: Vec<String> = news(&ovs.sent(), &expected, &ours);
            let ours: Vec<String> = ours.iter().map(show).collect();
            let trace = ovs
                .appctl(&["ofproto/trace", "br0", &format!("in_port={in_port}"), &hex])
                .unwrap_or_default();
            failures.push(format!(
                "seed {seed}, packet {step} in {in_port}: {hex}\nours:\n  {}\ntheirs:\n  {}\nflows:\n{}\n{trace}",
                ours.join("\n  "),
                theirs.join("\n  "),
                taken.join("\n"),
            ));
            return;
        }
    }
}

fn show((port, frame): &(u32, Vec<u8>)) -> String {
    format!("{port}: {}", frame.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn counted(frames: &[(u32, Vec<u8>)]) -> BTreeMap<&(u32, Vec<u8>), i64> {
    let mut counts = BTreeMap::new();
    frames.iter().for_each(|frame| *counts.entry(frame).or_insert(0) += 1);
    counts
}

fn same(sent: &[(u32, Vec<u8>)], already: usize, expected: &[(u32, Vec<u8>)]) -> bool {
    sent.len() == already + expected.len() && {
        let all = counted(sent);
        expected.iter().all(|frame| all.contains_key(frame))
    }
}

/// What Open vSwitch sent of late that we did not expect.
fn news(sent: &[(u32, Vec<u8>)], expected: &[(u32, Vec<u8>)], ours: &[(u32, Vec<u8>)]) -> Vec<String> {
    let known = &expected[..expected.len() - ours.len()];
    let tails = PORTS.flat_map(|port| {
        let of_port: Vec<_> = sent.iter().filter(|(p, _)| *p == port).collect();
        let known = known.iter().filter(|(p, _)| *p == port).count();
        of_port.into_iter().rev().take(3).rev().map(move |frame| (known, frame)).collect::<Vec<_>>()
    });
    tails.map(|(known, frame)| format!("(after {known}) {}", show(frame))).collect()
}
