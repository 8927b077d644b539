//! The packet on its way, told by the packet that came in: which of its bits are known, and of which
//! bit that came in each other one is a copy.

use crate::bdd::{Bdd, Sets};
use crate::live::Live;
use crate::space::{Space, Var, bits};
use footbridge_openflow::action::Subfield;
use footbridge_openflow::field::Prereq;
use footbridge_openflow::matching::Term;
use footbridge_openflow::{Field, Match};

/// One bit of the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Bit {
    /// It is this.
    Known(bool),
    /// It is what this variable is.
    Of(Var),
    /// It is set for the packets of this set, and not for others.
    In(Bdd),
}

/// A word that is not as it came in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Word {
    number: u8,
    /// Bits that are known.
    known: u64,
    /// What they are.
    value: u64,
    /// Bits that are something else; sorted.
    moved: Vec<(u8, Bit)>,
}

impl Word {
    fn as_came(number: u8) -> Word {
        Word { number, known: 0, value: 0, moved: Vec::new() }
    }

    fn bit(&self, bit: u8) -> Bit {
        if self.known >> bit & 1 == 1 {
            return Bit::Known(self.value >> bit & 1 == 1);
        }
        match self.moved.binary_search_by_key(&bit, |(b, _)| *b) {
            Ok(place) => self.moved[place].1,
            Err(_) => Bit::Of(Var::new(self.number, bit)),
        }
    }

    fn set_known(&mut self, mask: u64, value: u64) {
        self.known |= mask;
        self.value = (self.value & !mask) | (value & mask);
        self.moved.retain(|(bit, _)| mask >> bit & 1 == 0);
    }

    fn set(&mut self, bit: u8, to: Bit) {
        match to {
            Bit::Known(value) => self.set_known(1 << bit, u64::from(value) << bit),
            Bit::Of(_) | Bit::In(_) => {
                self.known &= !(1 << bit);
                self.value &= !(1 << bit);
                let itself = to == Bit::Of(Var::new(self.number, bit));
                match (self.moved.binary_search_by_key(&bit, |(b, _)| *b), itself) {
                    (Ok(place), true) => drop(self.moved.remove(place)),
                    (Ok(place), false) => self.moved[place].1 = to,
                    (Err(_), true) => {}
                    (Err(place), false) => self.moved.insert(place, (bit, to)),
                }
            }
        }
    }

    fn is_as_came(&self) -> bool {
        self.known == 0 && self.moved.is_empty()
    }
}

/// All bits of the packet. Equal images look the same to every flow, whatever packet came in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct Image {
    /// Those that are not as they came in; sorted.
    words: Vec<Word>,
    /// What `push` put aside.
    pub(crate) stack: Vec<Vec<Bit>>,
    /// The tags that `push_vlan` covered.
    pub(crate) covered: Vec<Vec<Bit>>,
    /// By how much nw_ttl is less than it came in, where its bits are as they came in.
    pub(crate) ttl_less: u8,
}

impl Image {
    fn word_mut(&mut self, number: u8) -> &mut Word {
        let place = match self.words.binary_search_by_key(&number, |word| word.number) {
            Ok(place) => place,
            Err(place) => {
                self.words.insert(place, Word::as_came(number));
                place
            }
        };
        &mut self.words[place]
    }

    fn word(&self, number: u8) -> Option<&Word> {
        self.words.binary_search_by_key(&number, |word| word.number).ok().map(|place| &self.words[place])
    }

    fn changed(&mut self, number: u8) {
        if let Ok(place) = self.words.binary_search_by_key(&number, |word| word.number)
            && self.words[place].is_as_came()
        {
            self.words.remove(place);
        }
    }

    /// Make bits of one word known.
    pub(crate) fn set_word(&mut self, number: u8, mask: u64, value: u64) {
        if mask != 0 {
            self.word_mut(number).set_known(mask, value);
        }
    }

