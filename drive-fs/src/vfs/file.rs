//! Open files: reading, writing, sizes.

use super::{
    attrs::Owner,
    error::{Result, VfsError},
    extents::{Extents, Run},
    lower::{Content, Tree},
    name,
    node::{File, Ino},
    overlay::{Reader, Shared, What},
    state::State,
    vfs::{Stat, Vfs},
};
use bytes::{Bytes, BytesMut};
use std::{ffi::OsStr, future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

/// The largest file, in bytes (1 TiB): more is `EFBIG`.
pub const FILE_BYTES_MAX: u64 = 1 << 40;

/// The most that one [`Vfs::copy`] copies, in bytes: a call is answered within a moment, and the caller asks for the rest.
pub const COPIED_AT_ONCE: u64 = 64 * 1024 * 1024;
const PIECE_COPIED: u64 = 1024 * 1024;
/// A smaller part of a content is copied by its bytes: naming it would cost as much.
const SHARED_BYTES_MIN: u64 = 4096;
/// Of a write that large, in bytes, the disk takes the beginning while the kernel still hands over the next: what comes in such pieces is often synced soon.
const WRITTEN_BACK_MIN: usize = 256 << 10;

/// How [`Vfs::open_file`] and [`Vfs::create`] open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OpenMode {
    /// The handle may write.
    pub write: bool,
    /// Cut to nothing.
    pub truncate: bool,
    /// [`Vfs::create`] only: fail when it exists.
    pub exclusive: bool,
}

/// How [`Vfs::allocate`] changes a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocate {
    /// Grow the file to the range's end.
    Grow,
    /// Nothing to do: a drive has no blocks to set aside.
    KeepSize,
    /// Zeros, and the size stays.
    PunchHole,
    /// Zeros, and the file grows to the range's end.
    ZeroRange,
}

/// What [`Vfs::seek`] looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeekFor {
    /// The next byte that is stored.
    Data,
    /// The next that is not; the end counts as one.
    Hole,
}

/// A stretch of a file that comes from one place.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    Journal {
        key: Arc<super::extents::Written>,
        skip: u64,
        len: u64,
    },
    Zero {
        len: u64,
    },
    Base {
        content: Content,
        offset: u64,
        len: u64,
    },
}

/// The pieces of `offset..end` (within the file's size).
pub(crate) fn pieces(
    extents: &Extents,
    base: Option<Content>,
    base_shown: u64,
    offset: u64,
    end: u64,
) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for run in extents.runs(offset, end) {
        match run {
            Run::Journal { written, skip, len } => pieces.push(match written.shared {
                Some(content) => Piece::Base {
                    content,
                    offset: skip,
                    len,
                },
                None => Piece::Journal {
                    key: written,
                    skip,
                    len,
                },
            }),
            Run::Zero { len } => pieces.push(Piece::Zero { len }),
            Run::Below { offset, len } => {
                let shown = base_shown.saturating_sub(offset).min(len);
                if let Some(content) = base
                    && shown > 0
                {
                    pieces.push(Piece::Base {
                        content,
                        offset,
                        len: shown,
                    });
                }
                if len > shown {
                    pieces.push(Piece::Zero { len: len - shown });
                }
            }
        }
    }
    pieces
}

