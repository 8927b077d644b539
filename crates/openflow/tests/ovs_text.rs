//! Our text against a real Open vSwitch's: flows are added to a bridge of its own, without devices,
//! and dumped again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[path = "common/ovs.rs"]
mod ovs;

use common::{Dialect, Random};
use footbridge_openflow::PortNames;
use footbridge_openflow::PortNo;
use footbridge_openflow::text::{parse_dump, parse_flow, parse_ports};
use ovs::OpenVswitch;
use std::collections::BTreeMap;
use std::io::Write;

impl OpenVswitch {
    /// Add a port without a device.
    fn add_port(&self, number: u32, name: &str) {
        let db = format!("--db=unix:{}", self.path("db.sock"));
        let request = format!("ofport_request={number}");
        let args = [&db, "add-port", "br0", name, "--", "set", "interface", name, "type=dummy", &request];
        self.run("ovs-vsctl", &args).expect("a port");
    }

    /// Run ovs-ofctl on the bridge.
    fn ofctl(&self, dialect: Dialect, command: &str, args: &[&str]) -> Result<String, String> {
        let version = match dialect {
            Dialect::OpenFlow15 => "OpenFlow15",
            _ => "OpenFlow10",
        };
        let bridge = format!("unix:{}", self.path("br0.mgmt"));
        let mut all = vec!["-O", version, command, &bridge];
        all.extend(args);
        self.run("ovs-ofctl", &all)
    }

    /// What the bridge makes of flow lines with cookies 1, 2, 3 …, by their cookies; those that it
    /// refuses are not there.
    fn dump_of(&self, dialect: Dialect, lines: &[String]) -> BTreeMap<u64, String> {
        let cookie = |line: &str| {
            let hex = line.trim().strip_prefix("cookie=0x")?.split(',').next()?;
            u64::from_str_radix(hex, 16).ok()
        };
        self.ofctl(dialect, "del-flows", &[]).unwrap();
        let mut next = 0;
        loop {
            let mut file = std::fs::File::create(self.path("flows")).unwrap();
            for line in lines.iter().skip(next) {
                writeln!(file, "{line}").unwrap();
            }
            let added = self.ofctl(dialect, "add-flows", &[&self.path("flows")]);
            let dump = self.ofctl(dialect, "dump-flows", &["--no-stats"]).unwrap();
            let dumped: BTreeMap<u64, String> =
                dump.lines().filter_map(|line| Some((cookie(line)?, line.to_owned()))).collect();
            match added {
                Ok(_) => return dumped,
                Err(why) => {
                    // It stops at the first that it refuses; ovs-ofctl itself adds none and names the line.
                    let in_file = format!("{}:", self.path("flows"));
                    let named = why
                        .split(&in_file)
                        .nth(1)
                        .and_then(|rest| rest.split(':').next()?.parse::<usize>().ok());
                    let last = dumped.keys().next_back().map_or(0, |cookie| *cookie as usize);
                    next = named.map_or(last.max(next) + 1, |line| next + line);
                    println!("refused: {}\nbecause: {why}", lines[next - 1]);
                }
            }
        }
    }
}

/// Add random flows to the bridge and compare its dump with what we print; then read the dump and
/// print it again.
fn compare(ovs: &OpenVswitch, dialect: Dialect, seed: u64, count: u64) {
    let names = PortNames::none();
    let mut random = Random::new(seed);
    let mut lines = Vec::new();
    for i in 1..=count {
        let mut flow = random.flow(dialect);
        // One of its own for each, so that none replaces another.
        flow.cookie = i;
        flow.priority = i as u16;
        lines.push(flow.display(&names).to_string());
    }
    let dumped = ovs.dump_of(dialect, &lines);
    let mut differences = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let Some(theirs) = dumped.get(&(i as u64 + 1)) else {
            differences.push(format!("lost:   {line}"));
            continue;
        };
        if theirs != line {
            differences.push(format!("ours:   {line}\ntheirs: {theirs}"));
        }
        match parse_flow(theirs, &names) {
            Ok(flow) if flow.display(&names).to_string() == *theirs => {}
            Ok(flow) => differences.push(format!("read:   {theirs}\nprints: {}", flow.display(&names))),
            Err(error) => differences.push(format!("read:   {theirs}\nfails:  {error}")),
        }
    }
    let shown = differences.iter().take(40).cloned().collect::<Vec<_>>().join("\n");
    assert!(differences.is_empty(), "seed {seed}, {} differences:\n{shown}", differences.len());
}

#[test]
fn prints_flows_as_open_vswitch_dumps_them() {
    let Some(ovs) = OpenVswitch::start("prints_flows_as_open_vswitch_dumps_them") else { return };
    compare(&ovs, Dialect::OpenFlow10, 1, 3000);
    compare(&ovs, Dialect::OpenFlow15, 2, 3000);
}

