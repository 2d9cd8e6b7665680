//! JSON as JavaScript's `JSON.stringify` writes it: the entries of a drive are such texts, byte for byte.
//!
//! serde_json differs in one thing: how it writes numbers that are no integers.

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};
use std::io;

/// `value` as `JSON.stringify(value)` gives it.
pub(crate) fn to_vec<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut out, JavaScript);
    value
        .serialize(&mut serializer)
        .expect("a JSON value in memory serializes");
    out
}

struct JavaScript;

impl Formatter for JavaScript {
    fn write_f64<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        if !value.is_finite() {
            return CompactFormatter.write_null(writer);
        }
        writer.write_all(number(value).as_bytes())
    }
}

/// JavaScript's `String(value)` for a finite number: the shortest digits that read back, plain from 1e-7 up to 1e21.
fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".into();
    }
    let scientific = format!("{:e}", value.abs());
    let (mantissa, exponent) = scientific
        .split_once('e')
        .expect("{:e} always writes an exponent");
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    let exponent: i32 = exponent.parse().expect("{:e} writes an integer exponent");
    let count = digits.len() as i32;
    let point = exponent + 1; // the decimal point stands after so many digits
    let mut out = String::new();
    if value < 0.0 {
        out.push('-');
    }
    if (count..=21).contains(&point) {
        out.push_str(&digits);
        out.extend(std::iter::repeat_n('0', (point - count) as usize));
    } else if (1..=21).contains(&point) {
        let (whole, rest) = digits.split_at(point as usize);
        out.push_str(whole);
        out.push('.');
        out.push_str(rest);
    } else if (-5..=0).contains(&point) {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', -point as usize));
        out.push_str(&digits);
    } else {
        let (first, rest) = digits.split_at(1);
        out.push_str(first);
        if !rest.is_empty() {
            out.push('.');
            out.push_str(rest);
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        out.push_str(&format!("e{sign}{}", exponent.abs()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_javascripts() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (123456.789, "123456.789"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (1e-6, "0.000001"),
            (1.2e-6, "0.0000012"),
            (1e-7, "1e-7"),
            (5e-324, "5e-324"),
            (0.1, "0.1"),
            (1700000000123.5, "1700000000123.5"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn strings_are_javascripts() {
        let value =
            serde_json::json!({"a": "\u{1}\u{8}\n\"\\/é\u{7f}\u{2028}", "b": [null, true, 1e21]});
        let text = String::from_utf8(to_vec(&value)).unwrap();
        assert_eq!(
            text,
            "{\"a\":\"\\u0001\\b\\n\\\"\\\\/é\u{7f}\u{2028}\",\"b\":[null,true,1e+21]}"
        );
    }
}
