//! OFPT_HELLO: the first message of each end.
//!
//! OpenFlow 1.0.0 §5.5.1 (no body), 1.3.5 §7.5.1 (a list of elements, of which the version bitmap is
//! the only one defined). What is not understood in a hello is ignored, as the specification asks.

use super::bytes::{Reader, U16, U32, layout, pad8, put};
use super::error::{EncodeError, ErrorCode};
use super::header;
use super::version::{Version, Versions};

const VERSION_BITMAP: u16 = 1;

layout! {
    /// ofp_hello_elem_header
    struct Element {
        kind: U16,
        /// Of the element, without padding.
        length: U16,
    }
}

/// OFPT_HELLO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// The header's version: the highest that the sender speaks.
    pub version: u8,
    /// Its bitmap, if it sent one.
    pub bitmap: Option<Versions>,
}

impl Hello {
    /// A hello of the highest of `versions`, with a bitmap.
    pub fn offering(versions: Versions) -> Hello {
        let version = (31 - versions.0.max(2).leading_zeros()) as u8;
        Hello { version, bitmap: Some(versions) }
    }

    /// The versions that the sender speaks.
    pub fn versions(&self) -> Versions {
        self.bitmap.unwrap_or(Versions::up_to(self.version))
    }

    /// From the bytes behind a header of `version`.
    pub(crate) fn decode(version: u8, body: &[u8]) -> Hello {
        let mut bitmap = None;
        let mut reader = Reader::new(body, ErrorCode::BrcBadLen, "OFPT_HELLO");
        while let Ok(element) = reader.peek::<Element>() {
            let length = usize::from(element.length.get());
            let Ok(mut inside) = reader.sub(length.max(size_of::<Element>())) else { break };
            if inside.take::<Element>().is_ok() && element.kind.get() == VERSION_BITMAP {
                // Versions above 31 are none of ours.
                bitmap = inside.take::<U32>().ok().map(|bits| Versions(bits.get()));
            }
            if reader.bytes((length.next_multiple_of(8) - length).min(reader.len())).is_err() {
                break;
            }
        }
        Hello { version, bitmap }
    }

    /// A whole message.
    pub fn encode(&self, xid: u32) -> Result<Vec<u8>, EncodeError> {
        let mut message = header::message(Version::V10, super::kind::HELLO, xid, |out| {
            if let Some(bitmap) = self.bitmap {
                let start = out.len();
                put(out, Element { kind: U16::new(VERSION_BITMAP), length: U16::new(8) });
                put(out, U32::new(bitmap.0));
                pad8(out, start);
            }
            Ok(())
        })?;
        if let Some(version) = message.first_mut() {
            *version = self.version;
        }
        Ok(message)
    }
}
