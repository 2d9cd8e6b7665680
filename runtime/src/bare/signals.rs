//! bare-signals: signals of the system, asked for one by one.
//!
//! A signal that nobody listens for any more does again what it did before: whoever listened once must not make a program deaf to Ctrl-C.

use std::{
    collections::HashMap,
    rc::Rc,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use rquickjs::{Class, Ctx, Function, JsLifetime, Object, class::Trace};
use tokio::{
    signal::unix::SignalKind,
    sync::{Mutex as AsyncMutex, watch},
};

use super::{
    failure::Failure,
    reply::Reply,
    task::{self, Liveness},
};
use crate::event_loop;

/// Who listens for a signal, in the whole process.
struct Listeners {
    count: AtomicUsize,
    /// Set while there are none: then the signal does what it does by default.
    is_default: Arc<AtomicBool>,
}

static LISTENERS: LazyLock<Mutex<HashMap<i32, Arc<Listeners>>>> = LazyLock::new(Mutex::default);

fn listeners(number: i32) -> Result<Arc<Listeners>, Failure> {
    let mut all = LISTENERS.lock();
    if let Some(listeners) = all.get(&number) {
        return Ok(listeners.clone());
    }
    let is_default = Arc::new(AtomicBool::new(false));
    // By default these are ignored, or cannot be listened for: nothing is to be put back.
    const IGNORED: [i32; 4] = [17, 18, 23, 28];
    if !IGNORED.contains(&number) {
        signal_hook::flag::register_conditional_default(number, is_default.clone())?;
    }
    let listeners = Arc::new(Listeners {
        count: AtomicUsize::new(0),
        is_default,
    });
    all.insert(number, listeners.clone());
    Ok(listeners)
}

/// One who listens for a signal.
#[derive(Trace, JsLifetime)]
#[rquickjs::class]
pub(crate) struct Signal {
    #[qjs(skip_trace)]
    listeners: Arc<Listeners>,
    #[qjs(skip_trace)]
    signals: Arc<AsyncMutex<tokio::signal::unix::Signal>>,
    #[qjs(skip_trace)]
    is_closed: watch::Sender<bool>,
    #[qjs(skip_trace)]
    live: Rc<Liveness>,
}

impl Signal {
    fn listen(ctx: &Ctx<'_>, number: i32) -> Result<Self, Failure> {
        let _reactor = event_loop::pool().enter();
        let listeners = listeners(number)?;
        let signals = tokio::signal::unix::signal(SignalKind::from_raw(number))?;
        listeners.count.fetch_add(1, Ordering::SeqCst);
        listeners.is_default.store(false, Ordering::SeqCst);
        Ok(Self {
            listeners,
            signals: Arc::new(AsyncMutex::new(signals)),
            is_closed: watch::Sender::new(false),
            live: Liveness::new(ctx),
        })
    }

    fn leave(&self) {
        if self.is_closed.send_replace(true) {
            return;
        }
        if self.listeners.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.listeners.is_default.store(true, Ordering::SeqCst);
        }
    }
}

impl Drop for Signal {
    fn drop(&mut self) {
        self.leave();
    }
}

#[rquickjs::methods]
impl Signal {
    #[qjs(constructor)]
    fn new(ctx: Ctx<'_>, number: i32) -> rquickjs::Result<Self> {
        Self::listen(&ctx, number).map_err(|failure| failure.throw(&ctx))
    }

    /// `callback(err)` when the signal comes.
    fn next<'js>(&self, ctx: Ctx<'js>, callback: Function<'js>) {
        let signals = self.signals.clone();
        let mut is_closed = self.is_closed.subscribe();
        task::run(&ctx, &self.live, callback, async move {
            let mut signals = signals.lock().await;
            tokio::select! {
                biased;
                _ = is_closed.wait_for(|is_closed| *is_closed) => Err(Failure::named("ECANCELED")),
                signal = signals.recv() => match signal {
                    Some(()) => Ok(Reply::Nothing),
                    None => Err(Failure::named("ECANCELED")),
                },
            }
        });
    }

    fn close(&self) {
        self.leave();
    }

    #[qjs(rename = "setRef")]
    fn set_ref(&self, wanted: bool) {
        self.live.set(wanted);
    }
}

pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    Class::<Signal>::define(&native)?;
    Ok(native)
}
