//! Histories that differ: following a peer to a later fork, finding out that a core was signed twice, and a writer that is behind itself.

use std::{sync::Arc, time::Instant};

use pome_storage::Batch;

use super::{
    apply::Arrived,
    events::{CoreEvent, PeerId},
    machine::Machine,
    messages::{Data, Message, Request},
    peer::Closing,
};
use crate::{
    change::Change,
    core::Core,
    error::Error,
    manifest::Manifest,
    merkle::{NodeRequest, Proof, ProofRequest, Reorg, Tree, UpgradeRequest},
    verifier::Verifier,
};

/// A later fork that some peer is on.
pub(crate) struct ForkWork {
    fork: u64,
    /// Who has been asked.
    pub(crate) asked: Option<PeerId>,
    /// Its tree, once its signature was checked.
    reorg: Option<Reorg>,
    learnt: Option<Manifest>,
}

impl Machine {
    /// Peers have come, gone, or said on which fork they are: which later fork is to be followed, if any. Who could not prove what it said is
    /// not listened to.
    pub(crate) fn review_forks(&mut self, core: &Core) {
        let fork = core.head.read().tree.fork;
        let follows = core.replication.allows_fork();
        let latest = (self.peers.values())
            .filter(|_| follows)
            .filter(|peer| peer.synced && peer.closing.is_none() && !peer.is_doubted())
            .map(|peer| peer.remote)
            .filter(|remote| remote.fork > fork && remote.length > 0)
            .map(|remote| remote.fork)
            .max();
        if self.forks.as_ref().map(|forks| forks.fork) != latest {
            self.forks = latest.map(|fork| ForkWork {
                fork,
                asked: None,
                reorg: None,
                learnt: None,
            });
            self.replan();
        }
    }

    /// Asks this peer for what is missing of the fork that it is on. True when something was asked.
    pub(crate) fn plan_fork(&mut self, core: &Core, id: PeerId, now: Instant) -> bool {
        let Some(peer) = self.peers.get(&id) else {
            return false;
        };
        let Some(forks) = &self.forks else {
            return false;
        };
        if forks.asked.is_some() || peer.remote.fork != forks.fork || peer.remote.length == 0 {
            return false;
        }
        let remote_length = peer.remote.length;
        let proof = match forks.reorg.as_ref().map(Reorg::want) {
            None => ProofRequest {
                upgrade: Some(UpgradeRequest {
                    start: 0,
                    length: remote_length,
                }),
                ..ProofRequest::default()
            },
            Some(None) => return false,
            Some(Some(want)) => {
                let end = want.end.min(remote_length);
                let Some(index) = peer.next_has(want.start, end) else {
                    return false;
                };
                ProofRequest {
                    hash: Some(NodeRequest {
                        index: 2 * index,
                        nodes: want.nodes,
                    }),
                    ..ProofRequest::default()
                }
            }
        };
        self.ask(core, id, proof, 0, now, |asked| asked.for_fork = true);
        if let Some(forks) = &mut self.forks {
            forks.asked = Some(id);
        }
        true
    }

    /// A proof of a later fork has come.
    pub(crate) fn on_fork_proof(&mut self, core: &Arc<Core>, arrived: Arrived, now: Instant) {
        if let Some(asked) = &arrived.asked {
            self.lost_request(core, arrived.peer, asked);
        }
        if let Err(error) = self.take_fork_proof(core, &arrived.proof) {
            let code = error.code();
            self.forks = None;
            if matches!(error, Error::Tree(_)) {
                self.fault(core, arrived.peer, code, now);
            }
            self.review_forks(core);
        }
        self.replan();
    }

