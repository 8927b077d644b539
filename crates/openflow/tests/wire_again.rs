//! Messages that were once read, written and read again as something else: each found by fuzzing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use footbridge_openflow::wire::stats::{FlowUpdate, ReplyBody, StatsReply};
use footbridge_openflow::wire::{
    AsyncConfig, AsyncMask, Command, Context, ErrorCode, Features, FlowMod, Form, Message, PacketIn,
    PacketInFormat, PacketOut, Port, PortReason, PortStatus, Refusal, TlvMapping, TlvTable, Version,
};
use footbridge_openflow::{Action, Field, MacAddr, Match, PortNo, Subfield};

const XID: u32 = 7;

/// The message as it is read when written.
fn again(message: &Message, context: Context<'_>) -> Message {
    let bytes = message.encode(context, XID).unwrap();
    Message::decode(&bytes, context).unwrap().1
}

/// A message of these bytes behind the header.
fn read(version: Version, kind: u8, body: &[u8]) -> Result<Message, Refusal> {
    let [high, low] = (8 + body.len() as u16).to_be_bytes();
    let bytes = [&[version.wire(), kind, high, low, 0, 0, 0, XID as u8], body].concat();
    Message::decode(&bytes, Context::client(version)).map(|(_, message)| message)
}

fn port(name: &str) -> Port {
    Port {
        number: PortNo(3),
        hw_addr: MacAddr([2, 0, 0, 0, 0, 1]),
        name: name.to_owned(),
        config: 0,
        state: 0,
        curr: 0,
        advertised: 0,
        supported: 0,
        peer: 0,
        curr_speed: 0,
        max_speed: 0,
    }
}

