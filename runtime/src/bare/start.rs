//! The native half of `bare-start`: the process, and how a program ends.

use crate::{
    bare::io::channel_mode,
    builtin,
    engine::{BARE_VERSION, host::Host, text::Text, uncatchable},
};
use rquickjs::{Ctx, Function, Object, Result};
use std::io::{IsTerminal, Write};

/// The engine and its version, for `Bare.versions`.
const ENGINE_VERSION: &str = "ng-0.16.2";

pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let native = platform(ctx)?;
    let host = Host::get(ctx);
    native.set("argv", host.argv.clone())?;
    native.set("pid", std::process::id())?;
    native.set("isMain", host.is_main)?;
    native.set("channelMode", channel_mode())?;
    native.set("version", BARE_VERSION)?;
    native.set("engineVersion", ENGINE_VERSION)?;
    native.set("stderrIsTerminal", std::io::stderr().is_terminal())?;
    native.set("has", Function::new(ctx.clone(), has)?)?;
    native.set("end", Function::new(ctx.clone(), end)?)?;
    if host.expose_gc {
        native.set(
            "gc",
            Function::new(ctx.clone(), |ctx: Ctx<'_>| ctx.run_gc())?,
        )?;
    }
    native.set("setCode", Function::new(ctx.clone(), set_code)?)?;
    native.set("setHooks", Function::new(ctx.clone(), set_hooks)?)?;
    native.set("stdout", Function::new(ctx.clone(), stdout)?)?;
    native.set("stderr", Function::new(ctx.clone(), stderr)?)?;
    Ok(native)
}

/// What Bare calls this platform and its processor.
pub(crate) fn platform<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    let profile = Host::get(ctx).profile.clone();
    native.set(
        "profile",
        Function::new(ctx.clone(), move || profile.name())?,
    )?;
    native.set(
        "platform",
        match std::env::consts::OS {
            "macos" => "darwin",
            "windows" => "win32",
            other => other,
        },
    )?;
    native.set(
        "arch",
        match std::env::consts::ARCH {
            "x86_64" => "x64",
            "aarch64" => "arm64",
            "x86" => "ia32",
            other => other,
        },
    )?;
    Ok(native)
}

fn has(name: String) -> bool {
    builtin::has(&name)
}

fn end(ctx: Ctx<'_>) -> Result<()> {
    Host::get(&ctx).end();
    Err(uncatchable::unwind(&ctx))
}

fn set_code(ctx: Ctx<'_>, code: i32) {
    Host::get(&ctx).set_code(code);
}

fn set_hooks<'js>(ctx: Ctx<'js>, hooks: Object<'js>) {
    Host::get(&ctx).set_hooks(&ctx, hooks);
}

// A reader that has gone is no error of the program's.
fn stdout(text: Text) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.0.as_bytes());
    let _ = stdout.flush();
}

fn stderr(text: Text) {
    let _ = std::io::stderr().lock().write_all(text.0.as_bytes());
}
