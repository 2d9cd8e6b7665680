//! Random operations against the mount's filesystem and against a plain one, with publications, reopening without them,
//! and other writers in between. Both must answer the same and look the same.

use super::{
    memory::MemoryDrive,
    rooms::{ME, Room, WRITE, corestore},
};
use crate::vfs::{errno, node::ROOT, *};
use parking_lot::Mutex;
use proptest::prelude::*;
use std::{collections::BTreeMap, ffi::OsStr, sync::Arc};

#[derive(Debug, Clone)]
enum Op {
    Make(usize),
    MakeFolder(usize),
    Link(usize),
    HardLink(usize, usize),
    Pipe(usize),
    Copy(usize, usize, u16, bool),
    Unlink(usize),
    RemoveFolder(usize),
    Rename(usize, usize, u8),
    Write(usize, u16, u16),
    Truncate(usize, u16),
    Punch(usize, u16, u16),
    Mode(usize, u8),
    Open(usize),
    CloseAll,
    Publish,
    PublishIdle,
    Reopen,
    Elsewhere(usize, u8),
}

/// The paths that operations speak of: three deep, with names that nearly collide.
const NAMES: [&str; 3] = ["a", "b", "a.x"];
const PATHS: usize = 3 + 9 + 27;

fn path(n: usize) -> Vec<&'static str> {
    let n = n % PATHS;
    if n < 3 {
        vec![NAMES[n]]
    } else if n < 12 {
        vec![NAMES[(n - 3) / 3], NAMES[(n - 3) % 3]]
    } else {
        vec![
            NAMES[(n - 12) / 9],
            NAMES[(n - 12) / 3 % 3],
            NAMES[(n - 12) % 3],
        ]
    }
}

/// A file's content and mode, shared by all its names.
#[derive(Clone)]
struct Shared(Arc<Mutex<(Vec<u8>, u32)>>);

impl Shared {
    fn new(content: Vec<u8>, mode: u32) -> Self {
        Self(Arc::new(Mutex::new((content, mode))))
    }
}

impl PartialEq for Shared {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || *self.0.lock() == *other.0.lock()
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (content, mode) = &*self.0.lock();
        let head = &content[..content.len().min(4)];
        write!(f, "{} bytes {head:?}… {mode:o}", content.len())
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Thing {
    File(Shared),
    Folder(BTreeMap<&'static str, Thing>, u32),
    /// Its target, and which one it is.
    Link(String, Arc<()>),
    Pipe(Arc<()>),
}

impl Thing {
    /// True for two names of one thing that is no folder.
    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(a), Self::File(b)) => Arc::ptr_eq(&a.0, &b.0),
            (Self::Link(_, a), Self::Link(_, b)) | (Self::Pipe(a), Self::Pipe(b)) => {
                Arc::ptr_eq(a, b)
            }
            (Self::File(_) | Self::Folder(..) | Self::Link(..) | Self::Pipe(_), _) => false,
        }
    }
}

/// Which names are the same file: for each, the first of them and how many there are.
fn groups(files: &[(String, usize)]) -> Vec<(String, String, usize)> {
    let same = |key: usize| files.iter().filter(move |(_, other)| *other == key);
    let group = |(path, key): &(String, usize)| {
        let first = same(*key).next().map(|(path, _)| path.clone());
        (path.clone(), first.unwrap(), same(*key).count())
    };
    files.iter().map(group).collect()
}

fn plain_files(thing: &Thing, path: &str, files: &mut Vec<(String, usize)>) {
    match thing {
        Thing::File(shared) => files.push((path.to_owned(), Arc::as_ptr(&shared.0) as usize)),
        Thing::Folder(children, _) => {
            for (name, child) in children {
                plain_files(child, &format!("{path}/{name}"), files);
            }
        }
        Thing::Link(..) | Thing::Pipe(_) => {}
    }
}

type Answer<T> = Result<T, i32>;

/// The plain filesystem.
#[derive(Debug, Clone)]
struct Plain(Thing);

