//! What a bee promises beside its bytes: locks, isolation, transactions, views.
#![allow(clippy::unwrap_used)]
use futures_util::{StreamExt, TryStreamExt};
use pome_bee::{BeeCache, Error, HistoryOptions, Hyperbee, Metadata, PutOptions, RangeOptions};
use pome_cores::{CoreOptions, Corestore, Durability};
use std::time::Duration;
use tokio::time::timeout;

async fn cores() -> (tempfile::TempDir, Corestore) {
    let folder = tempfile::tempdir().unwrap();
    let store = pome_storage::Store::open(folder.path(), pome_storage::Options::default()).unwrap();
    (folder, Corestore::open(store).unwrap())
}

async fn bee() -> (tempfile::TempDir, Hyperbee) {
    let (folder, cores) = cores().await;
    let core = cores.get(CoreOptions::name("bee")).await.unwrap();
    (folder, Hyperbee::new(core))
}

async fn keys(bee: &Hyperbee, options: RangeOptions) -> Vec<String> {
    bee.range(options)
        .map_ok(|e| String::from_utf8(e.key.to_vec()).unwrap())
        .try_collect()
        .await
        .unwrap()
}

/// A short while, for what must not happen in it.
async fn soon<F: Future>(future: F) -> Option<F::Output> {
    timeout(Duration::from_millis(30), future).await.ok()
}

/// Upstream's `get` takes a block that it passes on the way and that has the key asked for, also when that key was removed since: here block 9 put `4`
/// and split the root, so its right half, which the removal of `4` leaves alone, lies where `4` would be.
#[tokio::test]
async fn a_deleted_key_stays_deleted() {
    let (_folder, bee) = bee().await;
    for key in ["0", "1", "2", "3", "5", "6", "7", "8", "4", "35"] {
        bee.put(key.as_bytes(), key).await.unwrap();
    }
    bee.del(b"4").await.unwrap();
    assert_eq!(bee.get(b"4").await.unwrap(), None);
    bee.put(b"0", "again").await.unwrap();
    assert_eq!(bee.get(b"4").await.unwrap(), None);
    assert!(
        keys(&bee, RangeOptions::new().with_gte("4").with_lte("4"))
            .await
            .is_empty()
    );
}

