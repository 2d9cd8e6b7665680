// Nodes of the HyperDHT of the Rust core under the face of npm hyperdht 6.34.

const core = require('pome-core')
const keys = require('hypercore-id-encoding')
const Pulled = require('pome-core/pulled')
const { connected } = require('pome-core/wire')
const EventEmitter = require('bare-events')
const ConnectionPool = require('hyperdht/pool')

// Nodes as `host:port`.
function addresses (list) {
  if (list === undefined || list === null) return undefined
  return list.map((node) => typeof node === 'string' ? node : node.host + ':' + node.port)
}

function keyPairOf ({ keyPair, seed }) {
  if (keyPair) return keyPair
  return seed ? core.keyPair({ seed }) : undefined
}

// Asks the program about peers that want in; true refuses, as npm has it.
function guard (questions, firewall) {
  const hear = () => {
    core.firewallQuestion(questions, (error, question) => {
      if (error || question === null) return
      hear()
      let refused
      try {
        refused = firewall(question.publicKey, null, null)
      } catch (error) {
        core.firewallAnswer(question.answer, true)
        throw error
      }
      Promise.resolve(refused).then((refused) => core.firewallAnswer(question.answer, !!refused), () => core.firewallAnswer(question.answer, true))
    })
  }
  hear()
}

class Server extends EventEmitter {
  constructor (dht, options) {
    super()
    this.dht = dht
    this.listening = false
    this.closed = false
    this.suspended = false
    this.publicKey = null
    this.firewall = options.firewall || null
    this.pool = options.pool || null
    this.holepunch = options.holepunch === undefined ? null : options.holepunch
    this.relayThrough = options.relayThrough || null
    this._options = options
    this._listening = null
    this._closing = null
    this._handle = 0
  }

  get relayAddresses () {
    return (this._handle === 0 ? null : core.serverFacts(this._handle)) || []
  }

  listen (keyPair = this.dht.defaultKeyPair, options = {}) {
    if (this._listening === null) {
      this._listening = this._listen(keyPair, { ...this._options, ...options })
      return this._listening
    }
    const error = new Error('ALREADY_LISTENING: Already listening')
    error.code = 'ALREADY_LISTENING'
    return Promise.reject(error)
  }

  async _listen (keyPair, options) {
    const { shareLocalAddress, relayThrough } = options
    const { server, firewall } = await core.dhtListen(this.dht._handle, {
      keyPair,
      shareLocalAddress,
      holepunch: options.holepunch !== false,
      relayThrough: ArrayBuffer.isView(relayThrough) ? relayThrough : undefined,
      firewall: this.firewall !== null
    })
    if (firewall !== null) guard(core.own(this, firewall), (key) => this.firewall(key, null, null))
    this._handle = server
    if (this.closed) {
      await core.serverClose(server)
      return
    }
    this.publicKey = keyPair.publicKey
    this.listening = true
    this.dht.listening.add(this)
    if (this.pool !== null) this.pool._attachServer(this)
    this._accept()
    this.emit('listening')
  }

  _accept () {
    core.serverAccept(this._handle, (error, connection) => {
      if (error || connection === null) return
      this._accept()
      this.emit('connection', connected(false, connection))
    })
  }

  address () {
    if (!this.listening) return null
    const { host, port } = this.dht
    return { publicKey: this.publicKey, host, port }
  }

  refresh () {
    if (this._handle !== 0) core.serverRefresh(this._handle)
  }

  notifyOnline () {
    this.refresh()
  }

  async suspend () { this.suspended = true }
  async resume () { this.suspended = false }

  close () {
    if (this._closing === null) this._closing = this._close()
    return this._closing
  }

  async _close () {
    this.closed = true
    try {
      await this._listening
    } catch {
      // It never listened.
    }
    this.listening = false
    this.dht.listening.delete(this)
    if (this._handle !== 0) {
      await core.serverClose(this._handle)
      core.letGo(this._handle)
    }
    this.emit('close')
  }
}

