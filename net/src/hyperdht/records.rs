//! What a lasting node keeps for others: who announced himself where, and signed and hashed values.
//!
//! Sans-IO: a question and a clock in, an answer out. Nothing is changed without a token, which proves that the asker receives datagrams at his address, and
//! nothing is kept that is not signed, or named by its own hash. Bounds: [`RecordLimits`].
//!
//! Source: hyperdht 6.34.0, `lib/persistent.js`.

use super::{
    cache::{Cache, Limits, RecordCache},
    messages::{
        Announce, MutablePut, MutableRecord, Peer, Wire, command,
        error::{SEQ_REUSED, SEQ_TOO_LOW},
    },
    router::{Forward, Router},
    sign::{Place, Purpose, verify_mutable},
};
use crate::dht_rpc::{Answer, Id, Incoming};
use bytes::Bytes;
use pome_cores::crypto::hash;
use pome_encoding::{Reader, put_uint};
use rand::{SeedableRng, rngs::StdRng};
use std::time::Duration;

/// Peers in an answer to a lookup.
const PEERS: usize = 20;
/// Nodes that know a peer, in the record of it.
const RELAYS: usize = 3;
/// The clock of who bumps may be ahead by so much, in milliseconds.
const DRIFT_MS: u64 = 60_000;

/// How much a node keeps for others. Each is the size of one of two generations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordLimits {
    /// Announcements, by number (default 65,536).
    pub announces: usize,
    /// Mutable and immutable values, each by number (default 32,768).
    pub values: usize,
    /// Mutable and immutable values, each in bytes (default 32 MiB; npm has no such limit).
    pub value_bytes: usize,
    /// The longest record of a value, in bytes: who asks under another's address gets no more than one sent there (default 1,400: as much as goes in one datagram
    /// without being cut; npm has no such limit).
    pub value_max: usize,
    /// How long announcements are kept (default 20 minutes).
    pub announce_age: Duration,
    /// How long values are kept (default 48 hours).
    pub value_age: Duration,
}

impl Default for RecordLimits {
    fn default() -> Self {
        Self {
            announces: 65_536,
            values: 32_768,
            value_bytes: 32 << 20,
            value_max: 1_400,
            announce_age: Duration::from_secs(20 * 60),
            value_age: Duration::from_secs(48 * 60 * 60),
        }
    }
}

impl RecordLimits {
    pub(crate) fn announced(&self) -> Limits {
        Limits {
            count: self.announces,
            // A record has 32 bytes of key and 6 for each of 3 nodes.
            bytes: self.announces * 256,
            age: self.announce_age,
        }
    }

    fn value(&self) -> Limits {
        Limits {
            count: self.values,
            bytes: self.value_bytes,
            age: self.value_age,
        }
    }
}

/// A record that is announced again with a secret instead of a signature.
pub(super) struct Refresh {
    pub(super) target: Id,
    pub(super) public_key: [u8; 32],
    pub(super) record: Bytes,
    pub(super) own: bool,
}

impl Refresh {
    pub(super) fn bytes(&self) -> usize {
        self.record.len() + 96
    }
}

pub(crate) struct Records {
    pub(super) peers: RecordCache,
    pub(super) bumps: Cache<u64>,
    pub(super) refreshes: Cache<Refresh>,
    pub(super) mutables: Cache<Bytes>,
    pub(super) immutables: Cache<Bytes>,
    value_max: usize,
    rng: StdRng,
}

/// The moment of a question.
#[derive(Clone, Copy)]
pub(crate) struct Now {
    pub(crate) at: Duration,
    /// Milliseconds since 1970.
    pub(crate) unix_ms: u64,
}

/// An answer with a token and closer nodes.
fn found(value: Option<Bytes>) -> Option<Answer> {
    Some(Answer {
        value,
        token: true,
        closer_nodes: true,
        error: 0,
    })
}

fn done() -> Option<Answer> {
    Some(Answer::default())
}

fn refused(error: u64) -> Option<Answer> {
    Some(Answer {
        error,
        closer_nodes: true,
        ..Answer::default()
    })
}

impl Records {
    pub(crate) fn new(limits: &RecordLimits, seed: [u8; 32], now: Duration) -> Self {
        Self {
            peers: RecordCache::new(limits.announced(), now),
            bumps: Cache::new(limits.announced(), now),
            refreshes: Cache::new(limits.announced(), now),
            mutables: Cache::new(limits.value(), now),
            immutables: Cache::new(limits.value(), now),
            value_max: limits.value_max,
            rng: StdRng::from_seed(seed),
        }
    }

