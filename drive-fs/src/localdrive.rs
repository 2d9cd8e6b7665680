//! A folder on disk with the face of a drive.
//!
//! Nothing leaves the folder: `..` beyond it is refused, and a symlink inside is never gone through (unless asked for). Names that no
//! drive path can hold are reported, not passed over in silence. Sockets, FIFOs and devices are no entries.
//! Source: localdrive 2.2.1, `index.js`, `streams.js`.

mod beneath;
mod scan;
mod write;

use crate::{Error, Ignore, PosixMetadata, PutOptions, ReadOptions, Timestamp, error, path};
use beneath::Beneath;
use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::StreamExt;
use rustix::{
    fs::{AtFlags, Stat, unlinkat},
    io::Errno,
};
use scan::Look;
pub use scan::{Scanned, SkipReason};
use std::{
    fs::File,
    os::{fd::OwnedFd, unix::fs::FileExt},
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::sync::mpsc;
pub use write::LocalWriter;

/// Bytes that are read from disk at once.
const READ_BYTES: u64 = 1024 * 1024;
/// Bytes that are asked for at least: some files do not say how long they are.
const PROBE_BYTES: u64 = 8 * 1024;
/// A walk hands over so many at a time: to wake who waits costs more than to look at a name.
const SCANNED_AT_ONCE: usize = 64;
/// How many links may follow each other.
const LINKS_MAX: usize = 16;

/// How a folder is used.
#[derive(Debug, Clone, Default)]
pub struct LocalOptions {
    /// A file appears under its name only when it is complete: it is written beside it and renamed (default: false).
    pub atomic: bool,
    /// Go through symlinks, wherever they lead (default: false, they are entries).
    pub follow_links: bool,
    /// Make the folder when it is not there (default: false).
    pub create: bool,
    /// Make no symlinks: what would be one is refused with EPERM, and a mirror leaves it out (default: false).
    pub no_links: bool,
}

/// A folder on disk. Cheap to clone.
///
/// ```
/// use futures_util::TryStreamExt;
/// use pome_drive_fs::{Ignore, LocalOptions, Localdrive, PutOptions};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = tempfile::tempdir()?;
/// let drive = Localdrive::open(folder.path(), LocalOptions::default())?;
/// drive.put("/docs/a.txt", "hello", PutOptions::default()).await?;
/// assert_eq!(std::fs::read(folder.path().join("docs/a.txt"))?, b"hello");
///
/// let paths: Vec<_> = drive.list("/", Ignore::none()).map_ok(|e| e.path).try_collect().await?;
/// assert_eq!(paths, ["/docs/a.txt"]);
/// assert!(drive.put("/../outside", "x", PutOptions::default()).await.is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Localdrive {
    inner: Arc<Inner>,
}

struct Inner {
    beneath: Beneath,
    atomic: bool,
    no_links: bool,
}

/// A file or a symlink on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalEntry {
    /// The stored path, with a leading `/` (npm's `key`).
    pub path: String,
    /// The owner's execute bit.
    pub executable: bool,
    /// The target of a symlink, as `readlink` gives it.
    pub target: Option<String>,
    /// Size; 0 for a link.
    pub byte_length: u64,
    /// Mode, where it is not the default, and time of change.
    pub posix: PosixMetadata,
}

impl LocalEntry {
    /// True for a symlink.
    pub fn is_symlink(&self) -> bool {
        self.target.is_some()
    }
}

fn posix_of(stat: &Stat, executable: bool) -> PosixMetadata {
    PosixMetadata {
        mtime: Some(Timestamp {
            seconds: stat.st_mtime,
            nanoseconds: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
        }),
        ..PosixMetadata::default()
    }
    .with_mode(stat.st_mode, executable)
}

