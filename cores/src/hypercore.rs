//! The handle that programs hold.

use std::{fmt, ops::Range, sync::Arc};

use bytes::Bytes;
use pome_encoding::{DiscoveryKey, Key};
use pome_storage::{Batch, Durability, Part, SpaceUsage};
use tokio::sync::watch;

use crate::{
    change::{Change, check_blocks},
    crypto::KeyPair,
    error::Error,
    layout,
    manifest::Manifest,
    merkle::{Node, Seek, Tree, TreeError},
    options::{Appended, BlockCipher, CoreInfo, EncryptionKey, GetOptions, Given, SessionOptions},
    replication::Demand,
    session::Session,
};

/// Up to this many blocks, [`Hypercore::has`] looks each up; above, it walks the keys.
const HAS_SINGLE_MAX: u64 = 8;

/// An append-only signed log: a session on a core of a [`Corestore`](crate::Corestore). Cheap to clone: clones are the same session.
///
/// ```
/// use pome_cores::{CoreOptions, Corestore, Store};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// let cores = Corestore::open(Store::open(dir.path(), Default::default())?)?;
/// let core = cores.get(CoreOptions::name("log")).await?;
/// core.append("first").await?;
/// let appended = core.append_batch(vec!["second".into(), "third".into()]).await?;
/// assert_eq!((appended.length, appended.byte_length), (3, 16));
/// assert_eq!(core.get(1).await?, "second");
/// assert_eq!(core.seek(7).await?, (1, 2)); // byte 7 is in block 1, at offset 2
///
/// let before = core.snapshot()?;
/// core.truncate(1).await?;
/// assert_eq!((core.length(), core.fork()), (1, 1));
/// assert_eq!(before.get(2).await?, "third"); // a snapshot keeps its blocks
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Hypercore {
    pub(crate) session: Arc<Session>,
}

impl fmt::Debug for Hypercore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hypercore")
            .field("key", &self.key())
            .field("length", &self.length())
            .field("fork", &self.fork())
            .field("snapshot", &self.is_snapshot())
            .finish_non_exhaustive()
    }
}

/// Who and how long.
impl Hypercore {
    pub(crate) fn new(session: Session) -> Self {
        Self {
            session: Arc::new(session),
        }
    }

    /// Public name.
    #[must_use]
    pub fn key(&self) -> Key {
        self.session.core.key
    }

    /// Its hash.
    #[must_use]
    pub fn discovery_key(&self) -> DiscoveryKey {
        self.session.core.discovery_key
    }

    /// The key in z-base-32.
    #[must_use]
    pub fn id(&self) -> String {
        self.key().to_string()
    }

    /// The key pair that signs in this session, when it is here.
    #[must_use]
    pub fn key_pair(&self) -> Option<KeyPair> {
        self.session.signer()
    }

    /// Who may sign; `None` on a reader that has not met a peer yet.
    #[must_use]
    pub fn manifest(&self) -> Option<Manifest> {
        let verifier = self.session.core.verifier()?;
        Some(verifier.manifest().clone())
    }

