//! The overlay in the store: every change that was answered and is not published yet.
//!
//! One local keyspace per drive, `mount/<drive key>`, in the same commits as everything else. Keys:
//!
//! ```text
//! 'h'                                                          {"format": 1}
//! 'n' inode u64                                                a node, JSON (`NodeRecord`)
//! 'w' folder inode u64, name                                   a name of the drive folder that is deleted here; no value
//! 'l' folder inode u64, name                                   one more name of a node (hard link): inode u64; 1 where the drive folder has it too;
//!                                                              1 where it was put there here
//! 'd' inode u64, record u64, 0, offset u64, 0 u64, time        a write; the value is the bytes
//! 'd' inode u64, record u64, 1, size u64, 0 u64, time          a truncation (or extension) to `size`
//! 'd' inode u64, record u64, 2, offset u64, length u64, time   zeros
//! 'd' inode u64, record u64, 3, offset u64, length u64, time   bytes that the drive has; the value is JSON (`Shared`)
//! 't' path                                                     times of a published folder without a description: seconds i64, nanoseconds u32
//! ```
//! Integers are big-endian, so that a file's records come in the order in which they were made; a record's number grows
//! over all files. A time is seconds `i64` and nanoseconds `u32`: the file's mtime after it. A node's own record says up to
//! which record number it speaks (`seq`): a write after it has the later mtime. Records of an inode without a node
//! are what a crash left of a deleted file that was still open.

use super::{
    attrs::{Attrs, Time},
    error::{Result, VfsError},
    lower::Content,
    node::{Ino, Slot},
};
use crate::posix::Special;
use bytes::Bytes;
use pome_cores::{Batch, Corestore, Durability, Local, Seq, Space, Store};
use serde::{Deserialize, Serialize};

/// Format 2 knows files of several names, and what is no file, folder or symlink; 3 knows which names were put there here: of what an older one has, all
/// count as such. Otherwise they are alike.
const FORMAT: u64 = 3;
const HEADER: u8 = b'h';
const NODE: u8 = b'n';
const GONE: u8 = b'w';
const NAME: u8 = b'l';
const DATA: u8 = b'd';
const FOLDER_TIME: u8 = b't';

#[derive(Serialize, Deserialize)]
struct Header {
    format: u64,
}

/// A node as the overlay keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct NodeRecord {
    pub(crate) parent: Ino,
    pub(crate) name: String,
    /// The drive folder has this name too.
    pub(crate) lower: bool,
    /// It was put at this name here. Says nothing unless `changed`.
    #[serde(default = "yes")]
    pub(crate) put: bool,
    /// False for a folder that is here only because something below it changed.
    pub(crate) changed: bool,
    /// Newest data record when this was written.
    pub(crate) seq: u64,
    pub(crate) attrs: Attrs,
    pub(crate) kind: KindRecord,
    /// The number of a file of several names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) link: Option<u64>,
}

fn yes() -> bool {
    true
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum KindRecord {
    Folder {
        lower: Option<String>,
        described: bool,
    },
    File {
        base: Option<Content>,
    },
    Link {
        target: String,
    },
    Special(Special),
}

/// A data record, as its key tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DataRecord {
    pub(crate) ino: Ino,
    pub(crate) seq: u64,
    pub(crate) what: What,
    pub(crate) time: Time,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// The length is the value's.
    Write {
        offset: u64,
        len: u64,
    },
    Truncate {
        size: u64,
    },
    Zero {
        offset: u64,
        len: u64,
    },
    /// The value is a [`Shared`].
    Share {
        offset: u64,
        len: u64,
    },
}

/// Bytes that were copied from another file, as far as the drive has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Shared {
    pub(crate) content: Content,
    /// Its first byte that was copied.
    pub(crate) start: u64,
}

impl Shared {
    pub(crate) fn encode(&self) -> Result<Bytes> {
        let text = serde_json::to_vec(self).map_err(|_| VfsError::Damaged { what: "copy" })?;
        Ok(text.into())
    }

