//! A peer that may send anything: a small fuzzer of the replication state machine and of every decoder of its messages, on the stable toolchain.
//!
//! An input is what a peer sends over one channel, with the passing of time and the syncs of the store in between; a reader with demands and a writer
//! take it in turn. Nothing may panic or have no end, the reader may hold nothing that was not signed, and the writer's core must stay as it is.
//!
//! The seeds are recorded from honest exchanges; what is in `tests/fuzz/corpus` comes on top; then come mutations of them, of which those that lead to an
//! answer not seen before are kept for this run. `POME_FUZZ_MINUTES=<n>` fuzzes each of the two for so many minutes of CPU time (CI: a few thousand runs), `POME_FUZZ_SAVE=1` adds what was
//! kept to the corpus. A finding is written to `tests/fuzz/findings`, and belongs into the corpus when it is cured.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

#[path = "../../../storage/tests/fuzz/mutate.rs"]
mod mutate;
#[path = "../net/mod.rs"]
mod net;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use mutate::Mutator;
use net::{End, Frame, quiet};
use pome_cores::{
    CoreOptions, Corestore, CorestoreOptions, Hypercore, Store, caps,
    replication::messages::Handshake,
};
use pome_wal::SimDevice;

/// Runs in CI.
const RUNS: u64 = 1_500;
/// So many inputs are kept.
const KEPT: usize = 400;
/// One run must be done within this, in CPU time, on the slowest machine.
const END: Duration = Duration::from_secs(10);
/// Frames that may follow from one of an input's.
const ANSWERS_MAX: usize = 10_000;

const OPEN: u8 = 11;
const TIME: u8 = 12;
const SYNC: u8 = 13;
const CLOSE: u8 = 14;

/// The answer of a future that does not wait; `None` when it does.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// A store in memory. Number 1 can write the log.
struct Side {
    cores: Corestore,
    log: Hypercore,
}

impl Side {
    fn new(number: u8, of: Option<&Hypercore>) -> Self {
        let mut options = quiet();
        options.seed = Some(u64::from(number));
        options.log_segment_bytes = 1 << 16;
        let device = Arc::new(SimDevice::new(u64::from(number)));
        let store = Store::open_on(device, options).unwrap();
        let mut choice = CorestoreOptions::default();
        choice.primary_key = Some([number; 32]);
        let cores = Corestore::open_with(store, choice).unwrap();
        let core = match of {
            Some(core) => CoreOptions::key(core.key()),
            None => CoreOptions::name("log"),
        };
        let log = now(cores.get(core)).unwrap().unwrap();
        Self { cores, log }
    }

    fn sync(&self) {
        self.cores.store().sync().unwrap();
    }

    fn state(&self) -> (u64, u64, [u8; 32]) {
        let hash = now(self.log.tree_hash()).unwrap().unwrap();
        (self.log.fork(), self.log.length(), hash)
    }
}

fn block(n: u64) -> Bytes {
    vec![n as u8; 20 + n as usize % 50].into()
}

/// What the writer ever signed.
#[derive(Default)]
struct Truth {
    states: HashSet<(u64, u64, [u8; 32])>,
    blocks: BTreeMap<(u64, u64), Bytes>,
}

impl Truth {
    fn learn(&mut self, writer: &Side) {
        let log = &writer.log;
        self.states.insert(writer.state());
        for index in 0..log.length() {
            let block = now(log.stored_block(index)).unwrap().unwrap().unwrap();
            self.blocks.insert((log.fork(), index), block);
        }
    }
}

/// The writer, after its first or its second history.
fn writer(second: bool, truth: &mut Truth) -> Side {
    let writer = Side::new(1, None);
    let append = |from: u64, count: u64| {
        let blocks = (from..from + count).map(block).collect();
        now(writer.log.append_batch(blocks)).unwrap().unwrap();
    };
    append(0, 20);
    truth.learn(&writer);
    append(20, 13);
    truth.learn(&writer);
    if second {
        now(writer.log.truncate(11)).unwrap().unwrap();
        truth.learn(&writer);
        append(100, 9);
        truth.learn(&writer);
    }
    writer.sync();
    writer
}

