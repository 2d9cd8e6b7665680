//! A run in a process of its own that is watched.

use crate::{
    ended,
    mounts::unmount_below,
    used::{Counters, Used},
    worker::Done,
};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

/// How a run fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// It could not be started.
    #[error("cannot start {command}: {source}")]
    Start {
        /// What was to be run.
        command: String,
        /// Why not.
        source: io::Error,
    },
    /// It ended before it had said what it had to say; `said` is what it complained of.
    #[error("{command} ended early: {said}")]
    Ended {
        /// What was run.
        command: String,
        /// The last lines of its stderr.
        said: String,
    },
    /// It said nothing for so long.
    #[error("{command} took more than {} s", patience.as_secs())]
    Late {
        /// What was run.
        command: String,
        /// How long it was waited for.
        patience: Duration,
    },
    /// It said something else than was expected.
    #[error("{command} said {line:?}")]
    Strange {
        /// What was run.
        command: String,
        /// What it said.
        line: String,
    },
    /// Nobody wants it any more.
    #[error("{command} was ended before it was done")]
    Stopped {
        /// What was run.
        command: String,
    },
}

/// How soon is seen that a run is to stop.
const LOOK: Duration = Duration::from_millis(100);

/// Ends the process, those that it has started, and what they have mounted in its folder, however the run ends.
struct Ended<'a> {
    child: Child,
    folder: &'a Path,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        // When it has ended by itself, so have those that it started: their stdin has ended.
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        loop {
            // It does not end before what it asks of its own mount has failed.
            unmount_below(self.folder);
            if !matches!(ended(&mut self.child, LOOK), Ok(None)) {
                return;
            }
        }
    }
}

/// The words of a command, as a person could type them.
pub fn words(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words
        .map(|word| {
            let word = word.to_string_lossy();
            match word
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_./=:,@+".contains(c))
            {
                true if !word.is_empty() => word.into_owned(),
                _ => format!("'{}'", word.replace('\'', "'\\''")),
            }
        })
        .collect();
    words.join(" ")
}

