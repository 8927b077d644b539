//! The variables that sets of packets range over: the bits of the packet that comes in, and of what
//! ct() answers on its way.
//!
//! A variable is a bit of a [`Key`]; each answer of ct() adds the words of a key that hold connection
//! tracking once more, behind the key's own. [`ORDER`] is the order in which diagrams decide them: it
//! decides how fast answers come, never which.

use crate::bdd::{Bdd, Level, Sets};
use footbridge_openflow::{Field, Key, Match};
use footbridge_pipeline::conntrack::state;
use footbridge_pipeline::{PortKind, PortSet};
use std::collections::BTreeMap;

/// One bit: of word `0 / 64`, bit `0 % 64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Var(pub(crate) u16);

/// How many words a key has.
pub(crate) const KEY_WORDS: usize = footbridge_openflow::key::KEY_WORDS;
/// The words that hold what ct() answered.
pub(crate) const CT_WORDS: std::ops::RangeInclusive<u8> = 36..=44;
/// How many connections one packet can be found to be of.
pub(crate) const MAX_CONNECTIONS: usize = 8;

const CT_LEN: usize = 9;
const WORDS: usize = KEY_WORDS + CT_LEN * MAX_CONNECTIONS;

/// The present bit of vlan_tci.
pub(crate) const VLAN_PRESENT: u128 = 0x1000;

impl Var {
    pub(crate) fn new(word: u8, bit: u8) -> Var {
        Var(u16::from(word) * 64 + u16::from(bit))
    }

    fn word(self) -> usize {
        usize::from(self.0) / 64
    }

    /// The same bit as it is answered of the connection `number`.
    pub(crate) fn of_connection(word: u8, bit: u8, number: u8) -> Var {
        let word = KEY_WORDS + usize::from(number) * CT_LEN + usize::from(word - CT_WORDS.start());
        Var((word * 64 + usize::from(bit)) as u16)
    }
}

/// Fields that many flows tell apart, the ones first that large tables match; all others follow.
const ORDER: &[Field] = &[
    Field::EthType,
    Field::ArpOp,
    Field::ArpTpa,
    Field::NwProto,
    Field::IpFrag,
    Field::EthDst,
    Field::NwDst,
    Field::Ipv6Dst,
    Field::TcpDst,
    Field::VlanTci,
    Field::InPortOxm,
    Field::EthSrc,
    Field::NwSrc,
    Field::Ipv6Src,
    Field::ArpSpa,
    Field::ArpSha,
    Field::TcpSrc,
    Field::TunDst,
    Field::NwTtl,
    Field::CtState,
    Field::CtMark,
    Field::CtLabel,
];

/// The variables in their order.
#[derive(Debug)]
pub(crate) struct Space {
    levels: Vec<Level>,
    vars: Vec<Var>,
}

/// What ct() shall answer, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Answer {
    /// Bits of [`state`].
    pub state: u8,
    /// The connection's mark.
    pub mark: u32,
    /// Its label.
    pub label: u128,
}

impl Space {
    pub(crate) fn new() -> Space {
        let mut space = Space { levels: vec![Level::MAX; WORDS * 64], vars: Vec::new() };
        for field in ORDER.iter().copied().chain(Field::all()) {
            let row = field.info();
            let words = if row.width > 64 { 2 } else { 1 };
            for word in row.location.word..row.location.word + words {
                let (shift, width) = if words == 2 { (0, 64) } else { (row.location.shift, row.width) };
                for bit in (shift..shift + width).rev() {
                    space.place(Var::new(word, bit));
                    if CT_WORDS.contains(&word) {
                        // The answers' bits stand side by side, as they may have to be compared.
                        (0..MAX_CONNECTIONS as u8)
                            .for_each(|number| space.place(Var::of_connection(word, bit, number)));
                    }
                }
            }
        }
        space
    }

    fn place(&mut self, var: Var) {
        let level = &mut self.levels[usize::from(var.0)];
        if *level == Level::MAX {
            *level = self.vars.len() as Level;
            self.vars.push(var);
        }
    }

    pub(crate) fn level(&self, var: Var) -> Level {
        self.levels.get(usize::from(var.0)).copied().unwrap_or(Level::MAX)
    }

