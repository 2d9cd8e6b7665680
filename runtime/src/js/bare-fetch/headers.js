// The web's Headers: names in any case, values without white space around them, in the order of the alphabet.

const errors = require('bare-fetch/errors')

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

function checked(name, value) {
  name = String(name)
  if (!token.test(name)) throw errors.INVALID_HEADER_NAME(`Invalid header name '${name}'`)
  if (value === undefined) return [name.toLowerCase()]
  value = String(value).replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, '')
  if (/[\0\r\n]/.test(value)) throw errors.INVALID_HEADER_VALUE('Invalid header value')
  return [name.toLowerCase(), value]
}

module.exports = class Headers {
  constructor(init) {
    // name → the values that were appended.
    this._fields = new Map()
    if (init === undefined || init === null) return
    const pairs = typeof init[Symbol.iterator] === 'function' ? init : Object.entries(init)
    for (const [name, value] of pairs) {
      if (Array.isArray(value)) for (const one of value) this.append(name, one)
      else this.append(name, value)
    }
  }

  append(name, value) {
    ;[name, value] = checked(name, value)
    if (!this._fields.has(name)) this._fields.set(name, [])
    this._fields.get(name).push(value)
  }

  set(name, value) {
    ;[name, value] = checked(name, value)
    this._fields.set(name, [value])
  }

  get(name) {
    const values = this._fields.get(checked(name)[0])
    return values === undefined ? null : values.join(', ')
  }

  has(name) {
    return this._fields.has(checked(name)[0])
  }

  delete(name) {
    this._fields.delete(checked(name)[0])
  }

  getSetCookie() {
    return [...(this._fields.get('set-cookie') || [])]
  }

  forEach(callback, thisArg) {
    for (const [name, value] of this) callback.call(thisArg, value, name, this)
  }

  entries() {
    return this[Symbol.iterator]()
  }

  *keys() {
    for (const [name] of this) yield name
  }

  *values() {
    for (const [, value] of this) yield value
  }

  *[Symbol.iterator]() {
    for (const name of [...this._fields.keys()].sort()) {
      // A cookie has commas of its own.
      if (name === 'set-cookie') for (const value of this.getSetCookie()) yield [name, value]
      else yield [name, this._fields.get(name).join(', ')]
    }
  }
}
