//! The native halves of the `bare-*` packages, a file each.

pub(crate) mod buffer;
pub(crate) mod console;
pub(crate) mod module;
pub(crate) mod path;
pub(crate) mod repl;
pub(crate) mod start;
pub(crate) mod thread;
pub(crate) mod timers;
pub(crate) mod types;
pub(crate) mod url;
