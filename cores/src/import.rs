//! Proofs out of a core and into one, and whole cores through files.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use pome_storage::{Batch, Durability};

use crate::{
    change::{Change, check_blocks},
    crypto,
    error::Error,
    hypercore::Hypercore,
    layout,
    manifest::Manifest,
    merkle::{
        Node, Proof, ProofRequest, TreeError, UpgradeProof,
        flat_tree::{full_roots, left_child, right_child},
    },
    verifier::Verifier,
};

/// A core, or part of one, as it may lie in a file: what [`Hypercore::import`] checks and takes.
#[derive(Debug, Clone, Default)]
pub struct Import {
    /// Who may sign; may be left out where the core knows it, and for a core whose key is a public key.
    pub manifest: Option<Manifest>,
    /// How often the core was truncated.
    pub fork: u64,
    /// In blocks.
    pub length: u64,
    /// Over that length and fork.
    pub signature: Option<Bytes>,
    /// Tree nodes in any order: the roots of that length, and whatever leads down from them to the blocks.
    pub nodes: Vec<Node>,
    /// Blocks as they are stored, with their index.
    pub blocks: Vec<(u64, Bytes)>,
}

impl Hypercore {
    /// Answers a request of a peer out of the present tree. An asked block comes with it as it is stored.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), [`BlockNotAvailable`](Error::BlockNotAvailable); [`Tree`](Error::Tree) for what cannot be answered.
    pub async fn proof(&self, request: &ProofRequest) -> Result<Proof, Error> {
        self.session.check_open()?;
        let block = match request.block {
            Some(asked) => {
                let (key, index) = (self.key(), asked.index);
                let block = self.session.block(index)?;
                Some(block.ok_or(Error::BlockNotAvailable { key, index })?)
            }
            None => None,
        };
        let nodes = |index| self.session.node(index);
        self.session.head_held(|head| {
            let mut proof = head.tree.proof(&nodes, request, block)?;
            if let Some(upgrade) = &mut proof.upgrade {
                upgrade.signature = head.signature(&self.session.core);
            }
            Ok(proof)
        })
    }

    /// Checks a proof of a peer against the tree and the signers, and stores what it brings. False: it is of another fork, or brings an
    /// upgrade that the core has outgrown.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed); [`Tree`](Error::Tree) when the proof is refused; nothing is stored then.
    pub async fn apply_proof(&self, proof: &Proof) -> Result<bool, Error> {
        self.session.check_open()?;
        if let Some(block) = &proof.block {
            check_blocks(std::slice::from_ref(&block.value))?;
        }
        let core = self.session.core.clone();
        let mut change = Change::begin(&core).await?;
        let tree = change.merkle.tree().clone();
        let nodes = |index| core.node(index);
        let verifier = core.verifier();
        let known = verifier.as_ref().map(|verifier| verifier.manifest());
        let Some(verified) = Verifier::check(core.key, known, &tree, &nodes, proof)? else {
            return Ok(false);
        };
        if !verified.batch.fits(&tree) {
            return Ok(false);
        }
        let mut batch = Batch::new();
        if let Some(manifest) = verified.manifest {
            change.learn(&mut batch, manifest)?;
        }
        change.merkle = verified.batch;
        if let Some(block) = &proof.block {
            change.fill(&mut batch, &[(block.index, block.value.clone())])?;
        }
        self.commit_change(change, batch, Durability::Buffered)
            .await?;
        Ok(true)
    }

    /// Takes a core, or part of one, from a file: into an empty core, or more nodes and blocks of the length and fork that the core has.
    /// Everything is checked first: the signature over the roots, each node against its parent, each block against its leaf.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed), [`InvalidOperation`](Error::InvalidOperation) when the core has another length or fork,
    /// [`Tree`](Error::Tree) for what does not hold. Nothing is taken then.
    pub async fn import(&self, import: Import) -> Result<(), Error> {
        self.session.check_open()?;
        let core = self.session.core.clone();
        let mut change = Change::begin(&core).await?;
        let mut batch = Batch::new();
        let tree = change.merkle.tree().clone();
        let given: HashMap<u64, Node> = import.nodes.iter().map(|n| (n.index, *n)).collect();
        if tree.length == 0 && import.length > 0 {
            let roots = full_roots(import.length).map(|index| {
                let node = given.get(&index).copied();
                node.ok_or(TreeError::MissingNode { index })
            });
            let proof = Proof {
                fork: import.fork,
                upgrade: Some(UpgradeProof {
                    start: 0,
                    length: import.length,
                    nodes: roots.collect::<Result<_, _>>()?,
                    additional_nodes: Vec::new(),
                    signature: import.signature.clone(),
                }),
                manifest: import.manifest.clone(),
                ..Proof::default()
            };
            let merkle = tree.verify_fully_remote(&proof)?;
            let verifier = core.verifier();
            let known = verifier.as_ref().map(|verifier| verifier.manifest());
            if let Some(manifest) = Verifier::check_upgrade(core.key, known, &merkle, &proof)? {
                change.learn(&mut batch, manifest)?;
            }
            change.merkle = merkle;
        } else if (tree.length, tree.fork) != (import.length, import.fork) {
            let (key, what) = (core.key, "it has another length or fork");
            return Err(Error::InvalidOperation { key, what });
        }
        let mut verified = HashSet::new();
        let mut open: Vec<Node> = change.merkle.tree().roots.clone();
        while let Some(node) = open.pop() {
            verified.insert(node.index);
            let children = left_child(node.index).zip(right_child(node.index));
            let Some((left, right)) = children else {
                continue;
            };
            let at = |index| match given.get(&index) {
                Some(node) => Ok(Some(*node)),
                None => core.node(index),
            };
            let (left, right) = match (at(left)?, at(right)?) {
                (Some(left), Some(right)) => (left, right),
                (None, None) => continue,
                _ => return Err(TreeError::InvalidChecksum { index: node.index }.into()),
            };
            let size = left.size.checked_add(right.size);
            if crypto::parent_hash(&left, &right) != node.hash || size != Some(node.size) {
                return Err(TreeError::InvalidChecksum { index: node.index }.into());
            }
            open.extend([left, right]);
        }
        change.mend();
        for node in &import.nodes {
            if !verified.contains(&node.index) {
                return Err(TreeError::InvalidChecksum { index: node.index }.into());
            }
            batch.put_slice(
                core.space,
                layout::node_key(node.index),
                &layout::node_value(node),
            );
        }
        for (index, block) in &import.blocks {
            let index = index.checked_mul(2).unwrap_or(u64::MAX);
            let leaf = match given.get(&index) {
                Some(leaf) => Some(*leaf),
                None => core.node(index)?,
            };
            let leaf = leaf.ok_or(TreeError::MissingNode { index })?;
            if leaf.size != block.len() as u64 || leaf.hash != crypto::leaf_hash(block) {
                return Err(TreeError::InvalidChecksum { index }.into());
            }
        }
        change.fill(&mut batch, &import.blocks)?;
        self.commit_change(change, batch, Durability::Buffered)
            .await
    }
}
