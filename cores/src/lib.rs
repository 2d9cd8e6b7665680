//! Hypercore and Corestore on the block store of pome: append-only signed logs, byte for byte those of the npm modules.
//!
//! Start at [`Corestore`]: it opens a [`Store`] and gives out [`Hypercore`]s by name or key. Several changes commit together in a
//! [`Transaction`]; state that is no core lives in [`Local`] keyspaces of the same store. [`replication`] exchanges cores with peers, and [`room`] bounds what
//! comes from there.
//!
//! What is promised: an append is all there or not at all, also across cores; what was answered survives the end of the process, and a power
//! cut where it was asked for ([`Durability`]); what is read back is what was written. What is not: that a block is on disk when a plain
//! `append` returns.
#![forbid(unsafe_code)]

mod audit;
pub mod block_encryption;
mod branch;
pub mod caps;
mod change;
mod core;
mod corestore;
pub mod crypto;
mod error;
mod hypercore;
mod import;
mod layout;
mod local;
pub mod manifest;
mod marks;
pub mod merkle;
pub mod multisig;
mod npm;
mod options;
mod registry;
mod repair;
pub mod replication;
pub mod room;
mod session;
mod sizes;
mod snapshot;
mod static_core;
mod streams;
mod suspend;
mod transaction;
mod typed;
mod verifier;
mod watch;

pub use audit::{Audit, AuditProgress, Problem};
pub use branch::{BranchOptions, CommitOptions};
pub use corestore::Corestore;
pub use crypto::KeyPair;
pub use error::Error;
pub use hypercore::Hypercore;
pub use import::Import;
pub use local::Local;
pub use manifest::{Manifest, ManifestError, ManifestOptions, Prologue, Signer};
pub use npm::{NpmChange, NpmMoment, NpmRows, NpmStorage};
pub use options::{
    Appended, BlockCipher, CoreAuth, CoreInfo, CoreOptions, CorestoreOptions, GetOptions,
    MAX_BLOCK_SIZE, OnWait, SessionOptions,
};
pub use pome_encoding::{DiscoveryKey, Key};
pub use pome_storage::{Batch, Durability, Journal, Part, Seq, Space, SpaceUsage, Store};
pub use repair::{CoreRepair, Left, Repaired};
pub use streams::{ByteStreamOptions, ReadStreamOptions};
pub use transaction::Transaction;
pub use typed::TypedCore;
pub use verifier::{Verified, Verifier};
pub use watch::StoreFindingPeers;
