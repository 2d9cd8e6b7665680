//! What a person may type behind `pome bench`.

use clap::Args;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct BenchArgs {
    /// Which workloads: names, or families such as `core` [default: all that `--list` shows]
    pub(crate) workloads: Vec<String>,
    /// A part of the work, within five minutes
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only these peers [default: all that are found]
    #[arg(long, value_name = "PEER,…", value_delimiter = ',')]
    pub(crate) against: Vec<String>,
    /// How often each does each workload at most
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// No round begins that would end after so many minutes (the first always does) [default: 50; 4 with `--quick`]
    #[arg(long, value_name = "N")]
    pub(crate) minutes: Option<u64>,
    /// Where the report is left: report.html and report.json
    #[arg(long, value_name = "DIR", default_value = "pome-bench")]
    pub(crate) report: PathBuf,
    /// Where the stores are made: a folder on the disk that is measured [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) scratch: Option<PathBuf>,
    /// The folder that has the peers, and no other: node_modules, pome-bench-peers, pome-bench-rust-peers [default: what `--install` made, tests/interop of a checkout, beside pome, $PATH] [env: POME_BENCH_PEERS]
    #[arg(long, value_name = "DIR", env = "POME_BENCH_PEERS", hide_env = true)]
    pub(crate) peers: Option<PathBuf>,
    /// Do not measure how the time grows with the size
    #[arg(long)]
    pub(crate) no_growth: bool,
    /// What else is to be said in the report
    #[arg(long, value_name = "TEXT")]
    pub(crate) note: Option<String>,
    /// List the workloads and their peers, and measure nothing
    #[arg(long)]
    pub(crate) list: bool,
    /// Install the npm modules and Bare with npm, build the Rust crates with cargo, and measure nothing
    #[arg(long)]
    pub(crate) install: bool,
    /// Print this report.json as tables, leave its report anew, and measure nothing
    #[arg(long, value_name = "FILE")]
    pub(crate) render: Option<PathBuf>,
    /// Be a process of a measurement
    #[arg(long, hide = true, num_args = 1.., allow_hyphen_values = true)]
    pub(crate) worker: Option<Vec<String>>,
}
