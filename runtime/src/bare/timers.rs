//! The native half of `bare-timers`: timers and immediates of the loop.

use crate::event_loop::Loop;
use rquickjs::{Ctx, Function, Object, Result};
use std::time::Duration;

pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    native.set("start", Function::new(ctx.clone(), start)?)?;
    native.set("stop", Function::new(ctx.clone(), stop)?)?;
    native.set("ref", Function::new(ctx.clone(), set_ref)?)?;
    native.set(
        "startImmediate",
        Function::new(ctx.clone(), start_immediate)?,
    )?;
    native.set("stopImmediate", Function::new(ctx.clone(), stop_immediate)?)?;
    native.set("refImmediate", Function::new(ctx.clone(), ref_immediate)?)?;
    Ok(native)
}

/// Names travel as numbers: 2^53 timers are enough for any program.
fn start<'js>(ctx: Ctx<'js>, callback: Function<'js>, delay: f64, is_ref: bool) -> f64 {
    let delay = Duration::try_from_secs_f64(delay.max(0.0) / 1000.0).unwrap_or(Duration::MAX);
    Loop::get(&ctx).start_timer(&ctx, delay, callback, is_ref) as f64
}

fn stop(ctx: Ctx<'_>, id: f64) -> bool {
    Loop::get(&ctx).stop_timer(id as u64)
}

fn set_ref(ctx: Ctx<'_>, id: f64, is_ref: bool) {
    Loop::get(&ctx).ref_timer(id as u64, is_ref);
}

fn start_immediate<'js>(ctx: Ctx<'js>, callback: Function<'js>) -> f64 {
    Loop::get(&ctx).start_immediate(&ctx, callback) as f64
}

fn stop_immediate(ctx: Ctx<'_>, id: f64) {
    Loop::get(&ctx).stop_immediate(id as u64);
}

fn ref_immediate(ctx: Ctx<'_>, id: f64, is_ref: bool) {
    Loop::get(&ctx).ref_immediate(id as u64, is_ref);
}
