//! Every module of the runtime's own, a row each.

use super::Builtin;
use crate::{bare, core};

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
    part("bare-module/bundle", source!("bare-module/bundle")),
    part("bare-module/errors", source!("bare-module/errors")),
    part("bare-module/protocol", source!("bare-module/protocol")),
    native_part("bare-start", source!("bare-start"), bare::start::native),
    native_part("bare-repl/loop", source!("bare-repl/loop"), bare::repl::native),
    native_part("bare-start/addon", source!("bare-start/addon"), bare::start::platform),
    js("bare-events", source!("bare-events")),
    native_part("bare-start/thread", source!("bare-start/thread"), bare::thread::native),
    native("bare-timers", source!("bare-timers"), bare::timers::native),
    js("bare-queue-microtask", source!("bare-queue-microtask")),
    js("b4a", source!("b4a")),
    js("bare-abort-controller", source!("bare-abort-controller")),
    js("bare-abort-controller/global", source!("bare-abort-controller/global")),
    js("bare-ansi-escapes", source!("bare-ansi-escapes")),
    js("bare-assert", source!("bare-assert")),
    js("bare-punycode", source!("bare-punycode")),
    js("bare-async-hooks", source!("bare-async-hooks")),
    js("bare-buffer", source!("bare-buffer")),
    native_part("bare-buffer/native", source!("bare-buffer/native"), bare::buffer::native),
    js("bare-buffer/global", source!("bare-buffer/global")),
    native("bare-console", source!("bare-console"), bare::console::native),
    js("bare-console/global", source!("bare-console/global")),
    part("bare-console/table", source!("bare-console/table")),
    js("bare-diagnostics-channel", source!("bare-diagnostics-channel")),
    js("bare-encoding", source!("bare-encoding")),
    js("bare-encoding/global", source!("bare-encoding/global")),
    js("bare-events/global", source!("bare-events/global")),
    js("bare-events/web", source!("bare-events/web")),
    js("bare-format", source!("bare-format")),
    native("bare-inspect", source!("bare-inspect"), bare::types::native),
    part("bare-inspect/layout", source!("bare-inspect/layout")),
    native("bare-logger", source!("bare-logger"), bare::console::native),
    js("bare-path", source!("bare-path")),
    native("bare-path/posix", source!("bare-path/posix"), bare::path::native),
    part("bare-path/segments", source!("bare-path/segments")),
    native("bare-path/win32", source!("bare-path/win32"), bare::path::native),
    js("bare-querystring", source!("bare-querystring")),
    js("bare-semver", source!("bare-semver")),
    js("bare-stream", source!("bare-stream")),
    js("bare-stream/global", source!("bare-stream/global")),
    js("bare-stream/promises", source!("bare-stream/promises")),
    js("bare-stream/web", source!("bare-stream/web")),
    js("bare-string-decoder", source!("bare-string-decoder")),
    js("bare-structured-clone", source!("bare-structured-clone")),
    js("bare-structured-clone/global", source!("bare-structured-clone/global")),
    js("bare-timers/promises", source!("bare-timers/promises")),
    native("bare-type", source!("bare-type"), bare::types::native),
    native("bare-url", source!("bare-url"), bare::url::native),
    js("bare-url/errors", source!("bare-url/errors")),
    js("bare-url/global", source!("bare-url/global")),
    part("bare-url/search-params", source!("bare-url/search-params")),
    js("bare-utils", source!("bare-utils")),
    js("bare-utils/types", source!("bare-utils/types")),
    js("compact-encoding", source!("compact-encoding")),
    part("compact-encoding/address", source!("compact-encoding/address")),
    native_part("compact-encoding/bytes", source!("compact-encoding/bytes"), core::compact_encoding::native),
    part("compact-encoding/integers", source!("compact-encoding/integers")),
    js("compact-encoding/lexint", source!("compact-encoding/lexint")),
    js("compact-encoding/raw", source!("compact-encoding/raw")),
    js("events-universal", source!("events-universal")),
    native("hypercore-crypto", source!("hypercore-crypto"), core::crypto::native),
    js("hypercore-id-encoding", source!("hypercore-id-encoding")),
    js("streamx", source!("streamx")),
    part("streamx/error", source!("streamx/error")),
    part("streamx/half", source!("streamx/half")),
    part("streamx/pipeline", source!("streamx/pipeline")),
    part("streamx/queue", source!("streamx/queue")),
    part("streamx/readable-half", source!("streamx/readable-half")),
    part("streamx/state", source!("streamx/state")),
    part("streamx/writable-half", source!("streamx/writable-half")),
    js("text-decoder", source!("text-decoder")),
    native("z32", source!("z32"), core::z32::native),
    native_part("pome-io", source!("pome-io"), bare::io::native),
    part("pome-io/errors", source!("pome-io/errors")),
    part("pome-io/handle-stream", source!("pome-io/handle-stream")),
    part("pome-io/handle-server", source!("pome-io/handle-server")),
    part("pome-io/validate", source!("pome-io/validate")),
    native("bare-crypto", source!("bare-crypto"), bare::crypto::native),
    js("bare-crypto/constants", source!("bare-crypto/constants")),
    part("bare-crypto/cipher", source!("bare-crypto/cipher")),
    part("bare-crypto/subtle", source!("bare-crypto/subtle")),
    js("bare-crypto/web", source!("bare-crypto/web")),
    native("bare-dns", source!("bare-dns"), bare::dns::native),
    js("bare-dns/promises", source!("bare-dns/promises")),
    js("bare-env", source!("bare-env")),
    js("bare-fetch", source!("bare-fetch")),
    part("bare-fetch/body", source!("bare-fetch/body")),
    js("bare-fetch/errors", source!("bare-fetch/errors")),
    js("bare-fetch/headers", source!("bare-fetch/headers")),
    native("bare-fs", source!("bare-fs"), bare::fs::native),
    part("bare-fs/classes", source!("bare-fs/classes")),
    js("bare-fs/constants", source!("bare-fs/constants")),
    part("bare-fs/error", source!("bare-fs/error")),
    part("bare-fs/file-handle", source!("bare-fs/file-handle")),
    js("bare-fs/promises", source!("bare-fs/promises")),
    part("bare-fs/streams", source!("bare-fs/streams")),
    part("bare-fs/watcher", source!("bare-fs/watcher")),
    native("bare-hrtime", source!("bare-hrtime"), bare::os::clock),
    js("bare-http1", source!("bare-http1")),
    part("bare-http1/client", source!("bare-http1/client")),
    js("bare-http1/constants", source!("bare-http1/constants")),
    part("bare-http1/headers", source!("bare-http1/headers")),
    part("bare-http1/messages", source!("bare-http1/messages")),
    native_part("bare-http1/reader", source!("bare-http1/reader"), bare::http::native),
    part("bare-http1/server", source!("bare-http1/server")),
    js("bare-https", source!("bare-https")),
    js("bare-net", source!("bare-net")),
    native("bare-os", source!("bare-os"), bare::os::native),
    native("bare-os/constants", source!("bare-os/constants"), bare::os::constants),
    js("bare-performance", source!("bare-performance")),
    js("bare-pipe", source!("bare-pipe")),
    native("bare-posix", source!("bare-posix"), bare::os::posix),
    js("bare-process", source!("bare-process")),
    js("bare-process/global", source!("bare-process/global")),
    js("bare-readline", source!("bare-readline")),
    part("bare-readline/keys", source!("bare-readline/keys")),
    part("bare-readline/text", source!("bare-readline/text")),
    native("bare-signals", source!("bare-signals"), bare::signals::native),
    js("bare-stdio", source!("bare-stdio")),
    native("bare-subprocess", source!("bare-subprocess"), bare::subprocess::native),
    js("bare-subprocess/constants", source!("bare-subprocess/constants")),
    js("bare-tcp", source!("bare-tcp")),
    native("bare-tls", source!("bare-tls"), bare::tls::native),
    js("bare-tty", source!("bare-tty")),
    native("bare-ws", source!("bare-ws"), bare::websocket::native),
    js("bare-ws/errors", source!("bare-ws/errors")),
    part("bare-ws/frames", source!("bare-ws/frames")),
    native("bare-zlib", source!("bare-zlib"), bare::zlib::native),
    js("bare-zlib/constants", source!("bare-zlib/constants")),
];

