// bare-events 2.9: event emitters.
//
// The listeners of a name are an array that is replaced, never changed, when one is added or
// removed. An emit therefore walks the array it found without copying it, and sees neither the
// listeners added nor those removed while it runs, as the package promises.

class EventEmitterError extends Error {
  constructor(message, code, options, caller) {
    super(`${code}: ${message}`, options)
    this.code = code
    if (Error.captureStackTrace) Error.captureStackTrace(this, caller || EventEmitterError)
  }

  get name() {
    return 'EventEmitterError'
  }

  static OPERATION_ABORTED(cause, message = 'Operation aborted') {
    return new EventEmitterError(message, 'OPERATION_ABORTED', { cause }, EventEmitterError.OPERATION_ABORTED)
  }

  static UNHANDLED_ERROR(cause, message = 'Unhandled error') {
    return new EventEmitterError(message, 'UNHANDLED_ERROR', { cause }, EventEmitterError.UNHANDLED_ERROR)
  }
}

// A listener that is to fire once; the others are their functions. `fired` keeps an emit inside the
// listener from firing it again.
class Once {
  constructor(fn) {
    this.fn = fn
    this.fired = false
  }
}

const NONE = []

function functionOf(entry) {
  return typeof entry === 'function' ? entry : entry.fn
}

function add(emitter, name, fn, once, front) {
  if (emitter._events === undefined) emitter._events = Object.create(null)

  // The listener is announced before it is there.
  if (emitter._events.newListener !== undefined) emitter.emit('newListener', name, fn)

  const entry = once ? new Once(fn) : fn
  const list = emitter._events[name]
  if (list === undefined) emitter._events[name] = [entry]
  else emitter._events[name] = front ? [entry, ...list] : [...list, entry]
  return emitter
}

function removeAt(emitter, name, index) {
  const list = emitter._events[name]
  const fn = functionOf(list[index])
  if (list.length === 1) delete emitter._events[name]
  else emitter._events[name] = list.toSpliced(index, 1)
  if (emitter._events.removeListener !== undefined) emitter.emit('removeListener', name, fn)
}

function remove(emitter, name, fn) {
  const list = emitter._events === undefined ? undefined : emitter._events[name]
  if (list === undefined) return emitter
  for (let i = list.length - 1; i >= 0; i--) {
    if (functionOf(list[i]) === fn) {
      removeAt(emitter, name, i)
      break
    }
  }
  return emitter
}

// Marks a one-time listener as spent and takes it off the list. False when an emit that ran
// inside this one was first.
function spend(emitter, name, entry) {
  if (entry.fired) return false
  entry.fired = true
  const list = emitter._events[name]
  const index = list === undefined ? -1 : list.indexOf(entry)
  if (index !== -1) removeAt(emitter, name, index)
  return true
}

// An error nobody listens for is thrown, but not into the code that emitted it.
function unhandled(err) {
  if (!(err instanceof Error)) err = EventEmitterError.UNHANDLED_ERROR(err)
  queueMicrotask(() => {
    throw err
  })
}

class EventEmitter {
  constructor() {
    this._events = Object.create(null)
  }

  on(name, fn) {
    return add(this, name, fn, false, false)
  }

  addListener(name, fn) {
    return add(this, name, fn, false, false)
  }

  once(name, fn) {
    return add(this, name, fn, true, false)
  }

  addOnceListener(name, fn) {
    return add(this, name, fn, true, false)
  }

  prependListener(name, fn) {
    return add(this, name, fn, false, true)
  }

  prependOnceListener(name, fn) {
    return add(this, name, fn, true, true)
  }

  off(name, fn) {
    return remove(this, name, fn)
  }

  removeListener(name, fn) {
    return remove(this, name, fn)
  }

  emit(name, ...args) {
    const list = this._events === undefined ? undefined : this._events[name]
    if (list === undefined) {
      if (name === 'error') unhandled(args[0])
      return false
    }
    const count = args.length
    for (let i = 0; i < list.length; i++) {
      let fn = list[i]
      if (typeof fn !== 'function') {
        if (!spend(this, name, fn)) continue
        fn = fn.fn
      }
      if (count === 1) fn.call(this, args[0])
      else if (count === 0) fn.call(this)
      else fn.apply(this, args)
    }
    return true
  }

  listeners(name) {
    const list = this._events === undefined ? undefined : this._events[name]
    return list === undefined ? [] : list.map(functionOf)
  }

  rawListeners(name) {
    return this.listeners(name)
  }

  listenerCount(name) {
    const list = this._events === undefined ? undefined : this._events[name]
    return list === undefined ? 0 : list.length
  }

