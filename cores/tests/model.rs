//! Hypercore against a plain list of blocks: any run of operations must leave both the same, before and after the store is opened again.

#![allow(clippy::unwrap_used)]

use std::ops::Range;

use bytes::Bytes;
use pome_cores::{CoreOptions, Corestore, Durability, GetOptions, Hypercore, Store};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Op {
    Append(Vec<Vec<u8>>),
    Truncate(u64),
    Clear(Range<u64>),
    Get(u64),
    Has(Range<u64>),
    Seek(u64),
    Snapshot,
    DropSnapshot,
    /// Opens the cores again, or the store itself, perhaps after a checkpoint.
    Reopen {
        store: bool,
        checkpoint: bool,
    },
    /// Truncate or not, append, and a local key, in one transaction that commits or not.
    Transaction {
        truncate: Option<u64>,
        append: Vec<Vec<u8>>,
        commit: bool,
    },
    UserData(u8, Option<Vec<u8>>),
}

fn blocks() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..12)
}

fn range() -> impl Strategy<Value = Range<u64>> {
    (0u64..70, 0u64..20).prop_map(|(start, count)| start..start + count)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => blocks().prop_map(Op::Append),
        2 => (0u64..60).prop_map(Op::Truncate),
        2 => range().prop_map(Op::Clear),
        3 => (0u64..70).prop_map(Op::Get),
        2 => range().prop_map(Op::Has),
        2 => (0u64..900).prop_map(Op::Seek),
        2 => Just(Op::Snapshot),
        1 => Just(Op::DropSnapshot),
        1 => any::<(bool, bool)>().prop_map(|(store, checkpoint)| Op::Reopen { store, checkpoint }),
        2 => (prop::option::of(0u64..40), blocks(), any::<bool>())
            .prop_map(|(truncate, append, commit)| Op::Transaction { truncate, append, commit }),
        1 => (0u8..3, prop::option::of(prop::collection::vec(any::<u8>(), 0..9)))
            .prop_map(|(key, value)| Op::UserData(key, value)),
    ]
}

/// What a core should be.
#[derive(Debug, Clone, Default)]
struct Model {
    /// Size of every block; content of those that are here.
    blocks: Vec<(usize, Option<Vec<u8>>)>,
    fork: u64,
    user_data: [Option<Vec<u8>>; 3],
    local: Option<Vec<u8>>,
}

impl Model {
    fn append(&mut self, blocks: &[Vec<u8>]) {
        let here = blocks
            .iter()
            .map(|block| (block.len(), Some(block.clone())));
        self.blocks.extend(here);
    }

    fn contiguous(&self) -> u64 {
        let here = self.blocks.iter().take_while(|(_, block)| block.is_some());
        here.count() as u64
    }

    fn truncate(&mut self, length: u64) {
        self.blocks.truncate(length as usize);
        self.fork += 1;
    }

    fn has_all(&self) -> bool {
        self.contiguous() == self.blocks.len() as u64
    }
}

const NO_WAIT: GetOptions = GetOptions {
    no_wait: true,
    timeout: None,
};

async fn check(core: &Hypercore, model: &Model) {
    let bytes: usize = model.blocks.iter().map(|(size, _)| size).sum();
    assert_eq!(core.length(), model.blocks.len() as u64);
    assert_eq!(core.byte_length(), bytes as u64);
    assert_eq!(core.fork(), model.fork);
    assert_eq!(core.contiguous_length(), model.contiguous());
    let info = core.info().await.unwrap();
    assert_eq!(
        (
            info.length,
            info.byte_length,
            info.fork,
            info.contiguous_length
        ),
        (
            core.length(),
            core.byte_length(),
            core.fork(),
            core.contiguous_length()
        )
    );
}

