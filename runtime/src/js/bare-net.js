// bare-net 2.3: TCP sockets and named pipes under one roof.

const EventEmitter = require('bare-events')
const { Duplex } = require('bare-stream')
const tcp = require('bare-tcp')
const Pipe = require('bare-pipe')
const errors = require('pome-io/errors')('NetError', ['SOCKET_ALREADY_CONNECTED', 'SERVER_ALREADY_LISTENING', 'SERVER_IS_CLOSED'])

const TCP = 1
const IPC = 2

// A Duplex over the socket or pipe that `connect` chooses.
class Socket extends Duplex {
  constructor(opts = {}) {
    const { allowHalfOpen = true, eagerOpen = true } = opts
    super({ ...opts, eagerOpen })
    this._opts = opts
    this._allowHalfOpen = allowHalfOpen
    this._type = 0
    this._socket = null
    this._opened = null
    this._written = null
    this._isRef = true
  }

  get connecting() {
    return this._socket !== null && this._socket.connecting
  }

  get pending() {
    return this._socket === null || this._socket.pending
  }

  get timeout() {
    return this._socket === null ? undefined : this._socket.timeout
  }

  get readyState() {
    return this._socket === null ? 'opening' : this._socket.readyState
  }

  connect(...args) {
    if (this._socket !== null) throw errors.SOCKET_ALREADY_CONNECTED('Socket is already connected')
    const onconnect = args.findLast((arg) => typeof arg === 'function')
    args = args.filter((arg) => typeof arg !== 'function')
    const [first] = args
    const isPath = typeof first === 'string' || (typeof first === 'object' && first !== null && typeof first.path === 'string')
    const opts = { ...this._opts, eagerOpen: true }
    if (isPath) this._attach(new Pipe(opts).connect(...args), IPC)
    else this._attach(new tcp.Socket(opts).connect(...args), TCP)
    if (onconnect) this.once('connect', onconnect)
    return this
  }

  _attach(socket, type) {
    this._type = type
    this._socket = socket
    if (!this._isRef) socket.unref()
    socket
      .on('connect', () => {
        this._continueOpen(null)
        this.emit('connect')
      })
      .on('lookup', (...args) => this.emit('lookup', ...args))
      .on('timeout', () => this.emit('timeout'))
      .on('error', (err) => {
        if (this._opened !== null) this._continueOpen(err)
        else this.destroy(err)
      })
      .on('end', () => {
        this.push(null)
        if (!this._allowHalfOpen) this.end()
      })
      .on('data', (data) => {
        if (!this.push(data)) socket.pause()
      })
      .on('drain', () => this._continueWrite())
      .on('close', () => this.destroy())
    socket.pause()
    if (!socket.pending) this._continueOpen(null)
    return this
  }

  setKeepAlive(...args) {
    if (this._type === TCP) this._socket.setKeepAlive(...args)
    return this
  }

  setNoDelay(...args) {
    if (this._type === TCP) this._socket.setNoDelay(...args)
    return this
  }

  setTimeout(ms, ontimeout) {
    if (ontimeout) this.once('timeout', ontimeout)
    if (this._socket !== null) this._socket.setTimeout(ms)
    return this
  }

  ref() {
    this._isRef = true
    if (this._socket !== null) this._socket.ref()
    return this
  }

  unref() {
    this._isRef = false
    if (this._socket !== null) this._socket.unref()
    return this
  }

  _open(cb) {
    if (this._socket !== null && !this._socket.pending) return cb(null)
    this._opened = cb
  }

  _continueOpen(err) {
    const cb = this._opened
    this._opened = null
    if (cb !== null) cb(err)
  }

  _read() {
    this._socket.resume()
  }

  _write(data, encoding, cb) {
    if (this._socket.write(data)) return cb(null)
    this._written = cb
  }

  _continueWrite() {
    const cb = this._written
    this._written = null
    if (cb !== null) cb(null)
  }

  _final(cb) {
    this._socket.end()
    cb(null)
  }

  _predestroy() {
    if (this._socket !== null) this._socket.destroy()
    this._continueOpen(null)
  }

  _destroy(err, cb) {
    if (this._socket === null || this._socket.destroyed) return cb(err)
    this._socket.once('close', () => cb(err)).destroy()
  }
}

for (const name of ['localAddress', 'localFamily', 'localPort', 'remoteAddress', 'remoteFamily', 'remotePort']) {
  Object.defineProperty(Socket.prototype, name, {
    configurable: true,
    get() {
      return this._socket === null ? undefined : this._socket[name]
    }
  })
}

class Server extends EventEmitter {
  constructor(opts = {}, onconnection) {
    super()
    if (typeof opts === 'function') [opts, onconnection] = [{}, opts]
    this._opts = opts
    this._server = null
    this._isRef = true
    if (onconnection) this.on('connection', onconnection)
  }

  get listening() {
    return this._server !== null && this._server.listening
  }

  get connections() {
    return this._server === null ? new Set() : this._server.connections
  }

  address() {
    return this._server === null ? null : this._server.address()
  }

  listen(...args) {
    if (this._server !== null) throw errors.SERVER_ALREADY_LISTENING('Server is already listening')
    const onlistening = args.findLast((arg) => typeof arg === 'function')
    args = args.filter((arg) => typeof arg !== 'function')
    const [first] = args
    const isPath = typeof first === 'string' || (typeof first === 'object' && first !== null && typeof first.path === 'string')
    const opts = { ...this._opts, allowHalfOpen: true }
    const [server, type] = isPath ? [Pipe.createServer(opts), IPC] : [tcp.createServer(opts), TCP]
    this._server = server
    server
      .on('listening', () => this.emit('listening'))
      .on('lookup', (...lookup) => this.emit('lookup', ...lookup))
      .on('connection', (socket) => this.emit('connection', new Socket(this._opts)._attach(socket, type)))
      .on('error', (err) => {
        if (!server.listening) this._server = null
        this.emit('error', err)
      })
      .on('close', () => {
        this._server = null
        this.emit('close')
      })
    if (!this._isRef) server.unref()
    if (onlistening) this.once('listening', onlistening)
    server.listen(...args)
    return this
  }

  close(onclose) {
    if (this._server === null) {
      if (onclose) queueMicrotask(() => onclose(errors.SERVER_IS_CLOSED('Server is closed')))
      return this
    }
    if (onclose) this.once('close', onclose)
    this._server.close()
    return this
  }

  ref() {
    this._isRef = true
    if (this._server !== null) this._server.ref()
    return this
  }

  unref() {
    this._isRef = false
    if (this._server !== null) this._server.unref()
    return this
  }
}

exports.Socket = exports.Stream = Socket
exports.Server = Server
exports.createConnection = exports.connect = function createConnection(...args) {
  const opts = args.find((arg) => typeof arg === 'object' && arg !== null) || {}
  return new Socket(opts).connect(...args)
}
exports.createServer = (opts, onconnection) => new Server(opts, onconnection)
exports.isIP = tcp.isIP
exports.isIPv4 = tcp.isIPv4
exports.isIPv6 = tcp.isIPv6
exports.constants = { type: { TCP, IPC } }
exports.errors = errors
