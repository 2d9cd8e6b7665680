//! The page that people read.

use crate::MAKES;
use pome_bench_support::{Column, Numbers, Table};

const INTRO: &str = "\
# The runtime beside Bare and node

The same programs (`benches/runtime/programs`) in `pome run`, where the stack is native, and in Bare and node with npm's modules; in turns on one machine, in a
network namespace with nothing but loopback. Both answer an append or a put when the kernel has the bytes; pome syncs them within 200 ms, npm never does.

`cargo run --release -p pome-bench-runtime -- --json docs/proofs/runtime.json` measures; `… -- --render docs/proofs/runtime.json > docs/proofs/runtime.md`
writes this page.
";

const fn column(part: &'static str, title: &'static str, unit: &'static str) -> Column {
    Column {
        part,
        title,
        unit,
        factor: 1.0,
    }
}

const TABLES: &[Table] = &[
    Table {
        heading: "A program starts",
        parts: &[
            column("start", "says hello and ends", "ms"),
            column("memory", "resident memory once it has started", "MiB"),
            column("own memory", "of it, what is no part of a file", "MiB"),
        ],
        makes: MAKES,
        base: "bare",
        note: "Less is better; × is against Bare. Goals: at most 0.2× of its time, 0.3× of its memory.",
    },
    Table {
        heading: "A store",
        parts: &[
            column("append", "appends of 100 B, one after the other", "/s"),
            column("append-batch", "blocks of 100 B in batches of 1,000", "/s"),
            column("core-get", "gets of a core", "/s"),
            column("bee-put", "puts of a bee, one after the other", "/s"),
            column("bee-batch", "puts of a bee in one batch", "/s"),
            column("bee-get", "gets of a bee", "/s"),
            column("bee-scan", "entries of a read stream", "/s"),
        ],
        makes: MAKES,
        base: "bare",
        note: "More is better; × is against Bare. Goal: at least 2×.",
    },
    Table {
        heading: "A writer and a reader",
        parts: &[column(
            "replicate",
            "blocks of 100 B from one process to the other",
            "/s",
        )],
        makes: MAKES,
        base: "bare",
        note: "Through a connection by key, read block by block from a stream, from the call of `connect` on. More is better; × is against Bare. Goal: at least 2×.",
    },
];

pub(crate) fn page(numbers: &Numbers) -> String {
    numbers.page(INTRO, TABLES)
}
