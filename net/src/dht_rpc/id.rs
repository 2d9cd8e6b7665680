//! Places in the keyspace, and how far they are from each other.

use pome_cores::crypto;
use std::{cmp::Ordering, net::SocketAddrV4};

/// A place in the keyspace: a node's, or that of a key or topic.
pub type Id = [u8; 32];

/// The place of a node: the BLAKE2b-256 of its address, so that nobody chooses it.
pub fn node_id(address: SocketAddrV4) -> Id {
    crypto::hash(&[&super::message::encode_address(address)])
}

/// Which of two places is closer to the target.
pub(crate) fn closer(target: &Id, a: &Id, b: &Id) -> Ordering {
    let distance = |id: &Id| std::array::from_fn::<u8, 32, _>(|i| id[i] ^ target[i]);
    distance(a).cmp(&distance(b))
}

/// How many leading bits two places share.
pub(crate) fn shared_bits(a: &Id, b: &Id) -> usize {
    match a.iter().zip(b).position(|(a, b)| a != b) {
        Some(at) => at * 8 + (a[at] ^ b[at]).leading_zeros() as usize,
        None => 256,
    }
}
