//! `rocksdb-native`: ordered maps in a store of pome, one of which is hypercore-storage's.

use super::super::{
    args::Options,
    bridge::{Failure, Out, Outcome, coded, held, hold, now, promise, take},
    functions,
    store::folder,
};
use crate::engine::bytes as views;
use bytes::Bytes;
use parking_lot::Mutex;
use pome_cores::{Batch, Durability, NpmChange, NpmMoment, NpmRows, NpmStorage, Space, Store};
use pome_storage::{Range, Snapshot};
use rquickjs::{Array, Ctx, Object, Result, Value};
use std::{cell::RefCell, collections::HashMap, ops::Bound, rc::Rc, sync::Arc};

/// The column family of hypercore-storage.
const CORES: &str = "corestore";
/// What the names of the keyspaces of other column families begin with.
const PREFIX: &str = "rocks/";

pub(super) fn add<'js>(ctx: &Ctx<'js>, native: &Object<'js>) -> Result<()> {
    functions!(ctx, native, {
        "open" => open,
        "moment" => moment,
        "get" => get,
        "write" => write,
        "iterate" => iterate,
        "next" => next,
        "flush" => flush,
        "compact" => compact,
        "size" => size,
        "close" => close,
    });
    Ok(())
}

/// An open database.
#[derive(Clone)]
struct Database {
    rows: NpmStorage,
    columns: Arc<Mutex<HashMap<String, Space>>>,
}

/// All of it at one moment.
#[derive(Clone)]
struct Moment {
    rows: NpmMoment,
    raw: Snapshot,
}

/// Whose rows are meant.
enum Column {
    Cores,
    Raw(Space),
}

/// A walk that goes on.
#[derive(Clone)]
struct Walk(Rc<RefCell<Source>>);

enum Source {
    Cores(NpmRows),
    Raw {
        range: Box<Range>,
        reverse: bool,
        left: usize,
    },
}

impl Database {
    fn moment(&self) -> Moment {
        Moment {
            rows: self.rows.moment(),
            raw: self.rows.store().snapshot(),
        }
    }

    fn column(&self, name: &str) -> Outcome<Column> {
        if name == CORES {
            return Ok(Column::Cores);
        }
        let mut columns = self.columns.lock();
        if let Some(space) = columns.get(name) {
            return Ok(Column::Raw(*space));
        }
        let space = self.rows.keyspace(&format!("{PREFIX}{name}"))?;
        columns.insert(name.to_owned(), space);
        Ok(Column::Raw(space))
    }
}

fn open<'js>(ctx: Ctx<'js>, path: String, options: Options<'js>) -> Result<Value<'js>> {
    let folder = now(&ctx, folder(&ctx, &path))?;
    let mut below = pome_storage::Options::default();
    below.create = options.flag("createIfMissing")?.unwrap_or(true);
    below.read_only = options.flag("readOnly")?.unwrap_or(false);
    promise(&ctx, async move {
        let opened = tokio::task::spawn_blocking(move || -> Outcome<Database> {
            let rows = NpmStorage::open(folder.open(below)?)?;
            Ok(Database {
                rows,
                columns: Arc::default(),
            })
        });
        let opened = opened
            .await
            .map_err(|_| coded("SESSION_CLOSED", "the process ends"))??;
        Ok(Out::held(opened))
    })
}

fn moment(ctx: Ctx<'_>, id: u32) -> Result<u32> {
    let database: Database = held(&ctx, id)?;
    Ok(hold(Box::new(database.moment())))
}

fn moment_of(ctx: &Ctx<'_>, database: &Database, id: u32) -> Result<Moment> {
    match id {
        0 => Ok(database.moment()),
        id => held(ctx, id),
    }
}

/// The values of several keys; null for one that is not there.
fn get<'js>(
    ctx: Ctx<'js>,
    id: u32,
    at: u32,
    column: String,
    keys: Array<'js>,
) -> Result<Array<'js>> {
    let database: Database = held(&ctx, id)?;
    let moment = moment_of(&ctx, &database, at)?;
    let column = now(&ctx, database.column(&column))?;
    let values = Array::new(ctx.clone())?;
    for (index, key) in keys.iter::<Value<'js>>().enumerate() {
        let value = views::read(&key?, |key| -> Outcome<Option<Bytes>> {
            match column {
                Column::Cores => Ok(moment.rows.get(key)?),
                Column::Raw(space) => Ok(moment.raw.get(space, key)?),
            }
        })?;
        values.set(index, Out::or_null(now(&ctx, value)?, Out::Bytes))?;
    }
    Ok(values)
}

/// Writes `[kind, a, b, …]` in one commit. It can be read when this returns; the promise waits for the disk.
fn write<'js>(
    ctx: Ctx<'js>,
    id: u32,
    column: String,
    operations: Array<'js>,
) -> Result<Value<'js>> {
    let database: Database = held(&ctx, id)?;
    let column = now(&ctx, database.column(&column))?;
    let mut changes = Vec::with_capacity(operations.len() / 3);
    let bytes = |index: usize| -> Result<Bytes> {
        let value: Value<'js> = operations.get(index)?;
        Ok(views::copy(&value)?.into())
    };
    for index in (0..operations.len()).step_by(3) {
        changes.push(match operations.get::<u32>(index)? {
            0 => NpmChange::Put(bytes(index + 1)?, bytes(index + 2)?),
            1 => NpmChange::Delete(bytes(index + 1)?),
            _ => NpmChange::DeleteRange(bytes(index + 1)?, bytes(index + 2)?),
        });
    }
    let store = database.rows.store().clone();
    let seq = match column {
        Column::Cores => now(&ctx, database.rows.commit(changes).map_err(Failure::from))?,
        Column::Raw(space) => {
            let mut batch = Batch::new();
            for change in changes {
                match change {
                    NpmChange::Put(key, value) => batch.put(space, key, value),
                    NpmChange::Delete(key) => batch.delete(space, key),
                    NpmChange::DeleteRange(start, end) => batch.delete_range(space, start, end),
                }
            }
            let done = store.commit(batch, Durability::Buffered);
            now(&ctx, done.map_err(Failure::from))?
        }
    };
    promise(&ctx, async move {
        store.synced(seq).await?;
        Ok(Out::Undefined)
    })
}

