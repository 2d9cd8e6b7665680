//! The native half of `hypercore-crypto`.
//!
//! Source: hypercore-crypto 3.7. Secrets live in JavaScript's memory once a program has them, which is not wiped.

use crate::engine::bytes::{self, Bytes};
use crate::engine::error::JsError;
use blake2b_simd::Params;
use pome_cores::crypto::{self, EncryptionKeyPair, KeyPair, Node};
use pome_encoding::Key;
use rquickjs::{
    Array, Ctx, FromJs, IntoJs, Object, Result, Value,
    prelude::{Func, Opt},
};

/// The bytes of a view that must be `N` long.
fn exactly<const N: usize>(ctx: &Ctx<'_>, value: &Value<'_>, what: &str) -> Result<[u8; N]> {
    bytes::read(value, |bytes| <[u8; N]>::try_from(bytes))?
        .map_err(|_| JsError::new("", format!("{what} must be {N} bytes")).throw(ctx))
}

fn pair<'js>(ctx: &Ctx<'js>, public: &[u8], secret: &[u8]) -> Result<Object<'js>> {
    let pair = Object::new(ctx.clone())?;
    pair.set("publicKey", Bytes(public.to_vec()))?;
    pair.set("secretKey", Bytes(secret.to_vec()))?;
    Ok(pair)
}

fn seed_of<'js>(ctx: &Ctx<'js>, seed: Opt<Value<'js>>) -> Result<Option<[u8; 32]>> {
    match seed.0 {
        Some(seed) if !seed.is_undefined() && !seed.is_null() => {
            exactly(ctx, &seed, "seed").map(Some)
        }
        _ => Ok(None),
    }
}

fn key_pair<'js>(ctx: Ctx<'js>, seed: Opt<Value<'js>>) -> Result<Object<'js>> {
    let made = match seed_of(&ctx, seed)? {
        Some(seed) => KeyPair::from_seed(&seed),
        None => KeyPair::random(),
    };
    pair(&ctx, &made.public, &*made.secret_key())
}

fn validate_key_pair<'js>(ctx: Ctx<'js>, keys: Object<'js>) -> Result<bool> {
    let secret: [u8; 64] = exactly(&ctx, &keys.get("secretKey")?, "secretKey")?;
    let public: Value<'js> = keys.get("publicKey")?;
    // The public key is the second half of the secret one.
    bytes::read(&public, |public| public == &secret[32..])
}

fn sign<'js>(ctx: Ctx<'js>, message: Value<'js>, secret: Value<'js>) -> Result<Bytes> {
    let secret: [u8; 64] = exactly(&ctx, &secret, "secretKey")?;
    let Some(keys) = KeyPair::from_secret_key(&secret) else {
        return Err(JsError::new("", "secretKey does not fit its public half").throw(&ctx));
    };
    Ok(Bytes(
        bytes::read(&message, |message| keys.sign(message))?.to_vec(),
    ))
}

fn verify<'js>(message: Value<'js>, signature: Value<'js>, public: Value<'js>) -> Result<bool> {
    bytes::read(&message, |message| {
        bytes::read(&signature, |signature| {
            bytes::read(&public, |public| crypto::verify(message, signature, public))
        })
    })??
}

fn encryption_key_pair<'js>(ctx: Ctx<'js>, seed: Opt<Value<'js>>) -> Result<Object<'js>> {
    let made = match seed_of(&ctx, seed)? {
        Some(seed) => EncryptionKeyPair::from_seed(&seed),
        None => EncryptionKeyPair::random(),
    };
    pair(&ctx, &made.public, &*made.secret_key())
}

fn encrypt<'js>(ctx: Ctx<'js>, message: Value<'js>, public: Value<'js>) -> Result<Bytes> {
    let public: [u8; 32] = exactly(&ctx, &public, "publicKey")?;
    Ok(Bytes(bytes::read(&message, |message| {
        crypto::encrypt(message, &public)
    })?))
}

fn decrypt<'js>(ctx: Ctx<'js>, ciphertext: Value<'js>, keys: Object<'js>) -> Result<Value<'js>> {
    let secret: [u8; 32] = exactly(&ctx, &keys.get("secretKey")?, "secretKey")?;
    let pair = EncryptionKeyPair::from_secret_key(&secret);
    match bytes::read(&ciphertext, |ciphertext| pair.decrypt(ciphertext))? {
        Some(message) => Bytes(message).into_js(&ctx),
        None => Ok(Value::new_null(ctx)),
    }
}

fn given<'js>(value: Option<Value<'js>>) -> Option<Value<'js>> {
    value.filter(|value| !value.is_undefined() && !value.is_null())
}

