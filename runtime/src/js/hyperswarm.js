// Hyperswarms of the Rust core under the face of npm hyperswarm 4.17.

const core = require('pome-core')
const keys = require('hypercore-id-encoding')
const { connected } = require('pome-core/wire')
const DHT = require('hyperdht')
const EventEmitter = require('bare-events')

// Turns of the loop in which connections are told of that opened elsewhere.
const TURNS = 1000

// A session on a topic.
class Discovery {
  constructor (swarm, topic, options) {
    this.swarm = swarm
    this.topic = topic
    this.destroyed = false
    this._handle = core.own(this, core.swarmJoin(swarm._handle, topic, options))
  }

  get isClient () { return core.discoveryFacts(this._handle).isClient }
  get isServer () { return core.discoveryFacts(this._handle).isServer }

  flushed () {
    return core.discoveryFlushed(this._handle)
  }

  refresh ({ client = this.isClient, server = this.isServer, limit } = {}) {
    return core.discoveryRefresh(this._handle, { client, server, limit })
  }

  async destroy () {
    this.destroyed = true
    await core.discoveryDestroy(this._handle)
  }
}

// What is known about a peer.
class PeerInfo extends EventEmitter {
  constructor (swarm, facts) {
    super()
    this._swarm = swarm
    Object.assign(this, facts)
  }

  ban (banned = true) {
    this.banned = banned
    core.swarmBan(this._swarm._handle, this.publicKey, banned)
  }

  reconnect (again) {
    this.reconnecting = again
    core.swarmReconnect(this._swarm._handle, this.publicKey, again)
  }
}

class Hyperswarm extends EventEmitter {
  constructor (options = {}) {
    super()
    const { maxPeers = 64, maxClientConnections, maxServerConnections, maxParallel, firewall, relayThrough, jitter } = options
    this.keyPair = DHT.keyPairOf(options) || core.keyPair({})
    this.dht = options.dht || new DHT({
      bootstrap: options.bootstrap,
      nodes: options.nodes,
      port: options.port,
      host: options.host,
      keyPair: this.keyPair,
      randomPunchInterval: options.randomPunchInterval,
      deferRandomPunch: options.deferRandomPunch
    })
    this.connections = new Set()
    this.destroyed = false
    this.suspended = false
    this.listening = false
    this.maxPeers = maxPeers
    this.maxClientConnections = maxClientConnections === undefined ? Infinity : maxClientConnections
    this.maxServerConnections = maxServerConnections === undefined ? Infinity : maxServerConnections
    this.maxParallel = maxParallel === undefined ? 3 : maxParallel
    this.relayThrough = relayThrough || null
    this._infos = new Map()
    this._sessions = new Map()
    this._destroying = null

    const opened = core.swarmOpen(this.dht._handle, {
      keyPair: this.keyPair,
      maxPeers,
      maxClientConnections,
      maxServerConnections,
      maxParallel,
      jitter,
      relayThrough: ArrayBuffer.isView(relayThrough) ? relayThrough : undefined,
      firewall: !!firewall
    })
    this._handle = core.own(this, opened.handle)
    this._coming = opened.connections
    this._news = opened.events
    if (opened.firewall !== null) DHT.guard(opened.firewall, firewall)
    this._accept()
    this._hear()
  }

  get server () { return this }
  get connecting () { return this._facts().connecting }
  get stats () { return this._facts().stats }
  get explicitPeers () { return new Set(this._facts().explicit.map((key) => this._info(key))) }
  get peers () {
    const peers = new Map()
    for (const facts of core.swarmPeers(this._handle)) peers.set(facts.publicKey.toString('hex'), this._known(facts))
    return peers
  }

  _facts () {
    return core.swarmFacts(this._handle)
  }

  // One object for a peer, as long as it is known.
  _known (facts) {
    const name = facts.publicKey.toString('hex')
    let info = this._infos.get(name)
    if (info === undefined) {
      info = new PeerInfo(this, facts)
      this._infos.set(name, info)
    } else {
      Object.assign(info, facts)
    }
    return info
  }

  _info (key) {
    const facts = core.swarmPeer(this._handle, key)
    return facts === null ? new PeerInfo(this, { publicKey: key }) : this._known(facts)
  }

  _accept () {
    core.swarmConnection(this._coming, (error, next) => {
      if (error || next === null) return
      this._accept()
      const stream = connected(true, next.connection)
      const info = this._known(next.peer)
      this.connections.add(stream)
      stream.on('error', core.noop)
      stream.on('close', () => {
        this.connections.delete(stream)
        this.emit('update')
      })
      this.emit('connection', stream, info)
      this.emit('update')
    })
  }

  _hear () {
    core.swarmEvent(this._news, (error, event) => {
      if (error || event === null || this.destroyed) return
      this._hear()
      const [name, key, told] = event
      if (name === 'update') this.emit('update')
      else if (name === 'ban') this.emit('ban', this._info(key), new Error(told ? 'Peer was refused by the firewall' : 'Peer was banned'))
      else if (name === 'topic') this._info(key).emit('topic', told)
    })
  }

  join (topic, options = {}) {
    if (!topic) throw new Error('Topic is required and must be a 32-byte buffer')
    if (this.destroyed) throw new Error('Swarm destroyed')
    const { server = true, client = true, limit } = options
    if (server) this.listening = true
    return new Discovery(this, topic, { server, client, limit })
  }

  leave (topic) {
    return core.swarmLeave(this._handle, topic)
  }

  status (topic) {
    return core.swarmStatus(this._handle, topic) ? { topic, swarm: this } : null
  }

  * topics () {
    for (const topic of this._facts().topics) yield { topic, swarm: this }
  }

  joinPeer (publicKey) {
    core.swarmJoinPeer(this._handle, keys.decode(publicKey))
  }

  leavePeer (publicKey) {
    core.swarmLeavePeer(this._handle, keys.decode(publicKey))
  }

  async listen () {
    this.listening = true
    await core.swarmListen(this._handle)
  }

  async flush () {
    const flushed = await core.swarmFlush(this._handle)
    // Whoever waits for this expects to have heard of the connections.
    for (let turn = 0; turn < TURNS && !this.destroyed && this.connections.size < this._facts().connected; turn++) {
      await new Promise((resolve) => setImmediate(resolve))
    }
    return flushed
  }

  clear () {
    return core.swarmClear(this._handle)
  }

  async suspend () {
    this.suspended = true
    await core.swarmSuspend(this._handle)
  }

  async resume () {
    await core.swarmResume(this._handle)
    this.suspended = false
  }

  destroy (options = {}) {
    if (this._destroying === null) this._destroying = this._destroy(options)
    return this._destroying
  }

  async _destroy ({ force = false }) {
    this.destroyed = true
    if (!force) await core.swarmDestroy(this._handle)
    await this.dht.destroy({ force })
    for (const stream of [...this.connections]) stream.destroy()
    core.letGo(this._news)
    core.letGo(this._coming)
    this.emit('close')
  }
}

module.exports = Hyperswarm
module.exports.default = Hyperswarm
