//! What an app leaves to its next run: `Pear.checkpoint`.

use super::{App, PearOptions};
use crate::{engine::error::JsError, event_loop::Loop};
use rquickjs::{Ctx, Result, Value};
use std::{fs, path::PathBuf};

fn file(app: &PearOptions) -> PathBuf {
    app.storage.join("checkpoint")
}

/// What the run before has left: JSON.
pub(super) fn read(app: &PearOptions) -> Option<String> {
    let text = fs::read_to_string(file(app)).ok()?;
    serde_json::from_str::<serde_json::Value>(&text).ok()?;
    Some(text)
}

/// Keeps JSON for the next run; a promise.
pub(super) fn keep(ctx: Ctx<'_>, text: String) -> Result<Value<'_>> {
    let app = ctx.userdata::<App>().map(|app| app.0.clone());
    let path = app.map(|app| file(&app));
    let write = move || {
        let Some(path) = path else { return Ok(()) };
        // Another run of the app may keep something at the same time.
        let next = path.with_extension(format!("new-{}", std::process::id()));
        // Whole or not at all.
        let written = fs::write(&next, text).and_then(|()| fs::rename(next, &path));
        written.map_err(|error| JsError::os(&error, "write", Some(&path)))
    };
    Ok(Loop::get(&ctx).promise_blocking(&ctx, write)?.into_value())
}