#[test]
fn reads_and_prints_a_whole_dump() {
    let Some(ovs) = OpenVswitch::start("reads_and_prints_a_whole_dump") else { return };
    ovs.ofctl(Dialect::OpenFlow10, "add-flow", &["cookie=1,priority=5,tcp,tp_dst=80,actions=NORMAL"])
        .unwrap();
    let dump = ovs.ofctl(Dialect::OpenFlow10, "dump-flows", &[]).unwrap();
    let names = PortNames::none();
    let flows = parse_dump(&dump, "dump", &names).unwrap();
    assert_eq!(flows.len(), 1);
    for parsed in flows {
        let line = dump.lines().nth(parsed.line - 1).unwrap();
        assert_eq!(parsed.flow.display_with_stats(&parsed.stats, &names).to_string(), line);
    }
}

/// Input lines and what follows each, from one of the files in `data`.
fn pairs(text: &str) -> Vec<(&str, &str)> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.chunks(2).map(|pair| (pair[0], pair[1])).collect()
}

#[test]
fn golden_lines_are_what_open_vswitch_prints_or_refuses() {
    let Some(ovs) = OpenVswitch::start("golden_lines_are_what_open_vswitch_prints_or_refuses") else {
        return;
    };
    let files = [
        (Dialect::OpenFlow10, include_str!("data/openflow10.txt")),
        (Dialect::OpenFlow15, include_str!("data/openflow15.txt")),
    ];
    for (dialect, text) in files {
        for (input, golden) in pairs(text) {
            ovs.ofctl(dialect, "del-flows", &[]).unwrap();
            let added = ovs.ofctl(dialect, "add-flow", &[input]);
            match golden.strip_prefix('=') {
                Some(line) => {
                    added.unwrap_or_else(|why| panic!("{input}: {why}"));
                    let dump = ovs.ofctl(dialect, "dump-flows", &["--no-stats"]).unwrap();
                    assert_eq!(dump.trim_end_matches('\n'), line, "{input}");
                }
                None => assert!(added.is_err(), "Open vSwitch takes {input}"),
            }
        }
    }
}

#[test]
fn refuses_what_open_vswitch_refuses() {
    let Some(ovs) = OpenVswitch::start("refuses_what_open_vswitch_refuses") else { return };
    let names = PortNames::none();
    let (mut taken, mut refused) = (0, 0);
    let mut differences = Vec::new();
    for (dialect, seed) in [(Dialect::OpenFlow10, 3), (Dialect::OpenFlow15, 4)] {
        let mut random = Random::new(seed);
        for _ in 0..120 {
            let flow = random.unchecked_flow(dialect);
            let line = flow.display(&names).to_string();
            let theirs = ovs.ofctl(dialect, "add-flow", &[&line]);
            match (parse_flow(&line, &names), theirs) {
                (Ok(_), Err(why)) => differences.push(format!("we take: {line}\ntheirs:  {why}")),
                (Err(why), Ok(_)) => differences.push(format!("they take: {line}\nours:    {why}")),
                (Ok(_), Ok(_)) => taken += 1,
                (Err(_), Err(_)) => refused += 1,
            }
        }
    }
    assert!(taken > 40 && refused > 40, "{taken} taken, {refused} refused: the generator is one-sided");
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn names_ports_as_open_vswitch_does() {
    let Some(ovs) = OpenVswitch::start("names_ports_as_open_vswitch_does") else { return };
    let ports = [(1, "antrea-tun0"), (2, "antrea-gw0"), (3, "eth0"), (4, "0start"), (5, "a.b")];
    for (number, name) in ports {
        ovs.add_port(number, name);
    }
    let mut names: PortNames = ports.into_iter().map(|(number, name)| (PortNo(number), name)).collect();
    names.insert(PortNo::LOCAL, "br0");
    let version = Dialect::OpenFlow10;
    assert_eq!(parse_ports(&ovs.ofctl(version, "show", &[]).unwrap()), Ok(names.clone()));
    assert_eq!(parse_ports(&ovs.ofctl(version, "dump-ports-desc", &[]).unwrap()), Ok(names.clone()));

    for port in 1..=6 {
        let line = format!("in_port={port},actions=output:{port},resubmit({port},3),enqueue:{port}:1,LOCAL");
        ovs.ofctl(version, "add-flow", &[&line]).unwrap();
    }
    let dump = ovs.ofctl(version, "dump-flows", &["--no-stats", "--names"]).unwrap();
    let flows = parse_dump(&dump, "dump", &names).unwrap();
    assert_eq!(flows.len(), 6);
    for parsed in flows {
        let line = dump.lines().nth(parsed.line - 1).unwrap();
        assert_eq!(parsed.flow.display(&names).to_string(), line);
    }
}
