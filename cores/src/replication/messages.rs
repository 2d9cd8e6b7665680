//! Messages as they go over the wire: the request for a proof and the proof.
//!
//! Source: hypercore 11.37.1, `lib/messages.js` (`wire.request`, `wire.data`). Vectors: `tests/vectors/core.json`, `proofs`.

use bytes::Bytes;
use pome_encoding::{DecodeError, Reader, put_buffer, put_uint};

use crate::{
    manifest::Manifest,
    merkle::{
        BlockProof, HashProof, Node, NodeRequest, Proof, ProofRequest, SeekProof, SeekRequest,
        UpgradeProof, UpgradeRequest,
    },
};

const BLOCK: u64 = 1;
const HASH: u64 = 2;
const SEEK: u64 = 4;
const UPGRADE: u64 = 8;
const MANIFEST: u64 = 16;
const PRIORITY: u64 = 32;

fn flag(there: bool, flag: u64) -> u64 {
    if there { flag } else { 0 }
}

fn optional<T>(
    there: bool,
    input: &mut Reader<'_>,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    there.then(|| read(input)).transpose()
}

/// Asks for a proof.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Request {
    /// Comes back with the answer; from 1.
    pub id: u64,
    /// The fork that the asker is on.
    pub fork: u64,
    /// What is asked for.
    pub proof: ProofRequest,
    /// Ask for the manifest too.
    pub manifest: bool,
    /// 0 normal; more is more urgent.
    pub priority: u64,
}

impl Request {
    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let ProofRequest {
            block,
            hash,
            seek,
            upgrade,
        } = &self.proof;
        let flags = flag(block.is_some(), BLOCK)
            | flag(hash.is_some(), HASH)
            | flag(seek.is_some(), SEEK)
            | flag(upgrade.is_some(), UPGRADE)
            | flag(self.manifest, MANIFEST)
            | flag(self.priority != 0, PRIORITY);
        put_uint(out, flags);
        put_uint(out, self.id);
        put_uint(out, self.fork);
        for node in [block, hash].into_iter().flatten() {
            put_uint(out, node.index);
            put_uint(out, node.nodes);
        }
        if let Some(seek) = seek {
            put_uint(out, seek.bytes);
            put_uint(out, seek.padding);
        }
        if let Some(upgrade) = upgrade {
            put_uint(out, upgrade.start);
            put_uint(out, upgrade.length);
        }
        if self.priority != 0 {
            put_uint(out, self.priority);
        }
    }

    /// Reads the message. Unknown flags are dropped.
    ///
    /// # Errors
    /// When the input is too short.
    pub fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let flags = input.uint()?;
        let has = |flag| flags & flag != 0;
        let node = |input: &mut Reader<'_>| {
            Ok(NodeRequest {
                index: input.uint()?,
                nodes: input.uint()?,
            })
        };
        Ok(Self {
            id: input.uint()?,
            fork: input.uint()?,
            proof: ProofRequest {
                block: optional(has(BLOCK), input, node)?,
                hash: optional(has(HASH), input, node)?,
                seek: optional(has(SEEK), input, |input| {
                    Ok(SeekRequest {
                        bytes: input.uint()?,
                        padding: input.uint()?,
                    })
                })?,
                upgrade: optional(has(UPGRADE), input, |input| {
                    Ok(UpgradeRequest {
                        start: input.uint()?,
                        length: input.uint()?,
                    })
                })?,
            },
            manifest: has(MANIFEST),
            priority: optional(has(PRIORITY), input, |input| input.uint())?.unwrap_or(0),
        })
    }
}

/// A proof.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Data {
    /// The id of the request; 0 for one that nobody asked for.
    pub request: u64,
    /// The proof.
    pub proof: Proof,
}

impl Data {
    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let proof = &self.proof;
        let flags = flag(proof.block.is_some(), BLOCK)
            | flag(proof.hash.is_some(), HASH)
            | flag(proof.seek.is_some(), SEEK)
            | flag(proof.upgrade.is_some(), UPGRADE)
            | flag(proof.manifest.is_some(), MANIFEST);
        put_uint(out, flags);
        put_uint(out, self.request);
        put_uint(out, proof.fork);
        if let Some(block) = &proof.block {
            put_uint(out, block.index);
            put_buffer(out, &block.value);
            Node::encode_list(&block.nodes, out);
        }
        if let Some(hash) = &proof.hash {
            put_uint(out, hash.index);
            Node::encode_list(&hash.nodes, out);
        }
        if let Some(seek) = &proof.seek {
            put_uint(out, seek.bytes);
            Node::encode_list(&seek.nodes, out);
        }
        if let Some(upgrade) = &proof.upgrade {
            put_uint(out, upgrade.start);
            put_uint(out, upgrade.length);
            Node::encode_list(&upgrade.nodes, out);
            Node::encode_list(&upgrade.additional_nodes, out);
            put_buffer(out, upgrade.signature.as_deref().unwrap_or_default());
        }
        if let Some(manifest) = &proof.manifest {
            manifest.encode_to(out);
        }
    }

    /// Reads the message. Unknown flags are dropped; an empty signature reads as none.
    ///
    /// # Errors
    /// When the input is too short or a part of it is no value.
    pub fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let flags = input.uint()?;
        let has = |flag| flags & flag != 0;
        Ok(Self {
            request: input.uint()?,
            proof: Proof {
                fork: input.uint()?,
                block: optional(has(BLOCK), input, |input| {
                    Ok(BlockProof {
                        index: input.uint()?,
                        value: Bytes::copy_from_slice(input.buffer()?),
                        nodes: Node::decode_list(input)?,
                    })
                })?,
                hash: optional(has(HASH), input, |input| {
                    Ok(HashProof {
                        index: input.uint()?,
                        nodes: Node::decode_list(input)?,
                    })
                })?,
                seek: optional(has(SEEK), input, |input| {
                    Ok(SeekProof {
                        bytes: input.uint()?,
                        nodes: Node::decode_list(input)?,
                    })
                })?,
                upgrade: optional(has(UPGRADE), input, |input| {
                    Ok(UpgradeProof {
                        start: input.uint()?,
                        length: input.uint()?,
                        nodes: Node::decode_list(input)?,
                        additional_nodes: Node::decode_list(input)?,
                        signature: match input.buffer()? {
                            [] => None,
                            signature => Some(Bytes::copy_from_slice(signature)),
                        },
                    })
                })?,
                manifest: optional(has(MANIFEST), input, Manifest::decode_from)?,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Request::decode(&mut Reader::new(&bytes));
            let _ = Data::decode(&mut Reader::new(&bytes));
        }
    }
}
