// A Duplex over a native stream: what sockets, pipes and terminals are made of.

const stream = require('bare-stream')
const { Stream } = require('pome-io')

module.exports = class HandleStream extends stream.Duplex {
  constructor(opts = {}, handle = null) {
    const { readBufferSize = 65536, allowHalfOpen = true, eagerOpen = true } = opts
    super({ ...opts, eagerOpen })
    this._readBufferSize = readBufferSize
    this._allowHalfOpen = Boolean(allowHalfOpen)
    // idle → connecting → connected, or closing at any time.
    this._phase = handle === null ? 'idle' : 'connected'
    this._isReading = false
    this._isReadable = true
    this._isRef = true
    this._opened = null
    this._timeout = 0
    this._timer = null
    this._handle = handle === null ? new Stream() : handle
  }

  get connecting() {
    return this._phase === 'connecting'
  }

  get pending() {
    return this._phase !== 'connected'
  }

  get timeout() {
    return this._timeout || undefined
  }

  get readyState() {
    if (this._phase === 'connecting') return 'opening'
    if (this._phase === 'connected') {
      const readable = stream.isReadable(this)
      const writable = stream.isWritable(this) && !stream.isFinished(this)
      if (readable && writable) return 'open'
      if (readable) return 'readOnly'
      if (writable) return 'writeOnly'
    }
    return 'closed'
  }

  setTimeout(ms, ontimeout) {
    if (this._timer !== null) clearTimeout(this._timer)
    this._timer = null
    this._timeout = ms
    if (ms === 0) {
      if (ontimeout) this.removeListener('timeout', ontimeout)
      return this
    }
    if (ontimeout) this.once('timeout', ontimeout)
    this._startTimer()
    return this
  }

  _startTimer() {
    if (this._phase === 'closing') return
    this._timer = setTimeout(() => this.emit('timeout'), this._timeout)
    this._timer.unref()
  }

  // Something went over the stream, so it is not idle.
  _touch() {
    if (this._timer === null) return
    clearTimeout(this._timer)
    this._startTimer()
  }

  ref() {
    this._isRef = true
    this._handle.setRef(true)
    return this
  }

  unref() {
    this._isRef = false
    this._handle.setRef(false)
    return this
  }

  // The native stream is connected; what waited for it goes on.
  _connected() {
    this._phase = 'connected'
    this._continueOpen(null)
  }

  _failed(err) {
    if (this._phase !== 'closing') this._phase = 'idle'
    if (this._opened !== null) this._continueOpen(err)
    else this.destroy(err)
  }

  _open(cb) {
    if (this._phase === 'connected') return cb(null)
    this._opened = cb
  }

  _continueOpen(err) {
    const cb = this._opened
    this._opened = null
    if (cb !== null) cb(err)
  }

  _read() {
    this._pull()
  }

  _pull() {
    if (this._isReading || !this._isReadable || this._phase !== 'connected') return
    this._isReading = true
    this._handle.read(this._readBufferSize, (err, data) => {
      this._isReading = false
      if (this._phase === 'closing') return
      if (err) return this.destroy(err)
      this._touch()
      if (data === null) {
        this.push(null)
        if (!this._allowHalfOpen) this.end()
        return
      }
      if (this.push(Buffer.from(data))) this._pull()
    })
  }

  _writev(batch, cb) {
    let data
    try {
      data = joined(batch)
    } catch (err) {
      return cb(err)
    }
    this._touch()
    if (this._handle.write(data, (err) => cb(err || null))) cb(null)
  }

  _final(cb) {
    this._handle.end((err) => cb(err || null))
  }

  // What is under way ends at once, so that nothing waits for a peer that says nothing.
  _predestroy() {
    this._shut()
  }

  _destroy(err, cb) {
    this._shut(() => cb(err))
  }

  _shut(cb) {
    if (this._phase !== 'closing') {
      this._phase = 'closing'
      if (this._timer !== null) clearTimeout(this._timer)
      this._timer = null
      this._closed = new Promise((resolve) => this._handle.close(resolve))
      this._continueOpen(null)
    }
    if (cb) this._closed.then(cb)
  }
}

function joined(batch) {
  if (batch.length === 1) return bytes(batch[0].chunk)
  return Buffer.concat(batch.map(({ chunk }) => bytes(chunk)))
}

function bytes(chunk) {
  if (chunk instanceof Uint8Array) return chunk
  if (ArrayBuffer.isView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength)
  if (typeof chunk === 'string') return Buffer.from(chunk)
  throw new TypeError(`Chunk must be a string or a view, got ${typeof chunk}`)
}
