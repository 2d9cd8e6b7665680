//! Drives that are mounted where they are not: `pome mount --drive KEY --peer`. What is opened is fetched, and no more; what the writer adds shows; a peer that
//! goes away makes nothing hang, and is found again.
//!
//! Needs `/dev/fuse` and the right to mount; the npm half needs node and the modules (`npm ci --prefix tests/interop`, or `NODE_PATH`).
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod process;

use pome_test_support::npm_works;
use process::{
    MountProcess, Pome, fuse_works,
    talk::{Npm, share, share_at},
};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Longer than anything takes: what did not come by then does not come.
const PATIENCE: Duration = pome_test_support::PATIENCE;

struct Room {
    _folder: tempfile::TempDir,
    at: PathBuf,
    pome: Pome,
}

fn room() -> Room {
    let folder = tempfile::tempdir().unwrap();
    Room {
        at: folder.path().join("mnt"),
        pome: Pome::new(folder.path().join("store")),
        _folder: folder,
    }
}

/// As `tests/interop/drive.js` makes them.
fn bytes(seed: usize, size: usize) -> Vec<u8> {
    (0..size)
        .map(|i| (seed + i * 7 + (i >> 16)) as u8)
        .collect()
}

fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "{what} does not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How many bytes of a core a store has.
fn here(pome: &Pome, key: &str) -> u64 {
    let info = &pome.json(&["store", "info", "--cores"])[0];
    let usage = info["usage"].as_array().unwrap();
    let of = usage.iter().find(|row| row["key"] == key);
    of.map_or(0, |row| row["bytes"].as_u64().unwrap())
}

/// An attribute that the mount makes.
fn told(path: &Path, name: &str) -> u64 {
    let mut value = [0; 32];
    let name = format!("user.pome.{name}");
    let len = rustix::fs::getxattr(path, name, &mut value).unwrap();
    std::str::from_utf8(&value[..len]).unwrap().parse().unwrap()
}

fn read_at(path: &Path, offset: u64, len: usize) -> std::io::Result<Vec<u8>> {
    let mut buffer = vec![0; len];
    File::open(path)?.read_exact_at(&mut buffer, offset)?;
    Ok(buffer)
}

const BIG: usize = 16 << 20;

/// How long (s) a request may wait for its peer. Each of hundreds that are answered has to come within it, on a machine that does other
/// things as well.
const DEADLINE: &str = "5";

/// What both writers are tried with.
fn follow(room: &Room, mounted: &MountProcess, blobs: &str) {
    let at = &room.at;
    assert_eq!(mounted.event["writable"], false);
    let big = bytes(5, BIG);
    // A listing with sizes fetches no contents.
    let names: Vec<_> = fs::read_dir(at)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names, ["big", "many"]);
    assert_eq!(fs::metadata(at.join("big")).unwrap().len(), BIG as u64);
    assert!(here(&room.pome, blobs) < 16 << 10, "no contents yet");
    assert_eq!(told(&at.join("big"), "local"), 0);
    assert_eq!(told(&at.join("big"), "total"), BIG as u64);
    until("the peer says what it has", || {
        (told(&at.join("big"), "peers") > 0).then_some(())
    });
    // A byte in the middle brings what the kernel reads ahead (128 KiB), and not the file.
    assert_eq!(
        read_at(&at.join("big"), 8 << 20, 1).unwrap(),
        &big[8 << 20..][..1]
    );
    let some = here(&room.pome, blobs);
    assert!((64 << 10..1 << 20).contains(&some), "{some} bytes came");
    let local = told(&at.join("big"), "local");
    assert!(
        (64 << 10..1 << 20).contains(&local),
        "{local} bytes are here"
    );
    assert_eq!(fs::read_dir(at.join("many")).unwrap().count(), 500);
    assert_eq!(fs::read(at.join("many/file-17")).unwrap(), b"content 17");
    assert!(here(&room.pome, blobs) < some + (128 << 10));
    // It is somebody else's.
    let refused = fs::write(at.join("mine"), "x").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    assert!(read_at(&at.join("big"), 1000, BIG - 1000).unwrap() == big[1000..]);
    assert!(here(&room.pome, blobs) > BIG as u64);
    assert_eq!(told(&at.join("big"), "local"), BIG as u64);
    // Of the folder, all that was read, and no more.
    let many: u64 = (0..500).map(|n| format!("content {n}").len() as u64).sum();
    assert_eq!(told(&at.join("many"), "total"), many);
    assert_eq!(told(at, "total"), BIG as u64 + many);
    let local = told(&at.join("many"), "local");
    assert!(local > 0 && local < many, "{local} of {many}");
    assert_eq!(told(at, "local"), BIG as u64 + local);
}

