//! One method per request: unpack, call, reply.

use super::{
    answer::{asked, attr, kind, nothing, special},
    mount::MountOptions,
};
use crate::vfs::{
    Allocate, Ino, Listed, OpenMode, Owner, RenameMode, SeekFor, SetAttrs, Stat, Time, Vfs,
    VfsError, XattrMode, errno,
};
use bytes::Bytes;
use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags, Generation,
    INodeNo, InitFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen,
    ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use std::{
    ffi::OsStr,
    future::Future,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};
use tokio::runtime::Handle;

/// How long the kernel may believe what it was told. All that changes goes through it or is told to it.
const BELIEVED: Duration = Duration::from_secs(60);
/// Largest request.
const REQUEST_BYTES_MAX: u32 = 1024 * 1024;
/// Lines of a listing that are looked up at once.
const LISTED_AT_ONCE: usize = 256;
const GENERATION: Generation = Generation(0);

type Result<T> = std::result::Result<T, VfsError>;

pub(super) struct Adapter {
    vfs: Arc<Vfs>,
    runtime: Handle,
    deadline: Duration,
    /// The kernel may keep writes for a moment.
    write_back: bool,
    /// Threads that answer the kernel, and how many of them wait for the disk.
    threads: usize,
    at_disk: AtomicUsize,
}

impl Adapter {
    pub(super) fn new(
        vfs: Arc<Vfs>,
        runtime: Handle,
        options: &MountOptions,
        write_back: bool,
    ) -> Self {
        Self {
            vfs,
            runtime,
            deadline: options.deadline,
            write_back,
            threads: options.threads,
            at_disk: AtomicUsize::new(0),
        }
    }

    /// Answers now what can be answered now; what must wait goes on as a task, under the deadline. A panic drops the reply, and
    /// a dropped reply is `EIO`.
    fn answer<R, T, F>(
        &self,
        reply: R,
        work: impl FnOnce(Arc<Vfs>) -> F,
        done: impl FnOnce(R, Result<T>) + Send + 'static,
    ) where
        R: Send + 'static,
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let mut work: Pin<Box<dyn Future<Output = Result<T>> + Send>> =
            Box::pin(work(self.vfs.clone()));
        let polled = {
            let _runtime = self.runtime.enter();
            let mut context = Context::from_waker(Waker::noop());
            catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(&mut context)))
        };
        match polled {
            Ok(Poll::Ready(result)) => {
                // It may hold the other half of the reply.
                drop(work);
                done(reply, result);
            }
            Ok(Poll::Pending) => {
                let deadline = self.deadline;
                self.runtime.spawn(async move {
                    let result = tokio::time::timeout(deadline, work).await;
                    done(reply, result.unwrap_or(Err(VfsError::TimedOut)));
                });
            }
            Err(_) => tracing::error!("a request panicked and was answered with EIO"),
        }
    }

    /// As [`answer`](Self::answer), for what never waits.
    fn at_once<R, T>(
        &self,
        reply: R,
        work: impl FnOnce(&Vfs) -> Result<T>,
        done: impl FnOnce(R, Result<T>),
    ) {
        match catch_unwind(AssertUnwindSafe(|| work(&self.vfs))) {
            Ok(result) => done(reply, result),
            Err(_) => tracing::error!("a request panicked and was answered with EIO"),
        }
    }

    /// Waits for the disk on this thread, which takes less time than to wake another that does and a third that answers; as a task where no thread would be
    /// left for what else the kernel asks.
    fn sync(&self, reply: ReplyEmpty) {
        let others = self.at_disk.fetch_add(1, Ordering::Relaxed);
        if others + 1 < self.threads {
            self.at_once(reply, Vfs::sync_blocking, empty);
        } else {
            self.answer(reply, |vfs| async move { vfs.sync().await }, empty);
        }
        self.at_disk.fetch_sub(1, Ordering::Relaxed);
    }
}

