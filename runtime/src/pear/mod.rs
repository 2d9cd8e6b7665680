//! Pear: what an app knows of itself, the folder that is its own, and the drive that it may come from.

mod checkpoint;
mod drive;
mod home;
mod link;

pub use drive::{AppDrive, AppDriveError, Checkout};
pub use home::{AppHome, AppRecord, ShiftError};
pub use link::{LinkError, PearLink};

use crate::{
    engine::{bytes::Bytes, error::JsError, host::Host},
    event_loop::Loop,
};

use rquickjs::{Ctx, Function, JsLifetime, Null, Object, Persistent, Result};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    rc::Rc,
};

/// How an app is started, and what it is told of that: `Pear.config`.
///
/// ```
/// use pome_runtime::PearOptions;
///
/// let folder = tempfile::tempdir()?;
/// std::fs::write(folder.path().join("package.json"), r#"{"name":"notes","pear":{"type":"terminal"}}"#)?;
/// let file = folder.path().join("index.js");
/// std::fs::write(&file, "console.log(Pear.config.name)")?;
/// let own = folder.path().join("own");
/// let app = PearOptions::from_disk(&file, vec!["an argument".into()], Some(own))?;
/// assert_eq!(app.name, "notes");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PearOptions {
    /// What it is called: `pear.name` or `name` of its package.json, else the name of its folder.
    pub name: String,
    /// Its folder; empty for an app in a drive.
    pub dir: PathBuf,
    /// Its file, relative to the folder.
    pub main: String,
    /// What it was started by.
    pub link: String,
    /// What follows the link.
    pub args: Vec<String>,
    /// The folder for what it keeps.
    pub storage: PathBuf,
    /// It was started with `--dev`.
    pub dev: bool,
    /// The `pear` field of its package.json.
    pub options: Value,
    /// The drive that it comes from (default: none, it is on this disk).
    pub drive: Option<AppDrive>,
    /// What it is told of as `flags` besides `dev`: an object.
    pub flags: Value,
    /// Tell it of updates (default: true).
    pub updates: bool,
    /// What it finds in `links`, over those of its package.json.
    pub links: BTreeMap<String, String>,
}

