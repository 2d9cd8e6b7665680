//! pome's runtime beside Bare and node with npm's modules: how long a program takes to start and how much memory it has then, and what the same programs do in a
//! second. In turns on one machine, in a network namespace with nothing but loopback.
//!
//! `cargo run --release -p pome-bench-runtime` measures and prints a page; `--json FILE` keeps the numbers too, `--render FILE` prints the page of such a file.
//! Needs `cargo build --release --bin pome`, node, `unshare`, `ip`, the modules (`npm ci --prefix tests/interop`) and Bare
//! (`npm ci --prefix tests/suites`).

mod report;

use clap::{Parser, ValueEnum};
use pome_bench_support::{Numbers, measure_or_render, rotated, run_in_namespace};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

/// What went wrong, as text: nothing is done about it.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Who runs the programs.
const MAKES: &[&str] = &["pome", "bare", "node"];

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// From the start of a program that says hello to its end, and its memory
    Start,
    /// Appends, puts and gets
    Store,
    /// A core that one process writes and another reads
    Replicate,
}

#[derive(Debug, Parser)]
struct Args {
    /// What to measure [default: all]
    parts: Vec<Part>,
    /// How often each does each part
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// A fifth of the work
    #[arg(long)]
    quick: bool,
    /// The binary of pome [default: beside this one]
    #[arg(long)]
    pome: Option<PathBuf>,
    /// Only these (`pome`, `bare`, `node`) [default: all]
    #[arg(long, value_delimiter = ',')]
    makes: Vec<String>,
    /// What else is to be said of this run
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Write the numbers here, as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Render this file of numbers as Markdown on stdout, and measure nothing
    #[arg(long, conflicts_with = "json")]
    render: Option<PathBuf>,
    /// Already in a namespace (used by the runs themselves)
    #[arg(long, hide = true)]
    inside: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if !args.inside && args.render.is_none() {
        return Ok(run_in_namespace("--inside")?);
    }
    let (json, render) = (args.json.as_deref(), args.render.as_deref());
    measure_or_render(json, render, || measure(&args), report::page)
}

fn measure(args: &Args) -> Result<Numbers> {
    let bench = Bench::new(args)?;
    let wanted = |part| args.parts.is_empty() || args.parts.contains(&part);
    let scale = if args.quick { 5 } else { 1 };
    let mut numbers = Numbers::new(bench.versions()?, args.rounds, args.quick);
    numbers.note.clone_from(&args.note);
    for round in 0..args.rounds {
        // Who comes behind whom changes from round to round.
        let makes: Vec<&str> = (MAKES.iter().copied())
            .filter(|make| args.makes.is_empty() || args.makes.iter().any(|one| one == make))
            .collect();
        for make in rotated(&makes, round) {
            let mut keep = |part: &str, value: f64| numbers.keep(round, part, make, value);
            if wanted(Part::Start) {
                keep("start", bench.start(make, 20 / scale)?);
                let (resident, own) = bench.memory(make)?;
                keep("memory", resident);
                keep("own memory", own);
            }
            if wanted(Part::Store) {
                for (part, rate) in bench.store(make, scale)? {
                    keep(&part, rate);
                }
            }
            if wanted(Part::Replicate) {
                keep("replicate", bench.replicate(make, 100_000 / scale)?);
            }
        }
    }
    Ok(numbers)
}

/// The programs, in a folder beside which npm's modules are found.
struct Bench {
    folder: tempfile::TempDir,
    pome: PathBuf,
    modules: PathBuf,
}

