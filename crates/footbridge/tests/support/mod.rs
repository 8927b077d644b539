//! Running labs in tests, and pictures of the host.

#![allow(clippy::unwrap_used, reason = "a test that can't look has failed")]

use nix::unistd::geteuid;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Why labs can't run here, if they can't.
pub(crate) fn lacking() -> Option<String> {
    if !geteuid().is_root() {
        return Some("needs root".into());
    }
    let check = Command::new(env!("CARGO_BIN_EXE_footbridge")).arg("check").output().unwrap();
    (!check.status.success()).then(|| format!("footbridge check says:\n{}", text(&check.stdout)))
}

/// Why labs with Open vSwitch can't run here, if they can't.
pub(crate) fn lacking_open_vswitch() -> Option<String> {
    lacking().or_else(|| {
        let check =
            Command::new(env!("CARGO_BIN_EXE_footbridge")).args(["check", "--json"]).output().unwrap();
        let rows: serde_json::Value = serde_json::from_slice(&check.stdout).unwrap();
        let rows = rows.as_array().unwrap();
        let row = rows.iter().find(|row| row["what"].as_str().unwrap().starts_with("Open vSwitch")).unwrap();
        (row["has"] != true).then(|| row["note"].to_string())
    })
}

/// A lab with a name of its own; taken down when dropped.
pub(crate) struct Lab {
    name: String,
}

impl Lab {
    pub(crate) fn new(test: &str) -> Lab {
        // Short, and different for each test and process.
        let sum = test.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        Lab { name: format!("t{}-{:04x}", std::process::id(), sum & 0xffff) }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_footbridge"));
        command.args(["lab", "--name", &self.name]).args(arguments);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Run what has to succeed; what it printed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "lab {arguments:?}: {}\n{stdout}\n{stderr}", output.status);
        stdout
    }

    /// Its name.
    #[allow(dead_code, reason = "not every test file that has this one asks")]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What `footbridge walk` tells of a packet across the lab's nodes.
    pub(crate) fn story(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_footbridge"));
        let output = command.args(["walk", "--lab", &self.name]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// The pid that the lab recorded for a node's agent.
    pub(crate) fn recorded_pid(&self, node: &str) -> i32 {
        let record = fs::read_to_string(format!("/run/footbridge/{}/lab.json", self.name)).unwrap();
        let record: serde_json::Value = serde_json::from_str(&record).unwrap();
        record["members"][node]["process"]["pid"].as_i64().unwrap().try_into().unwrap()
    }

    /// The pid that the lab recorded for a node's ovs-vswitchd.
    pub(crate) fn recorded_switch(&self, node: &str) -> i32 {
        let record = fs::read_to_string(format!("/run/footbridge/{}/lab.json", self.name)).unwrap();
        let record: serde_json::Value = serde_json::from_str(&record).unwrap();
        record["members"][node]["daemons"][1]["pid"].as_i64().unwrap().try_into().unwrap()
    }

    /// Where the lab's agents keep what outlives them.
    pub(crate) fn state_dir(&self) -> PathBuf {
        Path::new("/var/lib/footbridge").join(&self.name)
    }

    /// What there still is of the lab: namespaces, directories, mounts, processes.
    pub(crate) fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        let namespaces = format!("fb-{}-", self.name);
        for entry in fs::read_dir("/run/netns").into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(&namespaces) {
                left.push(format!("namespace {name}"));
            }
        }
        for dir in ["/run/footbridge", "/var/lib/footbridge", "/sys/fs/bpf/footbridge"] {
            if fs::exists(format!("{dir}/{}", self.name)).unwrap() {
                left.push(format!("{dir}/{}", self.name));
            }
        }
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        left.extend(
            mounts.lines().filter(|line| line.contains(&self.name)).map(|line| format!("mount {line}")),
        );
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let command = text(&command).replace('\0', " ");
            let ours = entry.file_name().to_string_lossy() == std::process::id().to_string();
            if !ours && (command.contains(&namespaces) || command.contains(&format!("/{}/", self.name))) {
                left.push(format!("process {command}"));
            }
        }
        left
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Already down in tests that got to their end.
        let _down = self.run(&["down"]);
    }
}

/// What of the host a lab could change: devices, addresses, routes, nftables, network sysctls.
pub(crate) fn host() -> Vec<String> {
    let mut picture: Vec<String> = [
        &["ip", "-j", "link"][..],
        &["ip", "-j", "addr"],
        &["ip", "-j", "route", "show", "table", "all"],
        &["nft", "-j", "list", "ruleset"],
    ]
    .iter()
    .map(|words| {
        let printed = text(&Command::new(words[0]).args(&words[1..]).output().unwrap().stdout);
        format!("{words:?}: {}", without_lifetimes(&printed))
    })
    .collect();
    collect_sysctls("/proc/sys/net".as_ref(), &mut picture);
    picture.sort();
    picture
}

/// Without what changes by itself: remaining lifetimes of addresses that DHCP gave.
fn without_lifetimes(json: &str) -> String {
    let Ok(mut value) = serde_json::from_str::<serde_json::Value>(json) else { return json.to_owned() };
    fn strip(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(map) => {
                map.retain(|key, _| !key.contains("life_time") && key != "metainfo");
                map.values_mut().for_each(strip);
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    strip(&mut value);
    value.to_string()
}

fn collect_sysctls(dir: &std::path::Path, into: &mut Vec<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect_sysctls(&path, into);
            continue;
        }
        let name = path.display().to_string();
        // Counters and one-time switches, not settings.
        if ["conntrack_count", "/nf_conntrack_max", "route/flush", "_key", "random"]
            .iter()
            .any(|part| name.contains(part))
        {
            continue;
        }
        if let Ok(value) = fs::read_to_string(&path) {
            into.push(format!("{name} = {}", value.trim()));
        }
    }
}

/// Bytes as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
