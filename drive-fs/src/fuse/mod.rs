//! The mount: FUSE requests are unpacked, given to the [`vfs`](crate::vfs), and answered.
//!
//! Nothing is decided in here. A request that can be answered from memory or from the local store is answered on the thread
//! that received it; one that waits goes on as a task, under the deadline, so that it keeps no other request waiting.

mod adapter;
mod answer;
mod connection;
mod error;
mod mount;
mod mountpoint;

pub use error::MountError;
pub use mount::{MountOptions, Mounted, Unmounted, mount};
pub use mountpoint::{UnmountHow, clear_dead_mount};
