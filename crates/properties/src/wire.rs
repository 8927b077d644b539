//! OpenFlow messages: whatever the bytes, they are refused with an error that can be sent, or read;
//! and what was read is written and read again as the same message.
//!
//! # Exceptions, all of them
//!
//! * Group, meter and table mods, and requests that change table features, are read only as far as it
//!   takes to refuse them, and are not written ([`is_read_only`]).
//! * A flow's actions come back in the form that Open vSwitch gives them in the version: `load` as
//!   `set_field`, `mod_dl_src` as `set_field`. They have the same effect ([`same`]), and keep that
//!   form when written once more.
//! * From 1.3 on a match on a part of the PCP, which only NXM can say, becomes one on all of it, or on none
//!   where the packet need not have a tag: as Open vSwitch writes it.
//! * Errors are read in any version, to tell why a hello failed, and written in those that we speak.
//! * Reasons of packet-ins that 1.4 added are written as "action" in earlier versions.
//! * A message that fills its 65,535 bytes may no longer fit when its actions grow in that other form.

mod same;

use crate::memory::Limit;
use footbridge_openflow::Flow;
use footbridge_openflow::wire::stats::{ReplyBody, StatsReply, StatsRequest};
use footbridge_openflow::wire::{
    Context, EncodeError, ErrorCode, ErrorKind, ErrorMessage, FlowMod, Form, Framer, Header, Message,
    Refusal, TlvMapping, TlvTable, Version,
};

/// Reading one message. Most are the flow updates of 8 bytes that are read into a value of 144, in a list
/// that grows by doubling; actions of 8 bytes take a third of that.
const MESSAGE: Limit = Limit { base: 4096, per_byte: 48 };
/// Cutting a stream: what waits for its rest, in a vector that grows by doubling.
const STREAM: Limit = Limit { base: 4096, per_byte: 4 };

/// Bits of an input's first byte: how the rest is read.
mod selector {
    /// Index of the version.
    pub(super) const VERSION: u8 = 0b0000_0011;
    /// NXT_FLOW_MOD_TABLE_ID is on.
    pub(super) const TABLE_IN_COMMAND: u8 = 0b0000_0100;
    /// There is a table of tunnel options.
    pub(super) const MAPPED: u8 = 0b0000_1000;
    /// That table has no options.
    pub(super) const EMPTY: u8 = 0b0001_0000;
    /// The header is left as it is. Without, its version and length are made right, so that what is
    /// behind it is read.
    pub(super) const HEADER_AS_IS: u8 = 0b0010_0000;
    /// Of a flow mod: what its actions stand in. 0 is apply_actions.
    pub(super) const INSTRUCTION: u8 = 0b1100_0000;
    /// They stand in write_actions. Any other value: they are instructions themselves.
    pub(super) const WRITE: u8 = 0b0100_0000;
}

/// A first byte that says how to read the rest, and one message.
pub(crate) fn message(input: &[u8]) {
    let Some((&bits, message)) = input.split_first() else { return };
    let mut bytes = message[..message.len().min(usize::from(u16::MAX))].to_vec();
    if bits & selector::HEADER_AS_IS == 0
        && let Ok(length) = u16::try_from(bytes.len())
        && let Some([first, _, high, low, ..]) = bytes.get_mut(..8)
    {
        *first = version_of(bits).wire();
        [*high, *low] = length.to_be_bytes();
    }
    is_read(bits, &bytes);
}

/// A first byte that says how to read the rest, a second that says how long the match is, entries of a
/// match, and instructions or actions: the flow mod of them, whose lengths are right.
pub(crate) fn flow_mod(input: &[u8]) {
    let Some((&[bits, match_len], rest)) = input.split_first_chunk() else { return };
    let Some((entries, actions)) = rest.split_at_checked(match_len.into()) else { return };
    if rest.len() > usize::from(u16::MAX) / 2 {
        return;
    }
    let version = version_of(bits);
    let length = |bytes: usize| (bytes as u16).to_be_bytes();
    let padding = |bytes: usize| vec![0; bytes.next_multiple_of(8) - bytes];
    let actions = &actions[..actions.len() / 8 * 8];
    let body = if version == Version::V10 {
        // nicira_header and nx_flow_mod
        let head = [0, 0, 0x23, 0x20, 0, 0, 0, 13, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 2, 0x80, 0];
        let behind = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0];
        [&head[..], &behind, &length(entries.len()), &[0; 6], entries, &padding(entries.len()), actions]
            .concat()
    } else {
        // ofp_flow_mod and ofp_match
        let head = [0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 1, 0, 2, 0x80, 0];
        let behind = [0xff; 12];
        let match_len = 4 + entries.len();
        let matching = [&[0, 1], &length(match_len)[..], entries, &padding(match_len)].concat();
        let instruction = match bits & selector::INSTRUCTION {
            0 => Some(4),
            selector::WRITE => Some(3),
            _ => None,
        };
        let around = instruction
            .map_or(Vec::new(), |kind| [&[0, kind][..], &length(8 + actions.len()), &[0; 4]].concat());
        [&head[..], &behind, &[0; 4], &matching, &around, actions].concat()
    };
    let kind = if version == Version::V10 { 4 } else { 14 };
    is_read(bits, &[&[version.wire(), kind], &length(8 + body.len())[..], &[0, 0, 0, 1], &body].concat());
}

