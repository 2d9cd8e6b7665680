//! Finds the current manifest, and switches to the next one.
//!
//! A switch: write `manifest-<n+1>`, sync it, sync the folder, write slot `n+1` over the slot that does not hold `n`, sync. A crash in between leaves
//! `n` current; a torn slot is no loss, since the other one holds and its manifest is removed only after the switch.
//!
//! The file of a manifest holds it twice, so that one bad sector costs nothing: whichever copy is whole is read, and a writer that found one bad
//! switches to the next manifest, of the same content.

use crate::{
    Options,
    seal::{Nonces, Seal},
};
use crate::{
    error::{Error, Op},
    format::{
        BadSlot, FORMAT_VERSION, MANIFEST_BYTES_MAX, MANIFEST_PREFIX, Manifest, SLOT_BYTES,
        SUPERBLOCK, SUPERBLOCK_NEW, Superblock, file_name, file_number, manifest_bytes,
        manifest_file_bytes, second_copy,
    },
};
use pome_wal::{
    Device, File, Start,
    mutation::{Mutation, fits, is_on},
};
use std::{io::IoSlice, sync::Arc};

/// The superblock's file and what it says.
pub(crate) struct Switch {
    device: Arc<dyn Device>,
    file: Arc<dyn File>,
    current: Superblock,
    /// Which slot holds `current`.
    slot: usize,
    /// Of an encrypted store.
    pub(crate) seal: Option<Arc<Seal>>,
    pub(crate) manifest: Manifest,
    /// What is wrong with the file of the manifest, though a copy in it is whole.
    bad_copies: Vec<Error>,
}

/// What a folder holds.
pub(crate) enum Loaded {
    Store(Box<Switch>),
    /// The making of the store was cut short before anything could be committed.
    Unfinished,
}

/// The file of a manifest, read.
struct ManifestFile {
    name: String,
    /// Its first bytes: all of which any can be needed.
    bytes: Vec<u8>,
    len: u64,
}

impl ManifestFile {
    /// The file of a generation, and no more of it than a manifest of `most` bytes needs. `None` when there is no such file.
    fn read(device: &dyn Device, generation: u64, most: u64) -> Result<Option<Self>, Error> {
        let name = file_name(MANIFEST_PREFIX, generation);
        let io = |e| Error::io(Op::Read, &name, e);
        let file = match device.open(&name, false) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(io)?,
        };
        let len = file.len().map_err(io)?;
        if most > MANIFEST_BYTES_MAX {
            let what = "manifest (length)";
            return Err(corrupt(what, &name, 0, MANIFEST_BYTES_MAX, most));
        }
        let used = len.min(manifest_file_bytes(most));
        let bytes = file.view(0..used).map_err(io)?.to_vec();
        Ok(Some(Self { name, bytes, len }))
    }

    /// Both copies of a manifest of this length; nothing of one that the file is too short for.
    fn copies(&self, len: u64) -> [&[u8]; 2] {
        [0, second_copy(len)].map(|from| {
            let range = from as usize..from.saturating_add(len) as usize;
            self.bytes.get(range).unwrap_or_default()
        })
    }

    /// The manifest of the first copy that is one, and the crc of that copy.
    fn decode(
        &self,
        generation: u64,
        len: u64,
        crc: Option<u32>,
        seal: Option<&Seal>,
    ) -> Option<(Manifest, u32)> {
        self.copies(len).into_iter().find_map(|copy| {
            let found = crc32fast::hash(copy);
            let right = crc.is_none_or(|crc| fits(found, crc));
            let manifest = decode_manifest(generation, copy, seal).filter(|_| right)?;
            Some((manifest, found))
        })
    }

    /// What is not as it was written: each copy of a manifest of this length and crc, and the bytes around them.
    fn verify(&self, len: u64, crc: u32) -> Vec<Error> {
        let second = second_copy(len);
        let mut findings = vec![];
        for (offset, copy) in [0, second].into_iter().zip(self.copies(len)) {
            let found = crc32fast::hash(copy);
            if found != crc {
                let found = found.into();
                findings.push(corrupt("manifest", &self.name, offset, crc.into(), found));
            }
        }
        let mut between = self.bytes.iter().take(second as usize).skip(len as usize);
        let (expected, found) = (manifest_file_bytes(len), self.len);
        if found != expected || between.any(|byte| *byte != 0) {
            let what = "manifest (beside its copies)";
            findings.push(corrupt(what, &self.name, len, expected, found));
        }
        findings
    }
}

