//! Sessions, waiting, closing, transactions, names and local keyspaces.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::Bytes;
use pome_cores::{
    CoreOptions, Corestore, CorestoreOptions, Durability, Error, GetOptions, Hypercore, Key,
    KeyPair, Manifest, SessionOptions, Store, Verifier,
};

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Default::default()).unwrap();
    (dir, store)
}

fn cores() -> (tempfile::TempDir, Corestore) {
    let (dir, store) = store();
    (dir, Corestore::open(store).unwrap())
}

const SOON: Duration = pome_test_support::PATIENCE;
const SHORT: Duration = Duration::from_millis(30);

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future).await.expect("it ends")
}

#[tokio::test]
async fn names_are_stable_and_namespaces_apart() {
    let (_dir, store) = store();
    let cores = Corestore::open(store.clone()).unwrap();
    let log = cores.get(CoreOptions::name("log")).await.unwrap();
    let app = cores.namespace("app");
    let other = app.get(CoreOptions::name("log")).await.unwrap();
    let deep = app
        .namespace("app")
        .get(CoreOptions::name("log"))
        .await
        .unwrap();
    assert_ne!(log.key(), other.key());
    assert_ne!(deep.key(), other.key());
    log.append("kept").await.unwrap();
    let (key, primary) = (log.key(), *cores.primary_key());
    let mut listed = cores.list().unwrap();
    listed.sort();
    let mut expected = [&log, &other, &deep].map(|core| core.discovery_key());
    expected.sort();
    assert_eq!(listed, expected);
    assert_eq!(
        app.names().unwrap(),
        [(Bytes::from("log"), other.discovery_key())]
    );
    drop((log, other, deep, app, cores));

    let cores = Corestore::open(store.clone()).unwrap();
    assert_eq!(*cores.primary_key(), primary);
    let log = cores.get(CoreOptions::name("log")).await.unwrap();
    assert_eq!((log.key(), log.length()), (key, 1));
    assert!(log.writable());
    let auth = cores.auth(&log.discovery_key()).unwrap().unwrap();
    assert_eq!(auth.key, key);
    assert_eq!(auth.manifest.unwrap().key(), key);
    assert_eq!(auth.key_pair.unwrap(), cores.create_key_pair("log"));

    let mut options = CorestoreOptions::default();
    options.primary_key = Some([1; 32]);
    let error = Corestore::open_with(store, options).unwrap_err();
    assert_eq!(error.code(), "STORAGE_CONFLICT");
}

#[tokio::test]
async fn what_can_be_opened() {
    let (_dir, cores) = cores();
    let pair = KeyPair::from_seed(&[5; 32]);
    let manifest = Manifest::single(pair.public);
    let nothing = cores.get(CoreOptions::default()).await.unwrap_err();
    assert_eq!(nothing.code(), "BAD_ARGUMENT");
    let dk = pome_cores::crypto::discovery_key(&manifest.key());
    let error = cores.get(CoreOptions::discovery_key(dk)).await.unwrap_err();
    assert_eq!(error.code(), "STORAGE_EMPTY");
    let options = CoreOptions::key(manifest.key()).with_create_if_missing(false);
    let error = cores.get(options).await.unwrap_err();
    assert_eq!(error.code(), "STORAGE_EMPTY");
    assert!(!cores.has(&manifest.key()).unwrap());

    let reader = cores.get(CoreOptions::key(manifest.key())).await.unwrap();
    assert!(!reader.writable() && reader.manifest().is_none());
    let error = reader.append("no").await.unwrap_err();
    assert!(matches!(error, Error::NotWritable { .. }));
    assert_eq!(error.code(), "SESSION_NOT_WRITABLE");
    let wrong = Manifest::single([9; 32]);
    let options = CoreOptions::key(manifest.key()).with_manifest(wrong);
    let error = cores.get(options).await.unwrap_err();
    assert_eq!(error.code(), "INVALID_CHECKSUM");

    // the manifest arrives; both sessions have it
    let options = CoreOptions::key_pair(pair.clone());
    let writer = cores.get(options).await.unwrap();
    assert_eq!(reader.manifest(), Some(manifest.clone()));
    writer.append("yes").await.unwrap();
    assert_eq!(reader.get(0).await.unwrap(), "yes");
    assert!(!reader.writable());

    let stranger = KeyPair::from_seed(&[6; 32]);
    let options = CoreOptions::key(manifest.key()).with_key_pair(stranger);
    let error = cores
        .get(options)
        .await
        .unwrap()
        .append("no")
        .await
        .unwrap_err();
    assert_eq!(error.code(), "BAD_ARGUMENT");
    assert_eq!(writer.length(), 1);

    let compat = CoreOptions::key(pair.public.into()).with_key_pair(pair);
    let compat = cores.get(compat).await.unwrap();
    compat.append("old").await.unwrap();
    assert_eq!(compat.signature().unwrap().len(), 64);
}

