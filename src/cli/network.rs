//! The networks on which peers are met: swarms over the DHT, and a beacon on the local network. All clients of an owner that meet peers in the same way
//! share one, so that there is one connection to a peer whatever is exchanged with it.

use super::{
    failure::Failure,
    frame::Reach,
    peers,
    swarms::{Sessions, Swarms},
};
use parking_lot::Mutex;
use pome_cores::{CoreOptions, Corestore, DiscoveryKey, Hypercore};
use pome_net::{
    driver::{Connection, ReplicateOptions, Replication},
    hyperswarm::{Hyperswarm, JoinOptions},
    lan::{Lan, LanOptions, LanTopics},
    networks::NetworkWatch,
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{broadcast, watch},
    task::JoinSet,
    time::timeout,
};

/// How long the nodes that were told of us are given to forget us.
const GOOD_BYE: Duration = Duration::from_secs(2);
/// Who is on the local network, and has heard the beacon, has come by then.
const LAN_ANSWER: Duration = Duration::from_secs(1);
/// Who has come says by then which topics he has.
const LAN_SAYS: Duration = Duration::from_millis(500);
/// Peers that nobody has been told of yet; older ones are not told of.
const OPENED: usize = 64;

/// The networks of one open store.
pub(crate) struct Networks {
    cores: Corestore,
    all: tokio::sync::Mutex<Vec<(Reach, Weak<Network>)>>,
    leaving: Mutex<JoinSet<()>>,
}

impl Networks {
    pub(crate) fn new(cores: &Corestore) -> Arc<Self> {
        Arc::new(Self {
            cores: cores.clone(),
            all: tokio::sync::Mutex::default(),
            leaving: Mutex::default(),
        })
    }

    /// The network of those who meet peers like this; begun where there is none.
    pub(crate) async fn get(self: &Arc<Self>, reach: &Reach) -> Result<Arc<Network>, Failure> {
        let mut all = self.all.lock().await;
        all.retain(|(_, network)| network.strong_count() > 0);
        let same = all.iter().find(|(other, _)| other == reach);
        if let Some(network) = same.and_then(|(_, network)| network.upgrade()) {
            return Ok(network);
        }
        let network = Network::start(self, reach).await?;
        all.push((reach.clone(), Arc::downgrade(&network)));
        Ok(network)
    }

    /// Says good-bye, as far as there is time.
    pub(crate) async fn close(&self) {
        let mut leaving = std::mem::take(&mut *self.leaving.lock());
        while leaving.join_next().await.is_some() {}
    }
}

/// What is exchanged with peers that look for a topic.
#[derive(Debug, Clone)]
struct Offer {
    topic: [u8; 32],
    cores: Vec<DiscoveryKey>,
}

type Offers = BTreeMap<u64, Offer>;

/// The sessions on topics of the swarms, by the number of the offer.
type Discoveries = Arc<Mutex<BTreeMap<u64, Sessions>>>;

/// What the tasks of a network share with it.
struct Shared {
    cores: Corestore,
    offers: watch::Sender<Offers>,
    opened: broadcast::Sender<[u8; 32]>,
    /// Of each open connection, by its handshake's hash, the offers whose cores the peer has been shown, as far as he may be.
    shown: watch::Sender<HashMap<[u8; 64], BTreeSet<u64>>>,
}

/// One network. It ends when nobody holds it.
pub(crate) struct Network {
    networks: Arc<Networks>,
    shared: Arc<Shared>,
    swarms: Arc<Swarms>,
    lan: Option<LanTopics>,
    discoveries: Discoveries,
    next: AtomicU64,
    _tasks: JoinSet<()>,
}

impl Network {
    async fn start(networks: &Arc<Networks>, reach: &Reach) -> Result<Arc<Self>, Failure> {
        let shared = Arc::new(Shared {
            cores: networks.cores.clone(),
            offers: watch::Sender::default(),
            opened: broadcast::Sender::new(OPENED),
            shown: watch::Sender::default(),
        });
        let mut tasks = JoinSet::new();
        let key_pair = peers::key_pair(&networks.cores);
        let swarms = Arc::new(Swarms::start(reach, key_pair, &mut tasks).await?);
        for swarm in swarms.all() {
            tasks.spawn(swarming(shared.clone(), swarm.connections()));
        }
        let lan = match reach.lan {
            false => None,
            true => {
                let mut options = LanOptions::default();
                options.connection = peers::options();
                match Lan::start(options).await {
                    Ok(lan) => {
                        let topics = lan.joiner();
                        tasks.spawn(meeting(shared.clone(), lan));
                        Some(topics)
                    }
                    // Another program has the port.
                    Err(error) => {
                        tracing::warn!(%error, "peers on the local network are not looked for");
                        None
                    }
                }
            }
        };
        let discoveries = Discoveries::default();
        match NetworkWatch::new() {
            Ok(watch) => {
                let followed = (lan.clone(), swarms.clone(), Arc::clone(&discoveries));
                tasks.spawn(follow(watch, followed));
            }
            Err(error) => tracing::info!(%error, "changes of the network are not noticed at once"),
        }
        Ok(Arc::new(Self {
            networks: networks.clone(),
            shared,
            swarms,
            lan,
            discoveries,
            next: AtomicU64::new(0),
            _tasks: tasks,
        }))
    }

