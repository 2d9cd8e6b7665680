//! What one thread of a program has besides its heap and its loop: its arguments, how it ends, and who is told of errors that nobody caught.

use super::{clone::Clone, limit};
use crate::{
    bare::{channel::Channels, fs::descriptors::Descriptors, thread::Thread},
    builtin::profile::Profile,
    event_loop::Control,
    pear::AppDrive,
    permissions::Permissions,
};
use rquickjs::{Ctx, Error, Function, JsLifetime, Object, Persistent, Result, Value};
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// A promise that was rejected with nobody there to handle it.
pub(crate) struct Rejection {
    promise: Persistent<Value<'static>>,
    reason: Persistent<Value<'static>>,
}

/// The program as its thread sees it.
pub(crate) struct Host {
    /// `Bare.argv`.
    pub(crate) argv: Vec<String>,
    pub(crate) is_main: bool,
    /// Set from any thread: JavaScript that is running ends at once.
    pub(crate) interrupt: Arc<AtomicBool>,
    /// Set from any thread: the call that is running ends with an error, and the program goes on.
    pub(crate) break_off: Arc<AtomicBool>,
    /// How much memory a heap may have, in bytes.
    pub(crate) memory_limit: Option<usize>,
    /// Whether there is a global `gc`.
    pub(crate) expose_gc: bool,
    /// The kind of its Hypercore stack.
    pub(crate) profile: Profile,
    /// What it may reach of the machine.
    pub(crate) permissions: Arc<Permissions>,
    /// The files that it has open.
    pub(crate) descriptors: Arc<Descriptors>,
    /// Between its threads.
    pub(crate) channels: Arc<Channels>,
    /// The drive that it comes from, whose files are modules.
    pub(crate) app: Option<AppDrive>,
    /// What a thread was started with.
    data: RefCell<Option<Clone>>,
    threads: RefCell<BTreeMap<u64, Arc<Thread>>>,
    next_thread: Cell<u64>,
    exiting: Cell<bool>,
    aborted: Cell<bool>,
    code: Cell<i32>,
    rejections: RefCell<Vec<Rejection>>,
    hooks: RefCell<Option<Persistent<Object<'static>>>>,
}

/// The host of this thread, as userdata.
#[derive(JsLifetime)]
pub(crate) struct HostData(Rc<Host>);

impl Host {
    pub(crate) fn new(argv: Vec<String>, is_main: bool) -> Self {
        Self {
            argv,
            is_main,
            interrupt: Arc::default(),
            break_off: Arc::default(),
            memory_limit: None,
            expose_gc: false,
            profile: Profile::default(),
            permissions: Arc::default(),
            descriptors: Arc::default(),
            channels: Arc::default(),
            app: None,
            data: RefCell::default(),
            threads: RefCell::default(),
            next_thread: Cell::new(0),
            exiting: Cell::new(false),
            aborted: Cell::new(false),
            code: Cell::new(0),
            rejections: RefCell::default(),
            hooks: RefCell::default(),
        }
    }

    pub(crate) fn set_data(&self, data: Clone) {
        *self.data.borrow_mut() = Some(data);
    }

    pub(crate) fn take_data(&self) -> Option<Clone> {
        self.data.borrow_mut().take()
    }

    pub(crate) fn add_thread(&self, thread: Arc<Thread>) -> u64 {
        let id = self.next_thread.get();
        self.next_thread.set(id + 1);
        self.threads.borrow_mut().insert(id, thread);
        id
    }

    pub(crate) fn thread(&self, id: u64) -> Option<Arc<Thread>> {
        self.threads.borrow().get(&id).cloned()
    }

    pub(crate) fn forget_thread(&self, id: u64) {
        self.threads.borrow_mut().remove(&id);
    }

    pub(crate) fn steer_threads(&self, control: Control) {
        for thread in self.threads.borrow().values() {
            thread.control(control);
        }
    }

    /// Waits for all threads that this one has started.
    pub(crate) fn join_threads(&self) {
        let threads = std::mem::take(&mut *self.threads.borrow_mut());
        for thread in threads.into_values() {
            thread.join();
        }
    }

    /// Makes it what [`get`](Self::get) finds.
    pub(crate) fn install(self: &Rc<Self>, ctx: &Ctx<'_>) -> Result<()> {
        ctx.store_userdata(HostData(self.clone()))?;
        Ok(())
    }

    /// The host of the code that is running.
    pub(crate) fn get(ctx: &Ctx<'_>) -> Rc<Self> {
        ctx.userdata::<HostData>()
            .map(|data| data.0.clone())
            .expect("every engine is made with a host")
    }

