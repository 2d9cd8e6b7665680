//! JSON as JavaScript reads and writes it.
//!
//! Promised: [`stringify()`] gives the bytes of `JSON.stringify`, so what ends up in a core is what npm would have put there: numbers as
//! ECMAScript prints them, array-index names first. [`parse`] takes what `JSON.parse` takes, but no more than 128 levels of nesting; halves
//! of surrogate pairs in `\u` escapes, which no Rust string can hold, become U+FFFD.
//!
//! Source: ECMA-262, `JSON.stringify` and `Number::toString`; compact-encoding 3.5.2, `index.js` and `raw.js` (`json`, `ndjson`).

use crate::{Codec, CodecError, DecodeError, RawText, Reader, STRING, Text, object::in_key_order};
use serde_json::{Number, Value};
use std::{borrow::Cow, fmt::Write};

/// What `JSON.stringify(value)` gives.
///
/// ```
/// use pome_encoding::json;
/// let value = serde_json::json!({"b": 1e21, "7": [0.1, -0.0]});
/// assert_eq!(json::stringify(&value), r#"{"7":[0.1,0],"b":1e+21}"#);
/// ```
pub fn stringify(value: &Value) -> String {
    let mut out = String::new();
    write_value(value, &mut out);
    out
}

fn write_value(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => write_float(float, out),
            _ => {
                let _ = write!(out, "{number}");
            }
        },
        Value::String(text) => write_string(text, out),
        Value::Array(list) => {
            out.push('[');
            for (i, item) in list.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_value(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            for (i, (name, value)) in in_key_order(map, |(name, _)| name).into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_string(name, out);
                out.push(':');
                write_value(value, out);
            }
            out.push('}');
        }
    }
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..='\u{1f}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// ECMAScript's `Number::toString`: the shortest digits, with an exponent from 10^21 up and below 10^-6.
fn write_float(number: f64, out: &mut String) {
    let Some(shortest) = Number::from_f64(number.abs()).filter(|_| number != 0.0) else {
        out.push_str(if number == 0.0 { "0" } else { "null" });
        return;
    };
    // Of two equally short spellings serde_json takes the one with an even last digit, as JavaScript does; `{:e}` takes the other.
    let shortest = shortest.to_string();
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    let leading = digits.len() - digits.trim_start_matches('0').len();
    // Where the decimal point stands, counted in digits from the left.
    let point = exponent.parse::<i32>().unwrap_or(0) + whole.len() as i32 - leading as i32;
    let digits = digits.trim_matches('0');
    let count = digits.len() as i32;
    if number < 0.0 {
        out.push('-');
    }
    let zeros = |n: i32| "0".repeat(n.unsigned_abs() as usize);
    match point {
        1..=21 if count <= point => {
            out.push_str(digits);
            out.push_str(&zeros(point - count));
        }
        1..=21 => {
            let (whole, fraction) = digits.split_at(point as usize);
            let _ = write!(out, "{whole}.{fraction}");
        }
        -5..=0 => {
            let _ = write!(out, "0.{}{digits}", zeros(point));
        }
        _ => {
            let (first, rest) = digits.split_at(1);
            let dot = if rest.is_empty() { "" } else { "." };
            let _ = write!(out, "{first}{dot}{rest}e{:+}", point - 1);
        }
    }
}

/// What `JSON.parse(text)` gives.
///
/// # Errors
/// [`DecodeError::Invalid`] for text that is no JSON.
pub fn parse(text: &str) -> Result<Value, DecodeError> {
    let invalid = |_| DecodeError::Invalid { what: "json" };
    serde_json::from_str(text).or_else(|e| match without_lone_surrogates(text) {
        Cow::Borrowed(_) => Err(invalid(e)),
        Cow::Owned(text) => serde_json::from_str(&text).map_err(invalid),
    })
}

