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
        (&"/s".into(), &10_000.into())
    );
    assert!(batch["pome"].as_f64().unwrap() > 0.0, "{batch}");
    for field in ["peer", "peerVersion", "value", "ratio", "low", "high"] {
        assert!(batch[field].is_null(), "{batch}");
    }
    // What the disk gives needs nothing but pome.
    let put = &said[1];
    assert_eq!(
        (&put["workload"], &put["peer"]),
        (&"store-put".into(), &"limit".into())
    );
    assert_eq!(put["durability"], "on disk");
    assert!(put["value"].as_f64().unwrap() > 0.0, "{put}");
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
    let peers = [
        "npm",
        "bare",
        "npm10",
        "hypercore-rs",
        "fjall",
        "redb",
        "lmdb",
        "sqlite",
    ];
    assert_eq!(missing, peers);
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

/// A program in a folder.
fn program(folder: &Path, name: &str, script: &str) {
    fs::create_dir_all(folder).unwrap();
    let program = folder.join(name);
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A program in a folder that is taken for the one with the engines.
fn peer(folder: &Path, script: &str) {
    program(folder, "pome-bench-peers", script);
}

/// Links to programs of this machine, in a folder.
fn tools(folder: &Path, names: &[&str]) {
    fs::create_dir_all(folder).unwrap();
    for name in names {
        let there = ["/bin", "/usr/bin"].map(|at| Path::new(at).join(name));
        let there = there.iter().find(|path| path.exists()).unwrap();
        std::os::unix::fs::symlink(there, folder.join(name)).unwrap();
    }
}

const SAYS: &str = r#"echo '{"ready":true}'
read go
echo '{"items":1000000000000,"bytes":1,"seconds":1,"version":"peer 7"}'
cat >/dev/null"#;

#[test]
fn who_is_behind_is_said_first_and_who_breaks_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bin");
    tools(&path, &["cat", "sh"]);
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
fn hypercore_10_and_the_crates_are_peers_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bin");
    tools(&path, &["cat", "sh"]);
    let says = SAYS.replace("peer 7", "'\"$who\"'");
    program(&path, "node", &format!("who=\"node for $7\"\n{says}"));
    let modules = path.join("node_modules");
    fs::create_dir_all(modules.join("corestore")).unwrap();
    fs::write(modules.join("corestore/package.json"), "{}").unwrap();
    let args = [
        "core-append",
        "--quick",
        "--rounds",
        "1",
        "--no-growth",
        "--against",
        "npm,npm10,hypercore-rs",
        "--peers",
        "bin",
    ];
    let versions = |output: &Output| -> Vec<String> {
        assert!(output.status.success(), "{output:?}");
        let text = |line: &Value| line["peerVersion"].as_str().unwrap().to_owned();
        lines(&output.stdout).iter().map(text).collect()
    };
    assert_eq!(
        versions(&bench(folder.path(), &args, &path)),
        ["node for npm"]
    );
    let (json, _) = report(folder.path());
    for (at, peer) in ["npm10", "hypercore-rs"].iter().enumerate() {
        let absent = &json["absent"][at];
        assert_eq!(absent["peer"], *peer);
        assert!(
            absent["fix"]
                .as_str()
                .unwrap()
                .contains("pome bench --install"),
            "{absent}"
        );
    }
    fs::create_dir(modules.join("hypercore10")).unwrap();
    program(
        &path,
        "pome-bench-rust-peers",
        &format!("who=\"crate $1\"\n{says}"),
    );
    let output = bench(folder.path(), &args, &path);
    assert_eq!(
        versions(&output),
        ["node for npm", "node for npm10", "crate hypercore-rs"]
    );
    let said = lines(&output.stdout);
    let durability = said[2]["durability"].as_str().unwrap();
    assert!(
        durability.contains("hypercore-rs: in the process"),
        "{durability}"
    );
}

#[test]
fn what_can_be_installed_is_and_what_cannot_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bin");
    tools(&path, &["sh", "ls", "mkdir", "cp", "chmod"]);
    // As npm and cargo are not here: nothing is.
    let output = bench(folder.path(), &["--install"], &path);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let why = lines(&output.stdout)[0]["error"]["message"].to_string();
    assert!(
        why.contains("there is no `npm`") && why.contains("there is no `cargo`"),
        "{why}"
    );
    // A cargo that makes both programs, the second of which tells what it was made of.
    program(&path, "npm", "exit 7");
    let cargo = r#"mkdir -p "$CARGO_TARGET_DIR/release" && cd "$CARGO_TARGET_DIR/release" || exit 1
