//! Descriptions of ports: in features replies, port status, port mods and port-description replies.
//!
//! OpenFlow 1.0.0 §5.2.1, §5.3.3 and §5.4.3; 1.3.5 §7.2.1, §7.3.4.3 and §7.4.3; 1.4.1 §7.2.1 with
//! properties. Bit masks of speeds and media are held in the numbers of 1.1 and later.

use super::Context;
use super::bytes::{Reader, U16, U32, array, layout, patch_u16, put, text};
use super::error::{EncodeError, ErrorCode, Refusal};
use super::header;
use super::kind;
use super::matching::{port_from_16, port_from_32, port_to_16};
use super::property::{Properties, put_property};
use super::version::Version;
use crate::addr::MacAddr;
use crate::port::PortNo;

/// OFPPC_*: bits of [`Port::config`].
pub mod config {
    /// The port is administratively down.
    pub const PORT_DOWN: u32 = 1 << 0;
    /// Drop what is received on it.
    pub const NO_RECV: u32 = 1 << 2;
    /// Leave it out of floods (1.0 only).
    pub const NO_FLOOD: u32 = 1 << 4;
    /// Drop what is sent to it.
    pub const NO_FWD: u32 = 1 << 5;
    /// Send no packet-ins for it.
    pub const NO_PACKET_IN: u32 = 1 << 6;
}

/// OFPPS_*: bits of [`Port::state`].
pub mod state {
    /// No carrier.
    pub const LINK_DOWN: u32 = 1 << 0;
    /// Live, for fast failover (1.1 and later).
    pub const LIVE: u32 = 1 << 2;
}

/// Bits that each version has.
const CONFIG_V10: u32 = 0x7f;
const CONFIG_V11: u32 = config::PORT_DOWN | config::NO_RECV | config::NO_FWD | config::NO_PACKET_IN;
const STATE_V10: u32 = state::LINK_DOWN;
const STATE_V11: u32 = 0x7;
/// The property of an Ethernet port.
const ETHERNET: u16 = 0;

layout! {
    /// ofp_phy_port (1.0)
    struct Port10 {
        number: U16, hw_addr: [u8; 6], name: [u8; 16], config: U32, state: U32,
        curr: U32, advertised: U32, supported: U32, peer: U32,
    }
    /// ofp_port (1.1 to 1.3)
    struct Port11 {
        number: U32, pad: [u8; 4], hw_addr: [u8; 6], pad2: [u8; 2], name: [u8; 16], config: U32, state: U32,
        curr: U32, advertised: U32, supported: U32, peer: U32, curr_speed: U32, max_speed: U32,
    }
    /// ofp_port (1.4), before its properties
    struct Port14 {
        number: U32, length: U16, pad: [u8; 2], hw_addr: [u8; 6], pad2: [u8; 2], name: [u8; 16],
        config: U32, state: U32,
    }
    /// ofp_port_desc_prop_ethernet, behind its header
    struct Ethernet14 {
        pad: [u8; 4], curr: U32, advertised: U32, supported: U32, peer: U32, curr_speed: U32, max_speed: U32,
    }
    /// ofp_port_status, before the port
    struct Status { reason: u8, pad: [u8; 7], }
    /// ofp_port_mod (1.0)
    struct Mod10 { number: U16, hw_addr: [u8; 6], config: U32, mask: U32, advertise: U32, pad: [u8; 4], }
    /// ofp_port_mod (1.1 to 1.3)
    struct Mod11 {
        number: U32, pad: [u8; 4], hw_addr: [u8; 6], pad2: [u8; 2], config: U32, mask: U32, advertise: U32,
        pad3: [u8; 4],
    }
    /// ofp_port_mod (1.4), before its properties
    struct Mod14 {
        number: U32, pad: [u8; 4], hw_addr: [u8; 6], pad2: [u8; 2], config: U32, mask: U32,
    }
}

/// One port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its number.
    pub number: PortNo,
    /// Its MAC address.
    pub hw_addr: MacAddr,
    /// Its name, of which 15 bytes fit.
    pub name: String,
    /// [`config`]
    pub config: u32,
    /// [`state`]
    pub state: u32,
    /// OFPPF_*: what it runs at.
    pub curr: u32,
    /// OFPPF_*: what it advertises.
    pub advertised: u32,
    /// OFPPF_*: what it could run at.
    pub supported: u32,
    /// OFPPF_*: what its peer advertises.
    pub peer: u32,
    /// kbit/s; not in 1.0.
    pub curr_speed: u32,
    /// kbit/s; not in 1.0.
    pub max_speed: u32,
}

/// Speeds have the same bits in all versions; the media are four bits further up from 1.1 on.
fn features_from_10(bits: u32) -> u32 {
    bits & 0x7f | (bits & 0xf80) << 4
}

fn features_to_10(bits: u32) -> u32 {
    bits & 0x7f | bits >> 4 & 0xf80
}

