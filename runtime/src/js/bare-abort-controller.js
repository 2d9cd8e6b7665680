// bare-abort-controller 1.1.

const { Event, EventTarget } = require('bare-events/web')

const inspect = Symbol.for('bare.inspect')

class AbortError extends Error {
  get name() {
    return 'AbortError'
  }
}

class TimeoutError extends Error {
  get name() {
    return 'TimeoutError'
  }
}

class AbortSignal extends EventTarget {
  constructor() {
    super()
    this._reason = undefined
    // The signals this one follows, and those that follow it. A signal that follows others is
    // never followed itself: who would, follows its sources.
    this._sources = null
    this._dependents = []
  }

  get aborted() {
    return this._reason !== undefined
  }

  get reason() {
    return this._reason
  }

  throwIfAborted() {
    if (this.aborted) throw this._reason
  }

  _abort(reason = new AbortError('The operation was aborted')) {
    if (this.aborted) return
    this._reason = reason
    this.dispatchEvent(new Event('abort'))
    for (const signal of this._dependents) signal._abort(reason)
  }

  toJSON() {
    return { aborted: this.aborted, reason: this.reason }
  }

  [inspect]() {
    return { __proto__: { constructor: AbortSignal }, aborted: this.aborted, reason: this.reason }
  }

  static abort(reason = new AbortError('The operation was aborted')) {
    const signal = new AbortSignal()
    signal._reason = reason
    return signal
  }

  static timeout(ms) {
    const signal = new AbortSignal()
    setTimeout(() => signal._abort(new TimeoutError('The operation timed out')), ms).unref()
    return signal
  }

  static any(signals) {
    const result = new AbortSignal()
    for (const signal of signals) {
      if (signal.aborted) {
        result._reason = signal.reason
        return result
      }
    }
    result._sources = [...signals].flatMap((signal) => signal._sources || [signal])
    for (const source of result._sources) source._dependents.push(result)
    return result
  }
}

class AbortController {
  constructor() {
    this._signal = new AbortSignal()
  }

  get signal() {
    return this._signal
  }

  abort(reason) {
    this._signal._abort(reason)
  }

  toJSON() {
    return { signal: this.signal }
  }

  [inspect]() {
    return { __proto__: { constructor: AbortController }, signal: this.signal }
  }
}

module.exports = exports = AbortController

exports.AbortController = AbortController
exports.AbortSignal = AbortSignal
