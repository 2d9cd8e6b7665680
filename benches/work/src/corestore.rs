//! Many cores in one store.

use crate::{Job, Result, VERSION, core::open};
use pome_bench_support::Worker;
use pome_cores::{CoreOptions, Corestore};

pub(crate) async fn measure(job: &Job) -> Result<()> {
    let mut store = open(&job.folder)?;
    match job.workload.as_str() {
        "cores-make" => {
            let worker = Worker::ready()?;
            touch(&store, job.size).await?;
            worker.done(job.size, 0, VERSION)?;
        }
        "cores-open" => {
            touch(&store, job.size).await?;
            store.close().await?;
            let worker = Worker::ready()?;
            store = open(&job.folder)?;
            touch(&store, job.size).await?;
            worker.done(job.size, 0, VERSION)?;
        }
        other => return Err(format!("no workload {other}").into()),
    }
    Ok(store.close().await?)
}

/// Opens each core, which makes it where it is not there, and closes it.
async fn touch(store: &Corestore, count: u64) -> Result<()> {
    for n in 0..count {
        let core = store.get(CoreOptions::name(format!("core {n}"))).await?;
        core.close().await?;
    }
    Ok(())
}
