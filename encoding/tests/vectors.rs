//! Bytes made by compact-encoding: every case of `encoding.json`, in both directions.
#![allow(clippy::unwrap_used)]

mod dynamic;

use dynamic::encoding;
use pome_test_support::{hex, load};
use serde_json::{Value, json};

const LISTS: &[&str] = &["valid", "invalid", "encode_refused", "decode_only"];

/// The cases of one list, each with nothing but fields that the test looks at.
fn cases(list: &str, needed: &[&str], optional: &[&str]) -> Vec<Value> {
    let all = load("encoding", LISTS, &[]);
    let cases = all[list].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let case = case.as_object().unwrap();
        for name in needed {
            assert!(case.contains_key(*name), "no {name}: {case:?}");
        }
        for name in case.keys() {
            let known = needed.iter().chain(optional).any(|known| known == name);
            assert!(known, "unknown field {name}: {case:?}");
        }
    }
    cases.clone()
}

fn name(case: &Value) -> &str {
    case["encoding"].as_str().unwrap()
}

#[test]
fn vectors_valid() {
    let optional = ["decoded", "decode_error", "left_over"];
    for case in cases("valid", &["encoding", "value", "bytes"], &optional) {
        let encoding = encoding(name(&case));
        let bytes = hex(&case["bytes"]);
        assert_eq!(
            encoding.encode(&case["value"]),
            Some(bytes.clone()),
            "{case}"
        );
        let decoded = encoding.decode(&bytes);
        if case.get("decode_error").is_some() {
            assert!(decoded.is_err(), "{case}");
            continue;
        }
        let (value, consumed) = decoded.unwrap_or_else(|e| panic!("{e}: {case}"));
        assert_eq!(
            value,
            *case.get("decoded").unwrap_or(&case["value"]),
            "{case}"
        );
        let left = case.get("left_over").map_or(0, |n| n.as_u64().unwrap());
        assert_eq!((bytes.len() - consumed) as u64, left, "{case}");
    }
}

#[test]
fn vectors_invalid() {
    for case in cases("invalid", &["encoding", "bytes", "error"], &[]) {
        let decoded = encoding(name(&case)).decode(&hex(&case["bytes"]));
        assert!(decoded.is_err(), "{case}: {decoded:?}");
    }
}

#[test]
fn vectors_encode_refused() {
    for case in cases("encode_refused", &["encoding", "value", "error"], &[]) {
        let encoded = encoding(name(&case)).encode(&case["value"]);
        assert_eq!(encoded, None, "{case}");
    }
}

#[test]
fn vectors_decode_only() {
    let fields = ["encoding", "bytes", "value", "consumed"];
    for case in cases("decode_only", &fields, &[]) {
        let (value, consumed) = encoding(name(&case))
            .decode(&hex(&case["bytes"]))
            .unwrap_or_else(|e| panic!("{e}: {case}"));
        let mut wanted = case["value"].clone();
        if name(&case) == "ipAddress" && wanted["family"] != 4 {
            // npm hands on whatever byte stood there; for us every address that is not v4 is v6
            wanted["family"] = json!(6);
        }
        assert_eq!(value, wanted, "{case}");
        assert_eq!(
            consumed as u64,
            case["consumed"].as_u64().unwrap(),
            "{case}"
        );
    }
}
