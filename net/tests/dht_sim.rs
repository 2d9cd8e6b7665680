#![allow(clippy::unwrap_used, reason = "a test says what it expects")]
//! A network of nodes in one process, on simulated time: lookups find the closest, through loss and churn.

use bytes::Bytes;
use pome_net::dht_rpc::{Answer, Ask, Node, NodeOptions, Output, QueryOptions, Socket, node_id};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeMap, HashMap},
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

struct World {
    rng: ChaCha8Rng,
    now: Duration,
    nodes: Vec<Option<Node>>,
    addresses: Vec<SocketAddrV4>,
    by_address: HashMap<SocketAddrV4, (usize, Socket)>,
    air: BTreeMap<(Duration, u64), (SocketAddrV4, SocketAddrV4, Bytes)>,
    timers: BTreeMap<(Duration, usize), ()>,
    armed: Vec<Option<Duration>>,
    tie: u64,
    loss: f64,
    sent: u64,
    done: Vec<(usize, Vec<[u8; 32]>, usize)>,
    values: Vec<HashMap<[u8; 32], Bytes>>,
    replies: Vec<(usize, Option<Bytes>)>,
}

impl World {
    fn new(seed: u64, loss: f64) -> Self {
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            now: Duration::ZERO,
            nodes: vec![],
            addresses: vec![],
            by_address: HashMap::new(),
            air: BTreeMap::new(),
            timers: BTreeMap::new(),
            armed: vec![],
            tie: 0,
            loss,
            sent: 0,
            done: vec![],
            values: vec![],
            replies: vec![],
        }
    }

    fn add(&mut self) -> usize {
        let at = self.nodes.len();
        let n = u32::try_from(at).unwrap() + 1;
        let host = Ipv4Addr::from(0x0a00_0000 + n);
        let server = SocketAddrV4::new(host, 1_000);
        let client = SocketAddrV4::new(host, 2_000);
        let mut options = NodeOptions::default();
        if at == 0 {
            options.address = Some(server);
            options.firewalled = false;
        } else {
            options.bootstrap = vec![self.addresses[0]];
        }
        options.ephemeral = Some(false);
        self.by_address.insert(server, (at, Socket::Server));
        self.by_address.insert(client, (at, Socket::Client));
        self.addresses.push(server);
        let node = Node::new(options, 1_000, self.rng.random(), self.now);
        self.nodes.push(Some(node));
        self.armed.push(None);
        self.values.push(HashMap::new());
        self.pump(at);
        at
    }

    fn kill(&mut self, at: usize) {
        self.nodes[at] = None;
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
                } => {
                    self.sent += 1;
                    let mut from = self.addresses[at];
                    if socket == Socket::Client {
                        from.set_port(2_000);
                    }
                    if !self.rng.random_bool(self.loss) {
                        self.tie += 1;
                        let delay = Duration::from_micros(self.rng.random_range(5_000..120_000));
                        self.air
                            .insert((self.now + delay, self.tie), (from, to, bytes.into()));
                    }
                }
                Output::QueryDone(_, closest, committed) => {
                    self.done.push((
                        at,
                        closest.into_iter().filter_map(|r| r.id).collect(),
                        committed,
                    ));
                }
                Output::QueryReply(_, reply) => self.replies.push((at, reply.response.value)),
                Output::Request(incoming) => {
                    // A store of values: 1 reads, 2 writes, and a write needs a token.
                    let target = incoming.request.target.unwrap();
                    let mut answer = Answer::default();
                    match incoming.request.command {
                        1 => {
                            answer.value = self.values[at].get(&target).cloned();
                            answer.token = true;
                            answer.closer_nodes = true;
                        }
                        _ if incoming.request.token.is_some() => {
                            self.values[at].insert(target, incoming.request.value.clone().unwrap());
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
            if let Some(old) = self.armed[at] {
                self.timers.remove(&(old, at));
            }
            self.armed[at] = next;
            if let Some(next) = next {
                self.timers.insert((next, at), ());
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let packet = self.air.keys().next().map(|(at, _)| *at);
            let timer = self.timers.keys().next().map(|(at, _)| *at);
            let Some(next) = packet
                .into_iter()
                .chain(timer)
                .min()
                .filter(|at| *at <= until)
            else {
                self.now = until;
                return;
            };
            self.now = self.now.max(next);
            if packet == Some(next) {
                let (_, (from, to, bytes)) = self.air.pop_first().unwrap();
                if let Some((at, socket)) = self.by_address.get(&to).copied()
                    && let Some(node) = self.nodes[at].as_mut()
                {
                    assert!(node.receive(socket, from, &bytes, self.now));
                    self.pump(at);
                }
            } else {
                let ((_, at), ()) = self.timers.pop_first().unwrap();
                self.armed[at] = None;
                if let Some(node) = self.nodes[at].as_mut() {
                    node.handle_timeout(self.now);
                    self.pump(at);
                }
            }
        }
    }

    fn alive(&self) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|at| self.nodes[*at].is_some())
            .collect()
    }

    /// How many of the 20 closest that are alive a lookup finds, and the datagrams it took.
    fn lookup(&mut self) -> (usize, u64) {
        let alive = self.alive();
        let from = alive[self.rng.random_range(0..alive.len())];
        let target: [u8; 32] = self.rng.random();
        let before = self.sent;
        let now = self.now;
        self.nodes[from].as_mut().unwrap().find_node(target, now);
        self.done.clear();
        self.pump(from);
        for _ in 0..600 {
            self.run(Duration::from_millis(100));
            if !self.done.is_empty() {
                break;
            }
        }
        let took = self.sent - before;
        let distance = |id: &[u8; 32]| -> [u8; 32] { std::array::from_fn(|i| id[i] ^ target[i]) };
        let mut ids: Vec<[u8; 32]> = alive
            .iter()
            .filter(|at| **at != from)
            .map(|at| node_id(self.addresses[*at]))
            .collect();
        ids.sort_by_key(distance);
        ids.truncate(20);
        let (_, found, _) = &self.done[0];
        (ids.iter().filter(|id| found.contains(id)).count(), took)
    }
}

