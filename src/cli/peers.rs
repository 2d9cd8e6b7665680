//! The peers of one command: those that it names with `--peer`, and those that its network finds. Connected for as long as it runs, for the cores that it is about
//! and no others.

use super::{
    failure::Failure,
    frame::Reach,
    io::Io,
    network::{Joined, Network, Networks},
    service::Service,
};
use futures_util::{Stream, StreamExt};
use parking_lot::Mutex;
use pome_cores::{Corestore, DiscoveryKey, Hypercore, KeyPair, replication::CoreEvent};
use pome_net::{
    Error,
    driver::{Connection, ConnectionOptions, ReplicateOptions, Replication, tcp},
    secret_stream::StreamOptions,
};
use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{broadcast::error::RecvError, watch},
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

/// How often an idle connection shows that it lives; hypercore's own default.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// A peer from which nothing came for so long is gone, whatever its socket says: it shows that it lives more often than that.
const SILENCE: Duration = Duration::from_secs(20);
/// A peer that is gone is dialled again after this, then after twice as long, and so on …
const AGAIN_MIN: Duration = Duration::from_millis(100);
/// … up to this.
const AGAIN_MAX: Duration = Duration::from_secs(5);

/// Who has what is here already is looked for so long: then it is shown as it is.
const FRESH: Duration = Duration::from_secs(5);

/// How commands connect.
pub(crate) fn options() -> ConnectionOptions {
    ConnectionOptions {
        stream: StreamOptions {
            keep_alive: Some(KEEP_ALIVE),
            timeout: Some(SILENCE),
            ..StreamOptions::default()
        },
        ..ConnectionOptions::default()
    }
}

/// Under which key pair commands connect.
pub(crate) fn key_pair(cores: &Corestore) -> KeyPair {
    cores.create_key_pair("pome/share")
}

/// A peer, as far as it was reached.
#[derive(Debug, Clone)]
enum Reached {
    /// It is being dialled for the first time.
    NotYet,
    Connected,
    /// Not now, or not any more.
    Failed(Error),
}

/// What a command and its connections share.
struct Shared {
    cores: Corestore,
    key_pair: KeyPair,
    addresses: Vec<String>,
    wanted: watch::Sender<Vec<DiscoveryKey>>,
    reached: watch::Sender<Vec<Reached>>,
    /// Blocks that came.
    arrived: AtomicU64,
}

/// The peers of one command. Dropped, they are disconnected.
pub(crate) struct Peers {
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
    /// How long nothing may come.
    patience: Duration,
    networks: Arc<Networks>,
    reach: Reach,
    /// Peers may find what is here, not only be found.
    serving: bool,
    joined: Mutex<Vec<Arc<Joined>>>,
}

impl Peers {
    /// Dials the peers that the command names; more often than once, if need be.
    pub(crate) fn of(service: &Service, io: &Io) -> Self {
        let cores = service.corestore.clone();
        let addresses = io.peers().to_vec();
        let shared = Arc::new(Shared {
            key_pair: key_pair(&cores),
            cores,
            wanted: watch::channel(Vec::new()).0,
            reached: watch::channel(vec![Reached::NotYet; addresses.len()]).0,
            addresses,
            arrived: AtomicU64::new(0),
        });
        let mut tasks = JoinSet::new();
        for peer in 0..shared.addresses.len() {
            tasks.spawn(keep(shared.clone(), peer));
        }
        Self {
            shared,
            tasks: Mutex::new(tasks),
            patience: io.patience(),
            networks: service.networks.clone(),
            reach: io.reach().clone(),
            serving: false,
            joined: Mutex::default(),
        }
    }

    /// The same for a command that also serves what it is about.
    pub(crate) fn serving(service: &Service, io: &Io) -> Self {
        Self {
            serving: true,
            ..Self::of(service, io)
        }
    }

    /// The same for a command that meets those alone whom it names.
    pub(crate) fn offline(service: &Service, io: &Io) -> Self {
        Self {
            reach: Reach::default(),
            ..Self::serving(service, io)
        }
    }

    /// True when nobody is asked for what the command is about.
    pub(crate) fn is_empty(&self) -> bool {
        self.names_none() && self.joined.lock().is_empty()
    }

    /// True when peers are found that were not named, and find us.
    pub(crate) fn are_found(&self) -> bool {
        !self.reach.is_none()
    }

    /// True when that is done over the DHT.
    pub(crate) fn are_in_dht(&self) -> bool {
        !self.reach.bootstrap.is_empty() || self.reach.relay.is_some()
    }

    /// True when nobody can be asked.
    pub(crate) fn is_alone(&self) -> bool {
        self.names_none() && self.reach.is_none()
    }

