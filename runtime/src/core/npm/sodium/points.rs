//! Points and scalars of Curve25519 and Ed25519, and the key exchange.

use super::super::super::functions;
use super::{fixed, optional, put, refused, wrong};
use blake2b_simd::Params;
use curve25519_dalek::{
    EdwardsPoint, MontgomeryPoint, Scalar, edwards::CompressedEdwardsY, scalar::clamp_integer,
    traits::IsIdentity,
};
use rquickjs::{Ctx, Object, Result, Value, prelude::Opt};

pub(super) fn add<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    functions!(ctx, native, {
        "crypto_scalarmult_base" => curve_base,
        "crypto_scalarmult" => curve,
        "crypto_scalarmult_ed25519_base" => |ctx, q, n| times_base(ctx, q, n, true),
        "crypto_scalarmult_ed25519_base_noclamp" => |ctx, q, n| times_base(ctx, q, n, false),
        "crypto_scalarmult_ed25519" => |ctx, q, n, p| times(ctx, q, n, p, true),
        "crypto_scalarmult_ed25519_noclamp" => |ctx, q, n, p| times(ctx, q, n, p, false),
        "crypto_core_ed25519_is_valid_point" => is_valid_point,
        "crypto_core_ed25519_add" => |ctx, r, p, q| both(ctx, r, p, q, |p, q| p + q),
        "crypto_core_ed25519_sub" => |ctx, r, p, q| both(ctx, r, p, q, |p, q| p - q),
        "crypto_core_ed25519_scalar_random" => scalar_random,
        "crypto_core_ed25519_scalar_reduce" => scalar_reduce,
        "crypto_core_ed25519_scalar_invert" => scalar_invert,
        "crypto_core_ed25519_scalar_negate" => |ctx, r, s| one(ctx, r, s, |s| -s),
        "crypto_core_ed25519_scalar_complement" => |ctx, r, s| one(ctx, r, s, |s| Scalar::ONE - s),
        "crypto_core_ed25519_scalar_add" => |ctx, r, x, y| two(ctx, r, x, y, |x, y| x + y),
        "crypto_core_ed25519_scalar_sub" => |ctx, r, x, y| two(ctx, r, x, y, |x, y| x - y),
        "crypto_core_ed25519_scalar_mul" => |ctx, r, x, y| two(ctx, r, x, y, |x, y| x * y),
        "crypto_kx_keypair" => kx_keypair,
        "crypto_kx_seed_keypair" => kx_seed_keypair,
        "crypto_kx_client_session_keys" => |ctx, rx, tx, pk, sk, other| session(ctx, true, (rx, tx), (pk, sk), other),
        "crypto_kx_server_session_keys" => |ctx, rx, tx, pk, sk, other| session(ctx, false, (rx, tx), (pk, sk), other),
    });
    Ok(())
}

/// A point of the large group in the one way to write it.
pub(super) fn point(bytes: &[u8; 32]) -> Option<EdwardsPoint> {
    let point = CompressedEdwardsY(*bytes).decompress()?;
    let is_canonical = point.compress().0 == *bytes;
    (is_canonical && !point.is_small_order() && point.is_torsion_free()).then_some(point)
}

fn is_valid_point<'js>(ctx: Ctx<'js>, p: Value<'js>) -> Result<bool> {
    Ok(point(&fixed(&ctx, &p, "p")?).is_some())
}

fn curve_base<'js>(ctx: Ctx<'js>, q: Value<'js>, n: Value<'js>) -> Result<()> {
    let made = MontgomeryPoint::mul_base_clamped(fixed(&ctx, &n, "n")?);
    put(&ctx, &q, "q", made.as_bytes())
}

fn shared(secret: [u8; 32], public: [u8; 32]) -> Option<[u8; 32]> {
    let made = MontgomeryPoint(public).mul_clamped(secret).to_bytes();
    // All zeros: the other side gave a point of small order.
    (made != [0; 32]).then_some(made)
}

fn curve<'js>(ctx: Ctx<'js>, q: Value<'js>, n: Value<'js>, p: Value<'js>) -> Result<()> {
    let made = shared(fixed(&ctx, &n, "n")?, fixed(&ctx, &p, "p")?);
    put(&ctx, &q, "q", &made.ok_or_else(|| refused(&ctx))?)
}

/// A number that a point is multiplied by: 255 bits.
fn factor(mut bytes: [u8; 32], clamp: bool) -> Scalar {
    if clamp {
        bytes = clamp_integer(bytes);
    }
    bytes[31] &= 127;
    Scalar::from_bytes_mod_order(bytes)
}

fn put_point<'js>(ctx: &Ctx<'js>, q: &Value<'js>, n: &[u8; 32], made: &EdwardsPoint) -> Result<()> {
    if made.is_identity() || *n == [0; 32] {
        return Err(refused(ctx));
    }
    put(ctx, q, "q", made.compress().as_bytes())
}

fn times<'js>(
    ctx: Ctx<'js>,
    q: Value<'js>,
    n: Value<'js>,
    p: Value<'js>,
    clamp: bool,
) -> Result<()> {
    let n = fixed(&ctx, &n, "n")?;
    let point = point(&fixed(&ctx, &p, "p")?).ok_or_else(|| refused(&ctx))?;
    put_point(&ctx, &q, &n, &(point * factor(n, clamp)))
}

