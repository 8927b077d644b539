//! `footbridge check`: what this machine has and lacks. Changes nothing, needs no privileges.

use crate::lab::programs;
use clap::Args;
use footbridge_datapath::ebpf::Ebpf;
use footbridge_datapath::{Attachment, Datapath, Link, PortSpec};
use footbridge_openflow::PortNo;
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use serde::Serialize;
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::thread;

/// Say what this machine has and lacks.
///
/// Exit status 0 when the agent and the lab can run here, else 1.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row {
    what: String,
    has: bool,
    /// Whether the agent and the lab can't do without.
    needed: bool,
    note: String,
}

impl Arguments {
    /// Run it.
    pub(crate) fn run(self) -> ExitCode {
        let rows = rows();
        let ready = rows.iter().all(|row| row.has || !row.needed);
        let text = match self.json {
            true => serde_json::to_string_pretty(&rows).unwrap_or_default() + "\n",
            false => rows.iter().map(line).collect(),
        };
        let printed = super::print(&text);
        if ready { printed } else { ExitCode::from(1) }
    }
}

fn line(row: &Row) -> String {
    let state = match (row.has, row.needed) {
        (true, _) => "yes",
        (false, true) => "NO",
        (false, false) => "no",
    };
    format!("{:<38} {state:<4} {}\n", row.what, row.note)
}

fn rows() -> Vec<Row> {
    let mut rows = vec![
        privileges(),
        in_namespace("network namespaces", "unshare", &[], "CONFIG_NET_NS, and root"),
        in_namespace(
            "veth devices",
            "ip",
            &["link", "add", "fb0", "type", "veth", "peer", "name", "fb1"],
            "CONFIG_VETH",
        ),
        in_namespace(
            "bridge devices (the lab's underlay)",
            "ip",
            &["link", "add", "fb0", "type", "bridge"],
            "CONFIG_BRIDGE",
        ),
        in_namespace(
            "nftables with NAT",
            "nft",
            &["add table ip fb; add chain ip fb c { type nat hook prerouting priority -100; }"],
            "CONFIG_NF_TABLES, CONFIG_NFT_NAT",
        ),
        in_namespace(
            "nftables netdev ingress",
            "nft",
            &[
                "add table netdev fb; add chain netdev fb c { type filter hook ingress device lo priority 0; }",
            ],
            "CONFIG_NF_TABLES_NETDEV",
        ),
        packet_socket(),
        udp_port("UDP port 4789 (VXLAN)", 4789),
        udp_port("UDP port 6081 (Geneve)", 6081),
    ];
    for (program, package) in programs::NEEDED {
        let found = programs::find(program);
        rows.push(Row {
            what: format!("program {program}"),
            has: found.is_some(),
            needed: true,
            note: found.map_or(format!("apt-get install {package}"), |path| path.display().to_string()),
        });
    }
    let missing = programs::NEEDED_BY_OPEN_VSWITCH.iter().find(|(name, _)| programs::find(name).is_none());
    rows.push(Row {
        what: "Open vSwitch, with /dev/net/tun".into(),
        has: missing.is_none() && Path::new(programs::TUN).exists(),
        needed: false,
        note: match missing {
            Some((program, package)) => format!("for lab --bridge ovs: {program}, apt-get install {package}"),
            None => format!("for lab --bridge ovs: {}", programs::TUN),
        },
    });
    rows.push(optional(
        in_namespace(
            "flow-based VXLAN device",
            "ip",
            &["link", "add", "fb0", "type", "vxlan", "external", "dstport", "4789"],
            "CONFIG_VXLAN",
        ),
        "for a datapath in the kernel",
    ));
    rows.push(Row {
        what: "BPF type information".into(),
        has: Path::new("/sys/kernel/btf/vmlinux").exists(),
        needed: false,
        note: "for a datapath in the kernel: /sys/kernel/btf/vmlinux".into(),
    });
    rows.push(kernel());
    rows.push(ebpf());
    rows
}

