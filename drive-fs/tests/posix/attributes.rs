//! Modes, owners, times, extended attributes, free space.

use crate::{
    Case, Place, case,
    say::{mode, said, stat, value},
};
use rustix::fs::{
    self as r, AtFlags, CWD, Mode, OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, XattrFlags,
};
use std::{
    fs::{self, File},
    io::{Read, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    time::Duration,
};

fn file(place: &Place) -> std::path::PathBuf {
    fs::write(place.at("f"), "four").unwrap();
    place.at("f")
}

fn chmod(path: &std::path::Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn times(place: &Place, atime: (i64, i64), mtime: (i64, i64)) -> String {
    let time = |(tv_sec, tv_nsec): (i64, i64)| Timespec {
        tv_sec,
        tv_nsec: tv_nsec as _,
    };
    let times = Timestamps {
        last_access: time(atime),
        last_modification: time(mtime),
    };
    said(r::utimensat(CWD, file(place), &times, AtFlags::empty()))
}

fn both(place: &Place) -> String {
    let s = stat(&place.at("f"));
    format!(
        "{}.{} {}.{}",
        s.st_atime, s.st_atime_nsec, s.st_mtime, s.st_mtime_nsec
    )
}

fn pause() {
    std::thread::sleep(Duration::from_millis(15));
}

fn get(path: &std::path::Path, name: &str, room: usize) -> String {
    if room == 0 {
        return format!("needs {}", value(r::getxattr_query(path, name)));
    }
    let mut value = vec![0u8; room];
    match r::getxattr(path, name, &mut value) {
        Ok(len) => String::from_utf8_lossy(&value[..len]).into_owned(),
        Err(error) => said::<()>(Err(error)),
    }
}

fn set(path: &std::path::Path, name: &str, value: &[u8], flags: XattrFlags) -> String {
    said(r::setxattr(path, name, value, flags))
}

fn modes(cases: &mut Vec<Case>) {
    let one = |name, expect, play: fn(&Place) -> String| case("modes", name, expect, play);
    cases.extend([
        one("all twelve bits", "7777", |p| {
            chmod(&file(p), 0o7777);
            mode(&p.at("f"))
        }),
        one("no bits", "0", |p| {
            chmod(&file(p), 0);
            mode(&p.at("f"))
        }),
        one("of a folder, sticky and set-gid", "3751", |p| {
            fs::create_dir(p.at("d")).unwrap();
            chmod(&p.at("d"), 0o3751);
            mode(&p.at("d"))
        }),
        one("fchmod", "611", |p| {
            file(p);
            r::fchmod(File::open(p.at("f")).unwrap(), Mode::from_raw_mode(0o611)).unwrap();
            mode(&p.at("f"))
        }),
        one("chmod changes the ctime, not the mtime", "true true", |p| {
            file(p);
            let before = fs::metadata(p.at("f")).unwrap();
            pause();
            chmod(&p.at("f"), 0o600);
            let after = fs::metadata(p.at("f")).unwrap();
            let ctime = |m: &fs::Metadata| (m.ctime(), m.ctime_nsec());
            format!(
                "{} {}",
                ctime(&after) > ctime(&before),
                after.modified().unwrap() == before.modified().unwrap()
            )
        }),
        one("chown by root", "11 12", |p| {
            chown(file(p), Some(11), Some(12)).unwrap();
            let s = stat(&p.at("f"));
            format!("{} {}", s.st_uid, s.st_gid)
        }),
        one("chown of the group alone", "0 12", |p| {
            chown(file(p), None, Some(12)).unwrap();
            let s = stat(&p.at("f"));
            format!("{} {}", s.st_uid, s.st_gid)
        }),
        one("chown clears set-uid and set-gid", "755", |p| {
            chmod(&file(p), 0o6755);
            chown(p.at("f"), Some(11), Some(12)).unwrap();
            mode(&p.at("f"))
        }),
        one("chown keeps set-gid without group execution", "2745", |p| {
            chmod(&file(p), 0o6745);
            chown(p.at("f"), Some(11), Some(12)).unwrap();
            mode(&p.at("f"))
        }),
        one("chown of a folder keeps set-gid", "2755", |p| {
            fs::create_dir(p.at("d")).unwrap();
            chmod(&p.at("d"), 0o2755);
            chown(p.at("d"), Some(11), Some(12)).unwrap();
            mode(&p.at("d"))
        }),
        one("chown follows a symlink", "11 0", |p| {
            file(p);
            symlink("f", p.at("l")).unwrap();
            chown(p.at("l"), Some(11), None).unwrap();
            format!("{} {}", stat(&p.at("f")).st_uid, stat(&p.at("l")).st_uid)
        }),
        one("the umask takes bits", "ok 640", |p| {
            let script = "umask 0027; : > f";
            let status = std::process::Command::new("sh")
                .args(["-c", script])
                .current_dir(&p.dir)
                .status()
                .unwrap();
            format!(
                "{} {}",
                if status.success() { "ok" } else { "failed" },
                mode(&p.at("f"))
            )
        }),
        one("mkdir with a mode", "1755", |p| {
            r::mkdir(p.at("d"), Mode::from_raw_mode(0o1777)).unwrap();
            mode(&p.at("d"))
        }),
        one(
            "a folder of a set-gid folder takes group and bit",
            "44 2755",
            |p| {
                fs::create_dir(p.at("d")).unwrap();
                chown(p.at("d"), None, Some(44)).unwrap();
                chmod(&p.at("d"), 0o2755);
                fs::create_dir(p.at("d/e")).unwrap();
                format!("{} {}", stat(&p.at("d/e")).st_gid, mode(&p.at("d/e")))
            },
        ),
        one(
            "a file of a set-gid folder takes the group only",
            "44 644",
            |p| {
                fs::create_dir(p.at("d")).unwrap();
                chown(p.at("d"), None, Some(44)).unwrap();
                chmod(&p.at("d"), 0o2755);
                fs::write(p.at("d/f"), "").unwrap();
                format!("{} {}", stat(&p.at("d/f")).st_gid, mode(&p.at("d/f")))
            },
        ),
        one("a symlink of a set-gid folder takes the group", "44", |p| {
            fs::create_dir(p.at("d")).unwrap();
            chown(p.at("d"), None, Some(44)).unwrap();
            chmod(&p.at("d"), 0o2755);
            symlink("x", p.at("d/l")).unwrap();
            stat(&p.at("d/l")).st_gid.to_string()
        }),
        one("open of a file without bits, by root", "ok", |p| {
            chmod(&file(p), 0);
            said(File::options().read(true).write(true).open(p.at("f")))
        }),
        one(
            "execution without any execute bit, by root",
            "EACCES",
            |p| said(std::process::Command::new(file(p)).status()),
        ),
        one("a script runs", "0", |p| {
            fs::write(p.at("s"), "#!/bin/sh\nexit 0\n").unwrap();
            chmod(&p.at("s"), 0o755);
            std::process::Command::new(p.at("s"))
                .status()
                .unwrap()
                .code()
                .unwrap()
                .to_string()
        }),
        one("a program that runs is not written", "ETXTBSY", |p| {
            fs::copy("/bin/sleep", p.at("sleep")).unwrap();
            chmod(&p.at("sleep"), 0o755);
            let mut child = std::process::Command::new(p.at("sleep"))
                .arg("60")
                .spawn()
                .unwrap();
            let answer = said(File::options().write(true).open(p.at("sleep")));
            child.kill().unwrap();
            child.wait().unwrap();
            answer
        }),
    ]);
}

fn clocks(cases: &mut Vec<Case>) {
    let one = |name, expect, play: fn(&Place) -> String| case("times", name, expect, play);
    let omit = (0, i64::from(UTIME_OMIT as i32));
    let now = (0, i64::from(UTIME_NOW as i32));
    cases.extend([
        one("both, with nanoseconds", "ok 5.6 7.123456789", |p| {
            let answer = times(p, (5, 6), (7, 123_456_789));
            format!("{answer} {}", both(p))
        }),
        one("before 1970", "ok -5.6 -7.999999999", |p| {
            let answer = times(p, (-5, 6), (-7, 999_999_999));
            format!("{answer} {}", both(p))
        }),
        one("after 2038", "ok 5000000000", |p| {
            let answer = times(p, (5, 6), (5_000_000_000, 0));
            format!("{answer} {}", stat(&p.at("f")).st_mtime)
        }),
        case("times", "UTIME_OMIT of the mtime", "ok 5 true", move |p| {
            let answer = times(p, (5, 6), omit);
            let s = stat(&p.at("f"));
            format!("{answer} {} {}", s.st_atime, s.st_mtime > 1_000_000_000)
        }),
        case("times", "UTIME_OMIT of the atime", "ok true 5", move |p| {
            let answer = times(p, omit, (5, 6));
            let s = stat(&p.at("f"));
            format!("{answer} {} {}", s.st_atime > 1_000_000_000, s.st_mtime)
        }),
        case("times", "UTIME_OMIT of both", "ok true", move |p| {
            let answer = times(p, omit, omit);
            format!("{answer} {}", stat(&p.at("f")).st_mtime > 1_000_000_000)
        }),
        case("times", "UTIME_NOW of both", "ok true true", move |p| {
            let answer = times(p, now, now);
            let s = stat(&p.at("f"));
            format!(
                "{answer} {} {}",
                s.st_mtime > 1_000_000_000,
                s.st_atime > 1_000_000_000
            )
        }),
        one("a billion nanoseconds", "EINVAL", |p| {
            times(p, (5, 1_000_000_000), (7, 0))
        }),
        one("utimensat changes the ctime", "true", |p| {
            file(p);
            let ctime = || (stat(&p.at("f")).st_ctime, stat(&p.at("f")).st_ctime_nsec);
            let before = ctime();
            pause();
            times(p, (5, 6), (7, 8));
            (ctime() > before).to_string()
        }),
        one("write changes mtime and ctime", "true true", |p| {
            let mut open = File::create(p.at("f")).unwrap();
            let before = fs::metadata(p.at("f")).unwrap();
            pause();
            open.write_all(b"x").unwrap();
            let after = fs::metadata(p.at("f")).unwrap();
            let ctime = |m: &fs::Metadata| (m.ctime(), m.ctime_nsec());
            format!(
                "{} {}",
                after.modified().unwrap() > before.modified().unwrap(),
                ctime(&after) > ctime(&before)
            )
        }),
        one(
            "ftruncate to the same size changes the mtime",
            "true",
            |p| {
                file(p);
                let before = fs::metadata(p.at("f")).unwrap().modified().unwrap();
                pause();
                File::options()
                    .write(true)
                    .open(p.at("f"))
                    .unwrap()
                    .set_len(4)
                    .unwrap();
                (fs::metadata(p.at("f")).unwrap().modified().unwrap() > before).to_string()
            },
        ),
        one("read does not change the mtime", "true", |p| {
            file(p);
            let before = fs::metadata(p.at("f")).unwrap().modified().unwrap();
            pause();
            File::open(p.at("f"))
                .unwrap()
                .read_to_end(&mut Vec::new())
                .unwrap();
            (fs::metadata(p.at("f")).unwrap().modified().unwrap() == before).to_string()
        }),
        one("a new name changes its folder's mtime", "true", |p| {
            let before = fs::metadata(&p.dir).unwrap().modified().unwrap();
            pause();
            file(p);
            (fs::metadata(&p.dir).unwrap().modified().unwrap() > before).to_string()
        }),
        one("unlink changes its folder's mtime", "true", |p| {
            file(p);
            let before = fs::metadata(&p.dir).unwrap().modified().unwrap();
            pause();
            r::unlink(p.at("f")).unwrap();
            (fs::metadata(&p.dir).unwrap().modified().unwrap() > before).to_string()
        }),
        one("a folder's mtime is set", "77", |p| {
            fs::create_dir(p.at("d")).unwrap();
            let time = std::time::UNIX_EPOCH + Duration::from_secs(77);
            File::open(p.at("d")).unwrap().set_modified(time).unwrap();
            stat(&p.at("d")).st_mtime.to_string()
        }),
    ]);
}

fn xattrs(cases: &mut Vec<Case>) {
    let one = |name, expect, play: fn(&Place) -> String| case("xattrs", name, expect, play);
    const ANY: XattrFlags = XattrFlags::empty();
    cases.extend([
        one("set and get", "ok value", |p| {
            format!(
                "{} {}",
                set(&file(p), "user.a", b"value", ANY),
                get(&p.at("f"), "user.a", 99)
            )
        }),
        one("an empty value", "ok ", |p| {
            format!(
                "{} {}",
                set(&file(p), "user.a", b"", ANY),
                get(&p.at("f"), "user.a", 99)
            )
        }),
        one("the size alone", "needs 5", |p| {
            set(&file(p), "user.a", b"value", ANY);
            get(&p.at("f"), "user.a", 0)
        }),
        one("a buffer too small", "ERANGE", |p| {
            set(&file(p), "user.a", b"value", ANY);
            get(&p.at("f"), "user.a", 4)
        }),
        one("none of that name", "ENODATA", |p| {
            get(&file(p), "user.a", 9)
        }),
        one("replaced", "two", |p| {
            set(&file(p), "user.a", b"one", ANY);
            set(&p.at("f"), "user.a", b"two", ANY);
            get(&p.at("f"), "user.a", 9)
        }),
        one("XATTR_CREATE of an old one", "EEXIST", |p| {
            set(&file(p), "user.a", b"one", ANY);
            set(&p.at("f"), "user.a", b"two", XattrFlags::CREATE)
        }),
        one("XATTR_REPLACE of a new one", "ENODATA", |p| {
            set(&file(p), "user.a", b"one", XattrFlags::REPLACE)
        }),
        one("both flags", "EEXIST", |p| {
            set(&file(p), "user.a", b"one", ANY);
            set(
                &p.at("f"),
                "user.a",
                b"two",
                XattrFlags::CREATE | XattrFlags::REPLACE,
            )
        }),
        one("a name of 255 bytes", "ok", |p| {
            set(&file(p), &format!("user.{}", "n".repeat(250)), b"v", ANY)
        }),
        one("a name of 256 bytes", "ERANGE", |p| {
            set(&file(p), &format!("user.{}", "n".repeat(251)), b"v", ANY)
        }),
        one("an empty name", "ERANGE", |p| set(&file(p), "", b"v", ANY)),
        one("no namespace", "EOPNOTSUPP", |p| {
            set(&file(p), "plain", b"v", ANY)
        }),
        one("a value of 65,537 bytes", "E2BIG", |p| {
            set(&file(p), "user.a", &vec![1; 65_537], ANY)
        }),
        one("a list, sorted", "user.a user.b", |p| {
            file(p);
            set(&p.at("f"), "user.b", b"", ANY);
            set(&p.at("f"), "user.a", b"", ANY);
            let mut list = [0u8; 99];
            let len = r::listxattr(p.at("f"), &mut list).unwrap();
            let mut names: Vec<_> = list[..len]
                .split(|b| *b == 0)
                .filter(|n| n.starts_with(b"user."))
                .map(String::from_utf8_lossy)
                .collect();
            names.sort();
            names.join(" ")
        }),
        one("a list that does not fit", "ERANGE", |p| {
            set(&file(p), "user.abc", b"", ANY);
            said(r::listxattr(p.at("f"), &mut [0u8; 3]))
        }),
        one("removed", "ok ENODATA", |p| {
            set(&file(p), "user.a", b"v", ANY);
            format!(
                "{} {}",
                said(r::removexattr(p.at("f"), "user.a")),
                get(&p.at("f"), "user.a", 9)
            )
        }),
        one("removed twice", "ENODATA", |p| {
            said(r::removexattr(file(p), "user.a"))
        }),
        one("of a folder", "v", |p| {
            set(&p.dir, "user.a", b"v", ANY);
            get(&p.dir, "user.a", 9)
        }),
        one("user. of a symlink", "EPERM", |p| {
            symlink("x", p.at("l")).unwrap();
            said(r::lsetxattr(p.at("l"), "user.a", b"v", ANY))
        }),
        one("trusted. of a symlink, by root", "ok", |p| {
            symlink("x", p.at("l")).unwrap();
            said(r::lsetxattr(p.at("l"), "trusted.a", b"v", ANY))
        }),
        one("security.capability, by root", "ok", |p| {
            let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            set(&file(p), "security.capability", &capability, ANY)
        }),
        one("go with the file", "v", |p| {
            set(&file(p), "user.a", b"v", ANY);
            r::rename(p.at("f"), p.at("g")).unwrap();
            get(&p.at("g"), "user.a", 9)
        }),
        one("no access list there", "ENODATA", |p| {
            get(&file(p), "system.posix_acl_access", 99)
        }),
        one("change the ctime", "true", |p| {
            file(p);
            let ctime = || (stat(&p.at("f")).st_ctime, stat(&p.at("f")).st_ctime_nsec);
            let before = ctime();
            pause();
            set(&p.at("f"), "user.a", b"v", ANY);
            (ctime() > before).to_string()
        }),
    ]);
}

fn space(cases: &mut Vec<Case>) {
    let one = |name, expect, play: fn(&Place) -> String| case("statfs", name, expect, play);
    cases.extend([
        one("a name has 255 bytes", "255", |p| {
            r::statvfs(&p.dir).unwrap().f_namemax.to_string()
        }),
        one("free, available and all are in order", "true", |p| {
            let s = r::statvfs(&p.dir).unwrap();
            (s.f_bavail <= s.f_bfree && s.f_bfree <= s.f_blocks && s.f_blocks > 0).to_string()
        }),
        one("files and free files are in order", "true", |p| {
            let s = r::statvfs(&p.dir).unwrap();
            (s.f_ffree <= s.f_files && s.f_files > 0).to_string()
        }),
        one("blocks of 4 KiB", "4096", |p| {
            r::statvfs(&p.dir).unwrap().f_frsize.to_string()
        }),
        one("fstatfs of a file", "ok", |p| {
            said(r::fstatfs(
                r::open(file(p), OFlags::RDONLY, Mode::empty()).unwrap(),
            ))
        }),
        one("st_blksize is a power of two", "true", |p| {
            (stat(&file(p)).st_blksize as u64)
                .is_power_of_two()
                .to_string()
        }),
        one("st_dev is the folder's", "true", |p| {
            (stat(&file(p)).st_dev == stat(&p.dir).st_dev).to_string()
        }),
        one("a folder counts its folders", "3", |p| {
            fs::create_dir(p.at("d")).unwrap();
            stat(&p.dir).st_nlink.to_string()
        }),
    ]);
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    modes(&mut cases);
    clocks(&mut cases);
    xattrs(&mut cases);
    space(&mut cases);
    cases
}
