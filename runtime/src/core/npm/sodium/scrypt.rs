//! scrypt, libsodium's older way from passwords to keys.

use super::super::super::functions;
use super::{input, key_later, refused};
use crate::engine::bytes::Bytes;
use rquickjs::{Ctx, Object, Result, Value};
use scrypt::Params;

pub(super) fn add<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    functions!(ctx, native, {
        "scryptNow" => now,
        "scryptLater" => later,
        "scryptLimits" => limits,
    });
    Ok(())
}

/// The size of a block, in units of 128 bytes.
const BLOCK: u32 = 8;

/// `[log, block, side by side]`: what libsodium makes of its limits (source: libsodium 1.0, `pickparams`), the logarithm of the cost, the size of a block and
/// how many are made side by side.
fn limits(operations: f64, memory: f64) -> Vec<u32> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "limits out of range saturate"
    )]
    let (operations, memory) = ((operations as u64).max(32_768), memory as u64);
    let block = u64::from(BLOCK);
    let log_of = |most: u64| {
        (1_u32..63)
            .find(|log| 1_u64 << log > most / 2)
            .unwrap_or(63)
    };
    if operations < memory / 32 {
        return vec![log_of(operations / (block * 4)), BLOCK, 1];
    }
    let log = log_of(memory / (block * 128));
    let side_by_side = ((operations / 4) >> log).min(0x3fff_ffff) / block;
    vec![log, BLOCK, u32::try_from(side_by_side).unwrap_or(u32::MAX)]
}

/// How a key is made of a password.
struct Password {
    password: Vec<u8>,
    salt: Vec<u8>,
    params: Params,
    size: usize,
}

impl Password {
    fn new(
        ctx: &Ctx<'_>,
        size: usize,
        (password, salt): (&Value<'_>, &Value<'_>),
        (log, block, side_by_side): (u8, u32, u32),
    ) -> Result<Self> {
        let params = Params::new(log, block, side_by_side).map_err(|_| refused(ctx))?;
        let bytes = |count: u64| {
            let bytes = count.checked_mul(128)?.checked_mul(block.into())?;
            // A text of a password may ask for more than there is.
            Vec::<u8>::new()
                .try_reserve_exact(usize::try_from(bytes).ok()?)
                .ok()
        };
        let has_room = 1_u64.checked_shl(log.into()).and_then(bytes).is_some()
            && bytes(side_by_side.into()).is_some();
        if !has_room {
            return Err(refused(ctx));
        }
        Ok(Self {
            password: input(password)?,
            salt: input(salt)?,
            params,
            size,
        })
    }

    fn key(&self) -> Option<Vec<u8>> {
        let mut key = vec![0; self.size];
        scrypt::scrypt(&self.password, &self.salt, &self.params, &mut key).ok()?;
        Some(key)
    }
}

/// A key of so many bytes.
fn now<'js>(
    ctx: Ctx<'js>,
    size: usize,
    password: Value<'js>,
    salt: Value<'js>,
    log: u8,
    block: u32,
    side_by_side: u32,
) -> Result<Bytes> {
    let limits = (log, block, side_by_side);
    let key = Password::new(&ctx, size, (&password, &salt), limits)?.key();
    key.map(Bytes).ok_or_else(|| refused(&ctx))
}

/// A promise of the key.
fn later<'js>(
    ctx: Ctx<'js>,
    size: usize,
    password: Value<'js>,
    salt: Value<'js>,
    log: u8,
    block: u32,
    side_by_side: u32,
) -> Result<Value<'js>> {
    let limits = (log, block, side_by_side);
    let password = Password::new(&ctx, size, (&password, &salt), limits)?;
    key_later(&ctx, move || password.key())
}
