//! Which of its two kinds the Hypercore stack has in a program. Its packages reach into each other, so it is one kind for all of them:
//!
//! - **native**: the runtime's own modules over the Rust core, whatever `node_modules` has;
//! - **npm**: npm's JavaScript out of `node_modules`; only what would be an addon is the runtime's own.
//!
//! A program is of the npm kind when it is told so, or when it needs a package that builds on the insides of npm's. That is looked up before it starts, in what its files
//! import and in the dependencies of its packages, and at the latest when such a package is asked for; a program that has begun with the native modules by then gets an error.

use serde_json::Value;
use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

/// The packages that are of one kind or the other.
const FAMILY: &[&str] = &[
    "@hyperswarm/secret-stream",
    "corestore",
    "dht-rpc",
    "hyperbee",
    "hyperblobs",
    "hypercore",
    "hyperdht",
    "hyperdrive",
    "hyperswarm",
    "localdrive",
    "mirror-drive",
    "protomux",
];

/// Packages that build on the insides of npm's, and have no native kind.
const NEEDS_NPM: &[&str] = &[
    "autobase",
    "autobee",
    "autopass",
    "blind-pairing",
    "blind-peering",
    "hyperbee2",
    "hypercore-storage",
    "hyperdb",
];

/// More files and packages than this are not looked into.
const LOOKED_INTO_MAX: usize = 2_000;

const UNDECIDED: u8 = 0;
const NATIVE: u8 = 1;
const NPM: u8 = 2;

/// The kind of a program, which all its threads share.
#[derive(Debug, Clone, Default)]
pub(crate) struct Profile(Arc<AtomicU8>);

/// A package was asked for that does not go with the kind of the program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Conflict;

/// The package of a specifier: `hypercore` of `hypercore/lib/messages.js`.
fn package(specifier: &str) -> &str {
    let skipped = match specifier.starts_with('@') {
        true => specifier.find('/').map_or(specifier.len(), |at| at + 1),
        false => 0,
    };
    let end = specifier[skipped..].find('/');
    end.map_or(specifier, |end| &specifier[..skipped + end])
}

impl Profile {
    /// Says that the program is of the npm kind.
    pub(crate) fn set_npm(&self) {
        self.0.store(NPM, Ordering::Relaxed);
    }

    pub(crate) fn is_npm(&self) -> bool {
        self.0.load(Ordering::Relaxed) == NPM
    }

    /// Its name, for errors.
    pub(crate) fn name(&self) -> &'static str {
        match self.is_npm() {
            true => "npm",
            false => "native",
        }
    }

    /// True when the runtime answers for `specifier` with a module of its own. Decides what kind the program is, if that is open.
    pub(crate) fn is_own(&self, specifier: &str) -> bool {
        if !FAMILY.contains(&package(specifier)) {
            return true;
        }
        let is_open = self.0.load(Ordering::Relaxed) == UNDECIDED;
        if is_open && super::find(specifier).is_some() {
            self.0.store(NATIVE, Ordering::Relaxed);
        }
        !self.is_npm()
    }

    /// Makes the program one of the npm kind, if `specifier` needs that.
    ///
    /// # Errors
    /// When it is of the native kind already.
    pub(crate) fn suit(&self, specifier: &str) -> Result<(), Conflict> {
        if !NEEDS_NPM.contains(&package(specifier)) {
            return Ok(());
        }
        match self.0.load(Ordering::Relaxed) {
            NATIVE => Err(Conflict),
            _ => {
                self.set_npm();
                Ok(())
            }
        }
    }

    /// Looks whether the program in `file` needs the npm kind.
    pub(crate) fn look(&self, file: &Path) {
        let Ok(file) = fs::canonicalize(file) else {
            return;
        };
        let has_packages = file
            .ancestors()
            .any(|folder| folder.join("node_modules").is_dir());
        if has_packages && needs_npm(&file) {
            self.set_npm();
        }
    }
}

/// What is to be looked into.
#[derive(Default)]
struct Search {
    files: Vec<PathBuf>,
    /// Folders of packages.
    packages: Vec<PathBuf>,
    seen: HashSet<PathBuf>,
}

impl Search {
    /// True when the name is one of those.
    fn name(&mut self, name: &str, from: &Path) -> bool {
        if NEEDS_NPM.contains(&name) {
            return true;
        }
        // What these need is theirs, in one kind or the other.
        if FAMILY.contains(&name) {
            return false;
        }
        let mut folders = from
            .ancestors()
            .map(|folder| folder.join("node_modules").join(name));
        if let Some(folder) = folders.find(|folder| folder.join("package.json").is_file())
            && self.seen.insert(folder.clone())
        {
            self.packages.push(folder);
        }
        false
    }

