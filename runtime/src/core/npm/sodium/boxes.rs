//! Boxes: what is encrypted and authenticated, by a shared key or for a public one.

use super::super::super::functions;
use super::{fixed, input, length, optional_input, put, refused, wrong};
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
        "crypto_secretbox_easy" => secret_easy,
        "crypto_secretbox_open_easy" => secret_open_easy,
        "crypto_secretbox_detached" => secret_detached,
        "crypto_secretbox_open_detached" => secret_open_detached,
        "crypto_box_keypair" => keypair,
        "crypto_box_seed_keypair" => seed_keypair,
        "crypto_box_easy" => easy,
        "crypto_box_open_easy" => open_easy,
        "crypto_box_detached" => detached,
        "crypto_box_open_detached" => open_detached,
        "crypto_box_seal" => seal,
        "crypto_box_seal_open" => seal_open,
        "aeadEncrypt" => aead_encrypt,
        "aeadDecrypt" => aead_decrypt,
    });
    Ok(())
}

/// What a box is made and opened with: the MAC stands in front.
enum Cipher {
    Shared(XSalsa20Poly1305),
    Pair(SalsaBox),
}

impl Cipher {
    fn shared(ctx: &Ctx<'_>, key: &Value<'_>) -> Result<Self> {
        let key: [u8; 32] = fixed(ctx, key, "k")?;
        Ok(Self::Shared(XSalsa20Poly1305::new(&key.into())))
    }

    fn pair(ctx: &Ctx<'_>, public: &Value<'_>, secret: &Value<'_>) -> Result<Self> {
        let public = PublicKey::from_bytes(fixed(ctx, public, "pk")?);
        let secret = SecretKey::from_bytes(fixed(ctx, secret, "sk")?);
        Ok(Self::Pair(SalsaBox::new(&public, &secret)))
    }

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

    /// Seals into `c`, and its MAC into `mac` if that is a buffer of its own.
    fn seal_into<'js>(
        &self,
        ctx: &Ctx<'js>,
        c: &Value<'js>,
        mac: Option<&Value<'js>>,
        (message, nonce): (&Value<'js>, &Value<'js>),
    ) -> Result<()> {
        let nonce = fixed(ctx, nonce, "n")?;
        let sealed = self.seal(nonce, &input(message)?);
        let sealed = sealed.ok_or_else(|| refused(ctx))?;
        match mac {
            None => put(ctx, c, "c", &sealed),
            Some(mac) => {
                put(ctx, mac, "mac", &sealed[..MAC])?;
                put(ctx, c, "c", &sealed[MAC..])
            }
        }
    }

    /// Opens into `m`; false when it does not open.
    fn open_into<'js>(
        &self,
        ctx: &Ctx<'js>,
        m: &Value<'js>,
        sealed: &[u8],
        nonce: &Value<'js>,
    ) -> Result<bool> {
        let nonce = fixed(ctx, nonce, "n")?;
        if length(m)? + MAC != sealed.len() {
            return Err(wrong(ctx, "m must be 'c.byteLength - MACBYTES' bytes"));
        }
        match self.open(nonce, sealed) {
            Some(plain) => put(ctx, m, "m", &plain).map(|()| true),
            None => Ok(false),
        }
    }
}

fn secret_easy<'js>(
    ctx: Ctx<'js>,
    c: Value<'js>,
    m: Value<'js>,
    n: Value<'js>,
    k: Value<'js>,
) -> Result<()> {
    Cipher::shared(&ctx, &k)?.seal_into(&ctx, &c, None, (&m, &n))
}

fn secret_open_easy<'js>(
    ctx: Ctx<'js>,
    m: Value<'js>,
    c: Value<'js>,
    n: Value<'js>,
    k: Value<'js>,
) -> Result<bool> {
    Cipher::shared(&ctx, &k)?.open_into(&ctx, &m, &input(&c)?, &n)
}

fn secret_detached<'js>(
    ctx: Ctx<'js>,
    c: Value<'js>,
    mac: Value<'js>,
    m: Value<'js>,
    n: Value<'js>,
    k: Value<'js>,
) -> Result<()> {
    Cipher::shared(&ctx, &k)?.seal_into(&ctx, &c, Some(&mac), (&m, &n))
}

