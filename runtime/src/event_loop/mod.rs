//! What a thread of a program waits for. Whatever comes in from outside is one *event*: a call into JavaScript, after which all jobs (microtasks) are
//! run, then rejections that nobody has handled are reported, then comes the next event.
//!
//! ```text
//! timers that are due → immediates → events of native objects → wait
//! ```
//!
//! The loop goes on as long as something is *alive*: a handle that is ref'd, a ref'd timer or immediate, an event that waits in the queue.
//!
//! A native call that takes time gives its work to [`Loop::spawn`] (a callback when it is done) or [`Loop::promise`]; a native object that has news at
//! any time keeps a [`Handle`] and sends through a [`Sender`]. JavaScript values cannot travel with a sender: what an event is about is found by its
//! [`Root`].

mod run;
mod timers;

use crate::engine::error::JsError;
use rquickjs::{Ctx, Function, IntoJs, JsLifetime, Persistent, Promise, Result, Value};
use std::{
    any::Any,
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    future::Future,
    pin::{Pin, pin},
    rc::Rc,
    sync::OnceLock,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};
use tokio::{sync::mpsc, task::LocalSet};

pub(crate) use run::{Ended, run};
pub(crate) use timers::TimerId;
use timers::Timers;

/// A call into JavaScript from outside.
type Event = Box<dyn for<'js> FnOnce(&Ctx<'js>) -> Result<()> + Send>;

/// What comes through the queue.
enum Message {
    Event(Event),
    Control(Control),
}

/// The life of a program as others steer it. Times are in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Control {
    /// Finish what is running, then stand still.
    Suspend { linger: f64 },
    /// Run for so long, then stand still again.
    Wakeup { deadline: f64 },
    /// Stand still at once.
    Idle,
    /// Run as before.
    Resume,
    /// Look whether it is over.
    Terminate,
}

/// What to do with the output of a future.
type Done = Box<dyn for<'js> FnOnce(&Ctx<'js>, Box<dyn Any>) -> Result<()>>;

/// Looks whether there is more to do after all; false when it has nothing to look at any more.
type Look = Box<dyn Fn(&Loop) -> bool>;

/// The loop of this thread.
#[derive(Clone, JsLifetime)]
pub(crate) struct Loop(Rc<Inner>);

struct Inner {
    sender: Sender,
    events: RefCell<Option<mpsc::UnboundedReceiver<Message>>>,
    /// How many handles are ref'd.
    live: Cell<usize>,
    next: Cell<u64>,
    pending: RefCell<HashMap<u64, (Handle, Done)>>,
    roots: RefCell<HashMap<u64, Persistent<Value<'static>>>>,
    held: RefCell<HashMap<u64, Handle>>,
    timers: RefCell<Timers>,
    immediates: RefCell<VecDeque<Immediate>>,
    looks: RefCell<Vec<Look>>,
    local: LocalSet,
    /// How many futures are on this thread.
    local_count: Cell<usize>,
    /// How many outputs were there at once.
    at_once: Cell<u32>,
    /// Changes with each piece of JavaScript.
    turn: Cell<u64>,
    /// Dropped when the event that runs is over.
    guards: RefCell<Vec<Box<dyn Any>>>,
}

/// Of so many outputs that are there at once, one comes as an event.
const AT_ONCE: u32 = 64;

struct Immediate {
    id: u64,
    callback: Persistent<Function<'static>>,
    is_ref: bool,
}

/// Sends events to the loop from any thread. Does not keep the loop alive: that is what a [`Handle`] is for.
#[derive(Clone)]
pub(crate) struct Sender(mpsc::UnboundedSender<Message>);

impl Sender {
    /// Puts an event into the queue; false when the loop has ended.
    pub(crate) fn send(&self, event: impl FnOnce(&Ctx<'_>) -> Result<()> + Send + 'static) -> bool {
        self.0.send(Message::Event(Box::new(event))).is_ok()
    }

    /// Steers the program of the loop.
    pub(crate) fn control(&self, control: Control) {
        // One that has ended cannot be steered.
        let _ = self.0.send(Message::Control(control));
    }
}

/// Keeps the loop alive as long as it is ref'd and not dropped.
pub(crate) struct Handle {
    owner: Rc<Inner>,
    is_ref: Cell<bool>,
}

impl Handle {
    /// Lets it keep the loop alive.
    pub(crate) fn ref_(&self) {
        if !self.is_ref.replace(true) {
            self.owner.live.set(self.owner.live.get() + 1);
        }
    }

