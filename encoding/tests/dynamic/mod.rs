//! Encodings by the names of the vector file, over its tagged JSON values.

use pome_encoding::*;
use pome_test_support::hex;
use serde_json::{Map, Number, Value, json};
use std::net::IpAddr;

type Encode = Box<dyn Fn(&Value) -> Option<Vec<u8>>>;
type Decode = Box<dyn Fn(&[u8]) -> Result<(Value, usize), CodecError>>;

/// One encoding, whatever its type.
pub(crate) struct Encoding {
    encode: Encode,
    decode: Decode,
}

impl Encoding {
    /// The bytes; `None` when the value is refused or cannot be said at all.
    pub(crate) fn encode(&self, value: &Value) -> Option<Vec<u8>> {
        (self.encode)(value)
    }
    /// The value and how many bytes it took.
    pub(crate) fn decode(&self, bytes: &[u8]) -> Result<(Value, usize), CodecError> {
        (self.decode)(bytes)
    }
}

/// `from` gives `None` for a value that the Rust type cannot hold.
fn of<C>(
    codec: C,
    from: impl Fn(&Value) -> Option<C::Value> + 'static,
    to: impl Fn(C::Value) -> Value + 'static,
) -> Encoding
where
    C: Codec + Copy + 'static,
{
    Encoding {
        encode: Box::new(move |value| {
            let value = from(value)?;
            let bytes = codec.to_vec(&value).ok()?;
            assert_eq!(codec.encoded_len(&value), bytes.len());
            Some(bytes)
        }),
        decode: Box::new(move |bytes| {
            let mut reader = Reader::new(bytes);
            let value = codec.decode(&mut reader)?;
            Ok((to(value), bytes.len() - reader.rest().len()))
        }),
    }
}

