//! Hyperdrive, Localdrive, Mirrordrive, and the mount.
mod entry;
mod error;
mod json;
pub mod path;
pub mod posix;

pub use entry::{BlobId, Entry, EntryValue};
pub use error::Error;
pub use path::PathError;
pub use posix::{PosixMetadata, Timestamp};