/// The bytes of these pieces; `None` when a write was published and removed meanwhile: ask for the pieces again.
pub(crate) async fn gather(
    pieces: &[Piece],
    reader: &Reader,
    tree: &Arc<dyn Tree>,
) -> Result<Option<Bytes>> {
    let mut parts = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match piece {
            Piece::Journal { key, skip, len } => {
                let Some(bytes) = reader.get(&key.key)? else {
                    return Ok(None);
                };
                let range = usize::try_from(*skip)
                    .ok()
                    .zip(usize::try_from(skip + len).ok());
                let part = range
                    .filter(|(_, end)| *end <= bytes.len())
                    .map(|(start, end)| bytes.slice(start..end));
                parts.push(part.ok_or(VfsError::Damaged { what: "write" })?);
            }
            Piece::Zero { len } => {
                parts.push(BytesMut::zeroed(usize::try_from(*len).unwrap_or(usize::MAX)).freeze())
            }
            Piece::Base {
                content,
                offset,
                len,
            } => {
                let (mut at, end) = (*offset, offset + len);
                while at < end {
                    let part = tree
                        .read(content, at, usize::try_from(end - at).unwrap_or(usize::MAX))
                        .await?;
                    if part.is_empty() {
                        return Err(VfsError::Lower(super::lower::LowerError::Corrupt(
                            "content ends early".to_owned(),
                        )));
                    }
                    at += part.len() as u64;
                    parts.push(part);
                }
            }
        }
    }
    if parts.len() == 1 {
        return Ok(parts.pop());
    }
    let mut all = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
    for part in parts {
        all.extend_from_slice(&part);
    }
    Ok(Some(all.freeze()))
}

impl Vfs {
    /// Opens a file and answers its handle.
    ///
    /// # Errors
    /// `NotFound`, `IsFolder`, `ReadOnly`.
    pub async fn open_file(&self, ino: Ino, mode: OpenMode) -> Result<u64> {
        if !mode.write && !mode.truncate {
            let mut state = self.state.lock();
            state.file(ino)?;
            return state.open_handle(ino, false);
        }
        self.must_write()?;
        let _names = self.names.read().await;
        self.know_names(ino).await?;
        let mut state = self.state.lock();
        state.may_change(ino)?;
        if mode.truncate && state.file(ino)?.size > 0 {
            state.change_content(ino, What::Truncate { size: 0 }, Bytes::new())?;
        }
        state.file(ino)?;
        state.open_handle(ino, mode.write)
    }

    /// Makes a file and opens it; opens the one that is there unless `exclusive`.
    ///
    /// # Errors
    /// As [`make_file`](Self::make_file) and [`open_file`](Self::open_file).
    pub async fn create(
        &self,
        parent: Ino,
        name: &OsStr,
        mode: u32,
        owner: Owner,
        open: OpenMode,
    ) -> Result<(Stat, u64)> {
        let name = name::check(name)?;
        self.must_write()?;
        let made = {
            let _names = self.names.read().await;
            self.know_names_at(parent, name).await?;
            self.with_names(&[(parent, name)], |state| {
                let ino = match state.slot(parent, name)?.ino {
                    Some(_) if open.exclusive => return Err(VfsError::Exists),
                    Some(ino) => {
                        if open.truncate && state.file(ino)?.size > 0 {
                            state.change_content(ino, What::Truncate { size: 0 }, Bytes::new())?;
                        }
                        state.file(ino)?;
                        ino
                    }
                    None => {
                        let kind = super::node::Kind::File(File {
                            dirty: true,
                            ..File::default()
                        });
                        state.insert_new(parent, name, mode, owner, kind)?
                    }
                };
                let handle = state.open_handle(ino, open.write)?;
                Ok((state.stat_for_kernel(ino)?, handle))
            })
            .await?
        };
        self.publisher.changed();
        Ok(made)
    }

    /// Closes a handle of a file or a folder. The last writer's close lets the file be published.
    ///
    /// # Errors
    /// `BadHandle`.
    pub fn close(&self, handle: u64) -> Result<()> {
        let (ino, last_writer, last) = {
            let mut state = self.state.lock();
            let (ino, last_writer) = state.close_handle(handle)?;
            let open = state.nodes.get(&ino).map_or(0, |node| node.handles);
            (ino, last_writer, open == 0)
        };
        if last {
            self.aheads.closed(ino);
        }
        if last_writer {
            self.publisher.changed();
        }
        Ok(())
    }

