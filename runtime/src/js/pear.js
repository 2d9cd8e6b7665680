// The global `Pear` of an app, as Pear 1 and 2 have it in terminal apps. After pear-api 1.30; messages as pear-messages 1.0 has them.

const EventEmitter = require('bare-events')
const Signal = require('bare-signals')
const Bus = require('pear/bus')

// All teardown handlers together have so long.
const TEARDOWN_TIME = 15000

const IPC = Symbol('ipc')
const REF = Symbol('ref')

const config = JSON.parse(native.config)
config.key = native.key ? Buffer.from(native.key) : null
config.pearDir = null
config.swapDir = null
if (native.checkpoint) config.checkpoint = JSON.parse(native.checkpoint)

const bus = new Bus()

function invalid (message) {
  const error = new Error(message)
  error.name = error.code = 'ERR_INVALID_INPUT'
  return error
}

function unsupported (name) {
  return new Error(`Pear.${name} is not supported for terminal apps`)
}

// The last one to be kept: two that were kept at once would be mixed.
let kept = Promise.resolve()

function checkpoint (state) {
  const text = JSON.stringify(state === undefined ? null : state)
  const keep = () => native.keep(text)
  kept = kept.then(keep, keep)
  return kept
}

// What Pear's own packages (pear-updates, pear-messages, pear-message, …) speak with.
const ipc = {
  ref () {},
  unref () {},
  messages: (pattern) => bus.subscribe(pattern),
  message: async (message) => bus.publish(message),
  checkpoint,
  versions: async () => versions(),
  updated: async () => null,
  exists: async () => false,
  close: async () => {}
}

function versions () {
  const { key, length, fork } = config
  const app = { key: key === null ? null : key.toString('hex'), length, fork }
  return { platform: { key: null, length: 0, fork: 0 }, app, runtimes: { ...Bare.versions } }
}

class Pear extends EventEmitter {
  static RTI = null
  static IPC = IPC
  static REF = REF
  static RUNTIME = Bare.argv[0]
  static RUNTIME_ARGV = []
  static RUNTIME_FLAGS = []
  static COMPAT = false
  static CUTOVER = true

  constructor () {
    super()
    this.app = config
    this.argv = Bare.argv
    this.pid = Bare.pid
    this.key = config.key
    this[IPC] = ipc
    this[REF] = { ref () {}, unref () {}, track: (promise) => promise }
    this._teardowns = []
    this._leaving = null
    // They are called without the object, too: `const { versions, teardown } = Pear`.
    for (const name of ['teardown', 'exit', 'versions', 'checkpoint', 'message', 'messages', 'updates', 'wakeups', 'updated', 'restart', 'reload']) {
      this[name] = this[name].bind(this)
    }
  }

  get config () {
    return this.app
  }

  set config (value) {
    this.app = value
  }

  get exitCode () {
    return Bare.exitCode
  }

  set exitCode (code) {
    Bare.exitCode = code
  }

  // The handlers run one after the other, by position, then in the order in which they were given.
  teardown (handler = () => {}, position = 0) {
    if (typeof handler !== 'function') throw invalid('teardown expects function')
    if (!Number.isInteger(position) && position !== Infinity && position !== -Infinity) {
      throw invalid('teardown position must be integer')
    }
    this._teardowns.push({ handler, position })
    this._teardowns.sort((a, b) => a.position - b.position)
  }

  _leave (code) {
    if (this._leaving === null) this._leaving = this._tearDown(code)
    return this._leaving
  }

  async _tearDown (code) {
    const late = setTimeout(() => {
      console.error(`Max teardown wait reached after ${TEARDOWN_TIME} ms. Exiting...`)
      Bare.exit(code)
    }, TEARDOWN_TIME)
    late.unref()
    try {
      while (this._teardowns.length > 0) await this._teardowns.shift().handler()
    } catch (error) {
      console.error(`${error}. User teardown threw. Exiting...`)
    }
    Bare.exit(code)
  }

  exit (code = this.exitCode) {
    return this._leave(code)
  }

  async versions () {
    return versions()
  }

  checkpoint (state) {
    config.checkpoint = state
    return ipc.checkpoint(state)
  }

  // To all who listen in this process.
  message (message) {
    return ipc.message(message)
  }

  messages (pattern, listener) {
    if (typeof pattern === 'function') {
      listener = pattern
      pattern = {}
    }
    const stream = bus.subscribe(pattern)
    if (typeof listener === 'function') stream.on('data', listener)
    this.teardown(() => stream.destroy())
    return stream
  }

  updates (listener) {
    return this.messages({ type: 'pear/updates' }, listener)
  }

  wakeups (listener) {
    return this.messages({ type: 'pear/wakeup' }, listener)
  }

  async updated () {
    return null
  }

  async restart () {
    throw unsupported('restart')
  }

  async reload () {
    throw unsupported('reload')
  }
}

const pear = new Pear()

Object.defineProperty(globalThis, 'Pear', { value: pear, enumerable: true, configurable: true, writable: false })

// Who is told of an update can have it: all that the app needs of it is asked of the drive when it is started the next time.
function follow (seen) {
  native.newer(seen, (error, length, fork) => {
    // The drive was closed, or cannot be read now: nothing new can be said.
    if (error) return
    const version = { key: versions().app.key, length, fork }
    bus.publish({ type: 'pear/updates', app: true, version, diff: null, updating: false, updated: true, link: config.applink })
    follow(length)
  })
}

if (config.key !== null) follow(config.length)

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
