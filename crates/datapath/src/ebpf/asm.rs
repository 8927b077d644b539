//! An assembler for eBPF (RFC 9669): labels, named registers, one function an instruction.
//!
//! # Contract
//!
//! * Jumps go forward only: a label is bound once, after every jump to it; [`Asm::finish`] says where
//!   that was not so. So a program ends, whatever it holds, and the verifier has no loops to bound.
//! * Dead code, which the verifier refuses, can't be written: behind an exit or a jump, instructions
//!   are left out until a label is bound that some living jump goes to.
//! * Registers R6 to R9 outlive a call, R0 to R5 don't; R10 is the frame pointer, read only.

/// A register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Reg {
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    R10,
}

/// The width of a load or store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Size {
    /// 1 byte
    B = 0x10,
    /// 2 bytes
    H = 0x08,
    /// 4 bytes
    W = 0x00,
    /// 8 bytes
    D = 0x18,
}

/// A 64-bit operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Alu {
    Add = 0x00,
    Sub = 0x10,
    Or = 0x40,
    And = 0x50,
    Lsh = 0x60,
    Rsh = 0x70,
    Xor = 0xa0,
}

/// An unsigned 64-bit comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Cmp {
    Eq = 0x10,
    Gt = 0x20,
    Ge = 0x30,
    /// Some bit in common.
    Set = 0x40,
    Ne = 0x50,
    Lt = 0xa0,
    Le = 0xb0,
    /// Signed less than.
    SignedLt = 0xc0,
}

/// Helper functions of the kernel, by their number in linux/bpf.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Helper {
    MapLookupElem = 1,
    MapUpdateElem = 2,
    MapDeleteElem = 3,
    SkbStoreBytes = 9,
    L3CsumReplace = 10,
    L4CsumReplace = 11,
    TailCall = 12,
    CloneRedirect = 13,
    SkbVlanPush = 18,
    SkbVlanPop = 19,
    SkbGetTunnelKey = 20,
    SkbSetTunnelKey = 21,
    Redirect = 23,
    SkbLoadBytes = 26,
    SkbGetTunnelOpt = 29,
    SkbSetTunnelOpt = 30,
    MapPushElem = 87,
    MapPopElem = 88,
    KtimeGetBootNs = 125,
    RingbufReserve = 131,
    RingbufSubmit = 132,
    RingbufDiscard = 133,
    CheckMtu = 163,
    ForEachMapElem = 164,
    Loop = 181,
}

/// A place in the program that jumps go to, until it is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Label(usize);

/// Where a jump's offset goes.
#[derive(Debug, Clone, Copy)]
enum Fixup {
    /// A jump's 16-bit offset; an unconditional one's 32-bit offset, where that is too short.
    Jump { at: usize },
    /// The 32-bit offset of a call.
    Call { at: usize },
}

/// What is wrong with a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AsmError {
    /// It is too large for its own jumps.
    #[error("a jump over {distance} instructions is longer than the 32767 that a comparison can jump")]
    TooFar {
        /// How far it would go.
        distance: usize,
    },
    /// A jump back, or to nowhere.
    #[error("a jump goes back, or to a label that is nowhere")]
    NotForward,
}

/// A program as the kernel takes it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Code {
    /// 8 bytes an instruction.
    pub(crate) instructions: Vec<[u8; 8]>,
    /// Which instructions functions begin at, rising; the program's own beginning is not among them.
    pub(crate) functions: Vec<u32>,
}

/// A program under way.
#[derive(Debug, Default)]
pub(crate) struct Asm {
    instructions: Vec<[u8; 8]>,
    /// For each label, what waits for it; None once it is bound.
    waiting: Vec<Option<Vec<Fixup>>>,
    /// Nothing leads here.
    dead: bool,
    functions: Vec<u32>,
    /// Where a label was bound last.
    bound: usize,
    error: Option<AsmError>,
}