impl Bench {
    fn new(args: &Args) -> Result<Self> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let modules = here
            .join("../../tests/interop/node_modules")
            .canonicalize()?;
        let folder = tempfile::tempdir()?;
        symlink(&modules, folder.path().join("node_modules"))?;
        for entry in std::fs::read_dir(here.join("programs"))? {
            let entry = entry?;
            std::fs::copy(entry.path(), folder.path().join(entry.file_name()))?;
        }
        let pome = match &args.pome {
            Some(path) => path.clone(),
            None => std::env::current_exe()?.with_file_name("pome"),
        };
        Ok(Self {
            folder,
            pome: pome.canonicalize()?,
            modules,
        })
    }

    fn command(&self, make: &str, program: &str) -> Command {
        let mut command = match make {
            "pome" => {
                let mut command = Command::new(&self.pome);
                command.arg("run");
                command
            }
            "bare" => Command::new(self.modules.join("../../suites/node_modules/.bin/bare")),
            _ => Command::new("node"),
        };
        command
            .arg(self.folder.path().join(program))
            .env("POME_APPS", self.folder.path().join("apps"))
            .env("POME_NO_LAN", "1")
            .env("POME_BOOTSTRAP", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        command
    }

    /// Milliseconds from the start of a program to its end, on average.
    fn start(&self, make: &str, count: u32) -> Result<f64> {
        let start = Instant::now();
        for _ in 0..count {
            let output = self.command(make, "hello.js").output()?;
            if output.stdout != b"hello\n" {
                return Err(format!("{make} says no hello").into());
            }
        }
        Ok((start.elapsed() / count).as_secs_f64() * 1e3)
    }

    /// Mebibytes of resident memory of a program that has started, and how many of them are no part of a file.
    fn memory(&self, make: &str) -> Result<(f64, f64)> {
        let mut program = Running::new(self.command(make, "stays.js"))?;
        program.line()?;
        let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", program.child.id()))?;
        let mebibytes = |name: &str| -> Result<f64> {
            let kib: f64 = (text.lines())
                .find_map(|line| line.strip_prefix(name)?.trim().strip_suffix(" kB"))
                .ok_or_else(|| format!("no {name}"))?
                .parse()?;
            Ok(kib / 1024.0)
        };
        Ok((mebibytes("Rss:")?, mebibytes("Anonymous:")?))
    }

    /// How many of each a second.
    fn store(&self, make: &str, scale: u32) -> Result<Vec<(String, f64)>> {
        let folder = self.folder.path().join("store");
        let mut command = self.command(make, "store.js");
        command.arg(&folder).arg(scale.to_string());
        let mut program = Running::new(command)?;
        let rates = program.line()?;
        program.ends()?;
        std::fs::remove_dir_all(&folder)?;
        let rates = rates.as_object().ok_or("no rates")?.iter();
        rates
            .map(|(part, rate)| Ok((part.clone(), rate.as_f64().ok_or("no rate")?)))
            .collect()
    }

    /// Blocks a second from one process to another.
    fn replicate(&self, make: &str, count: u32) -> Result<f64> {
        let (source, target) = (
            self.folder.path().join("source"),
            self.folder.path().join("target"),
        );
        let mut writer = self.command(make, "writer.js");
        writer.arg(&source).arg(count.to_string());
        let mut writer = Running::new(writer)?;
        let said = writer.line()?;
        let word = |name: &str| -> Result<String> {
            Ok(said[name].as_str().ok_or("a word is missing")?.to_owned())
        };
        let mut reader = self.command(make, "reader.js");
        reader
            .arg(&target)
            .args([word("bootstrap")?, word("server")?, word("key")?])
            .arg(count.to_string());
        let mut reader = Running::new(reader)?;
        let read = reader.line()?;
        if read["bytes"].as_u64() != Some(u64::from(count) * 100) {
            return Err(format!("{make}: bytes are missing: {read}").into());
        }
        reader.ends()?;
        drop(writer);
        std::fs::remove_dir_all(&source)?;
        std::fs::remove_dir_all(&target)?;
        let seconds = read["seconds"].as_f64().ok_or("no seconds")?;
        Ok(f64::from(count) / seconds)
    }

    fn versions(&self) -> Result<Vec<String>> {
        let text = |output: std::process::Output| -> Result<String> {
            Ok(String::from_utf8(output.stdout)?.trim().to_owned())
        };
        let bare = Command::new(self.modules.join("../../suites/node_modules/.bin/bare"))
            .arg("--version")
            .output()?;
        let node = Command::new("node").arg("--version").output()?;
        let mut versions = vec![
            format!("bare {}", text(bare)?),
            format!("node {}", text(node)?),
        ];
        for name in ["hypercore", "corestore", "hyperbee", "hyperdht"] {
            let file = self.modules.join(name).join("package.json");
            let package: Value = serde_json::from_slice(&std::fs::read(file)?)?;
            versions.push(format!(
                "{name} {}",
                package["version"].as_str().unwrap_or("?")
            ));
        }
        Ok(versions)
    }
}

/// A running program. Dropped, it is killed.
struct Running {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Running {
    fn new(mut command: Command) -> Result<Self> {
        let mut child = command.spawn()?;
        let output = BufReader::new(child.stdout.take().ok_or("no stdout")?);
        Ok(Self { child, output })
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    fn ends(mut self) -> Result<()> {
        let status = self.child.wait()?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("a program ended with {status}").into()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
