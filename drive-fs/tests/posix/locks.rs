//! flock, and the locks of ranges that belong to an open file.

use crate::{Case, Place, case, say::said};
use nix::fcntl::{FcntlArg, fcntl};
use rustix::fs::{self as r, FlockOperation};
use std::fs::File;

fn open(place: &Place) -> File {
    let mut options = File::options();
    options.create(true).truncate(false).read(true).write(true);
    options.open(place.at("f")).unwrap()
}

fn range(kind: i32, start: i64, len: i64) -> libc::flock {
    libc::flock {
        l_type: kind as _,
        l_whence: libc::SEEK_SET as _,
        l_start: start,
        l_len: len,
        l_pid: 0,
    }
}

fn ofd(file: &File, kind: i32, start: i64, len: i64) -> String {
    said(fcntl(file, FcntlArg::F_OFD_SETLK(&range(kind, start, len))))
}

pub(crate) fn cases() -> Vec<Case> {
    let one = |name, expect, play: fn(&Place) -> String| case("locks", name, expect, play);
    const TRY: FlockOperation = FlockOperation::NonBlockingLockExclusive;
    const TRY_SHARED: FlockOperation = FlockOperation::NonBlockingLockShared;
    vec![
        one("flock twice by two handles", "ok EAGAIN", |p| {
            let (a, b) = (open(p), open(p));
            format!("{} {}", said(r::flock(&a, TRY)), said(r::flock(&b, TRY)))
        }),
        one("flock shared twice", "ok ok", |p| {
            let (a, b) = (open(p), open(p));
            format!(
                "{} {}",
                said(r::flock(&a, TRY_SHARED)),
                said(r::flock(&b, TRY_SHARED))
            )
        }),
        one("flock exclusive over shared", "ok EAGAIN", |p| {
            let (a, b) = (open(p), open(p));
            format!(
                "{} {}",
                said(r::flock(&a, TRY_SHARED)),
                said(r::flock(&b, TRY))
            )
        }),
        one("flock is free after unlock", "ok", |p| {
            let (a, b) = (open(p), open(p));
            r::flock(&a, TRY).unwrap();
            r::flock(&a, FlockOperation::Unlock).unwrap();
            said(r::flock(&b, TRY))
        }),
        one("flock is free after close", "ok", |p| {
            let (a, b) = (open(p), open(p));
            r::flock(&a, TRY).unwrap();
            drop(a);
            said(r::flock(&b, TRY))
        }),
        one("flock of a folder", "ok EAGAIN", |p| {
            let (a, b) = (File::open(&p.dir).unwrap(), File::open(&p.dir).unwrap());
            format!("{} {}", said(r::flock(&a, TRY)), said(r::flock(&b, TRY)))
        }),
        one("flock through two names of a file", "ok EAGAIN", |p| {
            let a = open(p);
            r::link(p.at("f"), p.at("g")).unwrap();
            let b = File::open(p.at("g")).unwrap();
            format!("{} {}", said(r::flock(&a, TRY)), said(r::flock(&b, TRY)))
        }),
        one("ranges that overlap", "ok EAGAIN", |p| {
            let (a, b) = (open(p), open(p));
            format!(
                "{} {}",
                ofd(&a, libc::F_WRLCK, 0, 10),
                ofd(&b, libc::F_WRLCK, 5, 10)
            )
        }),
        one("ranges side by side", "ok ok", |p| {
            let (a, b) = (open(p), open(p));
            format!(
                "{} {}",
                ofd(&a, libc::F_WRLCK, 0, 10),
                ofd(&b, libc::F_WRLCK, 10, 10)
            )
        }),
        one("ranges shared", "ok ok", |p| {
            let (a, b) = (open(p), open(p));
            format!(
                "{} {}",
                ofd(&a, libc::F_RDLCK, 0, 10),
                ofd(&b, libc::F_RDLCK, 5, 10)
            )
        }),
        one("a range to the end holds what comes", "ok EAGAIN", |p| {
            let (a, b) = (open(p), open(p));
            format!(
                "{} {}",
                ofd(&a, libc::F_WRLCK, 0, 0),
                ofd(&b, libc::F_WRLCK, 1 << 40, 1)
            )
        }),
        one("a part is let go", "ok ok EAGAIN", |p| {
            let (a, b) = (open(p), open(p));
            ofd(&a, libc::F_WRLCK, 0, 30);
            format!(
                "{} {} {}",
                ofd(&a, libc::F_UNLCK, 10, 10),
                ofd(&b, libc::F_WRLCK, 10, 10),
                ofd(&b, libc::F_WRLCK, 20, 1)
            )
        }),
        one("the own range again", "ok ok", |p| {
            let a = open(p);
            format!(
                "{} {}",
                ofd(&a, libc::F_WRLCK, 0, 10),
                ofd(&a, libc::F_RDLCK, 5, 10)
            )
        }),
        one("who holds it is told", "0 10", |p| {
            let (a, b) = (open(p), open(p));
            ofd(&a, libc::F_WRLCK, 0, 10);
            let mut asked = range(libc::F_WRLCK, 5, 100);
            fcntl(&b, FcntlArg::F_OFD_GETLK(&mut asked)).unwrap();
            format!("{} {}", asked.l_start, asked.l_len)
        }),
        one(
            "a process's own ranges: another process sees them",
            "locked",
            |p| {
                let a = open(p);
                fcntl(&a, FcntlArg::F_SETLK(&range(libc::F_WRLCK, 0, 10))).unwrap();
                let script = "import fcntl,sys\nf=open(sys.argv[1],'r+b')\ntry:\n fcntl.lockf(f,fcntl.LOCK_EX|fcntl.LOCK_NB,10,0)\n print('free')\nexcept OSError: print('locked')\n";
                let output = std::process::Command::new("python3")
                    .args(["-c", script])
                    .arg(p.at("f"))
                    .output()
                    .unwrap();
                String::from_utf8_lossy(&output.stdout).trim().to_owned()
            },
        ),
        one("a write lock needs a handle for writing", "EBADF", |p| {
            open(p);
            ofd(&File::open(p.at("f")).unwrap(), libc::F_WRLCK, 0, 1)
        }),
        one("a lock does not keep others from writing", "ok", |p| {
            let a = open(p);
            r::flock(&a, TRY).unwrap();
            said(std::fs::write(p.at("f"), "x"))
        }),
    ]
}
