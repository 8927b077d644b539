//! The compiled program beside the evaluator: BPF_PROG_TEST_RUN, with the outputs in a record.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bed;
mod connections;
mod control;
mod ct;
mod differential;
mod ipv6;
mod node;
mod punts;
mod refusals;
mod reuse;
mod scale;
mod tunnels;
mod vlan;
