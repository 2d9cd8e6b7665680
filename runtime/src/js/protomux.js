// Channels over a native connection, with the face of npm protomux 3.12.

const core = require('pome-core')
const compact = require('compact-encoding')
const { secretOf } = require('pome-core/wire')

class Message {
  constructor (channel, type, options) {
    this.channel = channel
    this.type = type
    this.encoding = options.encoding || compact.raw
    this.onmessage = options.onmessage || core.noop
  }

  send (value, session = this.channel) {
    return session._send(this, compact.encode(this.encoding, value))
  }
}

class Channel {
  constructor (mux, options) {
    const { protocol, aliases = [], id = null, unique = true, handshake = null, messages = [] } = options
    this.isProtomuxChannel = true
    this._mux = mux
    this.protocol = protocol
    this.aliases = aliases
    this.id = id
    this.unique = unique
    this.handshake = null
    this.handshakeEncoding = handshake
    this.userData = options.userData || null
    this.messages = []
    this.opened = false
    this.closed = false
    this.destroyed = false
    this.drained = true
    this.onopen = options.onopen || core.noop
    this.onclose = options.onclose || core.noop
    this.ondestroy = options.ondestroy || core.noop
    this.ondrain = options.ondrain || core.noop
    this._handle = 0
    this._queue = []
    this._done = new Promise((resolve) => { this._resolveClosed = resolve })
    this._full = new Promise((resolve) => { this._resolveOpened = resolve })
    for (const message of messages) this.addMessage(message)
  }

  addMessage (options) {
    const message = new Message(this, this.messages.length, options || {})
    this.messages.push(message)
    return message
  }

  open (handshake) {
    const { protocol, aliases, id, unique } = this
    const wanted = { protocol, aliases, id, unique, handshake: this.handshakeEncoding ? compact.encode(this.handshakeEncoding, handshake) : null }
    this._mux._whenAttached((connection) => {
      if (this.closed) return
      const handle = core.muxOpen(connection, wanted)
      if (handle === null) return this._end(false)
      this._handle = core.own(this, handle)
      core.channelOpened(handle, (error, remote) => this._onopened(error, remote))
      for (const [message, body] of this._queue) core.channelSend(handle, message.type, body)
      this._queue = []
    })
  }

  _onopened (error, remote) {
    if (this.closed) return
    if (error || remote === null) return this._end(true)
    this.opened = true
    try {
      this.handshake = this.handshakeEncoding ? compact.decode(this.handshakeEncoding, remote) : null
      this._resolveOpened(true)
      this.onopen(this.handshake, this)
    } catch (error) {
      this._mux.destroy(error)
      return
    }
    this._receive()
  }

  _receive () {
    if (this.closed) return
    core.channelRecv(this._handle, (error, list) => {
      if (this.closed) return
      if (error || list === null) return this._end(true)
      try {
        for (const [type, body] of list) {
          const message = this.messages[type]
          if (message !== undefined && !this.closed) message.onmessage(compact.decode(message.encoding, body), this)
        }
      } catch (error) {
        this._mux.destroy(error)
        return
      }
      this._receive()
    })
  }

  _send (message, body) {
    if (this.closed) return false
    if (this._handle === 0) {
      this._queue.push([message, body])
      return true
    }
    try {
      this.drained = core.channelSend(this._handle, message.type, body)
    } catch {
      // It was closed by the peer, and that has not been told yet.
      return false
    }
    return this.drained
  }

  cork () { this._mux.cork() }
  uncork () { this._mux.uncork() }

  close () {
    if (!this.closed) this._end(false)
  }

  _end (isRemote) {
    if (this.closed) return
    this.closed = true
    this.opened = false
    this._mux._channels.delete(this)
    if (this._handle !== 0) core.channelClose(this._handle)
    this._handle = 0
    this._resolveOpened(false)
    this.onclose(isRemote, this)
    this.destroyed = true
    this.ondestroy(this)
    this._resolveClosed(true)
  }

  fullyOpened () { return this._full }
  fullyClosed () { return this._done }
}

class Protomux {
  constructor (stream) {
    this.isProtomux = true
    this.stream = stream
    this.corked = 0
    this._secret = secretOf(stream)
    if (this._secret === null) throw new Error('Protomux needs a connection of hyperswarm, hyperdht or @hyperswarm/secret-stream (native profile)')
    this._secret._useMux()
    this._channels = new Set()
    this._pairs = new Map()
    this._cork = 0
    if (!stream.userData) stream.userData = this
    this._secret.on('close', () => {
      for (const channel of [...this._channels]) channel._end(true)
      for (const pair of this._pairs.values()) core.muxUnpair(pair)
      this._pairs.clear()
    })
  }

  static from (stream) {
    if (stream.userData && stream.userData.isProtomux) return stream.userData
    if (stream.isProtomux) return stream
    return new this(stream)
  }

  static isProtomux (value) {
    return typeof value === 'object' && value !== null && value.isProtomux === true
  }

  * [Symbol.iterator] () {
    for (const channel of this._channels) yield channel
  }

  _whenAttached (then) {
    this._secret._whenAttached(then)
  }

  isIdle () {
    return this._channels.size === 0
  }

  _same (channel, { protocol, id = null }) {
    return channel.protocol === protocol && sameId(channel.id, id)
  }

  opened (topic) {
    return [...this._channels].some((channel) => this._same(channel, topic))
  }

  getLastChannel (topic) {
    return [...this._channels].reverse().find((channel) => this._same(channel, topic)) || null
  }

  createChannel (options) {
    if (this.stream.destroyed || this.stream.destroying) return null
    if (options.unique !== false && this.opened(options)) return null
    const channel = new Channel(this, options)
    this._channels.add(channel)
    return channel
  }

  pair ({ protocol, id = null }, notify) {
    const name = pairName(protocol, id)
    this._whenAttached((connection) => {
      const handle = core.muxPair(connection, { protocol, id })
      this._pairs.set(name, handle)
      this._hear(handle, notify)
    })
  }

  _hear (handle, notify) {
    core.muxPaired(handle, (error, open) => {
      if (error || open === null) return
      this._hear(handle, notify)
      // Rejected when nothing was opened by then.
      Promise.resolve(notify(open.id)).then(() => core.letGo(open.incoming), (error) => {
        core.letGo(open.incoming)
        this.destroy(error)
      })
    })
  }

  unpair ({ protocol, id = null }) {
    const name = pairName(protocol, id)
    const handle = this._pairs.get(name)
    if (handle === undefined) return
    this._pairs.delete(name)
    core.muxUnpair(handle)
  }

  cork () {
    if (this.corked++ === 0) this._whenAttached((connection) => { if (this.corked > 0 && this._cork === 0) this._cork = core.muxCork(connection) })
  }

  uncork () {
    if (this.corked === 0 || --this.corked > 0) return
    if (this._cork !== 0) core.letGo(this._cork)
    this._cork = 0
  }

  destroy (error) {
    this.stream.destroy(error)
  }
}

function sameId (a, b) {
  if (a === null || b === null) return a === b
  return Buffer.compare(a, b) === 0
}

function pairName (protocol, id) {
  return protocol + (id === null ? '' : '##' + Buffer.from(id).toString('hex'))
}

module.exports = Protomux
module.exports.default = Protomux
