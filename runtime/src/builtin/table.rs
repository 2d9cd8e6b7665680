//! Every module of the runtime's own, a row each.

use super::Builtin;
use crate::bare;

macro_rules! source {
    ($name:literal) => {
        include_str!(concat!("../js/", $name, ".js"))
    };
}

/// A module in JavaScript alone.
const fn js(name: &'static str, source: &'static str) -> Builtin {
    Builtin {
        name,
        source,
        native: None,
        is_part: false,
    }
}

/// A module with a native half.
const fn native(name: &'static str, source: &'static str, native: super::Native) -> Builtin {
    Builtin {
        name,
        source,
        native: Some(native),
        is_part: false,
    }
}

/// A part of a module, in its folder: only builtins find it.
const fn part(name: &'static str, source: &'static str) -> Builtin {
    Builtin {
        name,
        source,
        native: None,
        is_part: true,
    }
}

/// A part of a module with a native half: only builtins find it.
const fn native_part(name: &'static str, source: &'static str, native: super::Native) -> Builtin {
    Builtin {
        name,
        source,
        native: Some(native),
        is_part: true,
    }
}

/// The rows, by name. `source!("x")` is `js/x.js`.
#[rustfmt::skip]
pub(super) static TABLE: &[Builtin] = &[
    native("bare-module", source!("bare-module"), bare::module::native),
    part("bare-module/errors", source!("bare-module/errors")),
    part("bare-module/protocol", source!("bare-module/protocol")),
    native_part("bare-start", source!("bare-start"), bare::start::native),
    native_part("bare-start/addon", source!("bare-start/addon"), bare::start::platform),
    js("bare-events", source!("bare-events")),
    native("bare-timers", source!("bare-timers"), bare::timers::native),
    js("bare-queue-microtask", source!("bare-queue-microtask")),
];

/// Other names of a module: `(alias, name)`.
#[rustfmt::skip]
pub(super) static ALIASES: &[(&str, &str)] = &[
];

/// What Node has in itself and Bare in a package: the last resort for a name that nothing else answers. Also as `node:` and the name.
#[rustfmt::skip]
pub(super) static NODE_NAMES: &[(&str, &str)] = &[
    ("assert", "bare-assert"),
    ("buffer", "bare-buffer"),
    ("child_process", "bare-subprocess"),
    ("console", "bare-console"),
    ("crypto", "bare-crypto"),
    ("dns", "bare-dns"),
    ("events", "bare-events"),
    ("fs", "bare-fs"),
    ("fs/promises", "bare-fs/promises"),
    ("http", "bare-http1"),
    ("https", "bare-https"),
    ("module", "bare-module"),
    ("net", "bare-net"),
    ("os", "bare-os"),
    ("path", "bare-path"),
    ("path/posix", "bare-path/posix"),
    ("path/win32", "bare-path/win32"),
    ("perf_hooks", "bare-performance"),
    ("process", "bare-process"),
    ("querystring", "bare-querystring"),
    ("readline", "bare-readline"),
    ("repl", "bare-repl"),
    ("stream", "bare-stream"),
    ("stream/promises", "bare-stream/promises"),
    ("stream/web", "bare-stream/web"),
    ("timers", "bare-timers"),
    ("timers/promises", "bare-timers/promises"),
    ("tls", "bare-tls"),
    ("tty", "bare-tty"),
    ("url", "bare-url"),
    ("util", "bare-utils"),
    ("worker_threads", "bare-worker"),
    ("zlib", "bare-zlib"),
];
