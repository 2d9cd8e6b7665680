// bare-tty 5.2: terminals.

const { Readable, Writable } = require('bare-stream')
const Signal = require('bare-signals')
const io = require('pome-io')
const validate = require('pome-io/validate')
const errors = require('pome-io/errors')('TTYError', ['STREAM_IS_CLOSED', 'INVALID_FD', 'INVALID_ARGUMENT'])

const constants = {
  mode: { NORMAL: 0, RAW: 1, IO: 2 },
  state: { READING: 1, CLOSING: 2, CLOSED: 4 },
  MODE_NORMAL: 0,
  MODE_RAW: 1,
  MODE_IO: 2
}

class ReadStream extends Readable {
  constructor(fd, opts = {}) {
    super(opts)
    const { readBufferSize = 65536 } = opts
    validate.descriptor(errors, fd)
    validate.integer(errors, readBufferSize, 'Read buffer size', 1, 0x7fffffff)
    this.fd = fd
    this.isTTY = true
    this._readBufferSize = readBufferSize
    this._isReading = false
    this._isClosing = false
    this._handle = new io.Stream()
    this._handle.open(fd)
  }

  setMode(mode) {
    if (typeof mode !== 'number') throw errors.INVALID_ARGUMENT(`Mode must be a number, got ${typeof mode}`)
    if (![0, 1, 2].includes(mode)) throw errors.INVALID_ARGUMENT(`Mode must be one of 0, 1, 2, got ${mode}`)
    if (this._isClosing) throw errors.STREAM_IS_CLOSED('Stream is closed')
    this._handle.setMode(mode)
    return this
  }

  setRawMode(enabled) {
    return this.setMode(enabled ? constants.mode.RAW : constants.mode.NORMAL)
  }

  ref() {
    this._handle.setRef(true)
    return this
  }

  unref() {
    this._handle.setRef(false)
    return this
  }

  _read() {
    this._pull()
  }

  _pull() {
    if (this._isReading || this._isClosing) return
    this._isReading = true
    this._handle.read(this._readBufferSize, (err, data) => {
      this._isReading = false
      if (this._isClosing) return
      if (err) return this.destroy(err)
      if (data === null) return this.push(null)
      if (this.push(Buffer.from(data))) this._pull()
    })
  }

  _predestroy() {
    this._close()
  }

  _destroy(err, cb) {
    this._close().then(() => cb(err))
  }

  _close() {
    if (!this._isClosing) {
      this._isClosing = true
      this._closed = new Promise((resolve) => this._handle.close(resolve))
    }
    return this._closed
  }
}

class WriteStream extends Writable {
  constructor(fd, opts = {}) {
    super(opts)
    validate.descriptor(errors, fd)
    this.fd = fd
    this.isTTY = true
    this._isClosing = false
    this._handle = new io.Stream()
    this._handle.open(fd)
    this._size = this._handle.windowSize()
    if (terminals.size === 0) resized.start()
    terminals.add(this)
  }

  get columns() {
    return this._size[0]
  }

  get rows() {
    return this._size[1]
  }

  getWindowSize() {
    if (this._isClosing) throw errors.STREAM_IS_CLOSED('Stream is closed')
    return [...this._size]
  }

  _measure() {
    const [columns, rows] = this._size
    try {
      this._size = this._handle.windowSize()
    } catch (err) {
      this.emit('error', err)
      return
    }
    if (this._size[0] !== columns || this._size[1] !== rows) this.emit('resize')
  }

  _writev(batch, cb) {
    const data = batch.length === 1 ? batch[0].chunk : Buffer.concat(batch.map(({ chunk }) => chunk))
    if (this._handle.write(data, (err) => cb(err || null))) cb(null)
  }

  _predestroy() {
    this._close()
  }

  _destroy(err, cb) {
    this._close().then(() => cb(err))
  }

  _close() {
    if (!this._isClosing) {
      this._isClosing = true
      terminals.delete(this)
      if (terminals.size === 0) resized.stop()
      this._closed = new Promise((resolve) => this._handle.close(resolve))
    }
    return this._closed
  }
}

// Terminals that want to know when their window changes.
const terminals = new Set()
const resized = new Signal('SIGWINCH')
resized.on('signal', () => {
  for (const terminal of terminals) terminal._measure()
})
resized.unref()

function isTTY(fd) {
  return Number.isInteger(fd) && fd >= 0 && fd <= 0x7fffffff && io.kind(fd) === 'tty'
}

exports.ReadStream = ReadStream
exports.WriteStream = WriteStream
exports.isTTY = exports.isatty = isTTY
exports.constants = constants
exports.errors = errors
