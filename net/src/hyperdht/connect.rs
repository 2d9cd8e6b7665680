//! Connects to a peer by its key: finds nodes that know it, shakes hands through them, then goes the shortest way that opens.
//!
//! ```text
//! find_peer ─▶ handshake through a node ─┬─▶ the server is reachable: straight to it
//!                                        ├─▶ we are: it comes to us
//!                                        ├─▶ both are seen at one address: over the network they share
//!                                        └─▶ both speak about their NATs through the node, then both punch
//! ```
//! If one of them trusts a relay, both go by that until one of these ways is open: see `relayed.rs`.
//!
//! Source: hyperdht 6.34.0, `lib/connect.js`.

use super::{
    Error, HyperDht, Pool, RelayChoice,
    local::{first_public, is_reserved, local_addresses, matching},
    messages::{
        Handshake, Holepunch, HolepunchPayload, NoisePayload, RelayInfo, Wire, command, error,
        firewall,
    },
    puncher::Puncher,
    relayed::{Direct, Relay, meet},
    router::mode,
    secure::{PeerHandshake, SecurePayload},
    stream::{Door, Keyed, RawStream, Way},
};
use crate::{
    dht_rpc::{Ask, Dht, Id, RequestError, RequestOptions, Socket},
    driver::Connection,
    noise::Role,
};
use bytes::Bytes;
use pome_cores::{
    KeyPair,
    crypto::{hash, random_bytes},
};
use rand::RngExt;
use std::{collections::VecDeque, net::SocketAddrV4, pin::Pin, time::Duration};
use tokio::task::JoinSet;

/// Nodes through which a handshake is tried at a time.
const PARALLEL: usize = 3;
/// How long a server may take to come to us.
const PASSIVE: Duration = Duration::from_secs(10);
/// For the other side to find out about its NAT.
const PATIENCE: Duration = Duration::from_secs(1);
/// Rounds in which both sides find out about their NATs.
const PROBES: usize = 4;
/// Until an attempt with random ports is tried again, at least; at most twice as long.
const LATER: Duration = Duration::from_secs(10);

/// How to connect.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectOptions {
    /// Our key pair (default: that of the node).
    pub key_pair: Option<KeyPair>,
    /// Nodes that may know the peer, asked first.
    pub relay_addresses: Vec<SocketAddrV4>,
    /// Over a network that both share, where that is shorter (default true).
    pub local_connection: bool,
    /// Ways through NATs may be opened (default true).
    pub holepunch: bool,
    /// A peer that hands the packets on as long as no straight way is open (default: none; the server may name one, too, and then that is used).
    pub relay_through: RelayChoice,
    /// The connection to the relay asks for a sign of life after so long (default 5 s).
    pub relay_keep_alive: Duration,
    /// Where the connection is looked for first, and kept (default: nowhere).
    pub pool: Option<Pool>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            key_pair: None,
            relay_addresses: Vec::new(),
            local_connection: true,
            holepunch: true,
            relay_through: RelayChoice::default(),
            relay_keep_alive: Duration::from_secs(5),
            pool: None,
        }
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Hop {
    ToPeer,
    /// Never through another relay, whatever the relay says.
    ToRelay {
        keep_alive: Duration,
    },
}

/// What a handshake through a node brought.
struct Shaken {
    noise: Bytes,
    /// The server, as the node sees it.
    server: SocketAddrV4,
    /// We, as the node sees us.
    client: SocketAddrV4,
    relay: SocketAddrV4,
    relayed: bool,
}

/// A finished handshake.
struct Agreed {
    payload: NoisePayload,
    secure: SecurePayload,
    shaken: Shaken,
    target: Id,
    /// What we said about ourselves.
    firewall: u64,
    /// A relay may help meanwhile.
    relayed: bool,
}

impl HyperDht {
    /// Connects to the peer with this key.
    ///
    /// # Errors
    /// [`Error::PeerNotFound`] when nobody knows it, [`Error::PeerConnectionFailed`] when it does not answer; the others say what came in the way.
    pub async fn connect(
        &self,
        public_key: &[u8; 32],
        options: ConnectOptions,
    ) -> Result<Connection, Error> {
        let pool = options.pool.clone();
        let dialling = self.dial(*public_key, options, Hop::ToPeer);
        match pool {
            Some(pool) => pool.connect(*public_key, dialling).await,
            None => dialling.await,
        }
    }