/// Other names of a module: `(alias, name)`.
#[rustfmt::skip]
pub(super) static ALIASES: &[(&str, &str)] = &[
];

/// What Node has in itself and Bare in a package: the last resort for a name that nothing else answers. Also as `node:` and the name.
#[rustfmt::skip]
pub(super) static NODE_NAMES: &[(&str, &str)] = &[
    ("assert", "bare-assert"),
    ("async_hooks", "bare-async-hooks"),
    ("buffer", "bare-buffer"),
    ("child_process", "bare-subprocess"),
    ("console", "bare-console"),
    ("crypto", "bare-crypto"),
    ("diagnostics_channel", "bare-diagnostics-channel"),
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
    ("punycode", "bare-punycode"),
    ("querystring", "bare-querystring"),
    ("readline", "bare-readline"),
    ("repl", "bare-repl"),
    ("stream", "bare-stream"),
    ("stream/promises", "bare-stream/promises"),
    ("stream/web", "bare-stream/web"),
    ("string_decoder", "bare-string-decoder"),
    ("timers", "bare-timers"),
    ("timers/promises", "bare-timers/promises"),
    ("tls", "bare-tls"),
    ("tty", "bare-tty"),
    ("url", "bare-url"),
    ("util", "bare-utils"),
    ("util/types", "bare-utils/types"),
    ("worker_threads", "bare-worker"),
    ("zlib", "bare-zlib"),
];
