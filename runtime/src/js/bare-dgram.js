// bare-dgram 1.0: UDP sockets.

const EventEmitter = require('bare-events')
const dns = require('bare-dns')
const io = require('pome-io')
const validate = require('pome-io/validate')
const errors = require('pome-io/errors')('DgramError', [
  'SOCKET_ALREADY_BOUND',
  'SOCKET_ALREADY_CONNECTED',
  'SOCKET_NOT_BOUND',
  'SOCKET_NOT_CONNECTED',
  'SOCKET_IS_CLOSED',
  'INVALID_ARGUMENT',
  'INVALID_HOST',
  'INVALID_PORT',
  'INVALID_SOCKET_TYPE'
])

const FAMILIES = { udp4: 4, udp6: 6 }
const SIZE_MAX = 0x7fffffff

// The longest text of an address that the system has: IPv6 with the name of an interface.
const ADDRESS_MAX_LENGTH = 62

class Socket extends EventEmitter {
  constructor(opts = {}, onmessage) {
    super()
    if (typeof opts === 'string' || opts === null) opts = { type: opts }
    else if (typeof opts === 'function') [opts, onmessage] = [{}, opts]
    const { type = 'udp4', readBufferSize = 65536, recvBufferSize = 0, sendBufferSize = 0, lookup = dns.lookup } = opts
    validate.integer(errors, readBufferSize, 'Read buffer size', 1, SIZE_MAX)
    validate.integer(errors, recvBufferSize, 'Receive buffer size', 0, SIZE_MAX)
    validate.integer(errors, sendBufferSize, 'Send buffer size', 0, SIZE_MAX)
    if (type !== null && !Object.hasOwn(FAMILIES, type)) {
      throw errors.INVALID_SOCKET_TYPE(`Socket type must be 'udp4' or 'udp6', got ${type}`)
    }
    this._type = type
    this._family = FAMILIES[type] || 4
    const { ipv6Only = false, reuseAddr = false, reusePort = false } = opts
    this._options = { ipv6Only: !!ipv6Only, reuseAddr: !!reuseAddr, reusePort: !!reusePort }
    this._readSize = readBufferSize
    this._sizes = { recv: recvBufferSize, send: sendBufferSize }
    this._lookup = lookup
    // idle → binding → bound → closing → closed
    this._phase = 'idle'
    this._isConnected = false
    this._isConnecting = false
    this._isPaused = false
    this._isReceiving = false
    // What waits for the socket to be bound.
    this._waiting = []
    this._sending = { bytes: 0, count: 0 }
    this._handle = new io.Datagrams()
    if (onmessage) this.on('message', onmessage)
  }

  get type() {
    return this._type
  }

  get bound() {
    return this._phase === 'bound'
  }

  get connected() {
    return this._isConnected
  }

  get closing() {
    return this._phase === 'closing'
  }

  get closed() {
    return this._phase === 'closed'
  }

  get _isOpen() {
    return this._phase !== 'closing' && this._phase !== 'closed'
  }

  address() {
    return this.bound ? described(this._handle.localAddress()) : null
  }

  remoteAddress() {
    return this._isConnected ? described(this._handle.remoteAddress()) : null
  }

  bind(port = 0, address = null, onlistening) {
    if (!this._isOpen) throw errors.SOCKET_IS_CLOSED('Socket is closed')
    if (this._phase !== 'idle') throw errors.SOCKET_ALREADY_BOUND('Socket is already bound')
    if (typeof port === 'function') [port, address, onlistening] = [0, null, port]
    else if (typeof address === 'function') [address, onlistening] = [null, address]
    if (typeof port === 'object' && port !== null) ({ port = 0, address = null } = port)
    port = port || 0
    validate.port(errors, port)
    address = address || (this._family === 6 ? '::' : '0.0.0.0')
    validateHost(address)
    if (onlistening) this.once('listening', onlistening)
    this._phase = 'binding'
    this._resolve(address, (err, address) => {
      if (this._phase !== 'binding') return
      if (!err) {
        try {
          this._handle.bind(port, address, this._options)
          if (this._sizes.recv) this._handle.setRecvBufferSize(this._sizes.recv)
          if (this._sizes.send) this._handle.setSendBufferSize(this._sizes.send)
        } catch (failure) {
          err = failure
        }
      }
      if (err) return this._failed(err)
      this._phase = 'bound'
      this._receive()
      this._go(null)
      queueMicrotask(() => {
        if (this._isOpen) this.emit('listening')
      })
    })
    return this
  }

  _failed(err) {
    queueMicrotask(() => {
      if (!this._isOpen) return
      this._phase = 'idle'
      this._go(err)
      this.emit('error', err)
    })
  }

  _go(err) {
    for (const fn of this._waiting.splice(0)) fn(err)
  }

  _whenBound(fn) {
    if (this.bound) return fn(null)
    this._waiting.push(fn)
    if (this._phase === 'idle') this.bind()
  }

