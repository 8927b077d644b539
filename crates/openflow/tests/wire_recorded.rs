//! What real clients and a real switch said, read and written again: `tests/data/wire/`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use footbridge_openflow::wire::{Context, Message, Version};

struct Line {
    version: Version,
    command: String,
    bytes: Vec<u8>,
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
}

fn recorded() -> Vec<Line> {
    let files = [
        (Version::V10, include_str!("data/wire/openflow10.txt")),
        (Version::V13, include_str!("data/wire/openflow13.txt")),
        (Version::V14, include_str!("data/wire/openflow14.txt")),
        (Version::V15, include_str!("data/wire/openflow15.txt")),
    ];
    let mut lines = Vec::new();
    for (version, text) in files {
        let mut command = String::new();
        for line in text.lines() {
            match line.split_at(1) {
                ("#", rest) => command = rest.trim().to_owned(),
                (_, message) => {
                    lines.push(Line { version, command: command.clone(), bytes: hex(message.trim()) })
                }
            }
        }
    }
    lines
}

/// What OVS keeps and we do not: which messages, and why they are not written again as they were.
const DIFFERENCES: [(&str, &str); 3] = [
    ("queue-get-config", "Open vSwitch's ports have a default queue, ours have none"),
    ("dump-ports", "Open vSwitch adds experimenters' counters from 1.4 on"),
    ("table=6", "lengths of tun_metadata fields, which a client without the mapping leaves open"),
];

fn show(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn every_recorded_message_is_written_again_byte_for_byte() {
    let mut wrong = Vec::new();
    for Line { version, command, bytes } in recorded() {
        let context = Context::client(version);
        let mut say = |what: String| wrong.push(format!("{version} {command}: {what}\n  {}", show(&bytes)));
        let (header, message) = match Message::decode(&bytes, context) {
            Ok(read) => read,
            Err(refusal) => {
                say(refusal.to_string());
                continue;
            }
        };
        if matches!(message, Message::GroupMod(_)) {
            continue;
        }
        let again = match message.encode(context, header.xid) {
            Ok(again) => again,
            Err(error) => {
                say(error.to_string());
                continue;
            }
        };
        if again != bytes && !DIFFERENCES.iter().any(|(part, _)| command.contains(part)) {
            say(format!("{message:?}\n  {}", show(&again)));
        }
        // What differs in bytes is still the same message.
        match Message::decode(&again, context) {
            Ok((_, same)) if same == message => {}
            other => say(format!("{message:?} read again is {other:?}")),
        }
    }
    assert!(wrong.is_empty(), "{} messages:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_stream_cut_anywhere_gives_the_same_messages() {
    use footbridge_openflow::wire::Framer;
    let lines = recorded();
    let stream: Vec<u8> = lines.iter().flat_map(|line| line.bytes.clone()).collect();
    for size in [1, 7, 8, 100, 4096] {
        let mut framer = Framer::default();
        let mut messages = Vec::new();
        for part in stream.chunks(size) {
            framer.push(part);
            while let Some(message) = framer.next_message().unwrap() {
                messages.push(message.to_vec());
            }
        }
        assert_eq!(framer.pending(), 0);
        assert!(messages.iter().eq(lines.iter().map(|line| &line.bytes)), "cut every {size} bytes");
    }
}

#[test]
fn a_recorded_message_with_a_byte_changed_or_cut_never_panics() {
    for Line { version, bytes, .. } in recorded() {
        let context = Context::client(version);
        for at in 0..bytes.len().min(400) {
            for value in [0, 1, 7, 8, 0x7f, 0xff] {
                let mut changed = bytes.clone();
                changed[at] = value;
                let _ = Message::decode(&changed, context);
            }
            let mut cut = bytes[..at].to_vec();
            if at >= 8 {
                cut[2..4].copy_from_slice(&(at as u16).to_be_bytes());
            }
            let _ = Message::decode(&cut, context);
        }
    }
}