    fn file(&mut self, path: PathBuf) {
        let mut tried = ["", ".js", ".cjs", ".mjs", ".ts", "/index.js"].map(|end| {
            let mut whole = path.clone().into_os_string();
            whole.push(end);
            PathBuf::from(whole)
        });
        if let Some(found) = tried.iter_mut().find(|path| path.is_file())
            && self.seen.insert(found.clone())
        {
            self.files.push(std::mem::take(found));
        }
    }

    /// What a program begins with: a file, or a folder whose package says which.
    fn entry(&mut self, path: &Path) {
        let info = fs::read_to_string(path.join("package.json")).ok();
        let info = info.and_then(|text| serde_json::from_str::<Value>(&text).ok());
        match info.as_ref().and_then(|info| info.get("main")?.as_str()) {
            Some(main) => self.file(path.join(main)),
            None => self.file(path.to_path_buf()),
        }
    }

    fn dependencies(&mut self, folder: &Path) -> bool {
        let Some(info) = fs::read_to_string(folder.join("package.json"))
            .ok()
            .and_then(|text| serde_json::from_str::<Value>(&text).ok())
        else {
            return false;
        };
        let Some(dependencies) = info.get("dependencies").and_then(Value::as_object) else {
            return false;
        };
        dependencies.keys().any(|name| self.name(name, folder))
    }
}

fn needs_npm(file: &Path) -> bool {
    let mut search = Search::default();
    search.entry(file);
    let own = file
        .ancestors()
        .find(|folder| folder.join("package.json").is_file());
    if own.is_some_and(|folder| search.dependencies(folder)) {
        return true;
    }
    while search.seen.len() < LOOKED_INTO_MAX {
        if let Some(file) = search.files.pop() {
            let Ok(text) = fs::read_to_string(&file) else {
                continue;
            };
            let folder = file.parent().unwrap_or(Path::new("/"));
            for specifier in specifiers(&text) {
                if specifier.starts_with("./") || specifier.starts_with("../") {
                    search.file(folder.join(specifier));
                } else if search.name(package(specifier), folder) {
                    return true;
                }
            }
        } else if let Some(folder) = search.packages.pop() {
            if search.dependencies(&folder) {
                return true;
            }
        } else {
            return false;
        }
    }
    false
}

/// What a text seems to import: quoted, on one line, after `require(`, `import(`, `import` or `from`. A name in a comment may be among them.
fn specifiers(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| {
        let mut rest = line;
        let mut found = Vec::new();
        while let Some(open) = rest.find(['\'', '"', '`']) {
            let quote = &rest[open..=open];
            let before = rest[..open].trim_end();
            let Some(end) = rest[open + 1..].find(quote) else {
                break;
            };
            let quoted = &rest[open + 1..open + 1 + end];
            let is_import = ["require(", "import(", "import", "from"]
                .iter()
                .any(|word| before.ends_with(word));
            if is_import && !quoted.is_empty() {
                found.push(quoted);
            }
            rest = &rest[open + 2 + end..];
        }
        found
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_text_imports() {
        let text = "import a from 'one'\nconst b = require( \"./two.js\" ), c = await import(`@x/three`)\nimport 'four'\nconsole.log('five')\n";
        let found: Vec<_> = specifiers(text).collect();
        assert_eq!(found, ["one", "./two.js", "@x/three", "four"]);
    }

    #[test]
    fn the_first_of_the_family_decides() {
        let profile = Profile::default();
        assert!(profile.is_own("b4a") && !profile.is_npm());
        assert_eq!(profile.suit("autobase/lib/store.js"), Ok(()));
        assert!(profile.is_npm() && !profile.is_own("hypercore"));
        assert!(!profile.is_own("@hyperswarm/secret-stream/x") && profile.is_own("bare-fs"));

        let profile = Profile::default();
        assert!(profile.is_own("corestore"));
        assert_eq!(profile.suit("autobase"), Err(Conflict));
        assert_eq!(profile.name(), "native");
    }

    #[test]
    fn a_dependency_of_a_dependency_counts() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("app.js", "const part = require('./part')\n");
        write("part.js", "module.exports = require('plain')\n");
        write("node_modules/plain/package.json", r#"{"name":"plain"}"#);
        let needs = || {
            let profile = Profile::default();
            profile.look(&folder.path().join("app.js"));
            profile.is_npm()
        };
        assert!(!needs());
        let deep = r#"{"dependencies":{"deeper":"1"}}"#;
        write("node_modules/plain/package.json", deep);
        let own = r#"{"dependencies":{"hypercore-storage":"3","corestore":"7"}}"#;
        write("node_modules/corestore/package.json", own);
        write(
            "node_modules/deeper/package.json",
            r#"{"dependencies":{"corestore":"7"}}"#,
        );
        assert!(!needs());
        write(
            "node_modules/deeper/package.json",
            r#"{"dependencies":{"autobase":"7"}}"#,
        );
        assert!(needs());
    }
}
