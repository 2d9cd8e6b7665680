// bare-broadcast-channel 0.2: messages that all other ports of a channel get.

const { AnyPort, makeHandle, maxPorts } = require('bare-channel/port')

class BroadcastChannel {
  constructor(opts = {}) {
    const { handle = makeHandle(), interfaces = [] } = opts
    this.handle = handle
    this.interfaces = interfaces
  }

  connect() {
    return new Port(this)
  }

  static from(handle, opts = {}) {
    return new BroadcastChannel({ ...opts, handle })
  }

  static get MAX_PORTS() {
    return maxPorts
  }
}

class Port extends AnyPort {
  constructor(channel) {
    super(channel, true)
    this._knownPeers = -1
    this._hadPeers = false
  }

  get peers() {
    return this._isClosed ? 0 : this._port.peers()
  }

  _peers() {
    return this._port.peers()
  }

  // Nothing more comes once it is closed, or all have left that were there.
  _isOver() {
    if (this._isClosed || this._closing !== null) return true
    this._count()
    return this._hadPeers && this._port.peers() === 0
  }

  _count() {
    const peers = this._port.peers()
    if (peers > 0) this._hadPeers = true
    const isNew = peers !== this._knownPeers
    this._knownPeers = peers
    return isNew
  }

  _take() {
    const value = super._take()
    if (value !== undefined) this._hadPeers = true
    return value
  }

  _hear() {
    super._hear()
    if (!this._isClosed && this._count()) this.emit('peers', this._knownPeers)
  }

  close() {
    if (this._closing === null) this._closing = this._close()
    return this._closing
  }

  async _close() {
    if (this._writing !== null) await this._writing
    if (!this._isClosed) this._release()
  }
}

module.exports = BroadcastChannel
