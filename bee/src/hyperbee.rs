//! The bee itself: single reads and writes, views of versions and prefixes.
use crate::{
    batch::Batch,
    cache::{BeeCache, Cache},
    edit::{Conditions, Editor, Tree, Written},
    error::{Error, Result},
    node::{Block, Header, Metadata},
    view::{Source, View},
};
use bytes::{BufMut, Bytes, BytesMut};
use pome_cores::{Durability, GetOptions, Hypercore, replication::ExtensionSender};
use std::{fmt, sync::Arc, time::Duration};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The block that has it: the one of the newest put of this key.
    pub seq: u64,
    /// The key, without the prefix of a sub.
    pub key: Bytes,
    /// The value; `None` when none was put.
    pub value: Option<Bytes>,
}

pub(crate) type Cas = Box<dyn FnOnce(&Entry, &Entry) -> bool + Send>;

/// How to put or del.
#[derive(Default)]
#[non_exhaustive]
pub struct PutOptions {
    pub(crate) cas: Option<Cas>,
    pub(crate) durability: Durability,
}

impl PutOptions {
    /// No condition, `Buffered`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Compare and swap: `cas(previous, next)` says whether to write. It is not asked when the key is absent, so it cannot say "only if absent".
    #[must_use]
    pub fn with_cas(mut self, cas: impl FnOnce(&Entry, &Entry) -> bool + Send + 'static) -> Self {
        self.cas = Some(Box::new(cas));
        self
    }

    /// When the write is answered (default: `Buffered`). In a batch the flush decides.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }
}

impl fmt::Debug for PutOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutOptions")
            .field("cas", &self.cas.is_some())
            .field("durability", &self.durability)
            .finish()
    }
}

/// A sorted database in a core. Cheap to clone; clones, subs and checkouts share the cache and the write lock.
///
/// A read of a version that is not here yet, or of blocks that are not, waits for them as the core does (for ever, unless told otherwise by
/// [`with_wait`](Self::with_wait) and [`with_timeout`](Self::with_timeout)).
#[derive(Clone)]
pub struct Hyperbee {
    core: Hypercore,
    lock: Arc<Mutex<()>>,
    cache: Arc<Cache>,
    settings: Settings,
    /// Where lookups say what they are about.
    pub(crate) outgoing: Option<ExtensionSender>,
    pub(crate) prefix: Bytes,
    checkout: Option<u64>,
}

#[derive(Clone)]
struct Settings {
    metadata: Option<Metadata>,
    always_duplicate: bool,
    read_only: bool,
    waiting: GetOptions,
}

impl Hyperbee {
    /// The bee in `core`. Nothing is read or written yet: an empty core becomes a bee with the first write.
    pub fn new(core: Hypercore) -> Self {
        Self {
            core,
            lock: Arc::default(),
            cache: Arc::new(BeeCache::default().part()),
            settings: Settings {
                metadata: None,
                always_duplicate: true,
                read_only: false,
                waiting: GetOptions::default(),
            },
            outgoing: None,
            prefix: Bytes::new(),
            checkout: None,
        }
    }

