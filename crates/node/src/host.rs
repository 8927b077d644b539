//! What of the Linux host should be so.

/// The device that is the bridge's end of the gateway's veth pair.
pub fn gateway_peer_name(gateway: &str) -> String {
    format!("{gateway}-p")
}
