//! Who does the work: this process, when nobody owns the store; else the owner. A long-lived command starts the owner where there is none.

use super::{
    app::{self, args::RunArgs},
    args::{Cli, Command, CoreCommand, DhtCommand, Global, StoreCommand},
    backup, bench, command, dht, doctor,
    failure::Failure,
    frame::{ClientFrame, Context, Reach, Request, WorkFrame},
    io::{Io, path_json},
    keeper,
    keys::{self, Keys},
    manual, owner,
    present::{self, Presentation},
    runtime,
    service::Service,
};
use pome_net::hyperdht::BOOTSTRAP;
use pome_runtime::PearLink;
use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};
use tokio::{
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    runtime::Runtime,
    sync::mpsc,
};
use tracing_subscriber::{
    EnvFilter,
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// How often a busy store is tried again.
const RETRY: Duration = Duration::from_millis(10);

const NO_PEERS: &str = "this command asks no peer: drop `--peer`";

/// Runs a parsed command line.
pub(crate) fn run(cli: Cli) -> ExitCode {
    let Cli { global, command } = cli;
    if !matches!(command, Command::Owner) {
        log(global.quiet, global.verbose);
    }
    let how = Presentation {
        json: global.json,
        quiet: global.quiet,
        stoppable: command.is_long_lived(),
    };
    let outcome = match command {
        Command::Completions { shell } => manual::completions(shell),
        Command::Man { command } => manual::man(&command),
        Command::Run(args) => match runtime::run(args, &global, how) {
            Ok(code) => return code,
            Err(failure) => Err(failure),
        },
        Command::Init(args) => app::init::init(&args, how),
        Command::Data(args) => app::machine::data(&args, how),
        Command::Gc(args) => app::machine::gc(&args, how),
        Command::Shift(args) => app::machine::shift(&args, how),
        Command::Versions => app::machine::versions(how),
        Command::Bench(args) => bench::bench(&args, how, global.quiet),
        Command::Dht(command) => without_store(&global, how, async move |io| {
            dht::execute(command, io).await
        }),
        Command::Doctor { key } => without_store(&global, how, async move |io| {
            doctor::doctor(key.as_deref(), io).await
        }),
        command => with_store(&global, command, how),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            present::report(&failure, how);
            ExitCode::from(failure.status)
        }
    }
}

/// Runs a program that is named by nothing but its file.
pub(crate) fn plain(args: RunArgs) -> ExitCode {
    log(false, 0);
    runtime::run_here(args).unwrap_or_else(|failure| {
        let how = Presentation {
            json: false,
            quiet: false,
            stoppable: false,
        };
        present::report(&failure, how);
        ExitCode::from(failure.status)
    })
}

/// What `-q` and `-v` let through.
fn level(quiet: bool, verbose: u8) -> LevelFilter {
    match (quiet, verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0) => LevelFilter::WARN,
        (false, 1) => LevelFilter::INFO,
        (false, 2) => LevelFilter::DEBUG,
        (false, _) => LevelFilter::TRACE,
    }
}

/// What is worth saying: `$POME_LOG` as tracing's filters are written, else by `-v` and `-q`.
pub(crate) fn log_filter(global: &Global) -> EnvFilter {
    let level = level(global.quiet, global.verbose);
    // fuser warns each time that it finds unmounted what it would unmount.
    EnvFilter::try_from_env("POME_LOG")
        .unwrap_or_else(|_| EnvFilter::new(format!("{level},fuser::mnt=error")))
}

/// Says on stderr what [`log_filter`] lets through.
fn log(quiet: bool, verbose: u8) {
    let log = tracing_subscriber::fmt()
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let level = level(quiet, verbose);
    // The filters that one can write cost every start what their parser needs: without them there are plain ones.
    let plain = Targets::new()
        .with_default(level)
        .with_target("fuser::mnt", LevelFilter::ERROR);
    let written =
        std::env::var_os("POME_LOG").and_then(|_| EnvFilter::try_from_env("POME_LOG").ok());
    // A second subscriber cannot be there: only the owner installs one too, and it does not come here.
    let _ = match written {
        Some(filter) => log.with_env_filter(filter).try_init(),
        None => (log.with_max_level(level).finish().with(plain).try_init())
            .map_err(|error| error.into()),
    };
}

