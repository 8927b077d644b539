//! What real clients and a real switch said, read and written again: `tests/data/wire/`.

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
                (_, message) => lines.push(Line { version, command: command.clone(), bytes: hex(message.trim()) }),
            }
        }
    }
    lines
}

#[test]
fn every_recorded_message_is_written_again_byte_for_byte() {
    let mut wrong = Vec::new();
    for Line { version, command, bytes } in recorded() {
        let context = Context::client(version);
        let show = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        match Message::decode(&bytes, context) {
            Err(refusal) => wrong.push(format!("{version} {command}: {refusal}\n  {}", show(&bytes))),
            Ok((header, message)) => match message.encode(context, header.xid) {
                Ok(again) if again == bytes => {}
                Ok(again) => wrong.push(format!(
                    "{version} {command}: {message:?}\n  {}\n  {}",
                    show(&bytes),
                    show(&again)
                )),
                Err(error) => wrong.push(format!("{version} {command}: {error}: {message:?}")),
            },
        }
    }
    assert!(wrong.is_empty(), "{} messages:\n{}", wrong.len(), wrong.join("\n"));
}
