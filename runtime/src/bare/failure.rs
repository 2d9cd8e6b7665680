//! What went wrong in a native operation, on its way to JavaScript.
//!
//! Programs for Bare branch on `err.code` and read the words of libuv in `err.message`. The JavaScript face of a module adds what it was
//! doing (`open "/x"`).

use std::{borrow::Cow, io};

use rquickjs::{Ctx, Exception, Object, Value};

use crate::engine::errno;

/// A failed native operation: `code` for programs, `message` for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub(crate) struct Failure {
    /// The name that programs branch on, as `ENOENT`.
    pub(crate) code: Cow<'static, str>,
    /// One line without the code.
    pub(crate) message: Cow<'static, str>,
}

impl Failure {
    /// A failure that is not the system's.
    pub(crate) fn new(
        code: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
        }
    }

    /// The system's failure with this name, as `EINVAL`.
    pub(crate) fn named(code: &'static str) -> Self {
        let message = errno::all()
            .find(|(name, ..)| *name == code)
            .map_or("unknown error", |(_, _, words)| words);
        Self::new(code, message)
    }

    /// As a JavaScript `Error` with a `code`.
    pub(crate) fn to_error<'js>(&self, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        let error: Object<'js> = Exception::from_message(ctx.clone(), &self.message)?.into_object();
        error.set("code", self.code.as_ref())?;
        Ok(error.into_value())
    }

    /// Throws [`Failure::to_error`] in `ctx`.
    pub(crate) fn throw(&self, ctx: &Ctx<'_>) -> rquickjs::Error {
        match self.to_error(ctx) {
            Ok(error) => ctx.throw(error),
            Err(error) => error,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match errno::describe(&error) {
            ("UNKNOWN", _) if error.raw_os_error().is_none() => {
                Self::new("UNKNOWN", error.to_string())
            }
            (code, words) => Self::new(code, words),
        }
    }
}

impl From<rustix::io::Errno> for Failure {
    fn from(errno: rustix::io::Errno) -> Self {
        Self::from(io::Error::from(errno))
    }
}
