//! Hashes, authenticators, keys from keys and from passwords.

use super::super::super::{
    bridge::{held, hold, take},
    functions,
};
use super::{fixed, input, key_later, length, put, refused, wrong};
use crate::engine::bytes;
use argon2::{Algorithm, Argon2, Params, Version};
use blake2b_simd::Params as Blake2b;
use hmac::{Hmac, Mac};
use poly1305::{Poly1305, universal_hash::KeyInit};
use rquickjs::{Array, Ctx, Object, Result, Value, prelude::Opt};
use sha2::{Digest, Sha256, Sha512};
use siphasher::sip::SipHasher24;
use std::{cell::RefCell, hash::Hasher, rc::Rc};
use subtle::ConstantTimeEq;

pub(super) fn add<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    functions!(ctx, native, {
        "crypto_generichash" => generic,
        "crypto_generichash_batch" => generic_batch,
        "crypto_hash" => digest::<Sha512>,
        "crypto_hash_sha512" => digest::<Sha512>,
        "crypto_hash_sha256" => digest::<Sha256>,
        "hasherGeneric" => hasher_generic,
        "hasherSha256" => || begin(Running::Sha256(Sha256::new())),
        "hasherSha512" => || begin(Running::Sha512(Sha512::new())),
        "hasherOnetime" => hasher_onetime,
        "hasherUpdate" => update,
        "hasherFinal" => finish,
        "crypto_auth" => auth,
        "crypto_auth_verify" => auth_verify,
        "crypto_onetimeauth" => onetime,
        "crypto_onetimeauth_verify" => onetime_verify,
        "crypto_shorthash" => short,
        "crypto_kdf_derive_from_key" => derive,
        "crypto_pwhash" => password,
        "passwordLater" => password_later,
        "extension_pbkdf2_sha512" => pbkdf2,
    });
    Ok(())
}

fn blake2b(ctx: &Ctx<'_>, size: usize, key: &[u8]) -> Result<Blake2b> {
    if !(16..=64).contains(&size) || key.len() > 64 {
        return Err(wrong(
            ctx,
            "output must be 'crypto_generichash_BYTES_MIN' to 'crypto_generichash_BYTES_MAX' bytes",
        ));
    }
    let mut params = Blake2b::new();
    params.hash_length(size).key(key);
    Ok(params)
}

fn generic<'js>(
    ctx: Ctx<'js>,
    output: Value<'js>,
    data: Value<'js>,
    key: Opt<Value<'js>>,
) -> Result<()> {
    generic_of(&ctx, &output, std::iter::once(Ok(data)), key)
}

fn generic_batch<'js>(
    ctx: Ctx<'js>,
    output: Value<'js>,
    batch: Array<'js>,
    key: Opt<Value<'js>>,
) -> Result<()> {
    generic_of(&ctx, &output, batch.iter(), key)
}

fn generic_of<'js>(
    ctx: &Ctx<'js>,
    output: &Value<'js>,
    parts: impl Iterator<Item = Result<Value<'js>>>,
    key: Opt<Value<'js>>,
) -> Result<()> {
    let key = super::optional_input(key)?;
    let mut state = blake2b(ctx, length(output)?, &key)?.to_state();
    for part in parts {
        bytes::read(&part?, |part| {
            state.update(part);
        })?;
    }
    put(ctx, output, "output", state.finalize().as_bytes())
}

fn digest<'js, D: Digest>(ctx: Ctx<'js>, output: Value<'js>, data: Value<'js>) -> Result<()> {
    let hash = bytes::read(&data, |data| D::digest(data))?;
    put(&ctx, &output, "out", &hash)
}

/// A hash that is given its data in parts.
enum Running {
    Generic(Box<blake2b_simd::State>),
    Sha256(Sha256),
    Sha512(Sha512),
    /// Key and data: the data is short.
    Onetime([u8; 32], Vec<u8>),
}

type Shared = Rc<RefCell<Option<Running>>>;

fn begin(running: Running) -> u32 {
    let shared: Shared = Rc::new(RefCell::new(Some(running)));
    hold(Box::new(shared))
}

