//! The HyperDHT (npm hyperdht 6.34): peers by topic and by key, signed and hashed values, connections by key.
//!
//! [`HyperDht`] is a node: it asks others, and as a lasting one it answers them. [`HyperDht::listen`] makes a [`Server`] that others reach with
//! [`HyperDht::connect`]. What others make it keep is bounded: [`RecordLimits`].

mod announcer;
mod cache;
mod connect;
mod error;
mod local;
pub mod messages;
mod nat;
mod node;
mod puncher;
mod records;
mod router;
pub mod secure;
mod server;
mod service;
pub mod sign;
mod stream;

pub use connect::ConnectOptions;
pub use error::Error;
pub use node::{
    AnnounceOptions, BOOTSTRAP, Found, HyperDht, HyperDhtOptions, Lookup, MutableValue, VALUE_MAX,
};
pub use records::RecordLimits;
pub use server::{Server, ServerFirewall, ServerOptions};
