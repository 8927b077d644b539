//! The few netlink requests the lab needs, by device name, inside one namespace.
//!
//! Every function works on the namespace of its `handle`.

use futures_util::TryStreamExt;
use rtnetlink::{Error, Handle, LinkBridge, LinkUnspec, LinkVeth, RouteMessageBuilder};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

/// The device's index.
pub(crate) async fn index(handle: &Handle, name: &str) -> Result<u32, Error> {
    let mut found = handle.link().get().match_name(name.to_owned()).execute();
    match found.try_next().await? {
        Some(link) => Ok(link.header.index),
        None => Err(Error::RequestFailed),
    }
}

/// Set the device up.
pub(crate) async fn up(handle: &Handle, name: &str) -> Result<(), Error> {
    let index = index(handle, name).await?;
    handle.link().set(LinkUnspec::new_with_index(index).up().build()).execute().await
}

/// Make a bridge, up.
pub(crate) async fn add_bridge(handle: &Handle, name: &str, mtu: u32) -> Result<(), Error> {
    handle.link().add(LinkBridge::new(name).mtu(mtu).up().build()).execute().await
}

/// Make the bridge the master of the device, and set the device up.
pub(crate) async fn enslave(handle: &Handle, name: &str, bridge: &str) -> Result<(), Error> {
    let (port, master) = (index(handle, name).await?, index(handle, bridge).await?);
    handle.link().set(LinkUnspec::new_with_index(port).controller(master).up().build()).execute().await
}

/// Make a veth pair: `name` stays here, down, `peer` goes to the namespace `there` and is left down.
pub(crate) async fn add_veth(
    handle: &Handle,
    name: &str,
    mac: Option<[u8; 6]>,
    mtu: u32,
    peer: &str,
    there: BorrowedFd<'_>,
) -> Result<(), Error> {
    let mut pair = LinkVeth::new(name, peer).mtu(mtu);
    if let Some(mac) = mac {
        pair = pair.address(mac.to_vec());
    }
    handle.link().add(pair.build()).execute().await?;
    let peer = index(handle, peer).await?;
    let moved = LinkUnspec::new_with_index(peer).mtu(mtu).setns_by_fd(there.as_raw_fd()).build();
    handle.link().set(moved).execute().await
}

/// Give the device an address.
pub(crate) async fn add_address(
    handle: &Handle,
    name: &str,
    address: Ipv4Addr,
    prefix: u8,
) -> Result<(), Error> {
    let index = index(handle, name).await?;
    handle.address().add(index, IpAddr::V4(address), prefix).execute().await
}

/// Add the default route. The device that reaches `gateway` must be up.
pub(crate) async fn add_default_route(handle: &Handle, gateway: Ipv4Addr) -> Result<(), Error> {
    handle.route().add(RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).build()).execute().await
}