/// A head whose signature nobody has asked for has the one that it would have been given at once, for whoever asks later.
#[tokio::test]
async fn a_signature_is_what_it_was_whenever_it_is_made() {
    let (dir, cores) = cores();
    let log = cores.get(CoreOptions::name("log")).await.unwrap();
    let (pair, verifier) = (
        cores.create_key_pair("log"),
        Verifier::new(log.manifest().unwrap()),
    );
    let signed = |core: &Hypercore| {
        let tree = core.tree();
        let signature = verifier.sign(&tree, &pair).unwrap();
        assert_eq!(core.signature().unwrap(), signature);
        assert_eq!(tree.signature.clone().unwrap(), signature);
        assert!(verifier.verify(&tree, &signature));
        signature
    };
    log.append("one").await.unwrap();
    let first = signed(&log);
    let early = log.snapshot().unwrap();
    log.append("two").await.unwrap();
    let middle = log.snapshot().unwrap();
    log.append("three").await.unwrap();
    log.truncate(1).await.unwrap();
    log.clear(0..1).await.unwrap();
    assert_eq!(signed(&early), first);
    assert_eq!(middle.length(), 2);
    signed(&middle);
    let last = signed(&log);
    assert_ne!(last, first);
    drop((early, middle));

    // Who opens a core with a key pair of their own leaves a signature, since the pair does not stay here.
    let guest = KeyPair::from_seed(&[8; 32]);
    let manifest = Manifest::single(guest.public);
    let theirs = cores.get(CoreOptions::key(manifest.key())).await.unwrap();
    let options = CoreOptions::key(manifest.key())
        .with_manifest(manifest.clone())
        .with_key_pair(guest.clone());
    cores
        .get(options)
        .await
        .unwrap()
        .append("once")
        .await
        .unwrap();
    cores.close().await.unwrap();
    drop((log, theirs, cores));

    let cores = Corestore::open(Store::open(dir.path(), Default::default()).unwrap()).unwrap();
    let log = cores.get(CoreOptions::name("log")).await.unwrap();
    assert_eq!(signed(&log), last);
    assert!(log.audit(|_| {}).await.unwrap().problems.is_empty());
    let theirs = cores.get(CoreOptions::key(manifest.key())).await.unwrap();
    assert!(!theirs.writable());
    let signature = Verifier::new(manifest)
        .sign(&theirs.tree(), &guest)
        .unwrap();
    assert_eq!(theirs.signature().unwrap(), signature);
    assert!(theirs.audit(|_| {}).await.unwrap().problems.is_empty());
}

#[tokio::test]
async fn blocks_have_a_limit() {
    let (_dir, cores) = cores();
    let core = cores.get(CoreOptions::name("big")).await.unwrap();
    let limit = pome_cores::MAX_BLOCK_SIZE;
    core.append(vec![1; limit]).await.unwrap();
    let error = core.append(vec![1; limit + 1]).await.unwrap_err();
    assert_eq!(error.code(), "BAD_ARGUMENT");
    let mut transaction = cores.transaction();
    let blocks = vec![Bytes::from(vec![1; limit + 1])];
    let error = transaction.append(&core, blocks).await.unwrap_err();
    assert_eq!(error.code(), "BAD_ARGUMENT");
    assert_eq!(core.length(), 1);
}