impl PearOptions {
    /// The app that a file or folder is, if there is a package.json with a `pear` field above it. Without a folder of the caller's for what it keeps it gets its
    /// own.
    ///
    /// # Errors
    /// From the file system.
    pub fn find(
        path: &Path,
        args: &[String],
        storage: Option<PathBuf>,
    ) -> io::Result<Option<Self>> {
        let Ok(path) = fs::canonicalize(path) else {
            // Whoever runs it says what is wrong.
            return Ok(None);
        };
        match package(&path)? {
            Some((_, package)) if package.get("pear").is_some() => {
                Self::from_disk(&path, args.to_vec(), storage).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// An app on this disk: its file, or its folder. Without a folder of the caller's it gets one that is the same each time that this file is run.
    ///
    /// # Errors
    /// From the file system.
    pub fn from_disk(file: &Path, args: Vec<String>, storage: Option<PathBuf>) -> io::Result<Self> {
        let file = fs::canonicalize(file)?;
        let package = package(&file)?;
        let (dir, package) = match package {
            Some((dir, package)) => (dir, package),
            None => (
                file.parent().unwrap_or(Path::new("/")).to_path_buf(),
                Value::Null,
            ),
        };
        let link = format!("file://{}", file.display());
        let file = match file.is_dir() {
            true => file.join(main_in(&package)),
            false => file,
        };
        let name = name_in(&package).unwrap_or_else(|| {
            let folder = dir.file_name().unwrap_or_default();
            folder.to_string_lossy().into_owned()
        });
        let storage = match storage {
            Some(storage) => storage,
            None => AppHome::of_user()?.storage_from_disk(&link, &name)?,
        };
        fs::create_dir_all(&storage)?;
        let options = package.get("pear").cloned().unwrap_or_else(|| json!({}));
        Ok(Self {
            name,
            main: file
                .strip_prefix(&dir)
                .unwrap_or(&file)
                .display()
                .to_string(),
            storage: fs::canonicalize(storage)?,
            dir,
            link,
            args,
            dev: false,
            options,
            drive: None,
            flags: json!({}),
            updates: true,
            links: BTreeMap::new(),
        })
    }

    /// The app in a drive, by the link that starts it. Without a folder of the caller's it gets the one of its key.
    ///
    /// # Errors
    /// From the file system.
    pub fn from_drive(
        drive: AppDrive,
        link: &PearLink,
        args: Vec<String>,
        storage: Option<PathBuf>,
    ) -> io::Result<Self> {
        let package = drive.manifest();
        let name = name_in(package).unwrap_or_else(|| link.key.to_string());
        let storage = match storage {
            Some(storage) => storage,
            None => AppHome::of_user()?.storage_of_key(&link.key, &name)?,
        };
        fs::create_dir_all(&storage)?;
        let options = package.get("pear").cloned().unwrap_or_else(|| json!({}));
        Ok(Self {
            name,
            main: main_in(package),
            storage: fs::canonicalize(storage)?,
            dir: PathBuf::new(),
            link: link.to_string(),
            args,
            dev: false,
            options,
            drive: Some(drive),
            flags: json!({}),
            updates: true,
            links: BTreeMap::new(),
        })
    }

    /// What the runtime is to run: a path, or a URL.
    pub fn entry(&self) -> String {
        match &self.drive {
            None => self.dir.join(&self.main).display().to_string(),
            Some(drive) => format!("{}{}", drive.origin(), self.entrypoint()),
        }
    }

    /// The part of the link behind the key, when it is an app from a drive.
    fn parsed(&self) -> Option<PearLink> {
        self.link.parse().ok()
    }

    /// The path in the app that its link names.
    fn route(&self) -> String {
        let path = self.parsed().map(|link| link.path).unwrap_or_default();
        match path.as_str() {
            "" => "/".into(),
            _ => path,
        }
    }

    /// What the app's routes make of it: the file that is run.
    fn entrypoint(&self) -> String {
        let route = self.route();
        let listed = |name: &str| {
            let list = self
                .options
                .get(name)
                .or_else(|| self.options.get("stage")?.get(name));
            Some(
                list?
                    .as_array()?
                    .iter()
                    .filter_map(Value::as_str)
                    .any(|one| {
                        route.starts_with(&format!("/{}", one.trim_start_matches(['.', '/'])))
                    }),
            )
        };
        let is_unrouted = listed("unrouted") == Some(true) || listed("entrypoints") == Some(true);
        let target = match self.options.get("routes") {
            _ if is_unrouted => None,
            Some(Value::String(all)) => Some(all.as_str()),
            Some(Value::Object(map)) => map.get(&route).and_then(Value::as_str),
            _ => None,
        };
        let target = target.unwrap_or(&route).trim_start_matches('.');
        match target.trim_start_matches('/') {
            "" => format!(
                "/{}",
                self.main.trim_start_matches("./").trim_start_matches('/')
            ),
            path => format!("/{path}"),
        }
    }

    /// A new folder for one run.
    ///
    /// # Errors
    /// From the file system.
    pub fn temporary_storage() -> io::Result<PathBuf> {
        AppHome::temporary()
    }

    /// Lets go of all that it keeps.
    ///
    /// # Errors
    /// From the file system.
    pub fn clear_storage(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.storage)?;
        fs::create_dir_all(&self.storage)
    }

    /// Those of its package.json, and those of this run.
    fn all_links(&self) -> Value {
        let mut links = match self.options.get("links") {
            Some(Value::Object(links)) => links.clone(),
            Some(Value::Array(list)) => {
                let named = list.iter().enumerate();
                named
                    .map(|(at, link)| (at.to_string(), link.clone()))
                    .collect()
            }
            _ => serde_json::Map::new(),
        };
        for (name, link) in &self.links {
            links.insert(name.clone(), json!(link));
        }
        Value::Object(links)
    }

    fn config(&self) -> Value {
        let drive = self.drive.as_ref();
        let link = self.parsed();
        let part = |text: Option<&String>| text.and_then(|text| text.get(1..)).map(str::to_owned);
        let mut flags = json!({ "dev": self.dev });
        if let (Some(all), Some(given)) = (flags.as_object_mut(), self.flags.as_object()) {
            all.extend(given.clone());
        }
        json!({
            "key": null,
            "length": drive.map_or(0, AppDrive::length),
            "fork": drive.map_or(0, AppDrive::fork),
            "alias": link.as_ref().and_then(|link| link.alias),
            "dev": self.dev,
            "name": self.name,
            "main": self.main,
            "channel": drive.and_then(AppDrive::channel),
            "storage": self.storage,
            "options": self.options,
            "env": {},
            "flags": flags,
            "args": self.args,
            "checkout": drive.map(|drive| match drive.checkout() {
                Checkout::Release => json!("release"),
                Checkout::Staged => json!("staged"),
                Checkout::Length(length) => json!(length),
            }),
            "release": drive.and_then(AppDrive::release),
            "link": self.link,
            "links": self.all_links(),
            "route": self.route(),
            "routes": self.options.get("routes"),
            "entrypoint": match drive {
                Some(_) => self.entrypoint(),
                None => format!("/{}", self.main),
            },
            "fragment": part(link.as_ref().map(|link| &link.fragment)),
            "query": part(link.as_ref().map(|link| &link.query)),
            "linkData": part(link.as_ref().map(|link| &link.path)),
            "checkpoint": null,
            "applink": match drive {
                Some(drive) => PearLink::new(drive.live().key()).applink(),
                None => format!("file://{}", self.dir.display()),
            },
            "dir": drive.is_none().then_some(&self.dir),
            "dht": { "nodes": [], "bootstrap": bootstrap() },
            // Of the platform for windows.
            "assets": {},
            "startId": null,
            "prerunning": false,
        })
    }
}

/// The nodes to begin with, as an app hands them to its swarm.
fn bootstrap() -> Vec<Value> {
    let all = crate::core::dht::bootstrap();
    let value = |at: &std::net::SocketAddrV4| json!({ "host": at.ip(), "port": at.port() });
    all.iter().map(value).collect()
}

/// What an app is called by its package.json.
fn name_in(package: &Value) -> Option<String> {
    let own = package.get("pear").and_then(|pear| pear.get("name"));
    let name = own.or(package.get("name"))?.as_str()?;
    Some(name.to_owned())
}

/// The file that is run where a link names none.
fn main_in(package: &Value) -> String {
    let own = package.get("pear").and_then(|pear| pear.get("main"));
    let main = own.or(package.get("main")).and_then(Value::as_str);
    main.unwrap_or("index.js").to_owned()
}

/// The nearest package.json above a file, or in a folder or above it, and its folder.
fn package(file: &Path) -> io::Result<Option<(PathBuf, Value)>> {
    for dir in file.ancestors().skip(usize::from(!file.is_dir())) {
        match fs::read(dir.join("package.json")) {
            Ok(text) => {
                let package = serde_json::from_slice(&text).map_err(io::Error::other)?;
                return Ok(Some((dir.to_path_buf(), package)));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The app of this thread, as userdata.
#[derive(JsLifetime)]
struct App(Rc<PearOptions>);

/// Gives a thread its `Pear`.
pub(crate) fn install(ctx: &Ctx<'_>, options: &PearOptions) -> Result<()> {
    ctx.store_userdata(App(Rc::new(options.clone())))?;
    crate::builtin::load(ctx, "pear")?;
    Ok(())
}

/// The native half of `pear`.
pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    let app = ctx.userdata::<App>().map(|app| app.0.clone());
    native.set("config", app.as_ref().map(|app| app.config().to_string()))?;
    let drive = Host::get(ctx).app.clone();
    let key = drive
        .as_ref()
        .map(|drive| Bytes(drive.live().key().0.to_vec()));
    native.set("key", key)?;
    native.set(
        "checkpoint",
        app.as_ref().and_then(|app| checkpoint::read(app)),
    )?;
    native.set("newer", Function::new(ctx.clone(), newer)?)?;
    native.set("keep", Function::new(ctx.clone(), checkpoint::keep)?)?;
    Ok(native)
}

/// Calls back with the next version to run after `seen`: `(error)`, or `(null, length, fork)`.
fn newer<'js>(ctx: Ctx<'js>, seen: f64, callback: Function<'js>) -> Result<()> {
    let app = ctx.userdata::<App>().map(|app| app.0.clone());
    let Some(drive) = app
        .filter(|app| app.updates)
        .and_then(|app| app.drive.clone())
    else {
        return Ok(());
    };
    let events = Loop::get(&ctx);
    let callback = Persistent::save(&ctx, callback);
    let work = async move { drive.newer(seen as u64).await };
    events.spawn(events.handle(false), work, move |ctx, newer| {
        let callback = callback.restore(ctx)?;
        match newer {
            Ok((length, fork)) => callback.call((Null, length as f64, fork as f64)),
            Err(error) => callback.call((JsError::new(error.code(), error.to_string()),)),
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_as_pear_follows_them() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write(
            "package.json",
            r#"{ "name": "a", "main": "./start.js", "pear": {} }"#,
        );
        write("start.js", "");
        let own = folder.path().join("own");
        let mut app = PearOptions::from_disk(folder.path(), Vec::new(), Some(own)).unwrap();
        let key = pome_cores::Key([3; 32]);
        for (options, route, entry) in [
            (json!({}), "", "/start.js"),
            (json!({}), "/", "/start.js"),
            (json!({}), "/a/b.js", "/a/b.js"),
            (json!({ "routes": "." }), "/a/b.js", "/start.js"),
            (json!({ "routes": "./one.js" }), "/a", "/one.js"),
            (json!({ "routes": { "/a": "./b.js" } }), "/a", "/b.js"),
            (json!({ "routes": { "/a": "./b.js" } }), "/c.js", "/c.js"),
            (json!({ "routes": { "/": "/home.js" } }), "", "/home.js"),
            (
                json!({ "routes": ".", "unrouted": ["/assets"] }),
                "/assets/x.js",
                "/assets/x.js",
            ),
            (
                json!({ "routes": ".", "unrouted": ["/assets"] }),
                "/other/x.js",
                "/start.js",
            ),
            (
                json!({ "routes": ".", "stage": { "entrypoints": ["/second.js"] } }),
                "/second.js",
                "/second.js",
            ),
        ] {
            app.link = format!("pear://{key}{route}");
            app.options = options.clone();
            assert_eq!(app.entrypoint(), entry, "{route} with {options}");
        }
    }
}
