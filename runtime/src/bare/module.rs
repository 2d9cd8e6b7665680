//! The native half of `bare-module`: paths and URLs, files, and the engine's compiler.

use super::start;
use crate::{
    builtin,
    engine::{
        bytes::Bytes,
        error::{JsError, os_error},
        host::Host,
        script,
    },
    module::{
        self, lexer,
        resolve::{self, Failed, Wish},
        source::{Disk, Packages, Protocol, Source, path_of},
        typescript,
    },
    permissions,
};
use rquickjs::{Ctx, Error, Function, Object, Result, Value, prelude::Opt};
use std::{io, path::Path};
use url::Url;

pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let native = start::platform(ctx)?;
    let (platform, arch): (String, String) = (native.get("platform")?, native.get("arch")?);
    native.set("host", format!("{platform}-{arch}"))?;
    macro_rules! functions {
        ($($name:literal: $function:path),* $(,)?) => {
            $(native.set($name, Function::new(ctx.clone(), $function)?)?;)*
        };
    }
    functions! {
        "setHooks": set_hooks,
        "builtin": load_builtin,
        "run": run,
        "compile": compile,
        "lex": lex,
        "adapter": adapter,
        "exportsOf": exports_of,
        "resolve": find,
        "stripTypes": strip_types,
        "packageType": package_type,
        "realpath": real_path,
        "exists": exists,
        "readText": read_text,
        "readBytes": read_bytes,
        "toHref": to_href,
        "toPath": to_path,
        "toDirname": to_dirname,
        "extension": extension,
    }
    Ok(native)
}

fn set_hooks<'js>(ctx: Ctx<'js>, hooks: Object<'js>) {
    module::set_hooks(&ctx, hooks);
}

fn load_builtin<'js>(ctx: Ctx<'js>, name: String) -> Result<Value<'js>> {
    builtin::load(&ctx, &name)
}

/// The module that fits the exports of this one of npm's to what is below it here.
fn adapter(ctx: Ctx<'_>, href: String) -> Option<&'static str> {
    let adapters = [
        ("hypercore-storage/index.js", "pome-npm/storage"),
        ("hyperdht/lib/constants.js", "pome-npm/bootstrap"),
    ];
    let is_it = |file: &str| {
        let front = href.strip_suffix(file);
        front.is_some_and(|front| front.ends_with("/node_modules/"))
    };
    let found = adapters.into_iter().find(|(file, _)| is_it(file))?;
    Host::get(&ctx).profile.is_npm().then_some(found.1)
}

fn run<'js>(ctx: Ctx<'js>, href: String) -> Result<Value<'js>> {
    module::run(&ctx, &href)
}

/// The function that a CommonJS module is. Its first line is the file's.
fn compile<'js>(ctx: Ctx<'js>, href: String, source: String) -> Result<Function<'js>> {
    script::compile(&ctx, &href, &module::without_shebang(source))
}

fn lex<'js>(ctx: Ctx<'js>, source: String) -> Result<Object<'js>> {
    let found = lexer::commonjs(&source);
    let object = Object::new(ctx)?;
    object.set("exports", found.exports)?;
    object.set("reexports", found.reexports)?;
    Ok(object)
}

fn exports_of(source: String) -> Vec<String> {
    lexer::esm_exports(&source)
}

/// The source without types, of a file that may have some.
fn strip_types(ctx: Ctx<'_>, source: String) -> Result<String> {
    typescript::strip(&source)
        .map_err(|error| JsError::syntax_error("", error.to_string()).throw(&ctx))
}

fn parse(ctx: &Ctx<'_>, href: &str) -> Result<Url> {
    Url::parse(href).map_err(|error| {
        JsError::type_error("INVALID_URL", format!("Invalid URL '{href}': {error}")).throw(ctx)
    })
}

