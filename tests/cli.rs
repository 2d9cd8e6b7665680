//! The command line against its contract: words, fields, exit statuses, and what it says to bad input.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod process;

use process::{MountProcess, Pome, fuse_works, lines};
use serde_json::json;
use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Stdio, time::Duration};

fn pome() -> (tempfile::TempDir, Pome) {
    let folder = tempfile::tempdir().expect("a folder");
    let pome = Pome::new(folder.path().join("store"));
    (folder, pome)
}

#[test]
fn cores() {
    let (folder, pome) = pome();
    let created = pome.json(&["core", "create", "log"]);
    assert_eq!(created[0]["name"], "log");
    let key = created[0]["key"].as_str().unwrap().to_owned();
    assert_eq!(key.len(), 52, "z-base-32");
    assert_eq!(
        pome.fails(&["core", "create", "log"]),
        (1, "NAME_TAKEN".into())
    );
    assert_eq!(
        pome.json(&["core", "append", "log", "a", "bc", ""])[0]["length"],
        3
    );
    let acks = pome.with_stdin(
        &["core", "append", "log", "--synced", "--ack"],
        b"one\ntwo\nlast without an end",
    );
    assert!(acks.status.success());
    assert_eq!(lines(&acks.stdout).last().unwrap()["length"], 6);
    fs::write(folder.path().join("file"), [0, 255, 10]).unwrap();
    pome.ok(&[
        "core",
        "append",
        "log",
        "--file",
        folder.path().join("file").to_str().unwrap(),
    ]);
    assert_eq!(pome.ok(&["core", "get", "log", "1"]), b"bc");
    assert_eq!(pome.ok(&["core", "get", "log", "2"]), b"");
    assert_eq!(pome.ok(&["core", "get", &key, "5"]), b"last without an end");
    assert_eq!(pome.ok(&["core", "get", "log", "6"]), [0, 255, 10]);
    assert_eq!(
        pome.json(&["core", "get", "log", "6"])[0],
        json!({ "seq": 6, "value": { "$hex": "00ff0a" } })
    );
    assert_eq!(
        pome.fails(&["core", "get", "log", "7"]),
        (3, "BLOCK_NOT_AVAILABLE".into())
    );
    assert_eq!(
        pome.fails(&["core", "get", "nothing", "0"]),
        (3, "NOT_FOUND".into())
    );
    let info = &pome.json(&["core", "info", "log"])[0];
    assert_eq!(
        (&info["length"], &info["fork"], &info["byteLength"]),
        (&json!(7), &json!(0), &json!(31))
    );
    assert_eq!(pome.json(&["core", "clear", "log", "0"])[0]["blocks"], 1);
    assert_eq!(
        pome.fails(&["core", "get", "log", "0"]),
        (3, "BLOCK_NOT_AVAILABLE".into())
    );
    let cut = &pome.json(&["core", "truncate", "log", "3"])[0];
    assert_eq!((&cut["length"], &cut["fork"]), (&json!(3), &json!(1)));
    assert_eq!(pome.json(&["core", "audit", "log"])[0]["ok"], true);
    let listed = pome.json(&["core", "ls"]);
    assert_eq!(
        (listed.len(), &listed[0]["name"], &listed[0]["length"]),
        (1, &json!("log"), &json!(3))
    );
}

