// Nodes of dht-rpc of the Rust core, under the face of npm dht-rpc 6.27: each answers commands of the program's own, and finds the nodes closest to any target.

const core = require('pome-core')
const Pulled = require('pome-core/pulled')
const EventEmitter = require('bare-events')

const OK = 0
const UNKNOWN_COMMAND = 1
const INVALID_TOKEN = 2

// Nodes as `host:port`.
function addresses (list) {
  if (list === undefined || list === null) return undefined
  return list.map((node) => typeof node === 'string' ? node : node.host + ':' + node.port)
}

// What another node asks.
class Request {
  constructor (dht, { command, target, value, token, id, from, to, handle }) {
    this.dht = dht
    this.command = command
    this.target = target
    this.value = value
    this.token = token
    this.from = { id, host: from.host, port: from.port }
    this.to = { id: null, host: to.host, port: to.port }
    this.internal = false
    this._handle = core.own(this, handle)
  }

  _answer (error, value, token, closerNodes) {
    if (this._handle === 0) return
    if (!this.dht.destroyed) core.rpcReply(this.dht._handle, this._handle, { error, value, token, closerNodes })
    core.disown(this, this._handle)
    this._handle = 0
  }

  reply (value, options = {}) {
    this._answer(OK, value || undefined, options.token !== false, this.target !== null && options.closerNodes !== false)
  }

  error (code, options = {}) {
    this._answer(code, undefined, options.token === true, this.target !== null && options.closerNodes !== false)
  }
}

// A walk towards a target: a stream of what the nodes on the way answer.
class Query extends Pulled {
  constructor (dht, question, options = {}) {
    const { map = null, commit = false } = options
    let ended = 0
    super(() => {
      const [pull, end] = core.rpcQuery(dht._handle, question)
      ended = end
      return pull
    }, map, { highWaterMark: 32, byteLength: () => 1 })
    this.dht = dht
    this.target = question.target
    this.closestReplies = []
    this.successes = 0
    this._commit = typeof commit === 'function' ? commit : null
    this._flushing = null
    this._ended = () => core.own(this, ended)
    this._over = new Promise((resolve, reject) => {
      this.on('error', reject)
      this.on('close', () => resolve())
    })
    this._over.catch(core.noop)
  }

  get closestNodes () {
    return this.closestReplies.map(({ from }) => from)
  }

  // Before it ends, the closest are known, and are asked to change something.
  push (value) {
    if (value !== null) {
      this.successes++
      return super.push(value)
    }
    if (this._flushing === null) {
      this._flushing = this._flush().then(() => super.push(null), (error) => this.destroy(error))
    }
    return true
  }

  _read (done) {
    super._read((error) => {
      if (this._flushing === null) done(error)
      else this._flushing.then(() => done(error))
    })
  }

  async _flush () {
    const end = core.rpcClosest(this._ended())
    if (end === null) return
    this.closestReplies = end.closest
    if (this._commit === null) return
    const results = await Promise.allSettled(end.closest.map((reply) => this._commit(reply, this.dht, this)))
    if (results.length > 0 && results.every(({ status }) => status === 'rejected')) throw results[0].reason
  }

  finished () {
    this.resume()
    return this._over
  }
}

class DHT extends EventEmitter {
  constructor (options = {}) {
    super()
    this.destroyed = false
    this.suspended = false
    this._destroying = null
    const { port, host, ephemeral, firewalled, quickFirewall, anyPort, concurrency, bootstrapper } = options
    this._handle = core.own(this, core.rpcOpen({
      bootstrap: options.bootstrap === false ? [] : addresses(options.bootstrap),
      nodes: addresses(options.nodes),
      port,
      host,
      ephemeral,
      firewalled,
      quickFirewall,
      anyPort,
      concurrency,
      bootstrapper
    }))
    this._known = this._facts()
    this._watch()
    this._hear()
    queueMicrotask(() => this.emit('listening'))
  }

  static bootstrapper (port, host, options = {}) {
    if (!port) throw new Error('Port is required')
    if (!host) throw new Error('Host is required')
    if (host === '0.0.0.0' || host === '::') throw new Error('Invalid host')
    return new DHT({ ephemeral: false, firewalled: false, anyPort: false, bootstrap: [], ...options, port, bootstrapper: host })
  }

