// bare-stream 2.13, `/web`: the web's streams over streamx streams. A web stream keeps its streamx
// stream in `_stream`; the two can be had from each other without copying a chunk.

const {
  Readable,
  Writable,
  Transform,
  getStreamError,
  isStreamx,
  isDisturbed
} = require('streamx')

const kinds = {
  readable: Symbol.for('bare.stream.readable.kind'),
  writable: Symbol.for('bare.stream.writable.kind'),
  transform: Symbol.for('bare.stream.transform.kind')
}

function ignore() {}

class CountQueuingStrategy {
  constructor({ highWaterMark = 1 } = {}) {
    this.highWaterMark = highWaterMark
  }

  size() {
    return 1
  }
}

class ByteLengthQueuingStrategy {
  constructor({ highWaterMark = 16384 } = {}) {
    this.highWaterMark = highWaterMark
  }

  size(chunk) {
    return chunk.byteLength
  }
}

function strategyOptions({ highWaterMark = 1, size = () => 1 } = {}) {
  return { highWaterMark, byteLength: size }
}

// Calls the owner's function and tells a callback of streamx how it ended.
async function settle(cb, fn) {
  let failure = null
  try {
    await fn()
  } catch (err) {
    failure = err
  }
  cb(failure)
}

// Runs the owner's `start`; the promise is one that never rejects.
function begin(owner, start, controller) {
  if (!start) return Promise.resolve()
  const started = (async () => start.call(owner, controller))()
  return started.catch((err) => controller.error(err))
}

// Ends a streamx stream and waits until it is closed.
function closing(stream, how) {
  if (stream.destroyed) return Promise.resolve()
  return new Promise((resolve) => {
    stream.once('close', resolve).once('error', ignore)
    how()
  })
}

// What readers and writers have alike: the hold on a stream, and the promise of its end.
class Lock {
  constructor(stream) {
    this._stream = stream
    this._closed = Promise.withResolvers()
    this._closed.promise.catch(ignore)
    stream._stream
      .once('close', () => this._closed.resolve())
      .once('error', (err) => this._closed.reject(err))
  }

  get closed() {
    return this._closed.promise
  }

  _release(who) {
    this._closed.reject(new TypeError(`${who} was released`))
    this._stream._lock = null
    this._stream = null
  }
}

class ReadableStreamDefaultReader extends Lock {
  read() {
    const stream = this._stream._stream
    const done = { value: undefined, done: true }
    return new Promise((resolve, reject) => {
      const failure = getStreamError(stream)
      if (failure) return reject(failure)
      if (stream.destroyed) return resolve(done)

      const value = stream.read()
      if (value !== null) return resolve({ value, done: false })

      const onreadable = () => {
        const value = stream.read()
        detach()
        resolve(value === null ? done : { value, done: false })
      }
      const onclose = () => {
        detach()
        resolve(done)
      }
      const onerror = (err) => {
        detach()
        reject(err)
      }
      const detach = () => {
        stream.off('readable', onreadable).off('close', onclose).off('error', onerror)
      }
      stream.once('readable', onreadable).once('close', onclose).once('error', onerror)
    })
  }

  releaseLock() {
    this._release('Reader')
  }

  cancel(reason = new TypeError('Stream was cancelled')) {
    const stream = this._stream._stream
    return closing(stream, () => stream.destroy(reason))
  }
}

class ReadableStreamDefaultController {
  constructor(stream) {
    this._stream = stream
  }

  get desiredSize() {
    const { highWaterMark, buffered } = this._stream._stream._readableState
    return highWaterMark - buffered
  }

  enqueue(chunk) {
    this._stream._stream.push(chunk)
  }

  close() {
    this._stream._stream.push(null)
  }

  error(err) {
    this._stream._stream.destroy(err)
  }
}

class ReadableStream {
  static get [kinds.readable]() {
    return 0
  }

  static from(iterable) {
    return new ReadableStream(Readable.from(iterable))
  }

  constructor(source = {}, strategy = undefined) {
    this._lock = null
    if (isStreamx(source)) {
      this._stream = source
      return
    }
    const { start, pull, cancel } = source
    this._stream = new Readable(strategyOptions(strategy))
    const controller = new ReadableStreamDefaultController(this)
    const started = begin(this, start, controller)
    if (pull) {
      this._stream._read = (cb) => {
        settle(cb, async () => {
          await started
          await pull.call(this, controller)
        })
      }
    }
    if (cancel) this._stream.once('error', (err) => cancel.call(this, err))
  }

  get [kinds.readable]() {
    return 0
  }

  get locked() {
    return this._lock !== null
  }

  getReader() {
    if (this.locked) throw new TypeError('Stream is locked')
    this._lock = new ReadableStreamDefaultReader(this)
    return this._lock
  }

  cancel(reason = new TypeError('Stream was cancelled')) {
    if (this.locked && !this._stream.destroyed) {
      return Promise.reject(new TypeError('Stream is locked'))
    }
    return closing(this._stream, () => this._stream.destroy(reason))
  }

