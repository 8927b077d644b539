use super::state::{EST, INV, NEW, REL, RPL, TRK};
use super::tcp::{Segment, TcpState, Transition};
use super::*;
use crate::packet::compose;
use footbridge_openflow::{Field, Key};
use proptest::prelude::*;
use std::time::Duration;

const ZONE: u16 = 65520;
const SYN: u16 = 0x02;
const ACK: u16 = 0x10;
const SYN_ACK: u16 = 0x12;
const FIN_ACK: u16 = 0x11;
const RST: u16 = 0x04;
const COMMIT: Request =
    Request { zone: ZONE, commit: true, force: false, mark: (0, 0), label: (0, 0), continues: true };
const LOOK: Request = Request { commit: false, ..COMMIT };

/// Two ends and the packets between them: `true` goes from the first to the second.
fn frame(proto: u8, forward: bool, write: impl FnOnce(&mut Key)) -> Frame {
    let mut key = Key::default();
    let (src, dst) = if forward { (0x0a00_0001, 0x0a00_0002) } else { (0x0a00_0002, 0x0a00_0001) };
    let (sport, dport) = if forward { (40_000, 80) } else { (80, 40_000) };
    key.set(Field::EthType, 0x0800);
    key.set(Field::NwProto, proto.into());
    key.set(Field::NwTtl, 64);
    key.set(Field::NwSrc, src);
    key.set(Field::NwDst, dst);
    if proto != 1 {
        key.set(Field::TcpSrc, sport);
        key.set(Field::TcpDst, dport);
    }
    write(&mut key);
    Frame::new(compose(&key))
}

fn tcp(forward: bool, flags: u16) -> Frame {
    frame(6, forward, |key| key.set(Field::TcpFlags, flags.into()))
}

fn udp(forward: bool) -> Frame {
    frame(17, forward, |_| ())
}

fn icmp(forward: bool, kind: u8) -> Frame {
    frame(1, forward, |key| key.set(Field::IcmpType, kind.into()))
}

struct Tracked {
    table: Conntrack,
    now: Time,
}

impl Tracked {
    fn new() -> Tracked {
        Tracked { table: Conntrack::default(), now: Time::from_secs(1000) }
    }

    fn ask(&mut self, frame: &Frame, request: &Request) -> Outcome {
        self.table.track(frame, &mut None, request, self.now)
    }

    fn look(&mut self, frame: &Frame) -> u8 {
        self.ask(frame, &LOOK).state
    }

    fn commit(&mut self, frame: &Frame) -> u8 {
        self.ask(frame, &COMMIT).state
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now.after(std::time::Duration::from_secs(seconds));
    }

    fn progress(&self) -> Progress {
        self.table.connections(None, self.now)[0].progress
    }
}

#[test]
fn is_new_until_a_reply_is_seen_also_after_the_commit() {
    let mut tracked = Tracked::new();
    assert_eq!(tracked.look(&tcp(true, SYN)), TRK | NEW);
    assert_eq!(tracked.commit(&tcp(true, SYN)), TRK | NEW);
    assert_eq!(tracked.look(&tcp(true, SYN)), TRK | NEW);
    assert_eq!(tracked.look(&tcp(false, SYN_ACK)), TRK | EST | RPL);
    assert_eq!(tracked.look(&tcp(true, ACK)), TRK | EST);
}

#[test]
fn keeps_nothing_without_a_commit() {
    let mut tracked = Tracked::new();
    tracked.look(&udp(true));
    assert!(tracked.table.is_empty());
    assert_eq!(tracked.look(&udp(false)), TRK | NEW);
}

#[test]
fn reply_is_what_goes_against_the_commit() {
    let mut tracked = Tracked::new();
    tracked.look(&udp(true));
    tracked.commit(&udp(false));
    assert_eq!(tracked.look(&udp(true)), TRK | EST | RPL);
    assert_eq!(tracked.look(&udp(false)), TRK | EST);
}

#[test]
fn zones_share_nothing() {
    let mut tracked = Tracked::new();
    tracked.commit(&udp(true));
    assert_eq!(tracked.ask(&udp(false), &Request { zone: 1, ..LOOK }).state, TRK | NEW);
}

