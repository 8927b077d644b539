//! Tunnel headers: whatever the datagram, it is refused, or a frame is found within it; and the header
//! written again says the same.
//!
//! Exceptions: reserved bits and options that nothing is mapped to are not kept.

use crate::memory::Limit;
use footbridge_datapath::tunnel::{OptionMap, TunnelProtocol, decode, encode};

/// Nothing is allocated at all.
const HEADER: Limit = Limit { base: 0, per_byte: 0 };
/// The shortest frame.
const ETHERNET_HEADER: usize = 14;

/// A first byte that says which protocol, and a datagram.
pub(crate) fn tunnel(input: &[u8]) {
    let Some((&bits, datagram)) = input.split_first() else { return };
    let protocol = if bits & 1 == 0 { TunnelProtocol::Vxlan } else { TunnelProtocol::Geneve };
    let Ok((header, at)) = HEADER.of(datagram.len(), || decode(protocol, datagram, OptionMap::ANTREA)) else {
        return;
    };
    assert!(at + ETHERNET_HEADER <= datagram.len(), "the frame begins at {at} of {}", datagram.len());
    let mut again = encode(protocol, &header, OptionMap::ANTREA);
    let length = again.len();
    again.extend(&datagram[at..]);
    assert_eq!(decode(protocol, &again, OptionMap::ANTREA), Ok((header, length)));
}
