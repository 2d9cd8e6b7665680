//! A stream whose other side may send anything: a small fuzzer, on the stable toolchain.
//!
//! An input is what happens to one stream: packets (well made with numbers near those that count, or any bytes), writes, reads, the clock. Nothing may panic
//! or have no end; a stream sends no more than its writer gave it and what answers need; what is kept for a reader who does not read stays within the window.
//!
//! The corpus is in `tests/udx_fuzz/corpus`; `pome_test_support::fuzz` says how it is fuzzed for longer.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

use bytes::Bytes;
use pome_net::udx::{Event, HEADER_BYTES, Header, Kind, Seq, Stream, StreamOptions};
use pome_test_support::fuzz::{Fuzz, Script};
use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    path::Path,
    time::Duration,
};

/// What a stream takes in before it is read: its window, what probes may add, and one packet.
const UNREAD_MAX: usize = (4 << 20) + (256 << 10) + (64 << 10);
/// The most that answers one packet: an acknowledgement with fifty ranges.
const ANSWER_MAX: u64 = 20 + 50 * 8;

struct Run {
    stream: Stream,
    now: Duration,
    /// The last header that the stream sent.
    said: Header,
    unread: usize,
    written: u64,
    sent: u64,
    messages: u64,
    /// Packets that may be answered: received ones, and what the clock makes.
    causes: u64,
    seen: BTreeSet<(u8, u8)>,
}

fn address() -> SocketAddr {
    "127.0.0.1:1".parse().unwrap()
}

impl Run {
    fn new(seq: u32, ack: u32) -> Self {
        let mut options = StreamOptions::default();
        options.seq = seq;
        options.ack = ack;
        let mut stream = Stream::new(1, &options);
        stream.connect(2, address(), Duration::ZERO);
        let said = Header {
            kind: Kind::STATE,
            data_offset: 0,
            id: 2,
            window: 0,
            seq: Seq(seq),
            ack: Seq(ack),
        };
        Self {
            stream,
            now: Duration::ZERO,
            said,
            unread: 0,
            written: 0,
            sent: 0,
            messages: 0,
            causes: 0,
            seen: BTreeSet::new(),
        }
    }

    /// Takes what the stream has to send and to tell.
    fn drain(&mut self) {
        let mut out = Vec::new();
        for packets in 0.. {
            assert!(packets < 50_000, "it never stops to send");
            out.clear();
            let Some(len) = self.stream.poll_transmit(self.now, &mut out) else {
                break;
            };
            assert_eq!(len, out.len());
            assert!(len + 28 <= 1500, "a packet of {len} bytes");
            self.said = Header::decode(&out).expect("a header");
            self.seen.insert((0, self.said.kind.0));
            let fresh = self
                .said
                .kind
                .has(Kind::DATA | Kind::END | Kind::MESSAGE | Kind::DESTROY);
            if !fresh {
                self.sent += 1;
                assert!(len as u64 <= ANSWER_MAX);
            }
        }
        while let Some(event) = self.stream.poll_event() {
            let name = match &event {
                Event::Data(bytes) => {
                    self.unread += bytes.len();
                    0
                }
                Event::End => 1,
                Event::Message(_) => 2,
                Event::Flushed => 3,
                Event::Drained => 4,
                Event::RemoteChanged => 5,
                Event::Closed(None) => 6,
                Event::Closed(Some(_)) => 7,
                _ => 8,
            };
            self.seen.insert((1, name));
        }
        assert!(self.unread <= UNREAD_MAX, "{} bytes wait", self.unread);
        assert!(self.sent <= self.causes, "{} of {}", self.sent, self.causes);
    }

    /// The clock goes on to this moment; what is due before is done then.
    fn run_to(&mut self, until: Duration) {
        for steps in 0.. {
            let Some(at) = self.stream.next_timeout().filter(|at| *at <= until) else {
                break;
            };
            assert!(steps < 100_000, "the clock stands still at {at:?}");
            self.now = self.now.max(at);
            self.causes += 1;
            self.stream.on_timeout(self.now);
            self.drain();
            let again = self.stream.next_timeout();
            let late = again.is_some_and(|again| again <= self.now);
            assert!(!late || steps < 90_000, "nothing is done about a timer");
        }
        self.now = self.now.max(until);
    }

    fn receive(&mut self, packet: Vec<u8>) {
        self.causes += 1;
        self.stream.receive(&Bytes::from(packet), self.now);
    }

