//! The rest of npm's face of cores and stores: streams, values, ciphers, marks, watchers, suspension.
#![allow(clippy::unwrap_used, reason = "a failure is the test's message")]

mod net;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use net::{Clock, Place, Wire, settle};
use pome_cores::{
    BlockCipher, ByteStreamOptions, CoreOptions, Corestore, CorestoreOptions, Durability, Error,
    GetOptions, Hypercore, OnWait, ReadStreamOptions, SessionOptions, Store,
};
use pome_encoding::{Charset, RAW_JSON, RawText, UINT32};

fn cores() -> (tempfile::TempDir, Corestore) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), Default::default()).unwrap();
    let cores = Corestore::open(store).unwrap();
    (dir, cores)
}

async fn log(cores: &Corestore, blocks: &[&str]) -> Hypercore {
    let core = cores.get(CoreOptions::name("log")).await.unwrap();
    let blocks = blocks.iter().map(|block| Bytes::from(block.to_string()));
    core.append_batch(blocks.collect()).await.unwrap();
    core
}

fn blocks(range: std::ops::Range<u64>) -> Vec<Bytes> {
    range.map(|n| format!("block {n}").into()).collect()
}

/// The answer of something that must not wait for anything outside of the test.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    let limit = pome_test_support::PATIENCE;
    tokio::time::timeout(limit, future).await.unwrap()
}

/// True when a future is not ready though everything else had its turn.
async fn waits<T>(future: &mut (impl Future<Output = T> + Unpin)) -> bool {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    futures_util::FutureExt::now_or_never(future).is_none()
}

async fn all(core: &Hypercore, change: impl FnOnce(&mut ReadStreamOptions)) -> Vec<Bytes> {
    let mut options = ReadStreamOptions::default();
    change(&mut options);
    soon(core.read_stream(options).try_collect()).await.unwrap()
}

