//! Folders that other programs show elsewhere, through FUSE.

use crate::ended;
use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// What a mount may take to be there.
const PATIENCE: Duration = Duration::from_secs(30);

/// What shows `below` at `at` and stays in the foreground: bindfs, rclone (as it is told to for programs that write, with a cache beside `below`), or
/// gocryptfs, for which it makes the folder ready. Both folders are there, and empty.
///
/// # Errors
/// When gocryptfs does not make it ready.
pub fn shows(program: &str, below: &Path, at: &Path) -> io::Result<Command> {
    let mut command = Command::new(program);
    match program {
        "gocryptfs" => {
            let word = ["-q", "-extpass", "echo", "-extpass", "measured"];
            let made = Command::new(program)
                .args(["-init", "-scryptn", "10"])
                .args(word)
                .arg(below)
                .stdout(Stdio::null())
                .status()?;
            if !made.success() {
                return Err(io::Error::other("gocryptfs makes no folder"));
            }
            command.arg("-fg").args(word);
        }
        "rclone" => {
            command.args(["mount", "--config", "/dev/null", "--file-perms", "0777"]);
            command.args(["--vfs-cache-mode", "full", "--vfs-write-back", "0s"]);
            command
                .arg("--cache-dir")
                .arg(below.with_extension("cache"));
        }
        _ => {
            command.arg("-f");
        }
    }
    command.arg(below).arg(at);
    Ok(command)
}

/// Waits until `server` has mounted something at `at`.
///
/// # Errors
/// When it ends before, or takes too long.
pub fn until_mounted(at: &Path, server: &mut Child) -> io::Result<()> {
    let (began, own) = (Instant::now(), fs::symlink_metadata(at.join(".."))?.dev());
    while !fs::metadata(at).is_ok_and(|there| there.dev() != own) {
        let gone = ended(server, Duration::from_millis(5))?;
        if gone.is_some() || began.elapsed() > PATIENCE {
            let at = at.display();
            return Err(io::Error::other(format!("nothing is mounted at {at}")));
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics says where")]
mod tests {
    use super::*;

    #[test]
    fn who_ends_mounts_nothing() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut ends = Command::new("true").spawn().unwrap();
        let error = until_mounted(&here, &mut ends).unwrap_err();
        assert!(error.to_string().starts_with("nothing is mounted at"));
    }

    #[test]
    fn the_folder_below_comes_first() {
        let command = shows("bindfs", Path::new("/below"), Path::new("/at")).unwrap();
        assert_eq!(crate::words(&command), "bindfs -f /below /at");
    }
}
