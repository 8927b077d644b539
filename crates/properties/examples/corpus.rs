//! Corpora between the repository, where each is one file, and cargo-fuzz, where each is a directory
//! with a file an input. What scripts/fuzz uses.
//!
//! * `corpus unpack TARGET DIRECTORY`: the repository's inputs into the directory.
//! * `corpus pack TARGET DIRECTORY`: the directory's inputs, the shortest first, onto standard output.
//! * `corpus check TARGET DIRECTORY`: every input of the directory for which a property fails, by name,
//!   with why.
//! * `corpus seeds TARGET DIRECTORY`: what the corpora began from into the directory: recorded
//!   conversations, messages and flows written by ourselves, worker1's flows, the lab's cluster files,
//!   calls of the CNI.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a tool of the tests")]

#[path = "../../openflow/tests/common/mod.rs"]
mod common;

use common::{Dialect, Random};
use footbridge_openflow::text::{parse_flow, parse_packet};
use footbridge_openflow::wire::{Context, FlowMod, Form, Version};
use footbridge_openflow::{PortNames, PortNo};
use footbridge_pipeline::packet::compose;
use footbridge_properties::{TARGETS, Target, corpus};
use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [command, target, directory] = &arguments[..] else {
        panic!("usage: corpus unpack|pack|check|seeds TARGET DIRECTORY");
    };
    let target = TARGETS.iter().find(|t| t.name == target).expect("a target's name");
    let directory = Path::new(directory);
    match command.as_str() {
        "unpack" => put(directory, &packed(target)),
        "seeds" => put(directory, &seeds(target)),
        "check" => check(target, directory),
        "pack" => print!("{}", pack(target, directory)),
        other => panic!("{other} is none of unpack, pack, check and seeds"),
    }
}

fn packed(target: &Target) -> Vec<Vec<u8>> {
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name).with_extension("txt");
    corpus::read(&fs::read_to_string(path).unwrap(), target.input).unwrap()
}

fn put(directory: &Path, inputs: &[Vec<u8>]) {
    fs::create_dir_all(directory).unwrap();
    for (i, input) in inputs.iter().enumerate() {
        fs::write(directory.join(format!("{i:05}")), input).unwrap();
    }
}

fn check(target: &Target, directory: &Path) {
    std::panic::set_hook(Box::new(|_| {}));
    for file in fs::read_dir(directory).unwrap() {
        let path = file.unwrap().path();
        let input = fs::read(&path).unwrap();
        if let Err(panic) = std::panic::catch_unwind(|| (target.check)(&input)) {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
            println!("{}: {text}\n", path.display());
        }
    }
}

fn pack(target: &Target, directory: &Path) -> String {
    let files = fs::read_dir(directory).unwrap();
    let mut inputs: Vec<Vec<u8>> = files.map(|file| fs::read(file.unwrap().path()).unwrap()).collect();
    inputs.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
    inputs.dedup();
    inputs.iter().filter_map(|input| corpus::line(input, target.input)).map(|line| line + "\n").collect()
}

const WORKER1: &str = include_str!("../../openflow/tests/data/worker1.flows");
const RECORDED: [(Version, &str); 4] = [
    (Version::V10, include_str!("../../openflow/tests/data/wire/openflow10.txt")),
    (Version::V13, include_str!("../../openflow/tests/data/wire/openflow13.txt")),
    (Version::V14, include_str!("../../openflow/tests/data/wire/openflow14.txt")),
    (Version::V15, include_str!("../../openflow/tests/data/wire/openflow15.txt")),
];
const CLUSTERS: [&str; 3] = [
    include_str!("../../footbridge/labs/article.yaml"),
    include_str!("../../footbridge/labs/small.yaml"),
    include_str!("../../node/tests/data/wrong.yaml"),
];
const PACKETS: &[&str] = &[
    "in_port=1,arp,dl_src=4e:99:08:c1:53:be,dl_dst=ff:ff:ff:ff:ff:ff,arp_op=1,arp_spa=10.222.1.1,arp_tpa=10.222.2.1",
    "in_port=1,tcp,nw_src=10.222.1.48,nw_dst=10.104.65.133,nw_ttl=64,tp_src=40000,tp_dst=80,tcp_flags=syn",
    "in_port=2,udp,nw_src=10.222.1.48,nw_dst=10.222.2.34,nw_ttl=64,nw_tos=184,tp_src=53,tp_dst=53,vlan_tci=0x1007",
    "in_port=1,icmp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_ttl=1,icmp_type=8,icmp_code=0",
    "in_port=2,ip,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_proto=17,nw_frag=later",
    "in_port=2,udp,nw_src=10.0.0.1,nw_dst=10.0.0.2,nw_frag=first,tp_src=1,tp_dst=2",
    "in_port=1,sctp6,ipv6_src=fe80::1,ipv6_dst=fe80::2,tp_src=1,tp_dst=2",
    "in_port=1,icmp6,ipv6_src=fe80::1,ipv6_dst=ff02::1,icmp_type=135,icmp_code=0,nd_target=fe80::2,nd_sll=00:00:00:00:00:01",
    "in_port=1,icmp6,ipv6_src=fe80::1,ipv6_dst=ff02::1,icmp_type=136,icmp_code=0,nd_target=fe80::2,nd_tll=00:00:00:00:00:01",
    "in_port=1,tcp6,ipv6_src=fe80::1,ipv6_dst=fe80::2,ipv6_label=0x12345,nw_ttl=3,tp_src=1,tp_dst=2,nw_frag=first",
    "in_port=1,dl_type=0x88cc,dl_src=00:00:00:00:00:01,reg0=1,metadata=2,tun_id=3,tun_dst=10.79.1.202,ct_state=trk|est",
];

