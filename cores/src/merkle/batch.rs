//! A change to a tree, before it is stored.

use std::ops::Range;

use super::{
    Node, Nodes, Tree, TreeError,
    flat_tree::{MAX_LENGTH, contains, full_roots, is_left, leaf_count, parent, sibling},
    tree::total_size,
};
use crate::crypto;

/// Fewer new leaves than this are merged one by one; from here on a level at a time, several hashes at once.
const LEVEL_MIN: usize = 4;

/// A change to a [`Tree`]: blocks appended, a truncation, or what a verified proof brings. It holds the tree as it will be
/// and the nodes to store; nothing is looked up while appending.
///
/// The caller stores [`nodes`](Self::nodes) and the new head, drops what [`removed`](Self::removed) names, and takes
/// [`into_tree`](Self::into_tree) as its head, all in one commit.
#[derive(Debug, Clone)]
pub struct MerkleBatch {
    pub(super) tree: Tree,
    pub(super) nodes: Vec<Node>,
    pub(super) ancestors: u64,
    pub(super) upgraded: bool,
    /// Length and fork of the tree that this batch started from.
    pub(super) from: (u64, u64),
}

/// Nodes that a truncation leaves behind: they belong to the fork that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedNodes {
    /// Flat-tree indexes that are all gone.
    pub range: Range<u64>,
    /// Nodes left of the range that covered blocks in it.
    pub parents: Vec<u64>,
}

impl MerkleBatch {
    pub(super) fn new(tree: &Tree) -> Self {
        Self {
            ancestors: tree.length,
            from: (tree.length, tree.fork),
            tree: tree.clone(),
            nodes: Vec::new(),
            upgraded: false,
        }
    }

    /// The tree as it will be. Its signature is the old one until [`set_signature`](Self::set_signature).
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The tree as it will be.
    #[must_use]
    pub fn into_tree(self) -> Tree {
        self.tree
    }

    /// The nodes to store, in no given order. A node that a truncation in the same batch made void is not among them.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// True when length, fork or roots change, so that the batch must carry a signature.
    #[must_use]
    pub fn upgraded(&self) -> bool {
        self.upgraded
    }

    /// How many blocks, from 0, the tree has in common with the one that the batch started from.
    #[must_use]
    pub fn ancestors(&self) -> u64 {
        self.ancestors
    }

    /// True when the batch may still be stored over `tree`: that is what it started from, or, for nodes only, an extension.
    #[must_use]
    pub fn fits(&self, tree: &Tree) -> bool {
        let (length, fork) = self.from;
        fork == tree.fork
            && if self.upgraded {
                length == tree.length
            } else {
                length <= tree.length
            }
    }

    /// Adds nodes that have been checked against this batch's tree.
    pub(crate) fn add_nodes(&mut self, nodes: impl IntoIterator<Item = Node>) {
        self.nodes.extend(nodes);
    }

    /// Goes on to the tree of a batch that started from this one's tree.
    pub(crate) fn join(&mut self, next: Self) {
        self.nodes.extend(next.nodes);
        self.upgraded |= next.upgraded;
        self.tree = next.tree;
    }

    /// Sets the signature over the new tree.
    pub fn set_signature(&mut self, signature: impl Into<bytes::Bytes>) {
        self.tree.signature = Some(signature.into());
    }

    /// Leaves the new tree without a signature: nobody signs a branch.
    pub(crate) fn unsign(&mut self) {
        self.tree.signature = None;
    }

    /// Appends blocks as they are stored (after encryption).
    pub fn append_blocks<B: AsRef<[u8]>>(&mut self, blocks: &[B]) {
        match blocks {
            [] => {}
            [block] => self.append_leaf(
                block.as_ref().len() as u64,
                crypto::leaf_hash(block.as_ref()),
            ),
            _ => {
                let blocks: Vec<&[u8]> = blocks.iter().map(AsRef::as_ref).collect();
                let hashes = crypto::leaf_hashes(&blocks);
                let leaves = blocks.iter().zip(hashes);
                self.append_leaves(leaves.map(|(block, hash)| (block.len() as u64, hash)));
            }
        }
    }

    /// Appends blocks of which only size (bytes) and hash are known.
    pub fn append_leaves(&mut self, leaves: impl ExactSizeIterator<Item = (u64, [u8; 32])>) {
        if leaves.len() < LEVEL_MIN {
            for (size, hash) in leaves {
                self.append_leaf(size, hash);
            }
            return;
        }
        self.upgraded = true;
        self.nodes.reserve(2 * leaves.len());
        let mut level = Vec::with_capacity(leaves.len() + 1);
        let mut index = 2 * self.tree.length;
        self.tree.length += leaves.len() as u64;
        for (size, hash) in leaves {
            self.tree.byte_length = self.tree.byte_length.saturating_add(size);
            level.push(Node { index, size, hash });
            index += 2;
        }
        self.nodes.extend_from_slice(&level);
        self.merge_levels(level);
    }

    /// Pairs a level of new nodes and goes up, until nothing is left to pair.
    fn merge_levels(&mut self, mut level: Vec<Node>) {
        // roots that end a level, found from the right end leftwards
        let mut ends: Vec<Node> = Vec::new();
        let mut hashes = Vec::new();
        while let Some(first) = level.first() {
            if !is_left(first.index) {
                let left = self.tree.roots.pop();
                level.insert(
                    0,
                    left.expect("the left sibling of a new right child is a root"),
                );
            }
            let pairs = level.chunks_exact(2);
            ends.extend(pairs.remainder().first());
            hashes.clear();
            crypto::parent_hashes(&level, &mut hashes);
            for (at, hash) in hashes.iter().enumerate() {
                let (left, right) = (level[2 * at], level[2 * at + 1]);
                level[at] = Node {
                    index: parent(left.index),
                    size: left.size.saturating_add(right.size),
                    hash: *hash,
                };
            }
            level.truncate(hashes.len());
            self.nodes.extend_from_slice(&level);
        }
        self.tree.roots.extend(ends.into_iter().rev());
    }

