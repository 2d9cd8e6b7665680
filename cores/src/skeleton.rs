use bytes::Bytes;
use parking_lot::Mutex;
use pome_encoding::{DiscoveryKey, Key};
use pome_storage::{Batch, Durability, Space, Store};
use std::{collections::HashMap, ops::Range, sync::Arc, time::Duration};

/// What went wrong with a core. (The finished type has the npm codes: BAD_ARGUMENT, SESSION_NOT_WRITABLE, BLOCK_NOT_AVAILABLE …; `code()` names them.)
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// From the store below.
    #[error(transparent)]
    Storage(#[from] pome_storage::Error),
    /// `append` or `truncate` on a core that this store cannot sign for.
    #[error("core {key} is not writable here")]
    NotWritable {
        /// Whose.
        key: Key,
    },
    /// A bad argument.
    #[error("{0}")]
    BadArgument(String),
    /// The block is not here and the caller did not want to wait.
    #[error("block {index} of core {key} is not here")]
    BlockNotAvailable {
        /// Whose.
        key: Key,
        /// Which.
        index: u64,
    },
    /// The deadline passed.
    #[error("timed out waiting for block {index} of core {key}")]
    Timeout {
        /// Whose.
        key: Key,
        /// Which.
        index: u64,
    },
    /// The handle or the store was closed.
    #[error("closed")]
    Closed,
}

impl Error {
    /// npm's error code where there is one.
    pub fn code(&self) -> &'static str {
        "ERROR"
    }
}

/// Which core to open, and how. Start from a constructor, refine with the `with_` methods.
#[derive(Debug, Clone, Default)]
pub struct CoreOptions {
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) key: Option<Key>,
    pub(crate) encryption_key: Option<[u8; 32]>,
}
impl CoreOptions {
    /// The writable core that this store derives from its primary key, its namespace and `name`.
    pub fn name(name: impl AsRef<[u8]>) -> Self {
        Self {
            name: Some(name.as_ref().to_vec()),
            ..Self::default()
        }
    }
    /// The core with this key.
    pub fn key(key: Key) -> Self {
        Self {
            key: Some(key),
            ..Self::default()
        }
    }
    // also: discovery_key(dk), key_pair(KeyPair), manifest(Manifest); with_key_pair, with_manifest, with_writable(bool), with_exclusive(bool), with_wait(bool), with_timeout(Duration), with_create_if_missing(bool)
    /// Encrypts blocks with this key (npm `encryption: {key}`).
    #[must_use]
    pub fn with_encryption_key(mut self, key: [u8; 32]) -> Self {
        self.encryption_key = Some(key);
        self
    }
}

/// How long a read may wait for a block that is not here.
#[derive(Debug, Clone, Default)]
pub struct GetOptions {
    /// Do not wait: answer `Ok(None)` for a block that is not here (default: wait).
    pub no_wait: bool,
    /// Give up after this time with `Error::Timeout` (default: never).
    pub timeout: Option<Duration>,
}

/// What `append` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The core's length after it, in blocks.
    pub length: u64,
    /// The core's length after it, in bytes (with encryption padding, as npm has it).
    pub byte_length: u64,
}

/// What `info` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoreInfo {
    /// Public name.
    pub key: Key,
    /// Its hash.
    pub discovery_key: DiscoveryKey,
    /// In blocks.
    pub length: u64,
    /// Blocks from 0 without a gap.
    pub contiguous_length: u64,
    /// In bytes, without encryption padding.
    pub byte_length: u64,
    /// How often it was truncated.
    pub fork: u64,
    /// Bytes of encryption padding per block.
    pub padding: u64,
}

/// All cores of one store (or of one namespace in it). Cheap to clone.
#[derive(Clone)]
pub struct Corestore {
    store: Store,
    namespace: [u8; 32],
    cores: Arc<Mutex<HashMap<Key, Hypercore>>>,
}

