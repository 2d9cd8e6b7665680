//! What the mount needs of the drive below: one version of its tree to read, and a way to publish the next.

use crate::posix::PosixMetadata;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use pome_cores::Batch;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What went wrong below.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LowerError {
    /// Bytes that are not here, and nobody to ask within the deadline.
    #[error("timed out")]
    TimedOut,
    /// The drive cannot be written by this store.
    #[error("drive is not writable here")]
    NotWritable,
    /// The disk is full.
    #[error("disk full")]
    Full,
    /// The drive or the store is closed.
    #[error("closed")]
    Closed,
    /// What is stored fails its check.
    #[error("damaged: {0}")]
    Corrupt(String),
    /// Anything else, with its own words.
    #[error("{0}")]
    Other(String),
}

type Result<T> = std::result::Result<T, LowerError>;

/// Where a file's content lies in the blobs core, as in the drive entry, and how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// First block.
    pub block_offset: u64,
    /// Count of blocks.
    pub block_length: u64,
    /// First byte.
    pub byte_offset: u64,
    /// Count of bytes in those blocks.
    pub byte_length: u64,
    /// The blocks hold a list of blocks, and the content is what they list.
    #[serde(default)]
    pub block_map: bool,
    /// The file's size in bytes: `byte_length`, but for a block map what its list adds up to.
    pub size: u64,
}

/// A file or a symlink in the drive.
#[derive(Debug, Clone, PartialEq)]
pub struct LowerEntry {
    /// The executable flag.
    pub executable: bool,
    /// A symlink's target.
    pub linkname: Option<String>,
    /// A file's content; `None` is an empty file too.
    pub content: Option<Content>,
    /// The entry's metadata.
    pub metadata: Option<serde_json::Value>,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// Entries lie below this path, or a description says that it is a folder.
    Folder {
        /// What the description says.
        description: Option<PosixMetadata>,
    },
    /// An entry, and nothing below it.
    Leaf(LowerEntry),
}

/// One change that a publication makes.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Puts an entry at a path, or removes it.
    Entry(String, Option<LowerEntry>),
    /// Describes a folder, or removes its description.
    Folder(String, Option<PosixMetadata>),
}

impl Change {
    /// The path.
    pub fn path(&self) -> &str {
        match self {
            Self::Entry(path, _) | Self::Folder(path, _) => path,
        }
    }
}

/// All that is at a path and below it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Below {
    /// Entries, with their whole paths.
    pub entries: Vec<(String, LowerEntry)>,
    /// Descriptions of folders, with their whole paths.
    pub folders: Vec<(String, PosixMetadata)>,
}

/// One version of the drive's tree. Folder paths have no slash at the end; the root's is empty.
pub trait Tree: Send + Sync + 'static {
    /// The drive version that this shows.
    fn version(&self) -> u64;
    /// What is at `path`. Where a drive has both an entry and a folder there, the folder.
    fn lookup<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Found>>>;
    /// The names directly in `folder`.
    fn children<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, Result<Vec<(String, Found)>>>;
    /// All that is at `path` and below it.
    fn below<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Below>>;
    /// `len` bytes of a content at `offset` (less at its end).
    fn read<'a>(
        &'a self,
        content: &'a Content,
        offset: u64,
        len: usize,
    ) -> BoxFuture<'a, Result<Bytes>>;
    /// The paths at which this version and `newer` differ.
    fn changed_paths<'a>(&'a self, newer: &'a dyn Tree) -> BoxFuture<'a, Result<Vec<String>>>;
}

/// The drive, at its head.
pub trait Drive: Send + Sync + 'static {
    /// False when this store cannot sign for the drive.
    fn writable(&self) -> bool;
    /// The newest version.
    fn head(&self) -> BoxFuture<'_, Result<Arc<dyn Tree>>>;
    /// Stores several small contents with one append.
    fn put_contents(&self, contents: Vec<Bytes>) -> BoxFuture<'_, Result<Vec<Content>>>;
    /// Stores one content piece by piece.
    fn content_writer(&self) -> BoxFuture<'_, Result<Box<dyn ContentWriter>>>;
    /// Applies `changes` as one version, in one commit with `batch`, and answers the new version.
    fn publish(&self, changes: Vec<Change>, batch: Batch) -> BoxFuture<'_, Result<Arc<dyn Tree>>>;
    /// Drops what no kept version needs, if there is a rule that says so; called now and then after publications. Default: nothing.
    fn tidy(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// See [`Drive::content_writer`]. Dropping it leaves bytes in the blobs core that no entry points at.
pub trait ContentWriter: Send {
    /// Adds a piece; memory stays bounded by a few pieces.
    fn write(&mut self, piece: Bytes) -> BoxFuture<'_, Result<()>>;
    /// Where it lies.
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Content>>;
}