    pub(crate) fn decode(value: &[u8]) -> Result<Self> {
        serde_json::from_slice(value).map_err(|_| VfsError::Damaged { what: "copy" })
    }
}

impl DataRecord {
    pub(crate) fn key(&self) -> Vec<u8> {
        let (kind, a, b) = match self.what {
            What::Write { offset, len } => (0u8, offset, len),
            What::Truncate { size } => (1, size, 0),
            What::Zero { offset, len } => (2, offset, len),
            What::Share { offset, len } => (3, offset, len),
        };
        let mut key = Vec::with_capacity(46);
        key.push(DATA);
        key.extend_from_slice(&self.ino.to_be_bytes());
        key.extend_from_slice(&self.seq.to_be_bytes());
        key.push(kind);
        key.extend_from_slice(&a.to_be_bytes());
        key.extend_from_slice(&b.to_be_bytes());
        key.extend_from_slice(&self.time.0.to_be_bytes());
        key.extend_from_slice(&self.time.1.to_be_bytes());
        key
    }

    fn parse(key: &[u8]) -> Option<Self> {
        let (&tag, rest) = key.split_first()?;
        let (ino, rest) = u64_of(rest)?;
        let (seq, rest) = u64_of(rest)?;
        let (&kind, rest) = rest.split_first()?;
        let (a, rest) = u64_of(rest)?;
        let (b, rest) = u64_of(rest)?;
        let (seconds, rest) = u64_of(rest)?;
        let nanoseconds = u32::from_be_bytes(rest.try_into().ok()?);
        let what = match kind {
            0 => What::Write { offset: a, len: b },
            1 => What::Truncate { size: a },
            2 => What::Zero { offset: a, len: b },
            3 => What::Share { offset: a, len: b },
            _ => return None,
        };
        let sane = match what {
            What::Write { offset, len }
            | What::Zero { offset, len }
            | What::Share { offset, len } => offset.checked_add(len).is_some(),
            What::Truncate { .. } => true,
        };
        (tag == DATA && sane).then_some(Self {
            ino,
            seq,
            what,
            time: Time(seconds.cast_signed(), nanoseconds),
        })
    }
}

fn u64_of(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*head), rest))
}

fn node_key(ino: Ino) -> Vec<u8> {
    [&[NODE][..], &ino.to_be_bytes()].concat()
}

fn gone_key(folder: Ino, name: &str) -> Vec<u8> {
    [&[GONE][..], &folder.to_be_bytes(), name.as_bytes()].concat()
}

fn name_key(folder: Ino, name: &str) -> Vec<u8> {
    [&[NAME][..], &folder.to_be_bytes(), name.as_bytes()].concat()
}

fn data_prefix(ino: Ino) -> Vec<u8> {
    [&[DATA][..], &ino.to_be_bytes()].concat()
}

/// All that a crash (or an unmount that could not publish) left.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) nodes: Vec<(Ino, NodeRecord)>,
    pub(crate) gone: Vec<(Ino, String)>,
    /// Further names: folder, name, inode, whether the drive folder has it, whether it was put there here.
    pub(crate) names: Vec<(Ino, String, Ino, bool, bool)>,
    /// In the order in which they were made, file by file.
    pub(crate) data: Vec<(DataRecord, Option<Shared>)>,
    /// Newest record number.
    pub(crate) seq: u64,
}

/// See the [module](self).
pub(crate) struct Overlay {
    store: Store,
    local: Local,
    /// Newest record number.
    seq: u64,
    /// Newest commit of this mount, for `fsync`.
    last: Seq,
    /// False for a mount that may not write: there may be one beside it that does, and then all of it is that one's.
    writes: bool,
}

