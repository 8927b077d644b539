//! What the tracker's code and this process agree on: its part of the scratch, its maps' keys and values,
//! and the rules of `pipeline::conntrack::rules` as tables.

use super::super::layout::CT;
use footbridge_pipeline::conntrack::rules::{self, Advance, Icmp, Progress, Step};
use footbridge_pipeline::conntrack::tcp::Segment;

/// The length of a connection's key: five 64-bit words. The first has the zone in bits 63..48, the protocol
/// in 47..40, [`kind`](KIND_OF_IPV6) in 39..32, the ports of the low and of the high end in 31..16 and
/// 15..0; then come the low and the high end's addresses of two words each, IPv4's in the second. The low
/// end is the one of the lower address and port; in ICMP it is the one that asks.
pub(crate) const KEY: usize = 40;
/// In a key's kind, beside the type of an ICMP request (0 of other protocols): the addresses are IPv6's.
pub(crate) const KIND_OF_IPV6: u8 = 0x40;

/// A connection, as its map holds it. First the one word that its packets change, which is read and
/// changed whole: when it goes in bits 63..8 (nanoseconds of CLOCK_BOOTTIME, the last 8 bits of which are
/// not kept), [`FROM_HIGH`], [`REPLIED`], and its progress in bits 3..0 ([`progress_number`]). 0 says that
/// it is being taken away.
pub(crate) const WORD: i16 = 0;
/// ct_mark, 32 bits, then 32 unused.
pub(crate) const MARK: i16 = 8;
/// ct_label, its high half first.
pub(crate) const LABEL: i16 = 16;
/// When it was committed.
pub(crate) const COMMITTED: i16 = 32;
/// The length of that.
pub(crate) const VALUE: usize = 40;

/// It was committed by the high end.
pub(crate) const FROM_HIGH: u64 = 0x20;
/// A reply was seen.
pub(crate) const REPLIED: u64 = 0x10;
/// Which bits of the word are its progress.
pub(crate) const PROGRESS: u64 = 0x0f;
/// Which bits of the word are not its time.
pub(crate) const BELOW_TIME: u64 = 0xff;

/// Of the queue of connections without reply, by when they were committed: a key, and that time.
pub(crate) const UNREPLIED: usize = KEY + 8;

/// A datagram under way, by zone (bits 63..48), protocol (47..40), [`KIND_OF_IPV6`] or 0 (39..32) and
/// identification (31..0), then source and destination of two words each: when it goes, its class (32 bits), [`DIRECTION`] (32 bits), and the
/// connection's key.
pub(crate) const FRAGMENT_EXPIRES: i16 = 0;
pub(crate) const FRAGMENT_CLASS: i16 = 8;
pub(crate) const FRAGMENT_DIRECTION: i16 = 12;
pub(crate) const FRAGMENT_CONNECTION: i16 = 16;
/// The length of that.
pub(crate) const FRAGMENT: usize = 16 + KEY;

