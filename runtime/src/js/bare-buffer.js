// bare-buffer 3.7: Node's Buffer.
//
// Its methods are native functions on the prototype: a call from JavaScript crosses into Rust once.
// What is left here is the class itself, and what JavaScript does as well.

const kind = Symbol.for('bare.buffer.kind')
const { methods, statics, attach, maxLength } = require('bare-buffer/native')

let poolSize = 65536

function checkSize(size, name) {
  if (typeof size !== 'number') {
    throw new TypeError(`${name} must be a number, received type ${typeof size}`)
  }
  if (!Number.isInteger(size) || size < 0 || size > maxLength) {
    throw new RangeError(`${name} must be an integer between 0 and ${maxLength}`)
  }
}

function checkInteger(value, name) {
  if (value !== undefined && !Number.isInteger(value)) {
    if (typeof value === 'number') throw new RangeError(`${name} must be an integer`)
    throw new TypeError(`${name} must be a number, received type ${typeof value}`)
  }
}

class Buffer extends Uint8Array {
  static get [kind]() {
    return 0
  }

  // There is no pool here; the property is for programs that look.
  static get poolSize() {
    return poolSize
  }

  static set poolSize(size) {
    checkSize(size, 'Pool size')
    poolSize = size
  }

  // new Buffer(length[, options]) or new Buffer(arrayBuffer[, offset[, length]][, options])
  constructor(source, offset, length) {
    if (typeof source === 'number') {
      if (!Number.isInteger(source) || source < 0 || source > maxLength) {
        throw new RangeError(`Buffer length must be an integer between 0 and ${maxLength}`)
      }
      super(source)
      return
    }
    if (typeof offset === 'object') offset = undefined
    if (typeof length === 'object') length = undefined
    checkInteger(offset, 'Offset')
    checkInteger(length, 'Length')
    super(source, offset, length)
  }

  get [kind]() {
    return 0
  }

  toJSON() {
    return Array.from(this)
  }
}

// 64-bit integers are BigInts, for which a DataView does as well as Rust.
for (const [name, getter, little] of [
  ['BigInt64BE', 'getBigInt64', false],
  ['BigInt64LE', 'getBigInt64', true],
  ['BigUint64BE', 'getBigUint64', false],
  ['BigUint64LE', 'getBigUint64', true]
]) {
  const setter = getter.replace('get', 'set')
  const view = (buffer, offset) => {
    if (typeof offset !== 'number') {
      throw new TypeError(`Offset must be a number, received type ${typeof offset}`)
    }
    if (!Number.isInteger(offset)) throw new RangeError('Offset must be an integer')
    return new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength)
  }
  const pair = {
    ['read' + name](offset = 0) {
      return view(this, offset)[getter](offset, little)
    },
    ['write' + name](value, offset = 0) {
      view(this, offset)[setter](offset, value, little)
      return offset + 8
    }
  }
  for (const [method, value] of Object.entries(pair)) {
    methods[method] = value
    methods[method.replace('Uint', 'UInt')] = value
  }
}

for (const [name, value] of Object.entries(methods)) {
  Object.defineProperty(Buffer.prototype, name, { value, writable: true, configurable: true })
}

attach(Buffer)

module.exports = exports = Buffer

exports.Buffer = Buffer
exports.constants = {
  MAX_LENGTH: maxLength,
  MAX_STRING_LENGTH: 0x3fffffff
}

exports.isBuffer = function isBuffer(value) {
  if (value instanceof Buffer) return true
  // A Buffer of another copy of the package says so.
  return typeof value === 'object' && value !== null && value[kind] === 0
}

exports.isEncoding = statics.isEncoding
exports.isASCII = exports.isAscii = statics.isASCII
exports.isUTF8 = exports.isUtf8 = statics.isUTF8
exports.alloc = statics.alloc
exports.allocUnsafe = statics.allocUnsafe
exports.allocUnsafeSlow = statics.allocUnsafeSlow
exports.byteLength = statics.byteLength
exports.compare = statics.compare
exports.concat = statics.concat
exports.from = statics.from

exports.coerce = function coerce(view) {
  if (exports.isBuffer(view)) return view
  return new Buffer(view.buffer, view.byteOffset, view.byteLength)
}

exports.copyBytesFrom = function copyBytesFrom(view, offset = 0, length = view.length - offset) {
  checkSize(offset, 'Offset')
  checkSize(length, 'Length')
  if (offset + length > view.length) throw new RangeError('View length is out of range')
  const part = view.subarray(offset, offset + length)
  return new Buffer(part.buffer.slice(part.byteOffset, part.byteOffset + part.byteLength))
}

exports.atob = function atob(data) {
  return Buffer.from(String(data), 'base64').toString('latin1')
}

exports.btoa = function btoa(data) {
  return Buffer.from(String(data), 'latin1').toString('base64')
}

exports.transcode = function transcode(buffer, from, to) {
  return Buffer.from(buffer.toString(from), to)
}
