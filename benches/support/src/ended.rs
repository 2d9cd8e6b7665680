//! Processes that are to end.

use rustix::process::{Pid, Signal, kill_process};
use std::{
    io,
    process::{Child, ExitStatus},
    time::{Duration, Instant},
};

/// What one that is asked to end may take for it.
const GRACE: Duration = Duration::from_secs(5);

/// How a process ended by itself; `None` when it still runs after `patience`.
///
/// # Errors
/// When it cannot be waited for.
pub fn ended(child: &mut Child, patience: Duration) -> io::Result<Option<ExitStatus>> {
    let began = Instant::now();
    loop {
        match child.try_wait()? {
            None if began.elapsed() < patience => std::thread::sleep(Duration::from_millis(2)),
            status => return Ok(status),
        }
    }
}

/// Has a process end: asks it to, so that it can tidy up, and kills it when it does not.
pub fn end(child: &mut Child) {
    // One that was waited for may be somebody else by now.
    if matches!(child.try_wait(), Ok(None)) {
        let _ = kill_process(Pid::from_child(child), Signal::TERM);
    }
    if !matches!(ended(child, GRACE), Ok(Some(_))) {
        let _ = child.kill();
        let _ = child.wait();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics says where")]
mod tests {
    use super::*;
    use std::{os::unix::process::ExitStatusExt, process::Command};

    #[test]
    fn who_runs_on_is_asked_to_end() {
        let mut sleeps = Command::new("sleep").arg("600").spawn().unwrap();
        assert_eq!(ended(&mut sleeps, Duration::from_millis(20)).unwrap(), None);
        end(&mut sleeps);
        let status = ended(&mut sleeps, Duration::ZERO).unwrap().unwrap();
        assert_eq!(status.signal(), Some(Signal::TERM.as_raw()));
        let mut ends = Command::new("true").spawn().unwrap();
        let status = ended(&mut ends, Duration::from_secs(60)).unwrap();
        assert!(status.unwrap().success());
    }
}
