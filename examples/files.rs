//! Files: put, get and list them, look at an old version, and copy them into a folder.
//!
//!     cargo run --example files

use futures_util::TryStreamExt;
use pome::{
    Corestore, DriveOptions, Hyperdrive, Localdrive, MirrorOptions, Mirrordrive, Options, Store,
    drive_fs::{ListOptions, LocalOptions, PutOptions},
};
use std::pin::pin;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let store = Corestore::open(Store::open(folder.path(), Options::default())?)?;
    let drive = Hyperdrive::open(store.namespace("home"), DriveOptions::default()).await?;
    println!("drive {}", drive.key());

    let plain = PutOptions::default;
    drive.put("/notes/today.txt", "buy apples", plain()).await?;
    drive.symlink("/latest", "notes/today.txt", None).await?;

    // Large files go in part by part, and come out from anywhere.
    let mut file = drive.write_stream("/big.bin", plain()).await?;
    for part in 0..64u8 {
        file.write(vec![part; 100_000]).await?;
    }
    file.finish().await?;
    let entry = drive.entry("/big.bin").await?.ok_or("no entry")?;
    assert_eq!(drive.read_at(&entry, 3_200_000, 4).await?, [32; 4][..]);

    let mut list = pin!(drive.list("/", ListOptions::default()));
    while let Some(entry) = list.try_next().await? {
        println!("{:>8} {}", entry.byte_length(), entry.path);
    }

    // Every change is a version, and every version stays readable.
    let before = drive.version();
    drive.put("/notes/today.txt", "bought", plain()).await?;
    let old = drive.checkout(before)?.get("/notes/today.txt").await?;
    assert_eq!(old.as_deref(), Some(&b"buy apples"[..]));

    // A mirror copies what differs, and nothing else.
    let target = tempfile::tempdir()?;
    let local = Localdrive::open(target.path(), LocalOptions::default())?;
    let mirror = Mirrordrive::new(drive.clone(), local, MirrorOptions::default());
    let count = mirror.run(|event| println!("{} {}", event.op.as_str(), event.path));
    assert_eq!(count.await?.add, 3);
    assert_eq!(
        std::fs::read_to_string(target.path().join("latest"))?,
        "bought"
    );
    assert_eq!(mirror.run(|_| ()).await?.add, 0);
    store.close().await?;
    Ok(())
}
