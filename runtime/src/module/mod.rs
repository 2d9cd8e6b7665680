//! How modules are found, loaded and linked. What is decided here and what in `js/bare-module.js`: finding a file is native, and so is the engine's
//! side of linking; the state of a module, and what `require` is, are JavaScript, for programs look into them.
//!
//! An ES module is linked by the engine, which asks [`Link`] twice for each specifier: for its URL, whereupon the module is found and read (hook
//! `import`), and for the module itself (hook `link`). A module of another kind becomes one with the names that a scan of its source found
//! ([`lexer`]); it runs when it is evaluated.

mod engines;
pub(crate) mod lexer;
pub(crate) mod resolve;
pub(crate) mod source;
pub(crate) mod typescript;

use rquickjs::{
    Array, Ctx, Error, Function, JsLifetime, Module, Object, Persistent, Promise, Result, Value,
    loader::{ImportAttributes, Loader, Resolver},
    module::{Declarations, Declared, Exports, ModuleDef},
    promise::PromiseState,
};
use std::cell::RefCell;

/// What the names of the modules begin with by which `require` gets at an ES module; the rest is its URL.
const DOOR: &str = "pome-door:";

/// The functions of `bare-module.js` that the engine's side calls.
#[derive(Default, JsLifetime)]
struct Hooks(RefCell<Option<Persistent<Object<'static>>>>);

/// Makes a thread ready for modules.
pub(crate) fn install(ctx: &Ctx<'_>) -> Result<()> {
    ctx.store_userdata(Hooks::default())?;
    ctx.store_userdata(source::Packages::default())?;
    Ok(())
}

/// Sets the hooks.
pub(crate) fn set_hooks<'js>(ctx: &Ctx<'js>, hooks: Object<'js>) {
    if let Some(data) = ctx.userdata::<Hooks>() {
        *data.0.borrow_mut() = Some(Persistent::save(ctx, hooks));
    }
}

fn hook<'js>(ctx: &Ctx<'js>, name: &str) -> Result<Function<'js>> {
    if ctx
        .userdata::<Hooks>()
        .is_none_or(|data| data.0.borrow().is_none())
    {
        crate::builtin::load(ctx, "bare-module")?;
    }
    let hooks = ctx
        .userdata::<Hooks>()
        .and_then(|data| data.0.borrow().clone());
    match hooks {
        Some(hooks) => hooks.restore(ctx)?.get(name),
        None => Err(Error::Unknown),
    }
}

/// Runs the program that `specifier` names, relative to the working folder.
pub(crate) fn run_main(ctx: &Ctx<'_>, specifier: &str) -> Result<()> {
    hook(ctx, "main")?.call((specifier,))
}

/// Runs a program that was given as text.
pub(crate) fn run_script(ctx: &Ctx<'_>, source: &str, print: bool) -> Result<()> {
    hook(ctx, "script")?.call((source, print))
}

/// Runs the program of a thread: a file, or a text that is called so.
pub(crate) fn run_thread(ctx: &Ctx<'_>, specifier: &str, source: Option<&str>) -> Result<()> {
    hook(ctx, "thread")?.call((specifier, source))
}

/// Runs the ES module `href`, unless it has run or is running, and answers with its namespace. With a top-level `await` that is still pending the
/// namespace fills up later.
///
/// It is imported by a module made for the purpose, the door: that works whatever state the engine has it in, also in the middle of a circle.
pub(crate) fn run<'js>(ctx: &Ctx<'js>, href: &str) -> Result<Value<'js>> {
    let quoted = serde_json::to_string(href).unwrap_or_default();
    let source = format!("import * as namespace from {quoted}; export {{ namespace as default }}");
    let door = Module::declare(ctx.clone(), format!("{DOOR}{href}"), source)?;
    let (door, promise) = door.eval()?;
    match promise.state() {
        PromiseState::Rejected => {
            // Whoever asked hears of it now.
            handle(ctx, &promise, Function::new(ctx.clone(), || {})?)?;
            return match promise.result::<Value<'js>>() {
                Some(Err(error)) => Err(error),
                _ => Err(Error::Unknown),
            };
        }
        PromiseState::Pending => handle(ctx, &promise, Function::new(ctx.clone(), throw_later)?)?,
        PromiseState::Resolved => {}
    }
    door.namespace()?.get("default")
}