// A lookup: a stream of what each node knows, which can be awaited.
class Query extends Pulled {
  constructor (open) {
    super(open, null)
    this.closestNodes = []
    this.closestReplies = []
    this.on('data', (reply) => this.closestReplies.push(reply))
    this._over = new Promise((resolve, reject) => {
      this.on('error', reject)
      this.on('close', () => resolve())
    })
    this._over.catch(core.noop)
  }

  finished () {
    return this._over
  }
}

class HyperDHT extends EventEmitter {
  constructor (options = {}) {
    super()
    this.defaultKeyPair = keyPairOf(options) || core.keyPair({})
    this.listening = new Set()
    this.destroyed = false
    this.stats = { punches: { consistent: 0, random: 0, open: 0, tryLater: 0 }, relaying: { attempts: 0, successes: 0, aborts: 0 } }
    const { port, ephemeral, firewalled, quickFirewall, anyPort, connectionKeepAlive, randomPunchInterval, deferRandomPunch } = options
    this.connectionKeepAlive = connectionKeepAlive === undefined ? 5000 : connectionKeepAlive
    this._destroying = null
    this._handle = core.own(this, core.dhtOpen({
      bootstrap: options.bootstrap === false ? [] : addresses(options.bootstrap),
      nodes: addresses(options.nodes),
      host: options.host,
      port,
      ephemeral,
      firewalled,
      quickFirewall,
      anyPort,
      bootstrapper: options.bootstrapper,
      connectionKeepAlive: connectionKeepAlive === false ? 0 : connectionKeepAlive,
      randomPunchInterval,
      deferRandomPunch,
      keyPair: this.defaultKeyPair
    }))
    // The process lives as long as the node does.
    core.dhtClosed(this._handle, () => {
      this.destroyed = true
      this.emit('close')
    })
    this.ready().then(() => { if (!this.destroyed) this.emit('ready') }, core.noop)
  }

  _facts () { return core.dhtFacts(this._handle) }
  get id () { return this._facts().id }
  get host () { return this._facts().host || this._facts().localHost }
  get port () { return this._facts().port || this._facts().localPort }
  get firewalled () { return this._facts().firewalled }
  get ephemeral () { return this._facts().ephemeral }
  get bootstrapped () { return this._facts().bootstrapped }
  get online () { return this._facts().online }
  get degraded () { return this._facts().degraded }
  get suspended () { return this._facts().suspended }
  get randomized () { return this.host !== null && this._facts().port === 0 }

  address () {
    const { localHost, localPort } = this._facts()
    return { host: localHost, port: localPort, family: 4 }
  }

  localAddress () {
    return this.address()
  }

  remoteAddress () {
    const { host, port } = this._facts()
    return host && port ? { host, port, family: 4 } : null
  }

  get nodes () { return this.toArray() }

  toArray (options = {}) {
    const nodes = this._facts().nodes
    return options.limit ? nodes.slice(0, options.limit) : nodes
  }

  ready () {
    return core.dhtReady(this._handle)
  }

  fullyBootstrapped () {
    return this.ready()
  }

  async bind () {}

  connect (publicKey, options = {}) {
    const key = keys.decode(publicKey)
    const pool = options.pool || null
    if (pool !== null && pool.has(key)) return pool.get(key)
    const { keyPair = this.defaultKeyPair, relayAddresses, relayThrough, localConnection, holepunch } = options
    const stream = connected(true, 0, { keyPair, remotePublicKey: key })
    if (pool !== null) pool._attachStream(stream, false)
    const wanted = {
      keyPair,
      relayAddresses: addresses(relayAddresses),
      relayThrough: ArrayBuffer.isView(relayThrough) ? relayThrough : undefined,
      localConnection,
      holepunch: holepunch !== false
    }
    core.dhtConnect(this._handle, key, wanted, (error, connection) => {
      if (error) {
        stream._isOpened(false)
        stream.destroy(error)
      } else {
        stream._attach(connection)
      }
    })
    return stream
  }

