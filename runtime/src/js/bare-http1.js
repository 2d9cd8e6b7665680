// bare-http1 4.6: HTTP/1.1, both sides.

const constants = require('bare-http1/constants')
const { errors } = require('bare-http1/headers')
const { IncomingMessage, OutgoingMessage } = require('bare-http1/messages')
const { Server, ServerResponse, ServerConnection } = require('bare-http1/server')
const { Agent, ClientRequest, ClientConnection } = require('bare-http1/client')

const ports = { 'http:': 80, 'ws:': 80, 'https:': 443, 'wss:': 443 }

// The arguments of `request` as its options; what the options say goes before what the URL says.
function toOptions(url, opts) {
  if (typeof url === 'string') url = new URL(url)
  if (typeof url.pathname !== 'string' || typeof url.hostname !== 'string') {
    opts = { ...url }
    return { ...opts, host: opts.hostname || opts.host, port: opts.port && Number(opts.port) }
  }
  const port = url.port ? Number(url.port) : ports[url.protocol]
  const auth = url.username || url.password ? `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}` : undefined
  const host = opts.hostname || opts.host || url.hostname.replace(/^\[|\]$/g, '')
  return { protocol: url.protocol, path: url.pathname + url.search, auth, port, ...opts, host }
}

exports.toOptions = toOptions

exports.request = function request(url, opts, onresponse) {
  if (typeof opts === 'function') [opts, onresponse] = [{}, opts]
  opts = toOptions(url, opts || {})
  const { protocol } = opts
  if (protocol && protocol !== 'http:' && protocol !== 'ws:') {
    throw errors.INVALID_PROTOCOL(`Unsupported protocol: ${JSON.stringify(protocol)}`)
  }
  return new ClientRequest(opts, onresponse)
}

exports.get = function get(url, opts, onresponse) {
  const req = exports.request(url, opts, onresponse)
  req.end()
  return req
}

exports.createServer = (opts, onrequest) => new Server(opts, onrequest)

Object.assign(exports, { IncomingMessage, OutgoingMessage, Agent, Server, ServerResponse, ServerConnection })
Object.assign(exports, { ClientRequest, ClientConnection, constants, errors })
exports.globalAgent = Agent.global
exports.METHODS = Object.values(constants.method)
exports.STATUS_CODES = constants.status
Object.defineProperty(exports, 'toOptions', { enumerable: false })