fn corrupt(what: &'static str, file: &str, offset: u64, expected: u64, found: u64) -> Error {
    Error::Corrupt {
        what,
        file: file.to_owned(),
        offset,
        expected,
        found,
    }
}

/// `None` when these are not the bytes of this manifest.
fn decode_manifest(generation: u64, bytes: &[u8], seal: Option<&Seal>) -> Option<Manifest> {
    let manifest = match seal {
        None => Manifest::decode(bytes),
        Some(seal) => Manifest::decode(&seal.open_manifest(generation, bytes)?),
    };
    manifest.filter(|m| m.generation == generation)
}

/// The crc of the file of the current manifest.
///
/// # Errors
/// `Corrupt` when anything in it is not as it was written; `Io`.
pub(crate) fn whole_manifest(device: &dyn Device, current: &Superblock) -> Result<u32, Error> {
    let name = file_name(MANIFEST_PREFIX, current.generation);
    let file = ManifestFile::read(device, current.generation, current.manifest_len)?;
    let file = file.ok_or_else(|| corrupt("manifest (missing)", &name, 0, 0, 0))?;
    let found = file.verify(current.manifest_len, current.manifest_crc);
    match found.into_iter().next() {
        Some(bad) => Err(bad),
        None => Ok(crc32fast::hash(&file.bytes)),
    }
}

/// After a failed sync of the folder nobody knows which files a power cut would leave, those of the log among them.
fn sync_dir(device: &dyn Device) -> Result<(), Error> {
    device.sync_dir().map_err(|source| Error::Poisoned {
        file: "the folder".to_owned(),
        source: Arc::new(source),
    })
}

impl Switch {
    /// Reads the superblock and the manifest it names. Writes nothing.
    pub(crate) fn load(
        device: Arc<dyn Device>,
        options: &Options,
        store: &str,
    ) -> Result<Loaded, Error> {
        let io = |e| Error::io(Op::Open, SUPERBLOCK, e);
        let superblock = device.open(SUPERBLOCK, false).map_err(io)?;
        let mut raw = vec![0; 2 * SLOT_BYTES];
        let len = superblock.read_at(&mut raw, 0).map_err(io)?;
        let slots: Vec<_> = raw.chunks(SLOT_BYTES).map(Superblock::decode).collect();
        let best = (0..slots.len())
            .filter_map(|slot| Some((slot, *slots[slot].as_ref().ok()?)))
            .max_by_key(|(_, superblock)| superblock.generation);
        for slot in &slots {
            if let Err(BadSlot::Version(found)) = slot {
                return Err(Error::UnknownVersion {
                    file: SUPERBLOCK.to_owned(),
                    found: *found,
                    known: FORMAT_VERSION,
                });
            }
        }
        let Some((slot, current)) = best else {
            let started = device
                .list()
                .map_err(io)?
                .iter()
                .any(|name| file_number(MANIFEST_PREFIX, name).is_some());
            if !started && slots.iter().all(|slot| *slot == Err(BadSlot::Empty)) {
                return Ok(Loaded::Unfinished);
            }
            let (expected, found) = match slots.first() {
                Some(Err(BadSlot::Crc { expected, found })) => (*expected, *found),
                _ => (0, 0),
            };
            return Err(corrupt(
                "superblock",
                SUPERBLOCK,
                0,
                expected.into(),
                found.into(),
            ));
        };
        let broken = slots
            .iter()
            .any(|slot| matches!(slot, Err(e) if *e != BadSlot::Empty))
            || len < 2 * SLOT_BYTES;
        let key = options.key.as_ref();
        let seal = match &current.key {
            Some(wrapped) => Some(Arc::new(Seal::unlock(
                store,
                current.store_id,
                wrapped,
                key,
                Nonces::of(options.seed),
                options.cache_bytes,
            )?)),
            None if key.is_some() && current.generation > 0 => {
                return Err(Error::NotEncrypted {
                    store: store.to_owned(),
                });
            }
            None => None,
        };
        // A broken slot may be a switch that was cut short, or the current one, damaged later. A whole manifest of the next generation is right in
        // both cases: all it names was on disk before it was written.
        if broken
            && let Some(file) =
                ManifestFile::read(&*device, current.generation + 1, MANIFEST_BYTES_MAX)?
            && let Some(manifest_len) = manifest_bytes(file.len)
            && let Some((manifest, manifest_crc)) =
                file.decode(current.generation + 1, manifest_len, None, seal.as_deref())
        {
            let current = Superblock {
                generation: manifest.generation,
                manifest_len,
                manifest_crc,
                ..current
            };
            return Ok(Loaded::Store(Box::new(Self {
                bad_copies: file.verify(manifest_len, manifest_crc),
                device,
                file: superblock,
                current,
                slot: 1 - slot,
                seal,
                manifest,
            })));
        }
        if current.generation == 0 {
            return Ok(Loaded::Unfinished);
        }
        let (len, crc) = (current.manifest_len, current.manifest_crc);
        let Some(file) = ManifestFile::read(&*device, current.generation, len)? else {
            // Of a broken slot: the superblock that names the next manifest is gone with it.
            let name = file_name(MANIFEST_PREFIX, current.generation);
            return Err(match broken {
                true => corrupt("superblock", SUPERBLOCK, 0, 0, 0),
                false => corrupt("manifest (missing)", &name, 0, 0, 0),
            });
        };
        let mut bad_copies = file.verify(len, crc);
        let read = file.decode(current.generation, len, Some(crc), seal.as_deref());
        let Some((manifest, _)) = read else {
            // Both have the right crc only where the bytes do not open, or are of no manifest.
            return Err(match bad_copies.is_empty() {
                true => corrupt("manifest", &file.name, 0, crc.into(), crc.into()),
                false => bad_copies.swap_remove(0),
            });
        };
        Ok(Loaded::Store(Box::new(Self {
            device,
            file: superblock,
            current,
            slot,
            seal,
            manifest,
            bad_copies,
        })))
    }

