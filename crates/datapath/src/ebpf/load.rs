//! Maps, programs and links of the kernel, typed.
//!
//! # Contract
//!
//! * Each value owns its descriptor: dropped, the object goes unless another object holds it (a program
//!   holds its maps).
//! * Keys and values have the sizes that the map was made with; others are EINVAL, not passed on.
//! * A program that the verifier refuses comes back as an error with the end of the verifier's log.

use super::asm::Code;
use super::pins::Pins;
use super::sys;
use nix::errno::Errno;
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What a map is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum MapKind {
    Hash = 1,
    Array = 2,
    ProgArray = 3,
    PerCpuArray = 6,
    LruHash = 9,
    Queue = 22,
    /// Its size is in bytes; it has no keys and values.
    RingBuffer = 27,
}

/// A hash map takes memory for its elements as they come.
const BPF_F_NO_PREALLOC: u32 = 1;
/// The key must not be there.
pub(super) const BPF_NOEXIST: u64 = 1;
/// The key has to be there; of a queue, its first value goes where it is full.
pub(super) const BPF_EXIST: u64 = 2;
/// How many elements are read by one call; a hash map's bucket must fit in.
const BATCH: usize = 4096;
/// Bytes of verifier log asked for: the last ones say what is wrong.
const LOG: usize = 16 << 20;
/// Bytes of it kept.
const LOG_KEPT: usize = 4 << 10;

/// Why the kernel took no map, program or link.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LoadError {
    /// A map.
    #[error("cannot make the eBPF map {name}: {errno}")]
    Map {
        /// Which.
        name: String,
        /// What the kernel said.
        errno: Errno,
    },
    /// An element of a map.
    #[error("cannot write the eBPF map {name}: {errno}")]
    Element {
        /// Which.
        name: String,
        /// What the kernel said.
        errno: Errno,
    },
    /// A program.
    #[error("the kernel refuses the eBPF program {name}: {errno}; the verifier ends with: {log}")]
    Program {
        /// Which.
        name: String,
        /// What the kernel said.
        errno: Errno,
        /// The end of what the verifier said.
        log: String,
    },
    /// A name in the bpf file system.
    #[error("cannot keep {}: {errno}", path.display())]
    Pin {
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        errno: Errno,
    },
    /// A program's run on a frame.
    #[error("cannot run the eBPF program on a frame: {0}")]
    Run(Errno),
}

/// A key, and its value.
pub(super) type Element = (Vec<u8>, Vec<u8>);

/// A map.
#[derive(Debug)]
pub(super) struct Map {
    fd: OwnedFd,
    name: String,
    key_size: usize,
    value_size: usize,
    max_entries: u32,
}

impl Map {
    /// A new map. Sizes are bytes.
    pub(super) fn new(
        kind: MapKind,
        name: &str,
        key_size: usize,
        value_size: usize,
        max_entries: u32,
    ) -> Result<Map, LoadError> {
        let flags = if kind == MapKind::Hash { BPF_F_NO_PREALLOC } else { 0 };
        let error = |errno| LoadError::Map { name: name.to_owned(), errno };
        let size = |bytes: usize| u32::try_from(bytes).map_err(|_| error(Errno::E2BIG));
        let shape = sys::MapShape {
            kind: kind as u32,
            key_size: size(key_size)?,
            value_size: size(value_size)?,
            max_entries,
            flags,
        };
        let fd = sys::map_create(&shape, name).map_err(error)?;
        Ok(Map::of(fd, kind, name, &shape))
    }

    /// The map that a process before pinned under this name and version, where it is like this; else a new one,
    /// pinned where there are pins.
    pub(super) fn open(
        pins: Option<&Pins>,
        kind: MapKind,
        (name, version): (&str, u32),
        key_size: usize,
        value_size: usize,
        max_entries: u32,
    ) -> Result<Map, LoadError> {
        let in_kernel = format!("fb_{name}");
        match pins {
            None => Map::new(kind, &in_kernel, key_size, value_size, max_entries),
            Some(pins) => {
                let path = pins.map(name, version);
                Map::pinned(&path, kind, &in_kernel, key_size, value_size, max_entries)
            }
        }
    }

