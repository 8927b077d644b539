//! The device behind a tunnel port: VXLAN or Geneve, flow-based, so that each packet brings its own
//! destination.
//!
//! # Contract
//!
//! * The device has the port's name, and says in its alias that it is ours. One like that which a
//!   killed process left is taken over; one that is not ours is an error.
//! * It has no address, no IPv6 and no ARP, so that the host's own stack takes nothing from it, even where no
//!   program is on it.
//! * Its MTU is as large as it can be: what is too long for the way to a peer the kernel drops, and counts.

use crate::TunnelProtocol;
use crate::netlink::Netlink;
use netlink_packet_route::link::{
    InfoData, InfoGeneve, InfoKind, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use nix::errno::Errno;

/// The alias of the devices that are ours.
const ALIAS: &str = "footbridge tunnel";
/// What Open vSwitch gives its own.
const MTU: u32 = 65_000;

/// What a tunnel's device could not send, by the kernel's own counters.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Unsent {
    /// No route leads to the destination.
    pub(super) unreachable: u64,
    /// Other reasons: too long for the way, or no room in a queue.
    pub(super) refused: u64,
}

/// Have the device there, up and ours.
///
/// # Errors
///
/// EEXIST where a device of that name is not ours, or another tunnel has the UDP port; EADDRINUSE where a
/// socket has it; EOPNOTSUPP where the kernel knows no such devices.
pub(super) fn make(name: &str, protocol: TunnelProtocol, udp_port: u16) -> Result<u32, Errno> {
    let mut netlink = Netlink::open()?;
    let mut standing = netlink.link(name)?;
    if let Some(link) = &standing
        && !is_like(link, protocol, udp_port)
    {
        if !is_ours(link) {
            return Err(Errno::EEXIST);
        }
        netlink.del_link(link.header.index)?;
        standing = None;
    }
    if standing.is_none() {
        netlink.add_link(attributes(name, protocol, udp_port))?;
        standing = netlink.link(name)?;
    }
    let index = standing.ok_or(Errno::ENODEV)?.header.index;
    // Without IPv6 in the kernel there is no such file.
    drop(std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "1"));
    // The kernel takes an alias only when the device is there.
    let alias = vec![LinkAttribute::IfAlias(ALIAS.to_owned())];
    let up = netlink.set_link(index, LinkFlags::Up | LinkFlags::Noarp, alias);
    if let Err(errno) = up {
        netlink.del_link(index)?;
        return Err(errno);
    }
    Ok(index)
}

/// Take the device away, if it is there and ours.
pub(super) fn remove(name: &str) -> Result<(), Errno> {
    let mut netlink = Netlink::open()?;
    match netlink.link(name)? {
        Some(link) if is_ours(&link) => netlink.del_link(link.header.index),
        Some(_) | None => Ok(()),
    }
}

/// Take away the device of this index, if it is ours; 0 is of none.
pub(super) fn remove_device(index: Result<u32, Errno>) {
    let name = index.and_then(nix::net::if_::if_indextoname);
    let removed = name.map(|name| remove(&name.to_string_lossy()));
    if let Ok(Err(errno)) = removed {
        tracing::warn!(%errno, "a tunnel's device stays");
    }
}

/// What the device could not send since it was made.
pub(super) fn unsent(name: &str) -> Unsent {
    let link = Netlink::open().and_then(|mut netlink| netlink.link(name));
    let Ok(Some(link)) = link else { return Unsent::default() };
    let stats = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Stats64(stats) => Some(stats),
        _ => None,
    });
    stats.map_or_else(Unsent::default, |stats| Unsent {
        unreachable: stats.tx_carrier_errors,
        refused: stats.tx_dropped + stats.tx_errors.saturating_sub(stats.tx_carrier_errors),
    })
}

fn is_ours(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|attribute| *attribute == LinkAttribute::IfAlias(ALIAS.to_owned()))
}

/// Whether the device is ours, and as it would be made.
fn is_like(link: &LinkMessage, protocol: TunnelProtocol, udp_port: u16) -> bool {
    let info = link.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(info) => Some(info),
        _ => None,
    });
    let data = info.flatten().find_map(|info| match info {
        LinkInfo::Data(data) => Some(data),
        _ => None,
    });
    let like = match (protocol, data) {
        (TunnelProtocol::Vxlan, Some(InfoData::Vxlan(data))) => {
            data.contains(&InfoVxlan::CollectMetadata(true)) && data.contains(&InfoVxlan::Port(udp_port))
        }
        (TunnelProtocol::Geneve, Some(InfoData::Geneve(data))) => {
            data.contains(&InfoGeneve::CollectMetadata) && data.contains(&InfoGeneve::Port(udp_port))
        }
        _ => false,
    };
    like && is_ours(link)
}

fn attributes(name: &str, protocol: TunnelProtocol, udp_port: u16) -> Vec<LinkAttribute> {
    let (kind, data) = match protocol {
        TunnelProtocol::Vxlan => {
            let data =
                vec![InfoVxlan::CollectMetadata(true), InfoVxlan::Learning(false), InfoVxlan::Port(udp_port)];
            (InfoKind::Vxlan, InfoData::Vxlan(data))
        }
        TunnelProtocol::Geneve => (
            InfoKind::Geneve,
            InfoData::Geneve(vec![InfoGeneve::CollectMetadata, InfoGeneve::Port(udp_port)]),
        ),
    };
    vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Mtu(MTU),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind), LinkInfo::Data(data)]),
    ]
}
