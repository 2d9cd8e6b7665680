//! Copies that do not sign, and cores that a disk has failed.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

use pome_cores::{CoreOptions, Corestore, Durability, Error, Hypercore, Store};
use std::{fs, ops::Range, path::Path, process::Command};

fn open(dir: &Path) -> Corestore {
    Corestore::open(Store::open(dir, Default::default()).unwrap()).unwrap()
}

async fn core(cores: &Corestore) -> Hypercore {
    cores.get(CoreOptions::name("log")).await.unwrap()
}

fn block(n: u64) -> Vec<u8> {
    [&n.to_be_bytes()[..], &vec![n as u8; 3000]].concat()
}

async fn filled(dir: &Path, blocks: Range<u64>) {
    let cores = open(dir);
    let log = core(&cores).await;
    log.append_with(
        blocks.map(|n| block(n).into()).collect(),
        Durability::Synced,
    )
    .await
    .unwrap();
    cores.store().checkpoint().unwrap();
    cores.close().await.unwrap();
}

/// Flips a bit in the file of the store that holds these bytes.
fn spoil(dir: &Path, prefix: &str, bytes: &[u8]) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.starts_with(prefix) {
            continue;
        }
        let mut content = fs::read(&path).unwrap();
        if let Some(at) = content.windows(bytes.len()).position(|w| w == bytes) {
            content[at + bytes.len() - 1] ^= 1;
            fs::write(&path, content).unwrap();
            return;
        }
    }
    panic!("no {prefix}… has these bytes");
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(done.unwrap().success());
}

#[tokio::test]
async fn a_copied_store_reads_and_does_not_sign() {
    let dir = tempfile::tempdir().unwrap();
    let (home, copied) = (dir.path().join("home"), dir.path().join("copy"));
    filled(&home, 0..5).await;
    copy(&home, &copied);
    let cores = open(&copied);
    let log = core(&cores).await;
    assert_eq!(log.get(4).await.unwrap(), block(4));
    let refused = log.append("more").await.unwrap_err();
    assert!(matches!(refused, Error::Recovering { .. }));
    assert_eq!(refused.code(), "STORE_RECOVERING");
    assert!(
        refused.to_string().contains("pome store adopt"),
        "{refused}"
    );
    assert_eq!(
        log.truncate(2).await.unwrap_err().code(),
        "STORE_RECOVERING"
    );
    let mut transaction = cores.transaction();
    transaction.append(&log, vec!["x".into()]).await.unwrap();
    let refused = transaction.commit(Default::default()).await.unwrap_err();
    assert_eq!(refused.code(), "STORE_RECOVERING");
    let other = cores.get(CoreOptions::name("new")).await.unwrap();
    let refused = other.append("first").await.unwrap_err();
    assert_eq!(
        refused.code(),
        "STORE_RECOVERING",
        "it may be in the other copy"
    );
    assert_eq!((log.length(), other.length()), (5, 0));
    // What is local goes on.
    log.set_user_data("a", Some("b".into())).await.unwrap();
    assert_eq!(log.clear(0..1).await.unwrap(), 1);

    // Peers were asked: one knows of a block more.
    assert!(!log.recovered(6).await.unwrap());
    assert_eq!(
        log.append("x").await.unwrap_err().code(),
        "STORE_RECOVERING"
    );
    assert!(log.recovered(5).await.unwrap());
    log.append("x").await.unwrap();
    assert_eq!(
        other.append("x").await.unwrap_err().code(),
        "STORE_RECOVERING"
    );
    cores.close().await.unwrap();

    let cores = open(&copied);
    let log = core(&cores).await;
    log.append("y").await.unwrap();
    cores.close().await.unwrap();
    // Copied again: what was found out then does not hold now.
    let again = dir.path().join("again");
    copy(&copied, &again);
    let cores = open(&again);
    let log = core(&cores).await;
    assert_eq!(
        log.append("z").await.unwrap_err().code(),
        "STORE_RECOVERING"
    );
    cores.store().adopt().unwrap();
    log.append("z").await.unwrap();
    assert_eq!(log.length(), 8);
    // And the original never knew.
    core(&open(&home)).await.append("x").await.unwrap();
}

