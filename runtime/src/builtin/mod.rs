//! The modules that the runtime has in itself: what a program gets for `require('bare-fs')`, whatever `node_modules` has.
//!
//! A module is a file of JavaScript, `js/<name>.js`, the body of `function (module, exports, require, native)`: CommonJS whose `require` finds other
//! modules of the table by name, and nothing else. `native` is the object that the Rust half of the module makes, `undefined` where there is none.

pub(crate) mod profile;
mod table;

use crate::engine::error::{self, JsError};
use rquickjs::{
    Coerced, Ctx, Function, JsLifetime, Object, Persistent, Result, Value, context::EvalOptions,
};
use std::{cell::RefCell, collections::HashMap};
use table::{ALIASES, NODE_NAMES, TABLE};

/// Makes the `native` of a module.
pub(crate) type Native = for<'js> fn(&Ctx<'js>) -> Result<Object<'js>>;

/// A row of the table.
pub(crate) struct Builtin {
    name: &'static str,
    source: &'static str,
    native: Option<Native>,
    /// True for what programs do not find.
    is_part: bool,
}

/// The modules that this thread has loaded: objects with `exports`.
#[derive(Default, JsLifetime)]
struct Loaded(RefCell<HashMap<&'static str, Persistent<Object<'static>>>>);

/// Makes a thread ready to [`load`].
pub(crate) fn install(ctx: &Ctx<'_>) -> Result<()> {
    ctx.store_userdata(Loaded::default())?;
    Ok(())
}

/// Names of all modules that a program finds, in the order of the alphabet.
pub fn builtin_names() -> Vec<&'static str> {
    let own = TABLE.iter().filter(|row| !row.is_part).map(|row| row.name);
    let mut names: Vec<_> = own.chain(ALIASES.iter().map(|(alias, _)| *alias)).collect();
    names.sort_unstable();
    names
}

/// The module that a program means by `name`.
pub(crate) fn find(name: &str) -> Option<&'static str> {
    row(name).filter(|row| !row.is_part).map(|row| row.name)
}

/// The module that answers for one of Node's, `fs` or `node:fs`.
pub(crate) fn find_for_node(name: &str) -> Option<&'static str> {
    let name = name.strip_prefix("node:").unwrap_or(name);
    let (_, bare) = NODE_NAMES.iter().find(|(node, _)| *node == name)?;
    find(bare)
}

/// True when a builtin may ask for `name`.
pub(crate) fn has(name: &str) -> bool {
    row(name).is_some()
}

fn row(name: &str) -> Option<&'static Builtin> {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    let name = alias.map_or(name, |(_, name)| name);
    TABLE.iter().find(|row| row.name == name)
}

/// The exports of a module, which is run when this thread first wants it.
///
/// # Errors
/// What the module throws; `MODULE_NOT_FOUND` when there is none of that name.
pub(crate) fn load<'js>(ctx: &Ctx<'js>, name: &str) -> Result<Value<'js>> {
    let Some(row) = row(name) else {
        return Err(error::throw(
            ctx,
            "MODULE_NOT_FOUND",
            format!("MODULE_NOT_FOUND: Cannot find module '{name}'"),
        ));
    };
    let loaded = loaded(ctx, row.name);
    if let Some(module) = loaded {
        return module.restore(ctx)?.get("exports");
    }
    let module = Object::new(ctx.clone())?;
    let exports = Object::new(ctx.clone())?;
    module.set("exports", exports.clone())?;
    remember(ctx, row.name, Some(&module));
    // Put away before it runs: of two that want each other, one sees the other half made.
    let run = || -> Result<()> {
        let native = match row.native {
            Some(native) => native(ctx)?.into_value(),
            None => Value::new_undefined(ctx.clone()),
        };
        let function = compile(ctx, row)?;
        let require = Function::new(ctx.clone(), require)?.with_name("require")?;
        function.call((module.clone(), exports, require, native))
    };
    if let Err(error) = run() {
        remember(ctx, row.name, None);
        return Err(error);
    }
    module.get("exports")
}

fn loaded<'js>(ctx: &Ctx<'js>, name: &'static str) -> Option<Persistent<Object<'static>>> {
    let table = ctx.userdata::<Loaded>()?;
    table.0.borrow().get(name).cloned()
}

fn remember<'js>(ctx: &Ctx<'js>, name: &'static str, module: Option<&Object<'js>>) {
    if let Some(table) = ctx.userdata::<Loaded>() {
        let mut table = table.0.borrow_mut();
        match module {
            Some(module) => table.insert(name, Persistent::save(ctx, module.clone())),
            None => table.remove(name),
        };
    }
}

fn require<'js>(ctx: Ctx<'js>, name: Coerced<String>) -> Result<Value<'js>> {
    load(&ctx, &name.0)
}

fn compile<'js>(ctx: &Ctx<'js>, row: &Builtin) -> Result<Function<'js>> {
    let mut options = EvalOptions::default();
    options.filename = Some(format!("builtin:{}", row.name));
    let source = format!(
        "(function (module, exports, require, native) {{{}\n}})",
        row.source
    );
    let value: Value<'js> = ctx.eval_with_options(source, options)?;
    value.into_function().ok_or_else(|| {
        JsError::syntax_error("", format!("builtin:{} is no function", row.name)).throw(ctx)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_names_of_their_own() {
        let mut names: Vec<_> = TABLE.iter().map(|row| row.name).collect();
        names.extend(ALIASES.iter().map(|(alias, _)| *alias));
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn aliases_lead_somewhere() {
        for (alias, name) in ALIASES {
            assert!(
                TABLE.iter().any(|row| row.name == *name),
                "{alias} leads to {name}"
            );
        }
    }
}
