//! The rest of npm's face of bees: watchers, values, clearing, and lookups among peers.
#![allow(clippy::unwrap_used, reason = "a failure is the test's message")]

#[path = "../../cores/tests/net/mod.rs"]
mod net;

use futures_util::{FutureExt, StreamExt, TryStreamExt};
use net::{Pair, Place, idle};
use pome_bee::{Hyperbee, RangeOptions, TypedRange};
use pome_cores::{CoreOptions, Durability};
use pome_encoding::{Charset, Lexint, RAW_JSON, RawText};
use serde_json::json;
use tokio::task::JoinHandle;

async fn bee() -> (Place, Hyperbee) {
    let place = Place::new();
    let core = place.cores.get(CoreOptions::name("bee")).await.unwrap();
    (place, Hyperbee::new(core))
}

fn key(n: u64) -> Vec<u8> {
    format!("key {n:05}").into_bytes()
}

async fn fill(bee: &Hyperbee, range: std::ops::Range<u64>) {
    let mut batch = bee.batch();
    for n in range {
        batch.put(&key(n), format!("{n}")).await.unwrap();
    }
    batch.flush(Durability::Buffered).await.unwrap();
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    let limit = pome_test_support::PATIENCE;
    tokio::time::timeout(limit, future).await.unwrap()
}

#[tokio::test]
async fn a_watcher_tells_of_changes_in_its_range() {
    let (_place, bee) = bee().await;
    bee.put(b"b", "1").await.unwrap();
    let range = RangeOptions::new().with_gte("b").with_lt("c");
    let mut changes = bee.watch(range.clone());
    assert!(changes.next().now_or_never().is_none());
    bee.put(b"a", "not in it").await.unwrap();
    assert!(changes.next().now_or_never().is_none());
    bee.put(b"b", "2").await.unwrap();
    bee.put(b"bb", "3").await.unwrap();
    let changed = soon(changes.try_next()).await.unwrap().unwrap();
    let diff = changed.current.diff(&changed.previous, range.clone());
    let diff: Vec<_> = diff.try_collect().await.unwrap();
    assert_eq!(diff.len(), 2, "what came meanwhile is told as one");
    let old = changed.previous.get(b"b").await.unwrap().unwrap();
    assert_eq!(old.value.unwrap(), "1");
    assert!(changes.next().now_or_never().is_none());

    // an equal put is a change, a removal is, a truncation always is
    bee.put(b"b", "2").await.unwrap();
    soon(changes.try_next()).await.unwrap().unwrap();
    bee.del(b"bb").await.unwrap();
    soon(changes.try_next()).await.unwrap().unwrap();
    bee.put(b"z", "").await.unwrap();
    assert!(changes.next().now_or_never().is_none());
    bee.core().truncate(bee.version() - 1).await.unwrap();
    soon(changes.try_next()).await.unwrap().unwrap();

    // a sub watches its own keys
    let sub = bee.sub("s");
    let mut of_sub = sub.watch(RangeOptions::new());
    bee.put(b"b", "outside").await.unwrap();
    assert!(of_sub.next().now_or_never().is_none());
    sub.put(b"k", "inside").await.unwrap();
    let changed = soon(of_sub.try_next()).await.unwrap().unwrap();
    assert!(changed.current.get(b"k").await.unwrap().is_some());

    assert!(bee.snapshot().watch(range).next().await.is_none());
    let waiting = tokio::spawn(async move {
        while changes.try_next().await.unwrap().is_some() {}
        of_sub.try_next().await.unwrap().is_none()
    });
    idle().await;
    bee.close().await.unwrap();
    assert!(soon(waiting).await.unwrap(), "closing ends them");
    assert!(bee.get(b"b").await.is_err() && bee.batch().put(b"x", "").await.is_err());
}

