//! bare-http1's reader: bytes of a connection become heads, pieces of bodies, and ends.
//!
//! What two readers could understand differently is refused, because somebody may put another reader before or behind this one: two lengths, a
//! length with a transfer coding, white space before a colon, lengths with signs.

use std::borrow::Cow;

use parking_lot::Mutex;
use rquickjs::{Class, Ctx, JsLifetime, Object, Value, class::Trace};

use super::{failure::Failure, reply::Reply};
use crate::engine::bytes;

/// How long a chunk's first line or a trailer line may be, in bytes.
const LINE_MAX_BYTES: usize = 4096;

/// How the rest of a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    /// After so many bytes.
    Length(u64),
    /// The line with the next chunk's length comes next.
    ChunkLine,
    /// So many bytes of a chunk are left.
    Chunk(u64),
    /// The line end behind a chunk comes next.
    ChunkEnd,
    /// Lines behind the last chunk.
    Trailers,
    /// When the connection ends.
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Body(Body),
    /// What comes now is another protocol's.
    Raw,
}

struct Reader {
    is_request: bool,
    head_max_bytes: usize,
    headers_max: usize,
    state: State,
    held: Vec<u8>,
    /// The method that the next response answers: HEAD has no body, CONNECT's is another protocol.
    method: String,
}

fn refuse(code: &'static str, message: &'static str) -> Failure {
    Failure::new(code, message)
}

impl Reader {
    fn push(&mut self, data: &[u8]) -> Result<Vec<Reply>, Failure> {
        self.held.extend_from_slice(data);
        let mut events = Vec::new();
        loop {
            let went_on = match self.state {
                State::Head => self.read_head(&mut events)?,
                State::Body(body) => self.read_body(body, &mut events)?,
                State::Raw => false,
            };
            if !went_on {
                return Ok(events);
            }
        }
    }

    /// What is held of another protocol.
    fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.held.split_off(count.min(self.held.len()));
        std::mem::replace(&mut self.held, rest)
    }

    fn read_head(&mut self, events: &mut Vec<Reply>) -> Result<bool, Failure> {
        // Empty lines between messages mean nothing.
        let empty = self
            .held
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n'))
            .count();
        self.take(empty);
        if self.held.is_empty() {
            return Ok(false);
        }
        let mut headers = vec![httparse::EMPTY_HEADER; self.headers_max];
        let parsed = if self.is_request {
            let mut head = httparse::Request::new(&mut headers);
            match head.parse(&self.held).map_err(head_failure)? {
                httparse::Status::Partial => None,
                httparse::Status::Complete(length) => Some((length, Head::request(&head)?)),
            }
        } else {
            let mut head = httparse::Response::new(&mut headers);
            match head.parse(&self.held).map_err(head_failure)? {
                httparse::Status::Partial => None,
                httparse::Status::Complete(length) => Some((length, Head::response(&head)?)),
            }
        };
        let length = parsed
            .as_ref()
            .map_or(self.held.len(), |(length, _)| *length);
        if length > self.head_max_bytes {
            return Err(refuse("HEADER_OVERFLOW", "HTTP headers too large"));
        }
        let Some((length, head)) = parsed else {
            return Ok(false);
        };
        self.take(length);
        let framing = head.framing(self.is_request, &self.method)?;
        let is_upgrade = framing == Framing::Raw;
        events.push(head.reply(is_upgrade));
        self.state = match framing {
            Framing::Raw => State::Raw,
            Framing::None => {
                // What only informs is followed by the response itself.
                if !head.is_informational() {
                    events.push(event("end", Vec::new()));
                }
                State::Head
            }
            Framing::Length(0) => {
                events.push(event("end", Vec::new()));
                State::Head
            }
            Framing::Length(length) => State::Body(Body::Length(length)),
            Framing::Chunked => State::Body(Body::ChunkLine),
            Framing::Close => State::Body(Body::Close),
        };
        Ok(true)
    }

    fn read_body(&mut self, body: Body, events: &mut Vec<Reply>) -> Result<bool, Failure> {
        match body {
            Body::Length(left) | Body::Chunk(left) => {
                if self.held.is_empty() {
                    return Ok(false);
                }
                let count = usize::try_from(left).unwrap_or(usize::MAX);
                let piece = self.take(count);
                let left = left - piece.len() as u64;
                events.push(event("data", vec![("data", Reply::Bytes(piece))]));
                self.state = match (body, left) {
                    (Body::Length(_), 0) => {
                        events.push(event("end", Vec::new()));
                        State::Head
                    }
                    (Body::Length(_), left) => State::Body(Body::Length(left)),
                    (_, 0) => State::Body(Body::ChunkEnd),
                    (_, left) => State::Body(Body::Chunk(left)),
                };
            }
            Body::Close => {
                if self.held.is_empty() {
                    return Ok(false);
                }
                let piece = self.rest();
                events.push(event("data", vec![("data", Reply::Bytes(piece))]));
            }
            Body::ChunkLine => {
                let Some(line) = self.line()? else {
                    return Ok(false);
                };
                let length = chunk_length(&line)?;
                self.state = State::Body(match length {
                    0 => Body::Trailers,
                    length => Body::Chunk(length),
                });
            }
            Body::ChunkEnd => {
                let Some(line) = self.line()? else {
                    return Ok(false);
                };
                if !line.is_empty() {
                    return Err(refuse("INVALID_CHUNK_LENGTH", "Invalid HTTP chunk length"));
                }
                self.state = State::Body(Body::ChunkLine);
            }
            Body::Trailers => {
                let Some(line) = self.line()? else {
                    return Ok(false);
                };
                if line.is_empty() {
                    events.push(event("end", Vec::new()));
                    self.state = State::Head;
                }
            }
        }
        Ok(true)
    }

    /// The next line without its end.
    fn line(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let Some(end) = self.held.iter().position(|byte| *byte == b'\n') else {
            return match self.held.len() > LINE_MAX_BYTES {
                true => Err(refuse("INVALID_CHUNK_LENGTH", "Invalid HTTP chunk length")),
                false => Ok(None),
            };
        };
        let mut line = self.take(end + 1);
        line.pop();
        match line.pop() {
            Some(b'\r') => Ok(Some(line)),
            _ => Err(refuse("INVALID_CHUNK_LENGTH", "Invalid HTTP chunk length")),
        }
    }

    /// The connection has ended: the events that this makes.
    fn finish(&mut self) -> Result<Vec<Reply>, Failure> {
        match self.state {
            State::Body(Body::Close) => {
                self.state = State::Head;
                Ok(vec![event("end", Vec::new())])
            }
            State::Head if self.held.is_empty() => Ok(Vec::new()),
            State::Raw => Ok(Vec::new()),
            _ => Err(refuse("INVALID_MESSAGE", "Invalid HTTP message")),
        }
    }
}

