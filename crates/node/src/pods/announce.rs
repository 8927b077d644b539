//! Saying on a network where an address is: ARP (RFC 826), sent as it is from a packet socket (packet(7)).

use footbridge_openflow::MacAddr;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, SockaddrLike, sendto, socket};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

/// The announcement of an address: a broadcast request for itself (RFC 5944 section 4.6).
pub fn gratuitous_arp(mac: MacAddr, address: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(42);
    frame.extend(MacAddr::BROADCAST.0);
    frame.extend(mac.0);
    // ARP; for Ethernet and IPv4, addresses of 6 and 4 bytes; a request.
    frame.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac.0);
    frame.extend(address.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

/// Send frames out of a device of the calling thread's network namespace, just as they are.
///
/// # Errors
/// There is no such device, it is down, or CAP_NET_RAW is lacking.
pub fn send(device: &str, frames: &[Vec<u8>]) -> io::Result<()> {
    let index = usize::try_from(if_nametoindex(device)?).map_err(io::Error::other)?;
    // The kernel's own list of link addresses has one for each device, and a link address is all
    // that sending needs to name the device.
    let to: LinkAddr = nix::ifaddrs::getifaddrs()?
        .filter_map(|entry| entry.address)
        .filter_map(|address| address.as_link_addr().copied())
        .find(|link| link.family() == Some(AddressFamily::Packet) && link.ifindex() == index)
        .ok_or(io::ErrorKind::NotFound)?;
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    for frame in frames {
        sendto(socket.as_raw_fd(), frame, &to, MsgFlags::empty())?;
    }
    Ok(())
}