/// A hash: into `out` when there is one, else a new Buffer.
fn put<'js>(ctx: &Ctx<'js>, hash: &[u8], out: Option<Value<'js>>) -> Result<Value<'js>> {
    let Some(out) = given(out) else {
        return Bytes(hash.to_vec()).into_js(ctx);
    };
    let fits = bytes::write(&out, |out| {
        let fits = out.len() == hash.len();
        if fits {
            out.copy_from_slice(hash);
        }
        fits
    })?;
    if fits {
        Ok(out)
    } else {
        Err(JsError::new("", "out must be 32 bytes").throw(ctx))
    }
}

fn data<'js>(block: Value<'js>) -> Result<Bytes> {
    Ok(Bytes(bytes::read(&block, crypto::leaf_hash)?.to_vec()))
}

/// As long as `out` is, as libsodium has it: not the front of a longer one.
fn hash<'js>(ctx: Ctx<'js>, data: Value<'js>, out: Opt<Value<'js>>) -> Result<Value<'js>> {
    let out = given(out.0);
    let size = match &out {
        Some(out) => bytes::read(out, <[u8]>::len)?,
        None => 32,
    };
    if !(16..=64).contains(&size) {
        return Err(JsError::new("", "out must be 16 to 64 bytes").throw(&ctx));
    }
    let mut state = Params::new().hash_length(size).to_state();
    match data.as_array() {
        None => bytes::read(&data, |data| {
            state.update(data);
        })?,
        Some(parts) => {
            for part in parts.iter::<Value<'js>>() {
                bytes::read(&part?, |part| {
                    state.update(part);
                })?;
            }
        }
    }
    put(&ctx, state.finalize().as_bytes(), out)
}

/// A node of a Merkle tree, `{ index, size, hash }`.
struct TreeNode(Node);

impl<'js> FromJs<'js> for TreeNode {
    fn from_js(ctx: &Ctx<'js>, value: Value<'js>) -> Result<Self> {
        let node = Object::from_value(value)?;
        Ok(Self(Node {
            index: node.get::<_, f64>("index")? as u64,
            size: node.get::<_, f64>("size")? as u64,
            hash: exactly(ctx, &node.get("hash")?, "hash")?,
        }))
    }
}

fn parent(a: TreeNode, b: TreeNode) -> Bytes {
    Bytes(crypto::parent_hash(&a.0, &b.0).to_vec())
}

fn tree<'js>(ctx: Ctx<'js>, roots: Vec<TreeNode>, out: Opt<Value<'js>>) -> Result<Value<'js>> {
    let roots: Vec<Node> = roots.into_iter().map(|root| root.0).collect();
    put(&ctx, &crypto::tree_hash(&roots), out.0)
}

fn random_bytes<'js>(ctx: Ctx<'js>, count: Value<'js>) -> Result<Value<'js>> {
    if count
        .as_number()
        .is_none_or(|count| count.fract() != 0.0 || count < 0.0)
    {
        return Err(JsError::range_error("", "n must be a whole number").throw(&ctx));
    }
    let undefined = Value::new_undefined(ctx.clone());
    // In the engine's own memory: too many are an error of the program's.
    let random = bytes::construct(&ctx, [count, undefined.clone(), undefined])?;
    bytes::write(&random, crypto::fill_random)?;
    Ok(random)
}

fn discovery_key<'js>(ctx: Ctx<'js>, key: Value<'js>) -> Result<Bytes> {
    match bytes::read(&key, |key| <[u8; 32]>::try_from(key)) {
        Ok(Ok(key)) => Ok(Bytes(crypto::discovery_key(&Key(key)).0.to_vec())),
        wrong => {
            if wrong.is_err() {
                ctx.catch();
            }
            Err(JsError::new("", "Must pass a 32 byte buffer").throw(&ctx))
        }
    }
}

fn namespace<'js>(ctx: Ctx<'js>, name: Value<'js>, ids: Array<'js>) -> Result<Array<'js>> {
    let name = if name.is_string() {
        name.get::<String>()?.into_bytes()
    } else {
        bytes::copy(&name)?
    };
    let all = Array::new(ctx)?;
    for (index, id) in ids.iter::<f64>().enumerate() {
        all.set(index, Bytes(crypto::namespace(&name, id? as u8).to_vec()))?;
    }
    Ok(all)
}

pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    native.set("keyPair", Func::from(key_pair))?;
    native.set("validateKeyPair", Func::from(validate_key_pair))?;
    native.set("sign", Func::from(sign))?;
    native.set("verify", Func::from(verify))?;
    native.set("encryptionKeyPair", Func::from(encryption_key_pair))?;
    native.set("encrypt", Func::from(encrypt))?;
    native.set("decrypt", Func::from(decrypt))?;
    native.set("data", Func::from(data))?;
    native.set("parent", Func::from(parent))?;
    native.set("tree", Func::from(tree))?;
    native.set("hash", Func::from(hash))?;
    native.set("randomBytes", Func::from(random_bytes))?;
    native.set("discoveryKey", Func::from(discovery_key))?;
    native.set("namespace", Func::from(namespace))?;
    Ok(native)
}
