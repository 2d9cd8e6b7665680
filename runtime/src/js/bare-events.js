// bare-events 2.8, as far as `Bare` itself needs it.
module.exports = exports = class EventEmitter {
  constructor () {
    this._listeners = Object.create(null)
  }

  on (name, listener) {
    (this._listeners[name] ||= []).push(listener)
    return this
  }

  once (name, listener) {
    const once = (...args) => {
      this.off(name, once)
      listener.apply(this, args)
    }
    return this.on(name, once)
  }

  off (name, listener) {
    const listeners = this._listeners[name] || []
    this._listeners[name] = listeners.filter((other) => other !== listener)
    return this
  }

  emit (name, ...args) {
    const listeners = this._listeners[name] || []
    for (const listener of listeners) listener.apply(this, args)
    return listeners.length > 0
  }
}