#[tokio::test]
async fn gets_wait_for_appends() {
    let (_dir, cores) = cores();
    let core = cores.get(CoreOptions::name("log")).await.unwrap();
    let reader = core.clone();
    let get = tokio::spawn(async move { reader.get(1).await });
    let reader = core.session().unwrap();
    let seek = tokio::spawn(async move { reader.seek(4).await });
    let mut watch = core.watch();
    assert_eq!(*watch.borrow_and_update(), (0, 0));
    core.append("one").await.unwrap();
    core.append("two").await.unwrap();
    assert_eq!(soon(get).await.unwrap().unwrap(), "two");
    assert_eq!(soon(seek).await.unwrap().unwrap(), (1, 1));
    soon(watch.changed()).await.unwrap();
    assert_eq!(*watch.borrow_and_update(), (2, 0));
    core.truncate(1).await.unwrap();
    soon(watch.changed()).await.unwrap();
    assert_eq!(*watch.borrow_and_update(), (1, 1));

    let no_wait = GetOptions {
        no_wait: true,
        timeout: None,
    };
    assert_eq!(core.get_with(5, no_wait).await.unwrap(), None);
    let short = GetOptions {
        no_wait: false,
        timeout: Some(SHORT),
    };
    let error = core.get_with(5, short).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { index: 5, .. }));
    assert_eq!(error.code(), "REQUEST_TIMEOUT");

    let mut options = SessionOptions::default();
    options.wait = Some(false);
    let hasty = core.session_with(options).await.unwrap();
    let error = hasty.get(5).await.unwrap_err();
    assert_eq!(error.code(), "BLOCK_NOT_AVAILABLE");
    let options = CoreOptions::name("log")
        .with_timeout(SHORT)
        .with_writable(false);
    let limited = cores.get(options).await.unwrap();
    assert_eq!(limited.get(5).await.unwrap_err().code(), "REQUEST_TIMEOUT");
    assert!(!limited.writable());
    assert!(limited.append("no").await.is_err());
}

#[tokio::test]
async fn closing_ends_what_waits() {
    let (_dir, cores) = cores();
    let app = cores.namespace("app");
    let log = app.get(CoreOptions::name("log")).await.unwrap();
    let other = log.session().unwrap();
    let waiting = |core: &pome_cores::Hypercore| {
        let core = core.clone();
        tokio::spawn(async move { core.get(0).await })
    };
    let get = waiting(&other);
    tokio::task::yield_now().await;
    other.close().await.unwrap();
    assert!(matches!(soon(get).await.unwrap(), Err(Error::Closed)));
    assert!(other.is_closed() && !log.is_closed());
    assert!(other.snapshot().is_err() && other.session().is_err());
    log.append("goes on").await.unwrap();

    let root = cores.get(CoreOptions::name("root")).await.unwrap();
    let get = waiting(&log.session().unwrap());
    drop(get);
    let reader = app.get(CoreOptions::name("empty")).await.unwrap();
    let get = waiting(&reader);
    tokio::task::yield_now().await;
    app.close().await.unwrap();
    assert!(matches!(soon(get).await.unwrap(), Err(Error::Closed)));
    assert!(matches!(log.append("no").await, Err(Error::Closed)));
    assert!(app.get(CoreOptions::name("log")).await.is_err());
    assert!(!root.is_closed());

    let get = waiting(&root);
    tokio::task::yield_now().await;
    cores.close().await.unwrap();
    assert!(matches!(soon(get).await.unwrap(), Err(Error::Closed)));
    let error = cores.get(CoreOptions::name("log")).await.unwrap_err();
    assert_eq!(error.code(), "SESSION_CLOSED");
}

