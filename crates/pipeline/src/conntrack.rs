//! The connection tracker behind `ct()`.

/// The tracked connections.
#[derive(Debug, Clone, Default)]
pub struct Conntrack {}