impl Corestore {
    /// All cores in `store`; makes the primary key at the first open.
    pub fn open(store: Store) -> Result<Self, Error> {
        Ok(Self {
            store,
            namespace: [0; 32],
            cores: Arc::default(),
        })
    }
    /// The store below.
    pub fn store(&self) -> &Store {
        &self.store
    }
    /// A view in which names mean other cores: namespace = blake2b(this namespace ‖ name), as npm.
    #[must_use]
    pub fn namespace(&self, name: impl AsRef<[u8]>) -> Self {
        let mut namespace = self.namespace;
        for (i, b) in name.as_ref().iter().enumerate() {
            namespace[i % 32] = namespace[i % 32].wrapping_mul(31).wrapping_add(*b);
        }
        Self {
            namespace,
            ..self.clone()
        }
    }
    /// Opens a core, making it when it is ours to make.
    pub async fn get(&self, options: CoreOptions) -> Result<Hypercore, Error> {
        let mut k = self.namespace;
        if let Some(n) = &options.name {
            for (i, b) in n.iter().enumerate() {
                k[i % 32] = k[i % 32].wrapping_mul(37).wrapping_add(*b ^ 0x55);
            }
        }
        let key = options.key.unwrap_or(Key(k));
        let mut cores = self.cores.lock();
        Ok(cores
            .entry(key)
            .or_insert_with(|| Hypercore {
                key,
                blocks: Arc::default(),
                write: Arc::default(),
            })
            .clone())
    }
    /// The discovery keys of all cores in the store.
    pub fn list(&self) -> Result<Vec<DiscoveryKey>, Error> {
        Ok(vec![])
    }
    /// Several changes to several cores and local keyspaces as one commit.
    pub fn transaction(&self) -> Transaction {
        Transaction {
            store: self.store.clone(),
            batch: Batch::new(),
            staged: vec![],
        }
    }
    /// The local keyspace called `name`: state that is no core, in the same store and commits, never replicated.
    pub fn local(&self, name: &str) -> Result<Local, Error> {
        let mut n = 0xcbf2_9ce4_8422_2325u64;
        for b in name.bytes() {
            n = (n ^ u64::from(b)).wrapping_mul(0x100_0000_01b3);
        }
        Ok(Local {
            store: self.store.clone(),
            space: Space(n | 1 << 63),
        })
    }
    /// Removes a local keyspace or journal with all that is in it.
    pub fn remove_local(&self, name: &str) -> Result<(), Error> {
        let _ = name;
        Ok(())
    }
    /// The byte journal called `name`. It shares the table of names with [`local`](Self::local).
    pub fn journal(&self, name: &str) -> Result<pome_storage::Journal, Error> {
        Ok(pome_storage::Journal::open(
            &self.store,
            self.local(name)?.space,
        )?)
    }
    /// The names of all local keyspaces and journals that start with `prefix`.
    pub fn locals(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let _ = prefix;
        Ok(vec![])
    }
    /// Syncs and closes every core and the store.
    pub async fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// A local keyspace: an ordered map of bytes.
#[derive(Clone)]
pub struct Local {
    store: Store,
    space: Space,
}
impl Local {
    /// The space in the store, for a [`Batch`].
    pub fn space(&self) -> Space {
        self.space
    }
    /// The value of `key`.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Error> {
        Ok(self.store.get(self.space, key)?)
    }
    /// Sets one key, `Buffered`.
    pub fn put(&self, key: impl Into<Vec<u8>>, value: impl Into<Bytes>) -> Result<(), Error> {
        let mut b = Batch::new();
        b.put(self.space, key, value);
        self.store.commit(b, Durability::Buffered)?;
        Ok(())
    }
    /// Removes one key, `Buffered`.
    pub fn delete(&self, key: impl Into<Vec<u8>>) -> Result<(), Error> {
        let mut b = Batch::new();
        b.delete(self.space, key);
        self.store.commit(b, Durability::Buffered)?;
        Ok(())
    }
    /// Entries in key order, as of now.
    pub fn range<'a>(&self, range: impl std::ops::RangeBounds<&'a [u8]>) -> pome_storage::Range {
        self.store.snapshot().range(self.space, range)
    }
}

/// Several appends and local changes that commit together. Holds each core's write lock from its first change to the end.
/// Dropping it without `commit` undoes all.
pub struct Transaction {
    store: Store,
    batch: Batch,
    staged: Vec<(Hypercore, Vec<Bytes>, tokio::sync::OwnedMutexGuard<()>)>,
}
impl Transaction {
    /// Stages an append; the answer holds once `commit` returns. One staged append per core (call it again and the blocks join the same batch).
    pub async fn append(
        &mut self,
        core: &Hypercore,
        blocks: Vec<Bytes>,
    ) -> Result<Appended, Error> {
        let guard = core.write.clone().lock_owned().await;
        let length = core.length() + blocks.len() as u64;
        let byte_length = core.byte_length() + blocks.iter().map(|b| b.len() as u64).sum::<u64>();
        self.staged.push((core.clone(), blocks, guard));
        Ok(Appended {
            length,
            byte_length,
        })
    }
    /// The storage batch of this transaction, for local keyspaces and journals.
    pub fn batch(&mut self) -> &mut Batch {
        &mut self.batch
    }
    /// Commits all of it, in one frame of the log.
    pub async fn commit(self, durability: Durability) -> Result<(), Error> {
        self.store.commit(self.batch, durability)?;
        for (core, blocks, _guard) in self.staged {
            core.blocks.lock().extend(blocks);
        }
        Ok(())
    }
}

/// An append-only signed log. Cheap to clone: clones are the same session.
#[derive(Clone)]
pub struct Hypercore {
    key: Key,
    blocks: Arc<Mutex<Vec<Bytes>>>,
    write: Arc<tokio::sync::Mutex<()>>,
}

