//! The kernel's side: reads [`Actual`] and takes [`Step`]s, through rtnetlink, /proc/sys and nft.
//!
//! Everything happens in the network namespace of the thread that calls [`Kernel::open`] and the
//! other functions; nothing outside it is touched. Needs CAP_NET_ADMIN.

use super::firewall::{Firewall, ListError};
use super::{Actual, Desired, Link, Neighbour, Over, Route, Step};
use crate::config::GLOBAL_VIRTUAL_MAC;
use crate::subnet::Subnet;
use footbridge_openflow::MacAddr;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use rtnetlink::{Handle, LinkUnspec, LinkVeth, RouteMessageBuilder};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::Stdio;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinHandle;

/// The protocol (RTA's, as in /etc/iproute2/rt_protos) of our routes over other devices than the gateway, by
/// which they are found again: 102 is nobody's there. `ip route` prints it as `proto 102`.
pub const ROUTE_PROTOCOL: u8 = 102;

/// How many netlink requests are under way at once: their answers must fit the socket's buffer.
const IN_FLIGHT: usize = 100;

/// A connection to the kernel.
pub struct Kernel {
    handle: Handle,
    connection: JoinHandle<()>,
    /// What nftables had when it was last read; it says nothing when it changes.
    firewall: Option<Firewall>,
    plain: BTreeSet<u32>,
}