    /// The packets that `matching` takes as they come in.
    pub(crate) fn set(&self, sets: &mut Sets, matching: &Match) -> Bdd {
        let mut literals = Vec::new();
        for term in matching.terms() {
            for bit in bits(term.mask) {
                literals.push((self.level(Var::new(term.word, bit)), term.value >> bit & 1 == 1));
            }
        }
        sets.cube(&mut literals)
    }

    /// The answers of ct() that are such as `matching` says of ct_state, ct_mark and ct_label, of the first
    /// connection.
    pub(crate) fn answers(&self, sets: &mut Sets, matching: &Match) -> Bdd {
        let tracked = matching.terms().iter().filter(|term| CT_WORDS.contains(&term.word));
        let mut literals = Vec::new();
        for term in tracked {
            for bit in bits(term.mask) {
                let var = Var::of_connection(term.word, bit, 0);
                // `trk` it always sets.
                if self.level(var) != Level::MAX && !is_trk(term.word, bit) {
                    literals.push((self.level(var), term.value >> bit & 1 == 1));
                }
            }
        }
        sets.cube(&mut literals)
    }

    /// The packets that one of some matches takes as they come in.
    pub(crate) fn any(&self, sets: &mut Sets, matches: impl IntoIterator<Item = Match>) -> Bdd {
        let mut by_mask: BTreeMap<Vec<(u8, u64)>, Vec<Match>> = BTreeMap::new();
        for matching in matches {
            let mask = matching.terms().iter().map(|term| (term.word, term.mask)).collect();
            by_mask.entry(mask).or_default().push(matching);
        }
        let mut parts = Vec::new();
        for (mask, matches) in by_mask {
            let mut places: Vec<(Level, usize, u8)> = (mask.iter().enumerate())
                .flat_map(|(term, (word, mask))| bits(*mask).map(move |bit| (term, *word, bit)))
                .map(|(term, word, bit)| (self.level(Var::new(word, bit)), term, bit))
                .collect();
            places.sort_unstable();
            let levels: Vec<Level> = places.iter().map(|(level, ..)| *level).collect();
            let row = |matching: &Match| {
                let value = |term: usize| matching.terms().get(term).map_or(0, |term| term.value);
                places.iter().map(|(_, term, bit)| value(*term) >> bit & 1 == 1).collect()
            };
            let mut rows: Vec<Vec<bool>> = matches.iter().map(row).collect();
            parts.push(sets.rows(&levels, &mut rows));
        }
        sets.union(parts)
    }

    /// The packets whose field has one of some values.
    pub(crate) fn values(
        &self,
        sets: &mut Sets,
        field: Field,
        values: impl IntoIterator<Item = u128>,
    ) -> Bdd {
        self.any(sets, values.into_iter().map(|value| Match::any().with(field, value)))
    }

    /// An assignment with the bits that a match compares as it wants them.
    pub(crate) fn with_match(&self, assigned: &[Level], matching: &Match) -> Vec<Level> {
        let mut literals = Vec::new();
        for term in matching.terms() {
            let of_term = |bit| (self.level(Var::new(term.word, bit)), term.value >> bit & 1 == 1);
            literals.extend(bits(term.mask).map(of_term));
        }
        let compared = |level: &Level| literals.iter().any(|(other, _)| other == level);
        let mut with: Vec<Level> = assigned.iter().copied().filter(|level| !compared(level)).collect();
        with.extend(literals.iter().filter(|(_, value)| *value).map(|(level, _)| *level));
        with.sort_unstable();
        with
    }

    /// Whether a variable only says of what kind a packet is: tunnelled, tagged, a fragment.
    pub(crate) fn says_kind(&self, level: Level) -> bool {
        let tunnel = usize::from(Field::Metadata.info().location.word);
        self.vars.get(level as usize).is_some_and(|var| {
            let of = |field: Field| {
                let location = field.info().location;
                let bits = u16::from(location.shift)..u16::from(location.shift + field.info().width);
                var.word() == usize::from(location.word) && bits.contains(&(var.0 % 64))
            };
            var.word() < tunnel || of(Field::VlanTci) || of(Field::IpFrag)
        })
    }

    /// What the packet and the answers are in an assignment.
    pub(crate) fn assignment(&self, assigned: &[Level]) -> Assignment {
        let mut words = vec![0_u64; WORDS];
        for level in assigned {
            if let Some(var) = self.vars.get(*level as usize) {
                words[var.word()] |= 1 << (var.0 % 64);
            }
        }
        Assignment { words }
    }