    /// Looks for peers under a topic, and with `serving` is found under it; exchanges these cores with them, and more that are added later.
    pub(crate) fn join(
        self: &Arc<Self>,
        topic: DiscoveryKey,
        cores: Vec<DiscoveryKey>,
        serving: bool,
    ) -> Result<Joined, Failure> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let offer = Offer {
            topic: topic.0,
            cores,
        };
        self.shared.offers.send_modify(|offers| {
            offers.insert(number, offer);
        });
        let joined = Joined {
            network: self.clone(),
            topic: topic.0,
            number,
        };
        if let Some(lan) = &self.lan {
            lan.join(topic.0);
        }
        if !self.swarms.is_empty() {
            let options = match serving {
                true => JoinOptions::default(),
                false => JoinOptions::client(),
            };
            let sessions = self.swarms.join(topic, options)?;
            self.discoveries.lock().insert(number, sessions);
        }
        Ok(joined)
    }

    /// The peers that connect from now on, by their public keys.
    pub(crate) fn opened(&self) -> broadcast::Receiver<[u8; 32]> {
        self.shared.opened.subscribe()
    }

    /// Waits until those who are connected now have been shown what is offered under this number.
    async fn shown(&self, number: u64) {
        let connected = self.swarms.all().flat_map(Hyperswarm::connected);
        let all = connected.map(|(connection, _)| async move {
            let Some(name) = connection.handshake_hash() else {
                return;
            };
            let mut shown = self.shared.shown.subscribe();
            let has_been =
                shown.wait_for(|shown| shown.get(&name).is_some_and(|all| all.contains(&number)));
            tokio::select! {
                _ = has_been => {}
                _ = connection.closed() => {}
            }
        });
        futures_util::future::join_all(all).await;
        // Whoever was met on the local network says first which topics he has, or never.
        let mut shown = self.shared.shown.subscribe();
        let all_know = shown.wait_for(|shown| shown.values().all(|all| all.contains(&number)));
        let _ = timeout(LAN_SAYS, all_know).await;
    }
}

/// A topic that was joined. Dropped, it is left, unless others have joined it too.
pub(crate) struct Joined {
    network: Arc<Network>,
    topic: [u8; 32],
    number: u64,
}

impl Joined {
    pub(crate) fn topic(&self) -> [u8; 32] {
        self.topic
    }

    /// Exchanges this core, too.
    pub(crate) fn add(&self, core: DiscoveryKey) {
        self.network.shared.offers.send_if_modified(|offers| {
            let offer = offers.get_mut(&self.number);
            let Some(offer) = offer.filter(|offer| !offer.cores.contains(&core)) else {
                return false;
            };
            offer.cores.push(core);
            true
        });
    }

    fn sessions(&self) -> Option<Sessions> {
        self.network.discoveries.lock().get(&self.number).cloned()
    }

    /// Waits until all peers that are known now have been asked to connect, and those who did have been shown what is offered: their answers are to come.
    pub(crate) async fn flushed(&self) {
        let swarms = async {
            if let Some(sessions) = self.sessions() {
                self.network.swarms.flushed(&sessions).await;
            }
        };
        let lan = async {
            if self.network.lan.is_some() {
                tokio::time::sleep(LAN_ANSWER).await;
            }
        };
        tokio::join!(swarms, lan);
        self.network.shown(self.number).await;
    }

    /// Waits for the round of announcing that runs, or is about to: do those who look for the topic in the DHT find us?
    pub(crate) async fn announced(&self) -> bool {
        match self.sessions() {
            Some(sessions) => self.network.swarms.announced(&sessions).await,
            None => false,
        }
    }

    /// Looks again.
    pub(crate) async fn refresh(&self) {
        if let Some(sessions) = self.sessions() {
            sessions.refresh().await;
        }
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        let mut alone = false;
        self.network.shared.offers.send_modify(|offers| {
            offers.remove(&self.number);
            alone = offers.values().all(|offer| offer.topic != self.topic);
        });
        if let Some(lan) = self.network.lan.as_ref().filter(|_| alone) {
            lan.leave(&self.topic);
        }
        let sessions = self.network.discoveries.lock().remove(&self.number);
        if let Some(sessions) = sessions {
            let network = self.network.clone();
            let leave = async move {
                let _ = timeout(GOOD_BYE, sessions.destroy()).await;
                drop(network);
            };
            let mut leaving = self.network.networks.leaving.lock();
            while leaving.try_join_next().is_some() {}
            leaving.spawn(leave);
        }
    }
}

