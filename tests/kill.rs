//! `kill -9` of the owner at random moments, while one writer works inside the mount and another appends through the command line.
//!
//! After each kill: the client has taken the mount down by itself, the store opens, `store check` is clean, every write that was answered is there, whole,
//! every acknowledged append too, and nothing is half there. Needs /dev/fuse. `POME_KILL_ROUNDS` sets the number of rounds (20 in CI, 200 before a
//! release), `POME_SEED` the seed of the moments.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod process;

use process::{MountProcess, Pome, fuse_works};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Write},
    os::{fd::AsRawFd, unix::fs::FileExt},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc, Mutex,
        mpsc::{Sender, channel},
    },
    time::Duration,
};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// One write, as the script knows it. Its bytes follow from its number.
#[derive(Debug, Clone)]
struct Write_ {
    number: u64,
    offset: u64,
    len: usize,
    /// How much of it is there.
    shown: usize,
}

fn pattern(number: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    // No byte is zero: a hole is told from a write.
    ChaCha8Rng::seed_from_u64(number).fill_bytes(&mut bytes);
    bytes.iter_mut().for_each(|b| *b |= 1);
    bytes
}

/// What must be in one file.
#[derive(Debug, Clone, Default)]
struct Expected {
    answered: Vec<Write_>,
    /// The write that the kill cut off.
    open: Option<Write_>,
}

impl Expected {
    fn apply(writes: &[Write_]) -> Vec<u8> {
        let mut out = Vec::new();
        for write in writes {
            let end = write.offset as usize + write.shown;
            if out.len() < end {
                out.resize(end, 0);
            }
            out[write.offset as usize..end]
                .copy_from_slice(&pattern(write.number, write.len)[..write.shown]);
        }
        out
    }

    /// What may be there: all that was answered; and of the write that was cut off nothing, all, or the part up to a page boundary, for the kernel
    /// hands a write that starts inside a page over in parts.
    fn possible(&self) -> Vec<Vec<Write_>> {
        let mut all = vec![self.answered.clone()];
        if let Some(open) = &self.open {
            let pages = (1..=open.len)
                .filter(|len| *len == open.len || (open.offset + *len as u64).is_multiple_of(4096));
            all.extend(pages.map(|shown| {
                [
                    self.answered.clone(),
                    vec![Write_ {
                        shown,
                        ..open.clone()
                    }],
                ]
                .concat()
            }));
        }
        all
    }

    /// Compares with what is there, and takes that for the truth from now on.
    fn settle(&mut self, path: &Path) {
        let found = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let Some(is) = self
            .possible()
            .into_iter()
            .find(|writes| Self::apply(writes) == found)
        else {
            let answered = Self::apply(&self.answered);
            let differs = found.iter().zip(&answered).position(|(a, b)| a != b);
            panic!(
                "{}: {} bytes found, {} answered; cut off: {:?}; the first byte that is not what was answered: {differs:?}",
                path.display(),
                found.len(),
                answered.len(),
                self.open,
            );
        };
        *self = Self {
            answered: is,
            open: None,
        };
    }
}

type Files = Arc<Mutex<BTreeMap<String, Expected>>>;

/// Writes, appends, overwrites, fsyncs and renames inside the mount until the owner is gone.
fn write_files(mountpoint: &Path, files: &Files, seed: u64, begun: Sender<()>) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut number = seed << 24;
    // Through a descriptor of the mount: when it is gone, its name leads to the folder below, which takes any write.
    let root = File::open(mountpoint).expect("a mounted folder");
    let _ = begun.send(());
    drop(begun);
    let path = |name: &str| PathBuf::from(format!("/proc/self/fd/{}/{name}", root.as_raw_fd()));
    loop {
        number += 1;
        let name = format!("f{}", random.random_range(0..12u32));
        let len = random.random_range(1..60_000usize);
        if random.random_bool(0.15) {
            // Save by rename: the new content is whole, or the old one is.
            let fresh = format!("{name}.new");
            let write = Write_ {
                number,
                offset: 0,
                len,
                shown: len,
            };
            let saved = (|| -> std::io::Result<()> {
                let mut file = File::create(path(&fresh))?;
                file.write_all(&pattern(number, len))?;
                file.sync_all()
            })();
            if saved.is_err() {
                return;
            }
            let mut files = files.lock().unwrap();
            let old = files.get(&name).cloned();
            // Between the two, either name may hold the file.
            files.insert(
                fresh.clone(),
                Expected {
                    answered: vec![write.clone()],
                    open: None,
                },
            );
            if fs::rename(path(&fresh), path(&name)).is_err() {
                files.insert(format!("{name}|{fresh}"), old.unwrap_or_default());
                return;
            }
            let saved = files.remove(&fresh).expect("just put there");
            files.insert(name, saved);
            continue;
        }
        let mut files = files.lock().unwrap();
        let expected = files.entry(name.clone()).or_default();
        let size = Expected::apply(&expected.answered).len() as u64;
        let offset = random.random_range(0..=size.min(400_000));
        let Ok(file) = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path(&name))
        else {
            if expected.answered.is_empty() {
                files.remove(&name);
            }
            return;
        };
        expected.open = Some(Write_ {
            number,
            offset,
            len,
            shown: len,
        });
        if file.write_all_at(&pattern(number, len), offset).is_err() {
            return;
        }
        expected.answered.extend(expected.open.take());
        drop(files);
        if random.random_bool(0.3) && file.sync_all().is_err() {
            return;
        }
    }
}

