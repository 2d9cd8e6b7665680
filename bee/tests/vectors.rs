//! The golden vectors of the bee: `tests/vectors/bee.json`, made by hyperbee 2.27.3.
#![allow(clippy::unwrap_used)]
use bytes::Bytes;
use futures_util::TryStreamExt;
use pome_bee::{
    Change, Entry, Header, HistoryOptions, Hyperbee, Metadata, PutOptions, RangeOptions, SubEncoder,
};
use pome_cores::{CoreOptions, Corestore, Durability, Hypercore, KeyPair};
use pome_test_support::{hex, load};
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex};

const KNOWN: &[&str] = &["scenarios", "headers"];
/// `extension`: messages between peers, proven where replication is.
const ELSEWHERE: &[&str] = &["extension"];

/// An empty core of a scenario's key pair, in a store that lives as long as the folder.
async fn core(scenario: &Value) -> (tempfile::TempDir, Hypercore) {
    let folder = tempfile::tempdir().unwrap();
    let store = pome_storage::Store::open(folder.path(), pome_storage::Options::default()).unwrap();
    let cores = Corestore::open(store).unwrap();
    let secret = hex(&scenario["key_pair"]["secretKey"]);
    let key_pair = KeyPair::from_secret_key(&secret.try_into().unwrap()).unwrap();
    let core = cores.get(CoreOptions::key_pair(key_pair)).await.unwrap();
    (folder, core)
}

/// How the vectors write keys and values: npm's codecs.
#[derive(Clone, Copy, PartialEq)]
enum Codec {
    Utf8,
    Binary,
    Json,
}

impl Codec {
    fn of(name: &Value) -> Self {
        match name.as_str() {
            Some("utf-8") => Self::Utf8,
            Some("json") => Self::Json,
            Some("binary") => Self::Binary,
            None if name.is_null() => Self::Binary,
            other => panic!("unknown codec {other:?}"),
        }
    }

    fn encode(self, value: &Value) -> Option<Bytes> {
        if value.is_null() || value.get("$undefined").is_some() {
            return None;
        }
        Some(match (self, value) {
            (Self::Json, value) => serde_json::to_vec(value).unwrap().into(),
            (_, Value::String(text)) => text.clone().into_bytes().into(),
            (_, value) => hex(&value["$hex"]).into(),
        })
    }

    fn decode(self, bytes: &[u8]) -> Value {
        match self {
            Self::Utf8 => String::from_utf8(bytes.to_vec()).unwrap().into(),
            Self::Json => serde_json::from_slice(bytes).unwrap(),
            Self::Binary => json!({ "$hex": data_encoding::HEXLOWER.encode(bytes) }),
        }
    }
}

#[derive(Clone, Copy)]
struct Codecs {
    key: Codec,
    value: Codec,
}

impl Codecs {
    fn of(options: &Value) -> Self {
        Self {
            key: Codec::of(&options["keyEncoding"]),
            value: Codec::of(&options["valueEncoding"]),
        }
    }

    fn key(self, op: &Value) -> Bytes {
        self.key.encode(&op["key"]).unwrap()
    }

    fn value(self, op: &Value) -> Option<Bytes> {
        self.value.encode(&op["value"])
    }

    fn entry(self, entry: &Entry) -> Value {
        json!({
            "seq": entry.seq,
            "key": self.key.decode(&entry.key),
            "value": entry.value.as_ref().map(|v| self.value.decode(v)),
        })
    }

    fn maybe(self, entry: &Option<Entry>) -> Value {
        entry.as_ref().map_or(Value::Null, |e| self.entry(e))
    }

    async fn list(self, bee: &Hyperbee, range: RangeOptions) -> Value {
        let entries: Vec<_> = bee.range(range).try_collect().await.unwrap();
        entries.iter().map(|e| self.entry(e)).collect()
    }

    fn range(self, json: &Value) -> RangeOptions {
        let mut range = RangeOptions::new();
        for (name, value) in json.as_object().unwrap() {
            match name.as_str() {
                "gt" => range.gt = self.key.encode(value),
                "gte" => range.gte = self.key.encode(value),
                "lt" => range.lt = self.key.encode(value),
                "lte" => range.lte = self.key.encode(value),
                "reverse" => range.reverse = value.as_bool().unwrap(),
                "limit" => range.limit = value.as_u64(),
                other => panic!("unknown range option {other:?}"),
            }
        }
        range
    }
}

