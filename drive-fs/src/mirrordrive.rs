//! Making one drive or folder like another: what differs is written, what is too much is removed.
//!
//! Import (folder to drive), export (drive to folder) and copies between two of a kind are one thing. Into a drive, many files share a
//! commit, and large ones are streamed; memory stays bounded by some 16 MiB whatever the size of the tree. Both sides are listed side by
//! side in the order of their paths, so there are no lookups; the next few paths are read while one is written.
//!
//! What crosses the border between a folder and a drive: content, the executable flag, a symlink's target exactly as `readlink` gives it,
//! mode and time (in [`posix`](crate::posix) metadata), and empty folders. Not: owners, set-uid and set-gid, hard links.
//! Between two drives entries keep their metadata and targets byte for byte.
//! Source: mirror-drive 1.14.2, `index.js`.

mod links;
mod side;
mod sink;
mod transform;

use crate::{Error, Ignore, PosixMetadata, SkipReason, error};
use bytes::Bytes;
use futures_core::Stream;
use futures_util::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use pome_cores::Durability;
use serde_json::Value;
pub use side::MirrorSide;
use side::{Node, Pair, pairs, same_content};
use sink::Sink;
use std::{fmt, io::ErrorKind, pin::pin, sync::Arc};
use tokio::task::JoinHandle;
use transform::Content;
pub use transform::{MirrorContent, MirrorTransformer};

/// Bytes of content that share a commit.
const BATCH_BYTES: u64 = 4 * 1024 * 1024;
/// Changes that share a commit.
const BATCH_CHANGES: usize = 1024;
/// A file above this is streamed.
const WHOLE_BYTES: u64 = 1024 * 1024;
/// So many paths are compared, and small files that are to be written are read, while those before them are written.
const AHEAD: usize = 4;

type Filter = Arc<dyn Fn(&str) -> bool + Send + Sync>;
type SameMetadata = Arc<dyn Fn(Option<&Value>, Option<&Value>) -> bool + Send + Sync>;

/// What a mirror does.
#[derive(Clone)]
pub struct MirrorOptions {
    /// Only these folders and files, one after the other (default `/`, which is all). What is named twice may be written twice.
    pub prefixes: Vec<String>,
    /// Only these files and links, one after the other, instead of what a listing of the prefixes finds; empty folders and the attributes of folders are left as
    /// they are (default: none).
    pub entries: Option<Vec<String>>,
    /// Remove what the source does not have (default: true).
    pub prune: bool,
    /// Tell what would be done, and do nothing (default: false).
    pub dry_run: bool,
    /// Tell of equal files too (default: false).
    pub include_equals: bool,
    /// Left out on both sides: neither written nor removed.
    pub ignore: Ignore,
    /// Only paths for which this answers true are written. What is too much is removed whatever it says, as in npm.
    pub filter: Option<Filter>,
    /// Between two drives: whether two entries have the same metadata, first that of the source (default: when it is equal).
    pub metadata_equals: Option<SameMetadata>,
    /// Take a file for equal when size and time of change are (default: false, contents are compared).
    pub quick: bool,
    /// Between a folder on disk and a drive: keep modes and times of change, and what is known of folders (default: true). Without it the attributes of a
    /// file are whether it is executable, and no more, as npm's mirror-drive has it: what comes from a folder has no metadata.
    pub posix: bool,
    /// Into a drive: store of files above 1 MiB only what the file did not have before, also where it has moved in it (default: false). They become
    /// block-map blobs, which every hyperdrive since version 11.13 reads.
    pub dedup: bool,
    /// Into a drive: what changes in its database is one commit, at the end, so that nobody ever sees a part of it; the contents come before, and the entries
    /// are kept in memory meanwhile (default: false).
    pub whole: bool,
    /// Into a drive: rows of its database that are no files, to be written before anything else, with the first commit (default: none).
    pub rows: Vec<(Vec<u8>, Bytes)>,
    /// Into a drive: files to be removed with the first commit, also where they are left out (default: none).
    pub remove: Vec<String>,
    /// Each gets the content of every file that is written, after the one before it (default: none). What comes out is not known before it is made, so that
    /// with transformers every file is written each time, whether it differs or not; links are only written when they differ.
    pub transformers: Vec<MirrorTransformer>,
    /// Default: `Buffered`.
    pub durability: Durability,
}

