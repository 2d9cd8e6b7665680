//! The replication of one core with all its peers, as a state machine: messages and a clock come in, messages and changes of the core go out.
//!
//! Here are its state and what comes in. What is asked for is chosen in `download.rs`, answers are made in `upload.rs`, peers are told of us
//! in `tell.rs`, what comes back is checked and stored in `apply.rs`, other forks are followed in `fork.rs`.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use pome_storage::Seq;

use super::{
    apply::Arrived,
    beside::{Slot, Worker},
    bits::{Bits, PAGE},
    download::{Block, Download, SeekDemand},
    events::{CoreEvent, PeerId},
    fork::ForkWork,
    messages::{Extension, Handshake, Have, Message, NoData, Sync},
    numbers::NumberMap,
    peer::{Asked, Closing, Peer, SERVE_MAX},
    ready::Ready,
    stats::ReplicationStats,
    tell::LEISURE,
    tuning::Tuning,
};
use crate::{
    caps,
    core::{Core, Head},
    error::Error,
    layout,
};

/// No block has this number or a higher one.
pub(crate) const END: u64 = 1 << 53;
/// How often peers are looked at for being slow.
const SLOW_EVERY: Duration = Duration::from_millis(250);
/// Without an answer for this long, a peer is not asked any more for a while.
const SILENCE: Duration = Duration::from_secs(30);
/// Wants that may wait for an answer.
const WANTS_MAX: usize = 512;
/// Invalid requests of a peer before the connection ends, as in npm.
const INVALID_REQUESTS_MAX: u32 = 64;
/// Proofs that did not hold before the connection ends.
const FAULTS_MAX: u32 = 5;

/// See the module.
pub(crate) struct Machine {
    pub(crate) peers: BTreeMap<PeerId, Peer>,
    last_peer: PeerId,
    random: u64,
    /// Blocks that are here or on their way, for the pages in `loaded`; those below the contiguous length are here.
    pub(crate) taken: Bits,
    pub(super) loaded: BTreeSet<u64>,
    /// Blocks that somebody waits for, or that are asked for.
    pub(super) blocks: NumberMap<Block>,
    /// Of them, those that are not asked for yet.
    pub(crate) queue: VecDeque<u64>,
    pub(crate) downloads: BTreeMap<u64, Download>,
    pub(crate) seeks: BTreeMap<u64, SeekDemand>,
    last_demand: u64,
    /// Proofs that are not checked yet.
    pub(crate) arrived: Vec<Arrived>,
    pub(crate) arrived_bytes: usize,
    /// Those that are being checked and stored on another thread.
    pub(crate) settling: Option<Arc<Slot>>,
    pub(crate) forks: Option<ForkWork>,
    /// Who has been asked for a longer length, and when.
    pub(crate) upgrading: Option<(PeerId, Instant)>,
    /// Blocks that are stored but not on disk.
    pub(super) unsynced: Bits,
    pub(super) syncing: VecDeque<(Seq, Vec<Range<u64>>)>,
    /// What was committed before there was a machine is not shown before it is on disk.
    pub(super) floor: Seq,
    /// Up to this commit there is something that a peer lacks.
    pub(super) owed: Seq,
    /// Since when, and up to which commit, there is something that all peers have.
    pub(super) leisure: Option<(Instant, Seq)>,
    pub(crate) shown: Option<Arc<Head>>,
    pub(crate) retry_at: Option<Instant>,
    idle_since: Option<Instant>,
    /// It has been idle for long enough.
    lingered: bool,
    /// Peers are being told so.
    wound_down: bool,
    /// When peers are looked at again for being slow.
    slow_again: Option<Instant>,
    seen: (u64, u64),
    pub(crate) allow_push: bool,
    pub(super) tuning: Tuning,
    /// How many wait for a longer length.
    pub(super) updates: usize,
    /// With all peers, gone ones too.
    pub(super) stats: ReplicationStats,
    /// Blocks that the disk has lost: they are wanted without anybody waiting for them.
    pub(super) lost: BTreeSet<u64>,
    /// They were read from the store.
    pub(super) lost_known: bool,
    /// While the store recovers: peers that knew of less than is here when they were first met. What they know later they may have from us.
    pub(super) late: BTreeSet<[u8; 32]>,
    /// The store's time of recovering in which this core was found to be whole.
    pub(super) recovered: Option<u32>,
    /// The store's limit leaves no room for downloads; it will be told of some.
    pub(crate) held_back: bool,
}

