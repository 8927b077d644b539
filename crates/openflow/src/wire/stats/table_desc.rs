//! OFPMP_TABLE_DESC: the settings of tables.
//!
//! OpenFlow 1.4.1 §7.3.5.16. They are what they are at first: nothing is evicted, and nobody is told of a table
//! that fills up.

use super::super::bytes::{Reader, U16, U32, layout, put};
use super::super::error::Refusal;

layout! {
    /// ofp_table_desc, before the properties
    struct Layout { length: U16, id: u8, pad: u8, config: U32, }
}

/// The settings of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableDesc {
    /// Its number.
    pub id: u8,
    /// OFPTC_*
    pub config: u32,
}

impl TableDesc {
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<TableDesc, Refusal> {
        let length = usize::from(reader.peek::<Layout>()?.length.get());
        let mut inside = reader.sub(length)?;
        let layout: &Layout = inside.take()?;
        Ok(TableDesc { id: layout.id, config: layout.config.get() })
    }

    /// Append one entry.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let length = U16::new(size_of::<Layout>() as u16);
        put(out, Layout { length, id: self.id, pad: 0, config: U32::new(self.config) });
    }
}
