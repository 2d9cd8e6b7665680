//! Random histories, checked against a plain sorted map per version.
#![allow(clippy::unwrap_used)]
use bytes::Bytes;
use futures_util::TryStreamExt;
use pome_bee::{Change, DiffEntry, Entry, HistoryOptions, Hyperbee, PutOptions, RangeOptions};
use pome_cores::{CoreOptions, Corestore, Durability};
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    ops::{Bound, RangeBounds},
};

/// What a bee is at one version.
type Map = BTreeMap<Bytes, (u64, Option<Bytes>)>;

#[derive(Debug, Clone)]
enum Op {
    Put(Bytes, Option<Bytes>),
    Del(Bytes),
    /// Flushed, unless the flag says closed.
    Batch(Vec<Op>, bool),
}

fn key() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        8 => (0..120u8).prop_map(|n| Bytes::from(format!("{n:03}"))),
        1 => prop::collection::vec(0..3u8, 0..4).prop_map(Bytes::from),
    ]
}

fn write() -> impl Strategy<Value = Op> {
    let value = prop_oneof![
        9 => prop::collection::vec(any::<u8>(), 0..5).prop_map(|v| Some(Bytes::from(v))),
        // larger than what is kept in memory
        1 => (0..9u8).prop_map(|n| Some(Bytes::from(vec![n; 5000]))),
        1 => Just(None),
    ];
    prop_oneof![
        5 => (key(), value).prop_map(|(k, v)| Op::Put(k, v)),
        4 => key().prop_map(Op::Del),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let batch = (
        prop::collection::vec(write(), 0..60),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(ops, closed)| Op::Batch(ops, closed));
    prop::collection::vec(prop_oneof![6 => write(), 1 => batch], 1..120)
}

#[derive(Debug, Clone)]
struct Query {
    lower: Bound<Bytes>,
    upper: Bound<Bytes>,
    reverse: bool,
    limit: Option<u64>,
    versions: (prop::sample::Index, prop::sample::Index),
}

fn query() -> impl Strategy<Value = Query> {
    let bound = || {
        prop_oneof![
            Just(Bound::Unbounded),
            key().prop_map(Bound::Included),
            key().prop_map(Bound::Excluded)
        ]
    };
    (
        bound(),
        bound(),
        any::<bool>(),
        prop::option::of(0..9u64),
        any::<(prop::sample::Index, prop::sample::Index)>(),
    )
        .prop_map(|(lower, upper, reverse, limit, versions)| Query {
            lower,
            upper,
            reverse,
            limit,
            versions,
        })
}

impl Query {
    fn options(&self) -> RangeOptions {
        let mut options = RangeOptions::new().with_reverse(self.reverse);
        match &self.lower {
            Bound::Included(key) => options.gte = Some(key.clone()),
            Bound::Excluded(key) => options.gt = Some(key.clone()),
            Bound::Unbounded => {}
        }
        match &self.upper {
            Bound::Included(key) => options.lte = Some(key.clone()),
            Bound::Excluded(key) => options.lt = Some(key.clone()),
            Bound::Unbounded => {}
        }
        options.limit = self.limit;
        options
    }

    fn has(&self, key: &Bytes) -> bool {
        (self.lower.clone(), self.upper.clone()).contains(key)
    }

    fn entries(&self, map: &Map) -> Vec<Entry> {
        let mut entries: Vec<_> = map.iter().filter(|(k, _)| self.has(k)).map(entry).collect();
        if self.reverse {
            entries.reverse();
        }
        self.cut(entries)
    }

    fn cut<T>(&self, mut list: Vec<T>) -> Vec<T> {
        list.truncate(self.limit.map_or(usize::MAX, |n| n as usize));
        list
    }

    fn diff(&self, left: &Map, right: &Map) -> Vec<DiffEntry> {
        let mut keys: Vec<_> = left.keys().chain(right.keys()).collect();
        keys.sort();
        keys.dedup();
        let pick = |map: &Map, key| map.get_key_value(key).map(entry);
        let all = keys.into_iter().filter(|key| self.has(key));
        let differ = all
            .map(|key| DiffEntry {
                left: pick(left, key),
                right: pick(right, key),
            })
            .filter(|d| d.left.as_ref().map(|e| e.seq) != d.right.as_ref().map(|e| e.seq));
        self.cut(differ.collect())
    }
}

fn entry((key, (seq, value)): (&Bytes, &(u64, Option<Bytes>))) -> Entry {
    Entry {
        seq: *seq,
        key: key.clone(),
        value: value.clone(),
    }
}

struct Model {
    bee: Hyperbee,
    now: Map,
    /// The map at each version that is one.
    versions: Vec<(u64, Map)>,
    history: Vec<(Change, Entry)>,
}

impl Model {
    /// One write as the map has it; the next block is `seq`.
    fn apply(&mut self, op: &Op, seq: u64) -> bool {
        let (change, key, value) = match op {
            Op::Put(key, value) => {
                self.now.insert(key.clone(), (seq, value.clone()));
                (Change::Put, key, value.clone())
            }
            Op::Del(key) => {
                if self.now.remove(key).is_none() {
                    return false;
                }
                (Change::Del, key, None)
            }
            Op::Batch(..) => unreachable!("batches are not nested"),
        };
        let entry = Entry {
            seq,
            key: key.clone(),
            value,
        };
        self.history.push((change, entry));
        true
    }

    async fn run(&mut self, op: &Op) {
        let seq = self.bee.version();
        let mut length = seq;
        match op {
            Op::Put(key, value) => {
                let options = PutOptions::new();
                let written = self
                    .bee
                    .put_with(key, value.clone(), options)
                    .await
                    .unwrap();
                assert_eq!(written, self.apply(op, seq));
                length += 1;
            }
            Op::Del(key) => {
                let written = self.bee.del_with(key, PutOptions::new()).await.unwrap();
                assert_eq!(written, self.apply(op, seq));
                length += u64::from(written);
            }
            Op::Batch(ops, closed) => {
                let before = (self.now.clone(), self.history.len());
                let mut batch = self.bee.batch();
                for op in ops {
                    let written = match op {
                        Op::Put(key, value) => {
                            let options = PutOptions::new();
                            batch.put_with(key, value.clone(), options).await.unwrap()
                        }
                        Op::Del(key) => batch.del_with(key, PutOptions::new()).await.unwrap(),
                        Op::Batch(..) => unreachable!("batches are not nested"),
                    };
                    assert_eq!(written, self.apply(op, length));
                    length += u64::from(written);
                    let (Op::Put(key, _) | Op::Del(key)) = op else {
                        continue;
                    };
                    let expected = self.now.get_key_value(key).map(entry);
                    assert_eq!(batch.get(key).await.unwrap(), expected);
                }
                let own: Vec<_> = batch
                    .range(RangeOptions::new())
                    .try_collect()
                    .await
                    .unwrap();
                assert_eq!(own, self.now.iter().map(entry).collect::<Vec<_>>());
                assert_eq!(batch.version(), length);
                if *closed {
                    batch.close();
                    self.now = before.0;
                    self.history.truncate(before.1);
                    length = seq;
                } else {
                    batch.flush(Durability::Buffered).await.unwrap();
                }
            }
        }
        assert_eq!(self.bee.version(), length);
        self.versions.push((length, self.now.clone()));
    }

    async fn check(&self, query: &Query) {
        let options = query.options();
        let (l, r) = (
            query.versions.0.get(&self.versions),
            query.versions.1.get(&self.versions),
        );
        let (left, right) = (self.bee.checkout(l.0), self.bee.checkout(r.0));
        let range: Vec<_> = left.range(options.clone()).try_collect().await.unwrap();
        assert_eq!(range, query.entries(&l.1), "version {} {options:?}", l.0);
        let first = left.peek(options.clone()).await.unwrap();
        if options.limit != Some(0) {
            assert_eq!(first.as_ref(), query.entries(&l.1).first());
        }
        let diff: Vec<_> = left
            .diff(&right, options.clone())
            .try_collect()
            .await
            .unwrap();
        assert_eq!(diff, query.diff(&l.1, &r.1), "{} {} {options:?}", l.0, r.0);
    }

    async fn check_all(&self) {
        for (key, _) in self.versions.iter().flat_map(|(_, map)| map) {
            let expected = self.now.get_key_value(key).map(entry);
            assert_eq!(self.bee.get(key).await.unwrap(), expected);
        }
        let history: Vec<_> = self
            .bee
            .history(HistoryOptions::default())
            .try_collect()
            .await
            .unwrap();
        assert_eq!(history.len(), self.history.len());
        for (ours, (change, entry)) in history.iter().zip(&self.history) {
            // a put of nothing in a batch cannot be told from a del
            if entry.value.is_some() || *change == Change::Del {
                assert_eq!(ours.change, *change, "{entry:?}");
            }
            let seen = Entry {
                seq: ours.seq,
                key: ours.key.clone(),
                value: ours.value.clone(),
            };
            assert_eq!(&seen, entry);
        }
    }
}

/// Writes `op` as one change. A put whose key ends in an odd digit is refused where the key is there.
async fn write_to(bee: &Hyperbee, op: &Op) {
    let options = |key: &Bytes| match key.last() {
        Some(last) if last % 2 == 1 => PutOptions::new().with_cas(|_, _| false),
        _ => PutOptions::new(),
    };
    match op {
        Op::Put(key, value) => {
            let written = bee.put_with(key, value.clone(), options(key)).await;
            written.unwrap();
        }
        Op::Del(key) => bee.del(key).await.unwrap(),
        Op::Batch(ops, closed) => {
            let mut batch = bee.batch();
            for op in ops {
                match op {
                    Op::Put(key, value) => {
                        let written = batch.put_with(key, value.clone(), options(key)).await;
                        written.unwrap();
                    }
                    Op::Del(key) => batch.del(key).await.unwrap(),
                    Op::Batch(..) => unreachable!("batches are not nested"),
                }
            }
            match closed {
                true => batch.close(),
                false => batch.flush(Durability::Buffered).await.unwrap(),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// A change that finds the tree of the one before in memory makes the blocks of one that reads it.
    #[test]
    fn blocks_do_not_tell_what_was_in_memory(ops in ops(), cache_bytes in 8_000..200_000usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let store = pome_storage::Store::open(folder.path(), pome_storage::Options::default()).unwrap();
            let cores = Corestore::open(store).unwrap();
            let [one, other] = ["one", "other"].map(|name| cores.get(CoreOptions::name(name)));
            let (one, other) = (one.await.unwrap(), other.await.unwrap());
            let bee = Hyperbee::new(one.clone()).with_cache_bytes(cache_bytes);
            for op in &ops {
                write_to(&bee, op).await;
                write_to(&Hyperbee::new(other.clone()), op).await;
            }
            assert_eq!(one.length(), other.length());
            for seq in 0..one.length() {
                assert_eq!(one.get(seq).await.unwrap(), other.get(seq).await.unwrap(), "block {seq}");
            }
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn it_is_a_sorted_map_at_each_version(ops in ops(), queries in prop::collection::vec(query(), 24)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let store = pome_storage::Store::open(folder.path(), pome_storage::Options::default()).unwrap();
            let cores = Corestore::open(store).unwrap();
            let core = cores.get(CoreOptions::name("bee")).await.unwrap();
            // a cache that is too small, so that blocks are read again
            let bee = Hyperbee::new(core).with_cache_bytes(20_000);
            let mut model = Model {
                bee,
                now: Map::new(),
                versions: vec![(1, Map::new())],
                history: Vec::new(),
            };
            for op in &ops {
                model.run(op).await;
            }
            for query in &queries {
                model.check(query).await;
            }
            model.check_all().await;
        });
    }
}
