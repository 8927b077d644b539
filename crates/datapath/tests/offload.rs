//! Offloads on a real device.
//!
//! ```text
//!     namespace a: eth0 ── veth ── port: namespace br
//! ```

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{Namespace, privileged};
use footbridge_datapath::offload;

/// As `ethtool -k` names them. Other segmentations may say "on": without checksums the kernel uses none.
const OFF: [&str; 8] = [
    "tx-checksumming",
    "scatter-gather",
    "tx-tcp-segmentation",
    "tx-tcp6-segmentation",
    "generic-segmentation-offload",
    "generic-receive-offload",
    "tx-vlan-offload",
    "rx-vlan-offload",
];

#[test]
fn every_offload_goes_off_and_stays_off() {
    if !privileged("every_offload_goes_off_and_stays_off") {
        return;
    }
    let (host, bridge) = (Namespace::new("a"), Namespace::new("br"));
    bridge.veth("port", &host, "eth0");
    assert!(host.must("ethtool -k eth0").contains("tx-checksumming: on"));
    for _ in 0..2 {
        host.enter(|| offload::disable("eth0")).unwrap();
        let features = host.must("ethtool -k eth0");
        for feature in OFF {
            let off = format!("{feature}: off");
            assert!(features.lines().any(|line| line.trim().starts_with(&off)), "{feature} in {features}");
        }
    }
    assert!(bridge.must("ethtool -k port").contains("tx-checksumming: on"), "the other end is not touched");
}

#[test]
fn a_missing_device_is_named() {
    let missing = offload::disable("fb-none").unwrap_err().to_string();
    assert_eq!(missing, "cannot switch offloads off on device fb-none: there is no such device");
    assert!(offload::disable("a name that is too long for a device").is_err());
}
