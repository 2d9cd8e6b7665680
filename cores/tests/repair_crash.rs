//! A crash at every call to the disk while the cores of a store are repaired: blocks that are whole stay, what is handed out is right, and the next repair
//! ends where one without a crash does.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

use pome_cores::{CoreOptions, Corestore, Durability, GetOptions, Hypercore, Store};
use pome_storage::Options;
use pome_wal::{Device, Faults, SimDevice};
use std::{ops::Range, sync::Arc};

const SMALL: u64 = 700;
const LARGE: u64 = 12;

fn open(device: &SimDevice) -> Corestore {
    let mut options = Options::default();
    options.background = false;
    options.seed = Some(3);
    options.log_segment_bytes = 64 << 10;
    options.payload_segment_bytes = 64 << 10;
    Corestore::open(Store::open_on(Arc::new(device.clone()), options).unwrap()).unwrap()
}

async fn core(cores: &Corestore, name: &str) -> Hypercore {
    cores.get(CoreOptions::name(name)).await.unwrap()
}

fn small(n: u64) -> Vec<u8> {
    format!("a small block with number {n:05}").into_bytes()
}

fn large(n: u64) -> Vec<u8> {
    [&n.to_be_bytes()[..], &[n as u8; 9_000]].concat()
}

/// What is there of the two cores: lost blocks, and how many there are. Each block that can be read must be right.
async fn state(cores: &Corestore) -> [(Vec<Range<u64>>, u64); 2] {
    let mut all = [(vec![], 0), (vec![], 0)];
    let makers: [fn(u64) -> Vec<u8>; 2] = [small, large];
    for ((name, make), state) in ["small", "large"].into_iter().zip(makers).zip(&mut all) {
        let core = core(cores, name).await;
        state.0 = core.lost().unwrap();
        for index in 0..core.length() {
            let now = GetOptions {
                no_wait: true,
                ..GetOptions::default()
            };
            match core.get_with(index, now).await {
                Ok(Some(block)) => assert!(block == make(index), "{name}, block {index}"),
                Ok(None) => continue,
                Err(e) => {
                    assert_eq!(e.code(), "CORRUPT", "{name}, block {index}: {e}");
                    continue;
                }
            }
            state.1 += 1;
        }
    }
    all
}

/// Two cores, of which the disk has eaten: large blocks, a stretch of small ones with the index, and a stretch of tree nodes.
async fn damaged() -> SimDevice {
    let device = SimDevice::new(1);
    let cores = open(&device);
    let log = core(&cores, "small").await;
    let blocks = (0..SMALL).map(|n| small(n).into()).collect();
    log.append_with(blocks, Durability::Synced).await.unwrap();
    let node = log.node(601).await.unwrap().unwrap();
    let log = core(&cores, "large").await;
    let blocks = (0..LARGE).map(|n| large(n).into()).collect();
    log.append_with(blocks, Durability::Synced).await.unwrap();
    cores.store().checkpoint().unwrap();
    cores.close().await.unwrap();
    let spoil = |prefix: &str, bytes: &[u8]| {
        let names = device.list().unwrap();
        let place = names
            .iter()
            .filter(|name| name.starts_with(prefix))
            .find_map(|name| {
                let content = device.bytes(name).unwrap();
                let at = content.windows(bytes.len()).position(|w| w == bytes)?;
                Some((name, at + bytes.len() - 1))
            });
        let (name, at) = place.unwrap();
        assert!(device.flip_bit(name, at as u64 * 8));
    };
    spoil("payload-", &large(3));
    spoil("payload-", &large(8));
    spoil("table-", &small(500));
    spoil("table-", &node.hash);
    device
}

#[tokio::test]
async fn a_crash_at_every_call_of_a_repair_of_cores() {
    let damaged = damaged().await;
    let cores = open(&damaged.fork(1));
    let [_, before] = state(&cores).await;
    assert_eq!(before.1, LARGE - 2);
    let repaired = cores.repair(&mut |_, _| {}).await.unwrap();
    assert!(repaired.left.is_empty(), "{:?}", repaired.left);
    let expected = state(&cores).await;
    let [(lost, count), large] = &expected;
    assert!(lost.len() == 1 && lost[0].contains(&500), "{lost:?}");
    assert_eq!(count + (lost[0].end - lost[0].start), SMALL);
    assert_eq!(*large, (vec![3..4, 8..9], LARGE - 2));
    std::mem::forget(cores);

    for cut in [false, true] {
        for stop in 1.. {
            let call = format!("call {stop}, power cut: {cut}");
            let device = damaged.fork(stop);
            let cores = open(&device);
            let mut faults = Faults::default();
            faults.stop_at = Some(stop);
            device.set_faults(faults);
            let done = cores.repair(&mut |_, _| {}).await;
            let done = done.is_ok_and(|done| done.left.is_empty());
            let stopped = device.faults_fired() > 0;
            std::mem::forget(cores);
            let next = if cut {
                device.power_cut()
            } else {
                device.kill()
            };

            let cores = open(&next);
            state(&cores).await;
            let again = cores.repair(&mut |_, _| {}).await.unwrap();
            assert!(again.left.is_empty(), "{call}: {:?}", again.left);
            assert!(!done || again.cores.is_empty(), "{call}: {again:?}");
            assert_eq!(state(&cores).await, expected, "{call}");
            let store = cores.store();
            assert!(!store.is_damaged() && !store.is_recovering(), "{call}");
            for name in ["small", "large"] {
                let core = core(&cores, name).await;
                let problems = core.audit(|_| {}).await.unwrap().problems;
                assert!(problems.is_empty(), "{call}: {problems:?}");
                core.append("more").await.unwrap();
            }
            let report = store.check(&mut |_, _| {}).unwrap();
            assert!(report.is_clean(), "{call}: {:?}", report.findings);
            if !stopped {
                assert!(done && stop > 50, "{stop} calls");
                break;
            }
        }
    }
}
