//! What can go wrong in a swarm.

use crate::{dht_relay::RelayError, hyperdht};

/// Why a call failed.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The swarm was destroyed.
    #[error("the swarm was destroyed")]
    Destroyed,
    /// The session has left its topic.
    #[error("the session has left its topic: join it again")]
    DiscoveryDestroyed,
    /// A session must look for peers, be found by them, or both.
    #[error("a session on a topic is a client, a server or both, and never neither")]
    NoRole,
    /// The DHT could not listen.
    #[error(transparent)]
    Dht(#[from] hyperdht::Error),
    /// The relay that lends the DHT could not.
    #[error(transparent)]
    Relay(#[from] RelayError),
}

impl Error {
    /// The stable code of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Destroyed => "SWARM_DESTROYED",
            Self::DiscoveryDestroyed => "DISCOVERY_DESTROYED",
            Self::NoRole => "SWARM_NO_ROLE",
            Self::Dht(error) => error.code(),
            Self::Relay(error) => error.code(),
        }
    }
}
