//! Names: of files that have several, of folders that lie deep, and in listings that take their time.

use super::{
    memory::{Far, MemoryDrive},
    rooms::{ME, Room, WRITE, corestore},
};
use crate::vfs::{node::ROOT, *};
use std::ffi::OsStr;

async fn at(room: &Room, name: &str) -> Stat {
    room.vfs.lookup(ROOT, OsStr::new(name)).await.unwrap()
}

async fn content(room: &Room, name: &str) -> bytes::Bytes {
    let ino = at(room, name).await.ino;
    room.vfs.read(ino, 0, 100).await.unwrap()
}

#[tokio::test]
async fn further_names_that_change_places_are_there_after_a_crash() {
    for published in [false, true] {
        let (_dir, corestore) = corestore();
        let drive = MemoryDrive::new(corestore.clone());
        let room = Room::open(&corestore, &drive).await;
        for (name, further) in [("a", "a2"), ("b", "b2")] {
            let made = room.vfs.make_file(ROOT, OsStr::new(name), 0o644, ME).await;
            let ino = made.unwrap().ino;
            room.vfs.write(ino, 0, name.into()).unwrap();
            let further = OsStr::new(further);
            room.vfs.link(ino, ROOT, further).await.unwrap();
        }
        if published {
            room.vfs.publish_now().await.unwrap();
        }
        let (a2, b2) = (OsStr::new("a2"), OsStr::new("b2"));
        let exchange = room
            .vfs
            .rename((ROOT, a2), (ROOT, b2), RenameMode::Exchange);
        exchange.await.unwrap();
        drop(room);
        let room = Room::open(&corestore, &drive).await;
        for (name, there) in [("a", "a"), ("b", "b"), ("a2", "b"), ("b2", "a")] {
            assert_eq!(content(&room, name).await, there, "{name}, {published}");
            assert_eq!(at(&room, name).await.links, 2, "{name}, {published}");
        }
        room.vfs.publish_now().await.unwrap();
        assert_eq!(room.vfs.pending(), Pending::default());
        assert_eq!(drive.entries().entries.len(), 4);
    }
}

#[tokio::test]
async fn a_file_that_lost_a_name_elsewhere_has_the_other_once() {
    let (_dir, corestore) = corestore();
    let drive = MemoryDrive::new(corestore.clone());
    let room = Room::open(&corestore, &drive).await;
    let made = room.vfs.make_file(ROOT, OsStr::new("p"), 0o644, ME).await;
    let ino = made.unwrap().ino;
    room.vfs.write(ino, 0, "x".into()).unwrap();
    room.vfs.link(ino, ROOT, OsStr::new("q")).await.unwrap();
    room.vfs.publish_now().await.unwrap();
    drop(room);
    let room = Room::open(&corestore, &drive).await;
    let file = at(&room, "p").await.ino;
    let _open = room.vfs.open_file(file, WRITE).await.unwrap();
    // From now on it has a record, as what is open for writing has.
    room.vfs.publish_now().await.unwrap();
    drive.put("/p", None);
    room.vfs.lower_changed().await.unwrap();
    assert_eq!(room.vfs.stat(file).unwrap().links, 1);
    room.vfs.write(file, 0, "y".into()).unwrap();
    drop(room);
    let room = Room::open(&corestore, &drive).await;
    assert_eq!(at(&room, "q").await.links, 1);
    room.vfs.unlink(ROOT, OsStr::new("q")).await.unwrap();
    room.vfs.publish_now().await.unwrap();
    assert_eq!(room.vfs.pending(), Pending::default());
    assert!(drive.entries().entries.is_empty());
}

