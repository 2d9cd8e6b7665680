// bare-channel 5.2: messages between two ports, in whatever threads they are.

const { AnyPort, makeHandle } = require('bare-channel/port')

class Channel {
  constructor(opts = {}) {
    const { handle = makeHandle(), interfaces = [] } = opts
    this.handle = handle
    this.interfaces = interfaces
  }

  connect() {
    return new Port(this)
  }

  static from(handle, opts = {}) {
    return new Channel({ ...opts, handle })
  }
}

class Port extends AnyPort {
  constructor(channel) {
    super(channel, false)
    this._hasRemoteEnded = false
  }

  _peers() {
    return 0
  }

  _isOver() {
    if (this._isClosed) return true
    if (!this._port.isOver()) return false
    if (!this._hasRemoteEnded) {
      this._hasRemoteEnded = true
      // At once: the other end waits for it, and this thread may stand still next.
      this._port.end()
      this.emit('end')
      this.close()
    }
    return true
  }

  _hear() {
    super._hear()
    this._isOver()
  }

  close() {
    if (this._closing === null) this._closing = this._close()
    return this._closing
  }

  // Both ends say that they have said all, then it is over.
  async _close() {
    if (this._writing !== null) await this._writing
    if (this._isClosed) return
    this._port.end()
    while (!this._port.isOver()) await this._news.promise
    this._release()
  }
}

module.exports = Channel
