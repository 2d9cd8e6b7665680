//! A crash at every call to the disk while a drive gives up its past, or goes altogether: afterwards it is as before or as after, and is used again.
#![allow(clippy::unwrap_used, reason = "a test says what it expects")]

mod files;

use files::{Files, blocks_here, content, put, read};
use pome_cores::Corestore;
use pome_drive_fs::{DriveOptions, Hyperdrive, Keep, PutOptions};
use pome_storage::{Options, Store};
use pome_wal::{Device, Faults, SimDevice};
use std::sync::Arc;

fn open_store(device: &SimDevice) -> Corestore {
    let mut options = Options::default();
    options.background = false;
    options.seed = Some(3);
    options.payload_segment_bytes = 256 << 10;
    options.log_segment_bytes = 64 << 10;
    Corestore::open(Store::open_on(Arc::new(device.clone()), options).unwrap()).unwrap()
}

async fn open(cores: &Corestore) -> Hyperdrive {
    let home = cores.namespace("home");
    Hyperdrive::open(home, DriveOptions::default())
        .await
        .unwrap()
}

fn bytes_used(device: &SimDevice) -> usize {
    let names = device.list().unwrap();
    let bytes = names.iter().filter_map(|name| device.bytes(name));
    bytes.map(|bytes| bytes.len()).sum()
}

/// A drive with a past: files that were replaced, one that was deleted, and one that shares blocks with its older versions. Each version, and its files.
async fn lived(drive: &Hyperdrive) -> Vec<(u64, Files)> {
    let mut versions = vec![];
    put(drive, "/stays", &content(0, 100_000)).await;
    for n in 1..=4u64 {
        put(drive, "/a", &content(n, 60_000)).await;
        put(drive, "/gone", &content(100 + n, 30_000)).await;
        drive.del("/gone").await.unwrap();
        let mut stream = drive
            .dedup_stream("/map", PutOptions::default())
            .await
            .unwrap();
        for piece in 0..4 {
            let seed = if piece == n { 50 + n } else { 40 + piece };
            stream.write(content(seed, 9_000)).await.unwrap();
        }
        stream.finish().await.unwrap();
        drive.note_version().unwrap();
        versions.push((drive.version(), read(drive).await));
    }
    versions
}

async fn is_sound(cores: &Corestore, drive: &Hyperdrive) {
    let blobs = drive.blobs().await.unwrap().core().clone();
    for core in [drive.core(), &blobs] {
        let problems = core.audit(|_| {}).await.unwrap().problems;
        assert!(problems.is_empty(), "{problems:?}");
    }
    let report = cores.store().check(&mut |_, _| {}).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
}

fn stop_at(call: u64) -> Faults {
    let mut faults = Faults::default();
    faults.stop_at = Some(call);
    faults
}

fn crash(device: &SimDevice, power_cut: bool) -> SimDevice {
    match power_cut {
        true => device.power_cut(),
        false => device.kill(),
    }
}

/// One run: the rule is set, the past given up, the space given back; call number `at` to the disk is the last. True when nothing was left to do by then;
/// and whether the past was still there.
async fn give_up_the_past(at: u64, power_cut: bool) -> (bool, bool) {
    let call = format!("call {at}, power cut: {power_cut}");
    let device = SimDevice::new(at);
    let cores = open_store(&device);
    let drive = open(&cores).await;
    let versions = lived(&drive).await;
    let now = &versions.last().unwrap().1;
    cores.store().sync().unwrap();
    let before = blocks_here(&drive).await;
    device.set_faults(stop_at(at));
    let done = drive.set_retention(Keep::Versions(1)).await.is_ok()
        && drive.gc().await.is_ok()
        && cores.store().sync().is_ok();
    let finished = done && cores.store().compact().is_ok() && device.faults_fired() == 0;
    let next = crash(&device, power_cut);
    std::mem::forget((drive, cores));

    let cores = open_store(&next);
    assert!(!cores.store().is_damaged(), "{call}");
    let drive = open(&cores).await;
    let retention = drive.retention().unwrap();
    let there = retention.oldest == 1;
    assert!(!(done && there), "{call}: it was on disk");
    assert_eq!(&read(&drive).await, now, "{call}");
    let here = blocks_here(&drive).await;
    match there {
        true => {
            assert_eq!(here, before, "{call}");
            for (version, files) in &versions {
                let old = drive.checkout(*version).unwrap();
                assert_eq!(&read(&old).await, files, "{call}, version {version}");
            }
        }
        false => {
            assert!(here < before, "{call}");
            assert_eq!(retention.keep, Keep::Versions(1), "{call}");
            for (version, _) in &versions[..3] {
                let code = drive.checkout(*version).map(drop).unwrap_err().code();
                assert_eq!(code, "VERSION_DROPPED", "{call}");
            }
        }
    }
    // Again, and on.
    drive.set_retention(Keep::Versions(1)).await.unwrap();
    drive.gc().await.unwrap();
    assert_eq!(&read(&drive).await, now, "{call}");
    put(&drive, "/a", &content(9, 50_000)).await;
    assert_eq!(drive.get("/a").await.unwrap().unwrap(), content(9, 50_000));
    drive.note_version().unwrap();
    drive.gc().await.unwrap();
    cores.store().compact().unwrap();
    // What the files take (those that were deleted before any rule was set are named by kept entries of no version).
    let live: usize = read(&drive).await.values().map(Vec::len).sum();
    assert!(
        bytes_used(&next) < live + 350_000,
        "{call}: {} bytes for {live}",
        bytes_used(&next)
    );
    is_sound(&cores, &drive).await;
    (finished, there)
}

