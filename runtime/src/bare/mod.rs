//! The native halves of the `bare-*` packages, a file each.

pub(crate) mod module;
pub(crate) mod start;
pub(crate) mod timers;
