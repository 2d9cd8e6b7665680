//! Corestores: `corestore` and what `hypercore` keeps a folder's cores in.

use super::{
    args::{Octets, Options, sized},
    bridge::{Failure, Out, Outcome, call_back, coded, held, hold, now, promise},
    hypercore::described,
};
use crate::{
    engine::error::JsError,
    permissions::{self, Place},
};
use pome_cores::{
    CoreOptions, Corestore, CorestoreOptions, DiscoveryKey, Key, KeyPair, Manifest,
    ManifestOptions, Prologue, Signer, Store,
};
use pome_storage::Op;
use rquickjs::{Ctx, Function, Object, Result, Value};
use rustix::{
    fs::{Mode, OFlags, fsync, openat},
    io::Errno,
};
use std::sync::Arc;
use tokio::sync::{Mutex, broadcast};

/// The keyspace beside the cores that says which core a folder of a single Hypercore has.
const SINGLE: &str = "hypercore/single";

/// Cores as they are opened.
type Opened = Arc<Mutex<broadcast::Receiver<DiscoveryKey>>>;

pub(super) fn add<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    super::functions!(ctx, native, {
        "storeOpen" => open,
        "storeView" => view,
        "storeFacts" => facts,
        "storeCore" => core,
        "storeSingle" => single,
        "storeClose" => close,
        "storeList" => list,
        "storeAuth" => auth,
        "storeKeyPair" => key_pair,
        "storeFindingPeers" => finding_peers,
        "storeWatch" => watch,
        "storeWatched" => watched,
        "storeSuspend" => suspend,
        "storeResume" => resume,
        "storeCompact" => compact,
    });
    Ok(())
}

fn open<'js>(ctx: Ctx<'js>, path: String, options: Options<'js>) -> Result<Value<'js>> {
    let folder = now(&ctx, folder(&ctx, &path))?;
    let mut cores = CorestoreOptions::default();
    cores.primary_key = options.array("primaryKey")?;
    cores.writable = options.flag("writable")?.unwrap_or(true);
    cores.active = options.flag("active")?.unwrap_or(true);
    cores.namespace = options.array("namespace")?.unwrap_or_default();
    if let Some(version) = options.count("manifestVersion")? {
        cores.manifest_version = u8::try_from(version).unwrap_or(u8::MAX);
    }
    let mut below = pome_storage::Options::default();
    below.create = options.flag("createIfMissing")?.unwrap_or(true);
    promise(&ctx, async move {
        let opened = tokio::task::spawn_blocking(move || -> Outcome<Corestore> {
            let store = folder.open(below)?;
            Ok(Corestore::open_with(store, cores)?)
        });
        let store = opened
            .await
            .map_err(|_| coded("SESSION_CLOSED", "the process ends"))??;
        Ok(Out::held(store))
    })
}

/// Where a store is to be.
pub(super) struct Folder {
    path: String,
    place: Place,
}

/// The folder of a store, if the program may use it.
pub(super) fn folder(ctx: &Ctx<'_>, path: &str) -> std::result::Result<Folder, JsError> {
    Ok(Folder {
        path: path.into(),
        place: permissions::file(ctx, path)?,
    })
}

impl Folder {
    /// Opens the store there, or makes one. For a program that may not go everywhere it is the folder that was allowed, wherever its path leads by now.
    pub(super) fn open(
        self,
        options: pome_storage::Options,
    ) -> std::result::Result<Store, pome_storage::Error> {
        let makes = options.create && !options.read_only;
        let failed = |op, errno: Errno| pome_storage::Error::Io {
            op,
            file: self.path.clone(),
            source: Arc::new(errno.into()),
        };
        match self.place.folder(makes) {
            Some(Ok(folder)) => {
                if makes {
                    // Its name is to last, too.
                    let above = openat(
                        &folder.open,
                        "..",
                        OFlags::RDONLY | OFlags::CLOEXEC,
                        Mode::empty(),
                    );
                    match above {
                        // Where we may not look, we made nothing.
                        Err(Errno::ACCESS) => {}
                        above => above
                            .and_then(fsync)
                            .map_err(|errno| failed(Op::Create, errno))?,
                    }
                }
                Store::open_in(folder.open.into(), self.path, options)
            }
            Some(Err(Errno::NOENT)) => Err(pome_storage::Error::NotAStore {
                store: self.path,
                why: "there is no such folder".into(),
            }),
            Some(Err(Errno::NOTDIR)) => Err(pome_storage::Error::NotAStore {
                store: self.path,
                why: "it is not a folder".into(),
            }),
            Some(Err(errno)) => Err(failed(Op::Open, errno)),
            None => Store::open(self.path, options),
        }
    }
}

/// Another view of the same store: of a namespace, or (`root`) of the root namespace.
fn view<'js>(ctx: Ctx<'js>, id: u32, options: Options<'js>) -> Result<u32> {
    let store: Corestore = held(&ctx, id)?;
    let view = match options.bytes("name")? {
        Some(name) => store.namespace(name),
        None => store.session(),
    };
    Ok(hold(Box::new(view)))
}

