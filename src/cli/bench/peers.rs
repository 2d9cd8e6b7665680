//! Who can be measured beside pome on this machine. A peer that is not here is said to be missing, with what would bring it here.

use super::{
    BenchArgs, Failure,
    install::{self, SCRIPTS, installed},
};
use pome_bench_support::Absent;
use pome_bench_work::{LIMIT, Workload, Writes};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The program that has the engines.
const ENGINES: Program = Program {
    name: "pome-bench-peers",
    fix: "In a checkout, `cargo build --release -p pome-bench-engines --bin pome-bench-peers` makes it; it is looked for beside pome and in $PATH",
};
/// The program that has the Rust crates.
const CRATES: Program = Program {
    name: install::CRATES,
    fix: "`pome bench --install` builds it where there is `cargo`",
};
const MODULES: &str = "`pome bench --install` installs it with npm";

/// A program that has peers in it.
struct Program {
    name: &'static str,
    /// What would bring it here.
    fix: &'static str,
}

/// How a peer does its work.
#[derive(Debug, Clone)]
enum How {
    /// A program that understands what pome's worker does.
    Driver(Vec<PathBuf>),
    /// pome's worker, in another place.
    Ours,
    /// pome's worker, which starts this program.
    Starts(PathBuf),
}

/// Somebody who can be measured.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) name: &'static str,
    how: How,
}

/// All who are here, and all who are not.
pub(super) struct Peers {
    here: Vec<Peer>,
    pub(super) absent: Vec<Absent>,
}

/// A program that is in `$PATH`.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// The folders where modules may be, the likeliest first: of a checkout, the one with the newer Bare is before the one with the modules.
fn folders(args: &BenchArgs) -> Vec<PathBuf> {
    match &args.peers {
        Some(folder) => vec![folder.clone()],
        None => (installed().into_iter())
            .chain(["tests/suites", "tests/interop"].map(PathBuf::from))
            .collect(),
    }
}

impl Peers {
    /// Looks for those that these workloads want. `room` is a folder for scripts.
    pub(super) fn find(
        args: &BenchArgs,
        workloads: &[&Workload],
        room: &Path,
    ) -> Result<Self, Failure> {
        let mut peers = Self {
            here: vec![],
            absent: vec![],
        };
        let mut folders = folders(args);
        folders.retain(|folder| folder.join("node_modules").is_dir());
        let has = |file: &str| {
            folders
                .iter()
                .find(|folder| folder.join("node_modules").join(file).exists())
        };
        let modules = has("corestore/package.json");
        let driver = match modules {
            Some(folder) => Some(lay_out(room, folder)?),
            None => None,
        };
        let old = modules.is_some_and(|folder| folder.join("node_modules/hypercore10").exists());
        let bare = has(".bin/bare")
            .map(|folder| folder.join("node_modules/.bin/bare"))
            .or_else(|| args.peers.is_none().then(|| program("bare"))?)
            .and_then(|path| std::path::absolute(path).ok());
        for name in super::NAMES {
            let asked = args.against.is_empty() || args.against.iter().any(|one| one == name);
            if !asked
                || !workloads
                    .iter()
                    .any(|workload| workload.peers.contains(name))
            {
                continue;
            }
            let found = match *name {
                "npm10" if driver.is_some() && !old => {
                    Err(("there is no hypercore 10 among the npm modules", MODULES))
                }
                "npm" | "npm10" => match (program("node"), &driver) {
                    (None, _) => Err(("there is no `node`", "Node.js brings it")),
                    (_, None) => Err(("there are no npm modules", MODULES)),
                    (Some(node), Some(driver)) => Ok(How::Driver(vec![node, driver.clone()])),
                },
                "bare" => match (&bare, &driver) {
                    (None, _) => Err(("there is no `bare`", MODULES)),
                    (_, None) => Err(("there are no npm modules", MODULES)),
                    (Some(bare), Some(driver)) => {
                        Ok(How::Driver(vec![bare.clone(), driver.clone()]))
                    }
                },
                LIMIT | "disk" => Ok(How::Ours),
                "bindfs" | "gocryptfs" => match program(name) {
                    None => Err((
                        "it is not installed",
                        "On Debian, `apt-get install bindfs gocryptfs`",
                    )),
                    Some(_) => Ok(How::Ours),
                },
                "hypercore-rs" | "hyperbee-rs" | "iroh" => CRATES.find(args, name),
                engine => ENGINES.find(args, engine),
            };
            match found {
                Ok(how) => peers.here.push(Peer { name, how }),
                Err((why, fix)) => peers.absent.push(Absent {
                    peer: (*name).to_owned(),
                    workload: None,
                    why: why.into(),
                    fix: fix.into(),
                }),
            }
        }
        Ok(peers)
    }

