//! Pear's words: an app is made, staged, seeded, and run by its key in other processes, on a network of the test's own. Each test that needs a network runs in a
//! namespace with nothing but loopback.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]
#![allow(dead_code, reason = "what is shared with tests that use all of it")]

mod apps_world;
mod process;

use apps_world::App;
use pome_test_support::namespace;
use process::{Peers, Pome, talk::Talker, terminal::Terminal};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

/// A network; who writes an app, and who runs it.
struct World {
    home: tempfile::TempDir,
    author: Pome,
    user: Pome,
    _testnet: Talker,
}

impl World {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let nobody = Pome::new(home.path().join("nobody"));
        let child = nobody
            .command(&["--json", "dht", "testnet", "4"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut testnet = Talker::new(child);
        let event = testnet.line();
        let bootstrap = event["bootstrap"].as_str().unwrap().to_owned();
        let pome = |name: &str| {
            let store = home.path().join(name);
            Pome::new(store).with(Peers::Dht(bootstrap.clone()))
        };
        Self {
            author: pome("author"),
            user: pome("user"),
            home,
            _testnet: testnet,
        }
    }

    /// A project of these files.
    fn project(&self, files: &[(&str, &str)]) -> Project {
        let dir = self.home.path().join("project");
        let project = Project { dir };
        for (path, text) in files {
            project.write(path, text);
        }
        project
    }

    /// `pome stage` of a project; what it says at the end.
    fn stage(&self, project: &Project) -> Value {
        let dir = project.dir.to_str().unwrap();
        let lines = self.author.json(&["stage", "test", dir]);
        data(&lines, "addendum").clone()
    }

    /// `pome seed`, once others find it.
    fn seed(&self, project: &Project) -> App {
        let dir = project.dir.to_str().unwrap();
        let child = self
            .author
            .command(&["seed", "test", dir])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut seeder = App::new("seed".into(), child);
        seeder.says("announced");
        seeder
    }

    /// `pome run` by key.
    fn run(&self, args: &[&str]) -> App {
        let child = self
            .user
            .command(&[&["run"], args].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        App::new("run".into(), child)
    }

    /// Nothing of any app's drive is here any more: what runs next is what its author has, not what was here when nobody was found at once.
    fn forget(&self) {
        fs::remove_dir_all(self.user.apps().join("drives")).unwrap();
    }

    /// The same to its end.
    fn run_out(&self, args: &[&str]) -> Output {
        self.user.run(&[&["--json", "run"], args].concat())
    }
}

struct Project {
    dir: PathBuf,
}

impl Project {
    fn write(&self, path: &str, text: &str) {
        let file = self.dir.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
}

/// What one line of Pear's has.
fn data<'a>(lines: &'a [Value], tag: &str) -> &'a Value {
    let line = lines.iter().find(|line| line["tag"] == tag);
    &line.unwrap_or_else(|| panic!("no {tag} in {lines:?}"))["data"]
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

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
    world.forget();
    let mut app = world.run(&[link]);
    assert_eq!(app.says("words"), "second 7 7 a package");
    assert_eq!(app.says("config"), format!("notes test {released}"));
    app.says("ready");
    let next = world.author.json(&["release", "test", dir]);
    let next = &data(&next, "updating-to")["releaseLength"];
    assert_eq!(app.says("update"), format!("true {next} true"));
    drop(app);
    world.forget();
    let mut staged = world.run(&["--checkout", "staged", link]);
    assert_eq!(staged.says("words"), "third 7 7 a package");
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
    let own = home.path().join("own");
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
    let said = pear(&["run", "--store", own.to_str().unwrap(), "-d", "chat"]);
    assert_eq!(said.trim(), own.to_str().unwrap());
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
