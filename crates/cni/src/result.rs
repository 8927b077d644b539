//! What an ADD results in: specification section 5, "Add Success", in the schema of each version.

use crate::{Code, Error, Version};
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::net::IpAddr;

/// What an ADD made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AddResult {
    /// Devices, the container's and the host's.
    #[serde(default)]
    pub interfaces: Vec<Interface>,
    /// Addresses.
    #[serde(default)]
    pub ips: Vec<IpConfig>,
    /// Routes in the container.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Name service.
    #[serde(default)]
    pub dns: Dns,
}

/// A device.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its hardware address; empty where it has none.
    #[serde(default)]
    pub mac: String,
    /// Its MTU; said from 1.1.0 on.
    #[serde(default)]
    pub mtu: Option<u32>,
    /// The network namespace's path; empty for a device of the host.
    #[serde(default)]
    pub sandbox: String,
    /// A socket that stands for a device; from 1.1.0 on.
    #[serde(default, rename = "socketPath")]
    pub socket_path: Option<String>,
    /// Which PCI device; from 1.1.0 on.
    #[serde(default, rename = "pciID")]
    pub pci_id: Option<String>,
}

/// An address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpConfig {
    /// It, and its subnet's length.
    pub address: Cidr,
    /// The subnet's gateway.
    #[serde(default)]
    pub gateway: Option<IpAddr>,
    /// Which of the result's interfaces has it.
    #[serde(default)]
    pub interface: Option<usize>,
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Where to.
    pub dst: Cidr,
    /// The next hop; without, the address' gateway.
    #[serde(default)]
    pub gw: Option<IpAddr>,
    /// What else is said of it, as it was said; from 1.1.0 on.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// Name service, as the configuration says it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Dns {
    /// Servers' addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nameservers: Vec<String>,
    /// The local domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Where short names are looked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<String>,
    /// The resolver's options.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
}

/// An address and the length of its subnet: `10.222.1.7/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Cidr {
    /// The address, host bits and all.
    pub address: IpAddr,
    /// Prefix length.
    pub prefix: u8,
}

/// A text is no address with a prefix length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no address with a prefix length")]
pub struct CidrError(String);

/// The keys of a route that version 1.1.0 brought.
const ROUTE_KEYS: [&str; 5] = ["mtu", "advmss", "priority", "table", "scope"];

impl AddResult {
    /// Read one, of any version.
    ///
    /// # Errors
    /// Code 6: it has another shape.
    pub fn parse(value: &Value) -> Result<AddResult, Error> {
        AddResult::deserialize(value).map_err(|error| {
            Error::new(Code::Decode, "the result is not as the specification says").with_details(error)
        })
    }

    /// As the runtime reads it.
    pub fn print(&self, version: Version) -> Value {
        json!({
            "cniVersion": version.text(),
            "interfaces": self.interfaces.iter().map(|i| i.print(version)).collect::<Vec<_>>(),
            "ips": self.ips.iter().map(|ip| ip.print(version)).collect::<Vec<_>>(),
            "routes": self.routes.iter().map(|route| route.print(version)).collect::<Vec<_>>(),
            "dns": self.dns,
        })
    }

    /// This result behind another plugin's.
    #[must_use]
    pub fn after(self, before: AddResult) -> AddResult {
        let shift = before.interfaces.len();
        let mut all = before;
        all.interfaces.extend(self.interfaces);
        let ips = self.ips.into_iter();
        all.ips.extend(ips.map(|ip| IpConfig { interface: ip.interface.map(|i| i + shift), ..ip }));
        all.routes.extend(self.routes);
        if all.dns == Dns::default() {
            all.dns = self.dns;
        }
        all
    }
}

impl Interface {
    fn print(&self, version: Version) -> Value {
        let mut printed = json!({"name": self.name});
        if !self.mac.is_empty() {
            printed["mac"] = json!(self.mac);
        }
        if !self.sandbox.is_empty() {
            printed["sandbox"] = json!(self.sandbox);
        }
        if version >= Version::V1_1_0 {
            let new = [
                ("mtu", self.mtu.map(Value::from)),
                ("socketPath", self.socket_path.clone().map(Value::from)),
                ("pciID", self.pci_id.clone().map(Value::from)),
            ];
            for (key, value) in new {
                if let Some(value) = value {
                    printed[key] = value;
                }
            }
        }
        printed
    }
}

