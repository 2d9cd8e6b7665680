//! Hyperbee: a sorted database in a Hypercore.
//!
//! A [`Hyperbee`] is a copy-on-write B-tree whose every change is one block of the core: the block has the key, the value and the tree nodes that
//! changed on the way to the root. Block 0 is a header. So each length of the core is a readable version of the database, and whoever has the core's
//! key can read it block by block, a logarithmic number of them per lookup.
//!
//! Promised: the blocks are those of npm's hyperbee 2.27.3, byte for byte, within batches too; keys come in the order of their bytes; whatever a core
//! holds, reading answers entries or an [`Error`], in bounded time, and never panics.
//!
//! Not promised: an agreed order between two `Hyperbee::new` on one core. Clones, subs, checkouts and batches share one write lock; two bees
//! that were made apart do not (the later writer gets [`Error::Conflict`] when the loss is noticed).
//!
//! Keys and values are bytes; [`SubEncoder`] puts keys under a prefix.
//!
//! ```
//! use futures_util::TryStreamExt;
//! use pome_bee::{Hyperbee, RangeOptions};
//! use pome_cores::{CoreOptions, Corestore};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let store = pome_storage::Store::open(folder.path(), pome_storage::Options::default())?;
//! let cores = Corestore::open(store)?;
//! let bee = Hyperbee::new(cores.get(CoreOptions::name("fruit")).await?);
//! bee.put(b"apple", "red").await?;
//! bee.put(b"banana", "yellow").await?;
//! bee.put(b"cherry", "red").await?;
//! assert_eq!(bee.get(b"apple").await?.and_then(|e| e.value), Some("red".into()));
//!
//! let from_b = RangeOptions::new().with_gte(b"b");
//! let keys: Vec<_> = bee.range(from_b).map_ok(|e| e.key).try_collect().await?;
//! assert_eq!(keys, ["banana", "cherry"]);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod ahead;
mod batch;
mod cache;
mod diff;
mod edit;
mod error;
mod extension;
mod history;
mod hyperbee;
mod node;
mod range;
mod reach;
mod sub;
mod typed;
mod versions;
mod view;
mod watch;

pub use batch::{Batch, Staged};
pub use cache::BeeCache;
pub use diff::DiffEntry;
pub use error::{Error, Result};
pub use extension::CacheExtension;
pub use history::{Change, HistoryEntry, HistoryOptions};
pub use hyperbee::{Entry, Hyperbee, PutOptions};
pub use node::{Header, Metadata};
pub use range::RangeOptions;
pub use sub::SubEncoder;
pub use typed::{TypedBatch, TypedBee, TypedEntries, TypedEntry, TypedRange};
pub use watch::{Changed, EntryWatcher};
