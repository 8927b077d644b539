//! System calls that the safe crates have no form for: the only `unsafe` in Footbridge beside bpf(2), which is in
//! `ebpf::sys`.
//!
//! Each function does one call and nothing else; what is decided around it is in safe code.

use nix::errno::Errno;
use nix::sys::socket::LinkAddr;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// The address of all frames of one device, for bind(2) on a packet socket (packet(7)).
#[allow(unsafe_code, reason = "nix makes a LinkAddr from a raw sockaddr_ll only")]
pub(crate) fn packet_address(ifindex: u32) -> Option<LinkAddr> {
    use nix::sys::socket::SockaddrLike;
    // SAFETY: sockaddr_ll is plain integers; all zero is a valid value.
    let mut address: libc::sockaddr_ll = unsafe { zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = i32::try_from(ifindex).ok()?;
    let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the pointer is to a sockaddr_ll of the length given, alive during the call; the
    // value is copied.
    unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(len)) }
}

/// setsockopt(2) with an `int`.
pub(crate) fn set_int_option(socket: &impl AsFd, level: i32, name: i32, value: i32) -> Result<(), Errno> {
    set_option(socket, level, name, &value)
}

/// Have the device hand over frames that are not for its own address (`PACKET_MR_PROMISC`), until
/// the socket is closed.
pub(crate) fn set_promiscuous(socket: &impl AsFd, ifindex: u32) -> Result<(), Errno> {
    let membership = libc::packet_mreq {
        mr_ifindex: i32::try_from(ifindex).map_err(|_| Errno::ENODEV)?,
        mr_type: libc::PACKET_MR_PROMISC as u16,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set_option(socket, libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP, &membership)
}

#[allow(unsafe_code, reason = "setsockopt(2) for options that nix has no type for")]
fn set_option<T: Copy>(socket: &impl AsFd, level: i32, name: i32, value: &T) -> Result<(), Errno> {
    // SAFETY: the pointer is to a T, alive during the call, and the length is T's; the kernel only
    // reads it. The callers above pass the type that their option takes.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    Errno::result(result).map(drop)
}

/// How many frames the kernel threw away since the last call because the packet socket's receive
/// buffer was full (`PACKET_STATISTICS`).
#[allow(unsafe_code, reason = "getsockopt(2) for an option that nix has no type for")]
pub(crate) fn take_packet_drops(socket: &impl AsFd) -> Result<u64, Errno> {
    // SAFETY: tpacket_stats is two integers; all zero is a valid value.
    let mut stats: libc::tpacket_stats = unsafe { zeroed() };
    let mut len = size_of::<libc::tpacket_stats>() as libc::socklen_t;
    // SAFETY: both pointers are to live values, and `len` is the size of the one written to.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut stats).cast(),
            &raw mut len,
        )
    };
    Errno::result(result).map(|_| u64::from(stats.tp_drops))
}

/// A device, for the calls that name it in a `struct ifreq` (netdevice(7), linux/ethtool.h).
pub(crate) struct Device {
    socket: OwnedFd,
    name: [libc::c_char; libc::IFNAMSIZ],
}

/// `struct ethtool_value`.
#[repr(C)]
struct EthtoolValue {
    cmd: u32,
    data: u32,
}

/// `ETHTOOL_GSET`
const ETHTOOL_GSET: u32 = 0x1;

/// `struct ethtool_cmd`.
#[repr(C)]
#[derive(Default)]
struct EthtoolCmd {
    cmd: u32,
    supported: u32,
    advertising: u32,
    speed: u16,
    duplex: u8,
    port: u8,
    phy_address: u8,
    transceiver: u8,
    autoneg: u8,
    mdio_support: u8,
    maxtxpkt: u32,
    maxrxpkt: u32,
    speed_hi: u16,
    eth_tp_mdix: u8,
    eth_tp_mdix_ctrl: u8,
    lp_advertising: u32,
    reserved: [u32; 2],
}

/// What [`Device::link_settings`] says, in linux/ethtool.h's numbers.
pub(crate) struct LinkSettings {
    /// Mbit/s
    pub(crate) speed: u32,
    /// DUPLEX_*
    pub(crate) duplex: u8,
    /// PORT_*
    pub(crate) port: u8,
    pub(crate) autonegotiation: bool,
}

/// `SIOCETHTOOL` of linux/sockios.h.
const SIOCETHTOOL: libc::Ioctl = 0x8946;

