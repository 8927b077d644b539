//! Footbridge beside its peers, measured in one run on one machine.
//!
//! Every figure is a median of several rounds with its range, and every comparison a ratio of medians
//! of the same run: rounds of the peers are interleaved, so that what else the machine does falls on
//! all of them. Prints a table, and writes it with the raw figures where `--out` says.
//!
//! Needs root, Open vSwitch's programs, and a release build of `footbridge` beside this program.

mod arp;
mod figure;
mod flow_adds;
mod load;
mod null_server;
mod pods;
mod report;
mod switches;
mod testbed;

use clap::{Args, Parser, Subcommand};
use figure::Figure;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use switches::Result;

/// Measure Footbridge beside its peers.
#[derive(Debug, Parser)]
#[command(name = "footbridge-bench", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Flows added by ovs-ofctl, plain and in a bundle, and the memory that they take
    FlowAdds(flow_adds::Arguments),
    /// ARP for peers' gateways: replies a second and their latency, with many flows, and under a spoofed flood
    Arp(Measuring),
    /// Pod to pod on one node and over VXLAN: TCP, small datagrams, round trips
    Pods(Measuring),
}

/// How to measure.
#[derive(Debug, Args)]
struct Measuring {
    /// Rounds, of each peer in turn
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Measure only the peers whose name has this in it
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// Write NAME.md, NAME.svg and NAME.json of each group of figures here
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Measuring {
    /// How long each measurement takes.
    fn time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// Whether a peer is to be measured.
    fn wants(&self, peer: &str) -> bool {
        peer.contains(&self.only)
    }

    /// Measure, print, and write; what comes is figures by the name of their group.
    fn run(
        &self,
        measure: impl FnOnce(&Measuring) -> Result<Vec<(&'static str, Vec<Figure>)>>,
    ) -> Result<()> {
        for (name, figures) in measure(self)? {
            let text = format!(
                "{} rounds of {} s each: median (least–most)\n\n{}",
                self.rounds,
                self.seconds,
                figure::table(&figures)
            );
            println!("{name}: {text}");
            if let Some(out) = &self.out {
                std::fs::create_dir_all(out)?;
                std::fs::write(out.join(format!("{name}.md")), text)?;
                std::fs::write(out.join(format!("{name}.svg")), figure::plot(&figures))?;
                let raw = serde_json::to_string_pretty(&figures)? + "\n";
                std::fs::write(out.join(format!("{name}.json")), raw)?;
            }
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::FlowAdds(arguments) => arguments.run(),
        Command::Arp(measuring) => measuring.run(arp::measure),
        Command::Pods(measuring) => measuring.run(pods::measure),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("footbridge-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
