// bare-tcp 2.6: TCP sockets and servers.

const dns = require('bare-dns')
const io = require('pome-io')
const HandleStream = require('pome-io/handle-stream')
const HandleServer = require('pome-io/handle-server')
const validate = require('pome-io/validate')
const errors = require('pome-io/errors')('TCPError', [
  'SOCKET_ALREADY_CONNECTED',
  'SOCKET_IS_CLOSED',
  'SERVER_ALREADY_LISTENING',
  'SERVER_IS_CLOSED',
  'INVALID_ARGUMENT',
  'INVALID_FD',
  'INVALID_HOST',
  'INVALID_PORT'
])

const isIP = (host) => (typeof host === 'string' ? io.parseAddress(host) : 0)

class Socket extends HandleStream {
  constructor(opts = {}, handle = null) {
    validate.integer(errors, opts.readBufferSize === undefined ? 65536 : opts.readBufferSize, 'Read buffer size', 1, 0x7fffffff)
    super(opts, handle)
    this._keepAlive = false
    this._keepAliveInitialDelay = 0
    this._noDelay = false
    this._local = null
    this._remote = null
    if (handle !== null) this._learnAddresses()
  }

  get keepAlive() {
    return this._keepAlive
  }

  get keepAliveInitialDelay() {
    return this._keepAliveInitialDelay
  }

  get noDelay() {
    return this._noDelay
  }

  get localAddress() {
    return this._local ? this._local.address : undefined
  }

  get localFamily() {
    return this._local ? `IPv${this._local.family}` : undefined
  }

  get localPort() {
    return this._local ? this._local.port : undefined
  }

  get remoteAddress() {
    return this._remote ? this._remote.address : undefined
  }

  get remoteFamily() {
    return this._remote ? `IPv${this._remote.family}` : undefined
  }

  get remotePort() {
    return this._remote ? this._remote.port : undefined
  }

  address() {
    return described(this._local)
  }

  _learnAddresses() {
    this._local = this._handle.localAddress() || null
    this._remote = this._handle.remoteAddress() || null
  }

  _mayConnect() {
    if (this._phase === 'closing') throw errors.SOCKET_IS_CLOSED('Socket is closed')
    if (this._phase !== 'idle') throw errors.SOCKET_ALREADY_CONNECTED('Socket is already connected')
  }

  _apply(opts) {
    const { keepAlive = false, keepAliveInitialDelay = 0, noDelay = false, timeout } = opts
    if (keepAlive) this.setKeepAlive(true, keepAliveInitialDelay)
    if (noDelay) this.setNoDelay(true)
    if (timeout) this.setTimeout(timeout)
  }

  connect(port, host = 'localhost', opts = {}, onconnect) {
    this._mayConnect()
    if (typeof host === 'function') [host, onconnect] = ['localhost', host]
    else if (typeof opts === 'function') [opts, onconnect] = [{}, opts]
    if (typeof port === 'object' && port !== null) {
      opts = port
      port = opts.port === undefined || opts.port === null ? 0 : opts.port
      host = opts.host
    }
    host = host || 'localhost'
    if (typeof host !== 'string') throw errors.INVALID_HOST(`Host must be a string, got ${typeof host}`)
    validate.port(errors, port)
    this._apply(opts)
    this._phase = 'connecting'
    if (onconnect) this.once('connect', onconnect)
    if (isIP(host)) {
      this._tryAddresses(port, [host], [])
      return this
    }
    const { lookup = dns.lookup, hints, family = 0 } = opts
    lookup(host, { all: true, family, hints }, (err, addresses) => {
      if (this._phase !== 'connecting') return
      err = err || unusable(addresses, host)
      if (err) {
        this.emit('lookup', err, null, 0, host)
        return this._failed(err)
      }
      for (const { address, family } of addresses) this.emit('lookup', null, address, family, host)
      this._tryAddresses(port, addresses.map(({ address }) => address), [])
    })
    return this
  }

  // One address after another, until one takes the connection.
  _tryAddresses(port, [address, ...rest], failures) {
    this._handle.connectTcp(port, address, (err) => {
      if (this._phase !== 'connecting') return
      if (!err) return this._establish()
      failures.push(err)
      if (rest.length > 0) return this._tryAddresses(port, rest, failures)
      this._failed(failures.length === 1 ? err : new AggregateError(failures))
    })
  }

  _establish() {
    this._learnAddresses()
    this._connected()
    if (this._keepAlive) this.setKeepAlive(true, this._keepAliveInitialDelay)
    if (this._noDelay) this.setNoDelay(true)
    this.emit('connect')
  }

  open(fd, opts = {}, onconnect) {
    this._mayConnect()
    if (typeof opts === 'function') [opts, onconnect] = [{}, opts]
    if (typeof fd === 'object' && fd !== null) {
      opts = fd
      fd = opts.fd
    }
    validate.descriptor(errors, fd)
    this._apply(opts)
    this._phase = 'connecting'
    if (onconnect) this.once('connect', onconnect)
    queueMicrotask(() => {
      if (this._phase !== 'connecting') return
      try {
        this._handle.open(fd)
      } catch (err) {
        return this._failed(err)
      }
      this._establish()
    })
    return this
  }

  setKeepAlive(enable = false, delay = 0) {
    if (typeof enable === 'number') [enable, delay] = [true, enable]
    validate.integer(errors, delay, 'Keep alive initial delay', 0, 0x7fffffff)
    this._keepAlive = Boolean(enable)
    this._keepAliveInitialDelay = delay
    if (this._phase === 'connected') this._handle.setKeepAlive(this._keepAlive, Math.floor(delay / 1000))
    return this
  }