/// A jump over more instructions has a 32-bit offset: the kernel puts others in the place of some, and does
/// not take a jump that then is too long for 16 bits.
const SHORT: i16 = 4096;
const ALU64: u8 = 0x07;
const JMP: u8 = 0x05;
const JMP32: u8 = 0x06;
const BY_REGISTER: u8 = 0x08;
const MOV: u8 = 0xb0;
const LD_IMM64: u8 = 0x18;
const LDX: u8 = 0x61;
const STX: u8 = 0x63;
const ST: u8 = 0x62;
/// LDX, STX and ST hold MEM mode and W size: the size's bits replace W's 0.
const CALL: u8 = 0x85;
/// STX with ATOMIC mode and D size, and what its immediate says.
const ATOMIC: u8 = 0xdb;
const COMPARE_EXCHANGE: i32 = 0xf1;
const EXIT: u8 = 0x95;
const TO_BIG_ENDIAN: u8 = 0xdc;
/// What the source register of LD_IMM64 says its value is.
const PSEUDO_MAP_FD: u8 = 1;
const PSEUDO_MAP_VALUE: u8 = 2;
const PSEUDO_FUNC: u8 = 4;
/// What the source register of CALL says.
const PSEUDO_CALL: u8 = 1;

impl Asm {
    /// The program.
    pub(crate) fn finish(self) -> Result<Code, AsmError> {
        let still_waiting = self.waiting.iter().flatten().any(|fixups| !fixups.is_empty());
        match self.error.or(still_waiting.then_some(AsmError::NotForward)) {
            Some(error) => Err(error),
            None => Ok(Code { instructions: self.instructions, functions: self.functions }),
        }
    }

    /// A label, to be bound later.
    pub(crate) fn label(&mut self) -> Label {
        self.waiting.push(Some(Vec::new()));
        Label(self.waiting.len() - 1)
    }

    /// The label is here.
    pub(crate) fn bind(&mut self, label: Label) {
        let Some(mut fixups) = self.waiting[label.0].take() else {
            self.error = Some(AsmError::NotForward);
            return;
        };
        // A jump to the next instruction is none, unless another label stands between them.
        if let Some(Fixup::Jump { at }) = fixups.last().copied()
            && at + 1 == self.instructions.len()
            && self.instructions[at][0] == JMP
            && self.bound != at + 1
        {
            fixups.pop();
            self.instructions.pop();
            self.dead = false;
        }
        if !fixups.is_empty() {
            self.dead = false;
            self.bound = self.instructions.len();
        }
        if fixups.iter().any(|fixup| matches!(fixup, Fixup::Call { .. })) {
            self.functions.extend(u32::try_from(self.instructions.len()));
        }
        for fixup in fixups {
            self.resolve(fixup);
        }
    }

    /// Have what waits go to the next instruction.
    fn resolve(&mut self, fixup: Fixup) {
        let (Fixup::Jump { at } | Fixup::Call { at }) = fixup;
        let distance = self.instructions.len() - at - 1;
        let instruction = &mut self.instructions[at];
        let short = i16::try_from(distance).ok().filter(|short| *short <= SHORT || instruction[0] != JMP);
        match (fixup, short, i32::try_from(distance)) {
            (Fixup::Call { .. }, _, Ok(long)) => instruction[4..8].copy_from_slice(&long.to_le_bytes()),
            (Fixup::Jump { .. }, Some(short), _) => instruction[2..4].copy_from_slice(&short.to_le_bytes()),
            (Fixup::Jump { .. }, None, Ok(long)) if instruction[0] == JMP => {
                instruction[0] = JMP32;
                instruction[4..8].copy_from_slice(&long.to_le_bytes());
            }
            _ => self.error = Some(AsmError::TooFar { distance }),
        }
    }

    /// `dst = src`
    pub(crate) fn mov(&mut self, dst: Reg, src: Reg) {
        self.emit(ALU64 | BY_REGISTER | MOV, dst as u8, src as u8, 0, 0);
    }

