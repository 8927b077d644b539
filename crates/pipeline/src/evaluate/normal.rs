//! NORMAL: what a learning switch does (Open vSwitch's `xlate_normal`, every port a trunk of all
//! VLANs).

use super::{Live, Run};
use crate::drop_reason::DropReason;
use crate::observer::Choice;
use crate::ports::PortKind;
use footbridge_openflow::{Field, MacAddr, PortNo};

/// A tag that says nothing: VLAN 0, priority 0. Such frames leave untagged (what Open vSwitch calls
/// `priority-tags=never`, its default).
const PRIORITY_TAG: u128 = VLAN_PRESENT;
/// The present bit of vlan_tci.
const VLAN_PRESENT: u128 = 0x1000;

impl Run<'_, '_> {
    pub(super) fn normal(&mut self) {
        let (key, now) = (&self.packet.key, self.around.now);
        let in_port = self.in_port();
        // Packets that a controller made come from nowhere.
        let from_nowhere = matches!(in_port, PortNo::NONE | PortNo::CONTROLLER);
        if !from_nowhere && self.around.ports.kind(in_port).is_none() {
            return self.lose(DropReason::UnknownInPort);
        }
        let tci = key.get(Field::VlanTci);
        let eth_type = key.get(Field::EthType);
        if matches!(eth_type, 0x8100 | 0x88a8) && tci & VLAN_PRESENT == 0 {
            return self.lose(DropReason::PartialVlan);
        }
        let dst = MacAddr::from(key.get(Field::EthDst));
        if !from_nowhere && is_reserved(dst) {
            return self.lose(DropReason::ReservedMulticast);
        }
        let vlan = if tci & VLAN_PRESENT == 0 { 0 } else { (tci & 0x0fff) as u16 };
        if !from_nowhere {
            let src = MacAddr::from(key.get(Field::EthSrc));
            self.around.fdb.learn(src, vlan, in_port, now);
        }
        let place = self.around.fdb.lookup(dst, vlan, now);
        if tci == PRIORITY_TAG {
            let tagged = self.packet.clone();
            let Live { frame, key, .. } = &mut self.packet;
            frame.pop_vlan(key);
            self.forward(place);
            self.packet = tagged;
        } else {
            self.forward(place);
        }
    }

    /// To the port where the destination is, or to all.
    fn forward(&mut self, place: Option<PortNo>) {
        match place {
            None => self.flood(false, None),
            Some(port) if port == self.in_port() => self.lose(DropReason::NormalInPort),
            Some(port) if self.around.ports.kind(port) == Some(PortKind::Tunnel) => {
                self.lose(DropReason::NormalTunnel);
            }
            Some(port) => {
                self.around.observer.chosen(Choice::Learned(port));
                self.send(port, None);
            }
        }
    }
}

/// Addresses that switches keep for themselves, as values and masks (Open vSwitch's
/// `eth_addr_is_reserved`).
pub const RESERVED_MULTICAST: &[(u64, u64)] = &[
    // IEEE 802.1Q, table 8-1: spanning tree, pause, LACP, LLDP …
    (0x0180_c200_0000, 0xffff_ffff_fff0),
    // Extreme: EDP, EAPS.
    (0x00e0_2b00_0000, 0xffff_ffff_ffff),
    (0x00e0_2b00_0004, 0xffff_ffff_fffd),
    // Cisco: ISL; FlexLink; CDP and its like, PVST+, CFM.
    (0x0100_0c00_0000, 0xffff_ffff_ffff),
    (0x0100_0ccd_cdcd, 0xffff_ffff_ffff),
    (0x0100_0ccc_cccc, 0xffff_ffff_fffe),
    (0x0100_0ccc_ccc0, 0xffff_ffff_fff8),
];

fn is_reserved(mac: MacAddr) -> bool {
    let mac = u128::from(mac) as u64;
    RESERVED_MULTICAST.iter().any(|(value, mask)| mac & mask == *value)
}