    /// A condition on bits as text that a match would have: the fields it fixes, wholly or in part.
    pub(crate) fn matching(&self, path: &[(Level, bool)]) -> Match {
        let mut words = vec![(0_u64, 0_u64); KEY_WORDS];
        for (level, value) in path {
            if let Some((word, bit)) = self
                .vars
                .get(*level as usize)
                .map(|var| (var.word(), var.0 % 64))
                .filter(|(w, _)| *w < KEY_WORDS)
            {
                words[word].0 |= 1 << bit;
                words[word].1 |= u64::from(*value) << bit;
            }
        }
        let mut matching = Match::any();
        let plain = Field::all().filter(|field| !field.name().starts_with('x'));
        for field in plain {
            let row = field.info();
            let (word, shift) = (usize::from(row.location.word), row.location.shift);
            let (mask, value) = if row.width > 64 {
                let join = |h: u64, l: u64| u128::from(h) << 64 | u128::from(l);
                (join(words[word].0, words[word + 1].0), join(words[word].1, words[word + 1].1))
            } else {
                (u128::from(words[word].0 >> shift), u128::from(words[word].1 >> shift))
            };
            let mask = mask & field.all_ones();
            if mask != 0 {
                matching.set(field, value & mask, mask);
            }
        }
        matching
    }

    /// What no frame can be, taken away: what is left is what can come in.
    ///
    /// Fields of layers that a packet lacks read 0. Here they may be anything, which is the same: no
    /// flow looks at them without looking for the layer. But fragments without ports, missing tags
    /// and the like are told of by bits of their own and so are said here.
    pub(crate) fn valid(&self, sets: &mut Sets, ports: &PortSet, tunnel_bits: &[u64]) -> Bdd {
        let mut valid = Bdd::ALL;
        let mut refuse = |sets: &mut Sets, set: Bdd| valid = sets.without(valid, set);
        let is = |field, value: u128| Match::any().with(field, value);
        // Ports that there are.
        let known = self.values(sets, Field::InPortOxm, ports.iter().map(|(port, _)| port.0.into()));
        let unknown = sets.not(known);
        refuse(sets, unknown);
        // Below 0x600 the type is a length and reads 0x5ff; behind a tag's type stands a tag.
        let mut lengths = Bdd::ALL;
        for bit in [15, 14, 13, 12, 11] {
            let clear = self.set(sets, &Match::any().with_masked(Field::EthType, 0_u32, 1_u128 << bit));
            lengths = sets.and(lengths, clear);
        }
        let high = self.set(sets, &Match::any().with_masked(Field::EthType, 0x600_u32, 0x600_u32));
        let none = self.set(sets, &is(Field::EthType, 0x5ff));
        let lengths = sets.without(lengths, high);
        let lengths = sets.without(lengths, none);
        refuse(sets, lengths);
        let tagged = self.set(sets, &Match::any().with_masked(Field::VlanTci, VLAN_PRESENT, VLAN_PRESENT));
        let untagged = sets.not(tagged);
        let tag_types = self.values(sets, Field::EthType, [0x8100, 0x88a8]);
        let half_tags = sets.and(untagged, tag_types);
        refuse(sets, half_tags);
        let empty_tci = self.set(sets, &is(Field::VlanTci, 0));
        let no_tag = sets.without(untagged, empty_tci);
        refuse(sets, no_tag);
        // arp_op beyond 255 reads 0.
        let arp = self.values(sets, Field::EthType, [0x0806, 0x8035]);
        let small = self.set(sets, &Match::any().with_masked(Field::ArpOp, 0_u32, 0xff00_u32));
        let large = sets.without(arp, small);
        refuse(sets, large);
        // ip_frag is no, first or later; later fragments have no transport header.
        let ip = self.values(sets, Field::EthType, [0x0800, 0x86dd]);
        let later_alone = self.set(sets, &is(Field::IpFrag, 2));
        let later_alone = sets.and(ip, later_alone);
        refuse(sets, later_alone);
        let later = self.set(sets, &is(Field::IpFrag, 3));
        let later = sets.and(ip, later);
        let transport = Field::TcpSrc.info().location.word..KEY_WORDS as u8;
        let zeros = transport.flat_map(|word| (0..64).map(move |bit| (Var::new(word, bit), false)));
        let mut zeros = zeros
            .map(|(var, value)| (self.level(var), value))
            .filter(|(level, _)| *level != Level::MAX)
            .collect();
        let bare = sets.cube(&mut zeros);
        let headed = sets.without(later, bare);
        refuse(sets, headed);
        let later6 = self.set(sets, &is(Field::IpFrag, 3).with(Field::EthType, 0x86dd_u32));
        let fragment_header = self.set(sets, &is(Field::NwProto, 44));
        let later6 = sets.without(later6, fragment_header);
        refuse(sets, later6);
        // Tunnel headers come with tunnels' packets.
        let tunnels =
            ports.iter().filter(|(_, kind)| *kind == PortKind::Tunnel).map(|(port, _)| port.0.into());
        let tunnelled = self.values(sets, Field::InPortOxm, tunnels);
        let plain = sets.not(tunnelled);
        for (word, used) in tunnel_bits.iter().enumerate() {
            for bit in bits(*used) {
                let set = sets.literal(self.level(Var::new(word as u8, bit)), true);
                let bare_tunnel = sets.and(plain, set);
                refuse(sets, bare_tunnel);
            }
        }
        valid
    }