fn tagged(bytes: impl AsRef<[u8]>) -> Value {
    let digits: String = bytes.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    json!({ "$hex": digits })
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    value.get("$hex").map(hex)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn float(value: &Value) -> Option<f64> {
    match value.get("$num").map(|n| n.as_str().unwrap()) {
        None => value.as_f64(),
        Some("NaN") => Some(f64::NAN),
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        Some("-0") => Some(-0.0),
        Some(other) => panic!("unknown number {other}"),
    }
}

fn from_float(n: f64) -> Value {
    if n == 0.0 && n.is_sign_negative() {
        json!({ "$num": "-0" })
    } else if n.is_nan() {
        json!({ "$num": "NaN" })
    } else if n.is_infinite() {
        json!({ "$num": if n > 0.0 { "Infinity" } else { "-Infinity" } })
    } else if n.fract() == 0.0 && n.abs() < 9e15 {
        json!(n as i64)
    } else {
        Value::Number(Number::from_f64(n).unwrap())
    }
}

/// A decimal number as words, and its sign.
fn bigint(value: &Value) -> Option<Integer> {
    let text = value.get("$bigint")?.as_str().unwrap();
    let digits = text.strip_prefix('-').unwrap_or(text);
    let mut words: Vec<u64> = Vec::new();
    for digit in digits.bytes() {
        let mut carry = u128::from(digit - b'0');
        for word in &mut words {
            carry += u128::from(*word) * 10;
            *word = carry as u64;
            carry >>= 64;
        }
        words.push(carry as u64);
    }
    Some(Integer::new(
        text.starts_with('-'),
        Natural::from_words(words),
    ))
}

fn from_bigint(n: &Integer) -> Value {
    let mut words = n.magnitude().words().to_vec();
    let mut digits = Vec::new();
    while words.iter().any(|word| *word != 0) {
        let mut rest = 0u128;
        for word in words.iter_mut().rev() {
            let all = (rest << 64) | u128::from(*word);
            *word = (all / 10) as u64;
            rest = all % 10;
        }
        digits.push(char::from(b'0' + rest as u8));
    }
    if digits.is_empty() {
        digits.push('0');
    }
    if n.is_negative() {
        digits.push('-');
    }
    json!({ "$bigint": digits.iter().rev().collect::<String>() })
}

fn small_bigint(value: &Value) -> Option<i128> {
    value.get("$bigint")?.as_str().unwrap().parse().ok()
}

fn any(value: &Value) -> Option<AnyValue> {
    Some(match value {
        Value::Null => AnyValue::Null,
        Value::Bool(b) => AnyValue::Bool(*b),
        Value::String(text) => AnyValue::String(text.clone()),
        Value::Number(n) => match (n.as_u64(), n.as_i64()) {
            (Some(n), _) => AnyValue::Uint(n),
            (_, Some(n)) => AnyValue::Int(n),
            _ => AnyValue::Float(n.as_f64()?),
        },
        Value::Array(list) => AnyValue::Array(list.iter().map(any).collect::<Option<_>>()?),
        Value::Object(map) => match map.keys().next().map(String::as_str) {
            Some("$undefined") => AnyValue::Null,
            Some("$hex") => AnyValue::Buffer(bytes(value)?),
            Some("$num") => AnyValue::Float(float(value)?),
            Some("$date") => AnyValue::Date(value["$date"].as_i64()?),
            Some(name) if name.starts_with('$') => panic!("unknown tag {name}"),
            _ => {
                let entry = |(name, value): (&String, &Value)| Some((name.clone(), any(value)?));
                AnyValue::Object(map.iter().map(entry).collect::<Option<_>>()?)
            }
        },
    })
}

fn from_any(value: AnyValue) -> Value {
    match value {
        AnyValue::Null => Value::Null,
        AnyValue::Bool(b) => json!(b),
        AnyValue::String(text) => json!(text),
        AnyValue::Buffer(bytes) => tagged(bytes),
        AnyValue::Uint(n) => json!(n),
        AnyValue::Int(n) => json!(n),
        AnyValue::Float(n) => from_float(n),
        AnyValue::Array(list) => list.into_iter().map(from_any).collect(),
        AnyValue::Object(entries) => object(entries, from_any),
        AnyValue::Date(ms) => json!({ "$date": ms }),
    }
}

fn object<V>(entries: Vec<(String, V)>, to: impl Fn(V) -> Value) -> Value {
    let entries = entries.into_iter().map(|(name, value)| (name, to(value)));
    Value::Object(entries.collect::<Map<_, _>>())
}

fn entries<V>(value: &Value, from: impl Fn(&Value) -> Option<V>) -> Option<Vec<(String, V)>> {
    let entry = |(name, value): (&String, &Value)| Some((name.clone(), from(value)?));
    value.as_object()?.iter().map(entry).collect()
}

fn list<V>(value: &Value, from: impl Fn(&Value) -> Option<V>) -> Option<Vec<V>> {
    value.as_array()?.iter().map(from).collect()
}

fn uint(codec: impl Codec<Value = u64> + Copy + 'static) -> Encoding {
    of(codec, Value::as_u64, |n| json!(n))
}

fn int(codec: impl Codec<Value = i64> + Copy + 'static) -> Encoding {
    of(codec, Value::as_i64, |n| json!(n))
}

fn string(codec: impl Codec<Value = String> + Copy + 'static) -> Encoding {
    of(codec, text, |text| json!(text))
}

fn buffer(codec: impl Codec<Value = Vec<u8>> + Copy + 'static) -> Encoding {
    of(codec, bytes, tagged)
}

fn binary(codec: impl Codec<Value = Vec<u8>> + Copy + 'static) -> Encoding {
    let from = |value: &Value| text(value).map(String::into_bytes).or_else(|| bytes(value));
    of(codec, from, tagged)
}

fn any_json(codec: impl Codec<Value = Value> + Copy + 'static) -> Encoding {
    of(codec, |value| Some(value.clone()), |value| value)
}

fn fixed<const N: usize>() -> Encoding {
    of(Fixed::<N>, |value| bytes(value)?.try_into().ok(), tagged)
}

fn typed<C, T>(
    codec: C,
    class: &'static str,
    from: impl Fn(&Value) -> Option<T> + Copy + 'static,
    to: impl Fn(T) -> Value + Copy + 'static,
) -> Encoding
where
    C: Codec<Value = Vec<T>> + Copy + 'static,
    T: 'static,
{
    of(
        codec,
        move |value| {
            assert_eq!(value["$typed"], class);
            list(&value["values"], from)
        },
        move |numbers: Vec<T>| {
            let values: Vec<_> = numbers.into_iter().map(to).collect();
            json!({ "$typed": class, "values": values })
        },
    )
}

macro_rules! whole {
    ($codec:ident, $type:ty, $class:literal) => {
        typed(
            $codec::<$type>::new(),
            $class,
            |value| value.as_i64()?.try_into().ok(),
            |n: $type| json!(n),
        )
    };
}

fn host(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => ipv6_text(&ip),
    }
}