    fn pinned(
        path: &Path,
        kind: MapKind,
        name: &str,
        key_size: usize,
        value_size: usize,
        max_entries: u32,
    ) -> Result<Map, LoadError> {
        let made = Map::new(kind, name, key_size, value_size, max_entries)?;
        let pinned = |errno| LoadError::Pin { path: path.to_owned(), errno };
        let file = file_name(path).map_err(pinned)?;
        let wanted = sys::map_shape(made.fd.as_fd()).map_err(pinned)?;
        match sys::pinned(&file) {
            Ok(fd) if sys::map_shape(fd.as_fd()) == Ok(wanted) => {
                let shape = sys::MapShape { value_size: value_size as u32, ..wanted };
                return Ok(Map::of(fd, kind, name, &shape));
            }
            Ok(_) => nix::unistd::unlink(path).map_err(pinned)?,
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(pinned(errno)),
        }
        sys::pin(made.fd.as_fd(), &file).map_err(pinned)?;
        Ok(made)
    }

    fn of(fd: OwnedFd, kind: MapKind, name: &str, shape: &sys::MapShape) -> Map {
        let (key_size, value_size) = (shape.key_size as usize, shape.value_size as usize);
        let copies = if kind == MapKind::PerCpuArray { possible_cpus() } else { 1 };
        let value_size = if copies > 1 { value_size.next_multiple_of(8) * copies } else { value_size };
        Map { fd, name: name.to_owned(), key_size, value_size, max_entries: shape.max_entries }
    }

    /// Its descriptor, for a program that uses it.
    pub(super) fn fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    /// How many elements it can have.
    pub(super) fn max_entries(&self) -> u32 {
        self.max_entries
    }

    /// The reader's side, of a ring buffer.
    pub(super) fn ring(&self) -> Result<sys::Ring, LoadError> {
        sys::Ring::map(self.fd.as_fd(), self.max_entries).map_err(|errno| self.error(errno))
    }

    /// Put the value at the key.
    pub(super) fn put(&self, key: &[u8], value: &[u8]) -> Result<(), LoadError> {
        let checked = self.check(key, value.len());
        checked.and_then(|()| sys::map_update(self.fd.as_fd(), key, value, 0)).map_err(|e| self.error(e))
    }

    /// Put the value at the key, unless there is one; false where there is.
    pub(super) fn add(&self, key: &[u8], value: &[u8]) -> Result<bool, LoadError> {
        let checked = self.check(key, value.len());
        match checked.and_then(|()| sys::map_update(self.fd.as_fd(), key, value, BPF_NOEXIST)) {
            Ok(()) => Ok(true),
            Err(Errno::EEXIST) => Ok(false),
            Err(errno) => Err(self.error(errno)),
        }
    }

    /// Append the value to a queue, which gives up its first one where it is full.
    pub(super) fn push(&self, value: &[u8]) -> Result<(), LoadError> {
        let checked = self.check(&[], value.len());
        checked
            .and_then(|()| sys::map_update(self.fd.as_fd(), &[], value, BPF_EXIST))
            .map_err(|e| self.error(e))
    }

    /// Put zeros at the key, on every CPU.
    pub(super) fn clear(&self, key: &[u8]) -> Result<(), LoadError> {
        self.put(key, &vec![0; self.value_size])
    }