    fn take_fork_proof(&mut self, core: &Arc<Core>, proof: &Proof) -> Result<(), Error> {
        let Some(forks) = self.forks.as_mut().filter(|forks| forks.fork == proof.fork) else {
            return Ok(());
        };
        let tree = core.head.read().tree.clone();
        let nodes = |index| core.node(index);
        match (&mut forks.reorg, &proof.upgrade) {
            (Some(reorg), _) => {
                reorg.update(&nodes, proof)?;
            }
            (None, Some(_)) => {
                let reorg = tree.reorg(&nodes, proof)?;
                let verifier = core.verifier();
                let known = verifier.as_ref().map(|known| known.manifest());
                forks.learnt = Verifier::check_upgrade(core.key, known, reorg.batch(), proof)?;
                forks.reorg = Some(reorg);
            }
            (None, None) => {}
        }
        Ok(())
    }

    /// Goes over to the other fork when it is known from where on it differs.
    pub(crate) fn apply_fork(&mut self, core: &Arc<Core>, now: Instant) {
        let complete =
            |forks: &ForkWork| (forks.reorg.as_ref()).is_some_and(|reorg| reorg.want().is_none());
        if !self.forks.as_ref().is_some_and(complete) {
            return;
        }
        let change = match Change::try_begin(core) {
            Ok(Some(change)) => change,
            Ok(None) => {
                self.retry_at = Some(now + std::time::Duration::from_millis(1));
                return;
            }
            Err(_) => return,
        };
        self.retry_at = None;
        let Some(forks) = self.forks.take() else {
            return;
        };
        let done = follow(core, change, forks);
        if let Err(error) = done {
            tracing::warn!(%error, "a later fork cannot be followed");
        }
        self.review_forks(core);
        self.refresh(core, now);
    }

    /// The core is on another fork now: nothing that was asked about the old one can be used.
    pub(crate) fn forked_here(&mut self, core: &Core, fork: u64) {
        if self.forks.as_ref().is_some_and(|forks| forks.fork <= fork) {
            self.forks = None;
        } else if let Some(forks) = &mut self.forks {
            // it was compared with the old tree
            forks.reorg = None;
        }
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            self.take_back(core, id);
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.told_contiguous = 0;
                peer.due.sync = true;
                peer.due.contiguous = true;
                peer.exact = false;
            }
        }
        self.upgrading = None;
    }

    /// While a peer shows a longer history of a core that is written here, nothing is signed: it may be our own, of before a loss. It is
    /// believed until it was asked and could not prove it.
    pub(crate) fn check_behind(&mut self, core: &Core) {
        let (length, fork) = {
            let head = core.head.read();
            (head.tree.length, head.tree.fork)
        };
        let longest = (self.peers.values())
            .filter(|peer| peer.synced && peer.opened && !peer.is_doubted())
            .filter(|peer| peer.closing.is_none())
            .map(|peer| peer.remote)
            .filter(|remote| {
                (remote.fork == fork && remote.length > length)
                    || (remote.fork > fork && remote.length > 0)
            })
            .map(|remote| remote.length)
            .max();
        let was = core.replication.check_signing(core.key).is_err();
        core.replication.set_behind(longest);
        let ours = core.auth.read().owner.is_some();
        if was && ours && longest.is_none() && !core.replication.is_forked() {
            core.replication.emit(|| CoreEvent::Recovered { length });
            core.wake();
        }
    }

    /// A proof did not hold: perhaps because the core was signed twice. The peer is asked for the roots and signature that would show it.
    pub(crate) fn ask_for_conflict(&mut self, core: &Core, id: PeerId) {
        let head = core.head.read();
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let length = head.tree.length.min(peer.remote.length);
        if length == 0 || peer.remote.fork != head.tree.fork || peer.checked_conflict {
            return;
        }
        peer.checked_conflict = true;
        peer.due.messages.push_back(Message::Request(Request {
            id: 0,
            fork: head.tree.fork,
            proof: ProofRequest {
                upgrade: Some(UpgradeRequest { start: 0, length }),
                ..ProofRequest::default()
            },
            ..Request::default()
        }));
        peer.mark();
    }

    /// The roots and the signature of a peer: if they hold and differ from ours, the core has two histories and is of no use any more.
    pub(crate) fn check_conflict(&mut self, core: &Core, id: PeerId, proof: &Proof, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let asked = std::mem::take(&mut peer.checked_conflict);
        match is_conflict(core, proof) {
            Ok(false) if asked => {}
            // a block that was pushed before the peer knew of our length
            Ok(false) if self.allow_push => {}
            // each costs us a signature to check
            Ok(false) => self.invalid_request(core, id),
            Ok(true) => self.conflict(core, id, proof),
            Err(Error::Tree(error)) => self.fault(core, id, error.code(), now),
            Err(error) => tracing::warn!(%error, "a conflict cannot be checked"),
        }
    }

    fn conflict(&mut self, core: &Core, from: PeerId, proof: &Proof) {
        let length = proof.upgrade.as_ref().map_or(0, |upgrade| upgrade.length);
        let fork = proof.fork;
        core.replication.set_forked();
        let kept = core
            .registry()
            .and_then(|registry| registry.set_forked(core));
        if let Err(error) = kept {
            tracing::error!(%error, "that the core was signed twice cannot be stored");
        }
        tracing::error!(key = %core.key, length, fork, "the core was signed twice for one length");
        core.replication
            .emit(|| CoreEvent::Conflict { length, fork });
        let ids: Vec<PeerId> = self.peers.keys().copied().collect();
        for id in ids {
            self.take_back(core, id);
            // who sent it can tell by our signature that there are two histories, the others by theirs
            let ours = self.peers.get(&id).and_then(|peer| {
                if id != from {
                    return Some(proof.clone());
                }
                let shown = self
                    .shown
                    .as_ref()
                    .filter(|shown| shown.tree.fork == fork)?;
                let length = shown.tree.length.min(peer.remote.length);
                let upgrade = (length > 0 && peer.remote.fork == fork)
                    .then_some(UpgradeRequest { start: 0, length });
                let request = ProofRequest {
                    upgrade,
                    ..ProofRequest::default()
                };
                upgrade?;
                let nodes = |index| core.node(index);
                let mut proof = shown.tree.proof(&nodes, &request, None).ok()?;
                if let Some(upgrade) = &mut proof.upgrade {
                    upgrade.signature = shown.signature(core);
                }
                Some(proof)
            });
            if let Some(peer) = self.peers.get_mut(&id) {
                if let Some(proof) = ours {
                    let data = Data { request: 0, proof };
                    peer.due.messages.push_back(Message::Data(Box::new(data)));
                }
                peer.closing = Some(Closing::Channel);
                peer.mark();
            }
        }
        core.wake();
    }
}