/// Appends lines through the owner and counts what was acknowledged.
fn append_lines(pome: &Pome, first: u64, begun: Sender<()>) -> u64 {
    let mut child = pome
        .command(&["core", "append", "log", "--synced", "--ack"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("spawns");
    let mut stdin = child.stdin.take().expect("a pipe");
    let feeder = std::thread::spawn(move || {
        for n in first..first + 1_000_000 {
            if writeln!(stdin, "line {n}").is_err() {
                return;
            }
            // Few lines a commit: the kill should find many commits under way, not one large one.
            if n % 16 == 0 {
                std::thread::sleep(Duration::from_micros(500));
            }
        }
    });
    let mut acknowledged = 0;
    for line in BufReader::new(child.stdout.take().expect("a pipe"))
        .lines()
        .map_while(Result::ok)
    {
        let value: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        if let Some(length) = value["length"].as_u64() {
            let before = std::mem::replace(&mut acknowledged, length);
            if before == 0 {
                let _ = begun.send(());
            }
        }
    }
    assert!(
        !child.wait().expect("ends").success(),
        "the append should not outlive the owner"
    );
    feeder.join().expect("no panic");
    acknowledged
}

fn verify_log(pome: &Pome, acknowledged: u64) -> u64 {
    if acknowledged == 0 {
        return pome
            .run(&["--json", "core", "info", "log"])
            .status
            .code()
            .map_or(0, |code| if code == 0 { length(pome) } else { 0 });
    }
    let length = length(pome);
    assert!(
        length >= acknowledged,
        "{acknowledged} appends were acknowledged, the core has {length}"
    );
    for index in [0, acknowledged / 2, acknowledged - 1, length - 1] {
        assert_eq!(
            pome.ok(&["core", "get", "log", &index.to_string()]),
            format!("line {index}").as_bytes()
        );
    }
    length
}

fn length(pome: &Pome) -> u64 {
    pome.json(&["core", "info", "log"])[0]["length"]
        .as_u64()
        .expect("a length")
}

fn verify_files(mountpoint: &Path, files: &Files) {
    let mut files = files.lock().unwrap();
    // A rename that the kill cut off: the old name still holds the old content beside the new file, or the new one is there and its old name is not.
    let open: Vec<_> = files
        .keys()
        .filter(|name| name.contains('|'))
        .cloned()
        .collect();
    for entry in open {
        let mut old = files.remove(&entry).expect("listed");
        let (name, fresh) = entry.split_once('|').expect("two names");
        let mut saved = files.remove(fresh).expect("the file that was renamed");
        if mountpoint.join(fresh).exists() {
            match old.answered.is_empty() {
                true => assert!(
                    !mountpoint.join(name).exists(),
                    "{name} is there beside {fresh}"
                ),
                false => old.settle(&mountpoint.join(name)),
            }
            saved.settle(&mountpoint.join(fresh));
            fs::remove_file(mountpoint.join(fresh)).expect("removes");
            if old.answered.is_empty() {
                files.remove(name);
            } else {
                files.insert(name.to_owned(), old);
            }
        } else {
            saved.settle(&mountpoint.join(name));
            files.insert(name.to_owned(), saved);
        }
    }
    for (name, expected) in files.iter_mut() {
        let path = mountpoint.join(name);
        if expected.answered.is_empty() && !path.exists() {
            continue;
        }
        // What is found is the truth for the next round.
        expected.settle(&path);
        // A long history is a slow check: start it anew.
        if expected.answered.len() > 40 {
            fs::remove_file(&path).expect("removes");
            *expected = Expected::default();
        }
    }
    files.retain(|_, expected| !expected.answered.is_empty());
    for entry in fs::read_dir(mountpoint).expect("lists") {
        let name = entry
            .expect("an entry")
            .file_name()
            .into_string()
            .expect("UTF-8");
        if name.ends_with(".new") || !files.contains_key(&name) {
            // A file that was made, and not yet written when the kill came; or one half of a save.
            fs::remove_file(mountpoint.join(&name)).expect("removes");
        }
    }
}

#[test]
fn a_killed_owner_loses_nothing_that_was_answered() {
    if !fuse_works("a_killed_owner_loses_nothing_that_was_answered") {
        return;
    }
    let rounds = setting("POME_KILL_ROUNDS", 20);
    let seed = setting("POME_SEED", 1);
    eprintln!("{rounds} rounds, POME_SEED={seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut acknowledged, mut files) = (0, 0);
    for first in (0..rounds).step_by(ROUNDS_PER_STORE as usize) {
        let mut world = World::new();
        for round in first..rounds.min(first + ROUNDS_PER_STORE) {
            let after = Duration::from_millis(random.random_range(5..400));
            world.kill_one(round, after, seed.wrapping_mul(10_000) + round);
        }
        world.verify_and_end();
        acknowledged += world.acknowledged;
        files += world.files.lock().unwrap().len();
    }
    assert!(
        acknowledged > 0,
        "no append was ever acknowledged: the test proves nothing"
    );
    eprintln!(
        "{rounds} rounds: {acknowledged} acknowledged appends and {files} files are there, whole"
    );
}

/// A store lives through so many kills; then its log is so long that checking it takes longer than writing it.
const ROUNDS_PER_STORE: u64 = 25;

/// One store, and what must be in it.
struct World {
    _folder: tempfile::TempDir,
    pome: Pome,
    mountpoint: PathBuf,
    files: Files,
    acknowledged: u64,
    length: u64,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let pome = Pome::new(folder.path().join("store"));
        let mountpoint = folder.path().join("mnt");
        Self {
            _folder: folder,
            pome,
            mountpoint,
            files: Files::default(),
            acknowledged: 0,
            length: 0,
        }
    }

    /// Mounts, verifies all that was answered before, lets both writers work, and kills the owner.
    fn kill_one(&mut self, round: u64, after: Duration, script: u64) {
        let mount = self.pome.mount(&self.mountpoint, &["--write-through"]);
        verify_files(&self.mountpoint, &self.files);
        self.length = verify_log(&self.pome, self.acknowledged);
        let (pome, mountpoint, length) = (&self.pome, &*self.mountpoint, self.length);
        let (writer, appended) = std::thread::scope(|scope| {
            let (tell, begun) = channel();
            let (theirs, files) = (tell.clone(), &self.files);
            let writer = scope.spawn(move || write_files(mountpoint, files, script, theirs));
            let appender = scope.spawn(move || append_lines(pome, length, tell));
            // Whoever comes after the kill finds no owner, and works on his own.
            let _both = (begun.recv(), begun.recv());
            std::thread::sleep(after);
            let end = mount.kill_owner();
            assert_eq!(end["error"]["code"], "OWNER_GONE", "round {round}");
            (writer.join(), appender.join().expect("no panic"))
        });
        writer.expect("no panic");
        self.acknowledged = self.acknowledged.max(appended);
        let left = fs::read_dir(&self.mountpoint)
            .expect("no dead mount")
            .next();
        assert!(
            left.is_none(),
            "round {round}: the mountpoint is free again"
        );
        let check = self.pome.json(&["store", "check"]);
        assert_eq!(
            check.last().expect("a report")["findings"],
            0,
            "round {round}: {check:?}"
        );
    }

    fn verify_and_end(&self) {
        let mount: MountProcess = self.pome.mount(&self.mountpoint, &[]);
        verify_files(&self.mountpoint, &self.files);
        verify_log(&self.pome, self.acknowledged);
        mount.stop();
    }
}
