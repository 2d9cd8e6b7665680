//! One end of a mirror: a drive or a folder, as a sorted list of nodes with content.

use crate::{
    Entry, Error, Hyperdrive, Ignore, ListOptions, LocalEntry, Localdrive, PosixMetadata,
    ReadOptions, Scanned, SkipReason, path,
};
use bytes::Bytes;
use futures_core::Stream;
use futures_util::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use serde_json::Value;
use std::{cmp::Ordering, pin::pin};

/// One end of a mirror.
#[expect(clippy::large_enum_variant, reason = "there are two in a mirror")]
#[derive(Clone)]
pub enum MirrorSide {
    /// A drive in a store.
    Hyper(Hyperdrive),
    /// A folder on disk.
    Local(Localdrive),
}

impl From<Hyperdrive> for MirrorSide {
    fn from(drive: Hyperdrive) -> Self {
        Self::Hyper(drive)
    }
}

impl From<Localdrive> for MirrorSide {
    fn from(drive: Localdrive) -> Self {
        Self::Local(drive)
    }
}

/// A file or a symlink on one side.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Hyper(Entry),
    Local(LocalEntry),
}

/// What a listing meets.
pub(super) enum Found {
    Node(Node),
    /// `path` is what it would be in the drive, as well as that can be said.
    Skipped {
        path: String,
        why: SkipReason,
    },
}

impl Node {
    pub(super) fn path(&self) -> &str {
        match self {
            Self::Hyper(entry) => &entry.path,
            Self::Local(entry) => &entry.path,
        }
    }

    pub(super) fn executable(&self) -> bool {
        match self {
            Self::Hyper(entry) => entry.value.executable,
            Self::Local(entry) => entry.executable,
        }
    }

    /// The link's target as this side stores it.
    pub(super) fn target(&self) -> Option<&str> {
        match self {
            Self::Hyper(entry) => entry.value.linkname.as_deref(),
            Self::Local(entry) => entry.target.as_deref(),
        }
    }

    pub(super) fn posix(&self) -> PosixMetadata {
        match self {
            Self::Hyper(entry) => entry.posix(),
            Self::Local(entry) => entry.posix.clone(),
        }
    }

    /// What a folder on disk has to have for this node. An entry that was made on a POSIX file system and names no mode has the default
    /// one; of any other, and of all without `posix`, only the executable flag counts.
    pub(super) fn posix_on_disk(&self, posix: bool) -> PosixMetadata {
        if !posix {
            return PosixMetadata::default();
        }
        let made_on_posix = match self {
            Self::Hyper(entry) => PosixMetadata::is_in(entry.value.metadata.as_ref()),
            Self::Local(_) => true,
        };
        let mut posix = self.posix();
        if made_on_posix {
            posix.mode = Some(posix.mode_of(self.executable()));
        }
        posix
    }

    /// The metadata that a drive has to have for this node, where it has `there` so far. What a folder on disk does not know stays; without `posix`
    /// it knows nothing, and has no metadata.
    pub(super) fn metadata(&self, there: Option<&Value>, posix: bool) -> Option<Value> {
        match self {
            Self::Hyper(entry) => entry.value.metadata.clone(),
            Self::Local(_) if !posix => None,
            Self::Local(entry) => PosixMetadata {
                mode: entry.posix.mode,
                mtime: entry.posix.mtime,
                dir: false,
                ..PosixMetadata::decode(there)
            }
            .encode_into(there.cloned()),
        }
    }
}

