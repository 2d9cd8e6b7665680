//! What this machine keeps of the apps that run on it: `pome data`, `gc`, `shift` and `versions`. None needs a store.

use super::args::{DataArgs, GcArgs, ShiftArgs};
use crate::cli::{failure::Failure, present::Presentation};
use pome_runtime::{AppHome, BARE_VERSION, PearLink, ShiftError};
use serde_json::{Value, json};
use std::io::Write;

impl From<ShiftError> for Failure {
    fn from(error: ShiftError) -> Self {
        match error {
            ShiftError::Io(error) => Self::io("the folder of apps", &error),
            error => Self::new("ERR_INVALID_INPUT", error.to_string()),
        }
    }
}

/// One line of Pear's, or a text where there is one.
pub(super) fn tell(how: Presentation, (cmd, tag): (&str, &str), data: &Value, text: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody may be left to read it.
    let _ = match how.json {
        true => writeln!(out, "{}", json!({ "cmd": cmd, "tag": tag, "data": data })),
        false if text.is_empty() => Ok(()),
        false => writeln!(out, "{text}"),
    };
}

/// The folder of apps of this user.
pub(crate) fn home() -> Result<AppHome, Failure> {
    AppHome::of_user().map_err(|error| Failure::usage(error.to_string()))
}

fn kept(error: &std::io::Error) -> Failure {
    Failure::io("the folder of apps", error)
}

pub(crate) fn data(args: &DataArgs, how: Presentation) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for app in home()?.apps().map_err(|error| kept(&error))? {
        let storage = app.storage.as_ref().map(|path| path.display().to_string());
        let text = format!(
            "{}\n  name     {}\n  storage  {}\n  trusted  {}",
            app.link,
            app.name.as_deref().unwrap_or("-"),
            storage.as_deref().unwrap_or("-"),
            if app.trusted || !PearLink::is_link(&app.link) {
                "yes"
            } else {
                "no"
            },
        );
        if !how.json {
            tell(how, ("data", &args.what), &Value::Null, &text);
        }
        rows.push(json!({
            "link": app.link, "name": app.name, "appStorage": storage, "trusted": app.trusted,
        }));
    }
    if how.json {
        tell(how, ("data", &args.what), &Value::from(rows), "");
    }
    Ok(())
}

pub(crate) fn gc(args: &GcArgs, how: Presentation) -> Result<(), Failure> {
    let removed = home()?.collect(args.what != "storage");
    let removed = removed.map_err(|error| kept(&error))?;
    for folder in &removed {
        let data = json!({ "resource": args.what, "id": folder });
        tell(
            how,
            ("gc", "remove"),
            &data,
            &format!("removed {}", folder.display()),
        );
    }
    let data = json!({ "resource": args.what, "count": removed.len() });
    let text = format!("{} removed", removed.len());
    tell(how, ("gc", "complete"), &data, &text);
    Ok(())
}

/// The link as the table of apps has it.
fn known_by(link: &str) -> Result<String, Failure> {
    match PearLink::is_link(link) {
        true => Ok(link.parse::<PearLink>()?.origin()),
        false if link.starts_with("file://") => Ok(link.to_owned()),
        false => {
            let path = std::fs::canonicalize(link).map_err(|error| Failure::io(link, &error))?;
            Ok(format!("file://{}", path.display()))
        }
    }
}

pub(crate) fn shift(args: &ShiftArgs, how: Presentation) -> Result<(), Failure> {
    let (src, dst) = (known_by(&args.src)?, known_by(&args.dst)?);
    let data = json!({ "src": src, "dst": dst });
    tell(how, ("shift", "moving"), &data, "");
    let folder = home()?.shift(&src, &dst, args.force)?;
    let data = json!({ "src": src, "dst": dst, "from": folder });
    let text = format!("{} is what {dst} keeps now", folder.display());
    tell(how, ("shift", "complete"), &data, &text);
    Ok(())
}

pub(crate) fn versions(how: Presentation) -> Result<(), Failure> {
    let pome = env!("CARGO_PKG_VERSION");
    let data = json!({ "pome": pome, "runtimes": { "bare": BARE_VERSION } });
    let text = format!("pome {pome}\nbare {BARE_VERSION}");
    tell(how, ("versions", "version"), &data, &text);
    Ok(())
}
