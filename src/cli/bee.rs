//! `pome bee …`

use super::{
    args::{BeeCommand, BeeRange, Encoding},
    failure::Failure,
    io::{Io, hex, plain, value_json},
    peers::Peers,
    service::{IfMissing, Service},
};
use bytes::{Bytes, BytesMut};
use pome_bee::{Change, HistoryOptions, Hyperbee, RangeOptions};
use pome_cores::Durability;
use serde_json::{Value, json};
use std::pin::pin;

pub(crate) async fn execute(
    service: &Service,
    command: BeeCommand,
    io: &mut Io,
) -> Result<(), Failure> {
    match command {
        BeeCommand::Put {
            name,
            key,
            value,
            encoding,
        } => {
            // Read before a bee is made for them.
            let (key, value) = (encoding.read(&key)?, encoding.read(&value)?);
            let bee = service.bee(&name, IfMissing::Make).await?;
            bee.put(&key, value).await?;
            service.sync().await?;
            io.result(json!({ "version": bee.version() }), bee.version())
                .await
        }
        BeeCommand::Get { bee, key, encoding } => {
            let (bee, peers) = open(service, &bee, io).await?;
            let key_bytes = encoding.read(&key)?;
            let Some(entry) = peers.within(bee.get(&key_bytes)).await? else {
                return Err(Failure::not_found(format!("the bee has no key {key:?}")));
            };
            if io.json() {
                let value = encoding.show(entry.value.as_deref());
                io.result(json!({ "seq": entry.seq, "key": encoding.show(Some(&entry.key)), "value": value }), "").await
            } else {
                io.raw(entry.value.unwrap_or_default()).await
            }
        }
        BeeCommand::Del {
            name,
            key,
            encoding,
        } => {
            let bee = service.bee(&name, IfMissing::Refuse).await?;
            let key_bytes = encoding.read(&key)?;
            if bee.get(&key_bytes).await?.is_none() {
                return Err(Failure::not_found(format!("the bee has no key {key:?}")));
            }
            bee.del(&key_bytes).await?;
            service.sync().await?;
            io.result(json!({ "version": bee.version() }), bee.version())
                .await
        }
        BeeCommand::Ls {
            bee,
            range,
            encoding,
        } => {
            let (bee, peers) = open(service, &bee, io).await?;
            let mut entries = pin!(bee.range(options(&range, encoding)?));
            while let Some(entry) = peers.next(&mut entries).await? {
                let (key, value) = (
                    encoding.show(Some(&entry.key)),
                    encoding.show(entry.value.as_deref()),
                );
                let text = format!("{}\t{}", plain(&key), plain(&value));
                io.result(
                    json!({ "seq": entry.seq, "key": key, "value": value }),
                    text,
                )
                .await?;
            }
            Ok(())
        }
        BeeCommand::Batch { name, encoding } => batch(service, &name, encoding, io).await,
        BeeCommand::History {
            bee,
            reverse,
            limit,
            encoding,
        } => {
            let (bee, peers) = open(service, &bee, io).await?;
            let options = HistoryOptions {
                reverse,
                limit,
                ..HistoryOptions::default()
            };
            let mut entries = pin!(bee.history(options));
            while let Some(entry) = peers.next(&mut entries).await? {
                let (key, value) = (
                    encoding.show(Some(&entry.key)),
                    encoding.show(entry.value.as_deref()),
                );
                let kind = match entry.change {
                    Change::Put => "put",
                    Change::Del => "del",
                };
                let text = format!("{}\t{kind}\t{}\t{}", entry.seq, plain(&key), plain(&value));
                io.result(
                    json!({ "type": kind, "seq": entry.seq, "key": key, "value": value }),
                    text,
                )
                .await?;
            }
            Ok(())
        }
        BeeCommand::Diff {
            bee,
            v1,
            v2,
            encoding,
        } => {
            let (bee, peers) = open(service, &bee, io).await?;
            let (old, new) = (
                at_version(&bee, v1)?,
                at_version(&bee, v2.unwrap_or_else(|| bee.version()))?,
            );
            let mut differences = pin!(new.diff(&old, RangeOptions::new()));
            while let Some(difference) = peers.next(&mut differences).await? {
                let side = |entry: Option<pome_bee::Entry>| {
                    entry.map(|entry| {
                        json!({
                            "seq": entry.seq,
                            "key": encoding.show(Some(&entry.key)),
                            "value": encoding.show(entry.value.as_deref()),
                        })
                    })
                };
                let (left, right) = (side(difference.left), side(difference.right));
                let sign = match (&left, &right) {
                    (Some(_), Some(_)) => '~',
                    (Some(_), None) => '+',
                    _ => '-',
                };
                let key = left
                    .as_ref()
                    .or(right.as_ref())
                    .map(|entry| plain(&entry["key"]))
                    .unwrap_or_default();
                io.result(
                    json!({ "left": left, "right": right }),
                    format!("{sign} {key}"),
                )
                .await?;
            }
            Ok(())
        }
        BeeCommand::Info { bee } => {
            let (bee, _peers) = open(service, &bee, io).await?;
            let core = bee.core();
            let value = json!({
                "key": core.key().to_string(),
                "discoveryKey": core.discovery_key().to_string(),
                "version": bee.version(),
                "length": core.length(),
                "byteLength": core.byte_length(),
                "fork": core.fork(),
                "writable": core.writable(),
            });
            let text = format!(
                "key      {}\nversion  {}\nbytes    {}",
                core.key(),
                bee.version(),
                core.byte_length()
            );
            io.result(value, text).await
        }
    }
}

