//! The Hyperdrive as the mount's lower tree.

use super::lower::{
    Below, Change, Content, ContentWriter, Drive, Found, LowerEntry, LowerError, Tree,
};
use crate::{
    BlobId, BlobWriter, Entry, EntryValue, Hyperdrive,
    entry::{FILES, FOLDERS, database_key, folder_key},
};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture};
use pome_bee::RangeOptions;
use pome_cores::{Batch, Durability};
use std::sync::Arc;

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

/// One version of a Hyperdrive.
pub(crate) struct DriveTree(Hyperdrive);

impl DriveTree {
    /// The tree that `drive` (best a checkout: it must not move) shows.
    pub(crate) fn of(drive: Hyperdrive) -> Arc<dyn Tree> {
        Arc::new(Self(drive))
    }

    async fn view(&self, value: EntryValue) -> Result<LowerEntry> {
        let content = match value.blob {
            None => None,
            Some(blob) => Some(content_of(&blob, self.0.blobs().await?.len(&blob).await?)),
        };
        Ok(LowerEntry {
            executable: value.executable,
            linkname: value.linkname,
            content,
            metadata: value.metadata,
        })
    }

    async fn stored(&self, path: &str) -> Result<Option<EntryValue>> {
        let Some(found) = self.0.db().get(&database_key(path)).await? else {
            return Ok(None);
        };
        let entry = Entry::decode(found.seq, &found.key, found.value.as_deref())?;
        Ok(Some(entry.value))
    }

    /// True when an entry or a description lies below `path`.
    async fn is_filled(&self, path: &str) -> Result<bool> {
        for space in [FILES, FOLDERS] {
            let key = |end: &str| [space, path.as_bytes(), end.as_bytes()].concat();
            // A folder's own description is not below it.
            let first = if space == FOLDERS { "/\0" } else { "/" };
            let range = RangeOptions::new()
                .with_gte(key(first))
                .with_lt(key("0"))
                .with_limit(1);
            if self.0.db().range(range).boxed().try_next().await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
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
        self.0.version()
    }

    fn lookup<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Found>>> {
        async move {
            let described = self.0.db().get(&folder_key(path)).await?;
            let description = match described {
                None => None,
                Some(found) => {
                    Some(Entry::decode(found.seq, &found.key, found.value.as_deref())?.posix())
                }
            };
            if description.is_some() || path.is_empty() || self.is_filled(path).await? {
                return Ok(Some(Found::Folder { description }));
            }
            match self.stored(path).await? {
                None => Ok(None),
                Some(value) => Ok(Some(Found::Leaf(self.view(value).await?))),
            }
        }
        .boxed()
    }

    fn children<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, Result<Vec<(String, Found)>>> {
        async move {
            let mut all: std::collections::BTreeMap<String, Found> =
                std::collections::BTreeMap::new();
            let mut children = self.0.children(folder).boxed();
            while let Some(child) = children.try_next().await? {
                let found = match (child.is_folder, child.entry) {
                    (true, _) => Found::Folder {
                        description: child.posix,
                    },
                    (false, Some(entry)) => Found::Leaf(self.view(entry.value).await?),
                    (false, None) => continue,
                };
                // A folder hides a file of the same name, whichever comes first.
                if matches!(found, Found::Folder { .. }) || !all.contains_key(&child.name) {
                    all.insert(child.name, found);
                }
            }
            Ok(all.into_iter().collect())
        }
        .boxed()
    }

    fn below<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Below>> {
        async move {
            let mut below = Below::default();
            if let Some(value) = self.stored(path).await? {
                below
                    .entries
                    .push((path.to_owned(), self.view(value).await?));
            }
            let mut entries = self.0.list(path, crate::ListOptions::default()).boxed();
            while let Some(entry) = entries.try_next().await? {
                below
                    .entries
                    .push((entry.path, self.view(entry.value).await?));
            }
            let mut folders = self.0.folders(path).boxed();
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
            Ok(self
                .0
                .blobs()
                .await?
                .read_at(&blob_of(content), offset, len)
                .await?)
        }
        .boxed()
    }

    fn changed_paths<'a>(&'a self, newer: &'a dyn Tree) -> BoxFuture<'a, Result<Vec<String>>> {
        async move {
            let mut paths = Vec::new();
            // What both do not share is mostly what was appended in between: where it is elsewhere, it comes all at once.
            let _coming = self.0.core().download(self.version()..newer.version())?;
            let head = pome_bee::Hyperbee::new(self.0.core().clone()).checkout(newer.version());
            let mut differences = head.diff(self.0.db(), RangeOptions::new()).boxed();
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

struct Writer(BlobWriter);

impl ContentWriter for Writer {
    fn write(&mut self, piece: Bytes) -> BoxFuture<'_, Result<()>> {
        async move { Ok(self.0.write(piece).await?) }.boxed()
    }

    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Content>> {
        async move {
            let blob = self.0.finish().await?;
            Ok(content_of(&blob, blob.byte_length))
        }
        .boxed()
    }
}

impl Drive for LiveDrive {
    fn writable(&self) -> bool {
        self.0.writable()
    }

    fn head(&self) -> BoxFuture<'_, Result<Arc<dyn Tree>>> {
        async move { self.tree() }.boxed()
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
            let writer: Box<dyn ContentWriter> = Box::new(Writer(self.0.blob_writer().await?));
            Ok(writer)
        }
        .boxed()
    }

    fn publish(&self, changes: Vec<Change>, batch: Batch) -> BoxFuture<'_, Result<Arc<dyn Tree>>> {
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
                }
            }
            let mut transaction = self.0.corestore().transaction();
            let staged = entries.flush_into(&mut transaction).await?;
            transaction.batch().extend(batch);
            transaction.commit(Durability::Buffered).await?;
            drop(staged);
            self.0.note_version()?;
            self.tree()
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
