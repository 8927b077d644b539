//! The program `footbridge`: a node's agent, a lab of nodes on one machine, and the tools to look at
//! a bridge.
//!
//! The process has one thread until a command starts more: `agent --netns` and `lab exec` change
//! the namespaces of the whole process, which only then is possible.

mod cli;
mod lab;
mod story;
mod top;
mod ui;
mod verify;
mod walk;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::cni::called_as_plugin() {
        true => cli::cni::run(),
        false => cli::Cli::parse().run(),
    }
}