impl Machine {
    pub(crate) fn new(core: &Core) -> Self {
        let head = core.head.read();
        let seen = (head.tree.length, head.tree.fork);
        let seed = core.discovery_key.0.first_chunk::<8>();
        Self {
            peers: BTreeMap::new(),
            last_peer: 0,
            random: seed.map_or(1, |seed| u64::from_le_bytes(*seed)) | 1,
            taken: Bits::default(),
            loaded: BTreeSet::new(),
            blocks: NumberMap::default(),
            queue: VecDeque::new(),
            downloads: BTreeMap::new(),
            seeks: BTreeMap::new(),
            last_demand: 0,
            arrived: Vec::new(),
            arrived_bytes: 0,
            settling: None,
            forks: None,
            upgrading: None,
            unsynced: Bits::default(),
            syncing: VecDeque::new(),
            floor: core.store.committed_seq(),
            owed: core.store.committed_seq(),
            leisure: None,
            shown: None,
            retry_at: None,
            idle_since: None,
            lingered: false,
            wound_down: false,
            slow_again: None,
            seen,
            allow_push: false,
            tuning: Tuning::default(),
            updates: 0,
            stats: ReplicationStats::default(),
            lost: BTreeSet::new(),
            lost_known: false,
            late: BTreeSet::new(),
            recovered: None,
            held_back: false,
        }
    }

    /// A number that spreads requests over peers: xorshift, nothing secret.
    pub(crate) fn random(&mut self, below: u64) -> u64 {
        let mut x = self.random;
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random = x;
        x % below.max(1)
    }

    pub(crate) fn is_upgrading(&self, id: PeerId) -> bool {
        self.upgrading.is_some_and(|(peer, _)| peer == id)
    }

    pub(crate) fn next_demand(&mut self) -> u64 {
        self.last_demand += 1;
        self.last_demand
    }

    /// All peers must be looked at: something is wanted, or has changed.
    pub(crate) fn replan(&mut self) {
        for peer in self.peers.values_mut() {
            peer.replan = true;
            peer.mark();
        }
    }

    pub(crate) fn is_downloading(&self, core: &Core, now: Instant) -> bool {
        let lingers = |since: Instant| now.saturating_duration_since(since) < self.tuning.linger;
        core.replication.has_sessions()
            || !self.blocks.is_empty()
            || !self.downloads.is_empty()
            || !self.seeks.is_empty()
            || !self.lost.is_empty()
            || self.idle_since.is_some_and(lingers)
    }

    /// A peer's channel is being opened.
    pub(crate) fn add_peer(
        &mut self,
        core: &Core,
        channel: u64,
        ready: Arc<Ready>,
        remote_key: [u8; 32],
        now: Instant,
    ) -> PeerId {
        self.last_peer += 1;
        let id = self.last_peer;
        core.replication.listen(id, channel, ready.clone());
        self.peers.insert(
            id,
            Peer::new(id, channel, ready, remote_key, self.tuning.inflight, now),
        );
        id
    }

    /// Both sides have opened the channel.
    pub(crate) fn opened(
        &mut self,
        core: &Core,
        id: PeerId,
        handshake: &Handshake,
        we_initiated: bool,
        handshake_hash: &[u8; 64],
    ) {
        let expected = caps::replicate(!we_initiated, &core.key, handshake_hash);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if handshake.capability != expected {
            peer.closing = Some(Closing::Destroy("INVALID_CAPABILITY"));
        } else if core.replication.is_forked() {
            peer.closing = Some(Closing::Channel);
        } else if !peer.opened {
            peer.opened = true;
            peer.seeks = handshake.seeks;
            peer.due.sync = true;
            peer.due.contiguous = true;
            core.replication.emit(|| CoreEvent::PeerAdd(id));
            self.owed = core.store.committed_seq();
            self.load_lost(core);
            return self.mark_peer(id);
        }
        peer.mark();
    }

