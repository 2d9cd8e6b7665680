//! Who is dialled when, which of two connections to one peer stays, and what is remembered of peers: a state machine without a clock or a socket.
//! Source: hyperswarm 4.17.2, `index.js`.
//!
//! ```text
//!   found under a topic, or named ─▶ queue ─▶ dialled ─┬─▶ open ─▶ lost ─┐
//!                                      ▲               └──── failed ─────┤
//!                                      └──────────────── waits ◀─────────┘
//! ```
//!
//! What strangers can make it keep: [`QUEUE_MAX`] peers that wait to be dialled, [`WAITING_MAX`](super::retry::WAITING_MAX) that are tried again later,
//! [`BANNED_MAX`] that the firewall refused, and the connections that the limits allow; all of some hundred bytes.

use super::{
    Event, SwarmStats,
    events::BanReason,
    peer::{Key, Peer, PeerInfo},
    queue::Queue,
    retry::Retries,
    types::{Action, Limits, LinkId},
};
use crate::dht_rpc::Id;
use rand::{SeedableRng, rngs::StdRng};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    net::SocketAddrV4,
    time::Duration,
};

/// Peers that wait to be dialled. One that is found beyond takes the place of any of those with the lowest priority: who fills the queue with names can
/// delay others, and keeps nobody out for good.
pub(super) const QUEUE_MAX: usize = 1_024;
/// Peers that the firewall refused and that are remembered, so that it need not be asked again.
pub(super) const BANNED_MAX: usize = 1_024;
/// A peer that was named and cannot be reached is dialled by its wait alone after so many attempts.
const EXPLICIT_ATTEMPTS: u32 = 5;

/// A peer cannot have lost a connection and dialled again in less: what it dials within that time it dialled at the same time as we did.
pub(super) const FRESH: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Link {
    id: LinkId,
    client: bool,
    opened: bool,
    /// When one that we dialled opened.
    opened_at: Option<Duration>,
    /// Flushes of this tick or later wait for it.
    tick: u64,
}

#[derive(Debug)]
pub(super) struct Machine {
    own: Key,
    limits: Limits,
    rng: StdRng,
    peers: HashMap<Key, Peer>,
    links: HashMap<Key, Link>,
    by_id: HashMap<LinkId, Key>,
    next_link: LinkId,
    queue: Queue,
    retries: Retries,
    /// Those that were named, in this order.
    explicit: Vec<Key>,
    /// Those that the firewall refused, the first one first.
    refused: VecDeque<Key>,
    topics: HashSet<Id>,
    connecting: usize,
    clients: usize,
    servers: usize,
    flush_tick: u64,
    flushes: Vec<u64>,
    suspended: bool,
    destroyed: bool,
    stats: SwarmStats,
    actions: VecDeque<Action>,
}

