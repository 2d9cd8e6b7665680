//! Keeps a server known: announces it to the closest nodes, looks whether they are still there, and announces it again. Source: hyperdht 6.34.0,
//! `lib/announcer.js`.

use super::{
    HyperDht,
    messages::{Peer, RelayInfo, command},
    sign::Purpose,
};
use crate::dht_rpc::{Ask, Id, Reply};
use parking_lot::Mutex;
use pome_cores::KeyPair;
use std::{collections::HashSet, net::SocketAddrV4, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
};

/// Nodes that a server announces itself to; fewer that answer are too few.
const NODES: usize = 3;
/// Between two looks at them.
const LOOK: Duration = Duration::from_secs(3);
/// Looks until it is announced again: about five minutes.
const LOOKS: usize = 100;

#[derive(Debug, Default)]
struct Known {
    /// What clients are told: the nodes, and where they see the server.
    relays: Vec<RelayInfo>,
    addresses: Vec<SocketAddrV4>,
    /// The nodes of the last three rounds, the newest last.
    rounds: [Vec<SocketAddrV4>; 3],
    closest: Vec<SocketAddrV4>,
}

/// Announces one server. Its loop ends when nobody runs it any more.
pub(super) struct Announcer {
    dht: HyperDht,
    key_pair: KeyPair,
    target: Id,
    known: Mutex<Known>,
    again: Notify,
    suspended: watch::Sender<bool>,
    /// Held while it is announced.
    updating: tokio::sync::Mutex<()>,
}

impl Announcer {
    pub(super) fn new(dht: &HyperDht, key_pair: &KeyPair, target: Id) -> Arc<Self> {
        Arc::new(Self {
            dht: dht.clone(),
            key_pair: key_pair.clone(),
            target,
            known: Mutex::default(),
            again: Notify::new(),
            suspended: watch::Sender::new(false),
            updating: tokio::sync::Mutex::default(),
        })
    }

    /// The nodes through which it can be reached, and where they see it.
    pub(super) fn relays(&self) -> Vec<RelayInfo> {
        self.known.lock().relays.clone()
    }

    /// Where clients may begin to look for it.
    pub(super) fn addresses(&self) -> Vec<SocketAddrV4> {
        self.known.lock().addresses.clone()
    }

    /// True for a node that the server announced itself to lately.
    pub(super) fn is_relay(&self, node: SocketAddrV4) -> bool {
        let known = self.known.lock();
        known.rounds.iter().flatten().any(|other| *other == node)
    }

    /// Announces again soon.
    pub(super) fn refresh(&self) {
        self.again.notify_one();
    }

    /// Takes all announcements back, and makes no more until it is resumed.
    pub(super) async fn suspend(&self) {
        self.suspended.send_replace(true);
        // One that is being made ends first.
        let updating = self.updating.lock().await;
        self.stop().await;
        drop(updating);
    }

    pub(super) fn resume(&self) {
        self.suspended.send_replace(false);
        self.refresh();
    }

    fn gone(&self) -> Peer {
        Peer {
            public_key: self.key_pair.public,
            relay_addresses: vec![],
        }
    }

    /// Announces it once.
    pub(super) async fn update(&self) {
        let _updating = self.updating.lock().await;
        if *self.suspended.borrow() {
            return;
        }
        let nodes = {
            let mut known = self.known.lock();
            known.rounds.rotate_left(1);
            known.rounds[2].clear();
            known.closest.clone()
        };
        let mut lookup = self.dht.find_target(self.target, nodes);
        while let Ok(Some(_)) = lookup.next().await {}
        let mut addresses: Vec<_> = self.dht.dht().remote_addr().into_iter().collect();
        let mut relays = Vec::new();
        let peer = self.gone();
        let asked: Vec<(&Reply, _)> = lookup
            .closest()
            .iter()
            .take(NODES)
            .filter_map(|reply| {
                let purpose = Purpose::Announce;
                let pending =
                    self.dht
                        .announce_at(reply, self.target, purpose, &peer, &self.key_pair, 0)?;
                Some((reply, pending))
            })
            .collect();
        let mut took = Vec::new();
        for (reply, pending) in asked {
            if pending.await.is_ok_and(|answer| answer.response.error == 0) {
                took.push(reply.from);
                if addresses.len() < NODES {
                    addresses.push(reply.from);
                }
                relays.push(RelayInfo {
                    relay_address: reply.from,
                    peer_address: reply.response.to,
                });
            }
        }
        let removed: Vec<_> = {
            let mut known = self.known.lock();
            known.closest = lookup.closest().iter().map(|reply| reply.from).collect();
            known.relays = relays;
            known.addresses = addresses;
            known.rounds[2] = took.clone();
            let gone = |node: &&SocketAddrV4| !took.contains(*node);
            known.rounds[1].iter().filter(gone).copied().collect()
        };
        self.withdraw(removed).await;
    }

    /// Looks after the announcements, for as long as it is polled.
    pub(super) async fn keep(&self) {
        let mut told = self.dht.dht().watch();
        let mut suspended = self.suspended.subscribe();
        loop {
            if suspended.wait_for(|suspended| !suspended).await.is_err() {
                return;
            }
            for _ in 0..LOOKS {
                if !self.all_there().await {
                    break;
                }
                tokio::select! {
                    () = tokio::time::sleep(LOOK) => {}
                    () = self.again.notified() => break,
                    _ = suspended.changed() => break,
                    // Another address, or the machine slept.
                    changed = told.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return,
                    },
                }
            }
            if self.dht.dht().is_closed() {
                return;
            }
            self.update().await;
            if self.known.lock().relays.is_empty() {
                // Nobody is there: not again at once.
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    async fn all_there(&self) -> bool {
        let nodes = self.known.lock().rounds[2].clone();
        let wanted = nodes.len().min(NODES);
        let mut pings = JoinSet::new();
        for node in nodes {
            pings.spawn(self.dht.dht().ping(node));
        }
        let mut there = 0;
        while let Some(answer) = pings.join_next().await {
            there += usize::from(matches!(answer, Ok(Ok(_))));
        }
        there >= wanted
    }

    /// Takes all announcements back.
    pub(super) async fn stop(&self) {
        let nodes: HashSet<_> = self.known.lock().rounds.concat().into_iter().collect();
        self.withdraw(nodes).await;
    }

    async fn withdraw(&self, nodes: impl IntoIterator<Item = SocketAddrV4>) {
        let mut asked = JoinSet::new();
        for node in nodes {
            let ask = Ask {
                command: command::FIND_PEER,
                target: Some(self.target),
                ..Ask::default()
            };
            let pending = self.dht.dht().request(node, ask);
            let (dht, key_pair, target, gone) = (
                self.dht.clone(),
                self.key_pair.clone(),
                self.target,
                self.gone(),
            );
            asked.spawn(async move {
                let reply = pending.await.ok()?;
                reply.response.value.as_ref()?;
                let purpose = Purpose::Unannounce;
                let pending = dht.announce_at(&reply, target, purpose, &gone, &key_pair, 0)?;
                pending.await.ok()
            });
        }
        while asked.join_next().await.is_some() {}
    }
}
