// The client of bare-http1 4.6: requests, and the agents that keep connections for the next one.

const EventEmitter = require('bare-events')
const tcp = require('bare-tcp')
const headers = require('bare-http1/headers')
const { HttpReader } = require('bare-http1/reader')
const { IncomingMessage, OutgoingRequest } = require('bare-http1/messages')
const { errors } = headers

const connections = new WeakMap()

// One connection to a server; one request at a time.
class ClientConnection {
  constructor(socket, opts = {}) {
    this.socket = socket
    this.req = null
    this.res = null
    this._opts = opts
    this._reader = new HttpReader(false, 0, 0)
    this.keepAliveTimeout = 0
    connections.set(socket, this)
    this._ondata = (data) => this._read(data)
    this._onend = () => this._ended()
    this._ondrain = () => this.req && this.req._ondrain()
    this._onerror = (err) => this._failed(err)
    this._onclose = () => this._failed(errors.CONNECTION_LOST('Socket hung up'))
    socket.on('data', this._ondata).on('end', this._onend).on('drain', this._ondrain)
    socket.on('error', this._onerror).on('close', this._onclose)
  }

  static for(socket) {
    return connections.get(socket) || null
  }

  static from(socket, opts) {
    return ClientConnection.for(socket) || new ClientConnection(socket, opts)
  }

  get idle() {
    return this.req === null
  }

  start(req) {
    this.req = req
    this.res = null
    this._isSent = false
    this._isRead = false
    this._mayReuse = true
    this._reader.expect(req.method)
  }

  _read(data) {
    let events
    try {
      events = this._reader.push(data)
    } catch (err) {
      return this.socket.destroy(err)
    }
    for (const event of events) {
      if (this.req === null) return this.socket.destroy(errors.UNEXPECTED_RESPONSE('Response received without a request'))
      if (event.type === 'head') this._begin(event)
      else if (event.type === 'data') {
        if (!this.res.destroying && !this.res.push(Buffer.from(event.data))) this.socket.pause()
      } else this._end()
    }
  }

  _begin(head) {
    const { httpVersion, statusCode, statusMessage } = head
    const fields = headers.collect(head.headers)
    const { req } = this
    if (head.isInformational) {
      if (statusCode === 100) req.emit('continue')
      req.emit('information', { httpVersion, statusCode, statusMessage, headers: fields })
      return
    }
    const { IncomingMessage: Incoming = IncomingMessage } = this._opts
    const res = new Incoming(this.socket, { headers: fields, httpVersion, statusCode, statusMessage })
    this.res = res
    res.req = req
    if (head.upgrade) return this._handOver(res)
    this._mayReuse = !headers.isClosing(fields, httpVersion)
    const timeout = /timeout=(\d+)/.exec(fields['keep-alive'] || '')
    this.keepAliveTimeout = timeout === null ? 0 : Number(timeout[1]) * 1000
    res._demand = () => this.socket.resume()
    req.res = res
    // Nobody who looks: the body is thrown away, so that the connection can go on.
    if (!req.emit('response', res)) res.resume()
  }

  _end() {
    this.res.complete = true
    this._isRead = true
    if (!this.res.destroying) this.res.push(null)
    this.sent(this._isSent)
  }

  // The request was written, or the response read: with both the connection is free.
  sent(isSent) {
    this._isSent = isSent
    if (!this._isSent || !this._isRead || this.req === null) return
    const { req } = this
    this.req = null
    this.res = null
    if (this._mayReuse && !req._close && req._agent.keepSocketAlive(this.socket)) {
      this.socket.resume()
      req._agent._free(this.socket, req._opts)
    } else this.socket.end()
    if (!req.destroying) req._complete()
  }

  _handOver(res) {
    const { req, socket } = this
    const event = req.method === 'CONNECT' ? 'connect' : 'upgrade'
    if (req.listenerCount(event) === 0) return socket.destroy()
    socket.off('data', this._ondata).off('end', this._onend).off('drain', this._ondrain)
    socket.off('error', this._onerror).off('close', this._onclose)
    req._agent._forget(socket, req._opts)
    res._upgrade = req._upgrade = true
    res.complete = true
    res.push(null)
    this.req = null
    req._complete()
    req.emit(event, res, socket, Buffer.from(this._reader.rest()))
  }

  _ended() {
    let events = []
    try {
      events = this._reader.finish()
    } catch (err) {
      return this.socket.destroy(errors.CONNECTION_LOST('Socket hung up'))
    }
    this._mayReuse = false
    for (const event of events) if (event.type === 'end' && this.res !== null) this._end()
    this.socket.end()
  }

  _failed(err) {
    const { req, res } = this
    this.req = null
    this.res = null
    if (res !== null && !res.complete) res._abort(err)
    if (req === null) return
    if (res === null && !req.destroying) req.destroy(err)
    else if (!req.destroying) req.destroy()
  }
}

class Agent extends EventEmitter {
  constructor(opts = {}) {
    super()
    const { keepAlive = false, keepAliveMsecs = typeof keepAlive === 'number' ? keepAlive : 1000, defaultPort = 80 } = opts
    const { maxSockets = Infinity, maxTotalSockets = Infinity, maxFreeSockets = 256 } = opts
    Object.assign(this, { keepAliveMsecs, defaultPort, maxSockets, maxTotalSockets, maxFreeSockets })
    this._keepAlive = keepAlive
    this._opts = opts
    // By name of the server: sockets in use, free ones, and requests that wait for one.
    this._used = new Map()
    this._freed = new Map()
    this._waiting = new Map()
    this._suspended = null
  }

  get keepAlive() {
    return this._keepAlive !== false
  }

  get suspended() {
    return this._suspended !== null
  }

