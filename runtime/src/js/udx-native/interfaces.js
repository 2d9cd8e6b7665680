// The addresses of the machine, and when they change.

const udx = require('pome-npm')
const os = require('bare-os')
const EventEmitter = require('bare-events')

function addresses () {
  const found = []
  for (const [name, all] of Object.entries(os.networkInterfaces())) {
    for (const { address, family, internal } of all) {
      found.push({ name, host: address, family: family === 'IPv6' || family === 6 ? 6 : 4, internal })
    }
  }
  return found
}

module.exports = class NetworkInterfaces extends EventEmitter {
  constructor () {
    super()
    this.interfaces = addresses()
    this._watch = null
    this._destroying = null
  }

  watch () {
    if (this._watch !== null) return this
    this._watch = udx.udxWatch(() => {
      if (this._watch === null) return
      const before = JSON.stringify(this.interfaces)
      this.interfaces = addresses()
      if (JSON.stringify(this.interfaces) !== before) this.emit('change', this.interfaces)
    })
    return this
  }

  unwatch () {
    if (this._watch !== null) udx.udxUnwatch(this._watch)
    this._watch = null
    return this
  }

  async destroy () {
    if (this._destroying !== null) return this._destroying
    this.unwatch()
    this._destroying = new Promise((resolve) => queueMicrotask(() => {
      this.emit('close')
      resolve()
    }))
    return this._destroying
  }

  [Symbol.iterator] () {
    return this.interfaces[Symbol.iterator]()
  }
}