impl Plain {
    fn at(&mut self, path: &[&'static str]) -> Answer<&mut Thing> {
        let mut at = &mut self.0;
        for name in path {
            let Thing::Folder(children, _) = at else {
                return Err(libc::ENOTDIR);
            };
            at = children.get_mut(name).ok_or(libc::ENOENT)?;
        }
        Ok(at)
    }

    fn folder(
        &mut self,
        path: &[&'static str],
    ) -> Answer<(&mut BTreeMap<&'static str, Thing>, &'static str)> {
        let (name, above) = path.split_last().unwrap();
        match self.at(above)? {
            Thing::Folder(children, _) => Ok((children, name)),
            _ => Err(libc::ENOTDIR),
        }
    }

    fn add(&mut self, path: &[&'static str], thing: Thing) -> Answer<()> {
        let (children, name) = self.folder(path)?;
        if children.contains_key(name) {
            return Err(libc::EEXIST);
        }
        children.insert(name, thing);
        Ok(())
    }

    fn rename(&mut self, from: &[&'static str], to: &[&'static str], mode: u8) -> Answer<()> {
        let (children, name) = self.folder(from)?;
        let thing = children.get(name).cloned().ok_or(libc::ENOENT);
        self.folder(to)?;
        let thing = thing?;
        let folder = matches!(thing, Thing::Folder(..));
        let to_folder = &to[..to.len() - 1];
        if folder && to_folder.starts_with(from) {
            return Err(libc::EINVAL);
        }
        let (children, name) = self.folder(to)?;
        let there = children.get(name).cloned();
        match (mode, &there) {
            (1, Some(_)) => return Err(libc::EEXIST),
            (2, None) => return Err(libc::ENOENT),
            (2, Some(other)) => {
                if matches!(other, Thing::Folder(..)) && from[..from.len() - 1].starts_with(to) {
                    return Err(libc::EINVAL);
                }
                let other = other.clone();
                *self.at(from)? = other;
                *self.at(to)? = thing;
                return Ok(());
            }
            (_, Some(_)) if from == to => return Ok(()),
            (_, Some(other)) if thing.is(other) => return Ok(()),
            (_, Some(Thing::Folder(children, _))) => {
                if !folder {
                    return Err(libc::EISDIR);
                }
                if !children.is_empty() {
                    return Err(libc::ENOTEMPTY);
                }
            }
            (_, Some(_)) if folder => return Err(libc::ENOTDIR),
            (_, _) => {}
        }
        let (children, name) = self.folder(from)?;
        children.remove(name);
        let (children, name) = self.folder(to)?;
        children.insert(name, thing);
        Ok(())
    }
}

async fn ino(room: &Room, path: &[&str]) -> Answer<u64> {
    let mut at = ROOT;
    for name in path {
        at = room
            .vfs
            .lookup(at, OsStr::new(name))
            .await
            .map_err(|e| errno(&e))?
            .ino;
    }
    Ok(at)
}

async fn folder<'a>(room: &Room, path: &[&'a str]) -> Answer<(u64, &'a OsStr)> {
    let (name, above) = path.split_last().unwrap();
    let at = ino(room, above).await?;
    if room.vfs.stat(at).unwrap().kind != FileKind::Folder {
        return Err(libc::ENOTDIR);
    }
    Ok((at, OsStr::new(*name)))
}

/// What the mount shows, with the inode and the count of names of each file.
fn look<'a>(
    room: &'a Room,
    at: u64,
    path: String,
    files: &'a mut Vec<(String, usize)>,
    counts: &'a mut Vec<usize>,
) -> futures_util::future::BoxFuture<'a, Thing> {
    Box::pin(async move {
        let stat = room.vfs.stat(at).unwrap();
        match stat.kind {
            FileKind::Link => {
                Thing::Link(room.vfs.read_link(at).unwrap().to_string(), Arc::default())
            }
            FileKind::File => {
                let bytes = room.vfs.read(at, 0, 1 << 20).await.unwrap();
                assert_eq!(bytes.len() as u64, stat.size);
                files.push((path, at as usize));
                counts.push(stat.links as usize);
                Thing::File(Shared::new(bytes.to_vec(), stat.attrs.mode))
            }
            FileKind::Special(_) => Thing::Pipe(Arc::default()),
            FileKind::Folder => {
                let handle = room.vfs.open_folder(at).unwrap();
                let lines = room.vfs.read_folder(at, handle, 0, 1000).await.unwrap();
                room.vfs.close(handle).unwrap();
                let mut children = BTreeMap::new();
                for line in &lines[2..] {
                    let name = *NAMES.iter().find(|n| **n == &*line.name).unwrap();
                    let found = room.vfs.lookup(at, OsStr::new(name)).await.unwrap();
                    assert_eq!(found.ino, line.stat.ino);
                    let below = format!("{path}/{name}");
                    let child = look(room, line.stat.ino, below, files, counts).await;
                    children.insert(name, child);
                }
                Thing::Folder(children, stat.attrs.mode)
            }
        }
    })
}

