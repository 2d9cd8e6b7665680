// The frames of RFC 6455, read from pieces of any size and written.

const errors = require('bare-ws/errors')

exports.opcode = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 }

const CONTROL_MAX_BYTES = 125

exports.status = {
  NORMAL_CLOSURE: 1000,
  GOING_AWAY: 1001,
  PROTOCOL_ERROR: 1002,
  UNSUPPORTED_DATA: 1003,
  NO_STATUS_RECEIVED: 1005,
  ABNORMAL_CLOSURE: 1006,
  INVALID_PAYLOAD: 1007,
  POLICY_VIOLATION: 1008,
  MESSAGE_TOO_LARGE: 1009,
  MISSING_EXTENSION: 1010,
  INTERNAL_ERROR: 1011,
  SERVICE_RESTART: 1012,
  TRY_AGAIN_LATER: 1013,
  BAD_GATEWAY: 1014,
  TLS_HANDSHAKE_FAILURE: 1015
}

// Which a peer may send: 1004 means nothing, 1005, 1006 and 1015 are only ever said to oneself.
exports.isValidStatus = (code) =>
  (code >= 1000 && code <= 1014 && ![1004, 1005, 1006].includes(code)) || (code >= 3000 && code <= 4999)

exports.encode = function encode(mask, opcode, payload, key) {
  const { byteLength } = payload
  const extended = byteLength < 126 ? 0 : byteLength < 65536 ? 2 : 8
  const head = Buffer.alloc(2 + extended + (key === null ? 0 : 4))
  head[0] = 0x80 | opcode
  head[1] = (key === null ? 0 : 0x80) | (extended === 0 ? byteLength : extended === 2 ? 126 : 127)
  if (extended === 2) head.writeUInt16BE(byteLength, 2)
  else if (extended === 8) head.writeBigUInt64BE(BigInt(byteLength), 2)
  if (key === null) return Buffer.concat([head, payload])
  head.set(key, head.byteLength - 4)
  const masked = Buffer.from(payload)
  mask(masked, key)
  return Buffer.concat([head, masked])
}

exports.Reader = class FrameReader {
  constructor(mask, { isServer, maxPayload, maxFragments }) {
    this._mask = mask
    this._isServer = isServer
    this._maxPayload = maxPayload
    this._maxFragments = maxFragments
    this._pieces = []
    this._length = 0
    this._fragments = []
    this._fragmentBytes = 0
    this._message = -1
    this._head = null
  }

  // Messages and control frames that `data` completes: `{ opcode, payload }`.
  *push(data) {
    this._pieces.push(data)
    this._length += data.byteLength
    for (;;) {
      if (this._head === null && !this._readHead()) return
      if (this._length < this._head.length) return
      const { opcode, isFinal, length, key } = this._head
      this._head = null
      const payload = this._take(length)
      if (key !== null) this._mask(payload, key)
      if (opcode >= 8) {
        yield { opcode, payload }
        continue
      }
      if (opcode !== exports.opcode.CONTINUATION) this._message = opcode
      this._fragments.push(payload)
      this._fragmentBytes += length
      if (this._fragments.length > this._maxFragments) throw errors.TOO_MANY_FRAGMENTS()
      if (!isFinal) continue
      const message = { opcode: this._message, payload: Buffer.concat(this._fragments) }
      this._fragments = []
      this._fragmentBytes = 0
      this._message = -1
      yield message
    }
  }

  _take(count) {
    const all = this._pieces.length === 1 ? this._pieces[0] : Buffer.concat(this._pieces)
    this._pieces = count === all.byteLength ? [] : [all.subarray(count)]
    this._length -= count
    return Buffer.from(all.subarray(0, count))
  }

  _readHead() {
    if (this._length < 2) return false
    if (this._pieces[0].byteLength < 14 && this._pieces.length > 1) this._pieces = [Buffer.concat(this._pieces)]
    const [bytes] = this._pieces
    const [first, second] = bytes
    const isMasked = (second & 0x80) !== 0
    const short = second & 0x7f
    const extended = short === 126 ? 2 : short === 127 ? 8 : 0
    const headLength = 2 + extended + (isMasked ? 4 : 0)
    if (bytes.byteLength < headLength) return false
    if (first & 0x40) throw errors.UNEXPECTED_RSV1()
    if (first & 0x20) throw errors.UNEXPECTED_RSV2()
    if (first & 0x10) throw errors.UNEXPECTED_RSV3()
    const opcode = first & 0x0f
    const isFinal = (first & 0x80) !== 0
    if (![0, 1, 2, 8, 9, 10].includes(opcode)) throw errors.INVALID_OPCODE()
    if (this._isServer && !isMasked) throw errors.EXPECTED_MASK()
    if (!this._isServer && isMasked) throw errors.UNEXPECTED_MASK()
    const view = Buffer.from(bytes.buffer, bytes.byteOffset, headLength)
    let length = short
    if (extended === 2) length = view.readUInt16BE(2)
    else if (extended === 8) {
      const large = view.readBigUInt64BE(2)
      if (large > BigInt(Number.MAX_SAFE_INTEGER)) throw errors.INVALID_PAYLOAD_LENGTH()
      length = Number(large)
    }
    if (extended === 2 ? length < 126 : extended === 8 && length < 65536) throw errors.INVALID_PAYLOAD_LENGTH()
    if (opcode >= 8) {
      if (!isFinal) throw errors.UNEXPECTED_CONTROL()
      if (length > CONTROL_MAX_BYTES) throw errors.INVALID_CONTROL_PAYLOAD_LENGTH()
    } else {
      if (opcode === exports.opcode.CONTINUATION && this._message === -1) throw errors.UNEXPECTED_CONTINUATION()
      if (opcode !== exports.opcode.CONTINUATION && this._message !== -1) throw errors.EXPECTED_CONTINUATION()
      if (this._fragmentBytes + length > this._maxPayload) throw errors.MESSAGE_TOO_LARGE()
    }
    const key = isMasked ? Buffer.from(view.subarray(headLength - 4)) : null
    this._take(headLength)
    this._head = { opcode, isFinal, length, key }
    return true
  }
}
