//! The kinds of cases: what each is made of, what of it is compared, and how much of it by default.

use crate::compare::Compared;
use crate::flows::FlowText;
use crate::generate::{self, Generator, Input, Palette};
use crate::random::Random;

/// A kind of case.
pub(crate) struct Kind {
    /// The test's name, from which its random numbers come.
    pub(crate) name: &'static str,
    pub(crate) palette: Palette,
    pub(crate) packets: fn(&mut Random, Palette, u64) -> Vec<Input>,
    pub(crate) flows: fn(&mut Generator<'_>) -> Vec<FlowText>,
    pub(crate) compared: Compared,
    /// Pipelines where nothing else is asked for, and about how many packets for each.
    pub(crate) pipelines: u64,
    pub(crate) per_pipeline: u64,
}

const BOTH: Compared = Compared { trace: true, frames: true };
const TRACE: Compared = Compared { trace: true, frames: false };
const FRAMES: Compared = Compared { trace: false, frames: true };

/// Well-formed frames of all protocols, all fields matched and written.
const ANY: Kind = Kind {
    name: "agrees_on_packets_of_all_kinds",
    palette: Palette::PLAIN,
    packets: generate::packets,
    flows: generate::plain,
    compared: BOTH,
    pipelines: 100,
    per_pipeline: 24,
};

pub(crate) const PACKETS: Kind = ANY;

/// Frames that lie, end early or hold rare headers.
pub(crate) const ODD_FRAMES: Kind = Kind {
    name: "agrees_on_frames_that_lie",
    palette: Palette { odd_frames: true, ..Palette::PLAIN },
    ..ANY
};

/// Packets that come in with registers, marks and the state of a connection, as only a trace has it.
pub(crate) const METADATA: Kind = Kind {
    name: "agrees_on_packets_that_bring_metadata",
    palette: Palette { metadata: true, ..Palette::PLAIN },
    compared: TRACE,
    ..ANY
};

/// What `ct()` is asked, wherever it stands; a trace supposes that every connection is new.
pub(crate) const TRACKER: Kind = Kind {
    name: "agrees_on_what_ct_is_asked",
    palette: Palette { metadata: true, tracking: true, ..Palette::PLAIN },
    compared: TRACE,
    pipelines: 60,
    ..ANY
};

/// Out of tunnels and into them: VXLAN and Geneve ports, every tunnel field.
pub(crate) const TUNNELS: Kind = Kind {
    name: "agrees_on_tunnels",
    palette: Palette { metadata: true, tunnels: true, ..Palette::PLAIN },
    packets: generate::tunnelled,
    compared: TRACE,
    pipelines: 60,
    ..ANY
};

/// `resubmit` to any table.
pub(crate) const LOOPS: Kind = Kind {
    name: "agrees_on_loops",
    palette: Palette { loops: true, metadata: true, ..Palette::PLAIN },
    pipelines: 50,
    ..ANY
};

/// Just below and just above the limits on nested and on all lookups.
pub(crate) const LIMITS: Kind = Kind {
    name: "agrees_where_a_packet_is_given_up",
    packets: generate::counting,
    flows: generate::limits,
    pipelines: 8,
    per_pipeline: 12,
    ..ANY
};

pub(crate) const CONJUNCTIONS: Kind = Kind {
    name: "agrees_on_conjunctions",
    palette: Palette { metadata: true, tables: 3, ..Palette::PLAIN },
    flows: generate::conjunctive,
    pipelines: 60,
    ..ANY
};

/// `output(max_len=)` and `check_pkt_larger`.
pub(crate) const LENGTHS: Kind = Kind {
    name: "agrees_on_lengths",
    palette: Palette { lengths: true, tags: false, ..Palette::PLAIN },
    compared: FRAMES,
    pipelines: 60,
    ..ANY
};

/// UDP, ICMP, ICMP errors and other protocols through `ct()` here and there.
pub(crate) const TRACKED: Kind = Kind {
    name: "agrees_on_what_is_tracked",
    packets: generate::exchanges,
    flows: generate::sprinkled,
    compared: FRAMES,
    pipelines: 60,
    per_pipeline: 30,
    ..ANY
};

/// TCP connections through a firewall that keeps state.
pub(crate) const TCP: Kind = Kind {
    name: "agrees_on_tcp_connections",
    packets: generate::conversations,
    flows: generate::firewall,
    compared: FRAMES,
    pipelines: 30,
    per_pipeline: 40,
    ..ANY
};

/// Datagrams in fragments through `ct()`.
pub(crate) const FRAGMENTS: Kind = Kind {
    name: "agrees_on_fragments_that_come_in_order",
    packets: generate::fragmented,
    flows: generate::reassembling,
    compared: FRAMES,
    pipelines: 20,
    ..ANY
};

const ALL: [&Kind; 12] = [
    &PACKETS,
    &ODD_FRAMES,
    &METADATA,
    &TRACKER,
    &TUNNELS,
    &LOOPS,
    &LIMITS,
    &CONJUNCTIONS,
    &LENGTHS,
    &TRACKED,
    &TCP,
    &FRAGMENTS,
];

/// Together they are 10 000 packets at least, where nothing else is asked for.
const _: () = {
    let (mut packets, mut at) = (0, 0);
    while at < ALL.len() {
        packets += ALL[at].pipelines * ALL[at].per_pipeline;
        at += 1;
    }
    assert!(packets >= 10_000);
};