    /// The value at the key, of all CPUs one behind the other; None where there is none.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, LoadError> {
        let mut value = vec![0; self.value_size];
        let read =
            self.check(key, self.value_size).and_then(|()| sys::map_lookup(self.fd.as_fd(), key, &mut value));
        match read {
            Ok(()) => Ok(Some(value)),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(self.error(errno)),
        }
    }

    /// The 64-bit numbers of the value at the key, each the sum over the CPUs; none where there is no value.
    pub(super) fn sums(&self, key: &[u8], numbers: usize) -> Result<Vec<u64>, LoadError> {
        let mut sums = vec![0u64; numbers];
        let value = self.get(key)?.unwrap_or_default();
        for (index, number) in value.chunks_exact(8).enumerate() {
            sums[index % numbers] =
                sums[index % numbers].wrapping_add(self::number(number, 0).unwrap_or_default());
        }
        Ok(sums)
    }

    /// Take the key away; no error where it isn't there.
    pub(super) fn remove(&self, key: &[u8]) -> Result<(), LoadError> {
        match self.check(key, self.value_size).and_then(|()| sys::map_delete(self.fd.as_fd(), key)) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => Err(self.error(errno)),
        }
    }

    /// The keys, as they were at some moment of the call; those that come or go during it may be left out.
    pub(super) fn keys(&self) -> Result<Vec<Vec<u8>>, LoadError> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        // A map that changes all the time must not keep this busy.
        while keys.len() < 2 * self.max_entries as usize {
            let mut next = vec![0; self.key_size];
            match sys::map_next_key(self.fd.as_fd(), keys.last().map(Vec::as_slice), &mut next) {
                Ok(()) => keys.push(next),
                Err(Errno::ENOENT) => break,
                Err(errno) => return Err(self.error(errno)),
            }
        }
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    /// Whether it has no key.
    pub(super) fn is_empty(&self) -> Result<bool, LoadError> {
        match sys::map_next_key(self.fd.as_fd(), None, &mut vec![0; self.key_size]) {
            Ok(()) => Ok(false),
            Err(Errno::ENOENT) => Ok(true),
            Err(errno) => Err(self.error(errno)),
        }
    }

    /// Keys and values of a hash map, of those whose value is `wanted`, as they were at some moment of the call; those
    /// that come or go during it may be left out, or be there twice.
    pub(super) fn elements(&self, wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<Element>, LoadError> {
        let (mut elements, mut seen) = (Vec::new(), 0);
        let mut batch = sys::Batch::new(BATCH, self.key_size, self.value_size);
        // A map that changes all the time must not keep this busy.
        while seen < 2 * self.max_entries as usize {
            let more = batch.read(self.fd.as_fd()).map_err(|errno| self.error(errno))?;
            seen += batch.elements().count();
            let found = batch.elements().filter(|(_, value)| wanted(value));
            elements.extend(found.map(|(key, value)| (key.to_vec(), value.to_vec())));
            if !more {
                break;
            }
        }
        Ok(elements)
    }

    fn check(&self, key: &[u8], value: usize) -> Result<(), Errno> {
        if key.len() == self.key_size && value == self.value_size { Ok(()) } else { Err(Errno::EINVAL) }
    }

    fn error(&self, errno: Errno) -> LoadError {
        LoadError::Element { name: self.name.clone(), errno }
    }
}

/// A loaded TC program.
#[derive(Debug)]
pub(super) struct Program {
    fd: OwnedFd,
}

impl Program {
    /// Have the kernel verify and load it.
    pub(super) fn load(name: &str, code: &Code) -> Result<Program, LoadError> {
        let refused = |errno, log| LoadError::Program { name: name.to_owned(), errno, log };
        let btf = sys::btf_load(&types()).map_err(|errno| refused(errno, "no types loaded".to_owned()))?;
        let types: Vec<[u32; 2]> =
            std::iter::once(&0).chain(&code.functions).map(|begins| [*begins, FUNCTION]).collect();
        // A helper calls functions only where the types of all are known.
        let functions = sys::Functions { btf: btf.as_fd(), types: &types };
        let functions = (!code.functions.is_empty()).then_some(&functions);
        let errno = match sys::prog_load(&code.instructions, functions, name, &mut []) {
            Ok(fd) => return Ok(Program { fd }),
            Err(errno) => errno,
        };
        // Once more, for the reason.
        let mut log = vec![0; LOG];
        if let Ok(fd) = sys::prog_load(&code.instructions, functions, name, &mut log) {
            return Ok(Program { fd });
        }
        let text: Vec<u8> = log.into_iter().take_while(|byte| *byte != 0).collect();
        let kept = text.get(text.len().saturating_sub(LOG_KEPT)..).unwrap_or_default();
        Err(refused(errno, String::from_utf8_lossy(kept).into_owned()))
    }

