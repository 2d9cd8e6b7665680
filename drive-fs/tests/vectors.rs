//! The golden vectors of the drive: `tests/vectors/drive.json`, made by hyperdrive 13.3.4 and hyperblobs 2.12.1.
//! (`block_maps` is proven beside the block maps, in `src/block_map.rs`.)
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use bytes::Bytes;
use futures_util::TryStreamExt;
use pome_bee::RangeOptions;
use pome_cores::{
    CoreOptions, Corestore, CorestoreOptions, Durability, Hypercore, Key, KeyPair, Manifest,
    crypto::{leaf_hash, namespace},
};
use pome_drive_fs::{
    BLOCK_SIZE, BlobId, Blobs, DriveBatch, DriveOptions, Entry, Error, GetOptions, Hyperdrive,
    Ignore, ListOptions, PathError, PutOptions, ReadOptions, content_key, content_manifest, path,
};
use pome_storage::{Options, Store};
use pome_test_support::{hex, load};
use serde_json::{Map, Value, json};
use tempfile::{TempDir, tempdir};

const LISTS: [&str; 6] = [
    "pattern",
    "blobs_namespace",
    "scenarios",
    "content_manifests",
    "paths",
    "hyperblobs",
];

fn vectors() -> Value {
    load("drive", &LISTS, &["block_maps"])
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn array<const N: usize>(value: &Value) -> [u8; N] {
    hex(value).try_into().unwrap()
}

fn to_hex(bytes: impl AsRef<[u8]>) -> Value {
    data_encoding::HEXLOWER.encode(bytes.as_ref()).into()
}

/// Bytes as the vectors have them: short ones whole, long ones by size and leaf hash.
fn short(bytes: &[u8]) -> Value {
    match bytes.len() {
        0..=600 => to_hex(bytes),
        size => json!({"size": size, "leaf_hash": to_hex(leaf_hash(bytes))}),
    }
}

/// Fails on a field that this test does not look at.
fn known(value: &Value, fields: &[&str]) {
    for field in value.as_object().unwrap().keys() {
        assert!(
            fields.contains(&field.as_str()),
            "no test knows {field:?} in {value}"
        );
    }
}

fn secret(key_pair: &Value) -> KeyPair {
    KeyPair::from_secret_key(&array(&key_pair["secretKey"])).unwrap()
}

struct Fixture {
    store: Corestore,
    _home: TempDir,
}

fn store(primary_key: Option<[u8; 32]>, manifest_version: u8) -> Fixture {
    let home = tempdir().unwrap();
    let store = Store::open(home.path(), Options::default()).unwrap();
    let mut options = CorestoreOptions::default();
    options.primary_key = primary_key;
    options.manifest_version = manifest_version;
    let store = Corestore::open_with(store, options).unwrap();
    Fixture { store, _home: home }
}

async fn check_log(name: &str, core: &Hypercore, log: &Value) {
    known(
        log,
        &[
            "key",
            "discovery_key",
            "manifest",
            "length",
            "byte_length",
            "tree_hash",
            "signature",
            "blocks",
        ],
    );
    assert_eq!(to_hex(core.key()), log["key"], "{name}");
    assert_eq!(to_hex(core.discovery_key()), log["discovery_key"], "{name}");
    assert_eq!(
        to_hex(core.manifest().unwrap().encode()),
        log["manifest"],
        "{name}"
    );
    let mut blocks = Vec::new();
    for index in 0..core.length() {
        blocks.push(short(&core.stored_block(index).await.unwrap().unwrap()));
    }
    for (index, (ours, npms)) in blocks.iter().zip(list(&log["blocks"])).enumerate() {
        assert_eq!(ours, npms, "{name}: block {index}");
    }
    assert_eq!(json!(core.length()), log["length"], "{name}");
    let padded = core.byte_length() + core.length() * core.padding();
    assert_eq!(json!(padded), log["byte_length"], "{name}");
    if core.length() == 0 {
        assert_eq!(
            (&log["tree_hash"], &log["signature"]),
            (&Value::Null, &Value::Null)
        );
        return;
    }
    assert_eq!(
        to_hex(core.tree_hash().await.unwrap()),
        log["tree_hash"],
        "{name}"
    );
    assert_eq!(
        to_hex(core.signature().unwrap()),
        log["signature"],
        "{name}"
    );
}

struct Contents(Vec<u8>);

impl Contents {
    fn make(&self, value: &Value) -> Bytes {
        known(value, &["$hex", "$pattern_length"]);
        match value.get("$hex") {
            Some(bytes) => hex(bytes).into(),
            None => {
                let length = value["$pattern_length"].as_u64().unwrap() as usize;
                self.0.iter().copied().cycle().take(length).collect()
            }
        }
    }
}

fn put_options(op: &Value) -> PutOptions {
    let Some(options) = op.get("options") else {
        return PutOptions::default();
    };
    known(options, &["executable", "metadata", "dedup"]);
    PutOptions {
        executable: options["executable"] == json!(true),
        metadata: options.get("metadata").filter(|m| !m.is_null()).cloned(),
        ..PutOptions::default()
    }
}

fn stage(batch: &mut DriveBatch, contents: &Contents, op: &Value) {
    let target = text(&op["path"]);
    match text(&op["op"]) {
        "put" => batch.put(target, contents.make(&op["content"]), put_options(op)),
        "del" => batch.del(target),
        "symlink" => batch.symlink(target, text(&op["target"]), put_options(op).metadata),
        "putEntry" => {
            // As npm's putEntry takes its argument apart and puts it together.
            known(
                &op["value"],
                &["executable", "linkname", "blob", "metadata"],
            );
            let mut value = Map::new();
            for (field, default) in [
                ("executable", json!(false)),
                ("linkname", json!(null)),
                ("blob", json!(null)),
                ("metadata", json!(null)),
            ] {
                value.insert(
                    field.into(),
                    op["value"].get(field).cloned().unwrap_or(default),
                );
            }
            batch.put_json(target, &Value::Object(value))
        }
        other => panic!("no test knows the operation {other:?}"),
    }
    .unwrap();
}

async fn apply(drive: &Hyperdrive, contents: &Contents, op: &Value) {
    known(
        op,
        &[
            "op",
            "path",
            "content",
            "options",
            "target",
            "value",
            "chunks",
            "ops",
            "db_length",
            "blobs_length",
        ],
    );
    match text(&op["op"]) {
        "write" => {
            let (path, options) = (text(&op["path"]), put_options(op));
            let dedup = op["options"]["dedup"] == json!(true);
            let mut stream = match dedup {
                true => drive.dedup_stream(path, options).await.unwrap(),
                false => drive.write_stream(path, options).await.unwrap(),
            };
            for chunk in list(&op["chunks"]) {
                stream.write(contents.make(chunk)).await.unwrap();
            }
            stream.finish().await.unwrap();
        }
        "batch" => {
            let mut batch = drive.batch().unwrap();
            for op in list(&op["ops"]) {
                stage(&mut batch, contents, op);
            }
            batch.flush(Durability::Buffered).await.unwrap();
        }
        "put" => {
            let content = contents.make(&op["content"]);
            drive
                .put(text(&op["path"]), content, put_options(op))
                .await
                .unwrap();
        }
        "del" => drive.del(text(&op["path"])).await.unwrap(),
        "symlink" => {
            let (path, target) = (text(&op["path"]), text(&op["target"]));
            drive
                .symlink(path, target, put_options(op).metadata)
                .await
                .unwrap();
        }
        _ => {
            let mut batch = drive.batch().unwrap();
            stage(&mut batch, contents, op);
            batch.flush(Durability::Buffered).await.unwrap();
        }
    }
    assert_eq!(json!(drive.core().length()), op["db_length"], "{op}");
    let blobs = drive.blobs().await.unwrap().core().length();
    assert_eq!(json!(blobs), op["blobs_length"], "{op}");
}

fn entry_json(entry: &Entry) -> Value {
    let value: Value = serde_json::from_slice(&entry.value.encode()).unwrap();
    json!({"seq": entry.seq, "key": entry.path, "value": value})
}

async fn entries(drive: &Hyperdrive, folder: &str) -> Vec<Entry> {
    drive
        .list(folder, ListOptions::default())
        .try_collect()
        .await
        .unwrap()
}

fn keys(entries: &[Entry]) -> Value {
    entries.iter().map(|e| e.path.as_str()).collect()
}

/// What upstream loses: a file `x0` right behind a folder `x`, whose range it leaves by stepping to `x0` and past it.
async fn lost_upstream(drive: &Hyperdrive, folder: &str) -> Vec<String> {
    let children: Vec<_> = drive.children(folder).try_collect().await.unwrap();
    let lost = children.windows(2).filter(|pair| {
        pair[0].is_folder && !pair[1].is_folder && pair[1].name == format!("{}0", pair[0].name)
    });
    lost.map(|pair| pair[1].name.clone()).collect()
}

async fn check_scenario(contents: &Contents, scenario: &Value) {
    known(
        scenario,
        &[
            "name",
            "primary_key",
            "store_options",
            "drive_options",
            "key_pair",
            "ops",
            "version",
            "db",
            "blobs",
            "content_key",
            "entries",
            "content_manifest",
            "reads",
            "entry",
            "follow",
            "exists",
            "list",
            "readdir",
            "shallow",
            "checkouts",
            "diffs",
            "list_ignore",
            "entries_range",
            "ranges",
            "padding",
        ],
    );
    let name = text(&scenario["name"]);
    known(&scenario["store_options"], &["manifestVersion"]);
    known(&scenario["drive_options"], &["encryptionKey"]);
    let version = scenario["store_options"]["manifestVersion"]
        .as_u64()
        .unwrap_or(1);
    let Fixture { store, _home } = store(Some(array(&scenario["primary_key"])), version as u8);
    let encryption_key = scenario["drive_options"].get("encryptionKey").map(array);
    let manifest = Manifest::decode(&hex(&scenario["db"]["manifest"])).unwrap();
    let drive = match manifest.version {
        // Made with a key pair of its own.
        0 => {
            let options = CoreOptions::manifest(manifest.clone());
            let options = options.with_key_pair(secret(&scenario["key_pair"]));
            let core = store.get(options).await.unwrap();
            Hyperdrive::from_core(store.clone(), core, encryption_key).await
        }
        _ => {
            let options = DriveOptions {
                key: None,
                encryption_key,
                ..DriveOptions::default()
            };
            Hyperdrive::open(store.clone(), options).await
        }
    }
    .unwrap();
    assert!(drive.writable());
    for op in list(&scenario["ops"]) {
        apply(&drive, contents, op).await;
    }
    let key_pair = drive.core().key_pair().unwrap();
    assert_eq!(
        to_hex(*key_pair.secret_key()),
        scenario["key_pair"]["secretKey"],
        "{name}"
    );
    assert_eq!(json!(drive.version()), scenario["version"], "{name}");
    check_log(name, drive.core(), &scenario["db"]).await;
    let blobs = drive.blobs().await.unwrap();
    check_log(name, blobs.core(), &scenario["blobs"]).await;
    let derived = content_manifest(&manifest, &drive.key());
    let encoded = derived.as_ref().map_or(Value::Null, |m| to_hex(m.encode()));
    assert_eq!(encoded, scenario["content_manifest"], "{name}");
    let derived = content_key(&manifest, &drive.key());
    assert_eq!(
        derived.map_or(Value::Null, to_hex),
        scenario["content_key"],
        "{name}"
    );
    assert_eq!(drive.content_key(), Some(blobs.key()));

    let all = entries(&drive, "/").await;
    let as_json: Vec<_> = all.iter().map(entry_json).collect();
    assert_eq!(Value::from(as_json), scenario["entries"], "{name}");
    for read in list(&scenario["reads"]) {
        known(read, &["path", "content", "error"]);
        let path = text(&read["path"]);
        let content = drive.get(path).await.unwrap();
        if read.get("error").is_some() {
            // Upstream cannot read a deduplicated file with nothing in it.
            let entry = drive.entry(path).await.unwrap().unwrap();
            let empty = BlobId {
                block_length: 0,
                byte_length: 0,
                block_map: true,
                ..entry.value.blob.unwrap()
            };
            assert_eq!(entry.value.blob, Some(empty));
            assert_eq!(content.as_deref(), Some(&b""[..]));
            continue;
        }
        assert_eq!(
            content.map_or(Value::Null, |c| short(&c)),
            read["content"],
            "{name} {path}"
        );
    }
    check_more(&drive, scenario).await;

    // And all of it again, from the store.
    let again = Hyperdrive::open(
        store.clone(),
        DriveOptions {
            key: Some(drive.key()),
            encryption_key,
            ..DriveOptions::default()
        },
    );
    let again = again.await.unwrap();
    assert_eq!(entries(&again, "/").await, all);
    assert_eq!(again.blobs().await.unwrap().key(), blobs.key());
}

async fn check_more(drive: &Hyperdrive, scenario: &Value) {
    let more = |field: &str| scenario.get(field).map_or([].as_slice(), |v| list(v));
    let follow = GetOptions {
        follow: true,
        ..GetOptions::default()
    };
    for (field, options) in [("entry", GetOptions::default()), ("follow", follow)] {
        for case in more(field) {
            known(case, &["path", "entry", "error"]);
            let path = text(&case["path"]);
            match drive.entry_with(path, &options).await {
                Ok(entry) => {
                    let entry = entry.as_ref().map_or(Value::Null, entry_json);
                    assert_eq!(entry, case["entry"], "{path}");
                }
                Err(Error::RecursiveSymlink { .. }) => {
                    assert_eq!(case["error"], "Recursive symlink")
                }
                Err(Error::Path(PathError::Root { .. })) => {
                    assert_eq!(case["error"], "Invalid filename: /");
                }
                Err(other) => panic!("{path}: {other}"),
            }
        }
    }
    for case in more("exists") {
        known(case, &["path", "exists"]);
        let exists = drive.exists(text(&case["path"])).await.unwrap();
        assert_eq!(json!(exists), case["exists"], "{case}");
    }
    for case in more("list") {
        known(case, &["folder", "keys"]);
        assert_eq!(
            keys(&entries(drive, text(&case["folder"])).await),
            case["keys"],
            "{case}"
        );
    }
    for case in more("readdir") {
        known(case, &["folder", "names"]);
        let folder = text(&case["folder"]);
        let mut names: Vec<String> = drive.readdir(folder).try_collect().await.unwrap();
        let lost = lost_upstream(drive, folder).await;
        names.retain(|name| !lost.contains(name));
        assert_eq!(json!(names), case["names"], "{folder}");
    }
    for case in more("shallow") {
        known(case, &["folder", "keys"]);
        let folder = text(&case["folder"]);
        let options = ListOptions {
            recursive: false,
            ..ListOptions::default()
        };
        let mut found: Vec<Entry> = drive.list(folder, options).try_collect().await.unwrap();
        let lost = lost_upstream(drive, folder).await;
        found.retain(|entry| {
            !lost
                .iter()
                .any(|name| *name == path::file_name(&entry.path))
        });
        assert_eq!(keys(&found), case["keys"], "{folder}");
    }
    for case in more("checkouts") {
        known(case, &["version", "keys", "blobs_length"]);
        let checkout = drive.checkout(case["version"].as_u64().unwrap()).unwrap();
        assert_eq!(keys(&entries(&checkout, "/").await), case["keys"], "{case}");
        assert_eq!(
            json!(checkout.blobs_length().await.unwrap()),
            case["blobs_length"],
            "{case}"
        );
    }
    for case in more("diffs") {
        known(case, &["from", "folder", "items"]);
        let differences = drive.diff(case["from"].as_u64().unwrap(), text(&case["folder"]));
        let side = |entry: Option<Entry>| {
            entry.map_or(Value::Null, |e| json!({"seq": e.seq, "key": e.path}))
        };
        let items: Vec<Value> = differences
            .map_ok(|d| json!({"left": side(d.left), "right": side(d.right)}))
            .try_collect()
            .await
            .unwrap();
        assert_eq!(
            Value::from(items),
            case["items"],
            "{} {}",
            case["from"],
            case["folder"]
        );
    }
    if let Some(case) = scenario.get("list_ignore") {
        known(case, &["ignore", "keys"]);
        let ignore = Ignore::paths(list(&case["ignore"]).iter().map(text)).unwrap();
        let options = ListOptions {
            ignore,
            ..ListOptions::default()
        };
        let found: Vec<Entry> = drive.list("/", options).try_collect().await.unwrap();
        assert_eq!(keys(&found), case["keys"]);
    }
    if let Some(case) = scenario.get("entries_range") {
        known(case, &["range", "keys"]);
        known(&case["range"], &["gt", "gte", "lt", "lte"]);
        let bound = |field: &str| {
            case["range"]
                .get(field)
                .map(|b| Bytes::from(text(b).to_owned()))
        };
        let range = RangeOptions {
            gt: bound("gt"),
            gte: bound("gte"),
            lt: bound("lt"),
            lte: bound("lte"),
            ..RangeOptions::default()
        };
        let found: Vec<Entry> = drive.entries(range).try_collect().await.unwrap();
        assert_eq!(keys(&found), case["keys"]);
    }
    for case in more("ranges") {
        known(case, &["path", "options", "size", "chunk_sizes", "content"]);
        known(&case["options"], &["start", "end", "length"]);
        let number = |field: &str| case["options"].get(field).map(|n| n.as_u64().unwrap());
        let options = ReadOptions {
            start: number("start").unwrap_or(0),
            end: number("end"),
            length: number("length"),
        };
        let parts: Vec<Bytes> = drive
            .read_stream(text(&case["path"]), options)
            .try_collect()
            .await
            .unwrap();
        let sizes: Vec<usize> = parts.iter().map(Bytes::len).collect();
        assert_eq!(json!(sizes), case["chunk_sizes"], "{case}");
        assert_eq!(short(&parts.concat()), case["content"], "{case}");
        assert_eq!(json!(parts.concat().len()), case["size"], "{case}");
    }
    if let Some(padding) = scenario.get("padding") {
        assert_eq!(json!(drive.core().padding()), *padding);
    }
}

#[tokio::test]
async fn scenario_vectors() {
    let vectors = vectors();
    let contents = Contents(hex(&vectors["pattern"]));
    assert_eq!(
        to_hex(namespace("hyperdrive", 0)),
        vectors["blobs_namespace"]
    );
    for scenario in list(&vectors["scenarios"]) {
        if scenario.get("drives").is_none() {
            check_scenario(&contents, scenario).await;
            continue;
        }
        known(scenario, &["name", "primary_key", "drives"]);
        let Fixture { store, _home } = store(Some(array(&scenario["primary_key"])), 1);
        for case in list(&scenario["drives"]) {
            known(case, &["namespace", "key", "content_key", "drive_key"]);
            let name = text(&case["namespace"]);
            let open = |store| Hyperdrive::open(store, DriveOptions::default());
            let drive = open(store.namespace(name)).await.unwrap();
            assert_eq!(to_hex(drive.key()), case["key"]);
            assert_eq!(to_hex(drive.content_key().unwrap()), case["content_key"]);
            let other = store.namespace(format!("{name}-getDriveKey"));
            assert_eq!(to_hex(open(other).await.unwrap().key()), case["drive_key"]);
        }
    }
}

#[test]
fn content_manifest_vectors() {
    for case in list(&vectors()["content_manifests"]) {
        known(
            case,
            &["manifest", "key", "content_manifest", "content_key"],
        );
        let manifest = Manifest::decode(&hex(&case["manifest"])).unwrap();
        let key = Key(array(&case["key"]));
        assert_eq!(manifest.key(), key);
        let content = content_manifest(&manifest, &key).unwrap();
        assert_eq!(to_hex(content.encode()), case["content_manifest"]);
        assert_eq!(
            to_hex(content_key(&manifest, &key).unwrap()),
            case["content_key"]
        );
    }
}

#[test]
fn path_vectors() {
    for case in list(&vectors()["paths"]) {
        known(case, &["path", "normal", "error"]);
        let path = text(&case["path"]);
        match path::normalize(path) {
            Ok(normal) => assert_eq!(json!(normal), case["normal"], "{path:?}"),
            Err(PathError::Root { .. }) => {
                assert_eq!(case["error"], "Invalid filename: /", "{path:?}")
            }
            Err(PathError::AboveRoot { .. }) => {
                assert_eq!(
                    case["error"], "Path cannot be resolved, too many '..'",
                    "{path:?}"
                );
            }
            Err(other) => panic!("{path:?}: {other}"),
        }
    }
}

#[tokio::test]
async fn hyperblobs_vectors() {
    let vectors = vectors();
    let (last, cases) = list(&vectors["hyperblobs"]).split_last().unwrap();
    known(last, &["key_pair", "default_block_size", "log"]);
    assert_eq!(json!(BLOCK_SIZE), last["default_block_size"]);
    let Fixture { store, _home } = store(None, 1);
    let manifest = Manifest::decode(&hex(&last["log"]["manifest"])).unwrap();
    let options = CoreOptions::manifest(manifest).with_key_pair(secret(&last["key_pair"]));
    let core = store.get(options).await.unwrap();
    for case in cases {
        known(case, &["content", "id", "block_size", "batch"]);
        let block_size = case.get("block_size").map_or(16, |n| n.as_u64().unwrap());
        let blobs = Blobs::with_block_size(core.clone(), block_size as usize);
        let content = hex(&case["content"]);
        let id = blobs.put(content.clone()).await.unwrap();
        let as_json = json!({"blockOffset": id.block_offset, "blockLength": id.block_length,
            "byteOffset": id.byte_offset, "byteLength": id.byte_length});
        assert_eq!(as_json, case["id"]);
        assert_eq!(blobs.get(&id).await.unwrap(), content);
        for offset in 0..content.len() as u64 + 2 {
            let expected = content.get(offset as usize..).unwrap_or_default();
            let expected = &expected[..expected.len().min(20)];
            assert_eq!(blobs.read_at(&id, offset, 20).await.unwrap(), expected);
        }
    }
    check_log("hyperblobs", &core, &last["log"]).await;
}
