//! What JavaScript hands over: bytes, numbers, options.

use crate::engine::{bytes as views, error::JsError};
use bytes::Bytes;
use pome_cores::{Key, KeyPair};
use rquickjs::{Ctx, FromJs, Object, Result, Value};
use std::time::Duration;

/// Bytes: a view of a buffer, copied, or a string as UTF-8.
#[derive(Debug, Clone, Default)]
pub(super) struct Octets(pub(super) Bytes);

impl<'js> FromJs<'js> for Octets {
    fn from_js(ctx: &Ctx<'js>, value: Value<'js>) -> Result<Self> {
        if let Some(text) = value.as_string() {
            return Ok(Self(text.to_string()?.into()));
        }
        match views::is_bytes(&value) {
            true => Ok(Self(views::copy(&value)?.into())),
            false => Err(bad(ctx, "a buffer or a string is expected")),
        }
    }
}

/// What was given is not what is needed.
pub(super) fn bad(ctx: &Ctx<'_>, what: &str) -> rquickjs::Error {
    JsError::new("BAD_ARGUMENT", format!("BAD_ARGUMENT: {what}")).throw(ctx)
}

/// A count or an index.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count(pub(super) u64);

impl<'js> FromJs<'js> for Count {
    fn from_js(ctx: &Ctx<'js>, value: Value<'js>) -> Result<Self> {
        count(&value)
            .map(Self)
            .ok_or_else(|| bad(ctx, "a whole number that is not negative is expected"))
    }
}

/// A whole number from 0 to 2^53.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked before"
)]
fn count(value: &Value<'_>) -> Option<u64> {
    let number = value.as_number()?;
    let whole = (0.0..=9_007_199_254_740_992.0).contains(&number) && number.fract() == 0.0;
    whole.then_some(number as u64)
}

/// An object with options; a field that is undefined or null was not given.
pub(super) struct Options<'js>(Object<'js>);

impl<'js> FromJs<'js> for Options<'js> {
    fn from_js(ctx: &Ctx<'js>, value: Value<'js>) -> Result<Self> {
        match value.into_object() {
            Some(object) => Ok(Self(object)),
            None => Ok(Self(Object::new(ctx.clone())?)),
        }
    }
}

impl<'js> Options<'js> {
    fn value(&self, name: &str) -> Result<Option<Value<'js>>> {
        let value: Value<'js> = self.0.get(name)?;
        Ok((!value.is_undefined() && !value.is_null()).then_some(value))
    }

    pub(super) fn bytes(&self, name: &str) -> Result<Option<Bytes>> {
        match self.value(name)? {
            Some(value) => Ok(Some(Octets::from_js(self.0.ctx(), value)?.0)),
            None => Ok(None),
        }
    }

    pub(super) fn array<const N: usize>(&self, name: &str) -> Result<Option<[u8; N]>> {
        match self.bytes(name)? {
            Some(bytes) => sized(self.0.ctx(), name, &bytes).map(Some),
            None => Ok(None),
        }
    }

    pub(super) fn key(&self, name: &str) -> Result<Option<Key>> {
        Ok(self.array(name)?.map(Key))
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>> {
        Ok(self.value(name)?.and_then(|value| value.as_bool()))
    }

    pub(super) fn count(&self, name: &str) -> Result<Option<u64>> {
        match self.value(name)? {
            Some(value) if value.as_number() == Some(f64::INFINITY) => Ok(None),
            Some(value) => Ok(Some(Count::from_js(self.0.ctx(), value)?.0)),
            None => Ok(None),
        }
    }

    pub(super) fn whole(&self, name: &str) -> Result<Option<i64>> {
        match self.value(name)?.and_then(|value| value.as_number()) {
            #[expect(clippy::cast_possible_truncation, reason = "it saturates")]
            Some(number) if number.is_finite() => Ok(Some(number as i64)),
            _ => Ok(None),
        }
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<String>> {
        match self.value(name)? {
            Some(value) => Ok(Some(String::from_js(self.0.ctx(), value)?)),
            None => Ok(None),
        }
    }

    pub(super) fn list<T: FromJs<'js>>(&self, name: &str) -> Result<Option<Vec<T>>> {
        match self.value(name)? {
            Some(value) => Ok(Some(Vec::from_js(self.0.ctx(), value)?)),
            None => Ok(None),
        }
    }

    /// In milliseconds; 0 is none.
    pub(super) fn millis(&self, name: &str) -> Result<Option<Duration>> {
        let millis = self.count(name)?.filter(|millis| *millis > 0);
        Ok(millis.map(Duration::from_millis))
    }

    pub(super) fn options(&self, name: &str) -> Result<Option<Options<'js>>> {
        Ok(self.value(name)?.and_then(Value::into_object).map(Options))
    }

    /// `{publicKey, secretKey}`.
    pub(super) fn key_pair(&self, name: &str) -> Result<Option<KeyPair>> {
        let Some(pair) = self.options(name)? else {
            return Ok(None);
        };
        let Some(secret) = pair.array::<64>("secretKey")? else {
            return Ok(None);
        };
        match KeyPair::from_secret_key(&secret) {
            Some(pair) => Ok(Some(pair)),
            None => Err(bad(self.0.ctx(), "the key pair does not fit together")),
        }
    }
}

/// Bytes of a fixed length.
pub(super) fn sized<const N: usize>(ctx: &Ctx<'_>, name: &str, bytes: &[u8]) -> Result<[u8; N]> {
    bytes.try_into().map_err(|_| {
        bad(
            ctx,
            &format!("{name} must have {N} bytes, not {}", bytes.len()),
        )
    })
}
