//! Exchanging blocks with peers.
pub mod messages;
