// bare-https 3.1: HTTP over TLS.

const http = require('bare-http1')
const tcp = require('bare-tcp')
const tls = require('bare-tls')
const { HTTPServer } = require('bare-http1/server')

class Agent extends http.Agent {
  constructor(opts = {}) {
    super({ defaultPort: 443, ...opts })
  }

  createConnection(opts) {
    return new tls.Socket(super.createConnection(opts), opts)
  }
}

Agent.global = new Agent({ keepAlive: 1000, timeout: 5000 })

class ClientRequest extends http.ClientRequest {
  constructor(opts = {}, onresponse) {
    if (typeof opts === 'function') [opts, onresponse] = [{}, opts]
    super({ ...opts, agent: opts.agent === false ? new Agent() : opts.agent || Agent.global }, onresponse)
  }
}

class Server extends HTTPServer(tcp.Server) {
  constructor(opts = {}, onrequest) {
    if (typeof opts === 'function') [opts, onrequest] = [{}, opts]
    super({ ...opts, allowHalfOpen: true })
    this._init(opts, onrequest, (raw) => new tls.Socket(raw, { ...opts, isServer: true }))
  }
}

exports.request = function request(url, opts, onresponse) {
  if (typeof opts === 'function') [opts, onresponse] = [{}, opts]
  opts = http.toOptions(url, opts || {})
  const { protocol } = opts
  if (protocol && protocol !== 'https:' && protocol !== 'wss:') {
    throw http.errors.INVALID_PROTOCOL(`Unsupported protocol: ${JSON.stringify(protocol)}`)
  }
  return new ClientRequest(opts, onresponse)
}

exports.get = function get(url, opts, onresponse) {
  const req = exports.request(url, opts, onresponse)
  req.end()
  return req
}

exports.createServer = (opts, onrequest) => new Server(opts, onrequest)
Object.assign(exports, { Agent, ClientRequest, Server })
exports.globalAgent = Agent.global
for (const name of ['IncomingMessage', 'OutgoingMessage', 'ServerResponse', 'METHODS', 'STATUS_CODES', 'constants', 'errors']) {
  exports[name] = http[name]
}
