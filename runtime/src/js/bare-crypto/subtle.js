// The web's crypto as bare-crypto 1.15 has it: SHA, HMAC, PBKDF2 and Ed25519. Keys come and go as `raw`.

const { errors, bytesOf } = require('bare-crypto/constants').internal

const hashes = { 'sha-1': 'SHA1', 'sha-256': 'SHA256', 'sha-384': 'SHA384', 'sha-512': 'SHA512' }
// What HMAC takes as the length of a key where none is given, in bits.
const blockBits = { 'sha-1': 512, 'sha-256': 512, 'sha-384': 1024, 'sha-512': 1024 }

class CryptoKey {
  constructor(type, extractable, algorithm, usages, bytes) {
    this.type = type
    this.extractable = extractable
    this.algorithm = algorithm
    this.usages = usages
    Object.defineProperty(this, '_bytes', { value: bytes })
  }
}

module.exports = (native, crypto) => {
  const named = (algorithm) => (typeof algorithm === 'string' ? { name: algorithm } : algorithm)
  const nameOf = (algorithm) => algorithm.name.toLowerCase()
  const unsupported = (algorithm, operation) =>
    errors.NOT_SUPPORTED(`Algorithm '${algorithm.name}' does not support the ${operation}() operation`)
  const exact = (buffer) => buffer.buffer.slice(buffer.byteOffset, buffer.byteOffset + buffer.byteLength)

  function hashOf(algorithm) {
    const hash = named(algorithm.hash === undefined ? algorithm : algorithm.hash)
    const name = nameOf(hash)
    if (!Object.hasOwn(hashes, name)) throw errors.NOT_SUPPORTED(`Unsupported hash '${hash.name}'`)
    return { name, native: hashes[name] }
  }

  function permit(algorithm, key, usage, doing) {
    if (nameOf(algorithm) !== nameOf(key.algorithm)) {
      throw errors.INVALID_ACCESS(`Algorithm '${algorithm.name}' does not match key`)
    }
    if (!key.usages.includes(usage)) throw errors.INVALID_ACCESS(`Key cannot be used ${doing}`)
  }

  function hmacKey(algorithm, bytes, extractable, usages) {
    const { name } = hashOf(algorithm)
    const about = { name: 'HMAC', hash: { name: name.toUpperCase() }, length: bytes.byteLength * 8 }
    return new CryptoKey('secret', extractable, about, [...usages], bytes)
  }

  function ed25519Key(type, bytes, extractable, usages) {
    const wanted = type === 'public' ? 'verify' : 'sign'
    return new CryptoKey(type, extractable, { name: 'Ed25519' }, usages.filter((usage) => usage === wanted), bytes)
  }

  function derive(algorithm, key, bits) {
    if (nameOf(algorithm) !== 'pbkdf2') throw unsupported(algorithm, 'deriveBits')
    if (!(bits > 0) || bits % 8 !== 0) throw errors.OPERATION_ERROR('Invalid length')
    const { salt, iterations } = algorithm
    return crypto.pbkdf2(key._bytes, bytesOf(salt), iterations, bits / 8, hashOf(algorithm).native)
  }

  class SubtleCrypto {
    async digest(algorithm, data) {
      algorithm = named(algorithm)
      const name = nameOf(algorithm)
      if (!Object.hasOwn(hashes, name)) throw unsupported(algorithm, 'digest')
      return exact(crypto.createHash(hashes[name]).update(bytesOf(data)).digest())
    }

    async generateKey(algorithm, extractable, usages) {
      algorithm = named(algorithm)
      switch (nameOf(algorithm)) {
        case 'hmac': {
          const { length = blockBits[hashOf(algorithm).name] } = algorithm
          return hmacKey(algorithm, crypto.randomBytes(length / 8), extractable, usages)
        }
        case 'ed25519': {
          const [publicKey, privateKey] = native.keyPair().map((bytes) => Buffer.from(bytes))
          return {
            publicKey: ed25519Key('public', publicKey, true, usages),
            privateKey: ed25519Key('private', privateKey, extractable, usages)
          }
        }
        default:
          throw unsupported(algorithm, 'generateKey')
      }
    }

    async importKey(format, keyData, algorithm, extractable, usages) {
      algorithm = named(algorithm)
      if (format !== 'raw') throw errors.NOT_SUPPORTED(`Unsupported key format '${format}'`)
      const bytes = Buffer.from(bytesOf(keyData))
      switch (nameOf(algorithm)) {
        case 'hmac':
          return hmacKey(algorithm, bytes, extractable, usages)
        case 'ed25519':
          if (bytes.byteLength !== 32) throw errors.INVALID_DATA('Invalid key length')
          return ed25519Key('public', bytes, extractable, usages)
        case 'pbkdf2':
          return new CryptoKey('secret', false, { name: 'PBKDF2' }, [...usages], bytes)
        default:
          throw unsupported(algorithm, 'importKey')
      }
    }

    async exportKey(format, key) {
      if (!key.extractable) throw errors.INVALID_ACCESS('Key is not extractable')
      if (format !== 'raw' || key.type === 'private') throw errors.NOT_SUPPORTED(`Unsupported key format '${format}'`)
      return exact(key._bytes)
    }

    async sign(algorithm, key, data) {
      algorithm = named(algorithm)
      permit(algorithm, key, 'sign', 'for signing')
      if (nameOf(algorithm) === 'ed25519') return native.sign(bytesOf(data), key._bytes)
      const hmac = crypto.createHmac(hashOf(key.algorithm).native, key._bytes)
      return exact(hmac.update(bytesOf(data)).digest())
    }

    async verify(algorithm, key, signature, data) {
      algorithm = named(algorithm)
      permit(algorithm, key, 'verify', 'for verification')
      signature = bytesOf(signature)
      if (nameOf(algorithm) === 'ed25519') {
        return signature.byteLength === 64 && native.verify(bytesOf(data), key._bytes, signature)
      }
      const hmac = crypto.createHmac(hashOf(key.algorithm).native, key._bytes)
      return native.isEqual(hmac.update(bytesOf(data)).digest(), signature)
    }

    async deriveBits(algorithm, key, length) {
      algorithm = named(algorithm)
      permit(algorithm, key, 'deriveBits', 'to derive bits')
      return exact(derive(algorithm, key, length))
    }

    async deriveKey(algorithm, key, derived, extractable, usages) {
      algorithm = named(algorithm)
      derived = named(derived)
      permit(algorithm, key, 'deriveKey', 'to derive key')
      if (nameOf(derived) !== 'hmac') throw unsupported(derived, 'getKeyLength')
      const { length = blockBits[hashOf(derived).name] } = derived
      return this.importKey('raw', derive(algorithm, key, length), derived, extractable, usages)
    }
  }

  const subtle = new SubtleCrypto()
  const getRandomValues = (array) => crypto.randomFill(array)

  class Crypto {
    get subtle() {
      return subtle
    }

    getRandomValues(array) {
      return getRandomValues(array)
    }

    randomUUID() {
      return crypto.randomUUID()
    }
  }

  return { CryptoKey, SubtleCrypto, Crypto, subtle, getRandomValues, randomUUID: crypto.randomUUID }
}
