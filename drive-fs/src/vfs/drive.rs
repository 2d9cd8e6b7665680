//! The Hyperdrive as the mount's lower tree.

use super::{
    ahead::Fetch,
    hidden,
    lower::{
        Below, Block, Change, Content, ContentWriter, Drive, Found, LowerEntry, LowerError,
        MapWriter, Tree,
    },
};
use crate::{
    BlobId, BlobWriter, Child, Entry, EntryValue, Hyperdrive,
    block_map::MappedBlock,
    entry::{FILES, FOLDERS, database_key, folder_key, link_key, link_key_end},
};
use bytes::Bytes;
use futures_util::{
    FutureExt, StreamExt, TryStreamExt,
    future::{BoxFuture, try_join, try_join3},
    stream::BoxStream,
};
use pome_bee::RangeOptions;
use pome_cores::{Batch, Durability};
use std::{ops::Range, sync::Arc};

type Result<T> = std::result::Result<T, LowerError>;

/// True when the store says that the disk is full.
pub(crate) fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut source = Some(error);
    while let Some(error) = source {
        if let Some(io) = error.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::StorageFull
        {
            return true;
        }
        if let Some(io) = error.downcast_ref::<Arc<std::io::Error>>()
            && io.kind() == std::io::ErrorKind::StorageFull
        {
            return true;
        }
        source = error.source();
    }
    false
}

impl From<crate::Error> for LowerError {
    fn from(error: crate::Error) -> Self {
        if is_full(&error) {
            return Self::Full;
        }
        match &error {
            crate::Error::NotWritable { .. } | crate::Error::Checkout { .. } => Self::NotWritable,
            crate::Error::Timeout { .. } => Self::TimedOut,
            crate::Error::Closed => Self::Closed,
            crate::Error::BadEntry { .. }
            | crate::Error::BadBlob { .. }
            | crate::Error::BadBlockMap { .. } => Self::Corrupt(error.to_string()),
            _ => Self::Other(error.to_string()),
        }
    }
}

impl From<pome_bee::Error> for LowerError {
    fn from(error: pome_bee::Error) -> Self {
        crate::Error::from(error).into()
    }
}

impl From<pome_cores::Error> for LowerError {
    fn from(error: pome_cores::Error) -> Self {
        crate::Error::from(error).into()
    }
}

/// A read of so many bytes of an encrypted store is shared between two threads.
const HALVED_MIN: usize = 256 << 10;

/// One version of a Hyperdrive.
pub(crate) struct DriveTree {
    pub(super) drive: Hyperdrive,
    /// The versions up to this one at which a change was complete, once somebody wants to know.
    pub(super) whole: tokio::sync::OnceCell<Vec<u64>>,
}

impl DriveTree {
    /// The tree that `drive` (best a checkout: it must not move) shows.
    pub(crate) fn of(drive: Hyperdrive) -> Arc<dyn Tree> {
        Arc::new(Self::new(drive))
    }

    fn new(drive: Hyperdrive) -> Self {
        Self {
            drive,
            whole: tokio::sync::OnceCell::new(),
        }
    }

    async fn view(&self, value: EntryValue) -> Result<LowerEntry> {
        let content = match value.blob {
            None => None,
            Some(blob) => Some(content_of(
                &blob,
                self.drive.blobs().await?.len(&blob).await?,
            )),
        };
        Ok(LowerEntry {
            executable: value.executable,
            linkname: value.linkname,
            content,
            metadata: value.metadata,
        })
    }

    async fn child(&self, child: Child) -> Result<Option<(String, Found)>> {
        let found = match (child.is_folder, child.entry) {
            (true, _) => Found::Folder {
                description: child.posix,
            },
            (false, Some(entry)) => Found::Leaf(self.view(entry.value).await?),
            (false, None) => return Ok(None),
        };
        Ok(Some((child.name, found)))
    }

