//! An open store, as the commands use it: names become cores, bees and drives here.

use super::{
    failure::Failure,
    limit::Limit,
    mount::Mounts,
    names::{Kind, Names, Target},
    network::Networks,
};
use pome_bee::{BeeCache, Hyperbee};
use pome_cores::{CoreOptions, Corestore, Hypercore, Key};
use pome_drive_fs::{DriveOptions, Hyperdrive};
use pome_storage::{Options, Store};
use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// May a command make what it does not find?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfMissing {
    Make,
    Refuse,
    /// A key that is not in the store yet is one that peers have.
    Fetch,
}

pub(crate) struct Service {
    /// The store's folder.
    pub(crate) dir: PathBuf,
    pub(crate) corestore: Corestore,
    pub(crate) names: Names,
    pub(crate) mounts: Mounts,
    pub(crate) limit: Limit,
    pub(crate) networks: Arc<Networks>,
    /// A drive opens its db core exclusively, so all commands share one instance of it.
    drives: tokio::sync::Mutex<HashMap<Key, Hyperdrive>>,
    /// For the blocks of all bees and drives.
    cache: BeeCache,
    /// Two bees made apart on one core share no write lock, so all commands share one of each.
    bees: parking_lot::Mutex<HashMap<Key, Hyperbee>>,
    /// What answers the lookups of peers.
    answers: parking_lot::Mutex<tokio::task::JoinSet<()>>,
    /// Apps that something is staged into, or that are released: one after the other.
    staging: parking_lot::Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>,
    /// Drives whose old versions are dropped in a moment.
    collecting: Arc<parking_lot::Mutex<HashSet<Key>>>,
}

/// What the drive of an app is called in this store: a name has no `/`.
fn app_name(namespace: &str) -> String {
    namespace.replace('/', ":")
}

pub(crate) fn no_drive() -> Failure {
    Failure::not_found("this store has no drive; `pome drive create NAME` makes one")
}

/// Old versions are dropped so long after a change.
const COLLECT_AFTER: Duration = Duration::from_secs(1);

/// Drops what the drive's rule does not keep, if it has one.
async fn collect(drive: &Hyperdrive) -> Result<(), pome_drive_fs::Error> {
    if drive.writable() && drive.note_version()? {
        drive.gc().await?;
    }
    Ok(())
}

impl Service {
    /// Opens the store in `dir`. The failure's code is `LOCKED` when another process has it.
    pub(crate) fn open(
        dir: &Path,
        create: bool,
        key: Option<pome_storage::Key>,
    ) -> Result<Self, Failure> {
        if !create && !dir.exists() {
            return Err(Failure::not_found(format!(
                "there is no store in {}; `pome mount`, `pome drive create` and other writing commands make one",
                dir.display()
            )));
        }
        let mut options = Options::default();
        options.create = create;
        options.key = key;
        let store = Store::open(dir, options)?;
        let corestore = Corestore::open(store)?;
        let names = Names::open(&corestore)?;
        let limit = Limit::open(&corestore)?;
        Ok(Self {
            dir: dir.into(),
            networks: Networks::new(&corestore),
            corestore,
            names,
            mounts: Mounts::default(),
            limit,
            drives: tokio::sync::Mutex::default(),
            bees: parking_lot::Mutex::default(),
            cache: BeeCache::default(),
            answers: parking_lot::Mutex::default(),
            staging: parking_lot::Mutex::default(),
            collecting: Arc::default(),
        })
    }

    pub(crate) fn store(&self) -> &Store {
        self.corestore.store()
    }

    /// Ends the mounts and closes the store.
    pub(crate) async fn close(&self) -> Result<(), Failure> {
        self.mounts.unmount_all().await;
        self.networks.close().await;
        self.answers.lock().abort_all();
        for drive in self.drives.lock().await.values() {
            if let Err(error) = collect(drive).await {
                tracing::warn!(drive = %drive.key(), %error, "old versions were not dropped");
            }
        }
        self.limit.close(&self.corestore)?;
        Ok(self.corestore.close().await?)
    }

