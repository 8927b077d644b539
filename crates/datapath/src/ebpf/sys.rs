//! bpf(2), the one system call that no crate in use has a safe form for, and the memory of ring buffers: all
//! `unsafe` of this datapath.
//!
//! Each function is one command with the part of `union bpf_attr` (linux/bpf.h) that it reads, as a
//! structure of integers. Pointers in there are to slices of the caller, alive during the call, with the
//! lengths that the kernel is told or that the map was made with.

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use std::ffi::{CStr, c_void};
use std::mem::size_of;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP_ELEM: libc::c_int = 1;
const MAP_UPDATE_ELEM: libc::c_int = 2;
const MAP_DELETE_ELEM: libc::c_int = 3;
const MAP_GET_NEXT_KEY: libc::c_int = 4;
const PROG_LOAD: libc::c_int = 5;
#[cfg(test)]
const PROG_TEST_RUN: libc::c_int = 10;
const OBJ_PIN: libc::c_int = 6;
const OBJ_GET: libc::c_int = 7;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BTF_LOAD: libc::c_int = 18;
const MAP_LOOKUP_BATCH: libc::c_int = 24;
const LINK_CREATE: libc::c_int = 28;
const LINK_UPDATE: libc::c_int = 29;

/// BPF_PROG_TYPE_SCHED_CLS
const SCHED_CLS: u32 = 3;
/// BPF_TCX_INGRESS
const TCX_INGRESS: u32 = 46;

/// The structures below: integers only, any bits valid.
trait Attributes {}

#[repr(C)]
#[derive(Default)]
struct MapAttributes {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
    inner: u32,
    node: u32,
    name: [u8; 16],
}

