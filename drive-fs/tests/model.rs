//! A drive beside the plainest reference there is: a sorted map from path to content, and one such map for each version.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use bytes::Bytes;
use futures_util::TryStreamExt;
use pome_cores::{Corestore, Durability};
use pome_drive_fs::{DriveOptions, EntryValue, Hyperdrive, ListOptions, PutOptions};
use pome_storage::{Options, Store};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, PartialEq)]
enum File {
    Content(Vec<u8>, bool),
    Link(String),
}

type Files = BTreeMap<String, File>;

#[derive(Debug, Clone)]
enum Op {
    Put(String, usize, u8, bool),
    Stream(String, Vec<u16>, u8),
    PutStream(String, Vec<u16>, u8),
    Dedup(String, Vec<u8>),
    Link(String, String),
    Del(String),
    Batch(Vec<Op>),
    Truncate(prop::sample::Index),
    Reopen,
}

fn path() -> impl Strategy<Value = String> {
    let name = prop_oneof!["[ab]", "a[-.0]", "é"];
    proptest::collection::vec(name, 1..4).prop_map(|names| format!("/{}", names.join("/")))
}

fn simple() -> impl Strategy<Value = Op> {
    let size = prop_oneof![0..20usize, 65_530..65_540usize, 130_000..200_000usize];
    prop_oneof![
        4 => (path(), size, any::<u8>(), any::<bool>()).prop_map(|(p, n, b, x)| Op::Put(p, n, b, x)),
        1 => (path(), "[./ab]{1,5}").prop_map(|(p, t)| Op::Link(p, t)),
        2 => path().prop_map(Op::Del),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let chunks = proptest::collection::vec(any::<u16>(), 0..8);
    prop_oneof![
        8 => simple(),
        1 => (path(), chunks.clone(), any::<u8>()).prop_map(|(p, c, b)| Op::Stream(p, c, b)),
        1 => (path(), chunks, any::<u8>()).prop_map(|(p, c, b)| Op::PutStream(p, c, b)),
        1 => (path(), proptest::collection::vec(0..4u8, 0..8)).prop_map(|(p, c)| Op::Dedup(p, c)),
        2 => proptest::collection::vec(simple(), 0..8).prop_map(Op::Batch),
        1 => any::<prop::sample::Index>().prop_map(Op::Truncate),
        1 => Just(Op::Reopen),
    ]
}

fn content(size: usize, salt: u8) -> Vec<u8> {
    (0..size).map(|n| (n % 251) as u8 ^ salt).collect()
}

fn executable(executable: bool) -> PutOptions {
    PutOptions {
        executable,
        ..PutOptions::default()
    }
}

fn reference(files: &mut Files, op: &Op) {
    match op {
        Op::Put(path, size, salt, executable) => {
            files.insert(
                path.clone(),
                File::Content(content(*size, *salt), *executable),
            );
        }
        Op::Link(path, target) => {
            files.insert(path.clone(), File::Link(target.clone()));
        }
        Op::Del(path) => {
            files.remove(path);
        }
        Op::Stream(path, chunks, salt) | Op::PutStream(path, chunks, salt) => {
            let all = chunks
                .iter()
                .flat_map(|n| content(*n as usize, *salt))
                .collect();
            files.insert(path.clone(), File::Content(all, false));
        }
        Op::Dedup(path, chunks) => {
            let all = chunks.iter().flat_map(|n| content(100, *n)).collect();
            files.insert(path.clone(), File::Content(all, false));
        }
        Op::Batch(ops) => ops.iter().for_each(|op| reference(files, op)),
        Op::Truncate(_) | Op::Reopen => {}
    }
}

async fn apply(drive: &Hyperdrive, op: &Op) {
    match op {
        Op::Put(path, size, salt, x) => {
            drive
                .put(path, content(*size, *salt), executable(*x))
                .await
                .unwrap();
        }
        Op::Link(path, target) => drive.symlink(path, target, None).await.unwrap(),
        Op::Del(path) => drive.del(path).await.unwrap(),
        Op::Stream(path, chunks, salt) | Op::PutStream(path, chunks, salt) => {
            let mut stream = match op {
                Op::Stream(..) => drive
                    .write_stream(path, PutOptions::default())
                    .await
                    .unwrap(),
                _ => drive.put_stream(path, PutOptions::default()).await.unwrap(),
            };
            for size in chunks {
                stream.write(content(*size as usize, *salt)).await.unwrap();
            }
            stream.finish().await.unwrap();
        }
        Op::Dedup(path, chunks) => {
            let mut stream = drive
                .dedup_stream(path, PutOptions::default())
                .await
                .unwrap();
            for salt in chunks {
                stream.write(content(100, *salt)).await.unwrap();
            }
            stream.finish().await.unwrap();
        }
        Op::Batch(ops) => {
            let mut batch = drive.batch().unwrap();
            for op in ops {
                match op {
                    Op::Put(path, size, salt, x) => {
                        batch
                            .put(path, content(*size, *salt), executable(*x))
                            .unwrap();
                    }
                    Op::Link(path, target) => {
                        batch.put_entry(path, EntryValue::symlink(target)).unwrap()
                    }
                    Op::Del(path) => batch.del(path).unwrap(),
                    other => panic!("not in a batch: {other:?}"),
                }
            }
            batch.flush(Durability::Buffered).await.unwrap();
        }
        Op::Truncate(_) | Op::Reopen => {}
    }
}

async fn check(drive: &Hyperdrive, files: &Files) {
    let entries: Vec<_> = drive
        .list("/", ListOptions::default())
        .try_collect()
        .await
        .unwrap();
    let listed: Vec<&str> = entries.iter().map(|e| e.path.as_str()).collect();
    assert_eq!(listed, files.keys().map(String::as_str).collect::<Vec<_>>());
    for (entry, file) in entries.iter().zip(files.values()) {
        let path = entry.path.as_str();
        assert_eq!(drive.entry(path).await.unwrap().as_ref(), Some(entry));
        match file {
            File::Link(target) => {
                assert_eq!(entry.value.linkname.as_ref(), Some(target));
                assert_eq!(drive.get(path).await.unwrap(), None);
            }
            File::Content(content, executable) => {
                assert_eq!(entry.value.executable, *executable);
                assert_eq!(
                    drive.get(path).await.unwrap().as_deref(),
                    Some(&content[..])
                );
                assert_eq!(
                    drive.content_length(entry).await.unwrap(),
                    content.len() as u64
                );
                for (offset, len) in [
                    (0, 7),
                    (content.len() / 2, 70_000),
                    (content.len() - content.len().min(3), 9),
                ] {
                    let expected = &content[offset..content.len().min(offset + len)];
                    let read = drive.read_at(entry, offset as u64, len).await.unwrap();
                    assert_eq!(read, Bytes::copy_from_slice(expected));
                }
            }
        }
    }
    let folders: BTreeSet<&str> = files
        .keys()
        .flat_map(|path| path.match_indices('/').map(|(at, _)| &path[..at]))
        .chain(["/none"])
        .collect();
    for folder in folders {
        let mut names: Vec<String> = drive.readdir(folder).try_collect().await.unwrap();
        names.sort_unstable();
        let expected: BTreeSet<&str> = files
            .keys()
            .filter_map(|path| {
                path.strip_prefix(folder)?
                    .strip_prefix('/')?
                    .split('/')
                    .next()
            })
            .collect();
        assert_eq!(names, expected.into_iter().collect::<Vec<_>>(), "{folder}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn a_drive_is_a_sorted_map_with_a_history(ops in proptest::collection::vec(op(), 1..25), encrypted: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let home = tempfile::tempdir().unwrap();
            let options = DriveOptions { encryption_key: encrypted.then_some([7; 32]), ..Default::default() };
            let open = async || {
                let store = Store::open(home.path(), Options::default()).unwrap();
                let store = Corestore::open(store).unwrap();
                Hyperdrive::open(store, options.clone()).await.unwrap()
            };
            let mut drive = open().await;
            let mut files = Files::new();
            let mut versions = BTreeMap::from([(drive.version(), files.clone())]);
            for op in &ops {
                match op {
                    Op::Reopen => {
                        drive.corestore().close().await.unwrap();
                        drop(drive);
                        drive = open().await;
                    }
                    Op::Truncate(to) => {
                        let all: Vec<u64> = versions.keys().copied().collect();
                        let version = all[to.index(all.len())];
                        drive.truncate(version).await.unwrap();
                        versions.retain(|v, _| *v <= version);
                        files = versions[&version].clone();
                    }
                    op => {
                        apply(&drive, op).await;
                        reference(&mut files, op);
                        versions.insert(drive.version(), files.clone());
                    }
                }
                assert_eq!(drive.version().max(1), *versions.keys().last().unwrap());
            }
            check(&drive, &files).await;
            for (version, files) in &versions {
                check(&drive.checkout(*version).unwrap(), files).await;
            }
        });
    }
}
