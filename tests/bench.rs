//! `pome bench` against its contract: a small run leaves a report that says what was done, and a peer that is missing or broken is said to be.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

mod process;

use process::{Pome, lines};
use serde_json::Value;
use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Output};

/// `pome bench` with these arguments, in a folder of its own, where nobody finds the modules of npm that this machine may have.
fn bench(folder: &Path, args: &[&str], path: &Path) -> Output {
    let pome = Pome::new(folder.join("store"));
    pome.command(&[&["--json", "-q", "bench"], args].concat())
        .current_dir(folder)
        .env("HOME", folder)
        .env_remove("XDG_CACHE_HOME")
        .env_remove("POME_BENCH_PEERS")
        .env("PATH", path)
        .output()
        .unwrap()
}

fn report(folder: &Path) -> (Value, String) {
    let json = fs::read(folder.join("pome-bench/report.json")).unwrap();
    let page = fs::read_to_string(folder.join("pome-bench/report.html")).unwrap();
    (serde_json::from_slice(&json).unwrap(), page)
}

#[test]
fn a_quick_run_leaves_its_report_and_says_who_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let args = [
        "core-batch",
        "store-put",
        "--quick",
        "--rounds",
        "1",
        "--minutes",
        "60",
        "--peers",
        "empty",
    ];
    let output = bench(folder.path(), &args, &empty);
    assert!(output.status.success(), "{output:?}");
    let said = lines(&output.stdout);
    let batch = &said[0];
    assert_eq!(batch["workload"], "core-batch");
    assert_eq!(
        (&batch["unit"], &batch["size"]),
        (&"/s".into(), &40_000.into())
    );
    assert!(batch["pome"].as_f64().unwrap() > 0.0, "{batch}");
    for field in ["peer", "peerVersion", "value", "ratio", "low", "high"] {
        assert!(batch[field].is_null(), "{batch}");
    }
    assert_eq!(said[1]["workload"], "store-put");
    assert_eq!(said[1]["durability"], "on disk");
    // The growth of the first.
    let sizes: Vec<_> = said[2..]
        .iter()
        .map(|line| line["size"].as_u64().unwrap())
        .collect();
    assert_eq!(sizes, [100, 10_000]);
    let (json, page) = report(folder.path());
    let used = &json["rows"][0]["series"][0]["used"][0];
    assert!(used["memory"].as_u64().unwrap() > 1 << 20, "{used}");
    let missing: Vec<_> = json["absent"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["peer"].as_str().unwrap())
        .collect();
    assert_eq!(missing, ["npm", "bare", "fjall", "redb", "lmdb", "sqlite"]);
    for word in [
        "behind nobody",
        "Left out",
        "pome bench --install",
        "--worker core-batch",
    ] {
        assert!(page.contains(word), "{word} is not in\n{page}");
    }
    // The folder of the runs is gone, and nothing else was made.
    let mut names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["empty", "pome-bench"]);
}

/// A program in a folder that is taken for the one with the engines.
fn peer(folder: &Path, script: &str) {
    fs::create_dir_all(folder).unwrap();
    let program = folder.join("pome-bench-peers");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
}

const SAYS: &str = r#"echo '{"ready":true}'
read go
echo '{"items":1000000000000,"bytes":1,"seconds":1,"version":"peer 7"}'
cat >/dev/null"#;

#[test]
fn who_is_behind_is_said_first_and_who_breaks_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bin");
    for (tool, at) in [("cat", "/bin/cat"), ("sh", "/bin/sh")] {
        fs::create_dir_all(&path).unwrap();
        std::os::unix::fs::symlink(at, path.join(tool)).unwrap();
    }
    let broken = r#"[ "$1" = redb ] && { echo 'it broke' >&2; exit 3; }"#;
    peer(&path, &format!("{broken}\n{SAYS}"));
    let args = [
        "store-put",
        "--quick",
        "--rounds",
        "2",
        "--against",
        "fjall,redb",
        "--scratch",
        ".",
        "--peers",
        "bin",
    ];
    let output = bench(folder.path(), &args, &path);
    assert!(output.status.success(), "{output:?}");
    let said = lines(&output.stdout);
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(
        (&said[0]["peer"], &said[0]["peerVersion"]),
        (&"fjall".into(), &"peer 7".into())
    );
    assert_eq!(said[0]["value"], 1e12);
    let ratio = said[0]["ratio"].as_f64().unwrap();
    assert!(ratio > 0.0 && ratio < 1.0, "{ratio}");
    assert!(
        said[0]["low"].as_f64().unwrap() <= ratio && ratio <= said[0]["high"].as_f64().unwrap()
    );
    let (json, page) = report(folder.path());
    assert_eq!(
        json["rows"][0]["series"][1]["values"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    assert_eq!(json["absent"][0]["peer"], "redb");
    assert!(
        json["absent"][0]["why"]
            .as_str()
            .unwrap()
            .ends_with("it broke"),
        "{json}"
    );
    assert!(page.contains("pome is <b>behind</b> in 1 of"), "{page}");
    // The same report from its numbers.
    let args = ["--render", "pome-bench/report.json"];
    assert_eq!(lines(&bench(folder.path(), &args, &path).stdout), said);
}

#[test]
fn what_is_not_there_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for args in [
        &["nothing"][..],
        &["core-g"],
        &["--against", "nobody"],
        &["--rounds", "0"],
    ] {
        let output = bench(folder.path(), args, folder.path());
        assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
    }
    let listed = lines(&bench(folder.path(), &["--list", "core"], folder.path()).stdout);
    assert!(
        listed.iter().any(|line| line["workload"] == "core-get"),
        "{listed:?}"
    );
    // A family is no part of a word: `cores-make` is another one.
    assert!(
        listed
            .iter()
            .all(|line| line["workload"].as_str().unwrap().starts_with("core-"))
    );
    let worker = bench(
        folder.path(),
        &["--worker", "core-append", "nowhere"],
        folder.path(),
    );
    assert_eq!(worker.status.code(), Some(1), "{worker:?}");
    assert_eq!(lines(&worker.stdout)[0]["error"]["code"], "BENCH_FAILED");
}

