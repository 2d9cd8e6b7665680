//! The folder `.pome` at the root of a mount, which no listing shows: `versions/N/…`, the drive as it was; `status` and `key`.
//!
//! Its inodes have numbers of their own, so that what may not be changed is known by its number.

use super::{
    drive::DriveTree,
    error::{Result, VfsError},
    lower::{Found, LowerEntry, LowerError, Tree},
    node::{Ino, ROOT},
    state::State,
    vfs::Vfs,
};
use crate::posix::PosixMetadata;
use bytes::Bytes;
use serde_json::json;
use std::sync::Arc;

/// The name at the root.
pub(crate) const HIDDEN: &str = ".pome";
/// Its path in the drive, where nothing of the kind can be reached while it is mounted.
const PATH: &str = "/.pome";
const VERSIONS: &str = "/.pome/versions";
/// In the numbers of hidden inodes, and of no other.
const BIT: Ino = 1 << 62;

/// True for `.pome` and all below it.
pub(crate) fn is_hidden(ino: Ino) -> bool {
    ino & BIT != 0
}

/// True when `name` in `parent` is `.pome`, or below it.
pub(crate) fn is_hidden_name(parent: Ino, name: &str) -> bool {
    is_hidden(parent) || parent == ROOT && name == HIDDEN
}

/// The number for what stands there.
pub(crate) fn number(ino: Ino, parent: Ino, name: &str) -> Ino {
    match is_hidden_name(parent, name) {
        true => ino | BIT,
        false => ino,
    }
}

/// True for the path of `.pome`, and of all below it.
pub(crate) fn is_hidden_path(path: &str) -> bool {
    place(path).is_some()
}

/// True for a folder whose listing may grow although nothing tells of it.
pub(crate) fn grows(path: &str) -> bool {
    path == VERSIONS
}

/// A file that is made when it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Made {
    Status,
    Key,
}

fn read_only() -> Found {
    Found::Folder {
        description: Some(PosixMetadata {
            mode: Some(0o555),
            ..PosixMetadata::default()
        }),
    }
}

fn made() -> Found {
    Found::Leaf(LowerEntry {
        executable: false,
        linkname: None,
        content: None,
        metadata: Some(json!({ "posix": { "mode": 0o444 } })),
    })
}

/// What a path below `.pome` is about.
enum Place<'a> {
    Top,
    Versions,
    Version(u64, &'a str),
    Made,
    Nothing,
}

fn place(path: &str) -> Option<Place<'_>> {
    let rest = path.strip_prefix(PATH)?;
    let rest = match rest.strip_prefix('/') {
        None if rest.is_empty() => return Some(Place::Top),
        None => return None,
        Some(rest) => rest,
    };
    Some(match rest.split_once('/') {
        None if rest == "versions" => Place::Versions,
        None if matches!(rest, "status" | "key") => Place::Made,
        Some(("versions", below)) => {
            let at = below.find('/').unwrap_or(below.len());
            let (version, path) = below.split_at(at);
            // One way to write each.
            match version.parse::<u64>() {
                Ok(number) if number.to_string() == version => Place::Version(number, path),
                _ => Place::Nothing,
            }
        }
        _ => Place::Nothing,
    })
}

type Lower<T> = std::result::Result<T, LowerError>;

impl DriveTree {
    /// The versions at which a reader sees a whole tree, oldest first.
    async fn versions(&self) -> Lower<&[u64]> {
        let versions = self.whole.get_or_try_init(|| self.drive.whole_versions());
        Ok(versions.await?)
    }

    async fn at(&self, version: u64) -> Lower<Option<Arc<dyn Tree>>> {
        let known = self.versions().await?.binary_search(&version).is_ok();
        match known {
            true => Ok(Some(Self::of(self.drive.checkout(version)?))),
            false => Ok(None),
        }
    }

    /// What stands at a hidden path; `None` when it is not one.
    pub(crate) async fn lookup_hidden(&self, path: &str) -> Option<Lower<Option<Found>>> {
        Some(match place(path)? {
            Place::Top | Place::Versions => Ok(Some(read_only())),
            Place::Made => Ok(Some(made())),
            Place::Nothing => Ok(None),
            Place::Version(version, below) => match self.at(version).await {
                Ok(Some(_)) if below.is_empty() => Ok(Some(read_only())),
                // Nothing of it is hidden again.
                Ok(Some(_)) if place(below).is_some() => Ok(None),
                Ok(Some(tree)) => tree.lookup(below).await,
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            },
        })
    }

