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
    ConnectTrace, Error, HyperDht, Pool, RelayChoice,
    local::{first_public, is_reserved, local_addresses, matching},
    messages::{Handshake, NoisePayload, Wire, command, error, firewall},
    opening::{Attempt, HolepunchChoice, pick_relay},
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
    udx,
};
use bytes::Bytes;
use pome_cores::{
    KeyPair,
    crypto::{hash, random_bytes},
};
use std::{collections::VecDeque, net::SocketAddrV4, pin::Pin, time::Duration};
use tokio::task::JoinSet;

/// Nodes through which a handshake is tried at a time.
const PARALLEL: usize = 3;
/// How long a server may take to come to us.
const PASSIVE: Duration = Duration::from_secs(10);
/// For so long a peer is asked only by the way that it was reached before, if one is known.
const HEAD_START: Duration = Duration::from_secs(1);

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
    /// Ways through NATs may be opened (default yes).
    pub holepunch: HolepunchChoice,
    /// The own NAT is opened for the server before anything is known about both NATs, which mostly is all it takes (default true).
    pub fast_open: bool,
    /// The way may be taken again by the next connection to this peer, within three seconds after the end of this one, and the ways of such connections are (default
    /// false; the server has to allow it, too).
    pub reusable_socket: bool,
    /// A peer that says that it is reachable is asked for a sign of life before (default false: one learns that it is not when the connection times out).
    pub sign_of_life: bool,
    /// A peer that hands the packets on as long as no straight way is open (default: none; the server may name one, too, and then that is used).
    pub relay_through: RelayChoice,
    /// The connection to the relay asks for a sign of life after so long (default 5 s).
    pub relay_keep_alive: Duration,
    /// Where the connection is looked for first, and kept (default: nowhere).
    pub pool: Option<Pool>,
    /// Told what the attempt learns about both sides (default: nobody is).
    pub trace: Option<ConnectTrace>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            key_pair: None,
            relay_addresses: Vec::new(),
            local_connection: true,
            holepunch: HolepunchChoice::default(),
            fast_open: true,
            reusable_socket: false,
            sign_of_life: false,
            relay_through: RelayChoice::default(),
            relay_keep_alive: Duration::from_secs(5),
            pool: None,
            trace: None,
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
pub(super) struct Shaken {
    noise: Bytes,
    /// The server, as the node sees it.
    pub(super) server: SocketAddrV4,
    /// We, as the node sees us.
    client: SocketAddrV4,
    pub(super) relay: SocketAddrV4,
    relayed: bool,
    /// By which socket, if not by the usual one.
    socket: Option<udx::Socket>,
}

/// A finished handshake.
pub(super) struct Agreed {
    pub(super) payload: NoisePayload,
    pub(super) secure: SecurePayload,
    pub(super) shaken: Shaken,
    pub(super) target: Id,
    /// What we said about ourselves.
    firewall: u64,
    /// A relay may help meanwhile.
    pub(super) relayed: bool,
}

impl Agreed {
    /// Where the server can be reached, as it says: there is nothing to be opened.
    fn open_at(&self) -> Option<SocketAddrV4> {
        let Shaken {
            server, relayed, ..
        } = self.shaken;
        let relays = self.payload.holepunch.as_ref().map(|info| &info.relays);
        let is_open = self.payload.firewall == firewall::OPEN
            || relays.is_none_or(|relays| relays.is_empty());
        (relayed && is_open).then(|| first_public(&self.payload.addresses4).unwrap_or(server))
    }
}

