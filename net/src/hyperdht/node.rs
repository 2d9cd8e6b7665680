//! The handle of a HyperDHT node: peers by topic and by key, signed and hashed values.

use super::{
    Error,
    messages::{
        Announce, LookupReply, MutablePut, MutableRecord, MutableSignable, Peer, Wire, command,
        error::{SEQ_REUSED, SEQ_TOO_LOW},
    },
    puncher::RandomPunches,
    records::RecordLimits,
    relayed::Relaying,
    routes::Routes,
    saved::RecordStore,
    server::Listener,
    service::Service,
    sign::{Place, Purpose, sign_mutable, verify_mutable},
    suspend::Connections,
};
use crate::{
    dht_rpc::{
        Ask, Dht, DhtOptions, Id, NodeFilter, Pending, Query, QueryOptions, QueryResult, Reply,
        RequestError,
    },
    udx::Udx,
};
use bytes::Bytes;
use parking_lot::Mutex;
use pome_cores::{KeyPair, crypto::hash};
use pome_encoding::put_uint;
use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddrV4},
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::sync::watch;

/// The nodes that everybody begins with who is told of no others (hyperdht 6.34.0).
pub const BOOTSTRAP: [SocketAddrV4; 3] = [
    SocketAddrV4::new(Ipv4Addr::new(88, 99, 3, 86), 49737),
    SocketAddrV4::new(Ipv4Addr::new(142, 93, 90, 113), 49737),
    SocketAddrV4::new(Ipv4Addr::new(138, 68, 147, 8), 49737),
];

/// Most bytes of a value: a node tells it with a signature and a token in one datagram, which must not be cut on its way.
pub const VALUE_MAX: usize = 1_000;

/// Nodes that are told of a peer.
const ANNOUNCE_RELAYS: usize = 3;
/// A full answer to a lookup: the own record may be one of those that were left out.
const PEERS: usize = 20;

/// How a node of the HyperDHT runs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HyperDhtOptions {
    /// Its sockets and how it behaves as a node. Without bootstrap nodes it is alone: those of the public network are [`BOOTSTRAP`].
    pub dht: DhtOptions,
    /// The key pair for connections and servers that are given none (default: a new one).
    pub key_pair: Option<KeyPair>,
    /// How much it keeps for others.
    pub records: RecordLimits,
    /// What an earlier run kept, as [`HyperDht::save_records`] or [`RecordStore::load`] told it. Bytes that are something else count for nothing.
    pub saved_records: Option<Bytes>,
    /// Connections ask for a sign of life after so long (default 5 s).
    pub connection_keep_alive: Option<Duration>,
    /// Between two attempts to guess a random port, which send many packets (default 20 s).
    pub random_punch_interval: Duration,
    /// The first such attempt has to wait as well (default false).
    pub defer_random_punch: bool,
}

impl Default for HyperDhtOptions {
    fn default() -> Self {
        Self {
            dht: DhtOptions::default(),
            key_pair: None,
            records: RecordLimits::default(),
            saved_records: None,
            connection_keep_alive: Some(Duration::from_secs(5)),
            random_punch_interval: Duration::from_secs(20),
            defer_random_punch: false,
        }
    }
}

impl HyperDhtOptions {
    /// Those of a node that others begin with (npm `DHT.bootstrapper`).
    pub fn bootstrapper(address: SocketAddrV4) -> Self {
        Self {
            dht: DhtOptions::bootstrapper(address),
            ..Self::default()
        }
    }
}

