//! The peers that a command names with `--peer`: connected for as long as it runs, for the cores that it is about and no others.

use super::{failure::Failure, io::Io, service::Service};
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
    time::timeout,
};

/// How often an idle connection shows that it lives; hypercore's own default.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// A peer from which nothing came for so long is gone, whatever its socket says: it shows that it lives more often than that.
const SILENCE: Duration = Duration::from_secs(20);
/// A peer that is gone is dialled again after this, then after twice as long, and so on …
const AGAIN_MIN: Duration = Duration::from_millis(100);
/// … up to this.
const AGAIN_MAX: Duration = Duration::from_secs(5);

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
        }
    }

    /// True when the command names none.
    pub(crate) fn is_empty(&self) -> bool {
        self.shared.addresses.is_empty()
    }

    /// Exchanges this core with them from now on.
    pub(crate) fn exchange(&self, core: &Hypercore) {
        let key = core.discovery_key();
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

    /// Has the core as long as the peers have it; where none is named, as it is here.
    pub(crate) async fn newest(&self, core: &Hypercore) -> Result<(), Failure> {
        if self.is_empty() {
            return Ok(());
        }
        self.exchange(core);
        if core.writable() {
            // Nobody else makes it longer.
            return Ok(());
        }
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
                    let what = "not all of it is here, and it came from nobody (--peer names peers to ask)";
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
