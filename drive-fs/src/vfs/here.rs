//! What a mount says of how much of a file, or of all below a folder, is here: the attributes `user.pome.*`.
//!
//! They are made when they are asked for, cannot be set, and are in no list of attributes, so that nothing copies them along.

use super::{
    error::{Result, VfsError},
    hidden,
    lower::{Content, Tree},
    node::{Ino, Kind},
    vfs::Vfs,
};
use parking_lot::Mutex;
use std::{ops::Range, sync::Arc};

const PREFIX: &str = "user.pome.";

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    /// Bytes of contents that are here.
    Local,
    /// Bytes of contents.
    Total,
    /// 1 where all of it stays whatever the store's limit is, else 0.
    Pinned,
    /// How many connected peers have all of it.
    Peers,
}

impl About {
    fn of(name: &str) -> Option<Self> {
        match name.strip_prefix(PREFIX)? {
            "local" => Some(Self::Local),
            "total" => Some(Self::Total),
            "pinned" => Some(Self::Pinned),
            "peers" => Some(Self::Peers),
            _ => None,
        }
    }
}

/// True for a name that a mount answers itself.
pub(crate) fn is_made(name: &str) -> bool {
    About::of(name).is_some()
}

type Ask = Arc<dyn Fn(&[Range<u64>]) -> bool + Send + Sync>;

/// Who knows what is pinned.
#[derive(Default)]
pub(crate) struct Pins(Mutex<Option<Ask>>);

/// A file, or all that is below a folder.
struct Asked {
    /// Bytes of it.
    size: u64,
    /// What the drive has of it.
    contents: Vec<Content>,
}

impl Vfs {
    /// The value of an attribute that is made by the mount: `user.pome.local`, `.total`, `.pinned`, `.peers`, as a decimal number. `None` for another name. Of a folder it tells of
    /// what is published below it; where its entries are not here they are fetched.
    ///
    /// # Errors
    /// `NotFound`; `NoAttribute` for what has no content; those of the drive.
    pub async fn made_xattr(&self, ino: Ino, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(about) = About::of(name) else {
            return Ok(None);
        };
        let Asked { size, contents } = self.asked(ino).await?;
        let number = match about {
            About::Total => size,
            About::Local => {
                let mut local = size;
                for content in &contents {
                    let here = self.drive.bytes_here(content).await?;
                    local = local.saturating_sub(content.size.saturating_sub(here));
                }
                local
            }
            About::Pinned => u64::from(self.are_pinned(&contents).await?),
            About::Peers => {
                // What an entry says may be anything.
                let end = |c: &Content| c.block_offset.saturating_add(c.block_length);
                let ends = contents.iter().map(end);
                self.drive.holders(ends.max().unwrap_or(0)).await?
            }
        };
        Ok(Some(number.to_string().into_bytes()))
    }

    /// Whom to ask whether all of these blocks of the content core are pinned (default: nothing is).
    pub fn on_pinned(&self, ask: impl Fn(&[Range<u64>]) -> bool + Send + Sync + 'static) {
        *self.pins.0.lock() = Some(Arc::new(ask));
    }

    async fn are_pinned(&self, contents: &[Content]) -> Result<bool> {
        let Some(ask) = self.pins.0.lock().clone() else {
            return Ok(false);
        };
        let mut ranges = Vec::new();
        for content in contents {
            ranges.extend(self.drive.ranges_of(content).await?);
        }
        Ok(!ranges.is_empty() && ask(&ranges))
    }

    async fn asked(&self, ino: Ino) -> Result<Asked> {
        let is_made = self.is_made(ino);
        let (tree, path): (Arc<dyn Tree>, String) = {
            let state = self.state.lock();
            match &state.node(ino)?.kind {
                Kind::File(_) if is_made => return Err(VfsError::NoAttribute),
                Kind::File(file) => {
                    let size = file.size;
                    let contents = file.base.into_iter().collect();
                    return Ok(Asked { size, contents });
                }
                // A listing of the whole tree at each version would read all of the database.
                Kind::Folder(_) if hidden::is_hidden(ino) => return Err(VfsError::NoAttribute),
                Kind::Folder(folder) => match &folder.lower {
                    None => {
                        let (size, contents) = (0, Vec::new());
                        return Ok(Asked { size, contents });
                    }
                    Some(path) => (state.tree.clone(), path.clone()),
                },
                Kind::Link(_) | Kind::Special(_) => return Err(VfsError::NoAttribute),
            }
        };
        let below = tree.below(&path).await?;
        let contents = below.entries.into_iter();
        let mut contents: Vec<Content> = contents.filter_map(|(_, entry)| entry.content).collect();
        // A file that has several names is there once.
        contents.sort_unstable_by_key(|content| (content.block_offset, content.block_length));
        contents.dedup();
        let sizes = contents.iter().map(|content| content.size);
        let size = sizes.fold(0, u64::saturating_add);
        Ok(Asked { size, contents })
    }
}
