//! A mount whose owner stops answering, or dies, while somebody is in each kind of call: all of them end, those that are killed and those that wait, and the mountpoint is free again.
//!
//! What is printed is how long each took; what is asserted is that it ends. Needs `/dev/fuse` and the right to mount.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod process;

use process::{MountProcess, Pome, fuse_works};
use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// The mount's deadline, in seconds: an owner that says nothing for so long is given up. Longer than a busy machine keeps one from saying that it lives.
const DEADLINE: &str = "15";
/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = pome_test_support::PATIENCE;

/// What is called, and how, in a folder of its own with a file `f`, a link `l` and an empty folder `e`.
const CALLS: &[(&str, &str)] = &[
    ("getattr", "stat f"),
    ("readdir", "ls e"),
    ("readlink", "readlink l"),
    ("read", "cat f"),
    ("statfs", "df ."),
    ("create", "touch new"),
    (
        "write, fsync",
        "dd if=/dev/zero of=w bs=1M count=1 conv=fsync",
    ),
    ("setattr", "chmod 600 f"),
    ("truncate", "truncate -s 10 f"),
    ("rename", "mv f g"),
    ("unlink", "rm -f f"),
    ("mkdir", "mkdir new"),
    ("rmdir", "rmdir e"),
    ("symlink", "ln -s x new"),
    ("rm -r", "rm -rf ."),
    ("cp -r", "cp -r . ../copy-$$"),
];

fn sh(at: &Path, script: &str) -> Child {
    Command::new("sh")
        .args(["-c", &format!("cd '{}' && {script}", at.display())])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// How long each has taken from `began` on until it is no more.
fn ends(children: Vec<Child>, began: Instant) -> Vec<Duration> {
    let mut running: Vec<(usize, Child)> = children.into_iter().enumerate().collect();
    let mut took = vec![Duration::ZERO; running.len()];
    while !running.is_empty() {
        running.retain_mut(|(at, child)| {
            let ended = child.try_wait().unwrap().is_some();
            if ended {
                took[*at] = began.elapsed();
            }
            !ended
        });
        let open: Vec<_> = running.iter().map(|(at, _)| CALLS.get(*at)).collect();
        assert!(began.elapsed() < PATIENCE, "these do not end: {open:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    took
}

fn fault(test: &str, killed: bool) {
    if !fuse_works(test) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pome = Pome::new(folder.path().join("store"));
    let at = folder.path().join("mnt");
    let places = || (0..CALLS.len()).map(|n| at.join(format!("place-{n}")));
    let mount = pome.mount(&at, &["--offline"]);
    for place in places() {
        for which in ["waits", "is killed"] {
            let place = place.join(which);
            fs::create_dir_all(place.join("e")).unwrap();
            fs::write(place.join("f"), "content").unwrap();
            std::os::unix::fs::symlink("f", place.join("l")).unwrap();
        }
    }
    mount.stop();
    // Nothing of it is in the kernel's memory, but the way to each place.
    let mut mount = pome.mount(&at, &["--offline", "--deadline", DEADLINE]);
    for place in places() {
        for which in ["waits", "is killed"] {
            assert!(place.join(which).exists());
        }
    }
    MountProcess::signal(mount.owner, "-STOP");
    let began = Instant::now();
    let start = |which: &str| -> Vec<Child> {
        let calls = places().zip(CALLS);
        calls
            .map(|(place, (_, script))| sh(&place.join(which), script))
            .collect()
    };
    let waiting = start("waits");
    let mut victims = start("is killed");
    std::thread::sleep(Duration::from_millis(200));
    for child in &mut victims {
        child.kill().unwrap();
    }
    if killed {
        MountProcess::signal(mount.owner, "-KILL");
    }
    let (waited, victims) = std::thread::scope(|scope| {
        let victims = scope.spawn(|| ends(victims, began));
        (ends(waiting, began), victims.join().unwrap())
    });
    for ((call, _), (waited, killed)) in CALLS.iter().zip(waited.iter().zip(&victims)) {
        println!("nightly: {call}: killed {killed:.1?}, else {waited:.1?}");
    }
    // Its keeper has taken it down, and says why.
    let last = mount.rest().pop().unwrap();
    assert!(last["error"]["message"].is_string(), "{last}");
    assert!(!mount.child.wait().unwrap().success());
    println!("nightly: taken down after {:.1?}", began.elapsed());
    assert!(fs::read_dir(&at).unwrap().next().is_none());
    if !killed {
        MountProcess::signal(mount.owner, "-KILL");
    }
    // All that was answered is there.
    let again = pome.mount(&at, &["--offline"]);
    assert!(fs::read_dir(&at).unwrap().count() >= CALLS.len());
    assert_eq!(fs::read(at.join("place-0/waits/f")).unwrap(), b"content");
    again.stop();
    assert_eq!(pome.json(&["store", "check"]).last().unwrap()["ok"], true);
}

#[test]
fn an_owner_that_stops_in_the_middle_of_every_call() {
    fault("an_owner_that_stops_in_the_middle_of_every_call", false);
}

#[test]
fn an_owner_that_dies_in_the_middle_of_every_call() {
    fault("an_owner_that_dies_in_the_middle_of_every_call", true);
}

/// `pome unmount` ends although nobody answers it.
#[test]
fn unmounting_what_nobody_serves() {
    if !fuse_works("unmounting_what_nobody_serves") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pome = Pome::new(folder.path().join("store"));
    let at = folder.path().join("mnt");
    // Its keeper is not the one to be waited for.
    let mut mount = pome.mount(&at, &["--offline"]);
    fs::write(at.join("f"), "kept").unwrap();
    mount.abandon();
    let reader = sh(&at, "cat f; sleep 100");
    let began = Instant::now();
    let words = ["--json", "unmount", at.to_str().unwrap(), "--timeout", "3"];
    let mut unmount = pome.command(&words);
    let mut unmount = unmount.stdout(Stdio::piped()).spawn().unwrap();
    while unmount.try_wait().unwrap().is_none() {
        assert!(began.elapsed() < PATIENCE, "it does not end");
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("nightly: unmount: {:.1?}", began.elapsed());
    let output = unmount.wait_with_output().unwrap();
    let mut reader = reader;
    reader.kill().unwrap();
    reader.wait().unwrap();
    MountProcess::signal(mount.owner, "-KILL");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(fs::read_dir(&at).unwrap().next().is_none());
    // It waits in the store until the drive is mounted again.
    let again = pome.mount(&at, &["--offline"]);
    assert_eq!(fs::read(at.join("f")).unwrap(), b"kept");
    again.stop();
}
