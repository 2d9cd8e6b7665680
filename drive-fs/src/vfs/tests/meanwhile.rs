//! What somebody else does while the mount is in the middle of something.

use super::{
    memory::{Far, MemoryDrive, Spoilt},
    rooms::{ME, Room, WRITE, corestore},
};
use crate::{
    DriveOptions, Hyperdrive, Keep,
    vfs::{drive::LiveDrive, node::ROOT, *},
};
use futures_util::FutureExt;
use pome_cores::{Batch, Corestore};
use pome_storage::{Options, Store};
use pome_wal::{Faults, SimDevice};
use std::{ffi::OsStr, sync::Arc};

async fn content(room: &Room, name: &str) -> bytes::Bytes {
    let found = room.vfs.lookup(ROOT, OsStr::new(name)).await.unwrap();
    room.vfs.read(found.ino, 0, 100).await.unwrap()
}

#[tokio::test]
async fn what_is_put_elsewhere_while_a_publication_is_made_ready_is_not_written_over() {
    let (_dir, corestore) = corestore();
    let drive = MemoryDrive::new(corestore.clone());
    drive.put("/f", Some(b"old"));
    drive.put("/g", Some(b"old"));
    let room = Room::open(&corestore, &drive).await;
    assert_eq!(content(&room, "f").await, "old");
    assert_eq!(content(&room, "g").await, "old");
    let file = room.vfs.lookup(ROOT, OsStr::new("f")).await.unwrap().ino;
    let late = SetAttrs {
        mtime: Some(Time(7, 0)),
        ..SetAttrs::default()
    };
    room.vfs.set_attrs(file, late).await.unwrap();
    let other = drive.clone();
    *drive.before_publishing.lock() = Some(Box::new(move || {
        other.put("/f", Some(b"put elsewhere"));
        other.put("/g", Some(b"put elsewhere"));
    }));
    room.vfs.publish_now().await.unwrap();
    assert_eq!(content(&room, "f").await, "put elsewhere");
    assert_eq!(content(&room, "g").await, "put elsewhere");
    assert_eq!(drive.entries().entries["/f"].content.unwrap().size, 13);
    assert_eq!(room.vfs.pending(), Pending::default());
}

#[tokio::test]
async fn a_drive_that_moved_on_takes_no_version_that_was_made_for_an_older_one() {
    let (_dir, corestore) = corestore();
    let drive = Hyperdrive::open(corestore.clone(), DriveOptions::default());
    let drive = drive.await.unwrap();
    let live = LiveDrive::new(drive.clone());
    let planned = live.head().await.unwrap().version();
    drive.put("/theirs", "1", Default::default()).await.unwrap();
    let ours = || {
        let entry = LowerEntry {
            executable: false,
            linkname: Some("x".to_owned()),
            content: None,
            metadata: None,
        };
        vec![Change::Entry("/ours".to_owned(), Some(entry))]
    };
    let version = drive.version();
    let refused = live.publish(Some(planned), ours(), Batch::new()).await;
    assert!(refused.unwrap().is_none());
    assert_eq!(drive.version(), version);
    let taken = live.publish(Some(version), ours(), Batch::new()).await;
    assert_eq!(taken.unwrap().unwrap().version(), version + 1);
    assert!(drive.entry("/theirs").await.unwrap().is_some());
}

#[tokio::test]
async fn what_is_looked_up_while_a_new_version_is_taken_in_is_not_left_behind() {
    let (_dir, corestore) = corestore();
    let drive = MemoryDrive::new(corestore.clone());
    drive.put("/d/f", Some(b"old"));
    drive.put("/z", Some(b"old"));
    let room = Room::open(&corestore, &drive).await;
    assert_eq!(content(&room, "z").await, "old");
    drive.put("/d/f", Some(b"new"));
    drive.put("/z", Some(b"new"));
    let vfs = room.vfs.clone();
    let meanwhile = Box::new(move || {
        let folder = vfs.lookup(ROOT, OsStr::new("d")).now_or_never();
        let folder = folder.unwrap().unwrap().ino;
        let file = vfs.lookup(folder, OsStr::new("f")).now_or_never();
        assert!(file.unwrap().is_ok());
    });
    *drive.during_lookup.lock() = Some(("/z".to_owned(), meanwhile));
    room.vfs.lower_changed().await.unwrap();
    assert!(drive.during_lookup.lock().is_none());
    let folder = room.vfs.lookup(ROOT, OsStr::new("d")).await.unwrap().ino;
    let file = room.vfs.lookup(folder, OsStr::new("f")).await.unwrap().ino;
    assert_eq!(room.vfs.read(file, 0, 100).await.unwrap(), "new");
}

