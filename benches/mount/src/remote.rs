//! A drive that is elsewhere: one large file, read through a mount, and its blocks downloaded without one. Who has it and who fetches it are processes of this program,
//! joined over loopback.

use crate::Result;
use pome_bench_support::{end, ended, touch_memory};
use pome_cores::{Corestore, Key, KeyPair, Store};
use pome_drive_fs::{
    DriveOptions, Hyperdrive, PutOptions,
    fuse::{self, MountOptions},
};
use pome_net::driver::{Connection, ConnectionOptions, ReplicateOptions, Replication, tcp};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

/// The name under which it stands in the numbers.
pub(crate) const REMOTE: &str = "remote read, MiB/s";
pub(crate) const DOWNLOAD: &str = "download";
pub(crate) const MOUNT: &str = "mount";

const NAME: &str = "film";
/// What a side may take to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process of this program, which ends with its stdin.
struct Side {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Side {
    fn start(words: &[&str]) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("--remote")
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let said = child.stdout.take().ok_or("it has no stdout")?;
        let said = BufReader::new(said);
        Ok(Self { child, said })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        match self.said.read_line(&mut line)? {
            0 => Err("the other side ended".into()),
            _ => Ok(line.trim().to_owned()),
        }
    }

    fn end(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        match self.child.wait()?.success() {
            true => Ok(()),
            false => Err("the other side failed".into()),
        }
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        // Where the work broke off: what it has mounted goes when its stdin ends.
        drop(self.child.stdin.take());
        if !matches!(ended(&mut self.child, PATIENCE), Ok(Some(_))) {
            end(&mut self.child);
        }
    }
}

fn text(path: &Path) -> Result<&str> {
    Ok(path.to_str().ok_or("a path that is no text")?)
}

/// A drive that a process serves.
struct Far {
    writer: Side,
    key: String,
    port: String,
    mib: usize,
}

impl Far {
    fn start(room: &Path, mib: usize) -> Result<Self> {
        let mut writer = Side::start(&["write", text(room)?, &mib.to_string()])?;
        let said = writer.line()?;
        let (key, port) = said.split_once(' ').ok_or("it says nothing")?;
        let (key, port) = (key.to_owned(), port.to_owned());
        Ok(Self {
            writer,
            key,
            port,
            mib,
        })
    }

    /// MiB/s of a download into `room`.
    fn download(&self, room: &Path) -> Result<f64> {
        self.before();
        let mut reader = Side::start(&["download", text(room)?, &self.key, &self.port])?;
        let seconds: f64 = reader.line()?.parse()?;
        reader.end()?;
        Ok(self.mib as f64 / seconds)
    }

    /// MiB/s of a read through a mount.
    fn mount(&self, room: &Path) -> Result<f64> {
        let (below, at) = (room.join("below"), room.join("at"));
        std::fs::create_dir(&below)?;
        std::fs::create_dir(&at)?;
        self.before();
        let words = ["mount", text(&below)?, &self.key, &self.port, text(&at)?];
        let mut reader = Side::start(&words)?;
        reader.line()?;
        let mut file = File::open(at.join(NAME))?;
        let mut buffer = vec![0; 1 << 20];
        let began = Instant::now();
        let mut read = 0;
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                count => read += count,
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        drop(file);
        if read != self.mib << 20 {
            return Err(format!("{read} bytes came").into());
        }
        reader.end()?;
        Ok(self.mib as f64 / seconds)
    }

    /// Neither finds the disk busy with what the other left, nor memory that only the other has used.
    fn before(&self) {
        rustix::fs::sync();
        touch_memory(3 * self.mib);
    }
}

