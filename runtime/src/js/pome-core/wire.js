// Connections to peers as streams: a native secret stream with the face of @hyperswarm/secret-stream 6.9.

const core = require('pome-core')
const { Duplex } = require('streamx')

// Who calls these wants to read what the peer says as plain messages.
const READING = new Set(['data', 'readable'])

// A connection is one of two things: plain messages, or a muxer with replication and channels on it. Which, the first call decides that needs one of them;
// until then what the peer says waits.
class SecretStream extends Duplex {
  constructor (initiator, rawStream, options = {}) {
    super({ mapWritable: toBuffer, eagerOpen: true })
    if (typeof initiator !== 'boolean') throw new Error('isInitiator should be a boolean')

    this.noiseStream = this
    this.isInitiator = initiator
    this.rawStream = null
    this.publicKey = (options.keyPair && options.keyPair.publicKey) || options.publicKey || null
    this.remotePublicKey = options.remotePublicKey || null
    this.handshakeHash = null
    this.connected = false
    this.keepAlive = options.keepAlive || 0
    this.timeout = 0
    this.userData = null
    this.relay = null
    this.puncher = null
    this.opened = new Promise((resolve) => { this._isOpened = resolve })

    this._handle = 0
    this._plain = 0
    this._isMux = false
    this._isOver = false
    this._stay = true
    this._replications = []
    this._attached = []
    this._openDone = null
    this._reading = null
    this._ends = []
    this._halves = 2
    this._timer = null
    this._closing = null
    if (options.autoStart !== false && !options[NATIVE]) this.start(rawStream, options)
  }

  static keyPair (seed) {
    return core.keyPair({ seed })
  }

  static id (handshakeHash, isInitiator) {
    return core.streamId(handshakeHash, isInitiator)
  }

  // Carries it over another stream; without one, over `rawStream`, which the program pipes somewhere.
  start (rawStream, options = {}) {
    const { keyPair, pattern, remotePublicKey } = options
    this._stay = false
    Promise.resolve(keyPair).then((keyPair) => {
      const { connection, pipe } = core.connOver(this.isInitiator, { keyPair, pattern, remotePublicKey, keepAlive: this.keepAlive })
      core.own(this, pipe)
      if (rawStream) {
        this.rawStream = rawStream
        carry(this, pipe, rawStream)
      } else {
        this.rawStream._carry(pipe)
      }
      this._attach(connection)
    }).catch((error) => this.destroy(error))
    if (!rawStream) this.rawStream = new Raw(this)
  }

  // The native connection is there.
  _attach (handle) {
    if (this.destroying) {
      core.connAbort(handle)
      core.letGo(handle)
      return
    }
    this._handle = core.own(this, handle)
    const attached = this._attached
    this._attached = null
    core.connOpened(handle, this._stay, (error) => this._onopen(error))
    core.connClosed(handle, this._stay, (error) => this._onclosed(error))
    for (const then of attached) then(handle)
  }

  // Calls with the native connection, as soon as it is there.
  _whenAttached (then) {
    if (this._attached === null) then(this._handle)
    else this._attached.push(then)
  }

  _onopen (error) {
    this._isOpened(!error)
    if (error) {
      this.destroy(error)
      return
    }
    const facts = core.connFacts(this._handle)
    this.publicKey = facts.publicKey
    this.remotePublicKey = facts.remotePublicKey
    this.handshakeHash = facts.handshakeHash
    this.connected = true
    if (this.rawStream === null) {
      this.rawStream = { remoteHost: facts.remoteHost, remotePort: facts.remotePort, remoteFamily: 4, connected: true }
    }
    this.emit('handshake')
    this.emit('connect')
    const done = this._openDone
    this._openDone = null
    if (done !== null) done(null)
  }

  _onclosed (error) {
    this._isOver = true
    for (const end of this._ends) end()
    if (this._closing !== null) {
      // Both sides had ended: what still goes wrong matters to nobody.
      const closing = this._closing
      this._closing = null
      closing(null)
    } else if (error) {
      this.destroy(error)
    } else if (this._plain !== 0) {
      // What came before is still read; what is written goes nowhere.
      this.end()
    } else {
      this.destroy()
    }
  }

