//! Opens, recovers, locks and closes a store; commits.

use crate::{
    Batch, Durability, Options, Seq, Snapshot, Space,
    background::{Background, Wake},
    backup::RESTORING,
    batch::changes,
    checkpoint::Retired,
    compact::Compacting,
    error::{Error, Op},
    format::{
        FORMAT_VERSION, MANIFEST_PREFIX, Manifest, SPACE_BYTES, SUPERBLOCK, SUPERBLOCK_NEW,
        Superblock, TABLE_PREFIX, file_number,
    },
    index::{Slot, Table},
    names::StoreFile,
    queue::Queue,
    read::Part,
    replay::{apply, moved_in_vain},
    seal::{Nonces, Seal},
    stamp::make_stamp,
    superblock::{Loaded, Switch},
    view::{Lower, State},
};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use pome_wal::{Device, DeviceKind, Log, LogOptions, PayloadRef, Recovery, Replayed};
use std::{
    borrow::Cow,
    collections::{BTreeSet, VecDeque},
    io,
    ops::Range,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::watch;

/// An open store. Cheap to clone; the last clone closes it.
///
/// ```
/// use pome_storage::{Batch, Durability, Options, Space, Store};
///
/// let dir = tempfile::tempdir()?;
/// let store = Store::open(dir.path(), Options::default())?;
/// let mut batch = Batch::new();
/// batch.put(Space(1), b"pear", &b"green"[..]);
/// batch.put(Space(1), b"quince", &b"yellow"[..]);
/// store.commit(batch, Durability::Synced)?;
/// assert_eq!(store.get(Space(1), b"pear")?.as_deref(), Some(&b"green"[..]));
/// store.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Store {
    handle: Arc<Handle>,
}

/// Closes the store when the last clone goes.
struct Handle {
    inner: Arc<Inner>,
    background: Background,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Err(e) = self.close() {
            tracing::warn!(store = self.inner.name, error = %e, "the store was not closed cleanly");
        }
    }
}

/// What was committed since the last checkpoint, in bytes.
#[derive(Debug, Default)]
pub(crate) struct Fresh {
    pub(crate) body_bytes: u64,
    pub(crate) payload_bytes: u64,
    /// Something was deleted: how much that gives back is known after a checkpoint.
    pub(crate) deletes: bool,
}

/// How far the disk is, for those that wait.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    pub(crate) synced: u64,
    pub(crate) failed: Option<Error>,
}

/// The parts of an open store.
///
/// Locks are taken in this order: `compacting`, `checkpointing`, `merging`, `writer`, `queue` or `switch`, `state`, `retired`, `retiring`. Nobody waits for a
/// sync who holds `writer` or one behind it: the one that leads the sync takes them.
pub(crate) struct Inner {
    pub(crate) name: String,
    pub(crate) device: Arc<dyn Device>,
    pub(crate) options: Options,
    pub(crate) log: Log,
    /// Of an encrypted store.
    pub(crate) seal: Option<Arc<Seal>>,
    /// Held by the one that commits.
    pub(crate) writer: Mutex<Fresh>,
    pub(crate) queue: Queue,
    pub(crate) state: RwLock<State>,
    pub(crate) switch: Mutex<Switch>,
    pub(crate) checkpointing: Mutex<()>,
    pub(crate) merging: Mutex<()>,
    pub(crate) compacting: Mutex<Compacting>,
    pub(crate) retired: Mutex<VecDeque<Retired>>,
    /// Payload segments that wait for their removal.
    pub(crate) retiring: Mutex<BTreeSet<u32>>,
    pub(crate) wake: Wake,
    progress: watch::Sender<Progress>,
    failed: OnceLock<Error>,
    closed: AtomicBool,
    /// There is damage that nobody accepted.
    pub(crate) damaged: AtomicBool,
    /// This may not be the only copy of the store.
    pub(crate) recovering: AtomicBool,
    lock: Mutex<Option<Box<dyn Send + Sync>>>,
    recovery: Recovery,
}

/// A whole key: the space, then the caller's key.
pub(crate) fn whole_key(space: Space, key: &[u8]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(SPACE_BYTES + key.len());
    whole.extend_from_slice(&space.0.to_be_bytes());
    whole.extend_from_slice(key);
    whole
}

