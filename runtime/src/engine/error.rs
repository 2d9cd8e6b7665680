//! Errors on their way to JavaScript: an `Error` with a `code`, and what the failed call was about.

use super::errno;
use rquickjs::{Ctx, IntoJs, Object, Result, Value, function::Constructor};
use std::{io, path::Path};

/// Which constructor makes the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Error,
    Type,
    Range,
    Syntax,
}

impl Class {
    fn name(self) -> &'static str {
        match self {
            Self::Error => "Error",
            Self::Type => "TypeError",
            Self::Range => "RangeError",
            Self::Syntax => "SyntaxError",
        }
    }
}

/// A property of an error besides `code`.
#[derive(Debug, Clone)]
pub(crate) enum Field {
    /// A string.
    Text(String),
    /// A number.
    Number(f64),
}

/// An error for JavaScript, made where there may be no JavaScript around: it can be sent between threads.
#[derive(Debug, Clone)]
pub(crate) struct JsError {
    class: Class,
    code: String,
    message: String,
    fields: Vec<(&'static str, Field)>,
}

impl JsError {
    fn of(class: Class, code: &str, message: impl Into<String>) -> Self {
        Self {
            class,
            code: code.into(),
            message: message.into(),
            fields: Vec::new(),
        }
    }

    /// An `Error`; without a `code` property where `code` is empty.
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        Self::of(Class::Error, code, message)
    }

    /// A `TypeError`.
    pub(crate) fn type_error(code: &str, message: impl Into<String>) -> Self {
        Self::of(Class::Type, code, message)
    }

    /// A `RangeError`.
    pub(crate) fn range_error(code: &str, message: impl Into<String>) -> Self {
        Self::of(Class::Range, code, message)
    }

    /// A `SyntaxError`.
    pub(crate) fn syntax_error(code: &str, message: impl Into<String>) -> Self {
        Self::of(Class::Syntax, code, message)
    }

    /// What its `code` says.
    pub(crate) fn code(&self) -> &str {
        &self.code
    }

    /// What the operating system said to `syscall`: `code` (`ENOENT`), `errno` (negative, as libuv has it), `syscall` and, where there is one, `path`.
    pub(crate) fn os(error: &io::Error, syscall: &'static str, path: Option<&Path>) -> Self {
        let (code, text) = errno::describe(error);
        let mut message = format!("{code}: {text}, {syscall}");
        if let Some(path) = path {
            message.push_str(&format!(" '{}'", path.display()));
        }
        let mut all = Self::new(code, message)
            .with("errno", Field::Number(f64::from(-errno::number(error))))
            .with("syscall", Field::Text(syscall.into()));
        if let Some(path) = path {
            all = all.with("path", Field::Text(path.display().to_string()));
        }
        all
    }

    /// Adds a property.
    pub(crate) fn with(mut self, name: &'static str, field: Field) -> Self {
        self.fields.push((name, field));
        self
    }

    /// Throws it; what comes back is for `return Err(…)`.
    pub(crate) fn throw(self, ctx: &Ctx<'_>) -> rquickjs::Error {
        match self.into_js(ctx) {
            Ok(value) => ctx.throw(value),
            Err(error) => error,
        }
    }
}

impl<'js> IntoJs<'js> for JsError {
    fn into_js(self, ctx: &Ctx<'js>) -> Result<Value<'js>> {
        let constructor: Constructor<'js> = ctx.globals().get(self.class.name())?;
        let error: Object<'js> = constructor.construct((self.message,))?;
        if !self.code.is_empty() {
            error.set("code", self.code)?;
        }
        for (name, field) in self.fields {
            match field {
                Field::Text(text) => error.set(name, text)?,
                Field::Number(number) => error.set(name, number)?,
            }
        }
        Ok(error.into_value())
    }
}

/// Throws an `Error` with a `code`.
pub(crate) fn throw(ctx: &Ctx<'_>, code: &str, message: impl Into<String>) -> rquickjs::Error {
    JsError::new(code, message).throw(ctx)
}

/// Throws what the operating system said to `syscall`.
pub(crate) fn os_error(
    ctx: &Ctx<'_>,
    error: &io::Error,
    syscall: &'static str,
    path: Option<&Path>,
) -> rquickjs::Error {
    JsError::os(error, syscall, path).throw(ctx)
}