  _open (done) {
    if (this.connected) done(null)
    else this._openDone = done
  }

  // Plain messages from now on.
  _usePlain () {
    if (this._plain !== 0 || this._isMux || this._plainAsked) return
    this._plainAsked = true
    this._whenAttached((handle) => {
      if (this._isMux || this.destroying) return
      this._plain = core.own(this, core.connMessages(handle))
      if (this._reading !== null) this._receive()
    })
  }

  // A muxer from now on.
  _useMux () {
    this._isMux = true
  }

  _receive () {
    core.messagesRecv(this._plain, (error, list) => {
      const done = this._reading
      if (done === null) return
      this._reading = null
      if (error) return done(error)
      if (list === null) {
        this._halves--
        this.push(null)
      } else {
        for (const message of list) this.push(message)
      }
      done(null)
    })
  }

  _read (done) {
    this._reading = done
    if (this._plain !== 0) this._receive()
  }

  _writev (messages, done) {
    this._usePlain()
    if (this._plain === 0) return done(new Error('The stream carries a muxer: write to a channel of it'))
    core.messagesSend(this._plain, messages, (error) => done(error || null))
  }

  _final (done) {
    this._halves--
    if (this._isOver) return done(null)
    if (this._plain !== 0) core.messagesEnd(this._plain)
    else core.connEnd(this._handle)
    done(null)
  }

  _predestroy () {
    // What is waited for may never come.
    const { _openDone: opening, _reading: reading } = this
    this._openDone = null
    this._reading = null
    if (this._handle !== 0 && !this._isOver && this._halves > 0) core.connAbort(this._handle)
    if (reading !== null) reading(null)
    if (opening !== null) {
      this._isOpened(false)
      opening(new Error('Stream was destroyed before it opened'))
    }
  }

  _destroy (done) {
    for (const replication of this._replications) core.letGo(replication)
    this._replications = []
    clearTimeout(this._timer)
    if (this._handle === 0 || this._isOver || this._halves > 0) done(null)
    else this._closing = done
  }

  on (name, listener) {
    if (READING.has(name)) this._usePlain()
    return super.on(name, listener)
  }

  addListener (name, listener) {
    return this.on(name, listener)
  }

  once (name, listener) {
    if (READING.has(name)) this._usePlain()
    return super.once(name, listener)
  }

  pipe (target, done) {
    this._usePlain()
    return super.pipe(target, done)
  }

  read () {
    this._usePlain()
    return super.read()
  }

  resume () {
    this._usePlain()
    return super.resume()
  }

  [Symbol.asyncIterator] () {
    this._usePlain()
    return super[Symbol.asyncIterator]()
  }

  // Everything written went out.
  async flush () {
    await this.opened
    return !this.destroying
  }

  setKeepAlive (ms) {
    this.keepAlive = ms || 0
  }

  sendKeepAlive () {}

  setTimeout (ms) {
    this.timeout = ms || 0
    clearTimeout(this._timer)
    if (!this.timeout) return
    this._timer = setTimeout(() => this.destroy(new Error('Stream timed out')), this.timeout)
    this._timer.unref()
  }

  alloc (length) {
    return Buffer.alloc(length)
  }

  toJSON () {
    const { isInitiator, publicKey, remotePublicKey, connected, destroying, destroyed } = this
    return { isInitiator, publicKey, remotePublicKey, connected, destroying, destroyed, rawStream: null }
  }
}

// How long a stream that is piped keeps the program alive after the last of its bytes, in milliseconds.
const BUSY = 500

// What a secret stream wants carried, where nothing carries it: the program pipes it. An idle one does not keep the program alive, a busy one does.
class Raw extends Duplex {
  constructor (stream) {
    super({ mapWritable: toBuffer })
    this.noiseStream = stream
    this._pipe = 0
    this._ready = null
    this._reading = null
    this._busy = null
    this._busySince = 0
    stream._ends.push(() => { if (this._pipe === 0) this.destroy() })
  }

  get userData () { return this.noiseStream.userData }
  set userData (value) { this.noiseStream.userData = value }

  _carry (pipe) {
    this._pipe = pipe
    const ready = this._ready
    this._ready = null
    if (ready !== null) ready(null)
  }

