//! What people do in a folder, done in a mount: a crate is cloned and built, npm installs, sqlite is read while it is written, rsync finds no difference,
//! editors save, a film that is elsewhere is sought in.
//!
//! Each is done beside the mount too, or again after a remount, and compared. Needs `/dev/fuse` and the right to mount; a tool that is missing is said.
//! `POME_NIGHTLY=1` takes more of everything: whole packages of npm, a tree of the system, thousands of transactions.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod process;

use pome_test_support::{npm_folder, skipped, tools_work};
use process::{MountProcess, Pome, fuse_works, talk::share};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::PathBuf,
    process::{Command, Stdio},
    time::Instant,
};

fn nightly() -> bool {
    std::env::var_os("POME_NIGHTLY").is_some_and(|value| value == "1")
}

/// A folder with `disk` in it, and a mount beside that.
struct Room {
    folder: tempfile::TempDir,
    pome: Pome,
    at: PathBuf,
}

impl Room {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pome = Pome::new(folder.path().join("store"));
        let at = folder.path().join("mnt");
        fs::create_dir(folder.path().join("disk")).unwrap();
        Self { folder, pome, at }
    }

    fn mount(&self) -> MountProcess {
        self.pome.mount(&self.at, &["--offline"])
    }

    fn disk(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// Runs a script in the room's folder, which has `disk` and `mnt`. What it printed.
    fn sh(&self, script: &str) -> String {
        let mut command = Command::new("bash");
        command
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(self.folder.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("CARGO_NET_OFFLINE", "true")
            .stdin(Stdio::null());
        // What runs this test is cargo too, and says so to all that it starts.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            let own = text.starts_with("CARGO") || text.starts_with("RUST");
            if own && !["CARGO_HOME", "CARGO_NET_OFFLINE"].contains(&&*text) {
                command.env_remove(&name);
            }
        }
        let output = command.output().unwrap();
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}\n{out}\n{err}");
        out
    }

    /// Runs a script in `disk` and in `mnt`; both must print the same.
    fn both(&self, script: &str) -> String {
        let [disk, mnt] = ["disk", "mnt"].map(|at| self.sh(&format!("cd {at}; {script}")));
        assert_eq!(disk, mnt, "{script}");
        mnt
    }
}

fn took(what: &str, began: Instant) {
    println!("nightly: {what}: {:.1} s", began.elapsed().as_secs_f64());
}

const MANIFEST: &str = r#"[package]
name = "small"
version = "1.0.0"
edition = "2021"
[dependencies]
itoa = "1"
memchr = "2"
"#;
const PROGRAM: &str = r#"fn main() {
    let text = itoa::Buffer::new().format(40 + 2).to_owned();
    println!("{text} {:?}", memchr::memchr(b'2', text.as_bytes()));
}
"#;

