// Messages between the parts of an app: whoever subscribes gets those that have what the pattern has. A subscription keeps the program alive.

const { Readable } = require('streamx')

// What a listener has missed while nobody listened, at most.
const KEPT = 64

function matches (message, pattern) {
  if (typeof message !== 'object' || message === null) return false
  return Object.keys(pattern).every((key) => {
    const wanted = pattern[key]
    if (typeof wanted === 'object' && wanted !== null) return matches(message[key], wanted)
    return message[key] === wanted
  })
}

module.exports = class Bus {
  constructor () {
    this._subscribers = new Set()
    this._alive = null
    this._updates = []
  }

  subscribe (pattern = {}) {
    const bus = this
    const stream = new Readable({
      destroy (callback) {
        bus._subscribers.delete(subscriber)
        bus._breathe()
        callback(null)
      }
    })
    const subscriber = { stream, pattern: pattern || {} }
    this._subscribers.add(subscriber)
    this._breathe()
    // An update that came before somebody listened is one still.
    for (const message of this._updates) if (matches(message, subscriber.pattern)) stream.push(message)
    return stream
  }

  publish (message) {
    if (message && message.type === 'pear/updates') {
      this._updates.push(message)
      if (this._updates.length > KEPT) this._updates.shift()
    }
    for (const { stream, pattern } of [...this._subscribers]) {
      if (matches(message, pattern)) stream.push(message)
    }
  }

  _breathe () {
    if (this._subscribers.size > 0 && this._alive === null) {
      this._alive = setInterval(() => {}, 0x7fffffff)
    } else if (this._subscribers.size === 0 && this._alive !== null) {
      clearInterval(this._alive)
      this._alive = null
    }
  }
}