#[tokio::test]
async fn streams_of_blocks() {
    let (_dir, cores) = cores();
    let core = log(&cores, &["a", "b", "c", "d"]).await;
    assert_eq!(all(&core, |_| ()).await, ["a", "b", "c", "d"]);
    assert_eq!(all(&core, |o| o.start = 2).await, ["c", "d"]);
    assert_eq!(all(&core, |o| o.end = Some(2)).await, ["a", "b"]);
    assert_eq!(all(&core, |o| o.start = 9).await, [""; 0]);
    let reverse = all(&core, |o| {
        (o.start, o.end, o.reverse) = (1, Some(3), true);
    });
    assert_eq!(reverse.await, ["c", "b"]);
    assert_eq!(all(&core, |o| o.reverse = true).await, ["d", "c", "b", "a"]);

    // the length of its start is the end of a snapshot, and of no other
    for snapshot in [true, false] {
        let mut options = ReadStreamOptions::default();
        options.snapshot = snapshot;
        let mut stream = core.read_stream(options);
        let before = core.length();
        soon(stream.try_next()).await.unwrap().unwrap();
        core.append("later").await.unwrap();
        let rest: Vec<_> = soon(stream.try_collect()).await.unwrap();
        let read = 1 + rest.len() as u64;
        assert_eq!(read, before + u64::from(!snapshot));
    }

    // an end beyond the core is waited for; with no leave to wait it is an error
    let end = core.length() + 1;
    let mut options = ReadStreamOptions::default();
    (options.start, options.end) = (end - 1, Some(end));
    let mut stream = core.read_stream(options.clone());
    let mut next = Box::pin(stream.try_next());
    assert!(waits(&mut next).await);
    core.append("the end").await.unwrap();
    assert_eq!(soon(next).await.unwrap().unwrap(), "the end");
    assert!(soon(stream.try_next()).await.unwrap().is_none());
    core.clear(0..1).await.unwrap();
    options = ReadStreamOptions::default();
    options.get.no_wait = true;
    let mut stream = core.read_stream(options);
    let error = soon(stream.try_next()).await.unwrap_err();
    assert_eq!(error.code(), "BLOCK_NOT_AVAILABLE");
    assert!(soon(stream.try_next()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_live_stream_goes_on() {
    let (_dir, cores) = cores();
    let core = log(&cores, &["a"]).await;
    let mut options = ReadStreamOptions::default();
    options.live = true;
    let mut stream = core.read_stream(options);
    assert_eq!(soon(stream.try_next()).await.unwrap().unwrap(), "a");
    for n in 0..20 {
        let mut next = Box::pin(stream.try_next());
        assert!(waits(&mut next).await);
        core.append(format!("{n}")).await.unwrap();
        assert_eq!(soon(next).await.unwrap().unwrap(), format!("{n}"));
    }
    // as npm's: after a truncation it goes on at the next index
    core.truncate(5).await.unwrap();
    core.append_batch(blocks(5..30)).await.unwrap();
    let next = soon(stream.try_next()).await.unwrap().unwrap();
    assert_eq!(next, "block 21");
    core.close().await.unwrap();
    let end = soon(stream.try_next()).await;
    assert!(end.is_err() || end.unwrap().is_some());
}

#[tokio::test]
async fn streams_of_bytes() {
    let (_dir, cores) = cores();
    let core = log(&cores, &["0123", "", "45", "6789"]).await;
    let whole = b"0123456789";
    for offset in 0..=10 {
        for length in (0..=10 - offset).map(Some).chain([None]) {
            let mut options = ByteStreamOptions::default();
            (options.byte_offset, options.byte_length) = (offset, length);
            let pieces: Vec<Bytes> = soon(core.byte_stream(options).try_collect()).await.unwrap();
            assert!(pieces.iter().all(|piece| !piece.is_empty()));
            let end = length.map_or(10, |length| offset + length);
            assert_eq!(pieces.concat(), whole[offset as usize..end as usize]);
        }
    }
    let mut options = ByteStreamOptions::default();
    options.byte_offset = 99;
    assert!(soon(core.byte_stream(options).next()).await.is_none());

    // padding is not counted
    let secret = CoreOptions::name("secret").with_encryption_key([1; 32]);
    let core = cores.get(secret).await.unwrap();
    core.append_batch(vec!["abc".into(), "def".into()])
        .await
        .unwrap();
    let mut options = ByteStreamOptions::default();
    (options.byte_offset, options.byte_length) = (2, Some(3));
    let pieces: Vec<Bytes> = soon(core.byte_stream(options).try_collect()).await.unwrap();
    assert_eq!(pieces, ["c", "de"]);
}

#[tokio::test]
async fn a_stream_is_appended() {
    let (_dir, cores) = cores();
    let core = log(&cores, &["first"]).await;
    let items = stream::iter((0..3000).map(|n| format!("{n}")));
    let appended = core.append_stream(items, Durability::Buffered).await;
    assert_eq!(appended.unwrap().length, 3001);
    assert_eq!(core.get(3000).await.unwrap(), "2999");
    // what is not ready together is appended apart: others see it as it comes
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(4);
    let items = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|item| (item, receiver))
    });
    let writer = core.clone();
    let task = tokio::spawn(async move { writer.append_stream(items, Durability::Synced).await });
    sender.send("now".into()).await.unwrap();
    assert_eq!(soon(core.get(3001)).await.unwrap(), "now");
    drop(sender);
    assert_eq!(soon(task).await.unwrap().unwrap().length, 3002);
    let none = core.append_stream(stream::empty::<Bytes>(), Durability::Buffered);
    assert_eq!(none.await.unwrap().length, 3002);
}

