//! A network of 2 to 20 peers on simulated disks and simulated time, all from one seed: delays, lost connections, kills, power cuts,
//! truncations. What must hold:
//!
//! - for one length and fork nobody ever sees two histories;
//! - after a power cut a peer still has every length and block that it has told of;
//! - when the trouble ends, all who are connected have the writer's core.
//!
//! `POME_SEED=<n>` runs one seed, `POME_SEEDS=<n>` so many.
#![allow(clippy::unwrap_used, reason = "a failure is the test's message")]

mod net;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    env,
    sync::Arc,
    time::{Duration, Instant},
};

use net::{End, Frame, quiet};
use pome_cores::{
    CoreOptions, Corestore, CorestoreOptions, Hypercore, Key, Store,
    replication::{Download, Message},
};
use pome_wal::SimDevice;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn setting(name: &str) -> Option<u64> {
    env::var(name).ok().map(|n| n.parse().unwrap())
}

macro_rules! say {
    ($($what:tt)*) => {
        if env::var_os("POME_SEED").is_some() {
            println!($($what)*);
        }
    };
}

/// What a peer has told others of.
#[derive(Default)]
struct Told {
    fork: u64,
    length: u64,
    blocks: BTreeSet<u64>,
}

struct Node {
    device: SimDevice,
    open: Option<Open>,
    told: Told,
    /// Fetches everything.
    greedy: bool,
}

struct Open {
    cores: Corestore,
    core: Hypercore,
    _all: Option<Download>,
}

/// A connection of two peers, with frames that are on the way.
struct Link {
    peers: [usize; 2],
    ends: [End; 2],
    frames: [Vec<(Instant, Frame)>; 2],
    delay: [Duration; 2],
}

struct World {
    rng: ChaCha8Rng,
    now: Instant,
    nodes: Vec<Node>,
    links: Vec<Link>,
    key: Key,
    /// (fork, length) → tree hash, as somebody other than the writer had it.
    histories: HashMap<(u64, u64), [u8; 32]>,
    next_block: u64,
}

fn options(seed: u64) -> pome_storage::Options {
    let mut options = quiet();
    options.seed = Some(seed);
    options.log_segment_bytes = 1 << 16;
    options.checkpoint_log_bytes = 1 << 18;
    options
}

impl Node {
    fn start(&mut self, at: usize, key: Option<Key>) -> Key {
        let device = Arc::new(self.device.clone());
        let store = Store::open_on(device, options(at as u64)).unwrap();
        let mut choice = CorestoreOptions::default();
        choice.primary_key = Some([u8::try_from(at).unwrap(); 32]);
        let cores = Corestore::open_with(store, choice).unwrap();
        let core = match key {
            Some(key) if at > 0 => CoreOptions::key(key),
            _ => CoreOptions::name("log"),
        };
        let core = now(cores.get(core)).unwrap();
        let all = self.greedy.then(|| core.download(..).unwrap());
        let key = core.key();
        self.open = Some(Open {
            cores,
            core,
            _all: all,
        });
        key
    }

    fn core(&self) -> &Hypercore {
        &self.open.as_ref().unwrap().core
    }

    fn sync(&self) {
        self.open.as_ref().unwrap().cores.store().sync().unwrap();
    }

    /// What it told others it still has.
    fn check_told(&self, at: usize) {
        let core = self.core();
        let (length, fork) = (core.length(), core.fork());
        let Told {
            fork: told_fork,
            length: told_length,
            blocks,
        } = &self.told;
        assert!(
            fork > *told_fork || (fork == *told_fork && length >= *told_length),
            "peer {at} told of length {told_length}, fork {told_fork}, and has {length}, fork {fork}"
        );
        if fork == *told_fork {
            for block in blocks {
                assert!(
                    now(core.has(*block..block + 1)).unwrap(),
                    "peer {at} told of block {block} and lost it"
                );
            }
        }
    }

    fn told(&mut self, at: usize, kind: u64, payload: &bytes::Bytes) {
        let core = self.core().clone();
        if matches!(kind, 0 | 7 | 8) {
            let message = Message::decode(kind, payload);
            say!(
                "{at} ({}, fork {}) tells {message:?}",
                core.length(),
                core.fork()
            );
        }
        match Message::decode(kind, payload).unwrap().unwrap() {
            Message::Sync(sync) => {
                assert!(
                    sync.fork >= self.told.fork,
                    "a fork was told and taken back"
                );
                if sync.fork > self.told.fork {
                    self.told = Told::default();
                }
                self.told.fork = sync.fork;
                self.told.length = sync.length.max(self.told.length);
            }
            Message::Range(have) if core.fork() == self.told.fork => {
                let range = have.start..have.start + have.length;
                if have.drop {
                    self.told.blocks.retain(|block| !range.contains(block));
                } else {
                    self.told.blocks.extend(range);
                }
            }
            Message::Bitfield(bits) if core.fork() == self.told.fork => {
                for (at, word) in (0..).zip(&bits.words) {
                    let set = (0..32).filter(|bit| word >> bit & 1 != 0);
                    self.told
                        .blocks
                        .extend(set.map(|bit| bits.start + 32 * at + bit));
                }
            }
            _ => {}
        }
    }
}

