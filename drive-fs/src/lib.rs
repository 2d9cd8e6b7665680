//! Files: drives in cores, folders on disk, and drives mounted as folders.
//!
//! Start at [`Hyperdrive`], a filesystem in two cores: a database of entries, and their contents ([`Blobs`]). [`Localdrive`] is a folder on disk with the same
//! calls; [`Mirrordrive`] makes one of either kind like another. [`vfs`] has what a mount does, without a kernel in it, and [`fuse`] shows it to the kernel.
//!
//! Promised: both cores of a drive are npm's, byte for byte; a file and its content are one commit; whatever a drive of somebody else holds, reading it
//! answers or says why not, and no path leads out of a folder. Not promised: folders. There are none in a drive, only paths with `/` in them; what a mount
//! keeps of them is in the entries' metadata ([`posix`]).
//!
//! ```
//! use pome_cores::Corestore;
//! use pome_drive_fs::{DriveOptions, Hyperdrive, PutOptions};
//! use pome_storage::{Options, Store};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let home = tempfile::tempdir()?;
//! let store = Corestore::open(Store::open(home.path(), Options::default())?)?;
//! let drive = Hyperdrive::open(store, DriveOptions::default()).await?;
//! drive.put("/notes/today.txt", "plant the pip", PutOptions::default()).await?;
//! let before = drive.version();
//! drive.del("/notes/today.txt").await?;
//! assert!(drive.get("/notes/today.txt").await?.is_none());
//! let then = drive.checkout(before)?;
//! assert_eq!(then.get("/notes/today.txt").await?.as_deref(), Some(&b"plant the pip"[..]));
//! # Ok(())
//! # }
//! ```
mod batch;
mod blobs;
mod block_map;
mod content;
mod cut;
mod diff;
mod download;
mod entry;
mod error;
pub mod fuse;
mod gc;
mod hyperdrive;
mod ignore;
mod json;
mod listing;
mod localdrive;
mod mirrordrive;
mod monitor;
pub mod path;
pub mod posix;
mod purge;
mod retention;
mod streams;
pub mod vfs;

pub use batch::{DriveBatch, Staged};
pub use blobs::{BLOCK_SIZE, Blobs};
pub use content::{content_key, content_manifest};
pub use diff::{Difference, HistoryItem, Watched};
pub use download::DriveDownload;
pub use entry::{BlobId, Entry, EntryValue};
pub use error::Error;
pub use gc::Collected;
pub use hyperdrive::{DriveOptions, GetOptions, Hyperdrive, ListOptions, PutOptions, WriteStream};
pub use ignore::Ignore;
pub use listing::Child;
pub use localdrive::{LocalEntry, LocalOptions, LocalWriter, Localdrive, Scanned, SkipReason};
pub use mirrordrive::{
    MirrorContent, MirrorCount, MirrorEvent, MirrorOp, MirrorOptions, MirrorSide,
    MirrorTransformer, Mirrordrive,
};
pub use monitor::{Monitor, Transfer};
pub use path::PathError;
pub use posix::{PosixMetadata, Timestamp};
pub use retention::{Keep, Retention};
pub use streams::{BlobWriter, ReadOptions};
