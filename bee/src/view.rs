//! Reading the tree at one version.
use crate::{
    ahead::{Ahead, Coming},
    cache::Cache,
    error::{Error, Result},
    extension::Hint,
    node::{Block, Fault, Level, LevelKey, MAX_DEPTH, Value},
};
use bytes::Bytes;
use parking_lot::Mutex;
use pome_cores::{GetOptions, Hypercore};
use std::{cmp::Ordering, sync::Arc};

/// Blocks up to this many bytes are copied out of the store's buffers when they are read.
const COPIED_BYTES_MAX: usize = 16 << 10;

/// A core, up to a version of the tree in it.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) core: Hypercore,
    /// The version: the length of the core that the tree is read at, in blocks.
    pub(crate) version: u64,
    pub(crate) cache: Arc<Cache>,
    pub(crate) waiting: GetOptions,
    /// Said to peers when the first block is not here.
    pub(crate) hint: Option<Arc<Hint>>,
    /// Hears of each block that is looked at.
    pub(crate) trace: Option<Arc<Mutex<Vec<u64>>>>,
}

/// A tree node.
#[derive(Debug, Clone)]
pub(crate) enum NodeRef {
    /// One of the nodes that a batch holds in memory.
    Live(usize),
    /// Level of a block in the core.
    Stored(Arc<Block>, u64),
}

/// A tree that can be walked: that of a version, or that of a batch.
pub(crate) trait Source: Send + Sync {
    /// The version that the walk is of, which bounds how many nodes it can have.
    fn version(&self) -> u64;
    fn root(&self) -> impl Future<Output = Result<Option<NodeRef>>> + Send;
    /// A node by its place, which somebody else says.
    fn node(&self, seq: u64, offset: u64) -> impl Future<Output = Result<NodeRef>> + Send;
    /// The block, maybe without a large value.
    fn block(&self, seq: u64) -> impl Future<Output = Result<Arc<Block>>> + Send;
    /// The value of a block.
    fn value(&self, block: &Block) -> impl Future<Output = Result<Option<Bytes>>> + Send;
    fn child(&self, node: &NodeRef, index: usize) -> impl Future<Output = Result<NodeRef>> + Send;
    fn key(&self, node: &NodeRef, index: usize) -> impl Future<Output = Result<Bytes>> + Send;
    /// The keys of a node, each with its bytes where somebody has looked it up before.
    fn keys<'a>(&'a self, node: &'a NodeRef) -> &'a [LevelKey];
    fn is_leaf(&self, node: &NodeRef) -> bool;
    /// The error for a block that breaks the rules.
    fn fault(&self, seq: u64, what: Fault) -> Error;

    fn key_seq(&self, node: &NodeRef, index: usize) -> u64 {
        self.keys(node)[index].seq
    }

    fn key_count(&self, node: &NodeRef) -> usize {
        self.keys(node).len()
    }

    /// True when all blocks are here: there is nothing to look ahead for.
    fn is_whole(&self) -> bool {
        true
    }
    /// The block that has a child; none where it is in memory.
    fn child_seq(&self, _node: &NodeRef, _index: usize) -> Option<u64> {
        None
    }
    /// True when a block can be had without waiting.
    fn is_here(&self, _seq: u64) -> impl Future<Output = bool> + Send {
        async { true }
    }
    /// Has a block fetched.
    fn fetch(&self, seq: u64) -> Coming {
        Box::pin(std::future::ready(seq))
    }
    /// Has the keys of a node fetched together, where more than one is not here.
    fn fetch_keys(&self, _node: &NodeRef) -> impl Future<Output = Option<Ahead>> + Send {
        async { None }
    }

