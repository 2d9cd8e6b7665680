//! The thin part that knows tokio: does what the machine says, and tells it what came of it.

use super::{
    Error, Event, SwarmDht, SwarmOptions,
    dht::SwarmServer,
    events::{Open, OpenSet},
    machine::{FRESH, Machine},
    peer::Key,
    topic::Topic,
    types::{Action, LinkId},
};
use crate::{
    dht_relay::{DhtRelay, RelayDialer, RelayError},
    dht_rpc::Id,
    driver::Connection,
    hyperdht::{self, ConnectOptions, HyperDht, RelayChoice, ServerOptions},
};
use parking_lot::Mutex;
use pome_cores::KeyPair;
use std::{
    collections::HashMap,
    future::Future,
    net::SocketAddrV4,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, broadcast, mpsc, oneshot, watch},
    task::AbortHandle,
    time::Instant,
};

/// Questions to the server that wait.
const ASKS: usize = 8;
/// Between two rounds of all topics because the network changed.
const CALM: Duration = Duration::from_secs(5);
/// A relay that was lost is dialled again after this at first, then after twice as long, and so on, up to the other.
const AGAIN_MIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(30);

/// What the task that owns the server is asked.
enum ServerAsk {
    Relays(oneshot::Sender<Vec<SocketAddrV4>>),
    Refresh,
    Close(oneshot::Sender<()>),
}

pub(super) struct Inner {
    pub(super) machine: Machine,
    pub(super) topics: HashMap<Id, Arc<Topic>>,
    /// Those that were left and are still being taken back.
    pub(super) leaving: HashMap<Id, Arc<Topic>>,
    pub(super) flushes: HashMap<u64, oneshot::Sender<bool>>,
    /// Connections that are being dialled.
    attempts: HashMap<LinkId, AbortHandle>,
    /// The numbers of those that are open.
    numbers: HashMap<LinkId, u64>,
}

/// What the handles and the tasks share.
pub(super) struct Shared {
    pub(super) dht: SwarmDht,
    pub(super) key_pair: KeyPair,
    pub(super) options: SwarmOptions,
    pub(super) inner: Mutex<Inner>,
    pub(super) open: Arc<OpenSet>,
    pub(super) events: broadcast::Sender<Event>,
    server: tokio::sync::Mutex<Option<mpsc::Sender<ServerAsk>>>,
    /// There was a server when the swarm was suspended.
    listens_again: AtomicBool,
    started: Instant,
    /// The machine's next deadline may have changed.
    wake: Notify,
    stop: watch::Sender<bool>,
    runtime: tokio::runtime::Handle,
}

