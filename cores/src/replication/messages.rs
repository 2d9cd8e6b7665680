//! Messages as they go over the wire: the request for a proof, the proof, and the small ones around them.
//!
//! A channel's message has a type (its number is the muxer's) and a payload; [`Message`] is both. Decoding never panics and never takes
//! more memory than a small multiple of the payload. What older peers leave out at the end of a message reads as nothing.
//!
//! Source: hypercore 11.37.1, `lib/messages.js` (`wire`). Vectors: `tests/vectors/core.json`, `messages`, `messages_raw`, `proofs`, `channels`.

use bytes::Bytes;
use pome_encoding::{DecodeError, Reader, put_buffer, put_uint, uint_len};

use crate::{
    manifest::Manifest,
    merkle::{
        BlockProof, HashProof, Node, NodeRequest, Proof, ProofRequest, SeekProof, SeekRequest,
        UpgradeProof, UpgradeRequest,
    },
};

/// Blocks below this many bytes are copied out of their message, so that a small block in memory does not hold a large message.
const SHARE_MIN: usize = 4096;

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
        Self::decode_with(input, Bytes::copy_from_slice)
    }

    /// As [`decode`](Self::decode); a large block shares the memory of `payload` instead of being copied.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_shared(payload: &Bytes) -> Result<Self, DecodeError> {
        Self::decode_with(&mut Reader::new(payload), |block| match block.len() {
            0..SHARE_MIN => Bytes::copy_from_slice(block),
            _ => payload.slice_ref(block),
        })
    }

    fn decode_with(
        input: &mut Reader<'_>,
        own: impl FnOnce(&[u8]) -> Bytes,
    ) -> Result<Self, DecodeError> {
        let flags = input.uint()?;
        let has = |flag| flags & flag != 0;
        Ok(Self {
            request: input.uint()?,
            proof: Proof {
                fork: input.uint()?,
                block: optional(has(BLOCK), input, |input| {
                    Ok(BlockProof {
                        index: input.uint()?,
                        value: own(input.buffer()?),
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

/// What the two sides of a channel open it with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handshake {
    /// The sender answers seeks.
    pub seeks: bool,
    /// [`caps::replicate`](crate::caps::replicate): the sender knows the core's key.
    pub capability: [u8; 32],
}

impl Handshake {
    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_uint(out, flag(self.seeks, 1));
        out.extend_from_slice(&self.capability);
    }

    /// Reads the message. Unknown flags are dropped.
    ///
    /// # Errors
    /// When the input is too short.
    pub fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            seeks: input.uint()? & 1 != 0,
            capability: input.fixed()?,
        })
    }
}

/// What the sender has and wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sync {
    /// The sender's fork.
    pub fork: u64,
    /// The sender's length, in blocks.
    pub length: u64,
    /// The receiver's length as the sender knows it; 0 while their forks differ.
    pub remote_length: u64,
    /// The sender can prove its length to somebody who has that remote length.
    pub can_upgrade: bool,
    /// The sender answers requests.
    pub uploading: bool,
    /// The sender makes requests.
    pub downloading: bool,
    /// The sender can send the manifest.
    pub has_manifest: bool,
    /// The sender takes blocks that it did not ask for.
    pub allow_push: bool,
}

impl Sync {
    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let flags = flag(self.can_upgrade, 1)
            | flag(self.uploading, 2)
            | flag(self.downloading, 4)
            | flag(self.has_manifest, 8)
            | flag(self.allow_push, 16);
        for n in [flags, self.fork, self.length, self.remote_length] {
            put_uint(out, n);
        }
    }

    /// Reads the message. Unknown flags are dropped.
    ///
    /// # Errors
    /// When the input is too short.
    pub fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let flags = input.uint()?;
        Ok(Self {
            fork: input.uint()?,
            length: input.uint()?,
            remote_length: input.uint()?,
            can_upgrade: flags & 1 != 0,
            uploading: flags & 2 != 0,
            downloading: flags & 4 != 0,
            has_manifest: flags & 8 != 0,
            allow_push: flags & 16 != 0,
        })
    }
}

/// Why a request was not answered: the sender has no such block, on this fork.
pub const NOT_AVAILABLE: u64 = 1;
/// Why a request was not answered: it makes no sense to the sender.
pub const INVALID_REQUEST: u64 = 2;

/// There is no answer to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoData {
    /// The id of the request.
    pub request: u64,
    /// [`NOT_AVAILABLE`], [`INVALID_REQUEST`], or 0.
    pub reason: u64,
}

