//! Another user's rights. A thread of its own takes the user on: Linux keeps them per thread.

use crate::{
    Case, Place, case,
    say::{mode, said, stat},
};
use rustix::{
    fs::{self as r, AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, XattrFlags},
    process::{Gid, Uid},
    thread as t,
};
use std::{
    fs::{self, File},
    io::Write,
    os::unix::fs::{PermissionsExt, chown},
};

/// Runs `play` as another user, with these further groups.
pub(crate) fn as_user<T: Send>(
    uid: u32,
    gid: u32,
    groups: &[u32],
    play: impl FnOnce() -> T + Send,
) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let groups: Vec<Gid> = groups.iter().map(|g| Gid::from_raw(*g)).collect();
            t::set_thread_groups(&groups).unwrap();
            let gid = Gid::from_raw(gid);
            t::set_thread_res_gid(gid, gid, gid).unwrap();
            let uid = Uid::from_raw(uid);
            t::set_thread_res_uid(uid, uid, uid).unwrap();
            play()
        });
        thread.join().unwrap()
    })
}

fn me<T: Send>(play: impl FnOnce() -> T + Send) -> T {
    as_user(1234, 1234, &[], play)
}

fn chmod(path: &std::path::Path, mode: u32) -> String {
    said(fs::set_permissions(path, fs::Permissions::from_mode(mode)))
}

/// A file of user 1234 with this mode, in a folder of theirs.
fn mine(place: &Place, bits: u32) -> std::path::PathBuf {
    chown(&place.dir, Some(1234), Some(1234)).unwrap();
    let at = place.at("f");
    fs::write(&at, "four").unwrap();
    chown(&at, Some(1234), Some(1234)).unwrap();
    chmod(&at, bits);
    at
}

/// A sticky folder for everybody with a file of root and a file of user 1234.
fn sticky(place: &Place) -> std::path::PathBuf {
    let at = place.at("d");
    fs::create_dir(&at).unwrap();
    for (file, owner) in [("root", 0), ("mine", 1234), ("other", 77)] {
        fs::write(at.join(file), "").unwrap();
        chmod(&at.join(file), 0o666);
        chown(at.join(file), Some(owner), Some(owner)).unwrap();
    }
    chmod(&at, 0o1777);
    at
}

const NOW: Timestamps = Timestamps {
    last_access: Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_NOW as _,
    },
    last_modification: Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_NOW as _,
    },
};

