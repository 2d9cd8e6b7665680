// The messages of bare-http1 4.6: what comes in is a Readable, what goes out a Writable that frames its body.

const { Readable, Writable, Duplex } = require('bare-stream')
const headers = require('bare-http1/headers')
const { errors } = headers

const end = Buffer.from('\r\n')
const lastChunk = Buffer.from('0\r\n\r\n')

const Message = (Stream) =>
  class extends Stream {
    constructor(socket) {
      super()
      this._socket = socket
      this._headers = Object.create(null)
      this._timer = null
      this._upgrade = false
    }

    get socket() {
      return this._socket
    }

    get connection() {
      return this._socket
    }

    get upgrade() {
      return this._upgrade
    }

    getHeader(name) {
      return this._headers[name.toLowerCase()]
    }

    getHeaders() {
      return { ...this._headers }
    }

    hasHeader(name) {
      return name.toLowerCase() in this._headers
    }

    // With nothing going on for so long, `timeout` is emitted; what to do is its listener's affair.
    setTimeout(ms, ontimeout) {
      if (ontimeout) this.once('timeout', ontimeout)
      clearTimeout(this._timer)
      this._timer = ms > 0 ? setTimeout(() => this.emit('timeout'), ms) : null
      if (this._timer !== null) this._timer.unref()
      this.once('close', () => clearTimeout(this._timer))
      return this
    }
  }

class IncomingMessage extends Message(Readable) {
  constructor(socket = null, opts = {}) {
    super(socket)
    this._headers = opts.headers || this._headers
    this.httpVersion = opts.httpVersion || '1.1'
    this.method = opts.method || ''
    this.url = opts.url || ''
    this.statusCode = opts.statusCode || 0
    this.statusMessage = opts.statusMessage || ''
    this.complete = false
    this._demand = null
  }

  get headers() {
    return this._headers
  }

  set headers(value) {
    this._headers = headers.normalize(value)
  }

  _read() {
    if (this._demand !== null) this._demand()
  }

  // Cut short. Somebody who does not listen for errors is told by `complete`.
  _abort(err) {
    if (err && this.listenerCount('error') > 0) this.destroy(err)
    else this.destroy()
  }

  _predestroy() {
    if (!this.complete && !this._upgrade && this._socket !== null) this._socket.destroy()
  }
}

const Outgoing = (Stream) =>
  class extends Message(Stream) {
    constructor(socket = null) {
      super(socket)
      this._headersSent = false
      this._isChunked = false
      // What the head says of the body's length, and how much of it was written; -1 says nothing.
      this._length = -1
      this._written = 0
      this._failure = null
      // Set while the socket is full.
      this._blocked = null
    }

    get headersSent() {
      return this._headersSent
    }

    get headers() {
      return this.getHeaders()
    }

    set headers(value) {
      this._mayChange()
      this._headers = headers.normalize(value)
    }

    _mayChange() {
      if (this._headersSent) throw errors.HEADERS_SENT('Headers have already been sent')
    }

    setHeader(name, value) {
      this._mayChange()
      headers.checkName(name)
      headers.checkValue(name, value)
      this._headers[name.toLowerCase()] = value
    }

    appendHeader(name, value) {
      const known = this.getHeader(name)
      this.setHeader(name, known === undefined ? value : [].concat(known, value))
    }

    removeHeader(name) {
      this._mayChange()
      delete this._headers[name.toLowerCase()]
    }

    flushHeaders() {
      if (!this._headersSent && this._socket !== null) this._sendHead(-1)
    }

    // Sends the head. `length` is how long the body is, -1 when nobody knows yet.
    _sendHead(length) {
      const fields = this._headers
      const hasNoBody = this._hasNoBody()
      if (fields['transfer-encoding'] !== undefined) {
        if (!headers.hasToken(fields['transfer-encoding'], 'chunked')) {
          throw errors.INVALID_TRANSFER_ENCODING(`Unsupported transfer encoding: ${JSON.stringify(fields['transfer-encoding'])}`)
        }
        delete fields['content-length']
        this._isChunked = !hasNoBody
      } else if (fields['content-length'] !== undefined) {
        this._length = headers.contentLength(fields['content-length'])
        if (length !== -1 && length !== this._length && !hasNoBody) {
          throw errors.CONTENT_LENGTH_MISMATCH('Body does not match its content length')
        }
      } else if (!hasNoBody && length !== -1) {
        if (length > 0 || this._announcesEmpty()) fields['content-length'] = String(length)
        this._length = length
      } else if (!hasNoBody) {
        if (this._mayChunk()) {
          fields['transfer-encoding'] = 'chunked'
          this._isChunked = true
        } else this._close = true
      }
      const head = this._head()
      this._headersSent = true
      this._send(Buffer.from(head, 'latin1'))
    }

    _hasNoBody() {
      return false
    }

    _announcesEmpty() {
      return true
    }

    _mayChunk() {
      return true
    }

    _send(data) {
      return this._socket.write(data)
    }

    end(data, encoding, cb) {
      if (typeof data === 'function') [data, cb] = [undefined, data]
      // What is written in one go says how long it is.
      if (!this._headersSent && this._socket !== null && !this._isWriting) this._whole = toBytes(data, encoding)
      return super.end(data, encoding, cb)
    }

    write(data, encoding, cb) {
      this._isWriting = true
      return super.write(data, encoding, cb)
    }

    _writev(batch, cb) {
      const data = Buffer.concat(batch.map(({ chunk }) => toBytes(chunk)))
      try {
        if (!this._headersSent) this._sendHead(this._whole !== undefined && !this._isStreaming ? this._whole.byteLength : -1)
      } catch (err) {
        return cb(err)
      }
      this._isStreaming = true
      if (this._hasNoBody() || data.byteLength === 0) return cb(null)
      this._written += data.byteLength
      if (this._length !== -1 && this._written > this._length) {
        return cb(errors.CONTENT_LENGTH_MISMATCH('Body does not match its content length'))
      }
      const framed = this._isChunked
        ? Buffer.concat([Buffer.from(data.byteLength.toString(16) + '\r\n'), data, end])
        : data
      if (this._send(framed)) return cb(null)
      this._blocked = cb
    }

    _ondrain() {
      const cb = this._blocked
      this._blocked = null
      if (cb !== null) cb(null)
    }

    _final(cb) {
      try {
        if (!this._headersSent) this._sendHead(0)
        if (this._length > this._written && !this._hasNoBody()) {
          throw errors.CONTENT_LENGTH_MISMATCH('Body does not match its content length')
        }
      } catch (err) {
        return cb(err)
      }
      if (this._isChunked) this._send(lastChunk)
      this._finished()
      cb(null)
    }

    _finished() {}

    _predestroy() {
      this._ondrain()
    }
  }

class OutgoingMessage extends Outgoing(Writable) {}

// A request is done when its response is: until then it is a Duplex whose other side has not ended.
class OutgoingRequest extends Outgoing(Duplex) {
  _read() {}

  _complete() {
    this.push(null)
    this.resume()
  }
}

function toBytes(data, encoding) {
  if (data === undefined || data === null) return Buffer.alloc(0)
  return typeof data === 'string' ? Buffer.from(data, encoding) : data
}

module.exports = { IncomingMessage, OutgoingMessage, OutgoingRequest }
