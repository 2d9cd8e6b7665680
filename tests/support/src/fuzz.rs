//! A small fuzzer on the stable toolchain: inputs from a folder, mutations of them, and what each led to.
//!
//! The inputs of `<folder>/corpus` are run, then mutations, of which those that lead to an answer not seen before are kept for this run.
//! `POME_FUZZ_MINUTES=<n>` fuzzes for so many minutes of CPU time, `POME_SEED=<n>` begins elsewhere, `POME_FUZZ_SAVE=1` adds what was kept to the corpus. An
//! input that fails is written to `<folder>/findings`, and belongs into the corpus when it is cured.

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

/// So many inputs are kept in one run of the fuzzer.
const KEPT: usize = 600;
/// The least that a corpus has: an empty folder proves nothing.
const CORPUS_MIN: usize = 20;
/// Bytes at which lengths and signs turn.
const EDGES: [u8; 8] = [0, 1, 127, 128, 252, 253, 254, 255];

/// The bytes of an input, one after the other; zeros behind the last.
#[derive(Debug)]
pub struct Script<'a>(pub &'a [u8]);

impl Script<'_> {
    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// The next two bytes, the low one first.
    pub fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    /// The next `len` bytes, or what is left of them.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken.to_vec()
    }
}

/// How long this thread has worked: a machine that is busy fuzzes for longer.
pub fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// What is fuzzed, and how much of it.
#[derive(Debug)]
pub struct Fuzz {
    /// The folder that has `corpus/`.
    pub folder: PathBuf,
    /// Runs where no minutes are asked for.
    pub runs: u64,
    /// The longest input, in bytes.
    pub input_max: usize,
    /// What one run may take of the CPU.
    pub time_max: Duration,
}

impl Fuzz {
    /// Runs corpus and mutations; `run` panics on a finding, and answers what its input led to.
    ///
    /// # Panics
    /// With the panic of `run`, or when a run took too long.
    pub fn run(&self, run: impl Fn(&[u8]) -> u64) {
        let minutes = env::var("POME_FUZZ_MINUTES").ok();
        let end = minutes.map(|minutes| {
            let minutes: u64 = minutes.parse().expect("POME_FUZZ_MINUTES is a number");
            cpu_time() + Duration::from_secs(60 * minutes)
        });
        let seed = env::var("POME_SEED").map_or(1, |seed| seed.parse().expect("a number"));
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut inputs = self.corpus();
        assert!(inputs.len() >= CORPUS_MIN, "the corpus is there");
        let mut seen: HashSet<u64> = inputs.iter().map(|i| self.checked(i, &run)).collect();
        let first = inputs.len();
        let mut runs = 0;
        while end.map_or(runs < self.runs, |end| cpu_time() < end) {
            let input = self.mutate(&mut rng, &inputs);
            runs += 1;
            if seen.insert(self.checked(&input, &run)) && inputs.len() < KEPT {
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
                self.keep("corpus", input);
            }
        }
    }

    fn corpus(&self) -> Vec<Vec<u8>> {
        let folder = self.folder.join("corpus");
        let entries = fs::read_dir(&folder).expect("a corpus");
        let mut files: Vec<_> = entries.map(|e| e.expect("an entry").path()).collect();
        files.sort();
        let read = |file| fs::read(file).expect("an input");
        files.iter().map(read).collect()
    }

    /// Writes an input where it can be found; its name is its hash.
    fn keep(&self, place: &str, input: &[u8]) -> PathBuf {
        let folder = self.folder.join(place);
        let mut hash = DefaultHasher::new();
        input.hash(&mut hash);
        let file = folder.join(format!("{:016x}", hash.finish()));
        fs::create_dir_all(&folder).expect("a folder for inputs");
        fs::write(&file, input).expect("an input kept");
        file
    }

    fn checked(&self, input: &[u8], run: impl Fn(&[u8]) -> u64) -> u64 {
        let begin = cpu_time();
        let answer = catch_unwind(AssertUnwindSafe(|| {
            let answer = run(input);
            let took = cpu_time().saturating_sub(begin);
            assert!(took < self.time_max, "it took too long: {took:?}");
            answer
        }));
        answer.unwrap_or_else(|panic| {
            eprintln!("the input is in {}", self.keep("findings", input).display());
            std::panic::resume_unwind(panic);
        })
    }

    fn mutate(&self, rng: &mut ChaCha8Rng, inputs: &[Vec<u8>]) -> Vec<u8> {
        let fresh = |rng: &mut ChaCha8Rng, max| {
            let mut fresh = vec![0; rng.random_range(1..max)];
            rng.fill_bytes(&mut fresh);
            fresh
        };
        if rng.random_ratio(1, 20) {
            return fresh(rng, 400);
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
                2 => bytes[at] = EDGES[rng.random_range(0..EDGES.len())],
                3 => drop(bytes.splice(at..at, fresh(rng, 24))),
                4 => {
                    let end = bytes.len().min(at + rng.random_range(1..32));
                    bytes.drain(at..end);
                }
                5 => {
                    let end = bytes.len().min(at + rng.random_range(1..64));
                    bytes.extend_from_within(at..end);
                }
                _ => {
                    let other = &inputs[rng.random_range(0..inputs.len())];
                    bytes.truncate(at);
                    let from = rng.random_range(0..other.len().max(1));
                    bytes.extend_from_slice(&other[from.min(other.len())..]);
                }
            }
        }
        bytes.truncate(self.input_max);
        bytes
    }
}
