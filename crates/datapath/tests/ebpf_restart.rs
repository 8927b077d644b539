//! What is pinned goes on when its process is killed, and the next one takes it over without losing a packet.
//!
//! The process under test is this program again, told by its environment to be a bridge.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Namespace, eventually, host, pings};
use footbridge_datapath::ebpf::{Ebpf, pins};
use footbridge_datapath::{Attachment, Change, Datapath, DatapathChoice, PortSpec, TunnelProtocol, clock};
use footbridge_openflow::text::parse_flow;
use footbridge_openflow::{PortNames, PortNo};
use footbridge_pipeline::conntrack::Connection;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Says that this is the bridge: its namespace, its pins, the format of its root programs.
const BRIDGE: &str = "FOOTBRIDGE_TEST_BRIDGE";
/// Flows by which two hosts reach each other, ARP and all, as a learning switch; and more others than the datapath
/// begins with room for.
fn flows() -> String {
    let others = (0..1500).map(|number| format!(";table=1,metadata={number} actions=drop"));
    "actions=NORMAL".to_owned() + &others.collect::<String>()
}

/// Not a claim: the process under test, when the environment says so. Each line on its standard input is a
/// command.
#[test]
fn bridge() {
    let Ok(what) = std::env::var(BRIDGE) else { return };
    let [namespace, dir, format] = what.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let file = std::fs::File::open(format!("/run/netns/{namespace}")).unwrap();
    nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
    let mut datapath = Ebpf::start_pinned_as(Path::new(dir), format.parse().unwrap()).unwrap();
    println!("\nready");
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        match line.split_once(' ').unwrap() {
            ("port", device) => {
                let number = PortNo(if device == "a" { 1 } else { 2 });
                let attachment = Attachment::Device { ifname: device.to_owned() };
                datapath.add_port(&PortSpec { number, name: device.to_owned(), attachment }).unwrap();
            }
            ("tunnel", name) => {
                let attachment = Attachment::tunnel(TunnelProtocol::Vxlan);
                datapath
                    .add_port(&PortSpec { number: PortNo(3), name: name.to_owned(), attachment })
                    .unwrap();
            }
            ("flows", text) => {
                let shared = datapath.flows();
                let mut pipeline = shared.write().unwrap();
                let mut insert = |text: &str| {
                    let flow = parse_flow(text, &PortNames::none()).unwrap();
                    pipeline.insert(flow, clock::now()).unwrap().entry.id
                };
                let added = text.split(';').map(&mut insert).collect();
                datapath.commit(&pipeline, &Change { added, removed: Vec::new() }).unwrap();
            }
            ("connections", _) => {
                let connections = datapath.connections(None).unwrap();
                let line = |connection: &Connection| {
                    format!("{}:{} ", connection.original.proto, connection.replied)
                };
                connections.iter().for_each(|connection| print!("{}", line(connection)));
            }
            ("count", _) => {
                let ports = datapath.ports().unwrap();
                print!("{} {} ", ports[0].rx.packets, datapath.fdb().unwrap().len());
            }
            other => panic!("{other:?}"),
        }
        println!("\ndone");
    }
}

struct Bridge(Child, BufReader<std::process::ChildStdout>);

