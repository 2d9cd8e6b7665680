// What `stream` is to packages that were written for Node: bare-stream whose base class may be called as a function, pipes what it emits, and lets them say
// whether it is readable and writable, as streams did before there were classes for that.

const streams = require('bare-stream')
const EventEmitter = require('bare-node-events')

const Base = streams.Stream

function Stream (options) {
  EventEmitter.call(this, options)
}

Object.setPrototypeOf(Stream, Base)
Stream.prototype = Object.create(EventEmitter.prototype, { constructor: { value: Stream, writable: true, configurable: true } })

// What is emitted is written, as long as there is room for it.
Stream.prototype.pipe = function pipe (target, options) {
  const source = this
  const isEnding = !options || options.end !== false
  let isOver = false

  function data (chunk) {
    if (target.write(chunk) === false && source.pause) source.pause()
  }

  function drain () {
    if (source.readable && source.resume) source.resume()
  }

  function end () {
    if (isOver) return
    isOver = true
    if (isEnding) target.end()
  }

  function close () {
    if (isOver) return
    isOver = true
    if (isEnding && typeof target.destroy === 'function') target.destroy()
  }

  function fail (error) {
    cleanup()
    if (this.listenerCount('error') === 0) throw error
  }

  function cleanup () {
    for (const [emitter, name, listener] of listeners) emitter.removeListener(name, listener)
  }

  const listeners = [
    [source, 'data', data], [target, 'drain', drain], [source, 'end', end], [source, 'close', close], [source, 'error', fail], [target, 'error', fail],
    [source, 'end', cleanup], [source, 'close', cleanup], [target, 'close', cleanup]
  ]
  for (const [emitter, name, listener] of listeners) emitter.on(name, listener)
  target.emit('pipe', source)
  return target
}

Object.defineProperty(Stream, Symbol.hasInstance, {
  value (value) {
    const is = Function.prototype[Symbol.hasInstance]
    return is.call(this, value) || (this === Stream && is.call(Base, value))
  }
})

module.exports = Object.assign(Stream, streams, { Stream, default: Stream })
