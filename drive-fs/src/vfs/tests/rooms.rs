//! Single cases, and the helpers that all tests share.

use super::memory::MemoryDrive;
use crate::vfs::{mounted::overlay_name, node::ROOT, overlay::Overlay, *};
use pome_cores::{Corestore, Store};
use std::{
    ffi::OsStr,
    sync::Arc,
    time::{Duration, Instant},
};

/// A store in a folder that goes away with the first of the two.
pub(super) fn corestore() -> (tempfile::TempDir, Corestore) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), pome_storage::Options::default()).unwrap();
    (dir, Corestore::open(store).unwrap())
}

pub(super) struct Room {
    pub(super) vfs: Arc<Vfs>,
}

impl Room {
    pub(super) async fn open(corestore: &Corestore, drive: &Arc<MemoryDrive>) -> Self {
        Self::with(corestore, drive, VfsOptions::default()).await
    }

    pub(super) async fn with(
        corestore: &Corestore,
        drive: &Arc<MemoryDrive>,
        options: VfsOptions,
    ) -> Self {
        Self {
            vfs: Vfs::open(drive.clone(), corestore, "test", options)
                .await
                .unwrap(),
        }
    }
}

pub(super) const ME: Owner = Owner { uid: 0, gid: 0 };
pub(super) const WRITE: OpenMode = OpenMode {
    write: true,
    truncate: false,
    exclusive: false,
};

pub(super) fn name(name: &str) -> &OsStr {
    OsStr::new(name)
}