fn version_of(bits: u8) -> Version {
    Version::ALL[usize::from(bits & selector::VERSION)]
}

/// The message is refused, and the error can be sent; or it is read, and comes back.
fn is_read(bits: u8, bytes: &[u8]) {
    let table = if bits & selector::EMPTY == 0 { options() } else { TlvTable::default() };
    let tlv = (bits & selector::MAPPED != 0).then_some(&table);
    let table_in_command = bits & selector::TABLE_IN_COMMAND != 0;
    let context = Context { version: version_of(bits), tlv, table_in_command };
    match MESSAGE.of(bytes.len(), || Message::decode(bytes, context)) {
        Err(refusal) => is_answered(refusal, bytes, context),
        Ok((header, message)) => comes_back(header, &message, context, bytes.len()),
    }
}

/// Options of several lengths, one of which is longer than a field.
fn options() -> TlvTable {
    let option =
        |(index, option_len)| TlvMapping { option_class: 0x0104, option_type: 0x80, option_len, index };
    TlvTable([(0, 4), (1, 8), (2, 16), (3, 124)].map(option).into())
}

/// The error that answers a message can be sent, and is read as what it is.
fn is_answered(refusal: Refusal, bytes: &[u8], context: Context<'_>) {
    let error = ErrorMessage::about(refusal.code, bytes);
    let sent = match error.encode(context.version, 1) {
        Ok(sent) => sent,
        Err(why) => panic!("{refusal}: its answer can't be sent: {why}"),
    };
    match Message::decode(&sent, context) {
        Ok((_, Message::Error(read))) if read.data == error.data => {
            let unencodable = ErrorKind::Known(ErrorCode::NxbrcUnencodableError);
            assert!(read.kind == error.kind || read.kind == unencodable, "{refusal}: read as {read:?}");
        }
        other => panic!("{refusal}: its answer is read as {other:?}"),
    }
}

/// The message is written, and read again as the same.
fn comes_back(header: Header, message: &Message, mut context: Context<'_>, length: usize) {
    if let Message::Error(_) = message {
        let Some(version) = Version::from_wire(header.version) else { return };
        context.version = version;
    }
    let written = match message.encode_all(context, header.xid) {
        Ok(written) => written,
        Err(_) if is_read_only(message) => return,
        Err(EncodeError::TooLong { .. }) if length > usize::from(u16::MAX) / 4 => return,
        Err(why) => panic!("{message:?} can't be written: {why}"),
    };
    let again = read_all(&written, context, header.xid);
    if again == *message {
        return;
    }
    let (before, after) = (same::essence(message, context.version), same::essence(&again, context.version));
    assert!(before == after, "{message:?}\ncomes back as\n{again:?}");
    match again.encode_all(context, header.xid) {
        Ok(once_more) => {
            let same = read_all(&once_more, context, header.xid);
            assert!(same == again, "{message:?}\ncomes back as\n{again:?}\nand then as\n{same:?}");
        }
        Err(why) => panic!("{again:?} was read, and can't be written: {why}"),
    }
}

/// A flow that text gave is written in each version that can say it, and then read; and what it is
/// read as stays that.
pub(crate) fn carries(flow: &Flow) {
    for version in Version::ALL {
        let context = Context::client(version);
        let mut add = FlowMod::add(flow.table, flow.priority, flow.matching.clone());
        add.form = if version == Version::V10 { Form::Nicira } else { Form::Standard };
        add.actions.clone_from(&flow.actions);
        let Ok(bytes) = add.encode(context, 1) else { continue };
        match Message::decode(&bytes, context) {
            Ok((header, message)) => comes_back(header, &message, context, bytes.len()),
            Err(refusal) if is_refused_by_open_vswitch(refusal, version) => {}
            Err(refusal) => panic!("{version}: {flow:?} is refused: {refusal}"),
        }
    }
}

