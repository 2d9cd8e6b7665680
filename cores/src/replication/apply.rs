//! Checking what peers send, and storing it: everything that came in one wake-up becomes one commit.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use pome_storage::Batch;

use super::{
    beside::{Slot, Worker},
    events::{CoreEvent, PeerId},
    machine::Machine,
    messages::Data,
    numbers::{NumberMap, NumberSet},
    peer::Asked,
};
use crate::{
    change::{Change, check_blocks},
    core::Core,
    crypto,
    error::Error,
    merkle::{Node, Proof, TreeError, verify_below},
    verifier::Verifier,
};

/// What waits to be checked is checked at the latest when it is this many proofs or bytes.
const ARRIVED_MAX: (usize, usize) = (512, 4 << 20);
/// From so many proofs or bytes on they are checked beside the connection: less is done before another thread would have begun.
const BESIDE_MIN: (usize, usize) = (48, 128 << 10);
/// How soon to try again when somebody else is changing the core.
const BUSY: Duration = Duration::from_millis(1);
/// Proofs of one peer that may lead to a node that is not here.
const MISSED_MAX: u32 = 1024;
/// How soon to try again when the store could not take it.
const FULL: Duration = Duration::from_secs(5);

/// A block is not in the core.
const BEYOND: TreeError = TreeError::InvalidProof {
    what: "block index",
};

/// A proof that a peer sent, not checked yet.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) peer: PeerId,
    pub(crate) asked: Option<Asked>,
    pub(crate) proof: Proof,
    /// Of its block.
    pub(crate) bytes: usize,
}

/// What a proof was found to be.
enum Checked {
    /// It holds.
    Good,
    /// It is of no use any more, and nobody's fault.
    Stale,
    /// It does not hold.
    Bad(TreeError),
}

/// What came in one wake-up, with the core's write lock.
pub(super) struct Job {
    core: Arc<Core>,
    arrived: Vec<Arrived>,
    collected: Collected,
}

/// What came of it.
pub(super) struct Settled {
    results: Vec<(Arrived, Checked)>,
    /// What the core's was.
    fork: u64,
    /// Proofs of later forks: they are looked at elsewhere.
    forks: Vec<Arrived>,
    /// What holds is stored.
    stored: bool,
    /// The core has learnt its manifest.
    learnt: bool,
}

impl Job {
    /// Checks and stores. Takes long: the blocks are hashed and written.
    pub(super) fn run(self) -> Settled {
        let Self {
            core,
            arrived,
            mut collected,
        } = self;
        let mut leaves = leaf_hashes(&arrived).into_iter();
        let fork = collected.change.merkle.tree().fork;
        let mut forks = Vec::new();
        let mut results = Vec::with_capacity(arrived.len());
        let mut early = Vec::new();
        for mut arrived in arrived {
            let leaf = (arrived.proof.block.as_ref()).and_then(|_| leaves.next());
            if arrived.proof.fork > fork {
                forks.push(arrived);
                continue;
            }
            let checked = collected.take(&core, &mut arrived.proof, leaf);
            match checked {
                // what it leads to may be among what came with it
                Checked::Bad(TreeError::MissingNode { .. }) => early.push((arrived, leaf)),
                // it was pushed for a length that has not come
                Checked::Bad(BEYOND) if arrived.asked.is_none() => {
                    results.push((arrived, Checked::Stale));
                }
                checked => results.push((arrived, checked)),
            }
        }
        for (mut arrived, leaf) in early {
            let checked = collected.take(&core, &mut arrived.proof, leaf);
            results.push((arrived, checked));
        }
        let knew = core.verifier().is_some();
        let committed = collected.commit(&core);
        if let Err(error) = &committed {
            tracing::warn!(%error, "what came from peers cannot be stored");
        }
        Settled {
            results,
            fork,
            forks,
            stored: committed.is_ok(),
            learnt: !knew && core.verifier().is_some(),
        }
    }
}

/// What is found good, on its way into one change.
struct Collected {
    change: Change,
    batch: Batch,
    nodes: NumberMap<Node>,
    blocks: Vec<(u64, Bytes)>,
    seen: NumberSet,
    /// What one proof brings.
    brought: Vec<Node>,
    learnt: bool,
}

