//! One run of a backup.

use super::{
    INDEX, INDEX_NEW, Index, Kept, LOG_HEADER_BYTES, copy, crc_of, lock, other_than_files, samples,
};
use crate::{
    Store,
    error::{Error, Op},
    format::{MANIFEST_PREFIX, Manifest, Superblock, file_name, file_number, manifest_file_bytes},
    index::{Layer, Table},
    names::StoreFile,
    store::{Inner, make_folder},
    superblock::whole_manifest,
    view::View,
};
use parking_lot::MutexGuard;
use pome_wal::{Device, File, PwriteDevice};
use std::{cmp::Ordering, collections::BTreeSet, io::IoSlice, path::Path, sync::Arc};

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

/// What a backup is made of, kept from being removed and changed.
struct Moment<'a> {
    /// The newest commit.
    seq: u64,
    manifest: Manifest,
    superblock: Superblock,
    /// Open, since the next switch removes its name.
    manifest_file: Arc<dyn File>,
    manifest_crc: u32,
    /// While it lives no table or payload segment of the moment is removed.
    view: View,
    /// What of the view belongs to it.
    layers: Vec<Layer>,
    /// Payload segments, and how much of each.
    payloads: Vec<(u32, u64)>,
    /// The log behind the checkpoint, when it goes along: segments, and how much of each.
    log: Vec<(u32, u64)>,
    /// The segment that the checkpoint names.
    log_name: String,
    log_header: [u8; LOG_HEADER_BYTES],
    log_len: u64,
    /// The log stays as it is while this is held.
    _no_checkpoint: Option<MutexGuard<'a, ()>>,
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
    /// A checkpoint is made first. Where the store's disk has no room for one, the last checkpoint is copied with the log behind it, and none is made meanwhile.
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
                seq: moment.seq,
                ..Backup::default()
            },
            progress,
        };
        let files = run.copy_all(inner, &moment)?;
        let index = Index {
            slot: moment.superblock.for_a_copy().encode().to_vec(),
            run: run.run,
            seq: moment.seq,
            stamp,
            log_name: moment.log_name.clone(),
            log_header: moment.log_header,
            log_len: moment.log_len,
            files,
        };
        drop(moment);
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
    /// A checkpoint of now, and its files kept where they are. Where the disk has no room for one, the last checkpoint with the log behind it.
    fn moment(&self) -> Result<Moment<'_>, Error> {
        if self.options.read_only {
            // What lies behind the checkpoint stays out of the backup, so there must be nothing.
            if self.log.committed_seq() != self.switch.lock().manifest.start.seq {
                return Err(Error::ReadOnly {
                    store: self.name.clone(),
                });
            }
            return self.moment_of(None);
        }
        match self.checkpoint() {
            Ok(_) => self.moment_of(None),
            Err(Error::Full { .. }) => self.moment_of(Some(self.checkpointing.lock())),
            Err(e) => Err(e),
        }
    }

    /// The last checkpoint; with the log when no other can be made meanwhile.
    fn moment_of<'a>(
        &'a self,
        no_checkpoint: Option<MutexGuard<'a, ()>>,
    ) -> Result<Moment<'a>, Error> {
        let with_log = no_checkpoint.is_some();
        // So that the log, the lengths of the segments and the view are those of one moment.
        let _writer = self.writer.lock();
        let switch = self.switch.lock();
        let (manifest, superblock) = (switch.manifest.clone(), *switch.superblock());
        let view = self.state.read().view();
        let name = file_name(MANIFEST_PREFIX, superblock.generation);
        let open = |name: &str| {
            let file = self.device.open(name, false);
            file.map_err(|e| Error::io(Op::Open, name, e))
        };
        let log_name = format!("log-{}", manifest.start.log);
        let io = |e| Error::io(Op::Read, &log_name, e);
        let file = open(&log_name)?;
        let mut log_header = [0; LOG_HEADER_BYTES];
        file.read_at(&mut log_header, 0).map_err(io)?;
        Ok(Moment {
            seq: match with_log {
                true => self.log.committed_seq(),
                false => manifest.start.seq,
            },
            manifest_file: open(&name)?,
            manifest_crc: whole_manifest(&*self.device, &superblock)?,
            layers: match with_log {
                true => view.layers(),
                false => view.lower().table_layers().to_vec(),
            },
            view,
            payloads: self.payloads_of(&manifest, with_log)?,
            log: match with_log {
                true => self.log.log_segments(),
                false => vec![],
            },
            log_len: file.len().map_err(io)?,
            log_name,
            log_header,
            manifest,
            superblock,
            _no_checkpoint: no_checkpoint,
        })
    }

    /// The payload segments in which something lives, and how much of each belongs to the checkpoint, or to it and the log.
    fn payloads_of(&self, manifest: &Manifest, with_log: bool) -> Result<Vec<(u32, u64)>, Error> {
        let lives = |segment| manifest.live.iter().any(|(live, _)| *live == segment);
        let (current, upto) = manifest.start.payload.unwrap_or((0, 0));
        let mut all = self.log.payload_segments();
        all.retain_mut(|(segment, len)| match (*segment).cmp(&current) {
            Ordering::Less => lives(*segment),
            Ordering::Equal if with_log => true,
            Ordering::Equal => {
                *len = upto.min(*len);
                true
            }
            Ordering::Greater => with_log,
        });
        let here = |segment| all.iter().any(|(number, _)| *number == segment);
        match manifest.live.iter().find(|(live, _)| !here(*live)) {
            None => Ok(all),
            Some((segment, live)) => Err(Error::Corrupt {
                what: "payload segment (missing)",
                file: format!("payload-{segment}"),
                offset: 0,
                expected: live.bytes,
                found: 0,
            }),
        }
    }

    /// What of the log is not as it was written is the error.
    fn verify_log(&self) -> Result<(), Error> {
        match self.log.check_log()?.into_iter().next() {
            None => Ok(()),
            Some(bad) => Err(Error::Corrupt {
                what: "commit",
                file: bad.file,
                offset: bad.offset,
                expected: bad.len,
                found: 0,
            }),
        }
    }
}