#[test]
fn a_second_commit_leaves_the_mark_unless_it_sets_it() {
    let mut tracked = Tracked::new();
    let marked = Request { mark: (0x20, u32::MAX), label: (5 << 64, u128::MAX), ..COMMIT };
    assert_eq!(tracked.ask(&udp(true), &marked).mark, 0x20);
    let again = tracked.ask(&udp(true), &COMMIT);
    assert_eq!((again.mark, again.label), (0x20, 5 << 64));
    assert_eq!(tracked.ask(&udp(false), &Request { mark: (1, 0xff), ..COMMIT }).mark, 1);
}

#[test]
fn a_forced_commit_turns_the_connection_round() {
    let mut tracked = Tracked::new();
    tracked.commit(&udp(true));
    assert_eq!(tracked.ask(&udp(false), &Request { force: true, ..COMMIT }).state, TRK | NEW);
    assert_eq!(tracked.look(&udp(true)), TRK | EST | RPL);
    // In the connection's own direction it changes nothing.
    assert_eq!(tracked.ask(&udp(false), &Request { force: true, ..COMMIT }).state, TRK | EST);
}

/// Found by comparing with Open vSwitch.
#[test]
fn a_forced_commit_of_what_begins_no_connection_ends_the_old_one_and_is_invalid() {
    let mut tracked = Tracked::new();
    tracked.commit(&icmp(true, 8));
    assert_eq!(tracked.ask(&icmp(false, 0), &Request { force: true, ..COMMIT }).state, TRK | INV);
    assert!(tracked.table.is_empty());
}

#[test]
fn a_packet_steps_the_state_once_a_zone_however_often_it_passes() {
    let mut tracked = Tracked::new();
    tracked.commit(&tcp(true, ACK));
    let mut memo = None;
    for _ in 0..3 {
        tracked.table.track(&tcp(true, FIN_ACK), &mut memo, &COMMIT, tracked.now);
    }
    assert_eq!(tracked.progress(), Progress::Tcp(TcpState::FinWait));
}

#[test]
fn follows_a_tcp_connection_from_syn_to_time_wait() {
    let mut tracked = Tracked::new();
    tracked.commit(&tcp(true, SYN));
    let way = [
        (false, SYN_ACK, TcpState::SynRecv),
        (true, ACK, TcpState::Established),
        (false, ACK, TcpState::Established),
        (true, FIN_ACK, TcpState::FinWait),
        (false, ACK, TcpState::CloseWait),
        (false, FIN_ACK, TcpState::LastAck),
        (true, ACK, TcpState::TimeWait),
    ];
    for (forward, flags, state) in way {
        assert_eq!(tracked.look(&tcp(forward, flags)) & INV, 0);
        assert_eq!(tracked.progress(), Progress::Tcp(state), "after flags {flags:#x}");
    }
    // A SYN begins another connection between the same ends.
    assert_eq!(tracked.look(&tcp(true, SYN)), TRK | NEW);
    assert!(tracked.table.is_empty());
}

#[test]
fn a_reset_closes_and_the_entry_goes_soon() {
    let mut tracked = Tracked::new();
    tracked.commit(&tcp(true, SYN));
    tracked.look(&tcp(false, RST | ACK));
    assert_eq!(tracked.progress(), Progress::Tcp(TcpState::Close));
    tracked.wait(10);
    assert_eq!(tracked.table.connections(None, tracked.now), []);
}

#[test]
fn a_lone_syn_ack_is_invalid() {
    assert_eq!(Tracked::new().commit(&tcp(false, SYN_ACK)), TRK | INV);
}

#[test]
fn flags_that_no_tcp_sends_are_invalid() {
    for flags in [0, 0x01, 0x03, 0x06, 0x3f, 0x08, 0x20] {
        assert_eq!(Tracked::new().commit(&tcp(true, flags)), TRK | INV, "flags {flags:#x}");
        assert_eq!(Segment::of(flags), None);
    }
}

#[test]
fn picks_up_a_connection_in_its_middle() {
    let mut tracked = Tracked::new();
    assert_eq!(tracked.commit(&tcp(true, ACK)), TRK | NEW);
    assert_eq!(tracked.look(&tcp(false, ACK)), TRK | EST | RPL);
}