fn event(kind: &'static str, mut fields: Vec<(&'static str, Reply)>) -> Reply {
    fields.push(("type", Reply::from(kind)));
    Reply::Map(fields)
}

fn head_failure(error: httparse::Error) -> Failure {
    match error {
        httparse::Error::TooManyHeaders => refuse("HEADER_OVERFLOW", "HTTP headers too large"),
        httparse::Error::HeaderName | httparse::Error::HeaderValue => {
            refuse("INVALID_HEADER", "Invalid HTTP header")
        }
        _ => refuse("INVALID_MESSAGE", "Invalid HTTP message"),
    }
}

/// Hexadecimal digits, and maybe a semicolon with what we need not know.
fn chunk_length(line: &[u8]) -> Result<u64, Failure> {
    let bad = || refuse("INVALID_CHUNK_LENGTH", "Invalid HTTP chunk length");
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let digits = digits.trim_ascii_end();
    if digits.is_empty() || digits.len() > 15 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(bad());
    }
    let text = std::str::from_utf8(digits).map_err(|_| bad())?;
    u64::from_str_radix(text, 16).map_err(|_| bad())
}

/// How a message's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    None,
    Length(u64),
    Chunked,
    Close,
    /// The connection is another protocol's from here on.
    Raw,
}

/// The first line and the header fields of a message.
struct Head {
    minor: u8,
    method: String,
    target: String,
    status: u16,
    reason: String,
    headers: Vec<(String, String)>,
}

impl Head {
    fn request(head: &httparse::Request<'_, '_>) -> Result<Self, Failure> {
        Ok(Self {
            minor: head.version.unwrap_or(1),
            method: head.method.unwrap_or_default().to_owned(),
            target: head.path.unwrap_or_default().to_owned(),
            status: 0,
            reason: String::new(),
            headers: fields(head.headers)?,
        })
    }