#[test]
fn a_crate_is_cloned_and_built() {
    let test = "a_crate_is_cloned_and_built";
    if !fuse_works(test) || !tools_work(test, &["git", "cargo", "cc"]) {
        return;
    }
    let room = Room::new();
    let source = room.disk().join("source");
    fs::create_dir_all(source.join("src")).unwrap();
    let more = if nightly() {
        "serde_json = \"1\"\nregex = \"1\"\n"
    } else {
        ""
    };
    fs::write(source.join("Cargo.toml"), format!("{MANIFEST}{more}")).unwrap();
    fs::write(source.join("src/main.rs"), PROGRAM).unwrap();
    // From what building this test has fetched.
    room.sh(
        "cd disk/source; mkdir .cargo; cargo vendor -q > .cargo/config.toml; echo target > .gitignore
         git init -q -b main .; git config user.email a@b; git config user.name n; git add -A; git commit -qm one",
    );
    let mount = room.mount();
    let began = Instant::now();
    room.sh("git clone -q file://$PWD/disk/source mnt/small; cd mnt/small; git fsck --full --strict; test -z \"$(git status --porcelain)\"");
    took("a crate and what it needs cloned", began);
    let began = Instant::now();
    let built = room.sh("cd mnt/small; cargo build --locked 2>&1; ./target/debug/small");
    took("built", began);
    assert!(
        built.contains("Compiling small") && built.ends_with("42 Some(1)\n"),
        "{built}"
    );
    // What is built is not built again, also after a remount: the times are as they were.
    let fresh = "cd mnt/small; cargo build --locked -v 2>&1";
    assert!(!room.sh(fresh).contains("Compiling"));
    mount.stop();
    let mount = room.mount();
    let again = room.sh(fresh);
    assert!(
        !again.contains("Compiling") && again.contains("Fresh small"),
        "{again}"
    );
    // What changes is.
    room.sh("cd mnt/small; sed -i 's/40 + 2/40 + 3/' src/main.rs");
    let changed = room.sh(
        "cd mnt/small; cargo build --locked 2>&1; ./target/debug/small; git status --porcelain",
    );
    assert!(changed.ends_with("43 None\n M src/main.rs\n"), "{changed}");
    assert!(!changed.contains("Compiling itoa"), "{changed}");
    room.sh("cd mnt/small; git -c user.email=a@b -c user.name=n commit -qam two; git gc -q; git fsck --full --strict; cargo clean -q; test ! -e target");
    mount.stop();
    assert_eq!(
        room.pome.json(&["store", "check"]).last().unwrap()["ok"],
        true
    );
}

#[test]
fn npm_installs() {
    let test = "npm_installs";
    if !fuse_works(test) || !tools_work(test, &["npm", "node"]) {
        return;
    }
    let modules = npm_folder().join("node_modules");
    if !modules.join("b4a/package.json").exists() {
        skipped(test, "needs the npm modules: npm ci --prefix tests/interop");
        return;
    }
    let room = Room::new();
    // Tarballs of real packages, and one that has a program and a script of its own.
    let own = room.disk().join("own");
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join("package.json"), r#"{"name":"own","version":"1.0.0","bin":"say.js","scripts":{"install":"node -e \"require('fs').writeFileSync('made','x')\""}}"#).unwrap();
    fs::write(
        own.join("say.js"),
        "#!/usr/bin/env node\nconsole.log('own')\n",
    )
    .unwrap();
    let npm = "npm --offline --no-audit --no-fund --no-update-notifier --loglevel=error";
    let modules = modules.display();
    room.sh(&format!(
        "mkdir packed; cd packed; {npm} pack --silent --ignore-scripts ../disk/own {modules}/b4a {modules}/compact-encoding >/dev/null; ls | wc -l | grep -qx 3"
    ));
    let mount = room.mount();
    let began = Instant::now();
    let install = format!(
        "mkdir app; cd app; cp ../../packed/*.tgz .; echo '{{\"name\":\"app\",\"version\":\"1.0.0\"}}' > package.json
         {npm} install ./own-1.0.0.tgz ./b4a-*.tgz ./compact-encoding-*.tgz > log 2>&1 || {{ cat log; exit 1; }}
         rm log; node -e \"console.log(require('b4a').from('x').length, require('compact-encoding').encode(require('compact-encoding').uint, 300).length)\"; npx --offline own"
    );
    assert_eq!(room.both(&install), "1 3\nown\n");
    let tree = "cd app; find . -printf '%P %y %m %l\\n' | sort; find . -type f ! -name .package-lock.json -print0 | sort -z | xargs -0 sha256sum";
    room.both(tree);
    let lock = fs::read_to_string(room.at.join("app/package-lock.json")).unwrap();
    // As a machine that has nothing of it yet.
    room.both(&format!(
        "cd app; rm -rf node_modules; {npm} ci >/dev/null; npx --offline own"
    ));
    room.both(tree);
    took("npm install, npm ci, there and on the disk", began);
    assert_eq!(
        fs::read_to_string(room.at.join("app/package-lock.json")).unwrap(),
        lock
    );
    if nightly() {
        let began = Instant::now();
        let from = npm_folder();
        let from = from.display();
        // Out of npm's own cache.
        let ci = format!(
            "mkdir all; cd all; cp {from}/package.json {from}/package-lock.json .; {npm} ci >/dev/null; ls node_modules | wc -l"
        );
        let count = room.both(&ci);
        took(
            &format!("npm ci of {} packages, there and on the disk", count.trim()),
            began,
        );
        room.both("cd all; find . -printf '%P %y %m %l\\n' | sort");
        room.sh("diff -r disk/all mnt/all");
    }
    mount.stop();
    let mount = room.mount();
    room.both(tree);
    assert_eq!(room.both("cd app; npx --offline own"), "own\n");
    mount.stop();
}

