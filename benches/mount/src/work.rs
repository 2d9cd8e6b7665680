//! What is done in each place.

use crate::{Result, places::Place};
use pome_bench_support::{Spread, touch_memory};
use rand::{SeedableRng, rngs::SmallRng, seq::SliceRandom};
use rustix::fs::Advice;
use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

/// What is measured, in this order, and whether more is better.
pub(crate) const WORK: &[(&str, bool)] = &[
    ("write + fsync, MiB/s", true),
    ("read cold, MiB/s", true),
    ("read warm, MiB/s", true),
    ("4 KiB reads, 1 thread, /s", true),
    ("4 KiB reads, 4 threads, /s", true),
    ("create, files/s", true),
    ("untar, s", false),
    ("find, s", false),
    ("grep -r, s", false),
    ("cp -r, s", false),
    ("rm -r, s", false),
    ("sqlite, one transaction, s", false),
    ("sqlite, WAL, s", false),
    ("cargo build, s", false),
    ("settled in all, s", false),
    ("memory at most, MiB", false),
];

/// How many of them are not of all parts together.
const OF_PARTS: usize = WORK.len() - 2;

/// What of it can be asked for alone.
pub(crate) const PARTS: &[&str] = &["large", "create", "tree", "sqlite", "build", ELSEWHERE];
/// The part that is done in no place.
pub(crate) const ELSEWHERE: &str = "remote";

const PAGE: usize = 4096;
const FOLDERS: usize = 300;
const FILES: usize = 20;
const ROWS: usize = 10_000;

/// How often what is over in a few hundredths of a second is done, of which the middle one counts.
pub(crate) const TIMES: usize = 5;
/// How often the one transaction, over in a few thousandths.
pub(crate) const TRANSACTIONS: usize = 15;

/// Memory that is used before each part besides that of the large file, which takes three times that.
const TOUCHED_MIB: usize = 1024;

/// How much of it.
pub(crate) struct Amount {
    /// Of the large file.
    pub(crate) mib: usize,
    /// Files that are made.
    pub(crate) files: usize,
    /// Pages that are read.
    pub(crate) reads: usize,
    /// Only these parts; all where none is named.
    pub(crate) parts: Vec<String>,
}

impl Amount {
    pub(crate) fn has(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }
}

/// A tree of files as an archive, and a crate, both made once.
pub(crate) struct Given {
    tar: PathBuf,
    program: PathBuf,
}

impl Given {
    /// Makes them in an empty folder.
    pub(crate) fn make(room: &Path) -> Result<Self> {
        let tree = room.join("tree");
        for folder in 0..FOLDERS {
            let folder = tree.join(format!("part-{}/folder-{folder}", folder % 10));
            fs::create_dir_all(&folder)?;
            for file in 0..FILES {
                // Mostly small, up to 32 KiB.
                let lines = 4 << (file * 7 % 9);
                let text: String = (0..lines)
                    .map(|line| format!("{file} says {line}, and no more\n"))
                    .collect();
                fs::write(folder.join(format!("file-{file}.txt")), text)?;
            }
        }
        let tar = room.join("tree.tar");
        run(Command::new("tar")
            .arg("-cf")
            .arg(&tar)
            .arg("-C")
            .arg(room)
            .arg("tree"))?;
        fs::remove_dir_all(tree)?;
        let program = room.join("program");
        fs::create_dir_all(program.join("src"))?;
        let manifest = "[package]\nname = \"measured\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n";
        fs::write(program.join("Cargo.toml"), manifest)?;
        let mut main = String::new();
        for module in 0..12 {
            main.push_str(&format!("mod m{module};\n"));
            let functions: String = (0..60)
                .map(|n| format!("pub fn f{n}(x: &str) -> String {{ format!(\"{{x}} {n} {{}}\", x.len() * {n}) }}\n"))
                .collect();
            fs::write(program.join(format!("src/m{module}.rs")), functions)?;
        }
        main.push_str("fn main() {\n");
        for module in 0..12 {
            for n in 0..60 {
                main.push_str(&format!(
                    "    println!(\"{{}}\", m{module}::f{n}(\"x\"));\n"
                ));
            }
        }
        main.push_str("}\n");
        fs::write(program.join("src/main.rs"), main)?;
        Ok(Self { tar, program })
    }
}

/// The number of a work, or why a peer could not do it.
pub(crate) type Outcome = std::result::Result<f64, String>;