#[tokio::test]
async fn exclusive_sessions_wait_for_each_other() {
    let (_dir, cores) = cores();
    let exclusive = || CoreOptions::name("log").with_exclusive(true);
    let first = cores.get(exclusive()).await.unwrap();
    let plain = cores.get(CoreOptions::name("log")).await.unwrap();
    let view = cores.clone();
    let second = tokio::spawn(async move { view.get(exclusive()).await });
    tokio::task::yield_now().await;
    assert!(!second.is_finished());
    first.append("a").await.unwrap();
    first.close().await.unwrap();
    let second = soon(second).await.unwrap().unwrap();
    assert_eq!(second.length(), 1);
    // a reader is never exclusive
    let reader = cores.get(exclusive().with_writable(false));
    assert_eq!(soon(reader).await.unwrap().length(), 1);
    drop(second);
    soon(cores.get(exclusive())).await.unwrap();
    assert!(!plain.is_closed());
}

#[tokio::test]
async fn snapshots_keep_what_they_saw() {
    let (_dir, cores) = cores();
    let core = cores.get(CoreOptions::name("log")).await.unwrap();
    core.append_batch(vec!["a".into(), "b".into(), "c".into()])
        .await
        .unwrap();
    core.clear(1..2).await.unwrap();
    let snapshot = core.snapshot().unwrap();
    core.append("d").await.unwrap();
    assert_eq!((snapshot.length(), snapshot.contiguous_length()), (3, 1));
    core.truncate(1).await.unwrap();
    core.append("x").await.unwrap();
    assert_eq!((snapshot.length(), snapshot.fork()), (3, 0));
    assert_eq!(snapshot.get(2).await.unwrap(), "c");
    assert!(snapshot.writable() && snapshot.is_snapshot());
    let error = snapshot.append("no").await.unwrap_err();
    assert_eq!(error.code(), "INVALID_OPERATION");
    // block 1 was not here, and is another block now
    let error = snapshot.get(1).await.unwrap_err();
    assert_eq!(error.code(), "SNAPSHOT_NOT_AVAILABLE");
    let error = snapshot.get(3).await.unwrap_err();
    assert_eq!(error.code(), "SNAPSHOT_NOT_AVAILABLE");
    let again = snapshot.snapshot().unwrap();
    assert_eq!((again.length(), again.fork()), (3, 0));
    assert_eq!(core.get(1).await.unwrap(), "x");
}

#[tokio::test]
async fn transactions_are_all_or_nothing() {
    let (_dir, cores) = cores();
    let a = cores.get(CoreOptions::name("a")).await.unwrap();
    let b = cores.get(CoreOptions::name("b")).await.unwrap();
    let stranger = KeyPair::from_seed(&[6; 32]);
    let options = CoreOptions::key(b.key()).with_key_pair(stranger);
    let unsigned = cores.get(options).await.unwrap();
    let local = cores.local("state").unwrap();

    // the last core cannot be signed: nothing of it happens
    let mut transaction = cores.transaction();
    transaction.batch().put(local.space(), "k", "v");
    transaction.append(&a, vec!["1".into()]).await.unwrap();
    transaction
        .append(&unsigned, vec!["2".into()])
        .await
        .unwrap();
    let error = transaction.commit(Durability::Buffered).await.unwrap_err();
    assert_eq!(error.code(), "BAD_ARGUMENT");
    assert_eq!((a.length(), b.length()), (0, 0));
    assert_eq!(local.get(b"k").unwrap(), None);
    assert!(!a.has(0..1).await.unwrap());

    // dropped: nothing of it happens, and the locks are free
    let mut transaction = cores.transaction();
    transaction.append(&a, vec!["1".into()]).await.unwrap();
    drop(transaction);
    soon(a.append("0")).await.unwrap();

    let mut transaction = cores.transaction();
    transaction.lock(&[&b, &a]).await.unwrap();
    transaction.append(&a, vec!["1".into()]).await.unwrap();
    let appended = transaction.append(&a, vec!["2".into()]).await.unwrap();
    assert_eq!(appended.length, 3);
    transaction.append(&b, vec!["3".into()]).await.unwrap();
    transaction.batch().put(local.space(), "k", "v");
    // others wait until the end
    let other = b.clone();
    let append = tokio::spawn(async move { other.append("4").await });
    tokio::task::yield_now().await;
    assert_eq!((a.length(), b.length()), (1, 0));
    transaction.commit(Durability::Synced).await.unwrap();
    assert_eq!(a.length(), 3);
    soon(append).await.unwrap().unwrap();
    assert_eq!(b.get(1).await.unwrap(), "4");
    assert_eq!(local.get(b"k").unwrap().unwrap(), "v");
    for core in [&a, &b] {
        assert!(core.audit(|_| ()).await.unwrap().problems.is_empty());
    }
    let empty = cores.transaction();
    empty.commit(Durability::Buffered).await.unwrap();
}

