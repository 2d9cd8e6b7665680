//! Who answers for which key: servers here, and peers that announced themselves to this node, which it hands messages on to.
//!
//! A client knows the hash of a server's key and nodes that may know the server. What it says goes one of these ways:
//!
//! ```text
//! client ──▶ server                                   direct: the server is reachable
//! client ──▶ node ──▶ server ──▶ node ──▶ client      the node that the server announced itself to
//! client ──▶ node ──▶ node ──▶ server ──▶ node ──▶ …  through one that only knows who does
//! ```
//! Nothing is kept of a message that is handed on: each has the addresses in it that the way back needs. A message goes out for one that came in, and no longer
//! than it by more than an address, so that nobody gets more traffic sent to a third than he sends himself.
//!
//! Source: hyperdht 6.34.0, `lib/router.js`.

use super::{
    cache::{Cache, Limits},
    messages::{Handshake, Holepunch, Wire, command},
};
use crate::dht_rpc::{Id, Incoming};
use bytes::Bytes;
use std::{collections::HashMap, net::SocketAddrV4, time::Duration};
use tokio::sync::mpsc;

/// Who speaks to whom.
#[allow(missing_docs, reason = "the names are those of hyperdht")]
pub(crate) mod mode {
    pub(crate) const FROM_CLIENT: u64 = 0;
    pub(crate) const FROM_SERVER: u64 = 1;
    pub(crate) const FROM_RELAY: u64 = 2;
    pub(crate) const FROM_SECOND_RELAY: u64 = 3;
    pub(crate) const REPLY: u64 = 4;
}

/// A peer that announced itself here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Forward {
    /// Where it is.
    pub(crate) relay: SocketAddrV4,
    /// What is answered to who looks for it.
    pub(crate) record: Bytes,
}

/// A message for a server of this node.
#[derive(Debug)]
pub(crate) enum ForServer {
    Handshake(Incoming, Handshake),
    Holepunch(Incoming, Holepunch),
}

/// A server of this node.
#[derive(Debug, Clone)]
pub(crate) struct Local {
    pub(crate) record: Bytes,
    pub(crate) inbox: mpsc::Sender<ForServer>,
}

/// Where a message goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Nowhere,
    /// An answer: to whom (default: who asked), what, and whether with closer nodes.
    Reply(Option<SocketAddrV4>, Option<Bytes>, bool),
    /// On to another.
    Relay(SocketAddrV4, Bytes),
}

pub(crate) struct Router {
    forwards: Cache<Forward>,
    local: HashMap<Id, Local>,
}

impl Router {
    pub(crate) fn new(limits: Limits, now: Duration) -> Self {
        Self {
            forwards: Cache::new(limits, now),
            local: HashMap::new(),
        }
    }

    /// False when there is a server with this key already.
    pub(crate) fn listen(&mut self, target: Id, server: Local) -> bool {
        let free = !self.local.contains_key(&target);
        if free {
            self.forwards.remove(&target);
            self.local.insert(target, server);
        }
        free
    }

    pub(crate) fn unlisten(&mut self, target: &Id) {
        self.local.remove(target);
    }

    /// What is known of peers that announced themselves here.
    pub(super) fn forwards(&mut self) -> &mut Cache<Forward> {
        &mut self.forwards
    }

    /// How much it takes to keep this.
    pub(super) fn bytes(forward: &Forward) -> usize {
        forward.record.len() + 64
    }

    pub(crate) fn set(&mut self, target: Id, forward: Forward, now: Duration) {
        if !self.local.contains_key(&target) {
            let bytes = Self::bytes(&forward);
            self.forwards.set(target, forward, bytes, now);
        }
    }

    /// Forgets a peer, but no server of this node.
    pub(crate) fn remove(&mut self, target: &Id) {
        self.forwards.remove(target);
    }

    /// Where the peer is, if that is known here.
    pub(crate) fn relay(&mut self, target: &Id, now: Duration) -> Option<SocketAddrV4> {
        Some(self.forwards.get(target, now)?.relay)
    }

    pub(crate) fn record(&mut self, target: &Id, now: Duration) -> Option<Bytes> {
        match self.local.get(target) {
            Some(server) => Some(server.record.clone()),
            None => Some(self.forwards.get(target, now)?.record.clone()),
        }
    }

    /// Takes in a handshake or a message about a hole.
    pub(crate) fn asked(&mut self, incoming: Incoming, now: Duration) -> (Incoming, Route) {
        let value = incoming.request.value.clone().unwrap_or_default();
        match incoming.request.command {
            command::PEER_HANDSHAKE => match Handshake::decode(&value) {
                Ok(message) => self.handshake(incoming, message, now),
                Err(_) => (incoming, Route::Nowhere),
            },
            _ => match Holepunch::decode(&value) {
                Ok(message) => self.holepunch(incoming, message, now),
                Err(_) => (incoming, Route::Nowhere),
            },
        }
    }

