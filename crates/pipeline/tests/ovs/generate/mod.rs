//! Cases: pipelines of flows and the packets to send through them.
//!
//! The packets come first, and the flows' matches are drawn from them, so that a field of any kind,
//! under a mask of any kind, is hit about as often as missed. Flows that overlap have different
//! priorities: OpenFlow leaves open which of two equal ones wins.

mod action;
mod fields;
mod flow;
mod mistake;
mod packet;
mod tracked;

pub(crate) use flow::{conjunctive, limits, plain};
pub(crate) use mistake::mistaken;
pub(crate) use packet::{Input, counting, packets, tunnelled};
pub(crate) use tracked::{conversations, exchanges, firewall, fragmented, reassembling, sprinkled};

use crate::flows::FlowText;
use crate::random::Random;
use footbridge_openflow::Key;

/// What a case is made of.
pub(crate) struct Case {
    pub(crate) flows: Vec<FlowText>,
    pub(crate) inputs: Vec<Input>,
}

/// What the flows and packets of a kind of case may hold. What is compared, and what keeps two of
/// these apart, is said where the kinds are listed.
#[derive(Clone, Copy)]
pub(crate) struct Palette {
    /// Tables 0 to `tables` - 1 hold flows.
    pub(crate) tables: u8,
    /// Packets come in with registers, marks and states set.
    pub(crate) metadata: bool,
    /// Frames that lie, end early, or hold rare headers.
    pub(crate) odd_frames: bool,
    /// Actions that add and take tags.
    pub(crate) tags: bool,
    /// `output(max_len=)` and `check_pkt_larger`.
    pub(crate) lengths: bool,
    /// `ct()` and `ct_clear`.
    pub(crate) tracking: bool,
    /// The tunnel ports, and writes of tunnel fields.
    pub(crate) tunnels: bool,
    /// `resubmit` to any table rather than to later ones.
    pub(crate) loops: bool,
}

impl Palette {
    pub(crate) const PLAIN: Palette = Palette {
        tables: 5,
        metadata: false,
        odd_frames: false,
        tags: true,
        lengths: false,
        tracking: false,
        tunnels: false,
        loops: false,
    };
}

/// Makes the flows of a case.
pub(crate) struct Generator<'a> {
    random: &'a mut Random,
    palette: Palette,
    /// The packets of the case.
    keys: Vec<Key>,
    /// Whether this case's flows push tags.
    pushes: bool,
    /// Whether this case's flows write to the action set.
    sets: bool,
}

impl<'a> Generator<'a> {
    pub(crate) fn new(random: &'a mut Random, palette: Palette, keys: Vec<Key>) -> Generator<'a> {
        let pushes = palette.tags && !palette.loops && random.one_in(3);
        // Open vSwitch carries out what stands behind check_pkt_larger within it, the action set too; and
        // ct(table=) while there is a set ends ovs-vswitchd: there ct() stands in lists or in sets.
        let sets = !palette.lengths && (!palette.tracking || random.one_in(2));
        Generator { random, palette, keys, pushes, sets }
    }
}

const MACS: [u64; 6] = [
    0x0200_0000_0001,
    0x0200_0000_0002,
    0xffff_ffff_ffff,
    0x0180_c200_0003,
    0x0100_5e00_0001,
    0x0200_0000_0044,
];
/// Where tunnels begin and end.
const UNDERLAY: [u32; 3] = [0xc0a8_0001, 0xc0a8_0002, 0xc0a8_0003];
