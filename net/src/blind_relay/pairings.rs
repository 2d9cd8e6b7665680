//! Who waits for whom: the relay as a state machine, without streams and connections.

use super::messages::{PAIR, Pair, Token, UNPAIR, Unpair};
use pome_encoding::DecodeError;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

/// How much a relay does for others.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Limits {
    /// Connections of peers at a time (default 1,024).
    pub sessions: usize,
    /// Pairs of one peer, by its key, those that wait among them (default 64).
    pub pairs_of_peer: usize,
    /// Sides of pairs in all, those that wait among them (default 4,096).
    pub pairs: usize,
    /// How long a peer may wait for the other side, and a connection may be of no use (default 60 s).
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 1_024,
            pairs_of_peer: 64,
            pairs: 4_096,
            patience: Duration::from_secs(60),
        }
    }
}

/// A connection of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(u64);

/// Two streams that are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(u64);

/// One side of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// Who asked for it.
    pub session: SessionId,
    /// Its stream.
    pub stream: u32,
}

/// What the relay is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Make two streams, join them, and tell each side of its own with a [`Pair`]. When one closes: [`Pairings::unlinked`].
    Link {
        /// Names it.
        link: LinkId,
        /// What both sides know.
        token: Token,
        /// The one that said that it is the initiator.
        initiator: End,
        /// The other one.
        responder: End,
    },
    /// Destroy these two.
    Unlink(LinkId),
    /// Close the channel of this session, which is gone here.
    Close(SessionId),
}

/// What a relay counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections now.
    pub sessions: usize,
    /// Sides that wait for the other now.
    pub waiting: usize,
    /// Links now.
    pub links: usize,
    /// Sides that ever asked.
    pub requested: u64,
    /// Links that were ever made.
    pub matched: u64,
    /// Sides that gave up, or waited for too long, or were too many.
    pub cancelled: u64,
}

struct Session {
    peer: [u8; 32],
    waiting: HashSet<Token>,
    links: HashMap<Token, LinkId>,
    /// Since when there was nothing of both.
    idle_since: Duration,
}

struct Waiting {
    is_initiator: bool,
    end: End,
    since: Duration,
}

struct Link {
    token: Token,
    sessions: [SessionId; 2],
}

/// The pairs of one relay. Fed with messages and a clock; times are durations since any fixed moment.
///
/// ```
/// use pome_net::blind_relay::{Action, Limits, PAIR, Pair, Pairings};
/// use std::time::Duration;
/// let mut relay = Pairings::new(Limits::default());
/// let now = Duration::ZERO;
/// let (a, b) = (relay.open([1; 32], now).unwrap(), relay.open([2; 32], now).unwrap());
/// let pair = |is_initiator, id| Pair { is_initiator, token: [7; 32], id, seq: 0 }.encode();
/// relay.receive(a, PAIR, &pair(true, 5), now)?;
/// assert_eq!(relay.poll(), None);
/// relay.receive(b, PAIR, &pair(false, 6), now)?;
/// let Some(Action::Link { initiator, responder, .. }) = relay.poll() else { panic!() };
/// assert_eq!((initiator.session, initiator.stream, responder.session, responder.stream), (a, 5, b, 6));
/// # Ok::<(), pome_encoding::DecodeError>(())
/// ```
pub struct Pairings {
    limits: Limits,
    sessions: HashMap<SessionId, Session>,
    waiting: HashMap<Token, Waiting>,
    links: HashMap<LinkId, Link>,
    /// Sides of pairs by the key of the peer.
    peers: HashMap<[u8; 32], usize>,
    actions: VecDeque<Action>,
    next: u64,
    requested: u64,
    matched: u64,
    cancelled: u64,
}