#[tokio::test]
async fn an_entry_is_watched() {
    let (_place, bee) = bee().await;
    let mut watcher = bee.get_and_watch(b"k").await.unwrap();
    assert!(watcher.entry().is_none());
    assert!(watcher.changed().now_or_never().is_none());
    bee.put(b"other", "1").await.unwrap();
    assert!(watcher.changed().now_or_never().is_none());
    bee.put(b"k", "1").await.unwrap();
    let entry = soon(watcher.changed()).await.unwrap().unwrap().clone();
    assert_eq!(entry.value.as_ref().unwrap(), "1");
    assert_eq!(watcher.entry(), Some(&entry));
    bee.put(b"k", "2").await.unwrap();
    bee.put(b"k", "3").await.unwrap();
    let value = soon(watcher.changed())
        .await
        .unwrap()
        .unwrap()
        .value
        .clone();
    assert_eq!(value.unwrap(), "3");
    bee.del(b"k").await.unwrap();
    assert!(soon(watcher.changed()).await.unwrap().is_none());
    // a truncation is told, also when the entry is as it was
    bee.put(b"x", "").await.unwrap();
    bee.core().truncate(bee.version() - 1).await.unwrap();
    assert!(soon(watcher.changed()).await.unwrap().is_none());
    let task = tokio::spawn(async move { watcher.changed().await.map(|_| ()) });
    idle().await;
    bee.close().await.unwrap();
    let error = soon(task).await.unwrap().unwrap_err();
    assert_eq!(error.code(), "SESSION_CLOSED");
}

#[tokio::test]
async fn typed_keys_and_values() {
    let (_place, bee) = bee().await;
    let people = bee.typed(RawText(Charset::Utf8), RAW_JSON);
    people.put(&"ann".into(), &json!({"age": 3})).await.unwrap();
    let mut batch = people.batch();
    batch.put(&"bob".into(), &json!([1])).await.unwrap();
    batch.put(&"eve".into(), &json!(null)).await.unwrap();
    batch.del(&"eve".into()).await.unwrap();
    assert_eq!(
        batch.get(&"bob".into()).await.unwrap().unwrap().value,
        Some(json!([1]))
    );
    batch.flush(Durability::Buffered).await.unwrap();
    let ann = people.get(&"ann".into()).await.unwrap().unwrap();
    assert_eq!((ann.seq, ann.value.unwrap()), (1, json!({"age": 3})));
    let raw = bee.get(b"ann").await.unwrap().unwrap();
    assert_eq!(raw.value.unwrap(), r#"{"age":3}"#);
    let range = TypedRange {
        gt: Some("ann".to_owned()),
        ..TypedRange::default()
    };
    let entries: Vec<_> = people.range(&range).unwrap().try_collect().await.unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].key, "bob");
    assert_eq!(people.peek(&range).await.unwrap().unwrap().key, "bob");
    people.del(&"bob".into()).await.unwrap();
    assert!(people.get(&"bob".into()).await.unwrap().is_none());
    assert!(
        people
            .checkout(5)
            .get(&"bob".into())
            .await
            .unwrap()
            .is_some()
    );

    // numbers in their own order, in a sub
    let numbers = bee.typed(Lexint, RAW_JSON).sub("n");
    for n in [300, 2, 70_000, 250, 0] {
        numbers.put(&n, &json!(n)).await.unwrap();
    }
    let range = TypedRange {
        gte: Some(2),
        lt: Some(70_000),
        ..TypedRange::default()
    };
    let entries: Vec<_> = numbers.range(&range).unwrap().try_collect().await.unwrap();
    let keys: Vec<u64> = entries.iter().map(|entry| entry.key).collect();
    assert_eq!(keys, [2, 250, 300]);

    bee.put(b"bad", "{").await.unwrap();
    let error = people.get(&"bad".into()).await.unwrap_err();
    assert_eq!(error.code(), "DECODING_ERROR");
    let hex = bee.typed(RawText(Charset::Hex), RAW_JSON);
    let error = hex.put(&"no hex".into(), &json!(1)).await.unwrap_err();
    assert_eq!(error.code(), "BAD_ARGUMENT");
    let error = people.range(&TypedRange::default()).unwrap();
    assert!(error.try_collect::<Vec<_>>().await.is_err());
}