    /// The functions `uncaught`, `rejected`, `beforeExit` and `exit` of the runtime's own JavaScript.
    pub(crate) fn set_hooks<'js>(&self, ctx: &Ctx<'js>, hooks: Object<'js>) {
        *self.hooks.borrow_mut() = Some(Persistent::save(ctx, hooks));
    }

    fn hook<'js>(&self, ctx: &Ctx<'js>, name: &str) -> Result<Option<Function<'js>>> {
        let hooks = self.hooks.borrow().clone();
        match hooks {
            Some(hooks) => hooks.restore(ctx)?.get(name).map(Some),
            None => Ok(None),
        }
    }

    /// True when no more JavaScript is to run, but for what is told of the exit.
    pub(crate) fn has_ended(&self) -> bool {
        self.exiting.get() || self.aborted.get() || self.interrupt.load(Ordering::Relaxed)
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.aborted.get()
    }

    /// The status that the program ends with; its lowest 8 bits count.
    pub(crate) fn code(&self) -> i32 {
        self.code.get()
    }

    pub(crate) fn set_code(&self, code: i32) {
        self.code.set(code);
    }

    /// Ends the program as soon as the running call is left.
    pub(crate) fn end(&self) {
        self.exiting.set(true);
    }

    /// Ends the program with SIGABRT; the error has been printed.
    pub(crate) fn abort(&self) {
        self.aborted.set(true);
    }

    /// JavaScript may run again, to hear of the exit.
    pub(crate) fn enter_exit(&self) {
        self.exiting.set(true);
        self.interrupt.store(false, Ordering::Relaxed);
    }

    pub(crate) fn before_exit(&self, ctx: &Ctx<'_>) -> Result<()> {
        match self.hook(ctx, "beforeExit")? {
            Some(hook) => hook.call(()),
            None => Ok(()),
        }
    }

    /// Tells the program how its life goes on.
    pub(crate) fn tell(&self, ctx: &Ctx<'_>, name: &str, time: Option<f64>) -> Result<()> {
        match self.hook(ctx, name)? {
            Some(hook) => hook.call((time,)),
            None => Ok(()),
        }
    }

    pub(crate) fn exit(&self, ctx: &Ctx<'_>) -> Result<()> {
        match self.hook(ctx, "exit")? {
            Some(hook) => hook.call(()),
            None => Ok(()),
        }
    }

    /// An error that nobody caught: its listeners are told; where there are none it is printed, and the program ends.
    pub(crate) fn uncaught<'js>(&self, ctx: &Ctx<'js>, thrown: Value<'js>) {
        if thrown.is_uncatchable_error() {
            // The way out of a call that ends the program.
            return;
        }
        limit::spare(ctx, self.memory_limit);
        let told = match self.hook(ctx, "uncaught") {
            Ok(Some(hook)) => hook.call::<_, bool>((thrown,)),
            Ok(None) => Ok(false),
            Err(error) => Err(error),
        };
        self.verdict(ctx, told);
    }

    /// A rejection that nobody handled.
    pub(crate) fn rejected(&self, ctx: &Ctx<'_>, rejection: Rejection) -> Result<()> {
        limit::spare(ctx, self.memory_limit);
        let promise = rejection.promise.restore(ctx)?;
        let reason = rejection.reason.restore(ctx)?;
        let told = match self.hook(ctx, "rejected")? {
            Some(hook) => hook.call::<_, bool>((reason, promise)),
            None => Ok(false),
        };
        self.verdict(ctx, told);
        Ok(())
    }

    fn verdict(&self, ctx: &Ctx<'_>, told: Result<bool>) {
        match told {
            Ok(true) => {}
            Ok(false) => self.abort(),
            Err(error) => {
                // A listener that throws, or leaves by `Bare.exit()`.
                let thrown = match error {
                    Error::Exception => Some(ctx.catch()),
                    _ => None,
                };
                if thrown.as_ref().is_some_and(Value::is_uncatchable_error) {
                    return;
                }
                if let (Some(thrown), Ok(Some(print))) = (thrown, self.hook(ctx, "print")) {
                    let _ = print.call::<_, ()>((thrown,));
                }
                self.abort();
            }
        }
    }

    /// Remembers a rejection, or forgets one that is handled after all.
    pub(crate) fn track<'js>(
        &self,
        ctx: &Ctx<'js>,
        promise: Value<'js>,
        reason: Value<'js>,
        is_handled: bool,
    ) {
        let promise = Persistent::save(ctx, promise);
        let mut rejections = self.rejections.borrow_mut();
        if is_handled {
            rejections.retain(|rejection| rejection.promise != promise);
        } else {
            let reason = Persistent::save(ctx, reason);
            rejections.push(Rejection { promise, reason });
        }
    }

    pub(crate) fn take_rejections(&self) -> Vec<Rejection> {
        std::mem::take(&mut *self.rejections.borrow_mut())
    }

    /// Lets go of everything that JavaScript is held by.
    pub(crate) fn clear(&self) {
        self.rejections.borrow_mut().clear();
        self.hooks.borrow_mut().take();
    }
}
