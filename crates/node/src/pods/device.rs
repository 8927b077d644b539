//! A pod's veth pair: one end on the host, by which the bridge has it, the other in the pod's network namespace.
//!
//! # Contract
//!
//! [`Devices`] is at home in the network namespace of the thread that opens it; the pod's end is reached through a
//! descriptor of its namespace, by a thread that enters it and ends with it. The pair is made in one request, with its
//! far end in the pod's namespace already: an agent that is killed leaves all of it or nothing. The host's end stays
//! down: the reconcile loop guards it before it goes up.

use super::{PodAddress, announce};
use crate::host::kernel::ignore_missing;
use footbridge_cni::InterfaceName;
use footbridge_openflow::MacAddr;
use futures_util::TryStreamExt;
use nix::sched::{CloneFlags, setns};
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use rtnetlink::{
    Error as NetlinkError, Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
};
use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use tokio::task::JoinHandle;

/// Why a pod's devices are not as they should be.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// No netlink socket.
    #[error("can't open a netlink socket: {0}")]
    Open(#[source] io::Error),
    /// The kernel refused.
    #[error("can't {what}: {source}")]
    Netlink {
        /// What was attempted.
        what: String,
        /// Why.
        source: NetlinkError,
    },
    /// The pod's namespace can't be entered.
    #[error("can't work in the pod's network namespace: {0}")]
    Namespace(#[source] io::Error),
    /// Frames would not leave the pod as the bridge reads them.
    #[error(transparent)]
    Offload(#[from] footbridge_datapath::Error),
    /// The announcement was not sent.
    #[error("can't announce {address}: {source}")]
    Announce {
        /// Which address.
        address: Ipv4Addr,
        /// Why.
        source: io::Error,
    },
    /// The name on the host is another device's.
    #[error("device {0} is there and is no pod's: remove or rename it")]
    Taken(String),
}

/// What a pod's end is to be.
#[derive(Debug, Clone)]
pub(super) struct PodEnd {
    /// Its name.
    pub(super) name: InterfaceName,
    /// Its MAC address.
    pub(super) mac: MacAddr,
    /// Its MTU; the host's end has the same.
    pub(super) mtu: u32,
    /// Whether frames have to leave it finished.
    pub(super) plain_frames: bool,
}

/// A device as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// Administratively up.
    pub(super) up: bool,
    /// Its MAC address.
    pub(super) mac: Option<MacAddr>,
    /// Its MTU.
    pub(super) mtu: u32,
    /// Its IPv4 addresses.
    pub(super) addresses: BTreeSet<(Ipv4Addr, u8)>,
    /// The next hops of the default routes over it.
    pub(super) default_routes: BTreeSet<Ipv4Addr>,
}

/// A connection to the host's kernel.
pub(super) struct Devices {
    handle: Handle,
    connection: JoinHandle<()>,
}

impl Devices {
    /// Connect, in the calling thread's network namespace, within a tokio runtime.
    pub(super) fn open() -> Result<Devices, DeviceError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(DeviceError::Open)?;
        Ok(Devices { handle, connection: tokio::spawn(connection) })
    }

    /// Make the pair.
    pub(super) async fn create(
        &self,
        host: &str,
        pod: &PodEnd,
        netns: BorrowedFd<'_>,
    ) -> Result<(), DeviceError> {
        let mut far = LinkMessageBuilder::<LinkUnspec>::new().name(pod.name.to_string()).build();
        far.attributes.push(LinkAttribute::Address(pod.mac.0.to_vec()));
        far.attributes.push(LinkAttribute::Mtu(pod.mtu));
        far.attributes.push(LinkAttribute::NetNsFd(netns.as_raw_fd()));
        let mut pair = LinkVeth::new(host, pod.name.as_str()).mtu(pod.mtu).build();
        let data = InfoData::Veth(InfoVeth::Peer(far));
        for attribute in &mut pair.attributes {
            if let LinkAttribute::LinkInfo(info) = attribute {
                *info = vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(data.clone())];
            }
        }
        let what = || format!("make the veth pair {host}, {} (in the pod)", pod.name);
        self.handle.link().add(pair).execute().await.map_err(netlink(what()))
    }

    /// Take a pod's pair away; one that is gone is fine.
    pub(super) async fn delete(&self, host: &str) -> Result<(), DeviceError> {
        let Some(link) =
            find(&self.handle, host).await.map_err(netlink(format!("look for device {host}")))?
        else {
            return Ok(());
        };
        let info = link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::LinkInfo(info) => Some(info),
            _ => None,
        });
        let veth = |info: &Vec<LinkInfo>| info.iter().any(|i| matches!(i, LinkInfo::Kind(InfoKind::Veth)));
        if !info.is_some_and(veth) {
            return Err(DeviceError::Taken(host.to_owned()));
        }
        let gone = self.handle.link().del(link.header.index).execute().await;
        ignore_missing(gone).map_err(netlink(format!("delete device {host}")))
    }

    /// The host's end as it is; None where it is not.
    pub(super) async fn look(&self, host: &str) -> Result<Option<Seen>, DeviceError> {
        look(&self.handle, host).await.map_err(netlink(format!("look at device {host}")))
    }
}

