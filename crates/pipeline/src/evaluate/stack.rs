//! What `push` put aside for `pop` (ovs-actions(7), "push" and "pop").

/// How many bytes of values, and of their lengths, may be put aside when a table is looked up.
pub(super) const MAX_BYTES: usize = 65_536;

/// Values and the bytes that each takes, its length's own included.
#[derive(Clone, Default)]
pub(super) struct Stack {
    values: Vec<(u128, u8)>,
    bytes: usize,
}

impl Stack {
    /// Put a value of so many bits aside.
    pub(super) fn push(&mut self, value: u128, bits: u8) {
        let bytes = bits.div_ceil(8) + 1;
        self.values.push((value, bytes));
        self.bytes += usize::from(bytes);
    }

    /// The value put aside last, if there is one.
    pub(super) fn pop(&mut self) -> Option<u128> {
        let (value, bytes) = self.values.pop()?;
        self.bytes -= usize::from(bytes);
        Some(value)
    }

    /// Whether there is more put aside than a packet may carry on into another table.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= MAX_BYTES
    }
}
