//! The Merkle tree of a core: appending, truncating, finding bytes, proving to a peer and believing a peer.
//!
//! Nothing here does I/O: nodes are looked up through [`Nodes`], and a change comes back as a [`MerkleBatch`] whose nodes
//! the caller stores. What a proof brings is believed only together with a signature over the roots, or where it leads up
//! to a node that is already here.
//!
//! Source: hypercore 11.37.1, `lib/merkle-tree.js`. Vectors: `tests/vectors/core.json`.

mod batch;
mod error;
pub mod flat_tree;
mod node;
mod proof;
mod reorg;
mod tree;
mod verify;

pub use batch::{MerkleBatch, RemovedNodes};
pub use error::TreeError;
pub use node::{Node, Nodes};
pub(crate) use proof::upgrade_indexes;
pub use proof::{
    BlockProof, HashProof, NodeRequest, Proof, ProofRequest, SeekProof, SeekRequest, UpgradeProof,
    UpgradeRequest,
};
pub use reorg::{Reorg, Want};
pub use tree::{Seek, Tree};
pub(crate) use verify::verify_below;
