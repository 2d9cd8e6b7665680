//! SKELETON: the agreed face of Hypercore and Corestore. The cores engineers replace the inside and keep the words.
pub mod block_encryption;
pub mod caps;
pub mod crypto;
pub mod manifest;
pub mod merkle;
pub mod multisig;
pub mod replication;
mod skeleton;
mod verifier;
pub use crypto::KeyPair;
pub use manifest::{Manifest, ManifestError, ManifestOptions, Prologue, Signer};
pub use pome_encoding::{DiscoveryKey, Key};
pub use pome_storage::{Batch, Durability, Journal, Seq, Space, Store};
pub use skeleton::*;
pub use verifier::{Verified, Verifier};
