//! The face of the Rust core: Hypercore and what is built on it, under their npm names.
