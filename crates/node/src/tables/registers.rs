//! What the tables tell each other in registers and in the connection's mark.

use footbridge_openflow::{Action, Field, Match, Subfield};

/// The bridge's own connection-tracking zone, which the host (zone 0) never sees.
pub const CT_ZONE: u16 = 65520;

/// ct_mark of a connection that the gateway opened: its replies go back to the host.
pub(super) const GATEWAY_CT_MARK: u32 = 0x20;

/// The register that holds the output port's number, all of it: `output:NXM_NX_REG1[]`.
pub const OUT_PORT: Field = Field::Reg1;

/// Some bits of a register with one meaning.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bits {
    field: Field,
    start: u8,
    end: u8,
}

impl Bits {
    /// Where the packet came from: a [`Source`].
    pub(super) const SOURCE: Bits = Bits { field: Field::Reg0, start: 0, end: 15 };
    /// The output port is in [`OUT_PORT`].
    pub(super) const PORT_FOUND: Bits = Bits { field: Field::Reg0, start: 16, end: 16 };
    /// The packet came through a tunnel: its source's policies were judged at its source, its
    /// destination MAC is to be rewritten.
    pub(super) const REWRITE_MAC: Bits = Bits { field: Field::Reg0, start: 19, end: 19 };
    /// What the tunnel's metadata said, in the same bits.
    pub(super) const TUNNEL_TRACE_TAG: Bits = Bits { field: Field::Reg9, start: 28, end: 31 };

    /// `load:VALUE->REG[start..end]`
    pub(super) fn load(self, value: u32) -> Action {
        Action::Load { value: value.into(), dst: self.subfield() }
    }

    /// `regN=VALUE/MASK`
    pub(super) fn matching(self, matching: Match, value: u32) -> Match {
        matching.with_masked(self.field, u128::from(value) << self.start, self.subfield().mask())
    }

    /// The bits as an action names them.
    pub(super) const fn subfield(self) -> Subfield {
        Subfield { field: self.field, offset: self.start, bits: self.end - self.start + 1 }
    }

    const fn overlaps(self, other: Bits) -> bool {
        self.field as u8 == other.field as u8 && self.start <= other.end && other.start <= self.end
    }
}

/// What a register's bits mean, to be told to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meaning {
    /// The bits.
    pub bits: Subfield,
    /// In a few words.
    pub says: &'static str,
    /// What single values stand for.
    pub values: &'static [(u32, &'static str)],
}

/// What each register's bits mean; the rest of [`OUT_PORT`]'s values are port numbers.
pub const MEANINGS: &[Meaning] = &[
    Meaning {
        bits: Bits::SOURCE.subfield(),
        says: "from",
        values: &[
            (Source::Tunnel as u32, "the tunnel"),
            (Source::Gateway as u32, "the gateway"),
            (Source::Pod as u32, "a pod"),
        ],
    },
    Meaning {
        bits: Bits::PORT_FOUND.subfield(),
        says: "output port",
        values: &[(0, "unknown"), (1, "found")],
    },
    Meaning {
        bits: Bits::REWRITE_MAC.subfield(),
        says: "destination MAC",
        values: &[(0, "as it is"), (1, "to be rewritten")],
    },
    Meaning { bits: Bits::TUNNEL_TRACE_TAG.subfield(), says: "trace tag", values: &[] },
];

/// The values of [`Bits::SOURCE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Source {
    /// A tunnel.
    Tunnel = 0,
    /// This node's gateway.
    Gateway = 1,
    /// A pod of this node.
    Pod = 2,
}

impl Source {
    /// `load:SOURCE->NXM_NX_REG0[0..15]`
    pub(super) fn load(self) -> Action {
        Bits::SOURCE.load(self as u32)
    }
}

/// Everything that is given a meaning: no two may share a bit.
const ALL: &[Bits] = &[
    Bits::SOURCE,
    Bits::PORT_FOUND,
    Bits::REWRITE_MAC,
    Bits::TUNNEL_TRACE_TAG,
    Bits { field: OUT_PORT, start: 0, end: 31 },
];

const _: () = {
    let mut a = 0;
    while a < ALL.len() {
        assert!(ALL[a].start <= ALL[a].end && ALL[a].end < 32);
        let mut b = a + 1;
        while b < ALL.len() {
            assert!(!ALL[a].overlaps(ALL[b]), "two meanings share a bit of a register");
            b += 1;
        }
        a += 1;
    }
};
