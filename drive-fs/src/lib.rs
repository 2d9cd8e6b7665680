//! Hyperdrive, Localdrive, Mirrordrive, and the mount.
mod batch;
mod blobs;
mod block_map;
mod content;
mod diff;
mod entry;
mod error;
mod hyperdrive;
mod ignore;
mod json;
mod listing;
pub mod path;
pub mod posix;
mod streams;

pub use batch::{DriveBatch, Staged};
pub use blobs::{BLOCK_SIZE, Blobs};
pub use content::{content_key, content_manifest};
pub use diff::{Difference, HistoryItem};
pub use entry::{BlobId, Entry, EntryValue};
pub use error::Error;
pub use hyperdrive::{DriveOptions, GetOptions, Hyperdrive, ListOptions, PutOptions, WriteStream};
pub use ignore::Ignore;
pub use listing::Child;
pub use path::PathError;
pub use posix::{PosixMetadata, Timestamp};
pub use streams::{BlobWriter, ReadOptions};
