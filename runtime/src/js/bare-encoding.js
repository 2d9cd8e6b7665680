// bare-encoding 1.0: TextEncoder and TextDecoder, of UTF-8 only. As in Bare, a byte order mark is
// a character like any other.

const Buffer = require('bare-buffer')
const { UTF8Decoder } = require('text-decoder')

class EncodingError extends Error {
  constructor(message, code, caller = EncodingError) {
    super(`${code}: ${message}`)
    this.code = code
    if (Error.captureStackTrace) Error.captureStackTrace(this, caller)
  }

  get name() {
    return 'EncodingError'
  }

  static INVALID_LABEL(message) {
    return new EncodingError(message, 'INVALID_LABEL', EncodingError.INVALID_LABEL)
  }
}

const LABELS = new Set([
  'unicode-1-1-utf-8',
  'unicode11utf8',
  'unicode20utf8',
  'utf-8',
  'utf8',
  'x-unicode20utf8'
])

class TextEncoder {
  get encoding() {
    return 'utf-8'
  }

  encode(input = '') {
    return Buffer.from(String(input))
  }

  encodeInto(input, destination) {
    const room = ArrayBuffer.isView(destination)
      ? Buffer.from(destination.buffer, destination.byteOffset, destination.byteLength)
      : Buffer.from(destination)
    const written = room.write(input)
    return { read: room.toString('utf8', 0, written).length, written }
  }
}

class TextDecoder {
  constructor(label = 'utf-8') {
    if (!LABELS.has(label.trim().toLowerCase())) {
      throw EncodingError.INVALID_LABEL(`The label '${label}' is not a valid encoding`)
    }
    this.encoding = 'utf-8'
    this.decoder = new UTF8Decoder()
  }

  decode(input, { stream = false } = {}) {
    const text = this.decoder.decode(input)
    return stream ? text : text + this.decoder.flush()
  }
}

exports.TextEncoder = TextEncoder
exports.TextDecoder = TextDecoder
exports.errors = EncodingError
