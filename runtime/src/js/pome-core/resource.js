// Something that is opened once and closed once: `ready()` and `close()`, and what they say of it.

const EventEmitter = require('bare-events')

module.exports = class Resource extends EventEmitter {
  constructor () {
    super()
    this.opening = null
    this.closing = null
    this.opened = false
    this.closed = false
  }

  ready () {
    if (this.opening === null) {
      this.opening = this._openOnce()
      this.opening.catch(noop)
    }
    return this.opening
  }

  close (options) {
    if (this.closing === null) {
      this.closing = this._closeOnce(options)
      this.closing.catch(noop)
    }
    return this.closing
  }

  async _openOnce () {
    // Whoever made it has its turn first: what he sets, and listens for, is there when it opens.
    await null
    await this._open()
    this.opened = true
    this.emit('ready')
  }

  async _closeOnce (options) {
    try {
      if (this.opening !== null) await this.opening
    } catch {
      // What never opened has nothing to close.
    }
    try {
      await this._close(options)
    } finally {
      this.closed = true
    }
    this.emit('close')
  }

  async _open () {}

  async _close () {}
}

function noop () {}
