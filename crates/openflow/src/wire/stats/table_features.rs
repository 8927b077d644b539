//! OFPMP_TABLE_FEATURES, as small as it can be.
//!
//! OpenFlow 1.3.5 §7.3.5.5, 1.5.1 §7.3.5.18. The properties, which list every field and action of every
//! table, are left out: Open vSwitch's are 1.25 MB, and its clients read only number and name. Changes
//! are refused.

use super::super::bytes::{Reader, U16, U32, U64, array, layout, put, text};
use super::super::error::{ErrorCode, Refusal};
use super::request::StatsRequest;

layout! {
    /// ofp_table_features (1.3, and 1.5 with command and features in the padding), before the properties
    struct Layout {
        length: U16, id: u8, command: u8, features: U32, name: [u8; 32], metadata_match: U64, metadata_write: U64,
        config: U32, max_entries: U32,
    }
}

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
        put(
            out,
            Layout {
                length: U16::new(size_of::<Layout>() as u16),
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
