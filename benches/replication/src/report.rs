//! The page that people read.

use pome_bench_support::{Column, Numbers, Table};

const INTRO: &str = "# Replication beside npm's

The same work on pome and on the npm modules, in every pairing, in turns on one machine. Over TCP each side is a process of its own with a store of its own on
disk, and the secret stream between them; the time runs from dialling until every block is checked and stored. Over a pipe both sides are in one process, with
the secret stream too. Latency is from the call of an append of 100 B to the return of the other side's waiting `get`, by one clock: pome's append is on disk
before anybody hears of it, npm's never is. Blocks are random bytes.

`cargo run --release -p pome-bench-replication -- --json docs/proofs/replication.json` measures; `… -- --render docs/proofs/replication.json >
docs/proofs/replication.md` writes this page.
";

const fn column(
    part: &'static str,
    title: &'static str,
    unit: &'static str,
    factor: f64,
) -> Column {
    Column {
        part,
        title,
        unit,
        factor,
    }
}

const PAIRS: &[&str] = &["pome → pome", "pome → npm", "npm → pome", "npm → npm"];
const BIG: f64 = 65_536.0 / 1e6;

const TABLES: &[Table] = &[
    Table {
        heading: "Download over TCP",
        parts: &[
            column("small", "blocks of 100 B", "blocks/s", 1.0),
            column("big", "blocks of 64 KiB", "MB/s", BIG),
        ],
        makes: PAIRS,
        base: "npm → npm",
        note: "More is better; × is against npm → npm. Goals: pome → pome at least 20× for blocks of 100 B and 6× for blocks of 64 KiB; a mixed pair never below 1×.",
    },
    Table {
        heading: "Beside what the machine can do",
        parts: &[column("big", "blocks of 64 KiB", "MB/s", BIG)],
        makes: &["machine", "pome → pome"],
        base: "machine",
        note: "More is better; × is against machine. `machine`: two threads of one process, without a socket, a tree or a store. One seals the blocks, the other opens them, hashes them and \
               writes them to a file that a third syncs every 200 ms; that is the least that a download has to do. pome's is over TCP. Goal: at least 0.6×.",
    },
    Table {
        heading: "Download in one process, over a pipe",
        parts: &[
            column("pipe-small", "blocks of 100 B", "blocks/s", 1.0),
            column("pipe-big", "blocks of 64 KiB", "MB/s", BIG),
        ],
        makes: &["pome", "npm"],
        base: "npm",
        note: "More is better; × is against npm.",
    },
    Table {
        heading: "From an append to the other side's get",
        parts: &[
            column("latency", "median", "µs", 1.0),
            column("latency-99", "99 of 100 below", "µs", 1.0),
        ],
        makes: PAIRS,
        base: "npm → npm",
        note: "Less is better; × is against npm → npm. Goal: the median of pome → pome at most npm's, although it is durable.",
    },
    Table {
        heading: "The secret stream in memory, sender and receiver in one thread",
        parts: &[
            column("stream-100", "messages of 100 B", "MB/s", 1.0),
            column("stream-1024", "messages of 1 KiB", "MB/s", 1.0),
            column("stream-65536", "messages of 64 KiB", "MB/s", 1.0),
            column("stream-1048576", "messages of 1 MiB", "MB/s", 1.0),
        ],
        makes: &["pome", "npm"],
        base: "npm",
        note: "More is better; × is against npm. Goal: at least 1.6×.",
    },
];

pub(crate) fn page(numbers: &Numbers) -> String {
    numbers.page(INTRO, TABLES)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics says where")]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_made_of_the_numbers_beside_it() {
        let numbers = include_str!("../../../docs/proofs/replication.json");
        let numbers: Numbers = serde_json::from_str(numbers).unwrap();
        let written = include_str!("../../../docs/proofs/replication.md");
        assert_eq!(page(&numbers), written, "`--render` writes it");
    }
}
