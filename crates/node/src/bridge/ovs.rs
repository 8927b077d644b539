//! An Open vSwitch as the node's bridge: flows over OpenFlow, ports through ovs-vsctl.
//!
//! # Contract
//!
//! * The bridge is Open vSwitch's own: whoever runs it makes it. It gets `fail_mode=secure`, so that it
//!   drops what it has no flows for, and Antrea's tunnel option as `tun_metadata0` before the flows.
//! * Its flows are all ours: any other is deleted. Its ports are not: only such as have our mark
//!   (`external_ids:footbridge`) are removed. A port of a wanted name is made as wanted, whoever added it.
//! * A pod's port is there while its device is. Open vSwitch in user space keeps reading a device that
//!   is gone when another has its name; so the device's number is kept with the port
//!   (`external_ids:footbridge-ifindex`), and a port of another device is made anew.
//! * The gateway's port is internal: Open vSwitch makes its device, of the port's name. While
//!   ovs-vswitchd is away the device has no carrier, and keeps its addresses and routes.
//! * At the agent's end everything stays, and Open vSwitch goes on forwarding.
//!
//! Works with both of its datapaths; in the kernel's there are no guards, which would cut it off
//! (see [`crate::host::Wiring`]).

mod database;
mod ports;

pub use database::DatabaseError;

use super::{WantedPort, flows};
use crate::host::{Actual, GatewayKind, Wiring};
use database::{Database, Snapshot};
use footbridge_openflow::wire::TlvMapping;
use footbridge_openflow::{Flow, PortNo};
use footbridge_switch::client::{Address, Client, ClientError, Failure, PATIENCE};
use footbridge_switch::{FlowFilter, FlowMod};
use ports::Make;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Antrea's tunnel option, as our own bridges have it from the start.
const TUNNEL_OPTION: TlvMapping =
    TlvMapping { option_class: 0x0104, option_type: 0x80, option_len: 4, index: 0 };

/// Where a bridge of Open vSwitch is: `unix:DIRECTORY/BRIDGE.mgmt`, beside the database's `db.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OvsAddress {
    directory: PathBuf,
    bridge: String,
}

/// The text is no bridge's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no bridge of Open vSwitch: that is unix:/DIRECTORY/BRIDGE.mgmt")]
pub struct OvsAddressError(String);

impl OvsAddress {
    /// The bridge of that name of the Open vSwitch whose sockets are in `directory`, an absolute path.
    pub fn new(directory: &Path, bridge: &str) -> OvsAddress {
        OvsAddress { directory: directory.to_owned(), bridge: bridge.to_owned() }
    }

    /// Where it speaks OpenFlow.
    pub fn openflow(&self) -> Address {
        Address::Unix(self.directory.join(format!("{}.mgmt", self.bridge)))
    }

    /// The bridge's name.
    pub fn bridge(&self) -> &str {
        &self.bridge
    }
}

impl FromStr for OvsAddress {
    type Err = OvsAddressError;

    fn from_str(text: &str) -> Result<OvsAddress, OvsAddressError> {
        let parts = || {
            let path = PathBuf::from(text.strip_prefix("unix:")?);
            let bridge = path.file_name()?.to_str()?.strip_suffix(".mgmt")?.to_owned();
            let directory = path.parent().filter(|directory| directory.is_absolute())?.to_owned();
            (!bridge.is_empty()).then_some(OvsAddress { directory, bridge })
        };
        parts().ok_or_else(|| OvsAddressError(text.to_owned()))
    }
}

impl fmt::Display for OvsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.openflow().fmt(f)
    }
}

