//! Which datapath a bridge runs on.

use crate::ebpf::load::LoadError;
use crate::ebpf::{Ebpf, EbpfError, pins};
use crate::userspace::Userspace;
use crate::{Datapath, Error};
use nix::errno::Errno;
use std::path::Path;

/// A datapath, as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatapathChoice {
    /// As `Userspace`, as long as the other one lacks some of what OpenFlow clients may ask for.
    Auto,
    /// In the kernel.
    Ebpf,
    /// In this process.
    Userspace,
}

impl DatapathChoice {
    /// Start it, in the calling thread's network namespace, and say in one line which it is, and why not the other.
    /// What the one in the kernel leaves there is pinned in `pins`; before the one in this process starts, that is
    /// taken away, since packets would go through both.
    ///
    /// # Errors
    ///
    /// When the kernel does not take it.
    pub fn start(self, pins: &Path) -> Result<Box<dyn Datapath>, Error> {
        let (datapath, why): (Box<dyn Datapath>, _) = match self {
            DatapathChoice::Ebpf => (Box::new(Ebpf::start_pinned(pins)?), "it was asked for"),
            DatapathChoice::Userspace => (userspace(pins)?, "it was asked for"),
            DatapathChoice::Auto => {
                (userspace(pins)?, "the ebpf datapath lacks some of what OpenFlow clients may ask for")
            }
        };
        tracing::info!(datapath = datapath.kind(), why, "datapath started");
        Ok(datapath)
    }
}

fn userspace(pins: &Path) -> Result<Box<dyn Datapath>, Error> {
    match pins::detach(pins) {
        // Who may not look there can't take anything away either.
        Err(LoadError::Pin { errno: Errno::EACCES | Errno::EPERM, path }) => {
            tracing::warn!(pins = %path.display(), "whether an ebpf datapath is left there can't be seen");
        }
        other => other.map_err(EbpfError::from)?,
    }
    Ok(Box::new(Userspace::start()?))
}
