//! The Hypercore stack in Rust: signed append-only logs, a sorted database and a filesystem on one crash-safe store.
//!
//! This crate only gathers the face of the others: [`Store`] (the block store), [`Corestore`] and [`Hypercore`] (logs), [`Hyperbee`] (a sorted database),
//! [`Hyperdrive`] (files), [`Localdrive`] and [`Mirrordrive`] (folders, and copying between the two), [`net`] (encrypted connections over which all of them replicate).
//!
//! ```
//! use pome::{Corestore, CoreOptions, Hyperbee, Options, Store};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let store = Corestore::open(Store::open(folder.path(), Options::default())?)?;
//! let people = Hyperbee::new(store.get(CoreOptions::name("people")).await?);
//! people.put(b"ada", "1815").await?;
//! assert_eq!(people.get(b"ada").await?.unwrap().value.as_deref(), Some(&b"1815"[..]));
//! store.close().await?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub use pome_bee::{self as bee, Hyperbee};
pub use pome_cores::{self as cores, CoreOptions, Corestore, Durability, Hypercore, Transaction};
pub use pome_drive_fs::{
    self as drive_fs, DriveOptions, Hyperdrive, Localdrive, MirrorOptions, Mirrordrive,
};
pub use pome_encoding::{self as encoding, DiscoveryKey, Key};
pub use pome_net as net;
pub use pome_storage::{self as storage, Options, Store};
