// bare-zlib 1.4: deflate, zlib and gzip.

const { Transform, Writable } = require('bare-stream')
const constants = require('bare-zlib/constants')
const errors = require('pome-io/errors')('ZlibError', [
  'STREAM_CLOSED',
  'STREAM_ERROR',
  'DATA_ERROR',
  'MEM_ERROR',
  'BUF_ERROR',
  'VERSION_ERROR',
  'UNKNOWN_ERROR',
  'LIMIT_EXCEEDED'
])

const ZLIB = 0
const RAW = 1
const GZIP = 2
const nothing = Buffer.alloc(0)

class State {
  constructor(wrapping, isCompressing, opts = {}) {
    const {
      flush = constants.Z_NO_FLUSH,
      finishFlush = constants.Z_FINISH,
      level = constants.Z_DEFAULT_LEVEL,
      windowBits = constants.Z_DEFAULT_WINDOWBITS,
      maxOutputLength = 0x100000000
    } = opts
    this.flushMode = flush
    this.finishFlush = finishFlush
    this.native = new native.Codecs(wrapping, isCompressing, level, windowBits, maxOutputLength)
  }

  run(data, flush) {
    try {
      return Buffer.from(this.native.run(data, flush))
    } catch (err) {
      throw Object.hasOwn(errors, err.code) ? errors[err.code](err.message) : err
    }
  }

  transform(data) {
    return this.run(data, this.flushMode)
  }

  finish() {
    return this.run(nothing, this.finishFlush)
  }
}

class ZlibStream extends Transform {
  constructor(wrapping, isCompressing, opts = {}) {
    const { flush, ...rest } = opts
    super(rest)
    this._state = new State(wrapping, isCompressing, opts)
  }

  async flush(mode = constants.Z_FULL_FLUSH, cb) {
    if (typeof mode === 'function') [mode, cb] = [constants.Z_FULL_FLUSH, mode]
    await Writable.drained(this)
    if (this._state !== null) {
      const rest = this._state.run(nothing, mode)
      if (rest.byteLength > 0) this.push(rest)
    }
    if (cb) cb(null)
  }

  reset() {
    if (this._state === null) throw errors.STREAM_CLOSED('Stream has already closed')
    this._state.native.reset()
  }

  _transform(data, encoding, cb) {
    this._run(() => this._state.transform(data), cb)
  }

  _flush(cb) {
    this._run(() => this._state.finish(), cb)
    this._state = null
  }

  _run(run, cb) {
    try {
      const data = run()
      if (data.byteLength > 0) this.push(data)
    } catch (err) {
      return cb(err)
    }
    cb(null)
  }
}

for (const [name, wrapping, isCompressing] of [
  ['Deflate', ZLIB, true],
  ['Inflate', ZLIB, false],
  ['DeflateRaw', RAW, true],
  ['InflateRaw', RAW, false],
  ['Gzip', GZIP, true],
  ['Gunzip', GZIP, false]
]) {
  const type = {
    [name]: class extends ZlibStream {
      constructor(opts) {
        super(wrapping, isCompressing, opts)
      }
    }
  }[name]
  const call = name[0].toLowerCase() + name.slice(1)

  exports[name] = type
  exports['create' + name] = (opts) => new type(opts)

  exports[call] = (buffer, opts, cb) => {
    if (typeof opts === 'function') [opts, cb] = [{}, opts]
    const chunks = []
    const stream = new type(opts)
    let isDone = false
    stream
      .on('data', (chunk) => chunks.push(chunk))
      .on('end', () => settle(null, Buffer.concat(chunks)))
      .on('error', (err) => settle(err))
      .end(buffer)
    function settle(err, result) {
      if (isDone) return
      isDone = true
      if (err) cb(err)
      else cb(null, result)
    }
  }

  exports[call + 'Sync'] = (buffer, opts) => {
    if (typeof buffer === 'string') buffer = Buffer.from(buffer)
    const state = new State(wrapping, isCompressing, opts)
    return Buffer.concat([state.transform(buffer), state.finish()])
  }
}

exports.constants = constants
exports.errors = errors