/// Something of the host could not be read or changed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what each field is")]
pub enum HostError {
    #[error("can't open a netlink socket: {0}")]
    Open(#[source] io::Error),
    #[error("can't {what}: {source}{}", hint(source))]
    Netlink { what: String, source: rtnetlink::Error },
    #[error("can't {what} /proc/sys/{key}: {source}")]
    Sysctl { what: &'static str, key: String, source: io::Error },
    #[error("nft is not installed; it is in the package nftables")]
    NoNft,
    #[error("can't run nft: {0}")]
    RunNft(#[source] io::Error),
    #[error("nft can't {what}: {stderr}")]
    Nft { what: &'static str, stderr: String },
    #[error(transparent)]
    NftList(#[from] ListError),
    #[error(transparent)]
    Gateway(#[from] super::GatewayError),
    #[error(transparent)]
    Offload(#[from] footbridge_datapath::Error),
}

fn hint(error: &rtnetlink::Error) -> &'static str {
    match error {
        rtnetlink::Error::NetlinkError(e) if e.raw_code() == -libc_eperm() => {
            " (it takes root, or CAP_NET_ADMIN in the network namespace)"
        }
        _ => "",
    }
}

fn libc_eperm() -> i32 {
    nix::errno::Errno::EPERM as i32
}

impl Kernel {
    /// Connect, in the calling thread's network namespace, within a tokio runtime.
    ///
    /// # Errors
    /// No socket.
    pub fn open() -> Result<Kernel, HostError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(HostError::Open)?;
        let connection = tokio::spawn(connection);
        Ok(Kernel { handle, connection, firewall: None, plain: BTreeSet::new() })
    }

    /// Read nftables again before the next diff.
    pub fn distrust_firewall(&mut self) {
        self.firewall = None;
    }

    /// Devices and addresses: what has to be known before the rest can be asked for.
    ///
    /// # Errors
    /// The kernel refused.
    pub async fn read_devices(&self) -> Result<Actual, HostError> {
        let links = self.handle.link().get().execute();
        let links: Vec<LinkMessage> = links.try_collect().await.map_err(netlink("list the devices"))?;
        let links: BTreeMap<String, Link> = links.iter().filter_map(link).collect();
        let names: BTreeMap<u32, &String> = links.iter().map(|(name, link)| (link.index, name)).collect();
        let found = self.handle.address().get().execute();
        let found: Vec<AddressMessage> = found.try_collect().await.map_err(netlink("list the addresses"))?;
        let mut addresses: BTreeMap<String, BTreeSet<(Ipv4Addr, u8)>> = BTreeMap::new();
        let mut global_ipv6 = BTreeSet::new();
        for message in &found {
            let global = message.header.scope == AddressScope::Universe;
            if message.header.family == AddressFamily::Inet6 && global {
                global_ipv6.extend(names.get(&message.header.index).map(|name| (*name).clone()));
            }
            if let (Some(name), Some(address)) = (names.get(&message.header.index), ipv4_address(message)) {
                addresses.entry((*name).clone()).or_default().insert((address, message.header.prefix_len));
            }
        }
        let present: BTreeSet<u32> = names.keys().copied().collect();
        let plain = self.plain.intersection(&present).copied().collect();
        Ok(Actual { links, addresses, global_ipv6, plain, ..Actual::default() })
    }

    /// Fill in what else `desired` is compared with.
    ///
    /// # Errors
    /// The kernel or nft refused.
    pub async fn read_rest(&mut self, actual: &mut Actual, desired: &Desired) -> Result<(), HostError> {
        for (key, _) in desired.sysctls() {
            match std::fs::read_to_string(Path::new("/proc/sys").join(&key)) {
                Ok(text) => drop(actual.sysctls.insert(key, text.trim().to_owned())),
                // The device or the whole protocol is not there.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(HostError::Sysctl { what: "read", key, source }),
            }
        }
        if let Some(gateway) = actual.links.get(&desired.gateway) {
            actual.routes = self.routes(gateway.index, &actual.links).await?;
            actual.neighbours = self.neighbours(gateway.index).await?;
        }
        actual.firewall = match &self.firewall {
            Some(firewall) => firewall.clone(),
            None => {
                let text = nft(&["-j", "list", "ruleset"], None, "list its rules").await?;
                self.firewall.insert(Firewall::parse(&text)?).clone()
            }
        };
        Ok(())
    }

    async fn routes(
        &self,
        gateway: u32,
        links: &BTreeMap<String, Link>,
    ) -> Result<BTreeSet<Route>, HostError> {
        let names: BTreeMap<u32, &String> = links.iter().map(|(name, link)| (link.index, name)).collect();
        let mut filter = RouteMessageBuilder::<Ipv4Addr>::new().build();
        filter.header = RouteHeader { address_family: AddressFamily::Inet, ..RouteHeader::default() };
        let routes = self.handle.route().get(filter).execute();
        let routes: Vec<RouteMessage> = routes.try_collect().await.map_err(netlink("list the routes"))?;
        Ok(routes.iter().filter_map(|message| route(message, gateway, &names)).collect())
    }

    async fn neighbours(&self, gateway: u32) -> Result<BTreeSet<Neighbour>, HostError> {
        let found = self.handle.neighbours().get().set_address_family(AddressFamily::Inet).execute();
        let found: Vec<NeighbourMessage> =
            found.try_collect().await.map_err(netlink("list the neighbours"))?;
        Ok(found.iter().filter(|m| m.header.ifindex == gateway).filter_map(neighbour).collect())
    }

    /// Take the steps, in order. Routes go out many at a time.
    ///
    /// # Errors
    /// The first that failed; later ones may have been left out.
    pub async fn apply(
        &mut self,
        steps: &[Step],
        actual: &Actual,
        desired: &Desired,
    ) -> Result<(), HostError> {
        let (routes, others): (Vec<&Step>, Vec<&Step>) =
            steps.iter().partition(|step| matches!(step, Step::PutRoute(_) | Step::DelRoute(_)));
        for step in others {
            self.take(step, actual, desired).await?;
        }
        let this = &*self;
        // Those that go first make room for those that come.
        let (gone, new): (Vec<&Step>, Vec<&Step>) =
            routes.into_iter().partition(|step| matches!(step, Step::DelRoute(_)));
        for batch in [gone, new] {
            stream::iter(batch)
                .map(|step| this.change_route(step, actual, desired))
                .buffer_unordered(IN_FLIGHT)
                .try_collect::<()>()
                .await?;
        }
        Ok(())
    }

    async fn take(&mut self, step: &Step, actual: &Actual, desired: &Desired) -> Result<(), HostError> {
        let index = |name: &String| actual.links.get(name).map(|link| link.index).unwrap_or_default();
        let links = self.handle.link();
        match step {
            Step::CreateGateway { name, peer, mac, mtu } => {
                let pair = LinkVeth::new(name, peer).address(mac.0.to_vec()).mtu(*mtu).build();
                links
                    .add(pair)
                    .execute()
                    .await
                    .map_err(netlink(format!("create the veth pair {name}, {peer}")))
            }
            Step::DeleteLink(name) => ignore_missing(links.del(index(name)).execute().await)
                .map_err(netlink(format!("delete device {name}"))),
            Step::Firewall(change) => {
                // Whatever comes of it, it is not as it was.
                self.firewall = None;
                let commands = change.commands().to_string();
                nft(&["-j", "-f", "-"], Some(&commands), "change its rules").await.map(drop)
            }
            Step::SetSysctl { key, value } => std::fs::write(Path::new("/proc/sys").join(key), value)
                .map_err(|source| HostError::Sysctl { what: "write", key: key.clone(), source }),
            Step::DisableOffloads(name) => {
                footbridge_datapath::offload::disable(name)?;
                self.plain.insert(index(name));
                Ok(())
            }
            Step::SetMac(name, mac) => {
                let message = LinkUnspec::new_with_index(index(name)).address(mac.0.to_vec()).build();
                let result = links.set(message).execute().await;
                result.map_err(netlink(format!("give device {name} the MAC address {mac}")))
            }
            Step::SetMtu(name, mtu) => {
                let message = LinkUnspec::new_with_index(index(name)).mtu(*mtu).build();
                let result = links.set(message).execute().await;
                result.map_err(netlink(format!("give device {name} the MTU {mtu}")))
            }
            Step::SetUp(name) => {
                let message = LinkUnspec::new_with_index(index(name)).up().build();
                links.set(message).execute().await.map_err(netlink(format!("bring device {name} up")))
            }
            Step::AddAddress(name, address, prefix) => {
                let request = self.handle.address().add(index(name), IpAddr::V4(*address), *prefix);
                let result = request.replace().execute().await;
                result.map_err(netlink(format!("give device {name} the address {address}/{prefix}")))
            }
            Step::DelAddress(name, address, prefix) => {
                let request = self.handle.address().add(index(name), IpAddr::V4(*address), *prefix);
                let mut request = request;
                let message = request.message_mut().clone();
                ignore_missing(self.handle.address().del(message).execute().await)
                    .map_err(netlink(format!("take the address {address}/{prefix} off device {name}")))
            }
            Step::DelNeighbour(address) => {
                let mut message = NeighbourMessage::default();
                message.header.family = AddressFamily::Inet;
                message.header.ifindex = index(&desired.gateway);
                let address = NeighbourAddress::Inet(*address);
                message.attributes.push(NeighbourAttribute::Destination(address.clone()));
                ignore_missing(self.handle.neighbours().del(message).execute().await)
                    .map_err(netlink(format!("forget the neighbour {address:?}")))
            }
            Step::PutRoute(_) | Step::DelRoute(_) => self.change_route(step, actual, desired).await,
        }
    }

    async fn change_route(&self, step: &Step, actual: &Actual, desired: &Desired) -> Result<(), HostError> {
        let (Step::PutRoute(route) | Step::DelRoute(route)) = step else { return Ok(()) };
        let device = match &route.over {
            Over::Gateway => &desired.gateway,
            Over::Device(name) => name,
        };
        // Over a device that is gone there is no route to make or to take away.
        let Some(link) = actual.links.get(device) else { return Ok(()) };
        let mut message = route_message(route, link.index, desired);
        if let Step::PutRoute(_) = step {
            let request = self.handle.route().add(message).replace();
            return request.execute().await.map_err(netlink(format!("route {} over {device}", route.subnet)));
        }
        // Whoever made it.
        message.header.protocol = RouteProtocol::Unspec;
        message.header.scope = RouteScope::NoWhere;
        let what = format!("take the route to {} over {device} away", route.subnet);
        ignore_missing(self.handle.route().del(message).execute().await).map_err(netlink(what))
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

fn netlink(what: impl Into<String>) -> impl FnOnce(rtnetlink::Error) -> HostError {
    let what = what.into();
    move |source| HostError::Netlink { what, source }
}

/// What was to be deleted is gone: somebody was faster.
pub(crate) fn ignore_missing(result: Result<(), rtnetlink::Error>) -> Result<(), rtnetlink::Error> {
    use nix::errno::Errno;
    let gone = [Errno::ENODEV, Errno::ESRCH, Errno::ENOENT, Errno::EADDRNOTAVAIL];
    match result {
        Err(rtnetlink::Error::NetlinkError(e))
            if gone.iter().any(|errno| e.raw_code() == -(*errno as i32)) =>
        {
            Ok(())
        }
        other => other,
    }
}

fn mac(bytes: &[u8]) -> Option<MacAddr> {
    bytes.try_into().ok().map(MacAddr)
}

fn link(message: &LinkMessage) -> Option<(String, Link)> {
    let mut name = None;
    let mut link = Link {
        index: message.header.index,
        up: message.header.flags.contains(LinkFlags::Up),
        mac: None,
        mtu: 0,
        veth_peer: None,
        in_bridge: false,
    };
    let (mut veth, mut peer) = (false, None);
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            LinkAttribute::Address(bytes) => link.mac = mac(bytes),
            LinkAttribute::Controller(bridge) => link.in_bridge = *bridge != 0,
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Link(index) => peer = Some(*index),
            LinkAttribute::LinkInfo(infos) => {
                veth = infos.iter().any(|info| matches!(info, LinkInfo::Kind(InfoKind::Veth)));
            }
            _ => {}
        }
    }
    if veth {
        link.veth_peer = peer;
    }
    Some((name?, link))
}

fn ipv4_address(message: &AddressMessage) -> Option<Ipv4Addr> {
    // On a point-to-point device, Address is the other end's.
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(IpAddr::V4(address)) => Some(*address),
            _ => None,
        })
    })
}

/// The unicast routes of the main table over the gateway, and those over others that are marked as ours; what is
/// no [`Subnet`] (a host route, a default route) is an administrator's own.
fn route(message: &RouteMessage, gateway: u32, names: &BTreeMap<u32, &String>) -> Option<Route> {
    let header = &message.header;
    let mut table = u32::from(header.table);
    let (mut destination, mut via, mut over, mut metric) = (None, None, None, 0);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Destination(RouteAddress::Inet(address)) => destination = Some(*address),
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => via = Some(*address),
            RouteAttribute::Oif(index) => over = Some(*index),
            RouteAttribute::Priority(number) => metric = *number,
            _ => {}
        }
    }
    let in_main = table == u32::from(RouteHeader::RT_TABLE_MAIN) && header.kind == RouteType::Unicast;
    let over = match over? {
        index if index == gateway => Over::Gateway,
        index if u8::from(header.protocol) == ROUTE_PROTOCOL => Over::Device((*names.get(&index)?).clone()),
        _ => return None,
    };
    let subnet = Subnet::containing(destination?, header.destination_prefix_length)?;
    let onlink = header.flags.contains(RouteFlags::Onlink);
    in_main.then_some(Route { subnet, over, via, onlink, metric })
}