#[tokio::test]
async fn a_stream_fetches_ahead() {
    let (a, b, clock) = (Place::new(), Place::new(), Clock::new());
    let writer = log(&a.cores, &[]).await;
    writer.append_batch(blocks(0..200)).await.unwrap();
    let copy = b.cores.get(CoreOptions::key(writer.key())).await.unwrap();
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    let reader = copy.clone();
    let read = tokio::spawn(async move {
        let mut stream = reader.read_stream(ReadStreamOptions::default());
        let first = stream.try_next().await.unwrap().unwrap();
        (first, stream)
    });
    tokio::task::yield_now().await;
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    let (first, stream) = soon(read).await.unwrap();
    assert_eq!(first, "block 0");
    assert_eq!(copy.contiguous_length(), 32, "asked for at once");
    let read = tokio::spawn(stream.try_collect::<Vec<_>>());
    while !read.is_finished() {
        tokio::task::yield_now().await;
        settle(&mut [&mut wire], &[&a, &b], clock.0);
    }
    assert_eq!(read.await.unwrap().unwrap(), blocks(1..200));
    let mut options = ByteStreamOptions::default();
    options.byte_offset = 3;
    let bytes: Vec<Bytes> = soon(copy.byte_stream(options).try_collect()).await.unwrap();
    assert_eq!(bytes.concat(), blocks(0..200).concat()[3..]);
}