    /// The channel is closed. What the peer was asked for is asked for elsewhere.
    pub(crate) fn remove_peer(&mut self, core: &Arc<Core>, id: PeerId) -> Option<Peer> {
        let mut peer = self.peers.remove(&id)?;
        core.replication.unlisten(id);
        for (_, asked) in std::mem::take(&mut peer.requests) {
            self.lost_request(core, id, &asked);
        }
        if self
            .forks
            .as_ref()
            .is_some_and(|forks| forks.asked == Some(id))
        {
            self.forks
                .as_mut()
                .into_iter()
                .for_each(|forks| forks.asked = None);
        }
        if self.peers.is_empty() {
            // nobody is left who would have what has come stored
            self.collect(core, peer.heard, true);
            self.settle(core, None, peer.heard);
            self.give_up_arrived(core);
        }
        self.check_behind(core);
        self.review_forks(core);
        if peer.opened {
            core.replication.emit(|| CoreEvent::PeerRemove(id));
            core.wake();
        }
        self.replan();
        Some(peer)
    }

    /// Takes over which blocks have come and gone in the core. True when some have.
    pub(super) fn take_notes(&mut self, core: &Core) -> bool {
        let mut changed = false;
        match core.replication.take_notes() {
            None => {
                // too much to tell: look everything up again
                self.taken.clear();
                self.loaded.clear();
                self.unsynced.clear();
                self.syncing.clear();
                self.floor = core.store.committed_seq();
                self.owed = self.floor;
                self.mark_asked();
                self.rewind_downloads(0);
                changed = true;
            }
            Some(notes) => {
                for note in notes {
                    changed = true;
                    self.lost_known &= !note.lost;
                    if note.cut.is_some() || !note.went.is_empty() || self.is_owed(&note.came) {
                        self.owed = self.owed.max(note.seq);
                    }
                    if let Some(cut) = note.cut {
                        self.forget(cut..END);
                        self.rewind_downloads(cut);
                    }
                    for range in note.went {
                        self.forget(range.clone());
                        let (start, length) = (range.start, range.end - range.start);
                        for peer in self.peers.values_mut().filter(|peer| peer.opened) {
                            peer.told_contiguous = peer.told_contiguous.min(start);
                            peer.tell(Have {
                                drop: true,
                                start,
                                length,
                            });
                        }
                        self.mark_asked();
                    }
                    for range in &note.came {
                        self.forget_lost(range);
                        self.taken.set_range(range.start, range.end, true);
                        self.unsynced.set_range(range.start, range.end, true);
                    }
                    self.syncing.push_back((note.seq, note.came));
                }
            }
        }
        if changed {
            self.replan();
        }
        changed
    }

    /// Takes over what has changed in the core and in the store since the last time.
    pub(crate) fn refresh(&mut self, core: &Core, now: Instant) {
        let mut changed = self.take_notes(core);
        if !self.lost_known && self.peers.values().any(|peer| peer.opened) {
            self.load_lost(core);
        }
        let (length, fork) = {
            let head = core.head.read();
            (head.tree.length, head.tree.fork)
        };
        if (length, fork) != self.seen {
            let before = std::mem::replace(&mut self.seen, (length, fork));
            self.owed = core.store.committed_seq();
            if fork != before.1 {
                self.forked_here(core, fork);
                core.replication
                    .emit(|| CoreEvent::Truncate { length, fork });
            }
            if fork != before.1 || length > before.0 {
                core.replication.emit(|| CoreEvent::Append { length });
            }
            self.check_behind(core);
            changed = true;
        }
        changed |= self.show(core);
        self.check_recovered(core, now);
        if self.is_idle(core, now) {
            self.idle_since.get_or_insert(now);
        } else {
            self.idle_since = None;
            self.lingered = false;
            self.wound_down = false;
        }
        if self.lingered {
            self.wind_down(core, now);
        }
        if changed {
            self.check_downloads(core);
            self.replan();
        }
    }