fn number(error: &VfsError) -> Errno {
    let number = errno(error);
    if number == libc::EIO {
        tracing::error!(%error, "EIO");
    }
    Errno::from_i32(number)
}

fn owner(request: &Request) -> Owner {
    Owner {
        uid: request.uid(),
        gid: request.gid(),
    }
}

fn empty(reply: ReplyEmpty, result: Result<()>) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(number(&error)),
    }
}

fn entry(reply: ReplyEntry, result: Result<Stat>) {
    match result {
        Ok(stat) => reply.entry(&BELIEVED, &attr(&stat), GENERATION),
        Err(error) => reply.error(number(&error)),
    }
}

fn sized(reply: ReplyXattr, size: u32, result: Result<Vec<u8>>) {
    match result {
        Ok(bytes) if size == 0 => reply.size(u32::try_from(bytes.len()).unwrap_or(u32::MAX)),
        Ok(bytes) if bytes.len() <= size as usize => reply.data(&bytes),
        Ok(_) => reply.error(number(&VfsError::BufferTooSmall)),
        Err(error) => reply.error(number(&error)),
    }
}

fn open_mode(flags: i32) -> OpenMode {
    OpenMode {
        write: flags & libc::O_ACCMODE != libc::O_RDONLY,
        truncate: flags & libc::O_TRUNC != 0,
        exclusive: flags & libc::O_EXCL != 0,
    }
}

fn xattr_name(name: &OsStr) -> Result<&str> {
    name.to_str().ok_or(VfsError::NameNotText)
}

/// All lines from `offset` on that `add` takes; it answers true when its buffer is full.
async fn list(
    vfs: &Vfs,
    ino: Ino,
    handle: u64,
    mut offset: u64,
    mut add: impl FnMut(&Listed) -> bool + Send,
) -> Result<()> {
    let mut added = false;
    loop {
        let lines = match vfs.read_folder(ino, handle, offset, LISTED_AT_ONCE).await {
            // The kernel counts the lines that it was given already; it hears of the error when it asks on.
            Err(_) if added => return Ok(()),
            lines => lines?,
        };
        for line in &lines {
            if add(line) {
                return Ok(());
            }
            (offset, added) = (line.next, true);
        }
        if lines.len() < LISTED_AT_ONCE {
            return Ok(());
        }
    }
}

