//! What a person may type after the words for apps.

use crate::cli::frame::path;
use clap::Args;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

#[derive(Debug, Clone, Default, Args, Serialize, Deserialize)]
pub(crate) struct RunArgs {
    /// Run this text instead of a file
    #[arg(short, long, value_name = "SCRIPT", conflicts_with = "print")]
    pub(crate) eval: Option<String>,
    /// Run this text, and print what it comes to
    #[arg(short, long, value_name = "SCRIPT")]
    pub(crate) print: Option<String>,
    /// Use npm's JavaScript of the Hypercore stack out of `node_modules`, on native addons of pome's [default: where the program needs it]
    #[arg(long)]
    pub(crate) npm: bool,
    /// How much memory the heap of each of the program's threads may have, such as `500M` [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = crate::cli::args::bytes)]
    pub(crate) memory_limit: Option<u64>,
    /// Tell the app that it is being worked on: `Pear.config.dev`
    #[arg(short, long)]
    pub(crate) dev: bool,
    /// The folder for what the app keeps [default: one that belongs to the app]
    #[arg(short = 's', long, value_name = "DIR", conflicts_with = "tmp_store")]
    pub(crate) app_storage: Option<PathBuf>,
    /// A new folder for what the app keeps, for this run
    #[arg(short, long)]
    pub(crate) tmp_store: bool,
    /// Of an app from a key, which version: a length, `release`, or `staged` for the newest [default: the release, or the newest where there is none]
    #[arg(long, value_name = "N|release|staged", value_parser = version)]
    pub(crate) checkout: Option<Version>,
    /// Do not tell the app of updates
    #[arg(long)]
    pub(crate) no_updates: bool,
    /// What the app finds in `Pear.config.links` instead of, or besides, what its package.json says
    #[arg(long, value_name = "NAME=LINK,…", value_delimiter = ',', value_parser = named_link)]
    pub(crate) links: Vec<(String, String)>,
    /// Let go of all that the app keeps in its own folder before it starts
    #[arg(long, conflicts_with = "app_storage")]
    pub(crate) unsafe_clear_app_storage: bool,
    /// Ask nothing: an app from a key that never ran here does not run
    #[arg(long, conflicts_with = "trust")]
    pub(crate) no_ask: bool,
    /// Run an app from a key that never ran here without asking, and remember that
    #[arg(long)]
    pub(crate) trust: bool,
    /// Let an app from a key read and write in this folder, too; without one: everywhere (repeatable)
    #[arg(long, value_name = "DIR", num_args = 0..=1, require_equals = true, default_missing_value = "/")]
    pub(crate) allow_fs: Vec<PathBuf>,
    /// Let an app from a key connect to any address, and be connected to, beside the swarm
    #[arg(long)]
    pub(crate) allow_net: bool,
    /// Let an app from a key start other programs, which may do all that you may
    #[arg(long)]
    pub(crate) allow_run: bool,
    /// Let an app from a key see the whole environment
    #[arg(long)]
    pub(crate) allow_env: bool,
    /// The program, a file or an app's `pear://KEY`, and what it gets as `Bare.argv` and `Pear.config.args`
    #[arg(value_name = "APP [ARGS]", trailing_var_arg = true)]
    pub(crate) app: Vec<String>,
}

/// Which version of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Version {
    Release,
    Staged,
    Length(u64),
}

fn named_link(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, link)) if !name.is_empty() => Ok((name.into(), link.into())),
        _ => Err("a name, `=` and a link are wanted".into()),
    }
}

fn version(text: &str) -> Result<Version, String> {
    match text {
        "release" => Ok(Version::Release),
        "staged" | "latest" => Ok(Version::Staged),
        _ => match text.parse() {
            Ok(length) => Ok(Version::Length(length)),
            Err(_) => Err("a length, `release` or `staged` is wanted".into()),
        },
    }
}

#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct InitArgs {
    /// `[TEMPLATE] [DIR]`: `terminal`, or `node-compat` for a program that runs in node as well [default: `terminal`], and the folder [default: this one]
    #[arg(value_name = "TEMPLATE] [DIR", num_args = 0..=2)]
    pub(crate) at: Vec<String>,
    /// Ask nothing
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Write over what is there
    #[arg(short, long)]
    pub(crate) force: bool,
    /// The template, as Pear 1 has it: `terminal` or `terminal-node`
    #[arg(short, long, value_name = "TYPE")]
    pub(crate) r#type: Option<String>,
    /// What the template is to have besides: `node`
    #[arg(short, long, value_name = "WHAT")]
    pub(crate) with: Option<String>,
    /// What it is called [default: the folder's name]
    #[arg(long)]
    pub(crate) name: Option<String>,
}