#[repr(C)]
#[derive(Default)]
struct ElementAttributes {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct BatchAttributes {
    from: u64,
    to: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct ProgramAttributes {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    ifindex: u32,
    attach_type: u32,
    btf: u32,
    function_size: u32,
    functions: u64,
    function_count: u32,
    padding: u32,
}

#[repr(C)]
#[derive(Default)]
struct BtfAttributes {
    btf: u64,
    log: u64,
    size: u32,
    log_size: u32,
    log_level: u32,
    padding: u32,
}

#[cfg(test)]
#[repr(C)]
#[derive(Default)]
struct TestAttributes {
    program: u32,
    result: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_size_in: u32,
    context_size_out: u32,
    context_in: u64,
    context_out: u64,
}

#[repr(C)]
#[derive(Default)]
struct LinkAttributes {
    program: u32,
    ifindex: u32,
    attach_type: u32,
    flags: u32,
    /// Of tcx: which program or link to stand beside, and the expected revision; 0 for none.
    relative: u32,
    padding: u32,
    revision: u64,
}

#[repr(C)]
#[derive(Default)]
struct LinkUpdateAttributes {
    link: u32,
    program: u32,
    flags: u32,
    old_program: u32,
}

#[repr(C)]
#[derive(Default)]
struct ObjectAttributes {
    path: u64,
    fd: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct InfoAttributes {
    fd: u32,
    length: u32,
    info: u64,
}

impl Attributes for LinkUpdateAttributes {}
impl Attributes for ObjectAttributes {}
impl Attributes for InfoAttributes {}
impl Attributes for MapAttributes {}
impl Attributes for ElementAttributes {}
impl Attributes for BatchAttributes {}
impl Attributes for ProgramAttributes {}
#[cfg(test)]
impl Attributes for TestAttributes {}
impl Attributes for LinkAttributes {}
impl Attributes for BtfAttributes {}

/// What a map is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MapShape {
    /// BPF_MAP_TYPE_*
    pub(super) kind: u32,
    /// Bytes.
    pub(super) key_size: u32,
    /// Bytes, on each CPU where the map is per CPU.
    pub(super) value_size: u32,
    pub(super) max_entries: u32,
    /// BPF_F_*
    pub(super) flags: u32,
}

/// BPF_MAP_CREATE
pub(super) fn map_create(shape: &MapShape, name: &str) -> Result<OwnedFd, Errno> {
    let MapShape { kind, key_size, value_size, max_entries, flags } = *shape;
    let name = object_name(name);
    let mut attributes =
        MapAttributes { kind, key_size, value_size, max_entries, flags, name, ..MapAttributes::default() };
    bpf(MAP_CREATE, &mut attributes).map(owned)
}

/// BPF_MAP_LOOKUP_ELEM. `key` and `value` have the sizes of the map: of a per-CPU map, `value` has one
/// for each possible CPU, each rounded up to 8 bytes.
pub(super) fn map_lookup(map: BorrowedFd<'_>, key: &[u8], value: &mut [u8]) -> Result<(), Errno> {
    element(MAP_LOOKUP_ELEM, map, key, value.as_mut_ptr() as u64, 0)
}

/// BPF_MAP_UPDATE_ELEM, with sizes as [`map_lookup`]; `flags` is BPF_ANY and the like.
pub(super) fn map_update(map: BorrowedFd<'_>, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
    element(MAP_UPDATE_ELEM, map, key, value.as_ptr() as u64, flags)
}

/// BPF_MAP_DELETE_ELEM
pub(super) fn map_delete(map: BorrowedFd<'_>, key: &[u8]) -> Result<(), Errno> {
    element(MAP_DELETE_ELEM, map, key, 0, 0)
}

/// BPF_MAP_GET_NEXT_KEY: the key behind `key`, or the first; `next` has the size of a key.
pub(super) fn map_next_key(map: BorrowedFd<'_>, key: Option<&[u8]>, next: &mut [u8]) -> Result<(), Errno> {
    let (map, key) = (map.as_raw_fd().cast_unsigned(), key.map_or(0, |key| key.as_ptr() as u64));
    let value = next.as_mut_ptr() as u64;
    let mut attributes = ElementAttributes { map, padding: 0, key, value, flags: 0 };
    bpf(MAP_GET_NEXT_KEY, &mut attributes).map(drop)
}

/// A hash map's elements, read many at a time (BPF_MAP_LOOKUP_BATCH).
pub(super) struct Batch {
    keys: Vec<u8>,
    values: Vec<u8>,
    key_size: usize,
    value_size: usize,
    /// How many the last call read.
    count: usize,
    /// Where the next call goes on.
    at: Option<u32>,
}

impl Batch {
    /// Room for `room` elements of these sizes.
    pub(super) fn new(room: usize, key_size: usize, value_size: usize) -> Batch {
        let (keys, values) = (vec![0; room * key_size], vec![0; room * value_size]);
        Batch { keys, values, key_size, value_size, count: 0, at: None }
    }

