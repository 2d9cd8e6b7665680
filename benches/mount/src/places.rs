//! Where the work is done: a folder on the disk, and what shows one through FUSE.

use crate::{Result, memory};
use pome_bench_support::{end, ended, shows, until_mounted};
use pome_cores::Corestore;
use pome_drive_fs::{
    DriveOptions, Hyperdrive,
    fuse::{self, MountOptions},
};
use pome_storage::{Key, Options, Store};
use rustix::fs::Advice;
use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

/// In their order within a round.
pub(crate) const PLACES: &[&str] = &[
    "disk",
    "memory",
    "bindfs",
    "gocryptfs",
    "rclone",
    "pome",
    "pome, sealed",
];
/// What one may take to keep all that was written, and be gone.
const PATIENCE: Duration = Duration::from_secs(600);

/// A place in use.
pub(crate) struct Place {
    /// Where the work is done.
    pub(crate) at: PathBuf,
    /// Where it ends up.
    below: PathBuf,
    server: Option<Server>,
}

struct Server {
    child: Child,
    /// To a process of this program.
    say: Option<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Place {
    /// Whether a program serves it that is not ours.
    pub(crate) fn is_peer(&self) -> bool {
        self.server
            .as_ref()
            .is_some_and(|server| server.say.is_none())
    }

    /// Makes it in `room`, an empty folder.
    pub(crate) fn open(name: &str, room: &Path) -> Result<Self> {
        let (at, below) = (room.join("at"), room.join("below"));
        std::fs::create_dir(&at)?;
        std::fs::create_dir(&below)?;
        let mut command = match name {
            "disk" => {
                return Ok(Self {
                    at: below.clone(),
                    below,
                    server: None,
                });
            }
            "bindfs" | "gocryptfs" | "rclone" => shows(name, &below, &at)?,
            ours => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("--serve").arg(ours).arg(&below).arg(&at);
                command.stdin(Stdio::piped()).stdout(Stdio::piped());
                command
            }
        };
        let mut child = command.spawn()?;
        let said = child.stdin.take().zip(child.stdout.take());
        let mut place = Self {
            at,
            below,
            server: None,
        };
        let server = place.server.insert(Server {
            child,
            say: said.map(|(to, from)| (to, BufReader::new(from))),
        });
        until_mounted(&place.at, &mut server.child)?;
        Ok(place)
    }

    /// Waits until all that was done is where it belongs: on the disk, and a version of the drive.
    pub(crate) fn settle(&mut self) -> Result<()> {
        rustix::fs::syncfs(File::open(&self.at)?)?;
        if let Some(Server {
            say: Some((to, from)),
            ..
        }) = &mut self.server
        {
            to.write_all(b"publish\n")?;
            let mut line = String::new();
            from.read_line(&mut line)?;
            if line != "published\n" {
                return Err(format!("it is not published: {line}").into());
            }
        }
        rustix::fs::syncfs(File::open(&self.below)?)?;
        Ok(())
    }

    /// Has the kernel forget the bytes of all files, here, below, and in a cache beside that.
    pub(crate) fn forget(&self) -> Result<()> {
        forget(self.below.parent().unwrap_or(&self.below))
    }

    /// The memory that the process that serves it has for itself, in KiB, without files of the kernel's that it looks into; `None` where there is none.
    pub(crate) fn memory(&self) -> Option<u64> {
        let server = self.server.as_ref()?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.child.id())).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    }

    /// Takes it down.
    pub(crate) fn close(mut self) -> Result<()> {
        let Some(server) = &mut self.server else {
            return Ok(());
        };
        // Where this breaks off, the server is still there to be ended.
        match server.say.take() {
            Some(said) => drop(said),
            None => {
                let flags = rustix::mount::UnmountFlags::empty();
                rustix::mount::unmount(&self.at, flags)?;
            }
        }
        let at = self.at.display();
        let status = ended(&mut server.child, PATIENCE)?
            .ok_or_else(|| format!("what serves {at} does not end"))?;
        self.server = None;
        match status.success() {
            true => Ok(()),
            false => Err(format!("what served {at} failed: {status}").into()),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Only where the work broke off.
        if let Some(mut server) = self.server.take() {
            let _ = rustix::mount::unmount(&self.at, rustix::mount::UnmountFlags::DETACH);
            end(&mut server.child);
        }
    }
}

fn forget(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            forget(&entry.path())?;
        } else if kind.is_file() {
            match File::open(entry.path()) {
                Ok(file) => rustix::fs::fadvise(file, 0, None, Advice::DontNeed)?,
                // A store drops files as it likes.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// What a process of this program does that serves a mount: it ends with its stdin.
pub(crate) fn serve(name: &str, below: &Path, at: &Path) -> Result<()> {
    if name == "memory" {
        let session = memory::serve(at)?.spawn()?;
        for line in std::io::stdin().lines() {
            line?;
            println!("published");
        }
        rustix::mount::unmount(at, rustix::mount::UnmountFlags::empty())?;
        return Ok(session.join()?);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut options = Options::default();
        options.key = match name {
            "pome" => None,
            _ => Some(Key::generate()?),
        };
        let corestore = Corestore::open(Store::open(below, options)?)?;
        let drive = Hyperdrive::open(corestore.clone(), DriveOptions::default()).await?;
        let mounted = fuse::mount(&corestore, &drive, at, MountOptions::default()).await?;
        loop {
            let mut line = String::new();
            if std::io::stdin().read_line(&mut line)? == 0 {
                break;
            }
            mounted.publish_now().await?;
            println!("published");
        }
        mounted.unmount().await?.published?;
        corestore.close().await?;
        Ok(())
    })
}
