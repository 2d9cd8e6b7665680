//! Mounts that are used hard: taken up and down again and again by one owner, worked in by fifty processes at once, mounted by a user who is not root.
//! Nothing is lost, and the owner has no more memory, threads or open files afterwards.
//!
//! Needs `/dev/fuse` and the right to mount. `POME_MOUNT_ROUNDS` (default 15) is how often one owner mounts; `POME_HAMMER` (default 40) how much each process does.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod process;

use pome_test_support::{skipped, tools_work};
use process::{Pome, fuse_works};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read, Seek, SeekFrom, Write},
    os::unix::fs::{FileExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = pome_test_support::PATIENCE;

fn setting(name: &str, default: u64) -> u64 {
    let value = std::env::var(name).ok();
    value.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What a process has.
#[derive(Debug, Clone, Copy)]
struct Held {
    descriptors: usize,
    threads: usize,
    /// Of its own: neither files that are mapped nor the page cache.
    memory_kib: u64,
}

impl Held {
    fn by(pid: i32) -> Self {
        let count = |what: &str| fs::read_dir(format!("/proc/{pid}/{what}")).unwrap().count();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:"));
        let kib = line.unwrap().split_whitespace().nth(1).unwrap();
        Self {
            descriptors: count("fd"),
            threads: count("task"),
            memory_kib: kib.parse().unwrap(),
        }
    }

    /// As soon as it has no more descriptors and threads than at `before`, but for `some`, and no more memory but for `kib`: what runs in the background comes and goes.
    fn again(pid: i32, before: Self, some: usize, kib: u64) -> Self {
        let began = Instant::now();
        loop {
            let now = Self::by(pid);
            if now.descriptors <= before.descriptors + some
                && now.threads <= before.threads + some
                && now.memory_kib <= before.memory_kib + kib
            {
                return now;
            }
            assert!(began.elapsed() < PATIENCE, "{before:?} before, {now:?} now");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

#[test]
fn rounds_of_mounting_leave_nothing_behind() {
    let test = "rounds_of_mounting_leave_nothing_behind";
    if !fuse_works(test) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pome = Pome::new(folder.path().join("store"));
    let [at, beside] = ["mnt", "beside"].map(|name| folder.path().join(name));
    pome.ok(&["drive", "create", "home"]);
    pome.ok(&["drive", "create", "other"]);
    // It keeps the owner.
    let other = pome.mount(&beside, &["--drive", "other", "--offline"]);
    let owner = other.owner;
    let round = |n: u64| {
        let mount = pome.mount(&at, &["--drive", "home", "--offline"]);
        assert_eq!(mount.owner, owner);
        let path = |n: u64| at.join(format!("{}/{n}", n % 10));
        fs::create_dir_all(path(n).parent().unwrap()).unwrap();
        fs::write(path(n), vec![n as u8; 5000]).unwrap();
        let last = path(n.saturating_sub(1));
        assert_eq!(
            fs::read(&last).unwrap(),
            vec![n.saturating_sub(1) as u8; 5000]
        );
        assert!(fs::read_dir(&at).unwrap().count() <= 10);
        mount.stop();
        assert_eq!(fs::read_dir(&at).unwrap().count(), 0);
    };
    // What is made once is made.
    let (warm, rounds) = (5, setting("POME_MOUNT_ROUNDS", 15));
    (0..warm).for_each(round);
    let before = Held::by(owner);
    let began = Instant::now();
    (warm..warm + rounds).for_each(round);
    println!(
        "{rounds} rounds of mounting: {:.1} s",
        began.elapsed().as_secs_f64()
    );
    // Fewer than one a round, and less than a mount that stayed would have.
    let after = Held::again(owner, before, 8, (32 << 10) + 32 * rounds);
    println!("nightly: {before:?} before, {after:?} after");
    let mount = pome.mount(&at, &["--drive", "home", "--offline"]);
    for n in 0..warm + rounds {
        let path = at.join(format!("{}/{n}", n % 10));
        assert_eq!(fs::read(path).unwrap(), vec![n as u8; 5000], "{n}");
    }
    mount.stop();
    other.stop();
    assert_eq!(pome.json(&["store", "check"]).last().unwrap()["ok"], true);
}

const HAMMER_AT: &str = "POME_HAMMER_AT";
const HAMMERS: u64 = 50;
const RECORD: usize = 24;

/// Not a test: one of the processes, when it is told to be one.
#[test]
fn one_process() {
    let Some(at) = std::env::var_os(HAMMER_AT).map(PathBuf::from) else {
        return;
    };
    let (me, count) = (setting("POME_HAMMER_ME", 0), setting("POME_HAMMER", 40));
    let mut random = ChaCha8Rng::seed_from_u64(me);
    let mut own = Own::new(at.join(format!("own-{me}")));
    for n in 0..count {
        own.step(&mut random);
        shared(&at.join("shared"), &mut random);
        // One record, at the end wherever that is.
        let mut log = OpenOptions::new()
            .append(true)
            .open(at.join("log"))
            .unwrap();
        log.write_all(format!("{:<23}\n", format!("{me} {n}")).as_bytes())
            .unwrap();
        // One more, under a lock.
        let mut counter = OpenOptions::new()
            .read(true)
            .write(true)
            .open(at.join("counter"))
            .unwrap();
        counter.lock().unwrap();
        let mut text = String::new();
        counter.read_to_string(&mut text).unwrap();
        let next = text.trim().parse::<u64>().unwrap() + 1;
        counter.seek(SeekFrom::Start(0)).unwrap();
        write!(counter, "{next:>20}").unwrap();
        if n % 20 == 7 {
            counter.sync_all().unwrap();
        }
    }
    own.check();
    let told = std::env::var_os("POME_HAMMER_TELL").unwrap();
    let files = own
        .files
        .iter()
        .map(|(name, bytes)| (name.clone(), hash(bytes)));
    let files: BTreeMap<String, u64> = files.collect();
    fs::write(told, serde_json::to_vec(&files).unwrap()).unwrap();
}

fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325 ^ bytes.len() as u64, step)
}

/// A folder that one process alone works in, and what is in its files.
struct Own {
    at: PathBuf,
    files: BTreeMap<String, Vec<u8>>,
}

impl Own {
    fn new(at: PathBuf) -> Self {
        fs::create_dir_all(at.join("d")).unwrap();
        Self {
            at,
            files: BTreeMap::new(),
        }
    }

    fn step(&mut self, random: &mut ChaCha8Rng) {
        let mut name = || {
            let folder = ["", "d/"][random.random_range(0..2)];
            format!("{folder}{}", random.random_range(0..8u8))
        };
        let (name, to) = (name(), name());
        let path = self.at.join(&name);
        let there = self.files.contains_key(&name);
        match random.random_range(0..8u8) {
            0 | 1 => {
                let mut bytes = vec![0; random.random_range(0..30_000)];
                random.fill_bytes(&mut bytes);
                fs::write(&path, &bytes).unwrap();
                self.files.insert(name, bytes);
            }
            2 | 3 if there => {
                let file = OpenOptions::new().write(true).open(&path).unwrap();
                let at = random.random_range(0..40_000usize);
                let mut bytes = vec![0; random.random_range(1..9_000)];
                random.fill_bytes(&mut bytes);
                file.write_all_at(&bytes, at as u64).unwrap();
                let content = self.files.get_mut(&name).unwrap();
                content.resize(content.len().max(at + bytes.len()), 0);
                content[at..at + bytes.len()].copy_from_slice(&bytes);
                if random.random_bool(0.1) {
                    file.sync_all().unwrap();
                }
            }
            4 if there => {
                let len = random.random_range(0..20_000);
                let file = OpenOptions::new().write(true).open(&path).unwrap();
                file.set_len(len).unwrap();
                self.files.get_mut(&name).unwrap().resize(len as usize, 0);
            }
            5 if there => {
                fs::rename(&path, self.at.join(&to)).unwrap();
                let content = self.files.remove(&name).unwrap();
                self.files.insert(to, content);
            }
            6 if there => {
                fs::remove_file(&path).unwrap();
                self.files.remove(&name);
            }
            _ => match fs::read(&path) {
                Ok(bytes) => assert!(Some(&bytes) == self.files.get(&name), "{name}"),
                Err(error) => assert!(
                    error.kind() == ErrorKind::NotFound && !there,
                    "{name}: {error}"
                ),
            },
        }
    }

    fn check(&self) {
        for (name, bytes) in &self.files {
            assert!(fs::read(self.at.join(name)).unwrap() == *bytes, "{name}");
        }
        let files = |at: PathBuf| {
            let entries = fs::read_dir(at).unwrap().map(Result::unwrap);
            entries
                .filter(|entry| entry.file_type().unwrap().is_file())
                .count()
        };
        assert_eq!(
            files(self.at.clone()) + files(self.at.join("d")),
            self.files.len()
        );
    }
}

/// Names that all want at once: each call does it, or says why not.
fn shared(at: &Path, random: &mut ChaCha8Rng) {
    let mut path = || at.join(["a", "b", "c", "a/x", "a/y", "b/x"][random.random_range(0..6)]);
    let (path, to) = (path(), path());
    let done = match random.random_range(0..8u8) {
        0 => fs::create_dir(&path),
        1 => fs::remove_dir(&path),
        2 => fs::write(&path, "shared"),
        3 => fs::remove_file(&path),
        4 => fs::rename(&path, &to),
        5 => fs::hard_link(&path, &to),
        6 => symlink("nowhere", &path),
        _ => fs::read_dir(at).map(|entries| entries.for_each(drop)),
    };
    if let Err(error) = done {
        let may = [
            ErrorKind::NotFound,
            ErrorKind::AlreadyExists,
            ErrorKind::NotADirectory,
            ErrorKind::IsADirectory,
            ErrorKind::DirectoryNotEmpty,
            // A folder into itself; `rename` of a folder over one that is above it.
            ErrorKind::InvalidInput,
            // A link to a folder.
            ErrorKind::PermissionDenied,
        ];
        assert!(may.contains(&error.kind()), "{path:?} {to:?}: {error}");
    }
}

#[test]
fn fifty_processes_at_once() {
    let test = "fifty_processes_at_once";
    if std::env::var_os(HAMMER_AT).is_some() || !fuse_works(test) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let pome = Pome::new(folder.path().join("store"));
    let at = folder.path().join("mnt");
    let mount = pome.mount(&at, &["--offline"]);
    let counted = setting("POME_HAMMER", 40);
    // Each of the kinds of work once before it is measured.
    let run = |which: std::ops::Range<u64>| {
        let children: Vec<Child> = which
            .map(|me| {
                Command::new(std::env::current_exe().unwrap())
                    .args(["one_process", "--exact", "--nocapture"])
                    .env(HAMMER_AT, &at)
                    .env("POME_HAMMER_ME", me.to_string())
                    .env("POME_HAMMER", counted.to_string())
                    .env("POME_HAMMER_TELL", folder.path().join(format!("told-{me}")))
                    .stdout(Stdio::null())
                    .spawn()
                    .unwrap()
            })
            .collect();
        for mut child in children {
            assert!(child.wait().unwrap().success());
        }
    };
    fs::create_dir(at.join("shared")).unwrap();
    fs::write(at.join("log"), "").unwrap();
    fs::write(at.join("counter"), "0").unwrap();
    run(HAMMERS..HAMMERS + 1);
    let before = Held::by(mount.owner);
    let began = Instant::now();
    run(0..HAMMERS);
    println!(
        "{HAMMERS} processes, {} steps each: {:.1} s",
        counted,
        began.elapsed().as_secs_f64()
    );
    let after = Held::again(mount.owner, before, 16, 128 << 10);
    println!("nightly: {before:?} before, {after:?} after");
    let look = || {
        for me in 0..=HAMMERS {
            let told = fs::read(folder.path().join(format!("told-{me}"))).unwrap();
            let files: BTreeMap<String, u64> = serde_json::from_slice(&told).unwrap();
            for (name, wanted) in files {
                let bytes = fs::read(at.join(format!("own-{me}/{name}"))).unwrap();
                assert_eq!(hash(&bytes), wanted, "{me}: {name}");
            }
        }
        let log = fs::read_to_string(at.join("log")).unwrap();
        let mut records: Vec<&str> = log.lines().map(str::trim).collect();
        assert_eq!(log.len(), records.len() * RECORD);
        records.sort_unstable();
        records.dedup();
        assert_eq!(records.len() as u64, (HAMMERS + 1) * counted);
        let counter = fs::read_to_string(at.join("counter")).unwrap();
        assert_eq!(counter.trim(), ((HAMMERS + 1) * counted).to_string());
        tree(&at.join("shared"))
    };
    let names = look();
    mount.stop();
    let mount = pome.mount(&at, &["--offline"]);
    assert_eq!(look(), names);
    mount.stop();
    assert_eq!(pome.json(&["store", "check"]).last().unwrap()["ok"], true);
}

/// All that is there, each with what it is.
fn tree(at: &Path) -> Vec<String> {
    let mut all = vec![];
    let mut todo = vec![at.to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            all.push(format!("{path:?} {kind:?}"));
            if kind.is_dir() {
                todo.push(path);
            }
        }
    }
    all.sort();
    all
}

/// As a user for whom `/dev/fuse` is open and nothing else: `fusermount3` mounts and unmounts.
const AS_NOBODY: &str = r#"
# Where a machine keeps it for root, another stands there for this while.
test "$(stat -c %a /dev/fuse)" = 666 || { mknod -m 666 fuse c 10 229; mount --bind fuse /dev/fuse; }
as() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
no() { if "$@" > denied 2>&1; then echo "it may: $*"; exit 1; fi; }
up() { rm -f said; setpriv --reuid 65534 --regid 65534 --clear-groups "$pome" --json mount mnt --drive home --offline "$@" > said 2> err & until grep -qs mounted said; do kill -0 $! || { cat said err; exit 1; }; sleep 0.05; done; }
down() { local i; for i in $(seq 2400); do mountpoint -q mnt || return 0; sleep 0.05; done; echo "it stays"; exit 1; }
as "$pome" drive create home
up
as sh -c 'echo hello > mnt/f; mkdir mnt/d; chmod 640 mnt/f; ln mnt/f mnt/d/g'
test "$(as stat -c '%u %g %a %h' mnt/f)" = '65534 65534 640 2'
# Nobody else looks in, root neither.
no ls mnt; grep -q 'Permission denied' denied
no as chown 0 mnt/f
as "$pome" unmount mnt; wait; down
# An owner that dies: its keeper takes the mount down with fusermount3.
up
as cat mnt/f | grep -qx hello
kill -9 "$(grep -o '"pid":[0-9]*' said | cut -d: -f2)"
wait; grep -q OWNER_GONE said; down
up
as sh -c 'echo again >> mnt/d/g'
kill -TERM $!; wait; down
# For others only where the machine lets its users.
echo > conf; mount --bind conf /etc/fuse.conf
no as "$pome" --json mount mnt --drive home --offline --allow-other; cat denied; grep -q user_allow_other denied
echo user_allow_other > conf
up --allow-other
printf 'hello\nagain\n' | cmp - mnt/f
test "$(stat -c %U mnt/d)" = nobody
as "$pome" unmount mnt; wait; down
"#;

#[test]
fn a_user_who_is_not_root_mounts() {
    let test = "a_user_who_is_not_root_mounts";
    if !fuse_works(test) {
        return;
    }
    if !tools_work(test, &["fusermount3", "setpriv", "unshare"]) {
        return;
    }
    let root = rustix::process::geteuid().is_root() && Path::new("/etc/fuse.conf").exists();
    if !root {
        return skipped(test, "it takes root to become another user");
    }
    let folder = tempfile::tempdir().unwrap();
    let work = folder.path().join("work");
    fs::create_dir_all(work.join("mnt")).unwrap();
    for path in [folder.path().to_owned(), work.clone(), work.join("mnt")] {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::chown(&path, Some(65534), Some(65534)).unwrap();
    }
    // Where that user can reach it.
    let pome = Pome::new(work.join("store"));
    let binary = work.join("pome");
    fs::copy(pome.command(&[]).get_program(), &binary).unwrap();
    let mut command = Command::new("unshare");
    let said = File::create(folder.path().join("out")).unwrap();
    command
        .args(["-m", "bash", "-euxo", "pipefail", "-c", AS_NOBODY])
        .current_dir(&work)
        .env("pome", &binary)
        .env("HOME", &work)
        .env("POME_STORE", &pome.store)
        .env("POME_APPS", pome.apps())
        .env_remove("SUDO_USER")
        .envs(pome.variables())
        .stdin(Stdio::null())
        .stdout(said.try_clone().unwrap())
        .stderr(said);
    let status = command.status().unwrap();
    let said = fs::read_to_string(folder.path().join("out")).unwrap();
    assert!(status.success(), "{said}");
    assert_eq!(pome.json(&["store", "check"]).last().unwrap()["ok"], true);
}