    /// The answer of the node with the id `own`; `None`: it stays silent. A token in the question was found to be good.
    pub(crate) fn asked(
        &mut self,
        own: &Id,
        router: &mut Router,
        incoming: &Incoming,
        now: Now,
    ) -> Option<Answer> {
        let request = &incoming.request;
        let target = request.target?;
        let value = request.value.as_ref();
        let token = request.token;
        match request.command {
            command::FIND_PEER => found(router.record(&target, now.at)),
            command::LOOKUP => self.lookup(target, router, now.at),
            command::ANNOUNCE => {
                let place = Place {
                    target,
                    token: token?,
                    node: *own,
                };
                let announce = Announce::decode(value?).ok()?;
                self.announce(place, announce, router, incoming, now)
            }
            command::UNANNOUNCE => {
                let place = Place {
                    target,
                    token: token?,
                    node: *own,
                };
                let announce = Announce::decode(value?).ok()?;
                if !place.verify(Purpose::Unannounce, &announce) {
                    return None;
                }
                self.forget(&target, &announce.peer?.public_key, router);
                done()
            }
            command::MUTABLE_GET => {
                let wanted = Reader::new(value?).uint().ok()?;
                let kept = self.mutables.get(&target, now.at).cloned();
                found(kept.filter(|kept| seq(kept).is_some_and(|seq| seq >= wanted)))
            }
            command::MUTABLE_PUT => {
                token?;
                self.put_mutable(&target, value?, now.at)
            }
            command::IMMUTABLE_GET => found(self.immutables.get(&target, now.at).cloned()),
            command::IMMUTABLE_PUT => {
                token?;
                let value = value?;
                if value.len() > self.value_max || hash(&[value]) != target {
                    return None;
                }
                let kept = Bytes::copy_from_slice(value);
                self.immutables.set(target, kept, value.len(), now.at);
                found(None)
            }
            _ => None,
        }
    }

    fn lookup(&mut self, target: Id, router: &mut Router, now: Duration) -> Option<Answer> {
        let mut peers = self.peers.get(&target, PEERS, &mut self.rng, now);
        if peers.len() < PEERS {
            peers.extend(router.record(&target, now));
        }
        if peers.is_empty() {
            return found(None);
        }
        // The records are those that were checked when they came, as they were written then.
        let mut out = Vec::new();
        put_uint(&mut out, peers.len() as u64);
        peers.iter().for_each(|peer| out.extend_from_slice(peer));
        let bump = self.bumps.get(&target, now).copied().unwrap_or(0);
        put_uint(&mut out, bump);
        found(Some(out.into()))
    }

    fn announce(
        &mut self,
        place: Place,
        announce: Announce,
        router: &mut Router,
        incoming: &Incoming,
        now: Now,
    ) -> Option<Answer> {
        let Some(peer) = &announce.peer else {
            return self.refresh(announce.refresh?, router, incoming, now.at);
        };
        if !place.verify(Purpose::Announce, &announce) {
            return None;
        }
        let record = Peer {
            public_key: peer.public_key,
            relay_addresses: peer.relay_addresses.iter().copied().take(RELAYS).collect(),
        };
        let refresh = Refresh {
            target: place.target,
            public_key: peer.public_key,
            record: record.encode().into(),
            own: hash(&[&peer.public_key]) == place.target,
        };
        if !refresh.own {
            let before = self.bumps.get(&place.target, now.at).copied().unwrap_or(0);
            if announce.bump > before && announce.bump <= now.unix_ms + DRIFT_MS {
                self.bumps.set(place.target, announce.bump, 8, now.at);
            }
        }
        self.keep(&refresh, router, incoming, now.at);
        if let Some(secret_hash) = announce.refresh {
            let bytes = refresh.bytes();
            self.refreshes.set(secret_hash, refresh, bytes, now.at);
        }
        done()
    }

    fn keep(&mut self, refresh: &Refresh, router: &mut Router, incoming: &Incoming, now: Duration) {
        let Refresh {
            target,
            public_key,
            record,
            own,
        } = refresh;
        if *own {
            let forward = Forward {
                relay: incoming.from,
                record: record.clone(),
            };
            router.set(*target, forward, now);
            self.peers.remove(target, public_key);
        } else {
            self.peers.add(*target, *public_key, record.clone(), now);
        }
    }