/// In the scratch: what `ct()` asks for. The zone, 64 bits; flags and the bits written of ct_mark, 32 each;
/// the bits written of ct_label, 128.
pub(crate) const ZONE: i16 = CT;
pub(crate) const FLAGS: i16 = CT + 8;
pub(crate) const MARK_MASK: i16 = CT + 12;
pub(crate) const LABEL_MASK: i16 = CT + 16;
/// What the packet is: [`CLASS_INVALID`] and so on; 1 where it goes from the high end to the low one, or
/// the packet that it quotes does; where rules for its step begin. 32 bits each.
pub(crate) const CLASS: i16 = CT + 32;
pub(crate) const DIRECTION: i16 = CT + 36;
pub(crate) const STEP: i16 = CT + 40;
/// 0 of IPv4, [`KIND_OF_IPV6`] of IPv6; 32 bits.
pub(crate) const FAMILY: i16 = CT + 44;
/// Of which connection, and when it is committed: an element of the queue.
pub(crate) const CONNECTION: i16 = CT + 48;
pub(crate) const COMMITS: i16 = CONNECTION + KEY as i16;
/// What it was when it came through the tracker last: a connection, the direction, and whether it was valid
/// ([`MEMO_NONE`] and so on).
pub(crate) const MEMO: i16 = CONNECTION + UNREPLIED as i16;
pub(crate) const MEMO_DIRECTION: i16 = MEMO + KEY as i16;
pub(crate) const MEMO_VALID: i16 = MEMO_DIRECTION + 4;
/// Whether it is valid now, 32 bits.
pub(crate) const VALID: i16 = MEMO + KEY as i16 + 8;
/// A connection, a fragment's key, and the value for it, as they are written to the maps.
pub(crate) const NEW: i16 = VALID + 8;
pub(crate) const FRAGMENT_KEY: i16 = NEW + VALUE as i16;
pub(crate) const NEW_FRAGMENT: i16 = FRAGMENT_KEY + KEY as i16;
/// The packet that an ICMP error quotes: the IP header, and something of what is behind it; its protocol, how long
/// it is, where its payload begins, and whether that is nowhere, of 32 bits each.
pub(crate) const QUOTED: i16 = NEW_FRAGMENT + FRAGMENT as i16;
pub(crate) const QUOTED_REST: i16 = QUOTED + 40;
pub(crate) const QUOTED_PROTO: i16 = QUOTED + 48;
pub(crate) const QUOTED_LENGTH: i16 = QUOTED + 52;
pub(crate) const QUOTED_AT: i16 = QUOTED + 56;
pub(crate) const QUOTED_FAILED: i16 = QUOTED + 60;
/// How many connections went when a full table was looked through.
pub(crate) const SWEPT_COUNT: i16 = QUOTED + 64;
/// How much the tracker needs of the scratch.
pub(crate) const LENGTH: usize = (SWEPT_COUNT + 8 - CT) as usize;

pub(crate) const COMMIT: u32 = 1;
pub(crate) const FORCE: u32 = 2;
pub(crate) const CONTINUES: u32 = 4;

pub(crate) const CLASS_INVALID: i32 = 0;
pub(crate) const CLASS_FLOW: i32 = 1;
pub(crate) const CLASS_ERROR: i32 = 2;

pub(crate) const MEMO_NONE: i32 = 0;
pub(crate) const MEMO_VALID_YES: i32 = 1;
pub(crate) const MEMO_VALID_NO: i32 = 2;

/// The step that is not known, as of a later fragment.
pub(crate) const STEP_UNKNOWN: i32 = Step::ALL.len() as i32;
/// The step that ICMP replies are.
pub(crate) const STEP_REPLY: i32 = 5;
/// The step that all packets but TCP's and ICMP replies are.
pub(crate) const STEP_DATAGRAM: i32 = 6;
/// The progress of a connection that does not exist.
pub(crate) const PROGRESS_NONE: i32 = 15;

/// The rules, as one value: 64-bit rules by protocol's group, step, reply and progress; then steps by the 6
/// lowest TCP flags; then protocols; then ICMP types, of IPv4 and of IPv6.
pub(crate) const SEGMENTS: u32 = 8 * RULE_COUNT as u32;
pub(crate) const PROTOCOLS: u32 = SEGMENTS + 64;
pub(crate) const ICMP: u32 = PROTOCOLS + 256;
/// The length of that.
pub(crate) const RULES: usize = ICMP as usize + 2 * 512;

const RULE_COUNT: usize = 4 << GROUP_SHIFT;
/// Where a rule's number has what it is chosen by: the protocol's group, the step, whether it is a reply;
/// the lowest bits are the progress.
pub(crate) const GROUP_SHIFT: u32 = 8;
pub(crate) const STEP_SHIFT: u32 = 5;
pub(crate) const REPLY_SHIFT: u32 = 4;

/// A rule: the progress from then on in bits 3..0, what the step is in 5..4, how long the connection then
/// waits in 63..8.
pub(crate) const ADVANCE_SHIFT: u32 = 4;
pub(crate) const ADVANCE_INVALID: i32 = 1;
pub(crate) const ADVANCE_REOPEN: i32 = 2;
pub(crate) const WAITS_SHIFT: u32 = 8;