fn record(into: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    into.push(kind);
    into.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_le_bytes());
    into.extend_from_slice(payload);
}

fn records(mut input: &[u8]) -> Vec<(u8, Bytes)> {
    let mut all = vec![];
    while let [kind, low, high, rest @ ..] = input {
        let len = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (payload, rest) = rest.split_at(len);
        all.push((kind & 15, Bytes::copy_from_slice(payload)));
        input = rest;
    }
    all
}

/// What each end of an honest exchange was sent.
fn honest(second: bool) -> [Vec<u8>; 2] {
    let source = writer(false, &mut Truth::default());
    let copy = Side::new(2, Some(&source.log));
    let clock = Instant::now();
    let mut ends = [
        End::new(&source.cores, true, clock),
        End::new(&copy.cores, false, clock),
    ];
    let _all = copy.log.download(3..).unwrap();
    let mut sent = [vec![], vec![]];
    for round in 0..40 {
        if second && round == 20 {
            now(source.log.truncate(11)).unwrap().unwrap();
            let blocks = (100..109).map(block).collect();
            now(source.log.append_batch(blocks)).unwrap().unwrap();
        }
        for side in 0..2 {
            while let Some(frame) = ends[side].poll(clock) {
                if let Frame::Message(_, kind, payload) = &frame {
                    record(&mut sent[1 - side], *kind as u8, payload);
                }
                ends[1 - side].take(frame, clock);
            }
        }
        source.sync();
        copy.sync();
        sent.iter_mut().for_each(|sent| record(sent, SYNC, &[]));
    }
    sent
}

/// Runs an input against a reader or a writer; answers what it led to.
fn run(input: &[u8], reads: bool, truth: &mut Truth) -> u64 {
    let source = writer(false, truth);
    let side = match reads {
        true => Side::new(2, Some(&source.log)),
        false => source,
    };
    let before = side.state();
    let key = side.log.discovery_key();
    let mut clock = Instant::now();
    let _all = reads.then(|| side.log.download(..).unwrap());
    let mut seek = Box::pin(side.log.seek(333));
    let _ = seek.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    let connect = |clock| {
        let mut end = End::new(&side.cores, false, clock);
        let capability = caps::replicate(true, &side.log.key(), &[7; 64]);
        let mut handshake = vec![];
        Handshake {
            seeks: true,
            capability,
        }
        .encode(&mut handshake);
        while end.poll(clock).is_some() {}
        end.take(Frame::Open(key, handshake), clock);
        end
    };
    let mut end = connect(clock);
    let mut led_to = DefaultHasher::new();
    for (kind, payload) in records(input) {
        let answer = match kind {
            OPEN => end.take(Frame::Open(key, payload.to_vec()), clock),
            TIME => {
                let steps = payload.first().copied().unwrap_or(1);
                clock += Duration::from_millis(100 * u64::from(steps));
                end.connection.handle_timeout(clock);
                None
            }
            SYNC => {
                side.sync();
                None
            }
            CLOSE => end.take(Frame::Close(key), clock),
            kind => end.take(Frame::Message(key, kind.into(), payload), clock),
        };
        answer.is_some().hash(&mut led_to);
        let mut count = 0;
        while let Some(frame) = end.poll(clock) {
            count += 1;
            assert!(count < ANSWERS_MAX, "it never stops talking");
            match frame {
                Frame::Open(..) => 100.hash(&mut led_to),
                Frame::Message(_, kind, _) => kind.hash(&mut led_to),
                Frame::Close(_) => 101.hash(&mut led_to),
            }
        }
        if let Some(reason) = end.destroyed {
            reason.hash(&mut led_to);
            end = connect(clock);
        }
    }
    let after = side.state();
    match reads {
        true if after.1 > 0 => assert!(truth.states.contains(&after), "never signed: {after:?}"),
        true => {}
        false => assert_eq!(after, before, "a peer has changed the writer's core"),
    }
    for index in 0..after.1 {
        let stored = now(side.log.stored_block(index)).unwrap().unwrap();
        stored.is_some().hash(&mut led_to);
        if let Some(stored) = stored {
            assert_eq!(truth.blocks.get(&(after.0, index)), Some(&stored));
        }
    }
    after.hash(&mut led_to);
    led_to.finish()
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz")
        .join(name)
}