impl Store {
    /// Opens (or makes) the store in `dir`. Blocking: recovery runs here.
    ///
    /// # Errors
    /// `Locked`, `NotAStore`, `UnknownVersion`, `ReadOnly`, `Corrupt`, `Full`, `Io`.
    pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        let dir = dir.as_ref();
        let name = dir.display().to_string();
        if !dir.exists() && (!options.create || options.read_only) {
            return Err(Error::NotAStore {
                store: name,
                why: "there is no such folder".to_owned(),
            });
        }
        if dir.exists() && !dir.is_dir() {
            return Err(Error::NotAStore {
                store: name,
                why: "it is not a folder".to_owned(),
            });
        }
        if !dir.exists() {
            make_folder(dir).map_err(|e| Error::io(Op::Create, &name, e))?;
        }
        let device = DeviceKind::from_env()
            .and_then(|kind| kind.open(dir))
            .map_err(|e| Error::io(Op::Open, &name, e))?;
        Self::open_named(device, options, name)
    }

    /// As [`open`](Self::open), of a folder that is open already: wherever its path leads by now, and by whatever `name` errors call it, this is the one. It
    /// has to be open for reading. Files in it that are links are not opened.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_in(folder: std::fs::File, name: String, options: Options) -> Result<Self, Error> {
        let device = DeviceKind::from_env()
            .and_then(|kind| kind.open_in(folder))
            .map_err(|e| Error::io(Op::Open, &name, e))?;
        Self::open_named(device, options, name)
    }

    /// Opens (or makes) the store on a device of the caller's: the simulated disk.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_on(device: Arc<dyn Device>, options: Options) -> Result<Self, Error> {
        Self::open_named(device, options, "store".to_owned())
    }

    fn open_named(device: Arc<dyn Device>, options: Options, name: String) -> Result<Self, Error> {
        let inner = Inner::open(device, options, name)?;
        let background = Background::default();
        if inner.options.background && !inner.options.read_only {
            background.start(&inner)?;
        }
        if inner.fresh_is_large(1) {
            inner.wake.checkpoint();
        }
        Ok(Self {
            handle: Arc::new(Handle { inner, background }),
        })
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.handle.inner
    }

    /// Commits. `Buffered` costs one write and does not block for the disk; `Synced` blocks until the shared fdatasync is done. An empty batch
    /// writes nothing and answers the newest commit.
    ///
    /// # Errors
    /// `Full`, `Io`, `KeyTooLong`, `ValueTooLong`: this commit did not happen, and the store goes on. `Poisoned`: the disk failed, now or earlier;
    /// whether this commit is there is known after the next open.
    pub fn commit(&self, batch: Batch, durability: Durability) -> Result<Seq, Error> {
        self.inner().commit(batch, durability).map(Seq)
    }

    /// Resolves when commit `seq` is on disk (never blocks the thread; the background sync serves all that wait).
    ///
    /// # Errors
    /// `Poisoned`; `Closed` when the store is closed before.
    pub async fn synced(&self, seq: Seq) -> Result<(), Error> {
        let inner = self.inner();
        let mut progress = inner.progress.subscribe();
        loop {
            {
                let now = progress.borrow_and_update();
                if now.synced >= seq.0 {
                    return Ok(());
                }
                if let Some(e) = &now.failed {
                    return Err(e.clone());
                }
            }
            inner.alive()?;
            if inner.options.background {
                inner.wake.sync_now();
            } else {
                inner.wait_synced(inner.log.committed_seq())?;
            }
            progress.changed().await.map_err(|_| Error::Closed)?;
        }
    }

    /// Blocks until everything committed so far is on disk.
    ///
    /// # Errors
    /// `Poisoned`, `Closed`.
    pub fn sync(&self) -> Result<(), Error> {
        let inner = self.inner();
        inner.alive()?;
        inner.wait_synced(inner.log.committed_seq()).map(drop)
    }

    /// The disk begins to write what was committed and is not on it; this does not wait. Worth its call where much is committed that will be
    /// [synced](Self::sync) in a moment: the sync then waits for less. Without it the disk is left alone until a sync is due.
    pub fn write_back(&self) {
        self.inner().log.write_back();
    }

    /// The newest commit that is known to be on disk.
    pub fn synced_seq(&self) -> Seq {
        Seq(self.inner().log.synced_seq())
    }

    /// The newest commit.
    pub fn committed_seq(&self) -> Seq {
        Seq(self.inner().log.committed_seq())
    }

    /// The value of `key` now.
    ///
    /// # Errors
    /// `Corrupt` (never wrong bytes), `Io`, `Closed`.
    pub fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, Error> {
        let inner = self.inner();
        // The layers are held until the value is read: they keep its payload segment on disk.
        let (slot, _layers) = inner.slot(space, key)?;
        inner.value([&space.0.to_be_bytes(), key], slot)
    }

    /// What of the value of `key` lies in `wanted`, in bytes. Of an encrypted store only what is wanted of a large value is opened, in
    /// pieces of 4 KiB.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn get_part(
        &self,
        space: Space,
        key: &[u8],
        wanted: Range<usize>,
    ) -> Result<Option<Part>, Error> {
        let inner = self.inner();
        let (slot, _layers) = inner.slot(space, key)?;
        inner.part([&space.0.to_be_bytes(), key], slot, wanted)
    }

    /// True when `key` is there; does not read the value.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub fn contains(&self, space: Space, key: &[u8]) -> Result<bool, Error> {
        Ok(self.inner().slot(space, key)?.0 != Slot::Deleted)
    }

    /// A view of this moment, unmoved by later commits. Keeps what it shows alive on disk; drop it when done. Costs the same however much is there.
    pub fn snapshot(&self) -> Snapshot {
        let inner = self.inner();
        Snapshot::new(inner.clone(), inner.state.read().view())
    }

    /// Writes a checkpoint now, and merges tables where there are too many. This happens by itself in the background; it is here for tools and tests.
    /// False when there was nothing to do.
    ///
    /// # Errors
    /// `Full`, `Io`: nothing is lost, and it will be tried again. `Poisoned`, `Corrupt`, `Closed`.
    pub fn checkpoint(&self) -> Result<bool, Error> {
        let inner = self.inner();
        let mut done = inner.checkpoint()?;
        while inner.merge_tables()? {
            done = true;
        }
        Ok(done)
    }

    /// What the recovery of this open did.
    pub fn recovery(&self) -> &Recovery {
        &self.inner().recovery
    }

    /// Syncs, checkpoints (when there is much), marks the store clean, and gives up the lock. Further calls answer `Closed`. The second call does
    /// nothing.
    ///
    /// # Errors
    /// `Poisoned`, `Io`: what was synced before is safe.
    pub fn close(&self) -> Result<(), Error> {
        self.handle.close()
    }
}

