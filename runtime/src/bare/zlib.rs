//! bare-zlib: deflate, zlib and gzip.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use parking_lot::Mutex;
use rquickjs::{ArrayBuffer, Class, Ctx, JsLifetime, Object, Value, class::Trace};

use super::failure::Failure;
use crate::engine::bytes;

/// How much output one turn makes room for, in bytes.
const TURN_BYTES: usize = 65536;

enum Codec {
    Compress(Compress),
    Decompress(Decompress),
    /// Before the first byte it is not known how gzip's header ends.
    Ended,
}

/// What one call makes at most, in bytes, before it is an error.
struct State {
    codec: Codec,
    made: u64,
    limit: u64,
}

impl State {
    fn run(&mut self, mut input: &[u8], flush: u32) -> Result<Vec<u8>, Failure> {
        let mut out = Vec::new();
        let mut turn = vec![0; TURN_BYTES];
        loop {
            let (status, read, written) = self.turn(input, &mut turn, flush)?;
            input = input.get(read..).unwrap_or_default();
            out.extend_from_slice(turn.get(..written).unwrap_or_default());
            self.made += written as u64;
            if self.made > self.limit {
                return Err(Failure::new(
                    "LIMIT_EXCEEDED",
                    format!(
                        "Output length exceeded maxOutputLength of {} bytes",
                        self.limit
                    ),
                ));
            }
            if status == Status::StreamEnd {
                self.codec = Codec::Ended;
                return Ok(out);
            }
            // Room that was left over means that everything that can come has come.
            if written < TURN_BYTES && (input.is_empty() || read == 0) {
                return Ok(out);
            }
        }
    }

    fn turn(
        &mut self,
        input: &[u8],
        turn: &mut [u8],
        flush: u32,
    ) -> Result<(Status, usize, usize), Failure> {
        let data_error = |message: String| Failure::new("DATA_ERROR", message);
        match &mut self.codec {
            Codec::Compress(codec) => {
                let (read, written) = (codec.total_in(), codec.total_out());
                let flush = match flush {
                    0 => FlushCompress::None,
                    1 => FlushCompress::Partial,
                    2 => FlushCompress::Sync,
                    3 => FlushCompress::Full,
                    _ => FlushCompress::Finish,
                };
                let status = codec
                    .compress(input, turn, flush)
                    .map_err(|error| Failure::new("STREAM_ERROR", error.to_string()))?;
                let read = (codec.total_in() - read) as usize;
                Ok((status, read, (codec.total_out() - written) as usize))
            }
            Codec::Decompress(codec) => {
                let (read, written) = (codec.total_in(), codec.total_out());
                let status = codec
                    .decompress(input, turn, FlushDecompress::None)
                    .map_err(|error| {
                        let words = error.message().map(str::to_owned);
                        data_error(words.unwrap_or_else(|| error.to_string()))
                    })?;
                let read = (codec.total_in() - read) as usize;
                Ok((status, read, (codec.total_out() - written) as usize))
            }
            Codec::Ended => Ok((Status::StreamEnd, 0, 0)),
        }
    }
}

/// What a stream is made with.
#[derive(Clone, Copy)]
struct Format {
    /// 0 zlib, 1 raw deflate, 2 gzip.
    wrapping: u8,
    is_compressing: bool,
    level: i32,
    window_bits: u8,
}

impl Format {
    fn codec(self) -> Codec {
        // The library's window has at least 9 bits, as zlib's own has in effect.
        let bits = self.window_bits.clamp(9, 15);
        let level = match self.level {
            0..=9 => Compression::new(self.level.unsigned_abs()),
            _ => Compression::default(),
        };
        match (self.is_compressing, self.wrapping) {
            (true, 2) => Codec::Compress(Compress::new_gzip(level, bits)),
            (true, wrapping) => {
                Codec::Compress(Compress::new_with_window_bits(level, wrapping == 0, bits))
            }
            (false, 2) => Codec::Decompress(Decompress::new_gzip(bits)),
            (false, wrapping) => {
                Codec::Decompress(Decompress::new_with_window_bits(wrapping == 0, bits))
            }
        }
    }
}

/// One stream that is compressed or decompressed.
#[derive(Trace, JsLifetime)]
#[rquickjs::class]
pub(crate) struct Codecs {
    #[qjs(skip_trace)]
    format: Format,
    #[qjs(skip_trace)]
    state: Mutex<State>,
}

#[rquickjs::methods]
impl Codecs {
    #[qjs(constructor)]
    fn new(wrapping: u8, is_compressing: bool, level: i32, window_bits: u8, limit: f64) -> Self {
        let format = Format {
            wrapping,
            is_compressing,
            level,
            window_bits,
        };
        Self {
            format,
            state: Mutex::new(State {
                codec: format.codec(),
                made: 0,
                limit: limit as u64,
            }),
        }
    }

    /// What comes of `data`; `flush` is one of zlib's numbers.
    fn run<'js>(
        &self,
        ctx: Ctx<'js>,
        data: Value<'js>,
        flush: u32,
    ) -> rquickjs::Result<ArrayBuffer<'js>> {
        let mut state = self.state.lock();
        let out = bytes::read(&data, |data| state.run(data, flush))?
            .map_err(|failure| failure.throw(&ctx))?;
        ArrayBuffer::new(ctx, out)
    }

    fn reset(&self) {
        let mut state = self.state.lock();
        state.codec = self.format.codec();
        state.made = 0;
    }
}

pub(crate) fn native<'js>(ctx: &Ctx<'js>) -> rquickjs::Result<Object<'js>> {
    let native = Object::new(ctx.clone())?;
    Class::<Codecs>::define(&native)?;
    Ok(native)
}
