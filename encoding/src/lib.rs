//! compact-encoding and the ids of the Hypercore stack.
//!
//! Everything that is written into a core or sent to a peer is made of these encodings. They are byte for byte those of the npm module
//! compact-encoding 3.5.2. Promised: decoding never panics, whatever the input, and allocates no more than a small multiple of it.
//!
//! Where it starts: [`Codec`], the shape of every encoding; [`Reader`] and [`put_uint`], which hot paths use without it; [`Key`].
#![forbid(unsafe_code)]

mod any;
mod bigint;
mod codec;
mod compose;
mod ids;
pub mod json;
mod lexint;
mod net;
mod object;
mod primitives;
mod reader;
mod text;
mod varint;
pub mod z32;

pub use any::{ANY_DEPTH_MAX, Any, AnyValue};
pub use bigint::{BigInt, BigUint, Integer, Natural};
pub use codec::{Codec, CodecError, DecodeError};
pub use compose::{ARRAY_MAX, Array, Frame, Raw, RawArray, RawTypedArray, Record, STRING_RECORD};
pub use ids::{DiscoveryKey, Key, ParseIdError, decode_id};
pub use json::{JSON, NDJSON, RAW_JSON, RAW_NDJSON};
pub use lexint::Lexint;
pub use net::{Address, Ip, IpAddress, Ipv4, Ipv6, ipv6_text};
pub use primitives::{
    BitArray, Bool, Buffer, Date, Element, FLOAT32, FLOAT64, Fixed, Nothing, OptionalBuffer, Plain,
    TypedArray,
};
pub use reader::Reader;
pub use text::{Charset, FixedText, RawText, STRING, Text};
pub use varint::{
    BigInt64, BigUint64, FixedUint, INT, INT8, INT16, INT24, INT32, INT40, INT48, INT56, INT64,
    MAX_SAFE, UINT8, UINT16, UINT24, UINT32, UINT32BE, UINT40, UINT48, UINT56, UINT64, UINT64BE,
    Uint, ZigZag, put_buffer, put_uint, uint_len,
};