impl Machine {
    /// A proof has come.
    pub(crate) fn on_data(&mut self, core: &Arc<Core>, id: PeerId, data: Data, now: Instant) {
        let Data { request, proof } = data;
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let (fork, length) = {
            let head = core.head.read();
            (head.tree.fork, head.tree.length)
        };
        if request == 0
            && let Some(upgrade) = &proof.upgrade
            && upgrade.start == 0
            && proof.fork == fork
            && length > 0
        {
            self.check_conflict(core, id, &proof, now);
            return;
        }
        let asked = peer.requests.remove(&request);
        if asked.is_none() && !self.allow_push && proof.fork <= fork {
            // cancelled meanwhile, or never asked for
            return;
        }
        if let Some(asked) = &asked {
            let bytes = proof.block.as_ref().map_or(0, |block| block.value.len());
            peer.answered(asked, bytes as u64, now);
            peer.replan = true;
            peer.mark();
            if !matches(asked, &proof) {
                let moved = proof.fork != asked.fork;
                self.lost_request(core, id, asked);
                // who has left the fork meanwhile may answer for the new one
                if !moved {
                    self.fault(core, id, "INVALID_PROOF", now);
                }
                self.replan();
                return;
            }
            if let Some(node) = asked.proof.block
                && let Some(block) = self.blocks.get_mut(&node.index)
            {
                block.asked.retain(|(peer, _)| *peer != id);
                block.arrived |= proof.block.is_some();
            }
        }
        self.arrived_bytes += proof.weight();
        let bytes = proof.block.as_ref().map_or(0, |block| block.value.len());
        self.arrived.push(Arrived {
            peer: id,
            asked,
            proof,
            bytes,
        });
        if self.arrived.len() >= ARRIVED_MAX.0 || self.arrived_bytes >= ARRIVED_MAX.1 {
            let worker = self.worker(id);
            self.settle(core, worker.as_ref(), now);
        }
    }

    /// Has what has come checked and stored: at once, or on another thread when it is much and there is one. Then what it leads to follows at a later call.
    pub(crate) fn settle(&mut self, core: &Arc<Core>, worker: Option<&Worker>, now: Instant) {
        if !self.collect(core, now, self.is_too_much()) {
            return;
        }
        if self.arrived.is_empty() {
            self.apply_fork(core, now);
            return;
        }
        let mut change = match Change::try_begin(core) {
            Ok(Some(change)) => change,
            Ok(None) => {
                self.retry_at = Some(now + BUSY);
                // memory is bounded: what is too much is asked for again
                if self.is_too_much() {
                    self.give_up_arrived(core);
                }
                return;
            }
            Err(_) => {
                self.give_up_arrived(core);
                return;
            }
        };
        self.retry_at = None;
        change.contiguous = core.head.read().contiguous;
        let is_much = self.arrived.len() >= BESIDE_MIN.0 || self.arrived_bytes >= BESIDE_MIN.1;
        self.arrived_bytes = 0;
        let job = Job {
            core: core.clone(),
            arrived: std::mem::take(&mut self.arrived),
            collected: Collected {
                change,
                batch: Batch::new(),
                nodes: NumberMap::default(),
                blocks: Vec::new(),
                seen: NumberSet::default(),
                brought: Vec::new(),
                learnt: false,
            },
        };
        match worker.filter(|_| is_much) {
            None => self.settled(core, job.run(), now),
            Some(worker) => {
                let slot = Slot::new(Box::new(job));
                worker.hand(&slot, core);
                self.settling = Some(slot);
            }
        }
    }

    /// As much has come as may wait.
    fn is_too_much(&self) -> bool {
        self.arrived.len() >= 2 * ARRIVED_MAX.0 || self.arrived_bytes >= 2 * ARRIVED_MAX.1
    }

    /// Takes over what was checked and stored on another thread. False while that goes on, unless it is to be waited for.
    pub(crate) fn collect(&mut self, core: &Arc<Core>, now: Instant, wait: bool) -> bool {
        let Some(slot) = &self.settling else {
            return true;
        };
        let Ok(settled) = slot.take(wait) else {
            return false;
        };
        self.settling = None;
        match settled {
            Some(settled) => self.settled(core, *settled, now),
            None => {
                tracing::error!("what came from peers was lost: its check panicked");
                self.retry_at = Some(now + FULL);
                self.ask_again(core);
            }
        }
        self.check_downloads(core);
        self.replan();
        true
    }

