//! A crash at every call to the disk while a mount is written to and publishes: maps over older blocks, contents that grow, files of several names and
//! pipes included. Afterwards the mount is as it was after one of the changes: the last that was answered or the one on the way after a kill, none
//! before the last `fsync` after a power cut. `POME_CRASH_STEP` sets how many calls are left out in between (default 5).

use super::rooms::{ME, WRITE};
use crate::{
    DriveOptions, Hyperdrive,
    posix::Special,
    vfs::{drive::LiveDrive, node::ROOT, *},
};
use futures_util::future::BoxFuture;
use pome_cores::Corestore;
use pome_storage::{Options, Store};
use pome_wal::{Faults, SimDevice};
use std::{ffi::OsStr, sync::Arc};

const LARGE: usize = 400_000;

fn open_store(device: &SimDevice) -> Corestore {
    let mut options = Options::default();
    options.background = false;
    options.seed = Some(3);
    options.payload_segment_bytes = 1 << 20;
    options.log_segment_bytes = 256 << 10;
    Corestore::open(Store::open_on(Arc::new(device.clone()), options).unwrap()).unwrap()
}

async fn open(cores: &Corestore) -> Result<(Hyperdrive, Arc<Vfs>), VfsError> {
    let drive = Hyperdrive::open(cores.namespace("home"), DriveOptions::default()).await;
    let drive = drive.map_err(LowerError::from)?;
    let live = LiveDrive::new(drive.clone());
    let vfs = Vfs::open(live, cores, "crash", VfsOptions::default()).await?;
    Ok((drive, vfs))
}

async fn at(vfs: &Vfs, name: &str) -> Result<Ino, VfsError> {
    Ok(vfs.lookup(ROOT, OsStr::new(name)).await?.ino)
}

async fn write(vfs: &Vfs, name: &str, offset: u64, bytes: Vec<u8>) -> Result<(), VfsError> {
    let ino = at(vfs, name).await?;
    let handle = vfs.open_file(ino, WRITE).await?;
    let written = vfs.write(ino, offset, bytes.into());
    vfs.close(handle)?;
    written
}

type Step = fn(&Vfs) -> BoxFuture<'_, Result<(), VfsError>>;

/// What is done, one change at a time. Publications and syncs change nothing that is seen.
const STEPS: &[Step] = &[
    |v| {
        Box::pin(async {
            v.make_file(ROOT, OsStr::new("a"), 0o644, ME)
                .await
                .map(drop)
        })
    },
    |v| Box::pin(write(v, "a", 0, vec![1; LARGE])),
    |v| {
        Box::pin(async {
            v.link(at(v, "a").await?, ROOT, OsStr::new("b"))
                .await
                .map(drop)
        })
    },
    |v| Box::pin(async { v.sync().await }),
    |v| Box::pin(async { v.publish_now().await.map(drop) }),
    |v| Box::pin(write(v, "b", 100_000, vec![2; 10])),
    |v| {
        let pipe = OsStr::new("p");
        Box::pin(async move {
            v.make_special(ROOT, pipe, 0o600, ME, Special::Fifo)
                .await
                .map(drop)
        })
    },
    |v| Box::pin(async { v.publish_now().await.map(drop) }),
    |v| Box::pin(async { v.sync().await }),
    |v| {
        Box::pin(async {
            v.make_folder(ROOT, OsStr::new("d"), 0o755, ME)
                .await
                .map(drop)
        })
    },
    |v| {
        Box::pin(async {
            let to = (at(v, "d").await?, OsStr::new("c"));
            v.rename((ROOT, OsStr::new("a")), to, RenameMode::Replace)
                .await
        })
    },
    |v| Box::pin(write(v, "b", LARGE as u64, vec![3; 70_000])),
    |v| Box::pin(async { v.publish_now().await.map(drop) }),
    |v| {
        let (from, to) = ((ROOT, OsStr::new("d")), (ROOT, OsStr::new("e")));
        Box::pin(v.rename(from, to, RenameMode::Replace))
    },
    |v| {
        Box::pin(async {
            v.link(at(v, "p").await?, at(v, "e").await?, OsStr::new("q"))
                .await
                .map(drop)
        })
    },
    |v| Box::pin(async { v.sync().await }),
    |v| Box::pin(async { v.publish_now().await.map(drop) }),
    |v| Box::pin(v.unlink(ROOT, OsStr::new("b"))),
    |v| Box::pin(async { v.set_size(ino_of_c(v).await?, 300_001).await }),
    |v| Box::pin(async { v.publish_now().await.map(drop) }),
];