/// While nobody serves it: what is here is read, what is not is refused in time, and the folder is listed.
fn alone(room: &Room) {
    let at = &room.at;
    assert_eq!(fs::read(at.join("many/file-17")).unwrap(), b"content 17");
    assert_eq!(fs::read_dir(at.join("many")).unwrap().count(), 500);
    // What is here is told without anybody.
    until("nobody has it", || {
        (told(&at.join("big"), "peers") == 0).then_some(())
    });
    assert_eq!(told(&at.join("big"), "local"), BIG as u64);
    let began = Instant::now();
    let error = fs::read(at.join("many/file-400")).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut, "{error}");
    let deadline = Duration::from_secs(DEADLINE.parse().unwrap());
    assert!(began.elapsed() >= deadline, "the deadline");
    // Who is killed while it waits is gone by then, and what needs nobody is answered meanwhile.
    let mut waits = Command::new("cat")
        .arg(at.join("many/file-401"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(100));
    waits.kill().unwrap();
    assert_eq!(fs::metadata(at.join("big")).unwrap().len(), BIG as u64);
    assert!(rustix::fs::statvfs(at).unwrap().f_blocks > 0);
    assert_eq!(fs::read(at.join("many/file-17")).unwrap(), b"content 17");
    until("who was killed is gone", || waits.try_wait().unwrap());
}

#[test]
fn a_remote_drive() {
    if !fuse_works("a_remote_drive") {
        return;
    }
    let (writer, reader) = (room(), room());
    let tree = writer.at.with_file_name("tree");
    fs::create_dir_all(tree.join("many")).unwrap();
    fs::write(tree.join("big"), bytes(5, BIG)).unwrap();
    for n in 0..500 {
        fs::write(tree.join(format!("many/file-{n}")), format!("content {n}")).unwrap();
    }
    writer.pome.ok(&["drive", "create", "home"]);
    writer.pome.ok(&["drive", "create", "hidden"]);
    writer.pome.ok(&[
        "drive",
        "put",
        "hidden",
        "/secret",
        tree.join("big").to_str().unwrap(),
    ]);
    writer
        .pome
        .ok(&["drive", "import", "home", tree.to_str().unwrap()]);
    let info: Value = writer.pome.json(&["drive", "info", "home"])[0].clone();
    let (key, blobs) = (
        info["key"].as_str().unwrap(),
        info["contentKey"].as_str().unwrap(),
    );
    let (sharing, address) = share(&writer.pome, &["home"]);
    let mount = |more: &[&str]| {
        let words = [&["--drive", key, "--peer", &address], more].concat();
        reader.pome.mount(&reader.at, &words)
    };
    let mounted = mount(&["--deadline", DEADLINE]);
    follow(&reader, &mounted, blobs);
    // The writer goes on, with commands and through a mount of its own.
    let hello = reader.at.join("hello");
    assert!(!hello.exists());
    let put = |path: &str, content: &[u8]| {
        let output = writer
            .pome
            .with_stdin(&["drive", "put", "home", path], content);
        assert!(output.status.success(), "{output:?}");
    };
    put("/hello", b"hello");
    until("a new file", || {
        fs::read(&hello).ok().filter(|c| c == b"hello")
    });
    put("/hello", b"hello again");
    until("its change", || {
        fs::read(&hello).ok().filter(|c| c == b"hello again")
    });
    writer.pome.ok(&["drive", "rm", "home", "/hello"]);
    until("its end", || (!hello.exists()).then_some(()));
    let theirs = writer.pome.mount(&writer.at, &["--drive", "home"]);
    let mut file = File::create(writer.at.join("written")).unwrap();
    file.write_all(b"through a mount").unwrap();
    drop(file);
    let written = reader.at.join("written");
    until("what a mount wrote", || {
        fs::read(&written).ok().filter(|c| c == b"through a mount")
    });
    theirs.stop();

    sharing.stop();
    alone(&reader);
    // Mounted anew while nobody is there, it shows what is here.
    assert_eq!(mounted.stop()["reason"], "asked to stop");
    let mounted = mount(&["--deadline", DEADLINE]);
    alone(&reader);
    put("/late", b"late");
    let (sharing, _) = share_at(&writer.pome, &["home"], &address);
    until("the peer is found again", || {
        fs::read(reader.at.join("many/file-400")).ok()
    });
    until("what came meanwhile", || {
        fs::read(reader.at.join("late")).ok()
    });
    sharing.stop();
    // Taken down with nobody there, in order.
    assert_eq!(mounted.stop()["event"], "closed");
    assert!(!reader.at.join("many").exists());
}