    async fn stored(&self, path: &str) -> Result<Option<EntryValue>> {
        let Some(found) = self.drive.db().get(&database_key(path)).await? else {
            return Ok(None);
        };
        let entry = Entry::decode(found.seq, &found.key, found.value.as_deref())?;
        Ok(Some(entry.value))
    }

    /// True when an entry or a description lies below `path`.
    async fn is_filled(&self, path: &str) -> Result<bool> {
        let some = async |space: &[u8]| -> Result<bool> {
            let key = |end: &str| [space, path.as_bytes(), end.as_bytes()].concat();
            // A folder's own description is not below it.
            let first = if space == FOLDERS { "/\0" } else { "/" };
            let range = RangeOptions::new()
                .with_gte(key(first))
                .with_lt(key("0"))
                .with_limit(1);
            Ok(self.drive.db().peek(range).await?.is_some())
        };
        if self.drive.writable() {
            return Ok(some(FILES).await? || some(FOLDERS).await?);
        }
        let (files, folders) = try_join(some(FILES), some(FOLDERS)).await?;
        Ok(files || folders)
    }
}

fn content_of(blob: &BlobId, size: u64) -> Content {
    Content {
        block_offset: blob.block_offset,
        block_length: blob.block_length,
        byte_offset: blob.byte_offset,
        byte_length: blob.byte_length,
        block_map: blob.block_map,
        size,
    }
}

pub(crate) fn blob_of(content: &Content) -> BlobId {
    BlobId {
        block_offset: content.block_offset,
        block_length: content.block_length,
        byte_offset: content.byte_offset,
        byte_length: content.byte_length,
        block_map: content.block_map,
    }
}

impl Tree for DriveTree {
    fn version(&self) -> u64 {
        self.drive.version()
    }

    fn lookup<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Found>>> {
        async move {
            if let Some(found) = self.lookup_hidden(path).await {
                return found;
            }
            let key = folder_key(path);
            let described = async { Ok(self.drive.db().get(&key).await?) };
            // Where each may take a round trip they are asked together.
            let (described, filled, stored) = match self.drive.writable() {
                true => (described.await?, None, None),
                false => {
                    let all = try_join3(described, self.is_filled(path), self.stored(path));
                    let (described, filled, stored) = all.await?;
                    (described, Some(filled), Some(stored))
                }
            };
            let description = match described {
                None => None,
                Some(found) => {
                    Some(Entry::decode(found.seq, &found.key, found.value.as_deref())?.posix())
                }
            };
            let is_folder = description.is_some() || path.is_empty();
            let is_folder = match filled {
                Some(filled) => is_folder || filled,
                None => is_folder || self.is_filled(path).await?,
            };
            if is_folder {
                return Ok(Some(Found::Folder { description }));
            }
            let stored = match stored {
                Some(stored) => stored,
                None => self.stored(path).await?,
            };
            match stored {
                None => Ok(None),
                Some(value) => Ok(Some(Found::Leaf(self.view(value).await?))),
            }
        }
        .boxed()
    }

    fn children<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, Result<Vec<(String, Found)>>> {
        async move {
            if let Some(children) = self.hidden_children(folder).await {
                return children;
            }
            let mut all: std::collections::BTreeMap<String, Found> =
                std::collections::BTreeMap::new();
            let mut children = self.drive.children(folder).boxed();
            while let Some(child) = children.try_next().await? {
                let Some((name, found)) = self.child(child).await? else {
                    continue;
                };
                // A folder hides a file of the same name, whichever comes first.
                if matches!(found, Found::Folder { .. }) || !all.contains_key(&name) {
                    all.insert(name, found);
                }
            }
            Ok(all.into_iter().collect())
        }
        .boxed()
    }

