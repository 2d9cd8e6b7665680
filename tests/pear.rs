//! Pear's words: an app is made, staged, seeded, and run by its key in other processes, on a network of the test's own. Each test that needs a network runs in a
//! namespace with nothing but loopback.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]
#![allow(dead_code, reason = "what is shared with tests that use all of it")]

mod apps_world;
mod pear_world;
mod process;

use pear_world::{Project, World, big_manifest, data, hostile_app, text};
use pome_cores::Key;
use pome_runtime::PearLink;
use pome_test_support::{namespace, npm_folder, npm_works};
use process::{Pome, terminal::Terminal};
use serde_json::{Value, json};
use std::{
    fs::{self, Permissions},
    io::{BufRead, BufReader},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const PACKAGE: &str =
    r#"{ "name": "notes", "type": "module", "main": "index.js", "pear": { "type": "terminal" } }"#;

#[test]
fn an_app_runs_from_its_key() {
    if !namespace::inside("an_app_runs_from_its_key") {
        return;
    }
    let world = World::new();
    let dir = world.home.path().join("notes");
    let made = dir.to_str().unwrap();
    world.author.ok(&["init", "--yes", made]);
    // What `init` makes runs, staged or not.
    let project = Project { dir };
    let staged = world.stage(&project);
    let link = staged["link"].as_str().unwrap();
    let _seeder = world.seed(&project);
    let mut app = world.run(&["--trust", link]);
    app.says("Pear terminal application running");
    assert!(app.child.wait().unwrap().success());
    assert!(!world.user.store.exists(), "the user's store was touched");
}

#[test]
fn its_modules_come_from_the_drive_and_updates_are_told_of() {
    if !namespace::inside("its_modules_come_from_the_drive_and_updates_are_told_of") {
        return;
    }
    let world = World::new();
    let project = world.project(&[
        ("package.json", PACKAGE),
        (
            "index.js",
            "import { words } from './lib/words.js'
import cjs from './lib/common.cjs'
import data from './lib/data.json' with { type: 'json' }
import local from 'local'
import fs from 'bare-fs'
import path from 'bare-path'
console.log('words', words, cjs.value, data.value, local)
console.log('config', Pear.config.name, Pear.config.channel, Pear.config.length, Pear.config.args.join())
console.log('key', Pear.key.length, Pear.config.key.length, Pear.config.link.startsWith('pear://'), Pear.config.dir)
console.log('url', import.meta.url.replace(/[a-z0-9]{52}/, 'KEY'))
const kept = path.join(Pear.config.storage, 'kept')
console.log('kept', fs.existsSync(kept) ? fs.readFileSync(kept, 'utf8') : 'nothing')
fs.writeFileSync(kept, 'something')
Pear.updates((update) => {
  console.log('update', update.app, update.version.length, update.version.key === Pear.key.toString('hex'))
})
console.log('ready')
",
        ),
        ("lib/words.js", "export const words = 'first'\n"),
        ("lib/common.cjs", "module.exports = { value: require('./data.json').value }\n"),
        ("lib/data.json", r#"{ "value": 7 }"#),
        ("node_modules/local/package.json", r#"{ "name": "local", "main": "main.js" }"#),
        ("node_modules/local/main.js", "module.exports = 'a package'\n"),
        ("big.bin", &"not asked for ".repeat(100_000)),
    ]);
    let first = world.stage(&project);
    let (link, length) = (first["link"].as_str().unwrap(), &first["version"]);
    let _seeder = world.seed(&project);

    let mut app = world.run(&["--trust", link, "an", "argument"]);
    assert_eq!(app.says("words"), "first 7 7 a package");
    assert_eq!(
        app.says("config"),
        format!("notes test {length} an,argument")
    );
    assert_eq!(app.says("key"), "32 32 true null");
    assert_eq!(app.says("url"), "pear://KEY/index.js");
    assert_eq!(app.says("kept"), "nothing");
    app.says("ready");
    // Only what was asked for has come.
    let bytes = size(&world.user.apps().join("drives"));
    assert!(bytes < 1_000_000, "{bytes} bytes have come");

    project.write("lib/words.js", "export const words = 'second'\n");
    let second = world.stage(&project);
    assert_eq!(
        app.says("update"),
        format!("true {} true", second["version"])
    );
    assert_eq!(app.interrupt(), Some(130));

    let mut app = world.run(&[link]);
    assert_eq!(app.says("words"), "second 7 7 a package");
    assert_eq!(app.says("kept"), "something");
    // While it runs, the version of before does too, in another process.
    let version = length.to_string();
    let mut before = world.run(&["--checkout", &version, link]);
    assert_eq!(before.says("words"), "first 7 7 a package");
    drop((app, before));

    // Who follows releases hears of nothing else.
    let dir = project.dir.to_str().unwrap();
    let released = world.author.json(&["release", "test", dir]);
    let released = &data(&released, "updating-to")["releaseLength"];
    project.write("lib/words.js", "export const words = 'third'\n");
    world.stage(&project);
    let mut app = world.run(&[link]);
    assert_eq!(app.says("words"), "second 7 7 a package");
    assert_eq!(app.says("config"), format!("notes test {released}"));
    app.says("ready");
    let next = world.author.json(&["release", "test", dir]);
    let next = &data(&next, "updating-to")["releaseLength"];
    assert_eq!(app.says("update"), format!("true {next} true"));
    drop(app);
    let mut staged = world.run(&["--checkout", "staged", link]);
    assert_eq!(staged.says("words"), "third 7 7 a package");
}

/// Whoever runs it has an older version, and asks the author before that one starts.
#[test]
fn an_app_runs_as_it_was_staged_a_moment_ago() {
    if !namespace::inside("an_app_runs_as_it_was_staged_a_moment_ago") {
        return;
    }
    let world = World::new();
    let project = world.project(&[("package.json", PACKAGE), ("index.js", "")]);
    let staged = world.stage(&project);
    let link = staged["link"].as_str().unwrap();
    let _seeder = world.seed(&project);
    for version in 0..8 {
        project.write("index.js", &format!("console.log('version', {version})"));
        world.stage(&project);
        // An app starts as it is here when its author was not reached within five seconds, as on a machine that is busy, and that is said.
        let words = ["--json", "-v", "run", "--trust", link];
        let reached = (0..20)
            .map(|_| world.user.run(&words))
            .find(|output| !text(&output.stderr).contains("shown as it is here"));
        let output = reached.expect("its author is reached");
        let stderr = text(&output.stderr);
        assert_eq!(
            text(&output.stdout),
            format!("version {version}\n"),
            "{stderr}"
        );
    }
}

#[test]
fn staging_that_is_killed_is_staged_anew_and_two_stage_one_after_the_other() {
    let home = tempfile::tempdir().unwrap();
    let pome = Pome::new(home.path().join("store"));
    let project = Project {
        dir: home.path().join("project"),
    };
    project.write("package.json", PACKAGE);
    let dir = project.dir.to_str().unwrap();
    let spawn = || {
        let mut command = pome.command(&["--json", "stage", "test", dir]);
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    // Who follows what is staged has the app of before, or of now.
    let follow = |round: u32| {
        let out = home.path().join(format!("seen {round}"));
        pome.run(&["drive", "export", "notes~test", out.to_str().unwrap()]);
        let mut rounds: Vec<_> = (0..400)
            .map(|n| {
                let text = fs::read_to_string(out.join(format!("file {n}")));
                text.ok().map(|text| text[..1].to_owned())
            })
            .collect();
        rounds.dedup();
        assert_eq!(rounds.len(), 1, "{rounds:?}");
    };
    let check = |round: u32| {
        let link = pome.json(&["stage", "test", dir]);
        let link = data(&link, "addendum")["link"].as_str().unwrap().to_owned();
        let out = home.path().join(format!("out {round}"));
        pome.ok(&["dump", &link, out.to_str().unwrap()]);
        for n in 0..400 {
            let name = format!("file {n}");
            let is = fs::read(out.join(&name)).unwrap();
            assert!(is == fs::read(project.dir.join(&name)).unwrap(), "{name}");
        }
        pome.ok(&["store", "check"]);
    };
    for round in 0..3 {
        for n in 0..400 {
            project.write(&format!("file {n}"), &format!("{round} {n} ").repeat(4_000));
        }
        let mut killed = spawn();
        // Somewhere in the middle, or at the end.
        let lines = BufReader::new(killed.stdout.take().unwrap()).lines();
        assert!(
            lines
                .take(3 + 150 * round as usize)
                .all(|line| line.is_ok())
        );
        killed.kill().unwrap();
        killed.wait().unwrap();
        follow(round);
        check(round);
    }
    for n in 0..400 {
        project.write(&format!("file {n}"), &format!("last {n} ").repeat(4_000));
    }
    let two = [spawn(), spawn()];
    let told = two.map(|child| child.wait_with_output().unwrap());
    let lengths = told.map(|output| {
        assert!(output.status.success());
        data(&process::lines(&output.stdout), "addendum")["version"].clone()
    });
    // The second had nothing left to do.
    assert_eq!(lengths[0], lengths[1]);
    check(4);
}

#[test]
fn a_project_is_staged_and_dumped() {
    let home = tempfile::tempdir().unwrap();
    let pome = Pome::new(home.path().join("store"));
    let project = Project {
        dir: home.path().join("project"),
    };
    for (path, text) in [
        (
            "package.json",
            r#"{ "name": "@team/notes", "version": "1.5.0", "pear": { "name": "notes-2", "stage": { "ignore": ["*.log", "!kept.log"] } } }"#,
        ),
        ("index.js", "console.log(1)"),
        ("a.log", "noise"),
        ("kept.log", "signal"),
        ("src/lib.js", "lib"),
        ("src/.git/HEAD", "not for others"),
        ("CHANGELOG.md", "# Changes\n\n## 2\n\nnew\n\n## 1\n\nold\n"),
    ] {
        project.write(path, text);
    }
    let dir = project.dir.to_str().unwrap();
    let stage = |args: &[&str]| pome.json(&[&["stage", "dev", dir], args].concat());
    let differences = |lines: &[Value]| -> Vec<(i64, String)> {
        let lines = lines.iter().filter(|line| line["tag"] == "byte-diff");
        let mut found: Vec<_> = lines
            .map(|line| {
                let path = line["data"]["message"].as_str().unwrap().to_owned();
                (line["data"]["type"].as_i64().unwrap(), path)
            })
            .collect();
        found.sort();
        found
    };
    let of = |kind: i64, paths: &[&str]| -> Vec<(i64, String)> {
        paths
            .iter()
            .map(|path| (kind, (*path).to_owned()))
            .collect()
    };
    let all = [
        "/CHANGELOG.md",
        "/index.js",
        "/kept.log",
        "/package.json",
        "/src/lib.js",
    ];

    let dry = stage(&["--dry-run"]);
    assert_eq!(differences(&dry), of(1, &all));
    assert_eq!(pome.fails(&["info", "dev", dir]), (3, "NOT_FOUND".into()));
    let first = stage(&[]);
    assert_eq!(differences(&first), of(1, &all));
    let staging = data(&first, "staging");
    assert_eq!(staging["name"], "notes-2");
    assert_eq!(staging["channel"], "dev");
    let end = data(&first, "addendum").clone();
    let key = end["key"].as_str().unwrap();
    assert_eq!(end["link"], format!("pear://{key}"));
    assert_eq!(end["verlink"], format!("pear://0.{}.{key}", end["version"]));
    // Seven files of which two are left out, and the records of channel and manifest, in a drive of the store.
    assert_eq!(end["version"], 1 + 2 + 5);
    assert!(differences(&stage(&[])).is_empty());
    assert_eq!(data(&stage(&[]), "addendum")["version"], end["version"]);
    let listed = pome.json(&["drive", "ls", "notes-2~dev"]);
    assert_eq!(listed.len(), all.len());
    // As npm's mirror writes it: what only this file system knows is not part of an app.
    let entry = listed
        .iter()
        .find(|entry| entry["key"] == "/index.js")
        .unwrap();
    assert_eq!(entry["value"]["executable"], false);
    assert_eq!(entry["value"]["metadata"], Value::Null);

    project.write("index.js", "console.log(2)");
    fs::remove_file(project.dir.join("src/lib.js")).unwrap();
    let mut expected = of(-1, &["/src/lib.js"]);
    expected.extend(of(0, &["/index.js"]));
    assert_eq!(differences(&stage(&[])), expected);
    // Nothing outside of it is changed.
    project.write("index.js", "console.log(3)");
    project.write("CHANGELOG.md", "## 3\n\nnewest\n");
    assert_eq!(
        differences(&stage(&["--only", "CHANGELOG.md"])),
        of(0, &["/CHANGELOG.md"])
    );
    assert!(differences(&stage(&["--ignore", "index.js"])).is_empty());
    let purged = stage(&["--ignore", "index.js", "--purge"]);
    assert_eq!(differences(&purged), of(-1, &["/index.js"]));
    assert_eq!(differences(&stage(&[])), of(1, &["/index.js"]));

    assert_eq!(
        pome.fails(&["release", "other", dir]),
        (3, "NOT_FOUND".into())
    );
    let link = format!("pear://{key}");
    let before = data(&stage(&[]), "addendum")["version"].as_u64().unwrap();
    let released = pome.json(&["release", "dev", dir]);
    let released = data(&released, "updating-to");
    assert_eq!(released["currentLength"], before);
    assert_eq!(released["releaseLength"], before + 1);
    project.write("index.js", "console.log(4)");
    stage(&[]);

    let info = pome.json(&["info", &link]);
    let shown = data(&info, "info");
    assert_eq!(shown["name"], "notes-2");
    assert_eq!(shown["channel"], "dev");
    assert_eq!(shown["release"], before + 1);
    assert_eq!(data(&info, "changelog")["changelog"], "## 3\n\nnewest");
    let info = pome.json(&["info", "--changelog", "--changelog-max", "2", &link]);
    assert_eq!(data(&info, "changelog")["changelog"], "## 3\n\nnewest");
    // What it was at a version, as long as that is its history.
    let old = format!("pear://0.{}.{key}", end["version"]);
    assert_eq!(
        pome.ok(&["drive", "get", &old, "/index.js"]),
        b"console.log(1)"
    );
    assert_eq!(pome.fails(&["core", "info", &old]).0, 2);
    let fork = format!("pear://7.{}.{key}", end["version"]);
    assert_eq!(pome.fails(&["drive", "ls", &fork]), (3, "NOT_FOUND".into()));
    let manifest = pome.json(&["info", "--manifest", "dev", dir]);
    assert_eq!(data(&manifest, "manifest")["manifest"]["version"], "1.5.0");

    // What was released, or what is newest.
    let out = home.path().join("out");
    let to = out.to_str().unwrap();
    pome.ok(&["dump", &link, to]);
    assert_eq!(fs::read(out.join("index.js")).unwrap(), b"console.log(3)");
    assert!(!out.join("a.log").exists());
    assert_eq!(pome.fails(&["dump", &link, to]).1, "ERR_DIR_NONEMPTY");
    pome.ok(&["dump", "--force", "--checkout", "staged", &link, to]);
    assert_eq!(fs::read(out.join("index.js")).unwrap(), b"console.log(4)");
    let part = home.path().join("part");
    let src = format!("{link}/src");
    project.write("src/lib.js", "lib");
    project.write("src/deep/other.js", "other");
    stage(&[]);
    let dump = [
        "dump",
        "--checkout",
        "staged",
        "--only",
        "index.js,src/deep",
        &src,
    ];
    pome.ok(&[&dump[..], &[part.to_str().unwrap()]].concat());
    assert!(part.join("src/deep/other.js").exists());
    assert!(!part.join("src/lib.js").exists() && !part.join("index.js").exists());
    let one = format!("{link}/index.js");
    assert_eq!(pome.ok(&["dump", &one, "-"]), b"console.log(3)");

    stage(&["--truncate", &end["version"].to_string()]);
    let info = pome.json(&["info", "--metadata", &link]);
    assert_eq!(data(&info, "info")["fork"], 1);
    assert_eq!(data(&info, "info")["release"][0], "Unreleased");

    for (args, code) in [
        (&["stage", "dev", "/"][..], "ERR_INVALID_PROJECT_DIR"),
        (
            &["stage", "dev", dir, "--name", "Not A Name"],
            "ERR_INVALID_APP_NAME",
        ),
        (&["stage", "a/b", dir], "ERR_INVALID_INPUT"),
        (&["stage", "pear://nobody", dir], "ERR_INVALID_LINK"),
        (
            &["release", "dev", dir, "--checkout", "999"],
            "ERR_INVALID_INPUT",
        ),
        (&["init", dir], "ERR_DIR_NONEMPTY"),
        (&["init", "--yes", "node-compat", dir], "ERR_DIR_NONEMPTY"),
        (&["init", "ui", "new"], "ERR_INVALID_TEMPLATE"),
        (&["init", "-t", "desktop", "new"], "ERR_INVALID_TEMPLATE"),
        (&["init", "pear://keet", "new"], "ERR_INVALID_TEMPLATE"),
        (&["init", "--with", "bun", "new"], "ERR_INVALID_TEMPLATE"),
        (&["shift", &link, "pear://nobody"], "ERR_INVALID_LINK"),
        (
            &["shift", &link, &format!("pear://{}", "y".repeat(52))],
            "ERR_INVALID_INPUT",
        ),
    ] {
        assert_eq!(pome.fails(args), (1, code.into()), "{args:?}");
    }
}

#[test]
fn links_are_made_before_there_is_an_app() {
    let home = tempfile::tempdir().unwrap();
    let pome = Pome::new(home.path().join("store"));
    let project = Project {
        dir: home.path().join("project"),
    };
    project.write("package.json", PACKAGE);
    let dir = project.dir.to_str().unwrap();
    let touched = pome.json(&["touch"]);
    let link = data(&touched, "final")["link"].as_str().unwrap();
    assert_eq!(pome.fails(&["release", link]).1, "ERR_UNSTAGED");
    let staged = pome.json(&["stage", link, dir]);
    assert_eq!(data(&staged, "addendum")["link"], link);
    let other = pome.json(&["touch"]);
    assert_ne!(data(&other, "final")["link"], link);
    // With a beginning of one's own it is an app like any other.
    let chosen = pome.json(&["touch", "--vanity", "y9"]);
    let link = data(&chosen, "final")["link"].as_str().unwrap();
    assert!(link.starts_with("pear://y9"), "{link}");
    let staged = pome.json(&["stage", link, dir]);
    assert_eq!(data(&staged, "addendum")["link"], link);
    assert_eq!(pome.fails(&["touch", "--vanity", "l0ve"]).0, 2);
}

#[test]
fn what_this_machine_keeps_of_apps() {
    let home = tempfile::tempdir().unwrap();
    let pome = Pome::new(home.path().join("store"));
    let dir = home.path().join("project");
    let folder = dir.to_str().unwrap();
    let project = Project { dir: dir.clone() };
    project.write("package.json", PACKAGE);
    project.write(
        "index.js",
        "const before = Pear.config.checkpoint; await Pear.checkpoint({ runs: (before?.runs ?? 0) + 1 })
console.log(JSON.stringify(before), Pear.config.dev, Pear.config.args.join())",
    );
    let run = |args: &[&str]| text(&pome.ok(&[&["run"], args].concat())).to_owned();
    assert_eq!(run(&[folder]), "null false \n");
    assert_eq!(run(&["-d", folder, "a", "b"]), "{\"runs\":1} true a,b\n");
    assert_eq!(run(&["--tmp-store", folder]), "null false \n");
    let clear = ["--unsafe-clear-app-storage", folder];
    assert_eq!(run(&clear), "null false \n");
    assert_eq!(run(&[folder]), "{\"runs\":1} false \n");
    let own = home.path().join("own");
    assert_eq!(
        pome.fails(&[&["run", "-s", own.to_str().unwrap()], &clear[..]].concat())
            .0,
        2
    );
    assert_eq!(run(&["-s", own.to_str().unwrap(), folder]), "null false \n");
    assert!(own.join("checkpoint").exists());

    let apps = pome.json(&["data", "apps"]);
    let app = &data(&apps, "apps")[0];
    assert_eq!(app["name"], "notes");
    let storage = PathBuf::from(app["appStorage"].as_str().unwrap());
    assert!(storage.join("checkpoint").exists());
    let lost = storage.parent().unwrap().join("lost");
    fs::create_dir(&lost).unwrap();
    let removed = pome.json(&["gc"]);
    assert_eq!(data(&removed, "complete")["count"], 1);
    assert!(!lost.exists() && storage.exists());

    let other = home.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::copy(dir.join("package.json"), other.join("package.json")).unwrap();
    fs::copy(dir.join("index.js"), other.join("index.js")).unwrap();
    let to = other.to_str().unwrap();
    assert_eq!(pome.fails(&["shift", to, folder]).1, "ERR_INVALID_INPUT");
    pome.ok(&["shift", folder, to]);
    assert_eq!(run(&[to]), "{\"runs\":2} false \n");
    assert_eq!(run(&[folder]), "null false \n");
    assert_eq!(pome.fails(&["shift", to, folder]).1, "ERR_INVALID_INPUT");
    pome.ok(&["shift", "--force", to, folder]);
    assert_eq!(run(&[folder]), "{\"runs\":3} false \n");
    project.write(
        "index.js",
        "console.log(JSON.stringify(Pear.config.links), Pear.config.dht.bootstrap.length)",
    );
    project.write("package.json", r#"{ "name": "a", "type": "module", "pear": { "links": { "one": "pear://keet", "two": "x" } } }"#);
    assert_eq!(
        run(&["--links", "two=file:///b,three=c=d", folder]),
        "{\"one\":\"pear://keet\",\"two\":\"file:///b\",\"three\":\"c=d\"} 0\n"
    );
    let versions = pome.json(&["versions"]);
    assert!(data(&versions, "version")["pome"].is_string());
}

#[test]
fn an_app_ends_as_it_says_and_talks_to_itself() {
    let home = tempfile::tempdir().unwrap();
    let pome = Pome::new(home.path().join("store"));
    let project = Project {
        dir: home.path().join("project"),
    };
    project.write(
        "package.json",
        r#"{ "name": "a", "pear": { "main": "other.js" } }"#,
    );
    project.write(
        "other.js",
        "const { teardown, messages, message } = Pear
console.log(Pear.app === Pear.config, Pear.key, Pear.argv === Bare.argv, Pear.pid === Bare.pid)
const fields = 'key length fork alias dev name main channel storage options env flags args checkout release link links route routes entrypoint fragment query linkData checkpoint applink dir dht assets prerunning startId swapDir pearDir'
console.log(fields.split(' ').filter((name) => !(name in Pear.app)).length)
for (const wrong of [[1], [() => {}, 0.5]]) try { teardown(...wrong) } catch (error) { console.log(error.code) }
teardown(() => console.log('second'))
teardown(async () => { await null; console.log('third') }, 1)
teardown(() => console.log('first'), -Infinity)
const all = messages({ type: 'a' }, (it) => console.log('all', it.n))
messages({ type: 'a', deep: { n: 1 } }, (it) => { console.log('some', it.n); Pear.exitCode = 300; Pear.exit() })
const ipc = Pear[Pear.constructor.IPC]
ipc.messages({ type: 'b' }).on('data', (it) => console.log('ipc', it.type))
message({ type: 'b' })
message({ type: 'a', n: 1 })
message({ type: 'a', n: 2, deep: { n: 1, m: 2 } })
Pear.reload().catch((error) => console.log(error.message))
",
    );
    let output = pome.run(&["run", project.dir.to_str().unwrap()]);
    let said = text(&output.stdout);
    let expected = [
        "true null true true",
        "0",
        "ERR_INVALID_INPUT",
        "ERR_INVALID_INPUT",
        "Pear.reload is not supported for terminal apps",
        "all 1",
        "all 2",
        "first",
        "ipc b",
        "second",
        "some 2",
        "third",
    ];
    let mut lines: Vec<_> = said.lines().collect();
    let ends: Vec<_> = lines
        .iter()
        .filter(|line| line.ends_with(['t', 'd']))
        .copied()
        .collect();
    assert_eq!(
        ends[ends.len() - 3..],
        ["first", "second", "third"],
        "{said}"
    );
    lines.sort_unstable();
    let mut sorted = expected.to_vec();
    sorted.sort_unstable();
    assert_eq!(lines, sorted, "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(300 & 0xff));
}

#[test]
fn an_app_starts_another_and_talks_with_it() {
    let home = tempfile::tempdir().unwrap();
    let pome = Pome::new(home.path().join("store"));
    let project = Project {
        dir: home.path().join("project"),
    };
    let files = [
        ("package.json", r#"{ "name": "a", "main": "index.js", "pear": {} }"#),
        (
            "index.js",
            "const run = require('pear-run')
console.log('pipe', require('pear-pipe')())
try { run('./../other.js') } catch (error) { console.log(error.code) }
const pipe = run('./lib/worker.js', ['one', 'two'])
let said = ''
pipe.on('data', (data) => {
  said += data
  if (!said.endsWith('\\n')) return
  console.log(said.trim())
  pipe.end()
})
pipe.write('hello')
pipe.on('close', () => {
  const crashes = run(Pear.app.dir + '/crashes.js')
  crashes.on('crash', ({ exitCode }) => console.log('crash', exitCode))
})
",
        ),
        (
            "lib/worker.js",
            "const pipe = require('pear-pipe')()
pipe.on('data', (data) => pipe.write(`${data} ${Pear.config.args.join()} ${pipe === require('pear-pipe')()} ${pipe.autoexit}\\n`))
Pear.teardown(() => console.log('worker ends'))
",
        ),
        ("crashes.js", "Bare.exit(7)"),
    ];
    for (path, text) in files {
        project.write(path, text);
    }
    let output = pome.run(&["run", project.dir.to_str().unwrap()]);
    assert_eq!(
        text(&output.stdout),
        "pipe null\nERR_INVALID_INPUT\nhello one,two true true\nworker ends\ncrash 7\n",
        "{}",
        text(&output.stderr)
    );
    assert!(output.status.success());
}

#[test]
fn the_binary_called_as_pear() {
    let home = tempfile::tempdir().unwrap();
    let pome = Pome::new(home.path().join("store"));
    let binary = home.path().join("pear");
    symlink(pome.command(&[]).get_program(), &binary).unwrap();
    let own = home.path().join("own");
    let pear = |args: &[&str]| {
        let mut command = std::process::Command::new(&binary);
        command.args(args).current_dir(home.path());
        command.envs(pome.variables()).env("POME_APPS", pome.apps());
        let output = command.output().unwrap();
        let stderr = text(&output.stderr);
        assert!(output.status.success(), "{args:?}: {stderr}");
        text(&output.stdout).to_owned()
    };
    pear(&["init", "-y", "-t", "terminal", "chat"]);
    fs::write(
        home.path().join("chat/index.js"),
        "console.log(Pear.config.storage)",
    )
    .unwrap();
    let said = pear(&[
        "-L",
        "1",
        "run",
        "--store",
        own.to_str().unwrap(),
        "-d",
        "chat",
    ]);
    assert_eq!(said.trim(), own.to_str().unwrap());

    // For node as well: the same names are Bare's here.
    pear(&["init", "-y", "node-compat", "both"]);
    let package = fs::read(home.path().join("both/package.json")).unwrap();
    let package: Value = serde_json::from_slice(&package).unwrap();
    assert_eq!(package["imports"]["fs"]["bare"], "bare-fs");
    assert_eq!(package["imports"]["fs"]["default"], "fs");
    assert!(package["dependencies"]["bare-fs"].is_string());
    let program = "import fs from 'fs'\nimport { join } from 'path'\nconsole.log(typeof fs.readFileSync, join('a', 'b'))\n";
    fs::write(home.path().join("both/index.js"), program).unwrap();
    assert_eq!(pear(&["run", "both"]), "function a/b\n");
    let node = Command::new("node")
        .arg("both/index.js")
        .current_dir(home.path())
        .output();
    if let Ok(output) = node {
        assert_eq!(text(&output.stdout), "function a/b\n");
    }
}

#[test]
fn what_is_wrong_with_an_app_is_said_and_stays_in_its_folder() {
    let test = "what_is_wrong_with_an_app_is_said_and_stays_in_its_folder";
    if !namespace::inside(test) {
        return;
    }
    let world = World::new();
    let link = hostile_app(&world.author);
    let manifest = format!("{{\"name\":\"{}\"}}", "x".repeat(5 << 20));
    let big = big_manifest(&world.author, &manifest);
    let _seeders = [world.seed_by(&[&link]), world.seed_by(&[&big])];
    let run = |path: &str| {
        let output = world.run_out(&["--trust", &format!("{link}{path}")]);
        let code = output.status.code();
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        (code, said)
    };
    assert_eq!(run(""), (Some(0), "a folder\n".into()));
    assert_eq!(run("/inside.js"), (Some(0), "inside\n".into()));
    assert_eq!(run("/../../../inside.js"), (Some(0), "inside\n".into()));
    for (path, word) in [
        ("/loop.js", "RECURSIVE_SYMLINK"),
        ("/nowhere.js", "ENOENT"),
        ("/missing.js", "MODULE_NOT_FOUND"),
        ("/huge.js", "FILE_TOO_LARGE"),
    ] {
        let (code, said) = run(path);
        assert!(
            code != Some(0) && said.contains(word),
            "{path}: {code:?} {said}"
        );
    }
    // What cannot be a file's name is left out, or nothing is written.
    let out = world.home.path().join("a/b/c/out");
    let dumped = world.user.run(&["dump", &link, out.to_str().unwrap()]);
    for folder in ["a/b/c", "a/b", "a", ""] {
        let folder = world.home.path().join(folder);
        assert!(!folder.join("escaped").exists(), "{dumped:?}");
    }
    assert!(!dumped.status.success() || out.join("inside.js").exists());
    // An author who says more of himself than fits.
    let output = world.run_out(&["--trust", &big]);
    let refused: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(refused["error"]["code"], "FILE_TOO_LARGE");
    assert_eq!(output.status.code(), Some(1));
}

/// What npm's modules make of an app of ours: the link, the files with what is said of them, Pear's records.
#[test]
fn npm_reads_a_staged_app() {
    let test = "npm_reads_a_staged_app";
    if !npm_works(test, &["hyperdrive", "pear-link"]) || !namespace::inside(test) {
        return;
    }
    let world = World::new();
    let package = r#"{ "name": "notes", "version": "2.0.0", "pear": { "stage": { "ignore": ["left-out"] } } }"#;
    let mut big: Vec<u8> = (0..3_000_000_u32)
        .flat_map(|n| n.wrapping_mul(n).to_le_bytes())
        .collect();
    let project = world.project(&[
        ("package.json", package),
        ("index.js", "console.log(1)"),
        ("left-out/a.js", "1"),
    ]);
    let at = |path: &str| project.dir.join(path);
    fs::write(at("big.bin"), &big).unwrap();
    project.write("bin/run.sh", "#!/bin/sh\n");
    fs::set_permissions(at("bin/run.sh"), Permissions::from_mode(0o755)).unwrap();
    symlink("index.js", at("link.js")).unwrap();
    world.stage(&project);
    big[5_000_000] ^= 1;
    fs::write(at("big.bin"), &big).unwrap();
    let dir = project.dir.to_str().unwrap();
    world.author.ok(&["release", "test", dir]);
    let staged = world.stage(&project);
    let _seeder = world.seed(&project);

    let link = staged["verlink"].as_str().unwrap();
    let folder = world.home.path().join("npm");
    let mut node = Command::new("node");
    node.arg(npm_folder().join("app.js"));
    node.args([&world.bootstrap, link]).arg(&folder);
    let output = node.output().unwrap();
    let stderr = text(&output.stderr);
    let seen: Value = serde_json::from_slice(&output.stdout).expect(stderr);

    let parsed: PearLink = link.parse().unwrap();
    assert_eq!(seen["parsed"]["key"], parsed.key.to_hex());
    assert_eq!(seen["parsed"]["length"], json!(parsed.length));
    assert_eq!(seen["parsed"]["fork"], seen["fork"]);
    assert_eq!(seen["parsed"]["origin"], staged["link"]);
    for (alias, key) in seen["aliases"].as_object().unwrap() {
        let link: PearLink = format!("pear://{alias}").parse().unwrap();
        assert_eq!(link.key.to_hex(), *key, "{alias}");
    }
    assert_eq!(seen["records"]["channel"], "test");
    let manifest: Value = serde_json::from_str(package).unwrap();
    assert_eq!(seen["records"]["manifest"], manifest);
    assert_eq!(seen["records"]["release"], staged["release"]);
    let file = |executable: bool, content: &[u8]| {
        let hash = Key(pome_cores::crypto::hash(&[content])).to_hex();
        json!({ "executable": executable, "linkname": null, "metadata": null, "content": hash })
    };
    let expected = json!({
        "/package.json": file(false, package.as_bytes()),
        "/index.js": file(false, b"console.log(1)"),
        "/big.bin": file(false, &big),
        "/bin/run.sh": file(true, b"#!/bin/sh\n"),
        "/link.js": { "executable": false, "linkname": "index.js", "metadata": null, "content": null },
    });
    assert_eq!(seen["files"], expected);
    // Of a file that changed a little only that was stored again.
    let stored = seen["blobs"].as_u64().unwrap();
    let size = big.len() as u64;
    assert!((size..size + size / 4).contains(&stored), "{stored}");
    assert_eq!(fs::read(folder.join("out/big.bin")).unwrap(), big);
}

/// What the files below a folder take on the disk.
fn size(folder: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let sizes = entries.map(|entry| {
        let found = entry.metadata().unwrap();
        match found.is_dir() {
            true => size(&entry.path()),
            false => found.blocks() * 512,
        }
    });
    sizes.sum()
}

/// Asks for one thing after the other, and says what became of it.
const NOSY: &str = r#"
import fs from 'bare-fs'
import os from 'bare-os'
import path from 'bare-path'
import tcp from 'bare-tcp'
import dns from 'bare-dns'
import env from 'bare-env'
import { spawnSync } from 'bare-subprocess'
import Corestore from 'corestore'
import Hypercore from 'hypercore'
import Localdrive from 'localdrive'

const [outside = '/etc/hostname', port = 1] = Pear.config.args
const own = path.join(Pear.config.storage, 'own')
fs.mkdirSync(own, { recursive: true })

async function attempt (name, work) {
  try {
    await work()
    console.log(name, 'done')
  } catch (error) {
    console.log(name, error.code, error.permission || '-', error.message.includes('--allow-'))
  }
}

const connected = () => new Promise((resolve, reject) => {
  const socket = tcp.createConnection(Number(port), '127.0.0.1')
  socket.on('connect', () => { socket.destroy(); resolve() }).on('error', reject)
})

await attempt('write-own', () => fs.writeFileSync(path.join(own, 'a'), 'a'))
await attempt('read', () => fs.readFileSync(outside))
await attempt('read-async', () => fs.promises.readFile(outside))
await attempt('list', () => fs.readdirSync(path.dirname(outside)))
await attempt('write', () => fs.writeFileSync(outside + '.new', 'x'))
await attempt('copy', () => fs.copyFileSync(outside, path.join(own, 'copy')))
await attempt('rename', () => fs.renameSync(path.join(own, 'a'), outside + '.moved'))
await attempt('link', () => fs.symlinkSync(outside, path.join(own, 'link-' + Date.now())))
await attempt('watch', () => fs.watch(path.dirname(outside)).close())
await attempt('import', () => import('file://' + outside, { with: { type: 'text' } }))
await attempt('chdir', () => os.chdir('/'))
await attempt('store', () => new Corestore(outside + '.store').ready())
await attempt('core', () => new Hypercore(outside + '.core').ready())
await attempt('folder', () => new Localdrive(path.dirname(outside)).ready())
await attempt('connect', connected)
await attempt('listen', () => new Promise((resolve, reject) => {
  const server = tcp.createServer()
  server.on('error', reject).listen(0, '127.0.0.1', () => server.close(resolve))
}))
await attempt('lookup', () => new Promise((resolve, reject) => {
  dns.lookup('localhost', (error) => error ? reject(error) : resolve())
}))
await attempt('spawn', () => { if (spawnSync('true').error) throw spawnSync('true').error })
await attempt('kill', () => os.kill(os.ppid(), 0))
await attempt('kill-self', () => os.kill(os.pid(), 0))
const thread = new Bare.Thread({ data: outside }, () => {})
thread.join()
console.log('env', env.POME_APPS ? 'seen' : 'hidden', env.POME_BOOTSTRAP ? 'seen' : 'hidden')
env.MINE = 'set'
console.log('own-env', env.MINE)
console.log('over')
"#;

/// What it may not, by the flag that allows it.
const FS: [&str; 12] = [
    "read",
    "read-async",
    "list",
    "write",
    "copy",
    "rename",
    "link",
    "watch",
    "chdir",
    "store",
    "core",
    "folder",
];
const NET: [&str; 3] = ["connect", "listen", "lookup"];
const RUN: [&str; 2] = ["spawn", "kill"];

#[test]
fn an_app_is_asked_for_and_kept_to_what_it_may() {
    if !namespace::inside("an_app_is_asked_for_and_kept_to_what_it_may") {
        return;
    }
    let world = World::new();
    let project = world.project(&[("package.json", PACKAGE), ("index.js", NOSY)]);
    let staged = world.stage(&project);
    let link = staged["link"].as_str().unwrap();
    let _seeder = world.seed(&project);

    // Nobody is there to be asked.
    let refused = world.run_out(&[link]);
    assert_eq!(refused.status.code(), Some(1));
    let refused: Value = serde_json::from_slice(&refused.stdout).unwrap();
    assert_eq!(refused["error"]["code"], "ERR_PERMISSION_REQUIRED");
    // Somebody is, and is not to be asked.
    let terminal = Terminal::new(&world.user, &["run", "--no-ask", link]);
    assert_eq!(terminal.end().status, 1);

    // Somebody is, and says no.
    let mut terminal = Terminal::new(&world.user, &["run", link]);
    terminal.reply("Type TRUST", "yes");
    assert_eq!(terminal.end().status, 1);
    let mut terminal = Terminal::new(&world.user, &["run", link]);
    terminal.reply("Type TRUST", "TRUST");
    let seen = terminal.end();
    assert!(
        seen.status == 0 && seen.screen.contains("over"),
        "{}",
        seen.screen
    );

    let outside = world.home.path().join("outside/secret");
    fs::create_dir_all(outside.parent().unwrap()).unwrap();
    fs::write(&outside, "a secret").unwrap();
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port().to_string();
    let outside = outside.to_str().unwrap();
    let folder = format!("--allow-fs={}", world.home.path().join("outside").display());

    let run = |flags: &[&str]| -> Vec<(String, String)> {
        let output = world.run_out(&[flags, &[link, outside, &port]].concat());
        let said = text(&output.stdout);
        assert!(said.ends_with("over\n"), "{said}{}", text(&output.stderr));
        let lines = said.lines().filter_map(|line| line.split_once(' '));
        lines.map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
    };
    let check = |flags: &[&str], allowed: &dyn Fn(&str) -> bool, env: &str| {
        let said = run(flags);
        let of = |name: &str| {
            let found = said.iter().find(|(one, _)| one == name);
            found
                .unwrap_or_else(|| panic!("{name}: {said:?}"))
                .1
                .clone()
        };
        for (names, permission) in [(&FS[..], "fs"), (&NET[..], "net"), (&RUN[..], "run")] {
            for name in names {
                let expected = match allowed(name) {
                    true => "done".to_owned(),
                    false => format!("PERMISSION_DENIED {permission} true"),
                };
                assert_eq!(of(name), expected, "{name} with {flags:?}");
            }
        }
        // Where it may not look there are no modules for it.
        let module = match allowed("read") {
            true => "done",
            false => "MODULE_NOT_FOUND - false",
        };
        assert_eq!(of("import"), module, "{flags:?}");
        assert_eq!(of("write-own"), "done");
        assert_eq!(of("kill-self"), "done");
        assert_eq!(of("env"), format!("{env} seen"));
        assert_eq!(of("own-env"), "set");
    };
    // It is trusted from then on.
    check(&[], &|_| false, "hidden");
    check(&["--allow-net"], &|name| NET.contains(&name), "hidden");
    check(
        &["--allow-run", "--allow-env"],
        &|name| RUN.contains(&name),
        "seen",
    );
    let everywhere = ["link", "chdir"];
    check(
        &[&folder],
        &|name| FS.contains(&name) && !everywhere.contains(&name),
        "hidden",
    );
    check(&["--allow-fs"], &|name| FS.contains(&name), "hidden");

    // A program from this disk may do what its user may.
    let dir = project.dir.to_str().unwrap();
    let output = world.run_out(&[dir, outside, &port]);
    let said = text(&output.stdout);
    assert!(
        !said.contains("PERMISSION_DENIED") && said.contains("spawn done"),
        "{said}"
    );
}
