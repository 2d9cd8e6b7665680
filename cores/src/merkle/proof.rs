//! Proofs: what a peer is sent so that it can check a block, a node, a place in the bytes or a longer length.
//!
//! Which nodes are needed follows from the request alone: a peer that asks says what it has. The nodes of a block or a hash
//! go up level by level, each the sibling of what is known already; those of an upgrade are the roots that the peer lacks.
//! Where an upgrade covers the block, the block's own top node is left out: the peer computes it.

use bytes::Bytes;

use super::{
    Node, Nodes, Tree, TreeError,
    flat_tree::{
        MAX_INDEX, MAX_LENGTH, contains, full_roots, left_child, left_span, parent, right_span,
        sibling,
    },
    tree::unpadded,
};
use crate::manifest::Manifest;

/// A block or a node that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeRequest {
    /// Block index, or flat-tree index of a hash.
    pub index: u64,
    /// How many levels to climb: up to the first node that the asker has.
    pub nodes: u64,
}

/// A place in the bytes that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeekRequest {
    /// Offset, without padding.
    pub bytes: u64,
    /// Bytes of encryption padding per block.
    pub padding: u64,
}

/// A longer length that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpgradeRequest {
    /// The asker's length, in blocks.
    pub start: u64,
    /// How many blocks more.
    pub length: u64,
}

/// What a proof is asked for. Of block and hash only one is answered, the block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProofRequest {
    /// A block.
    pub block: Option<NodeRequest>,
    /// A tree node.
    pub hash: Option<NodeRequest>,
    /// A place in the bytes.
    pub seek: Option<SeekRequest>,
    /// A longer length.
    pub upgrade: Option<UpgradeRequest>,
}

/// A block with the nodes that lead up to one that the asker has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockProof {
    /// Index of the block.
    pub index: u64,
    /// The block, as stored.
    pub value: Bytes,
    /// Siblings, from the bottom up.
    pub nodes: Vec<Node>,
}

/// A node with the nodes that lead up from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashProof {
    /// Flat-tree index.
    pub index: u64,
    /// The node itself, then siblings from the bottom up.
    pub nodes: Vec<Node>,
}

/// The nodes that narrow a place in the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeekProof {
    /// As asked.
    pub bytes: u64,
    /// The node found, then siblings from the bottom up.
    pub nodes: Vec<Node>,
}

/// The roots of a longer length, and the signature over it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpgradeProof {
    /// As asked.
    pub start: u64,
    /// As asked.
    pub length: u64,
    /// What connects the asker's roots with those of `start + length`.
    pub nodes: Vec<Node>,
    /// What connects those with the roots of the length that is signed.
    pub additional_nodes: Vec<Node>,
    /// Over the whole tree of the sender.
    pub signature: Option<Bytes>,
}

/// An answer to a [`ProofRequest`].
///
/// ```
/// use pome_cores::merkle::{Node, NodeRequest, ProofRequest, Tree, TreeError, UpgradeRequest};
/// use std::collections::HashMap;
///
/// let mut batch = Tree::default().batch();
/// batch.append_blocks(&[b"one".as_slice(), b"two", b"three"]);
/// let stored: HashMap<u64, Node> = batch.nodes().iter().map(|node| (node.index, *node)).collect();
/// let nodes = |index| Ok::<_, TreeError>(stored.get(&index).copied());
/// let tree = batch.into_tree();
///
/// let request = ProofRequest {
///     block: Some(NodeRequest { index: 1, nodes: 0 }),
///     upgrade: Some(UpgradeRequest { start: 0, length: 3 }),
///     ..ProofRequest::default()
/// };
/// let proof = tree.proof(&nodes, &request, Some("two".into()))?;
///
/// let nothing = |_| Ok::<_, TreeError>(None);
/// let batch = Tree::default().verify(&nothing, &proof)?;
/// assert!(batch.upgraded()); // to be believed, it needs a signature over this tree
/// assert_eq!(batch.tree().hash(), tree.hash());
/// # Ok::<_, TreeError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proof {
    /// The sender's fork.
    pub fork: u64,
    /// A block.
    pub block: Option<BlockProof>,
    /// A tree node.
    pub hash: Option<HashProof>,
    /// A place in the bytes.
    pub seek: Option<SeekProof>,
    /// A longer length.
    pub upgrade: Option<UpgradeProof>,
    /// Who may sign, when it was asked for.
    pub manifest: Option<Manifest>,
}