/// Whether a device takes a program of the ebpf datapath: tried on the loopback device of a network
/// namespace that goes with its thread.
fn ebpf() -> Row {
    let tried = thread::spawn(|| -> Result<Link, String> {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| errno.desc().to_owned())?;
        let attachment = Attachment::Device { ifname: "lo".to_owned() };
        let port = PortSpec { number: PortNo(1), name: "lo".to_owned(), attachment };
        let mut datapath = Ebpf::start().map_err(|error| error.to_string())?;
        datapath.add_port(&port).map_err(|error| error.to_string())?;
        let ports = datapath.ports().map_err(|error| error.to_string())?;
        Ok(ports.first().map_or(Link::Absent, |port| port.link))
    })
    .join()
    .unwrap_or_else(|_| Err("the attempt failed".into()));
    let note = match &tried {
        Ok(Link::Up | Link::Down) => "for switch --datapath ebpf".to_owned(),
        Ok(Link::Absent) => "for switch --datapath ebpf: no device takes one".to_owned(),
        Err(why) => format!("for switch --datapath ebpf: {}", why.lines().next().unwrap_or_default()),
    };
    let has = matches!(tried, Ok(Link::Up | Link::Down));
    Row { what: "the ebpf datapath's programs".into(), has, needed: false, note }
}

fn optional(row: Row, note: &str) -> Row {
    Row { needed: false, note: format!("{note}: {}", row.note), ..row }
}

/// The capabilities that an agent has to have at least (capabilities(7)): to change devices, routes and nftables,
/// and to read and write frames.
pub(crate) const AGENT_NEEDS: &[Capability] = &[("CAP_NET_ADMIN", 12), ("CAP_NET_RAW", 13)];

/// A capability's name, and its bit.
type Capability = (&'static str, u32);

/// Which of these this process lacks.
pub(crate) fn lacking(needed: &[Capability]) -> Vec<&'static str> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or(0);
    needed.iter().filter(|(_, bit)| effective >> bit & 1 == 0).map(|(name, _)| *name).collect()
}

fn privileges() -> Row {
    let needed: &[Capability] = &[("CAP_NET_ADMIN", 12), ("CAP_SYS_ADMIN", 21)];
    let has = lacking(needed).is_empty();
    Row {
        what: "CAP_NET_ADMIN and CAP_SYS_ADMIN".into(),
        has,
        needed: true,
        note: if has { "" } else { "run as root" }.into(),
    }
}

/// Whether a command works in a network namespace of its own, which goes with its thread.
/// The program `unshare` stands for making the namespace alone.
fn in_namespace(what: &str, program: &'static str, arguments: &'static [&'static str], option: &str) -> Row {
    let tried = thread::spawn(move || -> Result<(), String> {
        unshare(CloneFlags::CLONE_NEWNET).map_err(|errno| errno.desc().to_owned())?;
        if program == "unshare" {
            return Ok(());
        }
        let path = programs::find(program).ok_or(format!("cannot try: no program {program}"))?;
        let output = Command::new(path).args(arguments).output().map_err(|e| e.to_string())?;
        match output.status.success() {
            true => Ok(()),
            false => {
                Err(String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned())
            }
        }
    })
    .join()
    .unwrap_or_else(|_| Err("the attempt failed".into()));
    let note = tried.as_ref().err().map_or(String::new(), |why| format!("{why} ({option})"));
    Row { what: what.into(), has: tried.is_ok(), needed: true, note }
}

fn packet_socket() -> Row {
    let tried = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None);
    let note = tried
        .as_ref()
        .err()
        .map_or(String::new(), |errno| format!("{} (CONFIG_PACKET, and CAP_NET_RAW)", errno.desc()));
    Row { what: "packet sockets".into(), has: tried.is_ok(), needed: true, note }
}

/// Whether an agent could listen here, outside namespaces. The lab has namespaces of its own.
fn udp_port(what: &str, port: u16) -> Row {
    let tried = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port));
    let note = match &tried {
        Ok(_) => "free".to_owned(),
        Err(error) => format!("{error}: an agent on this host needs it, a lab does not"),
    };
    Row { what: what.into(), has: tried.is_ok(), needed: false, note }
}

fn kernel() -> Row {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let version: Vec<u32> = release.split(['.', '-']).map_while(|part| part.parse().ok()).collect();
    Row {
        what: format!("kernel {}", release.trim()),
        has: version >= vec![6, 6],
        needed: false,
        note: "tcx for a datapath in the kernel: 6.6 and later; before, classic TC".into(),
    }
}