    fn coming(&self, folder: &str) -> Option<BoxStream<'static, Result<(String, Found)>>> {
        if self.drive.writable() || hidden::is_hidden_path(folder) {
            return None;
        }
        let mut children = self.drive.children(folder).boxed();
        let tree = Self::new(self.drive.clone());
        Some(Box::pin(async_stream::try_stream! {
            while let Some(child) = children.try_next().await? {
                if let Some(found) = tree.child(child).await? {
                    yield found;
                }
            }
        }))
    }

    fn below<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Below>> {
        async move {
            let mut below = Below::default();
            if let Some(value) = self.stored(path).await? {
                below
                    .entries
                    .push((path.to_owned(), self.view(value).await?));
            }
            let mut entries = self.drive.list(path, crate::ListOptions::default()).boxed();
            while let Some(entry) = entries.try_next().await? {
                below
                    .entries
                    .push((entry.path, self.view(entry.value).await?));
            }
            let mut folders = self.drive.folders(path).boxed();
            while let Some(folder) = folders.try_next().await? {
                below.folders.push(folder);
            }
            Ok(below)
        }
        .boxed()
    }

    fn read<'a>(
        &'a self,
        content: &'a Content,
        offset: u64,
        len: usize,
    ) -> BoxFuture<'a, Result<Bytes>> {
        async move {
            let (blobs, blob) = (self.drive.blobs().await?, blob_of(content));
            if len >= HALVED_MIN && self.drive.is_ours() && self.drive.is_sealed() {
                return Ok(blobs.read_in_halves(&blob, offset, len).await?);
            }
            Ok(blobs.read_at(&blob, offset, len).await?)
        }
        .boxed()
    }

    fn fetch<'a>(
        &'a self,
        content: &'a Content,
        offset: u64,
        len: u64,
    ) -> BoxFuture<'a, Result<Option<Fetch>>> {
        async move {
            if self.drive.is_ours() {
                return Ok(None);
            }
            let blobs = self.drive.blobs().await?;
            let fetch = blobs.fetch(&blob_of(content), offset, len).await?;
            Ok(fetch.map(|fetch| -> Fetch { Box::new(fetch) }))
        }
        .boxed()
    }

    fn link_names(&self, id: u64) -> BoxFuture<'_, Result<Vec<String>>> {
        async move {
            let rows = link_key(id, "");
            let range = RangeOptions::new()
                .with_gte(rows.clone())
                .with_lt(link_key_end(id));
            let mut names = Vec::new();
            let mut found = self.drive.db().range(range).boxed();
            while let Some(row) = found.try_next().await? {
                let path = row.key.get(rows.len()..).unwrap_or_default();
                if let Ok(path) = std::str::from_utf8(path) {
                    names.push(path.to_owned());
                }
            }
            Ok(names)
        }
        .boxed()
    }

    fn changed_paths<'a>(&'a self, newer: &'a dyn Tree) -> BoxFuture<'a, Result<Vec<String>>> {
        async move {
            let mut paths = Vec::new();
            // What both do not share is mostly what was appended in between: where it is elsewhere, it comes all at once.
            let _coming = self
                .drive
                .core()
                .download(self.version()..newer.version())?;
            let head = pome_bee::Hyperbee::new(self.drive.core().clone()).checkout(newer.version());
            let mut differences = head.diff(self.drive.db(), RangeOptions::new()).boxed();
            while let Some(difference) = differences.try_next().await? {
                let entry = difference.left.or(difference.right);
                let Some(key) = entry.map(|e| e.key) else {
                    continue;
                };
                let path = key.strip_prefix(FILES).map(<[u8]>::to_vec).or_else(|| {
                    let path = key.strip_prefix(FOLDERS)?;
                    Some(path.strip_suffix(b"/").unwrap_or(path).to_vec())
                });
                if let Some(path) = path.and_then(|p| String::from_utf8(p).ok()) {
                    paths.push(path);
                }
            }
            Ok(paths)
        }
        .boxed()
    }
}

/// A Hyperdrive at its head, to be shown by a [`Vfs`](super::Vfs).
pub fn lower(drive: &Hyperdrive) -> Arc<dyn Drive> {
    LiveDrive::new(drive.clone())
}