#[tokio::test]
async fn lost_blocks_become_missing_and_are_remembered() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 0..40).await;
    spoil(dir.path(), "payload-", &block(7));
    spoil(dir.path(), "payload-", &block(8));
    spoil(dir.path(), "payload-", &block(30));
    let cores = open(dir.path());
    let log = core(&cores).await;
    assert_eq!(log.get(7).await.unwrap_err().code(), "CORRUPT");
    assert!(log.has(7..8).await.unwrap());
    let repaired = cores.repair(&mut |_, _| {}).await.unwrap();
    assert!(repaired.left.is_empty(), "{:?}", repaired.left);
    assert_eq!(repaired.cores.len(), 1);
    assert_eq!(repaired.cores[0].0, log.key());
    assert_eq!(repaired.cores[0].1.lost, [7..9, 30..31]);
    assert!(repaired.accepted.is_empty() && !cores.store().is_recovering());
    assert!(!log.has(7..8).await.unwrap());
    assert_eq!(log.lost().unwrap(), [7..9, 30..31]);
    assert_eq!((log.length(), log.contiguous_length()), (40, 7));
    for n in (0..7).chain(9..30).chain(31..40) {
        assert_eq!(log.get(n).await.unwrap(), block(n), "block {n}");
    }
    assert!(log.audit(|_| {}).await.unwrap().problems.is_empty());
    let again = cores.repair(&mut |_, _| {}).await.unwrap();
    assert!(again.cores.is_empty() && again.left.is_empty());
    // Its own history is whole: it goes on.
    log.append("more").await.unwrap();
    cores.close().await.unwrap();
    let cores = open(dir.path());
    let log = core(&cores).await;
    assert_eq!(log.lost().unwrap(), [7..9, 30..31]);
    log.clear(7..8).await.unwrap();
    assert_eq!(log.lost().unwrap(), [8..9, 30..31], "cleared on purpose");
    log.truncate(20).await.unwrap();
    assert_eq!(
        log.lost().unwrap(),
        std::slice::from_ref(&(8..9)),
        "cut off"
    );
    let report = cores.store().check(&mut |_, _| {}).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
}

#[tokio::test]
async fn a_table_that_lost_nodes_is_made_good() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 0..1000).await;
    // A tree node in the middle: a leaf of the index with some dozens of nodes is gone.
    let hash = {
        let cores = open(dir.path());
        let log = core(&cores).await;
        let node = log.node(801).await.unwrap().unwrap();
        cores.close().await.unwrap();
        node.hash
    };
    spoil(dir.path(), "table-", &hash);
    let cores = open(dir.path());
    let log = core(&cores).await;
    assert_eq!(log.node(801).await.unwrap_err().code(), "CORRUPT");
    let repaired = cores.repair(&mut |_, _| {}).await.unwrap();
    assert!(repaired.left.is_empty(), "{:?}", repaired.left);
    let (_, done) = &repaired.cores[0];
    assert!(done.nodes > 10 && done.lost.is_empty(), "{done:?}");
    assert!(!cores.store().is_damaged() && !cores.store().is_recovering());
    assert_eq!(log.node(801).await.unwrap().unwrap().hash, hash);
    assert!(log.audit(|_| {}).await.unwrap().problems.is_empty());
    log.append("more").await.unwrap();
}

#[tokio::test]
async fn a_table_that_lost_blocks_makes_them_missing() {
    let dir = tempfile::tempdir().unwrap();
    let cores = open(dir.path());
    let log = core(&cores).await;
    let small = |n: u64| format!("a small block with number {n:05}");
    let blocks = (0..1000).map(|n| small(n).into()).collect();
    log.append_with(blocks, Durability::Synced).await.unwrap();
    cores.store().checkpoint().unwrap();
    cores.close().await.unwrap();
    drop((cores, log));
    spoil(dir.path(), "table-", small(500).as_bytes());
    let cores = open(dir.path());
    let log = core(&cores).await;
    assert_eq!(log.get(500).await.unwrap_err().code(), "CORRUPT");
    let repaired = cores.repair(&mut |_, _| {}).await.unwrap();
    assert!(repaired.left.is_empty(), "{:?}", repaired.left);
    let lost = log.lost().unwrap();
    assert_eq!(lost.len(), 1);
    assert!(
        lost[0].contains(&500) && lost[0].end - lost[0].start < 150,
        "{lost:?}"
    );
    assert_eq!(log.contiguous_length(), lost[0].start);
    for n in 0..1000 {
        assert_eq!(log.has(n..n + 1).await.unwrap(), !lost[0].contains(&n));
    }
    assert_eq!(log.get(999).await.unwrap(), small(999));
    assert!(log.audit(|_| {}).await.unwrap().problems.is_empty());
    log.append("more").await.unwrap();
}

#[tokio::test]
async fn lost_commits_make_the_store_recover() {
    let dir = tempfile::tempdir().unwrap();
    let cores = open(dir.path());
    let log = core(&cores).await;
    for n in 0..20 {
        log.append(format!("number {n:04} of the log"))
            .await
            .unwrap();
    }
    cores.close().await.unwrap();
    drop((cores, log));
    spoil(dir.path(), "log-", b"number 0013 of the log");
    let cores = open(dir.path());
    assert!(cores.store().is_damaged());
    let log = core(&cores).await;
    assert_eq!(log.append("x").await.unwrap_err().code(), "STORE_DAMAGED");
    let repaired = cores.repair(&mut |_, _| {}).await.unwrap();
    assert_eq!(repaired.accepted.len(), 1, "{repaired:?}");
    assert!(!cores.store().is_damaged() && cores.store().is_recovering());
    assert_eq!(
        log.append("x").await.unwrap_err().code(),
        "STORE_RECOVERING"
    );
    cores.close().await.unwrap();
    assert!(open(dir.path()).store().is_recovering());
}
