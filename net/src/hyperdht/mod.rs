//! The HyperDHT (npm hyperdht 6.34): peers by topic and by key, signed and hashed values, connections by key.
//!
//! [`HyperDht`] is a node: it asks others, and as a lasting one it answers them. [`HyperDht::listen`] makes a [`Server`] that others reach with
//! [`HyperDht::connect`]; where no straight way leads from one to the other, both may trust a third peer to hand their packets on: [`BlindRelay`], [`RelayChoice`].
//! What others make it keep is bounded: [`RecordLimits`].

mod address;
mod announcer;
mod answering;
mod connect;
mod error;
mod local;
pub mod messages;
mod nat;
mod node;
mod opening;
mod pool;
mod puncher;
mod records;
mod relay_server;
mod relayed;
#[cfg(test)]
mod relayed_tests;
mod router;
mod routes;
mod saved;
pub mod secure;
mod server;
mod service;
pub mod sign;
mod stream;
mod suspend;
mod testnet;
mod trace;

use crate::cache;

pub use address::PeerAddress;
pub use connect::ConnectOptions;
pub use error::Error;
pub use node::{
    AnnounceOptions, BOOTSTRAP, Found, HyperDht, HyperDhtOptions, HyperDhtStats, Lookup,
    MutableValue, Punches, VALUE_MAX,
};
pub use opening::{HolepunchChoice, PunchView};
pub use pool::Pool;
pub use records::RecordLimits;
pub use relay_server::{BlindRelay, RelayOptions};
pub use relayed::{RelayChoice, Relaying};
pub use saved::RecordStore;
pub use server::{Server, ServerFirewall, ServerOptions};
pub use service::answers;
pub use testnet::Testnet;
pub use trace::{ConnectSeen, ConnectStage, ConnectTrace};
