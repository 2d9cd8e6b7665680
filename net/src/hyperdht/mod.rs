//! The HyperDHT (npm hyperdht 6.34): peers by topic and by key, signed and hashed values.
//!
//! [`HyperDht`] is a node: it asks others, and as a lasting one it answers them. What others make it keep is bounded: [`RecordLimits`].

mod cache;
mod error;
pub mod messages;
mod node;
mod records;
mod router;
mod service;
pub mod sign;

pub use error::Error;
pub use node::{
    AnnounceOptions, BOOTSTRAP, Found, HyperDht, HyperDhtOptions, Lookup, MutableValue, VALUE_MAX,
};
pub use records::RecordLimits;