#[tokio::test]
async fn a_database_that_syncs_all_the_time_publishes_few_versions() {
    let (_dir, corestore) = corestore();
    let drive = MemoryDrive::new(corestore.clone());
    let options = VfsOptions {
        quiet: Duration::from_millis(20),
        at_most: Duration::from_millis(300),
        open_quiet: Duration::from_millis(200),
        open_at_most: Duration::from_millis(2000),
        ..VfsOptions::default()
    };
    let room = Room::with(&corestore, &drive, options).await;
    let publisher = tokio::spawn(Vfs::keep_publishing(Arc::downgrade(&room.vfs)));
    let (stat, handle) = room
        .vfs
        .create(ROOT, name("db"), 0o644, ME, WRITE)
        .await
        .unwrap();
    let began = Instant::now();
    for n in 0..100u64 {
        let (_, journal) = room
            .vfs
            .create(ROOT, name("db-journal"), 0o644, ME, WRITE)
            .await
            .unwrap();
        room.vfs
            .write(stat.ino, n * 100, vec![1; 100].into())
            .unwrap();
        room.vfs.sync().await.unwrap();
        room.vfs.close(journal).unwrap();
        room.vfs.unlink(ROOT, name("db-journal")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // On a machine that is busy there are pauses in which a version is made: one for each is right.
    let (versions, took) = (drive.versions(), began.elapsed());
    let pauses = took.as_millis() / 200;
    assert!(
        versions as u128 <= pauses + 2,
        "{versions} versions in {took:?}"
    );
    room.vfs.close(handle).unwrap();
    settled(&room).await;
    assert_eq!(drive.entries().entries["/db"].content.unwrap().size, 10_000);
    drop(room);
    tokio::time::timeout(pome_test_support::PATIENCE, publisher)
        .await
        .unwrap()
        .unwrap();
}

/// Waits until all is published.
async fn settled(room: &Room) {
    let settled = async {
        while room.vfs.pending() != Pending::default() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let settled = tokio::time::timeout(pome_test_support::PATIENCE, settled);
    settled.await.unwrap();
}

#[tokio::test]
async fn a_last_write_during_an_upload_survives_a_crash() {
    for cut in [false, true] {
        let (_dir, corestore) = corestore();
        let drive = MemoryDrive::new(corestore.clone());
        let room = Room::open(&corestore, &drive).await;
        let (stat, handle) = room
            .vfs
            .create(ROOT, name("f"), 0o644, ME, WRITE)
            .await
            .unwrap();
        room.vfs.write(stat.ino, 0, vec![1; 1000].into()).unwrap();
        let vfs = room.vfs.clone();
        *drive.during_upload.lock() = Some(Box::new(move || {
            if cut {
                futures_util::FutureExt::now_or_never(vfs.set_size(stat.ino, 500))
                    .unwrap()
                    .unwrap();
            } else {
                vfs.write(stat.ino, 10, vec![2; 10].into()).unwrap();
            }
            vfs.close(handle).unwrap();
        }));
        room.vfs.publish_now().await.unwrap();
        let before = room.vfs.read(stat.ino, 0, 2000).await.unwrap();
        assert_eq!(before.len(), if cut { 500 } else { 1000 });
        // Nobody says goodbye: the next one finds what is in the store.
        let next = Room::open(&corestore, &drive).await;
        let found = next.vfs.lookup(ROOT, name("f")).await.unwrap();
        assert_eq!(next.vfs.read(found.ino, 0, 2000).await.unwrap(), before);
    }
}

#[tokio::test]
async fn publishing_that_was_asked_for_and_failed_is_tried_again() {
    let (_dir, corestore) = corestore();
    let drive = MemoryDrive::new(corestore.clone());
    let room = Room::open(&corestore, &drive).await;
    let (_, handle) = room
        .vfs
        .create(ROOT, name("f"), 0o644, ME, WRITE)
        .await
        .unwrap();
    room.vfs.close(handle).unwrap();
    drive.fail.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(room.vfs.publish_now().await.is_err());
    drive
        .fail
        .store(false, std::sync::atomic::Ordering::Relaxed);
    let publisher = tokio::spawn(Vfs::keep_publishing(Arc::downgrade(&room.vfs)));
    settled(&room).await;
    publisher.abort();
}

#[tokio::test]
async fn a_publication_that_took_long_is_followed_by_a_longer_pause() {
    let (_dir, corestore) = corestore();
    let drive = MemoryDrive::new(corestore.clone());
    let room = Room::open(&corestore, &drive).await;
    let change = async |file: &str| {
        let made = room.vfs.make_file(ROOT, name(file), 0o644, ME).await;
        made.unwrap();
        room.vfs.due().unwrap()
    };
    let now = std::time::Instant::now;
    let second = Duration::from_secs(1);
    let began = now();
    room.vfs.publisher.published(began - 5 * second);
    assert!(change("g").await >= began + 10 * second);
    // However long it took, the next one comes.
    let ended = now();
    room.vfs.publisher.published(ended - 1000 * second);
    let due = change("h").await;
    assert!(due >= ended + 30 * second && due <= now() + 30 * second);
    // Asked for, it comes at once.
    room.vfs.publish_now().await.unwrap();
    assert_eq!(drive.versions(), 1);
}

#[tokio::test]
async fn writes_during_an_upload_stay_over_it() {
    let (_dir, corestore) = corestore();
    let drive = MemoryDrive::new(corestore.clone());
    let room = Room::open(&corestore, &drive).await;
    let (stat, handle) = room
        .vfs
        .create(ROOT, name("f"), 0o644, ME, WRITE)
        .await
        .unwrap();
    room.vfs.write(stat.ino, 0, vec![1; 1000].into()).unwrap();
    let copy = super::super::file::Copy::take(&mut room.vfs.state.lock(), stat.ino).unwrap();
    room.vfs.write(stat.ino, 10, vec![2; 10].into()).unwrap();
    room.vfs.set_size(stat.ino, 500).await.unwrap();
    room.vfs.set_size(stat.ino, 600).await.unwrap();
    let before = room.vfs.read(stat.ino, 0, 1000).await.unwrap();
    {
        let (reader, tree) = {
            let state = room.vfs.state.lock();
            (state.overlay.reader(), state.tree.clone())
        };
        let bytes = copy.read(0, 1000, &reader, &tree).await.unwrap();
        assert_eq!(bytes, vec![1; 1000]);
        let content = drive.put_contents(vec![bytes]).await.unwrap()[0];
        let mut state = room.vfs.state.lock();
        state
            .node_mut(stat.ino)
            .unwrap()
            .file_mut()
            .unwrap()
            .published(content, copy.seq);
    }
    let after = room.vfs.read(stat.ino, 0, 1000).await.unwrap();
    assert_eq!(before, after);
    assert_eq!(&after[..20], [[1u8; 10], [2; 10]].concat());
    assert_eq!(&after[500..], [0; 100]);
    room.vfs.close(handle).unwrap();
}

#[tokio::test]
async fn an_unlinked_file_lives_until_its_last_handle() {
    let (_dir, corestore) = corestore();
    let drive = MemoryDrive::new(corestore.clone());
    let room = Room::open(&corestore, &drive).await;
    let (stat, handle) = room
        .vfs
        .create(ROOT, name("f"), 0o644, ME, WRITE)
        .await
        .unwrap();
    room.vfs.write(stat.ino, 0, vec![1; 10].into()).unwrap();
    room.vfs.unlink(ROOT, name("f")).await.unwrap();
    room.vfs.write(stat.ino, 10, vec![2; 10].into()).unwrap();
    room.vfs.publish_now().await.unwrap();
    assert_eq!(room.vfs.read(stat.ino, 0, 100).await.unwrap().len(), 20);
    assert_eq!(drive.versions(), 0);
    // A new file of the same name is another inode.
    let again = room
        .vfs
        .make_file(ROOT, name("f"), 0o644, ME)
        .await
        .unwrap();
    assert_ne!(again.ino, stat.ino);
    room.vfs.close(handle).unwrap();
    room.vfs.forget(stat.ino, 1);
    assert!(room.vfs.stat(stat.ino).is_err());
    // What a crash leaves of an open deleted file goes when the overlay is loaded.
    let (stat, _) = room
        .vfs
        .create(ROOT, name("g"), 0o644, ME, WRITE)
        .await
        .unwrap();
    room.vfs.write(stat.ino, 0, vec![1; 10].into()).unwrap();
    let _held = room
        .vfs
        .open_file(stat.ino, OpenMode::default())
        .await
        .unwrap();
    room.vfs.unlink(ROOT, name("g")).await.unwrap();
    drop(room);
    let left = || Overlay::open(&corestore, &overlay_name("test")).unwrap().1;
    assert!(!left().data.is_empty());
    let room = Room::open(&corestore, &drive).await;
    assert!(room.vfs.lookup(ROOT, name("g")).await.is_err());
    assert!(left().data.is_empty());
}

#[tokio::test]
async fn a_folder_moves_without_its_content_being_stored_again() {
    let (_dir, corestore) = corestore();
    let drive = MemoryDrive::new(corestore.clone());
    drive.put("/old/sub/f", Some(b"content"));
    drive.put("/old/g", Some(b"other"));
    let room = Room::open(&corestore, &drive).await;
    room.vfs
        .rename(
            (ROOT, name("old")),
            (ROOT, name("new")),
            RenameMode::Replace,
        )
        .await
        .unwrap();
    let before = drive.entries();
    room.vfs.publish_now().await.unwrap();
    let after = drive.entries();
    assert_eq!(
        after.entries.keys().collect::<Vec<_>>(),
        ["/new/g", "/new/sub/f"]
    );
    assert_eq!(after.entries["/new/sub/f"], before.entries["/old/sub/f"]);
    assert_eq!(drive.versions(), 3);
}

#[tokio::test]
async fn nothing_is_lost_when_a_publication_fails() {
    let (_dir, corestore) = corestore();
    let drive = MemoryDrive::new(corestore.clone());
    let room = Room::open(&corestore, &drive).await;
    let stat = room
        .vfs
        .make_file(ROOT, name("f"), 0o600, ME)
        .await
        .unwrap();
    room.vfs.write(stat.ino, 0, vec![7; 10].into()).unwrap();
    drive.fail.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(matches!(
        room.vfs.publish_now().await,
        Err(VfsError::Lower(LowerError::Full))
    ));
    room.vfs.write(stat.ino, 10, vec![8; 10].into()).unwrap();
    drop(room);
    let room = Room::open(&corestore, &drive).await;
    drive
        .fail
        .store(false, std::sync::atomic::Ordering::Relaxed);
    room.vfs.publish_now().await.unwrap();
    assert_eq!(drive.entries().entries["/f"].content.unwrap().size, 20);
}

#[tokio::test]
async fn what_another_writer_does_is_seen_and_told() {
    let (_dir, corestore) = corestore();
    let drive = MemoryDrive::new(corestore.clone());
    drive.put("/d/f", Some(b"one"));
    let room = Room::open(&corestore, &drive).await;
    let told = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let sink = told.clone();
    room.vfs.on_stale(move |stale| sink.lock().extend(stale));
    let folder = room.vfs.lookup(ROOT, name("d")).await.unwrap().ino;
    let file = room.vfs.lookup(folder, name("f")).await.unwrap().ino;
    assert!(room.vfs.lookup(folder, name("g")).await.is_err());
    drive.put("/d/f", Some(b"twelve bytes"));
    drive.put("/d/g", Some(b"new"));
    room.vfs.lower_changed().await.unwrap();
    assert_eq!(room.vfs.stat(file).unwrap().size, 12);
    assert_eq!(room.vfs.read(file, 0, 100).await.unwrap(), "twelve bytes");
    assert!(room.vfs.lookup(folder, name("g")).await.is_ok());
    assert!(told.lock().contains(&Stale::Inode(file)));
    assert!(told.lock().contains(&Stale::Name {
        folder,
        name: "g".into()
    }));
    drive.put("/d/f", None);
    drive.put("/d/g", None);
    room.vfs.lower_changed().await.unwrap();
    assert!(
        room.vfs.lookup(ROOT, name("d")).await.is_err(),
        "a folder goes with the last thing in it"
    );
    assert!(told.lock().contains(&Stale::Name {
        folder: ROOT,
        name: "d".into()
    }));
}

#[tokio::test]
async fn times_that_are_set_late_do_not_bring_an_old_content_back() {
    let (_dir, corestore) = corestore();
    let drive = MemoryDrive::new(corestore.clone());
    drive.put("/f", Some(b"old"));
    let room = Room::open(&corestore, &drive).await;
    let file = room.vfs.lookup(ROOT, name("f")).await.unwrap().ino;
    let late = SetAttrs {
        mtime: Some(Time(7, 0)),
        ..SetAttrs::default()
    };
    room.vfs.set_attrs(file, late).await.unwrap();
    drive.put("/f", Some(b"put elsewhere"));
    room.vfs.publish_now().await.unwrap();
    let file = room.vfs.lookup(ROOT, name("f")).await.unwrap().ino;
    assert_eq!(room.vfs.read(file, 0, 100).await.unwrap(), "put elsewhere");
    // What was written here stays on top.
    room.vfs.write(file, 0, "mine".into()).unwrap();
    drive.put("/f", Some(b"again"));
    room.vfs.publish_now().await.unwrap();
    assert_eq!(room.vfs.read(file, 0, 100).await.unwrap(), "mineelsewhere");
}

#[tokio::test]
async fn attributes_alone_give_way_to_a_deletion() {
    for crash in [false, true] {
        let (_dir, corestore) = corestore();
        let drive = MemoryDrive::new(corestore.clone());
        drive.put("/f", Some(b"old"));
        let mut room = Room::open(&corestore, &drive).await;
        let file = room.vfs.lookup(ROOT, name("f")).await.unwrap().ino;
        let late = SetAttrs {
            mtime: Some(Time(7, 0)),
            ..SetAttrs::default()
        };
        room.vfs.set_attrs(file, late).await.unwrap();
        room.vfs.forget(file, 1);
        drive.put("/f", None);
        room.vfs.lower_changed().await.unwrap();
        if crash {
            drop(room);
            room = Room::open(&corestore, &drive).await;
        }
        let found = room.vfs.lookup(ROOT, name("f")).await;
        assert!(matches!(found, Err(VfsError::NotFound)), "crash: {crash}");
        room.vfs.publish_now().await.unwrap();
        assert!(drive.entries().entries.is_empty(), "crash: {crash}");
        assert_eq!(room.vfs.pending(), Pending::default());
    }
}

#[tokio::test]
async fn what_is_only_open_for_writing_goes_with_a_deletion_elsewhere() {
    let (_dir, corestore) = corestore();
    let drive = MemoryDrive::new(corestore.clone());
    drive.put("/f", Some(b"old"));
    let room = Room::open(&corestore, &drive).await;
    let file = room.vfs.lookup(ROOT, name("f")).await.unwrap().ino;
    let handle = room.vfs.open_file(file, WRITE).await.unwrap();
    // From now on it has a record.
    room.vfs.publish_now().await.unwrap();
    drive.put("/f", None);
    room.vfs.lower_changed().await.unwrap();
    let found = room.vfs.lookup(ROOT, name("f")).await;
    assert!(matches!(found, Err(VfsError::NotFound)));
    // As if it had been unlinked here.
    assert_eq!(room.vfs.stat(file).unwrap().links, 0);
    assert_eq!(room.vfs.read(file, 0, 100).await.unwrap(), "old");
    room.vfs.close(handle).unwrap();
    room.vfs.publish_now().await.unwrap();
    assert!(drive.entries().entries.is_empty());
    assert_eq!(room.vfs.pending(), Pending::default());
}

#[tokio::test]
async fn folders_have_a_description_only_when_they_need_one() {
    let (_dir, corestore) = corestore();
    let drive = MemoryDrive::new(corestore.clone());
    let room = Room::open(&corestore, &drive).await;
    let described = || drive.entries().folders.keys().cloned().collect::<Vec<_>>();
    let d = room
        .vfs
        .make_folder(ROOT, name("d"), 0o755, ME)
        .await
        .unwrap()
        .ino;
    room.vfs.publish_now().await.unwrap();
    assert_eq!(described(), ["/d"]);
    room.vfs.make_file(d, name("f"), 0o644, ME).await.unwrap();
    room.vfs.publish_now().await.unwrap();
    assert_eq!(described(), Vec::<String>::new());
    let set = SetAttrs {
        mode: Some(0o700),
        ..SetAttrs::default()
    };
    room.vfs.set_attrs(d, set).await.unwrap();
    room.vfs.publish_now().await.unwrap();
    assert_eq!(described(), ["/d"]);
    room.vfs.unlink(d, name("f")).await.unwrap();
    let before = room.vfs.stat(d).unwrap();
    room.vfs.publish_now().await.unwrap();
    assert_eq!(described(), ["/d"]);
    drop(room);
    let room = Room::open(&corestore, &drive).await;
    let d = room.vfs.lookup(ROOT, name("d")).await.unwrap();
    assert_eq!(d.attrs.mode, 0o700);
    assert_eq!(
        d.attrs.mtime, before.attrs.mtime,
        "the times of a folder stay"
    );
    room.vfs.remove_folder(ROOT, name("d")).await.unwrap();
    room.vfs.publish_now().await.unwrap();
    assert_eq!(described(), Vec::<String>::new());
}