/// Does all of it in places of this name in `dir`, each part in one of its own, where nothing goes on that another part began. Answers what came of it in the
/// order of [`WORK`]; `None` where there is none to tell.
pub(crate) fn all(
    name: &str,
    dir: &Path,
    given: &Given,
    amount: &Amount,
) -> Result<Vec<Option<Outcome>>> {
    let mut all = vec![None; OF_PARTS];
    let (mut settled, mut memory) = (0.0, None);
    let in_place = PARTS.iter().filter(|part| **part != ELSEWHERE);
    for part in in_place.filter(|part| amount.has(part)) {
        let room = tempfile::tempdir_in(dir)?;
        let mut place = Place::open(name, room.path())?;
        let done = one(&mut place, given, amount, part)?;
        place.close()?;
        for (of_all, outcome) in all.iter_mut().zip(done.outcomes) {
            *of_all = of_all.take().or(outcome);
        }
        settled += done.settled;
        memory = memory.max(done.memory);
    }
    all.push(Some(Ok(settled)));
    all.push(memory.map(|kib| Ok(kib as f64 / 1024.0)));
    Ok(all)
}

/// What came of one part.
struct Done {
    /// In the order of [`WORK`].
    outcomes: Vec<Option<Outcome>>,
    /// Seconds.
    settled: f64,
    /// KiB.
    memory: Option<u64>,
}

/// Does one part, in a place that is empty.
fn one(place: &mut Place, given: &Given, amount: &Amount, part: &str) -> Result<Done> {
    let (mut settled, mut memory) = (0.0, None);
    let mut settle = |place: &mut Place| -> Result<()> {
        memory = memory.max(place.memory());
        settled += timed(|| place.settle())?;
        memory = memory.max(place.memory());
        Ok(())
    };
    let mut numbers = Numbers::default();
    let at = place.at.clone();
    if part == "large" {
        let mib = amount.mib as f64;
        let large = at.join("large");
        touch_memory(3 * amount.mib);
        numbers.put(mib / timed(|| write(&large, amount.mib))?);
        settle(place)?;
        place.forget()?;
        touch_memory(3 * amount.mib);
        numbers.put(mib / timed(|| read(&large))?);
        numbers.put(mib / middle(TIMES, |_| timed(|| read(&large)))?);
        for threads in [1, 4] {
            place.forget()?;
            let reads = amount.reads * threads;
            numbers.put(reads as f64 / timed(|| read_pages(&large, reads, threads))?);
        }
        fs::remove_file(&large)?;
        settle(place)?;
    }
    numbers.up_to("create, files/s");
    if part == "create" {
        touch_memory(TOUCHED_MIB);
        numbers.put(amount.files as f64 / timed(|| create(&at.join("many"), amount.files))?);
        settle(place)?;
    }
    numbers.up_to("untar, s");
    if part == "tree" {
        touch_memory(TOUCHED_MIB);
        let tree = at.join("tree");
        let mut tar = Command::new("tar");
        tar.arg("-xf").arg(&given.tar).arg("-C").arg(&at);
        numbers.put(timed(|| run(&mut tar))?);
        settle(place)?;
        let mut find = Command::new("find");
        find.arg(&tree).args(["-type", "f", "-size", "+8k"]);
        numbers.put(middle(TIMES, |_| {
            forget_names()?;
            timed(|| run(&mut find))
        })?);
        place.forget()?;
        let mut grep = Command::new("grep");
        grep.args(["-rl", "5 says 900,"]).arg(&tree);
        numbers.put(timed(|| run(&mut grep))?);
        let copy = at.join("copy");
        numbers.put(timed(|| {
            run(Command::new("cp").arg("-r").arg(&tree).arg(&copy))
        })?);
        settle(place)?;
        numbers.put(timed(|| run(Command::new("rm").arg("-r").arg(&copy)))?);
        settle(place)?;
    }
    numbers.up_to("sqlite, one transaction, s");
    if part == "sqlite" {
        touch_memory(TOUCHED_MIB);
        let transaction = |time| sqlite(&at.join(format!("one-{time}.db")), "DELETE", "FULL", ROWS);
        numbers.put_or_why(place, middle(TRANSACTIONS, transaction))?;
        let wal = sqlite(&at.join("wal.db"), "WAL", "NORMAL", 1);
        numbers.put_or_why(place, wal)?;
    }
    numbers.up_to("cargo build, s");
    if part == "build" {
        touch_memory(TOUCHED_MIB);
        run(Command::new("cp")
            .arg("-r")
            .arg(&given.program)
            .arg(at.join("program")))?;
        let mut cargo = Command::new("cargo");
        cargo
            .args(["build", "--offline", "--quiet"])
            .current_dir(at.join("program"))
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("RUSTFLAGS");
        numbers.put(timed(|| run(&mut cargo))?);
        settle(place)?;
    }
    Ok(Done {
        outcomes: numbers.0,
        settled,
        memory,
    })
}