/// The mount and the plain filesystem look the same. Who wrote elsewhere has not told a file's other names that it has one less: then counts may differ.
async fn compare(room: &Room, plain: &Plain, counted: bool, when: &str) {
    let (mut files, mut counts) = (Vec::new(), Vec::new());
    let ours = look(room, ROOT, String::new(), &mut files, &mut counts).await;
    assert_eq!(ours, plain.0, "{when}");
    let mut theirs = Vec::new();
    plain_files(&plain.0, "", &mut theirs);
    let theirs = groups(&theirs);
    assert_eq!(
        groups(&files),
        theirs,
        "{when}: which names are the same file"
    );
    if counted {
        let expected: Vec<usize> = theirs.iter().map(|(_, _, count)| *count).collect();
        assert_eq!(counts, expected, "{when}: counts of names");
    }
}

async fn run(ops: Vec<Op>) {
    let (_dir, corestore) = corestore();
    let drive = MemoryDrive::new(corestore.clone());
    let mut room = Room::open(&corestore, &drive).await;
    let mut plain = Plain(Thing::Folder(BTreeMap::new(), 0o755));
    let mut open: Vec<u64> = Vec::new();
    let mut counted = true;
    for (step, op) in ops.into_iter().enumerate() {
        let vfs = room.vfs.clone();
        let (ours, theirs): (Answer<()>, Answer<()>) = match op.clone() {
            Op::Make(n) => (
                async {
                    let (at, name) = folder(&room, &path(n)).await?;
                    vfs.make_file(at, name, 0o644, ME)
                        .await
                        .map(|_| ())
                        .map_err(|e| errno(&e))
                }
                .await,
                plain.add(&path(n), Thing::File(Shared::new(Vec::new(), 0o644))),
            ),
            Op::MakeFolder(n) => (
                async {
                    let (at, name) = folder(&room, &path(n)).await?;
                    vfs.make_folder(at, name, 0o755, ME)
                        .await
                        .map(|_| ())
                        .map_err(|e| errno(&e))
                }
                .await,
                plain.add(&path(n), Thing::Folder(BTreeMap::new(), 0o755)),
            ),
            Op::Link(n) => (
                async {
                    let (at, name) = folder(&room, &path(n)).await?;
                    vfs.make_link(at, name, OsStr::new("../x"), ME)
                        .await
                        .map(|_| ())
                        .map_err(|e| errno(&e))
                }
                .await,
                plain.add(&path(n), Thing::Link("../x".to_owned(), Arc::default())),
            ),
            Op::HardLink(a, b) => (
                async {
                    let at = ino(&room, &path(a)).await?;
                    let (to, name) = folder(&room, &path(b)).await?;
                    // The kernel refuses folders before it looks at the new name.
                    if vfs.stat(at).unwrap().kind == FileKind::Folder {
                        return Err(libc::EPERM);
                    }
                    vfs.link(at, to, name)
                        .await
                        .map(|_| ())
                        .map_err(|e| errno(&e))
                }
                .await,
                async {
                    let thing = plain.at(&path(a))?.clone();
                    plain.folder(&path(b))?;
                    if matches!(thing, Thing::Folder(..)) {
                        return Err(libc::EPERM);
                    }
                    plain.add(&path(b), thing)
                }
                .await,
            ),
            Op::Pipe(n) => (
                async {
                    let (at, name) = folder(&room, &path(n)).await?;
                    vfs.make_special(at, name, 0o644, ME, crate::posix::Special::Fifo)
                        .await
                        .map(|_| ())
                        .map_err(|e| errno(&e))
                }
                .await,
                plain.add(&path(n), Thing::Pipe(Arc::default())),
            ),
            Op::Copy(a, b, len, begin) => (
                async {
                    let (from, to) = (ino(&room, &path(a)).await, ino(&room, &path(b)).await);
                    let (Ok(from), Ok(to)) = (from, to) else {
                        return Ok(());
                    };
                    let is_file = |at| vfs.stat(at).unwrap().kind == FileKind::File;
                    if from == to || !is_file(from) || !is_file(to) {
                        return Ok(());
                    }
                    let handle = vfs.open_file(to, WRITE).await.unwrap();
                    let to_offset = if begin { 0 } else { 10 };
                    vfs.copy((from, 0), (to, to_offset), u64::from(len) * 8)
                        .await
                        .unwrap();
                    vfs.close(handle).unwrap();
                    Ok(())
                }
                .await,
                {
                    let from = plain.at(&path(a)).ok().cloned();
                    let to = plain.at(&path(b)).ok().cloned();
                    if let (Some(Thing::File(from)), Some(Thing::File(to))) = (from, to)
                        && !Arc::ptr_eq(&from.0, &to.0)
                    {
                        let from = from.0.lock().0.clone();
                        let len = (usize::from(len) * 8).min(from.len());
                        let start = if begin { 0 } else { 10 };
                        let content = &mut to.0.lock().0;
                        if len > 0 {
                            let size = content.len().max(start + len);
                            content.resize(size, 0);
                            content[start..start + len].copy_from_slice(&from[..len]);
                        }
                    }
                    Ok(())
                },
            ),
            Op::Unlink(n) => (
                async {
                    let (at, name) = folder(&room, &path(n)).await?;
                    vfs.unlink(at, name).await.map_err(|e| errno(&e))
                }
                .await,
                plain
                    .folder(&path(n))
                    .and_then(|(children, name)| match children.get(name) {
                        None => Err(libc::ENOENT),
                        Some(Thing::Folder(..)) => Err(libc::EISDIR),
                        Some(_) => {
                            children.remove(name);
                            Ok(())
                        }
                    }),
            ),
            Op::RemoveFolder(n) => (
                async {
                    let (at, name) = folder(&room, &path(n)).await?;
                    vfs.remove_folder(at, name).await.map_err(|e| errno(&e))
                }
                .await,
                plain
                    .folder(&path(n))
                    .and_then(|(children, name)| match children.get(name) {
                        None => Err(libc::ENOENT),
                        Some(Thing::Folder(inside, _)) if inside.is_empty() => {
                            children.remove(name);
                            Ok(())
                        }
                        Some(Thing::Folder(..)) => Err(libc::ENOTEMPTY),
                        Some(_) => Err(libc::ENOTDIR),
                    }),
            ),
            Op::Rename(a, b, mode) => (
                async {
                    let from = folder(&room, &path(a)).await?;
                    // The kernel looks up the source before the target's folder is asked for.
                    let source = vfs.lookup(from.0, from.1).await.map_err(|e| errno(&e));
                    let to = folder(&room, &path(b)).await?;
                    source?;
                    let mode = [
                        RenameMode::Replace,
                        RenameMode::NoReplace,
                        RenameMode::Exchange,
                    ][usize::from(mode % 3)];
                    vfs.rename(from, to, mode).await.map_err(|e| errno(&e))
                }
                .await,
                plain.rename(&path(a), &path(b), mode % 3),
            ),
            Op::Write(n, offset, len) => {
                let (offset, len) = (usize::from(offset) % 300_000, usize::from(len));
                let bytes = vec![(step % 251) as u8 + 1; len];
                (
                    async {
                        let at = ino(&room, &path(n)).await?;
                        if len == 0 {
                            return Ok(());
                        }
                        // As the kernel does: only what was opened is written.
                        let handle = vfs.open_file(at, WRITE).await.map_err(|e| errno(&e))?;
                        let written = vfs.write(at, offset as u64, bytes.clone().into());
                        vfs.close(handle).unwrap();
                        written.map_err(|e| errno(&e))
                    }
                    .await,
                    plain.at(&path(n)).and_then(|t| match t {
                        Thing::File(shared) => {
                            let content = &mut shared.0.lock().0;
                            if len > 0 {
                                content.resize(content.len().max(offset + len), 0);
                                content[offset..offset + len].copy_from_slice(&bytes);
                            }
                            Ok(())
                        }
                        Thing::Folder(..) if len > 0 => Err(libc::EISDIR),
                        Thing::Link(..) | Thing::Pipe(_) if len > 0 => Err(libc::EINVAL),
                        _ => Ok(()),
                    }),
                )
            }
            Op::Truncate(n, size) => (
                async {
                    let at = ino(&room, &path(n)).await?;
                    vfs.set_size(at, u64::from(size))
                        .await
                        .map_err(|e| errno(&e))
                }
                .await,
                plain.at(&path(n)).and_then(|t| match t {
                    Thing::File(shared) => {
                        let content = &mut shared.0.lock().0;
                        content.resize(usize::from(size), 0);
                        Ok(())
                    }
                    Thing::Folder(..) => Err(libc::EISDIR),
                    Thing::Link(..) | Thing::Pipe(_) => Err(libc::EINVAL),
                }),
            ),
            Op::Punch(n, offset, len) => {
                let (offset, len) = (usize::from(offset), usize::from(len));
                (
                    async {
                        let at = ino(&room, &path(n)).await?;
                        let how = Allocate::PunchHole;
                        vfs.allocate(at, offset as u64, len as u64, how)
                            .await
                            .map_err(|e| errno(&e))
                    }
                    .await,
                    plain.at(&path(n)).and_then(|t| match t {
                        Thing::File(shared) => {
                            let content = &mut shared.0.lock().0;
                            let end = (offset + len).min(content.len());
                            if offset < end {
                                content[offset..end].fill(0);
                            }
                            Ok(())
                        }
                        Thing::Folder(..) => Err(libc::EISDIR),
                        Thing::Link(..) | Thing::Pipe(_) => Err(libc::EINVAL),
                    }),
                )
            }
            Op::Mode(n, mode) => {
                let mode = [0o755, 0o644, 0o600, 0o700, 0o4711][usize::from(mode % 5)];
                (
                    async {
                        let at = ino(&room, &path(n)).await?;
                        if matches!(
                            vfs.stat(at).unwrap().kind,
                            FileKind::Link | FileKind::Special(_)
                        ) {
                            return Ok(());
                        }
                        let set = SetAttrs {
                            mode: Some(mode),
                            ..SetAttrs::default()
                        };
                        vfs.set_attrs(at, set)
                            .await
                            .map(|_| ())
                            .map_err(|e| errno(&e))
                    }
                    .await,
                    plain.at(&path(n)).map(|t| match t {
                        Thing::File(shared) => shared.0.lock().1 = mode,
                        Thing::Folder(_, m) => *m = mode,
                        Thing::Link(..) | Thing::Pipe(_) => {}
                    }),
                )
            }
            Op::Open(n) => {
                if let Ok(at) = ino(&room, &path(n)).await
                    && vfs.stat(at).unwrap().kind == FileKind::File
                {
                    open.push(vfs.open_file(at, WRITE).await.unwrap());
                }
                (Ok(()), Ok(()))
            }
            Op::CloseAll => {
                for handle in open.drain(..) {
                    vfs.close(handle).unwrap();
                }
                (Ok(()), Ok(()))
            }
            Op::Publish => {
                vfs.publish_now().await.unwrap();
                assert_eq!(vfs.pending(), Pending::default(), "step {step}");
                (Ok(()), Ok(()))
            }
            Op::PublishIdle => {
                vfs.publish(false).await.unwrap();
                (Ok(()), Ok(()))
            }
            Op::Reopen => {
                open.clear();
                drop((vfs, room));
                room = Room::open(&corestore, &drive).await;
                (Ok(()), Ok(()))
            }
            Op::Elsewhere(n, what) => {
                // Another writer, where it cannot meet the overlay: everything is published first.
                vfs.publish_now().await.unwrap();
                let at = path(n);
                let full = format!("/{}", at.join("/"));
                let above_ok = matches!(plain.at(&at[..at.len() - 1]), Ok(Thing::Folder(..)));
                let there = plain.at(&at).ok().cloned();
                if what % 2 == 0 && above_ok && !matches!(there, Some(Thing::Folder(..))) {
                    drive.put(&full, Some(&[what; 5]));
                    counted = false;
                    let (children, name) = plain.folder(&at).unwrap();
                    children.insert(name, Thing::File(Shared::new(vec![what; 5], 0o644)));
                    // A folder that was empty has a marker, which an outsider leaves where it is.
                    vfs.lower_changed().await.unwrap();
                }
                let alone = plain.folder(&at).is_ok_and(|(all, _)| all.len() == 1);
                if what % 2 == 1
                    && !matches!(there, None | Some(Thing::Folder(..)))
                    && (at.len() == 1 || !alone)
                {
                    // Not the last one: the folder would go with it.
                    drive.put(&full, None);
                    counted = false;
                    let (children, name) = plain.folder(&at).unwrap();
                    children.remove(&name);
                    vfs.lower_changed().await.unwrap();
                }
                (Ok(()), Ok(()))
            }
        };
        assert_eq!(ours, theirs, "step {step}: {op:?}");
        compare(&room, &plain, counted, &format!("step {step}: {op:?}")).await;
    }
    room.vfs.publish_now().await.unwrap();
    drop(room);
    let room = Room::open(&corestore, &drive).await;
    compare(&room, &plain, counted, "from the drive alone").await;
    assert_eq!(room.vfs.pending(), Pending::default());
    let before = drive.versions();
    room.vfs.publish_now().await.unwrap();
    assert_eq!(
        drive.versions(),
        before,
        "nothing to publish makes no version"
    );
}

