// bare-url 2.5: URL and URLSearchParams of the WHATWG standard.
//
// Parsing and the setters are the native parser's. It answers with the whole URL as text and the
// places of its parts, so that the getters are slices.

const URLError = require('bare-url/errors')
const URLSearchParams = require('bare-url/search-params')
const path = require('bare-path')

const kind = Symbol.for('bare.url.kind')
const isWindows = Bare.platform === 'win32'

// The places in the order in which the native half tells them.
const SCHEME_END = 0
const USERNAME_END = 1
const HOST_START = 2
const HOST_END = 3
const PATH_START = 4
const QUERY_START = 5
const FRAGMENT_START = 6

class URL {
  static get [kind]() {
    return 0
  }

  constructor(input, base, opts) {
    if (arguments.length === 0) throw URLError.INVALID_URL()
    input = String(input)
    const parsed = native.parse(input, base === undefined ? undefined : String(base))
    if (parsed === undefined && !(opts && opts.throw === false)) {
      throw URLError.INVALID_URL(`Invalid URL '${input}'`, input)
    }
    this._href = undefined
    this._places = undefined
    this._params = null
    if (parsed !== undefined) this._take(parsed)
  }

  get [kind]() {
    return 0
  }

  _take([href, ...places]) {
    this._href = href
    this._places = places
    if (this._params !== null) this._params._parse(this.search)
  }

  // What a setter is given and the parser does not take leaves the URL as it was.
  _set(part, value) {
    const parsed = native.set(this._href, part, String(value))
    if (parsed !== undefined) this._take(parsed)
  }

  get href() {
    return this._href
  }

  set href(value) {
    const parsed = native.parse(String(value))
    if (parsed === undefined) throw URLError.INVALID_URL(`Invalid URL '${value}'`, String(value))
    this._take(parsed)
  }

  get origin() {
    return native.origin(this._href)
  }

  get protocol() {
    return this._href.slice(0, this._places[SCHEME_END] + 1)
  }

  set protocol(value) {
    this._set('protocol', value)
  }

  get username() {
    const start = this._places[SCHEME_END] + 3
    return this._href.slice(start, Math.max(start, this._places[USERNAME_END]))
  }

  set username(value) {
    this._set('username', value)
  }

  get password() {
    const start = this._places[USERNAME_END] + 1
    return this._href.slice(start, Math.max(start, this._places[HOST_START] - 1))
  }

  set password(value) {
    this._set('password', value)
  }

  get host() {
    return this._href.slice(this._places[HOST_START], this._places[PATH_START])
  }

  set host(value) {
    this._set('host', value)
  }

  get hostname() {
    return this._href.slice(this._places[HOST_START], this._places[HOST_END])
  }

  set hostname(value) {
    this._set('hostname', value)
  }

  get port() {
    return this._href.slice(this._places[HOST_END] + 1, this._places[PATH_START])
  }

  set port(value) {
    this._set('port', value)
  }

  get pathname() {
    return this._href.slice(this._places[PATH_START], this._places[QUERY_START])
  }

  set pathname(value) {
    this._set('pathname', value)
  }

  get search() {
    return this._href.slice(this._places[QUERY_START], this._places[FRAGMENT_START])
  }

  set search(value) {
    this._set('search', value)
  }

  get searchParams() {
    if (this._params === null) this._params = new URLSearchParams(this.search, this)
    return this._params
  }

  get hash() {
    return this._href.slice(this._places[FRAGMENT_START])
  }

  set hash(value) {
    this._set('hash', value)
  }

  toString() {
    return this._href
  }

  toJSON() {
    return this._href
  }

  [Symbol.for('bare.inspect')]() {
    const { href, protocol, username, password, host, hostname, port, pathname } = this
    const { search, searchParams, hash } = this
    return {
      __proto__: { constructor: URL },
      href,
      protocol,
      username,
      password,
      host,
      hostname,
      port,
      pathname,
      search,
      searchParams,
      hash
    }
  }
}

