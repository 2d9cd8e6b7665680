//! From a specifier and the module that has it to a URL. After the algorithm of bare-module-resolve 1.12: the same one for `import`, `require` and
//! assets, which differ in one condition.
//!
//! ```text
//! a URL → the package's imports, then those of `with { imports }` → a relative path: file, then folder
//!       → a builtin → the package itself → node_modules, upwards → one of Node's names
//! ```

use super::{engines, source::Source};
use serde_json::{Map, Value};
use url::Url;

/// Extensions that are tried after a path as it stands.
const EXTENSIONS: &[&str] = &[
    ".js", ".cjs", ".mjs", ".ts", ".cts", ".mts", ".json", ".bare", ".node",
];

/// What is looked for, besides the specifier.
pub(crate) struct Wish<'a> {
    /// In the order of the package's keys, the first of these that a condition names is taken; `default` always is.
    pub(crate) conditions: Vec<String>,
    pub(crate) extensions: &'a [&'a str],
    /// True for assets, which may be folders.
    pub(crate) is_asset: bool,
    /// The map of `with { imports }`.
    pub(crate) imports: Option<Value>,
    /// Resolutions known beforehand: per URL of a module a map of imports.
    pub(crate) resolutions: Option<Value>,
    /// The builtin of a name.
    pub(crate) builtin: &'a dyn Fn(&str) -> Option<String>,
    /// The builtin for one of Node's names.
    pub(crate) node_builtin: &'a dyn Fn(&str) -> Option<String>,
}

/// Why nothing was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// Nothing is there; what was tried.
    NotFound(Vec<String>),
    /// The specifier or a package is wrong: code and message.
    Wrong(&'static str, String),
}

/// The extensions for a type of module (the numbers are those of `Module.constants.types`; 0 is any).
pub(crate) fn extensions(kind: u32) -> &'static [&'static str] {
    match kind {
        1 => &[".js", ".cjs", ".ts", ".cts"],
        2 => &[".js", ".mjs", ".ts", ".mts"],
        3 => &[".json"],
        4 => &[".bundle"],
        5 => &[".bare", ".node"],
        6 => &[".bin"],
        7 => &[".txt"],
        8 => &[],
        _ => EXTENSIONS,
    }
}

/// Finds the module.
pub(crate) fn resolve(
    source: &dyn Source,
    specifier: &str,
    parent: &Url,
    wish: &Wish<'_>,
) -> Result<String, Failed> {
    let mut search = Search {
        source,
        wish,
        candidates: Vec::new(),
        targets: Vec::new(),
        folders: 0,
    };
    match search.module(specifier, parent) {
        Err(Stop::Found(href)) => Ok(href),
        Err(Stop::Wrong(code, message)) => Err(Failed::Wrong(code, message)),
        Ok(_) => match (wish.node_builtin)(specifier) {
            Some(name) => Ok(format!("builtin:{name}")),
            None => Err(Failed::NotFound(search.candidates)),
        },
    }
}

/// The `package.json` that a module belongs to.
pub(crate) fn package_of(
    source: &dyn Source,
    url: &Url,
) -> Result<Option<std::rc::Rc<Value>>, Failed> {
    for package in scopes(url) {
        if let Some(info) = read_package(source, &package).map_err(|stop| match stop {
            Stop::Wrong(code, message) => Failed::Wrong(code, message),
            Stop::Found(_) => Failed::NotFound(Vec::new()),
        })? {
            return Ok(Some(info));
        }
    }
    Ok(None)
}

/// The search is over.
enum Stop {
    Found(String),
    Wrong(&'static str, String),
}

/// Whether a step had candidates: then the steps after it are not for this specifier.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Had {
    Nothing,
    Candidates,
    /// A map that leads to itself.
    Cycle,
}

impl Had {
    fn or(self, other: Self) -> Self {
        match self {
            Self::Nothing => other,
            _ => self,
        }
    }
}

type Step = Result<Had, Stop>;

struct Search<'a> {
    source: &'a dyn Source,
    wish: &'a Wish<'a>,
    candidates: Vec<String>,
    /// The targets of maps that are being followed.
    targets: Vec<String>,
    /// How many folders lead to each other by their `main`.
    folders: u32,
}

/// More folders than this that name each other as their `main` are a circle.
const FOLDERS_MAX: u32 = 16;

fn is_relative(specifier: &str) -> bool {
    matches!(specifier, "." | "..")
        || ["/", "\\", "./", ".\\", "../", "..\\"]
            .iter()
            .any(|start| specifier.starts_with(start))
}

