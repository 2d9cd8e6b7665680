//! `pome init`: a project to begin with, as Pear's template for terminal apps has it. Source: Pear 1.16, `init/templates/terminal`.

use super::{Project, args::InitArgs, check_name, refuse_full};
use crate::cli::{failure::Failure, present::Presentation};
use pome_runtime::PearLink;
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, IsTerminal, Write},
    path::Path,
};

const CMD: &str = "init";

/// What the app does until its author has another idea.
const ENTRY: &str = "\
/* global Pear */
const { versions } = Pear

console.log('Pear terminal application running')
console.log(await versions())
";

const TEST: &str = "import test from 'brittle' // https://github.com/holepunchto/brittle\n";

/// The modules of Node that a program for both asks for, Bare's for each, and its version.
const NODE: [(&str, &str, &str); 20] = [
    ("assert", "bare-assert", "^1.2.0"),
    ("buffer", "bare-buffer", "^3.7.0"),
    ("child_process", "bare-subprocess", "^6.2.0"),
    ("console", "bare-console", "^6.2.0"),
    ("crypto", "bare-crypto", "^1.15.0"),
    ("dns", "bare-dns", "^2.2.0"),
    ("events", "bare-events", "^2.9.0"),
    ("fs", "bare-fs", "^4.8.0"),
    ("http", "bare-http1", "^4.6.0"),
    ("https", "bare-https", "^3.1.0"),
    ("net", "bare-net", "^2.3.0"),
    ("os", "bare-os", "^3.9.0"),
    ("path", "bare-path", "^3.1.0"),
    ("process", "bare-process", "^4.5.0"),
    ("readline", "bare-readline", "^1.3.0"),
    ("stream", "bare-stream", "^2.13.0"),
    ("tty", "bare-tty", "^5.2.0"),
    ("url", "bare-url", "^2.5.0"),
    ("util", "bare-utils", "^1.6.0"),
    ("zlib", "bare-zlib", "^1.4.0"),
];

/// Which template, and the folder.
fn wanted(args: &InitArgs) -> Result<(bool, &Path), Failure> {
    let (template, dir) = match args.at.as_slice() {
        [template, dir] => (Some(template.as_str()), dir.as_str()),
        [dir] => (None, dir.as_str()),
        _ => (None, ""),
    };
    let invalid = |message: String| Failure::new("ERR_INVALID_TEMPLATE", message);
    let of = |template: &str| match template {
        "default" | "terminal" => Ok(false),
        "node-compat" | "terminal-node" => Ok(true),
        "ui" | "desktop" => Err(invalid("windows are not there: `terminal` is".into())),
        link if PearLink::is_link(link) => Err(invalid(
            "a template of somebody else's has code that would run before anybody has trusted it"
                .into(),
        )),
        other => Err(invalid(format!(
            "there is no template {other:?}: `terminal` and `node-compat` are"
        ))),
    };
    let mut with_node = false;
    for template in template.into_iter().chain(args.r#type.as_deref()) {
        with_node |= of(template)?;
    }
    match args.with.as_deref() {
        None => {}
        Some("node") => with_node = true,
        Some(other) => {
            return Err(invalid(format!(
                "a template has no {other:?}: `node` it may have"
            )));
        }
    }
    Ok((with_node, Path::new(dir)))
}

/// Makes the project. Needs no store.
pub(crate) fn init(args: &InitArgs, how: Presentation) -> Result<(), Failure> {
    let (with_node, dir) = wanted(args)?;
    let here = std::env::current_dir().map_err(|e| Failure::io("the working folder", &e))?;
    let dir = here.join(dir);
    let at = |error: &std::io::Error| Failure::io(&dir.display().to_string(), error);
    if !args.force {
        refuse_full(&dir)?;
    }
    let folder = dir.components().next_back().map(|part| {
        let name = part.as_os_str().to_string_lossy().to_lowercase();
        name.replace([' ', '.'], "-")
    });
    let old = match dir.join("package.json").exists() {
        true => Some(Project::find(&dir)?.package),
        false => None,
    };
    let known = |field: &str| old.as_ref()?.get(field)?.as_str().map(str::to_owned);
    let name = args.name.clone().or_else(|| known("name"));
    let name = name.or(folder).unwrap_or_default();
    let main = known("main").unwrap_or_else(|| "index.js".into());
    let license = known("license").unwrap_or_else(|| "Apache-2.0".into());
    let asks = !args.yes && std::io::stdin().is_terminal();
    let name = ask(asks && args.name.is_none(), "name", name, |name| {
        check_name(name).is_ok()
    })?;
    check_name(&name)?;
    let main = ask(asks, "main", main, |main| main.ends_with(".js"))?;
    let license = ask(asks, "license", license, |_| true)?;
    let mut package = json!({
        "name": name,
        "main": main,
        "pear": { "name": name, "type": "terminal" },
        "type": "module",
        "license": license,
        "scripts": { "dev": "pear run -d .", "test": "brittle test/*.test.js" },
        "devDependencies": { "brittle": "^3.0.0" },
    });
    if with_node {
        let imports = NODE.iter().map(|(node, bare, _)| {
            let either = json!({ "bare": bare, "default": node });
            ((*node).to_owned(), either)
        });
        package["imports"] = Value::Object(imports.collect());
        let packages = NODE
            .iter()
            .map(|(_, bare, version)| ((*bare).to_owned(), json!(version)));
        package["dependencies"] = Value::Object(packages.collect());
    }
    if let (Some(Value::Object(old)), Some(new)) = (old, package.as_object_mut()) {
        for (field, value) in old {
            new.entry(field).or_insert(value);
        }
    }
    let text = serde_json::to_string_pretty(&package).unwrap_or_default() + "\n";
    tell(how, "writing", &json!({}), "");
    fs::create_dir_all(dir.join("test")).map_err(|e| at(&e))?;
    let files = [
        ("package.json", text.as_str()),
        (main.trim_start_matches("./"), ENTRY),
        ("test/index.test.js", TEST),
    ];
    for (path, text) in files {
        let file = dir.join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent).map_err(|e| at(&e))?;
        }
        fs::write(&file, text).map_err(|e| Failure::io(&file.display().to_string(), &e))?;
        let line = format!("wrote {}", file.display());
        tell(how, "wrote", &json!({ "path": format!("/{path}") }), &line);
    }
    tell(how, "written", &json!({}), "");
    Ok(())
}

/// What a person types, until it fits; what is in the brackets when nothing is typed.
fn ask(
    asks: bool,
    what: &str,
    default: String,
    fits: impl Fn(&str) -> bool,
) -> Result<String, Failure> {
    if !asks {
        return Ok(default);
    }
    loop {
        eprint!("{what} [{default}]: ");
        let _ = std::io::stderr().flush();
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line);
        if read.map_err(|e| Failure::io("stdin", &e))? == 0 {
            return Ok(default);
        }
        match line.trim() {
            "" => return Ok(default),
            line if fits(line) => return Ok(line.to_owned()),
            _ => eprintln!("that does not fit"),
        }
    }
}

fn tell(how: Presentation, tag: &str, data: &Value, text: &str) {
    super::machine::tell(how, (CMD, tag), data, text);
}
