//! What a swarm tells, and its connections as they open.

use super::{PeerInfo, peer::Key};
use crate::{dht_rpc::Id, driver::Connection};
use parking_lot::Mutex;
use std::{collections::BTreeMap, fmt, sync::Arc};
use tokio::sync::{broadcast, watch};

/// Events that wait for a slow listener; he is told how many he missed.
pub(super) const EVENTS_MAX: usize = 256;

/// Why a peer is banned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BanReason {
    /// [`Hyperswarm::ban`](super::Hyperswarm::ban) said so.
    Application,
    /// The firewall refused it.
    Firewall,
}

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A connection opened: [`Hyperswarm::connection`](super::Hyperswarm::connection) has it.
    Opened {
        /// The peer's key.
        public_key: [u8; 32],
    },
    /// A connection is over.
    Closed {
        /// The peer's key.
        public_key: [u8; 32],
    },
    /// Something changed: what is connected, or being dialled.
    Update,
    /// A peer was banned.
    Banned {
        /// Its key.
        public_key: [u8; 32],
        /// By whom.
        why: BanReason,
    },
    /// A peer was found under one of our topics for the first time.
    Topic {
        /// Its key.
        public_key: [u8; 32],
        /// The topic.
        topic: Id,
    },
    /// So many events are missing here: the listener was too slow.
    Missed(u64),
}

/// Events of a swarm, from the moment of the call on.
#[derive(Debug)]
pub struct Events(pub(super) broadcast::Receiver<Event>);

impl Events {
    /// The next one; `None` when the swarm is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        match self.0.recv().await {
            Ok(event) => Some(event),
            Err(broadcast::error::RecvError::Lagged(count)) => Some(Event::Missed(count)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

/// An open connection.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) connection: Connection,
    pub(super) peer: PeerInfo,
}

#[derive(Default)]
struct Set {
    /// By the order in which they opened.
    by_number: BTreeMap<u64, Open>,
    next: u64,
    over: bool,
}

/// The open connections, which several readers go through each at its own pace.
pub(super) struct OpenSet {
    set: Mutex<Set>,
    changed: watch::Sender<()>,
}

impl OpenSet {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            set: Mutex::default(),
            changed: watch::Sender::new(()),
        })
    }

    /// Adds one; its number takes it out.
    pub(super) fn add(&self, open: Open) -> u64 {
        let mut set = self.set.lock();
        let number = set.next;
        set.next += 1;
        set.by_number.insert(number, open);
        drop(set);
        self.changed.send_replace(());
        number
    }

    pub(super) fn remove(&self, number: u64) -> Option<Open> {
        self.set.lock().by_number.remove(&number)
    }

    pub(super) fn all(&self) -> Vec<Open> {
        self.set.lock().by_number.values().cloned().collect()
    }

    pub(super) fn find(&self, key: &Key) -> Option<Open> {
        let set = self.set.lock();
        set.by_number
            .values()
            .rev()
            .find(|open| open.peer.public_key == *key)
            .cloned()
    }

    pub(super) fn end(&self) {
        let mut set = self.set.lock();
        set.over = true;
        let connections = std::mem::take(&mut set.by_number);
        drop(set);
        drop(connections);
        self.changed.send_replace(());
    }
}

/// The connections of a swarm: those that are open, then each one as it opens. One that ends before it is read is left out, so nothing piles up.
pub struct Connections {
    open: Arc<OpenSet>,
    changed: watch::Receiver<()>,
    /// Below, all were read.
    next: u64,
}

impl Connections {
    pub(super) fn new(open: &Arc<OpenSet>) -> Self {
        Self {
            open: open.clone(),
            changed: open.changed.subscribe(),
            next: 0,
        }
    }

    /// The next one, with what was known about the peer when it opened; `None` when the swarm is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<(Connection, PeerInfo)> {
        loop {
            self.changed.mark_unchanged();
            {
                let set = self.open.set.lock();
                if set.over {
                    return None;
                }
                if let Some((number, open)) = set.by_number.range(self.next..).next() {
                    self.next = number + 1;
                    return Some((open.connection.clone(), open.peer.clone()));
                }
            }
            self.changed.changed().await.ok()?;
        }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}
