//! Reads and verifies every byte that matters.

use crate::{
    Space, Store,
    error::Error,
    format::{Live, SPACE_BYTES},
    index::{Cursor, Slot},
    store::body_of,
};
use bytes::Bytes;
use pome_wal::{Log, LogOptions};
use std::{collections::BTreeMap, ops::Bound};

/// Something that is not as it should be.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Finding {
    /// What is wrong, where; `Corrupt` as a rule.
    pub error: Error,
    /// The key whose value is lost by it, when it is one.
    pub key: Option<(Space, Bytes)>,
}

/// What a check found.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Report {
    /// Bytes read.
    pub bytes: u64,
    /// Keys that have a value.
    pub keys: u64,
    /// Values in payload segments that were read.
    pub payloads: u64,
    /// Sorted tables that were read.
    pub tables: u64,
    /// Commits that were read from the log.
    pub commits: u64,
    /// What is wrong, in the order in which it was found.
    pub findings: Vec<Finding>,
}

impl Report {
    /// True when nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    fn add(&mut self, error: Error) {
        self.findings.push(Finding { error, key: None });
    }
}

impl Store {
    /// Verifies the superblock, every block of every table, the log, and every value; `progress` is told bytes done and in all. Commits go on
    /// meanwhile, save while the log is read.
    ///
    /// # Errors
    /// Only when the check itself cannot go on (`Closed`, `Io`); what is wrong with the store is in the [`Report`].
    pub fn check(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Report, Error> {
        let inner = self.inner();
        inner.alive()?;
        let mut report = Report::default();
        // No switch may come in between: the counts, the tables and the log are compared with each other.
        let _checkpoint = inner.checkpointing.lock();
        let _merge = inner.merging.lock();
        let info = self.info()?;
        let total = info.table_bytes + info.payload_bytes + info.log_bytes;
        let (manifest, faults) = {
            let switch = inner.switch.lock();
            (switch.manifest.clone(), switch.verify()?)
        };
        faults.into_iter().for_each(|e| report.add(e));

        self.check_log(&manifest, &mut report)?;
        report.bytes += info.log_bytes;
        progress(report.bytes, total);

        let (lower, snapshot) = {
            let state = inner.state.read();
            (
                state.lower.clone(),
                crate::Snapshot::new(inner.clone(), state.view()),
            )
        };
        for table in &lower.tables {
            let mut bytes = report.bytes;
            let mut errors = vec![];
            let read = table.verify(
                &mut |n| {
                    bytes += n;
                    progress(bytes.min(total), total);
                },
                &mut |e| errors.push(e),
            );
            report.bytes = bytes;
            report.tables += 1;
            errors
                .into_iter()
                .chain(read.err())
                .for_each(|e| report.add(e));
        }
        let sound = report.is_clean();

        let mut cursor = snapshot.everything();
        while let Some(entry) = cursor.next(false) {
            inner.alive()?;
            let (key, slot) = match entry {
                Ok(entry) => entry,
                Err(e) => {
                    // The tables were read above: what is bad in them is already told.
                    if sound {
                        report.add(e);
                    }
                    break;
                }
            };
            report.keys += 1;
            let Slot::Payload(at) = slot else {
                continue;
            };
            report.payloads += 1;
            report.bytes += u64::from(at.len);
            if let Err(error) = inner.payload([&key, &[]], &at) {
                report.findings.push(Finding {
                    error,
                    key: split_key(&key),
                });
            }
            progress(report.bytes.min(total), total);
        }

        // The counts decide which segments are removed; they must be those of the tables.
        if sound {
            let mut live: BTreeMap<u32, Live> = BTreeMap::new();
            let mut keys = 0;
            let layers = lower.table_layers().to_vec();
            let mut cursor = Cursor::new(layers, Bound::Unbounded, Bound::Unbounded);
            while let Some(entry) = cursor.next(false) {
                keys += 1;
                if let Slot::Payload(at) = entry?.1 {
                    let live = live.entry(at.segment).or_default();
                    live.bytes += u64::from(at.len);
                    live.values += 1;
                }
            }
            let counted: BTreeMap<u32, Live> = manifest.live.iter().copied().collect();
            let sum = |map: &BTreeMap<u32, Live>| map.values().map(|l| l.bytes).sum::<u64>();
            if counted != live || keys != manifest.keys {
                report.add(Error::Corrupt {
                    what: "count of live bytes",
                    file: crate::format::file_name(
                        crate::format::MANIFEST_PREFIX,
                        manifest.generation,
                    ),
                    offset: 0,
                    expected: sum(&live),
                    found: sum(&counted),
                });
            }
        }
        progress(total, total);
        Ok(report)
    }

    /// Recovers the log once more, reading only, and compares the outcome with what is in memory.
    fn check_log(
        &self,
        manifest: &crate::format::Manifest,
        report: &mut Report,
    ) -> Result<(), Error> {
        let inner = self.inner();
        let mut options = LogOptions::default();
        options.log_segment_bytes = inner.options.log_segment_bytes;
        options.payload_segment_bytes = inner.options.payload_segment_bytes;
        options.read_only = true;
        // Nothing may be written while it is read.
        let _writer = inner.writer.lock();
        let committed = inner.log.committed_seq();
        let mut last = manifest.start.seq;
        let opened = Log::open(inner.device.clone(), options, manifest.start, |commit| {
            last = commit.seq;
            report.commits += 1;
            body_of(inner.seal.as_deref(), commit.seq, commit.body).map(drop)
        });
        match opened {
            Ok((_, recovery)) => {
                for damage in recovery.damage {
                    report.add(Error::Corrupt {
                        what: "commit",
                        file: damage.file.unwrap_or_else(|| "log".to_owned()),
                        offset: damage.offset,
                        expected: damage.seqs.start,
                        found: damage.seqs.end,
                    });
                }
            }
            Err(e) => report.add(e),
        }
        if last != committed && report.is_clean() {
            report.add(Error::Corrupt {
                what: "end of the log (last commit)",
                file: "log".to_owned(),
                offset: 0,
                expected: committed,
                found: last,
            });
        }
        Ok(())
    }
}

fn split_key(whole: &Bytes) -> Option<(Space, Bytes)> {
    let space = whole.get(..SPACE_BYTES)?.try_into().ok()?;
    Some((Space(u64::from_be_bytes(space)), whole.slice(SPACE_BYTES..)))
}
