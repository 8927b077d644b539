//! The header that begins every message, and cutting a stream of bytes into messages.
//!
//! OpenFlow 1.0.0 §5.1 and 1.3.5 §7.1.1: version, type, length of the whole message, transaction id.

use super::bytes::{Reader, U16, U32, layout, patch_u16, put};
use super::error::{EncodeError, ErrorCode, Refusal};
use super::version::Version;

/// Bytes of a header.
pub const HEADER_LEN: usize = 8;
/// The longest message that the 16-bit length allows.
pub const MAX_MESSAGE: usize = 65535;

layout! {
    /// ofp_header
    struct Layout {
        version: u8,
        kind: u8,
        length: U16,
        xid: U32,
    }
}

/// The first eight bytes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// As on the wire: not every number is a [`Version`].
    pub version: u8,
    /// OFPT_*, in the numbers of `version`.
    pub kind: u8,
    /// Of the whole message, header included.
    pub length: u16,
    /// Replies carry their request's.
    pub xid: u32,
}

impl Header {
    /// The header and the bytes behind it. A length that is not `message`'s own is refused.
    pub fn decode(message: &[u8]) -> Result<(Header, &[u8]), Refusal> {
        let mut reader = Reader::new(message, ErrorCode::BrcBadLen, "message header");
        let layout: &Layout = reader.take()?;
        let header = Header {
            version: layout.version,
            kind: layout.kind,
            length: layout.length.get(),
            xid: layout.xid.get(),
        };
        if usize::from(header.length) != message.len() {
            return Err(reader.bad_length());
        }
        Ok((header, reader.rest()))
    }
}

/// Write one message: the header, then what `body` appends, then the length into the header.
pub(crate) fn message(
    version: Version,
    kind: u8,
    xid: u32,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::with_capacity(256);
    put(&mut out, Layout { version: version.wire(), kind, length: U16::ZERO, xid: U32::new(xid) });
    body(&mut out)?;
    finish(out)
}

layout! {
    /// ofp_vendor_header and nicira_header, behind the header
    struct Vendor {
        vendor: U32,
        subtype: U32,
    }
}

/// Write one experimenter's message.
pub(crate) fn vendor_message(
    version: Version,
    vendor: u32,
    subtype: u32,
    xid: u32,
    body: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
) -> Result<Vec<u8>, EncodeError> {
    message(version, super::kind::EXPERIMENTER, xid, |out| {
        put(out, Vendor { vendor: U32::new(vendor), subtype: U32::new(subtype) });
        body(out)
    })
}

/// An experimenter's id, its subtype, and what follows.
pub(crate) fn decode_vendor(body: &[u8]) -> Result<(u32, u32, &[u8]), Refusal> {
    let mut reader = Reader::new(body, ErrorCode::BrcBadLen, "an experimenter's message");
    let vendor: &U32 = reader.take()?;
    // An unknown experimenter need not have a subtype at all.
    if ![super::NICIRA, super::ONF].contains(&vendor.get()) {
        return Err(Refusal::new(ErrorCode::BrcBadVendor, "an experimenter's message"));
    }
    let subtype: &U32 = reader.take()?;
    Ok((vendor.get(), subtype.get(), reader.rest()))
}

/// Put a whole message's length into its header.
pub(crate) fn finish(mut out: Vec<u8>) -> Result<Vec<u8>, EncodeError> {
    if out.len() > MAX_MESSAGE {
        return Err(EncodeError::TooLong { length: out.len() });
    }
    let length = out.len();
    patch_u16(&mut out, 2, length);
    Ok(out)
}

/// The stream is not OpenFlow: its boundaries are lost and the connection has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an OpenFlow header says that its message is {length} bytes long, which is less than the header itself"
)]
pub struct FramingError {
    /// The length it said.
    pub length: u16,
}

/// Cuts bytes, as they come, into whole messages.
///
/// Holds at most one message and what was pushed with it; take the messages out after each push.
#[derive(Debug, Default)]
pub struct Framer {
    bytes: Vec<u8>,
    start: usize,
}

impl Framer {
    /// Append what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message, header included; None until the rest of it has been pushed.
    pub fn next_message(&mut self) -> Result<Option<&[u8]>, FramingError> {
        let rest = &self.bytes[self.start..];
        let Some(&[_, _, high, low, ..]) = rest.get(..HEADER_LEN) else { return Ok(None) };
        let length = u16::from_be_bytes([high, low]);
        let end = usize::from(length);
        if end < HEADER_LEN {
            return Err(FramingError { length });
        }
        if rest.len() < end {
            return Ok(None);
        }
        let message = self.start..self.start + end;
        self.start = message.end;
        Ok(Some(&self.bytes[message]))
    }

    /// Bytes that wait for the rest of their message.
    pub fn pending(&self) -> usize {
        self.bytes.len() - self.start
    }
}