/// Runs a [`Worker`](crate::Worker), which may take `patience` for its work and as much for what comes before: how it went, and what it took of the machine while its clock ran. Before the
/// clock runs, the disk has written what was left to it. `folder` is its own, on the
/// disk that is worked on. It is in a process group of its own, so that Ctrl-C is for
/// whoever watches alone: once `stop` is true, it is ended with all that it has started.
///
/// # Errors
/// When it cannot be started, does not come to its end in time, or says something else.
pub fn watch(
    mut command: Command,
    folder: &Path,
    patience: Duration,
    stop: &AtomicBool,
) -> Result<(Done, Used), RunError> {
    let name = words(&command);
    let spawned = command
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let child = spawned.map_err(|source| RunError::Start {
        command: name.clone(),
        source,
    })?;
    let mut run = Ended { child, folder };
    let child = &mut run.child;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in stdout
            .into_iter()
            .flat_map(|out| BufReader::new(out).lines())
        {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let complaints = std::thread::spawn(move || {
        let mut text = Vec::new();
        // What cannot be read is not told.
        let _ = stderr.map(|mut err| err.read_to_end(&mut text));
        text
    });
    let outcome = follow(&name, child, stdin, &lines, folder, patience, stop);
    match outcome {
        Ok(went) => {
            // Its stdin has ended: it closes what it had opened, and must end well.
            match ended_or_stopped(child, patience, stop) {
                Ok(Some(status)) if status.success() => Ok(went),
                Ok(None) if stop.load(Ordering::Relaxed) => {
                    Err(RunError::Stopped { command: name })
                }
                Ok(None) => Err(RunError::Late {
                    command: name,
                    patience,
                }),
                _ => Err(RunError::Ended {
                    command: name,
                    said: last_lines(complaints),
                }),
            }
        }
        Err(RunError::Ended { command, .. }) => {
            drop(run);
            Err(RunError::Ended {
                command,
                said: last_lines(complaints),
            })
        }
        Err(error) => Err(error),
    }
}

/// As [`ended`], but not longer than until it is to stop.
fn ended_or_stopped(
    child: &mut Child,
    patience: Duration,
    stop: &AtomicBool,
) -> io::Result<Option<ExitStatus>> {
    let began = Instant::now();
    loop {
        match ended(child, LOOK)? {
            None if began.elapsed() < patience && !stop.load(Ordering::Relaxed) => {}
            status => return Ok(status),
        }
    }
}

fn last_lines(complaints: std::thread::JoinHandle<Vec<u8>>) -> String {
    let text = complaints.join().unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}

fn follow(
    name: &str,
    child: &Child,
    stdin: Option<impl Write>,
    lines: &Receiver<String>,
    folder: &Path,
    patience: Duration,
    stop: &AtomicBool,
) -> Result<(Done, Used), RunError> {
    let ended = || RunError::Ended {
        command: name.into(),
        said: String::new(),
    };
    let next = || -> Result<String, RunError> {
        let until = Instant::now() + patience;
        loop {
            let rest = until.saturating_duration_since(Instant::now());
            match lines.recv_timeout(rest.min(LOOK)) {
                Ok(line) if line.trim().is_empty() => {}
                Ok(line) => return Ok(line),
                Err(RecvTimeoutError::Disconnected) => return Err(ended()),
                Err(RecvTimeoutError::Timeout) if stop.load(Ordering::Relaxed) => {
                    return Err(RunError::Stopped {
                        command: name.into(),
                    });
                }
                Err(RecvTimeoutError::Timeout) if rest > LOOK => {}
                Err(RecvTimeoutError::Timeout) => {
                    return Err(RunError::Late {
                        command: name.into(),
                        patience,
                    });
                }
            }
        }
    };
    let strange = |line: String| RunError::Strange {
        command: name.into(),
        line,
    };
    let line = next()?;
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
    if ready["ready"] != true {
        return Err(strange(line));
    }
    rustix::fs::sync();
    let mut stdin = stdin.ok_or_else(ended)?;
    Counters::reset_memory(child.id());
    let before = Counters::read(child.id(), folder);
    writeln!(stdin, "go").map_err(|_| ended())?;
    let line = next()?;
    let used = before.since(child.id(), folder);
    match serde_json::from_str(&line) {
        Ok(done) => Ok((done, used)),
        Err(_) => Err(strange(line)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics says where")]
mod tests {
    use super::*;
    use std::{path::PathBuf, sync::atomic::AtomicU32};

    /// A folder that is nobody else's.
    fn own_folder() -> PathBuf {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("pome-watched-{}-{number}", std::process::id());
        std::env::temp_dir().join(name)
    }

    static GOES_ON: AtomicBool = AtomicBool::new(false);

    fn shell(script: &str) -> Result<(Done, Used), RunError> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        watch(command, &own_folder(), Duration::from_secs(60), &GOES_ON)
    }

    #[test]
    fn a_run_that_ends_well() {
        let script = r#"echo '{"ready":true}'; read go; [ "$go" = go ] || exit 1
            echo '{"items":3,"bytes":300,"seconds":0.5,"version":"sh 1"}'; cat"#;
        let (done, used) = shell(script).unwrap();
        assert_eq!((done.items, done.bytes, done.seconds), (3, 300, 0.5));
        assert!(used.memory.is_some(), "{used:?}");
    }

    #[test]
    fn runs_that_do_not() {
        let early = shell("echo it is broken >&2; exit 3").unwrap_err();
        assert!(early.to_string().ends_with("it is broken"), "{early}");
        assert!(matches!(shell("echo 7"), Err(RunError::Strange { .. })));
        let late = r#"echo '{"ready":true}'; read go; echo '{"items":1,"bytes":1,"seconds":1,"version":""}'; cat; echo no >&2; exit 1"#;
        assert!(matches!(shell(late), Err(RunError::Ended { said, .. }) if said == "no"));
        let nobody = watch(
            Command::new("/nobody/here"),
            &own_folder(),
            Duration::from_secs(1),
            &GOES_ON,
        );
        let nobody = nobody.unwrap_err().to_string();
        assert!(nobody.ends_with("(os error 2)"), "{nobody}");
        let mut sleeps = Command::new("sleep");
        sleeps.arg("600");
        let late = watch(sleeps, &own_folder(), Duration::from_millis(50), &GOES_ON);
        assert!(matches!(late, Err(RunError::Late { .. })));
        let mut stays = Command::new("sh");
        stays.args(["-c", r#"echo '{"ready":true}'; read go; echo '{"items":1,"bytes":1,"seconds":1,"version":""}'; exec sleep 600"#]);
        let late = watch(stays, &own_folder(), Duration::from_secs(2), &GOES_ON);
        assert!(matches!(late, Err(RunError::Late { .. })), "{late:?}");
    }

    #[test]
    fn who_is_stopped_is_ended_with_all_that_it_started() {
        let file = own_folder();
        let script = r#"sleep 600 & echo $! > "$0"; echo '{"ready":true}'; read go; sleep 600"#;
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(&file);
        let stop = AtomicBool::new(false);
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !std::fs::read_to_string(&file).is_ok_and(|text| text.ends_with('\n')) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                stop.store(true, Ordering::Relaxed);
            });
            watch(command, &own_folder(), Duration::from_secs(600), &stop)
        });
        assert!(
            matches!(outcome, Err(RunError::Stopped { .. })),
            "{outcome:?}"
        );
        let sleeps = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        // It is gone, or a zombie until somebody has waited for it.
        let stat = || std::fs::read_to_string(format!("/proc/{}/stat", sleeps.trim()));
        while stat().is_ok_and(|stat| !stat.contains(") Z ")) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn words_can_be_typed() {
        let mut command = Command::new("node");
        command.args(["driver.js", "a b", "it's"]);
        assert_eq!(words(&command), r"node driver.js 'a b' 'it'\''s'");
    }
}
