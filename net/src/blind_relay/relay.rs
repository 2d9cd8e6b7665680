//! A relay that runs: connections of peers on one side, UDX streams on the other.

use super::{
    Action, End, Limits, LinkId, PROTOCOL, Pair, Pairings, SessionId, Stats, Token, messages::PAIR,
};
use crate::{
    Error,
    driver::{Channel, Connection},
    protomux::{ChannelOptions, Topic},
    udx::{Connector, Duplex, Socket, Udx},
};
use parking_lot::Mutex;
use rand::RngExt;
use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::{sync::Notify, task::AbortHandle, time::Instant};

/// Ids that may be taken already, before a pair is given up.
const TRIES: u32 = 100;
/// How long a link is kept after a side has let it go: it may have a straight way by now, while what the other side sent is still to come by this one, some of it again
/// after a second or two.
const LINGER: Duration = Duration::from_secs(4);

struct Session {
    channel: Arc<Channel>,
    task: AbortHandle,
    /// Where the peer's packets come from.
    way: Option<(Socket, SocketAddr)>,
}

struct State {
    pairings: Pairings,
    sessions: HashMap<SessionId, Session>,
    /// The task of each link, which holds its streams; of those too that linger.
    links: HashMap<LinkId, AbortHandle>,
    /// No more than so many of them.
    links_max: usize,
}

struct Inner {
    udx: Udx,
    state: Mutex<State>,
    epoch: Instant,
    /// The next timeout may be another one.
    changed: Arc<Notify>,
}

/// Relays streams for the peers whose connections it is given. Cheap to clone; all ends when nobody holds it.
#[derive(Clone)]
pub struct Relay {
    inner: Arc<Inner>,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl Relay {
    /// A relay whose streams are those of `udx`, by the sockets that the peers' connections go through.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn new(udx: &Udx, limits: Limits) -> Self {
        let inner = Arc::new(Inner {
            udx: udx.clone(),
            state: Mutex::new(State {
                pairings: Pairings::new(limits),
                sessions: HashMap::new(),
                links: HashMap::new(),
                links_max: limits.pairs,
            }),
            epoch: Instant::now(),
            changed: Arc::new(Notify::new()),
        });
        tokio::spawn(keep_time(Arc::downgrade(&inner), inner.changed.clone()));
        Self { inner }
    }

    /// What was counted so far.
    pub fn stats(&self) -> Stats {
        self.inner.state.lock().pairings.stats()
    }

    /// Serves a peer over its connection, whose handshake is done, until that ends. Where there are too many of them, or the connection has a relay
    /// already, nothing happens: the peer finds that its channel is rejected when the connection ends.
    ///
    /// # Errors
    /// [`Error::Closed`] when the connection is over or was not opened.
    pub fn accept(&self, connection: &Connection) -> Result<(), Error> {
        let peer = connection.remote_public_key().ok_or(Error::Closed)?;
        let now = self.inner.epoch.elapsed();
        let topic = Topic::new(PROTOCOL, &peer);
        let mut state = self.inner.state.lock();
        let Some(id) = state.pairings.open(peer, now) else {
            return Ok(());
        };
        let channel = match connection.open(&topic, ChannelOptions::default()) {
            Ok(Some(channel)) => Arc::new(channel),
            other => {
                state.pairings.close(id);
                return other.map(|_| ());
            }
        };
        let way = connection.udx().and_then(Connector::way);
        let task = tokio::spawn(serve(Arc::downgrade(&self.inner), id, channel.clone()));
        let session = Session {
            channel,
            task: task.abort_handle(),
            way,
        };
        state.sessions.insert(id, session);
        self.inner.changed.notify_one();
        Ok(())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        state.links.values().for_each(AbortHandle::abort);
        for session in state.sessions.values() {
            session.task.abort();
        }
        self.changed.notify_one();
    }
}

/// Listens to one peer.
async fn serve(inner: Weak<Inner>, id: SessionId, channel: Arc<Channel>) {
    while let Ok(Some((kind, body))) = channel.recv().await {
        let Some(inner) = inner.upgrade() else {
            return;
        };
        inner.act(|pairings, now| {
            if let Err(error) = pairings.receive(id, kind, &body, now) {
                tracing::debug!(%error, "a peer of the relay sent nonsense");
            }
        });
    }
    if let Some(inner) = inner.upgrade() {
        inner.act(|pairings, _| pairings.close(id));
        inner.state.lock().sessions.remove(&id);
    }
}

