//! Properties: type, length and value, padded to 8 bytes.
//!
//! OpenFlow 1.4.1 §7.2.1.2 (ports) and onwards: the length counts the four bytes of type and length
//! and the value, not the padding.

use super::bytes::{Reader, U16, U32, U64, layout, pad8, patch_u16, put};
use super::error::{ErrorCode, Refusal};

layout! {
    /// ofp_prop_header
    struct Layout {
        kind: U16,
        length: U16,
    }
}

/// One property as read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Property<'a> {
    pub(crate) kind: u16,
    /// What follows the type and length, without padding.
    pub(crate) payload: &'a [u8],
}

/// The properties that fill some bytes.
pub(crate) struct Properties<'a>(Reader<'a>);

fn bad_length() -> Refusal {
    Refusal::new(ErrorCode::BpcBadLen, "a property")
}

impl<'a> Properties<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Properties<'a> {
        Properties(Reader::new(bytes, ErrorCode::BpcBadLen, "a property"))
    }

    fn read(&mut self) -> Result<Property<'a>, Refusal> {
        let reader = &mut self.0;
        let layout: &Layout = reader.take()?;
        let length = usize::from(layout.length.get());
        let payload = reader.bytes(length.checked_sub(size_of::<Layout>()).ok_or_else(bad_length)?)?;
        // The last one's padding may be missing.
        let padding = (length.next_multiple_of(8) - length).min(reader.len());
        reader.bytes(padding)?;
        Ok(Property { kind: layout.kind.get(), payload })
    }
}

impl<'a> Iterator for Properties<'a> {
    type Item = Result<Property<'a>, Refusal>;

    /// After an error there is nothing more.
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let item = self.read();
        if item.is_err() {
            *self = Properties::new(&[]);
        }
        Some(item)
    }
}

impl<'a> Property<'a> {
    /// Read the value's layouts.
    pub(crate) fn reader(self) -> Reader<'a> {
        Reader::new(self.payload, ErrorCode::BpcBadLen, "a property")
    }

    pub(crate) fn u8(self) -> Result<u8, Refusal> {
        self.reader().take::<u8>().copied()
    }

    pub(crate) fn u16(self) -> Result<u16, Refusal> {
        Ok(self.reader().take::<U16>()?.get())
    }

    pub(crate) fn u32(self) -> Result<u32, Refusal> {
        Ok(self.reader().take::<U32>()?.get())
    }

    /// An 8-byte value stands behind four bytes of padding.
    pub(crate) fn u64(self) -> Result<u64, Refusal> {
        let mut reader = self.reader();
        reader.bytes(4)?;
        Ok(reader.take::<U64>()?.get())
    }
}

/// Append a property whose value is what `value` appends.
pub(crate) fn put_property(out: &mut Vec<u8>, kind: u16, value: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    put(out, Layout { kind: U16::new(kind), length: U16::ZERO });
    value(out);
    let length = out.len() - start;
    patch_u16(out, start + 2, length);
    pad8(out, start);
}

/// Append a property of some bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, kind: u16, bytes: &[u8]) {
    put_property(out, kind, |out| out.extend_from_slice(bytes));
}

/// Append a property of a 2-byte number, which has its padding counted, as Open vSwitch has it.
pub(crate) fn put_u16(out: &mut Vec<u8>, kind: u16, number: u16) {
    put_property(out, kind, |out| {
        put(out, U16::new(number));
        out.extend_from_slice(&[0; 2]);
    });
}

/// Append a property of an 8-byte number, behind its padding.
pub(crate) fn put_u64(out: &mut Vec<u8>, kind: u16, number: u64) {
    put_property(out, kind, |out| {
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&number.to_be_bytes());
    });
}
