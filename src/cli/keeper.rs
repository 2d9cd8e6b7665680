//! What a client does for its mount: it lives in the background where that was asked for, and takes the mount down when the owner has died.

use super::{
    args::Global,
    failure::{Failure, status},
    io::path_json,
    keys::{self, Keys},
    owner, present,
};
use pome_drive_fs::fuse::{self, MountError, UnmountHow};
use pome_storage::Key;
use serde_json::json;
use std::{
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::{Component, Path, PathBuf},
    process::Stdio,
};

/// Takes down a mount whose owner is gone.
pub(crate) fn take_down(mountpoint: &Path) -> Result<&'static str, Failure> {
    match fuse::clear_dead_mount(mountpoint) {
        Ok(how) => Ok(how_word(how)),
        // Its last user has let it go.
        Err(MountError::NotMounted { .. }) => Ok(how_word(UnmountHow::Normal)),
        Err(error) => Err(error.into()),
    }
}

/// The word for how far an unmount had to go.
pub(crate) fn how_word(how: UnmountHow) -> &'static str {
    match how {
        UnmountHow::Normal => "normal",
        UnmountHow::Lazy => "lazy",
        UnmountHow::Aborted => "abort",
    }
}

/// `pome unmount` where no owner knows the mount.
pub(crate) fn unmount(mountpoint: &Path, as_json: bool) -> Result<(), Failure> {
    let mountpoint = resolve(mountpoint);
    let how = how_word(fuse::clear_dead_mount(&mountpoint)?);
    let why = "no owner serves this mount";
    match as_json {
        true => {
            present::line(json!({ "mountpoint": path_json(&mountpoint), "how": how, "why": why }))
        }
        false => present::line(format_args!(
            "{} was a dead mount; unmounted ({how})",
            mountpoint.display()
        )),
    }
}

/// As many symlinks one after the other as the kernel follows.
pub(crate) const LINKS_MAX: usize = 40;

/// The path as the kernel lists it. Of the last part nothing is asked but whether it is a symlink: a dead mount does not answer.
pub(crate) fn resolve(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let mut clean: PathBuf = path.components().collect();
    for _ in 0..LINKS_MAX {
        clean = match (clean.parent().map(std::fs::canonicalize), clean.file_name()) {
            (Some(Ok(parent)), Some(name)) => parent.join(name),
            // It ends with `..`.
            (Some(_), None) => return std::fs::canonicalize(&clean).unwrap_or(clean),
            _ => return clean,
        };
        match target(&clean) {
            Some(to) => clean = to,
            None => break,
        }
    }
    clean
}

/// The absolute path without `.` and `..`, as a shell takes them: what they stand behind is not looked at.
pub(crate) fn straight(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
    let mut straight = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                straight.pop();
            }
            Component::CurDir => {}
            part => straight.push(part),
        }
    }
    straight
}

/// Where a symlink leads to; `None` where there is none. The kernel answers for what is no symlink, and asks no filesystem.
pub(crate) fn target(link: &Path) -> Option<PathBuf> {
    let to = std::fs::read_link(link).ok()?;
    Some(link.parent()?.join(to).components().collect())
}

/// Runs this same command again without `--background`, in a session of its own, and returns when it has said that the folder is usable.
pub(crate) fn background(dir: &Path, global: &Global, as_json: bool) -> Result<(), Failure> {
    // What it cannot ask for, or read, is read here.
    let mut keys = Keys::of(global)?;
    loop {
        match keep(dir, keys.get()?.as_ref(), as_json) {
            Err(failure) if keys.ask(&failure, dir)? => {}
            outcome => return outcome,
        }
    }
}

fn keep(dir: &Path, key: Option<&Key>, as_json: bool) -> Result<(), Failure> {
    let error = |what: &str, e: &std::io::Error| {
        Failure::io(&format!("cannot go to the background: {what}"), e)
    };
    let exe = std::env::current_exe().map_err(|e| error("its own program", &e))?;
    let mut args: Vec<_> = std::env::args_os()
        .skip(1)
        .filter(|arg| arg != "--background")
        .collect();
    // In front: a `--` may stand behind.
    args.insert(0, "--key-from-stdin".into());
    if !as_json {
        // One shape to wait for; what a person sees is made from it below.
        args.insert(0, "--json".into());
    }
    let mut command = std::process::Command::new(exe);
    command.arg0("pome").args(args);
    command.env("POME_STORE", dir).process_group(0);
    let stderr = owner::nameless().map_err(|e| error("memory", &e))?;
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(stderr.try_clone().map_err(|e| error("memory", &e))?);
    let mut child = command.spawn().map_err(|e| error("a process", &e))?;
    if let Some(pipe) = child.stdin.take() {
        // One that is already gone says why below.
        let _ = keys::hand_over(key, pipe);
    }
    let Some(out) = child.stdout.take() else {
        return Err(Failure::new("IO", "the keeper has no stdout"));
    };
    let mut out = BufReader::new(out);
    let value = loop {
        let mut line = String::new();
        out.read_line(&mut line)
            .map_err(|e| error("the keeper", &e))?;
        let value: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
        if value["event"] != "mounted" {
            break value;
        }
        // A closed pipe is no error, and the mounts stay.
        let mut stdout = std::io::stdout();
        let _ = if as_json {
            stdout.write_all(line.as_bytes())
        } else {
            writeln!(stdout, "{}", super::mount::welcome(&value))
        };
        if value["remaining"].as_u64().unwrap_or_default() == 0 {
            return Ok(());
        }
    };
    let exit = child.wait().map_err(|e| error("the keeper", &e))?;
    let complaint = owner::words_in(&stderr);
    let text = |field: &str| value["error"][field].as_str().map(str::to_owned);
    Err(Failure {
        code: text("code").unwrap_or_else(|| "IO".into()),
        message: text("message")
            .unwrap_or_else(|| format!("the mount did not start: {}", complaint.trim())),
        status: exit
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .filter(|code| *code != 0)
            .unwrap_or(status::ERROR),
    })
}
