//! What is known about a peer, and how much it is worth dialling. Source: hyperswarm 4.17.2, `lib/peer-info.js`.

use crate::dht_rpc::Id;
use std::{net::SocketAddrV4, time::Duration};

/// The public key of a peer.
pub(super) type Key = [u8; 32];

/// A connection that lived so long was a good one.
const GOOD: Duration = Duration::from_secs(15);
/// Nodes that may know a peer: a DHT node tells of no more.
const RELAYS_MAX: usize = 3;

/// How soon a peer is dialled, compared with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// It was tried and never reached, or failed more than three times.
    VeryLow,
    /// It failed three times.
    Low,
    /// It was found, and not tried yet.
    Normal,
    /// It failed twice.
    High,
    /// The connection to it broke once: it is likely to be there.
    VeryHigh,
}

pub(super) const PRIORITIES: usize = 5;

/// What a swarm knows about a peer, as it was when it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerInfo {
    /// Its key.
    pub public_key: [u8; 32],
    /// Nodes of the DHT that may know it.
    pub relay_addresses: Vec<SocketAddrV4>,
    /// Those of our topics that it was found under.
    pub topics: Vec<Id>,
    /// How soon it is dialled.
    pub priority: Priority,
    /// Connections that failed or broke since the last good one (which lived for 15 s).
    pub attempts: u32,
    /// We dialled; false: it did, or there was no connection yet.
    pub client: bool,
    /// It is not dialled, and not let in.
    pub banned: bool,
    /// It was named by [`Hyperswarm::join_peer`](super::Hyperswarm::join_peer).
    pub explicit: bool,
    /// It is dialled again when the connection breaks (the default).
    pub reconnecting: bool,
    /// We reached it once since it was found.
    pub proven: bool,
    /// No direct way to it was found: it is reached through a relay from now on.
    pub force_relaying: bool,
}

impl PeerInfo {
    /// True when it is worth as much as one that was just found, or more.
    pub fn is_prioritized(&self) -> bool {
        self.priority >= Priority::Normal
    }

    /// True unless we dialled it.
    pub fn server(&self) -> bool {
        !self.client
    }
}

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) relay_addresses: Vec<SocketAddrV4>,
    pub(super) topics: Vec<Id>,
    pub(super) priority: Priority,
    pub(super) attempts: u32,
    pub(super) client: bool,
    pub(super) banned: bool,
    pub(super) explicit: bool,
    pub(super) reconnecting: bool,
    pub(super) proven: bool,
    /// We dialled it since it was found.
    pub(super) tried: bool,
    pub(super) force_relaying: bool,
    /// It is in the queue.
    pub(super) queued: bool,
    /// It is tried again later.
    pub(super) waiting: bool,
    /// It was to be tried again while it had dialled us; so it is when that connection ends.
    pub(super) owed: bool,
    connected_at: Option<Duration>,
    pub(super) disconnected_at: Option<Duration>,
    /// Which flushes wait for it, when it is in the queue.
    pub(super) flush_tick: u64,
}

impl Peer {
    pub(super) fn new() -> Self {
        Self {
            relay_addresses: Vec::new(),
            topics: Vec::new(),
            priority: Priority::Normal,
            attempts: 0,
            client: false,
            banned: false,
            explicit: false,
            reconnecting: true,
            proven: false,
            tried: false,
            force_relaying: false,
            queued: false,
            waiting: false,
            owed: false,
            connected_at: None,
            disconnected_at: None,
            flush_tick: 0,
        }
    }

    pub(super) fn info(&self, key: &Key) -> PeerInfo {
        PeerInfo {
            public_key: *key,
            relay_addresses: self.relay_addresses.clone(),
            topics: self.topics.clone(),
            priority: self.priority,
            attempts: self.attempts,
            client: self.client,
            banned: self.banned,
            explicit: self.explicit,
            reconnecting: self.reconnecting,
            proven: self.proven,
            force_relaying: self.force_relaying,
        }
    }

    /// Newer addresses are better ones; none say nothing.
    pub(super) fn set_relays(&mut self, relays: &[SocketAddrV4]) {
        if !relays.is_empty() {
            self.relay_addresses = relays.iter().copied().take(RELAYS_MAX).collect();
        }
    }

    pub(super) fn connected(&mut self, now: Duration) {
        self.proven = true;
        self.connected_at = Some(now);
    }

    pub(super) fn disconnected(&mut self, now: Duration) {
        self.disconnected_at = Some(now);
        if let Some(since) = self.connected_at.take()
            && now.saturating_sub(since) >= GOOD
        {
            self.attempts = 0;
        }
        self.attempts += 1;
    }

    /// It was found again: it may be another process by now.
    pub(super) fn reset(&mut self) {
        self.client = false;
        self.proven = false;
        self.tried = false;
        self.attempts = 0;
    }

    /// False when it is not to be dialled.
    pub(super) fn update_priority(&mut self) -> bool {
        if self.explicit && self.attempts > 3 {
            self.attempts = 3;
        }
        if self.banned || self.queued || self.attempts > 3 {
            return false;
        }
        self.priority = match self.attempts {
            _ if self.tried && !self.proven => Priority::VeryLow,
            0 => Priority::Normal,
            1 => Priority::VeryHigh,
            2 => Priority::High,
            _ => Priority::Low,
        };
        true
    }

    /// Nothing about it needs to be remembered, unless there is a connection.
    pub(super) fn is_idle(&self) -> bool {
        !(self.banned || self.queued || self.explicit || self.waiting)
    }

    /// Somebody here wants to be connected to it.
    pub(super) fn is_wanted(&self) -> bool {
        self.explicit || !self.topics.is_empty()
    }
}