/// A Hyperdrive, to be mounted.
pub(crate) struct LiveDrive(Hyperdrive);

impl LiveDrive {
    /// The drive at its head.
    pub(crate) fn new(drive: Hyperdrive) -> Arc<Self> {
        Arc::new(Self(drive))
    }

    fn tree(&self) -> Result<Arc<dyn Tree>> {
        Ok(DriveTree::of(self.0.snapshot()?))
    }
}

struct Writer {
    blob: BlobWriter,
    /// Bytes of the content so far.
    size: u64,
}

impl ContentWriter for Writer {
    fn write(&mut self, piece: Bytes) -> BoxFuture<'_, Result<()>> {
        async move {
            self.size += piece.len() as u64;
            Ok(self.blob.write(piece).await?)
        }
        .boxed()
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Content>> {
        async move { Ok(content_of(&self.blob.finish().await?, self.size)) }.boxed()
    }
}

impl MapWriter for Writer {
    fn keep(&mut self, block: Block) {
        self.size += block.len;
        self.blob.keep(MappedBlock {
            index: block.index,
            byte_length: block.len,
        });
    }

    fn zeros(&mut self, len: u64) {
        self.size += len;
        self.blob.zeros(len);
    }
}

/// Blocks of one content that are looked at to keep some of them.
const BLOCKS_MAX: u64 = 1 << 19;

impl Drive for LiveDrive {
    fn writable(&self) -> bool {
        self.0.writable()
    }

