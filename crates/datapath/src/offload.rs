//! Switching a device's offloads off, so that every frame seen on it is whole and finished.
//!
//! The userspace datapath handles plain frames: no segments merged into superframes, no checksums
//! left for hardware. The device on the other side of a veth pair decides what the kernel leaves
//! undone, so [`disable`] is for both ends of a pod's pair, each in its own namespace.
//!
//! Interface: `SIOCETHTOOL` of linux/ethtool.h with the one-feature commands, which every kernel
//! since 2.6 has and which need no feature names. Works in the calling thread's network namespace.

use crate::Error;
use crate::sys;
use nix::errno::Errno;

/// `ETHTOOL_GFLAGS` and `ETHTOOL_SFLAGS`: the features that came as flag bits.
const GFLAGS: u32 = 0x25;
const SFLAGS: u32 = 0x26;
/// `ETH_FLAG_TXVLAN` and `ETH_FLAG_RXVLAN`.
const VLAN_FLAGS: u32 = (1 << 7) | (1 << 8);

/// What is switched off by a command of its own: its name in ethtool(8), and the command.
///
/// Transmit checksums go first: the kernel then switches off by itself what depends on them.
const FEATURES: [(&str, u32); 5] = [
    ("tx-checksumming", 0x17),              // ETHTOOL_STXCSUM
    ("scatter-gather", 0x19),               // ETHTOOL_SSG
    ("tcp-segmentation-offload", 0x1f),     // ETHTOOL_STSO
    ("generic-segmentation-offload", 0x24), // ETHTOOL_SGSO
    ("generic-receive-offload", 0x2c),      // ETHTOOL_SGRO
];

/// Switch off transmit checksums, scatter-gather, TSO, GSO, GRO and both VLAN offloads of the
/// device `ifname`.
///
/// May be called again at any time. A feature that the device hasn't got, or can't change, is left
/// as it is.
///
/// # Errors
///
/// [`Error::Device`] when there is no such device, or without `CAP_NET_ADMIN`.
pub fn disable(ifname: &str) -> Result<(), Error> {
    let device = sys::Device::named(ifname).map_err(|e| Error::device("configure", ifname, e))?;
    for (feature, command) in FEATURES {
        tolerate_fixed(device.set(command, 0), feature, ifname)?;
    }
    match device.get(GFLAGS) {
        Ok(flags) => tolerate_fixed(device.set(SFLAGS, flags & !VLAN_FLAGS), "VLAN offload", ifname),
        Err(e) => tolerate_fixed(Err(e), "VLAN offload", ifname),
    }
}

/// Treat "can't be changed" as done.
fn tolerate_fixed(result: Result<(), Errno>, feature: &str, ifname: &str) -> Result<(), Error> {
    match result {
        Err(Errno::EOPNOTSUPP | Errno::EINVAL) => {
            tracing::debug!(device = ifname, feature, "offload can't be changed");
            Ok(())
        }
        other => other.map_err(|e| Error::device("switch offloads off on", ifname, e)),
    }
}