/// One writes, several read: at every moment the accounts have what they had together.
const ACCOUNTS: &str = r"
import sqlite3, subprocess, sys, time
path, count, readers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
reader = '''
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=120)
seen, last = 0, -1
while last < int(sys.argv[2]):
    total, last = db.execute('select sum(v), (select n from done) from account').fetchone()
    assert total == 100000, total
    seen += 1
    if seen == 1: print(flush=True)
print(seen)
'''
db = sqlite3.connect(path, timeout=120, isolation_level=None)
assert db.execute('pragma journal_mode=wal').fetchone() == ('wal',)
db.execute('pragma synchronous=' + ('full' if count > 1000 else 'normal'))
db.executescript('create table account(id integer primary key, v); create table done(n); insert into done values(0);'
    'with recursive n(i) as (select 1 union all select i+1 from n where i<100) insert into account select i, 1000 from n')
running = [subprocess.Popen([sys.executable, '-c', reader, path, str(count)], stdout=subprocess.PIPE) for _ in range(readers)]
for r in running: r.stdout.readline()
for n in range(1, count + 1):
    db.execute('begin immediate')
    db.execute('update account set v = v - ? where id = ?', (n % 50, n * 7 % 100 + 1))
    db.execute('update account set v = v + ? where id = ?', (n % 50, n * 13 % 100 + 1))
    db.execute('update done set n = ?', (n,))
    db.execute('rollback' if n % 10 == 3 and n != count else 'commit')
    if n % 1000 == 0: db.execute('pragma wal_checkpoint(passive)')
seen = [int(r.communicate()[0]) for r in running]
assert all(r.returncode == 0 for r in running)
assert all(s > 1 for s in seen), seen
assert db.execute('pragma integrity_check').fetchone() == ('ok',)
print(sum(seen), 'reads')
";

#[test]
fn sqlite_is_read_while_it_is_written() {
    let test = "sqlite_is_read_while_it_is_written";
    if !fuse_works(test) || !tools_work(test, &["python3", "sqlite3"]) {
        return;
    }
    let room = Room::new();
    fs::write(room.disk().join("accounts.py"), ACCOUNTS).unwrap();
    let mount = room.mount();
    let (count, readers) = if nightly() { (20_000, 6) } else { (300, 3) };
    let began = Instant::now();
    let said = room.sh(&format!(
        "python3 disk/accounts.py mnt/db {count} {readers}"
    ));
    took(
        &format!(
            "{count} transactions beside {readers} readers, {}",
            said.trim()
        ),
        began,
    );
    let look = "sqlite3 mnt/db 'pragma integrity_check; select sum(v) from account; select n from done; pragma journal_mode'";
    let is = format!("ok\n100000\n{count}\nwal\n");
    assert_eq!(room.sh(look), is);
    mount.stop();
    let mount = room.mount();
    assert_eq!(room.sh(look), is);
    mount.stop();
}