/// A bound of a range, after the first of two that is given.
fn bound(options: &Options<'_>, with: &str, without: &str) -> Result<Bound<Bytes>> {
    if let Some(key) = options.bytes(with)? {
        return Ok(Bound::Included(key));
    }
    Ok(match options.bytes(without)? {
        Some(key) => Bound::Excluded(key),
        None => Bound::Unbounded,
    })
}

/// The first key that is not below the bound, or (`above`) that is past it.
fn edge(bound: Bound<Bytes>, above: bool, none: &[u8]) -> Vec<u8> {
    match (bound, above) {
        (Bound::Unbounded, _) => none.to_vec(),
        (Bound::Included(key), false) | (Bound::Excluded(key), true) => key.to_vec(),
        (Bound::Included(key), true) | (Bound::Excluded(key), false) => [&key[..], &[0]].concat(),
    }
}

fn iterate<'js>(
    ctx: Ctx<'js>,
    id: u32,
    at: u32,
    column: String,
    options: Options<'js>,
) -> Result<u32> {
    let database: Database = held(&ctx, id)?;
    let moment = moment_of(&ctx, &database, at)?;
    let reverse = options.flag("reverse")?.unwrap_or(false);
    let limit = options.count("limit")?;
    let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let low = bound(&options, "gte", "gt")?;
    let high = bound(&options, "lte", "lt")?;
    let source = match now(&ctx, database.column(&column))? {
        Column::Cores => {
            let (start, end) = (edge(low, false, &[]), edge(high, true, &[0xff]));
            let rows = moment.rows.rows(&start, &end, reverse, limit);
            Source::Cores(now(&ctx, rows.map_err(Failure::from))?)
        }
        Column::Raw(space) => {
            let range = (
                low.as_ref().map(|key| &key[..]),
                high.as_ref().map(|key| &key[..]),
            );
            Source::Raw {
                range: Box::new(moment.raw.range(space, range)),
                reverse,
                left: limit.unwrap_or(usize::MAX),
            }
        }
    };
    Ok(hold(Box::new(Walk(Rc::new(RefCell::new(source))))))
}

impl Source {
    fn next(&mut self) -> Option<Outcome<(Bytes, Bytes)>> {
        match self {
            Self::Cores(rows) => rows.next().map(|row| row.map_err(Failure::from)),
            Self::Raw {
                range,
                reverse,
                left,
            } => {
                *left = left.checked_sub(1)?;
                let row = match reverse {
                    true => range.next_back(),
                    false => range.next(),
                };
                row.map(|row| row.map_err(Failure::from))
            }
        }
    }
}

/// The next rows of a walk, `[key, value, …]`; fewer than `count` when there are no more.
fn next(ctx: Ctx<'_>, id: u32, count: usize) -> Result<Array<'_>> {
    let walk: Walk = held(&ctx, id)?;
    let mut source = walk.0.borrow_mut();
    let found = Array::new(ctx.clone())?;
    for index in 0..count {
        let Some(row) = source.next() else {
            break;
        };
        let (key, value) = now(&ctx, row)?;
        found.set(2 * index, Out::Bytes(key))?;
        found.set(2 * index + 1, Out::Bytes(value))?;
    }
    Ok(found)
}

fn with_store<'js>(
    ctx: &Ctx<'js>,
    id: u32,
    work: impl FnOnce(Store) -> Outcome + Send + 'static,
) -> Result<Value<'js>> {
    let database: Database = held(ctx, id)?;
    promise(ctx, async move {
        let store = database.rows.store().clone();
        let done = tokio::task::spawn_blocking(move || work(store));
        done.await
            .map_err(|_| coded("SESSION_CLOSED", "the process ends"))?
    })
}

fn flush(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    with_store(&ctx, id, |store| {
        store.sync()?;
        Ok(Out::Undefined)
    })
}

fn compact(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    with_store(&ctx, id, |store| {
        store.compact()?;
        Ok(Out::Undefined)
    })
}

fn size(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    with_store(&ctx, id, |store| Ok(Out::count(store.info()?.file_bytes)))
}

/// Closes the database: all that was written is on disk when the promise resolves.
fn close(ctx: Ctx<'_>, id: u32) -> Result<Value<'_>> {
    let database: Option<Database> = take(id);
    promise(&ctx, async move {
        let Some(database) = database else {
            return Ok(Out::Undefined);
        };
        let closed = tokio::task::spawn_blocking(move || database.rows.store().close());
        closed
            .await
            .map_err(|_| coded("SESSION_CLOSED", "the process ends"))??;
        Ok(Out::Undefined)
    })
}
