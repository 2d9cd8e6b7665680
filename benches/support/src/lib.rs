//! What the benchmarks share: workloads as data, a run in a process that is watched, runs in turns, the middle of what they measured and how sure it is, and the
//! reports that people read: a table, lines of JSON, and one page of HTML.
//!
//! ```
//! use pome_bench_support::{Measured, Row, Series, Worker};
//! # use pome_bench_support::{Better, Measure};
//!
//! let mut row = Row::new("core-append", "append 100 B, one by one", 20_000, Measure::Rate);
//! let mut series = |peer: &str, values: [f64; 3]| {
//!     row.series.push(Series { peer: peer.into(), values: values.into(), ..Series::default() });
//! };
//! series("pome", [52_000.0, 50_000.0, 51_000.0]);
//! series("npm", [5_000.0, 5_200.0, 5_100.0]);
//! assert_eq!(row.ratio("npm").unwrap().middle, 10.0);
//! ```
#![forbid(unsafe_code)]

mod ended;
mod growth;
mod html;
mod lines;
mod machine;
mod measured;
mod mounts;
mod namespace;
mod page;
mod program;
mod shown;
mod spread;
mod svg;
mod table;
mod touched;
mod turns;
mod used;
mod watched;
mod worker;

pub use ended::{end, ended};
pub use growth::exponent;
pub use lines::human;
pub use machine::Machine;
pub use measured::{Absent, Better, Goal, LIMIT, Measure, Measured, Ratio, Row, Series, Standing};
pub use mounts::unmount_below;
pub use namespace::{in_namespace, run_in_namespace};
pub use page::{Column, Numbers, Run, Table, ratio_text};
pub use program::{keep, measure_or_render};
pub use shown::{shows, until_mounted};
pub use spread::{Spread, bootstrap, mix};
pub use touched::touch_memory;
pub use turns::rotated;
pub use used::Used;
pub use watched::{RunError, watch, words};
pub use worker::{Done, Worker};