fn with_source<'js, R>(
    ctx: &Ctx<'js>,
    protocol: Option<Object<'js>>,
    work: impl FnOnce(&dyn Source) -> R,
) -> Result<R> {
    if let Some(protocol) = protocol {
        return Ok(work(&Protocol(protocol)));
    }
    let packages = ctx.userdata::<Packages>().ok_or(Error::Unknown)?;
    Ok(work(&Disk {
        packages: &packages,
        ctx,
    }))
}

fn json<'js>(options: &Object<'js>, name: &str) -> Result<Option<serde_json::Value>> {
    let text: Option<String> = options.get(name)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
}

/// A URL, or an object that says why there is none.
fn find<'js>(
    ctx: Ctx<'js>,
    specifier: String,
    parent: String,
    kind: String,
    type_number: u32,
    options: Object<'js>,
) -> Result<Value<'js>> {
    let parent = parse(&ctx, &parent)?;
    let mut conditions: Vec<String> = match options.get::<_, Option<Vec<String>>>("conditions")? {
        Some(conditions) => conditions,
        None => default_conditions(),
    };
    conditions.push(kind.clone());
    let profile = Host::get(&ctx).profile.clone();
    if profile.suit(&specifier).is_err() {
        return Err(JsError::new(
            "PROFILE_MIXED",
            format!(
                "PROFILE_MIXED: '{specifier}' needs npm's Hypercore stack, and this program has begun with the native one: run it with --npm"
            ),
        )
        .throw(&ctx));
    }
    let own: Option<Vec<String>> = options.get("builtins")?;
    let builtin = |name: &str| match &own {
        Some(own) if own.iter().any(|one| one == name) => Some(name.to_owned()),
        _ => builtin::find(name)
            .filter(|_| profile.is_own(name))
            .map(str::to_owned),
    };
    let is_asset = kind == "asset";
    let wish = Wish {
        conditions,
        extensions: resolve::extensions(type_number),
        is_asset,
        imports: json(&options, "imports")?,
        resolutions: json(&options, "resolutions")?,
        builtin: &|name| if is_asset { None } else { builtin(name) },
        node_builtin: &|name| match is_asset {
            true => None,
            false => builtin::find_for_node(name).map(str::to_owned),
        },
    };
    let found = with_source(&ctx, options.get("source")?, |source| {
        resolve::resolve(source, &specifier, &parent, &wish)
    })?;
    match found {
        Ok(href) => rquickjs::IntoJs::into_js(href, &ctx),
        Err(failed) => {
            let object = Object::new(ctx)?;
            match failed {
                Failed::NotFound(candidates) => {
                    object.set("code", "NOT_FOUND")?;
                    object.set("candidates", candidates)?;
                }
                Failed::Wrong(code, message) => {
                    object.set("code", code)?;
                    object.set("message", message)?;
                }
            }
            Ok(object.into_value())
        }
    }
}

fn default_conditions() -> Vec<String> {
    let platform = match std::env::consts::OS {
        "macos" => "darwin",
        "windows" => "win32",
        other => other,
    };
    let arch = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        "x86" => "ia32",
        other => other,
    };
    ["bare", "node", platform, arch].map(str::to_owned).into()
}

fn package_type<'js>(
    ctx: Ctx<'js>,
    href: String,
    protocol: Option<Object<'js>>,
) -> Result<Option<String>> {
    let url = parse(&ctx, &href)?;
    let package = with_source(&ctx, protocol, |source| resolve::package_of(source, &url))?;
    match package {
        Ok(package) => Ok(package.and_then(|info| {
            let kind = info.get("type")?.as_str()?;
            Some(kind.to_owned())
        })),
        Err(Failed::Wrong(_, message)) => Err(JsError::syntax_error("", message).throw(&ctx)),
        Err(Failed::NotFound(_)) => Ok(None),
    }
}

fn real_path(ctx: Ctx<'_>, href: String) -> Result<String> {
    let url = parse(&ctx, &href)?;
    with_source(&ctx, None, |source| source.real(&url).to_string())
}