    /// What is in a hidden folder; `None` when it is not one.
    pub(crate) async fn hidden_children(&self, path: &str) -> Option<Lower<Vec<(String, Found)>>> {
        Some(match place(path)? {
            Place::Top => Ok(vec![
                ("key".to_owned(), made()),
                ("status".to_owned(), made()),
                ("versions".to_owned(), read_only()),
            ]),
            Place::Versions => match self.versions().await {
                Ok(versions) => Ok(versions
                    .iter()
                    .map(|v| (v.to_string(), read_only()))
                    .collect()),
                Err(error) => Err(error),
            },
            Place::Version(version, below) => match self.at(version).await {
                Ok(Some(tree)) => tree.children(below).await,
                Ok(None) => Ok(vec![]),
                Err(error) => Err(error),
            },
            Place::Made | Place::Nothing => Ok(vec![]),
        })
    }
}

impl State {
    /// # Errors
    /// `ReadOnly` for what is hidden.
    pub(crate) fn may_change(&self, ino: Ino) -> Result<()> {
        match is_hidden(ino) {
            true => Err(VfsError::ReadOnly),
            false => Ok(()),
        }
    }

    /// As [`may_change`](Self::may_change), for a name.
    pub(crate) fn may_change_name(&self, parent: Ino, name: &str) -> Result<()> {
        match is_hidden_name(parent, name) {
            true => Err(VfsError::ReadOnly),
            false => Ok(()),
        }
    }

    /// What is not there may be by now: there is nobody to tell of it.
    pub(crate) fn forget_absence(&mut self, parent: Ino, name: &str) {
        if is_hidden(parent)
            && let Ok(folder) = self.folder_mut(parent)
            && folder
                .slots
                .get(name)
                .is_some_and(|slot| slot.ino.is_none())
        {
            folder.slots.remove(name);
            folder.complete = false;
        }
    }

    fn made(&self, ino: Ino) -> Option<Made> {
        if !is_hidden(ino) {
            return None;
        }
        let node = self.nodes.get(&ino)?;
        let top = self.nodes.get(&node.parent)?;
        if top.parent != ROOT || &*top.name != HIDDEN {
            return None;
        }
        match &*node.name {
            "status" => Some(Made::Status),
            "key" => Some(Made::Key),
            _ => None,
        }
    }
}

impl Vfs {
    /// True for a file whose bytes are made when they are read: whatever its size says, it is read to its end, and not kept.
    pub fn is_made(&self, ino: Ino) -> bool {
        is_hidden(ino) && self.state.lock().made(ino).is_some()
    }

    /// True for `.pome` and what is in it: what is not there may be a moment later.
    pub fn is_hidden(&self, ino: Ino) -> bool {
        is_hidden(ino)
    }

    /// The bytes of such a file; `None` for any other.
    pub(crate) async fn read_made(&self, ino: Ino) -> Result<Option<Bytes>> {
        if !is_hidden(ino) {
            return Ok(None);
        }
        let Some(made) = self.state.lock().made(ino) else {
            return Ok(None);
        };
        let mut status = self.drive.status().await?;
        let text = match made {
            Made::Key => status["key"].as_str().unwrap_or_default().to_owned(),
            Made::Status => {
                let pending = self.pending();
                status["version"] = self.version().into();
                status["writable"] = (!self.read_only).into();
                status["pending"] = json!({
                    "files": pending.files,
                    "bytes": pending.bytes,
                    "changes": pending.changes,
                });
                let unreadable = self.unreadable().into_iter();
                let unreadable =
                    unreadable.map(|(path, error)| json!({ "path": path, "error": error }));
                status["unreadable"] = unreadable.collect();
                status.to_string()
            }
        };
        Ok(Some(Bytes::from(text + "\n")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_below_the_hidden_folder() {
        assert!(place("/.pomegranate").is_none());
        assert!(place("/a/.pome").is_none());
        assert!(matches!(place("/.pome"), Some(Place::Top)));
        assert!(matches!(place("/.pome/versions"), Some(Place::Versions)));
        assert!(matches!(
            place("/.pome/versions/7"),
            Some(Place::Version(7, ""))
        ));
        assert!(matches!(
            place("/.pome/versions/7/a/b"),
            Some(Place::Version(7, "/a/b"))
        ));
        for nothing in [
            "/.pome/x",
            "/.pome/versions/07",
            "/.pome/versions/x",
            "/.pome/key/a",
        ] {
            assert!(matches!(place(nothing), Some(Place::Nothing)), "{nothing}");
        }
        assert!(
            is_hidden(number(5, ROOT, ".pome"))
                && is_hidden(number(5, number(5, ROOT, ".pome"), "a"))
        );
        assert!(!is_hidden(number(u64::MAX >> 2, ROOT, "pome")));
    }
}
