//! One peer of one core.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    bits::Bits,
    events::PeerId,
    messages::{Have, Message, Request, Sync, Want},
    promised::Promised,
    ready::Ready,
    stats::ReplicationStats,
    wants::RemoteWants,
};
use crate::{core::Head, merkle::ProofRequest};

/// Requests that a peer may have waiting here; npm asks for at most 512 at a time.
pub(crate) const SERVE_MAX: usize = 4096;
/// Mixed pages of what a peer has: 4 KiB each.
const PAGES_MAX: usize = 512;
/// Runs of full pages of what a peer has.
const RUNS_MAX: usize = 8192;
/// Blocks to tell of, before the oldest are left out.
const HAVES_MAX: usize = 1024;
/// As often a peer may fail to prove its length before nothing that it says of it counts any more.
const DOUBTS_MAX: u32 = 3;
/// Bytes in flight, about.
const BYTES_IN_FLIGHT: u64 = 8 << 20;

/// A request that a peer has not answered yet.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) proof: ProofRequest,
    pub(crate) fork: u64,
    pub(crate) seek: Option<u64>,
    /// It is for following the peer to another fork.
    pub(crate) for_fork: bool,
    pub(crate) manifest: bool,
    pub(crate) sent: Instant,
}

/// What waits to be sent, beside requests and answers: each is made when the driver has room for it.
#[derive(Debug, Default)]
pub(crate) struct Due {
    pub(crate) sync: bool,
    pub(crate) contiguous: bool,
    pub(crate) haves: VecDeque<Have>,
    pub(crate) wants: VecDeque<Want>,
    /// Requests, cancels, wants of our own, extension messages.
    pub(crate) messages: VecDeque<Message>,
}

/// See the module. What a peer makes us hold is bounded: its blocks (2 MiB of pages, 0.5 MiB of runs), its wants (12 KiB), the requests that
/// wait for an answer (4,096, 0.5 MiB), what is to be told to it (1,024 ranges), and, for all peers of a core together, the blocks that were sent and are not
/// committed yet (16 MiB and two messages).
pub(crate) struct Peer {
    pub(crate) id: PeerId,
    pub(crate) channel: u64,
    pub(crate) ready: Arc<Ready>,
    pub(crate) remote_key: [u8; 32],
    pub(crate) opened: bool,
    pub(crate) seeks: bool,
    /// What it last said of itself.
    pub(crate) remote: Sync,
    /// While the store recovers: fork and length that it last said it has.
    pub(crate) first: Option<(u64, u64)>,
    /// It has said something of itself.
    pub(crate) synced: bool,
    pub(crate) contiguous: u64,
    pub(crate) bits: Bits,
    pub(crate) wants: RemoteWants,
    /// Batches of blocks that we asked it to tell us about.
    pub(crate) wanted: BTreeSet<u64>,
    pub(crate) told: Option<Sync>,
    pub(crate) told_contiguous: u64,
    pub(crate) due: Due,
    pub(crate) requests: BTreeMap<u64, Asked>,
    pub(crate) last_request: u64,
    /// Tree nodes that its answers will bring.
    pub(crate) promised: Promised,
    pub(crate) window: usize,
    /// The window at first, and at most.
    pub(crate) inflight: (usize, usize),
    /// Of the blocks that it sent, on average.
    pub(crate) block_size: u64,
    pub(crate) round_trip: Duration,
    pub(crate) heard: Instant,
    pub(crate) serve: VecDeque<Request>,
    /// The highest number of a request that it made.
    pub(crate) last_served: u64,
    /// Look for something to ask it for.
    pub(crate) replan: bool,
    pub(crate) aside_until: Option<Instant>,
    pub(crate) faults: u32,
    pub(crate) not_available: u32,
    pub(crate) missed: u32,
    pub(crate) invalid_requests: u32,
    /// It could not prove a length from where we said we are: only from where it thinks we are, then.
    pub(crate) exact: bool,
    /// A length that it said it has and could not prove, and how often that happened.
    pub(crate) doubts: (u64, u32),
    /// Up to which length of which fork blocks were pushed to it: it may not have said yet that it has that.
    pub(crate) pushed: (u64, u64),
    pub(crate) checked_conflict: bool,
    pub(crate) extension_sent: String,
    pub(crate) extension_received: String,
    pub(crate) closing: Option<Closing>,
    pub(crate) stats: ReplicationStats,
}

/// How a peer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    /// The channel, after what waits to be sent.
    Channel,
    /// The whole connection.
    Destroy(&'static str),
}

