//! Signatures of several signers, and the envelope that even a single one has from manifest version 1 on.
//!
//! Signers may sign different lengths where the manifest allows it: the envelope then has, for each, how many blocks its
//! length is ahead (`patch`), and the tree nodes of the difference.
//!
//! ```text
//! v1 and up: parts (signer · signature (64) · patch) · nodes
//! v0:        parts (flags · signer · signature (64) · [start · length · positions in nodes]) · nodes
//! ```
//!
//! Source: hypercore 11.37.1, `lib/multisig.js`, `lib/messages.js` (`multiSignature`, `multiSignaturev0`).
//! Vectors: `tests/vectors/core.json`, `multisigs`.

use std::collections::HashSet;

use pome_encoding::{DecodeError, Reader, put_uint, uint_len};

use crate::{
    manifest::{ManifestError, decode_list},
    merkle::{Node, Nodes, ProofRequest, Tree, TreeError, UpgradeRequest, flat_tree::right_span},
};

/// What one signer contributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its place in the manifest.
    pub signer: u64,
    /// Over its own tree.
    pub signature: [u8; 64],
    /// How many blocks its tree is longer than the one that all sign; 0 when it is as long.
    pub patch: u64,
    /// The upgrade nodes of those blocks; empty without a patch.
    pub nodes: Vec<Node>,
}

/// One signer's entry in an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignerProof {
    /// Its place in the manifest.
    pub signer: u64,
    /// Over its own tree.
    pub signature: [u8; 64],
    /// How many blocks its tree is longer.
    pub patch: u64,
}

/// An envelope, taken apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MultiSignature {
    /// One for each signer.
    pub proofs: Vec<SignerProof>,
    /// The nodes of all patches.
    pub patch: Vec<Node>,
}

/// The part of a signer whose core is `tree`, for the common length `from`. `to` is the length that `signature` is over
/// (default: the tree's). `None` when the core is shorter than `from`.
///
/// # Errors
/// When the nodes between the lengths are not here, or `signature` is neither 64 bytes nor an envelope with a signer.
pub fn partial_signature<N: Nodes>(
    tree: &Tree,
    nodes: &N,
    signer: u64,
    from: u64,
    to: Option<u64>,
    signature: &[u8],
) -> Result<Option<Part>, N::Error> {
    if from > tree.length {
        return Ok(None);
    }
    let to = to.unwrap_or(tree.length);
    let patch = to.saturating_sub(from);
    let upgrade = if patch == 0 {
        Vec::new()
    } else {
        let request = ProofRequest {
            upgrade: Some(UpgradeRequest {
                start: from,
                length: patch,
            }),
            ..ProofRequest::default()
        };
        let proof = tree.proof(nodes, &request, None)?;
        proof.upgrade.map_or_else(Vec::new, |upgrade| upgrade.nodes)
    };
    let bare = match <[u8; 64]>::try_from(signature) {
        Ok(signature) => Some(signature),
        Err(_) => inflate(signature)
            .ok()
            .and_then(|envelope| envelope.proofs.first().map(|proof| proof.signature)),
    };
    let signature = bare.ok_or(TreeError::InvalidSignature {
        length: to,
        fork: tree.fork,
    })?;
    Ok(Some(Part {
        signer,
        signature,
        patch,
        nodes: upgrade,
    }))
}

/// The longest length that at least `quorum` (0 counts as 1) of the signers have reached; 0 when there are too few.
#[must_use]
pub fn signable_length(lengths: &[u64], quorum: usize) -> u64 {
    let mut lengths = lengths.to_vec();
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    lengths.get(quorum.max(1) - 1).copied().unwrap_or(0)
}

/// The envelope of one signer without a patch: 68 bytes.
#[must_use]
pub fn assemble_one(signer: u64, signature: &[u8; 64]) -> Vec<u8> {
    let mut out = Vec::with_capacity(67 + uint_len(signer));
    out.push(1);
    put_uint(&mut out, signer);
    out.extend_from_slice(signature);
    out.extend_from_slice(&[0, 0]);
    out
}

/// The envelope of several signers, for manifests from version 1 on. A node that several patches have is written once.
#[must_use]
pub fn assemble(parts: &[Part]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut seen = HashSet::new();
    let mut patch = Vec::new();
    put_uint(&mut out, parts.len() as u64);
    for part in parts {
        patch.extend(part.nodes.iter().filter(|node| seen.insert(node.index)));
        put_uint(&mut out, part.signer);
        out.extend_from_slice(&part.signature);
        put_uint(&mut out, part.patch);
    }
    Node::encode_list(&patch, &mut out);
    out
}

/// The envelope of several signers, for manifests of version 0.
///
/// # Errors
/// [`EmptyPatch`](ManifestError::EmptyPatch) when a part has a patch but no nodes.
pub fn assemble_v0(parts: &[Part]) -> Result<Vec<u8>, ManifestError> {
    let mut out = Vec::new();
    let mut patch: Vec<Node> = Vec::new();
    put_uint(&mut out, parts.len() as u64);
    for part in parts {
        put_uint(&mut out, u64::from(part.patch != 0));
        put_uint(&mut out, part.signer);
        out.extend_from_slice(&part.signature);
        if part.patch == 0 {
            continue;
        }
        let last = part.nodes.last().ok_or(ManifestError::EmptyPatch)?;
        put_uint(&mut out, right_span(last.index) / 2 + 1);
        put_uint(&mut out, part.patch);
        put_uint(&mut out, part.nodes.len() as u64);
        for node in &part.nodes {
            let at = patch.iter().position(|other| other == node);
            let at = at.unwrap_or_else(|| {
                patch.push(*node);
                patch.len() - 1
            });
            put_uint(&mut out, at as u64);
        }
    }
    Node::encode_list(&patch, &mut out);
    Ok(out)
}

/// Takes an envelope apart that [`assemble`] made.
///
/// # Errors
/// When the input is too short or a number too large.
pub fn inflate(bytes: &[u8]) -> Result<MultiSignature, DecodeError> {
    let mut input = Reader::new(bytes);
    let proofs = decode_list(&mut input, 66, |input| {
        Ok(SignerProof {
            signer: input.uint()?,
            signature: input.fixed()?,
            patch: input.uint()?,
        })
    })?;
    let patch = Node::decode_list(&mut input)?;
    Ok(MultiSignature { proofs, patch })
}

/// Takes an envelope apart that [`assemble_v0`] made. Which node belongs to which part is not kept: it follows from the lengths.
///
/// # Errors
/// When the input is too short or a number too large.
pub fn inflate_v0(bytes: &[u8]) -> Result<MultiSignature, DecodeError> {
    let mut input = Reader::new(bytes);
    let proofs = decode_list(&mut input, 66, |input| {
        let flags = input.uint()?;
        let signer = input.uint()?;
        let signature = input.fixed()?;
        let mut patch = 0;
        if flags & 1 != 0 {
            let _start = input.uint()?;
            patch = input.uint()?;
            decode_list(input, 1, |input| input.uint())?;
        }
        Ok(SignerProof {
            signer,
            signature,
            patch,
        })
    })?;
    let patch = Node::decode_list(&mut input)?;
    Ok(MultiSignature { proofs, patch })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn signable_lengths() {
        assert_eq!(signable_length(&[3, 9, 5], 2), 5);
        assert_eq!(signable_length(&[3, 9, 5], 0), 9);
        assert_eq!(signable_length(&[3, 9, 5], 4), 0);
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_envelope_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = inflate(&bytes);
            let _ = inflate_v0(&bytes);
        }
    }
}
