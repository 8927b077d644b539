//! `footbridge walk` on the article's worker1, against kept texts.
//!
//! A packet and the text that its walk prints are two files in `tests/data/walk`: `NAME.packet` (one
//! line, and further arguments one a line after it) and `NAME.txt`. `UPDATE_GOLDENS=1` writes the
//! texts anew.

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

#[test]
fn walks_print_the_kept_texts() {
    let mut packets = 0;
    for entry in fs::read_dir(data().join("walk")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "packet") {
            continue;
        }
        packets += 1;
        let packet = fs::read_to_string(&path).unwrap();
        let output = walk(&packet.lines().collect::<Vec<_>>());
        assert!(output.status.success(), "{}: {}", path.display(), text(&output.stderr));
        let printed = text(&output.stdout);
        let golden = path.with_extension("txt");
        if std::env::var_os("UPDATE_GOLDENS").is_some() {
            fs::write(&golden, &printed).unwrap();
        }
        assert_eq!(printed, fs::read_to_string(&golden).unwrap(), "{}", golden.display());
    }
    assert!(packets >= 8);
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