#[test]
fn bees() {
    let (_folder, pome) = pome();
    pome.ok(&["bee", "put", "people", "ada", "1815"]);
    pome.ok(&["bee", "put", "people", "alan", "1912"]);
    let batch = b"{\"type\":\"put\",\"key\":\"grace\",\"value\":\"1906\"}\n{\"type\":\"put\",\"key\":{\"$hex\":\"ff\"},\"value\":\"x\"}\n{\"type\":\"del\",\"key\":\"alan\"}\n";
    assert!(
        pome.with_stdin(&["bee", "batch", "people"], batch)
            .status
            .success()
    );
    assert_eq!(pome.ok(&["bee", "get", "people", "ada"]), b"1815");
    assert_eq!(
        pome.json(&["bee", "get", "people", "ada"])[0],
        json!({ "seq": 1, "key": "ada", "value": "1815" })
    );
    assert_eq!(
        pome.fails(&["bee", "get", "people", "alan"]),
        (3, "NOT_FOUND".into())
    );
    assert_eq!(
        pome.fails(&["bee", "del", "people", "alan"]),
        (3, "NOT_FOUND".into())
    );
    let keys = |args: &[&str]| -> Vec<serde_json::Value> {
        pome.json(&[&["bee", "ls", "people"], args].concat())
            .into_iter()
            .map(|row| row["key"].clone())
            .collect()
    };
    assert_eq!(
        keys(&[]),
        [json!("ada"), json!("grace"), json!({ "$hex": "ff" })]
    );
    assert_eq!(keys(&["--prefix", "g"]), [json!("grace")]);
    assert_eq!(
        keys(&["--gt", "ada", "--reverse", "--limit", "1"]),
        [json!({ "$hex": "ff" })]
    );
    assert_eq!(keys(&["--lte", "ada"]), [json!("ada")]);
    assert_eq!(keys(&["--encoding", "hex"]).first(), Some(&json!("616461")));
    let history = pome.json(&["bee", "history", "people"]);
    assert_eq!(history.first().unwrap()["type"], "put");
    assert_eq!(history.last().unwrap()["type"], "del");
    assert_eq!(pome.json(&["bee", "diff", "people", "1", "3"]).len(), 2);
    assert_eq!(pome.json(&["bee", "info", "people"])[0]["version"], 6);
    let refused = pome.with_stdin(
        &["--json", "bee", "batch", "people"],
        b"{\"type\":\"put\",\"key\":\"x\",\"value\":\"y\"}\nnonsense\n",
    );
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(
        pome.fails(&["bee", "get", "people", "x"]).0,
        3,
        "a refused batch writes nothing"
    );
}

#[test]
fn drives() {
    let (folder, pome) = pome();
    assert_eq!(pome.fails(&["drive", "ls"]), (3, "NOT_FOUND".into()));
    let key = pome.json(&["drive", "create", "home"])[0]["key"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        pome.with_stdin(&["drive", "put", "/a/b.txt"], b"hello")
            .status
            .success()
    );
    fs::write(folder.path().join("big"), vec![7; 300_000]).unwrap();
    pome.ok(&[
        "drive",
        "put",
        "home",
        "/big",
        folder.path().join("big").to_str().unwrap(),
        "--executable",
    ]);
    assert_eq!(pome.ok(&["drive", "get", "/a/b.txt"]), b"hello");
    assert_eq!(pome.ok(&["drive", "get", &key, "/big"]), vec![7; 300_000]);
    assert_eq!(pome.ok(&["drive", "ls"]), b"/a/b.txt\n/big\n");
    assert_eq!(pome.ok(&["drive", "ls", "/a"]), b"/a/b.txt\n");
    let entry = &pome.json(&["drive", "entry", "/big"])[0];
    assert_eq!(
        (&entry["key"], &entry["value"]["executable"]),
        (&json!("/big"), &json!(true))
    );
    assert_eq!(entry["value"]["blob"]["byteLength"], 300_000);
    assert_eq!(
        pome.fails(&["drive", "get", "/nothing"]),
        (3, "NOT_FOUND".into())
    );
    assert_eq!(
        pome.fails(&["drive", "rm", "/nothing"]),
        (3, "NOT_FOUND".into())
    );
    pome.ok(&["drive", "rm", "/a/b.txt"]);
    assert_eq!(pome.json(&["drive", "history"]).len(), 3);
    assert_eq!(pome.json(&["drive", "diff", "1", "4"]).len(), 1);
    assert_eq!(pome.json(&["drive", "info"])[0]["files"], 1);
    assert!(!pome.json(&["drive", "versions"]).is_empty());
    assert_eq!(pome.fails(&["drive", "put", "/../x", "/dev/null"]).0, 1);
    assert_eq!(
        pome.fails(&["core", "append", "home", "x"]),
        (1, "NAME_TAKEN".into())
    );
    pome.ok(&["drive", "create", "second"]);
    assert_eq!(pome.fails(&["drive", "ls"]).0, 2, "two drives: say which");
    assert_eq!(pome.ok(&["drive", "ls", "home"]), b"/big\n");
}

