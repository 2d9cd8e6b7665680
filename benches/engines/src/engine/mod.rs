//! The engines, behind one face. Every write is on disk when it returns.

mod fjall;
mod lmdb;
mod redb;
mod sqlite;

use pome_bench_work::store::Pome;
pub(crate) use pome_bench_work::{
    Result,
    store::{Engine, Key},
};
use std::path::Path;

pub(crate) const ALL: &[&str] = &["pome", "fjall", "redb", "lmdb", "sqlite"];

pub(crate) fn open(name: &str, folder: &Path) -> Result<Box<dyn Engine>> {
    std::fs::create_dir_all(folder)?;
    Ok(match name {
        "pome" => Box::new(Pome::open(folder)?),
        "fjall" => Box::new(fjall::Fjall::open(folder)?),
        "redb" => Box::new(redb::Redb::open(folder)?),
        "lmdb" => Box::new(lmdb::Lmdb::open(folder)?),
        "sqlite" => Box::new(sqlite::Sqlite::open(folder)?),
        other => return Err(format!("no engine {other}").into()),
    })
}

/// The versions of the engines, as they are locked.
pub(crate) fn versions() -> Vec<(String, String)> {
    let lock = include_str!("../../../../Cargo.lock");
    let quoted = |block: &str, field: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(field))?;
        Some(line.trim_matches([' ', '=', '"']).to_owned())
    };
    lock.split("[[package]]")
        .filter_map(|block| Some((quoted(block, "name")?, quoted(block, "version")?)))
        .filter(|(name, _)| ["fjall", "redb", "heed", "rusqlite"].contains(&&name[..]))
        .collect()
}
