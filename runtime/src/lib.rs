//! Runs programs written for [Bare](https://github.com/holepunchto/bare): modules, an event loop, threads and the `bare-*` packages, on QuickJS.
//!
//! A program is a file in CommonJS or ESM. What it asks for by name (`require('bare-fs')`, `import 'hypercore'`) is answered by the runtime's own
//! modules first ([`builtin_names`]), then by `node_modules`. One thread of a program is one engine with its own heap, its own modules and its own
//! loop; a program ends when nothing keeps a loop of its alive any more.
//!
//! ```
//! use pome_runtime::{Exit, Options, Runtime};
//!
//! let folder = tempfile::tempdir()?;
//! let file = folder.path().join("program.js");
//! std::fs::write(&file, "setTimeout(() => Bare.exit(7), 1)")?;
//! assert_eq!(Runtime::new(Options::default()).run_file(&file), Exit::Code(7));
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! What a program may reach of the machine is [`Permissions`]: by default what its user may. It is no border against a program that gets out of the engine.

mod bare;
mod builtin;
mod command;
mod core;
#[allow(dead_code, reason = "what the native modules are written against")]
mod engine;
#[allow(dead_code, reason = "what the native modules are written against")]
mod event_loop;
mod module;
mod pear;
mod permissions;
mod web;

pub use bare::io::claim_channel;
pub use builtin::builtin_names;
pub use command::bare_main;
pub use engine::{BARE_VERSION, Exit, Options, Runtime};
pub use pear::{
    AppDrive, AppDriveError, AppHome, AppRecord, Checkout, LinkError, PearLink, PearOptions,
    ShiftError,
};
pub use permissions::Permissions;
