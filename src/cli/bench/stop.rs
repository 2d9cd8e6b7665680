//! Ctrl-C: what runs is ended, and what was made goes, before this process ends.

use super::Failure;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{SignalKind, signal};

static STOPPED: AtomicBool = AtomicBool::new(false);

/// From now on SIGINT, SIGTERM and SIGHUP end nothing: they are noted in what is returned.
pub(super) fn listen() -> Result<&'static AtomicBool, Failure> {
    let io = |error| Failure::io("cannot listen for signals", &error);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(io)?;
    let open = |kind| {
        let _entered = runtime.enter();
        signal(kind).map_err(io)
    };
    let mut interrupt = open(SignalKind::interrupt())?;
    let mut terminate = open(SignalKind::terminate())?;
    let mut hangup = open(SignalKind::hangup())?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        });
        STOPPED.store(true, Ordering::Relaxed);
    });
    Ok(&STOPPED)
}

/// How it ends then.
pub(super) fn stopped() -> Failure {
    Failure::new(
        "BENCH_FAILED",
        "it was stopped; the report has the rounds that were whole",
    )
}
