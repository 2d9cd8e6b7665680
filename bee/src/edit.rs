//! Changing the tree: puts and deletes on nodes in memory, and the blocks that come of them.
//!
//! The nodes, the child slots and the order in which they are written are part of the format: what a block repeats of the tree follows from which slots
//! are shared and which nodes are marked as changed, so both have an identity here (an index), as they have upstream.
//! Source: hyperbee 2.27.3, `index.js` (`Batch`, `TreeNode`, `rebalance`, `setKeyToNearestLeaf`, `toBlocks`). Vectors: `bee.json`.
mod balance;

use crate::{
    error::{Error, Result},
    hyperbee::Cas,
    node::{Block, Fault, Level, LevelKey, MAX_KEYS, Value, encode_block, put_level},
    view::{NodeRef, Source, TOO_DEEP, View},
};
use bytes::Bytes;
use std::sync::Arc;

/// How many blocks of a batch go into the cache as they are written.
const SEEDED_BLOCKS_MAX: usize = 1024;
/// What a node takes in memory, about, without the bytes of its keys.
const NODE_BYTES: usize = 600;

type NodeId = usize;
type SlotId = usize;

/// A place for a child in a node: where the child is stored, and the child itself once it is loaded.
#[derive(Debug)]
struct Slot {
    seq: u64,
    offset: u64,
    node: Option<NodeId>,
}

#[derive(Debug)]
struct Node {
    keys: Vec<LevelKey>,
    children: Vec<SlotId>,
    /// The block that the node was read from; none when it is new or was written by this batch.
    block: Option<(Arc<Block>, u64)>,
    changed: bool,
}

impl Node {
    /// True while key `index` is still the one of the stored node.
    fn is_as_stored(&self, index: usize) -> bool {
        self.block.as_ref().is_some_and(|(block, offset)| {
            block
                .level(*offset)
                .is_ok_and(|l| l.keys.get(index).map(|k| k.seq) == Some(self.keys[index].seq))
        })
    }
}

/// A block that waits for the flush.
#[derive(Debug)]
struct Pending {
    block: Arc<Block>,
    /// The nodes that the block writes, each with its slot: first the root, which has none.
    index: Vec<(Option<SlotId>, NodeId)>,
}

/// What a change has in memory of the tree. It is left to the next one, whose nodes need not be read again where nothing was written since.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Fork of the core that it was read from.
    pub(crate) fork: u64,
    /// The version that it is of: the seq of the first block that a change makes.
    pub(crate) version: u64,
    nodes: Vec<Node>,
    slots: Vec<Slot>,
    root: Option<NodeId>,
    /// Bytes of keys and of blocks that the nodes have in memory. What is let go of is not taken off.
    held: usize,
}

impl Tree {
    /// A tree of which nothing was read yet.
    pub(crate) fn new(fork: u64, version: u64) -> Self {
        Self {
            fork,
            version,
            nodes: Vec::new(),
            slots: Vec::new(),
            root: None,
            held: 0,
        }
    }

    /// How much memory it takes, about, in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.nodes.len() * NODE_BYTES + self.slots.len() * size_of::<Slot>() + self.held
    }
}

/// What comes of a change.
pub(crate) struct Written {
    /// Ready to be appended at the version of the tree that [`Editor::new`] was given.
    pub(crate) blocks: Vec<Bytes>,
    /// The last ones, as readers will see them.
    pub(crate) newest: Vec<Block>,
    /// The tree, once the blocks are appended.
    pub(crate) tree: Option<Tree>,
}

/// What a put or del is given beside key and value.
pub(crate) struct Conditions {
    pub(crate) cas: Option<Cas>,
    /// Length of the prefix that `cas` does not see, in bytes.
    pub(crate) prefix: usize,
    pub(crate) always_duplicate: bool,
}

/// A tree in memory, on top of that of a version, and the blocks that make it out of that version.
pub(crate) struct Editor {
    pub(crate) view: View,
    pub(crate) tree: Tree,
    pending: Vec<Pending>,
    /// Set while the tree is between two states.
    broken: bool,
    /// Set while nodes are marked for a write that was not made, which the next change must not find.
    marked: bool,
}

