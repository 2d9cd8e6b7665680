// bare-ws 3.2: WebSockets (RFC 6455), both sides.

const EventEmitter = require('bare-events')
const { Duplex } = require('bare-stream')
const http = require('bare-http1')
const https = require('bare-https')
const crypto = require('bare-crypto')
const errors = require('bare-ws/errors')
const { opcode, status, isValidStatus, encode, Reader } = require('bare-ws/frames')

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const VERSION = '13'
const nothing = Buffer.alloc(0)

const acceptOf = (key) => crypto.createHash('sha1').update(key + GUID).digest('base64')

class WebSocket extends Duplex {
  constructor(url, opts = {}) {
    if (typeof url === 'string') url = new URL(url)
    const isURL = url && typeof url.pathname === 'string'
    opts = isURL ? { ...http.toOptions(url, opts || {}), secure: ['https:', 'wss:'].includes(url.protocol) } : { ...url }
    const { protocol } = opts
    if (protocol && !['http:', 'https:', 'ws:', 'wss:'].includes(protocol)) {
      throw errors.INVALID_PROTOCOL(`Unsupported protocol: ${JSON.stringify(protocol)}`)
    }
    super({ eagerOpen: true })
    const { isServer = false, socket = null, maxPayload = 100 * 1024 * 1024, maxFragments = 1024 } = opts
    const { handshakeTimeout = 30000, idleTimeout = 120000, closeTimeout = 5000 } = opts
    this._isServer = isServer
    this._socket = null
    this._request = null
    this._reader = new Reader(native.mask, { isServer, maxPayload, maxFragments })
    this._idleTimeout = idleTimeout
    this._closeTimeout = closeTimeout
    this._opened = null
    this._blocked = null
    this._finalized = null
    this._timers = new Set()
    this._hasSentClose = false
    this._hasReceivedClose = false
    this._localClose = nothing
    this.closeCode = status.ABNORMAL_CLOSURE
    this.closeReason = nothing
    this.protocol = opts.subprotocol || null
    if (socket !== null) this._attach(socket)
    else this._connect(opts, handshakeTimeout)
  }

  _connect(opts, timeout) {
    const { request } = opts.secure ? https : http
    const key = crypto.randomBytes(16).toString('base64')
    const headers = { ...opts.headers, connection: 'Upgrade', upgrade: 'websocket' }
    Object.assign(headers, { 'sec-websocket-version': VERSION, 'sec-websocket-key': key })
    if (opts.protocols) headers['sec-websocket-protocol'] = [].concat(opts.protocols).join(', ')
    const plain = { ...opts, protocol: undefined, agent: false, headers, path: opts.path || '/' }
    const req = request(plain)
    this._request = req
    const timer = this._after(timeout, () => req.destroy(errors.CONNECTION_TIMEOUT('Handshake timed out')))
    const fail = (err) => {
      clearTimeout(timer)
      this._request = null
      this._ready(err)
    }
    req.on('error', (err) => fail(err.name === 'WebSocketError' ? err : errors.NETWORK_ERROR('Network error', err)))
    req.on('response', (res) => {
      res.resume()
      res.on('error', () => {})
      fail(errors.INVALID_UPGRADE_STATUS())
      req.destroy()
    })
    req.on('upgrade', (res, socket, head) => {
      clearTimeout(timer)
      this._request = null
      const { upgrade = '', 'sec-websocket-accept': accept, 'sec-websocket-protocol': selected } = res.headers
      let err = null
      if (upgrade.toLowerCase() !== 'websocket') err = errors.INVALID_UPGRADE_HEADER()
      else if (accept !== acceptOf(key)) err = errors.INVALID_ACCEPT_HEADER()
      else if (res.headers['sec-websocket-extensions']) err = errors.UNEXPECTED_EXTENSION('Unexpected Sec-WebSocket-Extensions header')
      if (err !== null || this.destroying) {
        socket.on('error', () => {}).destroy()
        return this._ready(err)
      }
      if (selected !== undefined) this.protocol = selected.trim()
      this._attach(socket)
      if (head.byteLength > 0) this._receive(head)
      this._ready(null)
    })
    req.end()
  }

  // A timer that does not outlive the socket, and does not keep the process.
  _after(ms, run) {
    if (!(ms > 0)) return null
    const timer = setTimeout(() => {
      this._timers.delete(timer)
      run()
    }, ms)
    timer.unref()
    this._timers.add(timer)
    return timer
  }

  _attach(socket) {
    this._socket = socket
    socket
      .on('data', (data) => this._receive(data))
      .on('drain', () => this._ondrain())
      .on('error', (err) => this.destroy(err))
      .on('end', () => this._lost())
      .on('close', () => this._lost())
    this._awaitsPong = false
    this._watch()
  }

