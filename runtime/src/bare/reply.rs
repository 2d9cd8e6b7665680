//! What a native operation answers with, made off the JavaScript thread and turned into a value on it.

use rquickjs::{Array, ArrayBuffer, Ctx, IntoJs, Object, Value};

/// Makes a value on the JavaScript thread.
type Make = dyn for<'js> FnOnce(&Ctx<'js>) -> rquickjs::Result<Value<'js>> + Send;

/// The answer of a native operation. Holds no JavaScript value, so it may cross threads.
pub(crate) enum Reply {
    /// `undefined`.
    Nothing,
    /// `null`, which streams read as the end.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A string.
    Text(String),
    /// Bytes, as an ArrayBuffer of their own (no copy).
    Bytes(Vec<u8>),
    /// An array.
    List(Vec<Reply>),
    /// A plain object.
    Map(Vec<(&'static str, Reply)>),
    /// A native object, made on the JavaScript thread.
    Made(Box<Make>),
}

impl Reply {
    /// A number of any integer type that a double can hold well enough.
    pub(crate) fn count(value: usize) -> Self {
        Self::Number(value as f64)
    }
}

impl From<()> for Reply {
    fn from((): ()) -> Self {
        Self::Nothing
    }
}

impl From<String> for Reply {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Reply {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<f64> for Reply {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<bool> for Reply {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<Vec<u8>> for Reply {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

impl<'js> IntoJs<'js> for Reply {
    fn into_js(self, ctx: &Ctx<'js>) -> rquickjs::Result<Value<'js>> {
        match self {
            Self::Nothing => Ok(Value::new_undefined(ctx.clone())),
            Self::Null => Ok(Value::new_null(ctx.clone())),
            Self::Bool(value) => value.into_js(ctx),
            Self::Number(value) => value.into_js(ctx),
            Self::Text(text) => text.into_js(ctx),
            Self::Bytes(bytes) => ArrayBuffer::new(ctx.clone(), bytes).map(ArrayBuffer::into_value),
            Self::List(items) => {
                let array = Array::new(ctx.clone())?;
                for (index, item) in items.into_iter().enumerate() {
                    array.set(index, item)?;
                }
                Ok(array.into_value())
            }
            Self::Map(fields) => {
                let object = Object::new(ctx.clone())?;
                for (name, value) in fields {
                    object.set(name, value)?;
                }
                Ok(object.into_value())
            }
            Self::Made(make) => make(ctx),
        }
    }
}