#[tokio::test]
async fn purged_cores_are_gone() {
    let (_dir, cores) = cores();
    let core = cores.get(CoreOptions::name("log")).await.unwrap();
    let other = core.session().unwrap();
    core.append("a").await.unwrap();
    core.set_user_data("k", Some("v".into())).await.unwrap();
    core.purge().await.unwrap();
    assert!(other.is_closed());
    assert!(matches!(other.get(0).await, Err(Error::Closed)));
    assert!(matches!(other.append("b").await, Err(Error::Closed)));
    assert!(cores.list().unwrap().is_empty());
    assert!(cores.names().unwrap().is_empty());
    let again = cores.get(CoreOptions::name("log")).await.unwrap();
    assert_eq!((again.length(), again.key()), (0, core.key()));
    assert_eq!(again.user_data("k").await.unwrap(), None);
    drop((core, other));
    again.append("new").await.unwrap();
    let same = cores.get(CoreOptions::name("log")).await.unwrap();
    assert_eq!(same.length(), 1);
}

#[tokio::test]
async fn local_keyspaces() {
    let (_dir, store) = store();
    let cores = Corestore::open(store.clone()).unwrap();
    let pins = cores.local("pins/a").unwrap();
    cores.local("pins/b").unwrap();
    cores.local("other").unwrap();
    pins.put("x", "1").unwrap();
    pins.put("y", "2").unwrap();
    pins.delete("x").unwrap();
    assert_eq!(cores.locals("pins/").unwrap(), ["pins/a", "pins/b"]);
    assert_eq!(cores.locals("").unwrap().len(), 3);
    let journal = cores.journal("log").unwrap();
    let mut transaction = cores.transaction();
    let at = journal.append(transaction.batch(), "bytes".into());
    transaction.commit(Durability::Buffered).await.unwrap();
    drop((pins, cores));

    let cores = Corestore::open(store).unwrap();
    let pins = cores.local("pins/a").unwrap();
    let all: Vec<_> = pins.range(..).map(|entry| entry.unwrap()).collect();
    assert_eq!(all, [("y".into(), "2".into())]);
    let journal = cores.journal("log").unwrap();
    let mut read = [0; 5];
    journal.read_at(at, &mut read).unwrap();
    assert_eq!(&read, b"bytes");
    cores.remove_local("pins/a").unwrap();
    cores.remove_local("never was").unwrap();
    assert_eq!(cores.locals("pins/").unwrap(), ["pins/b"]);
    assert_eq!(cores.local("pins/a").unwrap().get(b"y").unwrap(), None);
    assert_eq!(
        cores.local(&"n".repeat(600)).err().unwrap().code(),
        "BAD_ARGUMENT"
    );
}

#[tokio::test]
async fn the_synced_length_follows_the_disk() {
    let (_dir, cores) = cores();
    let core = cores.get(CoreOptions::name("log")).await.unwrap();
    let blocks = vec!["a".into(), "b".into(), "c".into()];
    core.append_with(blocks, Durability::Synced).await.unwrap();
    assert_eq!(core.synced_length(), 3);
    core.append("d").await.unwrap();
    assert!(core.synced_length() >= 3);
    core.truncate(1).await.unwrap();
    assert!(core.synced_length() <= 1);
    core.append_with(vec!["e".into()], Durability::Synced)
        .await
        .unwrap();
    assert_eq!(core.synced_length(), 2);
}

