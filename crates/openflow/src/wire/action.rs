//! Actions and instructions on the wire.
//!
//! OpenFlow 1.0.0 §5.2.4, 1.3.5 §7.2.4 and §7.2.5, 1.5.1 §7.2.5 and §7.2.6, and nicira-ext's NXAST_*.
//!
//! [`KINDS`] is the one table of action numbers: for each form an action can have, who numbers it,
//! the number, the versions that have it, and the lengths allowed. `decode` turns each form into an
//! [`Action`]; `encode` chooses the form that Open vSwitch chooses for the version. What a version
//! lacks altogether (instructions in OpenFlow 1.0's action lists) is left out, as Open vSwitch does.
//!
//! Limits: actions nest at most [`MAX_DEPTH`] deep. MPLS, NSH, learn, multipath, bundle, sample, encap
//! and decap are answered as unknown.

mod ct;
mod decode;
mod encode;
mod instruction;

pub(crate) use decode::{check_order, decode as decode_actions};
pub(crate) use encode::encode as encode_actions;
pub(crate) use instruction::{decode as decode_instructions, encode as encode_instructions};

use super::bytes::{U16, U32, layout};
use super::version::Version;
use super::{NICIRA, ONF};
#[cfg(doc)]
use crate::action::Action;

/// Depth of clone() in clone() that is decoded.
const MAX_DEPTH: u8 = 16;
/// OFPAT_VENDOR, OFPAT_EXPERIMENTER.
const EXPERIMENTER: u16 = 0xffff;
/// Actions are as long as a multiple of this.
const ALIGN: usize = 8;

layout! {
    /// ofp_action_header
    struct Header {
        kind: U16,
        /// Of the whole action.
        length: U16,
    }

    /// What follows in an experimenter's action; Nicira's and ONF's have a 16-bit subtype.
    struct Extension {
        vendor: U32,
        subtype: U16,
    }
}

/// Bytes before an extension's own.
const EXTENSION_HEADER: usize = size_of::<Header>() + size_of::<Extension>();

/// Who numbers a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Space {
    Std,
    Nx,
    Onf,
}

impl Space {
    fn vendor(self) -> Option<u32> {
        match self {
            Space::Std => None,
            Space::Nx => Some(NICIRA),
            Space::Onf => Some(ONF),
        }
    }
}

struct Row {
    kind: Kind,
    space: Space,
    number: u16,
    first: Version,
    last: Version,
    min: u16,
    max: u16,
}

macro_rules! kinds {
    ($( $kind:ident: $( $space:ident $number:literal $first:ident ..= $last:ident $min:literal ..= $max:literal ),+ ; )*) => {
        /// A form of an action.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Kind { $($kind),* }

        const KINDS: &[Row] = &[ $( $( Row {
            kind: Kind::$kind,
            space: Space::$space,
            number: $number,
            first: Version::$first,
            last: Version::$last,
            min: $min,
            max: $max,
        }, )+ )* ];
    };
}

