//! How much memory reading an input may take.
//!
//! Counted by `allocation_counter`, which is the global allocator of whatever links this crate:
//! tests and fuzz targets, never the program.

/// A limit that grows with the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    /// Bytes that any input may take: tables built at first use, an error with its texts.
    pub(crate) base: u64,
    /// Bytes that each byte of the input may take.
    pub(crate) per_byte: u64,
}

impl Limit {
    /// Do `read`, which reads an input of `length` bytes, and panic if at any time it held more
    /// memory than the limit, or allocated in all more than ten times that.
    ///
    /// The second bound is on work: copying the input again for each of its parts keeps the first
    /// and breaks the second.
    pub(crate) fn of<T>(self, length: usize, read: impl FnOnce() -> T) -> T {
        let mut result = None;
        let counted = allocation_counter::measure(|| result = Some(read()));
        let limit = self.base + self.per_byte * length as u64;
        assert!(counted.bytes_max <= limit, "{length} bytes took {} bytes, above {limit}", counted.bytes_max);
        assert!(
            counted.bytes_total <= 10 * limit,
            "{length} bytes took {} bytes in all, above ten times {limit}",
            counted.bytes_total
        );
        match result {
            Some(result) => result,
            None => unreachable!("measure() runs what it is given"),
        }
    }
}
