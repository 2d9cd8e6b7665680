//! The decisions of a swarm, on simulated time and from a seed.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

use super::{
    Event, Priority,
    machine::{BANNED_MAX, Machine, QUEUE_MAX},
    peer::Key,
    retry::WAITING_MAX,
    types::{Action, Limits, LinkId},
};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

const TOPIC: [u8; 32] = [9; 32];
const LIMITS: Limits = Limits {
    peers: 64,
    clients: usize::MAX,
    servers: usize::MAX,
    parallel: 3,
};

fn key(n: u64) -> Key {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&n.to_be_bytes());
    key
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A machine and what it wanted so far.
struct Sim {
    machine: Machine,
    now: Duration,
    /// Peers that are being dialled, in the order in which that began.
    dialled: Vec<(LinkId, Key)>,
    dropped: Vec<LinkId>,
    events: Vec<Event>,
    flushed: Vec<(u64, bool)>,
}

impl Sim {
    fn with(limits: Limits) -> Self {
        let own = key(1_000);
        let jitter = Duration::from_millis(500);
        let mut machine = Machine::new(own, limits, None, jitter, [1; 32]);
        machine.join(TOPIC);
        Self {
            machine,
            now: Duration::ZERO,
            dialled: Vec::new(),
            dropped: Vec::new(),
            events: Vec::new(),
            flushed: Vec::new(),
        }
    }

    fn new() -> Self {
        Self::with(LIMITS)
    }

    fn drain(&mut self) {
        while let Some(action) = self.machine.next_action() {
            match action {
                Action::Connect { link, key, .. } => self.dialled.push((link, key)),
                Action::Drop { link } | Action::Forsake { link } => {
                    self.dialled.retain(|(other, _)| *other != link);
                    self.dropped.push(link);
                }
                Action::Flushed { flush, all } => self.flushed.push((flush, all)),
                Action::Tell(event) => self.events.push(event),
            }
        }
    }

    fn found(&mut self, n: u64) {
        self.machine.found(key(n), &[], TOPIC, self.now);
        self.drain();
    }

    fn keys(&self) -> Vec<Key> {
        self.dialled.iter().map(|(_, key)| *key).collect()
    }

    /// The one that was dialled first is reached.
    fn open(&mut self) -> LinkId {
        let (link, _) = self.dialled.remove(0);
        assert!(self.machine.opened(link, self.now));
        self.drain();
        link
    }

    fn fail(&mut self) {
        let (link, _) = self.dialled.remove(0);
        self.machine.failed(link, false, self.now);
        self.drain();
    }

    fn close(&mut self, link: LinkId) {
        self.machine.closed(link, self.now);
        self.drain();
    }

    fn at(&mut self, now: Duration) {
        self.now = now;
        self.machine.tick(now);
        self.drain();
    }

    /// Lets time pass until somebody is dialled; how long that took.
    fn until_dialled(&mut self) -> Option<Duration> {
        let begun = self.now;
        while self.dialled.is_empty() {
            let at = self.machine.deadline()?;
            self.at(at);
        }
        Some(self.now - begun)
    }

    fn banned(&self) -> usize {
        let ban = |event: &&Event| matches!(event, Event::Banned { .. });
        self.events.iter().filter(ban).count()
    }
}

fn is_between(wait: Duration, least: u64, most: u64) -> bool {
    // A back-off of `t` is waited for between 0.66 and 1.32 of it.
    wait >= seconds(least).mul_f64(0.65) && wait <= seconds(most).mul_f64(1.33)
}

#[test]
fn three_are_dialled_at_a_time_and_no_more_than_there_is_room_for() {
    let mut sim = Sim::with(Limits { peers: 5, ..LIMITS });
    for n in 0..20 {
        sim.found(n);
        // Told of again, as several nodes do.
        sim.found(n);
    }
    assert_eq!(sim.dialled.len(), 3);
    let mut seen: HashSet<Key> = sim.keys().into_iter().collect();
    for _ in 0..5 {
        sim.open();
        seen.extend(sim.keys());
    }
    assert_eq!(seen.len(), 5);
    assert!(sim.dialled.is_empty());
    assert_eq!(sim.machine.stats().client.opened, 5);
    // Somebody who was named is dialled all the same.
    sim.machine.join_peer(key(99), sim.now);
    sim.drain();
    assert_eq!(sim.keys(), [key(99)]);
    // What peers dial is not counted by this limit.
    assert!(sim.machine.incoming(key(50), sim.now).is_some());
}

