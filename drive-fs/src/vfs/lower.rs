//! What the mount needs of the drive below: one version of its tree to read, and a way to publish the next.

use super::ahead::Fetch;
use crate::posix::{HardLink, PosixMetadata, Special};
use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::BoxStream};
use pome_cores::Batch;
use serde::{Deserialize, Serialize};
use std::{ops::Range, sync::Arc};

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

impl LowerEntry {
    /// Set where the entry is one of several names of a file.
    pub(crate) fn link(&self) -> Option<HardLink> {
        PosixMetadata::decode(self.metadata.as_ref()).link
    }

    /// What it is, if no file and no symlink.
    pub(crate) fn special(&self) -> Option<Special> {
        PosixMetadata::decode(self.metadata.as_ref()).special
    }
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
    /// Notes that a path is (or is no longer) a name of the file of several names with this number.
    Name(u64, String, bool),
}

impl Change {
    /// The path.
    pub fn path(&self) -> &str {
        match self {
            Self::Entry(path, _) | Self::Folder(path, _) | Self::Name(_, path, _) => path,
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
    /// As [`children`](Self::children), as they come; a folder may come after a file of its name, and stands for it from then on. Default: `None`, where nothing is far away.
    fn coming(&self, _folder: &str) -> Option<BoxStream<'static, Result<(String, Found)>>> {
        None
    }
    /// All that is at `path` and below it.
    fn below<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Below>>;
    /// `len` bytes of a content at `offset` (less at its end).
    fn read<'a>(
        &'a self,
        content: &'a Content,
        offset: u64,
        len: usize,
    ) -> BoxFuture<'a, Result<Bytes>>;
    /// Has a part of a content fetched that is elsewhere, for as long as what is answered is kept. Default: `None`, where nothing is far away.
    fn fetch<'a>(
        &'a self,
        _content: &'a Content,
        _offset: u64,
        _len: u64,
    ) -> BoxFuture<'a, Result<Option<Fetch>>> {
        Box::pin(std::future::ready(Ok(None)))
    }
    /// All paths that are noted as names of the file of several names with this number.
    fn link_names(&self, id: u64) -> BoxFuture<'_, Result<Vec<String>>>;
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
    /// The blocks of a content, in order; `None` where not all of them are here, or too many: then nothing of it is looked at.
    fn blocks_of<'a>(&'a self, _content: &'a Content) -> BoxFuture<'a, Result<Option<Vec<Block>>>> {
        Box::pin(std::future::ready(Ok(None)))
    }
    /// Stores one content piece by piece behind `content`, which it begins with; `None` where something else stands there.
    fn extending_writer<'a>(
        &'a self,
        _content: &'a Content,
    ) -> BoxFuture<'a, Result<Option<Box<dyn ContentWriter>>>> {
        Box::pin(std::future::ready(Ok(None)))
    }
    /// Stores one content that has blocks of others in it. Only asked for where [`blocks_of`](Self::blocks_of) answers something, or for holes.
    fn map_writer(&self) -> BoxFuture<'_, Result<Option<Box<dyn MapWriter>>>> {
        Box::pin(std::future::ready(Ok(None)))
    }
    /// Applies `changes` as one version, in one commit with `batch`, and answers the new version. `None`, and nothing was done, where they are meant for
    /// version `over` and somebody else has made another one since.
    fn publish(
        &self,
        over: Option<u64>,
        changes: Vec<Change>,
        batch: Batch,
    ) -> BoxFuture<'_, Result<Option<Arc<dyn Tree>>>>;
    /// What a mount says of it: `key`, and how far it is here and with peers. Default: nothing.
    fn status(&self) -> BoxFuture<'_, Result<serde_json::Value>> {
        Box::pin(std::future::ready(Ok(serde_json::json!({}))))
    }
    /// Bytes of a content that are here, to the block. Default: all.
    fn bytes_here<'a>(&'a self, content: &'a Content) -> BoxFuture<'a, Result<u64>> {
        Box::pin(std::future::ready(Ok(content.size)))
    }
    /// The blocks of the content core that a content takes. Default: its own.
    fn ranges_of<'a>(&'a self, content: &'a Content) -> BoxFuture<'a, Result<Vec<Range<u64>>>> {
        let own = content.block_offset..content.block_offset.saturating_add(content.block_length);
        Box::pin(std::future::ready(Ok(vec![own])))
    }
    /// How many connected peers have all blocks of the content core below this one. Default: none.
    fn holders(&self, _end: u64) -> BoxFuture<'_, Result<u64>> {
        Box::pin(std::future::ready(Ok(0)))
    }
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

/// One block of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Where in the blobs core.
    pub index: u64,
    /// Its bytes.
    pub len: u64,
}

/// See [`Drive::map_writer`].
pub trait MapWriter: ContentWriter {
    /// A block that is stored already comes next.
    fn keep(&mut self, block: Block);
    /// A block of zeros comes next, which is stored once however often it comes.
    fn zeros(&mut self, len: u64);
}