#[test]
fn an_invalid_packet_is_neither_kept_nor_marked() {
    let mut tracked = Tracked::new();
    let outcome = tracked.ask(&tcp(true, SYN_ACK), &Request { mark: (7, 7), ..COMMIT });
    assert_eq!((outcome.state, outcome.mark, tracked.table.len()), (TRK | INV, 0, 0));
}

#[test]
fn follows_ping_and_takes_no_reply_without_a_request() {
    let mut tracked = Tracked::new();
    assert_eq!(tracked.look(&icmp(false, 0)), TRK | INV);
    tracked.commit(&icmp(true, 8));
    assert_eq!(tracked.look(&icmp(false, 0)), TRK | EST | RPL);
    assert_eq!(tracked.look(&icmp(true, 8)), TRK | EST);
}

#[test]
fn two_hosts_that_ping_each_other_with_one_identifier_are_two_connections() {
    let mut tracked = Tracked::new();
    tracked.commit(&icmp(true, 8));
    assert_eq!(tracked.commit(&icmp(false, 8)), TRK | NEW);
    assert_eq!(tracked.table.len(), 2);
    assert_eq!(tracked.look(&icmp(true, 0)), TRK | EST | RPL);
    assert_eq!(tracked.look(&icmp(false, 0)), TRK | EST | RPL);
}

/// An ICMP error sent by the receiver (`true`: by the second end) about a packet.
fn error_about(packet: &Frame) -> Frame {
    let reversed = |key: &mut Key| {
        key.set(Field::NwSrc, packet.key().get(Field::NwDst));
        key.set(Field::NwDst, packet.key().get(Field::NwSrc));
        key.set(Field::IcmpType, 3);
        key.set(Field::IcmpCode, 3);
    };
    let mut bytes = frame(1, true, reversed).bytes().to_vec();
    bytes[42..42 + 28].copy_from_slice(&packet.bytes()[14..42]);
    Frame::new(bytes)
}

#[test]
fn an_icmp_error_is_related_and_carries_mark_and_direction() {
    let mut tracked = Tracked::new();
    tracked.ask(&udp(true), &Request { mark: (0x20, u32::MAX), ..COMMIT });
    let outcome = tracked.ask(&error_about(&udp(true)), &LOOK);
    assert_eq!((outcome.state, outcome.mark, outcome.zone), (TRK | REL | RPL, 0x20, ZONE));
    tracked.look(&udp(false));
    assert_eq!(tracked.look(&error_about(&udp(false))), TRK | REL);
}

#[test]
fn an_icmp_error_about_nothing_known_is_invalid() {
    assert_eq!(Tracked::new().look(&error_about(&udp(true))), TRK | INV);
}

#[test]
fn an_icmp_error_goes_to_the_sender_of_what_it_quotes() {
    let mut tracked = Tracked::new();
    tracked.commit(&udp(true));
    let mut stray = error_about(&udp(true)).bytes().to_vec();
    stray[33] ^= 7;
    assert_eq!(tracked.look(&Frame::new(stray)), TRK | INV);
}

#[test]
fn an_icmp_error_that_is_forced_against_a_connection_ends_it() {
    let mut tracked = Tracked::new();
    tracked.commit(&udp(true));
    let force = Request { force: true, ..COMMIT };
    assert_eq!(tracked.ask(&error_about(&udp(true)), &force).state, TRK | INV);
    assert!(tracked.table.is_empty());
    // In the direction of the commit it changes nothing.
    tracked.commit(&udp(true));
    tracked.look(&udp(false));
    assert_eq!(tracked.ask(&error_about(&udp(false)), &force).state, TRK | REL);
}

#[test]
fn takes_no_echo_with_a_code_and_no_address_mask() {
    let mut tracked = Tracked::new();
    let with_code = frame(1, true, |key| {
        key.set(Field::IcmpType, 8);
        key.set(Field::IcmpCode, 1);
    });
    assert_eq!(tracked.look(&with_code), TRK | INV);
    assert_eq!(tracked.look(&icmp(true, 17)), TRK | INV);
    assert_eq!(tracked.look(&icmp(true, 13)), TRK | NEW);
}