#[test]
fn folders_come_in_and_go_out() {
    let (folder, pome) = pome();
    let from = folder.path().join("from");
    fs::create_dir_all(from.join("déjà/vu")).unwrap();
    fs::write(from.join("déjà/vu/x"), "x").unwrap();
    fs::write(from.join("run"), "#!/bin/sh\n").unwrap();
    fs::write(from.join("empty"), "").unwrap();
    fs::set_permissions(from.join("run"), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("déjà/vu/x", from.join("link")).unwrap();
    pome.ok(&["drive", "create", "home"]);
    let from_text = from.to_str().unwrap();
    let first = pome.json(&["drive", "import", from_text]);
    assert_eq!(first.last().unwrap()["count"]["add"], 4, "{first:?}");
    let again = pome.json(&["drive", "import", from_text]);
    assert_eq!(
        again.last().unwrap()["count"]["add"],
        0,
        "only what differs is written"
    );
    let to = folder.path().join("to");
    pome.ok(&["drive", "export", to.to_str().unwrap()]);
    let diff = std::process::Command::new("diff")
        .args(["-r", "--no-dereference"])
        .arg(&from)
        .arg(&to)
        .output()
        .unwrap();
    assert!(
        diff.status.success(),
        "{}",
        String::from_utf8_lossy(&diff.stdout)
    );
    assert_eq!(
        fs::read_link(to.join("link")).unwrap(),
        Path::new("déjà/vu/x")
    );
    assert_eq!(
        fs::metadata(to.join("run")).unwrap().permissions().mode() & 0o777,
        0o755
    );
    fs::remove_file(from.join("empty")).unwrap();
    let dry = pome.json(&["drive", "import", from_text, "--prune", "--dry-run"]);
    assert_eq!(dry.last().unwrap()["count"]["remove"], 1);
    assert_eq!(
        pome.json(&["drive", "ls"]).len(),
        4,
        "a dry run removes nothing"
    );
    pome.ok(&["drive", "import", from_text, "--prune"]);
    assert_eq!(pome.json(&["drive", "ls"]).len(), 3);
}

#[test]
fn commands_share_the_store() {
    let (_folder, pome) = pome();
    pome.ok(&["core", "create", "log"]);
    std::thread::scope(|scope| {
        for i in 0..4 {
            let pome = &pome;
            scope.spawn(move || pome.ok(&["core", "append", "log", &i.to_string()]));
        }
    });
    assert_eq!(
        pome.json(&["core", "info", "log"])[0]["length"],
        4,
        "each waited for the others; none saw a lock"
    );
}

#[test]
fn a_mount_and_commands_beside_it() {
    if !fuse_works("a_mount_and_commands_beside_it") {
        return;
    }
    let (folder, pome) = pome();
    let at = folder.path().join("a mount/point");
    let mount = pome.mount(&at, &["--offline"]);
    assert_eq!(
        (&mount.event["name"], &mount.event["writable"]),
        (&json!("home"), &json!(true))
    );
    fs::write(at.join("new.txt"), "from the mount").unwrap();
    assert_eq!(
        pome.ok(&["drive", "ls"]),
        b"/new.txt\n",
        "a command sees what the mount has written"
    );
    assert_eq!(pome.ok(&["drive", "get", "/new.txt"]), b"from the mount");
    assert!(
        pome.with_stdin(&["drive", "put", "/cli.txt"], b"from the command")
            .status
            .success()
    );
    assert_eq!(
        fs::read_to_string(at.join("cli.txt")).unwrap(),
        "from the command",
        "the mount sees what a command has put"
    );
    assert!(
        pome.with_stdin(&["drive", "put", "/cli.txt"], b"changed")
            .status
            .success()
    );
    assert_eq!(fs::read_to_string(at.join("cli.txt")).unwrap(), "changed");
    let status = &pome.json(&["status"])[0];
    assert_eq!(status["owner"], mount.event["pid"]);
    assert_eq!(status["mounts"][0]["name"], "home");
    pome.ok(&["core", "append", "log", "beside a mount"]);
    let version = pome.json(&["drive", "info"])[0]["version"]
        .as_u64()
        .unwrap()
        .to_string();
    fs::write(at.join("new.txt"), "newer").unwrap();
    pome.ok(&["drive", "ls"]);
    let then = folder.path().join("then");
    let old = pome.mount(&then, &["--version", &version]);
    assert_eq!(
        fs::read_to_string(then.join("new.txt")).unwrap(),
        "from the mount",
        "the drive as it was"
    );
    assert!(
        fs::write(then.join("x"), "x").is_err(),
        "an old version is read-only"
    );
    old.stop();
    let closed = mount.stop();
    assert_eq!(closed["event"], "closed");
    assert!(fs::read_dir(&at).unwrap().next().is_none());
    let again = pome.mount(&at, &[]);
    assert_eq!(fs::read_to_string(at.join("new.txt")).unwrap(), "newer");
    let unmounted = &pome.json(&["unmount", at.to_str().unwrap()])[0];
    assert_eq!(unmounted["how"], "normal");
    let mut again = again;
    assert_eq!(again.rest().last().unwrap()["event"], "closed");
    assert_eq!(
        pome.fails(&["unmount", at.to_str().unwrap()]),
        (3, "NOT_MOUNTED".into())
    );
}

#[test]
fn how_far_what_was_written_has_come() {
    if !fuse_works("how_far_what_was_written_has_come") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pome = Pome::new(folder.path().join("store"));
    let at = folder.path().join("mnt");
    let path = at.join("deep/file");
    let words = path.to_str().unwrap();
    let mount = pome.mount(&at, &[]);
    let key = mount.event["key"].as_str().unwrap().to_owned();
    fs::create_dir(at.join("deep")).unwrap();
    fs::write(&path, vec![7; 200_000]).unwrap();
    let flushed = &pome.json(&["flush", words])[0];
    assert_eq!(flushed["path"], "/deep/file");
    assert_eq!(flushed["published"], true);
    assert_eq!(flushed["durable"], true);
    assert_eq!(flushed["heldBy"], 0);
    assert_eq!(pome.json(&["status", words])[0], *flushed);
    let none = at.join("none");
    assert_eq!(pome.fails(&["status", none.to_str().unwrap()]).0, 3);
    let outside = folder.path().join("outside");
    let outside = pome.fails(&["status", outside.to_str().unwrap()]);
    assert_eq!(outside, (3, "NOT_MOUNTED".into()));
    // Nobody has it, until somebody does.
    let wanted = ["flush", "--peers", "1", words, "--timeout", "1"];
    assert_eq!(pome.fails(&wanted), (4, "TIMED_OUT".into()));
    let (sharing, address) = process::talk::share(&pome, &["home"]);
    let other = Pome::new(folder.path().join("other"));
    let there = folder.path().join("there");
    let reading = other.mount(&there, &["--drive", &key, "--peer", &address]);
    let peer = ["--peer", &address];
    other.ok(&[&["drive", "prefetch", &key, "/deep"], &peer[..]].concat());
    other.ok(&[&["core", "download", &key], &peer[..]].concat());
    let held = &pome.json(&["flush", "--peers", "1", words])[0];
    assert_eq!(held["heldBy"], 1, "{held}");
    // It is one, although commands of it were connected beside the mount.
    let two = ["flush", "--peers", "2", words, "--timeout", "1"];
    assert_eq!(pome.fails(&two), (4, "TIMED_OUT".into()));
    reading.stop();
    sharing.stop();
    mount.stop();
}

#[test]
fn a_mount_that_nobody_serves_is_taken_down_at_the_next_start() {
    if !fuse_works("a_mount_that_nobody_serves_is_taken_down_at_the_next_start") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pome = Pome::new(folder.path().join("store"));
    let at = folder.path().join("mnt");
    let mut mount = pome.mount(&at, &["--offline"]);
    fs::write(at.join("f"), "kept").unwrap();
    // Neither of them takes it down.
    mount.abandon();
    MountProcess::signal(mount.owner, "-KILL");
    let began = std::time::Instant::now();
    while !fs::metadata(&at).is_err_and(|e| e.kind() == std::io::ErrorKind::NotConnected) {
        assert!(began.elapsed() < pome_test_support::PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
    let again = pome.mount(&at, &["--offline"]);
    assert_eq!(fs::read_to_string(at.join("f")).unwrap(), "kept");
    again.stop();
}

#[test]
fn clients_notice_an_owner_that_does_not_answer() {
    if !fuse_works("clients_notice_an_owner_that_does_not_answer") {
        return;
    }
    let (folder, pome) = pome();
    let at = folder.path().join("mnt");
    // Longer than a busy machine keeps the owner from saying that it lives.
    let mut mount = pome.mount(&at, &["--timeout", "15"]);
    fs::write(at.join("x"), "answered").unwrap();
    let owner = mount.owner;
    process::MountProcess::signal(owner, "-STOP");
    // A client that waits for ever would make this test do so too.
    let (done, given_up) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        if given_up.recv_timeout(pome_test_support::PATIENCE)
            == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
        {
            process::MountProcess::signal(owner, "-KILL");
        }
    });
    let short = pome.fails(&["--timeout", "3", "core", "append", "log", "x"]);
    assert_eq!(short, (4, "TIMED_OUT".into()));
    let last = mount.rest().pop().unwrap();
    let status = mount.child.wait().unwrap();
    drop(done);
    assert_eq!(status.code(), Some(4));
    let message = last["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("not answered") && message.contains("was unmounted"),
        "{message}"
    );
    assert!(
        fs::read_dir(&at).unwrap().next().is_none(),
        "the mount is gone"
    );
    process::MountProcess::signal(mount.owner, "-CONT");
    assert_eq!(pome.ok(&["drive", "get", "/x"]), b"answered");
    assert_eq!(
        pome.fails(&["core", "info", "log"]),
        (3, "NOT_FOUND".into()),
        "what was given up was not done"
    );
}

/// A command that comes while a mount ends, which publishes what was written, waits for that.
#[test]
fn what_was_written_is_there_while_it_is_unmounted() {
    if !fuse_works("what_was_written_is_there_while_it_is_unmounted") {
        return;
    }
    let (folder, pome) = pome();
    let at = folder.path().join("mnt");
    let mut mount = pome.mount(&at, &[]);
    for n in 0..600 {
        fs::write(at.join(n.to_string()), "written").unwrap();
    }
    let mut unmount = pome.command(&["unmount", at.to_str().unwrap()]);
    let mut unmount = unmount.stdout(Stdio::null()).spawn().unwrap();
    for _ in 0..6 {
        assert_eq!(pome.ok(&["drive", "get", "/599"]), b"written");
    }
    assert!(unmount.wait().unwrap().success());
    assert!(mount.child.wait().unwrap().success());
}

#[test]
fn an_owner_that_is_told_to_end_says_so() {
    if !fuse_works("an_owner_that_is_told_to_end_says_so") {
        return;
    }
    let (folder, pome) = pome();
    let at = folder.path().join("mnt");
    let mut mount = pome.mount(&at, &[]);
    fs::write(at.join("x"), "x").unwrap();
    process::MountProcess::signal(mount.owner, "-TERM");
    let said = mount.rest();
    assert_eq!(mount.child.wait().unwrap().code(), Some(1));
    assert_eq!(said[0]["reason"], "the owner ends");
    assert_eq!(said[1]["error"]["code"], "OWNER_GONE");
    assert_eq!(pome.ok(&["drive", "get", "/x"]), b"x");
}

#[test]
fn commands_go_on_while_owners_come_and_go() {
    if !fuse_works("commands_go_on_while_owners_come_and_go") {
        return;
    }
    let (folder, pome) = pome();
    let at = folder.path().join("mnt");
    let running = std::sync::atomic::AtomicBool::new(true);
    let rounds = std::thread::scope(|scope| {
        let append = scope.spawn(|| {
            let mut rounds = 0u64;
            while running.load(std::sync::atomic::Ordering::Relaxed) {
                pome.ok(&["core", "append", "log", "x"]);
                rounds += 1;
            }
            rounds
        });
        let mounts = scope.spawn(|| {
            for _ in 0..8 {
                pome.mount(&at, &[]).stop();
            }
        });
        let mounted = mounts.join();
        // Also when that failed: the other thread must end for the failure to be seen.
        running.store(false, std::sync::atomic::Ordering::Relaxed);
        let rounds = append.join().unwrap();
        mounted.unwrap();
        rounds
    });
    assert_eq!(
        pome.json(&["core", "info", "log"])[0]["length"],
        rounds,
        "each was done once"
    );
}

#[test]
fn all_drives_in_the_background() {
    if !fuse_works("all_drives_in_the_background") {
        return;
    }
    let (folder, pome) = pome();
    for name in ["a", "b", "c"] {
        pome.ok(&["drive", "create", name]);
    }
    let at = folder.path().join("all");
    let events = pome.json(&["mount", "--all", "--background", at.to_str().unwrap()]);
    assert_eq!(events.len(), 3);
    for name in ["a", "b", "c"] {
        fs::write(at.join(name).join("x"), name).unwrap();
    }
    assert_eq!(
        pome.json(&["status"])[0]["mounts"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    for name in ["a", "b", "c"] {
        pome.ok(&["unmount", at.join(name).to_str().unwrap()]);
        assert_eq!(pome.ok(&["drive", "get", name, "/x"]), name.as_bytes());
    }
}

#[test]
fn a_store_is_its_owners_alone() {
    let (_folder, pome) = pome();
    pome.ok(&["core", "append", "log", "x"]);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&pome.store), 0o700);
    for file in fs::read_dir(&pome.store).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o600);
    }
}

