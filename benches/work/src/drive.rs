//! Drives and folders.

use crate::{Job, Result, VERSION, core::open};
use futures_util::TryStreamExt;
use pome_bench_support::Worker;
use pome_drive_fs::{
    DriveOptions, Hyperdrive, ListOptions, LocalOptions, Localdrive, MirrorCount, MirrorOptions,
    MirrorSide, Mirrordrive,
};

async fn mirror(from: impl Into<MirrorSide>, to: impl Into<MirrorSide>) -> Result<MirrorCount> {
    let mirror = Mirrordrive::new(from, to, MirrorOptions::default());
    Ok(mirror.run(|_| ()).await?)
}

pub(crate) async fn measure(job: &Job) -> Result<()> {
    let store = open(&job.folder.join("store"))?;
    let drive = Hyperdrive::open(store.clone(), DriveOptions::default()).await?;
    let local = Localdrive::open(&job.source, LocalOptions::default())?;
    let import = || mirror(local.clone(), drive.clone());
    if job.workload == "drive-import" {
        let worker = Worker::ready()?;
        let count = import().await?;
        worker.done(count.files, count.bytes_added, VERSION)?;
        return Ok(store.close().await?);
    }
    let bytes = import().await?.bytes_added;
    let files = match job.workload.as_str() {
        "drive-export" => {
            let target = job.folder.join("target");
            std::fs::create_dir(&target)?;
            let target = Localdrive::open(target, LocalOptions::default())?;
            let worker = Worker::ready()?;
            let count = mirror(drive.clone(), target).await?;
            worker.done(count.files, bytes, VERSION)?;
            count.files
        }
        "drive-mirror" => {
            let worker = Worker::ready()?;
            let count = import().await?;
            if count.bytes_added != 0 {
                return Err("something changed".into());
            }
            worker.done(count.files, bytes, VERSION)?;
            count.files
        }
        "drive-list" => {
            let worker = Worker::ready()?;
            let mut entries = Box::pin(drive.list("/", ListOptions::default()));
            let mut count = 0;
            while entries.try_next().await?.is_some() {
                count += 1;
            }
            worker.done(count, 0, VERSION)?;
            count
        }
        other => return Err(format!("no workload {other}").into()),
    };
    if files != job.size {
        return Err(format!("{files} files of {}", job.size).into());
    }
    Ok(store.close().await?)
}
