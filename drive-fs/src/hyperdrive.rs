//! A filesystem in two cores: a database of entries, and a core of contents.
//!
//! There are no folders: `/a/b` is one key, and a listing is a range of keys. A file and a "folder" may share a name. Every change
//! of an entry is a version of the drive (the length of the database core), and each version stays readable.
//!
//! Promised: the bytes of both cores are npm's; a `put` is one commit, so that neither a crash nor a full disk leaves an entry
//! without its content or a content without its entry.
//! Source: hyperdrive 13.3.4, `index.js`. Vectors: `drive.json`, `scenarios`.

use crate::{
    BlobWriter, Blobs, DriveBatch, Entry, EntryValue, Error, Ignore, ReadOptions,
    content::{derived_key, open_content},
    entry::{database_key, link_target},
    path,
};
use bytes::Bytes;
use futures_core::Stream;
use futures_util::TryStreamExt;
use pome_bee::{BeeCache, CacheExtension, HistoryOptions, Hyperbee, Metadata};
use pome_cores::{CoreOptions, Corestore, DiscoveryKey, Durability, Hypercore, Key};
use serde_json::Value;
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::sync::OnceCell;

/// How many links may follow each other.
const LINKS_MAX: usize = 16;

/// Which drive to open.
#[derive(Debug, Clone, Default)]
pub struct DriveOptions {
    /// The drive with this key. Default: the one that the store derives from its namespace.
    pub key: Option<Key>,
    /// Encrypts the blocks of both cores (Hypercore's block encryption: what peers get is encrypted too).
    pub encryption_key: Option<[u8; 32]>,
    /// For the blocks of the database, shared with other bees and drives (default: 40 MiB of its own).
    pub cache: Option<BeeCache>,
}

/// How an entry is written.
#[derive(Debug, Clone, Default)]
pub struct PutOptions {
    /// The owner may execute it.
    pub executable: bool,
    /// Any JSON. See [`PosixMetadata`](crate::PosixMetadata) for what the mount keeps here.
    pub metadata: Option<Value>,
    /// Default: `Buffered`.
    pub durability: Durability,
}

/// How an entry or its content is read.
#[derive(Debug, Clone, Default)]
pub struct GetOptions {
    /// Follow symlinks (default: answer the link itself, which has no content). A relative target is resolved against the link's own
    /// path as if that were a folder, as npm does.
    pub follow: bool,
    /// Fail with `BLOCK_NOT_AVAILABLE` where a block of the content is not here (default: wait).
    pub no_wait: bool,
    /// Give up after this time (default: never).
    pub timeout: Option<Duration>,
}

/// What a listing has.
#[derive(Debug, Clone)]
pub struct ListOptions {
    /// Everything below the folder (default), or one entry for each name in it.
    pub recursive: bool,
    /// What to leave out.
    pub ignore: Ignore,
}

impl Default for ListOptions {
    fn default() -> Self {
        Self {
            recursive: true,
            ignore: Ignore::none(),
        }
    }
}

/// A drive. Cheap to clone.
///
/// ```
/// use futures_util::TryStreamExt;
/// use pome_cores::Corestore;
/// use pome_drive_fs::{DriveOptions, Hyperdrive, PutOptions};
/// use pome_storage::{Options, Store};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let home = tempfile::tempdir()?;
/// let store = Corestore::open(Store::open(home.path(), Options::default())?)?;
/// let drive = Hyperdrive::open(store, DriveOptions::default()).await?;
/// drive.put("/docs/a.txt", "hello", PutOptions::default()).await?;
/// let version = drive.version();
/// drive.put("/docs/a.txt", "hello again", PutOptions::default()).await?;
///
/// assert_eq!(drive.get("/docs/a.txt").await?.as_deref(), Some(&b"hello again"[..]));
/// assert_eq!(drive.checkout(version)?.get("/docs/a.txt").await?.as_deref(), Some(&b"hello"[..]));
/// let names: Vec<String> = drive.readdir("/").try_collect().await?;
/// assert_eq!(names, ["docs"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Hyperdrive {
    inner: Arc<Inner>,
    db: Hyperbee,
    checkout: Option<u64>,
}