fn exists(ctx: Ctx<'_>, href: String, is_asset: bool) -> Result<bool> {
    let url = parse(&ctx, &href)?;
    with_source(&ctx, None, |source| source.exists(&url, is_asset))
}

fn read_file(ctx: &Ctx<'_>, href: &str) -> Result<Vec<u8>> {
    let url = parse(ctx, href)?;
    if let Some(drive) = Host::get(ctx).app.clone()
        && let Some(path) = drive.path_of(&url)
    {
        return match drive.read(&path) {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(os_error(
                ctx,
                &io::ErrorKind::NotFound.into(),
                "open",
                Some(Path::new(href)),
            )),
            Err(error) => {
                let message = format!("{}: {href}: {error}", error.code());
                Err(JsError::new(error.code(), message).throw(ctx))
            }
        };
    }
    let Some(path) = path_of(&url) else {
        return Err(JsError::new(
            "UNKNOWN_PROTOCOL",
            format!("UNKNOWN_PROTOCOL: Cannot load module '{href}'"),
        )
        .throw(ctx));
    };
    let place = permissions::file(ctx, &path).map_err(|refused| refused.throw(ctx))?;
    let read = place.read();
    read.map_err(|error| os_error(ctx, &error, "open", Some(&path)))
}

fn read_text(ctx: Ctx<'_>, href: String) -> Result<String> {
    let bytes = read_file(&ctx, &href)?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

fn read_bytes(ctx: Ctx<'_>, href: String) -> Result<Bytes> {
    read_file(&ctx, &href).map(Bytes)
}

/// A URL of what is a URL already, relative to `base`, or a path.
fn to_href(ctx: Ctx<'_>, text: String, base: Opt<Option<String>>) -> Result<String> {
    if let Ok(url) = Url::parse(&text) {
        return Ok(url.into());
    }
    if let Some(base) = base.0.flatten() {
        let base = parse(&ctx, &base)?;
        if let Ok(url) = base.join(&text) {
            return Ok(url.into());
        }
    }
    let absolute = std::path::absolute(&text)
        .map_err(|error| os_error(&ctx, &error, "cwd", Some(Path::new(&text))))?;
    let url = match text.is_empty() || text.ends_with('/') || text == "." {
        true => Url::from_directory_path(&absolute),
        false => Url::from_file_path(&absolute),
    };
    match url {
        Ok(url) => Ok(url.into()),
        Err(()) => {
            Err(JsError::type_error("INVALID_URL", format!("Invalid path '{text}'")).throw(&ctx))
        }
    }
}

fn to_path(ctx: Ctx<'_>, href: String) -> Result<String> {
    let url = parse(&ctx, &href)?;
    path_text(&ctx, &url)
}

fn path_text(ctx: &Ctx<'_>, url: &Url) -> Result<String> {
    if url.path().to_ascii_lowercase().contains("%2f") {
        return Err(JsError::new(
            "INVALID_URL_PATH",
            "INVALID_URL_PATH: The URL path must not include encoded / characters",
        )
        .throw(ctx));
    }
    match path_of(url) {
        Some(path) => Ok(path.to_string_lossy().into_owned()),
        None => Ok(decode(url.path())),
    }
}

/// Undoes percent-encoding.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match code {
            Some(code) => {
                bytes.push(code);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn to_dirname(ctx: Ctx<'_>, href: String) -> Result<String> {
    let path = to_path(ctx, href)?;
    Ok(match path.rfind('/') {
        Some(0) => "/".into(),
        Some(end) => path[..end].into(),
        None => ".".into(),
    })
}

/// The end of the last part of a URL's path, from its last dot on.
fn extension(ctx: Ctx<'_>, href: String) -> Result<String> {
    let url = parse(&ctx, &href)?;
    let name = url.path().rsplit('/').next().unwrap_or_default();
    Ok(match name.rfind('.') {
        Some(at) if at > 0 => name[at..].to_owned(),
        _ => String::new(),
    })
}
