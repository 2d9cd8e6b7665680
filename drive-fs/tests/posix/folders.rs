//! Making, listing and removing folders.

use crate::{
    Case, Place, case,
    say::{said, stat},
};
use rustix::fs::{self as r, AtFlags, Dir, Mode, OFlags};
use std::{collections::BTreeSet, fs, path::PathBuf};

fn fill(place: &Place, count: usize) -> PathBuf {
    let at = place.at("d");
    fs::create_dir(&at).unwrap();
    for n in 0..count {
        fs::write(at.join(format!("f{n:05}")), "").unwrap();
    }
    at
}

fn names(dir: &mut Dir) -> Vec<String> {
    let all = dir.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    all.filter(|name| name != "." && name != "..").collect()
}

fn open(place: &Place, count: usize) -> Dir {
    Dir::new(r::open(fill(place, count), OFlags::DIRECTORY, Mode::empty()).unwrap()).unwrap()
}

pub(crate) fn cases() -> Vec<Case> {
    let one = |name, expect, play: fn(&Place) -> String| case("folders", name, expect, play);
    vec![
        one("lists . and ..", "true true", |p| {
            let mut dir = open(p, 0);
            let all: BTreeSet<String> = (&mut dir)
                .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
                .collect();
            format!("{} {}", all.contains("."), all.contains(".."))
        }),
        one("lists 3,000 names once each", "3000 3000", |p| {
            let all = names(&mut open(p, 3000));
            let set: BTreeSet<&String> = all.iter().collect();
            format!("{} {}", all.len(), set.len())
        }),
        one("lists inodes as stat tells them", "true", |p| {
            let dir = open(p, 20);
            let same = dir
                .filter_map(Result::ok)
                .filter(|e| !e.file_name().to_bytes().starts_with(b"."))
                .all(|e| {
                    let name = e.file_name().to_string_lossy().into_owned();
                    stat(&p.at("d").join(name)).st_ino == e.ino()
                });
            same.to_string()
        }),
        one("lists kinds", "Directory Fifo RegularFile Symlink", |p| {
            let at = fill(p, 1);
            fs::create_dir(at.join("x")).unwrap();
            std::os::unix::fs::symlink("x", at.join("l")).unwrap();
            r::mkfifoat(r::CWD, at.join("p"), Mode::from_raw_mode(0o644)).unwrap();
            let dir = Dir::new(r::open(&at, OFlags::DIRECTORY, Mode::empty()).unwrap()).unwrap();
            let kinds: BTreeSet<String> = dir
                .filter_map(Result::ok)
                .filter(|e| !e.file_name().to_bytes().starts_with(b"."))
                .map(|e| format!("{:?}", e.file_type()))
                .collect();
            kinds.into_iter().collect::<Vec<_>>().join(" ")
        }),
        one("rewind shows what came since", "5 6", |p| {
            let mut dir = open(p, 5);
            let before = names(&mut dir).len();
            fs::write(p.at("d/new"), "").unwrap();
            dir.rewind();
            format!("{before} {}", names(&mut dir).len())
        }),
        one("telldir and seekdir", "true", |p| {
            let mut dir = open(p, 2000);
            let mut at = 0;
            for _ in 0..700 {
                at = dir.read().unwrap().unwrap().offset();
            }
            let rest = names(&mut dir);
            dir.seek(at).unwrap();
            (names(&mut dir) == rest).to_string()
        }),
        one("removing all while listing removes all", "0", |p| {
            let dir = open(p, 2500);
            for entry in dir.filter_map(Result::ok) {
                let name = entry.file_name().to_string_lossy().into_owned();
                if !name.starts_with('.') {
                    fs::remove_file(p.at("d").join(name)).unwrap();
                }
            }
            fs::read_dir(p.at("d")).unwrap().count().to_string()
        }),
        one(
            "what stays while others come and go is listed once",
            "true",
            |p| {
                let mut dir = open(p, 2000);
                let mut seen = Vec::new();
                for n in 0..2000 {
                    let Some(entry) = dir.read() else { break };
                    seen.push(entry.unwrap().file_name().to_string_lossy().into_owned());
                    if n % 10 == 0 {
                        fs::write(p.at(&format!("d/x{n}")), "").unwrap();
                        let _ = fs::remove_file(p.at(&format!("d/x{}", n / 2)));
                    }
                }
                seen.extend(names(&mut dir));
                let old: Vec<&String> = seen.iter().filter(|n| n.starts_with('f')).collect();
                let set: BTreeSet<&&String> = old.iter().collect();
                (old.len() == 2000 && set.len() == 2000).to_string()
            },
        ),
        one("an open folder that was removed is empty", "0", |p| {
            let mut dir = open(p, 0);
            fs::remove_dir(p.at("d")).unwrap();
            names(&mut dir).len().to_string()
        }),
        one(
            "nothing is made in a folder that was removed",
            "ENOENT",
            |p| {
                let at = fill(p, 0);
                let fd = r::open(&at, OFlags::DIRECTORY, Mode::empty()).unwrap();
                fs::remove_dir(&at).unwrap();
                said(r::openat(
                    &fd,
                    "x",
                    OFlags::CREATE | OFlags::RDWR,
                    Mode::from_raw_mode(0o644),
                ))
            },
        ),
        one(
            "no folder is made in a folder that was removed",
            "ENOENT",
            |p| {
                let at = fill(p, 0);
                let fd = r::open(&at, OFlags::DIRECTORY, Mode::empty()).unwrap();
                fs::remove_dir(&at).unwrap();
                said(r::mkdirat(&fd, "x", Mode::from_raw_mode(0o755)))
            },
        ),
        one("unlinkat AT_REMOVEDIR", "ok", |p| {
            said(r::unlinkat(r::CWD, fill(p, 0), AtFlags::REMOVEDIR))
        }),
        one("unlinkat AT_REMOVEDIR of a full folder", "ENOTEMPTY", |p| {
            said(r::unlinkat(r::CWD, fill(p, 1), AtFlags::REMOVEDIR))
        }),
        one("unlinkat of a folder", "EISDIR", |p| {
            said(r::unlinkat(r::CWD, fill(p, 0), AtFlags::empty()))
        }),
        one("rmdir of .", "EINVAL", |p| {
            said(r::rmdir(fill(p, 0).join(".")))
        }),
        one(
            "rmdir of the current folder's parent by ..",
            "ENOTEMPTY",
            |p| {
                fs::create_dir_all(p.at("d/e")).unwrap();
                said(r::rmdir(p.at("d/e/..")))
            },
        ),
        one("a folder in use is removed", "ok", |p| {
            let at = fill(p, 0);
            let _held = r::open(&at, OFlags::DIRECTORY, Mode::empty()).unwrap();
            said(r::rmdir(&at))
        }),
        one("names that differ by case", "2", |p| {
            let at = fill(p, 0);
            fs::write(at.join("a"), "").unwrap();
            fs::write(at.join("A"), "").unwrap();
            fs::read_dir(at).unwrap().count().to_string()
        }),
        one("names that differ by Unicode's form", "2", |p| {
            let at = fill(p, 0);
            fs::write(at.join("é"), "").unwrap();
            fs::write(at.join("e\u{301}"), "").unwrap();
            fs::read_dir(at).unwrap().count().to_string()
        }),
        one("odd names", "9", |p| {
            let at = fill(p, 0);
            for name in [
                " ",
                "\n",
                "...",
                "*",
                "\u{1}",
                "a:b",
                "-rf",
                "日本語",
                "%00",
            ] {
                fs::write(at.join(name), name).unwrap();
            }
            let same = fs::read_dir(at).unwrap().filter(|e| {
                let e = e.as_ref().unwrap();
                fs::read(e.path()).unwrap() == e.file_name().as_encoded_bytes()
            });
            same.count().to_string()
        }),
        one("a name with a backslash", "ok", |p| {
            said(fs::write(p.at("a\\b"), ""))
        }),
        one("a name that is not UTF-8", "ok", |p| {
            let name = std::os::unix::ffi::OsStrExt::from_bytes(b"\xff\xfe");
            said(fs::write(p.dir.join::<&std::ffi::OsStr>(name), ""))
        }),
        one("60 folders deep", "ok", |p| {
            let deep: PathBuf = std::iter::repeat_n("deep", 60).collect();
            fs::create_dir_all(p.dir.join(&deep)).unwrap();
            said(fs::write(p.dir.join(deep).join("f"), ""))
        }),
        one(
            "a path of more than 4,096 bytes, step by step",
            "ok 300",
            |p| {
                let mut fd = r::open(&p.dir, OFlags::DIRECTORY, Mode::empty()).unwrap();
                let name = "n".repeat(200);
                let mut steps = 0;
                for _ in 0..300 {
                    if r::mkdirat(&fd, &name, Mode::from_raw_mode(0o755)).is_err() {
                        break;
                    }
                    fd = r::openat(&fd, &name, OFlags::DIRECTORY, Mode::empty()).unwrap();
                    steps += 1;
                }
                let answer = said(r::openat(
                    &fd,
                    "f",
                    OFlags::CREATE | OFlags::RDWR,
                    Mode::from_raw_mode(0o644),
                ));
                format!("{answer} {steps}")
            },
        ),
        one("made anew under the same name", "0", |p| {
            let at = fill(p, 5);
            fs::remove_dir_all(&at).unwrap();
            fs::create_dir(&at).unwrap();
            fs::read_dir(at).unwrap().count().to_string()
        }),
        one(
            "a folder's mtime does not change when a file in it is written",
            "true",
            |p| {
                let at = fill(p, 1);
                let before = fs::metadata(&at).unwrap().modified().unwrap();
                std::thread::sleep(std::time::Duration::from_millis(15));
                fs::write(at.join("f00000"), "more").unwrap();
                (fs::metadata(&at).unwrap().modified().unwrap() == before).to_string()
            },
        ),
    ]
}