    fn append_leaf(&mut self, size: u64, hash: [u8; 32]) {
        let index = 2 * self.tree.length;
        self.upgraded = true;
        self.tree.length += 1;
        self.tree.byte_length = self.tree.byte_length.saturating_add(size);
        let node = Node { index, size, hash };
        self.nodes.push(node);
        self.push_root(node);
    }

    /// Adds a root at the right end and merges it with its left siblings; answers the index of the last root then.
    fn push_root(&mut self, mut node: Node) -> u64 {
        while let Some(left) = self
            .tree
            .roots
            .pop_if(|left| left.index == sibling(node.index))
        {
            node = Node {
                index: parent(node.index),
                size: left.size.saturating_add(node.size),
                hash: crypto::parent_hash(&left, &node),
            };
            self.nodes.push(node);
        }
        self.tree.roots.push(node);
        node.index
    }

    /// Adds a root that came with a proof, as [`push_root`](Self::push_root). Nothing about it is known to be true yet.
    pub(super) fn append_root(&mut self, node: Node) -> Result<u64, TreeError> {
        const OVERFLOW: TreeError = TreeError::InvalidProof { what: "tree size" };
        self.upgraded = true;
        self.tree.length = self
            .tree
            .length
            .checked_add(leaf_count(node.index))
            .filter(|length| *length <= MAX_LENGTH)
            .ok_or(OVERFLOW)?;
        self.tree.byte_length = self
            .tree
            .byte_length
            .checked_add(node.size)
            .ok_or(OVERFLOW)?;
        self.nodes.push(node);
        Ok(self.push_root(node))
    }

    /// Cuts the tree to `length` blocks under a new fork. A batch may cut first and append then, not the other way round.
    ///
    /// # Errors
    /// [`InvalidOperation`](TreeError::InvalidOperation) when `length` is above the tree's or breaks its prologue, or when the
    /// batch has appended; [`MissingNode`](TreeError::MissingNode) when a root of the shorter tree is not here.
    pub fn truncate<N: Nodes>(
        &mut self,
        nodes: &N,
        length: u64,
        fork: u64,
    ) -> Result<(), N::Error> {
        let refused = |what| Err(TreeError::InvalidOperation { what }.into());
        if length > self.tree.length {
            return refused("truncation to more than the length");
        }
        if !self.nodes.is_empty() {
            return refused("truncation after an append");
        }
        if self.tree.prologue.is_some_and(|p| length < p.length) {
            return refused("truncation below the prologue");
        }
        // all roots first: a missing one leaves the batch as it was
        let mut roots = Vec::with_capacity(full_roots(length).len());
        for (at, index) in full_roots(length).enumerate() {
            roots.push(match self.tree.roots.get(at) {
                Some(root) if root.index == index => *root,
                _ => nodes.required(index)?,
            });
        }
        self.tree.roots = roots;
        self.tree.fork = fork;
        self.tree.length = length;
        self.tree.byte_length = total_size(&self.tree.roots);
        self.ancestors = length;
        self.upgraded = true;
        Ok(())
    }

    /// What the store must drop together with this change; `None` unless it cut the tree.
    #[must_use]
    pub fn removed(&self) -> Option<RemovedNodes> {
        let (length, _) = self.from;
        if !self.upgraded || self.ancestors >= length {
            return None;
        }
        let head = 2 * self.ancestors;
        let mut parents = Vec::new();
        if let Some(mut index) = head.checked_sub(2) {
            // up from the last block that stays, to the first node on the left edge that covers it
            loop {
                if index < head && contains(index, head) {
                    parents.push(index);
                }
                if super::flat_tree::offset(index) == 0 && index >= length {
                    break;
                }
                index = parent(index);
            }
        }
        Some(RemovedNodes {
            range: head..2 * length,
            parents,
        })
    }

    /// Which node of the batch has this index: the nodes of the store as they will be are these, then those of the store.
    #[must_use]
    pub fn node(&self, index: u64) -> Option<&Node> {
        self.nodes.iter().rev().find(|node| node.index == index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_batch_is_the_same_as_one_by_one(before in 0usize..40, count in 0usize..70) {
            let block = |i: usize| vec![i as u8; i % 7];
            let mut one = Tree::default().batch();
            for i in 0..before + count {
                one.append_blocks(&[block(i)]);
            }
            let mut start = Tree::default().batch();
            start.append_blocks(&(0..before).map(block).collect::<Vec<_>>());
            let mut stored = start.nodes().to_vec();
            let mut batch = start.into_tree().batch();
            batch.append_blocks(&(before..before + count).map(block).collect::<Vec<_>>());
            stored.extend_from_slice(batch.nodes());
            stored.sort_by_key(|node| node.index);
            let mut expected = one.nodes().to_vec();
            expected.sort_by_key(|node| node.index);
            prop_assert_eq!(stored, expected);
            prop_assert_eq!(batch.tree(), one.tree());
            let roots: Vec<u64> = batch.tree().roots.iter().map(|root| root.index).collect();
            prop_assert_eq!(roots, full_roots((before + count) as u64).collect::<Vec<_>>());
        }
    }
}
