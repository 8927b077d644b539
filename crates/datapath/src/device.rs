//! What a network device says of itself, for the descriptions of ports.
//!
//! Looks in the calling thread's network namespace, with the ioctls of netdevice(7) and
//! linux/ethtool.h. A device that isn't there, or says nothing, is no error.

use crate::sys;
use footbridge_openflow::MacAddr;

/// A device, as it was when it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DeviceState {
    /// Its hardware address.
    pub mac: MacAddr,
    /// Administratively up.
    pub up: bool,
    /// With a carrier: frames can pass.
    pub carrier: bool,
    /// Mbit/s at which it runs; None where it does not say.
    pub speed: Option<u32>,
    /// Full duplex.
    pub full_duplex: bool,
    /// What it is connected by.
    pub medium: Option<Medium>,
    /// The speed was negotiated.
    pub autonegotiation: bool,
}

/// What a device is connected by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// Twisted pair, and what passes for it, as veth does.
    Copper,
    /// Fibre.
    Fiber,
}

/// `PORT_TP` and `PORT_FIBRE` of linux/ethtool.h.
const PORT_TP: u8 = 0;
const PORT_FIBRE: u8 = 3;
/// `DUPLEX_FULL`
const DUPLEX_FULL: u8 = 1;
/// `SPEED_UNKNOWN`, and what drivers that know no speed say.
const NO_SPEED: [u32; 3] = [0, 0xffff, u32::MAX];

/// Look at the device called `ifname`; None where there is none.
pub fn look(ifname: &str) -> Option<DeviceState> {
    let device = sys::Device::named(ifname).ok()?;
    let flags = device.flags().ok()?;
    let mac = MacAddr(device.mac().ok()?);
    let has = |flag: i32| flags & flag != 0;
    let state = DeviceState {
        mac,
        up: has(libc::IFF_UP),
        carrier: has(libc::IFF_UP) && has(libc::IFF_RUNNING),
        ..DeviceState::default()
    };
    let Ok(settings) = device.link_settings() else { return Some(state) };
    Some(DeviceState {
        speed: Some(settings.speed).filter(|speed| !NO_SPEED.contains(speed)),
        full_duplex: settings.duplex == DUPLEX_FULL,
        medium: match settings.port {
            PORT_TP => Some(Medium::Copper),
            PORT_FIBRE => Some(Medium::Fiber),
            _ => None,
        },
        autonegotiation: settings.autonegotiation,
        ..state
    })
}