/// Calls of the CNI.
const CALLS: &[&str] = &[
    "CNI_COMMAND=ADD\nCNI_CONTAINERID=c0ffee\nCNI_IFNAME=eth0\nCNI_NETNS=/run/netns/a\nCNI_PATH=/opt/cni/bin:/usr/lib/cni\nCNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=frontend\n\n{\"cniVersion\":\"1.0.0\",\"name\":\"pods\",\"type\":\"footbridge\",\"ipam\":{\"type\":\"host-local\"},\"runtimeConfig\":{\"mac\":\"02:00:00:00:00:09\"},\"dns\":{\"nameservers\":[\"10.96.0.10\"]}}",
    "CNI_COMMAND=CHECK\nCNI_CONTAINERID=c0ffee\nCNI_IFNAME=eth0\nCNI_NETNS=/run/netns/a\n\n{\"cniVersion\":\"1.1.0\",\"name\":\"pods\",\"type\":\"footbridge\",\"runDir\":\"/run/footbridge\",\"prevResult\":{\"interfaces\":[{\"name\":\"frontend-889ab5\"},{\"name\":\"eth0\",\"mac\":\"02:00:00:00:00:09\",\"mtu\":1450,\"sandbox\":\"/run/netns/a\"}],\"ips\":[{\"address\":\"10.222.1.7/24\",\"gateway\":\"10.222.1.1\",\"interface\":1}],\"routes\":[{\"dst\":\"0.0.0.0/0\",\"gw\":\"10.222.1.1\",\"mtu\":1400}],\"dns\":{}}}",
    "CNI_COMMAND=DEL\nCNI_CONTAINERID=c0ffee\nCNI_IFNAME=eth0\n\n{\"cniVersion\":\"0.4.0\",\"name\":\"pods\",\"type\":\"footbridge\",\"args\":{\"cni\":{\"mac\":\"02:00:00:00:00:09\"}},\"prevResult\":{\"ips\":[{\"version\":\"4\",\"address\":\"10.222.1.7/24\"}]}}",
    "CNI_COMMAND=GC\n\n{\"cniVersion\":\"1.1.0\",\"name\":\"pods\",\"type\":\"footbridge\",\"cni.dev/valid-attachments\":[{\"containerID\":\"c0ffee\",\"ifname\":\"eth0\"}]}",
    "CNI_COMMAND=STATUS\n\n{\"cniVersion\":\"1.1.0\",\"name\":\"pods\",\"type\":\"footbridge\",\"stateDir\":\"/var/lib/footbridge\"}",
    "CNI_COMMAND=VERSION\n\n{\"cniVersion\":\"0.3.1\"}",
];

fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let text = |texts: &[&str]| -> Vec<Vec<u8>> { texts.iter().map(|t| t.as_bytes().to_vec()).collect() };
    match target.name {
        "message" => messages(),
        "flow_mod" => flow_mods(),
        "stream" => RECORDED.iter().flat_map(|(_, text)| streams(text)).collect(),
        "flows" => flows(),
        "ports" => text(&[
            "1 eth0\n2 antrea-gw0\n# comment\n\n3 with space\nLOCAL br0\n",
            "OFPT_FEATURES_REPLY (xid=0x2): dpid:00002e52b5b1be4a\n 1(p1): addr:aa:55:aa:55:00:0f\n     config:     0\n LOCAL(br0): addr:2e:52:b5:b1:be:4a\n",
        ]),
        "packet" => text(PACKETS),
        "filter" => {
            let matches = WORKER1.lines().filter_map(|line| {
                let (_, matching) = line.split_once("priority=")?.1.split_once(',')?;
                Some(matching.split_once(" actions")?.0.as_bytes().to_vec())
            });
            let words = [
                "table=10,cookie=0x1020000000000/-1",
                "out_port=2,cookie=5/0xff,ip",
                "out_port=\"antrea-gw0\" arp",
            ];
            matches.chain(text(&words)).collect()
        }
        "frame" => {
            frames().into_iter().flat_map(|frame| (1..3).map(move |bits| with_first(bits, &frame))).collect()
        }
        "tunnel" => {
            [&[8, 0, 0, 0, 0, 0, 7, 0][..], &[2, 0x40, 0x65, 0x58, 0, 0, 7, 0, 1, 4, 0x80, 1, 0, 0, 0, 9]]
                .into_iter()
                .enumerate()
                .flat_map(|(i, header)| {
                    frames().into_iter().map(move |frame| with_first(i as u8, &[header, &frame].concat()))
                })
                .collect()
        }
        "cluster" => text(&CLUSTERS),
        "cni" => text(CALLS),
        other => panic!("{other} has no seeds"),
    }
}

