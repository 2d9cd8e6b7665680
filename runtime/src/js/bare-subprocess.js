// bare-subprocess 6.2: other programs, with their streams.

const EventEmitter = require('bare-events')
const Pipe = require('bare-pipe')
const os = require('bare-os')
const env = require('bare-env')
const { isURL, fileURLToPath } = require('bare-url')
const { signals } = require('bare-os/constants')
const Channel = require('bare-subprocess/channel')
const errors = require('bare-subprocess/errors')

class Subprocess extends EventEmitter {
  constructor() {
    super()
    this.spawnfile = null
    this.spawnargs = []
    this.pid = null
    this.stdio = []
    this.exitCode = null
    this.signalCode = null
    this.killed = false
    this.channel = undefined
    this._closing = []
    this._handle = null
  }

  get connected() {
    return this.channel !== undefined
  }

  get stdin() {
    return this.stdio[0] || null
  }

  get stdout() {
    return this.stdio[1] || null
  }

  get stderr() {
    return this.stdio[2] || null
  }

  ref() {
    this._setRef(true)
  }

  unref() {
    this._setRef(false)
  }

  _setRef(isRef) {
    for (const pipe of this.stdio) {
      if (pipe) pipe[isRef ? 'ref' : 'unref']()
    }
    this._handle.setRef(isRef)
  }

  kill(signum = signals.SIGTERM) {
    if (typeof signum === 'string') {
      if (!Object.hasOwn(signals, signum)) throw errors.UNKNOWN_SIGNAL('Unknown signal: ' + signum)
      signum = signals[signum]
    }
    // The number of a program that has ended may be another program's by now.
    if (this.exitCode === null && this.signalCode === null) this._handle.kill(signum)
    this.killed = true
  }

  send(message, handle = null, cb) {
    if (this.channel !== undefined) return this.channel.send(message, handle, cb)
    if (typeof handle === 'function') cb = handle
    const err = errors.NO_IPC_CHANNEL('Subprocess has no IPC channel')
    if (cb) queueMicrotask(() => cb(err))
    return false
  }

  disconnect() {
    if (this.channel !== undefined) this.channel.disconnect()
  }

  _start(options, channelAt) {
    this.spawnfile = options.file
    this.spawnargs = options.args
    this._handle = new native.Process(options)
    this.pid = this._handle.pid
    for (let i = 0; i < options.stdio.length; i++) {
      const stream = options.stdio[i] === 'pipe' ? this._handle.pipe(i) : undefined
      this.stdio[i] = stream ? new Pipe(undefined, {}, stream) : null
      if (!stream) continue
      // What only goes one way ends the other at once.
      if (i === 0) this.stdio[i].push(null)
      else this.stdio[i].end()
      if (i > 0) this._closing.push(new Promise((resolve) => this.stdio[i].once('close', resolve)))
    }
    if (this.stdio[0]) this.stdio[0].resume()
    if (options.channel) this._talk(options.channel, channelAt)
    this._handle.wait((err, status) => this._onexit(err, status))
  }

  // Through a pipe that goes both ways.
  _talk(mode, at) {
    const pipe = new Pipe(undefined, {}, this._handle.pipe(3))
    this.stdio[at] = pipe
    this._closing.push(new Promise((resolve) => pipe.once('close', resolve)))
    if (mode === 'binary') return
    this.channel = new Channel(this, pipe)
    this.once('disconnect', () => {
      this.channel = undefined
    })
  }

  async _onexit(err, status) {
    if (err) return this.emit('error', err)
    const [code, signal] = status
    if (signal === null) this.exitCode = code
    else this.signalCode = Object.keys(signals).find((name) => signals[name] === signal) || String(signal)
    this.emit('exit', this.exitCode, this.signalCode)
    // Whoever listens for 'exit' may still take what the program printed; what nobody takes must not keep the pipes open.
    queueMicrotask(() => {
      for (const pipe of this.stdio) if (pipe) pipe.resume()
    })
    await Promise.all(this._closing)
    this.emit('close', this.exitCode, this.signalCode)
  }
}

// The arguments of `spawn` and `spawnSync` as the native half wants them.
function toOptions(file, args, opts) {
  if (Array.isArray(args)) args = args.map(String)
  else {
    if (args !== null && args !== undefined) opts = args
    args = []
  }
  opts = opts || {}
  const { cwd = os.cwd(), env: variables = env, detached = false, shell = false, uid = -1, gid = -1 } = opts
  file = toPath(file)
  if (shell) {
    args = ['-c', [file, ...args].join(' ')]
    file = typeof shell === 'string' ? shell : '/bin/sh'
  }
  return {
    opts,
    native: {
      file,
      args,
      cwd: toPath(cwd),
      env: Object.entries(variables)
        .filter(([, value]) => value !== undefined)
        .map(([name, value]) => [name, String(value)]),
      detached: Boolean(detached),
      uid,
      gid,
      channel: null,
      stdio: toStdio(opts.stdio)
    }
  }
}

// Each of the three slots as 'pipe', 'ignore' or the number of a descriptor.
function toStdio(stdio) {
  if (typeof stdio === 'string') stdio = [stdio, stdio, stdio]
  else if (!Array.isArray(stdio)) stdio = []
  return [0, 1, 2].map((i) => {
    const slot = stdio[i]
    if (slot === undefined || slot === null || slot === 'pipe' || slot === 'overlapped') return 'pipe'
    if (slot === 'inherit') return i
    if (slot === 'ipc') return 'ignore'
    if (slot === 'ignore' || typeof slot === 'number') return slot
    if (typeof slot.fd === 'number') return slot.fd
    throw new TypeError(`Unknown stdio: ${slot}`)
  })
}

function toPath(path) {
  if (typeof path === 'string') return path
  return isURL(path) ? fileURLToPath(path) : path.toString()
}

exports.spawn = function spawn(file, args, opts) {
  const options = toOptions(file, args, opts)
  const { serialization = 'json' } = options.opts
  if (!['json', 'advanced', 'binary'].includes(serialization)) {
    throw errors.UNKNOWN_SERIALIZATION_MODE(`Unknown serialization mode '${serialization}'`)
  }
  const slots = Array.isArray(options.opts.stdio) ? options.opts.stdio : []
  const at = slots.indexOf('ipc')
  if (at !== -1) {
    if (slots.lastIndexOf('ipc') !== at) throw errors.IPC_CHANNEL_ALREADY_DEFINED('Only one IPC channel per subprocess')
    if (serialization === 'advanced') {
      throw errors.UNKNOWN_SERIALIZATION_MODE("Serialization mode 'advanced' is not there: a message between programs is JSON, or bytes")
    }
    options.native.channel = serialization
  }
  const subprocess = new Subprocess()
  subprocess._start(options.native, at)
  return subprocess
}

exports.spawnSync = function spawnSync(file, args, opts) {
  const options = toOptions(file, args, opts)
  let { input = null, maxBuffer = 1024 * 1024 } = options.opts
  if (typeof input === 'string') input = Buffer.from(input)
  let result
  try {
    result = native.run(options.native, input, maxBuffer)
  } catch (error) {
    return { status: null, signal: null, output: null, pid: 0, error }
  }
  const [pid, [status, number], out, err] = result
  const signal = number === null ? null : Object.keys(signals).find((name) => signals[name] === number)
  const output = [null, out && Buffer.from(out), err && Buffer.from(err)]
  return { status, signal, output, pid, stdout: output[1], stderr: output[2] }
}

exports.Subprocess = exports.ChildProcess = Subprocess
exports.constants = signals
exports.errors = errors
