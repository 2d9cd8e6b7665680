//! `pome info`: what an app says of itself.

use super::{Which, args::InfoArgs, tell};
use crate::cli::{drive::open, failure::Failure, io::Io, peers::Peers, service::Service};
use pome_drive_fs::Hyperdrive;
use serde_json::{Value, json};

const CMD: &str = "info";

pub(crate) async fn info(service: &Service, args: InfoArgs, io: &mut Io) -> Result<(), Failure> {
    let which = Which::of(&args.app, io)?;
    let (drive, peers) = match &which {
        Which::Link(link) => {
            let (_, drive, peers) = open(service, Some(&link.to_string()), io).await?;
            (drive, peers)
        }
        Which::Channel(..) => {
            let drive = which.ours(service, false).await?;
            (drive, Peers::offline(service, io))
        }
    };
    let all =
        !(args.key || args.metadata || args.manifest || args.changelog || args.full_changelog);
    let key = drive.key().to_string();
    if all || args.key {
        let data = json!({ "z32": key, "onlyShowKey": args.key && !args.metadata });
        tell(io, (CMD, "retrieving"), data, format!("pear://{key}")).await?;
    }
    let manifest = read(&drive, &peers, "manifest").await?;
    if all || args.metadata {
        metadata(&drive, &peers, &manifest, io).await?;
    }
    if args.manifest {
        let text = serde_json::to_string_pretty(&manifest).unwrap_or_default();
        tell(io, (CMD, "manifest"), json!({ "manifest": manifest }), text).await?;
    }
    if all || args.changelog || args.full_changelog {
        let text = peers.within(drive.get("/CHANGELOG.md")).await?;
        let text = text.map(|text| String::from_utf8_lossy(&text).into_owned());
        let shown = match (&text, args.full_changelog) {
            (None, _) => "[ No Changelog ]",
            (Some(text), true) => text.trim_end(),
            (Some(text), false) => newest(text, args.changelog_max as usize),
        };
        let data = json!({ "changelog": shown, "full": args.full_changelog });
        tell(io, (CMD, "changelog"), data, format!("\n{shown}")).await?;
    }
    Ok(())
}

async fn read(drive: &Hyperdrive, peers: &Peers, name: &str) -> Result<Value, Failure> {
    let entry = peers.within(drive.db().get(name.as_bytes())).await?;
    let value = entry.and_then(|entry| entry.value);
    Ok(value.map_or(Value::Null, |text| {
        serde_json::from_slice(&text).unwrap_or_default()
    }))
}

async fn metadata(
    drive: &Hyperdrive,
    peers: &Peers,
    manifest: &Value,
    io: &Io,
) -> Result<(), Failure> {
    let content = drive.content_key().map(|key| key.to_hex());
    let (project, discovery) = (drive.key().to_hex(), drive.discovery_key().to_hex());
    let data = json!({ "project": project, "content": content, "discovery": discovery });
    let text = format!(
        "keys (hex)\n project     {project}\n content     {}\n discovery   {discovery}",
        content.as_deref().unwrap_or("-"),
    );
    tell(io, (CMD, "keys"), data, text).await?;
    let channel = read(drive, peers, "channel").await?;
    let release = read(drive, peers, "release").await?;
    let own = manifest.get("pear").and_then(|pear| pear.get("name"));
    let name = own.or(manifest.get("name")).cloned().unwrap_or_default();
    let core = drive.core();
    let blobs = peers.within(drive.blobs()).await?.core();
    let shown = |value: &Value, none: &str| match value {
        Value::Null => none.to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let text = format!(
        "info\n name        {}\n channel     {}\n release     {}\n length      {}\n fork        {}\n byte length {}\n blobs       {} blocks, {} bytes",
        shown(&name, "-"),
        shown(&channel, "-"),
        shown(&release, "[ Unreleased ]"),
        core.length(),
        core.fork(),
        core.byte_length(),
        blobs.length(),
        blobs.byte_length(),
    );
    let data = json!({
        "channel": channel,
        "release": match release { Value::Null => json!(["Unreleased"]), release => release },
        "name": name,
        "length": core.length(),
        "byteLength": core.byte_length(),
        "blobs": { "length": blobs.length(), "fork": blobs.fork(), "byteLength": blobs.byte_length() },
        "fork": core.fork(),
    });
    tell(io, (CMD, "info"), data, text).await
}

/// The parts of a changelog that its first headings of versions are about.
fn newest(text: &str, count: usize) -> &str {
    let mut headings = text
        .match_indices("\n## ")
        .map(|(at, _)| at + 1)
        .chain(text.starts_with("## ").then_some(0))
        .collect::<Vec<_>>();
    headings.sort_unstable();
    let start = headings.first().copied().unwrap_or(0);
    let end = headings.get(count).copied().unwrap_or(text.len());
    text[start..end].trim_end()
}

#[cfg(test)]
mod tests {
    use super::newest;

    #[test]
    fn the_newest_of_a_changelog() {
        let all = "# All\n\n## 2\n\nb\n\n## 1\n\na\n";
        assert_eq!(newest(all, 1), "## 2\n\nb");
        assert_eq!(newest(all, 2), &all[7..all.len() - 1]);
        assert_eq!(newest(all, 9), &all[7..all.len() - 1]);
        assert_eq!(newest("## 1\n\na\n", 1), "## 1\n\na");
        assert_eq!(newest("words\n", 1), "words");
    }
}
