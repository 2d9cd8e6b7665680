//! Real mounts, used by real tools.
//!
//! Needs `/dev/fuse` and the right to mount (root, or fusermount3); says so and passes where that is missing. Each test has a store,
//! a drive and a mountpoint of its own, served by this process; the tools are child processes.
//! `POME_MOUNT_GIB=1` has the large-file test copy that many GiB instead of 64 MiB.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

use pome_cores::{Corestore, Store};
use pome_drive_fs::{
    DriveOptions, Hyperdrive,
    fuse::{MountError, MountOptions, Mounted, UnmountHow, mount},
};
use pome_test_support::{PATIENCE, skipped};
use std::{
    fs,
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::RwLock,
    time::Duration,
};

/// Held by whoever starts a child: until that runs its program, it has the open files of every other test, and their mounts are busy.
static STARTING: RwLock<()> = RwLock::new(());

fn output(command: &mut Command) -> std::io::Result<Output> {
    let starting = STARTING.read().unwrap();
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    drop(starting);
    child?.wait_with_output()
}

struct Room {
    dir: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
    corestore: Option<Corestore>,
    drive: Option<Hyperdrive>,
    mounted: Option<Mounted>,
}

impl Room {
    /// `None` where nothing can be mounted.
    fn new(test: &str) -> Option<Self> {
        if fs::metadata("/dev/fuse").is_err() {
            skipped(test, "no /dev/fuse here, so no mount was tested");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("mnt")).unwrap();
        fs::create_dir(dir.path().join("store")).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let mut room = Self {
            dir,
            runtime,
            corestore: None,
            drive: None,
            mounted: None,
        };
        room.open();
        match room.try_mount(MountOptions::default()) {
            Ok(()) => Some(room),
            Err(error @ (MountError::NoFuse { .. } | MountError::Kernel { .. })) => {
                skipped(test, error);
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn open(&mut self) {
        let store = Store::open(
            self.dir.path().join("store"),
            pome_storage::Options::default(),
        )
        .unwrap();
        let corestore = Corestore::open(store).unwrap();
        let drive = self
            .runtime
            .block_on(Hyperdrive::open(corestore.clone(), DriveOptions::default()))
            .unwrap();
        (self.corestore, self.drive) = (Some(corestore), Some(drive));
    }

    fn try_mount(&mut self, options: MountOptions) -> Result<(), MountError> {
        let (corestore, drive) = (
            self.corestore.as_ref().unwrap(),
            self.drive.as_ref().unwrap(),
        );
        let at = self.dir.path().join("mnt");
        self.mounted = Some(
            self.runtime
                .block_on(mount(corestore, drive, &at, options))?,
        );
        Ok(())
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join("mnt").join(path)
    }

    fn beside(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn drive(&self) -> &Hyperdrive {
        self.drive.as_ref().unwrap()
    }

    fn unmount(&mut self) {
        let mounted = self.mounted.take().unwrap();
        let _alone = STARTING.write().unwrap();
        let unmounted = self.runtime.block_on(mounted.unmount()).unwrap();
        assert_eq!(unmounted.how, UnmountHow::Normal, "{:?}", unmounted.why);
        unmounted.published.unwrap();
        assert_eq!(mounted.pending(), pome_drive_fs::vfs::Pending::default());
    }

    /// Mounted anew, it makes no version by itself.
    fn publishes_when_told(&mut self) {
        self.unmount();
        let mut options = MountOptions::default();
        (options.vfs.quiet, options.vfs.at_most) = (PATIENCE, PATIENCE);
        self.try_mount(options).unwrap();
    }

    /// Unmounts, closes the store, opens and mounts again: nothing stays in memory.
    fn again(&mut self) {
        self.unmount();
        self.drive = None;
        let corestore = self.corestore.take().unwrap();
        self.runtime.block_on(corestore.close()).unwrap();
        drop(corestore);
        self.open();
        self.try_mount(MountOptions::default()).unwrap();
    }

    fn sh(&self, script: &str) -> String {
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", script])
            .current_dir(self.dir.path())
            .env("HOME", self.dir.path())
            .env("GIT_CONFIG_NOSYSTEM", "1");
        let output = output(&mut bash).unwrap();
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "{script}\n{out}{err}");
        out.into_owned()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let Some(mounted) = self.mounted.take() {
            let _ = self.runtime.block_on(mounted.unmount());
        }
    }
}

fn has(tool: &str) -> bool {
    let there = output(Command::new("which").arg(tool)).is_ok_and(|o| o.status.success());
    if !there {
        skipped("a part", format_args!("{tool} is not installed"));
    }
    there
}

/// A tree with what trips filesystems: odd names, links, empty things, modes, times.
fn odd_tree(at: &Path) {
    fs::create_dir_all(at.join("deep/er/est")).unwrap();
    fs::create_dir(at.join("empty")).unwrap();
    fs::write(at.join("nothing"), "").unwrap();
    for name in [
        "é",
        "e\u{301}",
        "a b",
        " ",
        "a.b",
        "a-b",
        "ab",
        "C:",
        "日本語",
        "new\nline",
        "~",
        "#",
        "%41",
        &"x".repeat(255),
    ] {
        fs::write(at.join(name), name).unwrap();
        fs::create_dir(at.join("deep").join(name)).unwrap();
        fs::write(at.join("deep").join(name).join("f"), name).unwrap();
    }
    symlink("../nothing", at.join("deep/link")).unwrap();
    symlink("/does/not/exist", at.join("dangling")).unwrap();
    symlink("a\\b", at.join("backslash target")).unwrap();
    for (name, mode) in [
        ("run", 0o755),
        ("secret", 0o600),
        ("sticky", 0o1644),
        ("none", 0o000),
    ] {
        fs::write(at.join(name), name).unwrap();
        fs::set_permissions(at.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let large: Vec<u8> = (0..3_000_000u32)
        .flat_map(|n| (n / 7).to_le_bytes())
        .take(3_000_001)
        .collect();
    fs::write(at.join("large"), large).unwrap();
    fs::set_permissions(at.join("deep/er"), fs::Permissions::from_mode(0o750)).unwrap();
    for name in ["large", "deep/er"] {
        let file = fs::File::open(at.join(name)).unwrap();
        let time = std::time::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
        file.set_modified(time).unwrap();
    }
}

const LIST: &str =
    r"find . -printf '%P %y %m %s %T@ %l\n' | sed 's/^\(.* d [0-9]*\) [0-9]*/\1/' | sort";

#[test]
fn what_is_here_is_told_in_attributes() {
    let Some(mut room) = Room::new("what_is_here_is_told_in_attributes") else {
        return;
    };
    use rustix::{
        fs::{XattrFlags, getxattr, listxattr, removexattr, setxattr},
        io::Errno,
    };
    fs::create_dir(room.at("folder")).unwrap();
    fs::write(room.at("folder/a"), vec![1; 100_000]).unwrap();
    fs::write(room.at("folder/b"), b"12345").unwrap();
    fs::copy(room.at("folder/a"), room.at("folder/c")).unwrap();
    symlink("a", room.at("folder/link")).unwrap();
    room.again();
    let told = |path: &str, name: &str| -> Result<String, Errno> {
        let mut value = [0; 32];
        let len = getxattr(room.at(path), name, &mut value)?;
        Ok(String::from_utf8(value[..len].to_vec()).unwrap())
    };
    for (path, size) in [("folder/a", "100000"), ("folder/b", "5")] {
        assert_eq!(told(path, "user.pome.local").as_deref(), Ok(size));
        assert_eq!(told(path, "user.pome.total").as_deref(), Ok(size));
        assert_eq!(told(path, "user.pome.pinned").as_deref(), Ok("0"));
        assert_eq!(told(path, "user.pome.peers").as_deref(), Ok("0"));
    }
    let folder: u64 = told("folder", "user.pome.total").unwrap().parse().unwrap();
    // The copy may be the same content.
    assert!(matches!(folder, 100_005 | 200_005), "{folder}");
    assert_eq!(told("folder", "user.pome.local"), Ok(folder.to_string()));
    assert_eq!(told("", "user.pome.total"), Ok(folder.to_string()));
    // What is not published counts as here in its file.
    let mut open = fs::File::options();
    let mut open = open.append(true).open(room.at("folder/b")).unwrap();
    open.write_all(b"678").unwrap();
    open.sync_all().unwrap();
    assert_eq!(told("folder/b", "user.pome.local").as_deref(), Ok("8"));
    assert_eq!(told("folder/b", "user.pome.total").as_deref(), Ok("8"));
    // They are made: nobody sets them, nothing copies them.
    let at = room.at("folder/a");
    let none = XattrFlags::empty();
    assert_eq!(
        setxattr(&at, "user.pome.local", b"1", none),
        Err(Errno::PERM)
    );
    assert_eq!(removexattr(&at, "user.pome.peers"), Err(Errno::PERM));
    assert_eq!(listxattr(&at, &mut [0u8; 99]), Ok(0));
    setxattr(&at, "user.pome.other", b"1", none).unwrap();
    assert_eq!(told("folder/a", "user.pome.other").as_deref(), Ok("1"));
    assert_eq!(told("folder/a", "user.pome.nothing"), Err(Errno::NODATA));
    assert_eq!(told(".pome/key", "user.pome.local"), Err(Errno::NODATA));
}

#[test]
fn a_copied_tree_is_the_same_and_stays_so() {
    let Some(mut room) = Room::new("a_copied_tree") else {
        return;
    };
    odd_tree(&room.beside("tree"));
    room.sh("cp -a tree mnt/ && diff -r --no-dereference tree mnt/tree");
    assert_eq!(
        room.sh(&format!("cd tree && {LIST}")),
        room.sh(&format!("cd mnt/tree && {LIST}"))
    );
    room.again();
    room.sh("diff -r --no-dereference tree mnt/tree");
    assert_eq!(
        room.sh(&format!("cd tree && {LIST}")),
        room.sh(&format!("cd mnt/tree && {LIST}"))
    );
    room.sh("cp -a mnt/tree back && diff -r --no-dereference tree back && rm -r mnt/tree && test -z \"$(ls -A mnt)\"");
    room.again();
    room.sh("test -z \"$(ls -A mnt)\"");
}

#[test]
fn tar_git_and_sqlite_work() {
    let Some(mut room) = Room::new("tar_git_and_sqlite") else {
        return;
    };
    odd_tree(&room.beside("tree"));
    room.sh(
        "tar cf tree.tar tree && tar xf tree.tar -C mnt && diff -r --no-dereference tree mnt/tree",
    );
    if has("git") {
        room.sh(
            "git init -q -b main src && cd src && git config user.email a@b && git config user.name n
             for i in $(seq 1 300); do mkdir -p d$((i % 17)); echo $i > d$((i % 17))/f$i; done
             git add . && git commit -qm one && echo two > d1/new && git add . && git commit -qm two",
        );
        room.sh("git clone -q file://$PWD/src mnt/repo && cd mnt/repo && git fsck --full --strict && test -z \"$(git status --porcelain)\"");
        room.sh("cd mnt/repo && git config user.email a@b && git config user.name n && git mv d1 moved && git commit -qam three && git gc -q && git fsck --full");
    }
    if has("sqlite3") {
        room.sh(
            "cd mnt && sqlite3 db 'create table t(id integer primary key, v text);
             with recursive n(i) as (select 1 union all select i+1 from n where i<10000) insert into t select i, hex(randomblob(40)) from n;'
             sqlite3 wal 'pragma journal_mode=wal; create table t(v)' > /dev/null
             for i in $(seq 1 20); do sqlite3 wal \"insert into t values($i)\"; done
             test \"$(sqlite3 db 'select count(*) from t')\" = 10000 && test \"$(sqlite3 db 'pragma integrity_check')\" = ok
             test \"$(sqlite3 wal 'select count(*) from t')\" = 20",
        );
    }
    let sums = "cd mnt && find . -type f -print0 | sort -z | xargs -0 sha256sum > ../sums";
    room.sh(&format!("{sums}.before"));
    room.again();
    room.sh(&format!(
        "{sums}.after; cd .. && diff sums.before sums.after"
    ));
    if has("git") {
        room.sh("cd mnt/repo && git fsck --full --strict && test -z \"$(git status --porcelain)\" && git log --oneline | wc -l | grep -qx 3");
    }
    if has("sqlite3") {
        room.sh("cd mnt && test \"$(sqlite3 db 'pragma integrity_check')\" = ok && test \"$(sqlite3 wal 'select count(*) from t')\" = 20");
    }
}

#[test]
fn single_operations_answer_as_on_a_local_filesystem() {
    let Some(mut room) = Room::new("single_operations") else {
        return;
    };
    let at = |name: &str| room.at(name);
    // Append, from two handles.
    let mut one = fs::File::options()
        .create(true)
        .append(true)
        .open(at("log"))
        .unwrap();
    let mut two = fs::File::options().append(true).open(at("log")).unwrap();
    for _ in 0..10 {
        one.write_all(b"one ").unwrap();
        two.write_all(b"two ").unwrap();
    }
    assert_eq!(fs::read(at("log")).unwrap(), b"one two ".repeat(10));
    // Save by writing beside and renaming over, while a reader has the old one open.
    let mut old = fs::File::open(at("log")).unwrap();
    fs::write(at("log.tmp"), "new").unwrap();
    fs::rename(at("log.tmp"), at("log")).unwrap();
    assert_eq!(fs::read(at("log")).unwrap(), b"new");
    let mut text = String::new();
    old.read_to_string(&mut text).unwrap();
    assert_eq!(text, "one two ".repeat(10));
    // Unlinked and still open.
    let mut gone = fs::File::options()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(at("gone"))
        .unwrap();
    gone.write_all(b"still here").unwrap();
    fs::remove_file(at("gone")).unwrap();
    gone.seek(SeekFrom::Start(0)).unwrap();
    text.clear();
    gone.read_to_string(&mut text).unwrap();
    assert_eq!(text, "still here");
    assert!(fs::metadata(at("gone")).is_err());
    // Sparse, truncated, extended.
    let sparse = fs::File::options()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(at("sparse"))
        .unwrap();
    sparse.set_len(10 << 20).unwrap();
    sparse.write_all_at(b"end", (10 << 20) - 3).unwrap();
    sparse.set_len(5).unwrap();
    sparse.set_len(8).unwrap();
    assert_eq!(fs::read(at("sparse")).unwrap(), [0; 8]);
    assert_eq!(
        sparse.set_len(1 << 50).unwrap_err().raw_os_error(),
        Some(libc::EFBIG)
    );
    // A shared writable map.
    room.sh("python3 - <<'P'\nimport mmap\nf=open('mnt/map','w+b'); f.write(bytes(100000)); f.flush()\nm=mmap.mmap(f.fileno(),100000); m[50000:50005]=b'hello'; m.flush(); m.close(); f.close()\nassert open('mnt/map','rb').read()[50000:50005]==b'hello'\nP");
    // Folders move with all below, also over an empty one; not below themselves.
    fs::create_dir_all(at("d/e/f")).unwrap();
    fs::write(at("d/e/f/g"), "deep").unwrap();
    fs::create_dir(at("target")).unwrap();
    fs::rename(at("d"), at("target")).unwrap();
    assert_eq!(fs::read(at("target/e/f/g")).unwrap(), b"deep");
    assert_eq!(
        fs::rename(at("target"), at("target/e/x"))
            .unwrap_err()
            .raw_os_error(),
        Some(libc::EINVAL)
    );
    assert_eq!(
        fs::remove_dir(at("target")).unwrap_err().raw_os_error(),
        Some(libc::ENOTEMPTY)
    );
    assert_eq!(
        fs::remove_dir(at("log")).unwrap_err().raw_os_error(),
        Some(libc::ENOTDIR)
    );
    assert_eq!(
        fs::create_dir(at("log")).unwrap_err().raw_os_error(),
        Some(libc::EEXIST)
    );
    assert_eq!(
        fs::read_dir(at("log")).unwrap_err().raw_os_error(),
        Some(libc::ENOTDIR)
    );
    assert_eq!(
        fs::read(at("log/x")).unwrap_err().raw_os_error(),
        Some(libc::ENOTDIR)
    );
    // Several names, one of them in a folder that moves, and what is no file.
    fs::write(at("first"), "one file").unwrap();
    fs::create_dir(at("names")).unwrap();
    fs::hard_link(at("first"), at("names/second")).unwrap();
    fs::hard_link(at("first"), at("third")).unwrap();
    room.sh("mkfifo mnt/pipe && ln mnt/pipe mnt/names/pipe");
    // Names that a drive cannot hold.
    use std::os::unix::ffi::OsStrExt;
    let bad = |bytes: &[u8]| room.at("").join(std::ffi::OsStr::from_bytes(bytes));
    assert_eq!(
        fs::write(bad(b"a\\b"), "").unwrap_err().raw_os_error(),
        Some(libc::EINVAL)
    );
    assert_eq!(
        fs::write(bad(b"\xff"), "").unwrap_err().raw_os_error(),
        Some(libc::EILSEQ)
    );
    assert_eq!(
        fs::write(bad(&[b'x'; 256]), "").unwrap_err().raw_os_error(),
        Some(libc::ENAMETOOLONG)
    );
    assert_eq!(
        fs::metadata(bad(b"a\\b")).unwrap_err().raw_os_error(),
        Some(libc::ENOENT)
    );
    // Attributes.
    if has("setfattr") {
        room.sh("setfattr -n user.colour -v blue mnt/log && getfattr -n user.colour --only-values mnt/log | grep -qx blue");
    }
    let ino = fs::metadata(at("log")).unwrap().ino();
    drop((one, two, old, gone, sparse));
    room.again();
    assert_eq!(fs::read(room.at("target/e/f/g")).unwrap(), b"deep");
    assert_eq!(fs::read(room.at("sparse")).unwrap(), [0; 8]);
    assert_eq!(&fs::read(room.at("map")).unwrap()[50000..50005], b"hello");
    assert_ne!(ino, 0);
    // The drive alone says which names are the same file, and what is written under one is read under all.
    let links = |name: &str| {
        let found = fs::symlink_metadata(room.at(name)).unwrap();
        (found.ino(), found.nlink())
    };
    assert_eq!(links("first").1, 3);
    assert_eq!(links("names/second"), links("first"));
    assert_eq!(links("pipe").1, 2);
    room.sh("test -p mnt/pipe && test -p mnt/names/pipe && mv mnt/names mnt/moved && printf more >> mnt/third");
    room.again();
    for name in ["first", "moved/second", "third"] {
        assert_eq!(fs::read(room.at(name)).unwrap(), b"one filemore");
        assert_eq!(fs::metadata(room.at(name)).unwrap().nlink(), 3);
    }
    fs::remove_file(room.at("first")).unwrap();
    fs::remove_file(room.at("moved/second")).unwrap();
    room.again();
    assert_eq!(fs::metadata(room.at("third")).unwrap().nlink(), 1);
    if has("setfattr") {
        room.sh("getfattr -n user.colour --only-values mnt/log | grep -qx blue");
    }
}

#[test]
fn a_large_file_goes_in_and_out_in_bounded_memory() {
    if !pome_test_support::alone("a_large_file_goes_in_and_out_in_bounded_memory") {
        return;
    }
    let Some(mut room) = Room::new("a_large_file") else {
        return;
    };
    let mib = std::env::var("POME_MOUNT_GIB")
        .ok()
        .and_then(|n| n.parse::<u64>().ok())
        .map_or(64, |gib| gib * 1024);
    let before = anonymous_kib();
    room.sh(&format!("head -c {mib}M /dev/zero | openssl enc -aes-128-ctr -K 00 -iv 00 2>/dev/null > big || head -c {mib}M /dev/urandom > big"));
    let start = std::time::Instant::now();
    room.sh("cp big mnt/big");
    let copied = start.elapsed();
    room.runtime
        .block_on(room.mounted.as_ref().unwrap().publish_now())
        .unwrap();
    let published = start.elapsed();
    room.again();
    let start = std::time::Instant::now();
    room.sh("cmp big mnt/big");
    let grown = peak_kib().saturating_sub(before);
    eprintln!(
        "{mib} MiB: in {copied:?}, published after {published:?}, compared in {:?}, anonymous memory {} MiB more, peak resident {} MiB",
        start.elapsed(),
        anonymous_kib().saturating_sub(before) / 1024,
        grown / 1024
    );
    assert!(anonymous_kib().saturating_sub(before) < 256 * 1024);
}

fn status_kib(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn anonymous_kib() -> u64 {
    status_kib("RssAnon:")
}

fn peak_kib() -> u64 {
    status_kib("VmHWM:")
}

#[test]
fn what_is_put_into_the_drive_shows_in_the_mount() {
    let Some(room) = Room::new("what_is_put") else {
        return;
    };
    fs::write(room.at("mine"), "mine").unwrap();
    assert!(fs::metadata(room.at("theirs")).is_err());
    assert_eq!(fs::read_dir(room.at("")).unwrap().count(), 1);
    let put = |path: &str, content: &'static str| {
        room.runtime
            .block_on(
                room.drive()
                    .put(path, content, pome_drive_fs::PutOptions::default()),
            )
            .unwrap();
    };
    put("/theirs", "one");
    put("/new/folder/file", "two");
    wait(|| fs::read(room.at("theirs")).is_ok_and(|b| b == b"one"));
    wait(|| fs::read(room.at("new/folder/file")).is_ok_and(|b| b == b"two"));
    put("/theirs", "longer than before");
    wait(|| fs::read(room.at("theirs")).is_ok_and(|b| b == b"longer than before"));
    room.runtime
        .block_on(room.drive().del("/new/folder/file"))
        .unwrap();
    wait(|| fs::metadata(room.at("new")).is_err());
    wait(|| {
        room.runtime
            .block_on(room.drive().get("/mine"))
            .unwrap()
            .is_some_and(|b| b == "mine")
    });
    assert_eq!(fs::read(room.at("mine")).unwrap(), b"mine");
}

#[test]
fn what_the_kernel_keeps_is_handed_over_when_it_counts() {
    let Some(room) = Room::new("what_the_kernel_keeps") else {
        return;
    };
    let path = room.at("f");
    let file = fs::File::create_new(&path).unwrap();
    file.write_all_at(&[7; 100_000], 4096 * 100).unwrap();
    // Neither closed nor synced: a version has it none the less, and holes are where they are.
    let mounted = room.mounted.as_ref().unwrap();
    let seek = |from| rustix::fs::seek(&file, from);
    use rustix::fs::SeekFrom as From;
    assert_eq!(seek(From::Data(0)).unwrap(), 4096 * 100);
    assert_eq!(seek(From::Hole(4096 * 100)).unwrap(), 4096 * 100 + 100_000);
    file.write_all_at(b"more", 4096 * 200).unwrap();
    room.runtime.block_on(mounted.publish_now()).unwrap();
    let put = room
        .runtime
        .block_on(room.drive().get("/f"))
        .unwrap()
        .unwrap();
    assert_eq!(put.len(), 4096 * 200 + 4);
    assert_eq!(put.slice(4096 * 200..), "more");
    assert_eq!(fs::metadata(&path).unwrap().len(), put.len() as u64);
    assert!(fs::metadata(&path).unwrap().blocks() > 0);
    // Put from elsewhere, it is another file, also while somebody has the old one open.
    let other = room
        .drive()
        .put("/f", "other", pome_drive_fs::PutOptions::default());
    room.runtime.block_on(other).unwrap();
    wait(|| fs::read(&path).is_ok_and(|bytes| bytes == b"other"));
    assert_eq!(fs::metadata(&path).unwrap().len(), 5);
    let mut four = [0; 4];
    file.read_exact_at(&mut four, 4096 * 200).unwrap();
    assert_eq!(&four, b"more");
    file.write_all_at(b"into the old one", 0).unwrap();
    file.sync_all().unwrap();
    drop(file);
    room.runtime.block_on(mounted.publish_now()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"other");
    // Written anew through the mount, it is published as ever.
    fs::write(&path, "mine again").unwrap();
    room.runtime.block_on(mounted.publish_now()).unwrap();
    let put = room.runtime.block_on(room.drive().get("/f")).unwrap();
    assert_eq!(put.unwrap(), "mine again");
}

#[test]
fn the_drive_as_it_was_is_in_a_hidden_folder() {
    let Some(mut room) = Room::new("the_drive_as_it_was") else {
        return;
    };
    room.publishes_when_told();
    let mounted = room.mounted.as_ref().unwrap();
    let publish = || room.runtime.block_on(mounted.publish_now()).unwrap();
    fs::create_dir_all(room.at("a/b")).unwrap();
    fs::write(room.at("a/b/f"), "one").unwrap();
    fs::write(room.at("other"), "other").unwrap();
    let first = publish();
    fs::write(room.at("a/b/f"), "two").unwrap();
    fs::remove_file(room.at("other")).unwrap();
    let second = publish();
    let names = |path: &str| -> Vec<String> {
        let entries = fs::read_dir(room.at(path)).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(""), ["a"], "it is not listed");
    assert_eq!(names(".pome"), ["key", "status", "versions"]);
    let versions = names(".pome/versions");
    assert_eq!(versions, [first.to_string(), second.to_string()]);
    let old = format!(".pome/versions/{first}");
    assert_eq!(names(&old), ["a", "other"]);
    assert_eq!(fs::read(room.at(&format!("{old}/a/b/f"))).unwrap(), b"one");
    assert_eq!(
        fs::read(room.at(&format!("{old}/other"))).unwrap(),
        b"other"
    );
    assert!(!room.at(&format!("{old}/.pome")).exists());
    assert!(!room.at(".pome/versions/1000").exists());
    assert_eq!(fs::read(room.at("a/b/f")).unwrap(), b"two");
    let key = fs::read_to_string(room.at(".pome/key")).unwrap();
    assert_eq!(key, format!("{}\n", room.drive().key()));
    let status = || -> serde_json::Value {
        serde_json::from_slice(&fs::read(room.at(".pome/status")).unwrap()).unwrap()
    };
    assert_eq!(status()["version"], second);
    assert_eq!(status()["pending"]["files"], 0);
    assert_eq!(status()["peers"], 0);
    // All of it is read-only.
    let refused = |done: std::io::Result<()>| {
        assert_eq!(done.unwrap_err().raw_os_error(), Some(libc::EROFS));
    };
    refused(fs::write(room.at(&format!("{old}/a/b/f")), "x"));
    refused(fs::write(room.at(&format!("{old}/new")), "x"));
    refused(fs::remove_file(room.at(&format!("{old}/other"))));
    refused(fs::create_dir(room.at(".pome/new")));
    refused(fs::rename(room.at(".pome"), room.at("pome")));
    refused(fs::rename(room.at("a"), room.at(".pome/a")));
    refused(fs::set_permissions(
        room.at(&old),
        fs::Permissions::from_mode(0o700),
    ));
    assert!(fs::remove_dir(room.at(".pome")).is_err());
    // A version that comes later is there, although it was asked for before.
    fs::write(room.at("a/b/f"), "three, later").unwrap();
    assert!(status()["pending"]["files"].as_u64().unwrap() <= 1);
    let third = publish();
    let later = format!(".pome/versions/{third}/a/b/f");
    wait(|| fs::read(room.at(&later)).is_ok_and(|bytes| bytes == b"three, later"));
    assert!(names(".pome/versions").contains(&third.to_string()));
    assert_eq!(fs::read(room.at(&format!("{old}/a/b/f"))).unwrap(), b"one");
}

fn wait(what: impl Fn() -> bool) {
    let began = std::time::Instant::now();
    while !what() {
        assert!(began.elapsed() < PATIENCE, "not after {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn read_only_and_old_versions_refuse_changes() {
    let Some(mut room) = Room::new("read_only") else {
        return;
    };
    room.publishes_when_told();
    fs::write(room.at("f"), "one").unwrap();
    let version = room
        .runtime
        .block_on(room.mounted.as_ref().unwrap().publish_now())
        .unwrap();
    fs::write(room.at("f"), "two").unwrap();
    fs::write(room.at("g1"), "in the same version").unwrap();
    room.unmount();
    // A version within a change is that before it.
    room.try_mount(MountOptions {
        version: Some(version + 1),
        ..MountOptions::default()
    })
    .unwrap();
    assert_eq!(fs::read(room.at("f")).unwrap(), b"one");
    assert!(!room.at("g1").exists());
    room.unmount();
    room.try_mount(MountOptions {
        version: Some(version),
        ..MountOptions::default()
    })
    .unwrap();
    assert_eq!(fs::read(room.at("f")).unwrap(), b"one");
    assert_eq!(
        fs::write(room.at("f"), "x").unwrap_err().raw_os_error(),
        Some(libc::EROFS)
    );
    assert_eq!(
        fs::write(room.at("g"), "x").unwrap_err().raw_os_error(),
        Some(libc::EROFS)
    );
    room.unmount();
    room.try_mount(MountOptions {
        read_only: true,
        ..MountOptions::default()
    })
    .unwrap();
    assert_eq!(fs::read(room.at("f")).unwrap(), b"two");
    assert_eq!(
        fs::create_dir(room.at("d")).unwrap_err().raw_os_error(),
        Some(libc::EROFS)
    );
}

#[test]
fn bad_mountpoints_have_names() {
    let Some(mut room) = Room::new("bad_mountpoints") else {
        return;
    };
    let first = room.mounted.take().unwrap();
    assert!(matches!(
        room.try_mount(MountOptions::default()),
        Err(MountError::AlreadyMounted { .. })
    ));
    room.runtime.block_on(first.unmount()).unwrap();
    fs::write(room.at("x"), "").unwrap();
    drop(first);
    assert!(matches!(
        room.try_mount(MountOptions::default()),
        Err(MountError::NotEmpty { .. })
    ));
    fs::remove_file(room.at("x")).unwrap();
    fs::remove_dir(room.at("")).unwrap();
    assert!(matches!(
        room.try_mount(MountOptions::default()),
        Err(MountError::NoMountpoint { .. })
    ));
    fs::write(room.beside("mnt"), "").unwrap();
    assert!(matches!(
        room.try_mount(MountOptions::default()),
        Err(MountError::NotAFolder { .. })
    ));
}

#[test]
fn a_mount_that_is_in_use_still_ends() {
    let Some(mut room) = Room::new("in_use") else {
        return;
    };
    let file = fs::File::create(room.at("held")).unwrap();
    let mounted = room.mounted.take().unwrap();
    let unmounted = room.runtime.block_on(mounted.unmount()).unwrap();
    assert_eq!(unmounted.how, UnmountHow::Aborted);
    assert!(unmounted.why.is_some());
    assert!((&file).write_all(b"x").is_err());
    drop(file);
    room.try_mount(MountOptions::default()).unwrap_err();
    drop(mounted);
    room.try_mount(MountOptions::default()).unwrap();
    assert!(fs::metadata(room.at("held")).is_ok());
}