fn metadata(json: &Value) -> Option<Metadata> {
    let json = json.as_object()?;
    let mut metadata = Metadata::default();
    for (name, value) in json {
        let bytes = (!value.is_null()).then(|| Bytes::from(hex(value)));
        match name.as_str() {
            "contentFeed" => metadata.content_feed = bytes,
            "userData" => metadata.user_data = bytes,
            other => panic!("unknown metadata {other:?}"),
        }
    }
    Some(metadata)
}

fn open(core: &Hypercore, options: &Value) -> Hyperbee {
    let mut bee = Hyperbee::new(core.clone());
    for (name, value) in options.as_object().unwrap() {
        match name.as_str() {
            "keyEncoding" | "valueEncoding" => {}
            "alwaysDuplicate" => bee = bee.always_duplicate(value.as_bool().unwrap()),
            "metadata" => bee = bee.with_metadata(metadata(value).unwrap()),
            other => panic!("unknown option {other:?}"),
        }
    }
    bee
}

/// A condition that a history gives its answer for.
fn put_options(op: &Value) -> PutOptions {
    match op.get("cas").and_then(Value::as_bool) {
        Some(answer) => PutOptions::new().with_cas(move |_, _| answer),
        None => PutOptions::new(),
    }
}

async fn run(bee: &Hyperbee, codecs: Codecs, ops: &Value) {
    for op in ops.as_array().unwrap() {
        match op["op"].as_str().unwrap() {
            "put" => {
                let (key, value) = (codecs.key(op), codecs.value(op));
                bee.put_with(&key, value, put_options(op)).await.unwrap();
            }
            "del" => {
                bee.del_with(&codecs.key(op), put_options(op))
                    .await
                    .unwrap();
            }
            "batch" => {
                let mut batch = bee.batch();
                for op in op["ops"].as_array().unwrap() {
                    match op["op"].as_str().unwrap() {
                        "put" => {
                            let (key, value) = (codecs.key(op), codecs.value(op));
                            batch.put_with(&key, value, put_options(op)).await.unwrap();
                        }
                        "del" => {
                            batch
                                .del_with(&codecs.key(op), put_options(op))
                                .await
                                .unwrap();
                        }
                        other => panic!("unknown op {other:?}"),
                    }
                }
                batch.flush(Durability::Buffered).await.unwrap();
            }
            other => panic!("unknown op {other:?}"),
        }
        if let Some(length) = op.get("length_after") {
            assert_eq!(bee.core().length(), length.as_u64().unwrap(), "after {op}");
        }
    }
}

async fn check_blocks(name: &str, core: &Hypercore, scenario: &Value) {
    for (i, block) in scenario["blocks"].as_array().unwrap().iter().enumerate() {
        let ours = data_encoding::HEXLOWER.encode(&core.get(i as u64).await.unwrap());
        assert_eq!(ours, block.as_str().unwrap(), "{name}: block {i}");
    }
    assert_eq!(
        core.length(),
        scenario["length"].as_u64().unwrap(),
        "{name}"
    );
}

