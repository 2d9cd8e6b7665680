// streamx 2.28: streams with an explicit open and destroy, and errors that travel along pipes.
//
// A stream is one state number (`_duplexState`) and one or two halves. Callbacks of the owner
// (`_open`, `_read`, `_write`, `_final`, `_destroy`) never overlap within a half, and nothing is
// called after `_destroy` has called back.

const EventEmitter = require('bare-events')
const ReadableHalf = require('streamx/readable-half')
const WritableHalf = require('streamx/writable-half')
const StreamError = require('streamx/error')
const {
  isStream,
  isStreamx,
  ignore,
  pipeline,
  pipelinePromise
} = require('streamx/pipeline')
const {
  OPENING,
  PREDESTROYING,
  DESTROYING,
  DESTROYED,
  READ_PRIMARY,
  READ_RESUMED,
  READ_ENDING,
  READ_EMIT_DATA,
  READ_EMIT_READABLE,
  READ_DONE,
  READ_READ_AHEAD,
  WRITE_PRIMARY,
  WRITE_UNDRAINED,
  WRITE_DONE,
  WRITE_EMIT_DRAIN,
  WRITE_FINISHING,
  WRITE_WRITING,
  WRITE_CORKED,
  DESTROY_STATUS,
  TICKING
} = require('streamx/state')

class Stream extends EventEmitter {
  constructor(opts) {
    super()
    this._duplexState = 0
    this._readableState = null
    this._writableState = null

    if (opts) {
      if (opts.open) this._open = opts.open
      if (opts.destroy) this._destroy = opts.destroy
      if (opts.predestroy) this._predestroy = opts.predestroy
      if (opts.signal) {
        opts.signal.addEventListener('abort', () => this.destroy(StreamError.ABORTED()))
      }
    }
  }

  // What a stream does depends on who listens, so registering is the place to look: an event of
  // its own for that ('newListener') would cost every other registration too.
  on(name, fn) {
    noteListener(this, name)
    return super.on(name, fn)
  }

  addListener(name, fn) {
    noteListener(this, name)
    return super.addListener(name, fn)
  }

  once(name, fn) {
    noteListener(this, name)
    return super.once(name, fn)
  }

  addOnceListener(name, fn) {
    noteListener(this, name)
    return super.addOnceListener(name, fn)
  }

  prependListener(name, fn) {
    noteListener(this, name)
    return super.prependListener(name, fn)
  }

  prependOnceListener(name, fn) {
    noteListener(this, name)
    return super.prependOnceListener(name, fn)
  }

  _open(cb) {
    cb(null)
  }

  _destroy(cb) {
    cb(null)
  }

  _predestroy() {}

  get readable() {
    return this._readableState !== null ? true : undefined
  }

  get writable() {
    return this._writableState !== null ? true : undefined
  }

  get destroyed() {
    return (this._duplexState & DESTROYED) !== 0
  }

  get destroying() {
    return (this._duplexState & DESTROY_STATUS) !== 0
  }

  destroy(err) {
    if ((this._duplexState & DESTROY_STATUS) !== 0) return
    if (!err) err = StreamError.STREAM_DESTROYED()
    const { _readableState: readable, _writableState: writable } = this

    this._duplexState = (this._duplexState | DESTROYING) & ~(READ_PRIMARY | WRITE_PRIMARY)
    for (const half of [readable, writable]) {
      if (half === null) continue
      half.highWaterMark = 0
      half.error = err
    }

    // While this runs, neither half may go on to destroy.
    this._duplexState |= PREDESTROYING
    this._predestroy()
    this._duplexState &= ~PREDESTROYING

    if (readable !== null) readable.updateNextTick()
    if (writable !== null) writable.updateNextTick()
  }
}

function noteListener(stream, name) {
  if (stream._readableState !== null) {
    if (name === 'data') {
      stream._duplexState |= READ_EMIT_DATA | READ_RESUMED | READ_READ_AHEAD
      stream._readableState.updateNextTick()
    } else if (name === 'readable') {
      stream._duplexState |= READ_EMIT_READABLE
      stream._readableState.updateNextTick()
    }
  }
  if (stream._writableState !== null && name === 'drain') {
    stream._duplexState |= WRITE_EMIT_DRAIN
    stream._writableState.updateNextTick()
  }
}

class Readable extends Stream {
  constructor(opts) {
    super(opts)
    this._duplexState |= OPENING | WRITE_DONE | READ_READ_AHEAD
    this._readableState = new ReadableHalf(this, opts)
    if (this._readableState.readAhead === false) this._duplexState &= ~READ_READ_AHEAD

    if (opts) {
      if (opts.read) this._read = opts.read
      if (opts.eagerOpen) this._readableState.updateNextTick()
      if (opts.encoding) this.setEncoding(opts.encoding)
    }
  }

