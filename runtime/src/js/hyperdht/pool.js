// The connections of a node by the key of the peer, one for each: `dht.pool()`.

const EventEmitter = require('bare-events')
const core = require('pome-core')

// A pool's hold on a connection.
class Ref {
  constructor (stream) {
    this._stream = stream
    this._refs = 0
  }

  active () { this._refs++ }
  inactive () { this._refs-- }

  release () {
    this._stream.destroy()
  }
}

class ConnectionPool extends EventEmitter {
  constructor (dht) {
    super()
    this._dht = dht
    this._servers = new Map()
    this._connecting = new Map()
    this._connections = new Map()
  }

  get connecting () { return this._connecting.size }
  get connections () { return this._connections.values() }

  has (publicKey) {
    return this.get(publicKey) !== null
  }

  get (publicKey) {
    const name = nameOf(publicKey)
    const ref = this._connections.get(name) || this._connecting.get(name)
    return ref === undefined ? null : ref._stream
  }

  // Who dials a server of this pool is in it.
  _attachServer (server) {
    const name = nameOf(server.publicKey)
    this._servers.set(name, server)
    server.on('close', () => this._servers.delete(name))
    server.on('connection', (stream) => this._attachStream(stream, true))
  }

  _attachStream (stream, isOpen) {
    const other = this.get(stream.remotePublicKey)
    if (other !== null) return this._choose(stream, other, isOpen)
    const name = nameOf(stream.remotePublicKey)
    const ref = new Ref(stream)
    const opened = () => {
      this._connecting.delete(name)
      this._connections.set(name, ref)
      this.emit('connection', stream, ref)
    }
    stream.on('close', () => {
      this._connecting.delete(name)
      this._connections.delete(name)
    })
    if (isOpen) {
      opened()
      return ref
    }
    // Until somebody has it, nobody hears of its errors.
    this._connecting.set(name, ref)
    stream.on('error', core.noop)
    stream.on('open', () => {
      stream.off('error', core.noop)
      opened()
    })
    return ref
  }

  // Of two between the same peers both sides keep the same one.
  _choose (stream, other, isOpen) {
    const isNewKept = stream.isInitiator === other.isInitiator || Buffer.compare(stream.publicKey, stream.remotePublicKey) > 0
    stream.on('error', core.noop)
    if (!isNewKept) {
      stream.destroy(duplicate())
      return
    }
    let isGone = false
    const gone = () => { isGone = true }
    stream.on('close', gone)
    other.on('error', core.noop)
    other.on('close', () => {
      if (isGone) return
      stream.off('error', core.noop)
      stream.off('close', gone)
      this._attachStream(stream, isOpen)
    })
    other.destroy(duplicate())
  }
}

function nameOf (publicKey) {
  return Buffer.from(publicKey).toString('hex')
}

function duplicate () {
  const error = new Error('DUPLICATE_CONNECTION: Duplicate connection')
  error.code = 'DUPLICATE_CONNECTION'
  return error
}

module.exports = ConnectionPool