impl Run<'_> {
    fn step(&mut self, bytes: u64) {
        self.done += bytes;
        (self.progress)(self.done.min(self.total), self.total);
    }

    /// Brings every file of the moment into the backup.
    fn copy_all(&mut self, inner: &Inner, moment: &Moment<'_>) -> Result<Vec<Kept>, Error> {
        let manifest = &moment.manifest;
        let known = &moment.view.lower().tables;
        let tables: Vec<&Arc<Table>> = manifest
            .tables
            .iter()
            .filter_map(|meta| known.iter().find(|table| table.meta == *meta))
            .collect();
        let table_bytes: u64 = tables.iter().map(|table| table.meta.len).sum();
        let sum = |files: &[(u32, u64)]| files.iter().map(|(_, len)| len).sum::<u64>();
        self.total = manifest_file_bytes(moment.superblock.manifest_len)
            + table_bytes
            + sum(&moment.payloads)
            + sum(&moment.log);
        self.step(0);
        let mut files = vec![self.manifest(moment)?];
        if !moment.log.is_empty() {
            inner.verify_log()?;
        }
        for (number, len) in &moment.log {
            inner.alive()?;
            let name = format!("log-{number}");
            let file = self.open(&name)?;
            files.push(self.copy(&name, &*file, *len)?);
        }
        for table in tables {
            inner.alive()?;
            files.push(self.table(table)?);
        }
        for segment in &moment.payloads {
            inner.alive()?;
            files.push(self.payload(inner, &moment.layers, *segment)?);
        }
        Ok(files)
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

    fn manifest(&mut self, moment: &Moment<'_>) -> Result<Kept, Error> {
        let name = file_name(MANIFEST_PREFIX, moment.superblock.generation);
        let len = manifest_file_bytes(moment.superblock.manifest_len);
        if let Some(kept) = self.there(&name, len)
            && kept.crc == moment.manifest_crc
        {
            let kept = kept.clone();
            self.step(len);
            return Ok(kept);
        }
        let kept = self.copy(&name, &*moment.manifest_file, len)?;
        same_crc("manifest", &name, moment.manifest_crc, kept.crc)?;
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
        layers: &[Layer],
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
        inner.verify_segment(segment, len, layers)?;
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