  _read(cb) {
    cb(null)
  }

  setEncoding(encoding) {
    // Loaded when first asked for: few streams are decoded.
    const TextDecoder = require('text-decoder')
    const decoder = new TextDecoder(encoding)
    const half = this._readableState
    const map = half.map || ((data) => data)
    half.map = (data) => {
      const text = decoder.push(data)
      const partial = text === '' && (data.byteLength !== 0 || decoder.remaining > 0)
      return partial ? null : map(text)
    }
    return this
  }

  pipe(dest, cb) {
    this._readableState.updateNextTick()
    this._readableState.pipe(dest, cb)
    return dest
  }

  read() {
    this._readableState.updateNextTick()
    return this._readableState.read()
  }

  push(data) {
    this._readableState.updateNextTickIfOpen()
    return this._readableState.push(data)
  }

  unshift(data) {
    this._readableState.updateNextTickIfOpen()
    return this._readableState.unshift(data)
  }

  resume() {
    this._duplexState |= READ_RESUMED | READ_READ_AHEAD
    this._readableState.updateNextTick()
    return this
  }

  pause() {
    const ahead = this._readableState.readAhead === false ? READ_READ_AHEAD : 0
    this._duplexState &= ~(READ_RESUMED | ahead)
    return this
  }

  // A stream whose source is known later.
  static deferred(fn, opts) {
    const out = new PassThrough(opts)
    fn().then(
      (source) => {
        if (source === null) out.end()
        else if (!out.destroying) pipeline(source, out, ignore)
      }
    ).catch((err) => out.destroy(err))
    return out
  }

  static from(data, opts) {
    if (isStreamx(data) && data.readable) return data
    if (data !== undefined && data !== null && data[Symbol.asyncIterator]) {
      return fromAsyncIterator(data[Symbol.asyncIterator](), opts)
    }
    const list = Array.isArray(data) ? data : data === undefined ? [] : [data]
    let next = 0
    return new Readable({
      ...opts,
      read(cb) {
        this.push(next === list.length ? null : list[next++])
        cb(null)
      }
    })
  }

  static isBackpressured(stream) {
    const { buffered, highWaterMark } = stream._readableState
    const closed = DESTROY_STATUS | READ_ENDING | READ_DONE
    return (stream._duplexState & closed) !== 0 || buffered >= highWaterMark
  }

  static isPaused(stream) {
    return (stream._duplexState & READ_RESUMED) === 0
  }

  [Symbol.asyncIterator]() {
    return iterate(this)
  }
}

function fromAsyncIterator(iterator, opts) {
  let returned = null
  return new Readable({
    ...opts,
    read(cb) {
      iterator
        .next()
        .then(({ done, value }) => {
          this.push(done ? null : value)
        })
        .then(() => cb(null))
        .catch(cb)
    },
    predestroy() {
      if (iterator.return) returned = iterator.return()
    },
    destroy(cb) {
      if (returned === null) cb(null)
      else returned.then(() => cb(null)).catch(cb)
    }
  })
}

function iterate(stream) {
  let failure = null
  let waiting = null

  stream.on('error', (err) => {
    failure = err
  })
  stream.on('readable', () => {
    if (waiting !== null) answer(stream.read())
  })
  stream.on('close', () => {
    if (waiting !== null) answer(null)
  })

  return {
    [Symbol.asyncIterator]() {
      return this
    },
    next() {
      waiting = Promise.withResolvers()
      const { promise } = waiting
      const data = stream.read()
      if (data !== null || stream.destroyed) answer(data)
      return promise
    },
    return() {
      return close(null)
    },
    throw(err) {
      return close(err)
    }
  }

  function answer(data) {
    // 'readable' is also told when what was queued is gone again.
    if (data === null && !stream.destroyed && failure === null && !isEnded(stream)) return
    const { resolve, reject } = waiting
    if (failure !== null) reject(failure)
    else if (data === null && !isEnded(stream)) reject(StreamError.STREAM_DESTROYED())
    else resolve({ value: data, done: data === null })
    waiting = null
  }

  function close(err) {
    stream.destroy(err)
    return new Promise((resolve, reject) => {
      const settle = () => {
        if (err) reject(err)
        else resolve({ value: undefined, done: true })
      }
      if (stream.destroyed) resolve({ value: undefined, done: true })
      else stream.once('close', settle)
    })
  }
}

// The methods of a writable stream; a duplex stream has them too.
const writing = {
  cork() {
    this._duplexState |= WRITE_CORKED
  },

  uncork() {
    this._duplexState &= ~WRITE_CORKED
    this._writableState.updateNextTick()
  },

  _writev(batch, cb) {
    cb(null)
  },

  _write(data, cb) {
    this._writableState.autoBatch(data, cb)
  },

  _final(cb) {
    cb(null)
  },

  write(data) {
    this._writableState.updateNextTick()
    return this._writableState.push(data)
  },

  end(data) {
    this._writableState.updateNextTick()
    this._writableState.end(data)
    return this
  }
}

