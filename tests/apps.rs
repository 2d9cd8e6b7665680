//! Apps as people write them, two at a time: each is `pome run` in a process of its own, on a network of the test's own. Each test runs in a namespace with
//! nothing but loopback.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]
#![allow(dead_code, reason = "process/ is shared with tests that use all of it")]

mod process;

use pome_test_support::namespace;
use process::{Peers, Pome, talk::Talker};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

/// Longer than anything takes: what did not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A network, and a home for all apps of a test.
struct World {
    home: tempfile::TempDir,
    pome: Pome,
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
        let pome = Pome::new(home.path().join("store")).with(Peers::Dht(bootstrap));
        Self {
            home,
            pome,
            _testnet: testnet,
        }
    }

    /// `pome run` of an app of `tests/programs`.
    fn app(&self, name: &str, args: &[&str]) -> App {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/programs")
            .join(name)
            .join("index.js");
        let args = [&["run", file.to_str().unwrap()], args].concat();
        let child = self
            .pome
            .command(&args)
            .env("POME_APPS", self.home.path().join("apps"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        App::new(name, child)
    }
}

/// A running app. Dropped, it is killed.
struct App {
    name: String,
    child: Child,
    input: ChildStdin,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl App {
    fn new(name: &str, mut child: Child) -> Self {
        let (sender, lines) = mpsc::channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            name: name.to_owned(),
            input: child.stdin.take().unwrap(),
            child,
            lines,
            seen: Vec::new(),
        }
    }

    /// The next line that starts like this; what follows comes back.
    fn says(&mut self, start: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("{} never said {start:?}, but {:?}", self.name, self.seen);
            };
            if let Some(rest) = line.strip_prefix(start) {
                return rest.trim().to_owned();
            }
            self.seen.push(line);
        }
    }

    fn type_in(&mut self, text: &str) {
        self.input.write_all(text.as_bytes()).unwrap();
        self.input.flush().unwrap();
    }

    /// Ctrl-C; how it ends.
    fn interrupt(mut self) -> Option<i32> {
        let id = self.child.id().to_string();
        let sent = std::process::Command::new("kill")
            .args(["-INT", &id])
            .status()
            .unwrap();
        assert!(sent.success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn two_peers_by_key() {
    if !namespace::inside("two_peers_by_key") {
        return;
    }
    let world = World::new();
    let mut server = world.app("server", &[]);
    let key = server.says("key");
    let mut client = world.app("client", &[&key]);
    client.says("connected");
    client.type_in("from the client\n");
    server.says("somebody is here");
    server.says("from the client");
    server.type_in("from the server\n");
    client.says("from the server");
    assert_eq!(server.interrupt(), Some(130));
}

#[test]
fn many_peers_by_topic() {
    if !namespace::inside("many_peers_by_topic") {
        return;
    }
    let world = World::new();
    let mut first = world.app("peer", &[]);
    let topic = first.says("topic");
    let mut second = world.app("peer", &[&topic]);
    assert_eq!(second.says("peer"), "64");
    first.says("peer");
    let mut third = world.app("peer", &[&topic]);
    third.says("peer");
    third.says("peer");
    third.type_in("hello all");
    first.says("heard: hello all");
    second.says("heard: hello all");
    assert_eq!(third.interrupt(), Some(130));
}

#[test]
fn a_core_is_written_and_read() {
    if !namespace::inside("a_core_is_written_and_read") {
        return;
    }
    let world = World::new();
    let mut writer = world.app("writer", &[]);
    let key = writer.says("key");
    writer.type_in("before");
    let mut reader = world.app("reader", &[&key]);
    // What was typed may have been appended by then, or not.
    let length: u32 = reader.says("length").parse().unwrap();
    if length == 0 {
        reader.says("block 0: before");
    }
    writer.type_in("first");
    reader.says("block 1: first");
    writer.type_in("second");
    reader.says("block 2: second");
    assert_eq!(reader.interrupt(), Some(130));
    assert_eq!(writer.interrupt(), Some(130));

    // All of it is there the next time, at both.
    let mut writer = world.app("writer", &[]);
    assert_eq!(writer.says("key"), key);
    let mut reader = world.app("reader", &[&key]);
    assert_eq!(reader.says("length"), "3");
    writer.type_in("third");
    reader.says("block 3: third");
}

#[test]
fn many_cores_of_a_store() {
    if !namespace::inside("many_cores_of_a_store") {
        return;
    }
    let world = World::new();
    let mut writer = world.app("many-writer", &[]);
    let key = writer.says("key");
    let mut reader = world.app("many-reader", &[&key]);
    reader.says("listening");
    writer.type_in("abc");
    reader.says("core 0 block 0: abc");
    writer.type_in("something long");
    reader.says("core 1 block 0: something long");
}

#[test]
fn a_bee_is_shared() {
    if !namespace::inside("a_bee_is_shared") {
        return;
    }
    let world = World::new();
    let mut writer = world.app("bee-writer", &[]);
    let key = writer.says("key");
    let mut reader = world.app("bee-reader", &[&key]);
    reader.type_in("pear\n");
    reader.says("pear -> another pome");
    reader.type_in("apple\n");
    reader.says("apple -> a pome");
    reader.type_in("nobody\n");
    reader.says("no nobody");
    let mut block = world.app("block-reader", &[&key]);
    assert_eq!(block.says("block"), "3 pear another pome");
    assert_eq!(block.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_drive_follows_another() {
    if !namespace::inside("a_drive_follows_another") {
        return;
    }
    let world = World::new();
    let (from, to) = (world.home.path().join("from"), world.home.path().join("to"));
    fs::create_dir(&from).unwrap();
    fs::write(from.join("one.txt"), "one").unwrap();
    let mut writer = world.app("drive-writer", &[from.to_str().unwrap()]);
    let key = writer.says("key");
    writer.type_in("\n");
    assert_eq!(
        writer.says("mirrored"),
        r#"{"files":1,"add":1,"remove":0,"change":0}"#
    );
    let mut reader = world.app("drive-reader", &[&key, to.to_str().unwrap()]);
    while fs::read(to.join("one.txt")).unwrap_or_default() != b"one" {
        reader.says("mirrored");
    }
    fs::write(from.join("two.txt"), "two").unwrap();
    fs::remove_file(from.join("one.txt")).unwrap();
    writer.type_in("\n");
    while to.join("one.txt").exists() || fs::read(to.join("two.txt")).unwrap_or_default() != b"two"
    {
        reader.says("mirrored");
    }
}