#[tokio::test]
async fn values_come_back() {
    let (_dir, cores) = cores();
    let core = cores.get(CoreOptions::name("json")).await.unwrap();
    let json = core.typed(RAW_JSON);
    let values = [
        serde_json::json!({"b": [1, null], "a": "x"}),
        serde_json::json!("text"),
    ];
    json.append_batch(&values).await.unwrap();
    assert_eq!(core.get(0).await.unwrap(), r#"{"b":[1,null],"a":"x"}"#);
    assert_eq!(json.get(1).await.unwrap(), "text");
    let stream = json.read_stream(ReadStreamOptions::default());
    assert_eq!(stream.try_collect::<Vec<_>>().await.unwrap(), values);
    let no_wait = GetOptions {
        no_wait: true,
        ..GetOptions::default()
    };
    assert_eq!(json.get_with(7, no_wait).await.unwrap(), None);

    for (charset, text, bytes) in [
        (Charset::Utf8, "é", &b"\xc3\xa9"[..]),
        (Charset::Hex, "00ff", b"\x00\xff"),
        (Charset::Base64, "AP8=", b"\x00\xff"),
        (Charset::Ascii, "a", b"a"),
        (Charset::Ucs2, "é", b"\xe9\x00"),
    ] {
        let typed = core.typed(RawText(charset));
        let at = typed.append(&text.to_owned()).await.unwrap().length - 1;
        assert_eq!(core.get(at).await.unwrap(), bytes);
        assert_eq!(typed.get(at).await.unwrap(), text);
    }

    // what does not fit has an error with a name, and nothing is appended
    let length = core.length();
    let hex = core.typed(RawText(Charset::Hex));
    let error = hex.append(&"no hex".to_owned()).await.unwrap_err();
    assert_eq!(error.code(), "BAD_ARGUMENT");
    assert_eq!(core.length(), length);
    core.append("{").await.unwrap();
    let error = json.get(length).await.unwrap_err();
    assert!(matches!(error, Error::BadValue { index, .. } if index == length));
    assert_eq!(error.code(), "DECODING_ERROR");
    let mut options = ReadStreamOptions::default();
    (options.start, options.reverse) = (1, true);
    let error = json.read_stream(options).try_next().await.unwrap_err();
    assert!(matches!(error, Error::BadValue { index, .. } if index == length));
    let fixed = core.typed(UINT32);
    assert_eq!(
        fixed.get(length).await.unwrap_err().code(),
        "DECODING_ERROR"
    );
}

/// Turns bits and puts a word in front.
struct Mask(u8);

impl BlockCipher for Mask {
    fn padding(&self) -> usize {
        4
    }
    fn encrypt(&self, index: u64, fork: u64, block: &[u8]) -> Vec<u8> {
        let mask = self.0 ^ index as u8 ^ fork as u8;
        let masked = block.iter().map(|byte| byte ^ mask);
        [b'm', mask, 0, 0].into_iter().chain(masked).collect()
    }
    fn decrypt(&self, _: u64, stored: &[u8]) -> Option<Vec<u8>> {
        match stored {
            [b'm', mask, 0, 0, rest @ ..] => Some(rest.iter().map(|byte| byte ^ mask).collect()),
            _ => None,
        }
    }
}

#[tokio::test]
async fn a_cipher_of_ones_own() {
    let (_dir, cores) = cores();
    let options = CoreOptions::name("own").with_cipher(Arc::new(Mask(7)));
    let core = cores.get(options).await.unwrap();
    core.append_batch(vec!["abc".into(), "de".into()])
        .await
        .unwrap();
    assert_eq!((core.padding(), core.byte_length()), (4, 5));
    assert_eq!(core.get(1).await.unwrap(), "de");
    assert_eq!(core.seek(4).await.unwrap(), (1, 1));
    let stored = core.stored_block(1).await.unwrap().unwrap();
    assert_eq!(stored[..], Mask(7).encrypt(1, 0, b"de"));
    let plain = cores.get(CoreOptions::name("own")).await.unwrap();
    assert_eq!(plain.get(1).await.unwrap(), stored);
    plain.append("not masked").await.unwrap();
    let error = core.get(2).await.unwrap_err();
    assert!(matches!(error, Error::Undecryptable { index: 2, .. }));
    assert_eq!(error.code(), "DECODING_ERROR");
    plain.set_cipher(Some(Arc::new(Mask(0))));
    assert_eq!(plain.get(0).await.unwrap(), "abc");
    plain.set_cipher(None);
    assert_eq!(plain.get(2).await.unwrap(), "not masked");
    plain.set_encryption_key(Some([1; 32]));
    plain.append("by key").await.unwrap();
    assert_eq!(plain.get(3).await.unwrap(), "by key");
    assert_eq!(core.get(3).await.unwrap_err().code(), "DECODING_ERROR");
}

#[tokio::test]
async fn a_seek_after_a_truncation_knows_nothing_of_what_was_cut_off() {
    let (_dir, cores) = cores();
    let core = log(&cores, &["a", "bb", "ccc", "dddd", "e"]).await;
    assert_eq!(core.seek(7).await.unwrap(), (3, 1));
    let before = core.snapshot().unwrap();
    core.truncate(1).await.unwrap();
    core.append_batch(vec!["f".into(); 9]).await.unwrap();
    for byte in 0..10 {
        assert_eq!(core.seek(byte).await.unwrap(), (byte, 0));
    }
    assert_eq!(before.seek(7).await.unwrap(), (3, 1));
    assert_eq!(before.seek(2).await.unwrap(), (1, 1));
}

#[tokio::test]
async fn appends_within_a_length() {
    let (_dir, cores) = cores();
    let core = log(&cores, &["a", "b"]).await;
    let append = |max, count| core.append_within(max, blocks(0..count), Durability::Buffered);
    let appended = append(3, 2).await.unwrap();
    assert_eq!((appended.length, appended.byte_length), (2, 2));
    assert_eq!(core.length(), 2);
    assert_eq!(append(4, 2).await.unwrap().length, 4);
    assert_eq!(append(0, 0).await.unwrap().length, 4);
    assert_eq!(core.length(), 4);
}

#[tokio::test]
async fn small_things_of_a_core() {
    let (_dir, cores) = cores();
    let core = log(&cores, &["a", "b", "c"]).await;
    for key in ["b", "a", "c"] {
        core.set_user_data(key, Some("1".into())).await.unwrap();
    }
    core.set_user_data("c", None).await.unwrap();
    assert_eq!(core.user_data_keys().unwrap(), ["a", "b"]);
    assert_eq!(core.signed_length(), 3);

    let signable = core.signable().await.unwrap();
    assert_eq!(core.signable_at(3, 0).await.unwrap(), signable);
    let two = core.signable_at(2, 0).await.unwrap();
    core.truncate_with(2, 9).await.unwrap();
    assert_ne!(core.signable().await.unwrap(), two, "the fork is in it");
    assert_eq!(
        core.signable_at(2, 9).await.unwrap(),
        core.signable().await.unwrap()
    );
    let error = core.signable_at(3, 9).await.unwrap_err();
    assert_eq!(error.code(), "BAD_ARGUMENT");
}

#[tokio::test]
async fn waits_are_told() {
    let (_dir, cores) = cores();
    let told = Arc::new(AtomicU64::new(u64::MAX));
    let tells = told.clone();
    let on_wait = OnWait::new(move |index| tells.store(index, Ordering::SeqCst));
    let options = CoreOptions::name("log").with_on_wait(on_wait);
    let core = cores.get(options).await.unwrap();
    core.append("a").await.unwrap();
    core.get(0).await.unwrap();
    let no_wait = GetOptions {
        no_wait: true,
        ..GetOptions::default()
    };
    core.get_with(5, no_wait).await.unwrap();
    assert_eq!(
        told.load(Ordering::SeqCst),
        u64::MAX,
        "nothing was waited for"
    );
    let session = core.session().unwrap();
    let get = tokio::spawn(async move { session.get(1).await });
    tokio::task::yield_now().await;
    assert_eq!(told.load(Ordering::SeqCst), 1);
    core.append("b").await.unwrap();
    assert_eq!(soon(get).await.unwrap().unwrap(), "b");
}

#[tokio::test]
async fn inactive_sessions_do_not_keep_a_core_downloading() {
    let (a, b, mut clock) = (Place::new(), Place::new(), Clock::new());
    let writer = log(&a.cores, &["a"]).await;
    writer.set_active(false);
    let options = CoreOptions::key(writer.key()).with_active(false);
    let copy = b.cores.get(options).await.unwrap();
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!(wire.open_channels(), [0, 0], "nobody wants it");
    copy.set_active(true);
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!(copy.length(), 1);
    assert_eq!(wire.open_channels(), [1, 1]);
    // twice is once
    copy.set_active(false);
    copy.set_active(false);
    let mut options = SessionOptions::default();
    options.active = Some(true);
    let other = copy.session_with(options).await.unwrap();
    let session = copy.session().unwrap();
    drop((other, session));
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    let now = clock.pass(Duration::from_secs(60));
    for end in &wire.ends {
        end.connection.handle_timeout(now);
    }
    settle(&mut [&mut wire], &[&a, &b], now);
    assert_eq!(wire.open_channels(), [0, 0], "nobody wants it any more");

    let mut options = CorestoreOptions::default();
    options.active = false;
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), net::quiet()).unwrap();
    let quiet = Corestore::open_with(store, options).unwrap();
    let _core = quiet.get(CoreOptions::key(writer.key())).await.unwrap();
    let mut wire = Wire::new(&a.cores, &quiet, clock.0);
    wire.pump(clock.0);
    assert_eq!(wire.open_channels(), [0, 0]);
}

