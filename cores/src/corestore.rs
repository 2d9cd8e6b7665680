//! All cores of one store.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use pome_encoding::{DiscoveryKey, Key};
use pome_storage::{Batch, Journal, SpaceUsage, Store};

use crate::{
    core::Core,
    crypto::{self, KeyPair},
    error::Error,
    hypercore::Hypercore,
    local::Local,
    manifest::{Manifest, Signer},
    options::{CoreAuth, CoreOptions, CorestoreOptions},
    registry::{NewCore, Registry},
    session::{Scope, Session},
    transaction::Transaction,
    verifier::Verifier,
};

/// All cores of one store (or of one namespace in it). Cheap to clone.
///
/// A name stands for a key pair: it is derived from the store's primary key, the namespace and the name, and the core's key is the hash of the
/// manifest with that key pair as its signer. So one name is another core in another namespace, and in another store.
///
/// ```
/// use pome_cores::{CoreOptions, Corestore, Store};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// let cores = Corestore::open(Store::open(dir.path(), Default::default())?)?;
/// let log = cores.get(CoreOptions::name("log")).await?;
/// let other = cores.namespace("app").get(CoreOptions::name("log")).await?;
/// assert_ne!(log.key(), other.key());
///
/// // both in one commit
/// let mut transaction = cores.transaction();
/// transaction.append(&log, vec!["a".into()]).await?;
/// transaction.append(&other, vec!["b".into()]).await?;
/// transaction.commit(Default::default()).await?;
/// assert_eq!(cores.get(CoreOptions::key(other.key())).await?.get(0).await?, "b");
/// assert_eq!(cores.list()?.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Corestore {
    registry: Arc<Registry>,
    scope: Arc<Scope>,
    is_root: bool,
    namespace: [u8; 32],
    manifest_version: u8,
    writable: bool,
    active: bool,
}

impl std::fmt::Debug for Corestore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Corestore").finish_non_exhaustive()
    }
}

/// What corestore derives its seeds under.
fn seed_namespace() -> [u8; 32] {
    crypto::namespace("corestore", 0)
}

impl Corestore {
    /// All cores in `store`; makes the primary key at the first open. At most one per store should be open: two would not share their cores.
    ///
    /// # Errors
    /// [`UnknownVersion`](Error::UnknownVersion), [`CorruptRecord`](Error::CorruptRecord), or from the store.
    pub fn open(store: Store) -> Result<Self, Error> {
        Self::open_with(store, CorestoreOptions::default())
    }

    /// As [`open`](Self::open), with options.
    ///
    /// # Errors
    /// [`StorageConflict`](Error::StorageConflict) when the store has another primary key; else as [`open`](Self::open).
    pub fn open_with(store: Store, options: CorestoreOptions) -> Result<Self, Error> {
        let registry = Registry::open(store, options.primary_key.as_ref())?;
        Ok(Self {
            registry: Arc::new(registry),
            scope: Arc::default(),
            is_root: true,
            namespace: options.namespace,
            manifest_version: options.manifest_version.max(1),
            writable: options.writable,
            active: options.active,
        })
    }

