//! What this machine keeps of the apps that run on it: which it knows, where each keeps its things, and which may run.
//!
//! ```text
//! apps.json                      a row for each app, by the link that starts it
//! app-storage/by-dkey/HEX        what an app from a drive keeps: HEX is the drive's discovery key
//! app-storage/by-random/HEX      what an app on this disk keeps
//! drives/HEX[-N]                 as much of an app's drive as has come: one store for each process that runs it at a time
//! ```

use pome_cores::{
    Key,
    crypto::{discovery_key, random_bytes},
};
use serde_json::{Map, Value, json};
use std::{
    env, fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

/// So many processes may run one app at a time.
const DRIVES_MAX: usize = 64;

/// The folder that apps have in common: `$POME_APPS`, else `pome-apps` in the XDG data folder.
///
/// ```
/// use pome_cores::Key;
/// use pome_runtime::AppHome;
///
/// let folder = tempfile::tempdir()?;
/// let home = AppHome::at(folder.path());
/// let key = Key([7; 32]);
/// assert!(!home.is_trusted(&key)?);
/// home.trust(&key)?;
/// assert!(home.is_trusted(&key)?);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppHome {
    dir: PathBuf,
}

/// What is known of an app.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AppRecord {
    /// What starts it.
    pub link: String,
    /// What it is called, once it ran.
    pub name: Option<String>,
    /// The folder for what it keeps, once it has one.
    pub storage: Option<PathBuf>,
    /// It may run without being asked for. Apps on this disk are not asked for.
    pub trusted: bool,
}

/// Moving what an app keeps to another one did not go.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ShiftError {
    /// The app has nothing.
    #[error("nothing is kept for {link}")]
    Nothing {
        /// The app.
        link: String,
    },
    /// The other app has something already.
    #[error("something is kept for {link} already; --force lets go of it")]
    Taken {
        /// The app.
        link: String,
    },
    /// From the file system.
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn random_name() -> String {
    let bytes: [u8; 32] = random_bytes();
    hex(&bytes)
}

/// The link that an app in a drive is known by.
fn link_of(key: &Key) -> String {
    format!("pear://{key}")
}

/// The table, locked until it is dropped.
struct Table {
    file: PathBuf,
    rows: Map<String, Value>,
    _lock: fs::File,
}

impl Table {
    /// The row of an app; made where there is none.
    fn set(&mut self, link: &str, field: &str, value: impl Into<Value>) {
        self.rows.entry(link).or_insert_with(|| json!({}))[field] = value.into();
    }

    fn get(&self, link: &str, field: &str) -> Option<&Value> {
        self.rows.get(link)?.get(field)
    }

    /// Whole or not at all.
    fn write(self) -> io::Result<()> {
        let next = self.file.with_extension("json.new");
        let mut file = fs::File::create(&next)?;
        file.write_all(Value::from(self.rows).to_string().as_bytes())?;
        // Its name may reach the disk before it does.
        file.sync_all()?;
        fs::rename(next, &self.file)
    }
}

impl AppHome {
    /// The one of this user.
    ///
    /// # Errors
    /// When neither `POME_APPS` nor `HOME` is set.
    pub fn of_user() -> io::Result<Self> {
        let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
        if let Some(home) = variable("POME_APPS") {
            return Ok(Self::at(Path::new(&home)));
        }
        let data = match (variable("XDG_DATA_HOME"), variable("HOME")) {
            (Some(data), _) => PathBuf::from(data),
            (None, Some(home)) => Path::new(&home).join(".local/share"),
            (None, None) => return Err(io::Error::other("neither POME_APPS nor HOME is set")),
        };
        Ok(Self::at(&data.join("pome-apps")))
    }

