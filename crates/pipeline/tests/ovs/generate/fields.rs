//! Fields, their values and their masks, drawn from the packets of the case.

use super::Generator;
use footbridge_openflow::field::{Format, Masking, Prereq};
use footbridge_openflow::{Field, Field::*, Key, Match};

/// Values and masks of ip_frag that text has words for: no, yes, first, later, not_later.
const FRAGMENTS: [(u128, u128); 5] = [(0, 3), (1, 1), (1, 3), (3, 3), (0, 2)];
const TRACKED: u128 = 0x20;
/// The bits of ct_state that are not about address translation.
const STATES: u128 = 0x3f;
const VLAN_PRESENT: u128 = 0x1000;

impl Generator<'_> {
    /// A match that some packet of the case may meet.
    pub(super) fn matching(&mut self) -> Match {
        let base = self.random.pick(&(0..self.keys.len()).collect::<Vec<_>>());
        let base = self.keys[base].clone();
        let mut matching = Match::any();
        let fields = self.random.pick(&[0, 0, 1, 1, 1, 2, 2, 3, 4]);
        for _ in 0..fields {
            let field = self.matched_field();
            if let Some(needed) = needed(field, &base) {
                for (field, mask) in needed {
                    matching.set(field, base.get(field) & mask, mask);
                }
                let decides =
                    matches!(field, EthType | NwProto | IcmpType | Icmpv6Type | Icmpv6Code | CtState);
                // What other fields hang on is as the packet has it, except alone.
                let (value, mask) = match decides && fields > 1 {
                    true => (base.get(field), field.all_ones()),
                    false => self.value_and_mask(field, base.get(field)),
                };
                // Without the option the field reads 0 here, and takes no match there.
                if field != TunMetadata0 || value & mask != 0 {
                    matching.set(field, value & mask, mask);
                }
            }
        }
        matching
    }

    fn matched_field(&mut self) -> Field {
        let all: Vec<Field> = Field::all().filter(|field| self.can_match(*field)).collect();
        self.random.pick(&all)
    }

    fn can_match(&self, field: Field) -> bool {
        let tunnel = field.name().starts_with("tun_");
        match field {
            // Given by other names here, or by no name at all.
            InPortOxm | SkbPriority | PacketType | ConjId => false,
            // Only the first is mapped to an option.
            TunMetadata0 => self.palette.tunnels,
            _ if field.name().starts_with("tun_metadata") => false,
            TunId => true,
            _ => !tunnel || self.palette.tunnels,
        }
    }

    /// A value that a packet had, mostly, and a mask that the field may have.
    fn value_and_mask(&mut self, field: Field, value: u128) -> (u128, u128) {
        let info = field.info();
        let all = field.all_ones();
        if field == IpFrag {
            let known = FRAGMENTS.iter().copied().filter(|(v, mask)| value & mask == *v).collect::<Vec<_>>();
            return if self.random.one_in(4) {
                self.random.pick(&FRAGMENTS)
            } else {
                self.random.pick(&known)
            };
        }
        if field == ActsetOutput {
            return (self.random.pick(&[1, 2, 3, 4, 5]), all);
        }
        if field == VlanTci {
            // OXM has no match on part of a tag without its presence.
            let untagged = value & VLAN_PRESENT == 0;
            let masks: &[u128] = if untagged { &[0xffff, 0x1000] } else { &[0xffff, 0x1fff, 0xf000, 0x1000] };
            return (value, self.random.pick(masks));
        }
        let mask = match info.masking {
            Masking::Exact => all,
            Masking::Bitwise if field == TunGbpFlags => all,
            // One option of 32 bits is mapped to it.
            Masking::Bitwise if field == TunMetadata0 => self.random.pick(&[0xffff_ffff, 0xff, 0x1]),
            Masking::Bitwise if field == CtState => {
                self.random.pick(&[0x21, 0x22, 0x28, 0x20, 0x30, 0x04, STATES])
            }
            Masking::Bitwise => self.mask(field, all),
        };
        let possible = if field == CtState { STATES } else { field.known_bits() };
        let value = match self.random.below(8) {
            0 => value ^ (1 << self.random.below(field.width().into())) & possible,
            1 => self.random.bits(field.width()) & possible,
            _ => value,
        };
        match field {
            // OXM has no match on part of a tag without its presence.
            VlanVid => (value | VLAN_PRESENT, mask | VLAN_PRESENT),
            // ovs-ofctl loses a match on protocol 0.
            CtNwProto => (value.max(1), mask),
            _ => (value & all, mask),
        }
    }

    fn mask(&mut self, field: Field, all: u128) -> u128 {
        let width = u64::from(field.width());
        match (self.random.below(6), field.info().format) {
            (0, Format::Ipv4 | Format::Ipv6 | Format::Ethernet) => all & !(all >> self.random.below(width)),
            // Open vSwitch can't read an IPv6 mask that begins with a decimal digit.
            (1, Format::Ipv6) => self.random.bits(128) | (0xf << 124),
            (1, _) => self.random.bits(field.width()) | 1,
            (2, _) if field.info().format != Format::Ipv6 => 1 << self.random.below(width),
            _ => all,
        }
    }

    /// A value to write: of some packet, of few bits, or any.
    pub(super) fn written(&mut self, field: Field) -> u128 {
        let key = self.random.below(self.keys.len() as u64) as usize;
        let value = match self.random.below(4) {
            0 | 1 => self.keys[key].get(field),
            2 => self.random.below(8).into(),
            _ => self.random.bits(field.width()),
        };
        value & field.known_bits()
    }
}