    fn names_none(&self) -> bool {
        self.shared.addresses.is_empty()
    }

    /// Where peers are found; `None` where they are not to be.
    pub(crate) async fn network(&self) -> Result<Option<Arc<Network>>, Failure> {
        match self.reach.is_none() {
            true => Ok(None),
            false => self.networks.get(&self.reach).await.map(Some),
        }
    }

    /// Meets those who look for this core, where peers are to be found.
    async fn join(&self, core: &Hypercore) -> Result<Option<Arc<Joined>>, Failure> {
        let topic = core.discovery_key();
        let Some(network) = self.network().await? else {
            return Ok(None);
        };
        if let Some(joined) = self.joined_under(topic) {
            return Ok(Some(joined));
        }
        let joined = Arc::new(network.join(topic, vec![topic], self.serving)?);
        self.joined.lock().push(joined.clone());
        Ok(Some(joined))
    }

    /// Exchanges these cores with those who look for the first of them, and with the named peers.
    pub(crate) async fn serve(&self, cores: &[Hypercore]) -> Result<Option<Arc<Joined>>, Failure> {
        let Some(first) = cores.first() else {
            return Ok(None);
        };
        let joined = self.join(first).await?;
        for core in cores {
            self.exchange(core, first);
        }
        Ok(joined)
    }

    fn joined_under(&self, topic: DiscoveryKey) -> Option<Arc<Joined>> {
        let joined = self.joined.lock();
        joined
            .iter()
            .find(|joined| joined.topic() == topic.0)
            .cloned()
    }

