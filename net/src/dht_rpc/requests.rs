//! Requests on their way: numbers, tries, timeouts, and not too many at once.

use super::{
    adaptive::Timeouts,
    message::{Request, internal},
    types::Socket,
};
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    net::SocketAddrV4,
    time::Duration,
};

/// How long a try waits for its answer.
const TRY: Duration = Duration::from_millis(1_000);
/// How often the window moves on.
const DRAIN: Duration = Duration::from_millis(750);
/// The parts of the window that are looked at.
const PARTS: usize = 4;

/// Why a request has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Nobody answered any try.
    #[error("the node did not answer")]
    Timeout,
    /// There are as many requests on their way as there are numbers for them.
    #[error("too many requests are on their way: wait for some to end")]
    TooMany,
    /// The node that asks was closed.
    #[error("the node was closed")]
    Closed,
    /// The node that asks is suspended.
    #[error("the node is suspended: resume it first")]
    Suspended,
}

impl RequestError {
    /// The name npm dht-rpc gives it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Timeout => "REQUEST_TIMEOUT",
            Self::TooMany => "REQUEST_DESTROYED",
            Self::Closed => "NODE_DESTROYED",
            Self::Suspended => "IO_SUSPENDED",
        }
    }
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Of a user: the number he knows it by.
    User(u64),
    Query(u64),
    /// The answers that a query's closest nodes give to its commit.
    Commit(u64),
    /// Is a node of the table still there? As seen last at this tick.
    Check {
        seen: u64,
    },
    /// Is the first one still there? Else the second takes its place.
    Swap {
        seen: u64,
        with: SocketAddrV4,
    },
    Hint,
    NatQuick,
    Nat,
}

#[derive(Debug)]
pub(crate) struct Inflight {
    pub(crate) to: SocketAddrV4,
    pub(crate) purpose: Purpose,
    pub(crate) socket: Socket,
    pub(crate) sent_at: Duration,
    bytes: Vec<u8>,
    ttl: Option<u32>,
    pub(crate) sent: u32,
    retries: u32,
    timeout: Option<Duration>,
    /// Of dht-rpc itself: which command.
    command: Option<usize>,
    due: Option<Duration>,
}

/// A datagram to send.
#[derive(Debug)]
pub(crate) struct Send {
    pub(crate) socket: Socket,
    pub(crate) to: SocketAddrV4,
    pub(crate) ttl: Option<u32>,
    pub(crate) bytes: Vec<u8>,
}

/// How a request is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How {
    pub(crate) purpose: Purpose,
    pub(crate) socket: Socket,
    pub(crate) ttl: Option<u32>,
    pub(crate) retries: u32,
    pub(crate) timeout: Option<Duration>,
}

/// How often a command of dht-rpc itself was asked, and answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CommandStats {
    /// Asked by us.
    pub asked: u64,
    /// Answered to us.
    pub answered: u64,
}

/// Counters of requests and queries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestStats {
    /// On their way.
    pub active: u64,
    /// Ever made.
    pub total: u64,
    /// Answered.
    pub responses: u64,
    /// Given up.
    pub timeouts: u64,
    /// Tries after the first.
    pub retries: u64,
    /// The commands of dht-rpc itself, by their number: ping, ping-nat, find-node, down-hint, delayed-ping.
    pub commands: [CommandStats; internal::DELAYED_PING as usize + 1],
    /// Queries on their way, those of the node's own among them.
    pub queries_active: u64,
    /// Queries ever begun.
    pub queries: u64,
}

#[derive(Debug)]
pub(crate) struct Requests {
    next_tid: u16,
    inflight: HashMap<u16, Inflight>,
    timers: BTreeSet<(Duration, u16)>,
    waiting: VecDeque<u16>,
    window: [usize; PARTS],
    part: usize,
    drain_at: Duration,
    most: usize,
    pub(crate) timeouts: Option<Timeouts>,
    pub(crate) stats: RequestStats,
    sends: VecDeque<Send>,
}

/// What became of a request when its time was up.
pub(crate) enum Due {
    /// Tried again: the node is slow.
    Again(Purpose, SocketAddrV4, bool),
    Failed(Inflight),
}

