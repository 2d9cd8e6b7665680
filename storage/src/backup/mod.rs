//! Copies of a store in another folder, made while the store is in use; and a store from such a copy.
//!
//! ```text
//! backup                    which files the backup is made of: written whole, renamed into place
//! <file of the store>.<run> a file of the store as that run found it: written once, never changed
//! ```
//! A run copies the files of one checkpoint, which are never changed, so neither readers nor writers wait for it. Where the disk is too full for a
//! checkpoint, it copies the last one and the log behind it: a store from that begins with a recovery, as after a crash. What the run before has copied
//! already is left as it is. The new index is renamed into place when all it names is on disk, and only then files that it does not name are removed:
//! a run that is cut short at any point leaves the backup before it, whole.
//!
//! The index (all numbers little-endian; *varint* and *bytes* as in the manifest):
//! ```text
//! pomeback │ version u32, 1; 2 with the log │ superblock slot 4096 │ run │ seq │ stamp 32 │ log name bytes │ log header 32 │ log length │
//! files: count, (name bytes, kept as bytes, length, crc32 of the whole u32, crc32 of samples u32)… │ crc32 u32
//! ```

mod restore;
mod run;

pub(crate) use restore::RESTORING;
pub use restore::Restored;
pub use run::Backup;

use crate::{
    error::{Error, Op},
    format::{Input, SLOT_BYTES, put_varint},
    names::StoreFile,
};
use pome_wal::{Device, File};
use std::{
    io::{self, IoSlice},
    path::Path,
    sync::Arc,
};

const INDEX: &str = "backup";
const INDEX_NEW: &str = "backup.new";
const MAGIC: [u8; 8] = *b"pomeback";
/// Of an index whose files are those of a checkpoint.
const VERSION: u32 = 1;
/// Of one that has log segments among them: who does not know of them would lose commits.
const VERSION_WITH_LOG: u32 = 2;
/// An index larger than this is not read. It has room for more than a million files.
const INDEX_BYTES_MAX: u64 = 128 << 20;
/// Files are copied in pieces of this size.
const PIECE_BYTES: usize = 1 << 20;
/// How many pieces of a file are compared, and how long each is.
const SAMPLES: u64 = 64;
const SAMPLE_BYTES: usize = 4096;
/// The header of a log segment.
const LOG_HEADER_BYTES: usize = 32;

/// A file of the store, as the backup has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Kept {
    /// Its name in the store.
    name: String,
    /// Its name in the backup.
    kept_as: String,
    /// In bytes. The store's file may have grown since.
    len: u64,
    crc: u32,
    /// Over samples of it: see [`samples`].
    samples: u32,
}

/// What a backup is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Index {
    /// The superblock's slot of the store that will be made from it: without a stamp, recovering.
    slot: Vec<u8>,
    /// Grows by one with each run.
    run: u64,
    /// The newest commit in it.
    seq: u64,
    /// The stamp of the store's folder: files of a copy of the store are not taken for its own.
    stamp: [u8; 32],
    /// The log segment that the checkpoint names. Unless the log is among the files, nothing in it is needed but that it is there.
    log_name: String,
    log_header: [u8; LOG_HEADER_BYTES],
    log_len: u64,
    files: Vec<Kept>,
}

fn put_name(out: &mut Vec<u8>, name: &str) {
    put_varint(out, name.len() as u64);
    out.extend_from_slice(name.as_bytes());
}

/// A name from an index: it may come from anywhere, and must not lead out of a folder.
fn take_name(input: &mut Input<'_>) -> Option<String> {
    let name = std::str::from_utf8(input.counted()?).ok()?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let fits = !name.is_empty() && !name.starts_with('.') && name.chars().all(plain);
    fits.then(|| name.to_owned())
}

