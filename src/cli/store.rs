//! `pome store …`, and the audit of one core.

use super::{
    args::{NewKey, StoreCommand},
    failure::Failure,
    io::Io,
    keys::Handed,
    service::Service,
};
use pome_cores::{Audit, CoreOptions, Hypercore};
use serde_json::json;
use std::sync::mpsc;

pub(crate) async fn execute(
    service: &Service,
    command: StoreCommand,
    io: &mut Io,
) -> Result<(), Failure> {
    match command {
        StoreCommand::Init { .. } => made(service, io).await,
        StoreCommand::Rekey(new) => rekey(service, new, io).await,
        StoreCommand::Info => info(service, io).await,
        StoreCommand::Check => check(service, io).await,
    }
}

/// The store was made by being opened.
async fn made(service: &Service, io: &mut Io) -> Result<(), Failure> {
    let encrypted = service.store().info()?.encrypted;
    let value = json!({ "store": service.dir, "encrypted": encrypted });
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
    let value = json!({ "store": service.dir });
    let text = format!("{} has a new key", service.dir.display());
    io.result(value, text).await
}

async fn info(service: &Service, io: &mut Io) -> Result<(), Failure> {
    let info = service.store().info()?;
    let cores = service.corestore.list()?.len();
    let names = service.names.all()?;
    let damage: Vec<String> = service
        .store()
        .damage()
        .iter()
        .map(ToString::to_string)
        .collect();
    let value = json!({
        "formatVersion": info.format_version,
        "encrypted": info.encrypted,
        "cores": cores,
        "names": names.iter().map(|(name, row)| json!({ "name": name, "kind": row.kind, "key": row.key })).collect::<Vec<_>>(),
        "bytes": info.file_bytes,
        "payloadBytes": info.payload_bytes,
        "livePayloadBytes": info.live_payload_bytes,
        "payloadSegments": info.payload_segments,
        "tableBytes": info.table_bytes,
        "tables": info.tables,
        "logBytes": info.log_bytes,
        "committedSeq": info.committed_seq,
        "syncedSeq": info.synced_seq,
        "damage": damage,
    });
    let mut text = format!(
        "cores     {cores}\nencrypted {}\nfiles     {} bytes\npayloads  {} bytes in {} segments, {} alive at the last checkpoint\nindex     {} bytes in {} tables\ncommits   {} ({} known to be on disk)\ndamage    {}",
        if info.encrypted { "yes" } else { "no" },
        info.file_bytes,
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
    for (name, row) in &names {
        text.push_str(&format!("\n{:9} {name} {}", row.kind.to_string(), row.key));
    }
    io.result(value, text).await
}

/// Runs blocking work in a thread of its own, and passes its progress on.
async fn with_progress<T: Send + 'static>(
    io: &mut Io,
    unit: &'static str,
    work: impl FnOnce(&mut (dyn FnMut(u64, u64) + Send)) -> T + Send + 'static,
) -> Result<T, Failure> {
    let (tell, told) = mpsc::channel();
    let task = tokio::task::spawn_blocking(move || {
        work(&mut |done, total| {
            // The command may have been cancelled: nobody listens then.
            let _ = tell.send((done, total));
        })
    });
    let mut task = task;
    loop {
        tokio::select! {
            done = &mut task => {
                return done.map_err(|error| Failure::new("PANIC", format!("the check broke off: {error}")));
            }
            () = tokio::time::sleep(std::time::Duration::from_millis(100)) => {
                if let Some((done, total)) = told.try_iter().last() {
                    io.progress(done, total, unit);
                }
            }
        }
    }
}

/// Every checksum of the store, then every hash and signature of every core.
async fn check(service: &Service, io: &mut Io) -> Result<(), Failure> {
    let store = service.store().clone();
    let report = with_progress(io, "bytes", move |progress| store.check(progress)).await??;
    let mut findings = 0u64;
    for finding in &report.findings {
        findings += 1;
        let error = &finding.error;
        io.result(
            json!({ "finding": error.to_string(), "code": error.code() }),
            error,
        )
        .await?;
    }
    for damage in service.store().damage() {
        findings += 1;
        io.result(
            json!({ "finding": damage.to_string(), "code": "DAMAGE" }),
            damage,
        )
        .await?;
    }
    let (mut cores, mut blocks) = (0u64, 0u64);
    for discovery_key in service.corestore.list()? {
        let core = service
            .corestore
            .get(CoreOptions::discovery_key(discovery_key))
            .await?;
        let audit = run_audit(&core, io).await?;
        cores += 1;
        blocks += audit.blocks;
        for problem in &audit.problems {
            findings += 1;
            let value = json!({ "finding": problem.to_string(), "code": "CORE", "key": core.key().to_string() });
            io.result(value, format!("core {}: {problem}", core.key()))
                .await?;
        }
    }
    let ok = findings == 0;
    let value = json!({ "ok": ok, "findings": findings, "bytes": report.bytes, "cores": cores, "blocks": blocks });
    let text = format!(
        "{}: {} bytes, {cores} cores and {blocks} blocks verified, {findings} findings",
        if ok { "clean" } else { "DAMAGED" },
        report.bytes,
    );
    io.result(value, text).await?;
    if ok {
        Ok(())
    } else {
        Err(Failure::new(
            "DAMAGED",
            format!(
                "{findings} findings; what is listed is lost or not to be trusted, the rest is whole"
            ),
        ))
    }
}

async fn run_audit(core: &Hypercore, io: &mut Io) -> Result<Audit, Failure> {
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