/// Open vSwitch could not be had as it is wanted.
#[derive(Debug, thiserror::Error)]
pub enum OvsError {
    /// Over OpenFlow.
    #[error(transparent)]
    OpenFlow(#[from] ClientError),
    /// Over ovs-vsctl.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A port that it was told of and can't make.
    #[error("Open vSwitch can't have port {name}: {why}")]
    Port {
        /// The port.
        name: String,
        /// Its words.
        why: String,
    },
    /// Another port has the number.
    #[error("port {name} can't have number {}: {holder}", .number.0)]
    Number {
        /// The port.
        name: String,
        /// The number.
        number: PortNo,
        /// Who has it.
        holder: String,
    },
}

/// One bridge of an Open vSwitch.
pub struct OpenVswitch {
    address: OvsAddress,
    database: Database,
    client: Option<Client>,
    /// The ports as they were last read, until we change them or [`OpenVswitch::distrust`].
    seen: Option<Snapshot>,
}

impl OpenVswitch {
    /// The bridge at `address`; whether it is there shows when it is asked.
    pub fn at(address: OvsAddress) -> OpenVswitch {
        let database = Database::of(&address.directory, &address.bridge);
        OpenVswitch { address, database, client: None, seen: None }
    }

    pub(super) async fn prepare(&mut self, gateway: &str) -> Result<Wiring, OvsError> {
        // While ovs-vswitchd is away, nothing that its database is told takes effect.
        self.connected().await?;
        let mut snapshot = self.read().await?;
        let bridge = self.address.bridge.as_str();
        let known = snapshot.ports.contains_key(gateway);
        let device = nix::net::if_::if_nametoindex(gateway).is_ok();
        let mut commands = Vec::new();
        if snapshot.fail_mode.as_deref() != Some("secure") {
            commands.push(ports::fail_secure(bridge));
        }
        if known && !device {
            tracing::warn!(port = gateway, "the gateway's device is gone: its port is made anew");
            // In a transaction of its own: a port that is there again in the end is left as it is.
            self.database.change(&[ports::remove(bridge, gateway)]).await?;
        }
        if !known || !device {
            commands.extend(ports::make_gateway(bridge, gateway));
        }
        if !commands.is_empty() {
            self.database.change(&commands).await?;
            snapshot = self.database.read().await?;
        }
        let port = snapshot.ports.get(gateway);
        let made = match port.and_then(|port| port.error.clone()) {
            None => port.is_some_and(|port| port.kind == ports::INTERNAL),
            // A device of another kind is in the way: what becomes of it is for the host's part to say.
            Some(_) if !known && device => {
                self.database.change(&[ports::remove(bridge, gateway)]).await?;
                snapshot.ports.remove(gateway);
                false
            }
            Some(why) => return Err(OvsError::Port { name: gateway.to_owned(), why }),
        };
        let guards = !snapshot.in_kernel();
        self.seen = Some(snapshot);
        Ok(Wiring { gateway: GatewayKind::BridgePort { made }, guards })
    }

    pub(super) async fn program(&mut self, wanted: &[Flow]) -> Result<usize, OvsError> {
        let outcome = program(self.connected().await?, wanted).await;
        if outcome.as_ref().is_err_and(|error| error.why.ends_connection()) {
            self.client = None;
        }
        Ok(outcome?)
    }

    pub(super) async fn lacking(
        &mut self,
        wanted: &[Flow],
        number: PortNo,
        name: &str,
    ) -> Result<(Vec<Flow>, bool), OvsError> {
        let client = self.connected().await?;
        let wanted = wanted.iter().map(|flow| client.given_back(flow)).collect::<Result<Vec<Flow>, _>>()?;
        let present = client.flows(&FlowFilter::default()).await?;
        let flows = flows::missing(&wanted, present.iter().map(|entry| &entry.flow));
        let ports = self.database.read().await?.ports;
        Ok((flows, ports.get(name).is_some_and(|port| port.number == Some(i64::from(number.0)))))
    }

    async fn connected(&mut self) -> Result<&mut Client, OvsError> {
        if let Some(client) = self.client.take() {
            return Ok(self.client.insert(client));
        }
        let mut client = Client::connect(&self.address.openflow(), PATIENCE).await?;
        client.map_tunnel_option(TUNNEL_OPTION).await?;
        tracing::info!(bridge = %self.address, version = %client.version(), "connected");
        Ok(self.client.insert(client))
    }

