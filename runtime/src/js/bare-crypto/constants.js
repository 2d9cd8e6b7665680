// The constants of bare-crypto 1.15, and how its arguments are read.

const errors = require('pome-io/errors')('CryptoError', [
  'UNKNOWN_HASH',
  'UNKNOWN_CIPHER',
  'UNKNOWN_KEY_TYPE',
  'INVALID_ACCESS',
  'INVALID_DATA',
  'OPERATION_ERROR',
  'NOT_SUPPORTED'
])

exports.hash = { MD5: 1, SHA1: 2, SHA256: 3, SHA384: 4, SHA512: 5, BLAKE2B256: 6, RIPEMD160: 7 }
exports.signature = { ED25519: 20 }
exports.cipher = {
  AES128ECB: 8,
  AES128CBC: 9,
  AES128CTR: 10,
  AES128OFB: 11,
  AES256ECB: 12,
  AES256CBC: 13,
  AES256CTR: 14,
  AES256OFB: 15,
  AES128GCM: 16,
  AES256GCM: 17,
  CHACHA20POLY1305: 18,
  XCHACHA20POLY1305: 19
}
exports.keyType = { ED25519: 20 }

// A number, or a name in any case and with any dashes.
function reader(table, what, unknown) {
  return (value) => {
    if (typeof value === 'number' && !isNaN(value)) return value
    if (typeof value !== 'string') {
      throw new TypeError(`${what} must be a number or string. Received ${typeof value} (${value})`)
    }
    const name = value.replace(/-/g, '').toUpperCase()
    if (!Object.hasOwn(table, name)) throw errors[unknown](`Unknown ${what.toLowerCase()} '${name}'`)
    return table[name]
  }
}

function bytesOf(data, encoding = 'utf8') {
  if (data instanceof Uint8Array) return data
  if (typeof data === 'string') return Buffer.from(data, encoding)
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
  if (data instanceof ArrayBuffer) return new Uint8Array(data)
  throw new TypeError('Data must be a string, a view or an ArrayBuffer')
}

const internal = {
  errors,
  bytesOf,
  toHash: reader(exports.hash, 'Hash', 'UNKNOWN_HASH'),
  toCipher: reader(exports.cipher, 'Cipher', 'UNKNOWN_CIPHER'),
  toKeyType: reader(exports.keyType, 'Key type', 'UNKNOWN_KEY_TYPE')
}
Object.defineProperty(exports, 'internal', { value: internal, enumerable: false })
