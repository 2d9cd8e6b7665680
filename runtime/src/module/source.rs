//! Where the resolver looks: the disk, or what a protocol of the program's has instead.

use crate::{
    engine::host::Host,
    permissions::{self, Place},
};
use rquickjs::{Ctx, Function, JsLifetime, Object};
use rustix::fs::FileType;
use serde_json::Value;
use std::{cell::RefCell, collections::HashMap, path::PathBuf, rc::Rc};
use url::Url;

/// A place with files.
pub(crate) trait Source {
    /// True for a file; for an asset also for a folder.
    fn exists(&self, url: &Url, is_asset: bool) -> bool;

    /// A `package.json`; `Err` is what is wrong with it.
    fn package(&self, url: &Url) -> Result<Option<Rc<Value>>, String>;

    /// What a URL is once links are followed.
    fn real(&self, url: &Url) -> Url;
}

/// The `package.json` files that this thread has read. One that is not there is looked for again.
#[derive(Default, JsLifetime)]
pub(crate) struct Packages(RefCell<HashMap<String, Rc<Value>>>);

/// The disk, and the drive of an app that has one.
pub(crate) struct Disk<'a, 'js> {
    pub(crate) packages: &'a Packages,
    pub(crate) ctx: &'a Ctx<'js>,
}

impl Disk<'_, '_> {
    /// The place of a file that the program may look at.
    fn place(&self, url: &Url) -> Option<Place> {
        // Where it may not look there is nothing for it.
        permissions::file(self.ctx, path_of(url)?).ok()
    }

    /// True for a file in the drive of the app; `None` when that is not where it would be.
    fn is_in_drive(&self, url: &Url) -> Option<bool> {
        let drive = Host::get(self.ctx).app.clone()?;
        let path = drive.path_of(url)?;
        // What cannot be had is asked for again when it is read, which says why.
        Some(drive.is_file(&path).unwrap_or(true))
    }

    fn text(&self, url: &Url) -> Option<String> {
        let drive = Host::get(self.ctx).app.clone();
        if let Some(drive) = drive
            && let Some(path) = drive.path_of(url)
        {
            let bytes = drive.read(&path).ok().flatten()?;
            return String::from_utf8(bytes).ok();
        }
        String::from_utf8(self.place(url)?.read().ok()?).ok()
    }
}

/// The path of a `file:` URL.
pub(crate) fn path_of(url: &Url) -> Option<PathBuf> {
    match url.scheme() {
        "file" => url.to_file_path().ok(),
        _ => None,
    }
}

fn parse(url: &Url, text: &str) -> Result<Rc<Value>, String> {
    match serde_json::from_str::<Value>(text.trim_start_matches('\u{feff}')) {
        Ok(value) => Ok(Rc::new(value)),
        Err(error) => Err(format!("{error} in {url}")),
    }
}

impl Source for Disk<'_, '_> {
    fn exists(&self, url: &Url, is_asset: bool) -> bool {
        if let Some(is_file) = self.is_in_drive(url) {
            return is_file;
        }
        let stat = self.place(url).and_then(|place| place.stat().ok());
        stat.is_some_and(|stat| match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => true,
            FileType::Directory => is_asset,
            _ => false,
        })
    }

    fn package(&self, url: &Url) -> Result<Option<Rc<Value>>, String> {
        if let Some(known) = self.packages.0.borrow().get(url.as_str()) {
            return Ok(Some(known.clone()));
        }
        let Some(text) = self.text(url) else {
            return Ok(None);
        };
        let value = parse(url, &text)?;
        self.packages
            .0
            .borrow_mut()
            .insert(url.to_string(), value.clone());
        Ok(Some(value))
    }

    fn real(&self, url: &Url) -> Url {
        self.place(url)
            .and_then(|place| place.canonical().ok())
            .and_then(|path| Url::from_file_path(path).ok())
            .unwrap_or_else(|| url.clone())
    }
}

/// A protocol of the program's: an object with `exists(href, isAsset)` and `read(href)`.
pub(crate) struct Protocol<'js>(pub(crate) Object<'js>);

impl Protocol<'_> {
    fn clear(ctx: &Ctx<'_>) {
        // A protocol that throws has nothing there.
        ctx.catch();
    }
}

impl Source for Protocol<'_> {
    fn exists(&self, url: &Url, is_asset: bool) -> bool {
        let answer = self
            .0
            .get::<_, Function<'_>>("exists")
            .and_then(|exists| exists.call::<_, bool>((url.as_str(), is_asset)));
        answer.unwrap_or_else(|_| {
            Self::clear(self.0.ctx());
            false
        })
    }

    fn package(&self, url: &Url) -> Result<Option<Rc<Value>>, String> {
        if !self.exists(url, false) {
            return Ok(None);
        }
        let text = self
            .0
            .get::<_, Function<'_>>("read")
            .and_then(|read| read.call::<_, String>((url.as_str(),)));
        match text {
            Ok(text) => parse(url, &text).map(Some),
            Err(_) => {
                Self::clear(self.0.ctx());
                Ok(None)
            }
        }
    }

    fn real(&self, url: &Url) -> Url {
        url.clone()
    }
}
