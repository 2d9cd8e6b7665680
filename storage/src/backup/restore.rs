//! A store from a backup.

use super::{Index, copy, lock, other_than_files};
use crate::{
    Store,
    error::{Error, Op},
    format::{SLOT_BYTES, SUPERBLOCK, SUPERBLOCK_NEW},
    names::StoreFile,
    store::make_folder,
};
use pome_wal::{Device, PwriteDevice};
use std::{
    io::{self, IoSlice},
    path::Path,
};

/// There while a restore is under way: what is in the folder is no store, and may be removed.
pub(crate) const RESTORING: &str = "restoring";

/// What was restored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// The newest commit.
    pub seq: u64,
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Store {
    /// Makes a store in the folder `to` from the backup in `from`; every byte is checked. The store opens *recovering*: see
    /// [`is_recovering`](Self::is_recovering). A restore that was cut short is no store, and can be run again. `progress` is told bytes done and in all.
    ///
    /// # Errors
    /// `NotABackup`; `NotAStore` when there is something in the folder; `Corrupt` when the backup is damaged; `Full`, `Io`, `Locked`.
    pub fn restore(
        from: impl AsRef<Path>,
        to: impl AsRef<Path>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Restored, Error> {
        let (from, to) = (from.as_ref(), to.as_ref());
        let (from_name, to_name) = (from.display().to_string(), to.display().to_string());
        let source = PwriteDevice::open(from).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::NotABackup {
                dir: from_name.clone(),
                why: "there is no such folder".to_owned(),
            },
            _ => Error::io(Op::Open, &from_name, e),
        })?;
        let names = source
            .list()
            .map_err(|e| Error::io(Op::List, &from_name, e))?;
        // Looked at first, so that a wrong name makes no folder.
        load(&source, &names, &from_name)?;
        make_folder(to).map_err(|e| Error::io(Op::Create, &to_name, e))?;
        let other = other_than_files(to).map_err(|e| Error::io(Op::List, &to_name, e))?;
        if let Some(other) = other {
            return Err(in_the_way(&to_name, &other));
        }
        let target = PwriteDevice::open(to).map_err(|e| Error::io(Op::Open, &to_name, e))?;
        restore(&source, &from_name, &target, &to_name, progress)
    }

    /// As [`restore`](Self::restore), between devices of the caller's: the simulated disk.
    ///
    /// # Errors
    /// As [`restore`](Self::restore).
    pub fn restore_on(
        source: &dyn Device,
        target: &dyn Device,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Restored, Error> {
        restore(source, "backup", target, "store", progress)
    }
}

fn load(source: &dyn Device, names: &[String], dir: &str) -> Result<Index, Error> {
    Index::load(source, names)?.ok_or_else(|| Error::NotABackup {
        dir: dir.to_owned(),
        why: "no backup was ever completed in it".to_owned(),
    })
}

/// Nothing but a lock, or what a restore left that was cut short.
fn refuse_a_full_folder(names: &[String], dir: &str) -> Result<(), Error> {
    let cut_short = names.iter().any(|name| name == RESTORING);
    let may_go = |name: &&String| {
        *name == "lock" || (cut_short && (*name == RESTORING || StoreFile::parse(name).is_some()))
    };
    match names.iter().find(|name| !may_go(name)) {
        None => Ok(()),
        Some(other) => Err(in_the_way(dir, other)),
    }
}

fn in_the_way(dir: &str, other: &str) -> Error {
    Error::NotAStore {
        store: dir.to_owned(),
        why: format!("a restore wants an empty folder, and it holds {other}"),
    }
}

fn restore(
    source: &dyn Device,
    from: &str,
    target: &dyn Device,
    to: &str,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Restored, Error> {
    let list = |device: &dyn Device, name| device.list().map_err(|e| Error::io(Op::List, name, e));
    refuse_a_full_folder(&list(target, to)?, to)?;
    // No run may remove what is being read.
    let _source_lock = match lock(source, from) {
        Err(Error::ReadOnly { .. }) => None,
        lock => Some(lock?),
    };
    let index = load(source, &list(source, from)?, from)?;
    let _target_lock = lock(target, to)?;
    let names = list(target, to)?;
    refuse_a_full_folder(&names, to)?;
    let sync_dir = || target.sync_dir().map_err(|e| Error::io(Op::Sync, to, e));
    let io = |name: &'static str| move |e| Error::io(Op::Write, name, e);

    target.open(RESTORING, true).map_err(io(RESTORING))?;
    sync_dir()?;
    for name in names.iter().filter(|name| StoreFile::parse(name).is_some()) {
        target
            .remove(name)
            .map_err(|e| Error::io(Op::Remove, name, e))?;
    }
    let total = index.bytes();
    let mut done = 0;
    for kept in &index.files {
        if StoreFile::parse(&kept.name).is_none() {
            return Err(bad("index of a backup (names)", super::INDEX, 0, 0));
        }
        let file = source
            .open(&kept.kept_as, false)
            .map_err(|e| match e.kind() {
                io::ErrorKind::NotFound => bad("file (missing)", &kept.kept_as, kept.len, 0),
                _ => Error::io(Op::Open, &kept.kept_as, e),
            })?;
        let crc = copy(
            (&*file, &kept.kept_as),
            (target, &kept.name),
            kept.len,
            &mut |n| {
                done += n;
                progress(done, total);
            },
        )?;
        if crc != kept.crc {
            return Err(bad("file", &kept.kept_as, kept.crc.into(), crc.into()));
        }
    }
    if !index.files.iter().any(|kept| kept.name == index.log_name) {
        log_segment(target, &index)?;
    }
    // The superblock comes last: without one there is no store.
    let written = || {
        let file = target.open(SUPERBLOCK_NEW, true)?;
        file.set_len(0)?;
        let empty = [0; SLOT_BYTES];
        file.write_at(&[IoSlice::new(&index.slot), IoSlice::new(&empty)], 0)?;
        file.sync()
    };
    written().map_err(io(SUPERBLOCK_NEW))?;
    sync_dir()?;
    target
        .rename(SUPERBLOCK_NEW, SUPERBLOCK)
        .map_err(io(SUPERBLOCK))?;
    sync_dir()?;
    target
        .remove(RESTORING)
        .map_err(|e| Error::io(Op::Remove, RESTORING, e))?;
    sync_dir()?;
    progress(total, total);
    Ok(Restored {
        seq: index.seq,
        files: index.files.len() as u64,
        bytes: total,
    })
}

fn bad(what: &'static str, file: &str, expected: u64, found: u64) -> Error {
    Error::Corrupt {
        what,
        file: file.to_owned(),
        offset: 0,
        expected,
        found,
    }
}

/// The segment that the checkpoint names must be there; nothing has been written to it.
fn log_segment(target: &dyn Device, index: &Index) -> Result<(), Error> {
    let name = &index.log_name;
    if !matches!(StoreFile::parse(name), Some(StoreFile::Log(_))) || index.log_len > 1 << 30 {
        return Err(bad("index of a backup (log)", super::INDEX, 0, 0));
    }
    let written = || {
        let file = target.open(name, true)?;
        file.set_len(0)?;
        file.write_at(&[IoSlice::new(&index.log_header)], 0)?;
        let zeros = vec![0; 256 << 10];
        let mut at = index.log_header.len() as u64;
        while at < index.log_len {
            let n = (index.log_len - at).min(zeros.len() as u64);
            file.write_at(&[IoSlice::new(&zeros[..n as usize])], at)?;
            at += n;
        }
        file.sync()
    };
    written().map_err(|e| Error::io(Op::Write, name, e))
}
