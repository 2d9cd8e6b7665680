//! The table of everything in a store: cores, names, local keyspaces; and the table of the cores that are open.

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use pome_encoding::{DiscoveryKey, Key};
use pome_storage::{Batch, Durability, Seq, Space, Store};
use tokio::sync::{broadcast, watch};
use zeroize::Zeroizing;

use crate::{
    core::Core,
    crypto::{self, KeyPair},
    error::Error,
    layout::{self, CoreRecord, REGISTRY},
    manifest::Manifest,
    replication::Ready,
    room::{self, Room},
};

/// See the module.
pub(crate) struct Registry {
    pub(crate) store: Store,
    pub(crate) primary_key: Zeroizing<[u8; 32]>,
    table: Mutex<Table>,
    /// To be told of cores that are opened.
    connections: Mutex<Vec<Weak<Ready>>>,
    closed: AtomicBool,
    /// Who is looking for peers for all cores.
    pub(crate) finding: AtomicUsize,
    /// True: nothing changes for a while.
    pub(crate) suspended: watch::Sender<bool>,
    /// Told of each core that is opened; made for the first who listens.
    pub(crate) opened: OnceLock<broadcast::Sender<DiscoveryKey>>,
    /// How much peers may send.
    pub(crate) room: Room,
}

struct Table {
    /// Closed cores are not in it: a hundred thousand of them cost nothing.
    open: HashMap<DiscoveryKey, Weak<Core>>,
    next_space: u64,
}

/// What is written for a core that is new.
pub(crate) struct NewCore {
    pub(crate) key: Key,
    pub(crate) manifest: Option<Manifest>,
    pub(crate) key_pair: Option<KeyPair>,
}

/// Namespace and name of a core.
pub(crate) type Name<'a> = (&'a [u8; 32], &'a [u8]);

impl Registry {
    /// Opens the registry of a store; writes it at the first open.
    pub(crate) fn open(store: Store, primary_key: Option<&[u8; 32]>) -> Result<Self, Error> {
        let stored = match store.get(REGISTRY, &layout::STORE_KEY)? {
            Some(record) => Some(Zeroizing::new(layout::store_record_parse(&record)?)),
            None => None,
        };
        let stored = match (stored, primary_key) {
            (Some(stored), Some(given)) if *stored != *given => {
                return Err(Error::StorageConflict {
                    what: "a store of cores with another primary key",
                });
            }
            (Some(stored), _) => stored,
            (None, given) => {
                let fresh = Zeroizing::new(given.copied().unwrap_or_else(crypto::random_bytes));
                let mut batch = Batch::new();
                batch.put(REGISTRY, layout::STORE_KEY, layout::store_record(&fresh));
                // names are keys: a store that forgets its primary key would make other cores of them
                store.commit(batch, Durability::Synced)?;
                fresh
            }
        };
        let next_space = match store.get(REGISTRY, &layout::NEXT_SPACE_KEY)? {
            Some(value) => layout::space_parse(&value)?,
            None => layout::FIRST_SPACE,
        };
        Ok(Self {
            store,
            primary_key: stored,
            table: Mutex::new(Table {
                open: HashMap::new(),
                next_space,
            }),
            connections: Mutex::default(),
            closed: AtomicBool::new(false),
            finding: AtomicUsize::new(0),
            suspended: watch::Sender::new(false),
            opened: OnceLock::new(),
            room: Room::default(),
        })
    }