/// A node of the HyperDHT. Cheap to clone; it stops when it is closed, or when nobody holds it.
///
/// ```
/// use pome_net::hyperdht::{HyperDht, HyperDhtOptions};
/// use pome_cores::KeyPair;
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
/// let mut options = HyperDhtOptions::bootstrapper("127.0.0.1:0".parse()?);
/// options.dht.host = std::net::Ipv4Addr::LOCALHOST;
/// let node = HyperDht::bind(options)?;
/// let mut options = HyperDhtOptions::default();
/// options.dht.host = std::net::Ipv4Addr::LOCALHOST;
/// options.dht.node.bootstrap = vec![node.dht().local_addr()];
/// let dht = HyperDht::bind(options)?;
/// let hash = dht.immutable_put("hello".into()).await?;
/// assert_eq!(dht.immutable_get(hash).await?, Some("hello".into()));
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct HyperDht {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) dht: Dht,
    pub(super) service: Arc<Service>,
    pub(super) key_pair: KeyPair,
    pub(super) keep_alive: Option<Duration>,
    pub(super) random_punches: Mutex<RandomPunches>,
    pub(super) punches: Mutex<Punches>,
    pub(super) relaying: Mutex<Relaying>,
    pub(super) connections: Connections,
    pub(super) routes: Routes,
    pub(super) servers: Mutex<Vec<Weak<Listener>>>,
    pub(super) suspended: watch::Sender<bool>,
}

/// How ways were opened, and how often.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Punches {
    /// Between NATs with one port outside each.
    pub consistent: u64,
    /// Where one side has random ports.
    pub random: u64,
    /// To a peer that says that it is reachable.
    pub open: u64,
    /// Refused, since another attempt with random ports had its turn.
    pub try_later: u64,
}

/// What a node counts, beside [`Dht::stats`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HyperDhtStats {
    /// Ways that were opened, or tried.
    pub punches: Punches,
    /// Handshakes with a relay.
    pub relaying: Relaying,
}

impl fmt::Debug for HyperDht {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HyperDht")
            .field("dht", &self.inner.dht)
            .finish_non_exhaustive()
    }
}

/// How to announce.
#[derive(Debug, Clone, Copy, Default)]
pub struct AnnounceOptions {
    /// Takes older announcements back where they are met (default: no).
    pub clear: bool,
    /// Shows the peer before others: milliseconds since 1970; 0 (the default): not.
    pub bump: u64,
}

/// A value that may change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MutableValue {
    /// Grows with each change.
    pub seq: u64,
    /// The value.
    pub value: Bytes,
    /// By its key.
    pub signature: [u8; 64],
}

/// What a node knows about a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The node, with its token.
    pub reply: Reply,
    /// The peers.
    pub peers: Vec<Peer>,
    /// When the topic was bumped, in milliseconds since 1970; 0: never.
    pub bump: u64,
}

/// The peers in an answer, and the bump.
type Read = fn(&Reply) -> Option<(Vec<Peer>, u64)>;

/// Looks for peers; given up when it is dropped.
#[derive(Debug)]
#[must_use = "a lookup is given up when it is dropped"]
pub struct Lookup {
    query: Query,
    read: Read,
    result: Option<QueryResult>,
}

impl Lookup {
    /// What the next node knows; `None` at the end.
    ///
    /// # Errors
    /// [`Error::Request`] when our node was closed.
    pub async fn next(&mut self) -> Result<Option<Found>, Error> {
        loop {
            match self.query.next().await {
                Ok(reply) => {
                    if let Some((peers, bump)) = (self.read)(&reply) {
                        return Ok(Some(Found { reply, peers, bump }));
                    }
                }
                Err(end) => {
                    self.result = Some(end?);
                    return Ok(None);
                }
            }
        }
    }

    /// All peers, each once, with the nodes that were told of first.
    ///
    /// # Errors
    /// [`Error::Request`] when our node was closed.
    pub async fn peers(mut self) -> Result<Vec<Peer>, Error> {
        let mut peers: Vec<Peer> = Vec::new();
        while let Some(found) = self.next().await? {
            for peer in found.peers {
                if peers.iter().all(|p| p.public_key != peer.public_key) {
                    peers.push(peer);
                }
            }
        }
        Ok(peers)
    }

    /// The closest nodes, once [`next`](Self::next) said that it is the end.
    pub fn closest(&self) -> &[Reply] {
        self.result.as_ref().map_or(&[], |result| &result.closest)
    }
}

