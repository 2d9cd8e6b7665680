//! Apps: the words of Pear's command line. Projects on this disk are staged into drives of the store, released, seeded and dumped; apps from a key run on
//! a store of their own (`super::runtime`).
//!
//! A line of `--json` is Pear's: `{"cmd":…,"tag":…,"data":{…}}`. Source: Pear 1.16 and 2.x, `subsystems/sidecar/ops`.

pub(crate) mod args;
pub(crate) mod dump;
mod ignore;
pub(crate) mod info;
pub(crate) mod init;
pub(crate) mod machine;
pub(crate) mod release;
pub(crate) mod seed;
pub(crate) mod stage;

use super::{failure::Failure, io::Io, service::Service};
use args::AppArgs;
use bytes::Bytes;
use pome_drive_fs::Hyperdrive;
use pome_runtime::{LinkError, PearLink};
use serde_json::{Value, json};
use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

impl From<LinkError> for Failure {
    fn from(error: LinkError) -> Self {
        Self::new("ERR_INVALID_LINK", error.to_string())
    }
}

/// A folder with a package.json.
pub(crate) struct Project {
    pub(crate) dir: PathBuf,
    pub(crate) package: Value,
}

impl Project {
    /// The one that a folder is in.
    pub(crate) fn find(folder: &Path) -> Result<Self, Failure> {
        for dir in folder.ancestors() {
            let file = dir.join("package.json");
            match std::fs::read_to_string(&file) {
                Ok(text) => {
                    let package = pome_encoding::json::parse(text.trim_start_matches('\u{feff}'));
                    let package = package.map_err(|error| {
                        let message = format!("{}: {error}", file.display());
                        Failure::new("ERR_INVALID_MANIFEST", message)
                    })?;
                    return Ok(Self {
                        dir: dir.into(),
                        package,
                    });
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(Failure::io(&file.display().to_string(), &error)),
            }
        }
        Err(Failure::new(
            "ERR_INVALID_PROJECT_DIR",
            format!(
                "no package.json in {} or above it; `pome init` makes one",
                folder.display()
            ),
        ))
    }

    /// The `pear` field.
    pub(crate) fn options(&self) -> &Value {
        self.package.get("pear").unwrap_or(&Value::Null)
    }

    /// What the app is called.
    pub(crate) fn name(&self) -> Result<String, Failure> {
        let name = self.options().get("name").or(self.package.get("name"));
        let name = name.and_then(Value::as_str).unwrap_or_default();
        check_name(name)?;
        Ok(name.to_owned())
    }

    /// The strings of a field of `pear.stage`: a list, or one text with commas.
    pub(crate) fn staging(&self, field: &str) -> Vec<String> {
        match self
            .options()
            .get("stage")
            .and_then(|stage| stage.get(field))
        {
            Some(Value::Array(list)) => {
                let texts = list.iter().filter_map(Value::as_str);
                texts.map(str::to_owned).collect()
            }
            Some(Value::String(text)) => text.split(',').map(|one| one.trim().to_owned()).collect(),
            _ => Vec::new(),
        }
    }
}

/// Pear's rule for names.
pub(crate) fn check_name(name: &str) -> Result<(), Failure> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "@/-_".contains(c);
    match !name.is_empty() && name.chars().all(fits) {
        true => Ok(()),
        false => Err(Failure::new(
            "ERR_INVALID_APP_NAME",
            format!(
                "{name:?} is no name for an app: lowercase letters, digits, `-`, `_`, `/` and `@` are"
            ),
        )),
    }
}

/// Which app a command is about.
pub(crate) enum Which {
    Link(PearLink),
    /// A project, what it is called, and the channel.
    Channel(String, String),
}

impl Which {
    /// What was typed.
    pub(crate) fn of(args: &AppArgs, io: &Io) -> Result<Self, Failure> {
        if PearLink::is_link(&args.channel) {
            return Ok(Self::Link(args.channel.parse()?));
        }
        let channel = args.channel.clone();
        if channel.is_empty() || channel.contains(['/', '\0']) {
            let message = format!("{channel:?} is neither a channel nor a link to an app");
            return Err(Failure::new("ERR_INVALID_INPUT", message));
        }
        let name = match &args.name {
            Some(name) => {
                check_name(name)?;
                name.clone()
            }
            None => Project::find(&folder(args, io))?.name()?,
        };
        Ok(Self::Channel(name, channel))
    }

