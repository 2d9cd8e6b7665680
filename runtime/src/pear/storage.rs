//! The folders that apps keep their things in: a random one for each app on this disk, remembered by what the app is started by.

use pome_cores::crypto::random_bytes;
use serde_json::{Map, Value};
use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

/// Where all of them are: `$POME_APPS`, else `pome-apps` in the XDG data folder.
fn home() -> io::Result<PathBuf> {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
    if let Some(home) = variable("POME_APPS") {
        return Ok(home.into());
    }
    let data = match (variable("XDG_DATA_HOME"), variable("HOME")) {
        (Some(data), _) => PathBuf::from(data),
        (None, Some(home)) => Path::new(&home).join(".local/share"),
        (None, None) => return Err(io::Error::other("neither POME_APPS nor HOME is set")),
    };
    Ok(data.join("pome-apps"))
}

fn random_name() -> String {
    let bytes: [u8; 32] = random_bytes();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The folder of the app that `link` starts.
pub(super) fn of(link: &str) -> io::Result<PathBuf> {
    let home = home()?;
    let folders = home.join("app-storage/by-random");
    fs::create_dir_all(&folders)?;
    let list = home.join("storages.json");
    let mut known: Map<String, Value> = match fs::read(&list) {
        Ok(text) => serde_json::from_slice(&text).map_err(io::Error::other)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Map::new(),
        Err(error) => return Err(error),
    };
    if let Some(name) = known.get(link).and_then(Value::as_str) {
        return Ok(folders.join(name));
    }
    let name = random_name();
    known.insert(link.to_owned(), name.clone().into());
    // Whole or not at all: another app may start meanwhile.
    let next = home.join(format!("storages.json.{name}"));
    fs::write(&next, Value::from(known).to_string())?;
    fs::rename(next, list)?;
    Ok(folders.join(name))
}

/// A new folder that nobody remembers.
pub(super) fn temporary() -> io::Result<PathBuf> {
    let folder = env::temp_dir().join(format!("pome-app-{}", &random_name()[..32]));
    fs::create_dir_all(&folder)?;
    Ok(folder)
}
