//! The face of the Rust core: Hypercore and what is built on it, under their npm names.

pub(crate) mod compact_encoding;
pub(crate) mod crypto;
pub(crate) mod z32;