async fn check_all(core: &Hypercore, model: &Model) {
    check(core, model).await;
    for (index, (_, block)) in (0..).zip(&model.blocks) {
        let found = core.get_with(index, NO_WAIT).await.unwrap();
        assert_eq!(found.as_deref(), block.as_deref(), "block {index}");
        check_part(core, index, block.as_deref()).await;
    }
}

/// A few bytes out of a block, some of which may lie past its end.
async fn check_part(core: &Hypercore, index: u64, block: Option<&[u8]>) {
    for wanted in [0..1, 1..4, 3..300] {
        let part = core.get_part(index, wanted.clone(), NO_WAIT).await.unwrap();
        let part = part.map(|part| (part.bytes, part.whole));
        let want = block.map(|block| {
            let end = wanted.end.min(block.len());
            let bytes = &block[wanted.start.min(end)..end];
            (Bytes::copy_from_slice(bytes), block.len())
        });
        assert_eq!(part, want, "{wanted:?} of block {index}");
    }
}

/// What was cleared before the snapshot was made may be there or not.
async fn check_snapshot(snapshot: &Hypercore, model: &Model) {
    check(snapshot, model).await;
    for (index, (_, block)) in (0..).zip(&model.blocks) {
        let Some(block) = block else { continue };
        let found = snapshot.get_with(index, NO_WAIT).await.unwrap();
        assert_eq!(
            found.as_deref(),
            Some(&block[..]),
            "block {index} of a snapshot"
        );
        check_part(snapshot, index, Some(block)).await;
    }
}

async fn open(store: &Store, encrypted: bool) -> (Corestore, Hypercore) {
    let cores = Corestore::open(store.clone()).unwrap();
    let mut options = CoreOptions::name("model");
    if encrypted {
        options = options.with_encryption_key([7; 32]);
    }
    let core = cores.get(options).await.unwrap();
    (cores, core)
}

fn bytes(blocks: &[Vec<u8>]) -> Vec<Bytes> {
    blocks.iter().cloned().map(Bytes::from).collect()
}