impl Proof {
    /// About how much memory it takes: its block, and 48 B for each node.
    pub(crate) fn weight(&self) -> usize {
        let block = self.block.as_ref();
        let upgrade = self.upgrade.as_ref();
        let nodes = block.map_or(0, |block| block.nodes.len())
            + self.hash.as_ref().map_or(0, |hash| hash.nodes.len())
            + self.seek.as_ref().map_or(0, |seek| seek.nodes.len())
            + upgrade.map_or(0, |upgrade| {
                upgrade.nodes.len() + upgrade.additional_nodes.len()
            });
        block.map_or(0, |block| block.value.len()) + 48 * nodes
    }
}

fn refused(what: &'static str) -> TreeError {
    TreeError::InvalidOperation { what }
}

/// Block or hash of a request, as one kind.
#[derive(Clone, Copy)]
struct Target {
    /// Flat-tree index.
    index: u64,
    /// Levels to climb.
    nodes: u64,
    /// The last block below it.
    last_block: u64,
    /// The asker computes the node from the block.
    is_block: bool,
}

impl Target {
    fn of(request: &ProofRequest, length: u64) -> Result<Option<Self>, TreeError> {
        if let Some(block) = request.block {
            if block.index >= length {
                return Err(refused("block request"));
            }
            return Ok(Some(Self {
                index: 2 * block.index,
                nodes: block.nodes,
                last_block: block.index,
                is_block: true,
            }));
        }
        let Some(hash) = request.hash else {
            return Ok(None);
        };
        if hash.index > MAX_INDEX {
            return Err(refused("hash request"));
        }
        Ok(Some(Self {
            index: hash.index,
            nodes: hash.nodes,
            last_block: right_span(hash.index) / 2,
            is_block: false,
        }))
    }
}

/// The node `levels` above `index`; it must end before `head`.
fn climb(index: u64, levels: u64, head: u64) -> Result<u64, TreeError> {
    let mut at = index;
    for _ in 0..levels {
        at = parent(at);
        if contains(at, head) || at > MAX_INDEX {
            return Err(refused("number of nodes"));
        }
    }
    Ok(at)
}

/// The nodes that take the roots of a tree of `start` blocks to those of `start + length`, from left to right. `None` when the
/// tree would be too long.
pub(crate) fn upgrade_indexes(start: u64, length: u64) -> Option<Vec<u64>> {
    let end = start.checked_add(length).filter(|end| *end <= MAX_LENGTH)?;
    let mut out = Vec::new();
    let mut connected = start == 0;
    for root in full_roots(end) {
        if right_span(root) < 2 * start {
            continue;
        }
        let last = (2 * start).wrapping_sub(2);
        if connected || !contains(root, last) {
            connected = true;
            out.push(root);
            continue;
        }
        // the last root there was is below this one: up from the last block, with what is to the right
        connected = true;
        let mut at = last;
        while at != root {
            if sibling(at) > last {
                out.push(sibling(at));
            }
            at = parent(at);
        }
    }
    Some(out)
}

/// The parts of a proof while it is put together.
#[derive(Default)]
struct Parts {
    target: Option<Vec<Node>>,
    seek: Option<Vec<Node>>,
}

/// Puts the nodes from one place in the tree up to a root together.
struct Climber<'a, N> {
    nodes: &'a N,
    target: Option<Target>,
    seek: bool,
}

