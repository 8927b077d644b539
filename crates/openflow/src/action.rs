//! Actions and instructions: what a flow does to the packets it takes.
//!
//! One list serves both, as in ovs-actions(7): `goto_table`, `meter`, `write_metadata`,
//! `clear_actions` and `write_actions` are OpenFlow 1.1 instructions that stand last, in that
//! order of text. The list is kept as written (`load` stays `load`, `mod_dl_src` stays
//! `mod_dl_src`), so that it prints as it came in; what an action writes, whatever its spelling, is
//! [`Action::field_write`].

use crate::addr::MacAddr;
use crate::field::{Field, ones};
use crate::port::PortNo;
use std::net::Ipv4Addr;

/// Some bits of a field: `field[start..=end]`, counted from the least significant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Subfield {
    /// The field.
    pub field: Field,
    /// First bit.
    pub offset: u8,
    /// Number of bits, at least 1; `offset + bits` is at most [`Field::subfield_width`].
    pub bits: u8,
}

impl Subfield {
    /// All bits of a field.
    pub fn whole(field: Field) -> Subfield {
        Subfield { field, offset: 0, bits: field.subfield_width() }
    }

    /// `field[start..end]`, both inclusive as in text. None where that is no range of the field.
    pub fn range(field: Field, start: u8, end: u8) -> Option<Subfield> {
        (start <= end && end < field.subfield_width()).then(|| Subfield {
            field,
            offset: start,
            bits: end - start + 1,
        })
    }

    /// The bits as a mask of the field.
    pub fn mask(self) -> u128 {
        ones(u32::from(self.bits)) << self.offset
    }
}

/// A change of a field's bits: those of `mask` become those of `value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FieldWrite {
    /// The field.
    pub field: Field,
    /// The new bits, in place.
    pub value: u128,
    /// Which bits change.
    pub mask: u128,
}

/// A [`FieldWrite`] as `set_field` keeps it: a bridge holds millions, and few write beyond 64 bits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SetField(Stored);

/// Canonical, so that equal writes compare equal: wide only what does not fit the narrow form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Stored {
    Narrow { field: Field, value: u64, mask: u64 },
    Wide(Box<FieldWrite>),
}

impl SetField {
    /// The write as it is carried out.
    pub fn write(&self) -> FieldWrite {
        match &self.0 {
            Stored::Narrow { field, value, mask } => {
                FieldWrite { field: *field, value: (*value).into(), mask: (*mask).into() }
            }
            Stored::Wide(write) => **write,
        }
    }

    /// The field written.
    pub fn field(&self) -> Field {
        match &self.0 {
            Stored::Narrow { field, .. } => *field,
            Stored::Wide(write) => write.field,
        }
    }
}

impl From<FieldWrite> for SetField {
    fn from(write: FieldWrite) -> SetField {
        SetField(match (u64::try_from(write.value), u64::try_from(write.mask)) {
            (Ok(value), Ok(mask)) => Stored::Narrow { field: write.field, value, mask },
            _ => Stored::Wide(Box::new(write)),
        })
    }
}

/// Where `ct()` takes its zone from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CtZone {
    /// A number.
    Number(u16),
    /// 16 bits of the packet.
    Field(Subfield),
}

/// `nat(...)` inside `ct()`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct CtNat {
    /// Source or destination translation; None for a bare `nat`.
    pub kind: Option<NatKind>,
    /// First and last address.
    pub addresses: Option<(std::net::IpAddr, std::net::IpAddr)>,
    /// First and last port.
    pub ports: Option<(u16, u16)>,
    /// `persistent`.
    pub persistent: bool,
    /// How a port is chosen.
    pub selection: NatSelection,
}

/// Which end `nat` translates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NatKind {
    /// `src=`
    Source,
    /// `dst=`
    Destination,
}

/// How `nat` chooses a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum NatSelection {
    /// Left to the switch.
    #[default]
    Unspecified,
    /// `hash`
    Hash,
    /// `random`
    Random,
}

/// `ct(...)`: hand the packet to the connection tracker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ct {
    /// `commit`
    pub commit: bool,
    /// `force`
    pub force: bool,
    /// `table=`: where the tracked copy goes on.
    pub table: Option<u8>,
    /// `zone=`
    pub zone: CtZone,
    /// `nat` or `nat(...)`
    pub nat: Option<CtNat>,
    /// `alg=`, by the control connection's port (21 FTP, 69 TFTP).
    pub alg: Option<u16>,
    /// `exec(...)`: writes to ct_mark and ct_label.
    pub exec: Vec<Action>,
}

/// `controller(...)`: send the packet to the controllers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Controller {
    /// Bytes sent; 65535 for all.
    pub max_len: u16,
    /// Why (OFPR_*: 0 no match, 1 action, 2 invalid TTL …).
    pub reason: u8,
    /// Which controllers.
    pub id: u16,
    /// Bytes handed along.
    pub userdata: Vec<u8>,
    /// `pause`
    pub pause: bool,
    /// `meter_id=`
    pub meter: Option<u32>,
}