    fn response(head: &httparse::Response<'_, '_>) -> Result<Self, Failure> {
        Ok(Self {
            minor: head.version.unwrap_or(1),
            method: String::new(),
            target: String::new(),
            status: head.code.unwrap_or(0),
            reason: head.reason.unwrap_or_default().to_owned(),
            headers: fields(head.headers)?,
        })
    }

    fn is_informational(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    fn has_token(&self, name: &str, token: &str) -> bool {
        self.values(name)
            .flat_map(|value| value.split(','))
            .any(|word| word.trim().eq_ignore_ascii_case(token))
    }

    fn framing(&self, is_request: bool, answered: &str) -> Result<Framing, Failure> {
        let asks_upgrade =
            self.values("upgrade").next().is_some() && self.has_token("connection", "upgrade");
        let lengths: Vec<&str> = self.values("content-length").map(str::trim).collect();
        let codings: Vec<&str> = self.values("transfer-encoding").map(str::trim).collect();
        let length = match lengths.as_slice() {
            [] => None,
            [first, others @ ..] if others.iter().all(|other| other == first) => {
                Some(content_length(first)?)
            }
            _ => {
                return Err(refuse(
                    "INVALID_CONTENT_LENGTH",
                    "Invalid HTTP Content-Length",
                ));
            }
        };
        if !codings.is_empty() && length.is_some() {
            return Err(refuse(
                "INVALID_CONTENT_LENGTH",
                "Invalid HTTP Content-Length",
            ));
        }
        if !is_request {
            let has_none = answered.eq_ignore_ascii_case("HEAD")
                || self.is_informational()
                || matches!(self.status, 204 | 304);
            if self.status == 101 || (answered == "CONNECT" && (200..300).contains(&self.status)) {
                return Ok(Framing::Raw);
            }
            if has_none {
                return Ok(Framing::None);
            }
        }
        match codings.as_slice() {
            [] => {}
            [coding] if coding.eq_ignore_ascii_case("chunked") && self.minor == 1 => {
                return Ok(Framing::Chunked);
            }
            _ => return Err(refuse("INVALID_MESSAGE", "Invalid HTTP message")),
        }
        Ok(match length {
            Some(length) if length > 0 || !is_request => Framing::Length(length),
            _ if is_request && (asks_upgrade || self.method == "CONNECT") => Framing::Raw,
            _ if is_request => Framing::None,
            _ => Framing::Close,
        })
    }

    fn reply(&self, is_upgrade: bool) -> Reply {
        let headers = self
            .headers
            .iter()
            .flat_map(|(name, value)| [Reply::from(name.as_str()), Reply::from(value.as_str())]);
        event(
            "head",
            vec![
                (
                    "httpVersion",
                    Reply::from(if self.minor == 0 { "1.0" } else { "1.1" }),
                ),
                ("method", Reply::from(self.method.as_str())),
                ("url", Reply::from(self.target.as_str())),
                ("statusCode", Reply::Number(self.status.into())),
                ("statusMessage", Reply::from(self.reason.as_str())),
                ("headers", Reply::List(headers.collect())),
                ("upgrade", Reply::Bool(is_upgrade)),
                ("isInformational", Reply::Bool(self.is_informational())),
            ],
        )
    }
}

fn content_length(text: &str) -> Result<u64, Failure> {
    let is_plain =
        !text.is_empty() && text.len() <= 15 && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(length) if is_plain => Ok(length),
        _ => Err(refuse(
            "INVALID_CONTENT_LENGTH",
            "Invalid HTTP Content-Length",
        )),
    }
}