    /// In a box: a connection may need another one, to a relay.
    pub(super) fn dial(
        &self,
        public_key: [u8; 32],
        options: ConnectOptions,
        hop: Hop,
    ) -> Pin<Box<dyn Future<Output = Result<Connection, Error>> + Send + '_>> {
        Box::pin(self.unless_suspended(self.dial_now(public_key, options, hop)))
    }

    async fn dial_now(
        &self,
        public_key: [u8; 32],
        options: ConnectOptions,
        hop: Hop,
    ) -> Result<Connection, Error> {
        let key_pair = options.key_pair.as_ref().unwrap_or(&self.inner.key_pair);
        let (raw, door) = RawStream::new(self)?;
        let mut handshake = PeerHandshake::new(key_pair, Some(&public_key), random_bytes())
            .map_err(|_| Error::HandshakeInvalid)?;
        let remote_addr = self.dht().remote_addr();
        let firewall = match remote_addr {
            Some(_) => firewall::OPEN,
            None => firewall::UNKNOWN,
        };
        let mut addresses4: Vec<_> = remote_addr.into_iter().collect();
        if options.local_connection {
            addresses4.extend(self.local_addresses());
        }
        let ours = match hop {
            Hop::ToPeer => options.relay_through.offer(),
            Hop::ToRelay { .. } => None,
        };
        let noise = handshake
            .send(&NoisePayload {
                version: 1,
                firewall,
                addresses4,
                udx: Some(raw.info()),
                secret_stream: Some(1),
                relay_through: ours,
                ..NoisePayload::default()
            })
            .map_err(|_| Error::HandshakeInvalid)?;
        let target = hash(&[&public_key]);
        let known = options.relay_addresses.clone();
        let (shaken, payload) = self
            .shake_hands(target, noise.into(), &mut handshake, known)
            .await?;
        let (keys, secure) = handshake
            .finish(random_bytes())
            .map_err(|_| Error::HandshakeInvalid)?;
        if payload.version != 1 {
            return Err(Error::ServerIncompatible);
        }
        let udx = match payload.udx {
            Some(udx) if payload.error == error::NONE => udx,
            _ => {
                return Err(Error::ServerError {
                    error: payload.error,
                });
            }
        };
        let mut keyed = Keyed::new(&udx, Role::Initiator, keys, self);
        let relay = match hop {
            Hop::ToPeer => payload.relay_through.or(ours),
            Hop::ToRelay { keep_alive } => {
                keyed.keep_alive = Some(keep_alive);
                None
            }
        };
        let relay = relay.map(|through| Relay {
            through,
            is_initiator: payload.relay_through.is_none(),
            keep_alive: options.relay_keep_alive,
        });
        let agreed = Agreed {
            payload,
            secure,
            shaken,
            target,
            firewall,
            relayed: relay.is_some(),
        };
        let direct = self.clone().find_way(door, agreed, options);
        let connection = meet(self, raw, keyed, direct, relay).await?;
        let opened = connection.opened().await;
        opened.map_err(|_| Error::PeerConnectionFailed)?;
        Ok(connection)
    }

    /// The addresses of the server socket on the machine's own networks.
    pub(super) fn local_addresses(&self) -> Vec<SocketAddrV4> {
        let dht = self.dht();
        local_addresses(dht.host(), dht.local_addr().port())
    }

    /// Shakes hands through the first node that leads to the peer.
    async fn shake_hands(
        &self,
        target: Id,
        noise: Bytes,
        handshake: &mut PeerHandshake,
        known: Vec<SocketAddrV4>,
    ) -> Result<(Shaken, NoisePayload), Error> {
        let mut known = VecDeque::from(known);
        // Who announced himself to this very node is asked straight away.
        let own = {
            let kept = &mut *self.inner.service.kept.lock();
            let now = kept.now;
            kept.router.relay(&target, now)
        };
        known.extend(own);
        let mut tried = Vec::new();
        let mut lookup = self.find_target(target, vec![]);
        let mut searching = true;
        let mut attempts = JoinSet::new();
        let mut failure = Error::PeerNotFound;
        loop {
            while attempts.len() < PARALLEL
                && let Some(node) = known.pop_front()
            {
                if !tried.contains(&node) {
                    tried.push(node);
                    attempts.spawn(shake(self.dht().clone(), target, noise.clone(), node));
                }
            }
            tokio::select! {
                biased;
                Some(shaken) = attempts.join_next(), if !attempts.is_empty() => match shaken {
                    Ok(Ok(shaken)) => match handshake.receive(&shaken.noise) {
                        Ok(payload) => return Ok((shaken, payload)),
                        Err(_) => failure = Error::HandshakeInvalid,
                    },
                    Ok(Err(Error::Request(RequestError::Closed))) => {
                        return Err(RequestError::Closed.into());
                    }
                    _ => failure = Error::PeerConnectionFailed,
                },
                found = lookup.next(), if searching => match found? {
                    Some(found) => known.push_back(found.reply.from),
                    None => searching = false,
                },
                else => return Err(failure),
            }
        }
    }

    /// The way to the server, or why there is none.
    fn find_way(self, mut door: Door, agreed: Agreed, options: ConnectOptions) -> Direct {
        Box::pin(async move {
            let way = self.way(&mut door, &agreed, &options).await;
            (door, way)
        })
    }

    async fn way(
        &self,
        door: &mut Door,
        agreed: &Agreed,
        options: &ConnectOptions,
    ) -> Result<Way, Error> {
        let Agreed {
            payload, shaken, ..
        } = agreed;
        if !shaken.relayed {
            return Ok((self.dht().socket(), shaken.relay));
        }
        let relays = payload.holepunch.as_ref().map_or(&[][..], |h| &h.relays);
        if payload.firewall == firewall::OPEN || relays.is_empty() {
            self.inner.punches.lock().open += 1;
            let to = first_public(&payload.addresses4).unwrap_or(shaken.server);
            return self.open_way(door, to, agreed.relayed).await;
        }
        if agreed.firewall == firewall::OPEN {
            let came = tokio::time::timeout(PASSIVE, door.found()).await;
            return came.map_err(|_| Error::HolepunchAborted);
        }
        let ways = door.ways.clone();
        let opening = async {
            let relay = pick_relay(relays, shaken.relay).filter(|_| options.holepunch);
            let relay = relay.ok_or(Error::CannotHolepunch)?;
            let attempt = Attempt {
                dht: self,
                agreed,
                puncher: Puncher::new(self, true, payload.firewall, ways)?,
                round: 0,
            };
            attempt.run(relay).await
        };
        let local = self.local_way(agreed, options);
        tokio::pin!(opening, local);
        let (mut no_local, mut closed) = (false, None);
        loop {
            tokio::select! {
                biased;
                way = door.found() => return Ok(way),
                way = &mut local, if !no_local => match way {
                    Some(way) => return Ok(way),
                    None => no_local = true,
                },
                ended = &mut opening, if closed.is_none() => {
                    closed = Some(ended.err().unwrap_or(Error::HolepunchAborted));
                }
            }
            if no_local && let Some(error) = closed {
                return Err(error);
            }
        }
    }

    /// To a peer that says that it is reachable. Where a relay would help if it is not, it is asked for a sign of life before.
    pub(super) async fn open_way(
        &self,
        door: &mut Door,
        to: SocketAddrV4,
        relayed: bool,
    ) -> Result<Way, Error> {
        if relayed {
            tokio::select! {
                biased;
                way = door.found() => return Ok(way),
                there = self.dht().ping(to) => {
                    there.map_err(|_| Error::PeerConnectionFailed)?;
                }
            }
        }
        Ok((self.dht().socket(), to))
    }

    /// Over a network that both share, if they are seen at one address.
    async fn local_way(&self, agreed: &Agreed, options: &ConnectOptions) -> Option<Way> {
        let Shaken { server, client, .. } = &agreed.shaken;
        if !options.local_connection || server.ip() != client.ip() {
            return None;
        }
        let mut theirs = agreed.payload.addresses4.clone();
        theirs.retain(|at| !is_reserved(*at.ip()));
        let first = theirs.first().copied()?;
        let to = matching(&self.local_addresses(), &theirs).unwrap_or(first);
        self.dht().ping(to).await.ok()?;
        Some((self.dht().udx_socket(Socket::Server)?, to))
    }
}