/// What came of each, in the order of [`WORK`].
#[derive(Default)]
struct Numbers(Vec<Option<Outcome>>);

impl Numbers {
    fn put(&mut self, number: f64) {
        self.0.push(Some(Ok(number)));
    }

    /// The same, where a peer may fail: rclone's cache lost a journal of sqlite in one round, whose database was malformed then.
    fn put_or_why(&mut self, place: &Place, number: Result<f64>) -> Result<()> {
        let outcome = match number {
            Err(error) if place.is_peer() => Err(error.to_string()),
            ours => Ok(ours?),
        };
        self.0.push(Some(outcome));
        Ok(())
    }

    /// What comes before this was not done.
    fn up_to(&mut self, work: &str) {
        let at = WORK.iter().position(|(name, _)| *name == work);
        self.0.resize(at.unwrap_or(self.0.len()), None);
    }
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed().as_secs_f64())
}

/// The middle one of several times that the same takes.
fn middle(times: usize, mut work: impl FnMut(usize) -> Result<f64>) -> Result<f64> {
    let times: Vec<f64> = (0..times).map(&mut work).collect::<Result<_>>()?;
    Ok(Spread::of(&times).middle)
}

/// Runs a command to its end; what it prints goes through a pipe, since `grep` does less where nobody listens.
fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{command:?}: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )
        .into()),
    }
}

/// The kernel forgets the names and inodes that nobody uses.
fn forget_names() -> Result<()> {
    fs::write("/proc/sys/vm/drop_caches", "2")
        .map_err(|error| format!("cold listings need root: {error}").into())
}

fn write(path: &Path, mib: usize) -> Result<()> {
    let mut file = File::create(path)?;
    let mut piece: Vec<u8> = (0..1 << 20)
        .map(|i: u32| (i * 7 + (i >> 8)) as u8)
        .collect();
    for n in 0..mib {
        piece[..8].copy_from_slice(&n.to_le_bytes());
        file.write_all(&piece)?;
    }
    Ok(file.sync_all()?)
}

fn read(path: &Path) -> Result<()> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    while file.read(&mut buffer)? > 0 {}
    Ok(())
}

/// Each page once, in no order.
fn read_pages(path: &Path, count: usize, threads: usize) -> Result<()> {
    let pages = fs::metadata(path)?.len() / PAGE as u64;
    let mut all: Vec<u64> = (0..pages).collect();
    all.shuffle(&mut SmallRng::seed_from_u64(7));
    all.truncate(count);
    std::thread::scope(|scope| {
        let parts = all.chunks(all.len().div_ceil(threads).max(1));
        let readers: Vec<_> = parts
            .map(|part| {
                scope.spawn(move || -> std::io::Result<()> {
                    let file = File::open(path)?;
                    rustix::fs::fadvise(&file, 0, None, Advice::Random)?;
                    let mut buffer = [0; PAGE];
                    for page in part {
                        file.read_exact_at(&mut buffer, page * PAGE as u64)?;
                    }
                    Ok(())
                })
            })
            .collect();
        for reader in readers {
            reader.join().map_err(|_| "a reader panicked")??;
        }
        Ok(())
    })
}

/// Files of 100 B, a thousand to a folder.
fn create(folder: &Path, count: usize) -> Result<()> {
    let content = [b'x'; 100];
    for n in 0..count {
        let folder = folder.join((n / 1000).to_string());
        if n % 1000 == 0 {
            fs::create_dir_all(&folder)?;
        }
        File::create_new(folder.join(format!("file-{n}")))?.write_all(&content)?;
    }
    Ok(())
}

/// Seconds for ten thousand rows, `each` of them in a transaction.
fn sqlite(path: &Path, journal: &str, synchronous: &str, each: usize) -> Result<f64> {
    let mut database = rusqlite::Connection::open(path)?;
    database.pragma_update(None, "journal_mode", journal)?;
    database.pragma_update(None, "synchronous", synchronous)?;
    database.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, text TEXT)", ())?;
    let text = "x".repeat(100);
    let seconds = timed(|| {
        for first in (0..ROWS).step_by(each) {
            let transaction = database.transaction()?;
            {
                let mut insert = transaction.prepare_cached("INSERT INTO rows VALUES (?, ?)")?;
                for id in first..first + each {
                    insert.execute((id, &text))?;
                }
            }
            transaction.commit()?;
        }
        Ok(())
    })?;
    database.close().map_err(|(_, error)| error)?;
    Ok(seconds)
}