struct Inner {
    store: Corestore,
    core: Hypercore,
    encryption_key: Option<[u8; 32]>,
    blobs: OnceCell<Blobs>,
    sealed: OnceLock<bool>,
}

impl Hyperdrive {
    /// Opens a drive, making it when it is ours to make. Nothing is written before the first change.
    ///
    /// # Errors
    /// [`Error::Core`] when a core cannot be opened.
    pub async fn open(store: Corestore, options: DriveOptions) -> Result<Self, Error> {
        let core = match options.key {
            Some(key) => CoreOptions::key(key),
            None => CoreOptions::name("db"),
        };
        let core = encrypted(core, options.encryption_key);
        // of its own, so that closing the drive closes what was opened for it
        let store = store.session();
        let core = store.get(core).await?;
        let mut drive = Self::over(store, core, options.encryption_key).await?;
        if let Some(cache) = &options.cache {
            drive.db = drive.db.with_cache(cache);
        }
        Ok(drive)
    }

    /// Opens the drive whose database is `core`.
    ///
    /// # Errors
    /// [`Error::Core`] when the content core cannot be opened.
    pub async fn from_core(
        store: Corestore,
        core: Hypercore,
        encryption_key: Option<[u8; 32]>,
    ) -> Result<Self, Error> {
        Self::over(store.session(), core, encryption_key).await
    }

    async fn over(
        store: Corestore,
        core: Hypercore,
        encryption_key: Option<[u8; 32]>,
    ) -> Result<Self, Error> {
        let inner = Inner {
            store,
            core: core.clone(),
            encryption_key,
            blobs: OnceCell::new(),
            sealed: OnceLock::new(),
        };
        let mut drive = Self {
            inner: Arc::new(inner),
            db: Hyperbee::new(core),
            checkout: None,
        };
        if drive.inner.core.writable() {
            let content = drive.blobs().await?.key();
            let derived = derived_key(&drive.inner.core) == Some(content);
            drive.db = drive.db.with_metadata(Metadata {
                content_feed: (!derived).then(|| Bytes::copy_from_slice(content.as_bytes())),
                user_data: None,
            });
        }
        Ok(drive)
    }

    /// The drive's key: that of the database core.
    pub fn key(&self) -> Key {
        self.inner.core.key()
    }

    /// The hash of the key, under which peers find it.
    pub fn discovery_key(&self) -> DiscoveryKey {
        self.inner.core.discovery_key()
    }

    /// The key of the content core, once it is known.
    pub fn content_key(&self) -> Option<Key> {
        self.inner.blobs.get().map(Blobs::key)
    }

    /// How many blocks the database has; of a checkout, at least 1. Each change adds one or more.
    pub fn version(&self) -> u64 {
        self.db.version()
    }

    /// True when this store can sign for the drive, and this is no checkout.
    pub fn writable(&self) -> bool {
        self.checkout.is_none() && self.inner.core.writable()
    }

    /// The database of entries. Keys are `files`, NUL, path.
    pub fn db(&self) -> &Hyperbee {
        &self.db
    }

    pub(crate) fn is_checkout(&self) -> bool {
        self.checkout.is_some()
    }

    /// The database core.
    pub fn core(&self) -> &Hypercore {
        &self.inner.core
    }

    /// The store it lives in: a session of its own on the one that it was opened in.
    pub fn corestore(&self) -> &Corestore {
        &self.inner.store
    }
}

/// Contents.
impl Hyperdrive {
    /// The contents. Waits for the database's first block where only that tells which core they are in.
    ///
    /// # Errors
    /// [`Error::NoContentKey`], [`Error::BadHeader`], [`Error::Core`].
    pub async fn blobs(&self) -> Result<&Blobs, Error> {
        let open = || open_content(&self.inner.store, &self.db, self.inner.encryption_key);
        self.inner.blobs.get_or_try_init(open).await
    }

    /// Appends content that no entry names yet, cut into 64 KiB blocks, with bounded memory: for a
    /// [`DriveBatch::put_entry`] that follows.
    ///
    /// # Errors
    /// As [`blobs`](Self::blobs), and [`Error::NotWritable`].
    pub async fn blob_writer(&self) -> Result<BlobWriter, Error> {
        self.check_writable()?;
        Ok(self.blobs().await?.writer())
    }