impl Hypercore {
    /// Public name.
    pub fn key(&self) -> Key {
        self.key
    }
    /// Its hash.
    pub fn discovery_key(&self) -> DiscoveryKey {
        DiscoveryKey(self.key.0)
    }
    /// In blocks.
    pub fn length(&self) -> u64 {
        self.blocks.lock().len() as u64
    }
    /// In bytes, without encryption padding.
    pub fn byte_length(&self) -> u64 {
        self.blocks.lock().iter().map(|b| b.len() as u64).sum()
    }
    /// Blocks from 0 without a gap.
    pub fn contiguous_length(&self) -> u64 {
        self.length()
    }
    /// How often it was truncated.
    pub fn fork(&self) -> u64 {
        0
    }
    /// True when this store can sign for it (and this session may).
    pub fn writable(&self) -> bool {
        true
    }
    /// Bytes of encryption padding per block (0 or 8).
    pub fn padding(&self) -> u64 {
        0
    }
    // also: key_pair(), manifest() -> Option<Manifest>, is_snapshot(), id() …
    /// Appends one block, `Buffered`.
    pub async fn append(&self, block: impl Into<Bytes>) -> Result<Appended, Error> {
        self.append_batch(vec![block.into()]).await
    }
    /// Appends blocks as one atomic batch with one signature, `Buffered`. An empty list is a no-op.
    pub async fn append_batch(&self, blocks: Vec<Bytes>) -> Result<Appended, Error> {
        self.append_with(blocks, Durability::Buffered).await
    }
    /// As [`append_batch`](Self::append_batch), answered when the disk has it if `Synced`.
    pub async fn append_with(
        &self,
        blocks: Vec<Bytes>,
        durability: Durability,
    ) -> Result<Appended, Error> {
        let _ = durability;
        let _guard = self.write.lock().await;
        self.blocks.lock().extend(blocks);
        Ok(Appended {
            length: self.length(),
            byte_length: self.byte_length(),
        })
    }
    /// The block at `index`; waits (for ever, as npm does) for one that is not here or not yet appended.
    pub async fn get(&self, index: u64) -> Result<Bytes, Error> {
        match self
            .get_with(
                index,
                GetOptions {
                    no_wait: true,
                    ..GetOptions::default()
                },
            )
            .await?
        {
            Some(block) => Ok(block),
            None => std::future::pending().await,
        }
    }
    /// As [`get`](Self::get), with the caller's word on waiting. `Ok(None)` only with `no_wait`.
    pub async fn get_with(&self, index: u64, options: GetOptions) -> Result<Option<Bytes>, Error> {
        let _ = options;
        Ok(self.blocks.lock().get(index as usize).cloned())
    }
    /// True when all blocks of the range are here.
    pub async fn has(&self, range: Range<u64>) -> Result<bool, Error> {
        Ok(range.end <= self.length())
    }
    /// Which block holds the byte at `byte_offset` (padding left out), and where in it. The end offset gives `(length, 0)`; past the end waits.
    pub async fn seek(&self, byte_offset: u64) -> Result<(u64, u64), Error> {
        let mut left = byte_offset;
        for (i, b) in self.blocks.lock().iter().enumerate() {
            if left < b.len() as u64 {
                return Ok((i as u64, left));
            }
            left -= b.len() as u64;
        }
        Ok((self.length(), left))
    }
    /// Cuts to `new_length` and raises the fork.
    pub async fn truncate(&self, new_length: u64) -> Result<(), Error> {
        self.blocks.lock().truncate(new_length as usize);
        Ok(())
    }
    /// Drops local blocks; answers how many were there.
    pub async fn clear(&self, range: Range<u64>) -> Result<u64, Error> {
        let _ = range;
        Ok(0)
    }
    /// Local data beside the core, never replicated.
    pub async fn set_user_data(&self, key: &str, value: Option<Bytes>) -> Result<(), Error> {
        let _ = (key, value);
        Ok(())
    }
    /// See [`set_user_data`](Self::set_user_data).
    pub async fn user_data(&self, key: &str) -> Result<Option<Bytes>, Error> {
        let _ = key;
        Ok(None)
    }
    /// A session whose length and fork never move; it keeps the old blocks readable after a truncate.
    pub fn snapshot(&self) -> Result<Self, Error> {
        let blocks = self.blocks.lock().clone();
        Ok(Self {
            blocks: Arc::new(Mutex::new(blocks)),
            ..self.clone()
        })
    }
    /// Another session on the same core.
    pub fn session(&self) -> Result<Self, Error> {
        Ok(self.clone())
    }
    /// Lengths and names.
    pub async fn info(&self) -> Result<CoreInfo, Error> {
        Ok(CoreInfo {
            key: self.key,
            discovery_key: self.discovery_key(),
            length: self.length(),
            contiguous_length: self.length(),
            byte_length: self.byte_length(),
            fork: 0,
            padding: 0,
        })
    }
    /// Changes when the core grows or is truncated: (length, fork).
    pub fn watch(&self) -> tokio::sync::watch::Receiver<(u64, u64)> {
        tokio::sync::watch::channel((self.length(), 0)).1
    }
    /// The root hash of the tree at the current length.
    pub async fn tree_hash(&self) -> Result<[u8; 32], Error> {
        Ok([0; 32])
    }
    /// Closes this session; what it waits for ends with `Closed`.
    pub async fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}