impl Overlay {
    /// The overlay called `name`, with all that is in it.
    pub(crate) fn open(corestore: &Corestore, name: &str) -> Result<(Self, Loaded)> {
        let local = corestore.local(name)?;
        let store = corestore.store().clone();
        let mut overlay = Self {
            store,
            local,
            seq: 0,
            last: Seq::default(),
            writes: true,
        };
        match overlay.local.get(&[HEADER])? {
            None => overlay.put_header()?,
            Some(bytes) => {
                let header: Header = serde_json::from_slice(&bytes)
                    .map_err(|_| VfsError::Damaged { what: "header" })?;
                match header.format {
                    FORMAT => {}
                    1..FORMAT => overlay.put_header()?,
                    found => {
                        let known = FORMAT;
                        return Err(VfsError::UnknownOverlay { found, known });
                    }
                }
            }
        }
        let loaded = overlay.load()?;
        overlay.seq = loaded.seq;
        Ok((overlay, loaded))
    }

    fn put_header(&mut self) -> Result<()> {
        let header = serde_json::to_vec(&Header { format: FORMAT })
            .map_err(|_| VfsError::Damaged { what: "header" })?;
        let mut batch = Batch::new();
        batch.put(self.space(), vec![HEADER], header);
        self.commit(batch)
    }

    fn load(&self) -> Result<Loaded> {
        let mut loaded = Loaded::default();
        for item in self.local.range(&[NODE][..]..&[NODE + 1][..]) {
            let (key, value) = item.map_err(pome_cores::Error::from)?;
            let ino = key
                .get(1..)
                .and_then(u64_of)
                .ok_or(VfsError::Damaged { what: "node key" })?
                .0;
            let record: NodeRecord =
                serde_json::from_slice(&value).map_err(|_| VfsError::Damaged { what: "node" })?;
            loaded.seq = loaded.seq.max(record.seq);
            loaded.nodes.push((ino, record));
        }
        let snapshot = self.store.snapshot();
        for key in snapshot.keys(self.space(), &[GONE][..]..&[GONE + 1][..]) {
            let key = key.map_err(pome_cores::Error::from)?;
            let (folder, name) = key
                .get(1..)
                .and_then(u64_of)
                .ok_or(VfsError::Damaged { what: "deletion" })?;
            let name =
                std::str::from_utf8(name).map_err(|_| VfsError::Damaged { what: "deletion" })?;
            loaded.gone.push((folder, name.to_owned()));
        }
        for item in self.local.range(&[NAME][..]..&[NAME + 1][..]) {
            let (key, value) = item.map_err(pome_cores::Error::from)?;
            let damaged = || VfsError::Damaged { what: "name" };
            let (folder, name) = key.get(1..).and_then(u64_of).ok_or_else(damaged)?;
            let name = std::str::from_utf8(name).map_err(|_| damaged())?;
            let (ino, rest) = u64_of(&value).ok_or_else(damaged)?;
            let lower = rest.first() == Some(&1);
            let put = rest.get(1) != Some(&0);
            loaded
                .names
                .push((folder, name.to_owned(), ino, lower, put));
        }
        for key in snapshot.keys(self.space(), &[DATA][..]..&[DATA + 1][..]) {
            let key = key.map_err(pome_cores::Error::from)?;
            let record = DataRecord::parse(&key).ok_or(VfsError::Damaged { what: "write" })?;
            loaded.seq = loaded.seq.max(record.seq);
            let shared = match record.what {
                What::Share { .. } => {
                    let value = self.local.get(&key)?;
                    let value = value.ok_or(VfsError::Damaged { what: "copy" })?;
                    Some(Shared::decode(&value)?)
                }
                What::Write { .. } | What::Truncate { .. } | What::Zero { .. } => None,
            };
            loaded.data.push((record, shared));
        }
        Ok(loaded)
    }

