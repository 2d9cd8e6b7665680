//! Several names, symlinks, pipes, sockets and devices.

use crate::{
    Case, Place, case,
    say::{kind, links, mode, said, stat, value},
};
use rustix::fs::{self as r, AtFlags, CWD, FileType, Mode, OFlags};
use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::{PermissionsExt, symlink},
};

const MODE: Mode = Mode::from_raw_mode(0o644);

fn two(place: &Place) {
    fs::write(place.at("a"), "one").unwrap();
    r::link(place.at("a"), place.at("b")).unwrap();
}

pub(crate) fn cases() -> Vec<Case> {
    let one = |name, expect, play: fn(&Place) -> String| case("links", name, expect, play);
    vec![
        one("a new file has one name", "1", |p| {
            fs::write(p.at("a"), "").unwrap();
            links(&p.at("a"))
        }),
        one("link counts", "2 2", |p| {
            two(p);
            format!("{} {}", links(&p.at("a")), links(&p.at("b")))
        }),
        one("names share an inode", "true", |p| {
            two(p);
            (stat(&p.at("a")).st_ino == stat(&p.at("b")).st_ino).to_string()
        }),
        one("names share the content", "two", |p| {
            two(p);
            fs::write(p.at("b"), "two").unwrap();
            fs::read_to_string(p.at("a")).unwrap()
        }),
        one("names share mode and times", "600 5", |p| {
            two(p);
            fs::set_permissions(p.at("b"), fs::Permissions::from_mode(0o600)).unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(5);
            fs::File::open(p.at("b"))
                .unwrap()
                .set_modified(time)
                .unwrap();
            format!("{} {}", mode(&p.at("a")), stat(&p.at("a")).st_mtime)
        }),
        one("names share xattrs", "v", |p| {
            two(p);
            r::setxattr(p.at("a"), "user.x", b"v", r::XattrFlags::empty()).unwrap();
            let mut value = [0; 9];
            let len = r::getxattr(p.at("b"), "user.x", &mut value).unwrap();
            String::from_utf8_lossy(&value[..len]).into_owned()
        }),
        one("unlink counts down", "1 file3", |p| {
            two(p);
            r::unlink(p.at("a")).unwrap();
            format!("{} {}", links(&p.at("b")), kind(&p.at("b")))
        }),
        one("the second name goes, the first stays", "1 file3", |p| {
            two(p);
            r::unlink(p.at("b")).unwrap();
            format!("{} {}", links(&p.at("a")), kind(&p.at("a")))
        }),
        one("an open file without a name has none", "0", |p| {
            fs::write(p.at("a"), "x").unwrap();
            let open = fs::File::open(p.at("a")).unwrap();
            r::unlink(p.at("a")).unwrap();
            r::fstat(&open).unwrap().st_nlink.to_string()
        }),
        one("over an existing name", "EEXIST", |p| {
            two(p);
            said(r::link(p.at("a"), p.at("b")))
        }),
        one("of a folder", "EPERM", |p| {
            fs::create_dir(p.at("d")).unwrap();
            said(r::link(p.at("d"), p.at("e")))
        }),
        one("to another filesystem", "EXDEV", |p| {
            fs::write(p.at("a"), "").unwrap();
            said(r::link(p.at("a"), p.elsewhere.join("there")))
        }),
        one("of a symlink is of the symlink", "link 2", |p| {
            symlink("x", p.at("a")).unwrap();
            r::link(p.at("a"), p.at("b")).unwrap();
            format!("{} {}", kind(&p.at("b")), links(&p.at("a")))
        }),
        one(
            "of a symlink's target, with AT_SYMLINK_FOLLOW",
            "file3 2",
            |p| {
                fs::write(p.at("f"), "abc").unwrap();
                symlink("f", p.at("a")).unwrap();
                r::linkat(CWD, p.at("a"), CWD, p.at("b"), AtFlags::SYMLINK_FOLLOW).unwrap();
                format!("{} {}", kind(&p.at("b")), links(&p.at("f")))
            },
        ),
        one("of a pipe", "fifo 2", |p| {
            r::mkfifoat(CWD, p.at("a"), MODE).unwrap();
            r::link(p.at("a"), p.at("b")).unwrap();
            format!("{} {}", kind(&p.at("b")), links(&p.at("a")))
        }),
        one("into another folder, then renamed", "2 one", |p| {
            two(p);
            fs::create_dir(p.at("d")).unwrap();
            r::rename(p.at("b"), p.at("d/c")).unwrap();
            r::rename(p.at("d"), p.at("e")).unwrap();
            let text = fs::read_to_string(p.at("e/c")).unwrap();
            format!("{} {text}", links(&p.at("a")))
        }),
        one("200 names", "201", |p| {
            fs::write(p.at("a"), "x").unwrap();
            for n in 0..200 {
                r::link(p.at("a"), p.at(&format!("n{n}"))).unwrap();
            }
            links(&p.at("n77"))
        }),
        one("rename over one of two names", "1 new one", |p| {
            two(p);
            fs::write(p.at("c"), "new").unwrap();
            r::rename(p.at("c"), p.at("b")).unwrap();
            let text = |name| fs::read_to_string(p.at(name)).unwrap();
            format!("{} {} {}", links(&p.at("a")), text("b"), text("a"))
        }),
        one("exchange of two names of two files", "2 2", |p| {
            two(p);
            fs::write(p.at("c"), "other").unwrap();
            r::link(p.at("c"), p.at("d")).unwrap();
            r::renameat_with(CWD, p.at("a"), CWD, p.at("c"), r::RenameFlags::EXCHANGE).unwrap();
            format!("{} {}", links(&p.at("a")), links(&p.at("c")))
        }),
        one("changes the ctime", "true", |p| {
            fs::write(p.at("a"), "x").unwrap();
            let ctime = || (stat(&p.at("a")).st_ctime, stat(&p.at("a")).st_ctime_nsec);
            let before = ctime();
            std::thread::sleep(std::time::Duration::from_millis(15));
            r::link(p.at("a"), p.at("b")).unwrap();
            (ctime() > before).to_string()
        }),
        one("of an open file without a name", "ENOENT", |p| {
            fs::write(p.at("a"), "x").unwrap();
            let open = fs::File::open(p.at("a")).unwrap();
            r::unlink(p.at("a")).unwrap();
            let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&open));
            said(r::linkat(
                CWD,
                path,
                CWD,
                p.at("b"),
                AtFlags::SYMLINK_FOLLOW,
            ))
        }),
        one("O_TMPFILE and linkat", "ok hidden", |p| {
            let flags = OFlags::TMPFILE | OFlags::RDWR;
            let open = match r::open(&p.dir, flags, MODE) {
                Ok(open) => open,
                Err(error) => return said::<()>(Err(error)),
            };
            let mut file = fs::File::from(open);
            file.write_all(b"hidden").unwrap();
            let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
            let linked = said(r::linkat(
                CWD,
                path,
                CWD,
                p.at("b"),
                AtFlags::SYMLINK_FOLLOW,
            ));
            format!("{linked} {}", fs::read_to_string(p.at("b")).unwrap())
        }),
        one(
            "a symlink keeps its target to the byte",
            "..//x/./é y",
            |p| {
                symlink("..//x/./é y", p.at("a")).unwrap();
                fs::read_link(p.at("a")).unwrap().display().to_string()
            },
        ),
        one("a symlink's size is its target's", "7 777", |p| {
            symlink("1234567", p.at("a")).unwrap();
            format!("{} {}", stat(&p.at("a")).st_size, mode(&p.at("a")))
        }),
        one("a symlink of 4,000 bytes", "4000", |p| {
            symlink("t".repeat(4000), p.at("a")).unwrap();
            fs::read_link(p.at("a"))
                .unwrap()
                .as_os_str()
                .len()
                .to_string()
        }),
        one("an empty symlink", "ENOENT", |p| {
            said(r::symlink("", p.at("a")))
        }),
        one("40 symlinks in a row", "ok", |p| {
            fs::write(p.at("l0"), "").unwrap();
            for n in 0..40 {
                symlink(format!("l{n}"), p.at(&format!("l{}", n + 1))).unwrap();
            }
            said(r::stat(p.at("l40")))
        }),
        one("41 symlinks in a row", "ELOOP", |p| {
            fs::write(p.at("l0"), "").unwrap();
            for n in 0..41 {
                symlink(format!("l{n}"), p.at(&format!("l{}", n + 1))).unwrap();
            }
            said(r::stat(p.at("l41")))
        }),
        one("lchown of a symlink", "7 8", |p| {
            symlink("x", p.at("a")).unwrap();
            std::os::unix::fs::lchown(p.at("a"), Some(7), Some(8)).unwrap();
            format!("{} {}", stat(&p.at("a")).st_uid, stat(&p.at("a")).st_gid)
        }),
        one("lutimens of a symlink", "9.5", |p| {
            symlink("x", p.at("a")).unwrap();
            let time = r::Timespec {
                tv_sec: 9,
                tv_nsec: 5,
            };
            let times = r::Timestamps {
                last_access: time,
                last_modification: time,
            };
            r::utimensat(CWD, p.at("a"), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
            let s = stat(&p.at("a"));
            format!("{}.{}", s.st_mtime, s.st_mtime_nsec)
        }),
        one("a pipe carries bytes", "fifo through", |p| {
            r::mkfifoat(CWD, p.at("a"), MODE).unwrap();
            let path = p.at("a");
            let reader = std::thread::spawn(move || {
                let mut text = String::new();
                fs::File::open(path)
                    .unwrap()
                    .read_to_string(&mut text)
                    .unwrap();
                text
            });
            fs::write(p.at("a"), "through").unwrap();
            format!("{} {}", kind(&p.at("a")), reader.join().unwrap())
        }),
        one("a pipe's mode", "640 0", |p| {
            r::mkfifoat(CWD, p.at("a"), Mode::from_raw_mode(0o640)).unwrap();
            format!("{} {}", mode(&p.at("a")), stat(&p.at("a")).st_size)
        }),
        one("a socket is bound and connected to", "socket", |p| {
            let _listens = std::os::unix::net::UnixListener::bind(p.at("a")).unwrap();
            std::os::unix::net::UnixStream::connect(p.at("a")).unwrap();
            kind(&p.at("a"))
        }),
        one("a socket's name is taken", "EADDRINUSE", |p| {
            let _listens = std::os::unix::net::UnixListener::bind(p.at("a")).unwrap();
            match std::os::unix::net::UnixListener::bind(p.at("a")) {
                Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => "EADDRINUSE".to_owned(),
                other => said(other),
            }
        }),
        one("mknod of a socket", "socket", |p| {
            r::mknodat(CWD, p.at("a"), FileType::Socket, MODE, 0).unwrap();
            kind(&p.at("a"))
        }),
        one("mknod of a file", "file0 600", |p| {
            r::mknodat(
                CWD,
                p.at("a"),
                FileType::RegularFile,
                Mode::from_raw_mode(0o600),
                0,
            )
            .unwrap();
            format!("{} {}", kind(&p.at("a")), mode(&p.at("a")))
        }),
        one("mknod of a character device", "char 1:3", |p| {
            let dev = r::makedev(1, 3);
            r::mknodat(CWD, p.at("a"), FileType::CharacterDevice, MODE, dev).unwrap();
            let s = stat(&p.at("a"));
            format!(
                "{} {}:{}",
                kind(&p.at("a")),
                r::major(s.st_rdev),
                r::minor(s.st_rdev)
            )
        }),
        one(
            "mknod of a block device with large numbers",
            "block 259:70000",
            |p| {
                let dev = r::makedev(259, 70000);
                r::mknodat(CWD, p.at("a"), FileType::BlockDevice, MODE, dev).unwrap();
                let s = stat(&p.at("a"));
                format!(
                    "{} {}:{}",
                    kind(&p.at("a")),
                    r::major(s.st_rdev),
                    r::minor(s.st_rdev)
                )
            },
        ),
        one("mknod over a name", "EEXIST", |p| {
            fs::write(p.at("a"), "").unwrap();
            said(r::mknodat(CWD, p.at("a"), FileType::Fifo, MODE, 0))
        }),
        one("truncate of a pipe", "EINVAL", |p| {
            r::mkfifoat(CWD, p.at("a"), MODE).unwrap();
            said(nix::unistd::truncate(&p.at("a"), 0))
        }),
        one(
            "a pipe without a reader, O_WRONLY|O_NONBLOCK",
            "ENXIO",
            |p| {
                r::mkfifoat(CWD, p.at("a"), MODE).unwrap();
                said(r::open(p.at("a"), OFlags::WRONLY | OFlags::NONBLOCK, MODE))
            },
        ),
        one("readlink of a file", "EINVAL", |p| {
            fs::write(p.at("a"), "").unwrap();
            said(r::readlink(p.at("a"), Vec::new()))
        }),
        one("65,000 bytes of target", "ENAMETOOLONG", |p| {
            value(r::symlink("t".repeat(65_000), p.at("a")).map(|()| "ok"))
        }),
    ]
}
