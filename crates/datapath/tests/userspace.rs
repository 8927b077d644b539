//! The userspace datapath passes the suite of all datapaths.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;
mod suite;

use footbridge_datapath::Datapath;
use footbridge_datapath::userspace::Userspace;

fn userspace() -> Box<dyn Datapath> {
    Box::new(Userspace::start().unwrap())
}

suite::datapath_suite! {
    userspace;
    drops_and_counts_everything_without_flows,
    carries_ping_between_two_ports,
    carries_vlan_tags,
    tracks_connections,
    completes_checksums_that_a_sender_left_undone,
    counts_frames_too_long_for_the_next_device,
    outlives_a_device_and_takes_it_back,
    notices_a_device_coming_up_by_itself,
    serves_others_while_one_port_is_flooded,
    carries_tcp_at_a_sane_speed,
    commits_are_atomic_for_packets,
    hands_packets_to_the_controllers,
    joins_two_bridges_by_vxlan,
    joins_two_bridges_by_geneve,
    carries_tunnel_metadata_in_geneve,
    counts_what_a_tunnel_cannot_send,
    drops_bad_vxlan,
    sends_handed_in_packets_through_a_tunnel,
    floods_leave_tunnels_out,
}
