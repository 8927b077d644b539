//! Inputs made from others, each from one number, so that a failure names what to run again.

use crate::Input;

/// A source of numbers (splitmix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The source that begins at `seed`.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is at least 1.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn pick<'a, T: ?Sized>(&mut self, items: &'a [&'a T]) -> &'a T {
        items[self.below(items.len())]
    }
}

/// Values at the edges of what lengths, numbers and flags can be.
const EDGES: &[&[u8]] = &[
    &[0],
    &[1],
    &[7],
    &[8],
    &[0x7f],
    &[0x80],
    &[0xff],
    &[0, 0],
    &[0, 4],
    &[0, 7],
    &[0, 8],
    &[0, 16],
    &[0xff, 0xfe],
    &[0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff],
    &[0, 0, 0, 0],
];

/// Words and marks of the text forms.
const TOKENS: &[&str] = &[
    ",",
    "=",
    ":",
    "/",
    "(",
    ")",
    "[",
    "]",
    "->",
    "..",
    "\"",
    "\\",
    " ",
    "\n",
    "-1",
    "0",
    "0x",
    "0xffffffffffffffff",
    "256",
    "65535",
    "65536",
    "4294967295",
    "drop",
    "output:",
    "actions=",
    "table=",
    "in_port=",
    "ip,",
    "ct(",
    "load:",
    "move:",
    "reg0",
    "NXM_NX_REG0[]",
    "::",
    "fe80::1",
    "10.0.0.1",
    "00:00:00:00:00:01",
    "é",
    "- ",
    "{}",
    "&a ",
    "*a",
];

/// `base` with a few changes, parts of `other` among them; at most `limit` bytes long.
pub fn mutated(random: &mut Random, base: &[u8], other: &[u8], input: Input, limit: usize) -> Vec<u8> {
    let mut bytes = base.to_vec();
    for _ in 0..=random.below(4) {
        change(random, &mut bytes, other, input);
    }
    bytes.truncate(limit);
    match input {
        Input::Bytes => bytes,
        Input::Text => String::from_utf8_lossy(&bytes).into_owned().into_bytes(),
    }
}

fn change(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8], input: Input) {
    let at = random.below(bytes.len() + 1);
    let count = (1 + random.below(8)).min(bytes.len() - at);
    match random.below(8) {
        0 if count > 0 => bytes[at] ^= 1 << random.below(8),
        1 if count > 0 => bytes[at] = random.next() as u8,
        2 => drop(bytes.drain(at..at + count)),
        3 => {
            let part = bytes[at..at + count].to_vec();
            let to = random.below(bytes.len() + 1);
            drop(bytes.splice(to..to, part));
        }
        4 if !other.is_empty() => {
            let from = random.below(other.len());
            let part = other[from..(from + 1 + random.below(64)).min(other.len())].to_vec();
            drop(bytes.splice(at..at + count, part));
        }
        5 => bytes.truncate(at),
        _ => {
            let token = match input {
                Input::Bytes => random.pick(EDGES),
                Input::Text => random.pick(TOKENS).as_bytes(),
            };
            // Numbers stand in another's place; words between others as often.
            let replaced = if input == Input::Text && random.below(2) == 0 {
                0
            } else {
                token.len().min(bytes.len() - at)
            };
            drop(bytes.splice(at..at + replaced, token.iter().copied()));
        }
    }
}
