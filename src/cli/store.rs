//! `pome store …`, and the audit of one core.

use super::{
    args::{NewKey, StoreCommand},
    backup, check,
    failure::Failure,
    io::{Io, path_json},
    keys::Handed,
    limit,
    service::Service,
};
use pome_cores::{Audit, Hypercore};
use serde_json::json;
use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

pub(crate) async fn execute(
    service: &Service,
    command: StoreCommand,
    io: &mut Io,
) -> Result<(), Failure> {
    match command {
        StoreCommand::Init { .. } => made(service, io).await,
        StoreCommand::Rekey(new) => rekey(service, new, io).await,
        StoreCommand::Info { cores } => info(service, cores, io).await,
        StoreCommand::Limit { size } => limit::limit(service, size, io).await,
        StoreCommand::Compact => super::space::compact(service, io).await,
        StoreCommand::Check { repair: false } => check::check(service, io).await,
        StoreCommand::Check { repair: true } => check::repair(service, io).await,
        StoreCommand::Backup { dir } => backup::backup(service, &dir, io).await,
        StoreCommand::Adopt => backup::adopt(service, io).await,
        StoreCommand::Restore { .. } => Err(backup::in_the_way(&service.dir)),
    }
}

/// The store was made by being opened.
async fn made(service: &Service, io: &mut Io) -> Result<(), Failure> {
    let encrypted = service.store().info()?.encrypted;
    let value = json!({ "store": path_json(&service.dir), "encrypted": encrypted });
    let what = if encrypted {
        "an encrypted store"
    } else {
        "a store"
    };
    io.result(value, format!("made {what} in {}", service.dir.display()))
        .await
}

async fn rekey(service: &Service, new: NewKey, io: &mut Io) -> Result<(), Failure> {
    let Some(Handed(key)) = new.key else {
        return Err(Failure::usage("there is no new key"));
    };
    let store = service.store().clone();
    let done = tokio::task::spawn_blocking(move || store.rekey(&key));
    done.await
        .map_err(|error| Failure::new("PANIC", format!("the rekey broke off: {error}")))??;
    let value = json!({ "store": path_json(&service.dir) });
    let text = format!("{} has a new key", service.dir.display());
    io.result(value, text).await
}

async fn info(service: &Service, each_core: bool, io: &mut Io) -> Result<(), Failure> {
    let info = service.store().info()?;
    let cores = service.corestore.list()?.len();
    let names = service.names.all()?;
    let damage: Vec<String> = service
        .store()
        .damage()
        .iter()
        .map(ToString::to_string)
        .collect();
    let mut each = vec![];
    if each_core {
        let corestore = service.corestore.clone();
        let walk = tokio::task::spawn_blocking(move || corestore.usage());
        let walked = walk.await.map_err(|error| {
            Failure::new(
                "PANIC",
                format!("the walk over the keys broke off: {error}"),
            )
        })?;
        each = walked?;
    }
    let mut value = json!({
        "formatVersion": info.format_version,
        "encrypted": info.encrypted,
        "cores": cores,
        "names": names.iter().map(|(name, row)| json!({ "name": name, "kind": row.kind, "key": row.key })).collect::<Vec<_>>(),
        "bytes": info.file_bytes,
        "allocatedBytes": info.allocated_bytes,
        "deadBytes": info.dead_bytes,
        "payloadBytes": info.payload_bytes,
        "livePayloadBytes": info.live_payload_bytes,
        "payloadSegments": info.payload_segments,
        "tableBytes": info.table_bytes,
        "tables": info.tables,
        "logBytes": info.log_bytes,
        "committedSeq": info.committed_seq,
        "syncedSeq": info.synced_seq,
        "limit": service.limit.bytes(),
        "damage": damage,
        "recovering": service.store().is_recovering(),
    });
    let mut text = format!(
        "cores     {cores}\nencrypted {}\nfiles     {} bytes\non disk   {} bytes, {} of them dead at the last checkpoint\npayloads  {} bytes in {} segments, {} alive at the last checkpoint\nindex     {} bytes in {} tables\ncommits   {} ({} known to be on disk)\ndamage    {}",
        if info.encrypted { "yes" } else { "no" },
        info.file_bytes,
        info.allocated_bytes,
        info.dead_bytes,
        info.payload_bytes,
        info.payload_segments,
        info.live_payload_bytes,
        info.table_bytes,
        info.tables,
        info.committed_seq,
        info.synced_seq,
        if damage.is_empty() {
            "none known".into()
        } else {
            damage.join("; ")
        },
    );
    if service.store().is_recovering() {
        text.push_str("\nrecovering: it was copied, moved, restored or repaired, and signs nothing; `pome store adopt` when it is the only copy");
    }
    for (name, row) in &names {
        text.push_str(&format!("\n{:9} {name} {}", row.kind.to_string(), row.key));
    }
    let mut usage = vec![];
    for (discovery_key, key, used) in &each {
        let bytes = used.key_bytes + used.value_bytes;
        usage.push(json!({
            "key": key.to_string(),
            "discoveryKey": discovery_key.to_string(),
            "keys": used.keys,
            "bytes": bytes,
        }));
        text.push_str(&format!(
            "\ncore      {key} {bytes} bytes in {} keys",
            used.keys
        ));
    }
    if each_core && let Some(fields) = value.as_object_mut() {
        fields.insert("usage".into(), usage.into());
    }
    io.result(value, text).await
}