/// No segment that any TCP sends.
pub(crate) const SEGMENT_NONE: u8 = 0xff;
/// Of a protocol, beside its group: without a header that can be read it is invalid.
pub(crate) const HAS_PORTS: u8 = 0x80;

/// An ICMP type's meaning stands above the type at the other end of the exchange.
pub(crate) const ICMP_REQUEST: i32 = 1;
pub(crate) const ICMP_REPLY: i32 = 2;
pub(crate) const ICMP_ERROR: i32 = 3;

/// A progress as a connection's word has it; other numbers are another version of the pinned map.
pub(crate) fn progress_number(progress: Progress) -> u8 {
    Progress::ALL.iter().position(|other| *other == progress).map_or(0, |at| at as u8)
}

/// The protocols that the rules tell apart, one of each group: others, ICMP, UDP, TCP.
const GROUPS: [u8; 4] = [0, 1, 17, 6];

fn group_of(proto: u8) -> u8 {
    match proto {
        6 => 3,
        17 => 2,
        1 | 58 => 1,
        _ => 0,
    }
}

/// [`RULES`], from the definitions.
pub(crate) fn tables() -> Vec<u8> {
    let rules = (0..RULE_COUNT).flat_map(|number| rule(number).to_ne_bytes());
    let segments = (0..64).map(|flags| {
        let step = Segment::of(flags).map(Step::Tcp);
        let number = step.and_then(|step| Step::ALL.iter().position(|other| *other == step));
        number.map_or(SEGMENT_NONE, |number| number as u8)
    });
    // Protocol 0 is none of IPv4's, but an extension of IPv6.
    let protocols = (0..=255)
        .map(|proto| group_of(proto) | if rules::has_ports(proto) || proto == 0 { HAS_PORTS } else { 0 });
    let types = [false, true].into_iter().flat_map(|v6| (0..=255).map(move |kind| (v6, kind)));
    let icmp = types.flat_map(|(v6, kind)| {
        let (meaning, other) = match Icmp::of(v6, kind) {
            Icmp::Other => (0, 0),
            Icmp::Request { reply } => (ICMP_REQUEST, reply),
            Icmp::Reply { request } => (ICMP_REPLY, request),
            Icmp::Error => (ICMP_ERROR, 0),
        };
        ((meaning as u16) << 8 | u16::from(other)).to_ne_bytes()
    });
    rules.chain(segments).chain(protocols).chain(icmp).collect()
}

fn rule(number: usize) -> u64 {
    let proto = GROUPS[(number >> GROUP_SHIFT) & 3];
    let step = Step::ALL.get((number >> STEP_SHIFT) & 7).copied();
    let reply = (number >> REPLY_SHIFT) & 1 == 1;
    let (progress, advance) = match Progress::ALL.get(number & PROGRESS as usize) {
        Some(progress) => rules::advance(*progress, step, reply),
        None if rules::may_begin(step) => (rules::begun(proto, step), Advance::Valid),
        None => (rules::begun(proto, step), Advance::Invalid),
    };
    let advance = match advance {
        Advance::Valid => 0,
        Advance::Invalid => ADVANCE_INVALID,
        Advance::Reopen => ADVANCE_REOPEN,
    };
    let waits = rules::timeout(proto, progress).as_nanos() as u64;
    waits << WAITS_SHIFT
        | u64::from(advance.cast_unsigned()) << ADVANCE_SHIFT
        | u64::from(progress_number(progress))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_have_the_numbers_that_the_code_gives_them() {
        assert_eq!(Step::ALL[STEP_REPLY as usize], Step::Reply);
        assert_eq!(Step::ALL[STEP_DATAGRAM as usize], Step::Datagram);
        assert!(Progress::ALL.len() <= PROGRESS_NONE as usize);
        assert_eq!(tables().len(), RULES);
    }

    #[test]
    fn protocols_of_a_group_wait_alike() {
        for proto in 0..=255 {
            for progress in Progress::ALL {
                let of_group = GROUPS[usize::from(group_of(proto))];
                assert_eq!(rules::timeout(proto, progress), rules::timeout(of_group, progress), "{proto}");
            }
        }
    }
}