    fn head(&self) -> BoxFuture<'_, Result<Arc<dyn Tree>>> {
        async move { self.tree() }.boxed()
    }

    fn status(&self) -> BoxFuture<'_, Result<serde_json::Value>> {
        async move {
            let db = self.0.core();
            let mut status = serde_json::json!({
                "key": self.0.key().to_string(),
                "length": db.length(),
                "peers": db.peers().len(),
            });
            // Of a drive that is elsewhere and has nothing here, not even this may be known.
            if self.0.writable() || db.length() > 0 {
                let blobs = self.0.blobs().now_or_never().transpose()?;
                if let Some(blobs) = blobs {
                    let core = blobs.core();
                    status["contents"] = serde_json::json!({
                        "length": core.length(),
                        "contiguousLength": core.contiguous_length(),
                        "byteLength": core.byte_length(),
                        "peers": core.peers().len(),
                    });
                }
            }
            Ok(status)
        }
        .boxed()
    }

    fn bytes_here<'a>(&'a self, content: &'a Content) -> BoxFuture<'a, Result<u64>> {
        async move {
            let blobs = self.0.blobs().await?;
            Ok(blobs.bytes_here(&blob_of(content)).await?)
        }
        .boxed()
    }

    fn ranges_of<'a>(&'a self, content: &'a Content) -> BoxFuture<'a, Result<Vec<Range<u64>>>> {
        async move {
            let blobs = self.0.blobs().await?;
            Ok(blobs.ranges(&blob_of(content)).await?)
        }
        .boxed()
    }

    fn holders(&self, end: u64) -> BoxFuture<'_, Result<u64>> {
        async move {
            let peers = self.0.blobs().await?.core().peers();
            let have = peers.iter();
            let have = have.filter(|peer| peer.remote_contiguous_length >= end);
            Ok(have.count() as u64)
        }
        .boxed()
    }

    fn put_contents(&self, contents: Vec<Bytes>) -> BoxFuture<'_, Result<Vec<Content>>> {
        async move {
            let blobs = self.0.blobs().await?;
            let mut transaction = self.0.corestore().transaction();
            let ids = blobs.stage(&mut transaction, contents).await?;
            transaction.commit(Durability::Buffered).await?;
            Ok(ids
                .iter()
                .map(|id| content_of(id, id.byte_length))
                .collect())
        }
        .boxed()
    }

    fn content_writer(&self) -> BoxFuture<'_, Result<Box<dyn ContentWriter>>> {
        async move {
            let (blob, size) = (self.0.blob_writer().await?, 0);
            let writer: Box<dyn ContentWriter> = Box::new(Writer { blob, size });
            Ok(writer)
        }
        .boxed()
    }

    fn blocks_of<'a>(&'a self, content: &'a Content) -> BoxFuture<'a, Result<Option<Vec<Block>>>> {
        async move {
            let blobs = self.0.blobs().await?;
            if content.block_length > BLOCKS_MAX || !blobs.has(&blob_of(content)).await? {
                return Ok(None);
            }
            if content.block_map {
                let map = blobs.map(&blob_of(content)).await?;
                let blocks = map.blocks().iter().map(|block| Block {
                    index: block.index,
                    len: block.byte_length,
                });
                return Ok(Some(blocks.collect()));
            }
            let core = blobs.core();
            let mut blocks = Vec::new();
            for index in content.block_offset..content.block_offset + content.block_length {
                // The leaf of the tree says how long the block is.
                let Some(leaf) = core.node(index * 2).await? else {
                    return Ok(None);
                };
                let len = leaf.size.saturating_sub(core.padding());
                blocks.push(Block { index, len });
            }
            let total: u64 = blocks.iter().map(|block| block.len).sum();
            Ok((total == content.size).then_some(blocks))
        }
        .boxed()
    }

    fn extending_writer<'a>(
        &'a self,
        content: &'a Content,
    ) -> BoxFuture<'a, Result<Option<Box<dyn ContentWriter>>>> {
        async move {
            let blobs = self.0.blobs().await?;
            let Some(blob) = BlobWriter::behind(blobs.clone(), blob_of(content)).await else {
                return Ok(None);
            };
            let size = content.size;
            let writer: Box<dyn ContentWriter> = Box::new(Writer { blob, size });
            Ok(Some(writer))
        }
        .boxed()
    }

    fn map_writer(&self) -> BoxFuture<'_, Result<Option<Box<dyn MapWriter>>>> {
        async move {
            let (blob, size) = (BlobWriter::mapped(self.0.blobs().await?.clone()), 0);
            let writer: Box<dyn MapWriter> = Box::new(Writer { blob, size });
            Ok(Some(writer))
        }
        .boxed()
    }

    fn publish(
        &self,
        over: Option<u64>,
        changes: Vec<Change>,
        batch: Batch,
    ) -> BoxFuture<'_, Result<Option<Arc<dyn Tree>>>> {
        async move {
            let mut entries = self.0.batch()?;
            for change in changes {
                match change {
                    Change::Entry(path, None) => entries.del(&path)?,
                    Change::Entry(path, Some(entry)) => entries.put_entry(
                        &path,
                        EntryValue {
                            executable: entry.executable,
                            linkname: entry.linkname,
                            blob: entry.content.as_ref().map(blob_of),
                            metadata: entry.metadata,
                        },
                    )?,
                    Change::Folder(path, None) => entries.del_folder(&path)?,
                    Change::Folder(path, Some(posix)) => entries.put_folder(&path, &posix)?,
                    Change::Name(id, path, there) => entries.note_link(id, &path, there)?,
                }
            }
            let mut transaction = self.0.corestore().transaction();
            let staged = entries.flush_into(&mut transaction).await?;
            // From here on nobody else writes entries.
            if over.is_some_and(|over| over != self.0.version()) {
                return Ok(None);
            }
            transaction.batch().extend(batch);
            transaction.commit(Durability::Buffered).await?;
            // Not one that somebody else has made since.
            let made = staged.version().or(over);
            drop(staged);
            self.0.note_version()?;
            Ok(Some(match made {
                Some(version) => DriveTree::of(self.0.checkout(version)?),
                None => self.tree()?,
            }))
        }
        .boxed()
    }

    fn tidy(&self) -> BoxFuture<'_, Result<()>> {
        async move {
            if self.0.note_version()? {
                self.0.gc().await?;
            }
            Ok(())
        }
        .boxed()
    }
}
