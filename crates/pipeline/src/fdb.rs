//! The MAC learning table behind NORMAL.

/// Which address was seen on which port.
#[derive(Debug, Clone, Default)]
pub struct Fdb {}