fn secret_open_detached<'js>(
    ctx: Ctx<'js>,
    m: Value<'js>,
    c: Value<'js>,
    mac: Value<'js>,
    n: Value<'js>,
    k: Value<'js>,
) -> Result<bool> {
    let sealed = [input(&mac)?, input(&c)?].concat();
    Cipher::shared(&ctx, &k)?.open_into(&ctx, &m, &sealed, &n)
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

fn easy<'js>(
    ctx: Ctx<'js>,
    c: Value<'js>,
    m: Value<'js>,
    n: Value<'js>,
    public: Value<'js>,
    secret: Value<'js>,
) -> Result<()> {
    Cipher::pair(&ctx, &public, &secret)?.seal_into(&ctx, &c, None, (&m, &n))
}

fn open_easy<'js>(
    ctx: Ctx<'js>,
    m: Value<'js>,
    c: Value<'js>,
    n: Value<'js>,
    public: Value<'js>,
    secret: Value<'js>,
) -> Result<bool> {
    Cipher::pair(&ctx, &public, &secret)?.open_into(&ctx, &m, &input(&c)?, &n)
}

fn detached<'js>(
    ctx: Ctx<'js>,
    c: Value<'js>,
    mac: Value<'js>,
    m: Value<'js>,
    n: Value<'js>,
    public: Value<'js>,
    secret: Value<'js>,
) -> Result<()> {
    Cipher::pair(&ctx, &public, &secret)?.seal_into(&ctx, &c, Some(&mac), (&m, &n))
}

/// What is opened, and with what: `[m, c, mac, n, pk, sk]`.
fn open_detached<'js>(ctx: Ctx<'js>, all: rquickjs::prelude::Rest<Value<'js>>) -> Result<bool> {
    let [m, c, mac, n, public, secret] = &all.0[..] else {
        return Err(wrong(&ctx, "six arguments are wanted"));
    };
    let sealed = [input(mac)?, input(c)?].concat();
    Cipher::pair(&ctx, public, secret)?.open_into(&ctx, m, &sealed, n)
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

/// The ciphertext with its MAC behind it. `nonce` says which of the two it is: 12 bytes, or 24.
fn aead<'js>(
    ctx: &Ctx<'js>,
    seal: bool,
    data: &Value<'js>,
    additional: Opt<Value<'js>>,
    (nonce, key): (&Value<'js>, &Value<'js>),
) -> Result<Option<Vec<u8>>> {
    let (data, aad) = (input(data)?, optional_input(additional)?);
    let key: [u8; 32] = fixed(ctx, key, "k")?;
    let payload = Payload {
        msg: &data,
        aad: &aad,
    };
    macro_rules! run {
        ($cipher:ty) => {{
            let (cipher, nonce) = (
                <$cipher>::new(&key.into()),
                fixed(ctx, nonce, "npub")?.into(),
            );
            match seal {
                true => cipher.encrypt(&nonce, payload),
                false => cipher.decrypt(&nonce, payload),
            }
        }};
    }
    let made = match length(nonce)? {
        24 => run!(XChaCha20Poly1305),
        _ => run!(ChaCha20Poly1305),
    };
    Ok(made.ok())
}

fn aead_encrypt<'js>(
    ctx: Ctx<'js>,
    m: Value<'js>,
    additional: Value<'js>,
    nonce: Value<'js>,
    key: Value<'js>,
) -> Result<crate::engine::bytes::Bytes> {
    let made = aead(&ctx, true, &m, Opt(Some(additional)), (&nonce, &key))?;
    let made = made.ok_or_else(|| wrong(&ctx, "could not encrypt data"))?;
    Ok(crate::engine::bytes::Bytes(made))
}

fn aead_decrypt<'js>(
    ctx: Ctx<'js>,
    c: Value<'js>,
    additional: Value<'js>,
    nonce: Value<'js>,
    key: Value<'js>,
) -> Result<crate::engine::bytes::Bytes> {
    let made = aead(&ctx, false, &c, Opt(Some(additional)), (&nonce, &key))?;
    let made = made.ok_or_else(|| wrong(&ctx, "could not verify data"))?;
    Ok(crate::engine::bytes::Bytes(made))
}
