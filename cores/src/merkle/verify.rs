//! Believing a peer: from a proof to nodes that can be stored.

use super::{
    MerkleBatch, Node, Nodes, Proof, Tree, TreeError, UpgradeProof,
    flat_tree::{MAX_INDEX, full_roots, left_child, parent, sibling},
    tree::total_size,
};
use crate::crypto;

/// The nodes of a part of a proof, taken in the order in which they are needed. `known` is the node that another part led to: the
/// sender left it out.
struct NodeQueue<'a> {
    nodes: std::slice::Iter<'a, Node>,
    known: Option<Node>,
}

impl<'a> NodeQueue<'a> {
    fn new(nodes: &'a [Node], known: Option<Node>) -> Self {
        Self {
            nodes: nodes.iter(),
            known,
        }
    }

    fn is_empty(&self) -> bool {
        self.known.is_none() && self.nodes.len() == 0
    }

    /// The node at `index`, which must be the next one.
    fn take(&mut self, index: u64) -> Result<Node, TreeError> {
        if let Some(known) = self.known.take_if(|known| known.index == index) {
            return Ok(known);
        }
        match self.nodes.next() {
            Some(node) if node.index == index && index <= MAX_INDEX && node.size <= MAX_INDEX => {
                Ok(*node)
            }
            other => Err(TreeError::UnexpectedNode {
                expected: index,
                found: other.map(|node| node.index),
            }),
        }
    }
}

/// Climbs from `node` through its siblings in the queue until that is empty; every node met goes to `out`.
fn climb(node: Node, queue: &mut NodeQueue<'_>, out: &mut Vec<Node>) -> Result<Node, TreeError> {
    let mut root = node;
    out.push(root);
    while !queue.is_empty() {
        let beside = queue.take(sibling(root.index))?;
        root = Node {
            index: parent(root.index),
            size: root
                .size
                .checked_add(beside.size)
                .ok_or(TreeError::InvalidProof { what: "node size" })?,
            hash: crypto::parent_hash(&root, &beside),
        };
        out.push(beside);
        out.push(root);
    }
    Ok(root)
}

/// What the block, hash and seek parts of a proof lead up to. It is true if that node is.
pub(super) fn verify_nodes(proof: &Proof, out: &mut Vec<Node>) -> Result<Option<Node>, TreeError> {
    verify_hashed_nodes(proof, None, out)
}

/// As [`verify_nodes`]; `leaf` is the hash of the proof's block where that is known already.
fn verify_hashed_nodes(
    proof: &Proof,
    leaf: Option<[u8; 32]>,
    out: &mut Vec<Node>,
) -> Result<Option<Node>, TreeError> {
    let mut root = None;
    if let Some(seek) = &proof.seek
        && let Some(first) = seek.nodes.first()
    {
        let mut queue = NodeQueue::new(&seek.nodes, None);
        let first = queue.take(first.index)?;
        root = Some(climb(first, &mut queue, out)?);
    }
    if let Some(block) = &proof.block {
        if block.index > MAX_INDEX / 2 {
            return Err(TreeError::InvalidProof {
                what: "block index",
            });
        }
        let node = Node {
            index: 2 * block.index,
            size: block.value.len() as u64,
            hash: leaf.unwrap_or_else(|| crypto::leaf_hash(&block.value)),
        };
        return climb(node, &mut NodeQueue::new(&block.nodes, root), out).map(Some);
    }
    if let Some(hash) = &proof.hash {
        let mut queue = NodeQueue::new(&hash.nodes, root);
        let node = queue.take(hash.index)?;
        return climb(node, &mut queue, out).map(Some);
    }
    Ok(root)
}

impl MerkleBatch {
    /// Takes the roots of an upgrade. `known` is what the other parts of the proof led to; true when it is one of the nodes of the
    /// upgrade (or there is none), so that it is as true as the signature.
    pub(super) fn take_upgrade(
        &mut self,
        fork: u64,
        upgrade: &UpgradeProof,
        known: Option<Node>,
    ) -> Result<bool, TreeError> {
        let too_long = TreeError::InvalidProof {
            what: "upgrade length",
        };
        let end = upgrade
            .start
            .checked_add(upgrade.length)
            .filter(|end| *end <= super::flat_tree::MAX_LENGTH)
            .ok_or(too_long)?;
        if let Some(prologue) = self.tree.prologue
            && upgrade.start < prologue.length
            && (upgrade.start != 0 || upgrade.length < prologue.length)
        {
            return Err(TreeError::InvalidProof {
                what: "upgrade: it does not cover the prologue",
            });
        }

        let mut queue = NodeQueue::new(&upgrade.nodes, known);
        let mut grow = !self.tree.roots.is_empty();
        let mut same = 0;
        for root in full_roots(end) {
            let ours = self.tree.roots.get(same).map(|ours| ours.index);
            if ours == Some(root) {
                same += 1;
                continue;
            }
            if std::mem::take(&mut grow) && ours.is_some() {
                // this root covers our last ones: merge upwards until it is reached
                let mut at = self.last_root()?;
                while at != root {
                    let node = queue.take(sibling(at))?;
                    at = self.append_root(node)?;
                }
                continue;
            }
            let node = queue.take(root)?;
            self.append_root(node)?;
        }
        if let Some(prologue) = self.tree.prologue
            && self.tree.length == prologue.length
            && self.tree.hash() != prologue.hash
        {
            return Err(TreeError::InvalidProof {
                what: "hash of the prologue",
            });
        }
        self.take_additional(&upgrade.additional_nodes)?;
        self.tree.signature = upgrade.signature.clone();
        self.tree.fork = fork;
        Ok(queue.known.is_none())
    }

