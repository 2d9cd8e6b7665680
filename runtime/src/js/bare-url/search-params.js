// bare-url 2.5: URLSearchParams. As in the package, values are kept by name, so that the order
// between different names is that of each name's first value.

const Buffer = require('bare-buffer')

const kind = Symbol.for('bare.url.search-params.kind')

// The URL that changes with its parameters. Not a property: nobody else may set it.
const owners = new WeakMap()

class URLSearchParams {
  static get [kind]() {
    return 0
  }

  constructor(init, url = null) {
    this._params = new Map()
    if (typeof init === 'string') {
      this._parse(init)
    } else if (init) {
      const entries = typeof init[Symbol.iterator] === 'function' ? init : Object.entries(init)
      for (const [name, value] of entries) this.append(name, value)
    }
    if (url) owners.set(this, url)
  }

  get [kind]() {
    return 0
  }

  get size() {
    let size = 0
    for (const values of this._params.values()) size += values.length
    return size
  }

  append(name, value = null) {
    if (value === null) return
    this._add(name, value)
    this._update()
  }

  delete(name, value = null) {
    const values = this._params.get(name)
    if (values === undefined) return
    const rest = value === null ? [] : values.filter((found) => found !== value)
    if (rest.length === 0) this._params.delete(name)
    else this._params.set(name, rest)
    this._update()
  }

  get(name) {
    const values = this._params.get(name)
    return values === undefined ? null : values[0]
  }

  getAll(name) {
    return [...(this._params.get(name) || [])]
  }

  has(name, value = null) {
    const values = this._params.get(name)
    return values !== undefined && (value === null || values.includes(value))
  }

  set(name, value = null) {
    if (value === null) this._params.delete(name)
    else this._params.set(name, [value])
    this._update()
  }

  sort() {
    this._params = new Map([...this._params].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
    this._update()
  }

  forEach(fn, thisArg) {
    for (const [name, value] of this) fn.call(thisArg, value, name, this)
  }

  *keys() {
    for (const [name] of this) yield name
  }

  *values() {
    for (const [, value] of this) yield value
  }

  entries() {
    return this[Symbol.iterator]()
  }

  *[Symbol.iterator]() {
    for (const [name, values] of this._params) {
      for (const value of values) yield [name, value]
    }
  }

  toString() {
    const pairs = []
    for (const [name, value] of this) pairs.push(encode(String(name)) + '=' + encode(String(value)))
    return pairs.join('&')
  }

  toJSON() {
    return [...this]
  }

  [Symbol.for('bare.inspect')]() {
    const object = { __proto__: { constructor: URLSearchParams } }
    for (const [name, values] of this._params) {
      object[name] = values.length === 1 ? values[0] : values
    }
    return object
  }

  _add(name, value) {
    const values = this._params.get(name)
    if (values === undefined) this._params.set(name, [value])
    else values.push(value)
  }

  _update() {
    const url = owners.get(this)
    if (url === undefined) return
    // Setting the search parses it again, into this very object: what it is now stays.
    const params = this._params
    url.search = this.toString()
    this._params = params
  }

  _parse(input) {
    this._params = new Map()
    for (const pair of (input[0] === '?' ? input.slice(1) : input).split('&')) {
      if (pair === '') continue
      const split = pair.indexOf('=')
      if (split === -1) this._add(decode(pair), '')
      else this._add(decode(pair.slice(0, split)), decode(pair.slice(split + 1)))
    }
  }
}

module.exports = exports = URLSearchParams

exports.isURLSearchParams = function isURLSearchParams(value) {
  if (value instanceof URLSearchParams) return true
  return typeof value === 'object' && value !== null && value[kind] === 0
}

// Form encoding leaves letters, digits and `*-._` as they are.
const SAFE = /^[\w*.-]*$/

// What encodeURIComponent leaves alone besides.
const REST = /[!'()~]/g

function encode(text) {
  if (SAFE.test(text)) return text
  return encodeURIComponent(text.toWellFormed())
    .replaceAll('%20', '+')
    .replace(REST, (char) => '%' + char.charCodeAt(0).toString(16).toUpperCase())
}

const ESCAPES = /(?:%[0-9a-fA-F]{2})+/g

// A `%` that begins no escape stays; bytes that are no UTF-8 become U+FFFD.
function decode(text) {
  text = text.replaceAll('+', ' ')
  if (!text.includes('%')) return text
  return text.replace(ESCAPES, (run) => Buffer.from(run.replaceAll('%', ''), 'hex').toString())
}
