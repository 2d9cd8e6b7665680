// The global `Pear` of an app, as Pear 1 and 2 have it in terminal apps.

const EventEmitter = require('bare-events')
const Signal = require('bare-signals')

// All teardown handlers together have so long.
const TEARDOWN_TIME = 15000

const config = JSON.parse(native.config)
config.dht = { nodes: [], bootstrap: [] }

class Pear extends EventEmitter {
  constructor () {
    super()
    this.config = config
    this.app = config
    this.argv = Bare.argv
    this.pid = Bare.pid
    this.key = null
    this.exitCode = 0
    this._teardowns = []
    this._leaving = null
  }

  // The handlers run one after the other, by position, then in the order in which they were given.
  teardown (handler, position = 0) {
    if (typeof handler !== 'function') {
      const error = new Error('teardown expects a function')
      error.code = 'ERR_INVALID_INPUT'
      throw error
    }
    this._teardowns.push({ handler, position })
    this._teardowns.sort((a, b) => a.position - b.position)
  }

  _leave (code) {
    if (this._leaving === null) this._leaving = this._tearDown(code)
    return this._leaving
  }

  async _tearDown (code) {
    const late = setTimeout(() => Bare.exit(code), TEARDOWN_TIME)
    late.unref()
    try {
      while (this._teardowns.length > 0) await this._teardowns.shift().handler()
    } catch (error) {
      console.error('User teardown threw. Exiting...', error)
    }
    Bare.exit(code)
  }

  exit (code = this.exitCode) {
    return this._leave(code)
  }

  // An app from disk is not updated by anybody.
  updates (listener) {
    const stream = new EventEmitter()
    stream.destroy = () => {}
    return stream
  }

  async updated () {
    return null
  }

  wakeups (listener) {
    const stream = new EventEmitter()
    stream.destroy = () => {}
    return stream
  }

  async versions () {
    const { key, length, fork } = config
    return { platform: { key: null, length: 0, fork: 0 }, app: { key, length, fork }, runtimes: { ...Bare.versions } }
  }

  async checkpoint (state) {
    config.checkpoint = state
  }

  reload () {
    throw new Error('Pear.reload is not supported for terminal apps')
  }

  async restart () {
    throw new Error('Pear.restart is not supported for terminal apps')
  }
}

const pear = new Pear()

Object.defineProperty(globalThis, 'Pear', { value: pear, enumerable: true, configurable: true, writable: false })

// Who asks twice means it.
function listen (name, number) {
  const signal = new Signal(name)
  let asked = false
  signal.on('signal', () => {
    if (asked) Bare.exit(128 + number)
    asked = true
    pear._leave(128 + number)
  })
  signal.unref()
  signal.start()
}

listen('SIGINT', 2)
listen('SIGTERM', 15)

module.exports = pear