    /// Lets the loop end without it.
    pub(crate) fn unref(&self) {
        if self.is_ref.replace(false) {
            self.owner.live.set(self.owner.live.get() - 1);
        }
    }

    /// Whether it keeps the loop alive.
    pub(crate) fn is_ref(&self) -> bool {
        self.is_ref.get()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.unref();
    }
}

/// Names a JavaScript value that the loop keeps; unlike the value it can be sent between threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Root(u64);

/// Names a [`Handle`] that the loop keeps; unlike the handle it can be sent between threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Held(u64);

/// A future given to [`Loop::spawn`].
pub(crate) struct Task {
    id: u64,
    owner: Rc<Inner>,
    abort: tokio::task::AbortHandle,
}

impl Task {
    /// Stops the work; its callback is not called.
    pub(crate) fn abort(&self) {
        self.abort.abort();
        let gone = self.owner.pending.borrow_mut().remove(&self.id);
        drop(gone);
    }

    /// Lets the work keep the loop alive, or not.
    pub(crate) fn set_ref(&self, is_ref: bool) {
        if let Some((handle, _)) = self.owner.pending.borrow().get(&self.id) {
            match is_ref {
                true => handle.ref_(),
                false => handle.unref(),
            }
        }
    }
}

/// The queue of a loop that is to be: what is sent before it runs waits in it.
pub(crate) struct Queue {
    sender: Sender,
    messages: mpsc::UnboundedReceiver<Message>,
}

impl Queue {
    pub(crate) fn new() -> Self {
        let (sender, messages) = mpsc::unbounded_channel();
        Self {
            sender: Sender(sender),
            messages,
        }
    }

    pub(crate) fn sender(&self) -> Sender {
        self.sender.clone()
    }
}

impl Loop {
    pub(crate) fn new(queue: Queue) -> Self {
        Self(Rc::new(Inner {
            sender: queue.sender,
            events: RefCell::new(Some(queue.messages)),
            live: Cell::new(0),
            next: Cell::new(0),
            pending: RefCell::default(),
            roots: RefCell::default(),
            held: RefCell::default(),
            timers: RefCell::default(),
            immediates: RefCell::default(),
            looks: RefCell::default(),
            local: LocalSet::new(),
            local_count: Cell::new(0),
            at_once: Cell::new(0),
            turn: Cell::new(0),
            guards: RefCell::default(),
        }))
    }

    /// The loop that runs the code that is running.
    pub(crate) fn get(ctx: &Ctx<'_>) -> Self {
        ctx.userdata::<Self>()
            .map(|this| this.clone())
            .expect("every engine is made with a loop")
    }

    fn id(&self) -> u64 {
        self.0.next.set(self.0.next.get() + 1);
        self.0.next.get()
    }

    /// The number of the piece of JavaScript that runs: the part of an event or of a job (a microtask) that nothing comes in between.
    pub(crate) fn turn(&self) -> u64 {
        self.0.turn.get()
    }

    fn next_turn(&self) {
        self.0.turn.set(self.0.turn.get().wrapping_add(1));
    }

    /// Keeps a guard until the event that runs is over, with all its jobs.
    pub(crate) fn keep_until_settled(&self, guard: impl Any) {
        self.0.guards.borrow_mut().push(Box::new(guard));
    }

    /// A handle on the loop.
    pub(crate) fn handle(&self, is_ref: bool) -> Handle {
        let handle = Handle {
            owner: self.0.clone(),
            is_ref: Cell::new(false),
        };
        if is_ref {
            handle.ref_();
        }
        handle
    }

    /// Keeps a handle for a native object that lives elsewhere, under a name that can be sent.
    pub(crate) fn hold(&self, handle: Handle) -> Held {
        let id = self.id();
        self.0.held.borrow_mut().insert(id, handle);
        Held(id)
    }

    /// Lets a handle go that was kept.
    pub(crate) fn release(&self, held: Held) {
        let gone = self.0.held.borrow_mut().remove(&held.0);
        drop(gone);
    }

    /// Lets a handle that is kept keep the loop alive, or not.
    pub(crate) fn ref_held(&self, held: Held, is_ref: bool) {
        if let Some(handle) = self.0.held.borrow().get(&held.0) {
            match is_ref {
                true => handle.ref_(),
                false => handle.unref(),
            }
        }
    }

    /// A sender of events, for native objects that live elsewhere.
    pub(crate) fn sender(&self) -> Sender {
        self.0.sender.clone()
    }

