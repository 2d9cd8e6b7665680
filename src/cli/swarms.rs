//! The swarms of a network: one on a node of our own, and with `--relay` one on a node that a relay lends over TCP, which rests as long as datagrams get
//! through.

use super::{args::Relay, dht, failure::Failure, frame::Reach};
use futures_util::future::select_ok;
use pome_cores::{DiscoveryKey, KeyPair};
use pome_net::{
    dht_relay::{DhtRelayOptions, RelayDialer},
    dht_rpc::Told,
    hyperdht::HyperDht,
    hyperswarm::{Discovery, Hyperswarm, JoinOptions, SwarmOptions},
};
use std::{net::SocketAddrV4, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

/// A node that has not answered by then does not.
const ANSWER: Duration = Duration::from_secs(3);
/// Whether datagrams get through is looked at so often, …
const AGAIN: Duration = Duration::from_secs(60);
/// … and at once when the network changes, but no more often than this.
const CALM: Duration = Duration::from_secs(5);

/// The way that is taken now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Own,
    Lent,
}

/// The swarms of one network.
pub(crate) struct Swarms {
    own: Option<Hyperswarm>,
    lent: Option<Hyperswarm>,
    /// None until it is known.
    way: watch::Receiver<Option<Way>>,
    changed: Arc<Notify>,
}

/// A topic that was joined in each of them.
#[derive(Clone)]
pub(crate) struct Sessions {
    own: Option<Discovery>,
    lent: Option<Discovery>,
    options: JoinOptions,
}

impl Relay {
    /// What dials it.
    pub(crate) fn dialer(&self) -> RelayDialer {
        let mut options = DhtRelayOptions::default();
        options.relay_key = self.key().map(|key| key.0);
        RelayDialer::new(self.address(), options)
    }
}

impl Swarms {
    /// Those of who meets peers like this. The tasks that they need run as long as the set lives.
    pub(crate) async fn start(
        reach: &Reach,
        key_pair: KeyPair,
        tasks: &mut JoinSet<()>,
    ) -> Result<Self, Failure> {
        let options = |key_pair| {
            let mut options = SwarmOptions::default();
            options.key_pair = Some(key_pair);
            options
        };
        let own = match reach.bootstrap.as_slice() {
            [] => None,
            nodes => {
                let dht = dht::options(nodes).await;
                let dht = match (dht, &reach.relay) {
                    (Ok(options), _) => Some(dht::bind(options)?),
                    // Where not even names are looked up, the relay does all.
                    (Err(error), Some(_)) => {
                        tracing::warn!(%error.message, "no node of the DHT is known");
                        None
                    }
                    (Err(error), None) => return Err(error),
                };
                let mut options = options(key_pair);
                options.relay_through = reach.relay_through();
                dht.map(|dht| Hyperswarm::new(dht, options))
            }
        };
        let changed = Arc::new(Notify::new());
        let (tell, way) = watch::channel(None);
        let lent = match &reach.relay {
            None => {
                tell.send_replace(Some(Way::Own));
                None
            }
            Some(relay) => {
                let dialer = relay.dialer();
                // The relay gets the secret key: not the one by which peers know this store.
                let swarm = Hyperswarm::new(dialer.clone(), options(KeyPair::random()));
                match own.as_ref().and_then(Hyperswarm::dht) {
                    None => {
                        tell.send_replace(Some(Way::Lent));
                    }
                    Some(dht) => {
                        swarm.suspend().await;
                        let nodes = dht::resolve(&reach.bootstrap).await?;
                        let choosing = Choosing {
                            dht: dht.clone(),
                            nodes,
                            dialer,
                            lent: swarm.clone(),
                            tell,
                            changed: changed.clone(),
                        };
                        tasks.spawn(choosing.run());
                    }
                }
                Some(swarm)
            }
        };
        Ok(Self {
            own,
            lent,
            way,
            changed,
        })
    }

    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Hyperswarm> {
        self.own.iter().chain(&self.lent)
    }