impl Localdrive {
    /// The folder `root` as a drive.
    ///
    /// # Errors
    /// [`Error::Io`] when it is not there or is no folder.
    pub fn open(root: impl AsRef<Path>, options: LocalOptions) -> Result<Self, Error> {
        let root = root.as_ref();
        if options.create {
            std::fs::create_dir_all(root).map_err(|e| Error::io(root, e))?;
        }
        let root = std::fs::canonicalize(root).map_err(|e| Error::io(root, e))?;
        let inner = Inner {
            beneath: Beneath::open(&root, options.follow_links)?,
            atomic: options.atomic,
            no_links: options.no_links,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// As [`open`](Self::open), of a folder that is open already, for reading: wherever the path `root` leads by now, this is the one. `create` says nothing.
    pub fn open_in(folder: OwnedFd, root: PathBuf, options: &LocalOptions) -> Self {
        let inner = Inner {
            beneath: Beneath::of(folder, root, options.follow_links),
            atomic: options.atomic,
            no_links: options.no_links,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.inner.beneath.root
    }

    /// Where a drive path is on disk.
    ///
    /// # Errors
    /// [`Error::Path`] when it would leave the root.
    pub fn to_path(&self, path: &str) -> Result<PathBuf, Error> {
        Ok(self.inner.beneath.on_disk(&path::normalize_folder(path)?))
    }

    /// Runs `task` where it may wait for the disk.
    async fn blocking<T: Send + 'static>(
        &self,
        task: impl FnOnce(&Inner) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let inner = self.inner.clone();
        error::finished(tokio::task::spawn_blocking(move || task(&inner)).await)
    }

    /// The file or link at `path`; `None` when there is none, or a folder, socket, FIFO or device.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::LinkInTheWay`], [`Error::Io`].
    pub async fn entry(&self, path: &str) -> Result<Option<LocalEntry>, Error> {
        let path = path::normalize(path)?;
        self.blocking(move |inner| inner.entry(&path)).await
    }

    /// As [`entry`](Self::entry), following links that stay in the root, as npm resolves them (see
    /// [`GetOptions::follow`](crate::GetOptions::follow)).
    ///
    /// # Errors
    /// As [`entry`](Self::entry), [`Error::RecursiveSymlink`] after 16 links.
    pub async fn entry_following(&self, path: &str) -> Result<Option<LocalEntry>, Error> {
        let mut path = path::normalize(path)?;
        for _ in 0..LINKS_MAX {
            let Some(entry) = self.entry(&path).await? else {
                return Ok(None);
            };
            let Some(linkname) = self.linkname(&entry) else {
                return Ok(Some(entry));
            };
            path = path::normalize(&path::resolve(&path, &linkname)?)?;
        }
        Err(Error::RecursiveSymlink { path })
    }

    /// The target of a link as npm's Localdrive tells it: absolute ones inside the root start at the root.
    pub fn linkname(&self, entry: &LocalEntry) -> Option<String> {
        let target = entry.target.as_ref()?.replace('\\', "/");
        let root = self.root().to_string_lossy();
        Some(match target.strip_prefix(&*root) {
            Some(rest) if rest.starts_with('/') => rest.to_owned(),
            Some("") => "/".to_owned(),
            _ => target,
        })
    }

    /// True when there is a file or link at `path`.
    ///
    /// # Errors
    /// As [`entry`](Self::entry).
    pub async fn exists(&self, path: &str) -> Result<bool, Error> {
        Ok(self.entry(path).await?.is_some())
    }

    /// The content of the file at `path`, whole, in memory; `None` when there is no file.
    ///
    /// # Errors
    /// As [`entry`](Self::entry).
    pub async fn get(&self, path: &str) -> Result<Option<Bytes>, Error> {
        let path = path::normalize(path)?;
        self.blocking(move |inner| inner.get(&path)).await
    }

    /// The content of the file at `path`, in pieces of at most 1 MiB.
    pub fn read_stream(
        &self,
        path: &str,
        options: ReadOptions,
    ) -> impl Stream<Item = Result<Bytes, Error>> + Send + 'static + use<> {
        let (drive, path) = (self.clone(), path.to_owned());
        async_stream::try_stream! {
            let path: Arc<str> = path::normalize(&path)?.into();
            let (mut offset, mut left) = options.range(false);
            let mut open = None;
            loop {
                let (file, name) = (open.take(), path.clone());
                let read = drive.blocking(move |inner| inner.piece(file, &name, offset, left));
                let piece = read.await?;
                open = Some(piece.file);
                offset += piece.bytes.len() as u64;
                left -= piece.bytes.len() as u64;
                if !piece.bytes.is_empty() {
                    yield piece.bytes;
                }
                if piece.ended || left == 0 {
                    return;
                }
            }
        }
    }

    /// Walks the folder at `path`, all of it, by the bytes of the path (a folder stands where its content does). What is left out is not
    /// entered.
    pub fn scan(
        &self,
        path: &str,
        ignore: Ignore,
    ) -> impl Stream<Item = Result<Scanned, Error>> + Send + 'static + use<> {
        let (drive, path) = (self.clone(), path.to_owned());
        async_stream::try_stream! {
            let path = path::normalize_folder(&path)?;
            let (send, mut receive) = mpsc::channel(4);
            let inner = drive.inner.clone();
            // Dropping the stream closes the channel, and that ends the walk.
            let walk = tokio::task::spawn_blocking(move || {
                let mut several = Vec::new();
                let walked = scan::scan(&inner.beneath, &path, &ignore, &mut |found| {
                    several.push(found);
                    several.len() < SCANNED_AT_ONCE
                        || send.blocking_send(std::mem::take(&mut several)).is_ok()
                });
                // What was met before a folder that cannot be read, too.
                let _ = send.blocking_send(several);
                walked
            });
            while let Some(several) = receive.recv().await {
                for found in several {
                    yield found;
                }
            }
            error::finished(walk.await)?;
        }
    }