impl<N: Nodes> Climber<'_, N> {
    /// Siblings from `from` up to `root`, the node at `from` first.
    fn seek(&self, from: u64, root: u64) -> Result<Vec<Node>, N::Error> {
        let mut out = vec![self.nodes.required(from)?];
        let mut at = from;
        while at != root {
            below(root, at)?;
            out.push(self.nodes.required(sibling(at))?);
            at = parent(at);
        }
        Ok(out)
    }

    /// The target's siblings up to `root`, and those of `seek_root` up to where the two meet.
    fn target_and_seek(
        &self,
        seek_root: Option<u64>,
        root: u64,
        parts: &mut Parts,
    ) -> Result<(), N::Error> {
        let Some(target) = self.target else {
            let from = seek_root.ok_or(refused("seek"))?;
            parts.seek = Some(self.seek(from, root)?);
            return Ok(());
        };
        let mut out = Vec::new();
        if !target.is_block {
            out.push(self.nodes.required(target.index)?);
        }
        let mut at = target.index;
        while at != root {
            below(root, at)?;
            let beside = sibling(at);
            match seek_root {
                Some(from) if self.seek && contains(beside, from) && beside != from => {
                    parts.seek = Some(self.seek(from, beside)?);
                }
                _ => out.push(self.nodes.required(beside)?),
            }
            at = parent(at);
        }
        parts.target = Some(out);
        Ok(())
    }
}

/// Climbing from `at` meets `root` only when it is below it.
fn below(root: u64, at: u64) -> Result<(), TreeError> {
    if contains(root, at) {
        Ok(())
    } else {
        Err(refused("request"))
    }
}

impl Tree {
    /// Answers a request. `block` is the block that it asks for, as stored; it is looked at only then. An empty tree gives an
    /// empty proof. The manifest is the caller's to add.
    ///
    /// # Errors
    /// [`InvalidOperation`](TreeError::InvalidOperation) for a request that cannot be answered,
    /// [`MissingNode`](TreeError::MissingNode) when a node is not here, [`BadArgument`](TreeError::BadArgument) when the block
    /// was not passed.
    pub fn proof<N: Nodes>(
        &self,
        nodes: &N,
        request: &ProofRequest,
        block: Option<Bytes>,
    ) -> Result<Proof, N::Error> {
        let mut proof = Proof {
            fork: self.fork,
            ..Proof::default()
        };
        if self.length == 0 {
            return Ok(proof);
        }
        let upgrade = request.upgrade.map(|upgrade| self.past_prologue(upgrade));
        let (start, end) = match upgrade {
            Some(upgrade) => (upgrade.start, upgrade.start.saturating_add(upgrade.length)),
            None => (0, self.length),
        };
        if start >= end || end > self.length {
            return Err(refused("upgrade request").into());
        }
        let target = Target::of(request, self.length)?;
        if request.seek.is_some()
            && upgrade.is_some()
            && target.is_some_and(|target| target.index >= 2 * start)
        {
            return Err(refused("seek together with a block or hash of the upgrade").into());
        }

        let climber = Climber {
            nodes,
            target,
            seek: request.seek.is_some(),
        };
        let mut parts = Parts::default();
        // where in the upgrade the target or the seek comes in
        let mut inside = None;
        match target {
            Some(target) if upgrade.is_none() || target.last_block < start => {
                let root = climb(target.index, target.nodes, 2 * end)?;
                let seek_root = match request.seek {
                    Some(seek) => Some(self.seek_below(nodes, root, seek)?),
                    None => None,
                };
                climber.target_and_seek(seek_root, root, &mut parts)?;
            }
            _ if upgrade.is_some() => {
                inside = match request.seek {
                    Some(seek) => Some(seek_in_roots(nodes, end, seek)?),
                    None => target.map(|target| target.index),
                };
            }
            _ => {}
        }

        if let Some(upgrade) = upgrade {
            let mut roots = Vec::new();
            for index in upgrade_indexes(start, upgrade.length).unwrap_or_default() {
                if parts.target.is_none()
                    && parts.seek.is_none()
                    && inside.is_some_and(|inside| contains(index, inside))
                {
                    climber.target_and_seek(inside, index, &mut parts)?;
                } else {
                    roots.push(nodes.required(index)?);
                }
            }
            let additional = upgrade_indexes(end, self.length - end).unwrap_or_default();
            proof.upgrade = Some(UpgradeProof {
                start,
                length: upgrade.length,
                nodes: roots,
                additional_nodes: additional
                    .into_iter()
                    .map(|index| nodes.required(index))
                    .collect::<Result<_, _>>()?,
                signature: self.signature.clone(),
            });
        }
        if let Some(asked) = request.block {
            proof.block = Some(BlockProof {
                index: asked.index,
                value: block.ok_or(TreeError::BadArgument { what: "block" })?,
                nodes: parts.target.ok_or(refused("block request"))?,
            });
        } else if let Some(asked) = request.hash {
            proof.hash = Some(HashProof {
                index: asked.index,
                nodes: parts.target.ok_or(refused("hash request"))?,
            });
        }
        if let (Some(asked), Some(nodes)) = (request.seek, parts.seek) {
            proof.seek = Some(SeekProof {
                bytes: asked.bytes,
                nodes,
            });
        }
        Ok(proof)
    }