    /// Blocks that are not here any more are not told of either.
    fn forget(&mut self, gone: Range<u64>) {
        self.forget_lost(&gone);
        self.taken.set_range(gone.start, gone.end, false);
        self.unsynced.set_range(gone.start, gone.end, false);
        for (_, came) in &mut self.syncing {
            *came = std::mem::take(came)
                .into_iter()
                .flat_map(|range| without(range, &gone))
                .collect();
        }
        for peer in self.peers.values_mut() {
            let haves = std::mem::take(&mut peer.due.haves);
            for have in haves {
                if have.drop {
                    peer.due.haves.push_back(have);
                    continue;
                }
                let range = have.start..have.start.saturating_add(have.length);
                peer.due
                    .haves
                    .extend(without(range, &gone).map(|left| Have {
                        drop: false,
                        start: left.start,
                        length: left.end - left.start,
                    }));
            }
        }
    }

    /// These blocks are here, or are not to be here.
    fn forget_lost(&mut self, range: &Range<u64>) {
        while let Some(index) = self.lost.range(range.clone()).next().copied() {
            self.lost.remove(&index);
        }
    }

    fn mark_peer(&self, id: PeerId) {
        if let Some(peer) = self.peers.get(&id) {
            peer.mark();
        }
    }

    fn is_idle(&self, core: &Core, _now: Instant) -> bool {
        !core.replication.has_sessions()
    }

    /// Marks again what is on its way.
    fn mark_asked(&mut self) {
        for (index, block) in &self.blocks {
            if !block.asked.is_empty() || block.arrived {
                self.taken.set(*index, true);
            }
        }
    }

    /// Reads from the store which blocks of a page are here.
    fn load(&mut self, core: &Core, page: u64) -> Result<(), Error> {
        if self.loaded.contains(&page) {
            return Ok(());
        }
        let (start, end) = (
            layout::block_key(page * PAGE),
            layout::block_key((page + 1) * PAGE),
        );
        let mut run: Option<Range<u64>> = None;
        for key in core.store.snapshot().keys(core.space, &start[..]..&end[..]) {
            let index = layout::number(&key?)?;
            match &mut run {
                Some(run) if run.end == index => run.end += 1,
                _ => {
                    if let Some(run) = run.replace(index..index + 1) {
                        self.taken.set_range(run.start, run.end, true);
                    }
                }
            }
        }
        if let Some(run) = run {
            self.taken.set_range(run.start, run.end, true);
        }
        self.loaded.insert(page);
        Ok(())
    }

    /// The first block of `from..end` that is neither here nor on its way.
    pub(crate) fn next_free(
        &mut self,
        core: &Core,
        from: u64,
        end: u64,
    ) -> Result<Option<u64>, Error> {
        let mut at = from.max(core.head.read().contiguous);
        while at < end {
            let page = at / PAGE;
            self.load(core, page)?;
            let page_end = end.min((page + 1) * PAGE);
            if let Some(free) = self.taken.next_unset(at, page_end) {
                return Ok(Some(free));
            }
            at = page_end;
        }
        Ok(None)
    }

