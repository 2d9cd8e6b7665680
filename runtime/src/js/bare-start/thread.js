// `Bare.Thread`: a heap, a loop and modules of its own. After Bare 1.31.

class Thread {
  constructor (entry, opts, callback) {
    if (typeof entry === 'function') {
      callback = entry
      entry = null
      opts = {}
    } else if (typeof entry === 'object' && entry !== null && typeof entry.href !== 'string') {
      callback = opts
      opts = entry
      entry = null
    }
    if (typeof opts === 'function') {
      callback = opts
      opts = {}
    }
    const { data = null, transfer = [], encoding = 'utf8', stackSize = 0 } = opts || {}
    let { source = null } = opts || {}
    if (typeof callback === 'function') source = `(${callback})(Bare.Thread.self.data)`
    if (source !== null && typeof source !== 'string') source = Buffer.from(source).toString(encoding)
    if (entry === null || entry === undefined) entry = './<thread>'
    else entry = entry.href || String(entry)
    this._joined = false
    this._id = native.start(entry, source, data, Array.from(transfer), stackSize)
  }

  get joined () {
    return this._joined
  }

  join () {
    if (this._joined) return
    this._joined = true
    native.join(this._id)
  }

  suspend (linger = 0) {
    native.suspend(this._id, linger)
  }

  wakeup (deadline = 0) {
    native.wakeup(this._id, deadline)
  }

  resume () {
    native.resume(this._id)
  }

  terminate () {
    native.terminate(this._id)
  }

  static create (filename, opts, callback) {
    return new Thread(filename, opts, callback)
  }

  static get isMainThread () {
    return native.isMain
  }

  static get self () {
    return self
  }
}

// What a thread sees of itself.
class ThreadProxy {
  constructor () {
    this.data = native.data()
  }
}

const self = native.isMain ? null : new ThreadProxy()

exports.Thread = Thread
exports.suspend = native.suspend
exports.wakeup = native.wakeup
exports.idle = native.idle
exports.resume = native.resume