/// Shakes hands through one node.
async fn shake(dht: Dht, target: Id, noise: Bytes, node: SocketAddrV4) -> Result<Shaken, Error> {
    let message = Handshake {
        mode: mode::FROM_CLIENT,
        noise,
        ..Handshake::default()
    };
    let ask = Ask {
        command: command::PEER_HANDSHAKE,
        target: Some(target),
        value: Some(message.encode().into()),
        ..Ask::default()
    };
    let reply = dht.request(node, ask).await?;
    let value = reply.response.value.unwrap_or_default();
    let answer = Handshake::decode(&value).map_err(|_| Error::BadHandshakeReply)?;
    if answer.mode != mode::REPLY || answer.noise.is_empty() {
        return Err(Error::BadHandshakeReply);
    }
    Ok(Shaken {
        noise: answer.noise,
        server: answer.peer_address.unwrap_or(node),
        client: reply.response.to,
        relay: node,
        relayed: answer.peer_address.is_some(),
    })
}

/// The node that we came through, if the server knows it too.
fn pick_relay(relays: &[RelayInfo], ours: SocketAddrV4) -> Option<RelayInfo> {
    let same = relays.iter().find(|relay| relay.relay_address == ours);
    same.or(relays.first()).copied()
}

/// Random ports are guessed by one attempt at a time.
async fn later() {
    let more = rand::rng().random_range(0..LATER.as_millis() as u64);
    tokio::time::sleep(LATER + Duration::from_millis(more)).await;
}

