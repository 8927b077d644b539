//! A tunnel port: one UDP socket that encapsulates and decapsulates.

use crate::Error;
use crate::sys;
use crate::tunnel::{self, OptionMap, TunnelHeader, TunnelHeaderError, TunnelProtocol};
use footbridge_pipeline::TunnelKey;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, SockaddrIn, bind, recvmsg, sendmsg,
    setsockopt, socket, sockopt,
};
use std::io::{IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};

/// Bytes that may wait in the kernel: some thousand frames. The kernel doubles it, for its own needs.
const BUFFER: i32 = 2 << 20;
/// Room for the control messages of one datagram: an `in_pktinfo` (12 bytes) and its header.
const CONTROL: usize = 64;

/// A tunnel's socket.
pub(crate) struct Tunnel {
    socket: OwnedFd,
    protocol: TunnelProtocol,
    udp_port: u16,
    vni: u32,
    options: OptionMap,
}

/// Why there is no frame.
pub(super) enum NoFrame {
    /// The kernel's answer; EAGAIN where none waits.
    Errno(Errno),
    /// A datagram that is none of ours.
    Header(TunnelHeaderError),
    /// Another network's.
    WrongVni,
}

impl From<Errno> for NoFrame {
    fn from(errno: Errno) -> NoFrame {
        NoFrame::Errno(errno)
    }
}

impl Tunnel {
    /// Receive on `local` (None for any address), UDP port `udp_port`.
    ///
    /// # Errors
    ///
    /// [`Error::Tunnel`] when the port is taken, no device has the address, or without privileges.
    pub(super) fn open(
        protocol: TunnelProtocol,
        udp_port: u16,
        vni: u32,
        local: Option<Ipv4Addr>,
        options: OptionMap,
    ) -> Result<Tunnel, Error> {
        Tunnel::bound(protocol, udp_port, udp_port, vni, local, options)
    }

    /// One that only sends, from any UDP port of its own: the kernel's device receives.
    ///
    /// # Errors
    ///
    /// As [`Tunnel::open`].
    pub(crate) fn sender(
        protocol: TunnelProtocol,
        udp_port: u16,
        vni: u32,
        local: Option<Ipv4Addr>,
        options: OptionMap,
    ) -> Result<Tunnel, Error> {
        Tunnel::bound(protocol, 0, udp_port, vni, local, options)
    }

    fn bound(
        protocol: TunnelProtocol,
        own_port: u16,
        udp_port: u16,
        vni: u32,
        local: Option<Ipv4Addr>,
        options: OptionMap,
    ) -> Result<Tunnel, Error> {
        let local = local.unwrap_or(Ipv4Addr::UNSPECIFIED);
        let open = || {
            let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
            let socket = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
            // The outer checksum goes as 0 (RFC 7348 §5, RFC 8926 §3.3): the frame has its own.
            sys::set_int_option(&socket, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1)?;
            // A tunnel doesn't fragment: what is too long is dropped, and counted.
            sys::set_int_option(&socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO)?;
            for (forced, plain) in
                [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)]
            {
                sys::set_int_option(&socket, libc::SOL_SOCKET, forced, BUFFER)
                    .or_else(|_| sys::set_int_option(&socket, libc::SOL_SOCKET, plain, BUFFER))?;
            }
            bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(local, own_port)))?;
            Ok(Tunnel { socket, protocol, udp_port, vni, options })
        };
        open().map_err(|errno| Error::Tunnel { protocol, local, udp_port, errno })
    }

    pub(super) fn socket(&self) -> &OwnedFd {
        &self.socket
    }

    /// The next frame waiting, with its tunnel header's fields.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> Result<(Vec<u8>, TunnelKey), NoFrame> {
        let mut control = [0; CONTROL];
        let mut slices = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<SockaddrIn>(self.socket.as_raw_fd(), &mut slices, Some(&mut control), flags)?;
        let src = message.address.map_or(Ipv4Addr::UNSPECIFIED, |address| address.ip());
        let dst = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                Some(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()))
            }
            _ => None,
        });
        let length = message.bytes;
        let datagram = buffer.get(..length).unwrap_or_default();
        let (header, frame_at) =
            tunnel::decode(self.protocol, datagram, self.options).map_err(NoFrame::Header)?;
        if header.vni != self.vni {
            return Err(NoFrame::WrongVni);
        }
        let mut key = TunnelKey { id: header.vni.into(), src, ..TunnelKey::default() };
        key.dst = dst.unwrap_or(Ipv4Addr::UNSPECIFIED);
        key.metadata[0] = header.metadata.unwrap_or(0).into();
        Ok((datagram.get(frame_at..).unwrap_or_default().to_vec(), key))
    }

    /// Send a frame to the key's destination.
    ///
    /// Of the key, destination and `tun_metadata0` are used: network identifier and source are the
    /// port's own.
    ///
    /// # Errors
    ///
    /// As [`super::device::Device::send`], and ENETUNREACH or EHOSTUNREACH where no route leads there.
    pub(crate) fn send(&self, frame: &[u8], key: &TunnelKey) -> Result<(), Errno> {
        // 0 is what flows read where there is no option, so it needs none.
        let metadata = Some(key.metadata[0] as u32).filter(|value| *value != 0);
        let header = tunnel::encode(self.protocol, &TunnelHeader { vni: self.vni, metadata }, self.options);
        let slices = [IoSlice::new(&header), IoSlice::new(frame)];
        let to = SockaddrIn::from(SocketAddrV4::new(key.dst, self.udp_port));
        sendmsg(self.socket.as_raw_fd(), &slices, &[], MsgFlags::MSG_DONTWAIT, Some(&to)).map(drop)
    }
}