impl Device {
    /// The device called `ifname` in the calling thread's network namespace, whether it exists or not.
    pub(crate) fn named(ifname: &str) -> Result<Device, Errno> {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
        // A name too long for a device can't be one; the last byte stays 0.
        if ifname.is_empty() || ifname.len() >= libc::IFNAMSIZ {
            return Err(Errno::ENODEV);
        }
        let mut name = [0; libc::IFNAMSIZ];
        for (to, from) in name.iter_mut().zip(ifname.bytes()) {
            *to = from as libc::c_char;
        }
        let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        Ok(Device { socket, name })
    }

    /// Whether the device is administratively up.
    pub(crate) fn is_up(&self) -> Result<bool, Errno> {
        Ok(self.flags()? & libc::IFF_UP != 0)
    }

    /// IFF_* (`SIOCGIFFLAGS`).
    #[allow(unsafe_code, reason = "ioctl(2) with a structure that nix has no type for")]
    pub(crate) fn flags(&self) -> Result<i32, Errno> {
        let mut request =
            libc::ifreq { ifr_name: self.name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: 0 } };
        // SAFETY: `request` is an ifreq with a terminated name, alive during the call.
        let result = unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) };
        Errno::result(result)?;
        // SAFETY: the kernel has set the flags, and any bits are a valid integer.
        let flags = unsafe { request.ifr_ifru.ifru_flags };
        Ok(i32::from(flags))
    }

    /// The hardware address (`SIOCGIFHWADDR`), of which an Ethernet device has six bytes.
    #[allow(unsafe_code, reason = "ioctl(2) with a structure that nix has no type for")]
    pub(crate) fn mac(&self) -> Result<[u8; 6], Errno> {
        let mut request =
            libc::ifreq { ifr_name: self.name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: 0 } };
        // SAFETY: `request` is an ifreq with a terminated name, alive during the call.
        let result = unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::SIOCGIFHWADDR, &raw mut request) };
        Errno::result(result)?;
        // SAFETY: the kernel has set the address, and any bytes are a valid sockaddr.
        let address = unsafe { request.ifr_ifru.ifru_hwaddr };
        let mut mac = [0; 6];
        for (to, from) in mac.iter_mut().zip(address.sa_data) {
            *to = from as u8;
        }
        Ok(mac)
    }

    /// Speed, duplex and medium (`ETHTOOL_GSET`, which every driver answers, directly or through the
    /// kernel's translation).
    pub(crate) fn link_settings(&self) -> Result<LinkSettings, Errno> {
        let mut answer = EthtoolCmd { cmd: ETHTOOL_GSET, ..EthtoolCmd::default() };
        self.ethtool(&mut answer)?;
        Ok(LinkSettings {
            speed: u32::from(answer.speed_hi) << 16 | u32::from(answer.speed),
            duplex: answer.duplex,
            port: answer.port,
            autonegotiation: answer.autoneg != 0,
        })
    }

    /// An ethtool command that returns one value.
    pub(crate) fn get(&self, cmd: u32) -> Result<u32, Errno> {
        self.call(EthtoolValue { cmd, data: 0 })
    }

    /// An ethtool command that takes one value.
    pub(crate) fn set(&self, cmd: u32, data: u32) -> Result<(), Errno> {
        self.call(EthtoolValue { cmd, data }).map(drop)
    }

    fn call(&self, mut value: EthtoolValue) -> Result<u32, Errno> {
        self.ethtool(&mut value)?;
        Ok(value.data)
    }

    /// `SIOCETHTOOL` with a command's own structure.
    #[allow(unsafe_code, reason = "ioctl(2) with a structure that nix has no type for")]
    fn ethtool<T: EthtoolCommand>(&self, command: &mut T) -> Result<(), Errno> {
        let mut request = libc::ifreq {
            ifr_name: self.name,
            ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: std::ptr::from_mut(command).cast() },
        };
        // SAFETY: `request` is an ifreq with a terminated name, whose data points to the structure of
        // the commands in use; both outlive the call, which reads and writes nothing else.
        let result = unsafe { libc::ioctl(self.socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
        Errno::result(result).map(drop)
    }
}

/// The structures that [`Device::ethtool`] may be called with: plain integers, the command first.
trait EthtoolCommand {}
impl EthtoolCommand for EthtoolValue {}
impl EthtoolCommand for EthtoolCmd {}