    /// The files and links below the folder at `path`, by the bytes of the path. Sockets, FIFOs and devices are left out; for a name that
    /// no drive path can hold there is an [`Error::UnsupportedName`], and the listing goes on.
    pub fn list(
        &self,
        path: &str,
        ignore: Ignore,
    ) -> impl Stream<Item = Result<LocalEntry, Error>> + Send + 'static + use<> {
        let found = self.scan(path, ignore);
        found
            .map(|found| match found {
                Ok(Scanned::Entry(entry)) => Some(Ok(entry)),
                Ok(Scanned::Skipped { path, why }) if why.is_name() => {
                    let why = why.as_str();
                    Some(Err(Error::UnsupportedName { path, why }))
                }
                Ok(_) => None,
                Err(e) => Some(Err(e)),
            })
            .filter_map(std::future::ready)
    }

    /// The names in the folder at `path`, sorted as [`list`](Self::list) meets them. Folders with nothing in them are left out, as in npm.
    ///
    /// # Errors
    /// As [`entry`](Self::entry).
    pub async fn readdir(&self, path: &str) -> Result<Vec<String>, Error> {
        let path = path::normalize_folder(path)?;
        self.blocking(move |inner| inner.readdir(&path)).await
    }

    /// Writes a file, with the folders above it. Of the metadata, the mode (without set-uid and set-gid) and the time are kept.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::LinkInTheWay`], [`Error::Io`].
    pub async fn put(
        &self,
        path: &str,
        content: impl Into<Bytes>,
        options: PutOptions,
    ) -> Result<(), Error> {
        let (path, content) = (path::normalize(path)?, content.into());
        self.blocking(move |inner| {
            let mut file = write::Unfinished::create(inner, &path, &options)?;
            file.write(&content)?;
            file.finish()
        })
        .await
    }

    /// Writes a file piece by piece. Without [`finish`](LocalWriter::finish) an atomic drive keeps what was there.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn write_stream(
        &self,
        path: &str,
        options: PutOptions,
    ) -> Result<LocalWriter, Error> {
        let path = path::normalize(path)?;
        let create = move |inner: &Inner| write::Unfinished::create(inner, &path, &options);
        Ok(LocalWriter::new(self.blocking(create).await?))
    }

    /// Removes a file or link, and the folders above it that this leaves empty. Without one, nothing happens.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn del(&self, path: &str) -> Result<(), Error> {
        let path = path::normalize(path)?;
        self.blocking(move |inner| inner.del(&path)).await
    }

    /// Makes a symlink, in place of what is there. A target that starts with `/` is meant from the root of the drive, as in npm; any other is
    /// stored as given.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn symlink(&self, path: &str, target: &str) -> Result<(), Error> {
        let target = match target.starts_with('/') {
            true => self.to_path(target)?.into_os_string(),
            false => target.into(),
        };
        let path = path::normalize(path)?;
        self.blocking(move |inner| inner.symlink(&path, Path::new(&target), None))
            .await
    }

    /// As [`symlink`](Self::symlink), with the target exactly as given and a time.
    pub(crate) async fn symlink_verbatim(
        &self,
        path: &str,
        target: &str,
        mtime: Option<Timestamp>,
    ) -> Result<(), Error> {
        let (path, target) = (path::normalize(path)?, PathBuf::from(target));
        self.blocking(move |inner| inner.symlink(&path, &target, mtime))
            .await
    }

    /// Makes a folder and the ones above it.
    pub(crate) async fn make_folder(&self, path: &str) -> Result<(), Error> {
        let path = path::normalize_folder(path)?;
        self.blocking(move |inner| inner.beneath.folder(&path, true).map(drop))
            .await
    }

    /// Sets mode and time of a file, link or folder that is there. Set-uid and set-gid are left out: the drive may be somebody else's.
    pub(crate) async fn set_attributes(
        &self,
        path: &str,
        posix: PosixMetadata,
        executable: bool,
    ) -> Result<(), Error> {
        let path = path::normalize_folder(path)?;
        self.blocking(move |inner| inner.set_attributes(&path, &posix, executable))
            .await
    }
}

