// b4a 1.9: the functions of Buffer over any Uint8Array. They are the native ones, with the buffer
// as their first argument.

const Buffer = require('bare-buffer')
const { functions } = require('bare-buffer/native')

module.exports = {
  isBuffer(value) {
    return value instanceof Uint8Array || Buffer.isBuffer(value)
  },
  isEncoding: Buffer.isEncoding,
  alloc: Buffer.alloc,
  allocUnsafe: Buffer.allocUnsafe,
  allocUnsafeSlow: Buffer.allocUnsafeSlow,
  byteLength: Buffer.byteLength,
  compare: Buffer.compare,
  concat: Buffer.concat,
  copy: functions.copy,
  equals: functions.equals,
  fill: functions.fill,
  from: Buffer.from,
  includes: functions.includes,
  indexOf: functions.indexOf,
  lastIndexOf: functions.lastIndexOf,
  swap16: functions.swap16,
  swap32: functions.swap32,
  swap64: functions.swap64,
  toBuffer(view) {
    return Buffer.isBuffer(view) ? view : Buffer.coerce(view)
  },
  toString: functions.toString,
  toHex: functions.toHex,
  write: functions.write,
  readDoubleBE: functions.readDoubleBE,
  readDoubleLE: functions.readDoubleLE,
  readFloatBE: functions.readFloatBE,
  readFloatLE: functions.readFloatLE,
  readInt32BE: functions.readInt32BE,
  readInt32LE: functions.readInt32LE,
  readUInt32BE: functions.readUInt32BE,
  readUInt32LE: functions.readUInt32LE,
  writeDoubleBE: functions.writeDoubleBE,
  writeDoubleLE: functions.writeDoubleLE,
  writeFloatBE: functions.writeFloatBE,
  writeFloatLE: functions.writeFloatLE,
  writeInt32BE: functions.writeInt32BE,
  writeInt32LE: functions.writeInt32LE,
  writeUInt32BE: functions.writeUInt32BE,
  writeUInt32LE: functions.writeUInt32LE
}
