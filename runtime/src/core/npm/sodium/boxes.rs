//! Boxes: what is encrypted and authenticated, by a shared key or for a public one.

use super::super::super::functions;
use super::{fixed, input, length, optional_input, put, refused, wrong};
use crate::engine::bytes::Bytes;
use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit as _, XChaCha20Poly1305,
    aead::{Aead as _, Payload},
};
use crypto_box::{PublicKey, SalsaBox, SecretKey, aead::Aead as _};
use crypto_secretbox::{KeyInit as _, XSalsa20Poly1305};
use pome_cores::crypto::{self, EncryptionKeyPair};
use rquickjs::{Ctx, Object, Result, Value, prelude::Opt};
use sha2::{Digest, Sha512};

/// A MAC, in bytes.
const MAC: usize = 16;

pub(super) fn add<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    functions!(ctx, native, {
        "crypto_secretbox_easy" => |ctx, c, m, n, k| sealed(ctx, Keys::Shared(k), (c, None), (m, n)),
        "crypto_secretbox_open_easy" => |ctx, m, c, n, k| opened(ctx, Keys::Shared(k), m, (c, None), n),
        "crypto_secretbox_detached" => |ctx, c, mac, m, n, k| sealed(ctx, Keys::Shared(k), (c, Some(mac)), (m, n)),
        "crypto_secretbox_open_detached" => |ctx, m, c, mac, n, k| opened(ctx, Keys::Shared(k), m, (c, Some(mac)), n),
        "crypto_box_keypair" => keypair,
        "crypto_box_seed_keypair" => seed_keypair,
        "crypto_box_easy" => |ctx, c, m, n, pk, sk| sealed(ctx, Keys::Pair(pk, sk), (c, None), (m, n)),
        "crypto_box_open_easy" => |ctx, m, c, n, pk, sk| opened(ctx, Keys::Pair(pk, sk), m, (c, None), n),
        "crypto_box_detached" => |ctx, c, mac, m, n, pk, sk| sealed(ctx, Keys::Pair(pk, sk), (c, Some(mac)), (m, n)),
        "crypto_box_open_detached" => |ctx, m, c, mac, n, pk, sk| opened(ctx, Keys::Pair(pk, sk), m, (c, Some(mac)), n),
        "crypto_box_seal" => seal,
        "crypto_box_seal_open" => seal_open,
        "aeadEncrypt" => |ctx, m, aad, n, k| aead(ctx, true, m, aad, (n, k)),
        "aeadDecrypt" => |ctx, c, aad, n, k| aead(ctx, false, c, aad, (n, k)),
    });
    Ok(())
}

/// Whose box it is: of all who have a key, or from one to another.
enum Keys<'js> {
    Shared(Value<'js>),
    /// Public, and secret.
    Pair(Value<'js>, Value<'js>),
}

/// What a box is made and opened with: the MAC stands in front.
enum Cipher {
    Shared(XSalsa20Poly1305),
    Pair(SalsaBox),
}

impl Keys<'_> {
    fn cipher(&self, ctx: &Ctx<'_>) -> Result<Cipher> {
        Ok(match self {
            Self::Shared(key) => {
                let key: [u8; 32] = fixed(ctx, key, "k")?;
                Cipher::Shared(XSalsa20Poly1305::new(&key.into()))
            }
            Self::Pair(public, secret) => {
                let public = PublicKey::from_bytes(fixed(ctx, public, "pk")?);
                let secret = SecretKey::from_bytes(fixed(ctx, secret, "sk")?);
                Cipher::Pair(SalsaBox::new(&public, &secret))
            }
        })
    }
}

impl Cipher {
    fn seal(&self, nonce: [u8; 24], message: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Shared(cipher) => cipher.encrypt(&nonce.into(), message).ok(),
            Self::Pair(cipher) => cipher.encrypt(&nonce.into(), message).ok(),
        }
    }

    fn open(&self, nonce: [u8; 24], sealed: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Shared(cipher) => cipher.decrypt(&nonce.into(), sealed).ok(),
            Self::Pair(cipher) => cipher.decrypt(&nonce.into(), sealed).ok(),
        }
    }
}

