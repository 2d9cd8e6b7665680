//! Which core holds the contents of a drive.
//!
//! It is derived: the same key pair as the database core, each signer's namespace hashed together with the database's key. So
//! whoever knows the drive's key and manifest knows both cores. Only drives whose manifest is of version 0, or that have none, name
//! it in the database's header instead.
//! Source: hyperdrive 13.3.4, `index.js`, `generateContentManifest`. Vectors: `drive.json`, `content_manifests`, `scenarios`.

use crate::{Blobs, Error};
use pome_bee::Hyperbee;
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

/// The manifest of the content core that the database core's manifest gives.
fn derived_manifest(db: &Hypercore) -> Option<Manifest> {
    content_manifest(&db.manifest()?, &db.key())
}

/// The content core that the database core's manifest gives.
pub(crate) fn derived_key(db: &Hypercore) -> Option<Key> {
    Some(derived_manifest(db)?.key())
}

/// Opens the content core of a drive: written with the key pair of its database.
pub(crate) async fn open_content(
    store: &Corestore,
    db: &Hyperbee,
    encryption_key: Option<[u8; 32]>,
) -> Result<Blobs, Error> {
    let core = db.core();
    let manifest = derived_manifest(core).ok_or(Error::NoContentKey { key: core.key() })?;
    let mut options = CoreOptions::manifest(manifest);
    if let Some(pair) = core.key_pair() {
        options = options.with_key_pair(pair);
    }
    if let Some(key) = encryption_key {
        options = options.with_encryption_key(key);
    }
    Ok(Blobs::new(store.get(options).await?))
}
