//! The CNI project's own runtime, cnitool, with what `footbridge install` puts in place.

use crate::node::{PROGRAM, shell};
use crate::{SUBNET, node};
use std::process::Command;

/// Where scripts/cnitool has built it, or why it has not.
fn cnitool() -> Result<String, String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/cnitool");
    let output = Command::new(script).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

#[test]
fn cnitool_attaches_checks_and_detaches() {
    let Some(node) = node("cnitool", SUBNET, "userspace") else { return };
    let cnitool = match cnitool() {
        Ok(cnitool) => cnitool,
        Err(why) => return println!("skipped: cnitool_attaches_checks_and_detaches: {why}"),
    };
    let (programs, lists) = (node.path("bin"), node.path("net.d"));
    let installed = Command::new(PROGRAM)
        .arg("install")
        .args(["--bin-dir".as_ref(), programs.as_os_str(), "--conf-dir".as_ref(), lists.as_os_str()])
        .args(["--run-dir".as_ref(), node.path("run").as_os_str()])
        .args(["--state-dir".as_ref(), node.path("state").as_os_str()])
        .output()
        .unwrap();
    assert!(installed.status.success(), "{installed:?}");
    let container = node.container();
    let run = |command: &str| {
        shell(&format!(
            "CNI_PATH={} NETCONFPATH={} {cnitool} {command} footbridge {}",
            programs.display(),
            lists.display(),
            container.netns()
        ))
    };
    let result: serde_json::Value = serde_json::from_str(&run("add")).unwrap();
    assert_eq!(result["ips"][0]["address"], "10.222.1.2/24");
    run("check");
    container.run("ping -c 1 -W 2 10.222.1.1");
    run("del");
    assert_eq!(node.files("pods"), [""; 0]);
}