fn join(base: &Url, path: &str) -> Result<Url, Stop> {
    base.join(path).map_err(|_| {
        Stop::Wrong(
            "INVALID_MODULE_SPECIFIER",
            format!("Module specifier '{path}' is invalid"),
        )
    })
}

fn is_opaque(url: &Url) -> bool {
    url.cannot_be_a_base() || !url.path().starts_with('/')
}

/// The places of `package.json` from a module upwards, until a `node_modules`.
fn scopes(url: &Url) -> Vec<Url> {
    let mut found = Vec::new();
    if is_opaque(url) {
        return found;
    }
    let mut path = url.path();
    loop {
        if path.ends_with("/node_modules") {
            return found;
        }
        let Some(end) = path.rfind('/') else {
            return found;
        };
        path = &path[..end];
        let mut package = url.clone();
        package.set_query(None);
        package.set_fragment(None);
        package.set_path(&format!("{path}/package.json"));
        found.push(package);
        if path.is_empty() {
            return found;
        }
    }
}

/// The folders of a package in `node_modules`, from the nearest upwards.
fn roots(url: &Url, name: &str) -> Vec<Url> {
    let mut found = Vec::new();
    if is_opaque(url) {
        return found;
    }
    let mut path = url.path();
    while let Some(end) = path.rfind('/') {
        path = &path[..end];
        let mut root = url.clone();
        root.set_query(None);
        root.set_fragment(None);
        root.set_path(&format!("{path}/node_modules/{name}/"));
        found.push(root);
    }
    found
}

fn read_package(source: &dyn Source, url: &Url) -> Result<Option<std::rc::Rc<Value>>, Stop> {
    source
        .package(url)
        .map_err(|message| Stop::Wrong("SYNTAX_ERROR", message))
}

