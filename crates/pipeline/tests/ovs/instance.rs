//! A running Open vSwitch with its dummy datapath: no devices, no privileges, a directory of its own.
//!
//! Its datapath keeps no flows (`flow-limit=0`), so that each packet is translated anew and nothing
//! hangs on when the revalidator threads run. What its ports send, it writes to pcap files.

use crate::control::Control;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The ports that packets come in on and leave by: p1 to p5.
pub(crate) const PORTS: std::ops::RangeInclusive<u32> = 1..=5;
/// Tunnel ports, in bridges that have them: VXLAN and Geneve, everything from the flow.
pub(crate) const VXLAN: u32 = 7;
pub(crate) const GENEVE: u32 = 8;
/// The bridge's own port, which ours do not have.
pub(crate) const LOCAL: u32 = 65534;

const SCHEMA: &str = "/usr/share/openvswitch/vswitch.ovsschema";
/// Antrea's mapping of a Geneve option to a field.
const TLV_MAP: &str = "{class=0x104,type=0x80,len=4}->tun_metadata0";

/// A bridge; its processes end when it is dropped.
pub(crate) struct Ovs {
    dir: tempfile::TempDir,
    children: Vec<Child>,
    control: Vec<Control>,
    captures: Vec<Capture>,
    /// OpenFlow's number of each of the datapath's ports.
    numbers: BTreeMap<u32, u32>,
}

/// The file of what a port sends, and what is left of it to read.
struct Capture {
    port: u32,
    file: File,
    unread: Vec<u8>,
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
    /// Start one, with tunnel ports or without.
    ///
    /// # Errors
    ///
    /// Why there can be none on this machine.
    pub(crate) fn start(tunnels: bool) -> Result<Ovs, String> {
        if !Path::new(SCHEMA).exists() {
            return Err("Open vSwitch is not installed".into());
        }
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let mut ovs = Ovs {
            dir,
            children: Vec::new(),
            control: Vec::new(),
            captures: Vec::new(),
            numbers: BTreeMap::new(),
        };
        ovs.start_daemons()?;
        ovs.add_bridge(tunnels)?;
        // Two connections: see `barrier`.
        for _ in 0..2 {
            let mut control = Control::connect(&ovs.path("vs.ctl"))?;
            control.call("version", &[])?;
            ovs.control.push(control);
        }
        ovs.configure(tunnels)?;
        Ok(ovs)
    }

    fn start_daemons(&mut self) -> Result<(), String> {
        let (database, socket) = (self.name("conf.db"), self.name("db.sock"));
        self.run("ovsdb-tool", &["create", &database, SCHEMA])?;
        let control = format!("--unixctl={}", self.name("db.ctl"));
        self.spawn("ovsdb-server", &[&database, &format!("--remote=punix:{socket}"), &control])?;
        self.wait_for("db.sock")?;
        self.vsctl(&["--no-wait", "init", "--", "set", "Open_vSwitch", ".", "other_config:flow-limit=0"])?;
        let control = format!("--unixctl={}", self.name("vs.ctl"));
        let database = format!("unix:{socket}");
        self.spawn("ovs-vswitchd", &[&database, "--enable-dummy", "--disable-system", &control])?;
        self.wait_for("vs.ctl")
    }

