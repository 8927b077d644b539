//! Flows of the ARP responder, added by `ovs-ofctl add-flows`, one by one and in one bundle.
//!
//! A switch's own time is the command's wall time less that of the same command against the null
//! server, so that what `ovs-ofctl` takes to read and write falls out; the raw times stand beside it.
//! Busy is the processor time of the switch's own processes, which waking up from idle does not blur.
//! An own time less than the null server's noise (half of its interquartile range) counts as that noise.
//! Memory is the processes' proportional set size once all flows stand, less what they took without.

use crate::report::{Samples, table};
use crate::switches::{Awake, Result, Switch, serve_null};
use clap::Args;
use serde::Serialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Flows
    #[arg(long, default_value_t = 100_000)]
    flows: u32,
    /// Flows whose memory is measured; 0 leaves that out
    #[arg(long, default_value_t = 1_000_000)]
    memory_flows: u32,
    /// Rounds, of each switch in turn
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Write flow-adds.md and flow-adds.json here
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Be the null server at this socket instead
    #[arg(long, value_name = "SOCKET", hide = true)]
    serve_null: Option<PathBuf>,
}

/// How flows are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum Way {
    Plain,
    Bundle,
}

impl Way {
    const ALL: [Way; 2] = [Way::Plain, Way::Bundle];

    fn name(self) -> &'static str {
        match self {
            Way::Plain => "one by one, with a barrier each",
            Way::Bundle => "in one bundle (`--bundle`)",
        }
    }

    /// Seconds of the command, and seconds that the switch's processors were busy.
    fn add(self, switch: &Switch, file: &str) -> Result<(f64, f64)> {
        let before = switch.cpu()?;
        let took = match self {
            Way::Plain => switch.ofctl(&["add-flows", "br0", file]),
            Way::Bundle => switch.ofctl(&["--bundle", "add-flows", "br0", file]),
        };
        Ok((took?.as_secs_f64(), switch.cpu()? - before))
    }
}

#[derive(Debug, Serialize)]
struct Comparison {
    way: Way,
    ovs: Timed,
    footbridge: Timed,
    null: Timed,
}

/// One switch's rounds.
#[derive(Debug, Default, Serialize)]
struct Timed {
    wall: Samples,
    cpu: Samples,
}

impl Arguments {
    pub(crate) fn run(self) -> Result<()> {
        if let Some(socket) = &self.serve_null {
            return Ok(serve_null(socket)?);
        }
        let _awake = Awake::begin()?;
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("flows").display().to_string();
        std::fs::write(&file, responder_flows(self.flows))?;
        let mut results = Vec::new();
        for way in Way::ALL {
            let (mut ovs, mut footbridge, mut null) = (Timed::default(), Timed::default(), Timed::default());
            for round in 1..=self.rounds {
                for (timed, start) in [
                    (&mut null, Switch::null as fn() -> Result<Switch>),
                    (&mut footbridge, Switch::footbridge),
                    (&mut ovs, Switch::ovs),
                ] {
                    let switch = start()?;
                    let (wall, cpu) = way.add(&switch, &file)?;
                    eprintln!("round {round}, {way:?}, {}: {wall:.2} s, {cpu:.2} s busy", switch.name);
                    timed.wall.0.push(wall);
                    timed.cpu.0.push(cpu);
                }
            }
            results.push(Comparison { way, ovs, footbridge, null });
        }
        let memory = match self.memory_flows {
            0 => None,
            flows => Some(Memory::measure(flows, dir.path())?),
        };
        let text = self.text(&results, memory.as_ref());
        print!("{text}");
        if let Some(out) = &self.out {
            std::fs::create_dir_all(out)?;
            std::fs::write(out.join("flow-adds.md"), text)?;
            let raw = serde_json::json!({ "flows": self.flows, "seconds": results, "memory": memory });
            std::fs::write(out.join("flow-adds.json"), serde_json::to_string_pretty(&raw)? + "\n")?;
        }
        Ok(())
    }