  // Connections by the key of the peer, one for each.
  pool () {
    return new ConnectionPool(this)
  }

  createServer (options, onconnection) {
    if (typeof options === 'function') return this.createServer({}, options)
    if (options && options.onconnection) onconnection = options.onconnection
    const server = new Server(this, options || {})
    if (onconnection) server.on('connection', onconnection)
    return server
  }

  findPeer (publicKey) {
    return new Query(() => core.dhtFindPeer(this._handle, keys.decode(publicKey)))
  }

  lookup (topic) {
    return new Query(() => core.dhtLookup(this._handle, topic))
  }

  announce (topic, keyPair, relayAddresses, options = {}) {
    return this._told(() => core.dhtAnnounce(this._handle, topic, { ...options, keyPair, relayAddresses: addresses(relayAddresses) }))
  }

  lookupAndUnannounce (topic, keyPair) {
    return this._told(() => core.dhtUnannounce(this._handle, topic, { keyPair }))
  }

  // What a call comes to, as a stream that can be awaited.
  _told (call) {
    const { Readable } = require('streamx')
    let all = null
    const stream = new Readable({
      read (done) {
        const more = async () => {
          if (all === null) all = await call()
          this.push(all.length === 0 ? null : all.shift())
        }
        more().then(() => done(null), done)
      }
    })
    const over = new Promise((resolve, reject) => {
      stream.on('error', reject)
      stream.on('close', () => resolve())
    })
    over.catch(core.noop)
    stream.finished = () => {
      stream.resume()
      return over
    }
    return stream
  }

  async unannounce (topic, keyPair) {
    await core.dhtUnannounce(this._handle, topic, { keyPair })
  }

  async immutablePut (value) {
    return { hash: await core.dhtImmutablePut(this._handle, value), closestNodes: [] }
  }

  async immutableGet (hash) {
    const value = await core.dhtImmutableGet(this._handle, hash)
    return value === null ? null : { value }
  }

  async mutablePut (keyPair, value, options = {}) {
    const seq = options.seq || 0
    await core.dhtMutablePut(this._handle, value, { keyPair, seq })
    return { publicKey: keyPair.publicKey, closestNodes: [], seq, signature: null }
  }

  async mutableGet (publicKey, options = {}) {
    return core.dhtMutableGet(this._handle, publicKey, options)
  }

  async ping ({ host, port }) {
    return core.dhtPing(this._handle, host, port)
  }

  async suspend () {
    await core.dhtSuspend(this._handle)
    this.emit('suspend')
  }

  async resume () {
    await core.dhtResume(this._handle)
    this.emit('resume')
  }

  destroy (options = {}) {
    if (this._destroying === null) this._destroying = this._destroy(options)
    return this._destroying
  }

  async _destroy ({ force }) {
    if (!force) await Promise.allSettled([...this.listening].map((server) => server.close()))
    this.destroyed = true
    core.dhtClose(this._handle)
  }

  static keyPair (seed) {
    return core.keyPair({ seed })
  }

  static hash (data) {
    return core.hash(data)
  }

  static bootstrapper (port, host, options = {}) {
    if (!port) throw new Error('Port is required')
    if (!host) throw new Error('Host is required')
    return new HyperDHT({ ...options, port, host, anyPort: false, ephemeral: false, firewalled: false, bootstrap: [], bootstrapper: true })
  }
}

HyperDHT.BOOTSTRAP = ['88.99.3.86@node1.hyperdht.org:49737', '142.93.90.113@node2.hyperdht.org:49737', '138.68.147.8@node3.hyperdht.org:49737']
HyperDHT.FIREWALL = { UNKNOWN: 0, OPEN: 1, CONSISTENT: 2, RANDOM: 3 }
HyperDHT.DEFAULTS = {}
HyperDHT.guard = guard
HyperDHT.keyPairOf = keyPairOf

module.exports = HyperDHT
module.exports.default = HyperDHT
