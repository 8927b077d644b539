//! The programs of others that the lab runs, and running them.

use super::LabError;
use super::record::BridgeKind;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::process::Command;

/// Every program that the lab needs, with its Debian package.
pub(crate) const NEEDED: [(&str, &str); 4] =
    [("nft", "nftables"), ("ip", "iproute2"), ("tcpdump", "tcpdump"), ("curl", "curl")];

/// What a lab with Open vSwitch needs besides.
pub(crate) const NEEDED_BY_OPEN_VSWITCH: [(&str, &str); 6] = [
    ("ovs-vswitchd", "openvswitch-switch"),
    ("ovsdb-server", "openvswitch-switch"),
    ("ovsdb-tool", "openvswitch-switch"),
    ("ovs-vsctl", "openvswitch-switch"),
    ("ovs-ofctl", "openvswitch-switch"),
    ("ovs-appctl", "openvswitch-switch"),
];

/// By which Open vSwitch makes devices.
pub(crate) const TUN: &str = "/dev/net/tun";

/// How long a program may take that should take a moment.
const PATIENCE: Duration = Duration::from_secs(20);

/// Refuse when something is missing that a lab with such bridges needs.
pub(crate) fn require(bridge: BridgeKind) -> Result<(), LabError> {
    let of_bridge = match bridge {
        BridgeKind::Footbridge => &[][..],
        BridgeKind::OpenVswitch => &NEEDED_BY_OPEN_VSWITCH,
    };
    match NEEDED.iter().chain(of_bridge).find(|(program, _)| find(program).is_none()) {
        Some((program, package)) => Err(LabError::MissingProgram { program, package }),
        None if bridge == BridgeKind::OpenVswitch && !Path::new(TUN).exists() => Err(LabError::NoTun),
        None => Ok(()),
    }
}

/// Where PATH, or the usual places of system programs, have it.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// Run to the end and take what it printed. Any exit status but 0 is an error.
pub(crate) async fn output(mut command: Command) -> Result<String, LabError> {
    let shown = shown(&command);
    let output = match tokio::time::timeout(PATIENCE, command.output()).await {
        Ok(output) => output.map_err(|e| LabError::io(format!("run {shown}"), e))?,
        Err(_) => return Err(LabError::TooSlow { command: shown, seconds: PATIENCE.as_secs() }),
    };
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(LabError::Command { command: shown, status: output.status, stderr })
    }
}

/// The command as a user would type it: what follows `exec NAME --`.
fn shown(command: &Command) -> String {
    let command = command.as_std();
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    match words.iter().position(|word| word == "--") {
        Some(at) => words[at + 1..].join(" "),
        None => words.join(" "),
    }
}
