//! What outlives the process: names in a bpf file system for the ports' links and the maps that programs share.
//!
//! ```text
//!     DIR/programs-1          leads the root programs to the program in force, and so keeps that
//!     DIR/fdb-1, ports-1 …    what ports and programs share
//!     DIR/port-NUMBER-SLOT    the link that has the port's root program on its device; with the device's index
//!                             behind it, that program itself, which a filter has there (`attach`)
//! ```
//!
//! # Contract
//!
//! * A process that is killed leaves all of it, and packets go on. The next takes over what is as it would make it:
//!   a map by its name and shape, a link by its port and device.
//! * The number behind a map's name is that of its layout, which [`FORMAT`] and the map's row in `flows` say: a build
//!   with another layout makes a map of its own. The program of the process before goes on until the first flows are
//!   committed, with the maps and root programs that it was made with.
//! * One process at a time has the directory.

use super::attach::Hold;
use super::load::LoadError;
use super::tunnel;
use footbridge_openflow::PortNo;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the bpf file system is.
pub const BPF_FS: &str = "/sys/fs/bpf";
/// The directory of a bridge's pins: of these names, one within the other.
pub fn directory<'a>(names: impl IntoIterator<Item = &'a str>) -> PathBuf {
    // The file system keeps dots in names for itself.
    names.into_iter().fold(Path::new(BPF_FS).join("footbridge"), |dir, name| dir.join(name.replace('.', "_")))
}

/// How root programs and programs speak with each other; one more with each change of that.
pub(super) const FORMAT: u32 = 1;

/// A directory of pins.
pub(super) struct Pins {
    dir: PathBuf,
    format: u32,
    _lock: Flock<File>,
}

impl Pins {
    /// The directory, made with mode 0700 where it is not there.
    pub(super) fn open(dir: &Path, format: u32) -> Result<Pins, LoadError> {
        let failed = |errno| LoadError::Pin { path: dir.to_owned(), errno };
        let is_mounted = statfs(BPF_FS).map_err(failed)?.filesystem_type() == BPF_FS_MAGIC;
        if dir.starts_with(BPF_FS) && !is_mounted {
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            mount(Some("bpf"), BPF_FS, Some("bpf"), flags, Some("mode=0700")).map_err(failed)?;
        }
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|error| failed(errno(&error)))?;
        let file = File::open(dir).map_err(|error| failed(errno(&error)))?;
        let lock = lock(file).map_err(failed)?;
        Ok(Pins { dir: dir.to_owned(), format, _lock: lock })
    }

    /// Where a map is, of this version of its layout.
    pub(super) fn map(&self, name: &str, version: u32) -> PathBuf {
        self.dir.join(format!("{name}-{version}"))
    }

    /// Which root programs are ours.
    pub(super) fn format(&self) -> u32 {
        self.format
    }

    /// Where a port's hold is: a link, or a filter on this device.
    pub(super) fn hold(&self, port: PortNo, slot: u16, filter: Option<u32>) -> PathBuf {
        let device = filter.map_or(String::new(), |ifindex| format!("-{ifindex}"));
        self.dir.join(format!("port-{}-{slot}{device}", port.0))
    }

    /// The ports whose holds are there, their slots, and their devices where those are filters.
    pub(super) fn holds(&self) -> Vec<(PortNo, u16, Option<u32>)> {
        names(&self.dir).iter().filter_map(|name| port_of(name)).collect()
    }

    /// Take away all names, and the directory.
    pub(super) fn clear(&self) -> Result<(), LoadError> {
        clear(&self.dir)
    }

    /// Take away what leads other formats' root programs.
    pub(super) fn clear_other_formats(&self) {
        let current = format!("programs-{}", self.format);
        for name in names(&self.dir) {
            if name.starts_with("programs-") && name != current {
                remove(&self.dir.join(name));
            }
        }
    }
}

/// Take away all that is pinned there, and the directory: nothing is attached any more. No error where there is
/// nothing. Filters, of kernels without tcx, and the devices of tunnels it finds in their network namespace only.
///
/// # Errors
///
/// When a process has the directory (EWOULDBLOCK), or the kernel refuses.
pub fn detach(dir: &Path) -> Result<(), LoadError> {
    let failed = |errno| LoadError::Pin { path: dir.to_owned(), errno };
    let file = match File::open(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|error| failed(errno(&error)))?,
    };
    let lock = lock(file).map_err(failed)?;
    let cleared = clear(dir);
    drop(lock);
    cleared
}

/// How often a lock is tried before its holder is taken for alive. One that was killed while it started a program has left a
/// child, which holds the lock for as long as it takes to become that program.
const TRIES: u32 = 10;
const BETWEEN_TRIES: Duration = Duration::from_millis(100);

fn lock(mut file: File) -> Result<Flock<File>, Errno> {
    let mut tries = 1;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((back, Errno::EWOULDBLOCK)) if tries < TRIES => file = back,
            Err((_, errno)) => return Err(errno),
        }
        tries += 1;
        std::thread::sleep(BETWEEN_TRIES);
    }
}

/// What the name of a port's hold says.
fn port_of(name: &str) -> Option<(PortNo, u16, Option<u32>)> {
    let mut numbers = name.strip_prefix("port-")?.split('-');
    let (number, slot) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    let device = numbers.next().map(str::parse).transpose().ok()?;
    Some((PortNo(number), slot, device))
}

fn clear(dir: &Path) -> Result<(), LoadError> {
    for name in names(dir) {
        let path = dir.join(&name);
        let hold = port_of(&name).map(|(_, _, filter)| Hold::pinned(&path, filter));
        remove(&path);
        // A filter that isn't there any more has nothing to be let go.
        if let Some(Ok(hold)) = hold {
            let device = hold.device();
            hold.release();
            tunnel::remove_device(device);
        }
    }
    let failed = |error: io::Error| LoadError::Pin { path: dir.to_owned(), errno: errno(&error) };
    fs::remove_dir(dir).map_err(failed)
}

/// Take a name away.
pub(super) fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(%error, path = %path.display(), "can't be removed");
        }
        _ => {}
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
