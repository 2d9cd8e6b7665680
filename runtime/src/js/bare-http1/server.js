// The server of bare-http1 4.6.

const tcp = require('bare-tcp')
const headers = require('bare-http1/headers')
const constants = require('bare-http1/constants')
const { HttpReader } = require('bare-http1/reader')
const { IncomingMessage, OutgoingMessage } = require('bare-http1/messages')
const { errors } = headers

class ServerResponse extends OutgoingMessage {
  constructor(socket, req, opts = {}) {
    super(socket)
    this.req = req
    this._statusCode = 200
    this._statusMessage = null
    this._close = headers.isClosing(req.headers, req.httpVersion)
    this._keepAliveTimeout = opts.keepAliveTimeout || 0
    this._awaitsContinue = headers.hasToken(req.headers.expect, '100-continue')
  }

  get statusCode() {
    return this._statusCode
  }

  set statusCode(code) {
    headers.checkStatus(code)
    this._statusCode = code
  }

  get statusMessage() {
    return this._statusMessage
  }

  set statusMessage(message) {
    if (message !== null && message !== undefined) headers.checkReason(String(message))
    this._statusMessage = message === undefined ? null : message
  }

  writeHead(statusCode, statusMessage = null, fields = {}) {
    this._mayChange()
    if (typeof statusMessage === 'object' && statusMessage !== null) [statusMessage, fields] = [null, statusMessage]
    this.statusCode = statusCode
    this.statusMessage = statusMessage || null
    if (!Array.isArray(fields)) {
      for (const name of Object.keys(fields || {})) this.setHeader(name, fields[name])
    } else if (Array.isArray(fields[0])) {
      for (const [name, value] of fields) this.appendHeader(name, value)
    } else {
      if (fields.length % 2 !== 0) throw errors.INVALID_HEADER_VALUE('Header list must hold a value for every name')
      for (let i = 0; i < fields.length; i += 2) this.setHeader(fields[i], fields[i + 1])
    }
    return this
  }

  writeContinue() {
    this._mayChange()
    this._awaitsContinue = false
    this._send(Buffer.from('HTTP/1.1 100 Continue\r\n\r\n'))
  }

  _hasNoBody() {
    const code = this._statusCode
    return this.req.method === 'HEAD' || code < 200 || code === 204 || code === 304
  }

  _mayChunk() {
    return this.req.httpVersion !== '1.0'
  }

  _head() {
    const reason = this._statusMessage || constants.status[this._statusCode] || 'unknown'
    const fields = this._headers
    if (headers.hasToken(fields.connection, 'close')) this._close = true
    // Who was never told to send its body may still send it: that cannot be told from the next request.
    if (this._awaitsContinue) this._close = true
    if (this._close && !headers.hasToken(fields.connection, 'close')) delete fields.connection
    let head = `HTTP/1.1 ${this._statusCode} ${reason}\r\n` + headers.serialize(fields)
    if (fields.connection === undefined) {
      const seconds = Math.floor(this._keepAliveTimeout / 1000)
      if (this._close) head += 'Connection: close\r\n'
      else head += 'Connection: keep-alive\r\n' + (seconds > 0 ? `Keep-Alive: timeout=${seconds}\r\n` : '')
    }
    if (fields.date === undefined) head += `Date: ${new Date().toUTCString()}\r\n`
    return head + '\r\n'
  }

  _finished() {
    this._done()
  }

  _done() {}
}

const connections = new WeakMap()

// One client: its requests are answered one after another, in order.
class ServerConnection {
  constructor(server, socket, opts = {}) {
    this.server = server
    this.socket = socket
    this.req = null
    this.res = null
    this._opts = opts
    this._reader = new HttpReader(true, server.maxHeaderSize, server.maxHeadersCount)
    // Events of requests that came before the one before them was answered.
    this._waiting = []
    this._isUpgraded = false
    this._timer = null
    connections.set(socket, this)
    this._ondata = (data) => this._read(data)
    this._onend = () => this._ended()
    this._ondrain = () => this.res && this.res._ondrain()
    this._onclose = () => this._closed()
    this._onerror = () => {}
    socket.on('data', this._ondata).on('end', this._onend).on('drain', this._ondrain)
    socket.on('error', this._onerror).on('close', this._onclose)
    if (server.timeout > 0) socket.setTimeout(server.timeout, () => server.emit('timeout', socket) || socket.destroy())
    this._limit(server.headersTimeout)
  }

  static for(socket) {
    return connections.get(socket) || null
  }

  get idle() {
    return this.req === null && this._waiting.length === 0
  }

  // How long the client may take for what it does now.
  _limit(ms) {
    clearTimeout(this._timer)
    this._timer = null
    if (!(ms > 0)) return
    this._timer = setTimeout(() => {
      if (this.idle) this.socket.destroy()
      else this._fail(errors.REQUEST_TIMEOUT('Request timed out'))
    }, ms)
    this._timer.unref()
  }

  _read(data) {
    let events
    try {
      events = this._reader.push(data)
    } catch (err) {
      return this._fail(err)
    }
    this._waiting.push(...events)
    this._advance()
  }

  _advance() {
    while (this._waiting.length > 0 && !this._isUpgraded) {
      const event = this._waiting[0]
      // The next request waits until this one was read and answered.
      if (event.type === 'head' && this.req !== null) return
      this._waiting.shift()
      if (event.type === 'head') this._begin(event)
      else if (event.type === 'data') {
        if (this.req.destroyed || this.req.destroying) continue
        if (!this.req.push(Buffer.from(event.data))) this.socket.pause()
      } else {
        this.req.complete = true
        this._limit(0)
        if (!this.req.destroying) this.req.push(null)
        this._isRead = true
        this._settle()
      }
    }
  }