    /// Drops what the drive's rule does not keep, once for all that is written in the next moment.
    pub(crate) fn collect_soon(&self, drive: &Hyperdrive) {
        if !self.collecting.lock().insert(drive.key()) {
            return;
        }
        let (drive, collecting) = (drive.clone(), self.collecting.clone());
        tokio::spawn(async move {
            tokio::time::sleep(COLLECT_AFTER).await;
            collecting.lock().remove(&drive.key());
            if let Err(error) = collect(&drive).await {
                tracing::warn!(drive = %drive.key(), %error, "old versions were not dropped");
            }
        });
    }

    /// Makes all that a command wrote durable.
    pub(crate) async fn sync(&self) -> Result<(), Failure> {
        let store = self.store().clone();
        match tokio::task::spawn_blocking(move || store.sync()).await {
            Ok(done) => Ok(done?),
            Err(error) => Err(Failure::new(
                "PANIC",
                format!("the sync broke off: {error}"),
            )),
        }
    }

    async fn core_by_key(&self, key: Key, if_missing: IfMissing) -> Result<Hypercore, Failure> {
        let fetch = if_missing == IfMissing::Fetch;
        let options = CoreOptions::key(key).with_create_if_missing(fetch);
        self.corestore.get(options).await.map_err(|error| {
            let mut failure = Failure::from(error);
            if failure.code == "STORAGE_EMPTY" {
                // In the words that were typed: its own are about the discovery key.
                failure.message = format!("nothing with the key {key} is in this store");
            }
            failure
        })
    }

    async fn core_of(
        &self,
        target: &str,
        kind: Kind,
        if_missing: IfMissing,
    ) -> Result<Hypercore, Failure> {
        let name = match Target::parse(target)? {
            Target::Key(key) => return self.core_by_key(key, if_missing).await,
            Target::Name(name) => name,
        };
        let known = self.names.of_kind(&name, kind)?.is_some();
        if !known && if_missing != IfMissing::Make {
            return Err(Failure::not_found(format!(
                "there is no {kind} called {name:?} in this store"
            )));
        }
        let core = self.corestore.get(CoreOptions::name(&name)).await?;
        if !known {
            self.names.set(&name, kind, core.key())?;
        }
        Ok(core)
    }

    /// A core by name or key.
    pub(crate) async fn core(
        &self,
        target: &str,
        if_missing: IfMissing,
    ) -> Result<Hypercore, Failure> {
        // A bee or a drive's core can be looked at as the core that it is.
        if if_missing != IfMissing::Make
            && let Target::Name(name) = Target::parse(target)?
            && let Some(row) = self.names.get(&name)?
            && row.kind == Kind::Bee
        {
            return self.core_of(target, Kind::Bee, if_missing).await;
        }
        self.core_of(target, Kind::Core, if_missing).await
    }

    /// A bee by name or key.
    pub(crate) async fn bee(
        &self,
        target: &str,
        if_missing: IfMissing,
    ) -> Result<Hyperbee, Failure> {
        let core = self.core_of(target, Kind::Bee, if_missing).await?;
        Ok(self
            .bees
            .lock()
            .entry(core.key())
            .or_insert_with(|| Hyperbee::new(core).with_cache(&self.cache))
            .clone())
    }

    /// A drive by name or key; without one, the only drive of the store. With its name, where it has one.
    pub(crate) async fn drive(
        &self,
        target: Option<&str>,
        if_missing: IfMissing,
    ) -> Result<(Option<String>, Hyperdrive), Failure> {
        let Some(target) = target else {
            let drives = self.names.of(Kind::Drive)?;
            return match drives.as_slice() {
                [(name, _)] => Ok((Some(name.clone()), self.drive_by_name(name).await?)),
                [] => Err(no_drive()),
                _ => {
                    let names: Vec<_> = drives.iter().map(|(name, _)| name.as_str()).collect();
                    Err(Failure::usage(format!(
                        "this store has several drives; say which: {}",
                        names.join(", ")
                    )))
                }
            };
        };
        match Target::parse(target)? {
            Target::Name(name) => match self.names.of_kind(&name, Kind::Drive)? {
                Some(_) => Ok((Some(name.clone()), self.drive_by_name(&name).await?)),
                None => Err(Failure::not_found(format!(
                    "there is no drive called {name:?} in this store"
                ))),
            },
            Target::Key(key) => {
                let name = self
                    .names
                    .of(Kind::Drive)?
                    .into_iter()
                    .find(|(_, row)| row.key.parse() == Ok(key))
                    .map(|(name, _)| name);
                match name {
                    Some(name) => Ok((Some(name.clone()), self.drive_by_name(&name).await?)),
                    None => Ok((None, self.drive_by_key(key, if_missing).await?)),
                }
            }
        }
    }

