//! Hashes and what is made of them: HMAC, PBKDF2. Numbers as in `crypto.constants.hash`.

use blake2::{Blake2b, digest::consts::U32};
use hmac::{
    KeyInit, SimpleHmac,
    digest::{FixedOutput, Update},
};
use parking_lot::Mutex;
use rquickjs::{ArrayBuffer, Ctx, JsLifetime, Value, class::Trace};

use super::invalid;
use crate::engine::bytes;

/// A hash or HMAC that is under way.
trait Running: Send {
    fn update(&mut self, data: &[u8]);
    fn finish(self: Box<Self>) -> Vec<u8>;
}

impl<T: Update + FixedOutput + Send> Running for T {
    fn update(&mut self, data: &[u8]) {
        Update::update(self, data);
    }

    fn finish(self: Box<Self>) -> Vec<u8> {
        self.finalize_fixed().to_vec()
    }
}

/// Does `$body` with `$hash` as the type of the hash with this number; `None` for a number that is none.
#[rustfmt::skip]
macro_rules! with_hash {
    ($number:expr, $hash:ident => $body:expr) => {
        match $number {
            1 => Some({ type $hash = md5::Md5; $body }),
            2 => Some({ type $hash = sha1::Sha1; $body }),
            3 => Some({ type $hash = sha2::Sha256; $body }),
            4 => Some({ type $hash = sha2::Sha384; $body }),
            5 => Some({ type $hash = sha2::Sha512; $body }),
            6 => Some({ type $hash = Blake2b<U32>; $body }),
            7 => Some({ type $hash = ripemd::Ripemd160; $body }),
            _ => None,
        }
    };
}

fn start(number: u32, key: Option<&[u8]>) -> Option<Box<dyn Running>> {
    match key {
        None => with_hash!(number, H => Box::new(H::default()) as Box<dyn Running>),
        Some(key) => with_hash!(number, H => {
            // HMAC takes keys of any length.
            SimpleHmac::<H>::new_from_slice(key).ok().map(|hmac| Box::new(hmac) as Box<dyn Running>)
        })
        .flatten(),
    }
}

/// A hash, or with a key an HMAC.
#[derive(Trace, JsLifetime)]
#[rquickjs::class]
pub(crate) struct Hash {
    #[qjs(skip_trace)]
    running: Mutex<Option<Box<dyn Running>>>,
}

#[rquickjs::methods]
impl Hash {
    #[qjs(constructor)]
    fn new<'js>(ctx: Ctx<'js>, number: u32, key: Value<'js>) -> rquickjs::Result<Self> {
        let running = match key.is_object() {
            true => bytes::read(&key, |key| start(number, Some(key)))?,
            false => start(number, None),
        };
        match running {
            Some(running) => Ok(Self {
                running: Mutex::new(Some(running)),
            }),
            None => Err(invalid(&ctx, "unknown hash")),
        }
    }

    /// False when it was finished already.
    fn update(&self, data: Value<'_>) -> rquickjs::Result<bool> {
        let mut running = self.running.lock();
        match running.as_mut() {
            Some(running) => bytes::read(&data, |data| running.update(data)).map(|()| true),
            None => Ok(false),
        }
    }

    /// The hash, once; then nothing.
    fn finish<'js>(&self, ctx: Ctx<'js>) -> rquickjs::Result<Option<ArrayBuffer<'js>>> {
        let running = self.running.lock().take();
        running
            .map(|running| ArrayBuffer::new(ctx, running.finish()))
            .transpose()
    }
}

/// `pbkdf2(password, salt, iterations, length, hash)`.
pub(super) fn pbkdf2<'js>(
    ctx: Ctx<'js>,
    password: Value<'js>,
    salt: Value<'js>,
    iterations: f64,
    length: f64,
    number: u32,
) -> rquickjs::Result<ArrayBuffer<'js>> {
    let (password, salt) = (bytes::copy(&password)?, bytes::copy(&salt)?);
    let mut key = vec![0; length as usize];
    let derived = with_hash!(number, H =>
        pbkdf2::pbkdf2::<SimpleHmac<H>>(&password, &salt, iterations as u32, &mut key).is_ok()
    );
    match derived {
        Some(true) => ArrayBuffer::new(ctx, key),
        _ => Err(invalid(&ctx, "unknown hash")),
    }
}