    /// Begins a store: a superblock that says that the rest is not yet there.
    pub(crate) fn begin(device: &dyn Device, first: &Superblock) -> Result<Arc<dyn File>, Error> {
        let io = |e| Error::io(Op::Create, SUPERBLOCK, e);
        let empty = [0; SLOT_BYTES];
        // A new file each time: what an earlier attempt left may look durable and not be.
        let file = device.open(SUPERBLOCK_NEW, true).map_err(io)?;
        file.set_len(0).map_err(io)?;
        file.write_at(&[IoSlice::new(&first.encode()), IoSlice::new(&empty)], 0)
            .map_err(io)?;
        file.sync().map_err(io)?;
        device.rename(SUPERBLOCK_NEW, SUPERBLOCK).map_err(io)?;
        device.sync_dir().map_err(io)?;
        Ok(file)
    }

    /// Ends the making of a store: the first manifest.
    pub(crate) fn finish(
        device: Arc<dyn Device>,
        file: Arc<dyn File>,
        first: Superblock,
        seal: Option<Arc<Seal>>,
        start: Start,
    ) -> Result<Self, Error> {
        let manifest = Manifest {
            generation: 0,
            next_table: 1,
            start,
            tables: vec![],
            live: vec![],
            keys: 0,
            damage: vec![],
        };
        let mut switch = Self {
            device,
            file,
            current: first,
            slot: 0,
            seal,
            manifest: manifest.clone(),
            bad_copies: vec![],
        };
        switch.to(manifest)?;
        Ok(switch)
    }

    pub(crate) fn superblock(&self) -> &Superblock {
        &self.current
    }

    /// Makes `manifest` the current one, under the next generation. When this fails before the superblock is written nothing has happened; after
    /// that nobody knows, and the error is [`Error::Poisoned`].
    pub(crate) fn to(&mut self, manifest: Manifest) -> Result<(), Error> {
        self.switch(manifest, self.current)
    }

    /// Changes fields of the superblock that no manifest has. Both slots have them when this returns; after a crash in between the current one has
    /// either the old ones or the new ones.
    ///
    /// # Errors
    /// As [`to`](Self::to).
    pub(crate) fn change(&mut self, change: impl Fn(&mut Superblock)) -> Result<(), Error> {
        for _ in 0..2 {
            let mut superblock = self.current;
            change(&mut superblock);
            self.switch(self.manifest.clone(), superblock)?;
        }
        Ok(())
    }

    /// As [`change`](Self::change), where nothing may be written: it holds until the store is closed, or changed on disk for another reason.
    pub(crate) fn change_in_memory(&mut self, change: impl FnOnce(&mut Superblock)) {
        change(&mut self.current);
    }

