// bare-fetch 3.2: the web's fetch over bare-http1 and bare-https.

const http = require('bare-http1')
const https = require('bare-https')
const Body = require('bare-fetch/body')
const Headers = require('bare-fetch/headers')
const errors = require('bare-fetch/errors')

const REDIRECTS_MAX = 20
const isRedirect = (status) => [301, 302, 303, 307, 308].includes(status)

class Request extends Body {
  constructor(input, init = {}) {
    const from = input instanceof Request ? input : null
    super(init.body !== undefined ? init.body : from !== null ? from._copy() : null)
    try {
      this._url = from !== null ? from._url : new URL(input)
    } catch (err) {
      throw errors.INVALID_URL('Invalid URL', err)
    }
    const method = String(init.method || (from !== null ? from.method : 'GET'))
    if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(method)) throw errors.INVALID_METHOD(`Invalid method '${method}'`)
    if (['CONNECT', 'TRACE', 'TRACK'].includes(method.toUpperCase())) {
      throw errors.FORBIDDEN_METHOD(`Method '${method}' is forbidden`)
    }
    const common = ['DELETE', 'GET', 'HEAD', 'OPTIONS', 'POST', 'PUT']
    this.method = common.includes(method.toUpperCase()) ? method.toUpperCase() : method
    this.headers = new Headers(init.headers || (from !== null ? from.headers : undefined))
    this.signal = init.signal || (from !== null ? from.signal : null)
    this.redirect = init.redirect || (from !== null ? from.redirect : 'follow')
    this._agent = init.agent || (from !== null ? from._agent : null)
    if (this._contentType !== null && !this.headers.has('content-type')) this.headers.set('content-type', this._contentType)
  }

  get url() {
    return this._url.href
  }

  clone() {
    return new Request(this)
  }
}

class Response extends Body {
  constructor(body = null, init = {}) {
    super(body)
    const { status = 200, statusText = '', headers } = init
    this.type = 'default'
    this.status = status
    this.statusText = statusText
    this.headers = new Headers(headers)
    this._urls = []
    if (this._contentType !== null && !this.headers.has('content-type')) this.headers.set('content-type', this._contentType)
  }

  get url() {
    return this._urls.length === 0 ? null : this._urls[this._urls.length - 1].href
  }

  get redirected() {
    return this._urls.length > 1
  }

  get ok() {
    return this.status >= 200 && this.status <= 299
  }

  clone() {
    const clone = new Response(this._copy(), this)
    clone.type = this.type
    clone._urls = [...this._urls]
    return clone
  }

  static error() {
    const response = new Response(null)
    response.type = 'error'
    response.status = 0
    return response
  }

  static redirect(url, status = 302) {
    let target
    try {
      target = new URL(url)
    } catch (err) {
      throw errors.INVALID_URL('Invalid URL', err)
    }
    if (!isRedirect(status)) throw errors.INVALID_REDIRECT_STATUS(`'${status}' is not a redirect status`)
    return new Response(null, { status, headers: { location: target.href } })
  }

  static json(data, init = {}) {
    let body
    try {
      body = JSON.stringify(data)
    } catch (err) {
      throw errors.INVALID_JSON('Data could not be serialized to JSON', err)
    }
    if (body === undefined) throw errors.INVALID_JSON('Data could not be serialized to JSON')
    const headers = new Headers(init.headers)
    if (!headers.has('content-type')) headers.set('content-type', 'application/json')
    return new Response(body, { ...init, headers })
  }
}

// One request on the wire; resolves to its response as bare-http1 has it.
function exchange(request, url, method, headers, body) {
  const protocol = { 'http:': http, 'https:': https }[url.protocol]
  if (protocol === undefined) throw errors.UNKNOWN_PROTOCOL(`Unknown protocol '${url.protocol}'`)
  return new Promise((resolve, reject) => {
    const { signal } = request
    const req = protocol.request(url, {
      agent: request._agent || protocol.globalAgent,
      method,
      headers: Object.fromEntries([...headers].map(([name]) => [name, headers.get(name)]))
    })
    let res = null
    const onabort = () => {
      reject(signal.reason)
      if (res !== null) res.destroy(signal.reason)
      req.destroy()
    }
    if (signal) signal.addEventListener('abort', onabort)
    const settled = () => signal && res === null && signal.removeEventListener('abort', onabort)
    req.on('response', (response) => {
      res = response
      // Who reads the body hears of a failure; who does not, does not care.
      res.on('error', () => {})
      if (signal) res.on('close', () => signal.removeEventListener('abort', onabort))
      resolve(res)
    })
    req.on('error', (err) => {
      settled()
      reject(errors.NETWORK_ERROR('Network error', err))
    })
    req.on('close', () => {
      settled()
      if (res === null) reject(errors.NETWORK_ERROR('Network error', http.errors.CONNECTION_LOST('Socket hung up')))
    })
    send(req, body)
  })
}

async function send(req, body) {
  try {
    if (body instanceof Uint8Array) return req.end(body)
    if (body !== null) for await (const piece of body._pieces()) req.write(piece)
    req.end()
  } catch (err) {
    req.destroy(err)
  }
}

async function fetch(input, init = {}) {
  const request = new Request(input, init)
  const { signal, headers } = request
  let { _url: url, method } = request
  let body = request._body === null ? null : request._body instanceof Uint8Array ? request._body : request
  if (!headers.has('user-agent')) headers.set('user-agent', `Bare/${Bare.version.slice(1)}`)
  const urls = []
  for (;;) {
    if (signal && signal.aborted) throw signal.reason
    if (urls.length > REDIRECTS_MAX) throw errors.TOO_MANY_REDIRECTS('Redirect count exceeded')
    urls.push(url)
    const res = await exchange(request, url, method, headers, body)
    const { location } = res.headers
    if (location && isRedirect(res.statusCode) && request.redirect === 'follow') {
      res.resume()
      const origin = url
      try {
        url = new URL(location, url)
      } catch (err) {
        throw errors.INVALID_URL('Invalid URL', err)
      }
      // Credentials are for the origin that they were given for.
      if (url.protocol !== origin.protocol || url.host !== origin.host) {
        headers.delete('authorization')
        headers.delete('cookie')
      }
      if (res.statusCode === 303 || (method === 'POST' && res.statusCode <= 302)) {
        if (method !== 'HEAD') method = 'GET'
        body = null
        headers.delete('content-type')
        headers.delete('content-length')
      } else if (body === request) throw errors.BODY_UNUSABLE('Body has already been consumed')
      continue
    }
    const response = new Response(res, { status: res.statusCode, statusText: res.statusMessage, headers: res.headers })
    response.type = 'basic'
    response._urls = urls
    return response
  }
}

module.exports = exports = fetch
Object.assign(exports, { fetch, Request, Response, Headers, errors })