    /// Where `key` is among the keys of `node`: `Ok` its place, `Err` that of the child under which it would be.
    fn search(
        &self,
        node: &NodeRef,
        key: &[u8],
    ) -> impl Future<Output = Result<Result<usize, usize>>> + Send {
        async move {
            let search = async {
                let keys = self.keys(node);
                let (mut start, mut end) = (0, keys.len());
                while start < end {
                    let middle = (start + end) / 2;
                    let ordering = match keys[middle].bytes.get() {
                        Some(other) => key.cmp(other),
                        None => key.cmp(&self.key(node, middle).await?),
                    };
                    match ordering {
                        Ordering::Equal => return Ok(Ok(middle)),
                        Ordering::Less => end = middle,
                        Ordering::Greater => start = middle + 1,
                    }
                }
                Ok(Err(start))
            };
            match self.fetch_keys(node).await {
                None => search.await,
                Some(mut ahead) => ahead.until(search).await,
            }
        }
    }

    /// The block of the newest put of `key`.
    ///
    /// Upstream also takes a block with this key that it passes on the way, which brings deleted keys back; see `a_deleted_key_stays_deleted`.
    fn find(&self, key: &[u8]) -> impl Future<Output = Result<Option<Arc<Block>>>> + Send {
        async move {
            let Some(mut node) = self.root().await? else {
                return Ok(None);
            };
            for _ in 0..MAX_DEPTH {
                match self.search(&node, key).await? {
                    Ok(at) => return Ok(Some(self.block(self.key_seq(&node, at)).await?)),
                    Err(_) if self.is_leaf(&node) => return Ok(None),
                    Err(at) => node = self.child(&node, at).await?,
                }
            }
            Err(self.fault(self.version().saturating_sub(1), TOO_DEEP))
        }
    }
}

/// What is wrong with a tree whose walk does not end.
pub(crate) const TOO_DEEP: Fault = "the tree is deeper than any honest one";

impl View {
    /// The bytes of a block of the core, waiting as the caller said.
    pub(crate) async fn raw(&self, seq: u64) -> Result<Bytes> {
        if let Some(hint) = &self.hint
            && !hint.is_said()
            && !self.is_here(seq).await
        {
            hint.say();
        }
        match self.core.get_with(seq, self.waiting.clone()).await? {
            Some(raw) => Ok(raw),
            None if self.waiting.no_wait => Err(pome_cores::Error::BlockNotAvailable {
                key: self.core.key(),
                index: seq,
            }
            .into()),
            None => Ok(self.core.get(seq).await?),
        }
    }

    /// A block, out of the cache if it is there.
    async fn cached(&self, seq: u64) -> Result<Arc<Block>> {
        let fork = self.core.fork();
        if let Some(block) = self.cache.get(fork, seq) {
            return Ok(block);
        }
        let raw = self.raw(seq).await?;
        // what stays in memory must not keep a larger buffer of the store alive
        let raw = match raw.len() {
            ..=COPIED_BYTES_MAX => Bytes::copy_from_slice(&raw),
            _ => raw,
        };
        let block = Block::decode(seq, &raw).map_err(|w| self.fault(seq, w))?;
        let block = Arc::new(block.kept());
        if self.core.fork() == fork {
            self.cache.insert(fork, block.clone());
        }
        Ok(block)
    }

    fn level<'a>(&self, block: &'a Block, offset: u64) -> Result<&'a Level> {
        block.level(offset).map_err(|w| self.fault(block.seq, w))
    }

    /// Where child `index` of a node is: block and level. None in a leaf.
    pub(crate) fn child_place(&self, node: &NodeRef, index: usize) -> Option<(u64, u64)> {
        self.checked(node).1.children.get(index).copied()
    }

    /// The node and its place, checked once so that the rest of [`Source`] can rely on it.
    pub(crate) fn stored(&self, block: Arc<Block>, offset: u64) -> Result<NodeRef> {
        self.level(&block, offset)?;
        Ok(NodeRef::Stored(block, offset))
    }

    fn checked<'a>(&self, node: &'a NodeRef) -> (&'a Arc<Block>, &'a Level) {
        match node {
            NodeRef::Stored(block, offset) => (
                block,
                block.level(*offset).expect("checked when it was loaded"),
            ),
            NodeRef::Live(_) => unreachable!("a stored tree has no live nodes"),
        }
    }
}