  _resolve(host, cb) {
    if (io.parseAddress(host) !== 0) return cb(null, host)
    this._lookup(host, { family: this._family }, (err, address) => {
      if (err) return cb(err)
      if (typeof address !== 'string' || io.parseAddress(address) === 0) {
        return cb(errors.INVALID_HOST(`Resolved address must be an IP address, got "${address}"`))
      }
      cb(null, address)
    })
  }

  connect(port, address = null, onconnect) {
    if (!this._isOpen) throw errors.SOCKET_IS_CLOSED('Socket is closed')
    if (this._isConnected || this._isConnecting) throw errors.SOCKET_ALREADY_CONNECTED('Socket is already connected')
    if (typeof address === 'function') [address, onconnect] = [null, address]
    if (typeof port === 'object' && port !== null) ({ port = 0, address = null } = port)
    validateRemotePort(port)
    address = address || (this._family === 6 ? '::1' : '127.0.0.1')
    validateHost(address)
    if (onconnect) this.once('connect', onconnect)
    this._isConnecting = true
    this._whenBound((err) => {
      if (err) {
        this._isConnecting = false
        return
      }
      this._resolve(address, (err, address) => {
        this._isConnecting = false
        if (!this._isOpen) return
        try {
          if (!err) this._handle.connect(port, address)
        } catch (failure) {
          err = failure
        }
        if (err) return queueMicrotask(() => this.emit('error', err))
        this._isConnected = true
        queueMicrotask(() => {
          if (this._isOpen) this.emit('connect')
        })
      })
    })
    return this
  }

  disconnect() {
    if (!this._isConnected) throw errors.SOCKET_NOT_CONNECTED('Socket is not connected')
    this._handle.disconnect()
    this._isConnected = false
    return this
  }

  // send(message[, offset, length][, port][, address][, callback])
  send(message, ...rest) {
    const cb = typeof rest.at(-1) === 'function' ? rest.pop() : null
    while (rest.length > 0 && (rest.at(-1) === undefined || rest.at(-1) === null)) rest.pop()
    // Two numbers before an address are a part of the message; so are three numbers, and two where the socket is connected.
    const numbers = rest.findIndex((value) => typeof value !== 'number')
    const count = numbers === -1 ? rest.length : numbers
    if (count === 3 || (count === 2 && this._isConnected)) {
      message = part(message, rest[0], rest[1])
      rest = rest.slice(2)
    }
    const [port, address = null] = rest
    if (this._isConnected) {
      if (port || address) throw errors.SOCKET_ALREADY_CONNECTED('Socket is connected, so port and address must be omitted')
    } else {
      validateRemotePort(port)
      if (address) validateHost(address)
    }
    const data = joined(message)
    if (!this._isOpen) throw errors.SOCKET_IS_CLOSED('Socket is closed')
    this._whenBound((err) => {
      if (err) {
        if (cb) cb(err, 0)
        return
      }
      if (this._isConnected) return this._send(data, 0, null, cb)
      this._resolve(address || (this._family === 6 ? '::1' : '127.0.0.1'), (err, address) => {
        if (err) return this._sent(err, data, cb)
        this._send(data, port, address, cb)
      })
    })
  }

  _send(data, port, address, cb) {
    this._sending.bytes += data.byteLength
    this._sending.count++
    this._handle.send(data, port, address, (err) => {
      this._sending.bytes -= data.byteLength
      this._sending.count--
      this._sent(err, data, cb)
    })
  }

  _sent(err, data, cb) {
    if (cb) cb(err || null, err ? 0 : data.byteLength)
    else if (err && this._isOpen) this.emit('error', err)
  }

  _receive() {
    if (this._isReceiving || this._isPaused || !this.bound) return
    this._isReceiving = true
    this._handle.receive(this._readSize, (err, datagram) => {
      this._isReceiving = false
      if (!this._isOpen) return
      if (err) {
        // A peer that is not there is no reason to stop listening.
        this._receive()
        return this.emit('error', err)
      }
      const [data, from, size] = datagram
      this._receive()
      if (size > this._readSize) {
        const error = new Error('message too long')
        error.code = 'EMSGSIZE'
        return this.emit('error', error)
      }
      this.emit('message', Buffer.from(data), { ...described(from), size })
    })
  }

  pause() {
    this._isPaused = true
    return this
  }

  resume() {
    this._isPaused = false
    if (this._isOpen) {
      this._whenBound((err) => {
        if (err === null) this._receive()
      })
    }
    return this
  }

  _bound() {
    if (!this._isOpen) throw errors.SOCKET_IS_CLOSED('Socket is closed')
    if (!this.bound) throw errors.SOCKET_NOT_BOUND('Socket is not bound')
    return this._handle
  }

  setBroadcast(flag) {
    this._bound().setBroadcast(!!flag)
  }

  setTTL(ttl) {
    validate.integer(errors, ttl, 'TTL', 1, 255)
    this._bound().setTTL(ttl)
    return ttl
  }

