//! Files in a mounted drive, and where else they may be.

use crate::{Job, Result, VERSION, core::open};
use pome_bench_support::{Worker, end, shows, until_mounted};
use pome_cores::Corestore;
use pome_drive_fs::{
    DriveOptions, Hyperdrive,
    fuse::{self, MountOptions, Mounted},
};
use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Bytes of one write.
const PIECE: usize = 1 << 20;

/// Where the files are, and what serves them.
struct Place {
    at: PathBuf,
    version: String,
    mounted: Option<(Mounted, Corestore)>,
    server: Option<Child>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(mut server) = self.server.take() {
            // Lazily: nothing is to be kept of it.
            let _ = rustix::mount::unmount(&self.at, rustix::mount::UnmountFlags::DETACH);
            end(&mut server);
        }
    }
}

/// The first line that a program says of itself.
fn version(program: &str) -> Result<String> {
    let said = Command::new(program).arg("--version").output()?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    let first = text.lines().next().unwrap_or(program);
    Ok(first.split(';').next().unwrap_or(first).to_owned())
}

async fn place(job: &Job) -> Result<Place> {
    let (at, below) = (job.folder.join("at"), job.folder.join("below"));
    fs::create_dir(&at)?;
    fs::create_dir(&below)?;
    let mut place = Place {
        at,
        version: VERSION.into(),
        mounted: None,
        server: None,
    };
    match job.place.as_str() {
        "pome" => {
            let cores = open(&below)?;
            let drive = Hyperdrive::open(cores.clone(), DriveOptions::default()).await?;
            let mounted = fuse::mount(&cores, &drive, &place.at, MountOptions::default()).await?;
            place.mounted = Some((mounted, cores));
        }
        "disk" => place.version = "the disk itself".into(),
        other @ ("bindfs" | "gocryptfs") => {
            place.version = version(other)?;
            let mut command = shows(other, &below, &place.at)?;
            let quiet = command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            let server = place.server.insert(quiet.spawn()?);
            until_mounted(&place.at, server)?;
        }
        other => return Err(format!("no place {other}").into()),
    }
    Ok(place)
}

pub(crate) async fn measure(job: &Job) -> Result<()> {
    let mut place = place(job).await?;
    let (work, at, version) = (job.clone(), place.at.clone(), place.version.clone());
    // The mount is served by this process too: its requests are not to wait for this work.
    let outcome = tokio::task::spawn_blocking(move || measure_in(&work, &at, &version)).await;
    let gone = match place.mounted.take() {
        Some(mounted) => unmount(mounted).await,
        None => Ok(()),
    };
    outcome??;
    gone
}

async fn unmount((mounted, cores): (Mounted, Corestore)) -> Result<()> {
    mounted.unmount().await?.published?;
    Ok(cores.close().await?)
}

fn measure_in(job: &Job, at: &Path, version: &str) -> Result<()> {
    let (large, many) = (at.join("large"), at.join("many"));
    let bytes = job.size << 20;
    match job.workload.as_str() {
        "mount-write" => {
            let worker = Worker::ready()?;
            write(&large, job.size)?;
            worker.done(job.size, bytes, version)?;
        }
        "mount-read" => {
            write(&large, job.size)?;
            let worker = Worker::ready()?;
            let mut file = File::open(&large)?;
            let mut buffer = vec![0; PIECE];
            let mut read = 0;
            loop {
                match file.read(&mut buffer)? {
                    0 => break,
                    len => read += len as u64,
                }
            }
            if read != bytes {
                return Err("bytes are missing".into());
            }
            worker.done(job.size, bytes, version)?;
        }
        "mount-create" => {
            let worker = Worker::ready()?;
            create(&many, job.size)?;
            worker.done(job.size, job.size * 100, version)?;
        }
        "mount-walk" => {
            create(&many, job.size)?;
            let worker = Worker::ready()?;
            let mut count = 0;
            for folder in fs::read_dir(&many)? {
                for file in fs::read_dir(folder?.path())? {
                    count += u64::from(file?.metadata()?.len() == 100);
                }
            }
            if count != job.size {
                return Err("files are missing".into());
            }
            worker.done(count, 0, version)?;
        }
        other => return Err(format!("no workload {other}").into()),
    }
    Ok(())
}

fn write(path: &Path, pieces: u64) -> Result<()> {
    let mut file = File::create(path)?;
    let mut piece: Vec<u8> = (0..PIECE).map(|i| (i * 7 + (i >> 8)) as u8).collect();
    for n in 0..pieces {
        piece[..8].copy_from_slice(&n.to_le_bytes());
        file.write_all(&piece)?;
    }
    Ok(file.sync_all()?)
}

/// Files of 100 B, a thousand to a folder.
fn create(folder: &Path, count: u64) -> Result<()> {
    for n in 0..count {
        let folder = folder.join((n / 1000).to_string());
        if n % 1000 == 0 {
            fs::create_dir_all(&folder)?;
        }
        File::create_new(folder.join(format!("file-{n}")))?.write_all(&[b'x'; 100])?;
    }
    Ok(())
}
