//! The native halves of the `bare-*` packages, a file each.

mod args;
pub(crate) mod buffer;
pub(crate) mod console;
pub(crate) mod crypto;
pub(crate) mod dns;
mod environment;
mod failure;
pub(crate) mod fs;
pub(crate) mod http;
pub(crate) mod io;
pub(crate) mod module;
pub(crate) mod os;
pub(crate) mod path;
pub(crate) mod repl;
mod reply;
pub(crate) mod signals;
pub(crate) mod start;
pub(crate) mod subprocess;
mod task;
pub(crate) mod terminal;
pub(crate) mod thread;
pub(crate) mod timers;
pub(crate) mod tls;
pub(crate) mod types;
pub(crate) mod url;
pub(crate) mod websocket;
pub(crate) mod zlib;
