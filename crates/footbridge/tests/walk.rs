//! `footbridge walk` on the article's worker1, against kept texts.
//!
//! A packet and the text that its walk prints are two files in `tests/data/walk`: `NAME.packet` (one
//! line, and further arguments one a line after it) and `NAME.txt`; those in `tests/data/antrea` are of a dump with
//! the tables, groups, `learn` and `ct(nat)` of a later Antrea. `UPDATE_GOLDENS=1` writes the texts anew.

#![allow(clippy::unwrap_used, reason = "a test that can't look has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

fn footbridge(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_footbridge")).current_dir(data()).args(arguments).output().unwrap()
}

fn walk(arguments: &[&str]) -> Output {
    let files = ["walk", "--flows", "worker1.flows", "--ports", "worker1.ports"];
    footbridge(&[&files, arguments].concat())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Walk each packet of a directory, and hold what is printed against the text beside it.
fn hold_against_texts(directory: &str, files: &[&str], at_least: usize) {
    let mut packets = 0;
    for entry in fs::read_dir(data().join(directory)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "packet") {
            continue;
        }
        packets += 1;
        let packet = fs::read_to_string(&path).unwrap();
        let arguments: Vec<&str> = packet.lines().collect();
        let output = footbridge(&[&["walk"], files, &arguments].concat());
        let printed = text(&output.stdout);
        let is_known = !printed.lines().last().is_some_and(|line| line.starts_with("not known: "));
        assert_eq!(output.status.success(), is_known, "{}: {}", path.display(), text(&output.stderr));
        let golden = path.with_extension("txt");
        if std::env::var_os("UPDATE_GOLDENS").is_some() {
            fs::write(&golden, &printed).unwrap();
        }
        assert_eq!(printed, fs::read_to_string(&golden).unwrap(), "{}", golden.display());
    }
    assert!(packets >= at_least, "{packets} packets in {directory}");
}

#[test]
fn walks_print_the_kept_texts() {
    hold_against_texts("walk", &["--flows", "worker1.flows", "--ports", "worker1.ports"], 16);
}

#[test]
fn a_later_antreas_dump_is_walked_as_far_as_it_tells() {
    let files =
        ["--flows", "antrea/flows.txt", "--ports", "antrea/ports.txt", "--tables", "antrea/tables.txt"];
    hold_against_texts("antrea", &files, 5);
}

#[test]
fn the_last_line_is_the_verdict() {
    let last = |arguments: &[&str]| text(&walk(arguments).stdout).lines().last().map(str::to_owned);
    let arp =
        "in_port=antrea-gw0,arp,arp_op=1,arp_spa=10.222.1.1,arp_sha=4e:99:08:c1:53:be,arp_tpa=10.222.2.1";
    assert_eq!(last(&[arp]).as_deref(), Some("output: antrea-gw0"));
    let spoofed = "in_port=frontend-a3ba2f,ip,dl_src=be:2c:bf:e4:ec:c5,nw_src=10.222.1.47";
    assert_eq!(last(&[spoofed]).as_deref(), Some("drop: flow_drop (table 10)"));
    // Without dl_src and dl_dst both are 0, and NORMAL must not find what it learned this moment.
    let question = "in_port=frontend-a3ba2f,arp,arp_op=1,arp_spa=10.222.1.48,arp_sha=be:2c:bf:e4:ec:c5,arp_tpa=10.222.1.47";
    let flooded = "output: antrea-gw0 coredns--3e3abf antrea-o-830766 backend1-bab86f";
    assert_eq!(last(&[question]).as_deref(), Some(flooded));
}

#[test]
fn json_holds_the_same_walk() {
    let output = walk(&["--json", "in_port=antrea-tun0,arp"]);
    let walk: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(walk["drop"]["reason"], "no_flow");
    assert_eq!(walk["drop"]["table"], 30);
    assert_eq!(walk["outputs"], serde_json::json!([]));
}