/// The answer of a future that does not wait.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("it waits"),
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let most = if rng.random_ratio(1, 8) { 20 } else { 6 };
        let count = rng.random_range(2..=most);
        let mut nodes: Vec<Node> = (0..count)
            .map(|at| Node {
                device: SimDevice::new(seed.wrapping_mul(100) + at),
                open: None,
                told: Told::default(),
                greedy: rng.random_ratio(2, 3),
            })
            .collect();
        let key = nodes[0].start(0, None);
        for (at, node) in nodes.iter_mut().enumerate().skip(1) {
            node.start(at, Some(key));
        }
        Self {
            rng,
            now: Instant::now(),
            nodes,
            links: Vec::new(),
            key,
            histories: HashMap::new(),
            next_block: 0,
        }
    }

    fn link(&mut self, a: usize, b: usize) {
        if a == b
            || self
                .links
                .iter()
                .any(|l| l.peers == [a, b] || l.peers == [b, a])
        {
            return;
        }
        say!("link {a} {b}");
        let end = |at: usize, first| {
            End::new(
                &self.nodes[at].open.as_ref().unwrap().cores,
                first,
                self.now,
            )
        };
        let ends = [end(a, true), end(b, false)];
        let delay = [0, 1].map(|_| Duration::from_micros(self.rng.random_range(50..80_000)));
        self.links.push(Link {
            peers: [a, b],
            ends,
            frames: Default::default(),
            delay,
        });
    }

    /// Delivers what is due and collects what is to be sent. True when anything happened.
    fn carry(&mut self) -> bool {
        let mut any = false;
        for link in &mut self.links {
            for side in 0..2 {
                let due: Vec<Frame> = {
                    let count = link.frames[side]
                        .iter()
                        .take_while(|f| f.0 <= self.now)
                        .count();
                    link.frames[side].drain(..count).map(|f| f.1).collect()
                };
                for frame in due {
                    any = true;
                    if let Some(answer) = link.ends[side].take(frame, self.now) {
                        let at = self.now + link.delay[1 - side];
                        link.frames[1 - side].push((at, answer));
                    }
                }
                if (link.ends[side].connection.poll_timeout()).is_some_and(|at| at <= self.now) {
                    link.ends[side].connection.handle_timeout(self.now);
                }
                while let Some(frame) = link.ends[side].poll(self.now) {
                    any = true;
                    if let Frame::Message(_, kind, payload) = &frame {
                        self.nodes[link.peers[side]].told(link.peers[side], *kind, payload);
                    }
                    let at = self.now + link.delay[1 - side];
                    link.frames[1 - side].push((at, frame));
                }
                assert_eq!(link.ends[side].destroyed, None, "all are honest");
            }
        }
        self.check_histories();
        any
    }

    /// For one length and fork nobody may see two histories.
    fn check_histories(&mut self) {
        for (at, node) in self.nodes.iter().enumerate().skip(1) {
            let core = node.core();
            let (state, hash) = ((core.fork(), core.length()), now(core.tree_hash()).unwrap());
            let known = *self.histories.entry(state).or_insert(hash);
            assert_eq!(known, hash, "peer {at} has another history at {state:?}");
        }
    }

    fn crash(&mut self, at: usize, power: bool) {
        say!("{} {at}", if power { "power cut" } else { "kill" });
        self.links.retain(|link| !link.peers.contains(&at));
        let node = &mut self.nodes[at];
        let dead = node.device.clone();
        node.device = if power { dead.power_cut() } else { dead.kill() };
        node.open = None;
        node.start(at, Some(self.key));
        node.check_told(at);
    }

    fn write(&mut self) {
        let writer = self.nodes[0].core().clone();
        if self.rng.random_ratio(1, 8) && writer.length() > 0 {
            let to = self.rng.random_range(0..writer.length());
            say!("truncate {} to {to}", writer.length());
            now(writer.truncate(to)).unwrap();
        } else {
            let count = self.rng.random_range(1..30);
            say!("append {count} at {}", writer.length());
            let blocks = (0..count).map(|_| {
                self.next_block += 1;
                let size = self.rng.random_range(0..300);
                let mut block = vec![0; size];
                self.rng.fill_bytes(&mut block);
                block.extend(self.next_block.to_le_bytes());
                block.into()
            });
            now(writer.append_batch(blocks.collect())).unwrap();
        }
    }

    fn any_node(&mut self) -> usize {
        self.rng.random_range(0..self.nodes.len())
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..8 => self.write(),
            8..16 => {
                let at = self.any_node();
                self.nodes[at].sync();
            }
            16..22 => {
                let (a, b) = (self.any_node(), self.any_node());
                self.link(a, b);
            }
            22..24 if !self.links.is_empty() => {
                let at = self.rng.random_range(0..self.links.len());
                say!("unlink {:?}", self.links[at].peers);
                self.links.remove(at);
            }
            24..26 => {
                let at = self.any_node();
                let power = self.rng.random_ratio(2, 3);
                self.crash(at, power);
            }
            26..28 => {
                let at = self.any_node();
                self.nodes[at]
                    .open
                    .as_ref()
                    .unwrap()
                    .cores
                    .store()
                    .checkpoint()
                    .unwrap();
            }
            _ => self.now += Duration::from_millis(self.rng.random_range(1..40)),
        }
        self.carry();
    }

    /// The trouble ends: a line of connections, and time.
    fn heal(&mut self) {
        for at in 1..self.nodes.len() {
            self.link(at - 1, at);
        }
        if self.nodes[0].core().length() == 0 {
            // nothing can be proved of an empty core
            now(self.nodes[0].core().append("something")).unwrap();
        }
        for node in &mut self.nodes {
            let open = node.open.as_mut().unwrap();
            open._all
                .get_or_insert_with(|| open.core.download(..).unwrap());
        }
        let mut quiet = 0;
        for _ in 0..20_000 {
            let moved = self.carry();
            self.nodes.iter().for_each(Node::sync);
            self.now += Duration::from_millis(20);
            quiet = if moved { 0 } else { quiet + 1 };
            // longer than anybody is put aside
            if quiet > 100 && self.is_converged() {
                return;
            }
            assert!(quiet < 5_000, "nothing moves any more: {}", self.state());
        }
    }

    fn state(&self) -> String {
        let of = |node: &Node| {
            let core = node.core();
            let (length, fork) = (core.length(), core.fork());
            let peers = core.peers();
            format!(
                "\n{length} (fork {fork}), {} here, {peers:?}",
                core.contiguous_length()
            )
        };
        self.nodes.iter().map(of).collect()
    }

    fn is_converged(&self) -> bool {
        let writer = self.nodes[0].core();
        let state = (writer.length(), writer.fork());
        self.nodes.iter().all(|node| {
            let core = node.core();
            (core.length(), core.fork()) == state && core.contiguous_length() == state.0
        })
    }

    fn check_converged(&self) {
        let writer = self.nodes[0].core();
        let mut expected = BTreeMap::new();
        for index in 0..writer.length() {
            expected.insert(index, now(writer.stored_block(index)).unwrap().unwrap());
        }
        for (at, node) in self.nodes.iter().enumerate() {
            let core = node.core();
            assert_eq!(
                (core.length(), core.fork()),
                (writer.length(), writer.fork()),
                "peer {at}"
            );
            for (index, block) in &expected {
                assert_eq!(
                    now(core.stored_block(*index)).unwrap().as_ref(),
                    Some(block),
                    "block {index} at peer {at}"
                );
            }
        }
    }
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    let steps = world.rng.random_range(100..600);
    for _ in 0..steps {
        world.step();
    }
    world.heal();
    world.check_converged();
    for at in 0..world.nodes.len() {
        world.crash(at, true);
    }
}

#[test]
fn all_who_stay_connected_converge_and_nobody_loses_what_it_told() {
    if let Some(seed) = setting("POME_SEED") {
        run(seed);
        return;
    }
    let count = setting("POME_SEEDS").unwrap_or(40);
    for seed in 0..count {
        let result = std::panic::catch_unwind(|| run(seed));
        if let Err(panic) = result {
            eprintln!("POME_SEED={seed} cargo test -p pome-cores --test network -- --nocapture");
            std::panic::resume_unwind(panic);
        }
    }
    println!("nightly: network: {count} seeds");
}

/// Two peers followed the writer to another fork, one further than the other. The one ahead said that it could not bring the other up to its length, for it
/// had no nodes of the new fork yet; when they had come it said nothing, and the other asked no more. Now a peer hears when that has changed.
#[test]
fn a_peer_that_can_upgrade_others_only_later_says_so() {
    run(6098);
}