/// Every workload does its work, in small.
#[test]
fn pome_does_every_workload() {
    let folder = tempfile::tempdir().unwrap();
    let names = lines(&bench(folder.path(), &["--list"], folder.path()).stdout);
    let names: Vec<_> = names
        .iter()
        .map(|line| line["workload"].as_str().unwrap())
        .collect();
    assert!(names.len() > 30, "{names:?}");
    let source = folder.path().join("files");
    for n in 0..20 {
        fs::create_dir_all(&source).unwrap();
        fs::write(source.join(format!("{n}.txt")), vec![n; 1_000]).unwrap();
    }
    for name in names {
        // Nodes of the DHT have deadlines of their own, which a busy machine can miss: what these do is held by the tests of the network.
        if ["connect", "replicate-dht", "replicate-dht-64k"].contains(&name) {
            continue;
        }
        if name.starts_with("mount") && !process::fuse_works("pome_does_every_workload") {
            continue;
        }
        let room = folder.path().join("room");
        fs::create_dir(&room).unwrap();
        let pome = Pome::new(folder.path().join("store"));
        let place = [
            room.to_str().unwrap(),
            "20",
            "10",
            source.to_str().unwrap(),
            "pome",
        ];
        let output = pome.with_stdin(
            &[&["bench", "--worker", name], &place[..]].concat(),
            b"go\n",
        );
        assert!(output.status.success(), "{name}: {output:?}");
        let said = lines(&output.stdout);
        assert_eq!(said[0]["ready"], true, "{name}");
        assert!(said[1]["items"].as_u64().unwrap() > 0, "{name}: {said:?}");
        assert!(
            said[1]["seconds"].as_f64().unwrap() > 0.0,
            "{name}: {said:?}"
        );
        assert!(
            said[1]["version"].as_str().unwrap().starts_with("pome "),
            "{name}"
        );
        fs::remove_dir_all(&room).unwrap();
    }
}

#[test]
fn the_page_of_figures_is_made_of_its_numbers() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let folder = tempfile::tempdir().unwrap();
    let numbers = docs.join("performance.json");
    let pome = Pome::new(folder.path().join("store"));
    let left = folder.path().join("report");
    let args = [
        "bench",
        "--render",
        numbers.to_str().unwrap(),
        "--report",
        left.to_str().unwrap(),
    ];
    let tables = String::from_utf8(pome.ok(&args)).unwrap();
    let page = fs::read_to_string(docs.join("performance.md")).unwrap();
    let (_, rest) = page
        .split_once("<!-- made of docs/performance.json -->\n")
        .unwrap();
    let (made, prose) = rest.split_once("<!-- until here -->").unwrap();
    assert!(
        made.trim() == tables.trim(),
        "docs/performance.md is not made of docs/performance.json; put this between its marks:\n{tables}"
    );
    // What it is behind in has an entry with the cause.
    let json: Value = serde_json::from_slice(&fs::read(&numbers).unwrap()).unwrap();
    assert!(json["rows"].as_array().unwrap().len() > 5);
    for line in tables
        .lines()
        .filter(|line| line.starts_with("- ") && line.contains(" beside "))
    {
        let name = line.split(['(', ')']).nth(1).unwrap();
        assert!(
            prose.contains(&format!("`{name}`")),
            "why is it behind in {name}?"
        );
    }
}
