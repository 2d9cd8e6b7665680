// A UDP socket, with the streams that go through it.

const udx = require('pome-npm')
const net = require('bare-net')
const EventEmitter = require('bare-events')

// What the kernel holds for a socket, in bytes: as much as is asked of it when the socket is opened.
const KERNEL_BUFFER = 4 << 20

module.exports = class UDXSocket extends EventEmitter {
  constructor (owner, { ipv6Only = false, reuseAddress = false } = {}) {
    super()
    this.udx = owner
    this.streams = new Set()
    this.userData = null
    this.bytesTransmitted = 0
    this.packetsTransmitted = 0
    this.bytesReceived = 0
    this.packetsReceived = 0
    this.packetsDroppedByKernel = 0
    this._id = 0
    this._host = null
    this._family = 0
    this._port = 0
    this._ttl = 0
    this._ipv6Only = ipv6Only === true
    this._reuseAddress = reuseAddress === true
    this._closing = null
    this._closed = false
  }

  get bound () {
    return this._port !== 0
  }

  get closing () {
    return this._closing !== null
  }

  get idle () {
    return this.streams.size === 0
  }

  get busy () {
    return this.streams.size > 0
  }

  toJSON () {
    return {
      bound: this.bound,
      closing: this.closing,
      streams: this.streams.size,
      address: this.address(),
      ipv6Only: this._ipv6Only,
      reuseAddress: this._reuseAddress,
      idle: this.idle,
      busy: this.busy
    }
  }

  address () {
    return this.bound ? { host: this._host, family: this._family, port: this._port } : null
  }

  bind (port, host) {
    if (this.bound) throw new Error('Already bound')
    if (this.closing) throw new Error('Socket is closed')
    if (host) {
      if (net.isIP(host) === 0) throw new Error(`${host} is not a valid IP address`)
      this._bind(port || 0, host)
    } else {
      try {
        this._bind(port || 0, '::')
      } catch {
        // A machine without IPv6.
        this._bind(port || 0, '0.0.0.0')
      }
    }
    this.emit('listening')
  }

  _bind (port, host) {
    const [id, bound] = udx.udxBind(this.udx._id, port, host, (what, ...rest) => this['_on' + what](...rest))
    this._id = id
    this._port = bound
    this._host = host
    this._family = net.isIP(host)
    this.udx._sockets.add(this)
  }

  // Bytes, host, family and port of each.
  _onmessages (all) {
    for (let i = 0; i < all.length && !this._closed; i += 4) {
      const buffer = all[i]
      this._count('Received', buffer.byteLength)
      this.emit('message', buffer, { host: all[i + 1], family: all[i + 2], port: all[i + 3] })
    }
  }

  _onclose () {
    this.udx._sockets.delete(this)
    this.emit('close')
  }

  _count (direction, bytes) {
    this['bytes' + direction] += bytes
    this['packets' + direction]++
    this.udx._counts['bytes' + direction] += bytes
    this.udx._counts['packets' + direction]++
  }

  _addStream (stream) {
    if (this.streams.has(stream)) return false
    this.streams.add(stream)
    if (this.streams.size === 1) this.emit('busy')
    return true
  }

  _removeStream (stream) {
    if (!this.streams.delete(stream)) return false
    const closed = this._closeMaybe()
    if (this.idle && !closed) this.emit('idle')
    return true
  }

  close () {
    if (this._closing === null) {
      this._closing = new Promise((resolve) => this.once('close', resolve))
      this._closeMaybe()
    }
    return this._closing
  }

  // It stays open for the streams that it has.
  _closeMaybe () {
    if (this._closed || this._closing === null) return this._closed
    if (!this.bound) {
      this._closed = true
      this.emit('close')
    } else if (this.idle) {
      this._closed = true
      udx.udxSocketClose(this._id)
    }
    return this._closed
  }

  setTTL (ttl) {
    this._check()
    this._ttl = ttl
  }

  getRecvBufferSize () {
    this._check()
    return KERNEL_BUFFER
  }

  setRecvBufferSize () {
    this._check()
    return 0
  }

  getSendBufferSize () {
    this._check()
    return KERNEL_BUFFER
  }

  setSendBufferSize () {
    this._check()
    return 0
  }

  addMembership () {
    throw new Error('Multicast is not supported')
  }

  dropMembership () {
    throw new Error('Multicast is not supported')
  }

  _check () {
    if (!this.bound) throw new Error('Socket not active')
  }

  async send (buffer, port, host, ttl) {
    return this._send(buffer, port, host, ttl)
  }

  trySend (buffer, port, host, ttl) {
    this._send(buffer, port, host, ttl)
  }

  _send (buffer, port, host, ttl) {
    if (this.closing) return false
    if (!host) host = '127.0.0.1'
    if (net.isIP(host) === 0) throw new Error(`${host} is not a valid IP address`)
    if (!this.bound) this.bind(0)
    this._count('Transmitted', buffer.byteLength)
    return udx.udxSend(this._id, buffer, port, host, ttl || this._ttl)
  }
}