impl Peer {
    pub(crate) fn new(
        id: PeerId,
        channel: u64,
        ready: Arc<Ready>,
        remote_key: [u8; 32],
        inflight: (usize, usize),
        now: Instant,
    ) -> Self {
        Self {
            id,
            channel,
            ready,
            remote_key,
            opened: false,
            seeks: false,
            remote: Sync {
                uploading: true,
                downloading: true,
                ..Sync::default()
            },
            first: None,
            synced: false,
            contiguous: 0,
            bits: Bits::default(),
            wants: RemoteWants::default(),
            wanted: BTreeSet::new(),
            told: None,
            told_contiguous: 0,
            due: Due::default(),
            requests: BTreeMap::new(),
            last_request: 0,
            promised: Promised::default(),
            window: inflight.0,
            inflight,
            block_size: 0,
            round_trip: Duration::from_millis(50),
            heard: now,
            serve: VecDeque::new(),
            last_served: 0,
            replan: true,
            aside_until: None,
            faults: 0,
            not_available: 0,
            missed: 0,
            invalid_requests: 0,
            exact: false,
            doubts: (0, 0),
            pushed: (0, 0),
            checked_conflict: false,
            extension_sent: String::new(),
            extension_received: String::new(),
            closing: None,
            stats: ReplicationStats::default(),
        }
    }

    pub(crate) fn is_aside(&self, now: Instant) -> bool {
        self.aside_until.is_some_and(|until| until > now)
    }

    /// True when it may be asked for something.
    pub(crate) fn can_be_asked(&self, now: Instant) -> bool {
        self.opened
            && self.synced
            && self.remote.uploading
            && self.closing.is_none()
            && !self.is_aside(now)
    }

    pub(crate) fn has_room(&self) -> bool {
        let by_size = BYTES_IN_FLIGHT / self.block_size.max(1);
        let limit = (self.window as u64).min(by_size.max(8));
        (self.requests.len() as u64) < limit
    }

    /// It says that it has this block.
    pub(crate) fn has(&self, index: u64) -> bool {
        index < self.remote.length && (index < self.contiguous || self.bits.get(index))
    }

    /// The first block of `from..end` that it says it has.
    pub(crate) fn next_has(&self, from: u64, end: u64) -> Option<u64> {
        let end = end.min(self.remote.length);
        if from < end && from < self.contiguous {
            return Some(from);
        }
        self.bits.next_set(from, end)
    }

    /// It has all blocks of its length.
    pub(crate) fn is_full(&self) -> bool {
        self.contiguous >= self.remote.length
    }

    /// It does not have this block, in spite of what it said.
    pub(crate) fn has_not(&mut self, index: u64) {
        if index < self.contiguous {
            self.bits.set_range(index + 1, self.contiguous, true);
            self.contiguous = index;
        }
        self.bits.set(index, false);
    }

    /// Keeps what it says it has within bounds.
    pub(crate) fn bound_bits(&mut self) {
        let (pages, runs) = self.bits.weight();
        if pages > PAGES_MAX || runs > RUNS_MAX {
            self.bits.clear();
            self.wanted.clear();
        }
    }

    /// Tells it of blocks, later.
    pub(crate) fn tell(&mut self, have: Have) {
        if let Some(last) = self.due.haves.back_mut()
            && last.drop == have.drop
            && last.start.saturating_add(last.length) == have.start
        {
            last.length += have.length;
            return;
        }
        if self.due.haves.len() >= HAVES_MAX {
            self.due.haves.pop_front();
        }
        self.due.haves.push_back(have);
    }

    /// The blocks that are here from 0 on, if there are more than it was told of and it is time to tell.
    pub(crate) fn tell_contiguous(&mut self, shown: Option<&Head>) -> Option<Message> {
        let shown = shown?;
        if !std::mem::take(&mut self.due.contiguous) {
            return None;
        }
        let contiguous = shown.contiguous.min(shown.tree.length);
        (contiguous > self.told_contiguous).then(|| {
            self.told_contiguous = contiguous;
            Message::Range(Have {
                drop: false,
                start: 0,
                length: contiguous,
            })
        })
    }

    /// An answer came in time.
    pub(crate) fn answered(&mut self, asked: &Asked, bytes: u64, now: Instant) {
        let took = now.saturating_duration_since(asked.sent);
        self.round_trip = (self.round_trip * 7 + took) / 8;
        self.heard = now;
        if self.requests.len() + 1 >= self.window {
            self.window = (self.window + 2).min(self.inflight.1);
        }
        if asked.proof.block.is_some() {
            self.block_size = (self.block_size * 7 + bytes) / 8;
        }
    }

    /// It could not prove its length.
    pub(crate) fn doubt(&mut self) {
        self.doubts = (self.remote.length, self.doubts.1 + 1);
    }

    /// What it says of its length need not be believed.
    pub(crate) fn is_doubted(&self) -> bool {
        let (length, times) = self.doubts;
        self.faults > 0 || (times > 0 && length == self.remote.length) || times >= DOUBTS_MAX
    }

    /// It was too slow.
    pub(crate) fn overtaken(&mut self) {
        self.window = (self.window / 2).max(self.inflight.0.min(4));
    }

    /// Must be polled.
    pub(crate) fn mark(&self) {
        self.ready.mark(self.channel);
    }
}