impl Bridge {
    fn start(namespace: &Namespace, pins: &Path, format: u32, filters: bool) -> Bridge {
        let mut command = Command::new(std::env::current_exe().unwrap());
        if filters {
            command.env("FOOTBRIDGE_NO_TCX", "1");
        }
        let mut child = command
            .args(["--exact", "bridge", "--nocapture"])
            .env(BRIDGE, format!("{} {} {format}", namespace.name(), pins.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut bridge = Bridge(child, output);
        bridge.until("ready");
        bridge
    }

    /// Wait for a line; the one before it.
    fn until(&mut self, wanted: &str) -> String {
        let mut before = String::new();
        for line in (&mut self.1).lines() {
            let line = line.unwrap();
            if line == wanted {
                return before;
            }
            before = line;
        }
        panic!("the bridge ended before it was {wanted}");
    }

    fn tell(&mut self, command: &str) -> String {
        writeln!(self.0.stdin.as_mut().unwrap(), "{command}").unwrap();
        self.until("done")
    }

    fn fill(&mut self) {
        ["port a", "port b", &format!("flows {}", flows())]
            .iter()
            .for_each(|command| drop(self.tell(command)));
    }

    /// SIGKILL.
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory of pins in a bpf file system of its own, gone when dropped.
struct Pinned(PathBuf, tempfile::TempDir);

impl Pinned {
    fn new() -> Pinned {
        let mounted = tempfile::tempdir().unwrap();
        mount(Some("bpf"), mounted.path(), Some("bpf"), MsFlags::empty(), None::<&str>).unwrap();
        Pinned(mounted.path().join("bridge"), mounted)
    }

    fn names(&self) -> Vec<String> {
        let names = std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.into_string().unwrap()).collect()
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Err(error) = pins::detach(&self.0) {
            eprintln!("{} stays: {error}", self.0.display());
        }
        umount2(self.1.path(), MntFlags::MNT_DETACH).unwrap();
    }
}

/// 1 000 packets a second and a TCP stream, over a process that is killed, one that takes over, and one of another
/// format that does: none is lost, and counters and learned addresses go on.
#[test]
fn killed_restarted_and_upgraded_it_loses_no_packet() {
    if common::privileged("killed_restarted_and_upgraded_it_loses_no_packet") {
        loses_no_packet(false);
    }
}

/// The same, where the kernel has no tcx links.
#[test]
fn with_filters_it_loses_no_packet_either() {
    if common::privileged("with_filters_it_loses_no_packet_either") {
        loses_no_packet(true);
    }
}

fn loses_no_packet(filters: bool) {
    let namespace = Namespace::new("br");
    let hosts = ["a", "b"].map(|device| {
        let last = if device == "a" { 1 } else { 2 };
        host(&namespace, device, &format!("10.0.0.{last}/24"))
    });
    let pinned = Pinned::new();
    let start = |format| Bridge::start(&namespace, &pinned.0, format, filters);
    let mut bridge = start(1);
    bridge.fill();
    assert!(pings(&hosts[0], "10.0.0.2"));
    let receiver = hosts[1].spawn_shell("nc -l -d 10.0.0.2 7000 | wc -c");
    eventually("nc listens", Duration::from_secs(5), || hosts[1].must("ss -Hltn").contains(":7000"));
    let pinging = hosts[0].spawn("ping -q -i 0.001 -c 4000 -W 1 10.0.0.2");
    let sending = hosts[0].spawn_shell(
        "for i in $(seq 40); do head -c 100000 /dev/zero; sleep 0.1; done | nc -N -w 5 10.0.0.2 7000",
    );
    std::thread::sleep(Duration::from_millis(500));
    let count = |said: String| -> Vec<u64> { said.split_whitespace().map(|n| n.parse().unwrap()).collect() };
    for format in [1, 2, 2] {
        let before = count(bridge.tell("count -"));
        bridge.kill();
        std::thread::sleep(Duration::from_millis(300));
        bridge = start(format);
        std::thread::sleep(Duration::from_millis(200));
        bridge.fill();
        let after = count(bridge.tell("count -"));
        assert!(after[0] > before[0] + 200 && after[1] == 2, "{before:?} {after:?}");
    }
    let said = pinging.wait();
    assert!(said.contains("4000 packets transmitted, 4000 received, 0% packet loss"), "{said}");
    sending.wait();
    assert_eq!(receiver.wait().trim(), "4000000");
    // What was sent again without need, on a busy machine, the receiver has twice, and says so.
    let counter = |name: &str| -> u64 {
        let printed = hosts[0].must(&format!("nstat -asz {name}"));
        printed.lines().last().unwrap().split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    assert_eq!(counter("TcpRetransSegs"), counter("TcpExtTCPDSACKRecv"), "TCP lost segments");
    bridge.kill();
    assert!(pings(&hosts[0], "10.0.0.2"));
    let has_filter = || namespace.must("tc filter show dev a ingress").contains("footbridge");
    assert_eq!(has_filter(), filters);
    namespace.enter(|| pins::detach(&pinned.0)).unwrap();
    assert!(!has_filter(), "detached, and yet there is a filter");
    assert!(!pings(&hosts[0], "10.0.0.2"), "detached, and yet it forwards");
}

/// Flows by which only one of two hosts may begin: what the other says is part of a connection that the process before
/// had tracked, and it passes while no process runs and under the next one.
#[test]
fn tracked_connections_outlive_the_process() {
    if !common::privileged("tracked_connections_outlive_the_process") {
        return;
    }
    let namespace = Namespace::new("br");
    let hosts = ["a", "b"].map(|device| {
        let last = if device == "a" { 1 } else { 2 };
        host(&namespace, device, &format!("10.0.0.{last}/24"))
    });
    let pinned = Pinned::new();
    let start = || {
        let mut bridge = Bridge::start(&namespace, &pinned.0, 1, false);
        let flows = [
            "table=0,arp actions=NORMAL",
            "table=0,ip actions=ct(table=1,zone=9)",
            "table=1,priority=2,ct_state=+est,ip,in_port=2 actions=output:1",
            "table=1,priority=1,ip,in_port=1 actions=ct(commit,zone=9),output:2",
        ];
        ["port a", "port b"].iter().for_each(|command| drop(bridge.tell(command)));
        bridge.tell(&format!("flows {}", flows.join(";")));
        bridge
    };
    let mut bridge = start();
    assert!(pings(&hosts[0], "10.0.0.2"));
    // The one that may not begin sends, in a connection that the other has begun.
    let sending =
        hosts[1].spawn_shell("(for i in $(seq 30); do echo x; sleep 0.1; done) | nc -l -N 10.0.0.2 7000");
    eventually("nc listens", Duration::from_secs(5), || hosts[1].must("ss -Hltn").contains(":7000"));
    let receiving = hosts[0].spawn_shell("nc -d 10.0.0.2 7000 | wc -l");
    let has_tcp = |said: &str| said.contains("6:true");
    let is_tracked = |bridge: &mut Bridge| has_tcp(&bridge.tell("connections -"));
    let begun = std::time::Instant::now();
    while !is_tracked(&mut bridge) {
        assert!(begun.elapsed() < Duration::from_secs(5), "{}", bridge.tell("connections -"));
    }
    bridge.kill();
    std::thread::sleep(Duration::from_millis(500));
    let mut bridge = Bridge::start(&namespace, &pinned.0, 1, false);
    assert!(is_tracked(&mut bridge));
    drop(bridge);
    let mut bridge = start();
    assert!(is_tracked(&mut bridge));
    sending.wait();
    assert_eq!(receiving.wait().trim(), "30");
}

/// Two processes don't have one directory; what is pinned for a device that is gone goes at the next start.
#[test]
fn pins_have_one_owner_and_no_device_that_is_gone() {
    if !common::privileged("pins_have_one_owner_and_no_device_that_is_gone") {
        return;
    }
    let namespace = Namespace::new("br");
    let _hosts = ["a", "b"].map(|device| host(&namespace, device, "10.0.0.1/24"));
    let pinned = Pinned::new();
    let mut bridge = Bridge::start(&namespace, &pinned.0, 1, false);
    bridge.fill();
    assert!(Ebpf::start_pinned(&pinned.0).is_err());
    assert!(pins::detach(&pinned.0).is_err());
    let ports = || pinned.names().iter().filter(|name| name.starts_with("port-")).count();
    assert_eq!(ports(), 2);
    bridge.kill();
    namespace.must("ip link del dev a");
    let mut bridge = Bridge::start(&namespace, &pinned.0, 1, false);
    bridge.tell("port b");
    assert_eq!(ports(), 1);
}

/// The datapath in this process takes away what one in the kernel left, its tunnel's device too: packets would go
/// through both.
#[test]
fn the_userspace_datapath_ends_one_that_was_left() {
    if !common::privileged("the_userspace_datapath_ends_one_that_was_left") {
        return;
    }
    let namespace = Namespace::new("br");
    let hosts = ["a", "b"].map(|device| {
        let last = if device == "a" { 1 } else { 2 };
        host(&namespace, device, &format!("10.0.0.{last}/24"))
    });
    let pinned = Pinned::new();
    let mut bridge = Bridge::start(&namespace, &pinned.0, 1, false);
    bridge.tell("tunnel tun");
    bridge.fill();
    bridge.kill();
    assert!(pings(&hosts[0], "10.0.0.2"));
    namespace.must("ip link show dev tun");
    let _userspace = namespace.enter(|| DatapathChoice::Userspace.start(&pinned.0)).unwrap();
    assert!(!pinned.0.exists());
    assert!(!pings(&hosts[0], "10.0.0.2"), "the one before still forwards");
    assert!(namespace.run("ip link show dev tun").is_err(), "the tunnel's device stays");
}