  // The process lives as long as the node does.
  _watch () {
    core.rpcChanged(this._handle, (error, isOpen) => {
      if (error || !isOpen) {
        this.destroyed = true
        this.emit('close')
        return
      }
      this._watch()
      const before = this._known
      const now = this._known = this._facts()
      if (now.bootstrapped && !before.bootstrapped) {
        this.emit('bootstrap')
        this.emit('ready')
      }
      if (now.ephemeral !== before.ephemeral) this.emit(now.ephemeral ? 'ephemeral' : 'persistent')
      if (now.host !== before.host || now.port !== before.port) this.emit('nat-update', now.host, now.port)
      if (now.wakeups !== before.wakeups) this.emit('wakeup')
      if (now.online !== before.online || now.degraded !== before.degraded) this.emit('network-update')
    })
  }

  _hear () {
    core.rpcAsked(this._handle, (error, question) => {
      if (error || question === null) return
      this._hear()
      const request = new Request(this, question)
      if (this.onrequest(request) === false) request.error(UNKNOWN_COMMAND)
    })
  }

  // For those who build on it: false where it is no command of theirs.
  onrequest (request) {
    return this.emit('request', request)
  }

  _facts () {
    return core.rpcFacts(this._handle)
  }

  get id () { return this._facts().id }
  get host () { return this._facts().host }
  get port () { return this._facts().port }
  get firewalled () { return this._facts().firewalled }
  get ephemeral () { return this._facts().ephemeral }
  get bootstrapped () { return this._facts().bootstrapped }
  get online () { return this._facts().online }
  get degraded () { return this._facts().degraded }
  get randomized () { return this.host !== null && this.port === 0 }

  address () {
    const { localHost, localPort } = this._facts()
    return { host: localHost, family: 4, port: localPort }
  }

  localAddress () {
    const { host, port } = this.address()
    return { host, port }
  }

  remoteAddress () {
    const { host, port } = this._facts()
    return host === null || port === 0 ? null : { host, port }
  }

  async fullyBootstrapped () {
    await core.rpcReady(this._handle)
  }

  ready () {
    return this.fullyBootstrapped()
  }

  toArray ({ limit } = {}) {
    return this._facts().nodes.slice(0, limit)
  }

  addNode ({ host, port }) {
    this.ping({ host, port }).catch(core.noop)
  }

  request ({ token, target, command, value, internal }, { host, port }, options = {}) {
    return core.rpcRequest(this._handle, host, port, { token, target, command, value, internal, retry: options.retry, ttl: options.ttl })
  }

  ping ({ host, port }, options = {}) {
    return core.rpcPing(this._handle, host, port, { retry: options.retry, ttl: options.ttl })
  }

  delayedPing ({ host, port }, delay, options = {}) {
    return core.rpcPing(this._handle, host, port, { delay, retry: options.retry })
  }

  query ({ target, command, value }, options = {}) {
    const replies = (options.replies || []).map(({ from }) => from)
    return new Query(this, {
      target,
      command,
      value,
      commit: options.commit === true,
      nodes: addresses([...(options.nodes || options.closestNodes || []), ...replies]),
      concurrency: options.concurrency
    }, options)
  }

  findNode (target, options = {}) {
    return new Query(this, { target, command: 2, internal: true, nodes: addresses(options.nodes) }, options)
  }

  refresh () {
    core.rpcRefresh(this._handle)
  }

  async suspend () {
    this.suspended = true
    core.rpcSuspend(this._handle)
    this.emit('suspend')
  }

  async resume () {
    this.suspended = false
    core.rpcResume(this._handle)
    this.emit('resume')
  }

  destroy () {
    if (this._destroying === null) {
      this._destroying = new Promise((resolve) => this.destroyed ? resolve() : this.once('close', resolve))
      core.rpcClose(this._handle)
    }
    return this._destroying
  }
}

module.exports = exports = DHT
exports.default = DHT
exports.OK = OK
exports.ERROR_UNKNOWN_COMMAND = UNKNOWN_COMMAND
exports.ERROR_INVALID_TOKEN = INVALID_TOKEN
