//! The head of a tree: what is kept in memory for every open core.

use std::ops::Range;

use bytes::Bytes;

use super::{
    MerkleBatch, Node, Nodes, TreeError,
    flat_tree::{self, full_roots, leaf_count, left_child, left_span, right_span, sibling},
};
use crate::{caps, crypto, manifest::Prologue};

/// A Merkle tree at one length: its roots and what was signed. The nodes below the roots stay in the store and are looked
/// up through [`Nodes`] when a call needs them.
///
/// ```
/// use pome_cores::merkle::{MerkleBatch, Node, Tree, TreeError};
/// use std::collections::HashMap;
///
/// let mut batch = Tree::default().batch();
/// batch.append_blocks(&[b"first".as_slice(), b"second", b"third"]);
/// let stored: HashMap<u64, Node> = batch.nodes().iter().map(|node| (node.index, *node)).collect();
/// let tree = batch.into_tree();
/// assert_eq!((tree.length, tree.byte_length, tree.roots.len()), (3, 16, 2));
///
/// let nodes = |index| Ok::<_, TreeError>(stored.get(&index).copied());
/// assert_eq!(tree.byte_range(&nodes, 1)?, 5..11);
/// # Ok::<_, TreeError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// How often the core was truncated.
    pub fork: u64,
    /// In blocks.
    pub length: u64,
    /// In bytes, encryption padding included.
    pub byte_length: u64,
    /// The roots of the full trees, from left to right ([`full_roots`]).
    pub roots: Vec<Node>,
    /// Over this length and fork; `None` while nothing was signed.
    pub signature: Option<Bytes>,
    /// The prologue of the core's manifest, which an upgrade must pass through.
    pub prologue: Option<Prologue>,
}

/// Where a byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seek {
    /// In this block, at this offset in it. A place between two blocks is offset 0 of the later one, or of an empty block in between;
    /// the end of the tree is block `length`, offset 0, or an empty block before it.
    Found {
        /// Index of the block.
        block: u64,
        /// Bytes into it.
        offset: u64,
    },
    /// Somewhere in these blocks: the nodes that would tell are not here. A peer's seek proof narrows it.
    Within {
        /// First block.
        start: u64,
        /// One past the last block.
        end: u64,
    },
    /// Past the end of the tree.
    Beyond,
}

/// Bytes of a node without `padding` bytes per block.
pub(crate) fn unpadded(node: &Node, padding: u64) -> u64 {
    unpadded_size(node.index, node.size, padding)
}

fn unpadded_size(index: u64, size: u64, padding: u64) -> u64 {
    size.saturating_sub(padding.saturating_mul(leaf_count(index)))
}

impl Tree {
    /// The tree of `length` blocks whose nodes are all in the store.
    ///
    /// # Errors
    /// [`MissingNode`](TreeError::MissingNode) when a root is not here.
    pub fn load<N: Nodes>(nodes: &N, length: u64, fork: u64) -> Result<Self, N::Error> {
        let roots = roots_at(nodes, length)?;
        Ok(Self {
            fork,
            length,
            byte_length: total_size(&roots),
            roots,
            signature: None,
            prologue: None,
        })
    }