fn keep(place: &str, reads: bool, input: &[u8]) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    input.hash(&mut hasher);
    let side = if reads { "reader" } else { "writer" };
    let path = folder(place).join(format!("{side}-{:016x}", hasher.finish()));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, input).unwrap();
    path
}

/// Runs one, and keeps it when it fails.
fn checked(input: &[u8], reads: bool, truth: &mut Truth) -> u64 {
    let start = cpu_time();
    let led_to = catch_unwind(AssertUnwindSafe(|| run(input, reads, truth)));
    match led_to {
        Ok(led_to) => {
            let took = cpu_time() - start;
            assert!(took < END, "a run took {took:?}");
            led_to
        }
        Err(panic) => {
            let path = keep("findings", reads, input);
            eprintln!("the input is {}", path.display());
            std::panic::resume_unwind(panic);
        }
    }
}

/// Of this thread: who runs beside it does not matter.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

#[test]
fn a_peer_may_send_anything_to_a_reader() {
    fuzz(true);
}

#[test]
fn a_peer_may_send_anything_to_a_writer() {
    fuzz(false);
}

fn fuzz(reads: bool) {
    let mut truth = Truth::default();
    writer(true, &mut truth);
    let (first, second) = (honest(false), honest(true));
    let minutes: Option<u64> = env::var("POME_FUZZ_MINUTES")
        .ok()
        .map(|n| n.parse().unwrap());
    let save = env::var_os("POME_FUZZ_SAVE").is_some();
    let side = usize::from(reads);
    let mut inputs = vec![first[side].clone(), second[side].clone()];
    // What the other side says makes sense here, too.
    inputs.push(first[1 - side].clone());
    let name = if reads { "reader-" } else { "writer-" };
    for entry in fs::read_dir(folder("corpus")).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with(name)
        {
            inputs.push(fs::read(path).unwrap());
        }
    }
    let mut seen: BTreeSet<u64> = BTreeSet::new();
    for input in &inputs {
        seen.insert(checked(input, reads, &mut truth));
    }
    assert!(seen.len() > 1, "the seeds lead to different answers");
    let mut mutator = Mutator::new(if reads { 1 } else { 2 });
    let (start, seeds) = (cpu_time(), inputs.len());
    let mut runs = 0;
    loop {
        let over = match minutes {
            Some(minutes) => cpu_time() - start >= Duration::from_secs(60 * minutes),
            None => runs >= RUNS,
        };
        if over {
            break;
        }
        runs += 1;
        let (input, _) = mutator.next(&inputs);
        if seen.insert(checked(&input, reads, &mut truth)) && inputs.len() < KEPT {
            if save {
                keep("corpus", reads, &input);
            }
            inputs.push(input);
        }
    }
    let kept = inputs.len() - seeds;
    println!(
        "nightly: {name}replication: {runs} runs in {:.1} CPU minutes, {} answers, {kept} inputs kept",
        (cpu_time() - start).as_secs_f64() / 60.0,
        seen.len()
    );
}

/// The recorded exchange brings the whole core over: what the fuzzer starts from is no noise.
#[test]
fn the_seeds_are_honest() {
    let mut truth = Truth::default();
    let end = writer(true, &mut truth).state();
    let source = writer(false, &mut truth);
    let copy = Side::new(2, Some(&source.log));
    assert_eq!(copy.log.length(), 0);
    let [_, to_reader] = honest(true);
    let kinds: BTreeSet<u8> = records(&to_reader).iter().map(|record| record.0).collect();
    assert!(
        [0, 3, 8].iter().all(|kind| kinds.contains(kind)),
        "{kinds:?}"
    );
    assert!(truth.states.contains(&end));
}