#[test]
fn nodes_become_lasting_and_lookups_find_the_closest() {
    let count = std::env::var("POME_DHT_NODES").map_or(150, |s| s.parse().unwrap());
    for (seed, loss) in [(1, 0.0), (2, 0.1)] {
        let mut world = World::new(seed, loss);
        for _ in 0..count {
            world.add();
            let pause = Duration::from_millis(world.rng.random_range(10..300));
            world.run(pause);
        }
        world.run(Duration::from_secs(90));
        let lasting = world
            .nodes
            .iter()
            .flatten()
            .filter(|n| n.id().is_some())
            .count();
        assert!(
            lasting * 100 >= count * 95,
            "{lasting} of {count} nodes last"
        );
        let (mut all, mut found, mut messages) = (0, 0, 0);
        for _ in 0..40 {
            let (hits, took) = world.lookup();
            all += 20;
            found += hits;
            messages += took;
        }
        println!(
            "loss {loss}: {found} of {all} of the closest found, {} datagrams a lookup",
            messages / 40
        );
        assert!(
            found * 100 >= all * if loss > 0.0 { 85 } else { 95 },
            "{found} of {all}"
        );
        // A third of the nodes go away.
        for at in (1..count).step_by(3) {
            world.kill(at);
        }
        world.run(Duration::from_secs(300));
        let (mut all, mut found) = (0, 0);
        for _ in 0..40 {
            let (hits, _) = world.lookup();
            all += 20;
            found += hits;
        }
        println!("after churn: {found} of {all}");
        assert!(found * 100 >= all * 80, "{found} of {all} after churn");
    }
}

#[test]
fn what_is_committed_is_found() {
    let mut world = World::new(5, 0.02);
    for _ in 0..60 {
        world.add();
        world.run(Duration::from_millis(200));
    }
    world.run(Duration::from_secs(60));
    let target = world.rng.random();
    let ask = |command, value: &'static [u8]| Ask {
        command,
        target: Some(target),
        value: Some(Bytes::from_static(value)),
        ..Ask::default()
    };
    let now = world.now;
    let options = QueryOptions {
        ask: ask(1, b""),
        commit: Some(ask(2, b"kept")),
        nodes: vec![],
    };
    world.nodes[7].as_mut().unwrap().query(options, now);
    world.pump(7);
    world.run(Duration::from_secs(20));
    let (_, _, committed) = world.done.last().unwrap();
    assert!(*committed >= 15, "{committed} nodes took it");
    world.replies.clear();
    let options = QueryOptions {
        ask: ask(1, b""),
        ..QueryOptions::default()
    };
    let now = world.now;
    world.nodes[31].as_mut().unwrap().query(options, now);
    world.pump(31);
    world.run(Duration::from_secs(20));
    let kept = world
        .replies
        .iter()
        .filter(|(_, v)| v.as_deref() == Some(b"kept"))
        .count();
    assert!(kept >= 15, "{kept} nodes gave it back");
}
