//! The engines that `pome bench` measures pome beside, which pome itself does not carry: `pome-bench-peers ENGINE WORKLOAD FOLDER SIZE OPS SOURCE PLACE` does a workload `store-…`.

#[expect(dead_code, reason = "the program beside this one opens ours too")]
mod engine;

use engine::Result;
use pome_bench_work::{Job, store};

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [name, workload, folder, size, ops, source, place] = &words[..] else {
        return Err("an engine and a piece of work are wanted".into());
    };
    let job = Job {
        workload: workload.clone(),
        folder: folder.into(),
        size: size.parse()?,
        ops: ops.parse()?,
        source: source.into(),
        place: place.clone(),
    };
    // The crate of LMDB has another name.
    let package = if name == "lmdb" { "heed" } else { name };
    let versions = engine::versions();
    let version = match versions
        .iter()
        .find(|(crate_of, _)| crate_of.contains(package))
    {
        Some((crate_of, version)) if crate_of == name => format!("{name} {version}"),
        Some((crate_of, version)) => format!("{name} ({crate_of} {version})"),
        None => name.clone(),
    };
    store::measure(&job, &version, &|folder| engine::open(name, folder))
}