    /// The store below.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.registry.store
    }

    /// The secret that names are derived from.
    #[must_use]
    pub fn primary_key(&self) -> &[u8; 32] {
        &self.registry.primary_key
    }

    /// The namespace of this view; 32 zero bytes at the root.
    #[must_use]
    pub fn namespace_hash(&self) -> &[u8; 32] {
        &self.namespace
    }

    /// A view in which names mean other cores: namespace = blake2b(this namespace ‖ name), as npm. Closing it closes what was opened through
    /// it (and not what was opened through a namespace of it).
    #[must_use]
    pub fn namespace(&self, name: impl AsRef<[u8]>) -> Self {
        Self {
            namespace: crypto::hash(&[&self.namespace, name.as_ref()]),
            ..self.session()
        }
    }

    /// The same view, closed on its own.
    #[must_use]
    pub fn session(&self) -> Self {
        Self {
            scope: Arc::default(),
            is_root: false,
            ..self.clone()
        }
    }

    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if self.scope.is_closed() || self.registry.is_closed() {
            return Err(Error::Closed);
        }
        Ok(())
    }

    /// The key pair that `name` stands for in this namespace: its seed is blake2b(corestore ‖ namespace ‖ name) keyed with the primary key.
    #[must_use]
    pub fn create_key_pair(&self, name: impl AsRef<[u8]>) -> KeyPair {
        let parts: [&[u8]; 3] = [&seed_namespace(), &self.namespace, name.as_ref()];
        let seed = zeroize::Zeroizing::new(crypto::hash_keyed(self.primary_key(), &parts));
        KeyPair::from_seed(&seed)
    }

    /// The key of the core with this name in the namespace, if nothing but the name says which core it is. Nothing is opened or made.
    pub fn key_of(&self, name: impl AsRef<[u8]>) -> Key {
        let signer = Signer::new(self.create_key_pair(name).public);
        Manifest::single_signer(self.manifest_version, signer).key()
    }

    /// Opens a core, making it when it is ours to make. All sessions on one core share it. A core of which nothing is known but its key is forgotten with
    /// its last session, unless something came of it.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed); [`StorageEmpty`](Error::StorageEmpty) for a discovery key that is not here, or without leave to create;
    /// [`BadArgument`](Error::BadArgument) when nothing says which core; [`ManifestMismatch`](Error::ManifestMismatch);
    /// [`CorruptCore`](Error::CorruptCore) and others from the store.
    pub async fn get(&self, options: CoreOptions) -> Result<Hypercore, Error> {
        self.check_open()?;
        let core = self.open_core(&options)?;
        let mut session = options.session;
        if !self.writable {
            session.writable.get_or_insert(false);
        }
        session.active.get_or_insert(self.active);
        let derived = |name: &Vec<u8>| {
            let unknown = core.auth.read().owner.is_none();
            unknown.then(|| self.create_key_pair(name))
        };
        // a core that came here as a reader's is written by its name all the same
        let key_pair = (options.key_pair).or_else(|| options.name.as_ref().and_then(derived));
        let scope = self.scope.clone();
        let opened = Session::new(
            core,
            self.registry.clone(),
            scope,
            key_pair,
            options.encryption,
            &session,
        );
        if session.exclusive && opened.writable {
            opened.lock_exclusive().await?;
        }
        Ok(Hypercore::new(opened))
    }

    fn open_core(&self, options: &CoreOptions) -> Result<Arc<Core>, Error> {
        let name = options.name.as_deref().map(|name| (&self.namespace, name));
        if let Some(name) = name
            && let Some(discovery_key) = self.registry.named(name)?
        {
            return self.registry.core(discovery_key, None, None);
        }
        let key_pair = match (&options.name, &options.key_pair) {
            (_, Some(pair)) => Some(pair.clone()),
            (Some(name), None) => Some(self.create_key_pair(name)),
            (None, None) => None,
        };
        let version = self.manifest_version;
        let own = |pair: &KeyPair| Manifest::single_signer(version, Signer::new(pair.public));
        let (manifest, key) = match (&options.manifest, &options.key) {
            (Some(manifest), key) => {
                manifest.validate()?;
                (
                    Some(manifest.clone()),
                    key.unwrap_or_else(|| manifest.key()),
                )
            }
            // a core of version 10: its key is the public key
            (None, Some(key)) => {
                let compat = key_pair.as_ref().is_some_and(|pair| pair.public == key.0);
                let own = key_pair.as_ref().map(own).filter(|own| own.key() == *key);
                (own.or(compat.then(|| Manifest::single(key.0))), *key)
            }
            (None, None) => match (&key_pair, options.discovery_key) {
                (Some(pair), _) => {
                    let manifest = own(pair);
                    let key = manifest.key();
                    (Some(manifest), key)
                }
                (None, Some(discovery_key)) => {
                    return self.registry.core(discovery_key, None, None);
                }
                (None, None) => {
                    return Err(Error::BadArgument {
                        what: "nothing says which core: a name, key, discovery key, key pair or manifest is needed",
                    });
                }
            },
        };
        if let Some(manifest) = &manifest
            && !manifest.is_valid_for(&key)
            && !manifest.is_compat(&key)
        {
            return Err(Error::ManifestMismatch { key });
        }
        let discovery_key = crypto::discovery_key(&key);
        let new = options.create_if_missing.then(|| NewCore {
            key,
            manifest: manifest.clone(),
            key_pair,
        });
        let core = self.registry.core(discovery_key, name, new)?;
        if let Some(manifest) = manifest {
            self.teach(&core, manifest)?;
        }
        if let Some(name) = name {
            self.registry.set_name(name, &discovery_key)?;
        }
        Ok(core)
    }

    /// Stores the manifest of a core that did not know it.
    fn teach(&self, core: &Core, manifest: Manifest) -> Result<(), Error> {
        if core.verifier().is_some() {
            return Ok(());
        }
        self.registry.set_manifest(core, &manifest)?;
        let mut auth = core.auth.write();
        if auth.verifier.is_none() {
            auth.verifier = Some(Arc::new(Verifier::with_key(core.key, manifest)));
        }
        Ok(())
    }

    /// The discovery keys of all cores in the store, in order.
    ///
    /// # Errors
    /// From the store.
    pub fn list(&self) -> Result<Vec<DiscoveryKey>, Error> {
        self.check_open()?;
        self.registry.list()
    }

    /// What each core takes of the store, in the order of [`list`](Self::list). Walks all keys of the store; reads no block.
    ///
    /// # Errors
    /// From the store.
    pub fn usage(&self) -> Result<Vec<(DiscoveryKey, Key, SpaceUsage)>, Error> {
        self.check_open()?;
        let mut spaces: HashMap<_, _> = self.store().usage()?.into_iter().collect();
        let mut all = vec![];
        for discovery_key in self.registry.list()? {
            // One that is purged meanwhile is left out.
            if let Some(record) = self.registry.record(&discovery_key)? {
                let usage = spaces.remove(&record.space).unwrap_or_default();
                all.push((discovery_key, record.key, usage));
            }
        }
        Ok(all)
    }

    /// The names in this namespace that cores were opened under, in order, and what they stand for. (npm `list(namespace)`.)
    ///
    /// # Errors
    /// From the store.
    pub fn names(&self) -> Result<Vec<(Bytes, DiscoveryKey)>, Error> {
        self.check_open()?;
        self.registry.names(Some(&self.namespace))
    }

    /// Key, manifest and key pair of a stored core; `None` when it is not here.
    ///
    /// # Errors
    /// From the store.
    pub fn auth(&self, discovery_key: &DiscoveryKey) -> Result<Option<CoreAuth>, Error> {
        self.check_open()?;
        let Some(record) = self.registry.record(discovery_key)? else {
            return Ok(None);
        };
        let manifest = match &record.manifest {
            Some(bytes) => Some(Manifest::decode(bytes).map_err(|_| Error::CorruptCore {
                key: record.key,
                what: "its manifest does not decode",
            })?),
            None => None,
        };
        Ok(Some(CoreAuth {
            key: record.key,
            manifest,
            key_pair: record.seed.as_ref().map(|seed| KeyPair::from_seed(seed)),
        }))
    }

    /// True when this core is stored here.
    ///
    /// # Errors
    /// From the store.
    pub fn has(&self, key: &Key) -> Result<bool, Error> {
        self.check_open()?;
        let record = self.registry.record(&crypto::discovery_key(key))?;
        Ok(record.is_some())
    }

    /// Removes cores as [`Hypercore::purge`] does, all of them in one commit, with what else `batch` has: a crash leaves all or nothing of it.
    ///
    /// # Errors
    /// [`Closed`](Error::Closed); [`BadArgument`](Error::BadArgument) for a core of another store; [`InvalidOperation`](Error::InvalidOperation) for a branch, which
    /// is purged by itself; or from the store.
    pub async fn purge(&self, cores: &[&Hypercore], batch: Batch) -> Result<(), Error> {
        self.check_open()?;
        // Locked in an order that cannot deadlock with others that do so.
        let mut sorted = BTreeMap::new();
        for core in cores {
            core.session.check_open()?;
            core.refuse_branch()?;
            if !Arc::ptr_eq(&self.registry, &core.session.registry) {
                return Err(Error::BadArgument {
                    what: "the core is of another store",
                });
            }
            let core = &*core.session.core;
            sorted.insert(core.discovery_key, core);
        }
        let mut locks = vec![];
        for core in sorted.values() {
            locks.push(core.write.lock().await);
            if core.is_purged() {
                return Err(Error::Closed);
            }
        }
        let cores: Vec<&Core> = sorted.into_values().collect();
        self.registry.purge(&cores, batch)
    }

    /// Several changes to several cores and local keyspaces as one commit.
    #[must_use]
    pub fn transaction(&self) -> Transaction {
        Transaction::new(self.registry.clone())
    }

    /// The local keyspace called `name` (at most 512 bytes), made when there is none: state that is no core, in the same store and commits,
    /// never replicated. Namespaces do not matter to it.
    ///
    /// # Errors
    /// [`BadArgument`](Error::BadArgument), or from the store.
    pub fn local(&self, name: &str) -> Result<Local, Error> {
        self.check_open()?;
        let space = self.registry.local(name)?;
        Ok(Local::new(self.store().clone(), space))
    }

    /// Removes a local keyspace or journal with all that is in it. Handles on it must not be used any more.
    ///
    /// # Errors
    /// From the store.
    pub fn remove_local(&self, name: &str) -> Result<(), Error> {
        self.check_open()?;
        self.registry.remove_local(name)
    }

    /// The byte journal called `name`. It shares the table of names with [`local`](Self::local). At most one handle should append.
    ///
    /// # Errors
    /// [`BadArgument`](Error::BadArgument), or from the store.
    pub fn journal(&self, name: &str) -> Result<Journal, Error> {
        let local = self.local(name)?;
        Ok(Journal::open(self.store(), local.space())?)
    }

    /// The names of all local keyspaces and journals that start with `prefix`, in order.
    ///
    /// # Errors
    /// From the store.
    pub fn locals(&self, prefix: &str) -> Result<Vec<String>, Error> {
        self.check_open()?;
        self.registry.locals(prefix)
    }

    /// Closes every session that was opened through this handle or its clones; what they wait for ends with `Closed`. The handle from
    /// [`open`](Self::open) closes everything, and syncs and closes the store.
    ///
    /// # Errors
    /// From the store.
    pub async fn close(&self) -> Result<(), Error> {
        self.scope.close();
        if self.is_root {
            return self.registry.close();
        }
        for core in self.registry.open_cores() {
            core.wake();
        }
        Ok(())
    }

    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    pub(crate) fn scope(&self) -> &Arc<Scope> {
        &self.scope
    }
}
