//! One thread of a program: a QuickJS runtime with its context, and the loop that feeds it.

pub(crate) mod bytes;
pub(crate) mod class;
pub(crate) mod clone;
pub(crate) mod errno;
pub(crate) mod error;
pub(crate) mod host;
pub(crate) mod limit;
pub(crate) mod realm;
pub(crate) mod script;
pub(crate) mod shared;
pub(crate) mod text;
pub(crate) mod uncatchable;

use crate::{
    bare::repl,
    builtin,
    event_loop::{self, Ended, Loop, Queue},
    module,
    pear::{self, PearOptions},
    permissions::Permissions,
};
use host::Host;
use rquickjs::{CatchResultExt, Context, Ctx, Result};
use std::{
    path::{Path, PathBuf},
    rc::Rc,
    sync::{Arc, atomic::Ordering},
};

/// What `Bare.version` says: the version of Bare whose behaviour and packages' demands are met.
pub const BARE_VERSION: &str = "1.33.4";

/// The stack of a thread, in bytes, and how much of it JavaScript may use: the rest is for native calls at the limit.
pub(crate) const STACK_BYTES: usize = 16 << 20;
const STACK_BYTES_JS: usize = 8 << 20;

/// How a program is run.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Options {
    /// What follows the program's file in `Bare.argv`.
    pub args: Vec<String>,
    /// `Bare.argv[0]` [default: the path of this executable].
    pub exec_path: Option<PathBuf>,
    /// How much memory the heap of a thread may have, in bytes [default: no limit]. A program that wants more gets an `InternalError`, "out of memory".
    pub memory_limit: Option<usize>,
    /// True: the Hypercore stack is npm's JavaScript out of `node_modules`, on natives of ours [default: only where the program needs that].
    pub npm: bool,
    /// A global `gc`, which collects what nothing leads to any more, for the program and its threads [default: none].
    pub expose_gc: bool,
    /// The app that it is: it gets a global `Pear` [default: none].
    pub pear: Option<PearOptions>,
    /// What the program may reach of the machine [default: all that its user may].
    pub permissions: Permissions,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// With this status.
    Code(u8),
    /// By an error that nobody caught: it has been printed to stderr, and the process should abort, as Bare's does.
    Abort,
}

/// What a program begins with.
enum Entry {
    File(PathBuf),
    Script { source: String, print: bool },
    Repl,
}

/// Runs programs.
///
/// ```
/// use pome_runtime::{Exit, Options, Runtime};
///
/// let runtime = Runtime::new(Options::default());
/// assert_eq!(runtime.eval("Bare.exitCode = 2", false), Exit::Code(2));
/// ```
#[derive(Debug, Clone)]
pub struct Runtime {
    options: Options,
}

impl Runtime {
    /// A runtime with these options. Nothing is started yet.
    pub fn new(options: Options) -> Self {
        Self { options }
    }

    /// Runs the program in `file` to its end: a path, or a module's name as `import` takes it relative to the working folder.
    pub fn run_file(&self, file: &Path) -> Exit {
        self.run(Entry::File(file.to_path_buf()))
    }

    /// Runs `source` as a CommonJS module of the working folder; `print` prints what it comes to.
    pub fn eval(&self, source: &str, print: bool) -> Exit {
        self.run(Entry::Script {
            source: source.into(),
            print,
        })
    }

    /// Reads lines of a program from stdin and runs each, until there are no more.
    pub fn repl(&self) -> Exit {
        self.run(Entry::Repl)
    }

    fn run(&self, entry: Entry) -> Exit {
        let options = self.options.clone();
        // A thread of its own: the stack of the caller's may be of any size.
        let thread = std::thread::Builder::new()
            .name("pome-main".into())
            .stack_size(STACK_BYTES)
            .spawn(move || run_main(&options, entry));
        match thread.map(std::thread::JoinHandle::join) {
            Ok(Ok(exit)) => exit,
            Ok(Err(panic)) => std::panic::resume_unwind(panic),
            Err(error) => {
                eprintln!("Uncaught Error: cannot start a thread: {error}");
                Exit::Abort
            }
        }
    }
}

