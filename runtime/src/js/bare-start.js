// What a thread begins with: the global `Bare`, the other globals, and who is told of errors that nobody caught. After Bare 1.31.

const EventEmitter = require('bare-events')

// Stacks begin with the error's name and message, as V8 has it. The engine leaves that line out; it is added when the stack is looked at.
const stack = Object.getOwnPropertyDescriptor(Error.prototype, 'stack')

function withHeader (error, trace) {
  if (typeof trace !== 'string' || Error.prepareStackTrace) return trace
  let header
  try {
    header = Error.prototype.toString.call(error)
  } catch {
    header = 'Error'
  }
  if (trace.endsWith('\n')) trace = trace.slice(0, -1)
  return trace === '' ? header : header + '\n' + trace
}

Object.defineProperty(Error.prototype, 'stack', {
  configurable: true,
  enumerable: false,
  get () {
    return withHeader(this, stack.get.call(this))
  },
  set (value) {
    Object.defineProperty(this, 'stack', { configurable: true, enumerable: false, writable: true, value })
  }
})

const capture = Error.captureStackTrace

Error.captureStackTrace = function captureStackTrace (object, above) {
  capture.call(Error, object, typeof above === 'function' ? above : captureStackTrace)
  const own = Object.getOwnPropertyDescriptor(object, 'stack')
  if (own === undefined || typeof own.value !== 'string') return
  Object.defineProperty(object, 'stack', {
    configurable: true,
    enumerable: false,
    writable: true,
    value: withHeader(object, own.value)
  })
}

let exitCode = 0

class Bare extends EventEmitter {
  get platform () {
    return native.platform
  }

  get arch () {
    return native.arch
  }

  get argv () {
    return argv
  }

  get pid () {
    return native.pid
  }

  get exitCode () {
    return exitCode
  }

  set exitCode (code) {
    exitCode = code & 0xff
    native.setCode(exitCode)
  }

  get version () {
    return 'v' + native.version
  }

  get versions () {
    return versions
  }

  exit (code = exitCode) {
    this.exitCode = code
    native.end()
  }

  suspend (linger = 0) {
    thread.suspend(-1, Number(linger) || 0)
  }

  wakeup (deadline = 0) {
    thread.wakeup(-1, Number(deadline) || 0)
  }

  idle () {
    thread.idle(-1)
  }

  resume () {
    thread.resume(-1)
  }
}

const argv = native.argv
const versions = { bare: native.version, quickjs: native.engineVersion }
const thread = require('bare-start/thread')
const bare = new Bare()

bare.Addon = require('bare-start/addon')
bare.Thread = thread.Thread
bare.IPC = null

// A starter that wants bytes of this program gets them through `Bare.IPC`, which is opened when it is first looked at.
if (native.isMain && native.channelMode === 'binary') {
  Object.defineProperty(bare, 'IPC', {
    configurable: true,
    enumerable: true,
    get () {
      const fd = require('pome-io').channel()
      const value = fd === undefined ? null : new (require('bare-pipe'))(fd)
      Object.defineProperty(bare, 'IPC', { configurable: true, enumerable: true, writable: true, value })
      return value
    },
    set (value) {
      Object.defineProperty(bare, 'IPC', { configurable: true, enumerable: true, writable: true, value })
    }
  })
}

function inspect (value) {
  if (native.has('bare-inspect')) {
    try {
      return require('bare-inspect')(value, { colors: native.stderrIsTerminal })
    } catch {}
  }
  if (value instanceof Error) return value.stack
  try {
    return typeof value === 'string' ? JSON.stringify(value) : String(value)
  } catch {
    return Object.prototype.toString.call(value)
  }
}

function print (thrown, prefix = 'Uncaught ') {
  native.stderr(prefix + inspect(thrown) + '\n')
}

native.setHooks({
  print,

  uncaught (error) {
    if (bare.emit('uncaughtException', error)) return true
    print(error)
    return false
  },

  rejected (reason, promise) {
    if (bare.emit('unhandledRejection', reason, promise)) return true
    print(reason, 'Uncaught (in promise) ')
    return false
  },

  beforeExit () {
    bare.emit('beforeExit', exitCode)
  },

  exit () {
    bare.emit('exit', exitCode)
  },

  suspend (linger) {
    bare.emit('suspend', linger)
  },

  wakeup (deadline) {
    bare.emit('wakeup', deadline)
  },

  idle () {
    bare.emit('idle')
  },

  resume () {
    bare.emit('resume')
  }
})

function define (name, value) {
  Object.defineProperty(globalThis, name, { configurable: true, enumerable: true, writable: true, value })
}

// A global that most programs do not use is loaded when it is.
function defineLazily (name, get) {
  Object.defineProperty(globalThis, name, {
    configurable: true,
    enumerable: true,
    get () {
      const value = get()
      define(name, value)
      return value
    },
    set (value) {
      define(name, value)
    }
  })
}

// Bare has neither.
delete globalThis.performance
delete globalThis.DOMException

define('global', globalThis)
Object.defineProperty(globalThis, 'Bare', { configurable: true, enumerable: true, writable: false, value: bare })

if (native.gc) {
  define('gc', function gc () {
    native.gc()
    if (Object(arguments[0]).execution === 'async') return Promise.resolve()
  })
}

const timers = require('bare-timers')

for (const name of ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'setImmediate', 'clearImmediate']) {
  define(name, timers[name])
}

const lazy = [
  ['Buffer', 'bare-buffer', (exports) => exports.Buffer || exports],
  ['URL', 'bare-url', (exports) => exports.URL || exports],
  ['URLSearchParams', 'bare-url', (exports) => exports.URLSearchParams],
  ['structuredClone', 'bare-structured-clone', (exports) => exports.structuredClone || exports]
]

for (const [name, module, pick] of lazy) {
  if (native.has(module)) defineLazily(name, () => pick(require(module)))
}

defineLazily('console', () => {
  if (native.has('bare-console/global')) return require('bare-console/global')
  const line = (write) => (...values) => write(values.map((v) => typeof v === 'string' ? v : inspect(v)).join(' ') + '\n')
  const log = line(native.stdout)
  const error = line(native.stderr)
  return { log, info: log, debug: log, error, warn: error, trace: error }
})