    /// In blocks.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.session.head(|head| head.tree.length)
    }

    /// In bytes, without encryption padding.
    #[must_use]
    pub fn byte_length(&self) -> u64 {
        let (bytes, length) = self
            .session
            .head(|head| (head.tree.byte_length, head.tree.length));
        bytes.saturating_sub(length.saturating_mul(self.padding()))
    }

    /// Blocks from 0 without a gap.
    #[must_use]
    pub fn contiguous_length(&self) -> u64 {
        let core = &self.session.core;
        self.session.head(|head| core.contiguous(head))
    }

    /// How many blocks of the present history are on disk for sure: what may be shown to a peer.
    #[must_use]
    pub fn synced_length(&self) -> u64 {
        self.session.core.synced_length()
    }

    /// How often it was truncated.
    #[must_use]
    pub fn fork(&self) -> u64 {
        self.session.head(|head| head.tree.fork)
    }

    /// True when this store can sign for it and this session may. As in npm, also on a snapshot, which cannot be changed all the same.
    #[must_use]
    pub fn writable(&self) -> bool {
        self.session.is_writable() && self.session.check_open().is_ok()
    }

    /// Bytes of encryption padding per block (0 or 8).
    #[must_use]
    pub fn padding(&self) -> u64 {
        self.session.padding()
    }

    /// True for a session from [`snapshot`](Self::snapshot).
    #[must_use]
    pub fn is_snapshot(&self) -> bool {
        self.session.frozen.is_some()
    }

    /// True after [`close`](Self::close), of this session or of the store.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.session.check_open().is_err()
    }

    /// Lengths and names.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed).
    pub async fn info(&self) -> Result<CoreInfo, Error> {
        self.session.check_open()?;
        let padding = self.padding();
        Ok(self.session.head(|head| CoreInfo {
            key: self.key(),
            discovery_key: self.discovery_key(),
            length: head.tree.length,
            contiguous_length: self.session.core.contiguous(head),
            byte_length: (head.tree.byte_length)
                .saturating_sub(head.tree.length.saturating_mul(padding)),
            fork: head.tree.fork,
            padding,
        }))
    }

    /// What the core takes of the store: keys (blocks and tree nodes that are here, head, user data) and their bytes. Walks the keys; reads no block.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), or from the store.
    pub async fn usage(&self) -> Result<SpaceUsage, Error> {
        self.session.check_open()?;
        let core = &self.session.core;
        Ok(core.store.space_usage(core.space)?)
    }

    /// Waits until (length, fork) is not `seen`, and answers what it is then. Unlike [`watch`](Self::watch) it ends with the session. Cancel safe.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed).
    pub async fn changed(&self, seen: (u64, u64)) -> Result<(u64, u64), Error> {
        let mut arrivals = self.session.core.arrivals();
        loop {
            arrivals.borrow_and_update();
            self.session.check_open()?;
            let now = (self.session).head(|head| (head.tree.length, head.tree.fork));
            if now != seen {
                return Ok(now);
            }
            arrivals.changed().await.map_err(|_| Error::Closed)?;
        }
    }

    /// True while somebody may be asked for blocks.
    #[must_use]
    pub fn has_peers(&self) -> bool {
        self.session.core.root().replication.has_peers()
    }

    /// Changes when the core grows or is truncated: (length, fork). On a snapshot it never does.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<(u64, u64)> {
        match &self.session.frozen {
            Some(frozen) => frozen.watch(),
            None => self.session.core.watch(),
        }
    }
}

/// Writing.
impl Hypercore {
    /// Appends one block, `Buffered`.
    ///
    /// # Errors
    /// As [`append_with`](Self::append_with).
    pub async fn append(&self, block: impl Into<Bytes>) -> Result<Appended, Error> {
        self.append_batch(vec![block.into()]).await
    }

    /// Appends blocks as one atomic batch with one signature, `Buffered`. An empty list is a no-op; an empty block is a block.
    ///
    /// # Errors
    /// As [`append_with`](Self::append_with).
    pub async fn append_batch(&self, blocks: Vec<Bytes>) -> Result<Appended, Error> {
        self.append_with(blocks, Durability::Buffered).await
    }

    /// As [`append_batch`](Self::append_batch), answered when the disk has it if `Synced`.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), [`NotWritable`](Error::NotWritable), [`BlockTooLarge`](Error::BlockTooLarge), or from the store. Nothing was
    /// appended then, unless it is the error of a `Synced` sync.
    pub async fn append_with(
        &self,
        blocks: Vec<Bytes>,
        durability: Durability,
    ) -> Result<Appended, Error> {
        self.append_after(blocks, durability, |_| Ok(())).await
    }