    /// A peer that is below the prologue gets all of it as the upgrade, and the rest as additional nodes.
    fn past_prologue(&self, upgrade: UpgradeRequest) -> UpgradeRequest {
        match self.prologue {
            Some(prologue) if upgrade.start < prologue.length => UpgradeRequest {
                start: 0,
                length: prologue.length,
            },
            _ => upgrade,
        }
    }

    /// Where below `root` a seek leads. One that leads elsewhere is refused below the first root of the tree and not answered below
    /// the others: npm does so, because its byte offsets are no numbers there.
    fn seek_below<N: Nodes>(
        &self,
        nodes: &N,
        root: u64,
        seek: SeekRequest,
    ) -> Result<u64, N::Error> {
        let before = self
            .byte_offset(nodes, root)?
            .saturating_sub(seek.padding.saturating_mul(left_span(root) / 2));
        let size = unpadded(&nodes.required(root)?, seek.padding);
        let first = self
            .roots
            .first()
            .is_some_and(|first| contains(first.index, root));
        match seek.bytes.checked_sub(before) {
            Some(0) => Ok(root),
            Some(rest) if rest < size => seek_down(nodes, root, rest, seek.padding),
            _ if first => Err(refused("seek").into()),
            _ => Ok(root),
        }
    }

    /// How many nodes a peer with no node of a tree of `length` blocks but the roots needs to believe the node at `index`.
    #[must_use]
    pub fn max_missing_nodes(index: u64, length: u64) -> u64 {
        let head = 2 * length;
        if right_span(index) >= head || full_roots(length).any(|root| root == index) {
            return 0;
        }
        let mut count = 0;
        let mut at = parent(index);
        while !contains(at, head) {
            count += 1;
            at = parent(at);
        }
        count
    }

    /// How many levels to climb from `index` to the first node that is here: what to ask a peer for. 0 when the node itself is
    /// here or is past the end.
    ///
    /// # Errors
    /// When a lookup fails.
    pub fn missing_nodes<N: Nodes>(&self, nodes: &N, index: u64) -> Result<u64, N::Error> {
        let head = 2 * self.length;
        let mut at = index;
        let mut count = 0;
        if right_span(index) >= head {
            return Ok(0);
        }
        while !contains(at, head) {
            if nodes.node(at)?.is_some() {
                return Ok(count);
            }
            count += 1;
            at = parent(at);
        }
        Ok(count)
    }
}

/// Where a seek leads in the first `length` blocks: a node that ends or holds the place, or their end.
fn seek_in_roots<N: Nodes>(nodes: &N, length: u64, seek: SeekRequest) -> Result<u64, N::Error> {
    let mut rest = seek.bytes;
    for root in full_roots(length) {
        let size = unpadded(&nodes.required(root)?, seek.padding);
        if rest == size {
            return Ok(root);
        }
        if rest > size {
            rest -= size;
            continue;
        }
        return seek_down(nodes, root, rest, seek.padding);
    }
    Ok(2 * length)
}

/// Where below `root` the byte is, as far down as nodes are here.
fn seek_down<N: Nodes>(nodes: &N, root: u64, bytes: u64, padding: u64) -> Result<u64, N::Error> {
    let mut rest = bytes;
    let mut at = root;
    if rest == 0 {
        return Ok(root);
    }
    while let Some(left) = left_child(at) {
        let Some(node) = nodes.node(left)? else {
            return Ok(at);
        };
        let size = unpadded(&node, padding);
        if size == rest {
            return Ok(left);
        }
        if size > rest {
            at = left;
        } else {
            rest -= size;
            at = sibling(left);
        }
    }
    Ok(at)
}