impl Port {
    /// Read one port of a list.
    pub(crate) fn decode(reader: &mut Reader<'_>, version: Version) -> Result<Port, Refusal> {
        let number = |number: U32| port_from_32(number.get(), ErrorCode::BrcBadPort);
        match version {
            Version::V10 => {
                let l: &Port10 = reader.take()?;
                Ok(Port {
                    number: port_from_16(l.number.get()),
                    hw_addr: MacAddr(l.hw_addr),
                    name: text(&l.name),
                    config: l.config.get() & CONFIG_V10,
                    state: l.state.get() & STATE_V10,
                    curr: features_from_10(l.curr.get()),
                    advertised: features_from_10(l.advertised.get()),
                    supported: features_from_10(l.supported.get()),
                    peer: features_from_10(l.peer.get()),
                    curr_speed: 0,
                    max_speed: 0,
                })
            }
            Version::V13 => {
                let l: &Port11 = reader.take()?;
                Ok(Port {
                    number: number(l.number)?,
                    hw_addr: MacAddr(l.hw_addr),
                    name: text(&l.name),
                    config: l.config.get() & CONFIG_V11,
                    state: l.state.get() & STATE_V11,
                    curr: l.curr.get(),
                    advertised: l.advertised.get(),
                    supported: l.supported.get(),
                    peer: l.peer.get(),
                    curr_speed: l.curr_speed.get(),
                    max_speed: l.max_speed.get(),
                })
            }
            Version::V14 | Version::V15 => Port::decode_14(reader),
        }
    }

    fn decode_14(reader: &mut Reader<'_>) -> Result<Port, Refusal> {
        let length = usize::from(reader.peek::<Port14>()?.length.get());
        let mut inside = reader.sub(length)?;
        let l: &Port14 = inside.take()?;
        let mut port = Port {
            number: port_from_32(l.number.get(), ErrorCode::BrcBadPort)?,
            hw_addr: MacAddr(l.hw_addr),
            name: text(&l.name),
            config: l.config.get() & CONFIG_V11,
            state: l.state.get() & STATE_V11,
            curr: 0,
            advertised: 0,
            supported: 0,
            peer: 0,
            curr_speed: 0,
            max_speed: 0,
        };
        for property in Properties::new(inside.rest()) {
            let property = property?;
            if property.kind == ETHERNET {
                let e: &Ethernet14 = property.reader().take()?;
                port.curr = e.curr.get();
                port.advertised = e.advertised.get();
                port.supported = e.supported.get();
                port.peer = e.peer.get();
                port.curr_speed = e.curr_speed.get();
                port.max_speed = e.max_speed.get();
            }
        }
        Ok(port)
    }

    /// Append the port as a list holds it.
    pub(crate) fn encode(&self, out: &mut Vec<u8>, version: Version) {
        let u = U32::new;
        match version {
            Version::V10 => put(
                out,
                Port10 {
                    number: U16::new(port_to_16(self.number).unwrap_or(0xffff)),
                    hw_addr: self.hw_addr.0,
                    name: array(&self.name),
                    config: u(self.config & CONFIG_V10),
                    state: u(self.state & STATE_V10),
                    curr: u(features_to_10(self.curr)),
                    advertised: u(features_to_10(self.advertised)),
                    supported: u(features_to_10(self.supported)),
                    peer: u(features_to_10(self.peer)),
                },
            ),
            Version::V13 => put(
                out,
                Port11 {
                    number: u(self.number.0),
                    pad: [0; 4],
                    hw_addr: self.hw_addr.0,
                    pad2: [0; 2],
                    name: array(&self.name),
                    config: u(self.config & CONFIG_V11),
                    state: u(self.state & STATE_V11),
                    curr: u(self.curr),
                    advertised: u(self.advertised),
                    supported: u(self.supported),
                    peer: u(self.peer),
                    curr_speed: u(self.curr_speed),
                    max_speed: u(self.max_speed),
                },
            ),
            Version::V14 | Version::V15 => {
                let start = out.len();
                put(
                    out,
                    Port14 {
                        number: u(self.number.0),
                        length: U16::ZERO,
                        pad: [0; 2],
                        hw_addr: self.hw_addr.0,
                        pad2: [0; 2],
                        name: array(&self.name),
                        config: u(self.config & CONFIG_V11),
                        state: u(self.state & STATE_V11),
                    },
                );
                put_property(out, ETHERNET, |out| {
                    put(
                        out,
                        Ethernet14 {
                            pad: [0; 4],
                            curr: u(self.curr),
                            advertised: u(self.advertised),
                            supported: u(self.supported),
                            peer: u(self.peer),
                            curr_speed: u(self.curr_speed),
                            max_speed: u(self.max_speed),
                        },
                    );
                });
                let length = out.len() - start;
                patch_u16(out, start + 4, length);
            }
        }
    }
}