    /// A message of a peer.
    pub(crate) fn receive(&mut self, core: &Arc<Core>, id: PeerId, message: Message, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if !peer.opened || peer.closing.is_some() {
            return;
        }
        peer.stats.received(&message);
        self.stats.received(&message);
        match message {
            Message::Sync(sync) => self.on_sync(core, id, sync, now),
            Message::Request(request) => {
                // A number above all others is new, and nearly always it is.
                let is_new = request.id > peer.last_served;
                peer.last_served = peer.last_served.max(request.id);
                let mut waiting = peer.serve.iter_mut().filter(|_| !is_new);
                if let Some(old) = waiting.find(|old| old.id == request.id) {
                    *old = request;
                } else if peer.serve.len() >= SERVE_MAX {
                    peer.closing = Some(Closing::Destroy("too many requests at a time"));
                } else if request.priority > 0 {
                    peer.serve.push_front(request);
                } else {
                    peer.serve.push_back(request);
                }
                peer.mark();
            }
            Message::Cancel(request) => peer.serve.retain(|other| other.id != request),
            Message::Data(data) => self.on_data(core, id, *data, now),
            Message::NoData(answer) => self.on_no_data(core, id, answer, now),
            Message::Want(want) => {
                if peer.due.wants.len() >= WANTS_MAX {
                    peer.closing = Some(Closing::Destroy("too many wants at a time"));
                } else if peer.wants.add(want) && !peer.due.wants.contains(&want) {
                    peer.due.wants.push_back(want);
                }
                peer.mark();
            }
            Message::Unwant(want) => {
                peer.wants.remove(want);
                peer.due.wants.retain(|other| *other != want);
            }
            Message::Bitfield(bits) => {
                if bits.start % 32 == 0 {
                    peer.contiguous = peer.contiguous.min(bits.start);
                    peer.bits.insert(bits.start, &bits.words, END);
                    peer.bound_bits();
                    peer.replan = true;
                    peer.mark();
                }
            }
            Message::Range(have) => self.on_range(core, id, have),
            Message::Extension(extension) => self.on_extension(core, id, extension),
        }
    }

    fn on_sync(&mut self, core: &Core, id: PeerId, sync: Sync, now: Instant) {
        let downloading = self.is_downloading(core, now);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.remote = sync;
        peer.synced = true;
        peer.due.sync = true;
        peer.replan = true;
        peer.mark();
        if !sync.downloading && !downloading {
            peer.closing = Some(Closing::Channel);
            return;
        }
        self.review_forks(core);
        self.check_behind(core);
        self.met(core, id);
        self.check_recovered(core, now);
        core.wake();
    }

