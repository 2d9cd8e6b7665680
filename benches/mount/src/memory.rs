//! A filesystem in memory, with all that the kernel and fuser offer: what a mount served through this crate can do at most.

use crate::Result;
use fuser::{
    BsdFileFlags, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, InitFlags, KernelConfig, LockOwner, MountOption, OpenFlags, RenameFlags,
    ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyStatfs, ReplyWrite, Request, Session, TimeOrNow, WriteFlags,
};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::{BTreeMap, HashMap},
    ffi::{OsStr, OsString},
    io,
    os::unix::ffi::OsStrExt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

const BELIEVED: Duration = Duration::from_secs(3600);
const GENERATION: Generation = Generation(0);
/// Files are kept in pieces of this size, so that one that grows is not copied.
const PIECE: usize = 1 << 20;

enum Kind {
    Folder(RwLock<BTreeMap<OsString, u64>>),
    File(RwLock<Vec<Box<[u8]>>>),
    Link(OsString),
}

struct Inode {
    attr: Mutex<FileAttr>,
    kind: Kind,
    /// How often the kernel was told of it and has not forgotten.
    seen: AtomicU64,
    /// Its name is gone.
    gone: AtomicBool,
}

type Listing = Arc<Vec<(OsString, Arc<Inode>)>>;

/// See the [module](self). Inodes without a name go when the kernel forgets them.
pub(crate) struct Memory {
    inodes: RwLock<HashMap<u64, Arc<Inode>>>,
    listings: RwLock<HashMap<u64, Listing>>,
    next: AtomicU64,
}

/// Serves it at `at` until it is unmounted.
pub(crate) fn serve(at: &Path) -> Result<Session<Memory>> {
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("memory".to_owned()),
        MountOption::DefaultPermissions,
        MountOption::NoAtime,
    ];
    config.n_threads = Some(std::thread::available_parallelism().map_or(2, usize::from));
    config.clone_fd = true;
    Ok(Session::new(Memory::new(), at, &config)?)
}

impl Memory {
    fn new() -> Self {
        let this = Self {
            inodes: RwLock::default(),
            listings: RwLock::default(),
            next: AtomicU64::new(2),
        };
        let root = this.inode(1, 0o755, Kind::Folder(RwLock::default()));
        this.inodes.write().insert(1, root);
        this
    }

    fn inode(&self, ino: u64, mode: u32, kind: Kind) -> Arc<Inode> {
        let now = SystemTime::now();
        let (form, size) = match &kind {
            Kind::Folder(_) => (FileType::Directory, 4096),
            Kind::File(_) => (FileType::RegularFile, 0),
            Kind::Link(target) => (FileType::Symlink, target.len() as u64),
        };
        let attr = FileAttr {
            ino: INodeNo(ino),
            size,
            blocks: size.div_ceil(512),
            atime: now,
            mtime: now,
            ctime: now,
            crtime: now,
            kind: form,
            perm: (mode & 0o7777) as u16,
            nlink: 1,
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            rdev: 0,
            blksize: 4096,
            flags: 0,
        };
        Arc::new(Inode {
            attr: Mutex::new(attr),
            kind,
            seen: AtomicU64::new(0),
            gone: AtomicBool::new(false),
        })
    }

    fn get(&self, ino: INodeNo) -> std::result::Result<Arc<Inode>, Errno> {
        self.inodes.read().get(&ino.0).cloned().ok_or(Errno::ENOENT)
    }

    fn child(&self, parent: INodeNo, name: &OsStr) -> std::result::Result<Arc<Inode>, Errno> {
        let parent = self.get(parent)?;
        let Kind::Folder(names) = &parent.kind else {
            return Err(Errno::ENOTDIR);
        };
        let ino = names.read().get(name).copied().ok_or(Errno::ENOENT)?;
        self.get(INodeNo(ino))
    }

    fn add(
        &self,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        kind: Kind,
    ) -> std::result::Result<FileAttr, Errno> {
        let parent = self.get(parent)?;
        let Kind::Folder(names) = &parent.kind else {
            return Err(Errno::ENOTDIR);
        };
        let mut names = names.write();
        if names.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        let ino = self.next.fetch_add(1, Ordering::Relaxed);
        let inode = self.inode(ino, mode, kind);
        let attr = *inode.attr.lock();
        inode.seen.store(1, Ordering::Release);
        self.inodes.write().insert(ino, inode);
        names.insert(name.to_owned(), ino);
        Ok(attr)
    }