impl Requests {
    /// At most `most` are sent in one part of the window.
    pub(crate) fn new(
        first_tid: u16,
        most: usize,
        timeouts: Option<Timeouts>,
        now: Duration,
    ) -> Self {
        Self {
            next_tid: first_tid,
            inflight: HashMap::new(),
            timers: BTreeSet::new(),
            waiting: VecDeque::new(),
            window: [0; PARTS],
            part: 0,
            drain_at: now + DRAIN,
            most,
            timeouts,
            stats: RequestStats::default(),
            sends: VecDeque::new(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.inflight.len()
    }

    /// Makes a request of what `fill` completes with the number it gets.
    pub(crate) fn start(
        &mut self,
        how: How,
        mut request: Request,
        now: Duration,
    ) -> Result<(), RequestError> {
        if self.inflight.len() > usize::from(u16::MAX) / 2 {
            return Err(RequestError::TooMany);
        }
        while self.inflight.contains_key(&self.next_tid) {
            self.next_tid = self.next_tid.wrapping_add(1);
        }
        let tid = self.next_tid;
        self.next_tid = tid.wrapping_add(1);
        request.tid = tid;
        self.stats.total += 1;
        let command = usize::try_from(request.command)
            .ok()
            .filter(|command| request.internal && *command < self.stats.commands.len());
        if let Some(command) = command {
            self.stats.commands[command].asked += 1;
        }
        let inflight = Inflight {
            to: request.to,
            purpose: how.purpose,
            socket: how.socket,
            sent_at: now,
            bytes: request.encode(),
            ttl: how.ttl,
            sent: 0,
            retries: how.retries,
            timeout: how.timeout,
            command,
            due: None,
        };
        self.inflight.insert(tid, inflight);
        self.send(tid, now);
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.window.iter().sum::<usize>() >= 2 * self.most || self.window[self.part] >= self.most
    }

    fn send(&mut self, tid: u16, now: Duration) {
        if self.is_full() {
            self.waiting.push_back(tid);
            return;
        }
        let Some(request) = self.inflight.get_mut(&tid) else {
            return;
        };
        self.window[self.part] += 1;
        request.sent += 1;
        if request.sent == 1 {
            request.sent_at = now;
        }
        let wait = match (request.timeout, &mut self.timeouts) {
            (Some(timeout), _) => timeout,
            (None, Some(timeouts)) => timeouts.wait(request.to, request.sent, now),
            (None, None) => TRY,
        };
        let due = now + wait;
        request.due = Some(due);
        self.timers.insert((due, tid));
        self.sends.push_back(Send {
            socket: request.socket,
            to: request.to,
            ttl: request.ttl,
            bytes: request.bytes.clone(),
        });
    }

    pub(crate) fn poll_send(&mut self) -> Option<Send> {
        self.sends.pop_front()
    }

    fn forget(&mut self, tid: u16) -> Option<Inflight> {
        let request = self.inflight.remove(&tid)?;
        if let Some(due) = request.due {
            self.timers.remove(&(due, tid));
        }
        let part = &mut self.window[self.part];
        *part = part.saturating_sub(1);
        Some(request)
    }

    /// The request that this answer is to. One that comes from elsewhere than where the question went answers nothing.
    pub(crate) fn answered(
        &mut self,
        tid: u16,
        from: SocketAddrV4,
        now: Duration,
    ) -> Option<Inflight> {
        if self.inflight.get(&tid)?.to != from {
            return None;
        }
        let request = self.forget(tid)?;
        self.stats.responses += 1;
        if let Some(command) = request.command {
            self.stats.commands[command].answered += 1;
        }
        if let Some(timeouts) = &mut self.timeouts {
            let took = now.saturating_sub(request.sent_at);
            timeouts.answered(from, took, request.sent, now);
        }
        Some(request)
    }

    pub(crate) fn next_timeout(&self) -> Option<Duration> {
        let drain = (!self.waiting.is_empty()).then_some(self.drain_at);
        let due = self.timers.first().map(|(at, _)| *at);
        drain.into_iter().chain(due).min()
    }

    /// The next request whose time is up.
    pub(crate) fn next_due(&mut self, now: Duration) -> Option<Due> {
        while self.drain_at <= now {
            self.part = (self.part + 1) % PARTS;
            self.window[self.part] = 0;
            self.drain_at = (self.drain_at + DRAIN).max(now.saturating_sub(DRAIN * PARTS as u32));
        }
        while !self.is_full()
            && let Some(tid) = self.waiting.pop_front()
        {
            self.send(tid, now);
        }
        let (_, tid) = self.timers.first().copied().filter(|(at, _)| *at <= now)?;
        self.timers.pop_first();
        let request = self.inflight.get_mut(&tid)?;
        request.due = None;
        if request.sent > request.retries {
            self.stats.timeouts += 1;
            return self.forget(tid).map(Due::Failed);
        }
        self.stats.retries += 1;
        let again = Due::Again(request.purpose, request.to, request.sent == 1);
        self.send(tid, now);
        Some(again)
    }
}
