// bare-events 2.9, `/web`: Event, CustomEvent and EventTarget of the DOM standard, without a tree.

const inspect = Symbol.for('bare.inspect')

class InvalidStateError extends Error {
  get name() {
    return 'InvalidStateError'
  }
}

const EVENT_FIELDS = [
  'type',
  'target',
  'bubbles',
  'cancelable',
  'composed',
  'defaultPrevented',
  'isTrusted'
]

function pick(object, names, base) {
  for (const name of names) base[name] = object[name]
  return base
}

class Event {
  #stopped = false
  #passive = false
  #prevented = false
  #dispatching = false
  #target = null
  #currentTarget = null

  constructor(type, { bubbles = false, cancelable = false, composed = false } = {}) {
    this._type = type
    this._bubbles = Boolean(bubbles)
    this._cancelable = Boolean(cancelable)
    this._composed = Boolean(composed)
  }

  get type() {
    return this._type
  }

  get target() {
    return this.#target
  }

  get currentTarget() {
    return this.#currentTarget
  }

  get bubbles() {
    return this._bubbles
  }

  get cancelable() {
    return this._cancelable
  }

  get composed() {
    return this._composed
  }

  get defaultPrevented() {
    return this.#prevented
  }

  get isTrusted() {
    return false
  }

  preventDefault() {
    if (this._cancelable && !this.#passive) this.#prevented = true
  }

  stopPropagation() {}

  stopImmediatePropagation() {
    this.#stopped = true
  }

  toJSON() {
    return pick(this, EVENT_FIELDS, {})
  }

  [inspect]() {
    return pick(this, EVENT_FIELDS, { __proto__: { constructor: Event } })
  }

  // Runs the listeners over the event; `false` when one of them prevented the default.
  static _dispatch(event, target, listeners, spend) {
    if (event.#dispatching) throw new InvalidStateError('Event is already being dispatched')
    event.#target = event.#currentTarget = target
    event.#dispatching = true
    try {
      for (const listener of listeners) {
        if (listener.removed) continue
        if (listener.once) spend(listener)
        event.#passive = listener.passive
        try {
          listener.call(target, event)
        } catch (err) {
          // A listener's failure is reported; it does not reach the code that dispatched.
          queueMicrotask(() => {
            throw err
          })
        }
        event.#passive = false
        if (event.#stopped) break
      }
      return !event.#prevented
    } finally {
      event.#currentTarget = null
      event.#dispatching = false
      event.#stopped = false
    }
  }
}

class CustomEvent extends Event {
  constructor(type, options = {}) {
    super(type, options)
    const { detail = null } = options
    this._detail = detail
  }

  get detail() {
    return this._detail
  }

  toJSON() {
    return { ...super.toJSON(), detail: this._detail }
  }

  [inspect]() {
    return pick(this, [...EVENT_FIELDS, 'detail'], { __proto__: { constructor: CustomEvent } })
  }
}

class Listener {
  constructor(callback, { capture = false, passive = false, once = false, signal = null }) {
    this.callback = callback
    this.capture = Boolean(capture)
    this.passive = Boolean(passive)
    this.once = Boolean(once)
    this.signal = signal
    this.onabort = null
    this.removed = false
  }

  is(callback, capture) {
    return this.callback === callback && this.capture === Boolean(capture)
  }

  call(target, event) {
    const { callback } = this
    if (typeof callback === 'function') callback.call(target, event)
    else callback.handleEvent(event)
  }
}

class EventTarget {
  constructor() {
    this._listeners = new Map()
  }

  addEventListener(type, callback = null, options = {}) {
    if (typeof options === 'boolean') options = { capture: options }
    const listener = new Listener(callback, options || {})
    const { signal } = listener
    if (callback === null || (signal && signal.aborted)) return

    const list = this._listeners.get(type) || []
    if (list.some((other) => other.is(callback, listener.capture))) return
    this._listeners.set(type, [...list, listener])

    if (signal) {
      listener.onabort = () => this._unlink(type, listener)
      signal.addEventListener('abort', listener.onabort)
    }
  }

  removeEventListener(type, callback = null, options = {}) {
    const capture = typeof options === 'boolean' ? options : Boolean(options && options.capture)
    const list = this._listeners.get(type) || []
    const found = list.find((listener) => listener.is(callback, capture))
    if (found) this._unlink(type, found)
  }

  dispatchEvent(event) {
    const list = this._listeners.get(event.type) || []
    return Event._dispatch(event, this, list, (listener) => this._unlink(event.type, listener))
  }

  toJSON() {
    return {}
  }

  [inspect]() {
    return { __proto__: { constructor: EventTarget } }
  }

  _unlink(type, listener) {
    if (listener.removed) return
    listener.removed = true
    if (listener.onabort !== null) listener.signal.removeEventListener('abort', listener.onabort)
    const rest = this._listeners.get(type).filter((other) => other !== listener)
    if (rest.length === 0) this._listeners.delete(type)
    else this._listeners.set(type, rest)
  }
}

exports.Event = Event
exports.CustomEvent = CustomEvent
exports.EventTarget = EventTarget