#[tokio::test]
async fn old_versions_are_cleared() {
    let (_place, bee) = bee().await;
    for round in 0..5 {
        for n in 0..200 {
            bee.put(&key(n), format!("{round}")).await.unwrap();
        }
    }
    for n in 0..50 {
        bee.del(&key(n)).await.unwrap();
    }
    let all: Vec<_> = bee.range(RangeOptions::new()).try_collect().await.unwrap();
    let needed = bee.tree_blocks().await.unwrap().len() as u64;
    let cleared = bee.clear_unlinked(0, None).await.unwrap();
    // the header and the newest block stay, whether the tree needs them or not
    assert!((bee.version() - 2 - needed..=bee.version() - 1 - needed).contains(&cleared));
    let fresh = Hyperbee::new(bee.core().clone()).with_wait(false);
    let again: Vec<_> = fresh
        .range(RangeOptions::new())
        .try_collect()
        .await
        .unwrap();
    assert_eq!(all, again);
    assert!(fresh.header().await.unwrap().is_some());
    let old = fresh.checkout(300).get(&key(5)).await.unwrap_err();
    assert_eq!(old.code(), "BLOCK_NOT_AVAILABLE");
    assert_eq!(bee.clear_unlinked(0, None).await.unwrap(), 0);
    bee.put(&key(60), "new").await.unwrap();
    let seq = bee.version() - 3;
    assert_eq!(bee.clear_unlinked(seq, Some(seq)).await.unwrap(), 0);
    assert!(bee.clear_unlinked(1, None).await.unwrap() > 0);
    assert_eq!(fresh.range(RangeOptions::new()).count().await, 150);
}

struct Peers {
    pair: Pair,
    tasks: Vec<JoinHandle<()>>,
    reader: Hyperbee,
    writer: Hyperbee,
}

impl Peers {
    /// A writer with `keys` keys and a reader that has nothing of it yet.
    async fn new(keys: u64, extension: bool) -> Self {
        let (a, b) = (Place::new(), Place::new());
        let core = a.cores.get(CoreOptions::name("bee")).await.unwrap();
        let mut writer = Hyperbee::new(core);
        fill(&writer, 0..keys).await;
        let core = CoreOptions::key(writer.core().key());
        let mut reader = Hyperbee::new(b.cores.get(core).await.unwrap());
        let mut tasks = Vec::new();
        if extension {
            for bee in [&mut writer, &mut reader] {
                let (with, answers) = bee.clone().with_extension();
                *bee = with;
                tasks.push(tokio::spawn(answers.run()));
            }
        }
        Self {
            pair: Pair::new(a, b),
            tasks,
            reader,
            writer,
        }
    }

    async fn held(&self) -> u64 {
        let core = self.reader.core();
        let mut held = 0;
        for seq in 0..core.length() {
            held += u64::from(core.has(seq..seq + 1).await.unwrap());
        }
        held
    }
}

#[tokio::test]
async fn a_lookup_reads_a_path() {
    let mut peers = Peers::new(20_000, false).await;
    let reader = peers.reader.clone();
    let found = peers
        .pair
        .run(async move { reader.get(&key(12_345)).await });
    assert_eq!(found.await.unwrap().unwrap().value.unwrap(), "12345");
    assert!(peers.held().await < 60, "{}", peers.held().await);
    let reader = peers.reader.clone();
    assert!(
        !peers
            .pair
            .run(async move { reader.update().await })
            .await
            .unwrap()
    );
    peers.writer.put(b"new", "1").await.unwrap();
    peers.pair.settle();
    assert_eq!(peers.reader.version(), peers.writer.version());
}

