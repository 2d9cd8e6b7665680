//! Checking every byte of a core: blocks against their leaves, nodes against their children, roots against the signature.

use bytes::Bytes;
use pome_storage::Snapshot;

use crate::{
    core::Core,
    crypto,
    error::Error,
    hypercore::Hypercore,
    layout::{self, HeadRecord, Signed},
    merkle::{
        Node, Tree,
        flat_tree::{full_roots, left_child, right_child},
    },
    snapshot::node_at,
};

/// Blocks read before their hashes are compared, several at once: blocks, and bytes.
const GROUP: (usize, usize) = (64, 4 << 20);

/// What an audit found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Audit {
    /// Tree nodes that were read.
    pub tree_nodes: u64,
    /// Blocks that were read.
    pub blocks: u64,
    /// Bytes of those blocks.
    pub block_bytes: u64,
    /// What is wrong, in the order in which it was found; empty for a sound core.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong with a core.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A block does not hash to its leaf.
    #[error("block {index} does not hash to its leaf")]
    BadBlock {
        /// Which.
        index: u64,
    },
    /// A block has no leaf in the tree.
    #[error("block {index} has no tree node")]
    NoLeaf {
        /// Which block.
        index: u64,
    },
    /// A block or node cannot be read.
    #[error("{what} {index} cannot be read: {error}")]
    Unreadable {
        /// "block" or "tree node".
        what: &'static str,
        /// Which.
        index: u64,
        /// What the store said.
        error: Box<Error>,
    },
    /// The contiguous length counts this block, which is not here.
    #[error("block {index} is missing")]
    MissingBlock {
        /// Which.
        index: u64,
    },
    /// A node is not the parent of its children.
    #[error("tree node {index} does not fit its children")]
    BadNode {
        /// Flat-tree index.
        index: u64,
    },
    /// A root is not here.
    #[error("root {index} is missing")]
    MissingRoot {
        /// Flat-tree index.
        index: u64,
    },
    /// The head does not decode, or contradicts the roots.
    #[error("the head does not fit the roots")]
    BadHead,
    /// The signature does not hold for the tree.
    #[error("the signature does not hold for length {length}, fork {fork}")]
    BadSignature {
        /// In blocks.
        length: u64,
        /// Of the head.
        fork: u64,
    },
    /// Something lies past the end of the core.
    #[error("{what} {index} is past the end")]
    PastEnd {
        /// "block" or "tree node".
        what: &'static str,
        /// Which.
        index: u64,
    },
}

/// How far an audit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditProgress {
    /// Blocks that were read so far.
    pub blocks: u64,
    /// Bytes of those blocks.
    pub block_bytes: u64,
    /// The core's length, which is the most that `blocks` comes to.
    pub length: u64,
}

struct Auditor<'a, F> {
    core: &'a Core,
    snapshot: Snapshot,
    length: u64,
    audit: Audit,
    progress: F,
}

impl Hypercore {
    /// Reads and verifies the whole core as it is at this moment; changes nothing. It blocks the thread while it reads. `progress` is called
    /// every few MiB.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), [`InvalidOperation`](Error::InvalidOperation) on a branch, or when the store fails altogether; what is wrong
    /// with the core is in the answer.
    pub async fn audit(&self, progress: impl FnMut(AuditProgress) + Send) -> Result<Audit, Error> {
        self.session.check_open()?;
        self.refuse_branch()?;
        let core = &*self.session.core;
        let mut auditor = Auditor {
            core,
            snapshot: core.store.snapshot(),
            length: 0,
            audit: Audit::default(),
            progress,
        };
        let contiguous = auditor.head()?;
        auditor.nodes()?;
        auditor.blocks(contiguous)?;
        Ok(auditor.audit)
    }
}

