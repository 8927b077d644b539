//! Tunnel headers: VXLAN (RFC 7348) and Geneve (RFC 8926), as bytes in and out, without I/O.
//!
//! Both carry an Ethernet frame in a UDP datagram behind a header of 8 bytes. Nothing here panics on
//! any input.
//!
//! Limits: of Geneve's options, only those of the given [`OptionMap`] are known; others are skipped,
//! or the datagram is refused where the sender marked one as critical (RFC 8926 §3.5).

/// The encapsulation of a tunnel port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TunnelProtocol {
    /// RFC 7348.
    Vxlan,
    /// RFC 8926.
    Geneve,
}

impl TunnelProtocol {
    /// The UDP port that IANA gave it.
    pub fn default_port(self) -> u16 {
        match self {
            TunnelProtocol::Vxlan => 4789,
            TunnelProtocol::Geneve => 6081,
        }
    }

    /// Its name as iproute2 and Open vSwitch write it.
    pub fn name(self) -> &'static str {
        match self {
            TunnelProtocol::Vxlan => "vxlan",
            TunnelProtocol::Geneve => "geneve",
        }
    }
}

/// Which Geneve option stands for which tunnel metadata field: what `ovs-ofctl add-tlv-map` sets.
///
/// One option of 4 bytes, mapped to the low 32 bits of `tun_metadata0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionMap {
    /// Option class.
    pub class: u16,
    /// Option type; its high bit means critical.
    pub kind: u8,
}

impl OptionMap {
    /// Antrea's mapping: class 0x0104, type 0x80.
    pub const ANTREA: OptionMap = OptionMap { class: 0x0104, kind: 0x80 };
}

/// What a tunnel header says, besides the frame behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TunnelHeader {
    /// Virtual network identifier, 24 bits.
    pub vni: u32,
    /// The value of the mapped Geneve option, where there is one.
    pub metadata: Option<u32>,
}

/// Why a datagram is no frame for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TunnelHeaderError {
    /// Shorter than its header says.
    #[error("the datagram is shorter than its tunnel header and an Ethernet header")]
    Truncated,
    /// VXLAN without the I flag.
    #[error("VXLAN without the I flag")]
    NoVni,
    /// A Geneve version other than 0.
    #[error("Geneve version {0}")]
    Version(u8),
    /// Geneve's payload is not Ethernet.
    #[error("Geneve payload of type {0:#06x}, not Ethernet")]
    NotEthernet(u16),
    /// Geneve's O bit: a control message for the endpoint, not to be forwarded.
    #[error("Geneve control message")]
    Control,
    /// A critical Geneve option that nothing is mapped to.
    #[error("unknown critical Geneve option, class {class:#06x} type {kind:#04x}")]
    CriticalOption {
        /// Its class.
        class: u16,
        /// Its type.
        kind: u8,
    },
}

/// Bytes of both protocols' headers, without options.
const HEADER: usize = 8;
/// The shortest frame worth handing on: an Ethernet header.
const ETHERNET_HEADER: usize = 14;
/// VXLAN's I flag: the VNI is valid.
const VXLAN_I: u8 = 0x08;
/// Geneve's protocol type for Ethernet frames.
const TRANS_ETHER: u16 = 0x6558;
/// Geneve's O and C bits, in the header's second byte.
const GENEVE_O: u8 = 0x80;
const GENEVE_C: u8 = 0x40;

/// The header to send in front of a frame. The VNI is cut to 24 bits.
pub fn encode(protocol: TunnelProtocol, header: &TunnelHeader, map: OptionMap) -> Vec<u8> {
    let [_, v0, v1, v2] = header.vni.to_be_bytes();
    match protocol {
        TunnelProtocol::Vxlan => vec![VXLAN_I, 0, 0, 0, v0, v1, v2, 0],
        TunnelProtocol::Geneve => {
            let [p0, p1] = TRANS_ETHER.to_be_bytes();
            let option_words = if header.metadata.is_some() { 2 } else { 0 };
            let critical = header.metadata.is_some() && map.kind & 0x80 != 0;
            let mut out = vec![option_words, if critical { GENEVE_C } else { 0 }, p0, p1, v0, v1, v2, 0];
            if let Some(value) = header.metadata {
                out.extend(map.class.to_be_bytes());
                out.extend([map.kind, 1]);
                out.extend(value.to_be_bytes());
            }
            out
        }
    }
}

/// Read the header of a received datagram; also returns where the frame begins.
///
/// # Errors
///
/// Says why the datagram has to be dropped.
pub fn decode(
    protocol: TunnelProtocol,
    datagram: &[u8],
    map: OptionMap,
) -> Result<(TunnelHeader, usize), TunnelHeaderError> {
    let Some((&[b0, b1, b2, b3, b4, b5, b6, _], rest)) = datagram.split_first_chunk::<HEADER>() else {
        return Err(TunnelHeaderError::Truncated);
    };
    let vni = u32::from_be_bytes([0, b4, b5, b6]);
    let (metadata, options) = match protocol {
        TunnelProtocol::Vxlan if b0 & VXLAN_I == 0 => return Err(TunnelHeaderError::NoVni),
        TunnelProtocol::Vxlan => (None, 0),
        TunnelProtocol::Geneve => {
            if b0 >> 6 != 0 {
                return Err(TunnelHeaderError::Version(b0 >> 6));
            }
            if b1 & GENEVE_O != 0 {
                return Err(TunnelHeaderError::Control);
            }
            let payload = u16::from_be_bytes([b2, b3]);
            if payload != TRANS_ETHER {
                return Err(TunnelHeaderError::NotEthernet(payload));
            }
            let length = usize::from(b0 & 0x3f) * 4;
            let options = rest.get(..length).ok_or(TunnelHeaderError::Truncated)?;
            (mapped_option(options, map)?, length)
        }
    };
    if rest.len() < options + ETHERNET_HEADER {
        return Err(TunnelHeaderError::Truncated);
    }
    Ok((TunnelHeader { vni, metadata }, HEADER + options))
}

/// The mapped option's value among Geneve's options; the first where there are several.
fn mapped_option(mut options: &[u8], map: OptionMap) -> Result<Option<u32>, TunnelHeaderError> {
    let mut found = None;
    while let Some((&[c0, c1, kind, length], rest)) = options.split_first_chunk::<4>() {
        let length = usize::from(length & 0x1f) * 4;
        let (value, after) = rest.split_at_checked(length).ok_or(TunnelHeaderError::Truncated)?;
        let class = u16::from_be_bytes([c0, c1]);
        match value.try_into() {
            Ok(value) if (class, kind) == (map.class, map.kind) => {
                found.get_or_insert(u32::from_be_bytes(value));
            }
            _ if kind & 0x80 != 0 => return Err(TunnelHeaderError::CriticalOption { class, kind }),
            _ => {}
        }
        options = after;
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