impl Machine {
    pub(super) fn new(
        own: Key,
        limits: Limits,
        backoffs: Option<[Duration; 4]>,
        jitter: Duration,
        seed: [u8; 32],
    ) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let retries = Retries::new(backoffs, jitter, &mut rng);
        Self {
            own,
            limits,
            rng,
            peers: HashMap::new(),
            links: HashMap::new(),
            by_id: HashMap::new(),
            next_link: 0,
            queue: Queue::default(),
            retries,
            explicit: Vec::new(),
            refused: VecDeque::new(),
            topics: HashSet::new(),
            connecting: 0,
            clients: 0,
            servers: 0,
            flush_tick: 0,
            flushes: Vec::new(),
            suspended: false,
            destroyed: false,
            stats: SwarmStats::default(),
            actions: VecDeque::new(),
        }
    }

    pub(super) fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub(super) fn stats(&self) -> SwarmStats {
        self.stats
    }

    pub(super) fn connecting(&self) -> usize {
        self.connecting
    }

    pub(super) fn is_destroyed(&self) -> bool {
        self.destroyed
    }

    pub(super) fn is_suspended(&self) -> bool {
        self.suspended
    }

    pub(super) fn peer(&self, key: &Key) -> Option<PeerInfo> {
        self.peers.get(key).map(|peer| peer.info(key))
    }

    pub(super) fn peers(&self) -> Vec<PeerInfo> {
        self.peers
            .iter()
            .map(|(key, peer)| peer.info(key))
            .collect()
    }

    pub(super) fn explicit(&self) -> &[Key] {
        &self.explicit
    }

    /// There is a connection, or one is being made.
    pub(super) fn is_linked(&self, key: &Key) -> bool {
        self.links.contains_key(key)
    }

    /// The open connection to a peer.
    pub(super) fn open_link(&self, key: &Key) -> Option<LinkId> {
        self.links
            .get(key)
            .filter(|link| link.opened)
            .map(|link| link.id)
    }

    fn tell(&mut self, event: Event) {
        self.actions.push_back(Action::Tell(event));
    }

    fn update(&mut self) {
        self.stats.updates += 1;
        self.tell(Event::Update);
    }

    // What the application wants.

    pub(super) fn join(&mut self, topic: Id) {
        self.topics.insert(topic);
    }

    /// Peers that are connected stay so; those that wait to be dialled for this topic alone are not dialled.
    pub(super) fn leave(&mut self, topic: &Id) {
        if self.topics.remove(topic) {
            for peer in self.peers.values_mut() {
                peer.topics.retain(|other| other != topic);
            }
        }
    }

    pub(super) fn join_peer(&mut self, key: Key, now: Duration) {
        if key == self.own || self.destroyed {
            return;
        }
        let peer = self.peers.entry(key).or_insert_with(Peer::new);
        if !peer.explicit {
            peer.explicit = true;
            self.explicit.push(key);
        }
        if !self.links.contains_key(&key) {
            self.enqueue(key);
        }
        self.pump(now);
    }

    pub(super) fn leave_peer(&mut self, key: &Key) {
        if let Some(peer) = self.peers.get_mut(key) {
            peer.explicit = false;
            self.explicit.retain(|other| other != key);
            self.forget(key);
        }
    }

    /// A ban drops the connection to the peer.
    pub(super) fn ban(&mut self, key: Key, banned: bool, now: Duration) {
        if key == self.own {
            return;
        }
        if !banned {
            if let Some(peer) = self.peers.get_mut(&key) {
                peer.banned = false;
                self.refused.retain(|other| *other != key);
                self.forget(&key);
            }
            return;
        }
        let peer = self.peers.entry(key).or_insert_with(Peer::new);
        if !peer.banned {
            peer.banned = true;
            self.banned(key, BanReason::Application);
        }
        // It is no stranger any more, whom room is made for.
        self.refused.retain(|other| *other != key);
        if let Some(link) = self.links.get(&key).map(|link| link.id) {
            self.actions.push_back(Action::Drop { link });
            self.end(link, now);
            self.pump(now);
        }
    }

    /// False: the peer is not dialled again when its connection breaks.
    pub(super) fn set_reconnecting(&mut self, key: &Key, reconnecting: bool) {
        if let Some(peer) = self.peers.get_mut(key) {
            peer.reconnecting = reconnecting;
        }
    }

    fn banned(&mut self, public_key: Key, why: BanReason) {
        self.stats.banned_peers += 1;
        self.tell(Event::Banned { public_key, why });
    }

    // What the network brings.

    /// A lookup of a topic found a peer.
    pub(super) fn found(&mut self, key: Key, relays: &[SocketAddrV4], topic: Id, now: Duration) {
        if key == self.own || self.suspended || self.destroyed || !self.topics.contains(&topic) {
            return;
        }
        let peer = self.peers.entry(key).or_insert_with(Peer::new);
        peer.set_relays(relays);
        if !peer.topics.contains(&topic) {
            peer.topics.push(topic);
            self.actions.push_back(Action::Tell(Event::Topic {
                public_key: key,
                topic,
            }));
        }
        if self.links.contains_key(&key) {
            return;
        }
        if peer.priority < super::Priority::Normal || !peer.client {
            peer.reset();
        }
        self.enqueue(key);
        self.forget(&key);
        self.pump(now);
    }

    /// A connection that was dialled is open. False: nobody wants it any more.
    pub(super) fn opened(&mut self, id: LinkId, now: Duration) -> bool {
        let Some(key) = self.by_id.get(&id).copied() else {
            return false;
        };
        let (Some(link), Some(peer)) = (self.links.get_mut(&key), self.peers.get_mut(&key)) else {
            return false;
        };
        link.opened = true;
        link.opened_at = Some(now);
        self.connecting -= 1;
        self.stats.client.opened += 1;
        peer.connected(now);
        peer.client = true;
        self.tell(Event::Opened { public_key: key });
        self.update();
        self.pump(now);
        true
    }

    /// A connection that was dialled did not open. With `relay` the next attempt goes through a relay.
    pub(super) fn failed(&mut self, id: LinkId, relay: bool, now: Duration) {
        let peer = self.by_id.get(&id).and_then(|key| self.peers.get_mut(key));
        if let Some(peer) = peer.filter(|_| relay) {
            peer.force_relaying = true;
            // The relay is tried soon.
            peer.attempts = 0;
        }
        self.closed(id, now);
    }

    /// The firewall refuses a peer that was about to be dialled.
    pub(super) fn refused(&mut self, id: LinkId, now: Duration) {
        let Some(key) = self.by_id.remove(&id) else {
            return;
        };
        self.links.remove(&key);
        self.connecting -= 1;
        self.clients -= 1;
        self.stats.client.attempted -= 1;
        self.firewalled(key);
        self.pump(now);
    }

    /// The firewall refuses a peer.
    pub(super) fn firewalled(&mut self, key: Key) {
        if key == self.own {
            return;
        }
        let peer = self.peers.entry(key).or_insert_with(Peer::new);
        if peer.banned {
            return;
        }
        peer.banned = true;
        self.banned(key, BanReason::Firewall);
        self.refused.push_back(key);
        if self.refused.len() > BANNED_MAX
            && let Some(oldest) = self.refused.pop_front()
            && let Some(peer) = self.peers.get_mut(&oldest)
        {
            peer.banned = false;
            self.forget(&oldest);
        }
    }

    /// May this stranger dial us? Asked before anything is kept of him.
    pub(super) fn may_come(&self, key: &Key) -> bool {
        *key != self.own
            && !self.destroyed
            && !self.suspended
            && !self.peers.get(key).is_some_and(|peer| peer.banned)
            && (self.servers < self.limits.servers || self.links.contains_key(key))
    }

    /// A peer dialled us: its name, or `None` when it is not wanted.
    pub(super) fn incoming(&mut self, key: Key, now: Duration) -> Option<LinkId> {
        if !self.may_come(&key) {
            return None;
        }
        if let Some(existing) = self.links.get(&key) {
            // Both dial at once, and both keep the connection that the one with the higher key dialled. Or ours has moved bytes both ways for a while: the
            // peer dials because it has lost it. Npm knows no while, and may end with none of the two.
            let is_fresh = |at: Duration| now.saturating_sub(at) < FRESH;
            let is_old = existing.opened && !existing.opened_at.is_some_and(is_fresh);
            let keeps_new = is_old || self.own < key;
            if !keeps_new {
                return None;
            }
            let link = existing.id;
            self.actions.push_back(match existing.opened {
                true => Action::Drop { link },
                false => Action::Forsake { link },
            });
            self.end(link, now);
        }
        let peer = self.peers.entry(key).or_insert_with(Peer::new);
        peer.client = false;
        self.servers += 1;
        self.stats.server.opened += 1;
        let id = self.link(key, false, self.flush_tick);
        self.tell(Event::Opened { public_key: key });
        self.update();
        self.pump(now);
        Some(id)
    }

    /// A connection is over.
    pub(super) fn closed(&mut self, id: LinkId, now: Duration) {
        self.end(id, now);
        self.pump(now);
    }

    fn link(&mut self, key: Key, client: bool, tick: u64) -> LinkId {
        let id = self.next_link;
        self.next_link += 1;
        let link = Link {
            id,
            client,
            opened: !client,
            opened_at: None,
            tick,
        };
        self.links.insert(key, link);
        self.by_id.insert(id, key);
        id
    }

    fn end(&mut self, id: LinkId, now: Duration) {
        let Some(key) = self.by_id.remove(&id) else {
            return;
        };
        let (Some(link), Some(peer)) = (self.links.remove(&key), self.peers.get_mut(&key)) else {
            return;
        };
        let mut again = !self.suspended && !self.destroyed && peer.is_wanted();
        if link.client {
            self.clients -= 1;
            self.stats.client.closed += 1;
            if !link.opened {
                self.connecting -= 1;
            }
            peer.disconnected(now);
        } else {
            self.servers -= 1;
            self.stats.server.closed += 1;
            again &= std::mem::take(&mut peer.owed);
        }
        if again {
            peer.waiting = self.retries.add(key, peer, now, &mut self.rng);
        }
        self.forget(&key);
        if link.opened {
            self.tell(Event::Closed { public_key: key });
        }
        self.update();
    }

    // What time brings.

    /// Nothing happens by itself before.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.retries.next().filter(|_| !self.suspended)
    }

    pub(super) fn tick(&mut self, now: Duration) {
        if self.suspended {
            return;
        }
        while let Some(key) = self.retries.pop(now) {
            let Some(peer) = self.peers.get_mut(&key) else {
                continue;
            };
            peer.waiting = false;
            match self.links.get(&key) {
                None => self.enqueue(key),
                // It dialled us meanwhile. Should that not last, nobody else may dial.
                Some(link) => peer.owed = !link.client && peer.is_wanted(),
            }
            self.forget(&key);
        }
        self.pump(now);
    }

    fn enqueue(&mut self, key: Key) {
        let Some(peer) = self.peers.get_mut(&key) else {
            return;
        };
        if !peer.update_priority() {
            return;
        }
        let (priority, explicit) = (peer.priority, peer.explicit);
        if self.queue.len() >= QUEUE_MAX && !explicit {
            let peers = &self.peers;
            let may_go = |key: &Key| !peers.get(key).is_some_and(|peer| peer.explicit);
            let Some(gone) = self.queue.evict(&mut self.rng, may_go) else {
                return;
            };
            self.unqueued(&gone);
        }
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.queued = true;
            peer.flush_tick = self.flush_tick;
            self.queue.push(key, priority, &mut self.rng);
        }
    }

    fn unqueued(&mut self, key: &Key) {
        if let Some(peer) = self.peers.get_mut(key) {
            peer.queued = false;
        }
        self.forget(key);
    }

    /// Drops what needs not be remembered.
    fn forget(&mut self, key: &Key) {
        let idle = self.peers.get(key).is_some_and(Peer::is_idle);
        if idle && !self.links.contains_key(key) {
            self.peers.remove(key);
        }
    }

    fn is_within_peers(&self) -> bool {
        // Those that were named may take more of the room.
        let factor = match self.explicit.len() {
            0 => 1,
            1 => 2,
            2 | 3 => 3,
            _ => 4,
        };
        factor * self.links.len() < self.limits.peers
    }

    fn may_dial(&self) -> bool {
        !self.destroyed && !self.suspended && self.connecting < self.limits.parallel
    }

    fn has_room(&self) -> bool {
        self.is_within_peers() && self.clients < self.limits.clients
    }

    /// Dials as many as may be.
    fn pump(&mut self, now: Duration) {
        for at in 0..self.explicit.len() {
            if !self.may_dial() {
                break;
            }
            let key = self.explicit[at];
            let Some(peer) = self.peers.get(&key) else {
                continue;
            };
            let patience = Duration::from_secs(peer.attempts.into());
            let too_soon = |at: Duration| now.saturating_sub(at) < patience;
            if peer.attempts < EXPLICIT_ATTEMPTS && !peer.disconnected_at.is_some_and(too_soon) {
                self.dial(key, self.flush_tick);
            }
        }
        while self.may_dial() && self.has_room() {
            let Some(key) = self.queue.pop() else {
                break;
            };
            if let Some(peer) = self.peers.get_mut(&key).filter(|peer| peer.is_wanted()) {
                peer.queued = false;
                let tick = peer.flush_tick;
                self.dial(key, tick);
            }
            self.unqueued(&key);
        }
        self.settle_flushes();
    }

    /// `tick`: flushes of this one or later wait for it.
    fn dial(&mut self, key: Key, tick: u64) {
        if self.links.contains_key(&key) {
            return;
        }
        let Some(peer) = self.peers.get_mut(&key).filter(|peer| !peer.banned) else {
            return;
        };
        peer.tried = true;
        let relay_addresses = peer.relay_addresses.clone();
        let force_relaying = peer.force_relaying;
        self.connecting += 1;
        self.clients += 1;
        self.stats.client.attempted += 1;
        let link = self.link(key, true, tick);
        self.actions.push_back(Action::Connect {
            link,
            key,
            relay_addresses,
            force_relaying,
        });
        self.update();
    }

    // Waiting until all that is known was tried.

    /// `None`: there is nothing to wait for.
    pub(super) fn flush(&mut self) -> Option<u64> {
        let flush = self.flush_tick;
        self.flush_tick += 1;
        if self.is_flushed(flush) {
            return None;
        }
        self.flushes.push(flush);
        Some(flush)
    }

    /// All that was known when it began was dialled, or nobody can be dialled.
    fn is_flushed(&self, flush: u64) -> bool {
        if self.connecting == 0 && !self.has_room() {
            return true;
        }
        let waits = |key: &Key| {
            let peer = self.peers.get(key);
            peer.is_some_and(|peer| peer.flush_tick <= flush)
        };
        self.links
            .values()
            .all(|link| link.opened || link.tick > flush)
            && !self.queue.iter().any(waits)
    }

    fn settle_flushes(&mut self) {
        let (over, waiting) = std::mem::take(&mut self.flushes)
            .into_iter()
            .partition(|flush| self.is_flushed(*flush));
        self.flushes = waiting;
        self.end_flushes(over, true);
    }

    fn end_flushes(&mut self, flushes: Vec<u64>, all: bool) {
        for flush in flushes {
            self.actions.push_back(Action::Flushed { flush, all });
        }
    }

    // The end, or a pause.

    /// Forgets who waits, and drops all connections.
    pub(super) fn drop_all(&mut self, now: Duration) {
        for key in self.queue.take() {
            self.unqueued(&key);
        }
        self.retries.clear();
        let waiting: Vec<Key> = self.peers.keys().copied().collect();
        for key in waiting {
            if let Some(peer) = self.peers.get_mut(&key) {
                peer.waiting = false;
            }
            self.forget(&key);
        }
        let mut links: Vec<LinkId> = self.links.values().map(|link| link.id).collect();
        links.sort_unstable();
        for link in links {
            self.actions.push_back(Action::Drop { link });
            self.end(link, now);
        }
    }

    pub(super) fn suspend(&mut self, now: Duration) {
        if !self.suspended && !self.destroyed {
            self.suspended = true;
            self.drop_all(now);
            self.settle_flushes();
        }
    }

    pub(super) fn resume(&mut self, now: Duration) {
        if !self.suspended || self.destroyed {
            return;
        }
        self.suspended = false;
        for at in 0..self.explicit.len() {
            let key = self.explicit[at];
            // That the connection was dropped says nothing about the peer.
            if let Some(peer) = self.peers.get_mut(&key) {
                peer.attempts = 0;
            }
            self.enqueue(key);
        }
        self.pump(now);
    }

    /// Nobody is dialled or let in from now on; what is open stays until [`drop_all`](Self::drop_all).
    pub(super) fn destroy(&mut self) {
        self.destroyed = true;
        let flushes = std::mem::take(&mut self.flushes);
        self.end_flushes(flushes, false);
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> (usize, usize, usize) {
        (self.peers.len(), self.queue.len(), self.retries.len())
    }
}