#[test]
fn clients_and_servers_have_limits_of_their_own() {
    let limits = Limits {
        clients: 2,
        servers: 2,
        ..LIMITS
    };
    let mut sim = Sim::with(limits);
    for n in 0..5 {
        sim.found(n);
    }
    assert_eq!(sim.dialled.len(), 2);
    let first = sim.machine.incoming(key(50), sim.now).unwrap();
    assert!(sim.machine.incoming(key(51), sim.now).is_some());
    assert!(!sim.machine.may_come(&key(52)));
    assert_eq!(sim.machine.incoming(key(52), sim.now), None);
    // One that is known comes back.
    assert!(sim.machine.incoming(key(51), sim.now).is_some());
    sim.close(first);
    assert!(sim.machine.incoming(key(52), sim.now).is_some());
}

#[test]
fn a_peer_that_was_reached_and_lost_is_dialled_again_ever_later() {
    let mut sim = Sim::new();
    sim.found(1);
    for (least, most) in [(1, 2), (5, 7), (15, 18)] {
        let link = sim.open();
        sim.now += seconds(2);
        sim.close(link);
        assert!(sim.dialled.is_empty());
        let wait = sim.until_dialled().unwrap();
        assert!(is_between(wait, least, most), "{least}: {wait:?}");
    }
    assert_eq!(sim.machine.peer(&key(1)).unwrap().priority, Priority::Low);
    let link = sim.open();
    sim.now += seconds(2);
    sim.close(link);
    assert_eq!(sim.until_dialled(), None);
    assert_eq!(sim.machine.peer(&key(1)), None);
    // Found again, it begins anew; a connection of 15 s makes it a good one.
    sim.found(1);
    for _ in 0..5 {
        let link = sim.open();
        sim.now += seconds(15);
        sim.close(link);
        let wait = sim.until_dialled().unwrap();
        assert!(is_between(wait, 1, 2), "{wait:?}");
        assert_eq!(
            sim.machine.peer(&key(1)).unwrap().priority,
            Priority::VeryHigh
        );
    }
}

#[test]
fn a_peer_that_is_never_reached_is_forgotten_and_one_that_was_named_is_not() {
    let mut sim = Sim::new();
    sim.found(1);
    for (least, most) in [(5, 7), (15, 18), (15, 18)] {
        sim.fail();
        let wait = sim.until_dialled().unwrap();
        assert!(is_between(wait, least, most), "{least}: {wait:?}");
        // Those that were not tried yet go first.
        assert_eq!(
            sim.machine.peer(&key(1)).unwrap().priority,
            Priority::VeryLow
        );
    }
    sim.fail();
    assert_eq!(sim.until_dialled(), None);
    assert_eq!(sim.machine.kept(), (0, 0, 0));

    sim.machine.join_peer(key(2), sim.now);
    sim.drain();
    for (least, most) in [
        (5, 7),
        (15, 18),
        (15, 18),
        (600, 725),
        (600, 725),
        (600, 725),
    ] {
        sim.fail();
        let wait = sim.until_dialled().unwrap();
        assert!(is_between(wait, least, most), "{least}: {wait:?}");
    }
    sim.machine.leave_peer(&key(2));
    sim.fail();
    assert_eq!(sim.until_dialled(), None);
    assert_eq!(sim.machine.kept(), (0, 0, 0));
}

#[test]
fn a_peer_that_shall_not_be_dialled_again_is_not() {
    let mut sim = Sim::new();
    sim.found(1);
    let link = sim.open();
    sim.machine.set_reconnecting(&key(1), false);
    sim.close(link);
    assert_eq!(sim.until_dialled(), None);
    // Nor is one whose topic was left.
    sim.found(2);
    sim.found(3);
    let link = sim.open();
    sim.machine.leave(&TOPIC);
    sim.close(link);
    sim.fail();
    assert_eq!(sim.until_dialled(), None);
    assert_eq!(sim.machine.kept(), (0, 0, 0));
}

#[test]
fn those_that_wait_for_a_topic_that_was_left_are_not_dialled() {
    let mut sim = Sim::new();
    for n in 0..10 {
        sim.found(n);
    }
    sim.machine.leave(&TOPIC);
    while !sim.dialled.is_empty() {
        sim.open();
    }
    assert_eq!(sim.machine.stats().client.attempted, 3);
    assert_eq!(sim.machine.kept(), (3, 0, 0));
}