fn route_message(route: &Route, device: u32, desired: &Desired) -> RouteMessage {
    let message = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(route.subnet.network(), route.subnet.prefix())
        .output_interface(device);
    let message = if route.metric == 0 { message } else { message.priority(route.metric) };
    let message = if route.onlink { message.onlink() } else { message };
    match (route.via, &route.over) {
        (Some(via), Over::Device(_)) => {
            message.gateway(via).protocol(RouteProtocol::from(ROUTE_PROTOCOL)).build()
        }
        // Not "static": `ip route` then prints the article's line.
        (Some(via), Over::Gateway) => message.gateway(via).protocol(RouteProtocol::Boot).build(),
        (None, _) => message
            .protocol(RouteProtocol::Kernel)
            .scope(RouteScope::Link)
            .pref_source(desired.subnet.gateway())
            .build(),
    }
}

fn neighbour(message: &NeighbourMessage) -> Option<Neighbour> {
    let mut found = Neighbour {
        address: Ipv4Addr::UNSPECIFIED,
        mac: GLOBAL_VIRTUAL_MAC,
        fixed: matches!(message.header.state, NeighbourState::Permanent | NeighbourState::Noarp),
    };
    let (mut has_address, mut has_mac) = (false, false);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => {
                (found.address, has_address) = (*address, true);
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                (found.mac, has_mac) = (mac(bytes)?, true);
            }
            _ => {}
        }
    }
    (has_address && has_mac && !found.address.is_multicast()).then_some(found)
}

async fn nft(arguments: &[&str], input: Option<&str>, what: &'static str) -> Result<String, HostError> {
    let mut child = tokio::process::Command::new("nft")
        .args(arguments)
        .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => HostError::NoNft,
            _ => HostError::RunNft(error),
        })?;
    if let (Some(input), Some(mut stdin)) = (input, child.stdin.take()) {
        // Where nft ends without reading, its status says why.
        drop(stdin.write_all(input.as_bytes()).await);
    }
    let output = child.wait_with_output().await.map_err(HostError::RunNft)?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(HostError::Nft { what, stderr });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
