//! Reading, writing, sizes, holes, copies.

use crate::{
    Case, Place, case,
    say::{kind, said, stat, value},
};
use rustix::{
    fs::{self as r, FallocateFlags, Mode, OFlags, SeekFrom},
    io as rio,
};
use std::{
    fs::{self, File},
    io::{Read, Seek, Write},
    os::{fd::OwnedFd, unix::fs::FileExt},
};

const MODE: Mode = Mode::from_raw_mode(0o644);
const MIB: u64 = 1 << 20;

fn open(place: &Place, flags: OFlags) -> OwnedFd {
    r::open(place.at("f"), flags | OFlags::CREATE, MODE).unwrap()
}

fn rw(place: &Place) -> File {
    open(place, OFlags::RDWR).into()
}

fn text(place: &Place) -> String {
    let bytes = fs::read(place.at("f")).unwrap();
    String::from_utf8_lossy(&bytes).replace('\0', "0")
}

fn digits(place: &Place) -> File {
    fs::write(place.at("f"), "0123456789").unwrap();
    rw(place)
}

/// A file of 4 MiB with data in its second MiB only.
fn holes(place: &Place) -> File {
    let file = rw(place);
    file.set_len(4 * MIB).unwrap();
    file.write_all_at(&vec![7; MIB as usize], MIB).unwrap();
    file
}

fn allocate(file: &File, mode: FallocateFlags, offset: u64, len: u64) -> String {
    let answer = said(r::fallocate(file, mode, offset, len));
    format!("{answer} {}", file.metadata().unwrap().len())
}

