//! Who can be measured beside pome on this machine. A peer that is not here is said to be missing, with what would bring it here.

use super::{BenchArgs, Failure};
use pome_bench_support::Absent;
use pome_bench_work::{Workload, Writes};
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The npm modules' side, as files that node runs beside a folder `node_modules`.
const SCRIPTS: &[(&str, &str)] = &[
    (
        "driver.js",
        include_str!("../../../benches/peers/npm/driver.js"),
    ),
    (
        "modules.js",
        include_str!("../../../benches/peers/npm/modules.js"),
    ),
    (
        "network.js",
        include_str!("../../../benches/peers/npm/network.js"),
    ),
    (
        "replication.js",
        include_str!("../../../benches/peers/npm/replication.js"),
    ),
    (
        "stream.js",
        include_str!("../../../benches/peers/npm/stream.js"),
    ),
    ("udx.js", include_str!("../../../benches/peers/npm/udx.js")),
];
/// Which of npm's modules, at which versions.
const MODULES: &str = include_str!("../../../benches/peers/npm/package.json");

/// The program that has the engines.
const PEERS: &str = "pome-bench-peers";
const INSTALL: &str = "`pome bench --install` installs it with npm";
const ENGINES: &str = "In a checkout, `cargo build --release -p pome-bench-engines --bin pome-bench-peers` makes it; it is looked for beside pome and in $PATH";

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

/// What `--install` makes.
fn installed() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = variable("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(variable("HOME")?).join(".cache")))?;
    Some(cache.join("pome/bench"))
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
        let driver = match has("corestore/package.json") {
            Some(folder) => Some(lay_out(room, folder)?),
            None => None,
        };
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
                "npm" => match (program("node"), &driver) {
                    (None, _) => Err(("there is no `node`", "Node.js brings it")),
                    (_, None) => Err(("there are no npm modules", INSTALL)),
                    (Some(node), Some(driver)) => Ok(How::Driver(vec![node, driver.clone()])),
                },
                "bare" => match (&bare, &driver) {
                    (None, _) => Err(("there is no `bare`", INSTALL)),
                    (_, None) => Err(("there are no npm modules", INSTALL)),
                    (Some(bare), Some(driver)) => {
                        Ok(How::Driver(vec![bare.clone(), driver.clone()]))
                    }
                },
                "disk" => Ok(How::Ours),
                "bindfs" | "gocryptfs" => match program(name) {
                    None => Err((
                        "it is not installed",
                        "On Debian, `apt-get install bindfs gocryptfs`",
                    )),
                    Some(_) => Ok(How::Ours),
                },
                engine => engine_program(args)
                    .map(|program| How::Driver(vec![program, PathBuf::from(engine)]))
                    .ok_or(("there is no `pome-bench-peers`", ENGINES)),
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

/// In the folder that was named, else beside this binary, or in `$PATH`.
fn engine_program(args: &BenchArgs) -> Option<PathBuf> {
    let there = |path: PathBuf| path.is_file().then_some(path);
    match &args.peers {
        Some(folder) => std::path::absolute(folder.join(PEERS)).ok().and_then(there),
        None => (std::env::current_exe().ok())
            .and_then(|path| there(path.with_file_name(PEERS)))
            .or_else(|| program(PEERS)),
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

/// Installs npm's modules and Bare where they are looked for.
pub(super) fn install(quiet: bool) -> Result<(), Failure> {
    let folder = installed().ok_or_else(|| Failure::usage("where to? HOME is not set"))?;
    let io = |error| Failure::io(&folder.display().to_string(), &error);
    std::fs::create_dir_all(&folder).map_err(io)?;
    std::fs::write(folder.join("package.json"), MODULES).map_err(io)?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund"])
        .current_dir(&folder);
    if quiet {
        npm.stdout(Stdio::null());
    }
    let status = npm.status().map_err(|error| Failure::io("npm", &error))?;
    match status.success() {
        true => Ok(()),
        false => Err(Failure::new(
            "BENCH_FAILED",
            format!("npm ended with {status}"),
        )),
    }
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
            (Writes::Buffered, "npm" | "bare") => "in the kernel, never synced",
            (Writes::Buffered, "pome") => "in the kernel, on disk within 200 ms",
            (Writes::Buffered, _) => "in the kernel",
        }
    }
}
