//! Blocks that are checked and stored on another thread than the connection's.
#![allow(clippy::unwrap_used, reason = "a failure is the test's message")]

mod net;

use std::{
    collections::HashMap,
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use net::{Clock, End, Place, Wire, reader, settle, writer};
use pome_cores::{
    Hypercore,
    replication::{ConnectionOptions, Worker},
};

type Work = Box<dyn FnOnce() + Send>;

/// Fewer than may wait beside a batch that is being stored.
const FEW: u64 = 800;
const MANY: u64 = 5000;

fn blocks(count: u64) -> Vec<Bytes> {
    (0..count)
        .map(|at| at.to_le_bytes().repeat(128).into())
        .collect()
}

/// A core with blocks, a copy without them, and a wire whose reading end has this worker.
async fn places(count: u64, worker: Worker) -> (Place, Place, Hypercore, Hypercore, Wire, Clock) {
    let (a, b, clock) = (Place::new(), Place::new(), Clock::new());
    let log = writer(&a).await;
    log.append_batch(blocks(count)).await.unwrap();
    a.sync();
    let copy = reader(&b, &log).await;
    let mut options = ConnectionOptions::new(false, [7; 64], [0; 32]);
    options.worker = Some(worker);
    let wire = Wire {
        ends: [
            End::new(&a.cores, true, clock.0),
            End::with(&b.cores, options, clock.0),
        ],
        frames: [VecDeque::new(), VecDeque::new()],
        counts: HashMap::new(),
        frozen: false,
    };
    (a, b, log, copy, wire, clock)
}

async fn equal(log: &Hypercore, copy: &Hypercore) {
    assert_eq!(copy.contiguous_length(), log.length());
    for index in 0..log.length() {
        let (a, b) = (
            log.stored_block(index).await,
            copy.stored_block(index).await,
        );
        assert_eq!(a.unwrap().unwrap(), b.unwrap().unwrap());
    }
}

#[tokio::test]
async fn more_is_asked_for_while_the_first_blocks_are_stored() {
    let work: Arc<Mutex<VecDeque<Work>>> = Arc::default();
    let queue = work.clone();
    let worker = Worker::new(move |work| queue.lock().unwrap().push_back(work));
    let (a, b, log, copy, mut wire, clock) = places(FEW, worker).await;
    let mut download = copy.download(0..FEW).unwrap();
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!(
        work.lock().unwrap().len(),
        1,
        "one batch of a core at a time"
    );
    assert_eq!(copy.contiguous_length(), 0);
    let requests = wire.counts[&1];
    assert!(
        requests >= FEW,
        "{requests} requests: more was asked for meanwhile"
    );
    let mut batches = 0;
    loop {
        let Some(next) = work.lock().unwrap().pop_front() else {
            break;
        };
        batches += 1;
        next();
        settle(&mut [&mut wire], &[&a, &b], clock.0);
    }
    assert_eq!(batches, 2);
    download.done().await.unwrap();
    equal(&log, &copy).await;
}

#[tokio::test]
async fn work_that_is_dropped_is_done_all_the_same() {
    let (a, b, log, copy, mut wire, clock) = places(MANY, Worker::new(drop)).await;
    let mut download = copy.download(0..MANY).unwrap();
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    download.done().await.unwrap();
    equal(&log, &copy).await;
}

#[tokio::test]
async fn what_came_is_stored_when_the_last_peer_goes() {
    let kept: Arc<Mutex<Vec<Work>>> = Arc::default();
    let keep = kept.clone();
    let worker = Worker::new(move |work| keep.lock().unwrap().push(work));
    let (a, b, log, copy, mut wire, clock) = places(FEW, worker).await;
    let mut download = copy.download(0..FEW).unwrap();
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!(copy.contiguous_length(), 0);
    drop(wire);
    download.done().await.unwrap();
    equal(&log, &copy).await;
    for late in kept.lock().unwrap().drain(..) {
        late();
    }
    equal(&log, &copy).await;
}

#[tokio::test]
async fn threads_store_what_the_connection_reads() {
    let worker = Worker::new(|work| drop(std::thread::spawn(work)));
    let (a, b, log, copy, mut wire, clock) = places(MANY, worker).await;
    let mut download = copy.download(0..MANY).unwrap();
    while copy.contiguous_length() < MANY {
        settle(&mut [&mut wire], &[&a, &b], clock.0);
        std::thread::yield_now();
    }
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    download.done().await.unwrap();
    equal(&log, &copy).await;
}
