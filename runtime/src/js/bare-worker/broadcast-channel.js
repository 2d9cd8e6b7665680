// Channels by name: what one thread posts, all others of the program's get that have a channel of the same name.

const EventEmitter = require('bare-events')
const { errors } = require('bare-worker/message-port')

// One channel carries the messages of all names.
let shared = null

class BroadcastChannel extends EventEmitter {
  static use(channel) {
    shared = channel
  }

  constructor(name) {
    super()
    this.name = String(name)
    this._isClosed = false
    this._isReading = false
    this._underway = 0
    this._port = shared.connect()
    this._port.unref()
    // Reading ends when all others have left, and begins again with the next one.
    this._port.on('peers', (count) => {
      if (count > 0) this._read()
    })
    this.on('newListener', (name) => {
      if (name === 'message') this._port.ref()
    })
    this.on('removeListener', (name) => {
      if (name === 'message') this._update()
    })
    this._read()
  }

  _update() {
    if (this._underway > 0 || this.listenerCount('message') > 0) this._port.ref()
    else this._port.unref()
  }

  async _read() {
    if (this._isReading || this._isClosed) return
    this._isReading = true
    try {
      for await (const { name, message } of this._port) {
        if (name === this.name) this.emit('message', message)
      }
    } finally {
      this._isReading = false
    }
  }

  postMessage(message) {
    if (this._isClosed) throw errors.CHANNEL_CLOSED('BroadcastChannel is closed')
    this._write(message)
  }

  async _write(message) {
    this._underway++
    this._update()
    try {
      await this._port.write({ name: this.name, message })
    } finally {
      this._underway--
      this._update()
    }
  }

  close() {
    if (this._isClosed) return
    this._isClosed = true
    this._port.close()
  }

  [Symbol.for('bare.inspect')]() {
    return { __proto__: { constructor: BroadcastChannel }, name: this.name }
  }
}

module.exports = BroadcastChannel
