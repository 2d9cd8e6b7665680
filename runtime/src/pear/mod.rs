//! Pear: what an app knows of itself, and the folder that is its own.

mod storage;

use rquickjs::{Ctx, JsLifetime, Object, Result};
use serde_json::{Value, json};
use std::{
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
    /// Its folder.
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
}

impl PearOptions {
    /// The app that a file or folder is, if there is a package.json with a `pear` field above it.
    ///
    /// # Errors
    /// From the file system.
    pub fn find(path: &Path, args: &[String]) -> io::Result<Option<Self>> {
        let Ok(path) = fs::canonicalize(path) else {
            // Whoever runs it says what is wrong.
            return Ok(None);
        };
        match package(&path)? {
            Some((_, package)) if package.get("pear").is_some() => {
                Self::from_disk(&path, args.to_vec(), None).map(Some)
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
            true => file.join(
                package
                    .get("main")
                    .and_then(Value::as_str)
                    .unwrap_or("index.js"),
            ),
            false => file,
        };
        let storage = match storage {
            Some(storage) => storage,
            None => storage::of(&link)?,
        };
        fs::create_dir_all(&storage)?;
        let options = package.get("pear").cloned().unwrap_or_else(|| json!({}));
        let own = options.get("name").or(package.get("name"));
        let folder = || {
            dir.file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned()
        };
        Ok(Self {
            name: own
                .and_then(Value::as_str)
                .map_or_else(folder, str::to_owned),
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
        })
    }

    /// A new folder for one run.
    ///
    /// # Errors
    /// From the file system.
    pub fn temporary_storage() -> io::Result<PathBuf> {
        storage::temporary()
    }

    fn config(&self) -> Value {
        json!({
            "key": null,
            "length": 0,
            "fork": 0,
            "alias": null,
            "dev": self.dev,
            "name": self.name,
            "main": self.main,
            "channel": null,
            "storage": self.storage,
            "options": self.options,
            "env": {},
            "flags": { "dev": self.dev },
            "args": self.args,
            "checkout": null,
            "release": null,
            "link": self.link,
            "links": self.options.get("links").cloned().unwrap_or_else(|| json!({})),
            "route": "/",
            "routes": self.options.get("routes"),
            "entrypoint": format!("/{}", self.main),
            "fragment": null,
            "query": null,
            "linkData": null,
            "checkpoint": null,
            "applink": format!("file://{}", self.dir.display()),
            "dir": self.dir,
            "dht": { "nodes": [], "bootstrap": [] },
            "assets": {},
            "prerunning": false,
        })
    }
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
    let config = ctx.userdata::<App>().map(|app| app.0.config().to_string());
    native.set("config", config)?;
    Ok(native)
}
