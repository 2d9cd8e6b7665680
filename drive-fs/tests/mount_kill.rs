//! `kill -9` of the process that serves a mount: every answered write is there after the next mount, or every synced one where the kernel keeps writes.
//!
//! Needs `/dev/fuse` and the right to mount; says so and passes where that is missing. The server is this binary, started again with
//! `POME_MOUNT_SERVE=<folder>`; so it serves for hand-made tests too: `mnt` and `store` are folders in it.
//! `POME_KILL_ROUNDS` (default 6) says how often.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

use pome_cores::{Corestore, Store};
use pome_drive_fs::{
    DriveOptions, Hyperdrive,
    fuse::{MountOptions, clear_dead_mount, mount},
};
use pome_test_support::skipped;
use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

const SERVE: &str = "POME_MOUNT_SERVE";
/// The kernel may keep writes.
const WRITE_BACK: &str = "POME_MOUNT_WRITE_BACK";

/// Not a test: the server, when it is told to be one.
#[test]
fn serve() {
    let Some(dir) = std::env::var_os(SERVE).map(PathBuf::from) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = Store::open(dir.join("store"), pome_storage::Options::default()).unwrap();
        let corestore = Corestore::open(store).unwrap();
        let drive = Hyperdrive::open(corestore.clone(), DriveOptions::default())
            .await
            .unwrap();
        let options = MountOptions {
            write_back: std::env::var_os(WRITE_BACK).is_some(),
            ..MountOptions::default()
        };
        let mounted = mount(&corestore, &drive, &dir.join("mnt"), options)
            .await
            .unwrap();
        println!("mounted");
        let line = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).unwrap();
        });
        line.await.unwrap();
        mounted.unmount().await.unwrap().published.unwrap();
        corestore.close().await.unwrap();
    });
}

struct Server(Child);

impl Server {
    fn start(dir: &Path, write_back: bool) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["serve", "--exact", "--nocapture"])
            .env(SERVE, dir)
            .envs(write_back.then_some((WRITE_BACK, "1")))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("mounted") {
            line.clear();
            assert_ne!(out.read_line(&mut line).unwrap(), 0, "the server ended");
        }
        std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
        Self(child)
    }

    fn kill(mut self, dir: &Path) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
        clear_dead_mount(&dir.join("mnt")).unwrap();
    }

    fn stop(mut self) {
        writeln!(self.0.stdin.take().unwrap(), "stop").unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

/// What was answered: a name's content, or that it is gone.
type Answered = BTreeMap<String, Vec<u8>>;

/// Works until the mount dies under it. What it was told is done is in the answer; the last thing that it tried may be or may not be.
fn work(mnt: &Path, mut seed: u64, synced: bool, answered: &mut Answered) -> Option<String> {
    let mut random = move |n: u64| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % n
    };
    loop {
        let name = format!("d{}/f{}", random(3), random(12));
        let what = random(10);
        if one(mnt, &name, what, synced, &mut random, answered).is_err() {
            return Some(name);
        }
    }
}

fn one(
    mnt: &Path,
    name: &str,
    what: u64,
    synced: bool,
    random: &mut impl FnMut(u64) -> u64,
    answered: &mut Answered,
) -> std::io::Result<()> {
    let path = mnt.join(name);
    fs::create_dir_all(path.parent().unwrap())?;
    match what {
        0 => match fs::remove_file(&path) {
            Ok(()) => drop(answered.remove(name)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        },
        1 => {
            let bytes = vec![random(250) as u8 + 1; random(300_000) as usize];
            let mut file = fs::File::create(mnt.join("tmp"))?;
            file.write_all(&bytes)?;
            if synced {
                file.sync_all()?;
            }
            drop(file);
            fs::rename(mnt.join("tmp"), &path)?;
            answered.insert(name.to_owned(), bytes);
        }
        _ => {
            let file = fs::File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)?;
            let content = answered.entry(name.to_owned()).or_default();
            for _ in 0..random(4) {
                let (at, len) = (random(200_000) as usize, random(20_000) as usize + 1);
                let bytes = vec![random(250) as u8 + 1; len];
                file.write_all_at(&bytes, at as u64)?;
                content.resize(content.len().max(at + len), 0);
                content[at..at + len].copy_from_slice(&bytes);
            }
            if what == 2 {
                let size = random(150_000);
                file.set_len(size)?;
                content.resize(size as usize, 0);
            }
            if synced || what < 5 {
                file.sync_all()?;
            }
        }
    }
    Ok(())
}

fn check(mnt: &Path, answered: &mut Answered, unsure: Option<&str>) {
    for folder in 0..3 {
        for file in 0..12 {
            let name = format!("d{folder}/f{file}");
            let there = fs::read(mnt.join(&name)).ok();
            if unsure == Some(&*name) {
                match there {
                    Some(bytes) => drop(answered.insert(name, bytes)),
                    None => drop(answered.remove(&name)),
                }
                continue;
            }
            let wanted = answered.get(&name);
            let same = there.as_ref() == wanted;
            let len = |b: Option<&Vec<u8>>| b.map(Vec::len);
            let differs = there
                .iter()
                .flatten()
                .zip(wanted.into_iter().flatten())
                .position(|(a, b)| a != b);
            assert!(
                same,
                "{name}: {:?} bytes instead of {:?}, first difference at {differs:?}",
                len(there.as_ref()),
                len(wanted)
            );
        }
    }
}

#[test]
fn answered_writes_survive_kill_9() {
    survive("answered_writes_survive_kill_9", false);
}

#[test]
fn synced_writes_survive_kill_9_where_the_kernel_keeps_writes() {
    survive(
        "synced_writes_survive_kill_9_where_the_kernel_keeps_writes",
        true,
    );
}

fn survive(test: &str, write_back: bool) {
    if std::env::var_os(SERVE).is_some() {
        return;
    }
    let may_mount = rustix::process::geteuid().is_root() && fs::metadata("/dev/fuse").is_ok();
    if !may_mount {
        let why = "no /dev/fuse, or not root, so no mount was tested";
        skipped(test, why);
        return;
    }
    let rounds: u64 = std::env::var("POME_KILL_ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(6);
    let seed: u64 = std::env::var("POME_SEED")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1);
    eprintln!("POME_SEED={seed} POME_KILL_ROUNDS={rounds}");
    let dir = tempfile::tempdir().unwrap();
    let mnt = dir.path().join("mnt");
    fs::create_dir(&mnt).unwrap();
    let mut answered = Answered::new();
    let mut unsure = None;
    for round in 0..rounds {
        let server = Server::start(dir.path(), write_back);
        check(&mnt, &mut answered, unsure.as_deref());
        let pid = server.0.id();
        let pause = Duration::from_millis(
            50 + (seed.wrapping_mul(2_654_435_761).wrapping_add(round * 977)) % 900,
        );
        let killer = std::thread::spawn(move || {
            std::thread::sleep(pause);
            let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        });
        unsure = work(
            &mnt,
            seed.wrapping_add(round * 7919),
            write_back,
            &mut answered,
        );
        killer.join().unwrap();
        server.kill(dir.path());
    }
    let server = Server::start(dir.path(), write_back);
    check(&mnt, &mut answered, unsure.as_deref());
    server.stop();
    let server = Server::start(dir.path(), write_back);
    check(&mnt, &mut answered, None);
    server.stop();
}