#[test]
fn a_relay_is_tried_soon_when_no_way_was_found() {
    let mut sim = Sim::new();
    sim.found(1);
    let (link, _) = sim.dialled.remove(0);
    sim.machine.failed(link, true, sim.now);
    let mut force = None;
    while force.is_none() {
        let at = sim.machine.deadline().unwrap();
        sim.machine.tick(at);
        while let Some(action) = sim.machine.next_action() {
            if let Action::Connect { force_relaying, .. } = action {
                assert!(is_between(at, 5, 7), "{at:?}");
                force = Some(force_relaying);
            }
        }
    }
    assert_eq!(force, Some(true));
}

#[test]
fn a_ban_keeps_a_peer_out_both_ways() {
    let mut sim = Sim::new();
    sim.found(1);
    let link = sim.open();
    sim.machine.ban(key(1), true, sim.now);
    sim.drain();
    assert_eq!(sim.dropped, [link]);
    assert_eq!(sim.banned(), 1);
    sim.found(1);
    assert_eq!(sim.until_dialled(), None);
    assert!(!sim.machine.may_come(&key(1)));
    assert_eq!(sim.machine.incoming(key(1), sim.now), None);
    sim.machine.ban(key(1), false, sim.now);
    sim.found(1);
    assert_eq!(sim.keys(), [key(1)]);
    // The firewall says no just before it is dialled.
    let (link, _) = sim.dialled.remove(0);
    sim.machine.refused(link, sim.now);
    sim.drain();
    assert_eq!(sim.banned(), 2);
    assert_eq!(sim.machine.stats().client.attempted, 1);
    assert_eq!(sim.machine.connecting(), 0);
    sim.found(1);
    assert_eq!(sim.until_dialled(), None);
}

#[test]
fn what_strangers_can_make_it_keep_is_bounded() {
    let mut sim = Sim::new();
    sim.machine.join_peer(key(1), sim.now);
    sim.drain();
    // Nobody who is found is ever there, and half of them are refused.
    for n in 0..50_000 {
        sim.found(10_000 + n);
        sim.now += Duration::from_millis(1);
        sim.machine.firewalled(key(1_000_000 + n));
        // Most are found faster than they can be dialled.
        if n % 4 == 0 && sim.dialled.len() > 1 {
            let (link, _) = sim.dialled.pop().unwrap();
            sim.machine.failed(link, false, sim.now);
            sim.drain();
        }
        sim.at(sim.now);
        sim.events.clear();
        let (peers, queue, waiting) = sim.machine.kept();
        assert!(queue <= QUEUE_MAX, "{queue} in the queue");
        assert!(waiting <= WAITING_MAX + 1, "{waiting} wait");
        assert!(
            peers <= QUEUE_MAX + WAITING_MAX + BANNED_MAX + 4,
            "{peers} peers"
        );
    }
    let (peers, queue, _) = sim.machine.kept();
    assert!(
        queue == QUEUE_MAX && peers > 2 * QUEUE_MAX,
        "{queue}, {peers}: the flood was none"
    );
    assert!(sim.machine.peer(&key(1)).unwrap().explicit);
    // A ban by the application is none of those that are forgotten.
    sim.machine.ban(key(2), true, sim.now);
    for n in 0..2_000 {
        sim.machine.firewalled(key(2_000_000 + n));
    }
    assert!(!sim.machine.may_come(&key(2)));
}

#[test]
fn a_flush_waits_for_those_that_were_known_when_it_began() {
    let mut sim = Sim::new();
    assert_eq!(sim.machine.flush(), None);
    for n in 0..5 {
        sim.found(n);
    }
    let flush = sim.machine.flush().unwrap();
    for n in 5..10 {
        sim.found(n);
    }
    let first: HashSet<Key> = (0..5).map(key).collect();
    let mut left = first.clone();
    while sim.flushed.is_empty() {
        let (_, next) = sim.dialled[0];
        left.remove(&next);
        // Reached or not makes no difference.
        if next[7] % 2 == 0 {
            sim.open();
        } else {
            sim.fail();
        }
        assert_eq!(sim.flushed.is_empty(), !left.is_empty());
    }
    assert_eq!(sim.flushed, [(flush, true)]);
    // One that cannot be dialled for want of room is not waited for.
    let mut sim = Sim::with(Limits {
        clients: 1,
        ..LIMITS
    });
    sim.found(1);
    sim.found(2);
    sim.machine.flush().unwrap();
    sim.open();
    assert_eq!(sim.flushed.len(), 1);
    // Nor is anybody after the end.
    let mut sim = Sim::new();
    sim.found(1);
    let flush = sim.machine.flush().unwrap();
    sim.machine.destroy();
    sim.drain();
    assert_eq!(sim.flushed, [(flush, false)]);
}