    /// Up to `len` bytes at `offset`; less only at the end.
    ///
    /// # Errors
    /// `NotFound`, `IsFolder`, and those of the drive.
    pub async fn read(&self, ino: Ino, offset: u64, len: usize) -> Result<Bytes> {
        if let Some(made) = self.read_made(ino).await? {
            let start = usize::try_from(offset).map_or(made.len(), |at| at.min(made.len()));
            return Ok(made.slice(start..made.len().min(start.saturating_add(len))));
        }
        loop {
            let (pieces, reader, tree) = {
                let state = self.state.lock();
                let file = state.file(ino)?;
                let end = offset.saturating_add(len as u64).min(file.size);
                if offset >= end {
                    return Ok(Bytes::new());
                }
                let pieces = pieces(&file.extents, file.base, file.base_shown, offset, end);
                (pieces, state.overlay.reader(), state.tree.clone())
            };
            let far = match &pieces[..] {
                [Piece::Base { content, .. }] if !self.drive.writable() => Some(*content),
                _ => None,
            };
            if let Some(content) = &far {
                self.fetch_ahead(&tree, ino, content, (offset, len as u64))
                    .await?;
            }
            let mut gathered = pin!(gather(&pieces, &reader, &tree));
            let polled = poll_fn(|context| Poll::Ready(gathered.as_mut().poll(context))).await;
            let bytes = match polled {
                Poll::Ready(bytes) => bytes?,
                Poll::Pending => {
                    if far.is_some() {
                        self.aheads.waited(ino);
                    }
                    gathered.await?
                }
            };
            if let Some(bytes) = bytes {
                return Ok(bytes);
            }
            // Memory is about to follow the publication; waiting for it is under the caller's deadline.
            tokio::task::yield_now().await;
        }
    }

    /// Has what is read next on its way, if reads follow each other.
    async fn fetch_ahead(
        &self,
        tree: &Arc<dyn Tree>,
        ino: Ino,
        content: &Content,
        (offset, len): (u64, u64),
    ) -> Result<()> {
        let end = offset.saturating_add(len).min(content.size);
        if let Some((from, to)) = self.aheads.read(ino, offset, end, content.size) {
            let fetch = tree.fetch(content, from, to - from).await?;
            self.aheads.fetches(ino, fetch);
        }
        Ok(())
    }

    /// Writes all of `bytes` at `offset`. When this returns, the write survives the end of this process.
    ///
    /// # Errors
    /// `TooLarge` past [`FILE_BYTES_MAX`]; `ReadOnly`; `BadHandle` for a file of several names that was not opened for writing; a full disk, which
    /// leaves the file as it was.
    pub fn write(&self, ino: Ino, offset: u64, bytes: Bytes) -> Result<()> {
        self.must_write()?;
        let end = offset
            .checked_add(bytes.len() as u64)
            .ok_or(VfsError::TooLarge)?;
        if end > FILE_BYTES_MAX {
            return Err(VfsError::TooLarge);
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let large = bytes.len() >= WRITTEN_BACK_MIN;
        let mut state = self.state.lock();
        state.writable(ino)?;
        state.change_content(
            ino,
            What::Write {
                offset,
                len: bytes.len() as u64,
            },
            bytes,
        )?;
        let store = large.then(|| state.overlay.last_commit().0);
        drop(state);
        if let Some(store) = store {
            // Not under the lock: the disk may have no room for more at once.
            store.write_back();
        }
        self.publisher.written();
        Ok(())
    }

    /// Sets a file's size; new bytes are zeros.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn set_size(&self, ino: Ino, size: u64) -> Result<()> {
        self.must_write()?;
        if size > FILE_BYTES_MAX {
            return Err(VfsError::TooLarge);
        }
        {
            let _names = self.names.read().await;
            self.know_names(ino).await?;
            let mut state = self.state.lock();
            state.file(ino)?;
            state.change_content(ino, What::Truncate { size }, Bytes::new())?;
        }
        self.publisher.changed();
        Ok(())
    }

