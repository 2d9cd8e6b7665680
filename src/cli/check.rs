//! `pome store check`: every byte of the store, every hash and signature of every core; and what can be put right.

use super::{
    failure::Failure,
    io::Io,
    service::Service,
    store::{run_audit, with_progress},
};
use pome_cores::{CoreOptions, Left};
use pome_storage::{Fault, Finding};
use serde_json::{Value, json};

/// The word for a kind of finding.
fn kind(fault: Fault) -> &'static str {
    match fault {
        Fault::Head => "head",
        Fault::Log => "log",
        Fault::Table => "table",
        Fault::Value => "value",
        Fault::Dead => "dead",
        Fault::Counts => "counts",
        _ => "other",
    }
}

fn finding_json(finding: &Finding) -> Value {
    let error = &finding.error;
    json!({ "finding": error.to_string(), "code": error.code(), "kind": kind(finding.fault) })
}

fn damaged(findings: u64) -> Failure {
    Failure::new(
        "DAMAGED",
        format!(
            "{findings} findings; what is listed is lost or not to be trusted, the rest is whole"
        ),
    )
}

/// Says what is wrong, and changes nothing.
pub(crate) async fn check(service: &Service, io: &mut Io) -> Result<(), Failure> {
    let store = service.store().clone();
    let report = with_progress(io, "bytes", move |progress| store.check(progress)).await??;
    let mut findings = 0u64;
    for finding in &report.findings {
        findings += 1;
        io.result(finding_json(finding), &finding.error).await?;
    }
    // Nothing is lost with these, so they are told and not counted.
    for finding in &report.dead {
        let text = format!("{} (nothing needs these bytes)", finding.error);
        io.result(finding_json(finding), text).await?;
    }
    for damage in service.store().damage() {
        findings += 1;
        let value =
            json!({ "finding": damage.to_string(), "code": "DAMAGE", "kind": kind(Fault::Log) });
        io.result(value, damage).await?;
    }
    let (mut cores, mut blocks) = (0u64, 0u64);
    for discovery_key in service.corestore.list()? {
        let opened = service
            .corestore
            .get(CoreOptions::discovery_key(discovery_key))
            .await;
        let audited = match opened {
            Ok(core) => run_audit(&core, io).await.map(|audit| (core.key(), audit)),
            Err(error) => Err(error.into()),
        };
        cores += 1;
        let (key, audit) = match audited {
            Ok(audited) => audited,
            Err(failure) if failure.code == "CORRUPT" => {
                findings += 1;
                let text = format!(
                    "core with discovery key {discovery_key}: {}",
                    failure.message
                );
                let value = json!({ "finding": text, "code": failure.code, "kind": "core" });
                io.result(value, text).await?;
                continue;
            }
            Err(failure) => return Err(failure),
        };
        blocks += audit.blocks;
        for problem in &audit.problems {
            findings += 1;
            let value = json!({ "finding": problem.to_string(), "code": "CORE", "kind": "core", "key": key.to_string() });
            io.result(value, format!("core {key}: {problem}")).await?;
        }
    }
    let ok = findings == 0;
    let value = json!({
        "ok": ok,
        "findings": findings,
        "dead": report.dead.len(),
        "bytes": report.bytes,
        "cores": cores,
        "blocks": blocks,
    });
    let text = format!(
        "{}: {} bytes, {cores} cores and {blocks} blocks verified, {findings} findings",
        if ok { "clean" } else { "DAMAGED" },
        report.bytes,
    );
    io.result(value, text).await?;
    if ok { Ok(()) } else { Err(damaged(findings)) }
}

/// Puts right what can be, and says what was done and what could not be.
pub(crate) async fn repair(service: &Service, io: &mut Io) -> Result<(), Failure> {
    let was_recovering = service.store().is_recovering();
    let corestore = service.corestore.clone();
    let runtime = tokio::runtime::Handle::current();
    let repaired = with_progress(io, "bytes", move |progress| {
        runtime.block_on(corestore.repair(progress))
    })
    .await??;
    let mut done = 0u64;
    for action in &repaired.actions {
        done += 1;
        io.result(json!({ "repaired": action.to_string() }), action)
            .await?;
    }
    for (key, core) in &repaired.cores {
        done += 1;
        let lost: u64 = core.lost.iter().map(|range| range.end - range.start).sum();
        let ranges: Vec<_> = core.lost.iter().map(|r| [r.start, r.end]).collect();
        let value = json!({
            "key": key.to_string(),
            "lost": ranges,
            "nodes": core.nodes,
            "removed": core.removed,
        });
        let text = format!(
            "core {key}: {lost} lost blocks are missing now, {} tree nodes were computed again, {} entries past the end removed",
            core.nodes, core.removed,
        );
        io.result(value, text).await?;
    }
    for damage in &repaired.accepted {
        done += 1;
        let text = format!("accepted: {damage}");
        io.result(json!({ "repaired": text }), &text).await?;
    }
    if service.store().is_recovering() && !was_recovering {
        io.note("commits are lost that may have been shared: the store signs nothing until peers were asked; \"pome store adopt\" when there are none")
            .await?;
    }
    for left in &repaired.left {
        let value = match left {
            Left::Store(finding) => finding_json(finding),
            Left::Core { key, problem } => {
                json!({ "finding": problem.to_string(), "code": "CORE", "kind": "core", "key": key.to_string() })
            }
            other => json!({ "finding": other.to_string(), "code": "CORE", "kind": "core" }),
        };
        io.result(value, format!("left: {left}")).await?;
    }
    let findings = repaired.left.len() as u64;
    let ok = findings == 0;
    let value = json!({
        "ok": ok,
        "repairs": done,
        "findings": findings,
        "recovering": service.store().is_recovering(),
    });
    let text = match (ok, done) {
        (true, 0) => "clean: nothing to repair".to_owned(),
        (true, _) => format!("clean after {done} repairs"),
        (false, _) => {
            format!("DAMAGED: {done} repairs, {findings} findings that a repair cannot put right")
        }
    };
    io.result(value, text).await?;
    if ok { Ok(()) } else { Err(damaged(findings)) }
}