case "$*" in
*protoc*) printf '#!/bin/sh\necho /the/protoc\n' > protoc-path; chmod +x protoc-path ;;
*) { echo "$PROTOC"; ls ../../src; } > pome-bench-rust-peers ;;
esac"#;
    program(&path, "cargo", cargo);
    let output = bench(folder.path(), &["--install"], &path);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("not installed: the npm modules and Bare: npm ended with"),
        "{said}"
    );
    let installed = folder.path().join(".cache/pome/bench");
    let made_of = fs::read_to_string(installed.join("pome-bench-rust-peers")).unwrap();
    let mut made_of: Vec<&str> = made_of.lines().collect();
    assert_eq!(made_of.remove(0), "/the/protoc");
    // Each file that the package has.
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/rust/src");
    let names = fs::read_dir(source)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    assert_eq!(made_of, names);
    assert!(
        !installed.join("rust").exists(),
        "what it was built in is still there"
    );
}

/// Ctrl-C while files are made in a mount: who makes them waits for an answer of the process that is ended, which is itself.
#[test]
fn who_stops_it_finds_nothing_left() {
    use std::time::Duration;
    let folder = tempfile::tempdir().unwrap();
    let scratch = folder.path().canonicalize().unwrap().join("scratch");
    fs::create_dir(&scratch).unwrap();
    let mounts = process::fuse_works("who_stops_it_finds_nothing_left");
    let workload = if mounts {
        "mount-create"
    } else {
        "core-append"
    };
    let pome = Pome::new(folder.path().join("store"));
    let mut stopped = pome.command(&["--json", "-q", "bench", workload, "--against", "limit"]);
    let child = stopped
        .args([
            "--rounds",
            "1000000",
            "--minutes",
            "600",
            "--no-growth",
            "--scratch",
        ])
        .arg(&scratch)
        .current_dir(folder.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let table = || fs::read_to_string("/proc/self/mountinfo").unwrap();
    let runs = || {
        let rooms = fs::read_dir(&scratch).unwrap();
        let begun = if mounts {
            "run-1/at/many/0/file-9"
        } else {
            "run-1"
        };
        rooms.flatten().any(|room| room.path().join(begun).exists())
    };
    let name = scratch.to_str().unwrap();
    while !runs() {
        std::thread::sleep(Duration::from_millis(2));
    }
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(lines(&output.stdout)[0]["error"]["code"], "BENCH_FAILED");
    assert!(!table().contains(name), "{}", table());
    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0);
    // Nor does anybody run who was started with it.
    for process in fs::read_dir("/proc").unwrap().flatten() {
        let words = fs::read(process.path().join("cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&words).contains(name), "{words:?}");
    }
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
    assert!(names.len() > 30, "{names:?}");
    let source = folder.path().join("files");
    for n in 0..20 {
        fs::create_dir_all(&source).unwrap();
        fs::write(source.join(format!("{n}.txt")), vec![n; 1_000]).unwrap();
    }
    for name in names.iter().map(|line| line["workload"].as_str().unwrap()) {
        // Nodes of the DHT have deadlines of their own, which a busy machine can miss: what these do is held by the tests of the network.
        if ["connect", "replicate-dht", "replicate-dht-64k"].contains(&name) {
            continue;
        }
        if name.starts_with("mount") && !process::fuse_works("pome_does_every_workload") {
            continue;
        }
        let listed = names.iter().find(|line| line["workload"] == *name).unwrap();
        let limit = listed["peers"]
            .as_array()
            .unwrap()
            .contains(&"limit".into());
        for place in if limit {
            &["pome", "limit"][..]
        } else {
            &["pome"]
        } {
            do_in_small(folder.path(), name, &source, place);
        }
    }
}

/// One workload in the place of somebody, on 20 items.
fn do_in_small(folder: &Path, name: &str, source: &Path, place: &str) {
    let room = folder.join("room");
    fs::create_dir(&room).unwrap();
    let pome = Pome::new(folder.join("store"));
    let words = [
        room.to_str().unwrap(),
        "20",
        "10",
        source.to_str().unwrap(),
        place,
    ];
    let words = [&["bench", "--worker", name], &words[..]].concat();
    let output = pome.with_stdin(&words, b"go\n");
    assert!(output.status.success(), "{name}: {output:?}");
    let said = lines(&output.stdout);
    assert_eq!(said[0]["ready"], true, "{name}");
    assert!(said[1]["items"].as_u64().unwrap() > 0, "{name}: {said:?}");
    assert!(
        said[1]["seconds"].as_f64().unwrap() > 0.0,
        "{name}: {said:?}"
    );
    let version = said[1]["version"].as_str().unwrap();
    assert_eq!(
        version.starts_with("pome "),
        place == "pome",
        "{name}: {version}"
    );
    fs::remove_dir_all(&room).unwrap();
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
