//! Between the objects of the stack and JavaScript: handles, values on their way out, errors, and work that goes on elsewhere.
//!
//! JavaScript holds numbers; what they stand for lies in a table of its thread, and goes when the object that has the number is collected, or says so.
//! Work runs on the shared pool and answers with an [`Out`], which becomes a JavaScript value on the thread that asked.

use crate::{
    engine::bytes as views,
    event_loop::{Loop, Settle},
};
use bytes::Bytes;
use rquickjs::{Array, Ctx, Function, IntoJs, Null, Object, Persistent, Result, Value};
use std::{any::Any, cell::RefCell, collections::HashMap, future::Future};

/// What a number stands for.
#[derive(Default)]
struct Table {
    held: HashMap<u32, Box<dyn Any>>,
    last: u32,
}

/// What was read of native objects in one turn of the loop.
#[derive(Default)]
struct Seen {
    turn: u64,
    counts: HashMap<u32, Vec<u64>>,
}

thread_local! {
    static TABLE: RefCell<Table> = RefCell::default();
    static SEEN: RefCell<Seen> = RefCell::default();
}

/// One of the counts of an object that others change at any time, as a program sees them: between two lines without an `await` nothing changes in JavaScript,
/// so within a turn of the loop all of them are read once.
pub(super) fn steady<const N: usize>(
    ctx: &Ctx<'_>,
    id: u32,
    which: usize,
    read: impl FnOnce() -> Result<[u64; N]>,
) -> Result<Out> {
    let turn = Loop::get(ctx).turn();
    let seen = SEEN.with_borrow_mut(|seen| {
        if seen.turn != turn {
            seen.turn = turn;
            seen.counts.clear();
        }
        seen.counts.get(&id).map(|counts| counts[which])
    });
    if let Some(count) = seen {
        return Ok(Out::count(count));
    }
    let counts = read()?;
    SEEN.with_borrow_mut(|seen| seen.counts.insert(id, counts.to_vec()));
    Ok(Out::count(counts[which]))
}

/// Keeps a value for JavaScript; the number stands for it.
pub(super) fn hold(value: Box<dyn Any>) -> u32 {
    TABLE.with_borrow_mut(|table| {
        loop {
            table.last = table.last.wrapping_add(1);
            if table.last != 0 && !table.held.contains_key(&table.last) {
                table.held.insert(table.last, value);
                return table.last;
            }
        }
    })
}

/// Forgets a value.
pub(super) fn let_go(id: u32) {
    // Dropped outside of the borrow: what it holds may end up here again.
    let gone = TABLE.with_borrow_mut(|table| table.held.remove(&id));
    drop(gone);
}

/// What a number stands for.
///
/// # Errors
/// An exception when it is something else, or gone.
pub(super) fn held<T: Clone + 'static>(ctx: &Ctx<'_>, id: u32) -> Result<T> {
    let value = TABLE.with_borrow(|table| table.held.get(&id)?.downcast_ref::<T>().cloned());
    value.ok_or_else(|| coded("SESSION_CLOSED", "it is closed").throw(ctx))
}

/// Takes a value out of the table.
pub(super) fn take<T: 'static>(id: u32) -> Option<T> {
    let value = TABLE.with_borrow_mut(|table| {
        table.held.get(&id)?.downcast_ref::<T>()?;
        table.held.remove(&id)
    })?;
    value.downcast().ok().map(|value| *value)
}

/// Why something failed: what becomes of an error when it crosses.
pub(super) use crate::engine::error::JsError as Failure;

/// npm's errors of the stack have the code in front of the message.
pub(super) fn coded(code: &str, message: impl std::fmt::Display) -> Failure {
    Failure::new(code, format!("{code}: {message}"))
}

macro_rules! failures {
    ($($error:ty),* $(,)?) => {$(
        impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                coded(error.code(), error)
            }
        }
    )*};
}

failures!(
    pome_bee::Error,
    pome_cores::Error,
    pome_cores::ManifestError,
    pome_drive_fs::Error,
    pome_net::dht_rpc::RequestError,
    pome_net::hyperdht::Error,
    pome_net::hyperswarm::Error,
    pome_storage::Error,
);

