//! One run of a backup.

use super::{
    INDEX, INDEX_NEW, Index, Kept, LOG_HEADER_BYTES, copy, crc_of, lock, other_than_files, samples,
};
use crate::{
    Store,
    error::{Error, Op},
    format::{MANIFEST_PREFIX, Manifest, Superblock, file_name, file_number, manifest_file_bytes},
    index::Table,
    names::StoreFile,
    store::{Inner, make_folder},
    superblock::whole_manifest,
    view::Lower,
};
use pome_wal::{Device, File, PwriteDevice};
use std::{collections::BTreeSet, io::IoSlice, path::Path, sync::Arc};

/// What a run of a backup did. All sizes in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backup {
    /// The newest commit in it.
    pub seq: u64,
    /// Files that the backup is made of.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that this run copied; the others were there from an earlier one.
    pub copied_files: u64,
    /// Their bytes.
    pub copied_bytes: u64,
    /// Files of earlier runs that it removed.
    pub removed_files: u64,
}

/// A checkpoint and what it names, kept from being removed.
struct Moment {
    manifest: Manifest,
    superblock: Superblock,
    /// While it lives no file that the manifest names is removed.
    lower: Arc<Lower>,
    log_name: String,
    log_header: [u8; LOG_HEADER_BYTES],
    log_len: u64,
}

struct Run<'a> {
    source: &'a dyn Device,
    target: &'a dyn Device,
    /// What the run before left.
    before: Option<Index>,
    /// The store is the very one that the run before saw.
    same: bool,
    run: u64,
    done: u64,
    total: u64,
    report: Backup,
    progress: &'a mut dyn FnMut(u64, u64),
}

