// Text that comes in pieces of bytes: a character that is cut waits for its rest.

exports.StringDecoder = class StringDecoder {
  constructor() {
    this._held = Buffer.alloc(0)
  }

  write(data) {
    const bytes = Buffer.concat([this._held, data])
    const end = wholeCharacters(bytes)
    this._held = Buffer.from(bytes.subarray(end))
    return bytes.toString('utf8', 0, end)
  }
}

// Where the last character that is there whole ends.
function wholeCharacters(bytes) {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back]
    if ((byte & 0xc0) === 0x80) continue
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1
    return length > back ? bytes.length - back : bytes.length
  }
  return bytes.length
}