    /// Up to `len` bytes of an entry's content from `offset`; fewer only at its end; none for an entry without content.
    ///
    /// # Errors
    /// [`Error::BadBlob`] when the entry does not fit the content core; [`Error::Core`].
    pub async fn read_at(&self, entry: &Entry, offset: u64, len: usize) -> Result<Bytes, Error> {
        match &entry.value.blob {
            None => Ok(Bytes::new()),
            Some(blob) => self.blobs().await?.read_at(blob, offset, len).await,
        }
    }

    /// How many bytes an entry's content has; 0 where it has none. Reads the map of a block-map blob.
    ///
    /// # Errors
    /// [`Error::BadBlockMap`]; [`Error::Core`].
    pub async fn content_length(&self, entry: &Entry) -> Result<u64, Error> {
        match &entry.value.blob {
            None => Ok(0),
            Some(blob) if !blob.block_map => Ok(blob.byte_length),
            Some(blob) => self.blobs().await?.len(blob).await,
        }
    }
}

/// Reading.
impl Hyperdrive {
    /// The entry at `path`, or `None`. Does not follow links.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::BadEntry`], [`Error::Bee`].
    pub async fn entry(&self, path: &str) -> Result<Option<Entry>, Error> {
        self.stored_entry(&path::normalize(path)?).await
    }

    async fn stored_entry(&self, path: &str) -> Result<Option<Entry>, Error> {
        let found = self.db.get(&database_key(path)).await?;
        found.map(decode).transpose()
    }

    /// As [`entry`](Self::entry), with the caller's word on links and waiting.
    ///
    /// # Errors
    /// As [`entry`](Self::entry), [`Error::RecursiveSymlink`] after 16 links, [`Error::Timeout`].
    pub async fn entry_with(
        &self,
        path: &str,
        options: &GetOptions,
    ) -> Result<Option<Entry>, Error> {
        let find = async {
            let mut path = path::normalize(path)?;
            for _ in 0..LINKS_MAX {
                let Some(entry) = self.stored_entry(&path).await? else {
                    return Ok(None);
                };
                // A link that leads nowhere is an entry like others for who does not follow it.
                if !options.follow {
                    return Ok(Some(entry));
                }
                match link_target(&entry)? {
                    Some(target) => path = path::normalize(&target)?,
                    None => return Ok(Some(entry)),
                }
            }
            Err(Error::RecursiveSymlink { path })
        };
        within(options.timeout, path, find).await
    }

    /// True when there is an entry (a file or a link) at `path`.
    ///
    /// # Errors
    /// As [`entry`](Self::entry).
    pub async fn exists(&self, path: &str) -> Result<bool, Error> {
        let key = database_key(&path::normalize(path)?);
        Ok(self.db.get(&key).await?.is_some())
    }

    /// The content of the file at `path`, whole, in memory. `None` when there is no entry, or it has no content (a link).
    ///
    /// # Errors
    /// As [`entry`](Self::entry), and [`Error::BadBlob`].
    pub async fn get(&self, path: &str) -> Result<Option<Bytes>, Error> {
        self.get_with(path, &GetOptions::default()).await
    }

    /// As [`get`](Self::get), with the caller's word on links and waiting.
    ///
    /// # Errors
    /// As [`get`](Self::get), [`Error::Timeout`], and `BLOCK_NOT_AVAILABLE` with `no_wait`.
    pub async fn get_with(&self, path: &str, options: &GetOptions) -> Result<Option<Bytes>, Error> {
        let read = async {
            let follow = GetOptions {
                timeout: None,
                ..options.clone()
            };
            let entry = self.entry_with(path, &follow).await?;
            let Some(blob) = entry.and_then(|e| e.value.blob) else {
                return Ok(None);
            };
            let get = pome_cores::GetOptions {
                no_wait: options.no_wait,
                ..pome_cores::GetOptions::default()
            };
            self.blobs().await?.get_with(&blob, &get).await.map(Some)
        };
        within(options.timeout, path, read).await
    }