impl Store {
    /// Copies the store into the folder `dir`, which is made when it is missing; commits and reads go on meanwhile. The copy is that of one moment, and
    /// holds all that was committed before the call. What an earlier run has copied is not copied again. Every byte that is copied is checked first, so that a
    /// good backup is never replaced by a bad one. `progress` is told bytes done and in all.
    ///
    /// The backup is nothing that can be opened: see [`restore`](Self::restore). An encrypted store stays encrypted in it, under the same key.
    ///
    /// # Errors
    /// `NotABackup` when the folder holds other things, or the backup of another store; `Corrupt` when the store is damaged; `Full`, `Io`, `Locked`,
    /// `Poisoned`, `Closed`. The backup that was there before is whole then.
    pub fn backup(
        &self,
        dir: impl AsRef<Path>,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Backup, Error> {
        let dir = dir.as_ref();
        let name = dir.display().to_string();
        make_folder(dir).map_err(|e| Error::io(Op::Create, &name, e))?;
        let other = other_than_files(dir).map_err(|e| Error::io(Op::List, &name, e))?;
        if let Some(other) = other {
            return Err(not_ours(&name, &other));
        }
        let target = PwriteDevice::open(dir).map_err(|e| Error::io(Op::Open, &name, e))?;
        self.backup_named(&target, &name, progress)
    }

    /// As [`backup`](Self::backup), onto a device of the caller's: the simulated disk.
    ///
    /// # Errors
    /// As [`backup`](Self::backup).
    pub fn backup_on(
        &self,
        target: &dyn Device,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Backup, Error> {
        self.backup_named(target, "backup", progress)
    }

    fn backup_named(
        &self,
        target: &dyn Device,
        name: &str,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<Backup, Error> {
        let inner = self.inner();
        inner.alive()?;
        let list = || target.list().map_err(|e| Error::io(Op::List, name, e));
        refuse_other_things(&list()?, name)?;
        let _lock = lock(target, name)?;
        let names = list()?;
        let before = Index::load(target, &names)?;
        let moment = inner.moment()?;
        let store_id = moment.superblock.store_id;
        if let Some(before) = &before
            && Superblock::decode(&before.slot).map(|slot| slot.store_id) != Ok(store_id)
        {
            return Err(Error::NotABackup {
                dir: name.to_owned(),
                why: "it holds the backup of another store".to_owned(),
            });
        }
        let stamp = moment.superblock.stamp_bytes();
        let mut run = Run {
            source: &*inner.device,
            target,
            same: before.as_ref().is_some_and(|before| before.stamp == stamp),
            run: before.as_ref().map_or(1, |before| before.run + 1),
            before,
            done: 0,
            total: 0,
            report: Backup {
                seq: moment.manifest.start.seq,
                ..Backup::default()
            },
            progress,
        };
        let files = run.copy_all(inner, &moment)?;
        let index = Index {
            slot: moment.superblock.for_a_copy().encode().to_vec(),
            run: run.run,
            seq: moment.manifest.start.seq,
            stamp,
            log_name: moment.log_name,
            log_header: moment.log_header,
            log_len: moment.log_len,
            files,
        };
        drop(moment.lower);
        run.switch(&index)?;
        run.remove_others(&names, &index);
        run.report.files = index.files.len() as u64;
        run.report.bytes = index.bytes();
        (run.progress)(run.total, run.total);
        Ok(run.report)
    }
}

/// A folder that holds anything but a backup is none of ours.
fn refuse_other_things(names: &[String], dir: &str) -> Result<(), Error> {
    let ours = |name: &&String| {
        *name == "lock" || *name == INDEX || *name == INDEX_NEW || kept_run(name).is_some()
    };
    match names.iter().find(|name| !ours(name)) {
        None => Ok(()),
        Some(other) => Err(not_ours(dir, other)),
    }
}

fn not_ours(dir: &str, other: &str) -> Error {
    Error::NotABackup {
        dir: dir.to_owned(),
        why: format!("it holds other things ({other}); choose an empty folder"),
    }
}

/// The run that made a file of a backup, by its name.
fn kept_run(name: &str) -> Option<u64> {
    let (file, run) = name.rsplit_once('.')?;
    StoreFile::parse(file)?;
    file_number("", run)
}

impl Inner {
    /// A checkpoint of now, and its files kept where they are.
    fn moment(&self) -> Result<Moment, Error> {
        if self.options.read_only {
            // What lies behind the checkpoint stays out of the backup, so there must be nothing.
            if self.log.committed_seq() != self.switch.lock().manifest.start.seq {
                return Err(Error::ReadOnly {
                    store: self.name.clone(),
                });
            }
        } else {
            self.checkpoint()?;
        }
        let switch = self.switch.lock();
        let manifest = switch.manifest.clone();
        let superblock = *switch.superblock();
        let lower = self.state.read().lower.clone();
        let log_name = format!("log-{}", manifest.start.log);
        let io = |e| Error::io(Op::Read, &log_name, e);
        // Under the lock: after the next switch the segment may go.
        let file = self.device.open(&log_name, false).map_err(io)?;
        let mut log_header = [0; LOG_HEADER_BYTES];
        file.read_at(&mut log_header, 0).map_err(io)?;
        let log_len = file.len().map_err(io)?;
        Ok(Moment {
            manifest,
            superblock,
            lower,
            log_name,
            log_header,
            log_len,
        })
    }
}

impl Run<'_> {
    fn step(&mut self, bytes: u64) {
        self.done += bytes;
        (self.progress)(self.done.min(self.total), self.total);
    }

    /// Brings every file of the moment into the backup.
    fn copy_all(&mut self, inner: &Inner, moment: &Moment) -> Result<Vec<Kept>, Error> {
        let manifest = &moment.manifest;
        let payloads = self.payloads(inner, manifest)?;
        let tables: Vec<&Arc<Table>> = manifest
            .tables
            .iter()
            .filter_map(|meta| moment.lower.tables.iter().find(|table| table.meta == *meta))
            .collect();
        let table_bytes: u64 = tables.iter().map(|table| table.meta.len).sum();
        let payload_bytes: u64 = payloads.iter().map(|(_, len)| len).sum();
        self.total =
            manifest_file_bytes(moment.superblock.manifest_len) + table_bytes + payload_bytes;
        self.step(0);
        let mut files = vec![self.manifest(&moment.superblock)?];
        for table in tables {
            inner.alive()?;
            files.push(self.table(table)?);
        }
        for segment in payloads {
            inner.alive()?;
            files.push(self.payload(inner, &moment.lower, segment)?);
        }
        Ok(files)
    }

    /// The payload segments in which something lives, and how much of each belongs to the moment.
    fn payloads(&self, inner: &Inner, manifest: &Manifest) -> Result<Vec<(u32, u64)>, Error> {
        let lens = inner.log.payload_segments();
        let mut all = vec![];
        let current = manifest.start.payload;
        for (segment, len) in lens {
            match current {
                Some((number, upto)) if segment == number => all.push((segment, upto.min(len))),
                Some((number, _))
                    if segment < number
                        && manifest.live.iter().any(|(live, _)| *live == segment) =>
                {
                    all.push((segment, len));
                }
                // Nothing lives in it, or it was begun after the moment.
                _ => {}
            }
        }
        let missing = manifest
            .live
            .iter()
            .find(|(live, _)| !all.iter().any(|(segment, _)| segment == live));
        if let Some((segment, live)) = missing {
            return Err(Error::Corrupt {
                what: "payload segment (missing)",
                file: format!("payload-{segment}"),
                offset: 0,
                expected: live.bytes,
                found: 0,
            });
        }
        Ok(all)
    }

    fn open(&self, name: &str) -> Result<Arc<dyn File>, Error> {
        self.source
            .open(name, false)
            .map_err(|e| Error::io(Op::Open, name, e))
    }

    /// What the run before has of a file, if it is still there and looks like it.
    fn there(&self, name: &str, len: u64) -> Option<&Kept> {
        let kept = self
            .before
            .iter()
            .flat_map(|before| &before.files)
            .find(|kept| kept.name == name && kept.len == len)
            .filter(|_| self.same)?;
        let file = self.target.open(&kept.kept_as, false).ok()?;
        let whole = file.len().ok()? == len && samples(&*file, len).ok()? == kept.samples;
        whole.then_some(kept)
    }

    /// Copies a file whose bytes were found good; answers what the index shall say.
    fn copy(&mut self, name: &str, file: &dyn File, len: u64) -> Result<Kept, Error> {
        let kept_as = format!("{name}.{}", file_name("", self.run));
        let crc = {
            let (target, report) = (self.target, &mut self.report);
            let (done, total, progress) = (&mut self.done, self.total, &mut self.progress);
            let crc = copy((file, name), (target, &kept_as), len, &mut |n| {
                *done += n;
                progress((*done).min(total), total);
            })?;
            report.copied_files += 1;
            report.copied_bytes += len;
            crc
        };
        let samples = samples(file, len).map_err(|e| Error::io(Op::Read, name, e))?;
        Ok(Kept {
            name: name.to_owned(),
            kept_as,
            len,
            crc,
            samples,
        })
    }

    fn manifest(&mut self, superblock: &Superblock) -> Result<Kept, Error> {
        let name = file_name(MANIFEST_PREFIX, superblock.generation);
        let len = manifest_file_bytes(superblock.manifest_len);
        let crc = whole_manifest(self.source, superblock)?;
        if let Some(kept) = self.there(&name, len)
            && kept.crc == crc
        {
            let kept = kept.clone();
            self.step(len);
            return Ok(kept);
        }
        let kept = {
            let file = self.open(&name)?;
            self.copy(&name, &*file, len)?
        };
        same_crc("manifest", &name, crc, kept.crc)?;
        Ok(kept)
    }

    /// Tables are read in any case: they are small beside what they point at, and one bit of one value may be all in which two of a name differ.
    fn table(&mut self, table: &Table) -> Result<Kept, Error> {
        let (name, len) = (table.name(), table.meta.len);
        let mut first = None;
        table.reopened().verify(&mut |_| {}, &mut |fault| {
            first.get_or_insert(fault.error);
        });
        if let Some(error) = first {
            return Err(error);
        }
        let file = self.open(&name)?;
        if let Some(kept) = self.there(&name, len) {
            let kept = kept.clone();
            if crc_of(&*file, &name, len, &mut |_| {})? == kept.crc {
                self.step(len);
                return Ok(kept);
            }
        }
        self.copy(&name, &*file, len)
    }

    fn payload(
        &mut self,
        inner: &Inner,
        lower: &Lower,
        (segment, len): (u32, u64),
    ) -> Result<Kept, Error> {
        let name = format!("payload-{segment}");
        let file = self.open(&name)?;
        if let Some(kept) = self.there(&name, len)
            && samples(&*file, len).map_err(|e| Error::io(Op::Read, &name, e))? == kept.samples
        {
            let kept = kept.clone();
            self.step(len);
            return Ok(kept);
        }
        inner.verify_segment(segment, len, lower)?;
        self.copy(&name, &*file, len)
    }

    /// Makes the new index the one that holds.
    fn switch(&mut self, index: &Index) -> Result<(), Error> {
        let target = self.target;
        let sync_dir = || target.sync_dir().map_err(|e| Error::io(Op::Sync, INDEX, e));
        // The names of all copies are on disk before they are needed.
        sync_dir()?;
        let written = || {
            let file = target.open(INDEX_NEW, true)?;
            file.set_len(0)?;
            file.write_at(&[IoSlice::new(&index.encode())], 0)?;
            file.sync()
        };
        written().map_err(|e| Error::io(Op::Write, INDEX_NEW, e))?;
        target
            .rename(INDEX_NEW, INDEX)
            .map_err(|e| Error::io(Op::Write, INDEX, e))?;
        sync_dir()
    }

    /// Removes what the index does not name. What cannot be removed is left for the next run.
    fn remove_others(&mut self, names: &[String], index: &Index) {
        let named: BTreeSet<&str> = index.files.iter().map(|f| f.kept_as.as_str()).collect();
        for name in names {
            if kept_run(name).is_none() || named.contains(name.as_str()) {
                continue;
            }
            match self.target.remove(name) {
                Ok(()) => self.report.removed_files += 1,
                Err(e) => {
                    tracing::warn!(file = name, error = %e, "a file of an older backup stays")
                }
            }
        }
    }
}

fn same_crc(what: &'static str, name: &str, expected: u32, found: u32) -> Result<(), Error> {
    if expected == found {
        return Ok(());
    }
    Err(Error::Corrupt {
        what,
        file: name.to_owned(),
        offset: 0,
        expected: expected.into(),
        found: found.into(),
    })
}
