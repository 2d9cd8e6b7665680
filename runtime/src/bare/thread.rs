//! The native half of `Bare.Thread`: a thread with an engine of its own.

use crate::{
    engine::{
        Engine, Exit, STACK_BYTES,
        clone::{Clone, detach},
        error::{JsError, os_error},
        host::Host,
    },
    event_loop::{Control, Loop, Queue, Sender},
    module,
};
use rquickjs::{Ctx, Function, Object, Result, Value};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

/// A thread as the one that started it sees it.
pub(crate) struct Thread {
    join: Mutex<Option<JoinHandle<()>>>,
    interrupt: Arc<AtomicBool>,
    sender: Sender,
}

impl Thread {
    /// Waits until it has ended.
    pub(crate) fn join(&self) {
        let handle = lock(&self.join).take();
        if let Some(handle) = handle
            && let Err(panic) = handle.join()
        {
            std::panic::resume_unwind(panic);
        }
    }

    pub(crate) fn control(&self, control: Control) {
        self.sender.control(control);
    }

    fn terminate(&self) {
        self.interrupt.store(true, Ordering::Relaxed);
        self.control(Control::Terminate);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    native.set("isMain", Host::get(ctx).is_main)?;
    native.set("data", Function::new(ctx.clone(), data)?)?;
    native.set("start", Function::new(ctx.clone(), start)?)?;
    native.set("join", Function::new(ctx.clone(), join)?)?;
    native.set("terminate", Function::new(ctx.clone(), terminate)?)?;
    native.set("suspend", Function::new(ctx.clone(), suspend)?)?;
    native.set("wakeup", Function::new(ctx.clone(), wakeup)?)?;
    native.set("idle", Function::new(ctx.clone(), idle)?)?;
    native.set("resume", Function::new(ctx.clone(), resume)?)?;
    Ok(native)
}

/// What the thread that runs this was given.
fn data<'js>(ctx: Ctx<'js>) -> Result<Value<'js>> {
    match Host::get(&ctx).take_data() {
        Some(data) => data.value(&ctx),
        None => Ok(Value::new_null(ctx)),
    }
}

fn start<'js>(
    ctx: Ctx<'js>,
    specifier: String,
    source: Option<String>,
    data: Value<'js>,
    transfer: Vec<Value<'js>>,
    stack_bytes: f64,
) -> Result<f64> {
    let data = Clone::of(&data).map_err(|error| match error {
        rquickjs::Error::Exception => {
            let thrown = ctx.catch();
            let message: Option<String> = thrown
                .as_object()
                .and_then(|error| error.get("message").ok());
            JsError::new(
                "UNSERIALIZABLE_TYPE",
                format!(
                    "UNSERIALIZABLE_TYPE: {}",
                    message
                        .as_deref()
                        .unwrap_or("the data cannot be serialized")
                ),
            )
            .throw(&ctx)
        }
        error => error,
    })?;
    for buffer in &transfer {
        detach(buffer)?;
    }
    let host = Host::get(&ctx);
    let interrupt = Arc::<AtomicBool>::default();
    let queue = Queue::new();
    let sender = queue.sender();
    let (argv, memory_limit, expose_gc) = (host.argv.clone(), host.memory_limit, host.expose_gc);
    let profile = host.profile.clone();
    let (permissions, app) = (host.permissions.clone(), host.app.clone());
    let (descriptors, channels) = (host.descriptors.clone(), host.channels.clone());
    let its_interrupt = interrupt.clone();
    let handle = std::thread::Builder::new()
        .name("pome-thread".into())
        .stack_size((stack_bytes as usize).max(STACK_BYTES))
        .spawn(move || {
            let stopped = its_interrupt.clone();
            let mut host = Host::new(argv, false);
            host.interrupt = its_interrupt;
            host.memory_limit = memory_limit;
            host.expose_gc = expose_gc;
            host.profile = profile;
            host.permissions = permissions;
            host.descriptors = descriptors;
            host.channels = channels;
            host.app = app;
            host.set_data(data);
            match Engine::new(host, queue) {
                Ok(engine) => run(&engine, &specifier, source.as_deref()),
                // Ended before it had begun.
                Err(_) if stopped.load(Ordering::Relaxed) => {}
                Err(error) => {
                    eprintln!("Uncaught Error: {error}");
                    std::process::abort();
                }
            }
        })
        .map_err(|error| os_error(&ctx, &error, "pthread_create", None))?;
    let thread = Arc::new(Thread {
        join: Mutex::new(Some(handle)),
        interrupt,
        sender,
    });
    Ok(host.add_thread(thread) as f64)
}

fn run(engine: &Engine, specifier: &str, source: Option<&str>) {
    let exit = engine.run(|ctx| module::run_thread(ctx, specifier, source));
    if exit == Exit::Abort {
        // What nobody caught in a thread ends the process, as in Bare.
        std::process::abort();
    }
}

fn with(ctx: &Ctx<'_>, id: f64, work: impl FnOnce(&Thread)) {
    // Without a thread of that name it has been joined.
    if let Some(thread) = Host::get(ctx).thread(id as u64) {
        work(&thread);
    }
}

fn join(ctx: Ctx<'_>, id: f64) {
    with(&ctx, id, Thread::join);
    Host::get(&ctx).forget_thread(id as u64);
}

fn terminate(ctx: Ctx<'_>, id: f64) {
    with(&ctx, id, Thread::terminate);
}

/// Of a thread, or of the program itself where `id` is negative.
fn steer(ctx: &Ctx<'_>, id: f64, control: Control) {
    if id < 0.0 {
        Loop::get(ctx).sender().control(control);
    } else {
        with(ctx, id, |thread| thread.control(control));
    }
}

fn suspend(ctx: Ctx<'_>, id: f64, linger: f64) {
    steer(&ctx, id, Control::Suspend { linger });
}

fn wakeup(ctx: Ctx<'_>, id: f64, deadline: f64) {
    steer(&ctx, id, Control::Wakeup { deadline });
}

fn idle(ctx: Ctx<'_>, id: f64) {
    steer(&ctx, id, Control::Idle);
}

fn resume(ctx: Ctx<'_>, id: f64) {
    steer(&ctx, id, Control::Resume);
}
