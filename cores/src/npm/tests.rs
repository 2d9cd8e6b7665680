#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

use super::{NpmChange, NpmStorage, place, value};
use crate::{CoreOptions, Corestore, CorestoreOptions, crypto::KeyPair, layout};
use bytes::Bytes;
use pome_encoding::{DiscoveryKey, Key};
use pome_storage::{Options, Space, Store};
use proptest::prelude::*;

fn rows() -> (tempfile::TempDir, NpmStorage) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), Options::default()).unwrap();
    (folder, NpmStorage::open(store).unwrap())
}

fn put(key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> NpmChange {
    NpmChange::Put(Bytes::from(key.into()), Bytes::from(value.into()))
}

#[test]
fn keys_of_npm_name_their_rows() {
    for number in [
        0,
        0xfb,
        0xfc,
        0xffff,
        0x1_0000,
        u64::from(u32::MAX),
        1 << 40,
    ] {
        let key = place::block_key(Space(number), number);
        assert_eq!(
            place::parse(&key),
            place::Place::Block(Space(number), number)
        );
        let key = place::page_key(Space(3), number);
        assert_eq!(place::parse(&key), place::Place::Bitfield(Space(3), number));
    }
    let name = "a\0b";
    let key = place::user_data_key(Space(9), name.as_bytes());
    assert_eq!(
        place::parse(&key),
        place::Place::UserData(Space(9), name.into())
    );
    let core = DiscoveryKey([7; 32]);
    assert_eq!(
        place::parse(&place::core_key(&core)),
        place::Place::Core(core)
    );
    let (start, end) = place::all_of(Space(0xfb), false);
    assert!(
        start < place::block_key(Space(0xfb), 1 << 40)
            && place::block_key(Space(0xfb), 1 << 40) < end
    );
}

/// A core that npm's rows made is one of ours, and the other way round.
#[test]
fn a_core_in_rows_is_a_core() {
    let (folder, rows) = rows();
    let pair = KeyPair::from_seed(&[1; 32]);
    let manifest = crate::Manifest::single(pair.public);
    let key = manifest.key();
    let core = crate::crypto::discovery_key(&key);
    let moment = rows.moment();
    let head = value::store_head_parse(&moment.get(&[0]).unwrap().unwrap()).unwrap();
    let (pointer, space) = (head.cores, Space(head.datas));
    let record = layout::CoreRecord {
        space,
        key,
        manifest: Some(manifest.encode()),
        seed: Some(pair.seed()),
        forked: false,
    };
    let auth = value::auth(&core, &record, Some(b"secret")).unwrap();
    let auth_key = {
        let mut key = vec![3];
        place::put(&mut key, pointer);
        key.push(0);
        key
    };
    let next = value::StoreHead {
        cores: pointer + 1,
        datas: space.0 + 1,
        groups: 0,
        seed: Some([5; 32]),
        default: Some(core.0),
    };
    let changes = vec![
        put([0], value::store_head(&next)),
        put(place::core_key(&core), value::core(pointer, space.0)),
        put(auth_key.clone(), auth.clone()),
    ];
    rows.commit(changes).unwrap();
    assert_eq!(rows.moment().get(&auth_key).unwrap().unwrap(), auth);
    let found = rows.moment().rows(&[1], &[2], false, None).unwrap();
    assert_eq!(
        found.map(|row| row.unwrap().0).collect::<Vec<_>>(),
        [place::core_key(&core)]
    );
    // Pointers of this process mean nothing to the next one.
    rows.store().close().unwrap();
    let store = Store::open(folder.path(), Options::default()).unwrap();
    let again = NpmStorage::open(store.clone()).unwrap();
    let row = again
        .moment()
        .get(&place::core_key(&core))
        .unwrap()
        .unwrap();
    assert_eq!(value::core_parse(&row).unwrap(), (space.0, space.0));
    let cores = Corestore::open_with(store, CorestoreOptions::default()).unwrap();
    assert_eq!(*cores.primary_key(), [5; 32]);
}

/// Blocks that fill a gap move the contiguous length, and the bits are those of the blocks.
#[test]
fn bits_are_made_of_blocks() {
    let (_folder, rows) = rows();
    let space = Space(100);
    let head_key = {
        let mut key = vec![4];
        place::put(&mut key, space.0);
        key.push(0);
        key
    };
    let head = layout::HeadRecord {
        fork: 2,
        length: 2,
        byte_length: 0,
        contiguous: 0,
        tree_hash: [4; 32],
        signature: layout::Signed::Given(Bytes::new()),
    };
    let node = value::node(1, 9, &[8; 32]);
    let first = vec![
        put(place::node_key(space, 1), node.clone()),
        put(head_key.clone(), value::head(&head, &[], 77)),
        put(place::block_key(space, 1), *b"second"),
    ];
    rows.commit(first).unwrap();
    let page = |rows: &NpmStorage| {
        rows.moment()
            .get(&place::page_key(space, 0))
            .unwrap()
            .unwrap()[0]
    };
    assert_eq!(page(&rows), 0b10);
    assert_eq!(rows.moment().head(space).unwrap().unwrap().contiguous, 0);
    rows.commit(vec![put(place::block_key(space, 0), *b"one")])
        .unwrap();
    assert_eq!(page(&rows), 0b11);
    let kept = rows.moment().head(space).unwrap().unwrap();
    assert_eq!((kept.contiguous, kept.byte_length), (2, 9));
    assert_eq!(
        rows.moment().get(&head_key).unwrap().unwrap(),
        value::head(&head, &[], 77)
    );
    assert_eq!(
        rows.moment()
            .get(&place::node_key(space, 1))
            .unwrap()
            .unwrap(),
        node
    );
    // A head whose roots nobody has is none.
    let mut longer = head;
    longer.length = 3;
    assert!(
        rows.commit(vec![put(head_key, value::head(&longer, &[], 0))])
            .is_err()
    );
    let (start, end) = (place::block_key(space, 1), place::block_key(space, 2));
    rows.commit(vec![NpmChange::DeleteRange(start.into(), end.into())])
        .unwrap();
    assert_eq!(
        (
            page(&rows),
            rows.moment().head(space).unwrap().unwrap().contiguous
        ),
        (0b1, 1)
    );
}

#[tokio::test]
async fn a_head_that_its_owner_signs_is_signed_for_npm() {
    let (_folder, rows) = rows();
    let cores = Corestore::open(rows.store().clone()).unwrap();
    let core = cores.get(CoreOptions::name("log")).await.unwrap();
    core.append("a").await.unwrap();
    let row = rows.moment().get(&place::core_key(&core.discovery_key()));
    let (_, space) = value::core_parse(&row.unwrap().unwrap()).unwrap();
    let stored = rows.moment().head(Space(space)).unwrap().unwrap();
    let by_owner = layout::Signed::ByOwner(core.discovery_key());
    assert_eq!(stored.signature, by_owner);
    let mut key = vec![4];
    place::put(&mut key, space);
    key.push(0);
    let row = rows.moment().get(&key).unwrap().unwrap();
    let (head, _) = value::head_parse(&row).unwrap();
    let signature = core.signature().unwrap();
    assert_eq!(head.signature, layout::Signed::Given(signature));
    // It is of what the head says: npm's can look at the head of a core whose nodes are gone, and another tree is not signed.
    let root = place::node_key(Space(space), 0);
    let other = vec![put(root.clone(), value::node(0, 9, &[8; 32]))];
    rows.commit(other).unwrap();
    assert_eq!(rows.moment().get(&key).unwrap().unwrap(), row);
    rows.commit(vec![NpmChange::Delete(root.into())]).unwrap();
    assert_eq!(rows.moment().get(&key).unwrap().unwrap(), row);
}

/// npm truncates a core and leaves its branches as they are, so that they would show what is appended later.
#[tokio::test]
async fn what_a_core_loses_its_branches_lose() {
    let (_folder, rows) = rows();
    let cores = Corestore::open(rows.store().clone()).unwrap();
    let core = cores.get(CoreOptions::name("log")).await.unwrap();
    for block in ["a", "b", "c", "d", "e"] {
        core.append(block).await.unwrap();
    }
    core.branch("draft")
        .await
        .unwrap()
        .append("f")
        .await
        .unwrap();
    let key = core.discovery_key();
    let row = rows.moment().get(&place::core_key(&key)).unwrap().unwrap();
    let (_, space) = value::core_parse(&row).unwrap();
    let space = Space(space);
    let branches = rows.moment().branches(space).unwrap();
    let [(_, branch)] = branches.as_slice() else {
        panic!("{branches:?}");
    };
    let column = |of: Space, column| {
        let mut key = vec![4];
        place::put(&mut key, of.0);
        key.push(column);
        key
    };
    let shared = || {
        let row = rows.moment().get(&column(*branch, 1)).unwrap().unwrap();
        value::dependency_parse(&row).unwrap()
    };
    assert_eq!(shared(), (space, 5));
    let head = |fork, length| {
        let before = rows.moment().head(space).unwrap().unwrap();
        let head = layout::HeadRecord {
            fork,
            length,
            ..before
        };
        put(column(space, 0), value::head(&head, &[], 0))
    };
    let cut = |from: u64, to: u64| {
        let (from, to) = (place::block_key(space, from), place::block_key(space, to));
        NpmChange::DeleteRange(from.into(), to.into())
    };
    // What is cleared is still shared: it is the same block wherever it comes from.
    rows.commit(vec![cut(4, 5)]).unwrap();
    assert_eq!(shared(), (space, 5));
    rows.commit(vec![cut(4, 5), head(1, 4)]).unwrap();
    assert_eq!(shared(), (space, 4));
    // Another history, which has less of the old one than it is long.
    rows.commit(vec![cut(2, 4), head(2, 4)]).unwrap();
    assert_eq!(shared(), (space, 2));
    // What npm says of the branch itself counts.
    let said = put(column(*branch, 1), value::dependency(space.0, 3));
    rows.commit(vec![cut(1, 4), head(3, 4), said]).unwrap();
    assert_eq!(shared(), (space, 3));
    rows.commit(vec![cut(1, 4), head(4, 4)]).unwrap();
    assert_eq!(shared(), (space, 1));
}

/// A copy of a store may have signed less than the other one: npm's asks peers first.
#[test]
fn a_copy_is_recovering_until_peers_were_asked() {
    let (folder, rows) = rows();
    rows.store().close().unwrap();
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    let store = Store::open(copy.path(), Options::default()).unwrap();
    assert!(store.is_recovering());
    let rows = NpmStorage::open(store).unwrap();
    let hints_key = [4, 50, 2];
    let recovering = || {
        let hints = rows.moment().get(&hints_key).unwrap();
        hints.map(|hints| value::hints_parse(&hints).unwrap().1)
    };
    assert!(recovering().unwrap() > 0);
    rows.commit(vec![put(hints_key, *b"\x02\x09")]).unwrap();
    assert_eq!(recovering(), Some(0));
}

#[test]
fn manifests_come_back() {
    let mut manifest = crate::Manifest::single([2; 32]);
    for version in [0, 1] {
        manifest.version = version;
        let record = layout::CoreRecord {
            space: Space(1),
            key: Key([1; 32]),
            manifest: Some(manifest.encode()),
            seed: None,
            forked: false,
        };
        let auth = value::auth(&DiscoveryKey([3; 32]), &record, None).unwrap();
        let back = value::auth_parse(&auth).unwrap();
        assert_eq!((back.manifest, back.key), (record.manifest, record.key));
    }
}

proptest! {
    #[test]
    fn whatever_is_written_is_an_error_at_worst(
        table in 0_u8..8, key in prop::collection::vec(any::<u8>(), 0..40), value in prop::collection::vec(any::<u8>(), 0..80), kind in 0..3,
    ) {
        let (_folder, rows) = rows();
        let key = Bytes::from([&[table], &key[..]].concat());
        let change = match kind {
            0 => NpmChange::Put(key.clone(), value.into()),
            1 => NpmChange::Delete(key.clone()),
            _ => NpmChange::DeleteRange(key.clone(), value.into()),
        };
        let _ = rows.commit(vec![change]);
        let _ = rows.moment().get(&key);
        if let Ok(walk) = rows.moment().rows(&key, &[0xff], false, Some(10)) {
            walk.for_each(drop);
        }
    }
}
