//! Programs that start.

use crate::{Job, Result, VERSION};
use pome_bench_support::Worker;
use std::process::{Command, Stdio};

/// A program that says hello and ends, one start after the other. In `source` is who runs it, for places other than pome.
pub(crate) fn runtime(job: &Job) -> Result<()> {
    let program = job.folder.join("hello.js");
    std::fs::write(&program, "console.log('hello')\n")?;
    let command = || -> Result<Command> {
        let mut command = match job.place.as_str() {
            "pome" => {
                let mut command = Command::new(std::env::current_exe()?);
                command.arg("run");
                command
            }
            _ => Command::new(&job.source),
        };
        command
            .arg(&program)
            .env("POME_APPS", job.folder.join("apps"))
            .env("POME_NO_SWARM", "1")
            .env("POME_BOOTSTRAP", "none")
            .stdin(Stdio::null());
        Ok(command)
    };
    let version = match job.place.as_str() {
        "pome" => VERSION.to_owned(),
        place => {
            let said = Command::new(&job.source).arg("--version").output()?;
            let program = if place == "npm" { "node" } else { place };
            format!("{program} {}", String::from_utf8_lossy(&said.stdout).trim())
        }
    };
    let worker = Worker::ready()?;
    for _ in 0..job.ops {
        let output = command()?.output()?;
        if output.stdout != b"hello\n" {
            return Err(format!(
                "{} says no hello: {}",
                job.place,
                String::from_utf8_lossy(&output.stderr)
            )
            .into());
        }
    }
    Ok(worker.done(job.ops, 0, &version)?)
}