#[tokio::test]
async fn a_mode_that_loses_its_privileges_waits_for_the_publication_that_runs() {
    let (_dir, corestore) = corestore();
    let drive = MemoryDrive::new(corestore.clone());
    let room = Room::open(&corestore, &drive).await;
    let made = room.vfs.make_file(ROOT, OsStr::new("f"), 0o4755, ME).await;
    let file = made.unwrap().ino;
    let vfs = room.vfs.clone();
    *drive.before_publishing.lock() = Some(Box::new(move || {
        assert!(vfs.drop_privileges(file).now_or_never().is_none());
    }));
    room.vfs.publish_now().await.unwrap();
    room.vfs.drop_privileges(file).await.unwrap();
    room.vfs.publish_now().await.unwrap();
    drop(room);
    let room = Room::open(&corestore, &drive).await;
    let found = room.vfs.lookup(ROOT, OsStr::new("f")).await.unwrap();
    assert_eq!(found.attrs.mode, 0o755);
}

#[tokio::test]
async fn what_the_kernel_keeps_was_written_before_what_comes_from_elsewhere() {
    for publishes in [false, true] {
        let (_dir, corestore) = corestore();
        let drive = MemoryDrive::new(corestore.clone());
        drive.put("/f", Some(b"old"));
        let room = Room::open(&corestore, &drive).await;
        room.vfs.kernel_keeps_writes();
        let vfs = Arc::downgrade(&room.vfs);
        room.vfs.on_take(move |ino| {
            let vfs = vfs.upgrade().unwrap();
            vfs.write(ino, 0, "mine".into()).unwrap();
        });
        let file = room.vfs.lookup(ROOT, OsStr::new("f")).await.unwrap().ino;
        let handle = room.vfs.open_file(file, WRITE).await.unwrap();
        drive.put("/f", Some(b"put elsewhere"));
        match publishes {
            true => room.vfs.publish(false).await.map(drop).unwrap(),
            false => room.vfs.lower_changed().await.map(drop).unwrap(),
        }
        assert_eq!(content(&room, "f").await, "mine");
        room.vfs.close(handle).unwrap();
    }
}

#[tokio::test]
async fn a_listing_that_broke_off_is_not_taken_for_a_whole_one() {
    let (_dir, corestore) = corestore();
    let drive = MemoryDrive::new(corestore.clone());
    for name in ["/a", "/b", "/c"] {
        drive.put(name, Some(b"x"));
    }
    *drive.far.lock() = Far::Breaks;
    let options = VfsOptions {
        read_only: true,
        ..VfsOptions::default()
    };
    let room = Room::with(&corestore, &drive, options).await;
    let handle = room.vfs.open_folder(ROOT).unwrap();
    let broken = room.vfs.read_folder(ROOT, handle, 0, 100).await;
    assert!(matches!(broken, Err(VfsError::Lower(LowerError::TimedOut))));
    let names = |lines: Vec<Listed>| -> Vec<String> {
        lines.iter().map(|line| line.name.to_string()).collect()
    };
    let rest = room.vfs.read_folder(ROOT, handle, 3, 100).await.unwrap();
    assert_eq!(names(rest), ["b", "c"]);
    assert_eq!(content(&room, "c").await, "x");
}

#[tokio::test]
async fn what_was_not_published_outlives_the_versions_that_are_dropped_while_an_old_one_is_mounted()
{
    let (_dir, corestore) = corestore();
    let drive = Hyperdrive::open(corestore.clone(), DriveOptions::default());
    let drive = drive.await.unwrap();
    let name = drive.key().to_string();
    let live = || LiveDrive::new(drive.clone());
    drive
        .put("/f", vec![1; 100_000], Default::default())
        .await
        .unwrap();
    let below = drive.entry("/f").await.unwrap().unwrap().value.blob;
    let options = VfsOptions::default;
    let vfs = Vfs::open(live(), &corestore, &name, options()).await;
    let vfs = vfs.unwrap();
    let file = vfs.lookup(ROOT, OsStr::new("f")).await.unwrap().ino;
    let handle = vfs.open_file(file, WRITE).await.unwrap();
    vfs.write(file, 0, "new".into()).unwrap();
    vfs.close(handle).unwrap();
    // Nobody says goodbye.
    drop(vfs);
    for text in ["2", "3"] {
        drive.put("/f", text, Default::default()).await.unwrap();
    }
    let head = live().head().await.unwrap();
    let version = Vfs::open_version(live(), head, &corestore, &name, options()).await;
    drive.set_retention(Keep::Versions(1)).await.unwrap();
    drive.gc().await.unwrap();
    let blobs = drive.blobs().await.unwrap();
    assert!(blobs.has(&below.unwrap()).await.unwrap());
    drop(version);
    let vfs = Vfs::open(live(), &corestore, &name, options()).await;
    let vfs = vfs.unwrap();
    let file = vfs.lookup(ROOT, OsStr::new("f")).await.unwrap();
    assert_eq!(file.size, 100_000);
    assert_eq!(&vfs.read(file.ino, 0, 5).await.unwrap()[..], b"new\x01\x01");
}