fn read_lookup(reply: &Reply) -> Option<(Vec<Peer>, u64)> {
    let found = LookupReply::decode(reply.response.value.as_ref()?).ok()?;
    Some((found.peers, found.bump))
}

fn read_peer(reply: &Reply) -> Option<(Vec<Peer>, u64)> {
    let peer = Peer::decode(reply.response.value.as_ref()?).ok()?;
    Some((vec![peer], 0))
}

fn get(command: u64, target: Id, value: Option<Bytes>) -> QueryOptions {
    QueryOptions {
        ask: Ask {
            command,
            target: Some(target),
            value,
            ..Ask::default()
        },
        ..QueryOptions::default()
    }
}

/// What is asked of one of the closest nodes, with the token it gave out.
fn put(command: u64, target: Id, token: [u8; 32], value: Bytes) -> Ask {
    Ask {
        command,
        target: Some(target),
        token: Some(token),
        value: Some(value),
        internal: false,
    }
}

/// Waits for all of the closest: how many took it, and the first refusal.
async fn taken(pending: Vec<Pending>) -> Result<usize, Error> {
    let (mut count, mut refusal, mut failure) = (0, None, None);
    for answer in pending {
        match answer.await {
            Ok(reply) if reply.response.error == 0 => count += 1,
            Ok(reply) => refusal = refusal.or(Some(reply.response.error)),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    match (count, refusal, failure) {
        (0, Some(error), _) => Err(Error::Refused { error }),
        (0, None, Some(error)) => Err(error.into()),
        (0, None, None) => Err(Error::TooFewNodes),
        _ => Ok(count),
    }
}

/// Nodes of a test network that got into the public one by accident: npm hyperdht 6.34.0 leaves them out, too.
fn is_wanted(node: SocketAddrV4) -> bool {
    let port = node.port();
    match node.ip().octets() {
        [134, 209, 28, 98] | [167, 99, 142, 185] => port != 49738,
        [35, 233, 47, 252] => port != 9400,
        [150, 136, 142, 116] => false,
        _ => true,
    }
}

fn fits(value: &[u8]) -> Result<(), Error> {
    if value.len() > VALUE_MAX {
        return Err(Error::ValueTooLarge {
            bytes: value.len(),
            max: VALUE_MAX,
        });
    }
    Ok(())
}

impl HyperDht {
    /// Opens the sockets and begins to look for other nodes.
    ///
    /// # Errors
    /// Those of the system: the address is in use, or not ours.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn bind(mut options: HyperDhtOptions) -> io::Result<Self> {
        let node = &mut options.dht.node;
        node.filter
            .get_or_insert_with(|| NodeFilter(Arc::new(is_wanted)));
        let saved = options.saved_records.as_deref();
        let service = Arc::new(Service::new(options.records, saved));
        let dht = Dht::bind_with(options.dht, &Udx::new(), service.clone())?;
        Ok(Self {
            inner: Arc::new(Inner {
                dht,
                service,
                key_pair: options.key_pair.unwrap_or_else(KeyPair::random),
                keep_alive: options.connection_keep_alive,
                random_punches: Mutex::new(RandomPunches::new(
                    options.random_punch_interval,
                    options.defer_random_punch,
                )),
                punches: Mutex::default(),
                relaying: Mutex::default(),
                connections: Connections::default(),
                routes: Routes::default(),
                servers: Mutex::default(),
                suspended: watch::Sender::new(false),
            }),
        })
    }

    /// The node underneath.
    pub fn dht(&self) -> &Dht {
        &self.inner.dht
    }

    /// What this node keeps for others, as bytes for [`HyperDhtOptions::saved_records`] of a later run; `None` while nothing was kept. What has come of age
    /// when the node is back is gone then.
    pub fn save_records(&self) -> Option<Bytes> {
        let now = self.inner.dht.now();
        self.inner.service.save(now).map(Bytes::from)
    }

    /// Saves what this node keeps for others every so often, and once more when it is closed; then it comes back. What was kept before must have been
    /// [`load`](RecordStore::load)ed for [`HyperDhtOptions::saved_records`], or it is gone.
    ///
    /// # Errors
    /// From the store.
    pub async fn keep_records(
        &self,
        store: &RecordStore,
        every: Duration,
    ) -> Result<(), pome_cores::Error> {
        let mut told = self.inner.dht.watch();
        loop {
            let closed =
                async { while !self.inner.dht.is_closed() && told.changed().await.is_ok() {} };
            let closed = tokio::time::timeout(every, closed).await.is_ok();
            if let Some(records) = self.save_records() {
                let store = store.clone();
                let saved = tokio::task::spawn_blocking(move || store.save(&records));
                // Who ends the runtime does not wait for it either.
                saved.await.unwrap_or(Ok(()))?;
            }
            if closed {
                return Ok(());
            }
        }
    }

    /// The key pair for connections and servers that are given none.
    pub fn key_pair(&self) -> &KeyPair {
        &self.inner.key_pair
    }

    /// What was counted so far.
    pub fn stats(&self) -> HyperDhtStats {
        HyperDhtStats {
            punches: *self.inner.punches.lock(),
            relaying: *self.inner.relaying.lock(),
        }
    }

    fn lookup_with(&self, options: QueryOptions, find_peer: bool) -> Lookup {
        Lookup {
            query: self.inner.dht.query(options),
            read: if find_peer { read_peer } else { read_lookup },
            result: None,
        }
    }

    /// Looks for the peers that announced themselves under a topic.
    pub fn lookup(&self, topic: Id) -> Lookup {
        self.lookup_with(get(command::LOOKUP, topic, None), false)
    }

    /// Looks for the peer with this key.
    pub fn find_peer(&self, public_key: &[u8; 32]) -> Lookup {
        self.find_target(hash(&[public_key]), vec![])
    }

    /// As [`find_peer`](Self::find_peer), by the hash of the key; begins with the given nodes, if any.
    pub(super) fn find_target(&self, target: Id, nodes: Vec<SocketAddrV4>) -> Lookup {
        let options = QueryOptions {
            nodes,
            ..get(command::FIND_PEER, target, None)
        };
        self.lookup_with(options, true)
    }

    /// Announces the owner of the key pair under a topic at the closest nodes; at most three nodes that know it are told. How many took it.
    ///
    /// # Errors
    /// [`Error::TooFewNodes`] when none took it; [`Error::Request`].
    pub async fn announce(
        &self,
        topic: Id,
        key_pair: &KeyPair,
        relay_addresses: &[SocketAddrV4],
        options: AnnounceOptions,
    ) -> Result<usize, Error> {
        self.announce_and_look(topic, key_pair, relay_addresses, options, |_| {})
            .await
    }

    /// As [`announce`](Self::announce); what the nodes on the way know about the topic is told as it comes.
    ///
    /// # Errors
    /// As [`announce`](Self::announce).
    pub async fn announce_and_look(
        &self,
        topic: Id,
        key_pair: &KeyPair,
        relay_addresses: &[SocketAddrV4],
        options: AnnounceOptions,
        found: impl FnMut(&Found) + Send,
    ) -> Result<usize, Error> {
        let (lookup, withdrawn) = self.withdraw(topic, key_pair, options.clear, found).await?;
        for answer in withdrawn {
            // One that does not answer forgets it in time.
            let _ = answer.await;
        }
        let peer = Peer {
            public_key: key_pair.public,
            relay_addresses: relay_addresses
                .iter()
                .copied()
                .take(ANNOUNCE_RELAYS)
                .collect(),
        };
        let pending = lookup.closest().iter().filter_map(|reply| {
            self.announce_at(
                reply,
                topic,
                Purpose::Announce,
                &peer,
                key_pair,
                options.bump,
            )
        });
        taken(pending.collect()).await
    }

    /// Takes an announcement back, at all nodes that know of it.
    ///
    /// # Errors
    /// [`Error::Request`] when our node was closed.
    pub async fn unannounce(&self, topic: Id, key_pair: &KeyPair) -> Result<(), Error> {
        self.unannounce_and_look(topic, key_pair, |_| {}).await
    }

    /// As [`unannounce`](Self::unannounce); what the nodes on the way know about the topic is told as it comes.
    ///
    /// # Errors
    /// As [`unannounce`](Self::unannounce).
    pub async fn unannounce_and_look(
        &self,
        topic: Id,
        key_pair: &KeyPair,
        found: impl FnMut(&Found) + Send,
    ) -> Result<(), Error> {
        let (_, withdrawn) = self.withdraw(topic, key_pair, true, found).await?;
        for answer in withdrawn {
            let _ = answer.await;
        }
        Ok(())
    }

    /// Looks a topic up; what is announced of this key pair is taken back on the way.
    async fn withdraw(
        &self,
        topic: Id,
        key_pair: &KeyPair,
        clear: bool,
        mut told: impl FnMut(&Found) + Send,
    ) -> Result<(Lookup, Vec<Pending>), Error> {
        if clear {
            let mut kept = self.inner.service.kept.lock();
            let kept = &mut *kept;
            if let Some(records) = &mut kept.records {
                records.forget(&topic, &key_pair.public, &mut kept.router);
            }
        }
        let mut lookup = self.lookup(topic);
        let mut withdrawn = Vec::new();
        let gone = Peer {
            public_key: key_pair.public,
            relay_addresses: vec![],
        };
        while let Some(found) = lookup.next().await? {
            told(&found);
            let here = found.peers.iter().any(|p| p.public_key == gone.public_key);
            if clear && (here || found.peers.len() >= PEERS) {
                let purpose = Purpose::Unannounce;
                withdrawn.extend(self.announce_at(
                    &found.reply,
                    topic,
                    purpose,
                    &gone,
                    key_pair,
                    0,
                ));
            }
        }
        Ok((lookup, withdrawn))
    }

    /// Sends an announcement to a node that gave out a token.
    pub(super) fn announce_at(
        &self,
        reply: &Reply,
        target: Id,
        purpose: Purpose,
        peer: &Peer,
        key_pair: &KeyPair,
        bump: u64,
    ) -> Option<Pending> {
        let place = Place {
            target,
            token: reply.response.token?,
            node: reply.id?,
        };
        let mut announce = Announce {
            peer: Some(peer.clone()),
            bump,
            ..Announce::default()
        };
        announce.signature = Some(place.sign(purpose, &announce, key_pair));
        let command = match purpose {
            Purpose::Announce => command::ANNOUNCE,
            Purpose::Unannounce => command::UNANNOUNCE,
        };
        let ask = put(command, target, place.token, announce.encode().into());
        Some(self.inner.dht.request(reply.from, ask))
    }

    /// Asks the closest nodes, then puts the value there: how many took it.
    async fn store(
        &self,
        options: QueryOptions,
        command: u64,
        value: Bytes,
    ) -> Result<usize, Error> {
        let target = options.ask.target.unwrap_or_default();
        let result = self.inner.dht.query(options).finished().await?;
        let pending = result.closest.iter().filter_map(|reply| {
            let ask = put(command, target, reply.response.token?, value.clone());
            Some(self.inner.dht.request(reply.from, ask))
        });
        taken(pending.collect()).await
    }

    /// Keeps a value at the nodes closest to its hash, which comes back. They forget it after two days.
    ///
    /// # Errors
    /// [`Error::ValueTooLarge`]; [`Error::TooFewNodes`] when none took it; [`Error::Request`].
    pub async fn immutable_put(&self, value: Bytes) -> Result<Id, Error> {
        fits(&value)?;
        let target = hash(&[&value]);
        let options = get(command::IMMUTABLE_GET, target, None);
        self.store(options, command::IMMUTABLE_PUT, value).await?;
        Ok(target)
    }

    /// The value with this hash, if any node has it.
    ///
    /// # Errors
    /// [`Error::Request`] when our node was closed.
    pub async fn immutable_get(&self, target: Id) -> Result<Option<Bytes>, Error> {
        let mut query = self
            .inner
            .dht
            .query(get(command::IMMUTABLE_GET, target, None));
        loop {
            match query.next().await {
                Ok(reply) => {
                    if let Some(value) = reply.response.value
                        && hash(&[&value]) == target
                    {
                        return Ok(Some(value));
                    }
                }
                Err(end) => return end.map(|_| None).map_err(Into::into),
            }
        }
    }

    /// Keeps a value under the public key; a later one needs a higher `seq`. They forget it after two days.
    ///
    /// # Errors
    /// [`Error::SeqReused`] and [`Error::SeqTooLow`] when all nodes that answered know a newer one; else as [`immutable_put`](Self::immutable_put).
    pub async fn mutable_put(
        &self,
        key_pair: &KeyPair,
        value: Bytes,
        seq: u64,
    ) -> Result<usize, Error> {
        fits(&value)?;
        let signable = MutableSignable { seq, value };
        let signature = sign_mutable(&signable, key_pair);
        let record = MutableRecord {
            signable,
            signature,
        };
        let taken = self.put_record(key_pair.public, record).await;
        taken.map_err(|error| match error {
            Error::Refused { error: SEQ_REUSED } => Error::SeqReused { seq },
            Error::Refused { error: SEQ_TOO_LOW } => Error::SeqTooLow { seq },
            other => other,
        })
    }

    async fn put_record(
        &self,
        public_key: [u8; 32],
        record: MutableRecord,
    ) -> Result<usize, Error> {
        let target = hash(&[&public_key]);
        let put = MutablePut { public_key, record };
        let options = get(command::MUTABLE_GET, target, Some(number(0)));
        let value = put.encode().into();
        self.store(options, command::MUTABLE_PUT, value).await
    }

    /// The value under a public key with a `seq` of at least the given one: with `latest` the one with the highest that any node has, else the first that comes.
    ///
    /// # Errors
    /// [`Error::Request`] when our node was closed.
    pub async fn mutable_get(
        &self,
        public_key: &[u8; 32],
        seq: u64,
        latest: bool,
    ) -> Result<Option<MutableValue>, Error> {
        let target = hash(&[public_key]);
        let options = get(command::MUTABLE_GET, target, Some(number(seq)));
        let mut query = self.inner.dht.query(options);
        let mut best: Option<MutableRecord> = None;
        loop {
            match query.next().await {
                Ok(reply) => {
                    let value = reply.response.value.unwrap_or_default();
                    let Ok(record) = MutableRecord::decode(&value) else {
                        continue;
                    };
                    let newer = best
                        .as_ref()
                        .is_none_or(|b| record.signable.seq > b.signable.seq);
                    if newer && record.signable.seq >= seq && verify_mutable(&record, public_key) {
                        best = Some(record);
                        if !latest {
                            break;
                        }
                    }
                }
                Err(end) => {
                    end?;
                    break;
                }
            }
        }
        Ok(best.map(|record| MutableValue {
            seq: record.signable.seq,
            value: record.signable.value,
            signature: record.signature,
        }))
    }

    /// Stops: servers, connections and the node itself.
    pub fn close(&self) {
        self.inner.dht.close();
    }

    /// Waits until the table is filled, as far as there are other nodes.
    ///
    /// # Errors
    /// [`RequestError::Closed`].
    pub async fn ready(&self) -> Result<(), RequestError> {
        self.inner.dht.ready().await
    }
}

fn number(n: u64) -> Bytes {
    let mut out = Vec::new();
    put_uint(&mut out, n);
    out.into()
}
