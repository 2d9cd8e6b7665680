//! Projects, who seeds them and who runs them, on a network of a test's own.

use super::{
    apps_world::App,
    process::{
        Peers, Pome,
        talk::{Talker, testnet},
    },
};
use pome_cores::{Corestore, Store};
use pome_drive_fs::Hyperdrive;
use serde_json::Value;
use std::{
    fs,
    path::PathBuf,
    process::{Output, Stdio},
    time::Duration,
};

/// A network; who writes an app, and who runs it.
pub(crate) struct World {
    pub(crate) home: tempfile::TempDir,
    pub(crate) author: Pome,
    pub(crate) user: Pome,
    pub(crate) bootstrap: String,
    _testnet: Talker,
}

impl World {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let (testnet, bootstrap) = testnet(home.path());
        let pome = |name: &str| {
            let store = home.path().join(name);
            Pome::new(store).with(Peers::Dht(bootstrap.clone()))
        };
        Self {
            author: pome("author"),
            user: pome("user"),
            home,
            bootstrap,
            _testnet: testnet,
        }
    }

    /// A project of these files.
    pub(crate) fn project(&self, files: &[(&str, &str)]) -> Project {
        let dir = self.home.path().join("project");
        let project = Project { dir };
        for (path, text) in files {
            project.write(path, text);
        }
        project
    }

    /// `pome stage` of a project; what it says at the end.
    pub(crate) fn stage(&self, project: &Project) -> Value {
        let dir = project.dir.to_str().unwrap();
        let lines = self.author.json(&["stage", "test", dir]);
        data(&lines, "addendum").clone()
    }

    /// `pome seed`, once others find it.
    pub(crate) fn seed(&self, project: &Project) -> App {
        self.seed_by(&["test", project.dir.to_str().unwrap()])
    }

    pub(crate) fn seed_by(&self, args: &[&str]) -> App {
        let child = self
            .author
            .command(&[&["seed"], args].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut seeder = App::new("seed".into(), child);
        seeder.says("announced");
        seeder
    }

    /// `pome run` by key.
    pub(crate) fn run(&self, args: &[&str]) -> App {
        let child = self
            .user
            .command(&[&["run"], args].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        App::new("run".into(), child)
    }

    /// The same to its end.
    pub(crate) fn run_out(&self, args: &[&str]) -> Output {
        self.user.run(&[&["--json", "run"], args].concat())
    }
}

pub(crate) struct Project {
    pub(crate) dir: PathBuf,
}

impl Project {
    pub(crate) fn write(&self, path: &str, text: &str) {
        let file = self.dir.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
}

/// What one line of Pear's has.
pub(crate) fn data<'a>(lines: &'a [Value], tag: &str) -> &'a Value {
    let line = lines.iter().find(|line| line["tag"] == tag);
    &line.unwrap_or_else(|| panic!("no {tag} in {lines:?}"))["data"]
}

pub(crate) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A drive that no tool of ours or npm's writes.
pub(crate) fn hostile_app(author: &Pome) -> String {
    pome_test_support::block_on(Duration::from_secs(30), async {
        let cores =
            Corestore::open(Store::open(&author.store, Default::default()).unwrap()).unwrap();
        let namespace = cores.namespace("hostile");
        let drive = Hyperdrive::open(namespace, Default::default())
            .await
            .unwrap();
        for (path, text) in [
            ("/package.json", r#"{ "name": "hostile", "main": "lib" }"#),
            ("/lib/index.js", "console.log('a folder')"),
            ("/inside.js", "console.log('inside')"),
            ("/out/escaped", "through a link"),
        ] {
            drive.put(path, text, Default::default()).await.unwrap();
        }
        let outside = author.store.parent().unwrap();
        for (path, target) in [
            ("/loop.js", "/pool.js"),
            ("/pool.js", "/loop.js"),
            ("/nowhere.js", "/missing.js"),
            ("/out", outside.to_str().unwrap()),
            ("/up.js", "../../../../inside.js"),
        ] {
            drive
                .symlink(path, target, Default::default())
                .await
                .unwrap();
        }
        let file = drive.entry("/inside.js").await.unwrap().unwrap().value;
        let mut huge = file.clone();
        if let Some(blob) = &mut huge.blob {
            (blob.byte_length, blob.block_length) = (1 << 40, 1 << 20);
        }
        for (path, value) in [
            ("/../../escaped", &file),
            ("/a/../../../escaped", &file),
            ("/a//b/./c", &file),
            ("relative", &file),
            ("/huge.js", &huge),
        ] {
            let key = [b"files\0", path.as_bytes()].concat();
            drive.db().put(&key, value.encode()).await.unwrap();
        }
        let key = drive.key();
        cores.close().await.unwrap();
        format!("pear://{key}")
    })
}

pub(crate) fn big_manifest(author: &Pome, manifest: &str) -> String {
    pome_test_support::block_on(Duration::from_secs(30), async {
        let cores =
            Corestore::open(Store::open(&author.store, Default::default()).unwrap()).unwrap();
        let drive = Hyperdrive::open(cores.namespace("big"), Default::default())
            .await
            .unwrap();
        drive
            .put("/package.json", manifest.to_owned(), Default::default())
            .await
            .unwrap();
        let key = drive.key();
        cores.close().await.unwrap();
        format!("pear://{key}")
    })
}