fn handles(cases: &mut Vec<Case>) {
    let one = |name, expect, play: fn(&Place) -> String| case("content", name, expect, play);
    cases.extend([
        one("O_APPEND from two handles", "aabb", |p| {
            let (a, b) = (open(p, OFlags::WRONLY | OFlags::APPEND), open(p, OFlags::WRONLY | OFlags::APPEND));
            rio::write(&a, b"aa").unwrap();
            rio::write(&b, b"bb").unwrap();
            text(p)
        }),
        one("O_APPEND and pwrite appends on Linux", "0123456789x", |p| {
            digits(p);
            let a = open(p, OFlags::WRONLY | OFlags::APPEND);
            rio::pwrite(&a, b"x", 2).unwrap();
            text(p)
        }),
        one("O_TRUNC", "file0", |p| {
            digits(p);
            drop(open(p, OFlags::WRONLY | OFlags::TRUNC));
            kind(&p.at("f"))
        }),
        one("O_RDONLY|O_TRUNC truncates on Linux", "file0", |p| {
            digits(p);
            drop(open(p, OFlags::TRUNC));
            kind(&p.at("f"))
        }),
        one("write to a handle for reading", "EBADF", |p| said(rio::write(open(p, OFlags::RDONLY), b"x"))),
        one("read from a handle for writing", "EBADF", |p| said(rio::read(open(p, OFlags::WRONLY), &mut [0u8; 1]))),
        one("ftruncate of a handle for reading", "EINVAL", |p| said(r::ftruncate(open(p, OFlags::RDONLY), 3))),
        one("read of a folder", "EISDIR", |p| {
            let folder = r::open(&p.dir, OFlags::RDONLY, MODE).unwrap();
            said(rio::read(folder, &mut [0u8; 1]))
        }),
        one("read past the end", "0", |p| value(rio::pread(digits(p), &mut [0u8; 9], 100))),
        one("read across the end", "3", |p| value(rio::pread(digits(p), &mut [0u8; 9], 7))),
        one("write past the end leaves zeros", "01234567890000x", |p| {
            digits(p).write_all_at(b"x", 14).unwrap();
            text(p)
        }),
        one("write of nothing past the end", "0 file10", |p| {
            let n = value(rio::pwrite(digits(p), b"", 100));
            format!("{n} {}", kind(&p.at("f")))
        }),
        one("shrink and grow shows zeros", "012000", |p| {
            let file = digits(p);
            file.set_len(3).unwrap();
            file.set_len(6).unwrap();
            text(p)
        }),
        one("shrink below a cached page, write behind it", "01200x", |p| {
            let file = digits(p);
            let mut all = [0; 10];
            file.read_exact_at(&mut all, 0).unwrap();
            file.set_len(3).unwrap();
            file.write_all_at(b"x", 5).unwrap();
            text(p)
        }),
        one("ftruncate beyond every limit", "EFBIG", |p| said(r::ftruncate(rw(p), 1 << 60))),
        // Where the kernel keeps writes, it learns of the limit with the next sync.
        one("pwrite beyond every limit, and fsync", "EFBIG", |p| {
            let file = rw(p);
            match rio::pwrite(&file, b"x", 1 << 60) {
                Ok(_) => {
                    let answer = said(r::fsync(&file));
                    // Else the next one who asks of the whole filesystem is told.
                    let _ = r::syncfs(&file);
                    answer
                }
                refused => said(refused),
            }
        }),
        one("ftruncate of a negative size", "EINVAL", |p| said(r::ftruncate(rw(p), 1 << 63))),
        one("pread of a negative offset", "EINVAL", |p| said(rio::pread(rw(p), &mut [0u8; 1], 1 << 63))),
        one("an offset shared by duplicates", "3", |p| {
            let mut one = digits(p);
            let mut two = one.try_clone().unwrap();
            one.read_exact(&mut [0; 3]).unwrap();
            two.stream_position().unwrap().to_string()
        }),
        one("unlinked and open: read and write", "0123x56789", |p| {
            let mut file = digits(p);
            r::unlink(p.at("f")).unwrap();
            file.write_all_at(b"x", 4).unwrap();
            let mut all = String::new();
            file.read_to_string(&mut all).unwrap();
            all
        }),
        one("unlinked and open: the name is free", "new", |p| {
            let old = digits(p);
            r::unlink(p.at("f")).unwrap();
            fs::write(p.at("f"), "new").unwrap();
            old.set_len(0).unwrap();
            text(p)
        }),
        one("unlinked and open: ftruncate, fstat, fchmod", "ok 5 600", |p| {
            let file = digits(p);
            r::unlink(p.at("f")).unwrap();
            file.set_len(5).unwrap();
            let answer = said(r::fchmod(&file, Mode::from_raw_mode(0o600)));
            let s = r::fstat(&file).unwrap();
            format!("{answer} {} {:o}", s.st_size, s.st_mode & 0o777)
        }),
        one("unlinked and open: opened again through /proc", "0123456789", |p| {
            let file = digits(p);
            r::unlink(p.at("f")).unwrap();
            let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
            value(fs::read_to_string(path))
        }),
        one("writev and preadv", "abcdef cd", |p| {
            let file = rw(p);
            let parts = [&b"ab"[..], b"cd", b"ef"].map(std::io::IoSlice::new);
            rio::writev(&file, &parts).unwrap();
            let mut two = [0u8; 2];
            rio::preadv(&file, &mut [std::io::IoSliceMut::new(&mut two)], 2).unwrap();
            format!("{} {}", text(p), String::from_utf8_lossy(&two))
        }),
        one("O_DIRECT write and read", "4096 true", |p| {
            let fd = open(p, OFlags::RDWR | OFlags::DIRECT);
            // A buffer that begins at a page, in safe code.
            let room = vec![9u8; 3 * 4096];
            let start = room.as_ptr().align_offset(4096);
            let n = value(rio::pwrite(&fd, &room[start..start + 4096], 0));
            let mut back = vec![0u8; 3 * 4096];
            let start = back.as_ptr().align_offset(4096);
            rio::pread(&fd, &mut back[start..start + 4096], 0).unwrap();
            format!("{n} {}", back[start..start + 4096] == [9; 4096])
        }),
        one("O_SYNC", "2", |p| value(rio::write(open(p, OFlags::WRONLY | OFlags::SYNC), b"ab"))),
        one("fsync, fdatasync, syncfs", "ok ok ok", |p| {
            let file = digits(p);
            format!("{} {} {}", said(r::fsync(&file)), said(r::fdatasync(&file)), said(r::syncfs(&file)))
        }),
        one("fsync of a folder", "ok", |p| said(r::fsync(File::open(&p.dir).unwrap()))),
        one("fsync of a handle for reading", "ok", |p| {
            digits(p);
            said(r::fsync(open(p, OFlags::RDONLY)))
        }),
        one("mmap shared, written, msync, read", "ok hello", |p| {
            fs::write(p.at("f"), vec![0; 100_000]).unwrap();
            let script = "import mmap,sys\nf=open(sys.argv[1],'r+b')\nm=mmap.mmap(f.fileno(),100000)\nm[50000:50005]=b'hello'\nm.flush()\n";
            python(p, script, &[50_000, 5])
        }),
        one("mmap shared sees what is written", "ok hello", |p| {
            fs::write(p.at("f"), vec![0; 100_000]).unwrap();
            let script = "import mmap,sys,os\nf=open(sys.argv[1],'r+b')\nm=mmap.mmap(f.fileno(),100000)\nm[0]\nos.pwrite(f.fileno(),b'hello',70000)\nassert m[70000:70005]==b'hello'\n";
            python(p, script, &[70_000, 5])
        }),
        one("mmap private does not write", "ok 00000", |p| {
            fs::write(p.at("f"), vec![0; 100_000]).unwrap();
            let script = "import mmap,sys\nf=open(sys.argv[1],'r+b')\nm=mmap.mmap(f.fileno(),100000,flags=mmap.MAP_PRIVATE)\nm[0:5]=b'hello'\n";
            python(p, script, &[0, 5])
        }),
        one("mmap written after the file was closed", "ok hello", |p| {
            fs::write(p.at("f"), vec![0; 100_000]).unwrap();
            let script = "import mmap,sys\nf=open(sys.argv[1],'r+b')\nm=mmap.mmap(f.fileno(),100000)\nf.close()\nm[9:14]=b'hello'\nm.close()\n";
            python(p, script, &[9, 5])
        }),
    ]);
}

