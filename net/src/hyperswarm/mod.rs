//! Hyperswarm (npm hyperswarm 4.17): finds the peers of a topic, and keeps connections to them.
//!
//! [`Hyperswarm::join`] announces us under a topic and looks for others; [`Hyperswarm::connections`] hands out each connection as it opens, whoever dialled. There is
//! one connection to a peer, whatever number of topics both have in common; [`crate::driver::Connection::replicate`] exchanges cores over it.
//!
//! Who is dialled when, and what is remembered of strangers, is decided by a state machine without a clock; what they can make it keep is bounded, see
//! `docs/dht.md`.

mod dht;
mod error;
mod events;
mod machine;
mod options;
mod peer;
mod plan;
mod queue;
mod retry;
mod run;
mod swarm;
mod topic;
mod types;

pub use dht::SwarmDht;
pub use error::Error;
pub use events::{BanReason, Connections, Event, Events};
pub use options::{JoinOptions, SwarmFirewall, SwarmOptions};
pub use peer::{PeerInfo, Priority};
pub use swarm::{Hyperswarm, TopicInfo};
pub use topic::Discovery;
pub use types::{SideStats, SwarmStats};

#[cfg(test)]
mod tests;