impl MirrorSide {
    /// The files and links at and below `prefix`, by the bytes of their path.
    pub(super) fn nodes(
        &self,
        prefix: &str,
        ignore: &Ignore,
    ) -> Result<BoxStream<'static, Result<Found, Error>>, Error> {
        let folder = path::normalize_folder(prefix)?;
        let below = match self {
            Self::Hyper(drive) => {
                let options = ListOptions {
                    ignore: ignore.clone(),
                    ..ListOptions::default()
                };
                drive
                    .list(prefix, options)
                    .map_ok(|entry| Found::Node(Node::Hyper(entry)))
                    .boxed()
            }
            Self::Local(drive) => {
                let root = drive.root().to_owned();
                let found = drive.scan(prefix, ignore.clone());
                found
                    .try_filter_map(move |found| {
                        std::future::ready(Ok(match found {
                            Scanned::Entry(entry) => Some(Found::Node(Node::Local(entry))),
                            Scanned::Folder { .. } => None,
                            Scanned::Skipped { path, why } => {
                                let path = path.strip_prefix(&root).unwrap_or(&path);
                                let path = format!("/{}", path.to_string_lossy());
                                Some(Found::Skipped { path, why })
                            }
                        }))
                    })
                    .boxed()
            }
        };
        if folder.is_empty() {
            return Ok(below);
        }
        let side = self.clone();
        let itself = async move { side.node(&folder).await.transpose() };
        let itself = stream::once(itself).filter_map(std::future::ready);
        Ok(itself.map_ok(Found::Node).chain(below).boxed())
    }

    pub(super) async fn node(&self, path: &str) -> Result<Option<Node>, Error> {
        Ok(match self {
            Self::Hyper(drive) => drive.entry(path).await?.map(Node::Hyper),
            Self::Local(drive) => drive.entry(path).await?.map(Node::Local),
        })
    }

    /// How many bytes the content of a node has.
    pub(super) async fn byte_length(&self, node: &Node) -> Result<u64, Error> {
        match (self, node) {
            (Self::Hyper(drive), Node::Hyper(entry)) => drive.content_length(entry).await,
            (_, Node::Local(entry)) => Ok(entry.byte_length),
            (_, Node::Hyper(entry)) => Ok(entry.byte_length()),
        }
    }

    /// The content of a node of this side.
    pub(super) fn content(&self, node: &Node) -> BoxStream<'static, Result<Bytes, Error>> {
        match (self, node) {
            (Self::Hyper(drive), Node::Hyper(entry)) => {
                drive.read_entry(entry, ReadOptions::default()).boxed()
            }
            (Self::Local(drive), node) => drive
                .read_stream(node.path(), ReadOptions::default())
                .boxed(),
            (Self::Hyper(drive), node) => drive
                .read_stream(node.path(), ReadOptions::default())
                .boxed(),
        }
    }

    /// The content of a small node, whole; `None` when it is gone.
    pub(super) async fn whole(&self, node: &Node) -> Result<Option<Bytes>, Error> {
        match (self, node) {
            (Self::Local(drive), node) => drive.get(node.path()).await,
            (Self::Hyper(drive), Node::Hyper(entry)) => match &entry.value.blob {
                None => Ok(Some(Bytes::new())),
                Some(blob) => drive.blobs().await?.get(blob).await.map(Some),
            },
            (Self::Hyper(drive), node) => drive.get(node.path()).await,
        }
    }

    /// The described folders at and below `prefix` (in a folder on disk: those that need a description), by the bytes of path and `/`.
    pub(super) fn folders(
        &self,
        prefix: &str,
        ignore: &Ignore,
    ) -> BoxStream<'static, Result<(String, PosixMetadata), Error>> {
        let ignore = ignore.clone();
        match self {
            Self::Hyper(drive) => {
                let folders = drive.folders(prefix);
                folders
                    .try_filter(move |(path, _)| {
                        std::future::ready(path.is_empty() || !ignore.matches(path))
                    })
                    .boxed()
            }
            Self::Local(drive) => drive
                .scan(prefix, ignore)
                .try_filter_map(|found| {
                    std::future::ready(Ok(match found {
                        // The root's own attributes belong to whoever made the folder.
                        Scanned::Folder { path, posix, empty }
                            if !path.is_empty() && (empty || posix.mode.is_some()) =>
                        {
                            Some((path, posix))
                        }
                        _ => None,
                    }))
                })
                .boxed(),
        }
    }
}

/// A path on one side or on both; or something that the left side cannot offer.
pub(super) enum Pair {
    Nodes(Option<Box<Node>>, Option<Box<Node>>),
    Skipped { path: String, why: SkipReason },
}

/// Walks two sorted listings side by side: no lookups.
pub(super) fn pairs(
    left: BoxStream<'static, Result<Found, Error>>,
    right: BoxStream<'static, Result<Found, Error>>,
) -> impl Stream<Item = Result<Pair, Error>> + Send + 'static {
    async_stream::try_stream! {
        let mut left = pin!(left);
        let right = right.try_filter_map(|found| {
            std::future::ready(Ok(match found {
                Found::Node(node) => Some(Box::new(node)),
                Found::Skipped { .. } => None,
            }))
        });
        let mut right = pin!(right);
        let mut b = right.try_next().await?;
        loop {
            let a = match left.try_next().await? {
                Some(Found::Skipped { path, why }) => {
                    yield Pair::Skipped { path, why };
                    continue;
                }
                Some(Found::Node(node)) => Some(Box::new(node)),
                None => None,
            };
            let Some(a) = a else {
                while let Some(node) = b.take() {
                    yield Pair::Nodes(None, Some(node));
                    b = right.try_next().await?;
                }
                return;
            };
            loop {
                let order = match &b {
                    None => Ordering::Less,
                    Some(b) => a.path().cmp(b.path()),
                };
                match order {
                    Ordering::Less => {
                        yield Pair::Nodes(Some(a), None);
                    }
                    Ordering::Equal => {
                        yield Pair::Nodes(Some(a), b.take());
                        b = right.try_next().await?;
                    }
                    Ordering::Greater => {
                        yield Pair::Nodes(None, b.take());
                        b = right.try_next().await?;
                        continue;
                    }
                }
                break;
            }
        }
    }
}

/// True when two contents are the same, byte for byte. Reads both no further than the first difference.
pub(super) async fn same_content(
    left: BoxStream<'static, Result<Bytes, Error>>,
    right: BoxStream<'static, Result<Bytes, Error>>,
) -> Result<bool, Error> {
    let (mut left, mut right) = (left, right);
    let (mut a, mut b) = (Bytes::new(), Bytes::new());
    loop {
        if a.is_empty() {
            a = next_piece(&mut left).await?;
        }
        if b.is_empty() {
            b = next_piece(&mut right).await?;
        }
        let count = a.len().min(b.len());
        if count == 0 {
            return Ok(a.is_empty() && b.is_empty());
        }
        if a.split_to(count) != b.split_to(count) {
            return Ok(false);
        }
    }
}

/// The next piece that is not empty; an empty one at the end.
async fn next_piece(pieces: &mut BoxStream<'static, Result<Bytes, Error>>) -> Result<Bytes, Error> {
    while let Some(piece) = pieces.try_next().await? {
        if !piece.is_empty() {
            return Ok(piece);
        }
    }
    Ok(Bytes::new())
}