    fn last_root(&self) -> Result<u64, TreeError> {
        let last = self.tree.roots.last().map(|root| root.index);
        last.ok_or(TreeError::InvalidProof {
            what: "upgrade without roots",
        })
    }

    /// Takes the nodes past what was asked for, up to the length that is signed.
    fn take_additional(&mut self, nodes: &[Node]) -> Result<(), TreeError> {
        let mut at = sibling(self.last_root()?);
        let mut nodes = nodes.iter().peekable();
        // first whatever merges with the last root, level by level
        while let Some(node) = nodes.next_if(|node| node.index == at) {
            at = sibling(self.append_checked(node)?);
        }
        // then ever smaller trees to the right
        for node in nodes {
            while node.index != at {
                at = left_child(at).ok_or(TreeError::UnexpectedNode {
                    expected: at,
                    found: Some(node.index),
                })?;
            }
            at = sibling(self.append_checked(node)?);
        }
        Ok(())
    }

    fn append_checked(&mut self, node: &Node) -> Result<u64, TreeError> {
        if node.index > MAX_INDEX || node.size > MAX_INDEX {
            return Err(TreeError::InvalidProof { what: "tree node" });
        }
        self.append_root(*node)
    }
}

/// Checks a proof that brings no upgrade against the nodes that are here; what it brings goes to `out`. `leaf` is the hash of its block
/// where that is known already. As [`Tree::verify`].
pub(crate) fn verify_below<N: Nodes>(
    nodes: &N,
    proof: &Proof,
    leaf: Option<[u8; 32]>,
    out: &mut Vec<Node>,
) -> Result<(), N::Error> {
    match verify_hashed_nodes(proof, leaf, out)? {
        Some(node) if nodes.required(node.index)?.hash != node.hash => {
            Err(TreeError::InvalidChecksum { index: node.index }.into())
        }
        _ => Ok(()),
    }
}

impl Tree {
    /// Checks a proof of this tree's fork. What it brings is true if the batch is not [upgraded](MerkleBatch::upgraded); else if
    /// the signature over the batch's tree is that of the core's signers, which is the caller's to check
    /// ([`Verifier::check`](crate::Verifier::check) does both).
    ///
    /// # Errors
    /// [`UnexpectedNode`](TreeError::UnexpectedNode) and [`InvalidProof`](TreeError::InvalidProof) for a proof of another shape,
    /// [`InvalidChecksum`](TreeError::InvalidChecksum) when it leads to another node than ours,
    /// [`MissingNode`](TreeError::MissingNode) when it leads to none that is here.
    pub fn verify<N: Nodes>(&self, nodes: &N, proof: &Proof) -> Result<MerkleBatch, N::Error> {
        let mut batch = self.batch();
        let mut unproven = verify_nodes(proof, &mut batch.nodes)?;
        if let Some(upgrade) = &proof.upgrade
            && batch.take_upgrade(proof.fork, upgrade, unproven)?
        {
            unproven = None;
        }
        if let Some(node) = unproven
            && nodes.required(node.index)?.hash != node.hash
        {
            return Err(TreeError::InvalidChecksum { index: node.index }.into());
        }
        Ok(batch)
    }

    /// Checks a proof that starts from nothing: all its nodes must lead to its own upgrade. The signature is the caller's to check.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub fn verify_fully_remote(&self, proof: &Proof) -> Result<MerkleBatch, TreeError> {
        let mut batch = self.empty_batch(proof.fork);
        let known = verify_nodes(proof, &mut batch.nodes)?;
        match &proof.upgrade {
            Some(upgrade) if batch.take_upgrade(proof.fork, upgrade, known)? => Ok(batch),
            _ => Err(TreeError::InvalidProof { what: "upgrade" }),
        }
    }

    /// Takes only the upgrade of a proof.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub fn verify_upgrade(&self, proof: &Proof) -> Result<MerkleBatch, TreeError> {
        let mut batch = self.batch();
        let known = verify_nodes(proof, &mut batch.nodes)?;
        match &proof.upgrade {
            Some(upgrade) if batch.take_upgrade(proof.fork, upgrade, known)? => Ok(batch),
            _ => Err(TreeError::InvalidProof { what: "upgrade" }),
        }
    }

    /// A batch that shares nothing with this tree but where it starts from.
    pub(super) fn empty_batch(&self, fork: u64) -> MerkleBatch {
        let mut batch = self.batch();
        batch.tree.roots.clear();
        batch.tree.length = 0;
        batch.tree.byte_length = total_size(&[]);
        batch.tree.fork = fork;
        batch.tree.signature = None;
        batch.ancestors = 0;
        batch
    }
}
