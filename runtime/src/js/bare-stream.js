// bare-stream 2.13: streamx with the calling conventions of Node's streams.
//
// A chunk that is a string becomes a Buffer; a writable side carries `{ chunk, encoding }` pairs to
// `_write(chunk, encoding, cb)`; `_read(size)` and `_destroy(err, cb)` have Node's arguments. The
// package makes each of its four classes by hand; here they are made by one function from
// streamx's class, and differ in what that class has.

const Buffer = require('bare-buffer')
const streamx = require('streamx')

const READ_SIZE = 65536

function toChunk(chunk, encoding) {
  return typeof chunk === 'string' ? Buffer.from(chunk, encoding || 'utf8') : chunk
}

function toPair(chunk, encoding) {
  if (typeof chunk !== 'string') return { chunk, encoding: 'buffer' }
  return { chunk: toChunk(chunk, encoding), encoding: encoding || 'utf8' }
}

function pairLength({ chunk }) {
  return chunk.byteLength
}

// The owner's methods are written for Node's arguments: put an adapter before each that there is.
function adapt(stream, base) {
  const { _read, _write, _transform, _destroy, _construct } = stream
  const readable = stream._readableState !== null
  const transforms = base.prototype._transform !== undefined

  if (_construct) stream._open = _construct

  if (readable && !transforms && _read !== base.prototype._read) {
    stream._read = function read(cb) {
      _read.call(this, READ_SIZE)
      cb(null)
    }
  }
  if (transforms) {
    const own = _transform !== base.prototype._transform
    stream._transform = function transform({ chunk, encoding }, cb) {
      if (own) _transform.call(this, chunk, encoding, cb)
      else cb(null, chunk)
    }
    return
  }
  if (stream._writableState !== null && _write !== base.prototype._write) {
    stream._write = function write({ chunk, encoding }, cb) {
      _write.call(this, chunk, encoding, cb)
    }
  }
  if (_destroy !== base.prototype._destroy) {
    stream._destroy = function destroy(cb) {
      _destroy.call(this, streamx.getStreamError(this), cb)
    }
  }
}

const readableMethods = (base) => ({
  push(chunk, encoding) {
    return base.prototype.push.call(this, toChunk(chunk, encoding))
  },

  unshift(chunk, encoding) {
    base.prototype.unshift.call(this, toChunk(chunk, encoding))
  }
})

const writableMethods = (base) => ({
  write(chunk, encoding, cb) {
    if (typeof encoding === 'function') {
      cb = encoding
      encoding = null
    }
    const room = base.prototype.write.call(this, toPair(chunk, encoding))
    if (cb) streamx.Writable.drained(this).then(() => cb(null), cb)
    return room
  },

  end(chunk, encoding, cb) {
    if (typeof chunk === 'function') {
      cb = chunk
      chunk = null
    } else if (typeof encoding === 'function') {
      cb = encoding
      encoding = null
    }
    const nothing = chunk === undefined || chunk === null
    base.prototype.end.call(this, nothing ? undefined : toPair(chunk, encoding))
    if (cb) this.once('finish', () => cb(null))
    return this
  }
})

function define(target, methods) {
  for (const [name, value] of Object.entries(methods)) {
    Object.defineProperty(target, name, { value, writable: true, configurable: true })
  }
}

// Options that change chunks are not Node's: they are left out.
function plain(opts, writes) {
  return {
    ...opts,
    byteLength: null,
    byteLengthReadable: null,
    byteLengthWritable: writes ? pairLength : null,
    map: null,
    mapReadable: null,
    mapWritable: null
  }
}

async function dispose(stream) {
  if (!stream.destroyed) stream.destroy()
  await new Promise((resolve) => finished(stream, resolve))
}

class Readable extends streamx.Readable {
  constructor(opts = {}) {
    super(plain(opts, false))
    adapt(this, streamx.Readable)
  }

  get closed() {
    return !isReadable(this)
  }

  get errored() {
    return streamx.getStreamError(this)
  }

  static fromWeb(readableStream, opts = {}) {
    const { _stream: stream } = readableStream
    if (opts.encoding) stream.setEncoding(opts.encoding)
    if (opts.signal) addAbortSignal(opts.signal, stream)
    return stream
  }

  static toWeb(readable, opts = {}) {
    const { ReadableStream } = require('bare-stream/web')
    return new ReadableStream(readable, opts.strategy)
  }

  [Symbol.asyncDispose]() {
    return dispose(this)
  }
}

class Writable extends streamx.Writable {
  constructor(opts = {}) {
    super(plain(opts, true))
    adapt(this, streamx.Writable)
  }

