//! Walks towards a target: asks the closest nodes that are known for closer ones, until nobody knows any.

use super::{
    id::{Id, closer, node_id},
    message::Response,
    table::K,
};
use std::{
    collections::{HashMap, HashSet},
    net::SocketAddrV4,
    time::Duration,
};

/// While nothing is known but old results, so many are asked at once.
const CAREFUL: usize = 3;
/// Nodes that one query asks or remembers, whatever it is told: a walk through a network of millions needs a tenth of them. npm has no such bound.
const SEEN_MAX: usize = 2_048;

/// An answer to a query or request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reply {
    /// Who answered, and its place if it is a lasting node.
    pub from: SocketAddrV4,
    /// Its id, if it is a lasting node.
    pub id: Option<Id>,
    /// The answer.
    pub response: Response,
    /// How long it took.
    pub rtt: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    /// To be asked, or asked; these told us of it.
    Waiting(Vec<SocketAddrV4>),
    Answered,
    Down,
}

/// What a query does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Ask(SocketAddrV4),
    /// Tell the first that the second is down.
    Hint(SocketAddrV4, SocketAddrV4),
}

#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) target: Id,
    own: Id,
    concurrency: usize,
    seen: HashMap<SocketAddrV4, Seen>,
    /// Sorted by distance, the closest last.
    pending: Vec<(Id, SocketAddrV4)>,
    inflight: HashSet<SocketAddrV4>,
    slow: HashSet<SocketAddrV4>,
    closest: Vec<Reply>,
    careful: bool,
    from_table: bool,
    only_these: bool,
    pub(crate) successes: usize,
    pub(crate) errors: usize,
    steps: Vec<Step>,
}

impl Query {
    /// `known`: where to begin; `from_table`: the routing table is among these; `only_these`: no other is asked.
    pub(crate) fn new(
        target: Id,
        own: Id,
        concurrency: usize,
        known: impl IntoIterator<Item = SocketAddrV4>,
        from_table: bool,
        only_these: bool,
    ) -> Self {
        let mut query = Self {
            target,
            own,
            concurrency,
            seen: HashMap::new(),
            pending: Vec::new(),
            inflight: HashSet::new(),
            slow: HashSet::new(),
            closest: Vec::new(),
            careful: false,
            from_table,
            only_these: false,
            successes: 0,
            errors: 0,
            steps: Vec::new(),
        };
        query.add_all(known);
        query.only_these = only_these;
        query.careful = !from_table;
        query
    }

    pub(crate) fn is_from_table(&self) -> bool {
        self.from_table
    }

    /// Too few of the nodes it began with have answered: begins again with those of the routing table.
    pub(crate) fn needs_table(&self) -> bool {
        !self.from_table && !self.only_these && self.successes < K / 4 && self.is_out_of_work()
    }

    pub(crate) fn add_table(&mut self, known: impl IntoIterator<Item = SocketAddrV4>) {
        self.from_table = true;
        self.careful = false;
        self.add_all(known);
    }

    fn add_all(&mut self, known: impl IntoIterator<Item = SocketAddrV4>) {
        for address in known {
            self.add(address, None);
        }
    }

    fn is_closer(&self, id: &Id) -> bool {
        self.closest.len() < K
            || self
                .closest
                .last()
                .and_then(|reply| reply.id)
                .is_some_and(|last| closer(&self.target, id, &last).is_lt())
    }

    /// False when it is too far away to matter.
    fn add(&mut self, address: SocketAddrV4, told_by: Option<SocketAddrV4>) -> bool {
        let id = node_id(address);
        if id == self.own || address.port() == 0 {
            return true;
        }
        if self.only_these {
            return false;
        }
        let is_closer = self.is_closer(&id);
        let has_room = self.seen.len() < SEEN_MAX;
        match self.seen.get_mut(&address) {
            Some(Seen::Waiting(tellers)) if tellers.len() < K => tellers.extend(told_by),
            Some(Seen::Waiting(_)) => {}
            Some(Seen::Down) => self.steps.extend(told_by.map(|by| Step::Hint(by, address))),
            Some(Seen::Answered) => {}
            None if is_closer && has_room => {
                self.seen
                    .insert(address, Seen::Waiting(told_by.into_iter().collect()));
                let target = self.target;
                let at = self
                    .pending
                    .partition_point(|(other, _)| closer(&target, other, &id).is_gt());
                self.pending.insert(at, (id, address));
            }
            None => {}
        }
        is_closer
    }

    /// What to do now.
    pub(crate) fn steps(&mut self) -> Vec<Step> {
        let width = if self.careful {
            CAREFUL
        } else {
            self.concurrency
        };
        while self.inflight.len() < width + self.slow.len()
            && let Some((id, address)) = self.pending.pop()
        {
            if self.is_closer(&id) {
                self.inflight.insert(address);
                self.steps.push(Step::Ask(address));
            }
        }
        std::mem::take(&mut self.steps)
    }

    fn is_out_of_work(&self) -> bool {
        let full = self.closest.len() >= K;
        self.pending.is_empty()
            && (self.inflight.is_empty() || full && self.slow.len() == self.inflight.len())
    }

    /// Nobody is left to ask, and who has not answered yet is slow and not needed.
    pub(crate) fn is_done(&self) -> bool {
        self.steps.is_empty() && self.is_out_of_work() && !self.needs_table()
    }

    /// The closest that answered, the closest first.
    pub(crate) fn into_closest(self) -> Vec<Reply> {
        self.closest
    }

    fn left(&mut self, address: SocketAddrV4) {
        self.inflight.remove(&address);
        self.slow.remove(&address);
        if self.successes + self.errors >= self.concurrency {
            self.careful = false;
        }
    }

    /// A node did not answer the first try.
    pub(crate) fn is_slow(&mut self, address: SocketAddrV4) {
        if self.inflight.contains(&address) {
            self.slow.insert(address);
        }
    }

    /// A node was not asked after all.
    pub(crate) fn not_asked(&mut self, address: SocketAddrV4) {
        self.errors += 1;
        self.left(address);
    }

    /// A node answered no try.
    pub(crate) fn failed(&mut self, address: SocketAddrV4) {
        self.not_asked(address);
        if let Some(Seen::Waiting(tellers)) = self.seen.insert(address, Seen::Down) {
            let hints = tellers.into_iter().map(|by| Step::Hint(by, address));
            self.steps.extend(hints);
        }
    }

    pub(crate) fn answered(&mut self, reply: &Reply) {
        match reply.response.error {
            0 => self.successes += 1,
            _ => self.errors += 1,
        }
        self.left(reply.from);
        self.seen.insert(reply.from, Seen::Answered);
        if reply.response.error == 0
            && let Some(id) = reply.id
            && self.is_closer(&id)
        {
            let target = self.target;
            let found = self.closest.binary_search_by(|other| {
                let other = other.id.unwrap_or_default();
                closer(&target, &other, &id)
            });
            if let Err(at) = found {
                self.closest.insert(at, reply.clone());
                self.closest.truncate(K);
            }
        }
        for node in &reply.response.closer_nodes {
            if !self.add(*node, Some(reply.from)) {
                break;
            }
        }
    }
}
