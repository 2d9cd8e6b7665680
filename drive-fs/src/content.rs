//! Which core holds the contents of a drive.
//!
//! It is derived: the same key pair as the database core, each signer's namespace hashed together with the database's key. So
//! whoever knows the drive's key and manifest knows both cores. Only drives whose manifest is of version 0, or that have none, name
//! it in the database's header instead.
//! Source: hyperdrive 13.3.4, `index.js`, `generateContentManifest`. Vectors: `drive.json`, `content_manifests`, `scenarios`.

use crate::{Blobs, Error};
use pome_bee::{Header, Hyperbee};
use pome_cores::{
    CoreOptions, Corestore, Hypercore, Key, Manifest, Signer,
    crypto::{hash, namespace},
};

/// The manifest of the content core for a database core with this manifest and key. `None` for manifests of version 0.
pub fn content_manifest(manifest: &Manifest, key: &Key) -> Option<Manifest> {
    if manifest.version < 1 {
        return None;
    }
    let blobs = namespace("hyperdrive", 0);
    let signers = manifest.signers.iter().map(|signer| Signer {
        namespace: hash(&[&blobs, key.as_bytes(), &signer.namespace]),
        ..*signer
    });
    Some(Manifest {
        signers: signers.collect(),
        prologue: None,
        linked: None,
        user_data: None,
        ..manifest.clone()
    })
}

/// The key of the content core for a database core with this manifest and key. `None` for manifests of version 0.
pub fn content_key(manifest: &Manifest, key: &Key) -> Option<Key> {
    Some(content_manifest(manifest, key)?.key())
}

/// The manifest of the content core, where the database core's manifest gives it: not while that is unknown, and not for a core of version 10, whose key
/// is no manifest's hash.
fn derived_manifest(db: &Hypercore) -> Option<Manifest> {
    let (manifest, key) = (db.manifest()?, db.key());
    (manifest.key() == key).then(|| content_manifest(&manifest, &key))?
}

/// The key of that core.
pub(crate) fn derived_key(db: &Hypercore) -> Option<Key> {
    Some(derived_manifest(db)?.key())
}

/// That core, with the database's key pair where that is here.
fn derived(db: &Hypercore) -> Option<CoreOptions> {
    let options = CoreOptions::manifest(derived_manifest(db)?);
    Some(match db.key_pair() {
        Some(pair) => options.with_key_pair(pair),
        None => options,
    })
}

/// Opens the content core of a drive. Where neither the database's manifest nor its header is here yet, waits for the header.
pub(crate) async fn open_content(
    store: &Corestore,
    db: &Hyperbee,
    encryption_key: Option<[u8; 32]>,
) -> Result<Blobs, Error> {
    let core = db.core();
    let options = if let Some(named) = named_in_header(db).await? {
        CoreOptions::key(named)
    } else if let Some(options) = derived(core) {
        options
    } else if core.writable() {
        // as npm: a core of its own, which the header will name
        CoreOptions::name(format!("{}/blobs", core.id()))
    } else {
        let key = core.key();
        let header = db.header().await?.ok_or(Error::NoContentKey { key })?;
        match content_feed(key, header)? {
            Some(named) => CoreOptions::key(named),
            None => derived(core).ok_or(Error::BadHeader { key })?,
        }
    };
    let options = match encryption_key {
        Some(key) => options.with_encryption_key(key),
        None => options,
    };
    Ok(Blobs::new(store.get(options).await?))
}

/// The content core that the header names, if the header is here and names one.
async fn named_in_header(db: &Hyperbee) -> Result<Option<Key>, Error> {
    if !db.core().has(0..1).await? {
        return Ok(None);
    }
    match db.header().await? {
        Some(header) => content_feed(db.core().key(), header),
        None => Ok(None),
    }
}

fn content_feed(key: Key, header: Header) -> Result<Option<Key>, Error> {
    let Some(feed) = header.metadata.and_then(|metadata| metadata.content_feed) else {
        return Ok(None);
    };
    let named = feed.first_chunk().ok_or(Error::BadHeader { key })?;
    Ok(Some(Key(*named)))
}
