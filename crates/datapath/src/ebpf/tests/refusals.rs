//! What can't be compiled is refused by name.
