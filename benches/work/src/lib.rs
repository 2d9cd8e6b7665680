//! What pome does when it is measured. [`ALL`] says what there is to measure; [`run`] is what a process does that measures one of it, or serves one that does.
//! The npm modules do the same with the same numbers in `benches/peers/npm`.
//!
//! ```
//! let bee_get = pome_bench_work::named("bee-get").unwrap();
//! assert_eq!(bee_get.measure, pome_bench_support::Measure::Rate);
//! assert!(bee_get.peers.contains(&"npm"));
//! ```
#![forbid(unsafe_code)]

mod bee;
mod core;
mod corestore;
mod drive;
mod given;
mod helper;
mod limits;
mod link;
pub mod machine;
mod mount;
pub mod network;
pub mod replicate;
pub mod sealed;
mod start;
pub mod store;
pub mod udx;
mod workload;

pub use given::{block, key, write_tree};
pub use helper::Helper;
pub use pome_bench_support::LIMIT;
pub use workload::{ALL, Workload, Writes, named};

use std::path::PathBuf;

/// What went wrong, as text: nothing is done about it.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// What comes of a piece of work.
pub type Result<T> = std::result::Result<T, Error>;

/// What is said to be measured.
const VERSION: &str = concat!("pome ", env!("CARGO_PKG_VERSION"));

/// One piece of work.
#[derive(Debug, Clone)]
pub struct Job {
    /// Which workload.
    pub workload: String,
    /// A folder of its own, for stores; it is there, and empty.
    pub folder: PathBuf,
    /// How many items it works on.
    pub size: u64,
    /// How many of them are timed, where that is not all of them.
    pub ops: u64,
    /// A folder of files ([`write_tree`]), or a program, where the workload wants one.
    pub source: PathBuf,
    /// In whose place it is done: `pome`, or what can be measured without a process of its own (`limit`, `disk`, `bindfs`, `bare`, …).
    pub place: String,
}

/// What a process does that was started with these words: `WORKLOAD FOLDER SIZE OPS SOURCE PLACE` measures, as a [`Worker`](pome_bench_support::Worker); `serve …`, `orders`, `udx …`, `tcp …` and `machine …` are at the other end of a measurement.
///
/// # Errors
/// When the words are no work, or the work fails.
pub fn run(words: &[String]) -> Result<()> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", ..] => replicate::alone(&words),
        ["orders"] => network::run(),
        [transport @ ("udx" | "tcp"), role] => udx::run(transport, role, false),
        ["machine", size, count] => machine::serve(size.parse()?, count.parse()?),
        [workload, folder, size, ops, source, place] => measure(&Job {
            workload: workload.into(),
            folder: folder.into(),
            size: size.parse()?,
            ops: ops.parse()?,
            source: source.into(),
            place: place.into(),
        }),
        _ => Err(format!("{words:?} is no work").into()),
    }
}

fn measure(job: &Job) -> Result<()> {
    if job.place == LIMIT {
        return limits::measure(job);
    }
    let (family, _) = job.workload.split_once('-').unwrap_or((&job.workload, ""));
    // These have no use for tokio.
    match family {
        "store" => return store::of_pome(job),
        "noise" => return link::noise(job),
        "stream" => return sealed::measure(job),
        "runtime" => return start::runtime(job),
        _ => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(async {
        match family {
            "core" => core::measure(job).await,
            "bee" => bee::measure(job).await,
            "cores" => corestore::measure(job).await,
            "drive" => drive::measure(job).await,
            "replicate" => link::replicate(job).await,
            "connect" => link::connect(job).await,
            "udx" => link::udx(job).await,
            "mount" => mount::measure(job).await,
            _ => Err(format!("no workload {}", job.workload).into()),
        }
    });
    runtime.shutdown_background();
    outcome
}
