//! The one table of names: what each name in this store stands for.

use super::failure::Failure;
use pome_cores::{Corestore, Key, Local};
use pome_runtime::PearLink;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    Core,
    Bee,
    Drive,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Core => "core",
            Self::Bee => "bee",
            Self::Drive => "drive",
        })
    }
}

/// One row of the table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) kind: Kind,
    /// z-base-32.
    pub(crate) key: String,
    /// Where a drive's is not its name: an app may be called what no drive can be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
}

/// A name, or a key.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Name(String),
    Key(Key),
}

impl Target {
    /// What a person typed: a key where it reads as one, else a name.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        if PearLink::is_link(text) {
            let link: PearLink = text.parse()?;
            return match link.length {
                None => Ok(Self::Key(link.key)),
                Some(_) => Err(Failure::usage(format!(
                    "{text} names a version, which means nothing here: {} does not",
                    link.origin()
                ))),
            };
        }
        if let Ok(key) = text.parse::<Key>() {
            return Ok(Self::Key(key));
        }
        let refuse = |why| Err(Failure::usage(format!("{text:?} is no name: {why}")));
        match text {
            "" => refuse("it is empty"),
            _ if text.len() > 255 => refuse("it is longer than 255 bytes"),
            _ if text.contains(['/', '\0']) => refuse("a name has no `/` and no NUL"),
            _ if text == "." || text == ".." => refuse("it is a folder's"),
            _ => Ok(Self::Name(text.into())),
        }
    }
}

/// The table, kept in a local keyspace of the store.
pub(crate) struct Names {
    table: Local,
}

impl Names {
    pub(crate) fn open(corestore: &Corestore) -> Result<Self, Failure> {
        Ok(Self {
            table: corestore.local("names")?,
        })
    }

    pub(crate) fn get(&self, name: &str) -> Result<Option<Named>, Failure> {
        match self.table.get(name.as_bytes())? {
            Some(row) => parse(name, &row).map(Some),
            None => Ok(None),
        }
    }

    /// The row of `name`, which must be of `kind`; `None` when the name is free.
    pub(crate) fn of_kind(&self, name: &str, kind: Kind) -> Result<Option<Named>, Failure> {
        match self.get(name)? {
            Some(row) if row.kind != kind => Err(Failure::new(
                "NAME_TAKEN",
                format!(
                    "{name:?} is a {} in this store, not a {kind}; take another name",
                    row.kind
                ),
            )),
            row => Ok(row),
        }
    }

    pub(crate) fn set(&self, name: &str, kind: Kind, key: Key) -> Result<(), Failure> {
        self.set_in(name, kind, key, name)
    }

    /// The same for a drive in a namespace of another name.
    pub(crate) fn set_in(
        &self,
        name: &str,
        kind: Kind,
        key: Key,
        namespace: &str,
    ) -> Result<(), Failure> {
        let row = Named {
            kind,
            key: key.to_string(),
            namespace: (namespace != name).then(|| namespace.into()),
        };
        let row =
            serde_json::to_vec(&row).map_err(|e| Failure::new("NAME", format!("{name:?}: {e}")))?;
        Ok(self.table.put(name, row)?)
    }

    /// All rows, sorted by name.
    pub(crate) fn all(&self) -> Result<Vec<(String, Named)>, Failure> {
        self.table
            .range(..)
            .map(|row| {
                let (name, row) = row?;
                let name = String::from_utf8_lossy(&name).into_owned();
                let row = parse(&name, &row)?;
                Ok((name, row))
            })
            .collect()
    }

    /// The names of one kind.
    pub(crate) fn of(&self, kind: Kind) -> Result<Vec<(String, Named)>, Failure> {
        Ok(self
            .all()?
            .into_iter()
            .filter(|(_, row)| row.kind == kind)
            .collect())
    }
}

fn parse(name: &str, row: &[u8]) -> Result<Named, Failure> {
    serde_json::from_slice(row).map_err(|e| {
        Failure::new(
            "NAME",
            format!("the table of names: the row of {name:?} does not parse: {e}"),
        )
    })
}
