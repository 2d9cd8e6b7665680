//! Two peers over a wire in memory.
#![allow(clippy::unwrap_used, reason = "a failure is the test's message")]

mod net;

use net::{Clock, Place, Wire, settle};
use pome_cores::{CoreOptions, Hypercore};

async fn writer(place: &Place) -> Hypercore {
    place.cores.get(CoreOptions::name("log")).await.unwrap()
}

async fn reader(place: &Place, core: &Hypercore) -> Hypercore {
    place.cores.get(CoreOptions::key(core.key())).await.unwrap()
}

fn blocks(from: u64, count: u64) -> Vec<bytes::Bytes> {
    (from..from + count)
        .map(|at| format!("block {at}").into())
        .collect()
}

#[tokio::test]
async fn a_reader_gets_longer_and_fetches_a_block() {
    let (a, b, clock) = (Place::new(), Place::new(), Clock::new());
    let log = writer(&a).await;
    log.append_batch(blocks(0, 100)).await.unwrap();
    a.sync();
    let copy = reader(&b, &log).await;
    let mut wire = Wire::new(&a.cores, &b.cores, clock.0);
    settle(&mut wire, &[&a, &b], clock.0);
    assert_eq!(copy.length(), 100);
    assert_eq!(copy.manifest(), log.manifest());
    assert_eq!(copy.contiguous_length(), 0, "nothing is fetched unasked");
    let get = tokio::spawn({
        let copy = copy.clone();
        async move { copy.get(42).await.unwrap() }
    });
    tokio::task::yield_now().await;
    settle(&mut wire, &[&a, &b], clock.0);
    assert_eq!(get.await.unwrap(), "block 42");
    assert!(!copy.has(0..1).await.unwrap());
}