    /// All blocks that have come and wait for nothing any more are asked for again.
    fn ask_again(&mut self, core: &Core) {
        let here: NumberSet = (self.arrived.iter())
            .filter_map(|arrived| arrived.proof.block.as_ref())
            .map(|block| block.index)
            .collect();
        let lost: Vec<u64> = (self.blocks.iter_mut())
            .filter(|(index, block)| block.arrived && !here.contains(index))
            .map(|(index, block)| {
                block.arrived = false;
                *index
            })
            .collect();
        for index in lost {
            self.lost_block(core, 0, index);
        }
        self.upgrading = None;
        for seek in self.seeks.values_mut() {
            seek.asked = false;
        }
    }

    /// What follows from what was checked and stored.
    fn settled(&mut self, core: &Arc<Core>, settled: Settled, now: Instant) {
        let cut = core.head.read().tree.fork != settled.fork;
        for (arrived, checked) in settled.results {
            let checked = match checked {
                // somebody has truncated the core since it was stored
                Checked::Good if cut => Checked::Stale,
                checked => checked,
            };
            self.checked(core, &arrived, checked, settled.stored, now);
        }
        if settled.learnt {
            core.replication.emit(|| CoreEvent::Manifest);
        }
        for arrived in settled.forks {
            self.on_fork_proof(core, arrived, now);
        }
        self.apply_fork(core, now);
    }

    /// Forgets what has come and could not be checked: it will be asked for again.
    pub(super) fn give_up_arrived(&mut self, core: &Core) {
        self.arrived_bytes = 0;
        for arrived in std::mem::take(&mut self.arrived) {
            self.free(core, &arrived);
        }
    }

    fn free(&mut self, core: &Core, arrived: &Arrived) {
        if let Some(block) = &arrived.proof.block
            && let Some(waiting) = self.blocks.get_mut(&block.index)
        {
            waiting.arrived = false;
        }
        match &arrived.asked {
            Some(asked) => self.lost_request(core, arrived.peer, asked),
            None => {
                if let Some(block) = &arrived.proof.block {
                    self.lost_block(core, arrived.peer, block.index);
                }
            }
        }
    }

    /// What follows from one proof.
    fn checked(
        &mut self,
        core: &Arc<Core>,
        arrived: &Arrived,
        checked: Checked,
        stored: bool,
        now: Instant,
    ) {
        let id = arrived.peer;
        if let Checked::Good = checked
            && stored
        {
            if let Some(asked) = &arrived.asked {
                if let Some(seek) = asked.seek.and_then(|seek| self.seeks.get_mut(&seek)) {
                    seek.asked = false;
                }
                if asked.proof.upgrade.is_some() && self.is_upgrading(id) {
                    self.upgrading = None;
                }
                if let Some(node) = asked.proof.block.filter(|_| arrived.proof.block.is_none()) {
                    // it sent something else that is true, and not the block
                    self.lost_block(core, id, node.index);
                }
            }
            if let Some(block) = &arrived.proof.block {
                self.got_block(block.index);
                let bytes = arrived.bytes;
                if let Ok(registry) = core.registry() {
                    registry.room.came(&core.discovery_key, block.index, bytes);
                }
                core.replication.downloaded(block.index, bytes as u64, id);
            }
            return;
        }
        self.free(core, arrived);
        match checked {
            Checked::Good => {
                if let Some(peer) = self.peers.get_mut(&id) {
                    peer.aside_until = Some(now + FULL);
                }
            }
            Checked::Stale => {}
            Checked::Bad(error) => {
                if let TreeError::MissingNode { .. } = error
                    && let Some(peer) = self.peers.get_mut(&id)
                    && peer.missed < MISSED_MAX
                {
                    // a node that was there when the request was made may have been cleared since
                    peer.missed += 1;
                    peer.promised.broke();
                    peer.aside_until = Some(now + BUSY);
                    return;
                }
                self.ask_for_conflict(core, id);
                self.fault(core, id, error.code(), now);
            }
        }
    }
}

/// The hashes of all blocks that have come, several at once.
fn leaf_hashes(arrived: &[Arrived]) -> Vec<[u8; 32]> {
    let blocks: Vec<&[u8]> = (arrived.iter())
        .filter_map(|arrived| arrived.proof.block.as_ref())
        .map(|block| &block.value[..])
        .collect();
    crypto::leaf_hashes(&blocks)
}

