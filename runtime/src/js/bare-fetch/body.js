// What Request and Response have in common: a body that is read once.

const { isBlob, isFormData, toBlob } = require('bare-form-data')
const errors = require('bare-fetch/errors')

module.exports = class Body {
  constructor(body) {
    this._isUsed = false
    this._contentType = null
    // Bytes, or something that gives them piece by piece.
    this._body = null
    if (body === null || body === undefined) return
    if (typeof body === 'string') this._body = Buffer.from(body)
    else if (body instanceof URLSearchParams) {
      this._contentType = 'application/x-www-form-urlencoded;charset=UTF-8'
      this._body = Buffer.from(body.toString())
    } else if (isFormData(body) || isBlob(body)) {
      const blob = isBlob(body) ? body : toBlob(body)
      this._contentType = blob.type || null
      this._body = blob._bytes
    } else if (ArrayBuffer.isView(body)) this._body = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
    else if (body instanceof ArrayBuffer) this._body = Buffer.from(body)
    else if (typeof body[Symbol.asyncIterator] === 'function' || typeof body[Symbol.iterator] === 'function') this._body = body
    else this._body = Buffer.from(String(body))
  }

  get body() {
    if (this._body === null) return null
    const { ReadableStream } = require('bare-stream/web')
    if (this._body instanceof ReadableStream) return this._body
    const pieces = this._pieces()
    this._body = new ReadableStream({
      async pull(controller) {
        const { done, value } = await pieces.next()
        if (done) controller.close()
        else controller.enqueue(value)
      },
      cancel: () => pieces.return()
    })
    return this._body
  }

  get bodyUsed() {
    return this._isUsed
  }

  // The body is taken when this is called, not when the first piece is.
  async *_pieces(body = this._body) {
    if (body === null) return
    if (body instanceof Uint8Array) yield body
    else for await (const piece of body) yield typeof piece === 'string' ? Buffer.from(piece) : piece
  }

  async buffer() {
    if (this._isUsed) throw errors.BODY_UNUSABLE('Body has already been consumed')
    this._isUsed = true
    const pieces = []
    for await (const piece of this._pieces()) pieces.push(piece)
    return Buffer.concat(pieces)
  }

  async bytes() {
    const buffer = await this.buffer()
    return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength)
  }

  async arrayBuffer() {
    const { buffer, byteOffset, byteLength } = await this.buffer()
    return buffer.slice(byteOffset, byteOffset + byteLength)
  }

  async text() {
    const text = (await this.buffer()).toString('utf8')
    return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text
  }

  async json() {
    const text = await this.text()
    try {
      return JSON.parse(text)
    } catch (err) {
      throw errors.INVALID_JSON('Invalid JSON', err)
    }
  }

  // A body of bytes serves both; one that comes in pieces is read to its end for both.
  _copy() {
    if (this._isUsed) throw errors.BODY_UNUSABLE('Body has already been consumed')
    if (this._body === null || this._body instanceof Uint8Array) return this._body
    const source = this._pieces()
    const whole = (async () => {
      const pieces = []
      for await (const piece of source) pieces.push(piece)
      return Buffer.concat(pieces)
    })()
    this._body = {
      async *[Symbol.asyncIterator]() {
        yield await whole
      }
    }
    return this._body
  }
}
