//! Files that may be anything: a small fuzzer for each kind of file, on the stable toolchain.
//!
//! An input is the content of one file of a small store; what is run is everything that reads it: opening, walks from both ends, a check, and work that
//! goes on. Nothing may panic or have no end, and no byte may be handed out that was never written. Half of the runs believe every crc
//! ([`Mutation::AnyCrc`]), so that what lies behind them is reached; there only the first must hold.
//!
//! The corpus is in `tests/fuzz/corpus`; each input of it is run, then mutations of them, of which those that lead to an answer not seen before are
//! kept for this run. `POME_FUZZ_MINUTES=<n>` fuzzes each kind for so many minutes of CPU time (CI: a few thousand runs), `POME_FUZZ_SAVE=1` adds what was kept to the
//! corpus. A finding is written to `tests/fuzz/findings`, and belongs into the corpus when it is cured.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod mutate;

use mutate::Mutator;
use pome_storage::{Batch, Durability, Error, Options, Space, Store};
use pome_wal::{
    Device, SimDevice,
    mutation::{Mutation, switch},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::IoSlice,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

/// Runs for each kind in CI.
const RUNS: u64 = 4_000;
/// So many inputs are kept.
const KEPT: usize = 400;
/// One run must be done within this, in CPU time of the process: other kinds are run beside it.
const END: Duration = Duration::from_secs(60);

/// A store to begin with, and every value that was ever written to it.
struct Template {
    device: SimDevice,
    values: BTreeMap<(u64, Vec<u8>), BTreeSet<Vec<u8>>>,
}

fn options() -> Options {
    let mut options = Options::default();
    options.background = false;
    options.seed = Some(3);
    options.log_segment_bytes = 4096;
    options.payload_segment_bytes = 4096;
    options
}

fn template() -> Template {
    let device = SimDevice::new(1);
    let mut values: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    let store = Store::open_on(Arc::new(device.clone()), options()).unwrap();
    for round in 0..4u8 {
        for step in 0..12u8 {
            let mut batch = Batch::new();
            let mut put = |space: u64, key: Vec<u8>, value: Vec<u8>| {
                batch.put(Space(space), key.clone(), value.clone());
                values.entry((space, key)).or_default().insert(value);
            };
            put(1, vec![b'k', step], vec![round; 10 + usize::from(step)]);
            if step == 5 {
                put(2, vec![round], vec![round; 1100]);
                put(2, vec![100], vec![round; 1300]);
            }
            if step == 7 {
                batch.delete_range(Space(1), [b'k', 2], [b'k', 4]);
            }
            store.commit(batch, Durability::Synced).unwrap();
        }
        if round < 3 {
            store.checkpoint().unwrap();
        }
    }
    // What lives in the segments that are mostly dead is moved, by a commit of its own that the log still has.
    let before = store.committed_seq();
    while store.committed_seq() == before {
        assert!(store.compact_step().unwrap(), "something is to be moved");
    }
    std::mem::forget(store);
    Template {
        device: device.kill(),
        values,
    }
}

impl Template {
    /// The file of a kind.
    fn name(&self, kind: &str) -> String {
        let names = self.device.list().unwrap();
        names
            .into_iter()
            .rfind(|name| name.starts_with(kind))
            .unwrap()
    }

    /// Answers what became of it, in words that two inputs share when the same code was run.
    fn run(&self, name: &str, input: &[u8], any_crc: bool) -> String {
        let device = self.device.fork(1);
        let file = device.open(name, true).unwrap();
        file.set_len(0).unwrap();
        file.write_at(&[IoSlice::new(input)], 0).unwrap();
        file.sync().unwrap();
        switch(any_crc.then_some(Mutation::AnyCrc));
        let told = self.work(&device, any_crc);
        switch(None);
        told
    }

    fn work(&self, device: &SimDevice, any_crc: bool) -> String {
        let store = match Store::open_on(Arc::new(device.clone()), options()) {
            Ok(store) => store,
            Err(e) => return format!("refused {}", short(&e)),
        };
        let mut told = format!(
            "{} damages, torn {}, commits {}",
            store.damage().len(),
            store.recovery().torn.is_some(),
            store.committed_seq().0.min(60),
        );
        let snapshot = store.snapshot();
        for space in 0..4 {
            let mut scan = snapshot.scan(Space(space), ..);
            for _ in 0..10_000 {
                match scan.next_entry() {
                    Ok(Some((key, value))) => {
                        let known = self.values.get(&(space, key.to_vec()));
                        let ours = known.is_some_and(|known| known.contains(value));
                        assert!(ours || any_crc, "{key:?} was never {value:?}");
                    }
                    Ok(None) => break,
                    Err(e) => told += &short(&e),
                }
            }
            for reverse in [false, true] {
                let mut range = snapshot.range(Space(space), ..);
                let next = || match reverse {
                    true => range.next_back(),
                    false => range.next(),
                };
                for entry in std::iter::from_fn(next).take(10_000) {
                    match entry {
                        Ok((key, value)) => {
                            let known = self.values.get(&(space, key.to_vec()));
                            let ours = known.is_some_and(|known| known.contains(&value[..]));
                            assert!(ours || any_crc, "{key:?} was never {value:?}");
                        }
                        Err(e) => told += &short(&e),
                    }
                }
            }
        }
        for (space, key) in self.values.keys() {
            if let Err(e) = store.get(Space(*space), key) {
                told += &short(&e);
            }
        }
        match store.check(&mut |_, _| {}) {
            Ok(report) => report
                .findings
                .iter()
                .for_each(|f| told += &short(&f.error)),
            Err(e) => told += &short(&e),
        }
        let mut batch = Batch::new();
        batch.put(Space(1), b"more", vec![1; 2000]);
        told += &match store.commit(batch, Durability::Synced) {
            Ok(_) => String::from(" goes on"),
            Err(e) => short(&e),
        };
        for work in [Store::checkpoint, Store::compact_step, Store::compact_step] {
            if let Err(e) = work(&store) {
                told += &short(&e);
            }
        }
        if let Err(e) = store.close() {
            told += &short(&e);
        }
        told
    }
}

/// An error without its numbers.
fn short(e: &Error) -> String {
    match e {
        Error::Corrupt { what, file, .. } => {
            let kind = file.split(['-', ' ']).next().unwrap_or_default();
            format!(" {what} in {kind}")
        }
        e => format!(" {}", e.code()),
    }
}

/// How long this thread has worked: a machine that is busy fuzzes for longer.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn fuzz(kind: &str) {
    let template = template();
    let name = template.name(kind);
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let corpus = corpus.join(kind.trim_end_matches('-'));
    let mut inputs = vec![template.device.bytes(&name).unwrap()];
    let mut files: Vec<_> = fs::read_dir(&corpus)
        .map(|entries| entries.map(|entry| entry.unwrap().path()).collect())
        .unwrap_or_default();
    files.sort();
    inputs.extend(files.iter().map(|path| fs::read(path).unwrap()));
    let known = inputs.len();

    let minutes = env::var("POME_FUZZ_MINUTES").ok();
    let until = minutes.map(|m| cpu_time() + Duration::from_secs(60 * m.parse::<u64>().unwrap()));
    let seed = env::var("POME_SEED").map_or(1, |seed| seed.parse().unwrap());
    let mut mutator = Mutator::new(seed);
    let mut seen = BTreeSet::new();
    let mut runs = 0u64;
    loop {
        let (input, any_crc) = match inputs
            .get((runs / 2) as usize)
            .filter(|_| runs < 2 * known as u64)
        {
            Some(input) => (input.clone(), runs % 2 == 1),
            None => mutator.next(&inputs),
        };
        let begin = cpu_time();
        let told = catch_unwind(AssertUnwindSafe(|| template.run(&name, &input, any_crc)));
        let told = told.unwrap_or_else(|_| found(kind, &input, any_crc));
        if cpu_time().saturating_sub(begin) > END {
            found(kind, &input, any_crc);
        }
        let mut hasher = DefaultHasher::new();
        (&told, any_crc).hash(&mut hasher);
        if seen.insert(hasher.finish()) && runs >= 2 * known as u64 && inputs.len() < KEPT {
            if env::var_os("POME_FUZZ_SAVE").is_some() && inputs.len() < 12 {
                fs::create_dir_all(&corpus).unwrap();
                fs::write(corpus.join(format!("{:016x}", hasher.finish())), &input).unwrap();
            }
            inputs.push(input);
        }
        runs += 1;
        let done = match until {
            Some(until) => cpu_time() >= until,
            None => runs >= RUNS,
        };
        if done && runs >= 2 * known as u64 {
            break;
        }
    }
    println!(
        "nightly: {name}: {runs} runs in {:.1} CPU minutes, {} inputs in the corpus, {} different answers, no finding",
        cpu_time().as_secs_f64() / 60.0,
        known - 1,
        seen.len()
    );
}

/// Keeps what was found, and says so.
fn found(kind: &str, input: &[u8], any_crc: bool) -> ! {
    switch(None);
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/findings");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(kind.trim_end_matches('-'));
    fs::write(&path, input).unwrap();
    panic!(
        "a finding ({kind}, any crc: {any_crc}) is in {}",
        path.display()
    );
}

#[test]
fn log_frame() {
    fuzz("log-");
}

#[test]
fn segment() {
    fuzz("payload-");
}

#[test]
fn index_page() {
    fuzz("table-");
}

#[test]
fn superblock() {
    fuzz("superblock");
}

#[test]
fn manifest() {
    fuzz("manifest-");
}
