//! `pome run`: a program for Bare or an app for Pear, in this process. It does not look at the user's store: an app has a folder of its own, and what comes
//! of its drive has a store of its own.

use super::{
    app::{
        args::{RunArgs, Version},
        machine,
    },
    args::Global,
    drive,
    failure::Failure,
    peers::Peers,
    present::Presentation,
    run,
    service::Service,
};
use pome_runtime::{
    AppDrive, AppDriveError, AppHome, Checkout, Options, PearLink, PearOptions, Permissions,
    Runtime,
};
use std::{
    io::{BufRead, IsTerminal, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

/// What is still being said to peers may take so long when the program has ended.
const GOOD_BYE: Duration = Duration::from_secs(2);

impl From<AppDriveError> for Failure {
    fn from(error: AppDriveError) -> Self {
        match &error {
            AppDriveError::TooLarge { .. } => Self::new("FILE_TOO_LARGE", error.to_string()),
            _ => Self::chain(error.code(), &error),
        }
    }
}

/// Runs the program to its end. Ends the process with SIGABRT where nobody caught an error, as Bare does.
///
/// # Errors
/// When it does not get so far.
pub(crate) fn run(
    mut args: RunArgs,
    global: &Global,
    how: Presentation,
) -> Result<ExitCode, Failure> {
    let has_script = args.eval.is_some() || args.print.is_some();
    let link = args.app.first().filter(|_| !has_script);
    let Some(link) = link.filter(|file| PearLink::is_link(file)) else {
        return run_here(args);
    };
    let link = link.parse()?;
    let mut options = options(&args);
    options.args = args.app.drain(..).skip(1).collect();
    from_key(&link, &args, options, (global, how))
}

/// What was said of any program.
fn options(args: &RunArgs) -> Options {
    let mut options = Options::default();
    options.memory_limit = args
        .memory_limit
        .map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    options.npm = args.npm;
    options
}

/// As [`run`], of a program on this disk, which asks nothing of what all words have.
///
/// # Errors
/// When it does not get so far.
pub(crate) fn run_here(mut args: RunArgs) -> Result<ExitCode, Failure> {
    let mut options = options(&args);
    let script = match (args.eval.take(), args.print.take()) {
        (Some(source), _) => Some((source, false)),
        (None, Some(source)) => Some((source, true)),
        (None, None) => None,
    };
    let mut app = std::mem::take(&mut args.app).into_iter();
    let file = match script {
        Some(_) => None,
        None => app.next(),
    };
    options.args = app.collect();
    let mut file = file;
    if let Some(file) = &mut file {
        let pear = PearOptions::find(Path::new(file), &options.args, storage(&args)?);
        let pear =
            pear.map_err(|error| Failure::io(&format!("{file}: what the app keeps"), &error));
        options.pear = pear?;
        if let Some(app) = &mut options.pear {
            prepare(app, &args)?;
        }
        if let Some(app) = options.pear.as_ref().filter(|_| Path::new(file).is_dir()) {
            // Pear has a word of its own for the file of a folder.
            *file = app.entry();
        }
    }
    let runtime = Runtime::new(options);
    let exit = match (script, file) {
        (Some((source, print)), _) => runtime.eval(&source, print),
        (None, Some(file)) => runtime.run_file(Path::new(&file)),
        (None, None) => runtime.repl(),
    };
    Ok(exit.into_exit_code())
}

/// What a person says of an app's run.
fn prepare(app: &mut PearOptions, args: &RunArgs) -> Result<(), Failure> {
    app.dev = args.dev;
    app.updates = !args.no_updates;
    app.links = args.links.iter().cloned().collect();
    if args.unsafe_clear_app_storage {
        let cleared = app.clear_storage();
        cleared.map_err(|error| Failure::io("what the app keeps", &error))?;
    }
    Ok(())
}

/// The folder for what the app keeps, where it is not its own.
fn storage(args: &RunArgs) -> Result<Option<PathBuf>, Failure> {
    match args.tmp_store {
        true => PearOptions::temporary_storage()
            .map(Some)
            .map_err(|error| Failure::io("a folder for this run", &error)),
        false => Ok(args.app_storage.clone()),
    }
}

/// An app that is ready to run, and what it is read from.
struct Opened {
    service: Service,
    drive: AppDrive,
    peers: Peers,
}

/// Runs the app that a link names, straight from its drive.
fn from_key(
    link: &PearLink,
    args: &RunArgs,
    mut options: Options,
    (global, how): (&Global, Presentation),
) -> Result<ExitCode, Failure> {
    let home = machine::home()?;
    ask(link, args, &home)?;
    let tasks = run::runtime()?;
    let opened = tasks.block_on(open(link, args, &home, (global, how)))?;
    let app = PearOptions::from_drive(
        opened.drive.clone(),
        link,
        options.args.clone(),
        storage(args)?,
    );
    let mut app = app.map_err(|error| Failure::io("what the app keeps", &error))?;
    prepare(&mut app, args)?;
    options.permissions = permissions(args, &app.storage);
    let entry = app.entry();
    options.pear = Some(app);
    let exit = Runtime::new(options).run_file(Path::new(&entry));
    let Opened { service, peers, .. } = opened;
    let closed = tasks.block_on(async {
        drop(peers);
        tokio::time::timeout(GOOD_BYE, service.close()).await
    });
    if let Ok(Err(failure)) = closed {
        tracing::warn!(failure.message, "the app's drive was not closed well");
    }
    tasks.shutdown_background();
    Ok(exit.into_exit_code())
}

/// What an app from a key may reach: its own folder and the swarm, and what it is allowed besides.
fn permissions(args: &RunArgs, storage: &Path) -> Permissions {
    let mut may = Permissions::nothing().with_folder(storage);
    for folder in &args.allow_fs {
        may = match folder.as_os_str() == "/" {
            true => may.with_files(),
            false => may.with_folder(folder),
        };
    }
    if args.allow_net {
        may = may.with_sockets();
    }
    if args.allow_run {
        may = may.with_processes();
    }
    if args.allow_env {
        may = may.with_environment();
    }
    may
}

/// Has a person say that an app may run that never ran here.
fn ask(link: &PearLink, args: &RunArgs, home: &AppHome) -> Result<(), Failure> {
    let kept = |error: std::io::Error| Failure::io("the folder of apps", &error);
    if home.is_trusted(&link.key).map_err(kept)? {
        return Ok(());
    }
    if !args.trust {
        let may_ask = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        if args.no_ask || !may_ask {
            let origin = link.origin();
            let message = format!("{origin} never ran here; --trust lets it run, from now on");
            return Err(Failure::new("ERR_PERMISSION_REQUIRED", message));
        }
        eprintln!(
            "{} never ran here. Whoever has its key may change what it does.\nIt gets its own folder and the swarm{}.",
            link.origin(),
            allowed(args)
        );
        eprint!("Type TRUST to let it run, from now on: ");
        let _ = std::io::stderr().flush();
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line);
        read.map_err(|error| Failure::io("stdin", &error))?;
        if line.trim() != "TRUST" {
            let message = format!("{} was not trusted", link.origin());
            return Err(Failure::new("ERR_PERMISSION_REQUIRED", message));
        }
    }
    home.trust(&link.key).map_err(kept)
}

/// What an app is allowed besides, in words.
fn allowed(args: &RunArgs) -> String {
    let mut words = String::new();
    for folder in &args.allow_fs {
        words.push_str(&format!(", {}", folder.display()));
    }
    for (is_allowed, what) in [
        (args.allow_net, ", any address"),
        (args.allow_run, ", any program"),
        (args.allow_env, ", the environment"),
    ] {
        if is_allowed {
            words.push_str(what);
        }
    }
    words
}

/// Brings the app's drive up to date, in a store that no other process has.
async fn open(
    link: &PearLink,
    args: &RunArgs,
    home: &AppHome,
    (global, how): (&Global, Presentation),
) -> Result<Opened, Failure> {
    let service = store(link, home)?;
    let context = run::context(global)?;
    let patience = Duration::from_secs_f64(global.timeout);
    let checkout = match (args.checkout, link.length) {
        (Some(Version::Length(length)), _) | (None, Some(length)) => Checkout::Length(length),
        (Some(Version::Staged), _) => Checkout::Staged,
        (Some(Version::Release) | None, _) => Checkout::Release,
    };
    let key = link.key.to_string();
    let mut opened = None;
    let work = async |io: &mut super::io::Io| {
        let (_, drive, peers) = drive::open(&service, Some(&key), io).await?;
        if drive.core().length() == 0 {
            return Err(Failure::not_found(format!("{} is empty", link.origin())));
        }
        if args.checkout.is_none() {
            drive::check_fork(&drive, link.fork)?;
        }
        let drive = AppDrive::open(drive, checkout, patience).await?;
        opened = Some((drive, peers));
        Ok(())
    };
    run::alone(context, how, work).await?;
    match opened {
        Some((drive, peers)) => Ok(Opened {
            service,
            drive,
            peers,
        }),
        None => Err(Failure::new("PANIC", "the app was not opened")),
    }
}

/// The first store for the app's drive that no other process has.
fn store(link: &PearLink, home: &AppHome) -> Result<Service, Failure> {
    let mut last = None;
    for folder in home.drives(&link.key) {
        match Service::open(&folder, true, None) {
            Ok(service) => return Ok(service),
            Err(failure) if failure.code == "LOCKED" => last = Some(failure),
            Err(failure) => return Err(failure),
        }
    }
    Err(last.unwrap_or_else(|| Failure::not_found("no folder for the app's drive")))
}
