//! Key streams, and streams of sealed messages.

use super::super::super::functions;
use super::{fixed, input, length, optional_input, put, wrong, zeros};
use crate::engine::bytes;
use chacha20::{ChaCha20, ChaCha20Legacy, XChaCha20};
use cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use pome_net::secret_stream::{HEADER, OVERHEAD, STATE, SecretStreamCipher};
use rquickjs::{Ctx, Object, Result, Value, prelude::Opt};
use salsa20::{Salsa20, XSalsa20};

pub(super) fn add<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    functions!(ctx, native, {
        "streamXor" => stream_xor,
        "zeros" => zeros,
        "crypto_secretstream_xchacha20poly1305_init_push" => init_push,
        "crypto_secretstream_xchacha20poly1305_init_pull" => init_pull,
        "crypto_secretstream_xchacha20poly1305_push" => push,
        "crypto_secretstream_xchacha20poly1305_pull" => pull,
        "crypto_secretstream_xchacha20poly1305_rekey" => rekey,
    });
    Ok(())
}

/// Writes `m` under the key stream into `c`, from this byte of the stream on.
fn stream_xor<'js>(
    ctx: Ctx<'js>,
    kind: String,
    c: Value<'js>,
    m: Value<'js>,
    nonce: Value<'js>,
    key: Value<'js>,
    from: f64,
) -> Result<()> {
    let key: [u8; 32] = fixed(&ctx, &key, "k")?;
    let mut data = input(&m)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number below 2^53"
    )]
    let from = from as u64;
    macro_rules! run {
        ($cipher:ty) => {{
            let mut cipher = <$cipher>::new(&key.into(), &fixed(&ctx, &nonce, "n")?.into());
            let placed = from == 0 || cipher.try_seek(from).is_ok();
            placed && cipher.try_apply_keystream(&mut data).is_ok()
        }};
    }
    let done = match &kind[..] {
        "xsalsa20" => run!(XSalsa20),
        "salsa20" => run!(Salsa20),
        "chacha20" => run!(ChaCha20Legacy),
        "chacha20_ietf" => run!(ChaCha20),
        _ => run!(XChaCha20),
    };
    match done {
        true => put(&ctx, &c, "c", &data),
        false => Err(wrong(&ctx, "the key stream is not that long")),
    }
}

fn start<'js>(
    ctx: &Ctx<'js>,
    state: &Value<'js>,
    header: &[u8; HEADER],
    key: &Value<'js>,
) -> Result<()> {
    let cipher = SecretStreamCipher::new(&fixed(ctx, key, "k")?, header);
    put(ctx, state, "state", &*cipher.to_state())
}

fn init_push<'js>(
    ctx: Ctx<'js>,
    state: Value<'js>,
    header: Value<'js>,
    key: Value<'js>,
) -> Result<()> {
    let fresh: [u8; HEADER] = pome_cores::crypto::random_bytes();
    start(&ctx, &state, &fresh, &key)?;
    put(&ctx, &header, "header", &fresh)
}

fn init_pull<'js>(
    ctx: Ctx<'js>,
    state: Value<'js>,
    header: Value<'js>,
    key: Value<'js>,
) -> Result<()> {
    start(&ctx, &state, &fixed(&ctx, &header, "header")?, &key)
}

fn cipher(ctx: &Ctx<'_>, state: &Value<'_>) -> Result<SecretStreamCipher> {
    let state: [u8; STATE] = fixed(ctx, state, "state")?;
    Ok(SecretStreamCipher::from_state(&state))
}

/// The tag is a number, or a buffer of one byte.
fn tag_of(ctx: &Ctx<'_>, tag: &Value<'_>) -> Result<u8> {
    match tag.as_number() {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "tags are 0 to 3"
        )]
        Some(tag) => Ok(tag as u8),
        None => Ok(fixed::<1>(ctx, tag, "tag")?[0]),
    }
}

fn push<'js>(
    ctx: Ctx<'js>,
    state: Value<'js>,
    c: Value<'js>,
    m: Value<'js>,
    additional: Value<'js>,
    tag: Value<'js>,
) -> Result<usize> {
    let mut cipher = cipher(&ctx, &state)?;
    let (tag, additional) = (tag_of(&ctx, &tag)?, optional_input(Opt(Some(additional)))?);
    let message = input(&m)?;
    let size = message.len() + OVERHEAD;
    let fits = bytes::write(&c, |c| {
        if c.len() != size {
            return false;
        }
        c[1..=message.len()].copy_from_slice(&message);
        cipher.seal_tagged(c, tag, &additional);
        true
    })?;
    if !fits {
        return Err(wrong(
            &ctx,
            "c must be 'm.byteLength + crypto_secretstream_xchacha20poly1305_ABYTES' bytes",
        ));
    }
    put(&ctx, &state, "state", &*cipher.to_state())?;
    Ok(size)
}

fn pull<'js>(
    ctx: Ctx<'js>,
    state: Value<'js>,
    m: Value<'js>,
    tag: Value<'js>,
    c: Value<'js>,
    additional: Opt<Value<'js>>,
) -> Result<usize> {
    let mut cipher = cipher(&ctx, &state)?;
    let additional = optional_input(additional)?;
    let mut message = input(&c)?;
    if length(&m)? + OVERHEAD != message.len() {
        return Err(wrong(
            &ctx,
            "m must be 'c.byteLength - crypto_secretstream_xchacha20poly1305_ABYTES' bytes",
        ));
    }
    let Some(found) = cipher.open_tagged(&mut message, &additional) else {
        return Err(wrong(&ctx, "pull failed"));
    };
    let plain = &message[1..message.len() - (OVERHEAD - 1)];
    put(&ctx, &m, "m", plain)?;
    put(&ctx, &tag, "tag", &[found])?;
    put(&ctx, &state, "state", &*cipher.to_state())?;
    Ok(plain.len())
}

fn rekey<'js>(ctx: Ctx<'js>, state: Value<'js>) -> Result<()> {
    let mut cipher = cipher(&ctx, &state)?;
    cipher.change_key();
    put(&ctx, &state, "state", &*cipher.to_state())
}
