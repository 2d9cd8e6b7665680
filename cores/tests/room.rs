//! A store that may not grow: reads and downloads ask for what there is room for, and what came and went is not fetched again.
#![allow(clippy::unwrap_used, reason = "a test says what it expects")]

mod net;

use std::time::Duration;

use bytes::Bytes;
use net::{Pair, Place, idle, reader, writer};
use pome_cores::{Error, Hypercore, room::Space};

const BLOCKS: u64 = 400;
const SIZE: u64 = 1000;

fn block(n: u64) -> Bytes {
    vec![n as u8; SIZE as usize].into()
}

/// A writer, and a reader of it that knows its length and the size of its blocks.
async fn pair() -> (Pair, Hypercore) {
    let (a, b) = (Place::new(), Place::new());
    let log = writer(&a).await;
    log.append_batch((0..BLOCKS).map(block).collect())
        .await
        .unwrap();
    let copy = reader(&b, &log).await;
    let pair = Pair::new(a, b);
    assert_eq!(copy.length(), BLOCKS);
    (pair, copy)
}

async fn held(core: &Hypercore) -> u64 {
    let mut here = 0;
    for index in 0..core.length() {
        here += u64::from(core.has(index..index + 1).await.unwrap());
    }
    here
}

/// As much as goes without more room.
async fn go(pair: &mut Pair) {
    for _ in 0..20 {
        pair.settle();
        idle().await;
        pair.clock.pass(Duration::from_millis(20));
    }
}

#[tokio::test]
async fn a_download_stands_still_without_room_and_ends_behind_what_is_cleared() {
    let (mut pair, copy) = pair().await;
    let cores = pair.b.cores.clone();
    cores.set_room(Space::Bytes(0));
    let mut download = copy.download(0..BLOCKS).unwrap();
    go(&mut pair).await;
    assert_eq!(held(&copy).await, 0);
    let mut came = 0;
    let mut rounds = 0;
    while came < BLOCKS {
        // Somebody wants room, is given some, and uses it, and not much more.
        tokio::time::timeout(pome_test_support::PATIENCE, cores.room_wanted())
            .await
            .unwrap();
        cores.set_room(Space::Bytes(40 * SIZE));
        go(&mut pair).await;
        let here = held(&copy).await;
        assert!(
            (20..=41).contains(&here) || came + here == BLOCKS,
            "{here} came"
        );
        came += here;
        // What came first goes.
        copy.clear(0..BLOCKS).await.unwrap();
        rounds += 1;
    }
    assert!(rounds >= 10, "{rounds}");
    let done = tokio::time::timeout(pome_test_support::PATIENCE, download.done());
    done.await.expect("it is complete").unwrap();
    go(&mut pair).await;
    assert_eq!(
        held(&copy).await,
        0,
        "what came and went is not fetched again"
    );
    // Who asks anew has it anew.
    cores.set_room(Space::Unlimited);
    let mut download = copy.download(5..10).unwrap();
    pair.run(async move { download.done().await })
        .await
        .unwrap();
    assert_eq!(held(&copy).await, 5);
}

#[tokio::test]
async fn where_there_never_is_room_a_download_says_so() {
    let (mut pair, copy) = pair().await;
    pair.b.cores.set_room(Space::Nothing);
    let mut download = copy.download(0..BLOCKS).unwrap();
    let refused = pair.run(async move { download.done().await }).await;
    assert!(matches!(refused, Err(Error::NoRoom)), "{refused:?}");
    assert_eq!(held(&copy).await, 0);
    // One that stands still already hears of it, too; one that has all is not held up.
    pair.b.cores.set_room(Space::Bytes(0));
    let mut waiting = copy.download(0..BLOCKS).unwrap();
    let waiting = tokio::spawn(async move { waiting.done().await });
    go(&mut pair).await;
    assert!(!waiting.is_finished());
    pair.b.cores.set_room(Space::Nothing);
    go(&mut pair).await;
    assert!(matches!(waiting.await.unwrap(), Err(Error::NoRoom)));
    let mut nothing = copy.download(0..0).unwrap();
    nothing.done().await.unwrap();
}

/// Blocks of a list, and a range without an end of a core that is cut and written anew.
#[tokio::test]
async fn lists_and_live_downloads_go_on() {
    let (mut pair, copy) = pair().await;
    let cores = pair.b.cores.clone();
    cores.set_room(Space::Bytes(10 * SIZE));
    let wanted: Vec<u64> = (0..100).map(|n| n * 3).collect();
    let mut list = copy.download_blocks(wanted.clone()).unwrap();
    let list = tokio::spawn(async move { list.done().await });
    for _ in 0..200 {
        go(&mut pair).await;
        if list.is_finished() {
            break;
        }
        let before = held(&copy).await;
        assert!(before <= 12, "{before}");
        copy.clear(0..BLOCKS).await.unwrap();
        cores.set_room(Space::Bytes(10 * SIZE));
    }
    list.await.unwrap().unwrap();

    cores.set_room(Space::Unlimited);
    let _live = copy.download(..).unwrap();
    go(&mut pair).await;
    assert_eq!(held(&copy).await, BLOCKS);
    let log = writer(&pair.a).await;
    log.truncate(BLOCKS - 100).await.unwrap();
    log.append_batch((0..50).map(|n| block(n + 7)).collect())
        .await
        .unwrap();
    go(&mut pair).await;
    assert_eq!((copy.length(), copy.fork()), (BLOCKS - 50, 1));
    assert_eq!(
        held(&copy).await,
        BLOCKS - 50,
        "what is new at an old place comes"
    );
    assert_eq!(copy.get(BLOCKS - 100).await.unwrap(), block(7));
}