#[tokio::test]
async fn vectors_of_scenarios() {
    let vectors = load("bee", KNOWN, ELSEWHERE);
    for scenario in vectors["scenarios"].as_array().unwrap() {
        let name = scenario["name"].as_str().unwrap();
        let (_folder, core) = core(scenario).await;
        let options = &scenario["options"];
        let bee = open(&core, options);
        let codecs = Codecs::of(options);
        match name {
            "cas" => compare_and_swap(&bee, codecs, scenario).await,
            "subs" => subs(&bee, scenario).await,
            "key encoders" => key_encoders(&bee, scenario).await,
            _ => run(&bee, codecs, &scenario["ops"]).await,
        }
        check_blocks(name, &core, scenario).await;
        assert_eq!(
            codecs.list(&bee, RangeOptions::new()).await,
            scenario["entries"],
            "{name}: entries"
        );
        for (field, expected) in scenario.as_object().unwrap() {
            match field.as_str() {
                "name" | "options" | "ops" | "length" | "blocks" | "entries" => {}
                "key_pair" => assert_eq!(
                    core.key_pair().unwrap().public[..],
                    hex(&expected["publicKey"])
                ),
                "key" => assert_eq!(core.key().0[..], hex(expected)),
                "tree_hash" if core.length() == 0 => assert!(expected.is_null()),
                "tree_hash" => assert_eq!(core.tree_hash().await.unwrap()[..], hex(expected)),
                // npm's header is an append of its own, so only the last signature of a core can be the same
                "signature" if expected.is_null() => assert_eq!(core.signature(), None),
                "signature" => assert_eq!(core.signature().unwrap(), hex(expected), "{name}"),
                // the blocks again, for people
                "decoded" => {}
                // checked while the scenario ran
                "listings" | "encoders" | "files_after_a" => {}
                "gets" => gets(&bee, codecs, expected).await,
                "checkouts" => checkouts(&bee, codecs, expected).await,
                "ranges" => ranges(&bee, codecs, expected).await,
                "histories" => histories(&bee, codecs, expected).await,
                "diffs" => diffs(&bee, codecs, expected).await,
                "peeks" => peeks(&bee, codecs, expected).await,
                other => panic!("{name}: no test knows {other:?}"),
            }
        }
    }
}

async fn gets(bee: &Hyperbee, codecs: Codecs, gets: &Value) {
    for get in gets.as_array().unwrap() {
        let entry = bee.get(&codecs.key(get)).await.unwrap();
        assert_eq!(codecs.maybe(&entry), get["entry"], "{get}");
    }
}

async fn checkouts(bee: &Hyperbee, codecs: Codecs, checkouts: &Value) {
    for checkout in checkouts.as_array().unwrap() {
        let old = bee.checkout(checkout["version"].as_u64().unwrap());
        assert_eq!(
            codecs.list(&old, RangeOptions::new()).await,
            checkout["entries"],
            "{}",
            checkout["version"]
        );
    }
}

async fn ranges(bee: &Hyperbee, codecs: Codecs, ranges: &Value) {
    for range in ranges.as_array().unwrap() {
        let entries: Vec<_> = bee
            .range(codecs.range(&range["range"]))
            .try_collect()
            .await
            .unwrap();
        let keys: Value = entries.iter().map(|e| codecs.key.decode(&e.key)).collect();
        assert_eq!(keys, range["keys"], "{}", range["range"]);
    }
}

async fn histories(bee: &Hyperbee, codecs: Codecs, histories: &Value) {
    for history in histories.as_array().unwrap() {
        let mut options = HistoryOptions::default();
        for (name, value) in history["options"].as_object().unwrap() {
            match name.as_str() {
                "gt" => options.gt = value.as_i64(),
                "gte" => options.gte = value.as_i64(),
                "lt" => options.lt = value.as_i64(),
                "lte" => options.lte = value.as_i64(),
                "reverse" => options.reverse = value.as_bool().unwrap(),
                "limit" => options.limit = value.as_u64(),
                other => panic!("unknown history option {other:?}"),
            }
        }
        let entries: Vec<_> = bee.history(options).try_collect().await.unwrap();
        let items: Value = entries
            .iter()
            .map(|e| {
                let change = match e.change {
                    Change::Put => "put",
                    Change::Del => "del",
                };
                let value = e.value.as_ref().map(|v| codecs.value.decode(v));
                json!([change, e.seq, codecs.key.decode(&e.key), value])
            })
            .collect();
        assert_eq!(items, history["items"], "{}", history["options"]);
    }
}

async fn diffs(bee: &Hyperbee, codecs: Codecs, diffs: &Value) {
    for diff in diffs.as_array().unwrap() {
        let left = bee.checkout(diff["left"].as_u64().unwrap());
        let right = bee.checkout(diff["right"].as_u64().unwrap());
        let entries: Vec<_> = left
            .diff(&right, codecs.range(&diff["range"]))
            .try_collect()
            .await
            .unwrap();
        let items: Value = entries
            .iter()
            .map(|e| json!({ "left": codecs.maybe(&e.left), "right": codecs.maybe(&e.right) }))
            .collect();
        let (left, right) = (&diff["left"], &diff["right"]);
        assert_eq!(items, diff["items"], "{left} {right} {}", diff["range"]);
    }
}

