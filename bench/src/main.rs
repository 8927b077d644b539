//! Footbridge beside its peers, measured in one run on one machine.
//!
//! Every figure is a median of several rounds with its range, and every comparison a ratio of medians
//! of the same run: rounds of the peers are interleaved, so that what else the machine does falls on
//! all of them. Prints a table, and writes it with the raw figures where `--out` says.
//!
//! Needs root, Open vSwitch's programs, and a release build of `footbridge` beside this program.

mod flow_adds;
mod null_server;
mod report;
mod switches;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

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
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::FlowAdds(arguments) => arguments.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("footbridge-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