#[test]
fn a_flow_with_a_mistake_is_refused_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let flows = dir.path().join("bad.flows");
    fs::write(
        &flows,
        " table=10, priority=200,ip actions=resubmit(,30)\n table=10, priority=200,ipp actions=drop\n",
    )
    .unwrap();
    let output = footbridge(&["walk", "--flows", flows.to_str().unwrap(), "in_port=1"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr).replace(flows.to_str().unwrap(), "bad.flows");
    assert_eq!(
        said,
        "footbridge: bad.flows:2:25: expected a protocol, a field or actions=, found 'ipp'; did you mean 'ip'?\n"
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let output = footbridge(&["walk", "--flows", "no-such.flows", "in_port=1"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        "footbridge: cannot read no-such.flows: No such file or directory (os error 2)\n"
    );
}

#[test]
fn a_packet_with_a_mistake_is_refused_with_its_place() {
    let output = walk(&["in_port=antrea-gw0,tcp,nw_src=10.222.1"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).starts_with("footbridge: the packet: column 31: "),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn ct_next_says_what_it_takes() {
    let output = walk(&["--ct-next", "established", "in_port=antrea-gw0"]);
    assert_eq!(output.status.code(), Some(2));
    let expected = "'established': expected trk, new, est, rel, rpl, inv or mark=NUMBER";
    assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
}

#[test]
fn a_frame_in_hex_is_walked_as_the_packet_it_is() {
    let frame = "ffffffffffff4e9908c153be08060001080006040001\
                 4e9908c153be0ade0101000000000000 0ade0201";
    let by_text = "in_port=antrea-gw0,arp,dl_src=4e:99:08:c1:53:be,dl_dst=ff:ff:ff:ff:ff:ff,arp_op=1,\
                   arp_spa=10.222.1.1,arp_sha=4e:99:08:c1:53:be,arp_tpa=10.222.2.1";
    let (hex, same) = (walk(&["--in-port", "antrea-gw0", frame]), walk(&[by_text]));
    assert_eq!(text(&hex.stdout), text(&same.stdout));
    assert!(text(&hex.stdout).ends_with("output: antrea-gw0\n"));
    let nowhere = walk(&[frame]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert_eq!(text(&nowhere.stderr), "footbridge: a frame does not say where it came in: give --in-port\n");
}

#[test]
fn each_packet_of_a_capture_is_walked_and_what_leaves_is_captured_by_port() {
    let dir = tempfile::tempdir().unwrap();
    let (capture, out) = (dir.path().join("in.pcap"), dir.path().join("out"));
    let request = hex("ffffffffffff4e9908c153be080600010800060400014e9908c153be0ade01010000000000000ade0201");
    let spoofed = hex("ffffffffffff4e9908c153be080600010800060400014e9908c153be0ade01070000000000000ade0201");
    let mut writer = pcap_file::pcap::PcapWriter::new(fs::File::create(&capture).unwrap()).unwrap();
    for frame in [&request, &spoofed] {
        let time = std::time::Duration::from_secs(7);
        writer.write_packet(&pcap_file::pcap::PcapPacket::new(time, frame.len() as u32, frame)).unwrap();
    }
    drop(writer);
    let (from, to) = (capture.to_str().unwrap(), out.to_str().unwrap());
    let output = walk(&["--pcap", from, "--in-port", "antrea-gw0", "--write", to]);
    let printed = text(&output.stdout);
    let ends: Vec<&str> =
        printed.lines().filter(|l| l.starts_with("output: ") || l.starts_with("drop: ")).collect();
    assert_eq!(ends, ["output: antrea-gw0", "drop: flow_drop (table 10)"], "{}", text(&output.stderr));
    let written = fs::read(out.join("antrea-gw0.pcap")).unwrap();
    let mut reader = pcap_file::pcap::PcapReader::new(&written[..]).unwrap();
    let reply = reader.next_packet().unwrap().unwrap().data.into_owned();
    let answer = "4e9908c153beaabbccddeeff08060001080006040002aabbccddeeff0ade02014e9908c153be0ade0101";
    assert_eq!(reply, hex(answer));
    assert!(reader.next_packet().is_none());
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
}

fn hex(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn colours_are_for_a_terminal_and_no_color_takes_them_away() {
    let arguments = ["--flows", "worker1.flows", "--ports", "worker1.ports", "in_port=antrea-tun0,arp"];
    let coloured = |variable: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_footbridge"));
        command.current_dir(data()).arg("walk").args(arguments).env_remove("NO_COLOR").env(variable, "1");
        text(&command.output().unwrap().stdout).contains('\u{1b}')
    };
    assert!(coloured("CLICOLOR_FORCE"));
    assert!(!coloured("NO_COLOR"));
    assert!(!coloured("ANYTHING"));
}

#[test]
fn a_flood_names_the_bridges_own_port_local_and_a_changed_udp_port_is_called_so() {
    let dir = tempfile::tempdir().unwrap();
    let (flows, ports) = (dir.path().join("f"), dir.path().join("p"));
    fs::write(&flows, " udp actions=mod_tp_dst:53,FLOOD\n").unwrap();
    fs::write(&ports, " 1(eth1): addr:00:00:00:00:00:01\n 2(eth2): addr:00:00:00:00:00:02\n LOCAL(br0): addr:00:00:00:00:00:03\n").unwrap();
    let files = ["--flows", flows.to_str().unwrap(), "--ports", ports.to_str().unwrap()];
    let printed =
        text(&footbridge(&[&["walk"], &files[..], &["in_port=eth1,udp,tp_dst=5353"]].concat()).stdout);
    assert!(printed.contains("      udp_dst: 5353 -> 53\n"), "{printed}");
    assert!(printed.ends_with("output: eth2 LOCAL\n"), "{printed}");
}

#[test]
fn svg_is_one_picture_of_one_packet() {
    let printed = text(&walk(&["--svg", "in_port=antrea-tun0,arp"]).stdout);
    assert!(printed.starts_with("<svg ") && printed.trim_end().ends_with("</svg>"));
    // Every table has its box, and those on the way are lit.
    assert_eq!(printed.matches("class=\"table\"").count(), 12);
    assert_eq!(printed.matches("class=\"lit\"").count(), 1);
    assert_eq!(printed.matches("class=\"lost\"").count(), 2);
}
