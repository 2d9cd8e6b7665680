//! Questions to servers of names, and what they answer: RFC 1035 and the records that came after it.
//!
//! ```text
//! | id: 2 | flags: 2 | counts of questions, answers, authorities, additions: 2 each | questions | answers | … |
//! ```

use crate::bare::{failure::Failure, reply::Reply};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Recursion is desired.
const FLAGS_QUESTION: u16 = 0x0100;
const IS_RESPONSE: u16 = 0x8000;
const IS_TRUNCATED: u16 = 0x0200;
const CLASS_INTERNET: u16 = 1;

/// A name has no more bytes, and a part of it no more than 63.
const NAME_MAX_BYTES: usize = 255;
const LABEL_MAX_BYTES: usize = 63;
const HEADER_BYTES: usize = 12;

fn bad_name() -> Failure {
    Failure::new("EBADNAME", "malformed name")
}

fn bad_response() -> Failure {
    Failure::new("EBADRESP", "malformed answer")
}

/// A question for the records of one type of a name.
///
/// # Errors
/// `EBADNAME` for what is no name.
pub(super) fn question(id: u16, name: &str, record_type: u16) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + name.len() + 6);
    for number in [id, FLAGS_QUESTION, 1, 0, 0, 0] {
        bytes.extend(number.to_be_bytes());
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.len() + 2 > NAME_MAX_BYTES {
        return Err(bad_name());
    }
    for label in name.split('.').filter(|_| !name.is_empty()) {
        let length = u8::try_from(label.len()).map_err(|_| bad_name())?;
        if label.is_empty() || label.len() > LABEL_MAX_BYTES {
            return Err(bad_name());
        }
        bytes.push(length);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes.extend(record_type.to_be_bytes());
    bytes.extend(CLASS_INTERNET.to_be_bytes());
    Ok(bytes)
}

/// What a server answered.
pub(super) struct Answer {
    /// 0 for success.
    pub(super) code: u16,
    /// There is more than the datagram could hold.
    pub(super) is_truncated: bool,
    /// Records of the types that are known, each with `type` and `ttl`.
    pub(super) records: Vec<Reply>,
}

/// The answer to the question `asked`; nothing where it is to another one.
///
/// # Errors
/// `EBADRESP` for what is no answer.
pub(super) fn answer(bytes: &[u8], asked: &[u8]) -> Result<Option<Answer>, Failure> {
    let mut reader = Reader { bytes, at: 0 };
    let id = reader.u16()?;
    let flags = reader.u16()?;
    let (questions, answers) = (reader.u16()?, reader.u16()?);
    reader.take(4)?;
    if asked.get(..2) != Some(&id.to_be_bytes()[..]) || flags & IS_RESPONSE == 0 {
        return Ok(None);
    }
    for _ in 0..questions {
        let start = reader.at;
        reader.name()?;
        reader.take(4)?;
        // A server says again what it was asked.
        let same = bytes.get(start..reader.at).is_some_and(|question| {
            asked
                .get(HEADER_BYTES..)
                .is_some_and(|asked| asked.eq_ignore_ascii_case(question))
        });
        if !same {
            return Ok(None);
        }
    }
    let mut records = Vec::new();
    for _ in 0..answers {
        reader.name()?;
        let (record_type, _class) = (reader.u16()?, reader.u16()?);
        let ttl = reader.u32()?;
        let length = usize::from(reader.u16()?);
        let end = reader.at.checked_add(length).ok_or_else(bad_response)?;
        if end > bytes.len() {
            return Err(bad_response());
        }
        let mut within = Reader {
            bytes: &bytes[..end],
            at: reader.at,
        };
        if let Some(record) = record(&mut within, record_type, ttl)? {
            records.push(record);
        }
        reader.at = end;
    }
    Ok(Some(Answer {
        code: flags & 0xf,
        is_truncated: flags & IS_TRUNCATED != 0,
        records,
    }))
}

fn record(reader: &mut Reader<'_>, record_type: u16, ttl: u32) -> Result<Option<Reply>, Failure> {
    let (name, mut fields) = match record_type {
        1 => {
            let bytes: [u8; 4] = reader.array()?;
            ("A", vec![("addr", text(Ipv4Addr::from(bytes)))])
        }
        28 => {
            let bytes: [u8; 16] = reader.array()?;
            ("AAAA", vec![("addr", text(Ipv6Addr::from(bytes)))])
        }
        2 => ("NS", vec![("nsdname", reader.name_reply()?)]),
        5 => ("CNAME", vec![("cname", reader.name_reply()?)]),
        12 => ("PTR", vec![("dname", reader.name_reply()?)]),
        6 => (
            "SOA",
            vec![
                ("mname", reader.name_reply()?),
                ("rname", reader.name_reply()?),
                ("serial", reader.u32_reply()?),
                ("refresh", reader.u32_reply()?),
                ("retry", reader.u32_reply()?),
                ("expire", reader.u32_reply()?),
                ("minimum", reader.u32_reply()?),
            ],
        ),
        15 => (
            "MX",
            vec![
                ("preference", reader.u16_reply()?),
                ("exchange", reader.name_reply()?),
            ],
        ),
        16 => {
            let mut parts = Vec::new();
            while reader.at < reader.bytes.len() {
                parts.push(reader.text()?);
            }
            ("TXT", vec![("data", Reply::List(parts))])
        }
        33 => (
            "SRV",
            vec![
                ("priority", reader.u16_reply()?),
                ("weight", reader.u16_reply()?),
                ("port", reader.u16_reply()?),
                ("target", reader.name_reply()?),
            ],
        ),
        35 => (
            "NAPTR",
            vec![
                ("order", reader.u16_reply()?),
                ("preference", reader.u16_reply()?),
                ("flags", reader.text()?),
                ("services", reader.text()?),
                ("regexp", reader.text()?),
                ("replacement", reader.name_reply()?),
            ],
        ),
        52 => (
            "TLSA",
            vec![
                ("cert_usage", reader.u8_reply()?),
                ("selector", reader.u8_reply()?),
                ("match", reader.u8_reply()?),
                ("data", Reply::Bytes(reader.rest().to_vec())),
            ],
        ),
        257 => (
            "CAA",
            vec![
                ("critical", reader.u8_reply()?),
                ("tag", reader.text()?),
                ("value", Reply::Bytes(reader.rest().to_vec())),
            ],
        ),
        _ => return Ok(None),
    };
    fields.push(("type", Reply::from(name)));
    fields.push(("ttl", Reply::Number(ttl.into())));
    Ok(Some(Reply::Map(fields)))
}

fn text(value: impl ToString) -> Reply {
    Reply::Text(value.to_string())
}

/// Reads a message from a place on.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Failure> {
        let end = self.at.checked_add(count).ok_or_else(bad_response)?;
        let taken = self.bytes.get(self.at..end).ok_or_else(bad_response)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        self.take(N)?.try_into().map_err(|_| bad_response())
    }

    fn rest(&mut self) -> &'a [u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        self.at = self.bytes.len();
        rest
    }

    fn u8(&mut self) -> Result<u8, Failure> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Result<u16, Failure> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Failure> {
        self.array().map(u32::from_be_bytes)
    }

    fn u8_reply(&mut self) -> Result<Reply, Failure> {
        Ok(Reply::Number(self.u8()?.into()))
    }

    fn u16_reply(&mut self) -> Result<Reply, Failure> {
        Ok(Reply::Number(self.u16()?.into()))
    }

    fn u32_reply(&mut self) -> Result<Reply, Failure> {
        Ok(Reply::Number(self.u32()?.into()))
    }

    /// A length and so many bytes.
    fn text(&mut self) -> Result<Reply, Failure> {
        let length = self.u8()?.into();
        let bytes = self.take(length)?;
        Ok(Reply::Text(String::from_utf8_lossy(bytes).into_owned()))
    }

    fn name_reply(&mut self) -> Result<Reply, Failure> {
        self.name().map(Reply::Text)
    }

    /// A name, whose end may stand elsewhere, further to the front.
    fn name(&mut self) -> Result<String, Failure> {
        let mut labels: Vec<String> = Vec::new();
        let (mut at, mut after, mut bytes) = (self.at, None, 0);
        loop {
            let length = *self.bytes.get(at).ok_or_else(bad_response)?;
            match length {
                0 => {
                    self.at = after.unwrap_or(at + 1);
                    return Ok(labels.join("."));
                }
                0xc0.. => {
                    let low = *self.bytes.get(at + 1).ok_or_else(bad_response)?;
                    let to = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                    after.get_or_insert(at + 2);
                    // Always further to the front: no name goes round in a circle.
                    if to >= at {
                        return Err(bad_response());
                    }
                    at = to;
                }
                1..=63 => {
                    let end = at + 1 + usize::from(length);
                    let label = self.bytes.get(at + 1..end).ok_or_else(bad_response)?;
                    bytes += label.len() + 1;
                    if bytes > NAME_MAX_BYTES {
                        return Err(bad_response());
                    }
                    labels.push(String::from_utf8_lossy(label).into_owned());
                    at = end;
                }
                _ => return Err(bad_response()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code<T>(result: Result<T, Failure>) -> String {
        result.err().unwrap().code.into_owned()
    }

    #[test]
    fn names_have_limits() {
        assert!(question(1, "example.com.", 1).is_ok());
        assert!(question(1, "", 1).is_ok());
        for name in ["a..b", &"x".repeat(64), &"x.".repeat(200)] {
            assert_eq!(code(question(1, name, 1)), "EBADNAME", "{name}");
        }
    }

    /// An answer with one record for `a.b`, whose name and data are given.
    fn response(name: &[u8], record_type: u16, data: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let asked = question(7, "a.b", record_type).unwrap();
        let mut bytes = asked.clone();
        bytes[2] = 0x81;
        bytes[7] = 1;
        bytes.extend(name);
        bytes.extend(record_type.to_be_bytes());
        bytes.extend([0, 1, 0, 0, 0, 9]);
        bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
        bytes.extend(data);
        (bytes, asked)
    }

    #[test]
    fn an_answer_is_for_its_question() {
        let (bytes, asked) = response(&[0xc0, 12], 1, &[1, 2, 3, 4]);
        let answer = |bytes: &[u8]| super::answer(bytes, &asked).unwrap();
        assert_eq!(answer(&bytes).unwrap().records.len(), 1);
        let mut other_id = bytes.clone();
        other_id[1] = 8;
        let mut other_name = bytes.clone();
        other_name[13] = b'x';
        let mut a_question = bytes.clone();
        a_question[2] = 1;
        for bytes in [other_id, other_name, a_question] {
            assert!(answer(&bytes).is_none());
        }
    }

    #[test]
    fn what_is_cut_or_circular_is_an_error() {
        // A pointer to itself, one to what follows, and a label that is too long.
        for name in [&[0xc0, 21][..], &[0xc0, 40], &[0x80]] {
            let (bytes, asked) = response(name, 1, &[1, 2, 3, 4]);
            assert_eq!(code(answer(&bytes, &asked)), "EBADRESP");
        }
        let (bytes, asked) = response(&[0xc0, 12], 15, &[0, 1, 1, b'm', 0xc0, 12]);
        assert_eq!(answer(&bytes, &asked).unwrap().unwrap().records.len(), 1);
        for length in 0..bytes.len() {
            assert_eq!(code(answer(&bytes[..length], &asked)), "EBADRESP");
        }
        // Data that is shorter than its type wants.
        for record_type in [1, 2, 5, 6, 12, 15, 28, 33, 35, 52, 257] {
            let (bytes, asked) = response(&[0xc0, 12], record_type, &[]);
            assert_eq!(code(answer(&bytes, &asked)), "EBADRESP", "{record_type}");
        }
    }
}
