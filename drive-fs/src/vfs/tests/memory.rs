//! A drive in memory: versions of a map, and one run of content bytes.

use crate::posix::PosixMetadata;
use crate::vfs::lower::{
    Below, Block, Change, Content, ContentWriter, Drive, Found, LowerEntry, LowerError, MapWriter,
    Tree,
};
use bytes::Bytes;
use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, ready},
    stream::BoxStream,
};
use parking_lot::Mutex;
use pome_cores::{Batch, Corestore, Durability};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

type Result<T> = std::result::Result<T, LowerError>;
#[derive(Clone, Default)]
pub(super) struct Version {
    pub(super) entries: BTreeMap<String, LowerEntry>,
    pub(super) folders: BTreeMap<String, PosixMetadata>,
    pub(super) names: BTreeSet<(u64, String)>,
}
type Entries = Arc<Version>;
type Happens = Box<dyn FnOnce() + Send>;

pub(super) struct MemoryDrive {
    corestore: Corestore,
    versions: Arc<Mutex<Vec<Entries>>>,
    bytes: Arc<Mutex<Vec<u8>>>,
    pub(super) fail: std::sync::atomic::AtomicBool,
    /// Happens once, while contents are uploaded.
    pub(super) during_upload: Mutex<Option<Happens>>,
    /// Happens once, when a publication has been made ready.
    pub(super) before_publishing: Mutex<Option<Happens>>,
    /// Happens once, when this path is looked up.
    pub(super) during_lookup: Arc<Mutex<Option<(String, Happens)>>>,
    pub(super) far: Arc<Mutex<Far>>,
    pub(super) spoilt: Arc<Mutex<Spoilt>>,
}

/// What cannot be read any more of any content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Spoilt {
    #[default]
    Nothing,
    Bytes,
    /// Which blocks it has.
    Blocks,
}

/// A listing that comes from far away.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Far {
    #[default]
    No,
    Yes,
    /// The next one breaks off after its first name.
    Breaks,
}