impl Filesystem for Adapter {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Over io_uring the first request hangs.
        for flag in [
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_EXPLICIT_INVAL_DATA,
            InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
            InitFlags::FUSE_ASYNC_DIO,
            // Else the kernel asks for a file's capabilities before each write.
            InitFlags::FUSE_HANDLE_KILLPRIV_V2,
        ] {
            // What the kernel does not know is left out.
            let _ = config.add_capabilities(flag);
        }
        if self.write_back
            && config
                .add_capabilities(InitFlags::FUSE_WRITEBACK_CACHE)
                .is_ok()
        {
            self.vfs.kernel_keeps_writes();
        }
        let _ = config.set_max_write(REQUEST_BYTES_MAX);
        if let Err(most) = config.set_max_readahead(REQUEST_BYTES_MAX) {
            let _ = config.set_max_readahead(most);
        }
        let _ = config.set_max_background(64);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name.to_owned();
        let remembered = !self.vfs.is_hidden(parent.0);
        self.answer(
            reply,
            |vfs| async move { vfs.lookup(parent.0, &name).await },
            move |reply, result| match result {
                Err(VfsError::NotFound) if !remembered => reply.error(Errno::ENOENT),
                Err(VfsError::NotFound) => reply.entry(&BELIEVED, &nothing(), GENERATION),
                result => entry(reply, result),
            },
        );
    }

    fn forget(&self, _: &Request, ino: INodeNo, count: u64) {
        self.at_once(
            (),
            |vfs| {
                vfs.forget(ino.0, count);
                Ok(())
            },
            |(), _| {},
        );
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.at_once(
            reply,
            |vfs| vfs.stat(ino.0),
            |reply, result| match result {
                Ok(stat) => reply.attr(&BELIEVED, &attr(&stat)),
                Err(error) => reply.error(number(&error)),
            },
        );
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let time = |time: TimeOrNow| match time {
            TimeOrNow::SpecificTime(time) => asked(time),
            TimeOrNow::Now => Time::now(),
        };
        let set = SetAttrs {
            mode,
            uid,
            gid,
            atime: atime.map(time),
            mtime: mtime.map(time),
        };
        let root = request.uid() == 0;
        self.answer(
            reply,
            move |vfs| async move {
                if let Some(size) = size {
                    vfs.set_size(ino.0, size).await?;
                    if !root {
                        vfs.drop_privileges(ino.0).await?;
                    }
                }
                vfs.set_attrs(ino.0, set).await
            },
            |reply, result| match result {
                Ok(stat) => reply.attr(&BELIEVED, &attr(&stat)),
                Err(error) => reply.error(number(&error)),
            },
        );
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        self.at_once(
            reply,
            |vfs| vfs.read_link(ino.0),
            |reply, result| match result {
                Ok(target) => reply.data(target.as_bytes()),
                Err(error) => reply.error(number(&error)),
            },
        );
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let (name, owner) = (name.to_owned(), owner(request));
        self.answer(
            reply,
            move |vfs| async move {
                if let Some(special) = special(mode, rdev) {
                    return vfs
                        .make_special(parent.0, &name, mode, owner, special)
                        .await;
                }
                if mode & libc::S_IFMT != libc::S_IFREG {
                    return Err(VfsError::InvalidArgument);
                }
                vfs.make_file(parent.0, &name, mode, owner).await
            },
            entry,
        );
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        let (name, owner) = (name.to_owned(), owner(request));
        self.answer(
            reply,
            move |vfs| async move { vfs.make_folder(parent.0, &name, mode, owner).await },
            entry,
        );
    }

    fn symlink(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let (name, target, owner) = (
            name.to_owned(),
            target.as_os_str().to_owned(),
            owner(request),
        );
        self.answer(
            reply,
            move |vfs| async move { vfs.make_link(parent.0, &name, &target, owner).await },
            entry,
        );
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.to_owned();
        self.answer(
            reply,
            move |vfs| async move { vfs.unlink(parent.0, &name).await },
            empty,
        );
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.to_owned();
        self.answer(
            reply,
            move |vfs| async move { vfs.remove_folder(parent.0, &name).await },
            empty,
        );
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        to: INodeNo,
        to_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let (name, to_name) = (name.to_owned(), to_name.to_owned());
        self.answer(
            reply,
            move |vfs| async move {
                let mode = match flags {
                    RenameFlags::RENAME_NOREPLACE => RenameMode::NoReplace,
                    RenameFlags::RENAME_EXCHANGE => RenameMode::Exchange,
                    flags if flags.is_empty() => RenameMode::Replace,
                    _ => return Err(VfsError::InvalidArgument),
                };
                vfs.rename((parent.0, &name), (to.0, &to_name), mode).await
            },
            empty,
        );
    }

    fn link(&self, _: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name.to_owned();
        self.answer(
            reply,
            move |vfs| async move { vfs.link(ino.0, parent.0, &name).await },
            entry,
        );
    }

    fn copy_file_range(
        &self,
        _: &Request,
        from: INodeNo,
        _: FileHandle,
        offset: u64,
        to: INodeNo,
        _: FileHandle,
        to_offset: u64,
        len: u64,
        _: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        self.answer(
            reply,
            move |vfs| async move { vfs.copy((from.0, offset), (to.0, to_offset), len).await },
            |reply, result| match result {
                // One request copies at most 64 MiB.
                Ok(copied) => reply.written(u32::try_from(copied).unwrap_or_default()),
                Err(error) => reply.error(number(&error)),
            },
        );
    }

    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let how = match self.vfs.is_made(ino.0) {
            true => FopenFlags::FOPEN_DIRECT_IO,
            false => FopenFlags::FOPEN_KEEP_CACHE,
        };
        self.answer(
            reply,
            move |vfs| async move { vfs.open_file(ino.0, open_mode(flags.0)).await },
            move |reply, result| match result {
                Ok(handle) => reply.opened(FileHandle(handle), how),
                Err(error) => reply.error(number(&error)),
            },
        );
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (name, owner) = (name.to_owned(), owner(request));
        self.answer(
            reply,
            move |vfs| async move {
                vfs.create(parent.0, &name, mode, owner, open_mode(flags))
                    .await
            },
            |reply, result| match result {
                Ok((stat, handle)) => {
                    let flags = FopenFlags::FOPEN_KEEP_CACHE;
                    reply.created(
                        &BELIEVED,
                        &attr(&stat),
                        GENERATION,
                        FileHandle(handle),
                        flags,
                    );
                }
                Err(error) => reply.error(number(&error)),
            },
        );
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.answer(
            reply,
            move |vfs| async move { vfs.read(ino.0, offset, size as usize).await },
            |reply, result| match result {
                Ok(bytes) => reply.data(&bytes),
                Err(error) => reply.error(number(&error)),
            },
        );
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let data = Bytes::copy_from_slice(data);
        let len = data.len();
        let done = move |reply: ReplyWrite, result| match result {
            // A request has at most 1 MiB.
            Ok(()) => reply.written(u32::try_from(len).unwrap_or_default()),
            Err(error) => reply.error(number(&error)),
        };
        if flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID) {
            let write = move |vfs: Arc<Vfs>| async move {
                vfs.drop_privileges(ino.0).await?;
                vfs.write(ino.0, offset, data)
            };
            return self.answer(reply, write, done);
        }
        self.at_once(reply, |vfs| vfs.write(ino.0, offset, data), done);
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // It asks no more then; what it keeps of the file it hands over first in any case.
        reply.error(Errno::ENOSYS);
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.at_once(reply, |vfs| vfs.close(handle.0), empty);
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.sync(reply);
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.sync(reply);
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.at_once(
            reply,
            |vfs| vfs.open_folder(ino.0),
            |reply, result| match result {
                Ok(handle) => reply.opened(FileHandle(handle), FopenFlags::empty()),
                Err(error) => reply.error(number(&error)),
            },
        );
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        reply: ReplyDirectory,
    ) {
        let shared = Arc::new(parking_lot::Mutex::new(reply));
        let buffer = shared.clone();
        self.answer(
            shared,
            move |vfs| async move {
                list(&vfs, ino.0, handle.0, offset, |line| {
                    buffer.lock().add(
                        INodeNo(line.stat.ino),
                        line.next,
                        kind(line.stat.kind),
                        &*line.name,
                    )
                })
                .await
            },
            |reply, result| {
                let Some(reply) = Arc::into_inner(reply).map(parking_lot::Mutex::into_inner) else {
                    return;
                };
                match result {
                    Ok(()) => reply.ok(),
                    Err(error) => reply.error(number(&error)),
                }
            },
        );
    }

    fn readdirplus(
        &self,
        _: &Request,
        ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        reply: ReplyDirectoryPlus,
    ) {
        let shared = Arc::new(parking_lot::Mutex::new(reply));
        let buffer = shared.clone();
        self.answer(
            shared,
            move |vfs| async move {
                list(&vfs, ino.0, handle.0, offset, |line| {
                    let attr = attr(&line.stat);
                    let full = buffer.lock().add(
                        attr.ino,
                        line.next,
                        &*line.name,
                        &BELIEVED,
                        &attr,
                        GENERATION,
                    );
                    if !full && line.next > 2 {
                        vfs.listed(line.stat.ino);
                    }
                    full
                })
                .await
            },
            |reply, result| {
                let Some(reply) = Arc::into_inner(reply).map(parking_lot::Mutex::into_inner) else {
                    return;
                };
                match result {
                    Ok(()) => reply.ok(),
                    Err(error) => reply.error(number(&error)),
                }
            },
        );
    }

    fn releasedir(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.at_once(reply, |vfs| vfs.close(handle.0), empty);
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        const BLOCK: u32 = 4096;
        self.at_once(reply, Vfs::space, |reply, result| match result {
            Ok(s) => {
                let blocks = |bytes: u64| bytes / u64::from(BLOCK);
                let name_max = crate::vfs::NAME_BYTES_MAX as u32;
                reply.statfs(
                    blocks(s.total),
                    blocks(s.free),
                    blocks(s.available),
                    s.files,
                    s.files_free,
                    BLOCK,
                    name_max,
                    BLOCK,
                );
            }
            Err(error) => reply.error(number(&error)),
        });
    }

    fn setxattr(
        &self,
        _: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        let (name, value) = (name.to_owned(), value.to_vec());
        self.answer(
            reply,
            move |vfs| async move {
                const BOTH: i32 = libc::XATTR_CREATE | libc::XATTR_REPLACE;
                let mode = match flags {
                    // It must be new and exist.
                    BOTH => {
                        vfs.xattr(ino.0, xattr_name(&name)?)?;
                        return Err(VfsError::Exists);
                    }
                    0 => XattrMode::Any,
                    libc::XATTR_CREATE => XattrMode::Create,
                    libc::XATTR_REPLACE => XattrMode::Replace,
                    _ => return Err(VfsError::InvalidArgument),
                };
                vfs.set_xattr(ino.0, xattr_name(&name)?, &value, mode).await
            },
            empty,
        );
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let name = name.to_owned();
        self.answer(
            reply,
            move |vfs| async move {
                let name = xattr_name(&name)?;
                match vfs.made_xattr(ino.0, name).await? {
                    Some(made) => Ok(made),
                    None => vfs.xattr(ino.0, name),
                }
            },
            move |reply, result| sized(reply, size, result),
        );
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        self.at_once(
            reply,
            |vfs| {
                Ok(vfs
                    .xattrs(ino.0)?
                    .iter()
                    .flat_map(|name| name.bytes().chain([0]))
                    .collect())
            },
            |reply, result| sized(reply, size, result),
        );
    }

    fn removexattr(&self, _: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.to_owned();
        self.answer(
            reply,
            move |vfs| async move { vfs.remove_xattr(ino.0, xattr_name(&name)?).await },
            empty,
        );
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        const PUNCH: i32 = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        const ZERO_KEEP: i32 = libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE;
        self.answer(
            reply,
            move |vfs| async move {
                let how = match mode {
                    0 => Allocate::Grow,
                    libc::FALLOC_FL_KEEP_SIZE => Allocate::KeepSize,
                    PUNCH | ZERO_KEEP => Allocate::PunchHole,
                    libc::FALLOC_FL_ZERO_RANGE => Allocate::ZeroRange,
                    _ => return Err(VfsError::NotSupported),
                };
                vfs.allocate(ino.0, offset, length, how).await
            },
            empty,
        );
    }

    fn lseek(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        self.answer(
            reply,
            move |vfs| async move {
                let what = match whence {
                    libc::SEEK_DATA => SeekFor::Data,
                    libc::SEEK_HOLE => SeekFor::Hole,
                    _ => return Err(VfsError::InvalidArgument),
                };
                let offset = u64::try_from(offset).map_err(|_| VfsError::NoSuchOffset)?;
                vfs.take_from_kernel(Some(vec![ino.0])).await;
                vfs.seek(ino.0, offset, what)
            },
            |reply, result| match result {
                Ok(offset) => reply.offset(offset.cast_signed()),
                Err(error) => reply.error(number(&error)),
            },
        );
    }
}