/// A bee to be read, as long as it is here or with the peers that were named.
async fn open(service: &Service, target: &str, io: &Io) -> Result<(Hyperbee, Peers), Failure> {
    let bee = service.bee(target, io.if_missing()).await?;
    let peers = Peers::of(service, io);
    peers.newest(bee.core()).await?;
    Ok((bee, peers))
}

/// The bee as it was, unless it never was so long.
fn at_version(bee: &Hyperbee, version: u64) -> Result<Hyperbee, Failure> {
    let newest = bee.version();
    if version > newest {
        return Err(Failure::new(
            "BAD_ARGUMENT",
            format!(
                "bee {} has no version {version}: the newest is {newest}",
                bee.core().key()
            ),
        ));
    }
    Ok(bee.checkout(version))
}

impl Encoding {
    /// Bytes from what a person typed.
    fn read(self, text: &str) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Utf8 => Ok(text.into()),
            Self::Json => serde_json::from_str::<Value>(text)
                .map(|value| value.to_string().into_bytes())
                .map_err(|e| Failure::usage(format!("{text:?} is no JSON: {e}"))),
            Self::Hex => {
                let refuse = || Failure::usage(format!("{text:?} is no hex"));
                // A sign would do for a number.
                let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
                if !text.len().is_multiple_of(2) || !is_hex {
                    return Err(refuse());
                }
                (0..text.len())
                    .step_by(2)
                    .map(|at| u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| refuse()))
                    .collect()
            }
        }
    }

    /// Bytes from a JSON value of a batch line.
    fn read_json(self, value: &Value) -> Result<Vec<u8>, Failure> {
        match (self, value) {
            (Self::Json, value) => Ok(value.to_string().into_bytes()),
            (_, Value::String(text)) => self.read(text),
            (_, Value::Object(object)) if object.len() == 1 => match object.get("$hex") {
                Some(Value::String(text)) => Self::Hex.read(text),
                _ => Err(Failure::usage(format!(
                    "{value} is no text and no {{\"$hex\":\"…\"}}"
                ))),
            },
            _ => Err(Failure::usage(format!(
                "{value} is no text and no {{\"$hex\":\"…\"}}"
            ))),
        }
    }

    /// Bytes as `--json` shows them.
    fn show(self, bytes: Option<&[u8]>) -> Value {
        let Some(bytes) = bytes else {
            return Value::Null;
        };
        match self {
            Self::Utf8 => value_json(bytes),
            Self::Hex => Value::from(hex(bytes)),
            Self::Json => serde_json::from_slice(bytes).unwrap_or_else(|_| value_json(bytes)),
        }
    }
}

