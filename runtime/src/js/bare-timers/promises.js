// bare-timers 3.2, `/promises`.

const timers = require('bare-timers')

// A promise of one timer, which a signal ends early.
function once({ ref, signal } = {}, value, start, stop) {
  if (signal && signal.aborted) return Promise.reject(signal.reason)
  return new Promise((resolve, reject) => {
    const onabort = () => {
      stop(timer)
      signal.removeEventListener('abort', onabort)
      reject(signal.reason)
    }
    if (signal) signal.addEventListener('abort', onabort)

    const timer = start(() => {
      if (signal) signal.removeEventListener('abort', onabort)
      resolve(value)
    })
    if (ref === false) timer.unref()
  })
}

exports.setTimeout = function setTimeout(delay = 1, value, opts) {
  return once(opts, value, (fn) => timers.setTimeout(fn, delay), timers.clearTimeout)
}

exports.setImmediate = function setImmediate(value, opts) {
  return once(opts, value, (fn) => timers.setImmediate(fn), timers.clearImmediate)
}

exports.setInterval = function setInterval(delay = 1, value, { ref, signal } = {}) {
  if (signal && signal.aborted) throw signal.reason

  const waiting = []
  let ticks = 0
  let failure = null
  let timer = timers.setInterval(() => {
    if (waiting.length > 0) waiting.shift().resolve({ value, done: false })
    else ticks++
  }, delay)
  if (ref === false) timer.unref()
  if (signal) signal.addEventListener('abort', onabort)

  return {
    next() {
      if (ticks > 0) {
        ticks--
        return Promise.resolve({ value, done: false })
      }
      if (failure !== null) {
        const { err } = failure
        failure = null
        return Promise.reject(err)
      }
      if (timer === null) return Promise.resolve({ done: true })
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

  function onabort() {
    fail(signal.reason)
  }

  function fail(err) {
    if (waiting.length > 0) waiting.shift().reject(err)
    else failure = { err }
    return close()
  }

  function close() {
    if (timer !== null) timers.clearInterval(timer)
    timer = null
    if (signal) signal.removeEventListener('abort', onabort)
    while (waiting.length > 0) waiting.shift().resolve({ done: true })
    return Promise.resolve({ done: true })
  }
}