    fn text(&self, results: &[Comparison], memory: Option<&Memory>) -> String {
        let rows: Vec<Vec<String>> = results
            .iter()
            .map(|result| {
                let Comparison { way, ovs, footbridge, null } = result;
                // What is less than the null server's own spread can't be told from nothing.
                let own = |timed: &Timed| (timed.wall.median() - null.wall.median()).max(null.wall.noise());
                vec![
                    way.name().to_owned(),
                    ovs.wall.to_string(),
                    footbridge.wall.to_string(),
                    null.wall.to_string(),
                    format!("{:.1}", ovs.wall.median() / footbridge.wall.median()),
                    format!("{:.2}", own(ovs)),
                    format!("{:.2}", own(footbridge)),
                    format!("{:.1}", own(ovs) / own(footbridge)),
                    format!("{:.2}", ovs.cpu.median()),
                    format!("{:.2}", footbridge.cpu.median()),
                    format!("{:.1}", ovs.cpu.median() / footbridge.cpu.median()),
                ]
            })
            .collect();
        let head = [
            "how",
            "Open vSwitch, s",
            "Footbridge, s",
            "null server, s",
            "ratio",
            "OVS's own time, s",
            "Footbridge's own time, s",
            "ratio of own times",
            "OVS busy, s",
            "Footbridge busy, s",
            "ratio of busy times",
        ];
        let mut text = format!("{} flows, {} rounds: median (least–most)\n\n", self.flows, self.rounds);
        text += &table(&head, &rows);
        if let Some(Memory { flows, ovs, footbridge }) = memory {
            let mib = |bytes: &u64| *bytes as f64 / f64::from(1 << 20);
            let ratio = *footbridge as f64 / *ovs as f64;
            let _infallible = writeln!(
                text,
                "\nMemory that {flows} flows take: Open vSwitch {:.0} MiB, Footbridge {:.0} MiB (ratio {ratio:.2}).",
                mib(ovs),
                mib(footbridge),
            );
        }
        text
    }
}

/// Bytes that flows take.
#[derive(Debug, Serialize)]
struct Memory {
    flows: u32,
    ovs: u64,
    footbridge: u64,
}

impl Memory {
    fn measure(flows: u32, dir: &Path) -> Result<Memory> {
        let file = dir.join("many").display().to_string();
        std::fs::write(&file, responder_flows(flows))?;
        let taken = |switch: Switch| -> Result<u64> {
            let before = switch.memory()?;
            Way::Bundle.add(&switch, &file)?;
            let after = switch.memory()?;
            eprintln!(
                "{} with {flows} flows: {} MiB, without: {} MiB",
                switch.name,
                after >> 20,
                before >> 20
            );
            Ok(after.saturating_sub(before))
        };
        Ok(Memory { flows, footbridge: taken(Switch::footbridge()?)?, ovs: taken(Switch::ovs()?)? })
    }
}

/// The flows that answer for `count` peers' gateways, as the article has them.
fn responder_flows(count: u32) -> String {
    (0..count).fold(String::new(), |mut text, peer| {
        let gateway = std::net::Ipv4Addr::from(0x0a00_0001 + peer);
        let hex = u32::from(gateway);
        let _infallible = writeln!(
            text,
            "cookie=0x1020000000000,table=20,priority=200,arp,arp_tpa={gateway},arp_op=1 \
             actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],mod_dl_src:aa:bb:cc:dd:ee:ff,\
             load:0x2->NXM_OF_ARP_OP[],move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],\
             load:0xaabbccddeeff->NXM_NX_ARP_SHA[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],\
             load:{hex:#x}->NXM_OF_ARP_SPA[],IN_PORT"
        );
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use footbridge_openflow::PortNames;
    use footbridge_openflow::text::parse_flow;

    #[test]
    fn every_flow_is_one_and_none_is_twice() {
        let text = responder_flows(1000);
        let flows = text.lines().map(|line| parse_flow(line, &PortNames::none()).unwrap().matching);
        assert_eq!(flows.collect::<std::collections::BTreeSet<_>>().len(), 1000);
    }
}