    /// `dst = value`
    pub(crate) fn set(&mut self, dst: Reg, value: u64) {
        match i32::try_from(value.cast_signed()) {
            Ok(value) => self.emit(ALU64 | MOV, dst as u8, 0, 0, value),
            Err(_) => self.wide(dst, 0, value),
        }
    }

    /// `dst = map`, for a helper.
    pub(crate) fn map(&mut self, dst: Reg, fd: i32) {
        self.wide(dst, PSEUDO_MAP_FD, u64::from(fd.cast_unsigned()));
    }

    /// `dst` points into the value of an array map of one element, at an offset.
    pub(crate) fn map_value(&mut self, dst: Reg, fd: i32, offset: u32) {
        self.wide(dst, PSEUDO_MAP_VALUE, u64::from(offset) << 32 | u64::from(fd.cast_unsigned()));
    }

    /// `dst = dst OP src`
    pub(crate) fn alu(&mut self, op: Alu, dst: Reg, src: Reg) {
        self.emit(ALU64 | BY_REGISTER | op as u8, dst as u8, src as u8, 0, 0);
    }

    /// `dst = dst OP value`; `scratch` is lost where the value is wider than an instruction holds.
    pub(crate) fn alu_imm(&mut self, op: Alu, dst: Reg, value: u64, scratch: Reg) {
        match i32::try_from(value.cast_signed()) {
            Ok(value) => self.emit(ALU64 | op as u8, dst as u8, 0, 0, value),
            Err(_) => {
                self.set(scratch, value);
                self.alu(op, dst, scratch);
            }
        }
    }

    /// `dst = dst << bits`
    pub(crate) fn shl(&mut self, dst: Reg, bits: u32) {
        if bits > 0 {
            self.emit(ALU64 | Alu::Lsh as u8, dst as u8, 0, 0, bits.cast_signed());
        }
    }

    /// `dst = dst >> bits`
    pub(crate) fn shr(&mut self, dst: Reg, bits: u32) {
        if bits > 0 {
            self.emit(ALU64 | Alu::Rsh as u8, dst as u8, 0, 0, bits.cast_signed());
        }
    }

    /// The lowest 16, 32 or 64 bits of `dst`, from or to network byte order; the others are 0.
    pub(crate) fn big_endian(&mut self, dst: Reg, bits: i32) {
        self.emit(TO_BIG_ENDIAN, dst as u8, 0, 0, bits);
    }

    /// `dst = *(base + offset)`, the upper bits 0.
    pub(crate) fn load(&mut self, size: Size, dst: Reg, base: Reg, offset: i16) {
        self.emit(LDX | size as u8, dst as u8, base as u8, offset, 0);
    }

    /// `*(base + offset) = src`
    pub(crate) fn store(&mut self, size: Size, base: Reg, offset: i16, src: Reg) {
        self.emit(STX | size as u8, base as u8, src as u8, offset, 0);
    }

    /// `*(base + offset) = value`, sign-extended
    pub(crate) fn store_imm(&mut self, size: Size, base: Reg, offset: i16, value: i32) {
        self.emit(ST | size as u8, base as u8, 0, offset, value);
    }

    /// At once, for all CPUs: if the 64 bits at `base + offset` are R0, they become `src`. R0 is what
    /// they were.
    pub(crate) fn compare_exchange(&mut self, base: Reg, offset: i16, src: Reg) {
        self.emit(ATOMIC, base as u8, src as u8, offset, COMPARE_EXCHANGE);
    }

    /// Go on at the label.
    pub(crate) fn jump(&mut self, label: Label) {
        self.wait(label, |at| Fixup::Jump { at });
        self.emit(JMP, 0, 0, 0, 0);
        self.dead = true;
    }

