//! What is signed in the HyperDHT, and by what hashes its uses of a key are kept apart.
//!
//! ```text
//! announce   namespace 32 ‖ BLAKE2b(target ‖ id of the node ‖ token ‖ peer ‖ [refresh])        (bump is not signed)
//! mutable    namespace 32 ‖ BLAKE2b(seq uint ‖ value buffer)
//! ```
//! Source: hyperdht 6.34.0, `lib/persistent.js`, `lib/constants.js`. Vectors: `tests/vectors/dht.json`, `signatures`.

use super::messages::{Announce, MutableRecord, MutableSignable, Wire, command};
use crate::dht_rpc::Id;
use pome_cores::{
    KeyPair,
    crypto::{self, Hash, hash, namespace},
};
use std::sync::OnceLock;

/// The namespaces of the HyperDHT.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of hyperdht")]
pub struct Namespaces {
    pub announce: Hash,
    pub unannounce: Hash,
    pub mutable_put: Hash,
    pub peer_handshake: Hash,
    pub peer_holepunch: Hash,
    pub plugin: Hash,
}

/// The namespaces of the HyperDHT: each is `hyperswarm/dht` with the number of a command.
pub fn namespaces() -> &'static Namespaces {
    static NAMESPACES: OnceLock<Namespaces> = OnceLock::new();
    NAMESPACES.get_or_init(|| {
        let of = |command: u64| namespace("hyperswarm/dht", command as u8);
        Namespaces {
            announce: of(command::ANNOUNCE),
            unannounce: of(command::UNANNOUNCE),
            mutable_put: of(command::MUTABLE_PUT),
            peer_handshake: of(command::PEER_HANDSHAKE),
            peer_holepunch: of(command::PEER_HOLEPUNCH),
            plugin: of(command::PLUGIN),
        }
    })
}

/// What an announcement is about: to announce a peer, or to take that back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To announce.
    Announce,
    /// To take it back.
    Unannounce,
}

/// Where an announcement is to be kept: it is good there only, and for as long as the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The topic, or the hash of the peer's key.
    pub target: Id,
    /// The token that the node gave out.
    pub token: [u8; 32],
    /// The id of the node.
    pub node: Id,
}

impl Place {
    fn signable(&self, purpose: Purpose, announce: &Announce) -> Vec<u8> {
        let peer = announce.peer.iter().flat_map(Wire::encode);
        let peer: Vec<u8> = peer.collect();
        let refresh = announce.refresh.as_ref().map_or(&[][..], |r| &r[..]);
        let of = match purpose {
            Purpose::Announce => &namespaces().announce,
            Purpose::Unannounce => &namespaces().unannounce,
        };
        let body = hash(&[&self.target, &self.node, &self.token, &peer, refresh]);
        [&of[..], &body].concat()
    }

    /// Signs an announcement: its peer and its refresh.
    pub fn sign(&self, purpose: Purpose, announce: &Announce, key_pair: &KeyPair) -> [u8; 64] {
        key_pair.sign(&self.signable(purpose, announce))
    }

    /// True when the announcement is signed by the peer in it.
    pub fn verify(&self, purpose: Purpose, announce: &Announce) -> bool {
        let (Some(peer), Some(signature)) = (&announce.peer, &announce.signature) else {
            return false;
        };
        let signable = self.signable(purpose, announce);
        crypto::verify(&signable, signature, &peer.public_key)
    }
}

fn mutable(signable: &MutableSignable) -> Vec<u8> {
    let body = hash(&[&signable.encode()]);
    [&namespaces().mutable_put[..], &body].concat()
}

/// Signs a record that may change.
pub fn sign_mutable(signable: &MutableSignable, key_pair: &KeyPair) -> [u8; 64] {
    key_pair.sign(&mutable(signable))
}

/// True when the record is signed by the owner of the key.
pub fn verify_mutable(record: &MutableRecord, public_key: &[u8; 32]) -> bool {
    crypto::verify(&mutable(&record.signable), &record.signature, public_key)
}
