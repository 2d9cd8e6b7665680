//! Exchanging blocks with peers: the Hypercore replication protocol as a state machine.
//!
//! Start at [`Connection`]: it carries all cores of a store over one stream. Nothing here does network I/O or reads a clock.
//!
//! What is promised: nothing is believed that the Merkle tree and the signature do not prove; no length, block or signature is shown to a
//! peer before it is on disk here; a peer's memory is bounded, whatever it sends (see [`Connection`]). Source of the protocol: hypercore
//! 11.37.1, `lib/replicator.js`.

mod apply;
mod beside;
mod bits;
mod connection;
mod download;
mod events;
mod face;
mod fork;
mod lossy;
mod machine;
pub mod messages;
mod numbers;
mod peer;
mod promised;
mod ready;
mod restore;
mod shared;
mod stats;
mod tally;
mod tell;
mod tuning;
mod upload;
mod wants;

pub use beside::Worker;
pub use connection::{Connection, ConnectionOptions, Output};
pub use events::{CoreEvent, PeerId};
pub(crate) use face::Demand;
pub use face::{Download, Extension, ExtensionSender, FindingPeers, PeerInfo};
pub use messages::Message;
pub(crate) use ready::Ready;
pub(crate) use shared::{Note, Shared};
pub use stats::{ReplicationStats, Traffic};
pub use tally::{Tally, Transferred};

/// The name of the protocol on the muxer; the channel's id is the core's discovery key.
pub const PROTOCOL: &str = "hypercore/alpha";
/// The name that older peers know it by.
pub const PROTOCOL_ALIAS: &str = "hypercore";