/// What a mount keeps of somebody else's drive is bounded; what was pinned stays, and what went comes again.
#[test]
fn a_mount_keeps_no_more_than_its_cache() {
    if !fuse_works("a_mount_keeps_no_more_than_its_cache") {
        return;
    }
    let (writer, reader) = (room(), room());
    let tree = writer.at.with_file_name("tree");
    fs::create_dir_all(&tree).unwrap();
    for n in 0..6 {
        fs::write(tree.join(format!("part-{n}")), bytes(n, 8 << 20)).unwrap();
    }
    writer.pome.ok(&["drive", "create", "home"]);
    let source = tree.to_str().unwrap();
    writer.pome.ok(&["drive", "import", "home", source]);
    let info: Value = writer.pome.json(&["drive", "info", "home"])[0].clone();
    let (key, blobs) = (
        info["key"].as_str().unwrap(),
        info["contentKey"].as_str().unwrap(),
    );
    let (sharing, address) = share(&writer.pome, &["home"]);
    let at = reader.at.to_str().unwrap();
    let bad = ["mount", at, "--drive", key, "--cache-size", "much"];
    assert_eq!(reader.pome.fails(&bad).0, 2);
    let cache = ["--drive", key, "--peer", &address, "--cache-size", "16M"];
    let mounted = reader.pome.mount(&reader.at, &cache);
    let pin = ["drive", "pin", key, "/part-0", "--peer", &address];
    reader.pome.ok(&pin);
    let told = |n: usize, name: &str| told(&reader.at.join(format!("part-{n}")), name);
    assert_eq!((told(0, "pinned"), told(1, "pinned")), (1, 0));
    assert_eq!((told(0, "local"), told(1, "local")), (8 << 20, 0));
    for n in 1..6 {
        let read = fs::read(reader.at.join(format!("part-{n}"))).unwrap();
        assert!(read == bytes(n, 8 << 20));
    }
    until("the rest is dropped", || {
        (here(&reader.pome, blobs) <= 16 << 20).then_some(())
    });
    assert!(here(&reader.pome, blobs) > 8 << 20, "it is made use of");
    // Read again, it comes again.
    assert!(fs::read(reader.at.join("part-2")).unwrap() == bytes(2, 8 << 20));
    sharing.stop();
    let pinned = reader.pome.ok(&["drive", "get", key, "/part-0"]);
    assert!(pinned == bytes(0, 8 << 20));
    mounted.stop();
}

#[test]
fn a_remote_drive_that_was_never_here() {
    if !fuse_works("a_remote_drive_that_was_never_here") {
        return;
    }
    let (writer, reader) = (room(), room());
    writer.pome.ok(&["drive", "create", "home"]);
    let key = writer.pome.json(&["drive", "info", "home"])[0]["key"].clone();
    let key = key.as_str().unwrap();
    let (sharing, address) = share(&writer.pome, &["home"]);
    let at = reader.at.to_str().unwrap();
    let words = ["mount", at, "--drive", key, "--peer", &address];
    // Empty, it has no version yet.
    let (status, _) = reader
        .pome
        .fails(&[&words[..], &["--timeout", "1"]].concat());
    assert!(matches!(status, 3 | 4), "{status}");
    sharing.stop();
    assert_eq!(reader.pome.fails(&words), (1, "CONNECTION_IO".into()));
    assert_eq!(
        reader
            .pome
            .fails(&["mount", at, "--drive", "nothing", "--peer", &address])
            .0,
        3
    );
}

#[test]
fn a_drive_of_npm() {
    if !fuse_works("a_drive_of_npm") || !npm_works("a_drive_of_npm", &["corestore", "hyperdrive"]) {
        return;
    }
    let reader = room();
    let mut npm = Npm::start("drive.js");
    let keys = npm.say("keys", json!({}));
    let key = keys["drive"].as_str().unwrap();
    let blobs: pome::Key = keys["blobs"].as_str().unwrap().parse().unwrap();
    npm.say("put", json!({ "path": "/big", "seed": 5, "size": BIG }));
    npm.say("many", json!({ "folder": "/many", "count": 500 }));
    let port = npm.say("listen", json!({}))["port"].clone();
    let address = format!("127.0.0.1:{port}");
    let words = ["--drive", key, "--peer", &address, "--deadline", DEADLINE];
    let mounted = reader.pome.mount(&reader.at, &words);
    assert_eq!(npm.say("uploaded", json!({}))["uploaded"], 0);
    assert_eq!(
        fs::read(reader.at.join("many/file-17")).unwrap(),
        b"content 17"
    );
    assert_eq!(
        npm.say("uploaded", json!({}))["uploaded"],
        1,
        "one block, no other"
    );
    follow(&reader, &mounted, &blobs.to_string());
    npm.say("put", json!({ "path": "/new", "seed": 1, "size": 100_000 }));
    let new = reader.at.join("new");
    until("a new file", || {
        fs::read(&new).ok().filter(|c| *c == bytes(1, 100_000))
    });
    npm.say("del", json!({ "path": "/new" }));
    until("its end", || (!new.exists()).then_some(()));
    npm.say("hang_up", json!({}));
    alone(&reader);
    npm.say("put", json!({ "path": "/late", "seed": 2, "size": 10 }));
    npm.say("listen", json!({ "port": port }));
    until("the peer is found again", || {
        fs::read(reader.at.join("many/file-400")).ok()
    });
    until("what came meanwhile", || {
        fs::read(reader.at.join("late")).ok()
    });
    mounted.stop();
}