/// The record of a file that was open for writing, and published, named its old content: after a restart that came back, over what somebody else had written.
#[tokio::test]
async fn what_was_written_elsewhere_into_an_open_file_stays() {
    let opened = || vec![Op::Make(0), Op::Open(0), Op::Elsewhere(0, 20)];
    for then in [
        vec![Op::Reopen],
        vec![Op::Write(0, 2, 1), Op::Reopen],
        vec![Op::Publish, Op::Reopen, Op::Elsewhere(0, 22), Op::Reopen],
        vec![Op::Reopen, Op::Write(0, 2, 1), Op::Publish, Op::Reopen],
    ] {
        run(opened().into_iter().chain(then).collect()).await;
    }
}

fn op() -> impl Strategy<Value = Op> {
    // Shallow paths come more often, so that the deep ones have a folder to be in.
    let p = prop_oneof![0usize..3, 0usize..12, 0usize..PATHS];
    prop_oneof![
        4 => p.clone().prop_map(Op::Make),
        4 => p.clone().prop_map(Op::MakeFolder),
        1 => p.clone().prop_map(Op::Link),
        3 => (p.clone(), p.clone()).prop_map(|(a, b)| Op::HardLink(a, b)),
        1 => p.clone().prop_map(Op::Pipe),
        2 => (p.clone(), p.clone(), any::<u16>(), any::<bool>()).prop_map(|(a, b, l, w)| Op::Copy(a, b, l, w)),
        2 => p.clone().prop_map(Op::Unlink),
        2 => p.clone().prop_map(Op::RemoveFolder),
        5 => (p.clone(), p.clone(), any::<u8>()).prop_map(|(a, b, m)| Op::Rename(a, b, m)),
        4 => (p.clone(), any::<u16>(), any::<u16>()).prop_map(|(n, o, l)| Op::Write(n, o, l)),
        2 => (p.clone(), any::<u16>()).prop_map(|(n, s)| Op::Truncate(n, s)),
        1 => (p.clone(), any::<u16>(), any::<u16>()).prop_map(|(n, o, l)| Op::Punch(n, o, l)),
        1 => (p.clone(), any::<u8>()).prop_map(|(n, m)| Op::Mode(n, m)),
        1 => p.clone().prop_map(Op::Open),
        1 => Just(Op::CloseAll),
        2 => Just(Op::Publish),
        2 => Just(Op::PublishIdle),
        2 => Just(Op::Reopen),
        1 => (p, any::<u8>()).prop_map(|(n, w)| Op::Elsewhere(n, w)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 20_000, ..ProptestConfig::default() })]
    #[test]
    fn mount_equals_a_plain_filesystem(ops in proptest::collection::vec(op(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(run(ops));
    }
}