async fn peeks(bee: &Hyperbee, codecs: Codecs, peeks: &Value) {
    for peek in peeks.as_array().unwrap() {
        let entry = bee.peek(codecs.range(&peek["range"])).await.unwrap();
        assert_eq!(codecs.maybe(&entry), peek["entry"], "{peek}");
    }
}

async fn compare_and_swap(bee: &Hyperbee, codecs: Codecs, scenario: &Value) {
    for op in scenario["ops"].as_array().unwrap() {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let (seen, what) = (calls.clone(), op["cas"].as_str().unwrap().to_string());
        let options = PutOptions::new().with_cas(move |previous, next| {
            let call = json!({ "prev": codecs.entry(previous), "next": codecs.entry(next) });
            seen.lock().unwrap().push(call);
            match what.as_str() {
                "true" => true,
                "false" => false,
                "prev is 1" => previous.value.as_deref() == Some(b"1"),
                other => panic!("unknown cas {other:?}"),
            }
        });
        let before = bee.core().length().max(1);
        let key = codecs.key(op);
        let written = match op["op"].as_str().unwrap() {
            "put" => bee.put_with(&key, codecs.value(op), options).await.unwrap(),
            "del" => bee.del_with(&key, options).await.unwrap(),
            other => panic!("unknown op {other:?}"),
        };
        assert_eq!(Value::from(calls.lock().unwrap().clone()), op["cas_calls"]);
        assert_eq!(bee.core().length(), op["length_after"].as_u64().unwrap());
        assert_eq!(written, bee.core().length() > before, "{op}");
    }
}

/// The sub that a test names `p > q`: a sub of a sub.
fn sub_of(bee: &Hyperbee, prefix: &str, options: &Value) -> Hyperbee {
    prefix.split(" > ").fold(bee.clone(), |bee, part| {
        match options.get("sep").and_then(Value::as_str) {
            Some(separator) => bee.sub_with(part, separator),
            None => bee.sub(part),
        }
    })
}

fn sub_codecs(options: &Value) -> Codecs {
    for name in options.as_object().unwrap().keys() {
        assert!(["sep", "keyEncoding"].contains(&name.as_str()), "{name}");
    }
    Codecs {
        key: Codec::of(&options["keyEncoding"]),
        value: Codec::Utf8,
    }
}

async fn subs(bee: &Hyperbee, scenario: &Value) {
    for op in scenario["ops"].as_array().unwrap() {
        assert_eq!(op["op"], "put");
        let key = op["key"].as_str().unwrap().as_bytes();
        let value = op["value"].as_str().unwrap().to_string();
        match op.get("sub") {
            None => bee.put(key, value).await.unwrap(),
            Some(prefix) => {
                let sub = sub_of(bee, prefix.as_str().unwrap(), &op["options"]);
                sub.put(key, value.clone()).await.unwrap();
                let entry = sub.get(key).await.unwrap().unwrap();
                assert_eq!((&entry.key[..], entry.value), (key, Some(value.into())));
                assert_eq!(sub.core().length(), op["length_after"].as_u64().unwrap());
            }
        }
    }
    for listing in scenario["listings"].as_array().unwrap() {
        let options = &listing["options"];
        let sub = sub_of(bee, listing["prefix"].as_str().unwrap(), options);
        assert_eq!(&sub.prefix()[..], hex(&listing["bee_prefix"]));
        let codecs = sub_codecs(options);
        assert_eq!(
            codecs.list(&sub, RangeOptions::new()).await,
            listing["entries"]
        );
        let last_two = RangeOptions::new().with_reverse(true).with_limit(2);
        assert_eq!(
            codecs.list(&sub, last_two).await,
            listing["reverse_limit_2"]
        );
    }
}

fn encoder(name: &str) -> Option<SubEncoder> {
    Some(match name {
        "files (utf-8)" | "files" => SubEncoder::new("files"),
        "n (binary)" => SubEncoder::new("n"),
        "n > m (utf-8)" | "n > m" => SubEncoder::new("n").sub("m"),
        "n > \"\" (utf-8)" => SubEncoder::new("n").sub(""),
        "empty prefix" => SubEncoder::new(""),
        "no prefix" => return None,
        other => panic!("unknown encoder {other:?}"),
    })
}