    fn add_bridge(&mut self, tunnels: bool) -> Result<(), String> {
        let mut words: Vec<String> = Vec::new();
        let mut add = |text: String| words.extend(text.split(' ').map(str::to_owned));
        add("add-br br0 -- set bridge br0 datapath-type=dummy fail-mode=secure".into());
        add("protocols=[OpenFlow10,OpenFlow13,OpenFlow15]".into());
        for port in PORTS {
            let capture = self.name(&format!("p{port}.pcap"));
            add(format!("-- add-port br0 p{port} -- set interface p{port} type=dummy"));
            add(format!("ofport_request={port} options:tx_pcap={capture}"));
        }
        for (port, kind) in [(VXLAN, "vxlan"), (GENEVE, "geneve")] {
            if tunnels {
                add(format!("-- add-port br0 t{port} -- set interface t{port} type={kind}"));
                add(format!("ofport_request={port} options:key=flow"));
                add("options:remote_ip=flow options:local_ip=flow".into());
            }
        }
        self.vsctl(&words.iter().map(String::as_str).collect::<Vec<_>>())?;
        for port in PORTS {
            let path = self.path(&format!("p{port}.pcap"));
            let mut file = File::open(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            let mut header = [0; 24];
            file.read_exact(&mut header).map_err(|e| format!("{}: {e}", path.display()))?;
            self.captures.push(Capture { port, file, unread: Vec::new() });
        }
        Ok(())
    }

    fn configure(&mut self, tunnels: bool) -> Result<(), String> {
        self.call("vlog/set", &["any:any:off"])?;
        // Later fragments alone have no ports, as with us: a choice of the bridge.
        self.run("ovs-ofctl", &["set-frags", "br0", "nx-match"])?;
        // Our tracker does not follow TCP's windows: a choice of the datapath.
        self.call("dpctl/ct-disable-tcp-seq-chk", &[])?;
        if tunnels {
            // Tunnel headers stay actions of the datapath; there is no underlay to send them over.
            self.call("dpif/set-dp-features", &["br0", "tnl_push_pop", "false"])?;
            self.run("ovs-ofctl", &["add-tlv-map", "br0", TLV_MAP])?;
        }
        let shown = self.call("dpif/show", &[])?;
        self.numbers = shown.lines().filter_map(port_numbers).collect();
        Ok(())
    }

    /// Put one packet in at a port; what the ports send until it is done with, port by port.
    pub(crate) fn receive(&mut self, port: u32, frame: &[u8]) -> Result<Vec<(u32, Vec<u8>)>, String> {
        self.control[1].call("netdev-dummy/receive", &[&format!("p{port}"), &hex(frame)])?;
        self.barrier()?;
        self.sent()
    }

    /// Wait until a packet put in before is done with.
    ///
    /// The main loop runs the bridge, then the control connections in the order they were made; so
    /// when the second has had an answer, the first gets one only after the bridge has run again.
    fn barrier(&mut self) -> Result<(), String> {
        self.control[0].call("version", &[]).map(drop)
    }

    fn sent(&mut self) -> Result<Vec<(u32, Vec<u8>)>, String> {
        let mut sent = Vec::new();
        for capture in &mut self.captures {
            capture.file.read_to_end(&mut capture.unread).map_err(|e| format!("a capture: {e}"))?;
            let frames = frames(&mut capture.unread);
            sent.extend(frames.into_iter().map(|frame| (capture.port, frame)));
        }
        Ok(sent)
    }

    /// A command of `ovs-appctl`.
    pub(crate) fn call(&mut self, command: &str, arguments: &[&str]) -> Result<String, String> {
        self.control[1].call(command, arguments)
    }

    /// What `ofproto/trace` prints for a packet given by fields, or by fields and bytes: the latter
    /// makes NORMAL learn.
    pub(crate) fn trace(&mut self, fields: &str, frame: Option<&[u8]>) -> Result<String, String> {
        match frame.map(hex) {
            Some(frame) => self.call("ofproto/trace", &["br0", fields, &frame]),
            None => self.call("ofproto/trace", &["br0", fields]),
        }
    }

    /// OpenFlow's number of one of the datapath's ports.
    pub(crate) fn port(&self, datapath: u32) -> Option<u32> {
        self.numbers.get(&datapath).copied()
    }

    /// Forget what was learned, tracked and sent: a trace with bytes sends what stands within
    /// check_pkt_len.
    pub(crate) fn forget(&mut self) -> Result<(), String> {
        self.call("fdb/flush", &["br0"])?;
        self.call("dpctl/flush-conntrack", &[])?;
        self.barrier()?;
        self.sent().map(drop)
    }

    /// `ovs-ofctl COMMAND… br0 -` with `input`.
    pub(crate) fn ofctl(&self, version: &str, command: &str, input: &str) -> Result<(), String> {
        let mut child = self
            .command("ovs-ofctl")
            .args(["-O", version, command, "br0", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("ovs-ofctl: {e}"))?;
        if let Some(mut stdin) = child.stdin.take() {
            // It ends early at what it can't read, and says why.
            let _ = stdin.write_all(input.as_bytes());
        }
        let output = child.wait_with_output().map_err(|e| format!("ovs-ofctl: {e}"))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // What the switch refuses is printed, and is no failure to ovs-ofctl.
        if output.status.success() && !said.contains("OFPT_ERROR") { Ok(()) } else { Err(said) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn name(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for variable in ["OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR"] {
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
        let database = format!("--db=unix:{}", self.name("db.sock"));
        self.run("ovs-vsctl", &[&[database.as_str()], arguments].concat())
    }

    fn spawn(&mut self, program: &str, arguments: &[&str]) -> Result<(), String> {
        let mut command = self.command(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.children.push(command.spawn().map_err(|e| format!("{program}: {e}"))?);
        Ok(())
    }

    fn wait_for(&self, name: &str) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.path(name).exists() {
            if Instant::now() > deadline {
                return Err(format!("{name} did not appear"));
            }
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// A line of `dpif/show`: `p1 1/2: (dummy)`. The datapath's number and OpenFlow's.
fn port_numbers(line: &str) -> Option<(u32, u32)> {
    let (openflow, datapath) = line.split_whitespace().nth(1)?.strip_suffix(':')?.split_once('/')?;
    Some((datapath.parse().ok()?, openflow.parse().ok()?))
}

/// Take the whole frames out of what was read of a pcap file behind its header.
fn frames(unread: &mut Vec<u8>) -> Vec<Vec<u8>> {
    let (mut rest, mut frames) = (&unread[..], Vec::new());
    while let Some(header) = rest.first_chunk::<16>() {
        let len = u32::from_ne_bytes([header[8], header[9], header[10], header[11]]) as usize;
        let Some(frame) = rest.get(16..16 + len) else { break };
        frames.push(frame.to_vec());
        rest = &rest[16 + len..];
    }
    *unread = rest.to_vec();
    frames
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