#[test]
fn a_pause_drops_everything_and_remembers_who_was_named() {
    let mut sim = Sim::new();
    sim.machine.join_peer(key(1), sim.now);
    sim.drain();
    let first = sim.open();
    for n in 2..10 {
        sim.found(n);
    }
    let second = sim.open();
    let third = sim.machine.incoming(key(50), sim.now).unwrap();
    sim.machine.suspend(sim.now);
    sim.drain();
    for link in [first, second, third] {
        assert!(sim.dropped.contains(&link));
    }
    assert!(sim.dialled.is_empty());
    assert_eq!(sim.machine.deadline(), None);
    assert_eq!(sim.machine.incoming(key(50), sim.now), None);
    sim.found(2);
    assert!(sim.dialled.is_empty());
    assert_eq!(sim.machine.kept(), (1, 0, 0));
    sim.machine.resume(sim.now);
    sim.drain();
    assert_eq!(sim.keys(), [key(1)]);
    sim.found(2);
    assert_eq!(sim.dialled.len(), 2);
}

/// Two swarms that dial each other over a network with a latency of its own for each message.
struct Pair {
    rng: StdRng,
    machines: [Machine; 2],
    /// What happens when, in which order.
    agenda: BTreeMap<(Duration, u64), (usize, News)>,
    next: u64,
    now: Duration,
    /// Which link of the other side is the same connection as one of this side.
    twins: [BTreeMap<LinkId, LinkId>; 2],
}

#[derive(Debug, Clone, Copy)]
enum News {
    /// A peer dialled.
    Incoming(LinkId),
    /// It took the connection.
    Opened(LinkId),
    /// It did not, or dropped it later.
    Closed(LinkId),
    /// The peer that was found is told of.
    Found,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let machine = |n: u64| {
            let mut machine =
                Machine::new(key(n), LIMITS, None, seconds(1), [n as u8 ^ seed as u8; 32]);
            machine.join(TOPIC);
            machine
        };
        Self {
            rng: StdRng::seed_from_u64(seed),
            machines: [machine(0), machine(1)],
            agenda: BTreeMap::new(),
            next: 0,
            now: Duration::ZERO,
            twins: Default::default(),
        }
    }

    fn later(&mut self, side: usize, news: News) {
        let wait = Duration::from_millis(self.rng.random_range(1..200));
        self.agenda
            .insert((self.now + wait, self.next), (side, news));
        self.next += 1;
    }

    fn drain(&mut self, side: usize) {
        while let Some(action) = self.machines[side].next_action() {
            match action {
                Action::Connect { link, .. } => self.later(1 - side, News::Incoming(link)),
                // What was dialled in vain is closed when it opens.
                Action::Forsake { .. } => {}
                Action::Drop { link } => {
                    if let Some(twin) = self.twins[side].remove(&link) {
                        self.later(1 - side, News::Closed(twin));
                    }
                }
                _ => {}
            }
        }
    }

    fn step(&mut self) -> bool {
        let timer = self.machines.iter().filter_map(Machine::deadline).min();
        let news = self.agenda.first_key_value().map(|((at, _), _)| *at);
        let Some(at) = timer.into_iter().chain(news).min() else {
            return false;
        };
        self.now = self.now.max(at);
        for side in 0..2 {
            self.machines[side].tick(self.now);
            self.drain(side);
        }
        while let Some(entry) = self.agenda.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let (side, news) = entry.remove();
            self.hear(side, news);
            self.drain(side);
        }
        true
    }

    fn hear(&mut self, side: usize, news: News) {
        let now = self.now;
        let other = key(1 - side as u64);
        match news {
            News::Found => self.machines[side].found(other, &[], TOPIC, now),
            News::Incoming(theirs) => match self.machines[side].incoming(other, now) {
                Some(ours) => {
                    self.twins[side].insert(ours, theirs);
                    self.later(1 - side, News::Opened(theirs));
                    // Known from here on, for what the other side says from now on.
                    self.twins[1 - side].insert(theirs, ours);
                }
                None => self.later(1 - side, News::Closed(theirs)),
            },
            News::Opened(link) => {
                if !self.machines[side].opened(link, now)
                    && let Some(twin) = self.twins[side].remove(&link)
                {
                    self.later(1 - side, News::Closed(twin));
                }
            }
            News::Closed(link) => {
                self.twins[side].remove(&link);
                self.machines[side].closed(link, now);
            }
        }
    }

    /// The one connection, if both sides agree on it.
    fn agreed(&self) -> bool {
        let open = |side: usize| self.machines[side].open_link(&key(1 - side as u64));
        match (open(0), open(1)) {
            (Some(ours), Some(theirs)) => {
                self.twins[0].get(&ours) == Some(&theirs)
                    && self.twins[1].get(&theirs) == Some(&ours)
            }
            _ => false,
        }
    }
}