impl Editor {
    /// Changes to the tree of `view`, of which `tree` is in memory.
    pub(crate) fn new(view: View, tree: Tree) -> Self {
        Self {
            view,
            tree,
            pending: Vec::new(),
            broken: false,
            marked: false,
        }
    }

    /// Number of blocks that wait.
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    fn next_seq(&self) -> u64 {
        self.tree.version + self.pending.len() as u64
    }

    /// Sets `key`; false when a condition said no, and then nothing was added.
    pub(crate) async fn put(
        &mut self,
        key: Bytes,
        value: Option<Bytes>,
        mut conditions: Conditions,
    ) -> Result<bool> {
        let seq = self.next_seq();
        let mut node = match self.load_root().await? {
            Some(root) => root,
            None => self.add(Vec::new(), Vec::new()),
        };
        let mut root = node;
        let mut path = Vec::new();
        let mut place = loop {
            let leaf = self.tree.nodes[node].children.is_empty();
            if !leaf {
                path.push(node);
                // only a mark: if a condition says no, the next write of the batch writes this node again, as upstream
                self.tree.nodes[node].changed = true;
                self.marked = true;
            }
            match self.search_loading(node, &key).await? {
                Ok(at) => {
                    if !self
                        .allowed(node, at, seq, &key, Some(&value), &mut conditions)
                        .await?
                    {
                        return Ok(false);
                    }
                    self.tree.nodes[node].keys[at] = LevelKey::new(seq, Some(key.clone()));
                    self.tree.nodes[node].changed = true;
                    self.write(root, seq, key, value);
                    return Ok(true);
                }
                Err(at) if leaf => break at,
                Err(at) => node = self.load_child(node, at, path.len()).await?,
            }
        };
        self.check()?;
        self.broken = true;
        let mut added = (LevelKey::new(seq, Some(key.clone())), None);
        loop {
            let (new_key, child) = added;
            let this = &mut self.tree.nodes[node];
            this.keys.insert(place, new_key);
            if let Some(child) = child {
                this.children.insert(place + 1, child);
            }
            this.changed = true;
            if this.keys.len() <= MAX_KEYS {
                break;
            }
            let (median, right) = self.split(node);
            let right = self.slot(0, 0, Some(right));
            let Some(parent) = path.pop() else {
                let left = self.slot(0, 0, Some(node));
                root = self.add(vec![median], vec![left, right]);
                break;
            };
            let median_bytes = self.load_key_of(&median).await?;
            place = match self.search_loading(parent, &median_bytes).await? {
                Ok(at) | Err(at) => at,
            };
            added = (median, Some(right));
            node = parent;
        }
        self.write(root, seq, key, value);
        self.broken = false;
        Ok(true)
    }

    /// Removes `key`; false when it is not there or a condition said no, and then nothing was added.
    pub(crate) async fn del(&mut self, key: Bytes, mut conditions: Conditions) -> Result<bool> {
        let seq = self.next_seq();
        let Some(mut node) = self.load_root().await? else {
            return Ok(false);
        };
        let mut path = vec![node];
        let place = loop {
            match self.search_loading(node, &key).await? {
                Ok(at) => break at,
                Err(_) if self.tree.nodes[node].children.is_empty() => return Ok(false),
                Err(at) => {
                    node = self.load_child(node, at, path.len()).await?;
                    path.push(node);
                }
            }
        };
        if !self
            .allowed(node, place, seq, &key, None, &mut conditions)
            .await?
        {
            return Ok(false);
        }
        self.check()?;
        self.broken = true;
        if self.tree.nodes[node].children.is_empty() {
            self.tree.nodes[node].keys.remove(place);
        } else {
            self.take_from_nearest_leaf(node, place, &mut path).await?;
        }
        for node in &path {
            self.tree.nodes[*node].changed = true;
        }
        let root = self.rebalance(path).await?;
        self.write(root, seq, key, None);
        self.broken = false;
        Ok(true)
    }