fn is_conflict(core: &Core, proof: &Proof) -> Result<bool, Error> {
    let tree = core.head.read().tree.clone();
    let Some(upgrade) = &proof.upgrade else {
        return Ok(false);
    };
    if upgrade.length > tree.length || proof.fork != tree.fork {
        return Ok(false);
    }
    let batch = tree.verify_fully_remote(proof)?;
    let verifier = core.verifier();
    let known = verifier.as_ref().map(|known| known.manifest());
    Verifier::check_upgrade(core.key, known, &batch, proof)?;
    let nodes = |index| core.node(index);
    let ours = Tree::load(&nodes, upgrade.length, tree.fork)?.hash();
    Ok(crate::crypto::tree_hash(&upgrade.nodes) != ours)
}

fn follow(core: &Arc<Core>, mut change: Change, forks: ForkWork) -> Result<(), Error> {
    let Some(reorg) = forks.reorg else {
        return Ok(());
    };
    let mut batch = Batch::new();
    if let Some(manifest) = forks.learnt.filter(|_| core.verifier().is_none()) {
        change.learn(&mut batch, manifest)?;
    }
    if !change.reorg(&mut batch, reorg.into_batch())? {
        return Ok(());
    }
    change.seal(&mut batch);
    let registry = core.registry()?;
    let seq = {
        let _kept = change.keep_snapshots();
        registry.commit(batch)?
    };
    change.committed(seq);
    Ok(())
}