    /// Makes a drive; the name must be free.
    pub(crate) async fn make_drive(&self, name: &str) -> Result<Hyperdrive, Failure> {
        let Target::Name(name) = Target::parse(name)? else {
            return Err(Failure::usage(format!("{name} is a key, not a name")));
        };
        if let Some(row) = self.names.get(&name)? {
            let kind = row.kind;
            return Err(Failure::new(
                "NAME_TAKEN",
                format!("{name:?} is a {kind} in this store already"),
            ));
        }
        let drive = self.drive_by_name(&name).await?;
        self.names.set(&name, Kind::Drive, drive.key())?;
        Ok(drive)
    }

    /// The drive of an app of ours, by the namespace that it has in Pear's store. Where there is none it is one that has nothing in it, with `if_new`.
    pub(crate) async fn app(&self, namespace: &str, if_new: bool) -> Result<Hyperdrive, Failure> {
        let row = self.names.of_kind(&app_name(namespace), Kind::Drive)?;
        if row.is_none() && !if_new {
            return Err(Failure::not_found(format!(
                "nothing was staged into {namespace:?} yet"
            )));
        }
        self.drive_in(namespace).await
    }

    /// Waits until nobody else stages into this app, or releases it; they wait until what is returned is dropped.
    pub(crate) async fn staging(&self, key: Key) -> tokio::sync::OwnedMutexGuard<()> {
        let lock = self.staging.lock().entry(key).or_default().clone();
        lock.lock_owned().await
    }

    /// Has it among the drives of this store.
    pub(crate) fn name_app(&self, namespace: &str, drive: &Hyperdrive) -> Result<(), Failure> {
        let name = app_name(namespace);
        match self.names.of_kind(&name, Kind::Drive)? {
            Some(_) => Ok(()),
            None => self
                .names
                .set_in(&name, Kind::Drive, drive.key(), namespace),
        }
    }

    async fn drive_by_name(&self, name: &str) -> Result<Hyperdrive, Failure> {
        let row = self.names.get(name)?;
        let namespace = row.as_ref().and_then(|row| row.namespace.as_deref());
        self.drive_in(namespace.unwrap_or(name)).await
    }

    /// The drive, telling peers what it looks up, and answering what they look up, so that a lookup takes two round trips and not one for each level.
    fn answering(&self, drive: Hyperdrive) -> Hyperdrive {
        let (drive, answers) = drive.with_extension();
        self.answers.lock().spawn(answers.run());
        drive
    }

    async fn drive_in(&self, namespace: &str) -> Result<Hyperdrive, Failure> {
        let mut drives = self.drives.lock().await;
        let key = Hyperdrive::drive_key(&self.corestore.namespace(namespace)).await?;
        if let Some(drive) = drives.get(&key) {
            return Ok(drive.clone());
        }
        let options = DriveOptions {
            cache: Some(self.cache.clone()),
            ..DriveOptions::default()
        };
        let drive = Hyperdrive::open(self.corestore.namespace(namespace), options).await?;
        let drive = self.answering(drive);
        drives.insert(drive.key(), drive.clone());
        Ok(drive)
    }

    async fn drive_by_key(&self, key: Key, if_missing: IfMissing) -> Result<Hyperdrive, Failure> {
        let mut drives = self.drives.lock().await;
        if let Some(drive) = drives.get(&key) {
            return Ok(drive.clone());
        }
        self.core_by_key(key, if_missing).await?;
        let options = DriveOptions {
            key: Some(key),
            cache: Some(self.cache.clone()),
            ..DriveOptions::default()
        };
        let drive = Hyperdrive::open(self.corestore.clone(), options).await?;
        let drive = self.answering(drive);
        drives.insert(key, drive.clone());
        Ok(drive)
    }
}