#[tokio::test]
async fn a_file_stays_when_a_folder_with_another_of_its_names_goes_elsewhere() {
    let (_dir, corestore) = corestore();
    let drive = MemoryDrive::new(corestore.clone());
    let room = Room::open(&corestore, &drive).await;
    let made = room.vfs.make_file(ROOT, OsStr::new("q"), 0o644, ME).await;
    let file = made.unwrap().ino;
    room.vfs.write(file, 0, "x".into()).unwrap();
    let made = room.vfs.make_folder(ROOT, OsStr::new("d"), 0o755, ME).await;
    let folder = made.unwrap().ino;
    room.vfs.link(file, folder, OsStr::new("p")).await.unwrap();
    room.vfs.publish_now().await.unwrap();
    drive.put("/d/p", None);
    room.vfs.lower_changed().await.unwrap();
    assert_eq!(at(&room, "q").await.links, 1);
    let handle = room.vfs.open_file(file, WRITE).await.unwrap();
    room.vfs.write(file, 1, "y".into()).unwrap();
    room.vfs.close(handle).unwrap();
    room.vfs.publish_now().await.unwrap();
    assert_eq!(content(&room, "q").await, "xy");
    assert_eq!(drive.entries().entries["/q"].content.unwrap().size, 2);
}

#[tokio::test]
async fn what_is_put_elsewhere_in_place_of_one_name_of_an_open_file_is_what_is_written_to() {
    let (_dir, corestore) = corestore();
    let drive = MemoryDrive::new(corestore.clone());
    let room = Room::open(&corestore, &drive).await;
    let made = room.vfs.make_file(ROOT, OsStr::new("p"), 0o644, ME).await;
    let file = made.unwrap().ino;
    room.vfs.write(file, 0, "x".into()).unwrap();
    room.vfs.link(file, ROOT, OsStr::new("q")).await.unwrap();
    let _open = room.vfs.open_file(file, WRITE).await.unwrap();
    room.vfs.publish_now().await.unwrap();
    drive.put("/p", None);
    room.vfs.lower_changed().await.unwrap();
    drive.put("/q", Some(b"theirs"));
    room.vfs.lower_changed().await.unwrap();
    room.vfs.write(file, 0, "y".into()).unwrap();
    room.vfs.publish_now().await.unwrap();
    assert_eq!(content(&room, "q").await, "yheirs");
    assert_eq!(drive.entries().entries["/q"].content.unwrap().size, 6);
}

#[tokio::test]
async fn folders_deep_below_move_too() {
    let (_dir, corestore) = corestore();
    let drive = MemoryDrive::new(corestore.clone());
    let room = Room::open(&corestore, &drive).await;
    let mut folder = ROOT;
    let names = [
        "s".to_owned(),
        "d".repeat(240),
        "e".repeat(240),
        "f".repeat(240),
        "g".repeat(240),
    ];
    for name in &names {
        let made = room
            .vfs
            .make_folder(folder, OsStr::new(name), 0o755, ME)
            .await;
        folder = made.unwrap().ino;
    }
    let made = room.vfs.make_file(folder, OsStr::new("f"), 0o644, ME).await;
    made.unwrap();
    room.vfs.publish_now().await.unwrap();
    // A new mount knows of the folders only what the drive says.
    drop(room);
    let room = Room::open(&corestore, &drive).await;
    let long = "t".repeat(250);
    let (from, to) = ((ROOT, OsStr::new("s")), (ROOT, OsStr::new(&long)));
    room.vfs
        .rename(from, to, RenameMode::Replace)
        .await
        .unwrap();
    room.vfs.publish_now().await.unwrap();
    assert_eq!(room.vfs.pending(), Pending::default());
    let path = format!("/{long}/{}/f", names[1..].join("/"));
    assert!(drive.entries().entries.contains_key(&path));
}

