//! SKELETON: the agreed face of Hypercore and Corestore. The cores engineers replace the inside and keep the words.
pub mod block_encryption;
pub mod crypto;
mod skeleton;
pub use crypto::KeyPair;
pub use pome_encoding::{DiscoveryKey, Key};
pub use pome_storage::{Batch, Durability, Journal, Seq, Space, Store};
pub use skeleton::*;
