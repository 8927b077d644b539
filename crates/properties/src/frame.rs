//! Frames: whatever the bytes, they are read, written and taken through a bridge's tables.
//!
//! * A frame written with its own fields keeps its bytes.
//! * A frame made from the fields of another is read as those fields ([`settles`]).
//! * Each packet leaves the tables as frames, or is dropped for a reason.
//!
//! Exceptions: [`compose()`] makes whole packets, so fields of a packet that was cut or has
//! headers it cannot make are not those that come back at first; they are from then on.

use crate::memory::Limit;
use footbridge_openflow::text::parse_flow;
use footbridge_openflow::{Field, Key, PortNames, PortNo};
use footbridge_pipeline::packet::{Frame, compose, parse};
use footbridge_pipeline::{Packet, Pipeline, PortKind, State, Time, TunnelKey, Unobserved, Verdict};
use std::sync::LazyLock;

/// Fields are read in place.
const READ: Limit = Limit { base: 0, per_byte: 0 };
/// Every flow of [`FLOWS`] that puts the packet out copies it.
const PROCESS: Limit = Limit { base: 64 << 10, per_byte: 64 };

/// A bridge that does to each packet what its actions can do to bytes.
const FLOWS: &[&str] = &[
    "table=0 priority=9,in_port=1 actions=resubmit(,1),resubmit(,2),resubmit(,3)",
    "table=0 priority=9,in_port=2,ip actions=ct(table=4,zone=NXM_NX_REG0[0..15])",
    "table=0 priority=9,in_port=2,ipv6 actions=ct(table=4,zone=1)",
    "table=0 actions=NORMAL",
    "table=1 ip actions=mod_nw_src:10.0.0.9,mod_nw_dst:10.0.0.8,mod_nw_tos:32,mod_nw_ttl:9,mod_tp_src:9,mod_tp_dst:8,dec_ttl,output:2,push_vlan:0x8100,mod_vlan_pcp:3,output:3",
    "table=1 ipv6 actions=set_field:fe80::1->ipv6_src,set_field:fe80::2->ipv6_dst,mod_tp_src:9,mod_tp_dst:8,dec_ttl,output:2,strip_vlan,output:3",
    "table=1 arp actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],mod_dl_src:aa:bb:cc:dd:ee:ff,load:0x2->NXM_OF_ARP_OP[],move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],load:0xaabbccddeeff->NXM_NX_ARP_SHA[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],load:0xade0201->NXM_OF_ARP_SPA[],IN_PORT",
    "table=2 icmp actions=set_field:8->icmp_type,set_field:1->icmp_code,output:3",
    "table=2 icmp6,icmp_type=135,icmp_code=0 actions=set_field:fe80::7->nd_target,set_field:00:00:00:00:00:07->nd_sll,set_field:2->nd_options_type,output:3",
    "table=2 icmp6,icmp_type=136,icmp_code=0 actions=set_field:fe80::7->nd_target,set_field:00:00:00:00:00:07->nd_tll,set_field:7->nd_reserved,output:3",
    "table=2 sctp actions=set_field:7->sctp_src,set_field:8->sctp_dst,output:3",
    "table=3 vlan_tci=0x1000/0x1000 actions=mod_vlan_vid:7,output:2,strip_vlan,output(port=3,max_len=20),strip_vlan,strip_vlan,output:2",
    "table=3 actions=push_vlan:0x88a8,push_vlan:0x8100,mod_vlan_vid:7,output:2,strip_vlan,strip_vlan,strip_vlan,output:3",
    "table=4 ct_state=+trk+new,ip actions=ct(commit,zone=NXM_NX_REG0[0..15],exec(load:1->NXM_NX_CT_MARK[])),output:1",
    "table=4 ct_state=+trk+inv actions=drop",
    "table=4 actions=dec_ttl,output:3",
];

static PIPELINE: LazyLock<Pipeline> = LazyLock::new(|| {
    let mut pipeline = Pipeline::new();
    for line in FLOWS {
        let flow = match parse_flow(line, &PortNames::none()) {
            Ok(flow) => flow,
            Err(error) => panic!("{line}: {error}"),
        };
        if let Err(refusal) = pipeline.insert(flow, Time::from_secs(1)) {
            panic!("{line}: {refusal}");
        }
    }
    pipeline
});

fn state() -> State {
    let mut state = State::default();
    for number in 1..=3 {
        state.ports.insert(PortNo(number), PortKind::Ordinary);
    }
    state
}

/// A first byte that says where the packet comes from and what is changed, and a frame.
pub(crate) fn frame(input: &[u8]) {
    let Some((&bits, bytes)) = input.split_first() else { return };
    let in_port = PortNo(u32::from(bits & 3));
    let key = READ.of(bytes.len(), || parse(bytes, in_port, &TunnelKey::default()));
    settles(&key);
    let mut frame = Frame::new(bytes.to_vec());
    frame.write(&key);
    assert!(frame.bytes() == bytes, "written with its own fields it is {:02x?}", frame.bytes());
    is_written(frame, bits);
    passes(bytes, in_port);
}

/// Fields that are written are those that are then read.
fn is_written(mut frame: Frame, bits: u8) {
    let before = frame.key().clone();
    let mut key = before.clone();
    let fields = [
        Field::EthSrc,
        Field::EthDst,
        Field::NwSrc,
        Field::NwTos,
        Field::NwTtl,
        Field::Ipv6Dst,
        Field::TcpSrc,
        Field::ArpSpa,
    ];
    let flip = u128::MAX / 255 * u128::from(bits | 1);
    for field in fields.into_iter().filter(|field| before.get(*field) != 0) {
        key.set(field, before.get(field) ^ flip);
    }
    frame.write(&key);
    let read = Frame::new(frame.bytes().to_vec());
    for field in fields {
        assert_eq!(read.key().get(field), key.get(field), "{field} of {:02x?}", frame.bytes());
    }
}

/// What a frame made from the key is read as, is what a frame made from that is read as.
pub(crate) fn settles(key: &Key) {
    let read = |key: &Key| parse(&compose(key), PortNo::ZERO, &TunnelKey::default());
    let once = read(key);
    let twice = read(&once);
    assert!(once == twice, "{key:?}\nis read as\n{once:?}\nand then as\n{twice:?}");
}

/// The frame goes through the tables, twice: the second time its connection is known.
fn passes(bytes: &[u8], in_port: PortNo) {
    let mut state = state();
    for second in 2..4 {
        let packet = Packet { in_port, frame: bytes.to_vec(), tunnel: TunnelKey::default() };
        let now = Time::from_secs(second);
        let verdict = PROCESS.of(bytes.len(), || PIPELINE.process(&mut state, packet, now, &mut Unobserved));
        is_whole(&verdict, bytes.len());
    }
}

/// A packet that is given by its fields goes through the tables.
pub(crate) fn walks(key: &Key) {
    let State { mut fdb, mut conntrack, ports, .. } = state();
    let now = Time::from_secs(2);
    let length = compose(key).len();
    let verdict = PROCESS
        .of(length, || PIPELINE.process_key(&mut fdb, &ports, &mut conntrack, key, now, &mut Unobserved));
    is_whole(&verdict, length);
}

/// A packet of `length` bytes went out in frames, at most two tags longer, or was dropped for a reason.
fn is_whole(verdict: &Verdict, length: usize) {
    assert!(verdict.drop.is_some() == verdict.outputs.is_empty(), "{verdict:?}");
    for output in &verdict.outputs {
        assert!((14..=length + 8).contains(&output.frame.len()), "{output:02x?}");
    }
}