    fn server(&self, incoming: &Incoming) -> Option<&Local> {
        self.local.get(&incoming.request.target?)
    }

    fn forward(&mut self, incoming: &Incoming, now: Duration) -> Option<SocketAddrV4> {
        self.relay(&incoming.request.target?, now)
    }

    fn handshake(
        &mut self,
        incoming: Incoming,
        message: Handshake,
        now: Duration,
    ) -> (Incoming, Route) {
        if let Some(server) = self.server(&incoming) {
            // A server that is behind with its work does not answer: the client asks again.
            if message.mode != mode::FROM_SERVER && message.mode != mode::REPLY {
                let copy = incoming.clone();
                let _ = server.inbox.try_send(ForServer::Handshake(copy, message));
            }
            return (incoming, Route::Nowhere);
        }
        let relay = self.forward(&incoming, now);
        let from = incoming.from;
        let noise = message.noise.clone();
        let route = match message.mode {
            _ if noise.is_empty() => Route::Nowhere,
            mode::FROM_CLIENT => match message.relay_address.or(relay) {
                None => Route::Reply(None, None, true),
                Some(to) => {
                    let message = Handshake {
                        mode: mode::FROM_RELAY,
                        noise,
                        peer_address: Some(from),
                        relay_address: None,
                    };
                    Route::Relay(to, message.encode().into())
                }
            },
            mode::FROM_RELAY => match relay {
                None => Route::Nowhere,
                Some(to) => {
                    let message = Handshake {
                        mode: mode::FROM_SECOND_RELAY,
                        noise,
                        peer_address: message.peer_address,
                        relay_address: Some(from),
                    };
                    Route::Relay(to, message.encode().into())
                }
            },
            mode::FROM_SERVER => match message.peer_address {
                None => Route::Nowhere,
                Some(to) => {
                    let message = Handshake {
                        mode: mode::REPLY,
                        noise,
                        peer_address: Some(from),
                        relay_address: None,
                    };
                    Route::Reply(Some(to), Some(message.encode().into()), false)
                }
            },
            _ => Route::Nowhere,
        };
        (incoming, route)
    }

    fn holepunch(
        &mut self,
        incoming: Incoming,
        message: Holepunch,
        now: Duration,
    ) -> (Incoming, Route) {
        let from = incoming.from;
        let route = match message.mode {
            mode::FROM_CLIENT => {
                let to = message.peer_address;
                match to.or_else(|| self.forward(&incoming, now)) {
                    None => Route::Nowhere,
                    Some(to) => {
                        let message = Holepunch {
                            mode: mode::FROM_RELAY,
                            peer_address: Some(from),
                            ..message
                        };
                        Route::Relay(to, message.encode().into())
                    }
                }
            }
            mode::FROM_RELAY => {
                if let Some(server) = self.server(&incoming)
                    && message.peer_address.is_some()
                {
                    let copy = incoming.clone();
                    let _ = server.inbox.try_send(ForServer::Holepunch(copy, message));
                }
                Route::Nowhere
            }
            mode::FROM_SERVER => match message.peer_address {
                None => Route::Nowhere,
                Some(to) => {
                    let message = Holepunch {
                        mode: mode::REPLY,
                        peer_address: Some(from),
                        ..message
                    };
                    Route::Reply(Some(to), Some(message.encode().into()), false)
                }
            },
            _ => Route::Nowhere,
        };
        (incoming, route)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dht_rpc::{Request, Socket};
    use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};

    const LIMITS: Limits = Limits {
        count: 100,
        bytes: 100_000,
        age: Duration::from_secs(1_200),
    };
    const TARGET: Id = [7; 32];

    fn at(text: &str) -> SocketAddrV4 {
        text.parse().expect("an address")
    }

    fn asked(command: u64, value: Vec<u8>) -> Incoming {
        Incoming {
            from: at("1.1.1.1:1"),
            id: None,
            socket: Socket::Server,
            request: Request {
                tid: 1,
                to: at("9.9.9.9:9"),
                id: None,
                token: None,
                internal: false,
                command,
                target: Some(TARGET),
                value: Some(value.into()),
            },
        }
    }

    fn knows_a_peer() -> Router {
        let mut router = Router::new(LIMITS, Duration::ZERO);
        let forward = Forward {
            relay: at("2.2.2.2:2"),
            record: Bytes::from_static(b"record"),
        };
        router.set(TARGET, forward, Duration::ZERO);
        router
    }