    /// Keeps a value until [`unroot`](Self::unroot).
    pub(crate) fn root<'js>(&self, ctx: &Ctx<'js>, value: Value<'js>) -> Root {
        let id = self.id();
        self.0
            .roots
            .borrow_mut()
            .insert(id, Persistent::save(ctx, value));
        Root(id)
    }

    /// The value that is kept; `None` after [`unroot`](Self::unroot).
    pub(crate) fn rooted<'js>(&self, ctx: &Ctx<'js>, root: Root) -> Option<Value<'js>> {
        let kept = self.0.roots.borrow().get(&root.0).cloned();
        kept.and_then(|value| value.restore(ctx).ok())
    }

    /// Lets the value go.
    pub(crate) fn unroot(&self, root: Root) {
        let gone = self.0.roots.borrow_mut().remove(&root.0);
        // Its finalizer may come back here: the table is free by now.
        drop(gone);
    }

    /// Runs a future on the shared pool; `done` gets its output as one event. `handle` keeps the loop alive until then.
    pub(crate) fn spawn<F, D>(&self, handle: Handle, future: F, done: D) -> Task
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
        D: FnOnce(&Ctx<'_>, F::Output) -> Result<()> + 'static,
    {
        let id = self.expect(handle, done);
        let sender = self.sender();
        let task = pool().spawn(async move {
            let output = future.await;
            sender.send(move |ctx| Loop::get(ctx).finish(ctx, id, Box::new(output)));
        });
        Task {
            id,
            owner: self.0.clone(),
            abort: task.abort_handle(),
        }
    }

    /// Runs a function that blocks on a thread of the pool; else as [`spawn`](Self::spawn).
    pub(crate) fn spawn_blocking<T, W, D>(&self, handle: Handle, work: W, done: D)
    where
        T: Send + 'static,
        W: FnOnce() -> T + Send + 'static,
        D: FnOnce(&Ctx<'_>, T) -> Result<()> + 'static,
    {
        let id = self.expect(handle, done);
        let sender = self.sender();
        pool().spawn_blocking(move || {
            let output = work();
            sender.send(move |ctx| Loop::get(ctx).finish(ctx, id, Box::new(output)));
        });
    }

    /// Runs a future on this thread, between events; else as [`spawn`](Self::spawn).
    pub(crate) fn spawn_local<F, D>(&self, handle: Handle, future: F, done: D) -> Task
    where
        F: Future + 'static,
        F::Output: 'static,
        D: FnOnce(&Ctx<'_>, F::Output) -> Result<()> + 'static,
    {
        let id = self.expect(handle, done);
        let sender = self.sender();
        let owner = self.0.clone();
        self.0.local_count.set(self.0.local_count.get() + 1);
        let counted = Counted(self.0.clone());
        let task = self.0.local.spawn_local(async move {
            let _counted = counted;
            let output = future.await;
            // The output stays on this thread: only its name is sent.
            let pending = owner.pending.borrow_mut().remove(&id);
            if let Some((handle, done)) = pending {
                let ready: Done = Box::new(move |ctx, _| done(ctx, Box::new(output)));
                owner.pending.borrow_mut().insert(id, (handle, ready));
            }
            drop(owner);
            sender.send(move |ctx| Loop::get(ctx).finish(ctx, id, Box::new(())));
        });
        Task {
            id,
            owner: self.0.clone(),
            abort: task.abort_handle(),
        }
    }

    fn expect<T, D>(&self, handle: Handle, done: D) -> u64
    where
        T: 'static,
        D: FnOnce(&Ctx<'_>, T) -> Result<()> + 'static,
    {
        let id = self.id();
        let done: Done = Box::new(move |ctx, output| match output.downcast::<T>() {
            Ok(output) => done(ctx, *output),
            Err(_) => Ok(()),
        });
        self.0.pending.borrow_mut().insert(id, (handle, done));
        id
    }

    fn finish(&self, ctx: &Ctx<'_>, id: u64, output: Box<dyn Any>) -> Result<()> {
        let pending = self.0.pending.borrow_mut().remove(&id);
        match pending {
            Some((handle, done)) => {
                let outcome = done(ctx, output);
                drop(handle);
                outcome
            }
            None => Ok(()),
        }
    }

    /// A promise for what a future on the shared pool comes to; keeps the loop alive until then.
    pub(crate) fn promise<'js, F, T>(&self, ctx: &Ctx<'js>, future: F) -> Result<Promise<'js>>
    where
        F: Future<Output = std::result::Result<T, JsError>> + Send + 'static,
        T: for<'any> IntoJs<'any> + Send + 'static,
    {
        let (promise, settle) = Settle::new(ctx)?;
        self.spawn(self.handle(true), future, move |ctx, output| {
            settle.with(ctx, output)
        });
        Ok(promise)
    }

    /// As [`promise`](Self::promise), and begun here and now: what a program starts one after the other begins in that order, and queues for a lock in that
    /// order. What is done by then takes no thread of the pool.
    pub(crate) fn promise_begun<'js, F, T>(&self, ctx: &Ctx<'js>, future: F) -> Result<Promise<'js>>
    where
        F: Future<Output = std::result::Result<T, JsError>> + Send + 'static,
        T: for<'any> IntoJs<'any> + Send + 'static,
    {
        let (promise, settle) = Settle::new(ctx)?;
        self.begin(ctx, true, future, move |ctx, output| {
            settle.with(ctx, output)
        })?;
        Ok(promise)
    }

    /// Runs a future, the first part of it here and now, the rest on the shared pool. `done` gets its output: now when it is there, or as one event; every so
    /// often as an event all the same, so that a program that only waits for what is there lets the loop turn. Until then the loop is kept alive, if `stay`.
    pub(crate) fn begin<F, D>(&self, ctx: &Ctx<'_>, stay: bool, future: F, done: D) -> Result<()>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
        D: FnOnce(&Ctx<'_>, F::Output) -> Result<()> + 'static,
    {
        let mut future = Box::pin(future);
        let Poll::Ready(output) = first_part(future.as_mut()) else {
            self.spawn(self.handle(stay), future, done);
            return Ok(());
        };
        let count = self.0.at_once.get().wrapping_add(1);
        self.0.at_once.set(count);
        if !count.is_multiple_of(AT_ONCE) {
            return done(ctx, output);
        }
        let id = self.expect(self.handle(true), done);
        (self.sender()).send(move |ctx| Loop::get(ctx).finish(ctx, id, Box::new(output)));
        Ok(())
    }

    /// What a future comes to that has nothing to wait for; `None` for one that has, and every so often all the same, so that the loop turns. Then it has to
    /// be asked for again, by [`begin`](Self::begin).
    pub(crate) fn at_once<F: Future>(&self, future: F) -> Option<F::Output> {
        // Whose turn it is to be an event is asked for again, and is one then.
        let next = self.0.at_once.get().wrapping_add(1);
        if next.is_multiple_of(AT_ONCE) {
            return None;
        }
        let Poll::Ready(output) = first_part(pin!(future)) else {
            return None;
        };
        self.0.at_once.set(next);
        Some(output)
    }

    /// A promise for what a function that blocks comes to, on a thread of the pool.
    pub(crate) fn promise_blocking<'js, T, W>(
        &self,
        ctx: &Ctx<'js>,
        work: W,
    ) -> Result<Promise<'js>>
    where
        T: for<'any> IntoJs<'any> + Send + 'static,
        W: FnOnce() -> std::result::Result<T, JsError> + Send + 'static,
    {
        let (promise, settle) = Settle::new(ctx)?;
        self.spawn_blocking(self.handle(true), work, move |ctx, output| {
            settle.with(ctx, output)
        });
        Ok(promise)
    }

    /// Calls `callback` after `delay`, once.
    pub(crate) fn start_timer<'js>(
        &self,
        ctx: &Ctx<'js>,
        delay: Duration,
        callback: Function<'js>,
        is_ref: bool,
    ) -> TimerId {
        let now = Instant::now();
        let deadline = now.checked_add(delay).unwrap_or_else(|| now + FAR);
        let callback = Persistent::save(ctx, callback);
        self.0.timers.borrow_mut().start(deadline, callback, is_ref)
    }

    /// Stops a timer; true when it had not fired.
    pub(crate) fn stop_timer(&self, id: TimerId) -> bool {
        self.0.timers.borrow_mut().stop(id)
    }

    /// Lets a timer keep the loop alive, or not.
    pub(crate) fn ref_timer(&self, id: TimerId, is_ref: bool) {
        self.0.timers.borrow_mut().set_ref(id, is_ref);
    }

    /// Calls `callback` in the next round of the loop.
    pub(crate) fn start_immediate<'js>(&self, ctx: &Ctx<'js>, callback: Function<'js>) -> u64 {
        let id = self.id();
        self.0.immediates.borrow_mut().push_back(Immediate {
            id,
            callback: Persistent::save(ctx, callback),
            is_ref: true,
        });
        id
    }

    /// Stops an immediate.
    pub(crate) fn stop_immediate(&self, id: u64) {
        let mut immediates = self.0.immediates.borrow_mut();
        let at = immediates.iter().position(|immediate| immediate.id == id);
        let gone = at.and_then(|at| immediates.remove(at));
        drop(immediates);
        drop(gone);
    }

    /// Lets an immediate keep the loop alive, or not.
    pub(crate) fn ref_immediate(&self, id: u64, is_ref: bool) {
        let mut immediates = self.0.immediates.borrow_mut();
        if let Some(immediate) = immediates.iter_mut().find(|immediate| immediate.id == id) {
            immediate.is_ref = is_ref;
        }
    }

    /// Calls `look` each time when nothing keeps the loop alive any more, until it answers false: what it begins then is waited for.
    pub(crate) fn look_before_the_end(&self, look: impl Fn(&Self) -> bool + 'static) {
        self.0.looks.borrow_mut().push(Box::new(look));
    }

    /// Has everybody look whether there is more to do.
    fn look_again(&self) {
        let looks = std::mem::take(&mut *self.0.looks.borrow_mut());
        let kept: Vec<Look> = looks.into_iter().filter(|look| look(self)).collect();
        self.0.looks.borrow_mut().extend(kept);
    }

    fn is_alive(&self) -> bool {
        self.0.live.get() > 0
            || self.0.timers.borrow().keep_alive()
            || self.0.immediates.borrow().iter().any(|one| one.is_ref)
    }

    /// Lets go of everything that JavaScript is held by; the engine can only end after this.
    pub(crate) fn clear(&self) {
        self.0.events.borrow_mut().take();
        self.0.timers.borrow_mut().clear();
        // What is dropped may have handles, which look at this loop again.
        let pending = std::mem::take(&mut *self.0.pending.borrow_mut());
        let roots = std::mem::take(&mut *self.0.roots.borrow_mut());
        let immediates = std::mem::take(&mut *self.0.immediates.borrow_mut());
        let held = std::mem::take(&mut *self.0.held.borrow_mut());
        let looks = std::mem::take(&mut *self.0.looks.borrow_mut());
        let guards = std::mem::take(&mut *self.0.guards.borrow_mut());
        drop((pending, roots, immediates, held, looks, guards));
    }
}