    /// The published contents below writes that are not published, and those that were copied.
    pub(crate) fn bases(local: &Local) -> std::result::Result<Vec<Content>, crate::Error> {
        let mut bases = vec![];
        for item in local.range(&[NODE][..]..&[NODE + 1][..]) {
            let (_, value) = item.map_err(pome_cores::Error::from)?;
            // What does not decode is told to whoever mounts; here it must not be taken for nothing.
            let record: NodeRecord =
                serde_json::from_slice(&value).map_err(|_| crate::Error::DamagedOverlay)?;
            if let KindRecord::File { base: Some(base) } = record.kind {
                bases.push(base);
            }
        }
        for item in local.range(&[DATA][..]..&[DATA + 1][..]) {
            let (key, value) = item.map_err(pome_cores::Error::from)?;
            if let Some(What::Share { .. }) = DataRecord::parse(&key).map(|record| record.what) {
                let shared = Shared::decode(&value).map_err(|_| crate::Error::DamagedOverlay)?;
                bases.push(shared.content);
            }
        }
        Ok(bases)
    }

    fn space(&self) -> Space {
        self.local.space()
    }

    /// From now on nothing is written.
    pub(crate) fn only_read(&mut self) {
        self.writes = false;
    }

    /// Commits, answered once it survives the end of this process.
    pub(crate) fn commit(&mut self, batch: Batch) -> Result<()> {
        if !batch.is_empty() && self.writes {
            self.last = self
                .store
                .commit(batch, Durability::Buffered)
                .map_err(pome_cores::Error::from)?;
        }
        Ok(())
    }

    /// The newest commit of this mount, and whom to ask for it.
    pub(crate) fn last_commit(&self) -> (Store, Seq) {
        (self.store.clone(), self.last)
    }

    /// A number for the next data record.
    pub(crate) fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    /// Newest record number.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// The bytes of a write; `None` when they were published and removed meanwhile.
    pub(crate) fn reader(&self) -> Reader {
        Reader {
            store: self.store.clone(),
            space: self.space(),
        }
    }

    pub(crate) fn put_node(&self, batch: &mut Batch, ino: Ino, record: &NodeRecord) -> Result<()> {
        let value = serde_json::to_vec(record).map_err(|_| VfsError::Damaged { what: "node" })?;
        batch.put(self.space(), node_key(ino), value);
        Ok(())
    }

    pub(crate) fn delete_node(&self, batch: &mut Batch, ino: Ino) {
        batch.delete(self.space(), node_key(ino));
    }

    pub(crate) fn put_gone(&self, batch: &mut Batch, folder: Ino, name: &str) {
        batch.put(self.space(), gone_key(folder, name), Bytes::new());
    }

    pub(crate) fn delete_gone(&self, batch: &mut Batch, folder: Ino, name: &str) {
        batch.delete(self.space(), gone_key(folder, name));
    }

    /// Puts one more name of a node, which stands in `slot`.
    pub(crate) fn put_name(&self, batch: &mut Batch, folder: Ino, name: &str, slot: Slot) {
        if let Some(ino) = slot.ino {
            let flags = [u8::from(slot.lower), u8::from(slot.put)];
            let value = [&ino.to_be_bytes()[..], &flags].concat();
            batch.put(self.space(), name_key(folder, name), value);
        }
    }

    pub(crate) fn delete_name(&self, batch: &mut Batch, folder: Ino, name: &str) {
        batch.delete(self.space(), name_key(folder, name));
    }

    /// Removes what says which names of a folder are deleted.
    pub(crate) fn delete_gone_below(&self, batch: &mut Batch, folder: Ino) {
        let end = folder
            .checked_add(1)
            .map_or_else(|| vec![GONE + 1], |next| gone_key(next, ""));
        batch.delete_range(self.space(), gone_key(folder, ""), end);
    }

    pub(crate) fn put_data(&self, batch: &mut Batch, key: Vec<u8>, bytes: Bytes) {
        batch.put(self.space(), key, bytes);
    }

    /// Removes a file's records up to and with number `until`.
    pub(crate) fn delete_data(&self, batch: &mut Batch, ino: Ino, until: u64) {
        let mut end = data_prefix(ino);
        match until.checked_add(1) {
            Some(next) => end.extend_from_slice(&next.to_be_bytes()),
            None => end.extend_from_slice(&[0xff; 9]),
        }
        batch.delete_range(self.space(), data_prefix(ino), end);
    }

