//! Renaming: each kind of thing over each kind of thing, with each flag.

use crate::{
    Case, Place, case,
    say::{kind, said},
};
use rustix::fs::{self as r, CWD, Mode, RenameFlags};
use std::{fs, os::unix::fs::symlink};

const KINDS: &[&str] = &[
    "nothing",
    "a file",
    "an empty folder",
    "a full folder",
    "a symlink",
    "a pipe",
];

fn make(place: &Place, what: &str, name: &str) {
    let at = place.at(name);
    match what {
        "nothing" => {}
        "a file" => fs::write(at, name).unwrap(),
        "an empty folder" => fs::create_dir(at).unwrap(),
        "a full folder" => {
            fs::create_dir(&at).unwrap();
            fs::write(at.join("f"), "").unwrap();
        }
        "a symlink" => symlink("x", at).unwrap(),
        "a pipe" => r::mkfifoat(CWD, at, Mode::from_raw_mode(0o644)).unwrap(),
        other => panic!("{other}"),
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let flags = [
        ("", RenameFlags::empty()),
        (" RENAME_NOREPLACE", RenameFlags::NOREPLACE),
        (" RENAME_EXCHANGE", RenameFlags::EXCHANGE),
    ];
    for (flag, with) in flags {
        for from in KINDS {
            for to in KINDS {
                cases.push(Case {
                    group: "rename",
                    name: format!("{from} to {to}{flag}"),
                    expect: None,
                    play: Box::new(move |place| {
                        make(place, from, "from");
                        make(place, to, "second");
                        let (a, b) = (place.at("from"), place.at("second"));
                        let answer = said(r::renameat_with(CWD, &a, CWD, &b, with));
                        format!("{answer} {} {}", kind(&a), kind(&b))
                    }),
                });
            }
        }
    }
    let one = |name, expect, play: fn(&Place) -> String| case("rename", name, expect, play);
    cases.extend([
        one("RENAME_WHITEOUT", "ok char", |place| {
            make(place, "a file", "from");
            let (a, b) = (place.at("from"), place.at("second"));
            let answer = said(r::renameat_with(CWD, &a, CWD, &b, RenameFlags::WHITEOUT));
            format!("{answer} {}", kind(&a))
        }),
        one("NOREPLACE and EXCHANGE at once", "EINVAL", |place| {
            make(place, "a file", "from");
            make(place, "a file", "second");
            let both = RenameFlags::NOREPLACE | RenameFlags::EXCHANGE;
            said(r::renameat_with(
                CWD,
                place.at("from"),
                CWD,
                place.at("second"),
                both,
            ))
        }),
        one("a folder below itself", "EINVAL", |place| {
            make(place, "a full folder", "from");
            said(r::rename(place.at("from"), place.at("from/x")))
        }),
        one("a folder over the one it is in", "ENOTEMPTY", |place| {
            fs::create_dir_all(place.at("a/b")).unwrap();
            said(r::rename(place.at("a/b"), place.at("a")))
        }),
        one("exchange with the folder it is in", "EINVAL", |place| {
            fs::create_dir_all(place.at("a/b")).unwrap();
            said(r::renameat_with(
                CWD,
                place.at("a/b"),
                CWD,
                place.at("a"),
                RenameFlags::EXCHANGE,
            ))
        }),
        one("onto itself", "ok file4", |place| {
            make(place, "a file", "from");
            let at = place.at("from");
            format!("{} {}", said(r::rename(&at, &at)), kind(&at))
        }),
        one("to another filesystem", "EXDEV", |place| {
            make(place, "a file", "from");
            said(r::rename(place.at("from"), place.elsewhere.join("there")))
        }),
        one("of .", "EBUSY", |place| {
            fs::create_dir(place.at("d")).unwrap();
            said(r::rename(place.at("d/."), place.at("e")))
        }),
        one(
            "one name over another of the same file",
            "ok file4 file4",
            |place| {
                make(place, "a file", "from");
                let (a, b) = (place.at("from"), place.at("second"));
                r::link(&a, &b).unwrap();
                format!("{} {} {}", said(r::rename(&a, &b)), kind(&a), kind(&b))
            },
        ),
        one("keeps the inode", "true", |place| {
            make(place, "a file", "from");
            let before = crate::say::stat(&place.at("from")).st_ino;
            r::rename(place.at("from"), place.at("second")).unwrap();
            (crate::say::stat(&place.at("second")).st_ino == before).to_string()
        }),
        one("over an open file keeps it readable", "old", |place| {
            fs::write(place.at("second"), "old").unwrap();
            let open = fs::File::open(place.at("second")).unwrap();
            fs::write(place.at("from"), "new").unwrap();
            r::rename(place.at("from"), place.at("second")).unwrap();
            std::io::read_to_string(open).unwrap()
        }),
        one(
            "changes the ctime and not the mtime",
            "true true",
            |place| {
                make(place, "a file", "from");
                let before = crate::say::stat(&place.at("from"));
                std::thread::sleep(std::time::Duration::from_millis(15));
                r::rename(place.at("from"), place.at("second")).unwrap();
                let after = crate::say::stat(&place.at("second"));
                let ctime = |s: &r::Stat| (s.st_ctime, s.st_ctime_nsec);
                let mtime = |s: &r::Stat| (s.st_mtime, s.st_mtime_nsec);
                format!(
                    "{} {}",
                    ctime(&after) > ctime(&before),
                    mtime(&after) == mtime(&before)
                )
            },
        ),
        one("changes both folders' mtimes", "true true", |place| {
            for folder in ["a", "b"] {
                fs::create_dir(place.at(folder)).unwrap();
            }
            make(place, "a file", "a/f");
            let mtime = |name: &str| {
                let s = crate::say::stat(&place.at(name));
                (s.st_mtime, s.st_mtime_nsec)
            };
            let before = [mtime("a"), mtime("b")];
            std::thread::sleep(std::time::Duration::from_millis(15));
            r::rename(place.at("a/f"), place.at("b/f")).unwrap();
            format!("{} {}", mtime("a") > before[0], mtime("b") > before[1])
        }),
        one("a folder's .. follows it", "true", |place| {
            fs::create_dir_all(place.at("a/d")).unwrap();
            fs::create_dir(place.at("b")).unwrap();
            r::rename(place.at("a/d"), place.at("b/d")).unwrap();
            let up = r::stat(place.at("b/d/..")).unwrap().st_ino;
            (up == crate::say::stat(&place.at("b")).st_ino).to_string()
        }),
    ]);
    cases
}