    /// What to note in the header, should this bee write it (default: nothing).
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.settings.metadata = Some(metadata);
        self
    }

    /// Whether putting the value that a key already has writes a block (default: true, as upstream).
    #[must_use]
    pub fn always_duplicate(mut self, always: bool) -> Self {
        self.settings.always_duplicate = always;
        self
    }

    /// The same bee, but `put` and `del` answer [`Error::ReadOnly`].
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.settings.read_only = true;
        self
    }

    /// Whether reads wait for blocks that are not here (default: true). Else they answer `BLOCK_NOT_AVAILABLE`.
    #[must_use]
    pub fn with_wait(mut self, wait: bool) -> Self {
        self.settings.waiting.no_wait = !wait;
        self
    }

    /// How long a read waits for each block that is not here (default: for ever).
    #[must_use]
    pub fn with_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.settings.waiting.timeout = timeout;
        self
    }

    /// Bound on the memory of the block cache, in bytes (default: 40 MiB). This bee and clones made from here on get a cache of their own.
    #[must_use]
    pub fn with_cache_bytes(self, bytes: usize) -> Self {
        self.with_cache(&BeeCache::new(bytes))
    }

    /// Keeps blocks in a cache that other bees use, too: what it holds of all of them is bounded together. For this bee and clones made from here on.
    #[must_use]
    pub fn with_cache(mut self, cache: &BeeCache) -> Self {
        self.cache = Arc::new(cache.part());
        self
    }

    /// Asks the peers that there are whether the core has grown, and waits for it: see [`Hypercore::update`].
    ///
    /// # Errors
    /// Those of the core.
    pub async fn update(&self) -> Result<bool> {
        Ok(self.core.update().await?)
    }

    /// Closes the core's session, and so everything that reads and writes through this bee, its clones, subs and batches; watchers end. Checkouts of
    /// versions that were there have a session of their own.
    ///
    /// # Errors
    /// Those of the core.
    pub async fn close(&self) -> Result<()> {
        Ok(self.core.close().await?)
    }

    /// Drops the blocks from `gte` to `lt` (excluded; default: the version before this one) that the tree at this version does not need, so
    /// that the space of old versions comes back: they cannot be read any more, here. Answers how many blocks went. The header stays. Reads the blocks
    /// of the tree that have nodes.
    ///
    /// # Errors
    /// As [`tree_blocks`](Self::tree_blocks).
    pub async fn clear_unlinked(&self, gte: u64, lt: Option<u64>) -> Result<u64> {
        let version = self.version();
        let lt = lt.unwrap_or(version.saturating_sub(1)).min(version);
        let needed = self.tree_blocks().await?;
        let mut cleared = 0;
        let mut next = gte.max(1);
        for seq in needed.into_iter().chain([lt]) {
            let end = seq.min(lt);
            if next < end {
                cleared += self.core.clear(next..end).await?;
            }
            next = next.max(seq.saturating_add(1));
        }
        Ok(cleared)
    }

    /// The core below.
    pub fn core(&self) -> &Hypercore {
        &self.core
    }

    /// The version that reads see: the length of the core, in blocks, or what was checked out. Never below 1, the empty tree.
    pub fn version(&self) -> u64 {
        self.checkout.unwrap_or_else(|| self.core.length()).max(1)
    }

    /// True when `put` and `del` can work.
    pub fn writable(&self) -> bool {
        !self.settings.read_only && self.checkout.is_none() && self.core.writable()
    }

    /// The prefix of all keys of a sub, with its separator; empty for the whole bee.
    pub fn prefix(&self) -> &Bytes {
        &self.prefix
    }

    /// The header. `None` when nothing was written yet and this bee is the one that would.
    ///
    /// # Errors
    /// `Decoding` when block 0 is no header.
    pub async fn header(&self) -> Result<Option<Header>> {
        if self.core.length() == 0 && self.core.writable() {
            return Ok(None);
        }
        let view = self.view();
        let raw = view.raw(0).await?;
        let header = Header::decode(&raw).ok_or_else(|| view.fault(0, "it is no header"))?;
        Ok(Some(header))
    }

    /// True when block 0 of `core` says that it is a bee.
    ///
    /// # Errors
    /// Those of reading block 0. It waits for a block that is not here, unless `options` say otherwise.
    pub async fn is_hyperbee(core: &Hypercore, options: GetOptions) -> Result<bool> {
        let mut bee = Self::new(core.clone());
        bee.settings.waiting = options;
        let raw = bee.view().raw(0).await?;
        Ok(Header::decode(&raw).is_some_and(|h| h.protocol == "hyperbee"))
    }

    /// The value of `key`, with the seq of its put.
    ///
    /// # Errors
    /// Those of the core; `Decoding` for blocks that are no bee's.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Entry>> {
        let key = self.prefixed(key);
        loop {
            let mut view = self.view();
            view.hint = self.hint_of_get(&view, &key);
            let fork = view.core.fork();
            let result = async {
                match view.find(&key).await? {
                    Some(block) => Ok(Some(self.entry(&view, &block).await?)),
                    None => Ok(None),
                }
            }
            .await;
            // a truncation in between may have mixed two histories
            if view.core.fork() == fork {
                return result;
            }
        }
    }

    /// The entry of block `seq`, whatever became of it since; `value` is `None` for a deletion too.
    ///
    /// # Errors
    /// `Decoding` for the header and for blocks that are no bee's; those of the core.
    pub async fn get_by_seq(&self, seq: u64) -> Result<Entry> {
        let view = self.view();
        let block = view.block(seq).await?;
        self.entry(&view, &block).await
    }

    /// Sets `key`. Writes a block even when it has that value already (see [`always_duplicate`](Self::always_duplicate)). `Buffered`.
    ///
    /// # Errors
    /// `ReadOnly` on a checkout; `NotWritable` when the core is not ours; those of reading the way to the key; `Conflict`.
    pub async fn put(&self, key: &[u8], value: impl Into<Bytes>) -> Result<()> {
        self.put_with(key, Some(value.into()), PutOptions::new())
            .await?;
        Ok(())
    }

    /// As [`put`](Self::put), with or without a value, and with options. Answers whether a block was written.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn put_with(
        &self,
        key: &[u8],
        value: Option<Bytes>,
        options: PutOptions,
    ) -> Result<bool> {
        let (guard, mut editor, header) = self.editor().await?;
        let (conditions, durability) = self.conditions(options);
        let written = editor.put(self.prefixed(key), value, conditions).await?;
        self.append(editor, header, durability).await?;
        drop(guard);
        Ok(written)
    }

    /// Removes `key`. Writes nothing when it is not there (on an empty bee: the header). `Buffered`.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn del(&self, key: &[u8]) -> Result<()> {
        self.del_with(key, PutOptions::new()).await?;
        Ok(())
    }

    /// As [`del`](Self::del), with options. Answers whether a block was written.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub async fn del_with(&self, key: &[u8], options: PutOptions) -> Result<bool> {
        let (guard, mut editor, header) = self.editor().await?;
        let (conditions, durability) = self.conditions(options);
        let written = editor.del(self.prefixed(key), conditions).await?;
        self.append(editor, header, durability).await?;
        drop(guard);
        Ok(written)
    }

    /// Several writes that become visible together. It takes the bee's write lock with its first write and holds it until flush, close or drop.
    pub fn batch(&self) -> Batch {
        Batch::new(self.clone())
    }

    /// The bee as it was at `version` (0 means 1), read-only. A version that is not here yet is waited for when it is read.
    #[must_use]
    pub fn checkout(&self, version: u64) -> Self {
        let version = version.max(1);
        let mut bee = self.clone();
        // a session of its own stays readable when the core is truncated; a core that cannot make one says so when it is read
        if version <= self.core.length()
            && let Ok(core) = self.core.snapshot()
        {
            bee.core = core;
        }
        bee.checkout = Some(version);
        bee
    }

    /// The bee as it is now, read-only.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        self.checkout(self.version())
    }

    /// The part of the bee whose keys start with `prefix ‖ 00`. Its keys come and go without that.
    #[must_use]
    pub fn sub(&self, prefix: impl AsRef<[u8]>) -> Self {
        self.sub_with(prefix, [0])
    }

    /// As [`sub`](Self::sub), with another separator.
    #[must_use]
    pub fn sub_with(&self, prefix: impl AsRef<[u8]>, separator: impl AsRef<[u8]>) -> Self {
        let mut bee = self.clone();
        bee.prefix = [&self.prefix[..], prefix.as_ref(), separator.as_ref()]
            .concat()
            .into();
        bee
    }

    pub(crate) fn is_checkout(&self) -> bool {
        self.checkout.is_some()
    }

    pub(crate) fn prefixed(&self, key: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(self.prefix.len() + key.len());
        out.put_slice(&self.prefix);
        out.put_slice(key);
        out.freeze()
    }

    /// The tree at this bee's version, read through the core as it is now.
    pub(crate) fn view(&self) -> View {
        View {
            core: self.core.clone(),
            version: self.version(),
            cache: self.cache.clone(),
            waiting: self.settings.waiting.clone(),
            hint: None,
            trace: None,
        }
    }

    /// As [`view`](Self::view), for a walk that takes its time: truncation does not reach it.
    pub(crate) fn lasting_view(&self) -> View {
        let mut view = self.view();
        if self.checkout.is_none()
            && let Ok(core) = self.core.snapshot()
        {
            view.core = core;
        }
        view
    }

    pub(crate) async fn entry<S: Source>(&self, source: &S, block: &Block) -> Result<Entry> {
        Ok(Entry {
            seq: block.seq,
            key: block.key.slice(self.prefix.len().min(block.key.len())..),
            value: source.value(block).await?,
        })
    }

    pub(crate) fn conditions(&self, options: PutOptions) -> (Conditions, Durability) {
        let conditions = Conditions {
            cas: options.cas,
            prefix: self.prefix.len(),
            always_duplicate: self.settings.always_duplicate,
        };
        (conditions, options.durability)
    }

    /// Takes the write lock and starts a change of the newest version. The block is the header, when there is none yet.
    pub(crate) async fn editor(&self) -> Result<(OwnedMutexGuard<()>, Editor, Option<Bytes>)> {
        if self.settings.read_only || self.checkout.is_some() {
            return Err(Error::ReadOnly);
        }
        if !self.core.writable() {
            return Err(pome_cores::Error::NotWritable {
                key: self.core.key(),
            }
            .into());
        }
        let guard = self.lock.clone().lock_owned().await;
        let fork = self.core.fork();
        let view = self.view();
        let header =
            (self.core.length() == 0).then(|| Header::new(self.settings.metadata.clone()).encode());
        let tree = self.cache.take_tree(fork, view.version);
        Ok((guard, Editor::new(view, tree), header))
    }

    /// The blocks of a change, checked to still fit the core.
    pub(crate) fn blocks(&self, editor: Editor, header: Option<Bytes>) -> Result<Blocks> {
        let first = editor.tree.version - u64::from(header.is_some());
        let fork = editor.tree.fork;
        let Written {
            mut blocks,
            newest,
            tree,
        } = editor.into_blocks()?;
        if let Some(header) = header {
            blocks.insert(0, header);
        }
        let found = self.core.length();
        if (found, self.core.fork()) != (first, fork) && !blocks.is_empty() {
            return Err(Error::Conflict {
                key: self.core.key(),
                expected: first,
                found,
            });
        }
        Ok(Blocks {
            blocks,
            first,
            newest,
            tree,
        })
    }

    pub(crate) async fn append(
        &self,
        editor: Editor,
        header: Option<Bytes>,
        durability: Durability,
    ) -> Result<()> {
        let fork = editor.tree.fork;
        let Blocks {
            blocks,
            first,
            newest,
            tree,
        } = self.blocks(editor, header)?;
        if !blocks.is_empty() {
            // another bee of this core, or a transaction, may append or truncate while this waits for the core
            let appended = self.core.append_at((first, fork), blocks, durability).await;
            appended.map_err(|error| match error {
                pome_cores::Error::Moved { key, length, .. } => Error::Conflict {
                    key,
                    expected: first,
                    found: length,
                },
                error => error.into(),
            })?;
        }
        // the next write starts at these
        if self.core.fork() == fork {
            for block in newest {
                self.cache.insert(fork, Arc::new(block));
            }
            if let Some(tree) = tree {
                self.cache.keep_tree(tree);
            }
        }
        Ok(())
    }
}

/// What a change appends.
pub(crate) struct Blocks {
    pub(crate) blocks: Vec<Bytes>,
    /// Where they go.
    pub(crate) first: u64,
    newest: Vec<Block>,
    tree: Option<Tree>,
}

impl fmt::Debug for Hyperbee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hyperbee")
            .field("key", &self.core.key())
            .field("version", &self.version())
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