  eventNames() {
    return this._events === undefined ? [] : Reflect.ownKeys(this._events)
  }

  getMaxListeners() {
    return EventEmitter.defaultMaxListeners
  }

  setMaxListeners() {
    return this
  }

  removeAllListeners(name) {
    if (this._events === undefined) return this
    if (arguments.length === 0) {
      // Those who watch removals hear of all the others first.
      for (const key of Reflect.ownKeys(this._events)) {
        if (key !== 'removeListener') this.removeAllListeners(key)
      }
      return this.removeAllListeners('removeListener')
    }
    const list = this._events[name] || NONE
    delete this._events[name]
    if (this._events.removeListener !== undefined) {
      for (let i = list.length - 1; i >= 0; i--) {
        this.emit('removeListener', name, functionOf(list[i]))
      }
    }
    return this
  }
}

module.exports = exports = EventEmitter

exports.EventEmitter = EventEmitter
exports.errors = EventEmitterError
exports.defaultMaxListeners = 10

// One watch over an emitter: the event, its error, and an abort signal, all let go together.
function watch(emitter, name, signal, { onevent, onerror }) {
  const onabort = () => onerror(EventEmitterError.OPERATION_ABORTED(signal.reason))

  emitter.on(name, onevent)
  if (name !== 'error') emitter.on('error', onerror)
  if (signal) signal.addEventListener('abort', onabort)

  return function unwatch() {
    emitter.off(name, onevent)
    if (name !== 'error') emitter.off('error', onerror)
    if (signal) signal.removeEventListener('abort', onabort)
  }
}

exports.once = function once(emitter, name, { signal } = {}) {
  return new Promise((resolve, reject) => {
    if (signal && signal.aborted) throw EventEmitterError.OPERATION_ABORTED(signal.reason)

    const unwatch = watch(emitter, name, signal, {
      onevent(...args) {
        unwatch()
        resolve(args)
      },
      onerror(err) {
        unwatch()
        reject(err)
      }
    })
  })
}

exports.on = function on(emitter, name, { signal } = {}) {
  if (signal && signal.aborted) throw EventEmitterError.OPERATION_ABORTED(signal.reason)

  const queued = []
  const waiting = []
  let failure = null
  let closed = false

  const unwatch = watch(emitter, name, signal, {
    onevent(...args) {
      if (waiting.length > 0) waiting.shift().resolve({ value: args, done: false })
      else queued.push(args)
    },
    onerror: fail
  })

  return {
    next() {
      if (queued.length > 0) return Promise.resolve({ value: queued.shift(), done: false })
      if (failure !== null) {
        const { err } = failure
        failure = null
        return Promise.reject(err)
      }
      if (closed) return close()
      const { promise, resolve, reject } = Promise.withResolvers()
      waiting.push({ resolve, reject })
      return promise
    },
    return: close,
    throw: fail,
    [Symbol.asyncIterator]() {
      return this
    }
  }

  function fail(err) {
    if (waiting.length > 0) waiting.shift().reject(err)
    else failure = { err }
    return close()
  }

  function close() {
    unwatch()
    closed = true
    while (waiting.length > 0) waiting.shift().resolve({ done: true })
    return Promise.resolve({ done: true })
  }
}

exports.forward = function forward(from, to, names, opts = {}) {
  if (!Array.isArray(names)) names = [names]

  const emit = opts.emit || ((...args) => to.emit(...args))
  const relays = new Map()
  for (const name of names) relays.set(name, (...args) => emit(name, ...args))

  for (const [name, relay] of relays) {
    if (to.listenerCount(name) > 0) from.on(name, relay)
  }

  // The source is listened to only while someone listens to the target.
  to.on('newListener', (name) => {
    if (relays.has(name) && to.listenerCount(name) === 0) from.on(name, relays.get(name))
  })
  to.on('removeListener', (name) => {
    if (relays.has(name) && to.listenerCount(name) === 0) from.off(name, relays.get(name))
  })
}

exports.listenerCount = function listenerCount(emitter, name) {
  return emitter.listenerCount(name)
}

exports.getMaxListeners = function getMaxListeners(emitter) {
  if (typeof emitter.getMaxListeners === 'function') return emitter.getMaxListeners()
  return exports.defaultMaxListeners
}

exports.setMaxListeners = function setMaxListeners(n, ...emitters) {
  if (emitters.length === 0) exports.defaultMaxListeners = n
  for (const emitter of emitters) {
    if (typeof emitter.setMaxListeners === 'function') emitter.setMaxListeners(n)
  }
}
