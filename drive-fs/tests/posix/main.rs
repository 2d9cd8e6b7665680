//! Every system call that a filesystem answers, in every situation that has an answer of its own: on the host's disk, which says what is true, and
//! on a mount. Where they differ the test fails, unless the case is on the list of exceptions, each with its reason.
//!
//! Needs root (other users are played) and `/dev/fuse`; says so and passes where that is missing. `POME_POSIX_TABLE=FILE` plays them on `bindfs` too,
//! where that is installed, and writes all answers there.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

mod attributes;
mod content;
mod exceptions;
mod folders;
mod links;
mod locks;
mod moves;
mod paths;
mod say;
mod users;

use pome_cores::{Corestore, Store};
use pome_drive_fs::{
    DriveOptions, Hyperdrive,
    fuse::{MountError, MountOptions, Mounted, mount},
};
use pome_test_support::skipped;
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    process::Command,
};

/// Where a case plays: a folder of its own, empty.
pub(crate) struct Place {
    dir: PathBuf,
    /// A folder on another filesystem.
    elsewhere: PathBuf,
}

impl Place {
    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

pub(crate) type Play = Box<dyn Fn(&Place) -> String>;

/// One system call in one situation.
pub(crate) struct Case {
    pub(crate) group: &'static str,
    pub(crate) name: String,
    /// What POSIX or Linux says; `None` where the disk's answer is taken for the truth.
    pub(crate) expect: Option<&'static str>,
    pub(crate) play: Play,
}

pub(crate) fn case(
    group: &'static str,
    name: &str,
    expect: &'static str,
    play: impl Fn(&Place) -> String + 'static,
) -> Case {
    Case {
        group,
        name: name.to_owned(),
        expect: Some(expect),
        play: Box::new(play),
    }
}

/// The answers of one filesystem, in the order of the cases.
fn play_all(cases: &[Case], root: &Path, elsewhere: &Path) -> Vec<String> {
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
    cases
        .iter()
        .enumerate()
        .map(|(number, case)| {
            let dir = root.join(format!("c{number}"));
            fs::create_dir(&dir).unwrap();
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
            let place = Place {
                dir,
                elsewhere: elsewhere.to_owned(),
            };
            // What a case needs beforehand may be refused too.
            let played = catch_unwind(AssertUnwindSafe(|| (case.play)(&place)));
            played.unwrap_or_else(|_| "does not come that far".to_owned())
        })
        .collect()
}

struct Served {
    runtime: tokio::runtime::Runtime,
    mounted: Mounted,
    _corestore: Corestore,
}

fn serve(dir: &Path, at: &Path) -> Result<Served, MountError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let store = Store::open(dir, pome_storage::Options::default()).unwrap();
    let corestore = Corestore::open(store).unwrap();
    let drive = runtime
        .block_on(Hyperdrive::open(corestore.clone(), DriveOptions::default()))
        .unwrap();
    let options = MountOptions {
        allow_other: true,
        ..MountOptions::default()
    };
    let mounted = runtime.block_on(mount(&corestore, &drive, at, options))?;
    Ok(Served {
        runtime,
        mounted,
        _corestore: corestore,
    })
}

/// The answers of `bindfs` over a folder of the disk; `None` where it is not installed.
fn bindfs(cases: &[Case], dir: &Path, elsewhere: &Path) -> Option<Vec<String>> {
    let (below, at) = (dir.join("below"), dir.join("bind"));
    fs::create_dir(&below).unwrap();
    fs::create_dir(&at).unwrap();
    let run = |program: &str, arguments: &[&std::ffi::OsStr]| {
        let done = Command::new(program).args(arguments).output();
        done.is_ok_and(|done| done.status.success())
    };
    if !run("bindfs", &[below.as_os_str(), at.as_os_str()]) {
        skipped("bindfs's column", "bindfs is not installed");
        return None;
    }
    let answers = play_all(cases, &at, elsewhere);
    assert!(run("umount", &["-l".as_ref(), at.as_os_str()]));
    Some(answers)
}

#[test]
fn every_system_call_answers_as_on_the_disk() {
    const TEST: &str = "every_system_call_answers_as_on_the_disk";
    if !rustix::process::geteuid().is_root() {
        return skipped(TEST, "it plays several users, so it needs root");
    }
    if fs::metadata("/dev/fuse").is_err() {
        return skipped(TEST, "no /dev/fuse here, so no mount was tested");
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let folder = |name: &str| {
        let path = dir.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    };
    let (store, at, disk) = (folder("store"), folder("mnt"), folder("disk"));
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let served = match serve(&store, &at) {
        Ok(served) => served,
        Err(error) => return skipped(TEST, error),
    };
    let mut cases = Vec::new();
    for more in [
        paths::cases(),
        moves::cases(),
        links::cases(),
        content::cases(),
        attributes::cases(),
        folders::cases(),
        users::cases(),
        locks::cases(),
    ] {
        cases.extend(more);
    }
    let on_disk = play_all(&cases, &disk, elsewhere.path());
    let on_mount = play_all(&cases, &at, elsewhere.path());
    let table_at = std::env::var_os("POME_POSIX_TABLE");
    let on_bindfs = match table_at {
        Some(_) => bindfs(&cases, dir.path(), elsewhere.path()),
        None => None,
    };
    served
        .runtime
        .block_on(served.mounted.unmount())
        .unwrap()
        .published
        .unwrap();
    // EXT4_SUPER_MAGIC: elsewhere the disk itself may differ from what is written here.
    let is_ext4 = rustix::fs::statfs(&disk).unwrap().f_type == 0xef53;
    let mut wrong = String::new();
    let mut table = String::from("| case | disk | bindfs | mount |\n| --- | --- | --- | --- |\n");
    let mut groups: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
    let mut used = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let (disk, mount) = (&on_disk[number], &on_mount[number]);
        let name = format!("{}: {}", case.group, case.name);
        let truth = case.expect.unwrap_or(disk);
        if is_ext4 && truth != disk {
            writeln!(wrong, "{name}: ext4 says {disk}, the case {truth}").unwrap();
        }
        let bound = on_bindfs.as_ref().map_or("–", |all| &all[number]);
        match exceptions::of(&name) {
            Some((at, _)) if mount != truth => used.push(at),
            Some(_) => {}
            None if mount != truth => {
                writeln!(wrong, "{name}: {truth} on the disk, {mount} on the mount").unwrap();
            }
            None => {}
        }
        let counts = groups.entry(case.group).or_default();
        counts[0] += 1;
        counts[1] += usize::from(disk == truth);
        counts[2] += usize::from(bound == truth);
        counts[3] += usize::from(mount == truth);
        writeln!(table, "| {name} | {disk} | {bound} | {mount} |").unwrap();
    }
    for at in exceptions::unused(&used) {
        writeln!(wrong, "the exception {at:?} is none any more").unwrap();
    }
    eprintln!("{} cases: group, cases, disk, bindfs, mount", cases.len());
    for (group, [all, disk, bound, mount]) in groups {
        eprintln!("| {group} | {all} | {disk} | {bound} | {mount} |");
    }
    if let Some(file) = table_at {
        fs::write(file, table).unwrap();
    }
    assert!(cases.len() >= 300);
    assert!(wrong.is_empty(), "\n{wrong}");
}
