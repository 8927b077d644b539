//! The bridge that gets the node's flows and ports: our own, or a real Open vSwitch.
//!
//! # Contract
//!
//! [`NodeBridge`] makes a bridge as it is wanted, by the difference to what it is: each call may be
//! repeated at any time, and one that finds everything in place changes nothing. Flows change in one
//! bundle, of which a packet sees all or nothing.
//!
//! The flows are the same on both, and so are the ports' numbers. Names are not quite: a port of Open
//! vSwitch has its device's name, so there the gateway's device is the port's own ([`ovs`]).

mod flows;
pub mod ovs;
mod own;

use crate::config::TunnelType;
use crate::host::{Actual, Wiring};
use footbridge_openflow::{Flow, PortNames, PortNo};
use footbridge_switch::{Bridge, BundleError};
use ovs::{OpenVswitch, OvsError};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// The bridge.
pub enum NodeBridge {
    /// In this process.
    Own(Arc<Bridge>),
    /// An Open vSwitch's.
    OpenVswitch(Box<OpenVswitch>),
}

/// A port as the node wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedPort {
    /// Its number.
    pub number: PortNo,
    /// Its OpenFlow name.
    pub name: String,
    /// What it is for.
    pub role: Role,
}

/// What a port is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Tunnels to all peers, VNI 0.
    Tunnel {
        /// The encapsulation.
        kind: TunnelType,
        /// The UDP port that they go to.
        udp_port: u16,
        /// The address to send from and receive on; None for any.
        local: Option<Ipv4Addr>,
    },
    /// The host's own port.
    Gateway {
        /// The MTU of its device.
        mtu: u32,
    },
    /// A pod's; its device has the port's name.
    Pod,
}

/// The bridge is not as it is wanted.
#[derive(Debug, thiserror::Error)]
pub enum BridgeError {
    /// Ours took no flows.
    #[error("the bridge refused the flows: {0}")]
    Flows(#[from] BundleError),
    /// Ours took no port.
    #[error("the bridge refused port {name}: {source}")]
    Port {
        /// The port.
        name: String,
        /// Why.
        source: footbridge_datapath::Error,
    },
    /// Open vSwitch.
    #[error(transparent)]
    OpenVswitch(#[from] OvsError),
}

impl NodeBridge {
    /// Make of the bridge what the host's devices depend on: how it is wired to them.
    ///
    /// # Errors
    /// The bridge does not answer or can't make the gateway's device.
    pub async fn prepare(&mut self, gateway: &str) -> Result<Wiring, BridgeError> {
        match self {
            NodeBridge::Own(_) => Ok(Wiring::OWN),
            NodeBridge::OpenVswitch(ovs) => Ok(ovs.prepare(gateway).await?),
        }
    }

    /// Let exactly these flows stand; how many changes that took.
    ///
    /// # Errors
    /// The bridge refuses one or does not answer; then none was made, as far as is known.
    pub async fn program(&mut self, flows: &[Flow]) -> Result<usize, BridgeError> {
        match self {
            NodeBridge::Own(bridge) => Ok(own::program(bridge, flows)?),
            NodeBridge::OpenVswitch(ovs) => Ok(ovs.program(flows).await?),
        }
    }

    /// Let these ports stand, of ours no others. Those of devices that aren't there wait for them.
    ///
    /// # Errors
    /// The first port that can't be had; it keeps no other from its place.
    pub async fn attach(
        &mut self,
        wanted: &BTreeMap<PortNo, WantedPort>,
        host: &Actual,
    ) -> Result<(), BridgeError> {
        match self {
            NodeBridge::Own(bridge) => own::attach(bridge, wanted, host),
            NodeBridge::OpenVswitch(ovs) => Ok(ovs.attach(wanted, host).await?),
        }
    }

    /// Which of these flows, and of this port, the bridge has not; each in words.
    ///
    /// # Errors
    /// The bridge does not answer.
    pub async fn lacking(
        &mut self,
        flows: &[Flow],
        port: PortNo,
        name: &str,
    ) -> Result<Vec<String>, BridgeError> {
        let (flows, has_port) = match self {
            NodeBridge::Own(bridge) => own::lacking(bridge, flows, port, name)?,
            NodeBridge::OpenVswitch(ovs) => ovs.lacking(flows, port, name).await?,
        };
        let port = (!has_port).then(|| format!("port {name} with number {}", port.0));
        let names = PortNames::none();
        let flows = flows.iter().map(|flow| format!("flow {}", flow.display(&names)));
        Ok(flows.chain(port).collect())
    }

    /// Whether frames have to leave a pod as they go on a wire, for the bridge does not finish them.
    pub fn needs_plain_frames(&self, wiring: Wiring) -> bool {
        match self {
            NodeBridge::Own(bridge) => !bridge.outlives_its_process(),
            NodeBridge::OpenVswitch(_) => wiring.guards,
        }
    }

    /// Read again what says nothing when it changes.
    pub fn distrust(&mut self) {
        match self {
            NodeBridge::Own(_) => {}
            NodeBridge::OpenVswitch(ovs) => ovs.distrust(),
        }
    }

    /// Returns when the bridge has lost what it was told. May be dropped at any time.
    pub async fn lost(&mut self) {
        match self {
            NodeBridge::Own(_) => std::future::pending().await,
            NodeBridge::OpenVswitch(ovs) => ovs.lost().await,
        }
    }
}
