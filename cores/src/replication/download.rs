//! Choosing what to ask a peer for.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::{
    bits::PAGE,
    events::PeerId,
    machine::Machine,
    messages::{Message, Request, Want},
    peer::Asked,
    promised::Promised,
};
use crate::{
    core::Core,
    error::Error,
    merkle::{
        NodeRequest, ProofRequest, Seek, SeekRequest, UpgradeRequest,
        flat_tree::{contains, depth, left_span, parent, right_span},
    },
};

/// Blocks that are looked at to learn that a tree node is not here; a divisor of a page.
const BARE_SPAN: u64 = 64;
/// Blocks that one want covers: what every peer since version 10 understands.
const WANT_BATCH: u64 = 2_097_152;
/// Batches that a peer is asked to tell about at a time.
const WANTED_MAX: usize = 64;
/// Waiting blocks that are looked at for one request.
const LOOK_MAX: usize = 512;
/// Downloads that are looked at for one request.
const RANGES_MAX: usize = 64;
/// Gaps that are looked at for one request.
const GAPS_MAX: usize = 64;
/// Peers that are asked for one block.
const ASKED_MAX: usize = 3;
/// Another peer is asked for a longer length when the first has not answered for so long.
const UPGRADE_SLOW: Duration = Duration::from_secs(2);
/// A request younger than this is not asked for elsewhere.
const SLOW_MIN: Duration = Duration::from_millis(250);

/// A block that somebody waits for, or that is on its way.
#[derive(Debug, Default)]
pub(crate) struct Block {
    /// How many wait for it.
    pub(crate) waiting: u32,
    /// Who was asked for it, and by which request.
    pub(crate) asked: SmallVec<[(PeerId, u64); 1]>,
    /// It is here, but not checked and stored yet.
    pub(crate) arrived: bool,
    queued: bool,
}

/// A range of blocks that is to be here.
#[derive(Debug)]
pub(crate) struct Download {
    /// As it was asked for.
    pub(crate) first: u64,
    /// What lies before this has come.
    pub(crate) start: u64,
    /// None: everything, now and as it comes.
    pub(crate) end: Option<u64>,
    /// In order; else peers start at different places.
    pub(crate) linear: bool,
    /// Only these, in order, as far as they have not come.
    pub(crate) blocks: Option<VecDeque<u64>>,
    pub(crate) done: Option<oneshot::Sender<()>>,
}

/// A place in the bytes that somebody looks for.
#[derive(Debug)]
pub(crate) struct SeekDemand {
    pub(crate) bytes: u64,
    pub(crate) padding: u64,
    pub(crate) asked: bool,
}

/// What the core is, for one round of planning.
#[derive(Clone, Copy)]
pub(super) struct Here {
    pub(super) length: u64,
    pub(super) fork: u64,
    /// Bytes of a block, on average.
    block_size: u64,
    /// The store has a limit.
    limited: bool,
}

/// What one step of planning came to.
pub(super) type Planned = Result<bool, Error>;

impl Machine {
    /// Somebody waits for a block.
    pub(crate) fn want_block(&mut self, index: u64) {
        let block = self.blocks.entry(index).or_default();
        block.waiting += 1;
        if block.asked.is_empty() && !block.arrived && !std::mem::replace(&mut block.queued, true) {
            self.queue.push_back(index);
        }
        self.replan();
    }

    /// One waits no more. What was asked for nobody else is cancelled.
    pub(crate) fn unwant_block(&mut self, index: u64) {
        let Some(block) = self.blocks.get_mut(&index) else {
            return;
        };
        block.waiting = block.waiting.saturating_sub(1);
        if block.waiting > 0 {
            return;
        }
        let in_range = |download: &Download| match (&download.blocks, download.end) {
            (Some(blocks), _) => blocks.contains(&index),
            (None, end) => download.start <= index && end.is_none_or(|end| index < end),
        };
        if self.downloads.values().any(in_range) {
            return;
        }
        if block.asked.is_empty() && !block.arrived {
            self.blocks.remove(&index);
            self.queue.retain(|queued| *queued != index);
            return;
        }
        for (peer, request) in std::mem::take(&mut block.asked) {
            self.cancel(peer, request);
        }
        if self.blocks.get(&index).is_some_and(|block| !block.arrived) {
            self.blocks.remove(&index);
            self.taken.set(index, false);
        }
    }

