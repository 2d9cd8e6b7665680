// A stream over UDP: ordered bytes both ways, and messages beside them.

const udx = require('pome-npm')
const net = require('bare-net')
const { Duplex, Writable } = require('streamx')

module.exports = class UDXStream extends Duplex {
  constructor (owner, id, options = {}) {
    super({ mapWritable, eagerOpen: true })
    this.udx = owner
    this.socket = null
    this.id = id
    this.remoteId = 0
    this.remoteHost = null
    this.remoteFamily = 0
    this.remotePort = 0
    this.userData = null
    this._firewall = options.firewall || null
    this._closed = false
    this._ended = false
    this._over = undefined
    this._last = null
    this._reading = null
    this._waiting = false
    this._writing = null
    this._destroying = null
    this._flushes = []
    this._remoteChanging = null
    this._previousSocket = null
    this._handle = udx.udxStream(owner._id, id, options.seq || 0, this._firewall !== null, (what, ...rest) => this._told(what, rest))
  }

  get connected () {
    return this.socket !== null
  }

  get mtu () {
    return this._stats().mtu
  }

  get rtt () {
    return this._stats().rtt
  }

  // How much may be on its way is not counted apart from the bandwidth.
  get cwnd () {
    return 0
  }

  get inflight () {
    return 0
  }

  get rtoCount () {
    return this._stats().rtoCount
  }

  get retransmits () {
    return this._stats().retransmits
  }

  get fastRecoveries () {
    return this._stats().fastRecoveries
  }

  get bbrState () {
    return 0
  }

  get bbrBandwidth () {
    return this._stats().bandwidth
  }

  get bytesTransmitted () {
    return this._stats().bytesTransmitted
  }

  get packetsTransmitted () {
    return this._stats().packetsTransmitted
  }

  get bytesReceived () {
    return this._stats().bytesReceived
  }

  get packetsReceived () {
    return this._stats().packetsReceived
  }

  get localHost () {
    return this.socket ? this.socket.address().host : null
  }

  get localFamily () {
    return this.socket ? this.socket.address().family : 0
  }

  get localPort () {
    return this.socket ? this.socket.address().port : 0
  }

  _stats () {
    if (!this._closed) this._last = udx.udxStats(this._handle)
    return this._last || NOTHING
  }

  setInteractive () {}

  setKeepalive (millis) {
    if (!this._closed) udx.udxKeepAlive(this._handle, millis)
  }

  _told (what, rest) {
    switch (what) {
      case 'data': return this._ondata(rest[0])
      case 'drain': return this._writeContinue()
      case 'message': return void this.emit('message', rest[0])
      case 'flushed': return this._onflushed(rest[0])
      case 'firewall': return this._onfirewall(...rest)
      case 'remote-changed': return this._onremotechanged()
      case 'close': return this._onclose(rest[0])
    }
  }

  // A packet has come in before the stream was connected, or from elsewhere.
  _onfirewall (localPort, host, family, port) {
    if (this._closed || this.destroying) return
    let socket = null
    for (const one of this.udx._sockets) {
      if (one._port === localPort) socket = one
    }
    if (socket !== null && this._firewall(socket, port, host, family)) udx.udxDeny(this._handle, port, host)
  }

  connect (socket, remoteId, port, host, options = {}) {
    if (this._closed) return
    if (this.connected) throw new Error('Already connected')
    if (socket.closing) throw new Error('Socket is closed')
    this._place(socket, remoteId, port, typeof host === 'object' ? null : host)
    udx.udxConnect(this._handle, socket._id, remoteId, port, this.remoteHost)
    socket._addStream(this)
    this.emit('connect')
    if (this._reading !== null) this._pull()
  }

  _place (socket, remoteId, port, host) {
    if (!host) host = '127.0.0.1'
    const family = net.isIP(host)
    if (family === 0) throw new Error(`${host} is not a valid IP address`)
    if (!(port > 0 && port < 65536)) throw new Error(`${port} is not a valid port`)
    if (!socket.bound) socket.bind(0)
    this.remoteId = remoteId
    this.remotePort = port
    this.remoteHost = host
    this.remoteFamily = family
    this.socket = socket
  }

  changeRemote (socket, remoteId, port, host) {
    if (this._remoteChanging) throw new Error('Remote already changing')
    if (!this.connected) throw new Error('Not yet connected')
    if (socket.closing) throw new Error('Socket is closed')
    if (this.socket.udx !== socket.udx) throw new Error('Cannot change to a socket on another UDX instance')
    const before = this.socket
    this._place(socket, remoteId, port, host)
    if (before !== socket) this._previousSocket = before
    this._remoteChanging = new Promise((resolve, reject) => {
      const onchanged = () => {
        this.off('close', onclose)
        resolve()
      }
      const onclose = () => {
        this.off('remote-changed', onchanged)
        reject(new Error('Stream is closed'))
      }
      this.once('remote-changed', onchanged).once('close', onclose)
    })
    udx.udxChangeRemote(this._handle, socket._id, remoteId, port, this.remoteHost)
    socket._addStream(this)
    return this._remoteChanging
  }

  _onremotechanged () {
    if (this._previousSocket !== null) {
      this._previousSocket._removeStream(this)
      this._previousSocket = null
    }
    this._remoteChanging = null
    this.emit('remote-changed')
  }

  relayTo (destination) {
    if (!this._closed) udx.udxRelay(this._handle, destination._handle)
  }

  async send (buffer) {
    if (!this.connected || this._closed) return false
    return udx.udxMessage(this._handle, buffer)
  }

  trySend (buffer) {
    if (this.connected && !this._closed) udx.udxMessage(this._handle, buffer)
  }

  async flush () {
    if ((await Writable.drained(this)) === false) return false
    if (this.destroying || this._closed) return false
    return new Promise((resolve) => {
      this._flushes.push(resolve)
      if (this._flushes.length === 1) udx.udxFlushed(this._handle)
    })
  }

  _onflushed (done) {
    for (const resolve of this._flushes.splice(0)) resolve(done)
  }

  _read (cb) {
    this._reading = cb
    // Who is not connected yet may be read from all the same: its first packets tell where it is.
    this._pull()
  }

  _pull () {
    if (this._closed) return this._readContinue()
    if (this._waiting) return
    const found = udx.udxRead(this._handle)
    if (found === undefined) this._waiting = true
    else this._ondata(found)
  }

  _ondata (found) {
    this._waiting = false
    if (found === null) {
      this._ended = true
      this.push(null)
    } else if (found !== false) {
      this.push(found)
    }
    // Of a stream that is gone the end is told apart.
    this._readContinue()
    if (this._over === undefined) return
    if (found !== false) this._drain()
    this._finish(this._over)
  }

  _readContinue () {
    const cb = this._reading
    this._reading = null
    if (cb !== null) cb(null)
  }

  _writev (buffers, cb) {
    if (!this.connected) {
      const error = new Error('Writing while not connected not currently supported')
      error.code = 'ERR_ASSERTION'
      throw error
    }
    if (this._closed || udx.udxWrite(this._handle, buffers)) cb(null)
    else this._writing = cb
  }

  _writeContinue () {
    const cb = this._writing
    this._writing = null
    if (cb !== null) cb(null)
  }

  _final (cb) {
    if (!this._closed) udx.udxEnd(this._handle)
    cb(null)
  }

  _predestroy () {
    this._gone()
    this._writeContinue()
    this._readContinue()
  }

  _destroy (cb) {
    // It is over when the other side cannot be told any more.
    if (this.connected) this._destroying = cb
    else cb(null)
  }

  _gone () {
    if (this._closed) return
    this._stats()
    this._closed = true
    udx.udxDestroy(this._handle)
  }

  // It is gone; what has arrived before is read first.
  _onclose (code) {
    if (!this._closed && !this._ended) {
      this._over = code
      // A read that is on its way comes back for certain.
      if (this._waiting) return
      this._drain()
    }
    this._finish(code)
  }

  _drain () {
    while (!this._ended) {
      const found = udx.udxRead(this._handle)
      if (found === undefined || found === false) return
      if (found === null) this._ended = true
      this.push(found)
    }
  }

  _finish (code) {
    this._gone()
    this._over = undefined
    if (this._handle !== 0) udx.udxRelease(this._handle)
    this._handle = 0
    this._onflushed(false)
    if (this.socket !== null) {
      this.socket._removeStream(this)
      this.socket = null
    }
    if (this._previousSocket !== null) {
      this._previousSocket._removeStream(this)
      this._previousSocket = null
    }
    const error = code === null ? null : failure(code)
    const cb = this._destroying
    this._destroying = null
    if (cb !== null) cb(error)
    else if (error !== null) this.destroy(error)
    this._writeContinue()
    this._readContinue()
  }

  toJSON () {
    return {
      id: this.id,
      connected: this.connected,
      destroying: this.destroying,
      destroyed: this.destroyed,
      remoteId: this.remoteId,
      remoteHost: this.remoteHost,
      remoteFamily: this.remoteFamily,
      remotePort: this.remotePort,
      mtu: this.mtu,
      rtt: this.rtt,
      cwnd: this.cwnd,
      inflight: this.inflight,
      socket: this.socket ? this.socket.toJSON() : null
    }
  }
}

const NOTHING = {
  bytesTransmitted: 0,
  packetsTransmitted: 0,
  bytesReceived: 0,
  packetsReceived: 0,
  retransmits: 0,
  fastRecoveries: 0,
  rtoCount: 0,
  rtt: 0,
  mtu: 1200,
  bandwidth: 0
}

const MESSAGES = { ETIMEDOUT: 'connection timed out', ECONNRESET: 'connection reset by peer' }

function failure (code) {
  const error = new Error(`${code}: ${MESSAGES[code] || 'stream failed'}`)
  error.code = code
  return error
}

function mapWritable (data) {
  return typeof data === 'string' ? Buffer.from(data) : data
}