fn python(place: &Place, script: &str, range: &[usize; 2]) -> String {
    let status = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(place.at("f"))
        .status()
        .unwrap();
    let bytes = fs::read(place.at("f")).unwrap();
    let part = String::from_utf8_lossy(&bytes[range[0]..range[0] + range[1]]).replace('\0', "0");
    format!("{} {part}", if status.success() { "ok" } else { "failed" })
}

fn spaces(cases: &mut Vec<Case>) {
    let one = |name, expect, play: fn(&Place) -> String| case("holes", name, expect, play);
    cases.extend([
        one("SEEK_DATA before data", "1048576", |p| {
            value(r::seek(holes(p), SeekFrom::Data(0)))
        }),
        one("SEEK_DATA in data", "1048677", |p| {
            value(r::seek(holes(p), SeekFrom::Data(MIB + 101)))
        }),
        one("SEEK_DATA in the last hole", "ENXIO", |p| {
            value(r::seek(holes(p), SeekFrom::Data(3 * MIB)))
        }),
        one("SEEK_DATA at the end", "ENXIO", |p| {
            value(r::seek(holes(p), SeekFrom::Data(4 * MIB)))
        }),
        one("SEEK_HOLE before data", "0", |p| {
            value(r::seek(holes(p), SeekFrom::Hole(0)))
        }),
        one("SEEK_HOLE in data", "2097152", |p| {
            value(r::seek(holes(p), SeekFrom::Hole(MIB)))
        }),
        one("SEEK_HOLE in a file without one", "10", |p| {
            value(r::seek(digits(p), SeekFrom::Hole(0)))
        }),
        one("SEEK_HOLE past the end", "ENXIO", |p| {
            value(r::seek(digits(p), SeekFrom::Hole(11)))
        }),
        one("SEEK_DATA in an empty file", "ENXIO", |p| {
            value(r::seek(rw(p), SeekFrom::Data(0)))
        }),
        one("SEEK_SET past the end", "99", |p| {
            value(r::seek(digits(p), SeekFrom::Start(99)))
        }),
        one("SEEK_END", "8", |p| {
            value(r::seek(digits(p), SeekFrom::End(-2)))
        }),
        one("SEEK_CUR before the beginning", "EINVAL", |p| {
            value(r::seek(digits(p), SeekFrom::Current(-2)))
        }),
        one("a hole takes no blocks", "true", |p| {
            rw(p).set_len(64 * MIB).unwrap();
            (stat(&p.at("f")).st_blocks < 100).to_string()
        }),
        one(
            "data takes blocks, once it is closed and on disk",
            "true",
            |p| {
                let file = holes(p);
                file.sync_all().unwrap();
                drop(file);
                (stat(&p.at("f")).st_blocks >= 2048).to_string()
            },
        ),
        one("fallocate grows", "ok 8192", |p| {
            allocate(&digits(p), FallocateFlags::empty(), 0, 8192)
        }),
        one(
            "fallocate in a file keeps its bytes",
            "ok 10 0123456789",
            |p| {
                let answer = allocate(&digits(p), FallocateFlags::empty(), 0, 5);
                format!("{answer} {}", text(p))
            },
        ),
        one("fallocate KEEP_SIZE", "ok 10", |p| {
            allocate(&digits(p), FallocateFlags::KEEP_SIZE, 0, 8192)
        }),
        one("fallocate PUNCH_HOLE|KEEP_SIZE", "ok 10 0120006789", |p| {
            let answer = allocate(
                &digits(p),
                FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
                3,
                3,
            );
            format!("{answer} {}", text(p))
        }),
        one("fallocate PUNCH_HOLE alone", "EOPNOTSUPP 10", |p| {
            allocate(&digits(p), FallocateFlags::PUNCH_HOLE, 3, 3)
        }),
        one("fallocate PUNCH_HOLE past the end", "ok 10", |p| {
            allocate(
                &digits(p),
                FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
                100,
                3,
            )
        }),
        one("fallocate ZERO_RANGE", "ok 10 0120006789", |p| {
            let answer = allocate(&digits(p), FallocateFlags::ZERO_RANGE, 3, 3);
            format!("{answer} {}", text(p))
        }),
        one("fallocate ZERO_RANGE across the end", "ok 20", |p| {
            allocate(&digits(p), FallocateFlags::ZERO_RANGE, 5, 15)
        }),
        one(
            "fallocate ZERO_RANGE|KEEP_SIZE across the end",
            "ok 10 0123400000",
            |p| {
                let answer = allocate(
                    &digits(p),
                    FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE,
                    5,
                    15,
                );
                format!("{answer} {}", text(p))
            },
        ),
        one("fallocate COLLAPSE_RANGE", "ok 4096", |p| {
            fs::write(p.at("f"), vec![1; 8192]).unwrap();
            allocate(&rw(p), FallocateFlags::COLLAPSE_RANGE, 0, 4096)
        }),
        one("fallocate INSERT_RANGE", "ok 12288", |p| {
            fs::write(p.at("f"), vec![1; 8192]).unwrap();
            allocate(&rw(p), FallocateFlags::INSERT_RANGE, 0, 4096)
        }),
        one("fallocate of nothing", "EINVAL 10", |p| {
            allocate(&digits(p), FallocateFlags::empty(), 0, 0)
        }),
        one("fallocate beyond every limit", "EFBIG 10", |p| {
            allocate(&digits(p), FallocateFlags::empty(), 1 << 60, 10)
        }),
        one("fallocate of a handle for reading", "EBADF", |p| {
            said(r::fallocate(
                open(p, OFlags::RDONLY),
                FallocateFlags::empty(),
                0,
                10,
            ))
        }),
        one("fallocate of a folder", "EBADF", |p| {
            said(r::fallocate(
                File::open(&p.dir).unwrap(),
                FallocateFlags::empty(),
                0,
                10,
            ))
        }),
    ]);
}