    /// The one in this folder. It is made when something is to be kept.
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.into() }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn rows(&self) -> io::Result<Map<String, Value>> {
        match fs::read(self.dir.join("apps.json")) {
            Ok(text) => {
                let mut rows: Map<String, Value> =
                    serde_json::from_slice(&text).map_err(io::Error::other)?;
                rows.retain(|_, row| row.is_object());
                Ok(rows)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Map::new()),
            Err(error) => Err(error),
        }
    }

    fn table(&self) -> io::Result<Table> {
        fs::create_dir_all(&self.dir)?;
        let lock = fs::File::create(self.dir.join("apps.lock"))?;
        lock.lock()?;
        Ok(Table {
            file: self.dir.join("apps.json"),
            rows: self.rows()?,
            _lock: lock,
        })
    }

    fn storage_in(&self, row: &Value) -> Option<PathBuf> {
        let relative = row.get("storage")?.as_str()?;
        Some(self.dir.join("app-storage").join(relative))
    }

    /// The apps that are known, by their links.
    ///
    /// # Errors
    /// From the file system.
    pub fn apps(&self) -> io::Result<Vec<AppRecord>> {
        let rows = self.rows()?;
        let known = rows.iter().map(|(link, row)| AppRecord {
            link: link.clone(),
            name: row.get("name").and_then(Value::as_str).map(str::to_owned),
            storage: self.storage_in(row),
            trusted: row.get("trusted") == Some(&Value::Bool(true)),
        });
        Ok(known.collect())
    }

    /// True when the app may run without being asked for.
    ///
    /// # Errors
    /// From the file system.
    pub fn is_trusted(&self, key: &Key) -> io::Result<bool> {
        let rows = self.rows()?;
        let row = rows.get(&link_of(key));
        Ok(row.and_then(|row| row.get("trusted")) == Some(&Value::Bool(true)))
    }

    /// Lets the app run from now on.
    ///
    /// # Errors
    /// From the file system.
    pub fn trust(&self, key: &Key) -> io::Result<()> {
        let mut table = self.table()?;
        table.set(&link_of(key), "trusted", true);
        table.write()
    }

    /// Forgets an app, and removes what it keeps; whether there was one.
    ///
    /// # Errors
    /// From the file system.
    pub fn forget(&self, link: &str) -> io::Result<bool> {
        let mut table = self.table()?;
        let Some(row) = table.rows.remove(link) else {
            return Ok(false);
        };
        if let Some(storage) = self.storage_in(&row)
            && let Err(error) = fs::remove_dir_all(storage)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        table.write()?;
        Ok(true)
    }

    fn storage(&self, link: &str, name: Option<&str>, new: String) -> io::Result<PathBuf> {
        let mut table = self.table()?;
        // Its own folder may have been handed to another app.
        let is_taken = |row: &Value| row.get("storage").and_then(Value::as_str) == Some(&new);
        let new = match table.rows.values().any(is_taken)
            && !table.rows.get(link).is_some_and(is_taken)
        {
            true => format!("by-random/{}", random_name()),
            false => new,
        };
        let known = table.get(link, "storage").and_then(Value::as_str);
        let relative = known.map_or(new, str::to_owned);
        table.set(link, "storage", relative.as_str());
        if let Some(name) = name {
            table.set(link, "name", name);
        }
        table.write()?;
        Ok(self.dir.join("app-storage").join(relative))
    }

    /// The folder of the app on this disk that `link` starts: a random one, which is found again by the link.
    ///
    /// # Errors
    /// From the file system.
    pub(super) fn storage_from_disk(&self, link: &str, name: &str) -> io::Result<PathBuf> {
        self.storage(link, Some(name), format!("by-random/{}", random_name()))
    }

    /// The folder of the app in this drive.
    ///
    /// # Errors
    /// From the file system.
    pub(super) fn storage_of_key(&self, key: &Key, name: &str) -> io::Result<PathBuf> {
        let new = format!("by-dkey/{}", hex(&discovery_key(key).0));
        self.storage(&link_of(key), Some(name), new)
    }

    /// The folders that the drive of an app may be kept in: a process takes the first that no other one has.
    pub fn drives(&self, key: &Key) -> impl Iterator<Item = PathBuf> + use<> {
        let (folder, name) = (self.dir.join("drives"), hex(&discovery_key(key).0));
        (1..=DRIVES_MAX).map(move |number| match number {
            1 => folder.join(&name),
            _ => folder.join(format!("{name}-{number}")),
        })
    }

    /// Hands what the app of one link keeps to that of another one; the folder.
    ///
    /// # Errors
    /// [`ShiftError`].
    pub fn shift(&self, from: &str, to: &str, force: bool) -> Result<PathBuf, ShiftError> {
        let mut table = self.table()?;
        let storage = |table: &Table, link: &str| {
            let row = table.rows.get(link)?;
            self.storage_in(row).filter(|storage| storage.exists())
        };
        let source =
            storage(&table, from).ok_or_else(|| ShiftError::Nothing { link: from.into() })?;
        if let Some(taken) = storage(&table, to) {
            if !force {
                return Err(ShiftError::Taken { link: to.into() });
            }
            fs::remove_dir_all(taken)?;
        }
        let relative = table.get(from, "storage").cloned().unwrap_or_default();
        table.set(from, "storage", Value::Null);
        table.set(to, "storage", relative);
        table.write()?;
        Ok(source)
    }

    /// Removes what no known app keeps any more: folders of storages that no row names, and with `drives` what has come of drives, as far as nobody runs
    /// them. Answers with what was removed.
    ///
    /// # Errors
    /// From the file system.
    pub fn collect(&self, drives: bool) -> io::Result<Vec<PathBuf>> {
        let table = self.table()?;
        let kept: Vec<PathBuf> = table
            .rows
            .values()
            .filter_map(|row| self.storage_in(row))
            .collect();
        let mut removed = Vec::new();
        for kind in ["by-dkey", "by-random"] {
            for folder in folders(&self.dir.join("app-storage").join(kind))? {
                if !kept.contains(&folder) {
                    fs::remove_dir_all(&folder)?;
                    removed.push(folder);
                }
            }
        }
        if drives {
            for folder in folders(&self.dir.join("drives"))? {
                if remove_drive(&folder)? {
                    removed.push(folder);
                }
            }
        }
        Ok(removed)
    }

    /// A new folder that nobody remembers.
    pub(super) fn temporary() -> io::Result<PathBuf> {
        let folder = env::temp_dir().join(format!("pome-app-{}", &random_name()[..32]));
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

/// Removes what has come of a drive; false when some process runs the app.
fn remove_drive(folder: &Path) -> io::Result<bool> {
    let mut options = pome_storage::Options::default();
    options.create = false;
    // Held until it is gone: nobody begins to run the app from it meanwhile.
    let held = match pome_storage::Store::open(folder, options) {
        Ok(store) => Some(store),
        Err(error) if error.code() == "LOCKED" => return Ok(false),
        // What cannot be opened is of no use to anybody.
        Err(_) => None,
    };
    // Whoever looks for a folder now finds none, and not half of one.
    let gone = folder.with_extension("gone");
    if gone != folder && gone.exists() {
        fs::remove_dir_all(&gone)?;
    }
    match fs::rename(folder, &gone) {
        // The rest of one whose removal broke off went with it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        renamed => renamed?,
    }
    let removed = fs::remove_dir_all(&gone);
    drop(held);
    removed.map(|()| true)
}

/// The folders in a folder, which may be missing.
fn folders(of: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(of) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_finds_its_folder_again_and_hands_it_on() {
        let dir = tempfile::tempdir().unwrap();
        let home = AppHome::at(dir.path());
        let (one, other) = (Key([1; 32]), Key([2; 32]));
        let folder = home.storage_of_key(&one, "one").unwrap();
        assert_eq!(home.storage_of_key(&one, "one").unwrap(), folder);
        assert!(folder.ends_with(format!("by-dkey/{}", hex(&discovery_key(&one).0))));
        let (from, to) = (link_of(&one), link_of(&other));
        assert!(matches!(
            home.shift(&from, &to, false),
            Err(ShiftError::Nothing { .. })
        ));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("note"), "kept").unwrap();
        home.shift(&from, &to, false).unwrap();
        let moved = home.storage_of_key(&other, "other").unwrap();
        assert_eq!(fs::read(moved.join("note")).unwrap(), b"kept");
        // The app that handed it on begins anew, in a folder that is not the one it gave away.
        assert_ne!(home.storage_of_key(&one, "one").unwrap(), moved);
    }

    #[test]
    fn what_no_app_keeps_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let home = AppHome::at(dir.path());
        let kept = home.storage_from_disk("file:///a", "a").unwrap();
        fs::create_dir_all(&kept).unwrap();
        let lost = dir.path().join("app-storage/by-random/lost");
        fs::create_dir_all(&lost).unwrap();
        assert_eq!(home.collect(true).unwrap(), [lost]);
        assert!(kept.exists());
        assert!(home.forget("file:///a").unwrap());
        assert!(!kept.exists());
        assert!(!home.forget("file:///a").unwrap());
    }
}