impl Default for MirrorOptions {
    fn default() -> Self {
        Self {
            prefixes: vec!["/".into()],
            entries: None,
            prune: true,
            dry_run: false,
            include_equals: false,
            ignore: Ignore::none(),
            filter: None,
            metadata_equals: None,
            quick: false,
            posix: true,
            dedup: false,
            whole: false,
            rows: Vec::new(),
            remove: Vec::new(),
            transformers: Vec::new(),
            durability: Durability::default(),
        }
    }
}

impl fmt::Debug for MirrorOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MirrorOptions")
            .field("prefixes", &self.prefixes)
            .field("entries", &self.entries)
            .field("prune", &self.prune)
            .field("dry_run", &self.dry_run)
            .field("include_equals", &self.include_equals)
            .field("ignore", &self.ignore)
            .field("filter", &self.filter.is_some())
            .field("metadata_equals", &self.metadata_equals.is_some())
            .field("quick", &self.quick)
            .field("posix", &self.posix)
            .field("dedup", &self.dedup)
            .field("whole", &self.whole)
            .field("rows", &self.rows.len())
            .field("remove", &self.remove.len())
            .field("transformers", &self.transformers.len())
            .field("durability", &self.durability)
            .finish()
    }
}

/// What was done with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MirrorOp {
    /// It was not there.
    Add,
    /// It was there and differed, in content or attributes.
    Change,
    /// The source does not have it.
    Remove,
    /// It is the same.
    Equal,
    /// The other side cannot hold it.
    Skip,
}

impl MirrorOp {
    /// npm's word, where it has one.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Change => "change",
            Self::Remove => "remove",
            Self::Equal => "equal",
            Self::Skip => "skip",
        }
    }
}

/// One step of a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorEvent {
    /// What was done.
    pub op: MirrorOp,
    /// The path (npm's `key`).
    pub path: String,
    /// Bytes of content that came.
    pub bytes_added: u64,
    /// Bytes of content that went.
    pub bytes_removed: u64,
    /// Why it was skipped.
    pub why: Option<SkipReason>,
}

/// Totals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MirrorCount {
    /// Files and links of the source that were looked at.
    pub files: u64,
    /// Written anew.
    pub add: u64,
    /// Written over, or given other attributes.
    pub change: u64,
    /// Removed.
    pub remove: u64,
    /// Not written, because the other side cannot hold them.
    pub skip: u64,
    /// Bytes of content that came.
    pub bytes_added: u64,
    /// Bytes of content that went.
    pub bytes_removed: u64,
}

impl MirrorCount {
    /// Counts one step. Equal files are counted when the mirror tells of them.
    pub fn add(&mut self, event: &MirrorEvent) {
        match event.op {
            MirrorOp::Add => self.add += 1,
            MirrorOp::Change => self.change += 1,
            MirrorOp::Remove => self.remove += 1,
            MirrorOp::Skip => self.skip += 1,
            MirrorOp::Equal => {}
        }
        if !matches!(event.op, MirrorOp::Remove | MirrorOp::Skip) {
            self.files += 1;
        }
        self.bytes_added += event.bytes_added;
        self.bytes_removed += event.bytes_removed;
    }
}

/// A mirror from one side to another. Nothing happens until it is run.
///
/// ```
/// use pome_cores::Corestore;
/// use pome_drive_fs::{DriveOptions, Hyperdrive, LocalOptions, Localdrive, MirrorOptions, Mirrordrive};
/// use pome_storage::{Options, Store};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (folder, home) = (tempfile::tempdir()?, tempfile::tempdir()?);
/// std::fs::write(folder.path().join("a.txt"), "hello")?;
/// let store = Corestore::open(Store::open(home.path(), Options::default())?)?;
/// let drive = Hyperdrive::open(store, DriveOptions::default()).await?;
/// let folder = Localdrive::open(folder.path(), LocalOptions::default())?;
///
/// let import = Mirrordrive::new(folder, drive.clone(), MirrorOptions::default());
/// let count = import.run(|event| println!("{} {}", event.op.as_str(), event.path)).await?;
/// assert_eq!((count.files, count.add, count.bytes_added), (1, 1, 5));
/// assert_eq!(drive.get("/a.txt").await?.as_deref(), Some(&b"hello"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Mirrordrive {
    source: MirrorSide,
    target: MirrorSide,
    options: MirrorOptions,
}