    /// Whoever knows the secret behind the hash that was announced may announce it again; the secret is the next one's hash.
    fn refresh(
        &mut self,
        secret: [u8; 32],
        router: &mut Router,
        incoming: &Incoming,
        now: Duration,
    ) -> Option<Answer> {
        let secret_hash = hash(&[&secret]);
        let refresh = self.refreshes.get(&secret_hash, now)?;
        if refresh.target != incoming.request.target? {
            return None;
        }
        let again = Refresh {
            record: refresh.record.clone(),
            ..*refresh
        };
        self.keep(&again, router, incoming, now);
        self.refreshes.remove(&secret_hash);
        let bytes = again.bytes();
        self.refreshes.set(secret, again, bytes, now);
        done()
    }

    /// Takes an announcement back.
    pub(crate) fn forget(&mut self, target: &Id, public_key: &[u8; 32], router: &mut Router) {
        if hash(&[public_key]) == *target {
            router.remove(target);
        }
        self.peers.remove(target, public_key);
    }

    fn put_mutable(&mut self, target: &Id, value: &Bytes, now: Duration) -> Option<Answer> {
        if value.len() > self.value_max + 32 {
            return None;
        }
        let put = MutablePut::decode(value).ok()?;
        if hash(&[&put.public_key]) != *target || !verify_mutable(&put.record, &put.public_key) {
            return None;
        }
        let new = &put.record.signable;
        let kept = self.mutables.get(target, now);
        if let Some(old) = kept.and_then(|kept| MutableRecord::decode(kept).ok()) {
            let old = old.signable;
            if old.seq == new.seq && old.value != new.value {
                return refused(SEQ_REUSED);
            }
            if new.seq < old.seq {
                return refused(SEQ_TOO_LOW);
            }
        }
        let record = put.record.encode();
        let bytes = record.len();
        self.mutables.set(*target, record.into(), bytes, now);
        found(None)
    }
}

