//! Cores whose writer is broken or means harm: every call answers, in bounded time, with entries or an error.
#![allow(clippy::unwrap_used)]
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use pome_bee::{Error, HistoryOptions, Hyperbee, RangeOptions};
use pome_cores::{CoreOptions, Corestore, Durability, Hypercore};
use proptest::prelude::*;

async fn core() -> (tempfile::TempDir, Hypercore) {
    let folder = tempfile::tempdir().unwrap();
    let store = pome_storage::Store::open(folder.path(), pome_storage::Options::default()).unwrap();
    let cores = Corestore::open(store).unwrap();
    let core = cores.get(CoreOptions::name("bee")).await.unwrap();
    (folder, core)
}

async fn with_blocks(blocks: Vec<Bytes>) -> (tempfile::TempDir, Hyperbee) {
    let (folder, core) = core().await;
    core.append_batch(blocks).await.unwrap();
    (folder, Hyperbee::new(core).with_wait(false))
}

/// The blocks of an honest bee.
async fn honest(keys: u8, batches: bool) -> Vec<Bytes> {
    let (_folder, core) = core().await;
    let bee = Hyperbee::new(core.clone());
    let mut batch = bee.batch();
    for n in 0..keys {
        let key = [b'k', n.wrapping_mul(37)];
        batch.put(&key, vec![n; 3]).await.unwrap();
        if n % 5 == 4 {
            batch.del(&[b'k', (n - 3).wrapping_mul(37)]).await.unwrap();
        }
        if !batches || n % 16 == 15 {
            batch.flush(Durability::Buffered).await.unwrap();
            batch = bee.batch();
        }
    }
    batch.flush(Durability::Buffered).await.unwrap();
    let mut blocks = Vec::new();
    for i in 0..core.length() {
        blocks.push(core.get(i).await.unwrap());
    }
    blocks
}

/// Everything that can be asked, without a look at the answers.
async fn ask_everything(bee: &Hyperbee) {
    let all = RangeOptions::new;
    for n in 0..=255u8 {
        let _ = bee.get(&[b'k', n]).await;
    }
    let ranges = [
        all(),
        all().with_reverse(true),
        all().with_gt(b"k\x40").with_lte(b"k\xd0"),
        all()
            .with_gte(b"k\x40")
            .with_lt(b"k\xd0")
            .with_reverse(true),
    ];
    for range in ranges {
        let _: Result<Vec<_>, _> = bee.range(range.clone()).try_collect().await;
        for version in [1, bee.version() / 2, bee.version() - 1] {
            let old = bee.checkout(version);
            let _: Result<Vec<_>, _> = bee.diff(&old, range.clone()).try_collect().await;
            let _: Result<Vec<_>, _> = old.diff(bee, range.clone()).try_collect().await;
        }
    }
    let history: Vec<_> = bee.history(HistoryOptions::default()).collect().await;
    drop(history);
    for seq in 0..bee.version() {
        let _ = bee.get_by_seq(seq).await;
    }
    let _ = bee.header().await;
    let mut batch = bee.batch();
    for n in (0..=255u8).step_by(7) {
        let key = [b'k', n];
        let failed = match n % 2 {
            0 => batch.put(&key, "new").await.is_err(),
            _ => batch.del(&key).await.is_err(),
        };
        if failed {
            let _ = batch.range(all()).try_collect::<Vec<_>>().await;
            batch.close();
            batch = bee.batch();
        }
    }
    let _ = batch.flush(Durability::Buffered).await;
    for n in (0..=255u8).step_by(11) {
        let _ = bee.del(&[b'k', n]).await;
        let _ = bee.put(&[b'k', n], "newer").await;
    }
}

fn run(blocks: Vec<Bytes>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (_folder, bee) = with_blocks(blocks).await;
        tokio::time::timeout(pome_test_support::PATIENCE, ask_everything(&bee))
            .await
            .expect("every walk ends");
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn changed_blocks_are_answers_or_errors(
        keys in 20..90u8,
        batches in any::<bool>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..96u8, 0..5u8), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut blocks = runtime.block_on(honest(keys, batches));
        for (block, place, byte, kind) in changes {
            let other = place.get(&blocks).clone();
            let block = {
                let at = block.index(blocks.len());
                &mut blocks[at]
            };
            let mut bytes = block.to_vec();
            match kind {
                0 => bytes = other.to_vec(),
                1 => bytes.truncate(place.index(bytes.len() + 1)),
                _ if bytes.is_empty() => {}
                // small numbers: seqs, offsets, lengths and tags
                _ => {
                    let at = place.index(bytes.len());
                    bytes[at] = byte;
                }
            }
            *block = bytes.into();
        }
        run(blocks);
    }

    #[test]
    fn made_up_indexes_are_answers_or_errors(
        blocks in prop::collection::vec(
            prop::collection::vec((prop::collection::vec(0..40u8, 0..10), prop::collection::vec((0..40u8, 0..4u8), 0..11), any::<bool>()), 0..5),
            1..40,
        ),
    ) {
        let mut list = vec![Bytes::from_static(b"\x0a\x08hyperbee")];
        for levels in blocks {
            let seq = list.len() as u8;
            let mut index = Vec::new();
            for (mut keys, children, fits) in levels {
                let mut children: Vec<_> = children.into_iter().flat_map(|(s, o)| [s % (seq + 1), o]).collect();
                if fits {
                    keys.truncate(8);
                    keys.iter_mut().for_each(|k| *k = *k % seq + 1);
                    children.resize(2 * (keys.len() + 1), 1);
                }
                let level = [&[0x0a, keys.len() as u8][..], &keys, &[0x12, children.len() as u8], &children].concat();
                index.extend([0x0a, level.len() as u8]);
                index.extend(level);
            }
            // more than 127 bytes need a second byte of length
            let length = [index.len() as u8 & 0x7f | 0x80, (index.len() >> 7) as u8];
            let block = [&[0x0a][..], &length, &index, &[0x12, 2, b'k', seq * 6]].concat();
            list.push(block.into());
        }
        run(list);
    }
}