#[test]
fn takes_no_packet_of_port_0() {
    let mut tracked = Tracked::new();
    for proto in [6, 17] {
        let from_0 = frame(proto, true, |key| {
            key.set(Field::TcpSrc, 0);
            key.set(Field::TcpFlags, SYN.into());
        });
        assert_eq!(tracked.look(&from_0), TRK | INV);
    }
}

fn fragment(forward: bool, frag: u128) -> Frame {
    frame(17, forward, |key| key.set(Field::IpFrag, frag))
}

#[test]
fn later_fragments_take_the_firsts_connection() {
    let mut tracked = Tracked::new();
    tracked.commit(&udp(true));
    assert_eq!(tracked.look(&fragment(false, 1)), TRK | EST | RPL);
    assert_eq!(tracked.look(&fragment(false, 3)), TRK | EST | RPL);
    let later = tracked.ask(&fragment(false, 3), &LOOK);
    assert_eq!(later.original.map(|tuple| tuple.dst.port), Some(80));
}

#[test]
fn a_later_fragment_without_a_first_is_invalid() {
    let mut tracked = Tracked::new();
    assert_eq!(tracked.look(&fragment(true, 3)), TRK | INV);
    tracked.look(&fragment(true, 1));
    assert_eq!(tracked.look(&fragment(true, 3)), TRK | NEW);
    tracked.wait(31);
    assert_eq!(tracked.look(&fragment(true, 3)), TRK | INV);
}

/// Found by the property below: it was new and a reply at once.
#[test]
fn a_later_fragment_against_the_commit_is_a_reply() {
    let mut tracked = Tracked::new();
    tracked.look(&fragment(false, 1));
    tracked.commit(&udp(true));
    assert_eq!(tracked.look(&fragment(false, 3)), TRK | EST | RPL);
}

#[test]
fn what_is_not_ip_is_invalid() {
    let mut key = Key::default();
    key.set(Field::EthType, 0x0806);
    assert_eq!(Tracked::new().look(&Frame::new(compose(&key))), TRK | INV);
}

#[test]
fn connections_age_by_their_timestamp() {
    let mut tracked = Tracked::new();
    tracked.commit(&udp(true));
    tracked.wait(29);
    assert_eq!(tracked.look(&udp(true)), TRK | NEW);
    tracked.look(&udp(false));
    tracked.wait(119);
    assert_eq!(tracked.look(&udp(true)), TRK | EST);
    tracked.wait(120);
    assert_eq!(tracked.look(&udp(true)), TRK | NEW);
}

fn from_port(port: u16) -> Frame {
    frame(17, true, |key| key.set(Field::UdpSrc, port.into()))
}

fn to_port(port: u16) -> Frame {
    frame(17, false, |key| key.set(Field::UdpDst, port.into()))
}

#[test]
fn a_full_table_gives_up_the_oldest_without_reply() {
    let mut tracked =
        Tracked { table: Conntrack::with_limits(Limits { connections: 3, fragments: 1 }), ..Tracked::new() };
    for port in [1, 2, 3] {
        tracked.commit(&from_port(port));
    }
    tracked.look(&to_port(1));
    tracked.commit(&from_port(4));
    let ports: Vec<u16> = tracked
        .table
        .connections(None, tracked.now)
        .iter()
        .map(|connection| connection.original.src.port)
        .collect();
    assert_eq!(ports, [1, 3, 4]);
}

#[test]
fn a_full_table_never_gives_up_an_established_one_for_a_new_one() {
    let mut tracked =
        Tracked { table: Conntrack::with_limits(Limits { connections: 2, fragments: 1 }), ..Tracked::new() };
    for port in [1, 2] {
        tracked.commit(&from_port(port));
        tracked.look(&to_port(port));
    }
    assert_eq!(tracked.commit(&from_port(3)), TRK | NEW);
    assert_eq!((tracked.table.len(), tracked.table.refused()), (2, 1));
    assert_eq!(tracked.look(&from_port(1)), TRK | EST);
}