fn hasher_generic<'js>(ctx: Ctx<'js>, size: usize, key: Opt<Value<'js>>) -> Result<u32> {
    let key = super::optional_input(key)?;
    let state = blake2b(&ctx, size, &key)?.to_state();
    Ok(begin(Running::Generic(Box::new(state))))
}

fn hasher_onetime<'js>(ctx: Ctx<'js>, key: Value<'js>) -> Result<u32> {
    let key = fixed(&ctx, &key, "k")?;
    Ok(begin(Running::Onetime(key, Vec::new())))
}

fn update<'js>(ctx: Ctx<'js>, id: u32, data: Value<'js>) -> Result<()> {
    let shared: Shared = held(&ctx, id)?;
    bytes::read(&data, |data| match shared.borrow_mut().as_mut() {
        Some(Running::Generic(state)) => {
            state.update(data);
        }
        Some(Running::Sha256(state)) => state.update(data),
        Some(Running::Sha512(state)) => state.update(data),
        Some(Running::Onetime(_, all)) => all.extend_from_slice(data),
        None => {}
    })
}

fn finish<'js>(ctx: Ctx<'js>, id: u32, output: Value<'js>) -> Result<()> {
    let shared: Option<Shared> = take(id);
    let running = shared.and_then(|shared| shared.borrow_mut().take());
    match running {
        Some(Running::Generic(state)) => {
            let hash = state.finalize();
            // A shorter one than was asked for at the beginning is the front of it.
            let size = length(&output)?.min(hash.as_bytes().len());
            put(&ctx, &output, "output", &hash.as_bytes()[..size])
        }
        Some(Running::Sha256(state)) => put(&ctx, &output, "out", &state.finalize()),
        Some(Running::Sha512(state)) => put(&ctx, &output, "out", &state.finalize()),
        Some(Running::Onetime(key, data)) => put(&ctx, &output, "out", &tag(&key, &data)),
        None => Err(wrong(&ctx, "the state is finished")),
    }
}

fn hmac(ctx: &Ctx<'_>, data: &Value<'_>, key: &Value<'_>) -> Result<[u8; 32]> {
    let key: [u8; 32] = fixed(ctx, key, "k")?;
    let mut mac = <Hmac<Sha512> as hmac::KeyInit>::new_from_slice(&key)
        .map_err(|_| wrong(ctx, "k must be 32 bytes"))?;
    bytes::read(data, |data| Mac::update(&mut mac, data))?;
    let whole = mac.finalize().into_bytes();
    let mut front = [0; 32];
    front.copy_from_slice(&whole[..32]);
    Ok(front)
}

fn auth<'js>(ctx: Ctx<'js>, output: Value<'js>, data: Value<'js>, key: Value<'js>) -> Result<()> {
    let tag = hmac(&ctx, &data, &key)?;
    put(&ctx, &output, "out", &tag)
}

fn auth_verify<'js>(
    ctx: Ctx<'js>,
    tag: Value<'js>,
    data: Value<'js>,
    key: Value<'js>,
) -> Result<bool> {
    let given: [u8; 32] = fixed(&ctx, &tag, "h")?;
    Ok(hmac(&ctx, &data, &key)?.ct_eq(&given).into())
}

fn tag(key: &[u8; 32], data: &[u8]) -> [u8; 16] {
    Poly1305::new(&(*key).into()).compute_unpadded(data).into()
}

fn onetime<'js>(
    ctx: Ctx<'js>,
    output: Value<'js>,
    data: Value<'js>,
    key: Value<'js>,
) -> Result<()> {
    let key = fixed(&ctx, &key, "k")?;
    let made = bytes::read(&data, |data| tag(&key, data))?;
    put(&ctx, &output, "out", &made)
}

fn onetime_verify<'js>(
    ctx: Ctx<'js>,
    given: Value<'js>,
    data: Value<'js>,
    key: Value<'js>,
) -> Result<bool> {
    let (given, key): ([u8; 16], _) = (fixed(&ctx, &given, "h")?, fixed(&ctx, &key, "k")?);
    let made = bytes::read(&data, |data| tag(&key, data))?;
    Ok(made.ct_eq(&given).into())
}