/// How a path compares.
enum Compared {
    Same,
    /// The content is the same, the attributes are not.
    Attributes,
    Differs,
}

/// A task that ends with whoever waits for it.
struct AbortOnDrop<T>(JoinHandle<Result<T, Error>>);

impl<T> AbortOnDrop<T> {
    async fn answer(mut self) -> Result<T, Error> {
        error::finished((&mut self.0).await)
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What is to be done about a path.
enum Step {
    /// Nothing, and nothing is told.
    Pass,
    Skip(MirrorEvent),
    Take(Box<Taken>),
}

/// A path that both sides were asked about.
struct Taken {
    from: Box<Node>,
    to: Option<Box<Node>>,
    /// Of a link.
    target: Option<String>,
    compared: Compared,
    /// Of what is to be written.
    byte_length: u64,
    /// Of a file that is to be written, where it was read already.
    content: Option<Result<Content, Error>>,
}

impl Mirrordrive {
    /// Makes `target` like `source`.
    pub fn new(
        source: impl Into<MirrorSide>,
        target: impl Into<MirrorSide>,
        options: MirrorOptions,
    ) -> Self {
        Self {
            source: source.into(),
            target: target.into(),
            options,
        }
    }

    /// Runs to the end; `progress` hears of each step.
    ///
    /// # Errors
    /// [`Error::NotWritable`], [`Error::Checkout`]; whatever reading or writing either side meets. What was committed until then stays.
    pub async fn run(&self, mut progress: impl FnMut(&MirrorEvent)) -> Result<MirrorCount, Error> {
        let mut count = MirrorCount::default();
        let told = self.options.include_equals;
        let all = Self {
            options: MirrorOptions {
                include_equals: true,
                ..self.options.clone()
            },
            ..self.clone()
        };
        let mut events = pin!(all.events());
        while let Some(event) = events.try_next().await? {
            count.add(&event);
            if told || event.op != MirrorOp::Equal {
                progress(&event);
            }
        }
        Ok(count)
    }

    /// The steps, removals first. Dropping the stream stops the mirror; steps of the last, unfinished commit are then lost. When it has
    /// ended, all is committed.
    pub fn events(
        &self,
    ) -> impl Stream<Item = Result<MirrorEvent, Error>> + Send + 'static + use<> {
        let mirror = self.clone();
        async_stream::try_stream! {
            let mut sink = Sink::open(&mirror)?;
            if mirror.options.prune {
                let mut pairs = mirror.pairs()?;
                let mut unknown = Unknown::default();
                while let Some(pair) = pairs.try_next().await? {
                    match pair {
                        Pair::Skipped { path, .. } => unknown.add(path),
                        Pair::Nodes(None, Some(node)) if !unknown.covers(node.path()) => {
                            yield MirrorEvent {
                                op: MirrorOp::Remove,
                                path: node.path().to_owned(),
                                bytes_added: 0,
                                bytes_removed: mirror.target.byte_length(&node).await?,
                                why: None,
                            };
                            sink.remove(node.path()).await?;
                        }
                        Pair::Nodes(..) => {}
                    }
                }
            }
            let ahead = Arc::new(mirror.clone());
            let steps = mirror.pairs()?.map(move |pair| {
                let mirror = ahead.clone();
                // Tasks, since what is read ahead would stand still, with what it holds, while a path is written.
                let task = AbortOnDrop(tokio::spawn(async move { mirror.prepare(pair?).await }));
                task.answer()
            });
            let mut steps = pin!(steps.buffered(AHEAD));
            while let Some(step) = steps.try_next().await? {
                let event = match step {
                    Step::Pass => None,
                    Step::Skip(event) => Some(event),
                    Step::Take(taken) => mirror.take(&mut sink, *taken).await?,
                };
                if let Some(event) = event {
                    yield event;
                }
            }
            sink.folders(&mirror).await?;
            sink.finish(&mirror).await?;
        }
    }

    /// What is on either side.
    fn pairs(&self) -> Result<BoxStream<'static, Result<Pair, Error>>, Error> {
        let MirrorOptions {
            prefixes,
            entries,
            ignore,
            ..
        } = &self.options;
        if let Some(entries) = entries {
            let (source, target) = (self.source.clone(), self.target.clone());
            let found = stream::iter(entries.clone()).then(move |path| {
                let (source, target) = (source.clone(), target.clone());
                async move {
                    let (from, to) = (source.node(&path).await?, target.node(&path).await?);
                    Ok(Pair::Nodes(from.map(Box::new), to.map(Box::new)))
                }
            });
            return Ok(found.boxed());
        }
        let each = prefixes.iter().map(|prefix| {
            let source = self.source.nodes(prefix, ignore)?;
            let target = self.target.nodes(prefix, ignore)?;
            Ok(pairs(source, target))
        });
        let each: Vec<_> = each.collect::<Result<_, Error>>()?;
        Ok(stream::iter(each).flatten().boxed())
    }