    /// Exchanges this core with them from now on: those that were found are those who look for `of`.
    pub(crate) fn exchange(&self, core: &Hypercore, of: &Hypercore) {
        let key = core.discovery_key();
        if let Some(joined) = self.joined_under(of.discovery_key()) {
            joined.add(key);
        }
        let is_new = self.shared.wanted.send_if_modified(|wanted| {
            let is_new = !self.is_empty() && !wanted.contains(&key);
            if is_new {
                wanted.push(key);
            }
            is_new
        });
        if !is_new {
            return;
        }
        let (mut events, shared) = (core.events(), self.shared.clone());
        self.tasks.lock().spawn(async move {
            loop {
                match events.recv().await {
                    Ok(CoreEvent::Download { .. } | CoreEvent::Append { .. })
                    | Err(RecvError::Lagged(_)) => {
                        shared.arrived.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(_) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        });
    }

    /// Has the core as long as the peers have it; where nobody is asked, as it is here.
    pub(crate) async fn newest(&self, core: &Hypercore) -> Result<(), Failure> {
        if self.is_alone() {
            return Ok(());
        }
        // Nobody else makes it longer.
        let done = core.writable();
        let joined = match done && !self.serving {
            true => None,
            false => self.join(core).await?,
        };
        self.exchange(core, core);
        match joined {
            _ if done => Ok(()),
            Some(joined) => self.found(core, &joined).await,
            None => self.named(core).await,
        }
    }

    /// The newest that the named peers have.
    async fn named(&self, core: &Hypercore) -> Result<(), Failure> {
        // They are on their way: until they have said what they have, nobody is to conclude that there is nothing.
        let _finding = core.finding_peers();
        tokio::select! {
            updated = timeout(self.patience, core.update()) => {
                updated.map_err(|_| self.late("no peer has said how long the core is"))??;
                Ok(())
            }
            failure = self.unreachable() => Err(failure),
        }
    }

    /// The newest that whoever is found has. What is here is shown as it is when nobody is.
    async fn found(&self, core: &Hypercore, joined: &Joined) -> Result<(), Failure> {
        let here = core.length() > 0;
        let patience = match here && self.names_none() {
            true => self.patience.min(FRESH),
            false => self.patience,
        };
        let until = Instant::now() + patience;
        let mut wait = AGAIN_MIN;
        loop {
            let finding = core.finding_peers();
            let looking = async {
                // Whoever is connected by then is asked: that what he has is heard the core itself waits for.
                joined.flushed().await;
                drop(finding);
                std::future::pending::<()>().await;
            };
            let updated = tokio::select! {
                updated = timeout_at(until, core.update()) => updated,
                () = looking => continue,
            };
            match updated {
                Ok(updated) => {
                    updated?;
                }
                Err(_) if here => {
                    tracing::warn!(key = %core.key(), "no peer was found in time; it is shown as it is here");
                    return Ok(());
                }
                Err(_) => return Err(self.late("no peer that has it was found")),
            }
            if here && core.peers().is_empty() {
                tracing::info!(key = %core.key(), "nobody is connected who has it; it is shown as it is here");
            }
            if here || core.length() > 0 {
                return Ok(());
            }
            if !core.peers().is_empty() {
                // What they wrote just now they tell of when their disk has it.
                let until = until.min(Instant::now() + FRESH);
                let mut lengths = core.watch();
                let _ = timeout_at(until, lengths.wait_for(|(length, _)| *length > 0)).await;
                return Ok(());
            }
            // Whoever has it may be about to announce it.
            wait = AGAIN_MAX.min(wait * 2);
            if timeout_at(until, tokio::time::sleep(wait)).await.is_err() {
                return Err(self.late("no peer that has it was found"));
            }
            let _ = timeout_at(until, joined.refresh()).await;
        }
    }

    /// Waits until each of them has failed once, and none is connected.
    pub(crate) async fn unreachable(&self) -> Failure {
        let mut reached = self.shared.reached.subscribe();
        let all_failed = reached
            .wait_for(|all| all.iter().all(|r| matches!(r, Reached::Failed(_))))
            .await;
        let mut words = Vec::new();
        let mut code = "CONNECTION_IO";
        if let Ok(all) = &all_failed {
            for (address, reached) in self.shared.addresses.iter().zip(all.iter()) {
                if let Reached::Failed(error) = reached {
                    code = error.code();
                    words.push(format!("{address}: {error}"));
                }
            }
        }
        Failure {
            message: format!("no peer could be reached ({})", words.join("; ")),
            ..Failure::of_code(code)
        }
    }

    /// Waits for what may need peers, for as long as blocks come.
    pub(crate) async fn within<T, E: Into<Failure>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Failure> {
        let mut work = pin!(work);
        loop {
            let before = self.shared.arrived.load(Ordering::Relaxed);
            match timeout(self.patience, &mut work).await {
                Ok(done) => return done.map_err(Into::into),
                Err(_) if self.shared.arrived.load(Ordering::Relaxed) != before => {}
                Err(_) if self.is_empty() => {
                    let what = "not all of it is here, and nobody was asked for it";
                    return Err(self.late(what));
                }
                Err(_) => return Err(self.late("no block came")),
            }
        }
    }

    /// As [`within`](Self::within), for the next of a stream.
    pub(crate) async fn next<T, E: Into<Failure>>(
        &self,
        stream: &mut (impl Stream<Item = Result<T, E>> + Unpin),
    ) -> Result<Option<T>, Failure> {
        let next = async { stream.next().await.transpose() };
        self.within(next).await
    }

    pub(crate) fn late(&self, what: &str) -> Failure {
        let seconds = self.patience.as_secs_f64();
        Failure::timed_out(format!("{what} within {seconds} s"))
    }
}

/// Keeps one peer connected.
async fn keep(shared: Arc<Shared>, peer: usize) {
    let mut wait = AGAIN_MIN;
    loop {
        let is = |reached: Reached| {
            shared.reached.send_modify(|all| {
                if let Some(entry) = all.get_mut(peer) {
                    *entry = reached;
                }
            });
        };
        let connected = connect(&shared, peer).await;
        let error = match connected {
            Ok(connection) => {
                is(Reached::Connected);
                wait = AGAIN_MIN;
                let over = exchange(&shared, &connection).await;
                over.err().unwrap_or(Error::Closed)
            }
            Err(error) => error,
        };
        let address = &shared.addresses[peer];
        tracing::info!(%address, %error, "a peer is not connected");
        is(Reached::Failed(error));
        tokio::time::sleep(wait).await;
        wait = AGAIN_MAX.min(wait * 2);
    }
}

async fn connect(shared: &Shared, peer: usize) -> Result<Connection, Error> {
    let dial = async {
        let address = shared.addresses[peer].as_str();
        let connection = tcp::connect(address, &shared.key_pair, &options()).await?;
        connection.opened().await?;
        Ok(connection)
    };
    timeout(SILENCE, dial).await.unwrap_or(Err(Error::TimedOut))
}

/// Exchanges what is wanted until the connection is over.
async fn exchange(shared: &Shared, connection: &Connection) -> Result<(), Error> {
    let mut wanted = shared.wanted.subscribe();
    let mut exchanged: Vec<DiscoveryKey> = Vec::new();
    let mut replications: Vec<Replication> = Vec::new();
    loop {
        let all = wanted.borrow_and_update().clone();
        let new: Vec<_> = (all.into_iter())
            .filter(|key| !exchanged.contains(key))
            .collect();
        if !new.is_empty() {
            exchanged.extend(&new);
            let options = ReplicateOptions { only: Some(new) };
            replications.push(connection.replicate(&shared.cores, options));
        }
        tokio::select! {
            over = connection.closed() => return over,
            changed = wanted.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
            }
        }
    }
}