/// Bees with the same keys in the same places, in a cache that has room for a few blocks of them: each reads its own.
#[tokio::test]
async fn bees_share_a_cache() {
    let (_folder, cores) = cores().await;
    let cache = BeeCache::new(20_000);
    let mut bees = Vec::new();
    for name in ["one", "other"] {
        let core = cores.get(CoreOptions::name(name)).await.unwrap();
        let bee = Hyperbee::new(core).with_cache(&cache);
        for n in 0..100 {
            let key = format!("{n:03}");
            bee.put(key.as_bytes(), format!("{name} {n}"))
                .await
                .unwrap();
        }
        bees.push((name, bee));
    }
    for round in 0..3 {
        for n in (0..100).rev() {
            for (name, bee) in &bees {
                let entry = bee.get(format!("{n:03}").as_bytes()).await.unwrap();
                let value = entry.unwrap().value.unwrap();
                assert_eq!(value, format!("{name} {n}"), "round {round}");
            }
        }
        // Another history in the same places.
        let (name, bee) = &bees[round % 2];
        bee.core().truncate(60).await.unwrap();
        for n in (59..100).chain(0..5) {
            let key = format!("{n:03}");
            bee.put(key.as_bytes(), format!("{name} {n}"))
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn an_empty_bee_is_version_1_and_has_no_block() {
    let (_folder, bee) = bee().await;
    assert_eq!((bee.version(), bee.core().length()), (1, 0));
    assert_eq!(bee.get(b"a").await.unwrap(), None);
    assert_eq!(bee.header().await.unwrap(), None);
    assert!(keys(&bee, RangeOptions::new()).await.is_empty());
    assert_eq!(bee.checkout(0).version(), 1);
    bee.batch().flush(Durability::Buffered).await.unwrap();
    assert_eq!(bee.core().length(), 0, "an empty batch writes nothing");
    bee.del(b"a").await.unwrap();
    assert_eq!((bee.version(), bee.core().length()), (1, 1));
    assert_eq!(bee.header().await.unwrap().unwrap().metadata, None);
}

#[tokio::test]
async fn the_header_has_the_metadata() {
    let (_folder, bee) = bee().await;
    let metadata = Metadata {
        content_feed: Some(vec![7; 32].into()),
        user_data: None,
    };
    let bee = bee.with_metadata(metadata.clone());
    bee.put(b"a", "").await.unwrap();
    let header = bee.header().await.unwrap().unwrap();
    assert_eq!(
        (&header.protocol[..], header.metadata),
        ("hyperbee", Some(metadata))
    );
}

#[tokio::test]
async fn a_batch_holds_the_write_lock_from_its_first_write() {
    let (_folder, bee) = bee().await;
    let mut batch = bee.batch();
    bee.put(b"before", "").await.unwrap();
    batch.put(b"in", "").await.unwrap();
    assert!(soon(bee.put(b"plain", "")).await.is_none());
    assert!(
        soon(bee.sub("s").del(b"x")).await.is_none(),
        "subs share the lock"
    );
    assert!(soon(bee.clone().batch().lock()).await.is_none());
    assert!(bee.get(b"before").await.unwrap().is_some());
    assert_eq!(
        bee.get(b"in").await.unwrap(),
        None,
        "nothing is visible before the flush"
    );
    assert!(batch.get(b"in").await.unwrap().is_some());
    assert!(batch.get(b"before").await.unwrap().is_some());
    batch.flush(Durability::Synced).await.unwrap();
    bee.put(b"plain", "").await.unwrap();
    assert_eq!(
        keys(&bee, RangeOptions::new()).await,
        ["before", "in", "plain"]
    );

    let mut batch = bee.batch();
    batch.del(b"in").await.unwrap();
    assert_eq!(
        batch
            .peek(RangeOptions::new().with_gt("before"))
            .await
            .unwrap()
            .unwrap()
            .key,
        "plain"
    );
    drop(batch);
    bee.put(b"z", "").await.unwrap();
    assert!(
        bee.get(b"in").await.unwrap().is_some(),
        "a batch that is dropped is undone"
    );
}

#[tokio::test]
async fn a_batch_can_be_part_of_a_transaction() {
    let (_folder, cores) = cores().await;
    let core = cores.get(CoreOptions::name("bee")).await.unwrap();
    let other = cores.get(CoreOptions::name("other")).await.unwrap();
    let bee = Hyperbee::new(core);
    for round in 1..4u64 {
        let mut transaction = cores.transaction();
        transaction
            .append(&other, vec!["content".into()])
            .await
            .unwrap();
        let mut batch = bee.batch();
        batch
            .put(format!("a{round}").as_bytes(), "1")
            .await
            .unwrap();
        batch
            .put(format!("b{round}").as_bytes(), "2")
            .await
            .unwrap();
        let staged = batch.flush_into(&mut transaction).await.unwrap();
        assert_eq!(staged.appended.unwrap().length, 1 + 2 * round);
        assert!(
            soon(bee.put(b"c", "")).await.is_none(),
            "it waits for the commit"
        );
        assert_eq!(bee.core().length().max(1), 1 + 2 * (round - 1));
        transaction.commit(Durability::Buffered).await.unwrap();
        drop(staged);
        assert_eq!(
            (bee.core().length(), other.length()),
            (1 + 2 * round, round)
        );
    }
    assert_eq!(
        keys(&bee, RangeOptions::new()).await,
        ["a1", "a2", "a3", "b1", "b2", "b3"]
    );

    let mut transaction = cores.transaction();
    let mut batch = bee.batch();
    batch.put(b"never", "").await.unwrap();
    let staged = batch.flush_into(&mut transaction).await.unwrap();
    drop(transaction);
    drop(staged);
    bee.put(b"after", "").await.unwrap();
    assert_eq!(bee.get(b"never").await.unwrap(), None);
    assert!(bee.get(b"after").await.unwrap().is_some());
}

#[tokio::test]
async fn a_write_for_a_core_that_went_on_is_a_conflict() {
    let (_folder, bee) = bee().await;
    bee.put(b"a", "").await.unwrap();
    let mut batch = bee.batch();
    batch.put(b"b", "").await.unwrap();
    Hyperbee::new(bee.core().clone())
        .put(b"c", "")
        .await
        .unwrap();
    let error = batch.flush(Durability::Buffered).await.unwrap_err();
    assert!(matches!(
        error,
        Error::Conflict {
            expected: 2,
            found: 3,
            ..
        }
    ));
    assert_eq!(keys(&bee, RangeOptions::new()).await, ["a", "c"]);
}

#[tokio::test]
async fn views_are_read_only() {
    let (_folder, bee) = bee().await;
    bee.put(b"a", "1").await.unwrap();
    let old = bee.snapshot();
    bee.put(b"a", "2").await.unwrap();
    for view in [&old, &old.sub("x"), &bee.clone().read_only()] {
        assert!(!view.writable());
        assert!(matches!(view.put(b"a", "").await, Err(Error::ReadOnly)));
        assert!(matches!(view.del(b"a").await, Err(Error::ReadOnly)));
        assert!(matches!(
            view.batch().put(b"a", "").await,
            Err(Error::ReadOnly)
        ));
    }
    assert_eq!(old.get(b"a").await.unwrap().unwrap().value.unwrap(), "1");
    assert_eq!(old.snapshot().version(), old.version());
    assert_eq!(
        old.batch().get(b"a").await.unwrap().unwrap().value.unwrap(),
        "1"
    );
    assert_eq!(bee.get_by_seq(1).await.unwrap().value.unwrap(), "1");
    let ahead = bee.checkout(9);
    assert!(
        soon(ahead.get(b"a")).await.is_none(),
        "a version that is not here is waited for"
    );
}

#[tokio::test]
async fn a_sub_of_a_checkout_and_a_checkout_of_a_sub_are_one() {
    let (_folder, bee) = bee().await;
    let sub = bee.sub("s");
    for key in ["a", "b"] {
        bee.put(key.as_bytes(), "root").await.unwrap();
        sub.put(key.as_bytes(), "sub").await.unwrap();
    }
    let version = bee.version();
    sub.put(b"c", "later").await.unwrap();
    bee.put(b"t", "root").await.unwrap();
    for old in [bee.checkout(version).sub("s"), sub.checkout(version)] {
        assert_eq!(keys(&old, RangeOptions::new()).await, ["a", "b"]);
        let diff: Vec<_> = sub
            .diff(&old, RangeOptions::new())
            .try_collect()
            .await
            .unwrap();
        assert_eq!(diff.len(), 1);
        assert_eq!(diff[0].left.as_ref().unwrap().key, "c");
    }
    let history: Vec<_> = sub
        .history(HistoryOptions::default())
        .try_collect()
        .await
        .unwrap();
    assert_eq!(
        history.iter().map(|e| &e.key[..]).collect::<Vec<_>>(),
        [b"a", b"b", b"c"]
    );
    // the one default of npm that surprises: the empty key of a sub is not listed
    sub.put(b"", "empty").await.unwrap();
    assert!(sub.get(b"").await.unwrap().is_some());
    assert_eq!(keys(&sub, RangeOptions::new()).await, ["a", "b", "c"]);
    assert_eq!(
        keys(&sub, RangeOptions::new().with_gte("")).await,
        ["", "a", "b", "c"]
    );
}

#[tokio::test]
async fn bees_of_two_cores_differ_by_content() {
    let (_folder, cores) = cores().await;
    let [left, right] = ["left", "right"].map(|name| {
        let cores = cores.clone();
        async move { Hyperbee::new(cores.get(CoreOptions::name(name)).await.unwrap()) }
    });
    let (left, right) = (left.await, right.await);
    for i in 0..50u8 {
        left.put(&[i], vec![i]).await.unwrap();
        right
            .put(&[49 - i], vec![if i == 9 { 0 } else { 49 - i }])
            .await
            .unwrap();
    }
    right.del(&[20]).await.unwrap();
    let diff: Vec<_> = left
        .diff(&right, RangeOptions::new())
        .try_collect()
        .await
        .unwrap();
    let keys: Vec<_> = diff
        .iter()
        .map(|d| d.left.as_ref().unwrap().key[0])
        .collect();
    assert_eq!(keys, [20, 40]);
    assert!(diff[0].right.is_none() && diff[1].right.is_some());
}

#[tokio::test]
async fn values_of_any_size_come_back() {
    let (_folder, bee) = bee().await;
    let value = vec![5; 300_000];
    for i in 0..20u8 {
        bee.put(&[i], value.clone()).await.unwrap();
    }
    bee.put(b"small", "").await.unwrap();
    for _ in 0..2 {
        assert_eq!(bee.get(&[7]).await.unwrap().unwrap().value.unwrap(), value);
    }
    let equal = bee.clone().always_duplicate(false);
    assert!(
        !equal
            .put_with(&[7], Some(value.into()), PutOptions::new())
            .await
            .unwrap()
    );
    let ok = bee
        .range(RangeOptions::new())
        .map(|e| e.unwrap().value.unwrap().len());
    assert_eq!(
        ok.filter(|n| std::future::ready(*n == 300_000))
            .count()
            .await,
        20
    );
}

#[tokio::test]
async fn keys_of_any_size_come_back() {
    let (_folder, bee) = bee().await;
    let key = vec![9; 100_000];
    for i in 0..20 {
        bee.put(&key[i * 1000..], "x").await.unwrap();
    }
    for i in 0..20 {
        assert!(bee.get(&key[i * 1000..]).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn writers_in_parallel_take_turns() {
    let (_folder, bee) = bee().await;
    let tasks: Vec<_> = (0..8u8)
        .map(|task| {
            let bee = bee.clone();
            tokio::spawn(async move {
                for i in 0..50u8 {
                    bee.put(&[task, i], vec![i]).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(bee.version(), 401);
    assert_eq!(bee.range(RangeOptions::new()).count().await, 400);
}

#[tokio::test]
async fn a_truncation_reaches_the_bee_but_not_its_checkouts() {
    let (_folder, bee) = bee().await;
    for i in 0..40u8 {
        bee.put(&[i % 20], vec![i]).await.unwrap();
    }
    let old = bee.snapshot();
    let walk = bee.range(RangeOptions::new());
    bee.core().truncate(21).await.unwrap();
    assert_eq!(bee.version(), 21);
    for round in 0..2u8 {
        for i in 0..20u8 {
            let value = bee.get(&[i]).await.unwrap().unwrap().value.unwrap();
            let new = round > 0 && i < 10;
            assert_eq!(value, vec![if new { i + 100 } else { i }], "{round} {i}");
            assert_eq!(
                old.get(&[i]).await.unwrap().unwrap().value.unwrap(),
                vec![i + 20]
            );
        }
        for i in 0..10u8 {
            bee.put(&[i], vec![i + 100]).await.unwrap();
        }
    }
    let rest: Vec<_> = walk
        .map_ok(|e| e.value.unwrap()[0])
        .try_collect()
        .await
        .unwrap();
    assert_eq!(
        rest,
        (20..40).collect::<Vec<_>>(),
        "a walk goes on in what it began with"
    );
    let diff: Vec<_> = bee
        .diff(&old, RangeOptions::new())
        .try_collect()
        .await
        .unwrap();
    assert_eq!(diff.len(), 20);
}

#[tokio::test]
async fn a_live_history_goes_on() {
    let (_folder, bee) = bee().await;
    bee.put(b"a", "1").await.unwrap();
    let live = HistoryOptions {
        live: true,
        ..HistoryOptions::default()
    };
    let mut history = bee.history(live);
    assert_eq!(history.next().await.unwrap().unwrap().key, "a");
    assert!(soon(history.next()).await.is_none());
    let writer = bee.clone();
    let write = tokio::spawn(async move { writer.del(b"a").await });
    let next = timeout(pome_test_support::PATIENCE, history.next())
        .await
        .unwrap();
    assert_eq!(next.unwrap().unwrap().seq, 2);
    write.await.unwrap().unwrap();
}

/// Two bees of one core do not share a lock: what the second one makes is for a place that the first has taken while it waited.
#[tokio::test]
async fn a_write_that_waits_for_the_core_does_not_land_in_the_wrong_place() {
    let (_folder, cores) = cores().await;
    let core = cores.get(CoreOptions::name("bee")).await.unwrap();
    let bee = Hyperbee::new(core.clone());
    bee.put(b"a", "1").await.unwrap();
    for truncates in [false, true] {
        let other = Hyperbee::new(core.session().unwrap());
        let mut transaction = cores.transaction();
        transaction.lock(&[&core]).await.unwrap();
        let waiting = tokio::spawn(async move { other.put(b"b", "2").await });
        let staged = Hyperbee::new(core.session().unwrap());
        let mut batch = staged.batch();
        batch.put(b"c", "3").await.unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
        let version = bee.version();
        let _staged = match truncates {
            false => Some(batch.flush_into(&mut transaction).await.unwrap()),
            true => {
                transaction.truncate(&core, version - 1).await.unwrap();
                transaction
                    .append(&core, vec!["no node".into()])
                    .await
                    .unwrap();
                None
            }
        };
        transaction.commit(Durability::Buffered).await.unwrap();
        let found = waiting.await.unwrap();
        assert!(matches!(found, Err(Error::Conflict { .. })), "{found:?}");
    }
}

#[tokio::test]
async fn a_batch_that_came_too_late_stages_nothing() {
    let (_folder, cores) = cores().await;
    let core = cores.get(CoreOptions::name("bee")).await.unwrap();
    let (bee, other) = (Hyperbee::new(core.clone()), Hyperbee::new(core.clone()));
    let mut batch = bee.batch();
    batch.put(b"a", "1").await.unwrap();
    let mut transaction = cores.transaction();
    other.put(b"b", "2").await.unwrap();
    let late = batch.flush_into(&mut transaction).await;
    assert!(matches!(late, Err(Error::Conflict { .. })));
    transaction.commit(Durability::Buffered).await.unwrap();
    assert_eq!(bee.version(), 2);
    assert_eq!(bee.get(b"b").await.unwrap().unwrap().value.unwrap(), "2");
}