/// True when a proof brings only what was asked for.
fn matches(asked: &Asked, proof: &Proof) -> bool {
    let block = proof.block.as_ref().map(|block| block.index);
    let hash = proof.hash.as_ref().map(|hash| hash.index);
    let seek = proof.seek.as_ref().map(|seek| seek.bytes);
    proof.fork == asked.fork
        && (block.is_none() || block == asked.proof.block.map(|node| node.index))
        && (hash.is_none() || hash == asked.proof.hash.map(|node| node.index))
        && (seek.is_none() || seek == asked.proof.seek.map(|seek| seek.bytes))
        && (proof.upgrade.is_none() || asked.proof.upgrade.is_some())
}

impl Collected {
    /// Where it is good, its block is taken out.
    fn take(&mut self, core: &Core, proof: &mut Proof, leaf: Option<[u8; 32]>) -> Checked {
        match self.check(core, proof, leaf) {
            Ok(checked) => checked,
            Err(Error::Tree(error)) => Checked::Bad(error),
            Err(Error::BlockTooLarge { .. }) => {
                Checked::Bad(TreeError::InvalidProof { what: "block size" })
            }
            Err(error) => {
                tracing::warn!(%error, "a proof of a peer cannot be checked");
                Checked::Stale
            }
        }
    }

    fn check(
        &mut self,
        core: &Core,
        proof: &mut Proof,
        leaf: Option<[u8; 32]>,
    ) -> Result<Checked, Error> {
        let Self {
            change,
            batch,
            nodes,
            blocks,
            seen,
            brought,
            learnt,
        } = self;
        let tree = change.merkle.tree();
        if proof.fork != tree.fork {
            return Ok(Checked::Stale);
        }
        if let Some(block) = &proof.block {
            check_blocks(std::slice::from_ref(&block.value))?;
        }
        // the nodes of the core as they will be with this change
        let known = |index: u64| match nodes.get(&index) {
            Some(node) => Ok(Some(*node)),
            None => core.node(index),
        };
        if let Some(upgrade) = &proof.upgrade {
            let prologue = tree.prologue;
            let from_zero = prologue.is_some_and(|prologue| tree.length < prologue.length);
            let fits = upgrade.start == tree.length || (from_zero && upgrade.start == 0);
            // a second upgrade in the commit that learns the manifest has to wait
            if !fits || *learnt {
                return Ok(Checked::Stale);
            }
            let verifier = core.verifier();
            let manifest = verifier.as_ref().map(|verifier| verifier.manifest());
            let tree = tree.clone();
            let Some(verified) = Verifier::check(core.key, manifest, &tree, &known, proof)? else {
                return Ok(Checked::Stale);
            };
            if let Some(manifest) = verified.manifest {
                change.learn(batch, manifest)?;
                *learnt = true;
            }
            nodes.extend((verified.batch.nodes().iter()).map(|node| (node.index, *node)));
            change.merkle.join(verified.batch);
        } else {
            brought.clear();
            verify_below(&known, proof, leaf, brought)?;
            // where it led to is here
            brought.pop();
            if let Some(manifest) = &proof.manifest
                && core.verifier().is_none()
                && !*learnt
            {
                let verifier = Verifier::from_proof(core.key, Some(manifest))?;
                change.learn(batch, verifier.manifest().clone())?;
                *learnt = true;
            }
            nodes.extend(brought.iter().map(|node| (node.index, *node)));
            change.merkle.add_nodes(brought.drain(..));
        }
        if let Some(block) = &mut proof.block {
            if block.index >= change.length() {
                return Ok(Checked::Bad(BEYOND));
            }
            if seen.insert(block.index) {
                blocks.push((block.index, std::mem::take(&mut block.value)));
            }
        }
        Ok(Checked::Good)
    }

    fn commit(mut self, core: &Arc<Core>) -> Result<(), Error> {
        self.change.fill(&mut self.batch, &self.blocks)?;
        self.change.seal(&mut self.batch);
        if self.batch.is_empty() {
            return Ok(());
        }
        let seq = core.registry()?.commit(self.batch)?;
        self.change.committed(seq);
        Ok(())
    }
}
