//! OFPMP_TABLE_FEATURES, as small as it can be.
//!
//! OpenFlow 1.3.5 §7.3.5.5, 1.5.1 §7.3.5.18. Open vSwitch lists every field and action of every table
//! in 1.25 MB, of which its clients read only number and name. Here the lists of instructions are
//! full; those of actions and fields, which the specification requires, are empty. All 254 tables fit
//! one message. Changes are refused.

use super::super::bytes::{Reader, U16, U32, U64, array, layout, patch_u16, put, text};
use super::super::error::{ErrorCode, Refusal};
use super::super::property::{put_bytes, put_property};
use super::request::StatsRequest;

layout! {
    /// ofp_table_features (1.3, and 1.5 with command and features in the padding), before the properties
    struct Layout {
        length: U16, id: u8, command: u8, features: U32, name: [u8; 32], metadata_match: U64, metadata_write: U64,
        config: U32, max_entries: U32,
    }
}

/// OFPTFPT_INSTRUCTIONS
const INSTRUCTIONS: u16 = 0;
/// The other properties that must be there: NEXT_TABLES, WRITE_ACTIONS, APPLY_ACTIONS, MATCH, WILDCARDS,
/// WRITE_SETFIELD, APPLY_SETFIELD.
const REQUIRED: [u16; 7] = [2, 4, 6, 8, 10, 12, 14];
/// Instructions: goto_table, write_metadata, write_actions, apply_actions, clear_actions.
const SUPPORTED: [u16; 5] = [1, 2, 3, 4, 5];
/// Bytes of an instruction's id: its type and this length.
const INSTRUCTION_ID: u16 = 4;

/// What one table is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFeatures {
    /// Its number.
    pub id: u8,
    /// Its name, of which 31 bytes fit.
    pub name: String,
    /// Flows that it can hold.
    pub max_entries: u32,
}

impl TableFeatures {
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<TableFeatures, Refusal> {
        let length = usize::from(reader.peek::<Layout>()?.length.get());
        let mut inside = reader.sub(length)?;
        let layout: &Layout = inside.take()?;
        Ok(TableFeatures { id: layout.id, name: text(&layout.name), max_entries: layout.max_entries.get() })
    }

    /// Append one entry.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        put(
            out,
            Layout {
                length: U16::ZERO,
                id: self.id,
                command: 0,
                features: U32::ZERO,
                name: array(&self.name),
                metadata_match: U64::new(u64::MAX),
                metadata_write: U64::new(u64::MAX),
                config: U32::ZERO,
                max_entries: U32::new(self.max_entries),
            },
        );
        put_property(out, INSTRUCTIONS, |out| {
            for kind in SUPPORTED {
                put(out, U16::new(kind));
                put(out, U16::new(INSTRUCTION_ID));
            }
        });
        for kind in REQUIRED {
            put_bytes(out, kind, &[]);
        }
        let length = out.len() - start;
        patch_u16(out, start, length);
    }
}

pub(super) fn decode_request(reader: Reader<'_>) -> Result<StatsRequest, Refusal> {
    let sets = !reader.is_empty();
    if sets {
        let layout: &Layout =
            reader.peek().map_err(|_| Refusal::new(ErrorCode::BpcBadLen, "table features"))?;
        if layout.id == super::super::ALL_TABLES {
            return Err(Refusal::new(ErrorCode::TffcBadTable, "table features"));
        }
    }
    Ok(StatsRequest::TableFeatures { sets })
}
