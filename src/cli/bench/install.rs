//! What `--install` brings: the npm modules and Bare with npm, and the program that has the Rust crates with cargo.

use super::Failure;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The npm modules' side, as files that node runs beside a folder `node_modules`.
pub(super) const SCRIPTS: &[(&str, &str)] = &[
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

/// The program that has the Rust crates.
pub(super) const CRATES: &str = "pome-bench-rust-peers";
/// What it is built of.
const SOURCES: &[(&str, &str)] = &[
    (
        "Cargo.toml",
        include_str!("../../../benches/peers/rust/Cargo.toml"),
    ),
    (
        "Cargo.lock",
        include_str!("../../../benches/peers/rust/Cargo.lock"),
    ),
    (
        "src/bee.rs",
        include_str!("../../../benches/peers/rust/src/bee.rs"),
    ),
    (
        "src/blobs.rs",
        include_str!("../../../benches/peers/rust/src/blobs.rs"),
    ),
    (
        "src/core.rs",
        include_str!("../../../benches/peers/rust/src/core.rs"),
    ),
    (
        "src/disk.rs",
        include_str!("../../../benches/peers/rust/src/disk.rs"),
    ),
    (
        "src/given.rs",
        include_str!("../../../benches/peers/rust/src/given.rs"),
    ),
    (
        "src/main.rs",
        include_str!("../../../benches/peers/rust/src/main.rs"),
    ),
    (
        "src/protoc_path.rs",
        include_str!("../../../benches/peers/rust/src/protoc_path.rs"),
    ),
];

/// Where `--install` puts things.
pub(super) fn installed() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = variable("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(variable("HOME")?).join(".cache")))?;
    Some(cache.join("pome/bench"))
}

/// Installs what can be installed here, where it is looked for, and says what cannot.
pub(super) fn install(quiet: bool) -> Result<(), Failure> {
    let folder = installed().ok_or_else(|| Failure::usage("where to? HOME is not set"))?;
    let io = |error| Failure::io(&folder.display().to_string(), &error);
    fs::create_dir_all(&folder).map_err(io)?;
    let folder = std::path::absolute(&folder).map_err(io)?;
    let outcomes = [
        ("the npm modules and Bare", modules(&folder, quiet)),
        ("the Rust crates", crates(&folder, quiet)),
    ];
    let mut missing = vec![];
    for (what, outcome) in &outcomes {
        if let Err(why) = outcome {
            eprintln!("not installed: {what}: {why}");
            missing.push(format!("{what}: {why}"));
        }
    }
    match missing.len() < outcomes.len() {
        true => Ok(()),
        false => Err(Failure::new("BENCH_FAILED", missing.join("; "))),
    }
}

/// Runs a command of which a person sees what it says.
fn run(command: &mut Command, quiet: bool) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    if quiet {
        command.stdout(Stdio::null());
    }
    match command.status() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(format!("there is no `{name}`"))
        }
        Err(error) => Err(format!("{name}: {error}")),
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{name} ended with {status}")),
    }
}

fn modules(folder: &Path, quiet: bool) -> Result<(), String> {
    fs::write(folder.join("package.json"), MODULES).map_err(|error| error.to_string())?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund"]);
    run(npm.current_dir(folder), quiet)
}

/// Builds the program in a folder that goes afterwards.
fn crates(folder: &Path, quiet: bool) -> Result<(), String> {
    let room = folder.join("rust");
    let built = build(&room, quiet).and_then(|program| {
        fs::rename(program, folder.join(CRATES)).map_err(|error| error.to_string())
    });
    // What stays of it is in the cache.
    let _ = fs::remove_dir_all(&room);
    built
}

fn build(room: &Path, quiet: bool) -> Result<PathBuf, String> {
    let text = |error: std::io::Error| error.to_string();
    fs::create_dir_all(room.join("src")).map_err(text)?;
    for (name, source) in SOURCES {
        fs::write(room.join(name), source).map_err(text)?;
    }
    let target = room.join("target");
    let cargo = || {
        let mut cargo = Command::new("cargo");
        cargo.current_dir(room).env("CARGO_TARGET_DIR", &target);
        cargo.args(["build", "--release", "--locked"]);
        if quiet {
            cargo.arg("--quiet");
        }
        cargo
    };
    // One of the crates is made with protoc, which another brings.
    let mut first = cargo();
    first.args(["--no-default-features", "--features", "protoc"]);
    run(&mut first, quiet)?;
    let protoc = Command::new(target.join("release/protoc-path"))
        .output()
        .map_err(text)?;
    let mut second = cargo();
    if protoc.status.success() {
        second.env("PROTOC", String::from_utf8_lossy(&protoc.stdout).trim());
    }
    run(&mut second, quiet)?;
    Ok(target.join("release").join(CRATES))
}
