//! Signing trees and checking signatures, as a manifest says.
//!
//! Source: hypercore 11.37.1, `lib/verifier.js`. Vectors: `tests/vectors/core.json`, `logs`, `multisigs`, `tampered`.

use std::collections::HashMap;

use bytes::Bytes;
use pome_encoding::Key;

use crate::{
    caps,
    crypto::{self, KeyPair},
    manifest::{Manifest, ManifestError, Signer},
    merkle::{MerkleBatch, Node, Nodes, Proof, Tree, TreeError, UpgradeProof, upgrade_indexes},
    multisig::{self, MultiSignature, Part},
};

/// Signs trees and checks signatures for one core.
///
/// ```
/// use pome_cores::{KeyPair, Manifest, Verifier, merkle::Tree};
///
/// let pair = KeyPair::from_seed(&[1; 32]);
/// let verifier = Verifier::new(Manifest::single(pair.public));
/// let mut batch = Tree::default().batch();
/// batch.append_blocks(&[b"block"]);
/// let signature = verifier.sign(batch.tree(), &pair)?;
/// assert!(verifier.verify(batch.tree(), &signature));
///
/// batch.append_blocks(&[b"another"]);
/// assert!(!verifier.verify(batch.tree(), &signature));
/// # Ok::<_, pome_cores::ManifestError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Verifier {
    key: Key,
    manifest: Manifest,
    compat: bool,
    legacy: bool,
}

/// What a signature is of.
pub(crate) struct Signable {
    /// The tree hash.
    pub(crate) hash: [u8; 32],
    /// In blocks.
    pub(crate) length: u64,
    pub(crate) fork: u64,
}

impl From<&Tree> for Signable {
    fn from(tree: &Tree) -> Self {
        Self {
            hash: tree.hash(),
            length: tree.length,
            fork: tree.fork,
        }
    }
}

/// What a proof brings, checked.
#[derive(Debug)]
pub struct Verified {
    /// To store.
    pub batch: MerkleBatch,
    /// To store beside the core's key: it was not known before.
    pub manifest: Option<Manifest>,
}

impl Verifier {
    /// For the core whose key is the hash of `manifest`.
    #[must_use]
    pub fn new(manifest: Manifest) -> Self {
        Self::with_key(manifest.key(), manifest)
    }

    /// For the core with this key, which is the hash of the manifest or the public key of its only signer (compat).
    #[must_use]
    pub fn with_key(key: Key, manifest: Manifest) -> Self {
        let compat = manifest.is_compat(&key);
        Self {
            key,
            manifest,
            compat,
            legacy: false,
        }
    }

    /// For a core whose manifest came with a proof, or did not come: then the key is taken for a public key.
    ///
    /// # Errors
    /// [`InvalidManifest`](TreeError::InvalidManifest) when it is not the manifest of `key`, or not one that can be opened.
    pub fn from_proof(key: Key, manifest: Option<&Manifest>) -> Result<Self, TreeError> {
        let manifest = manifest.cloned().unwrap_or_else(|| Manifest::single(key.0));
        let known = manifest.is_valid_for(&key) || manifest.is_compat(&key);
        if !known || manifest.validate().is_err() {
            return Err(TreeError::InvalidManifest);
        }
        Ok(Self::with_key(key, manifest))
    }

    /// Signs and checks as the oldest cores did (npm `legacy`); only for compat keys.
    #[must_use]
    pub fn with_legacy(mut self, legacy: bool) -> Self {
        self.legacy = legacy;
        self
    }

    /// The core's key.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Who may sign.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// True when the key is the public key itself.
    #[must_use]
    pub fn is_compat(&self) -> bool {
        self.compat
    }

    /// The version whose rules hold: 0 for compat.
    fn version(&self) -> u8 {
        if self.compat {
            0
        } else {
            self.manifest.version
        }
    }

    fn allow_patch(&self) -> bool {
        !self.compat && self.manifest.allow_patch
    }

    fn with_signable<T>(&self, signer: &Signer, of: Signable, then: impl FnOnce(&[u8]) -> T) -> T {
        let Signable { hash, length, fork } = &of;
        let (length, fork) = (*length, *fork);
        match (self.compat, self.version()) {
            (true, _) if self.legacy => then(&caps::tree_signable_legacy(hash, length, fork)),
            (true, _) => then(&caps::tree_signable_compat(hash, length, fork)),
            (false, 0) => then(&caps::tree_signable(&signer.namespace, hash, length, fork)),
            (false, _) => then(&caps::tree_signable(&self.key.0, hash, length, fork)),
        }
    }

    fn verify_one(&self, signer: &Signer, tree: &Tree, signature: &[u8]) -> bool {
        self.with_signable(signer, tree.into(), |signable| {
            crypto::verify(signable, signature, &signer.public_key)
        })
    }

    /// True when the signers of the manifest signed this tree. Any bytes may be passed as a signature.
    #[must_use]
    pub fn verify(&self, tree: &Tree, signature: &[u8]) -> bool {
        if self.version() == 0 {
            return match self.manifest.signers.as_slice() {
                _ if signature.is_empty() => false,
                [signer] if self.compat || !self.manifest.allow_patch => {
                    self.verify_one(signer, tree, signature)
                }
                _ => self.verify_multi(tree, signature),
            };
        }
        match &self.manifest.prologue {
            Some(prologue) if tree.length <= prologue.length => {
                tree.length == prologue.length && tree.hash() == prologue.hash
            }
            _ => self.verify_multi(tree, signature),
        }
    }

