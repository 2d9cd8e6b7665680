// bare-timers 3.2: timeouts, intervals and immediates.

const MAX_DELAY = 0x7fffffff

class Timeout {
  constructor (callback, delay, repeat, args) {
    delay = Number(delay)
    if (!(delay >= 1)) delay = 1
    if (delay > MAX_DELAY) delay = 1
    this._callback = callback
    this._args = args
    this._delay = delay
    this._repeat = repeat
    this._ref = true
    this._fire = () => this._run()
    this._id = native.start(this._fire, delay, true)
    byNumber.set(this._number = ++lastNumber, this)
  }

  get _active () {
    return byNumber.get(this._number) === this
  }

  _run () {
    if (!this._repeat) byNumber.delete(this._number)
    try {
      this._callback(...this._args)
    } finally {
      // Counted from the end of the callback; not when it was cleared in there, nor when it was refreshed.
      if (this._repeat && this._active && !this._refreshed) {
        this._id = native.start(this._fire, this._delay, this._ref)
      }
      this._refreshed = false
    }
  }

  hasRef () {
    return this._ref
  }

  ref () {
    this._ref = true
    if (this._active) native.ref(this._id, true)
    return this
  }

  unref () {
    this._ref = false
    if (this._active) native.ref(this._id, false)
    return this
  }

  refresh () {
    if (!this._active) return this
    this._refreshed = !native.stop(this._id) && this._repeat
    this._id = native.start(this._fire, this._delay, this._ref)
    return this
  }

  close () {
    clearTimeout(this)
  }

  [Symbol.toPrimitive] () {
    return this._number
  }

  [Symbol.dispose] () {
    clearTimeout(this)
  }
}

Timeout.prototype._refreshed = false

class Immediate {
  constructor (callback, args) {
    this._ref = true
    this._done = false
    this._id = native.startImmediate(() => {
      this._done = true
      callback(...args)
    })
  }

  hasRef () {
    return this._ref
  }

  ref () {
    this._ref = true
    if (!this._done) native.refImmediate(this._id, true)
    return this
  }

  unref () {
    this._ref = false
    if (!this._done) native.refImmediate(this._id, false)
    return this
  }

  [Symbol.dispose] () {
    clearImmediate(this)
  }
}

// Timeouts by the number that they are as a primitive: `clearTimeout(+timeout)` works.
const byNumber = new Map()
let lastNumber = 0

function check (callback) {
  if (typeof callback !== 'function') throw new TypeError('Callback must be a function')
}

function setTimeout (callback, delay, ...args) {
  check(callback)
  return new Timeout(callback, delay, false, args)
}

function setInterval (callback, delay, ...args) {
  check(callback)
  return new Timeout(callback, delay, true, args)
}

function setImmediate (callback, ...args) {
  check(callback)
  return new Immediate(callback, args)
}

function clearTimeout (timeout) {
  if (typeof timeout === 'number' || typeof timeout === 'string') timeout = byNumber.get(Number(timeout))
  if (!(timeout instanceof Timeout) || !timeout._active) return
  byNumber.delete(timeout._number)
  native.stop(timeout._id)
}

function clearImmediate (immediate) {
  if (!(immediate instanceof Immediate) || immediate._done) return
  immediate._done = true
  native.stopImmediate(immediate._id)
}

exports.setTimeout = setTimeout
exports.clearTimeout = clearTimeout
exports.setInterval = setInterval
exports.clearInterval = clearTimeout
exports.setImmediate = setImmediate
exports.clearImmediate = clearImmediate
exports.Timeout = Timeout
exports.Immediate = Immediate
