//! Two streams, the path between them, and a clock for each side.

use bytes::Bytes;
use pome_net::udx::{Event, Stream, StreamOptions};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

#[derive(Clone, Copy)]
pub(crate) struct Path {
    /// Bytes a second.
    pub(crate) rate: f64,
    pub(crate) delay: Duration,
    /// Of a packet, in both directions.
    pub(crate) loss: f64,
    /// Up to so much longer, by chance.
    pub(crate) jitter: Duration,
    /// Bytes of the queue in front of the slowest link.
    pub(crate) queue: u64,
    /// Largest IP packet.
    pub(crate) mtu: usize,
}

pub(crate) const LAN: Path = Path {
    rate: 125e6,
    delay: Duration::from_micros(100),
    loss: 0.0,
    jitter: Duration::ZERO,
    queue: 1 << 20,
    mtu: 1500,
};

pub(crate) struct World {
    pub(crate) path: Path,
    rng: ChaCha8Rng,
    pub(crate) now: Duration,
    pub(crate) sides: [Stream; 2],
    /// What a side's clock shows more than that of the world, and less.
    pub(crate) ahead: [Duration; 2],
    pub(crate) behind: [Duration; 2],
    /// Until then a side does nothing, and what comes for it is lost.
    pub(crate) asleep: [Duration; 2],
    /// When a side was gone, for whatever reason.
    pub(crate) gone: [Option<Duration>; 2],
    /// (arrival, tie) → (to, packet).
    air: BTreeMap<(Duration, u64), (usize, Bytes)>,
    tie: u64,
    /// When the link towards a side is free.
    free: [Duration; 2],
    pub(crate) events: [Vec<Event>; 2],
    /// Nothing arrives any more.
    pub(crate) cut: bool,
    /// Routers on the path cut packets that they may cut, and that are too long for them.
    pub(crate) fragments: bool,
}

impl World {
    pub(crate) fn new(seed: u64, path: Path) -> Self {
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
            ahead: [Duration::ZERO; 2],
            behind: [Duration::ZERO; 2],
            asleep: [Duration::ZERO; 2],
            gone: [None; 2],
            air: BTreeMap::new(),
            tie: 0,
            free: [Duration::ZERO; 2],
            events: [vec![], vec![]],
            cut: false,
            fragments: true,
        }
    }

    /// What the clock of a side shows.
    fn clock(&self, side: usize) -> Duration {
        (self.now + self.ahead[side]).saturating_sub(self.behind[side])
    }

    fn sleeps(&self, side: usize) -> bool {
        self.now < self.asleep[side]
    }

    /// When a side wants to be woken, in the time of the world.
    fn wakes(&self, side: usize) -> Option<Duration> {
        let at = self.sides[side].next_timeout()?;
        let at = (at + self.behind[side]).saturating_sub(self.ahead[side]);
        Some(at.max(self.asleep[side]))
    }

    fn transmit(&mut self) {
        for from in 0..2 {
            if self.sleeps(from) {
                continue;
            }
            let now = self.clock(from);
            let mut out = Vec::new();
            while let Some(len) = self.sides[from].poll_transmit(now, &mut out) {
                assert_eq!(len, out.len());
                let packet = Bytes::from(std::mem::take(&mut out));
                let to = 1 - from;
                let waiting = self.free[to].saturating_sub(self.now).as_secs_f64() * self.path.rate;
                let cut = self.fragments && self.sides[from].may_be_cut();
                let lost = self.cut
                    || self.rng.random_bool(self.path.loss)
                    || packet.len() + 28 > self.path.mtu && !cut
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
    pub(crate) fn step(&mut self) -> bool {
        self.transmit();
        for side in 0..2 {
            while let Some(event) = self.sides[side].poll_event() {
                self.events[side].push(event);
            }
        }
        let timers = (0..2).filter_map(|side| self.wakes(side));
        let arrival = self.air.keys().next().map(|(at, _)| *at);
        let Some(next) = timers.chain(arrival).min() else {
            return false;
        };
        self.now = self.now.max(next);
        while let Some(entry) = self.air.first_entry().filter(|e| e.key().0 <= self.now) {
            let (to, packet) = entry.remove();
            if !self.sleeps(to) {
                let now = self.clock(to);
                self.sides[to].receive(&packet, now);
            }
        }
        for side in 0..2 {
            let now = self.clock(side);
            let due = self.sides[side].next_timeout().is_some_and(|at| at <= now);
            if due && !self.sleeps(side) {
                self.sides[side].on_timeout(now);
            }
            if self.sides[side].is_closed() {
                self.gone[side].get_or_insert(self.now);
            }
        }
        true
    }

    /// A side sleeps for so long; its clock goes on meanwhile, or stands still.
    pub(crate) fn sleep(&mut self, side: usize, long: Duration, clock_goes_on: bool) {
        self.asleep[side] = self.now + long;
        if !clock_goes_on {
            self.behind[side] += long;
        }
    }

    /// Sends `len` bytes from side 0 and runs until side 1 has them; answers how long it took.
    pub(crate) fn transfer(&mut self, len: usize) -> Duration {
        self.transfer_with(len, |_, _| {})
    }

    /// The same; `meanwhile` is told before each step how many bytes have arrived.
    pub(crate) fn transfer_with(
        &mut self,
        len: usize,
        mut meanwhile: impl FnMut(&mut Self, usize),
    ) -> Duration {
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
            meanwhile(self, got.len());
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