async fn run(ops: Vec<Op>, encrypted: bool) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path(), Default::default()).unwrap();
    let (mut cores, mut core) = open(&store, encrypted).await;
    let mut model = Model::default();
    let mut snapshots: Vec<(Hypercore, Model)> = Vec::new();
    for op in ops {
        match op {
            Op::Append(blocks) => {
                let appended = core.append_batch(bytes(&blocks)).await.unwrap();
                model.append(&blocks);
                assert_eq!(appended.length, model.blocks.len() as u64);
                assert_eq!(
                    appended.byte_length,
                    core.byte_length() + core.length() * core.padding()
                );
            }
            Op::Truncate(length) => match core.truncate(length).await {
                Ok(()) => model.truncate(length),
                Err(error) => {
                    // too long, or through a cleared part whose tree nodes are gone
                    assert_eq!(error.code(), "INVALID_OPERATION");
                    assert!(length > core.length() || !model.has_all());
                }
            },
            Op::Clear(range) => {
                let mut count = 0;
                for (_, block) in model
                    .blocks
                    .iter_mut()
                    .skip(range.start as usize)
                    .take(range.clone().count())
                {
                    count += u64::from(block.take().is_some());
                }
                assert_eq!(core.clear(range).await.unwrap(), count);
            }
            Op::Get(index) => {
                let found = core.get_with(index, NO_WAIT).await.unwrap();
                let expected = model.blocks.get(index as usize);
                assert_eq!(
                    found.as_deref(),
                    expected.and_then(|(_, block)| block.as_deref())
                );
            }
            Op::Has(range) => {
                let here = |index: u64| {
                    let block = model.blocks.get(index as usize);
                    block.is_some_and(|(_, block)| block.is_some())
                };
                let expected = range.clone().all(here);
                assert_eq!(core.has(range).await.unwrap(), expected);
            }
            Op::Seek(offset) => {
                let mut expected = None;
                let mut start = 0;
                for (index, (size, _)) in (0u64..).zip(&model.blocks) {
                    let end = start + *size as u64;
                    if expected.is_none() && (offset == start || offset < end) {
                        expected = Some((index, offset - start));
                    }
                    start = end;
                }
                if expected.is_none() && offset == start {
                    expected = Some((model.blocks.len() as u64, 0));
                }
                let found = core.seek_with(offset, NO_WAIT).await.unwrap();
                match (found, expected) {
                    // empty blocks: any of them, or the block after, has the byte at its start
                    (Some((block, 0)), Some((_, 0))) => {
                        let before: usize =
                            model.blocks[..block as usize].iter().map(|b| b.0).sum();
                        assert_eq!(before as u64, offset);
                    }
                    (None, Some(_)) => assert!(!model.has_all()),
                    (found, expected) => assert_eq!(found, expected),
                }
            }
            Op::Snapshot => snapshots.push((core.snapshot().unwrap(), model.clone())),
            Op::DropSnapshot => {
                snapshots.pop();
            }
            Op::Reopen {
                store: whole,
                checkpoint,
            } => {
                for (snapshot, model) in snapshots.drain(..) {
                    check_snapshot(&snapshot, &model).await;
                }
                drop(core);
                if checkpoint {
                    store.checkpoint().unwrap();
                }
                if whole {
                    cores.close().await.unwrap();
                    store = Store::open(dir.path(), Default::default()).unwrap();
                }
                drop(cores);
                (cores, core) = open(&store, encrypted).await;
                check_all(&core, &model).await;
            }
            Op::Transaction {
                truncate,
                append,
                commit,
            } => {
                let local = cores.local("model").unwrap();
                let mut transaction = cores.transaction();
                let mut after = model.clone();
                if let Some(length) = truncate {
                    match transaction.truncate(&core, length).await {
                        Ok(()) => after.truncate(length),
                        Err(error) => assert_eq!(error.code(), "INVALID_OPERATION"),
                    }
                }
                // two appends to one core are one batch
                let (first, second) = append.split_at(append.len() / 2);
                transaction.append(&core, bytes(first)).await.unwrap();
                let appended = transaction.append(&core, bytes(second)).await.unwrap();
                after.append(&append);
                let value = vec![append.len() as u8];
                transaction.batch().put(local.space(), "key", value.clone());
                after.local = Some(value);
                assert_eq!(appended.length, after.blocks.len() as u64);
                check(&core, &model).await;
                if commit {
                    transaction.commit(Durability::Buffered).await.unwrap();
                    model = after;
                }
                let stored = local.get(b"key").unwrap();
                assert_eq!(stored.as_deref(), model.local.as_deref());
            }
            Op::UserData(key, value) => {
                let name = format!("key {key}");
                core.set_user_data(&name, value.clone().map(Bytes::from))
                    .await
                    .unwrap();
                model.user_data[key as usize] = value;
            }
        }
        check(&core, &model).await;
        for (snapshot, model) in &snapshots {
            assert_eq!(snapshot.length(), model.blocks.len() as u64);
            assert_eq!(snapshot.fork(), model.fork);
        }
    }
    check_all(&core, &model).await;
    for (snapshot, model) in &snapshots {
        check_snapshot(snapshot, model).await;
    }
    for (key, value) in model.user_data.iter().enumerate() {
        let found = core.user_data(&format!("key {key}")).await.unwrap();
        assert_eq!(found.as_deref(), value.as_deref());
    }
    let audit = core.audit(|_| ()).await.unwrap();
    assert!(audit.problems.is_empty(), "{:?}", audit.problems);
    let here = model.blocks.iter().filter(|(_, block)| block.is_some());
    assert_eq!(audit.blocks, here.count() as u64);
}

fn block_on(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.unwrap().block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn plain(ops in prop::collection::vec(op(), 0..60)) {
        block_on(run(ops, false));
    }

    #[test]
    fn encrypted(ops in prop::collection::vec(op(), 0..60)) {
        block_on(run(ops, true));
    }
}
