//! Which paths a listing or a mirror leaves out.

use crate::{Error, path};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use std::{fmt, sync::Arc};

/// A set of paths to leave out. A folder that is left out takes everything below it along.
#[derive(Clone, Default)]
pub struct Ignore(Option<Kind>);

#[derive(Clone)]
enum Kind {
    Paths(Arc<[String]>),
    Globs(GlobSet),
    Test(Arc<dyn Fn(&str) -> bool + Send + Sync>),
}

impl Ignore {
    /// Leaves out nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// Leaves out these paths and what is below them.
    ///
    /// # Errors
    /// [`Error::Path`] when one of them is no drive path.
    pub fn paths<I, S>(paths: I) -> Result<Self, Error>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        let paths: Result<Arc<[String]>, _> = paths
            .into_iter()
            .map(|p| path::normalize(p.as_ref()))
            .collect();
        Ok(Self(Some(Kind::Paths(paths?))))
    }

    /// Leaves out what matches one of these globs, and what is below it. A pattern without a `/` (but at its end) matches a name at any
    /// depth; else it matches from the root. `*` and `?` stop at `/`, `**` does not.
    ///
    /// # Errors
    /// [`Error::BadPattern`].
    pub fn globs<I, S>(patterns: I) -> Result<Self, Error>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        let mut set = GlobSetBuilder::new();
        for pattern in patterns {
            let pattern = pattern.as_ref();
            let bad = |e: globset::Error| Error::BadPattern {
                pattern: pattern.into(),
                why: e.kind().to_string(),
            };
            let trimmed = pattern.trim_end_matches('/');
            let rooted = if trimmed.starts_with('/') {
                trimmed.to_owned()
            } else if trimmed.contains('/') {
                format!("/{trimmed}")
            } else {
                format!("/**/{trimmed}")
            };
            let glob = GlobBuilder::new(&rooted).literal_separator(true).build();
            set.add(glob.map_err(bad)?);
        }
        let set = set.build().map_err(|e| Error::BadPattern {
            pattern: e.glob().unwrap_or_default().into(),
            why: e.kind().to_string(),
        })?;
        Ok(Self((!set.is_empty()).then_some(Kind::Globs(set))))
    }

    /// Leaves out the paths for which `test` answers true.
    pub fn test(test: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Kind::Test(Arc::new(test))))
    }

    /// True when nothing is left out.
    pub fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// True when the stored path is left out.
    pub fn matches(&self, path: &str) -> bool {
        match &self.0 {
            None => false,
            Some(Kind::Paths(paths)) => paths.iter().any(|p| below(path, p)),
            Some(Kind::Globs(set)) => prefixes(path).any(|p| set.is_match(p)),
            Some(Kind::Test(test)) => test(path),
        }
    }
}

impl fmt::Debug for Ignore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("Ignore::none"),
            Some(Kind::Paths(paths)) => f.debug_tuple("Ignore::paths").field(paths).finish(),
            Some(Kind::Globs(set)) => f.debug_tuple("Ignore::globs").field(&set.len()).finish(),
            Some(Kind::Test(_)) => f.write_str("Ignore::test"),
        }
    }
}

fn below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The folders above a stored path from the root down, then the path itself.
fn prefixes(path: &str) -> impl Iterator<Item = &str> {
    let folders = path.match_indices('/').skip(1).map(|(at, _)| &path[..at]);
    folders.chain(std::iter::once(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_take_what_is_below() {
        let ignore = Ignore::paths(["/dir", "a/b"]).unwrap();
        for (path, out) in [
            ("/dir", true),
            ("/dir/x/y", true),
            ("/dir-x", false),
            ("/a/b", true),
            ("/a", false),
        ] {
            assert_eq!(ignore.matches(path), out, "{path}");
        }
        assert!(Ignore::paths(["/"]).is_err());
    }

    #[test]
    fn globs() {
        let ignore = Ignore::globs(["*.o", "/target", "docs/*/tmp", "node_modules/"]).unwrap();
        for (path, out) in [
            ("/x.o", true),
            ("/a/b/x.o", true),
            ("/x.o/below", true),
            ("/x.oo", false),
            ("/target/debug/x", true),
            ("/a/target", false),
            ("/docs/a/tmp/x", true),
            ("/docs/a/b/tmp", false),
            ("/a/node_modules/b/c", true),
        ] {
            assert_eq!(ignore.matches(path), out, "{path}");
        }
        assert!(matches!(
            Ignore::globs(["a[b"]),
            Err(Error::BadPattern { .. })
        ));
        assert!(Ignore::globs([""; 0]).unwrap().is_none());
    }
}