  get closed() {
    return !isWritable(this)
  }

  get errored() {
    return streamx.getStreamError(this)
  }

  static fromWeb(writableStream, opts = {}) {
    const { _stream: stream } = writableStream
    if (opts.signal) addAbortSignal(opts.signal, stream)
    return stream
  }

  static toWeb(writable) {
    const { WritableStream } = require('bare-stream/web')
    return new WritableStream(writable)
  }

  [Symbol.asyncDispose]() {
    return dispose(this)
  }
}

class Duplex extends streamx.Duplex {
  constructor(opts = {}) {
    super(plain(opts, true))
    adapt(this, streamx.Duplex)
  }

  static fromWeb({ readable: readableStream, writable: writableStream }, opts) {
    const readable = Readable.fromWeb(readableStream, opts)
    const writable = Writable.fromWeb(writableStream, opts)
    const duplex = new Duplex({
      write(chunk, encoding, cb) {
        writable.write(chunk, encoding, cb)
      }
    })
    const fail = (err) => duplex.destroy(err)
    readable.on('data', (chunk) => duplex.push(chunk))
    readable.on('end', () => duplex.push(null))
    readable.on('error', fail)
    writable.on('finish', () => duplex.end())
    writable.on('error', fail)
    return duplex
  }

  static toWeb(duplex) {
    return { readable: Readable.toWeb(duplex), writable: Writable.toWeb(duplex) }
  }
}

class Transform extends streamx.Transform {
  constructor(opts = {}) {
    super(plain(opts, true))
    adapt(this, streamx.Transform)
  }
}

class PassThrough extends Transform {}

define(Readable.prototype, readableMethods(streamx.Readable))
define(Writable.prototype, writableMethods(streamx.Writable))
define(Duplex.prototype, { ...readableMethods(streamx.Duplex), ...writableMethods(streamx.Duplex) })
define(Transform.prototype, {
  ...readableMethods(streamx.Transform),
  ...writableMethods(streamx.Transform)
})

// One end of a pair: what is written here is read there, and is done when it has been read.
class DuplexSide extends Duplex {
  constructor(opts) {
    super(opts)
    this._otherSide = null
    this._cb = null
  }

  _read() {
    const cb = this._cb
    this._cb = null
    if (cb !== null) cb()
  }

  _write(chunk, encoding, cb) {
    const other = this._otherSide
    other.push(chunk, encoding)
    other._cb = cb
  }

  _final(cb) {
    this._otherSide.on('end', cb)
    this._otherSide.push(null)
  }
}

function duplexPair(opts) {
  const a = new DuplexSide(opts)
  const b = new DuplexSide(opts)
  a._otherSide = b
  b._otherSide = a
  return [a, b]
}

function isReadable(stream) {
  return stream.readable && !stream.destroying && !streamx.isEnded(stream)
}

function isWritable(stream) {
  return stream.writable && !stream.destroying && !streamx.isFinishing(stream)
}

function addAbortSignal(signal, stream) {
  const abort = () => stream.destroy(signal.reason)
  if (signal.aborted) abort()
  else signal.addEventListener('abort', abort)
  return stream
}

function ignore() {}

function finished(stream, opts, cb) {
  if (typeof opts === 'function') {
    cb = opts
    opts = {}
  }
  const { cleanup = false } = opts || {}

  const done = () => {
    cb(streamx.getStreamError(stream, { all: true }))
    if (cleanup) detach()
  }
  const detach = () => {
    stream.off('close', done)
    stream.off('error', ignore)
  }

  if (stream.destroyed) {
    done()
  } else {
    stream.on('close', done)
    stream.on('error', ignore)
  }
  return detach
}

module.exports = exports = streamx.Stream

exports.Stream = streamx.Stream
exports.Readable = Readable
exports.Writable = Writable
exports.Duplex = Duplex
exports.Transform = Transform
exports.PassThrough = PassThrough
exports.duplexPair = duplexPair
exports.pipeline = streamx.pipeline
exports.finished = finished
exports.addAbortSignal = addAbortSignal
exports.isStream = streamx.isStream
exports.isEnding = streamx.isEnding
exports.isEnded = streamx.isEnded
exports.isFinishing = streamx.isFinishing
exports.isFinished = streamx.isFinished
exports.isDisturbed = streamx.isDisturbed
exports.getStreamError = streamx.getStreamError
exports.isReadable = isReadable
exports.isWritable = isWritable
exports.isErrored = function isErrored(stream) {
  return streamx.getStreamError(stream) !== null
}
