//! Drive paths: what a caller may write, and the one form in which it is stored.
//!
//! `/` and `\` both separate; `.`, empty parts and a trailing `/` vanish; `a/../b` folds; a drive letter or a `file:` /
//! `scheme://host` head is dropped. Case matters and Unicode is left alone: é in two normal forms is two files.
//! Source: unix-path-resolve 1.0.2; hyperdrive 13.3.4, `index.js`, `std`. Vectors: `drive.json`, `paths`.

/// A text that is no drive path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// The path names the root, where a file was wanted.
    #[error("{path:?} names the root of the drive, not a file")]
    Root {
        /// As given.
        path: String,
    },
    /// More `..` than folders.
    #[error("{path:?} leads out of the drive: too many '..'")]
    AboveRoot {
        /// As given.
        path: String,
    },
    /// A NUL cannot be part of a name: the database uses it as a separator, and no file system has it.
    #[error("{path:?} has a NUL in it")]
    Nul {
        /// As given.
        path: String,
    },
    /// Neither path starts at the root.
    #[error("{path:?} is relative, and so is what it is relative to")]
    Relative {
        /// As given.
        path: String,
    },
}

impl PathError {
    /// The code for `--json`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Root { .. } => "INVALID_FILENAME",
            Self::AboveRoot { .. } => "PATH_ABOVE_ROOT",
            Self::Nul { .. } => "PATH_HAS_NUL",
            Self::Relative { .. } => "PATH_IS_RELATIVE",
        }
    }
}

/// The stored form of the path of a file: it starts with `/` and does not end with one.
///
/// # Errors
/// [`PathError`] for the root, for too many `..`, and for a NUL.
///
/// ```
/// use pome_drive_fs::path::{PathError, normalize};
///
/// assert_eq!(normalize("docs/./2024\\../a.txt")?, "/docs/a.txt");
/// assert!(matches!(normalize("/docs/.."), Err(PathError::Root { .. })));
/// assert!(matches!(normalize("../etc/passwd"), Err(PathError::AboveRoot { .. })));
/// # Ok::<(), PathError>(())
/// ```
pub fn normalize(path: &str) -> Result<String, PathError> {
    let normal = resolve("/", path)?;
    if normal == "/" {
        return Err(PathError::Root { path: path.into() });
    }
    Ok(normal)
}

/// The stored form of the path of a folder: as [`normalize`], but the root is allowed, and is the empty string. What is in
/// the folder is then everything between this followed by `/` and this followed by `0`.
///
/// # Errors
/// [`PathError`] for too many `..`, and for a NUL.
pub fn normalize_folder(path: &str) -> Result<String, PathError> {
    let normal = resolve("/", path)?;
    Ok(if normal == "/" { String::new() } else { normal })
}

/// `path` as seen from `base`. The answer starts with `/`; the root is `/`.
///
/// # Errors
/// [`PathError`] for too many `..`, for a NUL, and when neither is absolute.
pub fn resolve(base: &str, path: &str) -> Result<String, PathError> {
    for part in [base, path] {
        if part.contains('\0') {
            return Err(PathError::Nul { path: part.into() });
        }
    }
    let (absolute, names) = parse(path);
    let mut out = String::from("/");
    if !absolute {
        let (base_is_absolute, base_names) = parse(base);
        if !base_is_absolute {
            return Err(PathError::Relative { path: path.into() });
        }
        push_all(&mut out, &base_names, base)?;
    }
    push_all(&mut out, &names, path)?;
    Ok(out)
}

/// Whether the path is absolute, and its names without a drive letter or scheme.
fn parse(path: &str) -> (bool, Vec<&str>) {
    let mut names: Vec<&str> = path.split(['/', '\\']).collect();
    if names.len() > 1 && names[0].ends_with(':') {
        let head = names[0];
        // A scheme is followed by an empty part and the host.
        let heads = if head.encode_utf16().count() == 2 || head == "file:" {
            1
        } else {
            3
        };
        return (true, names.split_off(heads.min(names.len())));
    }
    (path.starts_with(['/', '\\']), names)
}

fn push_all(out: &mut String, names: &[&str], path: &str) -> Result<(), PathError> {
    for name in names {
        match *name {
            "" | "." => {}
            ".." => {
                if out.len() == 1 {
                    return Err(PathError::AboveRoot { path: path.into() });
                }
                out.truncate(out.rfind('/').unwrap_or(0).max(1));
            }
            name => {
                if out.len() > 1 {
                    out.push('/');
                }
                out.push_str(name);
            }
        }
    }
    Ok(())
}

/// The folder that holds `path`, in the form of [`normalize_folder`]. `path` is a stored path.
pub fn parent(path: &str) -> &str {
    &path[..path.rfind('/').unwrap_or(0)]
}

/// The last name of a stored path.
pub fn file_name(path: &str) -> &str {
    &path[path.rfind('/').map_or(0, |at| at + 1)..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_dropped() {
        for (path, normal) in [
            ("file:/a/b/../../c", "/c"),
            ("file:///a/b/../../c", "/c"),
            ("proto://host/a/b/../../c", "/c"),
            ("c:\\dir\\file", "/dir/file"),
            ("\\dir", "/dir"),
            ("/C:/x", "/C:/x"),
        ] {
            assert_eq!(normalize(path).as_deref(), Ok(normal), "{path}");
        }
        assert!(matches!(normalize("proto:/a"), Err(PathError::Root { .. })));
    }

    #[test]
    fn bad_paths_have_names() {
        assert!(matches!(normalize("/a\0b"), Err(PathError::Nul { .. })));
        assert!(matches!(
            normalize("/a/../.."),
            Err(PathError::AboveRoot { .. })
        ));
        assert!(matches!(resolve("a", "b"), Err(PathError::Relative { .. })));
        assert_eq!(normalize_folder("/").as_deref(), Ok(""));
        assert_eq!(resolve("/a/b", "../c/d").as_deref(), Ok("/a/c/d"));
    }

    #[test]
    fn parts_of_a_stored_path() {
        assert_eq!((parent("/a/b"), file_name("/a/b")), ("/a", "b"));
        assert_eq!((parent("/a"), file_name("/a")), ("", "a"));
    }
}
