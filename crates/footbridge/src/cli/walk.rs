//! `footbridge walk`: one packet through a dump of flows, offline.

use crate::cli::{fail, print};
use crate::walk::{self, CtAnswer};
use clap::Args;
use footbridge_openflow::PortNames;
use footbridge_openflow::text::{parse_packet, parse_ports};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Take one packet through a dump of flows, and say step by step what becomes of it.
///
/// The last line is `output: PORT...` or `drop: REASON (table N)`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The flows, as `ovs-ofctl dump-flows` prints them
    #[arg(long, value_name = "FILE")]
    flows: PathBuf,
    /// The ports: lines `NUMBER NAME`, or what `ovs-ofctl show` or `dump-ports-desc` prints
    #[arg(long, value_name = "FILE")]
    ports: Option<PathBuf>,
    /// What ct(table=) finds, once for each in order: `new,trk`, `est,rpl,mark=0x20`. Without it, and
    /// after the last: `new,trk`
    #[arg(long = "ct-next", value_name = "STATES")]
    ct_next: Vec<CtAnswer>,
    /// Which port is the tunnel, to which NORMAL never sends
    #[arg(long, value_name = "NAME", default_value = "antrea-tun0")]
    tunnel: String,
    /// As JSON
    #[arg(long)]
    json: bool,
    /// The packet, as ofproto/trace takes it: in_port=antrea-gw0,tcp,nw_src=10.222.1.1,...
    flow: String,
}

impl Arguments {
    /// Run it.
    pub(crate) fn run(self) -> ExitCode {
        match self.walk() {
            Ok(text) => print(&text),
            Err(error) => fail(&error, 1),
        }
    }

    fn walk(&self) -> Result<String, Box<dyn Error>> {
        let names = match &self.ports {
            Some(path) => parse_ports(&read(path)?).map_err(|e| e.in_file(&path.display().to_string()))?,
            None => PortNames::none(),
        };
        let bridge =
            walk::Bridge::read(&read(&self.flows)?, &self.flows.display().to_string(), names, &self.tunnel)?;
        let key = parse_packet(&self.flow, bridge.names()).map_err(|e| format!("the packet: {e}"))?;
        let walk = bridge.walk(&key, &self.ct_next);
        match self.json {
            true => Ok(serde_json::to_string_pretty(&walk)? + "\n"),
            false => Ok(walk.to_string()),
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
}
