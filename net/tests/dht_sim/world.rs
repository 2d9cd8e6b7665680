//! Thousands of nodes in one process, on simulated time: datagrams take a while and get lost, clocks stand still in between. All chance comes from a seed.

use bytes::Bytes;
use pome_net::dht_rpc::{
    Answer, Ask, Id, Message, Node, NodeOptions, Output, QueryId, QueryOptions, Socket, node_id,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet},
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

const SERVER_PORT: u16 = 1_000;
const CLIENT_PORT: u16 = 2_000;
/// Nodes that the others begin with.
pub(crate) const BOOTSTRAP: usize = 3;
/// The commands of the little store of values that each node is.
pub(crate) const READ: u64 = 1;
pub(crate) const WRITE: u64 = 2;

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Datagram(SocketAddrV4, SocketAddrV4, Bytes),
    Timer(usize),
}

/// How one query went.
#[derive(Debug, Clone)]
pub(crate) struct Walk {
    pub(crate) from: usize,
    pub(crate) target: Id,
    begun: Duration,
    /// How many answers lie between us and each node that we were told of.
    depth: HashMap<SocketAddrV4, u32>,
    /// The numbers of its requests.
    tids: HashSet<u16>,
    /// Datagrams of it, both ways.
    pub(crate) datagrams: u64,
    /// Values that came.
    pub(crate) values: usize,
    pub(crate) closest: Vec<SocketAddrV4>,
    pub(crate) committed: usize,
    pub(crate) took: Option<Duration>,
}

impl Walk {
    /// Answers that lie between us and the closest node: 1 when our own table had it.
    pub(crate) fn hops(&self) -> u32 {
        let first = self.closest.first();
        first
            .and_then(|at| self.depth.get(at))
            .copied()
            .unwrap_or(0)
    }
}

pub(crate) struct World {
    pub(crate) rng: ChaCha8Rng,
    pub(crate) now: Duration,
    pub(crate) nodes: Vec<Option<Node>>,
    pub(crate) ids: Vec<Id>,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    armed: Vec<Option<Duration>>,
    tie: u64,
    pub(crate) loss: f64,
    /// Datagrams that were sent, ever.
    pub(crate) sent: u64,
    values: HashMap<(usize, Id), Bytes>,
    walks: HashMap<(usize, QueryId), Walk>,
    /// Walks on their way, by who walks.
    walkers: HashMap<usize, QueryId>,
}

pub(crate) fn address(at: usize) -> SocketAddrV4 {
    let host = 0x0a00_0000 + u32::try_from(at).unwrap();
    SocketAddrV4::new(Ipv4Addr::from(host), SERVER_PORT)
}

fn owner(address: SocketAddrV4) -> Option<(usize, Socket)> {
    let at = u32::from(*address.ip()).checked_sub(0x0a00_0000)?;
    let socket = match address.port() {
        SERVER_PORT => Socket::Server,
        CLIENT_PORT => Socket::Client,
        _ => return None,
    };
    Some((at as usize, socket))
}

