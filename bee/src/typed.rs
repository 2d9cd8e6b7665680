//! Bees of values instead of bytes.
use crate::{
    batch::Batch,
    error::{Error, Result},
    hyperbee::{Entry, Hyperbee},
    range::RangeOptions,
};
use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::StreamExt;
use pome_cores::Durability;
use pome_encoding::Codec;
use std::fmt;

/// A key and its value, decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedEntry<K, V> {
    /// The block that has it.
    pub seq: u64,
    /// The key.
    pub key: K,
    /// The value; `None` when none was put.
    pub value: Option<V>,
}

/// The entries of a range, decoded. The first error of the bee ends it.
pub type TypedEntries<K, V> = BoxStream<'static, Result<TypedEntry<K, V>>>;

/// Which keys, in which direction, and how many: [`RangeOptions`] with keys of a type.
#[derive(Debug, Clone)]
pub struct TypedRange<K> {
    /// Only keys above this.
    pub gt: Option<K>,
    /// Only keys from this on.
    pub gte: Option<K>,
    /// Only keys below this.
    pub lt: Option<K>,
    /// Only keys up to this.
    pub lte: Option<K>,
    /// From the last key to the first.
    pub reverse: bool,
    /// At most so many entries.
    pub limit: Option<u64>,
}

impl<K> Default for TypedRange<K> {
    fn default() -> Self {
        Self {
            gt: None,
            gte: None,
            lt: None,
            lte: None,
            reverse: false,
            limit: None,
        }
    }
}

/// A [`Hyperbee`] with an encoding for keys and one for values (npm `keyEncoding`, `valueEncoding`). Keys are ordered by their bytes: an encoding of
/// keys must keep the order that is wanted, as `RawText` and `Lexint` do.
///
/// ```
/// use pome_bee::{Hyperbee, TypedRange};
/// use pome_encoding::{Charset, RAW_JSON, RawText};
/// # use pome_cores::{CoreOptions, Corestore};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let store = pome_storage::Store::open(folder.path(), pome_storage::Options::default())?;
/// # let cores = Corestore::open(store)?;
/// let bee = Hyperbee::new(cores.get(CoreOptions::name("fruit")).await?);
/// let bee = bee.typed(RawText(Charset::Utf8), RAW_JSON);
/// bee.put(&"apple".into(), &serde_json::json!({ "colour": "red" })).await?;
/// let apple = bee.get(&"apple".into()).await?.ok_or("no apple")?;
/// assert_eq!(apple.value.ok_or("no value")?["colour"], "red");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TypedBee<K, V> {
    bee: Hyperbee,
    keys: K,
    values: V,
}

impl<K, V> fmt::Debug for TypedBee<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TypedBee").field(&self.bee).finish()
    }
}

impl Hyperbee {
    /// This bee with encodings for keys and values.
    pub fn typed<K: Codec, V: Codec>(&self, keys: K, values: V) -> TypedBee<K, V> {
        TypedBee {
            bee: self.clone(),
            keys,
            values,
        }
    }
}

fn encode<C: Codec>(codec: &C, value: &C::Value) -> Result<Bytes> {
    let bytes = codec.to_vec(value);
    Ok(bytes
        .map_err(|why| pome_cores::Error::Unencodable { why })?
        .into())
}

impl<K: Codec, V: Codec> TypedBee<K, V> {
    /// The bee below, for all that has nothing to do with types: history, watchers, transactions.
    pub fn bee(&self) -> &Hyperbee {
        &self.bee
    }

    /// What an entry of the bee below says.
    ///
    /// # Errors
    /// `DECODING_ERROR` for a key or value of another encoding.
    pub fn decode(&self, entry: &Entry) -> Result<TypedEntry<K::Value, V::Value>> {
        let bad = |why| {
            let (key, index) = (self.bee.core().key(), entry.seq);
            Error::from(pome_cores::Error::BadValue { key, index, why })
        };
        let value = entry.value.as_ref();
        let value = value.map(|value| self.values.from_slice(value).map_err(bad));
        Ok(TypedEntry {
            seq: entry.seq,
            key: self.keys.from_slice(&entry.key).map_err(bad)?,
            value: value.transpose()?,
        })
    }

    /// A range of keys as the bee below has it.
    ///
    /// # Errors
    /// `BAD_ARGUMENT` for a key that the encoding has no bytes for.
    pub fn encode_range(&self, range: &TypedRange<K::Value>) -> Result<RangeOptions> {
        let key = |key: &Option<K::Value>| {
            let key = key.as_ref().map(|key| encode(&self.keys, key));
            key.transpose()
        };
        Ok(RangeOptions {
            gt: key(&range.gt)?,
            gte: key(&range.gte)?,
            lt: key(&range.lt)?,
            lte: key(&range.lte)?,
            reverse: range.reverse,
            limit: range.limit,
        })
    }