#[tokio::test]
async fn a_name_that_came_and_went_does_not_hide_what_was_put_there_elsewhere() {
    let (_dir, corestore) = corestore();
    let drive = MemoryDrive::new(corestore.clone());
    drive.put("/d/f", Some(b"x"));
    let room = Room::open(&corestore, &drive).await;
    let folder = room.vfs.lookup(ROOT, OsStr::new("d")).await.unwrap().ino;
    let x = OsStr::new("x");
    room.vfs.make_file(folder, x, 0o644, ME).await.unwrap();
    room.vfs.unlink(folder, x).await.unwrap();
    let (from, to) = ((ROOT, OsStr::new("d")), (ROOT, OsStr::new("e")));
    let moved = room.vfs.rename(from, to, RenameMode::Replace);
    moved.await.unwrap();
    drive.put("/d/x", Some(b"put elsewhere"));
    room.vfs.publish_now().await.unwrap();
    let entries = drive.entries();
    let names: Vec<_> = entries.entries.keys().collect();
    assert_eq!(names, ["/e/f", "/e/x"]);
}

#[tokio::test]
async fn a_symlink_put_elsewhere_has_the_place_of_what_is_only_open() {
    let (_dir, corestore) = corestore();
    let drive = MemoryDrive::new(corestore.clone());
    drive.put("/f", Some(b"old"));
    let room = Room::open(&corestore, &drive).await;
    let file = room.vfs.lookup(ROOT, OsStr::new("f")).await.unwrap().ino;
    let handle = room.vfs.open_file(file, WRITE).await.unwrap();
    room.vfs.publish_now().await.unwrap();
    let symlink = LowerEntry {
        executable: false,
        linkname: Some("x".to_owned()),
        content: None,
        metadata: None,
    };
    let change = vec![Change::Entry("/f".to_owned(), Some(symlink))];
    drive.publish(None, change, Batch::new()).await.unwrap();
    room.vfs.lower_changed().await.unwrap();
    room.vfs.write(file, 0, "y".into()).unwrap();
    room.vfs.close(handle).unwrap();
    room.vfs.publish_now().await.unwrap();
    let found = room.vfs.lookup(ROOT, OsStr::new("f")).await.unwrap();
    assert_eq!(found.kind, FileKind::Link);
    assert!(drive.entries().entries["/f"].linkname.is_some());
    assert_eq!(room.vfs.pending(), Pending::default());
}

#[tokio::test]
async fn an_old_content_that_cannot_be_read_is_written_anew() {
    for spoilt in [Spoilt::Bytes, Spoilt::Blocks] {
        for size in [1000, 1 << 20] {
            let (_dir, corestore) = corestore();
            let drive = MemoryDrive::new(corestore.clone());
            let bytes = vec![1; size];
            drive.put("/f", Some(&bytes));
            let old = drive.entries().entries["/f"].content;
            let room = Room::open(&corestore, &drive).await;
            let file = room.vfs.lookup(ROOT, OsStr::new("f")).await.unwrap().ino;
            *drive.spoilt.lock() = spoilt;
            let open = OpenMode {
                truncate: true,
                ..WRITE
            };
            let handle = room.vfs.open_file(file, open).await.unwrap();
            room.vfs.write(file, 0, bytes.into()).unwrap();
            room.vfs.close(handle).unwrap();
            room.vfs.publish_now().await.unwrap();
            let new = drive.entries().entries["/f"].content;
            assert_ne!(new, old, "{spoilt:?}, {size}");
            assert_eq!(new.unwrap().size, size as u64);
        }
    }
}

#[tokio::test]
async fn the_kernel_is_told_of_what_changed_elsewhere_though_no_record_can_be_written() {
    let device = SimDevice::new(1);
    let mut options = Options::default();
    options.background = false;
    let store = Store::open_on(Arc::new(device.clone()), options).unwrap();
    let corestore = Corestore::open(store).unwrap();
    let drive = MemoryDrive::new(corestore.clone());
    drive.put("/f", Some(b"old"));
    let room = Room::open(&corestore, &drive).await;
    let told = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let sink = told.clone();
    room.vfs.on_stale(move |stale| sink.lock().extend(stale));
    let file = room.vfs.lookup(ROOT, OsStr::new("f")).await.unwrap().ino;
    let _open = room.vfs.open_file(file, WRITE).await.unwrap();
    room.vfs.publish_now().await.unwrap();
    drive.put("/f", Some(b"put elsewhere"));
    let mut faults = Faults::default();
    faults.stop_at = Some(1);
    device.set_faults(faults);
    assert!(room.vfs.lower_changed().await.is_err());
    assert!(told.lock().contains(&Stale::Inode(file)));
}