/// Seals into `c`, and its MAC into `mac` if that is a buffer of its own.
fn sealed<'js>(
    ctx: Ctx<'js>,
    keys: Keys<'js>,
    (c, mac): (Value<'js>, Option<Value<'js>>),
    (message, nonce): (Value<'js>, Value<'js>),
) -> Result<()> {
    let nonce = fixed(&ctx, &nonce, "n")?;
    let sealed = keys.cipher(&ctx)?.seal(nonce, &input(&message)?);
    let sealed = sealed.ok_or_else(|| refused(&ctx))?;
    match mac {
        None => put(&ctx, &c, "c", &sealed),
        Some(mac) => {
            put(&ctx, &mac, "mac", &sealed[..MAC])?;
            put(&ctx, &c, "c", &sealed[MAC..])
        }
    }
}

/// Opens into `m`; false when it does not open.
fn opened<'js>(
    ctx: Ctx<'js>,
    keys: Keys<'js>,
    m: Value<'js>,
    (c, mac): (Value<'js>, Option<Value<'js>>),
    nonce: Value<'js>,
) -> Result<bool> {
    let nonce = fixed(&ctx, &nonce, "n")?;
    let mut sealed = mac.map_or(Ok(Vec::new()), |mac| input(&mac))?;
    sealed.extend(input(&c)?);
    if length(&m)? + MAC != sealed.len() {
        return Err(wrong(&ctx, "m must be 'c.byteLength - MACBYTES' bytes"));
    }
    match keys.cipher(&ctx)?.open(nonce, &sealed) {
        Some(plain) => put(&ctx, &m, "m", &plain).map(|()| true),
        None => Ok(false),
    }
}

fn put_pair<'js>(
    ctx: &Ctx<'js>,
    public: &Value<'js>,
    secret: &Value<'js>,
    made: &EncryptionKeyPair,
) -> Result<()> {
    put(ctx, public, "pk", &made.public)?;
    put(ctx, secret, "sk", &*made.secret_key())
}

fn keypair<'js>(ctx: Ctx<'js>, public: Value<'js>, secret: Value<'js>) -> Result<()> {
    put_pair(&ctx, &public, &secret, &EncryptionKeyPair::random())
}

fn seed_keypair<'js>(
    ctx: Ctx<'js>,
    public: Value<'js>,
    secret: Value<'js>,
    seed: Value<'js>,
) -> Result<()> {
    let seed: [u8; 32] = fixed(&ctx, &seed, "seed")?;
    let mut front = [0; 32];
    front.copy_from_slice(&Sha512::digest(seed)[..32]);
    let pair = EncryptionKeyPair::from_secret_key(&front);
    put_pair(&ctx, &public, &secret, &pair)
}

fn seal<'js>(ctx: Ctx<'js>, c: Value<'js>, m: Value<'js>, public: Value<'js>) -> Result<()> {
    let sealed = crypto::encrypt(&input(&m)?, &fixed(&ctx, &public, "pk")?);
    put(&ctx, &c, "c", &sealed)
}

fn seal_open<'js>(
    ctx: Ctx<'js>,
    m: Value<'js>,
    c: Value<'js>,
    public: Value<'js>,
    secret: Value<'js>,
) -> Result<bool> {
    let _: [u8; 32] = fixed(&ctx, &public, "pk")?;
    let pair = EncryptionKeyPair::from_secret_key(&fixed(&ctx, &secret, "sk")?);
    match pair.decrypt(&input(&c)?) {
        Some(plain) => put(&ctx, &m, "m", &plain).map(|()| true),
        None => Ok(false),
    }
}

/// What is encrypted, or decrypted, with its MAC behind it. `nonce` says which of the two it is: 12 bytes, or 24.
fn aead<'js>(
    ctx: Ctx<'js>,
    seal: bool,
    data: Value<'js>,
    additional: Value<'js>,
    (nonce, key): (Value<'js>, Value<'js>),
) -> Result<Bytes> {
    let (data, aad) = (input(&data)?, optional_input(Opt(Some(additional)))?);
    let key: [u8; 32] = fixed(&ctx, &key, "k")?;
    let payload = Payload {
        msg: &data,
        aad: &aad,
    };
    macro_rules! run {
        ($cipher:ty) => {{
            let (cipher, nonce) = (
                <$cipher>::new(&key.into()),
                fixed(&ctx, &nonce, "npub")?.into(),
            );
            match seal {
                true => cipher.encrypt(&nonce, payload),
                false => cipher.decrypt(&nonce, payload),
            }
        }};
    }
    let made = match length(&nonce)? {
        24 => run!(XChaCha20Poly1305),
        _ => run!(ChaCha20Poly1305),
    };
    let what = match seal {
        true => "could not encrypt data",
        false => "could not verify data",
    };
    made.map(Bytes).map_err(|_| wrong(&ctx, what))
}