    /// As [`append_with`](Self::append_with), if the core has this `length` and `fork` at the moment of the append: for blocks whose content
    /// depends on their place.
    ///
    /// # Errors
    /// [`Moved`](Error::Moved) when it has others; else as [`append_with`](Self::append_with).
    pub async fn append_at(
        &self,
        (length, fork): (u64, u64),
        blocks: Vec<Bytes>,
        durability: Durability,
    ) -> Result<Appended, Error> {
        let key = self.key();
        self.append_after(blocks, durability, |tree| {
            match (tree.length, tree.fork) == (length, fork) {
                true => Ok(()),
                false => Err(Error::Moved {
                    key,
                    length: tree.length,
                    fork: tree.fork,
                }),
            }
        })
        .await
    }

    async fn append_after(
        &self,
        blocks: Vec<Bytes>,
        durability: Durability,
        check: impl FnOnce(&Tree) -> Result<(), Error>,
    ) -> Result<Appended, Error> {
        self.session.check_writable()?;
        check_blocks(&blocks)?;
        let mut change = self.begin().await?;
        let (length, byte_length, fork) = {
            let tree = change.merkle.tree();
            check(tree)?;
            (tree.length, tree.byte_length, tree.fork)
        };
        if blocks.is_empty() {
            return Ok(Appended {
                length,
                byte_length,
            });
        }
        let mut batch = Batch::new();
        let blocks = self.session.encrypt(length, fork, blocks);
        let appended = change.append(&mut batch, blocks)?;
        change.sign(&mut batch, self.session.signer().as_ref())?;
        self.commit_change(change, batch, durability).await?;
        Ok(appended)
    }

    /// Appends blocks with a signature that was made elsewhere, as several signers need it (see [`multisig`](crate::multisig)). The blocks are
    /// stored as they are, without encryption: the signature covers them so. `Buffered`.
    ///
    /// # Errors
    /// [`Tree`](Error::Tree) with INVALID_SIGNATURE; else as [`append_with`](Self::append_with).
    pub async fn append_signed(
        &self,
        blocks: Vec<Bytes>,
        signature: Bytes,
    ) -> Result<Appended, Error> {
        self.check_appendable()?;
        check_blocks(&blocks)?;
        let mut change = self.begin().await?;
        let mut batch = Batch::new();
        let appended = change.append(&mut batch, blocks)?;
        change.accept(signature)?;
        self.commit_change(change, batch, Durability::Buffered)
            .await?;
        Ok(appended)
    }

    /// Refuses a session that must not change the core, whoever signs.
    pub(crate) fn check_appendable(&self) -> Result<(), Error> {
        self.session.check_open()?;
        if self.is_snapshot() || !self.session.writable {
            return Err(Error::NotWritable { key: self.key() });
        }
        Ok(())
    }

    /// As [`append_with`](Self::append_with), unless the core would be longer than `max_length` then (npm `maxLength`): nothing is appended in that case, and
    /// the answer is the present length.
    ///
    /// # Errors
    /// As [`append_with`](Self::append_with).
    pub async fn append_within(
        &self,
        max_length: u64,
        blocks: Vec<Bytes>,
        durability: Durability,
    ) -> Result<Appended, Error> {
        let (key, count) = (self.key(), blocks.len() as u64);
        let mut present = None;
        let appended = self.append_after(blocks, durability, |tree| {
            let (length, byte_length) = (tree.length, tree.byte_length);
            if length.saturating_add(count) <= max_length {
                return Ok(());
            }
            present = Some(Appended {
                length,
                byte_length,
            });
            let fork = tree.fork;
            Err(Error::Moved { key, length, fork })
        });
        let appended = appended.await;
        present.map_or(appended, Ok)
    }

    /// Cuts to `new_length` and raises the fork by one: to peers it is another history, signed anew.
    ///
    /// # Errors
    /// As [`truncate_with`](Self::truncate_with).
    pub async fn truncate(&self, new_length: u64) -> Result<(), Error> {
        self.truncate_to(new_length, None).await
    }

