//! The files of an app in a drive. A program's modules are read from it as they are asked for, and nothing else is fetched; what a file was when the app
//! was started it stays, whatever its author publishes meanwhile.

use pome_cores::{Hypercore, replication::CoreEvent};
use pome_drive_fs::{Error, GetOptions, Hyperdrive};
use serde_json::Value;
use std::{
    collections::HashMap,
    fmt,
    future::Future,
    io,
    pin::pin,
    sync::{Arc, mpsc},
    time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::broadcast::{Receiver, error::RecvError},
};
use url::Url;

/// Which version of an app runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checkout {
    /// The one that its author has released, or the newest where none was.
    #[default]
    Release,
    /// The newest that is staged.
    Staged,
    /// This length of the drive's database.
    Length(u64),
}

/// Why the files of an app cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppDriveError {
    /// From the drive.
    #[error(transparent)]
    Drive(#[from] Error),
    /// From its database.
    #[error(transparent)]
    Database(#[from] pome_bee::Error),
    /// Nothing came.
    #[error("no block of {what} has come for {} s", patience.as_secs_f64())]
    Late {
        /// A path, or a record.
        what: String,
        /// How long it was waited for.
        patience: Duration,
    },
    /// A file of the app is larger than any that is read whole.
    #[error("{path} has {bytes} bytes: more than {limit} are not read")]
    TooLarge {
        /// The file, or a record.
        path: String,
        /// Its size.
        bytes: u64,
        /// What may be.
        limit: u64,
    },
    /// The tasks of the drive have ended.
    #[error("the drive is closed")]
    Closed,
}

/// A module is read whole: bytes.
const FILE_MAX: u64 = 256 << 20;
/// A package.json becomes values, which take many times its size: bytes.
const PACKAGE_MAX: u64 = 4 << 20;

fn limit(path: &str) -> u64 {
    match path.rsplit('/').next() == Some("package.json") {
        true => PACKAGE_MAX,
        false => FILE_MAX,
    }
}

impl AppDriveError {
    /// The code for `--json`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Drive(error) => error.code(),
            Self::Database(error) => error.code(),
            Self::Late { .. } => "TIMED_OUT",
            Self::TooLarge { .. } => "FILE_TOO_LARGE",
            Self::Closed => "SESSION_CLOSED",
        }
    }
}

impl From<AppDriveError> for io::Error {
    fn from(error: AppDriveError) -> Self {
        let kind = match &error {
            AppDriveError::Late { .. } => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

type Outcome<T> = Result<T, AppDriveError>;

/// The drive of an app, and the version of it that runs. Cheap to clone.
#[derive(Clone)]
pub struct AppDrive(Arc<Inner>);

struct Inner {
    live: Hyperdrive,
    files: Hyperdrive,
    release: Option<u64>,
    checkout: Checkout,
    channel: Option<String>,
    manifest: Value,
    tasks: Handle,
    waits: Waits,
    /// What is known of paths: the version does not move.
    entries: parking_lot::Mutex<HashMap<String, bool>>,
}

impl fmt::Debug for AppDrive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppDrive")
            .field("key", &self.0.live.key())
            .field("length", &self.length())
            .finish_non_exhaustive()
    }
}

impl AppDrive {
    /// The app in this drive, which has been brought up to date. Reads run as tasks of the runtime that this is called in; each fails after so long without
    /// a block that comes.
    ///
    /// # Errors
    /// [`AppDriveError`]: among them that the drive has no such version.
    pub async fn open(live: Hyperdrive, checkout: Checkout, patience: Duration) -> Outcome<Self> {
        let database = live.core().clone();
        let contents = within(&database, &database, patience, "its contents", live.blobs());
        let contents = contents.await?.core().clone();
        let waits = Waits {
            database,
            contents,
            patience,
        };
        let release = record(&live, &waits, "release").await?;
        let release = release.and_then(|value| value.as_u64());
        let newest = live.version();
        let length = match checkout {
            Checkout::Length(length) => length,
            Checkout::Staged => newest,
            // It may be ahead of what has come.
            Checkout::Release => release.unwrap_or(newest).min(newest),
        };
        let files = live.checkout(length)?;
        let channel = record(&live, &waits, "channel").await?;
        let mut this = Inner {
            manifest: record(&files, &waits, "manifest")
                .await?
                .unwrap_or_default(),
            channel: channel.and_then(|name| name.as_str().map(str::to_owned)),
            files,
            release,
            checkout,
            tasks: Handle::current(),
            waits,
            entries: parking_lot::Mutex::default(),
            live,
        };
        if this.manifest.is_null()
            && let Some(text) = this.contents("/package.json").await?
        {
            // A drive that was made otherwise than by staging.
            this.manifest = serde_json::from_slice(&text).unwrap_or_default();
        }
        Ok(Self(Arc::new(this)))
    }

    /// The drive as its author writes it.
    pub fn live(&self) -> &Hyperdrive {
        &self.0.live
    }

    /// The drive at the version that runs.
    pub fn files(&self) -> &Hyperdrive {
        &self.0.files
    }

    /// The version that runs.
    pub fn length(&self) -> u64 {
        self.0.files.version()
    }

    /// The drive's fork.
    pub fn fork(&self) -> u64 {
        self.0.live.core().fork()
    }

    /// The version that its author has released.
    pub fn release(&self) -> Option<u64> {
        self.0.release
    }

    /// The channel that it was staged in.
    pub fn channel(&self) -> Option<&str> {
        self.0.channel.as_deref()
    }

    /// Its package.json; null when there is none.
    pub fn manifest(&self) -> &Value {
        &self.0.manifest
    }

    pub(super) fn checkout(&self) -> Checkout {
        self.0.checkout
    }

