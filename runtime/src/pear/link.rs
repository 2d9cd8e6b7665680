//! Links to apps: `pear://[FORK.LENGTH.]KEY[.HASH][/PATH][?QUERY][#FRAGMENT]`. Source: pear-link 4.2.1, `index.js`.

use pome_cores::Key;
use std::{fmt, str::FromStr};

/// A link that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{link:?} is no link to an app: {why}")]
pub struct LinkError {
    /// As given.
    pub link: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl LinkError {
    /// The code for `--json`: Pear's.
    pub fn code(&self) -> &'static str {
        "ERR_INVALID_LINK"
    }
}

/// A link to an app in a drive.
///
/// ```
/// use pome_cores::Key;
/// use pome_runtime::PearLink;
///
/// let key = Key([7; 32]);
/// let link: PearLink = format!("pear://0.12.{key}/docs?a=1#top").parse()?;
/// assert_eq!((link.key, link.fork, link.length), (key, Some(0), Some(12)));
/// assert_eq!((link.path.as_str(), link.query.as_str(), link.fragment.as_str()), ("/docs", "?a=1", "#top"));
/// assert_eq!(link.origin(), format!("pear://{key}"));
/// # Ok::<(), pome_runtime::LinkError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PearLink {
    /// The drive.
    pub key: Key,
    /// The drive's fork, where the link names a version.
    pub fork: Option<u64>,
    /// The version that the link names: the length of the drive's database.
    pub length: Option<u64>,
    /// What follows the key, with its `/`; empty when nothing does.
    pub path: String,
    /// With its `?`; empty when there is none.
    pub query: String,
    /// With its `#`; empty when there is none.
    pub fragment: String,
}

impl PearLink {
    /// The link to a whole drive.
    pub fn new(key: Key) -> Self {
        Self {
            key,
            fork: None,
            length: None,
            path: String::new(),
            query: String::new(),
            fragment: String::new(),
        }
    }

    /// The same at a version.
    #[must_use]
    pub fn at(self, fork: u64, length: u64) -> Self {
        Self {
            fork: Some(fork),
            length: Some(length),
            ..self
        }
    }

    /// True when it reads as a link to a drive, right or wrong, and not as a path.
    pub fn is_link(text: &str) -> bool {
        text.starts_with("pear://")
    }

    /// Whose link it is, whatever version and path it names.
    pub fn origin(&self) -> String {
        format!("pear://{}", self.key)
    }
}

impl FromStr for PearLink {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let wrong = |why| LinkError {
            link: text.into(),
            why,
        };
        let rest = text
            .strip_prefix("pear://")
            .ok_or_else(|| wrong("it does not begin with pear://"))?;
        let (rest, fragment) = cut(rest, '#');
        let (rest, query) = cut(rest, '?');
        let (host, path) = cut(rest, '/');
        let key = |text: &str| text.parse::<Key>().map_err(|_| wrong("its key is none"));
        let count = |text: &str| {
            text.parse::<u64>()
                .map_err(|_| wrong("its fork and length are no numbers"))
        };
        let parts: Vec<&str> = host.split('.').collect();
        let link = match parts.as_slice() {
            [one] => Self::new(key(one)?),
            [fork, length, one] => Self::new(key(one)?).at(count(fork)?, count(length)?),
            [fork, length, one, hash] => {
                key(hash)?;
                Self::new(key(one)?).at(count(fork)?, count(length)?)
            }
            _ => return Err(wrong("a key is wanted, or a fork, a length and a key")),
        };
        Ok(Self {
            path: path.into(),
            query: query.into(),
            fragment: fragment.into(),
            ..link
        })
    }
}

/// What comes before a mark, and the rest with it.
fn cut(text: &str, mark: char) -> (&str, &str) {
    text.split_at(text.find(mark).unwrap_or(text.len()))
}

impl fmt::Display for PearLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pear://")?;
        if let (Some(fork), Some(length)) = (self.fork, self.length) {
            write!(f, "{fork}.{length}.")?;
        }
        write!(
            f,
            "{}{}{}{}",
            self.key, self.path, self.query, self.fragment
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_as_pear_reads_them() {
        let key = Key([0xa5; 32]);
        for text in [
            format!("pear://{key}"),
            format!("pear://{key}/a/b.js?x=1&y#z"),
            format!("pear://3.17.{key}/a"),
        ] {
            assert_eq!(text.parse::<PearLink>().unwrap().to_string(), text);
        }
        let hex: PearLink = format!("pear://{}#f", key.to_hex()).parse().unwrap();
        assert_eq!(hex.to_string(), format!("pear://{key}#f"));
        let hash: PearLink = format!("pear://0.4.{key}.{key}").parse().unwrap();
        assert_eq!(hash.length, Some(4));
        for wrong in [
            "".to_owned(),
            "pear://".to_owned(),
            format!("{key}"),
            format!("pear://1.{key}"),
            format!("pear://a.1.{key}"),
            format!("pear://1.-1.{key}"),
            format!("pear://1.2.{key}.x"),
            format!("pear://1.2.{key}.{key}.5"),
            "pear://keet".to_owned(),
            "pear://é".to_owned(),
        ] {
            let error = wrong.parse::<PearLink>().unwrap_err();
            assert_eq!(error.code(), "ERR_INVALID_LINK", "{wrong}");
        }
    }
}