#[tokio::test]
async fn the_past_is_given_up_as_a_whole_or_not_at_all() {
    for power_cut in [false, true] {
        let mut kept = 0;
        for at in 1.. {
            let (finished, there) = give_up_the_past(at, power_cut).await;
            kept += u64::from(there);
            if finished {
                assert!(at > 20 && kept > 2 && kept < at - 5, "{kept} of {at}");
                break;
            }
        }
    }
}

/// One run: the drive goes, and its space; call number `at` to the disk is the last.
async fn go(at: u64, power_cut: bool) -> (bool, bool) {
    let call = format!("call {at}, power cut: {power_cut}");
    let device = SimDevice::new(at);
    let cores = open_store(&device);
    let drive = open(&cores).await;
    lived(&drive).await;
    drive.set_retention(Keep::Versions(3)).await.unwrap();
    let files = read(&drive).await;
    let blocks = blocks_here(&drive).await;
    let other = cores.namespace("other");
    let other = Hyperdrive::open(other, DriveOptions::default())
        .await
        .unwrap();
    put(&other, "/b", &content(7, 70_000)).await;
    cores.store().sync().unwrap();
    let (key, total) = (drive.key(), cores.list().unwrap().len());
    device.set_faults(stop_at(at));
    let done = drive.purge().await.is_ok() && cores.store().sync().is_ok();
    let finished = done && cores.store().compact().is_ok() && device.faults_fired() == 0;
    let next = crash(&device, power_cut);
    std::mem::forget((drive, other, cores));

    let cores = open_store(&next);
    assert!(!cores.store().is_damaged(), "{call}");
    let there = cores.has(&key).unwrap();
    assert!(!(done && there), "{call}: it was on disk");
    let gone = if there { 0 } else { 2 };
    assert_eq!(cores.list().unwrap().len(), total - gone, "{call}");
    if there {
        let drive = open(&cores).await;
        assert_eq!(read(&drive).await, files, "{call}");
        assert_eq!(blocks_here(&drive).await, blocks, "{call}");
        assert_eq!(drive.retention().unwrap().keep, Keep::Versions(3));
        drive.purge().await.unwrap();
        let code = drive.get("/a").await.unwrap_err().code();
        assert_eq!(code, "SESSION_CLOSED", "{call}");
    }
    cores.store().compact().unwrap();
    assert!(bytes_used(&next) < 70_000 + 300_000, "{call}");
    let other = cores.namespace("other");
    let other = Hyperdrive::open(other, DriveOptions::default())
        .await
        .unwrap();
    assert_eq!(read(&other).await["/b"], content(7, 70_000), "{call}");
    // One of the same name has nothing of it.
    let again = open(&cores).await;
    assert_eq!((again.key(), again.core().length()), (key, 0), "{call}");
    assert_eq!(again.retention().unwrap().keep, Keep::All, "{call}");
    assert_eq!(again.blobs().await.unwrap().core().length(), 0, "{call}");
    put(&again, "/a", &content(8, 40_000)).await;
    assert_eq!(read(&again).await.len(), 1, "{call}");
    is_sound(&cores, &again).await;
    (finished, there)
}

#[tokio::test]
async fn a_drive_goes_as_a_whole_or_not_at_all_and_its_name_can_be_used_again() {
    for power_cut in [false, true] {
        let mut stayed = 0;
        for at in 1.. {
            let (finished, there) = go(at, power_cut).await;
            stayed += u64::from(there);
            if finished {
                assert!(at > 15 && stayed > 0 && stayed < at - 5, "{stayed} of {at}");
                break;
            }
        }
    }
}