impl Source for View {
    fn version(&self) -> u64 {
        self.version
    }

    async fn root(&self) -> Result<Option<NodeRef>> {
        // What is in the cache does not outlast its core.
        if self.core.is_closed() {
            return Err(pome_cores::Error::Closed.into());
        }
        if self.version < 2 {
            return Ok(None);
        }
        let block = self.block(self.version - 1).await?;
        self.stored(block, 0).map(Some)
    }

    async fn node(&self, seq: u64, offset: u64) -> Result<NodeRef> {
        let block = self.block(seq).await?;
        self.stored(block, offset)
    }

    async fn block(&self, seq: u64) -> Result<Arc<Block>> {
        let block = self.cached(seq).await?;
        if let Some(trace) = &self.trace {
            trace.lock().push(seq);
        }
        Ok(block)
    }

    async fn value(&self, block: &Block) -> Result<Option<Bytes>> {
        match &block.value {
            Value::None => Ok(None),
            Value::Here(value) => Ok(Some(value.clone())),
            Value::InCore => {
                let raw = self.raw(block.seq).await?;
                match Block::decode(block.seq, &raw).map_err(|w| self.fault(block.seq, w))? {
                    Block {
                        value: Value::Here(value),
                        ..
                    } => Ok(Some(value)),
                    _ => Ok(None),
                }
            }
        }
    }

    async fn child(&self, node: &NodeRef, index: usize) -> Result<NodeRef> {
        let (block, level) = self.checked(node);
        let (seq, offset) = level.children[index];
        let block = if seq == block.seq {
            block.clone()
        } else {
            self.block(seq).await?
        };
        self.stored(block, offset)
    }

    async fn key(&self, node: &NodeRef, index: usize) -> Result<Bytes> {
        let (block, level) = self.checked(node);
        let key = &level.keys[index];
        if let Some(bytes) = key.bytes.get() {
            return Ok(bytes.clone());
        }
        let bytes = if key.seq == block.seq {
            block.key.clone()
        } else {
            self.block(key.seq).await?.key.clone()
        };
        Ok(key.bytes.get_or_init(|| bytes).clone())
    }

    fn keys<'a>(&'a self, node: &'a NodeRef) -> &'a [LevelKey] {
        &self.checked(node).1.keys
    }

    fn is_leaf(&self, node: &NodeRef) -> bool {
        self.checked(node).1.children.is_empty()
    }

    fn is_whole(&self) -> bool {
        self.core.contiguous_length() >= self.version
    }

    fn child_seq(&self, node: &NodeRef, index: usize) -> Option<u64> {
        Some(self.child_place(node, index)?.0)
    }

    async fn is_here(&self, seq: u64) -> bool {
        self.cache.get(self.core.fork(), seq).is_some()
            || self.core.has(seq..seq + 1).await.unwrap_or(true)
    }

    fn fetch(&self, seq: u64) -> Coming {
        let view = self.clone();
        Box::pin(async move {
            // Whoever needs it meets the error.
            let _ = view.block(seq).await;
            seq
        })
    }

    async fn fetch_keys(&self, node: &NodeRef) -> Option<Ahead> {
        if self.is_whole() || self.waiting.no_wait {
            return None;
        }
        let (block, level) = self.checked(node);
        let mut missing = Vec::new();
        for key in &level.keys {
            if key.bytes.get().is_none() && key.seq != block.seq && !self.is_here(key.seq).await {
                missing.push(key.seq);
            }
        }
        (missing.len() > 1).then(|| {
            let mut ahead = Ahead::new();
            for seq in missing {
                ahead.ask(seq, || self.fetch(seq));
            }
            ahead
        })
    }

    fn fault(&self, seq: u64, what: Fault) -> Error {
        Error::Decoding {
            key: self.core.key(),
            seq,
            what,
        }
    }
}