async fn key_encoders(bee: &Hyperbee, scenario: &Value) {
    let text = Codecs {
        key: Codec::Utf8,
        value: Codec::Utf8,
    };
    for list in scenario["encoders"].as_array().unwrap() {
        let name = list["name"].as_str().unwrap();
        let Some(encoder) = encoder(name) else {
            // no prefix, no encoder: the key is its own bytes
            for case in list["encoded"].as_array().unwrap() {
                assert_eq!(
                    case["key"].as_str().unwrap().as_bytes(),
                    hex(&case["bytes"])
                );
            }
            continue;
        };
        assert_eq!(&encoder.prefix()[..], hex(&list["prefix"]), "{name}");
        for case in list["encoded"].as_array().unwrap() {
            let key = case["key"].as_str().unwrap().as_bytes();
            let encoded = encoder.encode(key);
            assert_eq!(encoded, hex(&case["bytes"]), "{name}: {case}");
            assert_eq!(encoder.decode(&encoded), Some(key));
        }
        for case in list["ranges"].as_array().unwrap() {
            let RangeOptions {
                gt, gte, lt, lte, ..
            } = encoder.range(text.range(&case["range"]));
            let encoded: Map<String, Value> = [("gt", gt), ("gte", gte), ("lt", lt), ("lte", lte)]
                .into_iter()
                .filter_map(|(name, key)| {
                    let key = data_encoding::HEXLOWER.encode(&key?);
                    Some((name.to_string(), key.into()))
                })
                .collect();
            assert_eq!(Value::from(encoded), case["encoded"], "{name}: {case}");
        }
    }
    for op in scenario["ops"].as_array().unwrap() {
        let encoder = encoder(op["encoder"].as_str().unwrap()).unwrap();
        let key = encoder.encode(op["key"].as_str().unwrap());
        let value = op["value"].as_str().unwrap().to_string();
        bee.put(&key, value).await.unwrap();
    }
    let files = encoder("files").unwrap();
    let range = files.range(RangeOptions::new().with_gt("/a"));
    let mut entries: Vec<_> = bee.range(range).try_collect().await.unwrap();
    for entry in &mut entries {
        entry.key = Bytes::copy_from_slice(files.decode(&entry.key).unwrap());
    }
    let entries: Value = entries.iter().map(|e| text.entry(e)).collect();
    assert_eq!(entries, scenario["files_after_a"]);
}

#[test]
fn vectors_of_headers() {
    let vectors = load("bee", KNOWN, ELSEWHERE);
    for case in vectors["headers"].as_array().unwrap() {
        let header = &case["header"];
        assert_eq!(header["protocol"], "hyperbee");
        let ours = Header::new(metadata(&header["metadata"]));
        let bytes = hex(&case["bytes"]);
        assert_eq!(ours.encode(), bytes, "{header}");
        assert_eq!(Header::decode(&bytes), Some(ours));
    }
}

/// Random histories with batches, conditions that say no, values of nothing and unchanged values: what is in a block of a batch depends on all of them.
/// Made by `tests/histories/generate.js`.
#[tokio::test]
async fn vectors_of_histories() {
    let histories: Value = serde_json::from_str(include_str!("histories/histories.json")).unwrap();
    let codecs = Codecs {
        key: Codec::Utf8,
        value: Codec::Utf8,
    };
    for (i, history) in histories.as_array().unwrap().iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let store =
            pome_storage::Store::open(folder.path(), pome_storage::Options::default()).unwrap();
        let cores = Corestore::open(store).unwrap();
        let core = cores.get(CoreOptions::name("bee")).await.unwrap();
        let bee = Hyperbee::new(core.clone())
            .always_duplicate(history["alwaysDuplicate"].as_bool().unwrap());
        run(&bee, codecs, &history["ops"]).await;
        for (seq, block) in history["blocks"].as_array().unwrap().iter().enumerate() {
            let ours = core.get(seq as u64).await.unwrap();
            assert_eq!(ours, hex(block), "history {i}: block {seq}");
        }
        assert_eq!(
            core.length() as usize,
            history["blocks"].as_array().unwrap().len()
        );
    }
}
