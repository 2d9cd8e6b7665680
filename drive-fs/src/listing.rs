//! Listings: ranges of keys, read once from left to right.
//!
//! What is in a folder is everything from its path followed by `/` up to its path followed by `0`, the next character. A subfolder's
//! content is skipped by starting the range anew behind it, once it has shown to be large; names are never looked up one by one.

use crate::{
    Entry, Error, Hyperdrive, ListOptions, PosixMetadata,
    entry::{FILES, FOLDERS, folder_key, key_of},
    hyperdrive::decode,
    path,
};
use futures_core::Stream;
use futures_util::{StreamExt, TryStreamExt, future::join, stream::BoxStream};
use pome_bee::{RangeOptions, SubEncoder};
use std::pin::pin;

/// How many entries of one subfolder are read through before the range starts anew behind it.
const SKIP_AFTER: usize = 32;

/// One name in a folder.
#[derive(Debug, Clone, PartialEq)]
pub struct Child {
    /// The name: no `/` in it.
    pub name: String,
    /// True when the name is a folder: something is below it, or a description says so.
    pub is_folder: bool,
    /// A file's entry; for a folder the first entry below it, or `None` where only descriptions say that it is there.
    pub entry: Option<Entry>,
    /// What a description says of the folder.
    pub posix: Option<PosixMetadata>,
    /// True when the name came before, as a file: a drive can hold `/a` and `/a/b`. Between the two come names such as `a.txt`.
    pub again: bool,
}

impl Child {
    /// The order of names in a listing: a folder stands where its content does.
    fn order(&self) -> impl Iterator<Item = u8> {
        let slash = self.is_folder.then_some(b'/');
        self.name.bytes().chain(slash)
    }
}