impl From<pome_net::Error> for Failure {
    fn from(error: pome_net::Error) -> Self {
        use std::io::ErrorKind;
        // What npm's streams say of a connection that is gone.
        let code = match &error {
            pome_net::Error::Io { kind, .. } => match kind {
                ErrorKind::ConnectionReset => "ECONNRESET",
                ErrorKind::TimedOut => "ETIMEDOUT",
                ErrorKind::BrokenPipe => "EPIPE",
                _ => error.code(),
            },
            pome_net::Error::TimedOut => "ETIMEDOUT",
            _ => error.code(),
        };
        coded(code, &error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::os(&error, "open", None)
    }
}

/// The result of something that was done at once.
pub(super) fn now<T, E: Into<Failure>>(
    ctx: &Ctx<'_>,
    result: std::result::Result<T, E>,
) -> Result<T> {
    result.map_err(|error| error.into().throw(ctx))
}

/// The result of work.
pub(super) type Outcome<T = Out> = std::result::Result<T, Failure>;

/// A value on its way to JavaScript.
pub(super) enum Out {
    Undefined,
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    /// A Buffer.
    Bytes(Bytes),
    /// Its number.
    Held(Box<dyn Any + Send>),
    List(Vec<Out>),
    Fields(Vec<(&'static str, Out)>),
    /// Text to be parsed.
    Json(String),
}

impl Out {
    pub(super) fn held<T: Any + Send>(value: T) -> Self {
        Self::Held(Box::new(value))
    }

    /// A count: exact up to 2^53, as all of JavaScript's.
    #[expect(clippy::cast_precision_loss, reason = "JavaScript's numbers are such")]
    pub(super) fn count(value: u64) -> Self {
        Self::Number(value as f64)
    }

    pub(super) fn bytes(value: impl AsRef<[u8]>) -> Self {
        Self::Bytes(Bytes::copy_from_slice(value.as_ref()))
    }

    /// `None` is null.
    pub(super) fn or_null<T>(value: Option<T>, some: impl FnOnce(T) -> Self) -> Self {
        value.map_or(Self::Null, some)
    }
}

impl<'js> IntoJs<'js> for Out {
    fn into_js(self, ctx: &Ctx<'js>) -> Result<Value<'js>> {
        match self {
            Self::Undefined => Ok(Value::new_undefined(ctx.clone())),
            Self::Null => Null.into_js(ctx),
            Self::Bool(value) => value.into_js(ctx),
            Self::Number(value) => value.into_js(ctx),
            Self::Text(value) => value.into_js(ctx),
            Self::Bytes(value) if value.len() <= views::COPY_BYTES_MAX => {
                views::buffer(ctx, &value)
            }
            Self::Bytes(value) => views::Bytes(value.into()).into_js(ctx),
            Self::Held(value) => hold(value).into_js(ctx),
            Self::List(values) => {
                let list = Array::new(ctx.clone())?;
                for (index, value) in values.into_iter().enumerate() {
                    list.set(index, value)?;
                }
                list.into_js(ctx)
            }
            Self::Fields(fields) => {
                let object = Object::new(ctx.clone())?;
                for (name, value) in fields {
                    object.set(name, value)?;
                }
                object.into_js(ctx)
            }
            Self::Json(text) => ctx.json_parse(text),
        }
    }
}

/// A promise of what the work answers. It keeps the process alive until then. Of two calls the first one begins first.
pub(super) fn promise<'js>(
    ctx: &Ctx<'js>,
    work: impl Future<Output = Outcome> + Send + 'static,
) -> Result<Value<'js>> {
    Ok(Loop::get(ctx).promise_begun(ctx, work)?.into_value())
}

/// Calls `(error, value)` back as an event of its own, so that what a listener throws is an uncaught exception. While it is waited for, the process is
/// kept alive, if `stay`.
pub(super) fn call_back<'js>(
    ctx: &Ctx<'js>,
    stay: bool,
    callback: Function<'js>,
    work: impl Future<Output = Outcome> + Send + 'static,
) -> Result<()> {
    let this = Loop::get(ctx);
    let callback = Persistent::save(ctx, callback);
    this.spawn(this.handle(stay), work, move |ctx, outcome| {
        let callback = callback.restore(ctx)?;
        match outcome {
            Ok(out) => callback.call((Null, out)),
            Err(failure) => callback.call((failure,)),
        }
    });
    Ok(())
}

/// A promise of what is here (`quick`), or else of what peers have to bring (`slow`). The process lives for the former, and for the latter only if `stay`:
/// without a peer that would be for ever.
pub(super) fn patient<'js>(
    ctx: &Ctx<'js>,
    stay: bool,
    quick: impl Future<Output = Outcome<Option<Out>>> + Send + 'static,
    slow: impl Future<Output = Outcome> + Send + 'static,
) -> Result<Value<'js>> {
    let (promise, settle) = Settle::new(ctx)?;
    let this = Loop::get(ctx);
    let later = this.clone();
    this.begin(ctx, true, quick, move |ctx, outcome| {
        if let Some(outcome) = outcome.transpose() {
            return settle.with(ctx, outcome);
        }
        later.spawn(later.handle(stay), slow, move |ctx, outcome| {
            settle.with(ctx, outcome)
        });
        Ok(())
    })?;
    Ok(promise.into_value())
}