    /// Make bits of a field known.
    pub(crate) fn set(&mut self, field: Field, value: u128, mask: u128) {
        let row = field.info();
        let (word, shift) = (row.location.word, row.location.shift);
        let mask = mask & field.all_ones();
        if row.width > 64 {
            self.set_word(word, (mask >> 64) as u64, (value >> 64) as u64);
            self.set_word(word + 1, mask as u64, value as u64);
        } else {
            self.set_word(word, (mask as u64) << shift, (value as u64) << shift);
        }
    }

    /// One bit, by its place in the key.
    pub(crate) fn bit(&self, number: u8, bit: u8) -> Bit {
        self.word(number).map_or(Bit::Of(Var::new(number, bit)), |word| word.bit(bit))
    }

    pub(crate) fn set_bit(&mut self, number: u8, bit: u8, to: Bit) {
        self.word_mut(number).set(bit, to);
        self.changed(number);
    }

    /// A field's bits, from the lowest.
    pub(crate) fn field(&self, field: Field) -> Vec<Bit> {
        (0..field.info().width).map(|bit| self.bit_of(field, bit)).collect()
    }

    fn bit_of(&self, field: Field, bit: u8) -> Bit {
        let (word, bit) = place(field, bit);
        self.bit(word, bit)
    }

    pub(crate) fn set_bit_of(&mut self, field: Field, bit: u8, to: Bit) {
        let (word, bit) = place(field, bit);
        self.set_bit(word, bit, to);
    }

    /// The bits that an action reads, from the lowest.
    pub(crate) fn read(&self, part: Subfield) -> Vec<Bit> {
        let known = part.field.known_bits();
        (part.offset..part.offset + part.bits)
            .map(|bit| match known >> bit & 1 {
                0 => Bit::Known(false),
                _ => self.bit_of(part.field, bit),
            })
            .collect()
    }

    /// Write bits as an action does.
    pub(crate) fn write(&mut self, part: Subfield, from: &[Bit]) {
        let known = part.field.known_bits();
        for (bit, to) in (part.offset..part.offset + part.bits).zip(from) {
            if known >> bit & 1 == 1 {
                self.set_bit_of(part.field, bit, *to);
            }
        }
    }

    /// The number that bits are, if all of them are known.
    pub(crate) fn number(bits: &[Bit]) -> Option<u128> {
        bits.iter().rev().try_fold(0, |number, bit| match bit {
            Bit::Known(bit) => Some(number << 1 | u128::from(*bit)),
            Bit::Of(_) | Bit::In(_) => None,
        })
    }

    /// Whether all bits of a field are as they came in.
    pub(crate) fn is_as_came(&self, field: Field) -> bool {
        (0..field.info().width).all(|bit| {
            let (word, place) = place(field, bit);
            self.bit(word, place) == Bit::Of(Var::new(word, place))
        })
    }

    /// Whether the packet is known by what came in, of the bits that the terms compare.
    pub(crate) fn leaves_alone(&self, matching: &Match) -> bool {
        matching.terms().iter().all(|term| {
            self.word(term.word).is_none_or(|word| {
                word.known & term.mask == 0 && word.moved.iter().all(|(bit, _)| term.mask >> bit & 1 == 0)
            })
        })
    }

    /// The packets that come in which are now such as `matching` takes.
    pub(crate) fn set_of(&self, sets: &mut Sets, space: &Space, matching: &Match) -> Bdd {
        let (mut literals, mut others) = (Vec::new(), Vec::new());
        for Term { word: number, mask, value } in matching.terms() {
            let word = self.word(*number);
            let known = word.map_or(0, |word| word.known & mask);
            if word.is_some_and(|word| (word.value ^ value) & known != 0) {
                return Bdd::NONE;
            }
            for bit in bits(mask & !known) {
                let wanted = value >> bit & 1 == 1;
                match word.map_or(Bit::Of(Var::new(*number, bit)), |word| word.bit(bit)) {
                    Bit::Of(var) => literals.push((space.level(var), wanted)),
                    Bit::In(set) => others.push((set, wanted)),
                    Bit::Known(_) => {}
                }
            }
        }
        let cube = sets.cube(&mut literals);
        others.into_iter().fold(cube, |left, (set, wanted)| match wanted {
            true => sets.and(left, set),
            false => sets.without(left, set),
        })
    }

