//! The client's side: shows what comes from the work, feeds it stdin and signals, and keeps the mounts that were made for it.

use super::{
    failure::Failure,
    frame::{ClientFrame, WorkFrame},
    keeper,
};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    collections::BTreeSet,
    io::{IsTerminal, Read, Write},
    path::PathBuf,
};
use tokio::sync::mpsc;

/// What the client knows of its own command.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Presentation {
    pub(crate) json: bool,
    /// Nothing is said on stderr but errors.
    pub(crate) quiet: bool,
    /// Ctrl-C asks the work to end, instead of ending this process at once.
    pub(crate) stoppable: bool,
}

/// Shows the work until it ends. The failure, if any, has not been printed yet.
pub(crate) async fn present(
    mut work: mpsc::Receiver<WorkFrame>,
    to_work: mpsc::Sender<ClientFrame>,
    how: Presentation,
) -> Result<(), Failure> {
    let mut kept = BTreeSet::new();
    let mut bar: Option<ProgressBar> = None;
    let mut signals = if how.stoppable {
        Some(Signals::new()?)
    } else {
        None
    };
    let (unread, mut stdin_failed) = mpsc::channel(1);
    let outcome = loop {
        let frame = tokio::select! {
            frame = work.recv() => frame,
            Some(failure) = stdin_failed.recv() => break Err(abandoned(&kept, failure)),
            () = wait(&mut signals) => {
                // The work may have ended meanwhile; then its last frame is on its way.
                let _ = to_work.try_send(ClientFrame::Stop);
                continue;
            }
        };
        match frame {
            Some(WorkFrame::Stdout(bytes)) => {
                if let Some(bar) = &bar {
                    bar.suspend(|| print(&bytes, &kept))?;
                } else {
                    print(&bytes, &kept)?;
                }
            }
            Some(WorkFrame::Stderr(_)) if how.quiet => {}
            Some(WorkFrame::Stderr(bytes)) => {
                // A closed stderr loses words, no work.
                let _ = std::io::stderr().write_all(&bytes);
            }
            Some(WorkFrame::WantStdin) => feed(to_work.clone(), unread.clone()),
            Some(WorkFrame::Progress(progress)) => {
                let bar = bar.get_or_insert_with(|| new_bar(&progress.unit));
                bar.set_length(progress.total);
                bar.set_position(progress.done);
            }
            Some(WorkFrame::Keep(mountpoint)) => {
                kept.insert(mountpoint);
            }
            Some(WorkFrame::Unkeep(mountpoint)) => {
                kept.remove(&mountpoint);
            }
            Some(WorkFrame::Alive) => {}
            Some(WorkFrame::Exit(None)) => break Ok(()),
            Some(WorkFrame::Exit(Some(failure))) => break Err(abandoned(&kept, failure)),
            None => {
                let failure =
                    Failure::new("OWNER_GONE", "the owner of the store ended without a word");
                break Err(abandoned(&kept, failure));
            }
        }
    };
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    outcome
}

/// Nobody serves the mounts that are still kept: take them down, so that nobody hangs on them.
fn abandoned(kept: &BTreeSet<PathBuf>, failure: Failure) -> Failure {
    if kept.is_empty() {
        return failure;
    }
    let mut message = failure.message;
    for mountpoint in kept {
        match keeper::take_down(mountpoint) {
            Ok(how) => {
                message.push_str(&format!("; {} was unmounted ({how})", mountpoint.display()))
            }
            Err(error) => message.push_str(&format!(
                "; {} could not be unmounted: {}",
                mountpoint.display(),
                error.message
            )),
        }
    }
    message.push_str("; every write that was answered is in the store: run the command again");
    Failure { message, ..failure }
}

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let open = |kind| signal(kind).map_err(|e| Failure::io("cannot listen for signals", &e));
        Ok(Self {
            interrupt: open(SignalKind::interrupt())?,
            terminate: open(SignalKind::terminate())?,
        })
    }
}

async fn wait(signals: &mut Option<Signals>) {
    match signals {
        Some(signals) => {
            tokio::select! {
                _ = signals.interrupt.recv() => {}
                _ = signals.terminate.recv() => {}
            }
        }
        None => std::future::pending().await,
    }
}

/// Writes results. A pipe that nobody reads any more is no error: there is just nothing left to do, except to keep mounts.
fn print(bytes: &[u8], kept: &BTreeSet<PathBuf>) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {
            if kept.is_empty() {
                std::process::exit(0)
            }
            Ok(())
        }
        Err(e) => Err(Failure::io("cannot write to stdout", &e)),
    }
}

/// One result of a command that nobody works for but this process. A closed pipe is no error.
pub(crate) fn line(text: impl std::fmt::Display) -> Result<(), Failure> {
    print(format!("{text}\n").as_bytes(), &BTreeSet::new())
}

/// Reads stdin in a thread of its own: a read cannot be cancelled, and must not keep the process. What cannot be read is no end of it: the work is not to
/// take what came for all there is.
fn feed(to_work: mpsc::Sender<ClientFrame>, unread: mpsc::Sender<Failure>) {
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut buffer = vec![0; 256 << 10];
        loop {
            match stdin.read(&mut buffer) {
                Ok(0) => {
                    let _ = to_work.blocking_send(ClientFrame::StdinEnd);
                    return;
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => {
                    let _ = unread.blocking_send(Failure::io("stdin", &e));
                    return;
                }
                Ok(n) => {
                    let piece = bytes::Bytes::copy_from_slice(&buffer[..n]);
                    if to_work.blocking_send(ClientFrame::Stdin(piece)).is_err() {
                        return;
                    }
                }
            }
        }
    });
}

fn new_bar(unit: &str) -> ProgressBar {
    let template = match unit {
        "bytes" => "{bar:40} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}",
        _ => "{bar:40} {human_pos}/{human_len} {unit} {eta}",
    };
    let style = ProgressStyle::with_template(&template.replace("{unit}", unit));
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// True when a progress bar has somebody to look at it.
pub(crate) fn wants_progress(quiet: bool) -> bool {
    !quiet && std::io::stderr().is_terminal()
}

/// Prints how a command failed, in the words that were asked for.
pub(crate) fn report(failure: &Failure, how: Presentation) {
    if failure.code == "GONE" {
        return;
    }
    if how.json {
        // Nobody may be left to read it; the exit status still says it.
        let _ = writeln!(std::io::stdout(), "{}", failure.to_json());
    } else {
        let _ = writeln!(std::io::stderr(), "pome: {}", failure.message);
    }
}
