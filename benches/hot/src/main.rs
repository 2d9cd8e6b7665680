//! How many instructions the hot functions take, as valgrind counts them: the same on a busy machine as on an idle one. `cargo run --profile counted -p pome-bench-hot`
//! compares them with `benches/hot/counts.json`, and fails where one takes over 5 % more, unless CHANGELOG.md says so with a line that has ``slower: `NAME`, COUNT`` in it,
//! where COUNT is about what it takes now: so the line excuses nothing that comes later. `… -- --accept` writes the counts of today. Another compiler makes other
//! instructions: beside counts of another one nothing fails, and it is said.

use clap::Parser;
use pome_bench_hot::{ALL, Result, Work};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// How often the work is done before it is counted, and while.
const ROUNDS: (u32, u32) = (3, 10);
/// How many times as many instructions are too many.
const TOO_MANY: f64 = 1.05;

#[derive(Debug, Parser)]
struct Args {
    /// Only these, by a part of their name [default: all]
    names: Vec<String>,
    /// Write what is counted to benches/hot/counts.json
    #[arg(long)]
    accept: bool,
    /// Do one, for valgrind to count it
    #[arg(long, hide = true)]
    one: Option<String>,
}

/// What was counted.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Counts {
    /// The compiler, as it names itself.
    compiler: String,
    /// Instructions of one call of each function.
    instructions: BTreeMap<String, u64>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    if let Some(name) = &args.one {
        let hot = ALL.iter().find(|hot| hot.name == name);
        let mut work = (hot.ok_or("there is none of this name")?.make)()?;
        for _ in 0..ROUNDS.0 {
            work()?;
        }
        counted(&mut work)?;
        return Ok(ExitCode::SUCCESS);
    }
    let unknown = |name: &&String| !ALL.iter().any(|hot| hot.name.contains(name.as_str()));
    if let Some(unknown) = args.names.iter().find(unknown) {
        return Err(format!("nothing has {unknown:?} in its name").into());
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = here.join("counts.json");
    let mut known: Counts = match fs::read(&file) {
        Ok(text) => serde_json::from_slice(&text)?,
        Err(_) => Counts::default(),
    };
    let compiler = compiler()?;
    let excused = fs::read_to_string(here.join("../../CHANGELOG.md"))?;
    let mut worse = vec![];
    for hot in ALL {
        let asked = |name: &String| hot.name.contains(name.as_str());
        if !args.names.is_empty() && !args.names.iter().any(asked) {
            continue;
        }
        let count = count(hot.name)?;
        let before = known.instructions.insert(hot.name.into(), count);
        let verdict = verdict(hot.name, before, count, &excused);
        println!("{:<40} {count:>12}  {}", hot.name, verdict.1);
        if verdict.0 {
            worse.push(hot.name);
        }
    }
    if args.accept {
        known.compiler = compiler;
        fs::write(file, serde_json::to_string_pretty(&known)? + "\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    if known.compiler != compiler {
        eprintln!(
            "NOTHING WAS COMPARED: the counts in benches/hot/counts.json were made with {}, this is {compiler}. `--accept` on the commit before yours writes new ones.",
            known.compiler
        );
        return Ok(ExitCode::SUCCESS);
    }
    if !worse.is_empty() {
        eprintln!(
            "over 5 % more instructions, and CHANGELOG.md does not say so: {}",
            worse.join("; ")
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether it is worse than it may be, and how it compares.
fn verdict(name: &str, before: Option<u64>, count: u64, changelog: &str) -> (bool, String) {
    let Some(before) = before else {
        return (true, "is not in counts.json: `--accept` writes it".into());
    };
    let ratio = count as f64 / before as f64;
    let text = format!("{:+.1} %", (ratio - 1.0) * 100.0);
    match ratio > TOO_MANY {
        false => (false, text),
        true if count as f64 <= excused(name, changelog) as f64 * TOO_MANY => {
            (false, format!("{text}, as CHANGELOG.md says"))
        }
        true => (true, format!("{text}: TOO MANY")),
    }
}

/// The most instructions that the changelog says this takes; 0 where it says nothing.
fn excused(name: &str, changelog: &str) -> u64 {
    let line = format!("slower: `{name}`, ");
    let counts = changelog.split(&line).skip(1).filter_map(|rest| {
        let digits = rest
            .split(|c: char| !c.is_ascii_digit() && c != ',')
            .next()?;
        digits.replace(',', "").parse().ok()
    });
    counts.max().unwrap_or(0)
}

/// The compiler that is used in this checkout.
fn compiler() -> Result<String> {
    let output = Command::new("rustc")
        .arg("--version")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .map_err(|error| format!("rustc: {error}"))?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// What valgrind counts; its name is how it is found.
#[inline(never)]
fn counted(work: &mut Work) -> Result<()> {
    for _ in 0..ROUNDS.1 {
        work()?;
    }
    Ok(())
}

/// Instructions of one round.
fn count(name: &str) -> Result<u64> {
    let program: PathBuf = std::env::current_exe()?;
    let output = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            "--toggle-collect=pome_bench_hot::counted",
        ])
        .arg(program)
        .args(["--one", name])
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{name}: {text}").into());
    }
    let count = collected(&text).ok_or_else(|| format!("valgrind says nothing: {text}"))?;
    match count / u64::from(ROUNDS.1) {
        0 => Err(format!("{name}: nothing was counted").into()),
        count => Ok(count),
    }
}

/// `==123== Collected : 4567`.
fn collected(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_over_five_percent_worse_fails() {
        let changelog = "- slower: `commit`, 2,000, since it checks more\n- slower: `sync`, now\n";
        assert!(!verdict("get", Some(1_000), 1_050, changelog).0);
        assert!(verdict("get", Some(1_000), 1_051, changelog).0);
        assert!(!verdict("get", Some(1_000), 10, changelog).0);
        assert!(!verdict("commit", Some(1_000), 2_000, changelog).0);
        assert!(!verdict("commit", Some(1_000), 2_100, changelog).0);
        // What comes after it was accepted is not excused.
        assert!(verdict("commit", Some(2_000), 2_101, changelog).0);
        assert!(verdict("sync", Some(1_000), 2_000, changelog).0);
        assert!(verdict("commit of 2", Some(1_000), 2_000, changelog).0);
        assert!(verdict("get", None, 1, changelog).0);
    }

    #[test]
    fn what_valgrind_says_is_read() {
        let text = "==9== Events    : Ir\n==9== Collected : 123456\n==9== \n";
        assert_eq!(collected(text), Some(123_456));
        assert_eq!(collected("==9== nothing"), None);
    }
}