    /// The packets that come in for which a field is `value` now.
    pub(crate) fn is(&self, sets: &mut Sets, space: &Space, field: Field, value: u128) -> Bdd {
        self.set_of(sets, space, &Match::any().with(field, value))
    }

    /// The packets that have fields with this prerequisite: what the evaluator asks.
    pub(crate) fn has(&self, sets: &mut Sets, space: &Space, prereq: Prereq) -> Bdd {
        let ip = [0x0800_u16, 0x86dd];
        let whole = |matching: Match| matching.with_masked(Field::IpFrag, 0_u32, 2_u32);
        let transport = |types: &[u16], proto: u8| -> Vec<Match> {
            let of = |eth: &u16| whole(Match::any().with(Field::EthType, *eth).with(Field::NwProto, proto));
            types.iter().map(of).collect()
        };
        let nd = |kind: u8| {
            transport(&[0x86dd], 58)
                .into_iter()
                .map(move |m| m.with(Field::Icmpv6Code, 0_u8).with(Field::Icmpv6Type, kind))
        };
        let types = |types: &[u16]| -> Vec<Match> {
            types.iter().map(|eth| Match::any().with(Field::EthType, *eth)).collect()
        };
        let alternatives: Vec<Match> = match prereq {
            Prereq::None | Prereq::Ethernet => return Bdd::ALL,
            Prereq::Vlan => vec![Match::any().with_masked(Field::VlanTci, 0x1000_u32, 0x1000_u32)],
            Prereq::Arp => types(&[0x0806, 0x8035]),
            Prereq::Ipv4 => types(&[0x0800]),
            Prereq::Ipv6 => types(&[0x86dd]),
            Prereq::Ip => types(&ip),
            Prereq::Tcp => transport(&ip, 6),
            Prereq::Udp => transport(&ip, 17),
            Prereq::Sctp => transport(&ip, 132),
            Prereq::Icmpv4 => transport(&[0x0800], 1),
            Prereq::Icmpv6 => transport(&[0x86dd], 58),
            Prereq::Nd => nd(135).chain(nd(136)).collect(),
            Prereq::NdSolicit => nd(135).collect(),
            Prereq::NdAdvert => nd(136).collect(),
            Prereq::Ct => [1_u32, 2, 8]
                .into_iter()
                .map(|flag| Match::any().with_masked(Field::CtState, flag, flag))
                .collect(),
        };
        let cubes: Vec<Bdd> =
            alternatives.iter().map(|matching| self.set_of(sets, space, matching)).collect();
        sets.union(cubes)
    }

    /// Forget the bits that `live` does not have, which nobody will look at: they count as they came in.
    pub(crate) fn forget_but(&mut self, live: &Live) {
        self.words.retain_mut(|word| {
            let live = live.word(word.number);
            word.known &= live;
            word.value &= live;
            word.moved.retain(|(bit, _)| live >> bit & 1 == 1);
            !word.is_as_came()
        });
    }
}

impl Image {
    /// The image without some bits, which count as they came in.
    pub(crate) fn without(&self, bits: &Live) -> Image {
        let mut image = self.clone();
        image.forget_but(&bits.inverted());
        image
    }