#[tokio::test]
async fn a_reader_may_stay_on_its_fork() {
    let (a, b, clock) = (Place::new(), Place::new(), Clock::new());
    let writer = log(&a.cores, &["a", "b", "c"]).await;
    let copy = b.cores.get(CoreOptions::key(writer.key())).await.unwrap();
    copy.set_allow_fork(false);
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!((copy.length(), copy.fork()), (3, 0));
    writer.truncate(1).await.unwrap();
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!((copy.length(), copy.fork()), (3, 0));
    copy.set_allow_fork(true);
    drop(wire);
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!((copy.length(), copy.fork()), (1, 1));
}

#[tokio::test]
async fn a_tree_hash_of_before_is_fetched() {
    let (a, b, clock) = (Place::new(), Place::new(), Clock::new());
    let writer = log(&a.cores, &[]).await;
    writer.append_batch(blocks(0..64)).await.unwrap();
    let copy = b.cores.get(CoreOptions::key(writer.key())).await.unwrap();
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    let asked = copy.clone();
    let hash = tokio::spawn(async move { asked.tree_hash_at(13).await });
    tokio::task::yield_now().await;
    assert!(!hash.is_finished());
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    let hash = soon(hash).await.unwrap().unwrap();
    assert_eq!(hash, writer.tree_hash_at(13).await.unwrap());
    assert_eq!(copy.contiguous_length(), 0);
    assert!(copy.has(12..13).await.unwrap());
}

