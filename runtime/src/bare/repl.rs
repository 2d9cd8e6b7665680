//! Lines of a program from stdin.

use crate::{
    builtin,
    engine::{error::JsError, host::Host},
    event_loop::Loop,
    module::lexer,
};
use rquickjs::{Ctx, Function, Object, Result, Value, context::EvalOptions};
use std::{
    io::{BufRead, IsTerminal, Write},
    sync::atomic::Ordering,
};

/// Begins to take lines.
pub(crate) fn start(ctx: &Ctx<'_>) -> Result<()> {
    builtin::load(ctx, "bare-repl/loop").map(drop)
}

pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    native.set("isTerminal", std::io::stdin().is_terminal())?;
    native.set("start", Function::new(ctx.clone(), read_lines)?)?;
    native.set("run", Function::new(ctx.clone(), run)?)?;
    native.set("runAwaiting", Function::new(ctx.clone(), run_awaiting)?)?;
    native.set("listen", Function::new(ctx.clone(), listen)?)?;
    native.set("calm", Function::new(ctx.clone(), calm)?)?;
    native.set(
        "isOpen",
        Function::new(ctx.clone(), |source: String| lexer::is_open(&source))?,
    )?;
    native.set("write", Function::new(ctx.clone(), write)?)?;
    native.set("error", Function::new(ctx.clone(), error)?)?;
    Ok(native)
}

/// Calls `callback` with each line of stdin; the loop lives until there are no more.
fn read_lines<'js>(ctx: Ctx<'js>, callback: Function<'js>) -> Result<()> {
    let event_loop = Loop::get(&ctx);
    let root = event_loop.root(&ctx, callback.into_value());
    let handle = event_loop.hold(event_loop.handle(true));
    let sender = event_loop.sender();
    let reader = move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else {
                break;
            };
            let sent = sender.send(move |ctx| match Loop::get(ctx).rooted(ctx, root) {
                Some(callback) => match callback.into_function() {
                    Some(callback) => callback.call((line,)),
                    None => Ok(()),
                },
                None => Ok(()),
            });
            if !sent {
                return;
            }
        }
        sender.send(move |ctx| {
            Loop::get(ctx).unroot(root);
            Loop::get(ctx).release(handle);
            Ok(())
        });
    };
    // Blocks for as long as nothing is typed: not a thread of the pool.
    std::thread::Builder::new()
        .name("pome-stdin".into())
        .spawn(reader)
        .map(drop)
        .map_err(|error| crate::engine::error::os_error(&ctx, &error, "pthread_create", None))
}

/// As a script of the global scope: what it declares stays.
fn run<'js>(ctx: Ctx<'js>, source: String) -> Result<Value<'js>> {
    evaluate(&ctx, source, false)
}

/// As [`run`], with `await` outside of functions: a promise of an object whose `value` is what it comes to.
fn run_awaiting<'js>(ctx: Ctx<'js>, source: String) -> Result<Value<'js>> {
    evaluate(&ctx, source, true)
}

fn evaluate<'js>(ctx: &Ctx<'js>, source: String, promise: bool) -> Result<Value<'js>> {
    let mut options = EvalOptions::default();
    options.strict = false;
    options.promise = promise;
    options.filename = Some("REPL".into());
    let outcome = ctx.eval_with_options(source, options);
    if outcome.is_err() && Host::get(ctx).break_off.swap(false, Ordering::Relaxed) {
        // No program catches how it was ended; this here does.
        ctx.catch();
        return Err(JsError::new("INTERRUPTED", "INTERRUPTED: The script was ended").throw(ctx));
    }
    outcome
}

/// From now on SIGINT ends what is being run.
fn listen(ctx: Ctx<'_>) -> Result<()> {
    let break_off = Host::get(&ctx).break_off.clone();
    signal_hook::flag::register(signal_hook::consts::SIGINT, break_off)
        .map(drop)
        .map_err(|error| crate::engine::error::os_error(&ctx, &error, "sigaction", None))
}

/// Nothing is being run that SIGINT could end.
fn calm(ctx: Ctx<'_>) {
    Host::get(&ctx).break_off.store(false, Ordering::Relaxed);
}

fn write(text: String) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes());
    let _ = stdout.flush();
}

fn error(text: String) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
