// What `events` is to packages that were written for Node: bare-events whose constructor may be called as a function, and whose `once` adds its listener
// by `on`, which classes of theirs override.

const Bare = require('bare-events')

// What `once` is about to add by `on`.
let pending = null

function EventEmitter () {
  if (this._events === undefined) this._events = Object.create(null)
}

Object.setPrototypeOf(EventEmitter, Bare)
EventEmitter.prototype = Object.create(Bare.prototype, { constructor: { value: EventEmitter, writable: true, configurable: true } })

EventEmitter.prototype.on = function on (name, listener) {
  const once = pending !== null && pending === listener
  pending = null
  return once ? Bare.prototype.once.call(this, name, listener) : Bare.prototype.on.call(this, name, listener)
}

EventEmitter.prototype.addListener = EventEmitter.prototype.on

EventEmitter.prototype.once = function once (name, listener) {
  pending = listener
  try {
    return this.on(name, listener)
  } finally {
    pending = null
  }
}

// Streams, sockets and the like are Bare's, and emitters too.
Object.defineProperty(EventEmitter, Symbol.hasInstance, {
  value (value) {
    return Function.prototype[Symbol.hasInstance].call(this === EventEmitter ? Bare : this, value)
  }
})

module.exports = EventEmitter
module.exports.default = EventEmitter
module.exports.EventEmitter = EventEmitter
