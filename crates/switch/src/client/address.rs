//! Where a bridge listens.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// The port of OpenFlow (IANA).
const TCP_PORT: u16 = 6653;

/// Where a bridge listens for OpenFlow, written as Open vSwitch's tools write it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `unix:PATH`
    Unix(PathBuf),
    /// `tcp:ADDRESS:PORT`; the port is 6653 where none is given.
    Tcp(SocketAddr),
}

/// The text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no OpenFlow address: it is unix:PATH or tcp:ADDRESS:PORT")]
pub struct AddressError(pub String);

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Address, AddressError> {
        let wrong = || AddressError(text.to_owned());
        match text.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Ok(Address::Unix(PathBuf::from(path))),
            Some(("tcp", at)) => at
                .parse()
                .or_else(|_| at.parse::<IpAddr>().map(|address| SocketAddr::new(address, TCP_PORT)))
                .map(Address::Tcp)
                .map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
            Address::Tcp(at) => write!(f, "tcp:{at}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_prints_and_knows_openflows_port() {
        for text in ["unix:/var/run/openvswitch/br-int.mgmt", "tcp:10.0.0.1:6633", "tcp:[::1]:6653"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("tcp:10.0.0.1".parse::<Address>().unwrap().to_string(), "tcp:10.0.0.1:6653");
    }

    #[test]
    fn refuses_what_is_no_address() {
        for text in ["", "br-int", "unix:", "tcp:", "tcp:name:6653", "ssl:10.0.0.1:6653", "/a.mgmt"] {
            assert_eq!(text.parse::<Address>(), Err(AddressError(text.to_owned())), "{text}");
        }
    }
}
