//! Signatures with Ed25519.

use super::super::super::functions;
use super::{fixed, input, length, put, refused};
use crate::engine::bytes;
use pome_cores::crypto::{self, KeyPair};
use rquickjs::{Ctx, Object, Result, Value};
use sha2::{Digest, Sha512};

pub(super) fn add<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    functions!(ctx, native, {
        "crypto_sign_keypair" => keypair,
        "crypto_sign_seed_keypair" => seed_keypair,
        "crypto_sign" => sign,
        "crypto_sign_open" => open,
        "crypto_sign_detached" => detached,
        "crypto_sign_verify_detached" => verify_detached,
        "crypto_sign_ed25519_sk_to_pk" => public_of,
        "crypto_sign_ed25519_pk_to_curve25519" => public_to_curve,
        "crypto_sign_ed25519_sk_to_curve25519" => secret_to_curve,
    });
    Ok(())
}

fn put_pair<'js>(
    ctx: &Ctx<'js>,
    pair: &KeyPair,
    public: &Value<'js>,
    secret: &Value<'js>,
) -> Result<()> {
    put(ctx, public, "pk", &pair.public)?;
    put(ctx, secret, "sk", &*pair.secret_key())
}

fn keypair<'js>(ctx: Ctx<'js>, public: Value<'js>, secret: Value<'js>) -> Result<()> {
    put_pair(&ctx, &KeyPair::random(), &public, &secret)
}

fn seed_keypair<'js>(
    ctx: Ctx<'js>,
    public: Value<'js>,
    secret: Value<'js>,
    seed: Value<'js>,
) -> Result<()> {
    let pair = KeyPair::from_seed(&fixed(&ctx, &seed, "seed")?);
    put_pair(&ctx, &pair, &public, &secret)
}

/// libsodium takes the public half as it is; a signature under another one would not hold, and can give the key away.
fn secret_pair(ctx: &Ctx<'_>, secret: &Value<'_>) -> Result<KeyPair> {
    KeyPair::from_secret_key(&fixed(ctx, secret, "sk")?).ok_or_else(|| refused(ctx))
}

fn detached<'js>(
    ctx: Ctx<'js>,
    signature: Value<'js>,
    message: Value<'js>,
    secret: Value<'js>,
) -> Result<()> {
    let pair = secret_pair(&ctx, &secret)?;
    let made = bytes::read(&message, |message| pair.sign(message))?;
    put(&ctx, &signature, "sig", &made)
}

fn verify_detached<'js>(
    signature: Value<'js>,
    message: Value<'js>,
    public: Value<'js>,
) -> Result<bool> {
    let (signature, public) = (input(&signature)?, input(&public)?);
    bytes::read(&message, |message| {
        crypto::verify(message, signature.get(..64).unwrap_or(&signature), &public)
    })
}

fn sign<'js>(
    ctx: Ctx<'js>,
    signed: Value<'js>,
    message: Value<'js>,
    secret: Value<'js>,
) -> Result<()> {
    let (pair, message) = (secret_pair(&ctx, &secret)?, input(&message)?);
    put(
        &ctx,
        &signed,
        "sm",
        &[&pair.sign(&message)[..], &message].concat(),
    )
}

fn open<'js>(
    ctx: Ctx<'js>,
    message: Value<'js>,
    signed: Value<'js>,
    public: Value<'js>,
) -> Result<bool> {
    let (signed, public) = (input(&signed)?, input(&public)?);
    let Some((signature, plain)) = signed.split_at_checked(64) else {
        return Ok(false);
    };
    if length(&message)? != plain.len() || !crypto::verify(plain, signature, &public) {
        return Ok(false);
    }
    put(&ctx, &message, "m", plain)?;
    Ok(true)
}

fn public_of<'js>(ctx: Ctx<'js>, public: Value<'js>, secret: Value<'js>) -> Result<()> {
    let secret: [u8; 64] = fixed(&ctx, &secret, "sk")?;
    put(&ctx, &public, "pk", &secret[32..])
}

fn public_to_curve<'js>(ctx: Ctx<'js>, curve: Value<'js>, public: Value<'js>) -> Result<()> {
    let public: [u8; 32] = fixed(&ctx, &public, "ed25519_pk")?;
    let point = super::points::point(&public).ok_or_else(|| refused(&ctx))?;
    put(&ctx, &curve, "x25519_pk", point.to_montgomery().as_bytes())
}

fn secret_to_curve<'js>(ctx: Ctx<'js>, curve: Value<'js>, secret: Value<'js>) -> Result<()> {
    let secret = input(&secret)?;
    let seed = secret.get(..32).ok_or_else(|| refused(&ctx))?;
    let mut scalar = [0; 32];
    scalar.copy_from_slice(&Sha512::digest(seed)[..32]);
    let scalar = curve25519_dalek::scalar::clamp_integer(scalar);
    put(&ctx, &curve, "x25519_sk", &scalar)
}