impl Hyperdrive {
    /// The entries below `folder`, by the bytes of their path. A path that names a file lists nothing.
    pub fn list(
        &self,
        folder: &str,
        options: ListOptions,
    ) -> impl Stream<Item = Result<Entry, Error>> + Send + 'static + use<> {
        let (drive, folder) = (self.clone(), folder.to_owned());
        async_stream::try_stream! {
            let folder = path::normalize_folder(&folder)?;
            if !options.recursive {
                let mut names = pin!(drive.names(folder, options));
                while let Some(child) = names.try_next().await? {
                    if let (Some(entry), false) = (child.entry, child.again) {
                        yield entry;
                    }
                }
                return;
            }
            let from = format!("{folder}/");
            let mut entries = pin!(drive.range(FILES, &folder, from));
            while let Some(entry) = entries.try_next().await? {
                if !options.ignore.matches(&entry.path) {
                    yield entry;
                }
            }
        }
    }

    /// The entries of a range of stored paths, of all paths by default.
    pub fn entries(
        &self,
        range: RangeOptions,
    ) -> impl Stream<Item = Result<Entry, Error>> + Send + 'static + use<> {
        self.db()
            .range(SubEncoder::new("files").range(range))
            .map(|entry| entry.map_err(Error::from).and_then(decode))
            .boxed()
    }

    /// The names in `folder`, files and folders, each once, in the order in which [`list`](Self::list) meets them.
    pub fn readdir(
        &self,
        folder: &str,
    ) -> impl Stream<Item = Result<String, Error>> + Send + 'static + use<> {
        let (drive, folder) = (self.clone(), folder.to_owned());
        async_stream::try_stream! {
            let folder = path::normalize_folder(&folder)?;
            let mut names = pin!(drive.names(folder, ListOptions::default()));
            while let Some(child) = names.try_next().await? {
                if !child.again {
                    yield child.name;
                }
            }
        }
    }

    /// What is in `folder`, with the folders that only a description knows (see [`posix`](crate::posix)): for showing a drive as a
    /// filesystem.
    pub fn children(
        &self,
        folder: &str,
    ) -> impl Stream<Item = Result<Child, Error>> + Send + 'static + use<> {
        let (drive, folder) = (self.clone(), folder.to_owned());
        async_stream::try_stream! {
            let folder = path::normalize_folder(&folder)?;
            let mut files = pin!(drive.names(folder.clone(), ListOptions::default()).peekable());
            let mut described = pin!(drive.described_names(folder).peekable());
            loop {
                // Both at once: either may have to come from far away.
                let next = match join(files.as_mut().peek(), described.as_mut().peek()).await {
                    (Some(Ok(file)), Some(Ok(described))) => file.order().cmp(described.order()),
                    (Some(Err(_)), _) | (Some(_), None) => std::cmp::Ordering::Less,
                    (_, Some(_)) => std::cmp::Ordering::Greater,
                    (None, None) => break,
                };
                let described = match next {
                    std::cmp::Ordering::Less => None,
                    _ => described.try_next().await?,
                };
                let file = match next {
                    std::cmp::Ordering::Greater => None,
                    _ => files.try_next().await?,
                };
                match (file, described) {
                    (Some(file), described) => yield Child {
                        posix: described.and_then(|d| d.posix),
                        ..file
                    },
                    (None, Some(described)) => yield described,
                    (None, None) => {}
                }
            }
        }
    }

    /// What the description of `folder` says, if it has one. The root may have one.
    ///
    /// # Errors
    /// As [`entry`](Self::entry).
    pub async fn folder(&self, folder: &str) -> Result<Option<PosixMetadata>, Error> {
        let key = folder_key(&path::normalize_folder(folder)?);
        let found = self.db().get(&key).await?.map(decode).transpose()?;
        Ok(found.map(|entry| entry.posix()))
    }

    /// True when something is below `folder`, or a description says that it is there. The root always is.
    ///
    /// # Errors
    /// As [`entry`](Self::entry).
    pub async fn is_folder(&self, folder: &str) -> Result<bool, Error> {
        let folder = path::normalize_folder(folder)?;
        if folder.is_empty() {
            return Ok(true);
        }
        for space in [FILES, FOLDERS] {
            let range = RangeOptions::new()
                .with_gte(key_of(space, &format!("{folder}/")))
                .with_lt(key_of(space, &format!("{folder}0")));
            if self.db().peek(range).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The described folders at and below `folder`, with their stored paths (the root's is empty), by the bytes of path and `/`.
    pub fn folders(
        &self,
        folder: &str,
    ) -> impl Stream<Item = Result<(String, PosixMetadata), Error>> + Send + 'static + use<> {
        let (drive, folder) = (self.clone(), folder.to_owned());
        async_stream::try_stream! {
            let folder = path::normalize_folder(&folder)?;
            let from = format!("{folder}/");
            let mut entries = pin!(drive.range(FOLDERS, &folder, from));
            while let Some(mut entry) = entries.try_next().await? {
                let posix = entry.posix();
                entry.path.pop();
                yield (entry.path, posix);
            }
        }
    }

    /// The entries of one space from the path `from` on that are in `folder`.
    fn range(
        &self,
        space: &[u8],
        folder: &str,
        from: String,
    ) -> BoxStream<'static, Result<Entry, Error>> {
        let range = RangeOptions::new()
            .with_gte(key_of(space, &from))
            .with_lt(key_of(space, &format!("{folder}0")));
        self.db()
            .range(range)
            .map(|entry| entry.map_err(Error::from).and_then(decode))
            .boxed()
    }

    /// The names that files give `folder`.
    fn names(
        &self,
        folder: String,
        options: ListOptions,
    ) -> impl Stream<Item = Result<Child, Error>> + Send + 'static + use<> {
        let drive = self.clone();
        async_stream::try_stream! {
            let base = format!("{folder}/");
            let mut entries = drive.range(FILES, &folder, base.clone());
            let mut current: Option<String> = None;
            let mut skipped = 0;
            // Files that may yet turn up as folders: each is the beginning of the name that came last.
            let mut files: Vec<String> = Vec::new();
            while let Some(entry) = entries.try_next().await? {
                let rest = entry.path.get(base.len()..).unwrap_or_default();
                let (name, is_folder) = match rest.split_once('/') {
                    Some((name, _)) => (name, true),
                    None => (rest, false),
                };
                if is_folder && current.as_deref() == Some(name) {
                    skipped += 1;
                    if skipped > SKIP_AFTER {
                        skipped = 0;
                        entries = drive.range(FILES, &folder, format!("{base}{name}0"));
                    }
                    continue;
                }
                if options.ignore.matches(&entry.path) {
                    continue;
                }
                let name = name.to_owned();
                files.retain(|file| name.starts_with(file.as_str()));
                let again = is_folder && files.contains(&name);
                skipped = 0;
                current = is_folder.then(|| name.clone());
                if !is_folder {
                    files.push(name.clone());
                }
                yield Child { name, is_folder, entry: Some(entry), posix: None, again };
            }
        }
    }

    /// The names that descriptions give `folder`.
    fn described_names(
        &self,
        folder: String,
    ) -> impl Stream<Item = Result<Child, Error>> + Send + 'static + use<> {
        let drive = self.clone();
        async_stream::try_stream! {
            let base = format!("{folder}/");
            // One character on, so that the folder's own description is left out.
            let mut entries = drive.range(FOLDERS, &folder, format!("{base}\0"));
            let mut current: Option<String> = None;
            while let Some(entry) = entries.try_next().await? {
                let rest = entry.path.get(base.len()..).unwrap_or_default();
                let Some((name, below)) = rest.split_once('/') else {
                    continue;
                };
                if current.as_deref() == Some(name) {
                    entries = drive.range(FOLDERS, &folder, format!("{base}{name}0"));
                    continue;
                }
                let posix = below.is_empty().then(|| entry.posix());
                let name = name.to_owned();
                current = Some(name.clone());
                yield Child { name, is_folder: true, entry: None, posix, again: false };
            }
        }
    }
}
