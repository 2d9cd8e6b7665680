//! From the overlay to a version of the drive: when, and how nothing is lost on the way.
//!
//! 1. The contents of the files that are ready go into the blobs core, piece by piece. Names and writes go on.
//! 2. Names are frozen; the [plan](super::plan) says what to put and remove.
//! 3. One commit has the entries and the removal of the records that they make needless. A crash before it
//!    leaves the overlay as it was (and bytes in the blobs core that nothing points at).
//! 4. Memory follows. A file that was written to since its copy was taken keeps the later writes over the new content.

use super::{
    error::{Result, VfsError},
    file::Copy,
    lower::{Content, Found, LowerError, Tree},
    name::join,
    node::{File, Ino, ROOT, Slot},
    overlay::KindRecord,
    patch::Upload,
    plan::{Plan, Uploads},
    state::State,
    vfs::{Pending, Vfs},
};
use bytes::Bytes;
use parking_lot::Mutex;
use pome_cores::Batch;
use std::{
    collections::HashSet,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Files up to this size share an append.
const SMALL_BYTES: u64 = 256 * 1024;
/// Together at most this much.
const SHARED_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Old versions are dropped so long after a publication …
const TIDY_AFTER: Duration = Duration::from_secs(1);
/// … and this many times as long as it took the last time.
const TIDY_PART: u32 = 10;
/// How often a publication is planned anew because somebody else wrote meanwhile; then it goes over that, whatever it is.
const PLANS: u32 = 16;
/// Longest pause between tries when the drive or the disk refuses, and after a publication that took long.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Names stand still while a version is made of them: then comes a pause so many times as long, else who works in the mount would get no further. A file of
/// thousands of names is thousands of entries at each change.
const REST_PART: u32 = 2;

/// What a publication builds on: until its end no old version may be dropped that has it.
pub(crate) struct Publishing {
    /// The drive's, when it began. What later ones have is kept too.
    pub(crate) version: u64,
    /// Published contents below what is written, and copied ones: no version need have them.
    pub(crate) contents: Vec<Content>,
}

/// A publication, for as long as it runs.
struct Runs<'a>(&'a Vfs);

impl<'a> Runs<'a> {
    fn begin(vfs: &'a Vfs) -> Self {
        let mut state = vfs.state.lock();
        state.publishing = Some(Publishing {
            version: state.tree.version(),
            contents: Vec::new(),
        });
        Self(vfs)
    }
}

impl Drop for Runs<'_> {
    fn drop(&mut self) {
        self.0.state.lock().publishing = None;
    }
}

/// A file that could not be published, because what it was before cannot be read.
#[derive(Debug)]
pub(crate) struct Unreadable {
    why: String,
    tries: u32,
    /// When it is tried again; at once where it was written to since.
    again: Instant,
    last_write: Option<Instant>,
}

#[derive(Default)]
struct Times {
    first: Option<Instant>,
    last: Option<Instant>,
    retry_after: Option<Instant>,
    /// The last publication took long: the next waits until then.
    rest_until: Option<Instant>,
    failures: u32,
}

/// When to publish.
#[derive(Default)]
pub(crate) struct Publisher {
    times: Mutex<Times>,
    wake: tokio::sync::Notify,
    /// One publication at a time. True: none any more.
    one: tokio::sync::Mutex<bool>,
    closed: AtomicBool,
}

impl Publisher {
    /// Names, attributes or a whole file changed: publish soon.
    pub(crate) fn changed(&self) {
        let now = Instant::now();
        let mut times = self.times.lock();
        let quiet = times.first.is_none();
        times.first.get_or_insert(now);
        times.last = Some(now);
        drop(times);
        if quiet {
            self.wake.notify_one();
        }
    }

    /// A publication began then, and has ended.
    pub(crate) fn published(&self, began: Instant) {
        let now = Instant::now();
        let rest = (now - began).saturating_mul(REST_PART).min(PAUSE_MAX);
        let mut times = self.times.lock();
        (times.retry_after, times.failures) = (None, 0);
        times.rest_until = Some(now + rest);
    }