    fn remove(&self, parent: INodeNo, name: &OsStr) -> std::result::Result<(), Errno> {
        let inode = self.child(parent, name)?;
        if let Kind::Folder(names) = &inode.kind
            && !names.read().is_empty()
        {
            return Err(Errno::ENOTEMPTY);
        }
        let parent = self.get(parent)?;
        if let Kind::Folder(names) = &parent.kind {
            names.write().remove(name);
        }
        inode.gone.store(true, Ordering::Release);
        self.drop_unseen(&inode);
        Ok(())
    }

    fn drop_unseen(&self, inode: &Inode) {
        if inode.gone.load(Ordering::Acquire) && inode.seen.load(Ordering::Acquire) == 0 {
            let ino = inode.attr.lock().ino.0;
            self.inodes.write().remove(&ino);
        }
    }

    fn move_name(
        &self,
        (parent, name): (INodeNo, &OsStr),
        (to, to_name): (INodeNo, &OsStr),
    ) -> std::result::Result<(), Errno> {
        let ino = self.child(parent, name)?.attr.lock().ino.0;
        if self.child(to, to_name).is_ok() {
            self.remove(to, to_name)?;
        }
        let (parent, to) = (self.get(parent)?, self.get(to)?);
        if let Kind::Folder(names) = &parent.kind {
            names.write().remove(name);
        }
        if let Kind::Folder(names) = &to.kind {
            names.write().insert(to_name.to_owned(), ino);
        }
        Ok(())
    }

    fn write_at(
        &self,
        ino: INodeNo,
        mut at: u64,
        mut data: &[u8],
    ) -> std::result::Result<(), Errno> {
        let inode = self.get(ino)?;
        let Kind::File(pieces) = &inode.kind else {
            return Err(Errno::EISDIR);
        };
        let end = at + data.len() as u64;
        let mut pieces = pieces.write();
        while !data.is_empty() {
            let (piece, within) = ((at / PIECE as u64) as usize, (at % PIECE as u64) as usize);
            if pieces.len() <= piece {
                pieces.resize_with(piece + 1, || vec![0; PIECE].into_boxed_slice());
            }
            let len = data.len().min(PIECE - within);
            pieces[piece][within..within + len].copy_from_slice(&data[..len]);
            (at, data) = (at + len as u64, &data[len..]);
        }
        let mut attr = inode.attr.lock();
        attr.size = attr.size.max(end);
        attr.blocks = attr.size.div_ceil(512);
        Ok(())
    }

    fn cut(inode: &Inode, size: u64) {
        if let Kind::File(pieces) = &inode.kind {
            let mut pieces = pieces.write();
            let (whole, rest) = (
                (size / PIECE as u64) as usize,
                (size % PIECE as u64) as usize,
            );
            pieces.truncate(whole + usize::from(rest > 0));
            if let Some(last) = pieces.get_mut(whole) {
                last[rest..].fill(0);
            }
        }
    }

    /// The inodes of a folder in one order, as it was when it was opened.
    fn listing(&self, handle: FileHandle) -> Listing {
        self.listings
            .read()
            .get(&handle.0)
            .cloned()
            .unwrap_or_default()
    }
}

fn time(time: TimeOrNow) -> SystemTime {
    match time {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => SystemTime::now(),
    }
}

fn entry(reply: ReplyEntry, made: std::result::Result<FileAttr, Errno>) {
    match made {
        Ok(attr) => reply.entry(&BELIEVED, &attr, GENERATION),
        Err(error) => reply.error(error),
    }
}

