//! The log on disk against what is in memory.

use super::{Fault, Report};
use crate::{
    error::{Error, Op},
    format::Manifest,
    store::{Inner, body_of},
};
use pome_wal::{Device, Log, LogOptions};
use std::io::ErrorKind;

/// Recovers the log once more, reading only, and compares the outcome with what is in memory. Frames that a checkpoint covers are of no meaning any more,
/// and neither is what a crash leaves behind the last frame.
pub(super) fn check_log(
    inner: &Inner,
    manifest: &Manifest,
    report: &mut Report,
) -> Result<(), Error> {
    let mut options = LogOptions::default();
    options.log_segment_bytes = inner.options.log_segment_bytes;
    options.payload_segment_bytes = inner.options.payload_segment_bytes;
    options.read_only = true;
    // Nothing may be written while it is read.
    let _writer = inner.writer.lock();
    let committed = inner.log.committed_seq();
    let (opened, last, commits) = loop {
        let (mut last, mut commits) = (manifest.start.seq, 0);
        let opened = Log::open(
            inner.device.clone(),
            options.clone(),
            manifest.start,
            |commit| {
                last = commit.seq;
                commits += 1;
                body_of(inner.seal.as_deref(), commit.seq, commit.body).map(drop)
            },
        );
        match &opened {
            // A segment that nobody needs any more went between the listing and the reading. What is missing now is missing in the next listing too; none
            // is made meanwhile, so this ends.
            Err(e) if is_gone(&*inner.device, e)? => {}
            _ => break (opened, last, commits),
        }
    };
    report.commits += commits;
    let mut sound = true;
    match opened {
        Ok((_, recovery)) => {
            for damage in recovery.damage {
                sound = false;
                let file = damage.file.unwrap_or_else(|| "log".to_owned());
                let error = Error::Corrupt {
                    what: "commit",
                    file,
                    offset: damage.offset,
                    expected: damage.seqs.start,
                    found: damage.seqs.end,
                };
                report.add(Fault::Log, error);
            }
        }
        Err(e) => {
            sound = false;
            report.add(Fault::Log, e);
        }
    }
    if last != committed && sound {
        let error = Error::Corrupt {
            what: "end of the log (last commit)",
            file: "log".to_owned(),
            offset: 0,
            expected: committed,
            found: last,
        };
        report.add(Fault::Log, error);
    }
    Ok(())
}

/// True for a file that could not be opened since there is none of that name, nor one in the folder.
fn is_gone(device: &dyn Device, error: &Error) -> Result<bool, Error> {
    match error {
        Error::Io { file, source, .. } if source.kind() == ErrorKind::NotFound => {
            let names = device.list().map_err(|e| Error::io(Op::List, file, e))?;
            Ok(!names.contains(file))
        }
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Batch, Durability, Finding, Options, Snapshot, Space, Store};
    use parking_lot::Mutex;
    use pome_wal::SimDevice;
    use std::{io, sync::Arc};

    /// A disk on which something happens right after a listing.
    struct Meddled {
        disk: SimDevice,
        behind: Arc<Mutex<Option<Behind>>>,
    }

    type Behind = Box<dyn FnMut() + Send>;

    impl Device for Meddled {
        fn open(&self, name: &str, create: bool) -> io::Result<Arc<dyn pome_wal::File>> {
            self.disk.open(name, create)
        }
        fn list(&self) -> io::Result<Vec<String>> {
            let names = self.disk.list();
            if let Some(behind) = &mut *self.behind.lock() {
                behind();
            }
            names
        }
        fn remove(&self, name: &str) -> io::Result<()> {
            self.disk.remove(name)
        }
        fn rename(&self, from: &str, to: &str) -> io::Result<()> {
            self.disk.rename(from, to)
        }
        fn sync_dir(&self) -> io::Result<()> {
            self.disk.sync_dir()
        }
        fn boot_id(&self) -> [u8; 16] {
            self.disk.boot_id()
        }
        fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
            self.disk.lock()
        }
    }

    /// A store with a payload segment in which nothing lives but for a snapshot, one in which something does, and a log segment to be used again.
    fn filled() -> (Store, SimDevice, Arc<Mutex<Option<Behind>>>, Snapshot) {
        let disk = SimDevice::new(1);
        let behind = Arc::new(Mutex::new(None));
        let device = Meddled {
            disk: disk.clone(),
            behind: behind.clone(),
        };
        let options = Options {
            background: false,
            log_segment_bytes: 16 << 10,
            payload_segment_bytes: 64 << 10,
            ..Options::default()
        };
        let store = Store::open_on(Arc::new(device), options).unwrap();
        let put = |key: u8, len: usize| {
            let mut batch = Batch::new();
            batch.put(Space(1), [key], vec![key; len]);
            store.commit(batch, Durability::Buffered).unwrap();
        };
        for n in 0..6 {
            put(n % 2, 30_000);
        }
        let snapshot = store.snapshot();
        put(2, 30_000);
        for n in 0..60 {
            put(n % 2, if n < 6 { 30_000 } else { 1_000 });
        }
        store.checkpoint().unwrap();
        (store, disk, behind, snapshot)
    }

    fn findings(store: &Store) -> Vec<Finding> {
        store.check(&mut |_, _| {}).unwrap().findings
    }

    #[test]
    fn what_the_store_removes_meanwhile_is_not_missed() {
        let (store, disk, behind, snapshot) = filled();
        let files = || disk.list().unwrap().len();
        let before = files();
        let inner = store.inner().clone();
        let mut snapshot = Some(snapshot);
        *behind.lock() = Some(Box::new(move || {
            snapshot.take();
            inner.collect();
            inner.log.mark().unwrap();
        }));
        let found = findings(&store);
        assert!(found.is_empty(), "{found:?}");
        assert!(files() + 2 < before, "{before} files, and {}", files());
        behind.lock().take();
        store.close().unwrap();
    }

    #[test]
    fn what_goes_meanwhile_and_is_needed_is_missed() {
        for prefix in ["log-", "payload-"] {
            let (store, disk, behind, snapshot) = filled();
            drop(snapshot);
            store.inner().collect();
            store.inner().log.mark().unwrap();
            // In the log, what comes after the checkpoint.
            let mut batch = Batch::new();
            batch.put(Space(1), b"last", vec![1; 10]);
            store.commit(batch, Durability::Buffered).unwrap();
            assert!(findings(&store).is_empty());
            // The handles that this opens go on to show what they did.
            for key in [0, 1, 2] {
                assert!(store.get(Space(1), &[key]).unwrap().is_some());
            }
            let needed: Vec<_> = disk.list().unwrap();
            let needed: Vec<_> = needed.iter().filter(|n| n.starts_with(prefix)).collect();
            assert!(!needed.is_empty());
            for name in needed {
                let file = disk.open(name, false).unwrap();
                let mut bytes = vec![0; file.len().unwrap() as usize];
                file.read_at(&mut bytes, 0).unwrap();
                let (at, gone) = (disk.clone(), name.clone());
                *behind.lock() = Some(Box::new(move || {
                    let _ = at.remove(&gone);
                }));
                let found = findings(&store);
                behind.lock().take();
                assert!(!found.is_empty(), "{name} is gone, and nobody says so");
                let back = disk.open(name, true).unwrap();
                back.write_at(&[io::IoSlice::new(&bytes)], 0).unwrap();
                assert!(findings(&store).is_empty(), "{name} is back");
            }
            std::mem::forget(store);
        }
    }
}
