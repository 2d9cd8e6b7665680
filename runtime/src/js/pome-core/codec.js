// Encodings of values and keys: by name, a compact encoding, or an object with `encode` and `decode`.

const named = {
  binary: null,
  buffer: null,
  json: {
    encode: (value) => Buffer.from(JSON.stringify(value)),
    decode: (buffer) => JSON.parse(text(buffer))
  },
  ndjson: {
    encode: (value) => Buffer.from(JSON.stringify(value) + '\n'),
    decode: (buffer) => JSON.parse(text(buffer))
  },
  'utf-8': letters('utf8'),
  utf8: letters('utf8'),
  string: letters('utf8'),
  ascii: letters('ascii'),
  hex: letters('hex'),
  base64: letters('base64'),
  ucs2: letters('utf16le'),
  'ucs-2': letters('utf16le'),
  utf16le: letters('utf16le'),
  'utf-16le': letters('utf16le')
}

function text (buffer) {
  return buffer.toString('utf8')
}

function letters (name) {
  return {
    encode: (value) => Buffer.from(typeof value === 'string' ? value : String(value), name),
    decode: (buffer) => buffer.toString(name)
  }
}

// `null` stands for plain bytes.
function from (encoding) {
  if (encoding === undefined || encoding === null) return null
  if (typeof encoding === 'string') return named[encoding] || null
  if (typeof encoding.preencode === 'function') {
    const compact = require('compact-encoding')
    return {
      encode: (value) => compact.encode(encoding, value),
      decode: (buffer) => compact.decode(encoding, buffer),
      encodeRange: encoding.encodeRange
    }
  }
  if (typeof encoding.encode === 'function' && typeof encoding.decode === 'function') return encoding
  return null
}

function isBytes (value) {
  return ArrayBuffer.isView(value) || value instanceof ArrayBuffer
}

// Bytes of a value; what is bytes already is taken as it is.
function encode (codec, value) {
  if (isBytes(value)) return value
  if (codec !== null) return codec.encode(value)
  return typeof value === 'string' ? Buffer.from(value) : Buffer.from(value)
}

function decode (codec, buffer) {
  return codec === null || buffer === null ? buffer : codec.decode(buffer)
}

module.exports = { from, encode, decode, isBytes }