/// What a version's form of a flow makes of it that Open vSwitch refuses, too, from its own ovs-ofctl.
fn is_refused_by_open_vswitch(refusal: Refusal, version: Version) -> bool {
    match version {
        // goto_table becomes a resubmit, which may not stand behind write_metadata.
        Version::V10 => refusal.code == ErrorCode::BacUnsupportedOrder,
        // A load becomes a set_field, whose value has more rules.
        Version::V15 => refusal.code == ErrorCode::BacBadSetArgument,
        Version::V13 | Version::V14 => false,
    }
}

/// Whether the message is one that is only ever refused.
fn is_read_only(message: &Message) -> bool {
    matches!(
        message,
        Message::GroupMod(_)
            | Message::MeterMod(_)
            | Message::TableMod(_)
            | Message::StatsRequest(StatsRequest::TableFeatures { sets: true })
    )
}

/// Read messages, the parts of one reply put together.
fn read_all(written: &[Vec<u8>], context: Context<'_>, xid: u32) -> Message {
    let mut whole = None;
    for (i, bytes) in written.iter().enumerate() {
        let message = match Message::decode(bytes, context) {
            Ok((header, message)) => {
                assert_eq!(header.xid, xid);
                message
            }
            Err(refusal) => panic!("what was written is refused: {refusal}\n{bytes:02x?}"),
        };
        whole = match (whole, message) {
            (None, message) => Some(message),
            (Some(Message::StatsReply(first)), Message::StatsReply(next)) => {
                assert!(first.more, "part {i} of a reply follows its last");
                Some(Message::StatsReply(StatsReply { more: next.more, body: joined(first.body, next.body) }))
            }
            (Some(first), next) => panic!("{first:?} was written as several, among them {next:?}"),
        };
    }
    match whole {
        Some(message) => message,
        None => panic!("nothing was written"),
    }
}

/// Two parts of a reply.
fn joined(first: ReplyBody, next: ReplyBody) -> ReplyBody {
    fn both<T>(mut first: Vec<T>, next: Vec<T>) -> Vec<T> {
        first.extend(next);
        first
    }
    match (first, next) {
        (ReplyBody::Flow(form, a), ReplyBody::Flow(same, b)) if form == same => {
            ReplyBody::Flow(form, both(a, b))
        }
        (ReplyBody::Table(a), ReplyBody::Table(b)) => ReplyBody::Table(both(a, b)),
        (ReplyBody::TableFeatures(a), ReplyBody::TableFeatures(b)) => ReplyBody::TableFeatures(both(a, b)),
        (ReplyBody::Port(a), ReplyBody::Port(b)) => ReplyBody::Port(both(a, b)),
        (ReplyBody::PortDesc(a), ReplyBody::PortDesc(b)) => ReplyBody::PortDesc(both(a, b)),
        (ReplyBody::FlowMonitor(a), ReplyBody::FlowMonitor(b)) => ReplyBody::FlowMonitor(both(a, b)),
        (first, next) => panic!("{first:?} and {next:?} are not parts of one reply"),
    }
}

/// A stream of messages that comes in parts: a first byte that says how long they are, and the
/// stream. The messages are the same as when it comes whole.
pub(crate) fn stream(input: &[u8]) {
    let Some((&size, stream)) = input.split_first() else { return };
    let size = usize::from(size) + 1;
    let (whole, end) = STREAM.of(stream.len(), || messages(stream, stream.len().max(1)));
    let (parts, same_end) = STREAM.of(stream.len(), || messages(stream, size));
    assert!(whole == parts, "in parts of {size} bytes the messages are others");
    match (end, same_end) {
        (Ok(pending), Ok(same)) => {
            assert_eq!(pending, same);
            let read: usize = whole.iter().map(|(_, end)| end).max().copied().unwrap_or(0);
            assert_eq!(read + pending, stream.len(), "bytes were lost");
        }
        (Err(one), Err(other)) => assert_eq!(one, other),
        (one, other) => panic!("whole the stream ends {one:?}, in parts {other:?}"),
    }
}

/// Where each message begins and ends, and how the stream ends: how many bytes wait for the rest of
/// their message, or which length a header has that is none.
fn messages(stream: &[u8], size: usize) -> (Vec<(usize, usize)>, Result<usize, u16>) {
    let (mut framer, mut found, mut at) = (Framer::default(), Vec::new(), 0);
    for part in stream.chunks(size) {
        framer.push(part);
        loop {
            match framer.next_message() {
                Ok(Some(message)) => {
                    let end = at + message.len();
                    assert!(stream.get(at..end) == Some(message), "the message at {at} has other bytes");
                    found.push((at, end));
                    at = end;
                }
                Ok(None) => break,
                Err(error) => return (found, Err(error.length)),
            }
        }
    }
    (found, Ok(framer.pending()))
}