fn empty(reply: ReplyEmpty, done: std::result::Result<(), Errno>) {
    match done {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

impl Filesystem for Memory {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for flag in [
            InitFlags::FUSE_WRITEBACK_CACHE,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_NO_OPENDIR_SUPPORT,
        ] {
            let _ = config.add_capabilities(flag);
        }
        let _ = config.set_max_write(1 << 20);
        if let Err(most) = config.set_max_readahead(1 << 20) {
            let _ = config.set_max_readahead(most);
        }
        let _ = config.set_max_background(64);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.child(parent, name).map(|inode| {
            inode.seen.fetch_add(1, Ordering::AcqRel);
            *inode.attr.lock()
        });
        entry(reply, found);
    }

    fn forget(&self, _: &Request, ino: INodeNo, count: u64) {
        if let Ok(inode) = self.get(ino) {
            inode.seen.fetch_sub(count, Ordering::AcqRel);
            self.drop_unseen(&inode);
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.get(ino) {
            Ok(inode) => reply.attr(&BELIEVED, &inode.attr.lock()),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        ctime: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let inode = match self.get(ino) {
            Ok(inode) => inode,
            Err(error) => return reply.error(error),
        };
        if let Some(size) = size {
            Self::cut(&inode, size);
        }
        let mut attr = inode.attr.lock();
        attr.perm = mode.map_or(attr.perm, |mode| (mode & 0o7777) as u16);
        attr.uid = uid.unwrap_or(attr.uid);
        attr.gid = gid.unwrap_or(attr.gid);
        attr.size = size.unwrap_or(attr.size);
        attr.atime = atime.map_or(attr.atime, time);
        attr.mtime = mtime.map_or(attr.mtime, time);
        attr.ctime = ctime.unwrap_or_else(SystemTime::now);
        reply.attr(&BELIEVED, &attr);
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.get(ino).as_deref() {
            Ok(Inode {
                kind: Kind::Link(target),
                ..
            }) => reply.data(target.as_bytes()),
            Ok(_) => reply.error(Errno::EINVAL),
            Err(error) => reply.error(*error),
        }
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        reply: ReplyEntry,
    ) {
        let kind = Kind::Folder(RwLock::default());
        entry(reply, self.add(parent, name, mode, kind));
    }

    fn symlink(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let kind = Kind::Link(target.as_os_str().to_owned());
        entry(reply, self.add(parent, name, 0o777, kind));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.remove(parent, name));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(reply, self.remove(parent, name));
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
        match flags.is_empty() {
            true => empty(reply, self.move_name((parent, name), (to, to_name))),
            false => reply.error(Errno::EINVAL),
        }
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.get(ino) {
            Ok(_) => reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE),
            Err(error) => reply.error(error),
        }
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _: u32,
        _: i32,
        reply: ReplyCreate,
    ) {
        match self.add(parent, name, mode, Kind::File(RwLock::default())) {
            Ok(attr) => reply.created(
                &BELIEVED,
                &attr,
                GENERATION,
                FileHandle(0),
                FopenFlags::FOPEN_KEEP_CACHE,
            ),
            Err(error) => reply.error(error),
        }
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
        let inode = match self.get(ino) {
            Ok(inode) => inode,
            Err(error) => return reply.error(error),
        };
        let Kind::File(pieces) = &inode.kind else {
            return reply.error(Errno::EISDIR);
        };
        let length = inode.attr.lock().size;
        let end = (offset + u64::from(size)).min(length);
        if offset >= end {
            return reply.data(&[]);
        }
        let (piece, within) = (
            (offset / PIECE as u64) as usize,
            (offset % PIECE as u64) as usize,
        );
        let len = (end - offset) as usize;
        let pieces = pieces.read();
        match pieces.get(piece) {
            Some(piece) if within + len <= PIECE => reply.data(&piece[within..within + len]),
            _ => {
                let mut bytes = vec![0; len];
                let mut done = 0;
                while done < len {
                    let at = offset as usize + done;
                    let part = (len - done).min(PIECE - at % PIECE);
                    if let Some(piece) = pieces.get(at / PIECE) {
                        bytes[done..done + part]
                            .copy_from_slice(&piece[at % PIECE..at % PIECE + part]);
                    }
                    done += part;
                }
                reply.data(&bytes);
            }
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.write_at(ino, offset, data) {
            Ok(()) => reply.written(data.len() as u32),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.error(Errno::ENOSYS);
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let folder = match self.get(ino) {
            Ok(folder) => folder,
            Err(error) => return reply.error(error),
        };
        let Kind::Folder(names) = &folder.kind else {
            return reply.error(Errno::ENOTDIR);
        };
        let mut all = vec![(".".into(), folder.clone()), ("..".into(), folder.clone())];
        {
            // Names before inodes, as where one is added.
            let names = names.read();
            let inodes = self.inodes.read();
            let there = names
                .iter()
                .filter_map(|(name, ino)| Some((name.clone(), inodes.get(ino)?.clone())));
            all.extend(there);
        }
        let handle = self.next.fetch_add(1, Ordering::Relaxed);
        self.listings.write().insert(handle, Arc::new(all));
        reply.opened(FileHandle(handle), FopenFlags::empty());
    }

    fn readdir(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listing = self.listing(handle);
        for (at, (name, inode)) in listing.iter().enumerate().skip(offset as usize) {
            let attr = inode.attr.lock();
            if reply.add(attr.ino, at as u64 + 1, attr.kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn readdirplus(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let listing = self.listing(handle);
        for (at, (name, inode)) in listing.iter().enumerate().skip(offset as usize) {
            let attr = inode.attr.lock();
            if reply.add(attr.ino, at as u64 + 1, name, &BELIEVED, &attr, GENERATION) {
                break;
            }
            if at > 1 {
                inode.seen.fetch_add(1, Ordering::AcqRel);
            }
        }
        reply.ok();
    }

    fn releasedir(
        &self,
        _: &Request,
        _: INodeNo,
        handle: FileHandle,
        _: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.listings.write().remove(&handle.0);
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let many = 1 << 30;
        reply.statfs(many, many, many, many, many, 4096, 255, 4096);
    }
}
