#![allow(clippy::unwrap_used, reason = "a test says what it expects")]
//! Two streams over a simulated path: any loss, any order, any limit, the bytes arrive; and not much slower than the path allows.

use bytes::Bytes;
use pome_net::udx::{Event, Stream, StreamError, StreamOptions};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

#[derive(Clone, Copy)]
struct Path {
    /// Bytes a second.
    rate: f64,
    delay: Duration,
    /// Of a packet, in both directions.
    loss: f64,
    /// Up to so much longer, by chance.
    jitter: Duration,
    /// Bytes of the queue in front of the slowest link.
    queue: u64,
    /// Largest IP packet.
    mtu: usize,
}

const LAN: Path = Path {
    rate: 125e6,
    delay: Duration::from_micros(100),
    loss: 0.0,
    jitter: Duration::ZERO,
    queue: 1 << 20,
    mtu: 1500,
};

struct World {
    path: Path,
    rng: ChaCha8Rng,
    now: Duration,
    sides: [Stream; 2],
    /// (arrival, tie) → (to, packet).
    air: BTreeMap<(Duration, u64), (usize, Bytes)>,
    tie: u64,
    /// When the link towards a side is free.
    free: [Duration; 2],
    events: [Vec<Event>; 2],
    cut: bool,
    packets: u64,
}

impl World {
    fn new(seed: u64, path: Path) -> Self {
        let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (a, b) = (rng.random(), rng.random());
        let options = |seq, ack| {
            let mut options = StreamOptions::default();
            options.seq = seq;
            options.ack = ack;
            options
        };
        let mut sides = [
            Stream::new(1, &options(a, b)),
            Stream::new(2, &options(b, a)),
        ];
        sides[0].connect(2, address, Duration::ZERO);
        sides[1].connect(1, address, Duration::ZERO);
        Self {
            path,
            rng,
            now: Duration::ZERO,
            sides,
            air: BTreeMap::new(),
            tie: 0,
            free: [Duration::ZERO; 2],
            events: [vec![], vec![]],
            cut: false,
            packets: 0,
        }
    }

    fn transmit(&mut self) {
        for from in 0..2 {
            let mut out = Vec::new();
            while let Some(len) = self.sides[from].poll_transmit(self.now, &mut out) {
                assert_eq!(len, out.len());
                let packet = Bytes::from(std::mem::take(&mut out));
                self.packets += 1;
                let to = 1 - from;
                let waiting = self.free[to].saturating_sub(self.now).as_secs_f64() * self.path.rate;
                let lost = self.cut
                    || self.rng.random_bool(self.path.loss)
                    || packet.len() + 28 > self.path.mtu
                    || waiting > self.path.queue as f64;
                if lost {
                    continue;
                }
                let takes = Duration::from_secs_f64(packet.len() as f64 / self.path.rate);
                self.free[to] = self.free[to].max(self.now) + takes;
                let jitter = self.path.jitter.mul_f64(self.rng.random());
                self.tie += 1;
                let at = self.free[to] + self.path.delay + jitter;
                self.air.insert((at, self.tie), (to, packet));
            }
        }
    }

    /// One step of time; false when nothing will happen any more.
    fn step(&mut self) -> bool {
        self.transmit();
        for side in 0..2 {
            while let Some(event) = self.sides[side].poll_event() {
                self.events[side].push(event);
            }
        }
        let timers = self.sides.iter().filter_map(Stream::next_timeout).min();
        let arrival = self.air.keys().next().map(|(at, _)| *at);
        let Some(next) = timers.into_iter().chain(arrival).min() else {
            return false;
        };
        self.now = self.now.max(next);
        while let Some(entry) = self.air.first_entry().filter(|e| e.key().0 <= self.now) {
            let (to, packet) = entry.remove();
            self.sides[to].receive(&packet, self.now);
        }
        for side in &mut self.sides {
            if side.next_timeout().is_some_and(|at| at <= self.now) {
                side.on_timeout(self.now);
            }
        }
        true
    }

    /// Sends `len` bytes from side 0 and runs until side 1 has them; answers how long it took.
    fn transfer(&mut self, len: usize) -> Duration {
        let data: Vec<u8> = (0..len).map(|i| (i * 31 % 251) as u8).collect();
        let mut rest = Bytes::from(data.clone());
        let mut room = true;
        let mut got = Vec::with_capacity(len);
        let began = self.now;
        for _ in 0..50_000_000u64 {
            while room && !rest.is_empty() {
                let part = rest.len().min(self.rng.random_range(1..100_000));
                room = self.sides[0].write(rest.split_to(part));
            }
            if rest.is_empty() {
                self.sides[0].end();
            }
            assert!(self.step(), "stuck with {} of {len} bytes", got.len());
            let events = std::mem::take(&mut self.events);
            room |= events[0].contains(&Event::Drained);
            for event in &events[1] {
                match event {
                    Event::Data(bytes) => {
                        got.extend_from_slice(bytes);
                        self.sides[1].consumed(bytes.len());
                    }
                    Event::End => {
                        assert!(got == data, "other bytes arrived");
                        return self.now - began;
                    }
                    other => panic!("{other:?}"),
                }
            }
            assert!(!events[0].iter().any(|e| matches!(e, Event::Closed(_))));
        }
        panic!("no end");
    }
}