    #[test]
    fn a_handshake_goes_to_the_server_and_back() {
        let mut router = knows_a_peer();
        let mut route = |message: &Handshake| {
            let asked = asked(command::PEER_HANDSHAKE, message.encode());
            router.asked(asked, Duration::ZERO).1
        };
        let noise = Bytes::from_static(b"noise");
        let message = |mode, peer: Option<&str>, relay: Option<&str>| Handshake {
            mode,
            noise: noise.clone(),
            peer_address: peer.map(at),
            relay_address: relay.map(at),
        };
        let to_server = message(mode::FROM_RELAY, Some("1.1.1.1:1"), None);
        let expected = Route::Relay(at("2.2.2.2:2"), to_server.encode().into());
        assert_eq!(route(&message(mode::FROM_CLIENT, None, None)), expected);
        let second = message(
            mode::FROM_SECOND_RELAY,
            Some("3.3.3.3:3"),
            Some("1.1.1.1:1"),
        );
        let expected = Route::Relay(at("2.2.2.2:2"), second.encode().into());
        let relayed = message(mode::FROM_RELAY, Some("3.3.3.3:3"), None);
        assert_eq!(route(&relayed), expected);
        let reply = message(mode::REPLY, Some("1.1.1.1:1"), None);
        let expected = Route::Reply(Some(at("4.4.4.4:4")), Some(reply.encode().into()), false);
        let answer = message(mode::FROM_SERVER, Some("4.4.4.4:4"), None);
        assert_eq!(route(&answer), expected);
        // To nobody: without an address, as an answer, without a handshake.
        assert_eq!(
            route(&message(mode::FROM_SERVER, None, None)),
            Route::Nowhere
        );
        assert_eq!(
            route(&message(mode::REPLY, Some("4.4.4.4:4"), None)),
            Route::Nowhere
        );
        let empty = Handshake::default();
        assert_eq!(route(&empty), Route::Nowhere);
        // A target that nobody announced: the asker is helped on his way.
        let mut router = Router::new(LIMITS, Duration::ZERO);
        let first = message(mode::FROM_CLIENT, None, None).encode();
        let (_, route) = router.asked(asked(command::PEER_HANDSHAKE, first), Duration::ZERO);
        assert_eq!(route, Route::Reply(None, None, true));
    }

    #[test]
    fn nobody_is_sent_more_than_came_in() {
        /// Two addresses, and one more byte for a length.
        const MORE: usize = 13;
        let mut rng = StdRng::seed_from_u64(1);
        let mut router = knows_a_peer();
        for _ in 0..20_000 {
            let address = |rng: &mut StdRng| {
                let ip = std::net::Ipv4Addr::from(rng.random::<u32>());
                rng.random_bool(0.5)
                    .then(|| SocketAddrV4::new(ip, rng.random()))
            };
            let mut bytes = vec![0; rng.random_range(0..400)];
            rng.fill_bytes(&mut bytes);
            let mode = rng.random_range(0..6);
            let command = rng.random_range(0..2);
            let value = match (rng.random_range(0..3), command) {
                (0, _) => bytes,
                (_, command::PEER_HANDSHAKE) => Handshake {
                    mode,
                    noise: bytes.into(),
                    peer_address: address(&mut rng),
                    relay_address: address(&mut rng),
                }
                .encode(),
                _ => Holepunch {
                    mode,
                    id: rng.random(),
                    payload: bytes.into(),
                    peer_address: address(&mut rng),
                }
                .encode(),
            };
            let came = value.len();
            let (_, route) = router.asked(asked(command, value), Duration::ZERO);
            let goes = match &route {
                Route::Relay(_, value) | Route::Reply(Some(_), Some(value), _) => value.len(),
                _ => 0,
            };
            assert!(goes <= came + MORE, "{goes} bytes for {came}: {route:?}");
        }
    }

    #[test]
    fn a_server_here_is_not_replaced_by_an_announcement() {
        let mut router = Router::new(LIMITS, Duration::ZERO);
        let (inbox, mut messages) = mpsc::channel(1);
        let local = Local {
            record: Bytes::from_static(b"ours"),
            inbox,
        };
        assert!(router.listen(TARGET, local.clone()));
        assert!(!router.listen(TARGET, local));
        let forward = Forward {
            relay: at("2.2.2.2:2"),
            record: Bytes::from_static(b"theirs"),
        };
        router.set(TARGET, forward, Duration::ZERO);
        router.remove(&TARGET);
        let record = router.record(&TARGET, Duration::ZERO);
        assert_eq!(record.as_deref(), Some(&b"ours"[..]));
        let message = Handshake {
            noise: Bytes::from_static(b"noise"),
            ..Handshake::default()
        };
        // More than it takes in at a time is not kept.
        for _ in 0..3 {
            let asked = asked(command::PEER_HANDSHAKE, message.encode());
            assert_eq!(router.asked(asked, Duration::ZERO).1, Route::Nowhere);
        }
        assert!(matches!(messages.try_recv(), Ok(ForServer::Handshake(..))));
        assert!(messages.try_recv().is_err());
        router.unlisten(&TARGET);
        assert_eq!(router.record(&TARGET, Duration::ZERO), None);
    }
}