/// An app: a channel of the project in a folder, or a link.
#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct AppArgs {
    /// `CHANNEL [DIR]` for the project in DIR [default: this folder], or an app's `pear://KEY`
    #[arg(value_name = "CHANNEL|LINK")]
    pub(crate) channel: String,
    /// The project's folder [default: this one]
    #[serde(with = "path::option")]
    pub(crate) dir: Option<PathBuf>,
    /// What the app is called [default: `pear.name` or `name` of its package.json]
    #[arg(long)]
    pub(crate) name: Option<String>,
}

#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct StageArgs {
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// Say what would be done, and do nothing
    #[arg(short, long)]
    pub(crate) dry_run: bool,
    /// Leave these out: paths, globs, and `!` for what is not left out after all; besides those of `pear.stage.ignore`
    #[arg(long, value_name = "PATH,…", value_delimiter = ',')]
    pub(crate) ignore: Vec<String>,
    /// Only these, and what is below them; besides those of `pear.stage.only`
    #[arg(long, value_name = "PATH,…", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Remove from the app what is left out now and was staged before
    #[arg(long)]
    pub(crate) purge: bool,
    /// Cut the app back to this version first
    #[arg(long, value_name = "N")]
    pub(crate) truncate: Option<u64>,
}

#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct ReleaseArgs {
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// This version [default: the newest]
    #[arg(long, value_name = "N")]
    pub(crate) checkout: Option<u64>,
}

#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct InfoArgs {
    #[command(flatten)]
    pub(crate) app: AppArgs,
    /// Its keys, lengths and versions alone
    #[arg(long)]
    pub(crate) metadata: bool,
    /// Its package.json alone
    #[arg(long)]
    pub(crate) manifest: bool,
    /// Its key alone
    #[arg(long)]
    pub(crate) key: bool,
    /// The newest part of its CHANGELOG.md alone
    #[arg(long)]
    pub(crate) changelog: bool,
    /// All of its CHANGELOG.md
    #[arg(long)]
    pub(crate) full_changelog: bool,
    /// So many of the newest parts of its CHANGELOG.md [default: 1]
    #[arg(long, value_name = "N", default_value_t = 1, hide_default_value = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) changelog_max: u32,
}

#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct DumpArgs {
    /// The app's `pear://KEY`, at a version and with a path if need be
    pub(crate) link: String,
    /// The folder, which must be empty; `-` for stdout
    pub(crate) dir: String,
    /// Say what would be done, and do nothing
    #[arg(short, long)]
    pub(crate) dry_run: bool,
    /// This version [default: the release, or the newest where there is none]
    #[arg(long, value_name = "N|release|staged", value_parser = version)]
    pub(crate) checkout: Option<Version>,
    /// Only these, and what is below them
    #[arg(long, value_name = "PATH,…", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Into a folder with something in it
    #[arg(short, long)]
    pub(crate) force: bool,
    /// The names alone, on stdout
    #[arg(long)]
    pub(crate) list: bool,
    /// Leave in the folder what the app has not
    #[arg(long)]
    pub(crate) no_prune: bool,
}

#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct DataArgs {
    /// What to list: only `apps` is there
    #[arg(default_value = "apps", value_parser = ["apps"])]
    pub(crate) what: String,
}

#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct GcArgs {
    /// `releases` and `cores`: also what has come of the drives of apps, as far as nobody runs them; `storage`: folders that no app keeps
    #[arg(default_value = "storage", value_parser = ["storage", "releases", "cores"])]
    pub(crate) what: String,
}

#[derive(Debug, Clone, Args, Serialize, Deserialize)]
pub(crate) struct ShiftArgs {
    /// The app that has it: its link
    pub(crate) src: String,
    /// The app that gets it: its link
    pub(crate) dst: String,
    /// Let go of what that one has
    #[arg(short, long)]
    pub(crate) force: bool,
}
