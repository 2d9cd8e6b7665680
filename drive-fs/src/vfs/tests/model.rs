//! Random operations against the mount's filesystem and against a plain one, with publications, reopening without them,
//! and other writers in between. Both must answer the same and look the same.

use super::{
    memory::MemoryDrive,
    rooms::{Room, corestore},
};
use crate::vfs::{errno, node::ROOT, *};
use proptest::prelude::*;
use std::{collections::BTreeMap, ffi::OsStr};

#[derive(Debug, Clone)]
enum Op {
    Make(usize),
    MakeFolder(usize),
    Link(usize),
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

#[derive(Debug, Clone, PartialEq)]
enum Thing {
    File(Vec<u8>, u32),
    Folder(BTreeMap<&'static str, Thing>, u32),
    Link(String),
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

fn look<'a>(room: &'a Room, at: u64) -> futures_util::future::BoxFuture<'a, Thing> {
    Box::pin(async move {
        let stat = room.vfs.stat(at).unwrap();
        match stat.kind {
            FileKind::Link => Thing::Link(room.vfs.read_link(at).unwrap().to_string()),
            FileKind::File => {
                let bytes = room.vfs.read(at, 0, 1 << 20).await.unwrap();
                assert_eq!(bytes.len() as u64, stat.size);
                Thing::File(bytes.to_vec(), stat.attrs.mode)
            }
            FileKind::Folder => {
                let handle = room.vfs.open_folder(at).unwrap();
                let lines = room.vfs.read_folder(at, handle, 0, 1000).await.unwrap();
                room.vfs.close(handle).unwrap();
                let mut children = BTreeMap::new();
                for line in &lines[2..] {
                    let name = *NAMES.iter().find(|n| **n == &*line.name).unwrap();
                    let found = room.vfs.lookup(at, OsStr::new(name)).await.unwrap();
                    assert_eq!(found.ino, line.stat.ino);
                    children.insert(name, look(room, line.stat.ino).await);
                }
                Thing::Folder(children, stat.attrs.mode)
            }
        }
    })
}

const ME: Owner = Owner { uid: 0, gid: 0 };

async fn run(ops: Vec<Op>) {
    let (_dir, corestore) = corestore();
    let drive = MemoryDrive::new(corestore.clone());
    let mut room = Room::open(&corestore, &drive).await;
    let mut plain = Plain(Thing::Folder(BTreeMap::new(), 0o755));
    let mut open: Vec<u64> = Vec::new();
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
                plain.add(&path(n), Thing::File(Vec::new(), 0o644)),
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
                plain.add(&path(n), Thing::Link("../x".to_owned())),
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
                        vfs.write(at, offset as u64, bytes.clone().into())
                            .map_err(|e| errno(&e))
                    }
                    .await,
                    plain.at(&path(n)).and_then(|t| match t {
                        Thing::File(content, _) => {
                            if len > 0 {
                                content.resize(content.len().max(offset + len), 0);
                                content[offset..offset + len].copy_from_slice(&bytes);
                            }
                            Ok(())
                        }
                        Thing::Folder(..) if len > 0 => Err(libc::EISDIR),
                        Thing::Link(_) if len > 0 => Err(libc::EINVAL),
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
                    Thing::File(content, _) => {
                        content.resize(usize::from(size), 0);
                        Ok(())
                    }
                    Thing::Folder(..) => Err(libc::EISDIR),
                    Thing::Link(_) => Err(libc::EINVAL),
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
                        Thing::File(content, _) => {
                            let end = (offset + len).min(content.len());
                            if offset < end {
                                content[offset..end].fill(0);
                            }
                            Ok(())
                        }
                        Thing::Folder(..) => Err(libc::EISDIR),
                        Thing::Link(_) => Err(libc::EINVAL),
                    }),
                )
            }
            Op::Mode(n, mode) => {
                let mode = [0o755, 0o644, 0o600, 0o700, 0o4711][usize::from(mode % 5)];
                (
                    async {
                        let at = ino(&room, &path(n)).await?;
                        if vfs.stat(at).unwrap().kind == FileKind::Link {
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
                        Thing::File(_, m) | Thing::Folder(_, m) => *m = mode,
                        Thing::Link(_) => {}
                    }),
                )
            }
            Op::Open(n) => {
                if let Ok(at) = ino(&room, &path(n)).await
                    && vfs.stat(at).unwrap().kind == FileKind::File
                {
                    open.push(
                        vfs.open_file(
                            at,
                            OpenMode {
                                write: true,
                                ..OpenMode::default()
                            },
                        )
                        .await
                        .unwrap(),
                    );
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
                    let (children, name) = plain.folder(&at).unwrap();
                    children.insert(name, Thing::File(vec![what; 5], 0o644));
                    // A folder that was empty has a marker, which an outsider leaves where it is.
                    vfs.lower_changed().await.unwrap();
                }
                (Ok(()), Ok(()))
            }
        };
        assert_eq!(ours, theirs, "step {step}: {op:?}");
        assert_eq!(look(&room, ROOT).await, plain.0, "step {step}: {op:?}");
    }
    room.vfs.publish_now().await.unwrap();
    drop(room);
    let room = Room::open(&corestore, &drive).await;
    assert_eq!(look(&room, ROOT).await, plain.0, "from the drive alone");
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