  // Each branch gets every chunk, at the pace of the slower one.
  tee() {
    const source = this._stream
    const resume = () => {
      if (![a, b].some((branch) => Readable.isBackpressured(branch))) source.resume()
    }
    const branch = () =>
      new Readable({
        read(cb) {
          resume()
          cb(null)
        },
        predestroy() {
          if ([a, b].every((other) => other.destroying)) source.destroy()
        }
      })
    const a = branch()
    const b = branch()
    source.on('data', (chunk) => {
      const room = [a, b].map((branch) => branch.push(chunk))
      if (room.includes(false)) source.pause()
    })
    source.on('end', () => [a, b].forEach((branch) => branch.push(null)))
    source.on('error', (err) => [a, b].forEach((branch) => branch.destroy(err)))
    source.on('close', () => {
      for (const branch of [a, b]) if (!source._readableState.ended) branch.destroy()
    })
    return [new ReadableStream(a), new ReadableStream(b)]
  }

  pipeTo(destination) {
    return new Promise((resolve, reject) => {
      this._stream.pipe(destination._stream, (err) => {
        if (err) reject(err)
        else resolve()
      })
    })
  }

  pipeThrough({ readable, writable }) {
    this.pipeTo(writable).catch(ignore)
    return readable
  }

  [Symbol.asyncIterator]() {
    return this._stream[Symbol.asyncIterator]()
  }
}

class WritableStreamDefaultWriter extends Lock {
  get desiredSize() {
    const { highWaterMark, buffered } = this._stream._stream._writableState
    return highWaterMark - buffered
  }

  get ready() {
    const stream = this._stream._stream
    const failure = getStreamError(stream)
    return failure ? Promise.reject(failure) : Writable.drained(stream).then(ignore)
  }

  async write(chunk) {
    const stream = this._stream._stream
    const check = () => {
      const failure = getStreamError(stream)
      if (failure) throw failure
    }
    check()
    stream.write(chunk)
    await Writable.drained(stream)
    check()
  }

  releaseLock() {
    this._release('Writer')
  }

  close() {
    const stream = this._stream._stream
    return closing(stream, () => stream.end())
  }

  abort(reason = new TypeError('Stream was aborted')) {
    const stream = this._stream._stream
    return closing(stream, () => stream.destroy(reason))
  }
}

class WritableStreamDefaultController {
  constructor(stream) {
    this._stream = stream
  }

  error(err) {
    this._stream._stream.destroy(err)
  }
}

class WritableStream {
  static get [kinds.writable]() {
    return 0
  }

  constructor(sink = {}, strategy = undefined) {
    this._lock = null
    if (isStreamx(sink)) {
      this._stream = sink
      return
    }
    const { start, write, close, abort } = sink
    this._stream = new Writable(strategyOptions(strategy))
    const controller = new WritableStreamDefaultController(this)
    const started = begin(this, start, controller)
    if (write) {
      this._stream._write = (chunk, cb) => {
        settle(cb, async () => {
          await started
          await write.call(this, chunk, controller)
        })
      }
    }
    if (close) this._stream._final = (cb) => settle(cb, () => close.call(this))
    if (abort) this._stream.once('error', (err) => abort.call(this, err))
  }

  get [kinds.writable]() {
    return 0
  }

  get locked() {
    return this._lock !== null
  }

  getWriter() {
    if (this.locked) throw new TypeError('Stream is locked')
    this._lock = new WritableStreamDefaultWriter(this)
    return this._lock
  }

  abort(reason = new TypeError('Stream was aborted')) {
    return this._close(() => this._stream.destroy(reason))
  }

  close() {
    return this._close(() => this._stream.end())
  }

  _close(how) {
    if (this.locked && !this._stream.destroyed) {
      return Promise.reject(new TypeError('Stream is locked'))
    }
    return closing(this._stream, how)
  }
}

class TransformStreamDefaultController extends ReadableStreamDefaultController {
  terminate() {
    this.close()
    this.error(new TypeError('Stream has been terminated'))
  }
}

class TransformStream {
  static get [kinds.transform]() {
    return 0
  }

  constructor(transformer = {}, writableStrategy = {}, readableStrategy = {}) {
    if (isStreamx(transformer)) {
      this._stream = transformer
    } else {
      const { start, transform, flush } = transformer
      this._stream = new Transform({ ...writableStrategy, ...readableStrategy })
      const controller = new TransformStreamDefaultController(this)
      const started = begin(this, start, controller)
      if (transform) {
        this._stream._transform = (chunk, cb) => {
          settle(cb, async () => {
            await started
            await transform.call(this, chunk, controller)
          })
        }
      }
      if (flush) this._stream._flush = (cb) => settle(cb, () => flush.call(this, controller))
    }
    this._writable = new WritableStream(this._stream)
    this._readable = new ReadableStream(this._stream)
  }

  get [kinds.transform]() {
    return 0
  }

  get writable() {
    return this._writable
  }

  get readable() {
    return this._readable
  }
}

function isKind(type, kind) {
  return (value) => {
    if (value instanceof type) return true
    return typeof value === 'object' && value !== null && value[kind] === 0
  }
}

module.exports = {
  ReadableStream,
  ReadableStreamDefaultReader,
  ReadableStreamDefaultController,
  WritableStream,
  WritableStreamDefaultWriter,
  WritableStreamDefaultController,
  TransformStream,
  TransformStreamDefaultController,
  CountQueuingStrategy,
  ByteLengthQueuingStrategy,
  isReadableStream: isKind(ReadableStream, kinds.readable),
  isWritableStream: isKind(WritableStream, kinds.writable),
  isTransformStream: isKind(TransformStream, kinds.transform),
  isReadableStreamErrored: (stream) => getStreamError(stream._stream) !== null,
  isReadableStreamDisturbed: (stream) => isDisturbed(stream._stream)
}