/// Runs a future as far as it gets without waiting.
fn first_part<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    let _pool = pool().enter();
    let mut context = Context::from_waker(Waker::noop());
    // Not to be put off for the sake of other tasks: this is none.
    pin!(tokio::task::unconstrained(future)).poll(&mut context)
}

/// One future on this thread, also when it is stopped.
struct Counted(Rc<Inner>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.local_count.set(self.0.local_count.get() - 1);
    }
}

/// Where a delay ends that no clock can hold: in a hundred years.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The two functions of a promise.
pub(crate) struct Settle {
    resolve: Persistent<Function<'static>>,
    reject: Persistent<Function<'static>>,
}

impl Settle {
    pub(crate) fn new<'js>(ctx: &Ctx<'js>) -> Result<(Promise<'js>, Self)> {
        let (promise, resolve, reject) = ctx.promise()?;
        let this = Self {
            resolve: Persistent::save(ctx, resolve),
            reject: Persistent::save(ctx, reject),
        };
        Ok((promise, this))
    }

    pub(crate) fn with<'js, T: IntoJs<'js>>(
        self,
        ctx: &Ctx<'js>,
        output: std::result::Result<T, JsError>,
    ) -> Result<()> {
        match output.map(|value| value.into_js(ctx)) {
            Ok(Ok(value)) => self.resolve.restore(ctx)?.call::<_, ()>((value,)),
            Ok(Err(rquickjs::Error::Exception)) => {
                self.reject.restore(ctx)?.call::<_, ()>((ctx.catch(),))
            }
            Ok(Err(error)) => Err(error),
            Err(error) => self.reject.restore(ctx)?.call::<_, ()>((error,)),
        }
    }
}

/// The pool of threads that all of the process's programs share, made when it is first needed.
pub(crate) fn pool() -> &'static tokio::runtime::Runtime {
    static POOL: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    POOL.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .thread_name("pome-pool")
            .enable_all()
            .build()
            .expect("the machine lets a process have threads and an epoll")
    })
}