    /// Compares the two sides of a path. A small file that is to be written is read.
    async fn prepare(&self, pair: Pair) -> Result<Step, Error> {
        let (from, to) = match pair {
            Pair::Skipped { path, why } => return Ok(Step::Skip(MirrorEvent::skip(path, why))),
            Pair::Nodes(Some(from), to) => (from, to),
            Pair::Nodes(None, _) => return Ok(Step::Pass),
        };
        if (self.options.filter.as_ref()).is_some_and(|filter| !filter(from.path())) {
            return Ok(Step::Pass);
        }
        let target = self.link_target(&from).await?;
        let compared = match self.compare(&from, to.as_deref(), target.as_deref()).await {
            // Gone between listing and reading.
            Err(Error::NotFound { .. }) => {
                let path = from.path().to_owned();
                return Ok(Step::Skip(MirrorEvent::skip(path, SkipReason::Gone)));
            }
            compared => compared?,
        };
        let (mut byte_length, mut content) = (0, None);
        if matches!(compared, Compared::Differs) {
            byte_length = self.source.byte_length(&from).await?;
            let is_small = byte_length <= WHOLE_BYTES && self.options.transformers.is_empty();
            if is_small && target.is_none() && !self.options.dry_run {
                content = Some(Content::of(self, &from, byte_length).await);
            }
        }
        Ok(Step::Take(Box::new(Taken {
            from,
            to,
            target,
            compared,
            byte_length,
            content,
        })))
    }

    async fn take(&self, sink: &mut Sink, taken: Taken) -> Result<Option<MirrorEvent>, Error> {
        let (from, to) = (&*taken.from, taken.to.as_deref());
        let mut event = MirrorEvent {
            op: match (&taken.compared, to) {
                (Compared::Same, _) => MirrorOp::Equal,
                (_, Some(_)) => MirrorOp::Change,
                (_, None) => MirrorOp::Add,
            },
            path: from.path().to_owned(),
            bytes_added: 0,
            bytes_removed: 0,
            why: None,
        };
        let written = match taken.compared {
            Compared::Same => {
                return Ok(self.options.include_equals.then_some(event));
            }
            Compared::Attributes => sink.attributes(from, to).await,
            Compared::Differs => {
                if let Some(to) = to {
                    event.bytes_removed = self.target.byte_length(to).await?;
                }
                event.bytes_added = taken.byte_length;
                match taken.target {
                    Some(target) => sink.link(from, to, &target).await,
                    None => {
                        let content = || async {
                            match taken.content {
                                Some(read) => read,
                                None => Content::of(self, from, taken.byte_length).await,
                            }
                        };
                        sink.file(from, to, content).await
                    }
                }
            }
        };
        Ok(Some(match written {
            Ok(()) => event,
            Err(error) => match skip_reason(&error) {
                Some(why) => MirrorEvent::skip(event.path, why),
                None => return Err(error),
            },
        }))
    }

    /// The target of a link as npm's drives tell it, of a node that is on `side`.
    fn linkname(side: &MirrorSide, node: &Node) -> Option<String> {
        match (side, node) {
            (MirrorSide::Local(folder), Node::Local(entry)) => folder.linkname(entry),
            _ => node.target().map(str::to_owned),
        }
    }

    /// The target that a link has to have on the other side.
    async fn link_target(&self, from: &Node) -> Result<Option<String>, Error> {
        if !self.options.posix {
            return Ok(Self::linkname(&self.source, from));
        }
        let Some(target) = from.target() else {
            return Ok(None);
        };
        Ok(Some(match (&self.source, from, &self.target) {
            (MirrorSide::Hyper(drive), Node::Hyper(entry), MirrorSide::Local(folder)) => {
                links::on_disk(drive, entry, target, folder.root()).await?
            }
            _ => target.to_owned(),
        }))
    }