#[tokio::test]
async fn a_sweep_keeps_what_was_marked() {
    let (dir, cores) = cores();
    let core = log(&cores, &[]).await;
    core.append_batch(blocks(0..100)).await.unwrap();
    core.start_marking().await.unwrap();
    let again = core.start_marking().await.unwrap_err();
    assert_eq!(again.code(), "INVALID_OPERATION");
    let session = core.session().unwrap();
    session.get(7).await.unwrap();
    session.get(7).await.unwrap();
    core.get(50).await.unwrap();
    core.mark(20..25).await.unwrap();
    core.mark(22..24).await.unwrap();
    core.mark(20..21).await.unwrap();
    core.mark(99..200).await.unwrap();
    assert_eq!(core.sweep().await.unwrap(), 100 - 8);
    let kept = [7, 20, 21, 22, 23, 24, 50, 99];
    for index in 0..100 {
        let here = core.has(index..index + 1).await.unwrap();
        assert_eq!(here, kept.contains(&index), "{index}");
    }
    assert!(core.audit(|_| ()).await.unwrap().problems.is_empty());

    // marks outlast a restart; a sweep without any clears all
    core.mark(7..8).await.unwrap();
    core.get(20).await.unwrap();
    cores.close().await.unwrap();
    drop((core, session, cores));
    let store = Store::open(dir.path(), Default::default()).unwrap();
    let cores = Corestore::open(store).unwrap();
    let core = cores.get(CoreOptions::name("log")).await.unwrap();
    assert_eq!(core.sweep().await.unwrap(), 7);
    assert!(core.has(7..8).await.unwrap());
    core.mark(7..8).await.unwrap();
    core.clear_marks().await.unwrap();
    assert_eq!(core.sweep().await.unwrap(), 1);
    let error = core.snapshot().unwrap().sweep().await.unwrap_err();
    assert_eq!(error.code(), "INVALID_OPERATION");
    let branch = core.branch("b").await.unwrap();
    assert_eq!(
        branch.start_marking().await.unwrap_err().code(),
        "INVALID_OPERATION"
    );
}

#[tokio::test]
async fn a_store_tells_of_its_cores() {
    let (_dir, cores) = cores();
    let mut opened = cores.watch();
    let first = cores.get(CoreOptions::name("first")).await.unwrap();
    let again = cores.get(CoreOptions::name("first")).await.unwrap();
    let app = cores.namespace("app");
    let second = app.get(CoreOptions::name("second")).await.unwrap();
    assert_eq!(opened.recv().await.unwrap(), first.discovery_key());
    assert_eq!(opened.recv().await.unwrap(), second.discovery_key());
    assert!(opened.try_recv().is_err(), "a second session is no opening");
    let mut open = cores.open_cores();
    open.sort();
    let mut keys = [first.discovery_key(), second.discovery_key()];
    keys.sort();
    assert_eq!(open, keys);
    drop((again, second));
    assert_eq!(cores.open_cores(), [first.discovery_key()]);
    let _second = app.get(CoreOptions::name("second")).await.unwrap();
    assert_eq!(opened.recv().await.unwrap(), _second.discovery_key());

    let listed: Vec<_> = cores.stream().unwrap().try_collect().await.unwrap();
    assert_eq!(listed, keys);
    assert_eq!(listed, cores.list().unwrap());

    first.append_batch(blocks(0..10)).await.unwrap();
    let audits: Vec<_> = cores.audit().unwrap().collect().await;
    assert_eq!(audits.len(), 2);
    for (key, audit) in audits {
        let audit = audit.unwrap();
        assert!(audit.problems.is_empty());
        assert_eq!(
            audit.blocks,
            if key == first.discovery_key() { 10 } else { 0 }
        );
    }

    // a namespace by its bytes is the namespace
    let dir = tempfile::tempdir().unwrap();
    let mut options = CorestoreOptions::default();
    options.primary_key = Some(*cores.primary_key());
    options.namespace = *app.namespace_hash();
    let store = Store::open(dir.path(), Default::default()).unwrap();
    let other = Corestore::open_with(store, options).unwrap();
    let same = other.get(CoreOptions::name("second")).await.unwrap();
    assert_eq!(same.key(), _second.key());
    cores.close().await.unwrap();
    assert!(cores.stream().is_err() && cores.audit().is_err());
}