#[test]
fn rsync_finds_no_difference() {
    let test = "rsync_finds_no_difference";
    if !fuse_works(test) || !tools_work(test, &["rsync", "setfattr"]) {
        return;
    }
    let room = Room::new();
    room.sh(
        "mkdir disk/tree; cd disk/tree; mkdir -p a/b/c 'with space' empty; chmod 2750 a/b; chmod 1777 empty
         for i in $(seq 1 200); do echo $i > a/$i; done; chmod 600 a/7; chmod 4755 a/8; ln a/9 a/b/nine; ln a/9 'with space/neun'; ln -s ../a/9 empty/link; ln -s /nowhere dangling
         mkfifo pipe; ln pipe a/pipe; touch -d '2001-02-03 04:05:06.789012345' a/10 a/b; touch -h -d '1999-01-01 00:00:00.5' dangling
         setfattr -n user.colour -v blue a/11; setfattr -n user.colour -v green a/b; chown 12:34 a/12
         head -c 3000001 /dev/urandom > large; truncate -s 5000000 sparse; printf x | dd of=sparse bs=1 seek=2500000 conv=notrunc status=none
         touch -d 2020-01-01 a empty 'with space' large .",
    );
    if nightly() {
        room.sh("cp -a /usr/share/doc disk/tree/doc; cp -a /usr/lib/python3 disk/tree/python3");
    }
    // Whether content, mode, owner, times, links, extended attributes and access lists are the same.
    let differs = |from: &str, to: &str| {
        room.sh(&format!(
            "rsync -aHAXn --checksum --itemize-changes --delete {from}/ {to}/"
        ))
    };
    let mount = room.mount();
    let began = Instant::now();
    room.sh("rsync -aHAX disk/tree/ mnt/tree/");
    took("rsync -aHAX into the mount", began);
    assert_eq!(differs("disk/tree", "mnt/tree"), "");
    mount.stop();
    let mount = room.mount();
    assert_eq!(differs("disk/tree", "mnt/tree"), "");
    let began = Instant::now();
    room.sh("rsync -aHAX mnt/tree/ disk/back/");
    took("out of it", began);
    assert_eq!(differs("mnt/tree", "disk/back"), "");
    assert_eq!(differs("disk/tree", "disk/back"), "");
    // What changed goes over, in both ways of rsync to write it, and nothing else.
    room.sh("cd disk/tree; printf y | dd of=large bs=1 seek=1000000 conv=notrunc status=none; rm a/20; mv a/21 moved; chmod 640 a/22");
    let told = room.sh(
        "rsync -aHAX --inplace --no-whole-file --delete --itemize-changes disk/tree/ mnt/tree/",
    );
    for line in [
        "*deleting   a/20",
        ">f..t...... large",
        ".f...p..... a/22",
        ">f+++++++++ moved",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert_eq!(differs("disk/tree", "mnt/tree"), "");
    room.sh("rsync -aHAX --delete --no-whole-file disk/tree/ disk/back/; echo z >> disk/back/large; rsync -aHAX --no-whole-file disk/back/ mnt/tree/");
    assert_eq!(differs("disk/back", "mnt/tree"), "");
    mount.stop();
    let mount = room.mount();
    assert_eq!(differs("disk/back", "mnt/tree"), "");
    mount.stop();
    assert_eq!(
        room.pome.json(&["store", "check"]).last().unwrap()["ok"],
        true
    );
}

#[test]
fn editors_save() {
    let test = "editors_save";
    if !fuse_works(test) {
        return;
    }
    let room = Room::new();
    let mount = room.mount();
    room.both("printf 'one\\ntwo\\n' > f; chmod 640 f; ln f other; ln -s f link");
    // What is left, by name: content, mode, count of names.
    let look =
        "for f in $(ls -A); do echo \"$f $(stat -c '%F %a %h' $f) $(cat $f | tr '\\n' ' ')\"; done";
    if tools_work(test, &["ed"]) {
        room.both("printf '%%s/one/eins/\\n2a\\nthree\\n.\\nw\\nq\\n' | ed -s f");
        room.both(look);
    }
    room.both("sed -i.bak s/two/zwei/ f");
    room.both(look);
    if tools_work(test, &["vim"]) {
        // In place; beside and renamed over; as vim chooses. With a backup that stays, and through a symlink.
        for (n, (how, file)) in [
            ("yes", "f"),
            ("no", "f"),
            ("auto", "f"),
            ("auto", "link"),
            ("no", "other"),
        ]
        .into_iter()
        .enumerate()
        {
            room.both(&format!(
                "vim -Nu NONE -i NONE -es -c 'set backup writebackup backupext=.{n} backupcopy={how}' -c 'normal Gosaved {n}' -c wq {file}; tail -n1 {file}"
            ));
            room.both(look);
        }
        // A swap file lies beside while somebody edits, and recovers what was not saved.
        room.both(
            "printf 'kept\\n' > g; vim -Nu NONE -i NONE -es -c 'set updatecount=1' -c 'normal oonly in the swap file' -c preserve -c 'call writefile([], \"ready\")' -c 'sleep 60' g & editor=$!
             while [ ! -e ready ]; do sleep 0.05; done; ls -A | grep -x .g.swp; kill -9 $editor; wait $editor || true
             vim -Nu NONE -i NONE -es -r g -c 'w! recovered' -c 'q!'; cat recovered; rm -f .g.swp ready",
        );
    }
    let last = room.both(look);
    mount.stop();
    let mount = room.mount();
    assert_eq!(room.both(look), last);
    let put = room.pome.ok(&["drive", "get", "home", "/f"]);
    assert_eq!(put, fs::read(room.disk().join("f")).unwrap());
    mount.stop();
}

/// As a player does it: the head, the index at the end, a while from the beginning, then here and there.
#[test]
fn a_film_that_is_elsewhere_is_sought_in() {
    let test = "a_film_that_is_elsewhere_is_sought_in";
    if !fuse_works(test) {
        return;
    }
    const MIB: u64 = 1 << 20;
    let size = if nightly() { 2048 * MIB } else { 64 * MIB };
    let (writer, reader) = (Room::new(), Room::new());
    let byte = |at: u64| (at * 7 + (at >> 13)) as u8;
    let path = writer.disk().join("film");
    let film = File::create(&path).unwrap();
    for at in (0..size).step_by(MIB as usize) {
        let part: Vec<u8> = (at..at + MIB).map(byte).collect();
        film.write_all_at(&part, at).unwrap();
    }
    writer.pome.ok(&["drive", "create", "home"]);
    writer
        .pome
        .ok(&["drive", "put", "home", "/film", path.to_str().unwrap()]);
    let info = writer.pome.json(&["drive", "info", "home"])[0].clone();
    let key = info["key"].as_str().unwrap();
    let (sharing, address) = share(&writer.pome, &["home"]);
    let mount = reader
        .pome
        .mount(&reader.at, &["--drive", key, "--peer", &address]);
    let film = File::open(reader.at.join("film")).unwrap();
    let read = std::cell::Cell::new(0);
    let play = |at: u64, len: u64| {
        let mut part = vec![0; 64 << 10];
        let began = Instant::now();
        for at in (at..at + len).step_by(part.len()) {
            film.read_exact_at(&mut part, at).unwrap();
            assert!(
                part.iter().zip(at..).all(|(is, at)| *is == byte(at)),
                "at {at}"
            );
        }
        read.set(read.get() + len);
        println!(
            "nightly: {} KiB of the film at {} MiB: {:.0} ms",
            len >> 10,
            at / MIB,
            began.elapsed().as_secs_f64() * 1e3
        );
    };
    play(0, MIB);
    play(size - MIB, MIB);
    play(MIB, 4 * MIB);
    for seek in [5, 3, 7, 2, 6] {
        play(size / 8 * seek, MIB);
    }
    let usage = reader.pome.json(&["store", "info", "--cores"])[0]["usage"].clone();
    let here = |row: &serde_json::Value| row["bytes"].as_u64();
    let here: u64 = usage.as_array().unwrap().iter().filter_map(here).sum();
    println!(
        "nightly: {} MiB of {} were read, {} came",
        read.get() / MIB,
        size / MIB,
        here / MIB
    );
    // Each seek brings some of what follows, and no film.
    let most = if nightly() { size / 8 } else { size };
    assert!(here < most, "{here} bytes of {size} came");
    sharing.stop();
    // What was seen is seen again, with nobody there.
    play(size / 8 * 3, MIB);
    mount.stop();
}
