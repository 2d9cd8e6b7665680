//! A signed log: append, read, find a byte, close, open again.
//!
//!     cargo run --example log [FOLDER]

use pome::{CoreOptions, Corestore, Durability, Options, Store};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Without a folder the store lives as long as the example runs.
    let temporary = tempfile::tempdir()?;
    let folder = match std::env::args_os().nth(1) {
        Some(folder) => folder.into(),
        None => temporary.path().to_owned(),
    };

    let store = Corestore::open(Store::open(&folder, Options::default())?)?;
    let log = store.get(CoreOptions::name("log")).await?;
    println!("core {}", log.key());

    // An append is answered once it survives the end of this process; a batch is all there or not at all.
    let start = log.length();
    log.append("hello").await?;
    log.append_batch(vec!["a".into(), "batch".into()]).await?;
    // This one is answered once it is on disk, with all that came before it.
    let appended = log
        .append_with(vec!["safe".into()], Durability::Synced)
        .await?;
    assert_eq!(appended.length, start + 4);

    // Blocks are read by index, or found by a byte offset.
    assert_eq!(log.get(start).await?, "hello");
    let (block, offset) = log.seek(appended.byte_length - 2).await?;
    assert_eq!((block, offset), (start + 3, 2));

    let (key, hash) = (log.key(), log.tree_hash().await?);
    store.close().await?;
    drop((log, store));

    // The same name opens the same core, with every block.
    let store = Corestore::open(Store::open(&folder, Options::default())?)?;
    let log = store.get(CoreOptions::name("log")).await?;
    assert_eq!((log.key(), log.tree_hash().await?), (key, hash));
    for index in 0..log.length() {
        println!(
            "{index} {}",
            String::from_utf8_lossy(&log.get(index).await?)
        );
    }
    store.close().await?;
    Ok(())
}
