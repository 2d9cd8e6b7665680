// bare-console 6.2: `console`, over anything that logs.

// Milliseconds of a clock that only goes forward.
function now() {
  return native.now()
}

class Console {
  constructor(log = defaultLog()) {
    const timers = new Map()
    const counters = new Map()

    // The methods are the object's own, so that `const { log } = console` works.
    const self = this

    this.debug = function debug(...data) {
      log.debug(...data)
    }

    this.info = this.log = function info(...data) {
      log.info(...data)
    }

    this.warn = function warn(...data) {
      log.warn(...data)
    }

    this.error = function error(...data) {
      log.error(...data)
    }

    this.clear = function clear() {
      log.clear()
    }

    this.time = function time(label = 'default') {
      if (timers.has(label)) {
        self.warn(`Warning: Label '${label}' already exists for console.time()`)
        return
      }
      timers.set(label, now())
    }

    this.timeLog = function timeLog(label = 'default', ...data) {
      if (!timers.has(label)) {
        self.warn(`Warning: No such label '${label}' for console.timeEnd()`)
        return
      }
      const ms = now() - timers.get(label)
      const elapsed = ms > 1000 ? `${(ms / 1000).toFixed(3)}s` : `${ms.toFixed(3)}ms`
      self.log(`${label}: ${elapsed}`, ...data)
    }

    this.timeEnd = function timeEnd(label = 'default') {
      self.timeLog(label)
      timers.delete(label)
    }

    this.count = function count(label = 'default') {
      const count = counters.get(label) || 1
      self.log(`${label}: ${count}`)
      counters.set(label, count + 1)
    }

    this.countReset = function countReset(label = 'default') {
      counters.delete(label)
    }

    this.trace = function trace(...data) {
      const message = log.format(...data)
      const err = {}
      Error.captureStackTrace(err, trace)
      self.error((message ? `Trace: ${message}` : 'Trace') + '\n' + String(err.stack).trimEnd())
    }

    this.assert = function assert(condition, ...data) {
      if (condition) return
      if (typeof data[0] === 'string') data[0] = `Assertion failed: ${data[0]}`
      else data.unshift('Assertion failed')
      self.error(...data)
    }

    this.table = function table(data, properties) {
      const formatTable = require('bare-console/table')
      const text = formatTable(data, properties, (value) => log.format('%o', value))
      self.log(text === null ? data : text)
    }
  }

  get Console() {
    return Console
  }
}

function defaultLog() {
  const Log = require('bare-logger')
  return new Log()
}

module.exports = exports = Console

exports.Console = Console