fn with_first(first: u8, rest: &[u8]) -> Vec<u8> {
    [&[first], rest].concat()
}

/// Recorded messages, and random flows in each version's forms.
fn messages() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for (i, (version, text)) in (0u8..).zip(RECORDED) {
        let context = Context::client(version);
        let dialects = if version == Version::V10 { Dialect::OpenFlow10 } else { Dialect::Any };
        for message in recorded(text) {
            all.extend([0, 0x04, 0x0c].map(|bits| with_first(i | bits, &message)));
        }
        for seed in 0..1000 {
            let flow = Random::new(seed).flow(dialects);
            let mut flow_mod = FlowMod::add(flow.table, flow.priority, flow.matching.clone());
            flow_mod.actions.clone_from(&flow.actions);
            if version == Version::V10 {
                flow_mod.form = Form::Nicira;
            }
            all.extend(flow_mod.encode(context, 7).map(|bytes| with_first(i | 4, &bytes)));
        }
    }
    all
}

/// Entries of matches and actions: random flows' and, of each number that an action could have and of
/// each length, one.
fn flow_mods() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for (i, version) in (0u8..).zip(Version::ALL) {
        let nicira = version == Version::V10;
        let dialect = if nicira { Dialect::OpenFlow10 } else { Dialect::Any };
        for seed in 0..1000 {
            let flow = Random::new(seed).flow(dialect);
            let mut flow_mod = FlowMod::add(flow.table, flow.priority, flow.matching.clone());
            flow_mod.actions.clone_from(&flow.actions);
            flow_mod.form = if nicira { Form::Nicira } else { Form::Standard };
            let Ok(bytes) = flow_mod.encode(Context::client(version), 7) else { continue };
            // Where the match's length and its entries stand.
            let (length_at, entries_at, header) = if nicira { (40, 48, 0) } else { (50, 52, 4) };
            let length = usize::from(u16::from_be_bytes([bytes[length_at], bytes[length_at + 1]]));
            let entries = &bytes[entries_at..entries_at + length - header];
            let behind = &bytes[entries_at - header + length.next_multiple_of(8)..];
            let first = if nicira { i } else { i | 0x80 };
            all.extend(u8::try_from(entries.len()).map(|count| [&[first, count], entries, behind].concat()));
        }
        for number in 0..64 {
            for length in [8, 16, 24, 32] {
                let filled =
                    |header: &[u8]| [&[i, 0], header, &vec![0; usize::from(length) - header.len()]].concat();
                all.push(filled(&[0, number, 0, length]));
                if length > 8 {
                    all.push(filled(&[0xff, 0xff, 0, length, 0, 0, 0x23, 0x20, 0, number]));
                    all.push(filled(&[0xff, 0xff, 0, length, 0x4f, 0x4e, 0x46, 0, 0x0c, 0x80]));
                }
            }
        }
    }
    all
}

fn recorded(text: &str) -> Vec<Vec<u8>> {
    let hex = |line: &str| -> Option<Vec<u8>> {
        let digits = line.strip_prefix(['<', '>'])?.trim();
        corpus::read(digits, footbridge_properties::Input::Bytes).ok()?.pop()
    };
    text.lines().filter_map(hex).collect()
}

/// A few messages in a row, cut at different sizes.
fn streams(text: &str) -> Vec<Vec<u8>> {
    let short: Vec<Vec<u8>> = recorded(text).into_iter().filter(|message| message.len() < 100).collect();
    (0u8..).zip(short.chunks(5)).map(|(i, messages)| with_first(i, &messages.concat())).collect()
}

fn flows() -> Vec<Vec<u8>> {
    let names = PortNames::none();
    let random = (0..3000).map(|seed| Random::new(seed).flow(Dialect::Any).display(&names).to_string());
    let lines = WORKER1.lines().map(str::to_owned).filter(|line| parse_flow(line, &worker1()).is_ok());
    let dump = WORKER1.lines().take(5).collect::<Vec<_>>().join("\n");
    lines.chain(random).chain([dump]).map(String::into_bytes).collect()
}

/// The ports of worker1's bridge.
fn worker1() -> PortNames {
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

fn frames() -> Vec<Vec<u8>> {
    PACKETS.iter().map(|text| compose(&parse_packet(text, &PortNames::none()).unwrap())).collect()
}