impl std::fmt::Debug for Pairings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pairings")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Pairings {
    /// Nobody is there yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            sessions: HashMap::new(),
            waiting: HashMap::new(),
            links: HashMap::new(),
            peers: HashMap::new(),
            actions: VecDeque::new(),
            next: 0,
            requested: 0,
            matched: 0,
            cancelled: 0,
        }
    }

    /// What was counted so far.
    pub fn stats(&self) -> Stats {
        Stats {
            sessions: self.sessions.len(),
            waiting: self.waiting.len(),
            links: self.links.len(),
            requested: self.requested,
            matched: self.matched,
            cancelled: self.cancelled,
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// A peer has connected. `None`: there are too many.
    pub fn open(&mut self, peer: [u8; 32], now: Duration) -> Option<SessionId> {
        if self.sessions.len() >= self.limits.sessions {
            return None;
        }
        let id = SessionId(self.number());
        let session = Session {
            peer,
            waiting: HashSet::new(),
            links: HashMap::new(),
            idle_since: now,
        };
        self.sessions.insert(id, session);
        Some(id)
    }

    /// A peer is gone, and with it all that it asked for.
    pub fn close(&mut self, session: SessionId) {
        let Some(gone) = self.sessions.remove(&session) else {
            return;
        };
        for token in gone.waiting {
            self.waiting.remove(&token);
            self.cancelled += 1;
            self.release(&gone.peer);
        }
        for (_, link) in gone.links {
            let Some(sessions) = self.links.get(&link).map(|link| link.sessions) else {
                continue;
            };
            // One side of it, or both; the other session's side is let go below.
            for _ in 0..sessions.iter().filter(|id| **id == session).count() {
                self.release(&gone.peer);
            }
            self.unlinked(link, Duration::ZERO);
            self.actions.push_back(Action::Unlink(link));
        }
    }

    /// Takes a message of a peer. One of an unknown kind is ignored.
    ///
    /// # Errors
    /// [`DecodeError`]: the peer does not follow the protocol; its session is closed.
    pub fn receive(
        &mut self,
        session: SessionId,
        kind: u64,
        body: &[u8],
        now: Duration,
    ) -> Result<(), DecodeError> {
        let done = match kind {
            PAIR => Pair::decode(body).map(|pair| self.pair(session, &pair, now)),
            UNPAIR => Unpair::decode(body).map(|unpair| self.unpair(session, &unpair.token, now)),
            _ => Ok(()),
        };
        if done.is_err() {
            self.shut(session);
        }
        done
    }

    fn pair(&mut self, id: SessionId, pair: &Pair, now: Duration) {
        let Some(session) = self.sessions.get(&id) else {
            return;
        };
        self.requested += 1;
        // Ids are of 32 bits; another one belongs to no stream.
        let Ok(stream) = u32::try_from(pair.id) else {
            return self.refuse(id);
        };
        let peer = session.peer;
        let known = session.links.contains_key(&pair.token);
        let other = self.waiting.get(&pair.token);
        // Said twice, or somebody else was first on this side.
        if known || other.is_some_and(|other| other.is_initiator == pair.is_initiator) {
            return;
        }
        let own = self.peers.get(&peer).copied().unwrap_or_default();
        let all = self.waiting.len() + 2 * self.links.len();
        if own >= self.limits.pairs_of_peer || all >= self.limits.pairs {
            return self.refuse(id);
        }
        *self.peers.entry(peer).or_default() += 1;
        let end = End {
            session: id,
            stream,
        };
        let Some(other) = self.waiting.remove(&pair.token) else {
            let waiting = Waiting {
                is_initiator: pair.is_initiator,
                end,
                since: now,
            };
            self.waiting.insert(pair.token, waiting);
            if let Some(session) = self.sessions.get_mut(&id) {
                session.waiting.insert(pair.token);
            }
            return;
        };
        let link = LinkId(self.number());
        let sessions = [end.session, other.end.session];
        for session in sessions {
            if let Some(session) = self.sessions.get_mut(&session) {
                session.waiting.remove(&pair.token);
                session.links.insert(pair.token, link);
            }
        }
        let token = pair.token;
        self.links.insert(link, Link { token, sessions });
        self.matched += 1;
        let (initiator, responder) = match pair.is_initiator {
            true => (end, other.end),
            false => (other.end, end),
        };
        self.actions.push_back(Action::Link {
            link,
            token,
            initiator,
            responder,
        });
    }

    fn unpair(&mut self, id: SessionId, token: &Token, now: Duration) {
        let Some(session) = self.sessions.get_mut(&id) else {
            return;
        };
        if session.waiting.remove(token) {
            session.idle_since = now;
            let peer = session.peer;
            self.waiting.remove(token);
            self.cancelled += 1;
            self.release(&peer);
        } else if let Some(link) = session.links.get(token).copied() {
            self.cancelled += 1;
            self.unlinked(link, now);
            self.actions.push_back(Action::Unlink(link));
        }
    }

    /// A stream of the link closed.
    pub fn unlinked(&mut self, link: LinkId, now: Duration) {
        let Some(Link { token, sessions }) = self.links.remove(&link) else {
            return;
        };
        // Both sides may be of one session: it is counted twice.
        for id in sessions {
            let Some(session) = self.sessions.get_mut(&id) else {
                continue;
            };
            session.links.remove(&token);
            session.idle_since = session.idle_since.max(now);
            let peer = session.peer;
            self.release(&peer);
        }
    }

    fn release(&mut self, peer: &[u8; 32]) {
        if let Some(count) = self.peers.get_mut(peer) {
            *count -= 1;
            if *count == 0 {
                self.peers.remove(peer);
            }
        }
    }

    /// There is no answer that says no: who has nothing else here learns it at once by the end of the channel, who has waits in vain.
    fn refuse(&mut self, id: SessionId) {
        self.cancelled += 1;
        let idle = |session: &Session| session.waiting.is_empty() && session.links.is_empty();
        if self.sessions.get(&id).is_some_and(idle) {
            self.shut(id);
        }
    }

    fn shut(&mut self, id: SessionId) {
        self.close(id);
        self.actions.push_back(Action::Close(id));
    }

    /// What is to be done next.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let waiting = self.waiting.values().map(|waiting| waiting.since);
        let idle = self.sessions.values().filter_map(Session::idle);
        let first = waiting.chain(idle).min()?;
        Some(first + self.limits.patience)
    }

    /// Gives up who waited for too long.
    pub fn handle_timeout(&mut self, now: Duration) {
        let patience = self.limits.patience;
        let is_over = |since: Duration| now.saturating_sub(since) >= patience;
        let late: Vec<(SessionId, Token)> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| is_over(waiting.since))
            .map(|(token, waiting)| (waiting.end.session, *token))
            .collect();
        for (session, token) in late {
            // Idle from the moment on at which it began to wait: nothing else keeps it.
            let since = self.waiting.get(&token).map_or(now, |late| late.since);
            self.unpair(session, &token, since);
        }
        let idle: Vec<SessionId> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.idle().is_some_and(is_over))
            .map(|(id, _)| *id)
            .collect();
        for session in idle {
            self.shut(session);
        }
    }
}