impl Drop for Devices {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Give the pod's end its address and routes, and bring it up.
pub(super) async fn configure(netns: &OwnedFd, pod: PodEnd, address: PodAddress) -> Result<(), DeviceError> {
    let work = move |handle: Handle| async move {
        let name = pod.name.as_str();
        let failed = |what: &str| netlink(format!("{what} of device {name} in the pod"));
        let link = find(&handle, name).await.map_err(failed("find the index"))?;
        let index = link.ok_or(NetlinkError::RequestFailed).map_err(failed("find the index"))?.header.index;
        if pod.plain_frames {
            footbridge_datapath::offload::disable(name)?;
        }
        let request = handle.address().add(index, IpAddr::V4(address.address), address.prefix);
        request.execute().await.map_err(failed("set the address"))?;
        let up = LinkUnspec::new_with_index(index).up().build();
        handle.link().set(up).execute().await.map_err(failed("set the state"))?;
        for route in &address.routes {
            let (IpAddr::V4(to), Some(IpAddr::V4(via))) =
                (route.dst.address, route.gw.or(Some(IpAddr::V4(address.gateway))))
            else {
                continue;
            };
            let message = RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(to, route.dst.prefix)
                .gateway(via)
                .output_interface(index)
                .build();
            handle.route().add(message).execute().await.map_err(failed("set a route"))?;
        }
        Ok(())
    };
    in_namespace(netns, work).await
}

/// Say on the network where the pod is.
pub(super) async fn announce(
    netns: &OwnedFd,
    name: InterfaceName,
    mac: MacAddr,
    address: Ipv4Addr,
) -> Result<(), DeviceError> {
    let work = move |_| async move {
        announce::send(name.as_str(), &[announce::gratuitous_arp(mac, address)])
            .map_err(|source| DeviceError::Announce { address, source })
    };
    in_namespace(netns, work).await
}

/// The pod's end as it is; None where it is not.
pub(super) async fn look_inside(netns: &OwnedFd, name: InterfaceName) -> Result<Option<Seen>, DeviceError> {
    let work = move |handle: Handle| async move {
        look(&handle, name.as_str()).await.map_err(netlink(format!("look at device {name} in the pod")))
    };
    in_namespace(netns, work).await
}

/// Run `work` inside a namespace, with a netlink connection there, on a thread of its own.
async fn in_namespace<T, F, Fut>(netns: &OwnedFd, work: F) -> Result<T, DeviceError>
where
    T: Send + 'static,
    F: FnOnce(Handle) -> Fut + Send + 'static,
    Fut: Future<Output = Result<T, DeviceError>>,
{
    let netns = netns.as_fd().try_clone_to_owned().map_err(DeviceError::Namespace)?;
    let (done, outcome) = tokio::sync::oneshot::channel();
    let inside = move || {
        setns(&netns, CloneFlags::CLONE_NEWNET).map_err(|errno| DeviceError::Namespace(errno.into()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(DeviceError::Namespace)?.block_on(async {
            let (connection, handle, _) = rtnetlink::new_connection().map_err(DeviceError::Open)?;
            let connection = tokio::spawn(connection);
            let outcome = work(handle).await;
            connection.abort();
            outcome
        })
    };
    let thread = std::thread::Builder::new().name("pod-netns".to_owned());
    // The receiver is gone only when nobody waits for the outcome any more.
    let started = thread.spawn(move || drop(done.send(inside())));
    started.map_err(DeviceError::Namespace)?;
    let panicked = || DeviceError::Namespace(io::Error::other("the thread inside it panicked"));
    outcome.await.unwrap_or_else(|_| Err(panicked()))
}

async fn look(handle: &Handle, name: &str) -> Result<Option<Seen>, NetlinkError> {
    let Some(link) = find(handle, name).await? else { return Ok(None) };
    let index = link.header.index;
    let addresses = handle.address().get().set_link_index_filter(index).execute();
    let addresses: Vec<AddressMessage> = addresses.try_collect().await?;
    let mut filter = RouteMessageBuilder::<Ipv4Addr>::new().build();
    filter.header = Default::default();
    filter.header.address_family = AddressFamily::Inet;
    let routes: Vec<RouteMessage> = handle.route().get(filter).execute().try_collect().await?;
    let mut seen = Seen {
        up: link.header.flags.contains(LinkFlags::Up),
        mac: None,
        mtu: 0,
        addresses: addresses.iter().filter_map(address).collect(),
        default_routes: routes.iter().filter_map(|route| default_route(route, index)).collect(),
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Address(bytes) => seen.mac = bytes.as_slice().try_into().ok().map(MacAddr),
            LinkAttribute::Mtu(mtu) => seen.mtu = *mtu,
            _ => {}
        }
    }
    Ok(Some(seen))
}

fn address(message: &AddressMessage) -> Option<(Ipv4Addr, u8)> {
    message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(IpAddr::V4(address)) => Some((*address, message.header.prefix_len)),
        _ => None,
    })
}

fn default_route(message: &RouteMessage, index: u32) -> Option<Ipv4Addr> {
    let over = |attribute: &RouteAttribute| matches!(attribute, RouteAttribute::Oif(oif) if *oif == index);
    if message.header.destination_prefix_length != 0 || !message.attributes.iter().any(over) {
        return None;
    }
    message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => Some(*gateway),
        _ => None,
    })
}

async fn find(handle: &Handle, name: &str) -> Result<Option<LinkMessage>, NetlinkError> {
    let found = handle.link().get().match_name(name.to_owned()).execute().try_next().await;
    match found {
        Err(NetlinkError::NetlinkError(e)) if e.raw_code() == -(nix::errno::Errno::ENODEV as i32) => Ok(None),
        other => other,
    }
}

fn netlink(what: String) -> impl FnOnce(NetlinkError) -> DeviceError {
    move |source| DeviceError::Netlink { what, source }
}
