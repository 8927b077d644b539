//! `footbridge walk`: one packet through a dump of flows, offline.

use crate::cli::story::Across;
use crate::cli::{fail, print};
use crate::lab::record::RUN;
use crate::story::{Ends, Flow, Page, Told, World, of_dumps, of_lab, tell};
use crate::walk::pcap::{self, PerPort};
use crate::walk::{self, CtAnswer, Dump, Groups, Markdown, Subject, Svg, TableNames, Walk, input};
use clap::Args;
use footbridge_openflow::PortNames;
use footbridge_openflow::text::parse_ports;
use footbridge_switch::control::Client;
use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Take a packet through a bridge's flows, or across nodes, and say step by step what becomes of it.
///
/// One argument is a packet, and goes through the dump that --flows names, or without it through the bridge that runs
/// here, as it is now. The last line is `output: PORT...` or `drop:
/// REASON (table N)`; or `not known: ...` where the dump does not tell, and then the exit status is 2.
///
/// Two are its ends, as `frontend backendsvc:80`, and it goes from node to node and back: those of a lab as they are now,
/// or those of the dumps that are given for each. `worker1 who-has 10.222.2.1` is an ARP request. Nothing is sent.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The flows, as `ovs-ofctl dump-flows` prints them; of several nodes once for each, as NODE=FILE
    #[arg(long, value_name = "FILE")]
    flows: Vec<String>,
    /// The ports: lines `NUMBER NAME`, or what `ovs-ofctl show` or `dump-ports-desc` prints; of several nodes once for
    /// each, as NODE=FILE
    #[arg(long, value_name = "FILE")]
    ports: Vec<String>,
    /// The tables' names: lines `NUMBER NAME`, or what `ovs-ofctl dump-table-features` prints
    #[arg(long, value_name = "FILE")]
    tables: Option<PathBuf>,
    /// The groups, as `ovs-ofctl dump-groups` prints them
    #[arg(long, value_name = "FILE")]
    groups: Option<PathBuf>,
    /// Which bucket of a group the packet gets; of one that selects, without it: the first
    #[arg(long = "bucket", value_name = "GROUP=BUCKET", value_parser = pair)]
    buckets: Vec<(u32, u32)>,
    /// What ct(table=) finds, once for each in order: `new,trk`, `est,rpl,mark=0x20`; with nat perhaps also
    /// `dst=10.0.0.1:80`, what it makes of the packet. Without it, and after the last: `new,trk`
    #[arg(long = "ct-next", value_name = "STATES")]
    ct_next: Vec<CtAnswer>,
    /// Which port is the tunnel, to which NORMAL never sends
    #[arg(long, value_name = "NAME", default_value = "antrea-tun0")]
    tunnel: String,
    /// Which port is the gateway
    #[arg(long, value_name = "NAME", default_value = "antrea-gw0")]
    gateway: String,
    /// Say of each flow above the one that took the packet why it did not: the first field that differs
    #[arg(long)]
    why_not: bool,
    /// Where the packet comes in, if it does not say so itself
    #[arg(long, value_name = "PORT")]
    in_port: Option<String>,
    /// The packet is a frame in hex, as xxd or tcpdump -xx print it (recognised without this, too)
    #[arg(long, requires = "packet")]
    hex: bool,
    /// Each packet of a capture: pcap or pcapng
    #[arg(long, value_name = "FILE", conflicts_with = "packet")]
    pcap: Option<PathBuf>,
    /// Write what leaves into this directory, one capture a port
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    /// Where the running bridge's sockets are, where no dump is given
    #[arg(long, value_name = "DIR", env = "FOOTBRIDGE_RUN_DIR", default_value = RUN, hide_env_values = true)]
    run_dir: PathBuf,
    /// The running bridge
    #[arg(long, default_value = "br-int")]
    bridge: String,
    #[command(flatten)]
    form: Form,
    /// The packet, as ofproto/trace takes it: in_port=antrea-gw0,tcp,nw_src=10.222.1.1,... or a frame in hex. Or two ends:
    /// a pod (or a node), and a pod or a service with its port: frontend backendsvc:80
    #[arg(required_unless_present = "pcap", num_args = 1..=3)]
    packet: Vec<String>,
    // Its heading is for all that stands behind it.
    #[command(flatten)]
    across: Across,
}

