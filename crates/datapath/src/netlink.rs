//! Devices by rtnetlink(7): one request and its answer at a time, in the network namespace of the thread
//! that opened the socket.

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use nix::errno::Errno;

/// Flags of a request that makes something that must not be there yet.
pub(crate) const MAKE: u16 = NLM_F_CREATE | NLM_F_EXCL;

/// A socket.
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    /// For the calling thread's network namespace.
    pub(crate) fn open() -> Result<Netlink, Errno> {
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(|error| errno(&error))?;
        socket.bind_auto().map_err(|error| errno(&error))?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(|error| errno(&error))?;
        Ok(Netlink { socket, sequence: 0 })
    }

    /// Change something; `flags` beyond those that every change has.
    pub(crate) fn change(&mut self, change: RouteNetlinkMessage, flags: u16) -> Result<(), Errno> {
        self.ask(change, flags | NLM_F_ACK).map(drop)
    }

    /// Ask for something.
    pub(crate) fn get(&mut self, wanted: RouteNetlinkMessage) -> Result<Option<RouteNetlinkMessage>, Errno> {
        self.ask(wanted, 0)
    }

    /// The device called `name`, if there is one.
    pub(crate) fn link(&mut self, name: &str) -> Result<Option<LinkMessage>, Errno> {
        let mut wanted = LinkMessage::default();
        wanted.attributes.push(LinkAttribute::IfName(name.to_owned()));
        match self.ask(RouteNetlinkMessage::GetLink(wanted), 0) {
            Ok(Some(RouteNetlinkMessage::NewLink(link))) => Ok(Some(link)),
            Ok(_) | Err(Errno::ENODEV) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Make a device.
    pub(crate) fn add_link(&mut self, attributes: Vec<LinkAttribute>) -> Result<(), Errno> {
        let mut link = LinkMessage::default();
        link.attributes = attributes;
        self.change(RouteNetlinkMessage::NewLink(link), MAKE)
    }

    /// Change a device, and set these flags.
    pub(crate) fn set_link(
        &mut self,
        index: u32,
        flags: LinkFlags,
        attributes: Vec<LinkAttribute>,
    ) -> Result<(), Errno> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        link.header.flags = flags;
        link.header.change_mask = flags;
        link.attributes = attributes;
        self.change(RouteNetlinkMessage::SetLink(link), 0)
    }

    /// Take a device away.
    pub(crate) fn del_link(&mut self, index: u32) -> Result<(), Errno> {
        let mut link = LinkMessage::default();
        link.header.index = index;
        self.change(RouteNetlinkMessage::DelLink(link), 0)
    }

    /// The answer to a request, other than "done".
    fn ask(
        &mut self,
        request: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Option<RouteNetlinkMessage>, Errno> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = NetlinkMessage::from(request);
        message.header.flags = NLM_F_REQUEST | flags;
        message.header.sequence_number = self.sequence;
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map_err(|error| errno(&error))?;
        loop {
            let (datagram, _) = self.socket.recv_from_full().map_err(|error| errno(&error))?;
            let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&datagram);
            let answer = answer.map_err(|_| Errno::EPROTO)?;
            // An answer to what was given up is none.
            if answer.header.sequence_number != self.sequence {
                continue;
            }
            return match answer.payload {
                NetlinkPayload::Error(error) => match error.code {
                    None => Ok(None),
                    Some(code) => Err(Errno::from_raw(-code.get())),
                },
                NetlinkPayload::InnerMessage(answer) => Ok(Some(answer)),
                _ => Ok(None),
            };
        }
    }
}

fn errno(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