    /// The blocks, and what they leave in memory.
    pub(crate) fn into_blocks(mut self) -> Result<Written> {
        if self.broken {
            return Err(Error::BatchFailed);
        }
        let version = self.next_seq();
        let count = self.pending.len();
        let mut blocks = Vec::with_capacity(count);
        let mut newest = Vec::with_capacity(count.min(SEEDED_BLOCKS_MAX));
        let mut encoded = Vec::new();
        for (i, pending) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            let Pending { block, mut index } = pending;
            let left = count - i;
            if left > 1 {
                self.drop_superseded(&mut index, block.seq);
            }
            encoded.clear();
            for (_, node) in &index {
                let Node { keys, children, .. } = &self.tree.nodes[*node];
                let places = children.iter().map(|slot| self.place(*slot));
                put_level(&mut encoded, keys.iter().map(|key| key.seq), places);
            }
            let value = match &block.value {
                Value::Here(value) => Some(&value[..]),
                _ => None,
            };
            let raw = encode_block(&encoded, &block.key, value);
            if left <= SEEDED_BLOCKS_MAX {
                let levels = index.iter().map(|(_, node)| self.level(*node)).collect();
                let seen = block.written(encoded.len(), &raw).kept();
                newest.push(seen.with_levels(levels));
            }
            blocks.push(raw);
        }
        self.tree.version = version;
        Ok(Written {
            blocks,
            newest,
            tree: (!self.marked).then_some(self.tree),
        })
    }

    /// Takes out the root and the nodes that a later block writes again. The last node moves into each gap, and children learn their new place.
    fn drop_superseded(&mut self, index: &mut Vec<(Option<SlotId>, NodeId)>, seq: u64) {
        let mut at = 0;
        while at < index.len() {
            match index[at].0 {
                Some(slot) if self.tree.slots[slot].seq == seq => {
                    self.tree.slots[slot].offset = at as u64;
                    at += 1;
                }
                _ => {
                    index.swap_remove(at);
                }
            }
        }
    }

    /// A node as its block has it.
    fn level(&self, node: NodeId) -> Level {
        let Node { keys, children, .. } = &self.tree.nodes[node];
        Level {
            keys: keys.clone(),
            children: children.iter().map(|slot| self.place(*slot)).collect(),
        }
    }

    /// Where the child of a slot is: block and level.
    fn place(&self, slot: SlotId) -> (u64, u64) {
        let Slot { seq, offset, .. } = self.tree.slots[slot];
        (seq, offset)
    }

    /// Adds the block that makes `root` the tree.
    fn write(&mut self, root: NodeId, seq: u64, key: Bytes, value: Option<Bytes>) {
        let mut index = Vec::with_capacity(8);
        self.collect_changed(None, root, seq, &mut index);
        self.tree.root = Some(root);
        self.marked = false;
        self.tree.held += key.len();
        self.pending.push(Pending {
            block: Arc::new(Block::pending(seq, key, value)),
            index,
        });
    }

    fn collect_changed(
        &mut self,
        slot: Option<SlotId>,
        node: NodeId,
        seq: u64,
        index: &mut Vec<(Option<SlotId>, NodeId)>,
    ) {
        if let Some(slot) = slot {
            let slot = &mut self.tree.slots[slot];
            (slot.seq, slot.offset) = (seq, index.len() as u64);
        }
        index.push((slot, node));
        self.tree.nodes[node].changed = false;
        self.tree.nodes[node].block = None;
        for i in 0..self.tree.nodes[node].children.len() {
            let slot = self.tree.nodes[node].children[i];
            let child = self.tree.slots[slot].node;
            if let Some(child) = child.filter(|child| self.tree.nodes[*child].changed) {
                self.collect_changed(Some(slot), child, seq, index);
            }
        }
    }

    fn add(&mut self, keys: Vec<LevelKey>, children: Vec<SlotId>) -> NodeId {
        self.tree.nodes.push(Node {
            keys,
            children,
            block: None,
            changed: true,
        });
        self.tree.nodes.len() - 1
    }

    fn slot(&mut self, seq: u64, offset: u64, node: Option<NodeId>) -> SlotId {
        self.tree.slots.push(Slot { seq, offset, node });
        self.tree.slots.len() - 1
    }

    fn check(&self) -> Result<()> {
        if self.broken {
            return Err(Error::BatchFailed);
        }
        Ok(())
    }

    async fn load_root(&mut self) -> Result<Option<NodeId>> {
        self.check()?;
        if let Some(root) = self.tree.root {
            if self.pending.is_empty() {
                self.tree.nodes[root].changed = false;
            }
            return Ok(Some(root));
        }
        let Some(NodeRef::Stored(block, offset)) = self.view.root().await? else {
            return Ok(None);
        };
        self.tree.root = Some(self.adopt(block, offset)?);
        Ok(self.tree.root)
    }

    /// Takes a stored node into memory.
    fn adopt(&mut self, block: Arc<Block>, offset: u64) -> Result<NodeId> {
        let level = block
            .level(offset)
            .map_err(|w| self.view.fault(block.seq, w))?;
        let keys = level
            .keys
            .iter()
            .map(|key| match key.bytes.get() {
                None if key.seq == block.seq => LevelKey::new(key.seq, Some(block.key.clone())),
                _ => key.clone(),
            })
            .collect();
        let children = level
            .children
            .iter()
            .map(|(seq, offset)| {
                self.tree.slots.push(Slot {
                    seq: *seq,
                    offset: *offset,
                    node: None,
                });
                self.tree.slots.len() - 1
            })
            .collect();
        self.tree.held += block.weight();
        self.tree.nodes.push(Node {
            keys,
            children,
            block: Some((block, offset)),
            changed: false,
        });
        Ok(self.tree.nodes.len() - 1)
    }

    async fn load_child(&mut self, node: NodeId, index: usize, depth: usize) -> Result<NodeId> {
        if depth > crate::node::MAX_DEPTH {
            return Err(self.fault(self.view.version.saturating_sub(1), TOO_DEEP));
        }
        let slot = self.tree.nodes[node].children[index];
        let Slot { seq, offset, node } = self.tree.slots[slot];
        if let Some(node) = node {
            return Ok(node);
        }
        let block = self.view.block(seq).await?;
        let child = self.adopt(block, offset)?;
        self.tree.slots[slot].node = Some(child);
        Ok(child)
    }

    async fn load_key_of(&self, key: &LevelKey) -> Result<Bytes> {
        match key.bytes.get() {
            Some(bytes) => Ok(bytes.clone()),
            None => Ok(self.view.block(key.seq).await?.key.clone()),
        }
    }

    /// As [`Source::search`], and keeps the keys that it had to look up.
    async fn search_loading(&mut self, node: NodeId, key: &[u8]) -> Result<Result<usize, usize>> {
        let (mut start, mut end) = (0, self.tree.nodes[node].keys.len());
        while start < end {
            let middle = (start + end) / 2;
            let this = &self.tree.nodes[node];
            if this.keys[middle].bytes.get().is_none() {
                let bytes = match &this.block {
                    // through the stored node, which remembers it for the next reader
                    Some((block, offset)) if this.is_as_stored(middle) => {
                        let stored = NodeRef::Stored(block.clone(), *offset);
                        self.view.key(&stored, middle).await?
                    }
                    _ => self.load_key_of(&this.keys[middle]).await?,
                };
                self.tree.held += bytes.len();
                let key = &mut self.tree.nodes[node].keys[middle];
                *key = LevelKey::new(key.seq, Some(bytes));
            }
            let other = self.tree.nodes[node].keys[middle].bytes.get();
            match Some(key).cmp(&other.map(|bytes| &bytes[..])) {
                std::cmp::Ordering::Equal => return Ok(Ok(middle)),
                std::cmp::Ordering::Less => end = middle,
                std::cmp::Ordering::Greater => start = middle + 1,
            }
        }
        Ok(Err(start))
    }

    /// Asks the conditions whether the key at `at` may be changed. `value` is none for a del.
    async fn allowed(
        &mut self,
        node: NodeId,
        at: usize,
        seq: u64,
        key: &Bytes,
        value: Option<&Option<Bytes>>,
        conditions: &mut Conditions,
    ) -> Result<bool> {
        let unequal = !conditions.always_duplicate && value.is_some();
        if conditions.cas.is_none() && !unequal {
            return Ok(true);
        }
        let previous = self.block(self.tree.nodes[node].keys[at].seq).await?;
        let previous_value = self.value(&previous).await?;
        if let Some(cas) = conditions.cas.take() {
            let entry = |seq, key: &Bytes, value| crate::Entry {
                seq,
                key: key.slice(conditions.prefix.min(key.len())..),
                value,
            };
            let before = entry(previous.seq, &previous.key, previous_value.clone());
            let after = entry(seq, key, value.cloned().flatten());
            if !cas(&before, &after) {
                return Ok(false);
            }
        }
        Ok(!(unequal && value == Some(&previous_value)))
    }

    /// Cuts a node of nine keys into two of four; the fifth goes up.
    fn split(&mut self, node: NodeId) -> (LevelKey, NodeId) {
        let this = &mut self.tree.nodes[node];
        let half = this.keys.len() / 2;
        let keys = this.keys.split_off(this.keys.len() - half);
        let median = this.keys.pop().expect("a node that is split has nine keys");
        let children = match this.children.len() {
            0 => Vec::new(),
            n => this.children.split_off(n - (half + 1)),
        };
        this.changed = true;
        (median, self.add(keys, children))
    }
}

