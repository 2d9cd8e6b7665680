//! Following a peer to another fork: finding how much of the tree is still the same.

use std::collections::HashMap;

use super::{
    MerkleBatch, Node, Nodes, Proof, Tree, TreeError,
    flat_tree::{depth, left_child, left_span, right_span, sibling},
    verify::verify_nodes,
};

/// A tree of another fork that replaces ours, once it is known from which block on the two differ.
///
/// It starts from a proof of the whole new tree ([`Tree::reorg`]); the caller checks its signature
/// ([`Verifier::check_upgrade`](crate::Verifier::check_upgrade)). Then, until [`want`](Self::want) is `None`, the caller asks for
/// the hash of any block in the range, with as many nodes as it says, and hands the answers to [`update`](Self::update).
#[derive(Debug, Clone)]
pub struct Reorg {
    batch: MerkleBatch,
    /// The smallest node of the new tree that is known to differ from ours.
    diff: Option<Node>,
    want: Option<Want>,
}

/// What to ask a peer for next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// First block in which the trees may differ.
    pub start: u64,
    /// One past the last.
    pub end: u64,
    /// How many nodes the hash proof of one of these blocks must bring.
    pub nodes: u64,
}

impl Tree {
    /// Takes a proof of another fork, which must be an upgrade from 0.
    ///
    /// # Errors
    /// [`InvalidProof`](TreeError::InvalidProof), [`UnexpectedNode`](TreeError::UnexpectedNode), or what a lookup failed with.
    pub fn reorg<N: Nodes>(&self, nodes: &N, proof: &Proof) -> Result<Reorg, N::Error> {
        let mut batch = self.empty_batch(proof.fork);
        batch.upgraded = true;
        let known = verify_nodes(proof, &mut batch.nodes)?;
        let proven = match &proof.upgrade {
            Some(upgrade) => batch.take_upgrade(proof.fork, upgrade, known)?,
            None => false,
        };
        if !proven {
            return Err(TreeError::InvalidProof { what: "fork proof" }.into());
        }
        let mut reorg = Reorg {
            batch,
            diff: None,
            want: None,
        };
        for root in reorg.batch.tree.roots.clone() {
            if nodes
                .node(root.index)?
                .is_none_or(|ours| ours.hash != root.hash)
            {
                reorg.found(root);
                break;
            }
        }
        if reorg.diff.is_none() {
            reorg.batch.ancestors = reorg.batch.tree.length.min(self.length);
        } else {
            let brought = reorg.batch.nodes.clone();
            reorg.descend(nodes, &brought)?;
        }
        Ok(reorg)
    }
}

impl Reorg {
    /// What to ask for next; `None` when the batch is complete.
    #[must_use]
    pub fn want(&self) -> Option<Want> {
        self.want
    }

    /// The new tree. Complete when [`want`](Self::want) is `None`: [`MerkleBatch::ancestors`] tells how many blocks are kept then.
    #[must_use]
    pub fn batch(&self) -> &MerkleBatch {
        &self.batch
    }

    /// The new tree, to store.
    #[must_use]
    pub fn into_batch(self) -> MerkleBatch {
        self.batch
    }

    /// Takes the hash proof of a wanted block; false when it does not lead to the node that differs, or tells nothing new about it.
    ///
    /// # Errors
    /// [`UnexpectedNode`](TreeError::UnexpectedNode) for a proof of another shape, or what a lookup failed with.
    pub fn update<N: Nodes>(&mut self, nodes: &N, proof: &Proof) -> Result<bool, N::Error> {
        let Some(diff) = self.diff.filter(|_| self.want.is_some()) else {
            return Ok(true);
        };
        let mut brought = Vec::new();
        let root = verify_nodes(proof, &mut brought)?;
        if root.is_none_or(|root| root.index != diff.index || root.hash != diff.hash) {
            return Ok(false);
        }
        self.descend(nodes, &brought)?;
        self.batch.nodes.extend(brought);
        Ok(self.diff != Some(diff))
    }

    /// Goes down from the node that differs, as far as the children are known.
    fn descend<N: Nodes>(&mut self, nodes: &N, brought: &[Node]) -> Result<(), N::Error> {
        let Some(mut diff) = self.diff else {
            return Ok(());
        };
        let brought: HashMap<u64, Node> = brought.iter().map(|node| (node.index, *node)).collect();
        while let Some(left) = left_child(diff.index).and_then(|left| brought.get(&left)) {
            let same = nodes
                .node(left.index)?
                .is_some_and(|ours| ours.hash == left.hash);
            diff = match brought.get(&sibling(left.index)) {
                Some(right) if same => *right,
                None if same => break,
                _ => *left,
            };
        }
        self.found(diff);
        Ok(())
    }

    /// Notes that the trees differ in `diff`, and nowhere left of it.
    fn found(&mut self, diff: Node) {
        let (length, _) = self.batch.from;
        let start = left_span(diff.index) / 2;
        let end = length.min(right_span(diff.index) / 2 + 1);
        self.diff = Some(diff);
        self.batch.ancestors = start.min(length);
        self.want = (diff.index & 1 == 1 && start < end).then_some(Want {
            start,
            end,
            nodes: u64::from(depth(diff.index)),
        });
    }
}
