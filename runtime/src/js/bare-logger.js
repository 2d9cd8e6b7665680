// bare-logger 2.0: lines to the standard output (`debug`, `info`) and the standard error.

const { formatWithOptions } = require('bare-format')

class Log {
  constructor({ colors = native.isTTY } = {}) {
    this._colors = colors
  }

  get colors() {
    return this._colors
  }

  format(...data) {
    return formatWithOptions({ colors: this.colors }, ...data).replaceAll('\0', '')
  }

  debug(...data) {
    native.out(this.format(...data))
  }

  info(...data) {
    native.out(this.format(...data))
  }

  warn(...data) {
    native.err(this.format(...data))
  }

  error(...data) {
    native.err(this.format(...data))
  }

  fatal(...data) {
    native.err(this.format(...data))
  }

  clear() {}
}

class CompositeLog extends Log {
  constructor(logs) {
    super()
    this._logs = [...logs]
  }
}

for (const level of ['debug', 'info', 'warn', 'error', 'fatal', 'clear']) {
  CompositeLog.prototype[level] = function (...data) {
    for (const log of this._logs) log[level](...data)
  }
}

module.exports = exports = Log

exports.Log = Log
exports.CompositeLog = CompositeLog