    fn on_range(&mut self, core: &Core, id: PeerId, have: Have) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let end = have.start.saturating_add(have.length).min(END);
        if have.drop {
            if have.start < peer.contiguous {
                peer.bits.set_range(end, peer.contiguous, true);
                peer.contiguous = have.start;
            }
            peer.bits.set_range(have.start, end, false);
        } else if have.start <= peer.contiguous {
            if end > peer.contiguous {
                peer.contiguous = end;
                core.replication
                    .emit(|| CoreEvent::RemoteContiguousLength(end));
            }
        } else {
            peer.bits.set_range(have.start, end, true);
        }
        peer.bound_bits();
        peer.replan = true;
        peer.mark();
    }

    fn on_extension(&mut self, core: &Core, id: PeerId, extension: Extension) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if !extension.name.is_empty() {
            peer.extension_received = extension.name;
        }
        core.replication
            .extension(&peer.extension_received, id, extension.message);
    }

    fn on_no_data(&mut self, core: &Core, id: PeerId, answer: NoData, now: Instant) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let Some(asked) = peer.requests.remove(&answer.request) else {
            return;
        };
        peer.heard = now;
        // about a fork that it has left since it says nothing
        if asked.fork == peer.remote.fork {
            if let Some(block) = asked.proof.block {
                peer.has_not(block.index);
            }
            peer.not_available += 1;
            if asked.proof.upgrade.is_some() {
                peer.exact = true;
                peer.doubt();
            }
            if peer.not_available.is_multiple_of(32) {
                let seconds = u64::from(peer.not_available / 32);
                peer.aside_until = Some(now + Duration::from_secs(seconds));
            } else if asked.proof.block.is_none() {
                peer.aside_until = Some(now + Duration::from_millis(200));
            }
        }
        self.lost_request(core, id, &asked);
        self.check_behind(core);
        self.review_forks(core);
        self.replan();
        core.wake();
    }

    /// A request will not be answered: what it was for is free again.
    pub(crate) fn lost_request(&mut self, core: &Core, id: PeerId, asked: &Asked) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.promised.clear();
        }
        if let Some(node) = asked.proof.block {
            self.lost_block(core, id, node.index);
        }
        if let Some(seek) = asked.seek.and_then(|seek| self.seeks.get_mut(&seek)) {
            seek.asked = false;
        }
        if asked.proof.upgrade.is_some() && !asked.for_fork && self.is_upgrading(id) {
            self.upgrading = None;
        }
        if asked.for_fork
            && let Some(forks) = self.forks.as_mut().filter(|forks| forks.asked == Some(id))
        {
            forks.asked = None;
        }
    }

    /// A peer sent what does not hold.
    pub(crate) fn fault(&mut self, core: &Core, id: PeerId, code: &'static str, now: Instant) {
        core.replication
            .emit(|| CoreEvent::VerificationError { code, peer: id });
        self.count(id, |stats| stats.invalid_data += 1);
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.faults += 1;
        tracing::debug!(
            code,
            peer = id,
            faults = peer.faults,
            "a proof of a peer was refused"
        );
        if peer.faults >= FAULTS_MAX {
            peer.closing = Some(Closing::Destroy("too many proofs that do not hold"));
        } else {
            peer.aside_until = Some(now + Duration::from_secs(1 << peer.faults));
        }
        peer.mark();
        self.take_back(core, id);
        self.check_behind(core);
        self.review_forks(core);
        core.wake();
    }

    /// A peer asked for what makes no sense.
    pub(crate) fn invalid_request(&mut self, core: &Core, id: PeerId) {
        core.replication
            .emit(|| CoreEvent::InvalidRequest { peer: id });
        self.count(id, |stats| stats.invalid_requests += 1);
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.invalid_requests += 1;
            if peer.invalid_requests >= INVALID_REQUESTS_MAX {
                peer.closing = Some(Closing::Destroy("too many invalid requests"));
            }
        }
    }

    /// Cancels everything that a peer was asked for.
    pub(crate) fn take_back(&mut self, core: &Core, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let requests = std::mem::take(&mut peer.requests);
        for request in requests.keys() {
            peer.due.messages.push_back(Message::Cancel(*request));
        }
        for asked in requests.values() {
            self.lost_request(core, id, asked);
        }
        self.replan();
    }

    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, core: &Core, now: Instant) {
        self.refresh(core, now);
        self.end_leisure(now);
        let mut silent = Vec::new();
        for peer in self.peers.values_mut() {
            if peer.aside_until.is_some_and(|until| until <= now) {
                peer.aside_until = None;
                peer.replan = true;
                peer.mark();
            }
            let oldest = peer.requests.values().next().map(|asked| asked.sent);
            if oldest.is_some_and(|sent| sent.max(peer.heard) + SILENCE <= now) {
                silent.push(peer.id);
            }
            if peer.closing.is_none() && self.retry_at.is_some_and(|at| at <= now) {
                peer.mark();
            }
        }
        if self.has_slow(now) {
            self.slow_again = Some(now + SLOW_EVERY);
            self.replan();
        }
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
        }
        for id in silent {
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.overtaken();
                peer.doubt();
                peer.aside_until = Some(now + SILENCE);
            }
            self.take_back(core, id);
            self.check_behind(core);
            self.review_forks(core);
        }
        if self
            .idle_since
            .is_some_and(|since| since + self.tuning.linger <= now)
        {
            self.lingered = true;
            self.wind_down(core, now);
        }
    }

    /// Nobody here wants more of the core: peers are told, and left when they do not want any either.
    fn wind_down(&mut self, core: &Core, now: Instant) {
        let wanted = self.is_downloading(core, now);
        if std::mem::replace(&mut self.wound_down, !wanted) || wanted {
            return;
        }
        for peer in self.peers.values_mut().filter(|peer| peer.synced) {
            peer.due.sync = true;
            if !peer.remote.downloading && peer.closing.is_none() {
                peer.closing = Some(Closing::Channel);
            }
            peer.mark();
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let lingers = self.idle_since.map(|since| since + self.tuning.linger);
        let peers = self.peers.values().flat_map(|peer| {
            let oldest = peer.requests.values().next();
            let silent = oldest.map(|asked| asked.sent.max(peer.heard) + SILENCE);
            let slow = (self.peers.len() > 1).then(|| self.slow_at(peer)).flatten();
            let slow = slow.map(|at| self.slow_again.map_or(at, |again| at.max(again)));
            [peer.aside_until, silent, slow]
        });
        let lingers = lingers.filter(|_| !self.peers.is_empty() && !self.lingered);
        let leisure = self.leisure.map(|(since, _)| since + LEISURE);
        let leisure = leisure.filter(|_| !self.peers.is_empty());
        let all = peers.chain([self.retry_at, lingers, leisure]);
        all.flatten().min()
    }

    /// Where what this peer sends may be checked.
    pub(super) fn worker(&self, id: PeerId) -> Option<Worker> {
        self.peers.get(&id)?.ready.worker().cloned()
    }

    /// Takes over what has changed and what has come. To be called before messages are taken.
    pub(crate) fn prepare(&mut self, core: &Arc<Core>, id: PeerId, now: Instant) {
        self.refresh(core, now);
        let worker = self.worker(id);
        self.settle(core, worker.as_ref(), now);
        self.refresh(core, now);
    }

    /// The next thing to send to a peer. `None`: nothing for now.
    pub(crate) fn poll(&mut self, core: &Arc<Core>, id: PeerId, now: Instant) -> Option<Message> {
        let message = self.next_message(core, id, now)?;
        self.count(id, |stats| stats.sent(&message));
        Some(message)
    }

    fn next_message(&mut self, core: &Arc<Core>, id: PeerId, now: Instant) -> Option<Message> {
        let peer = self.peers.get_mut(&id)?;
        if !peer.opened || matches!(peer.closing, Some(Closing::Destroy(_))) {
            return None;
        }
        // Who waits for the block that makes the core longer asks for both at once when it knows that the block is here before it knows of the length.
        let fork = self.shown.as_ref().map(|shown| shown.tree.fork);
        let grows = peer.told.is_some_and(|told| Some(told.fork) == fork);
        if grows
            && peer.closing.is_none()
            && let Some(range) = peer.tell_contiguous(self.shown.as_deref())
        {
            return Some(range);
        }
        if std::mem::take(&mut peer.due.sync)
            && let Some(sync) = self.sync_for(core, id, now)
        {
            let peer = self.peers.get_mut(&id)?;
            peer.told = Some(sync);
            return Some(Message::Sync(sync));
        }
        let peer = self.peers.get_mut(&id)?;
        if peer.told.is_none() {
            // nothing before the first sync, which waits for the disk
            peer.due.sync = true;
            return None;
        }
        if peer.closing.is_some() {
            return peer.due.messages.pop_front();
        }
        if let Some(range) = peer.tell_contiguous(self.shown.as_deref()) {
            return Some(range);
        }
        if let Some(have) = peer.due.haves.pop_front() {
            return Some(Message::Range(have));
        }
        if std::mem::take(&mut peer.replan) {
            self.plan(core, id, now);
        }
        let peer = self.peers.get_mut(&id)?;
        if let Some(message) = peer.due.messages.pop_front() {
            return Some(message);
        }
        self.answer(core, id)
    }
}

/// What is left of a range.
fn without(range: Range<u64>, gone: &Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let before = range.start..range.end.min(gone.start);
    let after = range.start.max(gone.end)..range.end;
    [before, after]
        .into_iter()
        .filter(|left| left.start < left.end)
}
