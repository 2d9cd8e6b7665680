//! Each system call that takes a path, with each kind of path.

use crate::{Case, Place, say::said, users::as_user};
use rustix::fs::{self as r, Access, AtFlags, CWD, Mode, OFlags, Timestamps, XattrFlags};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

type Call = fn(&Path, &Place) -> String;

const MODE: Mode = Mode::from_raw_mode(0o644);

fn open(path: &Path, flags: OFlags) -> String {
    // A pipe without this flag would wait for its other end.
    said(r::open(path, flags | OFlags::NONBLOCK, MODE))
}

const CALLS: &[(&str, Call)] = &[
    ("stat", |p, _| said(r::stat(p))),
    ("lstat", |p, _| said(r::lstat(p))),
    ("access R_OK", |p, _| said(r::access(p, Access::READ_OK))),
    ("access W_OK", |p, _| said(r::access(p, Access::WRITE_OK))),
    ("open O_RDONLY", |p, _| open(p, OFlags::RDONLY)),
    ("open O_RDWR", |p, _| open(p, OFlags::RDWR)),
    ("open O_RDWR|O_TRUNC", |p, _| {
        open(p, OFlags::RDWR | OFlags::TRUNC)
    }),
    ("open O_CREAT", |p, _| {
        open(p, OFlags::RDWR | OFlags::CREATE)
    }),
    ("open O_CREAT|O_EXCL", |p, _| {
        open(p, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)
    }),
    ("open O_DIRECTORY", |p, _| open(p, OFlags::DIRECTORY)),
    ("open O_NOFOLLOW", |p, _| open(p, OFlags::NOFOLLOW)),
    ("open O_PATH", |p, _| open(p, OFlags::PATH)),
    ("mkdir", |p, _| {
        said(r::mkdir(p, Mode::from_raw_mode(0o755)))
    }),
    ("rmdir", |p, _| said(r::rmdir(p))),
    ("unlink", |p, _| said(r::unlink(p))),
    ("readlink", |p, _| said(r::readlink(p, Vec::new()))),
    ("chmod", |p, _| {
        said(r::chmod(p, Mode::from_raw_mode(0o640)))
    }),
    ("chown", |p, _| {
        let user = rustix::process::getuid();
        said(r::chown(p, Some(user), None))
    }),
    ("truncate", |p, _| {
        let path = std::ffi::CString::new(std::os::unix::ffi::OsStrExt::as_bytes(p.as_os_str()));
        let path = path.unwrap();
        said(nix::unistd::truncate(path.as_c_str(), 3))
    }),
    ("utimensat", |p, _| {
        let time = r::Timespec {
            tv_sec: 5,
            tv_nsec: 7,
        };
        let times = Timestamps {
            last_access: time,
            last_modification: time,
        };
        said(r::utimensat(CWD, p, &times, AtFlags::empty()))
    }),
    ("symlink to it", |p, _| said(r::symlink("target", p))),
    ("link from it", |p, place| {
        said(r::link(p, place.at("dir/new")))
    }),
    ("link to it", |p, place| {
        said(r::link(place.at("source"), p))
    }),
    ("rename from it", |p, place| {
        said(r::rename(p, place.at("dir/new")))
    }),
    ("rename to it", |p, place| {
        said(r::rename(place.at("source"), p))
    }),
    ("mkfifo", |p, _| said(r::mkfifoat(CWD, p, MODE))),
    ("setxattr", |p, _| {
        said(r::setxattr(p, "user.a", b"v", XattrFlags::empty()))
    }),
    ("getxattr", |p, _| {
        said(r::getxattr(p, "user.a", &mut [0u8; 9]))
    }),
    ("listxattr", |p, _| said(r::listxattr(p, &mut [0u8; 9]))),
    ("removexattr", |p, _| said(r::removexattr(p, "user.a"))),
    ("opendir", |p, _| said(fs::read_dir(p))),
    ("statvfs", |p, _| said(r::statvfs(p))),
    ("execve", |p, _| {
        said(std::process::Command::new(p).status())
    }),
];

/// The situations, each with its path below the case's folder.
fn situations() -> Vec<(&'static str, PathBuf)> {
    let long = "x".repeat(256);
    let mut deep = PathBuf::new();
    for _ in 0..2100 {
        deep.push("a");
    }
    vec![
        ("no such name", "nope".into()),
        ("no such folder", "nope/x".into()),
        ("below a file", "file/x".into()),
        ("below a pipe", "fifo/x".into()),
        ("a file", "file".into()),
        ("a file and a slash", "file/".into()),
        ("a folder", "dir".into()),
        ("a folder with something in it", "full".into()),
        ("a folder and a slash", "empty/".into()),
        ("a folder's .", "empty/.".into()),
        ("a folder's ..", "full/inner/..".into()),
        ("a new name and a slash", "nope/".into()),
        ("a symlink to a file", "link".into()),
        ("a symlink to a folder", "dirlink".into()),
        ("a symlink to a folder and a slash", "dirlink/".into()),
        ("a symlink to nothing", "dangling".into()),
        ("below a symlink to nothing", "dangling/x".into()),
        ("a symlink to itself", "loop".into()),
        ("below a symlink to itself", "loop/x".into()),
        ("a pipe", "fifo".into()),
        ("a name of 255 bytes", "y".repeat(255).into()),
        ("a name of 256 bytes", long.clone().into()),
        ("below a name of 256 bytes", Path::new(&long).join("x")),
        ("a path of 4,200 bytes", deep),
    ]
}

fn fixture(place: &Place) {
    fs::write(place.at("file"), "four").unwrap();
    fs::write(place.at("source"), "source").unwrap();
    for folder in ["dir", "empty", "full", "full/inner"] {
        fs::create_dir(place.at(folder)).unwrap();
    }
    fs::write(place.at("full/f"), "f").unwrap();
    symlink("file", place.at("link")).unwrap();
    symlink("dir", place.at("dirlink")).unwrap();
    symlink("nothing", place.at("dangling")).unwrap();
    symlink("loop", place.at("loop")).unwrap();
    r::mkfifoat(CWD, place.at("fifo"), MODE).unwrap();
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (call_name, call) in CALLS {
        for (situation, path) in situations() {
            cases.push(Case {
                group: "paths",
                name: format!("{call_name}, {situation}"),
                expect: None,
                play: Box::new(move |place| {
                    fixture(place);
                    call(&place.dir.join(&path), place)
                }),
            });
        }
        for (situation, path, mode) in [
            (
                "below a folder that may not be searched",
                "locked/file",
                0o700,
            ),
            ("in a folder that may not be written", "locked/file", 0o755),
            (
                "new in a folder that may not be written",
                "locked/new",
                0o755,
            ),
            ("another's folder", "locked", 0o700),
        ] {
            cases.push(Case {
                group: "permission",
                name: format!("{call_name}, {situation}"),
                expect: None,
                play: Box::new(move |place| {
                    for folder in ["locked", "dir"] {
                        fs::create_dir(place.at(folder)).unwrap();
                    }
                    fs::set_permissions(place.at("dir"), fs::Permissions::from_mode(0o777))
                        .unwrap();
                    for file in ["locked/file", "source"] {
                        fs::write(place.at(file), "four").unwrap();
                    }
                    let locked = fs::Permissions::from_mode(mode);
                    fs::set_permissions(place.at("locked"), locked).unwrap();
                    as_user(1234, 1234, &[], || call(&place.at(path), place))
                }),
            });
        }
    }
    cases
}