  _open (done) {
    if (this._pipe !== 0) done(null)
    else this._ready = done
  }

  _isBusy () {
    const now = Date.now()
    if (now - this._busySince < BUSY / 5) return
    this._busySince = now
    clearTimeout(this._busy)
    this._busy = setTimeout(core.noop, BUSY)
  }

  _read (done) {
    this._reading = done
    this._isBusy()
    core.pipeRead(this._pipe, (error, bytes) => {
      const done = this._reading
      if (done === null) return
      this._reading = null
      this.push(error ? null : bytes)
      done(null)
    })
  }

  _write (bytes, done) {
    this._isBusy()
    // What comes after the connection ended is for nobody.
    core.pipeWrite(this._pipe, bytes, () => done(null))
  }

  _final (done) {
    core.pipeEnd(this._pipe).then(() => done(null), done)
  }

  _predestroy () {
    const { _ready: ready, _reading: reading } = this
    this._ready = null
    this._reading = null
    clearTimeout(this._busy)
    if (!this.noiseStream._isOver) this.noiseStream.destroy()
    if (reading !== null) reading(null)
    if (ready !== null) ready(new Error('Stream was destroyed'))
  }
}

// Moves bytes between a connection and the stream that carries it.
function carry (stream, pipe, raw) {
  const out = () => {
    core.pipeRead(pipe, (error, bytes) => {
      if (error || bytes === null) raw.end()
      else if (raw.write(bytes) === false) raw.once('drain', out)
      else out()
    })
  }
  out()
  raw.on('data', (bytes) => {
    raw.pause()
    core.pipeWrite(pipe, bytes, () => raw.resume())
  })
  raw.on('end', () => core.pipeEnd(pipe).catch(core.noop))
  raw.on('error', (error) => stream.destroy(error))
  raw.on('close', () => {
    if (!stream._isOver) stream.destroy()
  })
  stream.on('close', () => raw.destroy())
}

function toBuffer (value) {
  return typeof value === 'string' ? Buffer.from(value) : value
}

// Marks a stream whose connection comes from elsewhere.
const NATIVE = Symbol('pome.native')

// A stream for a connection that is there, or comes later by `_attach`.
function connected (initiator, handle, options = {}) {
  const stream = new SecretStream(initiator, null, { ...options, [NATIVE]: true })
  if (handle) {
    const facts = core.connFacts(handle)
    stream.isInitiator = facts.isInitiator
    stream.publicKey = facts.publicKey
    stream.remotePublicKey = facts.remotePublicKey
    stream.handshakeHash = facts.handshakeHash
    stream._attach(handle)
  }
  return stream
}

// The secret stream under whatever `replicate` was given.
function secretOf (stream) {
  if (stream instanceof SecretStream) return stream
  if (stream.isProtomux) return secretOf(stream.stream)
  if (stream.noiseStream instanceof SecretStream) return stream.noiseStream
  return null
}

// What `replicate` gives back: the stream it was given, or a new one to be piped.
function protocolStream (initiator, options = {}) {
  if (typeof initiator === 'boolean') {
    const stream = new SecretStream(initiator, options.stream || null, { keyPair: options.keyPair, keepAlive: options.keepAlive === false ? 0 : 5000 })
    stream._useMux()
    return options.stream ? stream : stream.rawStream
  }
  const given = initiator && initiator.isProtomux ? initiator.stream : initiator
  const stream = given && secretOf(given)
  if (!stream) throw new Error('replicate() needs true or false, or a connection of hyperswarm, hyperdht or @hyperswarm/secret-stream (native profile)')
  stream._useMux()
  return initiator
}

// Exchanges cores over it.
function attach (given, store, options) {
  const stream = secretOf(given)
  const id = options.core || 0
  const key = store + '/' + id
  if (stream._exchanges === undefined) stream._exchanges = new Set()
  if (stream._exchanges.has(key) || stream.destroying) return
  stream._exchanges.add(key)
  stream._whenAttached((handle) => {
    if (!stream.destroying) stream._replications.push(core.connReplicate(handle, store, options))
  })
}

module.exports = { SecretStream, connected, protocolStream, attach, secretOf }
