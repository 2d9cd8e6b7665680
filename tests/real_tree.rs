//! A whole tree of files goes into a drive, is seen through a mount, comes out again, and is the same each time: content, links, modes and times.
//!
//! Needs /dev/fuse. `POME_SEED` sets the seed of the tree. `POME_BIG=1` makes the large file 1 GiB instead of 256 MiB, and takes /usr/share/doc along.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod process;

use process::{Pome, fuse_works};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::BTreeMap,
    fs::{self, File, Permissions},
    io::Write,
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

/// What an owner may hold in anonymous memory while a large file passes through, in KiB.
const RSS_KIB_MAX: u64 = 256 << 10;
const FILES: usize = 5_000;

fn big() -> bool {
    std::env::var_os("POME_BIG").is_some_and(|value| value == "1")
}

/// Fills `root` from the seed.
fn make_tree(root: &Path, rng: &mut ChaCha8Rng) {
    let long = "n".repeat(255);
    let long_accents = format!("{}x", "é".repeat(127));
    let names = [
        "a",
        "b.txt",
        "with space",
        " space around ",
        "new\nline",
        "tab\there",
        "-rf",
        "--",
        "*",
        "?",
        "%00",
        "'",
        "\"",
        "$HOME",
        "c:",
        "file:",
        ".hidden",
        "...",
        "日本語",
        "e\u{301}",
        "é",
        "\u{1f34e}",
        "A",
        "ä",
        "\u{1}",
        "~",
        "#",
        "a:b",
        "@",
        "con",
        "\u{202e}rtl",
    ];
    let mut folders: Vec<PathBuf> = vec![root.to_owned()];
    // Deep, and as wide as a name can be.
    let mut deep = root.to_owned();
    for n in 0..60 {
        deep.push(format!("deep {n}"));
        folders.push(deep.clone());
    }
    let wide = root.join(&long).join(&long_accents).join(&long);
    folders.push(wide);
    for _ in 0..300 {
        let parent = folders[rng.random_range(0..folders.len())].clone();
        let name = names[rng.random_range(0..names.len())];
        let folder = parent.join(format!("{name} {}", rng.random_range(0..50)));
        if folder.as_os_str().len() < 3000 {
            folders.push(folder);
        }
    }
    for folder in &folders {
        fs::create_dir_all(folder).unwrap();
    }
    // Each of the odd names stands alone too, in one folder: NFC beside NFD, upper beside lower case.
    let odd = root.join("odd");
    fs::create_dir(&odd).unwrap();
    for name in names.iter().copied().chain([&long[..], &long_accents]) {
        fs::write(odd.join(name), name).unwrap();
    }
    for n in 0..FILES {
        let folder = &folders[rng.random_range(0..folders.len())];
        let path = folder.join(format!("{}_{n}", names[rng.random_range(0..names.len())]));
        if rng.random_ratio(1, 12) {
            let target = match rng.random_range(0..4) {
                0 => PathBuf::from("/etc/passwd"),
                1 => PathBuf::from("nowhere/at all\n"),
                2 => PathBuf::from("../"),
                _ => folders[rng.random_range(0..folders.len())].clone(),
            };
            symlink(target, &path).unwrap();
            continue;
        }
        let len = match rng.random_range(0..40) {
            0 => 0,
            1 => rng.random_range(60_000..140_000),
            2 => 65_536,
            _ => rng.random_range(0..2_000),
        };
        let mut content = vec![0; len];
        rng.fill_bytes(&mut content);
        let mut file = File::create(&path).unwrap();
        file.write_all(&content).unwrap();
        if rng.random_ratio(1, 5) {
            let mode = [0o755, 0o600, 0o777, 0o444, 0o711, 0o2755][rng.random_range(0..6)];
            file.set_permissions(Permissions::from_mode(mode)).unwrap();
        }
        if rng.random_bool(0.5) {
            let time = SystemTime::UNIX_EPOCH
                + Duration::from_nanos(rng.random_range(0..2_000_000_000_000_000_000));
            file.set_modified(time).unwrap();
        }
    }
    for n in 0..40 {
        let folder = &folders[rng.random_range(0..folders.len())];
        fs::create_dir_all(folder.join(format!("empty {n}"))).unwrap();
    }
    for folder in folders.iter().step_by(17) {
        fs::set_permissions(folder, Permissions::from_mode(0o700)).unwrap();
    }
}

/// A file of `len` bytes that do not repeat.
fn make_large(path: &Path, len: u64, rng: &mut ChaCha8Rng) {
    let mut file = File::create(path).unwrap();
    let mut part = vec![0; 1 << 20];
    for _ in 0..len >> 20 {
        rng.fill_bytes(&mut part);
        file.write_all(&part).unwrap();
    }
}

/// All that `diff` does not look at, by path: kind, the bits of the mode that are asked for, target, length, time.
fn attributes(root: &Path, mode_bits: u32) -> BTreeMap<Vec<u8>, String> {
    let mut out = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let mode = meta.mode() & mode_bits;
            let text = if meta.is_dir() {
                open.push(path.clone());
                format!("folder {mode:o}")
            } else if meta.is_symlink() {
                format!("link to {:?}", fs::read_link(&path).unwrap())
            } else {
                format!(
                    "file {mode:o} of {} bytes at {}.{:09}",
                    meta.len(),
                    meta.mtime(),
                    meta.mtime_nsec()
                )
            };
            out.insert(
                path.strip_prefix(root)
                    .unwrap()
                    .as_os_str()
                    .as_bytes()
                    .to_vec(),
                text,
            );
        }
    }
    out
}