impl HyperDht {
    /// Connects to the peer with this key.
    ///
    /// # Errors
    /// [`Error::PeerNotFound`] when nobody knows it, [`Error::PeerConnectionFailed`] when it does not answer, [`Error::PeerUnreachable`] when it does, but only through nodes (with [`ConnectOptions::sign_of_life`]); the others say what came in the way.
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
        let (raw, mut door) = RawStream::new(self)?;
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
                udx: Some(raw.info(options.reusable_socket)),
                secret_stream: Some(1),
                relay_through: ours,
                ..NoisePayload::default()
            })
            .map_err(|_| Error::HandshakeInvalid)?;
        let target = hash(&[&public_key]);
        let known = options.relay_addresses.clone();
        let route = match options.reusable_socket {
            true => self.inner.routes.get(&public_key),
            false => None,
        };
        let (shaken, payload) = self
            .shake_hands(target, noise.into(), &mut handshake, known, route)
            .await?;
        let trace = options.trace.clone();
        if let Some(trace) = &trace {
            trace.answered(&payload, shaken.relay, (shaken.client, shaken.server));
        }
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
        let is_reusable = options.reusable_socket && udx.reusable_socket;
        if is_reusable {
            door.keep_socket(self);
        }
        let direct = self.clone().find_way(door, agreed, options);
        let (connection, kept) = meet(self, raw, keyed, direct, relay).await?;
        let opened = connection.opened().await;
        opened.map_err(|_| Error::PeerConnectionFailed)?;
        if let Some(trace) = &trace {
            trace.connected();
        }
        if is_reusable {
            self.keep_route(public_key, &connection, kept);
        }
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
        route: Option<Way>,
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
        let mut is_ahead = route.is_some();
        let head_start = tokio::time::sleep(HEAD_START);
        tokio::pin!(head_start);
        if let Some((socket, to)) = route {
            // The peer itself, where it was before.
            let socket = Some(socket);
            attempts.spawn(shake(self.dht().clone(), target, noise.clone(), to, socket));
        }
        let mut failure = Error::PeerNotFound;
        loop {
            while !is_ahead
                && attempts.len() < PARALLEL
                && let Some(node) = known.pop_front()
            {
                if !tried.contains(&node) {
                    tried.push(node);
                    let dht = self.dht().clone();
                    attempts.spawn(shake(dht, target, noise.clone(), node, None));
                }
            }
            tokio::select! {
                biased;
                Some(shaken) = attempts.join_next(), if !attempts.is_empty() => match shaken {
                    Ok(Ok(shaken)) => match handshake.receive(&shaken.noise) {
                        Ok(payload) => return Ok((shaken, payload)),
                        Err(_) => (failure, is_ahead) = (Error::HandshakeInvalid, false),
                    },
                    Ok(Err(Error::Request(RequestError::Closed))) => {
                        return Err(RequestError::Closed.into());
                    }
                    _ => {
                        failure = Error::PeerConnectionFailed;
                        is_ahead = false;
                    }
                },
                () = &mut head_start, if is_ahead => is_ahead = false,
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
            let socket = shaken.socket.clone();
            let way = (socket.unwrap_or(self.dht().socket()), shaken.relay);
            door.take(&way);
            return Ok(way);
        }
        if let Some(to) = agreed.open_at() {
            self.inner.punches.lock().open += 1;
            let asks = agreed.relayed || options.sign_of_life;
            return self.open_way(door, to, asks).await;
        }
        let relays = payload.holepunch.as_ref().map_or(&[][..], |h| &h.relays);
        if agreed.firewall == firewall::OPEN {
            let came = tokio::time::timeout(PASSIVE, door.found()).await;
            return came.map_err(|_| Error::HolepunchAborted);
        }
        let ways = door.ways.clone();
        let opening = async {
            let relay = pick_relay(relays, shaken.relay);
            let relay = relay.filter(|_| !options.holepunch.is_never());
            let relay = relay.ok_or(Error::CannotHolepunch)?;
            let attempt = Attempt {
                dht: self,
                agreed,
                puncher: Puncher::new(self, true, payload.firewall, ways)?,
                choice: &options.holepunch,
                fast: options.fast_open,
                trace: options.trace.as_ref(),
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

    /// To a peer that says that it is reachable. Where something else is done if it is not, it `asks` for a sign of life before.
    pub(super) async fn open_way(
        &self,
        door: &mut Door,
        to: SocketAddrV4,
        asks: bool,
    ) -> Result<Way, Error> {
        if asks {
            tokio::select! {
                biased;
                way = door.found() => return Ok(way),
                there = self.dht().ping(to) => {
                    there.map_err(|_| Error::PeerUnreachable)?;
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

/// Shakes hands through one node, or with the peer itself.
async fn shake(
    dht: Dht,
    target: Id,
    noise: Bytes,
    node: SocketAddrV4,
    socket: Option<udx::Socket>,
) -> Result<Shaken, Error> {
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
    let options = RequestOptions {
        socket: socket.as_ref().and_then(|socket| dht.which(socket)),
        ..RequestOptions::default()
    };
    let reply = dht.request_by(node, ask, options).await?;
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
        socket,
    })
}