impl Index {
    fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let version = match self.has_log() {
            true => VERSION_WITH_LOG,
            false => VERSION,
        };
        out.extend_from_slice(&version.to_le_bytes());
        out.extend_from_slice(&self.slot);
        put_varint(&mut out, self.run);
        put_varint(&mut out, self.seq);
        out.extend_from_slice(&self.stamp);
        put_name(&mut out, &self.log_name);
        out.extend_from_slice(&self.log_header);
        put_varint(&mut out, self.log_len);
        put_varint(&mut out, self.files.len() as u64);
        for file in &self.files {
            put_name(&mut out, &file.name);
            put_name(&mut out, &file.kept_as);
            put_varint(&mut out, file.len);
            out.extend_from_slice(&file.crc.to_le_bytes());
            out.extend_from_slice(&file.samples.to_le_bytes());
        }
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, BadIndex> {
        let mut input = Input::new(bytes);
        let magic: Option<[u8; 8]> = input.array();
        if magic != Some(MAGIC) {
            return Err(BadIndex::Garbage);
        }
        // A later version may lay out the rest in another way, so its crc cannot be asked for.
        match input.u32() {
            Some(VERSION | VERSION_WITH_LOG) => {}
            Some(found) => return Err(BadIndex::Version(found)),
            None => return Err(BadIndex::Garbage),
        }
        let at = bytes.len().checked_sub(4).ok_or(BadIndex::Garbage)?;
        let (content, crc) = bytes.split_at(at);
        let found = crc32fast::hash(content);
        if found.to_le_bytes() != crc {
            let expected = Input::new(crc).u32().unwrap_or_default();
            return Err(BadIndex::Crc { expected, found });
        }
        let mut input = Input::new(content);
        input.bytes(12).ok_or(BadIndex::Garbage)?;
        Self::fields(&mut input)
            .filter(|_| input.is_empty())
            .ok_or(BadIndex::Garbage)
    }

    fn fields(input: &mut Input<'_>) -> Option<Self> {
        let mut index = Self {
            slot: input.bytes(SLOT_BYTES)?.to_vec(),
            run: input.varint()?,
            seq: input.varint()?,
            stamp: input.array()?,
            log_name: take_name(input)?,
            log_header: input.array()?,
            log_len: input.varint()?,
            files: vec![],
        };
        for _ in 0..input.varint()? {
            index.files.push(Kept {
                name: take_name(input)?,
                kept_as: take_name(input)?,
                len: input.varint()?,
                crc: input.u32()?,
                samples: input.u32()?,
            });
        }
        Some(index)
    }

    /// True when the log goes along.
    fn has_log(&self) -> bool {
        let is_log = |file: &Kept| matches!(StoreFile::parse(&file.name), Some(StoreFile::Log(_)));
        self.files.iter().any(is_log)
    }

    /// Reads the index of a backup; `None` when there is none.
    fn load(device: &dyn Device, names: &[String]) -> Result<Option<Self>, Error> {
        if !names.iter().any(|name| name == INDEX) {
            return Ok(None);
        }
        let io = |e| Error::io(Op::Read, INDEX, e);
        let file = device.open(INDEX, false).map_err(io)?;
        let len = file.len().map_err(io)?;
        let corrupt = |what, expected: u64, found: u64| Error::Corrupt {
            what,
            file: INDEX.to_owned(),
            offset: 0,
            expected,
            found,
        };
        if len > INDEX_BYTES_MAX {
            return Err(corrupt("index of a backup (length)", INDEX_BYTES_MAX, len));
        }
        let mut bytes = vec![0; len as usize];
        let n = file.read_at(&mut bytes, 0).map_err(io)?;
        bytes.truncate(n);
        match Self::decode(&bytes) {
            Ok(index) => Ok(Some(index)),
            Err(BadIndex::Version(found)) => Err(Error::UnknownVersion {
                file: INDEX.to_owned(),
                found,
                known: VERSION_WITH_LOG,
            }),
            Err(BadIndex::Crc { expected, found }) => {
                Err(corrupt("index of a backup", expected.into(), found.into()))
            }
            Err(BadIndex::Garbage) => Err(corrupt("index of a backup", 0, 0)),
        }
    }

    fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.len).sum()
    }
}

/// Why an index is not read.
#[derive(Debug, PartialEq, Eq)]
enum BadIndex {
    Garbage,
    Version(u32),
    Crc { expected: u32, found: u32 },
}

/// A crc over [`SAMPLES`] pieces of a file, spread evenly; over all of it when it is small. Two files of one name that are not the same (a store that was
/// put back to an earlier state, and then went another way) differ in all that was written since, so samples tell.
fn samples(file: &dyn File, len: u64) -> io::Result<u32> {
    let mut hasher = crc32fast::Hasher::new();
    let mut buf = [0; SAMPLE_BYTES];
    let size = SAMPLE_BYTES as u64;
    let step = (len / SAMPLES).max(size);
    let mut at = 0;
    while at < len {
        // The last is the very end.
        let last = at + step >= len;
        let from = if last {
            len.saturating_sub(size).max(at)
        } else {
            at
        };
        let want = (len - from).min(size) as usize;
        let n = file.read_at(&mut buf[..want], from)?;
        hasher.update(&buf[..n]);
        at += step;
    }
    Ok(hasher.finalize())
}