    /// The tree hash: over all roots.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        crypto::tree_hash(&self.roots)
    }

    /// What a signer signs; see [`caps::tree_signable`] for the context.
    #[must_use]
    pub fn signable(&self, context: &[u8; 32]) -> [u8; 112] {
        caps::tree_signable(context, &self.hash(), self.length, self.fork)
    }

    /// What the signer of a core signs whose key is its public key.
    #[must_use]
    pub fn signable_compat(&self) -> [u8; 80] {
        caps::tree_signable_compat(&self.hash(), self.length, self.fork)
    }

    /// What the signer of one of the oldest cores signed.
    #[must_use]
    pub fn signable_legacy(&self) -> [u8; 48] {
        caps::tree_signable_legacy(&self.hash(), self.length, self.fork)
    }

    /// A change to this tree: appends, a truncation, or what a proof brings.
    #[must_use]
    pub fn batch(&self) -> MerkleBatch {
        MerkleBatch::new(self)
    }

    /// How many bytes lie before the subtree of `index` (flat-tree index; `2 * block` for a block, `2 * length` for the end).
    ///
    /// # Errors
    /// [`BadArgument`](TreeError::BadArgument) past the end, [`MissingNode`](TreeError::MissingNode) when a node on the way is
    /// not here.
    pub fn byte_offset<N: Nodes>(&self, nodes: &N, index: u64) -> Result<u64, N::Error> {
        if index == 2 * self.length {
            return Ok(self.byte_length);
        }
        let leaf = left_span(index);
        let mut offset = 0u64;
        for root in &self.roots {
            if leaf > right_span(root.index) {
                offset = offset.saturating_add(root.size);
                continue;
            }
            let mut at = root.index;
            while at != leaf {
                let Some(left) = left_child(at) else { break };
                if leaf < at {
                    at = left;
                } else {
                    offset = offset.saturating_add(nodes.required(left)?.size);
                    at = sibling(left);
                }
            }
            return Ok(offset);
        }
        Err(TreeError::BadArgument { what: "tree index" }.into())
    }

    /// The bytes of one block, padding included, counted from the start of the log.
    ///
    /// # Errors
    /// As [`byte_offset`](Self::byte_offset).
    pub fn byte_range<N: Nodes>(&self, nodes: &N, block: u64) -> Result<Range<u64>, N::Error> {
        if block >= self.length {
            return Err(TreeError::BadArgument {
                what: "block index",
            }
            .into());
        }
        let start = self.byte_offset(nodes, 2 * block)?;
        let size = nodes.required(2 * block)?.size;
        Ok(start..start.saturating_add(size))
    }

    /// Finds the block with the byte at `bytes`, not counting the `padding` bytes that encryption puts before each block.
    ///
    /// # Errors
    /// Only when a lookup fails; nodes that are not here make the answer [`Seek::Within`].
    pub fn seek<N: Nodes>(&self, nodes: &N, bytes: u64, padding: u64) -> Result<Seek, N::Error> {
        if bytes == 0 {
            return Ok(Seek::Found {
                block: 0,
                offset: 0,
            });
        }
        let mut rest = bytes;
        for root in &self.roots {
            let size = unpadded(root, padding);
            if rest == size {
                return Ok(found(right_span(root.index) + 2, 0));
            }
            if rest > size {
                rest -= size;
                continue;
            }
            let mut at = root.index;
            while let Some(left) = left_child(at) {
                let Some(size) = nodes.size(left)? else {
                    return Ok(Seek::Within {
                        start: left_span(at) / 2,
                        end: right_span(at) / 2 + 1,
                    });
                };
                let size = unpadded_size(left, size, padding);
                if rest == size {
                    return Ok(found(right_span(left) + 2, 0));
                }
                if rest < size {
                    at = left;
                } else {
                    rest -= size;
                    at = sibling(left);
                }
            }
            return Ok(found(at, rest));
        }
        Ok(Seek::Beyond)
    }
}

fn found(leaf: u64, offset: u64) -> Seek {
    Seek::Found {
        block: leaf / 2,
        offset,
    }
}

/// The roots of the first `length` blocks.
pub(crate) fn roots_at<N: Nodes>(nodes: &N, length: u64) -> Result<Vec<Node>, N::Error> {
    if length > flat_tree::MAX_LENGTH {
        return Err(TreeError::BadArgument { what: "length" }.into());
    }
    full_roots(length)
        .map(|root| nodes.required(root))
        .collect()
}

pub(crate) fn total_size(nodes: &[Node]) -> u64 {
    nodes
        .iter()
        .fold(0, |size, node| size.saturating_add(node.size))
}
