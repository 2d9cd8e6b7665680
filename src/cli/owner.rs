//! The owner: the one process that has the store open while long-lived commands run. Commands reach it over a Unix socket in the store's folder.

use super::{
    args::Global,
    command,
    failure::Failure,
    frame::{ClientFrame, WorkFrame},
    io::Io,
    keys::{self, Keys},
    run::{VERSION, log_filter},
    service::Service,
};
use pome_storage::Key;
use rustix::fs::{MemfdFlags, Mode, OFlags};
use std::{
    fs::File,
    os::{
        fd::AsRawFd,
        unix::{fs::FileExt, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    net::{UnixListener, UnixStream},
    runtime::Runtime,
    sync::mpsc,
    task::JoinSet,
};

const SOCKET: &str = "owner.sock";
/// What the owner has to say where nobody listens; made anew at each start.
const LOG: &str = "owner.log";
/// How long an owner waits for its first client.
const FIRST_CLIENT: Duration = Duration::from_secs(10);
/// How often an owner tells each client that it lives.
const ALIVE_EVERY: Duration = Duration::from_secs(1);
/// The shortest silence after which a client gives the owner up.
pub(crate) const SILENCE_MIN: Duration = Duration::from_secs(3);
/// How long an owner that was told to end waits for its clients to hear of it.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// The socket's path, through a descriptor of the folder: a Unix socket's name holds 108 bytes at most, a folder's more.
fn short_path(dir: &Path) -> Result<(rustix::fd::OwnedFd, PathBuf), std::io::Error> {
    let folder = rustix::fs::open(
        dir,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd()));
    Ok((folder, path))
}

/// Reaches the owner of the store in `dir`; `None` when there is none.
pub(crate) async fn connect(dir: &Path) -> Result<Option<UnixStream>, Failure> {
    use std::io::ErrorKind::{ConnectionRefused, ConnectionReset, NotADirectory, NotFound};
    let connected = match short_path(dir) {
        Ok((_folder, path)) => UnixStream::connect(path).await,
        Err(e) => Err(e),
    };
    match connected {
        Ok(socket) => Ok(Some(socket)),
        // Reset: it stopped listening before it had taken this client.
        Err(e)
            if matches!(
                e.kind(),
                NotFound | ConnectionRefused | ConnectionReset | NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(e) => Err(Failure::io(
            &format!("cannot reach the owner of {}", dir.display()),
            &e,
        )),
    }
}

/// A file that has no name, for what a process in the background has to say on stderr: it keeps nobody's pipe open.
pub(crate) fn nameless() -> Result<File, std::io::Error> {
    Ok(File::from(rustix::fs::memfd_create(
        "pome-stderr",
        MemfdFlags::CLOEXEC,
    )?))
}

/// What was written into such a file, its first 64 KiB.
pub(crate) fn words_in(file: &File) -> String {
    let mut words = vec![0; 64 << 10];
    let n = file.read_at(&mut words, 0).unwrap_or_default();
    words.truncate(n);
    String::from_utf8_lossy(&words).into_owned()
}

/// An owner that was started and has not been reached yet.
pub(crate) struct Starting {
    /// Its stderr.
    last_words: File,
    ended: Arc<AtomicBool>,
}

impl Starting {
    /// Starts an owner in the background; it gets the key through a pipe.
    pub(crate) fn new(dir: &Path, global: &Global, key: Option<&Key>) -> Result<Self, Failure> {
        let error = |what: &str, e: &std::io::Error| {
            Failure::io(
                &format!("cannot start the owner of {}: {what}", dir.display()),
                e,
            )
        };
        let exe = std::env::current_exe().map_err(|e| error("its program", &e))?;
        let last_words = nameless().map_err(|e| error("memory", &e))?;
        let stderr = last_words.try_clone().map_err(|e| error("memory", &e))?;
        let mut command = std::process::Command::new(exe);
        command.arg0("pome").arg("owner").arg("--store").arg(dir);
        command.arg("--key-from-stdin");
        command.args(std::iter::repeat_n("-v", usize::from(global.verbose)));
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(stderr);
        // Each thread of a mount has a buffer of 16 MiB. Once one was freed, glibc takes the next from its own pages, fills it with zeros and keeps it for ever.
        for (name, bytes) in [
            ("MALLOC_MMAP_THRESHOLD_", 8 << 20),
            ("MALLOC_TRIM_THRESHOLD_", 16 << 20),
        ] {
            if std::env::var_os(name).is_none() {
                command.env(name, bytes.to_string());
            }
        }
        command.current_dir("/");
        let mut child = command.spawn().map_err(|e| error("its process", &e))?;
        if let Some(pipe) = child.stdin.take() {
            // One that is already gone says why on stderr.
            let _ = keys::hand_over(key, pipe);
        }
        let ended = Arc::new(AtomicBool::new(false));
        let tell = ended.clone();
        // Reaped here; it outlives this process, if need be.
        std::thread::spawn(move || {
            let _ = child.wait();
            tell.store(true, Ordering::Release);
        });
        Ok(Self { last_words, ended })
    }

    /// True when it is no more: others may have been all the clients that it had.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Why it could not open the store, if that is how it ended.
    pub(crate) fn failure(&self) -> Option<Failure> {
        let words = words_in(&self.last_words);
        let line = words
            .lines()
            .rev()
            .find_map(|line| line.strip_prefix("failure: "))?;
        serde_json::from_str(line).ok()
    }
}

/// The owner's whole life.
pub(crate) fn own(runtime: &Runtime, dir: &Path, global: &Global) -> Result<(), Failure> {
    // Not in its client's: the kernel would hang up on it, if it were stopped when that client ends. Failing means that it leads a process group,
    // as where it was started by hand.
    let _ = rustix::process::setsid();
    runtime.block_on(serve(dir, global)).inspect_err(|failure| {
        if let Ok(line) = serde_json::to_string(failure) {
            eprintln!("failure: {line}");
        }
    })
}

/// From here on, what it has to say goes into the store's folder.
fn log_to_folder(dir: &Path, global: &Global) -> Result<(), Failure> {
    let path = dir.join(LOG);
    let mut options = File::options();
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .map_err(|e| Failure::io(&path.display().to_string(), &e))?;
    let filter = log_filter(global);
    // A second subscriber cannot be there: the owner's process installs no other.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(Mutex::new(file))
        .try_init();
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    Ok(())
}

async fn open(dir: &Path, patience: Duration, key: Option<Key>) -> Result<Service, Failure> {
    let deadline = Instant::now() + patience;
    loop {
        match Service::open(dir, true, key.clone()) {
            Err(failure) if failure.code == "LOCKED" && Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            outcome => return outcome,
        }
    }
}

async fn serve(dir: &Path, global: &Global) -> Result<(), Failure> {
    let key = Keys::of(global)?.get()?;
    let service = Arc::new(open(dir, Duration::from_secs_f64(global.timeout), key).await?);
    log_to_folder(dir, global)?;
    // The store's lock is ours, so a socket that lies here is nobody's.
    let _ = std::fs::remove_file(dir.join(SOCKET));
    let io = |e: &std::io::Error| Failure::io(&format!("cannot listen in {}", dir.display()), e);
    let (folder, path) = short_path(dir).map_err(|e| io(&e))?;
    let mask = rustix::process::umask(Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(&path);
    rustix::process::umask(mask);
    let listener = listener.map_err(|e| io(&e))?;
    drop(folder);

    let mut clients = JoinSet::new();
    let mut had_a_client = false;
    let mut told_to_end = false;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(|e| io(&e))?;
    loop {
        let idle = clients.is_empty();
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    had_a_client = true;
                    clients.spawn(client(service.clone(), socket));
                }
                Err(error) => {
                    tracing::error!(%error, "cannot accept a client");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = clients.join_next(), if !idle => {
                if clients.is_empty() {
                    break;
                }
            }
            _ = terminate.recv() => {
                told_to_end = true;
                break;
            }
            () = tokio::time::sleep(FIRST_CLIENT), if !had_a_client => break,
        }
    }
    // New clients start an owner of their own, which waits for the lock.
    let _ = std::fs::remove_file(dir.join(SOCKET));
    drop(listener);
    if told_to_end {
        service.mounts.unmount_all().await;
        let said = async { while clients.join_next().await.is_some() {} };
        // Who is still at work then reads the end of the connection.
        let _ = tokio::time::timeout(LAST_WORDS, said).await;
    }
    clients.shutdown().await;
    service.close().await
}

/// One client, from its request to its end.
async fn client(service: Arc<Service>, socket: UnixStream) {
    let (mut from_client, mut to_client) = socket.into_split();
    // A client that does not read this has asked for nothing yet, and may go elsewhere.
    if WorkFrame::Alive.write(&mut to_client).await.is_err() {
        return;
    }
    let request = match ClientFrame::read(&mut from_client).await {
        Ok(Some(ClientFrame::Request(request))) => *request,
        Ok(_) => return,
        Err(error) => {
            tracing::warn!(%error, "a client that does not speak the protocol");
            let failure = Failure::new("PROTOCOL", error.to_string());
            let _ = WorkFrame::Exit(Some(failure)).write(&mut to_client).await;
            return;
        }
    };
    if request.context.version != VERSION {
        let failure = Failure::new(
            "OTHER_VERSION",
            format!(
                "the owner of the store is pome {VERSION}, this is pome {}; end its mounts (pome unmount) and try again",
                request.context.version
            ),
        );
        let _ = WorkFrame::Exit(Some(failure)).write(&mut to_client).await;
        return;
    }
    let (work, mut frames) = mpsc::channel::<WorkFrame>(64);
    let (forward, inbox) = mpsc::channel(16);
    let mut writer = tokio::spawn(async move {
        while let Some(frame) = frames.recv().await {
            if frame.write(&mut to_client).await.is_err() {
                return;
            }
        }
    });
    let alive = work.downgrade();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(ALIVE_EVERY).await;
            let Some(work) = alive.upgrade() else { return };
            // Where there is no room, the client has other frames to read.
            let _ = work.try_send(WorkFrame::Alive);
        }
    });
    let reader = tokio::spawn(async move {
        while let Ok(Some(frame)) = ClientFrame::read(&mut from_client).await {
            if forward.send(frame).await.is_err() {
                return;
            }
        }
        // Dropping `forward` tells the work that its client has left.
    });
    let long_lived = request.command.is_long_lived();
    let job = {
        let io = Io::new(request.context.clone(), work.clone(), inbox);
        let service = service.clone();
        tokio::spawn(async move { command::execute(&service, request.command, io).await })
    };
    let abort = job.abort_handle();
    let mut job = job;
    let (done, left) = tokio::select! {
        done = &mut job => (done, false),
        // A short command whose client has left is not worth finishing; a mount ends by itself, in order.
        _ = &mut writer, if !long_lived => {
            abort.abort();
            (job.await, true)
        }
    };
    let failure = match done {
        Ok(outcome) => outcome.err(),
        Err(error) if error.is_cancelled() => None,
        Err(error) => {
            tracing::error!(%error, "a command broke off");
            Some(Failure::new(
                "PANIC",
                format!("the command broke off: {error}"),
            ))
        }
    };
    if !left {
        // The writer ends when all that was sent has been written, or nobody reads it.
        let _ = work.send(WorkFrame::Exit(failure)).await;
        drop(work);
        let _ = writer.await;
    }
    reader.abort();
}