/// An attempt to open a way through the NATs.
struct Attempt<'a> {
    dht: &'a HyperDht,
    agreed: &'a Agreed,
    puncher: Puncher,
    round: u64,
}

/// What the server said about the way.
struct Said {
    /// We, as the node sees us.
    to: SocketAddrV4,
    /// By which socket.
    which: Socket,
    /// The node.
    from: SocketAddrV4,
    /// The server, as the node sees it.
    server: SocketAddrV4,
    payload: HolepunchPayload,
}

impl Attempt<'_> {
    /// Never ends well by itself: a way that opens is told to who waits for it.
    async fn run(mut self, relay: RelayInfo) -> Result<(), Error> {
        let mut server = self.agreed.shaken.server;
        let (token, seen) = self.probe(server, relay).await?;
        // The server may have taken another socket since the handshake.
        if relay.relay_address == self.agreed.shaken.relay && seen != server {
            server = seen;
            self.puncher.open_session(server);
        }
        self.puncher.freeze();
        self.agree(relay, server, token).await?;
        if !self.puncher.remote_punches() {
            return Err(Error::RemoteNotHolepunching);
        }
        if !self.puncher.punch().await {
            return Err(Error::RemoteNotHolepunchable);
        }
        self.puncher.given_up().await;
        Err(Error::HolepunchAborted)
    }

    /// Both begin to punch; while a relay helps, that may be later.
    async fn agree(
        &mut self,
        relay: RelayInfo,
        server: SocketAddrV4,
        token: Option<[u8; 32]>,
    ) -> Result<(), Error> {
        let (ours, _) = self.puncher.nat();
        let is_random =
            ours >= firewall::RANDOM || self.puncher.remote_firewall() >= firewall::RANDOM;
        let through = self.agreed.shaken.relay;
        let proof = Some(self.agreed.secure.token(*server.ip()));
        let mut delayed = false;
        loop {
            while is_random && !self.dht.inner.random_punches.lock().is_free() {
                if !self.agreed.relayed {
                    return Err(Error::HolepunchAborted);
                }
                if !std::mem::replace(&mut delayed, true) {
                    let payload = HolepunchPayload {
                        token: proof,
                        remote_token: token,
                        ..self.payload()
                    };
                    self.tell(server, through, payload).await?;
                }
                later().await;
            }
            let payload = HolepunchPayload {
                punching: true,
                // The server was shown it before.
                token: proof.filter(|_| !delayed),
                remote_token: token,
                ..self.payload()
            };
            let (to, through) = match delayed {
                true => (relay.peer_address, relay.relay_address),
                false => (server, through),
            };
            let said = self.tell(to, through, payload).await?;
            if said.payload.error != error::TRY_LATER {
                return Ok(());
            }
            later().await;
            delayed = true;
        }
    }

    /// What is known on this side.
    fn payload(&mut self) -> HolepunchPayload {
        let (firewall, addresses) = self.puncher.nat();
        let round = self.round;
        self.round += 1;
        HolepunchPayload {
            firewall,
            round,
            addresses,
            ..HolepunchPayload::default()
        }
    }

    async fn tell(
        &mut self,
        server: SocketAddrV4,
        through: SocketAddrV4,
        payload: HolepunchPayload,
    ) -> Result<Said, Error> {
        let agreed = self.agreed;
        let ours = payload.token;
        let message = Holepunch {
            mode: mode::FROM_CLIENT,
            id: agreed.payload.holepunch.as_ref().map_or(0, |info| info.id),
            payload: agreed.secure.seal(&payload, random_bytes()).into(),
            peer_address: Some(server),
        };
        let ask = Ask {
            command: command::PEER_HOLEPUNCH,
            target: Some(agreed.target),
            value: Some(message.encode().into()),
            ..Ask::default()
        };
        let which = self.puncher.which();
        let options = RequestOptions {
            socket: Some(which),
            ..RequestOptions::default()
        };
        let reply = self.dht.dht().request_by(through, ask, options).await?;
        let value = reply.response.value.unwrap_or_default();
        let answer = Holepunch::decode(&value).map_err(|_| Error::BadHolepunchReply)?;
        if answer.mode != mode::REPLY {
            return Err(Error::BadHolepunchReply);
        }
        let opened = agreed.secure.open(&answer.payload);
        let said = opened.ok_or(Error::HolepunchInvalid)?;
        let is_later = said.error == error::TRY_LATER && agreed.relayed && payload.punching;
        if said.error != error::NONE && !is_later {
            return Err(Error::RemoteAborted { error: said.error });
        }
        let echoed = ours.is_some() && said.remote_token == ours;
        if !is_later {
            self.puncher.update_remote(
                said.punching,
                said.firewall,
                said.addresses.as_deref().unwrap_or_default(),
                echoed.then_some(*server.ip()),
            );
        }
        Ok(Said {
            to: reply.response.to,
            which,
            from: reply.from,
            server: answer.peer_address.unwrap_or(through),
            payload: said,
        })
    }

    /// Both find out about their NATs and tell each other: the server's token, and where the node sees it.
    async fn probe(
        &mut self,
        server: SocketAddrV4,
        relay: RelayInfo,
    ) -> Result<(Option<[u8; 32]>, SocketAddrV4), Error> {
        let mut retry = true;
        // A second round when the server did not know its NAT in the first, and one more for a socket that was opened again.
        for _ in 0..PROBES {
            self.puncher.open_session(server);
            let payload = HolepunchPayload {
                remote_address: Some(server),
                ..self.payload()
            };
            let said = self
                .tell(relay.peer_address, relay.relay_address, payload)
                .await?;
            self.puncher.add_sample(said.which, said.to, said.from);
            if self.puncher.remote_firewall() == firewall::UNKNOWN {
                tokio::time::sleep(PATIENCE).await;
            }
            if !self.puncher.analyze(false).await && self.puncher.analyze(true).await {
                retry = false;
                continue;
            }
            let theirs = self.puncher.remote_firewall();
            let token = said.payload.token;
            if retry && (theirs == firewall::UNKNOWN || token.is_none()) {
                retry = false;
                continue;
            }
            let (ours, _) = self.puncher.nat();
            let error = if theirs == firewall::UNKNOWN || ours == firewall::UNKNOWN {
                Error::HolepunchProbeTimeout
            } else if theirs >= firewall::RANDOM && ours >= firewall::RANDOM {
                Error::HolepunchDoubleRandomizedNats
            } else {
                return Ok((token, said.server));
            };
            self.abort(relay).await;
            return Err(error);
        }
        Err(Error::HolepunchProbeTimeout)
    }

    /// The server need not go on.
    async fn abort(&mut self, relay: RelayInfo) {
        let payload = HolepunchPayload {
            error: error::ABORTED,
            round: self.round,
            ..HolepunchPayload::default()
        };
        let through = relay.relay_address;
        // It finds out by itself, too.
        let _ = self.tell(relay.peer_address, through, payload).await;
    }
}