impl World {
    pub(crate) fn new(seed: u64, loss: f64) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            now: Duration::ZERO,
            nodes: vec![],
            ids: vec![],
            events: BinaryHeap::new(),
            armed: vec![],
            tie: 0,
            loss,
            sent: 0,
            values: HashMap::new(),
            walks: HashMap::new(),
            walkers: HashMap::new(),
        }
    }

    /// One more node joins. The first few are those that others begin with.
    pub(crate) fn add(&mut self) -> usize {
        let at = self.nodes.len();
        let mut options = NodeOptions::default();
        if at < BOOTSTRAP {
            options.address = Some(address(at));
            options.firewalled = false;
        }
        options.bootstrap = (0..BOOTSTRAP.min(at)).map(address).collect();
        options.ephemeral = Some(false);
        let node = Node::new(options, SERVER_PORT, self.rng.random(), self.now);
        self.nodes.push(Some(node));
        self.ids.push(node_id(address(at)));
        self.armed.push(None);
        self.pump(at);
        at
    }

    /// A node is gone, without a word.
    pub(crate) fn kill(&mut self, at: usize) {
        self.nodes[at] = None;
        if let Some(id) = self.walkers.remove(&at) {
            self.walks.remove(&(at, id));
        }
    }

    pub(crate) fn alive(&self) -> Vec<usize> {
        let all = 0..self.nodes.len();
        all.filter(|at| self.nodes[*at].is_some()).collect()
    }

    pub(crate) fn lasting(&self) -> usize {
        let nodes = self.nodes.iter().flatten();
        nodes.filter(|node| node.id().is_some()).count()
    }

    fn put_event(&mut self, at: Duration, event: Event) {
        self.tie += 1;
        self.events.push(Reverse((at, self.tie, event)));
    }

    fn send(&mut self, at: usize, socket: Socket, to: SocketAddrV4, bytes: Bytes) {
        self.sent += 1;
        let mut from = address(at);
        if socket == Socket::Client {
            from.set_port(CLIENT_PORT);
        }
        if let Some(id) = self.walkers.get(&at)
            && let Some(walk) = self.walks.get_mut(&(at, *id))
            && let Some(Message::Request(request)) = Message::decode(&bytes, from)
            && request.target == Some(walk.target)
        {
            walk.datagrams += 1;
            walk.depth.entry(to).or_insert(1);
            walk.tids.insert(request.tid);
        }
        if self.loss == 0.0 || !self.rng.random_bool(self.loss) {
            let delay = Duration::from_micros(self.rng.random_range(5_000..120_000));
            self.put_event(self.now + delay, Event::Datagram(from, to, bytes));
        }
    }

    /// Moves what the node wants done.
    fn pump(&mut self, at: usize) {
        loop {
            let Some(node) = self.nodes[at].as_mut() else {
                return;
            };
            let Some(output) = node.poll() else {
                break;
            };
            match output {
                Output::Send {
                    socket, to, bytes, ..
                } => self.send(at, socket, to, bytes.into()),
                Output::QueryDone(id, closest, committed) => {
                    self.walkers.remove(&at);
                    if let Some(walk) = self.walks.get_mut(&(at, id)) {
                        walk.closest = closest.iter().map(|reply| reply.from).collect();
                        walk.committed = committed;
                        walk.took = Some(self.now - walk.begun);
                    }
                }
                Output::QueryReply(id, reply) => {
                    if let Some(walk) = self.walks.get_mut(&(at, id)) {
                        walk.values += usize::from(reply.response.value.is_some());
                    }
                }
                Output::Request(incoming) => {
                    // What was lost on its way back is asked again: both have an answer.
                    let target = incoming.request.target.unwrap();
                    let mut answer = Answer::default();
                    match incoming.request.command {
                        READ => {
                            answer.value = self.values.get(&(at, target)).cloned();
                            answer.token = true;
                            answer.closer_nodes = true;
                        }
                        _ if incoming.request.token.is_some() => {
                            let value = incoming.request.value.clone().unwrap();
                            self.values.insert((at, target), value);
                        }
                        _ => answer.error = 2,
                    }
                    node.reply(&incoming, answer, self.now);
                }
                _ => {}
            }
        }
        let next = self.nodes[at].as_ref().and_then(Node::next_timeout);
        if next != self.armed[at] {
            self.armed[at] = next;
            if let Some(next) = next {
                self.put_event(next, Event::Timer(at));
            }
        }
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(Reverse((at, ..))) = self.events.peek()
            && *at <= until
        {
            let Some(Reverse((time, _, event))) = self.events.pop() else {
                break;
            };
            self.now = self.now.max(time);
            match event {
                Event::Datagram(from, to, bytes) => {
                    if let Some((at, _)) = owner(to) {
                        self.note(at, from, &bytes);
                    }
                    if let Some((at, socket)) = owner(to)
                        && let Some(Some(node)) = self.nodes.get_mut(at)
                    {
                        assert!(node.receive(socket, from, &bytes, self.now));
                        self.pump(at);
                    }
                }
                // One that was set anew since then comes again.
                Event::Timer(at) if self.armed[at] == Some(time) => {
                    self.armed[at] = None;
                    if let Some(node) = &mut self.nodes[at] {
                        node.handle_timeout(self.now);
                        self.pump(at);
                    }
                }
                Event::Timer(_) => {}
            }
        }
        self.now = until;
    }

    /// Notes of whom a walker is told.
    fn note(&mut self, at: usize, from: SocketAddrV4, bytes: &Bytes) {
        if let Some(id) = self.walkers.get(&at)
            && let Some(walk) = self.walks.get_mut(&(at, *id))
            && let Some(Message::Response(response)) = Message::decode(bytes, from)
            && walk.tids.contains(&response.tid)
        {
            walk.datagrams += 1;
            let depth = walk.depth.get(&from).copied().unwrap_or(1);
            for closer in response.closer_nodes {
                walk.depth.entry(closer).or_insert(depth + 1);
            }
        }
    }

    /// Begins a query; its walk is there when it is done.
    fn walk(&mut self, from: usize, target: Id, commit: Option<Bytes>) -> QueryId {
        let ask = Ask {
            command: READ,
            target: Some(target),
            ..Ask::default()
        };
        let commit = commit.map(|value| Ask {
            command: WRITE,
            value: Some(value),
            ..ask.clone()
        });
        let options = QueryOptions {
            ask,
            commit,
            ..QueryOptions::default()
        };
        let id = self.nodes[from].as_mut().unwrap().query(options, self.now);
        let walk = Walk {
            from,
            target,
            begun: self.now,
            depth: HashMap::new(),
            tids: HashSet::new(),
            datagrams: 0,
            values: 0,
            closest: vec![],
            committed: 0,
            took: None,
        };
        self.walks.insert((from, id), walk);
        self.walkers.insert(from, id);
        self.pump(from);
        id
    }

    /// Walks to all targets at once, each from another living node drawn at random; with a value it is left there.
    pub(crate) fn walks(&mut self, targets: &[Id], value: Option<&Bytes>) -> Vec<Walk> {
        let mut alive = self.alive();
        assert!(alive.len() >= targets.len(), "each walks once");
        for target in targets {
            let from = alive.swap_remove(self.rng.random_range(0..alive.len()));
            self.walk(from, *target, value.cloned());
        }
        for _ in 0..120 {
            self.run(Duration::from_millis(500));
            if self.walkers.is_empty() {
                break;
            }
        }
        assert!(self.walkers.is_empty(), "every query has an end");
        let walks = std::mem::take(&mut self.walks);
        walks.into_values().filter(|w| w.took.is_some()).collect()
    }

    /// The living nodes that are closest to a target, but one.
    pub(crate) fn closest(&self, target: &Id, count: usize, but: usize) -> Vec<SocketAddrV4> {
        let distance = |at: &usize| -> Id { std::array::from_fn(|i| self.ids[*at][i] ^ target[i]) };
        let mut all = self.alive();
        all.retain(|at| *at != but);
        if all.len() > count {
            all.select_nth_unstable_by_key(count, distance);
            all.truncate(count);
        }
        all.into_iter().map(address).collect()
    }

    pub(crate) fn random_targets(&mut self, count: usize) -> Vec<Id> {
        (0..count).map(|_| self.rng.random()).collect()
    }
}