#[derive(Clone)]
struct MemoryTree {
    far: Arc<Mutex<Far>>,
    spoilt: Arc<Mutex<Spoilt>>,
    during_lookup: Arc<Mutex<Option<(String, Happens)>>>,
    version: u64,
    entries: Entries,
    versions: Arc<Mutex<Vec<Entries>>>,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl MemoryDrive {
    pub(super) fn new(corestore: Corestore) -> Arc<Self> {
        Arc::new(Self {
            corestore,
            versions: Arc::new(Mutex::new(vec![Arc::default()])),
            bytes: Arc::default(),
            fail: false.into(),
            during_upload: Mutex::default(),
            before_publishing: Mutex::default(),
            during_lookup: Arc::default(),
            far: Arc::default(),
            spoilt: Arc::default(),
        })
    }

    fn tree(&self) -> Arc<dyn Tree> {
        let versions = self.versions.lock();
        Arc::new(MemoryTree {
            far: self.far.clone(),
            spoilt: self.spoilt.clone(),
            during_lookup: self.during_lookup.clone(),
            version: versions.len() as u64 - 1,
            entries: versions.last().unwrap().clone(),
            versions: self.versions.clone(),
            bytes: self.bytes.clone(),
        })
    }

    pub(super) fn versions(&self) -> usize {
        self.versions.lock().len() - 1
    }

    pub(super) fn entries(&self) -> Entries {
        self.versions.lock().last().unwrap().clone()
    }

    /// As another program would: a version of its own.
    pub(super) fn put(&self, path: &str, bytes: Option<&[u8]>) {
        let mut entries = (*self.entries()).clone();
        match bytes {
            None => {
                entries.entries.remove(path);
            }
            Some(bytes) => {
                let content = Some(self.store(bytes));
                entries.entries.insert(
                    path.to_owned(),
                    LowerEntry {
                        executable: false,
                        linkname: None,
                        content,
                        metadata: None,
                    },
                );
            }
        }
        self.versions.lock().push(Arc::new(entries));
    }

    fn store(&self, bytes: &[u8]) -> Content {
        let mut all = self.bytes.lock();
        let byte_offset = all.len() as u64;
        all.extend_from_slice(bytes);
        let size = bytes.len() as u64;
        Content {
            block_offset: 0,
            block_length: 1,
            byte_offset,
            byte_length: size,
            block_map: false,
            size,
        }
    }
}

impl MemoryTree {
    fn at(&self, path: &str) -> Option<Found> {
        let version = &self.entries;
        let below = format!("{path}/");
        let filled = version
            .entries
            .keys()
            .chain(version.folders.keys())
            .any(|k| k.starts_with(&below));
        let description = version.folders.get(path).cloned();
        if filled || description.is_some() {
            return Some(Found::Folder { description });
        }
        Some(Found::Leaf(version.entries.get(path)?.clone()))
    }
}

impl Tree for MemoryTree {
    fn version(&self) -> u64 {
        self.version
    }
    fn lookup<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Option<Found>>> {
        let happens = self.during_lookup.lock().take_if(|(at, _)| at == path);
        if let Some((_, happens)) = happens {
            happens();
        }
        ready(Ok(self.at(path))).boxed()
    }
    fn coming(&self, folder: &str) -> Option<BoxStream<'static, Result<(String, Found)>>> {
        let mut far = self.far.lock();
        let names = self.children(folder).now_or_never().unwrap().unwrap();
        let mut names: Vec<_> = names.into_iter().map(Ok).collect();
        match *far {
            Far::No => return None,
            Far::Yes => {}
            Far::Breaks => {
                names.truncate(1);
                names.push(Err(LowerError::TimedOut));
                *far = Far::Yes;
            }
        }
        Some(futures_util::stream::iter(names).boxed())
    }
    fn children<'a>(&'a self, folder: &'a str) -> BoxFuture<'a, Result<Vec<(String, Found)>>> {
        let mut names = std::collections::BTreeSet::new();
        for key in self
            .entries
            .entries
            .keys()
            .chain(self.entries.folders.keys())
        {
            if let Some(rest) = key.strip_prefix(folder).and_then(|r| r.strip_prefix('/')) {
                names.insert(rest.split('/').next().unwrap().to_owned());
            }
        }
        let all = names.into_iter().map(|n| {
            let found = self.at(&format!("{folder}/{n}")).unwrap();
            (n, found)
        });
        ready(Ok(all.collect())).boxed()
    }
    fn below<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<Below>> {
        let below = format!("{path}/");
        let is_below = |k: &String| *k == path || k.starts_with(&below);
        let entries = self.entries.entries.iter().filter(|(k, _)| is_below(k));
        let folders = self.entries.folders.iter().filter(|(k, _)| is_below(k));
        ready(Ok(Below {
            entries: entries.map(|(k, v)| (k.clone(), v.clone())).collect(),
            folders: folders.map(|(k, v)| (k.clone(), v.clone())).collect(),
        }))
        .boxed()
    }
    fn read<'a>(
        &'a self,
        content: &'a Content,
        offset: u64,
        len: usize,
    ) -> BoxFuture<'a, Result<Bytes>> {
        if *self.spoilt.lock() == Spoilt::Bytes {
            return ready(Err(LowerError::Corrupt("spoilt".to_owned()))).boxed();
        }
        let start = (content.byte_offset + offset) as usize;
        let len = len.min((content.size - offset) as usize);
        ready(Ok(Bytes::copy_from_slice(
            &self.bytes.lock()[start..start + len],
        )))
        .boxed()
    }
    fn link_names(&self, id: u64) -> BoxFuture<'_, Result<Vec<String>>> {
        let names = self.entries.names.iter().filter(|(of, _)| *of == id);
        ready(Ok(names.map(|(_, path)| path.clone()).collect())).boxed()
    }
    fn changed_paths<'a>(&'a self, newer: &'a dyn Tree) -> BoxFuture<'a, Result<Vec<String>>> {
        let versions = self.versions.lock();
        let (old, new) = (&self.entries, &versions[newer.version() as usize]);
        let mut changed = std::collections::BTreeSet::new();
        for k in old.entries.keys().chain(new.entries.keys()) {
            if old.entries.get(k) != new.entries.get(k) {
                changed.insert(k.clone());
            }
        }
        for k in old.folders.keys().chain(new.folders.keys()) {
            if old.folders.get(k) != new.folders.get(k) {
                changed.insert(k.clone());
            }
        }
        ready(Ok(changed.into_iter().collect())).boxed()
    }
}

/// Bytes in a block, for whoever keeps blocks. `index` of a block is the byte at which it begins.
const BLOCK: u64 = 64 * 1024;