    /// A file that is open was written to: publish once that has stopped.
    pub(crate) fn written(&self) {
        self.wake.notify_one();
    }
}

impl Vfs {
    /// Publishes in the background, as the options say, until the last other holder of this `Vfs` drops it. Must run on a tokio
    /// runtime with time.
    pub async fn keep_publishing(vfs: Weak<Self>) {
        let mut tidy_at = None;
        let mut tidy_took = Duration::ZERO;
        loop {
            let Some(this) = vfs.upgrade() else { return };
            if this.publisher.closed.load(Ordering::Acquire) {
                return;
            }
            let now = Instant::now();
            if tidy_at.is_some_and(|at| at <= now) {
                tidy_at = None;
                if let Err(error) = this.drive.tidy().await {
                    tracing::warn!(%error, "old versions were not dropped; it will be tried again");
                }
                tidy_took = now.elapsed();
                continue;
            }
            match this.due() {
                Some(due) if due <= now => match this.publish(false).await {
                    Ok(_) => {
                        this.publisher.published(now);
                        tidy_at.get_or_insert(now + TIDY_AFTER + tidy_took * TIDY_PART);
                    }
                    Err(error) => this.failed(&error),
                },
                due => {
                    let pause = due
                        .into_iter()
                        .chain(tidy_at)
                        .min()
                        .map_or(Duration::from_secs(5), |due| due - now)
                        .min(Duration::from_secs(5));
                    // Woken for a new first change; otherwise it looks again when the earliest may be due.
                    let wake = this.clone();
                    drop(this);
                    let woken = tokio::time::timeout(pause, wake.publisher.wake.notified())
                        .await
                        .is_ok();
                    if woken {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
            }
        }
    }

    /// Ends publishing: what is in the overlay now stays for the next who opens it. Waits for the publication that runs.
    pub async fn close_publishing(&self) {
        *self.publisher.one.lock().await = true;
        self.publisher.closed.store(true, Ordering::Release);
        self.publisher.wake.notify_one();
    }

    fn failed(&self, error: &VfsError) {
        let mut times = self.publisher.times.lock();
        times.failures = times.failures.saturating_add(1);
        let pause = pause_after(times.failures);
        times.retry_after = Some(Instant::now() + pause);
        times.first.get_or_insert_with(Instant::now);
        times.last.get_or_insert_with(Instant::now);
        tracing::error!(%error, retry_s = pause.as_secs(), "publishing failed; the changes stay in the overlay");
    }

    /// When the next publication is due.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.read_only {
            return None;
        }
        let times = self.publisher.times.lock();
        let names = times
            .first
            .zip(times.last)
            .map(|(first, last)| (last + self.options.quiet).min(first + self.options.at_most));
        let earliest = times.retry_after.max(times.rest_until);
        drop(times);
        let state = self.state.lock();
        let files = state.dirty.iter().filter_map(|ino| {
            let file = state.nodes.get(ino).filter(|n| n.linked)?.file()?;
            let held = state.held_until(*ino, file);
            if file.writers == 0 {
                return held;
            }
            let (first, last) = file.first_write.zip(file.last_write)?;
            let due = (last + self.options.open_quiet).min(first + self.options.open_at_most);
            Some(held.map_or(due, |held| due.max(held)))
        });
        let due = files.chain(names).min()?;
        Some(earliest.map_or(due, |earliest| due.max(earliest)))
    }

    /// Publishes all that is in the overlay, files that are open for writing too, and answers the drive's version.
    ///
    /// # Errors
    /// Those of the drive and the disk; what is in the overlay stays there, and is tried again by [`keep_publishing`](Self::keep_publishing).
    /// `Unreadable` when a file could not be published because what it was before cannot be read: everything else was.
    /// The future must be run to its end, on a tokio runtime with time: memory follows what was committed.
    pub async fn publish_now(&self) -> Result<u64> {
        if self.read_only {
            return Ok(self.version());
        }
        self.take_from_kernel(None).await;
        let published = self.publish(true).await;
        if let Err(error) = &published {
            self.failed(error);
        }
        match self.unreadable().into_iter().next() {
            Some((path, why)) if published.is_ok() => Err(VfsError::Unreadable { path, why }),
            Some(_) | None => published,
        }
    }

