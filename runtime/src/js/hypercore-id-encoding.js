// hypercore-id-encoding 1.3: keys as people write them.

const b4a = require('b4a')
const z32 = require('z32')

exports.encode = function encode(key) {
  if (!b4a.isBuffer(key)) throw new Error('Key must be a Buffer')
  if (key.byteLength !== 32) throw new Error('Key must be 32-bytes long')
  return z32.encode(key)
}

exports.decode = function decode(id) {
  if (b4a.isBuffer(id)) {
    if (id.byteLength !== 32) throw new Error('ID must be 32-bytes long')
    return id
  }
  if (typeof id === 'string') {
    const [text] = id.startsWith('pear://') ? id.slice('pear://'.length).split('/') : [id]
    if (text.length === 52) return z32.decode(text)
    if (text.length === 64) return b4a.from(text, 'hex')
  }
  throw new Error('Invalid Hypercore key')
}

exports.normalize = function normalize(id) {
  return exports.encode(exports.decode(id))
}

exports.isValid = function isValid(id) {
  try {
    exports.decode(id)
    return true
  } catch {
    return false
  }
}