impl Session {
    /// Since when it has been of no use, if it is.
    fn idle(&self) -> Option<Duration> {
        (self.waiting.is_empty() && self.links.is_empty()).then_some(self.idle_since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn pair(relay: &mut Pairings, session: SessionId, is_initiator: bool, token: u8) {
        let pair = Pair {
            is_initiator,
            token: [token; 32],
            id: u64::from(token),
            seq: 0,
        };
        relay.receive(session, PAIR, &pair.encode(), NOW).unwrap();
    }

    fn unpair(relay: &mut Pairings, session: SessionId, token: u8) {
        let unpair = Unpair { token: [token; 32] };
        relay
            .receive(session, UNPAIR, &unpair.encode(), NOW)
            .unwrap();
    }

    fn links(relay: &mut Pairings) -> Vec<LinkId> {
        std::iter::from_fn(|| relay.poll())
            .filter_map(|action| match action {
                Action::Link { link, .. } => Some(link),
                _ => None,
            })
            .collect()
    }

    fn assert_empty(relay: &Pairings) {
        assert!(relay.peers.is_empty(), "{:?}", relay.peers);
        assert_eq!((relay.waiting.len(), relay.links.len()), (0, 0));
    }

    #[test]
    fn sides_are_paired_once() {
        let mut relay = Pairings::new(Limits::default());
        let [a, b, c] = [1, 2, 3].map(|peer| relay.open([peer; 32], NOW).unwrap());
        pair(&mut relay, a, true, 1);
        // Said again, and by another: the first one counts.
        pair(&mut relay, a, true, 1);
        pair(&mut relay, c, true, 1);
        assert!(links(&mut relay).is_empty());
        pair(&mut relay, b, false, 1);
        assert_eq!(links(&mut relay).len(), 1);
        pair(&mut relay, b, false, 1);
        assert_eq!(relay.stats().waiting, 0);
        unpair(&mut relay, c, 1);
        assert_eq!(relay.poll(), None, "who is no side of it ends nothing");
        unpair(&mut relay, b, 1);
        assert!(matches!(relay.poll(), Some(Action::Unlink(_))));
        assert_empty(&relay);
    }

    #[test]
    fn with_a_session_goes_what_it_asked_for() {
        let mut relay = Pairings::new(Limits::default());
        let [a, b] = [1, 2].map(|peer| relay.open([peer; 32], NOW).unwrap());
        for token in 1..=3 {
            pair(&mut relay, a, true, token);
        }
        pair(&mut relay, b, false, 1);
        // One peer may be both sides.
        pair(&mut relay, a, false, 2);
        assert_eq!(links(&mut relay).len(), 2);
        relay.close(a);
        let gone = std::iter::from_fn(|| relay.poll());
        assert_eq!(gone.filter(|a| matches!(a, Action::Unlink(_))).count(), 2);
        assert_empty(&relay);
        assert_eq!(relay.stats().sessions, 1);
    }

    #[test]
    fn what_a_peer_can_hold_is_bounded() {
        let limits = Limits {
            sessions: 3,
            pairs_of_peer: 4,
            pairs: 6,
            ..Limits::default()
        };
        let mut relay = Pairings::new(limits);
        let [a, again, b] = [1, 1, 2].map(|peer| relay.open([peer; 32], NOW).unwrap());
        assert_eq!(relay.open([3; 32], NOW), None);
        for token in 1..=9 {
            pair(&mut relay, a, true, token);
        }
        assert_eq!(relay.stats().waiting, 4);
        // The same peer by another connection, which is of no use then.
        pair(&mut relay, again, true, 10);
        assert_eq!(relay.poll(), Some(Action::Close(again)));
        for token in 11..=19 {
            pair(&mut relay, b, true, token);
        }
        assert_eq!(relay.stats().waiting, 6);
        relay.close(a);
        relay.close(b);
        assert_empty(&relay);
    }

    #[test]
    fn nobody_waits_for_ever() {
        let mut relay = Pairings::new(Limits::default());
        let [a, b, idle] = [1, 2, 3].map(|peer| relay.open([peer; 32], NOW).unwrap());
        pair(&mut relay, a, true, 1);
        pair(&mut relay, a, true, 2);
        pair(&mut relay, b, false, 2);
        links(&mut relay);
        let at = relay.poll_timeout().unwrap();
        assert_eq!(at, Duration::from_secs(60));
        relay.handle_timeout(at - Duration::from_millis(1));
        assert_eq!(relay.poll(), None);
        relay.handle_timeout(at);
        assert_eq!(relay.poll(), Some(Action::Close(idle)));
        assert_eq!(relay.poll(), None);
        let stats = relay.stats();
        assert_eq!((stats.waiting, stats.links, stats.sessions), (0, 1, 2));
        assert_eq!(relay.poll_timeout(), None);
    }

    #[test]
    fn nonsense_ends_a_session() {
        let mut relay = Pairings::new(Limits::default());
        let a = relay.open([1; 32], NOW).unwrap();
        pair(&mut relay, a, true, 1);
        relay.receive(a, 7, b"of a later version", NOW).unwrap();
        assert_eq!(relay.poll(), None);
        relay.receive(a, PAIR, &[1; 20], NOW).unwrap_err();
        assert_eq!(relay.poll(), Some(Action::Close(a)));
        assert_empty(&relay);
        // An id that no stream has.
        let b = relay.open([2; 32], NOW).unwrap();
        let pair = Pair {
            is_initiator: true,
            token: [1; 32],
            id: 1 << 32,
            seq: 0,
        };
        relay.receive(b, PAIR, &pair.encode(), NOW).unwrap();
        assert_eq!(relay.poll(), Some(Action::Close(b)));
    }
}
