//! How a swarm, and a session on a topic, behaves.

use crate::hyperdht::{RelayChoice, messages::NoisePayload};
use pome_cores::KeyPair;
use std::{fmt, sync::Arc, time::Duration};

/// Decides about a peer by its key: true refuses it, and it stays banned. A peer that dials us has said something, too; one that is about to be dialled
/// has not. It is called often, and must not wait.
pub type SwarmFirewall = Arc<dyn Fn(&[u8; 32], Option<&NoisePayload>) -> bool + Send + Sync>;

/// How a swarm behaves.
#[derive(Clone)]
#[non_exhaustive]
pub struct SwarmOptions {
    /// Who we are (default: a new key pair).
    pub key_pair: Option<KeyPair>,
    /// No peer is dialled while there are so many connections (default 64). Peers that were named by [`Hyperswarm::join_peer`](super::Hyperswarm::join_peer)
    /// are dialled all the same, and as from one, two and four of them on, it is a half, a third and a quarter as many.
    pub max_peers: usize,
    /// Connections that we dial (default: no bound of their own).
    pub max_client_connections: usize,
    /// Connections that peers dial (default 1,024; npm has no bound). Who comes beyond is not answered.
    pub max_server_connections: usize,
    /// Connections that are dialled at a time (default 3).
    pub max_parallel: usize,
    /// Which peers are refused (default: none).
    pub firewall: Option<SwarmFirewall>,
    /// Relays that we trust (default: none). One is used where no straight way to a peer was found, and from the start where our own NAT gives out random
    /// ports; a straight way that is found later takes over.
    pub relay_through: RelayChoice,
    /// The relay is used for all connections from the start: they open sooner (default false).
    pub relay_always: bool,
    /// How long a peer that was lost or not reached waits until it is dialled again: the first for one that was reached, the others the
    /// more often it failed, the last for peers that were named (default: a second, 5 s, 15 s
    /// and 10 min, each with some chance added).
    pub backoffs: Option<[Duration; 4]>,
    /// What chance adds to each of them at most (default 500 ms).
    pub jitter: Duration,
}

impl Default for SwarmOptions {
    fn default() -> Self {
        Self {
            key_pair: None,
            max_peers: 64,
            max_client_connections: usize::MAX,
            max_server_connections: 1_024,
            max_parallel: 3,
            firewall: None,
            relay_through: RelayChoice::default(),
            relay_always: false,
            backoffs: None,
            jitter: Duration::from_millis(500),
        }
    }
}

impl fmt::Debug for SwarmOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SwarmOptions")
            .field("max_peers", &self.max_peers)
            .finish_non_exhaustive()
    }
}

/// How to join a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinOptions {
    /// Look for peers, and dial them (default true).
    pub client: bool,
    /// Be found by peers (default true).
    pub server: bool,
    /// Dial no more than so many new peers of this topic in a round (default: all).
    pub limit: Option<usize>,
}

impl Default for JoinOptions {
    fn default() -> Self {
        Self {
            client: true,
            server: true,
            limit: None,
        }
    }
}

impl JoinOptions {
    /// Look for peers, and do not be found.
    pub fn client() -> Self {
        Self {
            server: false,
            ..Self::default()
        }
    }

    /// Be found, and do not look for peers.
    pub fn server() -> Self {
        Self {
            client: false,
            ..Self::default()
        }
    }
}