/// What happened to a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum PortReason {
    /// It was added.
    Add = 0,
    /// It was removed.
    Delete = 1,
    /// Something of it changed.
    Modify = 2,
}

/// OFPT_PORT_STATUS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortStatus {
    /// What happened.
    pub reason: PortReason,
    /// The port as it is now, or was.
    pub port: Port,
}

impl PortStatus {
    pub(crate) fn decode(body: &[u8], context: Context<'_>) -> Result<PortStatus, Refusal> {
        let mut reader = Reader::new(body, ErrorCode::BrcBadLen, "OFPT_PORT_STATUS");
        let reason = match reader.take::<Status>()?.reason {
            0 => PortReason::Add,
            1 => PortReason::Delete,
            2 => PortReason::Modify,
            _ => return Err(Refusal::new(ErrorCode::NxbrcBadReason, "OFPT_PORT_STATUS")),
        };
        Ok(PortStatus { reason, port: Port::decode(&mut reader, context.version)? })
    }

    /// A whole message.
    pub fn encode(&self, context: Context<'_>, xid: u32) -> Result<Vec<u8>, EncodeError> {
        header::message(context.version, kind::PORT_STATUS, xid, |out| {
            put(out, Status { reason: self.reason as u8, pad: [0; 7] });
            self.port.encode(out, context.version);
            Ok(())
        })
    }
}

/// OFPT_PORT_MOD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortMod {
    /// Which port.
    pub number: PortNo,
    /// Its MAC address, which must be right.
    pub hw_addr: MacAddr,
    /// New [`config`] bits.
    pub config: u32,
    /// Which of them change.
    pub mask: u32,
    /// What to advertise; 0 leaves it.
    pub advertise: u32,
}

impl PortMod {
    pub(crate) fn decode(body: &[u8], context: Context<'_>) -> Result<PortMod, Refusal> {
        let mut reader = Reader::new(body, ErrorCode::BrcBadLen, "OFPT_PORT_MOD");
        match context.version {
            Version::V10 => {
                let l: &Mod10 = reader.take()?;
                Ok(PortMod {
                    number: port_from_16(l.number.get()),
                    hw_addr: MacAddr(l.hw_addr),
                    config: l.config.get() & CONFIG_V10,
                    mask: l.mask.get() & CONFIG_V10,
                    advertise: features_from_10(l.advertise.get()),
                })
            }
            Version::V13 => {
                let l: &Mod11 = reader.take()?;
                Ok(PortMod {
                    number: port_from_32(l.number.get(), ErrorCode::BrcBadPort)?,
                    hw_addr: MacAddr(l.hw_addr),
                    config: l.config.get() & CONFIG_V11,
                    mask: l.mask.get() & CONFIG_V11,
                    advertise: l.advertise.get(),
                })
            }
            Version::V14 | Version::V15 => {
                let l: &Mod14 = reader.take()?;
                let mut advertise = 0;
                for property in Properties::new(reader.rest()) {
                    let property = property?;
                    match property.kind {
                        ETHERNET => advertise = property.u32()?,
                        _ => return Err(Refusal::new(ErrorCode::BpcBadType, "OFPT_PORT_MOD")),
                    }
                }
                Ok(PortMod {
                    number: port_from_32(l.number.get(), ErrorCode::BrcBadPort)?,
                    hw_addr: MacAddr(l.hw_addr),
                    config: l.config.get() & CONFIG_V11,
                    mask: l.mask.get() & CONFIG_V11,
                    advertise,
                })
            }
        }
    }

    /// A whole message.
    pub fn encode(&self, context: Context<'_>, xid: u32) -> Result<Vec<u8>, EncodeError> {
        let (number, hw_addr) = (U32::new(self.number.0), self.hw_addr.0);
        let (config, mask) = (U32::new(self.config), U32::new(self.mask));
        let advertise = U32::new(self.advertise);
        header::message(context.version, kind::port_mod(context.version), xid, |out| {
            match context.version {
                Version::V10 => put(
                    out,
                    Mod10 {
                        number: U16::new(port_to_16(self.number).unwrap_or(0xffff)),
                        hw_addr,
                        config,
                        mask,
                        advertise: U32::new(features_to_10(self.advertise)),
                        pad: [0; 4],
                    },
                ),
                Version::V13 => put(
                    out,
                    Mod11 {
                        number,
                        pad: [0; 4],
                        hw_addr,
                        pad2: [0; 2],
                        config,
                        mask,
                        advertise,
                        pad3: [0; 4],
                    },
                ),
                Version::V14 | Version::V15 => {
                    put(out, Mod14 { number, pad: [0; 4], hw_addr, pad2: [0; 2], config, mask });
                    if self.advertise != 0 {
                        put_property(out, ETHERNET, |out| put(out, advertise));
                    }
                }
            }
            Ok(())
        })
    }
}