pub(crate) fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::io("cannot start the runtime", &e))
}

fn without_store(
    global: &Global,
    how: Presentation,
    work: impl AsyncFnOnce(&mut Io) -> Result<(), Failure>,
) -> Result<(), Failure> {
    if !global.peer.is_empty() {
        return Err(Failure::usage(NO_PEERS));
    }
    let mut context = context(global)?;
    // Nobody is looked for, or found, but as the command says.
    context.reach.bootstrap = bootstrap(global);
    context.reach.relay.clone_from(&global.relay);
    let runtime = runtime()?;
    let outcome = runtime.block_on(alone(context, how, work));
    // A thread that waits for stdin would keep the runtime for ever.
    runtime.shutdown_background();
    outcome
}

/// What a command's work depends on besides the command.
pub(crate) fn context(global: &Global) -> Result<Context, Failure> {
    let cwd = std::env::current_dir().map_err(|e| Failure::io("the working folder", &e))?;
    Ok(Context {
        version: VERSION.into(),
        cwd,
        json: global.json,
        progress: present::wants_progress(global.quiet),
        peers: global.peer.clone(),
        reach: reach(global),
        patience: global.timeout,
    })
}

/// Where to begin in the DHT.
fn bootstrap(global: &Global) -> Vec<String> {
    match &global.bootstrap {
        Some(nodes) => nodes.0.clone(),
        None => BOOTSTRAP.iter().map(ToString::to_string).collect(),
    }
}

/// How a command finds peers.
fn reach(global: &Global) -> Reach {
    Reach {
        bootstrap: match global.no_swarm || global.lan_only {
            true => Vec::new(),
            false => bootstrap(global),
        },
        lan: !global.no_swarm && (global.lan_only || !global.no_lan),
        relays: global.relay_through.clone(),
        relay: match global.no_swarm || global.lan_only {
            true => None,
            false => global.relay.clone(),
        },
    }
}

fn with_store(global: &Global, command: Command, how: Presentation) -> Result<(), Failure> {
    let dir = store_dir(global)?;
    let runtime = runtime()?;
    let outcome = match command {
        Command::Owner => owner::own(&runtime, &dir, global),
        Command::Mount(ref mount) if mount.background => keeper::background(&dir, global, how.json),
        command => runtime.block_on(client(global, &dir, command, how)),
    };
    // A thread that waits for stdin would keep the runtime for ever.
    runtime.shutdown_background();
    outcome
}

