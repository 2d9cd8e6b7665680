// Header fields: what may be in them, and how they are written.

const errors = require('pome-io/errors')('HTTPError', [
  'NOT_IMPLEMENTED',
  'CONNECTION_LOST',
  'AGENT_SUSPENDED',
  'INVALID_HEADER_NAME',
  'INVALID_HEADER_VALUE',
  'INVALID_STATUS_CODE',
  'HEADERS_SENT',
  'INVALID_CONTENT_LENGTH',
  'CONTENT_LENGTH_MISMATCH',
  'INVALID_BODY',
  'INVALID_TRANSFER_ENCODING',
  'BODY_TOO_LARGE',
  'UNEXPECTED_RESPONSE',
  'UNEXPECTED_REQUEST',
  'REQUEST_TIMEOUT',
  'INVALID_PROTOCOL'
])

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/
// A line end in a value would begin another field.
const badInValue = /[^\t\x20-\x7e\x80-\xff]/
const badInPath = /[^\u0021-\u00ff]|\s/

exports.errors = errors

exports.checkName = function checkName(name) {
  if (typeof name !== 'string' || !token.test(name)) {
    throw errors.INVALID_HEADER_NAME(`Invalid header name: ${JSON.stringify(name)}`)
  }
  if (name.toLowerCase() === '__proto__') {
    throw errors.INVALID_HEADER_NAME(`Unsafe header name: ${JSON.stringify(name)}`)
  }
}

exports.checkValue = function checkValue(name, value) {
  if (value === undefined) throw errors.INVALID_HEADER_VALUE(`Missing header value for ${JSON.stringify(name)}`)
  for (const part of Array.isArray(value) ? value : [value]) {
    if (badInValue.test(String(part))) {
      throw errors.INVALID_HEADER_VALUE(`Invalid character in header value for ${JSON.stringify(name)}`)
    }
  }
}

exports.checkMethod = function checkMethod(method) {
  if (typeof method !== 'string' || !token.test(method)) {
    throw errors.INVALID_HEADER_NAME(`Invalid HTTP method: ${JSON.stringify(method)}`)
  }
}

exports.checkPath = function checkPath(path) {
  if (typeof path !== 'string' || path.length === 0 || badInPath.test(path)) {
    throw errors.INVALID_HEADER_VALUE(`Invalid character in request path: ${JSON.stringify(path)}`)
  }
}

exports.checkStatus = function checkStatus(code) {
  if (!Number.isInteger(code) || code < 100 || code > 999) {
    throw errors.INVALID_STATUS_CODE(`Invalid status code: ${JSON.stringify(code)}`)
  }
}

exports.checkReason = function checkReason(reason) {
  if (badInValue.test(reason)) throw errors.INVALID_HEADER_VALUE('Invalid character in status message')
}

exports.contentLength = function contentLength(value) {
  const text = String(Array.isArray(value) && value.length === 1 ? value[0] : value)
  const length = Number(text)
  if (!/^[0-9]+$/.test(text) || !Number.isSafeInteger(length)) {
    throw errors.INVALID_CONTENT_LENGTH(`Invalid content length: ${JSON.stringify(value)}`)
  }
  return length
}

// Fields by lower-case name. No prototype: a field of any name is only ever a field.
exports.normalize = function normalize(headers) {
  const fields = Object.create(null)
  for (const name of Object.keys(headers || {})) {
    exports.checkName(name)
    exports.checkValue(name, headers[name])
    fields[name.toLowerCase()] = headers[name]
  }
  return fields
}

// What came over the wire, as name, value, name, value. Fields that may come more than once are joined, `set-cookie` is a list.
exports.collect = function collect(pairs) {
  const fields = Object.create(null)
  for (let i = 0; i < pairs.length; i += 2) {
    const [name, value] = [pairs[i], pairs[i + 1]]
    if (name === 'set-cookie') {
      if (fields[name] === undefined) fields[name] = [value]
      else fields[name].push(value)
    } else if (fields[name] === undefined) fields[name] = value
    else fields[name] += (name === 'cookie' ? '; ' : ', ') + value
  }
  return fields
}

exports.hasToken = function hasToken(value, wanted) {
  if (value === undefined || value === null) return false
  const words = (Array.isArray(value) ? value.join(',') : String(value)).split(',')
  return words.some((word) => word.trim().toLowerCase() === wanted)
}

// Whether the sender of these fields closes the connection after the message.
exports.isClosing = function isClosing(headers, version) {
  if (exports.hasToken(headers.connection, 'close')) return true
  return version === '1.0' && !exports.hasToken(headers.connection, 'keep-alive')
}

exports.serialize = function serialize(headers) {
  let text = ''
  for (const name of Object.keys(headers)) {
    const value = headers[name]
    if (value === null) continue
    const written = name.replace(/(^|-)([a-z])/g, (match) => match.toUpperCase())
    const isCookie = name === 'cookie'
    const lines = Array.isArray(value) ? (isCookie ? [value.join('; ')] : value) : [value]
    for (const line of lines) {
      exports.checkValue(name, line)
      text += `${written}: ${line}\r\n`
    }
  }
  return text
}