    /// A packet with numbers near those that the stream expects.
    fn near(&mut self, script: &mut Script<'_>) {
        let near = |base: u32, n: u16| base.wrapping_add(i32::from(n as i16) as u32);
        let kind = Kind(script.byte());
        let data_offset = script.byte();
        let (seq, ack) = (script.word(), script.word());
        let window = [0, 1, 1500, 1 << 16, 4 << 20, u32::MAX][usize::from(script.byte() % 6)];
        let len = [0, 1, 8, 30, 400, 1152, 1452, 60_000][usize::from(script.byte() % 8)];
        let header = Header {
            kind,
            data_offset,
            id: 1,
            window,
            seq: Seq(near(self.said.ack.0, seq % 512)),
            ack: Seq(near(self.said.seq.0, ack % 64).wrapping_sub(48)),
        };
        let mut packet = header.encode().to_vec();
        if kind.has(Kind::SACK) {
            for _ in 0..script.byte() % 70 {
                let (start, len) = (script.byte(), script.byte());
                let start = near(header.ack.0, u16::from(start));
                packet.extend_from_slice(&start.to_le_bytes());
                packet.extend_from_slice(&start.wrapping_add(u32::from(len)).to_le_bytes());
            }
        } else {
            packet.resize(HEADER_BYTES + len, 7);
        }
        let times = if script.byte() == 255 { 300 } else { 1 };
        for _ in 0..times {
            self.receive(packet.clone());
        }
    }

    /// What a driver does that moves a stream from a relay to a straight way, or ends it.
    fn meet(&mut self, what: u8) {
        let was_settled = self.stream.is_settled();
        match what {
            241.. => self.stream.destroy(),
            181..=240 => {
                self.causes += 1;
                self.stream.ask_for_sign();
            }
            121..=180 => {
                let near = i32::from(what) - 150;
                let seq = Seq(self.said.ack.0.wrapping_add(near as u32));
                self.stream.came_from_remote(seq);
                assert!(self.stream.is_heard());
                assert!(self.stream.is_settled() || !was_settled);
            }
            61..=120 => {
                let greeting = self.stream.greeting(9);
                assert!(greeting.len() as u64 <= ANSWER_MAX);
                let header = Header::decode(&greeting).expect("a header");
                let carries = Kind::DATA | Kind::END | Kind::MESSAGE | Kind::DESTROY;
                assert!(header.id == 9 && !header.kind.has(carries));
            }
            _ => {
                let may_be = self.stream.is_heard() && !self.stream.is_changing();
                assert!(may_be || !was_settled);
            }
        }
    }

    fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 16 {
            0..=5 => self.near(script),
            6 => {
                let len = usize::from(script.byte());
                let packet = script.bytes(len);
                self.receive(packet);
            }
            7 => {
                let len = usize::from(script.word()) * 4;
                self.written += len as u64;
                self.stream.write(Bytes::from(vec![1; len]));
            }
            8 => self.stream.end(),
            9 => {
                self.stream.consumed(self.unread);
                self.unread = 0;
                self.causes += 1;
            }
            10 => {
                let millis = [0, 1, 3, 50, 1000, 7000][usize::from(script.byte() % 6)];
                self.run_to(self.now + Duration::from_millis(millis));
            }
            11 => {
                let message = Bytes::from(vec![2; usize::from(script.word() % 2000)]);
                self.messages += u64::from(self.stream.send(message));
            }
            12 => self.stream.change_remote(3, address(), self.now),
            13 => {
                let every = [None, Some(1), Some(5000)][usize::from(script.byte() % 3)];
                let every = every.map(Duration::from_millis);
                self.stream.set_keep_alive(every, self.now);
            }
            14 => self.meet(script.byte()),
            _ => {
                let header = Header {
                    kind: Kind(script.byte()),
                    ..self.said
                };
                self.stream.passed_through(&header, 100);
                self.stream.passed_on(100);
            }
        }
        self.drain();
    }
}

/// Runs an input; answers what it led to.
fn run(input: &[u8]) -> u64 {
    let mut script = Script(input);
    let near_wrap = script.byte();
    let start = |high: bool| if high { u32::MAX - 20 } else { 0 };
    let mut run = Run::new(start(near_wrap & 1 > 0), start(near_wrap & 2 > 0));
    while !script.0.is_empty() && !run.stream.is_closed() {
        run.step(&mut script);
    }
    // Nobody answers any more: it ends, or waits for its user.
    run.stream.set_keep_alive(None, run.now);
    let until = run.now + Duration::from_secs(600);
    run.run_to(until);
    let waits = run.stream.inflight() > 0 && !run.stream.is_closed();
    assert!(!waits, "it still waits for an answer after ten minutes");
    let stats = run.stream.stats();
    let mut answer = DefaultHasher::new();
    run.seen.hash(&mut answer);
    let size = |n: u64| 64 - n.leading_zeros();
    [
        stats.retransmits,
        stats.fast_recoveries,
        stats.timeouts,
        run.unread as u64,
        stats.packets_transmitted,
        u64::from(run.stream.mtu()),
    ]
    .map(size)
    .hash(&mut answer);
    run.stream.is_closed().hash(&mut answer);
    answer.finish()
}

#[test]
fn a_peer_that_sends_anything_does_no_harm() {
    let fuzz = Fuzz {
        folder: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/udx_fuzz"),
        runs: 4_000,
        input_max: 4 << 10,
        time_max: Duration::from_secs(5),
    };
    fuzz.run(run);
}