/// The name of a port whose 16 bytes of name are these.
fn name_read(name: &[u8; 16]) -> String {
    let body = [&[0; 8], &[0, 3][..], &[2, 0, 0, 0, 0, 1], name, &[0; 24]].concat();
    match read(Version::V10, 12, &body) {
        Ok(Message::PortStatus(status)) => status.port.name,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_name_without_a_zero_byte_ends_before_its_last() {
    assert_eq!(name_read(b"0123456789abcdef"), "0123456789abcde");
}

#[test]
fn a_name_that_is_not_utf8_is_cut_to_what_can_be_written() {
    let name = name_read(&[0xff; 16]);
    assert_eq!(name, "\u{fffd}".repeat(5));
    let status = Message::PortStatus(PortStatus { reason: PortReason::Add, port: port(&name) });
    assert_eq!(again(&status, Context::client(Version::V10)), status);
}

#[test]
fn a_long_name_is_cut_between_characters() {
    let status = |name| Message::PortStatus(PortStatus { reason: PortReason::Add, port: port(name) });
    // The é would take bytes 15 and 16.
    let sent = status("01234567890123é");
    assert_eq!(again(&sent, Context::client(Version::V13)), status("01234567890123"));
}

#[test]
fn a_part_of_a_reply_stays_a_part() {
    for version in Version::ALL {
        for more in [true, false] {
            let reply = Message::StatsReply(StatsReply { more, body: ReplyBody::Port(Vec::new()) });
            assert_eq!(again(&reply, Context::client(version)), reply);
        }
    }
}

#[test]
fn features_have_actions_in_openflow_10_only() {
    let mut body = [0; 24];
    body[20..].copy_from_slice(&0xfff_u32.to_be_bytes());
    for (version, expected) in [(Version::V10, 0xfff), (Version::V13, 0)] {
        let Ok(Message::FeaturesReply(Features { actions, .. })) = read(version, 6, &body) else { panic!() };
        assert_eq!(actions, expected);
    }
}

#[test]
fn niciras_flow_mod_keeps_the_cookie_of_a_modify_in_later_versions() {
    let mut flow_mod = FlowMod::add(0, 5, Match::any());
    flow_mod.form = Form::Nicira;
    flow_mod.command = Command::Modify;
    flow_mod.cookie = Some(9);
    for version in Version::ALL {
        let context = Context::client(version);
        assert_eq!(again(&Message::FlowMod(flow_mod.clone()), context), Message::FlowMod(flow_mod.clone()));
    }
}

#[test]
fn niciras_flow_mod_leaves_the_table_open_in_later_versions() {
    let mut flow_mod = FlowMod::add(255, 5, Match::any());
    flow_mod.form = Form::Nicira;
    flow_mod.flags.reset_counts = true;
    for version in Version::ALL {
        let context = Context { table_in_command: false, ..Context::client(version) };
        assert_eq!(again(&Message::FlowMod(flow_mod.clone()), context), Message::FlowMod(flow_mod.clone()));
    }
}

#[test]
fn metadata_of_a_packet_in_without_its_prerequisite_is_left_out() {
    let packet = |metadata| {
        Message::PacketIn(PacketIn {
            format: PacketInFormat::Standard,
            buffer_id: None,
            total_len: 0,
            reason: 1,
            table: 0,
            cookie: 0,
            metadata,
            userdata: Vec::new(),
            data: Vec::new(),
        })
    };
    let written = packet(Match::any().with(Field::Reg0, 1_u8)).encode(Context::client(Version::V13), XID);
    // reg0's header made that of nw_proto, whose prerequisite is a dl_type.
    let mut bytes = written.unwrap();
    let at = bytes.windows(4).position(|header| header == [0, 1, 0, 4]).unwrap();
    bytes.splice(at..at + 8, [0, 0, 6 << 1, 1, 6, 0, 0, 0]);
    bytes[27] = 4 + 5;
    let (_, read) = Message::decode(&bytes, Context::client(Version::V13)).unwrap();
    assert_eq!(read, packet(Match::any()));
}

#[test]
fn an_async_configuration_in_parts_stays_one_before_1_4() {
    let config = AsyncConfig {
        packet_in: AsyncMask { primary: Some(3), secondary: None },
        table_status: AsyncMask { primary: None, secondary: Some(8) },
        ..AsyncConfig::default()
    };
    for version in Version::ALL {
        assert_eq!(again(&Message::SetAsync(config), Context::client(version)), Message::SetAsync(config));
    }
}

/// An option of 4 bytes, mapped to `tun_metadata0`.
fn mapping() -> TlvTable {
    TlvTable(vec![TlvMapping { option_class: 0x104, option_type: 0x80, option_len: 4, index: 0 }])
}

#[test]
fn a_mask_of_all_mapped_bits_of_tunnel_metadata_is_none() {
    let table = mapping();
    let context = Context { tlv: Some(&table), ..Context::client(Version::V13) };
    let mut flow_mod = FlowMod::add(0, 1, Match::any().with_masked(Field::TunMetadata0, 5_u8, u32::MAX));
    flow_mod.actions.push(Action::set_field(Field::TunMetadata0, 5, u32::MAX.into()));
    // A client without the mapping writes the mask.
    let bytes = flow_mod.encode(Context::client(Version::V13), XID).unwrap();
    let (_, read) = Message::decode(&bytes, context).unwrap();
    let mut whole = FlowMod::add(0, 1, Match::any().with(Field::TunMetadata0, 5_u8));
    whole.actions.push(Action::set_field(Field::TunMetadata0, 5, u128::MAX));
    assert_eq!(read, Message::FlowMod(whole));
    assert_eq!(again(&read, context), read);
}

#[test]
fn tunnel_metadata_beyond_its_option_is_refused() {
    let table = mapping();
    let context = Context { tlv: Some(&table), ..Context::client(Version::V13) };
    let flow_mod = FlowMod::add(0, 1, Match::any().with(Field::TunMetadata0, 1_u64 << 32));
    let bytes = flow_mod.encode(Context::client(Version::V13), XID).unwrap();
    assert_eq!(Message::decode(&bytes, context).unwrap_err().code, ErrorCode::BmcBadValue);
}

/// A flow mod of 1.3 or later with these actions in apply_actions, as bytes.
fn applying(version: Version, actions: &[Action]) -> Vec<u8> {
    let mut flow_mod = FlowMod::add(0, 1, Match::any());
    flow_mod.actions.extend_from_slice(actions);
    flow_mod.encode(Context::client(version), XID).unwrap()
}

/// NXAST_WRITE_METADATA
const WRITE_METADATA: [u8; 32] = [
    0xff, 0xff, 0, 32, 0, 0, 0x23, 0x20, 0, 22, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0,
    0, 0xff,
];

#[test]
fn niciras_write_metadata_stands_last_among_actions() {
    // fin_timeout and exit, 16 bytes each, are what write_metadata takes the place of.
    let fin = Action::FinTimeout { idle: 1, hard: 2 };
    let whole = [fin.clone(), Action::Exit, Action::CtClear];
    let refusal = |version, at: usize| {
        let mut bytes = applying(version, &whole);
        let first = bytes.len() - 48 + 16 * at;
        bytes[first..first + 32].copy_from_slice(&WRITE_METADATA);
        Message::decode(&bytes, Context::client(version)).err().map(|refusal| refusal.code)
    };
    for version in Version::ALL {
        assert_eq!(refusal(version, 0), Some(ErrorCode::BacUnsupportedOrder), "{version}");
        assert_eq!(refusal(version, 1), None, "{version}");
    }
}

#[test]
fn niciras_write_metadata_stands_neither_in_clone_nor_in_a_packet_out() {
    for version in Version::ALL {
        let clone = Action::Clone(vec![Action::Exit, Action::Exit]);
        let mut bytes = applying(version, &[clone]);
        let at = bytes.len() - 32;
        bytes[at..].copy_from_slice(&WRITE_METADATA);
        let refusal = Message::decode(&bytes, Context::client(version)).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::BicUnsupInst, "{version}");

        let metadata = Match::any().with(Field::InPort, 1_u8);
        let actions = vec![Action::Exit, Action::Exit];
        let packet = PacketOut { buffer_id: None, metadata, actions, data: Vec::new() };
        let mut bytes = packet.encode(Context::client(version), XID).unwrap();
        let at = bytes.len() - 32;
        bytes[at..].copy_from_slice(&WRITE_METADATA);
        let refusal = Message::decode(&bytes, Context::client(version)).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::BicUnsupInst, "{version}");
    }
}