impl NoData {
    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_uint(out, self.request);
        put_uint(out, flag(self.reason != 0, 1));
        if self.reason != 0 {
            put_uint(out, self.reason);
        }
    }

    /// Reads the message. Older peers send the id alone.
    ///
    /// # Errors
    /// When the input is too short.
    pub fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let request = input.uint()?;
        let has_reason = trailing_flags(input)? & 1 != 0;
        let reason = optional(has_reason, input, |input| input.uint())?.unwrap_or(0);
        Ok(Self { request, reason })
    }
}

/// Flags that older peers leave out.
fn trailing_flags(input: &mut Reader<'_>) -> Result<u64, DecodeError> {
    if input.is_empty() {
        Ok(0)
    } else {
        input.uint()
    }
}

/// Asks to be told, now and from now on, which blocks of a range the receiver has; and the end of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Want {
    /// First block.
    pub start: u64,
    /// How many.
    pub length: u64,
    /// Any one of them will do.
    pub any: bool,
}

impl Want {
    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_uint(out, self.start);
        put_uint(out, self.length);
        if self.any {
            put_uint(out, 1);
        }
    }

    /// Reads the message. Older peers send no flags.
    ///
    /// # Errors
    /// When the input is too short.
    pub fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            start: input.uint()?,
            length: input.uint()?,
            any: trailing_flags(input)? & 1 != 0,
        })
    }
}

/// The sender has these blocks, or has them no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Have {
    /// Has them no more.
    pub drop: bool,
    /// First block.
    pub start: u64,
    /// How many.
    pub length: u64,
}

impl Have {
    /// Appends the message. A length of 1 is a flag.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_uint(out, flag(self.drop, 1) | flag(self.length == 1, 2));
        put_uint(out, self.start);
        if self.length != 1 {
            put_uint(out, self.length);
        }
    }

    /// Reads the message. Unknown flags are dropped.
    ///
    /// # Errors
    /// When the input is too short.
    pub fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let flags = input.uint()?;
        Ok(Self {
            drop: flags & 1 != 0,
            start: input.uint()?,
            length: optional(flags & 2 == 0, input, |input| input.uint())?.unwrap_or(1),
        })
    }
}

/// Which blocks the sender has, a bit each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bits {
    /// The block of the first bit.
    pub start: u64,
    /// Lowest bit first.
    pub words: Vec<u32>,
}

impl Bits {
    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_uint(out, self.start);
        put_uint(out, self.words.len() as u64);
        out.reserve(4 * self.words.len());
        for word in &self.words {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }

    /// Reads the message; nothing is allocated for words that are not there.
    ///
    /// # Errors
    /// When the input is too short.
    pub fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let start = input.uint()?;
        let bytes = input.uint()?.saturating_mul(4);
        let words = input.take(bytes)?.chunks_exact(4);
        Ok(Self {
            start,
            words: words
                .map(|word| u32::from_le_bytes(word.try_into().unwrap_or_default()))
                .collect(),
        })
    }
}

/// A message of the program above, sent along with the core.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// Whose; empty for the name that was last sent on this channel. Bad UTF-8 reads as U+FFFD.
    pub name: String,
    /// What.
    pub message: Bytes,
}

impl Extension {
    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_buffer(out, self.name.as_bytes());
        out.extend_from_slice(&self.message);
    }

    /// Reads the message.
    ///
    /// # Errors
    /// When the input is too short.
    pub fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            name: String::from_utf8_lossy(input.buffer()?).into_owned(),
            message: Bytes::copy_from_slice(input.take_rest()),
        })
    }
}

/// A hint about forks that the npm module defines and never sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReorgHint {
    /// The old fork.
    pub from: u64,
    /// The new one.
    pub to: u64,
    /// How many blocks they share.
    pub ancestors: u64,
}

impl ReorgHint {
    /// Appends the message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        for n in [self.from, self.to, self.ancestors] {
            put_uint(out, n);
        }
    }

    /// Reads the message.
    ///
    /// # Errors
    /// When the input is too short.
    pub fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            from: input.uint()?,
            to: input.uint()?,
            ancestors: input.uint()?,
        })
    }
}