    pub(crate) fn channel(&self) -> Option<&str> {
        match self {
            Self::Link(_) => None,
            Self::Channel(_, channel) => Some(channel),
        }
    }

    /// Has a channel's drive among the drives of the store.
    pub(crate) fn keep(&self, service: &Service, drive: &Hyperdrive) -> Result<(), Failure> {
        match self {
            Self::Link(_) => Ok(()),
            Self::Channel(name, channel) => service.name_app(&format!("{name}~{channel}"), drive),
        }
    }

    /// Its drive, where this store has it; with `if_new` also that of a channel that nothing was staged into yet.
    pub(crate) async fn ours(
        &self,
        service: &Service,
        if_new: bool,
    ) -> Result<Hyperdrive, Failure> {
        match self {
            Self::Link(link) => {
                let key = link.key.to_string();
                let missing = super::service::IfMissing::Refuse;
                let (_, drive) = service.drive(Some(&key), missing).await?;
                match drive.writable() {
                    true => Ok(drive),
                    false => Err(Failure::new(
                        "SESSION_NOT_WRITABLE",
                        format!("{} is not written by this store", link.origin()),
                    )),
                }
            }
            Self::Channel(name, channel) => service.app(&format!("{name}~{channel}"), if_new).await,
        }
    }
}

/// The folder of the project.
pub(crate) fn folder(args: &AppArgs, io: &Io) -> PathBuf {
    io.path(args.dir.as_deref().unwrap_or(Path::new("")))
}

/// Refuses a folder with something in it.
fn refuse_full(folder: &Path) -> Result<(), Failure> {
    match std::fs::read_dir(folder).map(|mut entries| entries.next().is_some()) {
        Ok(true) => Err(Failure::new(
            "ERR_DIR_NONEMPTY",
            format!(
                "{} has something in it; --force writes into it all the same",
                folder.display()
            ),
        )),
        Ok(false) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Failure::io(&folder.display().to_string(), &error)),
    }
}

/// A record of Pear's beside the files of a drive.
pub(crate) async fn record(drive: &Hyperdrive, name: &str) -> Result<Option<Value>, Failure> {
    let entry = drive.db().get(name.as_bytes()).await?;
    let value = entry.and_then(|entry| entry.value);
    let text = value.map(|value| String::from_utf8_lossy(&value).into_owned());
    Ok(text.and_then(|text| pome_encoding::json::parse(&text).ok()))
}

/// Writes a record, unless it is as it should be.
pub(crate) async fn set_record(
    drive: &Hyperdrive,
    name: &str,
    value: &Value,
) -> Result<(), Failure> {
    if let Some((key, text)) = changed_record(drive, name, value).await? {
        drive.db().put(&key, text).await?;
    }
    Ok(())
}

/// The row of a record, unless it is there as it should be.
pub(crate) async fn changed_record(
    drive: &Hyperdrive,
    name: &str,
    value: &Value,
) -> Result<Option<(Vec<u8>, Bytes)>, Failure> {
    let is_there = record(drive, name).await?.as_ref() == Some(value);
    let text = || pome_encoding::json::stringify(value);
    Ok((!is_there).then(|| (name.as_bytes().to_vec(), text().into())))
}

/// The link to a drive as it is now.
pub(crate) fn version_link(drive: &Hyperdrive) -> String {
    let core = drive.core();
    let link = PearLink::new(drive.key()).at(core.fork(), core.length());
    link.to_string()
}

/// One line of Pear's, or a text where there is one.
pub(crate) async fn tell(
    io: &Io,
    (cmd, tag): (&str, &str),
    data: Value,
    text: impl AsRef<str>,
) -> Result<(), Failure> {
    let line = json!({ "cmd": cmd, "tag": tag, "data": data });
    io.event(line, &printable(text.as_ref())).await
}

/// A text of somebody else's on a terminal: without what would move the cursor, or worse.
fn printable(text: &str) -> Cow<'_, str> {
    let moves = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    match text.contains(moves) {
        true => Cow::Owned(text.replace(moves, "\u{fffd}")),
        false => Cow::Borrowed(text),
    }
}
