//! Disks that fill up, that may not be written, and that turn bits.
//!
//! Those that take a small tmpfs need root to mount it; what cannot be mounted is skipped, loudly. `POME_SEED` sets the seed of the bits, `POME_FULL_DISK=ext4` takes a small ext4 instead.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod process;

use bytes::Bytes;
use pome::{CoreOptions, Corestore, Options, Store, cores::GetOptions};
use pome_test_support::skipped;
use process::{Pome, fuse_works};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    ops::Range,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// A tmpfs of its own, or a small ext4, unmounted at the end.
struct Tmpfs {
    folder: tempfile::TempDir,
}

impl Tmpfs {
    fn new(test: &str, mib: u64) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let ext4 = std::env::var_os("POME_FULL_DISK").is_some_and(|kind| kind == "ext4");
        let mounted = match ext4 {
            true => {
                let image = tempfile::NamedTempFile::new().unwrap();
                // What the file system itself takes comes on top. The file goes with the last who has it: the loop device.
                image.as_file().set_len((mib + 24) << 20).unwrap();
                let make = "mkfs.ext4 -q -m 0 -J size=8 $0 && mount -o loop $0 $1";
                let words = [image.path(), folder.path()];
                Command::new("sh").args(["-c", make]).args(words).output()
            }
            false => Command::new("mount")
                .args(["-t", "tmpfs", "-o"])
                .args([&format!("size={mib}m"), "pome-test"])
                .arg(folder.path())
                .output(),
        };
        if !mounted.is_ok_and(|output| output.status.success()) {
            skipped(test, "a tmpfs cannot be mounted here (it takes root)");
            return None;
        }
        Some(Self { folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let status = Command::new("mount")
            .args(["-o", &options])
            .arg(self.path())
            .status()
            .unwrap();
        assert!(status.success(), "mount -o {options}");
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: a process that a failed test left behind may still be in it.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

/// A file that takes all the space there is.
fn fill_up(path: &Path) {
    let mut file = File::create(path).unwrap();
    let part = [1; 4096];
    while file.write_all(&part).is_ok() {}
}

#[test]
fn a_full_disk_fails_one_command_and_loses_nothing() {
    let Some(disk) = Tmpfs::new("a_full_disk_fails_one_command_and_loses_nothing", 48) else {
        return;
    };
    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![1; 12 << 20]).unwrap();
    let pome = Pome::new(disk.path().join("store"));
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("block");
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    let full = loop {
        assert!(blocks.len() < 100, "the disk never fills");
        let n = blocks.len() as u64;
        let block = pattern(n, if n.is_multiple_of(3) { 100 } else { 900_000 });
        fs::write(&file, &block).unwrap();
        let args = ["core", "append", "log", "--file", file.to_str().unwrap()];
        if !pome.run(&args).status.success() {
            break pome.fails(&args);
        }
        blocks.push(block);
    };
    assert_eq!(full, (1, "ENOSPC".into()), "after {} blocks", blocks.len());
    assert!(blocks.len() > 5, "{}", blocks.len());
    // To the last byte: nothing can be written at all, not even where there was room for a small file.
    fill_up(&disk.path().join("more"));
    let args = ["core", "append", "log", "--file", file.to_str().unwrap()];
    assert_eq!(pome.fails(&args), (1, "ENOSPC".into()));
    for (index, block) in blocks.iter().enumerate() {
        assert_eq!(
            &pome.ok(&["core", "get", "log", &index.to_string()]),
            block,
            "{index}, on the full disk"
        );
    }
    // The backup lies on another disk.
    let target = files.path().join("backup");
    let backup = pome.json(&["store", "backup", target.to_str().unwrap()]);
    assert!(
        backup.last().unwrap()["files"].as_u64().unwrap() > 2,
        "{backup:?}"
    );
    let restored = Pome::new(files.path().join("restored"));
    restored.ok(&["store", "restore", target.to_str().unwrap()]);
    assert_eq!(
        restored.json(&["store", "check"]).last().unwrap()["ok"],
        true
    );
    for (index, block) in blocks.iter().enumerate() {
        let index = index.to_string();
        assert_eq!(&restored.ok(&["core", "get", "log", &index]), block);
    }

    fs::remove_file(&ballast).unwrap();
    for n in 0..4 {
        let block = pattern(1000 + n, 500_000);
        fs::write(&file, &block).unwrap();
        pome.ok(&["core", "append", "log", "--file", file.to_str().unwrap()]);
        blocks.push(block);
    }
    assert_eq!(
        pome.json(&["core", "info", "log"])[0]["length"],
        blocks.len()
    );
    for (index, block) in blocks.iter().enumerate() {
        assert_eq!(
            &pome.ok(&["core", "get", "log", &index.to_string()]),
            block,
            "{index}"
        );
    }
    assert_eq!(pome.json(&["store", "check"]).last().unwrap()["ok"], true);
}

#[test]
fn a_mount_on_a_full_disk_says_so_and_goes_on() {
    let test = "a_mount_on_a_full_disk_says_so_and_goes_on";
    if !fuse_works(test) {
        return;
    }
    let Some(disk) = Tmpfs::new(test, 120) else {
        return;
    };
    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![1; 80 << 20]).unwrap();
    let pome = Pome::new(disk.path().join("store"));
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("mnt");
    let mount = pome.mount(&at, &["--offline"]);
    let write = |name: &str, bytes: &[u8]| -> std::io::Result<()> {
        let mut file = File::create(at.join(name))?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    let mut synced = Vec::new();
    let error = loop {
        assert!(synced.len() < 100, "the disk never fills");
        let n = synced.len() as u64;
        let bytes = pattern(n, 1_000_000);
        match write(&format!("file {n}"), &bytes) {
            Ok(()) => synced.push(bytes),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    assert!(synced.len() > 5, "{}", synced.len());
    // What was written is in the mount's overlay, and takes its space once more while it is published.
    fs::remove_file(&ballast).unwrap();
    write("after", &pattern(77, 1_000_000)).unwrap();
    let all_there = || {
        for (n, bytes) in synced.iter().enumerate() {
            assert!(
                fs::read(at.join(format!("file {n}"))).unwrap() == *bytes,
                "file {n}"
            );
        }
        assert!(fs::read(at.join("after")).unwrap() == pattern(77, 1_000_000));
    };
    all_there();
    mount.stop();
    let mount = pome.mount(&at, &["--offline"]);
    all_there();
    mount.stop();
    assert_eq!(pome.json(&["store", "check"]).last().unwrap()["ok"], true);
}

#[test]
fn a_store_that_may_not_be_written_says_so() {
    let Some(disk) = Tmpfs::new("a_store_that_may_not_be_written_says_so", 64) else {
        return;
    };
    let pome = Pome::new(disk.path().join("store"));
    pome.ok(&["core", "append", "log", "a", "b"]);
    pome.ok(&["drive", "create", "home"]);
    disk.remount("ro");
    for args in [
        &["core", "append", "log", "c"][..],
        &["core", "create", "other"],
        &["bee", "put", "x", "y", "z"],
    ] {
        assert_eq!(pome.fails(args), (1, "EROFS".into()), "{args:?}");
    }
    let at = disk.path().join("mnt");
    assert_eq!(pome.fails(&["mount", at.to_str().unwrap()]).0, 1);
    // There is no store yet, and none can be made.
    let none = Pome::new(disk.path().join("none"));
    assert_eq!(
        none.fails(&["core", "append", "log", "c"]),
        (1, "EROFS".into())
    );
    disk.remount("rw");
    assert_eq!(pome.json(&["core", "append", "log", "c"])[0]["length"], 3);
    assert_eq!(pome.ok(&["core", "get", "log", "1"]), b"b");
    assert_eq!(pome.json(&["store", "check"]).last().unwrap()["ok"], true);
}

/// A store with something in every kind of file; the blocks of its core `log`, and how many of them are below its checkpoint.
async fn store_of_all_kinds(pome: &Pome, files: &Path) -> (Vec<Vec<u8>>, usize) {
    let mut blocks = Vec::new();
    let append = |blocks: &mut Vec<Vec<u8>>, count: usize| {
        let small: Vec<String> = (0..count)
            .map(|n| format!("block {} is small", blocks.len() + n))
            .collect();
        let output = pome.with_stdin(&["core", "append", "log"], small.join("\n").as_bytes());
        assert!(output.status.success());
        blocks.extend(small.into_iter().map(String::into_bytes));
        for n in 0..count / 50 {
            let block = pattern(blocks.len() as u64, 3_000 + 997 * n);
            fs::write(files, &block).unwrap();
            pome.ok(&["core", "append", "log", "--file", files.to_str().unwrap()]);
            blocks.push(block);
        }
    };
    append(&mut blocks, 400);
    // A checkpoint comes by itself only after many megabytes.
    let store = Store::open(&pome.store, Options::default()).unwrap();
    store.checkpoint().unwrap();
    store.close().unwrap();
    drop(store);
    let checkpointed = blocks.len();
    append(&mut blocks, 100);
    (blocks, checkpointed)
}

/// What can be read of `log`, block by block; `None` where it says that it cannot be.
async fn readable(store: &Path, count: usize) -> Vec<Option<Bytes>> {
    let nothing = || vec![None; count];
    let Ok(store) = Store::open(store, Options::default()) else {
        return nothing();
    };
    let Ok(cores) = Corestore::open(store) else {
        return nothing();
    };
    let Ok(core) = cores.get(CoreOptions::name("log")).await else {
        return nothing();
    };
    let mut out = Vec::new();
    for index in 0..count as u64 {
        let options = GetOptions {
            no_wait: true,
            ..GetOptions::default()
        };
        out.push(core.get_with(index, options).await.ok().flatten());
    }
    let _ = cores.close().await;
    out
}

fn copy_store(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let status = Command::new("cp")
        .arg("-a")
        .args([from, to])
        .status()
        .unwrap();
    assert!(status.success());
}

/// Where blocks lie in one file whose only copies these are: in the log, only those since the checkpoint.
fn live(path: &Path, blocks: &[Vec<u8>], checkpointed: usize) -> Vec<(Range<usize>, usize)> {
    let mut bytes = fs::read(path).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0);
    bytes.truncate(end.map_or(0, |end| end + 1));
    let name = path.file_name().unwrap().to_str().unwrap();
    let first = if name.starts_with("log-") {
        checkpointed
    } else {
        0
    };
    let wanted = blocks.iter().enumerate().skip(first);
    let found = wanted.filter_map(|(index, block)| {
        let at = bytes
            .windows(block.len())
            .position(|window| window == block)?;
        Some((at..at + block.len(), index))
    });
    found.collect()
}

/// Where to turn bits in one file: in the blocks that live there, and anywhere that something was written. With each place, the block.
fn places(
    path: &Path,
    live: &[(Range<usize>, usize)],
    rng: &mut ChaCha8Rng,
) -> Vec<(usize, Option<usize>)> {
    let bytes = fs::read(path).unwrap();
    let written: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let mut out = Vec::new();
    for _ in 0..12 {
        if !written.is_empty() {
            out.push(written[rng.random_range(0..written.len())]);
        }
        if !live.is_empty() {
            let (range, _) = &live[rng.random_range(0..live.len())];
            out.push(rng.random_range(range.clone()));
        }
    }
    let block = |at| {
        live.iter()
            .find(|(range, _)| range.contains(&at))
            .map(|(_, index)| *index)
    };
    out.into_iter().map(|at| (at, block(at))).collect()
}

#[tokio::test]
async fn turned_bits_are_found_and_never_printed() {
    let seed = std::env::var("POME_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    eprintln!("POME_SEED={seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let [intact, broken, scratch] =
        ["intact", "broken", "file"].map(|name| folder.path().join(name));
    let (blocks, checkpointed) = store_of_all_kinds(&Pome::new(&intact), &scratch).await;
    copy_store(&intact, &broken);
    let pome = Pome::new(&broken);
    assert_eq!(
        pome.json(&["store", "check"]).last().unwrap()["ok"],
        true,
        "a copy is as good as the store"
    );
    let mut names: Vec<PathBuf> = fs::read_dir(&intact)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    names.sort();
    let kinds: Vec<_> = names
        .iter()
        .filter_map(|path| path.file_name()?.to_str()?.split('-').next())
        .collect();
    for kind in ["log", "payload", "table", "manifest", "superblock"] {
        assert!(kinds.contains(&kind), "no {kind} in {kinds:?}");
    }
    let mut found_in_all = 0;
    for path in names {
        let name = path.file_name().unwrap().to_owned();
        if !fs::metadata(&path).unwrap().is_file() {
            continue;
        }
        let live = live(&path, &blocks, checkpointed);
        for (at, block) in places(&path, &live, &mut rng) {
            copy_store(&intact, &broken);
            let file = File::options()
                .read(true)
                .write(true)
                .open(broken.join(&name))
                .unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, at as u64).unwrap();
            byte[0] ^= 1 << rng.random_range(0..8);
            file.write_all_at(&byte, at as u64).unwrap();
            drop(file);
            let what = format!("{name:?} at {at}, in block {block:?}");

            let check = pome.run(&["--json", "store", "check"]);
            let found = !check.status.success();
            if found {
                assert_eq!(check.status.code(), Some(1), "{what}");
                found_in_all += 1;
            }
            let read = readable(&broken, blocks.len()).await;
            for (index, (read, written)) in read.iter().zip(&blocks).enumerate() {
                match read {
                    Some(read) => assert_eq!(read, written, "{what}: wrong bytes of block {index}"),
                    None => assert!(
                        found,
                        "{what}: block {index} is lost, and the check is clean"
                    ),
                }
            }
            if let Some(index) = block {
                let output = pome.run(&["core", "get", "log", &index.to_string()]);
                assert!(
                    output.stdout.is_empty() || output.stdout == blocks[index],
                    "{what}"
                );
                assert_eq!(output.status.success(), !output.stdout.is_empty(), "{what}");
            }
            let name = name.to_str().unwrap();
            // Elsewhere lie bytes that nothing needs any more, such as the commits below the last checkpoint: what counts there is that
            // nothing is lost, which is asserted above.
            if name.starts_with("table-") || block.is_some() {
                assert!(
                    found,
                    "{what}: not found by the check: {}",
                    String::from_utf8_lossy(&check.stdout)
                );
            }
        }
    }
    assert!(found_in_all > 30, "{found_in_all}");
}
