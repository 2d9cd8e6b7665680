//! A sorted database: put, read a range, change several keys at once, look at an old version, and at what changed since.
//!
//!     cargo run --example database

use futures_util::TryStreamExt;
use pome::{CoreOptions, Corestore, Durability, Hyperbee, Options, Store, bee::RangeOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let store = Corestore::open(Store::open(folder.path(), Options::default())?)?;
    // A bee lives in a core: every change is one block, and every length of the core is a version of the database.
    let fruit = Hyperbee::new(store.get(CoreOptions::name("fruit")).await?);

    fruit.put(b"apple", "red").await?;
    fruit.put(b"banana", "yellow").await?;
    fruit.put(b"cherry", "red").await?;
    fruit.put(b"grape", "green").await?;
    let before = fruit.version();

    // Keys come in the order of their bytes.
    let range = RangeOptions::new().with_gte("b").with_lt("g");
    let entries: Vec<_> = fruit.range(range).try_collect().await?;
    let keys: Vec<_> = entries.iter().map(|entry| &entry.key[..]).collect();
    assert_eq!(keys, [&b"banana"[..], b"cherry"]);

    // A batch sees its own changes; others see all of them or none.
    let mut batch = fruit.batch();
    batch.put(b"apple", "green").await?;
    batch.del(b"cherry").await?;
    assert!(batch.get(b"cherry").await?.is_none());
    assert!(fruit.get(b"cherry").await?.is_some());
    batch.flush(Durability::Synced).await?;
    assert!(fruit.get(b"cherry").await?.is_none());

    // The old version is still there.
    let old = fruit.checkout(before);
    let cherry = old.get(b"cherry").await?;
    assert_eq!(cherry.and_then(|entry| entry.value), Some("red".into()));

    // What is different now.
    let changes: Vec<_> = fruit.diff(&old, RangeOptions::new()).try_collect().await?;
    for change in &changes {
        let now = change.left.as_ref().and_then(|entry| entry.value.clone());
        let was = change.right.as_ref().and_then(|entry| entry.value.clone());
        println!("{was:?} became {now:?}");
    }
    assert_eq!(changes.len(), 2);
    store.close().await?;
    Ok(())
}