impl Handle {
    fn close(&self) -> Result<(), Error> {
        self.background.stop(&self.inner);
        self.inner.close()
    }
}

impl Inner {
    fn open(
        device: Arc<dyn Device>,
        mut options: Options,
        name: String,
    ) -> Result<Arc<Self>, Error> {
        let names = device.list().map_err(|e| Error::io(Op::List, &name, e))?;
        let is_store = names.iter().any(|n| n == SUPERBLOCK);
        if !is_store {
            refuse_foreign(&names, &options, &name)?;
        }
        let lock = match device.lock() {
            Ok(lock) => Some(lock),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                return Err(Error::Locked { store: name });
            }
            Err(e) => match Error::io(Op::Lock, &name, e) {
                // A folder that cannot be written has no writer to be kept out.
                Error::ReadOnly { .. } if options.read_only => None,
                e => return Err(e),
            },
        };
        let log_options = || {
            let mut to = LogOptions::default();
            to.log_segment_bytes = options.log_segment_bytes;
            to.payload_segment_bytes = options.payload_segment_bytes;
            // As many as there are from one checkpoint to the next: a busy log writes no zeros. At rest they are given back.
            let cycle = options.checkpoint_log_bytes / options.log_segment_bytes.max(1);
            to.free_segments = usize::try_from(cycle.clamp(1, 16)).unwrap_or(1);
            to.read_only = options.read_only;
            to
        };
        let named = |e| match e {
            Error::ReadOnly { .. } => Error::ReadOnly {
                store: name.clone(),
            },
            e => e,
        };
        // Looked at again under the lock: another process may have made the store meanwhile.
        let names = device.list().map_err(|e| Error::io(Op::List, &name, e))?;
        let loaded = if names.iter().any(|n| n == SUPERBLOCK) {
            Switch::load(device.clone(), &options, &name).map_err(named)?
        } else {
            refuse_foreign(&names, &options, &name)?;
            Loaded::Unfinished
        };
        let mut state = State {
            memtable: Default::default(),
            lower: Arc::default(),
        };
        let mut fresh = Fresh::default();
        let (log, recovery, switch) = match loaded {
            Loaded::Unfinished if options.read_only || !options.create => {
                return Err(Error::NotAStore {
                    store: name,
                    why: "it is empty".to_owned(),
                });
            }
            Loaded::Unfinished => {
                let (id, log_id) = options
                    .new_names()
                    .map_err(|e| Error::io(Op::Create, &name, e))?;
                let mut first = Superblock::new(id);
                let mut seal = None;
                if let Some(key) = &options.key {
                    let nonces = Nonces::of(options.seed);
                    let (new, slot) = Seal::create(id, key, nonces, options.cache_bytes)?;
                    seal = Some(Arc::new(new));
                    first.key = Some(slot);
                }
                let file = Switch::begin(&*device, &first).map_err(named)?;
                first.stamp = make_stamp(&*device, &options).map_err(named)?;
                let log = Log::create(device.clone(), log_options(), log_id)
                    .map_err(|e| named(e.into()))?;
                let switch = Switch::finish(device.clone(), file, first, seal, log.position())
                    .map_err(named)?;
                (log, Recovery::default(), switch)
            }
            Loaded::Store(mut switch) => {
                state.lower = tables_of(&device, &switch, &names)?;
                if !options.read_only {
                    switch.reaffirm().map_err(named)?;
                }
                switch.check_stamp(&*device, &options).map_err(named)?;
                let start = switch.manifest.start;
                let seal = switch.seal.clone();
                let damaged = !switch.manifest.damage.is_empty();
                let replay = |commit: Replayed<'_>| {
                    fresh.body_bytes += commit.body.len() as u64;
                    fresh.payload_bytes += commit
                        .payloads
                        .iter()
                        .map(|p| u64::from(p.len))
                        .sum::<u64>();
                    let seal = seal.as_deref();
                    let body = body_of(seal, commit.seq, commit.body)?;
                    let lost = match damaged || commit.damaged {
                        true => moved_in_vain(&state, &body, &commit)?,
                        false => vec![],
                    };
                    let (at, deletes) = (&commit.payloads, &mut fresh.deletes);
                    if apply(&mut state, &body, at, seal, &lost, deletes) {
                        return Ok(());
                    }
                    Err(bad_commit(
                        "commit (its operations make no sense)",
                        commit.seq,
                    ))
                };
                // Written down before recovery repairs anything: what it repairs would not be found again.
                let found = |recovery: &Recovery| {
                    switch.remember_damage(&recovery.damage, options.read_only)
                };
                let (log, recovery) =
                    Log::open_with(device.clone(), log_options(), start, replay, found)
                        .map_err(named)?;
                if !options.read_only {
                    remove_strays(&*device, &log, &switch.manifest, &names);
                }
                (log, recovery, *switch)
            }
        };
        // It has done its work: the data key is in the seal.
        options.key = None;
        let progress = Progress {
            synced: log.synced_seq(),
            failed: None,
        };
        let damaged = AtomicBool::new(!switch.manifest.damage.is_empty());
        let recovering = AtomicBool::new(switch.superblock().recovering);
        Ok(Arc::new(Self {
            damaged,
            recovering,
            name,
            device,
            options,
            log,
            seal: switch.seal.clone(),
            writer: Mutex::new(fresh),
            queue: Queue::default(),
            state: RwLock::new(state),
            switch: Mutex::new(switch),
            checkpointing: Mutex::new(()),
            merging: Mutex::new(()),
            compacting: Mutex::default(),
            retired: Mutex::default(),
            retiring: Mutex::default(),
            wake: Wake::default(),
            progress: watch::Sender::new(progress),
            failed: OnceLock::new(),
            closed: AtomicBool::new(false),
            lock: Mutex::new(lock),
            recovery,
        }))
    }

    /// An error when the store is closed or poisoned.
    pub(crate) fn alive(&self) -> Result<(), Error> {
        if let Some(e) = self.failed.get() {
            return Err(e.clone());
        }
        self.open_for_reads()
    }

    pub(crate) fn open_for_reads(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed);
        }
        Ok(())
    }

    /// Remembers that the disk failed; from now on nothing is written.
    pub(crate) fn poison(&self, error: Error) -> Error {
        if matches!(error, Error::Poisoned { .. }) {
            let first = self.failed.get_or_init(|| error.clone()).clone();
            self.progress.send_modify(|p| p.failed = Some(first));
        }
        error
    }

    fn commit(&self, batch: Batch, durability: Durability) -> Result<u64, Error> {
        batch.check()?;
        if self.options.read_only {
            return Err(Error::ReadOnly {
                store: self.name.clone(),
            });
        }
        let synced = durability == Durability::Synced;
        if batch.is_empty() {
            self.alive()?;
            let seq = self.log.committed_seq();
            return match synced {
                true => self.wait_synced(seq),
                false => Ok(seq),
            };
        }
        let body = Bytes::from(batch.body);
        if synced && batch.payloads.is_empty() {
            self.wake.wait_for_room();
            return self.commit_together(body);
        }
        let payloads = match &self.seal {
            Some(seal) if !batch.payloads.is_empty() => {
                self.alive()?;
                seal.seal_values(&payloads_of(&body, batch.payloads))?
            }
            _ => batch.payloads,
        };
        self.wake.wait_for_room();
        let seq = {
            let mut fresh = self.writer.lock();
            self.alive()?;
            let seq = self.commit_stored(&mut fresh, &body, &payloads)?;
            self.tell(&fresh);
            seq
        };
        match synced {
            true => self.wait_synced(seq),
            false => Ok(seq),
        }
    }

    /// Wakes those that have work after a commit.
    pub(crate) fn tell(&self, fresh: &Fresh) {
        let (log_bytes, payload_bytes) = (fresh.body_bytes, fresh.payload_bytes);
        self.wake.committed(self.options.sync_interval);
        if self.is_large(log_bytes, payload_bytes, 1) {
            // In this order: the checkpoint that is asked for lets go what is held. Without a background nobody would.
            if self.options.background && self.is_large(log_bytes, payload_bytes, 8) {
                self.wake.hold();
            }
            self.wake.checkpoint();
        }
    }

    /// Commits a body (which is sealed here) with payloads that are already as they shall be on disk. `fresh` is that of the writer's lock.
    pub(crate) fn commit_stored(
        &self,
        fresh: &mut Fresh,
        body: &Bytes,
        payloads: &[Bytes],
    ) -> Result<u64, Error> {
        let seq = self.log.committed_seq() + 1;
        let stored = self.stored(seq, body)?;
        let committed = self
            .log
            .commit(&stored, payloads)
            .map_err(|e| self.poison(e.into()))?;
        assert_eq!(committed.seq, seq, "a body opens under its own number only");
        fresh.payload_bytes += payloads.iter().map(|p| p.len() as u64).sum::<u64>();
        let mut state = self.state.write();
        self.take_in(&mut state, fresh, body, stored.len(), &committed.payloads);
        Ok(seq)
    }

    /// A body as it is in the log.
    pub(crate) fn stored<'b>(&self, seq: u64, body: &'b Bytes) -> Result<Cow<'b, [u8]>, Error> {
        Ok(match &self.seal {
            Some(seal) => seal.seal_body(seq, body)?.into(),
            None => body[..].into(),
        })
    }

    /// What a written commit says holds from now on.
    pub(crate) fn take_in(
        &self,
        state: &mut State,
        fresh: &mut Fresh,
        body: &Bytes,
        stored_bytes: usize,
        payloads: &[PayloadRef],
    ) {
        fresh.body_bytes += stored_bytes as u64;
        let before = state.lower.clone();
        let seal = self.seal.as_deref();
        let whole = apply(state, body, payloads, seal, &[], &mut fresh.deletes);
        assert!(whole, "a batch encodes what can be decoded");
        if !Arc::ptr_eq(&before, &state.lower) {
            self.retire(before);
        }
    }

    fn is_large(&self, body_bytes: u64, payload_bytes: u64, times: u64) -> bool {
        body_bytes >= times * self.options.checkpoint_log_bytes
            || payload_bytes >= times * self.options.checkpoint_payload_bytes
    }

    /// True when so much was committed since the last checkpoint that another is due.
    pub(crate) fn fresh_is_large(&self, times: u64) -> bool {
        let fresh = self.writer.lock();
        self.is_large(fresh.body_bytes, fresh.payload_bytes, times)
    }

    /// A commit that changes nothing, on disk when this returns.
    pub(crate) fn commit_nothing(&self) -> Result<u64, Error> {
        let seq = {
            let mut writer = self.writer.lock();
            self.alive()?;
            self.commit_stored(&mut writer, &Bytes::new(), &[])?
        };
        self.wait_synced(seq)
    }

    /// Begins a new memtable.
    pub(crate) fn freeze(&self, state: &mut State) {
        let before = state.lower.clone();
        state.freeze();
        if !Arc::ptr_eq(&before, &state.lower) {
            self.retire(before);
        }
    }

    /// A view that is no longer the newest: what later switches retire waits for its readers too.
    fn retire(&self, old: Arc<Lower>) {
        let view = Arc::downgrade(&old);
        self.retired.lock().push_back((view, Default::default()));
    }

    pub(crate) fn wait_synced(&self, seq: u64) -> Result<u64, Error> {
        self.wait_until_made(|| Some(Ok(seq)))
    }

    /// Returns when what `made` names is on disk.
    pub(crate) fn wait_until_made(
        &self,
        made: impl Fn() -> Option<Result<u64, Error>>,
    ) -> Result<u64, Error> {
        let result = self.log.write_and_wait(made, || self.write_queue());
        let synced = self.log.synced_seq();
        // Of many that one sync has served, one says so.
        if synced > self.progress.borrow().synced {
            self.progress.send_if_modified(|progress| {
                let moved = synced > progress.synced;
                progress.synced = progress.synced.max(synced);
                moved
            });
        }
        result.map_err(|e| self.poison(e))
    }

    pub(crate) fn switch_to(&self, switch: &mut Switch, manifest: Manifest) -> Result<(), Error> {
        self.alive()?;
        switch.to(manifest).map_err(|e| self.poison(e))
    }

    fn close(&self) -> Result<(), Error> {
        if self.closed.load(Ordering::Acquire) {
            return Ok(());
        }
        if !self.options.read_only
            && let Err(e) = self.tidy_at_close()
        {
            // The log has everything: the next open reads it.
            tracing::debug!(store = self.name, error = %e, "no checkpoint at close");
        }
        {
            let _writer = self.writer.lock();
            if self.closed.swap(true, Ordering::AcqRel) {
                return Ok(());
            }
        }
        let result = match self.failed.get() {
            Some(e) => Err(e.clone()),
            None if self.options.read_only => Ok(()),
            None => self.log.close().map_err(|e| self.poison(e.into())),
        };
        let synced = self.log.synced_seq();
        self.progress.send_modify(|progress| {
            progress.synced = progress.synced.max(synced);
            progress.failed.get_or_insert(Error::Closed);
        });
        self.collect();
        // Whoever still writes tables ends first: the next owner uses the same names.
        let _checkpoint = self.checkpointing.lock();
        let _merge = self.merging.lock();
        self.lock.lock().take();
        result
    }
}