    /// Go on at the label if `a CMP b`.
    pub(crate) fn jump_if(&mut self, cmp: Cmp, a: Reg, b: Reg, label: Label) {
        self.wait(label, |at| Fixup::Jump { at });
        self.emit(JMP | BY_REGISTER | cmp as u8, a as u8, b as u8, 0, 0);
    }

    /// Go on at the label if `a CMP value`.
    pub(crate) fn jump_if_imm(&mut self, cmp: Cmp, a: Reg, value: i32, label: Label) {
        self.wait(label, |at| Fixup::Jump { at });
        self.emit(JMP | cmp as u8, a as u8, 0, 0, value);
    }

    /// Call a helper: arguments in R1 to R5, the result in R0.
    pub(crate) fn call(&mut self, helper: Helper) {
        self.emit(CALL, 0, 0, 0, helper as i32);
    }

    /// Call a function of the program.
    pub(crate) fn call_local(&mut self, function: Label) {
        self.wait(function, |at| Fixup::Call { at });
        self.emit(CALL, 0, PSEUDO_CALL, 0, 0);
    }

    /// `dst = function`, for a helper that calls it.
    pub(crate) fn function(&mut self, dst: Reg, function: Label) {
        self.wait(function, |at| Fixup::Call { at });
        self.wide(dst, PSEUDO_FUNC, 0);
    }

    /// Return R0.
    pub(crate) fn exit(&mut self) {
        self.emit(EXIT, 0, 0, 0, 0);
        self.dead = true;
    }

    fn wait(&mut self, label: Label, fixup: fn(usize) -> Fixup) {
        if self.dead {
            return;
        }
        match &mut self.waiting[label.0] {
            Some(fixups) => fixups.push(fixup(self.instructions.len())),
            None => self.error = Some(AsmError::NotForward),
        }
    }

    fn wide(&mut self, dst: Reg, pseudo: u8, value: u64) {
        self.emit(LD_IMM64, dst as u8, pseudo, 0, (value as u32).cast_signed());
        self.emit(0, 0, 0, 0, ((value >> 32) as u32).cast_signed());
    }

    fn emit(&mut self, code: u8, dst: u8, src: u8, offset: i16, imm: i32) {
        if self.dead {
            return;
        }
        let ([o0, o1], [i0, i1, i2, i3]) = (offset.to_le_bytes(), imm.to_le_bytes());
        self.instructions.push([code, dst | src << 4, o0, o1, i0, i1, i2, i3]);
    }
}

#[cfg(test)]
mod tests {
    use super::{Asm, Cmp, Reg};

    #[test]
    fn code_that_nothing_leads_to_is_left_out() {
        let mut asm = Asm::default();
        let (never, end) = (asm.label(), asm.label());
        asm.set(Reg::R0, 0);
        asm.jump(end);
        asm.jump_if_imm(Cmp::Eq, Reg::R0, 1, never);
        asm.bind(never);
        asm.set(Reg::R0, 1);
        assert!(asm.dead);
        asm.bind(end);
        asm.exit();
        let code = asm.finish().unwrap().instructions.concat();
        assert_eq!(code, [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn jumps_land_on_their_labels() {
        let mut asm = Asm::default();
        let end = asm.label();
        asm.set(Reg::R0, 2);
        asm.jump_if_imm(Cmp::Eq, Reg::R0, 2, end);
        asm.set(Reg::R0, u64::MAX >> 1);
        asm.bind(end);
        asm.exit();
        let code = asm.finish().unwrap().instructions.concat();
        assert_eq!(code[8..16], [0x15, 0, 2, 0, 2, 0, 0, 0]);
    }

    #[test]
    fn a_jump_too_long_for_its_instruction_is_an_error() {
        let mut asm = Asm::default();
        let end = asm.label();
        asm.jump_if_imm(Cmp::Eq, Reg::R0, 2, end);
        (0..40_000).for_each(|_| asm.set(Reg::R0, 0));
        asm.bind(end);
        asm.exit();
        assert!(asm.finish().is_err());
    }
}
