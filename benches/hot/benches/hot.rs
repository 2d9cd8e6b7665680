//! How long the hot functions take: `cargo bench -p pome-bench-hot`.
#![allow(clippy::unwrap_used, reason = "a benchmark that fails says where")]
#![allow(missing_docs, reason = "criterion writes the main function")]

use criterion::{Criterion, criterion_group, criterion_main};

fn hot(c: &mut Criterion) {
    for hot in pome_bench_hot::ALL {
        let mut work = (hot.make)().unwrap();
        c.bench_function(hot.name, |b| b.iter(|| work().unwrap()));
    }
}

criterion_group!(benches, hot);
criterion_main!(benches);