function beWritable(target) {
  for (const [name, value] of Object.entries(writing)) {
    Object.defineProperty(target, name, { value, writable: true, configurable: true })
  }
}

function takeWriteOptions(stream, opts) {
  if (!opts) return
  if (opts.writev) stream._writev = opts.writev
  if (opts.write) stream._write = opts.write
  if (opts.final) stream._final = opts.final
}

class Writable extends Stream {
  constructor(opts) {
    super(opts)
    this._duplexState |= OPENING | READ_DONE
    this._writableState = new WritableHalf(this, opts)
    takeWriteOptions(this, opts)
    if (opts && opts.eagerOpen) this._writableState.updateNextTick()
  }

  static isBackpressured(stream) {
    const full = WRITE_UNDRAINED | DESTROY_STATUS | WRITE_FINISHING | WRITE_DONE
    return (stream._duplexState & full) !== 0
  }

  // Resolves `true` when all that was written so far is done, `false` if the stream closes first.
  static drained(stream) {
    if (stream.destroyed) return Promise.resolve(false)
    const half = stream._writableState
    // All that is queued goes in one batch; of another copy of streamx that cannot be told.
    const batches = stream instanceof Stream && stream._writev !== writing._writev
    const queued = batches ? Math.min(1, half.queue.length) : half.queue.length
    const writes = queued + ((stream._duplexState & WRITE_WRITING) !== 0 ? 1 : 0)
    if (writes === 0) return Promise.resolve(true)

    const { promise, resolve } = Promise.withResolvers()
    if (half.drains === null) half.drains = []
    half.drains.push({ writes, resolve })
    return promise
  }
}

class Duplex extends Readable {
  constructor(opts) {
    super(opts)
    this._duplexState = OPENING | (this._duplexState & READ_READ_AHEAD)
    this._writableState = new WritableHalf(this, opts)
    takeWriteOptions(this, opts)
  }
}

beWritable(Writable.prototype)
beWritable(Duplex.prototype)

// The chunk that waits for room on the readable side, and the write it came with.
class TransformState {
  constructor(stream) {
    this.data = null
    this.afterTransform = (err, data) => {
      if (data !== undefined && data !== null) stream.push(data)
      stream._writableState.afterWrite(err)
    }
  }
}

class Transform extends Duplex {
  constructor(opts) {
    super(opts)
    this._transformState = new TransformState(this)
    if (opts) {
      if (opts.transform) this._transform = opts.transform
      if (opts.flush) this._flush = opts.flush
    }
  }

  _write(data, cb) {
    const { buffered, highWaterMark } = this._readableState
    if (buffered >= highWaterMark) this._transformState.data = data
    else this._transform(data, this._transformState.afterTransform)
  }

  _read(cb) {
    const state = this._transformState
    const { data } = state
    state.data = null
    cb(null)
    if (data !== null) this._transform(data, state.afterTransform)
  }

  destroy(err) {
    super.destroy(err)
    const state = this._transformState
    if (state.data === null) return
    state.data = null
    state.afterTransform()
  }

  _transform(data, cb) {
    cb(null, data)
  }

  _flush(cb) {
    cb(null)
  }

  _final(cb) {
    this._flush((err, data) => {
      if (err) {
        cb(err)
        return
      }
      if (data !== null && data !== undefined) this.push(data)
      this.push(null)
      cb(null)
    })
  }
}

class PassThrough extends Transform {}

function isEnding(stream) {
  return Boolean(stream._readableState) && stream._readableState.ending
}

function isEnded(stream) {
  return Boolean(stream._readableState) && stream._readableState.ended
}

function isFinishing(stream) {
  return Boolean(stream._writableState) && stream._writableState.ending
}

function isFinished(stream) {
  return Boolean(stream._writableState) && stream._writableState.ended
}

function isDisturbed(stream) {
  const state = stream._duplexState
  return (state & OPENING) === 0 || (state & (DESTROYING | TICKING)) !== 0
}

function getStreamError(stream, { all = false } = {}) {
  const { _readableState: readable, _writableState: writable } = stream
  const err = (readable && readable.error) || (writable && writable.error)
  // A stream that was simply destroyed has no error to speak of.
  return !all && StreamError.isStreamDestroyed(err) ? null : err
}

module.exports = {
  pipeline,
  pipelinePromise,
  isStream,
  isStreamx,
  isEnding,
  isEnded,
  isFinishing,
  isFinished,
  isDisturbed,
  getStreamError,
  Stream,
  Writable,
  Readable,
  Duplex,
  Transform,
  PassThrough
}