  // A peer that says nothing for half the time is asked, one that does not answer is gone.
  _watch() {
    clearTimeout(this._idle)
    this._idle = this._after(this._idleTimeout / 2, () => {
      if (this._awaitsPong) return this._fail(errors.CONNECTION_TIMEOUT())
      this._awaitsPong = true
      if (!this._hasSentClose) this._send(opcode.PING, nothing)
      this._watch()
    })
  }

  _lost() {
    if (this.destroying) return
    if (this._hasReceivedClose && this._hasSentClose) this.destroy()
    else this.destroy(errors.UNEXPECTED_CLOSE())
  }

  _open(cb) {
    if (this._socket !== null) return cb(null)
    this._opened = cb
  }

  _ready(err) {
    const cb = this._opened
    this._opened = null
    if (cb !== null) cb(err)
    else if (err) this.destroy(err)
  }

  _send(code, payload) {
    const key = this._isServer ? null : crypto.randomBytes(4)
    return this._socket.write(encode(native.mask, code, payload, key))
  }

  ping(data) {
    this._control(opcode.PING, data)
  }

  pong(data) {
    this._control(opcode.PONG, data)
  }

  _control(code, data) {
    if (this._socket === null || this._hasSentClose || this.destroying) throw errors.NOT_CONNECTED()
    const payload = data === undefined || data === null ? nothing : Buffer.from(data)
    if (payload.byteLength > 125) throw new RangeError('Control payload must be at most 125 bytes')
    this._send(code, payload)
  }

  close(code = status.NORMAL_CLOSURE, reason = '') {
    if (!Number.isInteger(code) || !isValidStatus(code)) throw new RangeError(`Close status ${code} must not be sent`)
    const bytes = typeof reason === 'string' ? Buffer.from(reason) : reason
    if (bytes.byteLength > 123) throw new RangeError('Close reason must be at most 123 bytes')
    this._localClose = closePayload(code, bytes)
    this.end()
  }

  _receive(data) {
    if (this._hasReceivedClose || this.destroying) return
    this._awaitsPong = false
    this._watch()
    try {
      for (const frame of this._reader.push(data)) {
        this._onframe(frame)
        if (this._hasReceivedClose || this.destroying) return
      }
    } catch (err) {
      this._fail(err)
    }
  }

  _onframe({ opcode: code, payload }) {
    switch (code) {
      case opcode.PING:
        if (!this._hasSentClose) this._send(opcode.PONG, payload)
        this.emit('ping', payload)
        return
      case opcode.PONG:
        this.emit('pong', payload)
        return
      case opcode.CLOSE:
        return this._onclose(payload)
      case opcode.TEXT:
        if (!native.isText(payload)) throw errors.INVALID_UTF8()
    }
    if (!this.push(payload)) this._socket.pause()
  }

  _onclose(payload) {
    if (payload.byteLength === 1) throw errors.INVALID_CLOSE_PAYLOAD()
    this.closeCode = status.NO_STATUS_RECEIVED
    if (payload.byteLength >= 2) {
      const code = payload.readUInt16BE(0)
      if (!isValidStatus(code)) throw errors.INVALID_CLOSE_STATUS()
      if (!native.isText(payload.subarray(2))) throw errors.INVALID_UTF8()
      this.closeCode = code
      this.closeReason = payload.subarray(2)
    }
    this._hasReceivedClose = true
    this.push(null)
    if (this._hasSentClose) return this._closed()
    this._localClose = payload.subarray(0, 2)
    this.end()
  }

  // Both have said goodbye: the server ends the connection.
  _closed() {
    const cb = this._finalized
    this._finalized = null
    this._socket.end()
    this._after(this._closeTimeout, () => this.destroy())
    if (cb !== null) cb(null)
  }

  _fail(err) {
    if (this._socket !== null && !this._hasSentClose) {
      this._hasSentClose = true
      this._send(opcode.CLOSE, closePayload(err.status || status.PROTOCOL_ERROR, nothing))
      this._socket.end()
    }
    this.destroy(err)
  }

  _read() {
    if (this._socket !== null) this._socket.resume()
  }

  // Text goes as text, bytes as bytes.
  _write(data, encoding, cb) {
    const isText = typeof data === 'string' || (encoding !== undefined && encoding !== null && encoding !== 'buffer')
    const payload = typeof data === 'string' ? Buffer.from(data, encoding) : Buffer.from(data)
    if (this._send(isText ? opcode.TEXT : opcode.BINARY, payload)) return cb(null)
    this._blocked = cb
  }