  get resumed() {
    return this._suspended === null ? null : this._suspended.promise
  }

  *_all(map) {
    for (const sockets of map.values()) yield* sockets
  }

  get sockets() {
    return this._all(this._used)
  }

  get freeSockets() {
    return this._all(this._freed)
  }

  createConnection(opts) {
    return tcp.createConnection(opts)
  }

  keepSocketAlive(socket) {
    if (!this.keepAlive || this.suspended) return false
    socket.setKeepAlive(true, this.keepAliveMsecs)
    socket.unref()
    return true
  }

  reuseSocket(socket) {
    socket.ref()
  }

  getName(opts) {
    return `${opts.host}:${opts.port}${opts.family === 4 || opts.family === 6 ? ':' + opts.family : ''}`
  }

  addRequest(req, opts) {
    if (this.suspended) throw errors.AGENT_SUSPENDED('Agent is suspended')
    opts = { ...this._opts, ...opts }
    req._opts = opts
    const name = this.getName(opts)
    const free = this._list(this._freed, name)
    while (free.length > 0) {
      const socket = free.pop()
      if (socket.destroying) continue
      this._list(this._used, name).push(socket)
      this.reuseSocket(socket, req)
      return this._give(socket, req)
    }
    if (this._list(this._used, name).length >= this.maxSockets || [...this.sockets].length >= this.maxTotalSockets) {
      this._list(this._waiting, name).push(req)
      return
    }
    this._open(req, opts, name)
  }

  _open(req, opts, name) {
    const socket = this.createConnection(opts)
    this._list(this._used, name).push(socket)
    socket.on('close', () => {
      this._forget(socket, opts)
      const next = this._list(this._waiting, name).shift()
      if (next) this._open(next, next._opts, name)
    })
    this._give(socket, req)
  }

  _give(socket, req) {
    ClientConnection.from(socket).start(req)
    req._attach(socket)
  }

  _free(socket, opts) {
    const name = this.getName(opts)
    const next = this._list(this._waiting, name).shift()
    if (next) {
      this.reuseSocket(socket, next)
      return this._give(socket, next)
    }
    this._forget(socket, opts)
    const free = this._list(this._freed, name)
    if (free.length >= this.maxFreeSockets) return socket.end()
    free.push(socket)
    this.emit('free', socket, opts)
  }

  _forget(socket, opts) {
    const name = this.getName(opts)
    for (const map of [this._used, this._freed]) {
      const sockets = this._list(map, name)
      const at = sockets.indexOf(socket)
      if (at !== -1) sockets.splice(at, 1)
      if (sockets.length === 0) map.delete(name)
    }
  }

  _list(map, name) {
    if (!map.has(name)) map.set(name, [])
    return map.get(name)
  }

  suspend() {
    if (this._suspended !== null) return
    this._suspended = Promise.withResolvers()
    this.destroy()
  }

  resume() {
    if (this._suspended !== null) this._suspended.resolve()
    this._suspended = null
  }

  destroy() {
    for (const socket of [...this.sockets, ...this.freeSockets]) socket.destroy()
  }
}

Agent.global = new Agent({ keepAlive: 1000, timeout: 5000 })

class ClientRequest extends OutgoingRequest {
  constructor(opts = {}, onresponse) {
    if (typeof opts === 'function') [opts, onresponse] = [{}, opts]
    super(null)
    const agent = opts.agent === false ? new Agent() : opts.agent || Agent.global
    const { method = 'GET', path = '/', defaultPort = agent.defaultPort, auth } = opts
    const host = opts.host || 'localhost'
    const port = opts.port || defaultPort
    headers.checkMethod(method)
    headers.checkPath(path)
    this.method = method.toUpperCase()
    this.path = path
    this.res = null
    this._agent = agent
    this._close = false
    this._opened = null
    this._headers = headers.normalize(opts.headers)
    if (this._headers.host === undefined) {
      const name = host.includes(':') ? `[${host}]` : host
      this._headers = { host: port === defaultPort ? name : `${name}:${port}`, ...this._headers }
    }
    if (auth && this._headers.authorization === undefined) {
      this._headers.authorization = `Basic ${Buffer.from(auth).toString('base64')}`
    }
    if (onresponse) this.once('response', onresponse)
    if (opts.timeout) this.setTimeout(opts.timeout)
    agent.addRequest(this, { ...opts, host, port, path: undefined })
  }

  _attach(socket) {
    this._socket = socket
    this.emit('socket', socket)
    const cb = this._opened
    this._opened = null
    if (cb !== null) cb(null)
  }

  _open(cb) {
    if (this._socket !== null) return cb(null)
    this._opened = cb
  }

  abort() {
    this.destroy()
  }

  // Methods without a body by nature say nothing of its length.
  _announcesEmpty() {
    return !['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE', 'CONNECT'].includes(this.method)
  }

  _head() {
    const fields = this._headers
    this._close = headers.hasToken(fields.connection, 'close') || !this._agent.keepAlive
    let head = `${this.method} ${this.path} HTTP/1.1\r\n` + headers.serialize(fields)
    if (fields.connection === undefined) head += `Connection: ${this._close ? 'close' : 'keep-alive'}\r\n`
    return head + '\r\n'
  }

  _finished() {
    const connection = ClientConnection.for(this._socket)
    if (connection.req === this) connection.sent(true)
  }

  _predestroy() {
    super._predestroy()
    const connection = this._socket === null ? null : ClientConnection.for(this._socket)
    // A request that is given up before its response is read takes the connection with it.
    if (connection !== null && connection.req === this && !this._upgrade) this._socket.destroy()
    if (this._opened !== null) this._opened(null)
    this._opened = null
  }
}

module.exports = { Agent, ClientRequest, ClientConnection }