    /// True when all blocks of the file at `path` are here, or of every file below it. False when there is nothing.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn has(&self, path: &str) -> Result<bool, Error> {
        let blobs = self.blobs().await?;
        let is_file = !path.is_empty() && !path.ends_with('/');
        if is_file && let Some(entry) = self.entry(path).await? {
            return match &entry.value.blob {
                None => Ok(false),
                Some(blob) => blobs.has(blob).await,
            };
        }
        let mut found = false;
        let mut entries = std::pin::pin!(self.list(path, ListOptions::default()));
        while let Some(entry) = entries.try_next().await? {
            found = true;
            if let Some(blob) = &entry.value.blob
                && !blobs.has(blob).await?
            {
                return Ok(false);
            }
        }
        Ok(found)
    }

    /// The content of the file at `path`, in pieces no larger than a block. A link or an entry without content ends at once.
    pub fn read_stream(
        &self,
        path: &str,
        options: ReadOptions,
    ) -> impl Stream<Item = Result<Bytes, Error>> + Send + 'static + use<> {
        let (drive, path) = (self.clone(), path.to_owned());
        async_stream::try_stream! {
            let entry = drive.entry(&path).await?.ok_or(Error::NotFound { path })?;
            let mut pieces = std::pin::pin!(drive.read_entry(&entry, options));
            while let Some(piece) = pieces.try_next().await? {
                yield piece;
            }
        }
    }

    /// As [`read_stream`](Self::read_stream), for an entry that is at hand.
    pub fn read_entry(
        &self,
        entry: &Entry,
        options: ReadOptions,
    ) -> impl Stream<Item = Result<Bytes, Error>> + Send + 'static + use<> {
        let (drive, blob) = (self.clone(), entry.value.blob);
        async_stream::try_stream! {
            if let Some(blob) = blob {
                let (offset, len) = options.range(blob.block_map);
                let blobs = drive.blobs().await?;
                let mut pieces = std::pin::pin!(blobs.stream(blob, offset, len));
                while let Some(piece) = pieces.try_next().await? {
                    yield piece;
                }
            }
        }
    }

    /// A view of an older version. It cannot be written and does not move.
    ///
    /// # Errors
    /// [`Error::NoSuchVersion`] when the drive is shorter; [`Error::VersionDropped`] when it does not keep what is so old.
    pub fn checkout(&self, version: u64) -> Result<Self, Error> {
        let newest = self.version();
        if version > newest.max(1) {
            let key = self.key();
            return Err(Error::NoSuchVersion {
                key,
                version,
                newest,
            });
        }
        if version < newest {
            self.check_kept(version)?;
        }
        Ok(Self {
            db: self.db.checkout(version),
            checkout: Some(version),
            inner: self.inner.clone(),
        })
    }

    /// A drive whose lookups say to peers what they look for, and what answers the lookups of peers, as npm's drives do: see
    /// [`Hyperbee::with_extension`]. It works as long as the answer is run, mostly in a task of its own.
    pub fn with_extension(mut self) -> (Self, CacheExtension) {
        let (db, extension) = self.db.with_extension();
        // Its blocks are small. What peers serve at a time, less what may have been cancelled and not be known to them yet.
        db.core().set_inflight_range(3584..=3840);
        self.db = db;
        (self, extension)
    }

    /// True where this store writes the drive, whatever version this is: all of it is here.
    pub(crate) fn is_ours(&self) -> bool {
        self.inner.core.writable()
    }

    /// True where the store is encrypted, so that reading a block takes as long as opening it does.
    pub(crate) fn is_sealed(&self) -> bool {
        let ask = || {
            let info = self.inner.store.store().info();
            info.is_ok_and(|info| info.encrypted)
        };
        *self.inner.sealed.get_or_init(ask)
    }

    /// A view of this version that does not move.
    ///
    /// # Errors
    /// None today; the face is [`checkout`](Self::checkout)'s.
    pub fn snapshot(&self) -> Result<Self, Error> {
        self.checkout(self.version())
    }

    /// 1 when `a` is newer than `b`, -1 when it is older, 0 when they are the same write.
    pub fn compare(a: &Entry, b: &Entry) -> i32 {
        a.seq.cmp(&b.seq) as i32
    }
}