impl<F: FnMut(AuditProgress)> Auditor<'_, F> {
    fn found(&mut self, problem: Problem) {
        self.audit.problems.push(problem);
    }

    fn unreadable(&mut self, what: &'static str, index: u64, error: Error) {
        let error = Box::new(error);
        self.found(Problem::Unreadable { what, index, error });
    }

    /// Roots and signature; answers the contiguous length.
    fn head(&mut self) -> Result<u64, Error> {
        let core = self.core;
        let Some(record) = self.snapshot.get(core.space, &layout::HEAD_KEY)? else {
            return Ok(0);
        };
        let Ok(record) = HeadRecord::decode(&record) else {
            self.found(Problem::BadHead);
            return Ok(0);
        };
        self.length = record.length;
        let mut roots: Vec<Node> = Vec::new();
        for index in full_roots(record.length) {
            match node_at(core, &self.snapshot, index) {
                Ok(Some(root)) => roots.push(root),
                Ok(None) => self.found(Problem::MissingRoot { index }),
                Err(error) => self.unreadable("tree node", index, error),
            }
        }
        if roots.len() != full_roots(record.length).len() {
            return Ok(record.contiguous);
        }
        let byte_length = roots
            .iter()
            .fold(0u64, |n, root| n.saturating_add(root.size));
        let verifier = core.verifier();
        let tree = Tree {
            fork: record.fork,
            length: record.length,
            byte_length,
            roots,
            signature: None,
            prologue: None,
        };
        let signable = record.signable();
        let signature = match record.signature {
            Signed::Given(signature) => signature,
            // What was signed, or would be, is what the head says.
            Signed::ByOwner(_) => core.owner_signature(signable).unwrap_or_default(),
        };
        if tree.hash() != record.tree_hash
            || byte_length != record.byte_length
            || record.contiguous > record.length
        {
            self.found(Problem::BadHead);
        }
        if !verifier.is_some_and(|verifier| verifier.verify(&tree, &signature)) {
            let (length, fork) = (tree.length, tree.fork);
            self.found(Problem::BadSignature { length, fork });
        }
        Ok(record.contiguous)
    }

    /// Every node against its children.
    fn nodes(&mut self) -> Result<(), Error> {
        let (start, end) = layout::nodes_from(0);
        for key in self.snapshot.keys(self.core.space, &start[..]..&end[..]) {
            let index = layout::number(&key?)?;
            self.audit.tree_nodes += 1;
            let node = match node_at(self.core, &self.snapshot, index) {
                Ok(Some(node)) => node,
                Ok(None) => continue,
                Err(error) => {
                    self.unreadable("tree node", index, error);
                    continue;
                }
            };
            if index >= 2 * self.length {
                let what = "tree node";
                self.found(Problem::PastEnd { what, index });
                continue;
            }
            let Some((left, right)) = left_child(index).zip(right_child(index)) else {
                continue;
            };
            // a child that cannot be read is reported under its own index
            let read = |index| node_at(self.core, &self.snapshot, index);
            let (Ok(left), Ok(right)) = (read(left), read(right)) else {
                continue;
            };
            let fits = match (left, right) {
                (None, None) => true,
                (Some(left), Some(right)) => {
                    crypto::parent_hash(&left, &right) == node.hash
                        && left.size.checked_add(right.size) == Some(node.size)
                }
                _ => false,
            };
            if !fits {
                self.found(Problem::BadNode { index });
            }
        }
        Ok(())
    }

    /// Every block against its leaf.
    fn blocks(&mut self, contiguous: u64) -> Result<(), Error> {
        let (start, end) = layout::blocks_from(0);
        let mut group: Vec<(u64, Bytes)> = Vec::new();
        let mut bytes = 0;
        let mut expected = 0;
        for key in self.snapshot.keys(self.core.space, &start[..]..&end[..]) {
            let key = key?;
            let index = layout::number(&key)?;
            while expected < index.min(contiguous) {
                self.found(Problem::MissingBlock { index: expected });
                expected += 1;
            }
            expected = index + 1;
            if index >= self.length {
                let what = "block";
                self.found(Problem::PastEnd { what, index });
                continue;
            }
            match self.snapshot.get(self.core.space, &key) {
                Ok(Some(block)) => {
                    bytes += block.len();
                    group.push((index, block));
                }
                Ok(None) => {}
                Err(error) => self.unreadable("block", index, error.into()),
            }
            if group.len() >= GROUP.0 || bytes >= GROUP.1 {
                self.compare(&mut group);
                bytes = 0;
            }
        }
        while expected < contiguous {
            self.found(Problem::MissingBlock { index: expected });
            expected += 1;
        }
        self.compare(&mut group);
        Ok(())
    }

    fn compare(&mut self, group: &mut Vec<(u64, Bytes)>) {
        let blocks: Vec<&[u8]> = group.iter().map(|(_, block)| &block[..]).collect();
        let hashes = crypto::leaf_hashes(&blocks);
        for ((index, block), hash) in group.drain(..).zip(hashes) {
            self.audit.blocks += 1;
            self.audit.block_bytes += block.len() as u64;
            match node_at(self.core, &self.snapshot, 2 * index) {
                Ok(Some(leaf)) if leaf.hash == hash && leaf.size == block.len() as u64 => {}
                Ok(Some(_)) => self.found(Problem::BadBlock { index }),
                Ok(None) => self.found(Problem::NoLeaf { index }),
                // reported with the nodes
                Err(_) => {}
            }
        }
        (self.progress)(AuditProgress {
            blocks: self.audit.blocks,
            block_bytes: self.audit.block_bytes,
            length: self.length,
        });
    }
}