async fn keep_time(weak: Weak<Inner>, changed: Arc<Notify>) {
    loop {
        let at = {
            let Some(inner) = weak.upgrade() else {
                return;
            };
            let at = inner.state.lock().pairings.poll_timeout();
            at.map(|at| inner.epoch + at)
        };
        match at {
            Some(at) => {
                let _ = tokio::time::timeout_at(at, changed.notified()).await;
            }
            None => changed.notified().await,
        }
        if let Some(inner) = weak.upgrade() {
            inner.expire();
        }
    }
}

impl Inner {
    /// Does something with the pairings, then what follows from it.
    fn act(self: &Arc<Self>, act: impl FnOnce(&mut Pairings, Duration)) {
        // Dropped without the lock: they tell of their end.
        let mut gone = Vec::new();
        {
            let state = &mut *self.state.lock();
            act(&mut state.pairings, self.epoch.elapsed());
            while let Some(action) = state.pairings.poll() {
                match action {
                    Action::Link {
                        link,
                        token,
                        initiator,
                        responder,
                    } => {
                        if self
                            .link(state, link, token, [responder, initiator])
                            .is_none()
                        {
                            state.pairings.unlinked(link, self.epoch.elapsed());
                        }
                    }
                    Action::Unlink(link) => self.unlink(state, link),
                    Action::Close(session) => gone.extend(state.sessions.remove(&session)),
                }
            }
        }
        for session in &gone {
            session.task.abort();
        }
        self.changed.notify_one();
    }

    fn expire(self: &Arc<Self>) {
        let now = self.epoch.elapsed();
        let is_due = self
            .state
            .lock()
            .pairings
            .poll_timeout()
            .is_some_and(|at| at <= now);
        if is_due {
            self.act(Pairings::handle_timeout);
        }
    }

    /// Ends a link, soon.
    fn unlink(self: &Arc<Self>, state: &mut State, link: LinkId) {
        if state.links.len() > state.links_max {
            state.links.remove(&link).inspect(AbortHandle::abort);
            return;
        }
        let weak = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep(LINGER).await;
            if let Some(inner) = weak.upgrade() {
                let task = inner.state.lock().links.remove(&link);
                task.inspect(AbortHandle::abort);
            }
        });
    }

    /// Joins two streams and tells both sides. `None`: one of them is gone.
    fn link(
        self: &Arc<Self>,
        state: &mut State,
        link: LinkId,
        token: Token,
        ends: [End; 2],
    ) -> Option<()> {
        let [a, b] = ends.map(|end| state.sessions.get(&end.session));
        let (a, b) = (a?, b?);
        let streams = [self.stream(a, ends[0])?, self.stream(b, ends[1])?];
        streams[0].relay_to(&streams[1]).ok()?;
        streams[1].relay_to(&streams[0]).ok()?;
        for (number, (session, stream)) in [a, b].into_iter().zip(&streams).enumerate() {
            let pair = Pair {
                is_initiator: number == 1,
                token,
                id: stream.id().into(),
                seq: 0,
            };
            // A peer that is gone takes its link with it.
            let _ = session.channel.send_now(PAIR, pair.encode().into());
        }
        let weak = Arc::downgrade(self);
        let task = tokio::spawn(async move {
            tokio::select! {
                _ = streams[0].closed() => {}
                _ = streams[1].closed() => {}
            }
            if let Some(inner) = weak.upgrade() {
                inner.state.lock().links.remove(&link);
                inner.act(|pairings, now| pairings.unlinked(link, now));
            }
        });
        state.links.insert(link, task.abort_handle());
        Some(())
    }

    /// A stream for one side, which is connected to where its connection comes from, or to where its first packet does.
    fn stream(&self, session: &Session, end: End) -> Option<Duplex> {
        let stream = (0..TRIES).find_map(|_| {
            let id = rand::rng().random();
            self.udx.stream(id, &Default::default()).ok()
        })?;
        let (connector, way) = (stream.connector(), session.way.clone());
        let host = way.as_ref().map(|(_, at)| at.ip());
        stream.set_strict(true);
        stream.set_firewall(Some(Arc::new(move |socket: &Socket, from: SocketAddr| {
            // Ids are no secret: the peer's packets come from where its connection does.
            let is_stranger = host.is_some_and(|host| host != from.ip());
            if !is_stranger {
                connector.connect(socket, end.stream, from);
                // Its NAT has another port for it.
                if connector.stats().packets_received == 0 {
                    connector.change_remote(socket, end.stream, from);
                }
            }
            is_stranger
        })));
        // What comes for it can go there before it has sent anything.
        if let Some((socket, at)) = way {
            stream.connect(&socket, end.stream, at);
        }
        Some(stream)
    }
}