#[test]
fn a_part_of_tunnel_metadata_beyond_its_option_is_refused() {
    let table = mapping();
    let context = Context { tlv: Some(&table), ..Context::client(Version::V13) };
    let push = |end| {
        let bits = Subfield::range(Field::TunMetadata0, 30, end).unwrap();
        Message::decode(&applying(Version::V13, &[Action::Push(bits)]), context)
    };
    assert!(push(31).is_ok());
    assert_eq!(push(32).unwrap_err().code, ErrorCode::BacBadSetLen);
}

/// What is wrong with an NXAST_REG_LOAD2 of this NXM entry.
fn loading(entry: [u8; 8]) -> Option<ErrorCode> {
    let mut message = applying(Version::V13, &[Action::Push(Subfield::whole(Field::Reg0))]);
    let bytes = [&[0xff, 0xff, 0, 24, 0, 0, 0x23, 0x20, 0, 33], &entry[..], &[0; 6]].concat();
    let at = message.len() - bytes.len();
    message[at..].copy_from_slice(&bytes);
    Message::decode(&message, Context::client(Version::V13)).err().map(|refusal| refusal.code)
}

#[test]
fn a_value_wider_than_its_field_is_refused() {
    // ipv6_label, 20 bits in four bytes
    assert_eq!(loading([0, 1, 27 << 1, 4, 0, 0, 0, 1]), None);
    assert_eq!(loading([0, 1, 27 << 1, 4, 0x10, 0, 0, 1]), Some(ErrorCode::BacBadSetArgument));
}

#[test]
fn a_value_that_set_field_does_not_take_is_refused() {
    // arp_op, up to 255
    assert_eq!(loading([0, 0, 15 << 1, 2, 0, 2, 0, 0]), None);
    assert_eq!(loading([0, 0, 15 << 1, 2, 1, 0, 0, 0]), Some(ErrorCode::BacBadSetArgument));
}

#[test]
fn a_pause_among_flow_updates_has_eight_bytes() {
    // OFPMP_FLOW_MONITOR with one update: its length, OFPFME_PAUSED, padding.
    let reply = |length: u8, padding: &[u8]| {
        read(Version::V14, 19, &[&[0, 16, 0, 0, 0, 0, 0, 0, 0, length, 0, 5], padding].concat())
    };
    let paused = ReplyBody::FlowMonitor(vec![FlowUpdate::Paused]);
    assert_eq!(reply(8, &[0; 4]), Ok(Message::StatsReply(StatsReply { more: false, body: paused })));
    assert_eq!(reply(4, &[]).unwrap_err().code, ErrorCode::BrcBadLen);
    assert_eq!(reply(12, &[0; 8]).unwrap_err().code, ErrorCode::BrcBadLen);
}