fn short<'js>(ctx: Ctx<'js>, output: Value<'js>, data: Value<'js>, key: Value<'js>) -> Result<()> {
    let mut hasher = SipHasher24::new_with_key(&fixed(&ctx, &key, "k")?);
    bytes::read(&data, |data| hasher.write(data))?;
    put(&ctx, &output, "out", &hasher.finish().to_le_bytes())
}

fn derive<'js>(
    ctx: Ctx<'js>,
    subkey: Value<'js>,
    id: f64,
    context: Value<'js>,
    key: Value<'js>,
) -> Result<()> {
    let key: [u8; 32] = fixed(&ctx, &key, "key")?;
    let mut personal = [0; 16];
    personal[..8].copy_from_slice(&fixed::<8>(&ctx, &context, "ctx")?);
    let mut salt = [0; 16];
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number below 2^53"
    )]
    salt[..8].copy_from_slice(&(id as u64).to_le_bytes());
    let size = length(&subkey)?;
    let hash = blake2b(&ctx, size, &key)?
        .salt(&salt)
        .personal(&personal)
        .hash(&[]);
    put(&ctx, &subkey, "subkey", hash.as_bytes())
}

/// How a key is made of a password.
struct Password {
    password: Vec<u8>,
    salt: Vec<u8>,
    argon: Argon2<'static>,
    size: usize,
}

impl Password {
    fn new(
        ctx: &Ctx<'_>,
        size: usize,
        (password, salt): (&Value<'_>, &Value<'_>),
        (passes, memory, algorithm): (f64, f64, f64),
    ) -> Result<Self> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "numbers out of range saturate, and are refused"
        )]
        let (passes, memory) = (passes as u32, (memory / 1024.0) as u32);
        let algorithm = match algorithm {
            1.0 => Algorithm::Argon2i,
            _ => Algorithm::Argon2id,
        };
        let params = Params::new(memory, passes, 1, Some(size))
            .map_err(|_| wrong(ctx, "memlimit or opslimit is out of range"))?;
        let salt: [u8; 16] = fixed(ctx, salt, "salt")?;
        Ok(Self {
            password: input(password)?,
            salt: salt.to_vec(),
            argon: Argon2::new(algorithm, Version::V0x13, params),
            size,
        })
    }

    fn key(&self) -> Option<Vec<u8>> {
        let mut key = vec![0; self.size];
        self.argon
            .hash_password_into(&self.password, &self.salt, &mut key)
            .ok()?;
        Some(key)
    }
}

fn password<'js>(
    ctx: Ctx<'js>,
    output: Value<'js>,
    password: Value<'js>,
    salt: Value<'js>,
    passes: f64,
    memory: f64,
    algorithm: f64,
) -> Result<()> {
    let limits = (passes, memory, algorithm);
    let size = length(&output)?;
    let key = Password::new(&ctx, size, (&password, &salt), limits)?.key();
    put(&ctx, &output, "out", &key.ok_or_else(|| refused(&ctx))?)
}

/// A promise of the key.
fn password_later<'js>(
    ctx: Ctx<'js>,
    size: usize,
    password: Value<'js>,
    salt: Value<'js>,
    passes: f64,
    memory: f64,
    algorithm: f64,
) -> Result<Value<'js>> {
    let limits = (passes, memory, algorithm);
    let password = Password::new(&ctx, size, (&password, &salt), limits)?;
    key_later(&ctx, move || password.key())
}

fn pbkdf2<'js>(
    ctx: Ctx<'js>,
    output: Value<'js>,
    password: Value<'js>,
    salt: Value<'js>,
    rounds: u32,
    size: usize,
) -> Result<()> {
    let (password, salt) = (input(&password)?, input(&salt)?);
    let mut key = vec![0; size.min(length(&output)?)];
    pbkdf2::pbkdf2::<Hmac<Sha512>>(&password, &salt, rounds, &mut key)
        .map_err(|_| refused(&ctx))?;
    put(&ctx, &output, "out", &key)
}
