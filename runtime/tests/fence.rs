//! Programs that may not do everything try to: what they may reach is what they were allowed, however they ask for it.
#![allow(clippy::unwrap_used, reason = "a test that panics says where")]

use pome_runtime::{Exit, Options, Permissions, Runtime};
use serde_json::{Map, Value};
use std::{
    fs,
    os::unix::{fs::PermissionsExt, fs::symlink, net::UnixListener},
    path::{Path, PathBuf},
};

const THEIRS: &str = "theirs, and longer";

/// A folder that a program may use, `own`, and one beside it that it may not.
struct Ground {
    _place: tempfile::TempDir,
    own: PathBuf,
    outside: PathBuf,
}

impl Ground {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(place.path()).unwrap();
        let (own, outside) = (top.join("own"), top.join("outside"));
        fs::create_dir(&own).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), THEIRS).unwrap();
        fs::write(outside.join("secret.js"), "module.exports = 1").unwrap();
        Self {
            _place: place,
            own,
            outside,
        }
    }

    fn start(&self, program: &str) {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/fence");
        let file = self.own.join(program);
        fs::copy(from.join(program), &file).unwrap();
        let mut options = Options::default();
        options.permissions = Permissions::nothing().with_folder(&self.own);
        assert_eq!(Runtime::new(options).run_file(&file), Exit::Code(0));
    }

    /// What the program of that name has written down.
    fn run(&self, program: &str) -> Map<String, Value> {
        self.start(program);
        let results = fs::read(self.own.join("results.json")).unwrap();
        serde_json::from_slice(&results).unwrap()
    }

    /// All that is outside, with its mode and content.
    fn seen(&self) -> Vec<(PathBuf, u32, i64, Vec<u8>)> {
        let mut seen = Vec::new();
        for entry in fs::read_dir(&self.outside).unwrap() {
            let path = entry.unwrap().path();
            let about = fs::symlink_metadata(&path).unwrap();
            let content = fs::read(&path).unwrap_or_default();
            let mtime = std::os::unix::fs::MetadataExt::mtime(&about);
            seen.push((path, about.permissions().mode(), mtime, content));
        }
        seen.sort();
        seen
    }
}

#[test]
fn nothing_is_reached_that_was_not_allowed() {
    let ground = Ground::new();
    let own = &ground.own;
    symlink(&ground.outside, own.join("out")).unwrap();
    symlink("nowhere", own.join("dangling")).unwrap();
    symlink("deep/er", own.join("in")).unwrap();
    fs::create_dir(own.join("links")).unwrap();
    symlink("../out", own.join("links/up")).unwrap();
    fs::write(own.join("mine"), "mine").unwrap();
    let _listens = UnixListener::bind(ground.outside.join("socket")).unwrap();
    let before = ground.seen();
    let results = ground.run("asks.js");
    assert_eq!(ground.seen(), before);

    let known = [
        ("itself lstat", "done true"),
        ("itself readlink", "done true"),
        ("itself rename", "done"),
        ("itself rm", "done"),
        // Nobody says that it is there.
        ("module require", "MODULE_NOT_FOUND"),
        ("module import", "MODULE_NOT_FOUND"),
        ("module text", "MODULE_NOT_FOUND"),
        ("module asset", "ASSET_NOT_FOUND"),
        ("module link", "MODULE_NOT_FOUND"),
        ("module worker", "MODULE_NOT_FOUND"),
        ("descriptors", "done "),
        ("net fetchFile", "UNKNOWN_PROTOCOL"),
        ("own read", "done abcd"),
        ("own relative", "done abcd"),
        ("own stat", "done 4"),
        ("own mode", "done 600"),
        ("own mtime", "done 5000"),
        ("own realpath", "done true"),
        ("own linkIn", "done ab"),
        ("own list", "done a,b"),
        ("own mkdtemp", "done true"),
        ("own statfs", "done true"),
        ("own module", "done 5"),
        ("mirror link", "done"),
        ("mirror made", "done a"),
        ("mirror through", "LINK_IN_THE_WAY"),
    ];
    let mut wrong = Vec::new();
    for (name, result) in &results {
        let result = result.as_str().unwrap();
        let expected = match known.iter().find(|(known, _)| known == name) {
            Some((_, expected)) => expected,
            None if name.starts_with("own ") => "done",
            None => "PERMISSION_DENIED",
        };
        if result != expected {
            wrong.push(format!("{name}: {result}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(results.len() > 180, "{}", results.len());
    for link in ["mirrored/x", "mirrored/z"] {
        assert!(fs::symlink_metadata(own.join(link)).is_err());
    }
    assert!(fs::symlink_metadata(own.join("links2/up")).is_err());
    assert!(fs::symlink_metadata(own.join("out2")).is_err());
}

#[test]
fn a_path_that_leads_elsewhere_by_then_is_not_followed() {
    let ground = Ground::new();
    let own = &ground.own;
    for folder in ["there/folder", "trap"] {
        fs::create_dir_all(own.join(folder)).unwrap();
    }
    fs::write(own.join("there/file"), "ours").unwrap();
    symlink(ground.outside.join("secret"), own.join("trap/file")).unwrap();
    symlink(&ground.outside, own.join("trap/folder")).unwrap();
    let before = ground.seen();
    let got = ground.run("swaps.js");
    assert_eq!(ground.seen(), before);
    assert_eq!(got.len(), 16);
    for (name, times) in got {
        assert_eq!(times, 0, "{name}");
    }
}

#[test]
fn the_files_and_channels_of_another_program_in_the_process_are_not_reached() {
    let ground = Ground::new();
    let got = std::thread::scope(|scope| {
        let holder = scope.spawn(|| ground.start("holds.js"));
        while !ground.own.join("numbers.json").exists() {
            assert!(!holder.is_finished());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        // A thread of its own: the holder hears of its end also when it fails, and then does not wait for ever.
        let got = scope.spawn(|| ground.run("reaches.js")).join();
        fs::write(ground.own.join("reached"), "").unwrap();
        got.unwrap()
    });
    assert_eq!(got["numbers"], 3);
    assert_eq!(got["reached"], 0);
    assert_eq!(got["refused"], 12);
}