fn options(range: &BeeRange, encoding: Encoding) -> Result<RangeOptions, Failure> {
    let read = |text: &Option<String>| -> Result<Option<Bytes>, Failure> {
        text.as_deref()
            .map(|text| encoding.read(text).map(Bytes::from))
            .transpose()
    };
    let mut options = RangeOptions::new();
    options.gt = read(&range.gt)?;
    options.gte = read(&range.gte)?;
    options.lt = read(&range.lt)?;
    options.lte = read(&range.lte)?;
    options.reverse = range.reverse;
    options.limit = range.limit;
    if let Some(prefix) = read(&range.prefix)? {
        options.lt = after_prefix(&prefix);
        options.gte = Some(prefix);
    }
    Ok(options)
}

/// The first key after all that start with `prefix`; `None` when there is no such key.
fn after_prefix(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|b| *b != 0xff)?;
    let mut after = prefix[..=last].to_vec();
    after[last] += 1;
    Some(after.into())
}

/// One line of a batch: a key, and its value where it is put.
struct Operation {
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

impl Operation {
    fn read(line: &[u8], encoding: Encoding) -> Result<Self, String> {
        let operation: Value = serde_json::from_slice(line).map_err(|e| e.to_string())?;
        let field = |name| {
            encoding
                .read_json(&operation[name])
                .map_err(|failure| failure.message)
        };
        match operation["type"].as_str() {
            Some("put") => Ok(Self {
                key: field("key")?,
                value: Some(field("value")?),
            }),
            Some("del") => Ok(Self {
                key: field("key")?,
                value: None,
            }),
            _ => Err("`type` is neither `put` nor `del`".into()),
        }
    }
}

/// Commits what is on stdin, once all of it is understood: a bee is not made for what is not.
async fn batch(
    service: &Service,
    name: &str,
    encoding: Encoding,
    io: &mut Io,
) -> Result<(), Failure> {
    // What is no bee is refused before anybody types a line.
    match service.bee(name, IfMissing::Refuse).await {
        Err(failure) if failure.code != "NOT_FOUND" => return Err(failure),
        _ => {}
    }
    let operations = operations(encoding, io).await?;
    let bee = service.bee(name, IfMissing::Make).await?;
    let mut batch = bee.batch();
    let count = operations.len();
    for Operation { key, value } in operations {
        match value {
            Some(value) => batch.put(&key, value).await?,
            None => batch.del(&key).await?,
        }
    }
    batch.flush(Durability::Synced).await?;
    service.sync().await?;
    let version = bee.version();
    io.result(json!({ "version": version, "operations": count }), version)
        .await
}

/// The lines of stdin.
async fn operations(encoding: Encoding, io: &mut Io) -> Result<Vec<Operation>, Failure> {
    let mut operations = Vec::new();
    let mut rest = BytesMut::new();
    let mut line_number = 0;
    loop {
        let piece = io.stdin().await?;
        let at_end = piece.is_none();
        rest.extend_from_slice(&piece.unwrap_or_default());
        if at_end && !rest.is_empty() && rest.last() != Some(&b'\n') {
            rest.extend_from_slice(b"\n");
        }
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            let line = rest.split_to(end + 1);
            line_number += 1;
            if line.trim_ascii().is_empty() {
                continue;
            }
            let operation = Operation::read(&line, encoding).map_err(|why| {
                Failure::usage(format!(
                    "line {line_number} of stdin: {why}; nothing was written"
                ))
            })?;
            operations.push(operation);
        }
        if at_end {
            return Ok(operations);
        }
    }
}
