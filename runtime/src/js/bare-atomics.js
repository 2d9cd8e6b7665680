// bare-atomics 1.0: what threads wait for each other by. Each is a few words of shared memory, its handle.

const { wait, notify, load, store, add, sub, compareExchange, exchange } = Atomics

// A name of this thread: no other thread has it.
const me = native.number()

function words(handle, count) {
  if (!(handle instanceof SharedArrayBuffer) || handle.byteLength < count * 4) throw new TypeError('Handle must be a SharedArrayBuffer made here')
  return new Int32Array(handle)
}

function make(...values) {
  const handle = new SharedArrayBuffer(values.length * 4)
  new Int32Array(handle).set(values)
  return handle
}

const FREE = 0
const LOCKED = 1
const CONTENDED = 2

// [free, locked, or locked while others wait | who has it | how many times]
class Mutex {
  constructor(opts = {}) {
    const { recursive = false, handle = make(FREE, 0, 0) } = opts
    this.handle = handle
    this.recursive = recursive
    this._words = words(handle, 3)
  }

  get held() {
    return load(this._words, 1) === me
  }

  _again() {
    if (!this.held) return false
    if (!this.recursive) throw new Error('cannot relock already held mutex')
    this._words[2]++
    return true
  }

  _got() {
    store(this._words, 1, me)
    this._words[2] = 1
  }

  lock() {
    if (this._again()) return
    if (compareExchange(this._words, 0, FREE, LOCKED) !== FREE) {
      while (exchange(this._words, 0, CONTENDED) !== FREE) wait(this._words, 0, CONTENDED)
    }
    this._got()
  }

  tryLock() {
    if (this._again()) return true
    if (compareExchange(this._words, 0, FREE, LOCKED) !== FREE) return false
    this._got()
    return true
  }

  unlock() {
    if (!this.held) throw new Error('cannot unlock unheld mutex')
    if (--this._words[2] > 0) return
    store(this._words, 1, 0)
    if (exchange(this._words, 0, FREE) === CONTENDED) notify(this._words, 0, 1)
  }

  destroy() {
    if (this.held) throw new Error('cannot destroy held mutex')
  }

  static from(handle, opts = {}) {
    return new Mutex({ ...opts, handle })
  }
}

// [count]
class Semaphore {
  constructor(value, opts = {}) {
    if (typeof value === 'object' && value !== null) [value, opts] = [0, value]
    const { handle = make(value) } = opts
    this.handle = handle
    this._words = words(handle, 1)
  }

  wait() {
    while (!this.tryWait()) wait(this._words, 0, 0)
  }

  tryWait() {
    let count = load(this._words, 0)
    while (count > 0) {
      const seen = compareExchange(this._words, 0, count, count - 1)
      if (seen === count) return true
      count = seen
    }
    return false
  }

  post() {
    add(this._words, 0, 1)
    notify(this._words, 0, 1)
  }

  destroy() {}

  static from(handle, opts = {}) {
    return new Semaphore({ ...opts, handle })
  }
}

// [how many signals there were]
class Condition {
  constructor(opts = {}) {
    const { handle = make(0) } = opts
    this.handle = handle
    this._words = words(handle, 1)
  }

  // False when `timeout` milliseconds went by; none when it is negative.
  wait(mutex, timeout = -1) {
    if (!mutex.held) throw new Error('cannot wait with unheld mutex')
    const seen = load(this._words, 0)
    mutex.unlock()
    const outcome = wait(this._words, 0, seen, timeout < 0 ? Infinity : timeout)
    mutex.lock()
    return outcome !== 'timed-out'
  }

  signal() {
    add(this._words, 0, 1)
    notify(this._words, 0, 1)
  }

  broadcast() {
    add(this._words, 0, 1)
    notify(this._words, 0)
  }

  destroy() {}

  static from(handle, opts = {}) {
    return new Condition({ ...opts, handle })
  }
}

// [how many it takes | how many are missing | which round it is]
class Barrier {
  constructor(count, opts = {}) {
    if (typeof count === 'object' && count !== null) [count, opts] = [0, count]
    const { handle = make(count, count, 0) } = opts
    this.handle = handle
    this._words = words(handle, 3)
  }

  // True for one of those who waited.
  wait() {
    const round = load(this._words, 2)
    if (sub(this._words, 1, 1) === 1) {
      store(this._words, 1, this._words[0])
      add(this._words, 2, 1)
      notify(this._words, 2)
      return true
    }
    while (load(this._words, 2) === round) wait(this._words, 2, round)
    return false
  }

  destroy() {}

  static from(handle, opts = {}) {
    return new Barrier({ ...opts, handle })
  }
}

// [not begun, running, or done]
class Once {
  constructor(opts = {}) {
    const { handle = make(0) } = opts
    this.handle = handle
    this._words = words(handle, 1)
  }

  // The first one of all threads runs `fn`; the others wait until it has.
  run(fn) {
    if (compareExchange(this._words, 0, 0, 1) === 0) {
      try {
        return fn()
      } finally {
        store(this._words, 0, 2)
        notify(this._words, 0)
      }
    }
    while (load(this._words, 0) === 1) wait(this._words, 0, 1)
  }

  static from(handle, opts = {}) {
    return new Once({ ...opts, handle })
  }
}

module.exports = { Mutex, Semaphore, Condition, Barrier, Once }
