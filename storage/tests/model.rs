//! The store against a `BTreeMap`: any history of batches, checkpoints, merges, snapshots and reopens reads the same in both.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use pome_storage::{Batch, Durability, Options, PAYLOAD_BYTES_MIN, Snapshot, Space, Store};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{collections::BTreeMap, ops::Bound};

type Model = BTreeMap<(u64, Vec<u8>), Bytes>;

#[derive(Debug, Clone)]
enum Op {
    Put(u64, Vec<u8>, usize, u8),
    Delete(u64, Vec<u8>),
    DeleteRange(u64, Vec<u8>, Vec<u8>),
}

#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<Op>, bool),
    Checkpoint,
    Snapshot,
    Forget,
    Reopen,
    Compare(u64, Vec<u8>, Vec<u8>, Vec<bool>),
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => (0u8..40).prop_map(|k| vec![b'k', k / 8, k % 8]),
        2 => (0u8..40).prop_map(|k| vec![b'k', k / 8]),
        1 => Just(vec![]),
        1 => (0u8..8).prop_map(|k| [vec![k; 300], vec![k]].concat()),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let size = prop_oneof![
        6 => 0usize..40,
        1 => (PAYLOAD_BYTES_MIN - 2)..(PAYLOAD_BYTES_MIN + 2),
        1 => Just(5_000usize),
    ];
    prop_oneof![
        8 => (0u64..3, key(), size, any::<u8>()).prop_map(|(s, k, n, b)| Op::Put(s, k, n, b)),
        3 => (0u64..3, key()).prop_map(|(s, k)| Op::Delete(s, k)),
        1 => (0u64..3, key(), key()).prop_map(|(s, a, b)| Op::DeleteRange(s, a, b)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (prop::collection::vec(op(), 0..30), any::<bool>()).prop_map(|(o, s)| Step::Commit(o, s)),
        4 => Just(Step::Checkpoint),
        1 => Just(Step::Snapshot),
        1 => Just(Step::Forget),
        1 => Just(Step::Reopen),
        3 => (0u64..3, key(), key(), prop::collection::vec(any::<bool>(), 0..50))
            .prop_map(|(s, a, b, ends)| Step::Compare(s, a, b, ends)),
    ]
}

fn options() -> Options {
    let mut options = Options::default();
    options.background = false;
    options.log_segment_bytes = 32 << 10;
    options.payload_segment_bytes = 64 << 10;
    options
}

fn apply(model: &mut Model, batch: &mut Batch, op: &Op) {
    match op {
        Op::Put(space, key, len, byte) => {
            let value = Bytes::from(vec![*byte; *len]);
            batch.put(Space(*space), key.clone(), value.clone());
            model.insert((*space, key.clone()), value);
        }
        Op::Delete(space, key) => {
            batch.delete(Space(*space), key.clone());
            model.remove(&(*space, key.clone()));
        }
        Op::DeleteRange(space, start, end) => {
            batch.delete_range(Space(*space), start.clone(), end.clone());
            model.retain(|(s, k), _| s != space || k < start || k >= end);
        }
    }
}

fn range_of(model: &Model, space: u64, low: &[u8], high: Bound<&[u8]>) -> Vec<(Bytes, Bytes)> {
    model
        .iter()
        .filter(|((s, k), _)| {
            *s == space
                && &k[..] >= low
                && match high {
                    Bound::Excluded(high) => &k[..] < high,
                    Bound::Included(high) => &k[..] <= high,
                    Bound::Unbounded => true,
                }
        })
        .map(|((_, k), v)| (Bytes::from(k.clone()), v.clone()))
        .collect()
}

fn same(snapshot: &Snapshot, model: &Model) {
    for space in 0..3 {
        let want = range_of(model, space, &[], Bound::Unbounded);
        let got: Vec<_> = snapshot
            .range(Space(space), ..)
            .map(Result::unwrap)
            .collect();
        assert_eq!(got, want, "space {space}");
        let mut back: Vec<_> = snapshot
            .range(Space(space), ..)
            .rev()
            .map(Result::unwrap)
            .collect();
        back.reverse();
        assert_eq!(back, want, "space {space} from the back");
        let keys: Vec<_> = snapshot
            .keys(Space(space), ..)
            .map(Result::unwrap)
            .collect();
        assert!(keys.iter().eq(want.iter().map(|(k, _)| k)));
        for (key, value) in &want {
            assert_eq!(
                snapshot.get(Space(space), key).unwrap().as_ref(),
                Some(value)
            );
        }
    }
}

fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), options()).unwrap();
    let mut model = Model::new();
    let mut snapshots: Vec<(Snapshot, Model)> = vec![];
    for step in steps {
        match step {
            Step::Commit(ops, synced) => {
                let mut batch = Batch::new();
                for op in &ops {
                    apply(&mut model, &mut batch, op);
                }
                let durability = if synced {
                    Durability::Synced
                } else {
                    Durability::Buffered
                };
                store.commit(batch, durability).unwrap();
                for op in &ops {
                    if let Op::Put(space, key, ..) | Op::Delete(space, key) = op {
                        let want = model.get(&(*space, key.clone()));
                        assert_eq!(store.get(Space(*space), key).unwrap().as_ref(), want);
                        assert_eq!(store.contains(Space(*space), key).unwrap(), want.is_some());
                    }
                }
            }
            Step::Checkpoint => {
                store.checkpoint().unwrap();
            }
            Step::Snapshot => snapshots.push((store.snapshot(), model.clone())),
            Step::Forget => {
                if let Some((snapshot, model)) = snapshots.pop() {
                    same(&snapshot, &model);
                }
            }
            Step::Reopen => {
                for (snapshot, model) in snapshots.drain(..) {
                    same(&snapshot, &model);
                }
                store.close().unwrap();
                drop(store);
                store = Store::open(dir.path(), options()).unwrap();
            }
            Step::Compare(space, low, high, ends) => {
                let want = range_of(&model, space, &low, Bound::Included(&high));
                let snapshot = store.snapshot();
                let mut scan = snapshot.scan(Space(space), &low[..]..=&high[..]);
                for (key, value) in &want {
                    assert_eq!(scan.next_entry().unwrap(), Some((&key[..], &value[..])));
                }
                assert_eq!(scan.next_entry().unwrap(), None);
                let mut want = std::collections::VecDeque::from(want);
                let mut range = snapshot.range(Space(space), &low[..]..=&high[..]);
                for back in ends {
                    let (got, want) = if back {
                        (range.next_back(), want.pop_back())
                    } else {
                        (range.next(), want.pop_front())
                    };
                    assert_eq!(got.map(Result::unwrap), want);
                }
            }
        }
    }
    for (snapshot, model) in &snapshots {
        same(snapshot, model);
    }
    same(&store.snapshot(), &model);
    store.checkpoint().unwrap();
    same(&store.snapshot(), &model);
    let report = store.check(&mut |_, _| {}).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    assert_eq!(report.keys, model.len() as u64);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, max_shrink_iters: 400, ..ProptestConfig::default() })]
    #[test]
    fn reads_as_a_map_does(steps in prop::collection::vec(step(), 1..60)) {
        run(steps);
    }
}

/// Tables of several levels, with deleted ranges over many blocks.
#[test]
fn a_large_store_reads_as_a_map_does() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), options()).unwrap();
    let mut model = Model::new();
    let key = |n: u64| {
        let mut key = n.to_be_bytes().to_vec();
        if n.is_multiple_of(3) {
            key.extend_from_slice(&[b'x'; 40]);
        }
        key
    };
    for round in 0..12u64 {
        for _ in 0..8 {
            let mut batch = Batch::new();
            for _ in 0..800 {
                let n = rng.random_range(0..30_000);
                let op = match rng.random_range(0..200) {
                    0 => Op::DeleteRange(1, key(n), key(n + rng.random_range(0..300))),
                    1..20 => Op::Delete(1, key(n)),
                    20 => Op::Put(1, key(n), 1_500, n as u8),
                    _ => Op::Put(1, key(n), rng.random_range(0..90), n as u8),
                };
                apply(&mut model, &mut batch, &op);
            }
            store.commit(batch, Durability::Buffered).unwrap();
        }
        store.checkpoint().unwrap();
        if round == 6 {
            let mut batch = Batch::new();
            apply(
                &mut model,
                &mut batch,
                &Op::DeleteRange(1, key(3_000), key(20_000)),
            );
            store.commit(batch, Durability::Buffered).unwrap();
        }
        if round % 4 == 3 {
            same(&store.snapshot(), &model);
            store.close().unwrap();
            drop(store);
            store = Store::open(dir.path(), options()).unwrap();
        }
        for _ in 0..300 {
            let n = rng.random_range(0..31_000);
            let want = model.get(&(1, key(n)));
            assert_eq!(store.get(Space(1), &key(n)).unwrap().as_ref(), want);
            let low = key(n);
            let snapshot = store.snapshot();
            let ahead: Vec<_> = snapshot
                .range(Space(1), &low[..]..)
                .take(3)
                .map(Result::unwrap)
                .collect();
            let want: Vec<_> = model
                .range((1, low.clone())..)
                .take(3)
                .map(|((_, k), v)| (Bytes::from(k.clone()), v.clone()))
                .collect();
            assert_eq!(ahead, want);
            let before = snapshot.range(Space(1), ..&low[..]).next_back();
            let want = model.range((1, vec![])..(1, low)).next_back();
            assert_eq!(
                before.map(Result::unwrap),
                want.map(|((_, k), v)| (Bytes::from(k.clone()), v.clone()))
            );
        }
    }
    same(&store.snapshot(), &model);
    let report = store.check(&mut |_, _| {}).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    let info = store.info().unwrap();
    assert!(info.table_entries < 2 * info.keys + 20_000, "{info:?}");
}
