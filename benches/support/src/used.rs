//! What a process took of the machine.

use serde::{Deserialize, Serialize};
use std::{fs, path::Path};

/// What a run took while the clock ran. `None`: the kernel did not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Used {
    /// The most resident memory, in bytes, from the start of the clock on: that of the store it works on included.
    pub memory: Option<u64>,
    /// Bytes that the process caused to be written to storage (`write_bytes` of `/proc/PID/io`: when a page becomes dirty, not when it reaches the disk).
    pub written: Option<u64>,
    /// Flushes that reached the disk: those of the whole machine, so only an idle one shows the run's own.
    pub flushes: Option<u64>,
    /// Seconds of processor time, of all threads, kernel included.
    pub cpu: Option<f64>,
}

impl Used {
    /// What of it is not the process's own, but the whole machine's.
    pub fn of_the_machine(self) -> Self {
        Self {
            flushes: self.flushes,
            ..Self::default()
        }
    }
}

/// Counters of a process, and of the disk below a folder, at one moment.
pub(crate) struct Counters {
    written: Option<u64>,
    flushes: Option<u64>,
    cpu: Option<f64>,
}

/// How many of the ticks that the kernel tells programs are a second, however fast its own clock ticks.
const TICKS: f64 = 100.0;

/// A number behind a word at the start of a line.
fn number(text: &str, word: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(word))?;
    rest.split_whitespace().next()?.parse().ok()
}

fn of_process(process: u32, file: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/{process}/{file}")).ok()
}

/// User and system time: the 14th and 15th field, behind a name that may have spaces in it.
fn cpu(stat: &str) -> Option<f64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<f64>().ok();
    let ticks = next()? + next()?;
    Some(ticks / TICKS)
}

/// Flush requests that the disk below a folder has completed: the 16th field of its `stat`, which kernels have since 5.5.
fn flushes(folder: &Path) -> Option<u64> {
    let device = rustix::fs::stat(folder).ok()?.st_dev;
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let stat = fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat")).ok()?;
    stat.split_whitespace().nth(15)?.parse().ok()
}

impl Counters {
    pub(crate) fn read(process: u32, folder: &Path) -> Self {
        Self {
            written: of_process(process, "io").and_then(|io| number(&io, "write_bytes:")),
            flushes: flushes(folder),
            cpu: of_process(process, "stat").and_then(|stat| cpu(&stat)),
        }
    }

    /// Has the kernel begin the highest memory anew.
    pub(crate) fn reset_memory(process: u32) {
        // Where it may not be, the highest is that of the whole run.
        let _ = fs::write(format!("/proc/{process}/clear_refs"), "5");
    }

    /// What was taken from then to now.
    pub(crate) fn since(&self, process: u32, folder: &Path) -> Used {
        let now = Self::read(process, folder);
        let memory = of_process(process, "status").and_then(|text| number(&text, "VmHWM:"));
        Used {
            memory: memory.map(|kib| kib << 10),
            written: (now.written.zip(self.written)).map(|(now, then)| now.saturating_sub(then)),
            flushes: (now.flushes.zip(self.flushes)).map(|(now, then)| now.saturating_sub(then)),
            cpu: now.cpu.zip(self.cpu).map(|(now, then)| now - then),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_where_they_are() {
        let stat = "42 (a name) with) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20";
        assert_eq!(cpu(stat), Some(3.0));
        assert_eq!(
            number("a: 1\nwrite_bytes: 4096\n", "write_bytes:"),
            Some(4096)
        );
        assert_eq!(number("VmHWM:\t  12 kB", "VmHWM:"), Some(12));
        assert_eq!(number("VmHWM:\t  12 kB", "VmRSS:"), None);
    }

    #[test]
    fn this_process_is_seen() {
        let here = std::process::id();
        let folder = std::env::temp_dir();
        let before = Counters::read(here, &folder);
        let used = before.since(here, &folder);
        assert!(used.memory.is_some_and(|bytes| bytes > 1 << 19), "{used:?}");
        assert!(used.cpu.is_some_and(|seconds| seconds >= 0.0), "{used:?}");
    }
}