/// Stops all tasks when the last handle goes.
pub(super) struct Guard(pub(super) Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Shared {
    pub(super) fn new(
        dht: SwarmDht,
        key_pair: KeyPair,
        options: SwarmOptions,
        machine: Machine,
        events: broadcast::Sender<Event>,
    ) -> Arc<Self> {
        let shared = Arc::new(Self {
            dht,
            key_pair,
            options,
            inner: Mutex::new(Inner {
                machine,
                topics: HashMap::new(),
                leaving: HashMap::new(),
                flushes: HashMap::new(),
                attempts: HashMap::new(),
                numbers: HashMap::new(),
            }),
            open: OpenSet::new(),
            events,
            server: tokio::sync::Mutex::new(None),
            listens_again: AtomicBool::new(false),
            started: Instant::now(),
            wake: Notify::new(),
            stop: watch::Sender::new(false),
            runtime: tokio::runtime::Handle::current(),
        });
        shared.spawn(keep_time(shared.clone()));
        match shared.dht.clone() {
            SwarmDht::Node(node) => shared.spawn(watch_network(shared.clone(), node)),
            SwarmDht::Relay(dialer) => shared.spawn(watch_relay(shared.clone(), dialer)),
        };
        shared
    }

    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(super) fn instant(&self, at: Duration) -> Instant {
        self.started + at
    }

    /// Runs until it is done, or the swarm is gone.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        let mut stop = self.stop.subscribe();
        let task = self.runtime.spawn(async move {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => {}
                () = task => {}
            }
        });
        task.abort_handle()
    }

    /// Ends the tasks; handles of connections that others hold live on.
    pub(super) fn stop(&self) {
        let mut inner = self.inner.lock();
        inner.machine.destroy();
        inner.flushes.clear();
        let joined = std::mem::take(&mut inner.topics);
        let leaving = std::mem::take(&mut inner.leaving);
        drop(inner);
        self.stop.send_replace(true);
        for topic in joined.values().chain(leaving.values()) {
            topic.end();
        }
        self.open.end();
    }

    /// Tells the machine something, and does what it wants done.
    pub(super) fn act<T>(self: &Arc<Self>, act: impl FnOnce(&mut Machine, Duration) -> T) -> T {
        self.with(|inner, now| act(&mut inner.machine, now))
    }

    pub(super) fn with<T>(self: &Arc<Self>, act: impl FnOnce(&mut Inner, Duration) -> T) -> T {
        let mut inner = self.inner.lock();
        let result = act(&mut inner, self.now());
        while let Some(action) = inner.machine.next_action() {
            self.perform(&mut inner, action);
        }
        drop(inner);
        self.wake.notify_one();
        result
    }

    fn perform(self: &Arc<Self>, inner: &mut Inner, action: Action) {
        match action {
            Action::Connect {
                link,
                key,
                relay_addresses,
                force_relaying,
            } => {
                let options = ConnectOptions {
                    key_pair: Some(self.key_pair.clone()),
                    relay_addresses,
                    ..ConnectOptions::default()
                };
                tracing::debug!(link, force_relaying, "a peer is dialled");
                let attempt = attempt(self.clone(), link, key, options, force_relaying);
                let attempt = self.spawn(attempt);
                inner.attempts.insert(link, attempt);
            }
            Action::Drop { link } => {
                if let Some(attempt) = inner.attempts.remove(&link) {
                    attempt.abort();
                }
                let number = inner.numbers.remove(&link);
                if let Some(open) = number.and_then(|number| self.open.remove(number)) {
                    open.connection.abort();
                }
            }
            // As long as the peer takes it for one of the same time its attempt goes on; `opened` is told then that nobody wants it.
            Action::Forsake { link } => {
                tracing::debug!(link, "the peer dialled first");
                let shared = self.clone();
                self.spawn(async move {
                    tokio::time::sleep(FRESH / 2).await;
                    let attempt = shared.inner.lock().attempts.remove(&link);
                    if let Some(attempt) = attempt {
                        attempt.abort();
                    }
                });
            }
            Action::Flushed { flush, all } => {
                if let Some(waiter) = inner.flushes.remove(&flush) {
                    let _ = waiter.send(all);
                }
            }
            Action::Tell(event) => {
                // Nobody may listen.
                let _ = self.events.send(event);
            }
        }
    }

    /// True when the firewall refuses the peer.
    fn is_refused(&self, key: &Key, payload: Option<&hyperdht::messages::NoisePayload>) -> bool {
        let firewall = self.options.firewall.as_ref();
        firewall.is_some_and(|firewall| firewall(key, payload))
    }

    /// The relay for a connection, if one is to be used.
    fn relay(&self, force: bool) -> Option<[u8; 32]> {
        let use_it = force || self.options.relay_always || self.dht.is_random();
        use_it.then(|| self.options.relay_through.pick()).flatten()
    }

    /// A connection is open: keeps it until it is over.
    fn keep(self: &Arc<Self>, inner: &mut Inner, link: LinkId, key: &Key, connection: &Connection) {
        let Some(peer) = inner.machine.peer(key) else {
            return;
        };
        let connection = connection.clone();
        let number = self.open.add(Open {
            connection: connection.clone(),
            peer,
        });
        inner.numbers.insert(link, number);
        let shared = self.clone();
        self.spawn(async move {
            let _ = connection.closed().await;
            shared.with(|inner, now| {
                if let Some(number) = inner.numbers.remove(&link) {
                    shared.open.remove(number);
                }
                inner.machine.closed(link, now);
            });
        });
    }

    fn opened(self: &Arc<Self>, link: LinkId, key: &Key, connection: &Connection) {
        let wanted = self.with(|inner, now| {
            inner.attempts.remove(&link);
            let wanted = inner.machine.opened(link, now);
            if wanted {
                self.keep(inner, link, key, connection);
            }
            wanted
        });
        if !wanted {
            connection.abort();
        }
    }

    /// A peer dialled us.
    fn accepted(self: &Arc<Self>, connection: &Connection) {
        let taken = self.with(|inner, now| {
            let key = connection.remote_public_key()?;
            let link = inner.machine.incoming(key, now)?;
            self.keep(inner, link, &key, connection);
            Some(())
        });
        if taken.is_none() {
            connection.abort();
        }
    }

    /// Listens under our key, unless that is so already.
    pub(super) async fn listen(self: &Arc<Self>) -> Result<(), Error> {
        let mut server = self.server.lock().await;
        if server.as_ref().is_some_and(|asks| !asks.is_closed()) {
            return Ok(());
        }
        if self.inner.lock().machine.is_destroyed() {
            return Err(Error::Destroyed);
        }
        let weak = Arc::downgrade(self);
        let relaying = weak.clone();
        let options = ServerOptions {
            relay_through: RelayChoice::by(move || relaying.upgrade()?.relay(false)),
            firewall: Some(Arc::new(move |key, payload, _| {
                refuses(&weak, key, payload)
            })),
            ..ServerOptions::default()
        };
        let listening = self.dht.listen(&self.key_pair, options).await?;
        let (asks, questions) = mpsc::channel(ASKS);
        self.spawn(serve(self.clone(), listening, questions));
        *server = Some(asks);
        Ok(())
    }

    pub(super) async fn is_listening(&self) -> bool {
        let server = self.server.lock().await;
        server.as_ref().is_some_and(|asks| !asks.is_closed())
    }

    /// There is to be a server, though it may be gone.
    async fn listens(&self) -> bool {
        self.server.lock().await.is_some()
    }

    async fn ask_server<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> ServerAsk) -> Option<T> {
        let asks = self.server.lock().await.clone()?;
        let (answer, answered) = oneshot::channel();
        asks.send(ask(answer)).await.ok()?;
        answered.await.ok()
    }

    /// Nodes through which our server is reached.
    pub(super) async fn relay_addresses(&self) -> Vec<SocketAddrV4> {
        self.ask_server(ServerAsk::Relays).await.unwrap_or_default()
    }

    /// Stops listening. False when there was no server.
    pub(super) async fn unlisten(&self) -> bool {
        let closed = self.ask_server(ServerAsk::Close).await.is_some();
        *self.server.lock().await = None;
        closed
    }

    /// Stops listening for a while.
    pub(super) async fn pause(&self) {
        if self.unlisten().await {
            self.listens_again.store(true, Ordering::Relaxed);
        }
    }

    /// Listens again, if it did before; by and by, for the network may not be there yet.
    pub(super) fn unpause(self: &Arc<Self>) {
        if self.listens_again.swap(false, Ordering::Relaxed) {
            let shared = self.clone();
            self.spawn(async move {
                // A topic that needs it tries again.
                let _ = shared.listen().await;
            });
        }
    }

    /// Looks for all topics again, and announces everything again.
    pub(super) async fn refresh(&self) {
        let topics: Vec<_> = self.inner.lock().topics.values().cloned().collect();
        for topic in topics {
            topic.change(|plan| plan.refresh());
        }
        if let Some(asks) = &*self.server.lock().await {
            // One that waits already will do.
            let _ = asks.try_send(ServerAsk::Refresh);
        }
    }
}

