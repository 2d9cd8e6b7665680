//! Which drives are mounted, and what their mounts still use of old versions.

use super::{drive::blob_of, lower::Content, overlay::Overlay, vfs::Vfs};
use crate::{BlobId, Error};
use parking_lot::Mutex;
use pome_cores::Corestore;
use std::sync::{Arc, Weak};

/// The mounts of this process, by the name of their overlay.
static MOUNTED: Mutex<Vec<(String, Weak<Vfs>)>> = Mutex::new(Vec::new());

/// Makes known that `vfs` shows the drive `name`.
pub(crate) fn add(name: &str, vfs: &Arc<Vfs>) {
    let mut mounted = MOUNTED.lock();
    mounted.retain(|(_, vfs)| vfs.strong_count() > 0);
    mounted.push((name.to_owned(), Arc::downgrade(vfs)));
}

/// True while this process shows the drive `name` somewhere.
pub(crate) fn is_mounted(name: &str) -> bool {
    let mounted = MOUNTED.lock();
    mounted
        .iter()
        .any(|(other, vfs)| other == name && vfs.strong_count() > 0)
}

/// The local keyspace in which a mount of the drive `name` keeps what it has not published.
pub(crate) fn overlay_name(name: &str) -> String {
    format!("mount/{name}")
}

/// The oldest version that a mount of the drive `name` shows, and the contents that mounts and their overlays may still read.
pub(crate) fn in_use(
    corestore: &Corestore,
    name: &str,
) -> Result<(Option<u64>, Vec<BlobId>), Error> {
    let live: Vec<Arc<Vfs>> = {
        let mounted = MOUNTED.lock();
        let of = mounted.iter().filter(|(other, _)| other == name);
        of.filter_map(|(_, vfs)| vfs.upgrade()).collect()
    };
    let mut oldest = None;
    let mut contents: Vec<Content> = vec![];
    for vfs in &live {
        let state = vfs.state.lock();
        let mut version = state.tree.version();
        if let Some(publishing) = &state.publishing {
            version = version.min(publishing.version);
            contents.extend(&publishing.contents);
        }
        oldest = Some(oldest.map_or(version, |v: u64| v.min(version)));
        let files = state.nodes.values().filter_map(|node| node.file());
        for file in files {
            contents.extend(file.base);
            contents.extend(file.extents.shared());
        }
    }
    let overlay = overlay_name(name);
    // Only a mount that writes knows all that the overlay holds; one of an old version knows nothing of it.
    if live.iter().all(|vfs| vfs.read_only()) && corestore.locals(&overlay)?.contains(&overlay) {
        contents.extend(Overlay::bases(&corestore.local(&overlay)?)?);
    }
    Ok((oldest, contents.iter().map(blob_of).collect()))
}

/// Has mounts of the drive `name` that show its head look at it anew: what they looked at until now may keep the disk from being given back.
pub(crate) async fn renew(name: &str) {
    let live: Vec<Arc<Vfs>> = {
        let mounted = MOUNTED.lock();
        let of = mounted.iter().filter(|(other, _)| other == name);
        of.filter_map(|(_, vfs)| vfs.upgrade()).collect()
    };
    for vfs in live {
        match vfs.drive.head().await {
            Ok(head) => {
                let mut state = vfs.state.lock();
                if state.tree.version() == head.version() {
                    state.tree = head;
                }
            }
            Err(error) => tracing::debug!(%error, "the drive was not looked at anew"),
        }
    }
}
