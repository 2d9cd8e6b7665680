//! The block store of pome: one ordered space of keys in a folder, with atomic batches, snapshots, byte journals and a check.
//!
//! A commit is one frame of the [log](pome_wal) and is applied to a memtable. A checkpoint writes the memtable into a sorted table and lets the log go;
//! tables are merged when there are many. Values of [`PAYLOAD_BYTES_MIN`] bytes and more are written once, into payload segments, and the index points
//! at them; a segment in which little is alive is emptied, and one in which nothing is goes: space comes back by itself, and
//! [`Store::compact`] hurries it.
//!
//! What is promised:
//! - a batch is there as a whole or not at all, in the order of the commits; after a power cut the store is a prefix of the commits that contains all
//!   that was synced;
//! - no byte is handed out whose checksum does not fit; what is damaged is named ([`Error::Corrupt`], [`Store::damage`]), never skipped in silence;
//! - readers see one moment ([`Snapshot`]) and do not hold up writers.
//!
//! What is not: a [`Durability::Buffered`] commit survives the end of the process, but a power cut within the next 200 ms may take it.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod aead;
mod background;
mod backup;
mod batch;
mod check;
mod checkpoint;
mod compact;
mod damage;
mod error;
mod format;
mod index;
mod info;
mod journal;
mod names;
mod options;
mod payload;
mod pieces;
mod queue;
mod read;
mod rekey;
mod repair;
mod replay;
mod room;
mod scan;
mod seal;
mod snapshot;
mod stamp;
mod store;
mod superblock;
mod view;

pub use backup::{Backup, Restored};
pub use batch::Batch;
pub use check::{Fault, Finding, Report};
pub use compact::Freed;
pub use error::{Error, Op};
pub use format::{FORMAT_VERSION, KEY_BYTES_MAX, PAYLOAD_BYTES_MIN, VALUE_BYTES_MAX};
pub use info::{Info, SpaceUsage};
pub use journal::Journal;
pub use options::{Durability, Options, Seq, Space};
pub use pome_wal::{Damage, Device, Recovery};
pub use read::Part;
pub use repair::{Action, LostKeys, Repair};
pub use scan::{EntryRef, Scan};
pub use seal::Key;
pub use snapshot::{Range, Snapshot};
pub use store::Store;