/// Runs blocking work in a thread of its own, and passes its progress on: to a bar, and as events where JSON is wanted.
pub(crate) async fn with_progress<T: Send + 'static>(
    io: &mut Io,
    unit: &'static str,
    work: impl FnOnce(&mut (dyn FnMut(u64, u64) + Send)) -> T + Send + 'static,
) -> Result<T, Failure> {
    /// Events come at most so often: short work has none.
    const EVENT: Duration = Duration::from_secs(1);
    let (tell, told) = mpsc::channel();
    let mut task = tokio::task::spawn_blocking(move || {
        work(&mut |done, total| {
            // The command may have been cancelled: nobody listens then.
            let _ = tell.send((done, total));
        })
    });
    let mut last_event = Instant::now();
    loop {
        tokio::select! {
            done = &mut task => {
                return done.map_err(|error| Failure::new("PANIC", format!("the work broke off: {error}")));
            }
            () = tokio::time::sleep(Duration::from_millis(100)) => {
                if let Some((done, total)) = told.try_iter().last() {
                    io.progress(done, total, unit);
                    if io.json() && last_event.elapsed() >= EVENT {
                        last_event = Instant::now();
                        let event = json!({ "event": "progress", "done": done, "total": total, "unit": unit });
                        io.event(event, "").await?;
                    }
                }
            }
        }
    }
}

pub(crate) async fn run_audit(core: &Hypercore, io: &mut Io) -> Result<Audit, Failure> {
    let core = core.clone();
    let runtime = tokio::runtime::Handle::current();
    let audit = with_progress(io, "blocks", move |progress| {
        runtime.block_on(core.audit(|at| progress(at.blocks, at.length)))
    });
    Ok(audit.await??)
}

/// `pome core audit`
pub(crate) async fn audit(core: &Hypercore, io: &mut Io) -> Result<(), Failure> {
    let audit = run_audit(core, io).await?;
    let problems: Vec<String> = audit.problems.iter().map(ToString::to_string).collect();
    let ok = problems.is_empty();
    let value = json!({ "ok": ok, "blocks": audit.blocks, "nodes": audit.tree_nodes, "problems": problems });
    let mut text = format!(
        "{} blocks and {} tree nodes verified, {} problems",
        audit.blocks,
        audit.tree_nodes,
        problems.len()
    );
    for problem in &problems {
        text.push('\n');
        text.push_str(problem);
    }
    io.result(value, text).await?;
    if ok {
        Ok(())
    } else {
        Err(Failure::new(
            "DAMAGED",
            format!("{} problems in core {}", problems.len(), core.key()),
        ))
    }
}