impl Source for Editor {
    fn version(&self) -> u64 {
        self.next_seq()
    }

    async fn root(&self) -> Result<Option<NodeRef>> {
        self.check()?;
        match self.tree.root {
            Some(root) => Ok(Some(self.reference(root))),
            None => self.view.root().await,
        }
    }

    async fn node(&self, seq: u64, offset: u64) -> Result<NodeRef> {
        self.view.node(seq, offset).await
    }

    async fn block(&self, seq: u64) -> Result<Arc<Block>> {
        let waiting = seq
            .checked_sub(self.tree.version)
            .and_then(|i| self.pending.get(usize::try_from(i).ok()?));
        match waiting {
            Some(pending) => Ok(pending.block.clone()),
            None => self.view.block(seq).await,
        }
    }

    async fn value(&self, block: &Block) -> Result<Option<Bytes>> {
        self.view.value(block).await
    }

    async fn child(&self, node: &NodeRef, index: usize) -> Result<NodeRef> {
        match node {
            NodeRef::Stored(..) => self.view.child(node, index).await,
            NodeRef::Live(node) => {
                let slot = &self.tree.slots[self.tree.nodes[*node].children[index]];
                match slot.node {
                    Some(node) => Ok(self.reference(node)),
                    None => {
                        let block = self.view.block(slot.seq).await?;
                        self.view.stored(block, slot.offset)
                    }
                }
            }
        }
    }

    async fn key(&self, node: &NodeRef, index: usize) -> Result<Bytes> {
        match node {
            NodeRef::Stored(..) => self.view.key(node, index).await,
            NodeRef::Live(node) => self.load_key_of(&self.tree.nodes[*node].keys[index]).await,
        }
    }

    fn keys<'a>(&'a self, node: &'a NodeRef) -> &'a [LevelKey] {
        match node {
            NodeRef::Stored(..) => self.view.keys(node),
            NodeRef::Live(node) => &self.tree.nodes[*node].keys,
        }
    }

    fn is_leaf(&self, node: &NodeRef) -> bool {
        match node {
            NodeRef::Stored(..) => self.view.is_leaf(node),
            NodeRef::Live(node) => self.tree.nodes[*node].children.is_empty(),
        }
    }

    fn fault(&self, seq: u64, what: Fault) -> Error {
        self.view.fault(seq, what)
    }
}

impl Editor {
    /// A node as a reader sees it: one that was not written by this batch is the stored one.
    fn reference(&self, node: NodeId) -> NodeRef {
        match &self.tree.nodes[node].block {
            Some((block, offset)) => NodeRef::Stored(block.clone(), *offset),
            None => NodeRef::Live(node),
        }
    }
}