/// The number of a record.
fn seq(record: &[u8]) -> Option<u64> {
    Reader::new(record).uint().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dht_rpc::{Request, Socket};
    use crate::hyperdht::{
        messages::{LookupReply, MutableSignable},
        saved,
        sign::sign_mutable,
    };
    use pome_cores::KeyPair;

    const OWN: Id = [1; 32];
    const TOKEN: [u8; 32] = [2; 32];
    const TOPIC: Id = [3; 32];

    struct Node {
        records: Records,
        router: Router,
        now: Now,
    }

    impl Node {
        fn new() -> Self {
            let limits = RecordLimits::default();
            Self {
                records: Records::new(&limits, [0; 32], Duration::ZERO),
                router: Router::new(limits.announced(), Duration::ZERO),
                now: Now {
                    at: Duration::from_secs(1),
                    unix_ms: 1_000_000,
                },
            }
        }

        fn ask(&mut self, command: u64, target: Id, token: bool, value: &[u8]) -> Option<Answer> {
            let incoming = Incoming {
                from: "5.5.5.5:5".parse().expect("an address"),
                id: None,
                socket: Socket::Server,
                request: Request {
                    tid: 0,
                    to: "6.6.6.6:6".parse().expect("an address"),
                    id: None,
                    token: token.then_some(TOKEN),
                    internal: false,
                    command,
                    target: Some(target),
                    value: (!value.is_empty()).then(|| Bytes::copy_from_slice(value)),
                },
            };
            let Self {
                records,
                router,
                now,
            } = self;
            records.asked(&OWN, router, &incoming, *now)
        }

        fn peers(&mut self) -> LookupReply {
            let answer = self.ask(command::LOOKUP, TOPIC, false, &[]);
            let value = answer.expect("an answer").value.unwrap_or_default();
            LookupReply::decode(&value).unwrap_or_default()
        }
    }

    fn announce(pair: &KeyPair, place: &Place, refresh: Option<[u8; 32]>, bump: u64) -> Announce {
        let relay = "7.7.7.7:7".parse().expect("an address");
        let mut announce = Announce {
            peer: Some(Peer {
                public_key: pair.public,
                relay_addresses: vec![relay; 5],
            }),
            refresh,
            signature: None,
            bump,
        };
        announce.signature = Some(place.sign(Purpose::Announce, &announce, pair));
        announce
    }

    const HERE: Place = Place {
        target: TOPIC,
        token: TOKEN,
        node: OWN,
    };

    #[test]
    fn only_what_is_signed_for_this_node_and_token_is_kept() {
        let pair = KeyPair::from_seed(&[9; 32]);
        let mut node = Node::new();
        let elsewhere = Place {
            node: [8; 32],
            ..HERE
        };
        let earlier = Place {
            token: [8; 32],
            ..HERE
        };
        // Replayed from another node, from an earlier time, without a token, nonsense.
        for place in [elsewhere, earlier] {
            let said = announce(&pair, &place, None, 0).encode();
            assert!(node.ask(command::ANNOUNCE, TOPIC, true, &said).is_none());
        }
        let said = announce(&pair, &HERE, None, 0).encode();
        assert!(node.ask(command::ANNOUNCE, TOPIC, false, &said).is_none());
        for end in 0..said.len() {
            let short = &said[..end];
            assert!(node.ask(command::ANNOUNCE, TOPIC, true, short).is_none());
        }
        assert!(node.peers().peers.is_empty());
        assert!(node.ask(command::ANNOUNCE, TOPIC, true, &said).is_some());
        let found = node.peers().peers;
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].relay_addresses.len(), RELAYS);
        // To be taken back it must be signed for that.
        assert!(node.ask(command::UNANNOUNCE, TOPIC, true, &said).is_none());
        let mut gone = announce(&pair, &HERE, None, 0);
        gone.signature = Some(HERE.sign(Purpose::Unannounce, &gone, &pair));
        assert!(
            node.ask(command::UNANNOUNCE, TOPIC, true, &gone.encode())
                .is_some()
        );
        assert!(node.peers().peers.is_empty());
    }

    #[test]
    fn bumps_grow_and_do_not_come_from_the_future() {
        let pair = KeyPair::from_seed(&[9; 32]);
        let mut node = Node::new();
        let mut bump = |bump| {
            let said = announce(&pair, &HERE, None, bump).encode();
            node.ask(command::ANNOUNCE, TOPIC, true, &said);
            node.peers().bump
        };
        assert_eq!(bump(0), 0);
        assert_eq!(bump(500), 500);
        assert_eq!(bump(400), 500);
        assert_eq!(bump(1_000_000 + DRIFT_MS + 1), 500);
        assert_eq!(bump(1_000_000 + DRIFT_MS), 1_000_000 + DRIFT_MS);
    }

    #[test]
    fn who_knows_the_secret_announces_again_for_twenty_minutes_more() {
        let pair = KeyPair::from_seed(&[9; 32]);
        let mut node = Node::new();
        let secret = [4; 32];
        let said = announce(&pair, &HERE, Some(hash(&[&secret])), 0).encode();
        assert!(node.ask(command::ANNOUNCE, TOPIC, true, &said).is_some());
        let again = |secret| Announce {
            refresh: Some(secret),
            ..Announce::default()
        };
        node.now.at = Duration::from_secs(1_000);
        let wrong = again([5; 32]).encode();
        assert!(node.ask(command::ANNOUNCE, TOPIC, true, &wrong).is_none());
        let right = again(secret).encode();
        assert!(node.ask(command::ANNOUNCE, TOPIC, true, &right).is_some());
        // Each secret once.
        assert!(node.ask(command::ANNOUNCE, TOPIC, true, &right).is_none());
        node.now.at = Duration::from_secs(1_700);
        assert_eq!(node.peers().peers.len(), 1);
        node.now.at = Duration::from_secs(3_500);
        assert!(node.peers().peers.is_empty());
    }

    #[test]
    fn what_is_kept_survives_a_restart_and_grows_no_younger() {
        let limits = RecordLimits::default();
        let pair = KeyPair::from_seed(&[9; 32]);
        let mut node = Node::new();
        let secret = [4; 32];
        let said = announce(&pair, &HERE, Some(hash(&[&secret])), 7).encode();
        assert!(node.ask(command::ANNOUNCE, TOPIC, true, &said).is_some());
        let own = Place {
            target: hash(&[&pair.public]),
            ..HERE
        };
        let said = announce(&pair, &own, None, 0).encode();
        let target = own.target;
        assert!(node.ask(command::ANNOUNCE, target, true, &said).is_some());
        let value = b"value";
        let hashed = hash(&[value]);
        let put = node.ask(command::IMMUTABLE_PUT, hashed, true, value);
        assert!(put.is_some());
        let signable = MutableSignable {
            seq: 5,
            value: Bytes::from_static(b"five"),
        };
        let signature = sign_mutable(&signable, &pair);
        let record = MutableRecord {
            signable,
            signature,
        };
        let put = MutablePut {
            public_key: pair.public,
            record,
        };
        let put = node.ask(command::MUTABLE_PUT, target, true, &put.encode());
        assert!(put.is_some());
        let bytes = saved::save(&mut node.router, &mut node.records, node.now);
        let saved_at = node.now.unix_ms;
        let load = |bytes: &[u8], limits: &RecordLimits, seconds: u64| {
            let mut router = Router::new(limits.announced(), Duration::ZERO);
            let now = Now {
                at: Duration::ZERO,
                unix_ms: saved_at + 1_000 * seconds,
            };
            let records = saved::load(bytes, limits, [0; 32], &mut router, now)?;
            Some(Node {
                records,
                router,
                now,
            })
        };
        // All of it is there a minute later, and may be announced again; its age counts the time in between.
        let mut later = load(&bytes, &limits, 60).expect("whole");
        assert_eq!((later.peers().peers.len(), later.peers().bump), (1, 7));
        let found = later.ask(command::FIND_PEER, target, false, &[]);
        assert!(found.expect("an answer").value.is_some());
        let again = Announce {
            refresh: Some(secret),
            ..Announce::default()
        };
        let again = again.encode();
        assert!(later.ask(command::ANNOUNCE, TOPIC, true, &again).is_some());
        let has = |node: &mut Node, command, target, value: &[u8]| {
            let answer = node.ask(command, target, false, value);
            answer.expect("an answer").value.is_some()
        };
        assert!(has(&mut later, command::IMMUTABLE_GET, hashed, &[]));
        assert!(has(&mut later, command::MUTABLE_GET, target, &[5]));
        for (seconds, peers, values) in [
            (700, 1, true),
            (1_700, 0, true),
            (100_000, 0, true),
            (300_000, 0, false),
        ] {
            let mut later = load(&bytes, &limits, seconds).expect("whole");
            assert_eq!(later.peers().peers.len(), peers, "after {seconds} s");
            let kept = has(&mut later, command::IMMUTABLE_GET, hashed, &[]);
            assert_eq!(kept, values, "after {seconds} s");
        }
        // What was loaded after ten minutes is forgotten after ten more, as if the node had not stopped.
        let mut later = load(&bytes, &limits, 600).expect("whole");
        later.now.at = Duration::from_secs(1_100);
        assert!(later.peers().peers.is_empty());
        // Smaller limits hold for what is loaded, too.
        let none = RecordLimits {
            announces: 0,
            value_bytes: 4,
            ..limits
        };
        let mut small = load(&bytes, &none, 0).expect("whole");
        assert!(small.peers().peers.is_empty());
        assert!(!has(&mut small, command::IMMUTABLE_GET, hashed, &[]));
        // Bytes that were cut or changed are none.
        for at in 0..bytes.len() {
            assert!(load(&bytes[..at], &limits, 0).is_none(), "cut at {at}");
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(load(&changed, &limits, 0).is_none(), "changed at {at}");
        }
    }

    #[test]
    fn values_are_those_of_their_key_and_grow() {
        let pair = KeyPair::from_seed(&[9; 32]);
        let target = hash(&[&pair.public]);
        let mut node = Node::new();
        let put = |seq, value: &'static [u8], pair: &KeyPair| {
            let signable = MutableSignable {
                seq,
                value: Bytes::from_static(value),
            };
            let signature = sign_mutable(&signable, pair);
            MutablePut {
                public_key: pair.public,
                record: MutableRecord {
                    signable,
                    signature,
                },
            }
            .encode()
        };
        let mut store = |target, value: Vec<u8>| {
            let answer = node.ask(command::MUTABLE_PUT, target, true, &value);
            answer.map(|answer| answer.error)
        };
        assert_eq!(store(target, put(5, b"five", &pair)), Some(0));
        assert_eq!(store(target, put(5, b"five", &pair)), Some(0));
        assert_eq!(store(target, put(5, b"other", &pair)), Some(SEQ_REUSED));
        assert_eq!(store(target, put(4, b"four", &pair)), Some(SEQ_TOO_LOW));
        // Under another's key, or changed on its way: as if nobody had asked.
        let other = KeyPair::from_seed(&[10; 32]);
        assert_eq!(store(target, put(6, b"six", &other)), None);
        let mut changed = put(6, b"six", &pair);
        *changed.last_mut().expect("a byte") ^= 1;
        assert_eq!(store(target, changed), None);
        let mut get = |seq: u8| {
            let answer = node.ask(command::MUTABLE_GET, target, false, &[seq]);
            answer.expect("an answer").value.is_some()
        };
        assert!(get(0) && get(5) && !get(6));
        let value = b"value";
        let right = hash(&[value]);
        assert!(
            node.ask(command::IMMUTABLE_PUT, TOPIC, true, value)
                .is_none()
        );
        assert!(
            node.ask(command::IMMUTABLE_PUT, right, false, value)
                .is_none()
        );
        assert!(
            node.ask(command::IMMUTABLE_PUT, right, true, value)
                .is_some()
        );
        let kept = node.ask(command::IMMUTABLE_GET, right, false, &[]);
        assert_eq!(kept.expect("an answer").value.as_deref(), Some(&value[..]));
    }
}
