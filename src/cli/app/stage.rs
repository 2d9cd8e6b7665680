//! `pome stage`: a project into the drive of an app.

use super::{
    Project, Which, args::StageArgs, changed_record, folder, ignore, record, tell, version_link,
};
use crate::cli::{
    drive::finish,
    failure::Failure,
    io::{Io, path_json},
    service::Service,
};
use futures_util::StreamExt;
use pome_drive_fs::{
    Hyperdrive, Ignore, ListOptions, LocalOptions, Localdrive, MirrorCount, MirrorEvent, MirrorOp,
    MirrorOptions, Mirrordrive,
};
use serde_json::{Value, json};
use std::pin::pin;

const CMD: &str = "stage";

pub(crate) async fn stage(service: &Service, args: StageArgs, io: &mut Io) -> Result<(), Failure> {
    let project = Project::find(&folder(&args.app, io))?;
    let which = Which::of(&args.app, io)?;
    let drive = which.ours(service, true).await?;
    let _alone = service.staging(drive.key()).await;
    service.mounts.publish(drive.key()).await?;
    check(&project)?;
    if let Some(length) = args.truncate.filter(|_| !args.dry_run) {
        drive.truncate(length).await?;
    }
    let before = drive.version();
    let link = format!("pear://{}", drive.key());
    let release = record(&drive, "release").await?.unwrap_or(json!(0));
    let name = args.app.name.clone();
    let name = name.or_else(|| project.name().ok()).unwrap_or_default();
    let data = json!({
        "name": name, "channel": which.channel(), "key": drive.key().to_string(), "link": link,
        "verlink": version_link(&drive), "current": before, "release": release, "dir": path_json(&project.dir),
    });
    let heading = match which.channel() {
        Some(channel) => format!("staging {name} into {channel}: {link}"),
        None => format!("staging {name}: {link}"),
    };
    tell(io, (CMD, "staging"), data, heading).await?;
    if args.dry_run {
        tell(
            io,
            (CMD, "dry"),
            json!({}),
            "nothing is written: this is a dry run",
        )
        .await?;
    } else {
        which.keep(service, &drive)?;
    }
    let channel = which.channel().map(|channel| ("channel", json!(channel)));
    let records = channel
        .into_iter()
        .chain([("manifest", manifest(&project))]);
    let left_out = [args.ignore.as_slice(), &project.staging("ignore")].concat();
    let left_out = ignore::rules(&left_out);
    let mut only = [args.only.as_slice(), &project.staging("only")].concat();
    only.retain(|path| !path.trim().is_empty());
    let purge = args.purge || project.options()["stage"]["purge"] == true;
    let mut options = MirrorOptions {
        dry_run: args.dry_run,
        include_equals: true,
        dedup: true,
        posix: false,
        // Who follows what is staged runs an app of before or of now.
        whole: true,
        ..MirrorOptions::default()
    };
    for (name, value) in records {
        options
            .rows
            .extend(changed_record(&drive, name, &value).await?);
    }
    if purge {
        options.remove = left_out_before(&drive, &left_out, io).await?;
    }
    options.ignore = left_out;
    if !only.is_empty() {
        options.prefixes = only;
    }
    let count = copy(&project, &drive, options, io).await?;
    if !args.dry_run {
        finish(service, &drive).await?;
    }
    summary(&drive, &count, io).await?;
    let done = match args.dry_run {
        true => "nothing was written".to_owned(),
        false => format!(
            "version {}; `pome seed {link}` lets others have it",
            drive.version()
        ),
    };
    tell(io, (CMD, "complete"), json!({ "dryRun": args.dry_run }), "").await?;
    if args.dry_run {
        return io.note(done).await;
    }
    let data = json!({
        "version": drive.version(), "release": release, "channel": which.channel(),
        "key": drive.key().to_string(), "link": link, "verlink": version_link(&drive),
    });
    tell(io, (CMD, "addendum"), data, done).await
}