fn handle<'js>(ctx: &Ctx<'js>, promise: &Promise<'js>, rejected: Function<'js>) -> Result<()> {
    let then = promise.then()?;
    let undefined = Value::new_undefined(ctx.clone());
    then.call((
        rquickjs::prelude::This(promise.clone()),
        undefined,
        rejected,
    ))
}

/// What a module throws after its `await` has no catcher: it is an uncaught error.
fn throw_later<'js>(ctx: Ctx<'js>, reason: Value<'js>) -> Result<()> {
    let throw = Function::new(ctx.clone(), rethrow)?;
    throw.defer((reason,))
}

fn rethrow<'js>(ctx: Ctx<'js>, reason: Value<'js>) -> Result<()> {
    Err(ctx.throw(reason))
}

/// The engine's questions. It has no state of its own: loading one module leads to loading others.
pub(crate) struct Link;

impl Resolver for Link {
    fn resolve<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        base: &str,
        name: &str,
        attributes: Option<ImportAttributes<'js>>,
    ) -> Result<String> {
        if base.starts_with(DOOR) {
            return Ok(name.into());
        }
        let given = Object::new(ctx.clone())?;
        if let Some(attributes) = attributes {
            for key in attributes.keys() {
                let key = key?;
                given.set(key.as_str(), attributes.get(&key)?)?;
            }
        }
        hook(ctx, "import")?.call((base, name, given))
    }
}

impl Loader for Link {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _attributes: Option<ImportAttributes<'js>>,
    ) -> Result<Module<'js, Declared>> {
        let link: Value<'js> = hook(ctx, "link")?.call((name,))?;
        let module = match link.as_string() {
            Some(source) => declare(ctx, name, source.to_string()?),
            None => Module::declare_def::<Names, _>(ctx.clone(), name),
        };
        if module.is_err() {
            // The error goes on to whoever imports; it is put aside while the hook runs.
            let thrown = ctx.catch();
            hook(ctx, "unlink")?.call::<_, ()>((name,))?;
            ctx.throw(thrown);
        }
        module
    }
}

fn declare<'js>(ctx: &Ctx<'js>, name: &str, source: String) -> Result<Module<'js, Declared>> {
    let module = Module::declare(ctx.clone(), name, without_shebang(source))?;
    hook(ctx, "meta")?.call::<_, ()>((name, module.meta()?))?;
    Ok(module)
}

/// The first line of a script for the shell becomes a comment: the lines keep their numbers.
pub(crate) fn without_shebang(source: String) -> String {
    match source.strip_prefix("#!") {
        Some(rest) => format!("//{rest}"),
        None => source,
    }
}

/// A module of another kind, as an ES module: the names that it exports, and their values once it has run.
struct Names;

fn names<'js>(module: &Module<'js, Declared>) -> Result<(String, Vec<String>)> {
    let href: String = module.name()?;
    let names = hook(module.ctx(), "link")?.call((href.as_str(),))?;
    Ok((href, names))
}

impl ModuleDef for Names {
    fn declare(declarations: &Declarations<'_>) -> Result<()> {
        let (_, names) = names(declarations.module())?;
        for name in names {
            declarations.declare(name)?;
        }
        Ok(())
    }

    fn evaluate<'js>(ctx: &Ctx<'js>, exports: &Exports<'js>) -> Result<()> {
        let (href, names) = names(exports.module())?;
        let values: Array<'js> = hook(ctx, "evaluate")?.call((href,))?;
        for (name, value) in names.into_iter().zip(values.iter::<Value<'js>>()) {
            exports.export(name, value?)?;
        }
        Ok(())
    }
}