/// Writing.
impl Hyperdrive {
    pub(crate) fn check_writable(&self) -> Result<(), Error> {
        let key = self.key();
        if let Some(version) = self.checkout {
            return Err(Error::Checkout { key, version });
        }
        if !self.inner.core.writable() {
            return Err(Error::NotWritable { key });
        }
        Ok(())
    }

    /// Writes a file: content and entry in one commit.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::NotWritable`], [`Error::Core`].
    pub async fn put(
        &self,
        path: &str,
        content: impl Into<Bytes>,
        options: PutOptions,
    ) -> Result<(), Error> {
        let mut batch = self.batch()?;
        let durability = options.durability;
        batch.put(path, content, options)?;
        batch.flush(durability).await
    }

    /// Writes an entry without touching the contents.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn put_entry(
        &self,
        path: &str,
        value: EntryValue,
        durability: Durability,
    ) -> Result<(), Error> {
        let mut batch = self.batch()?;
        batch.put_entry(path, value)?;
        batch.flush(durability).await
    }

    /// Writes a symlink; `target` is stored as given.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn symlink(
        &self,
        path: &str,
        target: &str,
        metadata: Option<Value>,
    ) -> Result<(), Error> {
        let value = EntryValue {
            metadata,
            ..EntryValue::symlink(target)
        };
        self.put_entry(path, value, Durability::default()).await
    }

    /// Removes an entry; without one, nothing is written. The content stays in the content core (see [`clear`](Self::clear)).
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn del(&self, path: &str) -> Result<(), Error> {
        let mut batch = self.batch()?;
        batch.del(path)?;
        batch.flush(Durability::default()).await
    }

    /// Drops a file's blocks from this store; the entry stays. Answers how many blocks were there. On the only copy the content is lost.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn clear(&self, path: &str) -> Result<u64, Error> {
        match self.entry(path).await?.and_then(|e| e.value.blob) {
            None => Ok(0),
            Some(blob) => self.blobs().await?.clear(&blob).await,
        }
    }

    /// Drops all contents from this store; the entries stay. Answers how many blocks were there.
    ///
    /// # Errors
    /// As [`blobs`](Self::blobs).
    pub async fn clear_all(&self) -> Result<u64, Error> {
        let core = self.blobs().await?.core();
        Ok(core.clear(0..core.length()).await?)
    }

    /// Cuts the drive back to `version`, and the contents to what it and the versions before it need, in one commit. Raises the fork of both cores. (npm's cuts
    /// the contents to what `version` itself needs; where an earlier one needs more, the next contents take the place of what it shows.)
    ///
    /// # Errors
    /// [`Error::NoSuchVersion`] when the drive is shorter; [`Error::NotWritable`].
    pub async fn truncate(&self, version: u64) -> Result<(), Error> {
        self.check_writable()?;
        let blobs_length = self.checkout(version)?.blobs_length_ever().await?;
        let blobs = self.blobs().await?;
        let _lock = blobs.lock().await;
        let mut transaction = self.inner.store.transaction();
        if blobs_length < blobs.core().length() {
            transaction.truncate(blobs.core(), blobs_length).await?;
        }
        if version < self.inner.core.length() {
            transaction.truncate(&self.inner.core, version).await?;
        }
        Ok(transaction.commit(Durability::default()).await?)
    }

    /// How many blocks of the content core this version needs. Reads every entry.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub async fn blobs_length(&self) -> Result<u64, Error> {
        let mut length = 0;
        let mut entries = std::pin::pin!(self.list("/", ListOptions::default()));
        while let Some(entry) = entries.try_next().await? {
            if let Some(blob) = entry.value.blob {
                length = length.max(blob.block_offset.saturating_add(blob.block_length));
            }
        }
        Ok(length)
    }

    /// As [`blobs_length`](Self::blobs_length), of this version and all that are kept before it.
    async fn blobs_length_ever(&self) -> Result<u64, Error> {
        let mut length = self.blobs_length().await?;
        let mut changes = std::pin::pin!(self.history(HistoryOptions::default()));
        while let Some(change) = changes.try_next().await? {
            if let Some(blob) = change.entry.and_then(|entry| entry.value.blob) {
                length = length.max(blob.block_offset.saturating_add(blob.block_length));
            }
        }
        Ok(length)
    }

    /// Several changes that become visible together.
    ///
    /// # Errors
    /// [`Error::NotWritable`], [`Error::Checkout`].
    pub fn batch(&self) -> Result<DriveBatch, Error> {
        self.check_writable()?;
        Ok(DriveBatch::new(self.clone()))
    }

    /// Writes a file piece by piece; each write is a block of its own, as with npm. The entry appears at
    /// [`finish`](WriteStream::finish), in one commit with the last blocks.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::NotWritable`].
    pub async fn write_stream(
        &self,
        path: &str,
        options: PutOptions,
    ) -> Result<WriteStream, Error> {
        let writer = self.checked_blobs(path).await?.block_writer();
        Ok(WriteStream::new(self, path, options, writer))
    }

    /// As [`write_stream`](Self::write_stream), cut into 64 KiB blocks: the same bytes as [`put`](Self::put).
    ///
    /// # Errors
    /// As [`write_stream`](Self::write_stream).
    pub async fn put_stream(&self, path: &str, options: PutOptions) -> Result<WriteStream, Error> {
        let writer = self.checked_blobs(path).await?.writer();
        Ok(WriteStream::new(self, path, options, writer))
    }

    /// As [`write_stream`](Self::write_stream), as a block-map blob: a write that equals a block of the file's present content, or an
    /// earlier write, is not stored again.
    ///
    /// # Errors
    /// As [`write_stream`](Self::write_stream).
    pub async fn dedup_stream(
        &self,
        path: &str,
        options: PutOptions,
    ) -> Result<WriteStream, Error> {
        let writer = self.dedup_writer(path).await?;
        Ok(WriteStream::new(self, path, options, writer))
    }

    /// Writes what the file at `path` has not had before.
    pub(crate) async fn dedup_writer(&self, path: &str) -> Result<BlobWriter, Error> {
        let blobs = self.checked_blobs(path).await?.clone();
        let previous = self.entry(path).await?.and_then(|e| e.value.blob);
        BlobWriter::dedup(blobs, previous).await
    }

    async fn checked_blobs(&self, path: &str) -> Result<&Blobs, Error> {
        self.check_writable()?;
        path::normalize(path)?;
        self.blobs().await
    }
}

