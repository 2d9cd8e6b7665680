//! Texts and keys made by z32 and hypercore-id-encoding.
#![allow(clippy::unwrap_used)]

use pome_encoding::{Key, decode_id, z32};
use pome_test_support::{hex, load};
use serde_json::Value;

fn crypto() -> Value {
    load(
        "crypto",
        &["z32", "z32_decode", "ids"],
        // proven by the crate of the cores
        &[
            "key_pairs",
            "encryption_key_pairs",
            "signatures",
            "verify",
            "data_hashes",
            "parent_hashes",
            "tree_hashes",
            "hashes",
            "discovery_keys",
            "namespaces",
            "sealed_boxes",
        ],
    )
}

#[test]
fn vectors_z32() {
    let all = crypto();
    for case in all["z32"].as_array().unwrap() {
        let (bytes, text) = (hex(&case["bytes"]), case["z32"].as_str().unwrap());
        assert_eq!(z32::encode(&bytes), text);
        assert_eq!(z32::decode(text), Ok(hex(&case["decoded"])));
        assert_eq!(case.as_object().unwrap().len(), 3);
    }
    for case in all["z32_decode"].as_array().unwrap() {
        let decoded = z32::decode(case["z32"].as_str().unwrap());
        match (case.get("bytes"), case.get("error")) {
            (Some(bytes), None) => assert_eq!(decoded, Ok(hex(bytes)), "{case}"),
            (None, Some(_)) => assert!(decoded.is_err(), "{case}"),
            _ => panic!("unknown case {case}"),
        }
    }
}

#[test]
fn vectors_ids() {
    let mut seen = 0;
    for case in crypto()["ids"].as_array().unwrap() {
        let decoded = match &case["input"] {
            Value::String(text) => {
                // the one text that we read and the npm module does not
                if !text.starts_with("hyper://") {
                    assert_eq!(text.parse::<Key>().ok().map(|k| k.0), decode_id(text).ok());
                }
                decode_id(text).ok()
            }
            bytes => hex(&bytes["$hex"]).try_into().ok(),
        };
        assert_eq!(
            decoded.is_some(),
            case["valid"].as_bool().unwrap(),
            "{case}"
        );
        if let Some(key) = decoded {
            assert_eq!(key[..], hex(&case["key"]));
            assert_eq!(Key(key).to_string(), case["normalized"].as_str().unwrap());
        } else {
            assert!(case["error"].is_string(), "{case}");
        }
        seen += 1;
    }
    assert!(seen > 0);
}