impl IpConfig {
    fn print(&self, version: Version) -> Value {
        let mut printed = json!({"address": self.address});
        if version < Version::V1_0_0 {
            printed["version"] = json!(if self.address.address.is_ipv4() { "4" } else { "6" });
        }
        if let Some(gateway) = self.gateway {
            printed["gateway"] = json!(gateway);
        }
        if let Some(interface) = self.interface {
            printed["interface"] = json!(interface);
        }
        printed
    }
}

impl Route {
    fn print(&self, version: Version) -> Value {
        let mut printed = json!({"dst": self.dst});
        if let Some(gw) = self.gw {
            printed["gw"] = json!(gw);
        }
        if version >= Version::V1_1_0 {
            for (key, value) in self.more.iter().filter(|(key, _)| ROUTE_KEYS.contains(&key.as_str())) {
                printed[key] = value.clone();
            }
        }
        printed
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Cidr, CidrError> {
        let parts = || {
            let (address, prefix) = text.split_once('/')?;
            let (address, prefix): (IpAddr, u8) = (address.parse().ok()?, prefix.parse().ok()?);
            let longest = if address.is_ipv4() { 32 } else { 128 };
            (prefix <= longest).then_some(Cidr { address, prefix })
        };
        parts().ok_or_else(|| CidrError(text.to_owned()))
    }
}

impl TryFrom<String> for Cidr {
    type Error = CidrError;

    fn try_from(text: String) -> Result<Cidr, CidrError> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> String {
        cidr.to_string()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result() -> AddResult {
        AddResult::parse(&json!({
            "interfaces": [
                {"name": "web-1a2b3c", "mac": "5a:00:00:00:00:01"},
                {"name": "eth0", "mac": "02:00:00:00:00:02", "mtu": 1450, "sandbox": "/run/netns/a"},
            ],
            "ips": [{"address": "10.222.1.7/24", "gateway": "10.222.1.1", "interface": 1}],
            "routes": [{"dst": "0.0.0.0/0", "gw": "10.222.1.1", "mtu": 1400, "other": 1}],
            "dns": {"nameservers": ["10.96.0.10"]},
        }))
        .unwrap()
    }

    #[test]
    fn each_version_has_its_own_schema() {
        let old = result().print(Version::V0_4_0);
        assert_eq!(old["cniVersion"], "0.4.0");
        let address =
            json!({"version": "4", "address": "10.222.1.7/24", "gateway": "10.222.1.1", "interface": 1});
        assert_eq!(old["ips"][0], address);
        let eth0 = json!({"name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": "/run/netns/a"});
        assert_eq!(old["interfaces"][1], eth0);
        assert_eq!(old["routes"][0], json!({"dst": "0.0.0.0/0", "gw": "10.222.1.1"}));
        let new = result().print(Version::V1_1_0);
        assert_eq!(new["ips"][0].get("version"), None);
        assert_eq!(new["interfaces"][1]["mtu"], 1450);
        assert_eq!(new["routes"][0], json!({"dst": "0.0.0.0/0", "gw": "10.222.1.1", "mtu": 1400}));
    }

    #[test]
    fn what_is_printed_reads_back() {
        for version in Version::ALL {
            let again = AddResult::parse(&result().print(*version)).unwrap();
            assert_eq!(again.print(*version), result().print(*version), "{version}");
        }
    }

    #[test]
    fn a_chained_result_keeps_the_one_before_and_counts_on() {
        let both = result().after(result());
        assert_eq!(both.interfaces.len(), 4);
        assert_eq!(both.ips.iter().map(|ip| ip.interface).collect::<Vec<_>>(), [Some(1), Some(3)]);
    }

    #[test]
    fn addresses_without_a_right_prefix_are_refused() {
        for text in ["10.0.0.1", "10.0.0.1/33", "fd00::1/129", "10.0.0/8", "/8", ""] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
        assert_eq!("fd00::1/64".parse::<Cidr>().unwrap().to_string(), "fd00::1/64");
    }
}