    /// Read on; false where that were the last ones. The sizes have to be those of the map.
    pub(super) fn read(&mut self, map: BorrowedFd<'_>) -> Result<bool, Errno> {
        let (from, mut to) = (self.at, 0u32);
        let mut attributes = BatchAttributes {
            from: from.as_ref().map_or(0, |from| std::ptr::from_ref(from) as u64),
            to: std::ptr::from_mut(&mut to) as u64,
            keys: self.keys.as_mut_ptr() as u64,
            values: self.values.as_mut_ptr() as u64,
            count: u32::try_from(self.keys.len() / self.key_size).unwrap_or(u32::MAX),
            map: map.as_raw_fd().cast_unsigned(),
            ..BatchAttributes::default()
        };
        let read = bpf(MAP_LOOKUP_BATCH, &mut attributes);
        self.count = attributes.count as usize;
        self.at = Some(to);
        match read {
            Ok(_) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// What the last call read.
    pub(super) fn elements(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let values = self.values.chunks_exact(self.value_size);
        self.keys.chunks_exact(self.key_size).zip(values).take(self.count)
    }
}

fn element(
    command: libc::c_int,
    map: BorrowedFd<'_>,
    key: &[u8],
    value: u64,
    flags: u64,
) -> Result<(), Errno> {
    // A queue has no keys.
    let key = if key.is_empty() { 0 } else { key.as_ptr() as u64 };
    let map = map.as_raw_fd().cast_unsigned();
    let mut attributes = ElementAttributes { map, padding: 0, key, value, flags };
    bpf(command, &mut attributes).map(drop)
}

/// What types a program's functions have, which the kernel asks for where a helper calls one.
pub(super) struct Functions<'a> {
    /// From [`btf_load`].
    pub(super) btf: BorrowedFd<'a>,
    /// For each, the instruction where it begins and the number of its type; the program's beginning first.
    pub(super) types: &'a [[u32; 2]],
}

/// BPF_BTF_LOAD
pub(super) fn btf_load(btf: &[u8]) -> Result<OwnedFd, Errno> {
    let size = u32::try_from(btf.len()).map_err(|_| Errno::E2BIG)?;
    bpf(BTF_LOAD, &mut BtfAttributes { btf: btf.as_ptr() as u64, size, ..BtfAttributes::default() })
        .map(owned)
}

/// BPF_PROG_LOAD of a TC classifier; what the verifier says goes to `log`, where that is not empty.
pub(super) fn prog_load(
    code: &[[u8; 8]],
    functions: Option<&Functions<'_>>,
    name: &str,
    log: &mut [u8],
) -> Result<OwnedFd, Errno> {
    let license = c"Dual MIT/GPL";
    let length = |count: usize| u32::try_from(count).map_err(|_| Errno::E2BIG);
    let mut attributes = ProgramAttributes {
        kind: SCHED_CLS,
        instruction_count: length(code.len())?,
        instructions: code.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: length(log.len())?,
        log: if log.is_empty() { 0 } else { log.as_mut_ptr() as u64 },
        name: object_name(name),
        ..ProgramAttributes::default()
    };
    if let Some(Functions { btf, types }) = functions {
        attributes.btf = btf.as_raw_fd().cast_unsigned();
        attributes.function_size = size_of::<[u32; 2]>() as u32;
        attributes.functions = types.as_ptr() as u64;
        attributes.function_count = length(types.len())?;
    }
    bpf(PROG_LOAD, &mut attributes).map(owned)
}

/// BPF_LINK_CREATE: run the program on what the device receives (tcx).
pub(super) fn link_create(program: BorrowedFd<'_>, ifindex: u32) -> Result<OwnedFd, Errno> {
    let program = program.as_raw_fd().cast_unsigned();
    let mut attributes =
        LinkAttributes { program, ifindex, attach_type: TCX_INGRESS, ..LinkAttributes::default() };
    bpf(LINK_CREATE, &mut attributes).map(owned)
}

/// BPF_LINK_UPDATE: run this program in place of the one before, from one packet to the next.
pub(super) fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    let (link, program) = (link.as_raw_fd().cast_unsigned(), program.as_raw_fd().cast_unsigned());
    let mut attributes = LinkUpdateAttributes { link, program, ..LinkUpdateAttributes::default() };
    bpf(LINK_UPDATE, &mut attributes).map(drop)
}

/// BPF_OBJ_PIN: give a map or a link a name in a bpf file system, by which it outlives the process.
pub(super) fn pin(object: BorrowedFd<'_>, path: &CStr) -> Result<(), Errno> {
    let fd = object.as_raw_fd().cast_unsigned();
    bpf(OBJ_PIN, &mut ObjectAttributes { path: path.as_ptr() as u64, fd, flags: 0 }).map(drop)
}

/// BPF_OBJ_GET: what has the name.
pub(super) fn pinned(path: &CStr) -> Result<OwnedFd, Errno> {
    bpf(OBJ_GET, &mut ObjectAttributes { path: path.as_ptr() as u64, fd: 0, flags: 0 }).map(owned)
}

/// BPF_OBJ_GET_INFO_BY_FD of a map, as far as it is its shape.
pub(super) fn map_shape(map: BorrowedFd<'_>) -> Result<MapShape, Errno> {
    let [kind, _id, key_size, value_size, max_entries, flags] = info(map)?;
    Ok(MapShape { kind, key_size, value_size, max_entries, flags })
}

/// BPF_OBJ_GET_INFO_BY_FD of a tcx link: the index of its device, 0 where that is gone.
pub(super) fn link_device(link: BorrowedFd<'_>) -> Result<u32, Errno> {
    let [_kind, _id, _program, _padding, ifindex, _attach_type] = info(link)?;
    Ok(ifindex)
}

/// BPF_OBJ_GET_INFO_BY_FD of a program: its number.
pub(super) fn program_id(program: BorrowedFd<'_>) -> Result<u32, Errno> {
    let [_kind, id, ..] = info(program)?;
    Ok(id)
}

/// The beginning of what the kernel says of an object.
fn info(object: BorrowedFd<'_>) -> Result<[u32; 6], Errno> {
    let mut numbers = [0u32; 6];
    let (fd, info) = (object.as_raw_fd().cast_unsigned(), numbers.as_mut_ptr() as u64);
    let length = size_of_val(&numbers) as u32;
    bpf(OBJ_GET_INFO_BY_FD, &mut InfoAttributes { fd, length, info })?;
    Ok(numbers)
}

#[cfg(test)]
/// What a test run gave.
pub(super) struct TestRun {
    /// What the program returned: TC_ACT_*.
    pub(super) result: u32,
    /// Nanoseconds a run.
    pub(super) duration: u32,
}

#[cfg(test)]
/// BPF_PROG_TEST_RUN: `repeat` runs on the frame. `context` is the start of a `struct __sk_buff`.
pub(super) fn test_run(
    program: BorrowedFd<'_>,
    frame: &[u8],
    context: &[u8],
    repeat: u32,
) -> Result<TestRun, Errno> {
    let length = |slice: &[u8]| u32::try_from(slice.len()).map_err(|_| Errno::E2BIG);
    let mut attributes = TestAttributes {
        program: program.as_raw_fd().cast_unsigned(),
        data_in: frame.as_ptr() as u64,
        data_size_in: length(frame)?,
        context_in: context.as_ptr() as u64,
        context_size_in: length(context)?,
        repeat,
        ..TestAttributes::default()
    };
    bpf(PROG_TEST_RUN, &mut attributes)?;
    Ok(TestRun { result: attributes.result, duration: attributes.duration })
}

/// The reader's side of a ring buffer (BPF_MAP_TYPE_RINGBUF; Linux, Documentation/bpf/ringbuf.rst): one page with the
/// reader's position, one with the writers', then the data, twice, so that every record lies in one piece.
pub(super) struct Ring {
    fd: OwnedFd,
    consumer: NonNull<c_void>,
    producer: NonNull<c_void>,
    page: usize,
    size: usize,
}

/// A record's header: its length, with two bits that say that it is still written, and that it is to be skipped.
const RING_HEADER: u64 = 8;
const RING_BUSY: u32 = 1 << 31;
const RING_DISCARDED: u32 = 1 << 30;

#[allow(unsafe_code, reason = "memory that is shared with the kernel has no safe form")]
impl Ring {
    /// Map the ring buffer, which has `size` bytes of data.
    pub(super) fn map(ring: BorrowedFd<'_>, size: u32) -> Result<Ring, Errno> {
        let (size, page) = (size as usize, page_size());
        let fd = ring.try_clone_to_owned().map_err(|error| errno(&error))?;
        let map = |length: usize, protection, at: usize| {
            let length = NonZeroUsize::new(length).ok_or(Errno::EINVAL)?;
            let at = libc::off_t::try_from(at).map_err(|_| Errno::EINVAL)?;
            // SAFETY: no address is asked for, so that nothing that is there is mapped over.
            unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, &fd, at) }
        };
        let consumer = map(page, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, 0)?;
        match map(page + 2 * size, ProtFlags::PROT_READ, page) {
            Ok(producer) => Ok(Ring { fd, consumer, producer, page, size }),
            Err(errno) => {
                // SAFETY: mapped above, with this length, and nothing points to it.
                let _ = unsafe { munmap(consumer, page) };
                Err(errno)
            }
        }
    }

