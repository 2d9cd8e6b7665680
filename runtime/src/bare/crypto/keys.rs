//! Ed25519 keys and signatures.

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use rquickjs::{ArrayBuffer, Ctx, Value};

use super::invalid;
use crate::{bare::failure::Failure, engine::bytes};

/// `[public key, private key]`: 32 and 64 bytes, the private one being the seed and the public key.
pub(super) fn key_pair<'js>(ctx: Ctx<'js>) -> rquickjs::Result<Vec<ArrayBuffer<'js>>> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|_| Failure::named("EIO").throw(&ctx))?;
    let key = SigningKey::from_bytes(&seed);
    Ok(vec![
        ArrayBuffer::new(ctx.clone(), key.verifying_key().to_bytes())?,
        ArrayBuffer::new(ctx, key.to_keypair_bytes())?,
    ])
}

/// The signature of `data`, 64 bytes.
pub(super) fn sign<'js>(
    ctx: Ctx<'js>,
    data: Value<'js>,
    key: Value<'js>,
) -> rquickjs::Result<ArrayBuffer<'js>> {
    let key = bytes::read(&key, |key| {
        key.try_into().ok().map(SigningKey::from_keypair_bytes)
    })?;
    match key {
        Some(Ok(key)) => {
            let signature = bytes::read(&data, |data| key.sign(data))?;
            ArrayBuffer::new(ctx, signature.to_bytes())
        }
        _ => Err(invalid(&ctx, "invalid private key")),
    }
}

/// Whether `signature` is the key's, of `data`.
pub(super) fn verify<'js>(
    ctx: Ctx<'js>,
    data: Value<'js>,
    key: Value<'js>,
    signature: Value<'js>,
) -> rquickjs::Result<bool> {
    let key = bytes::read(&key, |key| {
        key.try_into()
            .ok()
            .and_then(|key| VerifyingKey::from_bytes(key).ok())
    })?;
    let signature = bytes::read(&signature, |bytes| Signature::from_slice(bytes).ok())?;
    match (key, signature) {
        (Some(key), Some(signature)) => bytes::read(&data, |data| {
            ed25519_dalek::Verifier::verify(&key, data, &signature).is_ok()
        }),
        _ => Err(invalid(&ctx, "invalid key or signature")),
    }
}
