//! OFPST_TABLE: counters of tables.
//!
//! OpenFlow 1.0.0 §5.3.5, 1.3.5 §7.3.5.4.

use super::super::bytes::{Reader, U32, U64, array, layout, put, text};
use super::super::error::Refusal;
use super::super::version::Version;

layout! {
    /// ofp_table_stats (1.0)
    struct Layout10 {
        id: u8, pad: [u8; 3], name: [u8; 32], wildcards: U32, max_entries: U32, active: U32, lookups: U64,
        matches: U64,
    }
    /// ofp_table_stats (1.3)
    struct Layout13 { id: u8, pad: [u8; 3], active: U32, lookups: U64, matches: U64, }
}

/// OFPFW_ALL: every field of a 1.0 match can be wildcarded.
const ALL_WILDCARDS: u32 = (1 << 22) - 1;

/// Counters of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableStats {
    /// Its number.
    pub id: u8,
    /// Its name (1.0 only; 31 bytes).
    pub name: String,
    /// Flows that it can hold (1.0 only).
    pub max_entries: u32,
    /// Flows that it holds.
    pub active: u32,
    /// Packets looked up.
    pub lookups: u64,
    /// Packets that a flow took.
    pub matches: u64,
}

impl TableStats {
    pub(crate) fn decode(reader: &mut Reader<'_>, version: Version) -> Result<TableStats, Refusal> {
        if version == Version::V10 {
            let l: &Layout10 = reader.take()?;
            return Ok(TableStats {
                id: l.id,
                name: text(&l.name),
                max_entries: l.max_entries.get(),
                active: l.active.get(),
                lookups: l.lookups.get(),
                matches: l.matches.get(),
            });
        }
        let l: &Layout13 = reader.take()?;
        Ok(TableStats {
            id: l.id,
            name: String::new(),
            max_entries: 0,
            active: l.active.get(),
            lookups: l.lookups.get(),
            matches: l.matches.get(),
        })
    }

    /// Append one entry.
    pub fn encode(&self, out: &mut Vec<u8>, version: Version) {
        let (id, active) = (self.id, U32::new(self.active));
        let (lookups, matches) = (U64::new(self.lookups), U64::new(self.matches));
        if version == Version::V10 {
            put(
                out,
                Layout10 {
                    id,
                    pad: [0; 3],
                    name: array(&self.name),
                    wildcards: U32::new(ALL_WILDCARDS),
                    max_entries: U32::new(self.max_entries),
                    active,
                    lookups,
                    matches,
                },
            );
        } else {
            put(out, Layout13 { id, pad: [0; 3], active, lookups, matches });
        }
    }
}
