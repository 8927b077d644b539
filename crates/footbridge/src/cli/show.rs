//! stub
use clap::Args;
use std::process::ExitCode;
macro_rules! stub { ($($n:ident),*) => { $(
/// x
#[derive(Debug, Args)] pub(crate) struct $n {} impl $n { pub(crate) fn run(self) -> ExitCode { ExitCode::SUCCESS } } )* } }
stub!(Flows, Fdb, Ports, Conntrack);