#[tokio::test]
async fn proofs_carry_a_core_over() {
    use pome_cores::merkle::{NodeRequest, ProofRequest, UpgradeRequest};
    let (_dir, ours) = cores();
    let (_other, theirs) = cores();
    let core = ours.get(CoreOptions::name("log")).await.unwrap();
    let blocks = (0..20).map(|i| Bytes::from(format!("block {i}"))).collect();
    core.append_batch(blocks).await.unwrap();
    let reader = theirs.get(CoreOptions::key(core.key())).await.unwrap();
    let waiting = reader.clone();
    let get = tokio::spawn(async move { waiting.get(7).await });
    let request = ProofRequest {
        upgrade: Some(UpgradeRequest {
            start: 0,
            length: 20,
        }),
        ..ProofRequest::default()
    };
    let mut proof = core.proof(&request).await.unwrap();
    // a hash key needs its manifest
    assert!(reader.apply_proof(&proof).await.is_err());
    assert_eq!(reader.length(), 0);
    proof.manifest = core.manifest();
    assert!(reader.apply_proof(&proof).await.unwrap());
    assert_eq!((reader.length(), reader.contiguous_length()), (20, 0));
    for index in [7, 1, 0, 3, 2] {
        let nodes = |index| reader.node(index);
        let mut missing = 0;
        let mut at = 2 * index;
        while nodes(at).await.unwrap().is_none() {
            missing += 1;
            at = pome_cores::merkle::flat_tree::parent(at);
        }
        let request = ProofRequest {
            block: Some(NodeRequest {
                index,
                nodes: missing,
            }),
            ..ProofRequest::default()
        };
        let proof = core.proof(&request).await.unwrap();
        let mut wrong = proof.clone();
        wrong.block.as_mut().unwrap().value = "another".into();
        assert!(reader.apply_proof(&wrong).await.is_err());
        assert!(!reader.has(index..index + 1).await.unwrap());
        assert!(reader.apply_proof(&proof).await.unwrap());
        assert!(reader.has(index..index + 1).await.unwrap());
    }
    assert_eq!(soon(get).await.unwrap().unwrap(), "block 7");
    assert_eq!(reader.contiguous_length(), 4);
    assert!(reader.audit(|_| ()).await.unwrap().problems.is_empty());
    drop(reader);
    let reader = theirs.get(CoreOptions::key(core.key())).await.unwrap();
    assert_eq!(reader.tree(), core.tree());
    assert_eq!(reader.manifest(), core.manifest());
}

#[tokio::test]
async fn a_failed_commit_changes_nothing() {
    let (_dir, store) = store();
    let cores = Corestore::open(store.clone()).unwrap();
    let a = cores.get(CoreOptions::name("a")).await.unwrap();
    let b = cores.get(CoreOptions::name("b")).await.unwrap();
    a.append("1").await.unwrap();
    let mut transaction = cores.transaction();
    transaction.append(&a, vec!["2".into()]).await.unwrap();
    transaction.append(&b, vec!["3".into()]).await.unwrap();
    let before = (a.tree(), b.tree());
    // the store is closed under the cores
    store.close().unwrap();
    let error = transaction.commit(Durability::Buffered).await.unwrap_err();
    assert!(matches!(error, Error::Storage(_)));
    let error = a.append("2").await.unwrap_err();
    assert!(matches!(error, Error::Storage(_)));
    assert!(a.truncate(0).await.is_err());
    assert!(a.clear(0..1).await.is_err());
    assert_eq!((a.tree(), b.tree()), before);
    assert_eq!(*a.watch().borrow(), (1, 0));
    assert_eq!(a.contiguous_length(), 1);
}