  setMulticastTTL(ttl) {
    validate.integer(errors, ttl, 'TTL', 0, 255)
    this._bound().setMulticastTTL(ttl)
    return ttl
  }

  setMulticastLoopback(flag) {
    this._bound().setMulticastLoopback(!!flag)
    return !!flag
  }

  setMulticastInterface(iface) {
    validateAddress(iface, 'Interface')
    this._bound().setMulticastInterface(iface)
  }

  addMembership(group, iface = null) {
    this._setMembership(group, iface, true)
  }

  dropMembership(group, iface = null) {
    this._setMembership(group, iface, false)
  }

  _setMembership(group, iface, join) {
    validateAddress(group, 'Group')
    if (iface !== null) validateAddress(iface, 'Interface')
    this._bound().setMembership(group, iface, join)
  }

  addSourceSpecificMembership(source, group, iface = null) {
    this._setSourceMembership(source, group, iface, true)
  }

  dropSourceSpecificMembership(source, group, iface = null) {
    this._setSourceMembership(source, group, iface, false)
  }

  _setSourceMembership(source, group, iface, join) {
    validateAddress(source, 'Source')
    validateAddress(group, 'Group')
    if (iface !== null) validateAddress(iface, 'Interface')
    this._bound().setSourceMembership(source, group, iface, join)
  }

  getSendBufferSize() {
    return this._bound().sendBufferSize()
  }

  setSendBufferSize(size) {
    validate.integer(errors, size, 'Size', 1, SIZE_MAX)
    this._bound().setSendBufferSize(size)
  }

  getRecvBufferSize() {
    return this._bound().recvBufferSize()
  }

  setRecvBufferSize(size) {
    validate.integer(errors, size, 'Size', 1, SIZE_MAX)
    this._bound().setRecvBufferSize(size)
  }

  getSendQueueSize() {
    if (!this._isOpen) throw errors.SOCKET_IS_CLOSED('Socket is closed')
    return this._sending.bytes
  }

  getSendQueueCount() {
    if (!this._isOpen) throw errors.SOCKET_IS_CLOSED('Socket is closed')
    return this._sending.count
  }

  close(onclose) {
    if (this.closed) {
      if (onclose) queueMicrotask(onclose)
      return this
    }
    if (onclose) this.once('close', onclose)
    if (this.closing) return this
    this._phase = 'closing'
    this._isConnected = false
    this._handle.close(() => {
      this._phase = 'closed'
      this._go(errors.SOCKET_IS_CLOSED('Socket is closed'))
      this.emit('close')
    })
    return this
  }

  ref() {
    this._handle.setRef(true)
    return this
  }

  unref() {
    this._handle.setRef(false)
    return this
  }

  [Symbol.asyncDispose]() {
    return new Promise((resolve) => this.close(resolve))
  }
}

function described({ address, family, port }) {
  return { address, family: `IPv${family}`, port }
}

function bytesOf(chunk) {
  if (typeof chunk === 'string') return Buffer.from(chunk)
  if (ArrayBuffer.isView(chunk)) return Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  throw errors.INVALID_ARGUMENT(`Buffer must be a string or a view, got ${typeof chunk}`)
}

function joined(message) {
  return Array.isArray(message) ? Buffer.concat(message.map(bytesOf)) : bytesOf(message)
}

function part(message, offset, length) {
  const bytes = bytesOf(message)
  if (offset > bytes.byteLength) throw errors.INVALID_ARGUMENT('Offset is out of bounds')
  if (offset + length > bytes.byteLength) throw errors.INVALID_ARGUMENT('Length is out of bounds')
  return bytes.subarray(offset, offset + length)
}

function validateRemotePort(port) {
  validate.port(errors, port)
  if (port === 0) throw errors.INVALID_PORT('Port must be an integer between 1 and 65535, got 0')
}

function validateHost(host) {
  if (typeof host !== 'string') throw errors.INVALID_HOST(`Address must be a string, got ${typeof host}`)
}

function validateAddress(address, name) {
  if (typeof address !== 'string') throw errors.INVALID_HOST(`${name} must be a string, got ${typeof address}`)
}

exports.Socket = Socket
exports.createSocket = (opts, onmessage) => new Socket(opts, onmessage)
exports.isIP = (host) => io.parseAddress(String(host))
exports.isIPv4 = (host) => exports.isIP(host) === 4
exports.isIPv6 = (host) => exports.isIP(host) === 6
exports.errors = errors
exports.constants = {
  state: { CONNECTING: 1, CONNECTED: 2, BINDING: 4, BOUND: 8, READING: 16, CLOSING: 32, CLOSED: 64, UNREFED: 128 },
  address: { MAX_LENGTH: ADDRESS_MAX_LENGTH },
  bind: { IPV6ONLY: 1, REUSEADDR: 4, REUSEPORT: 8 }
}