    /// Removes all nodes, names and deletions (a publication puts those that stay again).
    pub(crate) fn delete_names(&self, batch: &mut Batch) {
        batch.delete_range(self.space(), vec![NODE], vec![NODE + 1]);
        batch.delete_range(self.space(), vec![GONE], vec![GONE + 1]);
        batch.delete_range(self.space(), vec![NAME], vec![NAME + 1]);
    }

    /// Remembers the times of a folder that has no description.
    pub(crate) fn put_folder_time(&self, batch: &mut Batch, path: &str, time: Time) {
        let mut value = time.0.to_be_bytes().to_vec();
        value.extend_from_slice(&time.1.to_be_bytes());
        if path.len() <= TIMED_PATH_MAX {
            batch.put(self.space(), folder_time_key(path), value);
        }
    }

    /// Forgets the times of a folder and of all below it.
    pub(crate) fn delete_folder_times(&self, batch: &mut Batch, path: &str) {
        if path.len() <= TIMED_PATH_MAX {
            batch.delete(self.space(), folder_time_key(path));
            batch.delete_range(
                self.space(),
                folder_time_key(&format!("{path}/")),
                folder_time_key(&format!("{path}0")),
            );
        }
    }

    /// Folders that moved with `from` to `to` keep their times.
    pub(crate) fn copy_folder_times(&self, batch: &mut Batch, from: &str, to: &str) -> Result<()> {
        if let Some(time) = self.folder_time(from) {
            self.put_folder_time(batch, to, time);
        }
        if from.len() > TIMED_PATH_MAX {
            return Ok(());
        }
        let prefix = folder_time_key(&format!("{from}/"));
        for item in self
            .local
            .range(&prefix[..]..&folder_time_key(&format!("{from}0"))[..])
        {
            let (key, value) = item.map_err(pome_cores::Error::from)?;
            if let Some(rest) = key.get(from.len() + 1..)
                && to.len() + rest.len() <= TIMED_PATH_MAX
            {
                batch.put(
                    self.space(),
                    [&folder_time_key(to)[..], rest].concat(),
                    value,
                );
            }
        }
        Ok(())
    }

    /// See [`put_folder_time`](Self::put_folder_time).
    pub(crate) fn folder_time(&self, path: &str) -> Option<Time> {
        let key = folder_time_key(path);
        let value = self.local.get(&key).ok()??;
        let (seconds, rest) = u64_of(&value)?;
        Some(Time(
            seconds.cast_signed(),
            u32::from_be_bytes(rest.try_into().ok()?),
        ))
    }
}

/// A key of the store has at most 1 KiB: folders with longer paths (in bytes) simply have no remembered time.
const TIMED_PATH_MAX: usize = 1000;

fn folder_time_key(path: &str) -> Vec<u8> {
    [&[FOLDER_TIME], path.as_bytes()].concat()
}

/// Reads what writes left, without the mount's lock.
#[derive(Clone)]
pub(crate) struct Reader {
    store: Store,
    space: Space,
}

impl Reader {
    /// The bytes of one write.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self
            .store
            .get(self.space, key)
            .map_err(pome_cores::Error::from)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_keys_sort_by_record_and_parse_back() {
        let mut last = Vec::new();
        for (seq, what) in [
            (
                1,
                What::Write {
                    offset: u64::MAX - 5,
                    len: 5,
                },
            ),
            (2, What::Truncate { size: 0 }),
            (300, What::Zero { offset: 1, len: 2 }),
        ] {
            let record = DataRecord {
                ino: 7,
                seq,
                what,
                time: Time(-1, 5),
            };
            let key = record.key();
            assert_eq!(DataRecord::parse(&key), Some(record));
            assert!(key > last);
            last = key;
        }
        assert_eq!(DataRecord::parse(&last[..40]), None);
        let overflow = DataRecord {
            ino: 7,
            seq: 1,
            what: What::Write {
                offset: u64::MAX,
                len: 5,
            },
            time: Time(0, 0),
        };
        assert_eq!(DataRecord::parse(&overflow.key()), None);
    }
}