#[test]
fn a_mount_in_the_background() {
    if !fuse_works("a_mount_in_the_background") {
        return;
    }
    let (folder, pome) = pome();
    let at = folder.path().join("mnt");
    let event = pome
        .json(&["mount", "--background", at.to_str().unwrap()])
        .remove(0);
    assert_eq!(event["event"], "mounted");
    fs::write(at.join("x"), "x").unwrap();
    // One line that is longer than the owner's largest frame.
    let large = vec![b'x'; 17 << 20];
    fs::write(at.join("large"), &large).unwrap();
    let got = pome.json(&["drive", "get", "/large"]).remove(0);
    assert_eq!(got["value"].as_str().map(str::len), Some(large.len()));
    pome.ok(&["unmount", at.to_str().unwrap()]);
    assert_eq!(pome.ok(&["drive", "get", "/x"]), b"x");
}

#[test]
fn bad_mountpoints_have_names() {
    if !fuse_works("bad_mountpoints_have_names") {
        return;
    }
    let (folder, pome) = pome();
    let full = folder.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("something"), "").unwrap();
    assert_eq!(
        pome.fails(&["mount", full.to_str().unwrap()]),
        (1, "MOUNTPOINT_NOT_EMPTY".into())
    );
    assert_eq!(
        pome.fails(&["mount", full.join("something").to_str().unwrap()]),
        (1, "NOT_A_FOLDER".into())
    );
    assert_eq!(
        pome.fails(&["mount", full.to_str().unwrap(), "--drive", "nothing"])
            .0,
        3
    );
}

