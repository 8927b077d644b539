//! The program on a port's device: it says which port this is, and goes on in the program in force.

use super::EbpfError;
use super::asm::Reg::{R0, R1, R2, R3, R4, R6, R10};
use super::asm::{Alu, Asm, Cmp, Code, Helper, Label, Size};
use super::compile::layout::{DROPS, FROM_TUNNEL, SKB_TUNNEL, SKB_TUNNEL_DST, SKB_TUNNEL_SRC};
use super::compile::tunnel::{KEY_ID, KEY_LENGTH, KEY_LOCAL, KEY_REMOTE};
use super::compile::{CompileError, SKB_CB, TC_ACT_SHOT};
use super::flows::Shared;
use footbridge_openflow::PortNo;
use footbridge_pipeline::DropReason;
use std::net::Ipv4Addr;

/// What packets of a tunnel port have to be like.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accepted {
    /// The network identifier.
    pub(super) vni: u32,
    /// The address that they are sent to; None for any.
    pub(super) local: Option<Ipv4Addr>,
}

/// On the stack: a `struct bpf_tunnel_key`, and a key.
const TUNNEL_KEY: i16 = -48;
const SLOT: i16 = -52;

/// The root program of a port.
pub(super) fn root(
    number: PortNo,
    slot: u16,
    tunnel: Option<Accepted>,
    shared: &Shared,
) -> Result<Code, EbpfError> {
    let mut asm = Asm::default();
    let (bad_header, other_network, end) = (asm.label(), asm.label(), asm.label());
    asm.mov(R6, R1);
    tell(&mut asm, SKB_CB, number.0);
    tell(&mut asm, SKB_CB + 4, slot.into());
    match tunnel {
        None => tell(&mut asm, SKB_TUNNEL, 0),
        Some(accepted) => read_key(&mut asm, accepted, bad_header, other_network, end),
    }
    asm.mov(R1, R6);
    asm.map(R2, shared.programs.fd());
    asm.set(R3, 0);
    asm.call(Helper::TailCall);
    // Only without a program.
    asm.jump(end);
    for (label, reason) in [(bad_header, DropReason::TunnelHeader), (other_network, DropReason::TunnelId)] {
        asm.bind(label);
        asm.store_imm(Size::W, R10, SLOT, slot.into());
        asm.map(R1, shared.port_counters.fd());
        asm.mov(R2, R10);
        asm.alu_imm(Alu::Add, R2, i64::from(SLOT).cast_unsigned(), R3);
        asm.call(Helper::MapLookupElem);
        asm.jump_if_imm(Cmp::Eq, R0, 0, end);
        let at = DROPS + 8 * i16::from(reason as u8);
        asm.load(Size::D, R1, R0, at);
        asm.alu_imm(Alu::Add, R1, 1, R2);
        asm.store(Size::D, R0, at, R1);
        asm.jump(end);
    }
    asm.bind(end);
    asm.set(R0, TC_ACT_SHOT);
    asm.exit();
    Ok(asm.finish().map_err(CompileError::from)?)
}

/// Write a number to the packet's context, for the program in force. Constants can't be stored there below
/// Linux 6.4, registers can.
fn tell(asm: &mut Asm, at: i16, value: u32) {
    asm.set(R1, value.into());
    asm.store(Size::W, R6, at, R1);
}

/// Pass on what the tunnel header said, or go where it is not as it should be. What was sent to another
/// address is not for this port.
fn read_key(asm: &mut Asm, accepted: Accepted, bad_header: Label, other_network: Label, elsewhere: Label) {
    asm.mov(R1, R6);
    asm.mov(R2, R10);
    asm.alu_imm(Alu::Add, R2, i64::from(TUNNEL_KEY).cast_unsigned(), R3);
    asm.set(R3, KEY_LENGTH);
    asm.set(R4, 0);
    asm.call(Helper::SkbGetTunnelKey);
    // An IPv6 peer's, too, which nothing can be sent back to.
    asm.jump_if_imm(Cmp::Ne, R0, 0, bad_header);
    asm.load(Size::W, R1, R10, TUNNEL_KEY + KEY_ID);
    asm.jump_if_imm(Cmp::Ne, R1, accepted.vni.cast_signed(), other_network);
    asm.load(Size::W, R2, R10, TUNNEL_KEY + KEY_LOCAL);
    if let Some(local) = accepted.local {
        asm.set(R3, local.to_bits().into());
        asm.jump_if(Cmp::Ne, R2, R3, elsewhere);
    }
    asm.store(Size::W, R6, SKB_TUNNEL_DST, R2);
    asm.load(Size::W, R1, R10, TUNNEL_KEY + KEY_REMOTE);
    asm.store(Size::W, R6, SKB_TUNNEL_SRC, R1);
    tell(asm, SKB_TUNNEL, FROM_TUNNEL | accepted.vni);
}
