//! What the tests of several crates share. The golden vectors: bytes made by the npm modules, read from `$POME_VECTORS` or `tests/vectors`; processes that
//! talk in lines of JSON; a fuzzer; what a test says that cannot run here.

mod alone;
pub mod fuzz;
pub mod namespace;
mod process;
mod runtime;
mod skip;

pub use alone::alone;
pub use process::JsonProcess;
pub use runtime::{PATIENCE, block_on};
pub use skip::{npm_folder, npm_works, skipped, tools_work};

use serde_json::Value;
use std::path::PathBuf;

/// The folder with the vector files.
pub fn folder() -> PathBuf {
    match std::env::var_os("POME_VECTORS") {
        Some(folder) => folder.into(),
        None => PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../vectors"),
    }
}

/// Reads `<name>.json` and checks that it has exactly the lists that the caller knows.
///
/// # Panics
/// When the file is missing or no JSON, when a list of `known` is missing, or when it has a list that is neither `known` nor in `elsewhere`
/// (lists that another test proves).
pub fn load(name: &str, known: &[&str], elsewhere: &[&str]) -> Value {
    let path = folder().join(name).with_extension("json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| {
        panic!(
            "golden vectors {}: {e}; set POME_VECTORS to their folder",
            path.display()
        )
    });
    let value: Value = serde_json::from_str(&whole_characters(&text))
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let Value::Object(lists) = &value else {
        panic!("{}: not an object", path.display())
    };
    for list in lists
        .keys()
        .filter(|l| !matches!(l.as_str(), "seed" | "made_by"))
    {
        assert!(
            known.contains(&list.as_str()) || elsewhere.contains(&list.as_str()),
            "{}: no test knows the list {list:?}",
            path.display()
        );
    }
    for list in known {
        assert!(
            lists.contains_key(*list),
            "{}: the list {list:?} is missing",
            path.display()
        );
    }
    value
}

/// The bytes of a lowercase hex string.
///
/// # Panics
/// When `value` is no such string.
pub fn hex(value: &Value) -> Vec<u8> {
    let text = value
        .as_str()
        .unwrap_or_else(|| panic!("not a hex string: {value}"));
    data_encoding::HEXLOWER
        .decode(text.as_bytes())
        .unwrap_or_else(|e| panic!("{text:?}: {e}"))
}

/// JavaScript text may hold half a surrogate pair (`\ud800`), Rust text may not: it reads as U+FFFD, which is also how it is encoded.
fn whole_characters(json: &str) -> String {
    let unit = |rest: &str| u16::from_str_radix(rest.get(..6)?.strip_prefix("\\u")?, 16).ok();
    let (mut out, mut rest) = (String::with_capacity(json.len()), json);
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let (kept, len) = match (unit(escape), escape.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (&escape[..12], 12),
            (Some(0xd800..=0xdfff), _) => ("\\ufffd", 6),
            _ => (&escape[..2], 2),
        };
        out.push_str(kept);
        rest = &escape[len..];
    }
    out + rest
}