async fn ino_of_c(vfs: &Vfs) -> Result<Ino, VfsError> {
    let folder = at(vfs, "e").await?;
    Ok(vfs.lookup(folder, OsStr::new("c")).await?.ino)
}

/// All that is seen, as text.
fn look<'a>(vfs: &'a Vfs, ino: Ino, path: String) -> BoxFuture<'a, String> {
    Box::pin(async move {
        let stat = vfs.stat(ino).unwrap();
        let mut text = format!(
            "{path} {:?} {} {:o}",
            stat.kind, stat.links, stat.attrs.mode
        );
        match stat.kind {
            FileKind::File => {
                let bytes = vfs.read(ino, 0, 1 << 20).await.unwrap();
                assert_eq!(bytes.len() as u64, stat.size);
                let hash = pome_cores::crypto::hash(&[&bytes]);
                text += &format!(" {} {:02x?}\n", bytes.len(), &hash[..4]);
            }
            FileKind::Folder => {
                text.push('\n');
                let handle = vfs.open_folder(ino).unwrap();
                let lines = vfs.read_folder(ino, handle, 0, 100).await.unwrap();
                vfs.close(handle).unwrap();
                for line in &lines[2..] {
                    text += &look(vfs, line.stat.ino, format!("{path}/{}", line.name)).await;
                }
            }
            FileKind::Link | FileKind::Special(_) => text.push('\n'),
        }
        text
    })
}

/// What is seen at the beginning and after each step.
async fn without_a_crash() -> Vec<String> {
    let cores = open_store(&SimDevice::new(0));
    let (_drive, vfs) = open(&cores).await.unwrap();
    let mut seen = vec![look(&vfs, ROOT, String::new()).await];
    for step in STEPS {
        step(&vfs).await.unwrap();
        seen.push(look(&vfs, ROOT, String::new()).await);
    }
    seen
}

/// One run, of which call number `call` to the disk is the last. True when all was done by then.
async fn crash_at(call: u64, power_cut: bool, seen: &[String]) -> bool {
    let when = format!("call {call}, power cut: {power_cut}");
    let device = SimDevice::new(call);
    let cores = open_store(&device);
    let (drive, vfs) = open(&cores).await.unwrap();
    cores.store().sync().unwrap();
    let mut faults = Faults::default();
    faults.stop_at = Some(call);
    device.set_faults(faults);
    let (mut done, mut synced) = (0, 0);
    for (number, step) in STEPS.iter().enumerate() {
        if step(&vfs).await.is_err() {
            break;
        }
        done = number + 1;
        // The steps that sync.
        if [4, 9, 16].contains(&done) {
            synced = done;
        }
    }
    let finished = done == STEPS.len() && device.faults_fired() == 0;
    let next = match power_cut {
        true => device.power_cut(),
        false => device.kill(),
    };
    std::mem::forget((drive, vfs, cores));

    let cores = open_store(&next);
    assert!(!cores.store().is_damaged(), "{when}");
    let (drive, vfs) = open(&cores).await.unwrap();
    let now = look(&vfs, ROOT, String::new()).await;
    let first = if power_cut { synced } else { done };
    let possible = &seen[first..=(done + 1).min(STEPS.len())];
    assert!(
        possible.contains(&now),
        "{when}, {done} done, {synced} synced:\n{now}\nnone of {possible:#?}"
    );
    vfs.publish_now().await.unwrap();
    assert_eq!(
        look(&vfs, ROOT, String::new()).await,
        now,
        "{when}, published"
    );
    drop(vfs);
    let live = LiveDrive::new(drive.clone());
    let vfs = Vfs::open(live, &cores, "crash", VfsOptions::default())
        .await
        .unwrap();
    assert_eq!(vfs.pending(), Pending::default(), "{when}");
    assert_eq!(
        look(&vfs, ROOT, String::new()).await,
        now,
        "{when}, from the drive alone"
    );
    let blobs = drive.blobs().await.unwrap().core().clone();
    for core in [drive.core(), &blobs] {
        let problems = core.audit(|_| {}).await.unwrap().problems;
        assert!(problems.is_empty(), "{when}: {problems:?}");
    }
    finished
}

#[tokio::test]
async fn a_crash_leaves_the_mount_as_after_one_of_its_changes() {
    let seen = without_a_crash().await;
    let step = std::env::var("POME_CRASH_STEP").ok();
    let step = step.and_then(|n| n.parse().ok()).unwrap_or(5);
    let mut runs = 0;
    for power_cut in [false, true] {
        let mut call = 1 + u64::from(power_cut) * 2;
        while !crash_at(call, power_cut, &seen).await {
            call += step;
            runs += 1;
        }
    }
    eprintln!("{runs} crashes");
    assert!(runs > 10);
}
