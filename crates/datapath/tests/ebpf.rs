//! The eBPF datapath passes the suite of all datapaths, but for what it does not do yet: tags that it
//! takes off, tunnels.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
#[allow(dead_code, reason = "claims about what this datapath does not do yet")]
mod suite;

use footbridge_datapath::Datapath;
use footbridge_datapath::ebpf::Ebpf;

fn ebpf() -> Box<dyn Datapath> {
    Box::new(Ebpf::start().unwrap())
}

suite::datapath_suite! {
    ebpf;
    drops_and_counts_everything_without_flows,
    carries_ping_between_two_ports,
    completes_checksums_that_a_sender_left_undone,
    counts_frames_too_long_for_the_next_device,
    outlives_a_device_and_takes_it_back,
    notices_a_device_coming_up_by_itself,
    serves_others_while_one_port_is_flooded,
    carries_tcp_at_a_sane_speed,
    commits_are_atomic_for_packets,
}