#[test]
fn two_that_dial_each_other_end_with_one_connection() {
    let mut slow = 0;
    for seed in 0..500 {
        let mut pair = Pair::new(seed);
        pair.later(0, News::Found);
        pair.later(1, News::Found);
        while pair.now < seconds(120) && pair.step() {}
        assert!(pair.agreed(), "seed {seed}: {:?}", pair.twins);
        let attempted: u64 = pair
            .machines
            .iter()
            .map(|m| m.stats().client.attempted)
            .sum();
        slow += u64::from(attempted > 2);
    }
    // Each side may give up what the other one keeps; then one of them dials again.
    assert!(slow < 10, "{slow} of 500 dialled more than once");
}

#[test]
fn a_side_that_lost_its_connection_gets_a_new_one() {
    for dialler in 0..2 {
        let mut pair = Pair::new(1);
        pair.later(dialler, News::Found);
        while pair.step() && !pair.agreed() {}
        while !pair.agenda.is_empty() {
            pair.step();
        }
        // The other side is another process now, and does not know of the connection.
        pair.now += seconds(2);
        let (other, theirs) = (1 - dialler, key(dialler as u64));
        let server = pair.machines[other].open_link(&theirs).unwrap();
        pair.machines[other].closed(server, pair.now);
        pair.drain(other);
        pair.machines[other].found(theirs, &[], TOPIC, pair.now);
        pair.drain(other);
        while pair.now < seconds(120) && pair.step() {}
        assert!(pair.agreed());
        assert_eq!(pair.machines[other].stats().client.opened, 1);
        assert_eq!(pair.machines[other].stats().client.attempted, 1);
    }
}

#[test]
fn a_peer_whose_turn_came_while_it_had_dialled_us_is_dialled_when_that_ends() {
    let mut sim = Sim::new();
    sim.found(5_000);
    // Both dial, and keep what the higher key dialled.
    let theirs = sim.machine.incoming(key(5_000), sim.now).unwrap();
    sim.drain();
    assert!(sim.dialled.is_empty());
    sim.at(seconds(20));
    assert!(sim.dialled.is_empty());
    sim.close(theirs);
    assert!(sim.until_dialled().is_some());
}

#[test]
fn one_seed_makes_one_run() {
    let run = |seed: u8| {
        let mut machine = Machine::new(key(1_000), LIMITS, None, seconds(1), [seed; 32]);
        machine.join(TOPIC);
        let mut rng = StdRng::seed_from_u64(3);
        let mut log = Vec::new();
        let mut open = Vec::new();
        let mut now = Duration::ZERO;
        for _ in 0..2_000 {
            now += Duration::from_millis(rng.random_range(0..500));
            match rng.next_u32() % 3 {
                0 => machine.found(key(rng.random_range(0..100)), &[], TOPIC, now),
                1 => machine.tick(now),
                _ => {
                    if let Some(link) = open.pop() {
                        machine.closed(link, now);
                    }
                }
            }
            while let Some(action) = machine.next_action() {
                if let Action::Connect { link, .. } = action {
                    if rng.random() {
                        machine.opened(link, now);
                    } else {
                        machine.failed(link, false, now);
                    }
                    open.push(link);
                }
                log.push(action);
            }
        }
        log
    };
    assert!(run(1).len() > 1_000);
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