    fn cancel(&mut self, id: PeerId, request: u64) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if let Some(asked) = peer.requests.remove(&request) {
            peer.promised.clear();
            peer.due.messages.push_back(Message::Cancel(request));
            peer.replan = true;
            peer.mark();
            if asked.proof.upgrade.is_some() && self.is_upgrading(id) {
                self.upgrading = None;
            }
        }
    }

    /// A block is here: whoever else was asked for it need not send it.
    pub(crate) fn got_block(&mut self, index: u64) {
        self.lost.remove(&index);
        if let Some(block) = self.blocks.remove(&index) {
            for (peer, request) in block.asked {
                if let Some(peer) = self.peers.get_mut(&peer) {
                    peer.overtaken();
                }
                self.cancel(peer, request);
            }
        }
    }

    /// A block will not come from this peer.
    pub(crate) fn lost_block(&mut self, core: &Core, id: PeerId, index: u64) {
        let Some(block) = self.blocks.get_mut(&index) else {
            return;
        };
        block.asked.retain(|(peer, _)| *peer != id);
        if !block.asked.is_empty() || block.arrived {
            return;
        }
        // what is here stays taken
        if !core.has_block(index).unwrap_or(false) {
            self.taken.set(index, false);
        }
        if block.waiting == 0 {
            self.blocks.remove(&index);
        } else if !std::mem::replace(&mut block.queued, true) {
            self.queue.push_front(index);
        }
    }

    /// Shortens the downloads by what has come, and ends those that are complete.
    pub(crate) fn check_downloads(&mut self, core: &Core) {
        let ids: Vec<u64> = self.downloads.keys().copied().collect();
        let ended = ids.into_iter().filter(|id| self.is_complete(core, *id));
        for id in ended.collect::<Vec<_>>() {
            if let Some(done) = self.downloads.remove(&id).and_then(|range| range.done) {
                // nobody may be waiting for it any more
                let _ = done.send(());
            }
        }
    }

    /// What has come is done with, as in npm: if it is cleared meanwhile it is not fetched again.
    fn is_complete(&mut self, core: &Core, id: u64) -> bool {
        let Some(range) = self.downloads.get_mut(&id) else {
            return false;
        };
        if let Some(blocks) = &mut range.blocks {
            let here = |index: &u64| core.has_block(*index).unwrap_or(false);
            while blocks.front().is_some_and(here) {
                blocks.pop_front();
            }
            return blocks.is_empty();
        }
        let (start, end) = (range.start, range.end);
        let length = core.head.read().tree.length;
        let last = end.unwrap_or(length);
        if start < last && self.blocks.contains_key(&start) {
            return false;
        }
        let Ok(free) = self.next_free(core, start, last) else {
            return false;
        };
        let missing = match free {
            Some(free) if free == start => free,
            _ => {
                let coming = self.blocks.keys().copied();
                let coming = coming.filter(|index| (start..last).contains(index));
                coming.chain(free).min().unwrap_or(last)
            }
        };
        if let Some(range) = self.downloads.get_mut(&id) {
            range.start = missing.min(length).max(start);
        }
        end.is_some() && missing >= last
    }

    /// The core was cut to this length: what comes above it is new.
    pub(super) fn rewind_downloads(&mut self, length: u64) {
        for range in self.downloads.values_mut() {
            range.start = range.start.min(length).max(range.first);
        }
    }

    /// Asks a peer for as much as it may be asked for.
    pub(crate) fn plan(&mut self, core: &Arc<Core>, id: PeerId, now: Instant) {
        if core.replication.is_forked() || self.tuning.push_only || !self.is_downloading(core, now)
        {
            return;
        }
        let here = {
            let head = core.head.read();
            Here {
                length: head.tree.length,
                fork: head.tree.fork,
                block_size: head.tree.byte_length / head.tree.length.max(1),
                limited: core
                    .registry()
                    .is_ok_and(|registry| registry.room.is_limited()),
            }
        };
        loop {
            match self.peers.get(&id) {
                Some(peer) if peer.can_be_asked(now) && peer.has_room() => {}
                _ => return,
            }
            match self.plan_one(core, id, here, now) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => {
                    tracing::warn!(%error, "the store cannot say what is missing");
                    self.retry_at = Some(now + Duration::from_secs(5));
                    return;
                }
            }
        }
    }

    fn plan_one(&mut self, core: &Arc<Core>, id: PeerId, here: Here, now: Instant) -> Planned {
        if self.plan_fork(core, id, now) {
            return Ok(true);
        }
        let Some(peer) = self.peers.get(&id) else {
            return Ok(false);
        };
        if peer.remote.fork != here.fork {
            return Ok(false);
        }
        if core.verifier().is_none()
            && peer.remote.length == 0
            && peer.remote.has_manifest
            && !peer.requests.values().any(|asked| asked.manifest)
        {
            self.ask(core, id, ProofRequest::default(), 0, now, |_| {});
            return Ok(true);
        }
        if self.plan_seeks(core, id, here, now)? || self.plan_blocks(core, id, here, now)? {
            return Ok(true);
        }
        let room = self.has_room(core, here);
        if room
            && (self.plan_lost(core, id, here, now)? || self.plan_ranges(core, id, here, now)?)
        {
            return Ok(true);
        }
        Ok(self.plan_upgrade(core, id, here, room, now) || self.plan_slow(core, id, here, now)?)
    }

    /// True when the store's limit leaves room for more than what is on its way. Else what nobody waits for, one by one, comes later: when there is room, or
    /// when what is on its way has come.
    fn has_room(&mut self, core: &Arc<Core>, here: Here) -> bool {
        if !here.limited || (self.downloads.is_empty() && self.lost.is_empty()) {
            return true;
        }
        let Ok(registry) = core.registry() else {
            return false;
        };
        let Some(left) = registry.room.left() else {
            return true;
        };
        let sizes = self.peers.values().map(|peer| peer.block_size);
        let size = sizes.max().unwrap_or(0).max(here.block_size);
        let is_coming = |block: &&Block| block.arrived || !block.asked.is_empty();
        let coming = self.blocks.values().filter(is_coming).count() as u64;
        if coming.saturating_mul(registry.room.cost(size)) < left {
            return true;
        }
        if left == 0 && !std::mem::replace(&mut self.held_back, true) {
            return registry.room.hold_back(core);
        }
        false
    }

    /// Sends a request.
    pub(crate) fn ask(
        &mut self,
        core: &Core,
        id: PeerId,
        proof: ProofRequest,
        priority: u64,
        now: Instant,
        refine: impl FnOnce(&mut Asked),
    ) -> u64 {
        let Some(peer) = self.peers.get_mut(&id) else {
            return 0;
        };
        peer.last_request += 1;
        let request = peer.last_request;
        let manifest = core.verifier().is_none() && peer.remote.has_manifest;
        let mut asked = Asked {
            proof,
            fork: peer.remote.fork,
            seek: None,
            for_fork: false,
            manifest,
            sent: now,
        };
        refine(&mut asked);
        if proof.upgrade.is_some() && !asked.for_fork {
            self.upgrading = Some((id, now));
        }
        peer.due.messages.push_back(Message::Request(Request {
            id: request,
            fork: asked.fork,
            proof,
            manifest,
            priority,
        }));
        peer.requests.insert(request, asked);
        request
    }

    /// What to ask for to get longer, when this peer can be asked for that now.
    fn upgrade(&self, core: &Core, id: PeerId, here: Here, now: Instant) -> Option<UpgradeRequest> {
        let peer = self.peers.get(&id)?;
        let busy = |(asked, sent): (PeerId, Instant)| asked == id || now < sent + UPGRADE_SLOW;
        if self.upgrading.is_some_and(busy) || peer.remote.length <= here.length {
            return None;
        }
        // it can prove its length to somebody who has what it thinks we have; with all its blocks, to anybody
        let knows = peer.remote.can_upgrade && peer.remote.remote_length == here.length;
        if !knows && (peer.exact || !peer.is_full()) {
            return None;
        }
        let start = match core.verifier().and_then(|known| known.manifest().prologue) {
            Some(prologue) if here.length < prologue.length => 0,
            _ => here.length,
        };
        Some(UpgradeRequest {
            start,
            length: peer.remote.length - start,
        })
    }

    fn plan_upgrade(
        &mut self,
        core: &Core,
        id: PeerId,
        here: Here,
        room: bool,
        now: Instant,
    ) -> bool {
        let Some(upgrade) = self.upgrade(core, id, here, now) else {
            return false;
        };
        let live = |range: &Download| range.end.is_none() && range.blocks.is_none();
        let wants_all = self.downloads.values().any(live);
        if !wants_all && !self.wants_length(core) {
            return false;
        }
        let mut proof = ProofRequest {
            upgrade: Some(upgrade),
            ..ProofRequest::default()
        };
        let newest = upgrade.start + upgrade.length - 1;
        let with_block = match wants_all {
            true => Some(here.length),
            false => self.tuning.latest_block.then_some(newest),
        };
        let with_block = with_block.filter(|index| {
            room && *index >= here.length
                && self.peers.get(&id).is_some_and(|peer| peer.has(*index))
                && !self.blocks.contains_key(index)
        });
        proof.block = with_block.map(|index| NodeRequest { index, nodes: 0 });
        let request = self.ask(core, id, proof, 0, now, |_| {});
        if let Some(index) = with_block {
            let block = self.blocks.entry(index).or_default();
            block.asked.push((id, request));
            self.taken.set(index, true);
        }
        true
    }

    /// How many nodes a proof of a node must bring so that it meets one that is here, or that comes before it; `None` when the peer's tree is too short
    /// for that. `bare` says of a node that it is not looked for, which at worst has the proof bring more.
    fn levels(
        core: &Core,
        promised: &Promised,
        bare: impl Fn(u64) -> bool,
        index: u64,
        length: u64,
        remote: u64,
    ) -> Result<Option<u64>, Error> {
        let (mut at, mut count) = (index, 0);
        loop {
            if right_span(at) >= 2 * remote.min(length) || contains(at, 2 * length) {
                return Ok(None);
            }
            if promised.has(at) || (!bare(at) && core.node(at)?.is_some()) {
                return Ok(Some(count));
            }
            count += 1;
            at = parent(at);
        }
    }

    /// Asks for a block. False when this peer cannot be asked for it.
    pub(super) fn ask_block(
        &mut self,
        core: &Core,
        id: PeerId,
        index: u64,
        here: Here,
        priority: u64,
        now: Instant,
    ) -> Planned {
        let unsettled = !self.arrived.is_empty() || self.settling.is_some();
        let Some(peer) = self.peers.get_mut(&id) else {
            return Ok(false);
        };
        if peer.requests.is_empty() && !unsettled {
            // Nothing is on its way: what came and was of no use is not waited for.
            peer.promised.clear();
        }
        let mut proof = ProofRequest::default();
        let nodes = if index >= here.length {
            proof.upgrade = self.upgrade(core, id, here, now);
            if proof.upgrade.is_none() {
                return Ok(false);
            }
            0
        } else {
            let remote = peer.remote.length;
            let contiguous = core.head.read().contiguous;
            let (taken, loaded) = (&self.taken, &self.loaded);
            // A node comes with the blocks below its parent. Where none of them is here or asked for, it is not here either.
            let bare = |node: u64| {
                let top = parent(node);
                let (first, last) = (left_span(top) / 2, right_span(top) / 2);
                last - first < BARE_SPAN
                    && last < here.length
                    && first >= contiguous
                    && loaded.contains(&(first / PAGE))
                    && taken.next_set(first, last + 1).is_none()
            };
            let promised = &peer.promised;
            match Self::levels(core, promised, bare, 2 * index, here.length, remote)? {
                Some(nodes) => nodes,
                None => return Ok(false),
            }
        };
        proof.block = Some(NodeRequest { index, nodes });
        let request = self.ask(core, id, proof, priority, now, |_| {});
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.promised.add(2 * index, nodes);
        }
        let block = self.blocks.entry(index).or_default();
        block.asked.push((id, request));
        block.queued = false;
        self.taken.set(index, true);
        Ok(true)
    }

    fn plan_blocks(&mut self, core: &Core, id: PeerId, here: Here, now: Instant) -> Planned {
        let mut kept = VecDeque::new();
        let mut found = false;
        for _ in 0..self.queue.len().min(LOOK_MAX) {
            let Some(index) = self.queue.pop_front() else {
                break;
            };
            let open = (self.blocks.get(&index)).is_some_and(|block| block.asked.is_empty());
            if !open {
                continue;
            }
            let has = self.peers.get(&id).is_some_and(|peer| peer.has(index));
            if has && self.ask_block(core, id, index, here, 1, now)? {
                found = true;
                break;
            }
            if !has {
                self.want_around(id, index, here);
            }
            kept.push_back(index);
        }
        while let Some(index) = kept.pop_back() {
            self.queue.push_front(index);
        }
        Ok(found)
    }

    /// Asks to be told which blocks around this one the peer has.
    pub(super) fn want_around(&mut self, id: PeerId, index: u64, here: Here) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let batch = index / WANT_BATCH;
        // past both ends there is nothing to know
        if peer.is_full()
            || index >= peer.remote.length.max(here.length)
            || !peer.wanted.insert(batch)
        {
            return;
        }
        let want = |batch: u64| Want {
            start: batch * WANT_BATCH,
            length: WANT_BATCH,
            any: false,
        };
        if peer.wanted.len() > WANTED_MAX
            && let Some(old) = peer.wanted.iter().copied().find(|old| *old != batch)
        {
            peer.wanted.remove(&old);
            peer.due.messages.push_back(Message::Unwant(want(old)));
        }
        peer.due.messages.push_back(Message::Want(want(batch)));
    }

    fn plan_ranges(&mut self, core: &Core, id: PeerId, here: Here, now: Instant) -> Planned {
        let mut next = 0;
        for _ in 0..RANGES_MAX {
            let Some(range) = self.downloads.range(next..).next().map(|range| *range.0) else {
                break;
            };
            if self.plan_range(core, id, range, here, now)? {
                return Ok(true);
            }
            next = range + 1;
        }
        Ok(false)
    }

    fn plan_range(
        &mut self,
        core: &Core,
        id: PeerId,
        range: u64,
        here: Here,
        now: Instant,
    ) -> Planned {
        let several = self.peers.len() > 1;
        let Some(download) = self.downloads.get(&range) else {
            return Ok(false);
        };
        let (start, end) = (download.start, download.end.unwrap_or(u64::MAX));
        let linear = download.linear;
        if let Some(blocks) = &download.blocks {
            let missing: Vec<u64> = (blocks.iter().copied())
                .filter(|index| !self.blocks.contains_key(index) && *index < here.length)
                .filter(|index| !core.has_block(*index).unwrap_or(true))
                .take(LOOK_MAX)
                .collect();
            for index in missing {
                if self.peers.get(&id).is_some_and(|peer| peer.has(index)) {
                    if self.ask_block(core, id, index, here, 0, now)? {
                        return Ok(true);
                    }
                } else {
                    self.want_around(id, index, here);
                }
            }
            return Ok(false);
        }
        let end = end.min(here.length);
        if start >= end {
            return Ok(false);
        }
        // Where there is a limit, what came first may go again before the end: only in order one sees what has come.
        let from = if several && !linear && !here.limited {
            // others fetch from other places
            start + self.random(end - start) / 64 * 64
        } else {
            start
        };
        Ok(self.plan_gap(core, id, from, end, here, now)?
            || (from > start && self.plan_gap(core, id, start, from, here, now)?))
    }

    /// Asks for the first block of `from..end` that is missing here and that the peer has.
    fn plan_gap(
        &mut self,
        core: &Core,
        id: PeerId,
        from: u64,
        end: u64,
        here: Here,
        now: Instant,
    ) -> Planned {
        let mut at = from;
        for _ in 0..GAPS_MAX {
            let Some(free) = self.next_free(core, at, end)? else {
                return Ok(false);
            };
            let Some(peer) = self.peers.get(&id) else {
                return Ok(false);
            };
            match peer.next_has(free, end) {
                Some(index) if index == free => {
                    if self.ask_block(core, id, index, here, 0, now)? {
                        return Ok(true);
                    }
                    at = index + 1;
                }
                Some(index) => {
                    self.want_around(id, free, here);
                    at = index;
                }
                None => {
                    self.want_around(id, free, here);
                    return Ok(false);
                }
            }
        }
        Ok(false)
    }

    fn plan_seeks(&mut self, core: &Core, id: PeerId, here: Here, now: Instant) -> Planned {
        let open: Vec<(u64, u64, u64)> = (self.seeks.iter())
            .filter(|(_, seek)| !seek.asked)
            .map(|(demand, seek)| (*demand, seek.bytes, seek.padding))
            .collect();
        for (demand, bytes, padding) in open {
            let tree = core.head.read().tree.clone();
            let nodes = |index| core.node(index);
            let Some(peer) = self.peers.get(&id) else {
                return Ok(false);
            };
            let seek = peer.seeks.then_some(SeekRequest { bytes, padding });
            let proof = match tree.seek(&nodes, bytes, padding)? {
                Seek::Found { .. } => continue,
                Seek::Beyond => match self.upgrade(core, id, here, now) {
                    Some(upgrade) => ProofRequest {
                        seek,
                        upgrade: Some(upgrade),
                        ..ProofRequest::default()
                    },
                    None => continue,
                },
                Seek::Within { start, end } => {
                    let span = end.min(peer.remote.length).saturating_sub(start);
                    let known = peer.next_has(start, end);
                    if span == 0 {
                        continue;
                    }
                    let Some(index) = known else {
                        self.want_around(id, start, here);
                        continue;
                    };
                    ProofRequest {
                        hash: Some(NodeRequest {
                            index: 2 * index,
                            nodes: u64::from(depth(start + end - 1)),
                        }),
                        seek,
                        ..ProofRequest::default()
                    }
                }
            };
            self.ask(core, id, proof, 1, now, |asked| asked.seek = Some(demand));
            if let Some(seek) = self.seeks.get_mut(&demand) {
                seek.asked = true;
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// From when on others may be asked for what this peer was asked for.
    pub(crate) fn slow_at(&self, peer: &super::peer::Peer) -> Option<Instant> {
        let oldest = peer
            .requests
            .values()
            .find(|asked| asked.proof.block.is_some())?;
        Some(oldest.sent + SLOW_MIN.max(peer.round_trip * 3))
    }

    pub(crate) fn has_slow(&self, now: Instant) -> bool {
        let slow = |peer| self.slow_at(peer).is_some_and(|at| at <= now);
        self.peers.len() > 1 && self.peers.values().any(slow)
    }

    /// Asks this peer too for what another one is slow to send.
    fn plan_slow(&mut self, core: &Core, id: PeerId, here: Here, now: Instant) -> Planned {
        if self.peers.len() < 2 {
            return Ok(false);
        }
        let mut candidates = Vec::new();
        for other in self.peers.values().filter(|other| other.id != id) {
            if self.slow_at(other).is_none_or(|at| at > now) {
                continue;
            }
            let blocks = other
                .requests
                .values()
                .filter_map(|asked| asked.proof.block);
            candidates.extend(blocks.take(16).map(|block| block.index));
        }
        for index in candidates {
            let Some(block) = self.blocks.get(&index) else {
                continue;
            };
            let mine = block.asked.iter().any(|(peer, _)| *peer == id);
            let has = self.peers.get(&id).is_some_and(|peer| peer.has(index));
            if !mine
                && !block.arrived
                && block.asked.len() < ASKED_MAX
                && has
                && index < here.length
                && self.ask_block(core, id, index, here, 0, now)?
            {
                self.count(id, |stats| stats.hotswaps += 1);
                return Ok(true);
            }
        }
        Ok(false)
    }
}