/// MiB/s of the download, and of the read through a mount; which is first changes with the round.
pub(crate) fn round(number: usize, room: &Path, mib: usize) -> Result<(f64, f64)> {
    let from = tempfile::tempdir_in(room)?;
    let far = Far::start(from.path(), mib)?;
    let download = || far.download(tempfile::tempdir_in(room)?.path());
    let mount = || far.mount(tempfile::tempdir_in(room)?.path());
    let both = match number % 2 {
        0 => (download()?, mount()?),
        _ => {
            let mount = mount()?;
            (download()?, mount)
        }
    };
    far.writer.end()?;
    Ok(both)
}

/// What a process of this program does.
pub(crate) fn side(words: &[String]) -> Result<()> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match words[..] {
            ["write", folder, mib] => write(folder.as_ref(), mib.parse()?).await,
            ["download", folder, key, port] => {
                let (drive, _joined) = join(folder.as_ref(), key.parse()?, port.parse()?).await?;
                let entry = drive.entry(NAME).await?.ok_or("there is no file")?;
                let blob = entry.value.blob.ok_or("it has no content")?;
                let core = drive.blobs().await?.core().clone();
                let began = Instant::now();
                let end = blob.block_offset + blob.block_length;
                core.download(blob.block_offset..end)?.done().await?;
                println!("{}", began.elapsed().as_secs_f64());
                stdin_ended()
            }
            ["mount", folder, key, port, at] => {
                let (drive, _joined) = join(folder.as_ref(), key.parse()?, port.parse()?).await?;
                drive.entry(NAME).await?.ok_or("there is no file")?;
                let cores = drive.corestore().clone();
                let options = MountOptions::default();
                let mounted = fuse::mount(&cores, &drive, at.as_ref(), options).await?;
                println!("mounted");
                stdin_ended()?;
                mounted.unmount().await?.published?;
                Ok(())
            }
            _ => Err("no such side".into()),
        }
    })
}

fn stdin_ended() -> Result<()> {
    for line in std::io::stdin().lines() {
        line?;
    }
    Ok(())
}

async fn write(folder: &Path, mib: usize) -> Result<()> {
    let cores = Corestore::open(Store::open(folder, Default::default())?)?;
    let drive = Hyperdrive::open(cores.clone(), DriveOptions::default()).await?;
    let mut to = drive.put_stream(NAME, PutOptions::default()).await?;
    let mut random = SmallRng::seed_from_u64(7);
    for _ in 0..mib {
        let mut piece = vec![0; 1 << 20];
        random.fill_bytes(&mut piece);
        to.write(piece).await?;
    }
    to.finish().await?;
    cores.store().sync()?;
    let options = ConnectionOptions::default();
    let server = tcp::Server::bind("127.0.0.1:0", KeyPair::random(), options).await?;
    println!("{} {}", drive.key(), server.address().port());
    let (drive, answers) = drive.with_extension();
    tokio::spawn(answers.run());
    let serving = tokio::spawn(async move {
        let mut kept: Vec<(Connection, Replication)> = vec![];
        while let Ok(connection) = server.accept().await {
            let replication = connection.replicate(&cores, ReplicateOptions::default());
            kept.push((connection, replication));
        }
    });
    tokio::task::spawn_blocking(|| stdin_ended().map_err(|error| error.to_string())).await??;
    serving.abort();
    drop(drive);
    Ok(())
}

async fn join(
    folder: &Path,
    key: Key,
    port: u16,
) -> Result<(Hyperdrive, (Connection, Replication))> {
    let cores = Corestore::open(Store::open(folder, Default::default())?)?;
    let options = DriveOptions {
        key: Some(key),
        ..DriveOptions::default()
    };
    let drive = Hyperdrive::open(cores.clone(), options).await?;
    let (drive, answers) = drive.with_extension();
    tokio::spawn(answers.run());
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let connection =
        tcp::connect(address, &KeyPair::random(), &ConnectionOptions::default()).await?;
    let replication = connection.replicate(&cores, ReplicateOptions::default());
    let looking = drive.finding_peers();
    while drive.core().peers().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    drop(looking);
    drive.core().update().await?;
    drive.blobs().await?.core().update().await?;
    Ok((drive, (connection, replication)))
}
