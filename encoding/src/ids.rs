//! Keys as people write them: z-base-32, hex, or a `pear://`/`hyper://` link.
//!
//! Source: hypercore-id-encoding 1.3.0, `index.js`. Vectors: `tests/vectors/crypto.json`, list `ids`.

use crate::z32;
use std::{fmt, str::FromStr};

/// A text that is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a key: {text:?} (52 characters of z-base-32, 64 of hex, or a link with one of them)")]
pub struct ParseIdError {
    text: String,
}

/// Reads a key exactly as hypercore-id-encoding does: 52 characters of z-base-32, 64 of hex (either case), or `pear://` with one of
/// them and perhaps a path behind it. Nothing is trimmed.
///
/// [`Key`]'s and [`DiscoveryKey`]'s `FromStr` take `hyper://` links too, which the npm module refuses.
///
/// # Errors
/// [`ParseIdError`] for every other text.
pub fn decode_id(text: &str) -> Result<[u8; 32], ParseIdError> {
    let id = text.strip_prefix("pear://").map_or(text, before_slash);
    bytes_of(id).ok_or_else(|| ParseIdError { text: text.into() })
}

fn before_slash(link: &str) -> &str {
    link.split('/').next().unwrap_or(link)
}

fn bytes_of(id: &str) -> Option<[u8; 32]> {
    let bytes = match id.len() {
        52 => z32::decode(id).ok()?,
        64 => data_encoding::HEXLOWER_PERMISSIVE
            .decode(id.as_bytes())
            .ok()?,
        _ => return None,
    };
    bytes.try_into().ok()
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Shown as z-base-32 (52 characters); read from z-base-32, hex, or a `pear://`/`hyper://` link.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);
        impl $name {
            /// The 32 bytes.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
            /// 64 lowercase hex digits.
            pub fn to_hex(&self) -> String {
                data_encoding::HEXLOWER.encode(&self.0)
            }
        }
        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        impl From<[u8; 32]> for $name {
            fn from(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }
        }
        impl From<$name> for [u8; 32] {
            fn from(id: $name) -> Self {
                id.0
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&z32::encode(&self.0))
            }
        }
        impl FromStr for $name {
            type Err = ParseIdError;
            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                match text.strip_prefix("hyper://").map(before_slash) {
                    Some(id) => bytes_of(id).ok_or_else(|| ParseIdError { text: text.into() }),
                    None => decode_id(text),
                }
                .map(Self)
            }
        }
    };
}

id!(
    /// The public name of a core: the hash of its manifest (or, for old cores, a public key). Knowing it is permission to read.
    ///
    /// ```
    /// use pome_encoding::Key;
    /// let key = Key([7; 32]);
    /// let text = key.to_string();
    /// assert_eq!(text.len(), 52);
    /// assert_eq!(text.parse::<Key>(), Ok(key));
    /// assert_eq!(format!("pear://{text}/a/path").parse::<Key>(), Ok(key));
    /// assert_eq!(key.to_hex().parse::<Key>(), Ok(key));
    /// ```
    Key
);
id!(
    /// The hash of a key under which peers find a core without learning the key.
    DiscoveryKey
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_their_paths() {
        let key = Key([0xa5; 32]);
        for text in [
            format!("{key}"),
            key.to_hex(),
            key.to_hex().to_uppercase(),
            format!("hyper://{key}"),
            format!("hyper://{}/x/y", key.to_hex()),
            format!("pear://{key}/"),
        ] {
            assert_eq!(text.parse::<Key>(), Ok(key), "{text}");
        }
        for text in ["", "pear://", "hyper://", "hyper:///x", "é"] {
            assert!(text.parse::<Key>().is_err(), "{text}");
        }
        assert!(format!("pear://hyper://{key}").parse::<Key>().is_err());
        assert!("é".repeat(26).parse::<Key>().is_err());
        assert!("é".repeat(32).parse::<Key>().is_err());
    }
}