/// The store's folder: `--store`, `$POME_STORE`, else the XDG data folder.
fn store_dir(global: &Global) -> Result<PathBuf, Failure> {
    let absolute = |path: &Path| {
        std::path::absolute(path).map_err(|e| Failure::io(&path.display().to_string(), &e))
    };
    if let Some(dir) = &global.store {
        return absolute(dir);
    }
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let default = variable("XDG_DATA_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| Some(variable("HOME")?.join(".local/share")))
        .map(|data| data.join("pome"))
        .ok_or_else(|| {
            Failure::usage("no store: HOME is not set; say which with --store or POME_STORE")
        })?;
    match variable("SUDO_USER") {
        Some(user) if rustix::process::geteuid().is_root() && user.as_os_str() != "root" => {
            Err(Failure::usage(format!(
                "under sudo there are two stores: root's, {}, and that of {}; say which with --store or POME_STORE",
                default.display(),
                user.display(),
            )))
        }
        _ => Ok(default),
    }
}

impl Command {
    /// True when the command lives until it is told to end, as a client of the owner.
    pub(crate) fn is_long_lived(&self) -> bool {
        use super::args::DriveCommand;
        matches!(
            self,
            Self::Mount(_)
                | Self::Share(_)
                | Self::Seed(_)
                | Self::Dht(
                    DhtCommand::Node(_)
                        | DhtCommand::Testnet { .. }
                        | DhtCommand::Announce { live: true, .. }
                )
                | Self::Drive(DriveCommand::Watch { .. })
                | Self::Core(CoreCommand::Download { live: true, .. })
        )
    }

    /// Refuses peers where none is asked, and their absence where nothing can be done without.
    fn check_peers(&self, peers: &[String], reach: &Reach) -> Result<(), Failure> {
        let alone = peers.is_empty() && reach.is_none();
        match self {
            Self::Core(CoreCommand::Download { .. }) if alone => Err(Failure::usage(
                "from whom? `--peer HOST:PORT` names a peer that has it",
            )),
            Self::Share(share) if alone && share.listen.is_none() => Err(Failure::usage(
                "with whom? `--listen HOST:PORT` takes connections, `--peer HOST:PORT` names a peer",
            )),
            Self::Seed(_) if alone => {
                Err(Failure::usage("with whom? `--peer HOST:PORT` names a peer"))
            }
            _ if peers.is_empty() || self.asks_peers() => Ok(()),
            _ => Err(Failure::usage(NO_PEERS)),
        }
    }

    /// True when the command is about something by its key.
    fn names_a_key(&self) -> bool {
        use super::args::{BeeCommand as B, CoreCommand as C, DriveCommand as D};
        let is_key =
            |word: &String| PearLink::is_link(word) || word.parse::<pome_cores::Key>().is_ok();
        match self {
            Self::Drive(command) => match command {
                D::Ls { at, .. } | D::Put { at, .. } | D::Import { at, .. } => {
                    at.first().is_some_and(is_key)
                }
                D::Export { at, .. } | D::Diff { at, .. } => at.first().is_some_and(is_key),
                D::Get(path) | D::Rm(path) | D::Entry(path) => path.at.first().is_some_and(is_key),
                D::Pin(path) | D::Evict(path) | D::Prefetch(path) => {
                    path.at.first().is_some_and(is_key)
                }
                D::Mirror { a, b, .. } => is_key(a) || is_key(b),
                D::Create { .. } => false,
                D::Watch { drive }
                | D::History { drive }
                | D::Versions { drive }
                | D::Set { drive, .. }
                | D::Gc { drive }
                | D::Info { drive } => drive.as_ref().is_some_and(is_key),
            },
            Self::Core(command) => match command {
                C::Get { core, .. }
                | C::Info { core }
                | C::Clear { core, .. }
                | C::Download { core, .. }
                | C::Audit { core } => is_key(core),
                C::Create { .. } | C::Ls | C::Append { .. } | C::Truncate { .. } => false,
            },
            Self::Bee(command) => match command {
                B::Get { bee, .. }
                | B::Ls { bee, .. }
                | B::History { bee, .. }
                | B::Diff { bee, .. }
                | B::Info { bee } => is_key(bee),
                B::Put { .. } | B::Del { .. } | B::Batch { .. } => false,
            },
            Self::Seed(app) => PearLink::is_link(&app.channel),
            Self::Info(info) => PearLink::is_link(&info.app.channel),
            Self::Dump(_) => true,
            _ => false,
        }
    }

    /// True when the command may ask peers for what is not here.
    fn asks_peers(&self) -> bool {
        match self {
            Self::Mount(_) | Self::Drive(_) | Self::Bee(_) | Self::Share(_) => true,
            Self::Seed(_) | Self::Info(_) | Self::Dump(_) | Self::Flush { .. } => true,
            Self::Core(core) => !matches!(core, CoreCommand::Create { .. } | CoreCommand::Ls),
            _ => false,
        }
    }

    /// True when it makes sense where no store is yet: also when all comes from peers.
    fn makes_a_store(&self, context: &Context) -> bool {
        let alone = context.peers.is_empty() && context.reach.is_none();
        if !alone && self.asks_peers() && self.names_a_key() {
            return true;
        }
        use super::args::{BeeCommand as B, CoreCommand as C, DriveCommand as D};
        match self {
            Self::Mount(_) | Self::Owner | Self::Stage(_) | Self::Touch { .. } => true,
            Self::Drive(command) => matches!(command, D::Create { .. }),
            Self::Core(command) => matches!(
                command,
                C::Create { .. } | C::Append { .. } | C::Download { .. }
            ),
            Self::Bee(command) => matches!(command, B::Put { .. } | B::Batch { .. }),
            _ => false,
        }
    }
}

/// The owner's word to a client that speaks for another version.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

async fn client(
    global: &Global,
    dir: &Path,
    mut command: Command,
    how: Presentation,
) -> Result<(), Failure> {
    // In this order where both come from stdin: the key of the store, then the new one.
    let mut keys = Keys::of(global)?;
    keys::complete(&mut command)?;
    let context = context(global)?;
    command.check_peers(&context.peers, &context.reach)?;
    let patience = Duration::from_secs_f64(global.timeout);
    let mut deadline = Instant::now() + patience;
    let mut starting = None;
    loop {
        if let Some(socket) = owner::connect(dir).await? {
            if matches!(command, Command::Store(StoreCommand::Init { .. })) {
                return Err(exists(dir));
            }
            let mountpoint = match &command {
                Command::Unmount { mountpoint } => Some(context.cwd.join(mountpoint)),
                _ => None,
            };
            let request = Request {
                command: command.clone(),
                context: context.clone(),
            };
            // Who waits for a file in a mount waits for its deadline and no longer.
            let silence = match &command {
                Command::Mount(mount) => global.timeout.min(mount.deadline),
                _ => global.timeout,
            };
            let silence = Duration::from_secs_f64(silence).max(owner::SILENCE_MIN);
            let Some(outcome) = remote(socket, request, how, silence).await else {
                // It was about to end: the next one, or this process, does the work.
                in_time(dir, global, deadline)?;
                tokio::time::sleep(RETRY).await;
                continue;
            };
            // Not one of the owner's mounts, or the owner answers nobody: it may still be a dead one.
            return match (mountpoint, outcome) {
                (Some(path), Err(failure))
                    if matches!(&*failure.code, "NOT_MOUNTED" | "TIMED_OUT" | "OWNER_GONE") =>
                {
                    keeper::unmount(&path, how.json)
                }
                (_, outcome) => outcome,
            };
        }
        match &command {
            Command::Unmount { mountpoint } => {
                return keeper::unmount(&context.cwd.join(mountpoint), how.json);
            }
            Command::Status { path: None } => return present_status_without_owner(dir, how),
            command if command.is_long_lived() => {
                if starting.is_none() {
                    starting = Some(owner::Starting::new(dir, global, keys.get()?.as_ref())?);
                }
            }
            Command::Store(StoreCommand::Restore { dir: from }) => {
                let (from, to) = (context.cwd.join(from), dir.to_path_buf());
                return alone(context, how, async move |io| {
                    backup::restore(from, to, io).await
                })
                .await;
            }
            Command::Store(StoreCommand::Init { encrypt }) => {
                let service = init(dir, *encrypt, &mut keys)?;
                return local(service, Request { command, context }, how).await;
            }
            _ => match Service::open(dir, command.makes_a_store(&context), keys.get()?) {
                Ok(service) => return local(service, Request { command, context }, how).await,
                Err(failure) if failure.code == "LOCKED" => {}
                Err(failure) if keys.ask(&failure, dir)? => {
                    deadline = Instant::now() + patience;
                    continue;
                }
                Err(failure) => return Err(failure),
            },
        }
        in_time(dir, global, deadline)?;
        let has_ended = starting.as_ref().is_some_and(owner::Starting::has_ended);
        if let Some(failure) = starting.as_ref().and_then(owner::Starting::failure) {
            if !keys.ask(&failure, dir)? {
                return Err(failure);
            }
            deadline = Instant::now() + patience;
            starting = None;
            continue;
        }
        if has_ended {
            starting = None;
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn exists(dir: &Path) -> Failure {
    Failure::new(
        "STORE_EXISTS",
        format!("there is a store in {} already", dir.display()),
    )
}

/// Makes a store where there is none.
fn init(dir: &Path, encrypt: bool, keys: &mut Keys) -> Result<Service, Failure> {
    let mut options = pome_storage::Options::default();
    options.create = false;
    options.read_only = true;
    match pome_storage::Store::open(dir, options).map(|store| store.close()) {
        Err(e) if e.code() == "NOT_A_STORE" => {}
        Err(e) if !matches!(e.code(), "KEY_NEEDED" | "LOCKED") => return Err(e.into()),
        Ok(_) | Err(_) => return Err(exists(dir)),
    }
    let key = match encrypt {
        true => Some(keys.get_new()?),
        false if keys.is_given() => {
            return Err(Failure::usage(
                "a key was given for a store that would not be encrypted; add --encrypt",
            ));
        }
        false => None,
    };
    Service::open(dir, true, key)
}

fn in_time(dir: &Path, global: &Global, deadline: Instant) -> Result<(), Failure> {
    if Instant::now() < deadline {
        return Ok(());
    }
    Err(Failure::timed_out(format!(
        "the store {} is in use by a process that does not answer; it was tried for {} s",
        dir.display(),
        global.timeout,
    )))
}

/// Does work that needs no open store in this process.
pub(crate) async fn alone(
    context: Context,
    how: Presentation,
    work: impl AsyncFnOnce(&mut Io) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (to_client, frames) = mpsc::channel(64);
    let (to_work, from_client) = mpsc::channel(16);
    let run = async {
        let mut io = Io::new(context, to_client.clone(), from_client);
        let done = work(&mut io).await;
        let _ = to_client.send(WorkFrame::Exit(done.err())).await;
    };
    let (outcome, ()) = tokio::join!(present::present(frames, to_work, how), run);
    outcome
}

/// Does the work in this process.
async fn local(service: Service, request: Request, how: Presentation) -> Result<(), Failure> {
    let (to_client, work) = mpsc::channel(64);
    let (to_work, from_client) = mpsc::channel(16);
    let task = tokio::spawn(async move {
        let io = Io::new(request.context.clone(), to_client.clone(), from_client);
        let done = command::execute(&service, request.command, io).await;
        let closed = service.close().await;
        let _ = to_client
            .send(WorkFrame::Exit(done.and(closed).err()))
            .await;
    });
    let outcome = present::present(work, to_work, how).await;
    match task.await {
        Ok(()) => outcome,
        Err(error) => Err(Failure::new(
            "PANIC",
            format!("the command broke off: {error}"),
        )),
    }
}

/// Has the owner do the work; `None` when it has ended without taking the request. One that says nothing for `silence` is given up.
async fn remote(
    socket: UnixStream,
    request: Request,
    how: Presentation,
    silence: Duration,
) -> Option<Result<(), Failure>> {
    let (mut from_owner, to_owner) = socket.into_split();
    match tokio::time::timeout(silence, WorkFrame::read(&mut from_owner)).await {
        Ok(Ok(Some(WorkFrame::Exit(Some(failure))))) => return Some(Err(failure)),
        Ok(Ok(Some(_))) => {}
        Ok(Ok(None) | Err(_)) => return None,
        Err(_) => return Some(Err(silent(silence))),
    }
    Some(converse(from_owner, to_owner, request, how, silence).await)
}

fn silent(silence: Duration) -> Failure {
    Failure::timed_out(format!(
        "the owner of the store has not answered for {} s",
        silence.as_secs_f64()
    ))
}

async fn converse(
    mut from_owner: OwnedReadHalf,
    mut to_owner: OwnedWriteHalf,
    request: Request,
    how: Presentation,
    silence: Duration,
) -> Result<(), Failure> {
    let (to_work, mut from_client) = mpsc::channel(16);
    let (to_client, work) = mpsc::channel(64);
    ClientFrame::Request(Box::new(request))
        .write(&mut to_owner)
        .await
        .map_err(|e| Failure::io("the owner of the store", &e))?;
    tokio::spawn(async move {
        while let Some(frame) = from_client.recv().await {
            if ClientFrame::write(&frame, &mut to_owner).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        loop {
            let frame = match tokio::time::timeout(silence, WorkFrame::read(&mut from_owner)).await
            {
                Ok(Ok(Some(WorkFrame::Alive))) => continue,
                Ok(Ok(Some(frame))) => frame,
                // A broken socket reads as its end: the owner is gone.
                Ok(Ok(None) | Err(_)) => return,
                Err(_) => WorkFrame::Exit(Some(silent(silence))),
            };
            if to_client.send(frame).await.is_err() {
                return;
            }
        }
    });
    present::present(work, to_work, how).await
}

fn present_status_without_owner(dir: &Path, how: Presentation) -> Result<(), Failure> {
    match how.json {
        true => present::line(serde_json::json!({
            "store": path_json(dir),
            "owner": null,
            "peers": 0,
            "mounts": [],
        })),
        false => present::line(format_args!(
            "nobody owns {}; nothing is mounted",
            dir.display()
        )),
    }
}