/// Copies the first `len` bytes of a file into a new one and syncs it. Answers their crc.
fn copy(
    (source, name): (&dyn File, &str),
    (target, to): (&dyn Device, &str),
    len: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<u32, Error> {
    let file: Arc<dyn File> = target
        .open(to, true)
        .and_then(|file| file.set_len(0).map(|()| file))
        .map_err(|e| Error::io(Op::Create, to, e))?;
    let mut hasher = crc32fast::Hasher::new();
    let mut buf = vec![0; PIECE_BYTES.min(len as usize).max(1)];
    let mut at = 0;
    while at < len {
        let want = (len - at).min(buf.len() as u64) as usize;
        let n = source
            .read_at(&mut buf[..want], at)
            .map_err(|e| Error::io(Op::Read, name, e))?;
        if n < want {
            return Err(Error::Corrupt {
                what: "file length",
                file: name.to_owned(),
                offset: 0,
                expected: len,
                found: at + n as u64,
            });
        }
        hasher.update(&buf[..n]);
        file.write_at(&[IoSlice::new(&buf[..n])], at)
            .map_err(|e| Error::io(Op::Write, to, e))?;
        at += n as u64;
        progress(n as u64);
    }
    file.sync().map_err(|e| Error::io(Op::Sync, to, e))?;
    Ok(hasher.finalize())
}

/// The crc of the first `len` bytes of a file.
fn crc_of(
    file: &dyn File,
    name: &str,
    len: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<u32, Error> {
    let mut hasher = crc32fast::Hasher::new();
    let mut buf = vec![0; PIECE_BYTES.min(len as usize).max(1)];
    let mut at = 0;
    while at < len {
        let want = (len - at).min(buf.len() as u64) as usize;
        let n = file
            .read_at(&mut buf[..want], at)
            .map_err(|e| Error::io(Op::Read, name, e))?;
        if n == 0 {
            break;
        }
        hasher.update(&buf[..n]);
        at += n as u64;
        progress(n as u64);
    }
    Ok(hasher.finalize())
}

/// What is in a folder besides files, of which the device says nothing.
fn other_than_files(dir: &Path) -> io::Result<Option<String>> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if !entry.file_type()?.is_file() {
            return Ok(Some(entry.file_name().to_string_lossy().into_owned()));
        }
    }
    Ok(None)
}

/// Takes the lock of a folder that is no store.
fn lock(device: &dyn Device, name: &str) -> Result<Box<dyn Send + Sync>, Error> {
    device.lock().map_err(|e| match e.kind() {
        io::ErrorKind::WouldBlock => Error::Locked {
            store: name.to_owned(),
        },
        _ => Error::io(Op::Lock, name, e),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        Index {
            slot: vec![7; SLOT_BYTES],
            run: 3,
            seq: 99,
            stamp: [5; 32],
            log_name: "log-1".into(),
            log_header: [1; LOG_HEADER_BYTES],
            log_len: 4096,
            files: vec![Kept {
                name: "table-00000001".into(),
                kept_as: "table-00000001.00000003".into(),
                len: 10,
                crc: 11,
                samples: 12,
            }],
        }
    }

    #[test]
    fn the_index_reads_as_written() {
        assert_eq!(Index::decode(&index().encode()), Ok(index()));
        // A reader that knows of no log among the files refuses.
        assert_eq!(index().encode()[8], 1);
        let mut with_log = index();
        with_log.files[0].name = "log-1".into();
        assert_eq!(with_log.encode()[8], 2);
        assert_eq!(Index::decode(&with_log.encode()), Ok(with_log));
    }

    #[test]
    fn a_bad_index_is_named() {
        let bytes = index().encode();
        for len in 0..bytes.len() {
            assert!(Index::decode(&bytes[..len]).is_err());
        }
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert!(Index::decode(&bad).is_err(), "byte {at}");
        }
        let mut newer = bytes;
        newer[8] = 3;
        assert_eq!(Index::decode(&newer), Err(BadIndex::Version(3)));
    }

    #[test]
    fn no_name_leads_out_of_the_folder() {
        for bad in ["../x", "a/b", "", ".", "..", ".hidden", "a\0b"] {
            let mut out = vec![];
            put_name(&mut out, bad);
            assert_eq!(take_name(&mut Input::new(&out)), None, "{bad:?}");
        }
    }
}
