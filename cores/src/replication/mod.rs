//! Exchanging blocks with peers.

pub mod messages;

pub use messages::Message;

/// The name of the protocol on the muxer; the channel's id is the core's discovery key.
pub const PROTOCOL: &str = "hypercore/alpha";
/// The name that older peers know it by.
pub const PROTOCOL_ALIAS: &str = "hypercore";
