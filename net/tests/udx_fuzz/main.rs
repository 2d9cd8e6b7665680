//! A stream whose other side may send anything: a small fuzzer, on the stable toolchain.
//!
//! An input is what happens to one stream: packets (well made with numbers near those that count, or any bytes), writes, reads, the clock. Nothing may panic
//! or have no end; a stream sends no more than its writer gave it and what answers need; what is kept for a reader who does not read stays within the window.
//!
//! The corpus is in `tests/udx_fuzz/corpus`; each input of it is run, then mutations of them, of which those that lead to an answer not seen before are kept
//! for this run. `POME_FUZZ_MINUTES=<n>` fuzzes for so many minutes of CPU time (CI: a few thousand runs), `POME_FUZZ_SAVE=1` adds what was kept to the
//! corpus. A finding is written to `tests/udx_fuzz/findings`, and belongs into the corpus when it is cured.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

use bytes::Bytes;
use pome_net::udx::{Event, HEADER_BYTES, Header, Kind, Seq, Stream, StreamOptions};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::{BTreeSet, HashSet},
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    time::Duration,
};

/// Runs in CI.
const RUNS: u64 = 4_000;
/// So many inputs are kept.
const KEPT: usize = 600;
/// One run must be done within this, in CPU time: other work may be on the machine.
const END: Duration = Duration::from_secs(5);
/// What a stream takes in before it is read: its window, what probes may add, and one packet.
const UNREAD_MAX: usize = (4 << 20) + (256 << 10) + (64 << 10);
/// The most that answers one packet: an acknowledgement with fifty ranges.
const ANSWER_MAX: u64 = 20 + 50 * 8;

fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The bytes of an input, one after the other; zeros behind the last.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }
}

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
            14 if script.byte() > 240 => self.stream.destroy(),
            14 => {}
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
    let began = cpu_time();
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
    let took = cpu_time() - began;
    assert!(took < END, "it took {took:?}");
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

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/udx_fuzz")
        .join(name)
}

fn corpus() -> Vec<Vec<u8>> {
    let mut files: Vec<_> = fs::read_dir(folder("corpus"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

fn name(input: &[u8]) -> String {
    let mut hash = DefaultHasher::new();
    input.hash(&mut hash);
    format!("{:016x}", hash.finish())
}

/// Runs an input, and keeps it where it can be found when it fails.
fn checked(input: &[u8]) -> u64 {
    match catch_unwind(AssertUnwindSafe(|| run(input))) {
        Ok(answer) => answer,
        Err(panic) => {
            fs::create_dir_all(folder("findings")).unwrap();
            let file = folder("findings").join(name(input));
            fs::write(&file, input).unwrap();
            eprintln!("the input is in {}", file.display());
            std::panic::resume_unwind(panic);
        }
    }
}

fn mutate(rng: &mut ChaCha8Rng, inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = inputs[rng.random_range(0..inputs.len())].clone();
    for _ in 0..rng.random_range(1..6) {
        if bytes.is_empty() {
            bytes.push(0);
        }
        let at = rng.random_range(0..bytes.len());
        match rng.random_range(0..7) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes[at] = rng.random(),
            2 => bytes[at] = [0, 1, 127, 128, 255][rng.random_range(0..5)],
            3 => {
                let len = rng.random_range(1..24);
                let mut fresh = vec![0; len];
                rng.fill_bytes(&mut fresh);
                bytes.splice(at..at, fresh);
            }
            4 => {
                let end = bytes.len().min(at + rng.random_range(1..32));
                bytes.drain(at..end);
            }
            5 => {
                let end = bytes.len().min(at + rng.random_range(1..64));
                let part = bytes[at..end].to_vec();
                bytes.extend_from_slice(&part);
            }
            _ => {
                let other = &inputs[rng.random_range(0..inputs.len())];
                bytes.truncate(at);
                let from = rng.random_range(0..other.len().max(1));
                bytes.extend_from_slice(&other[from.min(other.len())..]);
            }
        }
    }
    bytes.truncate(4 << 10);
    bytes
}

#[test]
fn a_peer_that_sends_anything_does_no_harm() {
    let minutes: Option<u64> = env::var("POME_FUZZ_MINUTES")
        .ok()
        .map(|m| m.parse().unwrap());
    let end = minutes.map(|minutes| cpu_time() + Duration::from_secs(60 * minutes));
    let seed = env::var("POME_SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut inputs = corpus();
    assert!(inputs.len() >= 20, "the corpus is there");
    let mut seen: HashSet<u64> = inputs.iter().map(|input| checked(input)).collect();
    let first = inputs.len();
    let mut runs = 0;
    while end.map_or(runs < RUNS, |end| cpu_time() < end) {
        let input = mutate(&mut rng, &inputs);
        runs += 1;
        if seen.insert(checked(&input)) && inputs.len() < KEPT {
            inputs.push(input);
        }
    }
    println!("{runs} runs, {} answers", seen.len());
    if env::var_os("POME_FUZZ_SAVE").is_some() {
        for input in &inputs[first..] {
            fs::write(folder("corpus").join(name(input)), input).unwrap();
        }
    }
}
