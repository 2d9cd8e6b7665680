//! The native half of `bare-url`: the parser.

use crate::engine::text::Text;
use rquickjs::{
    Array, Ctx, Function, Object, Result,
    prelude::{Func, Opt},
};
use url::{Position, Url, quirks};

/// The text of a URL, then the places in it where its parts end or begin. Source of their order: `js/bare-url.js`.
fn taken<'js>(ctx: &Ctx<'js>, url: &Url) -> Result<Array<'js>> {
    let before = |position: Position| url[..position].len();
    let places = [
        before(Position::AfterScheme),
        before(Position::AfterUsername),
        before(Position::BeforeHost),
        before(Position::AfterHost),
        before(Position::BeforePath),
        before(Position::AfterPath),
        before(Position::AfterQuery),
    ];
    let all = Array::new(ctx.clone())?;
    all.set(0, url.as_str())?;
    for (index, place) in places.into_iter().enumerate() {
        all.set(index + 1, place as f64)?;
    }
    Ok(all)
}

fn parse<'js>(ctx: Ctx<'js>, input: Text, base: Opt<Option<Text>>) -> Result<Option<Array<'js>>> {
    let url = match base.0.flatten() {
        None => Url::parse(&input.0).ok(),
        Some(base) => Url::parse(&base.0)
            .and_then(|base| base.join(&input.0))
            .ok(),
    };
    url.map(|url| taken(&ctx, &url)).transpose()
}

/// What a setter makes of a URL; nothing when the value is not for that part.
fn set<'js>(ctx: Ctx<'js>, href: String, part: String, value: Text) -> Result<Option<Array<'js>>> {
    let Ok(mut url) = Url::parse(&href) else {
        return Ok(None);
    };
    let done = match part.as_str() {
        "protocol" => quirks::set_protocol(&mut url, &value.0),
        "username" => quirks::set_username(&mut url, &value.0),
        "password" => quirks::set_password(&mut url, &value.0),
        "host" => quirks::set_host(&mut url, &value.0),
        "hostname" => quirks::set_hostname(&mut url, &value.0),
        "port" => quirks::set_port(&mut url, &value.0),
        "pathname" => {
            quirks::set_pathname(&mut url, &value.0);
            Ok(())
        }
        "search" => {
            quirks::set_search(&mut url, &value.0);
            Ok(())
        }
        "hash" => {
            quirks::set_hash(&mut url, &value.0);
            Ok(())
        }
        _ => Err(()),
    };
    done.ok().map(|()| taken(&ctx, &url)).transpose()
}

fn origin(href: String) -> String {
    Url::parse(&href).map_or_else(|_| "null".into(), |url| url.origin().ascii_serialization())
}

pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    native.set("parse", Func::from(parse))?;
    native.set("set", Func::from(set))?;
    native.set("origin", Function::new(ctx.clone(), origin)?)?;
    Ok(native)
}