impl Controller {
    /// OFPR_ACTION: sent because an action says so.
    pub const REASON_ACTION: u8 = 1;

    /// What `CONTROLLER:N` means.
    pub fn output(max_len: u16) -> Controller {
        let reason = Controller::REASON_ACTION;
        Controller { max_len, reason, id: 0, userdata: Vec::new(), pause: false, meter: None }
    }

    /// Whether this is no more than `CONTROLLER:N`, OpenFlow's own output to the controllers.
    pub fn is_output(&self) -> bool {
        *self == Controller::output(self.max_len)
    }
}

/// One action or instruction.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Action {
    /// `output:PORT`, `IN_PORT`, `NORMAL`, `FLOOD`, `ALL`, `LOCAL`: by the port's number.
    Output {
        /// Where to.
        port: PortNo,
        /// What the client sent here, and finds again in flow stats: OpenFlow gives it a meaning for the
        /// controllers only. Text does not show it.
        max_len: u16,
    },
    /// `output(port=PORT,max_len=N)`
    OutputTruncated {
        /// Where to.
        port: PortNo,
        /// Bytes kept.
        max_len: u32,
    },
    /// `output:FIELD[...]`
    OutputReg {
        /// The bits that hold the port number.
        src: Subfield,
    },
    /// `CONTROLLER:N` or `controller(...)`
    Controller(Box<Controller>),
    /// `enqueue:PORT:QUEUE`
    Enqueue {
        /// Where to.
        port: PortNo,
        /// The port's queue.
        queue: u32,
    },
    /// `group:N`
    Group(u32),
    /// `move:SRC[]->DST[]`
    Move {
        /// Copied from.
        src: Subfield,
        /// Copied to; as wide as `src`.
        dst: Subfield,
    },
    /// `load:VALUE->DST[]`
    Load {
        /// The bits, right-aligned.
        value: u128,
        /// Where they go.
        dst: Subfield,
    },
    /// `set_field:VALUE[/MASK]->FIELD`
    SetField(SetField),
    /// `mod_dl_src:MAC`
    ModDlSrc(MacAddr),
    /// `mod_dl_dst:MAC`
    ModDlDst(MacAddr),
    /// `mod_nw_src:IP`
    ModNwSrc(Ipv4Addr),
    /// `mod_nw_dst:IP`
    ModNwDst(Ipv4Addr),
    /// `mod_nw_tos:N`: the upper six bits of the ToS byte, in place (a multiple of 4).
    ModNwTos(u8),
    /// `mod_nw_ecn:N`
    ModNwEcn(u8),
    /// `mod_nw_ttl:N`
    ModNwTtl(u8),
    /// `mod_tp_src:PORT`, of whichever of TCP, UDP and SCTP the packet is.
    ModTpSrc(u16),
    /// `mod_tp_dst:PORT`
    ModTpDst(u16),
    /// `mod_vlan_vid:N`: adds a tag where there is none.
    ModVlanVid(u16),
    /// `mod_vlan_pcp:N`: adds a tag where there is none.
    ModVlanPcp(u8),
    /// `strip_vlan` / `pop_vlan`
    StripVlan,
    /// `push_vlan:TPID`
    PushVlan(u16),
    /// `dec_ttl` or `dec_ttl(ID,…)`: the controllers told when the TTL runs out ([0] for the bare form).
    DecTtl(Vec<u16>),
    /// `set_tunnel:ID` (32 bits, as OpenFlow 1.0 clients write) or `set_tunnel64:ID`.
    SetTunnel {
        /// The tunnel id.
        id: u64,
        /// Spelled `set_tunnel64`.
        wide: bool,
    },
    /// `set_queue:N`
    SetQueue(u32),
    /// `pop_queue`
    PopQueue,
    /// `push:FIELD[]`
    Push(Subfield),
    /// `pop:FIELD[]`
    Pop(Subfield),
    /// `resubmit(PORT,TABLE)`: look up again, with another in_port or in another table.
    Resubmit {
        /// in_port for the lookup only.
        port: Option<PortNo>,
        /// The table; the present one where None.
        table: Option<u8>,
        /// `resubmit(,N,ct)`: match on the original tuple of the connection.
        with_ct_orig: bool,
    },
    /// `ct(...)`
    Ct(Box<Ct>),
    /// `ct_clear`
    CtClear,
    /// `conjunction(ID,K/N)`
    Conjunction {
        /// The conjunction's id.
        id: u32,
        /// Which dimension this flow is of, from 1.
        clause: u8,
        /// How many there are, at least 2.
        n_clauses: u8,
    },
    /// `clone(...)`: act on a copy.
    Clone(Vec<Action>),
    /// `note:HEX…`: does nothing.
    Note(Vec<u8>),
    /// `fin_timeout(...)`
    FinTimeout {
        /// Seconds; 0 for none.
        idle: u16,
        /// Seconds; 0 for none.
        hard: u16,
    },
    /// `check_pkt_larger(N)->FIELD[BIT]`
    CheckPktLarger {
        /// Bytes of the L2 frame.
        len: u16,
        /// One bit.
        dst: Subfield,
    },
    /// `exit`
    Exit,
    /// `meter:N`
    Meter(u32),
    /// `clear_actions`
    ClearActions,
    /// `write_actions(...)`
    WriteActions(Vec<Action>),
    /// `write_metadata:VALUE[/MASK]`
    WriteMetadata {
        /// New bits.
        value: u64,
        /// Which change.
        mask: u64,
    },
    /// `goto_table:N`
    GotoTable(u8),
}