    /// The files that could not be published because what they were before cannot be read: path, and why.
    pub(crate) fn unreadable(&self) -> Vec<(String, String)> {
        let state = self.state.lock();
        let files = state.unreadable.iter();
        let linked = files.filter(|(ino, _)| state.nodes.get(ino).is_some_and(|n| n.linked));
        linked
            .map(|(ino, file)| (state.path_of(*ino), file.why.clone()))
            .collect()
    }

    /// Publishes what is ready, or all.
    pub(crate) async fn publish(&self, all: bool) -> Result<u64> {
        let closed = self.publisher.one.lock().await;
        if *closed {
            let nothing = self.pending() == Pending::default();
            return if nothing {
                Ok(self.version())
            } else {
                Err(LowerError::Closed.into())
            };
        }
        {
            let mut times = self.publisher.times.lock();
            (times.first, times.last) = (None, None);
        }
        self.take_before_refresh().await?;
        let _runs = Runs::begin(self);
        let ready: Vec<Ino> = {
            let mut state = self.state.lock();
            state.forget_readable();
            state
                .dirty
                .iter()
                .copied()
                .filter(|ino| all || self.is_ready(&state, *ino))
                .collect()
        };
        let uploads = self.upload(&ready).await?;
        let _names = self.names.write().await;
        let mut plans = 0;
        loop {
            plans += 1;
            self.refresh_frozen().await?;
            let tree = self.state.lock().tree.clone();
            let mut plan = Plan::make(self, &tree, &uploads).await?;
            let (batch, kept) = {
                let state = self.state.lock();
                state.leave(&plan, &uploads)?
            };
            let changes = plan.take_changes();
            if changes.is_empty() {
                let mut state = self.state.lock();
                state.overlay.commit(batch)?;
                state.follow(&tree, &plan, &uploads, &kept);
                return Ok(tree.version());
            }
            let count = changes.len();
            let keys: HashSet<String> = changes
                .iter()
                .map(|change| change.path().to_owned())
                .collect();
            let patient = plans < PLANS;
            let over = patient.then(|| tree.version());
            let Some(new) = self.drive.publish(over, changes, batch).await? else {
                // Somebody else wrote between: what is published must be over that.
                continue;
            };
            self.state.lock().follow(&new, &plan, &uploads, &kept);
            let version = new.version();
            tracing::debug!(version, entries = count, files = uploads.len(), "published");
            if !patient {
                // It may be over what nobody has looked at: take in what is not ours.
                self.take_in(&tree, &new, &keys).await?;
            }
            return Ok(version);
        }
    }

    /// Nobody has it open for writing, or it was left alone for long enough.
    fn is_ready(&self, state: &State, ino: Ino) -> bool {
        let Some(file) = state.nodes.get(&ino).and_then(|n| n.file()) else {
            return false;
        };
        let now = Instant::now();
        if state.held_until(ino, file).is_some_and(|held| now < held) {
            return false;
        }
        let past = |at: Option<Instant>, after: Duration| at.is_none_or(|at| now >= at + after);
        file.writers == 0
            || (file.last_write.is_some()
                && (past(file.last_write, self.options.open_quiet)
                    || past(file.first_write, self.options.open_at_most)))
    }