    /// Sets aside, zeroes or punches a range.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn allocate(&self, ino: Ino, offset: u64, len: u64, how: Allocate) -> Result<()> {
        self.must_write()?;
        let end = offset
            .checked_add(len)
            .filter(|end| *end <= FILE_BYTES_MAX)
            .ok_or(VfsError::TooLarge)?;
        {
            let _names = self.names.read().await;
            self.know_names(ino).await?;
            let mut state = self.state.lock();
            let size = state.file(ino)?.size;
            if matches!(how, Allocate::PunchHole | Allocate::ZeroRange) && offset < size {
                state.change_content(
                    ino,
                    What::Zero {
                        offset,
                        len: end.min(size) - offset,
                    },
                    Bytes::new(),
                )?;
            }
            if matches!(how, Allocate::Grow | Allocate::ZeroRange) && end > size {
                state.change_content(ino, What::Truncate { size: end }, Bytes::new())?;
            }
        }
        self.publisher.changed();
        Ok(())
    }

    /// Copies a range from one file to another (or within one), at most [`COPIED_AT_ONCE`] bytes of it, and answers how many: fewer also at the
    /// end of the source. What the drive has of it is not read and not stored again.
    ///
    /// # Errors
    /// As [`read`](Self::read) and [`write`](Self::write).
    pub async fn copy(&self, from: (Ino, u64), to: (Ino, u64), len: u64) -> Result<u64> {
        self.must_write()?;
        let len = len.min(COPIED_AT_ONCE);
        let mut copied = 0;
        while copied < len {
            let at = to.1.checked_add(copied).ok_or(VfsError::TooLarge)?;
            match self
                .copy_piece(from.0, from.1 + copied, to.0, at, len - copied)
                .await?
            {
                0 => break,
                count => copied += count,
            }
        }
        Ok(copied)
    }

    /// Copies the beginning of a range: as much as lies in one place.
    async fn copy_piece(&self, from: Ino, offset: u64, to: Ino, at: u64, len: u64) -> Result<u64> {
        let shared = {
            let mut state = self.state.lock();
            let file = state.file(from)?;
            let end = offset.saturating_add(len).min(file.size);
            if offset >= end {
                return Ok(0);
            }
            let pieces = pieces(&file.extents, file.base, file.base_shown, offset, end);
            match pieces.first() {
                Some(Piece::Base {
                    content,
                    offset,
                    len,
                }) if *len >= SHARED_BYTES_MIN || *len == content.size => {
                    let what = What::Share {
                        offset: at,
                        len: *len,
                    };
                    let value = Shared {
                        content: *content,
                        start: *offset,
                    };
                    if at.saturating_add(*len) > FILE_BYTES_MAX {
                        return Err(VfsError::TooLarge);
                    }
                    state.writable(to)?;
                    state.change_content(to, what, value.encode()?)?;
                    Some(*len)
                }
                Some(_) | None => None,
            }
        };
        if let Some(len) = shared {
            self.publisher.written();
            return Ok(len);
        }
        let len = usize::try_from(PIECE_COPIED.min(len)).unwrap_or(usize::MAX);
        let bytes = self.read(from, offset, len).await?;
        let count = bytes.len() as u64;
        self.write(to, at, bytes)?;
        Ok(count)
    }

    /// The next data or hole at or after `offset`.
    ///
    /// # Errors
    /// `NoSuchOffset` at or past the end, or when only holes follow.
    pub fn seek(&self, ino: Ino, offset: u64, what: SeekFor) -> Result<u64> {
        let state = self.state.lock();
        let file = state.file(ino)?;
        if offset >= file.size {
            return Err(VfsError::NoSuchOffset);
        }
        let mut at = offset;
        for piece in pieces(&file.extents, file.base, file.base_shown, offset, file.size) {
            let (len, hole) = match piece {
                Piece::Journal { len, .. } | Piece::Base { len, .. } => (len, false),
                Piece::Zero { len } => (len, true),
            };
            if hole == (what == SeekFor::Hole) {
                return Ok(at);
            }
            at += len;
        }
        match what {
            SeekFor::Hole => Ok(file.size),
            SeekFor::Data => Err(VfsError::NoSuchOffset),
        }
    }

    /// Returns when all that this mount has answered is on disk. Publishes nothing.
    ///
    /// # Errors
    /// Those of the disk.
    pub async fn sync(&self) -> Result<()> {
        let (store, seq) = self.state.lock().overlay.last_commit();
        store.synced(seq).await.map_err(pome_cores::Error::from)?;
        Ok(())
    }

    /// As [`sync`](Self::sync), and blocks the thread.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn sync_blocking(&self) -> Result<()> {
        let (store, _) = self.state.lock().overlay.last_commit();
        Ok(store.sync().map_err(pome_cores::Error::from)?)
    }
}

