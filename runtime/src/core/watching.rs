//! Watchers of bees and drives: each change is asked for, and a program does not live for what may never come. What the program itself has changed does
//! come: a loop that has nothing else to do [looks](Watched::look) whether a change is on its way, and stays for it.

use super::bridge::{Failure, Out, Outcome, call_back, held, hold};
use crate::event_loop::{Handle, Loop};
use futures_util::{
    FutureExt, StreamExt,
    future::BoxFuture,
    stream::{BoxStream, Stream},
};
use rquickjs::{Ctx, Function, Result};
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};
use tokio::sync::Mutex;

/// Two views between which something changed: now, and when it was last told of.
pub(super) type Pair<V> = (V, V);

/// What is watched: a bee, or a drive.
pub(super) trait View: Clone + Send + Sync + 'static {
    /// Where its core is, as length and fork; `None` when this program cannot change it.
    fn place(&self) -> Option<(u64, u64)>;

    /// A view of now, which stays as it is.
    fn now(&self) -> Outcome<Self>;
}

/// Whether two views differ in what is watched.
type Differ<V> = Arc<dyn Fn(Pair<V>) -> BoxFuture<'static, Outcome<bool>> + Send + Sync>;

type Changes<V> = Arc<Mutex<BoxStream<'static, Outcome<Pair<V>>>>>;

/// A watcher.
pub(super) struct Watched<V> {
    live: V,
    changes: Changes<V>,
    differ: Differ<V>,
    /// What was last told of.
    told: RefCell<V>,
    tellings: Cell<u64>,
    /// Where the core was when it was last looked at.
    looked_at: Cell<Option<(u64, u64)>>,
    /// Keeps the program alive while a change is on its way.
    stay: RefCell<Option<Handle>>,
}

/// Begins to watch; the number stands for the watcher.
pub(super) fn watch<V: View>(
    ctx: &Ctx<'_>,
    live: V,
    changes: impl Stream<Item = Outcome<Pair<V>>> + Send + 'static,
    differ: impl Fn(Pair<V>) -> BoxFuture<'static, Outcome<bool>> + Send + Sync + 'static,
) -> Result<u32> {
    let told = super::bridge::now(ctx, live.now())?;
    let watched = Rc::new(Watched {
        looked_at: Cell::new(live.place()),
        live,
        changes: Arc::new(Mutex::new(changes.boxed())),
        differ: Arc::new(differ),
        told: RefCell::new(told),
        tellings: Cell::new(0),
        stay: RefCell::default(),
    });
    let weak = Rc::downgrade(&watched);
    Loop::get(ctx).look_before_the_end(move |event_loop| match weak.upgrade() {
        Some(watched) => {
            watched.look(event_loop);
            true
        }
        None => false,
    });
    Ok(hold(Box::new(watched)))
}

/// Calls back with the next change, `[current, previous]`; with null when what is watched was closed.
pub(super) fn changed<'js, V: View>(ctx: Ctx<'js>, id: u32, callback: Function<'js>) -> Result<()> {
    let watched: Rc<Watched<V>> = held(&ctx, id)?;
    let changes = watched.changes.clone();
    let (told, tell) = tokio::sync::oneshot::channel();
    let event_loop = Loop::get(&ctx);
    // The one future tells JavaScript, the other one the watcher: in this order, as they end in this order.
    let weak = Rc::downgrade(&watched);
    event_loop.spawn(event_loop.handle(false), tell, move |_, current| {
        if let Some(watched) = weak.upgrade() {
            watched.tell(current.ok());
        }
        Ok(())
    });
    call_back(&ctx, false, callback, async move {
        match changes.lock().await.next().await.transpose() {
            Ok(next) => Ok(Out::or_null(next, |(current, previous)| {
                // A watcher that is gone does not hear of it.
                let _ = told.send(current.clone());
                Out::List(vec![Out::held(current), Out::held(previous)])
            })),
            Err(error) if error.code() == "SESSION_CLOSED" => Ok(Out::Null),
            Err(error) => Err(error),
        }
    })
}

impl<V: View> Watched<V> {
    fn tell(&self, current: Option<V>) {
        self.tellings.set(self.tellings.get() + 1);
        if let Some(current) = current {
            self.told.replace(current);
        }
        self.stay.take();
    }

    /// Stays for a change that is sure to be told of.
    fn look(self: &Rc<Self>, event_loop: &Loop) {
        let place = self.live.place();
        if place.is_none() || self.looked_at.replace(place) == place {
            return;
        }
        let Ok(now) = self.live.now() else {
            return;
        };
        let differs = (self.differ)((now, self.told.borrow().clone()));
        let (this, tellings) = (self.clone(), self.tellings.get());
        let later = event_loop.clone();
        event_loop.spawn(event_loop.handle(true), differs, move |_, differs| {
            if this.tellings.get() == tellings && matches!(differs, Ok(true)) {
                this.stay.replace(Some(later.handle(true)));
            }
            Ok(())
        });
    }
}

impl View for pome_bee::Hyperbee {
    fn place(&self) -> Option<(u64, u64)> {
        let core = self.core();
        core.writable().then(|| (core.length(), core.fork()))
    }

    fn now(&self) -> Outcome<Self> {
        Ok(self.snapshot())
    }
}

impl View for pome_drive_fs::Hyperdrive {
    fn place(&self) -> Option<(u64, u64)> {
        let core = self.core();
        self.writable().then(|| (core.length(), core.fork()))
    }

    fn now(&self) -> Outcome<Self> {
        self.snapshot().map_err(Failure::from)
    }
}

/// What a stream answers first: whether it has anything.
pub(super) fn has_any<T, E>(
    stream: impl Stream<Item = std::result::Result<T, E>> + Send + 'static,
) -> BoxFuture<'static, Outcome<bool>>
where
    T: Send,
    E: Send + Into<Failure>,
{
    async move {
        let mut stream = stream.boxed();
        let first = stream.next().await.transpose();
        first.map(|first| first.is_some()).map_err(Into::into)
    }
    .boxed()
}
