//! Which names a drive path can hold.

use super::error::{Result, VfsError};
use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

/// Longest name in bytes, as on other filesystems.
pub const NAME_BYTES_MAX: usize = 255;

/// The name as text, if a drive can hold it.
///
/// # Errors
/// `NameTooLong`, `NameNotText`, `NameNotAllowed`, as in `docs/mount-semantics.md`.
pub(crate) fn check(name: &OsStr) -> Result<&str> {
    let bytes = name.as_bytes();
    if bytes.len() > NAME_BYTES_MAX {
        return Err(VfsError::NameTooLong);
    }
    let name = std::str::from_utf8(bytes).map_err(|_| VfsError::NameNotText)?;
    if name.is_empty() || name == "." || name == ".." || name.contains(['\\', '/', '\0']) {
        return Err(VfsError::NameNotAllowed);
    }
    Ok(name)
}

/// The path of `name` in `folder`; the root folder's path is the empty string.
pub(crate) fn join(folder: &str, name: &str) -> String {
    let mut path = String::with_capacity(folder.len() + 1 + name.len());
    path.push_str(folder);
    path.push('/');
    path.push_str(name);
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_drive_cannot_hold_are_refused() {
        assert!(matches!(
            check(OsStr::new("a\\b")),
            Err(VfsError::NameNotAllowed)
        ));
        assert!(matches!(
            check(OsStr::from_bytes(b"\xff")),
            Err(VfsError::NameNotText)
        ));
        assert!(matches!(
            check(OsStr::new(&"é".repeat(128))),
            Err(VfsError::NameTooLong)
        ));
        for name in [
            "é \n C:",
            "C:",
            "file:",
            "...",
            " ",
            "%2e",
            "a:b",
            "~",
            "\u{202e}x",
        ] {
            assert_eq!(check(OsStr::new(name)).unwrap(), name);
            let path = join(&join("", name), name);
            assert_eq!(crate::path::normalize(&path).unwrap(), path);
        }
    }
}
