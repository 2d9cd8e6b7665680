//! One node of the tree, and where nodes are looked up.

use pome_encoding::{DecodeError, Reader, put_uint, uint_len};

use super::{TreeError, flat_tree::MAX_INDEX};

pub use crate::crypto::Node;

impl Node {
    /// How many bytes [`encode`](Self::encode) writes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        uint_len(self.index) + uint_len(self.size) + 32
    }

    /// Appends index (`uint`), size (`uint`) and hash (32 bytes). Source: hypercore 11.37.1, `lib/messages.js`, `node`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_uint(out, self.index);
        put_uint(out, self.size);
        out.extend_from_slice(&self.hash);
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// When the input is too short, or when index or size is above 2^53 − 1.
    pub fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (index, size) = (input.uint()?, input.uint()?);
        if index > MAX_INDEX || size > MAX_INDEX {
            return Err(DecodeError::Invalid { what: "tree node" });
        }
        let hash = input.fixed()?;
        Ok(Self { index, size, hash })
    }

    /// Appends a count (`uint`) and the nodes.
    pub fn encode_list(nodes: &[Self], out: &mut Vec<u8>) {
        put_uint(out, nodes.len() as u64);
        for node in nodes {
            node.encode(out);
        }
    }

    /// Reads what [`encode_list`](Self::encode_list) wrote; nothing is allocated for nodes that are not there.
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_list(input: &mut Reader<'_>) -> Result<Vec<Self>, DecodeError> {
        let count = input.uint()?;
        // the smallest node has 34 bytes
        let room = input.rest().len() / 34;
        if count > room as u64 {
            return Err(DecodeError::OutOfBounds {
                wanted: count.saturating_mul(34),
                left: input.rest().len(),
            });
        }
        (0..count).map(|_| Self::decode(input)).collect()
    }
}

/// Where tree functions look nodes up: the store of one core as of one moment, or a map in a test.
///
/// Any `Fn(u64) -> Result<Option<Node>, E>` is one. The functions that take it answer `E` too, so `E` must hold a
/// [`TreeError`].
pub trait Nodes {
    /// What a failed lookup answers (not: a node that is not there).
    type Error: From<TreeError>;

    /// The node at a flat-tree index; `None` when it is not here.
    ///
    /// # Errors
    /// When the lookup itself fails.
    fn node(&self, index: u64) -> Result<Option<Node>, Self::Error>;

    /// The node at a flat-tree index.
    ///
    /// # Errors
    /// As [`node`](Self::node), and [`MissingNode`](TreeError::MissingNode) when it is not here.
    fn required(&self, index: u64) -> Result<Node, Self::Error> {
        Ok(self.node(index)?.ok_or(TreeError::MissingNode { index })?)
    }

    /// The bytes of all blocks below the node at a flat-tree index, padding included; `None` when the node is not here.
    ///
    /// # Errors
    /// As [`node`](Self::node).
    fn size(&self, index: u64) -> Result<Option<u64>, Self::Error> {
        Ok(self.node(index)?.map(|node| node.size))
    }
}

impl<F, E> Nodes for F
where
    F: Fn(u64) -> Result<Option<Node>, E>,
    E: From<TreeError>,
{
    type Error = E;

    fn node(&self, index: u64) -> Result<Option<Node>, E> {
        self(index)
    }
}
