//! Cores of values instead of bytes.

use std::fmt;

use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use pome_encoding::Codec;

use crate::{
    error::Error,
    hypercore::Hypercore,
    options::{Appended, GetOptions},
    streams::ReadStreamOptions,
};

/// A [`Hypercore`] whose blocks are values of one encoding (npm `valueEncoding`). Cheap to clone where the encoding is.
///
/// The whole block is the value: npm's `json`, `utf-8`, `hex` and so on are `RAW_JSON` and `RawText`; any other [`Codec`] is what npm does with a
/// compact encoding.
///
/// ```
/// use pome_cores::{CoreOptions, Corestore, Store};
/// use pome_encoding::RAW_JSON;
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// # let dir = tempfile::tempdir()?;
/// let cores = Corestore::open(Store::open(dir.path(), Default::default())?)?;
/// let core = cores.get(CoreOptions::name("log")).await?.typed(RAW_JSON);
/// core.append(&serde_json::json!({ "n": 1 })).await?;
/// assert_eq!(core.get(0).await?["n"], 1);
/// assert_eq!(core.core().get(0).await?, r#"{"n":1}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct TypedCore<C> {
    core: Hypercore,
    codec: C,
}

impl<C> fmt::Debug for TypedCore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedCore").field(&self.core).finish()
    }
}

impl Hypercore {
    /// This session, with values of `codec` for blocks.
    pub fn typed<C: Codec>(&self, codec: C) -> TypedCore<C> {
        TypedCore {
            core: self.clone(),
            codec,
        }
    }
}

impl<C: Codec> TypedCore<C> {
    /// The session below, for all that has nothing to do with values.
    pub fn core(&self) -> &Hypercore {
        &self.core
    }

    fn encode(&self, value: &C::Value) -> Result<Bytes, Error> {
        let bytes = self.codec.to_vec(value);
        Ok(bytes.map_err(|why| Error::Unencodable { why })?.into())
    }

    fn decode(&self, index: u64, block: &[u8]) -> Result<C::Value, Error> {
        let key = self.core.key();
        let value = self.codec.from_slice(block);
        value.map_err(|why| Error::BadValue { key, index, why })
    }

    /// Appends one value, `Buffered`.
    ///
    /// # Errors
    /// [`Unencodable`](Error::Unencodable); else as [`Hypercore::append`].
    pub async fn append(&self, value: &C::Value) -> Result<Appended, Error> {
        self.core.append(self.encode(value)?).await
    }

    /// Appends values as one atomic batch, `Buffered`.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub async fn append_batch<'a>(
        &self,
        values: impl IntoIterator<Item = &'a C::Value>,
    ) -> Result<Appended, Error>
    where
        C::Value: 'a,
    {
        let blocks = values.into_iter().map(|value| self.encode(value));
        let blocks = blocks.collect::<Result<Vec<_>, _>>()?;
        self.core.append_batch(blocks).await
    }

    /// The value at `index`; waits as [`Hypercore::get`] does.
    ///
    /// # Errors
    /// [`BadValue`](Error::BadValue) for a block that is none of this encoding; else as [`Hypercore::get`].
    pub async fn get(&self, index: u64) -> Result<C::Value, Error> {
        let block = self.core.get(index).await?;
        self.decode(index, &block)
    }

    /// As [`get`](Self::get), with the caller's word on waiting. `Ok(None)` only where it does not wait.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn get_with(
        &self,
        index: u64,
        options: GetOptions,
    ) -> Result<Option<C::Value>, Error> {
        let block = self.core.get_with(index, options).await?;
        block.map(|block| self.decode(index, &block)).transpose()
    }

    /// The values of a range, in order. The first error ends it.
    pub fn read_stream(
        &self,
        options: ReadStreamOptions,
    ) -> BoxStream<'static, Result<C::Value, Error>>
    where
        C: Clone + Send + 'static,
        C::Value: Send,
    {
        let (typed, start, reverse) = (self.clone(), options.start, options.reverse);
        let end = options.end.unwrap_or_else(|| self.core.length());
        let blocks = self.core.read_stream(options).enumerate();
        blocks
            .map(move |(at, block)| {
                let at = at as u64;
                let index = match reverse {
                    true => end.saturating_sub(1).saturating_sub(at),
                    false => start.saturating_add(at),
                };
                typed.decode(index, &block?)
            })
            .boxed()
    }
}
