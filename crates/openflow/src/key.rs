//! The packet as the tables see it: every field's bits, in one fixed layout.

use crate::action::Subfield;
use crate::field::{Field, Prereq, ones};
use core::fmt;

/// The present bit of vlan_tci.
const VLAN_PRESENT: u128 = 0x1000;
/// The bit of ip_frag that later fragments have.
const FRAG_LATER: u128 = 2;
/// `new`, `est` and `rpl` of ct_state: of packets that are of a connection.
const CT_OF_A_CONNECTION: u128 = 0x0b;

/// Number of 64-bit words in a [`Key`].
pub const KEY_WORDS: usize = 62;

/// All fields of one packet, laid out as [`crate::field::Location`] says.
///
/// Guarantees: `set` then `get` of a field returns the value cut to the field's width, and leaves
/// every bit outside the field as it was. Fields that share bits (`reg0` and `xreg0`, `tcp_src` and
/// `udp_src`) see each other's writes. Never panics.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key([u64; KEY_WORDS]);

impl Key {
    /// The value of `field`, in its lowest bits.
    pub fn get(&self, field: Field) -> u128 {
        let row = field.info();
        let word = usize::from(row.location.word);
        if row.width > 64 {
            (u128::from(self.0[word]) << 64) | u128::from(self.0[word + 1])
        } else {
            u128::from(self.0[word] >> row.location.shift) & ones(field.width())
        }
    }

    /// Set `field` to the lowest bits of `value`.
    pub fn set(&mut self, field: Field, value: u128) {
        let row = field.info();
        let word = usize::from(row.location.word);
        if row.width > 64 {
            self.0[word] = (value >> 64) as u64;
            self.0[word + 1] = value as u64;
        } else {
            let mask = (ones(field.width()) as u64) << row.location.shift;
            let bits = ((value as u64) << row.location.shift) & mask;
            self.0[word] = (self.0[word] & !mask) | bits;
        }
    }

    /// Set only those bits of `field` that `mask` has.
    pub fn set_masked(&mut self, field: Field, value: u128, mask: u128) {
        self.set(field, (self.get(field) & !mask) | (value & mask));
    }

    /// The bits that an action reads, right-aligned.
    pub fn read(&self, part: Subfield) -> u128 {
        (self.get(part.field) & part.field.known_bits() & part.mask()) >> part.offset
    }

    /// Write the lowest bits of `value` as an action does.
    pub fn write(&mut self, part: Subfield, value: u128) {
        let mask = part.mask() & part.field.known_bits();
        self.set_masked(part.field, value << part.offset, mask);
    }

    /// Whether the packet has the fields with this prerequisite.
    pub fn has(&self, prereq: Prereq) -> bool {
        let is = |field, value: u128| self.get(field) == value;
        let v4 = || is(Field::EthType, 0x0800);
        let v6 = || is(Field::EthType, 0x86dd);
        let ip = || v4() || v6();
        let whole = || self.get(Field::IpFrag) & FRAG_LATER == 0;
        let transport = |proto: u128| ip() && is(Field::NwProto, proto) && whole();
        let icmpv6 = || v6() && is(Field::NwProto, 58) && whole();
        let nd = |kind: u128| icmpv6() && is(Field::Icmpv6Code, 0) && is(Field::Icmpv6Type, kind);
        match prereq {
            Prereq::None | Prereq::Ethernet => true,
            Prereq::Vlan => self.get(Field::VlanTci) & VLAN_PRESENT != 0,
            Prereq::Arp => is(Field::EthType, 0x0806) || is(Field::EthType, 0x8035),
            Prereq::Ipv4 => v4(),
            Prereq::Ipv6 => v6(),
            Prereq::Ip => ip(),
            Prereq::Tcp => transport(6),
            Prereq::Udp => transport(17),
            Prereq::Sctp => transport(132),
            Prereq::Icmpv4 => v4() && is(Field::NwProto, 1) && whole(),
            Prereq::Icmpv6 => icmpv6(),
            Prereq::Nd => nd(135) || nd(136),
            Prereq::NdSolicit => nd(135),
            Prereq::NdAdvert => nd(136),
            Prereq::Ct => self.get(Field::CtState) & CT_OF_A_CONNECTION != 0,
        }
    }

    /// The words, for lookups by whole words.
    pub fn words(&self) -> &[u64; KEY_WORDS] {
        &self.0
    }

    /// The words, for writing by whole words.
    pub fn words_mut(&mut self) -> &mut [u64; KEY_WORDS] {
        &mut self.0
    }
}

impl Default for Key {
    fn default() -> Self {
        Key([0; KEY_WORDS])
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for field in Field::all() {
            let value = self.get(field);
            if value != 0 {
                map.entry(&field.name(), &format_args!("{value:#x}"));
            }
        }
        map.finish()
    }
}

#[cfg(test)]
mod tests;