    /// The next record, if one is whole.
    pub(super) fn next(&mut self) -> Option<Vec<u8>> {
        // SAFETY: both pages begin with a position of 64 bits, aligned, alive as long as self, which both
        // sides access atomically.
        let (consumer, producer) = unsafe {
            (&*self.consumer.as_ptr().cast::<AtomicU64>(), &*self.producer.as_ptr().cast::<AtomicU64>())
        };
        loop {
            let position = consumer.load(Ordering::Relaxed);
            if position >= producer.load(Ordering::Acquire) {
                return None;
            }
            let at = self.page + (position as usize & (self.size - 1));
            // SAFETY: the offset is within the first copy of the data, at a multiple of 8, where the kernel
            // keeps a record's header, which it writes atomically.
            let header = unsafe { &*self.producer.as_ptr().byte_add(at).cast::<AtomicU32>() };
            let header = header.load(Ordering::Acquire);
            if header & RING_BUSY != 0 {
                return None;
            }
            let length = (header & !(RING_BUSY | RING_DISCARDED)) as usize;
            let record = (header & RING_DISCARDED == 0 && length < self.size).then(|| {
                let data = at + RING_HEADER as usize;
                // SAFETY: a record is shorter than the data, and behind the data it is mapped once more; its
                // writer is done with it, and no other begins before the position moves on.
                unsafe {
                    let begin = self.producer.as_ptr().byte_add(data).cast::<u8>();
                    std::slice::from_raw_parts(begin, length).to_vec()
                }
            });
            let next = position + (length as u64 + RING_HEADER).next_multiple_of(8);
            consumer.store(next, Ordering::Release);
            if record.is_some() {
                return record;
            }
        }
    }
}