struct MemoryWriter(Arc<Mutex<Vec<u8>>>, Vec<u8>);

impl MapWriter for MemoryWriter {
    fn keep(&mut self, block: Block) {
        let start = block.index as usize;
        let kept = self.0.lock()[start..start + block.len as usize].to_vec();
        self.1.extend(kept);
    }
    fn zeros(&mut self, len: u64) {
        self.1.extend(vec![0; len as usize]);
    }
}

impl ContentWriter for MemoryWriter {
    fn write(&mut self, piece: Bytes) -> BoxFuture<'_, Result<()>> {
        self.1.extend_from_slice(&piece);
        ready(Ok(())).boxed()
    }
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Content>> {
        let mut all = self.0.lock();
        let byte_offset = all.len() as u64;
        all.extend_from_slice(&self.1);
        let size = self.1.len() as u64;
        ready(Ok(Content {
            block_offset: 0,
            block_length: 1,
            byte_offset,
            byte_length: size,
            block_map: false,
            size,
        }))
        .boxed()
    }
}

impl Drive for MemoryDrive {
    fn writable(&self) -> bool {
        true
    }
    fn head(&self) -> BoxFuture<'_, Result<Arc<dyn Tree>>> {
        ready(Ok(self.tree())).boxed()
    }
    fn put_contents(&self, contents: Vec<Bytes>) -> BoxFuture<'_, Result<Vec<Content>>> {
        let uploaded = contents.iter().map(|c| self.store(c)).collect();
        let happens = self.during_upload.lock().take();
        if let Some(happens) = happens {
            happens();
        }
        ready(Ok(uploaded)).boxed()
    }
    fn content_writer(&self) -> BoxFuture<'_, Result<Box<dyn ContentWriter>>> {
        let writer: Box<dyn ContentWriter> = Box::new(MemoryWriter(self.bytes.clone(), Vec::new()));
        ready(Ok(writer)).boxed()
    }
    fn blocks_of<'a>(&'a self, content: &'a Content) -> BoxFuture<'a, Result<Option<Vec<Block>>>> {
        if *self.spoilt.lock() == Spoilt::Blocks {
            return ready(Err(LowerError::Corrupt("spoilt".to_owned()))).boxed();
        }
        let starts = (0..content.size).step_by(BLOCK as usize);
        let blocks = starts.map(|at| Block {
            index: content.byte_offset + at,
            len: BLOCK.min(content.size - at),
        });
        ready(Ok(Some(blocks.collect()))).boxed()
    }
    fn map_writer(&self) -> BoxFuture<'_, Result<Option<Box<dyn MapWriter>>>> {
        let writer: Box<dyn MapWriter> = Box::new(MemoryWriter(self.bytes.clone(), Vec::new()));
        ready(Ok(Some(writer))).boxed()
    }
    fn publish(
        &self,
        over: Option<u64>,
        changes: Vec<Change>,
        batch: Batch,
    ) -> BoxFuture<'_, Result<Option<Arc<dyn Tree>>>> {
        let happens = self.before_publishing.lock().take();
        if let Some(happens) = happens {
            happens();
        }
        if over.is_some_and(|over| over != self.tree().version()) {
            return ready(Ok(None)).boxed();
        }
        if self.fail.load(std::sync::atomic::Ordering::Relaxed) {
            return ready(Err(LowerError::Full)).boxed();
        }
        let mut entries = (*self.entries()).clone();
        for change in changes {
            match change {
                Change::Entry(path, Some(entry)) => drop(entries.entries.insert(path, entry)),
                Change::Entry(path, None) => {
                    assert!(entries.entries.remove(&path).is_some(), "{path}")
                }
                Change::Name(id, path, true) => {
                    entries.names.insert((id, path));
                }
                Change::Name(id, path, false) => drop(entries.names.remove(&(id, path))),
                Change::Folder(path, Some(posix)) => drop(entries.folders.insert(path, posix)),
                Change::Folder(path, None) => {
                    assert!(entries.folders.remove(&path).is_some(), "{path}")
                }
            }
        }
        self.corestore
            .store()
            .commit(batch, Durability::Buffered)
            .unwrap();
        self.versions.lock().push(Arc::new(entries));
        ready(Ok(Some(self.tree()))).boxed()
    }
}