/// Makes a folder and those above it. Their names are on disk when this returns: what is synced in a folder that a power cut takes away is lost.
pub(crate) fn make_folder(dir: &Path) -> io::Result<()> {
    if dir.as_os_str().is_empty() || dir.exists() {
        return Ok(());
    }
    let above = dir.parent().unwrap_or(Path::new(""));
    make_folder(above)?;
    // Secret keys lie in it.
    let mut builder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(dir)?;
    let above = match above.as_os_str().is_empty() {
        true => Path::new("."),
        false => above,
    };
    std::fs::File::open(above)?.sync_all()
}

fn bad_commit(what: &'static str, seq: u64) -> Error {
    Error::Corrupt {
        what,
        file: format!("log, commit {seq}"),
        offset: 0,
        expected: 0,
        found: 0,
    }
}

/// The plain body of a commit in the log.
pub(crate) fn body_of(seal: Option<&Seal>, seq: u64, stored: &[u8]) -> Result<Bytes, Error> {
    match seal {
        None => Ok(Bytes::copy_from_slice(stored)),
        Some(seal) => match seal.open_body(seq, stored) {
            Some(body) => Ok(body.into()),
            None => Err(bad_commit("commit (not what was sealed)", seq)),
        },
    }
}

/// The payloads of a batch with their keys.
fn payloads_of(body: &Bytes, payloads: Vec<Bytes>) -> Vec<(Bytes, Bytes)> {
    let keys = changes(body)
        .flatten()
        .filter_map(|change| change.payload_key().cloned());
    keys.zip(payloads).collect()
}