/// Refuses a project whose own words do not hold.
fn check(project: &Project) -> Result<(), Failure> {
    for entry in project.staging("entrypoints") {
        let path = entry.trim_start_matches('/');
        if !project.dir.join(path).is_file() {
            let message = format!("pear.stage.entrypoints names {entry:?}, which is no file");
            return Err(Failure::new("ERR_INVALID_CONFIG", message));
        }
    }
    Ok(())
}

/// The package.json as Pear keeps it: with a `pear` field in any case.
fn manifest(project: &Project) -> Value {
    let mut manifest = project.package.clone();
    if let Some(fields) = manifest.as_object_mut() {
        fields.entry("pear").or_insert_with(|| json!({}));
    }
    manifest
}

/// What was staged before and is left out now.
async fn left_out_before(
    drive: &Hyperdrive,
    left_out: &Ignore,
    io: &Io,
) -> Result<Vec<String>, Failure> {
    let mut gone = Vec::new();
    let mut entries = pin!(drive.list("/", ListOptions::default()));
    while let Some(entry) = entries.next().await.transpose()? {
        if left_out.matches(&entry.path) {
            let bytes = drive.content_length(&entry).await?;
            difference((CMD, MirrorOp::Remove), &entry.path, (0, bytes), io).await?;
            gone.push(entry.path);
        }
    }
    Ok(gone)
}

async fn copy(
    project: &Project,
    drive: &Hyperdrive,
    options: MirrorOptions,
    io: &mut Io,
) -> Result<MirrorCount, Failure> {
    let source = Localdrive::open(&project.dir, LocalOptions::default())?;
    let mirror = Mirrordrive::new(source, drive.clone(), options);
    let mut count = MirrorCount::default();
    let mut events = pin!(mirror.events());
    while let Some(event) = events.next().await.transpose()? {
        count.add(&event);
        let MirrorEvent { op, path, why, .. } = &event;
        match op {
            MirrorOp::Equal => {}
            MirrorOp::Skip => {
                let why = why.map_or("", |why| why.as_str());
                io.note(format!("{path} is left out: {why}")).await?;
            }
            _ => {
                difference(
                    (CMD, *op),
                    path,
                    (event.bytes_added, event.bytes_removed),
                    io,
                )
                .await?
            }
        }
    }
    Ok(count)
}

/// One line of the difference.
pub(super) async fn difference(
    (cmd, op): (&str, MirrorOp),
    path: &str,
    (added, removed): (u64, u64),
    io: &Io,
) -> Result<(), Failure> {
    let (kind, sizes, text) = match op {
        MirrorOp::Add => (1, json!([added]), format!("+ {path} (+{added} B)")),
        MirrorOp::Remove => (
            -1,
            json!([negative(removed)]),
            format!("- {path} (-{removed} B)"),
        ),
        _ => (
            0,
            json!([negative(removed), added]),
            format!("~ {path} (-{removed} B, +{added} B)"),
        ),
    };
    let data = json!({ "type": kind, "sizes": sizes, "message": path });
    tell(io, (cmd, "byte-diff"), data, text).await
}

fn negative(bytes: u64) -> i64 {
    i64::try_from(bytes).map_or(i64::MIN, |bytes| -bytes)
}

async fn summary(drive: &Hyperdrive, count: &MirrorCount, io: &Io) -> Result<(), Failure> {
    let core = drive.core();
    let blobs = drive.blobs().await?.core();
    let data = json!({
        "files": count.files,
        "add": count.add,
        "remove": count.remove,
        "change": count.change,
        "length": core.length(),
        "byteLength": core.byte_length(),
        "blobs": { "length": blobs.length(), "fork": blobs.fork(), "byteLength": blobs.byte_length() },
    });
    let text = format!(
        "{} files: {} added, {} changed, {} removed",
        count.files, count.add, count.change, count.remove
    );
    tell(io, (CMD, "summary"), data, text).await
}