    /// As [`Hyperbee::get`].
    ///
    /// # Errors
    /// As [`Hyperbee::get`], and those of the encodings.
    pub async fn get(&self, key: &K::Value) -> Result<Option<TypedEntry<K::Value, V::Value>>> {
        let entry = self.bee.get(&encode(&self.keys, key)?).await?;
        entry.map(|entry| self.decode(&entry)).transpose()
    }

    /// As [`Hyperbee::put`].
    ///
    /// # Errors
    /// As [`Hyperbee::put`], and those of the encodings.
    pub async fn put(&self, key: &K::Value, value: &V::Value) -> Result<()> {
        let (key, value) = (encode(&self.keys, key)?, encode(&self.values, value)?);
        self.bee.put(&key, value).await
    }

    /// As [`Hyperbee::del`].
    ///
    /// # Errors
    /// As [`Hyperbee::del`], and those of the encodings.
    pub async fn del(&self, key: &K::Value) -> Result<()> {
        self.bee.del(&encode(&self.keys, key)?).await
    }

    /// As [`Hyperbee::peek`].
    ///
    /// # Errors
    /// As [`Hyperbee::peek`], and those of the encodings.
    pub async fn peek(
        &self,
        range: &TypedRange<K::Value>,
    ) -> Result<Option<TypedEntry<K::Value, V::Value>>> {
        let entry = self.bee.peek(self.encode_range(range)?).await?;
        entry.map(|entry| self.decode(&entry)).transpose()
    }

    /// As [`Hyperbee::range`].
    ///
    /// # Errors
    /// `BAD_ARGUMENT` for a key that the encoding has no bytes for.
    pub fn range(&self, range: &TypedRange<K::Value>) -> Result<TypedEntries<K::Value, V::Value>>
    where
        K: Clone + Send + 'static,
        V: Clone + Send + 'static,
        K::Value: Send,
        V::Value: Send,
    {
        let typed = self.clone();
        let entries = self.bee.range(self.encode_range(range)?);
        Ok(entries.map(move |entry| typed.decode(&entry?)).boxed())
    }

    /// As [`Hyperbee::batch`].
    pub fn batch(&self) -> TypedBatch<'_, K, V> {
        TypedBatch {
            typed: self,
            batch: self.bee.batch(),
        }
    }

    /// As [`Hyperbee::sub`], with the same encodings.
    #[must_use]
    pub fn sub(&self, prefix: impl AsRef<[u8]>) -> Self
    where
        K: Clone,
        V: Clone,
    {
        Self {
            bee: self.bee.sub(prefix),
            ..self.clone()
        }
    }

    /// As [`Hyperbee::checkout`], with the same encodings.
    #[must_use]
    pub fn checkout(&self, version: u64) -> Self
    where
        K: Clone,
        V: Clone,
    {
        Self {
            bee: self.bee.checkout(version),
            ..self.clone()
        }
    }
}

/// A [`Batch`] with encodings.
pub struct TypedBatch<'a, K, V> {
    typed: &'a TypedBee<K, V>,
    batch: Batch,
}

impl<K: Codec, V: Codec> TypedBatch<'_, K, V> {
    /// As [`Batch::get`].
    ///
    /// # Errors
    /// As [`Batch::get`], and those of the encodings.
    pub async fn get(&self, key: &K::Value) -> Result<Option<TypedEntry<K::Value, V::Value>>> {
        let entry = self.batch.get(&encode(&self.typed.keys, key)?).await?;
        entry.map(|entry| self.typed.decode(&entry)).transpose()
    }

    /// As [`Batch::put`].
    ///
    /// # Errors
    /// As [`Batch::put`], and those of the encodings.
    pub async fn put(&mut self, key: &K::Value, value: &V::Value) -> Result<()> {
        let (keys, values) = (&self.typed.keys, &self.typed.values);
        let (key, value) = (encode(keys, key)?, encode(values, value)?);
        self.batch.put(&key, value).await
    }

    /// As [`Batch::del`].
    ///
    /// # Errors
    /// As [`Batch::del`], and those of the encodings.
    pub async fn del(&mut self, key: &K::Value) -> Result<()> {
        self.batch.del(&encode(&self.typed.keys, key)?).await
    }

    /// As [`Batch::flush`].
    ///
    /// # Errors
    /// As [`Batch::flush`].
    pub async fn flush(self, durability: Durability) -> Result<()> {
        self.batch.flush(durability).await
    }
}