/// A bridge keeps millions of them: large ones are boxed.
const _: () = assert!(size_of::<Action>() <= 32);

impl Action {
    /// `output:PORT`
    pub fn output(port: PortNo) -> Action {
        Action::Output { port, max_len: 0 }
    }

    /// `set_field:VALUE/MASK->FIELD`; the bits in place.
    pub fn set_field(field: Field, value: u128, mask: u128) -> Action {
        Action::SetField(FieldWrite { field, value, mask }.into())
    }

    /// `controller(...)`
    pub fn controller(to: Controller) -> Action {
        Action::Controller(Box::new(to))
    }

    /// The action's word in text.
    pub fn name(&self) -> &'static str {
        match self {
            Action::Output { .. } | Action::OutputTruncated { .. } | Action::OutputReg { .. } => "output",
            Action::Controller(_) => "controller",
            Action::Enqueue { .. } => "enqueue",
            Action::Group(_) => "group",
            Action::Move { .. } => "move",
            Action::Load { .. } => "load",
            Action::SetField(_) => "set_field",
            Action::ModDlSrc(_) => "mod_dl_src",
            Action::ModDlDst(_) => "mod_dl_dst",
            Action::ModNwSrc(_) => "mod_nw_src",
            Action::ModNwDst(_) => "mod_nw_dst",
            Action::ModNwTos(_) => "mod_nw_tos",
            Action::ModNwEcn(_) => "mod_nw_ecn",
            Action::ModNwTtl(_) => "mod_nw_ttl",
            Action::ModTpSrc(_) => "mod_tp_src",
            Action::ModTpDst(_) => "mod_tp_dst",
            Action::ModVlanVid(_) => "mod_vlan_vid",
            Action::ModVlanPcp(_) => "mod_vlan_pcp",
            Action::StripVlan => "strip_vlan",
            Action::PushVlan(_) => "push_vlan",
            Action::DecTtl(_) => "dec_ttl",
            Action::SetTunnel { wide: false, .. } => "set_tunnel",
            Action::SetTunnel { wide: true, .. } => "set_tunnel64",
            Action::SetQueue(_) => "set_queue",
            Action::PopQueue => "pop_queue",
            Action::Push(_) => "push",
            Action::Pop(_) => "pop",
            Action::Resubmit { .. } => "resubmit",
            Action::Ct(_) => "ct",
            Action::CtClear => "ct_clear",
            Action::Conjunction { .. } => "conjunction",
            Action::Clone(_) => "clone",
            Action::Note(_) => "note",
            Action::FinTimeout { .. } => "fin_timeout",
            Action::CheckPktLarger { .. } => "check_pkt_larger",
            Action::Exit => "exit",
            Action::Meter(_) => "meter",
            Action::ClearActions => "clear_actions",
            Action::WriteActions(_) => "write_actions",
            Action::WriteMetadata { .. } => "write_metadata",
            Action::GotoTable(_) => "goto_table",
        }
    }

    /// The change this action makes to one field by a constant, where that is all it does.
    ///
    /// None for `mod_tp_*` (which field depends on the packet's protocol) and for the VLAN actions
    /// that may add a tag.
    pub fn field_write(&self) -> Option<FieldWrite> {
        let masked = |field: Field, value: u128, mask: u128| {
            let mask = mask & field.known_bits();
            FieldWrite { field, value: value & mask, mask }
        };
        let whole = |field: Field, value: u128| masked(field, value, field.all_ones());
        Some(match self {
            Action::Load { value, dst } => masked(dst.field, value << dst.offset, dst.mask()),
            Action::SetField(set) => {
                let FieldWrite { field, value, mask } = set.write();
                masked(field, value, mask)
            }
            Action::ModDlSrc(mac) => whole(Field::EthSrc, (*mac).into()),
            Action::ModDlDst(mac) => whole(Field::EthDst, (*mac).into()),
            Action::ModNwSrc(ip) => whole(Field::NwSrc, u32::from(*ip).into()),
            Action::ModNwDst(ip) => whole(Field::NwDst, u32::from(*ip).into()),
            Action::ModNwTos(tos) => whole(Field::NwTos, u128::from(*tos)),
            Action::ModNwEcn(ecn) => whole(Field::NwEcn, u128::from(ecn & 3)),
            Action::ModNwTtl(ttl) => whole(Field::NwTtl, u128::from(*ttl)),
            Action::SetTunnel { id, .. } => whole(Field::TunId, u128::from(*id)),
            Action::WriteMetadata { value, mask } => {
                masked(Field::Metadata, u128::from(*value), u128::from(*mask))
            }
            _ => return None,
        })
    }
}