fn run_main(options: &Options, entry: Entry) -> Exit {
    let exec_path = options
        .exec_path
        .clone()
        .or_else(|| std::env::current_exe().ok())
        .unwrap_or_default();
    let mut argv = vec![exec_path.display().to_string()];
    if let Entry::File(file) = &entry {
        // As it was written: the module system finds the file, and puts its path here.
        argv.push(file.display().to_string());
    }
    argv.extend(options.args.iter().cloned());
    let mut host = Host::new(argv, true);
    host.memory_limit = options.memory_limit;
    host.expose_gc = options.expose_gc;
    match &entry {
        _ if options.npm => host.profile.set_npm(),
        Entry::File(file) => host.profile.look(file),
        Entry::Script { .. } | Entry::Repl => {}
    }
    host.permissions = Arc::new(options.permissions.clone());
    host.app = options.pear.as_ref().and_then(|app| app.drive.clone());
    let engine = match Engine::new(host, Queue::new()) {
        Ok(engine) => engine,
        Err(error) => {
            eprintln!("Uncaught Error: {error}");
            return Exit::Abort;
        }
    };
    let ended = engine.run(|ctx| {
        if let Some(app) = &options.pear {
            pear::install(ctx, app)?;
        }
        match &entry {
            Entry::File(file) => module::run_main(ctx, &file.to_string_lossy()),
            Entry::Script { source, print } => module::run_script(ctx, source, *print),
            Entry::Repl => repl::start(ctx),
        }
    });
    crate::bare::terminal::restore();
    // The process ends: its memory goes as a whole.
    std::mem::forget(engine);
    ended
}

/// One thread's engine.
pub(crate) struct Engine {
    context: Context,
    event_loop: Loop,
    host: Rc<Host>,
}

impl Engine {
    pub(crate) fn new(host: Host, queue: Queue) -> Result<Self> {
        let runtime = rquickjs::Runtime::new()?;
        if let Some(bytes) = host.memory_limit {
            runtime.set_memory_limit(bytes);
        }
        runtime.set_max_stack_size(STACK_BYTES_JS);
        let (interrupt, break_off) = (host.interrupt.clone(), host.break_off.clone());
        runtime.set_interrupt_handler(Some(Box::new(move || {
            interrupt.load(Ordering::Relaxed) || break_off.load(Ordering::Relaxed)
        })));
        let host = Rc::new(host);
        let tracker = host.clone();
        runtime.set_host_promise_rejection_tracker(Some(Box::new(
            move |ctx, promise, reason, is_handled| {
                tracker.track(&ctx, promise, reason, is_handled)
            },
        )));
        runtime.set_loader(module::Link, module::Link);
        let context = Context::full(&runtime)?;
        let event_loop = Loop::new(queue);
        context.with(|ctx| {
            shared::install(&ctx);
            host.install(&ctx)?;
            ctx.store_userdata(event_loop.clone())?;
            builtin::install(&ctx)?;
            module::install(&ctx)?;
            if let Err(error) = builtin::load(&ctx, "bare-start").catch(&ctx) {
                if !host.has_ended() {
                    eprintln!("Uncaught {error}");
                }
                return Err(rquickjs::Error::Unknown);
            }
            Ok(())
        })?;
        Ok(Self {
            context,
            event_loop,
            host,
        })
    }

    /// Runs `enter` and the loop to the end, and waits for the threads that were started from here.
    pub(crate) fn run(&self, enter: impl FnOnce(&Ctx<'_>) -> Result<()>) -> Exit {
        let ended = event_loop::run(&self.context, &self.event_loop, &self.host, enter);
        if !matches!(ended, Ok(Ended::Abort)) {
            self.host.join_threads();
        }
        match ended {
            Ok(Ended::Exit) => Exit::Code(self.host.code().to_le_bytes()[0]),
            Ok(Ended::Abort) => Exit::Abort,
            Err(error) => {
                eprintln!("Uncaught Error: cannot start the loop: {error}");
                Exit::Abort
            }
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.event_loop.clear();
        self.host.clear();
    }
}
