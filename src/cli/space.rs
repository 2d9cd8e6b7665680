//! Space that comes back: which versions a drive keeps, and what commands that drop something have freed.

use super::{args::KeepArgs, drive, failure::Failure, io::Io, service::Service};
use pome_drive_fs::{Collected, Hyperdrive, Keep};
use pome_storage::Freed;
use serde_json::{Value, json};
use std::time::Duration;

/// How long a command that drops something waits for its space. What is left is done in the background, or by later commands.
const PATIENCE: Duration = Duration::from_secs(5);

/// Gives back what is dead, as far as that goes quickly; `all`: everything, however long it takes.
pub(crate) async fn free(service: &Service, all: bool) -> Result<Freed, Failure> {
    let store = service.store().clone();
    let work = move || match all {
        true => store.compact(),
        false => store.compact_for(PATIENCE),
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(freed) => Ok(freed?),
        Err(error) => Err(Failure::new(
            "PANIC",
            format!("the compaction broke off: {error}"),
        )),
    }
}

/// What was freed, for people.
pub(crate) fn words(freed: &Freed) -> String {
    format!(
        "{} bytes freed; the store takes {}",
        freed.bytes, freed.left
    )
}

/// `pome store compact`
pub(crate) async fn compact(service: &Service, io: &mut Io) -> Result<(), Failure> {
    let freed = free(service, true).await?;
    let value = json!({ "freed": freed.bytes, "bytes": freed.left });
    io.result(value, words(&freed)).await
}

fn keep_json(keep: Keep) -> Value {
    match keep {
        Keep::All => json!("all"),
        Keep::Versions(n) => json!({ "versions": n }),
        Keep::Duration(time) => json!({ "seconds": time.as_secs() }),
    }
}

fn keep_words(keep: Keep) -> String {
    match keep {
        Keep::All => "all versions".into(),
        Keep::Versions(1) => "the newest version".into(),
        Keep::Versions(n) => format!("the newest {n} versions"),
        Keep::Duration(time) => format!("the versions of the last {} seconds", time.as_secs()),
    }
}

/// Drops what the rule does not keep, and tells what that freed.
async fn collect(service: &Service, drive: &Hyperdrive, io: &mut Io) -> Result<(), Failure> {
    let done: Collected = drive.gc().await?;
    service.sync().await?;
    let freed = free(service, false).await?;
    let keep = drive.retention()?.keep;
    let value = json!({
        "key": drive.key().to_string(),
        "keep": keep_json(keep),
        "oldest": done.oldest,
        "blocks": done.blocks + done.db_blocks,
        "freed": freed.bytes,
        "bytes": freed.left,
    });
    let text = format!(
        "keeps {}; the oldest that can be read is {}; {} blocks dropped; {}",
        keep_words(keep),
        done.oldest,
        done.blocks + done.db_blocks,
        words(&freed),
    );
    io.result(value, text).await
}

/// `pome drive set`
pub(crate) async fn set(
    service: &Service,
    target: Option<&str>,
    keep: &KeepArgs,
    io: &mut Io,
) -> Result<(), Failure> {
    let (_, drive, _peers) = drive::open(service, target, io).await?;
    let rule = match (keep.keep_versions, keep.keep) {
        (Some(n), _) => Keep::Versions(n),
        (None, Some(seconds)) => Keep::Duration(Duration::from_secs(seconds)),
        (None, None) => Keep::All,
    };
    drive.set_retention(rule).await?;
    collect(service, &drive, io).await
}

/// `pome drive gc`
pub(crate) async fn gc(
    service: &Service,
    target: Option<&str>,
    io: &mut Io,
) -> Result<(), Failure> {
    let (_, drive, _peers) = drive::open(service, target, io).await?;
    collect(service, &drive, io).await
}
