// bare-form-data 1.2: the fields of a form, and files in them.

const crypto = require('bare-crypto')
const { ReadableStream } = require('bare-stream/web')
const errors = require('pome-io/errors')('FormDataError', ['INVALID_MIME_TYPE'])

function bytesOf(part) {
  if (typeof part === 'string') return Buffer.from(part)
  if (isBlob(part)) return part._bytes
  if (ArrayBuffer.isView(part)) return Buffer.from(part.buffer, part.byteOffset, part.byteLength)
  return Buffer.from(part)
}

class Blob {
  constructor(parts = [], options = {}) {
    const { type = '' } = options
    this._bytes = Buffer.concat(Array.from(parts, bytesOf))
    this._type = type
  }

  get size() {
    return this._bytes.byteLength
  }

  get type() {
    return this._type
  }

  stream() {
    const bytes = this._bytes
    return new ReadableStream({
      start(controller) {
        controller.enqueue(bytes)
        controller.close()
      }
    })
  }

  async buffer() {
    return Buffer.from(this._bytes)
  }

  bytes() {
    return this.buffer()
  }

  async arrayBuffer() {
    return new Uint8Array(this._bytes).buffer
  }

  async text() {
    return this._bytes.toString()
  }

  [Symbol.for('bare.inspect')]() {
    return { __proto__: { constructor: Blob }, size: this.size, type: this.type }
  }
}

class File extends Blob {
  constructor(parts, name, options = {}) {
    const { lastModified = Date.now() } = options
    super(parts, options)
    this._name = name
    this._lastModified = lastModified
  }

  get name() {
    return this._name
  }

  get lastModified() {
    return this._lastModified
  }

  [Symbol.for('bare.inspect')]() {
    const { size, type, name, lastModified } = this
    return { __proto__: { constructor: File }, size, type, name, lastModified }
  }
}

// Names may be there several times.
class FormData {
  constructor() {
    this._entries = []
  }

  append(name, value, filename) {
    if (typeof value !== 'string' && (filename || !isFile(value))) {
      value = new File([value], filename || 'blob', { type: value.type })
    }
    this._entries.push([name, value])
  }

  set(name, value, filename) {
    this.delete(name)
    this.append(name, value, filename)
  }

  delete(name) {
    this._entries = this._entries.filter(([other]) => other !== name)
  }

  has(name) {
    return this._entries.some(([other]) => other === name)
  }

  get(name) {
    const found = this._entries.find(([other]) => other === name)
    return found === undefined ? null : found[1]
  }

  getAll(name) {
    return this._entries.filter(([other]) => other === name).map(([, value]) => value)
  }

  [Symbol.iterator]() {
    return this._entries[Symbol.iterator]()
  }

  [Symbol.for('bare.inspect')]() {
    return { __proto__: { constructor: FormData }, entries: this._entries }
  }
}

const isBlob = (value) => value instanceof Blob
const isFile = (value) => value instanceof File
const isFormData = (value) => value instanceof FormData

// What a form is when it is sent: https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data
function toBlob(form, mimeType = 'multipart/form-data') {
  if (mimeType !== 'multipart/form-data') throw errors.INVALID_MIME_TYPE(`Invalid MIME type '${mimeType}'`)
  const boundary = crypto.randomBytes(16).toString('hex')
  const parts = []
  for (const [name, value] of form) {
    parts.push(`--${boundary}\r\nContent-Disposition: form-data; name="${quoted(lines(name))}"`)
    if (typeof value === 'string') parts.push(`\r\n\r\n${lines(value)}`)
    else {
      parts.push(`; filename="${quoted(value.name)}"\r\nContent-Type: ${value.type || 'application/octet-stream'}\r\n\r\n`, value)
    }
    parts.push('\r\n')
  }
  parts.push(`--${boundary}--\r\n`)
  return new Blob(parts, { type: 'multipart/form-data; boundary=' + boundary })
}

const escapes = { '\n': '%0A', '\r': '%0D', '"': '%22' }

function quoted(text) {
  return text.replace(/[\n\r"]/g, (character) => escapes[character])
}

function lines(text) {
  return text.replace(/\r?\n|\r/g, '\r\n')
}

module.exports = exports = FormData
exports.FormData = FormData
exports.Blob = Blob
exports.File = File
exports.isBlob = Blob.isBlob = isBlob
exports.isFile = File.isFile = isFile
exports.isFormData = isFormData
exports.toBlob = toBlob