/// How it is printed.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Form {
    /// As JSON
    #[arg(long)]
    json: bool,
    /// As a page in Markdown
    #[arg(long)]
    markdown: bool,
    /// As a picture in SVG: the tables, the way lit, the changes beside it
    #[arg(long)]
    svg: bool,
}

type Failure = Box<dyn Error>;

impl Arguments {
    /// Run it.
    pub(crate) fn run(self) -> ExitCode {
        match self.walk() {
            Ok((text, is_known)) => {
                let printed = print(&text);
                if is_known { printed } else { ExitCode::from(2) }
            }
            Err(error) => fail(&error, 1),
        }
    }

    fn walk(&self) -> Result<(String, bool), Failure> {
        match &self.packet[..] {
            [] | [_] => self.through_one_bridge(),
            [from, to] => self.across_nodes(from, &self.across.ends(to)?),
            [from, word, address] if word == "who-has" => {
                self.across_nodes(from, &(address.clone(), Flow::WhoHas))
            }
            other => Err(format!("expected FROM who-has ADDRESS, found '{}'", other.join(" ")).into()),
        }
    }

    fn across_nodes(&self, from: &str, (to, flow): &(String, Flow)) -> Result<(String, bool), Failure> {
        if self.pcap.is_some()
            || self.write.is_some()
            || self.why_not
            || !self.ct_next.is_empty()
            || self.form.svg
        {
            return Err(
                "--pcap, --write, --why-not, --ct-next and --svg are of a walk through one bridge".into()
            );
        }
        let mut world = match &self.flows[..] {
            [] => of_lab(self.across.lab(), &self.gateway, &self.tunnel)?,
            _ => self.world()?,
        };
        let ends =
            Ends { from: from.to_owned(), to: to.clone(), flow: *flow, endpoint: self.across.endpoint };
        let story = tell(&mut world, &ends)?;
        let text = match (self.form.json, self.form.markdown) {
            (true, _) => serde_json::to_string_pretty(&story)? + "\n",
            (false, true) => Page(&story).to_string(),
            (false, false) => Told { story: &story, in_full: self.across.full }.to_string(),
        };
        Ok((text, story.arrived))
    }

    /// The nodes of the dumps that are given.
    fn world(&self) -> Result<World, Failure> {
        let cluster = self.across.cluster()?;
        let mut bridges = BTreeMap::new();
        for text in &self.flows {
            let (Some(name), file) = named(text) else {
                return Err(format!("--flows {text}: of several nodes each is NODE=FILE").into());
            };
            let of_node = |files: &[String]| -> Result<Option<String>, String> {
                let file = files.iter().map(|text| named(text)).find(|(of, _)| *of == Some(name));
                file.map(|(_, file)| read(file)).transpose()
            };
            let ports = self.ports.iter().map(|text| named(text)).find(|(of, _)| *of == Some(name));
            let bridge = self.read_bridge(file, ports.map(|(_, file)| file))?;
            bridges.insert(name.to_owned(), (bridge, self.across.files(of_node)?));
        }
        Ok(of_dumps(bridges, &self.gateway, &self.tunnel, cluster.as_ref())?)
    }

    fn through_one_bridge(&self) -> Result<(String, bool), Failure> {
        let bridge = match &self.flows[..] {
            [] => self.running()?,
            [flows] => {
                let ports = self.ports.first().map(|text| named(text).1);
                self.read_bridge(named(flows).1, ports)?
            }
            _ => return Err("a packet goes through one bridge: give one --flows".into()),
        };
        let mut written = self.write.as_deref().map(PerPort::into).transpose()?;
        let mut walks = Vec::new();
        for (number, time, subject) in self.subjects(bridge.names())? {
            let (walk, verdict) = bridge.walk_subject(&subject, &self.ct_next, self.why_not);
            if let Some(written) = written.as_mut().filter(|_| walk.stopped.is_none()) {
                written.add(&verdict, time, bridge.names())?;
            }
            walks.push((number, walk));
        }
        let is_known = walks.iter().all(|(_, walk)| walk.stopped.is_none());
        Ok((self.form.print(&walks)?, is_known))
    }

