// The ciphers of bare-crypto 1.15: those that encrypt piece by piece, and those that seal all of it at the end.

const { Transform } = require('bare-stream')
const { toCipher, bytesOf } = require('bare-crypto/constants').internal

module.exports = (native) => {
  const encoded = (data, encoding) => {
    const buffer = Buffer.from(data)
    return encoding ? buffer.toString(encoding) : buffer
  }

  // Piece by piece.
  class Blocks {
    constructor(algorithm, key, iv, isEncrypting) {
      this._native = new native.Cipher(algorithm, key, iv, isEncrypting)
    }

    update(data, outputEncoding) {
      const out = this._native.update(data)
      if (out === undefined) throw new Error('Cipher has already been finalized')
      return encoded(out, outputEncoding)
    }

    final(outputEncoding) {
      const out = this._native.finish()
      if (out === undefined) throw new Error('Cipher has already been finalized')
      return encoded(out, outputEncoding)
    }

    setAutoPadding(pad) {
      this._native.setPadding(Boolean(pad))
    }
  }

  // All of it at the end, with a tag.
  class Sealed {
    constructor(algorithm, key, nonce, isEncrypting, opts) {
      const { authTagLength = 16 } = opts
      if (![12, 14, 16].includes(authTagLength)) throw new RangeError('Invalid authentication tag length')
      Object.assign(this, { algorithm, key, nonce, isEncrypting, authTagLength })
      this.pieces = []
      this.additional = Buffer.alloc(0)
      this.tag = null
      this.isFinal = false
    }

    update(data, outputEncoding) {
      this.pieces.push(Buffer.from(data))
      return outputEncoding ? '' : Buffer.alloc(0)
    }

    final(outputEncoding) {
      if (this.isFinal) throw new Error('Cipher has already been finalized')
      this.isFinal = true
      const data = Buffer.concat(this.pieces)
      if (this.isEncrypting) {
        const sealed = Buffer.from(native.seal(this.algorithm, this.key, this.nonce, this.additional, data))
        this.tag = sealed.subarray(data.byteLength, data.byteLength + this.authTagLength)
        return encoded(sealed.subarray(0, data.byteLength), outputEncoding)
      }
      if (this.tag === null) throw new Error('Authentication tag is missing')
      const input = Buffer.concat([data, this.tag])
      const opened =
        this.tag.byteLength === 16 ? native.unseal(this.algorithm, this.key, this.nonce, this.additional, input) : undefined
      if (opened === undefined) throw new Error('Could not authenticate data')
      return encoded(opened, outputEncoding)
    }
  }

  class CipherStream extends Transform {
    constructor(algorithm, key, iv, isEncrypting, opts = {}) {
      super(opts)
      const { encoding = 'utf8' } = opts
      algorithm = toCipher(algorithm)
      key = bytesOf(key, encoding)
      iv = bytesOf(iv === null || iv === undefined ? Buffer.alloc(0) : iv, encoding)
      const [keyLength, ivLength, tagLength] = native.keyLengths(algorithm) || [0, 0, 0]
      if (key.byteLength !== keyLength) throw new RangeError('Invalid key length')
      if (iv.byteLength !== ivLength) throw new RangeError(tagLength ? 'Invalid nonce length' : 'Invalid iv length')
      this._cipher = tagLength
        ? new Sealed(algorithm, key, iv, isEncrypting, opts)
        : new Blocks(algorithm, key, iv, isEncrypting)
    }

    update(data, inputEncoding = 'utf8', outputEncoding) {
      return this._cipher.update(bytesOf(data, inputEncoding), outputEncoding)
    }

    final(outputEncoding) {
      return this._cipher.final(outputEncoding)
    }

    setAutoPadding(pad = true) {
      if (this._cipher.setAutoPadding) this._cipher.setAutoPadding(pad)
      return this
    }

    setAAD(data, opts = {}) {
      this._cipher.additional = Buffer.from(bytesOf(data, opts.encoding || 'utf8'))
      return this
    }

    getAuthTag() {
      return this._cipher.tag
    }

    setAuthTag(tag, encoding) {
      this._cipher.tag = Buffer.from(bytesOf(tag, encoding))
      return this
    }

    _transform(data, encoding, cb) {
      this.push(this.update(data))
      cb(null)
    }

    _flush(cb) {
      try {
        this.push(this.final())
      } catch (err) {
        return cb(err)
      }
      cb(null)
    }
  }

  class Cipheriv extends CipherStream {
    constructor(algorithm, key, iv, opts) {
      super(algorithm, key, iv, true, opts)
    }
  }

  class Decipheriv extends CipherStream {
    constructor(algorithm, key, iv, opts) {
      super(algorithm, key, iv, false, opts)
    }
  }

  return { Cipheriv, Decipheriv }
}