fn facts(ctx: Ctx<'_>, id: u32) -> Result<Out> {
    let store: Corestore = held(&ctx, id)?;
    Ok(Out::Fields(vec![
        ("primaryKey", Out::bytes(store.primary_key())),
        ("namespace", Out::bytes(store.namespace_hash())),
    ]))
}

fn signer(options: &Options<'_>) -> Result<Signer> {
    let mut signer = Signer::new(options.array("publicKey")?.unwrap_or_default());
    if let Some(namespace) = options.array("namespace")? {
        signer.namespace = namespace;
    }
    Ok(signer)
}

/// A manifest as JavaScript has it.
pub(super) fn manifest(ctx: &Ctx<'_>, options: &Options<'_>) -> Result<Manifest> {
    let version = options.count("version")?;
    let mut made = ManifestOptions {
        version: version.map(|version| u8::try_from(version).unwrap_or(u8::MAX)),
        allow_patch: options.flag("allowPatch")?.unwrap_or(false),
        quorum: options.count("quorum")?,
        user_data: options.bytes("userData")?.map(Vec::from),
        ..ManifestOptions::default()
    };
    for key in options.list::<Octets>("linked")?.unwrap_or_default() {
        made.linked.push(Key(sized(ctx, "linked", &key.0)?));
    }
    for one in options.list::<Options<'_>>("signers")?.unwrap_or_default() {
        made.signers.push(signer(&one)?);
    }
    if let Some(prologue) = options.options("prologue")? {
        made.prologue = Some(Prologue {
            hash: prologue.array("hash")?.unwrap_or_default(),
            length: prologue.count("length")?.unwrap_or(0),
        });
    }
    now(ctx, Manifest::create(made).map_err(Failure::from))
}

/// How a core is asked for; `known` is its key where the options have none.
fn wanted<'js>(ctx: &Ctx<'js>, options: &Options<'js>, known: Option<Key>) -> Result<CoreOptions> {
    let mut core = match (
        options.bytes("name")?,
        options.key("key")?.or(known),
        options.array("discoveryKey")?,
    ) {
        (Some(name), ..) => CoreOptions::name(name),
        (None, Some(key), _) => CoreOptions::key(key),
        (None, None, Some(discovery_key)) => {
            CoreOptions::discovery_key(DiscoveryKey(discovery_key))
        }
        (None, None, None) => CoreOptions::default(),
    };
    if let Some(pair) = options.key_pair("keyPair")? {
        core = core.with_key_pair(pair);
    }
    if let Some(given) = options.options("manifest")? {
        core = core.with_manifest(manifest(ctx, &given)?);
    }
    if let Some(encryption) = options.options("encryption")?
        && let Some(key) = encryption.array("key")?
    {
        core = match encryption.flag("block")?.unwrap_or(false) {
            true => core.with_block_key(key),
            false => core.with_encryption_key(key),
        };
    }
    if let Some(create) = options.flag("createIfMissing")? {
        core = core.with_create_if_missing(create);
    }
    if let Some(writable) = options.flag("writable")? {
        core = core.with_writable(writable);
    }
    if let Some(exclusive) = options.flag("exclusive")? {
        core = core.with_exclusive(exclusive);
    }
    if let Some(wait) = options.flag("wait")? {
        core = core.with_wait(wait);
    }
    if let Some(timeout) = options.millis("timeout")? {
        core = core.with_timeout(timeout);
    }
    if let Some(active) = options.flag("active")? {
        core = core.with_active(active);
    }
    Ok(core)
}

fn core<'js>(ctx: Ctx<'js>, id: u32, options: Options<'js>) -> Result<Value<'js>> {
    let store: Corestore = held(&ctx, id)?;
    let wanted = wanted(&ctx, &options, None)?;
    let snapshot = options.flag("snapshot")?.unwrap_or(false);
    promise(&ctx, async move {
        let core = store.get(wanted).await?;
        Ok(described(match snapshot {
            true => core.snapshot()?,
            false => core,
        }))
    })
}

/// The core of a folder that has one Hypercore: the one that is asked for, or the one that was first made in it, or a new one.
fn single<'js>(ctx: Ctx<'js>, id: u32, options: Options<'js>) -> Result<Value<'js>> {
    let store: Corestore = held(&ctx, id)?;
    let named = options.bytes("key")?.is_some()
        || options.options("keyPair")?.is_some()
        || options.options("manifest")?.is_some();
    let local = now(&ctx, store.local(SINGLE).map_err(Failure::from))?;
    let before = now(&ctx, local.get(b"key").map_err(Failure::from))?;
    let before = before.and_then(|key| key[..].try_into().ok()).map(Key);
    let create = options.flag("createIfMissing")?.unwrap_or(true);
    let snapshot = options.flag("snapshot")?.unwrap_or(false);
    let mut wanted = wanted(&ctx, &options, before.filter(|_| !named))?;
    if !named && before.is_none() {
        wanted = wanted.with_key_pair(KeyPair::random());
    }
    promise(&ctx, async move {
        if !named && before.is_none() && !create {
            return Err(coded("STORAGE_EMPTY", "No Hypercore is stored here"));
        }
        let core = store.get(wanted).await?;
        if before.is_none() {
            local.put(b"key", core.key().0.to_vec())?;
        }
        Ok(described(match snapshot {
            true => core.snapshot()?,
            false => core,
        }))
    })
}

