//! Keys and hashes that need no store.

use super::{
    args::{Octets, Options, sized},
    bridge::{Out, now},
    store::{manifest, pair_out},
};
use pome_cores::{Key, KeyPair, Manifest, block_encryption::block_encryption_key, crypto};
use rquickjs::{Ctx, Object, Result};

pub(super) fn add<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    super::functions!(ctx, native, {
        "keyPair" => key_pair,
        "hash" => hash,
        "discoveryKey" => discovery_key,
        "blockEncryptionKey" => encryption_key,
        "manifestKey" => manifest_key,
        "streamId" => stream_id,
        "drivePath" => drive_path,
    });
    Ok(())
}

/// A new key pair, or that of a seed.
fn key_pair(options: Options<'_>) -> Result<Out> {
    let pair = match options.array("seed")? {
        Some(seed) => KeyPair::from_seed(&seed),
        None => KeyPair::random(),
    };
    Ok(pair_out(&pair))
}

fn hash(bytes: Octets) -> Out {
    Out::bytes(crypto::hash(&[&bytes.0]))
}

fn discovery_key(ctx: Ctx<'_>, key: Octets) -> Result<Out> {
    let key = Key(sized(&ctx, "key", &key.0)?);
    Ok(Out::bytes(crypto::discovery_key(&key).0))
}

fn encryption_key(ctx: Ctx<'_>, key: Octets, encryption_key: Octets) -> Result<Out> {
    let key = Key(sized(&ctx, "key", &key.0)?);
    let encryption_key = sized(&ctx, "encryptionKey", &encryption_key.0)?;
    Ok(Out::bytes(block_encryption_key(&key, &encryption_key)))
}

/// The key of a core with this manifest; with `compat` it is the public key of the one signer.
fn manifest_key<'js>(ctx: Ctx<'js>, options: Options<'js>, compat: bool) -> Result<Out> {
    let manifest: Manifest = manifest(&ctx, &options)?;
    Ok(match (compat, manifest.signers.first()) {
        (true, Some(signer)) => Out::bytes(signer.public_key),
        _ => Out::bytes(manifest.key().0),
    })
}

/// What names one direction of a connection.
fn stream_id(ctx: Ctx<'_>, handshake_hash: Octets, initiator: bool) -> Result<Out> {
    let [initiates, responds, _] = crypto::namespaces::<3>("hyperswarm/secret-stream");
    let namespace = if initiator { initiates } else { responds };
    let hash: [u8; 64] = sized(&ctx, "handshakeHash", &handshake_hash.0)?;
    Ok(Out::bytes(crypto::hash_keyed(&hash, &[&namespace])))
}

fn drive_path(ctx: Ctx<'_>, path: String) -> Result<String> {
    now(
        &ctx,
        pome_drive_fs::path::normalize(&path).map_err(pome_drive_fs::Error::from),
    )
}