    pub(crate) fn is_finding(&self) -> bool {
        self.finding.load(Ordering::Acquire) > 0
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Ends every session.
    pub(crate) fn close(&self) -> Result<(), Error> {
        self.closed.store(true, Ordering::Release);
        self.suspended.send_replace(false);
        self.room.set(room::Space::Unlimited);
        for core in self.open_cores() {
            let table = self.table.lock();
            // Nothing more can come of it, whoever holds it still.
            if core.write.try_lock().is_ok() && self.drop_blank(&core) {
                core.set_purged();
            }
            drop(table);
            core.wake();
        }
        Ok(self.store.close()?)
    }

    /// The cores that are open now.
    pub(crate) fn open_cores(&self) -> Vec<Arc<Core>> {
        let table = self.table.lock();
        table.open.values().filter_map(Weak::upgrade).collect()
    }

    /// True when somebody holds a snapshot of this core.
    pub(crate) fn has_snapshots(&self, discovery_key: &DiscoveryKey) -> bool {
        let open = self.table.lock().open.get(discovery_key).cloned();
        open.and_then(|core| core.upgrade())
            .is_some_and(|core| core.has_snapshots())
    }

    /// A connection that wants to know of cores that are opened.
    pub(crate) fn connect(&self, ready: &Arc<Ready>) {
        let mut connections = self.connections.lock();
        connections.retain(|other| other.strong_count() > 0);
        connections.push(Arc::downgrade(ready));
    }

    /// A core has its first session.
    pub(crate) fn offer(&self, core: &Core) {
        for ready in self.connections.lock().iter().filter_map(Weak::upgrade) {
            ready.offer(core.discovery_key);
        }
    }

    /// Commits, `Buffered`.
    pub(crate) fn commit(&self, batch: Batch) -> Result<Seq, Error> {
        Ok(self.store.commit(batch, Durability::Buffered)?)
    }

    /// What is stored about a core.
    pub(crate) fn record(&self, discovery_key: &DiscoveryKey) -> Result<Option<CoreRecord>, Error> {
        match self.store.get(REGISTRY, &layout::core_key(discovery_key))? {
            Some(value) => Ok(Some(CoreRecord::decode(&value)?)),
            None => Ok(None),
        }
    }

    /// The core with this discovery key: the open one, else opened, else made of `new`.
    pub(crate) fn core(
        self: &Arc<Self>,
        discovery_key: DiscoveryKey,
        name: Option<Name<'_>>,
        new: Option<NewCore>,
    ) -> Result<Arc<Core>, Error> {
        let mut table = self.table.lock();
        if let Some(core) = table.open.get(&discovery_key).and_then(Weak::upgrade) {
            return Ok(core);
        }
        let record = match (self.record(&discovery_key)?, new) {
            (Some(record), _) => record,
            (None, None) => return Err(Error::StorageEmpty { discovery_key }),
            (None, Some(new)) => {
                let record = CoreRecord {
                    space: Space(table.next_space),
                    key: new.key,
                    manifest: new.manifest.map(|manifest| manifest.encode()),
                    seed: new.key_pair.map(|pair| pair.seed()),
                    forked: false,
                };
                let mut batch = Batch::new();
                put_record(&mut batch, &discovery_key, &record);
                if let Some(name) = name {
                    put_name(&mut batch, name, &discovery_key);
                }
                self.take_space(&mut table, batch)?;
                record
            }
        };
        let core = Arc::new(Core::open(&self.store, self, discovery_key, &record)?);
        table.open.insert(discovery_key, Arc::downgrade(&core));
        if let Some(opened) = self.opened.get() {
            // that nobody is left to hear it is no error
            let _ = opened.send(discovery_key);
        }
        Ok(core)
    }

    /// Stores the manifest of a core that did not know it.
    pub(crate) fn set_manifest(&self, core: &Core, manifest: &Manifest) -> Result<(), Error> {
        let _table = self.table.lock();
        let mut record = self.record(&core.discovery_key)?.ok_or(Error::Closed)?;
        record.manifest = Some(manifest.encode());
        let mut batch = Batch::new();
        put_record(&mut batch, &core.discovery_key, &record);
        self.commit(batch)?;
        Ok(())
    }

    /// Stores that a core was signed twice. On disk when this returns.
    pub(crate) fn set_forked(&self, core: &Core) -> Result<(), Error> {
        let _table = self.table.lock();
        let mut record = self.record(&core.discovery_key)?.ok_or(Error::Closed)?;
        record.forked = true;
        let mut batch = Batch::new();
        put_record(&mut batch, &core.discovery_key, &record);
        self.store.commit(batch, Durability::Synced)?;
        Ok(())
    }

    /// Commits `batch` together with the next free space being taken.
    fn take_space(&self, table: &mut Table, mut batch: Batch) -> Result<Space, Error> {
        let space = table.next_space;
        let next = (space + 1).to_le_bytes();
        batch.put(REGISTRY, layout::NEXT_SPACE_KEY, next.to_vec());
        self.commit(batch)?;
        table.next_space = space + 1;
        Ok(Space(space))
    }

    /// A space that nothing refers to yet.
    pub(crate) fn new_space(&self) -> Result<Space, Error> {
        self.take_space(&mut self.table.lock(), Batch::new())
    }

    /// Called by a core that nobody holds any more.
    pub(crate) fn forget(&self, core: &Core) {
        let mut table = self.table.lock();
        // it may have been opened again by now
        if let Some(entry) = table.open.get(&core.discovery_key)
            && std::ptr::eq(entry.as_ptr(), core)
        {
            table.open.remove(&core.discovery_key);
            if !self.is_closed() && !self.is_suspended() {
                self.drop_blank(core);
            }
        }
    }

    /// Removes the record of a core of which nothing is here but its key: somebody asked for it, and nobody had it. True when it did. The table is to be
    /// locked.
    fn drop_blank(&self, core: &Core) -> bool {
        let auth = core.auth.read();
        if core.head.read().tree.length > 0
            || auth.verifier.is_some()
            || auth.owner.is_some()
            || core.is_purged()
        {
            return false;
        }
        drop(auth);
        match self.try_drop_blank(core) {
            Ok(dropped) => dropped,
            Err(error) => {
                // It stays, and takes a few bytes.
                tracing::debug!(key = %core.key, %error, "a core without anything in it was not forgotten");
                false
            }
        }
    }

    fn try_drop_blank(&self, core: &Core) -> Result<bool, Error> {
        let Some(record) = self.record(&core.discovery_key)? else {
            return Ok(false);
        };
        let (start, end) = layout::WHOLE_SPACE;
        let mut keys = (self.store.snapshot()).keys(core.space, &start[..]..&end[..]);
        if record.space != core.space
            || record.manifest.is_some()
            || record.seed.is_some()
            || record.forked
            || keys.next().transpose()?.is_some()
        {
            return Ok(false);
        }
        let mut batch = Batch::new();
        batch.delete(REGISTRY, layout::core_key(&core.discovery_key));
        self.commit(batch)?;
        Ok(true)
    }

    /// The first core whose discovery key does not sort below `from`, of those that had lost blocks when that was last looked at.
    pub(crate) fn next_lossy(&self, from: &[u8]) -> Result<Option<DiscoveryKey>, Error> {
        let (start, end) = layout::lossy_from(from);
        let mut keys = (self.store.snapshot()).keys(REGISTRY, &start[..]..&end[..]);
        let key = keys.next().transpose()?;
        key.map(|key| layout::core_key_parse(&key)).transpose()
    }

    /// True when the core has lost blocks; else that is remembered.
    pub(crate) fn is_lossy(&self, core: &Core) -> Result<bool, Error> {
        // Who is changing the core may be marking some.
        let Ok(_lock) = core.write.try_lock() else {
            return Ok(true);
        };
        if !core.lost(1)?.is_empty() {
            return Ok(true);
        }
        let mut batch = Batch::new();
        batch.delete(REGISTRY, layout::lossy_key(&core.discovery_key));
        self.commit(batch)?;
        Ok(false)
    }

    /// Removes cores with all that is in them, and their names, in one commit with `batch`. Their spaces are not used again.
    pub(crate) fn purge(&self, cores: &[&Core], mut batch: Batch) -> Result<(), Error> {
        let mut table = self.table.lock();
        let names = layout::names_prefix(None);
        let names_end = layout::prefix_end(&names);
        let snapshot = self.store.snapshot();
        for entry in snapshot.range(REGISTRY, &names[..]..&names_end[..]) {
            let (key, value) = entry?;
            let named = layout::name_value_parse(&value)?.0;
            if cores.iter().any(|core| core.discovery_key == named) {
                batch.delete(REGISTRY, key.to_vec());
            }
        }
        let (start, end) = layout::WHOLE_SPACE;
        for core in cores {
            core.drop_branches(&mut batch)?;
            batch.delete(REGISTRY, layout::core_key(&core.discovery_key));
            batch.delete(REGISTRY, layout::lossy_key(&core.discovery_key));
            batch.delete_range(core.space, start, end);
        }
        self.commit(batch)?;
        for core in cores {
            core.set_purged();
            let branches = core.branches.get().map(|branches| branches.open());
            for branch in branches.into_iter().flatten() {
                branch.set_purged();
            }
            table.open.remove(&core.discovery_key);
        }
        Ok(())
    }

    /// What a name stands for.
    pub(crate) fn named(&self, (namespace, name): Name<'_>) -> Result<Option<DiscoveryKey>, Error> {
        match self
            .store
            .get(REGISTRY, &layout::name_key(namespace, name))?
        {
            Some(value) => Ok(Some(layout::name_value_parse(&value)?.0)),
            None => Ok(None),
        }
    }

    /// Lets a name stand for a core, unless it stands for one.
    pub(crate) fn set_name(
        &self,
        name: Name<'_>,
        discovery_key: &DiscoveryKey,
    ) -> Result<(), Error> {
        let _table = self.table.lock();
        if self.named(name)?.is_none() {
            let mut batch = Batch::new();
            put_name(&mut batch, name, discovery_key);
            self.commit(batch)?;
        }
        Ok(())
    }

    /// The names in one namespace, or in all.
    pub(crate) fn names(
        &self,
        namespace: Option<&[u8; 32]>,
    ) -> Result<Vec<(Bytes, DiscoveryKey)>, Error> {
        let start = layout::names_prefix(namespace);
        let end = layout::prefix_end(&start);
        let entries = self.store.snapshot().range(REGISTRY, &start[..]..&end[..]);
        entries
            .map(|entry| {
                let (discovery_key, name) = layout::name_value_parse(&entry?.1)?;
                Ok((name, discovery_key))
            })
            .collect()
    }

    /// The discovery keys of all cores, in order.
    pub(crate) fn list(&self) -> Result<Vec<DiscoveryKey>, Error> {
        let (start, end) = layout::cores_range();
        let keys = self.store.snapshot().keys(REGISTRY, &start[..]..&end[..]);
        keys.map(|key| layout::core_key_parse(&key?)).collect()
    }

    /// The space of a local keyspace, made when there is none.
    pub(crate) fn local(&self, name: &str) -> Result<Space, Error> {
        if name.len() > layout::LOCAL_NAME_MAX {
            return Err(Error::BadArgument {
                what: "the name of a local keyspace has more than 512 bytes",
            });
        }
        let key = layout::local_key(name);
        let mut table = self.table.lock();
        if let Some(value) = self.store.get(REGISTRY, &key)? {
            return Ok(Space(layout::space_parse(&value)?));
        }
        let mut batch = Batch::new();
        batch.put(REGISTRY, key, table.next_space.to_le_bytes().to_vec());
        self.take_space(&mut table, batch)
    }

    /// Removes a local keyspace; none is fine.
    pub(crate) fn remove_local(&self, name: &str) -> Result<(), Error> {
        let key = layout::local_key(name);
        let _table = self.table.lock();
        let Some(value) = self.store.get(REGISTRY, &key)? else {
            return Ok(());
        };
        let mut batch = Batch::new();
        let (start, end) = layout::WHOLE_SPACE;
        batch.delete_range(Space(layout::space_parse(&value)?), start, end);
        batch.delete(REGISTRY, key);
        self.commit(batch)?;
        Ok(())
    }

    /// The names of local keyspaces that start with `prefix`.
    pub(crate) fn locals(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let start = layout::local_key(prefix);
        let end = layout::prefix_end(&start);
        let keys = self.store.snapshot().keys(REGISTRY, &start[..]..&end[..]);
        keys.map(|key| Ok(layout::local_key_parse(&key?)?.to_owned()))
            .collect()
    }
}

fn put_name(batch: &mut Batch, (namespace, name): Name<'_>, discovery_key: &DiscoveryKey) {
    batch.put(
        REGISTRY,
        layout::name_key(namespace, name),
        layout::name_value(discovery_key, name),
    );
}

/// Writes the record of a core.
pub(crate) fn put_record(batch: &mut Batch, discovery_key: &DiscoveryKey, record: &CoreRecord) {
    batch.put(REGISTRY, layout::core_key(discovery_key), record.encode());
}
