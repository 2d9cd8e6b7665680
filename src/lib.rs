//! The Hypercore stack in Rust.