/// The text with `\ufffd` in the place of each `\u` escape that is half a surrogate pair.
fn without_lone_surrogates(text: &str) -> Cow<'_, str> {
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut out = String::new();
    let (mut at, mut kept) = (0, 0);
    while let Some(found) = text.get(at..).and_then(|rest| rest.find('\\')) {
        at += found;
        match (unit(at), unit(at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => at += 12,
            (Some(0xd800..=0xdfff), _) => {
                out.push_str(&text[kept..at]);
                out.push_str("\\ufffd");
                at += 6;
                kept = at;
            }
            _ => at += 2,
        }
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[kept..]);
    Cow::Owned(out)
}

/// A text encoding that carries JSON.
#[derive(Debug, Clone, Copy, Default)]
pub struct Json<T> {
    text: T,
    line: bool,
}

/// npm `json`: a `uint` length, then JSON.
pub const JSON: Json<Text> = Json {
    text: STRING,
    line: false,
};
/// npm `ndjson`: as [`JSON`], with a line feed at the end.
pub const NDJSON: Json<Text> = Json {
    text: STRING,
    line: true,
};
/// npm `raw.json`: JSON to the end of the input.
pub const RAW_JSON: Json<RawText> = Json {
    text: RawText(crate::Charset::Utf8),
    line: false,
};
/// npm `raw.ndjson`: as [`RAW_JSON`], with a line feed at the end.
pub const RAW_NDJSON: Json<RawText> = Json {
    text: RawText(crate::Charset::Utf8),
    line: true,
};

impl<T> Json<T> {
    fn write(&self, value: &Value) -> String {
        let mut text = stringify(value);
        if self.line {
            text.push('\n');
        }
        text
    }
}

impl<T: Codec<Value = String>> Codec for Json<T> {
    type Value = Value;
    fn encoded_len(&self, value: &Value) -> usize {
        self.text.encoded_len(&self.write(value))
    }
    fn encode(&self, value: &Value, out: &mut Vec<u8>) -> Result<(), CodecError> {
        self.text.encode(&self.write(value), out)
    }
    fn decode(&self, input: &mut Reader<'_>) -> Result<Value, CodecError> {
        parse(&self.text.decode(input)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_print_as_in_javascript() {
        for (number, text) in [
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.1, "0.1"),
            (123_456_789.125, "123456789.125"),
            (1e20, "100000000000000000000"),
            (1.5e20, "150000000000000000000"),
            (1e21, "1e+21"),
            (1.25e21, "1.25e+21"),
            (1e-6, "0.000001"),
            (1.5e-6, "0.0000015"),
            (1e-7, "1e-7"),
            (-1.23e-7, "-1.23e-7"),
            (5e-324, "5e-324"),
            (1_369_748_370_562_444.2, "1369748370562444.2"),
            (123.0, "123"),
            (100.5, "100.5"),
            (0.001_05, "0.00105"),
            (f64::MAX, "1.7976931348623157e+308"),
            (-0.0, "0"),
            (f64::NAN, "null"),
        ] {
            let mut out = String::new();
            write_float(number, &mut out);
            assert_eq!(out, text);
        }
    }

    #[test]
    fn halves_of_pairs_are_replaced() {
        let value = parse(r#"["\ud83d\ude00","\ud800","\\ud800","\udc00x","\ud800\ud83d\ude00"]"#);
        let wanted = ["😀", "\u{fffd}", "\\ud800", "\u{fffd}x", "\u{fffd}😀"];
        assert_eq!(value, Ok(serde_json::json!(wanted)));
        for text in [
            "",
            "\\",
            "\"\\",
            "\"\\u",
            "\"\\ud8",
            "\"\\ud800",
            "é\\é",
            "{",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn text_is_escaped_as_in_javascript() {
        let text = "\u{0}\u{8}\t\n\u{b}\u{c}\r\u{1f}\"\\/\u{7f}\u{2028}é";
        let wanted = "\"\\u0000\\b\\t\\n\\u000b\\f\\r\\u001f\\\"\\\\/\u{7f}\u{2028}é\"";
        assert_eq!(stringify(&text.into()), wanted);
    }
}