    /// Cuts to `new_length` under a fork of the caller's choice, above the present one.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), [`NotWritable`](Error::NotWritable); INVALID_OPERATION when `fork` is not above the present one, when
    /// `new_length` is above the length or below the prologue, or when a tree node was cleared that the shorter core needs.
    pub async fn truncate_with(&self, new_length: u64, fork: u64) -> Result<(), Error> {
        self.truncate_to(new_length, Some(fork)).await
    }

    async fn truncate_to(&self, new_length: u64, fork: Option<u64>) -> Result<(), Error> {
        self.session.check_writable()?;
        let mut change = self.begin().await?;
        let mut batch = Batch::new();
        change.truncate(&mut batch, new_length, fork)?;
        change.sign(&mut batch, self.session.signer().as_ref())?;
        self.commit_change(change, batch, Durability::Buffered)
            .await
    }

    /// Drops local blocks of `range`, and tree nodes that only they needed; answers how many were there. On the only copy the data is gone.
    /// Past the end there is nothing to drop. A reader may clear too.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), [`InvalidOperation`](Error::InvalidOperation) on a snapshot, or from the store.
    pub async fn clear(&self, range: Range<u64>) -> Result<u64, Error> {
        self.session.check_open()?;
        if self.is_snapshot() {
            let (key, what) = (self.key(), "a snapshot does not change");
            return Err(Error::InvalidOperation { key, what });
        }
        let mut change = self.begin().await?;
        let mut batch = Batch::new();
        let cleared = change.clear(&mut batch, range)?;
        if !batch.is_empty() {
            self.commit_change(change, batch, Durability::Buffered)
                .await?;
        }
        Ok(cleared)
    }

    /// Waits for the core's write lock; the session may have been closed meanwhile, and then changes nothing any more.
    async fn begin(&self) -> Result<Change, Error> {
        let change = Change::begin(&self.session.core).await?;
        self.session.check_open()?;
        Ok(change)
    }

    pub(crate) async fn commit_change(
        &self,
        change: Change,
        mut batch: Batch,
        durability: Durability,
    ) -> Result<(), Error> {
        change.seal(&mut batch);
        let seq = {
            let _kept = change.keep_snapshots();
            self.session.registry.commit(batch)?
        };
        change.committed(seq);
        if durability == Durability::Synced {
            self.session.registry.store.synced(seq).await?;
        }
        Ok(())
    }

    /// Local data beside the core, never replicated: sets `key` (at most 900 bytes), or removes it.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), [`BadArgument`](Error::BadArgument), or from the store.
    pub async fn set_user_data(&self, key: &str, value: Option<Bytes>) -> Result<(), Error> {
        self.session.check_open()?;
        let key = layout::user_data_key(key)?;
        let core = &self.session.core;
        self.session.registry.running().await?;
        let _lock = core.write.lock().await;
        if core.is_purged() {
            return Err(Error::Closed);
        }
        if core.store.get(core.space, &key)? == value {
            return Ok(());
        }
        let mut batch = Batch::new();
        match value {
            Some(value) => batch.put(core.space, key, value),
            None => batch.delete(core.space, key),
        }
        self.session.registry.commit(batch)?;
        Ok(())
    }

    /// See [`set_user_data`](Self::set_user_data).
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), [`BadArgument`](Error::BadArgument), or from the store.
    pub async fn user_data(&self, key: &str) -> Result<Option<Bytes>, Error> {
        self.session.check_open()?;
        let core = &self.session.core;
        Ok(core.store.get(core.space, &layout::user_data_key(key)?)?)
    }

    /// The keys of all user data, in order.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), or from the store.
    pub fn user_data_keys(&self) -> Result<Vec<String>, Error> {
        self.session.check_open()?;
        let core = &self.session.core;
        let (start, end) = layout::user_data_range();
        let keys = (core.store.snapshot()).keys(core.space, &start[..]..&end[..]);
        keys.map(|key| Ok(layout::user_data_key_parse(&key?)?.to_owned()))
            .collect()
    }

    /// Removes the core from the store, with its names and user data, and closes every session on it. A core that this store can sign for
    /// must not be made again by name and shared: its peers have the old history.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), or from the store.
    pub async fn purge(&self) -> Result<(), Error> {
        self.session.check_open()?;
        let core = &self.session.core;
        let _lock = core.write.lock().await;
        if core.is_purged() {
            return Err(Error::Closed);
        }
        match &core.parent {
            Some(parent) => core.purge_branch(parent),
            None => self.session.registry.purge(&[core], Batch::new()),
        }
    }
}

