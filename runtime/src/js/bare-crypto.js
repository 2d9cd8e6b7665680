// bare-crypto 1.15: hashes, ciphers, signatures, randomness.

const { Transform } = require('bare-stream')
const constants = require('bare-crypto/constants')
const { toHash, toKeyType, bytesOf } = constants.internal
const { Cipheriv, Decipheriv } = require('bare-crypto/cipher')(native)

class Digest extends Transform {
  constructor(algorithm, key, opts = {}) {
    super(opts)
    this._native = new native.Hash(toHash(algorithm), key)
  }

  update(data, encoding = 'utf8') {
    if (!this._native.update(bytesOf(data, encoding))) throw new Error('Digest has already been finalized')
    return this
  }

  digest(encoding) {
    const result = this._native.finish()
    if (result === undefined) throw new Error('Digest has already been finalized')
    const digest = Buffer.from(result)
    return encoding && encoding !== 'buffer' ? digest.toString(encoding) : digest
  }

  _transform(data, encoding, cb) {
    this.update(data)
    cb(null)
  }

  _flush(cb) {
    this.push(this.digest())
    cb(null)
  }
}

class Hash extends Digest {
  constructor(algorithm, opts) {
    super(algorithm, null, opts)
  }
}

class Hmac extends Digest {
  constructor(algorithm, key, opts = {}) {
    super(algorithm, bytesOf(key, opts.encoding || 'utf8'), opts)
  }
}

function randomFill(buffer, offset, size, cb) {
  if (typeof offset === 'function') [offset, cb] = [undefined, offset]
  else if (typeof size === 'function') [size, cb] = [undefined, size]
  const element = buffer.BYTES_PER_ELEMENT || 1
  offset = offset === undefined ? 0 : offset * element
  size = size === undefined ? buffer.byteLength - offset : size * element
  if (!(offset >= 0 && offset <= buffer.byteLength)) throw new RangeError('offset is out of range')
  if (!(size >= 0 && size <= buffer.byteLength)) throw new RangeError('size is out of range')
  if (offset + size > buffer.byteLength) throw new RangeError('offset + size is out of range')
  native.fill(bytesOf(buffer).subarray(offset, offset + size))
  if (!cb) return buffer
  queueMicrotask(() => cb(null, buffer))
}

function randomBytes(size, cb) {
  if (typeof size !== 'number' || !(size >= 0)) throw new TypeError(`Size must be a number, got ${size}`)
  return randomFill(Buffer.alloc(size), cb)
}

function randomUUID() {
  const uuid = randomBytes(16)
  uuid[6] = (uuid[6] & 0x0f) | 0x40
  uuid[8] = (uuid[8] & 0x3f) | 0x80
  return uuid.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}

function pbkdf2(password, salt, iterations, keylen, digest, cb) {
  if (!(iterations >= 1 && iterations <= 0xffffffff)) throw new RangeError('Invalid iterations')
  if (!(keylen >= 1 && keylen <= 0x7fffffff)) throw new RangeError('Invalid key length')
  const key = Buffer.from(native.pbkdf2(bytesOf(password), bytesOf(salt), iterations, keylen, toHash(digest)))
  if (!cb) return key
  queueMicrotask(() => cb(null, key))
}

class Key {
  constructor(type, bytes) {
    this.type = type
    this._bytes = bytes
  }

  get destroyed() {
    return this._bytes === null
  }

  export() {
    return Buffer.from(this._use())
  }

  _use() {
    if (this._bytes === null) throw new Error('Key has been destroyed')
    return this._bytes
  }

  destroy() {
    if (this._bytes !== null) this._bytes.fill(0)
    this._bytes = null
  }

  [Symbol.dispose]() {
    this.destroy()
  }
}

class Ed25519Key extends Key {
  get asymmetricKeyType() {
    return 'ed25519'
  }
}

function generateKeyPair(type) {
  toKeyType(type)
  const [publicKey, privateKey] = native.keyPair().map((bytes) => Buffer.from(bytes))
  return { publicKey: new Ed25519Key('public', publicKey), privateKey: new Ed25519Key('private', privateKey) }
}

function toSigningKey(key) {
  if (!(key instanceof Key)) throw new TypeError('Key must be a key of this module')
  return key._use()
}

exports.constants = constants
exports.Hash = Hash
exports.Hmac = Hmac
exports.Cipheriv = Cipheriv
exports.Decipheriv = Decipheriv
exports.createHash = (algorithm, opts) => new Hash(algorithm, opts)
exports.createHmac = (algorithm, key, opts) => new Hmac(algorithm, key, opts)
exports.createCipheriv = (algorithm, key, iv, opts) => new Cipheriv(algorithm, key, iv, opts)
exports.createDecipheriv = (algorithm, key, iv, opts) => new Decipheriv(algorithm, key, iv, opts)
exports.randomBytes = randomBytes
exports.randomFill = randomFill
exports.randomFillSync = (buffer, offset, size) => randomFill(buffer, offset, size)
exports.randomUUID = randomUUID
exports.pbkdf2 = pbkdf2
exports.pbkdf2Sync = (password, salt, iterations, keylen, digest) => pbkdf2(password, salt, iterations, keylen, digest)
exports.generateKeyPair = generateKeyPair
exports.sign = (algorithm, data, key) => Buffer.from(native.sign(bytesOf(data), toSigningKey(key)))
exports.verify = (algorithm, data, key, signature) => native.verify(bytesOf(data), toSigningKey(key), bytesOf(signature))
exports.timingSafeEqual = (a, b) => native.isEqual(bytesOf(a), bytesOf(b))

exports.webcrypto = require('bare-crypto/subtle')(native, exports)