#[tokio::test]
async fn a_listing_has_all_names_though_memory_made_room_for_others() {
    let (_dir, corestore) = corestore();
    let drive = MemoryDrive::new(corestore.clone());
    for n in 0..50 {
        drive.put(&format!("/d/{n:02}"), Some(b"x"));
    }
    drive.put("/e/f", Some(b"x"));
    let room = Room::open(&corestore, &drive).await;
    let folder = at(&room, "d").await.ino;
    let other = at(&room, "e").await.ino;
    let handle = room.vfs.open_folder(folder).unwrap();
    let mut lines = room.vfs.read_folder(folder, handle, 0, 5).await.unwrap();
    room.vfs.unlink(folder, OsStr::new("40")).await.unwrap();
    room.vfs.state.lock().sweep_at = 0;
    room.vfs.lookup(other, OsStr::new("f")).await.unwrap();
    let next = lines.last().unwrap().next;
    lines.extend(
        room.vfs
            .read_folder(folder, handle, next, 100)
            .await
            .unwrap(),
    );
    assert_eq!(lines.len(), 2 + 49, "{lines:?}");
    let again: Vec<u64> = lines.iter().map(|line| line.next).collect();
    assert!(again.is_sorted(), "{again:?}");
}

#[tokio::test]
async fn a_name_that_made_room_while_its_folder_came_is_there_afterwards() {
    let (_dir, corestore) = corestore();
    let drive = MemoryDrive::new(corestore.clone());
    for n in 0..50 {
        drive.put(&format!("/d/{n:02}"), Some(b"x"));
    }
    *drive.far.lock() = Far::Yes;
    let options = VfsOptions {
        read_only: true,
        ..VfsOptions::default()
    };
    let room = Room::with(&corestore, &drive, options).await;
    let folder = at(&room, "d").await.ino;
    let handle = room.vfs.open_folder(folder).unwrap();
    let lines = room.vfs.read_folder(folder, handle, 0, 5).await.unwrap();
    room.vfs.state.lock().sweep_at = 0;
    let next = lines.last().unwrap().next;
    let rest = room.vfs.read_folder(folder, handle, next, 100);
    assert_eq!(rest.await.unwrap().len(), 2 + 50 - lines.len());
    room.vfs.lookup(folder, OsStr::new("00")).await.unwrap();
}

#[tokio::test]
async fn what_is_in_a_folder_that_moved_is_not_published_until_the_move_is() {
    let (_dir, corestore) = corestore();
    let drive = MemoryDrive::new(corestore.clone());
    drive.put("/old/sub/f", Some(b"x"));
    let room = Room::open(&corestore, &drive).await;
    let is_published = async |path| room.vfs.is_published(path).await.unwrap();
    assert!(is_published("/old/sub/f").await);
    let (from, to) = ((ROOT, OsStr::new("old")), (ROOT, OsStr::new("new")));
    room.vfs
        .rename(from, to, RenameMode::Replace)
        .await
        .unwrap();
    assert!(!is_published("/new/sub/f").await);
    room.vfs.publish_now().await.unwrap();
    assert!(is_published("/new/sub/f").await);
}

#[tokio::test]
async fn what_is_only_open_for_writing_is_published_and_so_is_the_folder_that_it_is_in() {
    let (_dir, corestore) = corestore();
    let drive = MemoryDrive::new(corestore.clone());
    drive.put("/d/log", Some(b"x"));
    drive.put("/d/old", Some(b"x"));
    let room = Room::open(&corestore, &drive).await;
    let folder = at(&room, "d").await.ino;
    let file = room.vfs.lookup(folder, OsStr::new("log")).await;
    let file = file.unwrap().ino;
    let _open = room.vfs.open_file(file, WRITE).await.unwrap();
    let must_be = async |published: bool| {
        for path in ["", "/d"] {
            let is = room.vfs.is_published(path).await.unwrap();
            assert_eq!(is, published, "{path:?}");
        }
    };
    room.vfs.publish_now().await.unwrap();
    must_be(true).await;
    room.vfs.write(file, 1, "y".into()).unwrap();
    must_be(false).await;
    room.vfs.publish_now().await.unwrap();
    must_be(true).await;
    room.vfs.unlink(folder, OsStr::new("old")).await.unwrap();
    must_be(false).await;
    room.vfs.publish_now().await.unwrap();
    must_be(true).await;
}