fn copies(cases: &mut Vec<Case>) {
    let one =
        |name, expect, play: fn(&Place) -> String| case("copy_file_range", name, expect, play);
    fn copy(place: &Place, from: u64, to: u64, len: usize) -> String {
        let file = digits(place);
        let target = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(place.at("g"))
            .unwrap();
        let (mut a, mut b) = (from, to);
        let n = value(r::copy_file_range(
            &file,
            Some(&mut a),
            &target,
            Some(&mut b),
            len,
        ));
        let bytes = fs::read(place.at("g")).unwrap();
        format!("{n} {}", String::from_utf8_lossy(&bytes).replace('\0', "0"))
    }
    cases.extend([
        one("all of it", "10 0123456789", |p| copy(p, 0, 0, 10)),
        one("a part to a place past the end", "3 00345", |p| {
            copy(p, 3, 2, 3)
        }),
        one("across the end", "2 89", |p| copy(p, 8, 0, 10)),
        one("past the end", "0 ", |p| copy(p, 20, 0, 10)),
        one("of nothing", "0 ", |p| copy(p, 0, 0, 0)),
        one("within a file", "3 0120126789", |p| {
            let file = digits(p);
            let (mut a, mut b) = (0, 3);
            let n = value(r::copy_file_range(
                &file,
                Some(&mut a),
                &file,
                Some(&mut b),
                3,
            ));
            format!("{n} {}", text(p))
        }),
        one("within a file, overlapping", "EINVAL", |p| {
            let file = digits(p);
            let (mut a, mut b) = (0, 2);
            value(r::copy_file_range(
                &file,
                Some(&mut a),
                &file,
                Some(&mut b),
                5,
            ))
        }),
        one("to a handle for reading", "EBADF", |p| {
            let file = digits(p);
            value(r::copy_file_range(
                &file,
                None,
                open(p, OFlags::RDONLY),
                None,
                5,
            ))
        }),
        one("to a handle that appends", "EBADF", |p| {
            let file = digits(p);
            value(r::copy_file_range(
                &file,
                None,
                open(p, OFlags::WRONLY | OFlags::APPEND),
                None,
                5,
            ))
        }),
        one("to a folder", "EISDIR", |p| {
            let file = digits(p);
            value(r::copy_file_range(
                &file,
                None,
                File::open(&p.dir).unwrap(),
                None,
                5,
            ))
        }),
        one("offsets of the handles move", "4 4 4", |p| {
            let mut file = digits(p);
            let mut target = File::create(p.at("g")).unwrap();
            let n = value(r::copy_file_range(&file, None, &target, None, 4));
            format!(
                "{n} {} {}",
                file.stream_position().unwrap(),
                target.stream_position().unwrap()
            )
        }),
        one("what was just written is copied", "5 fresh", |p| {
            let mut file = rw(p);
            file.write_all(b"fresh").unwrap();
            let target = File::create(p.at("g")).unwrap();
            let mut at = 0;
            let n = value(r::copy_file_range(&file, Some(&mut at), &target, None, 5));
            format!("{n} {}", fs::read_to_string(p.at("g")).unwrap())
        }),
        one("what is read after it is the copy", "01234", |p| {
            fs::write(p.at("g"), "xxxxx").unwrap();
            let target = File::options()
                .read(true)
                .write(true)
                .open(p.at("g"))
                .unwrap();
            target.read_exact_at(&mut [0; 5], 0).unwrap();
            r::copy_file_range(digits(p), None, &target, None, 5).unwrap();
            fs::read_to_string(p.at("g")).unwrap()
        }),
        one("3 MiB and a bit", "true", |p| {
            let bytes: Vec<u8> = (0..3 * MIB + 77).map(|n| (n / 1000) as u8).collect();
            fs::write(p.at("f"), &bytes).unwrap();
            fs::copy(p.at("f"), p.at("g")).unwrap();
            (fs::read(p.at("g")).unwrap() == bytes).to_string()
        }),
    ]);
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    handles(&mut cases);
    spaces(&mut cases);
    copies(&mut cases);
    cases
}
