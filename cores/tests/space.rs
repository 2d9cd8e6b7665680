//! Space comes back from cores: cleared, truncated and purged, under snapshots, and across a crash at every step.
#![allow(clippy::unwrap_used, reason = "a test says what it expects")]

use bytes::Bytes;
use pome_cores::{CoreOptions, Corestore, Hypercore, Store};
use pome_storage::Options;
use pome_wal::{Device, Faults, SimDevice};
use std::sync::Arc;

fn options() -> Options {
    let mut options = Options::default();
    options.background = false;
    options.seed = Some(3);
    options.log_segment_bytes = 64 << 10;
    options.payload_segment_bytes = 256 << 10;
    options
}

fn open(device: &SimDevice) -> Result<Corestore, pome_cores::Error> {
    Corestore::open(Store::open_on(Arc::new(device.clone()), options())?)
}

fn bytes_used(device: &SimDevice) -> usize {
    let names = device.list().unwrap();
    names
        .iter()
        .filter_map(|name| device.bytes(name))
        .map(|bytes| bytes.len())
        .sum()
}

fn block(n: u64) -> Bytes {
    vec![n as u8; 20_000].into()
}

async fn filled(cores: &Corestore, name: &str) -> Hypercore {
    let core = cores.get(CoreOptions::name(name)).await.unwrap();
    core.append_batch((0..30).map(block).collect())
        .await
        .unwrap();
    core.set_user_data("note", Some("mine".into()))
        .await
        .unwrap();
    core
}

#[tokio::test]
async fn a_snapshot_keeps_its_blocks_and_no_others() {
    let device = SimDevice::new(1);
    let cores = open(&device).unwrap();
    let core = filled(&cores, "kept").await;
    let snapshot = core.snapshot().unwrap();
    let local = cores.local("other").unwrap();
    for n in 0..20 {
        local.put("k", vec![n; 100_000]).unwrap();
    }
    let live = 30 * 20_000 + 100_000;
    cores.store().compact().unwrap();
    assert!(
        bytes_used(&device) < live + 300_000,
        "the snapshot holds what it does not show"
    );

    core.clear(5..10).await.unwrap();
    core.truncate(20).await.unwrap();
    cores.store().compact().unwrap();
    for n in 0..30 {
        assert_eq!(snapshot.get(n).await.unwrap(), block(n));
    }
    assert_eq!((snapshot.length(), core.length()), (30, 20));
    assert!(!core.has(5..6).await.unwrap());
    drop(snapshot);
    cores.store().compact().unwrap();
    assert!(bytes_used(&device) < 15 * 20_000 + 100_000 + 300_000);

    let usage = core.usage().await.unwrap();
    assert!((300_000..310_000).contains(&usage.value_bytes), "{usage:?}");
    let all = cores.usage().unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].1, all[0].2), (core.key(), usage));
    let report = core.audit(|_| {}).await.unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
}

/// What must hold after a crash: the core is there as a whole, or not at all; the other one is as it was.
async fn check(cores: &Corestore, at: u64) -> bool {
    let other = cores.get(CoreOptions::name("other")).await.unwrap();
    assert_eq!(other.length(), 30, "call {at}");
    for n in 0..30 {
        assert_eq!(other.get(n).await.unwrap(), block(n), "call {at}");
    }
    let names = cores.names().unwrap();
    let listed = names.iter().any(|(name, _)| name == "doomed");
    assert_eq!(
        cores.list().unwrap().len(),
        1 + usize::from(listed),
        "call {at}"
    );
    if listed {
        let core = cores.get(CoreOptions::name("doomed")).await.unwrap();
        assert_eq!(core.length(), 30, "call {at}");
        for n in 0..30 {
            assert_eq!(core.get(n).await.unwrap(), block(n), "call {at}");
        }
    }
    listed
}

#[tokio::test]
async fn a_purge_is_whole_or_not_at_all_and_the_name_can_be_used_again() {
    let (mut at, mut unfinished, mut stayed) = (0, 2, 0);
    while unfinished > 0 {
        at += 1;
        let power_cut = at % 2 == 0;
        let device = SimDevice::new(at);
        let cores = open(&device).unwrap();
        filled(&cores, "doomed").await;
        filled(&cores, "other").await;
        cores.store().sync().unwrap();
        let doomed = cores.get(CoreOptions::name("doomed")).await.unwrap();
        let mut faults = Faults::default();
        faults.stop_at = Some(at.div_ceil(2));
        device.set_faults(faults);
        // With all that gives its space back.
        let purged = doomed.purge().await.is_ok();
        let done = purged && cores.store().sync().is_ok();
        let finished = done && cores.store().compact().is_ok();
        unfinished -= u64::from(finished);
        let next = match power_cut {
            true => device.power_cut(),
            false => device.kill(),
        };
        std::mem::forget(cores);

        let cores = open(&next).unwrap();
        assert!(!cores.store().is_damaged(), "call {at}");
        let listed = check(&cores, at).await;
        stayed += u64::from(listed);
        assert!(!(done && listed), "call {at}: it was purged on disk");
        if listed {
            let core = cores.get(CoreOptions::name("doomed")).await.unwrap();
            core.purge().await.unwrap();
        }
        cores.store().compact().unwrap();
        assert!(bytes_used(&next) < 30 * 20_000 + 300_000, "call {at}");
        // Nothing of the old one shows in a new one of the same name.
        let again = cores.get(CoreOptions::name("doomed")).await.unwrap();
        assert_eq!((again.length(), again.fork()), (0, 0), "call {at}");
        assert_eq!(again.user_data("note").await.unwrap(), None);
        again.append("first").await.unwrap();
        assert_eq!(again.get(0).await.unwrap(), "first");
        let problems = again.audit(|_| {}).await.unwrap().problems;
        assert!(problems.is_empty(), "call {at}: {problems:?}");
        check_after(&cores).await;
    }
    assert!(
        at > 30 && stayed > 0,
        "{at} calls, {stayed} of them before the purge"
    );
}

async fn check_after(cores: &Corestore) {
    let report = cores.store().check(&mut |_, _| {}).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
}

#[tokio::test]
async fn a_local_keyspace_that_is_removed_gives_its_space_back() {
    let device = SimDevice::new(4);
    let cores = open(&device).unwrap();
    let local = cores.local("cache").unwrap();
    for n in 0..30u8 {
        local.put([n], vec![n; 30_000]).unwrap();
    }
    cores.remove_local("cache").unwrap();
    cores.store().compact().unwrap();
    assert!(
        bytes_used(&device) < 200_000,
        "{} bytes",
        bytes_used(&device)
    );
    assert!(cores.local("cache").unwrap().get(&[3]).unwrap().is_none());
}