  _ondrain() {
    const cb = this._blocked
    this._blocked = null
    if (cb !== null) cb(null)
  }

  _final(cb) {
    this._hasSentClose = true
    this._send(opcode.CLOSE, this._localClose)
    this._finalized = cb
    if (this._hasReceivedClose) return this._closed()
    this._after(this._closeTimeout, () => this.destroy(errors.UNEXPECTED_CLOSE()))
  }

  _predestroy() {
    for (const timer of this._timers) clearTimeout(timer)
    this._timers.clear()
    if (this._request !== null) this._request.destroy()
    this._ready(null)
    this._ondrain()
    const cb = this._finalized
    this._finalized = null
    if (cb !== null) cb(null)
  }

  _destroy(err, cb) {
    const socket = this._socket
    if (socket === null || socket.destroyed) return cb(err)
    socket.once('close', () => cb(err))
    // What was written last, a goodbye, still goes out.
    if (!socket.destroying) socket.end()
    const timer = setTimeout(() => socket.destroy(), err ? 50 : 1000)
    timer.unref()
    socket.once('close', () => clearTimeout(timer))
    socket.resume()
  }
}

function closePayload(code, reason) {
  const head = Buffer.alloc(2)
  head.writeUInt16BE(code, 0)
  return Buffer.concat([head, reason])
}

class Server extends EventEmitter {
  constructor(opts = {}, onconnection) {
    super()
    if (typeof opts === 'function') [opts, onconnection] = [{}, opts]
    const { verifyClient = null, handshakeTimeout = 30000, server } = opts
    this._opts = opts
    this._verify = verifyClient
    this._handshakeTimeout = handshakeTimeout
    this._connections = new Set()
    this._server = server || (opts.secure ? https : http).createServer(opts, refuse)
    this._server
      .on('error', (err) => this.emit('error', err))
      .on('close', () => this.emit('close'))
      .on('upgrade', (req, socket, head) => this._upgrade(req, socket, head))
    if (onconnection) this.on('connection', onconnection)
    if (!server) this._server.listen(opts, () => this.emit('listening'))
  }

  get listening() {
    return this._server.listening
  }

  get connections() {
    return this._connections
  }

  address() {
    return this._server.address()
  }

  async _upgrade(req, socket, head) {
    const ignore = () => {}
    socket.on('error', ignore)
    const timer = setTimeout(() => socket.destroy(), this._handshakeTimeout)
    timer.unref()
    socket.once('close', () => clearTimeout(timer))
    try {
      const err = whatIsWrong(req)
      if (err !== null) throw err
      if (this._verify !== null && !(await this._verify(req))) throw errors.UPGRADE_REJECTED()
    } catch (err) {
      socket.end(Buffer.from('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n'))
      socket.resume()
      return
    }
    clearTimeout(timer)
    if (socket.destroying) return
    const accept = acceptOf(req.headers['sec-websocket-key'])
    const lines = ['HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket', 'Connection: Upgrade', `Sec-WebSocket-Accept: ${accept}`]
    socket.write(Buffer.from(lines.join('\r\n') + '\r\n\r\n'))
    socket.off('error', ignore)
    const { maxPayload, maxFragments, idleTimeout, closeTimeout } = this._opts
    const connection = new WebSocket({ socket, isServer: true, maxPayload, maxFragments, idleTimeout, closeTimeout })
    this._connections.add(connection)
    connection.on('close', () => this._connections.delete(connection))
    this.emit('connection', connection, req)
    if (head.byteLength > 0) connection._receive(head)
  }

  close(onclose) {
    for (const connection of this._connections) connection.end()
    this._server.close(onclose)
    return this
  }

  ref() {
    this._server.ref()
    return this
  }

  unref() {
    this._server.unref()
    return this
  }
}

function whatIsWrong({ method, headers }) {
  if (method !== 'GET') return errors.INVALID_METHOD()
  if (!headers.upgrade || headers.upgrade.toLowerCase() !== 'websocket') return errors.INVALID_UPGRADE_HEADER()
  if (headers['sec-websocket-version'] !== VERSION) return errors.INVALID_VERSION_HEADER()
  const key = headers['sec-websocket-key']
  if (!key || Buffer.from(key, 'base64').byteLength !== 16) return errors.INVALID_KEY_HEADER()
  return null
}

function refuse(req, res) {
  const body = http.constants.status[426]
  res.writeHead(426, { 'Content-Type': 'text/plain', 'Content-Length': body.length })
  res.end(body)
}

exports.Socket = WebSocket
exports.Server = Server
exports.constants = { opcode, status, isValidStatus, GUID: Buffer.from(GUID) }
exports.errors = errors