#[tokio::test]
async fn a_search_for_peers_is_for_all_cores() {
    let (a, b, clock) = (Place::new(), Place::new(), Clock::new());
    let writer = log(&a.cores, &["one"]).await;
    let finding = b.cores.finding_peers();
    let copy = b.cores.get(CoreOptions::key(writer.key())).await.unwrap();
    let updated = copy.clone();
    let mut update = Box::pin(updated.update());
    assert!(waits(&mut update).await);
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    let update = tokio::spawn(async move { copy.update().await });
    tokio::task::yield_now().await;
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert!(soon(update).await.unwrap().unwrap());
    drop(wire);

    let lonely = b.cores.get(CoreOptions::name("lonely")).await.unwrap();
    let mut update = Box::pin(lonely.update());
    assert!(waits(&mut update).await);
    drop(finding);
    assert!(!soon(update).await.unwrap());
}

#[tokio::test]
async fn a_suspended_store_reads_and_does_not_change() {
    let (_dir, cores) = cores();
    let core = log(&cores, &["a"]).await;
    cores.suspend().await.unwrap();
    assert!(cores.is_suspended());
    assert_eq!(core.synced_length(), 1, "all is on disk");
    assert_eq!(core.get(0).await.unwrap(), "a");
    let mut append = Box::pin(core.append("b"));
    let other = core.session().unwrap();
    let mut data = Box::pin(other.set_user_data("k", Some("v".into())));
    let mut cut = Box::pin(other.truncate(0));
    assert!(waits(&mut append).await && waits(&mut data).await && waits(&mut cut).await);
    drop(cut);
    let mut transaction = cores.transaction();
    let mut staged = Box::pin(transaction.append(&core, vec!["c".into()]));
    assert!(waits(&mut staged).await);
    drop(staged);
    assert_eq!(core.length(), 1);
    cores.resume().await.unwrap();
    soon(append).await.unwrap();
    soon(data).await.unwrap();
    assert_eq!(core.length(), 2);

    // what peers send is taken after it; closing ends what waits
    cores.suspend().await.unwrap();
    let waiting = core.clone();
    let append = tokio::spawn(async move { waiting.append("never").await });
    tokio::task::yield_now().await;
    cores.close().await.unwrap();
    assert!(matches!(soon(append).await.unwrap(), Err(Error::Closed)));

    let (a, b, mut clock) = (Place::new(), Place::new(), Clock::new());
    let writer = log(&a.cores, &["one", "two"]).await;
    let copy = b.cores.get(CoreOptions::key(writer.key())).await.unwrap();
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    b.cores.suspend().await.unwrap();
    settle(&mut [&mut wire], &[&a, &b], clock.0);
    assert_eq!(copy.length(), 0);
    b.cores.resume().await.unwrap();
    let now = clock.pass(Duration::from_secs(1));
    for end in &wire.ends {
        end.connection.handle_timeout(now);
    }
    settle(&mut [&mut wire], &[&a, &b], now);
    assert_eq!(copy.length(), 2);
}