    async fn compare(
        &self,
        from: &Node,
        to: Option<&Node>,
        target: Option<&str>,
    ) -> Result<Compared, Error> {
        let Some(to) = to else {
            return Ok(Compared::Differs);
        };
        let posix = self.options.posix;
        let same_attributes = || match to {
            Node::Hyper(entry) if !posix && matches!(from, Node::Local(_)) => {
                from.executable() == entry.value.executable
            }
            Node::Hyper(entry) => {
                let there = entry.value.metadata.as_ref();
                from.executable() == entry.value.executable
                    && match (&self.options.metadata_equals, from) {
                        (Some(equals), Node::Hyper(from)) => {
                            equals(from.value.metadata.as_ref(), there)
                        }
                        _ => from.metadata(there, posix).as_ref() == there,
                    }
            }
            Node::Local(entry) => same_on_disk(from, entry, posix),
        };
        let attributes = || match same_attributes() {
            true => Compared::Same,
            false => Compared::Attributes,
        };
        if target.is_some() || to.target().is_some() {
            let there = match posix {
                true => to.target().map(str::to_owned),
                false => Self::linkname(&self.target, to),
            };
            return Ok(match target == there.as_deref() {
                true => attributes(),
                false => Compared::Differs,
            });
        }
        if !self.options.transformers.is_empty() {
            return Ok(Compared::Differs);
        }
        if let (Node::Hyper(a), Node::Hyper(b)) = (from, to) {
            let has_blobs = (a.value.blob.is_some(), b.value.blob.is_some());
            if has_blobs == (false, false) {
                return Ok(attributes());
            }
            if has_blobs != (true, true) {
                return Ok(Compared::Differs);
            }
        }
        let size = self.source.byte_length(from).await?;
        if size != self.target.byte_length(to).await? {
            return Ok(Compared::Differs);
        }
        let mtime = from.posix().mtime;
        if self.options.quick && mtime.is_some() && mtime == to.posix().mtime {
            return Ok(attributes());
        }
        let same = match size {
            0 => true,
            _ => same_content(self.source.content(from), self.target.content(to)).await?,
        };
        Ok(match same {
            true => attributes(),
            false => Compared::Differs,
        })
    }
}

/// What a file on disk must have of a node's attributes: the mode without set-uid and set-gid, and the time.
fn same_on_disk(from: &Node, to: &crate::LocalEntry, posix: bool) -> bool {
    let wanted = from.posix_on_disk(posix);
    let mode = |posix: &PosixMetadata, executable| posix.mode_of(executable) & 0o1777;
    let same_mode = from.target().is_some()
        || (from.executable() == to.executable
            && (wanted.mode.is_none()
                || mode(&wanted, from.executable()) == mode(&to.posix, to.executable)));
    same_mode && (wanted.mtime.is_none() || wanted.mtime == to.posix.mtime)
}

impl MirrorEvent {
    fn skip(path: String, why: SkipReason) -> Self {
        Self {
            op: MirrorOp::Skip,
            path,
            bytes_added: 0,
            bytes_removed: 0,
            why: Some(why),
        }
    }
}

/// Why one file cannot be read or written while the rest can.
fn skip_reason(error: &Error) -> Option<SkipReason> {
    match error {
        Error::NotFound { .. } => Some(SkipReason::Gone),
        Error::LinkInTheWay { .. } => Some(SkipReason::InTheWay),
        Error::Io { source, .. } => match source.kind() {
            ErrorKind::NotADirectory | ErrorKind::IsADirectory | ErrorKind::AlreadyExists => {
                Some(SkipReason::InTheWay)
            }
            ErrorKind::PermissionDenied => Some(SkipReason::Denied),
            ErrorKind::InvalidFilename => Some(SkipReason::NameTooLong),
            _ => None,
        },
        _ => None,
    }
}

/// Paths of the source of which nothing is known, because they could not be read: nothing is removed there.
#[derive(Default)]
struct Unknown(Option<String>);

impl Unknown {
    fn add(&mut self, path: String) {
        if !self.covers(&path) {
            self.0 = Some(path);
        }
    }

    fn covers(&self, path: &str) -> bool {
        let rest = self.0.as_ref().and_then(|p| path.strip_prefix(p.as_str()));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}
