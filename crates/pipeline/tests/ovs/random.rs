//! Random numbers that are the same everywhere for a seed.

/// xorshift64*.
pub(crate) struct Random(u64);

impl Random {
    /// `stream` keeps the numbers of different uses of one seed apart.
    pub(crate) fn new(stream: &str, seed: u64) -> Random {
        // FNV-1a, for the standard library's hashes are not promised to stay as they are.
        let start = stream.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
        let mut random = Random((start ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1);
        for _ in 0..4 {
            random.next();
        }
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// 0 to `n` - 1.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 33) % n
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// `width` random bits.
    pub(crate) fn bits(&mut self, width: u32) -> u128 {
        let all = (u128::from(self.next()) << 64) | u128::from(self.next());
        if width == 0 { 0 } else { all >> (128 - width) }
    }
}
