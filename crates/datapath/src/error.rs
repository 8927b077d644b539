//! What can go wrong between the bridge and the kernel.

use crate::TunnelProtocol;
use footbridge_openflow::PortNo;
use nix::errno::Errno;
use std::net::Ipv4Addr;

/// Why a datapath could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call on a device failed.
    #[error("cannot {attempt} device {ifname}: {}", explain(*.errno))]
    Device {
        /// What was attempted.
        attempt: &'static str,
        /// On which device.
        ifname: String,
        /// What the kernel said.
        errno: Errno,
    },
    /// A tunnel's socket could not be had.
    #[error("cannot receive {} on {local}:{udp_port}: {}", .protocol.name(), explain(*.errno))]
    Tunnel {
        /// The encapsulation.
        protocol: TunnelProtocol,
        /// The address to receive on; 0.0.0.0 for all.
        local: Ipv4Addr,
        /// The UDP port to receive on.
        udp_port: u16,
        /// What the kernel said.
        errno: Errno,
    },
    /// The number is taken.
    #[error("port number {} is taken by {name}", number.0)]
    PortTaken {
        /// The number.
        number: PortNo,
        /// Who has it.
        name: String,
    },
    /// The number is none that a port can have.
    #[error("{} is no port number: ports are numbered 1 to {}", number.0, PortNo::MAX.0)]
    PortNumber {
        /// The number.
        number: PortNo,
    },
    /// There is no such port.
    #[error("there is no port number {}", number.0)]
    NoSuchPort {
        /// The number.
        number: PortNo,
    },
    /// The datapath's thread could not be started.
    #[error("cannot start the datapath: {0}")]
    Start(#[source] std::io::Error),
    /// What only the eBPF datapath can say.
    #[error(transparent)]
    Ebpf(#[from] crate::ebpf::EbpfError),
    /// The datapath's thread has ended.
    #[error("the datapath has stopped: restart the bridge")]
    Stopped,
}

impl Error {
    pub(crate) fn device(attempt: &'static str, ifname: &str, errno: Errno) -> Error {
        Error::Device { attempt, ifname: ifname.to_owned(), errno }
    }
}

/// The error in words, with what to do about it where that is known.
fn explain(errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM | Errno::EACCES => "not permitted (run as root, or with CAP_NET_RAW and CAP_NET_ADMIN)",
        Errno::EADDRINUSE => {
            "the UDP port is in use, perhaps by a tunnel device of the kernel (see ip -d link)"
        }
        Errno::EEXIST => {
            "a device of that name, or another tunnel of that UDP port, is there (see ip -d link)"
        }
        Errno::EOPNOTSUPP => "this kernel has no such devices",
        Errno::EADDRNOTAVAIL => "no device has that address",
        Errno::ENODEV | Errno::ENXIO => "there is no such device",
        other => other.desc(),
    }
}