/// Reads until `buf` is full or the file ends.
fn read_full(file: &File, buf: &mut [u8], offset: u64) -> std::io::Result<usize> {
    let mut count = 0;
    while count < buf.len() {
        match file.read_at(&mut buf[count..], offset + count as u64) {
            Ok(0) => break,
            Ok(n) => count += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(count)
}

/// What was read of a file at once.
struct Piece {
    file: File,
    bytes: Bytes,
    /// Nothing came behind it.
    ended: bool,
}

impl Inner {
    /// A piece of the file at `path`, which is opened unless it is open.
    fn piece(
        &self,
        open: Option<File>,
        path: &str,
        offset: u64,
        left: u64,
    ) -> Result<Piece, Error> {
        let file = match open {
            Some(file) => file,
            None => self
                .beneath
                .read(path)?
                .ok_or_else(|| Error::NotFound { path: path.into() })?,
        };
        let io = |error| Error::io(self.beneath.on_disk(path), error);
        // One byte more than there should be: what comes short has ended.
        let there = file.metadata().map_err(io)?.len().saturating_sub(offset);
        let there = there.saturating_add(1).clamp(PROBE_BYTES, READ_BYTES);
        let mut bytes = BytesMut::zeroed(left.min(there) as usize);
        let count = read_full(&file, &mut bytes, offset).map_err(io)?;
        let ended = count < bytes.len();
        bytes.truncate(count);
        Ok(Piece {
            file,
            bytes: bytes.freeze(),
            ended,
        })
    }

    fn entry(&self, path: &str) -> Result<Option<LocalEntry>, Error> {
        let Some(place) = self.beneath.place(path, false)? else {
            return Ok(None);
        };
        Ok(match self.beneath.look(&place, path)? {
            Look::Entry(entry) => Some(entry),
            Look::Folder | Look::Skip(_) => None,
        })
    }

    fn get(&self, path: &str) -> Result<Option<Bytes>, Error> {
        use std::io::Read;
        let Some(mut file) = self.beneath.read(path)? else {
            return Ok(None);
        };
        let mut content = Vec::new();
        let read = file.read_to_end(&mut content);
        read.map_err(|e| Error::io(self.beneath.on_disk(path), e))?;
        Ok(Some(content.into()))
    }

    fn readdir(&self, path: &str) -> Result<Vec<String>, Error> {
        let mut names: Vec<String> = Vec::new();
        let skip = path.len() + 1;
        scan::scan(&self.beneath, path, &Ignore::none(), &mut |found| {
            if let Scanned::Entry(entry) = found {
                let name = entry.path[skip..].split('/').next().unwrap_or_default();
                if names.last().is_none_or(|last| last != name) {
                    names.push(name.to_owned());
                }
            }
            true
        })?;
        Ok(names)
    }

    fn del(&self, path: &str) -> Result<(), Error> {
        let Some(place) = self.beneath.place(path, false)? else {
            return Ok(());
        };
        if !place.unlink()? {
            return Ok(());
        }
        let mut folder = path::parent(path);
        while !folder.is_empty() {
            let Some(place) = self.beneath.place(folder, false)? else {
                break;
            };
            match unlinkat(&place.folder, place.name, AtFlags::REMOVEDIR) {
                Ok(()) => folder = path::parent(folder),
                // Something is still in it, or somebody else took it away.
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn symlink(&self, path: &str, target: &Path, mtime: Option<Timestamp>) -> Result<(), Error> {
        let place = self.beneath.place(path, true)?;
        let place = place.ok_or_else(|| Error::io(self.beneath.on_disk(path), Errno::NOENT))?;
        if self.no_links {
            return Err(place.error(Errno::PERM));
        }
        place.unlink()?;
        rustix::fs::symlinkat(target, &place.folder, place.name).map_err(|e| place.error(e))?;
        match mtime {
            None => Ok(()),
            Some(mtime) => write::set_time(&place, mtime),
        }
    }

    fn set_attributes(
        &self,
        path: &str,
        posix: &PosixMetadata,
        executable: bool,
    ) -> Result<(), Error> {
        if path.is_empty() {
            return Ok(());
        }
        let Some(place) = self.beneath.place(path, false)? else {
            return Ok(());
        };
        let Some(stat) = place.stat()? else {
            return Ok(());
        };
        if beneath::kind(&stat) != rustix::fs::FileType::Symlink {
            write::set_mode(&place, posix, executable, &stat)?;
        }
        match posix.mtime {
            None => Ok(()),
            Some(mtime) => write::set_time(&place, mtime),
        }
    }
}