#[tokio::test]
async fn a_transaction_does_not_take_cores_of_another_store() {
    let (_dir, here) = cores();
    let (_other_dir, other) = cores();
    let core = other.get(CoreOptions::name("log")).await.unwrap();
    let mut transaction = here.transaction();
    let refused = transaction.append(&core, vec!["a".into()]).await;
    assert!(matches!(refused, Err(Error::BadArgument { .. })));
    transaction.commit(Durability::Buffered).await.unwrap();
    assert_eq!(core.append("b").await.unwrap().length, 1);
}

#[tokio::test]
async fn no_fork_is_used_twice() {
    let (_dir, cores) = cores();
    let options = CoreOptions::name("log").with_encryption_key([7; 32]);
    let core = cores.get(options).await.unwrap();
    core.append_batch(vec!["a".into(), "b".into()])
        .await
        .unwrap();
    let first = core.stored_block(1).await.unwrap().unwrap();
    let refused = core.truncate_with(1, 0).await.unwrap_err();
    assert_eq!(refused.code(), "INVALID_OPERATION");
    assert_eq!((core.length(), core.fork()), (2, 0));
    core.truncate_with(1, 5).await.unwrap();
    core.append("b").await.unwrap();
    assert_ne!(core.stored_block(1).await.unwrap().unwrap(), first);
    assert_eq!(
        core.truncate_with(0, 4).await.unwrap_err().code(),
        "INVALID_OPERATION"
    );
    core.truncate_with(1, u64::MAX).await.unwrap();
    assert_eq!(
        core.truncate(0).await.unwrap_err().code(),
        "INVALID_OPERATION"
    );
}

#[tokio::test]
async fn a_write_that_waits_while_its_session_is_closed_is_not_made() {
    let (_dir, cores) = cores();
    let core = cores.get(CoreOptions::name("log")).await.unwrap();
    let session = core.session().unwrap();
    let mut transaction = cores.transaction();
    transaction.append(&core, vec!["a".into()]).await.unwrap();
    let waiting = tokio::spawn({
        let session = session.clone();
        async move { session.append("late").await }
    });
    tokio::time::sleep(SHORT).await;
    session.close().await.unwrap();
    transaction.commit(Durability::Buffered).await.unwrap();
    let late = soon(waiting).await.unwrap();
    assert!(matches!(late, Err(Error::Closed)));
    assert_eq!(core.length(), 1);
}

#[tokio::test]
async fn blocks_for_a_place_go_there_or_nowhere() {
    let (_dir, cores) = cores();
    let core = cores.get(CoreOptions::name("log")).await.unwrap();
    let at = |place, block: &'static str| {
        core.append_at(place, vec![block.into()], Durability::Buffered)
    };
    at((0, 0), "a").await.unwrap();
    assert!(matches!(
        at((0, 0), "b").await,
        Err(Error::Moved {
            length: 1,
            fork: 0,
            ..
        })
    ));
    core.append("b").await.unwrap();
    core.truncate(1).await.unwrap();
    assert!(matches!(
        at((1, 0), "c").await,
        Err(Error::Moved {
            length: 1,
            fork: 1,
            ..
        })
    ));
    assert_eq!(at((1, 1), "c").await.unwrap().length, 2);
}

#[tokio::test]
async fn a_closed_handle_gives_up_its_exclusive_sessions() {
    let (_dir, cores) = cores();
    let view = cores.session();
    let exclusive = || CoreOptions::name("log").with_exclusive(true);
    let held = view.get(exclusive()).await.unwrap();
    let next = tokio::spawn({
        let cores = cores.clone();
        async move { cores.get(exclusive()).await }
    });
    tokio::time::sleep(SHORT).await;
    assert!(!next.is_finished());
    view.close().await.unwrap();
    let next = soon(next).await.unwrap().unwrap();
    assert!(held.is_closed());
    assert_eq!(next.append("a").await.unwrap().length, 1);
    let waiting = tokio::spawn({
        let cores = cores.clone();
        async move { cores.get(exclusive()).await }
    });
    tokio::time::sleep(SHORT).await;
    cores.close().await.unwrap();
    assert!(matches!(soon(waiting).await.unwrap(), Err(Error::Closed)));
}