/// Children and keys of a node come together, and those of the next nodes with them.
#[tokio::test]
async fn a_walk_fetches_ahead() {
    for reverse in [false, true] {
        let mut peers = Peers::new(5000, false).await;
        let reader = peers.reader.clone();
        let range = RangeOptions::new()
            .with_gte(key(1000))
            .with_lt(key(4000))
            .with_reverse(reverse);
        let entries = reader.range(range);
        let entries: Vec<_> = peers.pair.run(entries.try_collect()).await.unwrap();
        assert_eq!(entries.len(), 3000);
        // one by one it would be a turn for each of about 3,000 blocks
        assert!(peers.pair.turns < 250, "{}", peers.pair.turns);
        assert!(peers.held().await < 3300, "{}", peers.held().await);
    }
    // who wants one entry fetches a path
    let mut peers = Peers::new(5000, false).await;
    let reader = peers.reader.clone();
    let first = peers
        .pair
        .run(async move { reader.peek(RangeOptions::new().with_gte(key(77))).await });
    assert_eq!(first.await.unwrap().unwrap().key, key(77));
    assert!(peers.held().await < 60);
}

#[tokio::test]
async fn peers_say_which_blocks_a_lookup_takes() {
    let mut plain = Peers::new(20_000, false).await;
    let reader = plain.reader.clone();
    let get = plain.pair.run(async move { reader.get(&key(777)).await });
    assert!(get.await.unwrap().is_some());
    let mut helped = Peers::new(20_000, true).await;
    let reader = helped.reader.clone();
    let get = helped.pair.run(async move { reader.get(&key(777)).await });
    assert!(get.await.unwrap().is_some());
    assert!(
        helped.pair.turns * 2 < plain.pair.turns,
        "{} {}",
        helped.pair.turns,
        plain.pair.turns
    );
    assert!(helped.held().await <= plain.held().await + 2);

    let before = helped.pair.turns;
    let reader = helped.reader.clone();
    let range = RangeOptions::new().with_gt(key(5000)).with_limit(1500);
    let entries = reader.range(range);
    let entries: Vec<_> = helped.pair.run(entries.try_collect()).await.unwrap();
    assert_eq!(entries.len(), 1500);
    assert!(
        helped.pair.turns - before < 40,
        "{}",
        helped.pair.turns - before
    );

    // a bee of one that has nothing answers nothing, and a closed core ends the answers
    for bee in [&helped.reader, &helped.writer] {
        bee.close().await.unwrap();
    }
    helped.pair.a.cores.close().await.unwrap();
    helped.pair.b.cores.close().await.unwrap();
}

/// What peers send under the extension's name may be anything.
#[tokio::test]
async fn any_message_is_survived() {
    use bytes::Bytes;
    use pome_cores::replication::{Message, messages::Extension};
    let mut peers = Peers::new(300, true).await;
    let say = |peers: &mut Peers, bytes: Vec<u8>| {
        let message = Message::Extension(Extension {
            name: "hyperbee".into(),
            message: Bytes::from(bytes),
        });
        let core = peers.reader.core().clone();
        peers
            .pair
            .wire
            .forge(1, &core, &message, peers.pair.clock.0);
    };
    for bytes in [
        vec![],
        vec![0xff; 30],
        // blocks far beyond the core, a version of the future, a checkpoint of nodes that are not there
        vec![0x0a, 9, 0x08, 0, 0x10, 0xff, 0x7f, 0x1a, 3, 1, 0xff, 0x7f],
        vec![0x12, 5, 0x08, 0xff, 0x7f, 0x12, 0],
        vec![0x1a, 8, 0x08, 20, 0x42, 4, 3, 9, 9, 0],
    ] {
        let framed = [&[bytes.len() as u8], &bytes[..]].concat();
        say(&mut peers, bytes);
        say(&mut peers, framed);
        idle().await;
        peers.pair.settle();
    }
    let reader = peers.reader.clone();
    let get = peers.pair.run(async move { reader.get(&key(7)).await });
    assert!(get.await.unwrap().is_some());
    for task in &peers.tasks {
        assert!(!task.is_finished());
    }
}
