//! OFPST_DESC: what the switch is, for people.
//!
//! OpenFlow 1.0.0 §5.3.5, 1.3.5 §7.3.5.1.

use super::super::bytes::{Reader, array, layout, put, text};
use super::super::error::Refusal;

layout! {
    /// ofp_desc
    struct Layout {
        manufacturer: [u8; 256], hardware: [u8; 256], software: [u8; 256], serial: [u8; 32], datapath: [u8; 256],
    }
}

/// OFPST_DESC's reply. Texts are cut to 255 bytes, the serial number to 31.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Desc {
    /// Who made it.
    pub manufacturer: String,
    /// The hardware.
    pub hardware: String,
    /// The software and its version.
    pub software: String,
    /// Its serial number.
    pub serial: String,
    /// The datapath's name.
    pub datapath: String,
}

impl Desc {
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Desc, Refusal> {
        let layout: &Layout = reader.take()?;
        Ok(Desc {
            manufacturer: text(&layout.manufacturer),
            hardware: text(&layout.hardware),
            software: text(&layout.software),
            serial: text(&layout.serial),
            datapath: text(&layout.datapath),
        })
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put(
            out,
            Layout {
                manufacturer: array(&self.manufacturer),
                hardware: array(&self.hardware),
                software: array(&self.software),
                serial: array(&self.serial),
                datapath: array(&self.datapath),
            },
        );
    }
}