    fn verify_multi(&self, tree: &Tree, signature: &[u8]) -> bool {
        let inflated = match self.version() {
            0 => multisig::inflate_v0(signature),
            _ => multisig::inflate(signature),
        };
        let Ok(MultiSignature { proofs, patch }) = inflated else {
            return false;
        };
        let quorum = match usize::try_from(self.manifest.quorum) {
            Ok(quorum) if quorum > 0 && quorum <= proofs.len() => quorum,
            _ => return false,
        };
        let mut tried = vec![false; self.manifest.signers.len()];
        proofs.iter().take(quorum).all(|proof| {
            let at = usize::try_from(proof.signer).unwrap_or(usize::MAX);
            let (Some(signer), Some(tried)) = (self.manifest.signers.get(at), tried.get_mut(at))
            else {
                return false;
            };
            if std::mem::replace(tried, true) {
                return false;
            }
            if proof.patch == 0 || !self.allow_patch() {
                return self.verify_one(signer, tree, &proof.signature);
            }
            patched(tree, &patch, proof.patch)
                .is_some_and(|tree| self.verify_one(signer, &tree, &proof.signature))
        })
    }

    /// True when `pair` is the only one that signs.
    pub(crate) fn is_signed_by(&self, pair: &KeyPair) -> bool {
        matches!(self.manifest.signers.as_slice(), [signer] if signer.public_key == pair.public)
    }

    /// Signs a tree. With one signer the answer is what the core stores as its signature (an envelope from manifest version 1
    /// on); with several it is the bare 64 bytes of one of them, for a [`Part`].
    ///
    /// # Errors
    /// [`NotASigner`](ManifestError::NotASigner).
    pub fn sign(&self, tree: &Tree, pair: &KeyPair) -> Result<Bytes, ManifestError> {
        self.sign_hash(tree.into(), pair)
    }

    /// As [`sign`](Self::sign), where only the hash of the tree is at hand.
    pub(crate) fn sign_hash(&self, of: Signable, pair: &KeyPair) -> Result<Bytes, ManifestError> {
        let signers = &self.manifest.signers;
        let signer = signers
            .iter()
            .find(|signer| signer.public_key == pair.public)
            .ok_or(ManifestError::NotASigner)?;
        let signature = self.with_signable(signer, of, |signable| pair.sign(signable));
        Ok(if signers.len() != 1 || self.version() == 0 {
            Bytes::copy_from_slice(&signature)
        } else {
            multisig::assemble_one(0, &signature).into()
        })
    }

    /// Puts the parts of several signers together to what the core stores as its signature.
    ///
    /// # Errors
    /// [`EmptyPatch`](ManifestError::EmptyPatch), for manifest version 0 only.
    pub fn assemble(&self, parts: &[Part]) -> Result<Vec<u8>, ManifestError> {
        match self.version() {
            0 => multisig::assemble_v0(parts),
            _ => Ok(multisig::assemble(parts)),
        }
    }

    /// Checks all that a proof claims against a core: its nodes and block against the tree, its upgrade against the signers.
    /// `manifest` is the one that is stored with the core, if any. `Ok(None)`: the proof is of another fork, which only a
    /// [`Reorg`](crate::merkle::Reorg) can take.
    ///
    /// # Errors
    /// What the proof is refused for, or what a lookup failed with.
    pub fn check<N: Nodes>(
        key: Key,
        manifest: Option<&Manifest>,
        tree: &Tree,
        nodes: &N,
        proof: &Proof,
    ) -> Result<Option<Verified>, N::Error> {
        if proof.fork != tree.fork {
            return Ok(None);
        }
        let batch = tree.verify(nodes, proof)?;
        if !batch.upgraded() {
            return Ok(Some(Verified {
                batch,
                manifest: None,
            }));
        }
        let learnt = Self::check_upgrade(key, manifest, &batch, proof)?;
        Ok(Some(Verified {
            batch,
            manifest: learnt,
        }))
    }

    /// Checks the signature of a batch that a proof made; answers the manifest when it was not known before.
    ///
    /// # Errors
    /// [`InvalidManifest`](TreeError::InvalidManifest), [`InvalidSignature`](TreeError::InvalidSignature).
    pub fn check_upgrade(
        key: Key,
        manifest: Option<&Manifest>,
        batch: &MerkleBatch,
        proof: &Proof,
    ) -> Result<Option<Manifest>, TreeError> {
        let verifier = match manifest {
            Some(manifest) => Self::with_key(key, manifest.clone()),
            None => Self::from_proof(key, proof.manifest.as_ref())?,
        };
        let tree = batch.tree();
        let signature = tree.signature.as_deref().unwrap_or_default();
        if !verifier.verify(tree, signature) {
            return Err(TreeError::InvalidSignature {
                length: tree.length,
                fork: tree.fork,
            });
        }
        Ok(manifest.is_none().then_some(verifier.manifest))
    }
}

/// The tree that is `length` blocks longer, by the nodes of a patch.
fn patched(tree: &Tree, patch: &[Node], length: u64) -> Option<Tree> {
    let patch: HashMap<u64, Node> = patch.iter().map(|node| (node.index, *node)).collect();
    let nodes = upgrade_indexes(tree.length, length)?
        .into_iter()
        .map(|index| patch.get(&index).copied())
        .collect::<Option<Vec<_>>>()?;
    let proof = Proof {
        fork: tree.fork,
        upgrade: Some(UpgradeProof {
            start: tree.length,
            length,
            nodes,
            additional_nodes: Vec::new(),
            signature: None,
        }),
        ..Proof::default()
    };
    let batch = tree.verify_upgrade(&proof).ok()?;
    Some(batch.into_tree())
}