#[test]
fn bytes_arrive_whatever_the_path_does() {
    let seeds = std::env::var("POME_SEEDS").map_or(40, |s| s.parse().unwrap());
    for seed in 0..seeds {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let path = Path {
            rate: 10f64.powf(rng.random_range(5.0..8.5)),
            delay: Duration::from_micros(rng.random_range(20..150_000)),
            loss: [0.0, 0.001, 0.01, 0.1][rng.random_range(0..4)],
            jitter: Duration::from_micros([0, 100, 30_000][rng.random_range(0..3)]),
            queue: rng.random_range(20_000..2_000_000),
            mtu: rng.random_range(1200..1600),
        };
        let mut world = World::new(seed, path);
        let len = rng.random_range(0..1_500_000);
        world.transfer(len);
        // The other side ends too: both close well.
        world.sides[1].end();
        let mut closed = [false; 2];
        while world.step() {
            for (side, closed) in closed.iter_mut().enumerate() {
                *closed |= world.events[side].contains(&Event::Closed(None));
            }
        }
        assert_eq!(closed, [true, true], "seed {seed}");
    }
}

#[test]
fn a_path_is_used() {
    for (loss, delay, least) in [
        (0.0, 0, 0.85),
        (0.0, 20, 0.85),
        (0.0, 100, 0.7),
        (0.001, 0, 0.85),
        (0.001, 20, 0.85),
        (0.001, 100, 0.7),
        (0.01, 0, 0.8),
        (0.01, 20, 0.75),
        (0.01, 100, 0.7),
    ] {
        let path = Path {
            rate: 12.5e6,
            delay: Duration::from_micros(100 + delay * 500),
            loss,
            queue: 300_000,
            ..LAN
        };
        let mut world = World::new(5, path);
        let len = 30_000_000;
        let took = world.transfer(len).as_secs_f64();
        let used = len as f64 / took / path.rate;
        let stats = world.sides[0].stats();
        println!(
            "loss {loss} round trip {delay} ms: {:.0} % of the path, {} resent of {}",
            used * 100.0,
            stats.retransmits,
            stats.packets_transmitted
        );
        assert!(used > least, "loss {loss}, {delay} ms: {used}");
    }
}

#[test]
fn finds_the_mtu_of_the_path() {
    for (mtu, found) in [(1500, 1500), (1400, 1392), (1200, 1200)] {
        let mut world = World::new(1, Path { mtu, ..LAN });
        world.transfer(20_000_000);
        assert_eq!(world.sides[0].mtu(), found);
    }
}

#[test]
fn a_dead_path_is_an_error_in_bounded_time() {
    let mut world = World::new(3, LAN);
    world.transfer(0);
    let mut world = World::new(3, LAN);
    world.sides[0].write(Bytes::from_static(b"hello"));
    world.cut = true;
    while world.step() {}
    assert_eq!(
        world.events[0],
        [Event::Closed(Some(StreamError::TimedOut))]
    );
    assert!(world.now < Duration::from_secs(20), "{:?}", world.now);
}

#[test]
fn destroy_is_told() {
    let mut world = World::new(3, LAN);
    world.sides[0].destroy();
    while world.step() {}
    assert_eq!(world.events[0], [Event::Closed(None)]);
    assert_eq!(world.events[1], [Event::Closed(Some(StreamError::Reset))]);
}

#[test]
fn a_reader_that_does_not_read_holds_the_writer() {
    let mut world = World::new(9, LAN);
    let mut written = 0;
    let mut room = true;
    for _ in 0..200_000 {
        if room {
            written += 50_000;
            room = world.sides[0].write(Bytes::from(vec![1; 50_000]));
        }
        world.step();
        room |= world.events[0].drain(..).any(|e| e == Event::Drained);
        if world.now > Duration::from_secs(60) {
            break;
        }
    }
    let unread: usize = world.events[1]
        .iter()
        .map(|e| match e {
            Event::Data(bytes) => bytes.len(),
            _ => 0,
        })
        .sum();
    assert!(unread <= 5 << 20, "{unread} bytes were taken");
    assert!(
        written < 12 << 20,
        "{written} bytes were taken from the writer"
    );
    // Reading goes on where it stopped.
    world.sides[1].consumed(unread);
    world.events[1].clear();
    let until = world.now + Duration::from_secs(60);
    let mut more = 0;
    while world.now < until && unread + more < written {
        world.step();
        for event in world.events[1].drain(..) {
            if let Event::Data(bytes) = event {
                more += bytes.len();
                world.sides[1].consumed(bytes.len());
            }
        }
    }
    assert_eq!(unread + more, written);
}

#[test]
fn messages_and_keep_alives() {
    let mut world = World::new(5, LAN);
    assert!(world.sides[0].send(Bytes::from_static(b"unordered")));
    assert!(!world.sides[0].send(Bytes::from(vec![0; 5000])));
    world.sides[1].set_keep_alive(Some(Duration::from_secs(5)), Duration::ZERO);
    while world.now < Duration::from_secs(21) {
        world.step();
    }
    assert_eq!(
        world.events[1],
        [Event::Message(Bytes::from_static(b"unordered"))]
    );
    assert_eq!(world.sides[1].stats().packets_transmitted, 4);
    assert_eq!(world.sides[0].stats().packets_transmitted, 5);
}

#[test]
fn garbage_is_no_reason_to_panic() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    for round in 0..2_000u32 {
        let mut world = World::new(u64::from(round), LAN);
        world.sides[0].write(Bytes::from(vec![7; 3_000]));
        for _ in 0..20 {
            let mut packet = vec![0; rng.random_range(0..80)];
            rng.fill(&mut packet[..]);
            if packet.len() >= 20 {
                packet[..2].copy_from_slice(&[255, 1]);
                if rng.random() {
                    packet[2] = 1 << rng.random_range(0..6);
                }
                if rng.random() {
                    packet[3] = 0;
                }
            }
            world.sides[rng.random_range(0..2)].receive(&packet.into(), world.now);
            world.step();
        }
    }
}