// One row a form: for each range of versions, who numbers it, its number, and its least and greatest
// length.
#[rustfmt::skip]
kinds! {
    Output10:        Std 0 V10..=V10 8..=8;
    Output:          Std 0 V13..=V15 16..=16;
    SetVlanVid10:    Std 1 V10..=V10 8..=8;
    SetVlanVid:      Std 1 V13..=V15 8..=8;
    SetVlanPcp10:    Std 2 V10..=V10 8..=8;
    SetVlanPcp:      Std 2 V13..=V15 8..=8;
    StripVlan:       Std 3 V10..=V10 8..=8, Std 18 V13..=V15 8..=8;
    PushVlan:        Std 17 V13..=V15 8..=8;
    SetDlSrc:        Std 4 V10..=V10 16..=16, Std 3 V13..=V15 16..=16;
    SetDlDst:        Std 5 V10..=V10 16..=16, Std 4 V13..=V15 16..=16;
    SetNwSrc:        Std 6 V10..=V10 8..=8, Std 5 V13..=V15 8..=8;
    SetNwDst:        Std 7 V10..=V10 8..=8, Std 6 V13..=V15 8..=8;
    SetNwTos:        Std 8 V10..=V10 8..=8, Std 7 V13..=V15 8..=8;
    SetNwEcn:        Std 8 V13..=V15 8..=8;
    SetTpSrc:        Std 9 V10..=V15 8..=8;
    SetTpDst:        Std 10 V10..=V15 8..=8;
    Enqueue:         Std 11 V10..=V10 16..=16;
    SetQueue:        Nx 4 V10..=V10 16..=16, Std 21 V13..=V15 8..=8;
    Group:           Nx 40 V10..=V10 16..=16, Std 22 V13..=V15 8..=8;
    SetNwTtl:        Std 23 V13..=V15 8..=8;
    DecNwTtl:        Nx 18 V10..=V10 16..=16, Std 24 V13..=V15 8..=8;
    DecTtlCntIds:    Nx 21 V10..=V15 16..=65528;
    SetField:        Std 25 V13..=V15 8..=65528;
    RegLoad:         Nx 7 V10..=V14 24..=24;
    RegLoad2:        Nx 33 V10..=V14 16..=65528;
    CopyField:       Std 28 V15..=V15 16..=65528;
    CopyFieldOnf:    Onf 3200 V13..=V14 24..=65528;
    RegMove:         Nx 6 V10..=V14 24..=65528;
    Meter:           Std 29 V15..=V15 8..=8;
    Resubmit:        Nx 1 V10..=V15 16..=16;
    ResubmitTable:   Nx 14 V10..=V15 16..=16;
    ResubmitTableCt: Nx 44 V10..=V15 16..=16;
    SetTunnel:       Nx 2 V10..=V15 16..=16;
    SetTunnel64:     Nx 9 V10..=V15 24..=24;
    PopQueue:        Nx 5 V10..=V15 16..=16;
    Note:            Nx 8 V10..=V15 16..=65528;
    OutputReg:       Nx 15 V10..=V15 24..=24;
    OutputReg2:      Nx 32 V10..=V15 24..=24;
    Exit:            Nx 17 V10..=V15 16..=16;
    FinTimeout:      Nx 19 V10..=V15 16..=16;
    Controller:      Nx 20 V10..=V15 16..=16;
    Controller2:     Nx 37 V10..=V15 16..=65528;
    WriteMetadata:   Nx 22 V10..=V15 32..=32;
    StackPush:       Nx 27 V10..=V15 24..=24;
    StackPop:        Nx 28 V10..=V15 24..=24;
    Conjunction:     Nx 34 V10..=V15 16..=16;
    Ct:              Nx 35 V10..=V15 24..=65528;
    Nat:             Nx 36 V10..=V15 16..=65528;
    OutputTrunc:     Nx 39 V10..=V15 16..=16;
    Clone:           Nx 42 V10..=V15 16..=65528;
    CtClear:         Nx 43 V10..=V15 16..=16;
    CheckPktLarger:  Nx 49 V10..=V15 24..=24;
}

/// For each space, of which row the lower numbers are first: each flow that comes has some to be found.
static BY_NUMBER: [[u8; 64]; 3] = {
    assert!(KINDS.len() < u8::MAX as usize);
    let mut first = [[KINDS.len() as u8; 64]; 3];
    let mut row = KINDS.len();
    while row > 0 {
        row -= 1;
        let Row { space, number, .. } = KINDS[row];
        if (number as usize) < 64 {
            first[space as usize][number as usize] = row as u8;
        }
    }
    first
};

impl Row {
    fn in_version(&self, version: Version) -> bool {
        (self.first..=self.last).contains(&version)
    }

    /// The form that these numbers name.
    fn by_number(version: Version, space: Space, number: u16) -> Option<&'static Row> {
        let named = |row: &Row| row.number == number && row.space == space && row.in_version(version);
        match BY_NUMBER[space as usize].get(usize::from(number)) {
            Some(&first) => KINDS.get(usize::from(first)..)?.iter().find(|row| named(row)),
            None => KINDS.iter().find(|row| named(row)),
        }
    }

    /// The numbers of a form.
    fn by_kind(version: Version, kind: Kind) -> Option<&'static Row> {
        KINDS.iter().find(|row| row.kind == kind && row.in_version(version))
    }
}