impl Search<'_> {
    fn candidate(&mut self, url: Url) -> Step {
        if self.source.exists(&url, self.wish.is_asset) {
            return Err(Stop::Found(self.source.real(&url).to_string()));
        }
        self.candidates.push(url.to_string());
        Ok(Had::Candidates)
    }

    fn module(&mut self, specifier: &str, parent: &Url) -> Step {
        if let Some(known) = self.known(parent) {
            match self.imports_exports(specifier, &known, parent, true)? {
                Had::Nothing => {}
                had => return Ok(had),
            }
        }
        for step in [Self::url, Self::package_imports] {
            match step(self, specifier, parent)? {
                Had::Nothing => {}
                had => return Ok(had),
            }
        }
        if is_relative(specifier) {
            if let Some(Value::Object(imports)) = &self.wish.imports {
                match self.imports_exports(specifier, imports, parent, true)? {
                    Had::Nothing => {}
                    had => return Ok(had),
                }
            }
            let had = self.file(specifier, parent, false)?;
            return Ok(had.or(self.directory(specifier, parent)?));
        }
        self.package(specifier, parent)
    }

    fn known(&self, parent: &Url) -> Option<Map<String, Value>> {
        let known = self.wish.resolutions.as_ref()?.get(parent.as_str())?;
        known.as_object().cloned()
    }

    fn url(&mut self, specifier: &str, parent: &Url) -> Step {
        let Ok(url) = Url::parse(specifier) else {
            return Ok(Had::Nothing);
        };
        if let Some(Value::Object(imports)) = &self.wish.imports {
            match self.imports_exports(url.as_str(), imports, parent, true)? {
                Had::Nothing | Had::Cycle => {}
                Had::Candidates => return Ok(Had::Candidates),
            }
        }
        match url.scheme() {
            "node" => {
                let name = url.path();
                if is_relative(name) {
                    return Err(Stop::Wrong(
                        "INVALID_MODULE_SPECIFIER",
                        format!("Module specifier '{specifier}' is not a valid package name"),
                    ));
                }
                // Named as Node's own: a package of that name comes first, the runtime's after.
                self.package(name, parent)
            }
            "builtin" => match (self.wish.builtin)(url.path()) {
                Some(name) => Err(Stop::Found(format!("builtin:{name}"))),
                None => {
                    self.candidates.push(url.to_string());
                    Ok(Had::Candidates)
                }
            },
            _ => self.candidate(url),
        }
    }

    fn package_imports(&mut self, specifier: &str, parent: &Url) -> Step {
        if specifier == "#" || specifier.starts_with("#/") {
            return Err(Stop::Wrong(
                "INVALID_MODULE_SPECIFIER",
                format!("Module specifier '{specifier}' is not a valid internal imports specifier"),
            ));
        }
        for place in scopes(parent) {
            let Some(info) = read_package(self.source, &place)? else {
                continue;
            };
            if let Some(imports) = info.get("imports").and_then(Value::as_object) {
                match self.imports_exports(specifier, imports, &place, true)? {
                    Had::Nothing => {}
                    had => return Ok(had),
                }
            }
            if specifier.starts_with('#') {
                return Err(Stop::Wrong(
                    "PACKAGE_IMPORT_NOT_DEFINED",
                    format!(
                        "Package import specifier '{specifier}' is not defined by \"imports\" in '{place}'"
                    ),
                ));
            }
            break;
        }
        match &self.wish.imports {
            Some(Value::Object(imports)) => self.imports_exports(specifier, imports, parent, true),
            _ => Ok(Had::Nothing),
        }
    }

    fn package(&mut self, specifier: &str, parent: &Url) -> Step {
        let invalid = || {
            Stop::Wrong(
                "INVALID_MODULE_SPECIFIER",
                format!("Module specifier '{specifier}' is not a valid package name"),
            )
        };
        let name_ends = match specifier.strip_prefix('@') {
            None => specifier.find('/'),
            Some(_) => {
                let scope = specifier.find('/').ok_or_else(invalid)?;
                specifier[scope + 1..].find('/').map(|at| scope + 1 + at)
            }
        };
        let name = &specifier[..name_ends.unwrap_or(specifier.len())];
        if name.is_empty() || name.starts_with('.') || name.contains(['\\', '%']) {
            return Err(invalid());
        }
        if let Some(name) = (self.wish.builtin)(specifier) {
            return Err(Stop::Found(format!("builtin:{name}")));
        }
        let subpath = format!(".{}", &specifier[name.len()..]);
        for place in scopes(parent) {
            let Some(info) = read_package(self.source, &place)? else {
                continue;
            };
            if info.get("name").and_then(Value::as_str) == Some(name) {
                match self.in_package(&info, &subpath, &place)? {
                    Had::Nothing => {}
                    had => return Ok(had),
                }
            }
            break;
        }
        for root in roots(parent, name) {
            let place = join(&root, "package.json")?;
            let Some(info) = read_package(self.source, &place)? else {
                continue;
            };
            if let Some(demands) = info.get("engines").and_then(Value::as_object) {
                engines::check(demands, &place)
                    .map_err(|message| Stop::Wrong("UNSUPPORTED_ENGINE", message))?;
            }
            return self.in_package(&info, &subpath, &place);
        }
        Ok(Had::Nothing)
    }

    fn in_package(&mut self, info: &Value, subpath: &str, place: &Url) -> Step {
        if let Some(exports) = info.get("exports").filter(|exports| is_truthy(exports)) {
            return self.package_exports(place, subpath, exports);
        }
        let mut subpath = subpath;
        if subpath == "." {
            match info.get("main").and_then(Value::as_str) {
                Some(main) if !main.is_empty() => subpath = main,
                _ => return self.file("index", place, true),
            }
        }
        let had = self.file(subpath, place, false)?;
        Ok(had.or(self.directory(subpath, place)?))
    }

    fn package_exports(&mut self, place: &Url, subpath: &str, exports: &Value) -> Step {
        let keys = exports.as_object();
        if let Some(keys) = keys {
            let relative = keys.keys().filter(|key| key.starts_with('.')).count();
            if relative != 0 && relative != keys.len() {
                return Err(Stop::Wrong(
                    "INVALID_PACKAGE_CONFIGURATION",
                    format!(
                        "\"exports\" in '{place}' cannot contain some keys starting with '.' and some not"
                    ),
                ));
            }
        }
        let is_map = keys.is_some_and(|keys| keys.keys().any(|key| key.starts_with('.')));
        let had = match (subpath, keys) {
            (".", Some(keys)) if is_map => match keys.get(".") {
                Some(target) => self.target(place, target, None, false)?,
                None => Had::Nothing,
            },
            (".", _) => self.target(place, exports, None, false)?,
            (_, Some(keys)) if is_map => self.imports_exports(subpath, keys, place, false)?,
            _ => Had::Nothing,
        };
        match had {
            Had::Nothing => Err(Stop::Wrong(
                "PACKAGE_PATH_NOT_EXPORTED",
                format!("Package subpath '{subpath}' is not defined by \"exports\" in '{place}'"),
            )),
            had => Ok(had),
        }
    }

    fn imports_exports(
        &mut self,
        key: &str,
        map: &Map<String, Value>,
        place: &Url,
        is_imports: bool,
    ) -> Step {
        if !key.contains('*')
            && let Some(target) = map.get(key)
        {
            return self.target(place, target, None, is_imports);
        }
        let mut patterns: Vec<_> = map.keys().filter(|pattern| pattern.contains('*')).collect();
        // The longest before the star first, then the longest as a whole.
        patterns.sort_by_key(|pattern| std::cmp::Reverse((pattern.find('*'), pattern.len())));
        for pattern in patterns {
            let Some((base, trailer)) = pattern.split_once('*') else {
                continue;
            };
            let fits = key.starts_with(base)
                && key != base
                && (trailer.is_empty() || (key.ends_with(trailer) && key.len() >= pattern.len()));
            if fits {
                let middle = key[base.len()..key.len() - trailer.len()].to_owned();
                return self.target(place, &map[pattern], Some(&middle), is_imports);
            }
        }
        Ok(Had::Nothing)
    }

    fn target(
        &mut self,
        place: &Url,
        target: &Value,
        middle: Option<&str>,
        is_imports: bool,
    ) -> Step {
        match target {
            Value::String(target) => {
                if !target.starts_with("./") && !is_imports {
                    return Err(Stop::Wrong(
                        "INVALID_PACKAGE_TARGET",
                        format!("Invalid target '{target}' defined by \"exports\" in '{place}'"),
                    ));
                }
                let target = match middle {
                    Some(middle) => target.replace('*', middle),
                    None => target.clone(),
                };
                if self.targets.contains(&target) {
                    return Ok(Had::Cycle);
                }
                self.targets.push(target.clone());
                let had = self.text_target(place, &target);
                self.targets.pop();
                had
            }
            Value::Array(targets) => {
                let mut had = Had::Nothing;
                for target in targets {
                    had = had.or(self.target(place, target, middle, is_imports)?);
                }
                Ok(had)
            }
            Value::Object(conditions) => {
                let matched = conditions.iter().find(|(condition, _)| {
                    *condition == "default" || self.wish.conditions.contains(condition)
                });
                match matched {
                    Some((_, target)) => self.target(place, target, middle, is_imports),
                    None => Ok(Had::Nothing),
                }
            }
            _ => Ok(Had::Nothing),
        }
    }

    fn text_target(&mut self, place: &Url, target: &str) -> Step {
        match self.url(target, place)? {
            Had::Nothing => {}
            had => return Ok(had),
        }
        if !is_relative(target) {
            return self.package(target, place);
        }
        if is_opaque(place) {
            return Ok(Had::Nothing);
        }
        let url = join(place, target)?;
        self.candidate(url)
    }

    fn file(&mut self, path: &str, base: &Url, is_index: bool) -> Step {
        if matches!(path, "." | "..") || path.ends_with(['/', '\\']) || is_opaque(base) {
            return Ok(Had::Nothing);
        }
        let lower = path.to_ascii_lowercase();
        if base.scheme() == "file" && (lower.contains("%2f") || lower.contains("%5c")) {
            return Err(Stop::Wrong(
                "INVALID_MODULE_SPECIFIER",
                format!("Module specifier '{path}' is invalid"),
            ));
        }
        let mut had = Had::Nothing;
        if !is_index {
            had = self.candidate(join(base, path)?)?;
        }
        for extension in self.wish.extensions {
            if !path.ends_with(extension) {
                had = self.candidate(join(base, &format!("{path}{extension}"))?)?;
            }
        }
        Ok(had)
    }

    fn directory(&mut self, path: &str, base: &Url) -> Step {
        if is_opaque(base) {
            return Ok(Had::Nothing);
        }
        let folder = match path.ends_with(['/', '\\']) {
            true => join(base, path)?,
            false => join(base, &format!("{path}/"))?,
        };
        let place = join(&folder, "package.json")?;
        if let Some(info) = read_package(self.source, &place)? {
            if let Some(exports) = info.get("exports").filter(|exports| is_truthy(exports)) {
                return self.package_exports(&place, ".", exports);
            }
            if let Some(main) = info.get("main").and_then(Value::as_str)
                && !main.is_empty()
                && self.folders < FOLDERS_MAX
            {
                self.folders += 1;
                let had = self.file(main, &folder, false)?;
                return Ok(had.or(self.directory(main, &folder)?));
            }
        }
        self.file("index", &folder, true)
    }
}

fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::String(text) => !text.is_empty(),
        _ => true,
    }
}