/// Both sides are there, and no straight way leads from one to the other.
fn needs_relay(error: &Error) -> bool {
    matches!(
        error,
        Error::Dht(
            hyperdht::Error::HolepunchAborted
                | hyperdht::Error::PeerUnreachable
                | hyperdht::Error::HolepunchDoubleRandomizedNats
                | hyperdht::Error::CannotHolepunch
                | hyperdht::Error::RemoteNotHolepunchable
        )
    )
}

/// The server's question about a client.
fn refuses(weak: &Weak<Shared>, key: &Key, payload: &hyperdht::messages::NoisePayload) -> bool {
    let Some(shared) = weak.upgrade() else {
        return true;
    };
    if !shared.inner.lock().machine.may_come(key) {
        return true;
    }
    let refused = shared.is_refused(key, Some(payload));
    if refused {
        shared.act(|machine, _| machine.firewalled(*key));
    }
    refused
}

/// Owns the server.
async fn serve(shared: Arc<Shared>, mut server: SwarmServer, mut asks: mpsc::Receiver<ServerAsk>) {
    loop {
        tokio::select! {
            accepted = server.accept() => match accepted {
                Some(connection) => shared.accepted(&connection),
                None => return,
            },
            ask = asks.recv() => match ask {
                Some(ServerAsk::Relays(answer)) => {
                    let _ = answer.send(server.relay_addresses());
                }
                Some(ServerAsk::Refresh) => server.refresh(),
                Some(ServerAsk::Close(answer)) => {
                    server.close().await;
                    let _ = answer.send(());
                    return;
                }
                None => return,
            },
        }
    }
}