/// What a match must say, from what the packet has, before it can say anything of a field; None where
/// the packet does not have it.
fn needed(field: Field, key: &Key) -> Option<Vec<(Field, u128)>> {
    let whole = |fields: &[Field]| fields.iter().map(|field| (*field, field.all_ones())).collect::<Vec<_>>();
    let (eth_type, proto) = (key.get(EthType), key.get(NwProto));
    let is_ip = matches!(eth_type, 0x0800 | 0x86dd);
    let is_nd = |kinds: &[u128]| {
        eth_type == 0x86dd
            && proto == 58
            && kinds.contains(&key.get(Icmpv6Type))
            && key.get(Icmpv6Code) == 0
            && key.get(IpFrag) & 2 == 0
    };
    let (holds, fields): (bool, &[Field]) = match field.info().prereq {
        Prereq::None | Prereq::Ethernet => (true, &[]),
        Prereq::Vlan => {
            let present = key.get(VlanTci) & VLAN_PRESENT != 0;
            return present.then(|| vec![(VlanTci, VLAN_PRESENT)]);
        }
        Prereq::Arp => (matches!(eth_type, 0x0806 | 0x8035), &[EthType]),
        Prereq::Ipv4 => (eth_type == 0x0800, &[EthType]),
        Prereq::Ipv6 => (eth_type == 0x86dd, &[EthType]),
        Prereq::Ip => (is_ip, &[EthType]),
        Prereq::Tcp => (is_ip && proto == 6, &[EthType, NwProto]),
        Prereq::Udp => (is_ip && proto == 17, &[EthType, NwProto]),
        Prereq::Sctp => (is_ip && proto == 132, &[EthType, NwProto]),
        Prereq::Icmpv4 => (eth_type == 0x0800 && proto == 1, &[EthType, NwProto]),
        Prereq::Icmpv6 => (eth_type == 0x86dd && proto == 58, &[EthType, NwProto]),
        Prereq::Nd => (is_nd(&[135, 136]), &[EthType, NwProto, Icmpv6Type, Icmpv6Code]),
        Prereq::NdSolicit => (is_nd(&[135]), &[EthType, NwProto, Icmpv6Type, Icmpv6Code]),
        Prereq::NdAdvert => (is_nd(&[136]), &[EthType, NwProto, Icmpv6Type, Icmpv6Code]),
        Prereq::Ct => {
            let state = key.get(CtState);
            let valid = state & TRACKED != 0 && state & 0x0b != 0;
            // ovs-ofctl loses the ports where the protocol is not matched.
            let of_family = match field {
                CtTpSrc | CtTpDst => is_ip && matches!(key.get(CtNwProto), 6 | 17),
                CtNwSrc | CtNwDst => eth_type == 0x0800,
                CtIpv6Src | CtIpv6Dst => eth_type == 0x86dd,
                _ => is_ip,
            };
            let mut terms = vec![(CtState, state), (EthType, 0xffff)];
            if matches!(field, CtTpSrc | CtTpDst) {
                terms.push((CtNwProto, 0xff));
            }
            return (valid && of_family).then_some(terms);
        }
    };
    holds.then(|| whole(fields))
}