/// Names in lower case, values as Latin-1.
fn fields(headers: &[httparse::Header<'_>]) -> Result<Vec<(String, String)>, Failure> {
    headers
        .iter()
        .map(|header| {
            let name = header.name.to_ascii_lowercase();
            if name == "__proto__" {
                return Err(refuse("INVALID_HEADER", "Invalid HTTP header"));
            }
            let value = match std::str::from_utf8(header.value) {
                Ok(text) if text.is_ascii() => Cow::Borrowed(text),
                _ => Cow::Owned(header.value.iter().map(|byte| char::from(*byte)).collect()),
            };
            Ok((name, value.into_owned()))
        })
        .collect()
}

/// Reads one side of a connection.
#[derive(Trace, JsLifetime)]
#[rquickjs::class]
pub(crate) struct HttpReader {
    #[qjs(skip_trace)]
    reader: Mutex<Reader>,
}

#[rquickjs::methods]
impl HttpReader {
    /// Limits of a head: bytes, and how many fields; 0 is the most there can be.
    #[qjs(constructor)]
    fn new(is_request: bool, head_max_bytes: f64, headers_max: f64) -> Self {
        const HEADERS_MAX: usize = 65536;
        let or_most = |limit: f64, most: usize| match limit as usize {
            0 => most,
            limit => limit.min(most),
        };
        Self {
            reader: Mutex::new(Reader {
                is_request,
                head_max_bytes: or_most(head_max_bytes, usize::MAX),
                headers_max: or_most(headers_max, HEADERS_MAX),
                state: State::Head,
                held: Vec::new(),
                method: String::new(),
            }),
        }
    }

    /// The method that the next response answers.
    fn expect(&self, method: String) {
        self.reader.lock().method = method;
    }

    /// The events that these bytes make.
    fn push<'js>(&self, ctx: Ctx<'js>, data: Value<'js>) -> rquickjs::Result<Reply> {
        let mut reader = self.reader.lock();
        bytes::read(&data, |data| reader.push(data))?
            .map(Reply::List)
            .map_err(|failure| failure.throw(&ctx))
    }

    /// The events that the end of the connection makes.
    fn finish(&self, ctx: Ctx<'_>) -> rquickjs::Result<Reply> {
        self.reader
            .lock()
            .finish()
            .map(Reply::List)
            .map_err(|failure| failure.throw(&ctx))
    }

    /// What came behind a head that hands the connection over.
    fn rest(&self) -> Reply {
        Reply::Bytes(self.reader.lock().rest())
    }

    /// After a head that asked for another protocol and did not get it: the connection goes on.
    fn resume(&self) {
        self.reader.lock().state = State::Head;
    }
}

pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    Class::<HttpReader>::define(&native)?;
    Ok(native)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that panics says where")]
    use super::*;

    fn reader(is_request: bool) -> Reader {
        Reader {
            is_request,
            head_max_bytes: 16384,
            headers_max: 100,
            state: State::Head,
            held: Vec::new(),
            method: "GET".into(),
        }
    }

    fn kinds(events: &[Reply]) -> Vec<&str> {
        let kind = |event: &Reply| match event {
            Reply::Map(fields) => fields.iter().find_map(|(name, value)| match value {
                Reply::Text(text) if *name == "type" => Some(match text.as_str() {
                    "head" => "head",
                    "data" => "data",
                    _ => "end",
                }),
                _ => None,
            }),
            _ => None,
        };
        events.iter().filter_map(kind).collect()
    }

    /// Every way to cut a message gives the same body.
    #[test]
    fn pieces_do_not_matter() {
        let message = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: x\r\n\r\nGET /next HTTP/1.1\r\n\r\n";
        for cut in 0..message.len() {
            let (first, second) = message.split_at(cut);
            let mut reader = reader(true);
            let mut events = reader.push(first).unwrap();
            events.extend(reader.push(second).unwrap());
            let body: Vec<u8> = events
                .iter()
                .filter_map(|event| match event {
                    Reply::Map(fields) => fields.iter().find_map(|(_, value)| match value {
                        Reply::Bytes(bytes) => Some(bytes.clone()),
                        _ => None,
                    }),
                    _ => None,
                })
                .flatten()
                .collect();
            assert_eq!(body, b"abcde", "cut at {cut}");
            assert_eq!(
                kinds(&events)
                    .iter()
                    .filter(|kind| **kind == "head")
                    .count(),
                2
            );
        }
    }

    #[test]
    fn what_two_readers_could_understand_differently_is_refused() {
        for message in [
            "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length : 1\r\n\r\n",
            "GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0x1\r\n",
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\nab\r\n",
            "GET / HTTP/1.1\r\n__proto__: x\r\n\r\n",
        ] {
            assert!(
                reader(true).push(message.as_bytes()).is_err(),
                "{message:?}"
            );
        }
    }

    #[test]
    fn a_response_without_a_length_ends_with_the_connection() {
        let mut reader = reader(false);
        let events = reader.push(b"HTTP/1.1 200 OK\r\n\r\nabc").unwrap();
        assert_eq!(kinds(&events), ["head", "data"]);
        assert_eq!(kinds(&reader.finish().unwrap()), ["end"]);
    }

    #[test]
    fn a_response_to_head_has_no_body() {
        let mut reader = reader(false);
        reader.method = "HEAD".into();
        let events = reader
            .push(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
            .unwrap();
        assert_eq!(kinds(&events), ["head", "end"]);
    }
}