impl AsFd for Ring {
    /// Readable when there is a record.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[allow(unsafe_code, reason = "memory that is shared with the kernel has no safe form")]
impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with these lengths, and nothing points there but this.
        unsafe {
            let _ = munmap(self.consumer, self.page);
            let _ = munmap(self.producer, self.page + 2 * self.size);
        }
    }
}

// SAFETY: the mappings are of the process, not of a thread, and `next` takes the reader's side for itself.
#[allow(unsafe_code, reason = "the pointers keep it from being Send by itself")]
unsafe impl Send for Ring {}

fn page_size() -> usize {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|size| usize::try_from(size).ok()).unwrap_or(4096)
}

fn errno(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

#[allow(unsafe_code, reason = "bpf(2) has no safe form")]
fn bpf<A: Attributes>(command: libc::c_int, attributes: &mut A) -> Result<RawFd, Errno> {
    // SAFETY: the pointer is to a structure of plain integers, alive during the call, of the size
    // given. Addresses in it are those of slices that the functions above hold during the call, whose
    // lengths are given beside them, or are those of the map's keys and values, which `load::Map`
    // keeps to the sizes that it made the map with.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<A>()) };
    Errno::result(result).map(|result| result as RawFd)
}

#[allow(unsafe_code, reason = "a descriptor that the kernel has just made")]
fn owned(fd: RawFd) -> OwnedFd {
    // SAFETY: the call that returned it opened it for us, and nothing else knows it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// At most 15 bytes of letters, digits, `_` and `.`.
fn object_name(name: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    for (to, from) in bytes[..15].iter_mut().zip(name.bytes()) {
        *to = if from.is_ascii_alphanumeric() || from == b'_' { from } else { b'_' };
    }
    bytes
}
