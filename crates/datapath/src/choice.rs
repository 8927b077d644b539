//! Which datapath a bridge runs on.

use crate::ebpf::Ebpf;
use crate::userspace::Userspace;
use crate::{Datapath, Error};
use std::path::Path;

/// A datapath, as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatapathChoice {
    /// The best that this program and kernel have.
    Auto,
    /// In the kernel.
    Ebpf,
    /// In this process.
    Userspace,
}

impl DatapathChoice {
    /// Start it, in the calling thread's network namespace, and say in one line which it is, and why not the other.
    /// What the one in the kernel leaves there is pinned in `pins`. `Auto` is `Userspace` until the other
    /// one carries a node's pipeline.
    ///
    /// # Errors
    ///
    /// When the kernel does not take it.
    pub fn start(self, pins: &Path) -> Result<Box<dyn Datapath>, Error> {
        let (datapath, why): (Box<dyn Datapath>, _) = match self {
            DatapathChoice::Ebpf => (Box::new(Ebpf::start_pinned(pins)?), "it was asked for"),
            DatapathChoice::Userspace => (Box::new(Userspace::start()?), "it was asked for"),
            DatapathChoice::Auto => {
                (Box::new(Userspace::start()?), "the ebpf datapath does not carry a node's pipeline yet")
            }
        };
        tracing::info!(datapath = datapath.kind(), why, "datapath started");
        Ok(datapath)
    }
}
