//! A node of the HyperDHT that strangers send anything: a small fuzzer, on the stable toolchain.
//!
//! An input is either a message, for each decoder in turn, or what happens to one lasting node: datagrams from strangers (well made, with tokens of their
//! own, of others, of earlier, or any bytes), answers to what it asked and to what it never asked, floods, the clock, its own lookups. Held against a model:
//!
//! - nothing panics, or has no end; what decodes is the same after it was encoded and decoded again;
//! - nothing is kept, or told to others, that was not signed and brought with a token which the node gave out to that very address in the last 15 s;
//! - a datagram of who has shown no token has the node send at most [`TIMES`] times its bytes, in at most [`DATAGRAMS`] datagrams; an answer to no question
//!   nothing at all;
//! - a flood leaves as much on its way as a trickle.
//!
//! The corpus is in `tests/dht_fuzz/corpus`; each input of it is run, then mutations, of which those that lead to an answer not seen before are kept for this run.
//! `POME_FUZZ_MINUTES=<n>` fuzzes for so many minutes of CPU time (CI: a few thousand runs), `POME_FUZZ_SAVE=1` adds what was kept to the corpus. A finding
//! is written to `tests/dht_fuzz/findings`, and belongs into the corpus when it is cured.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod messages;
mod node;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::HashSet,
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    time::Duration,
};

/// Bytes that go out for one that came in from an address that was not proven. The worst is a short question for a long value.
pub(crate) const TIMES: usize = 40;
/// Datagrams for one: the answer, and the look at a node that the table may lose for the asker.
pub(crate) const DATAGRAMS: usize = 2;
/// Runs in CI.
const RUNS: u64 = 3_000;
/// So many inputs are kept.
const KEPT: usize = 600;
/// What one run may take of the CPU.
const END: Duration = Duration::from_secs(10);

/// The bytes of an input, one after the other; zeros behind the last.
pub(crate) struct Script<'a>(pub(crate) &'a [u8]);

impl Script<'_> {
    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    pub(crate) fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }
}

/// How long this thread has worked: a machine that is busy fuzzes for longer.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Runs an input; answers what it led to.
fn run(input: &[u8]) -> u64 {
    let mut script = Script(input);
    match script.byte() % 4 {
        0 => messages::run(script.byte(), script.0),
        _ => node::run(&mut script),
    }
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/dht_fuzz")
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
    let begin = cpu_time();
    let answer = catch_unwind(AssertUnwindSafe(|| {
        let answer = run(input);
        assert!(cpu_time().saturating_sub(begin) < END, "it took too long");
        answer
    }));
    answer.unwrap_or_else(|panic| {
        fs::create_dir_all(folder("findings")).unwrap();
        let file = folder("findings").join(name(input));
        fs::write(&file, input).unwrap();
        eprintln!("the input is in {}", file.display());
        std::panic::resume_unwind(panic);
    })
}

fn mutate(rng: &mut ChaCha8Rng, inputs: &[Vec<u8>]) -> Vec<u8> {
    if rng.random_ratio(1, 20) {
        let mut fresh = vec![0; rng.random_range(1..400)];
        rng.fill_bytes(&mut fresh);
        return fresh;
    }
    let mut bytes = inputs[rng.random_range(0..inputs.len())].clone();
    for _ in 0..rng.random_range(1..6) {
        if bytes.is_empty() {
            bytes.push(0);
        }
        let at = rng.random_range(0..bytes.len());
        match rng.random_range(0..7) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes[at] = rng.random(),
            2 => bytes[at] = [0, 1, 127, 128, 252, 253, 254, 255][rng.random_range(0..8)],
            3 => {
                let mut fresh = vec![0; rng.random_range(1..24)];
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
    bytes.truncate(2 << 10);
    bytes
}

#[test]
fn strangers_who_send_anything_do_no_harm() {
    let minutes = env::var("POME_FUZZ_MINUTES").ok();
    let until = minutes.map(|m| cpu_time() + Duration::from_secs(60 * m.parse::<u64>().unwrap()));
    let seed = env::var("POME_SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut inputs = corpus();
    assert!(inputs.len() >= 20, "the corpus is there");
    let mut seen: HashSet<u64> = inputs.iter().map(|input| checked(input)).collect();
    let first = inputs.len();
    let mut runs = 0u64;
    while until.map_or(runs < RUNS, |until| cpu_time() < until) {
        let input = mutate(&mut rng, &inputs);
        runs += 1;
        if seen.insert(checked(&input)) && inputs.len() < KEPT {
            inputs.push(input);
        }
    }
    println!(
        "nightly: {runs} runs in {:.1} CPU minutes, {} different answers, no finding",
        cpu_time().as_secs_f64() / 60.0,
        seen.len()
    );
    if env::var_os("POME_FUZZ_SAVE").is_some() {
        for input in &inputs[first..] {
            fs::write(folder("corpus").join(name(input)), input).unwrap();
        }
    }
}