#[test]
fn stores_that_cannot_be_opened_have_names() {
    let (folder, pome) = pome();
    assert_eq!(pome.fails(&["core", "ls"]), (3, "NOT_FOUND".into()));
    // A folder with other things in it.
    let other = Pome::new(folder.path().join("other"));
    fs::create_dir(&other.store).unwrap();
    fs::write(other.store.join("letter.txt"), "dear").unwrap();
    assert_eq!(
        other.fails(&["core", "append", "x", "y"]),
        (1, "NOT_A_STORE".into())
    );
    // A file.
    let file = Pome::new(folder.path().join("other/letter.txt"));
    assert_eq!(file.fails(&["core", "append", "x", "y"]).0, 1);
    // A store of another version.
    pome.ok(&["core", "append", "x", "y"]);
    let name = fs::read_dir(&pome.store)
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.ends_with("superblock"))
        .expect("superblock");
    let intact = fs::read(&name).unwrap();
    let mut newer = intact.clone();
    newer[8] = 99;
    fs::write(&name, &newer).unwrap();
    let (status, code) = pome.fails(&["core", "ls"]);
    assert!(
        status == 1 && (code == "UNKNOWN_VERSION" || code == "CORRUPT"),
        "{code}"
    );
    fs::write(&name, &intact).unwrap();
    assert_eq!(pome.json(&["core", "ls"]).len(), 1);
    // Open elsewhere, by a process that does not answer: status 4 after the timeout.
    let lock = fs::File::options()
        .read(true)
        .write(true)
        .open(pome.store.join("lock"))
        .unwrap();
    lock.lock().unwrap();
    assert_eq!(
        pome.fails(&["--timeout", "0.3", "core", "ls"]),
        (4, "TIMED_OUT".into())
    );
    drop(lock);
    assert_eq!(pome.json(&["core", "ls"]).len(), 1);
}