fn address<C>(codec: C) -> Encoding
where
    C: Codec + Copy + 'static,
    C::Value: std::str::FromStr + Into<IpAddr>,
{
    of(
        Address(codec),
        |value| {
            let host = value["host"].as_str()?.parse().ok()?;
            Some((host, value["port"].as_u64()?.try_into().ok()?))
        },
        |(ip, port)| {
            let ip: IpAddr = ip.into();
            json!({ "host": host(ip), "family": if ip.is_ipv4() { 4 } else { 6 }, "port": port })
        },
    )
}

fn ip<C>(codec: C) -> Encoding
where
    C: Codec + Copy + 'static,
    C::Value: std::str::FromStr + Into<IpAddr>,
{
    let from = |value: &Value| value.as_str()?.parse().ok();
    of(codec, from, |ip: C::Value| json!(host(ip.into())))
}

/// The encoding with this name.
///
/// # Panics
/// When no encoding has it.
pub(crate) fn encoding(name: &str) -> Encoding {
    let from_uint = Value::as_u64;
    match name {
        "uint" => uint(Uint),
        "uint8" => uint(UINT8),
        "uint16" | "port" => uint(UINT16),
        "uint24" => uint(UINT24),
        "uint32" => uint(UINT32),
        "uint32be" => uint(UINT32BE),
        "uint40" => uint(UINT40),
        "uint48" => uint(UINT48),
        "uint56" => uint(UINT56),
        "uint64" => uint(UINT64),
        "uint64be" => uint(UINT64BE),
        "lexint" => uint(Lexint),
        "int" => int(INT),
        "int8" => int(INT8),
        "int16" => int(INT16),
        "int24" => int(INT24),
        "int32" => int(INT32),
        "int40" => int(INT40),
        "int48" => int(INT48),
        "int56" => int(INT56),
        "int64" => int(INT64),
        "biguint64" => of(
            BigUint64,
            |value| small_bigint(value)?.try_into().ok(),
            |n| json!({ "$bigint": n.to_string() }),
        ),
        "bigint64" => of(
            BigInt64,
            |value| small_bigint(value)?.try_into().ok(),
            |n| json!({ "$bigint": n.to_string() }),
        ),
        "biguint" => of(
            BigUint,
            |value| {
                let n = bigint(value)?;
                (!n.is_negative()).then(|| n.magnitude().clone())
            },
            |n| from_bigint(&Integer::new(false, n)),
        ),
        "bigint" => of(BigInt, bigint, |n| from_bigint(&n)),
        "float32" => of(
            FLOAT32,
            |value| float(value).map(|n| n as f32),
            |n| from_float(f64::from(n)),
        ),
        "float64" => of(FLOAT64, float, from_float),
        "bool" => of(Bool, Value::as_bool, |b| json!(b)),
        "none" => of(Nothing, |_| Some(()), |()| Value::Null),
        "date" => of(
            Date,
            |value| value["$date"].as_i64(),
            |ms| json!({ "$date": ms }),
        ),
        "string" | "utf8" => string(STRING),
        "ascii" => string(Text(Charset::Ascii)),
        "hex" => string(Text(Charset::Hex)),
        "base64" => string(Text(Charset::Base64)),
        "ucs2" => string(Text(Charset::Ucs2)),
        "string.fixed(4)" => string(FixedText(Charset::Utf8, 4)),
        "ascii.fixed(4)" => string(FixedText(Charset::Ascii, 4)),
        "hex.fixed(3)" => string(FixedText(Charset::Hex, 3)),
        "base64.fixed(5)" => string(FixedText(Charset::Base64, 5)),
        "raw.string" | "from(utf-8)" => string(RawText(Charset::Utf8)),
        "raw.ascii" | "from(ascii)" => string(RawText(Charset::Ascii)),
        "raw.hex" | "from(hex)" => string(RawText(Charset::Hex)),
        "raw.base64" | "from(base64)" => string(RawText(Charset::Base64)),
        "raw.ucs2" | "from(utf16le)" => string(RawText(Charset::Ucs2)),
        "buffer" | "arraybuffer" | "uint8array" => buffer(Buffer),
        "binary" => binary(Buffer),
        "raw" | "raw.arraybuffer" => buffer(Raw),
        "from(binary)" => binary(Raw),
        "optionalBuffer" => of(
            OptionalBuffer,
            |value| Some(bytes(value)),
            |bytes| bytes.map_or(Value::Null, tagged),
        ),
        "fixed8" => fixed::<8>(),
        "fixed16" => fixed::<16>(),
        "fixed24" => fixed::<24>(),
        "fixed32" => fixed::<32>(),
        "fixed64" => fixed::<64>(),
        "fixed(5)" => fixed::<5>(),
        "bitarray" => of(
            BitArray,
            |value| list(value, Value::as_bool),
            |bits| json!(bits),
        ),
        "uint16array" => whole!(TypedArray, u16, "Uint16Array"),
        "uint32array" => whole!(TypedArray, u32, "Uint32Array"),
        "int8array" => whole!(TypedArray, i8, "Int8Array"),
        "int16array" => whole!(TypedArray, i16, "Int16Array"),
        "int32array" => whole!(TypedArray, i32, "Int32Array"),
        "raw.uint32array" => whole!(RawTypedArray, u32, "Uint32Array"),
        "biguint64array" => typed(
            TypedArray::<u64>::new(),
            "BigUint64Array",
            |value| small_bigint(value)?.try_into().ok(),
            |n| json!({ "$bigint": n.to_string() }),
        ),
        "bigint64array" => typed(
            TypedArray::<i64>::new(),
            "BigInt64Array",
            |value| small_bigint(value)?.try_into().ok(),
            |n| json!({ "$bigint": n.to_string() }),
        ),
        "float32array" => typed(
            TypedArray::<f32>::new(),
            "Float32Array",
            |value| float(value).map(|n| n as f32),
            |n| from_float(f64::from(n)),
        ),
        "float64array" => typed(TypedArray::<f64>::new(), "Float64Array", float, from_float),
        "array(uint)" => of(
            Array(Uint),
            move |value| list(value, from_uint),
            |n| json!(n),
        ),
        "array(string)" => of(Array(STRING), |value| list(value, text), |list| json!(list)),
        "array(array(uint8))" => of(
            Array(Array(UINT8)),
            move |value| list(value, |value| list(value, from_uint)),
            |list| json!(list),
        ),
        "array(buffer)" => of(
            Array(Buffer),
            |value| list(value, bytes),
            |list: Vec<Vec<u8>>| list.into_iter().map(tagged).collect(),
        ),
        "raw.array(uint)" => of(
            RawArray(Uint),
            move |value| list(value, from_uint),
            |list| json!(list),
        ),
        "frame(uint)" => uint(Frame(Uint)),
        "frame(string)" => string(Frame(STRING)),
        "frame(frame(buffer))" => buffer(Frame(Frame(Buffer))),
        "json" => any_json(JSON),
        "ndjson" => any_json(NDJSON),
        "raw.json" | "from(json)" => any_json(RAW_JSON),
        "raw.ndjson" | "from(ndjson)" => any_json(RAW_NDJSON),
        "any" => of(Any, any, from_any),
        "record(string,uint)" => of(
            Record(STRING, Uint),
            move |value| entries(value, from_uint),
            |list| object(list, |n| json!(n)),
        ),
        "record(string,any)" => of(
            Record(STRING, Any),
            |value| entries(value, any),
            |list| object(list, from_any),
        ),
        "stringRecord" => of(
            STRING_RECORD,
            |value| entries(value, text),
            |list| object(list, |text| json!(text)),
        ),
        "ipv4" => ip(Ipv4),
        "ipv6" => ip(Ipv6),
        "ip" => ip(Ip),
        "ipv4Address" => address(Ipv4),
        "ipv6Address" => address(Ipv6),
        "ipAddress" => address(Ip),
        unknown => panic!("no test knows the encoding {unknown:?}"),
    }
}