/// Dials one peer.
async fn attempt(
    shared: Arc<Shared>,
    link: LinkId,
    key: Key,
    mut options: ConnectOptions,
    force_relaying: bool,
) {
    if shared.is_refused(&key, None) {
        shared.with(|inner, now| {
            inner.attempts.remove(&link);
            inner.machine.refused(link, now);
        });
        return;
    }
    match shared.relay(force_relaying) {
        Some(relay) => options.relay_through = relay.into(),
        // Then the next attempt has a relay.
        None => options.sign_of_life = shared.options.relay_through.pick().is_some(),
    }
    match shared.dht.connect(&key, options).await {
        Ok(connection) => shared.opened(link, &key, &connection),
        Err(error) => {
            tracing::debug!(link, code = error.code(), "a peer was not reached");
            shared.with(|inner, now| {
                inner.attempts.remove(&link);
                let relay = needs_relay(&error) && shared.options.relay_through.pick().is_some();
                inner.machine.failed(link, relay, now);
            });
        }
    }
}

/// Wakes the machine when it wants to be.
async fn keep_time(shared: Arc<Shared>) {
    loop {
        let deadline = shared.inner.lock().machine.deadline();
        let sleep = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(shared.instant(at)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = sleep => shared.act(|machine, now| machine.tick(now)),
            () = shared.wake.notified() => {}
        }
    }
}

/// Another address, or the machine slept: what nodes know of us may be wrong, and who we were connected to may be gone.
async fn watch_network(shared: Arc<Shared>, node: HyperDht) {
    let mut told = node.dht().watch();
    drop(node);
    let mut before = *told.borrow_and_update();
    while told.changed().await.is_ok() {
        let now = *told.borrow_and_update();
        let moved = match (before.address, now.address) {
            (Some(before), Some(now)) => before.ip() != now.ip(),
            _ => false,
        };
        if moved || before.wakeups != now.wakeups {
            shared.refresh().await;
            tokio::time::sleep(CALM).await;
        }
        before = now;
    }
}

/// A relay that was lost has forgotten us: it is dialled again, and everything announced again.
async fn watch_relay(shared: Arc<Shared>, dialer: RelayDialer) {
    let mut dialled = dialer.watch();
    loop {
        let is_there = |relay: &Option<DhtRelay>| relay.as_ref().is_some_and(|r| !r.is_closed());
        let Ok(relay) = dialled.wait_for(is_there).await.map(|relay| relay.clone()) else {
            return;
        };
        if let Some(relay) = relay {
            relay.closed().await;
        }
        let mut wait = AGAIN_MIN;
        while !shared.inner.lock().machine.is_suspended() {
            let again = match shared.listens().await {
                true => shared.listen().await,
                false => dialer.relay().await.map(|_| ()).map_err(Error::Relay),
            };
            match again {
                Ok(()) => {
                    shared.refresh().await;
                    break;
                }
                // One that was handed over, and not an address.
                Err(Error::Relay(RelayError::Gone)) => break,
                Err(error) => tracing::debug!(code = error.code(), "the relay is not there"),
            }
            tokio::time::sleep(wait).await;
            wait = AGAIN_MAX.min(wait * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_needed_where_no_way_was_found() {
        use hyperdht::Error;
        for error in [
            Error::HolepunchAborted,
            Error::PeerUnreachable,
            Error::HolepunchDoubleRandomizedNats,
            Error::CannotHolepunch,
            Error::RemoteNotHolepunchable,
        ] {
            assert!(needs_relay(&error.clone().into()), "{error}");
        }
        for error in [Error::PeerNotFound, Error::PeerConnectionFailed] {
            assert!(!needs_relay(&error.clone().into()), "{error}");
        }
    }
}
