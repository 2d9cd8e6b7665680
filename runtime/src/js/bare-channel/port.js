// What the ports of channels have in common, and the handles of channels.

const EventEmitter = require('bare-events')
const streams = require('bare-channel/streams')
const wire = require('bare-structured-clone/wire')

// The number of a channel is all that its handle has in it.
function makeHandle() {
  const handle = new SharedArrayBuffer(8)
  new Float64Array(handle)[0] = native.number()
  return handle
}

function numberOf(handle) {
  if (!(handle instanceof SharedArrayBuffer) || handle.byteLength < 8) throw new TypeError('Handle must be that of a channel')
  return new Float64Array(handle)[0]
}

// Reads and writes one after the other, each until it is done.
class AnyPort extends EventEmitter {
  constructor(channel, many) {
    super()
    this._channel = channel
    this._isClosed = false
    this._closing = null
    // What was there when the port was closed, or was taken while the thread stood still.
    this._left = []
    this._reading = null
    this._writing = null
    this._news = Promise.withResolvers()
    this._port = new native.Port(numberOf(channel.handle), many, () => this._hear())
  }

  _hear() {
    const news = this._news
    this._news = Promise.withResolvers()
    news.resolve()
  }

  _take() {
    if (this._left.length > 0) return this._left.shift()
    if (this._isClosed) return undefined
    const message = this._port.read()
    return message === undefined ? undefined : wire.receive(message[0], this._channel.interfaces)
  }

  read() {
    const before = this._reading
    const turn = this._read(before)
    const done = turn.then(noop, noop)
    this._reading = done
    done.then(() => {
      if (this._reading === done) this._reading = null
    })
    return turn
  }

  async _read(before) {
    if (before !== null) await before
    while (true) {
      // In this order: what was written before the end is there when the end is.
      const isOver = this._isOver()
      const value = this._take()
      if (value !== undefined) return value
      if (isOver) return null
      await this._news.promise
    }
  }

  readSync() {
    while (true) {
      const isOver = this._isOver()
      const value = this._take()
      if (value !== undefined) return value
      if (isOver) return null
      this._port.waitToRead(this._peers())
    }
  }

  async write(value, opts = {}) {
    if (value === null || this._closing !== null || this._isClosed) return false
    const message = wire.send(value, opts.transfer, this._channel.interfaces)
    const before = this._writing
    if (before === null) {
      const written = this._port.write(message)
      if (written !== 0) return written > 0
    }
    const turn = this._push(message, before)
    const done = turn.then(noop, noop)
    this._writing = done
    done.then(() => {
      if (this._writing === done) this._writing = null
    })
    return turn
  }

  async _push(message, before) {
    if (before !== null) await before
    while (!this._isClosed) {
      const written = this._port.write(message)
      if (written !== 0) return written > 0
      await this._news.promise
    }
    return false
  }

  writeSync(value, opts = {}) {
    if (value === null || this._closing !== null || this._isClosed) return false
    const message = wire.send(value, opts.transfer, this._channel.interfaces)
    while (true) {
      const written = this._port.write(message)
      if (written !== 0) return written > 0
      this._port.waitToWrite()
    }
  }

  ref() {
    if (!this._isClosed && this._closing === null) this._port.setRef(true)
  }

  unref() {
    if (!this._isClosed && this._closing === null) this._port.setRef(false)
  }

  createReadStream(opts) {
    return new streams.Reading(this, opts)
  }

  createWriteStream(opts) {
    return new streams.Writing(this, opts)
  }

  createStream(opts) {
    return new streams.Both(this, opts)
  }

  *[Symbol.iterator]() {
    for (let value = this.readSync(); value !== null; value = this.readSync()) yield value
  }

  async *[Symbol.asyncIterator]() {
    for (let value = await this.read(); value !== null; value = await this.read()) yield value
  }

  // The native port goes; what has come is still read.
  _release() {
    for (let value = this._take(), all = []; ; value = this._take()) {
      if (value === undefined) {
        this._left = all
        break
      }
      all.push(value)
    }
    this._isClosed = true
    this._port.close()
    this._hear()
    this.emit('close')
  }
}

const noop = () => {}

module.exports = { AnyPort, makeHandle, maxPorts: native.maxPorts }
