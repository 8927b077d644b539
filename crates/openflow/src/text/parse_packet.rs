//! Packets, as the FLOW argument of `ovs-appctl ofproto/trace` describes them.

use super::error::{ParseError, nearest};
use super::parse_match::MatchParser;
use super::span::{Items, Span};
use crate::key::Key;
use crate::port::PortNames;

/// Read a packet: `in_port=gw0,tcp,nw_src=10.0.0.1,tp_dst=80`.
///
/// The words are those of a match, with whole values only; what is not named is 0.
///
/// # Errors
///
/// The text has an unknown word, a mask, or a field that packets of this protocol do not have.
pub fn parse_packet(text: &str, names: &PortNames) -> Result<Key, ParseError> {
    let read = || {
        let mut fields = MatchParser::exact(names);
        let mut items = Items::of(Span::line(text));
        while let Some(item) = items.next()? {
            if !fields.take(item)? {
                let suggestion = nearest(item.key.text, MatchParser::words());
                return Err(item.key.misspelt("a protocol or a field", suggestion));
            }
        }
        fields.finish()
    };
    let fields = read().map_err(|fail: super::error::Fail| fail.in_line(text))?;
    let mut key = Key::default();
    for term in fields.matching.terms() {
        if let Some(word) = key.words_mut().get_mut(usize::from(term.word)) {
            *word = term.value;
        }
    }
    Ok(key)
}
