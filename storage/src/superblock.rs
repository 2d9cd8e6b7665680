//! Finds the current manifest, and switches to the next one.
//!
//! A switch: write `manifest-<n+1>`, sync it, sync the folder, write slot `n+1` over the slot that does not hold `n`, sync. A crash in between leaves
//! `n` current; a torn slot is no loss, since the other one holds and its manifest is removed only after the switch.

use crate::{
    Options,
    seal::{Nonces, Seal},
};
use crate::{
    error::{Error, Op},
    format::{
        BadSlot, FORMAT_VERSION, MANIFEST_PREFIX, Manifest, SLOT_BYTES, SUPERBLOCK, SUPERBLOCK_NEW,
        Superblock, file_name, file_number,
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
}

/// What a folder holds.
pub(crate) enum Loaded {
    Store(Box<Switch>),
    /// The making of the store was cut short before anything could be committed.
    Unfinished,
}

/// A manifest larger than this is not read: nobody has so many tables and segments.
const MANIFEST_BYTES_MAX: u64 = 256 << 20;

fn read_whole(device: &dyn Device, name: &str) -> Result<Vec<u8>, Error> {
    let io = |e| Error::io(Op::Read, name, e);
    let file = device.open(name, false).map_err(io)?;
    let len = file.len().map_err(io)?;
    if len > MANIFEST_BYTES_MAX {
        let what = "manifest (length)";
        return Err(corrupt(what, name, 0, MANIFEST_BYTES_MAX, len));
    }
    let view = file.view(0..len).map_err(io)?;
    Ok(view.to_vec())
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

/// The manifest of a generation: `None` when there is no such file, or when it is bad and nothing vouches for it.
fn load_manifest(
    device: &dyn Device,
    generation: u64,
    seal: Option<&Seal>,
) -> Result<Option<(Manifest, Vec<u8>)>, Error> {
    let name = file_name(MANIFEST_PREFIX, generation);
    let bytes = match read_whole(device, &name) {
        Ok(bytes) => bytes,
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            return Ok(None);
        }
        Err(e) => return Err(e),
    };
    Ok(decode_manifest(generation, &bytes, seal).map(|m| (m, bytes)))
}

/// `None` when these are not the bytes of this manifest.
fn decode_manifest(generation: u64, bytes: &[u8], seal: Option<&Seal>) -> Option<Manifest> {
    let manifest = match seal {
        None => Manifest::decode(bytes),
        Some(seal) => Manifest::decode(&seal.open_manifest(generation, bytes)?),
    };
    manifest.filter(|m| m.generation == generation)
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
        let file = device.open(SUPERBLOCK, false).map_err(io)?;
        let mut raw = vec![0; 2 * SLOT_BYTES];
        let len = file.read_at(&mut raw, 0).map_err(io)?;
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
            && let Some((manifest, bytes)) =
                load_manifest(&*device, current.generation + 1, seal.as_deref())?
        {
            let current = Superblock {
                generation: manifest.generation,
                manifest_len: bytes.len() as u64,
                manifest_crc: crc32fast::hash(&bytes),
                ..current
            };
            return Ok(Loaded::Store(Box::new(Self {
                device,
                file,
                current,
                slot: 1 - slot,
                seal,
                manifest,
            })));
        }
        if current.generation == 0 {
            return Ok(Loaded::Unfinished);
        }
        let name = file_name(MANIFEST_PREFIX, current.generation);
        let bytes = match read_whole(&*device, &name) {
            // The superblock that names the next manifest is gone with its slot.
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                let what = if broken {
                    "superblock"
                } else {
                    "manifest (missing)"
                };
                let file = if broken { SUPERBLOCK } else { &name };
                return Err(corrupt(what, file, 0, 0, 0));
            }
            read => read?,
        };
        let found = crc32fast::hash(&bytes);
        let manifest = decode_manifest(current.generation, &bytes, seal.as_deref())
            .filter(|_| fits(found, current.manifest_crc))
            .ok_or_else(|| {
                corrupt(
                    "manifest",
                    &name,
                    0,
                    current.manifest_crc.into(),
                    found.into(),
                )
            })?;
        Ok(Loaded::Store(Box::new(Self {
            device,
            file,
            current,
            slot,
            seal,
            manifest,
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
        let written = self
            .device
            .open(&name, true)
            .map_err(|e| Error::io(Op::Create, &name, e))
            .and_then(|file| {
                file.set_len(0)
                    .and_then(|()| file.write_at(&[IoSlice::new(&bytes)], 0))
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
            manifest_len: bytes.len() as u64,
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
        Ok(())
    }

    /// Writes the current slot again: that the last process could read it does not prove that it is on disk.
    pub(crate) fn reaffirm(&mut self) -> Result<(), Error> {
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
        let found = crc32fast::hash(&read_whole(&*self.device, &name)?);
        if found != self.current.manifest_crc {
            let expected = self.current.manifest_crc;
            findings.push(corrupt("manifest", &name, 0, expected.into(), found.into()));
        }
        Ok(findings)
    }
}