    /// True when there is one at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.own.is_none() && self.lent.is_none()
    }

    /// The network has changed: what got through may not any more.
    pub(crate) fn network_changed(&self) {
        if let Some(dht) = self.own.as_ref().and_then(Hyperswarm::dht) {
            dht.network_changed();
        }
        self.changed.notify_one();
    }

    pub(crate) fn join(
        &self,
        topic: DiscoveryKey,
        options: JoinOptions,
    ) -> Result<Sessions, Failure> {
        let join = |swarm: &Option<Hyperswarm>| {
            let joined = swarm.as_ref().map(|swarm| swarm.join(topic.0, options));
            joined.transpose()
        };
        Ok(Sessions {
            own: join(&self.own)?,
            lent: join(&self.lent)?,
            options,
        })
    }

    /// The one that finds peers now, and its session.
    async fn active<'a>(
        &'a self,
        sessions: &'a Sessions,
    ) -> Option<(&'a Hyperswarm, &'a Discovery)> {
        let mut way = self.way.clone();
        let way = way
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|way| *way);
        match way? {
            Way::Own => self.own.as_ref().zip(sessions.own.as_ref()),
            Way::Lent => self.lent.as_ref().zip(sessions.lent.as_ref()),
        }
    }

    /// Waits until all peers that are known now have been asked to connect.
    pub(crate) async fn flushed(&self, sessions: &Sessions) {
        if let Some((swarm, discovery)) = self.active(sessions).await {
            discovery.flushed().await;
            swarm.flush().await;
        }
    }

    /// Waits for the round of announcing that runs, or is about to: do those who look for the topic find us?
    pub(crate) async fn announced(&self, sessions: &Sessions) -> bool {
        match self.active(sessions).await {
            Some((_, discovery)) => discovery.flushed().await,
            None => false,
        }
    }
}

impl Sessions {
    /// Looks again.
    pub(crate) async fn refresh(&self) {
        let again = async |discovery: &Option<Discovery>| {
            if let Some(discovery) = discovery {
                let _ = discovery.refresh(self.options).await;
            }
        };
        tokio::join!(again(&self.own), again(&self.lent));
    }

    /// Leaves the topic.
    pub(crate) async fn destroy(&self) {
        let end = async |discovery: &Option<Discovery>| {
            if let Some(discovery) = discovery {
                discovery.destroy().await;
            }
        };
        tokio::join!(end(&self.own), end(&self.lent));
    }
}

/// Takes the relay where datagrams do not get through, and only there.
struct Choosing {
    dht: HyperDht,
    nodes: Vec<SocketAddrV4>,
    dialer: RelayDialer,
    lent: Hyperswarm,
    tell: watch::Sender<Option<Way>>,
    changed: Arc<Notify>,
}

impl Choosing {
    async fn run(self) {
        let mut told = self.dht.dht().watch();
        loop {
            let before = *self.tell.borrow();
            let way = match answers(&self.dht, &self.nodes).await {
                true => Way::Own,
                false => Way::Lent,
            };
            if before != Some(way) {
                match way {
                    Way::Lent => {
                        tracing::warn!("no node answers by UDP: peers are met through the relay");
                        self.lent.resume().await;
                    }
                    Way::Own if before.is_some() => {
                        tracing::info!("nodes answer by UDP: the relay is not needed any more");
                        self.lent.suspend().await;
                        self.dialer.hang_up();
                    }
                    Way::Own => {}
                }
                self.tell.send_replace(Some(way));
            }
            sleep(CALM).await;
            let offline = async {
                let is_offline = |told: &Told| told.offline;
                if way == Way::Lent || told.wait_for(is_offline).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = self.changed.notified() => {}
                () = offline => {}
                () = sleep(AGAIN) => {}
            }
        }
    }
}

/// Does any node of the DHT answer?
pub(crate) async fn answers(dht: &HyperDht, nodes: &[SocketAddrV4]) -> bool {
    let known = dht.dht().nodes().into_iter().take(3);
    let pings: Vec<_> = (nodes.iter().copied().chain(known))
        .map(|node| dht.dht().ping(node))
        .collect();
    if pings.is_empty() {
        return false;
    }
    matches!(timeout(ANSWER, select_ok(pings)).await, Ok(Ok(_)))
}
