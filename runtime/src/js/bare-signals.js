// bare-signals 5.0: signals of the system as events.

const EventEmitter = require('bare-events')
const { signals } = require('bare-os/constants')
const errors = require('pome-io/errors')('SignalError', ['UNKNOWN_SIGNAL', 'SIGNAL_CLOSED'])

class Signal extends EventEmitter {
  constructor(signum) {
    super()
    if (typeof signum === 'string') {
      if (!Object.hasOwn(signals, signum)) throw errors.UNKNOWN_SIGNAL(`Unknown signal '${signum}'`)
      signum = signals[signum]
    }
    this._signum = signum
    this._isClosing = null
    this._isRef = true
    this._handle = null
  }

  start() {
    if (this._isClosing) throw errors.SIGNAL_CLOSED('Signal is closed')
    if (this._handle !== null) return this
    this._handle = new native.Signal(this._signum)
    this._handle.setRef(this._isRef)
    this._next(this._handle)
    return this
  }

  _next(handle) {
    handle.next((err) => {
      if (err || this._handle !== handle) return
      this._next(handle)
      this.emit('signal', this._signum)
    })
  }

  stop() {
    if (this._handle !== null) this._handle.close()
    this._handle = null
    return this
  }

  ref() {
    this._isRef = true
    if (this._handle !== null) this._handle.setRef(true)
    return this
  }

  unref() {
    this._isRef = false
    if (this._handle !== null) this._handle.setRef(false)
    return this
  }

  close() {
    if (this._isClosing === null) {
      this._isClosing = new Promise((resolve) => this.once('close', resolve))
      this.stop()
      queueMicrotask(() => this.emit('close'))
    }
    return this._isClosing
  }
}

// An emitter whose events are the names of signals; it listens to those that somebody listens for.
class SignalEmitter extends EventEmitter {
  constructor() {
    super()
    this._signals = new Map()
    this._isRef = true
    this.on('newListener', (name) => this._listen(name))
    this.on('removeListener', (name) => this._unlisten(name))
  }

  ref() {
    this._isRef = true
    for (const signal of this._signals.values()) signal.ref()
    return this
  }

  unref() {
    this._isRef = false
    for (const signal of this._signals.values()) signal.unref()
    return this
  }

  _listen(name) {
    if (name === 'newListener' || name === 'removeListener' || this._signals.has(name)) return
    const signal = new Signal(name)
    signal.on('signal', () => this.emit(name, name, signals[name]))
    if (!this._isRef) signal.unref()
    signal.start()
    this._signals.set(name, signal)
  }

  _unlisten(name) {
    if (this.listenerCount(name) > 0 || !this._signals.has(name)) return
    this._signals.get(name).close()
    this._signals.delete(name)
  }
}

module.exports = exports = Signal
exports.Emitter = SignalEmitter
exports.constants = signals
exports.errors = errors