    /// Its descriptor as a value for a map of programs.
    pub(super) fn as_value(&self) -> [u8; 4] {
        self.fd.as_raw_fd().to_ne_bytes()
    }

    /// Its descriptor.
    pub(super) fn fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    /// Give it a name by which it outlives this process.
    pub(super) fn pin(&self, path: &Path) -> Result<(), Errno> {
        sys::pin(self.fd.as_fd(), &file_name(path)?)
    }

    /// Have it run on what a device receives, until the link is dropped.
    pub(super) fn attach(&self, ifindex: u32) -> Result<Link, Errno> {
        sys::link_create(self.fd.as_fd(), ifindex).map(|fd| Link { fd })
    }

    /// Run it on a frame, `repeat` times over; `context` is the start of the packet's `struct __sk_buff`.
    /// What it returned last, and the nanoseconds that a run took.
    #[cfg(test)]
    pub(super) fn run(&self, frame: &[u8], context: &[u8], repeat: u32) -> Result<(u32, u32), LoadError> {
        let run = sys::test_run(self.fd.as_fd(), frame, context, repeat).map_err(LoadError::Run)?;
        Ok((run.result, run.duration))
    }
}

/// A program's hold on a device.
#[derive(Debug)]
pub(super) struct Link {
    fd: OwnedFd,
}

impl Link {
    /// The link that is pinned there.
    pub(super) fn pinned(path: &Path) -> Result<Link, Errno> {
        sys::pinned(&file_name(path)?).map(|fd| Link { fd })
    }

    /// Have it outlive this process.
    pub(super) fn pin(&self, path: &Path) -> Result<(), Errno> {
        sys::pin(self.fd.as_fd(), &file_name(path)?)
    }

    /// The index of its device, 0 where that is gone.
    pub(super) fn device(&self) -> Result<u32, Errno> {
        sys::link_device(self.fd.as_fd())
    }

    /// Have this program run in place of the one before.
    pub(super) fn update(&self, program: &Program) -> Result<(), Errno> {
        sys::link_update(self.fd.as_fd(), program.fd.as_fd())
    }
}

/// The number of the program that is pinned there.
pub(super) fn program_id(path: &Path) -> Result<u32, Errno> {
    sys::program_id(sys::pinned(&file_name(path)?)?.as_fd())
}

fn file_name(path: &Path) -> Result<CString, Errno> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)
}

/// The number of the functions' type in [`types`].
const FUNCTION: u32 = 3;

/// BPF type information (Linux, Documentation/bpf/btf.rst) with the one type that all functions of ours
/// have: no arguments that the verifier should check, and an int.
fn types() -> Vec<u8> {
    const KIND_INT: u32 = 1 << 24;
    const KIND_FUNC: u32 = 12 << 24;
    const KIND_FUNC_PROTO: u32 = 13 << 24;
    const STRINGS: &[u8] = b"\0int\0function\0";
    let integer = [1, KIND_INT, 4, 1 << 24 | 32];
    let prototype = [0, KIND_FUNC_PROTO, 1];
    let function = [5, KIND_FUNC, 2];
    let words = [&integer[..], &prototype, &function].concat();
    let (types, strings) = (4 * words.len() as u32, STRINGS.len() as u32);
    // Magic and version, then the header's length, and where types and strings are behind it.
    let header = [0x0001_eb9f, 24, 0, types, types, strings];
    let numbers = header.iter().chain(&words).flat_map(|word| word.to_ne_bytes());
    numbers.chain(STRINGS.iter().copied()).collect()
}

/// How many CPUs per-CPU maps have values for (`/sys/devices/system/cpu/possible`, such as `0-3,8`).
fn possible_cpus() -> usize {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let last = text.trim().rsplit([',', '-']).next().and_then(|last| last.parse::<usize>().ok());
    last.map_or(1, |last| last + 1)
}

/// The 64-bit number at a place in a key or a value; None beyond its end.
pub(super) fn number(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
}