// The fixed part of each form, behind its header.
layout! {
    /// ofp10_action_output
    struct Output10 { port: U16, max_len: U16, }
    /// ofp11_action_output
    struct Output { port: U32, max_len: U16, pad: [u8; 6], }
    /// ofp10_action_enqueue
    struct Enqueue { port: U16, pad: [u8; 6], queue: U32, }
    /// ofp_action_dl_addr
    struct DlAddr { addr: [u8; 6], pad: [u8; 6], }
    /// Two bytes, as mod_vlan_vid, push_vlan, mod_tp_src.
    struct Short { value: U16, pad: [u8; 2], }
    /// One byte, as mod_vlan_pcp, mod_nw_tos, mod_nw_ttl.
    struct Byte { value: u8, pad: [u8; 3], }
    /// Two bytes and four of padding, behind an extension's header.
    struct NxShort { value: U16, pad: [u8; 4], }
    /// Four bytes, behind an extension's header.
    struct NxLong { pad: [u8; 2], value: U32, }
    /// Eight bytes, behind an extension's header.
    struct NxLongLong { pad: [u8; 6], value: super::bytes::U64, }
    /// Nothing, behind an extension's header.
    struct NxNone { pad: [u8; 6], }
    /// nx_action_resubmit
    struct NxResubmit { port: U16, table: u8, pad: [u8; 3], }
    /// nx_action_reg_load
    struct NxRegLoad { ofs_nbits: U16, dst: U32, value: super::bytes::U64, }
    /// nx_action_reg_move, before the two headers
    struct NxRegMove { n_bits: U16, src_ofs: U16, dst_ofs: U16, }
    /// ofp15_action_copy_field, before the two headers
    struct CopyField15 { n_bits: U16, src_ofs: U16, dst_ofs: U16, pad: [u8; 2], }
    /// onf_action_copy_field, before the two headers
    struct CopyFieldOnf { pad: [u8; 2], n_bits: U16, src_ofs: U16, dst_ofs: U16, pad2: [u8; 2], }
    /// nx_action_output_reg
    struct NxOutputReg { ofs_nbits: U16, src: U32, max_len: U16, zero: [u8; 6], }
    /// nx_action_output_reg2, before the header
    struct NxOutputReg2 { ofs_nbits: U16, max_len: U16, }
    /// nx_action_controller
    struct NxController { max_len: U16, id: U16, reason: u8, zero: u8, }
    /// nx_action_cnt_ids, before the ids
    struct NxCntIds { count: U16, zeros: [u8; 4], }
    /// nx_action_fin_timeout
    struct NxFinTimeout { idle: U16, hard: U16, pad: U16, }
    /// nx_action_write_metadata
    struct NxWriteMetadata { zeros: [u8; 6], metadata: super::bytes::U64, mask: super::bytes::U64, }
    /// nx_action_stack, before the header and the number of bits
    struct NxStack { offset: U16, }
    /// nx_action_conjunction
    struct NxConjunction { clause: u8, n_clauses: u8, id: U32, }
    /// nx_action_output_trunc
    struct NxOutputTrunc { port: U16, max_len: U32, }
    /// nx_action_check_pkt_larger, before the header
    struct NxCheckPktLarger { pkt_len: U16, offset: U16, }
}

/// Properties of NXAST_CONTROLLER2.
mod controller2 {
    pub(super) const MAX_LEN: u16 = 0;
    pub(super) const CONTROLLER_ID: u16 = 1;
    pub(super) const REASON: u16 = 2;
    pub(super) const USERDATA: u16 = 3;
    pub(super) const PAUSE: u16 = 4;
    pub(super) const METER_ID: u16 = 5;
}

/// The tag that mod_vlan_vid adds.
const TPID_8021Q: u16 = 0x8100;
/// The table of NXAST_RESUBMIT_TABLE that stands for the present one.
const THIS_TABLE: u8 = 0xff;
/// OFPVID_PRESENT
const VLAN_PRESENT: u128 = 0x1000;