    /// The answers that ct() can give of the connection `number`.
    pub(crate) fn consistent(&self, sets: &mut Sets, number: u8) -> Bdd {
        let [high, low] = [Field::CtState, Field::CtMark].map(|field| field.info().location);
        let answered = CONSISTENT.iter().map(|flags| {
            let mut literals: Vec<(Level, bool)> = FREE_STATES
                .iter()
                .map(|flag| {
                    let bit = high.shift + flag.trailing_zeros() as u8;
                    (self.level(Var::of_connection(high.word, bit, number)), flags & flag != 0)
                })
                .collect();
            if flags & state::INV != 0 {
                // What belongs to no connection has no mark.
                let marks = (0..32).map(|bit| (low.word, low.shift + bit));
                let label = Field::CtLabel.info().location.word;
                let labels =
                    [label, label + 1].into_iter().flat_map(|word| (0..64).map(move |bit| (word, bit)));
                literals.extend(
                    marks.chain(labels).map(|(w, b)| (self.level(Var::of_connection(w, b, number)), false)),
                );
            }
            sets.cube(&mut literals)
        });
        let answered: Vec<Bdd> = answered.collect();
        sets.union(answered)
    }
}

/// The flags of ct_state that ct() decides; `trk` it always sets.
pub(crate) const FREE_STATES: [u8; 5] = [state::NEW, state::EST, state::REL, state::RPL, state::INV];

/// The combinations that a tracker gives, Open vSwitch's included.
const CONSISTENT: [u8; 9] = [
    state::NEW,
    state::NEW | state::REL,
    state::EST,
    state::EST | state::RPL,
    state::EST | state::REL,
    state::EST | state::REL | state::RPL,
    state::REL,
    state::REL | state::RPL,
    state::INV,
];

/// What each bit is.
pub(crate) struct Assignment {
    words: Vec<u64>,
}

impl Assignment {
    /// The packet as it comes in.
    pub(crate) fn key(&self) -> Key {
        let mut key = Key::default();
        key.words_mut().copy_from_slice(&self.words[..KEY_WORDS]);
        key
    }

    /// What ct() answers of a connection.
    pub(crate) fn answer(&self, number: u8) -> Answer {
        let mut key = Key::default();
        for word in CT_WORDS {
            let place = KEY_WORDS + usize::from(number) * CT_LEN + usize::from(word - CT_WORDS.start());
            key.words_mut()[usize::from(word)] = self.words[place];
        }
        Answer {
            state: key.get(Field::CtState) as u8 | state::TRK,
            mark: key.get(Field::CtMark) as u32,
            label: key.get(Field::CtLabel),
        }
    }
}

/// Whether a bit of the key is `trk` in ct_state.
fn is_trk(word: u8, bit: u8) -> bool {
    let place = Field::CtState.info().location;
    (word, bit) == (place.word, place.shift + state::TRK.trailing_zeros() as u8)
}

/// The numbers of the bits that are set.
pub(crate) fn bits(mut mask: u64) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        (mask != 0).then(|| {
            let bit = mask.trailing_zeros() as u8;
            mask &= mask - 1;
            bit
        })
    })
}