/// A node block: levels of (keys, children), and a key.
fn block(levels: &[(&[u8], &[u8])], key: &[u8]) -> Bytes {
    let mut index = Vec::new();
    for (keys, children) in levels {
        let mut level = vec![0x0a, keys.len() as u8];
        level.extend(*keys);
        if !children.is_empty() {
            level.extend([0x12, children.len() as u8]);
            level.extend(*children);
        }
        index.extend([0x0a, level.len() as u8]);
        index.extend(level);
    }
    let mut block = vec![0x0a, index.len() as u8];
    block.extend(index);
    block.extend([0x12, key.len() as u8]);
    block.extend(key);
    block.into()
}

const HEADER: Bytes = Bytes::from_static(b"\x0a\x08hyperbee");

async fn expect_decoding(bee: &Hyperbee, what: &str) {
    let read: Result<Vec<_>, _> = bee.range(RangeOptions::new()).try_collect().await;
    let error = read.expect_err("the tree is broken");
    assert_eq!(error.code(), "DECODING_ERROR");
    assert!(error.to_string().contains(what), "{error}");
}

/// A node that is its own child would be walked for ever.
#[tokio::test]
async fn a_node_that_is_its_own_child_is_an_error() {
    let root = block(&[(&[1], &[1, 0, 1, 0])], b"b");
    let (_folder, bee) = with_blocks(vec![HEADER, root]).await;
    expect_decoding(&bee, "deeper than any honest one").await;
    for key in [b"a", b"c"] {
        assert!(matches!(bee.get(key).await, Err(Error::Decoding { .. })));
        assert!(matches!(
            bee.put(key, "").await,
            Err(Error::Decoding { .. })
        ));
        assert!(matches!(bee.del(key).await, Err(Error::Decoding { .. })));
    }
}

/// Nine children that are one and the same, level upon level, would be walked 9^n times.
#[tokio::test]
async fn children_that_are_shared_are_an_error() {
    let mut blocks = vec![HEADER, block(&[(&[], &[])], b"a")];
    for seq in 2..30u8 {
        let below = [seq - 1, 0];
        blocks.push(block(&[(&[1, 1], &below.repeat(3))], &[b'b', seq]));
    }
    let (_folder, bee) = with_blocks(blocks).await;
    expect_decoding(&bee, "").await;
    let old = bee.checkout(bee.version() - 1);
    let diff = bee.diff(&old, RangeOptions::new()).try_collect::<Vec<_>>();
    let diff = tokio::time::timeout(pome_test_support::PATIENCE, diff).await;
    assert!(diff.expect("it ends").is_err());
}

#[tokio::test]
async fn each_wrong_reference_has_its_error() {
    let cases: [(&[u8], &[u8], &str); 5] = [
        (&[2], &[], "no earlier block"),
        (&[0], &[], "no earlier block"),
        (&[1], &[1, 1], "do not match"),
        (&[1], &[1, 1, 1, 7], "a level that is not there"),
        (&[1; 9], &[], "too many keys"),
    ];
    for (keys, children, what) in cases {
        let blocks = vec![HEADER, block(&[(keys, children), (&[], &[])], b"a")];
        let (_folder, bee) = with_blocks(blocks).await;
        expect_decoding(&bee, what).await;
    }
    let (_folder, bee) = with_blocks(vec![HEADER, HEADER]).await;
    expect_decoding(&bee, "it has no key").await;
    assert!(matches!(
        bee.get_by_seq(0).await,
        Err(Error::Decoding { seq: 0, .. })
    ));
    assert!(
        Hyperbee::is_hyperbee(bee.core(), Default::default())
            .await
            .unwrap()
    );
    let (_folder, no_bee) = with_blocks(vec![Bytes::from_static(b"hello")]).await;
    assert!(
        !Hyperbee::is_hyperbee(no_bee.core(), Default::default())
            .await
            .unwrap()
    );
    assert_eq!(no_bee.header().await.unwrap_err().code(), "DECODING_ERROR");
}

#[tokio::test]
async fn a_block_that_is_not_here_is_an_error_without_waiting() {
    let (_folder, bee) = with_blocks(vec![HEADER]).await;
    let ahead = bee.checkout(5);
    assert_eq!(ahead.get(b"a").await.unwrap_err().code(), {
        let key = bee.core().key();
        pome_cores::Error::BlockNotAvailable { key, index: 4 }.code()
    });
}