fn must_be_the_same(what: &str, a: &Path, b: &Path, mode_bits: u32) {
    let diff = Command::new("diff")
        .args(["-r", "--no-dereference"])
        .args([a, b])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&diff.stdout);
    let text: String = text.chars().take(3000).collect();
    assert!(
        diff.status.success(),
        "{what}: {text}\n{}",
        String::from_utf8_lossy(&diff.stderr)
    );
    let (left, right) = (attributes(a, mode_bits), attributes(b, mode_bits));
    for (path, left) in &left {
        let path_text = String::from_utf8_lossy(path);
        assert_eq!(Some(left), right.get(path), "{what}: {path_text:?}");
    }
    assert_eq!(left.len(), right.len(), "{what}");
}

/// Watches the anonymous memory of a process.
struct Memory {
    most: Arc<AtomicU64>,
    end: Arc<AtomicBool>,
    watcher: JoinHandle<()>,
}

impl Memory {
    fn of(pid: u32) -> Self {
        let (most, end) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (tell, until) = (most.clone(), end.clone());
        let watcher = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
                let line = status
                    .lines()
                    .find_map(|line| line.strip_prefix("RssAnon:"));
                let kib =
                    line.and_then(|text| text.trim().trim_end_matches("kB").trim().parse().ok());
                tell.fetch_max(kib.unwrap_or(0), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Self { most, end, watcher }
    }

    fn must_be_bounded(self, what: &str) {
        self.end.store(true, Ordering::Relaxed);
        self.watcher.join().unwrap();
        let kib = self.most.load(Ordering::Relaxed);
        eprintln!("{what}: at most {} MiB of anonymous memory", kib >> 10);
        assert!(kib > 0, "{what}: never seen");
        assert!(kib <= RSS_KIB_MAX, "{what}: {kib} KiB of anonymous memory");
    }
}

/// Runs a short command that owns the store itself; its memory is bounded.
fn run_bounded(pome: &Pome, args: &[&str]) {
    let command = pome.command(args).stdout(Stdio::null()).spawn();
    let mut child = command.unwrap();
    let memory = Memory::of(child.id());
    assert!(child.wait().unwrap().success(), "pome {args:?}");
    memory.must_be_bounded(&format!("pome {args:?}"));
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").args([from, to]).status().unwrap();
    assert!(status.success(), "cp {from:?} {to:?}");
}

fn must_be_equal(a: &Path, b: &Path) {
    let status = Command::new("cmp").args([a, b]).status().unwrap();
    assert!(status.success(), "{a:?} and {b:?} differ");
}

#[test]
fn a_tree_goes_in_and_comes_out_the_same() {
    if !fuse_works("a_tree_goes_in_and_comes_out_the_same") {
        return;
    }
    let seed = std::env::var("POME_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1);
    eprintln!("POME_SEED={seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    fs::create_dir(&source).unwrap();
    make_tree(&source, &mut rng);
    if big() {
        let doc = source.join("doc");
        let status = Command::new("cp")
            .args(["-a", "/usr/share/doc"])
            .arg(&doc)
            .status()
            .unwrap();
        assert!(status.success());
    }
    let pome = Pome::new(folder.path().join("store"));
    pome.ok(&["drive", "create", "home"]);
    run_bounded(&pome, &["drive", "import", source.to_str().unwrap()]);

    let at = folder.path().join("mnt");
    for what in ["mounted", "mounted again"] {
        let mount = pome.mount(&at, &["--offline"]);
        must_be_the_same(what, &source, &at, 0o7777);
        mount.stop();
    }
    let out = folder.path().join("out");
    run_bounded(&pome, &["drive", "export", out.to_str().unwrap()]);
    // An export never makes a set-uid or set-gid file.
    must_be_the_same("exported", &source, &out, 0o1777);
    assert_eq!(pome.json(&["store", "check"]).last().unwrap()["ok"], true);
}

#[test]
fn a_large_file_passes_through_little_memory() {
    if !fuse_works("a_large_file_passes_through_little_memory") {
        return;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let folder = tempfile::tempdir().unwrap();
    let [source, out, at] = ["source", "out", "mnt"].map(|name| folder.path().join(name));
    fs::create_dir(&source).unwrap();
    let large = source.join("large");
    make_large(&large, if big() { 1 << 30 } else { 256 << 20 }, &mut rng);
    let pome = Pome::new(folder.path().join("store"));
    pome.ok(&["drive", "create", "home"]);
    run_bounded(&pome, &["drive", "import", source.to_str().unwrap()]);
    run_bounded(&pome, &["drive", "export", out.to_str().unwrap()]);
    must_be_equal(&large, &out.join("large"));

    let mount = pome.mount(&at, &["--offline"]);
    let memory = Memory::of(mount.owner as u32);
    copy(&at.join("large"), &out.join("from the mount"));
    copy(&large, &at.join("into the mount"));
    memory.must_be_bounded("the owner of a mount");
    must_be_equal(&large, &out.join("from the mount"));
    must_be_equal(&large, &at.join("into the mount"));
    mount.stop();

    let mount = pome.mount(&at, &["--offline"]);
    must_be_equal(&large, &at.join("large"));
    must_be_equal(&large, &at.join("into the mount"));
    mount.stop();
}