  _begin(head) {
    const { IncomingMessage: Incoming = IncomingMessage, ServerResponse: Response = ServerResponse } = this._opts
    const { method, url, httpVersion } = head
    const req = new Incoming(this.socket, { headers: headers.collect(head.headers), method, url, httpVersion })
    this.req = req
    this._isRead = false
    this._isAnswered = false
    this._limit(this.server.requestTimeout)
    if (head.upgrade && this._handOver(req)) return
    if (head.upgrade) {
      // Nobody speaks that other protocol: it is an ordinary request without a body.
      this._reader.resume()
      this._waiting.unshift({ type: 'end' })
    }
    req._demand = () => this.socket.resume()
    const res = new Response(this.socket, req, { keepAliveTimeout: this.server.keepAliveTimeout })
    this.res = res
    res._done = () => {
      this._isAnswered = true
      this._settle()
    }
    res.on('close', () => {
      // A response that was given up leaves the client waiting for its rest.
      if (!this._isAnswered && this.res === res && !this._isUpgraded) this.socket.destroy()
    })
    const expect = req.headers.expect
    if (expect === undefined) this.server.emit('request', req, res)
    else if (headers.hasToken(expect, '100-continue')) {
      if (!this.server.emit('checkContinue', req, res)) {
        res.writeContinue()
        this.server.emit('request', req, res)
      }
    } else if (!this.server.emit('checkExpectation', req, res)) {
      res.writeHead(417)
      res.end()
    }
  }

  // Gives the socket to a listener for `upgrade` or `connect`; false when there is none.
  _handOver(req) {
    const event = req.method === 'CONNECT' ? 'connect' : 'upgrade'
    if (this.server.listenerCount(event) === 0) {
      if (event !== 'connect') return false
      this.socket.destroy()
      return true
    }
    this._isUpgraded = true
    this._limit(0)
    req._upgrade = true
    req.complete = true
    req.push(null)
    this._release()
    this.server.emit(event, req, this.socket, Buffer.from(this._reader.rest()))
    return true
  }

  _release() {
    const { socket } = this
    socket.off('data', this._ondata).off('end', this._onend).off('drain', this._ondrain)
    socket.off('close', this._onclose).off('error', this._onerror)
  }

  _settle() {
    if (!this._isRead || !this._isAnswered) {
      // Answered without reading the body: the rest is read and thrown away.
      if (this._isAnswered && this.req !== null && !this.req.destroying) this.req.resume()
      if (!this._isAnswered || !this.res._close) return
    }
    const res = this.res
    this.req = null
    this.res = null
    if (res._close || this.server.closing) {
      this.socket.end()
      // Who does not close its side has it closed.
      this.socket.resume()
      return
    }
    this._limit(this.server.keepAliveTimeout)
    this.socket.resume()
    queueMicrotask(() => this._advance())
  }

  _fail(err) {
    this._limit(0)
    if (this.req !== null && !this.req.complete) this.req._abort(err)
    if (this.server.emit('clientError', err, this.socket)) return
    const code = err.code === 'HEADER_OVERFLOW' ? 431 : err.code === 'REQUEST_TIMEOUT' ? 408 : 400
    const isAnswering = this.res !== null && this.res.headersSent
    if (isAnswering) return this.socket.destroy()
    this._waiting = []
    this.socket.off('data', this._ondata)
    this.socket.resume()
    this.socket.end(Buffer.from(`HTTP/1.1 ${code} ${constants.status[code]}\r\nConnection: close\r\n\r\n`))
  }

  _ended() {
    if (this.req !== null && !this.req.complete) this.req._abort(errors.CONNECTION_LOST('Socket hung up'))
    if (this.idle) this.socket.end()
  }

  _closed() {
    this._limit(0)
    const err = errors.CONNECTION_LOST('Socket hung up')
    if (this.req !== null && !this.req.complete) this.req._abort(err)
    if (this.res !== null && !this._isAnswered) this.res.destroy()
  }
}

const limits = {
  headersTimeout: 60000,
  requestTimeout: 300000,
  keepAliveTimeout: 5000,
  maxHeaderSize: 16384,
  maxHeadersCount: 2000,
  maxUpgradeBodySize: 65536
}

// What a server over any kind of socket has.
const HTTPServer = (Base) =>
  class extends Base {
    _init(opts, onrequest, wrap = (socket) => socket) {
      this._sockets = new Map()
      this.timeout = 0
      for (const name of Object.keys(limits)) this[name] = opts[name] === undefined ? limits[name] : opts[name]
      this.on('connection', (raw) => {
        const socket = wrap(raw)
        this._sockets.set(raw, new ServerConnection(this, socket, opts))
        raw.on('close', () => this._sockets.delete(raw))
      })
      if (onrequest) this.on('request', onrequest)
    }

    setTimeout(ms = 0, ontimeout) {
      if (ontimeout) this.on('timeout', ontimeout)
      this.timeout = ms
      return this
    }

    close(onclose) {
      super.close(onclose)
      this.closeIdleConnections()
      return this
    }

    closeIdleConnections() {
      for (const [raw, connection] of this._sockets) if (connection.idle) raw.destroy()
    }

    closeAllConnections() {
      for (const raw of this._sockets.keys()) raw.destroy()
    }
  }

class Server extends HTTPServer(tcp.Server) {
  constructor(opts = {}, onrequest) {
    if (typeof opts === 'function') [opts, onrequest] = [{}, opts]
    super({ ...opts, allowHalfOpen: true })
    this._init(opts, onrequest)
  }
}

module.exports = { Server, HTTPServer, ServerResponse, ServerConnection }
