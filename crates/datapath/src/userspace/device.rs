//! A port on a network device: one packet socket (packet(7)).

use crate::frame::{self, Auxdata};
use crate::port::Link;
use crate::{offload, sys};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, bind, recvmsg, send, socket,
};
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};

/// Bytes that may wait on one device in the kernel: some thousand frames. The kernel doubles it, for its own needs.
const BUFFER: i32 = 2 << 20;

/// A port's device, there or not.
pub(super) struct Device {
    ifname: String,
    attached: Option<Attached>,
}

struct Attached {
    socket: OwnedFd,
    ifindex: u32,
    up: bool,
}

impl Device {
    /// The device of that name, not attached yet.
    pub(super) fn new(ifname: &str) -> Device {
        Device { ifname: ifname.to_owned(), attached: None }
    }

    pub(super) fn link(&self) -> Link {
        match &self.attached {
            Some(Attached { up: true, .. }) => Link::Up,
            Some(_) => Link::Down,
            None => Link::Absent,
        }
    }

    /// The socket, where the device is there.
    pub(super) fn socket(&self) -> Option<&OwnedFd> {
        self.attached.as_ref().map(|attached| &attached.socket)
    }

    /// Compare with the device that has the name now. True when the socket is another one now (or
    /// there is none any more), so that the caller has to watch that instead.
    pub(super) fn refresh(&mut self) -> bool {
        let ifindex = nix::net::if_::if_nametoindex(self.ifname.as_str()).ok();
        let same = self.attached.as_ref().map(|attached| attached.ifindex) == ifindex;
        if !same {
            self.attached = ifindex.and_then(|ifindex| match attach(&self.ifname, ifindex) {
                Ok(socket) => Some(Attached { socket, ifindex, up: false }),
                Err(errno) => {
                    tracing::warn!(device = self.ifname, %errno, "device can't be opened");
                    None
                }
            });
        }
        if let Some(attached) = &mut self.attached {
            attached.up = sys::Device::named(&self.ifname).and_then(|device| device.is_up()).unwrap_or(false);
        }
        !same
    }

    /// The next frame waiting, whole. None where the device is gone.
    ///
    /// # Errors
    ///
    /// EAGAIN where none waits, EMSGSIZE for a frame longer than `buffer`, ENETDOWN once when the
    /// device goes down.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> Result<Vec<u8>, Errno> {
        let attached = self.attached.as_ref().ok_or(Errno::ENODEV)?;
        let mut control = [0; CONTROL];
        let mut slices = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<()>(attached.socket.as_raw_fd(), &mut slices, Some(&mut control), flags)?;
        if message.flags.contains(MsgFlags::MSG_TRUNC) {
            return Err(Errno::EMSGSIZE);
        }
        let length = message.bytes;
        let auxdata = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::Unknown(unknown)
                if unknown.cmsg_header.cmsg_level == libc::SOL_PACKET
                    && unknown.cmsg_header.cmsg_type == libc::PACKET_AUXDATA =>
            {
                Auxdata::parse(&unknown.data_bytes)
            }
            _ => None,
        });
        Ok(frame::restore(buffer.get(..length).unwrap_or_default(), auxdata.unwrap_or_default()))
    }

    /// Send a frame.
    ///
    /// # Errors
    ///
    /// EAGAIN or ENOBUFS where the device's queue is full, EMSGSIZE for a frame longer than its MTU,
    /// ENETDOWN, ENODEV or ENXIO where it is down or gone.
    pub(super) fn send(&self, frame: &[u8]) -> Result<(), Errno> {
        let attached = self.attached.as_ref().ok_or(Errno::ENODEV)?;
        send(attached.socket.as_raw_fd(), frame, MsgFlags::MSG_DONTWAIT).map(drop)
    }

    /// Receive from another socket, for a test of what receiving may say.
    #[cfg(test)]
    pub(super) fn replace_socket(&mut self, socket: OwnedFd) {
        if let Some(attached) = &mut self.attached {
            attached.socket = socket;
        }
    }

    /// Frames that overflowed in the kernel since the last call.
    pub(super) fn take_overflows(&self) -> u64 {
        self.socket().and_then(|socket| sys::take_packet_drops(socket).ok()).unwrap_or(0)
    }
}

/// Room for the control messages of one frame: a `tpacket_auxdata` (20 bytes) and its header.
const CONTROL: usize = 64;

/// A packet socket on the device, set up before it sees the first frame.
fn attach(ifname: &str, ifindex: u32) -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    // Protocol 0 hears nothing until bind names protocol and device.
    let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None)?;
    sys::set_int_option(&socket, libc::SOL_PACKET, libc::PACKET_AUXDATA, 1)?;
    sys::set_int_option(&socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1)?;
    for (forced, plain) in [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)]
    {
        // Beyond the system's limit only with CAP_NET_ADMIN; up to it without.
        sys::set_int_option(&socket, libc::SOL_SOCKET, forced, BUFFER)
            .or_else(|_| sys::set_int_option(&socket, libc::SOL_SOCKET, plain, BUFFER))?;
    }
    if let Err(error) = offload::disable(ifname) {
        tracing::warn!(device = ifname, %error, "offloads stay on: frames larger than the MTU will be dropped");
    }
    sys::set_promiscuous(&socket, ifindex)?;
    let address = sys::packet_address(ifindex).ok_or(Errno::ENODEV)?;
    bind(socket.as_raw_fd(), &address)?;
    Ok(socket)
}