    /// Brings contents into the blobs core. What was deleted meanwhile is left out, and what cannot be read.
    async fn upload(&self, inos: &[Ino]) -> Result<Uploads> {
        let mut uploads = Uploads::new();
        let mut shared: Vec<(Ino, u64, Bytes)> = Vec::new();
        let mut shared_bytes = 0;
        for &ino in inos {
            let (copy, place, reader, tree) = {
                let mut state = self.state.lock();
                let Ok(node) = state.node(ino) else { continue };
                if !node.linked {
                    continue;
                }
                let place = state.lower_path(ino);
                let copy = Copy::take(&mut state, ino)?;
                (copy, place, state.overlay.reader(), state.tree.clone())
            };
            let old = match copy.base {
                Some(base) => Some(base),
                None => self.replaced(&place, &tree).await?,
            };
            let upload = Upload {
                drive: &*self.drive,
                copy: &copy,
                reader: &reader,
                tree: &tree,
            };
            let stored = match self.store(&upload, old).await {
                Ok(stored) => stored,
                Err(_) if self.is_gone(ino) => continue,
                Err(error @ VfsError::Unreadable { .. }) => {
                    self.state.lock().is_unreadable(ino, &error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.state.lock().unreadable.remove(&ino);
            match stored {
                Stored::At(content) => {
                    uploads.insert(ino, (content, copy.seq));
                }
                Stored::Small(bytes) => {
                    shared_bytes += copy.size;
                    shared.push((ino, copy.seq, bytes));
                    if shared_bytes >= SHARED_BYTES_MAX || shared.len() >= 1024 {
                        self.upload_shared(&mut uploads, &mut shared).await?;
                        shared_bytes = 0;
                    }
                }
            }
        }
        self.upload_shared(&mut uploads, &mut shared).await?;
        Ok(uploads)
    }

    /// What the drive has under the name of a file that is new: it may have been written anew and be the same all the same.
    async fn replaced(
        &self,
        place: &Option<String>,
        tree: &Arc<dyn Tree>,
    ) -> Result<Option<Content>> {
        let Some(path) = place else { return Ok(None) };
        Ok(match tree.lookup(path).await? {
            Some(Found::Leaf(entry)) => entry.content,
            Some(Found::Folder { .. }) | None => None,
        })
    }

    async fn store(&self, upload: &Upload<'_>, old: Option<Content>) -> Result<Stored> {
        let copy = upload.copy;
        if let Some(content) = upload.copied() {
            return Ok(Stored::At(content));
        }
        if copy.size > SMALL_BYTES {
            return Ok(Stored::At(upload.store(old).await?));
        }
        if let Some(old) = old
            && let Ok(Some(_)) = self.drive.blocks_of(&old).await
        {
            if upload.is(&old).await? {
                return Ok(Stored::At(old));
            }
            if upload.only_grew(&old)
                && let Some(content) = upload.grow(&old).await?
            {
                return Ok(Stored::At(content));
            }
        }
        let (reader, tree) = (upload.reader, upload.tree);
        Ok(Stored::Small(copy.read(0, copy.size, reader, tree).await?))
    }

    fn is_gone(&self, ino: Ino) -> bool {
        self.state.lock().node(ino).map_or(true, |n| !n.linked)
    }

    async fn upload_shared(
        &self,
        uploads: &mut Uploads,
        shared: &mut Vec<(Ino, u64, Bytes)>,
    ) -> Result<()> {
        if shared.is_empty() {
            return Ok(());
        }
        let contents = shared.iter().map(|(_, _, bytes)| bytes.clone()).collect();
        let contents = self.drive.put_contents(contents).await?;
        for ((ino, seq, _), content) in shared.drain(..).zip(contents) {
            uploads.insert(ino, (content, seq));
        }
        Ok(())
    }
}

/// How long it takes until the next try after so many that failed.
fn pause_after(failures: u32) -> Duration {
    Duration::from_secs(1 << failures.min(5)).min(PAUSE_MAX)
}

/// What became of a file's content.
enum Stored {
    /// It is in the blobs core.
    At(Content),
    /// It is to share an append with others.
    Small(Bytes),
}

/// What stays in the overlay after a publication.
pub(crate) type Kept = HashSet<Ino>;

impl State {
    /// Notes that a file could not be published, and when it is tried again.
    fn is_unreadable(&mut self, ino: Ino, error: &VfsError) {
        let file = self.nodes.get(&ino).and_then(|node| node.file());
        let last_write = file.and_then(|file| file.last_write);
        let tries = self.unreadable.get(&ino).map_or(0, |tried| tried.tries);
        let tries = tries.saturating_add(1);
        let pause = pause_after(tries);
        tracing::error!(%error, retry_s = pause.as_secs(), "a file stays in the overlay; the others are published");
        let unreadable = Unreadable {
            why: match error {
                VfsError::Unreadable { why, .. } => why.clone(),
                error => error.to_string(),
            },
            tries,
            again: Instant::now() + pause,
            last_write,
        };
        self.unreadable.insert(ino, unreadable);
    }

    /// When a file is tried again that could not be published and was not written to since.
    fn held_until(&self, ino: Ino, file: &File) -> Option<Instant> {
        let tried = self.unreadable.get(&ino)?;
        (tried.last_write == file.last_write).then_some(tried.again)
    }

    /// What is gone or has nothing to publish any more is not tried again.
    fn forget_readable(&mut self) {
        let (nodes, dirty) = (&self.nodes, &self.dirty);
        let waits = |ino: &Ino| dirty.contains(ino) && nodes.get(ino).is_some_and(|n| n.linked);
        self.unreadable.retain(|ino, _| waits(ino));
    }

    /// The drive's path of a name that the drive has too.
    fn lower_path(&self, ino: Ino) -> Option<String> {
        let node = self.nodes.get(&ino)?;
        let slot = self.slot(node.parent, &node.name).ok()?;
        let folder = self.folder(node.parent).ok()?.lower.as_deref()?;
        slot.lower.then(|| join(folder, &node.name))
    }

    /// The removal of all records that the plan makes needless, and the records of what stays.
    fn leave(&self, plan: &Plan, uploads: &Uploads) -> Result<(Batch, Kept)> {
        let mut batch = Batch::new();
        let overlay = &self.overlay;
        overlay.delete_names(&mut batch);
        let mut kept = Kept::new();
        let writing = self.handles.values().filter(|h| h.writes).map(|h| h.ino);
        for ino in self.dirty.iter().copied().chain(writing) {
            let Ok(node) = self.node(ino) else { continue };
            let Some(file) = node.file() else { continue };
            // What came after the copy stays in the overlay, and a record of a file without a node would be taken for a deleted file's.
            let published = plan.leaves.contains(&ino)
                && uploads
                    .get(&ino)
                    .is_some_and(|(content, seq)| !file.is_past(*content, *seq));
            if node.linked && (file.writers > 0 || !published) {
                let mut todo = vec![ino];
                while let Some(at) = todo.pop() {
                    if kept.insert(at) && at != ROOT {
                        todo.extend(self.node(at)?.names().map(|(folder, _)| folder));
                    }
                }
            }
        }
        for &ino in &kept {
            let mut record = self.record_of(ino)?;
            let seen = plan.leaves.contains(&ino);
            match &mut record.kind {
                KindRecord::Folder { lower, described } => {
                    if let Some((path, at)) = plan.folders.get(&ino) {
                        (*lower, *described) = (Some(path.clone()), *at);
                        (record.changed, record.put) = (false, false);
                        record.lower = ino != ROOT;
                    }
                }
                KindRecord::File { base } => {
                    if seen {
                        (record.changed, record.put) = (false, false);
                        record.lower = true;
                        if let Some((content, _)) = uploads.get(&ino) {
                            *base = Some(*content);
                        }
                    }
                }
                KindRecord::Link { .. } | KindRecord::Special(_) => {}
            }
            overlay.put_node(&mut batch, ino, &record)?;
            for (folder, name) in &self.node(ino)?.others {
                let slot = match seen {
                    true => Slot::of_drive(ino),
                    false => self.slot(*folder, name)?,
                };
                overlay.put_name(&mut batch, *folder, name, slot);
            }
        }
        for (ino, (_, seq)) in uploads {
            if plan.leaves.contains(ino) {
                overlay.delete_data(&mut batch, *ino, *seq);
            }
        }
        for path in &plan.gone {
            overlay.delete_folder_times(&mut batch, path);
        }
        for (from, to) in &plan.copied {
            overlay.copy_folder_times(&mut batch, from, to)?;
        }
        for (path, time) in &plan.times {
            overlay.put_folder_time(&mut batch, path, *time);
        }
        Ok((batch, kept))
    }

    /// Memory after the commit.
    fn follow(&mut self, tree: &Arc<dyn Tree>, plan: &Plan, uploads: &Uploads, kept: &Kept) {
        self.tree = tree.clone();
        for &ino in &plan.moved {
            if let Some((path, _)) = plan.folders.get(&ino) {
                self.relocate(ino, path, plan);
                if let Ok(folder) = self.folder_mut(ino) {
                    // Somebody else may have put something under its new name.
                    folder.complete = false;
                }
            }
        }
        for (&ino, (path, described)) in &plan.folders {
            self.follow_folder(ino, path, *described, kept);
        }
        for &ino in &plan.leaves {
            let Some(node) = self.nodes.get_mut(&ino) else {
                continue;
            };
            node.recorded = kept.contains(&ino);
            let names: Vec<(Ino, Arc<str>)> = node.names().map(|(f, n)| (f, n.clone())).collect();
            if let (Some(file), Some((content, seq))) = (node.file_mut(), uploads.get(&ino)) {
                file.published(*content, *seq);
                if !file.dirty {
                    self.dirty.remove(&ino);
                }
            }
            // Of a file that waits for its writers only the name and the attributes are published.
            node.changed = node.file().is_some_and(|file| file.dirty);
            if node.others.is_empty() && !node.changed {
                let link = node.link.take();
                if let Some(link) = link {
                    self.links.remove(&link.id);
                }
            }
            for (parent, name) in names {
                if let Ok(folder) = self.folder_mut(parent)
                    && let Some(slot) = folder.slots.get_mut(&name)
                {
                    (slot.lower, slot.put) = (true, false);
                }
            }
        }
        for ino in &plan.settled {
            if let Some(node) = self.nodes.get_mut(ino) {
                node.recorded = false;
            }
        }
        for &ino in kept {
            self.keep(ino);
        }
    }

    fn keep(&mut self, ino: Ino) {
        let Some(node) = self.nodes.get_mut(&ino) else {
            return;
        };
        node.recorded = true;
        if ino == ROOT {
            return;
        }
        let names: Vec<(Ino, Arc<str>)> = node.names().map(|(f, n)| (f, n.clone())).collect();
        for (parent, name) in names {
            if let Ok(folder) = self.folder_mut(parent) {
                folder.changed.insert(name);
            }
        }
    }

    fn follow_folder(&mut self, ino: Ino, path: &str, described: bool, kept: &Kept) {
        let Some(node) = self.nodes.get_mut(&ino) else {
            return;
        };
        node.recorded = kept.contains(&ino);
        node.changed = false;
        let (parent, name) = (node.parent, node.name.clone());
        if let Some(folder) = node.folder_mut() {
            folder.lower = Some(path.to_owned());
            folder.described = described;
            let changed = std::mem::take(&mut folder.changed);
            for name in changed {
                if folder
                    .slots
                    .get(&name)
                    .is_some_and(|slot| slot.ino.is_none())
                {
                    folder.slots.remove(&name);
                }
            }
        }
        if ino != ROOT
            && let Ok(folder) = self.folder_mut(parent)
            && let Some(slot) = folder.slots.get_mut(&name)
        {
            (slot.lower, slot.put) = (true, false);
        }
    }

    /// What is in memory below a folder that the drive now has at `path`.
    fn relocate(&mut self, ino: Ino, path: &str, plan: &Plan) {
        let mut todo = vec![(ino, path.to_owned())];
        while let Some((ino, path)) = todo.pop() {
            let Ok(folder) = self.folder_mut(ino) else {
                continue;
            };
            folder.lower = Some(path.clone());
            let mut children = Vec::new();
            for (name, slot) in &mut folder.slots {
                if let Slot {
                    ino: Some(child),
                    lower: true,
                    ..
                } = slot
                {
                    children.push((*child, super::name::join(&path, name)));
                }
            }
            todo.extend(children.into_iter().filter(|(child, _)| {
                !plan.folders.contains_key(child)
                    && self.nodes.get(child).is_some_and(|n| n.is_folder())
            }));
        }
    }
}
