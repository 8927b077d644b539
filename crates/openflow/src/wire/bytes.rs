//! Reading and writing layouts: the only place that touches offsets.
//!
//! A layout is a `#[repr(C)]` struct of big-endian fields, alignment 1, declared with [`layout!`];
//! [`Reader`] hands out references to them after checking the length, so that no decoder indexes
//! bytes by hand. Nothing here panics.

use super::error::{ErrorCode, Refusal};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub(crate) use zerocopy::network_endian::{U16, U32, U64};

/// Declare layouts: structs as they stand on the wire.
macro_rules! layout {
    ($( $(#[$meta:meta])* struct $name:ident { $( $(#[$note:meta])* $field:ident: $ty:ty, )* } )+) => { $(
        $(#[$meta])*
        #[derive(Clone, Copy, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable,
                 zerocopy::KnownLayout, zerocopy::Unaligned)]
        #[repr(C)]
        struct $name { $( $(#[$note])* $field: $ty, )* }
    )+ };
}
pub(crate) use layout;

/// Bytes not yet read, and the error to give when they run out.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    short: ErrorCode,
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// Read `bytes`, the `what`; too few of them is the error `short`.
    pub(crate) fn new(bytes: &'a [u8], short: ErrorCode, what: &'static str) -> Reader<'a> {
        Reader { rest: bytes, short, what }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.rest.len()
    }

    /// Everything that is left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The refusal of bytes of this length.
    pub(crate) fn bad_length(&self) -> Refusal {
        Refusal::new(self.short, self.what)
    }

    /// The next layout.
    pub(crate) fn take<T: FromBytes + KnownLayout + Immutable + Unaligned>(
        &mut self,
    ) -> Result<&'a T, Refusal> {
        let (layout, rest) = T::ref_from_prefix(self.rest).map_err(|_| self.bad_length())?;
        self.rest = rest;
        Ok(layout)
    }

    /// The next layout, without going past it.
    pub(crate) fn peek<T: FromBytes + KnownLayout + Immutable + Unaligned>(&self) -> Result<&'a T, Refusal> {
        self.clone().take()
    }

    /// The next `count` bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Refusal> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or_else(|| self.bad_length())?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Refuse bytes left over.
    pub(crate) fn end(&self) -> Result<(), Refusal> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.bad_length()) }
    }

    /// A reader of the next `count` bytes, with the same error.
    pub(crate) fn sub(&mut self, count: usize) -> Result<Reader<'a>, Refusal> {
        let rest = self.bytes(count)?;
        Ok(Reader { rest, ..self.clone() })
    }
}

/// Append a layout.
pub(crate) fn put<T: IntoBytes + Immutable>(out: &mut Vec<u8>, layout: T) {
    out.extend_from_slice(layout.as_bytes());
}

/// Append zeros until what began at `start` is a multiple of 8 bytes long.
pub(crate) fn pad8(out: &mut Vec<u8>, start: usize) {
    let length = out.len() - start;
    out.resize(start + length.next_multiple_of(8), 0);
}

/// Write a 16-bit number at `at`, which has been written before; a number that does not fit is cut,
/// which the message's own length check then refuses.
pub(crate) fn patch_u16(out: &mut [u8], at: usize, value: usize) {
    if let Some(place) = out.get_mut(at..at + 2) {
        place.copy_from_slice(&(value as u16).to_be_bytes());
    }
}

/// Whether all bytes are zero, as pads that must be.
pub(crate) fn all_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| *b == 0)
}

/// The text in a fixed array, which ends at the first zero byte, and before the array's last byte at
/// the latest, as Open vSwitch reads it. What is not UTF-8 is replaced; the text is cut to what the
/// array can hold again.
pub(crate) fn text<const N: usize>(array: &[u8; N]) -> String {
    let room = N.saturating_sub(1);
    let end = array.iter().take(room).position(|b| *b == 0).unwrap_or(room);
    let text = String::from_utf8_lossy(&array[..end]);
    cut(&text, room).to_owned()
}

/// Text as a fixed array: cut, between characters, to leave a zero byte at its end.
pub(crate) fn array<const N: usize>(text: &str) -> [u8; N] {
    let mut array = [0; N];
    let text = cut(text, N.saturating_sub(1));
    array[..text.len()].copy_from_slice(text.as_bytes());
    array
}

/// As many characters of the text as `room` bytes hold.
fn cut(text: &str, room: usize) -> &str {
    let end = (0..=room.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    &text[..end]
}