impl State {
    /// Whoever writes has opened the file for writing, and then all its names are known.
    fn writable(&self, ino: Ino) -> Result<()> {
        self.file(ino)?;
        match self.node(ino)?.link {
            Some(link) if !link.known => Err(VfsError::BadHandle),
            Some(_) | None => Ok(()),
        }
    }
}

/// A file's content at one moment, to be published while it may change.
pub(crate) struct Copy {
    pub(crate) extents: Extents,
    pub(crate) base: Option<Content>,
    pub(crate) base_shown: u64,
    pub(crate) size: u64,
    /// Newest record in it.
    pub(crate) seq: u64,
    /// The file's path in the mount.
    path: String,
}

/// So long a publication waits for a piece of what a file was before: it may be with a peer.
const BASE_WAIT: Duration = Duration::from_secs(3);

impl Copy {
    /// Takes it, and has the file note truncations from now on. What it names of the drive is kept while the publication runs.
    pub(crate) fn take(state: &mut State, ino: Ino) -> Result<Self> {
        let (seq, path) = (state.overlay.seq(), state.path_of(ino));
        if let Some(file) = state.nodes.get(&ino).and_then(|node| node.file())
            && let Some(publishing) = &mut state.publishing
        {
            publishing.contents.extend(file.base);
            publishing.contents.extend(file.extents.shared());
        }
        let file = state
            .node_mut(ino)?
            .file_mut()
            .ok_or(VfsError::InvalidArgument)?;
        file.cut_since_copy = Some(file.size);
        Ok(Self {
            extents: file.extents.clone(),
            base: file.base,
            base_shown: file.base_shown,
            size: file.size,
            seq,
            path,
        })
    }

    /// `len` bytes at `offset`, all within its size.
    ///
    /// # Errors
    /// `Unreadable`, whatever it is.
    pub(crate) async fn read(
        &self,
        offset: u64,
        len: u64,
        reader: &Reader,
        tree: &Arc<dyn Tree>,
    ) -> Result<Bytes> {
        let pieces = pieces(
            &self.extents,
            self.base,
            self.base_shown,
            offset,
            offset + len,
        );
        let gathered = tokio::time::timeout(BASE_WAIT, gather(&pieces, reader, tree));
        let gathered = gathered.await.unwrap_or(Err(VfsError::TimedOut));
        let whole = |bytes: &Bytes| bytes.len() as u64 == len;
        let bytes = gathered.and_then(|bytes| {
            bytes
                .filter(whole)
                .ok_or(VfsError::Damaged { what: "write" })
        });
        bytes.map_err(|error| VfsError::Unreadable {
            path: self.path.clone(),
            why: error.to_string(),
        })
    }
}

impl File {
    /// True when something was done to the file after the copy that became `content`.
    pub(crate) fn is_past(&self, content: Content, copy_seq: u64) -> bool {
        self.extents.is_past(copy_seq)
            || self.size != content.size
            || self.cut_since_copy.is_some_and(|cut| cut < content.size)
    }

    /// The copy became `content`: what came after it stays dirty, over it.
    pub(crate) fn published(&mut self, content: Content, copy_seq: u64) {
        self.extents.forget_until(copy_seq);
        let cut = self.cut_since_copy.take().unwrap_or(content.size);
        self.base = Some(content);
        self.base_shown = content.size.min(cut);
        self.dirty = !self.extents.is_empty()
            || self.size != content.size
            || self.base_shown != content.size;
        if self.dirty {
            self.first_write = self.last_write;
        } else {
            (self.first_write, self.last_write) = (None, None);
        }
    }
}