/// A message of a core's channel.
///
/// ```
/// use pome_cores::replication::{Message, messages::Have};
///
/// let message = Message::Range(Have { drop: false, start: 0, length: 8 });
/// let mut payload = Vec::new();
/// message.encode(&mut payload);
/// assert_eq!((message.kind(), &payload[..]), (8, &[0, 0, 8][..]));
/// assert_eq!(Message::decode(8, &payload.into())?, Some(message));
/// assert_eq!(Message::decode(10, &b"of a later version".as_slice().into())?, None);
/// # Ok::<_, pome_encoding::DecodeError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// 0.
    Sync(Sync),
    /// 1.
    Request(Request),
    /// 2: a request, by its id, is wanted no more.
    Cancel(u64),
    /// 3.
    Data(Box<Data>),
    /// 4.
    NoData(NoData),
    /// 5.
    Want(Want),
    /// 6.
    Unwant(Want),
    /// 7.
    Bitfield(Bits),
    /// 8.
    Range(Have),
    /// 9.
    Extension(Extension),
}

/// How many types of messages there are on a core's channel.
pub const MESSAGE_KINDS: u64 = 10;

impl Message {
    /// The number of its type on the channel.
    #[must_use]
    pub fn kind(&self) -> u64 {
        match self {
            Self::Sync(_) => 0,
            Self::Request(_) => 1,
            Self::Cancel(_) => 2,
            Self::Data(_) => 3,
            Self::NoData(_) => 4,
            Self::Want(_) => 5,
            Self::Unwant(_) => 6,
            Self::Bitfield(_) => 7,
            Self::Range(_) => 8,
            Self::Extension(_) => 9,
        }
    }

    /// Appends the payload.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Sync(message) => message.encode(out),
            Self::Request(message) => message.encode(out),
            Self::Cancel(request) => put_uint(out, *request),
            Self::Data(message) => message.encode(out),
            Self::NoData(message) => message.encode(out),
            Self::Want(message) | Self::Unwant(message) => message.encode(out),
            Self::Bitfield(message) => message.encode(out),
            Self::Range(message) => message.encode(out),
            Self::Extension(message) => message.encode(out),
        }
    }

    /// About how many bytes the payload will have, to reserve them.
    #[must_use]
    pub fn size_hint(&self) -> usize {
        let nodes = |list: &[Node]| 48 * list.len() + 16;
        match self {
            Self::Data(data) => {
                let proof = &data.proof;
                let block = proof.block.as_ref();
                let block = block.map_or(0, |block| block.value.len() + nodes(&block.nodes));
                let hash = proof.hash.as_ref().map_or(0, |hash| nodes(&hash.nodes));
                let seek = proof.seek.as_ref().map_or(0, |seek| nodes(&seek.nodes));
                let upgrade = proof.upgrade.as_ref();
                let upgrade = upgrade.map_or(0, |upgrade| {
                    nodes(&upgrade.nodes) + nodes(&upgrade.additional_nodes) + 256
                });
                let manifest = proof.manifest.as_ref().map_or(0, |manifest| {
                    let linked = manifest.linked.as_ref().map_or(0, Vec::len);
                    let user_data = manifest.user_data.as_ref().map_or(0, Vec::len);
                    96 * (1 + manifest.signers.len()) + 32 * linked + user_data
                });
                block + hash + seek + upgrade + manifest + 32
            }
            Self::Bitfield(bits) => 4 * bits.words.len() + uint_len(bits.start) + 9,
            Self::Extension(extension) => extension.name.len() + extension.message.len() + 9,
            _ => 64,
        }
    }

    /// Reads the payload of a message with this type number. `None` for a type that a later version has: it is to be passed over.
    ///
    /// # Errors
    /// When the payload is too short, or a part of it is no value.
    pub fn decode(kind: u64, payload: &Bytes) -> Result<Option<Self>, DecodeError> {
        let input = &mut Reader::new(payload);
        Ok(Some(match kind {
            0 => Self::Sync(Sync::decode(input)?),
            1 => Self::Request(Request::decode(input)?),
            2 => Self::Cancel(input.uint()?),
            3 => Self::Data(Box::new(Data::decode_shared(payload)?)),
            4 => Self::NoData(NoData::decode(input)?),
            5 => Self::Want(Want::decode(input)?),
            6 => Self::Unwant(Want::decode(input)?),
            7 => Self::Bitfield(Bits::decode(input)?),
            8 => Self::Range(Have::decode(input)?),
            9 => Self::Extension(Extension::decode(input)?),
            _ => return Ok(None),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let payload = Bytes::from(bytes);
            for kind in 0..=MESSAGE_KINDS {
                let _ = Message::decode(kind, &payload);
            }
            let _ = Handshake::decode(&mut Reader::new(&payload));
            let _ = ReorgHint::decode(&mut Reader::new(&payload));
        }
    }
}
