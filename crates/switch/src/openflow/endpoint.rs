//! Where OpenFlow is spoken: an address to listen on or to dial, as Open vSwitch writes it.

use core::fmt;
use core::str::FromStr;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// The port that IANA gave OpenFlow.
pub const DEFAULT_PORT: u16 = 6653;

/// An address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `tcp:ADDRESS[:PORT]`
    Tcp(SocketAddr),
    /// `unix:PATH`
    Unix(PathBuf),
}

/// Text that is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no OpenFlow endpoint: tcp:ADDRESS[:PORT] (an IPv6 address in brackets) or unix:PATH")]
pub struct EndpointError {
    /// The text.
    pub text: String,
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Endpoint, EndpointError> {
        let wrong = || EndpointError { text: text.to_owned() };
        match text.split_once(':') {
            Some(("unix", path)) if !path.is_empty() => Ok(Endpoint::Unix(path.into())),
            Some(("tcp", address)) => {
                let host = address.trim_start_matches('[').trim_end_matches(']');
                let port_given = address.parse().ok();
                let default_port = || Some(SocketAddr::new(host.parse::<IpAddr>().ok()?, DEFAULT_PORT));
                port_given.or_else(default_port).map(Endpoint::Tcp).ok_or_else(wrong)
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(address) => write!(f, "tcp:{address}"),
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for text in ["tcp:127.0.0.1:6633", "tcp:[::1]:6653", "unix:/run/br0.mgmt"] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
        assert_eq!("tcp:127.0.0.1".parse::<Endpoint>().unwrap().to_string(), "tcp:127.0.0.1:6653");
        assert_eq!("tcp:[::1]".parse::<Endpoint>().unwrap().to_string(), "tcp:[::1]:6653");
    }

    #[test]
    fn names_what_is_no_endpoint() {
        for text in
            ["", "tcp:", "unix:", "127.0.0.1:6653", "tcp:nowhere:1", "tcp:1.2.3.4:99999", "ssl:1.2.3.4"]
        {
            assert_eq!(text.parse::<Endpoint>(), Err(EndpointError { text: text.to_owned() }));
        }
    }
}
