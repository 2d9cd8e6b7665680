// text-decoder 1.2: decodes bytes that arrive in pieces. Half a character waits for its rest.

const Buffer = require('bare-buffer')

const NAMES = new Map([
  ['utf8', 'utf8'],
  ['utf-8', 'utf8'],
  ['ucs2', 'utf16le'],
  ['ucs-2', 'utf16le'],
  ['utf16le', 'utf16le'],
  ['utf-16le', 'utf16le'],
  ['latin1', 'latin1'],
  ['binary', 'latin1'],
  ['ascii', 'ascii'],
  ['hex', 'hex'],
  ['base64', 'base64']
])

const NOTHING = Buffer.alloc(0)

function bytesOf(data) {
  if (data === undefined) return NOTHING
  if (Buffer.isBuffer(data)) return data
  if (ArrayBuffer.isView(data)) return Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  return Buffer.from(data)
}

// How many bytes a character takes that starts with this one; 1 for what starts none.
function sizeOf(lead) {
  if (lead >= 0xc2 && lead <= 0xdf) return 2
  if (lead >= 0xe0 && lead <= 0xef) return 3
  if (lead >= 0xf0 && lead <= 0xf4) return 4
  return 1
}

// Whether a second byte can follow the lead: some would make the character too small or too large.
function mayFollow(lead, second) {
  if (lead === 0xe0) return second >= 0xa0
  if (lead === 0xed) return second <= 0x9f
  if (lead === 0xf0) return second >= 0x90
  if (lead === 0xf4) return second <= 0x8f
  return true
}

// How many bytes at the end belong to a character that is not complete.
function unfinished(data) {
  const length = data.byteLength
  for (let back = 1; back <= 3 && back <= length; back++) {
    const byte = data[length - back]
    if ((byte & 0xc0) === 0x80) continue
    if (sizeOf(byte) <= back) return 0
    return back > 1 && !mayFollow(byte, data[length - back + 1]) ? 0 : back
  }
  return 0
}

class UTF8Decoder {
  constructor() {
    this.held = NOTHING
  }

  get remaining() {
    return this.held.byteLength
  }

  decode(data) {
    data = bytesOf(data)
    if (this.held.byteLength > 0) data = Buffer.concat([this.held, data])
    const keep = unfinished(data)
    // A copy: the owner of the data may use its memory again.
    this.held = keep === 0 ? NOTHING : Buffer.from(data.subarray(data.byteLength - keep))
    return data.toString('utf8', 0, data.byteLength - keep)
  }

  flush() {
    const text = this.held.byteLength > 0 ? '\ufffd' : ''
    this.held = NOTHING
    return text
  }
}

class WholeDecoder {
  constructor(encoding) {
    this.encoding = encoding
  }

  get remaining() {
    return 0
  }

  decode(data) {
    return bytesOf(data).toString(this.encoding)
  }

  flush() {
    return ''
  }
}

class TextDecoder {
  constructor(encoding = 'utf8') {
    this.encoding = NAMES.get(encoding.toLowerCase())
    if (this.encoding === undefined) throw new Error('Unknown encoding: ' + encoding)
    if (this.encoding === 'utf16le' || this.encoding === 'base64') {
      throw new Error('Unsupported encoding: ' + this.encoding)
    }
    this.decoder = this.encoding === 'utf8' ? new UTF8Decoder() : new WholeDecoder(this.encoding)
  }

  get remaining() {
    return this.decoder.remaining
  }

  push(data) {
    return typeof data === 'string' ? data : this.decoder.decode(data)
  }

  write(data) {
    return this.push(data)
  }

  end(data) {
    return (data ? this.push(data) : '') + this.decoder.flush()
  }
}

module.exports = exports = TextDecoder

exports.UTF8Decoder = UTF8Decoder