fn close(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    let store: Corestore = held(&ctx, id)?;
    promise(&ctx, async move {
        store.close().await?;
        Ok(Out::Undefined)
    })
}

/// The discovery keys of all cores; with `true` those that have a name in this namespace.
fn list(ctx: Ctx<'_>, id: u32, named: bool) -> Result<Out> {
    let store: Corestore = held(&ctx, id)?;
    let keys = match named {
        true => store
            .names()
            .map(|names| names.into_iter().map(|(_, key)| key).collect()),
        false => store.list(),
    };
    let keys: Vec<DiscoveryKey> = now(&ctx, keys.map_err(Failure::from))?;
    Ok(Out::List(
        keys.iter().map(|key| Out::bytes(key.0)).collect(),
    ))
}

pub(super) fn pair_out(pair: &KeyPair) -> Out {
    Out::Fields(vec![
        ("publicKey", Out::bytes(pair.public)),
        ("secretKey", Out::bytes(*pair.secret_key())),
    ])
}

pub(super) fn manifest_out(manifest: &Manifest) -> Out {
    let signers = manifest.signers.iter().map(|signer| {
        Out::Fields(vec![
            ("signature", Out::Text("ed25519".to_owned())),
            ("namespace", Out::bytes(signer.namespace)),
            ("publicKey", Out::bytes(signer.public_key)),
        ])
    });
    let prologue = manifest.prologue.as_ref().map(|prologue| {
        Out::Fields(vec![
            ("hash", Out::bytes(prologue.hash)),
            ("length", Out::count(prologue.length)),
        ])
    });
    Out::Fields(vec![
        ("version", Out::count(manifest.version.into())),
        ("hash", Out::Text("blake2b".to_owned())),
        ("allowPatch", Out::Bool(manifest.allow_patch)),
        ("quorum", Out::count(manifest.quorum)),
        ("signers", Out::List(signers.collect())),
        ("prologue", prologue.unwrap_or(Out::Null)),
        (
            "linked",
            Out::or_null(manifest.linked.as_ref(), |keys| {
                Out::List(keys.iter().map(|key| Out::bytes(key.0)).collect())
            }),
        ),
        (
            "userData",
            Out::or_null(manifest.user_data.as_ref(), Out::bytes),
        ),
    ])
}

fn auth(ctx: Ctx<'_>, id: u32, discovery_key: Octets) -> Result<Out> {
    let store: Corestore = held(&ctx, id)?;
    let key = DiscoveryKey(sized(&ctx, "discoveryKey", &discovery_key.0)?);
    let auth = now(&ctx, store.auth(&key).map_err(Failure::from))?;
    Ok(Out::or_null(auth, |auth| {
        Out::Fields(vec![
            ("key", Out::bytes(auth.key.0)),
            ("discoveryKey", Out::bytes(key.0)),
            (
                "manifest",
                Out::or_null(auth.manifest.as_ref(), manifest_out),
            ),
            ("keyPair", Out::or_null(auth.key_pair.as_ref(), pair_out)),
        ])
    }))
}

fn key_pair(ctx: Ctx<'_>, id: u32, name: Octets) -> Result<Out> {
    let store: Corestore = held(&ctx, id)?;
    Ok(pair_out(&store.create_key_pair(name.0)))
}

fn finding_peers(ctx: Ctx<'_>, id: u32) -> Result<u32> {
    let store: Corestore = held(&ctx, id)?;
    Ok(hold(Box::new(store.finding_peers())))
}

fn watch(ctx: Ctx<'_>, id: u32) -> Result<u32> {
    let store: Corestore = held(&ctx, id)?;
    let opened: Opened = Arc::new(Mutex::new(store.watch()));
    Ok(hold(Box::new(opened)))
}

/// The next core that is opened.
fn watched<'js>(ctx: Ctx<'js>, id: u32, callback: Function<'js>) -> Result<()> {
    let opened: Opened = held(&ctx, id)?;
    call_back(&ctx, false, callback, async move {
        let mut opened = opened.lock().await;
        loop {
            match opened.recv().await {
                Ok(key) => return Ok(Out::bytes(key.0)),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return Ok(Out::Null),
            }
        }
    })
}

fn suspend(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    let store: Corestore = held(&ctx, id)?;
    promise(&ctx, async move {
        store.suspend().await?;
        Ok(Out::Undefined)
    })
}

fn resume(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    let store: Corestore = held(&ctx, id)?;
    promise(&ctx, async move {
        store.resume().await?;
        Ok(Out::Undefined)
    })
}

/// Gives the disk back what was deleted.
fn compact(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    let store: Corestore = held(&ctx, id)?;
    promise(&ctx, async move {
        let store = store.store().clone();
        let done = tokio::task::spawn_blocking(move || store.compact());
        match done.await {
            Ok(done) => done.map(|_| Out::Undefined).map_err(Failure::from),
            Err(_) => Err(coded("SESSION_CLOSED", "the process ends")),
        }
    })
}
