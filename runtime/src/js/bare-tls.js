// bare-tls 3.1: TLS over any Duplex.

const EventEmitter = require('bare-events')
const { Duplex } = require('bare-stream')
const tcp = require('bare-tcp')
const errors = require('pome-io/errors')('TLSError', ['TLS_ERROR', 'CERTIFICATE_VERIFY_FAILED', 'CONNECTION_LOST'])

const constants = { state: { HANDSHAKE: 1, ENDED: 2 } }

class Socket extends Duplex {
  constructor(socket, opts = {}) {
    const { isServer = false, cert = null, key = null, host = null, rejectUnauthorized = true } = opts
    const { ca = null, alpnProtocols = null, eagerOpen = true, allowHalfOpen = true } = opts
    if (!isServer && rejectUnauthorized && !host) {
      throw new TypeError("'host' is required for client sockets when 'rejectUnauthorized' is true")
    }
    super({ eagerOpen })
    this._socket = socket
    this._allowHalfOpen = allowHalfOpen
    this._opened = null
    this._blocked = null
    this._isOpen = false
    this._isEnded = false
    this._failure = null
    try {
      this._session = new native.Session({ isServer, cert, key, host, rejectUnauthorized, ca, alpnProtocols })
    } catch (err) {
      this._session = null
      this._failure = named(err)
    }
    socket
      .on('data', (data) => this._receive(data))
      .on('drain', () => this._ondrain())
      .on('end', () => this._ended())
      .on('error', (err) => this._fail(err))
      .on('close', () => this._fail(this._isOpen ? null : errors.CONNECTION_LOST('Socket hung up')))
  }

  get socket() {
    return this._socket
  }

  get encrypted() {
    return true
  }

  get alpnProtocol() {
    return (this._session && this._session.protocol()) || null
  }

  _open(cb) {
    if (this._failure !== null) return cb(this._failure)
    this._opened = cb
    this._flush()
    this._checkOpen()
  }

  // What the session has to say goes to the peer; false when the socket is full.
  _flush() {
    const out = this._session.take()
    return out.byteLength === 0 || this._socket.write(Buffer.from(out))
  }

  _receive(data) {
    if (this.destroying || this._session === null) return
    let clear
    try {
      clear = Buffer.from(this._session.feed(data))
    } catch (err) {
      // The peer is told why before the connection ends.
      this._flush()
      return this._fail(named(err))
    }
    this._flush()
    this._checkOpen()
    if (clear.byteLength > 0 && !this.push(clear)) this._socket.pause()
  }

  _checkOpen() {
    if (this._isOpen || this._opened === null || this._session.isHandshaking()) return
    this._isOpen = true
    const cb = this._opened
    this._opened = null
    cb(null)
    this.emit('connect')
  }

  _read() {
    this._socket.resume()
  }

  _writev(batch, cb) {
    const data = batch.length === 1 ? batch[0].chunk : Buffer.concat(batch.map(({ chunk }) => chunk))
    let sealed
    try {
      sealed = this._session.seal(data)
    } catch (err) {
      return cb(named(err))
    }
    if (this._socket.write(Buffer.from(sealed))) return cb(null)
    this._blocked = cb
  }

  _ondrain() {
    const cb = this._blocked
    this._blocked = null
    if (cb !== null) cb(null)
  }

  _final(cb) {
    this._session.end()
    this._flush()
    this._socket.end()
    cb(null)
  }

  _ended() {
    if (!this._isOpen) return this._fail(errors.CONNECTION_LOST('Socket hung up'))
    if (this._isEnded) return
    this._isEnded = true
    this.push(null)
    if (!this._allowHalfOpen) this.end()
  }

  _fail(err) {
    const cb = this._opened
    this._opened = null
    if (cb !== null) return cb(err)
    if (err) this.destroy(err)
    else if (!this._isEnded) this._ended()
    else this.destroy()
  }

  _predestroy() {
    this._socket.destroy()
    this._ondrain()
    const cb = this._opened
    this._opened = null
    if (cb !== null) cb(null)
  }

  _destroy(err, cb) {
    if (this._socket.destroyed) return cb(err)
    this._socket.once('close', () => cb(err)).destroy()
  }
}

// What a TLS socket leaves to the one below.
for (const name of ['setKeepAlive', 'setNoDelay', 'setTimeout', 'ref', 'unref']) {
  const value = {
    [name](...args) {
      if (typeof this._socket[name] === 'function') this._socket[name](...args)
      return this
    }
  }[name]
  Object.defineProperty(Socket.prototype, name, { value, writable: true, configurable: true })
}

for (const name of ['localAddress', 'localFamily', 'localPort', 'remoteAddress', 'remoteFamily', 'remotePort']) {
  Object.defineProperty(Socket.prototype, name, {
    configurable: true,
    get() {
      return this._socket[name]
    }
  })
}

function named(err) {
  return Object.hasOwn(errors, err.code) ? errors[err.code](err.message) : err
}

class Server extends EventEmitter {
  constructor(opts = {}, onconnection) {
    super()
    if (typeof opts === 'function') [opts, onconnection] = [{}, opts]
    this._server = tcp.createServer(opts)
    this._server
      .on('listening', () => this.emit('listening'))
      .on('error', (err) => this.emit('error', err))
      .on('close', () => this.emit('close'))
      .on('connection', (socket) => {
        const secure = new Socket(socket, { ...opts, isServer: true })
        // A client that is not understood is its own trouble.
        secure.on('error', () => {})
        secure.once('connect', () => this.emit('connection', secure))
      })
    if (onconnection) this.on('connection', onconnection)
  }

  get listening() {
    return this._server.listening
  }

  address() {
    return this._server.address()
  }

  listen(...args) {
    this._server.listen(...args)
    return this
  }

  close(onclose) {
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

exports.Socket = Socket
exports.Server = Server
exports.createServer = (opts, onconnection) => new Server(opts, onconnection)
exports.createConnection = exports.connect = function createConnection(port, host, onconnect) {
  let opts = port
  if (typeof port === 'object' && port !== null) onconnect = typeof host === 'function' ? host : onconnect
  else {
    if (typeof host === 'function') [host, onconnect] = ['localhost', host]
    opts = { port, host }
  }
  const { host: name = 'localhost' } = opts
  const secure = new Socket(tcp.createConnection({ ...opts, host: name }), { ...opts, host: name })
  if (onconnect) secure.once('connect', onconnect)
  return secure
}
exports.constants = constants
exports.errors = errors
