//! The arguments of a native call, read by place and checked before anything is done with them.

use rquickjs::{Ctx, Exception, Value};

use crate::engine::bytes;

/// A call's arguments. What is not of the asked kind throws a TypeError which names the place.
pub(crate) struct Args<'a, 'js> {
    ctx: &'a Ctx<'js>,
    values: &'a [Value<'js>],
}

impl<'a, 'js> Args<'a, 'js> {
    /// Looks at `values`.
    pub(crate) fn new(ctx: &'a Ctx<'js>, values: &'a [Value<'js>]) -> Self {
        Self { ctx, values }
    }

    fn wrong(&self, at: usize, expected: &str) -> rquickjs::Error {
        Exception::throw_type(self.ctx, &format!("argument {at} must be {expected}"))
    }

    fn value(&self, at: usize) -> Option<&Value<'js>> {
        self.values
            .get(at)
            .filter(|value| !value.is_undefined() && !value.is_null())
    }

    /// A string.
    pub(crate) fn text(&self, at: usize) -> rquickjs::Result<String> {
        match self.value(at).and_then(Value::as_string) {
            Some(text) => text.to_string(),
            None => Err(self.wrong(at, "a string")),
        }
    }

    /// A number.
    pub(crate) fn number(&self, at: usize) -> rquickjs::Result<f64> {
        self.value(at)
            .and_then(Value::as_number)
            .ok_or_else(|| self.wrong(at, "a number"))
    }

    /// A whole number; fractions are cut, what is out of range is clamped, NaN is 0.
    pub(crate) fn integer(&self, at: usize) -> rquickjs::Result<i64> {
        self.number(at).map(|number| number as i64)
    }

    /// A boolean; absent is false.
    pub(crate) fn flag(&self, at: usize) -> bool {
        self.value(at).and_then(Value::as_bool).unwrap_or(false)
    }

    /// A copy of the bytes of a view.
    pub(crate) fn bytes(&self, at: usize) -> rquickjs::Result<Vec<u8>> {
        match self.value(at) {
            Some(value) => bytes::copy(value),
            None => Err(self.wrong(at, "a view of bytes")),
        }
    }
}