    /// Where its files are for modules.
    pub fn origin(&self) -> String {
        format!("pear://{}", self.0.live.key())
    }

    /// The path in the drive that a URL names, if it is one of this drive.
    pub(crate) fn path_of(&self, url: &Url) -> Option<String> {
        let is_its =
            url.scheme() == "pear" && url.host_str() == Some(&self.0.live.key().to_string());
        is_its.then(|| path_text(url.path()))
    }

    /// Has the tasks of the drive do the work, and stands still until it is done: modules are found and read in the middle of calls.
    fn wait<T, F>(&self, work: impl FnOnce(Arc<Inner>) -> F) -> Outcome<T>
    where
        T: Send + 'static,
        F: Future<Output = Outcome<T>> + Send + 'static,
    {
        let (tell, told) = mpsc::sync_channel(1);
        let work = work(self.0.clone());
        self.0.tasks.spawn(async move {
            let _ = tell.send(work.await);
        });
        told.recv().unwrap_or(Err(AppDriveError::Closed))
    }

    /// True when there is a file.
    pub(crate) fn is_file(&self, path: &str) -> Outcome<bool> {
        if let Some(known) = self.0.entries.lock().get(path) {
            return Ok(*known);
        }
        let asked = path.to_owned();
        let found = self.wait(|inner| async move {
            let entry = inner.files.entry(&asked);
            inner.waits.on(&asked, entry).await
        });
        let found = match found {
            // What is no path is no file.
            Err(AppDriveError::Drive(Error::Path(_))) => None,
            found => found?,
        };
        self.0
            .entries
            .lock()
            .insert(path.to_owned(), found.is_some());
        Ok(found.is_some())
    }

    /// The bytes of a file; links are followed.
    pub(crate) fn read(&self, path: &str) -> Outcome<Option<Vec<u8>>> {
        let path = path.to_owned();
        self.wait(|inner| async move { inner.contents(&path).await })
    }

    /// The next version to run that is later than `seen`, once there is one, with the drive's fork.
    pub(crate) async fn newer(&self, seen: u64) -> Outcome<(u64, u64)> {
        let live = &self.0.live;
        let mut lengths = live.core().watch();
        loop {
            let (length, fork) = *lengths.borrow_and_update();
            let follows_releases = self.0.release.is_some() && self.0.checkout == Checkout::Release;
            let next = match follows_releases {
                false => length,
                true => {
                    let release = record(live, &self.0.waits, "release").await?;
                    release.and_then(|value| value.as_u64()).unwrap_or(0)
                }
            };
            // A release says which version; that one has to have come.
            if next > seen && next <= length {
                return Ok((next, fork));
            }
            if lengths.changed().await.is_err() {
                return Err(AppDriveError::Closed);
            }
        }
    }
}

/// A record of Pear's beside the files.
async fn record(drive: &Hyperdrive, waits: &Waits, name: &str) -> Outcome<Option<Value>> {
    let entry = waits.on(name, drive.db().get(name.as_bytes())).await?;
    let Some(text) = entry.and_then(|entry| entry.value) else {
        return Ok(None);
    };
    check_size(name, text.len() as u64, PACKAGE_MAX)?;
    Ok(serde_json::from_slice(&text).ok())
}

fn check_size(path: &str, bytes: u64, limit: u64) -> Outcome<()> {
    match bytes > limit {
        true => Err(AppDriveError::TooLarge {
            path: path.into(),
            bytes,
            limit,
        }),
        false => Ok(()),
    }
}

impl Inner {
    async fn contents(&self, path: &str) -> Outcome<Option<Vec<u8>>> {
        let follow = GetOptions {
            follow: true,
            ..GetOptions::default()
        };
        let entry = self.files.entry_with(path, &follow);
        let Some(entry) = self.waits.on(path, entry).await? else {
            return Ok(None);
        };
        let length = self.files.content_length(&entry);
        check_size(path, self.waits.on(path, length).await?, limit(path))?;
        let read = self.files.get(&entry.path);
        Ok(self.waits.on(path, read).await?.map(Vec::from))
    }
}

/// Whose blocks are waited for, and how long each.
struct Waits {
    database: Hypercore,
    contents: Hypercore,
    patience: Duration,
}

impl Waits {
    async fn on<T, E>(&self, what: &str, work: impl Future<Output = Result<T, E>>) -> Outcome<T>
    where
        AppDriveError: From<E>,
    {
        within(&self.database, &self.contents, self.patience, what, work).await
    }
}

/// Waits for `work` as long as blocks come.
async fn within<T, E>(
    one: &Hypercore,
    other: &Hypercore,
    patience: Duration,
    what: &str,
    work: impl Future<Output = Result<T, E>>,
) -> Outcome<T>
where
    AppDriveError: From<E>,
{
    let mut work = pin!(work);
    let (mut one, mut other) = (one.events(), other.events());
    loop {
        tokio::select! {
            done = &mut work => return Ok(done?),
            () = came(&mut one) => {}
            () = came(&mut other) => {}
            () = tokio::time::sleep(patience) => {
                return Err(AppDriveError::Late { what: what.into(), patience });
            }
        }
    }
}

/// Waits for a block.
async fn came(events: &mut Receiver<CoreEvent>) {
    loop {
        match events.recv().await {
            Ok(CoreEvent::Download { .. } | CoreEvent::Append { .. })
            | Err(RecvError::Lagged(_)) => {
                return;
            }
            Ok(_) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

/// A path of a URL as a path in a drive.
fn path_text(path: &str) -> String {
    // The same rules as for files on disk.
    let file = Url::parse(&format!("file://{path}"));
    let path = file.ok().and_then(|url| url.to_file_path().ok());
    path.map_or_else(String::new, |path| path.to_string_lossy().into_owned())
}
