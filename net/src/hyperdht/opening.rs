//! The client's part in opening a way through the NATs in front of it and of the server: both say what they know about theirs, then both punch.
//! Source: hyperdht 6.34.0, `lib/connect.js`.

use super::{
    ConnectTrace, Error, HyperDht,
    connect::Agreed,
    messages::{Holepunch, HolepunchPayload, RelayInfo, Wire, command, error, firewall},
    puncher::Puncher,
    router::mode,
};
use crate::dht_rpc::{Ask, RequestOptions, Socket};
use pome_cores::crypto::random_bytes;
use rand::RngExt;
use std::{fmt, net::SocketAddrV4, sync::Arc, time::Duration};

/// For the other side to find out about its NAT.
const PATIENCE: Duration = Duration::from_secs(1);
/// Rounds in which both sides find out about their NATs.
const PROBES: usize = 4;
/// Until an attempt with random ports is tried again, at least; at most twice as long.
const LATER: Duration = Duration::from_secs(10);

/// What both sides know about their NATs, when it is to be decided whether a way is opened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PunchView {
    /// The NAT of the other side: see [`firewall`](super::messages::firewall).
    pub remote_firewall: u64,
    /// The NAT here.
    pub local_firewall: u64,
    /// Where the other side may be reached.
    pub remote_addresses: Vec<SocketAddrV4>,
    /// Where we may be.
    pub local_addresses: Vec<SocketAddrV4>,
}

type Decide = Arc<dyn Fn(&PunchView) -> bool + Send + Sync>;

/// Whether ways through NATs are opened (npm `holepunch`). The default is yes.
///
/// ```
/// use pome_net::hyperdht::{HolepunchChoice, messages::firewall};
/// let never = HolepunchChoice::from(false);
/// let by_kind = HolepunchChoice::by(|seen| seen.remote_firewall < firewall::RANDOM);
/// # let _ = (never, by_kind);
/// ```
#[derive(Clone, Default)]
pub struct HolepunchChoice {
    kind: Kind,
}

#[derive(Clone, Default)]
enum Kind {
    #[default]
    Always,
    Never,
    By(Decide),
}

impl From<bool> for HolepunchChoice {
    fn from(opens: bool) -> Self {
        let kind = if opens { Kind::Always } else { Kind::Never };
        Self { kind }
    }
}

impl HolepunchChoice {
    /// Asked once it is known what kind of NATs there are: false gives the attempt up.
    pub fn by(decide: impl Fn(&PunchView) -> bool + Send + Sync + 'static) -> Self {
        Self {
            kind: Kind::By(Arc::new(decide)),
        }
    }

    /// No attempt is made at all.
    pub(super) fn is_never(&self) -> bool {
        matches!(self.kind, Kind::Never)
    }

    pub(super) fn agrees(&self, puncher: &Puncher) -> bool {
        match &self.kind {
            Kind::Always => true,
            Kind::Never => false,
            Kind::By(decide) => {
                let (local_firewall, local_addresses) = puncher.nat();
                decide(&PunchView {
                    remote_firewall: puncher.remote_firewall(),
                    local_firewall,
                    remote_addresses: puncher.remote_addresses(),
                    local_addresses: local_addresses.unwrap_or_default(),
                })
            }
        }
    }
}

impl fmt::Debug for HolepunchChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Always => "HolepunchChoice(always)",
            Kind::Never => "HolepunchChoice(never)",
            Kind::By(_) => "HolepunchChoice(by need)",
        })
    }
}

/// The node that we came through, if the server knows it too.
pub(super) fn pick_relay(relays: &[RelayInfo], ours: SocketAddrV4) -> Option<RelayInfo> {
    let same = relays.iter().find(|relay| relay.relay_address == ours);
    same.or(relays.first()).copied()
}

/// Random ports are guessed by one attempt at a time.
async fn later() {
    let more = rand::rng().random_range(0..LATER.as_millis() as u64);
    tokio::time::sleep(LATER + Duration::from_millis(more)).await;
}

/// An attempt to open a way through the NATs.
pub(super) struct Attempt<'a> {
    pub(super) dht: &'a HyperDht,
    pub(super) agreed: &'a Agreed,
    pub(super) puncher: Puncher,
    pub(super) choice: &'a HolepunchChoice,
    /// The server's first packet may be all it takes: the own NAT is opened for it before anything is known.
    pub(super) fast: bool,
    pub(super) trace: Option<&'a ConnectTrace>,
    pub(super) round: u64,
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
    pub(super) async fn run(mut self, relay: RelayInfo) -> Result<(), Error> {
        let mut server = self.agreed.shaken.server;
        let (token, seen) = self.probe(server, relay).await?;
        // The server may have taken another socket since the handshake.
        if relay.relay_address == self.agreed.shaken.relay && seen != server {
            server = seen;
            self.puncher.open_session(server);
        }
        if !self.choice.agrees(&self.puncher) {
            self.abort(relay).await;
            return Err(Error::HolepunchAborted);
        }
        self.puncher.freeze();
        self.agree(relay, server, token).await?;
        if let Some(trace) = self.trace {
            trace.punching();
        }
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
            if self.fast {
                self.puncher.open_session(server);
            }
            let payload = HolepunchPayload {
                remote_address: Some(server).filter(|_| self.fast),
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
            if let Some(trace) = self.trace {
                trace.probed(&self.puncher);
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