    /// One image for packets that have several, which differ in `bits` only; no packet has two of them.
    pub(crate) fn merged(sets: &mut Sets, space: &Space, parts: &[(Image, Bdd)], over: &Live) -> Image {
        let mut merged = parts.first().map(|(image, _)| image.clone()).unwrap_or_default();
        let mut words: Vec<u8> =
            parts.iter().flat_map(|(image, _)| image.words.iter().map(|word| word.number)).collect();
        words.sort_unstable();
        words.dedup();
        for number in words {
            for bit in bits(over.word(number)) {
                let first = merged.bit(number, bit);
                if parts.iter().any(|(image, _)| image.bit(number, bit) != first) {
                    let with: Vec<Bdd> = parts
                        .iter()
                        .map(|(image, packets)| set_within(sets, space, *packets, image.bit(number, bit)))
                        .collect();
                    merged.set_bit(number, bit, Bit::In(sets.union(with)));
                }
            }
        }
        merged
    }
}

/// The packets of `within` for which a bit is set.
pub(crate) fn set_within(sets: &mut Sets, space: &Space, within: Bdd, bit: Bit) -> Bdd {
    match bit {
        Bit::Known(true) => within,
        Bit::Known(false) => Bdd::NONE,
        Bit::Of(var) => {
            let set = sets.literal(space.level(var), true);
            sets.and(within, set)
        }
        Bit::In(set) => sets.and(within, set),
    }
}

/// The packets of `within` for which a bit is `value`.
fn is_within(sets: &mut Sets, space: &Space, within: Bdd, bit: Bit, value: bool) -> Bdd {
    match (bit, value) {
        (_, true) => set_within(sets, space, within, bit),
        (Bit::Known(set), false) => {
            if set {
                Bdd::NONE
            } else {
                within
            }
        }
        (Bit::Of(var), false) => {
            let unset = sets.literal(space.level(var), false);
            sets.and(within, unset)
        }
        (Bit::In(set), false) => sets.without(within, set),
    }
}

/// The packets of `within` for which two bits differ.
fn differing_bit(sets: &mut Sets, space: &Space, within: Bdd, a: Bit, b: Bit) -> Bdd {
    match (a, b) {
        _ if a == b => return Bdd::NONE,
        (Bit::Known(value), other) | (other, Bit::Known(value)) => {
            return is_within(sets, space, within, other, !value);
        }
        _ => {}
    }
    let a = set_within(sets, space, within, a);
    let b = set_within(sets, space, within, b);
    let (only_a, only_b) = (sets.without(a, b), sets.without(b, a));
    sets.or(only_a, only_b)
}

/// The packets of `within` for which two numbers are equal. For numbers of which one is known, or
/// copies of the same bits: of two that vary by themselves the set would be too large (see
/// [`differ_within`]).
pub(crate) fn equal_within(sets: &mut Sets, space: &Space, within: Bdd, a: &[Bit], b: &[Bit]) -> Bdd {
    a.iter().zip(b).fold(within, |left, (a, b)| {
        if let (Bit::Known(value), other) | (other, Bit::Known(value)) = (*a, *b) {
            return is_within(sets, space, left, other, value);
        }
        let differing = differing_bit(sets, space, left, *a, *b);
        sets.without(left, differing)
    })
}

/// Some packets of `within` for which two numbers differ, if there are any: of two that vary by themselves
/// only those that differ in one bit.
pub(crate) fn differ_within(sets: &mut Sets, space: &Space, within: Bdd, a: &[Bit], b: &[Bit]) -> Bdd {
    let mut known = Bdd::NONE;
    for (a, b) in a.iter().zip(b) {
        let differing = differing_bit(sets, space, within, *a, *b);
        match (a, b) {
            _ if differing.is_none() => {}
            (Bit::Of(_), Bit::Of(_)) => return differing,
            _ => known = sets.or(known, differing),
        }
    }
    known
}

/// Where a field's bit is in the key.
pub(crate) fn place(field: Field, bit: u8) -> (u8, u8) {
    let row = field.info();
    match row.width > 64 {
        true if bit >= 64 => (row.location.word, bit - 64),
        true => (row.location.word + 1, bit),
        false => (row.location.word, row.location.shift + bit),
    }
}
