//! What the switch and its ports say of themselves.

use super::convert::TABLES;
use super::hub::Hub;
use crate::PortReport;
use footbridge_datapath::device::{self, DeviceState, Medium};
use footbridge_datapath::{Attachment, PortSpec};
use footbridge_openflow::MacAddr;
use footbridge_openflow::wire::features::capability;
use footbridge_openflow::wire::port::{config, state};
use footbridge_openflow::wire::stats::{Desc, PortStats};
use footbridge_openflow::wire::{Features, Port, Version};

/// OFPPF_*, in the numbers of 1.1 and later.
mod feature {
    pub(super) const FULL_10M: u32 = 1 << 1;
    pub(super) const HALF_10M: u32 = 1 << 0;
    pub(super) const HALF_100M: u32 = 1 << 2;
    pub(super) const FULL_100M: u32 = 1 << 3;
    pub(super) const HALF_1G: u32 = 1 << 4;
    pub(super) const FULL_1G: u32 = 1 << 5;
    pub(super) const FULL_10G: u32 = 1 << 6;
    pub(super) const FULL_40G: u32 = 1 << 7;
    pub(super) const FULL_100G: u32 = 1 << 8;
    pub(super) const FULL_1T: u32 = 1 << 9;
    pub(super) const OTHER: u32 = 1 << 10;
    pub(super) const COPPER: u32 = 1 << 11;
    pub(super) const FIBER: u32 = 1 << 12;
    pub(super) const AUTONEGOTIATION: u32 = 1 << 13;
}

/// OFPAT_* of 1.0, 0 to 11: all that it has but the vendors'.
const ACTIONS: u32 = 0xfff;

pub(super) fn features(hub: &Hub, version: Version) -> Features {
    // As Open vSwitch: there are statistics of groups (of none), and 1.4's flow monitors go without saying.
    let of_version = match version {
        Version::V10 => capability::ARP_MATCH_IP,
        Version::V13 => capability::GROUP_STATS,
        Version::V14 | Version::V15 => capability::GROUP_STATS | capability::BUNDLES,
    };
    let common =
        capability::FLOW_STATS | capability::TABLE_STATS | capability::PORT_STATS | capability::QUEUE_STATS;
    Features {
        datapath_id: hub.datapath_id,
        n_buffers: 0,
        n_tables: TABLES,
        auxiliary_id: 0,
        capabilities: common | of_version,
        actions: ACTIONS,
        ports: match version {
            Version::V10 => hub.bridge.port_specs().iter().map(port).collect(),
            Version::V13 | Version::V14 | Version::V15 => Vec::new(),
        },
    }
}

pub(super) fn switch(hub: &Hub) -> Desc {
    Desc {
        manufacturer: "Footbridge".to_owned(),
        hardware: format!("{} datapath", hub.bridge.datapath_kind()),
        software: env!("CARGO_PKG_VERSION").to_owned(),
        serial: "None".to_owned(),
        datapath: hub.bridge.name().to_owned(),
    }
}

/// The port, and its device as it is now.
pub(super) fn port(spec: &PortSpec) -> Port {
    let found = match &spec.attachment {
        Attachment::Device { ifname } => device::look(ifname),
        // A socket, which is always there. No device, so no address: one made of the port's number.
        Attachment::Tunnel { .. } => {
            let [_, _, high, low] = spec.number.0.to_be_bytes();
            let mac = MacAddr([0x02, 0, 0, 0, high, low]);
            Some(DeviceState { mac, up: true, carrier: true, ..DeviceState::default() })
        }
    };
    let device = found.unwrap_or_default();
    let speed = device.speed.unwrap_or(0);
    Port {
        number: spec.number,
        hw_addr: device.mac,
        name: spec.name.clone(),
        config: if device.up { 0 } else { config::PORT_DOWN },
        state: if device.carrier { state::LIVE } else { state::LINK_DOWN },
        curr: current(&device),
        advertised: 0,
        supported: 0,
        peer: 0,
        curr_speed: speed.saturating_mul(1000),
        max_speed: 0,
    }
}

/// What the device runs at, as Open vSwitch has it.
fn current(device: &DeviceState) -> u32 {
    let Some(speed) = device.speed else { return 0 };
    let either = |full, half| if device.full_duplex { full } else { half };
    let speed = match speed {
        10 => either(feature::FULL_10M, feature::HALF_10M),
        100 => either(feature::FULL_100M, feature::HALF_100M),
        1000 => either(feature::FULL_1G, feature::HALF_1G),
        10_000 => feature::FULL_10G,
        40_000 => feature::FULL_40G,
        100_000 => feature::FULL_100G,
        1_000_000 => feature::FULL_1T,
        _ => feature::OTHER,
    };
    let medium = match device.medium {
        Some(Medium::Copper) => feature::COPPER,
        Some(Medium::Fiber) => feature::FIBER,
        None => 0,
    };
    speed | medium | if device.autonegotiation { feature::AUTONEGOTIATION } else { 0 }
}

/// What passed a port.
pub(super) fn port_stats(report: &PortReport) -> PortStats {
    let PortReport { number, rx, tx, age, .. } = report;
    let seconds = u32::try_from(age.as_secs()).unwrap_or(u32::MAX - 1);
    PortStats {
        port: *number,
        rx_packets: rx.packets,
        tx_packets: tx.packets,
        rx_bytes: rx.bytes,
        tx_bytes: tx.bytes,
        // Of what overflowed before it was read, and of what the device did not take.
        rx_dropped: rx.errors,
        tx_dropped: tx.errors,
        rx_errors: 0,
        tx_errors: 0,
        rx_frame_err: 0,
        rx_over_err: 0,
        rx_crc_err: 0,
        collisions: 0,
        duration: Some((seconds, age.subsec_nanos())),
    }
}