/// Exchanges cores over the connections of a swarm.
async fn swarming(shared: Arc<Shared>, mut connections: pome_net::hyperswarm::Connections) {
    let mut tasks = JoinSet::new();
    while let Some((connection, _)) = connections.next().await {
        while tasks.try_join_next().is_some() {}
        tasks.spawn(exchange(shared.clone(), connection, None));
    }
}

/// The same over those to peers on the local network.
async fn meeting(shared: Arc<Shared>, mut lan: Lan) {
    let mut tasks = JoinSet::new();
    while let Some(peer) = lan.next().await {
        while tasks.try_join_next().is_some() {}
        let topics = Some(peer.shared());
        tasks.spawn(exchange(shared.clone(), peer.connection().clone(), topics));
    }
}

/// Looks for peers anew whenever the machine's addresses change.
async fn follow(
    mut watch: NetworkWatch,
    (lan, swarms, discoveries): (Option<LanTopics>, Arc<Swarms>, Discoveries),
) {
    while let Ok(networks) = watch.changed().await {
        tracing::info!(?networks, "the network has changed");
        if let Some(lan) = &lan {
            lan.network_changed();
        }
        swarms.network_changed();
        let all: Vec<_> = discoveries.lock().values().cloned().collect();
        let again = futures_util::future::join_all(all.iter().map(Sessions::refresh));
        let _ = timeout(Duration::from_secs(10), again).await;
    }
}

/// What a peer has been shown, for as long as he is connected.
struct Shown<'a> {
    shared: &'a Shared,
    name: [u8; 64],
}

impl Shown<'_> {
    fn tell(&self, offers: BTreeSet<u64>) {
        let insert = |all: &mut HashMap<_, _>| drop(all.insert(self.name, offers));
        self.shared.shown.send_modify(insert);
    }
}

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        let remove = |all: &mut HashMap<_, _>| drop(all.remove(&self.name));
        self.shared.shown.send_modify(remove);
    }
}

/// Some cores that are exchanged over a connection.
struct Going {
    cores: BTreeSet<DiscoveryKey>,
    _open: Vec<Hypercore>,
    _replication: Replication,
}

/// Exchanges what is offered until the connection is over; with a peer that has shown topics, what is offered under these.
async fn exchange(
    shared: Arc<Shared>,
    connection: Connection,
    mut shown: Option<watch::Receiver<Vec<[u8; 32]>>>,
) {
    let told = connection.handshake_hash().map(|name| Shown {
        shared: &shared,
        name,
    });
    if let Some(key) = connection.remote_public_key() {
        let _ = shared.opened.send(key);
    }
    if let Some(told) = &told {
        told.tell(BTreeSet::new());
    }
    let mut offers = shared.offers.subscribe();
    // Each with the cores that it is about.
    let mut going: Vec<Going> = Vec::new();
    loop {
        let shown_now = shown
            .as_mut()
            .map(|shown| shown.borrow_and_update().clone());
        let (wanted, numbers): (BTreeSet<DiscoveryKey>, BTreeSet<u64>) = {
            let offers = offers.borrow_and_update();
            let of_topic = |offer: &Offer| {
                shown_now
                    .as_ref()
                    .is_none_or(|topics| topics.contains(&offer.topic))
            };
            let offered = offers.iter().filter(|(_, offer)| of_topic(offer));
            let cores = offered.clone().flat_map(|(_, offer)| &offer.cores);
            let cores = cores.copied().collect();
            (cores, offered.map(|(number, _)| *number).collect())
        };
        // What is offered no more ends; what it was begun with begins anew.
        going.retain(|going| going.cores.is_subset(&wanted));
        let mut new = wanted;
        for going in &going {
            new.retain(|core| !going.cores.contains(core));
        }
        if !new.is_empty() {
            // The other side may have opened them before this one knew that it shares them, and was refused: an open core is offered by this side.
            let mut open = Vec::new();
            if shown_now.is_some() {
                for core in &new {
                    open.extend(shared.cores.get(CoreOptions::discovery_key(*core)).await);
                }
            }
            let only = Some(new.iter().copied().collect());
            let replication = connection.replicate(&shared.cores, ReplicateOptions { only });
            tokio::select! {
                () = replication.begun() => {}
                _ = connection.closed() => return,
            }
            going.push(Going {
                _replication: replication,
                _open: open,
                cores: new,
            });
        } else {
            // Nobody here wants a topic of his now: whatever he opens is refused.
            connection.release();
        }
        if let Some(told) = &told {
            told.tell(numbers);
        }
        let shown_changed = async {
            match &mut shown {
                Some(shown) => shown.changed().await.is_ok(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = connection.closed() => return,
            changed = offers.changed() => if changed.is_err() { return },
            there = shown_changed => if !there { return },
        }
    }
}