#[test]
fn usage_is_status_2_and_help_is_0() {
    let (_folder, pome) = pome();
    assert_eq!(pome.run(&["nonsense"]).status.code(), Some(2));
    assert_eq!(
        pome.fails(&["core", "get", "log", "no number"]),
        (2, "USAGE".into())
    );
    assert!(pome.run(&["--help"]).status.success());
    assert!(pome.run(&["drive", "import", "--help"]).status.success());
    assert!(
        String::from_utf8(pome.ok(&["--version"]))
            .unwrap()
            .starts_with("pome ")
    );
    assert!(
        String::from_utf8(pome.ok(&["completions", "bash"]))
            .unwrap()
            .contains("_pome")
    );
    assert!(
        String::from_utf8(pome.ok(&["man"]))
            .unwrap()
            .contains(".TH")
    );
}

/// `docs/cli.md` names every command and every option that `--help` shows, and no other.
#[test]
fn the_manual_has_every_word() {
    let (_folder, pome) = pome();
    let manual =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md")).unwrap();
    let mut commands = vec![Vec::<String>::new()];
    let mut seen = 0;
    while let Some(path) = commands.pop() {
        let words: Vec<&str> = path.iter().map(String::as_str).collect();
        let help = String::from_utf8(pome.ok(&[words.as_slice(), &["--help"]].concat())).unwrap();
        if !path.is_empty() {
            let name = format!("`pome {}", words.join(" "));
            assert!(manual.contains(&name), "docs/cli.md does not name {name}`");
            seen += 1;
        }
        let mut in_commands = false;
        for line in help.lines() {
            match line.trim_end() {
                "Commands:" => in_commands = true,
                "" => in_commands = false,
                line if in_commands && line.starts_with("  ") && !line.starts_with("   ") => {
                    let word = line.split_whitespace().next().unwrap();
                    if word != "help" {
                        commands.push([path.clone(), vec![word.into()]].concat());
                    }
                }
                line if line.trim_start().starts_with('-') => {
                    let words = line
                        .split(|c: char| c.is_whitespace() || c == ',')
                        .map(|word| word.trim_end_matches('.'));
                    for option in words.filter(|word| word.starts_with("--")) {
                        assert!(
                            manual.contains(option),
                            "docs/cli.md does not name {option} of {path:?}"
                        );
                    }
                }
                _ => {}
            }
        }
    }
    assert!(seen > 30, "only {seen} commands were seen");
    for word in manual
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.starts_with("pome "))
    {
        let words: Vec<&str> = word
            .split(' ')
            .skip(1)
            .take_while(|w| w.chars().all(|c| c.is_ascii_lowercase()))
            .collect();
        assert!(
            pome.run(&[words.as_slice(), &["--help"]].concat())
                .status
                .success(),
            "docs/cli.md names {word:?}"
        );
    }
}