/// A folder without a superblock may become a store only when it is empty.
fn refuse_foreign(names: &[String], options: &Options, store: &str) -> Result<(), Error> {
    if names.iter().any(|name| name == RESTORING) {
        return Err(Error::NotAStore {
            store: store.to_owned(),
            why: "a restore into it was cut short; run it again".to_owned(),
        });
    }
    let ours = |name: &String| name != SUPERBLOCK_NEW && StoreFile::parse(name).is_some();
    if names.iter().any(ours) {
        return Err(Error::Corrupt {
            what: "superblock (missing)",
            file: SUPERBLOCK.to_owned(),
            offset: 0,
            expected: u64::from(FORMAT_VERSION),
            found: 0,
        });
    }
    let leftover = |name: &&String| *name != "lock" && *name != SUPERBLOCK_NEW;
    if let Some(other) = names.iter().find(leftover) {
        return Err(Error::NotAStore {
            store: store.to_owned(),
            why: format!("it holds other files ({other}); choose an empty folder"),
        });
    }
    if !options.create || options.read_only {
        return Err(Error::NotAStore {
            store: store.to_owned(),
            why: "it is empty".to_owned(),
        });
    }
    Ok(())
}

fn tables_of(
    device: &Arc<dyn Device>,
    switch: &Switch,
    names: &[String],
) -> Result<Arc<Lower>, Error> {
    let mut tables = vec![];
    for meta in &switch.manifest.tables {
        let table = Table::new(device.clone(), switch.seal.clone(), *meta);
        if !names.contains(&table.name()) {
            return Err(Error::Corrupt {
                what: "table (missing)",
                file: table.name(),
                offset: 0,
                expected: meta.len,
                found: 0,
            });
        }
        tables.push(Arc::new(table));
    }
    Ok(Arc::new(Lower::new(vec![], tables)))
}

/// Removes what a crash left: files that no manifest names, and sealed payload segments in which nothing is alive.
fn remove_strays(device: &dyn Device, log: &Log, manifest: &Manifest, names: &[String]) {
    for name in names {
        let stray = match (
            file_number(TABLE_PREFIX, name),
            file_number(MANIFEST_PREFIX, name),
        ) {
            (Some(id), _) => !manifest.tables.iter().any(|table| table.id == id),
            (_, Some(generation)) => generation != manifest.generation,
            _ => false,
        };
        // A switch that this open has made again may have removed it already.
        if stray
            && let Err(e) = device.remove(name)
            && e.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(file = name, error = %e, "a left-over file stays");
        }
    }
    let Some((current, _)) = manifest.start.payload else {
        return;
    };
    for (segment, _) in log.payload_segments() {
        let alive = manifest.live.iter().any(|(live, _)| *live == segment);
        if segment < current
            && !alive
            && let Err(e) = log.remove_payload_segment(segment)
        {
            tracing::warn!(segment, error = %e, "an empty payload segment stays");
        }
    }
}