module.exports = exports = URL

exports.URL = URL
exports.URLSearchParams = URLSearchParams
exports.errors = URLError

exports.isURL = function isURL(value) {
  if (value instanceof URL) return true
  return typeof value === 'object' && value !== null && value[kind] === 0
}

exports.isURLSearchParams = URLSearchParams.isURLSearchParams

exports.parse = function parse(input, base) {
  const url = new URL(input, base, { throw: false })
  return url._href === undefined ? null : url
}

exports.canParse = function canParse(input, base) {
  return exports.parse(input, base || undefined) !== null
}

exports.fileURLToPath = function fileURLToPath(url) {
  if (typeof url === 'string') url = new URL(url)
  if (url.protocol !== 'file:') {
    throw URLError.INVALID_URL_SCHEME('The URL must use the file: protocol')
  }
  if (!isWindows && url.hostname) {
    throw URLError.INVALID_FILE_URL_HOST("The file: URL host must be 'localhost' or empty")
  }

  const { pathname } = url
  const separators = isWindows ? /%2f|%5c/i : /%2f/i
  if (separators.test(pathname)) {
    const which = isWindows ? '\\ or /' : '/'
    throw URLError.INVALID_FILE_URL_PATH(
      `The file: URL path must not include encoded ${which} characters`
    )
  }
  if (/%00/i.test(pathname)) {
    throw URLError.INVALID_FILE_URL_PATH(
      'The file: URL path must not include encoded NUL characters'
    )
  }

  const result = path.normalize(decodeURIComponent(pathname))
  if (!isWindows) return result
  if (url.hostname) return '\\\\' + url.hostname + result
  if (!/^.[a-zA-Z]:/.test(result)) {
    throw URLError.INVALID_FILE_URL_PATH('The file: URL path must be absolute')
  }
  return result.slice(1)
}

// What means something else in a URL than in a path.
const RESERVED = isWindows ? /[%#?\n\r\t]/g : /[%#?\n\r\t\\]/g

function encodePath(text) {
  return text.replace(RESERVED, (char) => '%' + char.charCodeAt(0).toString(16).padStart(2, '0'))
}

exports.pathToFileURL = function pathToFileURL(pathname) {
  const unc = isWindows && pathname.startsWith('\\\\')
  let resolved = unc ? pathname : path.resolve(pathname)
  if (unc) {
    const [, host, rest] = /^\\\\(?:\?\\UNC\\)?([^\\]*)(.*)$/s.exec(resolved)
    if (rest === '') throw URLError.INVALID_ARG_VALUE('Missing UNC resource path')
    if (host === '') throw URLError.INVALID_ARG_VALUE('Empty UNC servername')
    return new URL('file://' + host + encodePath(rest))
  }
  // Resolving takes a separator off the end, which says that this is a folder.
  if (pathname.endsWith('/') || (isWindows && pathname.endsWith('\\'))) resolved += '/'
  return new URL('file:' + encodePath(resolved))
}

exports.format = function format(parts) {
  const { protocol, auth, host, hostname, port, pathname, search, query, hash, slashes } = parts
  const lead = (mark, text) => (text.startsWith(mark) ? text : mark + text)

  let text = ''
  if (typeof protocol === 'string') {
    text += protocol.endsWith(':') ? protocol : protocol + ':'
    if (slashes === true || /https?|ftp|gopher|file/.test(protocol)) text += '//'
  }
  if (typeof auth === 'string' && (host || hostname)) text += auth + '@'
  if (typeof host === 'string') text += host
  else text += hostname + (port ? ':' + port : '')
  if (typeof pathname === 'string' && pathname !== '') text += lead('/', pathname)
  if (typeof search === 'string') text += lead('?', search)
  else if (typeof query === 'object' && query !== null) text += '?' + new URLSearchParams(query)
  if (typeof hash === 'string') text += lead('#', hash)
  return text
}