    /// Those who do a workload, pome first.
    pub(super) fn of(&self, workload: &Workload) -> Vec<Peer> {
        let ours = Peer {
            name: "pome",
            how: How::Ours,
        };
        let wanted = |peer: &&Peer| workload.peers.contains(&peer.name);
        std::iter::once(ours)
            .chain(self.here.iter().filter(wanted).cloned())
            .collect()
    }
}

impl Program {
    /// How one of its peers does its work.
    fn find(&self, args: &BenchArgs, peer: &str) -> Result<How, (&'static str, &'static str)> {
        match self.path(args) {
            Some(path) => Ok(How::Driver(vec![path, PathBuf::from(peer)])),
            None => Err(("its program is not here", self.fix)),
        }
    }

    /// In the folder that was named, else where `--install` leaves it, beside this binary, or in `$PATH`.
    fn path(&self, args: &BenchArgs) -> Option<PathBuf> {
        let there = |path: PathBuf| path.is_file().then_some(path);
        match &args.peers {
            Some(folder) => std::path::absolute(folder.join(self.name))
                .ok()
                .and_then(there),
            None => (installed().and_then(|folder| there(folder.join(self.name))))
                .or_else(|| there(std::env::current_exe().ok()?.with_file_name(self.name)))
                .or_else(|| program(self.name)),
        }
    }
}

/// Writes the scripts beside a link to the modules; the one that does the work.
fn lay_out(room: &Path, modules: &Path) -> Result<PathBuf, Failure> {
    let io = |error| Failure::io(&room.display().to_string(), &error);
    for (name, text) in SCRIPTS {
        std::fs::write(room.join(name), text).map_err(io)?;
    }
    let modules = std::path::absolute(modules.join("node_modules")).map_err(io)?;
    std::os::unix::fs::symlink(modules, room.join("node_modules")).map_err(io)?;
    Ok(room.join("driver.js"))
}

impl Peer {
    /// What does a workload, on so much of it.
    pub(super) fn command(
        &self,
        workload: &Workload,
        folder: &Path,
        (size, ops): (u64, u64),
        source: &Path,
    ) -> Result<Command, Failure> {
        let ours = || -> Result<Command, Failure> {
            let program =
                std::env::current_exe().map_err(|error| Failure::io("this program", &error))?;
            let mut command = Command::new(program);
            command.args(["bench", "--worker"]);
            Ok(command)
        };
        let mut source = source.to_owned();
        let mut command = match &self.how {
            How::Driver(words) if workload.name == "runtime-start" => {
                // Not what the driver does: how long its program takes to start.
                return Self {
                    name: self.name,
                    how: How::Starts(words[0].clone()),
                }
                .command(workload, folder, (size, ops), &source);
            }
            How::Driver(words) => {
                let mut command = Command::new(&words[0]);
                command.args(&words[1..]);
                command
            }
            How::Ours => ours()?,
            How::Starts(program) => {
                source.clone_from(program);
                ours()?
            }
        };
        command
            .arg(workload.name)
            .arg(folder)
            .args([size.to_string(), ops.to_string()])
            .arg(&source)
            .arg(self.name);
        Ok(match workload.has_network() {
            true => pome_bench_support::in_namespace(&command),
            false => command,
        })
    }

    /// False where processes that the measured one starts do the work: what that one takes of the machine says nothing.
    pub(super) fn does_itself(&self, workload: &Workload) -> bool {
        workload.name != "runtime-start" && !matches!(self.name, "bindfs" | "gocryptfs")
    }

    /// What holds when it has answered a write.
    pub(super) fn durability(&self, workload: &Workload) -> &'static str {
        match (workload.writes, self.name) {
            (Writes::None, _) => "nothing is written that is waited for",
            (Writes::Synced, _) => "on disk",
            // Files of a folder or a mount.
            (Writes::Buffered, _)
                if workload.name.starts_with("mount") || workload.name == "drive-export" =>
            {
                "in the kernel"
            }
            (Writes::Buffered, "npm" | "bare" | "npm10") => "in the kernel, never synced",
            // Its files have buffers of their own.
            (Writes::Buffered, "hypercore-rs" | "hyperbee-rs") => {
                "in the process, in the kernel with the next write, never synced"
            }
            (Writes::Buffered, "pome" | LIMIT) => "in the kernel, on disk within 200 ms",
            (Writes::Buffered, _) => "in the kernel",
        }
    }
}