/// Those that come faster than the table is looked through must not put that off for good.
#[test]
fn a_full_table_finds_what_is_past_its_time_also_under_a_flood() {
    let mut tracked =
        Tracked { table: Conntrack::with_limits(Limits { connections: 2, fragments: 1 }), ..Tracked::new() };
    for port in [1, 2] {
        tracked.commit(&from_port(port));
        tracked.look(&to_port(port));
    }
    for _ in 0..300 {
        tracked.now = tracked.now.after(Duration::from_millis(500));
        tracked.commit(&from_port(3));
    }
    assert_eq!(tracked.table.connections(None, tracked.now).len(), 1);
}

/// Its fields are those of IPv6's ICMP, and no flow of IPv4 can match them.
#[test]
fn icmp_of_the_other_version_of_ip_is_invalid() {
    let mut tracked = Tracked::new();
    assert_eq!(tracked.look(&frame(58, true, |key| key.set(Field::Icmpv6Type, 128))), TRK | INV);
}

#[test]
fn saved_connections_are_restored_and_those_past_their_time_are_not() {
    let mut tracked = Tracked::new();
    tracked.ask(&tcp(true, ACK), &Request { mark: (0x20, u32::MAX), ..COMMIT });
    tracked.look(&tcp(false, ACK));
    tracked.commit(&udp(true));
    let saved = tracked.table.connections(None, tracked.now);
    let mut restored = Tracked { table: Conntrack::default(), now: tracked.now };
    restored.wait(31);
    restored.table.restore(saved.clone(), restored.now);
    assert_eq!(restored.table.connections(None, restored.now), saved[..1]);
    let outcome = restored.ask(&tcp(true, ACK), &LOOK);
    assert_eq!((outcome.state, outcome.mark), (TRK | EST, 0x20));
}

#[test]
fn a_flush_is_of_one_zone_or_all() {
    let mut tracked = Tracked::new();
    tracked.commit(&udp(true));
    tracked.ask(&udp(true), &Request { zone: 1, ..COMMIT });
    assert_eq!(tracked.table.flush(Some(1)), 1);
    assert_eq!(tracked.table.connections(None, tracked.now)[0].zone, ZONE);
    assert_eq!(tracked.table.flush(None), 1);
}

#[test]
fn every_state_answers_every_segment() {
    use TcpState::*;
    let states = [SynSent, SynRecv, Established, FinWait, CloseWait, LastAck, TimeWait, Close, SynSent2];
    for state in states {
        for reply in [false, true] {
            // A reset ends a connection in every state.
            assert_eq!(state.on(Segment::Rst, reply), Transition::To(Close));
            state.on(Segment::Ack, reply);
        }
    }
}

proptest! {
    /// Whatever comes: the state bits make sense together, the table stays within its limit, and
    /// what was established stays so for new ones.
    #[test]
    fn state_bits_and_limits_hold_for_any_packets(
        packets in prop::collection::vec((any::<bool>(), 0u16..6, 0u16..64, any::<bool>(), 0u64..40), 1..200),
    ) {
        let mut tracked = Tracked { table: Conntrack::with_limits(Limits { connections: 3, fragments: 2 }), ..Tracked::new() };
        for (forward, port, flags, commit, wait) in packets {
            tracked.wait(wait);
            let packet = match port {
                0 => icmp(forward, (flags % 16) as u8),
                1 => fragment(forward, [1, 3][usize::from(flags % 2)]),
                2 if forward => from_port(flags),
                2 => to_port(flags),
                _ => frame(6, forward, |key| {
                    key.set(if forward { Field::TcpSrc } else { Field::TcpDst }, port.into());
                    key.set(Field::TcpFlags, flags.into());
                }),
            };
            let established = tracked.table.connections(None, tracked.now).iter().filter(|c| c.replied).count();
            let state = tracked.ask(&packet, if commit { &COMMIT } else { &LOOK }).state;
            prop_assert_ne!(state & TRK, 0);
            let kinds = [NEW, EST, REL, INV].iter().filter(|bit| state & **bit != 0).count();
            prop_assert_eq!(kinds, 1, "{:#x}", state);
            prop_assert!(state & NEW == 0 || state & RPL == 0);
            prop_assert!(tracked.table.len() <= 3);
            let still = tracked.table.connections(None, tracked.now).iter().filter(|c| c.replied).count();
            // Only a connection opened anew may go.
            prop_assert!(still + 1 >= established);
        }
    }
}