fn times_base<'js>(ctx: Ctx<'js>, q: Value<'js>, n: Value<'js>, clamp: bool) -> Result<()> {
    let n = fixed(&ctx, &n, "n")?;
    put_point(&ctx, &q, &n, &EdwardsPoint::mul_base(&factor(n, clamp)))
}

fn both<'js>(
    ctx: Ctx<'js>,
    r: Value<'js>,
    p: Value<'js>,
    q: Value<'js>,
    work: fn(EdwardsPoint, EdwardsPoint) -> EdwardsPoint,
) -> Result<()> {
    let read = |value: &Value<'js>, name: &str| {
        let bytes = fixed(&ctx, value, name)?;
        let point = CompressedEdwardsY(bytes).decompress();
        point.ok_or_else(|| refused(&ctx))
    };
    let made = work(read(&p, "p")?, read(&q, "q")?);
    put(&ctx, &r, "r", made.compress().as_bytes())
}

fn scalar(ctx: &Ctx<'_>, value: &Value<'_>, name: &str) -> Result<Scalar> {
    Ok(Scalar::from_bytes_mod_order(fixed(ctx, value, name)?))
}

fn one<'js>(ctx: Ctx<'js>, r: Value<'js>, s: Value<'js>, work: fn(Scalar) -> Scalar) -> Result<()> {
    let made = work(scalar(&ctx, &s, "s")?);
    put(&ctx, &r, "r", made.as_bytes())
}

fn two<'js>(
    ctx: Ctx<'js>,
    r: Value<'js>,
    x: Value<'js>,
    y: Value<'js>,
    work: fn(Scalar, Scalar) -> Scalar,
) -> Result<()> {
    let made = work(scalar(&ctx, &x, "x")?, scalar(&ctx, &y, "y")?);
    put(&ctx, &r, "z", made.as_bytes())
}

fn scalar_random<'js>(ctx: Ctx<'js>, r: Value<'js>) -> Result<()> {
    let wide: [u8; 64] = pome_cores::crypto::random_bytes();
    let made = Scalar::from_bytes_mod_order_wide(&wide);
    put(&ctx, &r, "r", made.as_bytes())
}

fn scalar_reduce<'js>(ctx: Ctx<'js>, r: Value<'js>, s: Value<'js>) -> Result<()> {
    let made = Scalar::from_bytes_mod_order_wide(&fixed(&ctx, &s, "s")?);
    put(&ctx, &r, "r", made.as_bytes())
}

fn scalar_invert<'js>(ctx: Ctx<'js>, r: Value<'js>, s: Value<'js>) -> Result<()> {
    let number = scalar(&ctx, &s, "s")?;
    if number == Scalar::ZERO {
        return Err(refused(&ctx));
    }
    put(&ctx, &r, "recip", number.invert().as_bytes())
}

fn put_kx<'js>(
    ctx: &Ctx<'js>,
    public: &Value<'js>,
    secret: &Value<'js>,
    made: [u8; 32],
) -> Result<()> {
    put(ctx, secret, "sk", &made)?;
    let point = MontgomeryPoint::mul_base_clamped(made);
    put(ctx, public, "pk", point.as_bytes())
}

fn kx_keypair<'js>(ctx: Ctx<'js>, public: Value<'js>, secret: Value<'js>) -> Result<()> {
    put_kx(&ctx, &public, &secret, pome_cores::crypto::random_bytes())
}

fn kx_seed_keypair<'js>(
    ctx: Ctx<'js>,
    public: Value<'js>,
    secret: Value<'js>,
    seed: Value<'js>,
) -> Result<()> {
    let seed: [u8; 32] = fixed(&ctx, &seed, "seed")?;
    put_kx(&ctx, &public, &secret, pome_cores::crypto::hash(&[&seed]))
}

/// Puts the two keys of a session: that of what is received here, and that of what is sent.
fn session<'js>(
    ctx: Ctx<'js>,
    is_client: bool,
    (rx, tx): (Value<'js>, Value<'js>),
    (public, secret): (Value<'js>, Value<'js>),
    other: Value<'js>,
) -> Result<()> {
    let names = match is_client {
        true => ["clientPk", "clientSk", "serverPk"],
        false => ["serverPk", "serverSk", "clientPk"],
    };
    let public = fixed(&ctx, &public, names[0])?;
    let other = fixed(&ctx, &other, names[2])?;
    let shared = shared(fixed(&ctx, &secret, names[1])?, other).ok_or_else(|| refused(&ctx))?;
    let (client, server) = match is_client {
        true => (public, other),
        false => (other, public),
    };
    let mut state = Params::new().hash_length(64).to_state();
    for part in [shared, client, server] {
        state.update(&part);
    }
    let both = state.finalize();
    // The client receives by the first half, the server by the other one.
    let (first, second) = both.as_bytes().split_at(32);
    let (receive, send) = match is_client {
        true => (first, second),
        false => (second, first),
    };
    let (rx, tx) = (optional(Opt(Some(rx))), optional(Opt(Some(tx))));
    if rx.is_none() && tx.is_none() {
        return Err(wrong(&ctx, "at least one session key must be specified"));
    }
    if let Some(rx) = rx {
        put(&ctx, &rx, "rx", receive)?;
    }
    match tx {
        Some(tx) => put(&ctx, &tx, "tx", send),
        None => Ok(()),
    }
}
