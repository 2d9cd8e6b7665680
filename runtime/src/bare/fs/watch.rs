//! Told when files change, by the system's inotify.

use std::{
    collections::HashMap,
    ffi::{OsStr, OsString},
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
    rc::Rc,
    sync::Arc,
};

use parking_lot::Mutex;
use rquickjs::{Class, Ctx, Function, JsLifetime, class::Trace};
use rustix::{
    fs::{
        FileType,
        inotify::{self, CreateFlags, ReadFlags, WatchFlags},
    },
    io::Errno,
};
use tokio::{io::unix::AsyncFd, sync::watch};

use super::{request::name_reply, tree};
use crate::{
    bare::{
        failure::Failure,
        io::poll,
        reply::Reply,
        task::{self, Liveness},
    },
    permissions::{self, Place},
};

/// How many bytes of changes are read at once; each takes 16 and its name.
const READ_BYTES: usize = 4096;

/// What is watched, and where each of the system's watches is.
struct Watched {
    inotify: AsyncFd<OwnedFd>,
    root: Place,
    root_is_file: bool,
    is_recursive: bool,
    folders: Mutex<HashMap<i32, Place>>,
}

/// One change: `rename` (came, went, was renamed) or `change`, and the name below what is watched.
type Change = (&'static str, OsString);

impl Watched {
    fn new(root: Place, is_recursive: bool) -> Result<Self, Failure> {
        let kind = FileType::from_raw_mode(root.stat()?.st_mode);
        let root_is_file = kind != FileType::Directory;
        let inotify = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let watched = Self {
            inotify: poll::watch(inotify)?,
            root: root.clone(),
            root_is_file,
            is_recursive,
            folders: Mutex::default(),
        };
        watched.add(&root)?;
        Ok(watched)
    }

    /// Watches a file, or a folder and, where that is wanted, those below.
    fn add(&self, place: &Place) -> Result<(), Failure> {
        let flags = WatchFlags::ATTRIB
            | WatchFlags::CREATE
            | WatchFlags::MODIFY
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO;
        let at = place.at()?;
        let id = inotify::add_watch(self.inotify.get_ref(), at.reach()?.path(), flags)?;
        self.folders.lock().insert(id, place.clone());
        if !self.is_recursive || self.root_is_file {
            return Ok(());
        }
        // A folder that went meanwhile has nothing to watch.
        for name in tree::folders(&at).unwrap_or_default() {
            self.add_found(&place.child(&name))?;
        }
        Ok(())
    }

    /// As [`add`](Self::add), for a folder that was there a moment ago.
    fn add_found(&self, place: &Place) -> Result<(), Failure> {
        match self.add(place) {
            Err(failure) if matches!(&*failure.code, "ENOENT" | "ENOTDIR" | "ELOOP") => Ok(()),
            added => added,
        }
    }

    async fn next(&self) -> Result<Vec<Change>, Failure> {
        loop {
            let mut ready = self.inotify.readable().await?;
            let changes = self.read()?;
            match changes {
                Some(changes) if !changes.is_empty() => return Ok(changes),
                Some(_) => {}
                None => ready.clear_ready(),
            }
        }
    }

    /// What has changed; nothing when there is nothing to read.
    fn read(&self) -> Result<Option<Vec<Change>>, Failure> {
        let mut buffer = [std::mem::MaybeUninit::uninit(); READ_BYTES];
        let mut reader = inotify::Reader::new(self.inotify.get_ref(), &mut buffer);
        let mut changes = Vec::new();
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let flags = event.events();
            let name = event
                .file_name()
                .map(|name| OsStr::from_bytes(name.to_bytes()));
            let folder = self.folders.lock().get(&event.wd()).cloned();
            if let Some(folder) = folder {
                let path = name.map_or_else(|| folder.clone(), |name| folder.child(name));
                let came = ReadFlags::CREATE | ReadFlags::MOVED_TO;
                if self.is_recursive && flags.contains(ReadFlags::ISDIR) && flags.intersects(came) {
                    self.add_found(&path)?;
                }
                if flags.contains(ReadFlags::IGNORED) {
                    self.folders.lock().remove(&event.wd());
                } else {
                    let changed = ReadFlags::ATTRIB | ReadFlags::MODIFY;
                    let kind = if flags.intersects(changed) {
                        "change"
                    } else {
                        "rename"
                    };
                    changes.push((kind, self.relative(path.written())));
                }
            }
            if reader.is_buffer_empty() {
                return Ok(Some(changes));
            }
        }
    }

    /// The name below the root; a watched file has its own.
    fn relative(&self, path: &Path) -> OsString {
        match path.strip_prefix(self.root.written()) {
            Ok(below) if !below.as_os_str().is_empty() => below.as_os_str().to_owned(),
            _ => path.file_name().unwrap_or(path.as_os_str()).to_owned(),
        }
    }
}

/// What `watch` answers with: changes are asked for batch by batch.
#[derive(Trace, JsLifetime)]
#[rquickjs::class]
pub(crate) struct Watch {
    #[qjs(skip_trace)]
    watched: Arc<Watched>,
    #[qjs(skip_trace)]
    is_closed: watch::Sender<bool>,
    #[qjs(skip_trace)]
    live: Rc<Liveness>,
}

#[rquickjs::methods]
impl Watch {
    /// `callback(err, [kind, name, kind, name, …])`.
    fn next<'js>(&self, ctx: Ctx<'js>, callback: Function<'js>) {
        let watched = self.watched.clone();
        let mut is_closed = self.is_closed.subscribe();
        task::run(&ctx, &self.live, callback, async move {
            let changes = tokio::select! {
                biased;
                _ = is_closed.wait_for(|is_closed| *is_closed) => {
                    return Err(Failure::named("ECANCELED"));
                }
                changes = watched.next() => changes?,
            };
            let flat = changes
                .into_iter()
                .flat_map(|(kind, name)| [Reply::from(kind), name_reply(&name)]);
            Ok(Reply::List(flat.collect()))
        });
    }

    fn close(&self) {
        self.is_closed.send_replace(true);
    }

    #[qjs(rename = "ref")]
    fn ref_(&self) {
        self.live.set(true);
    }

    fn unref(&self) {
        self.live.set(false);
    }
}

/// `watch(path, recursive)`.
pub(super) fn start<'js>(
    ctx: Ctx<'js>,
    path: String,
    is_recursive: bool,
) -> rquickjs::Result<Class<'js, Watch>> {
    let root = permissions::file(&ctx, &path).map_err(|refused| refused.throw(&ctx))?;
    let watched = Watched::new(root, is_recursive).map_err(|failure| {
        let failure = super::FileFailure::path(failure, "watch", path.as_str());
        match task::IntoError::into_error(failure, &ctx) {
            Ok(error) => ctx.throw(error),
            Err(error) => error,
        }
    })?;
    let watch = Watch {
        watched: Arc::new(watched),
        is_closed: watch::Sender::new(false),
        live: Liveness::new(&ctx),
    };
    Class::instance(ctx, watch)
}
