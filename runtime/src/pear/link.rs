//! Links to apps: `pear://[FORK.LENGTH.]KEY[.HASH][/PATH][?QUERY][#FRAGMENT]`, where an alias may stand for the key. Source: pear-link 4.2.1, `index.js`.

use pome_cores::Key;
use std::{fmt, str::FromStr};

/// The apps that Pear has names for, and their keys. Source: pear-aliases 1.0.7, `index.js`.
const ALIASES: [(&str, &str); 7] = [
    (
        "pear",
        "pzcjqmpoo6szkoc4bpkw65ib9ctnrq7b6mneeinbhbheihaq6p6o",
    ),
    (
        "keet",
        "oeeoz3w6fjjt7bym3ndpa6hhicm8f8naxyk11z4iypeoupn6jzpo",
    ),
    (
        "runtime",
        "qz5ihrqfmwtp4q36hnjaht1edur6c7w11dbb7ym9jqaex71wogso",
    ),
    (
        "doctor",
        "fs1xuyzx6c9mu6zu6t5ubhkcbzz913h814te9ay9zzbc9hzf15fo",
    ),
    (
        "templates",
        "z7n5sgqipwaejgonu6hh4baw95imy8dicj8678tej98itbs9tcgy",
    ),
    (
        "electron",
        "cktxzetiwt6un3ado5kgqedge6ya4nfazjckzq76zcapefwxakdy",
    ),
    (
        "pass",
        "tywsat7gz8m65ejx4zjn3773pbdc4j8m66tukis8dgzekraymtzo",
    ),
];

/// The key of an alias, and the alias as it is kept.
fn of_alias(text: &str) -> Option<(Key, &'static str)> {
    let (alias, key) = ALIASES.iter().find(|(alias, _)| *alias == text)?;
    Some((key.parse().ok()?, alias))
}

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
/// let keet: PearLink = "pear://keet".parse()?;
/// assert_eq!(keet.alias, Some("keet"));
/// # Ok::<(), pome_runtime::LinkError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PearLink {
    /// The drive.
    pub key: Key,
    /// The name of Pear's that the link has in place of the key.
    pub alias: Option<&'static str>,
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
            alias: None,
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

    /// The same as Pear tells an app of it: with the alias, where the key has one.
    pub fn applink(&self) -> String {
        let text = self.key.to_string();
        let alias = ALIASES.iter().find(|(_, key)| *key == text);
        format!("pear://{}", alias.map_or(&*text, |(alias, _)| alias))
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
        let named = |text: &str| match of_alias(text) {
            Some((key, alias)) => Ok(Self {
                alias: Some(alias),
                ..Self::new(key)
            }),
            None if text.len() < 52 => {
                Err(wrong("its key is none, and no app has that for an alias"))
            }
            None => key(text).map(Self::new),
        };
        let count = |text: &str| {
            text.parse::<u64>()
                .map_err(|_| wrong("its fork and length are no numbers"))
        };
        let parts: Vec<&str> = host.split('.').collect();
        let link = match parts.as_slice() {
            [one] => named(one)?,
            [fork, length, one] => named(one)?.at(count(fork)?, count(length)?),
            [fork, length, one, hash] => {
                key(hash)?;
                named(one)?.at(count(fork)?, count(length)?)
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
        match self.alias {
            Some(alias) => f.write_str(alias)?,
            None => write!(f, "{}", self.key)?,
        }
        write!(f, "{}{}{}", self.path, self.query, self.fragment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apps_that_pear_has_names_for() {
        for (alias, key) in ALIASES {
            let key: Key = key.parse().unwrap();
            let text = format!("pear://{alias}/a?b#c");
            let link: PearLink = text.parse().unwrap();
            assert_eq!((link.key, link.alias), (key, Some(alias)));
            assert_eq!(link.to_string(), text);
            assert_eq!(link.origin(), format!("pear://{key}"));
            assert_eq!(link.applink(), format!("pear://{alias}"));
            let by_key: PearLink = format!("pear://2.5.{key}").parse().unwrap();
            assert_eq!(by_key.alias, None);
            assert_eq!(by_key.applink(), format!("pear://{alias}"));
            let at: PearLink = format!("pear://2.5.{alias}").parse().unwrap();
            assert_eq!((at.fork, at.length, at.key), (Some(2), Some(5), key));
            assert_eq!(at.to_string(), format!("pear://2.5.{alias}"));
        }
    }

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
            "pear://kee".to_owned(),
            "pear://1.keet".to_owned(),
            "pear://Keet".to_owned(),
            "pear://é".to_owned(),
        ] {
            let error = wrong.parse::<PearLink>().unwrap_err();
            assert_eq!(error.code(), "ERR_INVALID_LINK", "{wrong}");
        }
    }
}
