//! The native half of `bare-console` and `bare-logger`: where lines go, and a clock.

use crate::engine::text::Text;
use rquickjs::{Ctx, Object, Result, prelude::Func};
use std::io::{IsTerminal, Write};
use std::sync::LazyLock;
use std::time::Instant;

/// What `console.time` counts from.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

// A reader that has gone is no error of the program's.
fn write_line(mut to: impl Write, mut text: String) {
    text.push('\n');
    let _ = to.write_all(text.as_bytes());
    let _ = to.flush();
}

fn out(text: Text) {
    write_line(std::io::stdout().lock(), text.0);
}

fn err(text: Text) {
    write_line(std::io::stderr().lock(), text.0);
}

/// Milliseconds on a clock that never goes back.
fn now() -> f64 {
    START.elapsed().as_secs_f64() * 1000.0
}

pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    LazyLock::force(&START);
    let native = Object::new(ctx.clone())?;
    native.set("isTTY", std::io::stdout().is_terminal())?;
    native.set("out", Func::from(out))?;
    native.set("err", Func::from(err))?;
    native.set("now", Func::from(now))?;
    Ok(native)
}
