//! Random bytes, comparisons, and large numbers in little-endian buffers.

use super::super::super::functions;
use super::{input, put, refused, wrong};
use crate::engine::bytes;
use chacha20::{
    ChaCha20,
    cipher::{KeyIvInit, StreamCipher},
};
use rquickjs::{Ctx, Object, Result, Value, prelude::Opt};
use subtle::ConstantTimeEq;

pub(super) fn add<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    functions!(ctx, native, {
        "randombytes_buf" => random_buf,
        "randombytes_buf_deterministic" => random_deterministic,
        "randombytes_random" => random_number,
        "randombytes_uniform" => random_uniform,
        "sodium_memcmp" => same,
        "sodium_memzero" => zero,
        "sodium_increment" => increment,
        "sodium_add" => plus,
        "sodium_sub" => minus,
        "sodium_compare" => compare,
        "sodium_is_zero" => is_zero,
        "sodium_pad" => pad,
        "sodium_unpad" => unpad,
    });
    Ok(())
}

fn random_buf(buffer: Value<'_>) -> Result<()> {
    bytes::write(&buffer, pome_cores::crypto::fill_random)
}

/// The key stream of ChaCha20 (IETF) under the nonce that libsodium has for it.
fn random_deterministic<'js>(ctx: Ctx<'js>, buffer: Value<'js>, seed: Value<'js>) -> Result<()> {
    let seed: [u8; 32] = super::fixed(&ctx, &seed, "seed")?;
    bytes::write(&buffer, |out| {
        out.fill(0);
        ChaCha20::new(&seed.into(), b"LibsodiumDRG".into()).apply_keystream(out);
    })
}

fn random_number() -> u32 {
    u32::from_le_bytes(pome_cores::crypto::random_bytes())
}

/// A number below `bound`, each as likely as the others.
fn random_uniform(bound: u32) -> u32 {
    if bound < 2 {
        return 0;
    }
    let least = bound.wrapping_neg() % bound;
    loop {
        let number = random_number();
        if number >= least {
            return number % bound;
        }
    }
}

fn pair<'js>(ctx: &Ctx<'js>, a: &Value<'js>, b: &Value<'js>) -> Result<(Vec<u8>, Vec<u8>)> {
    let (a, b) = (input(a)?, input(b)?);
    match a.len() == b.len() {
        true => Ok((a, b)),
        false => Err(wrong(ctx, "buffers must be of same length")),
    }
}

fn same<'js>(ctx: Ctx<'js>, a: Value<'js>, b: Value<'js>) -> Result<bool> {
    let (a, b) = pair(&ctx, &a, &b)?;
    Ok(a.ct_eq(&b).into())
}

fn zero(buffer: Value<'_>) -> Result<()> {
    bytes::write(&buffer, |bytes| bytes.fill(0))
}

fn increment(buffer: Value<'_>) -> Result<()> {
    bytes::write(&buffer, |bytes| {
        for byte in bytes {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                return;
            }
        }
    })
}

fn plus<'js>(ctx: Ctx<'js>, a: Value<'js>, b: Value<'js>) -> Result<()> {
    let (mut sum, other) = pair(&ctx, &a, &b)?;
    let mut carry = 0;
    for (a, b) in sum.iter_mut().zip(&other) {
        let all = u16::from(*a) + u16::from(*b) + carry;
        *a = all.to_le_bytes()[0];
        carry = all >> 8;
    }
    put(&ctx, &a, "a", &sum)
}

fn minus<'js>(ctx: Ctx<'js>, a: Value<'js>, b: Value<'js>) -> Result<()> {
    let (mut rest, other) = pair(&ctx, &a, &b)?;
    let mut borrowed = false;
    for (a, b) in rest.iter_mut().zip(&other) {
        let (less, first) = a.overflowing_sub(*b);
        let (less, second) = less.overflowing_sub(u8::from(borrowed));
        *a = less;
        borrowed = first || second;
    }
    put(&ctx, &a, "a", &rest)
}

fn compare<'js>(ctx: Ctx<'js>, a: Value<'js>, b: Value<'js>) -> Result<i32> {
    let (a, b) = pair(&ctx, &a, &b)?;
    Ok(a.iter().rev().cmp(b.iter().rev()) as i32)
}

fn is_zero<'js>(ctx: Ctx<'js>, buffer: Value<'js>, count: Opt<usize>) -> Result<bool> {
    let bytes = input(&buffer)?;
    let part = bytes.get(..count.0.unwrap_or(bytes.len()));
    let part = part.ok_or_else(|| wrong(&ctx, "invalid length"))?;
    Ok(part.iter().all(|byte| *byte == 0))
}

fn pad<'js>(ctx: Ctx<'js>, buffer: Value<'js>, used: usize, block: usize) -> Result<usize> {
    let end = match block {
        0 => None,
        block => used.checked_add(block - used % block),
    };
    let padded = bytes::write(&buffer, |bytes| {
        let padding = bytes.get_mut(used..end?)?;
        padding.fill(0);
        *padding.first_mut()? = 0x80;
        end
    })?;
    padded.ok_or_else(|| wrong(&ctx, "buf not long enough"))
}

fn unpad<'js>(ctx: Ctx<'js>, buffer: Value<'js>, padded: usize, block: usize) -> Result<usize> {
    let bytes = input(&buffer)?;
    let part = bytes.get(..padded).unwrap_or_default();
    let end = part.iter().rposition(|byte| *byte != 0);
    match end {
        Some(end) if part[end] == 0x80 && padded - end <= block => Ok(end),
        _ => Err(refused(&ctx)),
    }
}