pub(crate) fn cases() -> Vec<Case> {
    let one = |name, expect, play: fn(&Place) -> String| case("users", name, expect, play);
    let mut cases = vec![
        one("a new file is its maker's", "1234 1234", |p| {
            mine(p, 0o644);
            me(|| fs::write(p.at("new"), "")).unwrap();
            let s = stat(&p.at("new"));
            format!("{} {}", s.st_uid, s.st_gid)
        }),
        one("chmod of another's file", "EPERM", |p| {
            fs::write(p.at("f"), "").unwrap();
            me(|| chmod(&p.at("f"), 0o777))
        }),
        one("chown to another by the owner", "EPERM", |p| {
            let f = mine(p, 0o644);
            me(|| said(chown(f, Some(77), None)))
        }),
        one("chgrp to a group of one's own", "ok 500", |p| {
            let f = mine(p, 0o644);
            let answer = as_user(1234, 1234, &[500], || said(chown(&f, None, Some(500))));
            format!("{answer} {}", stat(&f).st_gid)
        }),
        one("chgrp to another group", "EPERM", |p| {
            let f = mine(p, 0o644);
            me(|| said(chown(f, None, Some(500))))
        }),
        one("chown to oneself clears set-uid", "ok 755", |p| {
            let f = mine(p, 0o4755);
            let answer = me(|| said(chown(&f, Some(1234), None)));
            format!("{answer} {}", mode(&f))
        }),
        one(
            "chmod with set-gid of a group one is not in",
            "ok 755",
            |p| {
                let f = mine(p, 0o644);
                chown(&f, None, Some(500)).unwrap();
                let answer = me(|| chmod(&f, 0o2755));
                format!("{answer} {}", mode(&f))
            },
        ),
        one("chmod with set-gid of one's own group", "ok 2755", |p| {
            let f = mine(p, 0o644);
            let answer = me(|| chmod(&f, 0o2755));
            format!("{answer} {}", mode(&f))
        }),
        one("a write clears set-uid and set-gid", "755", |p| {
            let f = mine(p, 0o6755);
            me(|| {
                File::options()
                    .append(true)
                    .open(&f)
                    .unwrap()
                    .write_all(b"x")
            })
            .unwrap();
            mode(&f)
        }),
        one("a write by root keeps set-uid", "4755", |p| {
            let f = mine(p, 0o4755);
            File::options()
                .append(true)
                .open(&f)
                .unwrap()
                .write_all(b"x")
                .unwrap();
            mode(&f)
        }),
        one("a truncation clears set-uid", "755", |p| {
            let f = mine(p, 0o4755);
            me(|| File::options().write(true).open(&f).unwrap().set_len(1)).unwrap();
            mode(&f)
        }),
        one("utimes now of a file one may write", "ok", |p| {
            fs::write(p.at("f"), "").unwrap();
            chmod(&p.at("f"), 0o666);
            me(|| said(r::utimensat(CWD, p.at("f"), &NOW, AtFlags::empty())))
        }),
        one("utimes now of a file one may not write", "EACCES", |p| {
            fs::write(p.at("f"), "").unwrap();
            me(|| said(r::utimensat(CWD, p.at("f"), &NOW, AtFlags::empty())))
        }),
        one(
            "utimes of a time, of another's file that one may write",
            "EPERM",
            |p| {
                fs::write(p.at("f"), "").unwrap();
                chmod(&p.at("f"), 0o666);
                let time = Timespec {
                    tv_sec: 1,
                    tv_nsec: 1,
                };
                let times = Timestamps {
                    last_access: time,
                    last_modification: time,
                };
                me(|| said(r::utimensat(CWD, p.at("f"), &times, AtFlags::empty())))
            },
        ),
        one("sticky: unlink of one's own", "ok", |p| {
            let d = sticky(p);
            me(|| said(r::unlink(d.join("mine"))))
        }),
        one("sticky: unlink of another's", "EPERM", |p| {
            let d = sticky(p);
            me(|| said(r::unlink(d.join("root"))))
        }),
        one("sticky: rename of another's", "EPERM", |p| {
            let d = sticky(p);
            me(|| said(r::rename(d.join("root"), d.join("new"))))
        }),
        one("sticky: rename over another's", "EPERM", |p| {
            let d = sticky(p);
            me(|| said(r::rename(d.join("mine"), d.join("other"))))
        }),
        one("sticky: rename of one's own", "ok", |p| {
            let d = sticky(p);
            me(|| said(r::rename(d.join("mine"), d.join("new"))))
        }),
        one("sticky: the folder's owner unlinks all", "ok", |p| {
            let d = sticky(p);
            chown(&d, Some(1234), None).unwrap();
            me(|| said(r::unlink(d.join("root"))))
        }),
        one("sticky: rmdir of another's folder", "EPERM", |p| {
            let d = sticky(p);
            fs::create_dir(d.join("theirs")).unwrap();
            me(|| said(r::rmdir(d.join("theirs"))))
        }),
        one(
            "a folder's move needs write permission on it",
            "EACCES",
            |p| {
                for name in ["a", "b"] {
                    fs::create_dir(p.at(name)).unwrap();
                    chmod(&p.at(name), 0o777);
                }
                fs::create_dir(p.at("a/theirs")).unwrap();
                me(|| said(r::rename(p.at("a/theirs"), p.at("b/theirs"))))
            },
        ),
        one(
            "link to another's file that one may not write",
            "EPERM",
            |p| {
                fs::write(p.at("f"), "").unwrap();
                chmod(&p.at("f"), 0o600);
                fs::create_dir(p.at("d")).unwrap();
                chmod(&p.at("d"), 0o777);
                me(|| said(r::link(p.at("f"), p.at("d/l"))))
            },
        ),
        one("read by the group", "ok", |p| {
            fs::write(p.at("f"), "").unwrap();
            chown(p.at("f"), None, Some(500)).unwrap();
            chmod(&p.at("f"), 0o640);
            as_user(1234, 1234, &[500], || said(File::open(p.at("f"))))
        }),
        one(
            "the owner's bits count, though the group's give more",
            "EACCES",
            |p| {
                let f = mine(p, 0o070);
                me(|| said(File::open(f)))
            },
        ),
        one(
            "the group's bits count, though others' give more",
            "EACCES",
            |p| {
                fs::write(p.at("f"), "").unwrap();
                chown(p.at("f"), None, Some(1234)).unwrap();
                chmod(&p.at("f"), 0o607);
                me(|| said(File::open(p.at("f"))))
            },
        ),
        one(
            "set-gid folder: a file with set-gid of a foreign group",
            "500 755",
            |p| {
                fs::create_dir(p.at("d")).unwrap();
                chown(p.at("d"), None, Some(500)).unwrap();
                chmod(&p.at("d"), 0o2777);
                let make = || {
                    r::open(
                        p.at("d/f"),
                        OFlags::CREATE | OFlags::RDWR,
                        Mode::from_raw_mode(0o2755),
                    )
                    .unwrap();
                };
                me(make);
                let s = stat(&p.at("d/f"));
                format!("{} {}", s.st_gid, mode(&p.at("d/f")))
            },
        ),
        one("trusted. is root's", "EPERM", |p| {
            let f = mine(p, 0o644);
            me(|| said(r::setxattr(f, "trusted.a", b"v", XattrFlags::empty())))
        }),
        one("user. of a file one may not write", "EACCES", |p| {
            fs::write(p.at("f"), "").unwrap();
            me(|| said(r::setxattr(p.at("f"), "user.a", b"v", XattrFlags::empty())))
        }),
        one("mknod of a device is root's", "EPERM", |p| {
            mine(p, 0o644);
            me(|| {
                said(r::mknodat(
                    CWD,
                    p.at("dev"),
                    r::FileType::CharacterDevice,
                    Mode::from_raw_mode(0o644),
                    r::makedev(1, 3),
                ))
            })
        }),
        one("mkfifo by anybody", "ok", |p| {
            mine(p, 0o644);
            me(|| said(r::mkfifoat(CWD, p.at("p"), Mode::from_raw_mode(0o644))))
        }),
        one(
            "a folder without x is listed but not searched",
            "ok EACCES",
            |p| {
                fs::create_dir(p.at("d")).unwrap();
                fs::write(p.at("d/f"), "").unwrap();
                chmod(&p.at("d"), 0o744);
                me(|| {
                    format!(
                        "{} {}",
                        said(fs::read_dir(p.at("d"))),
                        said(r::stat(p.at("d/f")))
                    )
                })
            },
        ),
        one(
            "a folder without r is searched but not listed",
            "EACCES ok",
            |p| {
                fs::create_dir(p.at("d")).unwrap();
                fs::write(p.at("d/f"), "").unwrap();
                chmod(&p.at("d"), 0o711);
                me(|| {
                    format!(
                        "{} {}",
                        said(fs::read_dir(p.at("d"))),
                        said(r::stat(p.at("d/f")))
                    )
                })
            },
        ),
    ];
    // Who may open what: owner, group and others, for each of three ways.
    for bits in [
        0o000u32, 0o400, 0o200, 0o600, 0o040, 0o020, 0o060, 0o004, 0o002, 0o006,
    ] {
        for (way, flags) in [
            ("reading", OFlags::RDONLY),
            ("writing", OFlags::WRONLY),
            ("both", OFlags::RDWR),
        ] {
            for (who, uid, gid) in [
                ("owner", 1234, 1234),
                ("group", 77, 1234),
                ("others", 77, 77),
            ] {
                cases.push(Case {
                    group: "permission",
                    name: format!("open for {way} by {who}, mode {bits:03o}"),
                    expect: None,
                    play: Box::new(move |p| {
                        let f = mine(p, bits);
                        as_user(uid, gid, &[], || said(r::open(f, flags, Mode::empty())))
                    }),
                });
            }
        }
    }
    cases
}
