//! `kill -9`, on both devices, and the time that recovery takes.

use crate::{
    chance,
    child::{Worker, open_filled, verify, verify_filled},
    setting,
};
use pome_test_support::skipped;
use pome_wal::UringDevice;
use rand::RngExt;
use std::{
    thread,
    time::{Duration, Instant},
};

fn rounds(device: &str) {
    let rounds = setting("POME_KILL_ROUNDS", 10);
    let folder = tempfile::tempdir().unwrap();
    let mut chance = chance();
    let mut total = [0, 0];
    for round in 0..rounds {
        let mut worker = Worker::new(folder.path(), device, None);
        match round % 2 {
            // However little it comes to do until it is killed.
            0 => worker.wait_until(0, total[0] + 4),
            _ => worker.wait_for(1),
        }
        thread::sleep(Duration::from_millis(chance.random_range(0..150)));
        let answered = worker.kill();
        let newest = verify(folder.path(), answered);
        println!("round {round}: {answered:?} answered, {newest:?} there");
        total = newest;
    }
    assert!(
        total[0] > rounds,
        "{total:?}: the store was hardly written to"
    );
    println!(
        "nightly: {rounds} kills on {device}: {total:?} batches, all that was answered is there"
    );
}

#[test]
fn kills_on_the_plain_device() {
    rounds("pwrite");
}

#[test]
fn kills_on_io_uring() {
    let folder = tempfile::tempdir().unwrap();
    if let Err(e) = UringDevice::open(folder.path()) {
        skipped(
            "kills_on_io_uring",
            format_args!("the kernel gives no ring ({e})"),
        );
        return;
    }
    rounds("uring");
}

#[test]
fn a_large_store_is_recovered_soon() {
    let gib = setting("POME_BIG_GIB", 0);
    let bytes = if gib == 0 { 64 << 20 } else { gib << 30 };
    let folder = tempfile::tempdir().unwrap();
    let mut worker = Worker::new(folder.path(), "auto", Some(bytes));
    worker.wait_for(1);
    thread::sleep(Duration::from_millis(300));
    let [answered, _] = worker.kill();
    let begin = Instant::now();
    let store = open_filled(folder.path());
    let took = begin.elapsed();
    verify_filled(&store, answered);
    println!(
        "nightly: a store of {} MiB opens {took:?} after kill -9 ({:?})",
        answered / 16,
        store.recovery()
    );
    if gib > 0 {
        assert!(took <= Duration::from_secs(2), "{took:?}");
    }
}