  setNoDelay(enable = true) {
    this._noDelay = Boolean(enable)
    if (this._phase === 'connected') this._handle.setNoDelay(this._noDelay)
    return this
  }

  setTimeout(ms, ontimeout) {
    validate.integer(errors, ms, 'Timeout', 0, 0x7fffffff)
    return super.setTimeout(ms, ontimeout)
  }
}

class Server extends HandleServer {
  constructor(opts = {}, onconnection) {
    if (typeof opts === 'function') [opts, onconnection] = [{}, opts]
    const { maxConnections = Infinity } = opts
    super(errors, opts, onconnection)
    this._opts = opts
    this.maxConnections = maxConnections
  }

  get maxConnections() {
    return this._maxConnections
  }

  set maxConnections(value) {
    if (typeof value !== 'number') throw errors.INVALID_ARGUMENT(`Max connections must be a number, got ${typeof value}`)
    if (value !== Infinity && (!Number.isInteger(value) || value < 0 || value > 0x7fffffff)) {
      throw errors.INVALID_ARGUMENT(`Max connections must be a non-negative integer or Infinity, got ${value}`)
    }
    this._maxConnections = value
  }

  address() {
    return this.listening ? described(this._address) : null
  }

  listen(port = 0, host = 'localhost', backlog = 511, opts = {}, onlistening) {
    this._mayListen()
    const args = [port, host, backlog, opts, onlistening]
    const at = args.findIndex((arg) => typeof arg === 'function')
    if (at !== -1) {
      onlistening = args[at]
      args.fill(undefined, at)
      ;[port = 0, host = 'localhost', backlog = 511, opts = {}] = args
    }
    if (typeof port === 'object' && port !== null) {
      opts = port
      ;({ port, host, backlog } = opts)
    }
    port = port === undefined || port === null ? 0 : port
    host = host || 'localhost'
    backlog = backlog || 511
    if (typeof host !== 'string') throw errors.INVALID_HOST(`Host must be a string, got ${typeof host}`)
    validate.integer(errors, backlog, 'Backlog', 0, 0x7fffffff)
    validate.port(errors, port)
    this._phase = 'binding'
    const attempt = ++this._attempt
    if (isIP(host)) {
      this._listen((listener) => listener.listenTcp(port, host, backlog), onlistening)
      return this
    }
    const { lookup = dns.lookup, hints, family = 0 } = opts
    lookup(host, { family, hints }, (err, address, family) => {
      if (attempt !== this._attempt) return
      err = err || unusable([{ address }], host)
      this.emit('lookup', err, err ? null : address, err ? 0 : family, host)
      if (err) {
        this._phase = 'idle'
        return this.emit('error', err)
      }
      this._listen((listener) => listener.listenTcp(port, address, backlog), onlistening)
    })
    return this
  }

  _onstream(stream) {
    const { readBufferSize, allowHalfOpen, pauseOnConnect = false } = this._opts
    const socket = new Socket({ readBufferSize, allowHalfOpen, eagerOpen: !pauseOnConnect }, stream)
    if (this._maxConnections > 0 && this._connections.size >= this._maxConnections) {
      const { localAddress, localPort, localFamily, remoteAddress, remotePort, remoteFamily } = socket
      socket.destroy()
      this.emit('drop', { localAddress, localPort, localFamily, remoteAddress, remotePort, remoteFamily })
      return
    }
    const { keepAlive = false, keepAliveInitialDelay = 0, noDelay = false } = this._opts
    try {
      if (keepAlive) socket.setKeepAlive(true, keepAliveInitialDelay)
      if (noDelay) socket.setNoDelay(true)
    } catch (err) {
      socket.destroy()
      this.emit('error', err)
      return
    }
    this._track(socket)
  }
}

function described(address) {
  return address ? { address: address.address, family: `IPv${address.family}`, port: address.port } : null
}

// What is wrong with what a lookup found, or null.
function unusable(addresses, host) {
  if (!Array.isArray(addresses)) {
    return errors.INVALID_HOST(`Resolved addresses must be an array, got ${typeof addresses}`)
  }
  if (addresses.length === 0) {
    return Object.assign(new Error(`No address found for host "${host}"`), { code: 'ENOTFOUND' })
  }
  for (const entry of addresses) {
    if (!isIP(entry && entry.address)) {
      return errors.INVALID_HOST(`Resolved address must be an IP address, got "${entry && entry.address}"`)
    }
  }
  return null
}

function createConnection(port, host, opts, onconnect) {
  if (typeof host === 'function') [host, onconnect] = ['localhost', host]
  else if (typeof opts === 'function') [opts, onconnect] = [{}, opts]
  if (typeof port === 'object' && port !== null) {
    if (typeof host === 'function') onconnect = host
    opts = port
    return new Socket(opts).connect(opts, undefined, undefined, onconnect)
  }
  return new Socket(opts).connect(port, host, opts || {}, onconnect)
}

exports.Socket = Socket
exports.Server = Server
exports.createConnection = exports.connect = createConnection
exports.createServer = (opts, onconnection) => new Server(opts, onconnection)
exports.socketpair = () => io.socketpair()
exports.isIP = isIP
exports.isIPv4 = (host) => isIP(host) === 4
exports.isIPv6 = (host) => isIP(host) === 6
exports.constants = {
  state: { CONNECTING: 1, CONNECTED: 2, BINDING: 4, BOUND: 8, READING: 16, CLOSING: 32, CLOSED: 64, UNREFED: 128 },
  address: { MAX_LENGTH: 64 }
}
exports.errors = errors