#[tokio::test]
async fn a_damaged_store_signs_nothing_until_the_loss_is_accepted() {
    let (dir, store) = store();
    let cores = Corestore::open(store.clone()).unwrap();
    let core = cores.get(CoreOptions::name("a")).await.unwrap();
    let other = cores.get(CoreOptions::name("b")).await.unwrap();
    for _ in 0..10 {
        core.append("block").await.unwrap();
        store.sync().unwrap();
    }
    other.append("the newest commit").await.unwrap();
    store.sync().unwrap();
    // the log as a crash leaves it, with the commit before the newest gone bad
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap();
        let mut bytes = std::fs::read(file.path()).unwrap();
        if file.file_name().to_string_lossy().starts_with("log-") {
            let end = bytes.iter().rposition(|b| *b != 0).unwrap();
            bytes[end / 2] ^= 1;
        }
        std::fs::write(copy.path().join(file.file_name()), bytes).unwrap();
    }
    let store = Store::open(copy.path(), Default::default()).unwrap();
    let cores = Corestore::open(store.clone()).unwrap();
    let other = cores.get(CoreOptions::name("b")).await.unwrap();
    let error = other.append("more").await.unwrap_err();
    assert_eq!(error.code(), "STORE_DAMAGED");
    assert!(error.to_string().contains("lost"), "{error}");
    assert_eq!(other.truncate(0).await.unwrap_err().code(), "STORE_DAMAGED");
    assert_eq!(other.length(), 1);
    store.accept_damage().unwrap();
    // it is a copy as well
    let error = other.append("more").await.unwrap_err();
    assert_eq!(error.code(), "STORE_RECOVERING");
    assert!(store.adopt().unwrap());
    other.append("more").await.unwrap();
    assert_eq!(other.length(), 2);
}

/// A key that somebody asked for and nobody had leaves nothing; whatever is known or said of it beside the key stays.
#[tokio::test]
async fn a_key_of_which_nothing_came_is_forgotten() {
    let (dir, store) = store();
    let cores = Corestore::open(store.clone()).unwrap();
    let key = |n: u8| Key([n; 32]);
    let unknown = cores.get(CoreOptions::key(key(1))).await.unwrap();
    let again = cores.get(CoreOptions::key(key(1))).await.unwrap();
    assert!(
        cores.has(&key(1)).unwrap(),
        "as long as somebody waits for it"
    );
    drop(unknown);
    assert!(cores.has(&key(1)).unwrap());
    drop(again);
    assert!(!cores.has(&key(1)).unwrap());
    assert!(cores.list().unwrap().is_empty());

    // It is asked for again, and something is said of it.
    let noted = cores.get(CoreOptions::key(key(1))).await.unwrap();
    noted
        .set_user_data("why", Some("a film".into()))
        .await
        .unwrap();
    let own = cores.get(CoreOptions::name("own")).await.unwrap();
    let signers = Manifest::single(KeyPair::random().public);
    let described = cores.get(CoreOptions::manifest(signers)).await.unwrap();
    let kept = [&noted, &own, &described].map(|core| core.discovery_key());
    drop((noted, own, described));
    for discovery_key in kept {
        assert!(cores.list().unwrap().contains(&discovery_key));
    }
    // Also when the store is closed while somebody waits.
    let waits = cores.get(CoreOptions::key(key(3))).await.unwrap();
    let kept_open = cores.get(CoreOptions::key(key(1))).await.unwrap();
    assert_eq!(cores.list().unwrap().len(), 4);
    cores.close().await.unwrap();
    drop((waits, kept_open, cores, store));
    let cores = Corestore::open(Store::open(dir.path(), Default::default()).unwrap()).unwrap();
    let mut listed = cores.list().unwrap();
    listed.sort();
    let mut expected = kept;
    expected.sort();
    assert_eq!(listed, expected);
}