/// Reading.
impl Hypercore {
    /// The block at `index`; waits (for ever, as npm does, unless the session says otherwise) for one that is not here or not yet appended.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), [`Timeout`](Error::Timeout), [`BlockNotAvailable`](Error::BlockNotAvailable) in a session that does not wait,
    /// [`SnapshotNotAvailable`](Error::SnapshotNotAvailable), [`Decryption`](Error::Decryption), or from the store.
    pub async fn get(&self, index: u64) -> Result<Bytes, Error> {
        let key = self.key();
        self.get_with(index, GetOptions::default())
            .await?
            .ok_or(Error::BlockNotAvailable { key, index })
    }

    /// As [`get`](Self::get), with the caller's word on waiting. `Ok(None)` only where it does not wait.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_with(&self, index: u64, options: GetOptions) -> Result<Option<Bytes>, Error> {
        let whole = self.get_part(index, 0..usize::MAX, options).await?;
        Ok(whole.map(|part| part.bytes))
    }

    /// As [`get_with`](Self::get_with), what of the block lies in `wanted`, in bytes: in an encrypted store only the pieces it lies in are
    /// opened. From a peer the whole block is fetched; and a block of a core with encryption of its own is read as a whole.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_part(
        &self,
        index: u64,
        wanted: Range<usize>,
        options: GetOptions,
    ) -> Result<Option<Part>, Error> {
        let session = &self.session;
        // a block that the disk has spoilt is fetched again, where there is somebody to ask
        let spoilt = |error: &Error| {
            matches!(error, Error::Storage(_)) && error.code() == "CORRUPT" && {
                let peers = session.core.replication.has_peers();
                peers && session.wait && !options.no_wait
            }
        };
        let look = || match session.plain_part(index, wanted.clone()) {
            Err(error) if spoilt(&error) => {
                tracing::warn!(%error, index, "a block is fetched again");
                Ok(None)
            }
            part => part,
        };
        let demand = |core: &Arc<_>| {
            if let Some(on_wait) = &session.on_wait {
                on_wait.tell(index);
            }
            Demand::block(core, index)
        };
        let part = session.wait_for(index, &options, look, demand).await?;
        if part.is_some() {
            self.mark_read(index)?;
        }
        Ok(part)
    }

    /// The block at `index` as it is stored and replicates: encrypted if the core is. `None` when it is not here; never waits.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), [`SnapshotNotAvailable`](Error::SnapshotNotAvailable), or from the store.
    pub async fn stored_block(&self, index: u64) -> Result<Option<Bytes>, Error> {
        self.session.check_open()?;
        self.session.block(index)
    }

    /// True when all blocks of the range are here. An empty range is.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), or from the store.
    pub async fn has(&self, range: Range<u64>) -> Result<bool, Error> {
        let session = &self.session;
        session.check_open()?;
        let core = &session.core;
        let (length, contiguous) = session.head(|head| (head.tree.length, core.contiguous(head)));
        if range.is_empty() || range.end <= contiguous {
            return Ok(true);
        }
        if range.end > length {
            return Ok(false);
        }
        let start = range.start.max(contiguous);
        if let Some(frozen) = &session.frozen {
            for index in start..range.end {
                if !frozen.has_block(core, index)? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        if range.end - start <= HAS_SINGLE_MAX || core.is_branch() {
            for index in start..range.end {
                if !core.has_block(index)? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        let (from, to) = (layout::block_key(start), layout::block_key(range.end));
        let mut expected = start;
        for key in core.store.snapshot().keys(core.space, &from[..]..&to[..]) {
            if layout::number(&key?)? != expected {
                return Ok(false);
            }
            expected += 1;
        }
        Ok(expected == range.end)
    }

    /// Which block holds the byte at `byte_offset` (padding left out), and where in it. The end offset gives `(length, 0)`; past the end waits.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn seek(&self, byte_offset: u64) -> Result<(u64, u64), Error> {
        let (key, index) = (self.key(), byte_offset);
        self.seek_with(byte_offset, GetOptions::default())
            .await?
            .ok_or(Error::BlockNotAvailable { key, index })
    }

    /// As [`seek`](Self::seek), with the caller's word on waiting. `Ok(None)` only where it does not wait.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn seek_with(
        &self,
        byte_offset: u64,
        options: GetOptions,
    ) -> Result<Option<(u64, u64)>, Error> {
        let session = &self.session;
        let look = || {
            let (tree, sizes) = session.head(|head| (head.tree.clone(), head.sizes.clone()));
            let (nodes, padding) = (|index| session.node(index), session.padding());
            Ok(match sizes.seek(&tree, &nodes, byte_offset, padding)? {
                Seek::Found { block, offset } => Some((block, offset)),
                Seek::Within { .. } | Seek::Beyond => None,
            })
        };
        let demand = |core: &Arc<_>| Demand::seek(core, byte_offset, session.padding());
        session.wait_for(byte_offset, &options, look, demand).await
    }
}

/// Sessions.
impl Hypercore {
    /// A session whose length and fork never move; it keeps the old blocks readable after a truncate, and on disk as long as it is held.
    /// The snapshot of a snapshot is the same one.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), or from the store.
    pub fn snapshot(&self) -> Result<Self, Error> {
        let session = &self.session;
        session.check_open()?;
        let frozen = match &session.frozen {
            Some(frozen) => frozen.clone(),
            None => session.core.freeze()?,
        };
        let derived = session.derive(&SessionOptions::default(), Some(frozen));
        Ok(Self::new(derived))
    }

    /// Another session on the same core: what it closes is itself.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed).
    pub fn session(&self) -> Result<Self, Error> {
        self.session.check_open()?;
        let derived = self.session.derive(&SessionOptions::default(), None);
        Ok(Self::new(derived))
    }

    /// As [`session`](Self::session), with other rights or patience.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed).
    pub async fn session_with(&self, options: SessionOptions) -> Result<Self, Error> {
        self.session.check_open()?;
        let derived = self.session.derive(&options, None);
        if options.exclusive && derived.writable {
            derived.lock_exclusive().await?;
        }
        Ok(Self::new(derived))
    }

    /// Changes the key that this session encrypts and decrypts with; `None`: not at all. Blocks that are there stay as they are.
    pub fn set_encryption_key(&self, key: Option<[u8; 32]>) {
        self.session.set_encryption(key.map(|key| {
            Given::Key(EncryptionKey {
                key: zeroize::Zeroizing::new(key),
                is_block_key: false,
            })
        }));
    }

    /// As [`set_encryption_key`](Self::set_encryption_key), with a way of the caller's own.
    pub fn set_cipher(&self, cipher: Option<Arc<dyn BlockCipher>>) {
        self.session.set_encryption(cipher.map(Given::Cipher));
    }

    /// Whether this session keeps the core downloading: a core without such a session is left alone by peers after a while. True unless it
    /// was opened otherwise.
    pub fn set_active(&self, active: bool) {
        self.session.set_active(active);
    }

    /// Whether the core follows peers to later forks (default: true). With false a truncation by its writer is not noticed. For all sessions,
    /// while the core is open.
    pub fn set_allow_fork(&self, allow: bool) {
        self.session.core.replication.set_allow_fork(allow);
    }

    /// Closes this session; what it waits for ends with `Closed`. Other sessions go on. The core itself is closed with its last session.
    ///
    /// # Errors
    /// None today.
    pub async fn close(&self) -> Result<(), Error> {
        self.session.close();
        Ok(())
    }
}

/// The tree.
impl Hypercore {
    /// The head of the tree: lengths, fork, roots and signature of one moment.
    #[must_use]
    pub fn tree(&self) -> Tree {
        let core = &self.session.core;
        self.session.head_held(|head| Tree {
            signature: head.signature(core),
            ..head.tree.clone()
        })
    }

    /// The root hash of the tree at the current length.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed).
    pub async fn tree_hash(&self) -> Result<[u8; 32], Error> {
        self.session.check_open()?;
        Ok(self.session.head(|head| head.tree.hash()))
    }

    /// The root hash of the tree when it had `length` blocks of today's fork. Where a root is not here, the last of those blocks is fetched.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed); [`BadArgument`](Error::BadArgument) for a length beyond the core's; else as [`get`](Self::get).
    pub async fn tree_hash_at(&self, length: u64) -> Result<[u8; 32], Error> {
        self.session.check_open()?;
        let now = self.session.head(|head| head.tree.clone());
        if length == now.length {
            return Ok(now.hash());
        }
        if length > now.length {
            return Err(Error::BadArgument {
                what: "the core is shorter than that length",
            });
        }
        Ok(self.tree_at(length, now.fork).await?.hash())
    }

    /// The tree when it had `length` blocks. Fetches the last of them where a root is not here: its proof brings them.
    async fn tree_at(&self, length: u64, fork: u64) -> Result<Tree, Error> {
        let nodes = |index| self.session.node(index);
        match Tree::load(&nodes, length, fork) {
            Err(Error::Tree(TreeError::MissingNode { .. })) if length > 0 => {
                self.get(length - 1).await?;
                Tree::load(&nodes, length, fork)
            }
            tree => tree,
        }
    }

    /// What the signature of the present tree signs: 112 bytes.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed).
    pub async fn signable(&self) -> Result<[u8; 112], Error> {
        self.session.check_open()?;
        Ok(self.session.head(|head| head.tree.signable(&self.key().0)))
    }

    /// What a signature signs for the tree when it had `length` blocks, under this fork.
    ///
    /// # Errors
    /// As [`tree_hash_at`](Self::tree_hash_at).
    pub async fn signable_at(&self, length: u64, fork: u64) -> Result<[u8; 112], Error> {
        self.session.check_open()?;
        if length > self.length() {
            return Err(Error::BadArgument {
                what: "the core is shorter than that length",
            });
        }
        let tree = self.tree_at(length, fork).await?;
        Ok(tree.signable(&self.key().0))
    }

    /// The roots of the tree, from left to right.
    #[must_use]
    pub fn roots(&self) -> Vec<Node> {
        self.session.head(|head| head.tree.roots.clone())
    }

    /// The signature over the present length and fork, as the manifest demands it; none on an empty core that was never truncated.
    #[must_use]
    pub fn signature(&self) -> Option<Bytes> {
        let core = &self.session.core;
        self.session.head_held(|head| head.signature(core))
    }

    /// A tree node by its flat-tree index; `None` when it is not here.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), or from the store.
    pub async fn node(&self, index: u64) -> Result<Option<Node>, Error> {
        self.session.check_open()?;
        self.session.node(index)
    }

    /// All tree nodes that are here, in order. The memory grows with the core: for dumps and tests.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), or from the store.
    pub async fn nodes(&self) -> Result<Vec<Node>, Error> {
        self.session.check_open()?;
        let core = &self.session.core;
        let snapshot = match &self.session.frozen {
            Some(frozen) => frozen.store(&self.session.core),
            None => core.store.snapshot(),
        };
        let (start, end) = layout::nodes_from(0);
        snapshot
            .range(core.space, &start[..]..&end[..])
            .map(|entry| {
                let (key, value) = entry?;
                layout::node_parse(layout::number(&key)?, &value)
            })
            .filter(|node| match (node, &self.session.frozen) {
                (Ok(node), Some(frozen)) => frozen.has_node(node.index),
                _ => true,
            })
            .collect()
    }
}