    fn switch(&mut self, mut manifest: Manifest, superblock: Superblock) -> Result<(), Error> {
        manifest.generation = self.current.generation + 1;
        let mut bytes = manifest.encode();
        if let Some(seal) = &self.seal {
            bytes = seal.seal_manifest(manifest.generation, &bytes)?;
        }
        let name = file_name(MANIFEST_PREFIX, manifest.generation);
        let len = bytes.len() as u64;
        let zeros = vec![0; (second_copy(len) - len) as usize];
        let copies = [&bytes, &zeros, &bytes].map(|part| IoSlice::new(part));
        let written = self
            .device
            .open(&name, true)
            .map_err(|e| Error::io(Op::Create, &name, e))
            .and_then(|file| {
                file.set_len(0)
                    .and_then(|()| file.write_at(&copies, 0))
                    .map_err(|e| Error::io(Op::Write, &name, e))?;
                file.sync().map_err(|e| Error::io(Op::Sync, &name, e))
            })
            .and_then(|()| match is_on(Mutation::ManifestNotLinked) {
                true => Ok(()),
                false => sync_dir(&*self.device),
            });
        if let Err(e) = written {
            if !matches!(e, Error::Poisoned { .. }) {
                let _ = self.device.remove(&name);
            }
            return Err(e);
        }
        let next = Superblock {
            generation: manifest.generation,
            manifest_len: len,
            manifest_crc: crc32fast::hash(&bytes),
            ..superblock
        };
        let slot = 1 - self.slot;
        self.write_slot(slot, &next)?;
        let old = file_name(MANIFEST_PREFIX, self.current.generation);
        if self.current.generation > 0
            && let Err(e) = self.device.remove(&old)
        {
            tracing::debug!(file = old, error = %e, "an old manifest stays until the next open");
        }
        self.current = next;
        self.slot = slot;
        self.manifest = manifest;
        self.bad_copies.clear();
        Ok(())
    }

    /// Writes the current slot again: that the last process could read it does not prove that it is on disk. Where a copy of the manifest is bad,
    /// the next manifest takes its place.
    pub(crate) fn reaffirm(&mut self) -> Result<(), Error> {
        if let Some(bad) = self.bad_copies.first().cloned() {
            tracing::warn!(error = %bad, "a copy of the manifest is bad; the other one is whole, and both are written anew");
            match self.switch(self.manifest.clone(), self.current) {
                // A full disk must not keep a store from being opened: the next switch mends it.
                Err(e @ (Error::Full { .. } | Error::Io { .. })) => {
                    tracing::warn!(error = %e, "the copy stays bad for now");
                }
                switched => return switched,
            }
        }
        if is_on(Mutation::NoReaffirm) {
            return Ok(());
        }
        sync_dir(&*self.device)?;
        self.write_slot(self.slot, &self.current)
    }

    fn write_slot(&self, slot: usize, superblock: &Superblock) -> Result<(), Error> {
        self.file
            .write_at(
                &[IoSlice::new(&superblock.encode())],
                (slot * SLOT_BYTES) as u64,
            )
            .and_then(|()| self.file.sync())
            .map_err(|source| Error::Poisoned {
                file: SUPERBLOCK.to_owned(),
                source: Arc::new(source),
            })
    }

    /// Reads both the superblock and the manifest again, and says what is bad.
    pub(crate) fn verify(&self) -> Result<Vec<Error>, Error> {
        let mut findings = vec![];
        let mut raw = vec![0; 2 * SLOT_BYTES];
        self.file
            .read_at(&mut raw, 0)
            .map_err(|e| Error::io(Op::Read, SUPERBLOCK, e))?;
        for (slot, raw) in raw.chunks(SLOT_BYTES).enumerate() {
            let (expected, found) = match Superblock::decode(raw) {
                Ok(superblock) if superblock.encode()[..] == *raw => continue,
                // What lies behind the fields, and is not needed.
                Ok(_) => (0, 0),
                Err(BadSlot::Empty) => continue,
                Err(BadSlot::Crc { expected, found }) => (expected, found),
                Err(_) => (0, 0),
            };
            let offset = (slot * SLOT_BYTES) as u64;
            findings.push(corrupt(
                "superblock",
                SUPERBLOCK,
                offset,
                expected.into(),
                found.into(),
            ));
        }
        let name = file_name(MANIFEST_PREFIX, self.current.generation);
        let (len, crc) = (self.current.manifest_len, self.current.manifest_crc);
        match ManifestFile::read(&*self.device, self.current.generation, len)? {
            Some(file) => findings.extend(file.verify(len, crc)),
            None => findings.push(corrupt("manifest (missing)", &name, 0, 0, 0)),
        }
        Ok(findings)
    }
}
