//! Cores replicate with npm's corestore over secret streams on TCP, in both directions.
//!
//! Needs node and the modules (`npm ci --prefix tests/interop`, or `NODE_PATH`).
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod peers;

use data_encoding::HEXLOWER;
use peers::{NPM, Npm, Pome, block, blocks, reach, same, soon};
use pome_cores::CoreOptions;
use pome_test_support::npm_works;
use serde_json::json;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn npm_reads_what_pome_writes() {
    if !npm_works("npm_reads_what_pome_writes", NPM) {
        return;
    }
    for dial in [true, false] {
        let (mut npm, pome) = (Npm::start(), Pome::new());
        let log = pome.core("log").await;
        log.append_batch(blocks(0, 1000)).await.unwrap();
        let _joined = if dial {
            pome.dial(&npm).await
        } else {
            pome.listen(&mut npm).await
        };
        let id = npm.open(&log);
        // sparse
        assert_eq!(npm.get(&id, 700), block(700));
        assert_eq!(
            npm.tell(json!({"cmd": "has", "id": id, "start": 0, "end": 1}))["has"],
            false
        );
        same(&log, &npm.tell(json!({"cmd": "info", "id": id}))).await;
        // seek
        for bytes in [1, 100, 5_000, log.byte_length() - 3] {
            let (block, offset) = log.seek(bytes).await.unwrap();
            let answer = npm.tell(json!({"cmd": "seek", "id": id, "bytes": bytes}));
            assert_eq!(answer["seek"], json!([block, offset]));
        }
        // live append
        for n in 1000..1050 {
            npm.send(json!({"cmd": "get", "id": id, "index": n}));
            log.append(block(n)).await.unwrap();
            let answer = npm.line();
            assert_eq!(answer["block"], HEXLOWER.encode(&block(n)), "{answer}");
        }
        // everything, in order
        let answer =
            npm.tell(json!({"cmd": "download", "id": id, "start": 0, "end": 1050, "linear": true}));
        assert_eq!(answer["contiguousLength"], 1050);
        // truncate and fork
        npm.tell(json!({"cmd": "live", "id": id}));
        for (to, more) in [(900, 20), (10, 100), (110, 0), (0, 3)] {
            log.truncate(to).await.unwrap();
            log.append_batch(blocks(5000 * to, more)).await.unwrap();
            let answer = npm.tell(
                json!({"cmd": "reach", "id": id, "length": log.length(), "fork": log.fork()}),
            );
            same(&log, &answer).await;
            let last = log.length() - 1;
            assert_eq!(npm.get(&id, last), log.get(last).await.unwrap());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pome_reads_what_npm_writes() {
    if !npm_works("pome_reads_what_npm_writes", NPM) {
        return;
    }
    for dial in [true, false] {
        let (mut npm, pome) = (Npm::start(), Pome::new());
        let made = npm.tell(json!({"cmd": "create", "name": "log"}));
        let id = made["id"].as_str().unwrap().to_owned();
        npm.tell(
            json!({"cmd": "append", "id": id, "prefix": "block ", "from": 0, "count": 10_000}),
        );
        let _joined = if dial {
            pome.dial(&npm).await
        } else {
            pome.listen(&mut npm).await
        };
        let copy = pome.reader(&made).await;
        assert_eq!(soon(copy.get(7000)).await.unwrap(), block(7000));
        assert!(!copy.has(0..1).await.unwrap());
        for bytes in [1, 100, 5_000, copy.byte_length() - 3] {
            let seek = soon(copy.seek(bytes)).await.unwrap();
            let answer = npm.tell(json!({"cmd": "seek", "id": id, "bytes": bytes}));
            assert_eq!(answer["seek"], json!([seek.0, seek.1]));
        }
        for n in 10_000..10_050 {
            let get = tokio::spawn({
                let copy = copy.clone();
                async move { copy.get(n).await }
            });
            npm.tell(json!({"cmd": "append", "id": id, "blocks": [format!("block {n}")]}));
            assert_eq!(soon(get).await.unwrap().unwrap(), block(n));
        }
        let mut download = copy.download_linear(0..10_050).unwrap();
        soon(download.done()).await.unwrap();
        assert_eq!(copy.contiguous_length(), 10_050);
        same(&copy, &npm.tell(json!({"cmd": "info", "id": id}))).await;
        let _live = copy.download(..).unwrap();
        for (to, more) in [(9_000, 20), (10, 100), (110, 0), (0, 3)] {
            npm.tell(json!({"cmd": "truncate", "id": id, "length": to}));
            if more > 0 {
                npm.tell(
                    json!({"cmd": "append", "id": id, "prefix": "new ", "from": to, "count": more}),
                );
            }
            let now = npm.tell(json!({"cmd": "info", "id": id}));
            reach(
                &copy,
                now["length"].as_u64().unwrap(),
                now["fork"].as_u64().unwrap(),
            )
            .await;
            same(&copy, &now).await;
            let last = copy.length() - 1;
            assert_eq!(soon(copy.get(last)).await.unwrap(), npm.get(&id, last));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn encrypted_cores_and_many_cores_and_extensions() {
    if !npm_works("encrypted_cores_and_many_cores_and_extensions", NPM) {
        return;
    }
    let (mut npm, pome) = (Npm::start(), Pome::new());
    let secret = [9; 32];
    let options = CoreOptions::name("secret").with_encryption_key(secret);
    let ours = pome.cores.get(options).await.unwrap();
    ours.append_batch(blocks(0, 30)).await.unwrap();
    let theirs = npm.tell(
        json!({"cmd": "create", "name": "secret", "encryptionKey": HEXLOWER.encode(&secret)}),
    );
    let their_id = theirs["id"].as_str().unwrap().to_owned();
    npm.tell(json!({"cmd": "append", "id": their_id, "prefix": "block ", "from": 0, "count": 30}));
    let many = npm.tell(json!({"cmd": "many", "count": 200}));
    let _joined = pome.dial(&npm).await;
    let id = npm.open_encrypted(&ours, Some(secret));
    assert_eq!(npm.get(&id, 12), block(12));
    let copy = pome.reader(&theirs).await;
    copy.set_encryption_key(Some(secret));
    assert_eq!(soon(copy.get(12)).await.unwrap(), block(12));

    for (n, key) in many["keys"].as_array().unwrap().iter().enumerate() {
        let copy = pome.reader(&json!({"key": key})).await;
        assert_eq!(soon(copy.get(0)).await.unwrap(), format!("in {n}"));
    }

    npm.tell(json!({"cmd": "extension", "id": id, "name": "chat"}));
    let mut chat = ours.extension("chat");
    npm.tell(json!({"cmd": "broadcast", "name": "chat", "message": "one"}));
    npm.tell(json!({"cmd": "broadcast", "name": "chat", "message": "two"}));
    assert_eq!(soon(chat.recv()).await.unwrap().1, "one");
    let (peer, message) = soon(chat.recv()).await.unwrap();
    assert_eq!(message, "two");
    assert!(chat.send(peer, "back"));
    chat.broadcast("to all");
    let received = npm.tell(json!({"cmd": "received", "count": 2}));
    assert_eq!(received["received"], json!(["back", "to all"]));
}

/// npm → pome → npm → pome: each holds only what the one before gave it.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_both() {
    if !npm_works("a_chain_of_both", NPM) {
        return;
    }
    let (mut first, mut third) = (Npm::start(), Npm::start());
    let (second, last) = (Pome::new(), Pome::new());
    let made = first.tell(json!({"cmd": "create", "name": "log"}));
    let id = made["id"].as_str().unwrap().to_owned();
    first.tell(json!({"cmd": "append", "id": id, "prefix": "block ", "from": 0, "count": 3000}));
    let middle = second.reader(&made).await;
    let a = second.dial(&first).await;
    let mut some = middle.download(1000..1100).unwrap();
    soon(some.done()).await.unwrap();
    drop(a);
    drop(first);
    let _b = second.dial(&third).await;
    third.open(&middle);
    let _c = last.listen(&mut third).await;
    let end = last.reader(&made).await;
    assert_eq!(third.get(&id, 1050), block(1050));
    assert_eq!(soon(end.get(1050)).await.unwrap(), block(1050));
    let waits = tokio::time::timeout(Duration::from_millis(300), end.get(5)).await;
    assert!(waits.is_err(), "nobody has it");
    // ranges: the third asks the second, which has no more of it
    third.tell(json!({"cmd": "download", "id": id, "start": 1000, "end": 1100}));
    for n in 1000..1100 {
        assert_eq!(third.get(&id, n), block(n));
    }
    let mut some = end.download(1000..1100).unwrap();
    soon(some.done()).await.unwrap();
    for n in 1000..1100 {
        assert_eq!(end.get(n).await.unwrap(), block(n));
    }
    assert!(!end.has(999..1000).await.unwrap() && !end.has(1100..1101).await.unwrap());
}

/// A range of which the one that is asked has a part, and gets the rest later: both ways.
#[tokio::test(flavor = "multi_thread")]
async fn a_range_comes_as_its_holder_gets_it() {
    if !npm_works("a_range_comes_as_its_holder_gets_it", NPM) {
        return;
    }
    // npm has all, pome a part of it, and another npm asks pome.
    let (mut first, mut third, second) = (Npm::start(), Npm::start(), Pome::new());
    let made = first.tell(json!({"cmd": "create", "name": "log"}));
    let id = made["id"].as_str().unwrap().to_owned();
    first.tell(json!({"cmd": "append", "id": id, "prefix": "block ", "from": 0, "count": 3000}));
    let middle = second.reader(&made).await;
    let _a = second.dial(&first).await;
    let mut some = middle.download(1000..1050).unwrap();
    soon(some.done()).await.unwrap();
    let _b = second.dial(&third).await;
    let open = json!({"cmd": "open", "key": middle.key().to_hex(), "quick": true});
    third.tell(open);
    assert_eq!(third.get(&id, 1049), block(1049));
    third.send(json!({"cmd": "download", "id": id, "start": 1000, "end": 1200}));
    let mut rest = middle.download_linear(1050..1200).unwrap();
    soon(rest.done()).await.unwrap();
    third.answer();
    for n in [1000, 1049, 1050, 1199] {
        assert_eq!(third.get(&id, n), block(n));
    }
    // And the other way round: pome asks npm, which has a part.
    let fourth = Pome::new();
    let end = fourth.reader(&made).await;
    let _c = fourth.dial(&third).await;
    let mut part = end.download(1100..1300).unwrap();
    assert_eq!(soon(end.get(1199)).await.unwrap(), block(1199));
    let more = json!({"cmd": "download", "id": id, "start": 1200, "end": 1300});
    third.send(more);
    let mut rest = middle.download(1200..1300).unwrap();
    soon(rest.done()).await.unwrap();
    third.answer();
    soon(part.done()).await.unwrap();
    assert_eq!(end.get(1299).await.unwrap(), block(1299));
}