    pub(super) async fn attach(
        &mut self,
        wanted: &BTreeMap<PortNo, WantedPort>,
        host: &Actual,
    ) -> Result<(), OvsError> {
        let mut snapshot = self.read().await?;
        let changes = ports::diff(&self.address.bridge, wanted.values(), &snapshot, &host.links);
        // What is made anew has to be gone first.
        if !changes.remove.is_empty() {
            self.database.change(&changes.remove).await?;
        }
        let made = self.make(&changes.make).await;
        if changes != ports::Changes::default() {
            snapshot = self.database.read().await?;
        }
        let outcome = made.and(ports::verify(wanted.values(), &snapshot, &host.links));
        self.seen = Some(snapshot);
        outcome
    }

    /// The ports as they were last read, or as they are now. Whoever changes none gives them back.
    async fn read(&mut self) -> Result<Snapshot, DatabaseError> {
        match self.seen.take() {
            Some(snapshot) => Ok(snapshot),
            None => self.database.read().await,
        }
    }

    /// Read the ports again before they are next compared: somebody may have changed them.
    pub(super) fn distrust(&mut self) {
        self.seen = None;
    }

    /// All at once; where one of them can't be had, each by itself, so that it keeps no other from its
    /// place.
    async fn make(&self, ports: &[Make]) -> Result<(), OvsError> {
        let said = |port: &Make| {
            if port.new {
                tracing::info!(port = port.name, "port added");
            }
        };
        if ports.is_empty() {
            return Ok(());
        }
        let together: Vec<_> = ports.iter().flat_map(|port| &port.commands).cloned().collect();
        match self.database.change(&together).await {
            Ok(()) => {
                ports.iter().for_each(said);
                Ok(())
            }
            Err(DatabaseError::Failed { .. }) => {
                let mut outcome = Ok(());
                for port in ports {
                    match self.database.change(&port.commands).await {
                        Ok(()) => said(port),
                        Err(error) => outcome = outcome.and(Err(error.into())),
                    }
                }
                outcome
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn lost(&mut self) {
        match &mut self.client {
            Some(client) => {
                tracing::warn!("{}", client.closed().await);
                (self.client, self.seen) = (None, None);
            }
            // The pass that finds it gone is repeated by itself.
            None => std::future::pending().await,
        }
    }
}

/// New flows stand when old ones go, in one bundle.
async fn program(client: &mut Client, wanted: &[Flow]) -> Result<usize, ClientError> {
    let wanted = wanted.iter().map(|flow| client.given_back(flow)).collect::<Result<Vec<Flow>, _>>()?;
    let changes = match client.flows(&FlowFilter::default()).await {
        Ok(present) => flows::diff(&wanted, present.iter().map(|entry| &entry.flow)),
        // There is a flow that we have no words for, so it is none of ours.
        Err(ClientError { why: why @ Failure::Unreadable(_), .. }) => {
            tracing::warn!("all flows are replaced, for one is not ours: {why}");
            let all = FlowMod::Delete(FlowFilter::default());
            std::iter::once(all).chain(wanted.into_iter().map(FlowMod::Add)).collect()
        }
        Err(error) => return Err(error),
    };
    client.bundle(&changes).await?;
    Ok(changes.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_the_bridge_and_where_its_database_is() {
        let address: OvsAddress = "unix:/var/run/openvswitch/br-int.mgmt".parse().unwrap();
        assert_eq!(address.bridge(), "br-int");
        assert_eq!(address.directory, PathBuf::from("/var/run/openvswitch"));
        assert_eq!(address.to_string(), "unix:/var/run/openvswitch/br-int.mgmt");
    }

    #[test]
    fn what_names_no_bridge_is_no_address() {
        for text in ["br-int", "unix:/run/br-int", "unix:/run/.mgmt", "unix:br-int.mgmt", "tcp:10.0.0.1:6653"]
        {
            assert_eq!(text.parse::<OvsAddress>(), Err(OvsAddressError(text.to_owned())));
        }
    }
}
