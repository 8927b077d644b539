//! A program's hold on a device: a tcx link, or below Linux 6.6 a filter of the device's clsact qdisc.
//!
//! A link goes with its descriptor, unless it is pinned. A filter stays on the device by itself; so that a later
//! process, or none, knows whose it is, its program is pinned under the port's name and the device's index.

use super::load::{Link, Program, program_id};
use crate::netlink::{MAKE, Netlink};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::tc::{
    TcAttribute, TcBpfFlags, TcFilterBpf, TcFilterBpfOption, TcHandle, TcHeader, TcMessage, TcOption,
};
use nix::errno::Errno;
use std::path::Path;
use std::sync::OnceLock;

/// Set, there are no tcx links: for tests of the filters on a kernel that has both.
const NO_TCX: &str = "FOOTBRIDGE_NO_TCX";

/// A program's hold on a device.
#[derive(Debug)]
pub(super) enum Hold {
    Link(Link),
    Filter(Filter),
}

/// A filter on a device. Dropped, it goes, unless it was kept.
#[derive(Debug)]
pub(super) struct Filter {
    ifindex: u32,
    kept: bool,
}

impl Hold {
    /// Have the program run on what the device receives.
    pub(super) fn attach(program: &Program, ifindex: u32) -> Result<Hold, Errno> {
        static NO_LINKS: OnceLock<bool> = OnceLock::new();
        if !*NO_LINKS.get_or_init(|| std::env::var_os(NO_TCX).is_some()) {
            match program.attach(ifindex) {
                Ok(link) => return Ok(Hold::Link(link)),
                // What kernels without tcx say.
                Err(Errno::EINVAL | Errno::EOPNOTSUPP) => {}
                Err(errno) => return Err(errno),
            }
        }
        Filter::put(program, ifindex)?;
        Ok(Hold::Filter(Filter { ifindex, kept: false }))
    }

    /// What [`Hold::pin`] pinned there; `filter` is the device of a filter.
    pub(super) fn pinned(path: &Path, filter: Option<u32>) -> Result<Hold, Errno> {
        let Some(ifindex) = filter else { return Link::pinned(path).map(Hold::Link) };
        // The index may be another device's by now.
        if Filter::program(ifindex)? == Some(program_id(path)?) {
            Ok(Hold::Filter(Filter { ifindex, kept: true }))
        } else {
            Err(Errno::ENODEV)
        }
    }

    /// Have it outlive this process.
    pub(super) fn pin(&mut self, program: &Program, path: &Path) -> Result<(), Errno> {
        match self {
            Hold::Link(link) => link.pin(path),
            Hold::Filter(filter) => {
                program.pin(path)?;
                filter.kept = true;
                Ok(())
            }
        }
    }

    /// The index of its device, 0 where that is gone.
    pub(super) fn device(&self) -> Result<u32, Errno> {
        match self {
            Hold::Link(link) => link.device(),
            Hold::Filter(filter) => Ok(filter.ifindex),
        }
    }

    /// The index of its device, of a filter.
    pub(super) fn filter(&self) -> Option<u32> {
        match self {
            Hold::Link(_) => None,
            Hold::Filter(filter) => Some(filter.ifindex),
        }
    }

    /// Have this program run in place of the one before, which was pinned at `path`.
    pub(super) fn update(&mut self, program: &Program, path: &Path) -> Result<(), Errno> {
        match self {
            Hold::Link(link) => link.update(program),
            Hold::Filter(filter) => {
                Filter::put(program, filter.ifindex)?;
                super::pins::remove(path);
                program.pin(path)
            }
        }
    }

    /// Let go of the device, pinned or not; its name has to be taken away besides.
    pub(super) fn release(self) {
        if let Hold::Filter(mut filter) = self {
            filter.kept = false;
        }
    }
}

/// The filter's place among those of the device: before all others.
const PRIORITY: u32 = 1;
const HANDLE: u32 = 1;
/// ETH_P_ALL, in network byte order.
const ALL_PROTOCOLS: u16 = 3u16.to_be();

impl Filter {
    /// Put the program in place of the one that is there, if any, from one packet to the next.
    fn put(program: &Program, ifindex: u32) -> Result<(), Errno> {
        let mut netlink = Netlink::open()?;
        let mut qdisc = TcMessage::with_index(index(ifindex)?);
        qdisc.header.parent = TcHandle::CLSACT;
        qdisc.header.handle = TcHandle { major: TcHandle::CLSACT.major, minor: 0 };
        qdisc.attributes.push(TcAttribute::Kind("clsact".to_owned()));
        match netlink.change(RouteNetlinkMessage::NewQueueDiscipline(qdisc), MAKE) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
        let options = [
            TcFilterBpfOption::ProgFd(program.fd().cast_unsigned()),
            TcFilterBpfOption::ProgName("footbridge".to_owned()),
            TcFilterBpfOption::Flags(TcBpfFlags::DirectAction),
        ];
        let mut filter = filter(ifindex)?;
        filter.attributes.push(TcAttribute::Options(options.into_iter().map(TcOption::Bpf).collect()));
        netlink.change(RouteNetlinkMessage::NewTrafficFilter(filter), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// The number of the program of the filter there.
    fn program(ifindex: u32) -> Result<Option<u32>, Errno> {
        let found = Netlink::open()?.get(RouteNetlinkMessage::GetTrafficFilter(filter(ifindex)?));
        let Ok(Some(RouteNetlinkMessage::NewTrafficFilter(filter))) = found else { return Ok(None) };
        let options = filter.attributes.into_iter().filter_map(|attribute| match attribute {
            TcAttribute::Options(options) => Some(options),
            _ => None,
        });
        Ok(options.flatten().find_map(|option| match option {
            TcOption::Bpf(TcFilterBpfOption::ProgId(id)) => Some(id),
            _ => None,
        }))
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let gone = filter(self.ifindex)
            .and_then(|filter| Netlink::open()?.change(RouteNetlinkMessage::DelTrafficFilter(filter), 0));
        match gone {
            // With its device, or by somebody's hand.
            Ok(()) | Err(Errno::ENODEV | Errno::ENOENT | Errno::EINVAL) => {}
            Err(errno) => tracing::warn!(ifindex = self.ifindex, %errno, "a device's filter stays"),
        }
    }
}

/// Our filter on a device.
fn filter(ifindex: u32) -> Result<TcMessage, Errno> {
    let header = TcHeader {
        index: index(ifindex)?,
        handle: HANDLE.into(),
        parent: TcHandle { major: TcHandle::CLSACT.major, minor: TcHandle::MIN_INGRESS },
        info: PRIORITY << 16 | u32::from(ALL_PROTOCOLS),
        ..TcHeader::default()
    };
    Ok(TcMessage::from_parts(header, vec![TcAttribute::Kind(TcFilterBpf::KIND.to_owned())]))
}

fn index(ifindex: u32) -> Result<i32, Errno> {
    i32::try_from(ifindex).map_err(|_| Errno::ENODEV)
}
