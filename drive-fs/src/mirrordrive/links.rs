//! What a drive's symlink is as a POSIX symlink.
//!
//! A link that was made on a POSIX file system (import, mount) has a `posix` object in its metadata, and its target is what `readlink`
//! gave: it goes to disk exactly so. A link that a JavaScript program made may mean two things: npm resolves a relative target against
//! the link itself as if that were a folder, but stores what it finds on disk, which is relative to the link's folder. Whichever
//! of the two is there in the drive decides.

use crate::{Entry, Error, Hyperdrive, PosixMetadata, path};
use std::path::Path;

/// The target to give the link on disk, in a folder at `root`.
pub(super) async fn on_disk(
    drive: &Hyperdrive,
    entry: &Entry,
    target: &str,
    root: &Path,
) -> Result<String, Error> {
    if PosixMetadata::is_in(entry.value.metadata.as_ref()) {
        return Ok(target.to_owned());
    }
    if target.starts_with('/') {
        // npm's drives are their own root.
        return Ok(match path::normalize_folder(target) {
            Ok(path) => root
                .join(path.trim_start_matches('/'))
                .to_string_lossy()
                .into(),
            Err(_) => target.to_owned(),
        });
    }
    let folder = path::parent(&entry.path);
    let posix = path::resolve(&format!("{folder}/"), target);
    let npm = path::resolve(&entry.path, target);
    if is_there(drive, posix.as_deref()).await? || !is_there(drive, npm.as_deref()).await? {
        return Ok(target.to_owned());
    }
    Ok(match npm {
        Ok(path) => relative(folder, &path),
        Err(_) => target.to_owned(),
    })
}

async fn is_there<E>(drive: &Hyperdrive, path: Result<&str, E>) -> Result<bool, Error> {
    match path {
        Err(_) => Ok(false),
        Ok("/") => Ok(true),
        Ok(path) => Ok(drive.exists(path).await? || drive.is_folder(path).await?),
    }
}

/// The stored path `to` as seen from the stored folder `from`.
fn relative(from: &str, to: &str) -> String {
    let from: Vec<&str> = from.split('/').filter(|n| !n.is_empty()).collect();
    let to: Vec<&str> = to.split('/').filter(|n| !n.is_empty()).collect();
    let common = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..", from.len() - common);
    let parts: Vec<&str> = up.chain(to[common..].iter().copied()).collect();
    match parts.is_empty() {
        true => ".".to_owned(),
        false => parts.join("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::relative;

    #[test]
    fn relative_paths() {
        for (from, to, target) in [
            ("/dir", "/dir/a", "a"),
            ("/dir/sub", "/dir/a", "../a"),
            ("", "/a/b", "a/b"),
            ("/a/b", "/c", "../../c"),
            ("/a", "/a", "."),
        ] {
            assert_eq!(relative(from, to), target);
        }
    }
}