    fn read_bridge(&self, flows: &Path, ports: Option<&Path>) -> Result<walk::Bridge, Failure> {
        let names = match ports {
            Some(path) => parse_ports(&read(path)?).map_err(|e| e.in_file(&path.display().to_string()))?,
            None => PortNames::none(),
        };
        let in_file = |path: &Path, error: &dyn Error| format!("{}: {error}", path.display());
        let tables = match &self.tables {
            Some(path) => Some(TableNames::parse(&read(path)?).map_err(|error| in_file(path, &error))?),
            None => None,
        };
        let groups = match &self.groups {
            Some(path) => {
                let text = read(path)?;
                let text = tables
                    .clone()
                    .unwrap_or_default()
                    .numbered_text(&text)
                    .map_err(|error| in_file(path, &error))?;
                Groups::parse(&text, &names).map_err(|error| in_file(path, &error))?
            }
            None => Groups::default(),
        };
        let dump = Dump {
            flows: &read(flows)?,
            file: &flows.display().to_string(),
            tunnel: &self.tunnel,
            gateway: &self.gateway,
            tables: tables.as_ref(),
            groups: &groups,
            buckets: &self.buckets.iter().copied().collect::<BTreeMap<_, _>>(),
        };
        Ok(walk::Bridge::read_partly(&dump, names)?)
    }

    /// The bridge that runs here.
    fn running(&self) -> Result<walk::Bridge, Failure> {
        if !self.ports.is_empty() || self.tables.is_some() || self.groups.is_some() {
            return Err("--ports, --tables and --groups go with --flows: a running bridge has its own".into());
        }
        let mut client = Client::connect(&self.run_dir.join(format!("{}.ctl", self.bridge)))?;
        Ok(walk::Bridge::running(&mut client, &self.bridge, &self.gateway, &self.tunnel)?)
    }

    /// The packets: of a capture each has a number.
    fn subjects(&self, names: &PortNames) -> Result<Vec<(Option<usize>, Duration, Subject)>, Failure> {
        let in_port = self.in_port.as_ref().map(|port| input::port(port, names)).transpose()?;
        match (&self.pcap, &self.packet) {
            (Some(path), _) => Ok(pcap::read(path, in_port, names)?
                .into_iter()
                .map(|captured| {
                    (Some(captured.number), captured.time, Subject::Frame(Box::new(captured.packet)))
                })
                .collect()),
            (None, packet) => {
                let text = packet.first().map(String::as_str).unwrap_or_default();
                Ok(vec![(None, Duration::ZERO, input::subject(text, self.hex, in_port, names)?)])
            }
        }
    }
}

impl Form {
    fn print(&self, walks: &[(Option<usize>, Walk)]) -> Result<String, Failure> {
        let each = |one: &dyn Fn(&Walk) -> String| -> String {
            let parts = walks.iter().map(|(number, walk)| match number {
                Some(number) => {
                    let heading =
                        walk::Style::Heading.paint(format_args!("packet {number}: {}", walk.packet));
                    format!("{heading}\n{}", one(walk))
                }
                None => one(walk),
            });
            parts.collect::<Vec<_>>().join("\n")
        };
        if self.json {
            return Ok(match walks {
                [(None, walk)] => serde_json::to_string_pretty(walk)?,
                walks => {
                    serde_json::to_string_pretty(&walks.iter().map(|(_, walk)| walk).collect::<Vec<_>>())?
                }
            } + "\n");
        }
        if self.svg {
            let [(_, walk)] = walks else {
                return Err(format!("--svg is a picture of one packet, and there are {}", walks.len()).into());
            };
            return Ok(Svg(walk).to_string());
        }
        Ok(match self.markdown {
            true => walks.iter().map(|(_, walk)| Markdown(walk).to_string()).collect::<Vec<_>>().join("\n"),
            false => each(&|walk| walk.to_string()),
        })
    }
}

/// `GROUP=BUCKET`
fn pair(text: &str) -> Result<(u32, u32), String> {
    let numbers = text.split_once('=').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    numbers.ok_or_else(|| format!("'{text}': expected GROUP=BUCKET, two numbers"))
}

/// `NODE=FILE`, or a file alone.
pub(super) fn named(text: &str) -> (Option<&str>, &Path) {
    match text.split_once('=') {
        Some((name, file)) if !name.contains('/') => (Some(name), Path::new(file)),
        _ => (None, Path::new(text)),
    }
}

pub(super) fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
}