/// Writes one file of a drive. Without [`finish`](Self::finish) there is no entry.
pub struct WriteStream {
    drive: Hyperdrive,
    path: String,
    options: PutOptions,
    writer: BlobWriter,
}

impl WriteStream {
    fn new(drive: &Hyperdrive, path: &str, options: PutOptions, writer: BlobWriter) -> Self {
        Self {
            drive: drive.clone(),
            path: path.to_owned(),
            options,
            writer,
        }
    }

    /// Adds to the content.
    ///
    /// # Errors
    /// [`Error::Core`].
    pub async fn write(&mut self, content: impl Into<Bytes>) -> Result<(), Error> {
        self.writer.write(content).await
    }

    /// Writes the last blocks and the entry in one commit.
    ///
    /// # Errors
    /// [`Error::Core`], [`Error::Bee`].
    pub async fn finish(mut self) -> Result<(), Error> {
        let mut transaction = self.drive.inner.store.transaction();
        let blob = self.writer.complete(Some(&mut transaction)).await?;
        let mut batch = self.drive.batch()?;
        let value = EntryValue {
            executable: self.options.executable,
            metadata: self.options.metadata.take(),
            ..EntryValue::file(blob)
        };
        batch.put_entry(&self.path, value)?;
        let _staged = batch.flush_into(&mut transaction).await?;
        Ok(transaction.commit(self.options.durability).await?)
    }
}

/// `task`, or [`Error::Timeout`] when it takes longer.
async fn within<T>(
    timeout: Option<Duration>,
    path: &str,
    task: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    match timeout {
        None => task.await,
        Some(timeout) => match tokio::time::timeout(timeout, task).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::Timeout { path: path.into() }),
        },
    }
}

pub(crate) fn decode(entry: pome_bee::Entry) -> Result<Entry, Error> {
    Entry::decode(entry.seq, &entry.key, entry.value.as_deref())
}

fn encrypted(options: CoreOptions, key: Option<[u8; 32]>) -> CoreOptions {
    match key {
        Some(key) => options.with_encryption_key(key),
        None => options,
    }
}
